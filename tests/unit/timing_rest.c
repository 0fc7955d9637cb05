// SPDX-License-Identifier: MIT
/*
 * What the card's clock leaves out of a section: the time with it, against the time when
 * every activation is played, over sections of some 100,000 cycles that take it different
 * ways: nested loops of activations, one long activation, memory that decides, stores that
 * hold up what seems steady for a while. And estimates of the same sections, which look at no firing.
 */
#include <math.h>
#include <unistd.h>
#include "cycle_nests.h"
#include "rduc_back_run.h"
#include "tap.h"
#include "timing_priv.h"

#define WORST 0.08 /* of a section */
#define MEAN 0.02 /* of all */
#define ESTIMATE_WORST 0.4 /* of a section's estimate */
#define ESTIMATE_MEAN 0.15

static double sum, estimate_sum; /* of errors */
static unsigned int num;

/* whole: the section is short enough to be played as a whole; else its estimate is held against the clock. */
static void compare(const char *name, const struct ran *r, const struct rdu_prog_section *sec,
		    uint32_t tiles, bool whole)
{
	struct rdu_cfg_diag diag;
	static const struct rdu_offchip alone;
	struct rdu_patience patience[3] = { { 0 }, { .whole = whole }, { .estimate = true } };
	uint64_t cycles[3] = { 0 };
	double off;

	for (int i = 0; i < 3; i++) {
		struct rdu_section *s = rdu_section_new(r->program + sec->offset, sec->size,
							&r->chip, tiles, &diag);
		const struct rdu_section_time *t =
			rdu_section_time_within(s, NULL, &alone, NULL, NULL, &patience[i]);

		cycles[i] = t ? t->cycles : 0;
		if (t)
			rdu_section_time_put(t);
		rdu_section_free(s);
	}
	if (whole) {
		off = (double)cycles[0] / (double)cycles[1] - 1;
		sum += fabs(off);
		estimate_sum += fabs((double)cycles[2] / (double)cycles[1] - 1);
		num++;
		ok(cycles[0] && fabs(off) <= WORST,
		   "%s: %llu cycles, %llu when all is played: %+.2f %%", name,
		   (unsigned long long)cycles[0], (unsigned long long)cycles[1], 100 * off);
	}
	off = (double)cycles[2] / (double)cycles[1] - 1;
	ok(cycles[2] && fabs(off) <= ESTIMATE_WORST, "%s: an estimate of %llu cycles: %+.2f %%",
	   name, (unsigned long long)cycles[2], 100 * off);
}

/* Compiles the module at a level, and frees it. */
static void judge(struct module *m, const char *chip_name, int level, const char *name,
		  const char *path)
{
	struct rdu_chip chip;
	struct rduc_options opt = { .chip = &chip, .opt = level };
	char error[400] = "";
	struct ran r;

	if (rdu_chip_find(chip_name, &chip, error, sizeof(error)) ||
	    rduc_backend(m, &opt, path, error, sizeof(error)) || ran_open(&r, path)) {
		ok(false, "%s: %s", name, error);
	} else {
		const struct rdu_prog_header *h = (const void *)r.program;
		const struct rdu_prog_section *sec = (const void *)(r.program + h->sections_off);

		for (uint32_t k = 0; k < h->num_sections; k++)
			compare(name, &r, &sec[k], h->num_tiles, level == 3);
		ran_close(&r);
	}
	module_free(m);
}

int main(void)
{
	static const struct {
		const char *chip;
		int m, n, k;
	} product[] = {
		{ "sn10", 2048, 2048, 1024 },	  { "sn10", 1024, 3072, 768 },
		{ "sn10", 4096, 64, 2048 },	  { "plasticine", 256, 512, 768 },
		{ "plasticine", 512, 128, 1024 }, { "tests/chips/few.chip", 256, 256, 256 },
	};
	static const struct {
		const char *chip;
		struct window w;
	} window[] = {
		{ "sn10", { 8, 64, 56, 56, 64, 3, 1, 1 } },
		{ "sn10", { 16, 32, 112, 112, 0, 3, 2, 1 } },
		{ "plasticine", { 2, 16, 28, 28, 32, 3, 1, 1 } },
	};
	char path[] = "/tmp/timing-rest-XXXXXX", name[100];
	struct module *m;
	int fd = mkstemp(path);
	unsigned int i;

	if (fd < 0)
		return 1;
	close(fd);
	for (i = 0; i < sizeof(product) / sizeof(product[0]); i++) {
		m = module_new("test");
		make_product(m, product[i].m, product[i].n, product[i].k);
		snprintf(name, sizeof(name), "%d x %d x %d, %s", product[i].m, product[i].n,
			 product[i].k, product[i].chip);
		judge(m, product[i].chip, 3, name, path);
	}
	for (i = 0; i < sizeof(window) / sizeof(window[0]); i++) {
		m = module_new("test");
		make_window(m, &window[i].w);
		snprintf(name, sizeof(name), "%d images of %d x %d x %d, %s", window[i].w.N,
			 window[i].w.C, window[i].w.Y, window[i].w.X, window[i].chip);
		judge(m, window[i].chip, 3, name, path);
	}
	/* Longer than what an estimate looks at: the rest goes on like it. */
	m = module_new("test");
	make_product(m, 32768, 32768, 32768);
	judge(m, "sn10", 1, "32768 x 32768 x 32768, -O1", path);
	ok(sum / num <= MEAN, "off by %.2f %% in the mean", 100 * sum / num);
	ok(estimate_sum / num <= ESTIMATE_MEAN, "estimates off by %.2f %% in the mean",
	   100 * estimate_sum / num);
	unlink(path);
	return tap_done();
}
