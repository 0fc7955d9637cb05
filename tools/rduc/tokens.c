// SPDX-License-Identifier: MIT
/*
 * The card goes from token to token: of the graph of an entry point `decode`, which takes a token
 * and gives the logits of the next one, the entry points `generate` and `generate_step` are made.
 * The token and its place become states, as what the model remembers is, a token is chosen of the
 * logits (patterns_sample.c), and all that is in a loop.
 */
#include <string.h>
#include "graph.h"

/* ---- what numbers of an input are below -------------------------------------------------- */

/* Does a value hold the same numbers as another, elsewhere? */
static bool only_moves(const struct node *n)
{
	static const char *const ops[] = { "Identity", "Cast",	    "Reshape",	"Flatten",
					   "Squeeze",  "Unsqueeze", "Transpose" };

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (!strcmp(n->op->name, ops[i]))
			return true;
	return false;
}

int64_t graph_rows_of(const struct graph *g, const struct value *v)
{
	int64_t least = 0;

	for (int i = 0; i < (g->num_forward ? g->num_forward : g->num_nodes); i++) {
		const struct node *n = g->nodes[i];
		int64_t rows = 0, axis;

		if (n->num_in && n->in[0] == v && only_moves(n)) {
			rows = graph_rows_of(g, n->out[0]);
		} else if (n->num_in == 2 && n->in[1] == v && !strcmp(n->op->name, "Gather")) {
			axis = attr_i(n, "axis", 0);
			rows = n->in[0]->dim[axis < 0 ? axis + n->in[0]->ndim : axis];
		}
		if (rows && (!least || rows < least))
			least = rows;
	}
	return least;
}

/* ---- the loop over tokens ---------------------------------------------------------------- */

/* What decode takes and gives. */
struct decode {
	struct value *token, *position, *logits; /* position: NULL, there is none */
};

static const char *last_part(const char *name)
{
	const char *slash = strrchr(name, '/');

	return slash ? slash + 1 : name;
}

static int take_input(struct graph *g, struct value *v, struct decode *d)
{
	bool whole = v->dtype == RDU_DT_I64 || v->dtype == RDU_DT_I32;
	struct value **to = strstr(last_part(v->name), "position") ? &d->position : &d->token;

	if (!whole || *to)
		return graph_error(g,
				   "--tokens-per-run: input '%s' is neither its token nor its "
				   "position, and no state",
				   v->name);
	if (value_count(v) != 1)
		return graph_error(g, "--tokens-per-run: input '%s' is %s, not of one token",
				   v->name, value_shape_text(g, v));
	*to = v;
	return 0;
}

static int take_output(struct graph *g, struct decode *d)
{
	for (int i = 0; i < g->num_outputs; i++) {
		const struct graph_output *o = &g->outputs[i];

		if (!o->state && (!d->logits || !strcmp(last_part(o->name), "logits")))
			d->logits = value_resolve(o->value);
	}
	if (!d->token || !d->logits)
		return graph_error(g, "--tokens-per-run: it has no %s",
				   d->token ? "output, for logits"
					    : "input of a whole number, for tokens");
	if (value_is_bounded(d->logits))
		return graph_error(g, "--tokens-per-run: how large its output is depends on data");
	if (dtype_is_int(d->logits->dtype) || !d->logits->ndim ||
	    value_count(d->logits) != d->logits->dim[d->logits->ndim - 1] ||
	    !value_count(d->logits))
		return graph_error(g,
				   "--tokens-per-run: its output is %s%s, not logits of one token, "
				   "[..., vocabulary]",
				   dtype_name(d->logits->dtype), value_shape_text(g, d->logits));
	return 0;
}

static int find_decode(struct graph *g, struct decode *d)
{
	for (int i = 0; i < g->num_values; i++)
		if (g->values[i]->kind == TENSOR_INPUT && take_input(g, g->values[i], d))
			return -1;
	return take_output(g, d);
}

static struct value *number_value(struct graph *g, const char *name, enum tensor_kind kind,
				  enum rdu_dtype dtype)
{
	struct value *v = graph_value(g, name);

	v->kind = kind;
	v->dtype = dtype;
	v->ndim = 1;
	v->dim[0] = 1;
	v->model_state = kind == TENSOR_STATE;
	return v;
}

/* An input of decode is kept from token to token here, under a name that no model has. */
static void keep(struct graph *g, struct value *v, const char *name)
{
	v->kind = TENSOR_STATE;
	v->model_state = true;
	v->name = graph_strdup(g, name);
	v->tensor = NULL;
}

static struct value *one_more(struct graph *g, struct value *v)
{
	struct value *one = graph_const(g, v->dtype, 0, NULL, NULL);

	if (v->dtype == RDU_DT_I64)
		*(int64_t *)one->data = 1;
	else
		*(int32_t *)one->data = 1;
	return graph_op2(g, "Add", "next", v, one);
}

/* The logits of tokens that there are, as fp32: [vocabulary]. */
static struct value *take_logits(struct graph *g, const struct decode *d)
{
	int64_t width = value_count(d->logits), rows = graph_rows_of(g, d->token);
	struct value *v = graph_reshape(g, "sample", d->logits, 1, &width);

	if (v && rows && rows < width) {
		v = graph_slice(g, "sample", v, 0, 0, rows, false);
		width = rows;
	}
	if (width > SAMPLE_MAX_TOKENS) {
		graph_error(g, "--tokens-per-run: a vocabulary of %lld tokens, more than %d",
			    (long long)width, SAMPLE_MAX_TOKENS);
		return NULL;
	}
	return graph_cast(g, "sample", v, RDU_DT_F32);
}

static void add_state(struct graph_output *o, struct value *state, struct value *next)
{
	*o = (struct graph_output){ .name = next->name, .value = next, .state = state };
}

/* The outputs are the next states, and the token. number: NULL, it is not counted. */
static int set_outputs(struct graph *g, struct value *number, const struct decode *d,
		       struct value *token)
{
	struct graph_output *o = graph_alloc(g, ((size_t)g->num_outputs + 4) * sizeof(*o));
	struct value *next = graph_cast(g, "token", token, d->token->dtype), *position, *later;
	int num = 0;

	next = graph_reshape(g, "token", next, d->token->ndim, d->token->dim);
	later = number ? one_more(g, number) : NULL;
	position = d->position ? one_more(g, d->position) : NULL;
	if (!next || !later != !number || !position != !d->position)
		return -1;
	for (int i = 0; i < g->num_outputs; i++)
		if (g->outputs[i].state)
			o[num++] = g->outputs[i];
	add_state(&o[num++], d->token, next);
	if (number)
		add_state(&o[num++], number, later);
	if (d->position)
		add_state(&o[num++], d->position, position);
	o[num++] = (struct graph_output){ .name = token->name, .value = token };
	g->outputs = o;
	g->num_outputs = num;
	return 0;
}

/* A token chosen by inputs of generate, and its `number`. */
static struct value *sampled(struct graph *g, struct value *logits, struct value *number)
{
	struct sample_inputs in = {
		.temperature = number_value(g, "temperature", TENSOR_INPUT, RDU_DT_F32),
		.top_k = number_value(g, "top_k", TENSOR_INPUT, RDU_DT_U32),
		.top_p = number_value(g, "top_p", TENSOR_INPUT, RDU_DT_F32),
		.seed = number_value(g, "seed", TENSOR_INPUT, RDU_DT_U32),
		.number = number,
	};

	return graph_sample(g, logits, &in);
}

int graph_tokens(struct graph *g, struct module *m, int64_t n, bool greedy)
{
	struct value *logits, *token, *number = NULL;
	struct decode d = { 0 };

	if (find_decode(g, &d))
		return -1;
	logits = take_logits(g, &d);
	if (!logits)
		return -1;
	keep(g, d.token, "generate/last_token");
	if (d.position)
		keep(g, d.position, "generate/position");
	if (!greedy)
		number = number_value(g, "generate/number", TENSOR_STATE, RDU_DT_I64);
	token = greedy ? graph_likeliest(g, logits) : sampled(g, logits, number);
	if (!token)
		return -1;
	token->name = graph_strdup(g, "token");
	return set_outputs(g, number, &d, token) || graph_patterns_tokens(g, m, token, n) ? -1 : 0;
}
