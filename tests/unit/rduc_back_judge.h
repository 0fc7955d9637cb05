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

/* Runs a compiled program on the numbers in start[], and what nest_eval makes of them in
 * data[] (by tensor id). Largest error of an output; bf16 or not, whichever is nearer. */
static inline double judge_run(struct module *m, struct ran *r, float **start, float **data,
			       struct rdu_pool *pool, char *error, size_t error_size)
{
	struct module_entry *e = &m->entries[0];
	double best = 1e30;

	for (int i = 0; i < m->num_tensors; i++)
		if (m->tensors[i]->kind == TENSOR_INPUT && ran_symbol(r, m->tensors[i]->name))
			memcpy(ran_symbol(r, m->tensors[i]->name), start[i],
			       (size_t)elements(m->tensors[i]) * 4);
	if (ran_entry(r, 0, pool, true, error, error_size))
		return best;
	for (int bf16 = 0; bf16 < 2; bf16++) {
		double w = 0;

		for (int i = 0; i < m->num_tensors; i++)
			memcpy(data[i], start[i], (size_t)elements(m->tensors[i]) * 4);
		module_entry_eval(e, (void **)data, bf16);
		for (int i = 0; i < m->num_tensors; i++) {
			const struct tensor *t = m->tensors[i];
			void *got = ran_symbol(r, t->name);
			double o;

			if ((t->kind != TENSOR_OUTPUT && t->kind != TENSOR_INPUT) || !got)
				continue;
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
static inline bool judge(struct module *m, struct rduc_options opt, float (*value)(void),
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

#endif
