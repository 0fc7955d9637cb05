# SPDX-License-Identifier: MIT
# make install, uninstall, install-dkms, man. Documentation/install.md tells
# what goes where.
PREFIX       ?= /usr/local
DESTDIR      ?=
BINDIR       ?= $(PREFIX)/bin
LIBDIR       ?= $(PREFIX)/lib
INCLUDEDIR   ?= $(PREFIX)/include
MANDIR       ?= $(PREFIX)/share/man
DATADIR      ?= $(PREFIX)/share/rdu
UDEVDIR      ?= $(PREFIX)/lib/udev/rules.d
# Sources for dkms: it looks nowhere else.
DKMSDIR      ?= /usr/src/rdu-$(VERSION)
INSTALL      ?= install

INSTALL_PROGRAMS := $(addprefix $(B)/bin/,rdu rduc rdu-mkmodel)
INSTALL_HEADERS  := $(wildcard include/rdu/*.h)
INSTALL_SONAME   := librdu.so.$(firstword $(subst ., ,$(VERSION)))

# ---- man pages: made from rdu.h's comments and the programs' --help --------

MAN := build/man
MAN_MAKERS := tools/install/mdoc.py
man_python = PYTHONDONTWRITEBYTECODE=1 $(PYTHON)

.PHONY: man
man: $(MAN)/man3.stamp $(INSTALL_PROGRAMS:$(B)/bin/%=$(MAN)/man1/%.1)

$(MAN)/man3.stamp: lib/rdu.h tools/install/man3.py $(MAN_MAKERS) Makefile | $(call packages,install)
	$(call say,MAN,$(MAN)/man3)
	$(Q)rm -rf $(MAN)/man3
	$(Q)$(man_python) tools/install/man3.py $< $(MAN)/man3 $(VERSION)
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

# Written at each install: it names the folders.
define install_pc
sed -e 's|@prefix@|$(PREFIX)|' -e 's|@libdir@|$(LIBDIR:$(PREFIX)/%=$${prefix}/%)|' \
	-e 's|@includedir@|$(INCLUDEDIR:$(PREFIX)/%=$${prefix}/%)|' -e 's|@version@|$(VERSION)|' \
	-e 's|@archives@ ||' -e 's|@cflags@|-I$${includedir}|' lib/librdu.pc.in
endef

# ---- install ---------------------------------------------------------------

.PHONY: install uninstall install-dkms
install: $(INSTALL_PROGRAMS) $(B)/librdu.so.1 $(B)/install/librdu.a man
	$(call say,INSTALL,$(DESTDIR)$(PREFIX))
	$(Q)$(INSTALL) -d $(addprefix $(DESTDIR),$(BINDIR) $(LIBDIR)/pkgconfig $(INCLUDEDIR)/rdu \
		$(INCLUDEDIR)/drm $(MANDIR)/man1 $(MANDIR)/man3 $(UDEVDIR) $(DATADIR))
	$(Q)$(INSTALL) -m 755 $(INSTALL_PROGRAMS) $(DESTDIR)$(BINDIR)
	$(Q)$(INSTALL) -m 644 $(B)/librdu.so.1 $(DESTDIR)$(LIBDIR)/librdu.so.$(VERSION)
	$(Q)ln -sf librdu.so.$(VERSION) $(DESTDIR)$(LIBDIR)/$(INSTALL_SONAME)
	$(Q)ln -sf $(INSTALL_SONAME) $(DESTDIR)$(LIBDIR)/librdu.so
	$(Q)$(INSTALL) -m 644 $(B)/install/librdu.a $(DESTDIR)$(LIBDIR)
	$(Q)$(install_pc) > $(DESTDIR)$(LIBDIR)/pkgconfig/librdu.pc
	$(Q)chmod 644 $(DESTDIR)$(LIBDIR)/pkgconfig/librdu.pc
	$(Q)$(INSTALL) -m 644 lib/rdu.h $(DESTDIR)$(INCLUDEDIR)
	$(Q)$(INSTALL) -m 644 $(INSTALL_HEADERS) $(DESTDIR)$(INCLUDEDIR)/rdu
	$(Q)$(INSTALL) -m 644 include/uapi/drm/rdu_accel.h $(DESTDIR)$(INCLUDEDIR)/drm
	$(Q)$(INSTALL) -m 644 $(MAN)/man1/*.1 $(DESTDIR)$(MANDIR)/man1
	$(Q)$(INSTALL) -m 644 $(MAN)/man3/*.3 $(DESTDIR)$(MANDIR)/man3
	$(Q)$(INSTALL) -m 644 tools/install/60-rdu.rules $(DESTDIR)$(UDEVDIR)
	$(Q)$(INSTALL) -m 644 Documentation/sample.chip $(DESTDIR)$(DATADIR)
	$(Q)if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

uninstall: man
	$(call say,REMOVE,$(DESTDIR)$(PREFIX))
	$(Q)cd $(DESTDIR)$(BINDIR) && rm -f $(notdir $(INSTALL_PROGRAMS))
	$(Q)cd $(DESTDIR)$(LIBDIR) && rm -f librdu.so librdu.so.* librdu.a pkgconfig/librdu.pc
	$(Q)cd $(DESTDIR)$(INCLUDEDIR) && rm -f rdu.h drm/rdu_accel.h $(INSTALL_HEADERS:include/%=%)
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

CONFORMANCE += tests/conformance/install tests/conformance/newcomer tests/conformance/pictures tests/conformance/documentation
