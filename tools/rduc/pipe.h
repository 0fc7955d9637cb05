/* SPDX-License-Identifier: MIT */
/*
 * Groups of nests (pipe.c), where they end (ends.c), how they go through tensors slice by slice
 * (slices.c), and copies in front of them (stage.c).
 */
#ifndef RDUC_PIPE_H
#define RDUC_PIPE_H

#include "backend.h"

/* The dimensions of a nest that step from slice to slice, the outermost first. Of the last, `inner`
 * steps stay within a slice. The nest is `lag` steps behind: in iteration i it makes steps i * inner - lag to
 * (i + 1) * inner - lag, so that what it reads beyond its slice is there; and the last `again` ones of the
 * iteration before. */
struct slicing {
	int num, dim[NEST_MAX_DIMS];
	int64_t inner, lag, again;
};

#define MOST_NESTS 24 /* of a group */
#define PIPE_WIDER 1.25 /* times its units, for a nest that the others wait for */

/* A nest that reads windows of a tensor loads what they share again for each of its tiles; one that reads across
 * what lies together loads bursts for single elements. Staged, it reads a copy, which a nest in front of it makes
 * slice by slice. */
struct staging {
	struct nest *copy, *reader; /* NULL: nothing is staged */
	int in; /* input of the reader */
	struct tensor *from;
	/* of the last part of it, which the copy reads where it is made, and a nest that copies the rest of
	 * it; NULL: of none */
	struct nest *maker, *rest;
	int out; /* output of the maker */
	/* Who reads, by input number turned_in, what the reader of the copy only turns; NULL: it does more. */
	struct nest *turned;
	int turned_in;
	struct access was; /* of that input */
};

/* How nests of a group share the compute units. */
struct sharing {
	double work[MOST_NESTS], pcus; /* in proportion to it, of so many of them */
	bool least; /* none has fewer than it needs */
};

/* What a group hands on in slices and others read behind it: these read `to`, which the same nest
 * makes. */
struct kept {
	struct tensor *from, *to;
};

#define MOST_KEPT 8

struct group {
	int num;
	struct nest **nest, *was; /* its nests, and what they were before */
	struct sharing sharing;
	struct uimage *im; /* until a section has it */
	int op; /* of its first nest, when that was made */
	int num_pmus, *pmu; /* that it has, by their numbers over all tiles */
	double saved; /* cycles */
	struct staging staged;
	int num_kept;
	struct kept kept[MOST_KEPT];
};

/* group.c: the scratchpads of its section are listed. */
void group_list_pmus(const struct backend *be, struct group *g);

/* What a group does with a storage. */
struct traffic {
	int writer, last; /* nests of the entry; writer -1: not written here */
	bool read, sliced;
	int reads;
	int64_t lag; /* words by which its writer is behind */
	int64_t most_lag; /* by which it may be, and no reader waits longer for that */
	int64_t before; /* words of the slice before that readers want, too */
	int64_t again; /* these, if they are made again; they are part of the slice */
};

/* A group that was tried. */
struct known_group {
	uint64_t likeness;
	bool refused; /* it was not worth it */
	struct sharing sharing;
	uint64_t cycles;
};

struct trial {
	struct backend *be;
	struct module_entry *e;
	int first, num;
	int most; /* nests that it may have */
	int64_t iterations; /* slices */
	int64_t more; /* iterations, of the last of the loops, until those that lag have made all slices */
	struct slicing loops[MOST_NESTS];
	struct traffic *t; /* by storage */
	int num_touched, room_touched, *touched; /* storages that the group uses */
	int *last_reader; /* by storage: nest of the entry, -1: none */
	int *first_writer; /* by storage; what others began is whole in memory only */
	double *cycles; /* of each nest of the entry without groups */
	const struct residence *plain; /* of the storages that there were then */
	int num_plain;

	bool *outside; /* by storage: not made and used up in this entry point */
	int num_known, room_known;
	struct known_group *known; /* by likeness */
	double saved; /* words that need not cross memory */
	double room; /* words of scratchpads that the slices take */
	struct sharing sharing; /* of the last section that was made */
	struct sharing guessed; /* of the section that may be made next: */
	struct uimage *guess; /* NULL: there is none */
	int failed; /* nest of the group that the last attempt could not make, or -1: all were made */
	int num_kept;
	struct kept kept[MOST_KEPT];
};

/* Elements between two steps of dimension d. */
int64_t slice_step(const struct access *a, int d);
/* The dimension that moves an access by one element; -1: none. */
int slice_along(const struct nest *n, const struct access *a);
/* Does an access go on by `slice` elements in each iteration of the loops? Then *before and *after: how
 * many it touches in front of iteration i's, i * slice to (i + 1) * slice, and behind them. */
bool slice_reach(const struct nest *n, const struct access *a, int64_t slice,
		 const struct slicing *s, int64_t *before, int64_t *after);
/* Does it touch no others, whatever it is guarded against? */
bool slice_only(const struct nest *n, const struct access *a, int64_t slice,
		const struct slicing *s);
/* Does it touch few others: neighbours of what it uses itself? */
bool slice_nearly(const struct nest *n, const struct access *a, int64_t slice,
		  const struct slicing *s);
/* The loops that go through an access slice by slice, or nearly so. False: there are none. */
bool slice_loops(const struct nest *n, const struct access *a, int64_t slice, struct slicing *s);
/* Words from one position to the next along the outermost axis within a slice. */
int64_t slice_axis_step(const struct tensor *t, int64_t slice);
/* May the last of a nest's loops go on before its first and behind its last step? What it makes there is
 * nowhere. */
bool slice_can_lag(const struct nest *n, const struct slicing *s);
/* The loops become dimensions of their own, which nests of group number `group` share; with so many iterations
 * more, for those that lag. */
void slice_share(struct nest *n, const struct slicing *s, int group, int64_t more);

/* Where an access is along axis k of its tensor. */
void pipe_range_of(const struct nest *n, const struct access *a, int k, int64_t *lo, int64_t *hi);
/* Is a storage handed on in slices? */
bool pipe_is_channel(const struct traffic *t);
/* Is it read after the group? */
bool pipe_read_after(const struct trial *g, int id);
/* The group from number `first` on, of `most` nests at most, with loops that cut `made` into so many
 * slices. A nest that reads nothing of those before it may be one if others read what both make. */
void pipe_grow(struct trial *g, int first, int most, const struct access *made, int64_t iterations);
/* The number of iterations, and the result of nest `first` that says how it is cut, that keep most
 * out of memory, and how many words that is; 0: there is no group. */
int64_t pipe_choose(struct trial *g, int first, int most, const struct access **made,
		    double *saved);
/* How many copies of a slice keep all nests between its writer and its last reader at work. */
int pipe_copies(const struct traffic *t);
/* lags.c: words from one position to the next along the axis that slices of a tensor are cut along. */
int64_t lags_unit(const struct trial *g, const struct tensor *t);
/* Finds by how much nests lag, and what that makes them read of the slice before. -1, or a nest that cannot do
 * so, in front of which the group ends. */
int lags_find(struct trial *g);
/* Does a nest of the group read some of the slice before its own? */
bool pipe_reads_before(const struct trial *g);
/* ends.c: the group, with as many nests as it may have, becomes one without those that are better in the
 * next one; *made as of pipe_choose(). What it takes, about, in cycles; HUGE_VAL: who knows. */
double ends_find(struct trial *g, const struct access **made);
/* Cycles that the group takes, about: as long as memory or the compute units, whichever takes longer, and until the
 * last nest has begun and ended. */
double ends_about(const struct trial *g);
/* One more temporary like t, named after that and what it is, which nest `writer` makes and nest
 * `reader` reads. */
struct tensor *pipe_add_temp(struct trial *g, const struct tensor *t, const char *what, int writer,
			     int reader);
/* group.c: what the group hands on in slices and others read behind it becomes two tensors, as far as they
 * read all of it as it is. True: something does. */
bool pipe_split_kept(struct trial *g);
/* They are one again. */
void pipe_join_kept(struct trial *g, const struct kept *kept, int num);
/* Tries the group from number k on. True: it is one; g->num: its nests, or those that were tried. */
bool pipe_from(struct trial *g, int k);
/* sharing.c: lowers the nests with shares of the units, and joins them. NULL: that cannot be, or it takes more than
 * `most` cycles; *hopeless as of be_join(), or that. */
struct uimage *pipe_make(struct trial *g, const struct sharing *sharing, int op, uint64_t most,
			 bool *hopeless);
/* The same, with the work shared as what was made says, `work` first, as long as that makes it faster. */
struct uimage *pipe_make_shared(struct trial *g, const double *work, int op, uint64_t most);
/* What is left over of the units goes to the slowest nest, as long as that is faster: replicas come in
 * steps, and a share may be too small for the next one. If that does not do, so does what others have more
 * than they need then. */
struct uimage *pipe_widen(struct trial *g, struct uimage *im, int op);
/* Makes the section of a group once more, which was made with g->sharing: the work may be shared in another way
 * now. NULL: there is none, or it takes more than twice as long as `most`. */
struct uimage *pipe_make_again(struct trial *g, int op, uint64_t most);
/* The last group is none; what it was tried with is still there. */
void pipe_take_back(struct trial *g);

/* Words that need not cross memory if nest number k hands on what it makes: the last part of what the next
 * nest, and nobody else, reads windows of; 0: it is none. */
double stage_part_saves(const struct trial *g, int k);
/* Bytes that the group moves at least, or nest number k alone. */
double stage_least_bytes(const struct trial *g, int k, bool group);
/* pipe_from(), with copies where that is better; *num as its g->num. */
bool stage_from(struct trial *g, int k, int *num);
/* All is as it was before a copy was made. */
void stage_undo(struct module_entry *e, const struct staging *s);

#endif
