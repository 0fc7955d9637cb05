// SPDX-License-Identifier: MIT
/* librdu on the driver: all that tests/unit/lib_keep.c asks of it on the model. */
#define TEST_DEVICE "auto"
#include "tests/unit/lib_keep.c"
