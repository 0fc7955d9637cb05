// SPDX-License-Identifier: MIT
/*
 * Functions that a model brings along: each call becomes the nodes of the function's body, before
 * anything else is read of the file. What the body makes is named after the call.
 */
#include <stddef.h>
#include <string.h>
#include "graph.h"
#include "onnx.pb-c.h"

#define MOST_DEPTH 32 /* functions in functions, graphs in graphs */
#define MOST_NODES (1 << 18) /* that all calls become, with calls in between */
#define MOST_BYTES (1 << 30)

/* FunctionProto.attribute_proto: schemas before ONNX 1.14 don't have it. */
#define DEFAULTS_FIELD 11

struct inliner {
	struct graph *g;
	const Onnx__ModelProto *model;
	size_t num_nodes, num_bytes;
	int depth;
	const Onnx__FunctionProto *active[MOST_DEPTH];
	int num_active;
};

/* One call. */
struct call {
	struct inliner *in;
	const Onnx__FunctionProto *f;
	const Onnx__NodeProto *node;
	const char *prefix;
	size_t num_defaults;
	Onnx__AttributeProto **defaults;
	const char **inputs, **outputs; /* what the caller calls them; NULL: nothing takes it */
};

static const char *text(const char *s)
{
	return s ? s : "";
}

static void set_text(char **to, const char *s)
{
	char *copy = xstrdup(s);

	if (*to != protobuf_c_empty_string)
		free(*to);
	*to = copy;
}

static int refuse_call(struct inliner *in, const Onnx__NodeProto *node, const char *what)
{
	const char *name = text(node->name);

	for (size_t i = 0; i < node->n_output && !*name; i++)
		name = node->output[i];
	return graph_error(in->g, "node '%s' (%s::%s): %s", onnx_text(in->g, name),
			   onnx_text(in->g, text(node->domain)),
			   onnx_text(in->g, text(node->op_type)), what);
}

/* The function that a node calls. NULL: none. */
static const Onnx__FunctionProto *called(const struct inliner *in, const Onnx__NodeProto *node,
					 bool *several)
{
	const Onnx__FunctionProto *found = NULL;

	*several = false;
	for (size_t i = 0; i < in->model->n_functions; i++) {
		const Onnx__FunctionProto *f = in->model->functions[i];

		if (strcmp(text(f->name), text(node->op_type)) ||
		    strcmp(text(f->domain), text(node->domain)))
			continue;
		*several |= !!found;
		found = f;
	}
	return found;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* A name of the body, as it is around the call. */
static void rename_value(const struct call *c, char **name)
{
	if (!*text(*name))
		return;
	for (size_t i = 0; i < c->f->n_input; i++)
		if (!strcmp(c->f->input[i], *name)) {
			set_text(name, c->inputs[i]);
			return;
		}
	for (size_t i = 0; i < c->f->n_output; i++)
		if (c->outputs[i] && !strcmp(c->f->output[i], *name)) {
			set_text(name, c->outputs[i]);
			return;
		}
	set_text(name, graph_format(c->in->g, "%s/%s", c->prefix, *name));
}

static void rename_node(const struct call *c, Onnx__NodeProto *node);

static void rename_graph(const struct call *c, Onnx__GraphProto *p)
{
	for (size_t i = 0; i < p->n_node; i++)
		rename_node(c, p->node[i]);
	for (size_t i = 0; i < p->n_input; i++)
		rename_value(c, &p->input[i]->name);
	for (size_t i = 0; i < p->n_output; i++)
		rename_value(c, &p->output[i]->name);
	for (size_t i = 0; i < p->n_initializer; i++)
		rename_value(c, &p->initializer[i]->name);
}

static void rename_node(const struct call *c, Onnx__NodeProto *node)
{
	if (*text(node->name))
		set_text(&node->name, graph_format(c->in->g, "%s/%s", c->prefix, node->name));
	for (size_t i = 0; i < node->n_input; i++)
		rename_value(c, &node->input[i]);
	for (size_t i = 0; i < node->n_output; i++)
		rename_value(c, &node->output[i]);
	for (size_t i = 0; i < node->n_attribute; i++)
		if (node->attribute[i]->g)
			rename_graph(c, node->attribute[i]->g);
}

/* ---- attributes ------------------------------------------------------------------------------ */

static void *copied(struct inliner *in, const ProtobufCMessage *m,
		    const ProtobufCMessageDescriptor *d)
{
	size_t size = protobuf_c_message_get_packed_size(m);
	uint8_t *bytes = xmalloc(size + 1);
	void *copy;

	in->num_bytes += size;
	protobuf_c_message_pack(m, bytes);
	copy = protobuf_c_message_unpack(d, onnx_allocator(), size, bytes);
	free(bytes);
	return copy;
}

/* What attributes of a function are where a call says nothing, through whatever schema was built with. */
static void get_defaults(struct call *c)
{
	const ProtobufCMessage *m = &c->f->base;
	const ProtobufCFieldDescriptor *field =
		protobuf_c_message_descriptor_get_field(m->descriptor, DEFAULTS_FIELD);
	size_t num;
	Onnx__AttributeProto *a;

	if (field) {
		Onnx__AttributeProto **all;

		memcpy(&num, (const char *)m + field->quantifier_offset, sizeof(num));
		memcpy(&all, (const char *)m + field->offset, sizeof(all));
		c->defaults = graph_alloc(c->in->g, (num + 1) * sizeof(*c->defaults));
		for (size_t i = 0; i < num; i++)
			c->defaults[c->num_defaults++] =
				copied(c->in, &all[i]->base, &onnx__attribute_proto__descriptor);
		return;
	}
	c->defaults = graph_alloc(c->in->g, (m->n_unknown_fields + 1) * sizeof(*c->defaults));
	for (size_t i = 0; i < m->n_unknown_fields; i++) {
		const ProtobufCMessageUnknownField *u = &m->unknown_fields[i];

		if (u->tag != DEFAULTS_FIELD)
			continue;
		a = onnx_attribute(u->data, u->len);
		if (a)
			c->defaults[c->num_defaults++] = a;
	}
}

static const Onnx__AttributeProto *attribute_of(size_t num, Onnx__AttributeProto *const *a,
						const char *name)
{
	for (size_t i = 0; i < num; i++)
		if (!strcmp(text(a[i]->name), name))
			return a[i];
	return NULL;
}

static void fill_attributes(const struct call *c, Onnx__NodeProto *node);

static void fill_graph(const struct call *c, Onnx__GraphProto *p)
{
	for (size_t i = 0; i < p->n_node; i++)
		fill_attributes(c, p->node[i]);
}

/* Attributes of the body that are the function's become the call's, or their defaults; those that neither
 * says are not there. */
static void fill_attributes(const struct call *c, Onnx__NodeProto *node)
{
	size_t num = 0;

	for (size_t i = 0; i < node->n_attribute; i++) {
		Onnx__AttributeProto *a = node->attribute[i], *copy;
		const Onnx__AttributeProto *from;

		if (!*text(a->ref_attr_name)) {
			if (a->g)
				fill_graph(c, a->g);
			node->attribute[num++] = a;
			continue;
		}
		from = attribute_of(c->node->n_attribute, c->node->attribute, a->ref_attr_name);
		if (!from)
			from = attribute_of(c->num_defaults, c->defaults, a->ref_attr_name);
		if (from) {
			copy = copied(c->in, &from->base, &onnx__attribute_proto__descriptor);
			set_text(&copy->name, text(a->name));
			node->attribute[num++] = copy;
		}
		onnx__attribute_proto__free_unpacked(a, onnx_allocator());
	}
	node->n_attribute = num;
}

/* An attribute of a call that its function doesn't know is none that may be passed over. */
static int check_attributes(const struct call *c)
{
	for (size_t i = 0; i < c->node->n_attribute; i++) {
		const char *name = text(c->node->attribute[i]->name);
		bool known = attribute_of(c->num_defaults, c->defaults, name);

		for (size_t k = 0; k < c->f->n_attribute && !known; k++)
			known = !strcmp(c->f->attribute[k], name);
		if (!known)
			return refuse_call(c->in, c->node,
					   graph_format(c->in->g, "attribute '%s' is unknown",
							onnx_text(c->in->g, name)));
	}
	return 0;
}

/* ---- calls ----------------------------------------------------------------------------------- */

struct nodes {
	Onnx__NodeProto **node;
	size_t num;
	int room;
};

static void add_node(struct nodes *to, Onnx__NodeProto *node)
{
	to->node = xroom(to->node, (int)to->num, &to->room, sizeof(*to->node));
	to->node[to->num++] = node;
}

static int inline_node(struct inliner *in, struct nodes *to, Onnx__NodeProto *node);

/* An output that the body does not make under a name of its own. */
static Onnx__NodeProto *identity(struct inliner *in, const char *from, const char *to)
{
	static const char op[] = "Identity";
	char *input = (char *)from, *output = (char *)to;
	Onnx__NodeProto node = ONNX__NODE_PROTO__INIT;

	node.n_input = node.n_output = 1;
	node.input = &input;
	node.output = &output;
	node.op_type = (char *)op;
	return copied(in, &node.base, &onnx__node_proto__descriptor);
}

/* Which name each input and output has around the call. Outputs of one name, or that are inputs, are copies. */
static void bind_names(struct call *c, struct nodes *to)
{
	const Onnx__FunctionProto *f = c->f;
	struct graph *g = c->in->g;

	c->inputs = graph_alloc(g, (f->n_input + 1) * sizeof(*c->inputs));
	c->outputs = graph_alloc(g, (f->n_output + 1) * sizeof(*c->outputs));
	for (size_t i = 0; i < f->n_input; i++)
		c->inputs[i] = i < c->node->n_input ? c->node->input[i] : "";
	for (size_t i = 0; i < f->n_output && i < c->node->n_output; i++) {
		const char *from = NULL, *out = c->node->output[i];

		if (!*out)
			continue;
		for (size_t k = 0; k < f->n_input && !from; k++)
			from = strcmp(f->input[k], f->output[i]) ? NULL : c->inputs[k];
		for (size_t k = 0; k < i && !from; k++)
			from = strcmp(f->output[k], f->output[i]) ? NULL : c->outputs[k];
		if (from)
			add_node(to, identity(c->in, from, out));
		else
			c->outputs[i] = out;
	}
}

static int check_call(const struct call *c)
{
	const Onnx__FunctionProto *f = c->f;
	struct inliner *in = c->in;
	int64_t version;

	if (c->node->n_input > f->n_input || c->node->n_output > f->n_output)
		return refuse_call(
			in, c->node,
			graph_format(in->g,
				     "it has %zu inputs and %zu outputs, its function %zu and %zu",
				     c->node->n_input, c->node->n_output, f->n_input, f->n_output));
	for (int i = 0; i < in->num_active; i++)
		if (in->active[i] == f)
			return refuse_call(in, c->node, "its function calls itself");
	if (in->num_active == MOST_DEPTH)
		return refuse_call(in, c->node, "too many functions within functions");
	if (onnx_opset(in->g, f->n_opset_import, f->opset_import, &version))
		return -1;
	if (version && version != in->g->opset)
		return refuse_call(in, c->node,
				   graph_format(in->g,
						"its function is of opset %lld, the model of %d",
						(long long)version, in->g->opset));
	return check_attributes(c);
}

static int inline_body(struct call *c, struct nodes *to)
{
	struct inliner *in = c->in;
	int ret = 0;

	bind_names(c, to);
	in->active[in->num_active++] = c->f;
	for (size_t i = 0; i < c->f->n_node && !ret; i++) {
		Onnx__NodeProto *node =
			copied(in, &c->f->node[i]->base, &onnx__node_proto__descriptor);

		rename_node(c, node);
		fill_attributes(c, node);
		ret = inline_node(in, to, node);
	}
	in->num_active--;
	return ret;
}

static int inline_call(struct inliner *in, struct nodes *to, const Onnx__FunctionProto *f,
		       const Onnx__NodeProto *node)
{
	struct call c = { .in = in, .f = f, .node = node, .prefix = text(node->name) };
	int ret;

	/* Names of results are unique, those of nodes need not be. */
	for (size_t i = node->n_output; i-- > 0;)
		c.prefix = *node->output[i] ? node->output[i] : c.prefix;
	get_defaults(&c);
	ret = check_call(&c) || inline_body(&c, to) ? -1 : 0;
	for (size_t i = 0; i < c.num_defaults; i++)
		onnx__attribute_proto__free_unpacked(c.defaults[i], onnx_allocator());
	return ret;
}

static int inline_nodes(struct inliner *in, size_t *num, Onnx__NodeProto ***node);

/* Takes the node, whatever comes of it. */
static int inline_node(struct inliner *in, struct nodes *to, Onnx__NodeProto *node)
{
	bool several;
	const Onnx__FunctionProto *f = called(in, node, &several);
	int ret = 0;

	if (in->num_active && (++in->num_nodes > MOST_NODES || in->num_bytes > MOST_BYTES)) {
		add_node(to, node);
		return graph_error(in->g, "its functions become more than %d nodes, or %d bytes",
				   MOST_NODES, MOST_BYTES);
	}
	if (f) {
		ret = several ? refuse_call(in, node, "there are several functions of that name")
			      : inline_call(in, to, f, node);
		onnx__node_proto__free_unpacked(node, onnx_allocator());
		return ret;
	}
	add_node(to, node);
	for (size_t i = 0; i < node->n_attribute && !ret; i++) {
		Onnx__GraphProto *p = node->attribute[i]->g;

		if (p)
			ret = inline_nodes(in, &p->n_node, &p->node);
	}
	return ret;
}

static int inline_nodes(struct inliner *in, size_t *num, Onnx__NodeProto ***node)
{
	struct nodes to = { 0 };
	int ret = 0;

	if (in->depth == MOST_DEPTH)
		return graph_error(in->g, "it has too many graphs within graphs");
	in->depth++;
	for (size_t i = 0; i < *num; i++)
		if (ret)
			add_node(&to, (*node)[i]);
		else
			ret = inline_node(in, &to, (*node)[i]);
	in->depth--;
	free(*node);
	*node = to.node;
	*num = to.num;
	return ret;
}

int onnx_inline(struct graph *g, Onnx__ModelProto *m)
{
	struct inliner in = { .g = g, .model = m };

	return m->n_functions ? inline_nodes(&in, &m->graph->n_node, &m->graph->node) : 0;
}
