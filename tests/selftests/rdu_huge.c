// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A card with as much memory as SN10 has, 1.5 TB: all of it can be used, and it costs
 * the kernel nothing before it is. In a VM with CARD_ARGS=mem-size=1536G.
 */
#include "card.h"

#define HUGE (1ULL << 40)

static uint64_t card_memory(int fd)
{
	struct drm_rdu_query_memory mem;

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &mem, sizeof(mem)), 0);
	if (mem.size < HUGE)
		SKIP("the card has less than a TiB of memory");
	EXPECT_EQ(mem.cpu_visible, mem.size);
	EXPECT_GE(mem.free, mem.size - (1 << 20));
	return mem.size;
}

/* KiB of a line of /proc/meminfo. */
static uint64_t meminfo(const char *name)
{
	FILE *file = fopen("/proc/meminfo", "r");
	unsigned long long kib = 0;
	char line[128];

	ASSERT_TRUE(file);
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
			kib = strtoull(line + strlen(name) + 1, NULL, 10);
	fclose(file);
	ASSERT_GT(kib, 0);
	return kib;
}

/* Two of its ends: the allocator gives the last page as well as the first. */
TEST(usable)
{
	int fd = card_open_idle();
	uint64_t size = card_memory(fd), *word;
	uint32_t bo;

	bo = bo_create(fd, 64 << 20, DRM_RDU_PLACEMENT_DEVICE);
	word = bo_map(fd, bo, 64 << 20);
	EXPECT_EQ(word[(64 << 17) - 1], 0);
	word[(64 << 17) - 1] = size;
	EXPECT_EQ(word[(64 << 17) - 1], size);
	EXPECT_EQ(bo_close(fd, bo), 0);
	close(fd);
}

/* Nothing in the kernel is as long as card memory has pages: a bit each were 48 MiB. */
TEST(costs_nothing)
{
	int fd = card_open_idle();
	uint64_t vmalloc, slab;
	char pci[32];

	card_memory(fd);
	pci_name(fd, pci);
	close(fd);
	vmalloc = meminfo("VmallocUsed");
	slab = meminfo("Slab");
	ASSERT_EQ(sys_write("/sys/bus/pci/drivers/rdu/unbind", pci), 0);
	EXPECT_GE(meminfo("VmallocUsed") + 4096, vmalloc);
	EXPECT_GE(meminfo("Slab") + 8192, slab);
	ASSERT_EQ(sys_write("/sys/bus/pci/drivers/rdu/bind", pci), 0);
}
