// SPDX-License-Identifier: MIT
/*
 * A Loop whose iterations are made one behind the other while compiling: that is how sequences go through one, and
 * how a `while` runs that says no number of iterations, but whose condition is known while compiling.
 */
#include <string.h>
#include "bounded.h"
#include "graph.h"

#define MAX_UNROLLED (1 << 16) /* nodes that all iterations have */

/* What the values of a body are in an iteration. */
struct iteration {
	int num;
	struct value **of, **is;
};

static struct value *now(const struct iteration *it, struct value *v)
{
	for (int i = it->num - 1; i >= 0; i--)
		if (it->of[i] == v)
			return value_resolve(it->is[i]);
	return value_resolve(v);
}

static void set(struct iteration *it, struct value *v, struct value *is)
{
	it->of[it->num] = v;
	it->is[it->num++] = is;
}

static int process_copy(struct graph *g, struct node *n, const struct node *from, int number,
			struct iteration *it)
{
	struct node *m = graph_alloc(g, sizeof(*m));

	if (from->op->missing)
		return node_error(g, n, "node '%.60s' (%.40s) of its body is not supported",
				  from->name, from->op->name);
	for (const struct attr *a = from->attrs; a; a = a->next)
		if (a->graph)
			return node_error(
				g, n,
				"its body is made once for each iteration, and has a graph in "
				"node '%.60s' (%.40s): not supported",
				from->name, from->op->name);
	*m = *from;
	m->name = graph_format(g, "%.200s.%d", from->name, number);
	m->in = graph_alloc(g, ((size_t)m->num_in + 1) * sizeof(*m->in));
	m->out = graph_alloc(g, ((size_t)m->num_out + 1) * sizeof(*m->out));
	for (int i = 0; i < m->num_in; i++)
		m->in[i] = from->in[i] ? now(it, from->in[i]) : NULL;
	for (int i = 0; i < m->num_out; i++) {
		if (!from->out[i])
			continue;
		m->out[i] =
			graph_value(g, graph_format(g, "%.200s.%d", from->out[i]->name, number));
		m->out[i]->producer = m;
		m->out[i]->declared = from->out[i]->declared;
		set(it, from->out[i], m->out[i]);
	}
	return graph_process_bounded(g, m);
}

bool loop_has_sequences(const struct node *n)
{
	for (int i = 0; i < n->num_in; i++)
		if (n->in[i] && n->in[i]->sequence)
			return true;
	return false;
}

int loop_unrolled(struct graph *g, struct node *n, const struct subgraph *s, int64_t most)
{
	int carried = n->num_real - 2, stacked = s->num_out - 1 - carried, room = s->num_in;
	struct value **state = graph_alloc(g, ((size_t)carried + 1) * sizeof(*state)), *go, *v;
	struct sequence *rows = graph_alloc(g, ((size_t)stacked + 1) * sizeof(*rows));
	int64_t i = 0;

	for (int k = 0; k < s->num_nodes; k++)
		room += s->nodes[k]->num_out;
	for (int k = 0; k < carried; k++) {
		if (!n->in[2 + k])
			return node_error(g, n, "input %d is not given", 2 + k);
		state[k] = n->in[2 + k];
	}
	go = node_in(n, 1) ? node_in(n, 1)
			   : graph_cast(g, n->name, graph_const_i(g, 1), RDU_DT_BOOL);
	for (; i < most; i++) {
		struct iteration it = { 0, graph_alloc(g, ((size_t)room + 1) * sizeof(*it.of)),
					graph_alloc(g, ((size_t)room + 1) * sizeof(*it.is)) };

		if (!go)
			return -1;
		if (!go->constant || !go->data || value_count(go) != 1)
			return node_error(g, n,
					  "its iterations are made one by one, as it %s, and its "
					  "condition '%.60s' is not a constant: not supported",
					  loop_has_sequences(n)
						  ? "has sequences"
						  : "has no trip count (input 'M') that ends it",
					  go->name);
		if (!value_int(go, 0))
			break;
		if ((i + 1) * (s->num_nodes + 1) > MAX_UNROLLED)
			return node_error(
				g, n,
				"more than %lld iterations of %d nodes, which are made one by "
				"one: not supported",
				(long long)i, s->num_nodes);
		set(&it, s->in[0], graph_const_i(g, i));
		set(&it, s->in[1], go);
		for (int k = 0; k < carried; k++)
			set(&it, s->in[2 + k], state[k]);
		for (int k = 0; k < s->num_nodes; k++)
			if (process_copy(g, n, s->nodes[k], (int)i, &it))
				return -1;
		go = now(&it, s->out[0]);
		for (int k = 0; k < carried; k++)
			state[k] = now(&it, s->out[1 + k]);
		for (int k = 0; k < stacked; k++) {
			v = now(&it, s->out[1 + carried + k]);
			if (v->sequence)
				return node_error(
					g, n, "'%.60s' of its body is a sequence: not supported",
					s->out[1 + carried + k]->name);
			sequence_append(g, &rows[k], v);
		}
	}
	for (int k = 0; k < carried; k++)
		graph_replace(n, k, state[k]);
	for (int k = 0; k < stacked; k++) {
		if (carried + k >= n->num_out || !n->out[carried + k])
			continue;
		if (!i)
			return node_error(g, n, "output %d is of no iterations: not supported",
					  carried + k);
		v = sequence_joined(g, graph_format(g, "%.200s.%d", n->name, k), &rows[k], 0, true);
		if (!v)
			return -1;
		graph_replace(n, carried + k, v);
	}
	return 0;
}
