// SPDX-License-Identifier: MIT
/* The compiler as a library: rduc.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include "compile.h"
#include "rdu_card.h"

#undef free /* what is freed here outlives a compile */

#define EXPORT __attribute__((visibility("default")))

/* ---- objects ------------------------------------------------------------------------- */

static void drop_outputs(struct rduc *c)
{
	for (int i = 0; i < RDUC_OUTPUTS; i++) {
		struct text *t = &c->out[i];

		free(t->data);
		*t = (struct text){ .write = t->write, .write_arg = t->write_arg };
	}
}

static void drop_results(struct rduc *c)
{
	drop_outputs(c);
	for (unsigned int i = 0; i < c->num_diagnostics; i++)
		free(c->diagnostic[i].text);
	free(c->diagnostic);
	c->diagnostic = NULL;
	c->num_diagnostics = 0;
}

EXPORT int rduc_new(struct rduc **c)
{
	struct rduc *n = calloc(1, sizeof(*n));

	*c = n;
	if (!n)
		return -ENOMEM;
	n->error = malloc(ERROR_SIZE);
	if (!n->error) {
		free(n);
		*c = NULL;
		return -ENOMEM;
	}
	n->error[0] = 0;
	n->want[RDUC_PROGRAM] = true;
	settings_init(&n->set);
	return 0;
}

EXPORT void rduc_free(struct rduc *c)
{
	if (!c)
		return;
	drop_results(c);
	settings_free(&c->set);
	free(c->error);
	free(c);
}

EXPORT const char *rduc_error_text(const struct rduc *c)
{
	return c ? c->error : "out of memory";
}

EXPORT const char *rduc_version(void)
{
	return RDU_VERSION;
}

int compile_fail(struct rduc *c, int ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->error, ERROR_SIZE, fmt, ap);
	va_end(ap);
	return ret;
}

static int busy(struct rduc *c)
{
	return atomic_load(&c->running) ? -EBUSY : 0; /* its texts are the other thread's */
}

EXPORT int rduc_set(struct rduc *c, const char *name, const char *value)
{
	int ret = busy(c);

	if (ret)
		return ret;
	if (!name || !value)
		return compile_fail(c, -EINVAL, "an option has a name and a value");
	return settings_set(&c->set, name, value, c->error, ERROR_SIZE);
}

EXPORT void rduc_set_progress(struct rduc *c, void (*progress)(void *arg, const char *what),
			      void *arg)
{
	c->progress = (struct progress){ progress, arg };
}

EXPORT void rduc_set_log(struct rduc *c, void (*log)(void *arg, const char *text, size_t size),
			 void *arg)
{
	c->log = log;
	c->log_arg = arg;
}

static int no_output(struct rduc *c, enum rduc_output what)
{
	int ret = busy(c);

	if (!ret && (unsigned int)what >= RDUC_OUTPUTS)
		ret = compile_fail(c, -EINVAL, "there is no output number %d", (int)what);
	return ret;
}

EXPORT int rduc_want(struct rduc *c, enum rduc_output what)
{
	int ret = no_output(c, what);

	if (!ret)
		c->want[what] = true;
	return ret;
}

EXPORT int rduc_set_output(struct rduc *c, enum rduc_output what,
			   int (*write)(void *arg, const void *data, size_t size), void *arg)
{
	int ret = no_output(c, what);

	if (ret)
		return ret;
	c->out[what].write = write;
	c->out[what].write_arg = arg;
	return 0;
}

EXPORT const void *rduc_output(const struct rduc *c, enum rduc_output what, size_t *size)
{
	const struct text *t = (unsigned int)what < RDUC_OUTPUTS ? &c->out[what] : NULL;

	if (size)
		*size = t ? t->size : 0;
	return t ? t->data : NULL;
}

EXPORT const char *rduc_diagnostic(const struct rduc *c, unsigned int index,
				   enum rduc_severity *severity)
{
	if (index >= c->num_diagnostics)
		return NULL;
	if (severity)
		*severity = c->diagnostic[index].severity;
	return c->diagnostic[index].text;
}

EXPORT void rduc_cancel(struct rduc *c)
{
	atomic_store(&c->cancelled, true);
}

/* ---- diagnostics --------------------------------------------------------------------- */

static void diagnose(struct rduc *c, enum rduc_severity severity, const char *text, size_t length)
{
	struct diagnostic *more =
		realloc(c->diagnostic, (c->num_diagnostics + 1) * sizeof(*c->diagnostic));
	char *copy = more ? strndup(text, length) : NULL;

	if (more)
		c->diagnostic = more;
	if (!copy)
		out_of_memory("a diagnostic");
	c->diagnostic[c->num_diagnostics++] = (struct diagnostic){ severity, copy };
}

void compile_note(struct rduc *c, const char *text)
{
	diagnose(c, RDUC_NOTE, text, strlen(text));
}

/* Of the report. */
static void remark(void *arg, const char *text)
{
	diagnose(arg, RDUC_REMARK, text, strlen(text));
}

/* Where training isn't what PyTorch would do. */
static void note_rounds(struct rduc *c, struct graph *g)
{
	for (int i = 0; i < g->num_nodes; i++)
		if (!strcmp(g->nodes[i]->op->name, "Round") && g->nodes[i]->out[0]->grad)
			compile_note(c, graph_format(g,
						     "node '%s' (Round) is straight-through here; "
						     "PyTorch's gradient is 0",
						     g->nodes[i]->name));
}

/* Is a node in the mode that trains, as far as the file says it? */
static bool in_training_mode(const struct node *n)
{
	const struct value *v = node_in(n, 2);
	const struct attr *a = v && v->producer ? node_attr(v->producer, "value") : NULL;
	const void *data = a && a->kind == ATTR_TENSOR ? a->tensor->data : v ? v->data : NULL;

	if (!strcmp(n->op->name, "BatchNormalization"))
		return attr_i(n, "training_mode", 0);
	return v && (!data || *(const char *)data);
}

/* Of a model that is trained, what is in the file as it is for inference; of another one, the reverse. */
static void note_modes(struct rduc *c, struct graph *g)
{
	static const struct {
		const char *op, *does, *trains;
	} modes[] = { { "Dropout", "drops nothing", "drops" },
		      { "BatchNormalization", "normalizes with its stored statistics",
			"normalizes with statistics of the batch" } };

	for (size_t k = 0; k < sizeof(modes) / sizeof(modes[0]); k++) {
		const struct node *first = NULL;
		int num = 0;

		for (int i = 0; i < g->num_nodes; i++) {
			const struct node *n = g->nodes[i];

			if (strcmp(n->op->name, modes[k].op) || in_training_mode(n) == c->set.train)
				continue;
			first = first ? first : n;
			num++;
		}
		if (first && !c->set.train)
			compile_note(c,
				     graph_format(g,
						  "%s %s: the file has %d in training mode "
						  "(the first: '%s')",
						  modes[k].op, modes[k].trains, num, first->name));
		else if (first)
			compile_note(c, graph_format(g,
						     "%s %s in training, too: the file has %d "
						     "not in training mode (the first: '%s')",
						     modes[k].op, modes[k].does, num, first->name));
	}
}

/* A statistic that no step can keep: it is a Constant, an input, or computed. */
static bool is_computed(const struct value *v)
{
	while (v->producer && !strcmp(v->producer->op->name, "Identity"))
		v = v->producer->in[0];
	return v->kind != TENSOR_WEIGHT || v->producer;
}

/* Of a model that is trained: all entry points take the batch's own. */
static void note_statistics(struct rduc *c, struct graph *g)
{
	const struct node *first = NULL;
	int num = 0;

	for (int i = 0; i < g->num_nodes; i++) {
		const struct node *n = g->nodes[i];

		if (strcmp(n->op->name, "BatchNormalization") || !in_training_mode(n) ||
		    !(is_computed(n->in[3]) || is_computed(n->in[4])))
			continue;
		first = first ? first : n;
		num++;
	}
	if (first)
		compile_note(c, graph_format(g,
					     "the statistics of %d BatchNormalization are no "
					     "initializers (the first: '%s'): none are kept, and "
					     "forward and evaluate take those of the batch, too",
					     num, first->name));
}

/* ONNX says another order now than its versions that have the operator. */
static void note_caps(struct rduc *c, struct graph *g)
{
	for (int i = 0; i < g->num_nodes; i++) {
		const struct node *n = g->nodes[i];
		const struct value *mask = node_in(n, 3);

		if (!strcmp(n->op->name, "Attention") && !n->op->domain && mask &&
		    mask->dtype != RDU_DT_BOOL && attr_f(n, "softcap", 0) != 0)
			compile_note(
				c,
				graph_format(g,
					     "node '%s' (Attention): numbers of its mask are added "
					     "before softcap, as in ONNX 1.20; later versions add "
					     "them behind it",
					     n->name));
	}
}

static void note_beyond(struct rduc *c, struct graph *g)
{
	if (g->first_beyond)
		compile_note(
			c,
			graph_format(g,
				     "'%s' has no window that starts behind its input, which the "
				     "file counts: sizes that it declares from there on are not "
				     "compared",
				     g->first_beyond));
}

static void note_defaults(struct rduc *c, struct graph *g)
{
	bool more = g->num_defaults > 1;

	if (g->num_defaults)
		compile_note(
			c,
			graph_format(g,
				     "%d input%s (the first: '%s') keep%s the value in the file; "
				     "--shape NAME=D,D,... makes one an input",
				     g->num_defaults, more ? "s" : "", g->default_input,
				     more ? "" : "s"));
}

/* Of weights with zeros that are multiplied all the same. */
static void note_blocks(struct rduc *c, struct graph *g)
{
	if (g->num_blank)
		compile_note(c,
			     graph_format(g,
					  "%d weight%s (the first: '%s') ha%s zeros to leave out; "
					  "--sparse-weights always leaves them out",
					  g->num_blank, g->num_blank > 1 ? "s" : "", g->first_blank,
					  g->num_blank > 1 ? "ve" : "s"));
	if (g->num_kept)
		compile_note(c,
			     graph_format(g,
					  "%d weight%s (the first: '%s') with zeros to leave out: "
					  "products are dense, %s",
					  g->num_kept, g->num_kept > 1 ? "s" : "", g->first_kept,
					  g->trained ? "in training only blocks are left out"
						     : "for two of four weights must be constant"));
	if (g->num_bound)
		compile_note(
			c,
			graph_format(g,
				     "%d weight%s (the first: '%s') with two of each four terms: "
				     "products are dense, of so many rows that loading less "
				     "would not make them faster",
				     g->num_bound, g->num_bound > 1 ? "s" : "", g->first_bound));
	if (g->num_long)
		compile_note(c,
			     graph_format(g,
					  "%d weight%s (the first: '%s') with zeros to leave out: "
					  "products are dense, their sums have more terms than a "
					  "scratchpad holds "
					  "(%" PRId64 ")",
					  g->num_long, g->num_long > 1 ? "s" : "", g->first_long,
					  g->first_most));
}

/* The reasons that graph_report() listed, or the one that there is. */
static void diagnose_error(struct rduc *c)
{
	const char *at = strstr(c->error, " reasons against it:\n  "), *end;

	if (!at || strspn(c->error, "0123456789") != (size_t)(at - c->error)) {
		diagnose(c, RDUC_ERROR, c->error, strlen(c->error));
		return;
	}
	for (at = strchr(at, '\n'); at; at = *end ? end : NULL) {
		at += 3;
		end = strstr(at, "\n  ");
		if (!end)
			end = at + strlen(at);
		diagnose(c, RDUC_ERROR, at, (size_t)(end - at));
	}
}

/* ---- compiling ----------------------------------------------------------------------- */

bool compile_prints(const struct rduc *c, const char *pass)
{
	const char *s = c->set.print_after;
	size_t n = strlen(pass);

	for (; c->log && s && *s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL)
		if ((!strncmp(s, pass, n) && (!s[n] || s[n] == ',')) ||
		    (!strncmp(s, "all", 3) && (!s[3] || s[3] == ',')))
			return true;
	return false;
}

/* ---- what a program file says of its inputs and its training -------------------------- */

/* Properties: the loss and the optimizer. */
static const char *training_meta(const struct settings *s, struct graph *g)
{
	char *text =
		graph_format(g, "loss %s\noptimizer %s\n", s->training.loss, settings_optimizer(s));

	if (s->training.accumulate > 1)
		text = graph_format(g, "%saccumulate %" PRId64 "\n", text, s->training.accumulate);
	if (g->steps)
		text = graph_format(g, "%ssteps_per_run %" PRId64 "\n", text, g->steps);
	if (g->num_classes)
		text = graph_format(g, "%sbelow.labels %" PRId64 "\n", text, g->num_classes);
	return text;
}

/* Behind other properties: what the numbers of inputs, which are called SCOPE..., are below. */
static const char *inputs_meta(struct graph *g, const char *text, const char *scope)
{
	for (int i = 0; i < g->num_values; i++) {
		const struct value *v = g->values[i];
		char name[64];
		int64_t rows;

		if (v->kind != TENSOR_INPUT || !dtype_is_int(v->dtype))
			continue;
		rows = graph_rows_of(g, v);
		rduc_symbol_name(name, graph_format(g, "%s%s", scope, v->name));
		if (rows && !strpbrk(name, " \n"))
			text = graph_format(g, "%sbelow.%s %" PRId64 "\n", text, name, rows);
	}
	return text;
}

/* ---- the passes ---------------------------------------------------------------------- */

/* Terms of which a scratchpad holds all for as many rows as an array has columns, in two copies. */
static int64_t most_terms(const struct rdu_chip *chip)
{
	int64_t words = chip->pmu_bytes / 8;

	return chip->systolic_cols ? words * 2 / chip->systolic_cols : words / chip->simd_stages;
}

/* Products of a tile in a cycle, of arrays if it has them. */
static double most_macs(const struct rdu_chip *chip)
{
	return (double)rdu_chip_pcus_per_tile(chip) * chip->lanes *
	       (chip->systolic_cols ? chip->systolic_cols : chip->simd_stages);
}

int compile_simplify(struct run *r, struct graph *g)
{
	struct rduc *c = r->c;

	if (compile_prints(c, "import"))
		graph_print(g, r->log);
	progress_say(&c->progress, "simplify");
	g->arrays = r->chip.systolic_cols;
	g->trained = c->set.train;
	g->unbiased = c->set.training.unbiased;
	g->sparse = c->set.sparse;
	g->most_terms = most_terms(&r->chip);
	g->most_words = r->chip.pmu_bytes / 8;
	g->lanes = r->chip.lanes;
	g->macs_per_byte = most_macs(&r->chip) * (c->set.opt.tiles ? c->set.opt.tiles : 1) *
			   r->chip.clock_khz / (r->chip.dram_mbps * 1000.0);
	if (c->set.opt.opt)
		g->most_unpacked = (int64_t)rdu_chip_pmus_per_tile(&r->chip) *
				   (c->set.opt.tiles ? c->set.opt.tiles : 1) / 2 *
				   (r->chip.pmu_bytes / 4);
	if (graph_simplify(g))
		return -1;
	note_blocks(c, g);
	if (compile_prints(c, "simplify"))
		graph_print(g, r->log);
	return 0;
}

/* The passes up to the nests; NULL with a text. */
static struct module *front(struct run *r, struct graph *g)
{
	struct rduc *c = r->c;
	struct module *m;

	for (int i = 0; c->set.train && i < g->num_values; i++)
		if (g->values[i]->model_state) {
			graph_error(g,
				    "state '%s': a model that is trained has none; one of another "
				    "entry point (--entry) may have",
				    g->values[i]->name);
			return NULL;
		}
	note_modes(c, g);
	if (c->set.train)
		note_statistics(c, g);
	note_defaults(c, g);
	note_caps(c, g);
	if (compile_simplify(r, g))
		return NULL;
	note_beyond(c, g);
	if (c->set.train) {
		progress_say(&c->progress, "differentiate");
		if (graph_differentiate(g, &c->set.training))
			return NULL;
		note_rounds(c, g);
		if (compile_prints(c, "differentiate"))
			graph_print(g, r->log);
	}
	progress_say(&c->progress, "patterns");
	m = graph_patterns(g);
	if (m && compile_prints(c, "patterns"))
		for (int e = 0; e < m->num_entries; e++)
			module_entry_print(&m->entries[e], r->log);
	return m;
}

/* ---- further entry points -------------------------------------------------------------- */

/* The entry point whose input goes by this name, NAME/...; *name goes on behind that. NULL: the first
 * model's. */
static const char *entry_of(const struct settings *s, const char **name)
{
	for (int k = 0; k < s->num_entries; k++) {
		size_t n = strlen(s->entries[k].name);

		if (!strncmp(*name, s->entries[k].name, n) && (*name)[n] == '/') {
			*name += n + 1;
			return s->entries[k].name;
		}
	}
	return NULL;
}

/* Shapes and values of an entry point's inputs, by the model's own names. NULL: of the first model's. */
static void own_inputs(const struct run *r, const char *name, struct import_options *to)
{
	const struct settings *s = &r->c->set;
	struct import_shape *shapes = xcalloc((size_t)s->import.num_shapes + 1, sizeof(*shapes));
	struct import_value *values = xcalloc((size_t)s->import.num_values + 1, sizeof(*values));

	to->shapes = shapes;
	to->values = values;
	to->num_shapes = to->num_values = 0;
	to->dims = r->dim;
	to->num_dims = s->num_sizes;
	for (int i = 0; i < s->import.num_shapes; i++) {
		struct import_shape shape = s->import.shapes[i];

		if (entry_of(s, &shape.name) == name)
			shapes[to->num_shapes++] = shape;
	}
	for (int i = 0; i < s->import.num_values; i++) {
		struct import_value value = s->import.values[i];

		if (entry_of(s, &value.name) == name)
			values[to->num_values++] = value;
	}
}

/* What went wrong is said of the entry point and its file. */
static void blame_entry(struct rduc *c, const struct entry_file *f)
{
	char *text = xstrdup(c->error);

	snprintf(c->error, ERROR_SIZE, "entry point %s, %s: %s", f->name, f->path, text);
	xfree(text);
}

/* All of a model is in its graph now. */
static void drop_bytes(void **data)
{
	xfree(*data);
	*data = NULL;
}

/* Number i of them joins the module. Its graph; NULL with a text. */
static struct graph *entry_graph(struct run *r, int i, const struct graph *first, struct module *m)
{
	struct rduc *c = r->c;
	const struct entry_file *f = &c->set.entries[i];
	struct import_options opt = c->set.import;
	struct shapes shapes = { .name = f->name,
				 .model = r->entry[i].data,
				 .size = r->entry[i].size,
				 .opt = &opt,
				 .first = first };
	struct graph *g;

	opt.train_only = opt.freeze = opt.no_decay = (struct name_patterns){ 0 };
	opt.first = first;
	opt.path = f->path;
	own_inputs(r, f->name, &opt);
	g = graph_import(r->entry[i].data, r->entry[i].size, &opt, c->error, ERROR_SIZE);
	if (g && !c->set.train)
		note_modes(c, g);
	if (g)
		note_defaults(c, g);
	if (g && (compile_simplify(r, g) || graph_patterns_entry(g, m, f->name))) {
		graph_free(g);
		g = NULL;
	}
	if (g && compile_prints(c, "patterns"))
		module_entry_print(&m->entries[m->num_entries - 1], r->log);
	if (g && shape_entries(r, &shapes, g, m, graph_format(g, "%s/", f->name))) {
		graph_free(g);
		g = NULL;
	}
	xfree((void *)opt.shapes);
	drop_bytes(&r->entry[i].data);
	if (!g)
		blame_entry(c, f);
	return g;
}

/* Every --state is one of some graph's. */
static int check_states(struct rduc *c, struct graph *const *g, int num)
{
	for (int i = 0; i < c->set.import.num_states; i++) {
		const struct import_state *s = &c->set.import.states[i];
		bool found = false;

		for (int k = 0; k < num; k++)
			for (int v = 0; v < g[k]->num_values; v++)
				found |= g[k]->values[v]->model_state &&
					 import_state_output(g[k], s, g[k]->values[v]->name);
		if (!found) {
			compile_fail(c, -EINVAL, "--state %s=%s: no model has such an input", s->in,
				     s->out);
			return -1;
		}
	}
	return 0;
}

/* What goes from token to token, of decode's graph. */
static int token_entries(struct run *r, const struct entry_file *f, struct graph *g,
			 struct module *m, const char **meta)
{
	int64_t n = r->c->set.tokens;

	if (graph_tokens(g, m, n, r->c->set.greedy)) {
		blame_entry(r->c, f);
		return -1;
	}
	if (compile_prints(r->c, "patterns"))
		module_entry_print(&m->entries[m->num_entries - 2], r->log);
	*meta = graph_format(g, "%stokens_per_run %" PRId64 "\n", *meta, n);
	return 0;
}

/* All of them. g[0] is the first model's graph. */
static int more_entries(struct run *r, struct graph **g, struct module *m, const char **meta)
{
	const struct settings *s = &r->c->set;
	int num = 1;

	for (; num <= s->num_entries; num++) {
		g[num] = entry_graph(r, num - 1, g[0], m);
		if (!g[num])
			return -1;
		*meta = inputs_meta(g[num], *meta,
				    graph_format(g[num], "%s/", s->entries[num - 1].name));
		if (s->tokens && !strcmp(s->entries[num - 1].name, "decode") &&
		    token_entries(r, &s->entries[num - 1], g[num], m, meta))
			return -1;
	}
	return check_states(r->c, g, num);
}

static void compile(void *arg)
{
	struct run *r = arg;
	struct rduc *c = r->c;
	struct rduc_options opt = c->set.opt;
	struct graph **g = xcalloc((size_t)c->set.num_entries + 1, sizeof(*g));
	struct import_options import = c->set.import;
	struct shapes shapes = {
		.name = "forward", .model = r->model, .size = r->size, .opt = &import
	};
	struct module *m = NULL;

	opt.chip = &r->chip;
	opt.model = r->name;
	opt.program = c->out[RDUC_PROGRAM].f;
	opt.report = c->out[RDUC_REPORT].f;
	opt.report_json = c->out[RDUC_REPORT_JSON].f;
	opt.floor_plan = c->out[RDUC_FLOOR_PLAN].f;
	opt.dot = c->out[RDUC_GRAPH].f;
	opt.summary = c->out[RDUC_SUMMARY].f;
	opt.print_after = r->log ? c->set.print_after : NULL;
	opt.log = r->log;
	opt.progress = &c->progress;
	opt.note = remark;
	opt.note_arg = c;
	r->ret = -EINVAL;
	r->dim = xcalloc((size_t)c->set.num_sizes + 1, sizeof(*r->dim));
	largest_sizes(r);
	own_inputs(r, NULL, &import);
	import.path = r->path;
	g[0] = graph_import(r->model, r->size, &import, c->error, ERROR_SIZE);
	if (!c->set.num_sizes) /* nor will it be read again for other shapes */
		drop_bytes(&r->file);
	if (g[0])
		m = front(r, g[0]);
	shapes.first = g[0];
	if (m && shape_entries(r, &shapes, g[0], m, "")) {
		module_free(m);
		m = NULL;
	}
	drop_bytes(&r->file);
	if (m)
		opt.meta = inputs_meta(g[0], c->set.train ? training_meta(&c->set, g[0]) : "", "");
	if (m && !more_entries(r, g, m, &opt.meta) && !check_dims(r) &&
	    !rduc_backend(m, &opt, NULL, c->error, ERROR_SIZE))
		r->ret = 0;
	if (!r->ret && c->set.train && c->out[RDUC_PARAMETERS].f)
		graph_print_parameters(g[0], c->out[RDUC_PARAMETERS].f);
	if (r->ret)
		diagnose_error(c);
	module_free(m);
	for (int i = 0; i <= c->set.num_entries; i++)
		graph_free(g[i]);
	xfree((void *)import.shapes);
	xfree(r->dim);
	xfree(g);
}

/* A large block moves without being copied, as open_memstream()'s would not. */
static ssize_t write_text(void *arg, const char *data, size_t size)
{
	struct text *t = arg;

	if (t->size + size >= t->room) {
		size_t room = (t->size + size) * 3 / 2 + 4096;
		char *more = realloc(t->data, room);

		if (!more)
			return 0;
		t->data = more;
		t->room = room;
	}
	memcpy(t->data + t->size, data, size);
	t->size += size;
	t->data[t->size] = 0;
	return (ssize_t)size;
}

static ssize_t hand_out(void *arg, const char *data, size_t size)
{
	struct text *t = arg;

	if (!t->ret)
		t->ret = t->write(t->write_arg, data, size);
	errno = -t->ret;
	return t->ret ? 0 : (ssize_t)size;
}

/* Texts to write into; no pass allocates for them. */
static int open_results(struct rduc *c)
{
	static const cookie_io_functions_t keeps = { .write = write_text },
					   hands = { .write = hand_out };

	for (int i = 0; i < RDUC_OUTPUTS; i++) {
		struct text *t = &c->out[i];

		if (!c->want[i] || (i == RDUC_PARAMETERS && !c->set.train))
			continue;
		t->f = fopencookie(t, "w", t->write ? hands : keeps);
		if (!t->f)
			return -ENOMEM;
		if (t->write)
			continue;
		write_text(t, "", 0); /* no text is one, too */
		if (!t->data)
			return -ENOMEM;
	}
	return 0;
}

/* 0, -ENOMEM: one of them is not whole, or what who was handed one said. */
static int close_results(struct rduc *c)
{
	int ret = 0;

	for (int i = 0; i < RDUC_OUTPUTS; i++) {
		struct text *t = &c->out[i];
		bool whole;
		char *less;

		if (!t->f)
			continue;
		whole = !ferror(t->f);
		whole &= !fclose(t->f);
		t->f = NULL;
		if (!whole)
			ret = t->ret ? compile_fail(c, t->ret, "%s", strerror(-t->ret)) : -ENOMEM;
		less = t->data ? realloc(t->data, t->size + 1) : NULL;
		if (less)
			t->data = less;
	}
	return ret;
}

static ssize_t write_log(void *arg, const char *text, size_t size)
{
	struct rduc *c = arg;

	c->log(c->log_arg, text, size);
	return (ssize_t)size;
}

static int run(struct rduc *c, struct run *r)
{
	static const cookie_io_functions_t calls = { .write = write_log };
	struct heap heap = { .limit = c->set.memory, .cancelled = &c->cancelled };
	int ret = open_results(c), closed;

	if (c->log && c->set.print_after && !ret) {
		r->log = fopencookie(c, "w", calls);
		ret = r->log ? 0 : -ENOMEM;
	}
	if (!ret) {
		switch (heap_run(&heap, compile, r)) {
		case HEAP_DONE:
			ret = r->ret;
			break;
		case HEAP_NO_MEMORY:
			ret = -ENOMEM;
			break;
		case HEAP_CANCELLED:
			ret = compile_fail(c, -ECANCELED, "cancelled");
			break;
		}
	}
	if (r->log)
		fclose(r->log);
	closed = close_results(c);
	ret = closed ? closed : ret;
	if (ret == -ENOMEM)
		compile_fail(c, ret, "out of memory%s%s%s", heap.why[0] ? ": " : "", heap.why,
			     heap.limit ? ", with the limit that was set" : "");
	return ret;
}

/* The files of further entry points. */
static int read_entries(struct rduc *c, struct run *r)
{
	const struct settings *s = &c->set;
	char why[4096];

	r->entry = calloc((size_t)s->num_entries + 1, sizeof(*r->entry));
	if (!r->entry)
		return compile_fail(c, -ENOMEM, "out of memory");
	for (int i = 0; i < s->num_entries; i++) {
		r->entry[i].data =
			read_whole_file(s->entries[i].path, &r->entry[i].size, why, sizeof(why));
		if (!r->entry[i].data)
			return compile_fail(c, -EIO, "--entry %s: %s", s->entries[i].name, why);
	}
	return 0;
}

/* Is there an entry point to go from token to token with, and are the names free? */
static int check_token_entries(struct rduc *c)
{
	bool found = false;

	for (int i = 0; i < c->set.num_entries; i++) {
		const char *name = c->set.entries[i].name;

		found |= !strcmp(name, "decode");
		if (!strcmp(name, "generate") || !strcmp(name, "generate_step"))
			return compile_fail(
				c, -EINVAL,
				"--entry %s: --tokens-per-run makes an entry point that is "
				"called so",
				name);
	}
	return found ? 0
		     : compile_fail(c, -EINVAL,
				    "--tokens-per-run: there is no entry point decode; --entry "
				    "decode=FILE.onnx makes one");
}

/* Of a file, or of bytes (path NULL). */
static int start(struct rduc *c, const char *path, const void *model, size_t size)
{
	struct settings *s = &c->set;
	struct run r = { .c = c, .model = model, .size = size, .path = path, .name = s->name };
	const char *chip = s->chip ? s->chip : "sn10", *slash = path ? strrchr(path, '/') : NULL;
	const char *needs, *unused = settings_unused(s, &needs);
	char why[4096];
	int ret = 0;

	if (rdu_chip_find(chip, &r.chip, why, sizeof(why)))
		return compile_fail(c, -ENOENT, "--chip %s: %s", chip, why);
	if (s->greedy && !s->tokens)
		return compile_fail(c, -EINVAL, "--greedy is for --tokens-per-run");
	if (unused)
		return compile_fail(c, -EINVAL, "--%s is for %s", unused, needs);
	if (s->train && s->import.constant_weights)
		return compile_fail(c, -EINVAL,
				    "--train and --constant-weights: nothing could be trained");
	if (s->tokens && check_token_entries(c))
		return -EINVAL;
	if (c->progress.say)
		c->progress.say(c->progress.arg, "import");
	if (path) {
		r.model = r.file = read_whole_file(path, &r.size, why, sizeof(why));
		if (!r.file)
			return compile_fail(c, -EIO, "%s", why);
		if (!r.name)
			r.name = slash ? slash + 1 : path;
	}
	if (!s->decay_given)
		s->training.weight_decay = s->training.optimizer == OPT_ADAMW ? 0.01f : 0;
	ret = read_entries(c, &r);
	if (!ret)
		ret = run(c, &r);
	for (int i = 0; r.entry && i < s->num_entries; i++)
		free(r.entry[i].data);
	free(r.entry);
	free(r.file);
	return ret;
}

static int compile_one(struct rduc *c, const char *path, const void *model, size_t size)
{
	int ret;

	if (atomic_exchange(&c->running, true))
		return -EBUSY;
	drop_results(c);
	c->error[0] = 0;
	ret = start(c, path, model, size);
	if (ret)
		drop_outputs(c);
	else
		c->error[0] = 0; /* what a pass tried, and did without */
	atomic_store(&c->cancelled, false);
	atomic_store(&c->running, false);
	return ret;
}

EXPORT int rduc_compile(struct rduc *c, const void *model, size_t size)
{
	return compile_one(c, NULL, model, size);
}

EXPORT int rduc_compile_file(struct rduc *c, const char *path)
{
	return compile_one(c, path, NULL, 0);
}
