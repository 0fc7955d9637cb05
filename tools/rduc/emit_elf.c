// SPDX-License-Identifier: MIT
/*
 * The program file's tables of symbols and properties; the library writes it.
 */
#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"
#include "outfile.h"
#include "rdu.h"

/* What an entry uses of a tensor, or of what it is a row of: that which has a symbol. */
static void mark_use(const struct backend *be, int entry, const struct nest *n, struct tensor *t,
		     uint64_t *entries)
{
	struct tensor *row = tensor_storage(t), *whole = tensor_whole(t);
	bool first = row->row_of && row->kind != TENSOR_TEMP &&
		     (!n->loop || be->m->entries[entry].once_of);

	entries[first ? row->id : whole->id] |= 1ull << entry;
}

/* Inputs and outputs in the models' order, then all other tensors. */
static struct tensor **symbol_order(const struct module *m)
{
	struct tensor **order = xcalloc((size_t)m->num_tensors + 1, sizeof(struct tensor *));
	struct tensor **placed = xcalloc((size_t)m->num_places + 1, sizeof(struct tensor *));
	int num = 0;

	for (int i = 0; i < m->num_tensors; i++)
		placed[m->tensors[i]->place] = m->tensors[i];
	for (int i = 1; i <= m->num_places; i++)
		if (placed[i])
			order[num++] = placed[i];
	for (int i = 0; i < m->num_tensors; i++)
		if (!m->tensors[i]->place)
			order[num++] = m->tensors[i];
	free(placed);
	return order;
}

static void make_symbols(struct backend *be, struct rdu_file_symbol **sym, int *num)
{
	struct module *m = be->m;
	struct tensor **order = symbol_order(m);
	uint64_t *entries = xcalloc((size_t)m->num_tensors + 1, sizeof(uint64_t));
	int *number = xcalloc((size_t)m->num_tensors + 1, sizeof(int)); /* of a tensor's symbol */
	static const uint32_t flags[] = {
		[TENSOR_INPUT] = RDU_SYM_INPUT,
		[TENSOR_OUTPUT] = RDU_SYM_OUTPUT,
		[TENSOR_WEIGHT] = RDU_SYM_WEIGHT,
		[TENSOR_STATE] = RDU_SYM_STATE,
	};

	*sym = xcalloc((size_t)m->num_tensors + 1, sizeof(**sym));
	*num = 0;
	for (int e = 0; e < m->num_entries; e++) {
		const struct module_entry *of = module_entry_nests(m, e);

		for (int k = 0; k < of->num_nests; k++) {
			const struct nest *n = of->nests[k];

			for (int i = 0; i < n->num_in; i++)
				mark_use(be, e, n, n->in[i].tensor, entries);
			for (int i = 0; i < n->num_out; i++)
				mark_use(be, e, n, n->out[i].access.tensor, entries);
		}
	}
	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = order[i], *root = tensor_storage(t);
		struct rdu_file_symbol *s = &(*sym)[*num];

		if (t->kind == TENSOR_TEMP || t->update_of || be->where[root->id].region < 0)
			continue;
		snprintf(s->name, sizeof(s->name), "%.63s", t->name);
		s->region = (uint32_t)be->where[root->id].region;
		s->offset = be->where[root->id].offset;
		s->dtype = t->dtype;
		s->flags = t->constant ? RDU_SYM_CONSTANT : flags[t->kind];
		if (t->model_state)
			s->flags |= RDU_SYM_MODEL_STATE;
		s->flags |= t->rows;
		s->ndim = (uint32_t)t->ndim;
		for (int d = 0; d < t->ndim; d++)
			s->dims[d] = t->dim[d];
		s->entries = entries[root->id];
		number[t->id] = (*num)++;
		if (t->sizes) {
			s->block = t->sized;
			s->table = (uint32_t)t->sizes->id;
		}
		if (t->packed.table) {
			s->flags |=
				RDU_SYM_BLOCKS | (t->packed.transposed ? RDU_SYM_TRANSPOSED : 0);
			s->block = (uint32_t)t->dim[t->ndim - 1];
			s->table =
				(uint32_t)
					t->packed.table->id; /* its symbol's number may come yet */
			s->ndim = 2;
			memset(s->dims, 0, sizeof(s->dims));
			for (int d = 0; d < 2; d++)
				s->dims[d] = t->packed.dim[d];
		}
	}
	for (int i = 0; i < *num; i++)
		if ((*sym)[i].block)
			(*sym)[i].table = (uint32_t)number[(*sym)[i].table];
	free(order);
	free(entries);
	free(number);
}

/* Names are cut to what a symbol holds: they must still differ. */
static int check_symbols(struct backend *be, const struct rdu_file_symbol *sym, int num)
{
	for (int i = 0; i < num; i++)
		for (int k = i + 1; k < num; k++)
			if (!strcmp(sym[i].name, sym[k].name))
				return be_error(be,
						"two tensors are called '%s...': a program file "
						"holds the first %zu bytes of a name",
						sym[i].name, sizeof(sym[i].name) - 1);
	return 0;
}

void be_expect_all(struct backend *be)
{
	struct be_outlook *o = &be->outlook;

	for (int e = 0; e < be->m->num_entries; e++)
		o->cycles[e] = be_expect(be, e).first.exec;
	for (int i = 1; i < be->num_sections; i++)
		if (be->section[i].im->cycles > be->section[o->longest].im->cycles)
			o->longest = i;
	o->bound = be->section[o->longest].im->bound;
}

static char *make_meta(struct backend *be)
{
	const struct be_outlook *o = &be->outlook;
	char *text = NULL;
	size_t size;
	FILE *f;

	f = open_memstream(&text, &size); /* from here on no pass is left */
	if (!f)
		out_of_memory("a text");
	fprintf(f, "model %s\n", be->opt->model ? be->opt->model : be->m->name);
	fprintf(f, "chip %s\n", be->chip.name);
	if (be->opt->meta)
		fputs(be->opt->meta, f);
	fprintf(f, "optimize %d\n", be->level);
	fprintf(f, "tiles %d\n", be->tiles);
	fprintf(f, "contractions %s\n", be->opt->fp32 || !be->chip.systolic_cols ? "fp32" : "bf16");
	fprintf(f, "sections %d\n", be->num_sections);
	for (int e = 0; e < be->m->num_entries; e++)
		fprintf(f, "%s_cycles.%s %llu\n", be_estimates(be) ? "estimated" : "expected",
			be->entry[e].name, (unsigned long long)o->cycles[e]);
	fprintf(f, "longest_section %s\n", be->section[o->longest].im->name);
	fprintf(f, "bound %s\n", be_bound_text(o->bound));
	if (fclose(f))
		out_of_memory("a text");
	return text;
}

int be_write(struct backend *be, const char *path)
{
	struct rdu_file_symbol *sym;
	char *meta = make_meta(be), text[PATH_MAX + 80];
	int num_sym, r;

	/* What is written need not be there twice, and nothing is asked any more. */
	be_time_end(be);
	be_plans_end(be);
	for (int i = 0; i < be->num_sections; i++) {
		image_free(be->section[i].im);
		be->section[i].im = NULL;
	}
	malloc_trim(0);
	make_symbols(be, &sym, &num_sym);
	if (check_symbols(be, sym, num_sym)) {
		free(sym);
		free(meta);
		return -1;
	}
	struct rdu_file_parts parts = {
		.chip = &be->chip,
		.image = be->program,
		.image_size = be->program_size,
		.regions = be->region,
		.num_regions = (size_t)be->num_regions,
		.symbols = sym,
		.num_symbols = (size_t)num_sym,
		.ops = be->op,
		.num_ops = (size_t)be->num_ops,
		.data_size = be->data_size,
		.meta = meta,
	};
	if (be->opt->program)
		r = lr_file_write(be->opt->program, &parts, be->piece, (size_t)be->num_pieces);
	else
		r = lr_file_write_to(path, &parts, be->piece, (size_t)be->num_pieces, text,
				     sizeof(text));
	if (r)
		r = be_error(be, "%s", be->opt->program ? strerror(-r) : text);
	free(sym);
	free(meta);
	return r;
}
