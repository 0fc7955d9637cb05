// SPDX-License-Identifier: MIT
/*
 * Sizes of dimensions, as --shape and --dim have them: a number, from 1 to 8 (1..8), in steps
 * (16..512:16), times a number (1..64:x2), several of these ([1,2,16..64:16]), or a name.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "compile.h"

#undef free /* nothing here belongs to a compile */

/* What is being read, and where reasons go. */
struct reading {
	const char *option, *value; /* "--shape" */
	char *error;
	size_t error_size;
};

__attribute__((format(printf, 2, 3))) static int wrong(const struct reading *r, const char *fmt,
						       ...)
{
	va_list ap;
	int n = snprintf(r->error, r->error_size, "%s %s: ", r->option, r->value);

	va_start(ap, fmt);
	if (n >= 0 && (size_t)n < r->error_size)
		vsnprintf(r->error + n, r->error_size - (size_t)n, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int no_memory(const struct reading *r)
{
	snprintf(r->error, r->error_size, "out of memory");
	return -ENOMEM;
}

/* A number; *at goes behind it. */
static int number(const struct reading *r, const char **at, int64_t *out)
{
	char *end;
	long long v;

	errno = 0;
	v = isdigit((unsigned char)**at) ? strtoll(*at, &end, 10) : -1;
	if (v < 0 || v > INT32_MAX || errno)
		return wrong(r, "a size is a number from 0 to %d, not '%.*s'", INT32_MAX,
			     (int)strcspn(*at, ",]"), *at);
	*out = v;
	*at = end;
	return 0;
}

static int add_size(const struct reading *r, struct sizes *to, int64_t size)
{
	if (to->num && size <= to->size[to->num - 1])
		return wrong(r, "sizes go up, each once, but %" PRId64 " comes behind %" PRId64,
			     size, to->size[to->num - 1]);
	if (to->num == RDU_MAX_ENTRIES)
		return wrong(
			r,
			"more than %d sizes of a dimension: each is an entry point, of which a "
			"program has at most %d; take larger steps (16..512:64, 1..64:x2)",
			RDU_MAX_ENTRIES, RDU_MAX_ENTRIES);
	to->size[to->num++] = size;
	return 0;
}

/* A..B, A..B:STEP or A..B:xFACTOR, which begins at `text`; *at goes from behind A behind it. */
static int range(const struct reading *r, const char *text, const char **at, int64_t from,
		 struct sizes *to)
{
	int64_t last, step = 1, size = from;
	bool times = false;

	*at += 2;
	if (number(r, at, &last))
		return -EINVAL;
	if (**at == ':') {
		times = *++*at == 'x';
		*at += times;
		if (number(r, at, &step))
			return -EINVAL;
	}
	if (last < from)
		return wrong(r, "the range %" PRId64 "..%" PRId64 " is reversed", from, last);
	if (step < (times ? 2 : 1) || (times && !from))
		return wrong(r, "'%.*s' goes on for ever", (int)(*at - text), text);
	for (; size < last; size = times ? size * step : size + step)
		if (add_size(r, to, size))
			return -EINVAL;
	if (size != last)
		return wrong(r, "'%.*s' does not come to %" PRId64 ": the next one is %" PRId64,
			     (int)(*at - text), text, last, size);
	return add_size(r, to, last);
}

/* A size, a range, or several in brackets; *at goes behind them. */
static int sizes(const struct reading *r, const char **at, struct sizes *to)
{
	bool several = **at == '[';

	do {
		const char *text = *at += several;
		int64_t from;
		int ret;

		if (number(r, at, &from))
			return -EINVAL;
		ret = !strncmp(*at, "..", 2) ? range(r, text, at, from, to) : add_size(r, to, from);
		if (ret)
			return ret;
	} while (several && **at == ',');
	if (several && **at != ']')
		return wrong(r, "a ']' is missing in front of '%s'", *at);
	*at += several;
	if (**at && **at != ',')
		return wrong(r, "what is '%s'?", *at);
	return 0;
}

static bool known(const struct settings *s, const char *name)
{
	for (int i = 0; i < s->num_sizes; i++)
		if (!strcmp(s->sizes[i].name, name))
			return true;
	return false;
}

/* Their names are the settings' from then on. */
static int keep_sizes(const struct reading *r, struct settings *s, const struct sizes *from,
		      int num)
{
	struct sizes *more;

	if (s->num_sizes + num > IMPORT_MAX_DIMS)
		return wrong(r, "more than %d dimensions with sizes of their own", IMPORT_MAX_DIMS);
	more = realloc(s->sizes, ((size_t)s->num_sizes + (size_t)num + 1) * sizeof(*more));
	if (!more)
		return no_memory(r);
	s->sizes = more;
	memcpy(more + s->num_sizes, from, (size_t)num * sizeof(*from));
	s->num_sizes += num;
	return 0;
}

void shape_free(struct import_shape *shape)
{
	free((char *)shape->name);
	for (int d = 0; d < shape->ndim; d++)
		free((char *)shape->named[d]);
}

/* The name of sizes that are in a --shape themselves. */
static char *name_of(const char *input, int d)
{
	size_t room = strlen(input) + 16;
	char *name = malloc(room);

	if (name)
		snprintf(name, room, "%s[%d]", input, d);
	return name;
}

/* A dimension of --shape; *at goes behind it. own: what it says itself, if that are several. */
static int shape_dim(const struct reading *r, const struct settings *s, const char **at,
		     struct import_shape *shape, struct sizes *own)
{
	int d = shape->ndim, ret;

	*own = (struct sizes){ 0 };
	if (isalpha((unsigned char)**at) || **at == '_') {
		size_t n = strcspn(*at, ",");

		shape->named[d] = strndup(*at, n);
		*at += n;
		shape->ndim++;
		return shape->named[d] ? 0 : no_memory(r);
	}
	ret = sizes(r, at, own);
	if (ret)
		return ret;
	shape->ndim++;
	if (own->num == 1) {
		shape->dim[d] = own->size[0];
		return 0;
	}
	own->name = name_of(shape->name, d);
	shape->named[d] = own->name ? strdup(own->name) : NULL;
	if (!shape->named[d])
		return no_memory(r);
	return known(s, own->name) ? wrong(r, "'%s' has sizes already", own->name) : 0;
}

static int keep_shape(const struct reading *r, struct settings *s, const struct import_shape *shape)
{
	struct import_shape *more =
		realloc(s->shapes, ((size_t)s->import.num_shapes + 1) * sizeof(*s->shapes));

	if (!more)
		return no_memory(r);
	s->import.shapes = s->shapes = more;
	more[s->import.num_shapes++] = *shape;
	return 0;
}

/* NAME=1,1..8,[16,32]; the name may hold '='. */
int settings_shape(struct settings *s, const char *value, char *error, size_t error_size)
{
	const struct reading r = { "--shape", value, error, error_size };
	const char *dims = strrchr(value, '='), *at;
	struct sizes own[RDU_MAX_DIMS] = { 0 };
	struct import_shape shape = { 0 };
	int num = 0, ret = 0;

	if (!dims || dims == value || !dims[1]) {
		snprintf(error, error_size, "--shape takes NAME=D,D,..., not '%s'", value);
		return -EINVAL;
	}
	shape.name = strndup(value, (size_t)(dims - value));
	if (!shape.name)
		return no_memory(&r);
	for (at = dims + 1; !ret; at++) {
		if (shape.ndim == RDU_MAX_DIMS) {
			ret = wrong(&r, "more than %d dimensions", RDU_MAX_DIMS);
			break;
		}
		ret = shape_dim(&r, s, &at, &shape, &own[num]);
		num += !!own[num].name;
		if (!*at)
			break;
	}
	if (!ret)
		ret = keep_shape(&r, s, &shape);
	if (!ret) {
		ret = keep_sizes(&r, s, own, num);
		s->import.num_shapes -= !!ret;
	}
	if (!ret)
		return 0;
	shape_free(&shape);
	for (int i = 0; i < num; i++)
		free(own[i].name);
	return ret;
}

/* NAME=SIZES. */
int settings_dim(struct settings *s, const char *value, char *error, size_t error_size)
{
	const struct reading r = { "--dim", value, error, error_size };
	const char *eq = strrchr(value, '='), *at;
	struct sizes to = { 0 };
	int ret;

	if (!eq || eq == value || !eq[1]) {
		snprintf(error, error_size, "--dim takes NAME=SIZES, not '%s'", value);
		return -EINVAL;
	}
	at = eq + 1;
	ret = sizes(&r, &at, &to);
	if (ret)
		return ret;
	if (*at)
		return wrong(&r, "sizes with commas between them stand in brackets: [1,2,4]");
	to.name = strndup(value, (size_t)(eq - value));
	if (!to.name)
		return no_memory(&r);
	ret = known(s, to.name) ? wrong(&r, "'%s' has sizes already", to.name)
				: keep_sizes(&r, s, &to, 1);
	if (ret)
		free(to.name);
	return ret;
}
