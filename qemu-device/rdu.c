/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * RDU card: the PCI Express front of the model in model/.
 *
 *   -device rdu[,chip=NAME|FILE][,memdev=ID][,mem-size=BYTES][,threads=N]
 *              [,serial=TEXT][,timing-only=on]
 *
 *   chip         chip description: sn10 (default), plasticine, or a file
 *   memdev       memory backend that is the card's memory
 *   mem-size     card memory when there is no memdev (4 GiB); untouched pages
 *                cost nothing
 *   threads      host threads that run the fabric, 256 at most; 0: one per host CPU
 *   serial       16 characters at most
 *   timing-only  keep time, compute no values
 *   fault-...    faults on demand, see rdu-inject.c
 *
 * BAR0: registers, with the MSI-X table and its pending bits in the upper half.
 * BAR2: doorbells. BAR4: card memory. What they mean is in include/rdu/regs.h
 * and Documentation/; here they are only passed on.
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qemu/host-utils.h"
#include "rdu.h"

#define RDU_MSIX_TABLE 0x8000
#define RDU_MSIX_PBA 0xc000
#define RDU_AER_OFFSET 0x100
#define RDU_MEM_MAX (2 * PiB) /* what the model takes */

/* ---- BARs ---------------------------------------------------------------- */

static uint64_t rdu_regs_read(void *opaque, hwaddr addr, unsigned int size)
{
	RduState *s = opaque;

	/* A processor may be on its way here while the card is taken out. */
	return s->card ? rdu_card_mmio_read(s->card, addr, size) : ~0ULL;
}

static void rdu_regs_write(void *opaque, hwaddr addr, uint64_t value, unsigned int size)
{
	RduState *s = opaque;

	if (s->card) {
		rdu_card_mmio_write(s->card, addr, value, size);
	}
}

static const MemoryRegionOps rdu_regs_ops = {
	.read = rdu_regs_read,
	.write = rdu_regs_write,
	.endianness = DEVICE_LITTLE_ENDIAN,
	.valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
	.impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

static uint64_t rdu_doorbell_read(void *opaque, hwaddr addr, unsigned int size)
{
	return 0;
}

static void rdu_doorbell_write(void *opaque, hwaddr addr, uint64_t value, unsigned int size)
{
	RduState *s = opaque;

	if (s->card) {
		rdu_card_doorbell(s->card, addr, value, size);
		rdu_host_deliver(s);
	}
}

static const MemoryRegionOps rdu_doorbell_ops = {
	.read = rdu_doorbell_read,
	.write = rdu_doorbell_write,
	.endianness = DEVICE_LITTLE_ENDIAN,
	.valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
	.impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

/* What a processor reads where nothing answers. */
static uint64_t rdu_silence_read(void *opaque, hwaddr addr, unsigned int size)
{
	return ~0ULL;
}

static void rdu_silence_write(void *opaque, hwaddr addr, uint64_t value, unsigned int size)
{
}

static const MemoryRegionOps rdu_silence_ops = {
	.read = rdu_silence_read,
	.write = rdu_silence_write,
	.endianness = DEVICE_LITTLE_ENDIAN,
	.valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
	.impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

static void rdu_silence_init(RduState *s)
{
	MemoryRegion *bars[] = { &s->regs, &s->doorbells, &s->window };

	for (unsigned int i = 0; i < ARRAY_SIZE(bars); i++) {
		memory_region_init_io(&s->silence[i], OBJECT(s), &rdu_silence_ops, s, "rdu-silence",
				      memory_region_size(bars[i]));
		memory_region_set_enabled(&s->silence[i], false);
		memory_region_add_subregion_overlap(bars[i], 0, &s->silence[i], 100);
	}
}

/* A region in another of ours holds the device: it would never be freed. */
static void rdu_silence_exit(RduState *s)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(s->silence); i++) {
		memory_region_del_subregion(s->silence[i].container, &s->silence[i]);
	}
}

/* ---- reset, stop, configuration space ------------------------------------ */

static unsigned int rdu_pm_state(RduState *s)
{
	return pci_get_word(PCI_DEVICE(s)->config + s->pm + PCI_PM_CTRL) & PCI_PM_CTRL_STATE_MASK;
}

/*
 * Dead, off the bus, or in D3hot: the BARs read all ones; rdu-host.c refuses
 * DMA and keeps interrupts back.
 */
void rdu_answer_update(RduState *s)
{
	bool silent = rdu_injected(s, RDU_INJECT_DEAD) || rdu_injected(s, RDU_INJECT_GONE) ||
		      rdu_pm_state(s);

	if (silent == s->silent) {
		return;
	}
	qatomic_set(&s->silent, silent);
	memory_region_transaction_begin();
	for (unsigned int i = 0; i < ARRAY_SIZE(s->silence); i++) {
		memory_region_set_enabled(&s->silence[i], silent);
	}
	memory_region_transaction_commit();
	if (!silent) {
		qemu_bh_schedule(s->irq_bh);
	}
}

static void rdu_reset_hold(RDU_RESET_ARGS)
{
	RduState *s = RDU(obj);
	PCIDevice *pci = PCI_DEVICE(s);

	/* A slot has no power while the machine is suspended to RAM. */
	if (RDU_RESET_IS_WAKEUP) {
		rdu_card_power_on(s->card);
		rdu_mem_clear(s);
	} else {
		rdu_card_reset(s->card);
	}
	rdu_host_reset(s);
	pcie_cap_deverr_reset(pci);
	pcie_cap_lnkctl_reset(pci);
	pci_word_test_and_clear_mask(pci->config + s->pm + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
	rdu_answer_update(s);
}

static uint32_t rdu_read_config(PCIDevice *pci, uint32_t addr, int len)
{
	if (rdu_injected(RDU(pci), RDU_INJECT_GONE)) {
		return ~0u >> (32 - 8 * len);
	}
	return pci_default_read_config(pci, addr, len);
}

static void rdu_write_config(PCIDevice *pci, uint32_t addr, uint32_t value, int len)
{
	RduState *s = RDU(pci);
	unsigned int power = rdu_pm_state(s);

	if (rdu_injected(s, RDU_INJECT_GONE)) {
		return;
	}
	pci_default_write_config(pci, addr, value, len);
	/* There is no D1 and no D2: asked for them, the card stays where it is. */
	if (rdu_pm_state(s) % 3) {
		pci_word_test_and_clear_mask(pci->config + s->pm + PCI_PM_CTRL,
					     PCI_PM_CTRL_STATE_MASK);
		pci_word_test_and_set_mask(pci->config + s->pm + PCI_PM_CTRL, power);
	}
	rdu_answer_update(s);
	pcie_cap_flr_write_config(pci, addr, value, len);
	pcie_aer_write_config(pci, addr, value, len);
}

/* ---- making and unmaking ------------------------------------------------- */

/* Power management: D0 and D3hot, without losing what the card holds. */
static bool rdu_pm_init(PCIDevice *pci, Error **errp)
{
	int cap = pci_add_capability(pci, PCI_CAP_ID_PM, 0, PCI_PM_SIZEOF, errp);

	if (cap < 0) {
		return false;
	}
	RDU(pci)->pm = cap;
	pci_set_word(pci->config + cap + PCI_PM_PMC, 3);
	pci_set_word(pci->config + cap + PCI_PM_CTRL, PCI_PM_CTRL_NO_SOFT_RESET);
	pci_set_word(pci->wmask + cap + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
	return true;
}

static bool rdu_mem_size_fits(const char *what, uint64_t size, Error **errp)
{
	if (size && !(size & (4 * KiB - 1)) && size <= RDU_MEM_MAX) {
		return true;
	}
	error_setg(errp,
		   "%s: card memory is a multiple of 4 KiB, 2 PiB at most, not %" PRIu64 " bytes",
		   what, size);
	return false;
}

/* The card writes to all of the backend's memory, from threads of its own. */
static bool rdu_memdev_fits(RduState *s, Error **errp)
{
	g_autofree char *name = host_memory_backend_get_name(s->memdev);
	MemoryRegion *mr;

	if (s->mem_size_given) {
		error_setg(errp,
			   "mem-size and memdev exclude each other: memdev '%s' has its own size",
			   name);
		return false;
	}
	if (host_memory_backend_is_mapped(s->memdev)) {
		error_setg(errp,
			   "memdev '%s' is in use already, by the machine or by another device",
			   name);
		return false;
	}
	mr = host_memory_backend_get_memory(s->memdev);
	if (!memory_region_is_ram(mr) || memory_region_is_ram_device(mr)) {
		error_setg(errp, "memdev '%s' is not RAM", name);
		return false;
	}
	if (mr->readonly) {
		error_setg(
			errp,
			"memdev '%s' is read only (readonly=on, rom=on): card memory is written to",
			name);
		return false;
	}
	return rdu_mem_size_fits("memdev", memory_region_size(mr), errp);
}

static bool rdu_mem_init(RduState *s, Error **errp)
{
	Error *err = NULL;
	uint64_t size;

	if (s->memdev) {
		if (!rdu_memdev_fits(s, errp)) {
			return false;
		}
		s->mem = host_memory_backend_get_memory(s->memdev);
		host_memory_backend_set_mapped(s->memdev, true);
	} else {
		if (!rdu_mem_size_fits("mem-size", s->mem_size, errp)) {
			return false;
		}
		memory_region_init_ram_flags_nomigrate(&s->own_mem, OBJECT(s), "rdu-mem",
						       s->mem_size, RAM_NORESERVE, &err);
		if (err) {
			error_propagate(errp, err);
			return false;
		}
		s->mem = &s->own_mem;
	}
	size = memory_region_size(s->mem);
	memory_region_init(&s->window, OBJECT(s), "rdu-window", pow2ceil(size));
	memory_region_add_subregion(&s->window, 0, s->mem);
	return true;
}

/*
 * Pages given back read as zeros. But a private mapping would give back those of its
 * file, which is not the card's; and preallocated ones were to stay.
 */
static bool rdu_mem_may_discard(RduState *s)
{
	RAMBlock *block = s->mem->ram_block;

	return !ram_block_discard_is_disabled() &&
	       (qemu_ram_get_fd(block) < 0 || qemu_ram_is_shared(block)) &&
	       !(s->memdev && s->memdev->prealloc);
}

void rdu_mem_clear(RduState *s)
{
	uint64_t size = memory_region_size(s->mem);

	if (!rdu_mem_may_discard(s) || ram_block_discard_range(s->mem->ram_block, 0, size)) {
		memset(memory_region_get_ram_ptr(s->mem), 0, size);
	}
	memory_region_set_dirty(s->mem, 0, size);
}

static bool rdu_card_init(RduState *s, Error **errp)
{
	struct rdu_chip chip;
	struct rdu_card_config config = {
		.chip = &chip,
		.mem = memory_region_get_ram_ptr(s->mem),
		.mem_size = memory_region_size(s->mem),
		.threads = s->threads,
		.serial = s->serial ? s->serial : "",
		.timing_only = s->timing_only,
	};
	const char *why = "out of memory";
	char text[RDU_CHIP_ERRORS];

	if (rdu_chip_find(s->chip ? s->chip : "sn10", &chip, text, sizeof(text))) {
		error_setg(errp, "chip description: %s", text);
		return false;
	}
	s->card = rdu_card_new(&config, &rdu_host_ops, s, &why);
	if (!s->card) {
		error_setg(errp, "chip %s, serial '%s', %u threads: %s", chip.name, config.serial,
			   s->threads, why);
		return false;
	}
	return true;
}

static void rdu_mem_exit(RduState *s)
{
	if (s->mem) {
		memory_region_del_subregion(&s->window, s->mem);
		if (s->memdev) {
			host_memory_backend_set_mapped(s->memdev, false);
		}
		s->mem = NULL;
	}
}

static void rdu_exit(PCIDevice *pci)
{
	RduState *s = RDU(pci);

	qemu_remove_machine_init_done_notifier(&s->machine_done);
	rdu_vmstate_exit(s);
	rdu_card_free(s->card);
	s->card = NULL;
	rdu_host_exit(s);
	msix_uninit(pci, &s->regs, &s->regs);
	pcie_aer_exit(pci);
	pcie_cap_exit(pci);
	rdu_silence_exit(s);
	rdu_mem_exit(s);
}

/* A Gen4 x16 link, negotiated in full (QEMU's default is Gen1 x1). */
static void rdu_link_init(PCIDevice *pci)
{
	uint8_t *cap = pci->config + pci->exp.exp_cap;
	uint32_t link = QEMU_PCI_EXP_LNKCAP_MLW(QEMU_PCI_EXP_LNK_X16) |
			QEMU_PCI_EXP_LNKCAP_MLS(QEMU_PCI_EXP_LNK_16GT);

	pci_long_test_and_clear_mask(cap + PCI_EXP_LNKCAP, PCI_EXP_LNKCAP_MLW | PCI_EXP_LNKCAP_SLS);
	pci_long_test_and_set_mask(cap + PCI_EXP_LNKCAP, link);
	pci_word_test_and_clear_mask(cap + PCI_EXP_LNKSTA, PCI_EXP_LNKSTA_NLW | PCI_EXP_LNKSTA_CLS);
	pci_word_test_and_set_mask(cap + PCI_EXP_LNKSTA, (uint16_t)link);
	pci_set_long(cap + PCI_EXP_LNKCAP2, PCI_EXP_LNKCAP2_SLS_2_5GB | PCI_EXP_LNKCAP2_SLS_5_0GB |
						    PCI_EXP_LNKCAP2_SLS_8_0GB |
						    PCI_EXP_LNKCAP2_SLS_16_0GB);
}

/*
 * A virtual IOMMU translates under the big lock, which the card's threads never
 * take (rdu-host.c). It may come to the machine after the card.
 */
static bool rdu_behind_iommu(RduState *s, Error **errp)
{
	if (pci_device_iommu_address_space(PCI_DEVICE(s)) == &address_space_memory) {
		return false;
	}
	error_setg(errp, "rdu does not work behind a virtual IOMMU");
	return true;
}

static void rdu_machine_done(Notifier *notifier, void *data)
{
	rdu_behind_iommu(container_of(notifier, RduState, machine_done), &error_fatal);
}

static void rdu_realize(PCIDevice *pci, Error **errp)
{
	RduState *s = RDU(pci);

	if (rdu_behind_iommu(s, errp)) {
		return;
	}
	if (!rdu_mem_init(s, errp)) {
		return;
	}
	rdu_host_init(s);
	if (!rdu_card_init(s, errp)) {
		goto no_card;
	}

	memory_region_init_io(&s->regs, OBJECT(s), &rdu_regs_ops, s, "rdu-regs", RDU_BAR0_SIZE);
	memory_region_init_io(&s->doorbells, OBJECT(s), &rdu_doorbell_ops, s, "rdu-doorbells",
			      RDU_MAX_QUEUES * RDU_DOORBELL_STRIDE);
	rdu_silence_init(s);
	pci_register_bar(pci, RDU_BAR_REGS, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->regs);
	pci_register_bar(pci, RDU_BAR_DOORBELL, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->doorbells);
	pci_register_bar(pci, RDU_BAR_MEM,
			 PCI_BASE_ADDRESS_SPACE_MEMORY | PCI_BASE_ADDRESS_MEM_TYPE_64 |
				 PCI_BASE_ADDRESS_MEM_PREFETCH,
			 &s->window);

	if (!rdu_pm_init(pci, errp)) {
		goto no_cap;
	}
	if (pcie_endpoint_cap_init(pci, 0) < 0) {
		error_setg(errp, "no room for the PCI Express capability");
		goto no_cap;
	}
	rdu_link_init(pci);
	pcie_cap_lnkctl_init(pci);
	pcie_cap_flr_init(pci);
	pcie_cap_deverr_init(pci);
	if (pcie_aer_init(pci, PCI_ERR_VER, RDU_AER_OFFSET, PCI_ERR_SIZEOF, errp) < 0) {
		goto no_aer;
	}
	if (msix_init(pci, RDU_NUM_VECTORS, &s->regs, RDU_BAR_REGS, RDU_MSIX_TABLE, &s->regs,
		      RDU_BAR_REGS, RDU_MSIX_PBA, 0, errp) < 0) {
		goto no_msix;
	}
	for (unsigned int v = 0; v < RDU_NUM_VECTORS; v++) {
		msix_vector_use(pci, v);
	}
	if (!rdu_inject_realize(s, errp)) {
		goto no_inject;
	}
	rdu_vmstate_realize(s);
	s->machine_done.notify = rdu_machine_done;
	qemu_add_machine_init_done_notifier(&s->machine_done);
	return;

no_inject:
	msix_uninit(pci, &s->regs, &s->regs);
no_msix:
	pcie_aer_exit(pci);
no_aer:
	pcie_cap_exit(pci);
no_cap:
	rdu_silence_exit(s);
	rdu_card_free(s->card);
	s->card = NULL;
no_card:
	rdu_host_exit(s);
	rdu_mem_exit(s);
}

/* Not one of QEMU's plain properties, which do not tell whether they were given. */
static void rdu_get_mem_size(Object *obj, Visitor *v, const char *name, void *opaque, Error **errp)
{
	RduState *s = RDU(obj);
	uint64_t size = s->mem ? memory_region_size(s->mem) : s->mem_size;

	visit_type_size(v, name, &size, errp);
}

static void rdu_set_mem_size(Object *obj, Visitor *v, const char *name, void *opaque, Error **errp)
{
	RduState *s = RDU(obj);

	if (DEVICE(obj)->realized) {
		error_setg(errp, "the memory of a card that is there cannot change its size");
	} else if (visit_type_size(v, name, &s->mem_size, errp)) {
		s->mem_size_given = true;
	}
}

static void rdu_instance_init(Object *obj)
{
	RDU(obj)->mem_size = 4 * GiB;
	rdu_inject_instance_init(obj);
}

static RDU_PROPERTIES rdu_properties[] = {
	DEFINE_PROP_STRING("chip", RduState, chip),
	DEFINE_PROP_STRING("serial", RduState, serial),
	DEFINE_PROP_UINT32("threads", RduState, threads, 0),
	DEFINE_PROP_BOOL("timing-only", RduState, timing_only, false),
	DEFINE_PROP_LINK("memdev", RduState, memdev, TYPE_MEMORY_BACKEND, HostMemoryBackend *),
	RDU_PROPERTIES_END
};

static void rdu_class_init(ObjectClass *klass, RDU_CLASS_DATA *data)
{
	DeviceClass *dc = DEVICE_CLASS(klass);
	PCIDeviceClass *pc = PCI_DEVICE_CLASS(klass);
	ResettableClass *rc = RESETTABLE_CLASS(klass);

	pc->realize = rdu_realize;
	pc->exit = rdu_exit;
	pc->config_read = rdu_read_config;
	pc->config_write = rdu_write_config;
	pc->vendor_id = RDU_PCI_VENDOR;
	pc->device_id = RDU_PCI_DEVICE;
	pc->class_id = RDU_PCI_CLASS;
	pc->revision = 1;
	rc->phases.hold = rdu_reset_hold;
	dc->vmsd = &rdu_vmstate;
	dc->desc = "Reconfigurable dataflow unit";
	set_bit(DEVICE_CATEGORY_MISC, dc->categories);
	device_class_set_props(dc, rdu_properties);
	object_class_property_add(klass, "mem-size", "size", rdu_get_mem_size, rdu_set_mem_size,
				  NULL, NULL);
	object_class_property_set_description(klass, "mem-size",
					      "card memory without a memdev (4 GiB)");
	rdu_inject_properties(klass);
}

static const TypeInfo rdu_type = {
	.name = TYPE_RDU,
	.parent = TYPE_PCI_DEVICE,
	.instance_size = sizeof(RduState),
	.instance_init = rdu_instance_init,
	.class_init = rdu_class_init,
	.interfaces = (RDU_INTERFACES[]){ { INTERFACE_PCIE_DEVICE }, {} },
};

static void rdu_register_types(void)
{
	type_register_static(&rdu_type);
}

type_init(rdu_register_types)
