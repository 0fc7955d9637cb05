// SPDX-License-Identifier: MIT
/*
 * How the nests of a group (pipe.h) share the units: its section is made with one share of them after the other, as
 * long as the card's clock says that it becomes faster.
 *
 * Each is made when it is known how long those before it take. While the clock plays one, the one that will be asked
 * for if that does not become faster is made, too, and another thread plays it: a guess, which is taken as if it was
 * made in its turn, or dropped.
 */
#include <math.h>
#include <string.h>
#include "pipe.h"
#include "mem.h"

#define MEMORY_BOUND 0.8 /* of memory's rate: more units would not help */
#define MOST_SHARINGS 4 /* of the units, each by what the one before kept busy */

/* Words that a contraction takes in an iteration: what it wants scratchpads of its own for. */
static double operands(const struct nest *n)
{
	double sum = 1;

	for (int i = 0; i < n->num_in && n->reduce != REDUCE_NONE; i++) {
		double words = 1;

		for (int d = 0; d < n->ndim; d++)
			if (!n->dim[d].shared && slice_step(&n->in[i], d))
				words *= (double)n->dim[d].extent;
		if (n->in[i].gather_in >= 0)
			words *= (double)n->in[i].tensor->dim[n->in[i].gather_dim];
		sum += words;
	}
	return sum;
}

/* PCUs that a nest cannot do without, about: one that works, and those that bring together what lies in
 * several parts. */
static double least_pcus(const struct trial *g, const struct nest *n)
{
	const struct rdu_chip *chip = &g->be->chip;
	double width = (double)min64(chip->pcu_vec_in, chip->simd_stages), pcus = 2;

	for (int i = 0; i < n->num_in && width > 1; i++) {
		const struct residence *r = &g->be->residence[tensor_storage(n->in[i].tensor)->id];

		if (r->group)
			pcus += (r->num_parts - 1) / (width - 1) + 1;
	}
	return pcus;
}

/* Lowers the nests with shares of the units, and joins them. NULL: that cannot be; *hopeless as of be_join(). */
static struct uimage *lower_shared(struct trial *g, const struct sharing *sharing, int op,
				   bool *hopeless)
{
	struct backend *be = g->be;
	struct be_section s[MOST_NESTS] = { { 0 } };
	struct share share[MOST_NESTS];
	struct uimage *im = NULL;
	double sum = 0, all = 0, before = 0;
	double there = rdu_chip_pcus_per_tile(&be->chip) * (double)be->tiles;
	int made, contractions = 0;

	for (int i = 0; i < g->num; i++) {
		contractions += operands(g->e->nests[g->first + i]) > 1;
		sum += sharing->work[i];
		all += operands(g->e->nests[g->first + i]);
	}
	be->at = g->first;
	be->until = g->first + g->num - 1;
	for (int i = 0; i < g->num; i++) {
		struct nest *n = g->e->nests[g->first + i];

		s[i] = (struct be_section){ .nest = n, .num_nests = 1 };
		share[i] = (struct share){
			.pcus = sharing->pcus * sharing->work[i] / sum,
			.pmus = (operands(n) / all + (operands(n) > 1) / (double)contractions) / 2,
			.agcus = 1.0 / g->num,
			.band = { before / sum, (before + sharing->work[i]) / sum }
		};
		if (sharing->least)
			share[i].pcus = fmax(share[i].pcus, least_pcus(g, n) / there);
		before += sharing->work[i];
	}
	for (int i = 1; be->workers && i < g->num; i++) {
		be->share = share[i];
		be_plan_ahead(be, s[i].nest);
	}
	for (made = 0; made < g->num; made++) {
		be->share = share[made];
		if (be_lower(be, s[made].nest, be->level, op + made, &s[made].im))
			break;
	}
	be->share = (struct share){ 0 };
	g->failed = made < g->num ? made : -1;
	if (made == g->num)
		im = be_join(be, s, g->num, g->first, hopeless);
	for (int i = 0; i < made; i++)
		image_free(s[i].im);
	return im;
}

static void drop_guess(struct trial *g)
{
	image_free(g->guess);
	g->guess = NULL;
}

static bool is_same(const struct trial *g, const struct sharing *a, const struct sharing *b)
{
	return a->pcus == b->pcus && a->least == b->least &&
	       !memcmp(a->work, b->work, sizeof(*a->work) * (size_t)g->num);
}

/* Makes what may be asked for next, for another thread to find out whether it takes `most` cycles. */
static void guess(struct trial *g, const struct sharing *next, int op, uint64_t most)
{
	struct backend *be = g->be;
	struct tensor *crowded = be->crowded;
	bool hopeless;

	if (!be->workers || be_prints(be, "lower") || be_prints(be, "tile"))
		return;
	g->guess = lower_shared(g, next, op, &hopeless);
	g->guessed = *next;
	g->failed = -1;
	be->crowded = crowded;
	if (g->guess)
		be_time_ahead(be, g->guess, most);
}

/* As pipe_make(). next: what will be asked for if it takes longer, or NULL. */
static struct uimage *make(struct trial *g, const struct sharing *sharing,
			   const struct sharing *next, int op, uint64_t most, bool *hopeless)
{
	struct backend *be = g->be;
	struct uimage *im;
	int r;

	*hopeless = false;
	if (g->guess && is_same(g, &g->guessed, sharing)) {
		im = g->guess;
		g->guess = NULL;
		g->failed = -1;
		be->crowded = im->crowded;
	} else {
		drop_guess(g);
		im = lower_shared(g, sharing, op, hopeless);
	}
	if (!im)
		return NULL;
	if (next)
		guess(g, next, op, most);
	r = be_time_about(be, im, most);
	if (!r) {
		g->sharing = *sharing;
		return im;
	}
	*hopeless = r > 0;
	if (r > 0)
		be_error(be, "%s: takes more than %llu cycles", im->name, (unsigned long long)most);
	image_free(im);
	return NULL;
}

struct uimage *pipe_make(struct trial *g, const struct sharing *sharing, int op, uint64_t most,
			 bool *hopeless)
{
	return make(g, sharing, NULL, op, most, hopeless);
}

/* How the work of a made section should be shared: by what its nests' units were busy with. */
static void share_work(const struct trial *g, const struct uimage *im, double *work)
{
	for (int i = 0; i < g->num && i < im->num_shares; i++)
		work[i] = (double)im->share[i].used[RDU_UNIT_PCU] * (double)im->share[i].busy;
}

static struct sharing sharing_of(const struct trial *g, const double *work, double pcus, bool least)
{
	struct sharing s = { .pcus = pcus, .least = least };

	memcpy(s.work, work, sizeof(*work) * (size_t)g->num);
	return s;
}

/* The same with as many of the units as it takes for its nests to find room; then with no fewer for any
 * than it needs. */
static struct uimage *make_some(struct trial *g, const double *work, int op, uint64_t most)
{
	static const double pcus[] = { 0.95, 0.9, 0.85, 0.7, 0.5 };
	const size_t num = sizeof(pcus) / sizeof(pcus[0]);
	struct sharing fewer = sharing_of(g, work, pcus[2], false);
	struct uimage *im = NULL, *less = NULL;
	bool hopeless = false;

	for (size_t i = 0; i < 2 * num && !im && !hopeless; i++) {
		struct sharing s = sharing_of(g, work, pcus[i % num], i >= num);

		im = make(g, &s, i == 1 ? &fewer : NULL, op, most, &hopeless);
		if (!im && be_prints(g->be, "pipe"))
			fprintf(be_log(g->be), "pipe: with %.0f %% of the PCUs: %s\n", 100 * s.pcus,
				g->be->error);
		if (im && i == 1) /* replicas come in steps: a little less may be shared better */
			less = make(g, &fewer, NULL, op, im->cycles - 1, &hopeless);
	}
	drop_guess(g);
	if (!less)
		return im;
	image_free(im);
	return less;
}

struct uimage *pipe_make_shared(struct trial *g, const double *first, int op, uint64_t most)
{
	struct uimage *im = make_some(g, first, op, most);
	double work[MOST_NESTS];

	memcpy(work, first, sizeof(*work) * (size_t)g->num);
	for (int k = 0; im && k < MOST_SHARINGS; k++) {
		struct uimage *again;

		share_work(g, im, work);
		again = make_some(g, work, op, im->cycles - 1);
		if (!again)
			break;
		image_free(im);
		im = again;
	}
	return im;
}

/* The nest that the others wait for. */
static int slowest(const struct trial *g, const struct uimage *im)
{
	int at = 0;

	for (int i = 1; i < g->num && i < im->num_shares; i++)
		if (im->share[i].busy > im->share[at].busy)
			at = i;
	return at;
}

/* The sharing of a made section with `more` times the units for its slowest nest. False: none are left for it, or
 * memory is what it waits for. */
static bool share_wider(const struct trial *g, const struct uimage *im, double more,
			struct sharing *to)
{
	double all = rdu_chip_pcus_per_tile(&g->be->chip) * (double)g->be->tiles, others = 0;
	double rate = be_bytes_per_cycle(&g->be->chip);
	int at = slowest(g, im);
	double own = im->share[at].used[RDU_UNIT_PCU];
	bool left = (double)im->used[RDU_UNIT_PCU] + (more - 1) * own <= all;

	*to = (struct sharing){ .least = true };
	for (int i = 0; i < g->num; i++) {
		double needs = more * (double)im->share[i].busy / (double)im->share[at].busy;

		to->work[i] = im->share[i].used[RDU_UNIT_PCU] * (left ? 1 : fmin(1, needs));
		others += i == at ? 0 : to->work[i];
	}
	to->work[at] = fmin(more * own, all - others);
	to->pcus = (to->work[at] + others) / all;
	return to->work[at] > more / PIPE_WIDER * own &&
	       (double)im->dram_bytes <= rate * MEMORY_BOUND * (double)im->cycles;
}

struct uimage *pipe_widen(struct trial *g, struct uimage *im, int op)
{
	double more = PIPE_WIDER;
	struct sharing s, next;

	while (im && im->num_shares == g->num && share_wider(g, im, more, &s)) {
		bool go_on = share_wider(g, im, more * PIPE_WIDER, &next), hopeless;
		struct uimage *wider =
			make(g, &s, go_on ? &next : NULL, op, im->cycles - 1, &hopeless);

		if (be_prints(g->be, "pipe"))
			fprintf(be_log(g->be), "pipe: %s with %.1f times its units: %s\n",
				g->e->nests[g->first + slowest(g, im)]->name, more,
				wider ? "faster" : g->be->error);
		more = wider ? PIPE_WIDER : more * PIPE_WIDER;
		if (wider) {
			image_free(im);
			im = wider;
		}
	}
	drop_guess(g);
	return im;
}

struct uimage *pipe_make_again(struct trial *g, int op, uint64_t most)
{
	struct sharing was = g->sharing;
	struct uimage *im =
		pipe_make_shared(g, was.work, op, 2 * most); /* it is shared better then */

	return im ? pipe_widen(g, im, op) : NULL;
}
