// SPDX-License-Identifier: MIT
/*
 * Slices in the body of a Loop whose places are computed of its counter. If each iteration takes as many
 * elements, and the places are a multiple of the counter and a number, it is a Gather by the counter. Places
 * that a list has for each iteration are such, too, if they are as far from each other.
 */
#include <string.h>
#include "graph.h"

/* In iteration i: by * i + at. */
struct line {
	int64_t by, at;
};

/* What input `in` of a Slice says, for each axis that it names. */
struct lines {
	struct line of[RDU_MAX_DIMS];
	int num;
	struct value *counter; /* NULL: no counter has a part in it */
};

#define MOST_VALUES 65536 /* looked at, each as often as it is read */

static bool lines_of(struct value *v, struct lines *l, int *left);

/* Both, and what of the counter; of one number for many. */
static bool combine(const struct node *n, struct lines *a, int *left)
{
	const char *op = n->op->name;
	struct lines b;

	if (!lines_of(n->in[0], a, left) || !lines_of(n->in[1], &b, left) ||
	    (a->num != b.num && a->num != 1 && b.num != 1) ||
	    (a->counter && b.counter && a->counter != b.counter))
		return false;
	a->counter = a->counter ? a->counter : b.counter;
	for (int i = (a->num > b.num ? a->num : b.num) - 1; i >= 0; i--) {
		struct line x = a->of[a->num == 1 ? 0 : i], y = b.of[b.num == 1 ? 0 : i];
		bool over;

		if (!strcmp(op, "Add"))
			over = __builtin_add_overflow(x.by, y.by, &x.by) ||
			       __builtin_add_overflow(x.at, y.at, &x.at);
		else if (!strcmp(op, "Sub"))
			over = __builtin_sub_overflow(x.by, y.by, &x.by) ||
			       __builtin_sub_overflow(x.at, y.at, &x.at);
		else if (x.by && y.by)
			over = true; /* no line */
		else
			over = __builtin_mul_overflow(x.by ? x.by : y.by, x.by ? y.at : x.at,
						      &x.by) ||
			       __builtin_mul_overflow(x.at, y.at, &x.at);
		if (over)
			return false;
		a->of[i] = x;
	}
	a->num = a->num > b.num ? a->num : b.num;
	return true;
}

static bool joined(const struct node *n, struct lines *l, int *left)
{
	*l = (struct lines){ .num = 0 };
	for (int k = 0; k < n->num_in; k++) {
		struct lines part;

		if (!lines_of(n->in[k], &part, left) || l->num + part.num > RDU_MAX_DIMS ||
		    (l->counter && part.counter && l->counter != part.counter))
			return false;
		memcpy(l->of + l->num, part.of, (size_t)part.num * sizeof(*part.of));
		l->num += part.num;
		l->counter = part.counter ? part.counter : l->counter;
	}
	return true;
}

/* Rows of a list, which grow by the same number in all iterations: ends of bags, as PyTorch's exporter has them. */
static bool listed(const struct node *n, struct lines *l, int *left)
{
	const struct value *list = n->in[0];
	int64_t first = 0, by = 0;
	struct line p;

	if (!list->constant || !list->data || list->ndim != 1 || !dtype_is_int(list->dtype) ||
	    !lines_of(n->in[1], l, left) || l->num != 1 || !l->counter ||
	    l->counter->counts > *left)
		return false;
	p = l->of[0];
	*left -= (int)l->counter->counts;
	for (int64_t i = 0; i < l->counter->counts; i++) {
		int64_t at = 0, v;

		if (__builtin_mul_overflow(p.by, i, &at) || __builtin_add_overflow(p.at, at, &at))
			return false;
		at += at < 0 ? list->dim[0] : 0;
		if (at < 0 || at >= list->dim[0])
			return false;
		v = value_int(list, at);
		if (!i)
			first = v;
		else if (i == 1 && __builtin_sub_overflow(v, first, &by))
			return false;
		if (__builtin_mul_overflow(by, i, &at) || __builtin_add_overflow(first, at, &at) ||
		    v != at)
			return false;
	}
	l->of[0] = (struct line){ .by = by, .at = first };
	return true;
}

/* The integers of v; false: they are not of a counter and constants alone, or are no lines. */
static bool lines_of(struct value *v, struct lines *l, int *left)
{
	const struct node *n = v->producer;

	*l = (struct lines){ .num = 1 };
	if (!dtype_is_int(v->dtype) || value_count(v) > RDU_MAX_DIMS || !*left)
		return false;
	--*left;
	if (v->counts) {
		l->of[0].by = 1;
		l->counter = v;
		return true;
	}
	if (v->constant && v->data) {
		l->num = (int)value_count(v);
		for (int i = 0; i < l->num; i++)
			l->of[i].at = value_int(v, i);
		return true;
	}
	if (!n)
		return false;
	if (n->op->view || (!strcmp(n->op->name, "Cast") && dtype_bytes(v->dtype) >= 4))
		return lines_of(n->in[0], l, left);
	if (!strcmp(n->op->name, "Concat"))
		return joined(n, l, left);
	if (!strcmp(n->op->name, "Gather"))
		return listed(n, l, left);
	return (!strcmp(n->op->name, "Add") || !strcmp(n->op->name, "Sub") ||
		!strcmp(n->op->name, "Mul")) &&
	       combine(n, l, left);
}

/* A place along an axis of `size`, counted from its front in all iterations; false: it is not. */
static bool settle(struct line *p, int64_t size, int64_t trip)
{
	int64_t last;

	if (__builtin_mul_overflow(p->by, trip > 0 ? trip - 1 : 0, &last) ||
	    __builtin_add_overflow(last, p->at, &last))
		return false;
	if (!p->by) /* beyond any dimension is its end */
		p->at = last = p->at > size ? size : p->at < -size ? -size : p->at;
	if (p->at < 0 && last < 0 && p->at >= -size && last >= -size) {
		p->at += size;
		last += size;
	}
	return p->at >= 0 && last >= 0 && p->at <= size && last <= size;
}

/* x along an axis: `count` elements from `from` on, in steps of `step`. */
static struct value *gathered(struct graph *g, struct node *n, struct value *x, int64_t axis,
			      const struct line *from, int64_t count, int64_t step,
			      struct value *counter)
{
	int64_t *at = graph_alloc(g, (size_t)(count + 1) * sizeof(*at));
	struct value *v = graph_reshape(g, n->name, counter, 0, NULL);
	struct node *m = node_new(g, "Gather", n->name);

	for (int64_t i = 0; i < count; i++)
		at[i] = from->at + i * step;
	v = v ? graph_op2(g, "Mul", graph_format(g, "%.200s.place", n->name), v,
			  graph_const_i(g, from->by))
	      : NULL;
	v = v ? graph_op2(g, "Add", graph_format(g, "%.200s.places", n->name), v,
			  graph_const(g, RDU_DT_I64, 1, &count, at))
	      : NULL;
	if (!v)
		return NULL;
	node_input(g, m, x);
	node_input(g, m, v);
	node_attr_i(g, m, "axis", axis);
	return graph_finish(g, m);
}

static int uneven(struct graph *g, struct node *n)
{
	return node_error(g, n,
			  "iterations of the loop may take different numbers of elements: not "
			  "supported");
}

int graph_counted_slice(struct graph *g, struct node *n)
{
	struct lines from, to, axes, steps;
	struct value *x = n->in[0], *counter;
	int left = MOST_VALUES;
	bool known;

	if (!g->in_body || !node_in(n, 2) || !lines_of(n->in[1], &from, &left) ||
	    !lines_of(n->in[2], &to, &left) || (!from.counter && !to.counter) ||
	    (from.counter && to.counter && from.counter != to.counter))
		return 0;
	counter = from.counter ? from.counter : to.counter;
	known = !node_in(n, 3) || (lines_of(n->in[3], &axes, &left) && !axes.counter);
	known &= !node_in(n, 4) || (lines_of(n->in[4], &steps, &left) && !steps.counter);
	if (!known || from.num != to.num || (node_in(n, 3) && axes.num != from.num) ||
	    (node_in(n, 4) && steps.num != from.num) || from.num > x->ndim)
		return 0; /* what is wrong is said of other slices, too */
	for (int i = 0; i < from.num && x; i++) {
		int64_t axis = node_in(n, 3) ? axes.of[i].at : i, count;
		int64_t step = node_in(n, 4) ? steps.of[i].at : 1;

		if (node_axis(g, n, &axis, x->ndim))
			return -1;
		if (step < 1)
			return node_error(g, n,
					  "step %lld from a place that is computed of a "
					  "loop's counter is not supported",
					  (long long)step);
		if (from.of[i].by != to.of[i].by)
			return uneven(g, n);
		if (!settle(&from.of[i], x->dim[axis], counter->counts) ||
		    !settle(&to.of[i], x->dim[axis], counter->counts))
			return uneven(g, n);
		count = to.of[i].at - from.of[i].at;
		count = count > 0 ? (count - 1) / step + 1 : 0;
		x = !from.of[i].by && step == 1
			    ? graph_slice(g, n->name, x, axis, from.of[i].at, count, false)
			    : gathered(g, n, x, axis, &from.of[i], count, step, counter);
	}
	return x && !graph_replace_first(n, x) ? 1 : -1;
}
