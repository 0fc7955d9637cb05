// SPDX-License-Identifier: MIT
/*
 * Nests of random shape, compiled at every level for both built-in chips and two of four
 * odd ones (tests/chips), run on the fabric and compared with the plain interpreter. The seed
 * is fixed; arguments: [first case [number of cases [chip]]].
 */
#include "rduc_back_judge.h"
#include "rduc_back_nests.h"

static float value(void)
{
	return (float)((int)rnd(4001) - 2000) / 1000;
}

static bool run_case(int c, const struct rdu_chip *chip, const char *path, struct rdu_pool *pool,
		     char *text, size_t size)
{
	struct module *m = module_new("test");
	struct rduc_options opt = { .chip = chip, .print_after = getenv("P") };
	struct module_entry *e;
	char error[400];
	bool good = true;
	int sums = 0;

	make_case(m, c);
	e = &m->entries[0];
	for (int k = 0; k < e->num_nests; k++)
		sums += e->nests[k]->reduce == REDUCE_ADD;
	/* Either all contractions are in bf16 or none, for the judge; each is an array's or not. */
	opt.fp32 = rnd(4) == 0 || sums > 1;
	opt.tiles = 1 + (int)rnd(chip->tiles);
	for (int k = 0; k < e->num_nests && good; k++)
		if (nest_check(e->nests[k], error, sizeof(error))) {
			snprintf(text, size, "the test's nest is wrong: %s", error);
			good = false;
		}
	good = good && judge(m, opt, value, false, path, pool, text, size);
	module_free(m);
	return good;
}

int main(int argc, char **argv)
{
	int first = argc > 1 ? atoi(argv[1]) : 0, num = argc > 2 ? atoi(argv[2]) : 6 * NUM_KINDS;
	static const char *const built_in[] = { "sn10", "plasticine" };
	static const char *const odd[] = { "tests/chips/tiny8.chip", "tests/chips/wide64.chip",
					   "tests/chips/cut4k.chip", "tests/chips/few.chip" };
	struct rdu_pool *pool = rdu_pool_new(2);
	char path[] = "/tmp/rduc-back-XXXXXX";
	int fd = mkstemp(path), bad = 0;

	if (fd < 0)
		return 1;
	close(fd);
	const char *only = argc > 3 ? argv[3] : NULL;
	int each = only ? 1 : 4;
	bool all = !only && num >= NUM_KINDS;

	printf("1..%d\n", num * each + all);
	for (int c = 0; c < num; c++)
		for (int k = 0; k < each; k++) {
			/* kinds and odd chips go round at different paces: all pairs come */
			const char *name = only	   ? only
					   : k < 2 ? built_in[k]
						   : odd[(c + (k - 2) * 2) % 4];
			struct rdu_chip chip;
			char text[700] = "";
			bool good = !rdu_chip_find(name, &chip, text, sizeof(text)) &&
				    run_case(first + c, &chip, path, pool, text, sizeof(text));

			printf("%sok %d - %s %d on %s%s%s\n", good ? "" : "not ", c * each + k + 1,
			       kinds[(first + c) % NUM_KINDS], first + c, name, good ? "" : ": ",
			       text);
			fflush(stdout);
			bad += !good;
		}
	if (all)
		printf("%sok %d - what stayed for a later run gave the same there, %d times\n",
		       *judged_again() < num / 2 ? "not " : "", num * each + 1, *judged_again());
	bad += all && *judged_again() < num / 2;
	rdu_pool_free(pool);
	unlink(path);
	return bad != 0;
}
