# SPDX-License-Identifier: MIT
# rdu: the command line. One subcommand a file.
$(eval $(call program,rdu,$(wildcard tools/rdu/*.c) tools/json.c,librdu librdumodel,$(LIB_LDLIBS) -lpci -lz -lncursesw -ltinfo))

CFLAGS_tests/unit/lib_tools.c := -Itools/rdu
$(eval $(call unit_test,lib_tools,tests/unit/lib_tools.c tools/json.c $(addprefix tools/rdu/,util.c tensor.c \
	idx.c timeline.c),librdu librdumodel,$(LIB_LDLIBS) -lz))
