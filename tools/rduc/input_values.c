// SPDX-License-Identifier: MIT
/*
 * Inputs whose elements are known while compiling (--value): a sampling rate, a shape, an axis, which
 * models take as inputs, and choose their operators by. They are constants of the graph. Or ranges are
 * known, of sizes that a run says: how often a loop runs, how long a result is (bounded.c).
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "bounded.h"
#include "numerics.h"

const struct import_value *import_given_value(const struct import_options *opt, const char *name)
{
	for (int i = 0; i < opt->num_values; i++)
		if (!strcmp(opt->values[i].name, name))
			return &opt->values[i];
	return NULL;
}

int64_t import_count_numbers(const struct import_value *from)
{
	int64_t num = 1;

	for (const char *s = from->numbers; *s; s++)
		num += *s == ',';
	return num;
}

static uint32_t float_bits(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

/* Element i of an input whose numbers an option gives. False: none of its type. */
static bool take_number(struct value *v, int64_t i, const char *text, char **end)
{
	double real;

	errno = 0;
	if (dtype_is_int(v->dtype)) {
		/* A uint64 beyond int64 has the bits of a negative number. */
		long long n = v->dtype == RDU_DT_U64 && *text != '-'
				      ? (long long)strtoull(text, end, 10)
				      : strtoll(text, end, 10);

		memcpy((char *)v->data + i * dtype_bytes(v->dtype), &n,
		       (size_t)dtype_bytes(v->dtype));
		return *end != text && !errno &&
		       (v->dtype == RDU_DT_U64 ? *text != '-' : value_int(v, i) == n) &&
		       (v->dtype != RDU_DT_BOOL || n == 0 || n == 1);
	}
	real = strtod(text, end);
	if (v->dtype == RDU_DT_F64)
		((double *)v->data)[i] = real;
	else if (v->dtype == RDU_DT_F16)
		((uint16_t *)v->data)[i] = half_bits(real);
	else if (v->dtype == RDU_DT_F32)
		((float *)v->data)[i] = (float)real;
	else
		((uint16_t *)v->data)[i] = (uint16_t)rdu_bf16(float_bits((float)real));
	/* What is too large for the type has become infinite. */
	return *end != text && (isinf(real) ? !errno : !isinf(value_real(v, i)));
}

/* LO..HI, or a number. *more: a comma, or the end. false: it is neither, or no size. */
static bool take_range(const char *text, struct extent *e, const char **more)
{
	char *end;

	errno = 0;
	e->least = e->most = strtoll(text, &end, 10);
	if (end == text)
		return false;
	if (!strncmp(end, "..", 2)) {
		text = end + 2;
		e->most = strtoll(text, &end, 10);
	}
	*more = end;
	return end != text && !errno && (!*end || *end == ',') && e->least >= 0 &&
	       e->most >= e->least && e->most < INT32_MAX;
}

/* An input of sizes: it stays one, and each run says them, within their ranges. */
static int import_ranges(struct graph *g, struct value *v, const struct import_value *from,
			 int64_t num, int64_t count)
{
	struct extent *e = graph_alloc(g, (size_t)(count + 1) * sizeof(*e));
	const char *at = from->numbers, *more = at;

	if (v->dtype != RDU_DT_I64 && v->dtype != RDU_DT_I32)
		return graph_error(g, "--value %s: a range is of int32 or int64, not %s", v->name,
				   dtype_name(v->dtype));
	for (int64_t i = 0; i < count; i++) {
		if (!take_range(at, &e[i], &more))
			return graph_error(
				g, "--value %s: '%.*s' is no range of sizes, LO..HI from 0 on",
				v->name, (int)strcspn(at, ","), at);
		at = num > 1 ? more + 1 : at;
	}
	v->extents = e;
	return 0;
}

int import_value(struct graph *g, struct value *v, const struct import_value *from)
{
	int64_t num = import_count_numbers(from), count = value_count(v);
	const char *at = from->numbers;

	if (num != 1 && num != count)
		return graph_error(
			g, "--value %s: %" PRId64 " numbers for %" PRId64 " elements, %s%s",
			v->name, num, count, dtype_name(v->dtype), value_shape_text(g, v));
	if (strstr(from->numbers, "..") && (count < 1 || count > MAX_EXTENTS))
		return graph_error(g, "--value %s: ranges of %" PRId64 " elements, not of 1 to %d",
				   v->name, count, MAX_EXTENTS);
	if (strstr(from->numbers, ".."))
		return import_ranges(g, v, from, num, count);
	v->data = graph_alloc(g, (size_t)(count ? count : 1) * (size_t)dtype_bytes(v->dtype));
	for (int64_t i = 0; i < count; i++) {
		char *end = NULL;

		if (!take_number(v, i, at, &end) || (*end && *end != ','))
			return graph_error(g, "--value %s: '%.*s' is not a number of type %s",
					   v->name, (int)strcspn(at, ","), at,
					   dtype_name(v->dtype));
		at = num > 1 ? end + 1 : at;
	}
	v->kind = TENSOR_WEIGHT;
	v->constant = v->given = true;
	return 0;
}
