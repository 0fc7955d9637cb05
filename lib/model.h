/* SPDX-License-Identifier: MIT */
/* The in-process driver: what it keeps, and its page tables (model_mmu.c). */
#ifndef RDU_LIB_MODEL_H
#define RDU_LIB_MODEL_H

#include "backend.h"
#include "rdu_card.h"

#define MODEL_MAX_TILES 32
#define MODEL_PAGE 4096ull
#define MODEL_LARGE (2ull << 20)

struct model_queue {
	unsigned int id; /* 0 of a context: not granted yet */
	unsigned int log2;
	struct rdu_cmd *ring;
	uint64_t *done; /* completion word: commands done */
	uint64_t sent;  /* commands written */
	uint64_t last_irq; /* last command that raises an interrupt */
	uint64_t root;  /* page table */
	bool has_root;
	uint32_t first_tile, num_tiles;
	uint64_t watchdog_cycles;
	uint32_t watchdog_ms;
};

struct model {
	struct rdu_card *card;
	unsigned char *mem;
	uint64_t mem_size;
	pthread_mutex_t lock; /* all below; taken before any register access */
	pthread_cond_t done;  /* an interrupt, or tiles were given back */
	struct lr_ranges free; /* card memory */
	bool queue_used[RDU_MAX_QUEUES];
	bool slot_used[RDU_MAX_SLOTS];
	unsigned int tile_queue[MODEL_MAX_TILES]; /* owner, 0: free */
	struct rdu_tile_usage past[MODEL_MAX_TILES]; /* cycles of former owners */
	pthread_mutex_t admin_lock; /* before lock */
	struct model_queue admin;
};

uint32_t lr_model_get(struct model *m, unsigned int reg);
uint64_t lr_model_get64(struct model *m, unsigned int reg);

/* Device page tables. m->lock held. Addresses and sizes are whole pages. */
int lr_model_new_table(struct model *m, uint64_t *table);
void lr_model_free_tables(struct model *m, uint64_t table, unsigned int level);
int lr_model_map(struct model *m, uint64_t root, uint64_t va, uint64_t to, uint64_t size,
		 uint64_t flags);
void lr_model_unmap(struct model *m, uint64_t root, uint64_t va, uint64_t size);

#endif
