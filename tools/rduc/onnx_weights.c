// SPDX-License-Identifier: MIT
/*
 * Weights of a (trained) program file back into the ONNX model they came from:
 * initializers are found by their names.
 */
#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "graph.h"
#include "onnx.pb-c.h"
#include "mem.h"

struct program_file {
	Elf *elf;
	int fd;
	size_t num_regions, num_symbols, data_size;
	const struct rdu_file_region *regions;
	const struct rdu_file_symbol *symbols;
	const uint8_t *data;
};

static int section(struct program_file *p, const char *name, const void **data, size_t *size)
{
	Elf_Scn *s = NULL;
	size_t names;

	*size = 0;
	*data = NULL;
	if (elf_getshdrstrndx(p->elf, &names))
		return -1;
	while ((s = elf_nextscn(p->elf, s))) {
		GElf_Shdr h;
		const char *n;
		Elf_Data *d;

		if (!gelf_getshdr(s, &h))
			return -1;
		n = elf_strptr(p->elf, names, h.sh_name);
		if (!n || strcmp(n, name))
			continue;
		d = elf_rawdata(s, NULL);
		if (!d)
			return -1;
		*data = d->d_buf;
		*size = d->d_buf ? d->d_size : 0;
		return 0;
	}
	return -1;
}

static int program_open(struct program_file *p, const char *path, char *error, int size)
{
	size_t regions, symbols;
	GElf_Ehdr h;

	memset(p, 0, sizeof(*p));
	p->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (p->fd < 0) {
		snprintf(error, size, "%s: %m", path);
		return -1;
	}
	elf_version(EV_CURRENT);
	p->elf = elf_begin(p->fd, ELF_C_READ, NULL);
	if (!p->elf || elf_kind(p->elf) != ELF_K_ELF || !gelf_getehdr(p->elf, &h) ||
	    h.e_machine != RDU_ELF_MACHINE || h.e_ident[EI_CLASS] != ELFCLASS64 ||
	    section(p, ".rdu.regions", (const void **)&p->regions, &regions) ||
	    section(p, ".rdu.symbols", (const void **)&p->symbols, &symbols) ||
	    section(p, ".rdu.data", (const void **)&p->data, &p->data_size)) {
		snprintf(error, size, "%s: not a program file", path);
		return -1;
	}
	p->num_regions = regions / sizeof(*p->regions);
	p->num_symbols = symbols / sizeof(*p->symbols);
	return 0;
}

static void program_close(struct program_file *p)
{
	if (p->elf)
		elf_end(p->elf);
	if (p->fd >= 0)
		close(p->fd);
}

static const struct rdu_file_symbol *symbol_find(const struct program_file *p, const char *name)
{
	char symbol[64];

	rduc_symbol_name(symbol, name);
	for (size_t i = 0; i < p->num_symbols; i++)
		if ((p->symbols[i].flags & RDU_SYM_WEIGHT) &&
		    !strncmp(p->symbols[i].name, symbol, 64))
			return &p->symbols[i];
	return NULL;
}

/* Contents of a weight, or NULL: none in the file, or not as large as expected. */
static const uint8_t *symbol_data(const struct program_file *p, const struct rdu_file_symbol *s,
				  uint64_t bytes)
{
	const struct rdu_file_region *r;
	uint64_t at;

	if (s->region >= p->num_regions)
		return NULL;
	r = &p->regions[s->region];
	if (r->data == RDU_NO_DATA || s->offset > r->size || bytes > r->size - s->offset ||
	    __builtin_add_overflow(r->data, s->offset, &at) || at > p->data_size ||
	    bytes > p->data_size - at)
		return NULL;
	return p->data + at;
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

static void set_contents(Onnx__TensorProto *t, const void *data, uint64_t bytes)
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
	t->raw_data.data = allocate(bytes);
	memcpy(t->raw_data.data, data, bytes);
}

static int replace(const struct program_file *p, Onnx__GraphProto *g, const char *name,
		   const struct rdu_file_symbol *s, char *error, int size)
{
	Onnx__AttributeProto *floats;
	Onnx__TensorProto *t = place_of(g, name, s, &floats);
	const uint8_t *data;
	int64_t count;
	bool same;

	if (!t && !floats) {
		snprintf(error, size, "weight '%s' is not where the model had it", name);
		return -1;
	}
	if (t && t->n_external_data) {
		snprintf(error, size, "weight '%s' is kept in another file", name);
		return -1;
	}
	same = s->ndim <= RDU_MAX_DIMS && s->dtype == (t ? (uint32_t)t->data_type : RDU_DT_F32) &&
	       s->ndim == (t ? t->n_dims : 1);
	for (size_t i = 0; same && i < s->ndim; i++)
		same = s->dims[i] == (t ? t->dims[i] : (int64_t)floats->n_floats);
	count = same ? dims_count((int)s->ndim, (const int64_t *)s->dims) : -1;
	if (count < 0) {
		snprintf(error, size, "weight '%s' has another shape or type in the program file",
			 name);
		return -1;
	}
	data = symbol_data(p, s, (uint64_t)count * dtype_bytes((enum rdu_dtype)s->dtype));
	if (!data) {
		snprintf(error, size, "the program file has no contents for weight '%s'", name);
		return -1;
	}
	if (t)
		set_contents(t, data, (uint64_t)count * dtype_bytes((enum rdu_dtype)s->dtype));
	else
		memcpy(floats->floats, data, (uint64_t)count * sizeof(float));
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
static int replace_all(const struct program_file *p, const struct graph *g, Onnx__GraphProto *onnx,
		       char *error, int size)
{
	bool *used = allocate(p->num_symbols * sizeof(*used));
	int bad = 0, at = 0, ret = 0;

	error[0] = 0;
	for (int i = 0; i < g->num_values && !ret; i++) {
		const struct value *v = g->values[i];
		const struct rdu_file_symbol *s = v->why ? symbol_find(p, v->name) : NULL;

		if (s) {
			used[s - p->symbols] = true;
			ret = replace(p, onnx, v->name, s, error, size);
		} else if (v->why && !v->constant && is_read(g, v)) {
			bad++;
			if (at < size - 200)
				at += snprintf(error + at, size - at, "%sit has no weight '%.80s'",
					       at ? "; " : "", v->name);
		}
	}
	for (size_t i = 0; i < p->num_symbols && !ret; i++) {
		if (!(p->symbols[i].flags & RDU_SYM_WEIGHT) || used[i])
			continue;
		bad++;
		if (at < size - 200)
			at += snprintf(error + at, size - at, "%sthe model has no weight '%.63s'",
				       at ? "; " : "", p->symbols[i].name);
	}
	free(used);
	if (bad && !ret)
		snprintf(error + at, size - at, " (%d in all)", bad);
	return ret || bad ? -1 : 0;
}

int onnx_write_weights(const char *rdu_path, const char *onnx_path, const char *out_path,
		       char *error, int error_size)
{
	static const struct import_options options = { .any_shape = true };
	struct value **roots;
	Onnx__ModelProto *m = NULL;
	struct graph *g = NULL;
	struct program_file p;
	char why[4096] = "";
	size_t size = 0;
	void *file, *packed;
	int ret = -1;

	if (program_open(&p, rdu_path, error, error_size)) {
		program_close(&p);
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
	if (replace_all(&p, g, m->graph, why, sizeof(why))) {
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
	program_close(&p);
	return ret;
}
