// SPDX-License-Identifier: MIT
/*
 * rdu-mkmodel: RWKV-4, a language model with a recurrence in the place of attention. Weights
 * have the names of its training code. Sums of exponentials are kept over e^o, o being the
 * largest exponent so far, so that none overflows.
 */
#include <math.h>
#include <stdlib.h>
#include "graph.h"
#include "mem.h"
#include "mkmodel.h"

struct sizes {
	int64_t batch, length, width, inner;
	bool stateful; /* goes on where the last run ended */
};

/* What starts here where nothing came before: the least exponent. */
#define LEAST 1e38

static const char *norm(struct mk *m, const char *path, const char *x, int64_t width)
{
	return mk_layer_norm(m, path, path, x, width);
}

static const char *product(struct mk *m, const char *path, const char *x, int64_t in, int64_t out)
{
	return mk_rows(m, path, x, in, out, 1 / sqrt(3 * (double)in));
}

/* The last row of [B,T,d] becomes the state; the one that the run before left, [B,1,d]. */
static const char *last_row(struct mk *m, const char *path, const char *what, const char *x,
			    const struct sizes *s, int64_t layer)
{
	const char *past = mk_past(m, layer, what, s->batch, s->width);
	int64_t at = s->length - 1, end = s->length, axis = 1;

	x = MK_OP(m, path, "Slice", x, mk_ints(m, path, 1, &at, 1), mk_ints(m, path, 1, &end, 1),
		  mk_ints(m, path, 1, &axis, 1));
	x = mk_reshape(m, path, x, DIMS(s->batch, s->width));
	mk_present(m, layer, what, x, s->batch, s->width);
	return mk_reshape(m, path, past, DIMS(s->batch, 1, s->width));
}

/* The rows of [B,T,d] one further: row 0 is 0, or the last run's last one, of the state `what`. */
static const char *shifted(struct mk *m, const char *path, const char *what, const char *x,
			   const struct sizes *s, int64_t layer)
{
	int64_t from = 0, to = s->length - 1, axis = 1;
	const char *zero = s->stateful ? last_row(m, path, what, x, s, layer)
				       : mk_zeros(m, path, DIMS(s->batch, 1, s->width));
	Onnx__NodeProto *n;

	if (s->length == 1)
		return zero;
	x = MK_OP(m, path, "Slice", x, mk_ints(m, path, 1, &from, 1), mk_ints(m, path, 1, &to, 1),
		  mk_ints(m, path, 1, &axis, 1));
	n = MK_SCOPED(m, path, "Concat", zero, x);
	mk_attr_int(n, "axis", 1);
	return n->output[0];
}

/* x mu + before (1 - mu) */
static const char *mixed(struct mk *m, const char *path, const char *what, const char *x,
			 const char *before, int64_t width)
{
	const char *mu =
		mk_filled(m, mk_text("%s.time_mix_%s", path, what), DIMS(1, 1, width), 0.5);

	x = MK_OP(m, path, "Mul", x, mu);
	mu = MK_OP(m, path, "Sub", mk_scalar(m, path, 1), mu);
	return MK_OP(m, path, "Add", x, MK_OP(m, path, "Mul", before, mu));
}

/* p and q, which are sums over e^o, with e^exponent value and e^exponent; out: the new ones. */
struct sums {
	const char *p, *q, *o;
};

static struct sums added(struct mk *m, const char *path, const struct sums *s, const char *exponent,
			 const char *value)
{
	const char *most = MK_OP(m, path, "Max", s->o, exponent);
	const char *a = MK_OP(m, path, "Exp", MK_OP(m, path, "Sub", s->o, most));
	const char *b = MK_OP(m, path, "Exp", MK_OP(m, path, "Sub", exponent, most));

	return (struct sums){ MK_OP(m, path, "Add", MK_OP(m, path, "Mul", a, s->p),
				    MK_OP(m, path, "Mul", b, value)),
			      MK_OP(m, path, "Add", MK_OP(m, path, "Mul", a, s->q), b), most };
}

/* One step: what is read of the sums and of this token, and the sums one token later. */
static void step(struct mk *m, const char *path, const struct sizes *s, const char *decay,
		 const char *bonus)
{
	const char *body = mk_text("%s.body", path), *k, *v, *y;
	struct sums before, now, after, less;
	const char *names[] = { "p", "q", "o", "k", "v" };
	const char *in[5];

	for (int i = 0; i < 5; i++)
		in[i] = mk_input(m, mk_text("%s.%s", path, names[i]), 0, DIMS(s->batch, s->width));
	before = (struct sums){ in[0], in[1], in[2] };
	k = in[3];
	v = in[4];
	now = added(m, body, &before, MK_OP(m, body, "Add", bonus, k), v);
	y = MK_OP(m, body, "Div", now.p, now.q);
	less = (struct sums){ before.p, before.q, MK_OP(m, body, "Add", before.o, decay) };
	after = added(m, body, &less, k, v);
	mk_output(m, mk_text("%s.next_p", path), after.p, DIMS(s->batch, s->width));
	mk_output(m, mk_text("%s.next_q", path), after.q, DIMS(s->batch, s->width));
	mk_output(m, mk_text("%s.next_o", path), after.o, DIMS(s->batch, s->width));
	mk_output(m, mk_text("%s.wkv", path), y, DIMS(s->batch, s->width));
}

/* How fast each channel forgets: the training code's first values. */
static const char *decay_weight(struct mk *m, const char *path, int64_t width)
{
	double *v = xcalloc((size_t)width, sizeof(*v));
	const char *w;

	for (int64_t i = 0; i < width; i++)
		v[i] = -5 + 8 * pow((double)i / (double)(width > 1 ? width - 1 : 1), 1.2);
	w = mk_table(m, mk_text("%s.time_decay", path), DIMS(width), v);
	free(v);
	return w;
}

/* The sums in front of the first token. An input's first value is an initializer of its name. */
static struct sums past_sums(struct mk *m, const struct sizes *s, int64_t layer)
{
	struct sums past = { mk_past(m, layer, "att_p", s->batch, s->width),
			     mk_past(m, layer, "att_q", s->batch, s->width),
			     mk_past(m, layer, "att_o", s->batch, s->width) };

	mk_filled(m, past.o, DIMS(s->batch, s->width), -LEAST);
	return past;
}

static const char *weighted_values(struct mk *m, const char *path, const char *k, const char *v,
				   const struct sizes *s, int64_t layer)
{
	const char *decay = MK_OP(m, path, "Exp", decay_weight(m, path, s->width)), *all;
	const char *bonus = mk_filled(m, mk_text("%s.time_first", path), DIMS(s->width), log(0.3));
	const char *last[3], *zero = NULL;
	struct sums first;
	Onnx__GraphProto around;
	Onnx__NodeProto *n;

	if (!s->stateful)
		zero = mk_zeros(m, path, DIMS(s->batch, s->width));
	decay = MK_OP(m, path, "Neg", decay);
	if (s->stateful)
		first = past_sums(m, s, layer);
	else
		first = (struct sums){ zero, zero,
				       MK_OP(m, path, "Sub", zero, mk_scalar(m, path, LEAST)) };
	n = MK_SCOPED(m, path, "Scan", first.p, first.q, first.o, k, v);
	last[0] = n->output[0];
	last[1] = mk_more_output(n);
	last[2] = mk_more_output(n);
	all = mk_more_output(n);
	mk_body_begin(m, &around);
	step(m, path, s, decay, bonus);
	mk_body_end(m, &around, n);
	mk_attr_int(n, "num_scan_inputs", 2);
	mk_attr_ints(n, "scan_input_axes", DIMS(1, 1));
	mk_attr_ints(n, "scan_output_axes", DIMS(1));
	for (int i = 0; s->stateful && i < 3; i++)
		mk_present(m, layer, (const char *[]){ "att_p", "att_q", "att_o" }[i], last[i],
			   s->batch, s->width);
	return all;
}

static const char *time_mix(struct mk *m, const char *path, const char *x, const struct sizes *s,
			    int64_t layer)
{
	const char *before = shifted(m, path, "att_x", x, s, layer), *k, *v, *r;
	int64_t d = s->width;

	k = product(m, mk_text("%s.key", path), mixed(m, path, "k", x, before, d), d, d);
	v = product(m, mk_text("%s.value", path), mixed(m, path, "v", x, before, d), d, d);
	r = product(m, mk_text("%s.receptance", path), mixed(m, path, "r", x, before, d), d, d);
	x = weighted_values(m, path, k, v, s, layer);
	x = MK_OP(m, path, "Mul", MK_OP(m, path, "Sigmoid", r), x);
	return product(m, mk_text("%s.output", path), x, d, d);
}

static const char *channel_mix(struct mk *m, const char *path, const char *x, const struct sizes *s,
			       int64_t layer)
{
	const char *before = shifted(m, path, "ffn_x", x, s, layer), *k, *r;
	int64_t d = s->width;

	k = product(m, mk_text("%s.key", path), mixed(m, path, "k", x, before, d), d, s->inner);
	r = product(m, mk_text("%s.receptance", path), mixed(m, path, "r", x, before, d), d, d);
	k = MK_OP(m, path, "Relu", k);
	k = product(m, mk_text("%s.value", path), MK_OP(m, path, "Mul", k, k), s->inner, d);
	return MK_OP(m, path, "Mul", MK_OP(m, path, "Sigmoid", r), k);
}

static int make_rwkv4(struct mk *m)
{
	struct sizes s = { mk_size(m, "batch"), mk_size(m, "t"), mk_size(m, "d"), mk_size(m, "ff"),
			   mk_size(m, "state") };
	int64_t vocab = mk_size(m, "vocab");
	const char *ids = mk_input(m, "input_ids", RDU_DT_I64, DIMS(s.batch, s.length)), *x, *y;

	if (!s.inner)
		s.inner = 4 * s.width;
	x = mk_weight(m, "emb.weight", DIMS(vocab, s.width), 0.1);
	x = norm(m, "blocks.0.ln0", MK_OP(m, "emb", "Gather", x, ids), s.width);
	for (int64_t i = 0; i < mk_size(m, "layers"); i++) {
		const char *path = mk_text("blocks.%lld", (long long)i);

		y = norm(m, mk_text("%s.ln1", path), x, s.width);
		x = MK_OP(m, path, "Add", x, time_mix(m, mk_text("%s.att", path), y, &s, i));
		y = norm(m, mk_text("%s.ln2", path), x, s.width);
		x = MK_OP(m, path, "Add", x, channel_mix(m, mk_text("%s.ffn", path), y, &s, i));
	}
	x = product(m, "head", norm(m, "ln_out", x, s.width), s.width, vocab);
	mk_output(m, "logits", x, DIMS(s.batch, s.length, vocab));
	return 0;
}

#define SIZE(name, about, value, least, hi)                  \
	{                                                    \
		name, MK_SIZE, about, value, least, hi, NULL \
	}

const struct mk_family mk_rwkv[] = {
	{ .name = "rwkv4",
	  .about = "input_ids [N,T] to logits [N,T,VOCAB]: RWKV-4, its time mixing a recurrence",
	  .make = make_rwkv4,
	  .option = { SIZE("batch", "sequences at once", 8, 1, 1 << 16),
		      SIZE("t", "tokens of a sequence", 128, 1, 1 << 16),
		      SIZE("d", "width of a token", 256, 1, 1 << 16),
		      SIZE("ff", "width of channel mixing; 0: 4 D", 0, 0, 1 << 20),
		      SIZE("layers", "blocks", 4, 1, 256),
		      SIZE("vocab", "tokens that there are", 1024, 2, 1 << 20), MK_STATE } },
	{ 0 },
};
