// SPDX-License-Identifier: MIT
/*
 * rdu-mkmodel: MLP-Mixer, of the patches of an image: layers along the patches, then along the
 * channels; and what it has in common with `vit`.
 */
#include "mkmodel.h"

struct sizes {
	int64_t batch, width;
	struct mk_masks masks;
};

const char *mk_patches(struct mk *m, int64_t batch, int64_t width, int64_t *patches)
{
	int64_t image = mk_size(m, "image"), patch = mk_size(m, "patch");
	const char *x = mk_input(m, "x", 0, DIMS(batch, 3, image, image));

	if (image % patch) {
		mk_refuse(m, "--image %lld is no multiple of --patch %lld", (long long)image,
			  (long long)patch);
		return NULL;
	}
	*patches = image / patch * (image / patch);
	x = mk_conv(m, "patches", x, 3, width, patch, patch, 0, 1);
	x = mk_reshape(m, "patches", x, DIMS(batch, width, *patches));
	return mk_transpose(m, "patches", x, DIMS(0, 2, 1));
}

void mk_classes(struct mk *m, const char *x, int64_t batch, int64_t width)
{
	int64_t classes = mk_size(m, "classes");
	Onnx__NodeProto *mean;

	x = mk_layer_norm(m, "norm", "norm", x, width);
	mean = MK_SCOPED(m, "", "ReduceMean", x);
	mk_attr_ints(mean, "axes", DIMS(1));
	mk_attr_int(mean, "keepdims", 0);
	x = mk_linear(m, "head", mean->output[0], width, classes);
	mk_output(m, "logits", x, DIMS(batch, classes));
}

/* Of [.., .., width]: a layer of `hidden`, GELU, and one of its width. */
static const char *mlp(struct mk *m, const char *path, const char *x, const struct mk_masks *masks,
		       int64_t batch, int64_t rows, int64_t width, int64_t hidden)
{
	const char *first = mk_text("%s.fc1", path), *second = mk_text("%s.fc2", path);

	x = mk_product(m, mk_text("%s/fc1", path), first, x, masks,
		       (int64_t[]){ batch, rows, width }, hidden, MK_STDDEV);
	x = mk_gelu(m, mk_text("%s/act", path), x);
	return mk_product(m, mk_text("%s/fc2", path), second, x, masks,
			  (int64_t[]){ batch, rows, hidden }, width, MK_STDDEV);
}

/* Of all patches of a channel, then of all channels of a patch, each added. */
static const char *mix(struct mk *m, int64_t number, const char *x, int64_t patches,
		       const struct sizes *s)
{
	const char *path = mk_text("blocks.%lld", (long long)number);
	int64_t d = s->width;
	const char *y;

	y = mk_layer_norm(m, mk_text("%s/norm1", path), mk_text("%s.norm1", path), x, d);
	y = mk_transpose(m, path, y, DIMS(0, 2, 1));
	y = mlp(m, mk_text("%s.mlp_tokens", path), y, &s->masks, s->batch, d, patches, d / 2);
	x = MK_OP(m, path, "Add", x, mk_transpose(m, path, y, DIMS(0, 2, 1)));
	y = mk_layer_norm(m, mk_text("%s/norm2", path), mk_text("%s.norm2", path), x, d);
	y = mlp(m, mk_text("%s.mlp_channels", path), y, &s->masks, s->batch, patches, d, 4 * d);
	return MK_OP(m, path, "Add", x, y);
}

static int mixer_of(struct mk *m, struct sizes s)
{
	int64_t layers = mk_size(m, "layers"), patches;
	const char *x;

	if (s.width % 2)
		return mk_refuse(m, "--d %lld is odd", (long long)s.width);
	x = mk_patches(m, s.batch, s.width, &patches);
	if (!x)
		return -1;
	for (int64_t i = 0; i < layers; i++)
		x = mix(m, i, x, patches, &s);
	mk_classes(m, x, s.batch, s.width);
	return 0;
}

static struct sizes mixer_sizes(const struct mk *m)
{
	return (struct sizes){ .batch = mk_size(m, "batch"), .width = mk_size(m, "d") };
}

static int make_mixer(struct mk *m)
{
	return mixer_of(m, mixer_sizes(m));
}

static int make_pixelfly_mixer(struct mk *m)
{
	struct sizes s = mixer_sizes(m);

	return mk_butterflies(m, s.width, &s.masks) ? -1 : mixer_of(m, s);
}

#define SIZES                                                                               \
	MK_PATCHES(8, 256), { "d", MK_SIZE, "channels of a patch", 512, 2, 1 << 16, NULL }, \
	{                                                                                   \
		"layers", MK_SIZE, "blocks", 8, 1, 256, NULL                                \
	}

const struct mk_family mk_mixer[] = {
	{ .name = "mixer",
	  .about = "images [N,3,IMAGE,IMAGE] to CLASSES: an MLP-Mixer of patches",
	  .make = make_mixer,
	  .option = { SIZES } },
	{ .name = "pixelfly-mixer",
	  .about = "a mixer with pixelated butterflies for weights: some blocks, and a low rank",
	  .make = make_pixelfly_mixer,
	  .option = { SIZES, MK_BUTTERFLIES(16) } },
	{ 0 },
};
