// SPDX-License-Identifier: MIT
/*
 * Tensors of which a region keeps blocks (RDU_SYM_BLOCKS): to everybody outside they are whole.
 */
#include <stdlib.h>
#include <string.h>
#include "internal.h"

/* A table's columns, entries of a column, and blocks of terms; `table` is NULL where it has no contents. */
struct blocks {
	int64_t columns, most, rows;
	const unsigned char *table; /* int32 or uint16, as the file has them */
	enum rdu_dtype dtype;
};

static int32_t entry(const struct blocks *b, int64_t i)
{
	uint16_t small;
	int32_t row;

	if (b->dtype == RDU_DT_U16) {
		memcpy(&small, b->table + i * (int64_t)sizeof(small), sizeof(small));
		return small;
	}
	memcpy(&row, b->table + i * (int64_t)sizeof(row), sizeof(row));
	return row;
}

static struct blocks blocks_of(const struct rdu_file *file, const struct rdu_file_symbol *sym)
{
	const struct rdu_file_symbol *table = &file->symbols[sym->table];
	const unsigned char *data = rdu_file_region_data(file, table->region);
	int64_t terms = sym->dims[!!(sym->flags & RDU_SYM_TRANSPOSED)];

	return (struct blocks){ .columns = table->dims[0],
				.most = table->dims[1],
				.rows = (terms + sym->block - 1) / sym->block,
				.table = data ? data + table->offset : NULL,
				.dtype = table->dtype };
}

const char *lr_blocks_check(const struct rdu_file *file, const struct rdu_file_symbol *sym)
{
	const struct rdu_file_symbol *table;
	struct blocks b;
	int64_t results;

	if (!(sym->flags & RDU_SYM_BLOCKS))
		return sym->flags & RDU_SYM_TRANSPOSED || ((sym->table || sym->block) &&
							   !(sym->flags & RDU_SYM_OUTPUT))
			       ? "is not kept in blocks, but says which"
			       : NULL;
	if (!(sym->flags & (RDU_SYM_WEIGHT | RDU_SYM_STATE)) || sym->ndim != 2)
		return "is kept in blocks, but no matrix of weights or of their state";
	if (!sym->block || sym->block > 1u << 12)
		return "has blocks of an impossible size";
	if (sym->table >= file->num_symbols)
		return "has no table of its blocks";
	table = &file->symbols[sym->table];
	results = sym->dims[!(sym->flags & RDU_SYM_TRANSPOSED)];
	if (table->flags != RDU_SYM_CONSTANT ||
	    (table->dtype != RDU_DT_I32 && table->dtype != RDU_DT_U16) || table->ndim != 2 ||
	    table->dims[0] != (results + sym->block - 1) / sym->block || table->dims[1] < 1 ||
	    table->dims[1] >> 31)
		return "has a table that is none of its blocks";
	b = blocks_of(file, sym);
	if (!b.table)
		return "has a table without contents";
	for (int64_t i = 0; i < b.columns * b.most; i++)
		if (entry(&b, i) < 0)
			return "has a table with a negative number";
	return NULL;
}

uint64_t lr_stored_size(const struct rdu_file *file, const struct rdu_file_symbol *sym)
{
	const __s64 *dims = file->symbols[sym->table].dims;
	uint64_t size = (uint64_t)sym->block * sym->block * rdu_dtype_size(sym->dtype);

	if (!(sym->flags & RDU_SYM_BLOCKS))
		return rdu_symbol_size(sym);
	if (__builtin_mul_overflow(size, (uint64_t)dims[0], &size) ||
	    __builtin_mul_overflow(size, (uint64_t)dims[1], &size))
		return UINT64_MAX;
	return size;
}

enum way { UNPACK, PACK, CLEAR };

/* Elements of the blocks that are there: to `whole`, from it, or made 0 there. */
static void blocks_copy(const struct rdu_file *file, const struct rdu_file_symbol *sym,
			unsigned char *stored, unsigned char *whole, enum way way)
{
	struct blocks b = blocks_of(file, sym);
	bool transposed = sym->flags & RDU_SYM_TRANSPOSED;
	int64_t n = sym->block, terms = sym->dims[transposed], results = sym->dims[!transposed];
	int64_t by_term = transposed ? 1 : results, by_result = transposed ? terms : 1;
	size_t bytes = rdu_dtype_size(sym->dtype);

	for (int64_t i = 0; i < b.columns * b.most; i++) {
		int64_t row = entry(&b, i), term = row * n, result = i / b.most * n;

		if (row >= b.rows || (i % b.most && row <= entry(&b, i - 1)))
			continue;
		for (int64_t k = 0; k < n * n; k++) {
			int64_t t = term + k / n, r = result + k % n;
			unsigned char *in = stored + (i * n * n + k) * bytes;
			unsigned char *out = whole + (t * by_term + r * by_result) * bytes;

			if (t >= terms || r >= results)
				continue;
			if (way == UNPACK)
				memcpy(out, in, bytes);
			else if (way == PACK)
				memcpy(in, out, bytes);
			else
				memset(out, 0, bytes);
		}
	}
}

void lr_blocks_unpack(const struct rdu_file *file, const struct rdu_file_symbol *sym,
		      const void *stored, void *whole)
{
	memset(whole, 0, rdu_symbol_size(sym));
	blocks_copy(file, sym, (void *)stored, whole, UNPACK);
}

void lr_blocks_pack(const struct rdu_file *file, const struct rdu_file_symbol *sym,
		    const void *whole, void *stored)
{
	memset(stored, 0, lr_stored_size(file, sym));
	blocks_copy(file, sym, stored, (void *)whole, PACK);
}

int lr_blocks_hold(const struct rdu_file *file, const struct rdu_file_symbol *sym,
		   const void *whole)
{
	size_t size = rdu_symbol_size(sym), bytes = rdu_dtype_size(sym->dtype), i = 0;
	unsigned char *rest;

	if (!(sym->flags & RDU_SYM_BLOCKS))
		return 0;
	rest = malloc(size + 1);
	if (!rest)
		return -ENOMEM;
	memcpy(rest, whole, size);
	blocks_copy(file, sym, NULL, rest, CLEAR);
	while (i < size && !(rest[i] & ~((i + 1) % bytes ? 0 : 0x80))) /* -0 is 0, too */
		i++;
	free(rest);
	return i < size ? -EDOM : 0;
}
