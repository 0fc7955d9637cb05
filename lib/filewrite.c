/* SPDX-License-Identifier: MIT */
/*
 * Program files: writing. The tables go out as they are; the ELF shell around
 * them has a symbol table so that readelf and nm show entry points and tensors.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "internal.h"

enum { PARTS = 8, SYMTAB = PARTS + 1, STRTAB, SHSTRTAB, NUM_SECTIONS };

struct writer {
	int fd;
	uint64_t at;
	int error;
};

static void put(struct writer *w, const void *data, size_t size)
{
	const char *p = data;

	while (size && !w->error) {
		ssize_t n = write(w->fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			w->error = -errno;
			return;
		}
		p += n;
		size -= n;
		w->at += n;
	}
}

static void align(struct writer *w, uint64_t to)
{
	static const char zeros[4096];

	put(w, zeros, -w->at & (to - 1));
}

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

static void write_parts(struct writer *w, const struct rdu_file_parts *parts)
{
	static const char names[] = "\0.rdu.chip\0.rdu.program\0.rdu.regions\0.rdu.symbols\0"
				    ".rdu.ops\0.rdu.data\0.rdu.meta\0.rdu.hash\0.symtab\0.strtab\0"
				    ".shstrtab";
	struct {
		const void *data;
		size_t size, align;
	} part[PARTS] = {
		{ parts->chip, sizeof(*parts->chip), 8 },
		{ parts->image, parts->image_size, 64 },
		{ parts->regions, parts->num_regions * sizeof(*parts->regions), 8 },
		{ parts->symbols, parts->num_symbols * sizeof(*parts->symbols), 8 },
		{ parts->ops, parts->num_ops * sizeof(*parts->ops), 8 },
		{ parts->data, parts->data_size, 4096 },
		{ parts->meta, parts->meta ? strlen(parts->meta) : 0, 1 },
		{ NULL, 8, 8 },
	};
	Elf64_Ehdr eh = { .e_type = ET_EXEC,
			  .e_machine = RDU_ELF_MACHINE,
			  .e_version = EV_CURRENT,
			  .e_ehsize = sizeof(eh),
			  .e_shentsize = sizeof(Elf64_Shdr),
			  .e_shnum = NUM_SECTIONS,
			  .e_shstrndx = SHSTRTAB };
	Elf64_Shdr sh[NUM_SECTIONS] = { 0 };
	uint64_t hash = RDU_FNV1A_INIT;
	Elf64_Sym *syms;
	char *strings;
	const char *name = names + 1;
	size_t num_syms = 0, strings_size = 0;
	unsigned int i;

	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	eh.e_ident[EI_VERSION] = EV_CURRENT;
	w->error = make_symbols(parts, &syms, &num_syms, &strings, &strings_size);
	put(w, &eh, sizeof(eh));
	for (i = 1; i < NUM_SECTIONS; i++, name += strlen(name) + 1) {
		const void *data = i == SYMTAB ? (void *)syms : i == STRTAB ? strings : names;
		size_t size = i == SYMTAB   ? num_syms * sizeof(*syms)
			      : i == STRTAB ? strings_size
					    : sizeof(names);

		sh[i] = (Elf64_Shdr){ .sh_name = name - names,
				      .sh_type = i == SYMTAB  ? SHT_SYMTAB
						 : i > SYMTAB ? SHT_STRTAB
							      : SHT_PROGBITS,
				      .sh_addralign = i >= STRTAB ? 1 : 8 };
		if (i <= PARTS) {
			data = i == PARTS ? &hash : part[i - 1].data;
			size = part[i - 1].size;
			sh[i].sh_addralign = part[i - 1].align;
			if (i < PARTS)
				hash = rdu_fnv1a(hash, data, size);
		}
		if (i == SYMTAB) {
			sh[i].sh_link = STRTAB;
			sh[i].sh_info = 1;
			sh[i].sh_entsize = sizeof(*syms);
		}
		align(w, sh[i].sh_addralign);
		sh[i].sh_offset = w->at;
		sh[i].sh_size = size;
		put(w, data, size);
	}
	align(w, 8);
	eh.e_shoff = w->at;
	put(w, sh, sizeof(sh));
	if (!w->error && pwrite(w->fd, &eh, sizeof(eh), 0) != sizeof(eh))
		w->error = errno ? -errno : -EIO;
	free(syms);
	free(strings);
}

RDU_EXPORT int rdu_file_write(const char *path, const struct rdu_file_parts *parts, char *error,
			      size_t error_size)
{
	size_t room = strlen(path) + 48;
	char *temp = malloc(room);
	struct writer w = { 0 };

	if (!temp)
		return -ENOMEM;
	/* A name no other thread or process takes. */
	snprintf(temp, room, "%s.%d.%zx", path, (int)getpid(), (size_t)temp);
	w.fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (w.fd < 0) {
		w.error = -errno;
	} else {
		write_parts(&w, parts);
		if (!w.error && fsync(w.fd) && errno != EINVAL && errno != EROFS)
			w.error = -errno;
		close(w.fd);
		if (!w.error && rename(temp, path))
			w.error = -errno;
		if (w.error)
			unlink(temp);
	}
	free(temp);
	if (w.error && error && error_size)
		snprintf(error, error_size, "%s: %s", path, strerror(-w.error));
	return w.error;
}
