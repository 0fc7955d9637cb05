/* SPDX-License-Identifier: MIT */
/* Programs: a file's regions in memory, its configuration on the card. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backend.h"

#define PAGE 4096ull
#define LARGE (2ull << 20)
#define STAGING (1ull << 20)

static const struct rdu_file_symbol *symbol_of(struct rdu_program *prog, const char *name)
{
	int i = rdu_file_find_symbol(prog->file, name);

	if (i >= 0)
		return &prog->file->symbols[i];
	lr_fail_as(&prog->obj, &prog->file->obj);
	return NULL;
}

/* ---- memory of regions ------------------------------------------------------------ */

/* For card memory the process can't map: through host memory, by copy commands. */
static int copy_through(struct rdu_program *prog, uint64_t address, char *data, uint64_t size,
			bool write)
{
	struct rdu_context *ctx = prog->ctx;
	struct rdu_buffer *buf;
	char *map = NULL;
	int ret = rdu_buffer_new(ctx, size < STAGING ? size : STAGING, RDU_BUFFER_HOST, &buf);

	if (!ret && !(map = rdu_buffer_map(buf)))
		ret = buf->obj.code;
	if (ret) {
		if (buf)
			lr_fail_as(&prog->obj, &buf->obj);
		rdu_buffer_free(buf);
		return ret;
	}
	while (!ret && size) {
		uint64_t n = size < STAGING ? size : STAGING, token;
		struct rdu_cmd cmd = { .op = RDU_OP_COPY };

		cmd.copy.src = write ? buf->address : address;
		cmd.copy.dst = write ? address : buf->address;
		cmd.copy.len = n;
		if (write)
			memcpy(map, data, n);
		pthread_mutex_lock(&ctx->lock);
		ret = ctx->dev->backend->submit(ctx, prog, &cmd, 1, &token);
		if (!ret)
			ctx->last_token = token;
		pthread_mutex_unlock(&ctx->lock);
		if (!ret)
			ret = ctx->dev->backend->wait(ctx, token, -1);
		if (ret) {
			lr_fail_fault(&prog->obj, ctx, NULL, NULL, ret);
			break;
		}
		if (!write)
			memcpy(data, map, n);
		address += n;
		data += n;
		size -= n;
	}
	rdu_buffer_free(buf);
	return ret;
}

/* ---- what may stay on the tiles from run to run --------------------------------------- */

/* Which regions KEEP steps read. */
static void find_kept(struct rdu_program *prog)
{
	const struct rdu_file *file = prog->file;
	const struct rdu_prog_header *h = file->header;
	const struct rdu_prog_step *step = (const void *)(file->image + h->steps_off);
	const struct rdu_prog_section *section = (const void *)(file->image + h->sections_off);
	const struct rdu_prog_segment *segment = (const void *)(file->image + h->segments_off);

	for (unsigned int e = 0; e < h->num_entries; e++)
		for (unsigned int i = 0; i < file->entries[e].num_steps; i++) {
			const struct rdu_prog_step *st = &step[file->entries[e].first_step + i];
			const struct rdu_prog_section *s;

			if (st->kind != RDU_STEP_KEEP)
				continue;
			s = &section[st->arg];
			for (unsigned int k = 0; k < s->num_segments; k++)
				prog->regions[segment[s->first_segment + k].region].kept = true;
		}
}

/* What lies in the program's own memory nobody else can write to; a buffer that was given, its
 * owner can, at any time. */
uint32_t lr_program_epoch(struct rdu_program *prog)
{
	if (prog->written && !++prog->epoch)
		prog->epoch = 1;
	prog->written = false;
	for (unsigned int i = 0; i < prog->file->num_regions; i++)
		if (prog->regions[i].kept && prog->regions[i].buf != prog->memory)
			return 0;
	return prog->epoch;
}

/* Nothing that uses the region is in flight. */
static int access_region(struct rdu_program *prog, unsigned int region, uint64_t offset, void *data,
			 uint64_t size, bool write)
{
	const struct rdu_region_place *place = &prog->regions[region];
	char *map = rdu_buffer_map(place->buf);

	if (write && place->kept) {
		pthread_mutex_lock(&prog->ctx->lock);
		prog->written = true;
		pthread_mutex_unlock(&prog->ctx->lock);
	}
	if (!map)
		return copy_through(prog, place->buf->address + place->offset + offset, data, size,
				    write);
	map += place->offset + offset;
	if (write)
		memcpy(map, data, size);
	else
		memcpy(data, map, size);
	return 0;
}

static int idle(struct rdu_program *prog)
{
	struct rdu_context *ctx = prog->ctx;
	uint64_t token;
	int ret;

	pthread_mutex_lock(&ctx->lock);
	token = ctx->last_token;
	pthread_mutex_unlock(&ctx->lock);
	ret = ctx->dev->backend->wait(ctx, token, -1);
	return ret ? lr_fail_fault(&prog->obj, ctx, prog, NULL, ret) : 0;
}

/* ---- loading ------------------------------------------------------------------------ */

static int place_regions(struct rdu_program *prog)
{
	const struct rdu_file *file = prog->file;
	uint64_t at = 0, most = 64;
	unsigned int i;
	int ret;

	for (i = 0; i < file->num_regions; i++) {
		uint64_t align = file->regions[i].align < 64 ? 64 : file->regions[i].align;

		if (align > most)
			most = align;
		at = (at + align - 1) & ~(align - 1);
		prog->regions[i].own_offset = prog->regions[i].offset = at;
		at += file->regions[i].size;
	}
	/* Buffers of 2 MiB and more start at a multiple of 2 MiB. */
	if (most > PAGE && at < LARGE)
		at = LARGE;
	ret = rdu_buffer_new(prog->ctx, at ? at : 1, RDU_BUFFER_CARD, &prog->memory);
	if (ret)
		return prog->memory ? lr_fail_as(&prog->obj, &prog->memory->obj) : ret;
	for (i = 0; i < file->num_regions; i++)
		prog->regions[i].buf = prog->memory;
	for (i = 0; i < file->num_regions && !ret; i++)
		if (file->regions[i].data != RDU_NO_DATA)
			ret = access_region(prog, i, 0,
					    (void *)(file->data + file->regions[i].data),
					    file->regions[i].size, true);
	return ret;
}

RDU_EXPORT int rdu_program_load(struct rdu_context *ctx, struct rdu_file *file,
				struct rdu_program **out)
{
	struct rdu_program *prog = *out = lr_new(sizeof(*prog));
	int ret;

	if (!prog)
		return -ENOMEM;
	prog->ctx = ctx;
	prog->file = file;
	prog->epoch = 1;
	prog->obj.dead = true;
	ret = lr_check_base(&prog->obj, &ctx->obj, "context");
	if (!ret)
		ret = lr_check_base(&prog->obj, &file->obj, "file");
	if (ret)
		return ret;
	if (file->chip_hash != ctx->dev->chip_hash)
		return lr_fail(&prog->obj, -EXDEV,
			       "%s: compiled for chip %s (%016llx), but %s is "
			       "%s (%016llx); compile it for that one (rduc --chip)",
			       file->path, file->chip.name, (unsigned long long)file->chip_hash,
			       ctx->dev->name, ctx->dev->chip.name,
			       (unsigned long long)ctx->dev->chip_hash);
	if (file->header->num_tiles > ctx->tiles)
		return lr_fail(&prog->obj, -EBUSY, "%s: needs %u tiles, the context has %u",
			       file->path, file->header->num_tiles, ctx->tiles);
	prog->regions = calloc(file->num_regions + 1, sizeof(*prog->regions));
	prog->bindings = calloc(file->num_symbols + 1, sizeof(*prog->bindings));
	prog->scalars = calloc(file->header->num_scalars + 1, sizeof(*prog->scalars));
	if (!prog->regions || !prog->bindings || !prog->scalars)
		return lr_fail(&prog->obj, -ENOMEM, "%s: out of memory", file->path);
	find_kept(prog);
	ret = ctx->dev->backend->program_load(prog);
	if (ret)
		return ret;
	prog->loaded = true;
	ret = place_regions(prog);
	prog->obj.dead = ret < 0;
	return ret;
}

RDU_EXPORT void rdu_program_free(struct rdu_program *prog)
{
	bool ours;

	if (!prog)
		return;
	ours = !lr_foreign(&prog->obj);
	if (prog->last_token && ours)
		prog->ctx->dev->backend->wait(prog->ctx, prog->last_token, -1);
	lr_free_slots(prog->slots);
	if (prog->loaded && ours)
		prog->ctx->dev->backend->program_unload(prog);
	rdu_buffer_free(prog->memory);
	free(prog->regions);
	free(prog->bindings);
	free(prog->scalars);
	free(prog);
}

RDU_EXPORT struct rdu_file *rdu_program_file(struct rdu_program *prog)
{
	return prog->file;
}

/* ---- binding ------------------------------------------------------------------------- */

RDU_EXPORT int rdu_program_bind(struct rdu_program *prog, const char *symbol, void *data,
				size_t size)
{
	const struct rdu_file_symbol *sym;
	int ret;

	ret = lr_check(&prog->obj);
	if (ret)
		return ret;
	sym = symbol_of(prog, symbol);
	if (!sym)
		return -ENOENT;
	if (!(sym->flags & (RDU_SYM_INPUT | RDU_SYM_OUTPUT)))
		return lr_fail(&prog->obj, -EINVAL,
			       "%s: \"%s\" is neither an input nor an output: "
			       "read and write it",
			       prog->file->path, symbol);
	if (data && size < rdu_symbol_size(sym))
		return lr_fail(&prog->obj, -EINVAL, "%s: \"%s\" has %zu bytes, %zu were bound",
			       prog->file->path, symbol, rdu_symbol_size(sym), size);
	pthread_mutex_lock(&prog->ctx->lock);
	prog->bindings[sym - prog->file->symbols] = (struct rdu_binding){ data, size };
	pthread_mutex_unlock(&prog->ctx->lock);
	return 0;
}

RDU_EXPORT int rdu_program_bind_buffer(struct rdu_program *prog, const char *symbol,
				       struct rdu_buffer *buf, uint64_t offset)
{
	const struct rdu_file_symbol *sym;
	struct rdu_region_place *place;
	uint64_t size;
	int ret;

	ret = lr_check(&prog->obj);
	if (ret)
		return ret;
	sym = symbol_of(prog, symbol);
	if (!sym)
		return -ENOENT;
	place = &prog->regions[sym->region];
	size = prog->file->regions[sym->region].size;
	if (buf && (lr_check(&buf->obj) || buf->ctx != prog->ctx))
		return lr_fail(&prog->obj, -EINVAL,
			       "%s: the buffer for \"%s\" is of another "
			       "context",
			       prog->file->path, symbol);
	if (buf && (offset % 64 || offset > buf->size || buf->size - offset < size))
		return lr_fail(&prog->obj, -EINVAL,
			       "%s: the region of \"%s\" has %llu bytes: it "
			       "does not fit at byte %llu of a buffer of %llu, or that is no "
			       "multiple of 64",
			       prog->file->path, symbol, (unsigned long long)size,
			       (unsigned long long)offset, (unsigned long long)buf->size);
	pthread_mutex_lock(&prog->ctx->lock);
	place->buf = buf ? buf : prog->memory;
	place->offset = buf ? offset : place->own_offset;
	pthread_mutex_unlock(&prog->ctx->lock);
	return 0;
}

RDU_EXPORT int rdu_program_set_scalars(struct rdu_program *prog, const uint32_t *values,
				       unsigned int count)
{
	int ret = lr_check(&prog->obj);

	if (ret)
		return ret;
	if (count != prog->file->header->num_scalars)
		return lr_fail(&prog->obj, -EINVAL, "%s: has %u argument registers, %u were given",
			       prog->file->path, prog->file->header->num_scalars, count);
	pthread_mutex_lock(&prog->ctx->lock);
	memcpy(prog->scalars, values, count * sizeof(*values));
	pthread_mutex_unlock(&prog->ctx->lock);
	return 0;
}

RDU_EXPORT int rdu_program_set_trace(struct rdu_program *prog, uint32_t max_events)
{
	int ret = lr_check(&prog->obj);

	if (ret)
		return ret;
	if (max_events > 1u << 24)
		return lr_fail(&prog->obj, -EINVAL, "a trace of %u events", max_events);
	pthread_mutex_lock(&prog->ctx->lock);
	prog->trace_events = max_events;
	pthread_mutex_unlock(&prog->ctx->lock);
	return 0;
}

/* ---- contents ------------------------------------------------------------------------- */

/* All of a tensor, rdu_symbol_size() bytes. Nothing that uses it is in flight. */
static int access_tensor(struct rdu_program *prog, const struct rdu_file_symbol *sym, void *data,
			 bool write)
{
	uint64_t size = lr_stored_size(prog->file, sym);
	void *stored;
	int ret;

	if (!(sym->flags & RDU_SYM_BLOCKS))
		return access_region(prog, sym->region, sym->offset, data, size, write);
	stored = malloc(size + 1);
	ret = !stored ? -ENOMEM : write ? lr_blocks_hold(prog->file, sym, data) : 0;
	if (!ret && write)
		lr_blocks_pack(prog->file, sym, data, stored);
	if (!ret)
		ret = access_region(prog, sym->region, sym->offset, stored, size, write);
	else if (ret == -EDOM)
		ret = lr_fail(&prog->obj, -EINVAL,
			      "%s: \"%s\" has numbers where the program keeps no blocks",
			      prog->file->path, sym->name);
	else
		lr_fail(&prog->obj, ret, "%s: out of memory", prog->file->path);
	if (!ret && !write)
		lr_blocks_unpack(prog->file, sym, stored, data);
	free(stored);
	return ret;
}

static int access_symbol(struct rdu_program *prog, const char *name, void *data, size_t size,
			 bool write)
{
	const struct rdu_file_symbol *sym;
	int ret;

	ret = lr_check(&prog->obj);
	if (ret)
		return ret;
	sym = symbol_of(prog, name);
	if (!sym)
		return -ENOENT;
	if (size != rdu_symbol_size(sym))
		return lr_fail(&prog->obj, -EINVAL, "%s: \"%s\" has %zu bytes, not %zu",
			       prog->file->path, name, rdu_symbol_size(sym), size);
	ret = idle(prog);
	return ret ? ret : access_tensor(prog, sym, data, write);
}

RDU_EXPORT int rdu_program_read(struct rdu_program *prog, const char *symbol, void *data,
				size_t size)
{
	return access_symbol(prog, symbol, data, size, false);
}

RDU_EXPORT int rdu_program_write(struct rdu_program *prog, const char *symbol, const void *data,
				 size_t size)
{
	return access_symbol(prog, symbol, (void *)data, size, true);
}

/* Lines of `old` whose key is not in `more`, then `more`. malloc; NULL: out of memory. */
static char *merge_meta(const char *old, const char *more)
{
	char *text = malloc(strlen(old) + strlen(more) + 2), *to = text;

	if (!text)
		return NULL;
	while (*old) {
		const char *end = strchrnul(old, '\n'), *p;
		size_t key = strcspn(old, " \n") + 1;

		end += *end == '\n';
		for (p = more; *p && strncmp(p, old, key); p += *p == '\n')
			p = strchrnul(p, '\n');
		if (!*p)
			to = mempcpy(to, old, end - old);
		old = end;
	}
	if (to > text && to[-1] != '\n')
		*to++ = '\n';
	strcpy(to, more);
	return text;
}

RDU_EXPORT int rdu_program_save(struct rdu_program *prog, const char *path)
{
	return rdu_program_save_as(prog, path, NULL);
}

RDU_EXPORT int rdu_program_save_as(struct rdu_program *prog, const char *path, const char *meta)
{
	const struct rdu_file *file = prog->file;
	struct rdu_file_region *regions;
	struct rdu_file_parts parts;
	unsigned char *data = NULL;
	uint64_t at = 0;
	unsigned int i;
	char text[512] = "out of memory", *lines;
	int ret = lr_check(&prog->obj);

	if (!ret)
		ret = idle(prog);
	if (ret)
		return ret;
	regions = malloc((file->num_regions + 1) * sizeof(*regions));
	if (!regions)
		return lr_fail(&prog->obj, -ENOMEM, "%s: out of memory", path);
	for (i = 0; i < file->num_regions; i++) {
		struct rdu_file_region *r = &regions[i];
		uint64_t align;

		*r = file->regions[i];
		if (r->kind != RDU_REGION_WEIGHT && r->kind != RDU_REGION_STATE &&
		    r->data == RDU_NO_DATA)
			continue;
		align = r->align < 64 ? 64 : r->align;
		r->data = at = (at + align - 1) & ~(align - 1);
		at += r->size;
	}
	lines = merge_meta(file->meta, meta ? meta : "");
	data = calloc(1, at + 1);
	for (i = 0; data && i < file->num_regions && !ret; i++) {
		if (file->regions[i].kind == RDU_REGION_WEIGHT ||
		    file->regions[i].kind == RDU_REGION_STATE)
			ret = access_region(prog, i, 0, data + regions[i].data, regions[i].size,
					    false);
		else if (regions[i].data != RDU_NO_DATA)
			memcpy(data + regions[i].data, file->data + file->regions[i].data,
			       regions[i].size);
	}
	if (!ret) {
		parts = (struct rdu_file_parts){
			.chip = &file->chip,
			.image = file->image,
			.image_size = file->image_size,
			.regions = regions,
			.num_regions = file->num_regions,
			.symbols = file->symbols,
			.num_symbols = file->num_symbols,
			.ops = file->ops,
			.num_ops = file->num_ops,
			.data = data,
			.data_size = at,
			.meta = lines,
		};
		ret = data && lines ? rdu_file_write(path, &parts, text, sizeof(text)) : -ENOMEM;
		if (ret)
			lr_fail(&prog->obj, ret, "%s", text);
	}
	free(lines);
	free(data);
	free(regions);
	return ret;
}

/* What doesn't fit, in words: as many names as there is room for, and how many more. */
struct misfits {
	unsigned int num, said;
	size_t at;
	char text[600];
};

__attribute__((format(printf, 2, 3))) static void misfit(struct misfits *m, const char *format, ...)
{
	size_t room = sizeof(m->text) - m->at;
	va_list args;
	int n;

	m->num++;
	va_start(args, format);
	n = vsnprintf(m->text + m->at, room, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= room || m->said + 1 < m->num) {
		m->text[m->at] = 0;
		return;
	}
	m->at += n;
	m->said++;
}

/* The same symbol in a file; NULL: it has none of this kind. */
static const struct rdu_file_symbol *same_symbol(const struct rdu_file *file,
						 const struct rdu_file_symbol *sym)
{
	int i = rdu_file_find_symbol((struct rdu_file *)file, sym->name);
	uint32_t kind = sym->flags & (RDU_SYM_WEIGHT | RDU_SYM_STATE);

	return i >= 0 && (file->symbols[i].flags & kind) == kind ? &file->symbols[i] : NULL;
}

/* Is a symbol a weight or (of kinds STATE) of the optimizer's state? The model's own state is of a
 * sequence, not of its training: each program has its own. */
static bool restores(const struct rdu_file_symbol *sym, uint32_t kinds)
{
	return sym->flags & kinds && !(sym->flags & RDU_SYM_MODEL_STATE);
}

static unsigned int count_symbols(const struct rdu_file *file, uint32_t kind)
{
	unsigned int num = 0;

	for (unsigned int i = 0; i < file->num_symbols; i++)
		num += restores(&file->symbols[i], kind);
	return num;
}

/* A symbol's initial contents as `dtype`, to be freed; NULL: no memory, or (exact) not so. */
static void *contents_as(const struct rdu_file *file, const struct rdu_file_symbol *sym,
			 uint32_t dtype, bool *exact)
{
	size_t size = rdu_symbol_size(sym), n = size / rdu_dtype_size(sym->dtype);
	unsigned char *data = malloc(size + 1), *out;

	*exact = true;
	if (!data)
		return NULL;
	rdu_file_read_symbol(file, sym - file->symbols, data, size);
	if (dtype == sym->dtype)
		return data;
	out = calloc(n + 1, rdu_dtype_size(dtype));
	for (size_t i = 0; out && i < n; i++) { /* a bfloat16 is the upper half of an fp32 */
		if (dtype == RDU_DT_F32) {
			memcpy(out + 4 * i + 2, data + 2 * i, 2);
			continue;
		}
		*exact &= !data[4 * i] && !data[4 * i + 1];
		memcpy(out + 2 * i, data + 4 * i + 2, 2);
	}
	free(data);
	if (!*exact) {
		free(out);
		return NULL;
	}
	return out;
}

static bool converts(uint32_t from, uint32_t to)
{
	return from == to || (from == RDU_DT_BF16 && to == RDU_DT_F32) ||
	       (from == RDU_DT_F32 && to == RDU_DT_BF16);
}

/* Reads all of the program's symbols of these kinds into contents[symbol number]. */
static int restore_read(struct rdu_program *prog, const struct rdu_file *file, uint32_t kinds,
			void **contents, struct misfits *m)
{
	const struct rdu_file *mine = prog->file;
	bool exact;

	for (unsigned int i = 0; i < mine->num_symbols; i++) {
		const struct rdu_file_symbol *to = &mine->symbols[i], *from;

		if (!restores(to, kinds))
			continue;
		from = same_symbol(file, to);
		if (!from) {
			misfit(m, "; the file has no \"%s\"", to->name);
			continue;
		}
		if (to->ndim != from->ndim || memcmp(to->dims, from->dims, sizeof(to->dims)) ||
		    !converts(from->dtype, to->dtype)) {
			misfit(m, "; \"%s\" has another type or shape in the file", to->name);
			continue;
		}
		contents[i] = contents_as(file, from, to->dtype, &exact);
		if (!contents[i] && exact)
			return lr_fail(&prog->obj, -ENOMEM, "%s: out of memory", file->path);
		if (!exact)
			misfit(m, "; \"%s\" of the file is not exact in bfloat16", to->name);
		else if (lr_blocks_hold(mine, to, contents[i]))
			misfit(m,
			       "; \"%s\" of the file has numbers where the program keeps no blocks",
			       to->name);
	}
	for (unsigned int i = 0; i < file->num_symbols; i++)
		if (restores(&file->symbols[i], kinds) && !same_symbol(mine, &file->symbols[i]))
			misfit(m, "; the program has no \"%s\"", file->symbols[i].name);
	return 0;
}

RDU_EXPORT int rdu_program_restore(struct rdu_program *prog, struct rdu_file *file)
{
	struct misfits misfits = { 0 };
	uint32_t kinds = RDU_SYM_WEIGHT;
	void **contents;
	bool fresh;
	char more[32] = "";
	int ret, n = 0;

	ret = lr_check(&prog->obj);
	if (!ret)
		ret = lr_check(&file->obj);
	if (ret)
		return ret;
	if (count_symbols(prog->file, RDU_SYM_STATE) && count_symbols(file, RDU_SYM_STATE))
		kinds |= RDU_SYM_STATE;
	fresh = !(kinds & RDU_SYM_STATE);
	contents = calloc(prog->file->num_symbols + 1, sizeof(*contents));
	if (!contents)
		return lr_fail(&prog->obj, -ENOMEM, "%s: out of memory", file->path);
	ret = restore_read(prog, file, kinds, contents, &misfits);
	if (misfits.said < misfits.num)
		snprintf(more, sizeof(more), "; and %u more", misfits.num - misfits.said);
	if (!ret && misfits.num)
		ret = lr_fail(&prog->obj, -EINVAL,
			      "%s: these are not the weights of %s (nothing was changed): %s%s",
			      file->path, prog->file->path, misfits.text + 2, more);
	if (!ret)
		ret = idle(prog);
	for (unsigned int i = 0; i < prog->file->num_symbols && !ret; i++) {
		const struct rdu_file_symbol *to = &prog->file->symbols[i];

		if (fresh && restores(to, RDU_SYM_STATE)) {
			contents[i] = calloc(1, rdu_symbol_size(to) + 1);
			if (!contents[i])
				ret = lr_fail(&prog->obj, -ENOMEM, "%s: out of memory", file->path);
			n--; /* not taken from the file */
		}
		if (!contents[i])
			continue;
		ret = access_tensor(prog, to, contents[i], true);
		n++;
	}
	for (unsigned int i = 0; i < prog->file->num_symbols; i++)
		free(contents[i]);
	free(contents);
	return ret ? ret : n;
}

RDU_EXPORT int rdu_program_weights_hash(struct rdu_program *prog, uint64_t *hash)
{
	const struct rdu_file *file = prog->file;
	unsigned int i;
	int ret = lr_check(&prog->obj);

	if (!ret)
		ret = idle(prog);
	*hash = RDU_FNV1A_INIT;
	for (i = 0; i < file->num_symbols && !ret; i++) {
		const struct rdu_file_symbol *sym = &file->symbols[i];
		size_t size = rdu_symbol_size(sym);
		void *data;

		if (!(sym->flags & RDU_SYM_WEIGHT))
			continue;
		data = malloc(size + 1);
		if (!data)
			return lr_fail(&prog->obj, -ENOMEM, "%s: out of memory", file->path);
		ret = access_tensor(prog, sym, data, false);
		*hash = rdu_fnv1a(*hash, data, size);
		free(data);
	}
	return ret;
}
