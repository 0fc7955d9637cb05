/* SPDX-License-Identifier: MIT */
/* Devices: choosing a back end, and what can be asked of a card. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "rdu_card.h"

RDU_EXPORT int rdu_open(const char *where, struct rdu_device **out)
{
	struct rdu_device *dev = *out = lr_new(sizeof(*dev));
	int ret;

	if (!dev)
		return -ENOMEM;
	if (!where || !where[0])
		where = "auto";
	snprintf(dev->name, sizeof(dev->name), "%s", where);
	pthread_mutex_init(&dev->lock, NULL);
	dev->backend = strncmp(where, "model:", 6) && strcmp(where, "model") ? &lr_backend_drm
									     : &lr_backend_model;
	ret = dev->backend->open(dev, where);
	dev->obj.dead = ret < 0;
	return ret;
}

RDU_EXPORT void rdu_close(struct rdu_device *dev)
{
	if (!dev)
		return;
	if (dev->priv && lr_foreign(&dev->obj))
		dev->backend->device_forget(dev);
	else if (dev->priv)
		dev->backend->close(dev);
	pthread_mutex_destroy(&dev->lock);
	free(dev);
}

RDU_EXPORT int rdu_device_get_info(struct rdu_device *dev, struct rdu_device_info *info,
				   size_t size)
{
	struct rdu_device_info all = { 0 };
	int ret = lr_check(&dev->obj);

	if (ret)
		return ret;
	snprintf(all.chip, sizeof(all.chip), "%.*s", RDU_CHIP_NAME_LEN, dev->chip.name);
	all.chip_hash = dev->chip_hash;
	ret = dev->backend->info(dev, &all);
	if (ret)
		return ret;
	memset(info, 0, size);
	memcpy(info, &all, size < sizeof(all) ? size : sizeof(all));
	return 0;
}

RDU_EXPORT const struct rdu_chip *rdu_device_chip(struct rdu_device *dev)
{
	return dev->obj.dead ? NULL : &dev->chip;
}

RDU_EXPORT int rdu_device_fd(struct rdu_device *dev)
{
	return lr_check(&dev->obj) || !dev->backend->fd ? -1 : dev->backend->fd(dev);
}

RDU_EXPORT int rdu_device_get_usage(struct rdu_device *dev, struct rdu_tile_usage *usage,
				    unsigned int count, size_t size)
{
	struct rdu_tile_usage *all;
	unsigned int i;
	int ret = lr_check(&dev->obj);

	if (ret)
		return ret;
	if (count > dev->chip.tiles)
		count = dev->chip.tiles;
	all = calloc(count + 1, sizeof(*all));
	if (!all)
		return lr_fail(&dev->obj, -ENOMEM, "out of memory");
	ret = dev->backend->usage(dev, all, count);
	for (i = 0; ret >= 0 && i < count; i++) {
		char *to = (char *)usage + i * size;

		memset(to, 0, size);
		memcpy(to, &all[i], size < sizeof(*all) ? size : sizeof(*all));
	}
	free(all);
	return ret;
}

RDU_EXPORT int rdu_device_reset(struct rdu_device *dev)
{
	int ret = lr_check(&dev->obj);

	return ret ? ret : dev->backend->reset(dev);
}

RDU_EXPORT int rdu_chip_by_name(const char *name_or_path, struct rdu_chip *chip, char *error,
				size_t error_size)
{
	return rdu_chip_find(name_or_path, chip, error, error_size) ? -EINVAL : 0;
}
