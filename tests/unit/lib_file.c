// SPDX-License-Identifier: MIT
/* Program files: written, read, and damaged in every way there is a check for. */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "internal.h"
#include "lib_test.h"
#include "outfile.h"

struct blob {
	unsigned char *data;
	size_t size;
};

static struct blob slurp(const char *path)
{
	struct blob b = { 0 };
	FILE *f = fopen(path, "rb");

	fseek(f, 0, SEEK_END);
	b.size = ftell(f);
	rewind(f);
	b.data = malloc(b.size);
	if (fread(b.data, 1, b.size, f) != b.size)
		abort();
	fclose(f);
	return b;
}

static Elf64_Shdr *section(struct blob *b, const char *name)
{
	Elf64_Ehdr *eh = (Elf64_Ehdr *)b->data;
	Elf64_Shdr *sh = (Elf64_Shdr *)(b->data + eh->e_shoff);
	const char *names = (const char *)b->data + sh[eh->e_shstrndx].sh_offset;
	unsigned int i;

	for (i = 1; i < eh->e_shnum; i++)
		if (!strcmp(names + sh[i].sh_name, name))
			return &sh[i];
	abort();
}

static void *inside(struct blob *b, const char *name)
{
	return b->data + section(b, name)->sh_offset;
}

static void rehash(struct blob *b)
{
	static const char *const order[] = { ".rdu.chip",    ".rdu.program", ".rdu.regions",
					     ".rdu.symbols", ".rdu.ops",     ".rdu.data",
					     ".rdu.meta" };
	uint64_t h = RDU_FNV1A_INIT;
	unsigned int i;

	for (i = 0; i < 7; i++)
		h = rdu_fnv1a(h, inside(b, order[i]), section(b, order[i])->sh_size);
	memcpy(inside(b, ".rdu.hash"), &h, sizeof(h));
}

static struct blob copy(const struct blob *from)
{
	struct blob b = { malloc(from->size), from->size };

	memcpy(b.data, from->data, from->size);
	return b;
}

/* Refused with -ENOEXEC and these words; frees the blob. */
static void damaged(struct blob b, const char *words, const char *what)
{
	struct rdu_file *f;

	refused(rdu_file_parse(b.data, b.size, &f), -ENOEXEC, f, words, what);
	ok(!rdu_file_num_entries(f) && !rdu_file_get_symbol(f, 0), "%s: nothing in it", what);
	rdu_file_close(f);
	free(b.data);
}

#define DAMAGE(type, sec, member, value, words)               \
	do {                                                  \
		struct blob b_ = copy(good);                  \
		((type *)inside(&b_, sec))->member = (value); \
		rehash(&b_);                                  \
		damaged(b_, words, #type "." #member);        \
	} while (0)

static void damage_tables(struct blob *good)
{
	struct blob b;

	DAMAGE(struct rdu_chip, ".rdu.chip", name[15], 'x', ".rdu.chip");
	DAMAGE(struct rdu_chip, ".rdu.chip", tiles, 0, ".rdu.chip");
	DAMAGE(struct rdu_chip, ".rdu.chip", clock_khz, 12345, "compiled for chip");
	DAMAGE(struct rdu_prog_header, ".rdu.program", magic, 1, ".rdu.program at byte 0");
	DAMAGE(struct rdu_prog_header, ".rdu.program", version, 9, "version 9");
	DAMAGE(struct rdu_prog_header, ".rdu.program", size, 8, "the image says 8 bytes");
	DAMAGE(struct rdu_prog_header, ".rdu.program", num_tiles, 99, "needs 99 tiles");
	DAMAGE(struct rdu_prog_header, ".rdu.program", num_tiles, 0, "needs 0 tiles");
	DAMAGE(struct rdu_prog_header, ".rdu.program", num_regions, 4, "regions");
	DAMAGE(struct rdu_prog_header, ".rdu.program", num_entries, 0, "beyond its limit");
	DAMAGE(struct rdu_prog_header, ".rdu.program", num_sections, 5000, "beyond its limit");
	DAMAGE(struct rdu_prog_header, ".rdu.program", steps_off, 0xfffffff8, "outside the image");
	DAMAGE(struct rdu_prog_header, ".rdu.program", sections_off, 3, "not aligned");
	DAMAGE(struct rdu_file_region, ".rdu.regions", kind, 5, "unknown kind 5");
	DAMAGE(struct rdu_file_region, ".rdu.regions", zero, 5, "unknown kind");
	DAMAGE(struct rdu_file_region, ".rdu.regions", size, 12, "12 bytes, but");
	DAMAGE(struct rdu_file_region, ".rdu.regions", align, 3, "power of two");
	DAMAGE(struct rdu_file_region, ".rdu.regions", align, 0, "power of two");
	DAMAGE(struct rdu_file_region, ".rdu.regions", data, 64, "outside .rdu.data");
	DAMAGE(struct rdu_file_region, ".rdu.regions", data, ~1ull, "outside .rdu.data");
	DAMAGE(struct rdu_file_symbol, ".rdu.symbols", region, 3, "there are 3");
	DAMAGE(struct rdu_file_symbol, ".rdu.symbols", dtype, 99, "unknown type 99");
	DAMAGE(struct rdu_file_symbol, ".rdu.symbols", flags, 0x20, "unknown flags");
	DAMAGE(struct rdu_file_symbol, ".rdu.symbols", flags, RDU_SYM_WEIGHT | RDU_SYM_TRANSPOSED,
	       "is not kept in blocks, but says which");
	DAMAGE(struct rdu_file_symbol, ".rdu.symbols", flags, RDU_SYM_INPUT | RDU_SYM_ROWS(1, 1),
	       "cannot have such rows");
	DAMAGE(struct rdu_file_symbol, ".rdu.symbols", flags, RDU_SYM_INPUT | RDU_SYM_ROWS(7, 7),
	       "cannot have such rows");
	DAMAGE(struct rdu_file_symbol, ".rdu.symbols", flags, RDU_SYM_WEIGHT | RDU_SYM_ROWS(0, 1),
	       "cannot have such rows");
	DAMAGE(struct rdu_file_symbol, ".rdu.symbols", ndim, 9, "9 dimensions");
	DAMAGE(struct rdu_file_symbol, ".rdu.symbols", dims[0], -1, "dimension 0 is -1");
	DAMAGE(struct rdu_file_symbol, ".rdu.symbols", dims[0], 1 << 20, "does not fit region");
	DAMAGE(struct rdu_file_symbol, ".rdu.symbols", dims[1], 1, "dimension 1 is 1");
	DAMAGE(struct rdu_file_symbol, ".rdu.symbols", offset, ~0ull, "does not fit region");
	DAMAGE(struct rdu_file_symbol, ".rdu.symbols", entries, 2, "entry points that are not");
	DAMAGE(struct rdu_file_symbol, ".rdu.symbols", name[0], 0, "zero terminated");
	DAMAGE(struct rdu_file_symbol, ".rdu.symbols", name[0], 'y', "two symbols are called");
	DAMAGE(struct rdu_file_symbol, ".rdu.symbols", name[0], '\n', "zero terminated");

	b = copy(good);
	memset(inside(&b, ".rdu.ops"), 'a', sizeof(struct rdu_file_op));
	rehash(&b);
	damaged(b, ".rdu.ops", "an endless operator name");
	b = copy(good);
	((char *)inside(&b, ".rdu.meta"))[3] = 1;
	rehash(&b);
	damaged(b, ".rdu.meta at byte 3", "meta is no text");
}

static struct rdu_prog_header *header(struct blob *b)
{
	return inside(b, ".rdu.program");
}

static void damage_program(struct blob *good)
{
	struct blob b = copy(good);
	struct rdu_prog_header *h = header(&b);
	unsigned char *p = inside(&b, ".rdu.program");

	((struct rdu_prog_step *)(p + h->steps_off))->arg = 7;
	rehash(&b);
	damaged(b, "step 0 of entry point \"main\"", "a step that runs no section");
	b = copy(good);
	p = inside(&b, ".rdu.program");
	((struct rdu_prog_step *)(p + header(&b)->steps_off))->kind = RDU_STEP_LOOP;
	rehash(&b);
	damaged(b, "a loop without an end", "a loop without an end");
	b = copy(good);
	p = inside(&b, ".rdu.program");
	((struct rdu_prog_step *)(p + header(&b)->steps_off))->kind = RDU_STEP_END;
	rehash(&b);
	damaged(b, "makes no sense", "an end without a loop");
	b = copy(good);
	p = inside(&b, ".rdu.program");
	((struct rdu_prog_entry *)(p + header(&b)->entries_off))->num_steps = 2;
	rehash(&b);
	damaged(b, "steps beyond the last", "an entry point beyond the steps");
	b = copy(good);
	p = inside(&b, ".rdu.program");
	((struct rdu_prog_section *)(p + header(&b)->sections_off))->offset += 8;
	rehash(&b);
	damaged(b, "section 0", "a section beyond the image");
	b = copy(good);
	p = inside(&b, ".rdu.program");
	((struct rdu_prog_segment *)(p + header(&b)->segments_off))->region = 3;
	rehash(&b);
	damaged(b, "is in region 3", "a segment in no region");
}

static void damage_shell(struct blob *good)
{
	static const char *const sections[] = { ".rdu.chip",	".rdu.program", ".rdu.regions",
						".rdu.symbols", ".rdu.ops",	".rdu.data",
						".rdu.meta",	".rdu.hash" };
	struct blob b = copy(good);
	unsigned int i;

	b.data[0] = 'x';
	damaged(b, "not an ELF file", "no ELF magic");
	b = copy(good);
	((Elf64_Ehdr *)b.data)->e_machine = EM_X86_64;
	damaged(b, "not for an RDU", "an x86 program");
	b = copy(good);
	((Elf64_Ehdr *)b.data)->e_shoff = 1ull << 40;
	damaged(b, "beyond the file's end", "sections nowhere");
	b = copy(good);
	((char *)inside(&b, ".rdu.data"))[5] ^= 1;
	damaged(b, "is damaged, or was changed by hand", "a flipped bit in the weights");
	for (i = 0; i < 8; i++) {
		b = copy(good);
		section(&b, sections[i])->sh_size = 1ull << 40;
		damaged(b, sections[i], "a section that is too large");
		b = copy(good);
		section(&b, sections[i])->sh_name = 0;
		damaged(b, sections[i], "a section that is missing");
	}
}

/* Every truncation and a flipped bit at every place: refused, or (outside of
 * what the hash covers) harmless. */
static void damage_everywhere(struct blob *good)
{
	size_t i, refusals = 0, flips = 0;
	struct rdu_file *f;
	bool fine = true;

	for (i = 0; i < good->size; i += i < 4096 ? 1 : 61) {
		unsigned char *cut = malloc(i + 1); /* ASan sees reads beyond */

		memcpy(cut, good->data, i);
		fine &= rdu_file_parse(cut, i, &f) < 0 && rdu_error_text(f)[0];
		rdu_file_close(f);
		free(cut);
	}
	ok(fine, "every truncation is refused, with a text");
	for (i = 0; i < good->size; i += 7, flips++) {
		struct blob b = copy(good);

		b.data[i] ^= 1 << i % 8;
		refusals += rdu_file_parse(b.data, b.size, &f) < 0;
		rdu_file_close(f);
		free(b.data);
	}
	ok(refusals > flips / 2, "%zu of %zu flipped bits are refused, none crashes", refusals,
	   flips);
}

static void looks_right(const struct sample *s, struct rdu_file *f)
{
	size_t size, length;
	const char *value;

	ok(!memcmp(rdu_file_chip(f), &s->chip, sizeof(s->chip)), "the chip");
	ok(!memcmp(rdu_file_image(f, &size), s->image, s->parts.image_size) &&
		   size == s->parts.image_size,
	   "the image");
	ok(rdu_file_num_entries(f) == 1 && !strcmp(rdu_file_entry(f, 0), "main"), "entry points");
	ok(!rdu_file_entry(f, 1), "no entry point beyond");
	ok(rdu_file_num_symbols(f) == 3 && !strcmp(rdu_file_get_symbol(f, 2)->name, "w") &&
		   !rdu_file_get_symbol(f, 3),
	   "symbols");
	ok(rdu_symbol_size(rdu_file_get_symbol(f, 0)) == s->regions[0].size, "a symbol's size");
	ok(rdu_file_num_regions(f) == 3 && !rdu_file_get_region(f, 3), "regions");
	ok(!memcmp(rdu_file_region_data(f, 2), s->data, s->regions[2].size) &&
		   !rdu_file_region_data(f, 0),
	   "initial contents");
	ok(rdu_file_num_ops(f) == 1 && !strcmp(rdu_file_get_op(f, 0)->type, "Gemm"), "operators");
	value = rdu_file_meta(f, "optimizer", &length);
	ok(value && length == 5 && !strncmp(value, "adamw", 5) && !rdu_file_meta(f, "optim", NULL),
	   "meta");
	ok(rdu_file_find_entry(f, NULL) == 0 && rdu_file_find_entry(f, "main") == 0 &&
		   rdu_file_find_symbol(f, "y") == 1,
	   "found by name");
	refused(rdu_file_find_symbol(f, "z"), -ENOENT, f, "inputs and outputs are: x, y",
		"a symbol that is not there: those that are");
	refused(rdu_file_find_entry(f, "backward"), -ENOENT, f, "there are: main",
		"an entry point that is not there: those that are");
	ok(!rdu_file_validate(f, NULL), "the validator accepts it");
}

/* A name too long for the table is found by all of it, and by the short form. */
static void test_long_name(void)
{
	static const char name[] =
		"layer_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_in_a";
	static const char other[] =
		"layer_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_in_b";
	const char *path = temp_path("long.rdu");
	struct rdu_file *f;
	struct sample s;
	char error[256];

	sample_make(&s, "plasticine", false);
	snprintf(s.symbols[0].name, sizeof(s.symbols[0].name), RDU_LONG_NAME_FORMAT, name,
		 RDU_LONG_NAME_HASH(name, strlen(name)));
	ok(!rdu_file_write(path, &s.parts, error, sizeof(error)) && !rdu_file_open(path, &f),
	   "a file with a long name");
	ok(strlen(s.symbols[0].name) == 63 && rdu_file_find_symbol(f, name) == 0 &&
		   rdu_file_find_symbol(f, s.symbols[0].name) == 0,
	   "is found by it");
	refused(rdu_file_find_symbol(f, other), -ENOENT, f, other, "another one is not");
	rdu_file_close(f);
	unlink(path);
	sample_free(&s);
}

/* ---- tensors that are kept in blocks ---------------------------------------------------- */

enum { MATRIX = 3, TABLE }; /* symbols */
static const int32_t block_table[4] = { 0, 1, 1, 1 }; /* the last one fills up */

/* w's region has a matrix of 5 results and 6 terms, of which the blocks of 4 x 4 are kept that
 * block_table has: 1, 2, 3 ... */
static void blocks_make(struct sample *s, struct rdu_file_symbol *symbols)
{
	sample_make(s, "sn10", false);
	memcpy(symbols, s->symbols, sizeof(s->symbols));
	symbols[MATRIX] = (struct rdu_file_symbol){ .name = "matrix",
						    .region = 2,
						    .dtype = RDU_DT_F32,
						    .flags = RDU_SYM_WEIGHT | RDU_SYM_BLOCKS |
							     RDU_SYM_TRANSPOSED,
						    .ndim = 2,
						    .dims = { 5, 6 },
						    .table = TABLE,
						    .block = 4 };
	symbols[TABLE] = (struct rdu_file_symbol){ .name = "table",
						   .region = 2,
						   .dtype = RDU_DT_I32,
						   .flags = RDU_SYM_CONSTANT,
						   .ndim = 2,
						   .dims = { 2, 2 },
						   .offset = 256 };
	for (int i = 0; i < 64; i++)
		s->data[i] = (float)i + 1;
	memcpy(&s->data[64], block_table, sizeof(block_table));
	s->parts.symbols = symbols;
	s->parts.num_symbols = 5;
}

static void bad_blocks(struct sample *s, const char *words)
{
	const char *path = temp_path("blocks.rdu");
	struct rdu_file *f;
	char error[256];

	if (rdu_file_write(path, &s->parts, error, sizeof(error)))
		abort();
	refused(rdu_file_open(path, &f), -ENOEXEC, f, words, words);
	rdu_file_close(f);
	unlink(path);
}

#define BAD_BLOCKS(change, words)         \
	do {                              \
		blocks_make(&s, symbols); \
		change;                   \
		bad_blocks(&s, words);    \
		sample_free(&s);          \
	} while (0)

static void test_blocks(void)
{
	const char *path = temp_path("blocks.rdu");
	struct rdu_file_symbol symbols[5];
	float m[5][6], want[5][6] = { 0 };
	struct rdu_device *dev;
	struct rdu_context *ctx;
	struct rdu_program *prog;
	struct rdu_file *f;
	struct sample s;
	char error[256];

	/* Results 0 to 3 have all terms, result 4 has terms 4 and 5 alone. */
	for (int r = 0; r < 4; r++)
		for (int k = 0; k < 6; k++)
			want[r][k] = (float)(16 * (k / 4) + k % 4 * 4 + r + 1);
	for (int k = 4; k < 6; k++)
		want[4][k] = (float)(32 + k % 4 * 4 + 1);
	blocks_make(&s, symbols);
	symbols[TABLE].dtype = RDU_DT_U16;
	memcpy(&s.data[64], (uint16_t[]){ 0, 1, 1, 1 }, 4 * sizeof(uint16_t));
	ok(!rdu_file_write(path, &s.parts, error, sizeof(error)) && !rdu_file_open(path, &f) &&
		   !rdu_file_read_symbol(f, MATRIX, m, sizeof(m)) && !memcmp(m, want, sizeof(m)),
	   "a tensor in blocks, by a table of uint16");
	rdu_file_close(f);
	sample_free(&s);
	blocks_make(&s, symbols);
	ok(!rdu_file_write(path, &s.parts, error, sizeof(error)) && !rdu_file_open(path, &f),
	   "a file with a tensor in blocks");
	ok(rdu_file_read_symbol(f, MATRIX, m, sizeof(m)) == 0 && !memcmp(m, want, sizeof(m)),
	   "it is read whole");
	ok(rdu_file_read_symbol(f, MATRIX, m, 4) == -EINVAL &&
		   rdu_file_read_symbol(f, 9, m, sizeof(m)) == -ENOENT,
	   "not with another size, nor another symbol");
	if (rdu_open("model:sn10", &dev) || rdu_context_new(dev, NULL, &ctx) ||
	    rdu_program_load(ctx, f, &prog))
		abort();
	memset(m, 1, sizeof(m));
	ok(!rdu_program_read(prog, "matrix", m, sizeof(m)) && !memcmp(m, want, sizeof(m)),
	   "of a program, too");
	m[4][5] = 7;
	m[4][3] = -0.0f;
	ok(!rdu_program_write(prog, "matrix", m, sizeof(m)), "it is written whole");
	want[4][5] = 7;
	ok(!rdu_program_read(prog, "matrix", m, sizeof(m)) && !memcmp(m, want, sizeof(m)),
	   "and read again");
	m[4][3] = 1e-30f;
	refused(rdu_program_write(prog, "matrix", m, sizeof(m)), -EINVAL, prog,
		"\"matrix\" has numbers where the program keeps no blocks",
		"what no block has is not written");
	rdu_program_free(prog);
	rdu_context_free(ctx);
	rdu_close(dev);
	rdu_file_close(f);
	sample_free(&s);
	unlink(path);

	BAD_BLOCKS(symbols[MATRIX].table = 5, "has no table of its blocks");
	BAD_BLOCKS(symbols[MATRIX].table = 0, "has a table that is none of its blocks");
	BAD_BLOCKS(symbols[MATRIX].block = 0, "blocks of an impossible size");
	BAD_BLOCKS(symbols[MATRIX].block = 1 << 20, "blocks of an impossible size");
	BAD_BLOCKS(symbols[MATRIX].dims[0] = 9, "has a table that is none of its blocks");
	BAD_BLOCKS(symbols[MATRIX].ndim = 1; symbols[MATRIX].dims[1] = 0, "no matrix of weights");
	BAD_BLOCKS(symbols[MATRIX].flags = RDU_SYM_BLOCKS | RDU_SYM_INPUT, "no matrix of weights");
	BAD_BLOCKS(symbols[MATRIX].flags = RDU_SYM_WEIGHT, "is not kept in blocks, but says which");
	BAD_BLOCKS(symbols[MATRIX].offset = s.regions[2].size - 64, "more blocks than its region");
	BAD_BLOCKS(symbols[TABLE].dtype = RDU_DT_F32, "has a table that is none of its blocks");
	BAD_BLOCKS(symbols[TABLE].dims[1] = 0, "has a table that is none of its blocks");
	BAD_BLOCKS(symbols[TABLE].region = 0, "has a table without contents");
	BAD_BLOCKS(memset(&s.data[65], 0xff, 4), "a table with a negative number");
}

/* ---- files that are written (outfile.h) ---------------------------------------------- */

static bool holds(const char *path, const char *text)
{
	char have[64] = "";
	FILE *f = fopen(path, "r");
	bool good = f && (fgets(have, sizeof(have), f) || !text[0]) && !strcmp(have, text);

	if (f)
		fclose(f);
	return good;
}

/* What lr_outfile_close() gives for a text written under that name. */
static int write_text(const char *path, const char *text)
{
	struct lr_outfile o;
	FILE *f = lr_outfile_open(&o, path);

	if (f)
		fputs(text, f);
	return lr_outfile_close(&o);
}

static unsigned int files_in(const char *dir)
{
	unsigned int n = 0;
	DIR *d = opendir(dir);

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n - 2;
}

/* In the current folder, which is empty. */
static void outfile_regular(void)
{
	struct lr_outfile o;
	struct stat st, link;

	umask(022);
	ok(!write_text("new", "one") && holds("new", "one") && !stat("new", &st) &&
		   (st.st_mode & 07777) == 0644,
	   "a new file");
	chmod("new", 0640);
	ok(!write_text("new", "two") && holds("new", "two") && !stat("new", &st) &&
		   (st.st_mode & 07777) == 0640,
	   "in place of another, with its permissions");
	ok(!symlink("new", "link") && !write_text("link", "three") && holds("new", "three") &&
		   !lstat("link", &link) && S_ISLNK(link.st_mode),
	   "through a link that stays");
	ok(!symlink("not-yet", "dangling") && !write_text("dangling", "four") &&
		   holds("not-yet", "four") && !lstat("dangling", &link) && S_ISLNK(link.st_mode),
	   "through a link to what is not there yet");
	ok(lr_outfile_open(&o, "new") && fputs("half", o.f) >= 0, "half of a file");
	lr_outfile_discard(&o);
	ok(holds("new", "three"), "is nothing");
	ok(!symlink("loop", "loop") && write_text("loop", "x") == -ELOOP, "a link to itself");
	ok(files_in(".") == 5, "and nothing is left beside them");
}

static void outfile_special(void)
{
	struct rlimit small = { 4096, RLIM_INFINITY }, old;
	static char large[65536];
	struct stat st;
	char text[8] = "";
	int fd = -1, ret;

	memset(large, 'x', sizeof(large) - 1);
	getrlimit(RLIMIT_FSIZE, &old);
	small.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &small);
	ret = write_text("new", large);
	setrlimit(RLIMIT_FSIZE, &old); /* what is printed may go to a file too */
	ok(ret == -EFBIG && holds("new", "three"), "no room: an error, and the old file");
	ok(files_in(".") == 5, "and nothing beside it");
	ok(lr_outfile_check("new", 0) == 0 && lr_outfile_check("new", UINT64_MAX) == -ENOSPC &&
		   lr_outfile_check("nonsuch/x", 0) == -ENOENT && holds("new", "three") &&
		   files_in(".") == 5,
	   "looked at before");
	ok(write_text(".", "x") == -EISDIR && write_text("nonsuch/", "x") == -EISDIR, "a folder");
	ok(!mkfifo("fifo", 0600) && (fd = open("fifo", O_RDONLY | O_NONBLOCK)) >= 0 &&
		   !write_text("fifo", "five") && read(fd, text, 8) == 4 && !strcmp(text, "five") &&
		   !stat("fifo", &st) && S_ISFIFO(st.st_mode),
	   "a FIFO is written to, and stays");
	close(fd);
	if (mknod("full", S_IFCHR | 0666, makedev(1, 7))) {
		ok(true, "a device # SKIP only root makes one");
	} else {
		ok(write_text("full", "x") == -ENOSPC && !stat("full", &st) && S_ISCHR(st.st_mode),
		   "a device is written to, and stays");
		unlink("full");
	}
	chmod("new", 0444);
	ok(!getuid() || write_text("new", "x") == -EACCES, "one that may not be written");
	unlink("fifo");
}

static void outfile_same(void)
{
	struct lr_outfile_use twice[] = { { "-o", "a" }, { "--dot", "./a" } };
	struct lr_outfile_use read[] = { { NULL, "not-yet" }, { "-o", "dangling" } };
	struct lr_outfile_use fine[] = {
		{ NULL, "new" }, { NULL, "link" }, { "-o", "a" }, { "--dot", NULL }
	};
	char text[256];

	ok(lr_outfile_same("new", "link") && lr_outfile_same("new", "./new") &&
		   !lr_outfile_same("new", "not-yet") &&
		   !lr_outfile_same("/dev/null", "/dev/null") && !link("new", "hard") &&
		   lr_outfile_same("new", "hard"),
	   "two names of one file");
	ok(lr_outfile_check_all(twice, 2, text, sizeof(text)) == -EINVAL &&
		   strstr(text, "-o a and --dot ./a are one file"),
	   "written twice: %s", text);
	ok(lr_outfile_check_all(read, 2, text, sizeof(text)) == -EINVAL &&
		   strstr(text, "not-yet and -o dangling"),
	   "read and written: %s", text);
	ok(!lr_outfile_check_all(fine, 4, text, sizeof(text)), "read twice is none");
}

static void test_outfile(void)
{
	static const char *const names[] = { "new", "link", "not-yet", "dangling", "loop", "hard" };
	char dir[] = "/tmp/rdu-test-out-XXXXXX";
	unsigned int i;
	int back = open(".", O_RDONLY | O_DIRECTORY);

	if (!mkdtemp(dir) || chdir(dir) || back < 0)
		abort();
	outfile_regular();
	outfile_special();
	outfile_same();
	for (i = 0; i < 6; i++)
		unlink(names[i]);
	if (fchdir(back) || rmdir(dir))
		abort();
	close(back);
}

/* What has no room in an error is counted, not cut. */
static void test_names(void)
{
	struct lr_names few = { 0 }, many = { 0 };
	char name[16], end[40];

	lr_names_add(&few, "x");
	lr_names_add(&few, "y");
	ok(!strcmp(few.text, "x, y"), "names in one text");
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "input.%03d", i);
		lr_names_add(&many, name);
	}
	snprintf(end, sizeof(end), ", and %u more", many.left);
	ok(!strncmp(many.text, "input.000, input.001", 20) &&
		   many.at == 11 * (300 - many.left) - 2 && !strcmp(many.text + many.at, end),
	   "names that are too many%s", end);
}

int main(void)
{
	const char *path = temp_path("file.rdu");
	struct sample s, other;
	struct rdu_file *f;
	struct blob good, b;
	char error[256];

	sample_make(&s, "plasticine", false);
	ok(!rdu_file_write(path, &s.parts, error, sizeof(error)), "written");
	ok(!rdu_file_open(path, &f), "read");
	test_names();
	looks_right(&s, f);
	sample_make(&other, "sn10", false);
	refused(rdu_file_validate(f, &other.chip), -EXDEV, f, "compiled for chip plasticine",
		"another chip: both names");
	rdu_file_close(f);

	good = slurp(path);
	damage_shell(&good);
	damage_tables(&good);
	damage_program(&good);
	damage_everywhere(&good);
	/* What only the validator sees. */
	b = copy(&good);
	((struct rdu_cfg_header *)((unsigned char *)inside(&b, ".rdu.program") +
				   ((struct rdu_prog_section *)((unsigned char *)inside(
									&b, ".rdu.program") +
								header(&b)->sections_off))
					   ->offset))
		->magic = 0;
	rehash(&b);
	ok(!rdu_file_parse(b.data, b.size, &f), "a damaged configuration is read");
	refused(rdu_file_validate(f, NULL), -ENOEXEC, f, "MAGIC", "... and not valid");
	rdu_file_close(f);
	free(b.data);

	refused(rdu_file_open("/nonexistent/x.rdu", &f), -ENOENT, f, "No such file", "no file");
	rdu_file_close(f);
	refused(rdu_file_open("/", &f), -EISDIR, f, "directory", "a directory");
	rdu_file_close(f);
	ok(rdu_file_write("/nonexistent/x.rdu", &s.parts, error, sizeof(error)) == -ENOENT &&
		   strstr(error, "No such file"),
	   "nowhere to write to");
	rdu_file_close(NULL);
	ok(rdu_error_text(NULL)[0], "no object has a text too");

	unlink(path);
	free(good.data);
	sample_free(&s);
	sample_free(&other);
	test_long_name();
	test_blocks();
	test_outfile();
	return tap_done();
}
