// SPDX-License-Identifier: MIT
/*
 * What is PCI about a card, through libpci: link, BARs, interrupts, error status;
 * and the errors that the kernel has counted. All of it is in configuration
 * space, of which the kernel shows the capabilities to root only.
 */
#include <pci/pci.h>
#include <string.h>
#include <unistd.h>
#include "rdu_tool.h"

static const struct pci_error_bit uncorrected_bits[] = {
	{ PCI_ERR_UNC_DLP, "DLP", "data link protocol" },
	{ PCI_ERR_UNC_SDES, "SDES", "surprise down" },
	{ PCI_ERR_UNC_POISON_TLP, "TLP", "poisoned TLP" },
	{ PCI_ERR_UNC_FCP, "FCP", "flow control" },
	{ PCI_ERR_UNC_COMP_TIME, "CmpltTO", "completion timeout" },
	{ PCI_ERR_UNC_COMP_ABORT, "CmpltAbrt", "completer abort" },
	{ PCI_ERR_UNC_UNX_COMP, "UnxCmplt", "unexpected completion" },
	{ PCI_ERR_UNC_RX_OVER, "RxOF", "receiver overflow" },
	{ PCI_ERR_UNC_MALF_TLP, "MalfTLP", "malformed TLP" },
	{ PCI_ERR_UNC_ECRC, "ECRC", "end-to-end CRC" },
	{ PCI_ERR_UNC_UNSUP, "UnsupReq", "unsupported request" },
	{ PCI_ERR_UNC_ACS_VIOL, "ACSViol", "access control violation" },
	{ 0 }
};

static const struct pci_error_bit corrected_bits[] = {
	{ PCI_ERR_COR_RCVR, "RxErr", "receiver error" },
	{ PCI_ERR_COR_BAD_TLP, "BadTLP", "bad TLP" },
	{ PCI_ERR_COR_BAD_DLLP, "BadDLLP", "bad data link packet" },
	{ PCI_ERR_COR_REP_ROLL, "Rollover", "replay number rollover" },
	{ PCI_ERR_COR_REP_TIMER, "Timeout", "replay timer" },
	{ PCI_ERR_COR_REP_ANFE, "NonFatalErr", "advisory non-fatal" },
	{ 0 }
};

static double speed_of(unsigned int code)
{
	static const double gts[] = { 0, 2.5, 5, 8, 16, 32, 64 };

	return code < 7 ? gts[code] : 0;
}

static void read_bars(const struct pci_dev *p, struct pci_card *card)
{
	unsigned int i;

	for (i = 0; i < 6; i++) {
		if (!p->size[i])
			continue;
		card->bars[card->num_bars].bar = i;
		card->bars[card->num_bars].address = p->base_addr[i] & PCI_ADDR_MEM_MASK;
		card->bars[card->num_bars++].size = p->size[i];
	}
}

static void read_capabilities(struct pci_dev *p, struct pci_card *card)
{
	const struct pci_cap *cap = pci_find_cap(p, PCI_CAP_ID_EXP, PCI_CAP_NORMAL);

	if (cap) {
		unsigned int now = pci_read_word(p, cap->addr + PCI_EXP_LNKSTA);
		unsigned int most = pci_read_long(p, cap->addr + PCI_EXP_LNKCAP);

		card->gts = speed_of(now & PCI_EXP_LNKSTA_SPEED);
		card->width = (now & PCI_EXP_LNKSTA_WIDTH) >> 4;
		card->max_gts = speed_of(most & PCI_EXP_LNKCAP_SPEED);
		card->max_width = (most & PCI_EXP_LNKCAP_WIDTH) >> 4;
		card->link = card->width > 0;
	}
	cap = pci_find_cap(p, PCI_CAP_ID_MSIX, PCI_CAP_NORMAL);
	if (cap) {
		unsigned int control = pci_read_word(p, cap->addr + PCI_MSI_FLAGS);

		card->msix_vectors = (control & PCI_MSIX_TABSIZE) + 1;
		card->msix_enabled = control & PCI_MSIX_ENABLE;
	}
	cap = pci_find_cap(p, PCI_EXT_CAP_ID_AER, PCI_CAP_EXTENDED);
	if (cap) {
		card->aer = true;
		card->uncorrected = pci_read_long(p, cap->addr + PCI_ERR_UNCOR_STATUS);
		card->corrected = pci_read_long(p, cap->addr + PCI_ERR_COR_STATUS);
	}
}

/* The last line, "TOTAL_ERR_... NUMBER", of what the kernel has counted. */
static bool read_counter(const char *address, const char *name, uint64_t *count)
{
	char path[96], line[64];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%.32s/%s", address, name);
	f = fopen(path, "r");
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		unsigned long long n;

		if (sscanf(line, "TOTAL_ERR_%*s %llu", &n) == 1) {
			*count = n;
			found = true;
		}
	}
	fclose(f);
	return found;
}

/* libpci ends the process when it fails, so ask whether it can work at all. */
void pci_card_read(const char *address, struct pci_card *card)
{
	unsigned int domain, bus, dev, func;
	struct pci_access *access_;
	struct pci_dev *p;

	memset(card, 0, sizeof(*card));
	if (sscanf(address, "%x:%x:%x.%x", &domain, &bus, &dev, &func) != 4 ||
	    access("/sys/bus/pci/devices", R_OK))
		return;
	access_ = pci_alloc();
	access_->method = PCI_ACCESS_SYS_BUS_PCI;
	pci_init(access_);
	p = pci_get_dev(access_, domain, bus, dev, func);
	pci_fill_info(p, PCI_FILL_IDENT | PCI_FILL_BASES | PCI_FILL_SIZES | PCI_FILL_CAPS |
				 PCI_FILL_EXT_CAPS);
	read_bars(p, card);
	read_capabilities(p, card);
	pci_free_dev(p);
	pci_cleanup(access_);
	card->counted = read_counter(address, "aer_dev_correctable", &card->count_corrected) &&
			read_counter(address, "aer_dev_nonfatal", &card->count_nonfatal) &&
			read_counter(address, "aer_dev_fatal", &card->count_fatal);
}

/* 128b/130b from 8 GT/s on, 8b/10b before. */
double pci_card_gbs(const struct pci_card *card)
{
	return card->gts * card->width / 8 * (card->gts >= 8 ? 128.0 / 130 : 0.8);
}

const struct pci_error_bit *pci_uncorrected_bits(void)
{
	return uncorrected_bits;
}

const struct pci_error_bit *pci_corrected_bits(void)
{
	return corrected_bits;
}
