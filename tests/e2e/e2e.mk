# SPDX-License-Identifier: MIT
# End-to-end tests that need no VM: tools, library and card model together.

define e2e_test
$(call unit_test,$(1),tests/e2e/$(1).c,librdu librdumodel,-lelf -ldrm)
$(A)/tests/$(1): | $(B)/bin/rduc $(B)/bin/rdu-mkmodel
endef

$(eval $(call e2e_test,swap_test))
$(eval $(call e2e_test,flip_test))
$(eval $(call e2e_test,bits_test))
$(eval $(call e2e_test,grad_test))

CONFORMANCE += tests/e2e/judge-test
