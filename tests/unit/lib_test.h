/* SPDX-License-Identifier: MIT */
/* Small programs and program files for the tests of librdu. */
#ifndef LIB_TEST_H
#define LIB_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cfgbuild.h"
#include "rdu.h"
#include "tap.h"

/* The call gives `code`, and then the object a text that holds `words`. */
#define refused(call, code, object, words, what)                                                   \
	do {                                                                                       \
		int ret_ = (call), code_ = (code);                                                 \
		const char *text_ = rdu_error_text(object), *words_ = (words);                     \
		if (!ok(ret_ == code_ && strstr(text_, words_), "%s", what))                       \
			printf("# got %d, want %d; text \"%s\", want \"%s\"\n", ret_, code_, text_, \
			       words_), fflush(stdout);                                            \
	} while (0)

/*
 * y = 2 x + w, 64 vectors; w is 0.5 everywhere. With gather: y[i] = x[index[i]],
 * where a bad index is a fault at run time; its type is int32, or int64 with
 * GATHER_INT64. Symbols x, y, w (a weight), "index"; entry point "main".
 */
enum { NO_GATHER, GATHER, GATHER_INT64 };

#define VECTORS 64

struct sample {
	struct rdu_chip chip;
	struct rdu_file_region regions[3];
	struct rdu_file_symbol symbols[3];
	struct rdu_file_op ops[1];
	float data[4096 / 4 * 8];
	void *image;
	struct rdu_file_parts parts;
};

static inline void sample_symbol(struct sample *s, unsigned int i, const char *name,
				 uint32_t dtype, uint32_t flags, uint64_t elements)
{
	s->symbols[i] = (struct rdu_file_symbol){ .region = i, .dtype = dtype, .flags = flags,
						  .ndim = 1, .dims = { elements }, .entries = 1 };
	strcpy(s->symbols[i].name, name);
	strcpy(s->regions[i].name, name);
	s->regions[i].kind = flags & RDU_SYM_INPUT ? RDU_REGION_INPUT :
			     flags & RDU_SYM_OUTPUT ? RDU_REGION_OUTPUT : RDU_REGION_WEIGHT;
	s->regions[i].size = elements * (dtype == RDU_DT_I64 ? 8 : 4);
	s->regions[i].align = 64;
	s->regions[i].data = RDU_NO_DATA;
}

static inline void sample_make(struct sample *s, const char *chip, int gather)
{
	char error[160];
	struct cfgb *b;
	uint32_t a, w, out, pcu;
	uint64_t sizes[3];
	size_t size;
	void *section;
	uint32_t lanes, n, i;
	struct rdu_cfg_access linear;

	memset(s, 0, sizeof(*s));
	if (rdu_chip_find(chip, &s->chip, error, sizeof(error)))
		abort();
	lanes = s->chip.lanes;
	n = VECTORS * lanes;
	linear = (struct rdu_cfg_access){ .lanes = lanes, .lane_stride = 1, .stride = { lanes } };
	for (i = 0; i < 3; i++)
		sizes[i] = n * (i == 2 && gather == GATHER_INT64 ? 8 : 4);
	b = cfgb_new(&s->chip, 1);
	b->num_segments = 3;
	w = cfgb_program(b, RDU_KIND_LOAD, 0, 0);
	a = cfgb_program(b, RDU_KIND_LOAD, 0, 1);
	out = cfgb_program(b, RDU_KIND_STORE, 0, 2);
	cfgb_loop(b, w, VECTORS);
	cfgb_loop(b, a, VECTORS);
	cfgb_loop(b, out, VECTORS);
	linear.target = 2;
	linear.format = gather == GATHER_INT64 ? RDU_FMT_I64 : RDU_FMT_WORD;
	cfgb_access(b, w, &linear, NULL);
	linear.format = RDU_FMT_WORD;
	linear.target = 1;
	cfgb_access(b, out, &linear, NULL);
	linear.target = 0;
	if (gather) {
		linear.lane_stride = linear.stride[0] = 0;
		linear.flags = RDU_ACCESS_GATHER;
		linear.index_stride = 1;
		cfgb_access(b, a, &linear, NULL);
		cfgb_connect(b, w, 0, a, 0);
		cfgb_connect(b, a, 0, out, 0);
	} else {
		cfgb_access(b, a, &linear, NULL);
		pcu = cfgb_program(b, RDU_KIND_SIMD, 0, 0);
		cfgb_loop(b, pcu, VECTORS);
		cfgb_stage(b, pcu, RDU_SIMD_FMA, 0, cfgb_in(0), cfgb_immf(2), cfgb_in(1));
		cfgb_connect(b, a, 0, pcu, 0);
		cfgb_connect(b, w, 0, pcu, 1);
		cfgb_connect(b, pcu, 0, out, 0);
	}
	section = cfgb_finish(b, &size);
	s->image = cfgb_program_image(section, size, sizes, &s->parts.image_size);
	free(section);

	sample_symbol(s, 0, "x", RDU_DT_F32, RDU_SYM_INPUT, n);
	sample_symbol(s, 1, "y", RDU_DT_F32, RDU_SYM_OUTPUT, n);
	sample_symbol(s, 2, gather ? "index" : "w", gather == GATHER_INT64 ? RDU_DT_I64 :
		      gather ? RDU_DT_I32 : RDU_DT_F32,
		      gather ? RDU_SYM_INPUT : RDU_SYM_WEIGHT, n);
	if (!gather)
		s->regions[2].data = 0;
	for (i = 0; i < n; i++)
		s->data[i] = 0.5f;
	strcpy(s->ops[0].name, "node_1");
	strcpy(s->ops[0].type, gather ? "Gather" : "Gemm");
	s->parts.chip = &s->chip;
	s->parts.image = s->image;
	s->parts.regions = s->regions;
	s->parts.num_regions = 3;
	s->parts.symbols = s->symbols;
	s->parts.num_symbols = 3;
	s->parts.ops = s->ops;
	s->parts.num_ops = 1;
	s->parts.data = s->data;
	s->parts.data_size = n * 4;
	s->parts.meta = "model test\noptimizer adamw\n";
}

static inline void sample_free(struct sample *s)
{
	free(s->image);
}

/* A file of its own for this process. */
static inline const char *temp_path(const char *name)
{
	static char path[4][256];
	static unsigned int i;
	const char *dir = getenv("TMPDIR");

	i = (i + 1) % 4;
	snprintf(path[i], sizeof(path[i]), "%s/rdu-test-%d-%s", dir ? dir : "/tmp", (int)getpid(),
		 name);
	return path[i];
}

#endif
