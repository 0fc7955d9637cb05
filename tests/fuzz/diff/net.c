// SPDX-License-Identifier: MIT
/* Small networks with a training step. */
#include <math.h>
#include <string.h>
#include "diff.h"

static int weight(struct model *m, int ndim, const int64_t *dim)
{
	int w = value_source(m, RDU_DT_F32, ndim, dim, true);

	m->val[w].weight = true;
	/* As they are initialised: small enough for what comes out to stay of size. */
	inexact(&m->val[w], 2 / sqrt((double)count_of(&m->val[w]) / (double)dim[0] + 1));
	return w;
}

static int like(struct model *m, int v, int ndim, const int64_t *dim)
{
	int o = value_like(m, v, ndim, dim);

	inexact(&m->val[o], 64);
	return o;
}

static int same(struct model *m, int v)
{
	return like(m, v, m->val[v].ndim, m->val[v].dim);
}

static int activation(struct model *m, int v)
{
	static const char *const ops[] = { "Relu", "Tanh",	"Sigmoid",  "LeakyRelu", "Softplus",
					   "Elu",  "HardSwish", "Softsign", "Selu" };
	uint32_t k = pick(11);
	int o;

	if (k == 9)
		return v;
	o = same(m, v);
	if (k == 10) {
		struct op_node *n = node_simple(m, "Clip", v, value_float(m, -1), o);

		op_in(n, value_float(m, 1.5f));
		return o;
	}
	node_simple(m, ops[m->opset < 14 && k == 6 ? 0 : k], v, -1, o);
	return o;
}

/* [.., k] by a matrix; MatMul and Add, or Gemm when there are two dimensions. */
static int dense(struct model *m, int v, int64_t n)
{
	int nd = m->val[v].ndim, o, w;
	int64_t k = m->val[v].dim[nd - 1], dim[RDU_MAX_DIMS], wd[2] = { k, n };
	bool turned = nd == 2 && chance(2);
	struct op_node *node;

	memcpy(dim, m->val[v].dim, sizeof(dim));
	dim[nd - 1] = n;
	if (turned) {
		wd[0] = n;
		wd[1] = k;
	}
	w = weight(m, 2, wd);
	o = like(m, v, nd, dim);
	if (turned || (nd == 2 && chance(2))) {
		node = node_simple(m, "Gemm", v, w, o);
		if (chance(2))
			op_in(node, weight(m, 1, &n));
		if (turned)
			set_int(node, "transB", 1);
		return o;
	}
	node_simple(m, "MatMul", v, w, o);
	if (chance(2)) {
		int sum = same(m, o), bias = weight(m, 1, &n);
		bool first = chance(2);

		node_simple(m, "Add", first ? bias : o, first ? o : bias, sum);
		return sum;
	}
	return o;
}

static int convolution(struct model *m, int v)
{
	int64_t c = m->val[v].dim[1], out = 1 + pick(6), k = 1 + pick(3), stride = 1 + pick(2);
	int64_t pad = pick((uint32_t)k), group = chance(4) ? c : 1, dim[4];
	struct op_node *n;
	int w, o;

	if (group > 1)
		out = c;
	memcpy(dim, m->val[v].dim, sizeof(dim));
	dim[1] = out;
	for (int d = 2; d < 4; d++) {
		if (dim[d] + 2 * pad < k)
			return v;
		dim[d] = (dim[d] + 2 * pad - k) / stride + 1;
	}
	w = weight(m, 4, (int64_t[]){ out, c / group, k, k });
	o = like(m, v, 4, dim);
	n = node_simple(m, "Conv", v, w, o);
	if (chance(2))
		op_in(n, weight(m, 1, &out));
	set_list(n, "kernel_shape", 2, (int64_t[]){ k, k });
	set_list(n, "strides", 2, (int64_t[]){ stride, stride });
	set_list(n, "pads", 4, (int64_t[]){ pad, pad, pad, pad });
	if (group > 1)
		set_int(n, "group", group);
	return o;
}

static int pool(struct model *m, int v)
{
	int64_t dim[4], k = 2 + pick(2), stride = 1 + pick(3), pad = pick(2);
	struct op_node *n;
	int o;

	memcpy(dim, m->val[v].dim, sizeof(dim));
	for (int d = 2; d < 4; d++) {
		if (dim[d] + 2 * pad < k)
			return v;
		dim[d] = (dim[d] + 2 * pad - k) / stride + 1;
	}
	o = like(m, v, 4, dim);
	n = node_simple(m, chance(3) ? "AveragePool" : "MaxPool", v, -1, o);
	set_list(n, "kernel_shape", 2, (int64_t[]){ k, k });
	set_list(n, "strides", 2, (int64_t[]){ stride, stride });
	set_list(n, "pads", 4, (int64_t[]){ pad, pad, pad, pad });
	return o;
}

static int normalize(struct model *m, int v)
{
	int nd = m->val[v].ndim, o = same(m, v);
	struct op_node *n;

	if (m->opset < 17 || m->val[v].dim[nd - 1] < 3)
		return v;
	n = node_simple(m, "LayerNormalization", v, weight(m, 1, &m->val[v].dim[nd - 1]), o);
	if (chance(2))
		op_in(n, weight(m, 1, &m->val[v].dim[nd - 1]));
	set_float(n, "epsilon", 0.125f);
	return o;
}

static int view(struct model *m, int v, int ndim, const int64_t *dim)
{
	int o = like(m, v, ndim, dim);

	node_simple(m, "Reshape", v, value_ints(m, ndim, dim), o);
	return o;
}

static int turn(struct model *m, int v, const int64_t *perm)
{
	int64_t dim[RDU_MAX_DIMS];
	int nd = m->val[v].ndim, o;

	for (int d = 0; d < nd; d++)
		dim[d] = m->val[v].dim[perm[d]];
	o = like(m, v, nd, dim);
	set_list(node_simple(m, "Transpose", v, -1, o), "perm", nd, perm);
	return o;
}

static int product(struct model *m, int a, int b)
{
	int64_t dim[4];
	int nd = m->val[a].ndim, o;

	memcpy(dim, m->val[a].dim, sizeof(dim));
	dim[nd - 1] = m->val[b].dim[nd - 1];
	o = like(m, a, nd, dim);
	node_simple(m, "MatMul", a, b, o);
	return o;
}

/* One block of attention over [n, t, d]. */
static int attention(struct model *m, int v)
{
	int64_t n = m->val[v].dim[0], t = m->val[v].dim[1], d = m->val[v].dim[2];
	int64_t heads = d % 2 || chance(2) ? 1 : 2, each = d / heads;
	const int64_t split[4] = { n, t, heads, each };
	int x[3], s, p;

	for (int i = 0; i < 3; i++) {
		x[i] = view(m, dense(m, v, d), 4, split);
		x[i] = turn(m, x[i],
			    i == 1 ? (int64_t[]){ 0, 2, 3, 1 } : (int64_t[]){ 0, 2, 1, 3 });
	}
	s = product(m, x[0], x[1]);
	p = same(m, s);
	node_simple(m, "Mul", s, value_float(m, 0.25f), p);
	s = same(m, p);
	set_int(node_simple(m, "Softmax", p, -1, s), "axis", -1);
	p = turn(m, product(m, s, x[2]), (int64_t[]){ 0, 2, 1, 3 });
	s = dense(m, view(m, p, 3, m->val[v].dim), d);
	p = same(m, s);
	node_simple(m, "Add", s, v, p);
	return p;
}

/* v + f(v): what is read twice gets two gradients. */
static int residual(struct model *m, int v)
{
	int64_t k = m->val[v].dim[m->val[v].ndim - 1];
	int a = activation(m, dense(m, v, chance(2) ? k : 1 + pick(12)));
	int b = dense(m, a, k), o = same(m, v);
	static const char *const ops[] = { "Add", "Mul", "Sub", "Max" };

	node_simple(m, ops[chance(3) ? pick(4) : 0], v, b, o);
	return o;
}

static int gathered(struct model *m, int64_t n)
{
	int64_t t = 1 + pick(6), d = 2 + pick(8), rows = 2 + pick(20);
	int index, o, table = weight(m, 2, (int64_t[]){ rows, d });

	index = value_source(m, RDU_DT_I64, 2, (int64_t[]){ n, t }, false);
	m->val[index].below = rows;
	o = like(m, table, 3, (int64_t[]){ n, t, d });
	node_simple(m, "Gather", table, index, o);
	return o;
}

void make_net(struct model *m)
{
	int64_t n = chance(2) ? random_extent() : 1 + pick(8), dim[4] = { n };
	int v, layers = 1 + (int)pick(3);

	m->train = true;
	m->optimizer = (int)pick(4);
	m->mse = chance(4);
	m->decay = chance(3);
	m->classes = 2 + (int)pick(6);
	switch (pick(4)) {
	case 0:
		dim[1] = 1 + pick(16);
		v = value_source(m, RDU_DT_F32, 2, dim, false);
		break;
	case 1:
		dim[1] = 1 + pick(4);
		dim[2] = 4 + pick(6);
		dim[3] = 4 + pick(6);
		v = value_source(m, RDU_DT_F32, 4, dim, false);
		for (int i = 0; i < layers; i++) {
			v = activation(m, convolution(m, v));
			if (chance(2))
				v = pool(m, v);
		}
		break;
	case 2:
		dim[1] = 1 + pick(6);
		dim[2] = 2 + pick(8);
		v = value_source(m, RDU_DT_F32, 3, dim, false);
		break;
	default:
		v = gathered(m, n);
	}
	if (m->val[v].ndim == 3) {
		if (chance(2))
			v = attention(m, v);
		if (chance(2))
			v = normalize(m, v);
	}
	if (m->val[v].ndim > 2) {
		int64_t flat[2] = { n, count_of(&m->val[v]) / n };
		int o = like(m, v, 2, flat);

		node_simple(m, "Flatten", v, -1, o);
		v = o;
	}
	for (int i = 1; i < layers; i++)
		v = chance(3) ? residual(m, v) : activation(m, dense(m, v, 1 + pick(20)));
	v = dense(m, v, m->classes);
	m->output[m->num_outputs++] = v;
}
