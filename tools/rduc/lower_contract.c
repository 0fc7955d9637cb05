// SPDX-License-Identifier: MIT
#include "backend.h"
int lower_contract(struct backend *be, struct uimage *im, const struct lnest *l,
		   const struct plan *pl, int op_id)
{ (void)be; (void)im; (void)l; (void)pl; (void)op_id; return 1; }
