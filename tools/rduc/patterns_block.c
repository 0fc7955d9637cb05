// SPDX-License-Identifier: MIT
/*
 * Products by blocks of a matrix, which sparse.c makes:
 *
 *     y[.., c, n] = sum over j and k of x[.., table[c, j], k] * blocks[c, j, k, n]
 *
 * A column's blocks rise; what fills it up meets the last one's terms again. `empty` names the columns without any.
 *
 * Their gradients are products by blocks, too: that of x by the same blocks, found by rows instead of
 * columns; that of a block is the product of the terms it meets and the gradient of its results.
 */
#include <stdlib.h>
#include <string.h>
#include "graph.h"
#include "mem.h"

struct value *graph_longer(struct graph *g, const struct node *n, struct value *x, int64_t length)
{
	struct node *m = node_new(g, "Pad", graph_format(g, "%.200s.longer", n->name));
	int64_t pads[2 * RDU_MAX_DIMS] = { 0 }, num = 2 * x->ndim;

	if (x->dim[x->ndim - 1] == length)
		return x;
	pads[num - 1] = length - x->dim[x->ndim - 1];
	node_input(g, m, x);
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &num, pads));
	return graph_finish(g, m);
}

/* [.., rows, size], [columns, longest, size, size], [columns, longest] and perhaps a bias to
 * [.., columns * size]. by_rows: a block is [its results, its terms]. */
static int block_matmul_infer(struct graph *g, struct node *n)
{
	const struct value *x = n->in[0], *w = n->in[1];
	int64_t dim[RDU_MAX_DIMS];

	memcpy(dim, x->dim, sizeof(dim));
	dim[x->ndim - 2] = w->dim[0] * w->dim[3];
	return node_shape(g, n, 0, x->dtype, x->ndim - 1, dim);
}

/* alpha times the sum; plus beta times the bias, which dimensions before `column` have rows of. */
static int scaled_sum(struct lower *l, const struct node *n, struct nest *nest, int column,
		      int result)
{
	struct value *bias = node_in(n, 3);
	float alpha = attr_f(n, "alpha", 1), beta = attr_f(n, "beta", 1);
	int e = nest_red(nest), in, b;

	if (alpha != 1)
		e = nest_op(nest, RDU_SIMD_FMUL, e, nest_imm_f(nest, alpha), -1);
	if (!bias || beta == 0)
		return e;
	in = nest_input(nest, lower_value(l, bias));
	for (int i = 0; i < bias->ndim; i++) {
		int d = column + 1 - (bias->ndim - i);

		if (bias->dim[i] == 1)
			continue;
		nest->in[in].coef[i][d] = d == column ? (int32_t)nest->dim[result].extent : 1;
		if (d == column)
			nest->in[in].coef[i][result] = 1;
	}
	b = nest_in(nest, in);
	if (beta != 1)
		b = nest_op(nest, RDU_SIMD_FMUL, b, nest_imm_f(nest, beta), -1);
	return nest_op(nest, RDU_SIMD_FADD, e, b, -1);
}

static int block_matmul_pattern(struct lower *l, struct node *n)
{
	struct value *x = n->in[0], *w = n->in[1];
	struct nest *nest = lower_nest(l, n, NULL);
	int rows = x->ndim - 2, column, result, j, k, e;
	bool by_rows = attr_i(n, "by_rows", 0);
	long long num = w->dim[0] * w->dim[1], all = w->dim[0] * x->dim[rows];
	double density = (double)attr_f(n, "density", 1);
	char remark[120];

	if (w->dim[2] == 1)
		snprintf(remark, sizeof(remark),
			 "sparse, density %.3g: %lld of %lld weights are multiplied", density, num,
			 all);
	else
		snprintf(remark, sizeof(remark),
			 "block-sparse, density %.3g: %lld of %lld blocks of %lld x %lld are "
			 "multiplied",
			 density, num, all, (long long)w->dim[2], (long long)w->dim[3]);
	nest->remark = xstrdup(remark);
	for (int i = 0; i < rows; i++)
		nest_dim(nest, i == rows - 1 ? "m" : axis_name(rows, i), x->dim[i], false);
	column = nest_dim(nest, "column", w->dim[0], false);
	result = nest_dim(nest, "n", w->dim[3], false);
	j = nest_dim(nest, "block", w->dim[1], true);
	k = nest_dim(nest, "k", w->dim[2], true);
	if (k < 0)
		return node_error(l->graph, n, "too many dimensions");
	nest->reduce = REDUCE_ADD;
	nest_input(nest, lower_value(l, x));
	for (int i = 0; i < rows; i++)
		nest->in[0].coef[i][i] = 1;
	nest->in[0].coef[rows + 1][k] = 1;
	nest_input(nest, lower_value(l, w));
	nest->in[1].coef[0][column] = nest->in[1].coef[1][j] = 1;
	nest->in[1].coef[2 + by_rows][k] = nest->in[1].coef[3 - by_rows][result] = 1;
	nest->in[0].gather_in = 2;
	nest->in[0].gather_dim = rows;
	nest_input(nest, lower_value(l, n->in[2]));
	nest->in[2].coef[0][column] = nest->in[2].coef[1][j] = 1;
	e = nest_op(nest, RDU_SIMD_FMUL, nest_in(nest, 0), nest_in(nest, 1), -1);
	nest->body = e;
	nest_output(nest, lower_value(l, n->out[0]), scaled_sum(l, n, nest, column, result));
	for (int i = 0; i < rows; i++)
		nest->out[0].access.coef[i][i] = 1;
	nest->out[0].access.coef[rows][column] = (int32_t)w->dim[3];
	nest->out[0].access.coef[rows][result] = 1;
	return lower_done(l, n, nest);
}

/* ---- gradients ------------------------------------------------------------------------------ */

/* The same blocks row by row. */
struct by_rows {
	int64_t rows, longest; /* blocks of a row, at least 1 */
	int64_t num; /* of all rows */
	int64_t *count; /* of each row */
};

/* Is entry i of a product's table a block, and nothing that fills up? */
static bool is_block(const struct node *n, int64_t i)
{
	const struct value *table = n->in[2];
	const int32_t *t = table->data;
	int64_t column = i / table->dim[1];
	const int64_t *empty;
	int num = 0;

	empty = attr_ints(n, "empty", &num);
	for (int k = 0; k < num; k++)
		if (empty[k] == column)
			return false;
	return i % table->dim[1] == 0 || t[i] > t[i - 1];
}

static void count_rows(const struct node *n, struct by_rows *r)
{
	const struct value *table = n->in[2];
	const int32_t *t = table->data;

	r->count = xcalloc((size_t)r->rows, sizeof(*r->count));
	r->longest = 1;
	for (int64_t i = 0; i < value_count(table); i++)
		if (is_block(n, i)) {
			r->count[t[i]]++;
			r->num++;
		}
	for (int64_t k = 0; k < r->rows; k++)
		r->longest = r->count[k] > r->longest ? r->count[k] : r->longest;
}

/* To x: [.., rows, size], from gy, [.., columns * size]. */
static int gradient_of_terms(struct graph *g, struct node *n, struct value *gy)
{
	struct value *x = n->in[0], *w = n->in[1], *table = n->in[2], *columns, *which, *there, *d;
	int64_t size = w->dim[3], most = table->dim[1], dim[4];
	int64_t shape[RDU_MAX_DIMS], last = gy->ndim - 1;
	struct by_rows r = { .rows = x->dim[x->ndim - 2] };
	const int32_t *t = table->data;
	struct node *m;

	count_rows(n, &r);
	dim[0] = r.rows;
	dim[1] = r.longest;
	dim[2] = dim[3] = 1;
	columns = graph_const(g, RDU_DT_I32, 2, dim, NULL);
	columns->name = graph_format(g, "%.200s.columns", n->name);
	which = graph_const(g, RDU_DT_I32, 2, dim, NULL);
	there = graph_const(g, RDU_DT_F32, 4, dim, NULL);
	memset(r.count, 0, (size_t)r.rows * sizeof(*r.count));
	for (int64_t i = 0; i < value_count(table); i++) {
		int64_t at = t[i] * r.longest;

		if (!is_block(n, i))
			continue;
		at += r.count[t[i]]++;
		((int32_t *)which->data)[at] = (int32_t)i;
		((float *)there->data)[at] = 1;
		/* What fills up meets what is needed anyway; in an empty row the first column. */
		for (; at < (t[i] + 1) * r.longest; at++)
			((int32_t *)columns->data)[at] = (int32_t)(i / most);
	}
	free(r.count);
	/* The blocks, in the order of rows. */
	d = graph_reshape(g, graph_format(g, "%.200s.all", n->name), w, 3,
			  (int64_t[]){ w->dim[0] * most, size, size });
	d = d ? graph_op2(g, "Gather", graph_format(g, "%.200s.by_rows", n->name), d, which) : NULL;
	if (d && r.num < r.rows * r.longest)
		d = graph_op2(g, "Mul", graph_format(g, "%.200s.there", n->name), d,
			      graph_cast(g, "there", there, d->dtype));
	memcpy(shape, gy->dim, sizeof(shape));
	shape[last] = table->dim[0];
	shape[last + 1] = size;
	gy = graph_longer(g, n, gy, shape[last] * size);
	gy = graph_reshape(g, graph_format(g, "%.200s.results", n->name), gy, (int)last + 2, shape);
	if (!d || !gy)
		return -1;
	m = grad_node(g, n, "BlockMatMul");
	node_input(g, m, gy);
	node_input(g, m, d);
	node_input(g, m, columns);
	node_attr_f(g, m, "alpha", attr_f(n, "alpha", 1));
	node_attr_i(g, m, "by_rows", 1);
	node_attr_f(g, m, "density", (float)r.num / (float)(r.rows * table->dim[0]));
	d = graph_reshape(g, graph_format(g, "%.200s.grad0", n->name), graph_finish(g, m), x->ndim,
			  x->dim);
	return d ? graph_add_grad(g, x, d) : -1;
}

/* To the blocks, from gy: none to those that fill up. */
static int gradient_of_blocks(struct graph *g, struct node *n, struct value *gy)
{
	struct value *table = n->in[2], *there, *d;
	int64_t dim[] = { table->dim[0], table->dim[1], 1, 1 }, num = 0;
	struct node *m = grad_node(g, n, "BlockGradient");

	node_input(g, m, n->in[0]);
	node_input(g, m, gy);
	node_input(g, m, table);
	node_attr_f(g, m, "alpha", attr_f(n, "alpha", 1));
	d = graph_finish(g, m);
	there = graph_const(g, RDU_DT_F32, 4, dim, NULL);
	for (int64_t i = 0; i < value_count(table); i++)
		if (is_block(n, i)) {
			((float *)there->data)[i] = 1;
			num++;
		}
	if (d && num < value_count(table))
		d = graph_op2(g, "Mul", graph_format(g, "%.200s.grad1", n->name), d, there);
	return d ? graph_add_grad(g, n->in[1], d) : -1;
}

static int block_matmul_gradient(struct graph *g, struct node *n)
{
	struct value *gy = n->out[0]->grad, *bias = node_in(n, 3);
	struct node *m;

	if (n->in[0]->needs_grad && gradient_of_terms(g, n, gy))
		return -1;
	if (n->in[1]->needs_grad && gradient_of_blocks(g, n, gy))
		return -1;
	if (!bias || !bias->needs_grad)
		return 0;
	m = grad_node(g, n, "SumTo");
	node_input(g, m, gy);
	node_attr_ints(g, m, "shape", bias->ndim, bias->dim);
	node_attr_f(g, m, "scale", attr_f(n, "beta", 1));
	return grad_finish(g, m, bias);
}

/* x [.., rows, size], gy [.., columns * size], table [columns, longest] to [columns, longest, size, size] */
static int block_gradient_infer(struct graph *g, struct node *n)
{
	const struct value *x = n->in[0], *table = n->in[2];
	int64_t size = x->dim[x->ndim - 1];
	int64_t dim[] = { table->dim[0], table->dim[1], size, size };

	return node_shape(g, n, 0, RDU_DT_F32, 4, dim);
}

static int block_gradient_pattern(struct lower *l, struct node *n)
{
	struct value *x = n->in[0];
	struct nest *nest = lower_nest(l, n, NULL);
	float alpha = attr_f(n, "alpha", 1);
	int rows = x->ndim - 2, size = (int)x->dim[x->ndim - 1], d, e;
	int column = nest_dim(nest, "column", n->in[2]->dim[0], false);
	int j = nest_dim(nest, "block", n->in[2]->dim[1], false);
	int k = nest_dim(nest, "k", size, false), result = nest_dim(nest, "n", size, false);

	nest->reduce = REDUCE_ADD;
	nest_input(nest, lower_value(l, x));
	nest_input(nest, lower_value(l, n->in[1]));
	nest_input(nest, lower_value(l, n->in[2]));
	for (int i = 0; i < rows; i++) {
		d = nest_dim(nest, i == rows - 1 ? "m" : axis_name(rows, i), x->dim[i], true);
		if (d < 0)
			return node_error(l->graph, n, "too many dimensions");
		nest->in[0].coef[i][d] = nest->in[1].coef[i][d] = 1;
	}
	nest->in[0].coef[rows + 1][k] = 1;
	nest->in[0].gather_in = 2;
	nest->in[0].gather_dim = rows;
	nest->in[1].coef[rows][column] = size;
	nest->in[1].coef[rows][result] = 1;
	nest->in[2].coef[0][column] = nest->in[2].coef[1][j] = 1;
	nest->body = nest_op(nest, RDU_SIMD_FMUL, nest_in(nest, 0), nest_in(nest, 1), -1);
	e = nest_red(nest);
	if (alpha != 1)
		e = nest_op(nest, RDU_SIMD_FMUL, e, nest_imm_f(nest, alpha), -1);
	nest_output(nest, lower_value(l, n->out[0]), e);
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

/*
 * ---- two of four ----------------------------------------------------------------------------
 * Of each four terms two, [groups, 8, 2, results], and where they are, words [groups, results] of eight times
 * two places, two bits each; to [groups * 32, results].
 */
static int unpack_infer(struct graph *g, struct node *n)
{
	const int64_t *d = n->in[0]->dim;

	return node_shape(g, n, 0, n->in[0]->dtype, 2, (int64_t[]){ d[0] * d[1] * 4, d[3] });
}

static int unpack_pattern(struct lower *l, struct node *n)
{
	const int64_t *dim = n->in[0]->dim;
	struct nest *nest = lower_nest(l, n, NULL);
	int group = nest_dim(nest, "group", dim[0], false);
	int part = nest_dim(nest, "part", dim[1], false), place = nest_dim(nest, "place", 4, false);
	int result = nest_dim(nest, "n", dim[3], false), words, e, is[2];
	int32_t(*coef)[NEST_MAX_DIMS];

	nest->remark = xstrdup("sparse, density 0.5: two of each four weights are loaded");
	for (int i = 0; i < 2; i++) {
		nest_input(nest, lower_value(l, n->in[0]));
		coef = nest->in[i].coef;
		coef[0][group] = coef[1][part] = coef[3][result] = 1;
		nest->in[i].offset[2] = i;
	}
	nest_input(nest, lower_value(l, n->in[1]));
	coef = nest->in[2].coef;
	coef[0][group] = coef[1][result] = 1;
	e = nest_op(nest, RDU_SIMD_SHL, nest_index(nest, part), nest_imm_i(nest, 2), -1);
	words = nest_op(nest, RDU_SIMD_SHR, nest_in(nest, 2), e, -1);
	for (int i = 0; i < 2; i++) {
		e = i ? nest_op(nest, RDU_SIMD_SHR, words, nest_imm_i(nest, 2), -1) : words;
		e = nest_op(nest, RDU_SIMD_AND, e, nest_imm_i(nest, 3), -1);
		is[i] = nest_op(nest, RDU_SIMD_IEQ, e, nest_index(nest, place), -1);
	}
	e = nest_op(nest, RDU_SIMD_SELECT, is[1], nest_in(nest, 1), nest_imm_f(nest, 0));
	e = nest_op(nest, RDU_SIMD_SELECT, is[0], nest_in(nest, 0), e);
	nest_output(nest, lower_value(l, n->out[0]), e);
	coef = nest->out[0].access.coef;
	coef[0][place] = coef[1][result] = 1;
	coef[0][group] = (int32_t)(dim[1] * 4);
	coef[0][part] = 4;
	return lower_done(l, n, nest);
}

const struct op ops_block[] = {
	{ .name = "UnpackTwoOfFour",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 1,
	  .internal = true,
	  .infer = unpack_infer,
	  .pattern = unpack_pattern },
	{ .name = "BlockMatMul",
	  .min_in = 3,
	  .max_in = 4,
	  .max_out = 1,
	  .internal = true,
	  .infer = block_matmul_infer,
	  .gradient = block_matmul_gradient,
	  .pattern = block_matmul_pattern },
	{ .name = "BlockGradient",
	  .min_in = 3,
	  .max_in = 3,
	  .max_out = 1,
	  .internal = true,
	  .infer = block_gradient_infer,
	  .pattern = block_gradient_pattern },
	{ 0 },
};
