# SPDX-License-Identifier: MIT
#
# Top of the build: everything the project makes is made from here, and lands
# in build/.
#
#   make            host library, tools and test programs
#   make deps       installs the Debian packages that run and test need (FOR="bench fuzz": what those do)
#   make run        the demonstration: a network trained and served in a VM
#   make test       the tests; the last line is "N passed, M failed, K skipped"
#   make vm         a shell in a VM with the card
#   make bench      measurements, one line each (BENCH=NAME runs one)
#   make validation modelled time beside published time; writes Documentation/validation.md
#   make sensitivities  which assumed numbers carry the results; writes that page, too
#   make zoo        public models: compiled, run, compared; writes Documentation/models.md
#   make study      small language models, dense and sparse, trained on the card; writes Documentation/study.md
#   make fuzz       each fuzzer for FUZZ_SECONDS (60); fuzz-card: those of the card
#   make fuzz-driver   the driver's fuzzer for so long, on a debug kernel in a VM
#   make agreement  the card's clock against the cycle-by-cycle simulator, over 500 sections
#   make fuzz-diff  random models against other judges, for so long
#   make install    library, tools and man pages, under DESTDIR and PREFIX
#   make wheel      the Python package as a wheel; make deb: Debian packages
#   make help       the list with the variables
#
# How a room adds to it
# ---------------------
# A room has one fragment (lib/lib.mk, tools/rduc/rduc.mk, ...), found by the
# list FRAGMENTS below and read with the project's top as current folder.
# Paths in it are relative to the top. It says what it makes by six calls;
# SRCS are C files, LIBS are archives named as in the call to `library`, LDLIBS
# are linker flags (-lm -lelf ...):
#
#   $(eval $(call library,librdu,SRCS))               build/{host,asan,fuzz}/librdu.a
#   $(eval $(call program,rduc,SRCS,LIBS,LDLIBS))     build/host/bin/rduc
#   $(eval $(call unit_test,NAME,SRCS,LIBS,LDLIBS))   build/asan/tests/NAME   (ASan+UBSan)
#   $(eval $(call fuzzer,NAME,SRCS,LIBS,LDLIBS))      build/fuzz/fuzzers/NAME (clang, libFuzzer)
#   $(eval $(call bench,NAME,SRCS,LIBS,LDLIBS))       build/host/bench/NAME
#   $(eval $(call selftest,NAME,SRCS,LIBS,LDLIBS))    build/host/selftests/NAME (run in the VM, as root)
#
# Anything else is an ordinary rule. These variables can be used and added to:
#
#   B A F             build/host, build/asan, build/fuzz
#   G                 build/gen: generated sources (it is on the include path)
#   GENERATED         headers that must exist before anything is compiled
#   PROGRAMS UNIT_TESTS FUZZERS BENCHES SELFTESTS   what the calls append to
#   CONFORMANCE       scripts or programs run by `make test` on the host, TAP output
#   CFLAGS_<folder>   flags for C files of that folder (no slash at the end)
#   CFLAGS_<file.c>   flags for one C file
#   ALL               extra things `make` builds
#
# A test prints TAP ("1..N", "ok N - what", "not ok N - what", "# SKIP why"),
# or prints none and exits 0 (passed), 77 (skipped) or otherwise (failed).
# A bench prints "bench NAME VALUE UNIT vs PEER VALUE ratio R".
# A generated C file $(G)/x.c is named like any other in SRCS.

# Neither make, nor QEMU's build, nor the kernel's can work in such a folder.
quote := '
bad_characters := $(shell printf %s '$(subst $(quote),'\'',$(CURDIR))' | \
	LC_ALL=C tr -d 'A-Za-z0-9/._+@~\200-\377-' | sed 's/./"&" /g')
ifneq ($(bad_characters),)
$(error the path of this folder, $(CURDIR), has $(bad_characters)in it: move the tree to one \
	of letters, digits and . _ + - @ ~ only)
endif

# The release: of the library, the packages and the man pages.
VERSION := 1.0

MAKEFLAGS += --no-builtin-rules
# As many jobs as processors, unless it was said how many.
ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif
.SUFFIXES:
.DELETE_ON_ERROR:
.PRECIOUS: build/stamp/packages-%
.DEFAULT_GOAL := all

B := build/host
A := build/asan
F := build/fuzz
G := build/gen

CC       := gcc
CLANG    ?= clang
AR       := ar
PYTHON   ?= /usr/bin/python3
CPPFLAGS := -Iinclude -Iinclude/uapi -Iqemu-device/model -Ilib -I$(G) -D_GNU_SOURCE
CFLAGS   := -std=gnu11 -O2 -g -Wall -Wextra -Werror -ffp-contract=off -fno-math-errno
LDFLAGS  :=
LDLIBS   := -lm -lpthread
SAN      := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
FUZZ_SECONDS ?= 60

PROGRAMS :=
UNIT_TESTS :=
FUZZERS :=
BENCHES :=
SELFTESTS :=
CONFORMANCE :=
GENERATED :=
ALL :=
LIBRARIES :=

# Say what is done, one line a step; V=1 shows the commands.
ifeq ($(V),1)
say =
Q :=
else
say = @printf '  %-7s %s\n' $(1) $(2)
Q := @
endif

# Debian packages: tools/vm/packages/PURPOSE has those of one purpose. Whatever the goals
# need is asked for once, before anything is made; deps, run and test install it, the
# others say what is missing and stop.
needs_run := qemu kernel
needs_vm := qemu kernel
needs_bench := qemu kernel bench torch
needs_zoo := zoo
needs_study := study
needs_fuzz := qemu fuzz
needs_fuzz-card := qemu fuzz
needs_fuzz-driver := qemu kernel debug-kernel
needs_qemu := qemu
needs_qemu-asan := qemu
needs_kernel := kernel
needs_driver := kernel
needs_image := kernel
needs_man := install
needs_install := install
needs_deb := install packages
needs_test = $(if $(GROUPS),$(foreach g,$(GROUPS),$(needs_of_group_$(g))),qemu kernel install root)
needs_of_group_conformance = kernel install
needs_of_group_qtest = qemu
needs_of_group_selftests = qemu kernel
needs_of_group_end-to-end = qemu kernel
needs_of_group_newest = qemu kernel root
needs_of_group_trixie = qemu kernel root
needs_of_group_packages = root install packages
needs_of_group_onnxruntime = root install
needs_of_group_trixie-readme = root
needs_of_group_debug = qemu kernel debug-kernel
needs_of_group_failslab = qemu kernel debug-kernel
needs_of_group_fuzz-driver = qemu kernel debug-kernel
needs_deps = $(foreach goal,$(or $(FOR),run test),$(needs_$(goal)))
purposes := $(sort build $(foreach goal,$(MAKECMDGOALS),$(needs_$(goal))) \
	$(if $(filter $(F)/%,$(MAKECMDGOALS)),fuzz))
ifneq ($(filter deps run test fuzz-driver,$(MAKECMDGOALS)),)
export RDU_INSTALL := yes
endif
empty :=
all_packages := build/stamp/packages-$(subst $(empty) $(empty),+,$(purposes))
packages = $(if $(filter $(1),$(purposes)),$(all_packages),build/stamp/packages-$(1))

# $(call objects,BUILD,SRCS)
objects = $(patsubst %.c,$(1)/%.o,$(2))

define library
LIBRARIES += $(B)/$(1).a
$(B)/$(1).a: $(call objects,$(B),$(2))
$(A)/$(1).a: $(call objects,$(A),$(2))
$(F)/$(1).a: $(call objects,$(F),$(2))
endef

define program
PROGRAMS += $(B)/bin/$(1)
$(B)/bin/$(1): $(call objects,$(B),$(2)) $(patsubst %,$(B)/%.a,$(3))
$(B)/bin/$(1): LDLIBS += $(4)
endef

define unit_test
UNIT_TESTS += $(A)/tests/$(1)
$(A)/tests/$(1): $(call objects,$(A),$(2)) $(patsubst %,$(A)/%.a,$(3))
$(A)/tests/$(1): LDLIBS += $(4)
endef

define fuzzer
FUZZERS += $(F)/fuzzers/$(1)
$(F)/fuzzers/$(1): $(call objects,$(F),$(2)) $(patsubst %,$(F)/%.a,$(3))
$(F)/fuzzers/$(1): LDLIBS += $(4)
endef

define bench
BENCHES += $(B)/bench/$(1)
$(B)/bench/$(1): $(call objects,$(B),$(2)) $(patsubst %,$(B)/%.a,$(3))
$(B)/bench/$(1): LDLIBS += $(4)
endef

define selftest
SELFTESTS += $(B)/selftests/$(1)
$(B)/selftests/$(1): $(call objects,$(B),$(2)) $(patsubst %,$(B)/%.a,$(3))
$(B)/selftests/$(1): LDLIBS += $(4)
endef

FRAGMENTS := qemu-device/model/model.mk lib/lib.mk tools/rduc/rduc.mk lib/onnxruntime/onnxruntime.mk \
	tools/rdu/rdu.mk tests/unit/unit.mk tests/cycle/cycle.mk tests/qtest/qtest.mk \
	tests/selftests/selftests.mk tests/conformance/conformance.mk \
	tests/fuzz/fuzz.mk tests/bench/bench.mk tools/install.mk
-include $(FRAGMENTS)

.PHONY: all
all: $(PROGRAMS) $(LIBRARIES) $(ALL)

# ---- compiling and linking -------------------------------------------------

flags_of = $(CFLAGS_$(patsubst %/,%,$(dir $(1)))) $(CFLAGS_$(1))
ready    = $(call packages,build) $(GENERATED)

$(B)/%.o: %.c | $(ready)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(call flags_of,$<) -MMD -MP -c -o $@ $<

$(A)/%.o: %.c | $(ready)
	@mkdir -p $(@D)
	$(call say,CC-SAN,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(call flags_of,$<) $(SAN) -MMD -MP -c -o $@ $<

$(F)/%.o: %.c | $(ready) $(call packages,fuzz)
	@mkdir -p $(@D)
	$(call say,CC-FUZZ,$<)
	$(Q)$(CLANG) $(CPPFLAGS) $(CFLAGS) $(call flags_of,$<) -O1 \
		-Wno-unknown-warning-option -Wno-pass-failed $(SAN) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<

%.a:
	@mkdir -p $(@D)
	$(call say,AR,$@)
	$(Q)rm -f $@.$$$$ && $(AR) rcs $@.$$$$ $(or $(filter %.o,$^),$(error $@ has no sources)) && mv $@.$$$$ $@

# Archives are listed twice: two libraries may call each other's functions.
link = $(filter %.o,$^) $(filter %.a,$^) $(filter %.a,$^) $(LDLIBS)

$(PROGRAMS) $(BENCHES) $(SELFTESTS):
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(link)

# Not a pattern: objects of tests/ land in $(A)/tests too.
$(UNIT_TESTS):
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(SAN) $(LDFLAGS) -o $@ $(link)

$(F)/fuzzers/%:
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CLANG) $(CFLAGS) $(SAN) -fsanitize=fuzzer $(LDFLAGS) -o $@ $(link)

build/stamp/packages-%: $(wildcard tools/vm/packages/*)
	@mkdir -p $(@D)
	$(Q)tools/vm/install-packages $(subst +, ,$*) && touch $@

.PHONY: deps
deps:
	$(Q)tools/vm/install-packages $(purposes) && echo '  PKG     all packages are there, for $(or $(FOR),run and test)'

# ---- the machine -----------------------------------------------------------

# A kernel release, "newest" for the newest of all of Debian's suites, or nothing
# for the newest 6.12 of the distribution.
KERNEL ?=
export KERNEL QEMU CARDS CHIP MEM SMP

.PHONY: qemu kernel driver image
# After the image, if both are wanted: what is wrong there need not wait for QEMU's build.
qemu: $(call packages,qemu) $(B)/librdumodel.a | $(if $(filter bench image,$(MAKECMDGOALS)),image)
	$(Q)tools/vm/build-qemu

# The same with ASan and UBSan, for the fuzzer of the card's front.
.PHONY: qemu-asan
qemu-asan: $(call packages,qemu) $(A)/librdumodel.a
	$(Q)SANITIZE=yes tools/vm/build-qemu

kernel: $(call packages,kernel)
	$(Q)tools/vm/get-kernel

driver: kernel
	$(Q)tools/vm/build-driver

image: driver all $(SELFTESTS)
	$(Q)tools/vm/build-image

.PHONY: vm run test bench fuzz fuzz-card clean format help unit selftests
vm: $(all_packages)
	$(Q)MAKE='$(MAKE)' tools/vm/parts qemu image
	$(Q)tools/vm/vm shell

run: $(all_packages)
	$(Q)MAKE='$(MAKE)' tools/vm/parts qemu image
	$(Q)tools/vm/demo

# tests/run builds what each group needs, so that a part which does not build
# is a counted failure and not the end of the tests.
test: $(all_packages)
	@MAKE='$(MAKE)' tests/run $(GROUPS)

unit: $(UNIT_TESTS)
selftests: $(SELFTESTS)

# Those of the host are programs, or a script; those of the guest run in one boot of the VM.
host_benches := $(filter-out %/guest/way_in,$(BENCHES)) tests/bench/ternary_decode
host_wanted  := $(if $(BENCH),$(filter %/$(BENCH),$(host_benches)),$(host_benches))
guest_wanted := $(if $(BENCH),$(filter $(BENCH),$(GUEST_BENCHES)),$(GUEST_BENCHES))
ifneq ($(filter bench,$(MAKECMDGOALS)),)
ifeq ($(host_wanted)$(guest_wanted),)
$(error there is no benchmark BENCH=$(BENCH): $(notdir $(host_benches)) $(GUEST_BENCHES))
endif
endif
# A section's time is part of what is measured.
bench: export RDU_TIME_CACHE := off
bench: $(call packages,bench) $(BENCHES) all $(if $(guest_wanted),qemu image)
	@set -e; for b in $(host_wanted); do $$b; done
	@$(if $(guest_wanted),tests/bench/guest $(guest_wanted))

fuzz: $(FUZZERS) $(FUZZ_FRONT) qemu-asan all
	@tests/fuzz/seed
	@tests/run-fuzzers $(FUZZ_SECONDS) $(FUZZERS) $(FUZZ_FRONT)

# Those that attack the card: its commands in the model, its front in QEMU.
fuzz-card: $(F)/fuzzers/fuzz_command $(FUZZ_FRONT) qemu-asan
	@tests/run-fuzzers $(FUZZ_SECONDS) $(filter-out qemu-asan,$^)

# The driver's fuzzer, in a guest with the debug kernel (FUZZ_SEED=number: the same choices again).
.PHONY: fuzz-driver
fuzz-driver: $(all_packages)
	@MAKE='$(MAKE)' FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_SEED=$(FUZZ_SEED) tests/run fuzz-driver

# Random models through the whole compiler, against each other and other judges
# (FUZZ_SEED=number: the same ones again).
.PHONY: fuzz-diff
fuzz-diff:
	@MAKE='$(MAKE)' FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_SEED=$(FUZZ_SEED) tests/run fuzz-diff

# The kernel's own parts are checked by its checkpatch instead.
format:
	$(Q)clang-format -i $$(git ls-files 'lib/*.c' 'tools/*.c' 'qemu-device/*.c' 'tests/*.c' | grep -v selftests)

clean:
	rm -rf $(B) $(A) $(F) $(G) build/module build/image build/log \
		build/man build/install-test build/wheel build/deb

# `make print-UNIT_TESTS` prints a variable; scripts use it.
print-%:
	@echo '$($*)'

help:
	@echo 'make            library, tools and test programs for the host'
	@echo 'make deps       install the Debian packages that run and test need (FOR="bench fuzz": what those do);'
	@echo '                only deps, run and test install any, the others name them and stop'
	@echo 'make run        demonstration: train and serve a network in a VM with the card'
	@echo 'make test       the tests (GROUPS="unit conformance qtest selftests newest trixie end-to-end" to choose;'
	@echo '                only when named: packages; onnxruntime; debug failslab fuzz-driver, on a debug kernel; trixie-readme, an hour)'
	@echo 'make vm         shell in a VM with the card, driver loaded, working tree visible'
	@echo 'make python-test   the tests of the Python package (in the group conformance, too)'
	@echo 'make bench      measurements against peers (BENCH=NAME for one)'
	@echo 'make validation, sensitivities   modelled time beside published time, and which assumed'
	@echo '                numbers carry it: writes the pages of those names in Documentation'
	@echo 'make zoo        public models on the card, beside ONNX Runtime; writes Documentation/models.md'
	@echo 'make study      language models trained on the card, dense and sparse (STUDY_STEPS=100 each);'
	@echo '                writes Documentation/study.md'
	@echo 'make fuzz       every fuzzer for FUZZ_SECONDS=60 (fuzz-card: those of the card)'
	@echo 'make fuzz-driver    the driver'"'"'s fuzzer for FUZZ_SECONDS=60, on the debug kernel in a VM'
	@echo 'make agreement  the card'\''s clock against the cycle-by-cycle simulator, over 500 sections'
	@echo 'make fuzz-diff  random models against other judges for FUZZ_SECONDS=60 (FUZZ_SEED=N: again)'
	@echo 'make qemu kernel driver image     the parts of the VM, one by one'
	@echo 'make install    library, tools, man pages (DESTDIR= PREFIX=/usr/local); uninstall, install-dkms'
	@echo 'make wheel      the Python package as a wheel, in build/wheel; deb: Debian packages, in build/deb'
	@echo 'make clean      remove what was compiled here (downloads, QEMU and kernels stay)'
	@echo
	@echo 'KERNEL=newest QEMU=program CARDS=2 CHIP=plasticine MEM=2G SMP=2 V=1'

-include $(shell find $(B) $(A) $(F) -name '*.d' 2>/dev/null)
