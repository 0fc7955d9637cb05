/* SPDX-License-Identifier: MIT */
/* A card saved and loaded again, in a test bed. */
#ifndef CARD_MOVED_H
#define CARD_MOVED_H

#include "card_priv.h"
#include "card_test.h"

static unsigned char *stream;
static size_t stream_len, stream_at;

static int put_bytes(void *opaque, const void *buf, size_t len)
{
	(void)opaque;
	stream = realloc(stream, stream_len + len);
	memcpy(stream + stream_len, buf, len);
	stream_len += len;
	return 0;
}

static int get_bytes(void *opaque, void *buf, size_t len)
{
	(void)opaque;
	if (len > stream_len - stream_at)
		return -1;
	memcpy(buf, stream + stream_at, len);
	stream_at += len;
	return 0;
}

/* Into the card itself, which forgets all it had. */
static bool moved(struct bed *b)
{
	char error[200] = "";
	bool good;

	stream_len = stream_at = 0;
	rdu_card_pause(b->card);
	good = !rdu_card_save(b->card, put_bytes, NULL, error, sizeof(error)) &&
	       !rdu_card_load(b->card, get_bytes, NULL, error, sizeof(error));
	rdu_card_resume(b->card);
	free(stream);
	stream = NULL;
	if (!good)
		printf("# %s\n", error);
	return good;
}

static int countdown; /* writes to memory until the card stops; 0: it does not */

static void stop_it(void *opaque, uint64_t offset, uint64_t len)
{
	struct bed *b = opaque;

	(void)offset;
	(void)len;
	if (countdown && !--countdown)
		b->card->paused = true;
}

#endif
