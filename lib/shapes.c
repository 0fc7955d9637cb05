/* SPDX-License-Identifier: MIT */
/*
 * Shapes: which of the entry points that were made of one graph takes inputs of given shapes, and
 * what lies beside them where it takes more rows than there are.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

/* ---- names --------------------------------------------------------------------------- */

static bool begins_with(const char *text, const char *name, size_t n, char next)
{
	return !strncmp(text, name, n) && text[n] == next;
}

/* Is entry point number i of the same graph as the one called `base`, for other shapes? */
static bool is_variant(const struct rdu_file *file, unsigned int i, const char *base)
{
	return begins_with(file->entries[i].name, base, strlen(base), '[');
}

/* Are an entry point's inputs and outputs called ENTRY/...? */
static bool has_scope(const struct rdu_file *file, const char *entry)
{
	size_t n = strlen(entry);

	for (unsigned int i = 0; i < file->num_symbols; i++)
		if (begins_with(file->symbols[i].name, entry, n, '/'))
			return true;
	return false;
}

/* A tensor of entry point e, by its name in the model, or with ENTRY/ in front of that; -1: none. */
static int symbol_in(const struct rdu_file *file, unsigned int e, const char *name)
{
	const char *entry = file->entries[e].name;
	size_t base = strcspn(entry, "["), n = strlen(entry);
	char *full;
	int i;

	if (begins_with(name, entry, n, '/'))
		name += n + 1;
	else if (entry[base] && begins_with(name, entry, base, '/'))
		name += base + 1;
	full = malloc(n + strlen(name) + 2);
	if (!full)
		return -1;
	sprintf(full, "%s/%s", entry, name);
	i = lr_symbol(file, full);
	free(full);
	if (i >= 0)
		return i;
	i = lr_symbol(file, name);
	return i >= 0 && (file->symbols[i].entries >> e & 1 || !has_scope(file, entry)) ? i : -1;
}

RDU_EXPORT int rdu_file_entry_symbol(struct rdu_file *file, unsigned int entry, const char *name)
{
	struct lr_names list = { 0 };
	int i;

	if (entry >= rdu_file_num_entries(file))
		return lr_fail(&file->obj, -EINVAL, "%s: no entry point number %u", file->path,
			       entry);
	i = symbol_in(file, entry, name);
	if (i >= 0)
		return i;
	for (unsigned int k = 0; k < file->num_symbols; k++)
		if (file->symbols[k].entries >> entry & 1 &&
		    file->symbols[k].flags & (RDU_SYM_INPUT | RDU_SYM_OUTPUT))
			lr_names_add(&list, file->symbols[k].name);
	return lr_fail(&file->obj, -ENOENT, "%s: %s has no \"%s\"; inputs and outputs are: %s",
		       file->path, file->entries[entry].name, name, list.text);
}

/* ---- which one fits ------------------------------------------------------------------- */

/* Rows that are given, by kind; -1: none yet. */
struct given {
	int64_t rows[8];
};

/* Do all inputs fit the entry point? Then how many elements it takes for them, else -1. */
static int64_t fits(const struct rdu_file *file, unsigned int e, const struct rdu_shape *shape,
		    unsigned int num, struct given *given)
{
	int64_t elements = 0;

	memset(given, 0xff, sizeof(*given));
	for (unsigned int i = 0; i < num; i++) {
		int k = symbol_in(file, e, shape[i].name);
		const struct rdu_file_symbol *sym = k < 0 ? NULL : &file->symbols[k];

		if (!sym || !(sym->flags & RDU_SYM_INPUT) || sym->ndim != shape[i].ndim)
			return -1;
		for (unsigned int d = 0; d < sym->ndim; d++) {
			unsigned int kind = RDU_SYM_ROWS_OF(sym->flags, d);
			int64_t *rows = &given->rows[kind], size = shape[i].dims[d];

			if (size != sym->dims[d] && (!kind || size < 1 || size > sym->dims[d]))
				return -1;
			if (kind && *rows >= 0 && *rows != size)
				return -1;
			if (kind)
				*rows = size;
		}
		elements += rdu_symbol_size(sym) / rdu_dtype_size(sym->dtype);
	}
	return elements;
}

static size_t add_shape(char *text, size_t room, size_t at, const char *name, unsigned int ndim,
			const int64_t *dims, uint32_t flags)
{
	if (at < room)
		at += snprintf(text + at, room - at, " %s [", name);
	for (unsigned int d = 0; d < ndim && at < room; d++)
		at += snprintf(text + at, room - at, "%s%s%lld", d ? "," : "",
			       dims[d] > 1 && RDU_SYM_ROWS_OF(flags, d) ? "1.." : "",
			       (long long)dims[d]);
	if (at < room)
		at += snprintf(text + at, room - at, "]");
	return at;
}

/* The inputs as an entry point has them; at grows, or stays where there is no room for all. */
static size_t add_inputs(const struct rdu_file *file, unsigned int e, const struct rdu_shape *shape,
			 unsigned int num, char *text, size_t room, size_t at)
{
	size_t begin = at;

	at += snprintf(text + at, room - at, at ? ";" : "");
	for (unsigned int i = 0; i < num; i++) {
		int k = symbol_in(file, e, shape[i].name);

		if (k >= 0)
			at = add_shape(text, room, at, shape[i].name, file->symbols[k].ndim,
				       (const int64_t *)file->symbols[k].dims,
				       file->symbols[k].flags);
	}
	if (at < room)
		return at;
	text[begin] = 0;
	return begin;
}

/* None does: what is given, and what there is. */
static int no_fit(struct rdu_file *file, unsigned int first, const struct rdu_shape *shape,
		  unsigned int num)
{
	const char *base = file->entries[first].name;
	char wanted[300] = "", list[500] = "", more[32] = "";
	unsigned int left = 0;
	size_t at = 0;

	for (unsigned int i = 0; i < num; i++) {
		int k = rdu_file_entry_symbol(file, first, shape[i].name);

		if (k < 0)
			return k;
		if (!(file->symbols[k].flags & RDU_SYM_INPUT))
			return lr_fail(&file->obj, -EINVAL, "%s: \"%s\" is not an input of %s",
				       file->path, shape[i].name, base);
		at = add_shape(wanted, sizeof(wanted), at, shape[i].name, shape[i].ndim,
			       shape[i].dims, 0);
	}
	at = 0;
	for (unsigned int e = 0; e < file->header->num_entries; e++) {
		size_t was = at;

		if (e != first && !is_variant(file, e, base))
			continue;
		at = add_inputs(file, e, shape, num, list, sizeof(list), at);
		left += at == was;
	}
	if (left)
		snprintf(more, sizeof(more), "; and %u more", left);
	return lr_fail(&file->obj, -EINVAL, "%s: %s does not take%s; it takes%s%s", file->path,
		       base, wanted, list, more);
}

RDU_EXPORT int rdu_file_entry_for_shapes(struct rdu_file *file, const char *entry,
					 const struct rdu_shape *shapes, unsigned int num)
{
	int first = rdu_file_find_entry(file, entry), best = -1;
	int64_t least = 0;
	struct given given;

	if (first < 0)
		return first;
	for (unsigned int i = 0; i < num; i++)
		if (!shapes[i].name || shapes[i].ndim > RDU_MAX_DIMS)
			return lr_fail(&file->obj, -EINVAL,
				       "%s: input number %u has no name, or %u dimensions",
				       file->path, i, shapes[i].ndim);
	for (unsigned int e = 0; e < file->header->num_entries; e++) {
		int64_t elements;

		if ((int)e != first && !is_variant(file, e, file->entries[first].name))
			continue;
		elements = fits(file, e, shapes, num, &given);
		if (elements < 0 || (best >= 0 && elements >= least))
			continue;
		best = e;
		least = elements;
	}
	return best < 0 ? no_fit(file, first, shapes, num) : best;
}

RDU_EXPORT int rdu_file_entry_shape(struct rdu_file *file, unsigned int entry,
				    const struct rdu_shape *shapes, unsigned int num,
				    const char *name, struct rdu_shape *shape)
{
	int i = rdu_file_entry_symbol(file, entry, name);
	const struct rdu_file_symbol *sym;
	struct given given;

	if (i < 0)
		return i;
	if (fits(file, entry, shapes, num, &given) < 0)
		return no_fit(file, entry, shapes, num);
	sym = &file->symbols[i];
	*shape = (struct rdu_shape){ .name = name, .ndim = sym->ndim };
	for (unsigned int d = 0; d < sym->ndim; d++) {
		unsigned int kind = RDU_SYM_ROWS_OF(sym->flags, d);

		shape->dims[d] = kind && given.rows[kind] >= 0 ? given.rows[kind] : sym->dims[d];
		if (shape->dims[d] > sym->dims[d])
			return lr_fail(&file->obj, -ENOEXEC,
				       "%s: \"%s\" has fewer rows than the inputs", file->path,
				       sym->name);
	}
	return i;
}

/* ---- more rows than there are ------------------------------------------------------------ */

/* Dimensions d and up of a part of a tensor, into the whole or out of it. */
static void copy_rows(const struct rdu_file_symbol *sym, const struct rdu_shape *shape,
		      unsigned int d, char *part, char *whole, bool pad)
{
	size_t part_size = rdu_dtype_size(sym->dtype), whole_size = part_size;
	int64_t num;

	for (unsigned int k = d + 1; k < sym->ndim; k++) {
		part_size *= shape->dims[k];
		whole_size *= sym->dims[k];
	}
	num = d < sym->ndim ? (pad ? sym->dims[d] : shape->dims[d]) : 1;
	for (int64_t i = 0; i < num; i++) {
		int64_t from = d < sym->ndim && i >= shape->dims[d] ? shape->dims[d] - 1 : i;
		char *p = part + from * part_size, *w = whole + i * whole_size;

		if (part_size != whole_size)
			copy_rows(sym, shape, d + 1, p, w, pad);
		else if (pad)
			memcpy(w, p, part_size);
		else
			memcpy(p, w, part_size);
	}
}

static int check_part(const struct rdu_file_symbol *sym, const struct rdu_shape *shape)
{
	if (shape->ndim != sym->ndim)
		return -EINVAL;
	for (unsigned int d = 0; d < sym->ndim; d++) {
		bool may_be_none = !sym->dims[d] || (lr_sizes_of(sym) >= 0 && sym->block >> d & 1);

		if (shape->dims[d] > sym->dims[d] || shape->dims[d] < !may_be_none)
			return -EINVAL;
	}
	return 0;
}

RDU_EXPORT int rdu_symbol_pad(const struct rdu_file_symbol *symbol, const struct rdu_shape *shape,
			      const void *part, void *whole)
{
	int ret = check_part(symbol, shape);

	if (!ret)
		copy_rows(symbol, shape, 0, (char *)part, whole, true);
	return ret;
}

RDU_EXPORT int rdu_symbol_cut(const struct rdu_file_symbol *symbol, const struct rdu_shape *shape,
			      const void *whole, void *part)
{
	int ret = check_part(symbol, shape);

	if (!ret)
		copy_rows(symbol, shape, 0, part, (char *)whole, false);
	return ret;
}

/* ---- a run ---------------------------------------------------------------------------------- */

static size_t shape_size(const struct rdu_file_symbol *sym, const struct rdu_shape *shape)
{
	size_t size = rdu_dtype_size(sym->dtype);

	for (unsigned int d = 0; d < shape->ndim; d++)
		size *= shape->dims[d];
	return size;
}

/* Of a run: the tensors in and out, and memory where they are whole. */
struct shaped_run {
	struct rdu_program *prog;
	unsigned int entry, num_in, num;
	struct rdu_shape *shapes; /* of the inputs */
	struct rdu_tensor **tensor;
	const struct rdu_file_symbol **sym;
	void **whole; /* NULL: the caller's is */
	int64_t (*sizes)[RDU_MAX_DIMS]; /* of outputs that data say the size of */
};

/* A tensor is bound, whole. */
static int bind_tensor(struct shaped_run *r, unsigned int i)
{
	struct rdu_tensor *t = r->tensor[i];
	struct rdu_file *file = r->prog->file;
	struct rdu_shape shape;
	int k = rdu_file_entry_shape(file, r->entry, r->shapes, r->num_in, t->shape.name, &shape);
	size_t part, whole;

	if (k < 0)
		return lr_fail_as(&r->prog->obj, &file->obj);
	r->sym[i] = &file->symbols[k];
	if (i >= r->num_in)
		t->shape = shape;
	part = shape_size(r->sym[i], &t->shape);
	whole = rdu_symbol_size(r->sym[i]);
	if (!t->data || t->size < part)
		return lr_fail(&r->prog->obj, -EINVAL, "%s: \"%s\" has %zu bytes, %zu were given",
			       file->path, t->shape.name, part, t->data ? t->size : 0);
	if (part == whole && (i < r->num_in || lr_sizes_of(r->sym[i]) < 0))
		return rdu_program_bind(r->prog, r->sym[i]->name, t->data, t->size);
	r->whole[i] = malloc(whole);
	if (!r->whole[i])
		return lr_fail(&r->prog->obj, -ENOMEM, "out of memory");
	if (i < r->num_in)
		rdu_symbol_pad(r->sym[i], &t->shape, t->data, r->whole[i]);
	return rdu_program_bind(r->prog, r->sym[i]->name, r->whole[i], whole);
}

/* The number of what has an output's sizes; -1: nothing has. */
static int sizes_of(const struct shaped_run *r, unsigned int i)
{
	return i >= r->num_in && r->sym[i] ? lr_sizes_of(r->sym[i]) : -1;
}

/* Sizes that several outputs have, or that are an output of the call's, are read once. */
static int bind_sizes(struct shaped_run *r, unsigned int i)
{
	int k = sizes_of(r, i);

	if (k < 0 || r->prog->bindings[k].data)
		return 0;
	return rdu_program_bind(r->prog, r->prog->file->symbols[k].name, r->sizes[i],
				sizeof(r->sizes[i]));
}

/* How large it is, and its elements that count. */
static int take_output(struct shaped_run *r, unsigned int i)
{
	struct rdu_tensor *t = r->tensor[i];
	int k = sizes_of(r, i);

	if (k >= 0 && rdu_symbol_set_sizes(r->sym[i], r->prog->bindings[k].data, &t->shape))
		return lr_fail(&r->prog->obj, -EFAULT, "%s: \"%s\" has impossible sizes",
			       r->prog->file->path, t->shape.name);
	if (r->whole[i])
		rdu_symbol_cut(r->sym[i], &t->shape, r->whole[i], t->data);
	return 0;
}

static int run_bound(struct shaped_run *r, struct rdu_stats *stats)
{
	int ret = 0;

	for (unsigned int i = 0; i < r->num && !ret; i++)
		ret = bind_tensor(r, i);
	for (unsigned int i = r->num_in; i < r->num && !ret; i++)
		ret = bind_sizes(r, i);
	if (!ret)
		ret = rdu_program_run(r->prog, rdu_file_entry(r->prog->file, r->entry), stats);
	for (unsigned int i = r->num_in; i < r->num && !ret; i++)
		ret = take_output(r, i);
	for (unsigned int i = 0; i < r->num; i++) {
		if (r->sym[i])
			rdu_program_bind(r->prog, r->sym[i]->name, NULL, 0);
		if (sizes_of(r, i) >= 0)
			rdu_program_bind(r->prog, r->prog->file->symbols[sizes_of(r, i)].name, NULL,
					 0);
	}
	return ret;
}

RDU_EXPORT int rdu_program_run_tensors(struct rdu_program *prog, const char *entry,
				       const struct rdu_tensor *in, unsigned int num_in,
				       struct rdu_tensor *out, unsigned int num_out,
				       struct rdu_stats *stats)
{
	struct shaped_run r = { .prog = prog, .num_in = num_in, .num = num_in + num_out };
	int ret = lr_check(&prog->obj), e;

	if (ret)
		return ret;
	r.shapes = calloc(num_in + 1, sizeof(*r.shapes));
	r.tensor = calloc(r.num + 1, sizeof(*r.tensor));
	r.sym = calloc(r.num + 1, sizeof(*r.sym));
	r.whole = calloc(r.num + 1, sizeof(*r.whole));
	r.sizes = calloc(r.num + 1, sizeof(*r.sizes));
	if (!r.shapes || !r.tensor || !r.sym || !r.whole || !r.sizes) {
		ret = lr_fail(&prog->obj, -ENOMEM, "out of memory");
		goto out;
	}
	for (unsigned int i = 0; i < r.num; i++)
		r.tensor[i] = i < num_in ? (struct rdu_tensor *)&in[i] : &out[i - num_in];
	for (unsigned int i = 0; i < num_in; i++)
		r.shapes[i] = in[i].shape;
	e = rdu_file_entry_for_shapes(prog->file, entry, r.shapes, num_in);
	r.entry = e;
	ret = e < 0 ? lr_fail_as(&prog->obj, &prog->file->obj) : run_bound(&r, stats);
	for (unsigned int i = 0; i < r.num && r.whole; i++)
		free(r.whole[i]);
out:
	free(r.shapes);
	free(r.tensor);
	free(r.sym);
	free(r.whole);
	free(r.sizes);
	return ret;
}
