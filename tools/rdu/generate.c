// SPDX-License-Identifier: MIT
/*
 * rdu generate: a language model goes on from a prompt. Entry point `decode` takes one token and
 * gives the logits of the next; what it keeps from token to token is state on the card. If there is
 * an entry point `prefill`, which takes several tokens, it has the prompt as far as it goes. The
 * first token is chosen here, of the prompt's last logits. If there is an entry point `generate`
 * (rduc --tokens-per-run), the card then goes on by itself, so many tokens a run; else each token
 * is chosen here.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "data.h"
#include "generate.h"

/* An entry point that takes tokens. */
struct step {
	const char *entry; /* NULL: there is none */
	const struct rdu_file_symbol *tokens, *position, *logits;
	unsigned int length, rows; /* tokens that it takes, and of how many of them it has logits */
};

/* What goes on by itself; its states are written before it is run first. */
struct on_card {
	unsigned int length; /* tokens of a run; 0: there is no such entry point */
	/* position, number: NULL, there is none */
	const struct rdu_file_symbol *token, *position, *number;
	bool greedy; /* it takes the likeliest token, whatever is asked for */
	int64_t *out; /* as it gives them: int64 */
};

/* What a phase took. */
struct phase {
	unsigned int tokens, runs;
	struct rdu_stats stats;
	double wall;
};

struct generator {
	struct session s;
	const char *device, *path, *weights, *results;
	bool wait;
	double want; /* tokens; below zero: not said */
	double want_run; /* tokens of a run of the card; below zero: not said */
	double end_token; /* the one behind which nothing comes; below zero: none */
	unsigned int sampler; /* number of the word */
	struct sampling sampling;
	struct prompt prompt;
	struct step prefill, decode;
	struct on_card card;
	unsigned int vocab, places; /* places: that the state has for tokens; 0: any number */
	unsigned int count; /* tokens to generate */
	unsigned int made; /* and those that are */
	unsigned int done; /* tokens that the model has seen */
	unsigned int *next; /* the tokens that a run gave */
	bool ended; /* by end_token */
	int64_t *numbers; /* what a run takes: tokens and positions */
	void *out; /* and gives */
	float *logits; /* of its last token */
	unsigned int *scratch;
	struct phase read, write;
};

/* ---- what the entry points take ----------------------------------------------------------- */

static const char *last_part(const char *name)
{
	const char *slash = strrchr(name, '/');

	return slash ? slash + 1 : name;
}

static uint64_t elements(const struct rdu_file_symbol *sym)
{
	return rdu_symbol_size(sym) / rdu_dtype_size(sym->dtype);
}

static int take_input(struct step *st, const struct rdu_file_symbol *sym)
{
	bool whole = sym->dtype == RDU_DT_I64 || sym->dtype == RDU_DT_I32;

	if (whole && strstr(last_part(sym->name), "position") && !st->position)
		st->position = sym;
	else if (whole && !strstr(last_part(sym->name), "position") && !st->tokens)
		st->tokens = sym;
	else
		return fail("entry point %s: input \"%s\" is neither its tokens nor their "
			    "position, and no state",
			    st->entry, sym->name);
	return 0;
}

static int take_output(struct step *st, const struct rdu_file_symbol *sym)
{
	if (st->logits && strcmp(last_part(sym->name), "logits"))
		return 0;
	st->logits = sym;
	return 0;
}

/* Its inputs and outputs; states: those that are kept from token to token. */
static int find_step(struct generator *g, struct step *st, int entry, unsigned int *states)
{
	unsigned int i;
	int ret = 0;

	st->entry = rdu_file_entry(g->s.file, entry);
	*states = 0;
	for (i = 0; i < rdu_file_num_symbols(g->s.file) && !ret; i++) {
		const struct rdu_file_symbol *sym = rdu_file_get_symbol(g->s.file, i);

		if (!(sym->entries >> entry & 1))
			continue;
		*states += !!(sym->flags & RDU_SYM_MODEL_STATE);
		if (sym->flags & RDU_SYM_INPUT)
			ret = take_input(st, sym);
		if (sym->flags & RDU_SYM_OUTPUT)
			ret = take_output(st, sym);
	}
	return ret;
}

static int check_step(struct step *st)
{
	const struct rdu_file_symbol *t = st->tokens, *y = st->logits, *p = st->position;

	if (!t || !y)
		return fail("entry point %s has no %s", st->entry,
			    t ? "output, for logits" : "input of whole numbers, for tokens");
	if ((y->dtype != RDU_DT_F32 && y->dtype != RDU_DT_BF16) || !y->ndim || !elements(y) ||
	    !elements(t))
		return fail("entry point %s: output \"%s\" is no logits, float32 or bfloat16 [..., "
			    "vocabulary]",
			    st->entry, y->name);
	if (t->ndim > 1 && t->dims[0] != 1)
		return fail(
			"entry point %s takes %lld sequences at once, one is generated: compile "
			"a model with batch 1",
			st->entry, (long long)t->dims[0]);
	st->length = elements(t);
	st->rows = elements(y) / y->dims[y->ndim - 1];
	if (st->rows != st->length && st->rows != 1)
		return fail("entry point %s: output \"%s\" has %u rows of logits for %u tokens",
			    st->entry, y->name, st->rows, st->length);
	if (p && elements(p) != 1 && elements(p) != st->length)
		return fail("entry point %s: input \"%s\" is no position of %u token%s", st->entry,
			    p->name, st->length, st->length == 1 ? "" : "s");
	return 0;
}

/* Tokens that there is room for: of states with places, [..., places, width], the least. */
static unsigned int count_places(const struct generator *g, int entry)
{
	unsigned int least = 0, i;

	for (i = 0; g->decode.position && i < rdu_file_num_symbols(g->s.file); i++) {
		const struct rdu_file_symbol *sym = rdu_file_get_symbol(g->s.file, i);

		if (!(sym->entries >> entry & 1) || !(sym->flags & RDU_SYM_MODEL_STATE) ||
		    sym->ndim < 3)
			continue;
		if (!least || sym->dims[sym->ndim - 2] < least)
			least = sym->dims[sym->ndim - 2];
	}
	return least;
}

/* Tokens that the model knows: those that it has logits of, and can look up. */
static unsigned int count_vocabulary(const struct generator *g)
{
	const struct rdu_file_symbol *y = g->decode.logits;
	const char *below;
	unsigned long rows, vocab = y->dims[y->ndim - 1];
	char key[sizeof(g->decode.tokens->name) + 8];

	snprintf(key, sizeof(key), "below.%s", g->decode.tokens->name);
	below = rdu_file_meta(g->s.file, key, NULL);
	rows = below ? strtoul(below, NULL, 10) : vocab;
	return rows < vocab ? rows : vocab;
}

static int find_steps(struct generator *g)
{
	int decode = rdu_file_find_entry(g->s.file, "decode"), prefill;
	unsigned int states, more;

	if (decode < 0)
		return fail("%s: it can't generate; rduc --entry decode=FILE.onnx makes one",
			    rdu_error_text(g->s.file));
	if (find_step(g, &g->decode, decode, &states) || check_step(&g->decode))
		return EXIT_FAIL;
	if (g->decode.length != 1)
		return fail("entry point decode takes %u tokens, not one", g->decode.length);
	if (!states)
		return fail("entry point decode has no state: it would know nothing of the tokens "
			    "before (rduc --state IN=OUT,...)");
	g->places = count_places(g, decode);
	g->vocab = count_vocabulary(g);
	prefill = rdu_file_find_entry(g->s.file, "prefill");
	if (prefill < 0)
		return 0;
	if (find_step(g, &g->prefill, prefill, &more) || check_step(&g->prefill))
		return EXIT_FAIL;
	if (more != states)
		return fail("entry point prefill has %u states, decode has %u", more, states);
	if (g->prefill.logits->dims[g->prefill.logits->ndim - 1] !=
	    g->decode.logits->dims[g->decode.logits->ndim - 1])
		return fail("entry points prefill and decode have other vocabularies");
	return 0;
}

/* ---- what goes on by itself ------------------------------------------------------------------ */

static const char *const samplers[] = { "auto", "card", "host", NULL };
enum { SAMPLER_AUTO, SAMPLER_CARD, SAMPLER_HOST };

static const struct rdu_file_symbol *find_symbol(const struct generator *g, const char *name)
{
	int sym = rdu_file_find_symbol(g->s.file, name);

	return sym < 0 ? NULL : rdu_file_get_symbol(g->s.file, sym);
}

/* How many tokens a run of the card gives; 0: they are chosen here. */
static int find_card(struct generator *g)
{
	const struct rdu_file_symbol *tokens = find_symbol(g, "generate/tokens");
	struct on_card *c = &g->card;
	int ret = 0;

	if (g->sampler == SAMPLER_HOST)
		return 0;
	c->token = find_symbol(g, "generate/last_token");
	c->position = find_symbol(g, "generate/position");
	c->number = find_symbol(g, "generate/number");
	c->greedy = !find_symbol(g, "generate/temperature");
	if (!tokens || tokens->dtype != RDU_DT_I64 || !elements(tokens) || !c->token ||
	    c->greedy != !c->number || !c->position != !g->decode.position) {
		if (g->sampler == SAMPLER_CARD || g->want_run >= 0)
			ret = fail("%s: the card can't go on by itself: rduc --tokens-per-run N "
				   "makes a program that can",
				   g->path);
		return ret;
	}
	if (c->greedy && g->sampling.temperature > 0) {
		if (g->sampler == SAMPLER_CARD || g->want_run >= 0)
			ret = fail("%s: its card takes the likeliest token always (rduc --greedy): "
				   "--sampler host leaves it to chance",
				   g->path);
		return ret;
	}
	c->length = elements(tokens);
	if (g->want_run >= 0 && g->want_run != 1 && g->want_run != c->length)
		return fail("--tokens-per-run %.0f: a run of %s gives %u tokens, or 1", g->want_run,
			    g->path, c->length);
	if (g->want_run == 1)
		c->length = 1;
	if (g->places && c->length > g->places)
		return fail("a run of %s gives %u tokens, it has places for %u: --tokens-per-run 1 "
			    "does one by one",
			    g->path, c->length, g->places);
	return 0;
}

static void put_number(void *to, uint32_t dtype, unsigned int i, unsigned int value)
{
	if (dtype == RDU_DT_I64)
		((int64_t *)to)[i] = value;
	else
		((int32_t *)to)[i] = (int32_t)value;
}

static int bind(struct generator *g, const char *name, void *to, size_t size)
{
	if (rdu_program_bind(g->s.prog, name, to, size))
		return fail("%s", rdu_error_text(g->s.prog));
	return 0;
}

static int bind_symbol(struct generator *g, const struct rdu_file_symbol *sym, void *to)
{
	return bind(g, sym->name, to, rdu_symbol_size(sym));
}

static int write_number(struct generator *g, const struct rdu_file_symbol *sym, unsigned int value)
{
	int64_t word = 0;

	if (!sym)
		return 0;
	put_number(&word, sym->dtype, 0, value);
	if (rdu_program_write(g->s.prog, sym->name, &word, rdu_symbol_size(sym)))
		return fail("%s", rdu_error_text(g->s.prog));
	return 0;
}

/* From the token on that was chosen last. */
static int start_card(struct generator *g)
{
	struct sampling *s = &g->sampling;
	size_t all = g->card.length * sizeof(*g->card.out);

	if (write_number(g, g->card.token, g->next[0]) ||
	    write_number(g, g->card.position, g->done) ||
	    write_number(g, g->card.number, g->made) ||
	    (!g->card.greedy &&
	     (bind(g, "generate/temperature", &s->temperature, sizeof(s->temperature)) ||
	      bind(g, "generate/top_k", &s->top_k, sizeof(s->top_k)) ||
	      bind(g, "generate/top_p", &s->top_p, sizeof(s->top_p)) ||
	      bind(g, "generate/seed", &s->seed, sizeof(s->seed)))) ||
	    bind(g, "generate/token", g->card.out, sizeof(*g->card.out)) ||
	    (g->card.length > 1 && bind(g, "generate/tokens", g->card.out, all)))
		return EXIT_FAIL;
	return 0;
}

/* A run of the card: `length` tokens, or one. */
static int run_card(struct generator *g, unsigned int num)
{
	struct rdu_stats stats;
	double start = now_seconds();
	unsigned int i;

	if (rdu_program_run(g->s.prog, num > 1 ? "generate" : "generate_step", &stats))
		return fail("token %u%s: %s", g->done, num > 1 ? ", or one of its run" : "",
			    rdu_error_text(g->s.prog));
	add_stats(&g->write.stats, &stats);
	g->write.wall += now_seconds() - start;
	g->write.tokens += num;
	g->write.runs++;
	g->done += num;
	for (i = 0; i < num; i++)
		g->next[i] = g->card.out[i];
	return 0;
}

/* ---- the loop ------------------------------------------------------------------------------ */

/* The next tokens, as many as an entry point takes. g->logits is of the last of them then. */
static int run_step(struct generator *g, const struct step *st, const unsigned int *token,
		    struct phase *phase)
{
	unsigned int width = st->logits->dims[st->logits->ndim - 1], i;
	int64_t *tokens = g->numbers, *position = g->numbers + st->length;
	struct rdu_stats stats;
	double start = now_seconds();

	for (i = 0; i < st->length; i++) {
		put_number(tokens, st->tokens->dtype, i, token[i]);
		if (st->position)
			put_number(position, st->position->dtype, i, g->done + i);
	}
	if (bind_symbol(g, st->tokens, tokens) ||
	    (st->position && bind_symbol(g, st->position, position)) ||
	    bind_symbol(g, st->logits, g->out))
		return EXIT_FAIL;
	if (rdu_program_run(g->s.prog, st->entry, &stats))
		return fail("token %u: %s", g->done, rdu_error_text(g->s.prog));
	add_stats(&phase->stats, &stats);
	phase->wall += now_seconds() - start;
	phase->tokens += st->length;
	phase->runs++;
	g->done += st->length;
	for (i = 0; i < width; i++)
		g->logits[i] =
			data_element(g->out, st->logits->dtype, (size_t)(st->rows - 1) * width + i);
	return 0;
}

static int read_prompt(struct generator *g)
{
	const struct prompt *p = &g->prompt;
	int ret = 0;

	while (g->done < p->count && !ret) {
		bool many = g->prefill.entry && p->count - g->done >= g->prefill.length;

		ret = run_step(g, many ? &g->prefill : &g->decode, p->token + g->done, &g->read);
	}
	return ret;
}

/* The next token, of the logits that there are. */
static int choose(struct generator *g)
{
	int64_t next = sample_token(&g->sampling, g->logits, g->vocab, g->made, g->scratch);

	if (next < 0)
		return fail("token %u: its logits are not all finite", g->done);
	g->next[0] = next;
	return 0;
}

/* Writes what a run gave, up to the token that ends it all. */
static void put_tokens(struct generator *g, unsigned int num)
{
	unsigned int i;

	for (i = 0; i < num && !g->ended; i++) {
		prompt_print(&g->prompt, g->next[i]);
		g->ended = g->next[i] == g->end_token;
	}
	g->made += i;
	if (g->ended && g->made < g->count)
		fprintf(stderr,
			"%sended behind %u tokens by token %.0f; %u more of its run dropped\n",
			isatty(1) && isatty(2) ? "\n" : "", g->made, g->end_token, num - i);
}

/* A run, and what it gives: the number of tokens in *num. */
static int go_on(struct generator *g, unsigned int *num)
{
	*num = 1;
	if (!g->card.length)
		return run_step(g, &g->decode, g->next, &g->write) || choose(g) ? EXIT_FAIL : 0;
	if (g->count - g->made >= g->card.length)
		*num = g->card.length;
	return run_card(g, *num);
}

static int loop(struct generator *g)
{
	unsigned int num = 1;
	int ret = read_prompt(g);

	if (!ret)
		ret = choose(g);
	if (ret)
		return ret;
	put_tokens(g, num);
	if (g->card.length)
		ret = start_card(g);
	while (!ret && !g->ended && g->made < g->count) {
		ret = go_on(g, &num);
		if (!ret)
			put_tokens(g, num);
	}
	prompt_print_end(&g->prompt);
	return ret;
}

/* ---- what it took --------------------------------------------------------------------------- */

static void say_phase(FILE *f, const char *what, const struct phase *p, double hz)
{
	double modelled = (p->stats.end_cycle - p->stats.start_cycle) / hz;
	char a[32], b[32];

	if (p->runs)
		fprintf(f,
			"%s %u token%s in %u run%s: %s modelled, %.6g tokens/s; %s measured, %.6g "
			"tokens/s\n",
			what, p->tokens, p->tokens == 1 ? "" : "s", p->runs,
			p->runs == 1 ? "" : "s", human_time(modelled, a, sizeof(a)),
			p->tokens / modelled, human_time(p->wall, b, sizeof(b)),
			p->tokens / p->wall);
}

static void put_phase(FILE *f, const char *what, const struct phase *p, double hz)
{
	double modelled = (p->stats.end_cycle - p->stats.start_cycle) / hz;

	fprintf(f, "%s_tokens %u\n%s_runs %u\n", what, p->tokens, what, p->runs);
	if (p->runs)
		fprintf(f,
			"%s_modelled_seconds %.9f\n%s_modelled_tokens_per_second %.6g\n"
			"%s_wall_seconds %.6f\n%s_tokens_per_second %.6g\n",
			what, modelled, what, p->tokens / modelled, what, p->wall, what,
			p->tokens / p->wall);
}

static int report(const struct generator *g)
{
	double hz = chip_hz(&g->s);
	struct lr_outfile o;
	FILE *f;
	int ret;

	say_phase(stderr, "read     ", &g->read, hz);
	say_phase(stderr, "generated", &g->write, hz);
	if (!g->results)
		return 0;
	f = lr_outfile_open(&o, g->results);
	if (!f)
		return fail("%s: %s", g->results, strerror(-o.error));
	fprintf(f, "new_tokens %u\n", g->made);
	put_phase(f, "read", &g->read, hz);
	put_phase(f, "generate", &g->write, hz);
	ret = lr_outfile_close(&o);
	return ret ? fail("%s: %s", g->results, strerror(-ret)) : 0;
}

/* ---- the command ------------------------------------------------------------------------------ */

static int take_weights(struct generator *g)
{
	struct rdu_file *file = NULL;
	int ret = 0;

	if (!g->weights)
		return 0;
	if (rdu_file_open(g->weights, &file))
		ret = fail("%s", rdu_error_text(file));
	else if (rdu_program_restore(g->s.prog, file) < 0)
		ret = fail("%s", rdu_error_text(g->s.prog));
	rdu_file_close(file);
	return ret;
}

/* How many tokens: the model sees all but the last. */
static int count_tokens(struct generator *g)
{
	unsigned int prompt = g->prompt.count, room = g->places + 1;
	bool bound = g->places;

	if (bound && prompt > g->places)
		return fail("the prompt has %u tokens, %s has places for %u", prompt, g->path,
			    g->places);
	g->count = g->want >= 0 ? g->want : 128;
	if (bound && g->want < 0 && g->count > room - prompt)
		g->count = room - prompt;
	if (bound && g->count > room - prompt)
		return fail("--tokens %u: behind a prompt of %u, %s has places for %u", g->count,
			    prompt, g->path, room - prompt);
	return 0;
}

/* What can only be checked when the vocabulary is known. */
static int check_choices(const struct generator *g)
{
	if (g->sampling.top_k > g->vocab)
		return fail("--top-k %u: the vocabulary has %u tokens", g->sampling.top_k,
			    g->vocab);
	if (g->end_token >= g->vocab)
		return fail("--end-token %.0f: the vocabulary has %u tokens, from 0 on",
			    g->end_token, g->vocab);
	return 0;
}

static int prepare(struct generator *g)
{
	size_t size;

	if (find_steps(g) || find_card(g) || check_choices(g) ||
	    prompt_read(&g->prompt, g->vocab) || count_tokens(g) || take_weights(g))
		return EXIT_FAIL;
	size = rdu_symbol_size(g->decode.logits);
	if (g->prefill.entry && rdu_symbol_size(g->prefill.logits) > size)
		size = rdu_symbol_size(g->prefill.logits);
	g->out = xmalloc(size);
	g->logits = xcalloc(size / rdu_dtype_size(g->decode.logits->dtype), sizeof(*g->logits));
	g->numbers = xcalloc(2ul * (g->prefill.length + 1), sizeof(*g->numbers));
	g->scratch = xcalloc(g->vocab, sizeof(*g->scratch));
	g->next = xcalloc(g->card.length + 1, sizeof(*g->next));
	g->card.out = xcalloc(g->card.length + 1, sizeof(*g->card.out));
	return 0;
}

static const char options_help[] = DEVICE_HELP WAIT_HELP
	"      --prompt TEXT      text to go on from, UTF-8; each byte is a token\n"
	"      --prompt-file FILE the same from a file\n"
	"      --tokens-file FILE token numbers to go on from, white space between them; what\n"
	"                         comes is written so, too\n"
	"  -n, --tokens N         how many to generate (128, or as many as there are places for)\n"
	"      --greedy           always the most likely token (if none of the next is given)\n"
	"      --temperature F    chosen at random; below 1 likely ones are chosen more often (1)\n"
	"      --top-k N          of the N most likely ones only\n"
	"      --top-p F          of the most likely ones only that together have this "
	"probability\n"
	"      --seed N           of the random numbers, below 2^32 (1)\n"
	"      --end-token N      nothing comes behind this token\n"
	"      --sampler WHERE    chooses the tokens behind the first one: card, host; auto (the\n"
	"                         card, if the program was compiled for it)\n"
	"      --tokens-per-run N of the card: 1, or as many as the program was compiled for\n"
	"      --weights FILE     weights of another program file of the model\n"
	"      --results FILE     what it took, in \"key value\" lines\n";

enum {
	OPT_PROMPT = 256,
	OPT_FILE,
	OPT_NUMBERS,
	OPT_GREEDY,
	OPT_TEMPERATURE,
	OPT_TOP_K,
	OPT_TOP_P,
	OPT_SEED,
	OPT_END,
	OPT_SAMPLER,
	OPT_RUN,
	OPT_WEIGHTS,
	OPT_RESULTS
};

static const struct option options[] = { DEVICE_OPTION,
					 WAIT_OPTION,
					 HELP_OPTION,
					 { "prompt", required_argument, NULL, OPT_PROMPT },
					 { "prompt-file", required_argument, NULL, OPT_FILE },
					 { "tokens-file", required_argument, NULL, OPT_NUMBERS },
					 { "tokens", required_argument, NULL, 'n' },
					 { "greedy", no_argument, NULL, OPT_GREEDY },
					 { "temperature", required_argument, NULL,
					   OPT_TEMPERATURE },
					 { "top-k", required_argument, NULL, OPT_TOP_K },
					 { "top-p", required_argument, NULL, OPT_TOP_P },
					 { "seed", required_argument, NULL, OPT_SEED },
					 { "end-token", required_argument, NULL, OPT_END },
					 { "sampler", required_argument, NULL, OPT_SAMPLER },
					 { "tokens-per-run", required_argument, NULL, OPT_RUN },
					 { "weights", required_argument, NULL, OPT_WEIGHTS },
					 { "results", required_argument, NULL, OPT_RESULTS },
					 { 0 } };

struct choices {
	bool greedy, random;
	double temperature, top_k, top_p, seed;
};

/* An option of what is generated, and how; false after a message. */
static bool take_option(struct generator *g, struct choices *ch, int c)
{
	ch->random |= c == OPT_TEMPERATURE || c == OPT_TOP_K || c == OPT_TOP_P || c == OPT_SEED;
	switch (c) {
	case OPT_PROMPT:
		g->prompt.text = optarg;
		return true;
	case OPT_FILE:
		g->prompt.file = optarg;
		return true;
	case OPT_NUMBERS:
		g->prompt.tokens_file = optarg;
		return true;
	case OPT_GREEDY:
		return ch->greedy = true;
	case OPT_TEMPERATURE:
		return parse_number("--temperature", optarg, 1e-3, 1e3, &ch->temperature);
	case OPT_TOP_K:
		return parse_count("--top-k", optarg, 1, 1e9, &ch->top_k);
	case OPT_TOP_P:
		return parse_number("--top-p", optarg, 1e-9, 1, &ch->top_p);
	case OPT_SEED:
		return parse_count("--seed", optarg, 0, UINT32_MAX, &ch->seed);
	case OPT_END:
		return parse_count("--end-token", optarg, 0, 1e9, &g->end_token);
	case OPT_SAMPLER:
		return parse_word("--sampler", optarg, samplers, &g->sampler);
	case OPT_RUN:
		return parse_count("--tokens-per-run", optarg, 1, 1 << 20, &g->want_run);
	case 'n':
		return parse_count("--tokens", optarg, 1, 1e9, &g->want);
	case OPT_WEIGHTS:
		g->weights = optarg;
		return true;
	case OPT_RESULTS:
		g->results = optarg;
		return true;
	}
	return false;
}

/* An exit code, or -1: go on. */
static int parse(struct generator *g, int argc, char **argv)
{
	struct choices ch = { .temperature = 1, .top_p = 1, .seed = 1 };
	const struct prompt *p = &g->prompt;
	int c;

	while ((c = getopt_long(argc, argv, "d:n:h", options, NULL)) >= 0) {
		if (c == 'h')
			return help("generate", options_help);
		if (c == 'd')
			g->device = optarg;
		else if (c == 'W')
			g->wait = true;
		else if (!take_option(g, &ch, c))
			return EXIT_USAGE;
	}
	if (optind + 1 != argc || !!p->text + !!p->file + !!p->tokens_file != 1)
		return usage("generate",
			     "want one FILE.rdu, and one of --prompt, --prompt-file and "
			     "--tokens-file");
	if (ch.greedy && ch.random)
		return usage("generate",
			     "--greedy leaves nothing to chance: not with --temperature, "
			     "--top-k, --top-p or --seed");
	g->path = argv[optind];
	g->sampling.temperature = ch.random ? ch.temperature : 0;
	if (g->sampler == SAMPLER_HOST && g->want_run >= 0)
		return usage("generate",
			     "--tokens-per-run is of the card: not with --sampler host");
	g->sampling.top_k = ch.top_k;
	g->sampling.top_p = ch.top_p;
	g->sampling.seed = ch.seed;
	return -1;
}

int cmd_generate(int argc, char **argv)
{
	struct generator g = { .want = -1, .want_run = -1, .end_token = -1 };
	int ret = parse(&g, argc, argv);

	if (ret >= 0)
		return ret;
	ret = check_files((struct lr_outfile_use[]){ { NULL, g.path },
						     { NULL, g.prompt.file },
						     { NULL, g.prompt.tokens_file },
						     { NULL, g.weights },
						     { "--results", g.results } },
			  5);
	if (ret)
		return ret;
	ret = session_open(&g.s, g.device, g.path, g.wait);
	if (!ret)
		ret = prepare(&g);
	if (!ret)
		ret = loop(&g);
	if (!ret)
		ret = report(&g);
	session_close(&g.s);
	free(g.prompt.token);
	free(g.numbers);
	free(g.out);
	free(g.logits);
	free(g.scratch);
	free(g.next);
	free(g.card.out);
	return ret;
}
