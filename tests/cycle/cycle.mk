# SPDX-License-Identifier: MIT
# The cycle-by-cycle simulator: the judge of modelled time.

CFLAGS_tests/cycle := -Itests/unit
CYCLE_SRCS := $(addprefix tests/cycle/,cycle.c cycle_units.c cycle_agcu.c cycle_memory.c)

$(eval $(call unit_test,cycle_small,tests/cycle/cycle_small.c $(CYCLE_SRCS),librdumodel))
$(eval $(call program,rdu-cycles,tests/cycle/rdu-cycles.c $(CYCLE_SRCS),librdumodel,-lelf))
CONFORMANCE += tests/cycle/bits
