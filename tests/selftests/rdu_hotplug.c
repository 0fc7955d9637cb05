// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The card is pulled out of the running machine and another is put in: QEMU's
 * device_del and device_add, given from in here (MONITOR=yes). Slots are ACPI's or
 * PCI Express's own, as the machine has it.
 */
#include <dirent.h>
#include <glob.h>
#include <pthread.h>
#include <sys/klog.h>
#include <linux/udmabuf.h>

#include "monitor.h"
#include "program.h"
#include "victim.h"

/* What the slot holds, and what the driver has to show for it. */
struct slot {
	char chip[17], pci[32];
	struct drm_rdu_query_memory memory;
	unsigned int nodes, monitors, irqs, debug;
};

static unsigned int entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned int count = 0;

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

static unsigned int interrupts(void)
{
	FILE *f = fopen("/proc/interrupts", "r");
	unsigned int count = 0;
	char line[512];

	ASSERT_TRUE(f);
	while (fgets(line, sizeof(line), f))
		count += !!strstr(line, " rdu-");
	fclose(f);
	return count;
}

static void slot_look(struct slot *s)
{
	int fd = card_open_idle();

	*s = (struct slot){ 0 };
	pci_name(fd, s->pci);
	memcpy(s->chip, card_info(fd).chip_name, 16);
	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &s->memory, sizeof(s->memory)), 0);
	close(fd);
	s->nodes = entries("/dev/accel");
	s->monitors = entries("/sys/class/hwmon");
	s->irqs = interrupts();
	s->debug = entries("/sys/kernel/debug/accel");
}

/* Their button is pressed, and five seconds pass in case it is pressed again. */
static bool slots_are_native(void)
{
	glob_t found;
	bool native = !glob("/sys/bus/pci_express/drivers/pciehp/*:pcie*", 0, NULL, &found);

	globfree(&found);
	return native;
}

static void slot_init(struct slot *s)
{
	fclose(monitor_open()); /* or skip */
	if (entries("/sys/bus/pci/slots") < 3)
		SKIP("no slot: the kernel needs CONFIG_HOTPLUG_PCI_ACPI, or _PCIE");
	slot_look(s);
}

/* When the event is there, the guest has let go of the card. */
static void card_remove(void)
{
	ASSERT_EQ(monitor_until("\"DEVICE_DELETED\", \"data\": {\"device\": \"rdu0\"",
				"'execute': 'device_del', 'arguments': {'id': 'rdu0'}"), 0);
}

/* Another card of the same kind: it can be told by its serial number. */
static void card_insert(const struct slot *s, unsigned int serial)
{
	int fd = -1;

	ASSERT_EQ(monitor("'execute': 'device_add', 'arguments': {'driver': 'rdu', 'id': 'rdu0', "
			  "'bus': 'port0', 'chip': '%s', 'mem-size': %llu, 'serial': 'NEW-%u'}",
			  s->chip, (unsigned long long)s->memory.cpu_visible, serial), 0);
	for (int i = 0; i < 600 && fd < 0; i++) {
		fd = card_find(0);
		usleep(fd < 0 ? 100000 : 0);
	}
	ASSERT_GE(fd, 0);
	close(fd);
}

/* The card in the slot works, nothing of another is left. */
static void slot_check(const struct slot *before, unsigned int serial)
{
	char name[17] = "", want[17];
	struct slot now;
	struct run r;

	slot_look(&now);
	EXPECT_EQ(strcmp(now.pci, before->pci), 0);
	EXPECT_EQ(now.memory.size, before->memory.size);
	EXPECT_EQ(now.memory.free, before->memory.free);
	EXPECT_EQ(now.nodes, before->nodes);
	EXPECT_EQ(now.monitors, before->monitors);
	EXPECT_EQ(now.irqs, before->irqs);
	EXPECT_EQ(now.debug, before->debug);

	r.fd = card_open();
	memcpy(name, card_info(r.fd).serial, 16);
	snprintf(want, sizeof(want), "NEW-%u", serial);
	EXPECT_EQ(strcmp(name, want), 0);
	run_init(&r, r.fd, 3, card_info(r.fd).num_tiles, DRM_RDU_PLACEMENT_DEVICE);
	run_check(&r, 3, 1);
	close(r.fd);
	munmap(r.args.map, r.args.size);
	munmap(r.stats.map, r.stats.size);
	munmap(r.in.map, r.in.size);
	munmap(r.out.map, r.out.size);
}

/* How many lines of the kernel's log have both of them. */
static int kernel_said(const char *what, const char *more)
{
	static char log[1 << 20];
	int size = klogctl(3, log, sizeof(log) - 1), count = 0;

	ASSERT_GE(size, 0);
	log[size] = 0;
	for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n"))
		count += strstr(line, what) && strstr(line, more);
	return count;
}

/* The port has no window for a card with so much memory: the driver says so. */
TEST_TIMED(no_room, 240)
{
	static const char what[] = "BAR4 (card memory, 1048576 MiB) has no address";
	static const char cure[] = "pref64-reserve=1048576M";
	struct slot before;
	int said = kernel_said(what, cure), now = said;

	slot_init(&before);
	card_remove();
	ASSERT_EQ(monitor("'execute': 'device_add', 'arguments': {'driver': 'rdu', 'id': 'rdu0', "
			  "'bus': 'port0', 'mem-size': %llu}", 1ULL << 40), 0);
	for (int i = 0; i < 600 && now == said; i++) {
		usleep(100000);
		now = kernel_said(what, cure);
	}
	EXPECT_GT(now, said);
	card_remove();
	card_insert(&before, 77);
	slot_check(&before, 77);
}

/* Work in flight, buffers mapped, a waiter, which is woken. */
TEST_TIMED(work_in_flight, 240)
{
	int rounds = slots_are_native() ? 3 : 20;
	struct slot slot;

	slot_init(&slot);
	for (int i = 0; i < rounds; i++) {
		struct victim v;
		pid_t waiter;

		victim_init(&v);
		waiter = waiter_start(&v);
		card_remove();
		waiter_end(waiter);
		victim_check(&v);
		card_insert(&slot, i);
		slot_check(&slot, i);
	}
}

/* A file of the old card stays what it was while the new one is at work. */
TEST(old_file)
{
	struct slot slot;
	struct victim v;

	slot_init(&slot);
	victim_init(&v);
	card_remove();
	card_insert(&slot, 100);
	slot.nodes = entries("/dev/accel");
	slot_check(&slot, 100);
	victim_check(&v);
	slot_check(&slot, 100);
}

/*
 * Buffers that went out as dma-bufs: card memory is zeros from then on, not the
 * new card's; system memory can be had by the new card, and is what it was.
 */
TEST(exported)
{
	uint32_t vm, ctx, in, *device, *system;
	struct slot slot;
	struct victim v;
	struct buffer b;
	int far, near;

	slot_init(&slot);
	victim_init(&v);
	far = bo_export(v.fd, v.device.handle);
	near = bo_export(v.fd, v.system.handle);
	device = mmap(NULL, v.device.size, PROT_READ | PROT_WRITE, MAP_SHARED, far, 0);
	system = mmap(NULL, v.system.size, PROT_READ | PROT_WRITE, MAP_SHARED, near, 0);
	ASSERT_TRUE(device != MAP_FAILED && system != MAP_FAILED);
	device[0] = 42;
	for (unsigned int i = 0; i < v.system.size / 4; i++)
		system[i] = i * 7;
	card_remove();
	EXPECT_EQ(device[0], 0);
	victim_check(&v);
	card_insert(&slot, 200);

	v.fd = card_open();
	vm = vm_create(v.fd);
	ctx = ctx_create(v.fd, vm, 0);
	b = buffer_create(v.fd, vm, VA_BASE, v.system.size, DRM_RDU_PLACEMENT_DEVICE);
	memset(b.map, 0x5a, b.size);
	for (unsigned int i = 0; i < v.device.size / 4; i += PAGE / 4)
		ASSERT_NE(device[i], 0x5a5a5a5a);
	EXPECT_TRUE(bo_import(v.fd, far, &in));
	ASSERT_EQ(bo_import(v.fd, near, &in), 0);
	ASSERT_EQ(vm_map(v.fd, vm, in, 0, VA_BASE + (1 << 30), v.system.size, 0), 0);
	ASSERT_EQ(run_job(v.fd, ctx, job_copy(b.va, VA_BASE + (1 << 30), b.size)), 1);
	for (unsigned int i = 0; i < b.size / 4; i++)
		ASSERT_EQ(((uint32_t *)b.map)[i], i * 7);
	close(v.fd);
	close(far);
	close(near);
	munmap(b.map, b.size);
	munmap(device, v.device.size);
	munmap(system, v.system.size);
	slot_check(&slot, 200);
}

/* Somebody else's memory that the card was writing to. */
TEST(imported)
{
	struct udmabuf_create create = { .size = 1 << 20 };
	int dev = open("/dev/udmabuf", O_RDWR), dmabuf;
	uint32_t in, *map, before;
	struct drm_rdu_job jobs[64];
	struct slot slot;
	struct victim v;

	if (dev < 0)
		SKIP("no udmabuf");
	slot_init(&slot);
	victim_init(&v);
	create.memfd = memfd_create("rdu", MFD_ALLOW_SEALING);
	ASSERT_EQ(ftruncate(create.memfd, create.size), 0);
	ASSERT_EQ(fcntl(create.memfd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	map = mmap(NULL, create.size, PROT_READ | PROT_WRITE, MAP_SHARED, create.memfd, 0);
	dmabuf = ioctl(dev, UDMABUF_CREATE, &create);
	ASSERT_GE(dmabuf, 0);
	ASSERT_EQ(bo_import(v.fd, dmabuf, &in), 0);
	close(dmabuf);
	ASSERT_EQ(vm_map(v.fd, v.vm, in, 0, VA_BASE + (2UL << 30), create.size, 0), 0);
	for (int i = 0; i < 64; i++)
		jobs[i] = job_fill(VA_BASE + (2UL << 30), create.size, i + 1);
	for (int i = 0; i < 64; i++)
		ASSERT_EQ(submit(v.fd, v.ctx, jobs, 64, 0), 0);
	card_remove();
	before = *map;
	card_insert(&slot, 300);
	EXPECT_EQ(*map, before);
	victim_check(&v);
	munmap(map, create.size);
	close(create.memfd);
	close(dev);
	slot_check(&slot, 300);
}

/* It was off the bus already when its slot was told: nobody waits for it. */
TEST(surprise)
{
	static const char *const faults[] = { "fault-gone", "fault-dead" };
	struct slot slot;

	slot_init(&slot);
	for (int i = 0; i < (slots_are_native() ? 2 : 4); i++) {
		struct victim v;

		victim_init(&v);
		ASSERT_EQ(card_property(0, faults[i % 2], "true"), 0);
		/* What is mapped is there or is not; it is not a signal. */
		*(volatile uint32_t *)v.device.map;
		card_remove();
		victim_check(&v);
		card_insert(&slot, 400 + i);
		slot_check(&slot, 400 + i);
	}
}

struct binder {
	struct victim *v;
	pthread_t thread;
	int ret;
};

/* Cuts a buffer to pieces and mends it: tables fall out by the hundred. */
static void *bind_for_ever(void *data)
{
	struct binder *b = data;
	struct victim *v = b->v;

	do {
		for (unsigned int i = 0; i < 8 && !b->ret; i++) {
			b->ret = vm_map(v->fd, v->vm, v->device.handle, 0,
					(3UL << 30) + (2UL << 20) * i + PAGE, PAGE, 0);
			if (!b->ret)
				b->ret = vm_unmap(v->fd, v->vm, 3UL << 30, 1UL << 30);
		}
	} while (!b->ret);
	return NULL;
}

/*
 * The queue hangs, and binding waits for it with tables to free, when the card
 * is pulled out: what would have ended the wait comes no more.
 */
TEST(hung)
{
	static const char *const faults[] = { "fault-hang", "fault-stuck" };
	struct slot slot;

	slot_init(&slot);
	for (int i = 0; i < 2; i++) {
		struct drm_rdu_job job = job_barrier();
		struct victim v;
		struct binder b = { .v = &v };

		victim_init(&v);
		ASSERT_EQ(card_property(0, faults[i], "1"), 0);
		ASSERT_EQ(submit(v.fd, v.ctx, &job, 1, v.sync), 0);
		ASSERT_EQ(pthread_create(&b.thread, NULL, bind_for_ever, &b), 0);
		sleep(2); /* to its wait, with luck; the test holds without, too */
		card_remove();
		ASSERT_EQ(pthread_join(b.thread, NULL), 0);
		EXPECT_EQ(b.ret, -ENODEV);
		victim_check(&v);
		card_insert(&slot, 500 + i);
		slot_check(&slot, 500 + i);
	}
}
