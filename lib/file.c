/* SPDX-License-Identifier: MIT */
/*
 * Program files: reading and checking. Nothing in a file is believed: every
 * offset, count, name and number is checked here once, and everything else can
 * rely on it. (ELF by hand: a library for it would be larger than this, and
 * keeps state of its own.)
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "internal.h"
#include "rdu_card.h"
#include "fabric.h"

struct elf_section {
	const char *name;
	const unsigned char *data;
	size_t size;
	uint64_t offset; /* in the file */
};

enum { CHIP, PROGRAM, REGIONS, SYMBOLS, OPS, DATA, META, HASH, NUM_SECTIONS };

static const char *const section_names[NUM_SECTIONS] = {
	".rdu.chip", ".rdu.program", ".rdu.regions", ".rdu.symbols",
	".rdu.ops",  ".rdu.data",    ".rdu.meta",    ".rdu.hash",
};

#define bad(file, sec, off, fmt, ...)                                                     \
	lr_fail(&(file)->obj, -ENOEXEC, "%s: %s at byte %llu: " fmt, (file)->path, (sec), \
		(unsigned long long)(off), ##__VA_ARGS__)

/* ---- the ELF shell ---------------------------------------------------------- */

static int parse_elf(struct rdu_file *f, struct elf_section *found)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)f->bytes;
	const Elf64_Shdr *sh, *str;
	unsigned int i, k;

	if (f->size < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG))
		return lr_fail(&f->obj, -ENOEXEC,
			       "%s: not an ELF file, so not a program file; "
			       "rduc makes them",
			       f->path);
	/* objcopy -I elf64-little -O elf64-little keeps all but the machine. */
	if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_ident[EI_DATA] != ELFDATA2LSB ||
	    (eh->e_machine != RDU_ELF_MACHINE && eh->e_machine != EM_NONE))
		return lr_fail(&f->obj, -ENOEXEC,
			       "%s: an ELF file, but not for an RDU (machine "
			       "0x%x, not 0x%x)",
			       f->path, eh->e_machine, RDU_ELF_MACHINE);
	if ((eh->e_type != ET_EXEC && eh->e_type != ET_REL) || eh->e_version != EV_CURRENT ||
	    eh->e_shentsize != sizeof(*sh))
		return bad(f, "ELF header", 0, "damaged (type %u, version %u, entry size %u)",
			   eh->e_type, eh->e_version, eh->e_shentsize);
	if (eh->e_shoff % 8 || eh->e_shoff > f->size ||
	    (f->size - eh->e_shoff) / sizeof(*sh) < eh->e_shnum || eh->e_shstrndx >= eh->e_shnum)
		return bad(
			f, "ELF header", offsetof(Elf64_Ehdr, e_shoff),
			"the section table (%u entries at byte %llu) lies beyond the file's end: "
			"was it cut short?",
			eh->e_shnum, (unsigned long long)eh->e_shoff);
	sh = (const Elf64_Shdr *)(f->bytes + eh->e_shoff);
	str = &sh[eh->e_shstrndx];
	if (str->sh_type != SHT_STRTAB || str->sh_offset > f->size || !str->sh_size ||
	    f->size - str->sh_offset < str->sh_size || f->bytes[str->sh_offset + str->sh_size - 1])
		return bad(f, "ELF section names", str->sh_offset, "damaged");
	for (i = 1; i < eh->e_shnum; i++) {
		const char *name;

		if (sh[i].sh_name >= str->sh_size)
			return bad(f, "ELF section table", eh->e_shoff + i * sizeof(*sh),
				   "the name of section %u is outside the names", i);
		name = (const char *)f->bytes + str->sh_offset + sh[i].sh_name;
		for (k = 0; k < NUM_SECTIONS && strcmp(name, section_names[k]); k++)
			;
		if (k == NUM_SECTIONS)
			continue;
		if (found[k].name)
			return bad(f, name, sh[i].sh_offset, "there are two sections of this name");
		if (sh[i].sh_type == SHT_NOBITS || sh[i].sh_offset > f->size ||
		    f->size - sh[i].sh_offset < sh[i].sh_size)
			return bad(f, name, sh[i].sh_offset,
				   "the section (%llu bytes) lies beyond "
				   "the file's end: was it cut short?",
				   (unsigned long long)sh[i].sh_size);
		if (sh[i].sh_offset % 8 && k != META)
			return bad(f, name, sh[i].sh_offset, "not aligned to 8 bytes");
		if (sh[i].sh_flags & SHF_COMPRESSED)
			return bad(f, name, sh[i].sh_offset,
				   "compressed; use objcopy "
				   "--decompress-debug-sections");
		found[k] = (struct elf_section){ section_names[k], f->bytes + sh[i].sh_offset,
						 sh[i].sh_size, sh[i].sh_offset };
	}
	for (k = 0; k < NUM_SECTIONS; k++)
		if (!found[k].name)
			return bad(f, section_names[k], 0,
				   "the section is missing: not a complete "
				   "program file");
	return 0;
}

static int check_hash(struct rdu_file *f, const struct elf_section *s)
{
	uint64_t hash = RDU_FNV1A_INIT, wanted;
	unsigned int k;

	if (s[HASH].size != sizeof(wanted))
		return bad(f, s[HASH].name, s[HASH].offset, "%zu bytes, not 8", s[HASH].size);
	memcpy(&wanted, s[HASH].data, sizeof(wanted));
	for (k = 0; k < HASH; k++)
		hash = rdu_fnv1a(hash, s[k].data, s[k].size);
	if (hash != wanted)
		return bad(f, s[HASH].name, s[HASH].offset,
			   "the contents hash to %016llx, not "
			   "%016llx: the file is damaged, or was changed by hand",
			   (unsigned long long)hash, (unsigned long long)wanted);
	return 0;
}

/* ---- names -------------------------------------------------------------------- */

/* Zero terminated, printable, and no line ends that would forge messages. */
static bool name_ok(const char *name, size_t room, bool empty_ok)
{
	size_t n = strnlen(name, room), i;

	if (n == room || (!n && !empty_ok))
		return false;
	for (i = 0; i < n; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
			return false;
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A name that is there twice, or NULL. *error: out of memory. */
static const char *twice(const void *table, size_t count, size_t stride, bool *error)
{
	const char **names = malloc((count + 1) * sizeof(*names)), *found = NULL;
	size_t i;

	*error = !names;
	if (!names)
		return NULL;
	for (i = 0; i < count; i++)
		names[i] = (const char *)table + i * stride;
	qsort(names, count, sizeof(*names), by_name);
	for (i = 1; i < count && !found; i++)
		if (!strcmp(names[i - 1], names[i]))
			found = names[i];
	free(names);
	return found;
}

/* ---- the parts ------------------------------------------------------------------ */

static int check_chip(struct rdu_file *f, const struct elf_section *s)
{
	char text[700];

	if (s->size != sizeof(f->chip))
		return bad(f, s->name, s->offset,
			   "%zu bytes, not %zu: compiled by another release, compile it again",
			   s->size, sizeof(f->chip));
	memcpy(&f->chip, s->data, sizeof(f->chip));
	if (f->chip.name[RDU_CHIP_NAME_LEN - 1] ||
	    !name_ok(f->chip.name, sizeof(f->chip.name), false))
		return bad(f, s->name, s->offset, "the chip's name is not a zero terminated text");
	if (rdu_chip_check(&f->chip, text, sizeof(text)))
		return bad(f, s->name, s->offset, "no such chip can be built: %s", text);
	f->chip_hash = rdu_chip_hash(&f->chip);
	return 0;
}

static bool table_ok(const struct rdu_file *f, uint32_t off, uint32_t count, size_t size)
{
	return off % 8 == 0 && off <= f->image_size && (f->image_size - off) / size >= count;
}

static int check_steps(struct rdu_file *f, const struct elf_section *s,
		       const struct rdu_prog_entry *e)
{
	const struct rdu_prog_header *h = f->header;
	const struct rdu_prog_step *step = (const struct rdu_prog_step *)(f->image + h->steps_off);
	unsigned int depth = 0, i;

	if (e->first_step > h->num_steps || h->num_steps - e->first_step < e->num_steps)
		return bad(f, s->name, (const unsigned char *)e - f->image,
			   "entry point \"%s\" has steps beyond the last", e->name);
	for (i = e->first_step; i < e->first_step + e->num_steps; i++) {
		bool ok = true;

		switch (step[i].kind) {
		case RDU_STEP_RUN:
			ok = step[i].arg < h->num_sections;
			break;
		case RDU_STEP_KEEP:
			ok = step[i].arg < h->num_sections && !depth;
			break;
		case RDU_STEP_LOOP:
			ok = ++depth <= RDU_MAX_LOOP_DEPTH;
			break;
		case RDU_STEP_END:
			ok = depth-- > 0;
			break;
		default:
			ok = false;
		}
		if (!ok)
			return bad(f, s->name, h->steps_off + i * sizeof(*step),
				   "step %u of entry point \"%s\" (kind %u, argument %u) makes no "
				   "sense there",
				   i - e->first_step, e->name, step[i].kind, step[i].arg);
	}
	if (depth)
		return bad(f, s->name, (const unsigned char *)e - f->image,
			   "entry point \"%s\" has a loop without an end", e->name);
	return 0;
}

static int check_program(struct rdu_file *f, const struct elf_section *s)
{
	const struct rdu_prog_header *h = (const struct rdu_prog_header *)s->data;
	const struct rdu_prog_section *sec;
	const struct rdu_prog_segment *seg;
	const char *name;
	unsigned int i, j;
	bool error;
	int ret;

	f->image = s->data;
	f->image_size = s->size;
	f->header = h;
	if (s->size < sizeof(*h))
		return bad(f, s->name, 0, "%zu bytes: too short for a program image", s->size);
	if (h->magic != RDU_PROG_MAGIC || h->version != RDU_PROG_VERSION ||
	    h->header_size != sizeof(*h))
		return bad(f, s->name, 0,
			   "magic 0x%08x version %u: not a program image of "
			   "version %u; use the rduc that belongs to this library",
			   h->magic, h->version, RDU_PROG_VERSION);
	if (h->size != s->size)
		return bad(f, s->name, offsetof(struct rdu_prog_header, size),
			   "the image says %u bytes, the section has %zu", h->size, s->size);
	if (h->chip_hash != f->chip_hash)
		return bad(f, s->name, offsetof(struct rdu_prog_header, chip_hash),
			   "compiled for chip %016llx, but .rdu.chip is %016llx (%s)",
			   (unsigned long long)h->chip_hash, (unsigned long long)f->chip_hash,
			   f->chip.name);
	if (!h->num_tiles || h->num_tiles > f->chip.tiles)
		return bad(f, s->name, offsetof(struct rdu_prog_header, num_tiles),
			   "needs %u tiles; the chip has %u", h->num_tiles, f->chip.tiles);
	if (h->num_sections > RDU_MAX_SECTIONS || !h->num_entries ||
	    h->num_entries > RDU_MAX_ENTRIES || h->num_regions > RDU_MAX_REGIONS ||
	    h->num_steps > RDU_MAX_STEPS || h->num_scalars > RDU_MAX_SCALARS ||
	    h->num_segments > RDU_MAX_SECTIONS * RDU_MAX_SEGMENTS)
		return bad(f, s->name, offsetof(struct rdu_prog_header, num_regions),
			   "a count is beyond its limit (%u sections, %u entry points, %u regions, "
			   "%u steps, %u scalars, %u segments)",
			   h->num_sections, h->num_entries, h->num_regions, h->num_steps,
			   h->num_scalars, h->num_segments);
	if (!table_ok(f, h->sections_off, h->num_sections, sizeof(struct rdu_prog_section)) ||
	    !table_ok(f, h->segments_off, h->num_segments, sizeof(struct rdu_prog_segment)) ||
	    !table_ok(f, h->entries_off, h->num_entries, sizeof(struct rdu_prog_entry)) ||
	    !table_ok(f, h->steps_off, h->num_steps, sizeof(struct rdu_prog_step)) ||
	    !table_ok(f, h->regions_off, h->num_regions, sizeof(uint64_t)))
		return bad(f, s->name, offsetof(struct rdu_prog_header, sections_off),
			   "a table lies outside the image, or is not aligned");
	sec = (const struct rdu_prog_section *)(f->image + h->sections_off);
	seg = (const struct rdu_prog_segment *)(f->image + h->segments_off);
	for (i = 0; i < h->num_sections; i++) {
		unsigned long long at = h->sections_off + i * sizeof(*sec);

		if (!name_ok(sec[i].name, sizeof(sec[i].name), true))
			return bad(f, s->name, at,
				   "the name of section %u is not a zero terminated "
				   "text",
				   i);
		if (sec[i].offset % 8 || sec[i].offset > f->image_size ||
		    f->image_size - sec[i].offset < sec[i].size)
			return bad(f, s->name, at,
				   "section %u \"%s\" (%u bytes at %u) lies outside "
				   "the image",
				   i, sec[i].name, sec[i].size, sec[i].offset);
		if (sec[i].first_segment > h->num_segments ||
		    h->num_segments - sec[i].first_segment < sec[i].num_segments)
			return bad(f, s->name, at, "section %u \"%s\" has segments beyond the last",
				   i, sec[i].name);
		for (j = 0; j < sec[i].num_segments; j++)
			if (seg[sec[i].first_segment + j].region >= h->num_regions)
				return bad(f, s->name,
					   h->segments_off +
						   (sec[i].first_segment + j) * sizeof(*seg),
					   "segment %u of section %u \"%s\" is in region %u; there "
					   "are %u",
					   j, i, sec[i].name, seg[sec[i].first_segment + j].region,
					   h->num_regions);
	}
	f->entries = (const struct rdu_prog_entry *)(f->image + h->entries_off);
	for (i = 0; i < h->num_entries; i++) {
		if (!name_ok(f->entries[i].name, sizeof(f->entries[i].name), false))
			return bad(f, s->name, h->entries_off + i * sizeof(*f->entries),
				   "the name of entry point %u is not a zero terminated text", i);
		ret = check_steps(f, s, &f->entries[i]);
		if (ret)
			return ret;
	}
	name = twice(f->entries, h->num_entries, sizeof(*f->entries), &error);
	if (error)
		return lr_fail(&f->obj, -ENOMEM, "%s: out of memory", f->path);
	if (name)
		return bad(f, s->name, h->entries_off, "two entry points are called \"%s\"", name);
	return 0;
}

static int check_regions(struct rdu_file *f, const struct elf_section *s)
{
	const uint64_t *sizes = (const uint64_t *)(f->image + f->header->regions_off);
	uint64_t total = 0;
	unsigned int i;

	f->regions = (const struct rdu_file_region *)s->data;
	if (s->size % sizeof(*f->regions) ||
	    s->size / sizeof(*f->regions) != f->header->num_regions)
		return bad(f, s->name, 0, "%zu bytes do not describe the program's %u regions",
			   s->size, f->header->num_regions);
	f->num_regions = f->header->num_regions;
	for (i = 0; i < f->num_regions; i++) {
		const struct rdu_file_region *r = &f->regions[i];
		unsigned long long at = i * sizeof(*r);

		if (!name_ok(r->name, sizeof(r->name), true))
			return bad(f, s->name, at,
				   "the name of region %u is not a zero terminated "
				   "text",
				   i);
		if (r->kind > RDU_REGION_TEMP || r->zero)
			return bad(f, s->name, at, "region %u \"%s\" is of unknown kind %u", i,
				   r->name, r->kind);
		if (r->size != sizes[i])
			return bad(f, s->name, at,
				   "region %u \"%s\" has %llu bytes, but %llu in the "
				   "program image",
				   i, r->name, (unsigned long long)r->size,
				   (unsigned long long)sizes[i]);
		/* Device addresses have 48 bits. */
		if (r->size >> 47 || (total += r->size) >> 47)
			return bad(f, s->name, at, "region %u \"%s\" is too large (%llu bytes)", i,
				   r->name, (unsigned long long)r->size);
		if (!r->align || r->align & (r->align - 1) || r->align > 2u << 20)
			return bad(f, s->name, at,
				   "region %u \"%s\": alignment %llu is not a power "
				   "of two up to 2 MiB",
				   i, r->name, (unsigned long long)r->align);
		if (r->data != RDU_NO_DATA &&
		    (r->data > f->data_size || f->data_size - r->data < r->size))
			return bad(f, s->name, at,
				   "the contents of region %u \"%s\" (%llu bytes at "
				   "%llu) lie outside .rdu.data",
				   i, r->name, (unsigned long long)r->size,
				   (unsigned long long)r->data);
	}
	return 0;
}

/* Rows are of inputs and outputs, of their dimensions, of one of each kind. */
static bool rows_ok(const struct rdu_file_symbol *y)
{
	unsigned int kinds = 0, d;

	for (d = 0; d < RDU_MAX_DIMS; d++) {
		unsigned int kind = RDU_SYM_ROWS_OF(y->flags, d);

		if (!kind)
			continue;
		if (d >= y->ndim || kinds >> kind & 1 ||
		    !(y->flags & (RDU_SYM_INPUT | RDU_SYM_OUTPUT)))
			return false;
		kinds |= 1u << kind;
	}
	return true;
}

static int check_symbols(struct rdu_file *f, const struct elf_section *s)
{
	uint64_t known =
		f->header->num_entries == 64 ? ~0ull : (1ull << f->header->num_entries) - 1;
	const char *name;
	unsigned int i, d;
	bool error;

	f->symbols = (const struct rdu_file_symbol *)s->data;
	f->num_symbols = s->size / sizeof(*f->symbols);
	if (s->size % sizeof(*f->symbols) || s->size / sizeof(*f->symbols) > 1u << 20)
		return bad(f, s->name, 0, "%zu bytes are not a table of symbols", s->size);
	for (i = 0; i < f->num_symbols; i++) {
		const struct rdu_file_symbol *y = &f->symbols[i];
		unsigned long long at = i * sizeof(*y);
		uint64_t size;

		if (!name_ok(y->name, sizeof(y->name), false))
			return bad(f, s->name, at,
				   "the name of symbol %u is not a zero terminated "
				   "text",
				   i);
		if (y->region >= f->num_regions)
			return bad(f, s->name, at, "symbol \"%s\" is in region %u; there are %u",
				   y->name, y->region, f->num_regions);
		size = rdu_dtype_size(y->dtype);
		if (!size)
			return bad(f, s->name, at, "symbol \"%s\" is of unknown type %u", y->name,
				   y->dtype);
		if (y->flags & 0xff &
			    ~(RDU_SYM_INPUT | RDU_SYM_OUTPUT | RDU_SYM_WEIGHT | RDU_SYM_STATE |
			      RDU_SYM_CONSTANT | RDU_SYM_MODEL_STATE | RDU_SYM_BLOCKS |
			      RDU_SYM_TRANSPOSED) ||
		    (y->flags & RDU_SYM_MODEL_STATE && !(y->flags & RDU_SYM_STATE)))
			return bad(f, s->name, at, "symbol \"%s\" has unknown flags 0x%x", y->name,
				   y->flags);
		if (y->ndim > RDU_MAX_DIMS)
			return bad(f, s->name, at, "symbol \"%s\" has %u dimensions", y->name,
				   y->ndim);
		if (!rows_ok(y))
			return bad(f, s->name, at,
				   "symbol \"%s\" cannot have such rows (flags 0x%x)", y->name,
				   y->flags);
		for (d = 0; d < RDU_MAX_DIMS; d++) {
			if (d < y->ndim ? y->dims[d] < 0 || y->dims[d] >> 47 : y->dims[d] != 0)
				return bad(f, s->name, at, "symbol \"%s\": dimension %u is %lld",
					   y->name, d, (long long)y->dims[d]);
			if (d < y->ndim &&
			    __builtin_mul_overflow(size, (uint64_t)y->dims[d], &size))
				return bad(f, s->name, at, "symbol \"%s\" is too large", y->name);
		}
		if (y->flags & RDU_SYM_BLOCKS) /* its table may come later: check_blocks() */
			size = 0;
		if (y->offset > f->regions[y->region].size ||
		    f->regions[y->region].size - y->offset < size)
			return bad(f, s->name, at,
				   "symbol \"%s\" (%llu bytes at %llu) does not fit "
				   "region %u \"%s\" (%llu bytes)",
				   y->name, (unsigned long long)size, (unsigned long long)y->offset,
				   y->region, f->regions[y->region].name,
				   (unsigned long long)f->regions[y->region].size);
		if (y->entries & ~known)
			return bad(f, s->name, at,
				   "symbol \"%s\" names entry points that are not "
				   "there (0x%llx)",
				   y->name, (unsigned long long)y->entries);
	}
	name = twice(f->symbols, f->num_symbols, sizeof(*f->symbols), &error);
	if (error)
		return lr_fail(&f->obj, -ENOMEM, "%s: out of memory", f->path);
	if (name)
		return bad(f, s->name, 0, "two symbols are called \"%s\"", name);
	return 0;
}

static int check_blocks(struct rdu_file *f, const struct elf_section *s)
{
	for (unsigned int i = 0; i < f->num_symbols; i++) {
		const struct rdu_file_symbol *y = &f->symbols[i];
		const char *wrong = lr_blocks_check(f, y);

		if (!wrong && f->regions[y->region].size - y->offset < lr_stored_size(f, y))
			wrong = "has more blocks than its region holds";
		if (wrong)
			return bad(f, s->name, i * sizeof(*y), "symbol \"%s\" %s", y->name, wrong);
	}
	return 0;
}

static int check_sizes(struct rdu_file *f, const struct elf_section *s)
{
	for (unsigned int i = 0; i < f->num_symbols; i++) {
		const char *wrong = lr_sizes_check(f, &f->symbols[i]);

		if (wrong)
			return bad(f, s->name, i * sizeof(f->symbols[i]), "symbol \"%s\" %s",
				   f->symbols[i].name, wrong);
	}
	return 0;
}

static int check_ops(struct rdu_file *f, const struct elf_section *s)
{
	unsigned int i;

	f->ops = (const struct rdu_file_op *)s->data;
	f->num_ops = s->size / sizeof(*f->ops);
	if (s->size % sizeof(*f->ops) || s->size / sizeof(*f->ops) > 65536)
		return bad(f, s->name, 0, "%zu bytes are not a table of operators", s->size);
	for (i = 0; i < f->num_ops; i++)
		if (!name_ok(f->ops[i].name, sizeof(f->ops[i].name), true) ||
		    !name_ok(f->ops[i].type, sizeof(f->ops[i].type), true))
			return bad(f, s->name, i * sizeof(*f->ops),
				   "the name of operator %u is not a zero terminated text", i);
	return 0;
}

static int check_meta(struct rdu_file *f, const struct elf_section *s)
{
	size_t n = s->size, i;

	if (n && !s->data[n - 1])
		n--;
	for (i = 0; i < n; i++)
		if ((s->data[i] < 0x20 && s->data[i] != '\n' && s->data[i] != '\t') ||
		    s->data[i] == 0x7f)
			return bad(f, s->name, i, "not a text (byte 0x%02x)", s->data[i]);
	f->meta = malloc(n + 1);
	if (!f->meta)
		return lr_fail(&f->obj, -ENOMEM, "%s: out of memory", f->path);
	memcpy(f->meta, s->data, n);
	f->meta[n] = 0;
	return 0;
}

static int parse(struct rdu_file *f)
{
	struct elf_section s[NUM_SECTIONS] = { 0 };
	int ret = parse_elf(f, s);

	if (!ret)
		ret = check_hash(f, s);
	if (!ret)
		ret = check_chip(f, &s[CHIP]);
	if (!ret)
		ret = check_program(f, &s[PROGRAM]);
	f->data = s[DATA].data;
	f->data_size = s[DATA].size;
	if (!ret)
		ret = check_regions(f, &s[REGIONS]);
	if (!ret)
		ret = check_symbols(f, &s[SYMBOLS]);
	if (!ret)
		ret = check_blocks(f, &s[SYMBOLS]);
	if (!ret)
		ret = check_sizes(f, &s[SYMBOLS]);
	if (!ret)
		ret = check_ops(f, &s[OPS]);
	if (!ret)
		ret = check_meta(f, &s[META]);
	f->obj.dead = ret < 0;
	return ret;
}

/* ---- reading ---------------------------------------------------------------------- */

static struct rdu_file *new_file(const char *path)
{
	struct rdu_file *f = calloc(1, sizeof(*f));

	if (f)
		f->path = strdup(path);
	if (f && !f->path) {
		free(f);
		f = NULL;
	}
	return f;
}

static int read_all(struct rdu_file *f, int fd)
{
	struct stat st;
	size_t have = 0;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	f->size = st.st_size;
	f->bytes = malloc(f->size + 1);
	if (!f->bytes)
		return -ENOMEM;
	while (have < f->size) {
		ssize_t n = read(fd, f->bytes + have, f->size - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		have += n;
	}
	f->size = have;
	return 0;
}

RDU_EXPORT int rdu_file_open(const char *path, struct rdu_file **file)
{
	struct rdu_file *f;
	int fd, ret;

	f = *file = new_file(path ? path : "(no path)");
	if (!f)
		return -ENOMEM;
	fd = open(f->path, O_RDONLY | O_CLOEXEC);
	ret = fd < 0 ? -errno : read_all(f, fd);
	if (fd >= 0)
		close(fd);
	if (ret) {
		f->obj.dead = true;
		return lr_fail(&f->obj, ret, "%s: %s", f->path, strerror(-ret));
	}
	return parse(f);
}

RDU_EXPORT int rdu_file_parse(const void *data, size_t size, struct rdu_file **file)
{
	struct rdu_file *f = *file = new_file("(memory)");

	if (!f)
		return -ENOMEM;
	f->bytes = malloc(size + 1);
	if (!f->bytes) {
		f->obj.dead = true;
		return lr_fail(&f->obj, -ENOMEM, "out of memory");
	}
	memcpy(f->bytes, data, size);
	f->size = size;
	return parse(f);
}

RDU_EXPORT void rdu_file_close(struct rdu_file *file)
{
	if (!file)
		return;
	free(file->bytes);
	free(file->meta);
	free(file->path);
	free(file);
}

RDU_EXPORT int rdu_file_validate(struct rdu_file *file, const struct rdu_chip *chip)
{
	struct rdu_cfg_diag diag = { 0 };
	char section[80] = "the program image";

	if (lr_check(&file->obj))
		return -EINVAL;
	if (!chip)
		chip = &file->chip;
	if (rdu_chip_hash(chip) != file->chip_hash)
		return lr_fail(&file->obj, -EXDEV,
			       "%s: compiled for chip %s (%016llx), not %s "
			       "(%016llx)",
			       file->path, file->chip.name, (unsigned long long)file->chip_hash,
			       chip->name, (unsigned long long)rdu_chip_hash(chip));
	if (!rdu_program_validate(file->image, file->image_size, chip, chip->tiles, &diag))
		return 0;
	if (diag.section < file->header->num_sections)
		snprintf(section, sizeof(section), "section %u \"%s\"", diag.section,
			 ((const struct rdu_prog_section
				   *)(file->image + file->header->sections_off))[diag.section]
				 .name);
	return lr_fail(&file->obj, diag.error == RDU_CFG_E_CHIP ? -EXDEV : -ENOEXEC,
		       "%s: .rdu.program at byte %llu: %s: %s (%s): %s", file->path,
		       (unsigned long long)diag.offset, section,
		       rdu_config_error_meaning(diag.error), rdu_config_error_name(diag.error),
		       diag.text);
}
