# SPDX-License-Identifier: MIT
# Measurements, each against a peer in the same run: `make bench`.

CFLAGS_tests/bench := -Itests/bench
CFLAGS_tests/bench/onednn.c := -fopenmp

$(eval $(call bench,gemm_bf16_1024,tests/bench/gemm_bf16_1024.c tests/bench/onednn.c \
	tests/bench/peak.c,librdu librdumodel,-lelf -ldrm -ldnnl -lgomp))
$(eval $(call bench,gemm_bf16_peak,tests/bench/gemm_bf16_peak.c,librdu librdumodel,-lelf -ldrm))
$(foreach b,cnn_train_step gpt_train_step,$(eval $(call bench,$(b),tests/bench/$(b).c \
	tests/bench/train_step.c tests/bench/peak.c,librdu librdumodel,-lelf -ldrm)))
$(B)/bench/cnn_train_step $(B)/bench/gpt_train_step: | $(call packages,torch)
$(eval $(call bench,stream_relu,tests/bench/stream_relu.c,librdu librdumodel,-lelf -ldrm))

$(BENCHES:$(B)/bench/%=$(B)/tests/bench/%.o): | $(call packages,bench)
$(eval $(call bench,card_queue,tests/bench/card_queue.c,librdumodel))

# The fabric alone.
CFLAGS_tests/bench/section_10k.c := -Itests/unit
$(eval $(call bench,section_10k,tests/bench/section_10k.c,librdumodel,-lm))
CFLAGS_tests/bench/fabric_kernels.c := -Itests/unit
$(eval $(call bench,fabric_kernels,tests/bench/fabric_kernels.c tests/bench/peak.c,librdumodel))
$(B)/tests/bench/fabric_kernels.o: | $(call packages,bench)

# The card's clock alone.
CFLAGS_tests/bench/section_time.c := -Itests/unit
$(eval $(call bench,section_time,tests/bench/section_time.c,librdumodel,-lelf))

# In the VM, by tests/bench/guest: one program, many names. It needs nothing but
# what the tools need, and is built with them.
ALL += $(B)/bench/guest/way_in
GUEST_BENCHES := dma_h2d_64m dma_d2h_64m job_latency job_pipelined job_submitted bar_read bar_write
CFLAGS_tests/bench/way_in.c = -Itools/rdu $(DRM_CFLAGS)
$(eval $(call bench,guest/way_in,tests/bench/way_in.c tools/rdu/measure.c tools/rdu/util.c,\
	librdu librdumodel,-lelf -ldrm))

# The literature's programs: `make validation` writes Documentation/validation.md.
LITERATURE_SRCS := $(addprefix tests/bench/,literature.c q6.c black_scholes.c)
$(foreach f,$(LITERATURE_SRCS) tests/bench/validation.c,$(eval CFLAGS_$(f) := -Itests/cycle -Itests/unit))
$(eval $(call program,rdu-validation,tests/bench/validation.c $(LITERATURE_SRCS) $(CYCLE_SRCS),librdumodel))
CONFORMANCE += tests/bench/validation

.PHONY: validation sensitivities zoo study
validation: $(B)/bin/rdu-validation
	$(Q)$< -o Documentation/validation.md

# Public models, which packages carry: about an hour on two processors. What was done when it was
# stopped stays: tests/bench/zoo/zoo --keep goes on.
zoo: $(B)/bin/rdu $(B)/librdu.so.1 $(B)/librduc.so.1 | $(call packages,zoo)
	$(Q)tests/bench/zoo/get
	$(Q)tests/bench/zoo/zoo -o Documentation/models.md

# Language models and sparse weights: about twenty minutes on two processors. Here, too,
# tests/bench/study/study --keep goes on.
study: $(B)/bin/rdu-mkmodel $(B)/librdu.so.1 $(B)/librduc.so.1 | $(call packages,study)
	$(Q)tests/bench/study/study -o Documentation/study.md
CONFORMANCE += tests/bench/study/study-test
tests/bench/study/study-test: | build/stamp/torch

# A quarter of an hour on two processors.
sensitivities: $(addprefix $(B)/bin/,rdu rduc rdu-mkmodel rdu-cycles rdu-validation)
	$(Q)tests/bench/sensitivities -o Documentation/sensitivities.md
