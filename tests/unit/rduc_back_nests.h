/* SPDX-License-Identifier: MIT */
/*
 * Modules of one random nest, or of a few in a chain: what the compiler's back half and
 * the card's clock are tried on. A case's number says all of it.
 */
#ifndef RDUC_BACK_NESTS_H
#define RDUC_BACK_NESTS_H

#include <stdio.h>
#include <string.h>
#include "nest.h"

static const char *const kinds[] = { "map", "reduce", "pool", "matmul", "conv", "chain", "cut" };
#define NUM_KINDS ((int)(sizeof(kinds) / sizeof(kinds[0])))

static uint64_t rng_state;

static uint32_t rnd(uint32_t n)
{
	rng_state = rng_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(rng_state >> 33) % n;
}

static int extent(void)
{
	switch (rnd(6)) {
	case 0:
		return 1 + (int)rnd(3);
	case 1:
		return 32;
	case 2:
		return 1 + (int)rnd(70);
	case 3:
		return 16 << rnd(3);
	default:
		return 1 + (int)rnd(20);
	}
}

static struct tensor *tensor(struct module *m, const char *name, enum tensor_kind kind, int ndim,
			     const int64_t *dim)
{
	return module_tensor(m, name, kind, RDU_DT_F32, ndim, dim);
}

/* Elementwise chain on 1 to 4 dimensions with transposed and broadcast inputs. */
static void make_map(struct module *m, struct module_entry *e)
{
	struct nest *n = module_nest(m, e, "map", "test");
	int nd = 1 + (int)rnd(4), v[8], num = 0;
	int64_t dim[8];
	struct tensor *t;

	for (int d = 0; d < nd; d++) {
		dim[d] = extent();
		nest_dim(n, "d", dim[d], false);
	}
	for (int k = 0; k < 1 + (int)rnd(4); k++) {
		char name[16];
		int perm[8], td = 0;
		int64_t tdim[8];

		for (int d = 0; d < nd; d++)
			perm[d] = d;
		for (int d = nd - 1; d > 0 && rnd(3) == 0; d--) {
			int o = (int)rnd((uint32_t)d + 1), s = perm[d];

			perm[d] = perm[o];
			perm[o] = s;
		}
		int keep[8];

		for (int d = 0; d < nd; d++)
			if (rnd(4)) {
				keep[td] = perm[d];
				tdim[td++] = dim[perm[d]];
			}
		snprintf(name, sizeof(name), "x%d", k);
		t = tensor(m, name, TENSOR_INPUT, td, tdim);
		int in = nest_input(n, t);

		for (int d = 0; d < td; d++)
			n->in[in].coef[d][keep[d]] = 1;
		v[num++] = nest_in(n, in);
	}
	int acc = v[0];

	for (int k = 0; k < 1 + (int)rnd(12); k++) {
		static const enum rdu_simd_op two[] = { RDU_SIMD_FADD, RDU_SIMD_FSUB, RDU_SIMD_FMUL,
							RDU_SIMD_FMAX, RDU_SIMD_FMIN };
		static const enum rdu_simd_op one[] = { RDU_SIMD_FNEG, RDU_SIMD_FABS,
							RDU_SIMD_FLOOR, RDU_SIMD_F2BF };
		int b = v[rnd((uint32_t)num)];

		if (rnd(5) == 0)
			acc = nest_op(n, one[rnd(4)], acc, -1, -1);
		else if (rnd(6) == 0)
			acc = nest_op(n, RDU_SIMD_SELECT, nest_op(n, RDU_SIMD_FLT, acc, b, -1), b,
				      acc);
		else if (rnd(6) == 0)
			acc = nest_op(n, RDU_SIMD_FADD, acc,
				      nest_op(n, RDU_SIMD_I2F,
					      nest_index(n, (int)rnd((uint32_t)nd)), -1, -1),
				      -1);
		else
			acc = nest_op(n, two[rnd(5)], acc, rnd(3) ? b : nest_imm_f(n, 0.5f), -1);
		if (num < 8 && rnd(2))
			v[num++] = acc;
	}
	for (int k = 0; k < 1 + (int)rnd(2); k++) {
		char name[16];

		snprintf(name, sizeof(name), "y%d", k);
		t = tensor(m, name, TENSOR_OUTPUT, nd, dim);
		int o = nest_output(n, t, k ? v[num - 1] : acc);

		for (int d = 0; d < nd; d++)
			n->out[o].access.coef[d][d] = 1;
	}
}

static void make_reduce(struct module *m, struct module_entry *e)
{
	struct nest *n = module_nest(m, e, "reduce", "test");
	int nd = 1 + (int)rnd(4), td = 0, in, out, body;
	static const enum reduce_op op[] = { REDUCE_ADD, REDUCE_MAX, REDUCE_MIN };
	int64_t dim[8], odim[8];

	for (int d = 0; d < nd; d++) {
		dim[d] = extent();
		nest_dim(n, "d", dim[d], rnd(2) || (d == nd - 1 && td == d));
		if (!n->dim[d].reduce)
			odim[td++] = dim[d];
	}
	in = nest_input(n, tensor(m, "x0", TENSOR_INPUT, nd, dim));
	for (int d = 0; d < nd; d++)
		n->in[in].coef[d][d] = 1;
	n->reduce = op[rnd(3)];
	body = nest_in(n, in);
	if (rnd(2))
		body = nest_op(n, RDU_SIMD_FADD, body, nest_imm_f(n, 1.5f), -1);
	n->body = body;
	body = nest_red(n);
	if (rnd(2))
		body = nest_op(n, RDU_SIMD_FMUL, body, nest_imm_f(n, 0.25f), -1);
	out = nest_output(n, tensor(m, "y0", TENSOR_OUTPUT, td, odim), body);
	for (int d = 0, k = 0; d < nd; d++)
		if (!n->dim[d].reduce)
			n->out[out].access.coef[k++][d] = 1;
}

/* x[.., i * s + k - p] windows: maximum or sum. */
static void make_pool(struct module *m, struct module_entry *e)
{
	struct nest *n = module_nest(m, e, "pool", "test");
	int k = 1 + (int)rnd(4), s = 1 + (int)rnd(3), p = (int)rnd(2), in, out;
	int64_t N = extent(), C = 1 + rnd(5), Y = 1 + rnd(9), X = 1 + rnd(9);
	int64_t xd[4] = { N, C, (Y - 1) * s + k - p, (X - 1) * s + k - p }, yd[4] = { N, C, Y, X };

	if (xd[2] < 1 || xd[3] < 1)
		xd[2] = xd[3] = 9;
	nest_dim(n, "n", N, false);
	nest_dim(n, "c", C, false);
	nest_dim(n, "y", Y, false);
	nest_dim(n, "x", X, false);
	nest_dim(n, "ky", k, true);
	nest_dim(n, "kx", k, true);
	in = nest_input(n, tensor(m, "x0", TENSOR_INPUT, 4, xd));
	n->reduce = rnd(2) ? REDUCE_MAX : REDUCE_ADD;
	n->in[in].coef[0][0] = n->in[in].coef[1][1] = 1;
	for (int d = 0; d < 2; d++) {
		n->in[in].coef[2 + d][2 + d] = s;
		n->in[in].coef[2 + d][4 + d] = 1;
		n->in[in].offset[2 + d] = -p;
	}
	n->in[in].guarded = true;
	n->in[in].pad = n->reduce == REDUCE_MAX ? 0xff800000u : 0;
	n->body = nest_in(n, in);
	out = nest_output(n, tensor(m, "y0", TENSOR_OUTPUT, 4, yd), nest_red(n));
	for (int d = 0; d < 4; d++)
		n->out[out].access.coef[d][d] = 1;
}

static int epilogue(struct module *m, struct nest *n, int nd, const int *dims)
{
	int r = nest_red(n);

	if (rnd(2)) { /* bias along one of the output's dimensions, then a clamp */
		int d = dims[rnd((uint32_t)nd)], in;
		int64_t len = n->dim[d].extent;

		in = nest_input(n, tensor(m, "bias", TENSOR_INPUT, 1, &len));
		n->in[in].coef[0][d] = 1;
		r = nest_op(n, RDU_SIMD_FADD, r, nest_in(n, in), -1);
		if (rnd(2))
			r = nest_op(n, RDU_SIMD_FMAX, r, nest_imm_f(n, 0), -1);
	}
	return r;
}

/* Any number of parallel dimensions of either operand, any of contraction. */
static void make_matmul(struct module *m, struct module_entry *e)
{
	struct nest *n = module_nest(m, e, "matmul", "test");
	int role[6], nd, in[2], out, od = 0, odims[8];
	int64_t tdim[2][8], odim[8];

	do { /* 0: A and out, 1: B and out, 2: contraction, 3: all */
		bool k = false;
		double work = 1;

		nd = 2 + (int)rnd(4);
		n->ndim = 0;
		for (int d = 0; d < nd; d++) {
			role[d] = rnd(12) ? (int)rnd(3) : 3;
			k |= role[d] == 2;
			nest_dim(n, "d", extent(), role[d] == 2);
			work *= (double)n->dim[d].extent;
		}
		if (k && work < 3e6)
			break;
	} while (1);
	for (int o = 0; o < 2; o++) {
		int td = 0, order[8];

		for (int d = 0; d < nd; d++)
			if (role[d] == o || role[d] >= 2)
				order[td++] = d;
		for (int d = td - 1; d > 0 && rnd(2); d--) {
			int x = (int)rnd((uint32_t)d + 1), t = order[d];

			order[d] = order[x];
			order[x] = t;
		}
		for (int d = 0; d < td; d++)
			tdim[o][d] = n->dim[order[d]].extent;
		in[o] = nest_input(n, tensor(m, o ? "x1" : "x0", TENSOR_INPUT, td, tdim[o]));
		for (int d = 0; d < td; d++)
			n->in[in[o]].coef[d][order[d]] = 1;
	}
	n->reduce = REDUCE_ADD;
	n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, in[0]), nest_in(n, in[1]), -1);
	for (int d = 0; d < nd; d++)
		if (role[d] != 2) {
			odims[od] = d;
			odim[od++] = n->dim[d].extent;
		}
	out = nest_output(n, tensor(m, "y0", TENSOR_OUTPUT, od, odim),
			  od ? epilogue(m, n, od, odims) : nest_red(n));
	for (int d = 0; d < od; d++)
		n->out[out].access.coef[d][odims[d]] = 1;
}

/* Convolution: forward, or the gradient of its weights. */
static void make_conv(struct module *m, struct module_entry *e)
{
	struct nest *n = module_nest(m, e, "conv", "test");
	int k = 1 + (int)rnd(5), s = 1 + (int)rnd(2), p = (int)rnd(3), x, w, out;
	bool grad = rnd(3) == 0;
	int64_t N = rnd(2) ? 16 + rnd(33) : 1 + rnd(4), C = 1 + rnd(6), O = 1 + rnd(12);
	int64_t Y = 1 + rnd(7), X = 1 + rnd(7), in_y = (Y - 1) * s + k - 2 * p;
	int64_t in_x = (X - 1) * s + k - 2 * p;
	static const int fdims[] = { 0, 1, 2, 3 };

	if (in_y < 1 || in_x < 1) {
		in_y += 2 * p;
		in_x += 2 * p;
		p = 0;
	}
	int64_t xd[4] = { N, C, in_y, in_x }, wd[4] = { O, C, k, k }, yd[4] = { N, O, Y, X };

	nest_dim(n, "n", N, grad);
	nest_dim(n, "o", O, false);
	nest_dim(n, "y", Y, grad);
	nest_dim(n, "x", X, grad);
	nest_dim(n, "c", C, !grad);
	nest_dim(n, "ky", k, !grad);
	nest_dim(n, "kx", k, !grad);
	x = nest_input(n, tensor(m, "x0", TENSOR_INPUT, 4, xd));
	n->in[x].coef[0][0] = n->in[x].coef[1][4] = 1;
	for (int d = 0; d < 2; d++) {
		n->in[x].coef[2 + d][2 + d] = s;
		n->in[x].coef[2 + d][5 + d] = 1;
		n->in[x].offset[2 + d] = -p;
	}
	n->in[x].guarded = p > 0;
	w = nest_input(n, tensor(m, "x1", TENSOR_INPUT, 4, grad ? yd : wd));
	if (grad) {
		for (int d = 0; d < 4; d++)
			n->in[w].coef[d][d] = 1;
	} else {
		n->in[w].coef[0][1] = n->in[w].coef[1][4] = n->in[w].coef[2][5] =
			n->in[w].coef[3][6] = 1;
	}
	n->reduce = REDUCE_ADD;
	n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, x), nest_in(n, w), -1);
	out = nest_output(n, tensor(m, "y0", TENSOR_OUTPUT, 4, grad ? wd : yd),
			  grad ? nest_red(n) : epilogue(m, n, 4, fdims));
	if (grad)
		n->out[out].access.coef[0][1] = n->out[out].access.coef[1][4] =
			n->out[out].access.coef[2][5] = n->out[out].access.coef[3][6] = 1;
	else
		for (int d = 0; d < 4; d++)
			n->out[out].access.coef[d][d] = 1;
}

static struct tensor *temp(struct module *m, int ndim, const int64_t *dim)
{
	static int num;
	char name[32];

	snprintf(name, sizeof(name), "t%d", num++);
	return tensor(m, name, TENSOR_TEMP, ndim, dim);
}

/* A map of one or two tensors of the same shape, at the same point. */
static struct nest *same_map(struct module *m, struct module_entry *e, struct tensor *a,
			     struct tensor *b, struct tensor *to, enum rdu_simd_op op)
{
	struct nest *n = module_nest(m, e, "same", "test");
	int ia, ib = -1, out;

	for (int d = 0; d < a->ndim; d++)
		nest_dim(n, "d", a->dim[d], false);
	ia = nest_input(n, a);
	if (b)
		ib = nest_input(n, b);
	out = nest_output(
		n, to,
		nest_op(n, op, nest_in(n, ia), b ? nest_in(n, ib) : nest_imm_f(n, 0.25f), -1));
	for (int d = 0; d < a->ndim; d++) {
		n->in[ia].coef[d][d] = n->out[out].access.coef[d][d] = 1;
		if (b)
			n->in[ib].coef[d][d] = 1;
	}
	return n;
}

/* A small network with a batch, a flattening view, maps to be fused and an
 * update in place: fusion, layout and storage have to agree. */
static void make_chain(struct module *m, struct module_entry *e)
{
	int64_t N = rnd(3) ? 16u << rnd(3) : 1 + rnd(40), C = 1 + rnd(5), Y = 2 * (1 + rnd(4));
	int64_t X = 2 * (1 + rnd(4)), F = C * Y / 2 * (X / 2), O = 1 + rnd(20), fill;
	int64_t d4[4] = { N, C, Y, X }, h4[4] = { N, C, Y / 2, X / 2 }, flat[2] = { N, F };
	int64_t wd[2] = { O, F }, od[2] = { N, O };
	struct tensor *x = tensor(m, "x0", TENSOR_INPUT, 4, d4);
	struct tensor *w = tensor(m, "w", TENSOR_INPUT, 2, wd), *t, *u, *v, *pooled, *logits;
	struct nest *n;
	int in, in2, out;

	t = temp(m, 4, d4);
	same_map(m, e, x, NULL, t, RDU_SIMD_FMUL);
	u = temp(m, 4, d4);
	same_map(m, e, t, x, u, RDU_SIMD_FADD);
	pooled = temp(m, 4, h4);
	n = module_nest(m, e, "pool", "test");
	nest_dim(n, "n", N, false);
	nest_dim(n, "c", C, false);
	nest_dim(n, "y", Y / 2, false);
	nest_dim(n, "x", X / 2, false);
	nest_dim(n, "ky", 2, true);
	nest_dim(n, "kx", 2, true);
	in = nest_input(n, u);
	n->reduce = REDUCE_MAX;
	n->body = nest_in(n, in);
	out = nest_output(n, pooled, nest_red(n));
	for (int d = 0; d < 4; d++) {
		n->in[in].coef[d][d] = d < 2 ? 1 : 2;
		n->out[out].access.coef[d][d] = 1;
	}
	n->in[in].coef[2][4] = n->in[in].coef[3][5] = 1;
	v = tensor(m, "flat", TENSOR_TEMP, 2, flat);
	v->view_of = pooled;
	logits = rnd(2) ? temp(m, 2, od) : tensor(m, "y0", TENSOR_OUTPUT, 2, od);
	n = module_nest(m, e, "dense", "test");
	nest_dim(n, "m", N, false);
	nest_dim(n, "o", O, false);
	nest_dim(n, "k", F, true);
	in = nest_input(n, v);
	in2 = nest_input(n, w);
	n->in[in].coef[0][0] = n->in[in].coef[1][2] = 1;
	n->in[in2].coef[0][1] = n->in[in2].coef[1][2] = 1;
	n->reduce = REDUCE_ADD;
	n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, in), nest_in(n, in2), -1);
	out = nest_output(n, logits, nest_red(n));
	n->out[out].access.coef[0][0] = n->out[out].access.coef[1][1] = 1;
	same_map(m, e, logits, NULL, t = temp(m, 2, od), RDU_SIMD_FMAX);
	same_map(m, e, t, logits, tensor(m, "y1", TENSOR_OUTPUT, 2, od), RDU_SIMD_FSUB);
	/* the pool's gradient: writes every element of a window, then a map of it */
	t = temp(m, 4, d4);
	n = module_nest(m, e, "unpool", "test");
	for (int d = 0; d < 4; d++)
		nest_dim(n, "d", d < 2 ? d4[d] : h4[d], false);
	nest_dim(n, "ky", 2, false);
	nest_dim(n, "kx", 2, false);
	in = nest_input(n, pooled);
	in2 = nest_input(n, u);
	out = nest_output(n, t,
			  nest_op(n, RDU_SIMD_SELECT,
				  nest_op(n, RDU_SIMD_FEQ, nest_in(n, in), nest_in(n, in2), -1),
				  nest_in(n, in), nest_imm_f(n, 0)));
	for (int d = 0; d < 4; d++) {
		n->in[in].coef[d][d] = 1;
		n->in[in2].coef[d][d] = n->out[out].access.coef[d][d] = d < 2 ? 1 : 2;
	}
	n->in[in2].coef[2][4] = n->out[out].access.coef[2][4] = 1;
	n->in[in2].coef[3][5] = n->out[out].access.coef[3][5] = 1;
	same_map(m, e, t, x, tensor(m, "y2", TENSOR_OUTPUT, 4, d4), RDU_SIMD_FADD);
	/* w += sum over the batch of y1 x flat, in place */
	fill = 0;
	for (int i = 0; i < m->num_tensors; i++)
		if (!strcmp(m->tensors[i]->name, "y1"))
			fill = i;
	t = temp(m, 2, wd);
	n = module_nest(m, e, "grad", "test");
	nest_dim(n, "o", O, false);
	nest_dim(n, "k", F, false);
	nest_dim(n, "m", N, true);
	in = nest_input(n, m->tensors[fill]);
	in2 = nest_input(n, v);
	n->in[in].coef[0][2] = n->in[in].coef[1][0] = 1;
	n->in[in2].coef[0][2] = n->in[in2].coef[1][1] = 1;
	n->reduce = REDUCE_ADD;
	n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, in), nest_in(n, in2), -1);
	out = nest_output(n, t, nest_red(n));
	n->out[out].access.coef[0][0] = n->out[out].access.coef[1][1] = 1;
	struct tensor *w2 = tensor(m, "w.new", TENSOR_WEIGHT, 2, wd);

	w2->update_of = w;
	same_map(m, e, w, t, w2, RDU_SIMD_FADD);
}

/* A contraction over four or five dimensions that cannot be merged: where scratchpads are small,
 * each of them is cut. */
static void make_cut(struct module *m, struct module_entry *e)
{
	struct nest *n = module_nest(m, e, "cut", "test");
	int nk = 4 + (int)rnd(2), in[2], out;
	int64_t dim[2][NEST_MAX_DIMS];

	nest_dim(n, "i", 8 + rnd(13), false);
	nest_dim(n, "j", 1 + rnd(4), false);
	for (int d = 0; d < nk; d++)
		nest_dim(n, "k", nk == 4 ? 9 + rnd(5) : 5 + rnd(4), true);
	for (int o = 0; o < 2; o++) { /* the second operand has them the other way round */
		dim[o][0] = n->dim[o].extent;
		for (int d = 0; d < nk; d++)
			dim[o][1 + d] = n->dim[o ? 1 + nk - d : 2 + d].extent;
		in[o] = nest_input(n, tensor(m, o ? "x1" : "x0", TENSOR_INPUT, 1 + nk, dim[o]));
		n->in[in[o]].coef[0][o] = 1;
		for (int d = 0; d < nk; d++)
			n->in[in[o]].coef[1 + d][o ? 1 + nk - d : 2 + d] = 1;
	}
	n->reduce = REDUCE_ADD;
	n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, in[0]), nest_in(n, in[1]), -1);
	out = nest_output(n, tensor(m, "y0", TENSOR_OUTPUT, 2, (int64_t[]){ dim[0][0], dim[1][0] }),
			  nest_red(n));
	n->out[out].access.coef[0][0] = n->out[out].access.coef[1][1] = 1;
}

/* Case c: the module's only entry point. Further choices about it may follow, by rnd(). */
static inline void make_case(struct module *m, int c)
{
	static void (*const make[])(struct module *, struct module_entry *) = {
		make_map, make_reduce, make_pool, make_matmul, make_conv, make_chain, make_cut,
	};
	struct module_entry *e = module_entry(m, "forward");

	rng_state = (uint64_t)c * 0x9e3779b97f4a7c15ull + 12345;
	rnd(2);
	make[c % NUM_KINDS](m, e);
}

#endif
