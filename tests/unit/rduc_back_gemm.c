// SPDX-License-Identifier: MIT
/*
 * Matrix products: a large one must be expected to reach 40 % of the systolic
 * peak of the whole chip, which is what off-chip memory leaves of it, and one that fits on the chip must load each operand
 * once; its values are compared with the interpreter's on some rows.
 */
#include <math.h>
#include "nest.h"
#include "rduc_back_run.h"

static int num_tests;

static void ok(bool good, const char *what, double value)
{
	printf("%sok %d - %s (%.4g)\n", good ? "" : "not ", ++num_tests, what, value);
	fflush(stdout);
}

static struct module *gemm(int64_t M, int64_t N, int64_t K, enum rdu_dtype dt)
{
	struct module *m = module_new("gemm");
	struct module_entry *e = module_entry(m, "forward");
	struct nest *n = module_nest(m, e, "gemm", "MatMul");
	int a, b, out;

	nest_dim(n, "m", M, false);
	nest_dim(n, "n", N, false);
	nest_dim(n, "k", K, true);
	a = nest_input(n, module_tensor(m, "a", TENSOR_INPUT, dt, 2, (int64_t[]){ M, K }));
	b = nest_input(n, module_tensor(m, "b", TENSOR_INPUT, dt, 2, (int64_t[]){ K, N }));
	n->in[a].coef[0][0] = n->in[a].coef[1][2] = 1;
	n->in[b].coef[0][2] = n->in[b].coef[1][1] = 1;
	n->reduce = REDUCE_ADD;
	n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, a), nest_in(n, b), -1);
	out = nest_output(n, module_tensor(m, "c", TENSOR_OUTPUT, dt, 2, (int64_t[]){ M, N }),
			  nest_red(n));
	n->out[out].access.coef[0][0] = n->out[out].access.coef[1][1] = 1;
	return m;
}

static bool compile(struct module *m, const struct rdu_chip *chip, int tiles, const char *path,
		    struct ran *r)
{
	struct rduc_options opt = { .chip = chip, .opt = 3, .tiles = tiles };
	char error[512] = "";

	if (rduc_backend(m, &opt, path, error, sizeof(error)) || ran_open(r, path)) {
		printf("# %s\n", error);
		return false;
	}
	return true;
}

static void large(const struct rdu_chip *chip, const char *path)
{
	const double n = 32768;
	struct module *m = gemm(32768, 32768, 32768, RDU_DT_BF16);
	char error[512] = "";
	struct ran r;

	if (!compile(m, chip, (int)chip->tiles, path, &r)) {
		ok(false, "a product of 32768 cubed compiles", 0);
	} else {
		/* no memory is needed to ask for the time */
		for (size_t i = 0; i < r.num_regions; i++) {
			free(r.memory[i]);
			r.memory[i] = NULL;
		}
		ok(!ran_entry(&r, 0, NULL, false, error, sizeof(error)), "it is valid", 1);
		ok((double)r.macs >= n * n * n, "it multiplies as often as it must",
		   (double)r.macs);
		double share = 2 * n * n * n / ((double)r.cycles / (chip->clock_khz * 1e3)) /
			       rdu_chip_peak_bf16_flops(chip);

		ok(share >= 0.4, "at least 40 % of the systolic peak", 100 * share);
		ran_close(&r);
	}
	module_free(m);
}

static void small(const struct rdu_chip *chip, const char *path)
{
	enum { M = 1024, N = 1024, K = 1024 };
	struct module *m = gemm(M, N, K, RDU_DT_F32);
	struct rdu_pool *pool = rdu_pool_new(2);
	char error[512] = "";
	double worst = 0;
	float *a, *b, *c;
	struct ran r;

	if (!compile(m, chip, 1, path, &r)) {
		ok(false, "a product of 1024 cubed compiles", 0);
		return;
	}
	a = ran_symbol(&r, "a");
	b = ran_symbol(&r, "b");
	c = ran_symbol(&r, "c");
	/* small integers over a power of two: exact in bf16, so all orders of sums agree */
	for (int i = 0; i < M * K; i++)
		a[i] = (float)((i * 7 + i / 31) % 15 - 7) / 8;
	for (int i = 0; i < K * N; i++)
		b[i] = (float)((i * 5 + i / 29) % 13 - 6) / 4;
	ok(!ran_entry(&r, 0, pool, true, error, sizeof(error)), "1024 cubed runs", 0);
	ok(r.dram_bytes < 1.1 * 3 * 4 * 1024 * 1024, "each operand is loaded once, MB",
	   (double)r.dram_bytes / 1e6);
	for (int i = 0; i < M; i += 93)
		for (int j = 0; j < N; j++) {
			double s = 0;

			for (int k = 0; k < K; k++)
				s += (double)a[i * K + k] * b[k * N + j];
			worst = fmax(worst, fabs(s - c[i * N + j]));
		}
	ok(worst == 0, "its values are exact", worst);
	ran_close(&r);
	rdu_pool_free(pool);
	module_free(m);
}

int main(void)
{
	char path[] = "/tmp/rduc-gemm-XXXXXX", error[256];
	int fd = mkstemp(path);
	struct rdu_chip chip;

	if (fd < 0 || rdu_chip_find("sn10", &chip, error, sizeof(error)))
		return 1;
	close(fd);
	printf("1..6\n");
	large(&chip, path);
	small(&chip, path);
	unlink(path);
	return 0;
}
