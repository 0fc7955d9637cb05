// SPDX-License-Identifier: MIT
/*
 * Sparse weights: a product by a weight of which whole blocks are zero becomes one by the blocks
 * that are there (patterns_block.c). They lie one behind the other, column of blocks by column. A block
 * may be a single number.
 *
 * Of a weight of which two of each four terms are there these alone are in memory, with their places; they
 * are unpacked into scratchpads, and multiplied with their zeros.
 *
 * All columns have as many as the longest; what fills one up is zero, and meets terms that the column
 * needs anyway, or the first ones, if it needs none. Nothing else that was left out meets its terms: a sum
 * is what it would be with finite ones, and stays free of NaN where only the others are infinite or NaN.
 *
 * Of a weight that is no constant the blocks alone are kept, in memory and in training: it becomes the
 * tensor of its blocks. A mask that it is multiplied with says which there are, or else its zeros do.
 */
#include <stdlib.h>
#include <string.h>
#include "constant_rows.h"
#include "mem.h"

static const int64_t sizes[] = { 64, 32, 16, 1 };

/* More than this part of a dense product's work is not worth a table. */
#define MOST_WORK 0.75

/* For so many, single numbers are worth it only where few are there. */
#define MANY_ROWS 512

/* A matrix [terms, results] that is known, or of which it is known where it is 0. */
struct matrix {
	const struct value *v; /* the matrix itself, or a weight's mask */
	struct value *weight; /* of which the blocks shall be kept; NULL: v is all there is */
	bool transposed; /* it is [results, terms] */
	int64_t terms, results;
	int64_t by_term, by_result; /* elements from one to the next */
};

/* Its blocks: those of a column are block[first[c]] to block[first[c + 1] - 1], of terms, in order. */
struct blocks {
	int64_t size;
	int64_t rows, columns; /* of blocks, the last ones perhaps not whole */
	int64_t *first, *block;
	int64_t longest; /* a column's, at least 1 */
	bool empty; /* a column has none */
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

static void blocks_free(struct blocks *b)
{
	free(b->first);
	free(b->block);
}

/* False: a column has more than `most`. */
static bool blocks_find(const struct matrix *m, int64_t size, int64_t most, struct blocks *b)
{
	int64_t num = 0;

	b->size = size;
	b->rows = (m->terms + size - 1) / size;
	b->columns = (m->results + size - 1) / size;
	b->longest = 1;
	b->empty = false;
	most = most < b->rows ? most : b->rows;
	b->first = xmalloc(sizeof(*b->first) * (size_t)(b->columns + 1));
	b->block = xmalloc(sizeof(*b->block) * (size_t)(most * b->columns + 1));
	for (int64_t c = 0; c < b->columns; c++) {
		b->first[c] = num;
		for (int64_t r = 0; r < b->rows; r++) {
			if (!is_there(m, size, r, c))
				continue;
			if (num - b->first[c] == most) {
				blocks_free(b);
				return false;
			}
			b->block[num++] = r;
		}
		if (num - b->first[c] > b->longest)
			b->longest = num - b->first[c];
		b->empty |= num == b->first[c];
	}
	b->first[b->columns] = num;
	return true;
}

/* What a product of a block takes for so many rows, against one of dense weights. */
static double cost(int64_t size, int64_t rows)
{
	if (size == 1) /* as many bytes of table as of numbers, and a lane for each row */
		return 2 + (double)rows / 128;
	return size < 32 ? 1.15 : 1; /* more, and shorter, runs of the arrays */
}

/* Terms that a sum may have: of blocks, or of single numbers, which meet as many rows as a vector has lanes. */
static int64_t most_terms(const struct graph *g, int64_t size, int64_t rows)
{
	int64_t together = rows < g->lanes ? rows + (rows == 1) : g->lanes;
	int64_t most = together ? g->most_words / together : 0; /* 0: there is no chip yet */

	return size > 1 ? g->most_terms : most < UINT16_MAX ? most : UINT16_MAX;
}

/* NONE: it is as well done dense; otherwise there is a reason why it has to be. */
enum blocks_found { BLOCKS, BLOCKS_NONE, BLOCKS_LONG, BLOCKS_TRAINED };

/* The blocks by which it is least work for so many rows; of BLOCKS alone there is more than their size. */
static enum blocks_found blocks_best(const struct graph *g, const struct matrix *m, int64_t rows,
				     struct blocks *best)
{
	double least = MOST_WORK * (double)m->terms * (double)m->results;
	enum blocks_found found = BLOCKS_NONE;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int64_t size = sizes[i], columns = (m->results + size - 1) / size;
		double all = cost(size, rows) * (double)(columns * size * size);
		enum blocks_found what = BLOCKS;
		struct blocks b;

		if (size > m->terms || size > m->results || all > least ||
		    !blocks_find(m, size, (int64_t)(least / all), &b))
			continue;
		if (size == 1 && g->trained)
			what = BLOCKS_TRAINED;
		else if (m->terms > most_terms(g, size, rows))
			what = BLOCKS_LONG;
		if (b.columns * b.longest < 2 || (what != BLOCKS && found != BLOCKS_NONE)) {
			blocks_free(&b);
			continue;
		}
		if (found == BLOCKS)
			blocks_free(best);
		if (what == BLOCKS)
			least = 0.999 * all * (double)b.longest;
		else
			blocks_free(&b);
		found = what;
		*best = b;
	}
	return found;
}

/* Is it a constant that is 0 or 1 throughout? */
static bool is_mask(const struct value *v)
{
	for (int64_t i = 0; i < value_count(v); i++)
		if (!is_zero(v, i) && value_real(v, i) != 1)
			return false;
	return true;
}

/* What a graph computes of constants alone, as a constant; NULL: it is not known. */
static struct value *computed(struct graph *g, const struct value *v)
{
	struct rows *r = v->dtype == RDU_DT_F32 ? rows_new(v) : NULL;
	struct value *c;

	if (!r)
		return NULL;
	c = graph_const(g, v->dtype, v->ndim, v->dim, NULL);
	c->name = v->name;
	for (int64_t k = 0; k < v->dim[0]; k++)
		rows_get(r, k, (float *)c->data + k * v->dim[1]);
	rows_free(r);
	return c;
}

/* A weight with a name that `by` alone reads: as it is, or times a mask. */
static bool named(const struct graph *g, struct value *v, const struct node *by, struct matrix *m)
{
	const struct node *p = v->producer;

	if (g->sparse != WHEN_POSSIBLE || v->reader != by)
		return false;
	m->v = m->weight = v;
	if (v->data)
		return v->kind == TENSOR_WEIGHT && !v->constant && (g->trained || !v->sparse);
	for (int k = 0; p && !strcmp(p->op->name, "Mul") && k < 2; k++) {
		m->weight = p->in[k];
		m->v = p->in[!k];
		if (m->weight->data && m->weight->kind == TENSOR_WEIGHT && !m->weight->constant &&
		    m->weight->reader == p && m->v->constant && m->v->data && is_mask(m->v) &&
		    value_same_shape(m->weight, v) && value_same_shape(m->v, v))
			return true;
	}
	return false;
}

/* The matrix that a node multiplies by, perhaps transposed. */
static bool matrix_of(struct graph *g, const struct node *n, struct value *v, bool transposed,
		      struct matrix *m)
{
	const struct node *p = v->producer, *by = n;
	const int64_t *perm;
	int num = 0;

	if (!v->data && p && !strcmp(p->op->name, "Transpose")) {
		perm = attr_ints(p, "perm", &num);
		transposed ^= !perm || (num == 2 && perm[0] == 1);
		by = v->reader == n ? p : NULL;
		v = p->in[0];
	}
	if (v->ndim != 2 || dtype_is_int(v->dtype) || dtype_bytes(v->dtype) > 4 || !value_count(v))
		return false;
	if (!by || !named(g, v, by, m)) {
		m->weight = NULL;
		m->v = !v->data && g->sparse == WHEN_POSSIBLE ? computed(g, v) : v;
		if (!m->v || m->v->kind != TENSOR_WEIGHT || !m->v->data)
			return false;
	}
	m->transposed = transposed;
	m->terms = v->dim[transposed];
	m->results = v->dim[!transposed];
	m->by_term = transposed ? 1 : v->dim[1];
	m->by_result = transposed ? v->dim[1] : 1;
	return true;
}

/* ---- the product ----------------------------------------------------------------------------- */

/* Of a matrix's elements those of blocks, [columns, longest, size, size]; zeros in what fills up. */
static void pack(const struct matrix *m, const struct blocks *b, const struct value *from, void *to)
{
	size_t bytes = (size_t)dtype_bytes(from->dtype);
	int64_t all = b->size * b->size;

	for (int64_t c = 0; c < b->columns; c++)
		for (int64_t i = b->first[c]; i < b->first[c + 1]; i++)
			for (int64_t k = 0; k < all; k++) {
				int64_t term = b->block[i] * b->size + k / b->size;
				int64_t result = c * b->size + k % b->size;
				int64_t at = (c * b->longest + i - b->first[c]) * all + k;

				if (term < m->terms && result < m->results)
					memcpy((char *)to + (size_t)at * bytes,
					       (const char *)from->data +
						       (size_t)(term * m->by_term +
								result * m->by_result) *
							       bytes,
					       bytes);
			}
}

/* A constant of the blocks of one. */
static struct value *packed(struct graph *g, const struct node *n, const struct matrix *m,
			    const struct blocks *b)
{
	int64_t dim[] = { b->columns, b->longest, b->size, b->size };
	struct value *w = graph_const(g, m->v->dtype, 4, dim, NULL);

	w->name = graph_format(g, "%.200s.blocks", n->name);
	pack(m, b, m->v, w->data);
	return w;
}

/* The mask of the blocks of a weight; NULL: no mask, or one that is 1 in all of them. */
static struct value *blocks_mask(struct graph *g, const struct node *n, const struct matrix *m,
				 const struct blocks *b)
{
	struct value *mask = m->v != m->weight ? packed(g, n, m, b) : NULL;
	int64_t all = b->size * b->size;

	for (int64_t c = 0; mask && c < b->columns; c++)
		for (int64_t i = 0; i < (b->first[c + 1] - b->first[c]) * all; i++)
			if (is_zero(mask, c * b->longest * all + i))
				return mask;
	return NULL;
}

/* The weight becomes that of its blocks. What a product is by: of it, what is not masked. */
static struct value *keep_blocks(struct graph *g, const struct node *n, const struct matrix *m,
				 const struct blocks *b, struct value *table)
{
	int64_t dim[] = { b->columns, b->longest, b->size, b->size };
	struct block_packing *p = graph_alloc(g, sizeof(*p));
	struct value *w = m->weight, *mask = blocks_mask(g, n, m, b);
	void *data = graph_alloc(g, (size_t)(dims_count(4, dim) * dtype_bytes(w->dtype)));

	memcpy(p->dim, w->dim, sizeof(p->dim));
	p->transposed = m->transposed;
	p->table = table;
	pack(m, b, w, data);
	w->data = data;
	w->ndim = 4;
	memcpy(w->dim, dim, sizeof(dim));
	w->packing = p;
	return mask ? graph_op2(g, "Mul", graph_format(g, "%.200s.masked", n->name), w, mask) : w;
}

/* Which block of terms each one meets, [columns, longest]; those of an empty column number `none`. Of
 * single numbers it is uint16: there is an entry for each. */
static struct value *table(struct graph *g, const struct node *n, const struct blocks *b,
			   int64_t none)
{
	int64_t dim[] = { b->columns, b->longest };
	enum rdu_dtype dtype = b->size == 1 ? RDU_DT_U16 : RDU_DT_I32;
	struct value *t = graph_const(g, dtype, 2, dim, NULL);

	t->name = graph_format(g, none ? "%.200s.places" : "%.200s.table", n->name);
	for (int64_t c = 0; c < b->columns; c++) {
		int64_t num = b->first[c + 1] - b->first[c];

		for (int64_t j = 0; j < b->longest; j++) {
			int64_t at = c * b->longest + j;
			int64_t to = num ? b->block[b->first[c] + (j < num ? j : num - 1)] : none;

			if (dtype == RDU_DT_U16)
				((uint16_t *)t->data)[at] = (uint16_t)to;
			else
				((int32_t *)t->data)[at] = (int32_t)to;
		}
	}
	return t;
}

/* A product by blocks has none in these columns. */
static void name_empty(struct graph *g, struct node *m, const struct blocks *b)
{
	int64_t *column = xmalloc(sizeof(*column) * (size_t)b->columns);
	int num = 0;

	for (int64_t c = 0; c < b->columns; c++)
		if (b->first[c] == b->first[c + 1])
			column[num++] = c;
	if (num)
		node_attr_ints(g, m, "empty", num, column);
	free(column);
}

/* Single numbers meet a vector of rows each: of one row a second one is made, of zeros. */
static struct value *two_rows(struct graph *g, const struct node *n, struct value *x)
{
	struct node *m = node_new(g, "Pad", graph_format(g, "%.200s.two", n->name));
	int64_t pads[2 * RDU_MAX_DIMS] = { 0 }, num = 2 * x->ndim;

	pads[num - 2] = 1;
	node_input(g, m, x);
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &num, pads));
	return graph_finish(g, m);
}

/* x times the matrix, by its blocks; of a Gemm all that it computes. */
static struct value *by_blocks(struct graph *g, const struct node *n, struct value *x,
			       const struct matrix *w, const struct blocks *b)
{
	struct value *bias = node_in(n, 2), *t = table(g, n, b, 0), *blocks;
	int64_t dim[RDU_MAX_DIMS + 1], last = x->ndim - 1;
	bool lone = b->size == 1 && value_count(x) == w->terms;
	struct node *m;

	if (lone)
		x = two_rows(g, n, x);
	if (!x)
		return NULL;
	memcpy(dim, x->dim, sizeof(x->dim));
	dim[last] = b->rows;
	dim[last + 1] = b->size;
	x = graph_longer(g, n, x, dim[last] * b->size);
	x = graph_reshape(g, graph_format(g, "%.200s.rows", n->name), x, (int)last + 2, dim);
	blocks = w->weight ? keep_blocks(g, n, w, b, b->empty ? table(g, n, b, b->rows) : t)
			   : packed(g, n, w, b);
	if (bias && bias->ndim && bias->dim[bias->ndim - 1] == w->results && w->results > 1)
		bias = graph_longer(g, n, bias, b->columns * b->size);
	if (!x || !blocks || (node_in(n, 2) && !bias))
		return NULL;
	m = node_new(g, "BlockMatMul", n->name);
	node_input(g, m, x);
	node_input(g, m, blocks);
	node_input(g, m, t);
	if (bias)
		node_input(g, m, bias);
	node_attr_f(g, m, "alpha", attr_f(n, "alpha", 1));
	node_attr_f(g, m, "beta", attr_f(n, "beta", 1));
	name_empty(g, m, b);
	node_attr_f(g, m, "density", (float)b->first[b->columns] / (float)(b->rows * b->columns));
	x = graph_finish(g, m);
	if (x && x->dim[last] != w->results)
		x = graph_slice(g, graph_format(g, "%.200s.cut", n->name), x, last, 0, w->results,
				false);
	if (x && lone)
		x = graph_slice(g, graph_format(g, "%.200s.one", n->name), x, last - 1, 0, 1,
				false);
	return x;
}

/* Is the weight to be looked at; and is what was found to be used? */
static bool is_known(const struct graph *g, const struct matrix *m)
{
	return m->weight || m->v->constant || (m->v->sparse && !g->trained);
}

static bool is_wanted(const struct graph *g, const struct matrix *m)
{
	return g->sparse == WHEN_POSSIBLE || (g->sparse == WHEN_FASTER && m->v->sparse);
}

/* ---- two of four ------------------------------------------------------------------------------- */

#define PART 4 /* terms, of which two are there */
#define GROUP 8 /* parts, whose places are in one word: two of two bits each */

/* Are at most two of each four terms of a result there? In whole words and vectors, of a matrix that is neither
 * small enough to be computed while compiling nor larger than scratchpads. */
static bool is_two_of_four(const struct graph *g, const struct matrix *m)
{
	int64_t all = m->terms * m->results;

	if (all <= GRAPH_MAX_FOLD || all > g->most_unpacked) /* 0: there is no chip yet */
		return false;
	if (m->terms % (PART * GROUP) || m->results % g->lanes)
		return false;
	for (int64_t n = 0; n < m->results; n++)
		for (int64_t k = 0; k < m->terms; k += PART) {
			int num = 0;

			for (int64_t i = k; i < k + PART; i++)
				num += !is_zero(m->v, i * m->by_term + n * m->by_result);
			if (num > 2)
				return false;
		}
	return true;
}

/* Would memory take longer for the dense product than arrays? They multiply all of it in any case. */
static bool is_memory_bound(const struct graph *g, const struct matrix *m, int64_t rows)
{
	double terms = (double)m->terms, results = (double)m->results, num = (double)rows;
	double bytes = (terms * results + num * (terms + results)) * dtype_bytes(m->v->dtype);

	return num * terms * results <= bytes * g->macs_per_byte;
}

/* The places of the two, or of one and a zero, or of two zeros, of the four terms from k on. */
static void two_places(const struct matrix *m, int64_t k, int64_t result, int64_t *place)
{
	int num = 0;

	for (int64_t i = 0; i < PART; i++)
		if (!is_zero(m->v, (k + i) * m->by_term + result * m->by_result))
			place[num++] = i;
	if (!num)
		place[num++] = 0;
	if (num == 1)
		place[1] = !place[0];
}

/* The matrix as an UnpackTwoOfFour node makes it. */
static struct value *two_of_four(struct graph *g, const struct node *n, const struct matrix *m)
{
	int64_t groups = m->terms / (PART * GROUP), place[2];
	struct value *v =
		graph_const(g, m->v->dtype, 4, (int64_t[]){ groups, GROUP, 2, m->results }, NULL);
	struct value *places =
		graph_const(g, RDU_DT_I32, 2, (int64_t[]){ groups, m->results }, NULL);
	struct node *u =
		node_new(g, "UnpackTwoOfFour", graph_format(g, "%.200s.unpacked", n->name));
	size_t bytes = (size_t)dtype_bytes(v->dtype);

	v->name = graph_format(g, "%.200s.two_of_four", n->name);
	places->name = graph_format(g, "%.200s.places", n->name);
	for (int64_t k = 0; k < m->terms; k += PART)
		for (int64_t r = 0; r < m->results; r++) {
			int64_t group = k / (PART * GROUP), part = k / PART % GROUP;
			uint32_t *word = (uint32_t *)places->data + group * m->results + r;

			two_places(m, k, r, place);
			for (int i = 0; i < 2; i++) {
				int64_t from = (k + place[i]) * m->by_term + r * m->by_result;
				int64_t to = (k / PART * 2 + i) * m->results + r;

				*word |= (uint32_t)place[i] << (4 * part + 2 * i);
				memcpy((char *)v->data + (size_t)to * bytes,
				       (const char *)m->v->data + (size_t)from * bytes, bytes);
			}
		}
	node_input(g, u, v);
	node_input(g, u, places);
	return graph_finish(g, u);
}

/* ---- which product is by what ----------------------------------------------------------------- */

/* One more weight that keeps its zeros, by the reason. */
static void count_one(int *num, const char **first, const struct matrix *m)
{
	if (!(*num)++)
		*first = m->weight ? m->weight->name : m->v->name;
}

/* x times a matrix (transposed: times its transpose), by blocks. NULL in *y: not so. 0, or -1 */
static int find_blocks(struct graph *g, struct node *n, struct value *x, struct value *w,
		       bool transposed, struct value **y)
{
	enum blocks_found found;
	struct matrix m;
	struct blocks b;
	int64_t rows;
	int ret = 0;

	*y = NULL;
	if (g->sparse == WHEN_NEVER || x->ndim < 2 || x->ndim >= RDU_MAX_DIMS || n->loop ||
	    dtype_is_int(x->dtype) || !value_count(x) || !matrix_of(g, n, w, transposed, &m) ||
	    !is_known(g, &m) || x->dim[x->ndim - 1] != m.terms)
		return 0;
	/* A weight with a name is kept by the same blocks in all entry points, whatever their rows. */
	rows = m.weight ? MANY_ROWS : value_count(x) / m.terms;
	found = blocks_best(g, &m, rows, &b);
	if (found != BLOCKS && is_two_of_four(g, &m)) {
		if (!is_wanted(g, &m)) {
			count_one(&g->num_blank, &g->first_blank, &m);
			return 0;
		}
		if (m.weight || g->trained) {
			count_one(&g->num_kept, &g->first_kept, &m);
			return 0;
		}
		if (!is_memory_bound(g, &m, rows)) {
			count_one(&g->num_bound, &g->first_bound, &m);
			return 0;
		}
		w = two_of_four(g, n, &m); /* [terms, results] */
		if (!w)
			return -1;
		n->in[1] = w;
		if (transposed)
			node_attr_i(g, n, "transB", 0);
		return 0;
	}
	if (found == BLOCKS_LONG && is_wanted(g, &m)) {
		if (!g->num_long)
			g->first_most = most_terms(g, b.size, rows);
		count_one(&g->num_long, &g->first_long, &m);
	} else if (found == BLOCKS_TRAINED && is_wanted(g, &m)) {
		count_one(&g->num_kept, &g->first_kept, &m);
	}
	if (found != BLOCKS)
		return 0;
	if (m.weight && m.weight == m.v && !b.first[b.columns]) {
		/* all of it is to be trained, or comes later */
	} else if (is_wanted(g, &m)) {
		*y = by_blocks(g, n, x, &m, &b);
		ret = *y ? 0 : -1;
	} else {
		count_one(&g->num_blank, &g->first_blank, &m);
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
