# SPDX-License-Identifier: MIT
# make install, uninstall, install-dkms, wheel, deb, man. Documentation/install.md tells
# what goes where.
PREFIX       ?= /usr/local
DESTDIR      ?=
BINDIR       ?= $(PREFIX)/bin
LIBDIR       ?= $(PREFIX)/lib
INCLUDEDIR   ?= $(PREFIX)/include
MANDIR       ?= $(PREFIX)/share/man
DATADIR      ?= $(PREFIX)/share/rdu
# Where Debian's Python looks: PREFIX/lib/python3 for what packages bring, its own version's otherwise.
PYTHONDIR    ?= $(PREFIX)/lib/$(if $(filter /usr,$(PREFIX)),python3,$(shell \
	$(PYTHON) -c 'import sys; print("python%d.%d" % sys.version_info[:2])'))/dist-packages
UDEVDIR      ?= $(PREFIX)/lib/udev/rules.d
# Sources for dkms: it looks nowhere else.
DKMSDIR      ?= /usr/src/rdu-$(VERSION)
INSTALL      ?= install

INSTALL_PROGRAMS := $(addprefix $(B)/bin/,rdu rduc rdu-mkmodel)
PUBLIC_HEADERS   := lib/rdu.h tools/rduc/rduc.h
INSTALL_HEADERS  := $(wildcard include/rdu/*.h)
INSTALL_PYTHON   := $(filter-out %/_where.py,$(wildcard lib/python/rdu/*.py))
INSTALL_LIBS     := librdu librduc
# The execution provider for ONNX Runtime, where it is built (lib/onnxruntime/onnxruntime.mk).
INSTALL_PLUGINS  := $(if $(ORT_CFLAGS),$(B)/librdu_onnxruntime.so)
MAJOR            := $(firstword $(subst ., ,$(VERSION)))

# ---- man pages: made from the headers' comments and the programs' --help --------

MAN := build/man
MAN_MAKERS := tools/install/mdoc.py
man_python = PYTHONDONTWRITEBYTECODE=1 $(PYTHON)

.PHONY: man
man: $(MAN)/man3.stamp $(INSTALL_PROGRAMS:$(B)/bin/%=$(MAN)/man1/%.1)

$(MAN)/man3.stamp: $(PUBLIC_HEADERS) tools/install/man3.py $(MAN_MAKERS) Makefile | $(call packages,install)
	$(call say,MAN,$(MAN)/man3)
	$(Q)rm -rf $(MAN)/man3
	$(Q)for h in $(PUBLIC_HEADERS); do \
		$(man_python) tools/install/man3.py $$h $(MAN)/man3 $(VERSION) || exit 1; done
	$(Q)touch $@

$(MAN)/man1/%.1: tools/install/%.1.in $(B)/bin/% tools/install/man1.py $(MAN_MAKERS) | $(call packages,install)
	$(call say,MAN,$@)
	$(Q)$(man_python) tools/install/man1.py $< $(B)/bin/$* $(@D) $(VERSION)

# ---- what is installed but not used here -----------------------------------

# One archive for everybody else, where the tools here link two.
$(B)/install/librdu.a: $(B)/librdu.a $(B)/librdumodel.a
	@mkdir -p $(@D)
	$(call say,AR,$@)
	$(Q)printf 'create $@.new\naddlib $(B)/librdu.a\naddlib $(B)/librdumodel.a\nsave\nend\n' | $(AR) -M
	$(Q)mv $@.new $@

# One object with rduc's calls and no other names: a program may have librdu.a as well.
$(B)/install/librduc.a: $(B)/librduc.a $(B)/librdu.a $(B)/librdumodel.a
	@mkdir -p $(@D)
	$(call say,AR,$@)
	$(Q)rm -f $@ $@.o $@.pulled.o
	$(Q)$(CC) -r -nostdlib -Wl,-u,rduc_new -o $@.o $(filter %.a,$^)
	$(Q)objcopy -w --keep-global-symbol='rduc_*' $@.o $@.pulled.o
	$(Q)$(AR) rcs $@ $@.pulled.o && rm -f $@.o $@.pulled.o

# Written at each install: it names the folders. $(call install_pc,librdu.pc.in)
define install_pc
sed -e 's|@prefix@|$(PREFIX)|' -e 's|@libdir@|$(LIBDIR:$(PREFIX)/%=$${prefix}/%)|' \
	-e 's|@includedir@|$(INCLUDEDIR:$(PREFIX)/%=$${prefix}/%)|' -e 's|@version@|$(VERSION)|' \
	-e 's|@archives@|$(2)|' -e 's|@cflags@|-I$${includedir}|' $(1)
endef

# ---- install ---------------------------------------------------------------

.PHONY: install uninstall install-dkms
install: $(INSTALL_PROGRAMS) $(INSTALL_LIBS:%=$(B)/%.so.1) $(INSTALL_LIBS:%=$(B)/install/%.a) $(INSTALL_PLUGINS) man
	$(call say,INSTALL,$(DESTDIR)$(PREFIX))
	$(Q)$(INSTALL) -d $(addprefix $(DESTDIR),$(BINDIR) $(LIBDIR)/pkgconfig $(INCLUDEDIR)/rdu \
		$(INCLUDEDIR)/drm $(MANDIR)/man1 $(MANDIR)/man3 $(UDEVDIR) $(DATADIR) $(PYTHONDIR)/rdu)
	$(Q)$(INSTALL) -m 755 $(INSTALL_PROGRAMS) $(DESTDIR)$(BINDIR)
	$(Q)set -e; cd $(DESTDIR)$(LIBDIR); for l in $(INSTALL_LIBS); do \
		$(INSTALL) -m 644 $(abspath $(B))/$$l.so.1 $$l.so.$(VERSION); \
		ln -sf $$l.so.$(VERSION) $$l.so.$(MAJOR); ln -sf $$l.so.$(MAJOR) $$l.so; \
		$(INSTALL) -m 644 $(abspath $(B))/install/$$l.a .; done
	$(if $(INSTALL_PLUGINS),$(Q)$(INSTALL) -m 644 $(INSTALL_PLUGINS) $(DESTDIR)$(LIBDIR))
	$(Q)$(call install_pc,lib/librdu.pc.in,) > $(DESTDIR)$(LIBDIR)/pkgconfig/librdu.pc
	$(Q)$(call install_pc,tools/rduc/librduc.pc.in,-lprotobuf-c) > $(DESTDIR)$(LIBDIR)/pkgconfig/librduc.pc
	$(Q)chmod 644 $(INSTALL_LIBS:%=$(DESTDIR)$(LIBDIR)/pkgconfig/%.pc)
	$(Q)$(INSTALL) -m 644 $(PUBLIC_HEADERS) $(DESTDIR)$(INCLUDEDIR)
	$(Q)$(INSTALL) -m 644 $(INSTALL_HEADERS) $(DESTDIR)$(INCLUDEDIR)/rdu
	$(Q)$(INSTALL) -m 644 include/uapi/drm/rdu_accel.h $(DESTDIR)$(INCLUDEDIR)/drm
	$(Q)$(INSTALL) -m 644 $(MAN)/man1/*.1 $(DESTDIR)$(MANDIR)/man1
	$(Q)$(INSTALL) -m 644 $(MAN)/man3/*.3 $(DESTDIR)$(MANDIR)/man3
	$(Q)$(INSTALL) -m 644 $(INSTALL_PYTHON) $(DESTDIR)$(PYTHONDIR)/rdu
	$(Q)sed '/^import os/d; /^#:/,$$d' lib/python/rdu/_where.py > $(DESTDIR)$(PYTHONDIR)/rdu/_where.py
	$(Q)echo 'FOLDER = "$(LIBDIR)"' >> $(DESTDIR)$(PYTHONDIR)/rdu/_where.py
	$(Q)chmod 644 $(DESTDIR)$(PYTHONDIR)/rdu/_where.py
	$(Q)$(man_python) lib/python/rdu_build.py metadata $(DESTDIR)$(PYTHONDIR) >/dev/null
	$(Q)$(INSTALL) -m 644 tools/install/60-rdu.rules $(DESTDIR)$(UDEVDIR)
	$(Q)$(INSTALL) -m 644 Documentation/sample.chip $(DESTDIR)$(DATADIR)
	$(Q)if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

uninstall: man
	$(call say,REMOVE,$(DESTDIR)$(PREFIX))
	$(Q)cd $(DESTDIR)$(BINDIR) && rm -f $(notdir $(INSTALL_PROGRAMS))
	$(Q)cd $(DESTDIR)$(LIBDIR) && rm -f $(foreach l,$(INSTALL_LIBS),$(l).so $(l).so.* $(l).a pkgconfig/$(l).pc)
	$(Q)rm -f $(DESTDIR)$(LIBDIR)/librdu_onnxruntime.so
	$(Q)cd $(DESTDIR)$(INCLUDEDIR) && rm -f $(notdir $(PUBLIC_HEADERS)) drm/rdu_accel.h $(INSTALL_HEADERS:include/%=%)
	$(Q)rm -rf $(DESTDIR)$(PYTHONDIR)/rdu $(DESTDIR)$(PYTHONDIR)/rdu-$(VERSION).dist-info
	$(Q)rmdir $(DESTDIR)$(INCLUDEDIR)/rdu 2>/dev/null || true
	$(Q)for p in $(MAN)/man[13]/*.[13]; do rm -f "$(DESTDIR)$(MANDIR)/$${p#$(MAN)/}"; done
	$(Q)rm -f $(DESTDIR)$(UDEVDIR)/60-rdu.rules $(DESTDIR)$(DATADIR)/sample.chip
	$(Q)rmdir $(DESTDIR)$(DATADIR) 2>/dev/null || true

# The driver's source, as dkms wants it: nothing is compiled.
install-dkms:
	$(call say,INSTALL,$(DESTDIR)$(DKMSDIR))
	$(Q)$(INSTALL) -d $(addprefix $(DESTDIR)$(DKMSDIR)/,driver include/rdu include/uapi/drm)
	$(Q)$(INSTALL) -m 644 Kbuild $(DESTDIR)$(DKMSDIR)
	$(Q)$(INSTALL) -m 644 $(filter-out %.mod.c,$(wildcard driver/*.[ch])) driver/Kbuild driver/Kconfig \
		$(DESTDIR)$(DKMSDIR)/driver
	$(Q)$(INSTALL) -m 644 $(INSTALL_HEADERS) $(DESTDIR)$(DKMSDIR)/include/rdu
	$(Q)$(INSTALL) -m 644 $(wildcard include/uapi/drm/*.h) $(DESTDIR)$(DKMSDIR)/include/uapi/drm
	$(Q)sed 's|#MODULE_VERSION#|$(VERSION)|' driver/dkms.conf > $(DESTDIR)$(DKMSDIR)/dkms.conf
	$(Q)chmod 644 $(DESTDIR)$(DKMSDIR)/dkms.conf

# ---- packages ---------------------------------------------------------------

.PHONY: wheel deb
wheel: $(INSTALL_LIBS:%=$(B)/%.so.1)
	@rm -rf build/wheel && mkdir -p build/wheel
	$(call say,WHEEL,build/wheel)
	$(Q)$(man_python) lib/python/rdu_build.py wheel build/wheel

# By debhelper, of what `make install` lays out; whose package it is, DEBFULLNAME and DEBEMAIL say.
DEB := build/deb/rdu-$(VERSION)
date = date $${SOURCE_DATE_EPOCH:+-d @$$SOURCE_DATE_EPOCH}
maintainer = $${DEBFULLNAME:-$$(id -un)} <$${DEBEMAIL:-$$(id -un)@$$(hostname -f 2>/dev/null || hostname)}>
deb: $(INSTALL_PROGRAMS) $(INSTALL_LIBS:%=$(B)/%.so.1) $(INSTALL_LIBS:%=$(B)/install/%.a) man \
		$(call packages,packages)
	$(Q)rm -rf build/deb && mkdir -p $(DEB) && cp -r tools/install/debian $(DEB)
	$(Q)sed -i "s|@MAINTAINER@|$(maintainer)|" $(DEB)/debian/control
	$(Q)sed 's/^$$/./; s/^/ /' LICENSES/MIT.txt | sed -i -e '/@MIT@/{r /dev/stdin' -e 'd}' \
		-e "s|@YEAR@|$$($(date) +%Y)|" $(DEB)/debian/copyright
	$(Q)printf 'rdu (%s) unstable; urgency=medium\n\n  * As the source has it.\n\n -- %s  %s\n' \
		"$(VERSION)" "$(maintainer)" "$$($(date) -R)" > $(DEB)/debian/changelog
	$(call say,DEB,build/deb)
	$(Q)cd $(DEB) && MAKEFLAGS= RDU_TOP=$(abspath .) debian/rules binary >../log 2>&1 || { tail -n 20 ../log; exit 1; }
	$(Q)ls build/deb/*.deb

CONFORMANCE += tests/conformance/install tests/conformance/newcomer tests/conformance/pictures tests/conformance/documentation
