// SPDX-License-Identifier: MIT
/* A case as files: ONNX, a description that a person can read, and data. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "diff.h"
#include "onnx_build.h"

size_t type_bytes(enum rdu_dtype t)
{
	switch (t) {
	case RDU_DT_F32:
	case RDU_DT_I32:
		return 4;
	case RDU_DT_I64:
		return 8;
	case RDU_DT_BF16:
		return 2;
	default:
		return 1;
	}
}

const char *type_text(enum rdu_dtype t)
{
	switch (t) {
	case RDU_DT_F32:
		return "float32";
	case RDU_DT_I32:
		return "int32";
	case RDU_DT_I64:
		return "int64";
	case RDU_DT_I8:
		return "int8";
	case RDU_DT_U8:
		return "uint8";
	case RDU_DT_BF16:
		return "bfloat16";
	default:
		return "bool";
	}
}

static float from_bf16(uint16_t half)
{
	uint32_t word = (uint32_t)half << 16;
	float f;

	memcpy(&f, &word, 4);
	return f;
}

double element(const void *data, enum rdu_dtype type, int64_t i)
{
	switch (type) {
	case RDU_DT_F32:
		return ((const float *)data)[i];
	case RDU_DT_I64:
		return (double)((const int64_t *)data)[i];
	case RDU_DT_I32:
		return ((const int32_t *)data)[i];
	case RDU_DT_I8:
		return ((const int8_t *)data)[i];
	case RDU_DT_BF16:
		return from_bf16(((const uint16_t *)data)[i]);
	default:
		return ((const uint8_t *)data)[i];
	}
}

static void names_of(const struct model *m, int num, const int *v, char *out, size_t size)
{
	size_t n = 0;

	out[0] = 0;
	for (int i = 0; i < num; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%s", i ? " " : "",
				      v[i] < 0 ? "-" : m->val[v[i]].name);
}

/* more: with what ort_shows as outputs too */
static struct build *build_model(const struct model *m, bool more)
{
	struct build *b = build_new();

	b->opset.version = m->opset;
	b->model.ir_version = 8;
	for (int i = 0; i < m->num_vals; i++) {
		const struct val *v = &m->val[i];

		if (v->input)
			build_input_of(b, v->name, v->type, v->ndim, v->dim);
		else if (v->init)
			build_tensor(b, v->name, v->type, v->ndim, v->dim, v->data,
				     (size_t)count_of(v) * type_bytes(v->type));
	}
	for (int k = 0; k < m->num_nodes; k++) {
		const struct op_node *n = &m->node[k];
		char in[200], out[200];
		Onnx__NodeProto *p;

		names_of(m, n->num_in, n->in, in, sizeof(in));
		names_of(m, n->num_out, n->out, out, sizeof(out));
		p = build_node(b, n->op, in, out);
		for (int a = 0; a < n->num_attrs; a++) {
			const struct node_attr *t = &n->attr[a];

			if (t->kind == 'i')
				attr_add_int(p, t->name, t->i);
			else if (t->kind == 'f')
				attr_add_float(p, t->name, t->f);
			else if (t->kind == 's')
				attr_add_text(p, t->name, t->s);
			else
				attr_add_ints(p, t->name, t->num, t->ints);
		}
	}
	for (int i = 0; i < m->num_outputs; i++) {
		const struct val *v = &m->val[m->output[i]];

		build_output_of(b, v->name, v->type, v->ndim, v->dim);
	}
	for (int i = 0; more && i < m->num_vals; i++) {
		const struct val *v = &m->val[i];

		if (ort_shows(m, i))
			build_output_of(b, v->name, v->type, v->ndim, v->dim);
	}
	return b;
}

void *model_onnx(const struct model *m, size_t *size)
{
	return build_pack(build_model(m, false), size);
}

/* "kind name type d,d,d": a scalar has "-" for dimensions. */
static void print_value(FILE *f, const char *kind, const struct val *v)
{
	fprintf(f, "%s %s %s ", kind, v->name, type_text(v->type));
	for (int d = 0; d < v->ndim; d++)
		fprintf(f, "%s%" PRId64, d ? "," : "", v->dim[d]);
	fprintf(f, "%s\n", v->ndim ? "" : "-");
}

static void print_node(FILE *f, const struct model *m, const struct op_node *n)
{
	char in[200], out[200];

	names_of(m, n->num_in, n->in, in, sizeof(in));
	names_of(m, n->num_out, n->out, out, sizeof(out));
	fprintf(f, "node %s %s -> %s |", n->op, in, out);
	for (int a = 0; a < n->num_attrs; a++) {
		const struct node_attr *t = &n->attr[a];

		fprintf(f, " %s=", t->name);
		if (t->kind == 'i')
			fprintf(f, "%" PRId64, t->i);
		else if (t->kind == 'f')
			fprintf(f, "%.9gf", t->f);
		else if (t->kind == 's')
			fprintf(f, "%s", t->s);
		for (int i = 0; t->kind == 'I' && i < t->num; i++)
			fprintf(f, "%" PRId64 ",", t->ints[i]);
	}
	fprintf(f, "\n");
}

static int write_data(const char *dir, const struct val *v, const char *prefix)
{
	size_t n = (size_t)count_of(v), size = type_bytes(v->type);
	char path[600];
	FILE *f;
	int bad;

	snprintf(path, sizeof(path), "%s/%s_%s.bin", dir, prefix, v->name);
	f = fopen(path, "wb");
	if (!f)
		return -1;
	bad = fwrite(v->data, size, n, f) != n;
	return fclose(f) || bad ? -1 : 0;
}

int model_write(const struct model *m, const char *dir)
{
	char path[600];
	int bad = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/model.onnx", dir);
	bad |= build_write(build_model(m, false), path);
	snprintf(path, sizeof(path), "%s/ort.onnx", dir);
	bad |= build_write(build_model(m, true), path);
	snprintf(path, sizeof(path), "%s/model.txt", dir);
	f = fopen(path, "w");
	if (!f)
		return -1;
	fprintf(f, "opset %d\n", m->opset);
	if (m->train)
		fprintf(f, "train %s %d %g\n", m->mse ? "mse" : "softmax_cross_entropy",
			m->optimizer, m->decay ? 0.0625 : 0);
	for (int i = 0; i < m->num_vals; i++) {
		const struct val *v = &m->val[i];

		if (!v->input && !v->init)
			continue;
		print_value(f, v->weight ? "weight" : v->input ? "input" : "const", v);
		bad |= write_data(dir, v, "in");
	}
	for (int k = 0; k < m->num_nodes; k++)
		print_node(f, m, &m->node[k]);
	for (int i = 0; i < m->num_outputs; i++)
		print_value(f, "output", &m->val[m->output[i]]);
	return fclose(f) || bad ? -1 : 0;
}
