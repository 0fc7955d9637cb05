/* SPDX-License-Identifier: MIT */
/* What is in a program file: everything here was checked when it was read. */
#include <stdio.h>
#include <string.h>
#include "internal.h"

RDU_EXPORT const struct rdu_chip *rdu_file_chip(const struct rdu_file *file)
{
	return &file->chip;
}

RDU_EXPORT const struct rdu_prog_header *rdu_file_header(const struct rdu_file *file)
{
	return file->obj.dead ? NULL : file->header;
}

RDU_EXPORT unsigned int rdu_file_num_tiles(const struct rdu_file *file)
{
	return file->obj.dead ? 0 : file->header->num_tiles;
}

RDU_EXPORT unsigned int rdu_file_num_entries(const struct rdu_file *file)
{
	return file->obj.dead ? 0 : file->header->num_entries;
}

RDU_EXPORT const char *rdu_file_entry(const struct rdu_file *file, unsigned int entry)
{
	return entry < rdu_file_num_entries(file) ? file->entries[entry].name : NULL;
}

RDU_EXPORT unsigned int rdu_file_num_symbols(const struct rdu_file *file)
{
	return file->obj.dead ? 0 : file->num_symbols;
}

RDU_EXPORT const struct rdu_file_symbol *rdu_file_get_symbol(const struct rdu_file *file,
							     unsigned int symbol)
{
	return symbol < rdu_file_num_symbols(file) ? &file->symbols[symbol] : NULL;
}

RDU_EXPORT unsigned int rdu_file_num_regions(const struct rdu_file *file)
{
	return file->obj.dead ? 0 : file->num_regions;
}

RDU_EXPORT const struct rdu_file_region *rdu_file_get_region(const struct rdu_file *file,
							     unsigned int region)
{
	return region < rdu_file_num_regions(file) ? &file->regions[region] : NULL;
}

RDU_EXPORT unsigned int rdu_file_num_ops(const struct rdu_file *file)
{
	return file->obj.dead ? 0 : file->num_ops;
}

RDU_EXPORT const struct rdu_file_op *rdu_file_get_op(const struct rdu_file *file,
						     unsigned int op_id)
{
	return op_id < rdu_file_num_ops(file) ? &file->ops[op_id] : NULL;
}

RDU_EXPORT const void *rdu_file_image(const struct rdu_file *file, size_t *size)
{
	if (size)
		*size = file->obj.dead ? 0 : file->image_size;
	return file->obj.dead ? NULL : file->image;
}

RDU_EXPORT const void *rdu_file_region_data(const struct rdu_file *file, unsigned int region)
{
	if (region >= rdu_file_num_regions(file) || file->regions[region].data == RDU_NO_DATA)
		return NULL;
	return file->data + file->regions[region].data;
}

RDU_EXPORT int rdu_file_read_symbol(const struct rdu_file *file, unsigned int symbol, void *data,
				    size_t size)
{
	const struct rdu_file_symbol *sym = rdu_file_get_symbol(file, symbol);
	const unsigned char *from = sym ? rdu_file_region_data(file, sym->region) : NULL;

	if (!sym)
		return -ENOENT;
	if (size != rdu_symbol_size(sym))
		return -EINVAL;
	if (!from)
		memset(data, 0, size);
	else if (sym->flags & RDU_SYM_BLOCKS)
		lr_blocks_unpack(file, sym, from + sym->offset, data);
	else
		memcpy(data, from + sym->offset, size);
	return from ? 0 : -ENODATA;
}

RDU_EXPORT const char *rdu_file_meta_text(const struct rdu_file *file)
{
	return file->meta ? file->meta : "";
}

RDU_EXPORT const char *rdu_file_meta(const struct rdu_file *file, const char *key, size_t *length)
{
	const char *p = rdu_file_meta_text(file);
	size_t n = strlen(key);

	while (*p) {
		const char *end = strchrnul(p, '\n');

		if ((size_t)(end - p) > n && !strncmp(p, key, n) && p[n] == ' ') {
			if (length)
				*length = end - (p + n + 1);
			return p + n + 1;
		}
		p = *end ? end + 1 : end;
	}
	return NULL;
}

RDU_EXPORT int rdu_file_find_entry(struct rdu_file *file, const char *name)
{
	unsigned int i, n = rdu_file_num_entries(file);
	struct lr_names list = { 0 };

	if (!n)
		return -EINVAL;
	for (i = 0; i < n; i++)
		if (!strcmp(file->entries[i].name, name ? name : "forward"))
			return i;
	if (!name && n == 1)
		return 0;
	for (i = 0; i < n; i++)
		lr_names_add(&list, file->entries[i].name);
	return lr_fail(&file->obj, -ENOENT, "%s: no entry point \"%s\"; there are: %s", file->path,
		       name ? name : "forward", list.text);
}

int lr_symbol(const struct rdu_file *file, const char *name)
{
	unsigned int i, n = rdu_file_num_symbols(file);
	char cut[sizeof(file->symbols->name)];
	size_t length = strlen(name);
	const char *wanted = name;

	if (length >= sizeof(cut)) {
		snprintf(cut, sizeof(cut), RDU_LONG_NAME_FORMAT, name,
			 RDU_LONG_NAME_HASH(name, length));
		wanted = cut;
	}
	for (i = 0; i < n; i++)
		if (!strcmp(file->symbols[i].name, wanted))
			return i;
	return -1;
}

RDU_EXPORT int rdu_file_find_symbol(struct rdu_file *file, const char *name)
{
	unsigned int n = rdu_file_num_symbols(file);
	struct lr_names list = { 0 };
	int found = lr_symbol(file, name);

	if (found >= 0)
		return found;
	if (file->obj.dead)
		return -EINVAL;
	for (unsigned int i = 0; i < n; i++)
		if (file->symbols[i].flags & (RDU_SYM_INPUT | RDU_SYM_OUTPUT))
			lr_names_add(&list, file->symbols[i].name);
	return lr_fail(&file->obj, -ENOENT, "%s: no symbol \"%s\"; inputs and outputs are: %s",
		       file->path, name, list.text);
}

RDU_EXPORT size_t rdu_dtype_size(uint32_t dtype)
{
	switch (dtype) {
	case RDU_DT_U8:
	case RDU_DT_I8:
	case RDU_DT_BOOL:
	case RDU_DT_F8E4M3FN:
	case RDU_DT_F8E4M3FNUZ:
	case RDU_DT_F8E5M2:
	case RDU_DT_F8E5M2FNUZ:
	case RDU_DT_U4:
	case RDU_DT_I4:
	case RDU_DT_F4E2M1:
	case RDU_DT_F8E8M0:
	case RDU_DT_U2:
	case RDU_DT_I2:
		return 1;
	case RDU_DT_BF16:
	case RDU_DT_F16:
	case RDU_DT_I16:
	case RDU_DT_U16:
		return 2;
	case RDU_DT_F32:
	case RDU_DT_I32:
	case RDU_DT_U32:
		return 4;
	case RDU_DT_I64:
	case RDU_DT_U64:
	case RDU_DT_F64:
		return 8;
	}
	return 0;
}

RDU_EXPORT const char *rdu_dtype_name(uint32_t dtype)
{
	switch (dtype) {
	case RDU_DT_F32:
		return "float32";
	case RDU_DT_U8:
		return "uint8";
	case RDU_DT_I8:
		return "int8";
	case RDU_DT_U16:
		return "uint16";
	case RDU_DT_I16:
		return "int16";
	case RDU_DT_I32:
		return "int32";
	case RDU_DT_I64:
		return "int64";
	case RDU_DT_BOOL:
		return "bool";
	case RDU_DT_BF16:
		return "bfloat16";
	case RDU_DT_F16:
		return "float16";
	case RDU_DT_F64:
		return "float64";
	case RDU_DT_U32:
		return "uint32";
	case RDU_DT_U64:
		return "uint64";
	case RDU_DT_F8E4M3FN:
		return "float8e4m3fn";
	case RDU_DT_F8E4M3FNUZ:
		return "float8e4m3fnuz";
	case RDU_DT_F8E5M2:
		return "float8e5m2";
	case RDU_DT_F8E5M2FNUZ:
		return "float8e5m2fnuz";
	case RDU_DT_U4:
		return "uint4";
	case RDU_DT_I4:
		return "int4";
	case RDU_DT_F4E2M1:
		return "float4e2m1";
	case RDU_DT_F8E8M0:
		return "float8e8m0";
	case RDU_DT_U2:
		return "uint2";
	case RDU_DT_I2:
		return "int2";
	}
	return "unknown";
}

RDU_EXPORT size_t rdu_symbol_size(const struct rdu_file_symbol *symbol)
{
	size_t size = rdu_dtype_size(symbol->dtype);
	unsigned int d;

	for (d = 0; d < symbol->ndim; d++)
		size *= symbol->dims[d];
	return size;
}
