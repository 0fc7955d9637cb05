/* SPDX-License-Identifier: MIT */
/* Nests of given shape: those on which a clock was found to be wrong. */
#ifndef CYCLE_NESTS_H
#define CYCLE_NESTS_H

#include "rduc_back_nests.h"

/* Windows of k x k every s, p of padding, over [N,C,Y,X]: maximum, or product with
 * weights [O,C,k,k] where O is not 0. */
struct window {
	int N, C, Y, X, O, k, s, p;
};

static inline void make_window(struct module *m, const struct window *w)
{
	struct nest *n = module_nest(m, module_entry(m, "forward"), "window", "test");
	int64_t y = (w->Y + 2 * w->p - w->k) / w->s + 1, x = (w->X + 2 * w->p - w->k) / w->s + 1;
	int64_t xd[4] = { w->N, w->C, w->Y, w->X }, wd[4] = { w->O, w->C, w->k, w->k };
	int64_t yd[4] = { w->N, w->O ? w->O : w->C, y, x };
	int c = w->O ? 4 : 1, ky = w->O ? 5 : 4, in, in2, out;

	nest_dim(n, "n", w->N, false);
	nest_dim(n, "o", yd[1], false);
	nest_dim(n, "y", y, false);
	nest_dim(n, "x", x, false);
	if (w->O)
		nest_dim(n, "c", w->C, true);
	nest_dim(n, "ky", w->k, true);
	nest_dim(n, "kx", w->k, true);
	in = nest_input(n, tensor(m, "x0", TENSOR_INPUT, 4, xd));
	n->in[in].coef[0][0] = n->in[in].coef[1][c] = 1;
	for (int d = 0; d < 2; d++) {
		n->in[in].coef[2 + d][2 + d] = w->s;
		n->in[in].coef[2 + d][ky + d] = 1;
		n->in[in].offset[2 + d] = -w->p;
	}
	n->in[in].guarded = w->p > 0;
	n->in[in].pad = w->O ? 0 : 0xff800000u;
	n->reduce = w->O ? REDUCE_ADD : REDUCE_MAX;
	n->body = nest_in(n, in);
	if (w->O) {
		in2 = nest_input(n, tensor(m, "x1", TENSOR_INPUT, 4, wd));
		n->in[in2].coef[0][1] = n->in[in2].coef[1][4] = n->in[in2].coef[2][5] =
			n->in[in2].coef[3][6] = 1;
		n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, in), nest_in(n, in2), -1);
	}
	out = nest_output(n, tensor(m, "y0", TENSOR_OUTPUT, 4, yd), nest_red(n));
	for (int d = 0; d < 4; d++)
		n->out[out].access.coef[d][d] = 1;
}

/* [M,K] x [K,N] */
static inline void make_product(struct module *m, int64_t M, int64_t N, int64_t K)
{
	struct nest *n = module_nest(m, module_entry(m, "forward"), "product", "test");
	int64_t a[2] = { M, K }, b[2] = { K, N }, y[2] = { M, N };
	int ia, ib, out;

	nest_dim(n, "m", M, false);
	nest_dim(n, "n", N, false);
	nest_dim(n, "k", K, true);
	ia = nest_input(n, tensor(m, "x0", TENSOR_INPUT, 2, a));
	ib = nest_input(n, tensor(m, "x1", TENSOR_INPUT, 2, b));
	n->in[ia].coef[0][0] = n->in[ia].coef[1][2] = 1;
	n->in[ib].coef[0][2] = n->in[ib].coef[1][1] = 1;
	n->reduce = REDUCE_ADD;
	n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, ia), nest_in(n, ib), -1);
	out = nest_output(n, tensor(m, "y0", TENSOR_OUTPUT, 2, y), nest_red(n));
	n->out[out].access.coef[0][0] = n->out[out].access.coef[1][1] = 1;
}

#endif
