// SPDX-License-Identifier: MIT
/*
 * Operators that write where indices say, pick by several indices, or order elements: all
 * through one flat index an element or row.
 */
#include <math.h>
#include <string.h>
#include "graph.h"

#define OP(op, a, b, c) nest_op(nest, RDU_SIMD_##op, a, b, c)
#define IMM(v) nest_imm_i(nest, (int32_t)(v))

static int check_index_type(struct graph *g, struct node *n, const struct value *v)
{
	if (v->dtype == RDU_DT_I64 || v->dtype == RDU_DT_I32)
		return 0;
	return node_error(g, n, "indices are %s", dtype_name(v->dtype));
}

/* ---- flat indices -------------------------------------------------------------------- */

/*
 * FlatIndex: of indices [..., k] into the dimensions "shape" [k], which of their product is
 * meant, [batches, indices a batch]; each of the first "batches" parts has its own.
 */
static int flat_index_infer(struct graph *g, struct node *n)
{
	int k;
	int64_t dim[2] = { attr_i(n, "batches", 1), 0 };

	attr_ints(n, "shape", &k);
	if (dim[0])
		dim[1] = dims_count(n->in[0]->ndim - 1, n->in[0]->dim) / dim[0];
	return node_shape(g, n, 0, RDU_DT_I32, 2, dim);
}

static int flat_index_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = lower_nest(l, n, NULL);
	struct value *y = n->out[0];
	int k, b, m, at;
	const int64_t *shape = attr_ints(n, "shape", &k);
	int64_t part = dims_count(k, shape);
	const int64_t dim[3] = { y->dim[0], y->dim[1], k };
	struct tensor *indices = lower_view(l, n->in[0], 3, dim);

	b = nest_dim(nest, "b", y->dim[0], false);
	m = nest_dim(nest, "i", y->dim[1], false);
	at = OP(IMUL, nest_index(nest, b), IMM(part), -1);
	for (int j = 0; j < k; j++) {
		int in = nest_input(nest, indices), e;

		nest->in[in].coef[0][b] = nest->in[in].coef[1][m] = 1;
		nest->in[in].offset[2] = j;
		part /= shape[j];
		e = expr_index(nest, nest_in(nest, in), shape[j], true);
		at = OP(IADD, at, OP(IMUL, e, IMM(part), -1), -1);
	}
	nest_output(nest, lower_value(l, y), at);
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

/* FlatElement: of indices along "axis" of a tensor of that "shape", which of its elements. */
static int flat_element_infer(struct graph *g, struct node *n)
{
	return node_shape(g, n, 0, RDU_DT_I32, n->in[0]->ndim, n->in[0]->dim);
}

static int flat_element_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = lower_nest(l, n, NULL);
	struct value *x = n->in[0];
	int64_t axis = attr_i(n, "axis", 0), stride = 1;
	int k, at = IMM(0);
	const int64_t *shape = attr_ints(n, "shape", &k);

	for (int i = 0; i < x->ndim; i++)
		nest_dim(nest, axis_name(x->ndim, i), x->dim[i], false);
	nest_input(nest, lower_value(l, x));
	access_identity(&nest->in[0]);
	for (int i = k - 1; i >= 0; stride *= shape[i--]) {
		int e = i == axis ? expr_index(nest, nest_in(nest, 0), shape[i], true)
				  : nest_index(nest, i);

		at = OP(IADD, at, OP(IMUL, e, IMM(stride), -1), -1);
	}
	nest_output(nest, lower_value(l, n->out[0]), at);
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

#define TUPLE 3 /* indices that one nest has expressions for */

static struct value *flat_node(struct graph *g, struct node *n, const char *op, struct value *v,
			       int num, const int64_t *shape, int64_t axis, int64_t batches);

/* Of tuples of more indices: of the first ones, times the places that the others have. */
static struct value *flat_tuple(struct graph *g, struct node *n, struct value *v, int num,
				const int64_t *shape, int64_t batches)
{
	int last = v->ndim - 1;
	struct value *at = graph_slice(g, n->name, v, last, 0, TUPLE, false);
	struct value *rest = graph_slice(g, n->name, v, last, TUPLE, num - TUPLE, false), *places;

	if (!at || !rest)
		return NULL;
	at = flat_node(g, n, "FlatIndex", at, TUPLE, shape, 0, batches);
	rest = flat_node(g, n, "FlatIndex", rest, num - TUPLE, shape + TUPLE, 0, 1);
	if (!at || !rest)
		return NULL;
	places = graph_const_i(g, dims_count(num - TUPLE, shape + TUPLE));
	at = graph_op2(g, "Mul", n->name, at, graph_cast(g, n->name, places, at->dtype));
	rest = at ? graph_reshape(g, n->name, rest, at->ndim, at->dim) : NULL;
	return rest ? graph_op2(g, "Add", n->name, at, rest) : NULL;
}

static struct value *flat_node(struct graph *g, struct node *n, const char *op, struct value *v,
			       int num, const int64_t *shape, int64_t axis, int64_t batches)
{
	struct node *m = node_new(g, op, graph_format(g, "%.200s.index", n->name));

	if (dims_count(num, shape) > INT32_MAX || batches * dims_count(num, shape) > INT32_MAX) {
		node_error(g, n, "more than 2^31 places are not supported");
		return NULL;
	}
	if (value_count(v) && !dims_count(num, shape)) {
		node_error(g, n, "'%s' has indices, where there are no elements", v->name);
		return NULL;
	}
	if (num > TUPLE && !strcmp(op, "FlatIndex"))
		return flat_tuple(g, n, v, num, shape, batches);
	node_input(g, m, v);
	node_attr_ints(g, m, "shape", num, shape);
	node_attr_i(g, m, "axis", axis);
	node_attr_i(g, m, "batches", batches);
	return graph_finish(g, m);
}

/* ---- GatherND ------------------------------------------------------------------------- */

static int gather_nd_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *idx = n->in[1], *at, *v;
	int64_t batch = attr_i(n, "batch_dims", 0), k, dim[2], out[2 * RDU_MAX_DIMS], batches;
	int ndim = 0;

	if (check_index_type(g, n, idx))
		return -1;
	k = idx->ndim ? idx->dim[idx->ndim - 1] : 0;
	if (batch < 0 || batch >= idx->ndim || k < 1 || batch + k > x->ndim)
		return node_error(g, n, "indices %s do not fit %s", value_shape_text(g, idx),
				  value_shape_text(g, x));
	if (memcmp(x->dim, idx->dim, (size_t)batch * sizeof(x->dim[0])))
		return node_error(g, n, "the first %lld dimensions of %s and %s differ",
				  (long long)batch, value_shape_text(g, x),
				  value_shape_text(g, idx));
	for (int i = 0; i < idx->ndim - 1; i++)
		out[ndim++] = idx->dim[i];
	for (int i = (int)(batch + k); i < x->ndim; i++)
		out[ndim++] = x->dim[i];
	if (ndim > RDU_MAX_DIMS)
		return node_error(g, n, "result has %d dimensions", ndim);
	batches = dims_count((int)batch, x->dim);
	dim[0] = dims_count((int)(batch + k), x->dim);
	dim[1] = dims_count(x->ndim - (int)(batch + k), x->dim + batch + k);
	at = flat_node(g, n, "FlatIndex", idx, (int)k, x->dim + batch, 0, batches);
	v = at ? graph_reshape(g, n->name, x, 2, dim) : NULL;
	v = graph_op2(g, "Gather", n->name, v, at);
	return graph_replace_first(n, graph_reshape(g, n->name, v, ndim, out));
}

/* ---- ScatterND, ScatterElements --------------------------------------------------------- */

/* Rows of a matrix replaced by others, or reduced with them: data [p, r], index, rows [n, r]. */
static int scatter_rows_infer(struct graph *g, struct node *n)
{
	return node_shape(g, n, 0, n->in[0]->dtype, 2, n->in[0]->dim);
}

/* Stored (or added) where the index says. */
static int scatter_direct(struct lower *l, struct node *n, bool add)
{
	struct value *x = n->in[0], *rows = n->in[2];
	struct tensor *out = lower_value(l, n->out[0]);
	struct nest *nest;
	int i, r;

	if (tensor_storage(out) != tensor_storage(lower_value(l, x))) { /* else it is in place */
		nest = lower_copy(l, n, x, out);
		access_identity(&nest->in[0]);
		if (lower_done(l, n, nest))
			return -1;
	}
	nest = lower_nest(l, n, "rows");
	i = nest_dim(nest, "i", rows->dim[0], false);
	r = nest_dim(nest, "j", rows->dim[1], false);
	nest_input(nest, lower_view(l, n->in[1], 1, rows->dim));
	nest->in[0].coef[0][i] = 1;
	nest_input(nest, lower_value(l, rows));
	access_identity(&nest->in[1]);
	nest_output(nest, out, nest_in(nest, 1));
	nest->out[0].add = add;
	nest->out[0].access.coef[1][r] = 1;
	nest->out[0].access.gather_in = 0;
	nest->out[0].access.gather_dim = 0;
	return lower_done(l, n, nest);
}

/* Each element looks at all rows: those that are its own are reduced, then it with them. */
static int scatter_pattern(struct lower *l, struct node *n)
{
	const char *how = attr_s(n->of_node, "reduction", "none");
	struct value *x = n->in[0], *rows = n->in[2];
	bool max = !strcmp(how, "max"), add = !strcmp(how, "add");
	struct nest *nest;
	int p, r, i, e, k;

	if (!strcmp(how, "none") || (add && x->dtype == RDU_DT_F32))
		return scatter_direct(l, n, add);
	nest = lower_nest(l, n, NULL);
	p = nest_dim(nest, "i", x->dim[0], false);
	r = nest_dim(nest, "j", x->dim[1], false);
	i = nest_dim(nest, "row", rows->dim[0], true);
	nest_input(nest, lower_view(l, n->in[1], 1, rows->dim));
	nest->in[0].coef[0][i] = 1;
	nest_input(nest, lower_value(l, rows));
	nest->in[1].coef[0][i] = nest->in[1].coef[1][r] = 1;
	nest->reduce = add ? REDUCE_ADD : max ? REDUCE_MAX : REDUCE_MIN;
	e = OP(IEQ, nest_in(nest, 0), nest_index(nest, p), -1);
	nest->body = OP(SELECT, e, nest_in(nest, 1),
			nest_imm_f(nest, add   ? 0
					 : max ? -INFINITY
					       : INFINITY));
	k = nest_input(nest, lower_value(l, x));
	access_identity(&nest->in[k]);
	e = nest_op(nest,
		    add	  ? RDU_SIMD_FADD
		    : max ? RDU_SIMD_FMAX
			  : RDU_SIMD_FMIN,
		    nest_in(nest, k), nest_red(nest), -1);
	nest_output(nest, lower_value(l, n->out[0]), e);
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

/* v without the rows that n writes: zeros there. */
static struct value *rows_cleared(struct graph *g, struct node *n, struct value *v)
{
	struct node *m = node_new(g, "ScatterRows", graph_format(g, "%.200s.rest", n->name));

	m->of_node = n->of_node;
	node_input(g, m, v);
	node_input(g, m, n->in[1]);
	node_input(g, m, graph_const(g, v->dtype, 2, n->in[2]->dim, NULL));
	return graph_finish(g, m);
}

/* The data's as it is, but where rows took places over; each row's that of its place. */
static int scatter_rows_gradient(struct graph *g, struct node *n)
{
	const char *how = attr_s(n->of_node, "reduction", "none");
	struct value *x = n->in[0], *rows = n->in[2], *gy = n->out[0]->grad, *at, *v = gy;

	if (strcmp(how, "add") && strcmp(how, "none"))
		return node_error(g, n, "no gradient with reduction %s", how);
	if (x->needs_grad && !strcmp(how, "none"))
		v = rows_cleared(g, n, gy);
	if (!v || graph_add_grad(g, x, v))
		return -1;
	if (!rows->needs_grad)
		return 0;
	at = graph_reshape(g, graph_format(g, "%.200s.row", n->name), n->in[1], 1, rows->dim);
	v = at ? graph_op2(g, "Gather", graph_format(g, "%.200s.grad", n->name), gy, at) : NULL;
	return v ? graph_add_grad(g, rows, v) : -1;
}

#define MOST_FOLDED (1 << 22)

/*
 * Reductions that no scatter adds up: every place looks at every update, and takes those that are
 * for it together.
 */
static struct value *scatter_folded(struct graph *g, struct node *n, const char *how,
				    struct value *x, struct value *at, struct value *v)
{
	static const char *const ops[][3] = { { "add", "ReduceSum", "Add" },
					      { "mul", "ReduceProd", "Mul" },
					      { "max", "ReduceMax", "Max" },
					      { "min", "ReduceMin", "Min" } };
	int64_t places = x->dim[0], width = x->dim[1], num = v->dim[0], axis = 1, k = 0;
	int64_t column[] = { places, 1, 1 }, row[] = { 1, num, 1 }, updates[] = { 1, num, width };
	int64_t old[] = { places, 1, width };
	struct value *hit, *other;

	while (strcmp(ops[k][0], how))
		k++;
	if (num > MOST_FOLDED / places || width > MOST_FOLDED / (places * num)) {
		node_error(g, n,
			   "reduction %s of %s of %lld updates to %lld places is not supported",
			   how, dtype_name(x->dtype), (long long)num, (long long)places);
		return NULL;
	}
	hit = graph_op2(g, "Equal", graph_format(g, "%.200s.hit", n->name),
			graph_reshape(g, n->name, at, 3, row),
			graph_reshape(g, n->name, loop_count(g, at->dtype, places), 3, column));
	v = graph_reshape(g, n->name, v, 3, updates);
	/* Of the others the element itself, or what changes nothing. */
	other = k > 1 ? graph_reshape(g, n->name, x, 3, old)
		      : graph_cast(g, n->name, graph_const_i(g, k), x->dtype);
	if (!hit || !v || !other)
		return NULL;
	v = graph_op3(g, "Where", graph_format(g, "%.200s.theirs", n->name), hit, v, other);
	v = v ? graph_reduce(g, ops[k][1], graph_format(g, "%.200s.folded", n->name), v, 1, &axis,
			     0)
	      : NULL;
	return v ? graph_op2(g, ops[k][2], n->name, x, v) : NULL;
}

static int scatter_rows(struct graph *g, struct node *n, struct value *at, int64_t places,
			int64_t width)
{
	const char *how = attr_s(n, "reduction", "none");
	struct value *x = n->in[0], *v = n->in[2];
	struct node *m = node_new(g, "ScatterRows", n->name);
	int64_t dim[2] = { places, width }, num;

	if (!at)
		return -1;
	if (v->dtype != x->dtype)
		return node_error(g, n, "data is %s, updates are %s", dtype_name(x->dtype),
				  dtype_name(v->dtype));
	num = value_count(at);
	if (!num)
		return graph_replace_first(n, x);
	m->of_node = n;
	x = graph_reshape(g, n->name, x, 2, dim);
	dim[0] = num;
	v = x ? graph_reshape(g, n->name, v, 2, dim) : NULL;
	if (!v)
		return -1;
	if (!strcmp(how, "mul") || (strcmp(how, "none") && dtype_is_int(x->dtype)))
		return graph_replace_first(n, graph_reshape(g, n->name,
							    scatter_folded(g, n, how, x, at, v),
							    n->in[0]->ndim, n->in[0]->dim));
	node_input(g, m, x);
	node_input(g, m, at);
	node_input(g, m, v);
	return graph_replace_first(
		n, graph_reshape(g, n->name, graph_finish(g, m), n->in[0]->ndim, n->in[0]->dim));
}

static int scatter_nd_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *idx = n->in[1], *v = n->in[2];
	int64_t k = idx->ndim ? idx->dim[idx->ndim - 1] : 0;
	bool fits;

	if (check_index_type(g, n, idx))
		return -1;
	fits = k >= 1 && k <= x->ndim && v->ndim == idx->ndim - 1 + x->ndim - k;
	for (int i = 0; fits && i < v->ndim; i++)
		fits = v->dim[i] ==
		       (i < idx->ndim - 1 ? idx->dim[i] : x->dim[i - idx->ndim + 1 + k]);
	if (!fits)
		return node_error(g, n, "data %s, indices %s and updates %s do not fit",
				  value_shape_text(g, x), value_shape_text(g, idx),
				  value_shape_text(g, v));
	return scatter_rows(g, n, flat_node(g, n, "FlatIndex", idx, (int)k, x->dim, 0, 1),
			    dims_count((int)k, x->dim), dims_count(x->ndim - (int)k, x->dim + k));
}

static int scatter_elements_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *idx = n->in[1], *v = n->in[2];
	int64_t axis = attr_i(n, "axis", 0);

	if (check_index_type(g, n, idx) || node_axis(g, n, &axis, x->ndim))
		return -1;
	if (!value_same_shape(idx, v) || idx->ndim != x->ndim)
		return node_error(g, n, "data %s, indices %s and updates %s do not fit",
				  value_shape_text(g, x), value_shape_text(g, idx),
				  value_shape_text(g, v));
	for (int i = 0; i < x->ndim; i++)
		if (i != axis && idx->dim[i] > x->dim[i])
			return node_error(g, n, "indices %s leave data %s",
					  value_shape_text(g, idx), value_shape_text(g, x));
	return scatter_rows(g, n, flat_node(g, n, "FlatElement", idx, x->ndim, x->dim, axis, 1),
			    value_count(x), 1);
}

/* A sequence of rows into a cache, from a place of each batch's own on; circular: round its end. */
static int tensor_scatter_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *v = n->in[1], *from = node_in(n, 2), *at;
	int64_t axis = attr_i(n, "axis", -2), dim[RDU_MAX_DIMS], count = x->ndim;
	bool fits = v->ndim == x->ndim && v->dtype == x->dtype;
	bool circular = !strcmp(attr_s(n, "mode", "linear"), "circular");
	struct node *m;

	if (node_axis(g, n, &axis, x->ndim))
		return -1;
	for (int i = 0; fits && i < x->ndim; i++)
		fits = i == axis ? v->dim[i] <= x->dim[i] : v->dim[i] == x->dim[i];
	if (!fits || !axis ||
	    (from && (from->ndim != 1 || from->dim[0] != x->dim[0] || from->dtype != RDU_DT_I64)))
		return node_error(
			g, n, "a cache %s%s, rows %s%s along axis %lld and places %s do not fit",
			dtype_name(x->dtype), value_shape_text(g, x), dtype_name(v->dtype),
			value_shape_text(g, v), (long long)axis,
			from ? value_shape_text(g, from) : "0");
	for (int i = 0; i < x->ndim; i++)
		dim[i] = i == axis ? v->dim[i] : 1;
	at = graph_reshape(g, n->name, loop_count(g, RDU_DT_I64, v->dim[axis]), x->ndim, dim);
	if (from) {
		for (int i = 0; i < x->ndim; i++)
			dim[i] = i ? 1 : x->dim[0];
		from = graph_reshape(g, n->name, from, x->ndim, dim);
		if (from && !circular) { /* one below 0 is none, and does not count from the end */
			struct value *below =
				graph_op2(g, "Less", n->name, from, graph_const_i(g, 0));

			from = below ? graph_op3(g, "Where", n->name, below,
						 graph_const_i(g, x->dim[axis]), from)
				     : NULL;
		}
		at = from ? graph_op2(g, "Add", n->name, at, from) : NULL;
	}
	if (at && circular)
		at = graph_op2(g, "Mod", n->name, at, graph_const_i(g, x->dim[axis]));
	at = at ? graph_op2(g, "Expand", n->name, at, graph_const(g, RDU_DT_I64, 1, &count, v->dim))
		: NULL;
	if (!at)
		return -1;
	m = node_new(g, "ScatterElements", n->name);
	node_input(g, m, x);
	node_input(g, m, at);
	node_input(g, m, v);
	node_attr_i(g, m, "axis", axis);
	return graph_replace_first(n, graph_finish(g, m));
}

/* ---- TopK ------------------------------------------------------------------------------- */

int expr_order_key(struct nest *nest, enum rdu_dtype t, int x)
{
	if (t == RDU_DT_U32)
		return OP(IADD, x, IMM(INT32_MIN), -1); /* also where 64 bits are computed with */
	if (dtype_is_int(t))
		return x;
	x = OP(FADD, x, nest_imm_f(nest, 0), -1);
	return OP(XOR, x, OP(SHR, OP(SAR, x, IMM(31), -1), IMM(1), -1), -1);
}

/* Rank: how many elements along the axis come before one; of equal ones the first does. */
static int rank_infer(struct graph *g, struct node *n)
{
	return node_shape(g, n, 0, RDU_DT_I32, n->in[0]->ndim, n->in[0]->dim);
}

static int rank_pattern(struct lower *l, struct node *n)
{
	int64_t axis = attr_i(n, "axis", 0);
	struct nest *nest = lower_nest(l, n, NULL);
	struct value *x = n->in[0];
	int j, mine, other, before, same;

	for (int i = 0; i < x->ndim; i++)
		nest_dim(nest, axis_name(x->ndim, i), x->dim[i], false);
	j = nest_dim(nest, "other", x->dim[axis], true);
	for (int k = 0; k < 2; k++) {
		nest_input(nest, lower_value(l, x));
		access_identity(&nest->in[k]);
	}
	nest->in[1].coef[axis][axis] = 0;
	nest->in[1].coef[axis][j] = 1;
	mine = expr_order_key(nest, x->dtype, nest_in(nest, 0));
	other = expr_order_key(nest, x->dtype, nest_in(nest, 1));
	before = attr_i(n, "largest", 1) ? OP(ILT, mine, other, -1) : OP(ILT, other, mine, -1);
	same = OP(ILT, nest_index(nest, j), nest_index(nest, (int)axis), -1);
	if (attr_i(n, "last", 0))
		same = OP(ILT, nest_index(nest, (int)axis), nest_index(nest, j), -1);
	before = OP(SELECT, OP(IEQ, mine, other, -1), same, before);
	nest->reduce = REDUCE_ADD;
	nest->body = OP(SELECT, before, nest_imm_f(nest, 1), nest_imm_f(nest, 0));
	nest_output(nest, lower_value(l, n->out[0]), OP(F2I, nest_red(nest), -1, -1));
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

/* RankIndex: where along the axis the ranks 0 to k - 1 are. */
static int rank_index_infer(struct graph *g, struct node *n)
{
	int64_t dim[RDU_MAX_DIMS];

	memcpy(dim, n->in[0]->dim, sizeof(dim));
	dim[attr_i(n, "axis", 0)] = attr_i(n, "k", 1);
	return node_shape(g, n, 0, RDU_DT_I64, n->in[0]->ndim, dim);
}

static int rank_index_pattern(struct lower *l, struct node *n)
{
	int64_t axis = attr_i(n, "axis", 0);
	struct nest *nest = lower_nest(l, n, NULL);
	struct value *x = n->in[0], *y = n->out[0];
	int j, e;

	for (int i = 0; i < y->ndim; i++)
		nest_dim(nest, axis_name(y->ndim, i), y->dim[i], false);
	j = nest_dim(nest, "from", x->dim[axis], true);
	nest_input(nest, lower_value(l, x));
	access_identity(&nest->in[0]);
	nest->in[0].coef[axis][axis] = 0;
	nest->in[0].coef[axis][j] = 1;
	e = OP(IEQ, nest_in(nest, 0), nest_index(nest, (int)axis), -1);
	nest->reduce = REDUCE_MAX;
	nest->body = OP(SELECT, e, OP(I2F, nest_index(nest, j), -1, -1), nest_imm_f(nest, 0));
	nest_output(nest, lower_value(l, y), OP(F2I, nest_red(nest), -1, -1));
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

struct value *graph_rank(struct graph *g, struct node *n, struct value *x, int64_t axis,
			 bool largest, bool last)
{
	struct node *m = node_new(g, "Rank", graph_format(g, "%.200s.rank", n->name));

	if (!x)
		return NULL;
	if (x->dim[axis] > 1 << 24) {
		node_error(g, n, "axis of more than 2^24 elements: not supported");
		return NULL;
	}
	node_input(g, m, x);
	node_attr_i(g, m, "axis", axis);
	node_attr_i(g, m, "largest", largest);
	node_attr_i(g, m, "last", last);
	return graph_finish(g, m);
}

struct value *graph_rank_places(struct graph *g, struct node *n, struct value *rank, int64_t axis,
				int64_t k)
{
	struct node *m = node_new(g, "RankIndex", graph_format(g, "%.200s.where", n->name));

	node_input(g, m, rank);
	node_attr_i(g, m, "axis", axis);
	node_attr_i(g, m, "k", k);
	return graph_finish(g, m);
}

struct value *graph_rank_index(struct graph *g, struct node *n, struct value *x, int64_t axis,
			       int64_t k, bool largest, bool last)
{
	struct value *rank = graph_rank(g, n, x, axis, largest, last);

	return rank ? graph_rank_places(g, n, rank, axis, k) : NULL;
}

/* The elements of x at these places along an axis. */
static struct value *gathered_along(struct graph *g, struct node *n, struct value *x,
				    struct value *at, int64_t axis)
{
	struct node *m = node_new(g, "GatherElements", n->name);

	node_input(g, m, x);
	node_input(g, m, at);
	node_attr_i(g, m, "axis", axis);
	return at ? graph_finish(g, m) : NULL;
}

#define MOST_PAIRS (1 << 22)

/*
 * Blocks for the k first of an axis' elements: the k first of each block are ordered together. Each element is
 * compared with its block, each of the first ones with all of them. 0: to compare each two elements is as good.
 */
static int64_t block_size(int64_t num, int64_t k)
{
	int64_t size = (int64_t)ceil(cbrt(2.0 * (double)num * (double)k * (double)k)), first;

	size = size < k ? k : size;
	first = size ? (num + size - 1) / size * k : num;
	if (num * num <= MOST_PAIRS || first >= num / 2)
		return 0;
	return size;
}

/* Where along the axis the k first are, in order. */
static struct value *top_places(struct graph *g, struct node *n, struct value *x, int64_t axis,
				int64_t k)
{
	bool largest = attr_i(n, "largest", 1);
	int64_t size = block_size(x->dim[axis], k), dim[RDU_MAX_DIMS + 1], num, *start;
	int64_t pads[2 * RDU_MAX_DIMS] = { 0 }, count = 2 * x->ndim;
	struct value *at, *first;
	struct node *m;

	if (!size || x->ndim == RDU_MAX_DIMS)
		return graph_rank_index(g, n, x, axis, k, largest, false);
	num = (x->dim[axis] + size - 1) / size;
	pads[x->ndim + axis] = num * size - x->dim[axis];
	m = node_new(g, "Pad", graph_format(g, "%.200s.blocks", n->name));
	node_input(g, m, x);
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &count, pads));
	node_input(g, m,
		   bounded_fill_value(g, n->name, x->dtype, largest ? FILL_LOWEST : FILL_LAST));
	memcpy(dim, x->dim, (size_t)(axis + 1) * sizeof(*dim));
	dim[axis] = num;
	dim[axis + 1] = size;
	memcpy(dim + axis + 2, x->dim + axis + 1, (size_t)(x->ndim - axis - 1) * sizeof(*dim));
	x = graph_reshape(g, n->name, graph_finish(g, m), x->ndim + 1, dim);
	at = x ? graph_rank_index(g, n, x, axis + 1, k, largest, false) : NULL;
	first = at ? gathered_along(g, n, x, at, axis + 1) : NULL;
	/* Counted from the axis' beginning. */
	start = graph_alloc(g, (size_t)num * sizeof(*start));
	for (int64_t i = 0; i < num; i++)
		start[i] = i * size;
	for (int i = (int)axis + 1; first && i < x->ndim; i++)
		dim[i] = 1;
	at = first ? graph_op2(g, "Add", n->name, at,
			       graph_const(g, RDU_DT_I64, x->ndim - (int)axis, dim + axis, start))
		   : NULL;
	if (!at)
		return NULL;
	memcpy(dim, at->dim, (size_t)axis * sizeof(*dim));
	dim[axis] = num * k;
	memcpy(dim + axis + 1, at->dim + axis + 2, (size_t)(at->ndim - axis - 2) * sizeof(*dim));
	first = graph_reshape(g, n->name, first, at->ndim - 1, dim);
	at = graph_reshape(g, n->name, at, at->ndim - 1, dim);
	return first && at ? gathered_along(g, n, at, top_places(g, n, first, axis, k), axis)
			   : NULL;
}

static int top_k_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *at;
	int64_t axis = attr_i(n, "axis", -1), k = attr_i(n, "k", 0);
	int num;

	if (node_axis(g, n, &axis, x->ndim))
		return -1;
	if (n->num_in > 1) {
		const int64_t *p = node_const_ints(g, n, 1, &num);

		if (!p || num != 1)
			return node_error(g, n, "k must be a constant integer");
		k = p[0];
	}
	if (k < 0 || k > x->dim[axis])
		return node_error(g, n, "k is %lld, of %lld elements", (long long)k,
				  (long long)x->dim[axis]);
	at = top_places(g, n, x, axis, k);
	if (!at)
		return -1;
	graph_replace(n, 1, at);
	return graph_replace_first(n, gathered_along(g, n, x, at, axis));
}

#define EXPAND(onnx, lo, hi, outs, fn)                                                  \
	{                                                                               \
		.name = onnx, .min_in = lo, .max_in = hi, .max_out = outs, .expand = fn \
	}
#define INTERNAL(onnx, ins, fn)                                                             \
	{                                                                                   \
		.name = onnx, .min_in = ins, .max_in = ins, .max_out = 1, .internal = true, \
		.infer = fn##_infer, .pattern = fn##_pattern, .stop_gradient = true         \
	}

const struct op ops_scatter[] = {
	EXPAND("GatherND", 2, 2, 1, gather_nd_expand),
	EXPAND("ScatterND", 3, 3, 1, scatter_nd_expand),
	EXPAND("ScatterElements", 3, 3, 1, scatter_elements_expand),
	EXPAND("Scatter", 3, 3, 1, scatter_elements_expand),
	EXPAND("TensorScatter", 2, 3, 1, tensor_scatter_expand),
	{ .name = "TopK",
	  .min_in = 1,
	  .max_in = 2,
	  .max_out = 2,
	  .optional_first = true,
	  .expand = top_k_expand },
	INTERNAL("FlatIndex", 1, flat_index),
	INTERNAL("FlatElement", 1, flat_element),
	INTERNAL("Rank", 1, rank),
	INTERNAL("RankIndex", 1, rank_index),
	{ .name = "ScatterRows",
	  .min_in = 3,
	  .max_in = 3,
	  .max_out = 1,
	  .internal = true,
	  .in_place = true,
	  .infer = scatter_rows_infer,
	  .gradient = scatter_rows_gradient,
	  .pattern = scatter_pattern },
	{ 0 },
};
