/* SPDX-License-Identifier: MIT */
/*
 * Judges what the back half makes of a module: compiled at every level, run on the
 * fabric, compared with the plain interpreter.
 */
#ifndef RDUC_BACK_JUDGE_H
#define RDUC_BACK_JUDGE_H

#include <math.h>
#include "nest.h"
#include "rduc_back_run.h"

static inline int64_t elements(const struct tensor *t)
{
	int64_t n = 1;

	for (int d = 0; d < t->ndim; d++)
		n *= t->dim[d];
	return n;
}

/* Largest error against the largest value; terms of a sum may have cancelled. */
static inline double worst(const float *got, const float *want, int64_t n, double terms)
{
	double w = 0, scale = 0.5 * sqrt(terms);

	for (int64_t i = 0; i < n; i++)
		if (fabs(want[i]) > scale && isfinite(want[i]))
			scale = fabs(want[i]);
	for (int64_t i = 0; i < n; i++) {
		double d = got[i] == want[i] ? 0 : fabs((double)got[i] - want[i]) / (scale + 1e-3);

		if (!(d <= w))
			w = d == d ? d : 1e9;
	}
	return w;
}

/* Terms of the first nest's sum. */
static inline double sum_terms(const struct module_entry *e)
{
	double terms = 1;

	for (int d = 0; d < e->nests[0]->ndim; d++)
		if (e->nests[0]->dim[d].reduce)
			terms *= (double)e->nests[0]->dim[d].extent;
	return terms;
}

struct judged {
	const struct module *m;
	float **start, **first; /* what a run begins with; what the first one gave; by tensor id */
};

static inline bool is_given(const struct tensor *t)
{
	return t->kind == TENSOR_INPUT || t->kind == TENSOR_WEIGHT || t->kind == TENSOR_STATE;
}

static inline void give(const struct judged *j, struct ran *r)
{
	for (int i = 0; i < j->m->num_tensors; i++) {
		const struct tensor *t = j->m->tensors[i];

		if (is_given(t) && ran_symbol(r, t->name))
			memcpy(ran_symbol(r, t->name), j->start[i], (size_t)elements(t) * 4);
	}
}

/* A later run: on the same numbers, but for those that a KEEP step alone reads, which are something
 * else in memory now. */
static inline void judge_again(struct ran *r, void *opaque)
{
	const struct judged *j = opaque;

	for (int i = 0; i < j->m->num_tensors; i++)
		if (ran_symbol(r, j->m->tensors[i]->name))
			memcpy(j->first[i], ran_symbol(r, j->m->tensors[i]->name),
			       (size_t)elements(j->m->tensors[i]) * 4);
	give(j, r);
	for (size_t i = 0; i < r->num_symbols; i++) {
		const struct rdu_file_symbol *s = &r->symbol[i];
		uint64_t size = 4;

		for (uint32_t d = 0; d < s->ndim; d++)
			size *= (uint64_t)s->dims[d];
		if (ran_touches(r, 0, RDU_STEP_KEEP, s->region, s->offset, size) &&
		    !ran_touches(r, 0, RDU_STEP_RUN, s->region, s->offset, size))
			memset(ran_symbol(r, s->name), 0x5a, size);
	}
}

/* Gave a later run the same bits? */
static inline bool judge_same(const struct judged *j, struct ran *r, char *error, size_t error_size)
{
	for (int i = 0; i < j->m->num_tensors; i++) {
		const struct tensor *t = j->m->tensors[i];

		if (t->kind != TENSOR_OUTPUT || !ran_symbol(r, t->name) ||
		    !memcmp(j->first[i], ran_symbol(r, t->name), (size_t)elements(t) * 4))
			continue;
		snprintf(error, error_size, "%s is another in a later run", t->name);
		return false;
	}
	return true;
}

/* Later runs that were judged, by this process. */
static inline int *judged_again(void)
{
	static int num;

	return &num;
}

/* Runs a compiled program on the numbers in start[], and what nest_eval makes of them in
 * data[] (by tensor id). Largest error of an output; bf16 or not, whichever is nearer. If something
 * stays for a later run, that has to give the same. */
static inline double judge_run(struct module *m, struct ran *r, float **start, float **data,
			       struct rdu_pool *pool, char *error, size_t error_size)
{
	struct module_entry *e = &m->entries[0];
	struct judged j = { .m = m, .start = start, .first = data };
	double best = 1e30;

	give(&j, r);
	r->again = judge_again;
	r->opaque = &j;
	if (ran_entry(r, 0, pool, true, error, error_size))
		return best;
	if (r->ran_again && !judge_same(&j, r, error, error_size))
		return best;
	*judged_again() += r->ran_again;
	for (int bf16 = 0; bf16 < 2; bf16++) {
		double w = 0;

		for (int i = 0; i < m->num_tensors; i++)
			memcpy(data[i], start[i], (size_t)elements(m->tensors[i]) * 4);
		module_entry_eval(e, (void **)data, bf16);
		for (int i = 0; i < m->num_tensors; i++) {
			const struct tensor *t = m->tensors[i];
			void *got = ran_symbol(r, t->name);
			double o;

			if (t->kind == TENSOR_TEMP || t->kind == TENSOR_WEIGHT || !got)
				continue; /* weights may have been spoilt */
			o = worst(got, data[i], elements(t), sum_terms(e));
			if (!(o <= w))
				w = o;
		}
		best = w < best ? w : best;
	}
	return best;
}

/* All levels. value: one number of an input. exact: nothing may be rounded differently. false
 * with a text. */
static inline bool judge_levels(struct module *m, struct rduc_options opt, float (*value)(void),
				bool exact, const char *path, struct rdu_pool *pool, char *text,
				size_t size)
{
	static const int levels[] = { 0, 1, 3 };
	struct module_entry *e = &m->entries[0];
	/* in a chain, what was rounded differently is rounded again */
	double most = exact ? 0 : e->num_nests > 1 ? 1e-3 : 2e-5 * (1 + sqrt(sum_terms(e)) / 200);
	float **data = calloc((size_t)m->num_tensors, sizeof(*data));
	float **start = calloc((size_t)m->num_tensors, sizeof(*start));
	bool good = true;

	for (int i = 0; i < m->num_tensors; i++) {
		int64_t n = elements(m->tensors[i]);

		data[i] = calloc((size_t)n + 1, sizeof(float));
		start[i] = calloc((size_t)n + 1, sizeof(float));
		for (int64_t k = 0; k < n; k++)
			start[i][k] = value();
	}
	for (int l = 0; l < 3 && good; l++) {
		char error[512] = "";
		struct ran r;
		double w;

		opt.opt = levels[l];
		if (rduc_backend(m, &opt, path, error, sizeof(error)) || ran_open(&r, path)) {
			snprintf(text, size, "-O%d: %s", levels[l], error);
			good = false;
			break;
		}
		w = judge_run(m, &r, start, data, pool, error, sizeof(error));
		if (!(w <= most)) {
			snprintf(text, size, "-O%d: wrong by %g of the largest, at most %g%s%s",
				 levels[l], w, most, *error ? ": " : "", error);
			good = false;
		}
		ran_close(&r);
	}
	if (!good && getenv("V"))
		for (int k = 0; k < e->num_nests; k++)
			nest_print(e->nests[k], stderr);
	for (int i = 0; i < m->num_tensors; i++) {
		free(data[i]);
		free(start[i]);
	}
	free(data);
	free(start);
	return good;
}

/* The same, with every second input as it is and then as a weight, which may stay for later runs. */
static inline bool judge(struct module *m, struct rduc_options opt, float (*value)(void),
			 bool exact, const char *path, struct rdu_pool *pool, char *text,
			 size_t size)
{
	bool good = judge_levels(m, opt, value, exact, path, pool, text, size), any = false;
	bool *changed = calloc((size_t)m->num_tensors + 1, sizeof(*changed));

	for (int i = 1; i < m->num_tensors; i += 2) {
		changed[i] = m->tensors[i]->kind == TENSOR_INPUT && m->tensors[i]->ndim > 1;
		any |= changed[i];
		if (changed[i])
			m->tensors[i]->kind = TENSOR_WEIGHT;
	}
	opt.hold = WHEN_POSSIBLE;
	if (good && any)
		good = judge_levels(m, opt, value, exact, path, pool, text, size);
	for (int i = 1; i < m->num_tensors; i += 2)
		if (changed[i])
			m->tensors[i]->kind = TENSOR_INPUT;
	free(changed);
	return good;
}

#endif
