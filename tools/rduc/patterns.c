// SPDX-License-Identifier: MIT
/*
 * Pass 4: every operator becomes nests, by its own pattern. After this nothing
 * knows operators.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "graph.h"
#include "mem.h"

/* Weights and states are the same in all entry points: they have no name but their own. */
static bool is_shared(const struct value *v)
{
	return (v->kind == TENSOR_WEIGHT && !v->constant) || v->kind == TENSOR_STATE;
}

static void symbol_of(char symbol[64], const char *scope, const char *name)
{
	char full[1024];

	snprintf(full, sizeof(full), "%s%s", scope, name);
	rduc_symbol_name(symbol, full);
}

static struct tensor *tensor_of(struct lower *l, const char *name, enum tensor_kind kind,
				enum rdu_dtype dtype, int ndim, const int64_t *dim)
{
	char symbol[64];

	symbol_of(symbol, kind == TENSOR_TEMP ? l->prefix : l->scope, name);
	return module_tensor(l->module, symbol, kind, dtype, ndim, dim);
}

/* A constant that an entry point before has as well, whatever it is called; NULL: none has. */
static struct tensor *same_constant(const struct lower *l, const struct value *v)
{
	for (int i = 0; *l->scope && i < l->module->num_tensors; i++) {
		struct tensor *t = l->module->tensors[i];

		if (t->constant && t->data && t->dtype == v->dtype && t->ndim == v->ndim &&
		    !memcmp(t->dim, v->dim, (size_t)v->ndim * sizeof(*v->dim)) &&
		    !memcmp(t->data, v->data, (size_t)value_count(v) * dtype_bytes(v->dtype)))
			return t;
	}
	return NULL;
}

/* A constant that some read as bytes and others as it is becomes two tensors: the bytes give up its name. */
static void rename_bytes(struct lower *l, const struct value *v)
{
	char symbol[64];

	if (!v->tensor || !v->bytes || v->bytes == v || !v->bytes->tensor ||
	    strcmp(v->tensor->name, v->bytes->tensor->name))
		return;
	symbol_of(symbol, l->scope, graph_format(l->graph, "%.200s.bytes", v->name));
	free(v->bytes->tensor->name);
	v->bytes->tensor->name = xstrdup(symbol);
}

struct tensor *lower_bytes(struct lower *l, struct value *v)
{
	struct tensor *t = lower_value(l, v->bytes);

	rename_bytes(l, v);
	return t;
}

struct tensor *lower_value(struct lower *l, struct value *v)
{
	char symbol[64];

	v = value_resolve(v);
	if (v->tensor)
		return v->tensor;
	if (v->constant && v->kind == TENSOR_WEIGHT && v->data) {
		v->tensor = same_constant(l, v);
		if (v->tensor)
			return v->tensor;
	}
	if (is_shared(v)) {
		symbol_of(symbol, "", v->name);
		v->tensor = module_tensor(l->module, symbol, v->kind, v->dtype, v->ndim, v->dim);
	} else {
		v->tensor = tensor_of(l, v->name, v->kind, v->dtype, v->ndim, v->dim);
	}
	v->tensor->model_state = v->model_state;
	v->tensor->constant = v->constant && v->kind == TENSOR_WEIGHT;
	rename_bytes(l, v);
	if (v->data) {
		size_t bytes = (size_t)value_count(v) * dtype_bytes(v->dtype);

		v->tensor->data = v->data == v->shared ? shared_use(v->shared) : shared_new(bytes);
		if (v->data != v->shared)
			copy_to_zeros(v->tensor->data, v->data, bytes);
	}
	if (v->update_of)
		v->tensor->update_of = lower_value(l, v->update_of);
	if (v->packing) {
		v->tensor->packed.table = lower_value(l, v->packing->table);
		memcpy(v->tensor->packed.dim, v->packing->dim, sizeof(v->packing->dim));
		v->tensor->packed.transposed = v->packing->transposed;
	}
	return v->tensor;
}

struct tensor *lower_temp(struct lower *l, struct node *n, const char *what, enum rdu_dtype dtype,
			  int ndim, const int64_t *dim)
{
	char name[300];

	snprintf(name, sizeof(name), "%.250s.%s", n->out[0]->name, what);
	return tensor_of(l, name, TENSOR_TEMP, dtype, ndim, dim);
}

static struct tensor *view(struct lower *l, const char *name, struct tensor *base, int ndim,
			   const int64_t *dim)
{
	struct tensor *t;

	if (base->ndim == ndim && !memcmp(base->dim, dim, ndim * sizeof(*dim)))
		return base;
	while (base->view_of)
		base = base->view_of;
	t = tensor_of(l, name, TENSOR_TEMP, base->dtype, ndim, dim);
	t->view_of = base;
	return t;
}

struct tensor *lower_view(struct lower *l, struct value *v, int ndim, const int64_t *dim)
{
	char name[300];

	snprintf(name, sizeof(name), "%.250s.view%d", v->name, l->module->num_tensors);
	return view(l, name, lower_value(l, v), ndim, dim);
}

struct tensor *lower_view_of(struct lower *l, struct tensor *t, int ndim, const int64_t *dim)
{
	char name[300];

	snprintf(name, sizeof(name), "%.63s.view%d", t->name, l->module->num_tensors);
	return view(l, name, t, ndim, dim);
}

struct nest *lower_nest(struct lower *l, struct node *n, const char *what)
{
	char name[300], type[64];
	struct nest *nest;

	snprintf(name, sizeof(name), "%.250s%s%s", n->name, what ? "." : "", what ? what : "");
	if (n->of)
		snprintf(type, sizeof(type), "grad of %s", n->of->name);
	else
		snprintf(type, sizeof(type), "%s", n->op->name);
	nest = module_nest(l->module, l->entry, name, type);
	nest->loop = l->loop;
	nest->backward = l->backward;
	return nest;
}

static void remove_dim(struct nest *n, int d)
{
	for (int k = 0; k < n->num_in + n->num_out; k++) {
		struct access *a = k < n->num_in ? &n->in[k] : &n->out[k - n->num_in].access;

		for (int t = 0; t < RDU_MAX_DIMS; t++) {
			memmove(&a->coef[t][d], &a->coef[t][d + 1],
				(NEST_MAX_DIMS - 1 - d) * sizeof(a->coef[t][0]));
			a->coef[t][NEST_MAX_DIMS - 1] = 0;
		}
	}
	for (int i = 0; i < n->num_expr; i++)
		if (n->expr[i].kind == EXPR_INDEX && n->expr[i].arg[0] > d)
			n->expr[i].arg[0]--;
		else if (n->expr[i].kind == EXPR_INDEX && n->expr[i].arg[0] == d)
			n->expr[i] = (struct expr){ .kind = EXPR_IMM, .arg = { -1, -1, -1 } };
		else if (n->expr[i].kind == EXPR_CARRY && n->expr[i].arg[2] > d)
			n->expr[i].arg[2]--;
	memmove(&n->dim[d], &n->dim[d + 1], (NEST_MAX_DIMS - 1 - d) * sizeof(n->dim[0]));
	n->ndim--;
}

/* A guard that never bites is none. */
static void settle_guard(struct nest *n, struct access *a)
{
	for (int t = 0; t < a->tensor->ndim && a->guarded; t++) {
		int64_t lo = a->offset[t], hi = lo;

		for (int d = 0; d < n->ndim; d++) {
			int64_t far = (int64_t)a->coef[t][d] * (n->dim[d].extent - 1);

			*(far < 0 ? &lo : &hi) += far;
		}
		if (lo < 0 || hi >= a->tensor->dim[t] || a->gather_in >= 0)
			return;
	}
	a->guarded = false;
}

static bool is_empty(const struct tensor *t)
{
	for (int i = 0; i < t->ndim; i++)
		if (!t->dim[i])
			return true;
	return false;
}

static bool has_extent_zero(const struct nest *n, bool reduce)
{
	for (int d = 0; d < n->ndim; d++)
		if (n->dim[d].reduce == reduce && !n->dim[d].extent)
			return true;
	return false;
}

static void make_imm(struct expr *e, uint32_t word)
{
	*e = (struct expr){ .kind = EXPR_IMM, .arg = { -1, -1, -1 }, .imm = word };
}

/* What the outputs' expressions need. */
static void mark_expr(const struct nest *n, int e, bool *seen)
{
	if (e < 0 || seen[e])
		return;
	seen[e] = true;
	for (int i = 0; n->expr[e].kind == EXPR_OP && i < 3; i++)
		mark_expr(n, n->expr[e].arg[i], seen);
}

/* Inputs that no output needs go, and what was computed of them. */
static void drop_unused_inputs(struct nest *n)
{
	bool seen[NEST_MAX_EXPR] = { 0 }, used[NEST_MAX_IN] = { 0 };
	int at[NEST_MAX_IN], num = 0;

	for (int k = 0; k < n->num_out; k++) {
		mark_expr(n, n->out[k].expr, seen);
		if (n->out[k].access.gather_in >= 0)
			used[n->out[k].access.gather_in] = true;
	}
	for (int i = 0; i < n->num_expr; i++)
		if (!seen[i])
			make_imm(&n->expr[i], 0);
		else if (n->expr[i].kind == EXPR_IN)
			used[n->expr[i].arg[0]] = true;
	for (int k = n->num_in - 1; k >= 0; k--) /* an index may have an index */
		for (int j = 0; j < n->num_in; j++)
			if (used[j] && n->in[j].gather_in >= 0)
				used[n->in[j].gather_in] = true;
	for (int k = 0; k < n->num_in; k++) {
		at[k] = num;
		if (used[k])
			n->in[num++] = n->in[k];
	}
	n->num_in = num;
	for (int i = 0; i < n->num_expr; i++)
		if (n->expr[i].kind == EXPR_IN)
			n->expr[i].arg[0] = at[n->expr[i].arg[0]];
	for (int k = 0; k < n->num_in; k++)
		if (n->in[k].gather_in >= 0)
			n->in[k].gather_in = at[n->in[k].gather_in];
	for (int k = 0; k < n->num_out; k++)
		if (n->out[k].access.gather_in >= 0)
			n->out[k].access.gather_in = at[n->out[k].access.gather_in];
}

/* A sum of nothing is 0, its maximum -infinity; what lies beside nothing is padding. */
static void settle_empty(struct nest *n)
{
	static const uint32_t nothing[] = {
		[REDUCE_ADD] = 0,
		[REDUCE_MAX] = 0xff800000,
		[REDUCE_MIN] = 0x7f800000,
		[REDUCE_IADD] = 0,
	};
	bool empty = has_extent_zero(n, true), changed = empty;

	for (int i = 0; i < n->num_expr; i++) {
		struct expr *e = &n->expr[i];
		struct access *a = e->kind == EXPR_IN ? &n->in[e->arg[0]] : NULL;

		if (a && a->guarded && is_empty(a->tensor)) {
			make_imm(e, a->pad);
			changed = true;
		} else if (e->kind == EXPR_RED && empty) {
			make_imm(e, nothing[n->reduce]);
		}
	}
	for (int d = n->ndim - 1; d >= 0 && empty; d--)
		if (n->dim[d].reduce)
			remove_dim(n, d);
	if (empty) {
		n->reduce = REDUCE_NONE;
		n->body = -1;
	}
	if (changed && n->body < 0)
		drop_unused_inputs(n);
}

int lower_done(struct lower *l, struct node *n, struct nest *nest)
{
	int parallel = 0, reduce = 0;
	char error[400];

	if (has_extent_zero(nest, false)) { /* there is nothing to do */
		module_drop(l->entry, nest);
		return 0;
	}
	settle_empty(nest);
	for (int d = 0; d < nest->ndim; d++)
		if (nest->dim[d].reduce)
			reduce++;
		else
			parallel++;
	/* Keep one dimension of each kind: a contraction stays one. */
	for (int d = nest->ndim - 1; d >= 0; d--) {
		int *left = nest->dim[d].reduce ? &reduce : &parallel;

		if (nest->dim[d].extent != 1 || *left == 1)
			continue;
		--*left;
		remove_dim(nest, d);
	}
	for (int k = 0; k < nest->num_in; k++)
		settle_guard(nest, &nest->in[k]);
	if (nest_check(nest, error, sizeof(error)))
		return node_error(l->graph, n, "%s", error);
	return 0;
}

void access_broadcast(struct access *a, int ndim, const int *d)
{
	int nt = a->tensor->ndim;

	for (int t = 0; t < nt; t++) {
		int i = t + ndim - nt;

		if (i >= 0 && a->tensor->dim[t] != 1)
			a->coef[t][d[i]] = 1;
	}
}

void access_identity(struct access *a)
{
	for (int t = 0; t < a->tensor->ndim; t++)
		a->coef[t][t] = 1;
}

const char *axis_name(int ndim, int i)
{
	static const char *const image[] = { "n", "c", "y", "x" };
	static const char *const any[] = { "i0", "i1", "i2", "i3", "i4", "i5", "i6", "i7" };
	static const char *const matrix[] = { "i", "j" };

	if (ndim == 4)
		return image[i];
	if (ndim <= 2)
		return matrix[i];
	return any[i & 7];
}

/* Fill t with a word where from <= index < to along an axis. */
int lower_fill(struct lower *l, struct node *n, struct tensor *t, int axis, int64_t from,
	       int64_t to, uint32_t word)
{
	struct nest *nest;

	if (from >= to)
		return 0;
	nest = lower_nest(l, n, "fill");
	for (int i = 0; i < t->ndim; i++)
		nest_dim(nest, axis_name(t->ndim, i), i == axis ? to - from : t->dim[i], false);
	if (!t->ndim)
		nest_dim(nest, "i", 1, false);
	nest_output(nest, t, nest_imm_i(nest, (int32_t)word));
	access_identity(&nest->out[0].access);
	if (t->ndim)
		nest->out[0].access.offset[axis] = (int32_t)from;
	return lower_done(l, n, nest);
}

/* A nest over out's elements that copies from in; the caller sets in's access. */
struct nest *lower_copy(struct lower *l, struct node *n, struct value *in, struct tensor *out)
{
	struct nest *nest = lower_nest(l, n, NULL);

	for (int i = 0; i < out->ndim; i++)
		nest_dim(nest, axis_name(out->ndim, i), out->dim[i], false);
	if (!out->ndim)
		nest_dim(nest, "i", 1, false);
	nest_input(nest, lower_value(l, in));
	nest_output(nest, out, nest_in(nest, 0));
	access_identity(&nest->out[0].access);
	return nest;
}

int graph_lower_node(struct lower *l, struct node *n)
{
	if (n->op->view) {
		struct value *v = n->out[0];

		v->tensor = view(l, v->name, lower_value(l, n->in[0]), v->ndim, v->dim);
		return 0;
	}
	if (!n->op->pattern)
		return node_error(l->graph, n, "no pattern");
	return n->op->pattern(l, n);
}

static int copy_output(struct lower *l, struct graph_output *o)
{
	struct value *v = value_resolve(o->value);
	struct node fake = { .name = o->name, .op = op_find("Identity"), .out = &v, .num_out = 1 };
	struct tensor *out = tensor_of(l, o->name, TENSOR_OUTPUT, v->dtype, v->ndim, v->dim);
	struct nest *n;
	int in;

	if (!value_count(v))
		return 0;
	n = lower_nest(l, &fake, "copy");
	in = nest_input(n, lower_value(l, v));
	for (int i = 0; i < v->ndim; i++)
		nest_dim(n, axis_name(v->ndim, i), v->dim[i], false);
	if (!v->ndim)
		nest_dim(n, "i", 1, false);
	access_identity(&n->in[in]);
	nest_output(n, out, nest_in(n, in));
	access_identity(&n->out[0].access);
	return lower_done(l, &fake, n);
}

/* Where all results are empty: a program does something, and be it to store a zero. */
static int idle_nest(struct lower *l)
{
	struct node fake = { .name = "nothing", .op = op_find("Identity") };
	int64_t one = 1;
	struct tensor *t = tensor_of(l, "nothing", TENSOR_TEMP, RDU_DT_F32, 1, &one);

	return lower_fill(l, &fake, t, 0, 0, 1, 0);
}

struct tensor *module_output(const struct module *m, const char *scope, const char *name)
{
	char symbol[64];

	symbol_of(symbol, scope, name);
	for (int i = 0; i < m->num_tensors; i++)
		if (m->tensors[i]->kind == TENSOR_OUTPUT && !strcmp(m->tensors[i]->name, symbol))
			return m->tensors[i];
	return NULL;
}

/* A result of an entry point; of several entry points that have it, one and the same. */
static struct tensor *output_of(struct lower *l, const char *name, const struct value *v)
{
	struct tensor *t = module_output(l->module, l->scope, name);

	return t ? t : tensor_of(l, name, TENSOR_OUTPUT, v->dtype, v->ndim, v->dim);
}

/* An input or a result of a run of several steps, NAME: a row for each step. What has the value's
 * own name is the first row, for all other entry points. */
static int rows_of_steps(struct graph *g, struct lower *l, struct value *v, const char *name,
			 int64_t steps)
{
	int64_t dim[RDU_MAX_DIMS];
	struct tensor *t;

	if (v->ndim == RDU_MAX_DIMS)
		return graph_error(g, "%s: has %d dimensions, which leaves none for steps", v->name,
				   v->ndim);
	dim[0] = steps;
	memcpy(dim + 1, v->dim, (size_t)v->ndim * sizeof(*dim));
	t = tensor_of(l, name, v->kind == TENSOR_INPUT ? TENSOR_INPUT : TENSOR_OUTPUT, v->dtype,
		      v->ndim + 1, dim);
	v->tensor = tensor_of(l, v->name, t->kind, v->dtype, v->ndim, v->dim);
	v->tensor->row_of = t;
	return 0;
}

static int rows_of_training(struct graph *g, struct lower *l, struct value *v)
{
	return rows_of_steps(g, l, v, graph_format(g, "steps/%.250s", v->name), g->steps);
}

/* Before all entry points: what a run of several steps needs. */
static int prepare_steps(struct graph *g, struct module *m, struct value *const *roots, int num)
{
	struct lower l = { .graph = g, .module = m, .prefix = "", .scope = "" };

	graph_choose_mode(g, true);
	graph_mark(g, roots, num);
	for (int i = 0; i < g->num_nodes; i++) {
		struct node *n = g->nodes[i];

		for (int k = 0; n->live && k < n->num_in; k++) {
			struct value *v = n->in[k] ? value_resolve(n->in[k]) : NULL;

			if (v && v->kind == TENSOR_INPUT && !v->tensor &&
			    rows_of_training(g, &l, v))
				return -1;
		}
	}
	return rows_of_training(g, &l, g->loss);
}

/* scope: of the names of inputs, outputs and constants. steps: of a run, in a loop; 0: no loop. */
static int lower_entry(struct graph *g, struct module *m, const char *name, const char *prefix,
		       const char *scope, struct value *const *roots, int num_roots, bool forward,
		       int64_t steps)
{
	struct lower l = { m, module_entry(m, name), g, prefix, scope, 0, false };
	struct graph_output **copies = graph_alloc(g, (g->num_outputs + 1) * sizeof(*copies));
	int num_copies = 0;

	for (int i = 0; i < g->num_values; i++)
		if (g->values[i]->kind == TENSOR_TEMP || g->values[i]->kind == TENSOR_OUTPUT)
			g->values[i]->tensor = NULL;
	graph_mark(g, roots, num_roots);
	if (steps)
		l.loop = module_loop(l.entry, "steps", 0, steps);
	if (forward)
		lower_states_in_place(&l);
	for (int i = 0; forward && i < g->num_outputs; i++) {
		struct graph_output *o = &g->outputs[i];
		struct value *v = value_resolve(o->value);
		bool taken = !v->producer || v->producer->op->view || v->tensor;

		if (o->state)
			continue;
		if (taken)
			copies[num_copies++] = o;
		/* A folded constant gives its name to the output it is copied to. */
		if (taken && !v->producer && v->constant && !v->tensor && !strcmp(v->name, o->name))
			v->name = graph_format(g, "%s.value", o->name);
		else if (taken && !v->producer && !strcmp(v->name, o->name))
			o->name = graph_format(g, "%s.out", o->name); /* an input or a weight */
		if (taken)
			continue;
		v->tensor = output_of(&l, o->name, v);
	}
	if (!forward)
		g->loss->tensor = output_of(&l, g->loss->name, g->loss);
	for (int i = 0; i < g->num_nodes; i++) {
		l.backward = g->loss && i >= g->num_forward;
		if (g->nodes[i]->live && graph_lower_node(&l, g->nodes[i]))
			return -1;
	}
	for (int i = 0; i < num_copies; i++)
		if (copy_output(&l, copies[i]))
			return -1;
	for (int i = 0; forward && i < g->num_outputs; i++) {
		const struct graph_output *o = &g->outputs[i];
		struct tensor *t = o->sizes ? module_output(m, scope, o->name) : NULL;

		if (!t)
			continue;
		t->sizes = module_output(m, scope, o->sizes);
		t->sized = o->sized;
	}
	if (forward && lower_next_states(&l))
		return -1;
	if (!l.entry->num_nests && idle_nest(&l))
		return -1;
	/* Inputs nothing reads keep their place in the interface. */
	for (int i = 0; i < g->num_values; i++)
		if (forward && g->values[i]->kind == TENSOR_INPUT)
			lower_value(&l, g->values[i])->place = ++m->num_places;
	for (int i = 0; forward && i < g->num_outputs; i++) {
		struct tensor *t = module_output(m, scope, g->outputs[i].name);

		if (t)
			t->place = ++m->num_places;
	}
	return 0;
}

/* What a training step is to make: the loss, and new weights and states. How many that are. */
static int train_roots(const struct graph *g, struct value **roots)
{
	roots[0] = g->loss;
	memcpy(roots + 1, g->updates, (size_t)g->num_updates * sizeof(*roots));
	return 1 + g->num_updates;
}

/* A step, or a run of several, of which the first is what a run of one is. */
static int lower_steps(struct graph *g, struct module *m, struct value **roots)
{
	int num = train_roots(g, roots);
	struct module_entry *e;

	if (!g->steps)
		return lower_entry(g, m, "train_step", "train/", "", roots, num, false, 0);
	if (lower_entry(g, m, "train_steps", "train/", "", roots, num, false, g->steps))
		return -1;
	e = module_entry(m, "train_step");
	e->once_of = m->num_entries - 1;
	return 0;
}

static int lower_training(struct graph *g, struct module *m, struct value **roots)
{
	if (!g->loss)
		return 0;
	graph_choose_mode(g, true);
	if (lower_steps(g, m, roots))
		return -1;
	graph_choose_mode(g, false);
	if (lower_entry(g, m, "evaluate", "evaluate/", "", roots, 1, false, 0))
		return -1;
	if (!g->num_accumulations)
		return 0;
	graph_choose_mode(g, true);
	for (int i = 0; i < g->num_accumulations; i++)
		roots[i + 1] = g->accumulations[i];
	return lower_entry(g, m, "accumulate_step", "accumulate/", "", roots,
			   g->num_accumulations + 1, false, 0);
}

static int misfit(struct graph *g, const struct tensor *t, const struct value *v, int64_t at,
		  const struct nest *n)
{
	const char *text =
		graph_format(g, "%" PRId64, dtype_is_int(v->dtype) ? value_int(v, at) : 0);

	if (!dtype_is_int(v->dtype))
		text = graph_format(g, "%g", value_real(v, at));
	return graph_error(g,
			   "'%s' has %s at element %" PRId64 ": it does not fit 32 bits, which the "
			   "card's numbers have (used by '%s')",
			   t->name, text, at, n->name);
}

/* Constants of 64 bits that the card would read. */
static int check_constants(struct graph *g, const struct module_entry *e)
{
	for (int i = 0; i < e->num_nests; i++)
		for (int k = 0; k < e->nests[i]->num_in; k++) {
			const struct tensor *t = e->nests[i]->in[k].tensor;
			struct value v;

			while (t->view_of)
				t = t->view_of;
			if (dtype_bytes(t->dtype) != 8 || !t->data)
				continue;
			v = (struct value){ .dtype = t->dtype, .data = t->data };
			for (int64_t at = 0; at < dims_count(t->ndim, t->dim); at++)
				if (!value_fits_word(&v, at))
					return misfit(g, t, &v, at, e->nests[i]);
		}
	return 0;
}

struct module *graph_patterns(struct graph *g)
{
	struct module *m = module_new(g->name);
	struct value **roots =
		graph_alloc(g, (g->num_outputs + g->num_updates + 1) * sizeof(*roots));
	char error[400];
	int num = 0;

	graph_forget_estimated(g);
	for (int i = 0; i < g->num_values; i++)
		g->values[i]->tensor = NULL;
	if (g->steps) {
		num = train_roots(g, roots);
		if (prepare_steps(g, m, roots, num))
			goto fail;
	}
	for (num = 0; num < g->num_outputs; num++)
		roots[num] = g->outputs[num].value;
	graph_choose_mode(g, false);
	if (lower_entry(g, m, "forward", "", "", roots, num, true, 0) ||
	    lower_training(g, m, roots))
		goto fail;
	/* Inputs nothing reads keep their place in the interface. */
	for (int i = 0; i < g->num_values; i++)
		if (g->values[i]->kind == TENSOR_INPUT)
			lower_value(
				&(struct lower){
					.graph = g, .module = m, .prefix = "", .scope = "" },
				g->values[i]);
	if (module_split_sums(m, error, sizeof(error))) {
		graph_error(g, "%s", error);
		goto fail;
	}
	for (int i = 0; i < m->num_entries; i++)
		if (check_constants(g, &m->entries[i]))
			goto fail;
	return m;
fail:
	module_free(m);
	return NULL;
}

/* ---- one more entry point ------------------------------------------------------------- */

static struct tensor *find_shared(const struct module *m, const struct value *v)
{
	char symbol[64];

	symbol_of(symbol, "", v->name);
	for (int i = 0; i < m->num_tensors; i++)
		if (m->tensors[i]->kind == v->kind && !m->tensors[i]->constant &&
		    !strcmp(m->tensors[i]->name, symbol))
			return m->tensors[i];
	return NULL;
}

/* Do both keep the same blocks, or all? */
static bool same_packing(const struct tensor *t, const struct value *v)
{
	const struct value *table = v->packing ? v->packing->table : NULL;
	const struct tensor *other = t->packed.table;

	if (!table || !other)
		return !table && !other;
	return table->ndim == other->ndim && table->dtype == other->dtype &&
	       !memcmp(table->dim, other->dim, (size_t)table->ndim * sizeof(*table->dim)) &&
	       !memcmp(table->data, other->data,
		       (size_t)value_count(table) * dtype_bytes(table->dtype)) &&
	       !memcmp(t->packed.dim, v->packing->dim, sizeof(t->packed.dim)) &&
	       t->packed.transposed == v->packing->transposed;
}

/* A weight or state of the graph is one of the module's. */
static int share(struct graph *g, const struct module *m, struct value *v)
{
	const char *kind = v->kind == TENSOR_WEIGHT ? "weight" : "state";
	struct tensor *t = find_shared(m, v);
	size_t bytes = (size_t)value_count(v) * dtype_bytes(v->dtype);
	struct value other;

	if (!t && v->kind == TENSOR_STATE)
		return 0; /* this entry point is the first that has it */
	if (!t)
		return graph_error(g, "weight '%s' is not in the first model", v->name);
	if (!same_packing(t, v))
		return graph_error(g,
				   "%s '%s' is kept in other blocks in an entry point before: "
				   "--sparse-weights never keeps all of it",
				   kind, v->name);
	other = (struct value){ .dtype = t->dtype, .ndim = t->ndim };
	memcpy(other.dim, t->dim, sizeof(other.dim));
	if (t->dtype != v->dtype || !value_same_shape(&other, v))
		return graph_error(g, "%s '%s' is %s%s, but %s%s in an entry point before", kind,
				   v->name, dtype_name(v->dtype), value_shape_text(g, v),
				   dtype_name(t->dtype), value_shape_text(g, &other));
	if (!t->data != !v->data || (v->data && memcmp(t->data, v->data, bytes)))
		return graph_error(g, "%s '%s' has other values in an entry point before", kind,
				   v->name);
	v->tensor = t;
	return 0;
}

static int share_all(struct graph *g, const struct module *m)
{
	for (int i = 0; i < g->num_values; i++) {
		struct value *v = g->values[i];

		v->tensor = NULL;
		if (v->wanted && is_shared(v) && share(g, m, v))
			graph_collect(g, v->kind == TENSOR_WEIGHT ? "weight" : "state", v->name,
				      NULL);
	}
	return graph_report(g);
}

/* Beside training, statistics are kept by its steps alone, and runs are counted if numbers are drawn. */
static void leave_kept(struct graph *g, struct value **roots)
{
	int num = 0, left = 0;

	for (int i = 0; i < g->num_outputs; i++)
		if (!g->outputs[i].state || g->outputs[i].state->model_state)
			roots[num++] = g->outputs[i].value;
	graph_mark(g, roots, num);
	for (int i = 0; i < g->num_outputs; i++) {
		const struct value *state = g->outputs[i].state;

		if (!state || state->model_state || (state->kind == TENSOR_STATE && state->wanted))
			g->outputs[left++] = g->outputs[i];
	}
	g->num_outputs = left;
}

int graph_patterns_entry(struct graph *g, struct module *m, const char *name)
{
	struct value **roots = graph_alloc(g, (g->num_outputs + 1) * sizeof(*roots));
	const char *scope = graph_format(g, "%s/", name);
	char error[400];

	graph_forget_estimated(g);
	graph_choose_mode(g, false);
	leave_kept(g, roots);
	for (int i = 0; i < g->num_outputs; i++)
		roots[i] = g->outputs[i].value;
	graph_mark(g, roots, g->num_outputs);
	if (share_all(g, m) ||
	    lower_entry(g, m, name, scope, scope, roots, g->num_outputs, true, 0))
		return -1;
	if (module_split_sums(m, error, sizeof(error)))
		return graph_error(g, "%s", error);
	return check_constants(g, &m->entries[m->num_entries - 1]);
}

int graph_patterns_tokens(struct graph *g, struct module *m, struct value *token, int64_t n)
{
	struct value **roots = graph_alloc(g, (g->num_outputs + 1) * sizeof(*roots));
	struct lower l = { .graph = g, .module = m, .prefix = "", .scope = "generate/" };
	struct module_entry *e;
	char error[400];

	for (int i = 0; i < g->num_outputs; i++)
		roots[i] = g->outputs[i].value;
	graph_mark(g, roots, g->num_outputs);
	if (rows_of_steps(g, &l, token, "tokens", n) ||
	    lower_entry(g, m, "generate", "generate/", "generate/", roots, g->num_outputs, true, n))
		return -1;
	e = module_entry(m, "generate_step");
	e->once_of = m->num_entries - 1;
	if (module_split_sums(m, error, sizeof(error)))
		return graph_error(g, "%s", error);
	return check_constants(g, &m->entries[m->num_entries - 2]);
}
