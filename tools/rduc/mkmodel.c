// SPDX-License-Identifier: MIT
/*
 * rdu-mkmodel: writes small ONNX models, with weights drawn from a seed.
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "graph.h"
#include "onnx.pb-c.h"
#include "mem.h"

enum { EXIT_USAGE = 2 };

static const char usage[] =
	"usage: rdu-mkmodel KIND -o FILE.onnx [options]\n"
	"\n"
	"  cnn     images [N,1,28,28]: two convolutions with pooling, two dense layers\n"
	"  mlp     [N,K] through --hidden H,H,... to M classes\n"
	"  gemm    [M,K] x [K,N]; --bias --relu add what follows; --weights makes the\n"
	"          second operand a weight\n"
	"  relu    [M,N]\n"
	"  softmax [M,N]\n"
	"\n"
	"  --batch N (64)  --m M --n N --k K (1024; mlp: k 784, m 10)\n"
	"  --dtype fp32|bf16  of tensors (fp32)  --seed S (1)\n";

struct model {
	Onnx__GraphProto graph;
	uint64_t seed;
	int dtype;
};

static void *zalloc(size_t n)
{
	return xcalloc(1, n ? n : 1);
}

static char *text(const char *s)
{
	return xstrdup(s);
}

/* Add to a protobuf repeated field. */
#define PUSH(array, count, item)                                               \
	do {                                                                   \
		(array) = xrealloc((array), ((count) + 1) * sizeof(*(array))); \
		(array)[(count)++] = (item);                                   \
	} while (0)

/* splitmix64 */
static double uniform(struct model *m)
{
	uint64_t z = (m->seed += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	z ^= z >> 31;
	return (double)(z >> 11) / 9007199254740992.0;
}

static uint16_t to_bf16(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

static Onnx__ValueInfoProto *value_info(struct model *m, const char *name, int ndim,
					const int64_t *dim)
{
	Onnx__ValueInfoProto *v = zalloc(sizeof(*v));
	Onnx__TypeProto *type = zalloc(sizeof(*type));
	Onnx__TypeProto__Tensor *t = zalloc(sizeof(*t));
	Onnx__TensorShapeProto *s = zalloc(sizeof(*s));

	onnx__value_info_proto__init(v);
	onnx__type_proto__init(type);
	onnx__type_proto__tensor__init(t);
	onnx__tensor_shape_proto__init(s);
	v->name = text(name);
	v->type = type;
	type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
	type->tensor_type = t;
	t->has_elem_type = true;
	t->elem_type = m->dtype;
	t->shape = s;
	for (int i = 0; i < ndim; i++) {
		Onnx__TensorShapeProto__Dimension *d = zalloc(sizeof(*d));

		onnx__tensor_shape_proto__dimension__init(d);
		d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
		d->dim_value = dim[i];
		PUSH(s->dim, s->n_dim, d);
	}
	return v;
}

static void input(struct model *m, const char *name, int ndim, const int64_t *dim)
{
	PUSH(m->graph.input, m->graph.n_input, value_info(m, name, ndim, dim));
}

static void output(struct model *m, const char *name, int ndim, const int64_t *dim)
{
	PUSH(m->graph.output, m->graph.n_output, value_info(m, name, ndim, dim));
}

/* Uniform in [-bound, bound]: what PyTorch starts its layers with. */
static void weight(struct model *m, const char *name, int ndim, const int64_t *dim, double bound)
{
	Onnx__TensorProto *t = zalloc(sizeof(*t));
	int64_t n = dims_count(ndim, dim);
	int size = m->dtype == RDU_DT_BF16 ? 2 : 4;

	onnx__tensor_proto__init(t);
	t->name = text(name);
	t->has_data_type = true;
	t->data_type = m->dtype;
	for (int i = 0; i < ndim; i++)
		PUSH(t->dims, t->n_dims, dim[i]);
	t->has_raw_data = true;
	t->raw_data.len = (size_t)(n * size);
	t->raw_data.data = zalloc(t->raw_data.len);
	for (int64_t i = 0; i < n; i++) {
		float f = (float)((2 * uniform(m) - 1) * bound);

		if (size == 2)
			((uint16_t *)t->raw_data.data)[i] = to_bf16(f);
		else
			((float *)t->raw_data.data)[i] = f;
	}
	PUSH(m->graph.initializer, m->graph.n_initializer, t);
}

/* Inputs are names with blanks between. */
static Onnx__NodeProto *node(struct model *m, const char *type, const char *name,
			     const char *inputs, const char *out)
{
	Onnx__NodeProto *n = zalloc(sizeof(*n));
	char *copy = text(inputs), *save = NULL;

	onnx__node_proto__init(n);
	n->op_type = text(type);
	n->name = text(name);
	for (char *s = strtok_r(copy, " ", &save); s; s = strtok_r(NULL, " ", &save))
		PUSH(n->input, n->n_input, text(s));
	free(copy);
	PUSH(n->output, n->n_output, text(out));
	PUSH(m->graph.node, m->graph.n_node, n);
	return n;
}

static Onnx__AttributeProto *attribute(Onnx__NodeProto *n, const char *name)
{
	Onnx__AttributeProto *a = zalloc(sizeof(*a));

	onnx__attribute_proto__init(a);
	a->name = text(name);
	a->has_type = true;
	PUSH(n->attribute, n->n_attribute, a);
	return a;
}

static void attr_int(Onnx__NodeProto *n, const char *name, int64_t v)
{
	Onnx__AttributeProto *a = attribute(n, name);

	a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
	a->has_i = true;
	a->i = v;
}

static void attr_list(Onnx__NodeProto *n, const char *name, int num, const int64_t *v)
{
	Onnx__AttributeProto *a = attribute(n, name);

	a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
	for (int i = 0; i < num; i++)
		PUSH(a->ints, a->n_ints, v[i]);
}

#define DIMS(...) (sizeof((int64_t[]){ __VA_ARGS__ }) / 8), ((int64_t[]){ __VA_ARGS__ })

/* Convolution 3x3, Relu, pooling 2x2: out of `x` into `out`. */
static void conv_block(struct model *m, int i, const char *x, int64_t ci, int64_t co,
		       const char *out)
{
	double bound = 1 / sqrt((double)ci * 9);
	char name[5][32], in[128];
	Onnx__NodeProto *n;

	snprintf(name[0], 32, "conv%d", i);
	snprintf(name[1], 32, "conv%d.weight", i);
	snprintf(name[2], 32, "conv%d.bias", i);
	snprintf(name[3], 32, "relu%d", i);
	snprintf(name[4], 32, "pool%d", i);
	weight(m, name[1], DIMS(co, ci, 3, 3), bound);
	weight(m, name[2], DIMS(co), bound);
	snprintf(in, sizeof(in), "%s %s %s", x, name[1], name[2]);
	n = node(m, "Conv", name[0], in, name[0]);
	attr_list(n, "kernel_shape", DIMS(3, 3));
	attr_list(n, "pads", DIMS(1, 1, 1, 1));
	attr_list(n, "strides", DIMS(1, 1));
	node(m, "Relu", name[3], name[0], name[3]);
	n = node(m, "MaxPool", name[4], name[3], out);
	attr_list(n, "kernel_shape", DIMS(2, 2));
	attr_list(n, "strides", DIMS(2, 2));
}

static void dense(struct model *m, const char *name, const char *x, int64_t in, int64_t out,
		  const char *y)
{
	double bound = 1 / sqrt((double)in);
	char w[64], b[64], inputs[200];

	snprintf(w, sizeof(w), "%s.weight", name);
	snprintf(b, sizeof(b), "%s.bias", name);
	weight(m, w, DIMS(out, in), bound);
	weight(m, b, DIMS(out), bound);
	snprintf(inputs, sizeof(inputs), "%s %s %s", x, w, b);
	attr_int(node(m, "Gemm", name, inputs, y), "transB", 1);
}

static void make_cnn(struct model *m, int64_t batch)
{
	input(m, "x", DIMS(batch, 1, 28, 28));
	conv_block(m, 1, "x", 1, 16, "pool1");
	conv_block(m, 2, "pool1", 16, 32, "pool2");
	attr_int(node(m, "Flatten", "flatten", "pool2", "flatten"), "axis", 1);
	dense(m, "fc1", "flatten", 1568, 128, "fc1");
	node(m, "Relu", "relu3", "fc1", "relu3");
	dense(m, "fc2", "relu3", 128, 10, "logits");
	output(m, "logits", DIMS(batch, 10));
}

static int make_mlp(struct model *m, int64_t batch, int64_t in, int64_t classes, const char *hidden)
{
	char last[32] = "x", name[32], act[32];
	int64_t width = in;
	int i = 1;

	input(m, "x", DIMS(batch, in));
	for (const char *s = hidden; *s; i++) {
		char *end;
		long h = strtol(s, &end, 10);

		if (end == s || h < 1 || h > 1 << 20 || (*end && *end != ','))
			return -1;
		snprintf(name, sizeof(name), "fc%d", i);
		snprintf(act, sizeof(act), "relu%d", i);
		dense(m, name, last, width, h, name);
		node(m, "Relu", act, name, act);
		strcpy(last, act);
		width = h;
		s = *end ? end + 1 : end;
	}
	snprintf(name, sizeof(name), "fc%d", i);
	dense(m, name, last, width, classes, "logits");
	output(m, "logits", DIMS(batch, classes));
	return 0;
}

static void make_gemm(struct model *m, int64_t rows, int64_t cols, int64_t k, bool weights,
		      bool bias, bool relu)
{
	input(m, "a", DIMS(rows, k));
	if (weights)
		weight(m, "b", DIMS(k, cols), 1 / sqrt((double)k));
	else
		input(m, "b", DIMS(k, cols));
	node(m, "MatMul", "matmul", "a b", bias || relu ? "matmul" : "y");
	if (bias) {
		weight(m, "bias", DIMS(cols), 1);
		node(m, "Add", "add", "matmul bias", relu ? "add" : "y");
	}
	if (relu)
		node(m, "Relu", "relu", bias ? "add" : "matmul", "y");
	output(m, "y", DIMS(rows, cols));
}

static void make_map(struct model *m, const char *op, int64_t rows, int64_t cols)
{
	input(m, "x", DIMS(rows, cols));
	node(m, op, "y", "x", "y");
	output(m, "y", DIMS(rows, cols));
}

static int write_model(struct model *m, const char *path, const char *kind)
{
	Onnx__OperatorSetIdProto opset = ONNX__OPERATOR_SET_ID_PROTO__INIT, *opsets[] = { &opset };
	Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
	char error[512];
	size_t size;
	void *data;
	int ret;

	opset.domain = (char *)"";
	opset.has_version = true;
	opset.version = 13;
	model.has_ir_version = true;
	model.ir_version = 7;
	model.producer_name = (char *)"rdu-mkmodel";
	model.n_opset_import = 1;
	model.opset_import = opsets;
	m->graph.name = (char *)kind;
	model.graph = &m->graph;
	size = onnx__model_proto__get_packed_size(&model);
	data = zalloc(size);
	onnx__model_proto__pack(&model, data);
	ret = write_whole_file(path, data, size, error, sizeof(error));
	free(data);
	if (ret)
		fprintf(stderr, "rdu-mkmodel: %s\n", error);
	return ret;
}

static const struct option options[] = {
	{ "batch", required_argument, NULL, 'b' },  { "m", required_argument, NULL, 'm' },
	{ "n", required_argument, NULL, 'n' },	    { "k", required_argument, NULL, 'k' },
	{ "seed", required_argument, NULL, 's' },   { "dtype", required_argument, NULL, 'd' },
	{ "hidden", required_argument, NULL, 'H' }, { "weights", no_argument, NULL, 'w' },
	{ "bias", no_argument, NULL, 'B' },	    { "relu", no_argument, NULL, 'R' },
	{ "help", no_argument, NULL, 'h' },	    { 0 },
};

/* The options of each kind: one that it has no use for is an error. */
static const struct kind {
	const char *name, *options;
} kinds[] = {
	{ "cnn", "obsd" },  { "mlp", "obmksdH" },  { "gemm", "omnksdwBR" },
	{ "relu", "omnd" }, { "softmax", "omnd" },
};

static bool takes(const char *kind, const char *given)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t known;

		if (strcmp(kinds[i].name, kind))
			continue;
		known = strspn(given, kinds[i].options);
		if (given[known])
			fprintf(stderr,
				"rdu-mkmodel: %s has no use for one of the options (--help)\n",
				kind);
		return !given[known];
	}
	fprintf(stderr, "rdu-mkmodel: unknown kind '%s'\n", kind);
	return false;
}

int main(int argc, char **argv)
{
	int64_t batch = 64, rows = 0, cols = 1024, k = 0, seed = 1, *value;
	const char *out = NULL, *hidden = "128", *kind;
	char given[32] = "";
	bool weights = false, bias = false, relu = false;
	struct model m = { .graph = ONNX__GRAPH_PROTO__INIT, .dtype = RDU_DT_F32 };
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
		value = NULL;
		if (strlen(given) + 1 < sizeof(given) && !strchr(given, c))
			given[strlen(given)] = (char)c;
		switch (c) {
		case 'o':
			out = optarg;
			break;
		case 'b':
			value = &batch;
			break;
		case 'm':
			value = &rows;
			break;
		case 'n':
			value = &cols;
			break;
		case 'k':
			value = &k;
			break;
		case 's':
			value = &seed;
			break;
		case 'H':
			hidden = optarg;
			break;
		case 'w':
			weights = true;
			break;
		case 'B':
			bias = true;
			break;
		case 'R':
			relu = true;
			break;
		case 'd':
			if (strcmp(optarg, "fp32") && strcmp(optarg, "bf16")) {
				fprintf(stderr, "rdu-mkmodel: unknown type '%s'\n", optarg);
				return EXIT_USAGE;
			}
			m.dtype = strcmp(optarg, "bf16") ? RDU_DT_F32 : RDU_DT_BF16;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			return EXIT_USAGE;
		}
		if (!value)
			continue;
		*value = strtoll(optarg, &end, 10);
		if (end == optarg || *end || *value < (c == 's' ? 0 : 1) || *value > 1 << 24) {
			fprintf(stderr, "rdu-mkmodel: '%s' is not a number that fits\n", optarg);
			return EXIT_USAGE;
		}
	}
	if (optind + 1 != argc || !out) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	kind = argv[optind];
	if (!takes(kind, given))
		return EXIT_USAGE;
	m.seed = (uint64_t)seed;
	if (!strcmp(kind, "cnn")) {
		make_cnn(&m, batch);
	} else if (!strcmp(kind, "mlp")) {
		if (make_mlp(&m, batch, k ? k : 784, rows ? rows : 10, hidden)) {
			fprintf(stderr, "rdu-mkmodel: --hidden takes H,H,..., not '%s'\n", hidden);
			return EXIT_USAGE;
		}
	} else if (!strcmp(kind, "gemm")) {
		make_gemm(&m, rows ? rows : 1024, cols, k ? k : 1024, weights, bias, relu);
	} else {
		make_map(&m, kind[0] == 'r' ? "Relu" : "Softmax", rows ? rows : 1024, cols);
	}
	return write_model(&m, out, kind) ? 1 : 0;
}
