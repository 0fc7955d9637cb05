// SPDX-License-Identifier: MIT
/*
 * The gradient of a loop: a loop, too, which goes through the iterations from the last to the first. Of what the body
 * made, it reads rows that were kept of all iterations. What is a map of these rows and of others that it reads anyway
 * is not kept but made again: a few operations take less time than a row's way through memory and back.
 */
#include <string.h>
#include "loop.h"

void loop_needs(struct node *n, void (*visit)(void *arg, struct node *n), void *arg)
{
	const struct loop *l = n->loop;
	bool changed = true;

	for (int k = 0; k < l->num_carried; k++)
		l->carried[k]->needs_grad = n->in[k]->needs_grad;
	for (int k = 0; k < l->num_rows; k++)
		l->row[k]->needs_grad = n->in[l->num_carried + k]->needs_grad;
	loop_mark(n);
	while (changed) { /* what is carried brings needs from the end to the beginning */
		changed = false;
		for (int i = 0; i < l->num_nodes; i++) {
			struct node *b = l->nodes[i];

			for (int k = 0; k < b->num_in && !b->op->stop_gradient; k++)
				for (int o = 0; b->in[k] && b->in[k]->needs_grad && o < b->num_out;
				     o++)
					if (b->out[o])
						b->out[o]->needs_grad =
							!dtype_is_int(b->out[o]->dtype);
		}
		for (int k = 0; k < l->num_carried; k++)
			if (l->next[k]->needs_grad && !l->carried[k]->needs_grad) {
				l->carried[k]->needs_grad = true;
				changed = true;
			}
	}
	for (int i = 0; i < l->num_nodes; i++)
		visit(arg, l->nodes[i]);
	for (int k = 0; k < l->num_carried; k++)
		n->out[k]->needs_grad = l->carried[k]->needs_grad || l->next[k]->needs_grad;
	for (int k = 0; k < l->num_stacked; k++)
		n->out[l->num_carried + k]->needs_grad = l->stacked[k]->needs_grad;
}

/* Values of a body, each once. */
struct values {
	int num, room;
	struct value **v;
	bool *made; /* again; else it is a row of what was kept */
};

/* Tensors that the body of a gradient reads row by row, from the last to the first. */
struct rows {
	int num, room;
	struct value **row,
		**from; /* in the body; outside: the first row is the last iteration's */
	struct value **of; /* value of the body that is differentiated; NULL: none */
};

static struct value *add_row(struct graph *g, struct rows *r, struct value *of, struct value *from)
{
	if (!from)
		return NULL;
	if (r->num == r->room) {
		struct rows to = { .num = r->num, .room = 2 * r->room + 16 };

		to.row = loop_values(g, to.room);
		to.from = loop_values(g, to.room);
		to.of = loop_values(g, to.room);
		for (int i = 0; i < r->num; i++) {
			to.row[i] = r->row[i];
			to.from[i] = r->from[i];
			to.of[i] = r->of[i];
		}
		*r = to;
	}
	r->of[r->num] = of;
	r->from[r->num] = from;
	r->row[r->num] = loop_value(g, from->name, from, 1);
	return r->row[r->num++];
}

static int find_value(struct value *const *list, int num, const struct value *v)
{
	for (int i = 0; i < num; i++)
		if (list[i] == v)
			return i;
	return -1;
}

static void append_value(struct graph *g, struct value ***list, int num, struct value *v)
{
	struct value **to = loop_values(g, num + 1);

	if (num)
		memcpy(to, *list, (size_t)num * sizeof(*to));
	to[num] = v;
	*list = to;
}

/* All that a value of the body was, in the iterations from the last to the first. What is not
 * kept yet becomes an output of the loop. */
static struct value *kept(struct graph *g, struct node *n, struct value *v)
{
	struct loop *l = n->loop;
	int64_t t = l->trip;
	int k = find_value(l->carried, l->num_carried, v), at = l->num_carried + l->num_stacked;
	const char *name = graph_format(g, "%.200s.back", v->name);

	if (k >= 0)
		return graph_slice(g, name, n->out[k], 0, t - 1, t, true);
	k = find_value(l->row, l->num_rows, v);
	if (k >= 0)
		return graph_slice(g, name, n->in[l->num_carried + k], 0, t - 1, t, true);
	k = find_value(l->next, l->num_carried, v);
	if (k >= 0)
		return graph_slice(g, name, n->out[k], 0, t, t, true);
	k = find_value(l->stacked, l->num_stacked, v);
	if (k < 0) {
		k = l->num_stacked;
		append_value(g, &l->stacked, l->num_stacked++, v);
		append_value(g, &n->out, n->num_out++,
			     graph_value(g, graph_format(g, "%.200s.all", v->name)));
		n->out[at]->producer = n;
		n->out[at]->varies = n->out[0]->varies;
		if (loop_result(g, n, at, v, t))
			return NULL;
	}
	return graph_slice(g, name, n->out[l->num_carried + k], 0, t - 1, t, true);
}

/* The gradient of a loop, while it is made. */
struct reverse {
	struct graph *g;
	struct node *n; /* the loop that is differentiated */
	struct loop body; /* only its nodes */
	struct rows rows;
	int num_carried, *carried_of;
	struct value **first, **carried, **next;
	struct value **later; /* by what is carried: rows of the gradient from outside; NULL */
	struct value **dy; /* by stacked output: rows of its gradient; NULL */
	struct value **saved; /* by captured value: its gradient so far */
	int num_stacked, num_summed;
	struct value **stacked, **summed;
	struct values needed, read; /* of the body that is differentiated */
	int num_again;
	struct node **again; /* nodes that make what is not kept */
	struct value **again_of; /* the values that they make again */
};

static int first_captured(const struct loop *l)
{
	return l->num_carried + l->num_rows;
}

/* The gradient of result k as loops have it, in fp32; NULL: it has none. */
static struct value *wide_grad(struct graph *g, const struct node *n, int k)
{
	return graph_cast(g, graph_format(g, "%.200s.wide", n->name), n->out[k]->grad, RDU_DT_F32);
}

/* What the gradient's loop starts from, and what comes in from outside. */
static int reverse_inputs(struct graph *g, struct reverse *r)
{
	struct node *n = r->n;
	const struct loop *l = n->loop;
	int64_t t = l->trip;

	for (int k = 0; k < l->num_carried; k++) {
		struct value *d = wide_grad(g, n, k), *v = n->in[k];
		struct value *first;

		if (!n->out[k]->needs_grad)
			continue;
		first = d ? graph_pick(g, n->name, d, 0, t)
			  : graph_const(g, RDU_DT_F32, v->ndim, v->dim, NULL);
		if (!first)
			return -1;
		if (d) {
			r->later[k] = add_row(g, &r->rows, NULL,
					      graph_slice(g, n->name, d, 0, t - 1, t, true));
			if (!r->later[k])
				return -1;
		}
		r->carried_of[r->num_carried] = k;
		r->first[r->num_carried] = first;
		r->carried[r->num_carried++] = loop_value(g, n->name, first, 0);
	}
	for (int k = 0; k < l->num_stacked; k++) {
		struct value *d = wide_grad(g, n, l->num_carried + k);

		if (!d)
			continue;
		r->dy[k] =
			add_row(g, &r->rows, NULL, graph_slice(g, n->name, d, 0, t - 1, t, true));
		if (!r->dy[k])
			return -1;
	}
	return 0;
}

/* The body: gradients of the nodes, from the last to the first. */
static int reverse_body(struct graph *g, struct reverse *r)
{
	const struct loop *l = r->n->loop;

	for (int k = 0; k < r->num_carried; k++)
		if (graph_add_grad(g, l->next[r->carried_of[k]], r->carried[k]))
			return -1;
	for (int k = 0; k < l->num_stacked; k++)
		if (r->dy[k] && graph_add_grad(g, l->stacked[k], r->dy[k]))
			return -1;
	for (int i = l->num_nodes - 1; i >= 0; i--) {
		struct node *b = l->nodes[i];
		bool reached = false;

		for (int k = 0; k < b->num_out; k++)
			reached |= b->out[k] && b->out[k]->grad;
		if (reached && !b->op->stop_gradient && node_gradient(g, b))
			return -1;
	}
	for (int k = 0; k < r->num_carried; k++) {
		const struct value *c = l->carried[r->carried_of[k]];
		struct value *d = c->grad, *later = r->later[r->carried_of[k]];

		if (d && later)
			d = graph_op2(g, "Add", r->n->name, d, later);
		else if (!d)
			d = later ? later : graph_const(g, RDU_DT_F32, c->ndim, c->dim, NULL);
		if (!d)
			return -1;
		r->next[k] = d;
	}
	return 0;
}

/* ---- what is made again ----------------------------------------------------------------- */

static void values_add(struct graph *g, struct values *list, struct value *v, bool made)
{
	if (list->num == list->room) {
		struct values to = { .num = list->num, .room = 2 * list->room + 16 };

		to.v = loop_values(g, to.room);
		to.made = graph_alloc(g, (size_t)to.room * sizeof(*to.made));
		for (int i = 0; i < list->num; i++) {
			to.v[i] = list->v[i];
			to.made[i] = list->made[i];
		}
		*list = to;
	}
	list->v[list->num] = v;
	list->made[list->num++] = made;
}

static bool in_values(const struct values *list, const struct value *v)
{
	return find_value(list->v, list->num, v) >= 0;
}

/* Are all iterations' there, whether the gradient reads them or not? */
static bool is_there(const struct loop *l, const struct value *v)
{
	return find_value(l->carried, l->num_carried, v) >= 0 ||
	       find_value(l->row, l->num_rows, v) >= 0 ||
	       find_value(l->next, l->num_carried, v) >= 0 ||
	       find_value(l->stacked, l->num_stacked, v) >= 0;
}

static double bytes_of(const struct value *v)
{
	return (double)value_count(v) * (double)dtype_bytes(v->dtype);
}

static double to_make(struct reverse *r, struct value *v, struct values *fresh);

/* Bytes of the rows that have to be read so that v is there, beside those that are read anyway; -1: it would have to
 * be kept. All that it takes is added to `fresh`. */
static double to_have(struct reverse *r, struct value *v, struct values *fresh)
{
	const struct loop *l = r->n->loop;
	double bytes;

	if (v->varies != l || in_values(&r->read, v) || in_values(fresh, v))
		return 0;
	bytes = to_make(r, v, fresh);
	if (bytes >= 0 || !is_there(l, v))
		return bytes;
	values_add(r->g, fresh, v, false);
	return bytes_of(v);
}

/* The same if it is made again; -1: it cannot be. */
static double to_make(struct reverse *r, struct value *v, struct values *fresh)
{
	const struct node *n = v->producer;
	int was = fresh->num;
	double sum = 0;

	if (!loop_makes(r->n->loop, v) || !n->op->map || n->num_out != 1)
		return -1;
	for (int k = 0; k < n->num_in; k++) {
		double bytes = n->in[k] ? to_have(r, n->in[k], fresh) : 0;

		if (bytes < 0) {
			fresh->num = was;
			return -1;
		}
		sum += bytes;
	}
	values_add(r->g, fresh, v, true);
	return sum;
}

/* Notes what the gradient's body reads of the other one. arg: struct reverse. */
static int need(void *arg, struct value **v)
{
	struct reverse *r = arg;

	if (*v && (*v)->varies == r->n->loop && !in_values(&r->needed, *v))
		values_add(r->g, &r->needed, *v, false);
	return 0;
}

/* Times that memory moves what a row takes: it is copied to another order, and loaded; before that it may have to be
 * stored. */
#define TIMES_THERE 3
#define TIMES_KEPT 4

/* Which values are made again, those made first first: such that less is moved then. */
static void plan_again(struct reverse *r)
{
	const struct loop *l = r->n->loop;
	struct values fresh = { 0 };

	for (int i = 0; i < r->body.num_nodes; i++)
		loop_each_read(r->body.nodes[i], need, r);
	for (int i = 0; i < r->needed.num; i++)
		if (!loop_makes(l, r->needed.v[i]))
			values_add(r->g, &r->read, r->needed.v[i], false);
	for (int i = 0; i < l->num_nodes; i++)
		for (int o = 0; o < l->nodes[i]->num_out; o++) {
			struct value *v = l->nodes[i]->out[o];
			double bytes;

			if (!v || !in_values(&r->needed, v) || in_values(&r->read, v))
				continue;
			fresh.num = 0;
			bytes = to_make(r, v, &fresh);
			if (bytes < 0 ||
			    TIMES_THERE * bytes >=
				    (is_there(l, v) ? TIMES_THERE : TIMES_KEPT) * bytes_of(v)) {
				values_add(r->g, &r->read, v, false);
				continue;
			}
			for (int k = 0; k < fresh.num; k++)
				values_add(r->g, &r->read, fresh.v[k], fresh.made[k]);
		}
}

static int see(void *arg, struct value **v);

/* v, made again in the gradient's body. */
static struct value *make_again(struct reverse *r, struct value *v)
{
	struct graph *g = r->g;
	const struct node *from = v->producer;
	struct node *n = graph_alloc(g, sizeof(*n)), **nodes;
	struct value *to = loop_value(g, v->name, v, 0);

	*n = *from;
	n->in = loop_values(g, from->num_in);
	n->out = loop_values(g, 1);
	n->out[0] = to;
	to->producer = n;
	for (int k = 0; k < n->num_in; k++) {
		n->in[k] = from->in[k];
		if (see(r, &n->in[k]))
			return NULL;
	}
	nodes = graph_alloc(g, ((size_t)r->num_again + 1) * sizeof(struct node *));
	if (r->num_again)
		memcpy(nodes, r->again, (size_t)r->num_again * sizeof(struct node *));
	nodes[r->num_again] = n;
	r->again = nodes;
	append_value(g, &r->again_of, r->num_again++, v);
	return to;
}

/* *v as the gradient's body sees it: one of the other body is a row of what was kept, or made again. arg: struct
 * reverse. */
static int see(void *arg, struct value **v)
{
	struct reverse *r = arg;
	int k;

	if (!*v || (*v)->varies != r->n->loop)
		return 0;
	k = find_value(r->again_of, r->num_again, *v);
	if (k >= 0) {
		*v = r->again[k]->out[0];
		return 0;
	}
	k = find_value(r->read.v, r->read.num, *v);
	if (k >= 0 && r->read.made[k]) {
		*v = make_again(r, *v);
		return *v ? 0 : -1;
	}
	k = find_value(r->rows.of, r->rows.num, *v);
	*v = k >= 0 ? r->rows.row[k] : add_row(r->g, &r->rows, *v, kept(r->g, r->n, *v));
	return *v ? 0 : -1;
}

static int see_all(struct reverse *r)
{
	for (int i = 0; i < r->body.num_nodes; i++)
		if (loop_each_read(r->body.nodes[i], see, r))
			return -1;
	for (int k = 0; k < r->num_carried; k++)
		if (see(r, &r->next[k]))
			return -1;
	return 0;
}

/* A product of matrices in the body, summed over the iterations, is one product: NULL if d is
 * none. What it reads is kept. */
static struct node *whole_product(struct graph *g, struct reverse *r, struct value *d)
{
	struct node *p = loop_makes(&r->body, d) ? d->producer : NULL;
	static const char *const labels[] = { "a", "b" };
	int64_t all[RDU_MAX_DIMS + 1] = { 0 };
	struct node *m;
	int num, ny;
	const int64_t *y;

	if (!p || strcmp(p->op->name, "Contract"))
		return NULL;
	for (int k = 0; k < 3; k++) {
		const int64_t *v = attr_ints(p, k < 2 ? labels[k] : "y", &num);

		if (k < 2 && num == RDU_MAX_DIMS)
			return NULL;
		for (int i = 0; i < num; i++)
			all[0] = v[i] >= all[0] ? v[i] + 1 : all[0];
	}
	if (all[0] >= NEST_MAX_DIMS)
		return NULL;
	m = node_new(g, "Contract", graph_format(g, "%.200s.all", p->name));
	m->of = p->of;
	m->of_node = p->of_node;
	for (int k = 0; k < 2; k++) {
		const int64_t *v = attr_ints(p, labels[k], &num);

		memcpy(all + 1, v, (size_t)num * sizeof(*v));
		node_attr_ints(g, m, labels[k], num + 1, all);
		node_input(g, m, p->in[k]); /* and becomes what is kept of it */
	}
	y = attr_ints(p, "y", &ny);
	node_attr_ints(g, m, "y", ny, y);
	y = attr_ints(p, "shape", &ny);
	node_attr_ints(g, m, "shape", ny, y);
	node_attr_f(g, m, "scale", attr_f(p, "scale", 1));
	return m;
}

static int stack(struct graph *g, struct reverse *r, struct value *v)
{
	int k = find_value(r->stacked, r->num_stacked, v);

	if (k >= 0)
		return k;
	append_value(g, &r->stacked, r->num_stacked, v);
	return r->num_stacked++;
}

/* Rows of what a product in the body read, as a tensor outside of it. */
static struct value *whole_operand(struct reverse *r, const struct node *loop, struct value *v)
{
	int k = find_value(r->rows.row, r->rows.num, v);

	if (k >= 0)
		return r->rows.from[k];
	return loop->out[r->num_carried + find_value(r->stacked, r->num_stacked, v)];
}

/* Hands gradients on to what the loop read. */
static int reverse_outputs(struct graph *g, struct reverse *r, struct node *m,
			   struct node *const *product, struct value *const *captured)
{
	struct node *n = r->n;
	const struct loop *l = n->loop;
	int first = first_captured(l), sum = r->num_carried + r->num_stacked;
	int64_t t = l->trip;
	struct value *d;

	for (int k = 0; k < r->num_carried; k++) {
		struct value *to = n->in[r->carried_of[k]];

		if (!to->needs_grad)
			continue;
		d = graph_pick(g, n->name, m->out[k], 0, t);
		if (!d || graph_add_grad(g, to, d))
			return -1;
	}
	for (int k = 0; k < l->num_rows; k++) {
		int at = l->row[k]->grad ? find_value(r->stacked, r->num_stacked, l->row[k]->grad)
					 : -1;

		if (at < 0)
			continue;
		d = graph_slice(g, n->name, m->out[r->num_carried + at], 0, t - 1, t, true);
		if (!d || graph_add_grad(g, n->in[l->num_carried + k], d))
			return -1;
	}
	for (int k = 0; k < n->num_in - first; k++) {
		if (product[k]) {
			for (int i = 0; i < 2; i++)
				product[k]->in[i] = whole_operand(r, m, product[k]->in[i]);
			if (grad_finish(g, product[k], n->in[first + k]))
				return -1;
		} else if (captured[k] && graph_add_grad(g, n->in[first + k], m->out[sum++])) {
			return -1;
		}
	}
	return 0;
}

/* Of no iterations: the result is what came in. */
static int no_iterations(struct graph *g, struct node *n)
{
	for (int k = 0; k < n->loop->num_carried; k++) {
		struct value *d = n->out[k]->grad;

		d = d ? graph_pick(g, n->name, d, 0, 0) : NULL;
		if (n->out[k]->grad && (!d || graph_add_grad(g, n->in[k], d)))
			return -1;
	}
	return 0;
}

int loop_gradient(struct graph *g, struct node *n)
{
	struct loop *l = n->loop, *b;
	int first = first_captured(l), num = n->num_in - first, nc = l->num_carried;
	struct reverse r = { .g = g,
			     .n = n,
			     .carried_of = graph_alloc(g, ((size_t)nc + 1) * sizeof(int)),
			     .first = loop_values(g, nc),
			     .carried = loop_values(g, nc),
			     .next = loop_values(g, nc),
			     .later = loop_values(g, nc),
			     .dy = loop_values(g, l->num_stacked),
			     .saved = loop_values(g, num) };
	struct node **product = graph_alloc(g, ((size_t)num + 1) * sizeof(*product)), *m;
	struct value **captured = loop_values(g, num);
	struct graph_body outside;

	if (!l->trip)
		return no_iterations(g, n);
	if (reverse_inputs(g, &r))
		return -1;
	for (int k = 0; k < num; k++) {
		r.saved[k] = n->in[first + k]->grad;
		n->in[first + k]->grad = NULL;
	}
	body_begin(g, &outside);
	if (reverse_body(g, &r))
		return body_drop(g, &outside);
	body_end(g, &outside, &r.body);
	plan_again(&r);
	if (see_all(&r))
		return -1;
	for (int k = 0; k < num; k++) {
		captured[k] = n->in[first + k]->grad;
		n->in[first + k]->grad = r.saved[k];
		if (see(&r, &captured[k]))
			return -1;
		if (!captured[k])
			continue;
		product[k] = whole_product(g, &r, captured[k]);
		for (int i = 0; product[k] && i < 2; i++)
			if (find_value(r.rows.row, r.rows.num, product[k]->in[i]) < 0)
				stack(g, &r, product[k]->in[i]);
		if (!product[k])
			append_value(g, &r.summed, r.num_summed++, captured[k]);
	}
	for (int k = 0; k < l->num_rows; k++) {
		if (see(&r, &l->row[k]->grad))
			return -1;
		if (l->row[k]->grad)
			stack(g, &r, l->row[k]->grad);
	}
	b = loop_new(g, l->trip, r.num_carried, r.rows.num, 0, 0);
	b->num_stacked = r.num_stacked;
	b->num_summed = r.num_summed;
	b->stacked = r.stacked ? r.stacked : b->stacked;
	b->summed = r.summed ? r.summed : b->summed;
	b->carried = r.carried;
	b->next = r.next;
	b->row = r.rows.row;
	b->num_nodes = r.num_again + r.body.num_nodes;
	b->nodes = graph_alloc(g, ((size_t)b->num_nodes + 1) * sizeof(*b->nodes));
	for (int i = 0; i < b->num_nodes; i++)
		b->nodes[i] = i < r.num_again ? r.again[i] : r.body.nodes[i - r.num_again];
	m = loop_finish(g, graph_format(g, "%.200s.grad", n->name), b, r.first, r.rows.from);
	if (!m)
		return -1;
	m->of = n->op;
	return reverse_outputs(g, &r, m, product, captured);
}
