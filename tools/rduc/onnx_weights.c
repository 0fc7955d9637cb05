// SPDX-License-Identifier: MIT
/*
 * Weights of a (trained) program file back into the ONNX model they came from:
 * initializers are found by their names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "graph.h"
#include "onnx.pb-c.h"
#include "mem.h"
#include "rdu.h"

/* Number of a weight's symbol; -1: the file has none. */
static int symbol_find(const struct rdu_file *f, const char *name)
{
	char symbol[64];
	int i;

	rduc_symbol_name(symbol, name);
	i = rdu_file_find_symbol((struct rdu_file *)f, symbol);
	return i >= 0 && rdu_file_get_symbol(f, (unsigned int)i)->flags & RDU_SYM_WEIGHT ? i : -1;
}

/* ---- where a weight is in the model ------------------------------------------------------ */

static void *allocate(size_t size)
{
	return xcalloc(1, size ? size : 1);
}

static Onnx__AttributeProto *find_attribute(Onnx__NodeProto *n, const char *name)
{
	for (size_t i = 0; i < n->n_attribute; i++)
		if (!strcmp(n->attribute[i]->name, name))
			return n->attribute[i];
	return NULL;
}

/*
 * An Identity that stood for a parameter with another's values (parameters.c): a Constant
 * node with an empty tensor of the symbol's shape. All of it as unpacking allocates it.
 */
static Onnx__AttributeProto *make_constant(Onnx__NodeProto *n, const struct rdu_file_symbol *s)
{
	Onnx__AttributeProto *a = allocate(sizeof(*a));

	for (size_t i = 0; i < n->n_input; i++)
		free(n->input[i]);
	free(n->input);
	n->input = NULL;
	n->n_input = 0;
	free(n->op_type);
	n->op_type = xstrdup("Constant");
	onnx__attribute_proto__init(a);
	a->name = xstrdup("value");
	a->has_type = 1;
	a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
	a->t = allocate(sizeof(*a->t));
	onnx__tensor_proto__init(a->t);
	a->t->has_data_type = true;
	a->t->data_type = (int)s->dtype;
	a->t->n_dims = s->ndim;
	a->t->dims = allocate(s->ndim * sizeof(*a->t->dims));
	memcpy(a->t->dims, s->dims, s->ndim * sizeof(*a->t->dims));
	n->n_attribute = 1;
	n->attribute = allocate(sizeof(*n->attribute));
	n->attribute[0] = a;
	return a;
}

/* The tensor of a weight, or (floats) a Constant node's list of numbers; both NULL: nowhere. */
static Onnx__TensorProto *place_of(Onnx__GraphProto *g, const char *name,
				   const struct rdu_file_symbol *s, Onnx__AttributeProto **floats)
{
	*floats = NULL;
	for (size_t i = 0; i < g->n_initializer; i++)
		if (g->initializer[i]->name && !strcmp(g->initializer[i]->name, name))
			return g->initializer[i];
	for (size_t i = 0; i < g->n_node; i++) {
		Onnx__NodeProto *n = g->node[i];
		Onnx__AttributeProto *a;

		if (n->n_output != 1 || strcmp(n->output[0], name))
			continue;
		if (!strcmp(n->op_type, "Identity"))
			return make_constant(n, s)->t;
		*floats = find_attribute(n, "value_floats");
		a = find_attribute(n, "value");
		return *floats || !a ? NULL : a->t;
	}
	return NULL;
}

/* ---- its contents -------------------------------------------------------------------------- */

/* Takes data, which is allocated. */
static void set_contents(Onnx__TensorProto *t, void *data, uint64_t bytes)
{
	free(t->float_data);
	free(t->int32_data);
	free(t->int64_data);
	t->float_data = NULL;
	t->int32_data = NULL;
	t->int64_data = NULL;
	t->n_float_data = t->n_int32_data = t->n_int64_data = 0;
	if (t->has_raw_data)
		free(t->raw_data.data);
	t->has_raw_data = true;
	t->raw_data.len = bytes;
	t->raw_data.data = data;
}

static Onnx__SparseTensorProto *sparse_of(Onnx__GraphProto *g, const char *name)
{
	for (size_t i = 0; i < g->n_sparse_initializer; i++)
		if (g->sparse_initializer[i]->values->name &&
		    !strcmp(g->sparse_initializer[i]->values->name, name))
			return g->sparse_initializer[i];
	return NULL;
}

static void set_list(Onnx__TensorProto *t, void *data, uint64_t bytes, int64_t num)
{
	set_contents(t, data, bytes);
	free(t->dims);
	t->dims = allocate(sizeof(*t->dims));
	t->n_dims = 1;
	t->dims[0] = num;
}

/* A sparse initializer has all numbers that are not 0, wherever they are. */
static void set_sparse(Onnx__SparseTensorProto *t, const unsigned char *whole, uint64_t num,
		       size_t bytes)
{
	int64_t *at = allocate(num * sizeof(*at));
	unsigned char *values = allocate(num * bytes);
	int64_t some = 0;

	for (uint64_t i = 0; i < num; i++) {
		const unsigned char *v = whole + i * bytes;
		bool there = v[bytes - 1] & 0x7f; /* -0 is 0, too */

		for (size_t k = 0; k + 1 < bytes; k++)
			there |= v[k];
		if (!there)
			continue;
		memcpy(values + some * bytes, v, bytes);
		at[some++] = (int64_t)i;
	}
	set_list(t->values, values, some * bytes, some);
	set_list(t->indices, at, some * sizeof(*at), some);
}

static int replace_sparse(const struct rdu_file *f, Onnx__SparseTensorProto *t, const char *name,
			  unsigned int symbol, char *error, int size)
{
	const struct rdu_file_symbol *s = rdu_file_get_symbol(f, symbol);
	size_t bytes = rdu_symbol_size(s);
	bool same = s->dtype == (uint32_t)t->values->data_type && s->ndim == t->n_dims;
	void *whole;

	for (size_t i = 0; same && i < s->ndim; i++)
		same = s->dims[i] == t->dims[i];
	if (!same) {
		snprintf(error, size, "weight '%s' has another shape or type in the program file",
			 name);
		return -1;
	}
	whole = allocate(bytes);
	rdu_file_read_symbol(f, symbol, whole, bytes); /* no contents: zeros */
	set_sparse(t, whole, bytes / rdu_dtype_size(s->dtype), rdu_dtype_size(s->dtype));
	free(whole);
	return 0;
}

static int replace(const struct rdu_file *f, Onnx__GraphProto *g, const char *name,
		   unsigned int symbol, char *error, int size)
{
	const struct rdu_file_symbol *s = rdu_file_get_symbol(f, symbol);
	Onnx__SparseTensorProto *sparse = sparse_of(g, name);
	Onnx__AttributeProto *floats;
	Onnx__TensorProto *t = place_of(g, name, s, &floats);
	size_t bytes = rdu_symbol_size(s);
	void *data;
	bool same;

	if (sparse)
		return replace_sparse(f, sparse, name, symbol, error, size);
	if (!t && !floats) {
		snprintf(error, size, "weight '%s' is not where the model had it", name);
		return -1;
	}
	if (t && t->n_external_data) {
		snprintf(error, size, "weight '%s' is kept in another file", name);
		return -1;
	}
	same = s->dtype == (t ? (uint32_t)t->data_type : RDU_DT_F32) &&
	       s->ndim == (t ? t->n_dims : 1);
	for (size_t i = 0; same && i < s->ndim; i++)
		same = s->dims[i] == (t ? t->dims[i] : (int64_t)floats->n_floats);
	if (!same) {
		snprintf(error, size, "weight '%s' has another shape or type in the program file",
			 name);
		return -1;
	}
	data = allocate(bytes);
	rdu_file_read_symbol(f, symbol, data, bytes); /* no contents: zeros */
	if (t) {
		set_contents(t, data, bytes);
		return 0;
	}
	memcpy(floats->floats, data, bytes);
	free(data);
	return 0;
}

/* Does a node that the results need read it? */
static bool is_read(const struct graph *g, const struct value *v)
{
	for (int i = 0; i < g->num_nodes; i++)
		for (int k = 0; g->nodes[i]->live && k < g->nodes[i]->num_in; k++)
			if (g->nodes[i]->in[k] == v)
				return true;
	return false;
}

/* All weights of the program file into the model g was imported from, or none. */
static int replace_all(const struct rdu_file *f, const struct graph *g, Onnx__GraphProto *onnx,
		       char *error, int size)
{
	unsigned int num = rdu_file_num_symbols(f);
	bool *used = allocate(num * sizeof(*used));
	int bad = 0, at = 0, ret = 0;

	error[0] = 0;
	for (int i = 0; i < g->num_values && !ret; i++) {
		const struct value *v = g->values[i];
		int symbol = v->why ? symbol_find(f, v->name) : -1;

		if (symbol >= 0) {
			used[symbol] = true;
			ret = replace(f, onnx, v->name, (unsigned int)symbol, error, size);
		} else if (v->why && !v->constant && is_read(g, v)) {
			bad++;
			if (at < size - 200)
				at += snprintf(error + at, size - at, "%sit has no weight '%.80s'",
					       at ? "; " : "", v->name);
		}
	}
	for (unsigned int i = 0; i < num && !ret; i++) {
		const struct rdu_file_symbol *s = rdu_file_get_symbol(f, i);

		if (!(s->flags & RDU_SYM_WEIGHT) || used[i])
			continue;
		bad++;
		if (at < size - 200)
			at += snprintf(error + at, size - at, "%sthe model has no weight '%.63s'",
				       at ? "; " : "", s->name);
	}
	free(used);
	if (bad && !ret)
		snprintf(error + at, size - at, " (%d in all)", bad);
	return ret || bad ? -1 : 0;
}

int onnx_write_weights(const char *rdu_path, const char *onnx_path, const char *out_path,
		       char *error, int error_size)
{
	const struct import_options options = { .any_shape = true, .path = onnx_path };
	struct value **roots;
	Onnx__ModelProto *m = NULL;
	struct graph *g = NULL;
	struct rdu_file *f;
	char why[4096] = "";
	size_t size = 0;
	void *file, *packed;
	int ret = -1;

	if (rdu_file_open(rdu_path, &f)) {
		snprintf(error, error_size, "%s", rdu_error_text(f));
		rdu_file_close(f);
		return -1;
	}
	file = read_whole_file(onnx_path, &size, why, sizeof(why));
	if (file)
		m = onnx_parse(file, size, why, sizeof(why));
	if (m)
		g = graph_import(file, size, &options, why, sizeof(why));
	free(file);
	if (!g) {
		snprintf(error, error_size, "%s: %s", onnx_path, why);
		goto out;
	}
	roots = graph_alloc(g, (g->num_outputs + 1) * sizeof(*roots));
	for (int i = 0; i < g->num_outputs; i++)
		roots[i] = g->outputs[i].value;
	graph_mark(g, roots, g->num_outputs);
	if (replace_all(f, g, m->graph, why, sizeof(why))) {
		snprintf(error, error_size, "%s: not the weights of %s: %s", rdu_path, onnx_path,
			 why);
		goto out;
	}
	size = onnx__model_proto__get_packed_size(m);
	packed = allocate(size);
	onnx__model_proto__pack(m, packed);
	ret = write_whole_file(out_path, packed, size, error, error_size);
	free(packed);
out:
	graph_free(g);
	onnx_free(m);
	rdu_file_close(f);
	return ret;
}
