// SPDX-License-Identifier: MIT
/* rdu train: its options. */
#include <stdlib.h>
#include <string.h>
#include "train.h"

#define TRAIN_HELP                                                                               \
	"      --hold-out SHARE   of the data, from its end: not trained with, for evaluation\n" \
	"      --eval-data DATA   evaluate on that (FOLDER of images: its t10k-*)\n"             \
	"      --eval-every N     after every N steps (0: at the end only)\n"                    \
	"      --epochs N         (1)\n"                                                         \
	"      --steps N          stop after N steps (0: when the epochs are done)\n"            \
	"      --lr RATE          at its highest (0.002 with an Adam optimizer, else 0.1)\n"     \
	"      --schedule KIND    cosine (to zero at the end, default), constant, or\n"          \
	"                         two-stage: cosine, of --lr2 from the middle on\n"              \
	"      --lr2 RATE         (half of --lr)\n"                                              \
	"      --warm-up N        the rate rises over the first N steps (0)\n"                   \
	"      --seed N           of the order of examples (1)\n"                                \
	"      --save OUT.rdu     the program with the trained weights: a checkpoint\n"          \
	"      --save-every N     also after every N steps (needs --save)\n"                     \
	"      --resume FILE      go on where that checkpoint stands, to the same bits;\n"       \
	"                         other options are as they were, unless given\n"                \
	"      --loss-curve FILE  picture (SVG)\n"                                               \
	"      --log FILE         a line each step (CSV)\n"                                      \
	"      --results FILE     the \"key value\" lines go there instead\n"                    \
	"      --progress WHEN    auto (rewritten line on a terminal), always, never\n"          \
	"  -j, --json             the summary for programs\n\n"                                  \
	"SIGINT and SIGTERM end it after the steps that are under way; weights, log and\n"       \
	"picture are written, and the exit code is 128 and the signal's number. A second\n"      \
	"one ends it at once.\n"

int plan_parse(int argc, char **argv, struct plan *p)
{
	enum {
		EPOCHS = 256,
		STEPS,
		LR,
		SCHEDULE,
		SEED,
		SAVE,
		CURVE,
		LOG,
		PROGRESS,
		ENTRY,
		RESULTS,
		SAVE_EVERY,
		RESUME,
		HOLD_OUT,
		EVAL_DATA,
		EVAL_EVERY,
		LR2,
		WARM_UP
	};
	static const struct option options[] = {
		DEVICE_OPTION,
		JSON_OPTION,
		HELP_OPTION,
		{ "epochs", required_argument, NULL, EPOCHS },
		{ "steps", required_argument, NULL, STEPS },
		{ "lr", required_argument, NULL, LR },
		{ "schedule", required_argument, NULL, SCHEDULE },
		{ "seed", required_argument, NULL, SEED },
		{ "save", required_argument, NULL, SAVE },
		{ "loss-curve", required_argument, NULL, CURVE },
		{ "log", required_argument, NULL, LOG },
		{ "progress", required_argument, NULL, PROGRESS },
		{ "entry", required_argument, NULL, ENTRY },
		{ "results", required_argument, NULL, RESULTS },
		{ "save-every", required_argument, NULL, SAVE_EVERY },
		{ "resume", required_argument, NULL, RESUME },
		{ "hold-out", required_argument, NULL, HOLD_OUT },
		{ "eval-data", required_argument, NULL, EVAL_DATA },
		{ "eval-every", required_argument, NULL, EVAL_EVERY },
		{ "lr2", required_argument, NULL, LR2 },
		{ "warm-up", required_argument, NULL, WARM_UP },
		DATA_OPTIONS,
		WAIT_OPTION,
		{ 0 }
	};
	static const char *const progresses[] = { "auto", "never", "always", NULL };
	struct data_options *d = &p->data;
	unsigned int word;
	bool ok = true;
	int c, index = 0;

	while (ok && (c = getopt_long(argc, argv, "d:jh", options, &index)) >= 0) {
		switch (c) {
		case 'd':
			p->device = optarg;
			break;
		case 'j':
			p->json = true;
			break;
		case DATA_OPTION:
			ok = data_option(d, options[index].name, optarg);
			break;
		case HOLD_OUT:
			ok = parse_number("--hold-out", optarg, 0, 0.99, &p->hold_out);
			break;
		case EVAL_DATA:
			ok = data_option(&p->held, "eval-data", optarg);
			break;
		case EVAL_EVERY:
			ok = parse_count("--eval-every", optarg, 0, 1e8, &p->eval_every);
			break;
		case LR2:
			ok = parse_number("--lr2", optarg, 1e-12, 1e6, &p->second_lr);
			break;
		case WARM_UP:
			ok = parse_count("--warm-up", optarg, 0, 1e8, &p->warm_up);
			break;
		case EPOCHS:
			ok = parse_number("--epochs", optarg, 0.001, 10000, &p->epochs);
			break;
		case STEPS:
			ok = parse_count("--steps", optarg, 0, 1e8, &p->max_steps);
			break;
		case LR:
			ok = parse_number("--lr", optarg, 1e-12, 1e6, &p->lr);
			break;
		case SEED:
			ok = parse_count("--seed", optarg, 0, 9e15, &p->seed);
			break;
		case SCHEDULE:
			ok = parse_word("--schedule", optarg, schedules, &word);
			p->schedule = word;
			break;
		case PROGRESS:
			ok = parse_word("--progress", optarg, progresses, &word);
			p->progress = (int)word - 1;
			break;
		case SAVE:
			p->save = optarg;
			break;
		case CURVE:
			p->curve = optarg;
			break;
		case LOG:
			p->log = optarg;
			break;
		case ENTRY:
			p->entry = optarg;
			break;
		case RESULTS:
			p->results = optarg;
			break;
		case SAVE_EVERY:
			ok = parse_count("--save-every", optarg, 1, 1e8, &p->save_every);
			break;
		case RESUME:
			p->resume = optarg;
			break;
		case 'W':
			p->wait = true;
			break;
		case 'h':
			exit(help("train", DEVICE_HELP WAIT_HELP DATA_HELP TRAIN_HELP));
		default:
			return EXIT_USAGE;
		}
	}
	if (!ok)
		return EXIT_USAGE;
	if (argc - optind > 1 || (optind == argc && !p->resume) || !d->num_sources)
		return usage("train", "want one FILE.rdu (or --resume FILE) and --data DATA");
	if (p->save_every && !p->save)
		return usage("train", "--save-every needs --save");
	if (p->hold_out > 0 && p->held.num_sources)
		return usage("train", "--hold-out or --eval-data, not both");
	if (p->eval_every && !p->held.num_sources && p->hold_out <= 0 && !p->resume)
		return usage("train", "--eval-every needs --hold-out or --eval-data");
	p->path = optind < argc ? argv[optind] : NULL;
	return 0;
}
