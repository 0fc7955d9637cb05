# SPDX-License-Identifier: MIT
# ONNX's own test cases on the card, and the fp32 judge of the demonstration.

# C code for ONNX's protobuf messages, from the schema that libonnx-dev brings
# (rduc's fragment may have said how already).
ifeq ($(filter $(G)/onnx.pb-c.h,$(GENERATED)),)
GENERATED += $(G)/onnx.pb-c.h
$(G)/onnx.pb-c.h: | $(call packages,build)
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)proto=$$(dpkg -L libonnx-dev | grep '/onnx/onnx\.proto$$') && \
		protoc-c -I$${proto%/*} --c_out=$(G) onnx.proto
$(G)/onnx.pb-c.c: $(G)/onnx.pb-c.h ;
endif

CFLAGS_tests/conformance := -Itests/conformance
CFLAGS_tests/conformance/fp32_eval.c := -O3

$(eval $(call program,rdu-fp32-eval,tests/conformance/fp32_eval.c \
	tests/conformance/onnx_file.c $(G)/onnx.pb-c.c,,-lprotobuf-c -lz))
$(eval $(call program,rdu-conformance,tests/conformance/conformance.c \
	tests/conformance/case.c tests/conformance/table.c \
	tests/conformance/onnx_file.c $(G)/onnx.pb-c.c,librdu librdumodel,-lprotobuf-c -lz -lelf -ldrm))

CONFORMANCE += tests/conformance/onnx tests/conformance/onnx-variants tests/conformance/onnx-cases

.PHONY: operators
operators: all
	tests/conformance/onnx --table Documentation/operators.md \
		--passed tests/conformance/must-pass.txt

include tests/e2e/e2e.mk
