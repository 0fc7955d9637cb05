// SPDX-License-Identifier: MIT
/* rdu bench: how fast the way to the card is, beside what memory here can do. */
#include <stdlib.h>
#include "measure.h"
#include "rdu_tool.h"

struct results {
	double memory_copy, to_card, from_card; /* bytes a second */
	double memory_write, memory_read; /* the same, by the CPU */
	double card_write, card_read;
	double latency; /* seconds */
};

/* 0, or -1 with the error text of the context or of *buf. */
static int measure_all(struct rdu_context *ctx, struct rdu_buffer **buf, size_t bytes,
		       unsigned int jobs, struct results *r)
{
	void *card, *memory;

	r->memory_copy = measure_memcpy(bytes);
	if (measure_copy(ctx, bytes, &r->to_card, &r->from_card) ||
	    measure_latency(ctx, jobs, &r->latency))
		return -1;
	if (rdu_buffer_new(ctx, bytes, RDU_BUFFER_CARD, buf))
		return -1;
	card = rdu_buffer_map(*buf);
	if (!card)
		return -1;
	measure_touch(card, bytes, &r->card_write, &r->card_read);
	rdu_buffer_free(*buf);
	*buf = NULL;
	memory = xmalloc(bytes);
	measure_touch(memory, bytes, &r->memory_write, &r->memory_read);
	free(memory);
	return 0;
}

static void print_rate(const char *what, double rate, double peer, const char *peer_name)
{
	printf("%-34s: %8.2f GB/s   %.2f of %s here\n", what, rate * 1e-9, rate / peer, peer_name);
}

static void print_text(const struct results *r)
{
	char text[32];

	print_rate("Copy by the card, to it", r->to_card, r->memory_copy, "memcpy");
	print_rate("Copy by the card, from it", r->from_card, r->memory_copy, "memcpy");
	print_rate("Card memory written by the CPU", r->card_write, r->memory_write, "memory");
	print_rate("Card memory read by the CPU", r->card_read, r->memory_read, "memory");
	printf("%-34s: %s\n", "Empty job, until known done",
	       human_time(r->latency, text, sizeof(text)));
}

static void print_json(const struct results *r, size_t bytes)
{
	struct json j;

	json_open(&j, stdout);
	json_integer(&j, "bytes", (long long)bytes);
	json_number(&j, "memcpy_bytes_per_second", r->memory_copy);
	json_number(&j, "to_card_bytes_per_second", r->to_card);
	json_number(&j, "from_card_bytes_per_second", r->from_card);
	json_number(&j, "memory_write_bytes_per_second", r->memory_write);
	json_number(&j, "memory_read_bytes_per_second", r->memory_read);
	json_number(&j, "card_write_bytes_per_second", r->card_write);
	json_number(&j, "card_read_bytes_per_second", r->card_read);
	json_number(&j, "job_seconds", r->latency);
	json_close(&j);
}

static int bench(const char *device, size_t bytes, unsigned int jobs, bool json)
{
	struct rdu_context_options one_tile = { .size = sizeof(one_tile), .tiles = 1 };
	struct rdu_device *dev = NULL;
	struct rdu_context *ctx = NULL;
	struct rdu_buffer *buf = NULL;
	struct results r;
	int ret = EXIT_OK;

	if (rdu_open(device, &dev))
		ret = fail("%s", rdu_error_text(dev));
	else if (rdu_context_new(dev, &one_tile, &ctx))
		ret = fail("%s", rdu_error_text(ctx));
	else if (measure_all(ctx, &buf, bytes, jobs, &r))
		ret = fail("%s", rdu_error_text(buf ? (void *)buf : (void *)ctx));
	else if (json)
		print_json(&r, bytes);
	else
		print_text(&r);
	rdu_buffer_free(buf);
	rdu_context_free(ctx);
	rdu_close(dev);
	return ret;
}

int cmd_bench(int argc, char **argv)
{
	static const struct option options[] = { DEVICE_OPTION,
						 JSON_OPTION,
						 HELP_OPTION,
						 { "size", required_argument, NULL, 's' },
						 { "jobs", required_argument, NULL, 'n' },
						 { 0 } };
	const char *device = default_device();
	double mib = 64, jobs = 1000;
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "d:js:n:h", options, NULL)) >= 0) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 's':
			if (!parse_count("--size", optarg, 1, 65536, &mib))
				return EXIT_USAGE;
			break;
		case 'n':
			if (!parse_count("--jobs", optarg, 1, 1e6, &jobs))
				return EXIT_USAGE;
			break;
		case 'h':
			return help(
				"bench", DEVICE_HELP
				"  -s, --size MIB       of what is copied, written and read (64)\n"
				"  -n, --jobs N         empty jobs, one after another (1000)\n"
				"  -j, --json           for programs\n\n"
				"Time is the host's: speeds are the best of several rounds, the "
				"job's time is\nthe median. Takes one tile.\n");
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		return usage("bench", "\"%s\" is one argument too many", argv[optind]);
	return bench(device, (size_t)mib << 20, (unsigned int)jobs, json);
}
