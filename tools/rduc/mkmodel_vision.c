// SPDX-License-Identifier: MIT
/*
 * rdu-mkmodel: convolutional networks as PyTorch exports them for inference: batch
 * normalization has become part of the convolutions' weights.
 */
#include <math.h>
#include "mkmodel.h"

#define MAX_UNET_DEPTH 8

static const char *relu(struct mk *m, const char *scope, const char *x)
{
	return MK_OP(m, scope, "Relu", x);
}

/* ---- ResNet -------------------------------------------------------------------- */

/* What a Relu halves comes back; what is added to the path is small. */
#define FIRST 2.449 /* the root of 6: He's */
#define LAST 1.0

struct resnet {
	int64_t depth;
	bool bottleneck;
	int blocks[4];
};

static const struct resnet resnets[] = {
	{ 18, false, { 2, 2, 2, 2 } },	{ 34, false, { 3, 4, 6, 3 } },
	{ 50, true, { 3, 4, 6, 3 } },	{ 101, true, { 3, 4, 23, 3 } },
	{ 152, true, { 3, 8, 36, 3 } },
};

/* A residual block: `in` channels to `width`, or with a bottleneck to 4 `width`. */
static const char *residual(struct mk *m, const char *path, const char *scope, const char *x,
			    int64_t in, int64_t width, int64_t stride, bool bottleneck)
{
	int64_t out = bottleneck ? 4 * width : width;
	const char *y = x;

	if (bottleneck)
		y = relu(m, mk_text("%s/relu", scope),
			 mk_conv(m, mk_text("%s.conv1", path), y, in, width, 1, 1, 0, FIRST));
	y = mk_conv(m, mk_text("%s.conv%d", path, 1 + bottleneck), y, bottleneck ? width : in,
		    width, 3, stride, 1, FIRST);
	y = relu(m, mk_text("%s/relu", scope), y);
	if (bottleneck)
		y = mk_conv(m, mk_text("%s.conv3", path), y, width, out, 1, 1, 0, LAST);
	else
		y = mk_conv(m, mk_text("%s.conv2", path), y, width, width, 3, 1, 1, LAST);
	if (stride != 1 || in != out)
		x = mk_conv(m, mk_text("%s.downsample.0", path), x, in, out, 1, stride, 0, FIRST);
	return relu(m, mk_text("%s/relu", scope), MK_OP(m, scope, "Add", y, x));
}

static int make_resnet(struct mk *m)
{
	int64_t batch = mk_size(m, "batch"), image = mk_size(m, "image");
	int64_t width = mk_size(m, "width"), classes = mk_size(m, "classes"), in = width;
	const struct resnet *r = NULL;
	const char *x = mk_input(m, "x", 0, DIMS(batch, 3, image, image));
	Onnx__NodeProto *flat;

	for (size_t i = 0; i < sizeof(resnets) / sizeof(resnets[0]); i++)
		if (resnets[i].depth == mk_size(m, "depth"))
			r = &resnets[i];
	if (!r)
		return mk_refuse(m, "--depth is one of 18, 34, 50, 101 and 152, not %lld",
				 (long long)mk_size(m, "depth"));
	x = relu(m, "relu", mk_conv(m, "conv1", x, 3, width, 7, 2, 3, FIRST));
	x = mk_max_pool(m, "maxpool", x, 3, 2, 1);
	for (int s = 0; s < 4; s++)
		for (int b = 0; b < r->blocks[s]; b++) {
			x = residual(m, mk_text("layer%d.%d", s + 1, b),
				     mk_text("layer%d/layer%d.%d", s + 1, s + 1, b), x, in,
				     width << s, s && !b ? 2 : 1, r->bottleneck);
			in = (width << s) * (r->bottleneck ? 4 : 1);
		}
	x = MK_OP(m, "avgpool", "GlobalAveragePool", x);
	flat = MK_SCOPED(m, "", "Flatten", x);
	mk_attr_int(flat, "axis", 1);
	x = mk_linear(m, "fc", flat->output[0], in, classes);
	mk_output(m, "logits", x, DIMS(batch, classes));
	return 0;
}

/* ---- AlexNet ------------------------------------------------------------------- */

static int make_alexnet(struct mk *m)
{
	static const struct {
		int place, out, kernel, stride, pad; /* out: of a width of 64 */
		bool pool;
	} convs[] = { { 0, 64, 11, 4, 2, true },
		      { 3, 192, 5, 1, 2, true },
		      { 6, 384, 3, 1, 1, false },
		      { 8, 256, 3, 1, 1, false },
		      { 10, 256, 3, 1, 1, true } };
	int64_t batch = mk_size(m, "batch"), image = mk_size(m, "image"), size = image, in = 3;
	int64_t width = mk_size(m, "width"), hidden = mk_size(m, "hidden");
	int64_t classes = mk_size(m, "classes");
	const char *x = mk_input(m, "x", 0, DIMS(batch, 3, image, image));
	Onnx__NodeProto *flat;

	for (size_t i = 0; i < sizeof(convs) / sizeof(convs[0]); i++) {
		int64_t out = convs[i].out * width / 64;

		size = (size + 2 * convs[i].pad - convs[i].kernel) / convs[i].stride + 1;
		x = relu(m, "features",
			 mk_conv(m, mk_text("features.%d", convs[i].place), x, in, out,
				 convs[i].kernel, convs[i].stride, convs[i].pad, FIRST));
		if (convs[i].pool)
			x = mk_max_pool(m, "features", x, 3, 2, 0);
		if (convs[i].pool)
			size = (size - 3) / 2 + 1;
		in = out;
	}
	flat = MK_SCOPED(m, "", "Flatten", x);
	mk_attr_int(flat, "axis", 1);
	x = mk_linear(m, "classifier.1", flat->output[0], in * size * size, hidden);
	x = relu(m, "classifier", x);
	x = relu(m, "classifier", mk_linear(m, "classifier.4", x, hidden, hidden));
	x = mk_linear(m, "classifier.6", x, hidden, classes);
	mk_output(m, "logits", x, DIMS(batch, classes));
	return 0;
}

/* ---- U-Net --------------------------------------------------------------------- */

static const char *double_conv(struct mk *m, const char *path, const char *x, int64_t in,
			       int64_t out)
{
	x = relu(m, path, mk_conv(m, mk_text("%s.0", path), x, in, out, 3, 1, 1, 1));
	return relu(m, path, mk_conv(m, mk_text("%s.2", path), x, out, out, 3, 1, 1, 1));
}

/* nn.ConvTranspose2d that doubles height and width, and halves the channels. */
static const char *up_conv(struct mk *m, const char *path, const char *x, int64_t in)
{
	double bound = 1 / sqrt((double)(in / 2 * 4));
	const char *w = mk_weight(m, mk_text("%s.weight", path), DIMS(in, in / 2, 2, 2), bound);
	const char *b = mk_weight(m, mk_text("%s.bias", path), DIMS(in / 2), bound);
	Onnx__NodeProto *n = MK_SCOPED(m, path, "ConvTranspose", x, w, b);

	mk_attr_ints(n, "dilations", DIMS(1, 1));
	mk_attr_int(n, "group", 1);
	mk_attr_ints(n, "kernel_shape", DIMS(2, 2));
	mk_attr_ints(n, "pads", DIMS(0, 0, 0, 0));
	mk_attr_ints(n, "strides", DIMS(2, 2));
	return n->output[0];
}

static int make_unet(struct mk *m)
{
	int64_t batch = mk_size(m, "batch"), image = mk_size(m, "image");
	int64_t channels = mk_size(m, "channels"), classes = mk_size(m, "classes");
	int64_t width = mk_size(m, "width"), depth = mk_size(m, "depth");
	const char *x = mk_input(m, "x", 0, DIMS(batch, channels, image, image));
	const char *skip[MAX_UNET_DEPTH];

	if (image % (1ll << depth))
		return mk_refuse(m,
				 "--image %lld cannot be halved --depth %lld times: it is no "
				 "multiple of %lld",
				 (long long)image, (long long)depth, 1ll << depth);
	for (int i = 0; i < depth; i++) {
		skip[i] = double_conv(m, mk_text("down%d", i + 1), x,
				      i ? width << (i - 1) : channels, width << i);
		x = mk_max_pool(m, mk_text("pool%d", i + 1), skip[i], 2, 2, 0);
	}
	x = double_conv(m, "bottom", x, width << (depth - 1), width << depth);
	for (int i = (int)depth - 1; i >= 0; i--) {
		Onnx__NodeProto *cat;

		x = up_conv(m, mk_text("up%d", i + 1), x, width << (i + 1));
		cat = MK_SCOPED(m, mk_text("cat%d", i + 1), "Concat", skip[i], x);
		mk_attr_int(cat, "axis", 1);
		x = double_conv(m, mk_text("conv%d", i + 1), cat->output[0], width << (i + 1),
				width << i);
	}
	x = mk_conv(m, "out", x, width, classes, 1, 1, 0, 1);
	mk_output(m, "logits", x, DIMS(batch, classes, image, image));
	return 0;
}

#define SIZE(name, about, value, hi)                     \
	{                                                \
		name, MK_SIZE, about, value, 1, hi, NULL \
	}

const struct mk_family mk_vision[] = {
	{ .name = "resnet",
	  .about = "images [N,3,IMAGE,IMAGE] to CLASSES: a residual network",
	  .make = make_resnet,
	  .option = { SIZE("batch", "images at once", 1, 1 << 16),
		      SIZE("image", "height and width", 224, 1 << 14),
		      SIZE("depth", "18, 34, 50, 101 or 152 layers", 50, 152),
		      SIZE("width", "channels of the first stage", 64, 1 << 10),
		      SIZE("classes", "classes", 1000, 1 << 20) } },
	{ .name = "alexnet",
	  .about = "images [N,3,IMAGE,IMAGE] to CLASSES: AlexNet as torchvision has it",
	  .make = make_alexnet,
	  .option = { SIZE("batch", "images at once", 1, 1 << 16),
		      { "image", MK_SIZE, "height and width", 224, 63, 1 << 14, NULL },
		      SIZE("width", "channels of the first convolution", 64, 1 << 10),
		      SIZE("hidden", "width of the two dense layers", 4096, 1 << 20),
		      SIZE("classes", "classes", 1000, 1 << 20) } },
	{ .name = "unet",
	  .about = "images [N,CHANNELS,IMAGE,IMAGE] to CLASSES of each pixel: a U-Net",
	  .make = make_unet,
	  .option = { SIZE("batch", "images at once", 1, 1 << 16),
		      SIZE("image", "height and width", 2048, 1 << 14),
		      SIZE("channels", "of the image", 3, 1 << 10),
		      SIZE("classes", "classes", 2, 1 << 10),
		      SIZE("width", "channels at full size; half the size has twice as many", 16,
			   1 << 10),
		      SIZE("depth", "how often the size is halved", 4, MAX_UNET_DEPTH) } },
	{ 0 },
};
