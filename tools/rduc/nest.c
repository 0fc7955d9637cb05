// SPDX-License-Identifier: MIT
/* Nests: building, checking, printing. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "nest.h"
#include "mem.h"

struct module *module_new(const char *name)
{
	struct module *m = xcalloc(1, sizeof(*m));

	m->name = xstrdup(name ? name : "");
	return m;
}

static void nest_free(struct nest *n)
{
	free(n->name);
	free(n->op_type);
	free(n->remark);
	free(n);
}

void tensor_free(struct tensor *t)
{
	free(t->name);
	shared_drop(t->data);
	free(t);
}

void module_free(struct module *m)
{
	if (!m)
		return;
	for (int i = 0; i < m->num_tensors; i++)
		tensor_free(m->tensors[i]);
	for (int e = 0; e < m->num_entries; e++) {
		for (int i = 0; i < m->entries[e].num_nests; i++)
			nest_free(m->entries[e].nests[i]);
		free(m->entries[e].nests);
		for (int i = 0; i < m->entries[e].num_loops; i++)
			free(m->entries[e].loop[i].name);
		free(m->entries[e].loop);
	}
	free(m->tensors);
	free(m->entries);
	free(m->name);
	free(m);
}

struct tensor *module_tensor(struct module *m, const char *name, enum tensor_kind kind,
			     enum rdu_dtype dtype, int ndim, const int64_t *dim)
{
	struct tensor *t = xcalloc(1, sizeof(*t));
	int64_t stride = 1;

	t->name = xstrdup(name ? name : "");
	t->kind = kind;
	t->dtype = dtype;
	t->ndim = ndim;
	for (int i = ndim - 1; i >= 0; i--) {
		t->dim[i] = dim[i];
		t->stride[i] = stride;
		stride *= dim[i];
	}
	t->id = m->num_tensors;
	m->tensors = xgrow(m->tensors, m->num_tensors, sizeof(*m->tensors));
	m->tensors[m->num_tensors++] = t;
	return t;
}

/* The pointer is good until the next module_entry(). */
struct module_entry *module_entry(struct module *m, const char *name)
{
	struct module_entry *e;

	m->entries = xgrow(m->entries, m->num_entries, sizeof(*m->entries));
	e = &m->entries[m->num_entries++];
	memset(e, 0, sizeof(*e));
	snprintf(e->name, sizeof(e->name), "%s", name);
	return e;
}

struct nest *module_nest(struct module *m, struct module_entry *e, const char *name,
			 const char *op_type)
{
	struct nest *n = xcalloc(1, sizeof(*n));

	(void)m;
	n->name = xstrdup(name ? name : "");
	n->op_type = xstrdup(op_type ? op_type : "");
	n->body = -1;
	e->nests = xgrow(e->nests, e->num_nests, sizeof(*e->nests));
	e->nests[e->num_nests++] = n;
	return n;
}

int module_loop(struct module_entry *e, const char *name, int parent, int64_t trip)
{
	e->loop = xgrow(e->loop, e->num_loops, sizeof(*e->loop));
	e->loop[e->num_loops++] = (struct nest_loop){ xstrdup(name), parent, trip };
	return e->num_loops;
}

static int parent_of(const struct module_entry *e, int loop)
{
	return e->loop[loop - 1].parent;
}

bool loop_within(const struct module_entry *e, int loop, int outer)
{
	while (loop > outer) /* those around it have lower numbers */
		loop = parent_of(e, loop);
	return loop == outer;
}

int loop_around(const struct module_entry *e, int a, int b)
{
	while (!loop_within(e, b, a))
		a = parent_of(e, a);
	return a;
}

int loop_below(const struct module_entry *e, int loop, int outer)
{
	while (parent_of(e, loop) != outer)
		loop = parent_of(e, loop);
	return loop;
}

int loop_depth(const struct module_entry *e, int loop)
{
	int depth = 0;

	for (; loop; loop = parent_of(e, loop))
		depth++;
	return depth;
}

void loop_nests(const struct module_entry *e, int loop, int k, int *first, int *last)
{
	*first = *last = k;
	while (*first && loop_within(e, e->nests[*first - 1]->loop, loop))
		--*first;
	while (*last + 1 < e->num_nests && loop_within(e, e->nests[*last + 1]->loop, loop))
		++*last;
}

struct tensor *module_row(struct module *m, struct tensor *t, int64_t row)
{
	char name[64];
	struct tensor *r;

	snprintf(name, sizeof(name), "%.40s.row%d", t->name, m->num_tensors);
	r = module_tensor(m, name, TENSOR_TEMP, t->dtype, t->ndim - 1, t->dim + 1);
	r->row_of = t;
	r->row = row;
	return r;
}

const struct module_entry *module_entry_nests(const struct module *m, int entry)
{
	const struct module_entry *e = &m->entries[entry];

	return e->once_of ? &m->entries[e->once_of - 1] : e;
}

int64_t module_trip(const struct module *m, int entry, const struct nest *n)
{
	const struct module_entry *e = module_entry_nests(m, entry);
	int64_t times = 1;

	for (int loop = n->loop; loop; loop = parent_of(e, loop))
		if (parent_of(e, loop) || !m->entries[entry].once_of)
			times *= e->loop[loop - 1].trip;
	return times;
}

struct tensor *tensor_storage(struct tensor *t)
{
	while (t->view_of || t->update_of)
		t = t->view_of ? t->view_of : t->update_of;
	return t;
}

struct tensor *tensor_whole(struct tensor *t)
{
	while (t->view_of || t->update_of || t->row_of)
		t = t->view_of ? t->view_of : t->update_of ? t->update_of : t->row_of;
	return t;
}

bool nests_apart(const struct module_entry *e, int first, int last)
{
	for (int k = first; e->num_loops && k <= last; k++)
		if (e->nests[k] && e->nests[k]->loop != e->nests[first]->loop)
			return true;
	return false;
}

void module_drop(struct module_entry *e, struct nest *n)
{
	int at = 0;

	while (e->nests[at] != n)
		at++;
	memmove(&e->nests[at], &e->nests[at + 1],
		(size_t)(e->num_nests - at - 1) * sizeof(*e->nests));
	e->num_nests--;
	nest_free(n);
}

bool nest_sums_products(const struct nest *n)
{
	const struct expr *e = n->body < 0 ? NULL : &n->expr[n->body];

	if (!e || e->kind != EXPR_OP)
		return false;
	return (n->reduce == REDUCE_ADD && e->op == RDU_SIMD_FMUL) ||
	       (n->reduce == REDUCE_IADD && e->op == RDU_SIMD_IMUL);
}

int nest_factor(const struct nest *n, int k)
{
	int e = n->expr[n->body].arg[k], input, d;

	if (nest_is_ternary(n, e, &input, &d))
		return input;
	return n->expr[e].kind == EXPR_IN ? n->expr[e].arg[0] : -1;
}

bool nest_sums_along(const struct nest *n, const struct access *a, int axis)
{
	int in[2];

	for (int k = 0; k < 2; k++) {
		in[k] = nest_sums_products(n) ? nest_factor(n, k) : -1;
		if (in[k] < 0)
			return false;
	}
	for (int d = 0; d < n->ndim && (a == &n->in[in[0]] || a == &n->in[in[1]]); d++)
		if (n->dim[d].reduce && a->coef[axis][d])
			return true;
	return false;
}

/* Both bits are shifted to the word's upper end, and down again with their sign. */
int nest_ternary(struct nest *n, int input, int d)
{
	int twice = nest_op(n, RDU_SIMD_SHL, nest_index(n, d), nest_imm_i(n, 1), -1);
	int up = nest_op(n, RDU_SIMD_ISUB, nest_imm_i(n, 30), twice, -1);

	up = nest_op(n, RDU_SIMD_SHL, nest_in(n, input), up, -1);
	return nest_op(n, RDU_SIMD_SAR, up, nest_imm_i(n, 30), -1);
}

/* An operation, and its second operand that number; NULL: it is not. */
static const struct expr *op_of_imm(const struct nest *n, int e, enum rdu_simd_op op, uint32_t imm)
{
	const struct expr *x = &n->expr[e];

	if (x->kind != EXPR_OP || x->op != op || n->expr[x->arg[1]].kind != EXPR_IMM ||
	    n->expr[x->arg[1]].imm != imm)
		return NULL;
	return x;
}

bool nest_is_ternary(const struct nest *n, int expr, int *input, int *d)
{
	const struct expr *down = op_of_imm(n, expr, RDU_SIMD_SAR, 30), *up, *by, *twice;

	if (!down)
		return false;
	up = &n->expr[down->arg[0]];
	if (up->kind != EXPR_OP || up->op != RDU_SIMD_SHL || n->expr[up->arg[0]].kind != EXPR_IN)
		return false;
	by = &n->expr[up->arg[1]];
	if (by->kind != EXPR_OP || by->op != RDU_SIMD_ISUB ||
	    n->expr[by->arg[0]].kind != EXPR_IMM || n->expr[by->arg[0]].imm != 30)
		return false;
	twice = op_of_imm(n, by->arg[1], RDU_SIMD_SHL, 1);
	if (!twice || n->expr[twice->arg[0]].kind != EXPR_INDEX)
		return false;
	*input = n->expr[up->arg[0]].arg[0];
	*d = n->expr[twice->arg[0]].arg[0];
	return n->dim[*d].extent == 16 && n->in[*input].tensor->dtype == RDU_DT_I32;
}

int nest_dim(struct nest *n, const char *name, int64_t extent, bool reduce)
{
	if (n->ndim == NEST_MAX_DIMS) {
		n->missing.dims++;
		return NEST_MAX_DIMS - 1;
	}
	n->dim[n->ndim].extent = extent;
	n->dim[n->ndim].reduce = reduce;
	snprintf(n->dim[n->ndim].name, sizeof(n->dim[0].name), "%s", name);
	return n->ndim++;
}

static void access_init(struct access *a, struct tensor *t)
{
	memset(a, 0, sizeof(*a));
	a->tensor = t;
	a->gather_in = -1;
}

bool nest_counts(const struct nest *n, int d)
{
	for (int i = 0; i < n->num_expr; i++)
		if (n->expr[i].kind == EXPR_INDEX && n->expr[i].arg[0] == d)
			return true;
	return d == nest_carried(n);
}

int nest_carried(const struct nest *n)
{
	for (int i = 0; i < n->num_expr; i++)
		if (n->expr[i].kind == EXPR_CARRY)
			return n->expr[i].arg[2];
	return -1;
}

void nest_cut_dim(struct nest *n, int d, int64_t inner)
{
	int at = n->ndim++;

	n->dim[at] = n->dim[d];
	n->dim[at].extent = inner;
	n->dim[d].extent /= inner;
	for (int i = 0; i < n->num_in + n->num_out; i++) {
		struct access *a = i < n->num_in ? &n->in[i] : &n->out[i - n->num_in].access;

		for (int k = 0; k < a->tensor->ndim; k++) {
			a->coef[k][at] = a->coef[k][d];
			a->coef[k][d] *= (int32_t)inner;
		}
	}
}

int nest_input(struct nest *n, struct tensor *t)
{
	if (n->num_in == NEST_MAX_IN) {
		n->missing.in++;
		return NEST_MAX_IN - 1;
	}
	access_init(&n->in[n->num_in], t);
	return n->num_in++;
}

int nest_output(struct nest *n, struct tensor *t, int expr)
{
	if (n->num_out == NEST_MAX_OUT) {
		n->missing.out++;
		return NEST_MAX_OUT - 1;
	}
	access_init(&n->out[n->num_out].access, t);
	n->out[n->num_out].expr = expr;
	n->out[n->num_out].add = false;
	return n->num_out++;
}

int nest_expr(struct nest *n, const struct expr *e)
{
	for (int i = 0; i < n->num_expr; i++)
		if (n->expr[i].kind == e->kind && n->expr[i].op == e->op &&
		    n->expr[i].imm == e->imm && !memcmp(n->expr[i].arg, e->arg, sizeof(e->arg)))
			return i;
	if (n->num_expr == NEST_MAX_EXPR) {
		n->missing.expr++;
		return NEST_MAX_EXPR - 1;
	}
	n->expr[n->num_expr] = *e;
	return n->num_expr++;
}

int nest_in(struct nest *n, int input)
{
	return nest_expr(n, &(struct expr){ .kind = EXPR_IN, .arg = { input, -1, -1 } });
}

int nest_imm_f(struct nest *n, float v)
{
	struct expr e = { .kind = EXPR_IMM, .arg = { -1, -1, -1 } };

	memcpy(&e.imm, &v, 4);
	return nest_expr(n, &e);
}

int nest_imm_i(struct nest *n, int32_t v)
{
	return nest_expr(
		n, &(struct expr){ .kind = EXPR_IMM, .arg = { -1, -1, -1 }, .imm = (uint32_t)v });
}

int nest_index(struct nest *n, int dim)
{
	return nest_expr(n, &(struct expr){ .kind = EXPR_INDEX, .arg = { dim, -1, -1 } });
}

int nest_red(struct nest *n)
{
	return nest_expr(n, &(struct expr){ .kind = EXPR_RED, .arg = { -1, -1, -1 } });
}

int nest_live(struct nest *n)
{
	return nest_expr(n, &(struct expr){ .kind = EXPR_LIVE, .arg = { -1, -1, -1 } });
}

int nest_trap(struct nest *n, int value, int bad, enum rdu_trap why)
{
	int live = nest_live(n), none = nest_imm_i(n, 0);

	bad = nest_op(n, RDU_SIMD_SELECT, bad, nest_imm_i(n, why), none);
	return nest_op(n, RDU_SIMD_TRAP, value, nest_op(n, RDU_SIMD_SELECT, live, bad, none), -1);
}

int nest_op(struct nest *n, enum rdu_simd_op op, int a, int b, int c)
{
	return nest_expr(n, &(struct expr){ .kind = EXPR_OP, .op = op, .arg = { a, b, c } });
}

int nest_carry(struct nest *n, int factor, int addend, int dim)
{
	return nest_expr(n, &(struct expr){ .kind = EXPR_CARRY, .arg = { factor, addend, dim } });
}

/* ---- checking -------------------------------------------------------------- */

static int op_operands(enum rdu_simd_op op)
{
	switch (op) {
#define CASE(name, value, operands, tail, text) \
	case value:                             \
		return operands;
		RDU_SIMD_OPS(CASE)
#undef CASE
	}
	return -1;
}

static const char *op_text(enum rdu_simd_op op)
{
	switch (op) {
#define CASE(name, value, operands, tail, text) \
	case value:                             \
		return #name;
		RDU_SIMD_OPS(CASE)
#undef CASE
	}
	return "?";
}

static int complain(const struct nest *n, char *error, int size, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static int complain(const struct nest *n, char *error, int size, const char *format, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	snprintf(error, size, "nest '%s' (%s): %s", n->name, n->op_type, text);
	return -1;
}

/* Were the builders asked for more than a nest holds? */
static int check_missing(const struct nest *n, char *error, int size)
{
	const struct {
		const char *what;
		int missing, most;
	} table[] = {
		{ "dimensions", n->missing.dims, NEST_MAX_DIMS },
		{ "inputs", n->missing.in, NEST_MAX_IN },
		{ "outputs", n->missing.out, NEST_MAX_OUT },
		{ "expressions", n->missing.expr, NEST_MAX_EXPR },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].missing)
			return complain(n, error, size, "needs %d %s, a nest has at most %d",
					table[i].most + table[i].missing, table[i].what,
					table[i].most);
	return 0;
}

static int check_access(const struct nest *n, const struct access *a, const char *what, int k,
			bool output, char *error, int size)
{
	if (!a->tensor)
		return complain(n, error, size, "%s %d has no tensor", what, k);
	if (a->gather_in >= n->num_in ||
	    (a->gather_in >= 0 && (a->gather_dim < 0 || a->gather_dim >= a->tensor->ndim)))
		return complain(n, error, size, "%s %d has a bad gather", what, k);
	if (a->gather_in == k && !output)
		return complain(n, error, size, "input %d gathers by itself", k);
	for (int t = 0; t < a->tensor->ndim; t++) {
		int64_t lo = a->offset[t], hi = a->offset[t];

		for (int d = 0; d < n->ndim; d++) {
			int64_t far = (int64_t)a->coef[t][d] * (n->dim[d].extent - 1);

			if (output && a->coef[t][d] && n->dim[d].reduce)
				return complain(n, error, size, "output %d follows reduction %s", k,
						n->dim[d].name);
			lo += far < 0 ? far : 0;
			hi += far > 0 ? far : 0;
		}
		if (!a->guarded && !(a->gather_in >= 0 && a->gather_dim == t) &&
		    (lo < 0 || hi >= a->tensor->dim[t]))
			return complain(n, error, size,
					"%s %d leaves dimension %d of '%s': %" PRId64 "..%" PRId64
					" of %" PRId64,
					what, k, t, a->tensor->name, lo, hi, a->tensor->dim[t]);
	}
	return 0;
}

static bool follows_reduction(const struct nest *n, const struct access *a)
{
	for (int t = 0; t < a->tensor->ndim; t++)
		for (int d = 0; d < n->ndim; d++)
			if (a->coef[t][d] && n->dim[d].reduce)
				return true;
	return a->gather_in >= 0 && follows_reduction(n, &n->in[a->gather_in]);
}

/* Mark what expression e needs. */
static void mark(const struct nest *n, int e, bool *seen)
{
	if (e < 0 || seen[e])
		return;
	seen[e] = true;
	for (int i = 0; i < 3 && n->expr[e].kind == EXPR_OP; i++)
		mark(n, n->expr[e].arg[i], seen);
	for (int i = 0; i < 2 && n->expr[e].kind == EXPR_CARRY; i++)
		mark(n, n->expr[e].arg[i], seen);
}

int nest_check(const struct nest *n, char *error, int size)
{
	bool in_body[NEST_MAX_EXPR] = { 0 }, in_epilogue[NEST_MAX_EXPR] = { 0 };
	bool reduces = false;
	int carries = 0;

	if (check_missing(n, error, size))
		return -1;
	if (n->ndim < 0 || n->ndim > NEST_MAX_DIMS || n->num_in < 0 || n->num_in > NEST_MAX_IN ||
	    n->num_out < 1 || n->num_out > NEST_MAX_OUT || n->num_expr < 0 ||
	    n->num_expr > NEST_MAX_EXPR)
		return complain(n, error, size, "a count is out of its limits");
	for (int d = 0; d < n->ndim; d++) {
		if (n->dim[d].extent < 1 || n->dim[d].extent > INT32_MAX)
			return complain(n, error, size, "dimension %s has extent %" PRId64,
					n->dim[d].name, n->dim[d].extent);
		reduces |= n->dim[d].reduce;
	}
	if (reduces != (n->reduce != REDUCE_NONE) || reduces != (n->body >= 0))
		return complain(n, error, size, "reduction, dimensions and body do not agree");
	for (int i = 0; i < n->num_expr; i++) {
		const struct expr *e = &n->expr[i];
		int operands;

		switch (e->kind) {
		case EXPR_IN:
			if (e->arg[0] < 0 || e->arg[0] >= n->num_in)
				return complain(n, error, size, "expression %d: no such input", i);
			break;
		case EXPR_INDEX:
			if (e->arg[0] < 0 || e->arg[0] >= n->ndim)
				return complain(n, error, size, "expression %d: no such dimension",
						i);
			break;
		case EXPR_OP:
			operands = op_operands(e->op);
			if (operands < 0 || e->op == RDU_SIMD_MOV ||
			    (e->op >= RDU_SIMD_RED_FADD && e->op <= RDU_SIMD_SHIFT))
				return complain(n, error, size, "expression %d: operation %d", i,
						e->op);
			for (int k = 0; k < operands; k++)
				if (e->arg[k] < 0 || e->arg[k] >= i)
					return complain(n, error, size, "expression %d: operand %d",
							i, k);
			break;
		case EXPR_RED:
			if (!reduces)
				return complain(n, error, size, "expression %d: nothing is reduced",
						i);
			break;
		case EXPR_CARRY:
			if (reduces || ++carries > 1 || e->arg[0] < 0 || e->arg[0] >= i ||
			    e->arg[1] < 0 || e->arg[1] >= i || e->arg[2] < 0 ||
			    e->arg[2] >= n->ndim)
				return complain(n, error, size,
						"expression %d: it can't be carried", i);
			break;
		case EXPR_IMM:
		case EXPR_LIVE:
			break;
		}
	}
	if (n->body >= n->num_expr)
		return complain(n, error, size, "no such body");
	for (int k = 0; k < n->num_in; k++)
		if (check_access(n, &n->in[k], "input", k, false, error, size))
			return -1;
	for (int k = 0; k < n->num_out; k++) {
		const struct tensor *t = n->out[k].access.tensor;

		if (t->update_of && t->update_of->dtype != t->dtype)
			return complain(n, error, size, "output %d is of another type than %s", k,
					t->update_of->name);
		if (n->out[k].expr < 0 || n->out[k].expr >= n->num_expr)
			return complain(n, error, size, "output %d: no such expression", k);
		if (check_access(n, &n->out[k].access, "output", k, true, error, size))
			return -1;
		if (n->out[k].access.guarded)
			return complain(n, error, size, "output %d is guarded", k);
		mark(n, n->out[k].expr, in_epilogue);
	}
	mark(n, n->body, in_body);
	for (int i = 0; i < n->num_expr; i++) {
		const struct expr *e = &n->expr[i];

		if (in_body[i] && e->kind == EXPR_RED)
			return complain(n, error, size, "the body uses its own result");
		if (!reduces || !in_epilogue[i])
			continue;
		if (e->kind == EXPR_INDEX && n->dim[e->arg[0]].reduce)
			return complain(n, error, size, "the epilogue uses a reduction index");
		if (e->kind == EXPR_IN && follows_reduction(n, &n->in[e->arg[0]]))
			return complain(n, error, size, "the epilogue uses input %d, reduced",
					e->arg[0]);
	}
	return 0;
}

/* ---- printing -------------------------------------------------------------- */

static void print_access(const struct nest *n, const struct access *a, FILE *f)
{
	fprintf(f, "%s[", a->tensor->name);
	for (int t = 0; t < a->tensor->ndim; t++) {
		bool any = false;

		fputs(t ? ", " : "", f);
		for (int d = 0; d < n->ndim; d++) {
			int c = a->coef[t][d];

			if (!c)
				continue;
			fputs(c < 0 ? "-" : any ? "+" : "", f);
			if (abs(c) != 1)
				fprintf(f, "%d*", abs(c));
			fputs(n->dim[d].name, f);
			any = true;
		}
		if (a->gather_in >= 0 && a->gather_dim == t) {
			fprintf(f, "%sin%d", any ? "+" : "", a->gather_in);
			any = true;
		}
		if (a->offset[t] || !any)
			fprintf(f, any ? "%+d" : "%d", a->offset[t]);
	}
	fputc(']', f);
}

static void print_expr(const struct nest *n, int i, FILE *f)
{
	const struct expr *e = &n->expr[i];
	float v;

	switch (e->kind) {
	case EXPR_IN:
		fprintf(f, "in%d", e->arg[0]);
		break;
	case EXPR_IMM:
		memcpy(&v, &e->imm, 4);
		if (e->imm && e->imm < 0x00800000)
			fprintf(f, "%" PRIu32, e->imm);
		else if (e->imm > 0xff800000)
			fprintf(f, "%" PRId32, (int32_t)e->imm);
		else
			fprintf(f, "%.9g", v);
		break;
	case EXPR_INDEX:
		fputs(n->dim[e->arg[0]].name, f);
		break;
	case EXPR_RED:
		fputc('r', f);
		break;
	case EXPR_LIVE:
		fputs("live", f);
		break;
	case EXPR_CARRY:
		fprintf(f, "carry %s(", n->dim[e->arg[2]].name);
		print_expr(n, e->arg[0], f);
		fputs(", ", f);
		print_expr(n, e->arg[1], f);
		fputc(')', f);
		break;
	case EXPR_OP:
		fprintf(f, "%s(", op_text(e->op));
		for (int k = 0; k < op_operands(e->op); k++) {
			fputs(k ? ", " : "", f);
			print_expr(n, e->arg[k], f);
		}
		fputc(')', f);
		break;
	}
}

void nest_print(const struct nest *n, void *file)
{
	static const char *const reduce[] = { "", "sum", "max", "min", "int32 sum" };
	FILE *f = file;

	fprintf(f, "nest %s (%s)", n->name, n->op_type);
	for (int pass = 0; pass < 2; pass++)
		for (int d = 0, first = 1; d < n->ndim; d++)
			if (n->dim[d].reduce == pass) {
				fprintf(f, "%s%s:%" PRId64,
					first ? (pass ? " reduce " : " for ") : " ", n->dim[d].name,
					n->dim[d].extent);
				first = 0;
			}
	fputc('\n', f);
	for (int k = 0; k < n->num_in; k++) {
		fprintf(f, "  in%d = ", k);
		print_access(n, &n->in[k], f);
		if (n->in[k].guarded) {
			float v;

			memcpy(&v, &n->in[k].pad, 4);
			fprintf(f, " else %g", v);
		}
		fputc('\n', f);
	}
	if (n->body >= 0) {
		fprintf(f, "  r = %s ", reduce[n->reduce]);
		print_expr(n, n->body, f);
		fputc('\n', f);
	}
	for (int k = 0; k < n->num_out; k++) {
		fputs("  ", f);
		print_access(n, &n->out[k].access, f);
		fputs(n->out[k].add ? " += " : " = ", f);
		print_expr(n, n->out[k].expr, f);
		if (n->out[k].access.tensor->update_of)
			fprintf(f, "  (over %s)", n->out[k].access.tensor->update_of->name);
		fputc('\n', f);
	}
}

/* Between nests in loops `from` and `to`. */
static void print_loops(const struct module_entry *e, int from, int to, FILE *f)
{
	int both = loop_around(e, from, to);

	for (; from != both; from = parent_of(e, from))
		fprintf(f, "end of loop %s\n", e->loop[from - 1].name);
	for (; to != both; both = loop_below(e, to, both))
		fprintf(f, "loop %s of %" PRId64 ":\n", e->loop[loop_below(e, to, both) - 1].name,
			e->loop[loop_below(e, to, both) - 1].trip);
}

void module_entry_print(const struct module_entry *e, void *file)
{
	FILE *f = file;
	int in = 0;

	fprintf(f, "entry %s\n", e->name);
	for (int k = 0; k < e->num_nests; k++) {
		print_loops(e, in, e->nests[k]->loop, f);
		in = e->nests[k]->loop;
		nest_print(e->nests[k], f);
	}
	print_loops(e, in, 0, f);
}

static struct tensor *tensor_at(const struct nest *n, int i)
{
	return i < n->num_in ? n->in[i].tensor : n->out[i - n->num_in].access.tensor;
}

int module_entry_ids(const struct module_entry *e)
{
	int num = 0;

	for (int k = 0; k < e->num_nests; k++)
		for (int i = 0; i < e->nests[k]->num_in + e->nests[k]->num_out; i++) {
			int id = tensor_storage(tensor_at(e->nests[k], i))->id;

			num = id >= num ? id + 1 : num;
		}
	return num;
}

/* What access i of a nest is a row of must have a row for every iteration, of one loop only. loop_of: by id,
 * of the rows seen so far, + 1. */
static const char *row_error(const struct module_entry *e, const struct nest *n, int i,
			     int *loop_of)
{
	const struct tensor *t = tensor_storage(tensor_at(n, i));

	if (!t->row_of)
		return NULL;
	if (loop_of[t->id] && loop_of[t->id] != n->loop + 1)
		return "is a row of another loop's";
	loop_of[t->id] = n->loop + 1;
	if (!n->loop && t->kind != TENSOR_TEMP)
		return t->row >= 0 && t->row < t->row_of->dim[0] ? NULL : "is no row";
	if (!n->loop)
		return "is a row, outside of a loop";
	if (t->row < 0 || t->row + e->loop[n->loop - 1].trip > t->row_of->dim[0])
		return "has fewer rows than its loop has iterations";
	return NULL;
}

static int loops_error(char *error, int error_size, const struct nest *n, const char *name,
		       const char *what)
{
	snprintf(error, (size_t)error_size, "nest '%s'%s%s%s %s", n->name, name ? ": '" : "",
		 name ? name : "", name ? "'" : "", what);
	return -1;
}

/* Nest number k, and the loops that end before it and begin with it. */
static int check_nest_loops(const struct module_entry *e, int k, bool *done, char *error,
			    int error_size)
{
	const struct nest *n = e->nests[k];
	int in = k ? e->nests[k - 1]->loop : 0;

	if (n->loop < 0 || n->loop > e->num_loops)
		return loops_error(error, error_size, n, NULL, "is in a loop that there is not");
	if (loop_depth(e, n->loop) > RDU_MAX_LOOP_DEPTH)
		return loops_error(error, error_size, n, NULL, "is in too many loops");
	for (; !loop_within(e, n->loop, in); in = parent_of(e, in))
		done[in] = true;
	for (in = n->loop; in; in = parent_of(e, in))
		if (done[in])
			return loops_error(error, error_size, n, NULL,
					   "is in a loop that is not one piece");
	return 0;
}

int module_check_loops(const struct module_entry *e, char *error, int error_size)
{
	int *loop_of = xcalloc((size_t)module_entry_ids(e) + 1, sizeof(int));
	bool *done = xcalloc((size_t)e->num_loops + 1, sizeof(bool));
	int ret = 0;

	for (int k = 0; k < e->num_nests && !ret; k++) {
		const struct nest *n = e->nests[k];

		ret = check_nest_loops(e, k, done, error, error_size);
		for (int i = 0; i < n->num_in + n->num_out && !ret; i++) {
			const char *what = row_error(e, n, i, loop_of);

			if (what)
				ret = loops_error(error, error_size, n, tensor_at(n, i)->name,
						  what);
		}
	}
	free(loop_of);
	free(done);
	return ret;
}
