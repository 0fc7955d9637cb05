# SPDX-License-Identifier: MIT
# Tests of the QEMU device through QEMU's qtest protocol; no guest runs.
# tests/run starts them with QEMU in the environment.
QTESTS := $(B)/qtest/rdu-qtest
QTEST_SRCS := $(wildcard tests/qtest/*.c)

$(B)/qtest/rdu-qtest: $(call objects,$(B),$(QTEST_SRCS))
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) -o $@ $^
