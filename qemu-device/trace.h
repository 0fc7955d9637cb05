/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QEMU makes it from trace-events. */
#include "trace/trace-hw_misc_rdu.h"
