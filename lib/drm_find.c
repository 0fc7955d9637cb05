/* SPDX-License-Identifier: MIT */
/* Finding cards: libdrm knows nothing of /dev/accel yet. */
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xf86drm.h>
#include "drm_card.h"

#define MAX_NODES 64
#define TRY_A_MODEL " A card in this process needs no driver: \"model:sn10\""

/* 0, -ENXIO (the node of another driver), or why it can't be opened. */
static int try_node(const char *node, int *fd)
{
	drmVersion *version;
	int ret = -ENXIO;

	*fd = open(node, O_RDWR | O_CLOEXEC);
	if (*fd < 0)
		return -errno;
	version = drmGetVersion(*fd);
	if (version && !strcmp(version->name, DRM_RDU_DRIVER_NAME))
		ret = 0;
	drmFreeVersion(version);
	if (ret) {
		close(*fd);
		*fd = -1;
	}
	return ret;
}

/* Why it can't be opened: who lacks the right to is told whom it is given to. */
static int fail_open(struct rdu_device *dev, const char *node, int ret, const char *more)
{
	char group[32] = "", buf[1024];
	struct group entry, *found = NULL;
	struct stat st;

	if (ret == -EACCES && !stat(node, &st) && (st.st_mode & 0060) == 0060) {
		snprintf(group, sizeof(group), "%u", st.st_gid);
		if (!getgrgid_r(st.st_gid, &entry, buf, sizeof(buf), &found) && found)
			snprintf(group, sizeof(group), "%s", entry.gr_name);
	}
	return lr_fail(&dev->obj, ret, "%s: %s%s%s%s", node, strerror(-ret),
		       group[0] ? "; who may use it is in the group " : "", group, more);
}

static int open_node(struct rdu_device *dev, struct drm_device *d, const char *node)
{
	int ret = try_node(node, &d->fd);

	snprintf(d->node, sizeof(d->node), "%s", node);
	if (ret == -ENXIO)
		return lr_fail(&dev->obj, ret, "%s: not a node of the rdu driver", node);
	return ret ? fail_open(dev, node, ret, "") : 0;
}

static int open_first(struct rdu_device *dev, struct drm_device *d)
{
	char node[64], seen[64] = "";
	unsigned int i;
	int ret, why = -ENOENT;

	for (i = 0; i < MAX_NODES; i++) {
		snprintf(node, sizeof(node), "/dev/accel/accel%u", i);
		ret = try_node(node, &d->fd);
		if (!ret) {
			snprintf(d->node, sizeof(d->node), "%s", node);
			return 0;
		}
		if (ret != -ENOENT && ret != -ENXIO) {
			why = ret;
			snprintf(seen, sizeof(seen), "%s", node);
		}
	}
	if (seen[0])
		return fail_open(dev, seen, why, "." TRY_A_MODEL);
	return lr_fail(&dev->obj, -ENOENT,
		       "no card: no /dev/accel node belongs to the rdu driver; "
		       "is rdu.ko loaded?" TRY_A_MODEL);
}

/* The node behind a PCI address, "" if there is none. */
static void node_of(const char *address, char *node, size_t size)
{
	DIR *dir = opendir("/sys/class/accel");
	struct dirent *e;
	char wanted[64];

	node[0] = 0;
	snprintf(wanted, sizeof(wanted), "%s%s", strlen(address) < 12 ? "0000:" : "", address);
	while (dir && (e = readdir(dir))) {
		char path[sizeof(e->d_name) + 32], target[512];
		const char *base;
		ssize_t n;

		snprintf(path, sizeof(path), "/sys/class/accel/%s/device", e->d_name);
		n = readlink(path, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = 0;
		base = strrchr(target, '/');
		if (!strcasecmp(base ? base + 1 : target, wanted))
			snprintf(node, size, "/dev/accel/%.32s", e->d_name);
	}
	if (dir)
		closedir(dir);
}

int lr_drm_find(struct rdu_device *dev, const char *where, struct drm_device *d)
{
	char node[64];
	unsigned int a, b, c, f;
	int n = 0;

	if (!strcmp(where, "auto"))
		return open_first(dev, d);
	if (where[0] == '/')
		return open_node(dev, d, where);
	if ((sscanf(where, "%4x:%2x:%2x.%1x%n", &a, &b, &c, &f, &n) == 4 && !where[n]) ||
	    (sscanf(where, "%2x:%2x.%1x%n", &b, &c, &f, &n) == 3 && !where[n])) {
		node_of(where, node, sizeof(node));
		if (!node[0])
			return lr_fail(&dev->obj, -ENOENT,
				       "%s: no accel node belongs to that PCI "
				       "device; is it a card, and is rdu.ko loaded?",
				       where);
		return open_node(dev, d, node);
	}
	return lr_fail(&dev->obj, -EINVAL,
		       "%s: a card is \"auto\", a PCI address, a node in "
		       "/dev/accel, or \"model:CHIP\"",
		       where);
}
