// SPDX-License-Identifier: MIT
/*
 * A case, compiled at every level, run, and compared: with the plain interpreter of
 * the nests that the front half of the compiler made, with itself on other numbers of
 * threads, and with judges outside.
 */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include "diff.h"
#include "graph.h"
#include "rduc_back_run.h"

/* Every tensor's contents, three times: as the card computes it, and twice to see how
 * much rounding matters: in double, and (where the card uses bf16) in fp32. */
enum { EVAL_CARD, EVAL_WIDE, EVAL_FP32, EVALS };

/* What noise_spread() found is the most of a few samples: of 11,000 cases one was off by 4 times it. */
#define NOISE_TIMES 8

struct run {
	const struct model *m;
	const struct config *c;
	const char *dir;
	struct verdict *v;
	struct graph *g;
	struct module *module;
	void **data[EVALS]; /* by tensor */
	int entry[2], num_entries; /* that ran to make them */
	double **spread[EVALS]; /* noise_spread() of it; NULL: not asked for yet */
	void **start; /* before anything ran */
	void **first; /* what the first level gave */
	/* By entry point: enum rdu_trap, where the interpreter says that the card stops. */
	int stops[2];
	bool rounded[MAX_VALUES], rounds; /* mark_rounded() */
	bool fp32_stops; /* it would if contractions were in fp32 */
	uint64_t cycles;
};

static bool bad(struct run *r, const char *what, const char *fmt, ...)
{
	va_list ap;

	r->v->kind = VERDICT_BAD;
	snprintf(r->v->what, sizeof(r->v->what), "%s", what);
	va_start(ap, fmt);
	vsnprintf(r->v->text, sizeof(r->v->text), fmt, ap);
	va_end(ap);
	return false;
}

static size_t tensor_count(const struct tensor *t)
{
	return (size_t)dims_count(t->ndim, t->dim);
}

static size_t tensor_bytes(const struct tensor *t)
{
	return tensor_count(t) * (size_t)dtype_bytes(t->dtype);
}

static const struct val *val_of(const struct model *m, const char *name)
{
	for (int i = 0; i < m->num_vals; i++)
		if (!strcmp(m->val[i].name, name))
			return &m->val[i];
	return NULL;
}

/* ---- the front half -------------------------------------------------------------------- */

static bool front(struct run *r, char *error, int size)
{
	const struct import_options import = { 0 };
	const struct train_options train = { .loss = r->m->mse ? "mse" : "softmax_cross_entropy",
					     .optimizer = (enum optimizer)r->m->optimizer,
					     .momentum = 0.5f,
					     .beta1 = 0.5f,
					     .beta2 = 0.75f,
					     .epsilon = 0.125f,
					     .weight_decay = r->m->decay ? 0.0625f : 0 };
	size_t length;
	void *file = model_onnx(r->m, &length);

	r->g = graph_import(file, length, &import, error, size);
	free(file);
	if (!r->g || graph_simplify(r->g) || (r->m->train && graph_differentiate(r->g, &train)))
		return false;
	r->module = graph_patterns(r->g);
	return r->module != NULL;
}

/* Labels, targets and the learning rate: inputs that the model itself does not have. */
static void fill_training(const struct model *m, const struct tensor *t, void *data)
{
	size_t n = tensor_count(t);
	uint32_t seed = m->data_seed * 2 + 1;

	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		if (!strcmp(t->name, "labels"))
			((int64_t *)data)[i] = (seed >> 16) % (uint32_t)m->classes;
		else if (!strcmp(t->name, "lr"))
			((float *)data)[i] = 0.125f;
		else
			((float *)data)[i] = (float)((int)(seed >> 16) % 17 - 8) / 4;
	}
}

static void widen(const struct tensor *t, void *to, const void *from)
{
	if (t->dtype != RDU_DT_F32)
		memcpy(to, from, tensor_bytes(t));
	for (size_t i = 0; t->dtype == RDU_DT_F32 && i < tensor_count(t); i++)
		((double *)to)[i] = ((const float *)from)[i];
}

static void set_up(struct run *r)
{
	size_t num = (size_t)r->module->num_tensors;

	r->start = calloc(num + 1, sizeof(*r->start));
	r->first = calloc(num + 1, sizeof(*r->first));
	for (int e = 0; e < EVALS; e++)
		r->data[e] = calloc(num + 1, sizeof(*r->data[e]));
	for (size_t i = 0; i < num; i++) {
		const struct tensor *t = r->module->tensors[i];
		const struct val *v = val_of(r->m, t->name);

		r->start[i] = calloc(1, tensor_bytes(t) + 8);
		if (t->data)
			memcpy(r->start[i], t->data, tensor_bytes(t));
		else if (t->kind == TENSOR_INPUT && v)
			memcpy(r->start[i], v->data, tensor_bytes(t));
		else if (t->kind == TENSOR_INPUT)
			fill_training(r->m, t, r->start[i]);
		r->first[i] = NULL;
		for (int e = 0; e < EVALS; e++)
			r->data[e][i] = calloc(2, tensor_bytes(t) + 8);
	}
}

/* Interprets an entry point in all three ways, from the start or from where it stands. */
static void evaluate(struct run *r, int entry, bool from_start)
{
	const struct module_entry *e = &r->module->entries[entry];

	if (from_start)
		r->num_entries = 0;
	r->entry[r->num_entries++] = entry;
	memset(r->spread, 0, sizeof(r->spread));
	for (int i = 0; from_start && i < r->module->num_tensors; i++) {
		const struct tensor *t = r->module->tensors[i];

		memcpy(r->data[EVAL_CARD][i], r->start[i], tensor_bytes(t));
		memcpy(r->data[EVAL_FP32][i], r->start[i], tensor_bytes(t));
		widen(t, r->data[EVAL_WIDE][i], r->start[i]);
	}
	for (int k = 0; k < e->num_nests; k++) {
		int why = nest_eval(e->nests[k], r->data[EVAL_CARD], r->c->bf16);

		if (!r->stops[entry])
			r->stops[entry] = why;
		if (nest_eval(e->nests[k], r->data[EVAL_FP32], false))
			r->fp32_stops = true;
		nest_eval_wide(e->nests[k], r->data[EVAL_WIDE]);
	}
}

/* ---- comparing --------------------------------------------------------------------------- */

static double wide_element(const struct run *r, const struct tensor *t, size_t i)
{
	return t->dtype == RDU_DT_F32 ? ((double *)r->data[EVAL_WIDE][t->id])[i]
				      : element(r->data[EVAL_WIDE][t->id], t->dtype, (int64_t)i);
}

/*
 * Marks values that something was rounded to bf16 for: what was off by little may have
 * been rounded to the other side. Of a step of training, all of them.
 */
static void mark_rounded(struct run *r)
{
	const struct model *m = r->m;
	bool any = false;

	for (int k = 0; k < m->num_nodes; k++) {
		const struct op_node *n = &m->node[k];
		bool mark = m->val[n->out[0]].type == RDU_DT_BF16;

		for (int i = 0; i < n->num_in; i++)
			mark |= n->in[i] >= 0 && r->rounded[n->in[i]];
		for (int i = 0; i < n->num_out && mark; i++)
			if (n->out[i] >= 0)
				r->rounded[n->out[i]] = true;
		any |= mark;
	}
	r->rounds = any && m->train;
}

static bool is_rounded(const struct run *r, const struct tensor *t)
{
	const struct val *v = val_of(r->m, t->name);

	return r->rounds || t->dtype == RDU_DT_BF16 || (v && r->rounded[v - r->m->val]);
}

/*
 * How far from the interpreter's result an element may be: nothing, where bits are
 * defined. Else a part of the largest element, and some times what rounding turned out
 * to matter in the interpreter itself. Where something was rounded to bf16, that would be
 * whole steps of bf16 for every element: there noise() tells which may be off by one.
 */
static double tolerance(const struct run *r, const struct tensor *t, bool fp32)
{
	const struct val *v = val_of(r->m, t->name);
	double largest = 0, rounding = 0, bf16 = 0;

	if ((t->dtype != RDU_DT_F32 && t->dtype != RDU_DT_BF16) ||
	    (v && !r->m->train && is_exact(v)))
		return 0;
	for (size_t i = 0; i < tensor_count(t); i++) {
		double x = element(r->data[EVAL_FP32][t->id], t->dtype, (int64_t)i);
		double z = element(r->data[EVAL_CARD][t->id], t->dtype, (int64_t)i);
		double y = wide_element(r, t, i);

		if (!isfinite(x) || !isfinite(y) || !isfinite(z))
			continue;
		largest = fmax(largest, fabs(x));
		rounding = fmax(rounding, fabs(x - y));
		bf16 = fmax(bf16, fabs(x - z));
	}
	if (is_rounded(r, t))
		rounding = 0;
	if (fp32 || !r->c->bf16)
		return 2e-5 * largest + 64 * rounding + 1e-37;
	return 2e-2 * largest + 64 * rounding + 8 * bf16;
}

/* What noise makes of the elements of a tensor in EVAL_CARD or EVAL_FP32. */
static const double *noise(struct run *r, const struct tensor *t, int eval)
{
	if (!r->spread[eval])
		r->spread[eval] = noise_spread(r->module, r->entry, r->num_entries, r->start,
					       r->data[eval], eval == EVAL_CARD && r->c->bf16);
	return r->spread[eval][t->id];
}

static double largest_of(const double *x, size_t n)
{
	double most = 0;

	for (size_t i = 0; i < n; i++)
		most = fmax(most, x[i]);
	return most;
}

/* Results and what they may be off by: all by `tol`, and each by what noise makes of it. */
struct comparison {
	const struct tensor *t;
	const void *got, *want;
	bool limits, rounded;
	double tol;
	const double *spread; /* NULL: none */
};

/* Elements that are wrong; *at: the first one. */
static int count_wrong(const struct comparison *c, size_t *at)
{
	const struct tensor *t = c->t;
	int wrong = 0;

	for (size_t i = 0; i < tensor_count(t); i++) {
		double w = element(c->want, t->dtype, (int64_t)i);
		double x = element(c->got, t->dtype, (int64_t)i);
		/* Of numbers of all sizes, each by itself; what overflows in one way and
		 * not in another is not told. */
		double off = c->limits ? (c->rounded ? 1e-2 : 1e-4) * fabs(w) + 1e-6 : c->tol;

		if (c->spread)
			off += NOISE_TIMES * c->spread[i];
		if (t->dtype == RDU_DT_I64)
			if (((const int64_t *)c->want)[i] == ((const int64_t *)c->got)[i])
				continue;
		if (x == w ? t->dtype != RDU_DT_I64 : isnan(x) && isnan(w))
			continue;
		if (fabs(x - w) <= off)
			continue;
		if (c->limits && fabs(w) > 3e38 && fabs(x) > 3e38)
			continue;
		if (!wrong++)
			*at = i;
	}
	return wrong;
}

/* got against what the interpreter gave in EVAL_CARD or EVAL_FP32. */
static bool same(struct run *r, const char *what, const struct tensor *t, const void *got, int eval)
{
	struct comparison c = {
		.t = t,
		.got = got,
		.want = r->data[eval][t->id],
		.rounded = is_rounded(r, t),
		.tol = tolerance(r, t, eval == EVAL_FP32),
	};
	size_t at = 0;
	int wrong;

	c.limits = r->m->data == DATA_LIMITS && c.tol > 0;
	wrong = count_wrong(&c, &at);
	if (wrong && c.tol > 0) {
		c.spread = noise(r, t, eval);
		/* Of sums of one size one sample says what it says of all; of a step of bf16,
		 * which only some elements are near, and of numbers of all sizes, it does not. */
		if (!c.limits && (!c.rounded || r->m->train)) {
			c.tol += NOISE_TIMES * largest_of(c.spread, tensor_count(t));
			c.spread = NULL;
		}
		wrong = count_wrong(&c, &at);
	}
	if (!wrong)
		return true;
	return bad(r, what,
		   "%s[%zu] is %.9g, by the nests %.9g (off by at most %.3g); %d of %zu are wrong",
		   t->name, at, element(got, t->dtype, (int64_t)at),
		   element(c.want, t->dtype, (int64_t)at),
		   c.tol + (c.spread ? NOISE_TIMES * c.spread[at] : 0), wrong, tensor_count(t));
}

/* What a run leaves that can be looked at. Constants may be stored as bf16. */
static bool visible(const struct run *r, const struct tensor *t)
{
	if (t->view_of || t->update_of || t->constant)
		return false;
	return t->kind == TENSOR_OUTPUT ||
	       (r->m->train && (t->kind == TENSOR_WEIGHT || t->kind == TENSOR_STATE));
}

/* ---- the back half ------------------------------------------------------------------------- */

static bool compare_level(struct run *r, struct ran *ran, int level)
{
	char what[40];

	snprintf(what, sizeof(what), "nest -O%d", level);
	for (int i = 0; i < r->module->num_tensors; i++) {
		const struct tensor *t = r->module->tensors[i];
		const void *got = visible(r, t) ? ran_symbol(ran, t->name) : NULL;

		if (!got)
			continue;
		if (!same(r, what, t, got, EVAL_CARD))
			return false;
		free(r->first[i]);
		r->first[i] = malloc(tensor_bytes(t) + 8);
		memcpy(r->first[i], got, tensor_bytes(t));
	}
	return true;
}

/* Why the interpreter says that a run stops, 0: it does not. */
static int stops(const struct run *r)
{
	return r->stops[1] ? r->stops[1] : r->stops[0];
}

static bool is_stop(uint32_t fault)
{
	return fault == RDU_FAULT_VALUE || fault == RDU_FAULT_BOUNDS;
}

static int entry_index(const struct ran *ran, const char *name)
{
	const struct rdu_prog_header *h = (const void *)ran->program;
	const struct rdu_prog_entry *en = (const void *)(ran->program + h->entries_off);

	for (uint32_t i = 0; i < h->num_entries; i++)
		if (!strcmp(en[i].name, name))
			return (int)i;
	return -1;
}

/*
 * Runs an entry point (0: forward, 1: train_step). It stops, because a value does not fit
 * or an index is out of range, where the interpreter says so, and nowhere else. 1: it
 * ran; 0: it stopped; -1: one stops and the other does not, or it failed otherwise.
 */
static int one_entry(struct run *r, struct ran *ran, int entry, const char *what,
		     struct rdu_pool *pool)
{
	const char *name = entry ? "train_step" : "forward";
	int e = entry_index(ran, name), ret;
	char error[600];

	if (e < 0) {
		bad(r, what, "%s: is not there", name);
		return -1;
	}
	ret = ran_entry(ran, (uint32_t)e, pool, true, error, sizeof(error));
	r->cycles += ran->cycles;
	if (!ret && !r->stops[entry])
		return 1;
	if (ret && r->stops[entry] && is_stop(ran->fault))
		return 0;
	bad(r, what, "%s: %s%s%s", name, ret ? error : "the card does not stop",
	    r->stops[entry] ? ", the interpreter does: " : "",
	    r->stops[entry] ? nest_trap_text(r->stops[entry]) : "");
	return -1;
}

static int compile(struct run *r, int level, bool wrong_stops, const char *path, char *error,
		   int size)
{
	struct rduc_options opt = {
		.chip = &r->c->chip, .opt = level, .tiles = r->c->tiles, .fp32 = !r->c->bf16
	};
	int ret;

	if (wrong_stops)
		turn_stops(r->module);
	if (r->c->plant && !plant_defect(r->module, (enum plant)r->c->plant, false)) {
		snprintf(error, (size_t)size, "no place for the planted defect");
		return -1;
	}
	ret = rduc_backend(r->module, &opt, path, error, size);
	if (r->c->plant)
		plant_defect(r->module, (enum plant)r->c->plant, true);
	if (wrong_stops)
		turn_stops(r->module);
	return ret;
}

/* 1: ran, and right; 0: refused, with a text in error; -1: wrong. */
static int one_level(struct run *r, int level, const char *path, struct rdu_pool *pool, char *error,
		     int size)
{
	int wrong = level == 3 ? WRONG_O3 : WRONG_O0 + level;
	char what[40];
	struct ran ran;
	int went = 1;

	error[0] = 0;
	snprintf(what, sizeof(what), "run -O%d", level);
	if (compile(r, level, r->c->wrong_stops == wrong, path, error, size))
		return 0;
	if (ran_open(&ran, path)) {
		bad(r, what, "the file cannot be opened");
		return -1;
	}
	for (int i = 0; i < r->module->num_tensors; i++) {
		const struct tensor *t = r->module->tensors[i];
		void *to = t->kind == TENSOR_INPUT ? ran_symbol(&ran, t->name) : NULL;

		if (to)
			memcpy(to, r->start[i], tensor_bytes(t));
	}
	r->cycles = 0;
	for (int k = r->m->train; k >= 0 && went > 0; k--)
		went = one_entry(r, &ran, k, what, pool);
	if (went > 0 && !compare_level(r, &ran, level))
		went = -1;
	ran_close(&ran);
	return went < 0 ? -1 : 1;
}

/* The last level's file through librdu: threads and values must make no difference. */
static bool through_library(struct run *r, const char *path, const char *chip)
{
	const char *entry = r->m->train ? "train_step" : "forward";
	size_t num = (size_t)r->module->num_tensors;
	struct symbol_data *in = calloc(num + 1, sizeof(*in)), *out = calloc(num + 1, sizeof(*out));
	int num_in = 0, num_out = 0;
	uint64_t cycles[3] = { 0 };
	void **one = calloc(num + 1, sizeof(*one));
	int why = r->stops[r->m->train];
	char text[500], device[700];
	struct ran names;
	bool ok = true;

	if (ran_open(&names, path))
		return bad(r, "library", "the file cannot be opened");
	for (size_t i = 0; i < num; i++) {
		const struct tensor *t = r->module->tensors[i];

		if (!ran_symbol(&names, t->name))
			continue;
		if (t->kind == TENSOR_INPUT)
			in[num_in++] =
				(struct symbol_data){ t->name, r->start[i], tensor_bytes(t) };
		else if (visible(r, t))
			out[num_out++] =
				(struct symbol_data){ t->name, calloc(1, tensor_bytes(t) + 8),
						      tensor_bytes(t) };
	}
	for (int k = 0; k < (why ? 2 : 3) && ok; k++) {
		int ret;

		snprintf(device, sizeof(device), "model:%s,threads=%d%s", chip, 1 + k % 2,
			 k == 2 ? ",timing-only" : "");
		ret = lib_run(path, device, entry, in, num_in, out, num_out, &cycles[k], text,
			      sizeof(text));
		if (why && ret && (strstr(text, "(VALUE,") || strstr(text, "(BOUNDS,")))
			continue;
		if (why || ret)
			ok = bad(r, "library", "%s%s",
				 ret ? text : "it does not stop: ", ret ? "" : nest_trap_text(why));
		else if (cycles[k] != cycles[0])
			ok = bad(r, k == 1 ? "threads time" : "timing-only time",
				 "%" PRIu64 " cycles, not %" PRIu64, cycles[k], cycles[0]);
		for (int i = 0; i < num_out && ok && k < 2; i++) {
			if (!k) {
				one[i] = malloc(out[i].size + 1);
				memcpy(one[i], out[i].data, out[i].size);
			} else if (memcmp(one[i], out[i].data, out[i].size)) {
				ok = bad(r, "threads", "%s has other bits with two threads",
					 out[i].name);
			}
		}
	}
	/* And the same as without the library, where no second entry point ran. */
	for (size_t i = 0; i < num && ok && !why && !r->m->train; i++)
		for (int k = 0; k < num_out; k++)
			if (!strcmp(out[k].name, r->module->tensors[i]->name) && r->first[i] &&
			    memcmp(one[k], r->first[i], out[k].size))
				ok = bad(r, "library bits", "%s has other bits through librdu",
					 out[k].name);
	ran_close(&names);
	if (ok)
		r->v->judged[JUDGE_THREADS] = true;
	return ok;
}

static int write_chip(const struct rdu_chip *chip, const char *path)
{
	FILE *f = fopen(path, "w");
	char *text = rdu_chip_text(chip);
	bool done = f && text && fputs(text, f) >= 0;

	free(text);
	return f && !fclose(f) && done ? 0 : -1;
}

static bool only_about(const struct run *r, const char *what)
{
	return !strncmp(r->v->only, what, strlen(what));
}

static bool back(struct run *r)
{
	static const int levels[] = { 0, 1, 3 };
	char path[600], chip[600], error[3][600], what[40];
	struct rdu_pool *pool = rdu_pool_new((unsigned int)r->c->threads);
	int done[3] = { 0 }, ran = 0;
	bool ok = true;

	snprintf(path, sizeof(path), "%s/case.rdu", r->dir);
	snprintf(chip, sizeof(chip), "%s/chip", r->dir);
	if (write_chip(&r->c->chip, chip))
		ok = bad(r, "files", "%s cannot be written", chip);
	for (int l = 0; l < 3 && ok; l++) {
		/* What is shrunk is run where it fails only. */
		if (only_about(r, "nest -O") && r->v->only[7] != '0' + levels[l])
			continue;
		done[l] = one_level(r, levels[l], path, pool, error[l], sizeof(error[l]));
		ran += done[l] > 0;
		ok = done[l] >= 0;
		if (l && ok && !done[l] && done[0]) {
			snprintf(what, sizeof(what), "refusal -O%d", levels[l]);
			ok = bad(r, what, "-O%d refuses what -O0 takes: %s", levels[l], error[l]);
		}
	}
	rdu_pool_free(pool);
	if (ok && !ran && !r->v->only[0]) {
		r->v->kind = VERDICT_REFUSED;
		snprintf(r->v->text, sizeof(r->v->text), "%s: %s", r->c->chip.name, error[0]);
		return true;
	}
	if (ok && ran)
		r->v->judged[JUDGE_NEST] = true;
	if (ok && ran == 3)
		r->v->judged[JUDGE_LEVELS] = true;
	if (ok && r->c->wrong_stops == WRONG_LIBRARY)
		ok = !compile(r, 3, true, path, error[2], sizeof(error[2])) &&
		     through_library(r, path, chip);
	else if (ok && ran && chance(4))
		ok = through_library(r, path, chip);
	if (ok && ran && stops(r)) {
		r->v->kind = VERDICT_REFUSED;
		snprintf(r->v->text, sizeof(r->v->text), "the run stops: %s",
			 nest_trap_text(stops(r)));
	}
	return ok;
}

/* ---- judges outside -------------------------------------------------------------------------- */

static const char *dims_text(int ndim, const int64_t *dim, char text[100])
{
	size_t n = 0;

	text[0] = 0;
	for (int d = 0; d < ndim && n < 80; d++)
		n += (size_t)snprintf(text + n, 100 - n, "%s%" PRId64, d ? "," : "", dim[d]);
	return text;
}

static bool ask_ort(struct run *r)
{
	bool off[MAX_VALUES];
	int compared = 0;

	if (r->fp32_stops) {
		snprintf(r->v->declined[SERVER_ORT], sizeof(r->v->declined[0]),
			 "the run stops in fp32");
		return true;
	}
	if (!judge_ask(SERVER_ORT, r->dir, r->v->declined[SERVER_ORT], sizeof(r->v->declined[0])))
		return true;
	ort_declines(r->m, r->dir, off, r->v->declined[SERVER_ORT], sizeof(r->v->declined[0]));
	evaluate(r, 0, true);
	for (int i = 0; i < r->module->num_tensors; i++) {
		const struct tensor *t = r->module->tensors[i];
		const struct val *v = val_of(r->m, t->name);
		char one[100], other[100];
		void *want;
		bool ok;

		if (t->kind != TENSOR_OUTPUT || !v)
			continue;
		if (t->dtype != v->type || t->ndim != v->ndim ||
		    memcmp(t->dim, v->dim, (size_t)t->ndim * 8))
			return bad(r, "shape", "%s is %s [%s] here, not %s [%s]", t->name,
				   dtype_name(t->dtype), dims_text(t->ndim, t->dim, one),
				   type_text(v->type), dims_text(v->ndim, v->dim, other));
		if (off[v - r->m->val])
			continue;
		want = read_bytes(r->dir, "ort", t->name, tensor_bytes(t));
		if (!want)
			return bad(r, "ort size", "%s has another size than %zu bytes", t->name,
				   tensor_bytes(t));
		ok = same(r, "ort", t, want, EVAL_FP32);
		free(want);
		if (!ok)
			return false;
		compared++;
	}
	r->v->judged[JUDGE_ORT] = compared > 0;
	return true;
}

/* What the model's training step reads besides its own inputs. */
static bool write_training(struct run *r)
{
	static const char *const names[] = { "labels", "target", "lr" };

	for (int i = 0; i < r->module->num_tensors; i++)
		for (int k = 0; k < 3; k++) {
			const struct tensor *t = r->module->tensors[i];
			char path[700];
			FILE *f;

			if (t->kind != TENSOR_INPUT || strcmp(t->name, names[k]))
				continue;
			snprintf(path, sizeof(path), "%s/in_%s.bin", r->dir, t->name);
			f = fopen(path, "wb");
			if (!f || fwrite(r->start[i], 1, tensor_bytes(t), f) != tensor_bytes(t) ||
			    fclose(f))
				return bad(r, "files", "%s cannot be written", path);
		}
	return true;
}

static bool is_trained(const struct run *r, const char *name)
{
	const struct val *v = val_of(r->m, name);

	for (int i = 0; v && v->weight && i < r->g->num_updates; i++)
		if (!strcmp(r->g->updates[i]->update_of->name, name))
			return true;
	return false;
}

static bool is_loss(const struct tensor *t)
{
	return !strcmp(t->name, "loss");
}

/* An element that is farther from PyTorch's than it may be, -1: none. The change is what is
 * compared, not the weight. */
static ssize_t far_from_torch(struct run *r, const struct tensor *t, const float *want, bool noisy)
{
	const float *got = r->data[EVAL_FP32][t->id], *was = r->start[t->id];
	double most = 0, size = 0, spread = 0;
	size_t n = tensor_count(t);

	if (noisy)
		spread = largest_of(noise(r, t, EVAL_FP32), n);
	for (size_t k = 0; k < n; k++) {
		most = fmax(most, fabs((double)want[k] - (is_loss(t) ? 0 : was[k])));
		size = fmax(size, fabs(want[k]));
	}
	for (size_t k = 0; k < n; k++) {
		if (got[k] == want[k] || (isnan(got[k]) && isnan(want[k])))
			continue; /* infinities, which have no distance */
		if (!(fabs((double)got[k] - want[k]) <=
		      2e-3 * most + 2e-6 * size + NOISE_TIMES * spread +
			      64 * fabs(wide_element(r, t, k) - (double)got[k])))
			return (ssize_t)k;
	}
	return -1;
}

/* Weights after a step, and the loss, against PyTorch in double. */
static bool ask_torch(struct run *r)
{
	int compared = 0;

	if (!r->m->train || r->fp32_stops)
		return true;
	if (!write_training(r))
		return false;
	if (!judge_ask(SERVER_TORCH, r->dir, r->v->declined[SERVER_TORCH],
		       sizeof(r->v->declined[0])))
		return true;
	evaluate(r, 1, true);
	for (int i = 0; i < r->module->num_tensors; i++) {
		const struct tensor *t = r->module->tensors[i];
		float *want, *got = r->data[EVAL_FP32][i], *was = r->start[i];
		ssize_t at;

		if (t->dtype != RDU_DT_F32 || !visible(r, t) ||
		    (!is_loss(t) && !is_trained(r, t->name)))
			continue;
		want = read_bytes(r->dir, "torch", t->name, tensor_bytes(t));
		if (!want)
			return bad(r, "torch", "%s is not among PyTorch's results", t->name);
		at = far_from_torch(r, t, want, false);
		if (at >= 0)
			at = far_from_torch(r, t, want, true);
		if (at >= 0)
			return bad(r, "torch", "%s[%zd] was %.9g and becomes %.9g, not %.9g",
				   t->name, at, was[at], got[at], want[at]);
		free(want);
		compared++;
	}
	if (!compared)
		return bad(r, "torch", "nothing is trained");
	r->v->judged[JUDGE_TORCH] = true;
	return true;
}

/* ---- all of it --------------------------------------------------------------------------------- */

static void describe(const struct model *m, const struct config *c, struct verdict *v)
{
	size_t n = 0;

	v->num_nodes = m->num_nodes;
	n += (size_t)snprintf(v->ops, sizeof(v->ops), "%s %s,", c->chip.name,
			      c->bf16 ? "bf16" : "fp32");
	for (int k = 0; k < m->num_nodes && n < sizeof(v->ops) - 30; k++)
		n += (size_t)snprintf(v->ops + n, sizeof(v->ops) - n, " %s", m->node[k].op);
}

void run_case(struct model *m, const struct config *c, const char *dir, struct verdict *v)
{
	struct run r = { .m = m, .c = c, .dir = dir, .v = v };
	char error[4096] = "", check[300];
	bool ok = true;

	v->kind = VERDICT_PASS;
	describe(m, c, v);
	make_data(m);
	if (!m->num_outputs)
		return;
	if (model_write(m, dir)) {
		bad(&r, "files", "%s cannot be written to", dir);
		return;
	}
	if (!front(&r, error, sizeof(error))) {
		v->kind = VERDICT_REFUSED;
		snprintf(v->text, sizeof(v->text), "%s", error);
		if (!*error)
			bad(&r, "front", "refused without a text");
		return;
	}
	for (int e = 0; e < r.module->num_entries && ok; e++)
		for (int k = 0; k < r.module->entries[e].num_nests && ok; k++)
			if (nest_check(r.module->entries[e].nests[k], check, sizeof(check)))
				ok = bad(&r, "nest_check", "%s", check);
	if (!ok)
		return;
	set_up(&r);
	mark_rounded(&r);
	if (m->train) {
		evaluate(&r, 1, true);
		evaluate(&r, 0, false);
	} else {
		evaluate(&r, 0, true);
	}
	ok = only_about(&r, "ort") || only_about(&r, "shape") || only_about(&r, "torch") ||
	     back(&r);
	if (ok && stops(&r))
		return;
	if (ok && (!v->only[0] || only_about(&r, "ort") || only_about(&r, "shape")))
		ok = ask_ort(&r);
	if (ok && (!v->only[0] || only_about(&r, "torch")))
		ask_torch(&r);
}
