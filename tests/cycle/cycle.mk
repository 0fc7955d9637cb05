# SPDX-License-Identifier: MIT
# The cycle-by-cycle simulator: the judge of modelled time.

CFLAGS_tests/cycle := -Itests/unit -Itools/rduc
CYCLE_SRCS := $(addprefix tests/cycle/,cycle.c cycle_units.c cycle_agcu.c cycle_memory.c)
AGREEMENT_SRCS := tests/cycle/agreement.c $(CYCLE_SRCS)

$(eval $(call unit_test,cycle_small,tests/cycle/cycle_small.c $(CYCLE_SRCS),librdumodel))
$(eval $(call unit_test,cycle_agreement,$(AGREEMENT_SRCS),librduc librdu librdumodel,$(RDUC_LDLIBS)))
$(eval $(call program,rdu-agreement,$(AGREEMENT_SRCS),librduc librdu librdumodel,$(RDUC_LDLIBS)))
$(eval $(call program,rdu-cycles,tests/cycle/rdu-cycles.c $(CYCLE_SRCS),librdumodel,-lelf))
CONFORMANCE += tests/cycle/bits tests/cycle/whole-programs

.PHONY: agreement
agreement: $(B)/bin/rdu-agreement
	$(Q)$< 0 360
