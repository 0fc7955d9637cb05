// SPDX-License-Identifier: MIT
/*
 * Tensors that keep their data in another file, beside the model's. What the model says of it is not
 * trusted: the file has to be a regular one in the model's folder or below it, without a symbolic link on
 * the way, and to hold what the tensor's shape says. Only that part of it is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "graph.h"
#include "onnx.pb-c.h"

bool onnx_is_external(const Onnx__TensorProto *t)
{
	return t->n_external_data ||
	       (t->has_data_location &&
		t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL);
}

struct part {
	const char *location;
	int64_t offset, length; /* length -1: not given */
};

static bool number(const char *s, int64_t *n)
{
	char *end;

	errno = 0;
	*n = strtoll(s, &end, 10);
	return *s >= '0' && *s <= '9' && !*end && !errno;
}

/* A checksum is the writer's: it is not looked at. */
static int get_part(struct graph *g, const Onnx__TensorProto *t, const char *what, struct part *p)
{
	*p = (struct part){ .length = -1 };
	for (size_t i = 0; i < t->n_external_data; i++) {
		const char *key = onnx_text(g, t->external_data[i]->key);
		const char *value = t->external_data[i]->value ? t->external_data[i]->value : "";
		int64_t *n = !strcmp(key, "offset")   ? &p->offset
			     : !strcmp(key, "length") ? &p->length
						      : NULL;

		if (n && !number(value, n))
			return graph_error(g, "%s is in another file, with %s '%.40s'", what, key,
					   onnx_text(g, value));
		if (!strcmp(key, "location"))
			p->location = value;
		else if (!n && strcmp(key, "checksum"))
			return graph_error(g, "%s is in another file, with the unknown key '%.40s'",
					   what, key);
	}
	if (!p->location)
		return graph_error(g, "%s is in another file, which it does not name", what);
	return 0;
}

/* The folder that the model's file lies in. */
static int open_folder(const char *path)
{
	char *copy = xstrdup(path), *slash = strrchr(copy, '/');
	int fd;

	if (slash)
		slash[1] = 0;
	fd = open(slash ? copy : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(copy);
	return fd;
}

/* Step by step: no step leaves the folder. -1 and errno; ELOOP and ENOTDIR: a symbolic link. */
static int open_below(int folder, const char *location)
{
	int at = folder;
	char *copy = xstrdup(location), *rest = copy, *name = strsep(&rest, "/");

	for (; at >= 0 && name; name = strsep(&rest, "/")) {
		int next =
			openat(at, name,
			       O_NOFOLLOW | O_CLOEXEC | (rest ? O_PATH | O_DIRECTORY : O_NONBLOCK));
		int error = errno;

		close(at);
		errno = error;
		at = next;
	}
	free(copy);
	return at;
}

static bool stays_below(const char *location)
{
	for (const char *p = location; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL) {
		size_t n = strcspn(p, "/");

		if (!n || (n == 1 && *p == '.') || (n == 2 && !memcmp(p, "..", 2)))
			return false;
	}
	return true;
}

/* Into zeros: holes of the file are left out, and take no memory. */
static bool read_all(int fd, uint8_t *to, size_t size, off_t at)
{
	off_t end = at + (off_t)size;

	while (at < end) {
		off_t data = lseek(fd, at, SEEK_DATA), hole;
		ssize_t got;

		if (data >= end || (data < 0 && errno == ENXIO))
			break; /* nothing but a hole is left */
		data = data < 0 ? at : data;
		hole = lseek(fd, data, SEEK_HOLE);
		hole = hole < data || hole > end ? end : hole;
		to += data - at;
		at = data;
		got = pread(fd, to, (size_t)(hole - at), at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		to += got;
		at += got;
	}
	return true;
}

/* The part of an open file. NULL and a text. */
static uint8_t *read_part(struct graph *g, int fd, const struct part *p, int64_t size,
			  const char *what, const char *name)
{
	struct stat st;
	uint8_t *data;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		graph_error(g, "%s is in '%s', which is not a regular file", what, name);
		return NULL;
	}
	if (p->offset > st.st_size || size > st.st_size - p->offset) {
		graph_error(g, "%s is %" PRId64 " bytes at %" PRId64 " of '%s', which has %" PRId64,
			    what, size, p->offset, name, (int64_t)st.st_size);
		return NULL;
	}
	data = xcalloc((size_t)size + 1, 1);
	if (read_all(fd, data, (size_t)size, (off_t)p->offset))
		return data;
	free(data);
	graph_error(g, "%s is in '%s', which cannot be read", what, name);
	return NULL;
}

uint8_t *onnx_external(struct graph *g, const Onnx__TensorProto *t, int64_t size, const char *what)
{
	const char *name;
	struct part p;
	uint8_t *data;
	int folder, fd;

	if (get_part(g, t, what, &p))
		return NULL;
	name = onnx_text(g, p.location);
	if (!g->path) {
		graph_error(g,
			    "%s is in another file, '%s': compile the model's file, not its bytes",
			    what, name);
		return NULL;
	}
	if (!stays_below(p.location)) {
		graph_error(g, "%s is in '%s', which is not below the model's folder", what, name);
		return NULL;
	}
	if (p.length >= 0 && p.length != size) {
		graph_error(g, "%s has %" PRId64 " bytes of data in '%s', its shape says %" PRId64,
			    what, p.length, name, size);
		return NULL;
	}
	folder = open_folder(g->path);
	fd = folder < 0 ? -1 : open_below(folder, p.location);
	if (fd < 0) {
		graph_error(g, "%s is in '%s': %s", what, name,
			    errno == ELOOP ? "a symbolic link is not followed" : strerror(errno));
		return NULL;
	}
	data = read_part(g, fd, &p, size, what, name);
	close(fd);
	return data;
}
