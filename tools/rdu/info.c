// SPDX-License-Identifier: MIT
/* rdu info: what `snconfig show Node static` shows, from the card itself. */
#include <pci/pci.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "rdu_tool.h"
#include "rdu_card.h"

struct link {
	bool known;
	double gts; /* GT/s of a lane */
	unsigned int width, max_width;
	double max_gts;
	unsigned int num_bars;
	struct {
		unsigned int bar;
		unsigned long long address, size;
	} bars[6];
};

static double speed_of(unsigned int code)
{
	static const double gts[] = { 0, 2.5, 5, 8, 16, 32, 64 };

	return code < 7 ? gts[code] : 0;
}

/* libpci ends the process when it fails, so ask whether it can work at all. */
static void read_link(const char *address, struct link *l)
{
	unsigned int domain, bus, dev, func, i;
	struct pci_access *access_;
	struct pci_dev *p;
	struct pci_cap *cap;

	memset(l, 0, sizeof(*l));
	if (sscanf(address, "%x:%x:%x.%x", &domain, &bus, &dev, &func) != 4 ||
	    access("/sys/bus/pci/devices", R_OK))
		return;
	access_ = pci_alloc();
	access_->method = PCI_ACCESS_SYS_BUS_PCI;
	pci_init(access_);
	p = pci_get_dev(access_, domain, bus, dev, func);
	pci_fill_info(p, PCI_FILL_IDENT | PCI_FILL_BASES | PCI_FILL_SIZES | PCI_FILL_CAPS);
	for (i = 0; i < 6; i++) {
		if (!p->size[i])
			continue;
		l->bars[l->num_bars].bar = i;
		l->bars[l->num_bars].address = p->base_addr[i] & PCI_ADDR_MEM_MASK;
		l->bars[l->num_bars++].size = p->size[i];
	}
	cap = pci_find_cap(p, PCI_CAP_ID_EXP, PCI_CAP_NORMAL);
	if (cap) {
		unsigned int now = pci_read_word(p, cap->addr + PCI_EXP_LNKSTA);
		unsigned int most = pci_read_long(p, cap->addr + PCI_EXP_LNKCAP);

		l->gts = speed_of(now & PCI_EXP_LNKSTA_SPEED);
		l->width = (now & PCI_EXP_LNKSTA_WIDTH) >> 4;
		l->max_gts = speed_of(most & PCI_EXP_LNKCAP_SPEED);
		l->max_width = (most & PCI_EXP_LNKCAP_WIDTH) >> 4;
		l->known = l->width > 0;
	}
	pci_free_dev(p);
	pci_cleanup(access_);
}

/* 128b/130b from 8 GT/s on, 8b/10b before. */
static double link_gbs(double gts, unsigned int width)
{
	return gts * width / 8 * (gts >= 8 ? 128.0 / 130 : 0.8);
}

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

static void print_text(struct rdu_device *dev, const struct rdu_device_info *in, bool all)
{
	const struct rdu_chip *c = rdu_device_chip(dev);
	unsigned int pcus = c->tiles * rdu_chip_pcus_per_tile(c);
	unsigned int pmus = c->tiles * rdu_chip_pmus_per_tile(c), i;
	bool shape = ASSUMED(c, tiles) || ASSUMED(c, tile_cols) || ASSUMED(c, tile_rows);
	bool vector =
		shape || ASSUMED(c, lanes) || ASSUMED(c, simd_stages) || ASSUMED(c, clock_khz);
	bool array =
		shape || ASSUMED(c, lanes) || ASSUMED(c, systolic_cols) || ASSUMED(c, clock_khz);
	char text[32];
	struct link l = { 0 };

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
		read_link(in->pci_address, &l);
		if (l.known) {
			row("PCIe Speed", false, "%g GT/s (of %g)", l.gts, l.max_gts);
			row("PCIe Width", false, "%u (of %u)", l.width, l.max_width);
			row("PCIe Bandwidth", false, "%.1f GB/s each way",
			    link_gbs(l.gts, l.width));
		}
		for (i = 0; i < l.num_bars; i++)
			printf("  BAR%u                            : %s at 0x%llx\n", l.bars[i].bar,
			       human_bytes(l.bars[i].size, text, sizeof(text)), l.bars[i].address);
	}
	row("Number of TILES", ASSUMED(c, tiles), "%u", c->tiles);
	print_tiles(dev, c);
	row("Number of PCUs", shape, "%u", pcus);
	row("Number of PMUs", shape, "%u", pmus);
	row("Lanes", ASSUMED(c, lanes), "%u words of 32 bits", c->lanes);
	row("Systolic array", array, c->systolic_cols ? "%u x %u bf16" : "none", c->lanes,
	    c->systolic_cols);
	row("Clock", ASSUMED(c, clock_khz), "%.3g GHz", c->clock_khz * 1e-6);
	row("Peak bf16", array, "%.4g TFLOPS", rdu_chip_peak_bf16_flops(c) * 1e-12);
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
	struct link l;
	char hash[24];
	unsigned int i;

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
		read_link(in->pci_address, &l);
		if (l.known) {
			json_number(&j, "pcie_gts", l.gts);
			json_integer(&j, "pcie_width", l.width);
			json_number(&j, "pcie_gbs", link_gbs(l.gts, l.width));
		}
		json_begin(&j, "bars", '[');
		for (i = 0; i < l.num_bars; i++) {
			json_begin(&j, NULL, '{');
			json_integer(&j, "bar", l.bars[i].bar);
			json_integer(&j, "size", l.bars[i].size);
			json_end(&j, '}');
		}
		json_end(&j, ']');
	}
	json_integer(&j, "pcus", c->tiles * rdu_chip_pcus_per_tile(c));
	json_integer(&j, "pmus", c->tiles * rdu_chip_pmus_per_tile(c));
	json_number(&j, "peak_bf16_flops", rdu_chip_peak_bf16_flops(c));
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
