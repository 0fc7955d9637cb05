# SPDX-License-Identifier: MIT
# End-to-end tests that need no VM: tools, library and card model together.

# $(call e2e_test,NAME,more sources,more flags)
define e2e_test
$(call unit_test,$(1),tests/e2e/$(1).c $(2),librdu librdumodel,-lelf -ldrm $(3))
$(A)/tests/$(1): | $(B)/bin/rduc $(B)/bin/rdu-mkmodel
endef

CFLAGS_tests/e2e := -Itests/conformance

$(eval $(call e2e_test,swap_test))
$(eval $(call e2e_test,flip_test))
$(eval $(call e2e_test,bits_test))
$(eval $(call e2e_test,grad_test,tests/conformance/onnx_build.c $(G)/onnx.pb-c.c,-lprotobuf-c))
$(eval $(call e2e_test,weights_test,tests/conformance/onnx_build.c $(G)/onnx.pb-c.c,-lprotobuf-c))

# The compiler in the process, with the sanitizers.
CFLAGS_tests/e2e/librduc_test.c := -Itools/rduc
$(eval $(call unit_test,librduc_test,tests/e2e/librduc_test.c tests/conformance/onnx_build.c,librduc librdu librdumodel,$(RDUC_LDLIBS) -ldrm))

CFLAGS_tests/e2e/shapes_test.c := -Itools/rduc
$(eval $(call unit_test,shapes_test,tests/e2e/shapes_test.c tests/conformance/onnx_build.c,librduc librdu librdumodel,$(RDUC_LDLIBS) -ldrm))

# Judges rdu generate; needs nothing of ours.
$(eval $(call program,rdu-plain-lm,tests/e2e/plain_lm.c,,-lm))
tests/e2e/generate-test: | $(B)/bin/rdu-plain-lm

# Where PyTorch or ONNX Runtime cannot be installed what compares with it is skipped, and says so.
tests/e2e/torch-grad-test tests/e2e/mkmodel-test tests/e2e/recurrent-test tests/e2e/python-test \
	tests/e2e/torch2-test tests/e2e/python-examples tests/e2e/train-test tests/e2e/quantized-test \
	tests/e2e/ternary-test tests/e2e/sparse-test tests/e2e/sparse-train-test tests/e2e/generate-test \
	tests/e2e/operators-test tests/e2e/bounded-test tests/e2e/training-mode-test: | build/stamp/torch
build/stamp/torch: tools/vm/packages/torch
	@mkdir -p $(@D)
	$(Q)tools/vm/install-packages torch || echo "  SKIP    tests that compare with it: no PyTorch"
	$(Q)touch $@

tests/e2e/mkmodel-test tests/e2e/recurrent-test tests/e2e/bounded-test: | build/stamp/judges
build/stamp/judges: tests/fuzz/get-judges
	@mkdir -p $(@D)
	$(Q)tests/fuzz/get-judges && touch $@

# The Python package by itself.
.PHONY: python-test
python-test: tests/e2e/python-test tests/e2e/torch2-test tests/e2e/python-examples $(B)/librdu.so.1 \
	$(B)/librduc.so.1 $(B)/bin/rdu-mkmodel
	@tests/e2e/python-test && tests/e2e/python-examples && tests/e2e/torch2-test

CONFORMANCE += tests/e2e/judge-test tests/e2e/command-line tests/e2e/report-test \
	tests/e2e/torch-grad-test tests/e2e/mkmodel-test tests/e2e/recurrent-test tests/e2e/python-test \
	tests/e2e/torch2-test tests/e2e/python-examples tests/e2e/train-test tests/e2e/quantized-test \
	tests/e2e/ternary-test tests/e2e/sparse-test tests/e2e/sparse-train-test tests/e2e/generate-test \
	tests/e2e/operators-test tests/e2e/bounded-test tests/e2e/threads-test \
	tests/e2e/shapes-test tests/e2e/training-mode-test tests/e2e/transpose-test
