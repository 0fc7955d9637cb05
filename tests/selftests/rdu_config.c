// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Programs made to reach what is not their context's: units, routes, buffers, tiles. */
#include "duel.h"

/* ---- configurations ---------------------------------------------------- */

/*
 * A scale program with one thing wrong. Segments 0 and 1 lie in the middle of
 * larger buffers of the attacker's: what is stored beside them would show.
 */
enum crime {
	CRIME_NONE,
	LOAD_BEFORE, LOAD_BEYOND, LOAD_FAR, LOAD_WRAPS, LOAD_STRIDE, LOAD_LANES,
	STORE_BEFORE, STORE_BEYOND, STORE_FAR, STORE_WRAPS, STORE_STRIDE,
	TILE_NEXT, TILE_NONE, UNIT_NONE, ROUTE_OUT, ROUTE_NONE, BUFFER_OUT, BUFFER_WRAPS,
	SEGMENT_NONE, SEGMENT_LARGE, SEGMENT_WRAPS, SEGMENT_OFFSET, LOOP_OUT,
	GATHER_BEFORE, GATHER_BEYOND, GATHER_FAR, GATHER_SCALED, SCATTER_BEYOND,
	REGISTER_READ, REGISTER_SENT, /* one that nothing was written to */
	NUM_CRIMES
};

static void access_crime(struct rdu_cfg_access *a, enum crime before, enum crime crime)
{
	if (crime == before)
		a->base = -1;
	if (crime == before + 1)
		a->base = 1;
	if (crime == before + 2)
		a->base = 1LL << 40;
	if (crime == before + 3)
		a->base = 1LL << 62; /* times four bytes is nothing at all */
	if (crime == before + 4)
		a->stride[0] = 1LL << 62;
	if (crime == LOAD_LANES && before == LOAD_BEFORE)
		a->lane_stride = 1LL << 61;
}

static void *criminal(int fd, enum crime crime, size_t *size)
{
	uint64_t regions[] = { WORDS * 4, WORDS * 4 };
	struct rdu_chip chip = card_chip(fd);
	struct cfgb *b = cfgb_new(&chip, 1);
	int32_t trips = WORDS / chip.lanes;
	bool gather = crime >= GATHER_BEFORE && crime <= GATHER_SCALED;
	struct rdu_cfg_access access = {
		.lanes = chip.lanes, .lane_stride = 1, .stride = { chip.lanes },
	}, other;
	uint32_t load, middle, store, unit = 0, tile = 0;
	struct rdu_prog_header *header;
	struct rdu_prog_segment *segment;
	size_t cfg_size;
	char *cfg, *image;

	b->num_segments = 2;
	unit = crime == UNIT_NONE ? chip.agcus_per_tile : 0;
	tile = crime == TILE_NEXT ? 1 : crime == TILE_NONE ? 0xffff : 0;
	/* The builder lays routes between units that exist. */
	load = cfgb_program(b, RDU_KIND_LOAD, 0, 0);
	cfgb_loop(b, load, trips);
	other = access;
	access_crime(&other, LOAD_BEFORE, crime);
	cfgb_access(b, load, &other, NULL);
	other = access;
	if (gather) {
		middle = cfgb_program(b, RDU_KIND_LOAD, 0, 2);
		other.flags = RDU_ACCESS_GATHER;
		other.stride[0] = 0;
		other.lane_stride = 0;
		other.index_stride = crime == GATHER_SCALED ? 1LL << 30 : 1;
		cfgb_loop(b, middle, trips);
		cfgb_access(b, middle, &other, NULL);
	} else if (crime == BUFFER_OUT || crime == BUFFER_WRAPS) {
		uint32_t words = chip.pmu_bytes / 4;

		middle = cfgb_program(b, RDU_KIND_WRITE, 0, 0);
		other.target = cfgb_buffer(b, 0, 0, 1, crime == BUFFER_OUT ? words - WORDS / 2 :
					   0U - WORDS / 2, WORDS);
		cfgb_loop(b, middle, trips);
		cfgb_access(b, middle, &other, NULL);
	} else {
		middle = cfgb_program(b, RDU_KIND_SIMD, 0, 0);
		cfgb_loop(b, middle, trips);
		cfgb_stage(b, middle, RDU_SIMD_MOV, 0,
			   crime == REGISTER_READ ? cfgb_reg(3) : cfgb_in(0), cfgb_none(),
			   cfgb_none());
		if (crime == REGISTER_SENT)
			cfgb_out_port(b, middle, 0, 0, 3, 1);
	}
	cfgb_connect(b, load, 0, middle, 0);
	if (cfgb_prog(b, middle)->kind != RDU_KIND_WRITE) {
		other = access;
		other.target = crime == SEGMENT_NONE ? 2 : 1;
		access_crime(&other, STORE_BEFORE, crime);
		store = cfgb_program(b, RDU_KIND_STORE, 0, 1);
		cfgb_loop(b, store, trips);
		if (crime == SCATTER_BEYOND) {
			other.flags = RDU_ACCESS_GATHER;
			other.stride[0] = 0;
			other.lane_stride = 0;
			other.index_stride = 1;
		}
		cfgb_access(b, store, &other, NULL);
		cfgb_connect(b, middle, 0, store, 0);
		if (crime == SCATTER_BEYOND)
			cfgb_connect(b, load, 0, store, 1);
	}
	cfg = cfgb_finish(b, &cfg_size);
	{
		struct rdu_cfg_header *h = (void *)cfg;
		struct rdu_cfg_program *p = (void *)(cfg + h->programs.offset);
		struct rdu_cfg_link *link = (void *)(cfg + h->links.offset);

		p[0].tile = tile;
		if (unit)
			p[0].unit = unit;
		if (crime == ROUTE_OUT)
			link[0].sw = chip.tile_rows * chip.tile_cols; /* the next tile's */
		if (crime == ROUTE_NONE)
			link[0].sw = ~0U;
	}
	image = cfgb_program_image(cfg, cfg_size, regions, size);
	free(cfg);
	header = (void *)image;
	segment = (void *)(image + header->segments_off);
	if (crime == SEGMENT_LARGE)
		segment[1].size *= 2;
	if (crime == SEGMENT_WRAPS)
		segment[1].offset = 0ULL - PAGE;
	if (crime == SEGMENT_OFFSET)
		segment[1].offset = 64;
	if (crime == LOOP_OUT) {
		image = endless_image(image, size);
		header = (void *)image;
		segment = (void *)(image + header->segments_off);
		segment[0].loop_stride = segment[1].loop_stride = 64;
	}
	return image;
}

static void attack_configurations(int fd, int line)
{
	const uint64_t size = WORDS * 4, canary = 0xca9a51caca9a51caULL;
	struct buffer in, out;
	unsigned int refusals = 0, faults = 0;

	(void)line;
	for (int crime = 0; crime < NUM_CRIMES; crime++) {
		struct drm_rdu_prog_load load;
		struct rdu_args *args;
		struct run r;
		size_t bytes;
		void *image = criminal(fd, crime, &bytes);
		uint32_t *index;
		int ret = prog_load(fd, image, bytes, &load);

		free(image);
		if (ret) {
			EXPECT_EQ(ret, -EBADMSG);
			EXPECT_NE(load.error, 0);
			EXPECT_NE(crime, CRIME_NONE);
			refusals++;
			continue;
		}
		/* Accepted: then it must fault, or do no harm. */
		run_init(&r, fd, 5, 1, DRM_RDU_PLACEMENT_DEVICE);
		r.prog = load.prog_id;
		in = buffer_create(fd, r.vm, VA_BASE + (64 << 20), 3 * size, DRM_RDU_PLACEMENT_DEVICE);
		out = buffer_create(fd, r.vm, VA_BASE + (65 << 20), 3 * size,
				    DRM_RDU_PLACEMENT_DEVICE);
		for (unsigned int i = 0; i < 3 * size / 8; i++) {
			((uint64_t *)in.map)[i] = canary;
			((uint64_t *)out.map)[i] = canary;
		}
		index = (uint32_t *)((char *)in.map + size);
		for (int i = 0; i < WORDS; i++)
			index[i] = i;
		if (crime == GATHER_BEFORE)
			index[WORDS / 2] = -1;
		if (crime == GATHER_BEYOND || crime == SCATTER_BEYOND)
			index[WORDS / 2] = WORDS;
		if (crime == GATHER_FAR)
			index[WORDS / 2] = 0x80000000;
		args = r.args.map;
		args->regions[0].addr = in.va + size;
		args->regions[1].addr = out.va + size;
		ret = run_job(fd, r.ctx, run_command(&r));
		if (ret != (crime == CRIME_NONE ? 1 : -EIO))
			printf("# crime %d\n", crime);
		EXPECT_EQ(ret, crime == CRIME_NONE ? 1 : -EIO);
		faults += ret == -EIO;
		EXPECT_EQ(other_than(in.map, size, canary), 0);
		EXPECT_EQ(other_than((char *)in.map + 2 * size, size, canary), 0);
		EXPECT_EQ(other_than(out.map, size, canary), 0);
		EXPECT_EQ(other_than((char *)out.map + 2 * size, size, canary), 0);
		/* Nothing from beside it has come in. */
		for (uint64_t i = 0; i < WORDS && crime; i++) {
			uint32_t word = ((uint32_t *)out.map)[WORDS + i];

			EXPECT_TRUE(word == (uint32_t)canary || word < WORDS);
		}
		ctx_destroy(fd, r.ctx);
		munmap(in.map, in.size);
		munmap(out.map, out.size);
		bo_close(fd, in.handle);
		bo_close(fd, out.handle);
		vm_destroy(fd, r.vm);
		prog_unload(fd, load.prog_id);
	}
	printf("# %u configurations refused, %u stopped by a fault\n", refusals, faults);
}

TEST(configurations)
{
	duel(attack_configurations);
}

/* More tiles than were granted. */
static void attack_tiles(int fd, int line)
{
	struct rdu_prog_header *header;
	struct drm_rdu_prog_load load;
	struct drm_rdu_job job;
	struct rdu_cfg_header *cfg;
	struct rdu_prog_section *section;
	struct run r;
	size_t size;
	char *image;

	(void)line;
	run_init(&r, fd, 5, 1, DRM_RDU_PLACEMENT_DEVICE);
	image = scale_image(fd, 2, RDU_SIMD_FMUL, &size);
	header = (void *)image;
	section = (void *)(image + header->sections_off);
	cfg = (void *)(image + section->offset);
	cfg->num_tiles = 2; /* only the section says so */
	EXPECT_EQ(prog_load(fd, image, size, &load), -EBADMSG);
	header->num_tiles = 2;
	ASSERT_EQ(prog_load(fd, image, size, &load), 0);
	job = run_command(&r);
	job.run.prog_id = load.prog_id;
	EXPECT_EQ(submit(fd, r.ctx, &job, 1, 0), -EINVAL);
	header->num_tiles = card_info(fd).num_tiles + 1;
	cfg->num_tiles = header->num_tiles;
	EXPECT_EQ(prog_load(fd, image, size, &load), -EBADMSG);
	header->num_tiles = cfg->num_tiles = ~0U;
	EXPECT_EQ(prog_load(fd, image, size, &load), -EBADMSG);
	run_check(&r, 5, 3);
	free(image);
}

TEST(tiles)
{
	if (card_info(card_open()).num_tiles < 2)
		SKIP("one tile only");
	duel(attack_tiles);
}
