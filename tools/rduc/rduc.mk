# SPDX-License-Identifier: MIT
# The compiler, and the program that writes small ONNX models.

# C code for ONNX's protobuf messages, from the schema that libonnx-dev brings.
GENERATED += $(G)/onnx.pb-c.h
$(G)/onnx.pb-c.h: | $(call packages,build)
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)proto=$$(dpkg -L libonnx-dev | grep '/onnx/onnx\.proto$$') && \
		protoc -I$${proto%/*} --c_out=$(G) onnx.proto
# protoc writes both; which first, it does not say.
$(G)/onnx.pb-c.c: $(G)/onnx.pb-c.h
	$(Q)touch $@

MKMODEL_SRCS := $(wildcard tools/rduc/mkmodel*.c)
RDUC_SRCS := $(filter-out tools/rduc/main.c $(MKMODEL_SRCS),$(wildcard tools/rduc/*.c)) tools/json.c $(G)/onnx.pb-c.c
RDUC_LDLIBS := -lprotobuf-c -lelf
CFLAGS_tests/unit += -Itools/rduc -Itests/unit
CFLAGS_tests/fuzz += -Itools/rduc

$(eval $(call library,librduc,$(RDUC_SRCS)))
$(eval $(call program,rduc,tools/rduc/main.c,librduc librdu librdumodel,$(RDUC_LDLIBS)))
$(eval $(call program,rdu-mkmodel,$(MKMODEL_SRCS),librduc librdu librdumodel,$(RDUC_LDLIBS)))

CFLAGS_tests/unit/timing_rest.c := -Itests/cycle
rduc_test = $(eval $(call unit_test,$(basename $(notdir $(1))),$(1),librduc librdu librdumodel,$(RDUC_LDLIBS)))
$(foreach t,$(wildcard tests/unit/rduc_*.c) tests/unit/timing_laws.c tests/unit/timing_rest.c,$(call rduc_test,$(t)))

ifneq ($(wildcard tests/fuzz/fuzz_onnx.c),)
$(eval $(call fuzzer,fuzz_onnx,tests/fuzz/fuzz_onnx.c,librduc librdu,$(RDUC_LDLIBS)))
endif
