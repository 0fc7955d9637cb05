/* SPDX-License-Identifier: MIT */
/*
 * Program files: writing. The tables go out as they are; the ELF shell around
 * them has a symbol table so that readelf and nm show entry points and tensors.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"
#include "outfile.h"

enum { DATA = 6, PARTS = 8, SYMTAB = PARTS + 1, STRTAB, SHSTRTAB, NUM_SECTIONS };

/* Symbol and string tables: entry points by number, tensors by place. */
static int make_symbols(const struct rdu_file_parts *parts, Elf64_Sym **syms, size_t *num_syms,
			char **strings, size_t *strings_size)
{
	const struct rdu_prog_header *h = parts->image;
	const struct rdu_prog_entry *entries =
		(const void *)((const char *)parts->image + h->entries_off);
	size_t n = 1, at = 1, i;
	Elf64_Sym *sym = calloc(1 + h->num_entries + parts->num_symbols, sizeof(*sym));
	char *str = calloc(1, 1 + h->num_entries * sizeof(entries->name) +
				      parts->num_symbols * sizeof(parts->symbols->name));

	*syms = sym;
	*strings = str;
	if (!sym || !str)
		return -ENOMEM;
	for (i = 0; i < h->num_entries; i++, n++) {
		sym[n] = (Elf64_Sym){ .st_name = at,
				      .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
				      .st_shndx = 2,
				      .st_value = i,
				      .st_size = entries[i].num_steps };
		at += sprintf(str + at, "%.31s", entries[i].name) + 1;
	}
	for (i = 0; i < parts->num_symbols; i++, n++) {
		const struct rdu_file_symbol *y = &parts->symbols[i];
		const struct rdu_file_region *r = &parts->regions[y->region];

		sym[n] =
			(Elf64_Sym){ .st_name = at,
				     .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT),
				     .st_shndx = r->data == RDU_NO_DATA ? SHN_ABS : 6,
				     .st_value = (r->data == RDU_NO_DATA ? 0 : r->data) + y->offset,
				     .st_size = rdu_symbol_size(y) };
		at += sprintf(str + at, "%.63s", y->name) + 1;
	}
	*num_syms = n;
	*strings_size = at;
	return 0;
}

/* A section of the file, and where it lies. */
struct place {
	const void *data;
	size_t size;
	uint64_t align, offset;
};

static const char zeros[4096];

static int put(FILE *f, uint64_t *at, uint64_t offset, const void *data, size_t size)
{
	errno = 0;
	while (*at < offset) {
		size_t n = offset - *at < sizeof(zeros) ? offset - *at : sizeof(zeros);

		if (fwrite(zeros, 1, n, f) != n)
			return errno ? -errno : -EIO;
		*at += n;
	}
	if (size && fwrite(data, 1, size, f) != size) /* no data: NULL */
		return errno ? -errno : -EIO;
	*at = offset + size;
	return 0;
}

static int put_pieces(FILE *f, uint64_t *at, uint64_t offset, const struct lr_piece *piece,
		      size_t num)
{
	int ret = 0;

	for (size_t i = 0; i < num && !ret; i++)
		ret = put(f, at, offset + piece[i].at, piece[i].data, piece[i].size);
	return ret;
}

static uint64_t aligned(uint64_t at, uint64_t to)
{
	return (at + to - 1) & ~(to - 1);
}

static uint64_t hash_zeros(uint64_t hash, uint64_t num)
{
	for (; num; num -= num < sizeof(zeros) ? num : sizeof(zeros))
		hash = rdu_fnv1a(hash, zeros, num < sizeof(zeros) ? num : sizeof(zeros));
	return hash;
}

static uint64_t hash_pieces(uint64_t hash, const struct lr_piece *piece, size_t num, uint64_t size)
{
	uint64_t at = 0;

	for (size_t i = 0; i < num; i++) {
		hash = hash_zeros(hash, piece[i].at - at);
		hash = rdu_fnv1a(hash, piece[i].data, piece[i].size);
		at = piece[i].at + piece[i].size;
	}
	return hash_zeros(hash, size - at);
}

/* From the first byte to the last: a pipe takes it too. */
int lr_file_write(FILE *f, const struct rdu_file_parts *parts, const struct lr_piece *piece,
		  size_t num)
{
	static const char names[] = "\0.rdu.chip\0.rdu.program\0.rdu.regions\0.rdu.symbols\0"
				    ".rdu.ops\0.rdu.data\0.rdu.meta\0.rdu.hash\0.symtab\0.strtab\0"
				    ".shstrtab";
	uint64_t hash = RDU_FNV1A_INIT, at = sizeof(Elf64_Ehdr);
	struct place part[NUM_SECTIONS] = {
		[1] = { parts->chip, sizeof(*parts->chip), 8, 0 },
		[2] = { parts->image, parts->image_size, 64, 0 },
		[3] = { parts->regions, parts->num_regions * sizeof(*parts->regions), 8, 0 },
		[4] = { parts->symbols, parts->num_symbols * sizeof(*parts->symbols), 8, 0 },
		[5] = { parts->ops, parts->num_ops * sizeof(*parts->ops), 8, 0 },
		[DATA] = { parts->data, parts->data_size, 4096, 0 },
		[7] = { parts->meta, parts->meta ? strlen(parts->meta) : 0, 1, 0 },
		[PARTS] = { &hash, sizeof(hash), 8, 0 },
		[SHSTRTAB] = { names, sizeof(names), 1, 0 },
	};
	Elf64_Ehdr eh = { .e_type = ET_EXEC,
			  .e_machine = RDU_ELF_MACHINE,
			  .e_version = EV_CURRENT,
			  .e_ehsize = sizeof(eh),
			  .e_shentsize = sizeof(Elf64_Shdr),
			  .e_shnum = NUM_SECTIONS,
			  .e_shstrndx = SHSTRTAB };
	Elf64_Shdr sh[NUM_SECTIONS] = { 0 };
	Elf64_Sym *syms;
	char *strings;
	const char *name = names + 1;
	size_t num_syms = 0, strings_size = 0;
	unsigned int i;
	int ret = make_symbols(parts, &syms, &num_syms, &strings, &strings_size);

	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	eh.e_ident[EI_VERSION] = EV_CURRENT;
	part[SYMTAB] = (struct place){ syms, num_syms * sizeof(*syms), 8, 0 };
	part[STRTAB] = (struct place){ strings, strings_size, 1, 0 };
	for (i = 1; i < NUM_SECTIONS; i++, name += strlen(name) + 1) {
		if (i == DATA && piece)
			hash = hash_pieces(hash, piece, num, parts->data_size);
		else if (i < PARTS)
			hash = rdu_fnv1a(hash, part[i].data, part[i].size);
		at = part[i].offset = aligned(at, part[i].align);
		at += part[i].size;
		sh[i] = (Elf64_Shdr){ .sh_name = name - names,
				      .sh_type = i == SYMTAB  ? SHT_SYMTAB
						 : i > SYMTAB ? SHT_STRTAB
							      : SHT_PROGBITS,
				      .sh_addralign = part[i].align,
				      .sh_offset = part[i].offset,
				      .sh_size = part[i].size };
	}
	sh[SYMTAB].sh_link = STRTAB;
	sh[SYMTAB].sh_info = 1;
	sh[SYMTAB].sh_entsize = sizeof(*syms);
	eh.e_shoff = aligned(at, 8);
	at = 0;
	if (!ret)
		ret = put(f, &at, 0, &eh, sizeof(eh));
	for (i = 1; i < NUM_SECTIONS && !ret; i++)
		ret = i == DATA && piece ? put_pieces(f, &at, part[i].offset, piece, num)
					 : put(f, &at, part[i].offset, part[i].data, part[i].size);
	if (!ret)
		ret = put(f, &at, eh.e_shoff, sh, sizeof(sh));
	free(syms);
	free(strings);
	return ret;
}

int lr_file_write_to(const char *path, const struct rdu_file_parts *parts,
		     const struct lr_piece *piece, size_t num, char *error, size_t error_size)
{
	struct lr_outfile *o = malloc(sizeof(*o));
	FILE *f = o ? lr_outfile_open(o, path) : NULL;
	int ret = f ? lr_file_write(f, parts, piece, num) : 0;

	if (!o)
		ret = -ENOMEM;
	else if (ret)
		lr_outfile_discard(o);
	else
		ret = lr_outfile_close(o);
	free(o);
	if (ret && error && error_size)
		snprintf(error, error_size, "%s: %s", path, strerror(-ret));
	return ret;
}

RDU_EXPORT int rdu_file_write(const char *path, const struct rdu_file_parts *parts, char *error,
			      size_t error_size)
{
	return lr_file_write_to(path, parts, NULL, 0, error, error_size);
}
