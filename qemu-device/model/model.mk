# SPDX-License-Identifier: MIT
# The card's model: every C file of this folder, in one library.
MODEL_DIR := qemu-device/model

CFLAGS_$(MODEL_DIR) := -O3 -fno-trapping-math

# Kernels are one text (kernels_body.h) compiled for several instruction sets;
# which one runs is chosen at run time.
ifeq ($(shell uname -m),x86_64)
MODEL_AVX2   := -mavx2 -mfma -mbmi2
MODEL_AVX512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512
CFLAGS_$(MODEL_DIR)/kernels_avx2.c       := $(MODEL_AVX2)
CFLAGS_$(MODEL_DIR)/kernels_avx512.c     := $(MODEL_AVX2) $(MODEL_AVX512)
CFLAGS_$(MODEL_DIR)/kernels_avx512vnni.c := $(MODEL_AVX2) $(MODEL_AVX512) -mavx512vnni
MODEL_BF16   := $(MODEL_AVX2) $(MODEL_AVX512) -mavx512vnni -mavx512bf16
CFLAGS_$(MODEL_DIR)/kernels_avx512bf16.c    := $(MODEL_BF16)
CFLAGS_$(MODEL_DIR)/kernels_avx512bf16fma.c := $(MODEL_BF16)
# clang takes a minute for each of these with AddressSanitizer; the fuzzers'
# accesses are checked before a kernel is called, and gcc's ASan tests see them.
$(F)/$(MODEL_DIR)/kernels_avx%.o: SAN :=
endif

# Which model it is, by its sources: for times that are kept in files (timing_kept.c).
MODEL_TEXTS := $(sort $(wildcard $(MODEL_DIR)/*.[ch] include/rdu/*.h))
GENERATED += $(G)/model_id.h
$(G)/model_id.h: $(MODEL_TEXTS) | $(call packages,build)
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)sum=$$(cat $(MODEL_TEXTS) | sha256sum) && \
		printf '#define RDU_MODEL_ID 0x%.16sull\n' "$$sum" >$@

$(eval $(call library,librdumodel,$(wildcard $(MODEL_DIR)/*.c)))
