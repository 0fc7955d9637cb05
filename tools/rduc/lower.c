// SPDX-License-Identifier: MIT
/*
 * A nest becomes one section: by the contraction form if it is one, else by the
 * streaming form. What does not fit the chip or its wires is tried again with
 * fewer replicas; what is returned has passed the card's own validation.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

int image_finish(struct backend *be, struct uimage *im)
{
	struct rdu_cfg_diag diag;

	if (be_place(be, im) || be_route(be, im) || be_image(be, im))
		return -1;
	if (!rdu_config_validate(im->bytes, im->size, &be->chip, (uint32_t)be->tiles, &diag)) {
		image_shrink(im);
		return 0;
	}
	return be_error(be, "%s%s: %s",
			diag.error == RDU_CFG_E_TOO_LARGE ? ""
							  : "internal: the section is not valid: ",
			im->name, diag.text);
}

/* The scratchpads that a section finds something in have their places; now the one that fills
 * them. */
static int finish_fill(struct backend *be, struct uimage *im)
{
	int per_tile = (int)rdu_chip_pmus_per_tile(&be->chip), at = be->at, until = be->until, r;
	struct uimage *fill = im->fill;

	if (!fill)
		return 0;
	for (int i = 0; i < im->num_units; i++) {
		struct uunit *u = &im->unit[i];

		if (u->filled < 0)
			continue;
		u->pin = u->tile * per_tile + u->phys;
		fill->unit[u->filled].pin = u->pin;
		u->filled = -1;
	}
	be->at = be->until = im->held->first;
	r = image_pack(fill) ? be_error(be, "%s", fill->error)
			     : image_finish(be, fill) || be_time_about(be, fill, UINT64_MAX);
	be->at = at;
	be->until = until;
	return r;
}

static bool reads_held(const struct backend *be, const struct nest *n)
{
	for (int i = 0; i < n->num_in; i++)
		if (be_hold_of(be, n->in[i].tensor))
			return true;
	return false;
}

static bool reads_made(const struct backend *be, const struct nest *n)
{
	for (int i = 0; i < n->num_in; i++)
		if (be_maker(be, n->in[i].tensor))
			return true;
	return false;
}

/* Does a nest leave it to the arrays to round an operand? */
static bool rounds_operand(const struct backend *be, const struct nest *n)
{
	int in[2];

	return be_contraction(be, n, in) &&
	       (n->in[in[0]].tensor->narrow || n->in[in[1]].tensor->narrow);
}

/* *replicas: how many it was made of, 0: it did not come to that. */
static int attempt(struct backend *be, struct nest *n, const struct lnest *l, const struct plan *pl,
		   int op_id, struct uimage **out, int *replicas)
{
	struct uimage *im = image_new(&be->chip, be->tiles, n->name);
	int r = 1;

	if (!pl->no_contract)
		r = lower_contract(be, im, l, pl, op_id);
	if (r == 1 && reads_held(be, n)) {
		image_fail(im, "there is no plan with an operand held in scratchpads");
		r = -1;
	} else if (r == 1 && rounds_operand(be, n)) {
		image_fail(im, "there is no plan on arrays, for an operand that is stored as bf16");
		r = -1;
	} else if (r == 1 && reads_made(be, n)) {
		image_fail(im, "there is no plan with an operand that is made while it is loaded");
		r = -1;
	} else if (r == 1) {
		r = lower_map(be, im, l, pl, op_id);
	}
	if (r || image_resident(be, im, n) || image_pack(im))
		r = be_error(be, "%s", im->error);
	if (!r)
		r = image_finish(be, im) || finish_fill(be, im);
	be->crowded = r ? im->crowded : NULL;
	*replicas = im->replicas;
	if (r) {
		if (be_prints(be, "lower"))
			fprintf(be_log(be),
				"lower: %s (tried -O%d, %d replicas, %s, activations of %d)\n",
				be->error, pl->level, im->replicas,
				pl->no_contract ? "streaming" : "contraction", pl->chunk);
		image_free(im);
		return -1;
	}
	*out = im;
	return 0;
}

/* The next plainer plan than one that was made of so many replicas. False: there is none. */
static bool plainer(const struct backend *be, struct plan *pl, int replicas)
{
	int most = replicas ? replicas : (int)rdu_chip_pcus_per_tile(&be->chip) * be->tiles;

	if (pl->max_unroll > most)
		pl->max_unroll = most;
	if (pl->max_unroll > 1) {
		pl->max_unroll = pl->max_unroll * 3 / 4;
	} else if (!pl->no_contract) {
		pl->no_contract = true;
		pl->max_unroll = pl->level == 0 ? 2 : 8;
	} else if (pl->chunk > 64) {
		pl->chunk /= 8;
	} else {
		return false;
	}
	return true;
}

/* Plans that are tried before a nest uses less of what is resident. */
#define RESIDENT_TRIES 3

static bool uses_resident(const struct backend *be, const struct nest *n)
{
	for (int i = 0; i < n->num_in; i++)
		if (residence_of(be, n, n->in[i].tensor))
			return true;
	for (int i = 0; i < n->num_out; i++)
		if (residence_of(be, n, n->out[i].access.tensor))
			return true;
	return false;
}

struct plan plan_of_level(int level)
{
	return (struct plan){ .level = level,
			      .chunk = 4096,
			      .max_unroll = level == 0	 ? 2
					    : level == 1 ? 8
							 : 1 << 20 };
}

int be_lower(struct backend *be, struct nest *n, int level, int op_id, struct uimage **im)
{
	int left = uses_resident(be, n) ? RESIDENT_TRIES : INT_MAX;
	struct plan pl = plan_of_level(level);
	char error[256];
	struct lnest l;
	int replicas;

	lnest_from(&l, n);
	if (lnest_check(&l, error, sizeof(error)))
		return be_error(be, "internal: the linear form of nest '%s': %s", n->name, error);
	do {
		if (!attempt(be, n, &l, &pl, op_id, im, &replicas))
			return 0;
	} while (--left && plainer(be, &pl, replicas));
	return 1;
}

/* be_lower() with the compute units and AGCUs of one tile. */
static int lower_as_one_tile(struct backend *be, struct nest *n, int op_id, struct uimage **im)
{
	int r;

	be->share = (struct share){ .pcus = 1.0 / be->tiles, .pmus = 1, .agcus = 1.0 / be->tiles };
	r = be_lower(be, n, be->level, op_id, im);
	be->share = (struct share){ 0 };
	return r;
}

int be_lower_spread(struct backend *be, struct nest *n, int op_id, struct uimage **im)
{
	int r = be_lower(be, n, be->level, op_id, im);

	if (r > 0 && be->tiles > 1 && be->level >= 3 && !be->crowded && uses_resident(be, n))
		r = lower_as_one_tile(be, n, op_id, im);
	return r;
}

/* Memory is one for all tiles: where it decides, few replicas may be faster than many, which open more of
 * its rows at a time. */
int be_lower_fewer(struct backend *be, struct nest *n, int op_id, const struct uimage *before,
		   struct uimage **im)
{
	uint64_t now = (*im)->cycles + be_load_after(be, before, *im), load;
	struct uimage *other;
	int r;

	if ((*im)->held) /* its scratchpads are filled for it */
		return 0;
	r = lower_as_one_tile(be, n, op_id, &other);
	if (r)
		return r < 0 ? -1 : 0;
	load = be_load_after(be, before, other);
	r = now <= load + 1 ? 1 : be_time_about(be, other, now - load - 1);
	if (!r) {
		image_free(*im);
		*im = other;
	} else {
		image_free(other);
	}
	return r < 0 ? -1 : 0;
}
