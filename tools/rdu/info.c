// SPDX-License-Identifier: MIT
/* rdu info: what `snconfig show Node static` shows, from the card itself. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "rdu_tool.h"
#include "rdu_card.h"

/* Values computed from fields: marked if one of the fields is. */
#define ASSUMED(chip, field) ((chip)->assumed >> CHIP_INDEX_##field & 1)
enum {
#define CHIP_INDEX(i, f, u, d) CHIP_INDEX_##f = i,
	RDU_CHIP_FIELDS(CHIP_INDEX)
#undef CHIP_INDEX
};

static const char *mark(bool assumed)
{
	return assumed ? " *" : "";
}

static void row(const char *key, bool assumed, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void row(const char *key, bool assumed, const char *format, ...)
{
	va_list args;

	printf("%-34s: ", key);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("%s\n", mark(assumed));
}

static void print_tiles(struct rdu_device *dev, const struct rdu_chip *c)
{
	struct rdu_tile_usage *use = xcalloc(c->tiles, sizeof(*use));
	unsigned int t;
	int n = rdu_device_get_usage(dev, use, c->tiles, sizeof(*use));

	for (t = 0; t < c->tiles; t++) {
		char owner[64] = "free";

		if (n > 0 && use[t].owned)
			snprintf(owner, sizeof(owner), use[t].pid ? "PID %d (%s)" : "in use",
				 use[t].pid, use[t].command);
		printf("  TILE Name                       : TILE_%u  %u PCUs, %u PMUs, %u AGCUs, "
		       "%s\n",
		       t, rdu_chip_pcus_per_tile(c), rdu_chip_pmus_per_tile(c), c->agcus_per_tile,
		       owner);
	}
	free(use);
}

/* "none", or the names of the bits that are set. */
static const char *errors_text(uint32_t status, const struct pci_error_bit *bits, char *text,
			       size_t size)
{
	size_t n = 0;

	snprintf(text, size, "none");
	for (; bits->mask; bits++)
		if (status & bits->mask && n < size)
			n += snprintf(text + n, size - n, "%s%s (%s)", n ? ", " : "", bits->name,
				      bits->text);
	return text;
}

static void print_pci(const struct pci_card *p)
{
	char text[256];
	unsigned int i;

	if (p->link) {
		row("PCIe Speed", false, "%g GT/s (of %g)", p->gts, p->max_gts);
		row("PCIe Width", false, "%u (of %u)", p->width, p->max_width);
		row("PCIe Bandwidth", false, "%.1f GB/s each way", pci_card_gbs(p));
	} else {
		row("PCIe link, interrupts, errors", false, "only root can see them");
	}
	for (i = 0; i < p->num_bars; i++)
		printf("  BAR%u                            : %s at 0x%llx\n", p->bars[i].bar,
		       human_bytes((double)p->bars[i].size, text, sizeof(text)),
		       p->bars[i].address);
	if (p->msix_vectors)
		row("MSI-X", false, "%u vectors, %s", p->msix_vectors,
		    p->msix_enabled ? "enabled" : "disabled");
	if (p->aer) {
		row("PCIe errors, corrected", false, "%s",
		    errors_text(p->corrected, pci_corrected_bits(), text, sizeof(text)));
		row("PCIe errors, not corrected", false, "%s",
		    errors_text(p->uncorrected, pci_uncorrected_bits(), text, sizeof(text)));
	}
	if (p->counted)
		row("PCIe errors counted by the kernel", false,
		    "%llu corrected, %llu non-fatal, %llu fatal",
		    (unsigned long long)p->count_corrected, (unsigned long long)p->count_nonfatal,
		    (unsigned long long)p->count_fatal);
}

static void json_errors(struct json *j, const char *key, uint32_t status,
			const struct pci_error_bit *bits)
{
	json_begin(j, key, '[');
	for (; bits->mask; bits++)
		if (status & bits->mask)
			json_string(j, NULL, bits->name);
	json_end(j, ']');
}

static void json_pci(struct json *j, const struct pci_card *p)
{
	unsigned int i;

	if (p->link) {
		json_number(j, "pcie_gts", p->gts);
		json_integer(j, "pcie_width", p->width);
		json_number(j, "pcie_max_gts", p->max_gts);
		json_integer(j, "pcie_max_width", p->max_width);
		json_number(j, "pcie_gbs", pci_card_gbs(p));
	}
	json_begin(j, "bars", '[');
	for (i = 0; i < p->num_bars; i++) {
		json_begin(j, NULL, '{');
		json_integer(j, "bar", p->bars[i].bar);
		json_integer(j, "size", p->bars[i].size);
		json_integer(j, "address", p->bars[i].address);
		json_end(j, '}');
	}
	json_end(j, ']');
	if (p->msix_vectors) {
		json_integer(j, "msix_vectors", p->msix_vectors);
		json_bool(j, "msix_enabled", p->msix_enabled);
	}
	if (p->aer) {
		json_errors(j, "aer_corrected", p->corrected, pci_corrected_bits());
		json_errors(j, "aer_uncorrected", p->uncorrected, pci_uncorrected_bits());
	}
	if (p->counted) {
		json_integer(j, "aer_count_corrected", p->count_corrected);
		json_integer(j, "aer_count_nonfatal", p->count_nonfatal);
		json_integer(j, "aer_count_fatal", p->count_fatal);
	}
}

static void print_text(struct rdu_device *dev, const struct rdu_device_info *in, bool all)
{
	const struct rdu_chip *c = rdu_device_chip(dev);
	unsigned int pcus = c->tiles * rdu_chip_pcus_per_tile(c);
	unsigned int pmus = c->tiles * rdu_chip_pmus_per_tile(c);
	bool shape = ASSUMED(c, tiles) || ASSUMED(c, tile_cols) || ASSUMED(c, tile_rows);
	bool vector =
		shape || ASSUMED(c, lanes) || ASSUMED(c, simd_stages) || ASSUMED(c, clock_khz);
	bool array =
		shape || ASSUMED(c, lanes) || ASSUMED(c, systolic_cols) || ASSUMED(c, clock_khz);
	char text[32];
	struct pci_card pci;

	row("RDU name", false, "RDU_0");
	row("Chip", false, "%s (description %016llx)", in->chip, (unsigned long long)in->chip_hash);
	row("Serial Number", false, "%s", in->serial);
	row("Driver", false, "%s, interface %u.%u", in->driver, in->interface_version >> 16,
	    in->interface_version & 0xffff);
	if (in->is_model) {
		row("Where", false, "a model in this process");
	} else {
		row("Node", false, "%s", in->node);
		row("PCI address", false, "%s", in->pci_address);
		pci_card_read(in->pci_address, &pci);
		print_pci(&pci);
	}
	row("Number of TILES", ASSUMED(c, tiles), "%u", c->tiles);
	print_tiles(dev, c);
	row("Number of PCUs", shape, "%u", pcus);
	row("Number of PMUs", shape, "%u", pmus);
	row("Lanes", ASSUMED(c, lanes), "%u words of 32 bits", c->lanes);
	row("Systolic array", array, c->systolic_cols ? "%u x %u bf16, int8 or ternary" : "none", c->lanes,
	    c->systolic_cols);
	row("Clock", ASSUMED(c, clock_khz), "%.3g GHz", c->clock_khz * 1e-6);
	row("Peak bf16", array, "%.4g TFLOPS", rdu_chip_peak_bf16_flops(c) * 1e-12);
	row("Peak int8", true, "%.4g TOPS", rdu_chip_peak_int8_ops(c) * 1e-12);
	row("Peak fp32", vector, "%.4g TFLOPS", rdu_chip_peak_fp32_flops(c) * 1e-12);
	row("On-chip memory", shape || ASSUMED(c, pmu_bytes), "%s",
	    human_bytes((double)pmus * c->pmu_bytes, text, sizeof(text)));
	row("Number of DDRCHs", ASSUMED(c, dram_channels), "%u", c->dram_channels);
	row("Memory bandwidth", ASSUMED(c, dram_mbps), "%.4g GB/s", c->dram_mbps * 1e-3);
	row("Host bandwidth (modelled)", ASSUMED(c, host_mbps), "%.4g GB/s each way",
	    c->host_mbps * 1e-3);
	row("Total memory size", false, "%s", human_bytes(in->mem_total, text, sizeof(text)));
	row("Free memory", false, "%s", human_bytes(in->mem_free, text, sizeof(text)));
	row("Contexts at most", false, "%u", in->num_queues);
	row("Temperature (modelled)", false, "%.1f C", in->temp_millidegree * 1e-3);
	row("Power (modelled)", false, "%.1f W", in->power_milliwatt * 1e-3);
	row("ECC errors", false, "%u corrected, %u not", in->ecc_corrected, in->ecc_uncorrected);
	row("Card clock", false, "%llu cycles", (unsigned long long)in->clock_cycles);
	if (all) {
		printf("\nChip description\n");
#define FIELD(i, f, u, d) \
	printf("  %-18s %12u%-3s %-12s %s\n", #f, c->f, mark(c->assumed >> i & 1), u, d);
		RDU_CHIP_FIELDS(FIELD)
#undef FIELD
	}
	if (c->assumed)
		printf("\n* assumed: not published, chosen so that the published totals come "
		       "out\n");
}

static void print_json(struct rdu_device *dev, const struct rdu_device_info *in)
{
	const struct rdu_chip *c = rdu_device_chip(dev);
	struct json j;
	struct pci_card pci;
	char hash[24];

	json_open(&j, stdout);
	json_string(&j, "chip", in->chip);
	snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)in->chip_hash);
	json_string(&j, "chip_hash", hash);
	json_string(&j, "serial", in->serial);
	json_string(&j, "driver", in->driver);
	json_bool(&j, "model", in->is_model);
	json_string(&j, "node", in->node);
	json_string(&j, "pci_address", in->pci_address);
	if (!in->is_model) {
		pci_card_read(in->pci_address, &pci);
		json_pci(&j, &pci);
	}
	json_integer(&j, "pcus", c->tiles * rdu_chip_pcus_per_tile(c));
	json_integer(&j, "pmus", c->tiles * rdu_chip_pmus_per_tile(c));
	json_number(&j, "peak_bf16_flops", rdu_chip_peak_bf16_flops(c));
	json_number(&j, "peak_int8_ops", rdu_chip_peak_int8_ops(c));
	json_number(&j, "peak_fp32_flops", rdu_chip_peak_fp32_flops(c));
	json_integer(&j, "mem_total", in->mem_total);
	json_integer(&j, "mem_free", in->mem_free);
	json_integer(&j, "contexts", in->num_queues);
	json_integer(&j, "clock_cycles", in->clock_cycles);
	json_integer(&j, "temp_millidegree", in->temp_millidegree);
	json_integer(&j, "power_milliwatt", in->power_milliwatt);
	json_integer(&j, "ecc_corrected", in->ecc_corrected);
	json_integer(&j, "ecc_uncorrected", in->ecc_uncorrected);
	json_begin(&j, "description", '{');
#define FIELD(i, f, u, d) json_integer(&j, #f, c->f);
	RDU_CHIP_FIELDS(FIELD)
#undef FIELD
	json_end(&j, '}');
	json_begin(&j, "assumed", '[');
#define FIELD(i, f, u, d)        \
	if (c->assumed >> i & 1) \
		json_string(&j, NULL, #f);
	RDU_CHIP_FIELDS(FIELD)
#undef FIELD
	json_end(&j, ']');
	json_close(&j);
}

int cmd_info(int argc, char **argv)
{
	static const struct option options[] = {
		DEVICE_OPTION, JSON_OPTION, HELP_OPTION, { "all", no_argument, NULL, 'a' }, { 0 }
	};
	const char *device = default_device();
	struct rdu_device_info info;
	struct rdu_device *dev;
	bool json = false, all = false;
	int c, ret = EXIT_OK;

	while ((c = getopt_long(argc, argv, "d:jah", options, NULL)) >= 0) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 'a':
			all = true;
			break;
		case 'h':
			return help("info", DEVICE_HELP
				    "  -a, --all            the whole chip description\n"
				    "  -j, --json           for programs\n");
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		return usage("info", "\"%s\" is one argument too many", argv[optind]);
	if (rdu_open(device, &dev) || rdu_device_get_info(dev, &info, sizeof(info)))
		ret = fail("%s", rdu_error_text(dev));
	else if (json)
		print_json(dev, &info);
	else
		print_text(dev, &info, all);
	rdu_close(dev);
	return ret;
}
