/* SPDX-License-Identifier: MIT */
/* Files that are written whole or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "outfile.h"

#define MOST_LINKS 40 /* one to another: as the kernel */
#define MOST_TRIES 1000

bool lr_outfile_is_stdout(const char *path)
{
	return !strcmp(path, "-") || !strcmp(path, "/dev/stdout");
}

/* Length of the folder's part, with its slash; 0: the name is in the current folder. */
static size_t folder_length(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) + 1 : 0;
}

/* The name at the end of a chain of symbolic links, whether it is there or not. */
static int follow(const char *path, char to[PATH_MAX])
{
	char link[PATH_MAX], next[PATH_MAX];
	int i;

	if (!path[0])
		return -ENOENT;
	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	strcpy(to, path);
	for (i = 0; i < MOST_LINKS; i++) {
		ssize_t n = readlink(to, link, sizeof(link) - 1);
		size_t folder;

		if (n < 0)
			return 0; /* no link, or nothing there */
		link[n] = 0;
		folder = link[0] == '/' ? 0 : folder_length(to);
		if (folder + n >= PATH_MAX)
			return -ENAMETOOLONG;
		memcpy(next, to, folder);
		strcpy(next + folder, link);
		strcpy(to, next);
	}
	return -ELOOP;
}

/* 1: replace *to. 0: write to the path itself. Or a negative errno. */
static int how(const char *path, char to[PATH_MAX], struct stat *st)
{
	size_t n;
	int ret;

	memset(st, 0, sizeof(*st));
	to[0] = 0;
	/* Files that are open already: a new one of that name is not what they are. */
	if (!strncmp(path, "/proc/", 6) || !strncmp(path, "/dev/fd/", 8) ||
	    !strcmp(path, "/dev/stderr") || lr_outfile_is_stdout(path))
		return 0;
	ret = follow(path, to);
	if (ret)
		return ret;
	if (stat(to, st)) {
		n = strlen(to);
		if (errno != ENOENT || to[n - 1] != '/')
			return errno == ENOENT ? 1 : -errno;
		return -EISDIR;
	}
	if (S_ISDIR(st->st_mode))
		return -EISDIR;
	if (S_ISBLK(st->st_mode))
		return -EOPNOTSUPP;
	if (!S_ISREG(st->st_mode))
		return 0;
	return faccessat(AT_FDCWD, to, W_OK, AT_EACCESS) ? -errno : 1;
}

/* A new file beside the one that is to be replaced; its descriptor. */
static int open_temp(struct lr_outfile *o, const struct stat *old)
{
	int folder = (int)folder_length(o->path), fd, i;

	for (i = 0; i < MOST_TRIES; i++) {
		if (snprintf(o->temp, sizeof(o->temp), "%.*s.rdu-%d-%d", folder, o->path,
			     (int)getpid(), i) >= (int)sizeof(o->temp))
			return -ENAMETOOLONG;
		fd = open(o->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (fd < 0 && errno == EEXIST)
			continue;
		if (fd < 0)
			return -errno;
		if (S_ISREG(old->st_mode)) {
			/* Owner and group as far as we may; permissions last: chown() takes some. */
			mode_t mode = old->st_mode & 07777;

			if (fchown(fd, old->st_uid, old->st_gid) && fchown(fd, -1, old->st_gid))
				mode &= 01707; /* not for another group, not as another */
			if (fchmod(fd, mode)) {
				int ret = -errno;

				close(fd);
				unlink(o->temp);
				return ret;
			}
		}
		return fd;
	}
	return -EEXIST;
}

FILE *lr_outfile_open(struct lr_outfile *o, const char *path)
{
	struct stat st;
	int fd;

	*o = (struct lr_outfile){ 0 };
	o->error = how(path, o->path, &st);
	if (o->error < 0)
		return NULL;
	if (o->error) {
		fd = open_temp(o, &st);
	} else {
		o->path[0] = 0;
		if (lr_outfile_is_stdout(path)) {
			fflush(stdout);
			fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
		} else {
			fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		}
		if (fd < 0)
			fd = -errno;
	}
	o->error = fd < 0 ? fd : 0;
	if (fd < 0)
		return NULL;
	o->f = fdopen(fd, "w");
	if (!o->f) {
		o->error = -errno;
		close(fd);
		if (o->path[0])
			unlink(o->temp);
	}
	return o->f;
}

/* The new name is on the disk too, where the file system can tell. */
static void sync_folder(const char *path)
{
	char folder[PATH_MAX];
	size_t n = folder_length(path);
	int fd;

	memcpy(folder, n ? path : ".", n ? n : 1);
	folder[n ? n : 1] = 0;
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

int lr_outfile_close(struct lr_outfile *o)
{
	int ret = 0;

	if (!o->f)
		return o->error;
	if (fflush(o->f))
		ret = errno ? -errno : -EIO;
	else if (ferror(o->f)) /* an earlier write: its reason is forgotten, one more tells it */
		ret = write(fileno(o->f), "", 1) < 0 ? -errno : -EIO;
	/* Devices and pipes know no fsync(). */
	if (!ret && o->path[0] && fsync(fileno(o->f)) && errno != EINVAL && errno != EROFS)
		ret = -errno;
	if (fclose(o->f) && !ret)
		ret = -errno;
	o->f = NULL;
	if (!o->path[0])
		return ret;
	if (!ret && rename(o->temp, o->path))
		ret = -errno;
	if (ret)
		unlink(o->temp);
	else
		sync_folder(o->path);
	return ret;
}

void lr_outfile_discard(struct lr_outfile *o)
{
	if (!o->f)
		return;
	fclose(o->f);
	o->f = NULL;
	if (o->path[0])
		unlink(o->temp);
}

int lr_outfile_check(const char *path, uint64_t bytes)
{
	struct lr_outfile o = { 0 };
	struct statvfs fs;
	struct stat st;
	int ret = how(path, o.path, &st), fd;

	if (ret < 0)
		return ret;
	if (!ret) {
		if (lr_outfile_is_stdout(path) || S_ISFIFO(st.st_mode))
			return 0; /* a FIFO would wait for its reader */
		fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		ret = fd < 0 ? -errno : 0;
		if (fd >= 0)
			close(fd);
		return ret;
	}
	fd = open_temp(&o, &st);
	if (fd < 0)
		return fd;
	ret = fstatvfs(fd, &fs) || !fs.f_blocks || bytes / fs.f_frsize < fs.f_bavail ? 0 : -ENOSPC;
	close(fd);
	unlink(o.temp);
	return ret;
}

bool lr_outfile_same(const char *a, const char *b)
{
	char to[2][PATH_MAX], full[2][PATH_MAX], folder[PATH_MAX];
	const char *path[2] = { a, b };
	struct stat st[2];
	int i, there = 0;

	for (i = 0; i < 2; i++) {
		if (lr_outfile_is_stdout(path[i]) || follow(path[i], to[i]))
			return false;
		there += !stat(to[i], &st[i]);
	}
	if (there == 2)
		return S_ISREG(st[0].st_mode) && st[0].st_dev == st[1].st_dev &&
		       st[0].st_ino == st[1].st_ino;
	if (there)
		return false;
	for (i = 0; i < 2; i++) {
		size_t n = folder_length(to[i]);

		memcpy(folder, n ? to[i] : ".", n ? n : 1);
		folder[n ? n : 1] = 0;
		if (!realpath(folder, full[i]))
			return false;
		path[i] = to[i] + n;
	}
	return !strcmp(full[0], full[1]) && !strcmp(path[0], path[1]);
}

int lr_outfile_check_all(const struct lr_outfile_use *use, unsigned int count, char *text,
			 size_t size)
{
	unsigned int i, k;

	for (i = 0; i < count; i++) {
		const struct lr_outfile_use *a = &use[i];
		int ret = a->option && a->path ? lr_outfile_check(a->path, 0) : 0;

		if (ret) {
			snprintf(text, size, "%s %s: %s", a->option, a->path, strerror(-ret));
			return ret;
		}
		for (k = 0; k < i && a->path; k++) {
			const struct lr_outfile_use *b = &use[k];

			if (!b->path || (!a->option && !b->option))
				continue;
			if (lr_outfile_is_stdout(a->path) && lr_outfile_is_stdout(b->path))
				snprintf(text, size, "%s and %s: both are standard output",
					 b->option ? b->option : b->path,
					 a->option ? a->option : a->path);
			else if (lr_outfile_same(a->path, b->path))
				snprintf(text, size,
					 "%s%s%s and %s%s%s are one file: it is not overwritten",
					 b->option ? b->option : "", b->option ? " " : "", b->path,
					 a->option ? a->option : "", a->option ? " " : "", a->path);
			else
				continue;
			return -EINVAL;
		}
	}
	return 0;
}
