/* SPDX-License-Identifier: MIT */
/* Contexts, and the buffers in their address spaces. */
#include <stdlib.h>
#include <string.h>
#include "backend.h"

#define PAGE 4096ull
#define LARGE (2ull << 20)

RDU_EXPORT int rdu_context_new(struct rdu_device *dev, const struct rdu_context_options *options,
			       struct rdu_context **out)
{
	struct rdu_context *ctx = *out = lr_new(sizeof(*ctx));
	pthread_mutexattr_t attr;
	int ret;

	if (!ctx)
		return -ENOMEM;
	ctx->dev = dev;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&ctx->lock, &attr);
	pthread_mutexattr_destroy(&attr);
	ret = lr_check_base(&ctx->obj, &dev->obj, "device");
	if (ret) {
		ctx->obj.dead = true;
		return ret;
	}
	if (options)
		memcpy(&ctx->options, options,
		       options->size < sizeof(*options) ? options->size : sizeof(*options));
	ctx->tiles = ctx->options.tiles ? ctx->options.tiles : dev->chip.tiles;
	if (!ctx->options.queue_depth)
		ctx->options.queue_depth = 256;
	if (ctx->tiles > dev->chip.tiles)
		ret = lr_fail(&ctx->obj, -EINVAL, "%s: chip %s has %u tiles, not %u", dev->name,
			      dev->chip.name, dev->chip.tiles, ctx->tiles);
	else if (ctx->options.queue_depth > 65536 || ctx->options.zero)
		ret = lr_fail(&ctx->obj, -EINVAL,
			      "%s: a queue of %u commands, or a reserved option", dev->name,
			      ctx->options.queue_depth);
	else
		ret = dev->backend->context_new(ctx);
	if (ret < 0) {
		dev->backend->context_free(ctx);
		ctx->priv = NULL;
	}
	ctx->obj.dead = ret < 0;
	return ret;
}

RDU_EXPORT void rdu_context_free(struct rdu_context *ctx)
{
	if (!ctx)
		return;
	if (ctx->priv && lr_foreign(&ctx->obj))
		ctx->dev->backend->context_forget(ctx);
	else if (ctx->priv)
		ctx->dev->backend->context_free(ctx);
	lr_ranges_fini(&ctx->va);
	pthread_mutex_destroy(&ctx->lock);
	free(ctx);
}

RDU_EXPORT struct rdu_device *rdu_context_device(struct rdu_context *ctx)
{
	return ctx->dev;
}

RDU_EXPORT int rdu_context_get_fault(struct rdu_context *ctx, struct rdu_fault_info *fault)
{
	int ret = lr_check(&ctx->obj);

	memset(fault, 0, sizeof(*fault));
	return ret ? ret : ctx->dev->backend->fault(ctx, fault);
}

/* ---- buffers -------------------------------------------------------------------- */

RDU_EXPORT int rdu_buffer_new(struct rdu_context *ctx, uint64_t size, uint32_t flags,
			      struct rdu_buffer **out)
{
	struct rdu_buffer *buf = *out = lr_new(sizeof(*buf));
	int ret;

	if (!buf)
		return -ENOMEM;
	buf->ctx = ctx;
	buf->size = size;
	buf->flags = flags;
	buf->obj.dead = true;
	ret = lr_check_base(&buf->obj, &ctx->obj, "context");
	if (ret)
		return ret;
	if (!size || size >> 47 || flags & ~RDU_BUFFER_HOST)
		return lr_fail(&buf->obj, -EINVAL, "a buffer of %llu bytes with flags 0x%x",
			       (unsigned long long)size, flags);
	buf->room = (size + PAGE - 1) & ~(PAGE - 1);
	pthread_mutex_lock(&ctx->lock);
	/* Large pages need both addresses aligned. */
	ret = lr_ranges_take(&ctx->va, buf->room, buf->room >= LARGE ? LARGE : PAGE, &buf->address);
	if (ret) {
		lr_fail(&buf->obj, ret, "no device addresses left for %llu bytes",
			(unsigned long long)size);
	} else {
		ret = ctx->dev->backend->buffer_new(buf);
		if (ret)
			lr_ranges_give(&ctx->va, buf->address, buf->room);
	}
	pthread_mutex_unlock(&ctx->lock);
	buf->obj.dead = ret < 0;
	return ret;
}

RDU_EXPORT void rdu_buffer_free(struct rdu_buffer *buf)
{
	struct rdu_context *ctx;

	if (!buf)
		return;
	ctx = buf->ctx;
	if (!buf->obj.dead && lr_foreign(&buf->obj)) {
		ctx->dev->backend->buffer_forget(buf);
	} else if (!buf->obj.dead) {
		pthread_mutex_lock(&ctx->lock);
		ctx->dev->backend->buffer_free(buf);
		lr_ranges_give(&ctx->va, buf->address, buf->room);
		pthread_mutex_unlock(&ctx->lock);
	}
	free(buf);
}

RDU_EXPORT uint64_t rdu_buffer_size(const struct rdu_buffer *buf)
{
	return buf->size;
}

RDU_EXPORT uint64_t rdu_buffer_address(const struct rdu_buffer *buf)
{
	return buf->address;
}

RDU_EXPORT void *rdu_buffer_map(struct rdu_buffer *buf)
{
	void *map;

	if (lr_check(&buf->obj))
		return NULL;
	pthread_mutex_lock(&buf->ctx->lock);
	if (!buf->map)
		buf->ctx->dev->backend->buffer_map(buf);
	map = buf->map;
	pthread_mutex_unlock(&buf->ctx->lock);
	return map;
}

/* ---- plain commands --------------------------------------------------------------- */

static int queue_command(struct rdu_context *ctx, struct rdu_cmd *cmd, uint64_t *ticket)
{
	int ret = lr_check(&ctx->obj);

	if (ret)
		return ret;
	pthread_mutex_lock(&ctx->lock);
	ret = ctx->dev->backend->submit(ctx, NULL, cmd, 1, ticket);
	if (!ret)
		ctx->last_token = *ticket;
	pthread_mutex_unlock(&ctx->lock);
	if (ret == -EIO || ret == -ENODEV)
		return lr_fail_fault(&ctx->obj, ctx, NULL, NULL, ret);
	return ret ? lr_fail(&ctx->obj, ret, "the command could not be queued: %s", strerror(-ret))
		   : 0;
}

RDU_EXPORT int rdu_context_copy(struct rdu_context *ctx, uint64_t to, uint64_t from, uint64_t size,
				uint64_t *ticket)
{
	struct rdu_cmd cmd = { .op = RDU_OP_COPY, .copy = { .dst = to, .src = from, .len = size } };

	return queue_command(ctx, &cmd, ticket);
}

RDU_EXPORT int rdu_context_barrier(struct rdu_context *ctx, uint64_t *ticket)
{
	struct rdu_cmd cmd = { .op = RDU_OP_NOP };

	return queue_command(ctx, &cmd, ticket);
}

RDU_EXPORT int rdu_context_wait(struct rdu_context *ctx, uint64_t ticket, int64_t timeout_ms)
{
	int ret = lr_check(&ctx->obj);

	if (ret)
		return ret;
	ret = ctx->dev->backend->wait(ctx, ticket, timeout_ms);
	if (ret == -ETIME)
		return lr_fail(&ctx->obj, -ETIMEDOUT, "not done after %lld ms",
			       (long long)timeout_ms);
	return ret ? lr_fail_fault(&ctx->obj, ctx, NULL, NULL, ret) : 0;
}
