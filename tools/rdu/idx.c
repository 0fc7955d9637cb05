// SPDX-License-Identifier: MIT
/* Images and labels in IDX files (MNIST, Fashion-MNIST), compressed or not. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include "rdu_tool.h"

static gzFile open_idx(const char *dir, const char *split, const char *what, char *path,
		       size_t size)
{
	gzFile f;

	snprintf(path, size, "%s/%s-%s-ubyte.gz", dir, split, what);
	if (access(path, R_OK))
		snprintf(path, size, "%s/%s-%s-ubyte", dir, split, what);
	f = gzopen(path, "rb");
	if (!f)
		snprintf(path, size, "%s/%s-%s-ubyte.gz", dir, split, what);
	return f;
}

static bool big_endian(gzFile f, unsigned int *value)
{
	unsigned char b[4];

	if (gzread(f, b, 4) != 4)
		return false;
	*value = (unsigned int)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
	return true;
}

/* One file of unsigned bytes with `ndim` dimensions; NULL and a text. */
static unsigned char *read_idx(const char *dir, const char *split, const char *what,
			       unsigned int ndim, unsigned int *dims, char *error, size_t size)
{
	char path[4096];
	gzFile f = open_idx(dir, split, what, path, sizeof(path));
	unsigned char *data = NULL, extra;
	unsigned int magic, d;
	size_t total = 1, have = 0;

	if (!f) {
		snprintf(error, size,
			 "%s: %s (Debian package dataset-fashion-mnist has such files)", path,
			 strerror(errno));
		return NULL;
	}
	if (!big_endian(f, &magic) || magic != (0x0800 | ndim)) {
		snprintf(error, size, "%s: not an IDX file of bytes with %u dimensions", path,
			 ndim);
		goto out;
	}
	for (d = 0; d < ndim; d++) {
		if (!big_endian(f, &dims[d]) || !dims[d] ||
		    __builtin_mul_overflow(total, dims[d], &total) || total >> 32) {
			snprintf(error, size, "%s: the sizes are damaged", path);
			goto out;
		}
	}
	data = xmalloc(total);
	while (have < total) {
		size_t want = total - have > 1 << 24 ? 1 << 24 : total - have;
		int n = gzread(f, data + have, want);

		if (n <= 0) {
			snprintf(error, size, "%s: cut short or damaged", path);
			free(data);
			data = NULL;
			break;
		}
		have += n;
	}
	/* At the end, and only there, the checksum of a compressed file is looked at. */
	if (data && gzread(f, &extra, 1) != 0) {
		snprintf(error, size, "%s: damaged, or longer than its sizes say", path);
		free(data);
		data = NULL;
	}
out:
	gzclose(f);
	return data;
}

int images_read(const char *dir, const char *split, struct images *im, char *error,
		size_t error_size)
{
	unsigned int dims[3], count;

	memset(im, 0, sizeof(*im));
	im->pixels = read_idx(dir, split, "images-idx3", 3, dims, error, error_size);
	if (!im->pixels)
		return -1;
	im->count = dims[0];
	im->rows = dims[1];
	im->cols = dims[2];
	im->labels = read_idx(dir, split, "labels-idx1", 1, &count, error, error_size);
	if (im->labels && count != im->count) {
		snprintf(error, error_size, "%s: %u images of \"%s\", but %u labels", dir,
			 im->count, split, count);
		free(im->labels);
		im->labels = NULL;
	}
	if (!im->labels) {
		images_free(im);
		return -1;
	}
	return 0;
}

void images_free(struct images *im)
{
	free(im->pixels);
	free(im->labels);
	memset(im, 0, sizeof(*im));
}

void images_batch(const struct images *im, const unsigned int *order, unsigned int n,
		  unsigned int batch, float *to)
{
	size_t size = (size_t)im->rows * im->cols, i;
	unsigned int b;

	for (b = 0; b < n; b++) {
		const unsigned char *from = im->pixels + order[b] * size;

		for (i = 0; i < size; i++)
			to[b * size + i] = from[i] / 255.0f;
	}
	memset(to + n * size, 0, (batch - n) * size * sizeof(*to));
}
