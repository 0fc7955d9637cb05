/* SPDX-License-Identifier: MIT */
/* Device page tables of the in-process driver, as the driver makes them (regs.h). */
#include <string.h>
#include "model.h"

#define INDEX(va, level) ((va) >> (RDU_PT_SHIFT + RDU_PT_BITS * (level)) & 511)

static uint64_t *entries(struct model *m, uint64_t table)
{
	return (uint64_t *)(void *)(m->mem + table);
}

/* The card may walk the tables meanwhile. */
static void set_entry(uint64_t *at, uint64_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

int lr_model_new_table(struct model *m, uint64_t *table)
{
	int ret = lr_ranges_take(&m->free, MODEL_PAGE, MODEL_PAGE, table);

	if (!ret)
		memset(m->mem + *table, 0, MODEL_PAGE);
	return ret;
}

void lr_model_free_tables(struct model *m, uint64_t table, unsigned int level)
{
	uint64_t *e = entries(m, table);
	unsigned int i;

	for (i = 0; level && i < 512; i++)
		if (e[i] & RDU_PTE_VALID && !(e[i] & RDU_PTE_LARGE))
			lr_model_free_tables(m, e[i] & RDU_PTE_ADDR, level - 1);
	memset(e, 0, MODEL_PAGE);
	lr_ranges_give(&m->free, table, MODEL_PAGE);
}

/* The entry for va at a level, making tables on the way; NULL: no memory, or
 * (make false) nothing is mapped there. *level: where a large entry ended it. */
static uint64_t *find(struct model *m, uint64_t root, uint64_t va, unsigned int *level, bool make)
{
	uint64_t table = root;
	unsigned int l;

	for (l = RDU_PT_LEVELS - 1; l > *level; l--) {
		uint64_t *e = &entries(m, table)[INDEX(va, l)];

		if (*e & RDU_PTE_LARGE) {
			*level = l;
			return e;
		}
		if (!(*e & RDU_PTE_VALID)) {
			if (!make || lr_model_new_table(m, &table))
				return NULL;
			set_entry(e, table | RDU_PTE_VALID);
		}
		table = *e & RDU_PTE_ADDR;
	}
	return &entries(m, table)[INDEX(va, *level)];
}

int lr_model_map(struct model *m, uint64_t root, uint64_t va, uint64_t to, uint64_t size,
		 uint64_t flags)
{
	uint64_t start = va;

	while (size) {
		bool large = !((va | to) & (MODEL_LARGE - 1)) && size >= MODEL_LARGE;
		uint64_t n = large ? MODEL_LARGE : MODEL_PAGE;
		unsigned int level = large;
		uint64_t *e = find(m, root, va, &level, true);

		/* A table of small pages may be left from a buffer that is gone. */
		if (e && large && *e & RDU_PTE_VALID) {
			uint64_t old = *e & RDU_PTE_ADDR;

			set_entry(e, 0);
			lr_model_free_tables(m, old, 0);
		}
		if (!e) {
			lr_model_unmap(m, root, start, va - start);
			return -ENOSPC;
		}
		set_entry(e, to | flags | RDU_PTE_VALID | (large ? RDU_PTE_LARGE : 0));
		va += n;
		to += n;
		size -= n;
	}
	return 0;
}

void lr_model_unmap(struct model *m, uint64_t root, uint64_t va, uint64_t size)
{
	uint64_t end = va + size;

	while (va < end) {
		unsigned int level = 0;
		uint64_t *e = find(m, root, va, &level, false);
		uint64_t n = level ? MODEL_LARGE : MODEL_PAGE;

		if (e)
			set_entry(e, 0);
		va += n;
	}
}
