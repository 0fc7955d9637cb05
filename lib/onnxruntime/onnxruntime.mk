# SPDX-License-Identifier: MIT
# The execution provider for ONNX Runtime. It is made where ONNX Runtime's headers have the interface of
# plug-ins, which came with 1.23; tests/onnxruntime names those of another Debian suite in ORT_CFLAGS.
ifeq ($(origin ORT_CFLAGS),undefined)
ORT_CFLAGS := $(shell pkg-config --atleast-version=1.23 libonnxruntime 2>/dev/null && \
	pkg-config --cflags libonnxruntime)
endif

ORT_SRCS := $(wildcard lib/onnxruntime/*.c)
CFLAGS_lib/onnxruntime = -fPIC -fvisibility=hidden -Itools/rduc -DRDU_VERSION='"$(VERSION)"' \
	$(ORT_CFLAGS:-I%=-isystem %)

# It finds librdu and librduc in its own folder, and stays when ORT lets it go: they keep times of sections.
$(B)/librdu_onnxruntime.so: $(call objects,$(B),$(ORT_SRCS) $(G)/onnx.pb-c.c) $(B)/librdu.so.1 $(B)/librduc.so.1
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) -shared -Wl,-z,defs,-z,nodelete -Wl,-rpath,'$$ORIGIN' -o $@ $(filter %.o,$^) \
		-L$(B) -lrdu -lrduc -lprotobuf-c -lpthread

ifneq ($(ORT_CFLAGS),)
ALL += $(B)/librdu_onnxruntime.so
endif
