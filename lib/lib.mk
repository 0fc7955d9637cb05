# SPDX-License-Identifier: MIT
# librdu: an archive for the tools and tests here (link librdumodel after it),
# and a shared library that holds both for everybody else.
LIB_SRCS := $(wildcard lib/*.c)
LIB_LDLIBS := -ldrm -lm -lpthread

CFLAGS_lib/error.c = -DRDU_VERSION='"$(VERSION)"'
CFLAGS_lib = -fPIC -fvisibility=hidden
# One set of model objects serves the archive and the shared library.
CFLAGS_qemu-device/model += -fPIC -fvisibility=hidden
DRM_CFLAGS = $(shell pkg-config --cflags libdrm)
CFLAGS_lib/drm.c = $(DRM_CFLAGS)
CFLAGS_lib/drm_find.c = $(DRM_CFLAGS)

$(eval $(call library,librdu,$(LIB_SRCS)))

$(B)/librdu.so.1: $(B)/librdu.a $(B)/librdumodel.a lib/librdu.map
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) -shared -Wl,-soname,librdu.so.1 -Wl,--version-script=lib/librdu.map \
		-Wl,-z,defs -o $@ -Wl,--whole-archive $(B)/librdu.a -Wl,--no-whole-archive \
		$(B)/librdumodel.a $(LIB_LDLIBS)
	$(Q)ln -sf librdu.so.1 $(B)/librdu.so

$(B)/librdu.pc: lib/librdu.pc.in | $(call packages,build)
	@mkdir -p $(@D)
	$(Q)sed -e 's|@prefix@|$(abspath .)|' -e 's|@libdir@|$${prefix}/$(B)|' \
		-e 's|@includedir@|$${prefix}|' -e 's|@version@|$(VERSION)|' \
		-e 's|@archives@|-lrdumodel|' \
		-e 's|@cflags@|-I$${includedir}/lib -I$${includedir}/include|' $< > $@

ALL += $(B)/librdu.so.1 $(B)/librdu.pc

$(foreach t,file keep model sizes,$(eval $(call unit_test,lib_$(t),tests/unit/lib_$(t).c,librdu librdumodel,$(LIB_LDLIBS))))
