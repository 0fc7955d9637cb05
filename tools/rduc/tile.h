/* SPDX-License-Identifier: MIT */
/*
 * A contraction's plan: which dimensions are lanes, columns and pairs, how large
 * the tiles are, how many replicas there are and how operands lie in scratchpads.
 */
#ifndef RDUC_TILE_H
#define RDUC_TILE_H

#include "backend.h"

/* One axis of an operand's tile: position = sum(coef[d] * local[d]) + neg. */
struct oaxis {
	int64_t len; /* positions used */
	int64_t room; /* positions in the buffer (words along it: room, or room / 2) */
	int64_t ms; /* memory elements per position */
	int64_t coef[NEST_MAX_DIMS];
	int64_t neg;
	int64_t off, dim; /* of the tensor axis */
	bool guard;
	int only; /* the one nest dimension on it, -1: several */
	int64_t stride; /* words in the buffer */
};

struct operand {
	int in; /* nest input */
	bool by_index; /* axes are the nest's dimensions, not the tensor's */
	int num_axes;
	struct oaxis axis[NEST_MAX_DIMS];
	int lane_axis, pair_axis, vec_axis; /* -1: none */
	int picked_axis; /* all of it is there, and a table says where to read; -1: none */
	int vl; /* lanes of a load */
	int pack;
	int64_t words; /* of one copy */
	int64_t loads; /* vectors of one load */
	double bytes; /* off-chip, of one load */
};

/* What was asked of the parts of residents. */
struct parts_asked {
	struct question *question;
	int num, room; /* room: 0, or a power of two */
};

enum operand_found { OPERAND_UNKNOWN, OPERAND_FITS, OPERAND_DOES_NOT_FIT };

struct contract {
	const struct lnest *l;
	const struct rdu_chip *chip;
	const struct plan *pl;
	int tiles;
	bool systolic;
	bool bytes; /* operands are int8 or uint8, sums int32 */
	int elements; /* of a pair dimension, in a word of an array: 2, of bytes 4 */
	int weights; /* nest input, words of 16 ternary weights; -1: there is none */
	int place; /* then: the dimension that counts them in a word, which pairs lie along */
	int made; /* nest input that is made while it is loaded (made.c); -1: there is none */
	int made_pcus,
		made_loads; /* then, for each of its LOADs: PCUs, and LOADs that it becomes */
	int made_slower; /* as in struct made */
	double made_share; /* of its bytes, those of what it is made of */
	int pcus, pmus, agcus; /* units, and for AGCUs programs, that it may take */
	const struct residence *kept_in[NEST_MAX_IN]; /* NULL: in memory */
	const struct residence *kept_out[NEST_MAX_OUT];
	struct parts_asked *asked; /* during a search */
	int lane, col; /* dimensions, -1: none */
	int pair; /* the one that lies `elements` to a word, -1: none */
	int gl, gc; /* lanes and columns used at a time */
	bool a_first; /* outer order: the column operand's dimensions first */
	int64_t tile[NEST_MAX_DIMS], unroll[NEST_MAX_DIMS];
	bool may_split; /* replicas may have a part each of the terms of a sum */
	bool blocks[NEST_MAX_DIMS]; /* replicas have a block of tiles each, for what is resident */
	int64_t chunk[NEST_MAX_DIMS]; /* of a reduction, the tile that it must have; 0: any */
	int64_t split[NEST_MAX_DIMS]; /* and the replicas along it; 0: any */
	struct operand
		op[3]; /* 0: columns (lanes), 1: rows, 2: a table for one of them; in -1: none */
	int result_tensors; /* in memory, read and written where results leave */
	int epi_pcus, epi_in; /* of what results go through: PCUs, and inputs that are read there */
	bool can_tail; /* it could be the arrays' tails, with nothing read but what sums begin with: */
	int start; /* nest input; -1: nothing */
	int turn_pcus; /* PCUs that take the results of two arrays in turn as well; -1: none do */
	/* follows from the above */
	enum operand_found found[3]; /* op[], of these tiles */
	int64_t trip[NEST_MAX_DIMS]; /* outer trips */
	int order[NEST_MAX_DIMS], num_order; /* parallel dimensions, outermost first */
	int64_t join_pcus; /* that bring together what is read of several parts of something resident */
	int prefix[3]; /* how many of (order, then reductions) an operand's loads run over */
	bool chunked; /* the reduction is cut: partial results in scratchpads */
	bool tail; /* results go through the arrays' tails, and nothing else */
	int merge,
		merge_dim; /* so many replicas along a dimension share one way out; 1, -1: none do */
	int copies[3], out_copies;
	double cost; /* cycles */
};

/* A step of a search: the best tile and replica count of a dimension, all else fixed. */
struct step {
	int dim;
	int64_t tile[NEST_MAX_DIMS], unroll[NEST_MAX_DIMS];
	double cost; /* of the plan before */
	bool taken; /* then what follows is known */
	int64_t best_tile, best_unroll;
	double best;
};

/* Those that a search has taken. */
struct steps {
	int dims; /* of the nest */
	struct step *step;
	int num, room;
	int *place, room_places; /* a power of two */
};

/* tile_steps.c */
/* The step from plan c along dimension d, as it was taken, or to be filled in; valid until the next call. */
struct step *steps_find(struct steps *known, const struct contract *c, int d);
void steps_end(struct steps *known);

/* tile_loading.c: LOADs of one operand. */
struct loading {
	double programs, vectors, bytes; /* vectors and bytes of each program */
};
/* Cycles that a LOAD takes for a vector, however little else memory does: an AGCU has so many bursts on
 * their way, and a LOAD so many vectors. */
double loading_pace(const struct rdu_chip *chip, const struct loading *l);
/* What the first tiles take: all LOADs have an equal share of memory, until the one with fewest vectors
 * left is through. So a few long ones are what it waits for in the end. */
double loading_first(const struct rdu_chip *chip, const struct loading *l, int num);

/* tile_parts.c */
/* resident_joins() or resident_crowd() of an access of the nest. */
int parts_ask(const struct contract *c, const struct lacc *a, const struct residence *r, bool joins,
	      const struct spread *s);
void parts_end(struct parts_asked *asked);

/* tile.c */
/* Does what operand o reads change along dimension d? */
bool contract_needs(const struct contract *c, int o, int d);
/* Does its nest share a loop with others of a group? */
bool contract_in_group(const struct contract *c);
/* Tiles of a replica along dimension d; steps that an array takes along it in one of them. */
int64_t contract_trips(const struct contract *c, int d);
int64_t contract_steps(const struct contract *c, int d);
/* Fills in what follows; false: does not fit. */
bool contract_solve(struct contract *c);
/* The same, with operands found for these tiles before, until contract_forget(); false also as soon as it is plain that
 * the cost is `most` or above. */
bool contract_solve_below(struct contract *c, double most);
void contract_forget(struct contract *c);

/* tile_search.c */
/* Is there a plan at all? */
bool contract_possible(const struct contract *c);
/* Finds the best. 0, or 1: not a contraction for this form. */
int contract_search(struct contract *c);
/* A table is read in all loops but the reduction's behind the last that it depends on: those of
 * dimensions from this one on. */
int contract_table_dims(const struct contract *c);
/* lower_contract.c */
/* What a plan is looked for. 0, or 1: it is no contraction. */
int contract_set_up(const struct backend *be, const struct lnest *l, const struct plan *pl,
		    struct contract *c);
/* tile_known.c */
/* Finds the best, or takes it from a nest that was alike. 0, or 1: not a contraction for this
 * form. */
int contract_plan(struct backend *be, struct contract *c);

/* contraction.c */
/* The factors of a contraction. */
struct factors {
	int in[2]; /* nest inputs */
	int weights, place; /* as in struct contract */
	int table; /* nest input that says where one of them is read; -1: none */
};

/* Is the body a product of two accesses, one of them perhaps by a table, and summed: of floating-point
 * numbers in fp32, of int8 and uint8 as int32, also with ternary weights? */
bool contraction_find(const struct lnest *l, struct factors *f);
/* Do arrays contract it? Bytes are exact there, whatever precision is asked for. */
bool contraction_on_arrays(const struct backend *be, const struct nest *n);
/* What the results of an array go through, or of two, which the innermost loop takes in turn: those are the
 * first sources. kept: by output, where it stays. */
void contraction_results(struct xbuild *b, const struct lnest *l, const struct loops *lp,
			 const struct residence *const *kept, bool two);
/* PCUs that takes, and inputs that are read there. -1: no number of them will do. */
int contraction_epilogue(const struct rdu_chip *chip, const struct lnest *l,
			 const struct residence *const *kept, bool two, int *inputs);
/* What results go through, as operations of an array's tail: how many, in `tail`, and *start, a nest input that the
 * sums begin with, -1: none. -1: it cannot be. */
int contraction_tail(const struct rdu_chip *chip, const struct lnest *l,
		     const struct residence *const *kept, struct rdu_cfg_stage *tail, int *start);
/* Does the nest do nothing but store the sum? kept: by output, where it stays. */
bool contraction_is_plain(const struct lnest *l, const struct residence *const *kept);
/* What an operand reads beside its tensor. */
uint32_t contraction_pad(const struct lacc *a);

/* tile_units.c */
/* Does what is read of an operand depend on dimension d, by its place or by the table? */
bool contract_reads(const struct contract *c, int operand, int d);
int64_t contract_replicas(const struct contract *c, int operand); /* -1: all */
/* Is a plan's sum whole, and begins with what the columns' numbers say alone? Then its results may go through the
 * arrays' tails. */
bool contract_tail_fits(const struct contract *c);
/* Streams of what sums begin with: replicas that need the same share one. */
int64_t contract_starts(const struct contract *c);
/* Replicas that have a part each of the terms of a sum: what they give is added up. */
int64_t contract_splits(const struct contract *c);
/* Do the parts of an operand that is resident lie along the terms of a sum? A replica that has all of them
 * reads all parts, which then wait for each other; one with some of the terms reads those that hold them. */
bool contract_parts_by_terms(const struct contract *c);
/* Indices of dimension d from a replica's first tile to the next one's, and from a tile to the replica's
 * next. Replicas take tiles in turn, or blocks of them. */
int64_t contract_replica_step(const struct contract *c, int d);
int64_t contract_tile_step(const struct contract *c, int d);
/* Programs that load an operand: replicas that a table alone tells apart share one. */
int64_t contract_loads(const struct contract *c, int operand);
/* Is a nest's input an operand? */
bool contract_operand(const struct contract *c, int in);
int64_t contract_loaded(const struct contract *c); /* scratchpads that operands are loaded into */
/* Programs of AGCUs; PCUs; PMUs. */
int64_t contract_agcus(const struct contract *c);
int64_t contract_pcus(const struct contract *c);
int64_t contract_pmus(const struct contract *c);
/* Sets merge: as many replicas share a way out, `most` at most, as leave most PCUs. False: there are
 * not enough units. */
bool contract_choose_ways(struct contract *c, int64_t most);
/* Of n results that are brought together, how many one PCU takes: all PCUs of a level take as many.
 * 1: they cannot be. */
int contract_fan_in(const struct rdu_chip *chip, int n);
/* PCUs that bring n results together; -1: that many cannot be. */
int contract_merging_pcus(const struct rdu_chip *chip, int n);
/* Do PCUs that results go through take those of the two arrays that share a way out in turn? */
bool contract_takes_turns(const struct contract *c);
/* Programs that access the busiest part of something that is resident: replicas that need the same
 * share one. out: it is read or written where results leave. */
int contract_crowd(const struct contract *c, const struct lacc *a, const struct residence *r,
		   bool out);
/* Cycles that a scratchpad takes for a vector of an operand that is resident, and for one of each
 * column's results and what they meet there. */
int64_t contract_load_cycles(const struct contract *c, const struct operand *op);
int64_t contract_drain_cycles(const struct contract *c);
/* Bytes that an input which is read where results leave takes of memory: once an activation for each
 * way out, as long as its AGCU remembers that much. */
double contract_input_bytes(const struct contract *c, const struct lacc *a);
/* Bytes of the bursts that an output writes to memory: all of a burst at once, as long as the AGCU of its
 * way out remembers it. */
double contract_output_bytes(const struct contract *c, const struct lacc *a);
/* Rows of memory that an access opens where results leave, for `bytes` in all: one for each burst, but where
 * those that are accessed at about the same time lie in few rows. */
double contract_rows_opened(const struct contract *c, const struct lacc *a, double bytes);
/* Is operand o in scratchpads before the section runs, all that a replica needs of it? */
bool contract_holds(const struct contract *c, int o);
/* At most, of an array or of SIMD stages that do its work: a stage each, of bytes two, and a
 * register more. */
int contract_columns(const struct rdu_chip *chip, bool systolic, bool bytes);
int64_t contract_chunks(const struct contract *c); /* that the reduction is cut into */

#endif
