# SPDX-License-Identifier: MIT
# Self-tests of the driver: run as root in the VM. rdu_prog builds programs with
# the tests' own builder, which asks the model where units are.
# The builder's copy of "no predicates" is of no bytes from nowhere: -Wno-nonnull.
CFLAGS_tests/selftests := -isystem /usr/include/libdrm -I. -Wno-nonnull
CONFORMANCE += tests/conformance/kselftest

$(eval $(call selftest,rdu_query,tests/selftests/rdu_query.c,,))
$(eval $(call selftest,rdu_bo,tests/selftests/rdu_bo.c,,))
$(eval $(call selftest,rdu_userptr,tests/selftests/rdu_userptr.c,,))
$(eval $(call selftest,rdu_ioctl_fuzz,$(addprefix tests/fuzz/,rdu_ioctl_fuzz.c \
	ioctl_fuzz_choose.c ioctl_fuzz_card.c ioctl_fuzz_core.c),librdumodel,))
$(eval $(call selftest,rdu_failnth,tests/selftests/rdu_failnth.c,librdumodel,))
$(eval $(call selftest,rdu_swiotlb,tests/selftests/rdu_swiotlb.c,,))
$(eval $(call selftest,rdu_huge,tests/selftests/rdu_huge.c,,))
$(eval $(call selftest,rdu_vm,tests/selftests/rdu_vm.c,,))
$(eval $(call selftest,rdu_prime,tests/selftests/rdu_prime.c,,))
$(eval $(call selftest,rdu_submit,tests/selftests/rdu_submit.c,,))
$(eval $(call selftest,rdu_prog,tests/selftests/rdu_prog.c,librdumodel,))
$(eval $(call selftest,rdu_isolation,tests/selftests/rdu_isolation.c,librdumodel,))
$(eval $(call selftest,rdu_config,tests/selftests/rdu_config.c,librdumodel,))
$(eval $(call selftest,rdu_remains,tests/selftests/rdu_remains.c,librdumodel,))
$(eval $(call selftest,rdu_timing,tests/selftests/rdu_timing.c,librdumodel,))
$(eval $(call selftest,rdu_limits,tests/selftests/rdu_limits.c,librdumodel,))
$(eval $(call selftest,rdu_life,tests/selftests/rdu_life.c,librdumodel,))
$(eval $(call selftest,rdu_fault,tests/selftests/rdu_fault.c,librdumodel,))
$(eval $(call selftest,rdu_monitor,tests/selftests/rdu_monitor.c,librdumodel,))
$(eval $(call selftest,rdu_tools,tests/selftests/rdu_tools.c,,))
$(eval $(call selftest,librdu,tests/selftests/librdu.c,librdu librdumodel,$(LIB_LDLIBS)))
$(eval $(call selftest,librdu_keep,tests/selftests/librdu_keep.c,librdu librdumodel,$(LIB_LDLIBS)))
$(eval $(call selftest,rdu_reset,tests/selftests/rdu_reset.c,librdumodel,))
$(eval $(call selftest,rdu_pm,tests/selftests/rdu_pm.c,librdumodel,))
$(eval $(call selftest,rdu_uapi,tests/selftests/rdu_uapi.c,,))
# Last: they take the card away and bring it back.
$(eval $(call selftest,rdu_unplug,tests/selftests/rdu_unplug.c,,))
$(eval $(call selftest,rdu_hotplug,tests/selftests/rdu_hotplug.c,librdumodel,))
