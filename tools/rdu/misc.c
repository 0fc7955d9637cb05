// SPDX-License-Identifier: MIT
/* rdu validate, rdu faults, rdu reset. */
#include <string.h>
#include "rdu_tool.h"
#include <rdu/config.h>
#include "rdu_card.h"

int cmd_validate(int argc, char **argv)
{
	static const struct option options[] = {
		DEVICE_OPTION, HELP_OPTION, { "chip", required_argument, NULL, 'c' }, { 0 }
	};
	const char *chip_name = NULL, *device = NULL;
	struct rdu_device *dev = NULL;
	struct rdu_file *file = NULL;
	struct rdu_chip chip;
	char error[RDU_CHIP_ERRORS];
	int c, ret = EXIT_OK;

	while ((c = getopt_long(argc, argv, "c:d:h", options, NULL)) >= 0) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 'c':
			chip_name = optarg;
			break;
		case 'h':
			return help("validate", "  -c, --chip CHIP      name or description file "
						"(the one it was compiled for)\n"
						"  -d, --device WHERE   the chip of that card; no "
						"card is needed otherwise\n");
		default:
			return EXIT_USAGE;
		}
	}
	if (optind + 1 != argc)
		return usage("validate", "want one FILE.rdu");
	if (chip_name && device)
		return usage("validate", "--chip or --device, not both");
	if (chip_name && rdu_chip_by_name(chip_name, &chip, error, sizeof(error)))
		return fail("%s", error);
	if (device && rdu_open(device, &dev)) {
		ret = fail("%s", rdu_error_text(dev));
	} else if (rdu_file_open(argv[optind], &file) ||
		   rdu_file_validate(file, chip_name ? &chip
					   : device  ? rdu_device_chip(dev)
						     : NULL)) {
		ret = fail("%s", rdu_error_text(file));
	} else {
		const struct rdu_prog_header *h = rdu_file_header(file);

		printf("%s: accepted: chip %s, %u tiles, %u sections, %u entry points, %u bytes of "
		       "configuration\n",
		       argv[optind], rdu_file_chip(file)->name, h->num_tiles, h->num_sections,
		       h->num_entries, h->size);
	}
	rdu_file_close(file);
	rdu_close(dev);
	return ret;
}

static void list_all(void)
{
	printf("faults (what stops a context)\n");
#define FAULT(n, v, t) printf("  %3d  %-12s %s\n", v, #n, t);
	RDU_FAULTS(FAULT)
#undef FAULT
	printf("configuration errors (why a program is refused)\n");
#define CFG_ERROR(n, v, t) printf("  %3d  %-12s %s\n", v, #n, t);
	RDU_CFG_ERRORS(CFG_ERROR)
#undef CFG_ERROR
}

int cmd_faults(int argc, char **argv)
{
	static const struct option options[] = {
		DEVICE_OPTION, JSON_OPTION, HELP_OPTION, { "list", no_argument, NULL, 'l' }, { 0 }
	};
	const char *device = default_device();
	struct rdu_device_info in;
	struct rdu_device *dev;
	bool json = false;
	struct json j;
	int c, ret = EXIT_OK;

	while ((c = getopt_long(argc, argv, "d:jlh", options, NULL)) >= 0) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 'l':
			list_all();
			return EXIT_OK;
		case 'h':
			return help("faults", DEVICE_HELP "  -l, --list           all there are, "
							  "with their meaning; no card needed\n"
							  "  -j, --json           for programs\n");
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		return usage("faults", "\"%s\" is one argument too many", argv[optind]);
	if (rdu_open(device, &dev) || rdu_device_get_info(dev, &in, sizeof(in))) {
		ret = fail("%s", rdu_error_text(dev));
	} else if (json) {
		json_open(&j, stdout);
		json_integer(&j, "faults", in.faults);
		json_integer(&j, "resets", in.resets);
		json_integer(&j, "ecc_corrected", in.ecc_corrected);
		json_integer(&j, "ecc_uncorrected", in.ecc_uncorrected);
		json_close(&j);
	} else {
		printf("%-34s: %llu\n%-34s: %llu\n%-34s: %u\n%-34s: %u\n", "Contexts that faulted",
		       (unsigned long long)in.faults, "Resets of hung queues and the card",
		       (unsigned long long)in.resets, "Memory errors corrected", in.ecc_corrected,
		       "Memory errors not corrected", in.ecc_uncorrected);
		printf("\nWhat stopped a context is in the error text of its own program.\n");
	}
	rdu_close(dev);
	return ret;
}

int cmd_reset(int argc, char **argv)
{
	static const struct option options[] = { DEVICE_OPTION, HELP_OPTION, { 0 } };
	const char *device = default_device();
	struct rdu_device *dev;
	int c, ret = EXIT_OK;

	while ((c = getopt_long(argc, argv, "d:h", options, NULL)) >= 0) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 'h':
			return help("reset",
				    DEVICE_HELP "Programs that run on the card are lost. Needs "
						"root.\n");
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		return usage("reset", "\"%s\" is one argument too many", argv[optind]);
	if (rdu_open(device, &dev) || rdu_device_reset(dev))
		ret = fail("%s", rdu_error_text(dev));
	rdu_close(dev);
	return ret;
}
