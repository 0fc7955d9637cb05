# SPDX-License-Identifier: MIT
# libFuzzer targets: every parser of bytes that come from outside. Each target
# lives beside this file and is built with the room whose parser it feeds.

fuzz_target = $(if $(wildcard tests/fuzz/fuzz_$(1).c),$(if $(filter %/fuzz_$(1),$(FUZZERS)),,\
	$(eval $(call fuzzer,fuzz_$(1),tests/fuzz/fuzz_$(1).c,$(2),$(3)))))

$(call fuzz_target,config,librdumodel)
$(call fuzz_target,command,librdumodel)
$(call fuzz_target,state,librdumodel)
$(call fuzz_target,program_file,librdu librdumodel,-lelf -ldrm)

# Not a parser: the driver, in the guest. `make fuzz-driver` runs it for long.
CFLAGS_tests/fuzz/rdu_ioctl_fuzz.c := -isystem /usr/include/libdrm -I. -Wno-nonnull
CFLAGS_tests/fuzz/ioctl_fuzz_choose.c := -isystem /usr/include/libdrm -I.
CFLAGS_tests/fuzz/ioctl_fuzz_card.c := -isystem /usr/include/libdrm -I.
CFLAGS_tests/fuzz/ioctl_fuzz_core.c := -isystem /usr/include/libdrm -I.
# A program of its own, not libFuzzer's: the hostile guest of the QEMU device.
FUZZ_FRONT := $(B)/fuzzers/fuzz_front
$(FUZZ_FRONT): $(call objects,$(B),$(wildcard tests/fuzz/fuzz_front*.c) tests/qtest/qtest.c \
		tests/qtest/card.c) $(B)/librdumodel.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

# Its ioctls for syzkaller.
CONFORMANCE += tests/fuzz/check-syzlang

# The differential fuzzer's judge that uses PyTorch, against PyTorch.
CONFORMANCE += tests/fuzz/judge-torch-test
tests/fuzz/judge-torch-test: | build/stamp/torch

# The differential fuzzer of the compiler: a program of its own, run for long by
# `make fuzz-diff`, and, with sanitizers and a fixed seed, a unit test of some seconds.
DIFF_SRCS := tests/fuzz/fuzz_diff.c $(wildcard tests/fuzz/diff/*.c) tests/conformance/onnx_build.c \
	$(G)/onnx.pb-c.c
CFLAGS_tests/fuzz/diff := -Itools/rduc -Itests/unit -Itests/conformance
FUZZ_DIFF := $(B)/fuzzers/fuzz_diff
$(FUZZ_DIFF): $(call objects,$(B),$(DIFF_SRCS)) $(B)/librduc.a $(B)/librdu.a $(B)/librdumodel.a
$(FUZZ_DIFF): LDLIBS += -lprotobuf-c -lelf -ldrm
$(FUZZ_DIFF):
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(link)
$(eval $(call unit_test,fuzz_diff,$(DIFF_SRCS),librduc librdu librdumodel,-lprotobuf-c -lelf -ldrm))
