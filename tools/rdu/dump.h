/* SPDX-License-Identifier: MIT */
/* A section's configuration image, every table checked against its bounds. */
#ifndef RDU_DUMP_H
#define RDU_DUMP_H

#include "rdu_tool.h"
#include <rdu/config.h>

struct config {
	const struct rdu_file *file;
	const struct rdu_prog_section *section;
	unsigned int index;
	const unsigned char *image;
	size_t size;
	const struct rdu_cfg_header *h;
	const struct rdu_cfg_program *programs;
	const unsigned char *bodies;
	const struct rdu_cfg_stream *streams;
	const struct rdu_cfg_dest *dests;
	const struct rdu_cfg_link *links;
	const struct rdu_cfg_token *tokens;
	const struct rdu_cfg_buffer *buffers;
};

/* 0, or an exit code after a message. */
int config_open(struct config *c, const struct rdu_file *file, unsigned int section);
void dump_section(const struct config *c);
void dump_program(const struct config *c, unsigned int program);
/* The program's first words: "  12 SIMD tile 0 PCU 3 ...". */
void dump_program_line(const struct config *c, unsigned int program);
const char *unit_kind_name(unsigned int kind); /* of a program kind: "PCU" */
unsigned int unit_of_kind(unsigned int kind);  /* enum rdu_unit, ~0 */

#endif
