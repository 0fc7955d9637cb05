// SPDX-License-Identifier: MIT
/*
 * Which nodes of a graph run on the card: librduc is asked, with the nodes as a model.
 *
 * Nodes are looked at in an order in which each stands behind those that it reads from. A group
 * grows along it as far as it compiles; the node that ends it is passed over, with all that reads
 * from it, and the group grows on. Of what is left then, the next group is made.
 */
#include <stdlib.h>
#include <string.h>
#include "provider.h"

/* While nodes are chosen, sizes that the model leaves open are taken to be this. */
#define OPEN_SIZE 16

/* Instead of a node's number: the graph's inputs and outputs. */
#define OUTSIDE (~(size_t)0)

enum place {
	REFUSED = -1, /* it stays with ORT */
	UNDECIDED = 0, /* numbers of parts follow */
};

/* A value on its way from one node to another; constants are none. */
struct edge {
	const OrtValueInfo *value;
	size_t from, to;
};

/* The node that a value comes from. */
struct source {
	const OrtValueInfo *value;
	size_t node;
};

struct chooser {
	struct provider *p;
	const OrtGraph *graph;
	size_t num;
	const OrtNode **node;
	struct source *source; /* sorted by their addresses */
	size_t num_sources;
	struct edge *edge; /* in the order of the nodes that read, then the graph's outputs */
	size_t *first_edge, num_edges; /* of node i: up to the first of i + 1 */
	int *place, num_parts;
	size_t *order; /* of the nodes; those of a part stand together */
	bool *passed; /* over, while this group grows */
	bool *in; /* the group that is tried */
	bool *behind; /* the group, and not in it: what reads from it can't be in the group */
};

/* ---- the graph --------------------------------------------------------------- */

static int compare_values(const void *a, const void *b)
{
	const OrtValueInfo *x = ((const struct source *)a)->value,
			   *y = ((const struct source *)b)->value;

	return x < y ? -1 : x > y;
}

/* From the nodes' outputs: ORT's own call for it (1.23) crashes where an output is not there. */
static OrtStatus *read_sources(struct chooser *c)
{
	for (size_t i = 0; i < c->num; i++) {
		const OrtValueInfo **values;
		struct source *more;
		size_t num;

		TRY(node_outputs(c->node[i], &values, &num));
		more = realloc(c->source, (c->num_sources + num + 1) * sizeof(*more));
		if (more)
			c->source = more;
		for (size_t k = 0; k < num && more; k++)
			if (values[k])
				c->source[c->num_sources++] = (struct source){ values[k], i };
		free(values);
		if (!more)
			return out_of_memory();
	}
	qsort(c->source, c->num_sources, sizeof(*c->source), compare_values);
	return NULL;
}

static OrtStatus *add_edge(struct chooser *c, const OrtValueInfo *value, size_t to)
{
	const struct source key = { value, 0 }, *source;
	bool constant;

	TRY(ort->ValueInfo_IsConstantInitializer(value, &constant));
	if (constant)
		return NULL;
	source = bsearch(&key, c->source, c->num_sources, sizeof(key), compare_values);
	c->edge[c->num_edges++] =
		(struct edge){ .value = value, .from = source ? source->node : OUTSIDE, .to = to };
	return NULL;
}

static OrtStatus *add_edges(struct chooser *c, const OrtValueInfo *const *values, size_t num,
			    size_t to)
{
	struct edge *more = realloc(c->edge, (c->num_edges + num + 1) * sizeof(*more));

	if (!more)
		return out_of_memory();
	c->edge = more;
	for (size_t i = 0; i < num; i++)
		if (values[i])
			TRY(add_edge(c, values[i], to));
	return NULL;
}

static OrtStatus *read_edges(struct chooser *c)
{
	const OrtValueInfo **values;
	OrtStatus *status;
	size_t num;

	for (size_t i = 0; i < c->num; i++) {
		c->first_edge[i] = c->num_edges;
		TRY(node_inputs(c->node[i], &values, &num));
		status = add_edges(c, values, num, i);
		free(values);
		TRY(status);
	}
	c->first_edge[c->num] = c->num_edges;
	TRY(ort->Graph_GetNumOutputs(c->graph, &num));
	values = calloc(num + 1, sizeof(*values));
	if (!values)
		return out_of_memory();
	status = ort->Graph_GetOutputs(c->graph, values, num);
	if (!status)
		status = add_edges(c, values, num, OUTSIDE);
	free(values);
	return status;
}

static OrtStatus *refuse(struct chooser *c, size_t i, const char *why)
{
	const char *name, *type;

	c->place[i] = REFUSED;
	TRY(ort->Node_GetName(c->node[i], &name));
	TRY(ort->Node_GetOperatorType(c->node[i], &type));
	say(c->p, ORT_LOGGING_LEVEL_VERBOSE, "node %s (%s) stays with ONNX Runtime: %s", name, type,
	    why);
	return NULL;
}

static OrtStatus *refuse_all(struct chooser *c, const char *why)
{
	for (size_t i = 0; i < c->num; i++)
		if (c->place[i] == UNDECIDED)
			TRY(refuse(c, i, why));
	return NULL;
}

static OrtStatus *reads_around(const struct chooser *c, bool *found)
{
	for (size_t i = 0; i < c->num_edges && !*found; i++)
		TRY(ort->ValueInfo_IsFromOuterScope(c->edge[i].value, found));
	return NULL;
}

static OrtStatus *type_is(const OrtValueInfo *value, enum ONNXTensorElementDataType type, bool *is)
{
	const OrtTensorTypeAndShapeInfo *info;
	enum ONNXTensorElementDataType found;
	OrtStatus *no_tensor = tensor_type(value, &info);

	*is = false;
	ort->ReleaseStatus(no_tensor);
	if (no_tensor)
		return NULL;
	TRY(ort->GetTensorElementType(info, &found));
	*is = found == type;
	return NULL;
}

/*
 * Is the graph the body of a node? What it says of its parent node is nothing where it is asked
 * for parts (ONNX Runtime 1.23). A branch of an If has no inputs; the body of a Loop starts with
 * a number and a condition.
 */
static OrtStatus *is_body(const struct chooser *c, bool *body)
{
	const OrtValueInfo **in;
	const OrtNode *around;
	OrtStatus *status;
	bool second;
	size_t num;

	TRY(ort->Graph_GetParentNode(c->graph, &around));
	*body = around;
	TRY(reads_around(c, body));
	TRY(ort->Graph_GetNumInputs(c->graph, &num));
	*body = *body || !num;
	if (*body || num < 2)
		return NULL;
	in = calloc(num, sizeof(*in));
	if (!in)
		return out_of_memory();
	status = ort->Graph_GetInputs(c->graph, in, num);
	if (!status)
		status = type_is(in[0], ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, body);
	if (!status)
		status = type_is(in[1], ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL, &second);
	free(in);
	TRY(status);
	*body = *body && second;
	return NULL;
}

static OrtStatus *read_graph(struct chooser *c)
{
	TRY(ort->Graph_GetNumNodes(c->graph, &c->num));
	c->node = calloc(c->num + 1, sizeof(*c->node));
	c->first_edge = calloc(c->num + 1, sizeof(*c->first_edge));
	c->place = calloc(c->num + 1, sizeof(*c->place));
	c->order = calloc(c->num + 1, sizeof(*c->order));
	c->passed = calloc(c->num + 1, sizeof(*c->passed));
	c->in = calloc(c->num + 1, sizeof(*c->in));
	c->behind = calloc(c->num + 1, sizeof(*c->behind));
	if (!c->node || !c->first_edge || !c->place || !c->order || !c->passed || !c->in ||
	    !c->behind)
		return out_of_memory();
	TRY(ort->Graph_GetNodes(c->graph, c->node, c->num));
	TRY(read_sources(c));
	TRY(read_edges(c));
	for (size_t i = 0; i < c->num; i++) {
		const char *taken;

		c->order[i] = i;
		TRY(ort->Node_GetEpName(c->node[i], &taken));
		if (taken && *taken)
			TRY(refuse(c, i, "another execution provider has it"));
	}
	return NULL;
}

static void chooser_free(struct chooser *c)
{
	free(c->node);
	free(c->source);
	free(c->edge);
	free(c->first_edge);
	free(c->place);
	free(c->order);
	free(c->passed);
	free(c->in);
	free(c->behind);
}

/* ---- a group ----------------------------------------------------------------- */

static bool in_group(const struct chooser *c, size_t i)
{
	return i != OUTSIDE && c->in[i];
}

static bool is_behind(const struct chooser *c, size_t i)
{
	for (size_t e = c->first_edge[i]; e < c->first_edge[i + 1]; e++) {
		size_t from = c->edge[e].from;

		if (from != OUTSIDE && c->behind[from])
			return true;
	}
	return false;
}

static bool reads_group(const struct chooser *c, size_t i)
{
	for (size_t e = c->first_edge[i]; e < c->first_edge[i + 1]; e++)
		if (in_group(c, c->edge[e].from))
			return true;
	return false;
}

/* The group of those among the first `limit` nodes that can be in it: its size. */
static size_t group_of(struct chooser *c, size_t limit)
{
	size_t size = 0;

	memset(c->in, 0, c->num * sizeof(*c->in));
	memset(c->behind, 0, c->num * sizeof(*c->behind));
	for (size_t at = 0, end; at < c->num; at = end) {
		size_t first = c->order[at];
		bool behind = false, reads = false;

		/* A part of before is as one node. */
		for (end = at + 1; end < c->num && c->place[first] > UNDECIDED &&
				   c->place[c->order[end]] == c->place[first];)
			end++;
		for (size_t k = at; k < end; k++) {
			behind |= is_behind(c, c->order[k]);
			reads |= reads_group(c, c->order[k]);
		}
		if (at < limit && !behind && !c->passed[first] && c->place[first] == UNDECIDED) {
			c->in[first] = true;
			size++;
		}
		for (size_t k = at; k < end; k++)
			c->behind[c->order[k]] = !c->in[first] && (behind || reads);
	}
	return size;
}

static int compare_pointers(const void *a, const void *b)
{
	const OrtValueInfo *x = *(const OrtValueInfo *const *)a,
			   *y = *(const OrtValueInfo *const *)b;

	return x < y ? -1 : x > y;
}

static size_t each_once(const OrtValueInfo **values, size_t num)
{
	size_t n = 0;

	qsort(values, num, sizeof(*values), compare_pointers);
	for (size_t i = 0; i < num; i++)
		if (!n || values[n - 1] != values[i])
			values[n++] = values[i];
	return n;
}

static void part_free(struct part *p)
{
	free(p->node);
	free(p->in);
	free(p->out);
}

static OrtStatus *part_of_group(const struct chooser *c, struct part *p)
{
	*p = (struct part){ .node = calloc(c->num + 1, sizeof(*p->node)),
			    .in = calloc(c->num_edges + 1, sizeof(*p->in)),
			    .out = calloc(c->num_edges + 1, sizeof(*p->out)) };
	if (!p->node || !p->in || !p->out)
		return out_of_memory();
	for (size_t i = 0; i < c->num; i++)
		if (c->in[i])
			p->node[p->num_nodes++] = c->node[i];
	for (size_t i = 0; i < c->num_edges; i++) {
		const struct edge *e = &c->edge[i];
		bool from = in_group(c, e->from), to = in_group(c, e->to);

		if (to && !from)
			p->in[p->num_in++] = e->value;
		if (from && !to)
			p->out[p->num_out++] = e->value;
	}
	p->num_in = each_once(p->in, p->num_in);
	p->num_out = each_once(p->out, p->num_out);
	return NULL;
}

static OrtStatus *try_model(const struct chooser *c, const struct part *p, const struct model *m)
{
	struct rdu_shape *shapes = calloc(p->num_in + 1, sizeof(*shapes));
	OrtStatus *status = shapes ? NULL : out_of_memory();
	size_t num = 0;

	for (size_t i = 0; !status && i < p->num_in; i++) {
		status = input_shape(p->in[i], &shapes[num]);
		if (status || !shape_is_open(&shapes[num]))
			continue;
		for (uint32_t d = 0; d < shapes[num].ndim; d++)
			if (shapes[num].dims[d] < 0)
				shapes[num].dims[d] = OPEN_SIZE;
		num++;
	}
	if (!status)
		status = compile(c->p, m, shapes, num, true, NULL);
	free(shapes);
	return status;
}

/* Does the group compile? Else the status says why not. */
static OrtStatus *try_group(const struct chooser *c)
{
	struct model m = { NULL, 0 };
	struct part p;
	OrtStatus *status = part_of_group(c, &p);

	if (!status)
		status = model_of_part(c->graph, &p, &m);
	if (!status)
		status = try_model(c, &p, &m);
	free(m.data);
	part_free(&p);
	return status;
}

/*
 * The group of the first nodes up to `from` compiles: how far can it grow? *end: up to there;
 * *why: the node there is refused (NULL: all are in), to be released.
 */
static void grow(struct chooser *c, size_t from, size_t *end, OrtStatus **why)
{
	size_t good = from, bad = c->num, at = c->num;

	*why = NULL;
	while (good < bad) {
		OrtStatus *status = group_of(c, at) ? try_group(c) : NULL;

		if (status) {
			ort->ReleaseStatus(*why);
			*why = status;
			bad = at;
		} else {
			good = at;
		}
		if (bad - good <= 1 && *why)
			break;
		at = good + (bad - good) / 2;
	}
	*end = good;
}

/* ---- all groups -------------------------------------------------------------- */

static OrtStatus *try_alone(struct chooser *c, size_t i)
{
	memset(c->in, 0, c->num * sizeof(*c->in));
	c->in[i] = true;
	return try_group(c);
}

static OrtStatus *same_operator(const struct chooser *c, size_t i, size_t k, bool *same)
{
	const char *domain, *other_domain, *type, *other_type;

	TRY(ort->Node_GetDomain(c->node[i], &domain));
	TRY(ort->Node_GetDomain(c->node[k], &other_domain));
	TRY(ort->Node_GetOperatorType(c->node[i], &type));
	TRY(ort->Node_GetOperatorType(c->node[k], &other_type));
	*same = *domain && !strcmp(domain, other_domain) && !strcmp(type, other_type);
	return NULL;
}

/*
 * A node was refused alone. If ONNX does not define its operator, what there is more of it is
 * asked for now, rather than found one by one as what ends a group.
 */
static OrtStatus *refuse_alike(struct chooser *c, size_t i)
{
	for (size_t k = 0; k < c->num; k++) {
		OrtStatus *why, *status;
		bool same;

		if (c->place[k] != UNDECIDED)
			continue;
		TRY(same_operator(c, i, k, &same));
		why = same ? try_alone(c, k) : NULL;
		status = why ? refuse(c, k, ort->GetErrorMessage(why)) : NULL;
		ort->ReleaseStatus(why);
		TRY(status);
	}
	return NULL;
}

/* The node that ended the group is passed over; if it is refused alone, too, for good. */
static OrtStatus *pass(struct chooser *c, size_t i, size_t group_size, OrtStatus **why)
{
	c->passed[i] = true;
	if (group_size) {
		ort->ReleaseStatus(*why);
		*why = try_alone(c, i);
	}
	if (!*why)
		return NULL;
	TRY(refuse(c, i, ort->GetErrorMessage(*why)));
	return refuse_alike(c, i);
}

/* The next group of nodes that are undecided, in c->in: *size of them. */
static OrtStatus *next_group(struct chooser *c, size_t *size)
{
	OrtStatus *why, *status;

	memset(c->passed, 0, c->num * sizeof(*c->passed));
	for (size_t end = 0;; end++) {
		grow(c, end, &end, &why);
		*size = group_of(c, end);
		if (!why)
			return NULL;
		status = pass(c, c->order[end], *size, &why);
		ort->ReleaseStatus(why);
		TRY(status);
	}
}

/* Where a node stands in the order: a part's nodes stand together. */
static size_t unit_of(const struct chooser *c, size_t i)
{
	return c->place[i] > UNDECIDED ? c->num + (size_t)c->place[i] - 1 : i;
}

struct sorter {
	size_t *waits; /* of a unit: edges from others that are not in the order yet */
	size_t *ready; /* units */
	size_t *member,
		*next; /* of a unit its first node, of a node the next one; OUTSIDE: no more */
	size_t *edge, *next_edge; /* the same of a node's edges to others */
	size_t num_ready;
};

static void fill(const struct chooser *c, struct sorter *s, size_t units)
{
	memset(s->member, 0xff, units * sizeof(*s->member));
	memset(s->edge, 0xff, c->num * sizeof(*s->edge));
	for (size_t i = c->num; i-- > 0;) {
		s->next[i] = s->member[unit_of(c, i)];
		s->member[unit_of(c, i)] = i;
	}
	for (size_t e = 0; e < c->num_edges; e++) {
		size_t from = c->edge[e].from, to = c->edge[e].to;

		if (from == OUTSIDE || to == OUTSIDE || unit_of(c, from) == unit_of(c, to))
			continue;
		s->next_edge[e] = s->edge[from];
		s->edge[from] = e;
		s->waits[unit_of(c, to)]++;
	}
	for (size_t u = 0; u < units; u++)
		if (s->member[u] != OUTSIDE && !s->waits[u])
			s->ready[s->num_ready++] = u;
}

/* Nodes behind those that they read from, each part as one. */
static OrtStatus *sort_nodes(struct chooser *c)
{
	size_t units = c->num + (size_t)c->num_parts, done = 0;
	struct sorter s = { .waits = calloc(units + 1, sizeof(size_t)),
			    .ready = calloc(units + 1, sizeof(size_t)),
			    .member = calloc(units + 1, sizeof(size_t)),
			    .next = calloc(c->num + 1, sizeof(size_t)),
			    .edge = calloc(c->num + 1, sizeof(size_t)),
			    .next_edge = calloc(c->num_edges + 1, sizeof(size_t)) };
	bool memory = s.waits && s.ready && s.member && s.next && s.edge && s.next_edge;

	if (memory)
		fill(c, &s, units);
	for (size_t at = 0; at < s.num_ready; at++)
		for (size_t i = s.member[s.ready[at]]; i != OUTSIDE; i = s.next[i]) {
			c->order[done++] = i;
			for (size_t e = s.edge[i]; e != OUTSIDE; e = s.next_edge[e]) {
				size_t to = unit_of(c, c->edge[e].to);

				if (!--s.waits[to])
					s.ready[s.num_ready++] = to;
			}
		}
	free(s.waits);
	free(s.ready);
	free(s.member);
	free(s.next);
	free(s.edge);
	free(s.next_edge);
	if (!memory)
		return out_of_memory();
	return done == c->num ? NULL
			      : fail(ORT_INVALID_GRAPH, "the graph's nodes go round in a circle");
}

static OrtStatus *take_group(struct chooser *c, OrtEpGraphSupportInfo *info)
{
	const OrtNodeFusionOptions options = { .ort_version_supported = API_VERSION,
					       .drop_constant_initializers = true };
	struct part p;
	OrtStatus *status = part_of_group(c, &p);

	if (!status)
		status = ort_ep->EpGraphSupportInfo_AddNodesToFuse(info, p.node, p.num_nodes,
								   &options);
	part_free(&p);
	TRY(status);
	c->num_parts++;
	for (size_t i = 0; i < c->num; i++)
		if (c->in[i])
			c->place[i] = c->num_parts;
	return sort_nodes(c);
}

static OrtStatus *choose(struct chooser *c, OrtEpGraphSupportInfo *info)
{
	size_t size, taken = 0;
	bool body;

	TRY(read_graph(c));
	TRY(is_body(c, &body));
	if (body)
		return refuse_all(c, "it is in the body of another node, which runs as one");
	/* Parts get their names from ORT: numbers, which start again with each question. */
	if (c->p->chosen)
		return refuse_all(c, "parts of this session have been chosen before");
	for (;;) {
		TRY(next_group(c, &size));
		if (!size)
			break;
		TRY(take_group(c, info));
		taken += size;
	}
	c->p->chosen = taken;
	say(c->p, ORT_LOGGING_LEVEL_INFO, "%zu of %zu nodes in %d parts on the card", taken, c->num,
	    c->num_parts);
	return NULL;
}

OrtStatus *ORT_API_CALL choose_parts(OrtEp *ep, const OrtGraph *graph, OrtEpGraphSupportInfo *info)
{
	struct chooser c = { .p = (struct provider *)ep, .graph = graph };
	OrtStatus *status = choose(&c, info);

	chooser_free(&c);
	return status;
}
