// SPDX-License-Identifier: MIT
/* Graph IR: memory, values, nodes, attributes, printing. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "graph.h"
#include "mem.h"

#define LARGE 65536 /* contents of a value, bytes: not in the arena */

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	_Alignas(16) char mem[];
};

void *graph_alloc(struct graph *g, size_t size)
{
	struct arena_block *b = g->arena;
	void *p;

	size = (size + 15) & ~(size_t)15;
	if (!b || b->size - b->used < size) {
		size_t want = size > 65536 ? size : 65536;
		struct arena_block *fresh = xcalloc(1, sizeof(*fresh) + want);

		fresh->size = want;
		/* A big block goes behind, so that the small one stays in use. */
		if (b && size > 65536) {
			fresh->next = b->next;
			b->next = fresh;
		} else {
			fresh->next = b;
			g->arena = fresh;
		}
		b = fresh;
	}
	p = b->mem + b->used;
	b->used += size;
	return p;
}

struct graph *graph_new(char *error, int error_size)
{
	struct graph *g = xcalloc(1, sizeof(*g));

	g->error = error;
	g->error_size = error_size;
	g->opset = 13;
	if (error_size)
		error[0] = 0;
	return g;
}

void graph_free(struct graph *g)
{
	if (!g)
		return;
	while (g->arena) {
		struct arena_block *b = g->arena;

		g->arena = b->next;
		free(b);
	}
	for (int i = 0; i < g->num_shared; i++)
		shared_drop(g->shared[i]);
	free(g->shared);
	free(g->values);
	free(g->nodes);
	free(g);
}

char *graph_strdup(struct graph *g, const char *s)
{
	size_t n = strlen(s ? s : "") + 1;
	char *p = graph_alloc(g, n);

	memcpy(p, s ? s : "", n);
	return p;
}

char *graph_format(struct graph *g, const char *format, ...)
{
	va_list ap, again;
	char *text;
	int n;

	va_start(ap, format);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	text = graph_alloc(g, (size_t)(n > 0 ? n : 0) + 1);
	vsnprintf(text, (size_t)(n > 0 ? n : 0) + 1, format, again);
	va_end(again);
	return text;
}

int graph_error(struct graph *g, const char *format, ...)
{
	va_list ap;

	if (g->error_size && g->error[0])
		return -1; /* the first one is the cause */
	va_start(ap, format);
	vsnprintf(g->error, g->error_size, format, ap);
	va_end(ap);
	return -1;
}

int node_error(struct graph *g, const struct node *n, const char *format, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	return graph_error(g, "node '%s' (%s): %s", n->name, n->op->name, text);
}

static struct reason *find_reason(const struct graph *g, const char *kind, const char *text)
{
	for (struct reason *r = g->reasons; r; r = r->next)
		if (!strcmp(r->kind, kind) && !strcmp(r->text, text))
			return r;
	return NULL;
}

void graph_collect(struct graph *g, const char *kind, const char *name, const char *op)
{
	const char *first = op ? graph_format(g, "%s '%.200s' (%.60s)", kind, name, op)
			       : graph_format(g, "%s '%.200s'", kind, name);
	bool own = !strncmp(g->error, first, strlen(first));
	struct reason *r;

	/* Of the same operator and with the same text: the same reason. */
	kind = own ? graph_format(g, "%s/%.60s", kind, op ? op : "") : "";
	r = find_reason(g, kind, g->error + (own ? strlen(first) : 0));
	if (r && r->count <= 3)
		r->more[r->count - 1] = graph_strdup(g, name);
	if (!r) {
		r = graph_alloc(g, sizeof(*r));
		r->first = own ? first : "";
		r->kind = kind;
		r->text = graph_strdup(g, g->error + strlen(r->first));
		*(g->last_reason ? g->last_reason : &g->reasons) = r;
		g->last_reason = &r->next;
		g->num_reasons++;
	}
	r->count++;
	if (g->error_size)
		g->error[0] = 0;
}

static const char *reason_text(struct graph *g, const struct reason *r)
{
	const char *names = "";

	if (r->count == 1 || !*r->first)
		return graph_format(g, "%s%s", r->first, r->text);
	for (int i = 0; i < 3 && r->more[i]; i++)
		names = graph_format(g, "%s%s'%.60s'", names, i ? ", " : "", r->more[i]);
	return graph_format(g, "%s and %d more (%s%s)%s", r->first, r->count - 1, names,
			    r->count > 4 ? ", ..." : "", r->text);
}

int graph_report(struct graph *g)
{
	int at = 0, left = g->num_reasons, size = g->error_size;

	if (!left || !size)
		return left ? -1 : 0;
	if (left == 1) {
		snprintf(g->error, size, "%s", reason_text(g, g->reasons));
		return -1;
	}
	at = snprintf(g->error, size, "%d reasons against it:", left);
	for (const struct reason *r = g->reasons; r; r = r->next, left--) {
		const char *text = reason_text(g, r);

		/* What does not fit is counted. */
		if (at + (int)strlen(text) + 64 > size) {
			snprintf(g->error + at, size - at, "\n  and %d more reasons", left);
			break;
		}
		at += snprintf(g->error + at, size - at, "\n  %s", text);
	}
	return -1;
}

struct value *graph_value(struct graph *g, const char *name)
{
	struct value *v = graph_alloc(g, sizeof(*v));

	v->name = name ? graph_strdup(g, name) : graph_format(g, "_%d", g->counter++);
	v->ndim = -1;
	v->kind = TENSOR_TEMP;
	v->dtype = RDU_DT_F32;
	g->values = xroom(g->values, g->num_values, &g->cap_values, sizeof(*g->values));
	g->values[g->num_values++] = v;
	return v;
}

struct value *graph_find(struct graph *g, const char *name)
{
	for (int i = 0; i < g->num_values; i++)
		if (!strcmp(g->values[i]->name, name))
			return g->values[i];
	return NULL;
}

void *graph_contents(struct graph *g, struct value *v)
{
	size_t bytes = (size_t)value_count(v) * dtype_bytes(v->dtype);

	v->shared = NULL;
	if (bytes < LARGE) {
		v->data = graph_alloc(g, bytes ? bytes : 1);
		return v->data;
	}
	g->shared = xroom(g->shared, g->num_shared, &g->room_shared, sizeof(*g->shared));
	v->data = v->shared = g->shared[g->num_shared++] = shared_new(bytes);
	return v->data;
}

struct value *graph_const(struct graph *g, enum rdu_dtype dtype, int ndim, const int64_t *dim,
			  const void *data)
{
	struct value *v = graph_value(g, NULL);

	v->kind = TENSOR_WEIGHT;
	v->dtype = dtype;
	v->ndim = ndim;
	if (ndim)
		memcpy(v->dim, dim, ndim * sizeof(*dim));
	v->constant = true;
	graph_contents(g, v);
	if (data)
		memcpy(v->data, data, (size_t)value_count(v) * dtype_bytes(dtype));
	return v;
}

struct value *graph_const_f(struct graph *g, float f)
{
	return graph_const(g, RDU_DT_F32, 0, NULL, &f);
}

struct value *graph_const_i(struct graph *g, int64_t i)
{
	return graph_const(g, RDU_DT_I64, 0, NULL, &i);
}

void graph_append(struct graph *g, struct node *n)
{
	g->nodes = xroom(g->nodes, g->num_nodes, &g->cap_nodes, sizeof(*g->nodes));
	g->nodes[g->num_nodes++] = n;
}

/* Room for inputs grows by halves of a power of two, in the arena. */
void node_input(struct graph *g, struct node *n, struct value *v)
{
	if (!(n->num_in & (n->num_in - 1))) {
		struct value **in = graph_alloc(g, (n->num_in ? 2 * n->num_in : 1) * sizeof(*in));

		if (n->num_in)
			memcpy(in, n->in, n->num_in * sizeof(*in));
		n->in = in;
	}
	n->in[n->num_in++] = value_resolve(v);
}

struct node *node_new(struct graph *g, const char *op, const char *name)
{
	struct node *n = graph_alloc(g, sizeof(*n));

	n->op = op_find(op);
	n->name = graph_strdup(g, name);
	return n;
}

static struct attr *attr_new(struct graph *g, struct node *n, const char *name, enum attr_kind kind)
{
	struct attr *a = graph_alloc(g, sizeof(*a));

	a->name = graph_strdup(g, name);
	a->kind = kind;
	a->next = n->attrs;
	n->attrs = a;
	return a;
}

void node_attr_i(struct graph *g, struct node *n, const char *name, int64_t v)
{
	attr_new(g, n, name, ATTR_INT)->i = v;
}

void node_attr_f(struct graph *g, struct node *n, const char *name, float v)
{
	attr_new(g, n, name, ATTR_FLOAT)->f = v;
}

void node_attr_s(struct graph *g, struct node *n, const char *name, const char *v)
{
	attr_new(g, n, name, ATTR_STRING)->s = v;
}

void node_attr_ints(struct graph *g, struct node *n, const char *name, int num, const int64_t *v)
{
	struct attr *a = attr_new(g, n, name, ATTR_INTS);

	a->num = num;
	a->ints = graph_alloc(g, (num ? num : 1) * sizeof(*v));
	if (num)
		memcpy(a->ints, v, num * sizeof(*v));
}

struct attr *node_attr(const struct node *n, const char *name)
{
	for (struct attr *a = n->attrs; a; a = a->next)
		if (!strcmp(a->name, name))
			return a;
	return NULL;
}

int64_t attr_i(const struct node *n, const char *name, int64_t otherwise)
{
	const struct attr *a = node_attr(n, name);

	return a && a->kind == ATTR_INT ? a->i : otherwise;
}

float attr_f(const struct node *n, const char *name, float otherwise)
{
	const struct attr *a = node_attr(n, name);

	return a && a->kind == ATTR_FLOAT ? a->f : otherwise;
}

const char *attr_s(const struct node *n, const char *name, const char *otherwise)
{
	const struct attr *a = node_attr(n, name);

	return a && a->kind == ATTR_STRING ? a->s : otherwise;
}

const int64_t *attr_ints(const struct node *n, const char *name, int *num)
{
	const struct attr *a = node_attr(n, name);

	*num = 0;
	if (!a || a->kind != ATTR_INTS)
		return NULL;
	*num = a->num;
	return a->ints;
}

struct value *node_in(const struct node *n, int i)
{
	return i < n->num_in ? n->in[i] : NULL;
}

struct value *value_resolve(struct value *v)
{
	while (v && v->alias)
		v = v->alias;
	return v;
}

int64_t dims_count(int ndim, const int64_t *dim)
{
	int64_t n = 1;

	for (int i = 0; i < ndim; i++) {
		if (dim[i] < 0 || __builtin_mul_overflow(n, dim[i], &n) || n > GRAPH_MAX_ELEMENTS)
			return -1;
	}
	return n;
}

int64_t value_count(const struct value *v)
{
	return dims_count(v->ndim, v->dim);
}

bool dtype_is_small(enum rdu_dtype dtype)
{
	return dtype >= RDU_DT_F8E4M3FN && dtype <= RDU_DT_I2;
}

bool dtype_is_code(enum rdu_dtype dtype)
{
	return dtype_is_small(dtype) && dtype != RDU_DT_U4 && dtype != RDU_DT_I4 &&
	       dtype != RDU_DT_U2 && dtype != RDU_DT_I2;
}

int dtype_bits(enum rdu_dtype dtype)
{
	if (dtype == RDU_DT_U2 || dtype == RDU_DT_I2)
		return 2;
	if (dtype == RDU_DT_U4 || dtype == RDU_DT_I4 || dtype == RDU_DT_F4E2M1)
		return 4;
	return 8 * dtype_bytes(dtype);
}

enum rdu_dtype dtype_stored(enum rdu_dtype dtype)
{
	if (dtype == RDU_DT_I4 || dtype == RDU_DT_I2)
		return RDU_DT_I8;
	return dtype_is_small(dtype) ? RDU_DT_U8 : dtype;
}

int dtype_bytes(enum rdu_dtype dtype)
{
	switch (dtype_stored(dtype)) {
	case RDU_DT_F32:
	case RDU_DT_I32:
	case RDU_DT_U32:
		return 4;
	case RDU_DT_I64:
	case RDU_DT_U64:
	case RDU_DT_F64:
		return 8;
	case RDU_DT_BF16:
	case RDU_DT_F16:
	case RDU_DT_I16:
	case RDU_DT_U16:
		return 2;
	case RDU_DT_U8:
	case RDU_DT_I8:
	case RDU_DT_BOOL:
		return 1;
	default:
		return 0;
	}
}

const char *dtype_name(enum rdu_dtype dtype)
{
	return dtype_bytes(dtype) ? onnx_type_name((int)dtype) : "?";
}

bool dtype_is_int(enum rdu_dtype dtype)
{
	return dtype != RDU_DT_F32 && dtype != RDU_DT_BF16 && dtype != RDU_DT_F16 &&
	       dtype != RDU_DT_F64;
}

bool dtype_is_unsigned(enum rdu_dtype dtype)
{
	return dtype == RDU_DT_U8 || dtype == RDU_DT_U16 || dtype == RDU_DT_U32 ||
	       dtype == RDU_DT_U64 || dtype == RDU_DT_U4 || dtype == RDU_DT_U2;
}

float half_value(uint16_t h)
{
	int e = (h >> 10) & 31, m = h & 1023;
	float v = e == 31 ? (m ? NAN : INFINITY)
		  : e	  ? ldexpf((float)(m + 1024), e - 25)
			  : ldexpf((float)m, -24);

	return h & 0x8000 ? -v : v;
}

uint16_t half_bits(double v)
{
	double size = fabs(v);
	unsigned int sign = signbit(v) ? 0x8000 : 0;
	int e;

	if (isnan(v))
		return 0x7e00;
	if (size >= 65520)
		return (uint16_t)(sign | 0x7c00);
	if (size < 0x1p-14)
		return (uint16_t)(sign | (unsigned int)nearbyint(size * 0x1p24));
	frexp(size, &e);
	/* A mantissa rounded up to 2048 is the next exponent's first. */
	return (uint16_t)(sign |
			  (unsigned int)((e + 13) * 1024 + (int)nearbyint(ldexp(size, 11 - e))));
}

int node_shape(struct graph *g, struct node *n, int out, enum rdu_dtype dtype, int ndim,
	       const int64_t *dim)
{
	struct value *v = out < n->num_out ? n->out[out] : NULL;

	if (ndim > RDU_MAX_DIMS)
		return node_error(g, n, "result has %d dimensions, more than %d", ndim,
				  RDU_MAX_DIMS);
	for (int i = 0; i < ndim; i++)
		if (dim[i] < 0 || dim[i] > INT32_MAX)
			return node_error(g, n, "result's dimension %d is %" PRId64, i, dim[i]);
	if (dims_count(ndim, dim) < 0)
		return node_error(g, n, "result has more than 2^36 elements");
	if (!v)
		return 0;
	v->dtype = dtype;
	v->ndim = ndim;
	if (ndim)
		memmove(v->dim, dim, ndim * sizeof(*dim));
	return 0;
}

int64_t value_int(const struct value *v, int64_t i)
{
	switch (dtype_stored(v->dtype)) {
	case RDU_DT_I64:
	case RDU_DT_U64:
		return ((int64_t *)v->data)[i];
	case RDU_DT_I32:
		return ((int32_t *)v->data)[i];
	case RDU_DT_U32:
		return ((uint32_t *)v->data)[i];
	case RDU_DT_I16:
		return ((int16_t *)v->data)[i];
	case RDU_DT_U16:
		return ((uint16_t *)v->data)[i];
	case RDU_DT_I8:
		return ((int8_t *)v->data)[i];
	default:
		return ((uint8_t *)v->data)[i];
	}
}

double value_real(const struct value *v, int64_t i)
{
	uint32_t bits;
	float f;

	switch (v->dtype) {
	case RDU_DT_F32:
		return ((float *)v->data)[i];
	case RDU_DT_F64:
		return ((double *)v->data)[i];
	case RDU_DT_F16:
		return half_value(((uint16_t *)v->data)[i]);
	case RDU_DT_BF16:
		bits = (uint32_t)((uint16_t *)v->data)[i] << 16;
		memcpy(&f, &bits, 4);
		return f;
	case RDU_DT_U64:
		return (double)((uint64_t *)v->data)[i];
	default:
		return (double)value_int(v, i);
	}
}

bool value_fits_word(const struct value *v, int64_t i)
{
	int64_t n;

	switch (v->dtype) {
	case RDU_DT_F64:
		return !isfinite(value_real(v, i)) || isfinite((float)value_real(v, i));
	case RDU_DT_I64:
	case RDU_DT_U64:
		n = value_int(v, i);
		return n == (int32_t)n && (v->dtype == RDU_DT_I64 || n >= 0);
	default:
		return true;
	}
}

uint32_t value_word(const struct value *v, int64_t i)
{
	float f;
	uint32_t word;

	if (dtype_is_int(v->dtype))
		return (uint32_t)value_int(v, i);
	f = (float)value_real(v, i);
	memcpy(&word, &f, 4);
	return word;
}

bool values_constant(int num, struct value *const *v)
{
	for (int i = 0; i < num; i++)
		if (v[i] && !v[i]->constant)
			return false;
	return true;
}

#define MANY 4096 /* elements: of fewer it does not matter what memory moves */

struct value *value_as_bytes(struct graph *g, struct value *v)
{
	int64_t num = v->ndim < 0 ? 0 : value_count(v);
	unsigned char *data;

	if (!v->constant || !v->data || dtype_is_int(v->dtype) || num < MANY)
		return NULL;
	if (v->bytes)
		return v->bytes == v ? NULL : v->bytes;
	v->bytes = v;
	for (int64_t i = 0; i < num; i++) {
		double x = value_real(v, i);

		if (!(x >= 0 && x <= 255) || x != floor(x) || signbit(x))
			return NULL;
	}
	v->bytes = graph_const(g, RDU_DT_U8, v->ndim, v->dim, NULL);
	v->bytes->name = v->name;
	data = v->bytes->data;
	for (int64_t i = 0; i < num; i++)
		data[i] = (unsigned char)value_real(v, i);
	return v->bytes;
}

const int64_t *node_const_ints(struct graph *g, struct node *n, int in, int *num)
{
	struct value *v = node_in(n, in);
	int64_t *p, count;

	*num = 0;
	if (!v || !v->data || !dtype_is_int(v->dtype)) {
		node_error(g, n, "input %d ('%s') must be a constant of integers", in,
			   v ? v->name : "");
		return NULL;
	}
	count = value_count(v);
	if (count < 0 || count > GRAPH_MAX_FOLD) {
		node_error(g, n, "input %d ('%s') is too large", in, v->name);
		return NULL;
	}
	p = graph_alloc(g, (count ? count : 1) * sizeof(*p));
	for (int64_t i = 0; i < count; i++)
		p[i] = value_int(v, i);
	*num = (int)count;
	return p;
}

bool value_same_shape(const struct value *a, const struct value *b)
{
	return a->ndim == b->ndim && !memcmp(a->dim, b->dim, a->ndim * sizeof(a->dim[0]));
}

const char *value_shape_text(struct graph *g, const struct value *v)
{
	char text[256] = "[";
	int at = 1;

	if (v->ndim < 0)
		return "[?]";
	for (int i = 0; i < v->ndim; i++)
		at += snprintf(text + at, sizeof(text) - at, "%s%" PRId64, i ? "," : "", v->dim[i]);
	snprintf(text + at, sizeof(text) - at, "]");
	return graph_strdup(g, text);
}

static void print_value(const struct value *v, FILE *f)
{
	if (!v) {
		fputs("-", f);
		return;
	}
	fprintf(f, "%s", v->name);
	if (v->ndim < 0)
		return;
	fprintf(f, ":%s[", dtype_name(v->dtype));
	for (int i = 0; i < v->ndim; i++)
		fprintf(f, "%s%" PRId64, i ? "," : "", v->dim[i]);
	fputc(']', f);
	if (v->update_of)
		fprintf(f, " (over %s)", v->update_of->name);
}

static void print_nodes(FILE *f, int num, struct node *const *nodes, const char *indent);

static void print_list(FILE *f, const char *what, int num, struct value *const *v)
{
	for (int k = 0; k < num; k++) {
		fputs(k ? ", " : what, f);
		print_value(v[k], f);
	}
}

/* The body of a loop: what it is given, its nodes, what it hands on. */
static void print_loop(FILE *f, const struct loop *l)
{
	fprintf(f, "    loop of %" PRId64, l->trip);
	print_list(f, "  carried ", l->num_carried, l->carried);
	print_list(f, "  rows ", l->num_rows, l->row);
	fputc('\n', f);
	print_nodes(f, l->num_nodes, l->nodes, "    ");
	fputs("    end", f);
	print_list(f, "  next ", l->num_carried, l->next);
	print_list(f, "  stacked ", l->num_stacked, l->stacked);
	print_list(f, "  summed ", l->num_summed, l->summed);
	fputc('\n', f);
}

static void print_nodes(FILE *f, int num, struct node *const *nodes, const char *indent)
{
	for (int i = 0; i < num; i++) {
		const struct node *n = nodes[i];

		fputs(indent, f);
		print_list(f, "", n->num_out, n->out);
		fprintf(f, " = %s%s%s(", n->op->name, n->of ? " of " : "",
			n->of ? n->of->name : "");
		print_list(f, "", n->num_in, n->in);
		fprintf(f, ")  # %s\n", n->name);
		if (n->loop)
			print_loop(f, n->loop);
	}
}

void graph_print(const struct graph *g, void *file)
{
	FILE *f = file;

	fprintf(f, "graph %s opset %d\n", g->name ? g->name : "", g->opset);
	for (int i = 0; i < g->num_values; i++)
		if (g->values[i]->kind == TENSOR_INPUT || g->values[i]->kind == TENSOR_STATE) {
			fputs(g->values[i]->kind == TENSOR_INPUT ? "  input " : "  state ", f);
			print_value(g->values[i], f);
			fputc('\n', f);
		}
	print_nodes(f, g->num_nodes, g->nodes, "  ");
	for (int i = 0; i < g->num_outputs; i++)
		fprintf(f, "  output %s = %s\n", g->outputs[i].name, g->outputs[i].value->name);
	if (g->loss)
		fprintf(f, "  loss %s\n", g->loss->name);
}
