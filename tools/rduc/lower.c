// SPDX-License-Identifier: MIT
/*
 * A nest becomes one section: by the contraction form if it is one, else by the
 * streaming form. What does not fit the chip or its wires is tried again with
 * fewer replicas; what is returned has passed the card's own validation.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"

static int attempt(struct backend *be, struct nest *n, const struct lnest *l, const struct plan *pl,
		   int op_id, struct uimage **out)
{
	struct uimage *im = image_new(&be->chip, be->tiles, n->name);
	struct rdu_cfg_diag diag;
	int r = 1;

	be->error[0] = 0;
	if (!pl->no_contract)
		r = lower_contract(be, im, l, pl, op_id);
	if (r == 1)
		r = lower_map(be, im, l, pl, op_id);
	if (!r)
		r = image_pack(im, be->error, be->error_size);
	if (!r)
		r = be_place(be, im);
	if (!r)
		r = be_route(be, im);
	if (!r)
		r = be_image(be, im);
	if (!r && rdu_config_validate(im->bytes, im->size, &be->chip, (uint32_t)be->tiles, &diag))
		r = be_error(be, "internal: %s: the section is not valid: %s", n->name, diag.text);
	if (r) {
		if (be_prints(be, "lower"))
			fprintf(stderr, "lower: %s: %s (tried %d replicas)\n", n->name, be->error,
				pl->max_unroll);
		image_free(im);
		return -1;
	}
	*out = im;
	return 0;
}

int be_lower(struct backend *be, struct nest *n, int op_id, struct uimage **im)
{
	int level = be->opt->opt;
	struct plan pl = {
		.level = level,
		.chunk = 4096,
		.max_unroll = level == 0   ? 2
			      : level == 1 ? 8
					   : 1 << 20,
		.no_systolic = be->opt->fp32 || !be->chip.systolic_cols,
	};
	struct lnest l;

	lnest_from(&l, n);
	for (int i = 0; i < 32; i++) {
		if (!attempt(be, n, &l, &pl, op_id, im))
			return 0;
		if (pl.max_unroll > 4096)
			pl.max_unroll =
				(int)(rdu_chip_pcus_per_tile(&be->chip) * (unsigned int)be->tiles);
		if (pl.max_unroll > 1) {
			pl.max_unroll = pl.max_unroll * 3 / 4;
		} else if (!pl.no_contract) {
			pl.no_contract = true;
			pl.max_unroll = level == 0 ? 2 : 8;
		} else if (pl.chunk > 64) {
			pl.chunk /= 8;
		} else {
			break;
		}
	}
	return -1;
}
