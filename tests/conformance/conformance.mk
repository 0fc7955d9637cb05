# SPDX-License-Identifier: MIT
# ONNX's own test cases on the card, and the fp32 judge of the demonstration.

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
