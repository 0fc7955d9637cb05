// SPDX-License-Identifier: MIT
/*
 * The program file: ELF64, as program.h lists its sections.
 */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backend.h"
#include "mem.h"

struct strings {
	char *p;
	size_t size;
};

static uint32_t add_string(struct strings *s, const char *text)
{
	size_t n = strlen(text) + 1;
	uint32_t at;

	if (!s->size) {
		s->p = xcalloc(1, 1);
		s->size = 1;
	}
	at = (uint32_t)s->size;
	s->p = xrealloc(s->p, s->size + n);
	memcpy(s->p + s->size, text, n);
	s->size += n;
	return at;
}

static void add_section(Elf *elf, struct strings *names, const char *name, uint32_t type,
			const void *data, size_t size, size_t align, uint32_t link, uint32_t info,
			size_t entsize)
{
	Elf_Scn *scn = elf_newscn(elf);
	Elf_Data *d = scn ? elf_newdata(scn) : NULL;
	Elf64_Shdr *h = scn ? elf64_getshdr(scn) : NULL;

	if (!d || !h)
		out_of_memory("an ELF file");
	d->d_buf = (void *)data;
	d->d_size = size;
	d->d_align = align;
	d->d_type = type == SHT_SYMTAB ? ELF_T_SYM : ELF_T_BYTE;
	d->d_version = EV_CURRENT;
	h->sh_name = add_string(names, name);
	h->sh_type = type;
	h->sh_link = link;
	h->sh_info = info;
	h->sh_entsize = entsize;
}

static void make_symbols(struct backend *be, struct rdu_file_symbol **sym, int *num)
{
	struct module *m = be->m;
	uint64_t *entries = xcalloc((size_t)m->num_tensors + 1, sizeof(uint64_t));
	static const uint32_t flags[] = {
		[TENSOR_INPUT] = RDU_SYM_INPUT,
		[TENSOR_OUTPUT] = RDU_SYM_OUTPUT,
		[TENSOR_WEIGHT] = RDU_SYM_WEIGHT,
		[TENSOR_STATE] = RDU_SYM_STATE,
	};

	*sym = xcalloc((size_t)m->num_tensors + 1, sizeof(**sym));
	*num = 0;
	for (int e = 0; e < m->num_entries; e++)
		for (int k = 0; k < m->entries[e].num_nests; k++) {
			const struct nest *n = m->entries[e].nests[k];

			for (int i = 0; i < n->num_in; i++)
				entries[tensor_storage(n->in[i].tensor)->id] |= 1ull << e;
			for (int i = 0; i < n->num_out; i++)
				entries[tensor_storage(n->out[i].access.tensor)->id] |= 1ull << e;
		}
	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i], *root = tensor_storage(t);
		struct rdu_file_symbol *s = &(*sym)[*num];

		if (t->kind == TENSOR_TEMP || t->update_of || be->where[root->id].region < 0)
			continue;
		snprintf(s->name, sizeof(s->name), "%.63s", t->name);
		s->region = (uint32_t)be->where[root->id].region;
		s->offset = be->where[root->id].offset;
		s->dtype = t->dtype;
		s->flags = t->constant ? RDU_SYM_CONSTANT : flags[t->kind];
		s->ndim = (uint32_t)t->ndim;
		for (int d = 0; d < t->ndim; d++)
			s->dims[d] = t->dim[d];
		s->entries = entries[root->id];
		(*num)++;
	}
	free(entries);
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

static char *make_meta(struct backend *be)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	uint64_t total;
	int big = 0;

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
	for (int e = 0; e < be->m->num_entries; e++) {
		total = 0;
		for (uint32_t i = 0; i < be->entry[e].num_steps; i++) {
			const struct rdu_prog_step *s = &be->step[be->entry[e].first_step + i];

			if (s->kind == RDU_STEP_RUN)
				total += be->section[s->arg].im->cycles;
		}
		fprintf(f, "expected_cycles.%s %llu\n", be->entry[e].name,
			(unsigned long long)total);
	}
	for (int i = 1; i < be->num_sections; i++)
		if (be->section[i].im->cycles > be->section[big].im->cycles)
			big = i;
	fprintf(f, "longest_section %s\n", be->section[big].im->name);
	fprintf(f, "bound %s\n", be_bound_text(be->section[big].im->bound));
	fclose(f);
	return text;
}

int be_write(struct backend *be, const char *path)
{
	struct rdu_file_symbol *sym;
	struct strings names = { 0 }, strtab = { 0 };
	char *meta = make_meta(be);
	uint64_t hash = RDU_FNV1A_INIT;
	Elf64_Sym *symtab;
	Elf64_Ehdr *eh;
	Elf *elf;
	size_t ns = 1;
	int num_sym, fd, r = 0;

	make_symbols(be, &sym, &num_sym);
	if (check_symbols(be, sym, num_sym)) {
		free(sym);
		free(meta);
		return -1;
	}
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0) {
		free(sym);
		free(meta);
		return be_error(be, "%s: %s", path, strerror(errno));
	}
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_WRITE, NULL);
	eh = elf ? elf64_newehdr(elf) : NULL;
	if (!eh)
		out_of_memory("an ELF file");
	eh->e_ident[EI_DATA] = ELFDATA2LSB;
	eh->e_type = ET_EXEC;
	eh->e_machine = RDU_ELF_MACHINE;
	eh->e_version = EV_CURRENT;

	struct {
		const char *name;
		const void *data;
		size_t size, align, entry;
	} part[] = {
		{ ".rdu.chip", &be->chip, sizeof(be->chip), 8, 0 },
		{ ".rdu.program", be->program, be->program_size, 8, 0 },
		{ ".rdu.regions", be->region, sizeof(*be->region) * (size_t)be->num_regions, 8,
		  sizeof(*be->region) },
		{ ".rdu.symbols", sym, sizeof(*sym) * (size_t)num_sym, 8, sizeof(*sym) },
		{ ".rdu.ops", be->op, sizeof(*be->op) * (size_t)be->num_ops, 8, sizeof(*be->op) },
		{ ".rdu.data", be->data, be->data_size, 4096, 0 },
		{ ".rdu.meta", meta, strlen(meta), 1, 0 },
	};
	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
		hash = rdu_fnv1a(hash, part[i].data, part[i].size);
		add_section(elf, &names, part[i].name, SHT_PROGBITS, part[i].data, part[i].size,
			    part[i].align, 0, 0, part[i].entry);
	}
	add_section(elf, &names, ".rdu.hash", SHT_PROGBITS, &hash, sizeof(hash), 8, 0, 0, 0);
	symtab = xcalloc((size_t)(num_sym + be->m->num_entries + 1), sizeof(*symtab));
	for (int e = 0; e < be->m->num_entries; e++, ns++) {
		symtab[ns].st_name = add_string(&strtab, be->entry[e].name);
		symtab[ns].st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
		symtab[ns].st_shndx = 2;
		symtab[ns].st_value = (uint64_t)e;
		symtab[ns].st_size = be->entry[e].num_steps;
	}
	for (int i = 0; i < num_sym; i++, ns++) {
		symtab[ns].st_name = add_string(&strtab, sym[i].name);
		symtab[ns].st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT);
		symtab[ns].st_shndx = 4;
		symtab[ns].st_value = (uint64_t)i;
		symtab[ns].st_size = be->region[sym[i].region].size;
	}
	add_string(&strtab, "");
	add_section(elf, &names, ".symtab", SHT_SYMTAB, symtab, ns * sizeof(*symtab), 8, 10, 1,
		    sizeof(*symtab));
	add_section(elf, &names, ".strtab", SHT_STRTAB, strtab.p, strtab.size, 1, 0, 0, 0);
	add_string(&names, ".shstrtab");
	{
		Elf_Scn *scn = elf_newscn(elf);
		Elf_Data *d = elf_newdata(scn);
		Elf64_Shdr *h = elf64_getshdr(scn);

		h->sh_name = (uint32_t)(names.size - strlen(".shstrtab") - 1);
		h->sh_type = SHT_STRTAB;
		d->d_buf = names.p;
		d->d_size = names.size;
		d->d_align = 1;
		d->d_type = ELF_T_BYTE;
		d->d_version = EV_CURRENT;
		eh->e_shstrndx = (uint16_t)elf_ndxscn(scn);
	}
	if (elf_update(elf, ELF_C_WRITE) < 0)
		r = be_error(be, "%s: %s", path, elf_errmsg(-1));
	elf_end(elf);
	if (close(fd))
		r = be_error(be, "%s: %s", path, strerror(errno));
	free(sym);
	free(meta);
	free(symtab);
	free(names.p);
	free(strtab.p);
	return r;
}
