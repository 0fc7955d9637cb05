// SPDX-License-Identifier: MIT
/*
 * Block-sparse weights: a product by a constant of which whole blocks are zero becomes one by the
 * blocks that are there. They lie one behind the other, column of blocks by column, and a table says
 * which block of its terms each one meets:
 *
 *     y[.., c, n] = sum over j and k of x[.., table[c, j], k] * blocks[c, j, k, n]
 *
 * All columns have as many as the longest; what fills one up is zero, and meets terms that the column
 * needs anyway. What was left out does not meet its terms: a sum is what it would be with finite ones,
 * and stays free of NaN where only the others are infinite or NaN.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "constant_rows.h"
#include "mem.h"

static const int64_t sizes[] = { 64, 32, 16 };

/* More than this part of a dense product's work is not worth a table. */
#define MOST_WORK 0.75

/* A matrix [terms, results] that is known. */
struct matrix {
	const struct value *v;
	int64_t terms, results;
	int64_t by_term, by_result; /* elements from one to the next */
};

/* Its blocks: those of a column are block[first[c]] to block[first[c + 1] - 1], of terms, in order. */
struct blocks {
	int64_t size;
	int64_t rows, columns; /* of blocks, the last ones perhaps not whole */
	int64_t *first, *block;
	int64_t longest; /* a column's, at least 1 */
};

static bool is_zero(const struct value *v, int64_t i)
{
	uint32_t word = 0;
	int size = dtype_bytes(v->dtype);

	memcpy(&word, (const char *)v->data + i * size, (size_t)size);
	return !(word << 1 << 8 * (4 - size)); /* but for the sign */
}

static bool is_there(const struct matrix *m, int64_t size, int64_t row, int64_t column)
{
	int64_t k1 = (row + 1) * size, n1 = (column + 1) * size;

	for (int64_t k = row * size; k < k1 && k < m->terms; k++)
		for (int64_t n = column * size; n < n1 && n < m->results; n++)
			if (!is_zero(m->v, k * m->by_term + n * m->by_result))
				return true;
	return false;
}

static void blocks_find(const struct matrix *m, int64_t size, struct blocks *b)
{
	int64_t num = 0;

	b->size = size;
	b->rows = (m->terms + size - 1) / size;
	b->columns = (m->results + size - 1) / size;
	b->longest = 1;
	b->first = xmalloc(sizeof(*b->first) * (size_t)(b->columns + 1));
	b->block = xmalloc(sizeof(*b->block) * (size_t)(b->rows * b->columns));
	for (int64_t c = 0; c < b->columns; c++) {
		b->first[c] = num;
		for (int64_t r = 0; r < b->rows; r++)
			if (is_there(m, size, r, c))
				b->block[num++] = r;
		if (num - b->first[c] > b->longest)
			b->longest = num - b->first[c];
	}
	b->first[b->columns] = num;
}

static void blocks_free(struct blocks *b)
{
	free(b->first);
	free(b->block);
}

/* Products that it takes, what fills columns up included. */
static double work(const struct blocks *b)
{
	double product = (double)(b->columns * b->longest * b->size * b->size);

	return b->size < 32 ? product * 1.15 : product; /* more, and shorter, runs of the arrays */
}

/* The blocks by which it is least work; false: it is as well done dense. */
static bool blocks_best(const struct matrix *m, struct blocks *best)
{
	double most = MOST_WORK * (double)m->terms * (double)m->results;
	bool found = false;

	*best = (struct blocks){ 0 };
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct blocks b;

		if (sizes[i] > m->terms || sizes[i] > m->results)
			continue;
		blocks_find(m, sizes[i], &b);
		if (work(&b) > (found ? 0.999 * work(best) : most) || b.columns * b.longest < 2) {
			blocks_free(&b);
			continue;
		}
		if (found)
			blocks_free(best);
		*best = b;
		found = true;
	}
	return found;
}

static bool is_finite(const struct value *v)
{
	for (int64_t i = 0; i < value_count(v); i++)
		if (!isfinite(value_real(v, i)))
			return false;
	return true;
}

/* Is it a constant that is 0 or 1 throughout? */
static bool is_mask(const struct value *v)
{
	for (int64_t i = 0; i < value_count(v); i++)
		if (!is_zero(v, i) && value_real(v, i) != 1)
			return false;
	return true;
}

/* A constant times a mask, of any type; NULL: v is not that, or not known. */
static struct value *masked(struct graph *g, const struct value *v)
{
	const struct node *p = v->producer;
	size_t bytes = (size_t)dtype_bytes(v->dtype);

	if (!p || strcmp(p->op->name, "Mul"))
		return NULL;
	for (int k = 0; k < 2; k++) {
		const struct value *w = p->in[k], *mask = p->in[!k];
		struct value *c;

		if (!w->constant || !w->data || !mask->constant || !mask->data ||
		    !value_same_shape(w, v) || !value_same_shape(mask, v) || !is_mask(mask) ||
		    !is_finite(w))
			continue;
		c = graph_const(g, v->dtype, v->ndim, v->dim, NULL);
		c->name = w->name;
		for (int64_t i = 0; i < value_count(v); i++)
			if (!is_zero(mask, i))
				memcpy((char *)c->data + (size_t)i * bytes,
				       (const char *)w->data + (size_t)i * bytes, bytes);
		return c;
	}
	return NULL;
}

/* What a graph computes of constants alone, as a constant; NULL: it is not known. */
static struct value *computed(struct graph *g, const struct value *v)
{
	struct value *c = masked(g, v);
	struct rows *r = c ? NULL : rows_new(v);

	if (!r)
		return c;
	c = graph_const(g, v->dtype, v->ndim, v->dim, NULL);
	c->name = v->name;
	for (int64_t k = 0; k < v->dim[0]; k++)
		rows_get(r, k, (float *)c->data + k * v->dim[1]);
	rows_free(r);
	return c;
}

/* The matrix that a value is, perhaps transposed. */
static bool matrix_of(struct graph *g, const struct value *v, bool transposed, struct matrix *m)
{
	const struct node *p = v->producer;
	const int64_t *perm;
	int num = 0;

	if (!v->data && p && !strcmp(p->op->name, "Transpose")) {
		perm = attr_ints(p, "perm", &num);
		transposed ^= !perm || (num == 2 && perm[0] == 1);
		v = p->in[0];
	}
	if (v->ndim != 2 || dtype_is_int(v->dtype) || dtype_bytes(v->dtype) > 4 || !value_count(v))
		return false;
	if (!v->data && g->sparse == WHEN_POSSIBLE)
		v = computed(g, v);
	if (!v || v->kind != TENSOR_WEIGHT || !v->data)
		return false;
	m->v = v;
	m->terms = v->dim[transposed];
	m->results = v->dim[!transposed];
	m->by_term = transposed ? 1 : v->dim[1];
	m->by_result = transposed ? v->dim[1] : 1;
	return true;
}

/* ---- the operator --------------------------------------------------------------------------- */

/* blocks [columns, longest, size, size] */
static struct value *pack(struct graph *g, const struct node *n, const struct matrix *m,
			  const struct blocks *b)
{
	int64_t dim[] = { b->columns, b->longest, b->size, b->size };
	struct value *w = graph_const(g, m->v->dtype, 4, dim, NULL);
	size_t bytes = (size_t)dtype_bytes(w->dtype);

	w->name = graph_format(g, "%.200s.blocks", n->name);
	for (int64_t c = 0; c < b->columns; c++)
		for (int64_t i = b->first[c]; i < b->first[c + 1]; i++)
			for (int64_t k = 0; k < b->size * b->size; k++) {
				int64_t term = b->block[i] * b->size + k / b->size;
				int64_t result = c * b->size + k % b->size;
				int64_t to = (c * b->longest + i - b->first[c]) * b->size * b->size;

				if (term < m->terms && result < m->results)
					memcpy((char *)w->data + (size_t)(to + k) * bytes,
					       (const char *)m->v->data +
						       (size_t)(term * m->by_term +
								result * m->by_result) *
							       bytes,
					       bytes);
			}
	return w;
}

/* [columns, longest] */
static struct value *table(struct graph *g, const struct node *n, const struct blocks *b)
{
	int64_t dim[] = { b->columns, b->longest };
	struct value *t = graph_const(g, RDU_DT_I32, 2, dim, NULL);
	int32_t *to = t->data;

	t->name = graph_format(g, "%.200s.table", n->name);
	for (int64_t c = 0; c < b->columns; c++) {
		int64_t num = b->first[c + 1] - b->first[c];

		for (int64_t j = 0; j < b->longest && num; j++)
			to[c * b->longest + j] =
				(int32_t)b->block[b->first[c] + (j < num ? j : num - 1)];
	}
	return t;
}

/* x with zeros behind its last axis, up to `terms`. */
static struct value *longer(struct graph *g, const struct node *n, struct value *x, int64_t terms)
{
	struct node *m = node_new(g, "Pad", graph_format(g, "%.200s.longer", n->name));
	int64_t pads[2 * RDU_MAX_DIMS] = { 0 }, num = 2 * x->ndim;

	if (x->dim[x->ndim - 1] == terms)
		return x;
	pads[num - 1] = terms - x->dim[x->ndim - 1];
	node_input(g, m, x);
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &num, pads));
	return graph_finish(g, m);
}

/* x times the matrix, by its blocks; of a Gemm all that it computes. */
static struct value *by_blocks(struct graph *g, const struct node *n, struct value *x,
			       const struct matrix *w, const struct blocks *b)
{
	struct value *bias = node_in(n, 2);
	int64_t dim[RDU_MAX_DIMS + 1], last = x->ndim - 1;
	struct node *m;

	x = longer(g, n, x, b->rows * b->size);
	if (!x)
		return NULL;
	memcpy(dim, x->dim, sizeof(x->dim));
	dim[last] = b->rows;
	dim[last + 1] = b->size;
	x = graph_reshape(g, graph_format(g, "%.200s.rows", n->name), x, x->ndim + 1, dim);
	if (!x)
		return NULL;
	m = node_new(g, "BlockMatMul", n->name);
	node_input(g, m, x);
	node_input(g, m, pack(g, n, w, b));
	node_input(g, m, table(g, n, b));
	if (bias && bias->ndim && bias->dim[bias->ndim - 1] == w->results && w->results > 1)
		bias = longer(g, n, bias, b->columns * b->size);
	if (node_in(n, 2) && !bias)
		return NULL;
	if (bias)
		node_input(g, m, bias);
	node_attr_f(g, m, "alpha", attr_f(n, "alpha", 1));
	node_attr_f(g, m, "beta", attr_f(n, "beta", 1));
	node_attr_f(g, m, "density", (float)b->first[b->columns] / (float)(b->rows * b->columns));
	x = graph_finish(g, m);
	if (x && x->dim[last] != w->results)
		x = graph_slice(g, graph_format(g, "%.200s.cut", n->name), x, last, 0, w->results,
				false);
	return x;
}

/* Is the weight to be looked at; and is what was found to be used? */
static bool is_known(const struct graph *g, const struct matrix *m)
{
	return m->v->constant || (m->v->sparse && !g->trained);
}

static bool is_wanted(const struct graph *g, const struct matrix *m)
{
	return g->sparse == WHEN_POSSIBLE || (g->sparse == WHEN_FASTER && m->v->sparse);
}

/* x times a matrix (transposed: times its transpose), by blocks. NULL in *y: not so. 0, or -1 */
static int find_blocks(struct graph *g, const struct node *n, struct value *x, struct value *w,
		       bool transposed, struct value **y)
{
	struct blocks b;
	struct matrix m;
	int ret = 0;

	*y = NULL;
	if (g->sparse == WHEN_NEVER || x->ndim < 2 || x->ndim >= RDU_MAX_DIMS || n->loop ||
	    dtype_is_int(x->dtype) || !value_count(x) || !matrix_of(g, w, transposed, &m) ||
	    !is_known(g, &m) || x->dim[x->ndim - 1] != m.terms || !blocks_best(&m, &b))
		return 0;
	if (m.terms > g->most_terms) {
		if (is_wanted(g, &m) && !g->num_long++)
			g->first_long = m.v->name;
	} else if (is_wanted(g, &m)) {
		*y = by_blocks(g, n, x, &m, &b);
		ret = *y ? 0 : -1;
	} else if (!g->num_blank++) {
		g->first_blank = m.v->name;
	}
	blocks_free(&b);
	return ret;
}

int graph_sparse_matmul(struct graph *g, struct node *n)
{
	struct value *y;

	if (find_blocks(g, n, n->in[0], n->in[1], false, &y))
		return -1;
	return !y ? 0 : graph_replace_first(n, y) ? -1 : 1;
}

int graph_sparse_gemm(struct graph *g, struct node *n)
{
	struct value *y;

	if (attr_i(n, "transA", 0))
		return 0;
	if (find_blocks(g, n, n->in[0], n->in[1], attr_i(n, "transB", 0), &y))
		return -1;
	return !y ? 0 : graph_replace_first(n, y) ? -1 : 1;
}

/* [.., rows, size], [columns, longest, size, size], [columns, longest] and perhaps a bias to
 * [.., columns * size] */
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
	char remark[120];

	snprintf(remark, sizeof(remark),
		 "block-sparse, density %.3g: %lld of %lld blocks of %lld x %lld are multiplied",
		 (double)attr_f(n, "density", 1), (long long)(w->dim[0] * w->dim[1]),
		 (long long)(w->dim[0] * x->dim[rows]), (long long)w->dim[2], (long long)w->dim[3]);
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
	nest->in[0].gather_in = 2;
	nest->in[0].gather_dim = rows;
	nest_input(nest, lower_value(l, w));
	nest->in[1].coef[0][column] = nest->in[1].coef[1][j] = 1;
	nest->in[1].coef[2][k] = nest->in[1].coef[3][result] = 1;
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

const struct op ops_sparse[] = {
	{ .name = "BlockMatMul",
	  .min_in = 3,
	  .max_in = 4,
	  .max_out = 1,
	  .internal = true,
	  .infer = block_matmul_infer,
	  .pattern = block_matmul_pattern },
	{ 0 },
};
