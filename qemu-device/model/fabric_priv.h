/* SPDX-License-Identifier: MIT */
/*
 * A section as the model sees it after validation: what validate.c found out,
 * and translate.c, execute.c and timing.c use. Nothing here changes while a
 * section runs; run state lives in struct rdu_state (execute.h).
 */
#ifndef RDU_FABRIC_PRIV_H
#define RDU_FABRIC_PRIV_H

#include <pthread.h>
#include "fabric.h"

/* Bounds on work, so that no image can make validation or a run endless. */
#define RDU_MAX_ACTIVATIONS (1ull << 24) /* of one stage */
#define RDU_MAX_EVENTS (1ull << 25)      /* activations x (1 + edges), of a whole program */
#define RDU_MAX_ITERATIONS (1ull << 40)  /* of one program in an activation */
#define RDU_MAX_FIRINGS (1ull << 56)     /* of one program in a section */
#define RDU_MAX_RESOLVED 64
#define RDU_MAX_LANES 64

/* A unit program: one per struct rdu_cfg_program, same index. */
struct rdu_unit_prog {
	const struct rdu_cfg_program *cfg; /* in section->image */
	const void *body; /* struct rdu_cfg_simd, rdu_cfg_systolic or rdu_cfg_access */
	uint32_t body_size;
	uint32_t stage;
	uint64_t trip[RDU_MAX_COUNTERS]; /* 1 or more each */
	uint64_t activations; /* product of the outer trips */
	uint64_t iterations;  /* product of the others: firings in one activation */
	uint64_t pops[RDU_MAX_PORTS];   /* vectors an input port takes in an activation */
	uint64_t pushes[RDU_MAX_PORTS]; /* vectors an output port gives in an activation */
	uint64_t drains; /* systolic: results drained in an activation, else 0 */
};

/* Stage: programs joined by streams. */
struct rdu_stage {
	uint32_t first, num;  /* section->order[first ...]: programs, producers first */
	uint64_t activations; /* the same for all of its programs */
	uint32_t first_in, num_in;   /* section->edge_in[]: edges that end here */
	uint32_t first_out, num_out; /* section->edge_out[]: edges that start here */
};

/* When, in a stage's activations a = 0, 1, ..., a mask of outer counters holds: a group of the mask,
 * which is counters next to each other, is at first if (a / period) % trip == 0. */
struct rdu_pattern {
	uint32_t num;
	struct {
		uint32_t period, trip;
	} group[(RDU_MAX_COUNTERS + 1) / 2];
};

void rdu_pattern_of(struct rdu_pattern *out, const struct rdu_unit_prog *p, uint32_t mask);

/* Token edges between stages; edges that behave alike are kept once. */
struct rdu_edge {
	uint32_t src, dst; /* stages */
	uint64_t initial;
	uint32_t token; /* first struct rdu_cfg_token that gave this edge */
	struct rdu_pattern src_at; /* at last: adds one when it ends */
	struct rdu_pattern dst_at; /* at first: takes one when it starts */
};

/* Elements that the program packs into a word of its scratchpad. */
static inline unsigned int rdu_pack_elements(const struct rdu_cfg_access *a)
{
	return a->format == RDU_FMT_WORD ? 2 : 4;
}

/* Iterations of a program that make one access: WRITE with RDU_PACK_VEC collects. */
static inline unsigned int rdu_pack_vectors(const struct rdu_cfg_access *a)
{
	return a->pack == RDU_PACK_VEC ? rdu_pack_elements(a) : 1;
}

/* Words that `lanes` lanes of the stream become. */
static inline unsigned int rdu_pack_words(const struct rdu_cfg_access *a, unsigned int lanes)
{
	return a->pack == RDU_PACK_LANE ? lanes / rdu_pack_elements(a) : lanes;
}

struct rdu_plan; /* translate.c: islands and kernels */
struct rdu_time_cache; /* timing.c */

struct rdu_section {
	unsigned char *image; /* own copy, limits from registers resolved if `resolved` */
	size_t size;
	struct rdu_chip chip;
	uint32_t tiles; /* that validation was for */
	uint64_t *events_left; /* while validating: what may still be simulated */

	/* Tables within image. */
	const struct rdu_cfg_header *hdr;
	const struct rdu_cfg_program *programs;
	const unsigned char *bodies;
	const struct rdu_cfg_stream *streams;
	const struct rdu_cfg_dest *dests;
	const struct rdu_cfg_link *links;
	const struct rdu_cfg_token *tokens;
	const struct rdu_cfg_buffer *buffers;

	/* Some limit comes from an argument register: trips, rates, stages'
	 * activations and edges below are not known until the registers are.
	 * rdu_section_resolve() gives the section for given registers. */
	bool has_arg_limits;
	struct rdu_section *resolved; /* list of them, each kept with ... */
	uint32_t *resolved_scalars;   /* ... what it was resolved for */
	uint32_t num_resolved;

	/* Valid unless has_arg_limits. */
	struct rdu_unit_prog *progs; /* hdr->programs.count */
	struct rdu_stage *stages;
	uint32_t num_stages;
	uint32_t *order;    /* programs by stage, within a stage producers first */
	struct rdu_edge *edges;
	uint32_t num_edges;
	uint32_t *edge_in, *edge_out;

	pthread_mutex_t lock; /* plan, resolved, time: made on first use */
	struct rdu_plan *plan;

	/* timing.c's own; freed by it. */
	struct rdu_time_cache *time;
	void (*time_free)(struct rdu_time_cache *time);
};

/* The section with argument-register limits put in: `section` itself if it has
 * none. Owned by `section`. NULL and *diag if they make it invalid. */
struct rdu_section *rdu_section_resolve(struct rdu_section *section, const uint32_t *scalars,
					struct rdu_cfg_diag *diag);

static inline bool rdu_pattern_at_first(const struct rdu_pattern *p, uint64_t activation)
{
	for (uint32_t g = 0; g < p->num; g++)
		if (activation / p->group[g].period % p->group[g].trip != 0)
			return false;
	return true;
}

static inline bool rdu_pattern_at_last(const struct rdu_pattern *p, uint64_t activation)
{
	for (uint32_t g = 0; g < p->num; g++)
		if (activation / p->group[g].period % p->group[g].trip != p->group[g].trip - 1)
			return false;
	return true;
}

/* The order stages run in: tokens taken and given, stage by stage. `count`:
 * num_edges counters, `done`: num_stages, both set up by rdu_tokens_start(). */
void rdu_tokens_start(const struct rdu_section *section, uint64_t *count, uint64_t *done);
bool rdu_tokens_ready(const struct rdu_section *section, const uint64_t *count,
		      const uint64_t *done, uint32_t stage);
void rdu_tokens_take(const struct rdu_section *section, uint64_t *count,
		     const uint64_t *done, uint32_t stage);
/* Gives the tokens of the activation that ends, and counts it in done[]. */
void rdu_tokens_give(const struct rdu_section *section, uint64_t *count, uint64_t *done,
		     uint32_t stage);

/* Byte offset in the image of something that points into it. */
static inline uint64_t rdu_offset(const struct rdu_section *s, const void *p)
{
	return (uint64_t)((const unsigned char *)p - s->image);
}

/* validate.c in parts. Each returns 0, or -1 and *diag. */
int rdu_refuse(struct rdu_cfg_diag *diag, enum rdu_cfg_error error, uint64_t offset,
	       const char *fmt, ...) __attribute__((format(printf, 4, 5)));
#define RDU_REFUSE(s, diag, code, where, ...) \
	rdu_refuse(diag, RDU_CFG_E_##code, rdu_offset(s, where), __VA_ARGS__)
/* A section with the facts above filled in; events: what may be simulated. */
struct rdu_section *rdu_section_analyse(const void *image, size_t size,
					const struct rdu_chip *chip, uint32_t tiles,
					uint64_t *events, struct rdu_cfg_diag *diag);
/* How often the outer counters outside a mask run through: flips of a section. */
uint64_t rdu_outer_count(const struct rdu_unit_prog *p, uint32_t mask);
int rdu_validate_body(struct rdu_section *s, uint32_t program, struct rdu_cfg_diag *diag);
int rdu_validate_streams(struct rdu_section *s, struct rdu_cfg_diag *diag);
int rdu_validate_tokens(struct rdu_section *s, struct rdu_cfg_diag *diag);
int rdu_validate_routes(struct rdu_section *s, struct rdu_cfg_diag *diag);

void rdu_plan_free(struct rdu_plan *plan);

static inline enum rdu_unit rdu_kind_unit(unsigned int kind)
{
	static const unsigned char unit[] = {
#define RDU_KIND_UNIT(n, v, u, d) [v] = RDU_UNIT_##u,
		RDU_KINDS(RDU_KIND_UNIT)
#undef RDU_KIND_UNIT
	};

	return unit[kind];
}

#define RDU_NUM_KINDS 6

#endif
