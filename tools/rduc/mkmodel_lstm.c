// SPDX-License-Identifier: MIT
/*
 * rdu-mkmodel: nn.LSTM and nn.GRU as PyTorch exports them: a node a layer. The state is an input and an
 * output of the model, so that a caller can go on where it ended. With a vocabulary, a language model
 * of them: rows of an embedding go in, logits come out.
 */
#include <math.h>
#include "graph.h"
#include "mkmodel.h"

/* Rows `layer` of the states of all layers [LAYERS,N,HIDDEN]. */
static const char *state_of(struct mk *m, const char *states, int64_t layer, int64_t layers)
{
	int64_t from = layer, to = layer + 1, axis = 0;

	if (layers == 1)
		return states;
	return MK_OP(m, "", "Slice", states, mk_ints(m, "", 1, &from, 1), mk_ints(m, "", 1, &to, 1),
		     mk_ints(m, "", 1, &axis, 1));
}

static const char *concat_states(struct mk *m, const char *so_far, const char *next)
{
	Onnx__NodeProto *n;

	if (!so_far)
		return next;
	n = MK_SCOPED(m, "", "Concat", so_far, next);
	mk_attr_int(n, "axis", 0);
	return n->output[0];
}

struct sizes {
	const char *name; /* scope of the nodes, and first part of the weights' names */
	int64_t batch, length, width, hidden, layers, vocab;
	bool cell; /* LSTM: there is a cell beside the hidden state */
	bool stateful; /* of tokens: goes on where the last run ended */
};

/* The states of all layers in front of the first step; "": zeros. */
struct states {
	const char *h, *c;
};

/* y of a node, [T,1,N,hidden], without its direction. */
static const char *one_direction(struct mk *m, const struct sizes *s, const char *y)
{
	int64_t direction = 1;

	return MK_OP(m, s->name, "Squeeze", y, mk_ints(m, s->name, 1, &direction, 1));
}

/* Layer number i of x [T,N,width]: y [T,1,N,hidden], and its last states [1,N,hidden]. */
static const char *layer(struct mk *m, const struct sizes *s, int64_t i, const char *x,
			 const struct states *first, struct states *last)
{
	int64_t width = i ? s->hidden : s->width, gates = s->cell ? 4 : 3;
	double bound = 1 / sqrt((double)s->hidden);
	const char *name = s->name, *w, *r, *b;
	int k = (int)i;
	Onnx__NodeProto *n;

	w = mk_weight(m, mk_text("%s.weight_ih_l%d", name, k), DIMS(1, gates * s->hidden, width),
		      bound);
	r = mk_weight(m, mk_text("%s.weight_hh_l%d", name, k),
		      DIMS(1, gates * s->hidden, s->hidden), bound);
	b = mk_weight(m, mk_text("%s.bias_l%d", name, k), DIMS(1, 2 * gates * s->hidden), bound);
	if (s->cell)
		n = MK_SCOPED(m, name, "LSTM", x, w, r, b, "", first->h, first->c);
	else
		n = MK_SCOPED(m, name, "GRU", x, w, r, b, "", first->h);
	mk_attr_int(n, "hidden_size", s->hidden);
	if (!s->cell)
		mk_attr_int(n, "linear_before_reset", 1);
	last->h = mk_more_output(n);
	last->c = s->cell ? mk_more_output(n) : NULL;
	return n->output[0];
}

/* Of numbers: x, h0 and c0 to y, hn and cn. */
static int make_of_numbers(struct mk *m, const struct sizes *s)
{
	const char *x = mk_input(m, "x", 0, DIMS(s->length, s->batch, s->width));
	const char *h0 = mk_input(m, "h0", 0, DIMS(s->layers, s->batch, s->hidden)), *c0 = NULL;
	struct states first, last, all = { NULL, NULL };

	if (s->cell)
		c0 = mk_input(m, "c0", 0, DIMS(s->layers, s->batch, s->hidden));
	for (int64_t i = 0; i < s->layers; i++) {
		first.h = state_of(m, h0, i, s->layers);
		first.c = s->cell ? state_of(m, c0, i, s->layers) : NULL;
		x = layer(m, s, i, x, &first, &last);
		all.h = concat_states(m, all.h, last.h);
		all.c = s->cell ? concat_states(m, all.c, last.c) : NULL;
		x = one_direction(m, s, x);
	}
	mk_output(m, "y", x, DIMS(s->length, s->batch, s->hidden));
	mk_output(m, "hn", all.h, DIMS(s->layers, s->batch, s->hidden));
	if (s->cell)
		mk_output(m, "cn", all.c, DIMS(s->layers, s->batch, s->hidden));
	return 0;
}

static const char *past(struct mk *m, const struct sizes *s, int64_t i, const char *what)
{
	const char *v = mk_past(m, i, what, s->batch, s->hidden);

	return mk_reshape(m, s->name, v, DIMS(1, s->batch, s->hidden));
}

static void present(struct mk *m, const struct sizes *s, int64_t i, const char *what, const char *v)
{
	v = mk_reshape(m, s->name, v, DIMS(s->batch, s->hidden));
	mk_present(m, i, what, v, s->batch, s->hidden);
}

/* A language model: input_ids [N,T] to logits [N,T,VOCAB]. */
static int make_of_tokens(struct mk *m, const struct sizes *s)
{
	const char *x = mk_input(m, "input_ids", RDU_DT_I64, DIMS(s->batch, s->length));
	struct states first = { "", "" }, last;

	x = MK_OP(m, "emb", "Gather", mk_weight(m, "emb.weight", DIMS(s->vocab, s->width), 0.1), x);
	x = mk_transpose(m, s->name, x, DIMS(1, 0, 2));
	for (int64_t i = 0; i < s->layers; i++) {
		if (s->stateful)
			first.h = past(m, s, i, "h");
		if (s->stateful && s->cell)
			first.c = past(m, s, i, "c");
		x = one_direction(m, s, layer(m, s, i, x, &first, &last));
		if (s->stateful)
			present(m, s, i, "h", last.h);
		if (s->stateful && s->cell)
			present(m, s, i, "c", last.c);
	}
	x = mk_transpose(m, s->name, x, DIMS(1, 0, 2));
	x = mk_rows(m, "head", x, s->hidden, s->vocab, 1 / sqrt(3 * (double)s->hidden));
	mk_output(m, "logits", x, DIMS(s->batch, s->length, s->vocab));
	return 0;
}

static int make(struct mk *m, const char *name, bool cell)
{
	struct sizes s = { .name = name,
			   .batch = mk_size(m, "batch"),
			   .length = mk_size(m, "t"),
			   .width = mk_size(m, "input"),
			   .hidden = mk_size(m, "hidden"),
			   .layers = mk_size(m, "layers"),
			   .vocab = mk_size(m, "vocab"),
			   .cell = cell,
			   .stateful = mk_size(m, "state") };

	if (s.stateful && !s.vocab)
		return mk_refuse(m, "--state is of tokens (--vocab); of numbers, the state is an "
				    "input and an output anyway");
	return s.vocab ? make_of_tokens(m, &s) : make_of_numbers(m, &s);
}

static int make_gru(struct mk *m)
{
	return make(m, "gru", false);
}

static int make_lstm(struct mk *m)
{
	return make(m, "lstm", true);
}

#define SIZE(name, about, value, hi)                     \
	{                                                \
		name, MK_SIZE, about, value, 1, hi, NULL \
	}
#define TOKENS                                                                              \
	{ "vocab", MK_SIZE, "tokens that there are: a language model; 0: of numbers", 0, 0, \
	  1 << 20, NULL },                                                                  \
		MK_STATE

const struct mk_family mk_lstm[] = {
	{ .name = "lstm",
	  .about = "x [T,N,INPUT] and a state to y [T,N,HIDDEN] and the state then: LSTM layers",
	  .make = make_lstm,
	  .option = { SIZE("batch", "sequences at once", 1, 1 << 16),
		      SIZE("t", "steps of a sequence", 25, 1 << 16),
		      SIZE("input", "numbers a step", 1024, 1 << 16),
		      SIZE("hidden", "numbers of the state", 1024, 1 << 14),
		      SIZE("layers", "layers", 1, 64), TOKENS } },
	{ .name = "gru",
	  .about = "x [T,N,INPUT] and a state to y [T,N,HIDDEN] and the state then: GRU layers",
	  .make = make_gru,
	  .option = { SIZE("batch", "sequences at once", 1, 1 << 16),
		      SIZE("t", "steps of a sequence", 25, 1 << 16),
		      SIZE("input", "numbers a step", 1024, 1 << 16),
		      SIZE("hidden", "numbers of the state", 1024, 1 << 14),
		      SIZE("layers", "layers", 1, 64), TOKENS } },
	{ 0 },
};
