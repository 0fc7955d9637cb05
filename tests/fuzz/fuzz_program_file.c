// SPDX-License-Identifier: MIT
/*
 * Program files from a stranger: read, and if that went well looked at in every
 * way. The hash is made right first: else nothing behind it would ever be
 * reached. A file that passes every check is also loaded and run on the model.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include "rdu.h"

/* The sections the hash covers, in its order, wherever the table says they are. */
static void fix_hash(uint8_t *data, size_t size)
{
	static const char *const order[] = { ".rdu.chip",    ".rdu.program", ".rdu.regions",
					     ".rdu.symbols", ".rdu.ops",     ".rdu.data",
					     ".rdu.meta",    ".rdu.hash" };
	Elf64_Ehdr eh;
	Elf64_Shdr sh, str;
	uint64_t hash = RDU_FNV1A_INIT;
	unsigned int i, k;

	if (size < sizeof(eh))
		return;
	memcpy(&eh, data, sizeof(eh));
	if (eh.e_shoff > size || (size - eh.e_shoff) / sizeof(sh) < eh.e_shnum ||
	    eh.e_shstrndx >= eh.e_shnum)
		return;
	memcpy(&str, data + eh.e_shoff + eh.e_shstrndx * sizeof(str), sizeof(str));
	if (str.sh_offset > size || size - str.sh_offset < str.sh_size)
		return;
	for (k = 0; k < 8; k++) {
		for (i = 0; i < eh.e_shnum; i++) {
			size_t n = strlen(order[k]) + 1;

			memcpy(&sh, data + eh.e_shoff + i * sizeof(sh), sizeof(sh));
			if (sh.sh_name > str.sh_size || str.sh_size - sh.sh_name < n ||
			    memcmp(data + str.sh_offset + sh.sh_name, order[k], n))
				continue;
			if (sh.sh_offset > size || size - sh.sh_offset < sh.sh_size)
				return;
			if (k < 7)
				hash = rdu_fnv1a(hash, data + sh.sh_offset, sh.sh_size);
			else if (sh.sh_size == sizeof(hash))
				memcpy(data + sh.sh_offset, &hash, sizeof(hash));
			break;
		}
	}
}

/* An entry point takes its own shapes; of fewer rows it may, and says so of its outputs then. */
static void shapes(struct rdu_file *f, unsigned int entry)
{
	struct rdu_shape in[8] = { 0 }, got;
	unsigned int num = 0, i;

	for (i = 0; i < rdu_file_num_symbols(f) && num < 8; i++) {
		const struct rdu_file_symbol *s = rdu_file_get_symbol(f, i);

		if (!(s->entries >> entry & 1) || !(s->flags & RDU_SYM_INPUT))
			continue;
		in[num].name = s->name;
		in[num].ndim = s->ndim;
		memcpy(in[num++].dims, s->dims, sizeof(in->dims));
	}
	for (int fewer = 0; fewer < 2; fewer++) {
		int e;

		for (i = 0; fewer && i < num; i++)
			in[i].dims[0] -= in[i].ndim > 0;
		e = rdu_file_entry_for_shapes(f, rdu_file_entry(f, entry), in, num);
		if (e < 0 && !rdu_error_text(f)[0])
			abort();
		for (i = 0; e >= 0 && i < rdu_file_num_symbols(f); i++) {
			const struct rdu_file_symbol *s = rdu_file_get_symbol(f, i);
			int k = rdu_file_entry_shape(f, e, in, num, s->name, &got);

			for (unsigned int d = 0; k >= 0 && d < got.ndim; d++)
				if (got.dims[d] > rdu_file_get_symbol(f, k)->dims[d])
					abort();
		}
	}
}

static volatile uint64_t sink;

static void look(struct rdu_file *f)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i <= rdu_file_num_entries(f); i++)
		if (rdu_file_entry(f, i))
			sum += rdu_file_find_entry(f, rdu_file_entry(f, i)) != (int)i;
	for (i = 0; i < rdu_file_num_entries(f) && rdu_file_num_symbols(f) < 1000; i++)
		shapes(f, i);
	for (i = 0; i <= rdu_file_num_symbols(f); i++) {
		const struct rdu_file_symbol *s = rdu_file_get_symbol(f, i);

		if (!s)
			continue;
		if (rdu_file_find_symbol(f, s->name) != (int)i)
			abort();
		if (!(s->flags & RDU_SYM_BLOCKS) &&
		    s->offset + rdu_symbol_size(s) > rdu_file_get_region(f, s->region)->size)
			abort();
		if (rdu_symbol_size(s) < 1 << 20) {
			void *data = malloc(rdu_symbol_size(s) + 1);

			if (data)
				sum += rdu_file_read_symbol(f, i, data, rdu_symbol_size(s)) != 0;
			free(data);
		}
	}
	for (i = 0; i < rdu_file_num_regions(f); i++) {
		const uint8_t *p = rdu_file_region_data(f, i);
		uint64_t size = rdu_file_get_region(f, i)->size;

		if (p && size)
			sum += p[0] + p[size - 1];
	}
	for (i = 0; i < rdu_file_num_ops(f); i++)
		sum += strlen(rdu_file_get_op(f, i)->name) + strlen(rdu_file_get_op(f, i)->type);
	sum += rdu_file_meta(f, "optimizer", NULL) != NULL;
	sink = sum;
}

/* Small programs only, and not for long. */
static void run(struct rdu_file *f)
{
	struct rdu_context_options options = { .size = sizeof(options),
					       .watchdog_ms = 200,
					       .watchdog_cycles = 1000000 };
	char where[64];
	struct rdu_device *dev = NULL;
	struct rdu_context *ctx = NULL;
	struct rdu_program *prog = NULL;
	uint64_t total = 0;
	unsigned int i;

	for (i = 0; i < rdu_file_num_regions(f); i++)
		total += rdu_file_get_region(f, i)->size;
	if (total > 1 << 20)
		return;
	strcpy(where, "model:");
	strcat(where, strcmp(rdu_file_chip(f)->name, "plasticine") ? "sn10" : "plasticine");
	strcat(where, ",threads=1,mem=16M");
	if (!rdu_open(where, &dev) && !rdu_context_new(dev, &options, &ctx) &&
	    !rdu_program_load(ctx, f, &prog) && rdu_program_run(prog, rdu_file_entry(f, 0), NULL) &&
	    !rdu_error_text(prog)[0])
		abort(); /* a failure without words */
	rdu_program_free(prog);
	rdu_context_free(ctx);
	rdu_close(dev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);
	struct rdu_file *f;
	int ret;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	fix_hash(copy, size);
	ret = rdu_file_parse(copy, size, &f);
	free(copy);
	if (ret && !rdu_error_text(f)[0])
		abort();
	if (!ret) {
		look(f);
		ret = rdu_file_validate(f, NULL);
		if (ret && !rdu_error_text(f)[0])
			abort();
		if (!ret)
			run(f);
	}
	rdu_file_close(f);
	return 0;
}
