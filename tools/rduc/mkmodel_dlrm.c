// SPDX-License-Identifier: MIT
/*
 * rdu-mkmodel: a recommendation model (DLRM): dense features through layers, categories through
 * tables of rows, the products of all pairs of them, and layers again to one probability.
 */
#include <math.h>
#include "graph.h"
#include "mem.h"
#include "mkmodel.h"

/* Linear and Relu, layer by layer; the last one without Relu if `last` says how wide it is. */
static const char *layers(struct mk *m, const char *path, const char *x, int64_t width,
			  const int64_t *hidden, int num, int64_t last)
{
	for (int i = 0; i < num; i++) {
		x = mk_linear(m, mk_text("%s.%d", path, 2 * i), x, width, hidden[i]);
		x = MK_OP(m, mk_text("%s/%d", path, 2 * i + 1), "Relu", x);
		width = hidden[i];
	}
	return last ? mk_linear(m, mk_text("%s.%d", path, 2 * num), x, width, last) : x;
}

/* Row `ids[i]` of table i, for each of the batch: [N, dim] */
static const char *embed(struct mk *m, int64_t i, const char *ids, int64_t rows, int64_t dim)
{
	const char *scope = mk_text("emb.%lld", (long long)i);
	const char *table = mk_weight(m, mk_text("emb.%lld.weight", (long long)i), DIMS(rows, dim),
				      1 / sqrt((double)rows));
	Onnx__NodeProto *row = MK_SCOPED(m, "", "Gather", ids, mk_ints(m, "", 0, &i, 1));

	mk_attr_int(row, "axis", 0);
	return MK_OP(m, scope, "Gather", table, row->output[0]);
}

/* Each of the `num` features times each before it: [N, num, dim] to [N, num (num - 1) / 2] */
static const char *interact(struct mk *m, const char *features, int64_t batch, int64_t num)
{
	int64_t pairs = num * (num - 1) / 2, at = 0;
	int64_t *place = xcalloc((size_t)pairs + 1, sizeof(*place));
	const char *z =
		MK_OP(m, "", "MatMul", features, mk_transpose(m, "", features, DIMS(0, 2, 1)));
	Onnx__NodeProto *pick;

	for (int64_t i = 0; i < num; i++)
		for (int64_t k = 0; k < i; k++)
			place[at++] = i * num + k;
	/* How the exporter writes z[:, i, k]. */
	z = mk_reshape(m, "", mk_transpose(m, "", z, DIMS(1, 2, 0)), DIMS(num * num, batch));
	pick = MK_SCOPED(m, "", "Gather", z, mk_ints(m, "", 1, place, pairs));
	mk_attr_int(pick, "axis", 0);
	return mk_transpose(m, "", pick->output[0], DIMS(1, 0));
}

static const char *concat(struct mk *m, int num, const char *const *parts)
{
	const char **in = xcalloc((size_t)num + 1, sizeof(*in));
	Onnx__NodeProto *n;

	for (int i = 0; i < num; i++)
		in[i] = parts[i];
	n = mk_scoped(m, "", "Concat", in);
	mk_attr_int(n, "axis", 1);
	return n->output[0];
}

static int make_dlrm(struct mk *m)
{
	int64_t batch = mk_size(m, "batch"), tables = mk_size(m, "tables"), dim = mk_size(m, "dim");
	int64_t rows = mk_size(m, "rows"), dense = mk_size(m, "dense"), pairs;
	int64_t bottom[MK_MAX_LIST], top[MK_MAX_LIST];
	int num_bottom = mk_list(m, "bottom", bottom), num_top = mk_list(m, "top", top);
	const char **feature = xcalloc((size_t)tables + 1, sizeof(*feature));
	const char *x, *ids, *z;

	if (num_bottom < 0 || num_top < 0)
		return -1;
	if (num_bottom == MK_MAX_LIST)
		return mk_refuse(m, "--bottom has more than %d layers", MK_MAX_LIST - 1);
	bottom[num_bottom++] = dim; /* as wide as a row of a table */
	x = mk_input(m, "dense", 0, DIMS(batch, dense));
	ids = mk_input(m, "sparse", RDU_DT_I64, DIMS(tables, batch));
	x = layers(m, "bottom", x, dense, bottom, num_bottom, 0);
	feature[0] = x;
	for (int64_t i = 0; i < tables; i++)
		feature[i + 1] = embed(m, i, ids, rows, dim);
	z = concat(m, (int)tables + 1, feature);
	z = mk_reshape(m, "", z, DIMS(batch, tables + 1, dim));
	z = interact(m, z, batch, tables + 1);
	pairs = tables * (tables + 1) / 2;
	x = concat(m, 2, (const char *const[]){ x, z });
	x = layers(m, "top", x, dim + pairs, top, num_top, 1);
	x = MK_OP(m, "top", "Sigmoid", x);
	mk_output(m, "probability", x, DIMS(batch, 1));
	return 0;
}

#define SIZE(name, about, value, hi)                     \
	{                                                \
		name, MK_SIZE, about, value, 1, hi, NULL \
	}

const struct mk_family mk_dlrm[] = {
	{ .name = "dlrm",
	  .about = "dense [N,DENSE], sparse [TABLES,N] to a probability: a recommendation model",
	  .make = make_dlrm,
	  .option = { SIZE("batch", "queries at once", 1, 1 << 20),
		      SIZE("tables", "tables, one category each", 26, 256),
		      SIZE("dim", "numbers in a row of a table", 16, 1 << 12),
		      SIZE("rows", "rows of a table", 1000, 1 << 24),
		      SIZE("dense", "dense features", 13, 1 << 16),
		      { "bottom", MK_LIST, "layers of dense features, before one of DIM", 0, 1,
			1 << 20, "512,256,64" },
		      { "top", MK_LIST, "layers before the probability", 0, 1, 1 << 20,
			"512,256" } } },
	{ 0 },
};
