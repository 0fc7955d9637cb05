# SPDX-License-Identifier: MIT
# rdu: the command line. One subcommand a file.
$(eval $(call program,rdu,$(wildcard tools/rdu/*.c),librdu librdumodel,$(LIB_LDLIBS) -lpci -lz))
