// SPDX-License-Identifier: MIT
/*
 * Einsum of any equation, made of products of two operands with every letter once
 * (patterns_matmul.c): dots become letters, diagonals a gather, letters of one operand
 * alone a sum, three operands two products.
 */
#include <ctype.h>
#include <string.h>
#include "bounded.h"

#define MAX_TERMS 16
#define MAX_LETTERS 52

/* A letter's number is its place in this text; dimensions behind dots take free ones. */
static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

struct term {
	int num;
	int label[RDU_MAX_DIMS];
	struct value *v;
};

struct equation {
	int num; /* of operands */
	struct term in[MAX_TERMS], out;
	int64_t extent[MAX_LETTERS]; /* -1: not used */
	bool used[MAX_LETTERS];
	int dots; /* labels that dots stand for, the same for all operands, counted from behind */
	int dot[RDU_MAX_DIMS];
};

static int bad_equation(struct graph *g, const struct node *n, const char *why)
{
	return node_error(g, n, "equation '%.60s': %s", attr_s(n, "equation", ""), why);
}

/* The letters up to `end`, of which dots stand for `ndim` dimensions all together. */
static int read_term(struct graph *g, const struct node *n, struct equation *e, const char *s,
		     const char *end, int ndim, struct term *t)
{
	int given = 0, dots = 0;

	for (const char *p = s; p < end; p++)
		given += isalpha((unsigned char)*p) != 0;
	t->num = 0;
	for (; s < end; s++) {
		int num = 1;

		if (*s == ' ')
			continue;
		if (end - s >= 3 && !strncmp(s, "...", 3)) {
			num = ndim - given;
			if (dots++ || num < 0 || num > e->dots)
				return bad_equation(g, n, "its dots fit no dimensions");
			s += 2;
		} else if (!isalpha((unsigned char)*s)) {
			return bad_equation(g, n, "it has a character that is no letter");
		}
		if (t->num + num > RDU_MAX_DIMS)
			return bad_equation(g, n, "too many dimensions");
		for (int i = 0; i < num; i++)
			t->label[t->num++] = *s == '.' ? e->dot[e->dots - num + i]
						       : (int)(strchr(letters, *s) - letters);
	}
	return t->num == ndim ? 0 : bad_equation(g, n, "it does not fit the shapes");
}

/* How many dimensions the dots stand for, at most, and labels for them. */
static int find_dots(struct graph *g, const struct node *n, struct equation *e)
{
	const char *s = attr_s(n, "equation", "");
	int k = 0, given = 0, free = 0;
	bool dots = false;

	for (const char *p = s;; p++) {
		if (isalpha((unsigned char)*p)) {
			e->used[strchr(letters, *p) - letters] = true;
			given++;
		}
		dots = dots || *p == '.';
		if (*p && *p != ',' && *p != '-')
			continue;
		if (k >= n->num_in)
			return bad_equation(g, n, "it has more operands than there are inputs");
		if (dots && n->in[k]->ndim - given > e->dots)
			e->dots = n->in[k]->ndim - given;
		given = 0;
		dots = false;
		k++;
		if (*p != ',')
			break;
	}
	if (k != n->num_in)
		return bad_equation(g, n, "it has fewer operands than there are inputs");
	for (const char *p = s; *p; p++)
		if (isalpha((unsigned char)*p))
			e->used[strchr(letters, *p) - letters] = true;
	for (int i = 0; i < e->dots; i++) {
		while (free < MAX_LETTERS && e->used[free])
			free++;
		if (free == MAX_LETTERS)
			return bad_equation(g, n, "it has no letter left for its dots");
		e->used[free] = true;
		e->dot[i] = free;
	}
	return 0;
}

/* What no arrow says: dots, then the letters that are there once, in order. */
static int implied_result(struct graph *g, const struct node *n, struct equation *e)
{
	const char *s = attr_s(n, "equation", "");

	for (int i = 0; i < e->dots; i++)
		e->out.label[e->out.num++] = e->dot[i];
	for (int c = 0; c < MAX_LETTERS; c++) {
		int times = 0;

		for (const char *p = s; *p; p++)
			times += *p == letters[c];
		if (times != 1)
			continue;
		if (e->out.num == RDU_MAX_DIMS)
			return bad_equation(g, n, "too many dimensions");
		e->out.label[e->out.num++] = c;
	}
	return 0;
}

static bool has(const struct term *t, int label)
{
	for (int i = 0; i < t->num; i++)
		if (t->label[i] == label)
			return true;
	return false;
}

static int read_equation(struct graph *g, const struct node *n, struct equation *e)
{
	const char *s = attr_s(n, "equation", ""), *arrow = strstr(s, "->");
	const char *stop = arrow ? arrow : s + strlen(s);
	int given = 0;
	bool dots = false;

	if (n->num_in > MAX_TERMS)
		return node_error(g, n, "more than %d operands are not supported", MAX_TERMS);
	if (find_dots(g, n, e))
		return -1;
	for (e->num = 0; e->num < n->num_in; e->num++) {
		struct term *t = &e->in[e->num];
		const char *comma = memchr(s, ',', (size_t)(stop - s));

		t->v = n->in[e->num];
		if (read_term(g, n, e, s, comma ? comma : stop, t->v->ndim, t))
			return -1;
		for (int i = 0; i < t->num; i++) {
			int64_t *x = &e->extent[t->label[i]];

			if (*x < 0 || *x == 1) /* 1 is broadcast, as NumPy does */
				*x = t->v->dim[i];
			else if (t->v->dim[i] != *x && t->v->dim[i] != 1)
				return bad_equation(g, n, "a letter has two sizes");
		}
		s = comma ? comma + 1 : stop;
	}
	if (!arrow)
		return implied_result(g, n, e);
	for (const char *p = arrow + 2; *p; p++) {
		given += isalpha((unsigned char)*p) != 0;
		dots = dots || *p == '.';
	}
	if (read_term(g, n, e, arrow + 2, arrow + strlen(arrow), given + (dots ? e->dots : 0),
		      &e->out))
		return -1;
	for (int i = 0; i < e->out.num; i++) {
		bool there = false;

		for (int k = 0; k < e->num; k++)
			there = there || has(&e->in[k], e->out.label[i]);
		for (int j = 0; j < i; j++)
			there = there && e->out.label[j] != e->out.label[i];
		if (!there)
			return bad_equation(g, n,
					    "its result has a letter that no operand has, "
					    "or one twice");
	}
	return 0;
}

/* Each letter once: the elements where its dimensions agree. */
static int diagonal(struct graph *g, struct node *n, const struct equation *e, struct term *t)
{
	struct term once = { 0 };
	int64_t dim[RDU_MAX_DIMS], total = value_count(t->v), count, *at;
	struct node *m;

	for (int i = 0; i < t->num; i++) {
		if (has(&once, t->label[i]))
			continue;
		dim[once.num] = t->v->dim[i];
		once.label[once.num++] = t->label[i];
	}
	if (once.num == t->num)
		return 0;
	for (int i = 0; i < t->num; i++)
		if (t->v->dim[i] != e->extent[t->label[i]])
			return bad_equation(g, n, "a letter has two sizes");
	count = dims_count(once.num, dim);
	if (count > GRAPH_MAX_FOLD * 16)
		return bad_equation(g, n, "a diagonal of that many elements is not supported");
	at = graph_alloc(g, (size_t)(count + 1) * sizeof(*at));
	for (int64_t k = 0; k < count; k++) {
		int64_t rest = k, place[MAX_LETTERS] = { 0 };

		for (int i = once.num - 1; i >= 0; rest /= dim[i--])
			place[once.label[i]] = rest % dim[i];
		for (int i = 0; i < t->num; i++)
			at[k] = at[k] * t->v->dim[i] + place[t->label[i]];
	}
	m = node_new(g, "Gather", n->name);
	once.v = graph_reshape(g, n->name, t->v, 1, &total);
	if (!once.v)
		return -1;
	node_input(g, m, once.v);
	node_input(g, m, graph_const(g, RDU_DT_I64, once.num, dim, at));
	once.v = graph_finish(g, m);
	*t = once;
	return t->v ? 0 : -1;
}

/* Without the labels of a set: summed, or, where a dimension of 1 is broadcast, left out. */
static int without(struct graph *g, struct node *n, struct term *t, const bool *drop, bool sum)
{
	int64_t axes[RDU_MAX_DIMS], dim[RDU_MAX_DIMS];
	int num = 0, left = 0;

	for (int i = 0; i < t->num; i++) {
		if (drop[t->label[i]]) {
			axes[num++] = i;
			continue;
		}
		dim[left] = t->v->dim[i];
		t->label[left++] = t->label[i];
	}
	t->num = left;
	if (!num)
		return 0;
	t->v = sum ? graph_reduce(g, "ReduceSum", n->name, t->v, num, axes, 0)
		   : graph_reshape(g, n->name, t->v, left, dim);
	return t->v ? 0 : -1;
}

static int make_plain(struct graph *g, struct node *n, struct equation *e, int k)
{
	struct term *t = &e->in[k];
	bool one[MAX_LETTERS] = { 0 }, alone[MAX_LETTERS];

	if (diagonal(g, n, e, t))
		return -1;
	for (int c = 0; c < MAX_LETTERS; c++) {
		alone[c] = !has(&e->out, c);
		for (int j = 0; j < e->num; j++)
			alone[c] = alone[c] && (j == k || !has(&e->in[j], c));
	}
	for (int i = 0; i < t->num; i++)
		one[t->label[i]] = t->v->dim[i] == 1 && e->extent[t->label[i]] != 1;
	return without(g, n, t, one, false) || without(g, n, t, alone, true);
}

/* One operand: its letters in the result's order. */
static struct value *turned(struct graph *g, struct node *n, const struct term *t,
			    const struct term *out)
{
	struct node *m = node_new(g, "Transpose", n->name);
	int64_t perm[RDU_MAX_DIMS];

	for (int i = 0; i < out->num; i++)
		for (int j = 0; j < t->num; j++)
			if (t->label[j] == out->label[i])
				perm[i] = j;
	node_input(g, m, t->v);
	node_attr_ints(g, m, "perm", out->num, perm);
	return graph_finish(g, m);
}

static char *put(char *p, const struct term *t)
{
	for (int i = 0; i < t->num; i++)
		*p++ = letters[t->label[i]];
	return p;
}

/* An operand with a dimension for each letter of `all`; 1 where it has not that letter. */
static struct value *spread(struct graph *g, struct node *n, const struct term *t,
			    const struct term *all)
{
	int64_t dim[RDU_MAX_DIMS];
	struct term own = { 0 };
	struct value *v;

	for (int i = 0; i < all->num; i++)
		if (has(t, all->label[i]))
			own.label[own.num++] = all->label[i];
	v = turned(g, n, t, &own);
	for (int i = 0, k = 0; v && i < all->num; i++)
		dim[i] = has(t, all->label[i]) ? v->dim[k++] : 1;
	return v ? graph_reshape(g, n->name, v, all->num, dim) : NULL;
}

/* Of integers: all products, and sums of those, as the type has them. */
static struct value *integer_product(struct graph *g, struct node *n, const struct term *a,
				     const struct term *b, const struct term *y)
{
	struct term all = *y;
	int64_t axes[RDU_MAX_DIMS], dim[RDU_MAX_DIMS];
	struct value *v[2];
	int num = 0;

	for (int c = 0; c < MAX_LETTERS; c++) {
		if ((!has(a, c) && !has(b, c)) || has(y, c))
			continue;
		if (all.num == RDU_MAX_DIMS) {
			bad_equation(g, n, "too many dimensions");
			return NULL;
		}
		axes[num++] = all.num;
		all.label[all.num++] = c;
	}
	v[0] = spread(g, n, a, &all);
	v[1] = spread(g, n, b, &all);
	if (!v[0] || !v[1])
		return NULL;
	for (int i = 0; i < all.num; i++)
		dim[i] = v[0]->dim[i] == 1 ? v[1]->dim[i] : v[0]->dim[i];
	if (dims_count(all.num, dim) < 0 || dims_count(all.num, dim) > MOST_INTEGER_PRODUCTS) {
		node_error(g, n, "more than 2^22 products of %s are not supported",
			   dtype_name(v[0]->dtype));
		return NULL;
	}
	v[0] = graph_op2(g, "Mul", graph_format(g, "%.200s.products", n->name), v[0], v[1]);
	return v[0] && num ? graph_reduce(g, "ReduceSum", n->name, v[0], num, axes, 0) : v[0];
}

/* a times b: letters that the result or a later operand has stay. */
static int product(struct graph *g, struct node *n, const struct equation *e, int next,
		   struct term *a, const struct term *b)
{
	char text[3 * RDU_MAX_DIMS + 8], *p = text;
	struct term y = { 0 };
	struct node *m;

	if (next == e->num) {
		y = e->out;
	} else {
		for (int c = 0; c < MAX_LETTERS; c++) {
			bool stays = has(&e->out, c);

			for (int k = next; k < e->num; k++)
				stays = stays || has(&e->in[k], c);
			if (!stays || !(has(a, c) || has(b, c)))
				continue;
			if (y.num == RDU_MAX_DIMS)
				return bad_equation(g, n, "too many dimensions");
			y.label[y.num++] = c;
		}
	}
	if (dtype_is_int(a->v->dtype)) {
		y.v = integer_product(g, n, a, b, &y);
		*a = y;
		return y.v ? 0 : -1;
	}
	p = put(p, a);
	*p++ = ',';
	p = put(p, b);
	*p++ = '-';
	*p++ = '>';
	*put(p, &y) = 0;
	m = node_new(g, "Einsum", n->name);
	node_input(g, m, a->v);
	node_input(g, m, b->v);
	node_attr_s(g, m, "equation", graph_format(g, "%s", text));
	node_attr_i(g, m, "plain", 1);
	y.v = graph_finish(g, m);
	*a = y;
	return y.v ? 0 : -1;
}

int graph_einsum(struct graph *g, struct node *n)
{
	struct equation e = { 0 };
	struct term *t = &e.in[0];

	memset(e.extent, -1, sizeof(e.extent));
	if (read_equation(g, n, &e))
		return -1;
	for (int k = 0; k < e.num; k++)
		if (make_plain(g, n, &e, k))
			return -1;
	for (int k = 1; k < e.num; k++)
		if (product(g, n, &e, k + 1, t, &e.in[k]))
			return -1;
	return graph_replace_first(n, e.num > 1 ? t->v : turned(g, n, t, &e.out)) ? -1 : 1;
}

/* A letter has one size. Where it is summed over, there are zeros behind what counts. */
int bounded_einsum(struct graph *g, struct node *n)
{
	struct value *size[MAX_LETTERS] = { NULL }, *to[RDU_MAX_DIMS] = { NULL };
	struct equation e = { 0 };

	memset(e.extent, -1, sizeof(e.extent));
	if (read_equation(g, n, &e))
		return -1;
	for (int k = 0; k < e.num; k++)
		for (int i = 0; i < e.in[k].num; i++)
			if (e.in[k].v->size[i])
				size[e.in[k].label[i]] = e.in[k].v->size[i];
	for (int k = 0; k < e.num; k++) {
		const struct term *t = &e.in[k];
		bool summed = false;

		for (int i = 0; i < t->num; i++) {
			struct value *s = size[t->label[i]];

			if (s != t->v->size[i] && (t->v->size[i] || t->v->dim[i] != 1))
				return bounded_refuse(g, n, first_bounded(n),
						      "together with another size");
			summed |= s && !has(&e.out, t->label[i]);
		}
		if (summed)
			n->in[k] = bounded_filled(g, n->name, n->in[k], FILL_ZERO);
		if (!n->in[k])
			return -1;
	}
	for (int i = 0; i < e.out.num; i++)
		to[i] = size[e.out.label[i]];
	return bounded_process(g, n, to);
}
