// SPDX-License-Identifier: MIT
/*
 * rdu-mkmodel: a network that tells how a tumour's cells respond to a drug, of the kind of
 * CANDLE's Uno: features of the cells and of the drug through layers of their own, put together
 * with the dose, and layers again to one number.
 */
#include "mkmodel.h"

static const char *layers(struct mk *m, const char *path, const char *x, int64_t *width,
			  const int64_t *hidden, int num)
{
	for (int i = 0; i < num; i++) {
		x = mk_linear(m, mk_text("%s.%d", path, 2 * i), x, *width, hidden[i]);
		x = MK_OP(m, mk_text("%s/%d", path, 2 * i + 1), "Relu", x);
		*width = hidden[i];
	}
	return x;
}

static int make_uno(struct mk *m)
{
	int64_t batch = mk_size(m, "batch"), genes = mk_size(m, "genes");
	int64_t descriptors = mk_size(m, "descriptors"), width;
	int64_t features[MK_MAX_LIST], hidden[MK_MAX_LIST];
	int num_features = mk_list(m, "features", features), num = mk_list(m, "hidden", hidden);
	const char *cell, *drug, *dose, *x;
	Onnx__NodeProto *all;

	if (num_features < 0 || num < 0)
		return -1;
	cell = mk_input(m, "cell", 0, DIMS(batch, genes));
	drug = mk_input(m, "drug", 0, DIMS(batch, descriptors));
	dose = mk_input(m, "dose", 0, DIMS(batch, 1));
	cell = layers(m, "cell", cell, &genes, features, num_features);
	drug = layers(m, "drug", drug, &descriptors, features, num_features);
	all = MK_SCOPED(m, "", "Concat", cell, drug, dose);
	mk_attr_int(all, "axis", 1);
	width = genes + descriptors + 1;
	x = layers(m, "top", all->output[0], &width, hidden, num);
	x = mk_linear(m, "response", x, width, 1);
	mk_output(m, "growth", x, DIMS(batch, 1));
	return 0;
}

#define SIZE(name, about, value, hi)                     \
	{                                                \
		name, MK_SIZE, about, value, 1, hi, NULL \
	}

const struct mk_family mk_uno[] = {
	{ .name = "uno",
	  .about = "cell [N,GENES], drug [N,DESCRIPTORS] and dose [N,1] to a response",
	  .make = make_uno,
	  .option = { SIZE("batch", "pairs of cells and drugs at once", 16, 1 << 20),
		      SIZE("genes", "features of the cells", 942, 1 << 20),
		      SIZE("descriptors", "features of a drug", 5270, 1 << 20),
		      { "features", MK_LIST, "widths of the layers of cells, and of drugs", 0, 1,
			1 << 20, "1000,1000,1000" },
		      { "hidden", MK_LIST, "widths of the layers behind them", 0, 1, 1 << 20,
			"1000,1000,1000" } } },
	{ 0 },
};
