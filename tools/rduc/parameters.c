// SPDX-License-Identifier: MIT
/*
 * Which constants of a model are parameters, to be trained. ONNX doesn't say: exporters write
 * parameters, buffers (statistics, masks, anchors) and folded arithmetic alike. So what a
 * constant is used for decides, then its name, as exporters give them:
 *
 *   operand of a convolution or matrix product, scale or bias of a normalization, slope of
 *   PRelu, bias of a contraction (also where an Add of its own adds it)    a parameter
 *   table of Gather; anything else that meets activations                  by its name
 *   statistics, a table added to scores before a Softmax, values that are
 *   not finite, what no gradient can reach                                 not
 *
 * What becomes of a constant through operators that read nothing but constants (transposes,
 * weight normalization) is used as what comes out is used.
 *
 * Floating-point initializers of more than one element, and statistics, stay named tensors, trained or
 * not, in every entry point and in programs that don't train too: weights go from any program file of
 * a model to any other (rdu_program_restore). So do Constant nodes that are parameters.
 */
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "graph.h"

enum role {
	ROLE_OPERAND = 1 << 0, /* of a contraction */
	ROLE_NORM = 1 << 1, /* scale or bias of a normalization */
	ROLE_BIAS = 1 << 2, /* of a contraction */
	ROLE_SLOPE = 1 << 3,
	ROLE_TABLE = 1 << 4, /* looked up in */
	ROLE_OTHER = 1 << 5, /* meets activations in another way */
	ROLE_STATISTIC = 1 << 6,
	ROLE_SCORES = 1 << 7, /* added to what a Softmax takes */
	ROLE_STATIC = 1 << 8, /* must be known while compiling */
	ROLE_ADDED = 1 << 9, /* added to what a contraction makes: a bias, if a vector */
	ROLE_MASK = 1 << 10, /* multiplied with a weight of its shape, 0 and 1 throughout */
	/* Of any value: */
	FROM_CONSTANTS = 1 << 11,
	TO_SOFTMAX = 1 << 12,
	CONTRACTED = 1 << 13,
};

#define ROLES (FROM_CONSTANTS - 1)
#define SURE (ROLE_OPERAND | ROLE_NORM | ROLE_BIAS | ROLE_SLOPE)

static bool one_of(const char *name, const char *const *list)
{
	while (*list && strcmp(name, *list))
		list++;
	return *list;
}

static bool is_recurrent(const char *op)
{
	return one_of(op, (const char *const[]){ "LSTM", "GRU", "RNN", NULL });
}

static bool is_loss(const char *op)
{
	return one_of(op, (const char *const[]){ "NegativeLogLikelihoodLoss",
						 "SoftmaxCrossEntropyLoss", NULL });
}

static bool is_contraction(const char *op)
{
	return one_of(op, (const char *const[]){ "Conv", "ConvTranspose", "Gemm", "MatMul",
						 "Einsum", NULL });
}

/* Elements keep their values, or most of them. */
static bool is_view(const char *op)
{
	return one_of(op,
		      (const char *const[]){ "Reshape", "Flatten", "Squeeze", "Unsqueeze",
					     "Identity", "Dropout", "Cast", "Transpose", NULL });
}

static bool is_arithmetic(const char *op)
{
	return one_of(op, (const char *const[]){ "Add", "Sub", "Mul", "Div", "Where", "Max", "Min",
						 "Sum", "Clip", NULL });
}

static int wide_dims(const struct value *v)
{
	int num = 0;

	for (int i = 0; i < v->ndim; i++)
		num += v->dim[i] != 1;
	return num;
}

static bool constant_tensor(const struct value *v)
{
	return v->data && v->kind == TENSOR_WEIGHT && v->ndim >= 0;
}

/* ---- how it is used -------------------------------------------------------------------- */

/* The role of input k of a node that reads activations too. */
static unsigned int role_of(const struct node *n, int k)
{
	const char *op = n->op->name;
	unsigned int role = ROLE_OTHER;

	if (!strcmp(op, "BatchNormalization"))
		return k == 1 || k == 2 ? ROLE_NORM : ROLE_STATISTIC;
	if (one_of(op, (const char *const[]){ "LayerNormalization", "InstanceNormalization",
					      "GroupNormalization", NULL }))
		return k ? ROLE_NORM : ROLE_OTHER;
	if (is_contraction(op))
		return k == 2 && strcmp(op, "Einsum") ? ROLE_BIAS : ROLE_OPERAND;
	if (is_recurrent(op)) /* X, W, R, B, sequence_lens, initial_h, initial_c, P */
		return k == 1 || k == 2 ? ROLE_OPERAND : k == 3 || k == 7 ? ROLE_BIAS : ROLE_OTHER;
	if (!strcmp(op, "PRelu"))
		return k ? ROLE_SLOPE : ROLE_OTHER;
	if (!strcmp(op, "Gather") || !strcmp(op, "GatherElements"))
		return k ? 0 : ROLE_TABLE;
	if (!strcmp(op, "Resize") || !strcmp(op, "Upsample") || !strcmp(op, "OneHot"))
		return k ? ROLE_STATIC : ROLE_OTHER;
	if (n->op->stop_gradient || (k && is_loss(op))) /* weights of classes */
		return 0;
	if (is_arithmetic(op) && (n->out[0]->roles & TO_SOFTMAX))
		role |= ROLE_SCORES;
	if (!strcmp(op, "Add") && n->in[!k] && (n->in[!k]->roles & CONTRACTED))
		role |= ROLE_ADDED;
	return role;
}

static void look_forward(struct node *n)
{
	bool constants = true, contracted = is_contraction(n->op->name);

	for (int k = 0; k < n->num_in; k++)
		if (n->in[k] && !(n->in[k]->roles & FROM_CONSTANTS))
			constants = false;
	if (is_view(n->op->name) && n->num_in && n->in[0])
		contracted |= n->in[0]->roles & CONTRACTED;
	for (int k = 0; k < n->num_out; k++)
		if (n->out[k])
			n->out[k]->roles |=
				(constants ? FROM_CONSTANTS : 0) | (contracted ? CONTRACTED : 0);
}

static void look_back(struct node *n)
{
	const char *op = n->op->name;
	bool softmax = !strcmp(op, "Softmax") || !strcmp(op, "LogSoftmax");
	unsigned int carried = 0;

	for (int k = 0; k < n->num_out; k++)
		carried |= n->out[k] ? n->out[k]->roles : 0;
	if (carried & TO_SOFTMAX)
		softmax |= is_view(op) || is_arithmetic(op);
	/* What is added is the result, whose shape is not that of the constant: not its bias. */
	if (!is_view(op))
		carried &= ~(unsigned int)ROLE_ADDED;
	for (int k = 0; k < n->num_in; k++) {
		struct value *v = n->in[k];

		if (!v || (!k && !strcmp(op, "StraightThrough"))) /* no gradient goes to that */
			continue;
		if (softmax)
			v->roles |= TO_SOFTMAX;
		if (!(v->roles & FROM_CONSTANTS))
			continue;
		if (!(n->out[0]->roles & FROM_CONSTANTS) || role_of(n, k) == ROLE_STATIC)
			v->roles |= role_of(n, k);
		else if (!n->op->stop_gradient || (carried & ROLE_STATIC))
			v->roles |= (carried & ROLES) |
				    (!k && carried && !strcmp(op, "Gather") ? ROLE_TABLE : 0);
	}
}

/* Does it have zeros and ones, and nothing else? */
static bool zeros_and_ones(const struct value *v)
{
	bool seen[2] = { false, false };

	for (int64_t i = 0; i < value_count(v); i++) {
		double x = value_real(v, i);

		if (x != 0 && x != 1)
			return false;
		seen[x == 1] = true;
	}
	return seen[0] && seen[1];
}

/* Of two constants that are multiplied one may be the other's mask. */
static void look_for_mask(struct node *n)
{
	bool mask[2];

	if (strcmp(n->op->name, "Mul") || n->num_in != 2 || !constant_tensor(n->in[0]) ||
	    !constant_tensor(n->in[1]) || dtype_is_int(n->in[0]->dtype) || n->in[0]->ndim < 2 ||
	    !value_same_shape(n->in[0], n->in[1]))
		return;
	for (int k = 0; k < 2; k++)
		mask[k] = zeros_and_ones(n->in[k]);
	if (mask[0] != mask[1])
		n->in[mask[1]]->roles |= ROLE_MASK;
}

static const struct subgraph *body_of(const struct node *n)
{
	const struct attr *a = n->attrs;

	while (a && a->kind != ATTR_GRAPH)
		a = a->next;
	return a ? a->graph : NULL;
}

/* With the nodes of its body: what they read is a constant, or it is not. */
static void look_forward_all(struct node *n)
{
	const struct subgraph *s = body_of(n);

	for (int i = 0; s && i < s->num_nodes; i++)
		look_forward_all(s->nodes[i]);
	look_forward(n);
}

static void look_back_all(struct node *n)
{
	const struct subgraph *s = body_of(n);

	if (!s) {
		look_back(n);
		return;
	}
	for (int i = 0; i < s->num_out; i++)
		if (s->out[i]->roles & FROM_CONSTANTS)
			s->out[i]->roles |= ROLE_OTHER;
	for (int i = s->num_nodes - 1; i >= 0; i--)
		look_back_all(s->nodes[i]);
	for (int k = 0; k < n->num_real; k++) /* what the body reads itself has its roles by now */
		if (n->in[k] && (n->in[k]->roles & FROM_CONSTANTS))
			n->in[k]->roles |= ROLE_OTHER;
}

/* ---- what its name says ---------------------------------------------------------------- */

/* The name's last part: "mask" of "decoder.0.mask". */
static const char *last_part(const char *name)
{
	const char *end = name + strlen(name);

	while (end > name && end[-1] != '.' && end[-1] != '/' && end[-1] != ':')
		end--;
	return end;
}

static bool matches(const char *name, const char *const *patterns)
{
	for (; *patterns; patterns++)
		if (!fnmatch(*patterns, name, FNM_CASEFOLD))
			return true;
	return false;
}

/* Names that PyTorch modules give to buffers. */
static bool names_buffer(const char *name)
{
	return matches(last_part(name),
		       (const char *const[]){
			       "running_mean", "running_var", "inv_freq", "freqs*",    "mask",
			       "*_mask",       "masked_bias", "anchor*",  "*_anchors", "grid",
			       "stride",       "strides",     "*_cached", "cos",       "sin",
			       "pe",	       "mean",	      "std",	  "*_mean",    "*_std",
			       "position_ids", "mel_filters", NULL });
}

/* Names that exporters make up for what wasn't a variable. */
static bool names_constant(const char *name)
{
	return name[strspn(name, "0123456789")] == 0 ||
	       matches(name,
		       (const char *const[]){ "onnx::*", "*Constant*", "*const_fold*", "Const",
					      "Const_[0-9]*", "*/Const:0", "*/Const_[0-9]*:0",
					      "*/[xy]:0", "_v_[0-9]*", NULL });
}

/* Names that PyTorch, TensorFlow and PaddlePaddle give to parameters. */
static bool names_parameter(const char *name)
{
	return matches(name, (const char *const[]){ "*weight", "*bias", "*gamma", "*beta",
						    "*kernel", "*embed*", "*token", "*.[wb]_[0-9]*",
						    "*scale", "*ReadVariableOp:0", NULL });
}

static bool all_finite(const struct value *v)
{
	int64_t n = value_count(v);

	for (int64_t i = 0; i < n; i++)
		if (!isfinite(value_real(v, i)))
			return false;
	return true;
}

/* Is it a parameter, and why (not). node: it comes from a Constant node. */
static bool judge(struct value *v, bool node, const char **why)
{
	unsigned int r = v->roles & ROLES;

	if (r & ROLE_ADDED && wide_dims(v) <= 1)
		r |= ROLE_BIAS;
	if (wide_dims(v) <= 1)
		r &= ~ROLE_SCORES;
	if (!all_finite(v)) {
		*why = "its values are not all finite";
		return false;
	}
	*why = r & ROLE_OPERAND ? "operand of a contraction"
	       : r & ROLE_NORM	? "scale or bias of a normalization"
	       : r & ROLE_BIAS	? "bias"
	       : r & ROLE_SLOPE ? "slope of PRelu"
	       : r & ROLE_TABLE ? "table that is looked up in"
				: "used with activations";
	if (!(r & ~ROLE_STATIC))
		*why = r ? "fixed while compiling" : "no gradient reaches it";
	else if (r == ROLE_STATISTIC)
		*why = "statistics of a normalization";
	else if (r & ROLE_MASK)
		*why = "a weight's mask";
	else if (names_buffer(v->name))
		*why = "a buffer, by its name";
	else if (r & SURE)
		return true;
	else if (r & ROLE_SCORES && !(r & ROLE_TABLE))
		*why = "added to scores, a mask";
	else if (value_count(v) == 1)
		*why = "one number";
	else if (names_constant(v->name))
		*why = "a constant, by its name";
	else if (!node || names_parameter(v->name))
		return true;
	else
		*why = "a Constant node";
	return false;
}

/* ---- what the user wants ------------------------------------------------------------------ */

/* Whether one of the patterns matches; counts the hits of each. exact: by its very name. */
static bool selected(const struct name_patterns *p, const char *name, int *hits, bool *exact)
{
	bool found = false;

	*exact = false;
	for (int i = 0; i < p->num; i++) {
		bool same = !strcmp(p->pattern[i], name);

		if (!same && fnmatch(p->pattern[i], name, 0))
			continue;
		hits[i]++;
		*exact |= same;
		found = true;
	}
	return found;
}

static int check_hits(struct graph *g, const char *option, const struct name_patterns *p,
		      const int *hits)
{
	for (int i = 0; i < p->num; i++)
		if (!hits[i])
			return graph_error(g, "%s %s: no floating-point weight has such a name",
					   option, p->pattern[i]);
	return 0;
}

static int ask_user(struct graph *g, const struct import_options *opt)
{
	int *only = graph_alloc(g, (opt->train_only.num + 1) * sizeof(int));
	int *freeze = graph_alloc(g, (opt->freeze.num + 1) * sizeof(int));
	int *no_decay = graph_alloc(g, (opt->no_decay.num + 1) * sizeof(int));

	for (int i = 0; i < g->num_values; i++) {
		struct value *v = g->values[i];
		bool exact, frozen;

		if (!v->why)
			continue;
		if (opt->train_only.num) {
			bool wanted = selected(&opt->train_only, v->name, only, &exact);

			if (wanted && exact && !v->trainable)
				v->why = "--train-only names it";
			if (!wanted && v->trainable)
				v->why = "--train-only leaves it out";
			v->trainable = wanted && (v->trainable || exact);
		}
		v->no_decay = selected(&opt->no_decay, v->name, no_decay, &exact);
		frozen = selected(&opt->freeze, v->name, freeze, &exact);
		if (frozen && v->trainable)
			v->why = "--freeze";
		v->trainable &= !frozen;
	}
	return check_hits(g, "--train-only", &opt->train_only, only) ||
			       check_hits(g, "--freeze", &opt->freeze, freeze) ||
			       check_hits(g, "--no-decay", &opt->no_decay, no_decay)
		       ? -1
		       : 0;
}

/* ---- the pass ------------------------------------------------------------------------------- */

/*
 * PyTorch writes parameters that are equal (all 0, all 1: not trained yet) once, and an
 * Identity with the other's name. Tied weights, which are one parameter, differ in their
 * elements.
 */
static bool merged(const struct node *n)
{
	const struct value *v = n->num_in ? n->in[0] : NULL;
	int64_t bytes;

	if (strcmp(n->op->name, "Identity") || !constant_tensor(v) || dtype_is_int(v->dtype) ||
	    value_count(v) < 2)
		return false;
	bytes = value_count(v) * dtype_bytes(v->dtype);
	return !memcmp(v->data, (char *)v->data + dtype_bytes(v->dtype),
		       bytes - dtype_bytes(v->dtype));
}

/* The contents of a Constant node, or of a merged parameter, as its output's own. */
static void take_contents(struct graph *g, struct node *n)
{
	struct value *v = n->out[0];
	struct attr *a = node_attr(n, "value"), *floats = node_attr(n, "value_floats");

	if (merged(n)) {
		v->dtype = n->in[0]->dtype;
		v->ndim = n->in[0]->ndim;
		memcpy(v->dim, n->in[0]->dim, sizeof(v->dim));
		v->data = n->in[0]->data;
		v->shared = n->in[0]->shared;
		v->initializer = true;
		v->producer = NULL;
	} else if (strcmp(n->op->name, "Constant")) {
		return;
	} else if (a && a->kind == ATTR_TENSOR) {
		v->dtype = a->tensor->dtype;
		v->ndim = a->tensor->ndim;
		memcpy(v->dim, a->tensor->dim, sizeof(v->dim));
		v->data = a->tensor->data;
		v->shared = a->tensor->shared;
	} else if (floats && floats->kind == ATTR_FLOATS) {
		v->dtype = RDU_DT_F32;
		v->ndim = 1;
		v->dim[0] = floats->num;
		v->data = graph_alloc(g, (floats->num + 1) * sizeof(float));
		memcpy(v->data, floats->floats, floats->num * sizeof(float));
	} else {
		return;
	}
	v->kind = TENSOR_WEIGHT;
}

/* Nodes whose results are constants now go, but for Constant nodes that stay what they are. */
static void settle_nodes(struct graph *g)
{
	int kept = 0;

	for (int i = 0; i < g->num_nodes; i++) {
		struct node *n = g->nodes[i];
		struct value *v = n->num_out ? n->out[0] : NULL;

		if (v && constant_tensor(v) && (!v->producer || !v->constant)) {
			v->producer = NULL;
			continue;
		}
		if (v && constant_tensor(v)) {
			v->kind = TENSOR_TEMP;
			v->ndim = -1;
			v->data = NULL;
			v->why = NULL;
		}
		g->nodes[kept++] = n;
	}
	g->num_nodes = kept;
}

/* What is a named tensor in the first graph of a program is none that may be folded here. */
static void share_parameters(struct graph *g, const struct graph *first)
{
	for (int i = 0; i < g->num_values; i++) {
		struct value *v = g->values[i];
		const struct value *w = v->why ? graph_find((struct graph *)first, v->name) : NULL;

		if (w && w->kind == TENSOR_WEIGHT && w->data && !w->constant)
			v->constant = false;
	}
}

int graph_parameters(struct graph *g, const struct import_options *opt)
{
	for (int i = 0; i < g->num_nodes; i++)
		take_contents(g, g->nodes[i]);
	for (int i = 0; i < g->num_values; i++)
		if (constant_tensor(g->values[i]))
			g->values[i]->roles = FROM_CONSTANTS;
	for (int i = 0; i < g->num_nodes; i++)
		look_forward_all(g->nodes[i]);
	for (int i = 0; i < g->num_outputs; i++) /* a constant that is a result */
		if (g->outputs[i].value->roles & FROM_CONSTANTS)
			g->outputs[i].value->roles |= ROLE_OTHER;
	for (int i = g->num_nodes - 1; i >= 0; i--)
		look_back_all(g->nodes[i]);
	for (int i = 0; i < g->num_nodes; i++)
		look_for_mask(g->nodes[i]);
	for (int i = 0; i < g->num_values; i++) {
		struct value *v = g->values[i];

		v->constant = constant_tensor(v);
		v->trainable = false;
		if (!v->constant || v->given || dtype_is_int(v->dtype))
			continue;
		v->trainable = judge(v, v->producer != NULL, &v->why);
		if (v->trainable ||
		    (v->initializer && (value_count(v) > 1 || (v->roles & ROLE_STATISTIC))))
			v->constant = v->roles & (ROLE_STATIC | ROLE_MASK);
	}
	if (ask_user(g, opt))
		return -1;
	for (int i = 0; opt->constant_weights && i < g->num_values; i++)
		if (constant_tensor(g->values[i])) {
			g->values[i]->constant = true;
			g->values[i]->trainable = false;
		}
	for (int i = 0; i < g->num_values; i++)
		g->values[i]->constant &= !g->values[i]->trainable;
	if (opt->first)
		share_parameters(g, opt->first);
	settle_nodes(g);
	return 0;
}

void graph_print_parameters(const struct graph *g, void *file)
{
	for (int i = 0; i < g->num_values; i++) {
		const struct value *v = g->values[i];
		bool trained = v->trainable && v->grad;
		char shape[200] = "[";

		if (!v->why || (!v->trainable && value_count(v) <= 1))
			continue;
		for (int d = 0, at = 1; d < (v->packing ? 2 : v->ndim); d++)
			at += snprintf(shape + at, sizeof(shape) - at, "%s%lld", d ? "," : "",
				       (long long)(v->packing ? v->packing->dim : v->dim)[d]);
		fprintf(file, "%-8s %s %s]: %s\n", trained ? "trained" : "fixed", v->name, shape,
			v->trainable && !trained ? "no gradient reaches it" : v->why);
	}
}
