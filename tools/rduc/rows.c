// SPDX-License-Identifier: MIT
/*
 * Rows: is a dimension of a model's inputs one of rows that know nothing of each other, nor how many
 * they are? Then a run may have more of them than its caller has, and the rest is thrown away.
 *
 * The model is imported with the dimension at a prime that no other dimension is a multiple of, the
 * witness: what is a multiple of it comes from there. Two things are proven of that graph, and hold
 * for any number of rows, as ONNX's operators do the same for each:
 *
 *   - no number tells how many rows there are. What is computed of a Shape is only a shape again: of
 *     a Reshape, an Expand, a ConstantOfShape, the end of a Range.
 *   - each nest works row by row. A tensor has rows if its elements, in order, are pieces of `inner`,
 *     of which piece k belongs to row k modulo their number. In a nest that reads such a tensor, one
 *     dimension d steps through the rows, i / every and modulo their number, for all that it reads;
 *     it is not reduced over, and what is written has rows by the same rule.
 *
 * A convolution along the dimension, a sum or a Softmax over it, a sort, a part of it: all of these
 * read other rows, or not all of them, and end the proof, with their names.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include "graph.h"
#include "mem.h"

/* A node as it was in the file. */
struct was {
	const char *name, *op;
	int num_in, num_out;
	struct value **in, **out;
	bool axes, body;
};

struct rows {
	int num;
	struct was *node;
};

static struct value **copy_values(struct graph *g, struct value *const *v, int num)
{
	struct value **to = graph_alloc(g, ((size_t)num + 1) * sizeof(*to));

	if (num)
		memcpy(to, v, (size_t)num * sizeof(*to));
	return to;
}

struct rows *rows_begin(struct graph *g)
{
	struct rows *r = graph_alloc(g, sizeof(*r));

	r->num = g->num_nodes;
	r->node = graph_alloc(g, ((size_t)r->num + 1) * sizeof(*r->node));
	for (int i = 0; i < r->num; i++) {
		const struct node *n = g->nodes[i];
		struct was *w = &r->node[i];

		*w = (struct was){ .name = n->name,
				   .op = n->op->name,
				   .num_in = n->num_in,
				   .num_out = n->num_out,
				   .in = copy_values(g, n->in, n->num_in),
				   .out = copy_values(g, n->out, n->num_out),
				   .axes = node_attr(n, "axes") || n->num_in > 1 };
		for (const struct attr *a = n->attrs; a; a = a->next)
			w->body |= a->kind == ATTR_GRAPH;
	}
	return r;
}

/* A proof that goes on. */
struct proof {
	struct graph *g;
	const struct module *m;
	int dim; /* import_options' number */
	int64_t count; /* its rows */
	struct rows_proof *to;
	int64_t *inner; /* of each tensor; 0: the same for all rows, or nothing yet; -1: no rows */
};

/* The first reason counts. */
__attribute__((format(printf, 2, 3))) static void against(struct proof *p, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!p->to->against)
		p->to->against = graph_strdup(p->g, text);
}

/* ---- nests ------------------------------------------------------------------------------ */

/* The row in a nest: index along dimension d, divided by `every`, modulo their number; d -1: none. */
struct row {
	int d;
	int64_t every;
};

static int64_t stride_of(const struct tensor *t, int k)
{
	int64_t n = 1;

	for (int d = k + 1; d < t->ndim; d++)
		n *= t->dim[d];
	return n;
}

/* What index k of an access, whose step is `stride` elements, has to do with rows. */
static bool row_of_index(const struct proof *p, const struct nest *n, const struct access *a, int k,
			 int64_t stride, int64_t inner, struct row *row)
{
	int64_t all = inner * p->count, end = stride * a->tensor->dim[k];
	int64_t low = stride < inner ? inner / stride : 1; /* steps of the index in a row */
	int64_t wrap = end > all ? all / stride : 0; /* in all rows; 0: there is no more */
	int64_t most = a->offset[k];

	if (a->tensor->dim[k] == 1)
		return true;
	if (end <= inner || stride >= all)
		return end <= inner ? inner % end == 0 : stride % all == 0;
	if (stride < inner ? inner % stride : stride != inner || all % stride)
		return false;
	if ((wrap && all % stride) || (a->gather_in >= 0 && a->gather_dim == k) ||
	    a->offset[k] < 0 || a->offset[k] >= low)
		return false;
	for (int d = 0; d < n->ndim; d++) {
		int64_t c = a->coef[k][d], extent = n->dim[d].extent, every = 1, rows;

		if (!c || extent == 1 || (wrap && c > 0 && c % wrap == 0))
			continue;
		if (c < 0 || (c < low ? low % c : c % low))
			return false;
		if (c < low)
			every = low / c;
		most += c < low ? c * ((extent < every ? extent : every) - 1) : 0;
		if (extent <= every)
			continue;
		rows = extent / every;
		if (extent % every || c * every != low || (rows != p->count && !wrap) ||
		    rows % p->count || row->d >= 0 || n->dim[d].reduce)
			return false;
		*row = (struct row){ d, every };
	}
	return most < low;
}

/* Along which dimension of the nest an access of a tensor with such rows goes from row to row.
 * False: it is not so, or doesn't come to all rows. */
static bool row_of_access(const struct proof *p, const struct nest *n, const struct access *a,
			  int64_t inner, struct row *row)
{
	*row = (struct row){ -1, 0 };
	for (int k = 0; k < a->tensor->ndim; k++)
		if (!row_of_index(p, n, a, k, stride_of(a->tensor, k), inner, row))
			return false;
	return row->d >= 0;
}

static bool is_multiple(const struct proof *p, int64_t v)
{
	return v && v % p->count == 0;
}

/* Is a number in an expression the number of rows, a multiple of it, or one or two beside it? */
static bool near_multiple(const struct proof *p, int64_t v)
{
	for (int64_t k = -2; k <= 2; k++)
		if (is_multiple(p, v + k))
			return true;
	return false;
}

static bool tells_count(const struct proof *p, uint32_t word)
{
	float f;

	memcpy(&f, &word, sizeof(f));
	if ((int32_t)word > -(1 << 23) && (int32_t)word < 1 << 23)
		return near_multiple(p, (int32_t)word);
	for (int k = 0; k < 2; k++, f = 1 / f)
		if (fabsf(f) >= 1 && fabsf(f) < 1 << 24 &&
		    fabsf(f - rintf(f)) <= 1e-6f * fabsf(f) && near_multiple(p, (int64_t)rintf(f)))
			return true;
	return false;
}

/* The row of a nest; false: it does not work row by row. */
static bool row_of_nest(const struct proof *p, const struct module_entry *e, const struct nest *n,
			struct row *row)
{
	*row = (struct row){ -1, 0 };
	for (int loop = n->loop; loop; loop = e->loop[loop - 1].parent)
		if (is_multiple(p, e->loop[loop - 1].trip))
			return false;
	for (int i = 0; i < n->num_in; i++) {
		int64_t inner = p->inner[tensor_whole(n->in[i].tensor)->id];
		struct row one;

		if (!inner)
			continue;
		if (inner < 0 || !row_of_access(p, n, &n->in[i], inner, &one))
			return false;
		if (row->d >= 0 && (row->d != one.d || row->every != one.every))
			return false;
		*row = one;
	}
	for (int d = 0; d < n->ndim; d++) {
		if (!is_multiple(p, n->dim[d].extent) || d == row->d)
			continue;
		if (row->d >= 0 || n->dim[d].reduce || n->dim[d].extent != p->count)
			return false;
		*row = (struct row){ d, 1 };
	}
	if (row->d >= 0 && row->d == nest_carried(n))
		return false;
	for (int i = 0; i < n->num_expr; i++) {
		const struct expr *x = &n->expr[i];

		if (x->kind == EXPR_IMM && tells_count(p, x->imm))
			return false;
		if (x->kind == EXPR_INDEX && x->arg[0] == row->d &&
		    n->dim[row->d].extent != row->every * p->count)
			return false;
	}
	return true;
}

/* The size of a row's pieces in what an access writes; -1: it has no rows. */
static int64_t inner_of(const struct proof *p, const struct nest *n, const struct access *a,
			struct row row)
{
	int64_t inner = 0;
	struct row is;

	for (int k = 0; k < a->tensor->ndim; k++)
		if (a->coef[k][row.d])
			inner += row.every * a->coef[k][row.d] * stride_of(a->tensor, k);
	if (inner <= 0 || !row_of_access(p, n, a, inner, &is) || is.d != row.d ||
	    is.every != row.every)
		return -1;
	return inner;
}

/* Has a tensor a multiple of as many elements as there are rows? */
static bool may_have_rows(const struct proof *p, const struct tensor *t)
{
	return is_multiple(p, dims_count(t->ndim, t->dim));
}

/* Is anything new known of what a nest writes? One that does not step through the rows may not write
 * some of them: the last one is another one where there are more. */
static bool follow_nest(struct proof *p, const struct module_entry *e, const struct nest *n)
{
	bool changed = false, good;
	struct row row;

	good = row_of_nest(p, e, n, &row);
	for (int i = 0; i < n->num_out; i++) {
		struct tensor *t = tensor_whole(n->out[i].access.tensor);
		int64_t *to = &p->inner[t->id], inner = -1;

		if (good && row.d < 0 && !may_have_rows(p, t))
			continue;
		if (good && row.d >= 0)
			inner = inner_of(p, n, &n->out[i].access, row);
		if (*to && *to != inner)
			inner = -1;
		changed |= *to != inner;
		*to = inner;
		if (inner < 0)
			against(p, "%s '%s' works across it", n->op_type, n->name);
	}
	return changed;
}

/* What inputs and constants have of rows. */
static void begin_with(struct proof *p)
{
	const struct graph *g = p->g;

	for (int i = 0; i < p->m->num_tensors; i++) {
		const struct tensor *t = p->m->tensors[i];

		p->inner[i] = 0;
		for (int k = 0; t->constant && k < t->ndim; k++)
			if (is_multiple(p, t->dim[k]))
				p->inner[i] =
					p->inner[i] || t->dim[k] != p->count ? -1 : stride_of(t, k);
	}
	for (int i = 0; i < g->num_values; i++) {
		const struct value *v = g->values[i];

		for (int k = 0; v->tensor && k < v->ndim; k++) {
			int64_t *to = &p->inner[v->tensor->id];

			if (v->sized[k] != p->dim + 1)
				continue;
			if (*to)
				against(p, "input '%s' has it twice", v->name);
			*to = *to ? -1 : stride_of(v->tensor, k);
		}
	}
}

/* An output's dimension that has the rows; -1: it has none, of which it depends. */
static int output_dim(struct proof *p, const struct graph_output *o)
{
	const struct tensor *t = o->state ? NULL : module_output(p->m, "", o->name);
	int64_t inner = t ? p->inner[t->id] : 0;

	if (inner > 0)
		for (int k = 0; k < t->ndim; k++)
			if (t->dim[k] == p->count && stride_of(t, k) == inner)
				return k;
	for (int k = 0; t && k < t->ndim; k++)
		if (is_multiple(p, t->dim[k]))
			inner = -1;
	if (inner)
		against(p, "output '%s' has no dimension of so many rows", o->name);
	return -1;
}

static void follow_rows(struct proof *p)
{
	const struct module_entry *e = &p->m->entries[0];
	bool changed = true;

	begin_with(p);
	while (changed) {
		changed = false;
		for (int i = 0; i < e->num_nests; i++)
			changed |= follow_nest(p, e, e->nests[i]);
	}
	for (int i = 0; i < p->m->num_tensors; i++) {
		const struct tensor *t = p->m->tensors[i];

		if (p->inner[i] &&
		    (t->kind == TENSOR_STATE || (t->kind == TENSOR_WEIGHT && !t->constant)))
			against(p, "state '%s' is kept from run to run", t->name);
	}
	for (int k = 0; k < p->g->num_outputs; k++)
		p->to->output[k] = (signed char)output_dim(p, &p->g->outputs[k]);
}

/* ---- sizes that become numbers ------------------------------------------------------------ */

static bool shape_tells(const struct proof *p, const struct value *v)
{
	for (int k = 0; k < v->ndim; k++)
		if (is_multiple(p, v->dim[k]))
			return true;
	return false;
}

static bool elements_tell(const struct proof *p, const struct value *v)
{
	for (int64_t i = 0; i < value_count(v); i++)
		if (is_multiple(p, dtype_is_int(v->dtype) ? value_int(v, i)
							  : (int64_t)value_real(v, i)))
			return true;
	return false;
}

static bool one_of(const char *name, const char *const *list)
{
	while (*list && strcmp(name, *list))
		list++;
	return *list;
}

static bool is_folded(const struct value *v)
{
	return v->constant && v->data && !v->producer;
}

/* Numbers go on as they are, or as a product of several, from the first input. */
static bool moves_numbers(const struct was *w)
{
	static const char *const ops[] = { "Gather",   "Slice",	  "Cast",    "Unsqueeze",
					   "Identity", "Reshape", "Flatten", NULL };

	return one_of(w->op, ops) || (!strcmp(w->op, "Squeeze") && w->axes);
}

/* The inputs that say no more than a shape. */
static bool is_shape_input(const struct was *w, int k)
{
	return (k == 1 &&
		one_of(w->op, (const char *const[]){ "Reshape", "Expand", "Range", NULL })) ||
	       (!k && !strcmp(w->op, "ConstantOfShape"));
}

static void used_by(struct proof *p, const struct was *w)
{
	against(p, "its size is used by %s '%s'", w->op, w->name);
}

/* What an input of a node tells. */
static void follow_input(struct proof *p, const struct was *w, int k, const struct value *out)
{
	static const char *const combine[] = { "Concat", "Mul", NULL };
	static const char *const keep[] = { "Transpose", "Expand", NULL };
	static const char *const part[] = { "Gather", "Slice", NULL };
	const struct value *v = w->in[k];
	bool folded = is_folded(out);
	bool moves = folded && (one_of(w->op, combine) || (!k && moves_numbers(w)));
	bool keeps = !k && (one_of(w->op, keep) || (moves_numbers(w) && !one_of(w->op, part)));

	if (v->tells && !moves && !is_shape_input(w, k))
		used_by(p, w);
	/* Of constants that are folded, nests see nothing. */
	if (v->shaped && folded && (!keeps || !shape_tells(p, out)))
		used_by(p, w);
}

/* A Shape, or a Size. What it is taken of is to be looked at row by row: else its other dimensions
 * may tell, too. */
static void follow_shape(struct proof *p, const struct was *w, struct value *out)
{
	const struct value *v = value_resolve(w->in[0]);

	if (v->kind != TENSOR_INPUT && !is_folded(v) && w->in[0]->depends && !v->tensor)
		used_by(p, w);
	out->depends = w->in[0]->depends;
	out->tells = elements_tell(p, value_resolve(out));
}

static void follow_node(struct proof *p, const struct was *w)
{
	bool tells = false, shaped = false, depends = false;

	if (w->num_out && w->out[0] && (!strcmp(w->op, "Shape") || !strcmp(w->op, "Size"))) {
		follow_shape(p, w, w->out[0]);
		return;
	}
	for (int k = 0; k < w->num_in; k++) {
		const struct value *v = w->in[k];

		if (!v)
			continue;
		depends |= v->depends;
		shaped |= v->shaped || (v->tells && is_shape_input(w, k));
		tells |= v->tells && !is_shape_input(w, k);
		if (w->num_out == 1)
			follow_input(p, w, k, value_resolve(w->out[0]));
	}
	if ((w->body && (depends || tells || shaped)) || ((tells || shaped) && w->num_out > 1))
		against(p, "it is not followed through %s '%s'", w->op, w->name);
	if (!strcmp(w->op, "Squeeze") && !w->axes && depends)
		against(p, "%s '%s' has no axes", w->op, w->name);
	for (int k = 0; k < w->num_out; k++) {
		const struct value *out = w->out[k] ? value_resolve(w->out[k]) : NULL;
		bool folded = out && is_folded(out);

		if (!out)
			continue;
		w->out[k]->depends = depends;
		w->out[k]->tells = folded && tells && elements_tell(p, out);
		w->out[k]->shaped = folded && shaped && shape_tells(p, out);
	}
}

static void follow_sizes(struct proof *p, const struct rows *r)
{
	struct graph *g = p->g;

	for (int i = 0; i < g->num_values; i++)
		for (int k = 0; k < g->values[i]->ndim; k++)
			g->values[i]->depends |= g->values[i]->sized[k] == p->dim + 1;
	for (int i = 0; i < r->num; i++) {
		const struct was *w = &r->node[i];

		follow_node(p, w);
		for (int k = 0; k < w->num_out; k++)
			for (int o = 0; w->out[k] && w->out[k]->tells && o < g->num_outputs; o++)
				if (g->outputs[o].value == value_resolve(w->out[k]))
					against(p, "output '%s' tells its size",
						g->outputs[o].name);
	}
}

/* ---- both ----------------------------------------------------------------------------------- */

/* Shapes of the model's own that look like the witness's. */
static void check_witness(struct proof *p)
{
	for (int i = 0; i < p->g->num_values; i++) {
		const struct value *v = p->g->values[i];

		for (int k = 0; (v->initializer || v->kind == TENSOR_INPUT) && k < v->ndim; k++)
			if (v->sized[k] != p->dim + 1 && is_multiple(p, v->dim[k]))
				against(p,
					"'%s' has a dimension that is a multiple of %" PRId64
					", with which it is tried",
					v->name, p->count);
	}
}

void rows_prove(struct graph *g, const struct rows *r, const struct module *m, int dim,
		struct rows_proof *to)
{
	struct proof p = { .g = g, .m = m, .dim = dim, .count = ROWS_WITNESS, .to = to };

	to->against = NULL;
	to->output = graph_alloc(g, (size_t)g->num_outputs + 1);
	p.inner = graph_alloc(g, ((size_t)m->num_tensors + 1) * sizeof(*p.inner));
	check_witness(&p);
	follow_sizes(&p, r);
	follow_rows(&p);
}
