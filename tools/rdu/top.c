// SPDX-License-Identifier: MIT
/*
 * rdu top: tiles, memory, sensors, and who uses them. One page is made of lines;
 * they go to the terminal (curses) or, with -b, to standard output.
 */
#include <curses.h>
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "rdu_tool.h"

struct reading {
	struct rdu_device_info info;
	struct rdu_tile_usage *tiles;
	struct clients clients;
	double seconds;
};

struct top {
	struct rdu_device *dev;
	unsigned int num_tiles;
	double interval;
	bool live;
	int line; /* of the terminal */
	struct reading now, then;
};

static volatile sig_atomic_t caught;

/* ---- readings ------------------------------------------------------------------- */

static int reading_take(struct top *top)
{
	struct reading *r = &top->now;

	r->seconds = now_seconds();
	if (rdu_device_get_info(top->dev, &r->info, sizeof(r->info)) ||
	    rdu_device_get_usage(top->dev, r->tiles, top->num_tiles, sizeof(*r->tiles)) < 0)
		return -1;
	clients_free(&r->clients);
	clients_read(&r->clients, r->info.node);
	return 0;
}

/* What was now is then. */
static void reading_turn(struct top *top)
{
	struct reading r = top->then;

	top->then = top->now;
	top->now = r;
}

static double clock_passed(const struct top *top)
{
	uint64_t then = top->then.tiles[0].clock_cycles, now = top->now.tiles[0].clock_cycles;

	return now > then ? (double)(now - then) : 0;
}

static struct share share_of_client(const struct top *top, const struct client *c)
{
	static const struct client none;
	const struct client *before = clients_find(&top->then.clients, c->id);

	return share_of_cycles((before ? before : &none)->cycles, c->cycles,
			       clock_passed(top) * top->num_tiles);
}

struct row {
	const struct client *client;
	struct share share;
};

/* Who uses most, comes first. */
static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->share.idle != y->share.idle)
		return x->share.idle < y->share.idle ? -1 : 1;
	if (x->client->vram != y->client->vram)
		return x->client->vram > y->client->vram ? -1 : 1;
	return x->client->id < y->client->id ? -1 : 1;
}

static struct row *rows_of(const struct top *top)
{
	const struct clients *list = &top->now.clients;
	struct row *rows = xcalloc(list->count, sizeof(*rows));
	unsigned int i;

	for (i = 0; i < list->count; i++)
		rows[i] = (struct row){ &list->client[i], share_of_client(top, &list->client[i]) };
	qsort(rows, list->count, sizeof(*rows), compare_rows);
	return rows;
}

/* ---- a page of lines --------------------------------------------------------------- */

static void put(struct top *top, int attributes, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void put(struct top *top, int attributes, const char *format, ...)
{
	char text[512];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	while (n > 0 && n < (int)sizeof(text) && text[n - 1] == ' ')
		text[--n] = 0;
	if (!top->live) {
		puts(text);
	} else if (top->line < LINES) {
		attrset(attributes);
		if (attributes & A_REVERSE)
			mvhline(top->line, 0, ' ' | A_REVERSE, COLS);
		mvaddnstr(top->line++, 0, text, COLS);
	}
}

/* [|||||     ], of 20 */
static const char *bar(double percent, char text[24])
{
	int full = (int)(percent / 5 + 0.5);

	if (full < 1 && percent > 0)
		full = 1;
	snprintf(text, 24, "[%.*s%*s]", full, "||||||||||||||||||||", 20 - full, "");
	return text;
}

static void put_card(struct top *top)
{
	const struct rdu_device_info *in = &top->now.info;
	double used = (double)(in->mem_total - in->mem_free);
	double percent = in->mem_total ? 100 * used / (double)in->mem_total : 0;
	double passed = top->now.seconds - top->then.seconds;
	char t1[32], t2[32], t3[24], when[16];
	time_t now = time(NULL);

	strftime(when, sizeof(when), "%H:%M:%S", localtime(&now));
	put(top, A_BOLD, "rdu top  %s  %s  %s  serial %s  %s", when, in->pci_address, in->chip,
	    in->serial, in->driver);
	put(top, 0, "Memory %s %.0f%%  %s of %s", bar(percent, t3), percent,
	    human_bytes(used, t1, sizeof(t1)), human_bytes((double)in->mem_total, t2, sizeof(t2)));
	put(top, 0,
	    "Temperature %.1f C  power %.1f W  ECC errors %u corrected, %u not  faults %llu  "
	    "resets %llu",
	    in->temp_millidegree * 1e-3, in->power_milliwatt * 1e-3, in->ecc_corrected,
	    in->ecc_uncorrected, (unsigned long long)in->faults, (unsigned long long)in->resets);
	put(top, 0, "Card clock %s cycles a second (host's time)",
	    human_count(passed > 0 ? clock_passed(top) / passed : 0, t1, sizeof(t1)));
	put(top, 0, "%s", "");
}

static void put_tiles(struct top *top)
{
	unsigned int t;

	put(top, A_REVERSE, "%4s  %-22s %6s %6s %6s %6s %6s  %7s %-8s", "TILE", "BUSY", "%IDLE",
	    "%EXEC", "%PLOAD", "%ALOAD", "%COPY", "PID", "USER");
	for (t = 0; t < top->num_tiles; t++) {
		const struct rdu_tile_usage *u = &top->now.tiles[t];
		struct share s = share_of_tile(&top->then.tiles[t], u);
		char pid[16] = "-", user[33] = "", picture[24];

		if (u->pid) {
			snprintf(pid, sizeof(pid), "%d", u->pid);
			user_of(u->uid, user, sizeof(user));
		} else if (u->owned) {
			snprintf(user, sizeof(user), "(another)");
		}
		put(top, 0, "%4u  %s %6.1f %6.1f %6.1f %6.1f %6.1f  %7s %-8s", t,
		    bar(100 - s.idle, picture), s.idle, s.use[USE_EXEC], s.use[USE_PLOAD],
		    s.use[USE_ALOAD], s.use[USE_COPY], pid, user);
	}
	put(top, 0, "%s", "");
}

static void put_clients(struct top *top)
{
	const struct clients *list = &top->now.clients;
	struct row *rows = rows_of(top);
	unsigned int i;

	put(top, A_REVERSE, "%6s %7s %-8s %6s %6s %6s %6s %9s %9s %9s  %s", "CLIENT", "PID", "USER",
	    "%EXEC", "%PLOAD", "%ALOAD", "%COPY", "CARD MEM", "ACTIVE", "HOST MEM", "COMMAND");
	for (i = 0; i < list->count; i++) {
		const struct client *c = rows[i].client;
		const double *use = rows[i].share.use;
		char user[33], vram[32], active[32], system[32], more[24] = "";

		user_of(c->uid, user, sizeof(user));
		if (c->processes > 1)
			snprintf(more, sizeof(more), " (+%u more)", c->processes - 1);
		put(top, 0, "%6llu %7d %-8s %6.1f %6.1f %6.1f %6.1f %9s %9s %9s  %.200s%s",
		    (unsigned long long)c->id, c->pid, user, use[USE_EXEC], use[USE_PLOAD],
		    use[USE_ALOAD], use[USE_COPY], human_bytes((double)c->vram, vram, sizeof(vram)),
		    human_bytes((double)c->active, active, sizeof(active)),
		    human_bytes((double)c->system, system, sizeof(system)), c->command, more);
	}
	if (list->hidden)
		put(top, A_DIM, "Of %u processes only root sees whether they use the card.",
		    list->hidden);
	free(rows);
}

static void put_page(struct top *top)
{
	top->line = 0;
	put_card(top);
	put_tiles(top);
	put_clients(top);
}

static void put_json(const struct top *top, struct json *j)
{
	static const char *const uses[NUM_USES] = { "exec", "pload", "aload", "copy" };
	const struct rdu_device_info *in = &top->now.info;
	struct row *rows = rows_of(top);
	unsigned int i, u;
	char text[256];

	json_begin(j, NULL, '{');
	json_integer(j, "clock_cycles", top->now.tiles[0].clock_cycles);
	json_integer(j, "mem_total", in->mem_total);
	json_integer(j, "mem_free", in->mem_free);
	json_integer(j, "temp_millidegree", in->temp_millidegree);
	json_integer(j, "power_milliwatt", in->power_milliwatt);
	json_integer(j, "ecc_corrected", in->ecc_corrected);
	json_integer(j, "ecc_uncorrected", in->ecc_uncorrected);
	json_integer(j, "faults", in->faults);
	json_integer(j, "resets", in->resets);
	json_begin(j, "tiles", '[');
	for (i = 0; i < top->num_tiles; i++) {
		const struct rdu_tile_usage *t = &top->now.tiles[i];
		struct share s = share_of_tile(&top->then.tiles[i], t);

		json_begin(j, NULL, '{');
		json_number(j, "idle", s.idle);
		for (u = 0; u < NUM_USES; u++)
			json_number(j, uses[u], s.use[u]);
		json_bool(j, "owned", t->owned);
		json_integer(j, "pid", t->pid);
		json_end(j, '}');
	}
	json_end(j, ']');
	json_begin(j, "clients", '[');
	for (i = 0; i < top->now.clients.count; i++) {
		const struct client *c = rows[i].client;

		json_begin(j, NULL, '{');
		json_integer(j, "client", c->id);
		json_integer(j, "pid", c->pid);
		json_integer(j, "processes", c->processes);
		user_of(c->uid, text, sizeof(text));
		json_string(j, "user", text);
		for (u = 0; u < NUM_USES; u++)
			json_number(j, uses[u], rows[i].share.use[u]);
		json_integer(j, "card_memory", c->vram);
		json_integer(j, "card_memory_active", c->active);
		json_integer(j, "host_memory", c->system);
		json_string(j, "command", c->command);
		json_end(j, '}');
	}
	json_end(j, ']');
	json_integer(j, "hidden_processes", top->now.clients.hidden);
	json_end(j, '}');
	free(rows);
}

/* ---- to standard output ---------------------------------------------------------------- */

static int run_batch(struct top *top, double count, bool json)
{
	const struct timespec wait = { (time_t)top->interval,
				       (long)((top->interval - (time_t)top->interval) * 1e9) };
	struct json j;
	int ret = 0;

	if (json) {
		json_open(&j, stdout);
		json_begin(&j, "samples", '[');
	}
	for (; count && !ret; count--) {
		fflush(stdout);
		if (ferror(stdout))
			break; /* main() says so */
		reading_turn(top);
		nanosleep(&wait, NULL);
		ret = reading_take(top);
		if (ret)
			break;
		if (json)
			put_json(top, &j);
		else
			put_page(top);
		if (!json && count > 1)
			putchar('\n');
	}
	if (json) {
		json_end(&j, ']');
		json_close(&j);
	}
	return ret;
}

/* ---- on the terminal --------------------------------------------------------------------- */

static void on_signal(int number)
{
	caught = number;
}

/* Until the interval is over, a key is pressed, or a signal comes. False: leave. */
static bool wait_for_more(const struct top *top, double until, const sigset_t *unblocked)
{
	struct pollfd key = { .fd = STDIN_FILENO, .events = POLLIN };

	while (!caught) {
		double left = until - now_seconds();
		struct timespec t = { (time_t)left, (long)((left - (time_t)left) * 1e9) };
		int n;

		if (left <= 0)
			return true;
		n = ppoll(&key, 1, &t, unblocked);
		if (n > 0 && key.revents & ~POLLIN)
			return false; /* the terminal is gone */
		if (n < 0 && errno != EINTR)
			return false;
		switch (getch()) {
		case 'q':
		case 'Q':
		case 3: /* Ctrl-C, where it makes no signal */
			return false;
		case ' ':
			return true;
		case KEY_RESIZE: {
			struct top again = *top;

			erase();
			put_page(&again);
			refresh();
			break;
		}
		default:
			break;
		}
	}
	return false;
}

static int run_live(struct top *top, double count)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction action = { .sa_handler = on_signal };
	sigset_t blocked, before;
	bool more = true;
	SCREEN *screen;
	int ret = 0;
	size_t i;

	if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
		return fail("top: standard input and output are not a terminal; -b prints instead");
	/* Let through only while waiting: none comes too early to be noticed. */
	sigemptyset(&blocked);
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		sigaddset(&blocked, signals[i]);
		sigaction(signals[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &blocked, &before);
	screen = newterm(NULL, stdout, stdin);
	if (!screen) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		return fail("top: the terminal \"%s\" is not known; -b prints instead",
			    getenv("TERM") ? getenv("TERM") : "");
	}
	cbreak();
	noecho();
	nodelay(stdscr, true);
	keypad(stdscr, true);
	curs_set(0);
	while (more && count) {
		double until = now_seconds() + top->interval;

		erase();
		put_page(top);
		refresh();
		more = --count && wait_for_more(top, until, &before);
		if (more) {
			reading_turn(top);
			ret = reading_take(top);
			more = !ret;
		}
	}
	endwin();
	delscreen(screen);
	if (caught) {
		/* As if it had not been caught: the shell wants to know. */
		signal(caught, SIG_DFL);
		raise(caught);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return ret ? fail("%s", rdu_error_text(top->dev)) : EXIT_OK;
}

static int run_top(const char *device, struct top *top, bool batch, double count, bool json)
{
	int ret;

	if (rdu_open(device, &top->dev) ||
	    rdu_device_get_info(top->dev, &top->now.info, sizeof(top->now.info)))
		return fail("%s", rdu_error_text(top->dev));
	if (top->now.info.is_model)
		return fail("top: a model in this process has no other users");
	top->num_tiles = rdu_device_chip(top->dev)->tiles;
	top->now.tiles = xcalloc(top->num_tiles, sizeof(*top->now.tiles));
	top->then.tiles = xcalloc(top->num_tiles, sizeof(*top->then.tiles));
	if (reading_take(top))
		return fail("%s", rdu_error_text(top->dev));
	top->live = !batch;
	if (top->live)
		return run_live(top, count);
	ret = run_batch(top, count, json);
	return ret ? fail("%s", rdu_error_text(top->dev)) : EXIT_OK;
}

int cmd_top(int argc, char **argv)
{
	static const struct option options[] = { DEVICE_OPTION,
						 JSON_OPTION,
						 HELP_OPTION,
						 { "interval", required_argument, NULL, 'i' },
						 { "count", required_argument, NULL, 'n' },
						 { "batch", no_argument, NULL, 'b' },
						 { 0 } };
	const char *device = default_device();
	struct top top = { .interval = 2 };
	bool batch = false, json = false;
	double count = -1;
	int c, ret;

	setlocale(LC_CTYPE, "");
	while ((c = getopt_long(argc, argv, "d:ji:n:bh", options, NULL)) >= 0) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 'j':
			json = batch = true;
			break;
		case 'i':
			if (!parse_number("-i", optarg, 0.1, 86400, &top.interval))
				return EXIT_USAGE;
			break;
		case 'n':
			if (!parse_count("--count", optarg, 1, 1e9, &count))
				return EXIT_USAGE;
			break;
		case 'b':
			batch = true;
			break;
		case 'h':
			return help(
				"top", DEVICE_HELP
				"  -i, --interval SEC   between two readings (2)\n"
				"  -n, --count N        pages (until q is pressed, or a signal)\n"
				"  -b, --batch          to standard output\n"
				"      --json           the same, for programs\n\n"
				"Shares are of the card's clock in the interval, those of a "
				"client\n"
				"(an open file) of all tiles. Keys: q leaves, space reads now.\n");
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		return usage("top", "\"%s\" is one argument too many", argv[optind]);
	ret = run_top(device, &top, batch, (int)count, json);
	clients_free(&top.now.clients);
	clients_free(&top.then.clients);
	free(top.now.tiles);
	free(top.then.tiles);
	rdu_close(top.dev);
	return ret;
}
