// SPDX-License-Identifier: MIT
/*
 * rdu-mkmodel: nn.LSTM and nn.GRU as PyTorch exports them: a node a layer. The state is an input and an
 * output of the model, so that a caller can go on where it ended.
 */
#include <math.h>
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

static int make_gru(struct mk *m)
{
	int64_t batch = mk_size(m, "batch"), length = mk_size(m, "t");
	int64_t width = mk_size(m, "input"), hidden = mk_size(m, "hidden");
	int64_t layers = mk_size(m, "layers"), direction = 1;
	double bound = 1 / sqrt((double)hidden);
	const char *x = mk_input(m, "x", 0, DIMS(length, batch, width)), *hn = NULL;
	const char *h0 = mk_input(m, "h0", 0, DIMS(layers, batch, hidden));

	for (int64_t i = 0; i < layers; i++) {
		int k = (int)i;
		const char *w = mk_weight(m, mk_text("gru.weight_ih_l%d", k),
					  DIMS(1, 3 * hidden, width), bound);
		const char *r = mk_weight(m, mk_text("gru.weight_hh_l%d", k),
					  DIMS(1, 3 * hidden, hidden), bound);
		const char *b =
			mk_weight(m, mk_text("gru.bias_l%d", k), DIMS(1, 6 * hidden), bound);
		Onnx__NodeProto *n =
			MK_SCOPED(m, "gru", "GRU", x, w, r, b, "", state_of(m, h0, i, layers));

		mk_attr_int(n, "hidden_size", hidden);
		mk_attr_int(n, "linear_before_reset", 1);
		hn = concat_states(m, hn, mk_more_output(n));
		x = MK_OP(m, "gru", "Squeeze", n->output[0], mk_ints(m, "gru", 1, &direction, 1));
		width = hidden;
	}
	mk_output(m, "y", x, DIMS(length, batch, hidden));
	mk_output(m, "hn", hn, DIMS(layers, batch, hidden));
	return 0;
}

static int make_lstm(struct mk *m)
{
	int64_t batch = mk_size(m, "batch"), length = mk_size(m, "t");
	int64_t width = mk_size(m, "input"), hidden = mk_size(m, "hidden");
	int64_t layers = mk_size(m, "layers"), direction = 1;
	double bound = 1 / sqrt((double)hidden);
	const char *x = mk_input(m, "x", 0, DIMS(length, batch, width));
	const char *h0 = mk_input(m, "h0", 0, DIMS(layers, batch, hidden));
	const char *c0 = mk_input(m, "c0", 0, DIMS(layers, batch, hidden));
	const char *hn = NULL, *cn = NULL;

	for (int64_t i = 0; i < layers; i++) {
		int k = (int)i;
		const char *w = mk_weight(m, mk_text("lstm.weight_ih_l%d", k),
					  DIMS(1, 4 * hidden, width), bound);
		const char *r = mk_weight(m, mk_text("lstm.weight_hh_l%d", k),
					  DIMS(1, 4 * hidden, hidden), bound);
		const char *b =
			mk_weight(m, mk_text("lstm.bias_l%d", k), DIMS(1, 8 * hidden), bound);
		const char *h = state_of(m, h0, i, layers), *c = state_of(m, c0, i, layers);
		Onnx__NodeProto *n = MK_SCOPED(m, "lstm", "LSTM", x, w, r, b, "", h, c);

		mk_attr_int(n, "hidden_size", hidden);
		hn = concat_states(m, hn, mk_more_output(n));
		cn = concat_states(m, cn, mk_more_output(n));
		x = MK_OP(m, "lstm", "Squeeze", n->output[0], mk_ints(m, "lstm", 1, &direction, 1));
		width = hidden;
	}
	mk_output(m, "y", x, DIMS(length, batch, hidden));
	mk_output(m, "hn", hn, DIMS(layers, batch, hidden));
	mk_output(m, "cn", cn, DIMS(layers, batch, hidden));
	return 0;
}

#define SIZE(name, about, value, hi)                     \
	{                                                \
		name, MK_SIZE, about, value, 1, hi, NULL \
	}

const struct mk_family mk_lstm[] = {
	{ .name = "lstm",
	  .about = "x [T,N,INPUT] and a state to y [T,N,HIDDEN] and the state then: LSTM layers",
	  .make = make_lstm,
	  .option = { SIZE("batch", "sequences at once", 1, 1 << 16),
		      SIZE("t", "steps of a sequence", 25, 1 << 16),
		      SIZE("input", "numbers a step", 1024, 1 << 16),
		      SIZE("hidden", "numbers of the state", 1024, 1 << 14),
		      SIZE("layers", "layers", 1, 64) } },
	{ .name = "gru",
	  .about = "x [T,N,INPUT] and a state to y [T,N,HIDDEN] and the state then: GRU layers",
	  .make = make_gru,
	  .option = { SIZE("batch", "sequences at once", 1, 1 << 16),
		      SIZE("t", "steps of a sequence", 25, 1 << 16),
		      SIZE("input", "numbers a step", 1024, 1 << 16),
		      SIZE("hidden", "numbers of the state", 1024, 1 << 14),
		      SIZE("layers", "layers", 1, 64) } },
	{ 0 },
};
