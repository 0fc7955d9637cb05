// SPDX-License-Identifier: MIT
/* Outputs of which data say how large they are: what says that, and the shape that they have. */
#include <string.h>
#include "internal.h"

int lr_sizes_of(const struct rdu_file_symbol *sym)
{
	return sym->flags & RDU_SYM_BLOCKS || !sym->block ? -1 : (int)sym->table;
}

const char *lr_sizes_check(const struct rdu_file *file, const struct rdu_file_symbol *sym)
{
	const struct rdu_file_symbol *sizes;

	if (sym->flags & RDU_SYM_BLOCKS)
		return NULL;
	if (!sym->block)
		return sym->table ? "names sizes of no dimension" : NULL;
	if (sym->block >> sym->ndim)
		return "has sizes of dimensions that are not there";
	if (sym->table >= file->num_symbols)
		return "has sizes that are nowhere";
	sizes = &file->symbols[sym->table];
	if (!(sizes->flags & RDU_SYM_OUTPUT) || sizes->flags & RDU_SYM_BLOCKS || sizes->block ||
	    sizes->dtype != RDU_DT_I64 || sizes->ndim != 1 ||
	    sizes->dims[0] != __builtin_popcount(sym->block))
		return "has sizes that are none of its dimensions";
	if (sym->entries & ~sizes->entries)
		return "has sizes of other entry points";
	return NULL;
}

RDU_EXPORT int rdu_file_symbol_sizes(const struct rdu_file *file, unsigned int symbol)
{
	int k = symbol < file->num_symbols ? lr_sizes_of(&file->symbols[symbol]) : -1;

	return k < 0 ? -ENOENT : k;
}

RDU_EXPORT bool rdu_file_symbol_is_sizes(const struct rdu_file *file, unsigned int symbol)
{
	for (unsigned int i = 0; i < file->num_symbols; i++)
		if (lr_sizes_of(&file->symbols[i]) == (int)symbol)
			return true;
	return false;
}

RDU_EXPORT int rdu_symbol_set_sizes(const struct rdu_file_symbol *symbol, const int64_t *sizes,
				    struct rdu_shape *shape)
{
	unsigned int at = 0;

	if (shape->ndim != symbol->ndim)
		return -EINVAL;
	for (unsigned int d = 0; lr_sizes_of(symbol) >= 0 && d < symbol->ndim; d++) {
		if (!(symbol->block >> d & 1))
			continue;
		if (sizes[at] < 0 || sizes[at] > symbol->dims[d])
			return -EINVAL;
		shape->dims[d] = sizes[at++];
	}
	return 0;
}

RDU_EXPORT int rdu_program_output_shape(struct rdu_program *prog, const char *symbol,
					struct rdu_shape *shape)
{
	int64_t sizes[RDU_MAX_DIMS];
	const struct rdu_file_symbol *sym;
	int ret = lr_check(&prog->obj), i, k;

	if (ret)
		return ret;
	i = rdu_file_find_symbol(prog->file, symbol);
	if (i < 0)
		return lr_fail_as(&prog->obj, &prog->file->obj);
	sym = &prog->file->symbols[i];
	k = lr_sizes_of(sym);
	if (k >= 0)
		ret = rdu_program_read(prog, prog->file->symbols[k].name, sizes,
				       rdu_symbol_size(&prog->file->symbols[k]));
	if (ret)
		return ret;
	*shape = (struct rdu_shape){ .name = symbol, .ndim = sym->ndim };
	memcpy(shape->dims, sym->dims, sym->ndim * sizeof(*shape->dims));
	if (rdu_symbol_set_sizes(sym, sizes, shape))
		return lr_fail(&prog->obj, -EINVAL, "%s: no run has said how large \"%s\" is",
			       prog->file->path, symbol);
	return 0;
}
