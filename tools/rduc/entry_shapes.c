// SPDX-License-Identifier: MIT
/*
 * A model for several shapes: an entry point for each. The largest has the plain name (forward), the
 * others have their sizes behind it: forward[1,16]. Weights are one for all of them, and so are
 * constants that are equal.
 */
#include <inttypes.h>
#include <string.h>
#include "compile.h"

/* The model at the sizes that the dims have now. */
static struct graph *at_sizes(struct run *r, const struct shapes *s)
{
	struct import_options opt = *s->opt;

	opt.train_only = opt.freeze = opt.no_decay = (struct name_patterns){ 0 };
	opt.first = s->first;
	return graph_import(s->model, s->size, &opt, r->c->error, ERROR_SIZE);
}

void largest_sizes(struct run *r)
{
	for (int i = 0; i < r->c->set.num_sizes; i++) {
		const struct sizes *s = &r->c->set.sizes[i];

		r->dim[i] = (struct import_dim){ s->name, s->size[s->num - 1] };
	}
}

/* Which dims have several sizes, and how many shapes that makes; -1 with a text: too many. */
static int count_shapes(struct run *r, struct shapes *s, uint64_t used, int entries)
{
	struct rduc *c = r->c;
	char list[400] = "";
	int64_t num = 1;
	size_t at = 0;

	for (int i = 0; i < c->set.num_sizes; i++) {
		const struct sizes *z = &c->set.sizes[i];

		if (!(used >> i & 1) || z->num == 1)
			continue;
		if (num <= RDU_MAX_ENTRIES)
			s->dim[s->num++].size = i;
		num = num > INT32_MAX ? num : num * z->num;
		if (at < sizeof(list))
			at += (size_t)snprintf(list + at, sizeof(list) - at, "%s'%s' has %d",
					       at ? ", " : "", z->name, z->num);
	}
	if (num - 1 + entries <= RDU_MAX_ENTRIES)
		return (int)num;
	return compile_fail(
		c, -1,
		"%s: %" PRId64 " shapes%s (sizes: %s), each an entry point, of which a program has "
		"at most %d; take larger steps (16..512:64, 1..64:x2)",
		s->name, num, entries > 1 ? " beside the others" : "", list, RDU_MAX_ENTRIES);
}

/* The proof that a dim may be padded, in a graph of its own; NULL with a text: there is no such graph. */
static struct graph *try_witness(struct run *r, const struct shapes *s, int size,
				 struct rows_proof *proof)
{
	struct module *m = NULL;
	struct rows *rows = NULL;
	struct graph *g;

	r->dim[size].size = ROWS_WITNESS;
	g = at_sizes(r, s);
	if (g) {
		rows = rows_begin(g);
		g->arrays = r->chip.systolic_cols;
		m = graph_simplify(g) ? NULL : graph_patterns(g);
	}
	if (m) {
		rows_prove(g, rows, m, size, proof);
	} else {
		graph_free(g);
		g = NULL;
	}
	module_free(m);
	largest_sizes(r);
	return g;
}

/* Looks whether a dim may be padded, and says what comes of it. */
static void prove(struct run *r, const struct shapes *s, struct shapes_dim *d)
{
	struct rduc *c = r->c;
	const struct sizes *z = &c->set.sizes[d->size];
	struct rows_proof proof = { 0 };
	struct graph *g = try_witness(r, s, d->size, &proof);
	const char *why = g ? proof.against : c->error;
	char text[600];

	d->padded = !why;
	if (why)
		snprintf(text, sizeof(text), "%s: '%s' has to be one of its sizes: %.*s", s->name,
			 z->name, (int)strcspn(why, "\n"), why);
	else
		snprintf(text, sizeof(text),
			 "%s: '%s' may be any size up to %" PRId64 ": what is missing is padded",
			 s->name, z->name, z->size[z->num - 1]);
	compile_note(c, text);
	if (d->padded) {
		d->output = xmalloc((size_t)g->num_outputs + 1);
		memcpy(d->output, proof.output, (size_t)g->num_outputs);
	}
	graph_free(g);
	c->error[0] = 0;
}

/* Is an output's dimension as large as its rows? */
static bool has_rows(const struct run *r, const struct shapes *s, const struct graph *g,
		     const struct module *m, const char *scope, int i)
{
	for (int k = 0; k < g->num_outputs; k++) {
		const struct tensor *t = module_output(m, scope, g->outputs[k].name);
		int d = s->dim[i].output[k];

		if (t && d >= 0 && (d >= t->ndim || t->dim[d] != r->dim[s->dim[i].size].size))
			return false;
	}
	return true;
}

/* Marks the rows of an entry point's inputs and outputs. */
static void mark_rows(const struct run *r, const struct shapes *s, struct graph *g,
		      const struct module *m, const char *scope)
{
	for (int i = 0; i < s->num; i++) {
		if (!s->dim[i].padded || !has_rows(r, s, g, m, scope, i))
			continue;
		for (int v = 0; v < g->num_values; v++)
			for (int d = 0; d < g->values[v]->ndim; d++)
				if (g->values[v]->sized[d] == s->dim[i].size + 1)
					g->values[v]->tensor->rows |= RDU_SYM_ROWS(d, i + 1);
		for (int k = 0; k < g->num_outputs; k++) {
			struct tensor *t = module_output(m, scope, g->outputs[k].name);

			if (t && s->dim[i].output[k] >= 0)
				t->rows |= RDU_SYM_ROWS(s->dim[i].output[k], i + 1);
		}
	}
}

/* Sets the sizes of shape number `number`, the largest being the last, and its entry point's name. */
static int take_sizes(struct run *r, const struct shapes *s, int number, char name[64])
{
	size_t at = (size_t)snprintf(name, 64, "%s[", s->name);

	for (int i = s->num - 1; i >= 0; i--) {
		const struct sizes *z = &r->c->set.sizes[s->dim[i].size];

		r->dim[s->dim[i].size].size = z->size[number % z->num];
		number /= z->num;
	}
	for (int i = 0; i < s->num && at < 64; i++)
		at += (size_t)snprintf(name + at, 64 - at, "%s%" PRId64, i ? "," : "",
				       r->dim[s->dim[i].size].size);
	if (at + 1 < 64)
		at += (size_t)snprintf(name + at, 64 - at, "]");
	if (at < sizeof(((struct module_entry *)0)->name))
		return 0;
	return compile_fail(r->c, -1, "%s: the entry point's name has more than %zu characters",
			    name, sizeof(((struct module_entry *)0)->name) - 1);
}

/* An entry point for the sizes that the dims have now. */
static int shape_entry(struct run *r, const struct shapes *s, struct module *m, const char *name)
{
	struct rduc *c = r->c;
	struct graph *g = at_sizes(r, s);
	int ret = -1;

	if (g && !compile_simplify(r, g) && !graph_patterns_entry(g, m, name)) {
		mark_rows(r, s, g, m, graph_format(g, "%s/", name));
		if (compile_prints(c, "patterns"))
			module_entry_print(&m->entries[m->num_entries - 1], r->log);
		ret = 0;
	} else {
		char *text = xstrdup(c->error);

		snprintf(c->error, ERROR_SIZE, "%s: %s", name, text);
		xfree(text);
	}
	graph_free(g);
	return ret;
}

int shape_entries(struct run *r, struct shapes *s, struct graph *g, struct module *m,
		  const char *scope)
{
	int num = count_shapes(r, s, g->dims_used, m->num_entries), ret = 0;
	char name[64];

	r->dims_used |= g->dims_used;
	r->batch_used |= g->batch_used;
	if (num <= 1)
		return num - 1;
	if (r->c->set.train && s->first == g)
		return compile_fail(
			r->c, -1,
			"--train: '%s' has several sizes; a model that is trained has one "
			"shape, others can be entry points of their own (--entry NAME=FILE)",
			r->dim[s->dim[0].size].name);
	for (int i = 0; i < s->num; i++)
		prove(r, s, &s->dim[i]);
	mark_rows(r, s, g, m, scope);
	for (int i = 0; i < num - 1 && !ret; i++) {
		ret = take_sizes(r, s, i, name);
		if (!ret)
			ret = shape_entry(r, s, m, name);
	}
	largest_sizes(r);
	for (int i = 0; i < s->num; i++)
		xfree(s->dim[i].output);
	return ret;
}

int check_dims(struct run *r)
{
	for (int i = 0; i < r->c->set.num_sizes; i++)
		if (!(r->dims_used >> i & 1))
			return compile_fail(r->c, -1,
					    "--dim %s: no input has such a dimension open",
					    r->c->set.sizes[i].name);
	if (r->c->set.import.batch && !r->batch_used)
		return compile_fail(
			r->c, -1,
			"--batch: no input has its first dimension open; --shape NAME=D,D,... "
			"changes one");
	return 0;
}
