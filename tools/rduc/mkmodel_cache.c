// SPDX-License-Identifier: MIT
/*
 * rdu-mkmodel: models that go on where their last run ended. What they remember is an input
 * (past...) and an output (present...) of one shape: of attention the keys and values of all places
 * that a sequence can have, as the transformers library's exporters call them, of a recurrence its
 * state.
 */
#include <stdlib.h>
#include "graph.h"
#include "mem.h"
#include "mkmodel.h"

int mk_check_cache(const struct mk *m, int64_t places, int64_t length)
{
	if (places && places < length)
		return mk_refuse(m, "--cache %lld has no room for --t %lld", (long long)places,
				 (long long)length);
	return 0;
}

/* Where rows [batch, heads, T] of a cache [batch, heads, places, ...] lie, from the position on. */
static const char *row_indices(struct mk *m, const struct mk_cache *c)
{
	int64_t *v = xcalloc((size_t)(c->batch * c->heads * c->length * 3), sizeof(*v)), *to = v;
	int64_t third[] = { 0, 0, 1 };
	const char *from;

	for (int64_t b = 0; b < c->batch; b++)
		for (int64_t h = 0; h < c->heads; h++)
			for (int64_t t = 0; t < c->length; t++) {
				*to++ = b;
				*to++ = h;
				*to++ = t;
			}
	from = mk_int_table(m, "cache", DIMS(c->batch, c->heads, c->length, 3), v);
	free(v);
	return MK_OP(m, "cache", "Add", from,
		     MK_OP(m, "cache", "Mul", c->position, mk_ints(m, "cache", 1, third, 3)));
}

struct mk_cache mk_cache(struct mk *m, int64_t places, int64_t length, int64_t batch, int64_t heads)
{
	struct mk_cache c = { .places = places, .length = length, .batch = batch, .heads = heads };
	int64_t *number = xcalloc((size_t)places, sizeof(*number));
	const char *keys;

	for (int64_t i = 0; i < places; i++)
		number[i] = i;
	c.position = mk_input(m, "position", RDU_DT_I64, DIMS(1));
	c.at = MK_OP(m, "cache", "Add", mk_ints(m, "cache", 1, number, length), c.position);
	keys = mk_ints(m, "cache", 1, number, places);
	c.mask = MK_OP(m, "cache", "LessOrEqual", keys,
		       mk_reshape(m, "cache", c.at, DIMS(length, 1)));
	c.rows = row_indices(m, &c);
	free(number);
	return c;
}

const char *mk_cached(struct mk *m, const char *scope, const struct mk_cache *c, int64_t layer,
		      const char *what, const char *rows, int64_t width)
{
	const char *past = mk_input(m, mk_text("past_key_values.%lld.%s", (long long)layer, what),
				    0, DIMS(c->batch, c->heads, c->places, width));
	const char *present = mk_text("present.%lld.%s", (long long)layer, what);

	rows = MK_OP(m, scope, "ScatterND", past, c->rows, rows);
	mk_output(m, present, rows, DIMS(c->batch, c->heads, c->places, width));
	return present;
}

const char *mk_past(struct mk *m, int64_t layer, const char *what, int64_t batch, int64_t width)
{
	return mk_input(m, mk_text("past.%lld.%s", (long long)layer, what), 0, DIMS(batch, width));
}

const char *mk_present(struct mk *m, int64_t layer, const char *what, const char *value,
		       int64_t batch, int64_t width)
{
	const char *name = mk_text("present.%lld.%s", (long long)layer, what);

	mk_output(m, name, value, DIMS(batch, width));
	return name;
}
