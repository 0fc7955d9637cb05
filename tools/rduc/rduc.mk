# SPDX-License-Identifier: MIT
# The compiler, and the program that writes small ONNX models.

# C code for ONNX's protobuf messages, from the schema that libonnx-dev brings.
GENERATED += $(G)/onnx.pb-c.h
$(G)/onnx.pb-c.h: | $(call packages,build)
	@mkdir -p $(@D)
	$(call say,GEN,$@)
	$(Q)proto=$$(dpkg -L libonnx-dev | grep '/onnx/onnx\.proto$$') && \
		protoc -I$${proto%/*} --c_out=$(G) onnx.proto
# protoc writes both; which first, it does not say.
$(G)/onnx.pb-c.c: $(G)/onnx.pb-c.h
	$(Q)touch $@

MKMODEL_SRCS := $(wildcard tools/rduc/mkmodel*.c)
RDUC_MAIN := tools/rduc/main.c tools/rduc/display.c
RDUC_SRCS := $(filter-out $(RDUC_MAIN) $(MKMODEL_SRCS),$(wildcard tools/rduc/*.c)) tools/json.c $(G)/onnx.pb-c.c
RDUC_LDLIBS := -lprotobuf-c -lelf
# Before every source here: see there.
CFLAGS_tools/rduc := -include tools/rduc/mem.h -fPIC -fvisibility=hidden
CFLAGS_$(G)/onnx.pb-c.c := -DNDEBUG -fPIC -fvisibility=hidden
CFLAGS_tools/json.c := -fPIC -fvisibility=hidden
CFLAGS_tools/rduc/compile.c = -DRDU_VERSION='"$(VERSION)"'
CFLAGS_tests/unit += -Itools/rduc -Itests/unit
CFLAGS_tests/fuzz += -Itools/rduc

$(eval $(call library,librduc,$(RDUC_SRCS)))
# The shared library: the compiler, and what it needs of librdu and the card's model.
RDUC_SO_LDLIBS := -lprotobuf-c -lm -lpthread
$(B)/librduc.so.1: $(B)/librduc.a $(B)/librdu.a $(B)/librdumodel.a tools/rduc/librduc.map
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) -shared -Wl,-soname,librduc.so.1 -Wl,--version-script=tools/rduc/librduc.map \
		-Wl,-z,defs -o $@ -Wl,-u,rduc_new $(filter %.a,$^) $(RDUC_SO_LDLIBS)
	$(Q)ln -sf librduc.so.1 $(B)/librduc.so

$(B)/librduc.pc: tools/rduc/librduc.pc.in | $(call packages,build)
	@mkdir -p $(@D)
	$(Q)sed -e 's|@prefix@|$(abspath .)|' -e 's|@libdir@|$${prefix}/$(B)|' \
		-e 's|@includedir@|$${prefix}|' -e 's|@version@|$(VERSION)|' \
		-e 's|@archives@|-lrdu -lrdumodel -lprotobuf-c -ldrm|' \
		-e 's|@cflags@|-I$${includedir}/tools/rduc|' $< > $@

ALL += $(B)/librduc.so.1 $(B)/librduc.pc

$(eval $(call program,rduc,$(RDUC_MAIN),librduc librdu librdumodel,$(RDUC_LDLIBS)))
$(eval $(call program,rdu-mkmodel,$(MKMODEL_SRCS),librduc librdu librdumodel,$(RDUC_LDLIBS)))

CFLAGS_tests/unit/timing_rest.c := -Itests/cycle
rduc_test = $(eval $(call unit_test,$(basename $(notdir $(1))),$(1),librduc librdu librdumodel,$(RDUC_LDLIBS)))
$(foreach t,$(wildcard tests/unit/rduc_*.c) tests/unit/timing_laws.c tests/unit/timing_rest.c,$(call rduc_test,$(t)))

ifneq ($(wildcard tests/fuzz/fuzz_onnx.c),)
$(eval $(call fuzzer,fuzz_onnx,tests/fuzz/fuzz_onnx.c,librduc librdu librdumodel,$(RDUC_LDLIBS)))
$(eval $(call fuzzer,fuzz_options,tests/fuzz/fuzz_options.c,librduc librdu librdumodel,$(RDUC_LDLIBS)))
endif
