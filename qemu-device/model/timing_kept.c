// SPDX-License-Identifier: MIT
/*
 * Times of sections that were met before: in this process, and in files that all processes
 * of a user share, so that a program that was compiled here, or ran here, is not timed again.
 *
 * The key is the chip, what the section finds off the chip, and the image, whole, but for
 * the numbers in it that are for people. It is compared byte by byte. A file also names the
 * model that made it (RDU_MODEL_ID): another build's clock may be another. Files lie in
 * $RDU_TIME_CACHE, else in $XDG_CACHE_HOME/rdu or ~/.cache/rdu; `off` or no home: none.
 * What can't be read or written there is timed, and nothing is lost.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "rdu/program.h"
#include "timing_priv.h"
#include "model_id.h"

#define KEPT 1024 /* results in the process; the oldest leave first */
#define KEPT_BYTES (64u << 20) /* of all keys */
#define KEPT_SIZE (16u << 20) /* of a key: larger images are timed each time */
#define STORED_BYTES (512ll << 20) /* of all files: then those not used for longest leave */
#define SWEEP 64 /* files that a process writes between two looks at their size */

static struct {
	pthread_mutex_t lock;
	struct {
		struct rdu_time_key key;
		struct rdu_time_cache *time;
	} entry[KEPT];
	unsigned int first, num; /* the oldest; how many there are */
	size_t bytes;
} kept = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- a time ---------------------------------------------------------------------- */

struct rdu_time_cache *rdu_time_new(const struct rdu_section *s)
{
	struct rdu_time_cache *t = calloc(1, sizeof(*t));
	uint32_t n = s->hdr->programs.count;

	if (!t)
		return NULL;
	t->users = 1;
	t->programs = calloc(n + 1, sizeof(*t->programs));
	t->stages = calloc(s->num_stages + 1, sizeof(*t->stages));
	t->stage_of = calloc(n + 1, sizeof(*t->stage_of));
	if (!t->programs || !t->stages || !t->stage_of) {
		rdu_time_free(t);
		return NULL;
	}
	t->time = (struct rdu_section_time){ .num_programs = n,
					     .num_stages = s->num_stages,
					     .programs = t->programs,
					     .stages = t->stages,
					     .stage_of = t->stage_of };
	return t;
}

void rdu_time_free(struct rdu_time_cache *t)
{
	if (!t)
		return;
	free(t->programs);
	free(t->stages);
	free(t->stage_of);
	free(t);
}

void rdu_time_put(struct rdu_time_cache *t)
{
	bool last;

	if (!t)
		return;
	pthread_mutex_lock(&kept.lock);
	last = !--t->users;
	pthread_mutex_unlock(&kept.lock);
	if (last)
		rdu_time_free(t);
}

int rdu_time_key(const struct rdu_section *s, const struct rdu_offchip *off,
		 struct rdu_time_key *key)
{
	size_t words = off->in_host ? s->hdr->num_segments / 64 + 1 : 0, at;
	struct rdu_cfg_program *p;

	at = sizeof(s->chip) + s->size;
	key->size = at + sizeof(off->others) + words * sizeof(*off->in_host);
	key->bytes = malloc(key->size);
	if (!key->bytes)
		return -1;
	memcpy(key->bytes, &s->chip, sizeof(s->chip));
	memcpy(key->bytes + sizeof(s->chip), s->image, s->size);
	memcpy(key->bytes + at, &off->others, sizeof(off->others));
	if (words)
		memcpy(key->bytes + at + sizeof(off->others), off->in_host,
		       words * sizeof(*off->in_host));
	for (uint32_t i = 0; i < s->hdr->programs.count; i++) {
		p = (void *)(key->bytes + sizeof(s->chip) + s->hdr->programs.offset);
		p[i].op_id = 0;
	}
	key->hash = rdu_fnv1a(RDU_FNV1A_INIT, key->bytes, key->size);
	return 0;
}

/* ---- in the process --------------------------------------------------------------- */

static struct rdu_time_cache *find_here(const struct rdu_time_key *key)
{
	struct rdu_time_cache *t = NULL;

	pthread_mutex_lock(&kept.lock);
	for (unsigned int i = 0; i < KEPT && !t; i++) {
		const struct rdu_time_key *k = &kept.entry[i].key;

		if (k->bytes && k->hash == key->hash && k->size == key->size &&
		    !memcmp(k->bytes, key->bytes, key->size)) {
			t = kept.entry[i].time;
			t->users++;
		}
	}
	pthread_mutex_unlock(&kept.lock);
	return t;
}

/* Caller holds kept.lock; what the oldest was, for free() and rdu_time_put() without it. */
static struct rdu_time_cache *forget_oldest(unsigned char **bytes)
{
	struct rdu_time_cache *t = kept.entry[kept.first].time;

	*bytes = kept.entry[kept.first].key.bytes;
	kept.bytes -= kept.entry[kept.first].key.size;
	memset(&kept.entry[kept.first], 0, sizeof(kept.entry[0]));
	kept.first = (kept.first + 1) % KEPT;
	kept.num--;
	return t;
}

void rdu_time_keep(const struct rdu_time_key *key, struct rdu_time_cache *t)
{
	struct rdu_time_key own = *key;
	unsigned int place;

	own.bytes = key->size <= KEPT_SIZE ? malloc(key->size) : NULL;
	if (!own.bytes)
		return;
	memcpy(own.bytes, key->bytes, key->size);
	pthread_mutex_lock(&kept.lock);
	while (kept.num == KEPT || kept.bytes + key->size > KEPT_BYTES) {
		unsigned char *bytes;
		struct rdu_time_cache *old = forget_oldest(&bytes);

		pthread_mutex_unlock(&kept.lock);
		free(bytes);
		rdu_time_put(old);
		pthread_mutex_lock(&kept.lock);
	}
	place = (kept.first + kept.num++) % KEPT;
	kept.entry[place].time = t;
	kept.entry[place].key = own;
	kept.bytes += key->size;
	t->users++;
	pthread_mutex_unlock(&kept.lock);
}

/* ---- in files --------------------------------------------------------------------- */

/* What a file begins with; key, unit, stage times and stages of programs follow. */
struct stored {
	char magic[8]; /* "RDUTIME" */
	uint64_t model, sum; /* RDU_MODEL_ID; FNV-1a of all that follows this */
	uint64_t key_size, cycles, dram_bytes, macs, flops;
	struct rdu_energy energy;
	uint32_t num_programs, num_stages;
};

static const char magic[8] = "RDUTIME";

/* The folder's name; false: there is none. It is made if `make`. */
static bool find_folder(char folder[PATH_MAX], bool make)
{
	const char *own = getenv("RDU_TIME_CACHE"), *cache = getenv("XDG_CACHE_HOME"),
		   *home = getenv("HOME");
	char above[PATH_MAX];
	int n;

	if (own && (!*own || !strcmp(own, "off")))
		return false;
	if (own)
		n = snprintf(folder, PATH_MAX, "%s", own);
	else if (cache && *cache == '/')
		n = snprintf(folder, PATH_MAX, "%s/rdu", cache);
	else if (home && *home == '/')
		n = snprintf(folder, PATH_MAX, "%s/.cache/rdu", home);
	else
		return false;
	if (n < 0 || n >= PATH_MAX - 64)
		return false;
	if (make) {
		memcpy(above, folder, (size_t)n + 1);
		if (strrchr(above, '/') > above) {
			*strrchr(above, '/') = 0;
			mkdir(above, 0700);
		}
		mkdir(folder, 0700);
	}
	return true;
}

static size_t stored_size(uint64_t key_size, uint64_t programs, uint64_t stages)
{
	return sizeof(struct stored) + key_size +
	       programs * (sizeof(struct rdu_unit_time) + sizeof(uint32_t)) +
	       stages * sizeof(struct rdu_stage_time);
}

static uint64_t sum_of(const unsigned char *file, size_t size)
{
	size_t from = offsetof(struct stored, key_size);

	return rdu_fnv1a(RDU_FNV1A_INIT, file + from, size - from);
}

/* All of a file, which has to have `size` bytes; NULL: it has not. */
static unsigned char *read_file(const char *name, size_t size)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	unsigned char *bytes = NULL;
	size_t done = 0;
	struct stat st;

	if (fd < 0)
		return NULL;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size)
		bytes = malloc(size);
	while (bytes && done < size) {
		ssize_t n = read(fd, bytes + done, size - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (done < size) {
		free(bytes);
		bytes = NULL;
	} else {
		futimens(fd, NULL); /* used: it leaves later; no matter if that can't be said */
	}
	close(fd);
	return bytes;
}

/* Is this the file of a section with this key? */
static bool is_time_of(const unsigned char *file, size_t size, const struct rdu_section *s,
		       const struct rdu_time_key *key)
{
	struct stored h;

	memcpy(&h, file, sizeof(h));
	return !memcmp(h.magic, magic, sizeof(magic)) && h.model == RDU_MODEL_ID &&
	       h.key_size == key->size && h.num_programs == s->hdr->programs.count &&
	       h.num_stages == s->num_stages && !memcmp(file + sizeof(h), key->bytes, key->size) &&
	       h.sum == sum_of(file, size);
}

/* Does it speak of programs, stages and bounds that there are? */
static bool is_sound(const struct rdu_time_cache *t)
{
	for (uint32_t i = 0; i < t->time.num_programs; i++)
		if (t->stage_of[i] >= t->time.num_stages)
			return false;
	for (uint32_t i = 0; i < t->time.num_stages; i++)
		if (t->stages[i].program >= t->time.num_programs ||
		    (unsigned int)t->stages[i].bound > RDU_BOUND_TOKEN)
			return false;
	return true;
}

static struct rdu_time_cache *find_stored(const struct rdu_section *s,
					  const struct rdu_time_key *key)
{
	size_t size = stored_size(key->size, s->hdr->programs.count, s->num_stages);
	struct rdu_time_cache *t = NULL;
	char name[PATH_MAX];
	unsigned char *file, *at;
	struct stored h;

	if (key->size > KEPT_SIZE || !find_folder(name, false))
		return NULL;
	sprintf(name + strlen(name), "/%016llx.time", (unsigned long long)key->hash);
	file = read_file(name, size);
	if (file && is_time_of(file, size, s, key))
		t = rdu_time_new(s);
	if (t) {
		memcpy(&h, file, sizeof(h));
		t->time.cycles = h.cycles;
		t->time.dram_bytes = h.dram_bytes;
		t->time.macs = h.macs;
		t->time.flops = h.flops;
		t->time.energy = h.energy;
		at = file + sizeof(h) + key->size;
		memcpy(t->programs, at, h.num_programs * sizeof(*t->programs));
		at += h.num_programs * sizeof(*t->programs);
		memcpy(t->stages, at, h.num_stages * sizeof(*t->stages));
		at += h.num_stages * sizeof(*t->stages);
		memcpy(t->stage_of, at, h.num_programs * sizeof(*t->stage_of));
		t->stored = true;
	}
	free(file);
	if (t && !is_sound(t)) {
		rdu_time_free(t);
		t = NULL;
	}
	return t;
}

struct old_file {
	char name[NAME_MAX + 1];
	struct timespec used;
	long long size;
};

static int by_age(const void *a, const void *b)
{
	const struct old_file *x = a, *y = b;

	if (x->used.tv_sec != y->used.tv_sec)
		return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
	return (x->used.tv_nsec > y->used.tv_nsec) - (x->used.tv_nsec < y->used.tv_nsec);
}

/* If all files are too large together, those that were not used for longest go, to a half. */
static void sweep(const char *folder)
{
	struct old_file *old = NULL, *more;
	size_t num = 0, room = 0;
	long long sum = 0;
	DIR *dir = opendir(folder);
	struct dirent *e;
	struct stat st;

	while (dir && (e = readdir(dir))) {
		if (!strstr(e->d_name, ".time") ||
		    fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		if (num == room) {
			room = room ? 2 * room : 256;
			more = realloc(old, room * sizeof(*old));
			if (!more)
				break;
			old = more;
		}
		snprintf(old[num].name, sizeof(old[num].name), "%s", e->d_name);
		old[num].used = st.st_mtim;
		old[num++].size = st.st_size;
		sum += st.st_size;
	}
	if (sum > STORED_BYTES) {
		qsort(old, num, sizeof(*old), by_age);
		for (size_t i = 0; i < num && sum > STORED_BYTES / 2; i++) {
			unlinkat(dirfd(dir), old[i].name, 0);
			sum -= old[i].size;
		}
	}
	if (dir)
		closedir(dir);
	free(old);
}

/* Under another name first, so that nobody sees half of it. */
static void write_file(const char *folder, uint64_t hash, const unsigned char *file, size_t size)
{
	char name[PATH_MAX + 32], temporary[PATH_MAX + 32];
	size_t done = 0;
	int fd;

	snprintf(name, sizeof(name), "%s/%016llx.time", folder, (unsigned long long)hash);
	snprintf(temporary, sizeof(temporary), "%s/.time.XXXXXX", folder);
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return;
	while (done < size) {
		ssize_t n = write(fd, file + done, size - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (close(fd) || done < size || rename(temporary, name))
		unlink(temporary);
}

void rdu_time_store(const struct rdu_time_key *key, struct rdu_time_cache *t)
{
	static _Atomic unsigned int written;
	const struct rdu_section_time *time = &t->time;
	size_t size = stored_size(key->size, time->num_programs, time->num_stages);
	char folder[PATH_MAX];
	unsigned char *file, *at;
	struct stored h = { .model = RDU_MODEL_ID,
			    .key_size = key->size,
			    .cycles = time->cycles,
			    .dram_bytes = time->dram_bytes,
			    .macs = time->macs,
			    .flops = time->flops,
			    .energy = time->energy,
			    .num_programs = time->num_programs,
			    .num_stages = time->num_stages };

	if (t->stored || key->size > KEPT_SIZE || !find_folder(folder, true))
		return;
	file = malloc(size);
	if (!file)
		return;
	memcpy(h.magic, magic, sizeof(magic));
	memcpy(file, &h, sizeof(h));
	memcpy(file + sizeof(h), key->bytes, key->size);
	at = file + sizeof(h) + key->size;
	memcpy(at, time->programs, time->num_programs * sizeof(*time->programs));
	at += time->num_programs * sizeof(*time->programs);
	memcpy(at, time->stages, time->num_stages * sizeof(*time->stages));
	at += time->num_stages * sizeof(*time->stages);
	memcpy(at, time->stage_of, time->num_programs * sizeof(*time->stage_of));
	h.sum = sum_of(file, size);
	memcpy(file + offsetof(struct stored, sum), &h.sum, sizeof(h.sum));
	if (written++ % SWEEP == 0)
		sweep(folder);
	write_file(folder, key->hash, file, size);
	free(file);
	t->stored = true;
}

struct rdu_time_cache *rdu_time_find(const struct rdu_section *s, const struct rdu_time_key *key)
{
	struct rdu_time_cache *t = find_here(key);

	if (t)
		return t;
	t = find_stored(s, key);
	if (t)
		rdu_time_keep(key, t);
	return t;
}
