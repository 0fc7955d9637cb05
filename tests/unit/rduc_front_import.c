// SPDX-License-Identifier: MIT
/*
 * ONNX files that are wrong, open, unsupported or strange: a text that names the
 * place, no crash, no leak. Each case changes one thing in a small valid model.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "graph.h"
#include "onnx.pb-c.h"

static int num, bad;

/* x [2,3] -> MatMul w [3,4] -> Relu -> y; everything in static storage. */
static struct {
	Onnx__ModelProto model;
	Onnx__GraphProto graph, *graph_p;
	Onnx__OperatorSetIdProto opset, *opset_p;
	Onnx__NodeProto node[3], *node_p[3];
	Onnx__ValueInfoProto in, out, *in_p, *out_p;
	Onnx__TypeProto type;
	Onnx__TypeProto__Tensor tensor;
	Onnx__TensorShapeProto shape;
	Onnx__TensorShapeProto__Dimension dim[2], *dim_p[2];
	Onnx__TensorProto weight, *weight_p;
	Onnx__AttributeProto attr, *attr_p;
	Onnx__StringStringEntryProto entry, *entry_p;
	char *matmul_in[2], *matmul_out[1], *relu_in[1], *relu_out[1], *third_in[2], *third_out[1];
	float data[12];
	int64_t weight_dims[2];
} m;

static void reset(void)
{
	memset(&m, 0, sizeof(m));
	onnx__model_proto__init(&m.model);
	onnx__graph_proto__init(&m.graph);
	onnx__operator_set_id_proto__init(&m.opset);
	onnx__value_info_proto__init(&m.in);
	onnx__value_info_proto__init(&m.out);
	onnx__type_proto__init(&m.type);
	onnx__type_proto__tensor__init(&m.tensor);
	onnx__tensor_shape_proto__init(&m.shape);
	onnx__tensor_proto__init(&m.weight);
	onnx__attribute_proto__init(&m.attr);
	onnx__string_string_entry_proto__init(&m.entry);
	for (int i = 0; i < 3; i++) {
		onnx__node_proto__init(&m.node[i]);
		m.node_p[i] = &m.node[i];
	}
	for (int i = 0; i < 2; i++) {
		onnx__tensor_shape_proto__dimension__init(&m.dim[i]);
		m.dim_p[i] = &m.dim[i];
		m.dim[i].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
		m.dim[i].dim_value = 2 + i;
	}
	m.attr_p = &m.attr;
	m.entry_p = &m.entry;
	m.graph_p = &m.graph;
	m.opset_p = &m.opset;
	m.in_p = &m.in;
	m.out_p = &m.out;
	m.weight_p = &m.weight;
	m.model.graph = &m.graph;
	m.model.n_opset_import = 1;
	m.model.opset_import = &m.opset_p;
	m.opset.has_version = true;
	m.opset.version = 13;
	m.shape.n_dim = 2;
	m.shape.dim = m.dim_p;
	m.tensor.has_elem_type = true;
	m.tensor.elem_type = 1;
	m.tensor.shape = &m.shape;
	m.type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
	m.type.tensor_type = &m.tensor;
	m.in.name = (char *)"x";
	m.in.type = &m.type;
	m.out.name = (char *)"y";
	m.graph.n_input = m.graph.n_output = m.graph.n_initializer = 1;
	m.graph.input = &m.in_p;
	m.graph.output = &m.out_p;
	m.graph.initializer = &m.weight_p;
	m.weight.name = (char *)"w";
	m.weight.has_data_type = true;
	m.weight.data_type = 1;
	m.weight_dims[0] = 3;
	m.weight_dims[1] = 4;
	m.weight.n_dims = 2;
	m.weight.dims = m.weight_dims;
	m.weight.has_raw_data = true;
	m.weight.raw_data.data = (uint8_t *)m.data;
	m.weight.raw_data.len = sizeof(m.data);
	m.matmul_in[0] = (char *)"x";
	m.matmul_in[1] = (char *)"w";
	m.matmul_out[0] = (char *)"h";
	m.relu_in[0] = (char *)"h";
	m.relu_out[0] = (char *)"y";
	m.node[0].op_type = (char *)"MatMul";
	m.node[0].name = (char *)"first";
	m.node[0].n_input = 2;
	m.node[0].input = m.matmul_in;
	m.node[0].n_output = 1;
	m.node[0].output = m.matmul_out;
	m.node[1].op_type = (char *)"Relu";
	m.node[1].name = (char *)"second";
	m.node[1].n_input = 1;
	m.node[1].input = m.relu_in;
	m.node[1].n_output = 1;
	m.node[1].output = m.relu_out;
	m.third_in[0] = (char *)"h";
	m.third_out[0] = (char *)"z";
	m.node[2] = m.node[1];
	m.node[2].name = (char *)"third";
	m.node[2].input = m.third_in;
	m.node[2].output = m.third_out;
	m.graph.n_node = 2;
	m.graph.node = m.node_p;
	m.attr.name = (char *)"axis";
	m.attr.has_type = true;
}

static uint8_t *pack(size_t *size)
{
	uint8_t *p;

	*size = onnx__model_proto__get_packed_size(&m.model);
	p = malloc(*size + 1);
	onnx__model_proto__pack(&m.model, p);
	return p;
}

static bool compiles(const void *data, size_t size, const struct import_options *opt, char *error,
		     int error_size)
{
	struct graph *g = graph_import(data, size, opt, error, error_size);
	struct module *mod = g && !graph_simplify(g) ? graph_patterns(g) : NULL;
	bool good = mod != NULL;

	module_free(mod);
	graph_free(g);
	return good;
}

static void tap(bool good, const char *what, const char *error)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++num, what);
	if (!good)
		printf("# it said: %s\n", error);
	bad += !good;
}

/* The model as it is now must be refused with this in the text. */
static void refused(const char *what, const char *with)
{
	char error[4096] = "";
	size_t size;
	uint8_t *p = pack(&size);
	bool good = !compiles(p, size, NULL, error, sizeof(error));

	free(p);
	tap(good && strstr(error, with), what, good ? error : "(nothing: it compiles)");
	reset();
}

static void taken(const char *what, const struct import_options *opt)
{
	char error[4096] = "";
	size_t size;
	uint8_t *p = pack(&size);

	tap(compiles(p, size, opt, error, sizeof(error)), what, error);
	free(p);
	reset();
}

static void files(void)
{
	char error[4096];
	size_t size;
	uint8_t *p = pack(&size), *q = malloc(size), *deep = malloc(400000);
	bool good = true;
	size_t at = 400000, inner = 0;

	for (size_t n = 0; n < size; n++) {
		*error = 0;
		if (compiles(p, n, NULL, error, sizeof(error)))
			good &= n > size - 8; /* the last field may be the opset's */
		else
			good &= *error != 0;
	}
	tap(good, "every truncation is refused", error);
	for (size_t i = 0; i < size * 8; i++) {
		memcpy(q, p, size);
		q[i / 8] ^= 1 << i % 8;
		*error = 0;
		good &= compiles(q, size, NULL, error, sizeof(error)) || *error;
	}
	tap(good, "every flipped bit is survived", error);
	/* graph in attribute in node in graph in ...: field 7 of the model, then
	 * 1 (node), 5 (attribute), 6 (graph). */
	for (int level = 0; at > 40; level++) {
		static const uint8_t field[3] = { 1 << 3 | 2, 5 << 3 | 2, 6 << 3 | 2 };
		size_t n = inner;
		uint8_t head[8];
		int h = 0;

		head[h++] = level < 30000 ? field[2 - level % 3] : 7 << 3 | 2;
		do {
			head[h++] = (n & 0x7f) | (n > 0x7f ? 0x80 : 0);
			n >>= 7;
		} while (n);
		at -= h;
		memcpy(deep + at, head, h);
		inner += h;
		if (level == 30000)
			break;
	}
	*error = 0;
	good = !compiles(deep + at, 400000 - at, NULL, error, sizeof(error));
	tap(good && *error, "messages nested 30000 deep", error);
	*error = 0;
	good = !compiles("hello, world", 12, NULL, error, sizeof(error));
	tap(good && strstr(error, "not an ONNX"), "a text file", error);
	*error = 0;
	good = !compiles("", 0, NULL, error, sizeof(error));
	tap(good && *error, "an empty file", error);
	free(deep);
	free(p);
	free(q);
	reset();
}

static void weights(void)
{
	m.weight.raw_data.len = 44;
	refused("weights shorter than their shape", "initializer 'w' has 44 bytes");
	m.weight_dims[0] = -3;
	refused("a negative dimension", "initializer 'w' has dimension -3");
	m.weight_dims[0] = 1ll << 40;
	refused("a huge dimension", "initializer 'w'");
	m.weight.data_type = 14;
	refused("complex numbers", "complex64");
	m.weight.has_data_location = true;
	m.weight.data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
	refused("data in another file", "another file");
	m.entry.key = (char *)"location";
	m.entry.value = (char *)"../../passwd";
	m.weight.n_external_data = 1;
	m.weight.external_data = &m.entry_p;
	refused("data in another file, the other way", "another file");
	m.weight.has_raw_data = false;
	m.weight.n_float_data = 12;
	m.weight.float_data = m.data;
	taken("weights as numbers", NULL);
	m.weight_dims[0] = 4;
	m.weight_dims[1] = 3;
	refused("shapes that do not fit", "node 'first' (MatMul)");
	m.weight.data_type = 2; /* uint8, by int32_data */
	m.weight.has_raw_data = false;
	m.weight.n_int32_data = 12;
	m.weight.int32_data = (int32_t[12]){ 0, 255, 5, 256 };
	refused("an element beyond its type", "initializer 'w': element 3 does not fit uint8");
	m.weight.data_type = 12; /* uint32, by uint64_data */
	m.weight.has_raw_data = false;
	m.weight.n_uint64_data = 12;
	m.weight.uint64_data = (uint64_t[12]){ UINT32_MAX, 1ull << 32 };
	refused("an uint32 beyond its type", "initializer 'w': element 1 does not fit uint32");
}

static void graphs(void)
{
	m.relu_in[0] = (char *)"nothing";
	refused("an input nobody makes", "node 'second' (Relu): input 'nothing'");
	m.matmul_in[0] = (char *)"y";
	refused("a cycle", "node 'second' (Relu): input 'h' is made of its own result: a cycle");
	m.node_p[0] = &m.node[1];
	m.node_p[1] = &m.node[0];
	taken("nodes out of order", NULL);
	m.graph.n_node = 3;
	m.third_out[0] = (char *)"y";
	refused("a value made twice", "node 'third' (Relu): output 'y' is defined twice");
	m.out.name = (char *)"z";
	refused("an output nobody makes", "output 'z'");
	m.graph.n_output = 0;
	refused("no outputs", "no outputs");
	m.model.graph = NULL;
	refused("no graph", "no graph");
	m.opset.has_version = false;
	refused("no version", "version");
	m.node[1].op_type = (char *)"Frobnicate";
	m.graph.n_node = 3;
	m.node[2].domain = (char *)"com.example";
	refused("unsupported operators, all at once", "'third' (com.example::Relu)");
	m.node[1].op_type = (char *)"Frobnicate";
	m.graph.n_node = 3;
	m.node[2].op_type = (char *)"Defenestrate";
	refused("unsupported operators, the first of them",
		"2 reasons against it:\n  node 'second' (Frobnicate): operator not supported\n"
		"  node 'third' (Defenestrate): operator not supported");
	m.node[1].op_type = (char *)"ConvGradInput";
	refused("an operator of the compiler's own", "(ConvGradInput)");
	m.node[1].n_input = 0;
	refused("too few inputs", "node 'second' (Relu): it has 0 inputs");
	m.node[1].n_output = 0;
	refused("no output", "node 'second' (Relu)");
	m.node[1].op_type = (char *)"Softmax";
	m.node[1].n_attribute = 1;
	m.node[1].attribute = &m.attr_p;
	m.attr.type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
	m.attr.has_i = true;
	m.attr.i = INT64_MIN;
	refused("an axis out of range", "node 'second' (Softmax): axis");
	m.node[1].op_type = (char *)"Transpose";
	m.node[1].n_attribute = 1;
	m.node[1].attribute = &m.attr_p;
	m.attr.name = (char *)"perm";
	m.attr.type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
	m.attr.n_ints = 2;
	m.attr.ints = (int64_t[]){ 1, 1 };
	refused("a permutation that is none", "node 'second' (Transpose): perm");
	m.out.name = (char *)"h";
	taken("an output that is used too", NULL);
	m.out.name = (char *)"x";
	taken("an output that is an input", NULL);
	m.out.name = (char *)"w";
	taken("an output that is a weight", NULL);
}

static void shapes(void)
{
	static const struct import_shape wide = { .name = "x", .ndim = 2, .dim = { 7, 3 } },
					 other = { .name = "q", .ndim = 1, .dim = { 7 } };
	char error[4096] = "";
	struct import_options opt = { .batch = 5 };
	size_t size;
	uint8_t *p;

	m.dim[0].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
	m.dim[0].dim_param = (char *)"N";
	refused("an open batch", "--batch N");
	m.dim[0].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
	m.dim[0].dim_param = (char *)"N";
	taken("a batch given", &opt);
	m.dim[1].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE__NOT_SET;
	refused("another open dimension", "--shape x=");
	m.tensor.shape = NULL;
	refused("no shape", "--shape x=");
	opt.shapes = &wide;
	opt.num_shapes = 1;
	m.tensor.shape = NULL;
	taken("a shape given", &opt);
	opt.shapes = &other;
	p = pack(&size);
	tap(!compiles(p, size, &opt, error, sizeof(error)) && strstr(error, "no such input"),
	    "a shape for an input that is not there", error);
	free(p);
	m.dim[0].dim_value = 0;
	taken("a dimension of zero", NULL);
	m.dim[0].dim_value = -1;
	refused("a dimension of minus one is open", "input 'x' has dimension 0 open");
	m.dim[0].dim_value = INT32_MAX;
	m.dim[1].dim_value = INT32_MAX;
	refused("too many elements", "input 'x'");
	m.tensor.elem_type = 8;
	refused("strings", "input 'x' has element type 8 (string)");
	m.in.type = NULL;
	refused("an input without type", "input 'x' is not a tensor");
}

/* What the table of operators does not know is refused: each in its own words. */
static void schema(void)
{
	m.opset.version = 99;
	refused("an opset of the future", "it uses opset 99: not supported");
	m.model.has_ir_version = true;
	m.model.ir_version = 99;
	refused("a format of the future", "IR version 99");
	m.node[1].n_attribute = 1;
	m.node[1].attribute = &m.attr_p;
	m.attr.type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
	m.attr.has_i = true;
	refused("an attribute that is none", "node 'second' (Relu): attribute 'axis' is unknown");
	m.node[1].n_attribute = 1;
	m.node[1].attribute = &m.attr_p;
	m.node[1].op_type = (char *)"Softmax";
	m.attr.type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
	m.attr.has_f = true;
	refused("an attribute of another type", "attribute 'axis' is not an integer");
	m.node[1].op_type = (char *)"Gelu";
	refused("an operator of a later opset", "opset 13 has no such operator: it came with 20");
	m.node[1].op_type = (char *)"Einsum";
	m.node[1].n_input = 2;
	m.node[1].input = m.matmul_in;
	refused("an attribute that is missing", "attribute 'equation' is missing");
	m.node[1].op_type = (char *)"StringNormalizer";
	refused("an operator that is not there", "(StringNormalizer): operator not supported");
}

/* Names of 400 nodes, 8 KB: nothing is cut off, and what repeats is counted. */
static void reasons(void)
{
	static Onnx__NodeProto node[400];
	static Onnx__NodeProto *node_p[400];
	static char name[400][24], op[400][24], *in[1], *out[400];
	static char error[1 << 20];
	size_t size;
	uint8_t *p;

	in[0] = m.relu_in[0];
	for (int i = 0; i < 400; i++) {
		onnx__node_proto__init(&node[i]);
		node_p[i] = &node[i];
		snprintf(name[i], sizeof(name[i]), "node_%d", i);
		/* Two of each operator. */
		snprintf(op[i], sizeof(op[i]), "Frobnicate%d", i / 2);
		out[i] = name[i];
		node[i].name = name[i];
		node[i].op_type = op[i];
		node[i].n_input = node[i].n_output = 1;
		node[i].input = in;
		node[i].output = &out[i];
	}
	in[0] = (char *)"x";
	m.graph.n_node = 400;
	m.graph.node = node_p;
	m.out.name = name[0];
	m.weight.data_type = 14;
	p = pack(&size);
	tap(!compiles(p, size, NULL, error, sizeof(error)) &&
		    strstr(error, "201 reasons against it:\n") &&
		    strstr(error, "initializer 'w' has element type complex64") &&
		    strstr(error, "node 'node_0' (Frobnicate0) and 1 more ('node_1'): operator") &&
		    strstr(error,
			   "node 'node_398' (Frobnicate199) and 1 more ('node_399'): operator"),
	    "every reason at once, whole, each once", error);
	tap(!compiles(p, size, NULL, error, 1000) && strlen(error) < 1000 &&
		    strstr(error, "more reasons"),
	    "reasons that do not fit are counted", error);
	free(p);
	reset();
}

static void declared(void)
{
	static Onnx__TensorShapeProto__Dimension dim[2], *dim_p[2] = { &dim[0], &dim[1] };
	static Onnx__TensorShapeProto shape;
	static Onnx__TypeProto__Tensor tensor;
	static Onnx__TypeProto type;
	static Onnx__ValueInfoProto between, *between_p = &between;

	for (int i = 0; i < 2; i++) {
		onnx__tensor_shape_proto__dimension__init(&dim[i]);
		dim[i].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
		dim[i].dim_value = i ? 4 : 2;
	}
	onnx__tensor_shape_proto__init(&shape);
	onnx__type_proto__tensor__init(&tensor);
	onnx__type_proto__init(&type);
	onnx__value_info_proto__init(&between);
	shape.n_dim = 2;
	shape.dim = dim_p;
	tensor.has_elem_type = true;
	tensor.elem_type = 1;
	tensor.shape = &shape;
	type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
	type.tensor_type = &tensor;
	between.name = (char *)"h";
	between.type = &type;
	m.out.type = &type;
	taken("the declared result", NULL);
	m.out.type = &type;
	dim[1].dim_value = 5;
	refused("another declared result",
		"node 'second' (Relu): 'y' is float[2,4], but the file declares float[2,5]");
	m.graph.n_value_info = 1;
	m.graph.value_info = &between_p;
	refused("another declared value between",
		"node 'first' (MatMul): 'h' is float[2,4], but the file declares float[2,5]");
	m.graph.n_value_info = 1;
	m.graph.value_info = &between_p;
	dim[1].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE__NOT_SET;
	taken("an open declared value", NULL);
	m.out.type = &type;
	tensor.elem_type = 7;
	refused("another declared type", "'y' is float[2,4], but the file declares int64[2,?]");
	m.out.type = &type;
	tensor.elem_type = 1;
	shape.n_dim = 1;
	refused("another declared rank", "'y' is float[2,4], but the file declares float[2]");
}

static void devices(void)
{
	char error[256] = "";
	size_t size;

	tap(!read_whole_file("/dev/zero", &size, error, sizeof(error)) && strstr(error, "device"),
	    "a device is not read", error);
	tap(!read_whole_file("/", &size, error, sizeof(error)) && strstr(error, "directory"),
	    "a folder is not read", error);
}

/* An input that no node reads is an input of the program all the same. */
static void unused_input(void)
{
	struct import_options opt = { 0 };
	Onnx__ValueInfoProto more, *both[] = { &m.in, &more };
	char error[300] = "";
	struct module *module = NULL;
	struct graph *g;
	bool found = false;
	size_t size;
	void *p;

	reset();
	more = m.in;
	more.name = (char *)"unused";
	m.graph.n_input = 2;
	m.graph.input = both;
	p = pack(&size);
	g = graph_import(p, size, &opt, error, sizeof(error));
	if (g && !graph_simplify(g))
		module = graph_patterns(g);
	for (int i = 0; module && i < module->num_tensors; i++)
		found |= module->tensors[i]->kind == TENSOR_INPUT &&
			 !strcmp(module->tensors[i]->name, "unused");
	tap(found, "an input that nothing reads stays", error);
	module_free(module);
	graph_free(g);
	free(p);
	reset();
}
int main(void)
{
	char name[64], other[64], text[200];

	reset();
	taken("the model as it is", NULL);
	files();
	weights();
	graphs();
	shapes();
	schema();
	reasons();
	declared();
	devices();
	unused_input();
	memset(text, 'a', sizeof(text));
	text[150] = 0;
	rduc_symbol_name(name, text);
	text[149] = 'b';
	rduc_symbol_name(other, text);
	tap(strlen(name) == 63 && strcmp(name, other), "long names are cut and stay different",
	    name);
	printf("1..%d\n", num);
	return bad != 0;
}
