// SPDX-License-Identifier: MIT
/*
 * Weights of a (trained) program file back into the ONNX model they came from:
 * initializers are found by their names.
 */
#include <fcntl.h>
#include <gelf.h>
#include <inttypes.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "graph.h"
#include "onnx.pb-c.h"

struct program_file {
	Elf *elf;
	int fd;
	size_t num_regions, num_symbols, data_size;
	const struct rdu_file_region *regions;
	const struct rdu_file_symbol *symbols;
	const uint8_t *data;
};

static int section(struct program_file *p, const char *name, const void **data, size_t *size)
{
	Elf_Scn *s = NULL;
	size_t names;

	*size = 0;
	*data = NULL;
	if (elf_getshdrstrndx(p->elf, &names))
		return -1;
	while ((s = elf_nextscn(p->elf, s))) {
		GElf_Shdr h;
		const char *n;
		Elf_Data *d;

		if (!gelf_getshdr(s, &h))
			return -1;
		n = elf_strptr(p->elf, names, h.sh_name);
		if (!n || strcmp(n, name))
			continue;
		d = elf_rawdata(s, NULL);
		if (!d)
			return -1;
		*data = d->d_buf;
		*size = d->d_buf ? d->d_size : 0;
		return 0;
	}
	return -1;
}

static int program_open(struct program_file *p, const char *path, char *error, int size)
{
	size_t regions, symbols;
	GElf_Ehdr h;

	memset(p, 0, sizeof(*p));
	p->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (p->fd < 0) {
		snprintf(error, size, "%s: %m", path);
		return -1;
	}
	elf_version(EV_CURRENT);
	p->elf = elf_begin(p->fd, ELF_C_READ, NULL);
	if (!p->elf || elf_kind(p->elf) != ELF_K_ELF || !gelf_getehdr(p->elf, &h) ||
	    h.e_machine != RDU_ELF_MACHINE || h.e_ident[EI_CLASS] != ELFCLASS64 ||
	    section(p, ".rdu.regions", (const void **)&p->regions, &regions) ||
	    section(p, ".rdu.symbols", (const void **)&p->symbols, &symbols) ||
	    section(p, ".rdu.data", (const void **)&p->data, &p->data_size)) {
		snprintf(error, size, "%s: not a program file", path);
		return -1;
	}
	p->num_regions = regions / sizeof(*p->regions);
	p->num_symbols = symbols / sizeof(*p->symbols);
	return 0;
}

static void program_close(struct program_file *p)
{
	if (p->elf)
		elf_end(p->elf);
	if (p->fd >= 0)
		close(p->fd);
}

static const struct rdu_file_symbol *symbol_find(const struct program_file *p, const char *name)
{
	for (size_t i = 0; i < p->num_symbols; i++)
		if ((p->symbols[i].flags & RDU_SYM_WEIGHT) &&
		    !strncmp(p->symbols[i].name, name, 64))
			return &p->symbols[i];
	return NULL;
}

/* Contents of a weight, or NULL: none in the file, or not as large as expected. */
static const uint8_t *symbol_data(const struct program_file *p, const struct rdu_file_symbol *s,
				  uint64_t bytes)
{
	const struct rdu_file_region *r;
	uint64_t at;

	if (s->region >= p->num_regions)
		return NULL;
	r = &p->regions[s->region];
	if (r->data == RDU_NO_DATA || s->offset > r->size || bytes > r->size - s->offset ||
	    __builtin_add_overflow(r->data, s->offset, &at) || at > p->data_size ||
	    bytes > p->data_size - at)
		return NULL;
	return p->data + at;
}

static int replace(const struct program_file *p, Onnx__TensorProto *t, int *num, char *error,
		   int size)
{
	const struct rdu_file_symbol *s;
	const uint8_t *data;
	char name[64];
	uint64_t bytes;
	int64_t count;
	bool same;

	rduc_symbol_name(name, t->name ? t->name : "");
	s = symbol_find(p, name);
	if (!s || !t->has_data_type || t->n_external_data)
		return 0;
	same = s->dtype == (uint32_t)t->data_type && s->ndim == t->n_dims &&
	       s->ndim <= RDU_MAX_DIMS;
	for (size_t i = 0; same && i < t->n_dims; i++)
		same = s->dims[i] == t->dims[i];
	count = same ? dims_count((int)t->n_dims, t->dims) : -1;
	if (count < 0) {
		snprintf(error, size, "weight '%s' has another shape or type in the program file",
			 t->name);
		return -1;
	}
	bytes = (uint64_t)count * dtype_bytes((enum rdu_dtype)s->dtype);
	data = symbol_data(p, s, bytes);
	if (!data) {
		snprintf(error, size, "the program file has no contents for weight '%s'", t->name);
		return -1;
	}
	free(t->float_data);
	free(t->int32_data);
	free(t->int64_data);
	t->float_data = NULL;
	t->int32_data = NULL;
	t->int64_data = NULL;
	t->n_float_data = t->n_int32_data = t->n_int64_data = 0;
	if (t->has_raw_data)
		free(t->raw_data.data);
	t->has_raw_data = true;
	t->raw_data.len = bytes;
	t->raw_data.data = malloc(bytes ? bytes : 1);
	if (!t->raw_data.data)
		abort();
	memcpy(t->raw_data.data, data, bytes);
	++*num;
	return 0;
}

int onnx_write_weights(const char *rdu_path, const char *onnx_path, const char *out_path,
		       char *error, int error_size)
{
	Onnx__ModelProto *m = NULL;
	struct program_file p;
	int ret = -1, num = 0;
	char why[512] = "";
	size_t size = 0;
	void *file, *packed;

	if (program_open(&p, rdu_path, error, error_size)) {
		program_close(&p);
		return -1;
	}
	file = read_whole_file(onnx_path, &size, why, sizeof(why));
	if (file)
		m = onnx_parse(file, size, why, sizeof(why));
	free(file);
	if (!m) {
		snprintf(error, error_size, "%s: %s", onnx_path, why);
		goto out;
	}
	for (size_t i = 0; i < m->graph->n_initializer; i++)
		if (replace(&p, m->graph->initializer[i], &num, why, sizeof(why))) {
			snprintf(error, error_size, "%s: %s", rdu_path, why);
			goto out;
		}
	if (!num) {
		snprintf(error, error_size, "%s: it has none of the weights of %s", rdu_path,
			 onnx_path);
		goto out;
	}
	size = onnx__model_proto__get_packed_size(m);
	packed = malloc(size ? size : 1);
	if (!packed)
		abort();
	onnx__model_proto__pack(m, packed);
	ret = write_whole_file(out_path, packed, size, error, error_size);
	free(packed);
out:
	if (m)
		onnx__model_proto__free_unpacked(m, NULL);
	program_close(&p);
	return ret;
}
