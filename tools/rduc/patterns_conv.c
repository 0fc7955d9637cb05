// SPDX-License-Identifier: MIT
/*
 * Windows over one to three spatial dimensions; convolution, transposed
 * convolution and their gradients.
 *
 * With stride s the gradient of a window operator has s phases per axis: the
 * input positions Y = s q + r of one phase r are met by the same kernel
 * positions, ky = k0 + j step, from output y = q + y0 - j back. One nest per
 * phase; for stride 1 that is one nest. It is one, too, where the phases differ by r
 * alone, for one where the kernel is as large as the stride: r becomes a dimension.
 */
#include <string.h>
#include "window.h"

const char *space_name(const struct window *w, int i)
{
	static const char *const names[] = { "z", "y", "x" };

	return names[i + MAX_SPACE - (w->space == 1 ? 2 : w->space)];
}

const char *kernel_name(const struct window *w, int i)
{
	static const char *const names[] = { "kz", "ky", "kx" };

	return names[i + MAX_SPACE - (w->space == 1 ? 2 : w->space)];
}

static const char *remainder_name(const struct window *w, int i)
{
	static const char *const names[] = { "rz", "ry", "rx" };

	return names[i + MAX_SPACE - (w->space == 1 ? 2 : w->space)];
}

static int too_many(struct lower *l, struct node *n)
{
	return node_error(l->graph, n, "more than %d dimensions to loop over: not supported",
			  NEST_MAX_DIMS);
}

static int get_ints(struct graph *g, struct node *n, const char *name, int want, int64_t otherwise,
		    int64_t *v, int64_t min)
{
	int num;
	const int64_t *p = attr_ints(n, name, &num);

	for (int i = 0; i < want; i++)
		v[i] = otherwise;
	if (!p)
		return 0;
	if (num != want)
		return node_error(g, n, "%s has %d numbers, not %d", name, num, want);
	for (int i = 0; i < num; i++) {
		if (p[i] < min || p[i] > 1 << 20)
			return node_error(g, n, "%s has %lld", name, (long long)p[i]);
		v[i] = p[i];
	}
	return 0;
}

/*
 * ConvTranspose may say its result's size (SAME_*: the input's times the stride): the
 * padding is what is too much, an odd one after the end (SAME_UPPER) or before the start. Where the
 * windows reach less far, the result of output_shape goes on behind them, and that of SAME_* ends with
 * them, as ONNX's shape inference has it.
 */
static void pads_for_size(struct node *n, struct window *w, int i, int64_t span,
			  const char *auto_pad, int64_t *out_pad)
{
	bool said = node_attr(n, "output_shape");
	int64_t want = said ? w->out[i] : w->in[i] * w->stride[i];
	int64_t total = (w->in[i] - 1) * w->stride[i] + span + *out_pad - want;

	if (total < 0) {
		*out_pad -= said ? total : 0;
		total = 0;
	}
	w->pad[i] = strcmp(auto_pad, "SAME_UPPER") ? total - total / 2 : total / 2;
	w->pad_end[i] = total - w->pad[i];
}

int window_get(struct graph *g, struct node *n, const struct value *x, const int64_t *kernel,
	       struct window *w)
{
	const char *auto_pad = attr_s(n, "auto_pad", "NOTSET");
	int64_t pads[2 * MAX_SPACE], out_pad[MAX_SPACE];
	bool sized;

	memset(w, 0, sizeof(*w));
	w->space = x->ndim - 2;
	if (w->space < 1 || w->space > MAX_SPACE)
		return node_error(g, n, "%d-dimensional: 1 to 3 are supported",
				  w->space > 0 ? w->space : 0);
	if (dtype_is_int(x->dtype) && strcmp(n->op->name, "ByteConv"))
		return node_error(g, n, "not supported for %s", dtype_name(x->dtype));
	if (get_ints(g, n, "kernel_shape", w->space, 0, w->kernel, 1) ||
	    get_ints(g, n, "strides", w->space, 1, w->stride, 1) ||
	    get_ints(g, n, "dilations", w->space, 1, w->dilation, 1) ||
	    get_ints(g, n, "pads", 2 * w->space, 0, pads, 0) ||
	    get_ints(g, n, "output_padding", w->space, 0, out_pad, 0))
		return -1;
	w->group = attr_i(n, "group", 1);
	w->ceil = attr_i(n, "ceil_mode", 0);
	w->transposed = !strcmp(n->op->name, "ConvTranspose");
	sized = w->transposed && (node_attr(n, "output_shape") || !strncmp(auto_pad, "SAME_", 5));
	if (w->transposed && get_ints(g, n, "output_shape", w->space, 0, w->out, 1))
		return -1;
	for (int i = 0; i < w->space; i++) {
		int64_t span, slack;

		if (kernel) {
			if (w->kernel[i] && w->kernel[i] != kernel[i])
				return node_error(g, n, "kernel_shape is not the weights' shape");
			w->kernel[i] = kernel[i];
		}
		if (w->kernel[i] < 1)
			return node_error(g, n,
					  kernel ? "its weights' windows have no elements"
						 : "kernel_shape is missing");
		if (w->kernel[i] > 1 << 20)
			return node_error(g, n, "the kernel is too large");
		w->in[i] = x->dim[i + 2];
		w->pad[i] = pads[i];
		w->pad_end[i] = pads[i + w->space];
		span = (w->kernel[i] - 1) * w->dilation[i] + 1;
		if (!strcmp(auto_pad, "VALID")) {
			w->pad[i] = w->pad_end[i] = 0;
		} else if (!strncmp(auto_pad, "SAME_", 5) && !w->transposed) {
			int64_t out = (w->in[i] + w->stride[i] - 1) / w->stride[i];
			int64_t total = (out - 1) * w->stride[i] + span - w->in[i];

			if (total < 0)
				total = 0;
			w->pad[i] = !strcmp(auto_pad, "SAME_LOWER") ? (total + 1) / 2 : total / 2;
			w->pad_end[i] = total - w->pad[i];
		} else if (sized) {
			pads_for_size(n, w, i, span, auto_pad, &out_pad[i]);
		} else if (strcmp(auto_pad, "NOTSET")) {
			return node_error(g, n, "auto_pad %.20s is not supported", auto_pad);
		}
		if (w->transposed) {
			w->out[i] = (w->in[i] - 1) * w->stride[i] + span + out_pad[i] - w->pad[i] -
				    w->pad_end[i];
		} else {
			slack = w->in[i] + w->pad[i] + w->pad_end[i] - span;
			if (slack < 0)
				return node_error(g, n, "the window is larger than the input");
			w->out[i] = (slack + (w->ceil ? w->stride[i] - 1 : 0)) / w->stride[i] + 1;
			/* No window may start in the padding after the input. */
			if (w->ceil && (w->out[i] - 1) * w->stride[i] >= w->in[i] + w->pad[i])
				w->out[i]--;
		}
		if (w->out[i] < 1)
			return node_error(g, n, "the result would be empty");
	}
	return 0;
}

static int check_channels(struct graph *g, struct node *n, const struct window *w, int64_t channels,
			  int64_t per_group, int64_t outer)
{
	if (w->group < 1 || w->group > channels || per_group * w->group != channels ||
	    outer % w->group)
		return node_error(g, n, "%lld channels, %lld groups and weights do not fit",
				  (long long)channels, (long long)w->group);
	return 0;
}

/* ---- convolution ------------------------------------------------------------------ */

static int conv_infer(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *wt = n->in[1], *b = node_in(n, 2);
	int64_t dim[RDU_MAX_DIMS];
	struct window w;

	if (x->ndim != wt->ndim || x->ndim < 3)
		return node_error(g, n, "input %s and weights %s do not fit",
				  value_shape_text(g, x), value_shape_text(g, wt));
	if (window_get(g, n, x, wt->dim + 2, &w) ||
	    check_channels(g, n, &w, x->dim[1], attr_i(n, "channels", wt->dim[1]), wt->dim[0]))
		return -1;
	if (b && (b->ndim != 1 || b->dim[0] != wt->dim[0]))
		return node_error(g, n, "bias has shape %s", value_shape_text(g, b));
	dim[0] = x->dim[0];
	dim[1] = wt->dim[0];
	memcpy(dim + 2, w.out, w.space * sizeof(*dim));
	return node_shape(g, n, 0, dtype_is_int(x->dtype) ? RDU_DT_I32 : x->dtype, x->ndim, dim);
}

/* Where nest dimensions of a convolution are; g is -1 for one group. */
struct conv_dims {
	int n, g, co, ci, y[MAX_SPACE], k[MAX_SPACE];
	int place; /* of a channel among the 16 of a word of ternary weights; -1: ci are channels */
	bool thin, full;
};

/* In three dimensions a convolution loops over nine: those of extent 1 are left
 * out (-1: nothing follows them). */
static int conv_dim(struct nest *nest, struct conv_dims *d, const char *name, int64_t extent,
		    bool reduce)
{
	int i;

	if (d->thin && extent == 1)
		return -1;
	i = nest_dim(nest, name, extent, reduce);
	d->full |= i < 0;
	return i;
}

static void follow(struct access *a, int t, int d, int64_t coef)
{
	if (d >= 0)
		a->coef[t][d] = (int32_t)coef;
}

static void access_x(struct access *a, const struct window *w, const struct conv_dims *d,
		     int64_t ci)
{
	follow(a, 0, d->n, 1);
	follow(a, 1, d->g, ci);
	follow(a, 1, d->ci, d->place < 0 ? 1 : 16);
	follow(a, 1, d->place, 1);
	for (int i = 0; i < w->space; i++) {
		follow(a, i + 2, d->y[i], w->stride[i]);
		follow(a, i + 2, d->k[i], w->dilation[i]);
		a->offset[i + 2] = (int32_t)-w->pad[i];
	}
	a->guarded = true;
}

static void access_w(struct access *a, const struct window *w, const struct conv_dims *d,
		     int64_t co)
{
	follow(a, 0, d->g, co);
	follow(a, 0, d->co, 1);
	follow(a, 1, d->ci, 1);
	for (int i = 0; i < w->space; i++)
		follow(a, i + 2, d->k[i], 1);
}

static void access_y(struct access *a, const struct window *w, const struct conv_dims *d,
		     int64_t co)
{
	follow(a, 0, d->n, 1);
	follow(a, 1, d->g, co);
	follow(a, 1, d->co, 1);
	for (int i = 0; i < w->space; i++)
		follow(a, i + 2, d->y[i], 1);
}

static int conv_pattern(struct lower *l, struct node *n)
{
	struct value *x = n->in[0], *wt = n->in[1], *b = node_in(n, 2), *y = n->out[0];
	struct nest *nest = lower_nest(l, n, NULL);
	struct conv_dims d = { .g = -1, .place = -1, .thin = x->ndim == MAX_SPACE + 2 };
	bool bytes = dtype_is_int(x->dtype);
	int64_t co, ci = attr_i(n, "channels", wt->dim[1]);
	struct window w;
	int e;

	if (window_get(l->graph, n, x, wt->dim + 2, &w))
		return -1;
	co = wt->dim[0] / w.group;
	d.n = conv_dim(nest, &d, "n", x->dim[0], false);
	if (w.group > 1)
		d.g = conv_dim(nest, &d, "g", w.group, false);
	d.co = nest_dim(nest, "co", co, false);
	for (int i = 0; i < w.space; i++)
		d.y[i] = conv_dim(nest, &d, space_name(&w, i), w.out[i], false);
	d.ci = nest_dim(nest, "ci", wt->dim[1], true);
	for (int i = 0; i < w.space; i++)
		d.k[i] = conv_dim(nest, &d, kernel_name(&w, i), w.kernel[i], true);
	if (node_attr(n, "channels"))
		d.place = nest_dim(nest, "place", 16, true);
	nest->reduce = bytes ? REDUCE_IADD : REDUCE_ADD;
	nest_input(nest, lower_value(l, x));
	access_x(&nest->in[0], &w, &d, ci);
	nest->in[0].pad = (uint32_t)attr_i(n, "pad_value", 0);
	nest_input(nest, lower_value(l, wt));
	access_w(&nest->in[1], &w, &d, co);
	e = d.place < 0 ? nest_in(nest, 1) : nest_ternary(nest, 1, d.place);
	nest->body = nest_op(nest, bytes ? RDU_SIMD_IMUL : RDU_SIMD_FMUL, nest_in(nest, 0), e, -1);
	e = nest_red(nest);
	if (b) {
		nest_input(nest, lower_value(l, b));
		follow(&nest->in[2], 0, d.g, co);
		follow(&nest->in[2], 0, d.co, 1);
		e = nest_op(nest, RDU_SIMD_FADD, e, nest_in(nest, 2), -1);
	}
	nest_output(nest, lower_value(l, y), e);
	access_y(&nest->out[0].access, &w, &d, co);
	if (d.full)
		return too_many(l, n);
	return lower_done(l, n, nest);
}

/* A node with the attributes of another: the window stays the same. */
struct node *same_window(struct graph *g, struct node *n, const char *op, const char *what)
{
	struct node *m = node_new(g, op, graph_format(g, "%.200s.%s", n->name, what));

	m->of = n->op;
	m->of_node = n;
	return m;
}

static int bias_gradient(struct graph *g, struct node *n, struct value *bias)
{
	static const int64_t axes[] = { 0, 2, 3, 4 };
	struct node *m = node_new(g, "ReduceSum", graph_format(g, "%.200s.grad_b", n->name));

	m->of = n->op;
	node_input(g, m, n->out[0]->grad);
	node_attr_ints(g, m, "axes", n->out[0]->ndim - 1, axes);
	node_attr_i(g, m, "keepdims", 0);
	return grad_finish(g, m, bias);
}

static int conv_gradient(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *wt = n->in[1], *b = node_in(n, 2), *gy = n->out[0]->grad;
	struct node *m;

	if (x->needs_grad) {
		m = same_window(g, n, "ConvGradInput", "grad_x");
		node_input(g, m, gy);
		node_input(g, m, wt);
		node_attr_ints(g, m, "shape", x->ndim, x->dim);
		if (grad_finish(g, m, x))
			return -1;
	}
	if (wt->needs_grad) {
		m = same_window(g, n, "ConvGradWeight", "grad_w");
		node_input(g, m, gy);
		node_input(g, m, x);
		node_attr_ints(g, m, "shape", wt->ndim, wt->dim);
		if (grad_finish(g, m, wt))
			return -1;
	}
	return b && b->needs_grad ? bias_gradient(g, n, b) : 0;
}

int shape_attr_infer(struct graph *g, struct node *n)
{
	int ndim;
	const int64_t *dim = attr_ints(n, "shape", &ndim);

	return node_shape(g, n, 0, RDU_DT_F32, ndim, dim);
}

static int conv_grad_w_pattern(struct lower *l, struct node *n)
{
	struct value *gy = n->in[0], *x = n->in[1], *gw = n->out[0];
	struct nest *nest = lower_nest(l, n, NULL);
	struct conv_dims d = { .g = -1, .place = -1, .thin = x->ndim == MAX_SPACE + 2 };
	int64_t co, ci = gw->dim[1];
	struct window w;

	if (window_get(l->graph, n->of_node, x, gw->dim + 2, &w))
		return -1;
	co = gw->dim[0] / w.group;
	if (w.group > 1)
		d.g = conv_dim(nest, &d, "g", w.group, false);
	d.co = nest_dim(nest, "co", co, false);
	d.ci = nest_dim(nest, "ci", ci, false);
	for (int i = 0; i < w.space; i++)
		d.k[i] = conv_dim(nest, &d, kernel_name(&w, i), w.kernel[i], false);
	d.n = conv_dim(nest, &d, "n", x->dim[0], true);
	for (int i = 0; i < w.space; i++)
		d.y[i] = conv_dim(nest, &d, space_name(&w, i), w.out[i], true);
	nest->reduce = REDUCE_ADD;
	nest_input(nest, lower_value(l, gy));
	access_y(&nest->in[0], &w, &d, co);
	nest_input(nest, lower_value(l, x));
	access_x(&nest->in[1], &w, &d, ci);
	nest->body = nest_op(nest, RDU_SIMD_FMUL, nest_in(nest, 0), nest_in(nest, 1), -1);
	nest_output(nest, lower_value(l, gw), nest_red(nest));
	access_w(&nest->out[0].access, &w, &d, co);
	if (d.full)
		return too_many(l, n);
	return lower_done(l, n, nest);
}

/* ---- phases of a gradient to the input --------------------------------------------- */

static int64_t gcd(int64_t a, int64_t b)
{
	return b ? gcd(b, a % b) : a;
}

/* big: extent of the side that is strided over. */
static void phase_get(const struct window *w, int axis, int64_t big, int64_t r, struct phase *p)
{
	int64_t s = w->stride[axis], d = w->dilation[axis], c = r + w->pad[axis];

	p->r = r;
	p->num_r = 1;
	p->num_q = (big - r + s - 1) / s;
	p->step = s / gcd(s, d);
	p->back = d / gcd(s, d);
	p->num_k = 0;
	for (p->k0 = 0; p->k0 < p->step; p->k0++)
		if ((c - p->k0 * d) % s == 0)
			break;
	if (p->k0 == p->step || p->k0 >= w->kernel[axis])
		return;
	p->num_k = (w->kernel[axis] - p->k0 + p->step - 1) / p->step;
	p->y0 = (c - p->k0 * d) / s;
}

int each_phase(struct lower *l, struct node *n, const struct window *w, const int64_t *big,
	       int (*one)(struct lower *l, struct node *n, const struct window *w,
			  const struct phase *p, void *opaque),
	       void *opaque)
{
	int64_t total = 1;

	for (int i = 0; i < w->space; i++)
		total *= w->stride[i] < big[i] ? w->stride[i] : big[i];
	if (total > 256)
		return node_error(l->graph, n, "strides too large: %lld phases", (long long)total);
	for (int64_t ph = 0; ph < total; ph++) {
		struct phase p[MAX_SPACE];
		int64_t rest = ph;

		for (int i = w->space - 1; i >= 0; i--) {
			int64_t num = w->stride[i] < big[i] ? w->stride[i] : big[i];

			phase_get(w, i, big[i], rest % num, &p[i]);
			rest /= num;
		}
		if (one(l, n, w, p, opaque))
			return -1;
	}
	return 0;
}

/* All phases in one, if they are alike along each axis, and a nest has dimensions for that beside
 * `others`. */
static bool join_phases(const struct window *w, const int64_t *big, int others, struct phase *p)
{
	int dims = others;

	for (int i = 0; i < w->space; i++) {
		int64_t s = w->stride[i];

		if (s > 1 &&
		    (w->dilation[i] > 1 || w->pad[i] % s || big[i] % s || w->kernel[i] % s))
			return false;
		phase_get(w, i, big[i], 0, &p[i]);
		p[i].num_r = s;
		dims += 2 + (s > 1);
	}
	return dims <= NEST_MAX_DIMS;
}

struct transposed {
	struct value *gy, *wt, *gx, *bias;
	int64_t co, ci; /* per group */
};

static int conv_input_phase(struct lower *l, struct node *n, const struct window *w,
			    const struct phase *p, void *opaque)
{
	const struct transposed *t = opaque;
	struct nest *nest = lower_nest(l, n, NULL);
	struct conv_dims d = { .g = -1, .place = -1, .thin = w->space == MAX_SPACE };
	int r[MAX_SPACE], e;
	bool empty = false;
	struct access *a;

	d.n = conv_dim(nest, &d, "n", t->gx->dim[0], false);
	if (w->group > 1)
		d.g = conv_dim(nest, &d, "g", w->group, false);
	d.ci = nest_dim(nest, "ci", t->ci, false);
	for (int i = 0; i < w->space; i++) {
		d.y[i] = conv_dim(nest, &d, space_name(w, i), p[i].num_q, false);
		empty |= !p[i].num_k;
	}
	for (int i = 0; i < w->space; i++)
		r[i] = p[i].num_r > 1 ? nest_dim(nest, remainder_name(w, i), p[i].num_r, false)
				      : -1;
	if (!empty) {
		d.co = nest_dim(nest, "co", t->co, true);
		for (int i = 0; i < w->space; i++)
			d.k[i] = conv_dim(nest, &d, kernel_name(w, i), p[i].num_k, true);
		nest->reduce = REDUCE_ADD;
		nest_input(nest, lower_value(l, t->gy));
		a = &nest->in[0];
		follow(a, 0, d.n, 1);
		follow(a, 1, d.g, t->co);
		follow(a, 1, d.co, 1);
		a->guarded = true;
		nest_input(nest, lower_value(l, t->wt));
		access_w(&nest->in[1], w, &d, t->co);
		for (int i = 0; i < w->space; i++) {
			follow(a, i + 2, d.y[i], 1);
			follow(a, i + 2, d.k[i], -p[i].back);
			a->offset[i + 2] = (int32_t)p[i].y0;
			follow(&nest->in[1], i + 2, d.k[i], p[i].step);
			follow(&nest->in[1], i + 2, r[i], 1);
			nest->in[1].offset[i + 2] = (int32_t)p[i].k0;
		}
		nest->body = nest_op(nest, RDU_SIMD_FMUL, nest_in(nest, 0), nest_in(nest, 1), -1);
		e = nest_red(nest);
	} else {
		e = nest_imm_f(nest, 0);
	}
	if (t->bias) {
		int k = nest_input(nest, lower_value(l, t->bias));

		follow(&nest->in[k], 0, d.g, t->ci);
		follow(&nest->in[k], 0, d.ci, 1);
		e = nest_op(nest, RDU_SIMD_FADD, e, nest_in(nest, k), -1);
	}
	nest_output(nest, lower_value(l, t->gx), e);
	a = &nest->out[0].access;
	follow(a, 0, d.n, 1);
	follow(a, 1, d.g, t->ci);
	follow(a, 1, d.ci, 1);
	for (int i = 0; i < w->space; i++) {
		follow(a, i + 2, d.y[i], w->stride[i]);
		follow(a, i + 2, r[i], 1);
		a->offset[i + 2] = (int32_t)p[i].r;
	}
	if (d.full)
		return too_many(l, n);
	return lower_done(l, n, nest);
}

static int conv_input(struct lower *l, struct node *n, const struct window *w,
		      const struct transposed *t)
{
	int others = 2 + (t->gx->dim[0] > 1 || w->space < MAX_SPACE) + (w->group > 1);
	struct phase all[MAX_SPACE];

	if (join_phases(w, t->gx->dim + 2, others, all))
		return conv_input_phase(l, n, w, all, (void *)t);
	return each_phase(l, n, w, t->gx->dim + 2, conv_input_phase, (void *)t);
}

static int conv_grad_x_pattern(struct lower *l, struct node *n)
{
	struct transposed t = { n->in[0], n->in[1], n->out[0], NULL, 0, n->in[1]->dim[1] };
	struct window w;

	if (window_get(l->graph, n->of_node, t.gx, t.wt->dim + 2, &w))
		return -1;
	t.co = t.wt->dim[0] / w.group;
	return conv_input(l, n, &w, &t);
}

/* Instead of how to find the padding, the padding: its gradients are of other sizes. */
static void explicit_pads(struct graph *g, struct node *n, const struct window *w)
{
	int64_t pads[2 * MAX_SPACE];

	for (struct attr **a = &n->attrs; *a;)
		if (!strcmp((*a)->name, "auto_pad") || !strcmp((*a)->name, "output_shape") ||
		    !strcmp((*a)->name, "pads"))
			*a = (*a)->next;
		else
			a = &(*a)->next;
	for (int i = 0; i < w->space; i++) {
		pads[i] = w->pad[i];
		pads[i + w->space] = w->pad_end[i];
	}
	node_attr_ints(g, n, "pads", 2 * w->space, pads);
}

static int conv_transpose_infer(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *wt = n->in[1], *b = node_in(n, 2);
	int64_t dim[RDU_MAX_DIMS];
	struct window w;

	if (x->ndim != wt->ndim || x->ndim < 3 || x->dim[1] != wt->dim[0])
		return node_error(g, n, "input %s and weights %s do not fit",
				  value_shape_text(g, x), value_shape_text(g, wt));
	if (window_get(g, n, x, wt->dim + 2, &w))
		return -1;
	explicit_pads(g, n, &w);
	if (w.group < 1 || wt->dim[0] % w.group)
		return node_error(g, n, "%lld groups do not fit", (long long)w.group);
	dim[0] = x->dim[0];
	dim[1] = wt->dim[1] * w.group;
	if (b && (b->ndim != 1 || b->dim[0] != dim[1]))
		return node_error(g, n, "bias has shape %s", value_shape_text(g, b));
	memcpy(dim + 2, w.out, w.space * sizeof(*dim));
	return node_shape(g, n, 0, x->dtype, x->ndim, dim);
}

static int conv_transpose_pattern(struct lower *l, struct node *n)
{
	struct transposed t = { n->in[0], n->in[1], n->out[0], node_in(n, 2), 0, n->in[1]->dim[1] };
	struct window w;

	if (window_get(l->graph, n, t.gy, t.wt->dim + 2, &w))
		return -1;
	t.co = t.wt->dim[0] / w.group;
	return conv_input(l, n, &w, &t);
}

/*
 * y = transposed convolution of x is the gradient of a convolution from y to x:
 * so the gradient to x is that convolution, and the gradient to the weights is
 * that convolution's, with y's gradient in the place of its input.
 */
static int conv_transpose_gradient(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *wt = n->in[1], *b = node_in(n, 2), *gy = n->out[0]->grad;
	struct node *conv = node_new(g, "Conv", graph_format(g, "%.200s.grad_x", n->name)), *m;

	conv->attrs = n->attrs;
	conv->of = n->op;
	node_input(g, conv, gy);
	node_input(g, conv, wt);
	if (x->needs_grad) {
		if (grad_finish(g, conv, x))
			return -1;
	}
	if (wt->needs_grad) {
		m = node_new(g, "ConvGradWeight", graph_format(g, "%.200s.grad_w", n->name));
		m->of = n->op;
		m->of_node = conv;
		node_input(g, m, x);
		node_input(g, m, gy);
		node_attr_ints(g, m, "shape", wt->ndim, wt->dim);
		if (grad_finish(g, m, wt))
			return -1;
	}
	return b && b->needs_grad ? bias_gradient(g, n, b) : 0;
}

const struct op ops_conv[] = {
	{ .name = "Conv",
	  .min_in = 2,
	  .max_in = 3,
	  .max_out = 1,
	  .rewrite = graph_dequantized_conv,
	  .infer = conv_infer,
	  .gradient = conv_gradient,
	  .pattern = conv_pattern },
	/* Of int8 and uint8, in any mixture, to int32; beside the input is `pad_value`. The weights
	 * may be words of ternary ones, of `channels` channels, 16 to a word. */
	{ .name = "ByteConv",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 1,
	  .internal = true,
	  .infer = conv_infer,
	  .stop_gradient = true,
	  .pattern = conv_pattern },
	{ .name = "ConvTranspose",
	  .min_in = 2,
	  .max_in = 3,
	  .max_out = 1,
	  .infer = conv_transpose_infer,
	  .gradient = conv_transpose_gradient,
	  .pattern = conv_transpose_pattern },
	{ .name = "ConvGradInput",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 1,
	  .internal = true,
	  .infer = shape_attr_infer,
	  .pattern = conv_grad_x_pattern },
	{ .name = "ConvGradWeight",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 1,
	  .internal = true,
	  .infer = shape_attr_infer,
	  .pattern = conv_grad_w_pattern },
	{ 0 },
};
