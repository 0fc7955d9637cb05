// SPDX-License-Identifier: MIT
/* Views and movement: nothing is computed, everything is somewhere else. */
#include <string.h>
#include "diff.h"

static bool anything(const struct val *v)
{
	return count_of(v) <= 65536;
}

static bool has_dims(const struct val *v)
{
	return v->ndim > 0 && count_of(v) <= 65536;
}

static bool float_dims(const struct val *v)
{
	return is_float(v) && v->ndim > 0 && count_of(v) <= 16384;
}

/* An axis from the front or the back. */
static int64_t named_axis(int axis, int ndim)
{
	return chance(3) ? axis - ndim : axis;
}

static bool make_reshape(struct model *m)
{
	int a = some_value(m, anything), nd = 0, minus = -1;
	int64_t dim[RDU_MAX_DIMS], want[RDU_MAX_DIMS], n;

	if (a < 0)
		return false;
	n = count_of(&m->val[a]);
	/* Factors, smallest first, that are gathered into some dimensions. */
	while (n > 1 && nd < 4) {
		int64_t f = n;

		if (chance(2))
			for (f = 2; f < n && (n % f || chance(3)); f++)
				;
		dim[nd++] = f;
		n /= f;
	}
	if (n > 1)
		dim[nd - 1] *= n;
	if (nd < 5 && chance(4)) {
		memmove(dim + 1, dim, (size_t)nd * sizeof(*dim));
		dim[0] = 1;
		nd++;
	}
	memcpy(want, dim, sizeof(want));
	if (nd && chance(3))
		want[minus = (int)pick((uint32_t)nd)] = -1;
	if (chance(4))
		for (int d = 0; d < nd && d < m->val[a].ndim; d++)
			if (d != minus && dim[d] == m->val[a].dim[d])
				want[d] = 0;
	node_simple(m, "Reshape", a, value_ints(m, nd, want), value_like(m, a, nd, dim));
	return true;
}

static bool make_flatten(struct model *m)
{
	int a = some_value(m, anything), axis;
	int64_t dim[2] = { 1, 1 };

	if (a < 0)
		return false;
	axis = (int)pick((uint32_t)m->val[a].ndim + 1);
	for (int d = 0; d < m->val[a].ndim; d++)
		dim[d >= axis] *= m->val[a].dim[d];
	set_int(node_simple(m, "Flatten", a, -1, value_like(m, a, 2, dim)), "axis",
		axis < m->val[a].ndim ? named_axis(axis, m->val[a].ndim) : axis);
	return true;
}

static bool make_transpose(struct model *m)
{
	int a = some_value(m, has_dims), nd;
	int64_t dim[RDU_MAX_DIMS], perm[RDU_MAX_DIMS];
	struct op_node *n;
	bool given;

	if (a < 0)
		return false;
	nd = m->val[a].ndim;
	given = !chance(4);
	for (int d = 0; d < nd; d++)
		perm[d] = nd - 1 - d;
	for (int d = 0; given && d < nd; d++) {
		int o = d + (int)pick((uint32_t)(nd - d));
		int64_t t = perm[d];

		perm[d] = perm[o];
		perm[o] = t;
	}
	for (int d = 0; d < nd; d++)
		dim[d] = m->val[a].dim[perm[d]];
	n = node_simple(m, "Transpose", a, -1, value_like(m, a, nd, dim));
	if (given)
		set_list(n, "perm", nd, perm);
	return true;
}

static bool make_slice(struct model *m)
{
	int a = some_value(m, has_dims), num = 0, nd;
	int64_t dim[RDU_MAX_DIMS], starts[RDU_MAX_DIMS], ends[RDU_MAX_DIMS], axes[RDU_MAX_DIMS],
		steps[RDU_MAX_DIMS];
	bool stepped = false, named = true;
	struct op_node *n;

	if (a < 0)
		return false;
	nd = m->val[a].ndim;
	memcpy(dim, m->val[a].dim, sizeof(dim));
	for (int d = 0; d < nd; d++) {
		int64_t size = dim[d], from, to, step = 1, first, last;

		if (num && chance(2)) {
			named = false;
			continue;
		}
		from = pick((uint32_t)size);
		to = from + 1 + pick((uint32_t)(size - from));
		if (chance(3))
			step = 1 + pick(3);
		first = from;
		last = to;
		dim[d] = (to - from + step - 1) / step;
		if (chance(4)) { /* backwards: from, from - step, ... down to what was the start */
			first = to - 1;
			last = from - 1;
			step = -step;
			dim[d] = (first - last - step - 1) / -step;
			starts[num] = chance(2) && first == size - 1 ? INT64_MAX
				      : chance(2)		     ? first - size
								     : first;
			ends[num] = last < 0 ? (chance(2) ? INT64_MIN : -size - 1) : last;
		} else {
			starts[num] = chance(3) ? first - size : first;
			ends[num] = last < size ? (chance(3) ? last - size : last)
				    : chance(2) ? INT64_MAX
						: last + pick(3);
		}
		if (step != 1)
			stepped = true;
		steps[num] = step;
		axes[num++] = named_axis(d, nd);
	}
	n = node_simple(m, "Slice", a, value_ints(m, num, starts), value_like(m, a, nd, dim));
	op_in(n, value_ints(m, num, ends));
	if (!named || num < nd || stepped || chance(2))
		op_in(n, value_ints(m, num, axes));
	if (stepped || (n->num_in == 4 && chance(3)))
		op_in(n, value_ints(m, num, steps));
	return true;
}

static bool make_squeeze(struct model *m)
{
	int a = some_value(m, anything), nd = 0, num = 0, out;
	int64_t dim[RDU_MAX_DIMS], axes[RDU_MAX_DIMS];
	bool all = chance(3);

	if (a < 0)
		return false;
	for (int d = 0; d < m->val[a].ndim; d++)
		if (m->val[a].dim[d] == 1 && (all || !chance(3)))
			axes[num++] = named_axis(d, m->val[a].ndim);
		else
			dim[nd++] = m->val[a].dim[d];
	if (!num)
		return false;
	out = value_like(m, a, nd, dim);
	node_simple(m, "Squeeze", a, all ? -1 : value_ints(m, num, axes), out);
	return true;
}

static bool make_unsqueeze(struct model *m)
{
	int a = some_value(m, anything), nd = 0, num = 0, from = 0, total;
	int64_t dim[RDU_MAX_DIMS], axes[RDU_MAX_DIMS];
	int add = 1 + (int)pick(2);

	if (a < 0 || m->val[a].ndim + add > 6)
		return false;
	total = m->val[a].ndim + add;
	while (nd < total) {
		bool one = num < add && (from == m->val[a].ndim || chance(3));

		if (one)
			axes[num++] = named_axis(nd, total);
		dim[nd++] = one ? 1 : m->val[a].dim[from++];
	}
	if (num == 2 && chance(3)) {
		int64_t t = axes[0];

		axes[0] = axes[1];
		axes[1] = t;
	}
	node_simple(m, "Unsqueeze", a, value_ints(m, num, axes), value_like(m, a, nd, dim));
	return true;
}

static bool make_split(struct model *m)
{
	int a = some_value(m, has_dims), axis, parts = 0;
	int64_t left, size[4], dim[RDU_MAX_DIMS], given[4];
	struct op_node *n;
	bool even;

	if (a < 0)
		return false;
	axis = (int)pick((uint32_t)m->val[a].ndim);
	left = m->val[a].dim[axis];
	if (left < 2)
		return false;
	even = chance(2);
	if (even) { /* all the same, but for the last one (opset 18) */
		int want = 2 + (int)pick(3);
		int64_t each = (left + want - 1) / want;

		while (left > 0) {
			size[parts++] = left < each ? left : each;
			left -= each;
		}
		if (parts != want || (m->opset < 18 && size[parts - 1] != each))
			return false;
	}
	while (left > 0 && !even) {
		size[parts] = parts == 3 ? left : 1 + pick((uint32_t)left);
		left -= size[parts++];
	}
	memcpy(dim, m->val[a].dim, sizeof(dim));
	memcpy(given, size, sizeof(given));
	n = node_add(m, "Split");
	op_in(n, a);
	if (!even)
		op_in(n, value_ints(m, parts, given));
	for (int p = 0; p < parts; p++) {
		dim[axis] = size[p];
		op_out(m, n, value_like(m, a, m->val[a].ndim, dim));
	}
	if (axis || chance(2))
		set_int(n, "axis", named_axis(axis, m->val[a].ndim));
	if (even && m->opset >= 18)
		set_int(n, "num_outputs", parts);
	return true;
}

static const struct val *like;
static int like_axis;

static bool joins(const struct val *v)
{
	if (v->type != like->type || v->ndim != like->ndim)
		return false;
	for (int d = 0; d < v->ndim; d++)
		if (d != like_axis && v->dim[d] != like->dim[d])
			return false;
	return count_of(v) <= 16384;
}

static bool make_concat(struct model *m)
{
	int a = some_value(m, has_dims), axis, num = 1 + (int)pick(4), in[4], out;
	int64_t dim[RDU_MAX_DIMS], total = 0;
	struct op_node *n;

	if (a < 0)
		return false;
	axis = (int)pick((uint32_t)m->val[a].ndim);
	for (int i = 0; i < num; i++) {
		like = &m->val[a];
		like_axis = axis;
		memcpy(dim, m->val[a].dim, sizeof(dim));
		dim[axis] = 1 + pick(5);
		in[i] = !i ? a
			: chance(2)
				? value_source(m, m->val[a].type, m->val[a].ndim, dim, chance(2))
				: some_value(m, joins);
		if (in[i] < 0)
			return false;
		total += m->val[in[i]].dim[axis];
	}
	memcpy(dim, m->val[a].dim, sizeof(dim));
	dim[axis] = total;
	out = value_like(m, a, m->val[a].ndim, dim);
	n = node_add(m, "Concat");
	for (int i = 0; i < num; i++) {
		const struct val *v = &m->val[in[i]];

		op_in(n, in[i]);
		m->val[out].unit = finer(m->val[out].unit, v->unit);
		if (v->mag > m->val[out].mag)
			m->val[out].mag = v->mag;
	}
	set_int(n, "axis", named_axis(axis, m->val[a].ndim));
	op_out(m, n, out);
	return true;
}

static bool make_expand(struct model *m)
{
	int a = some_value(m, anything), nd, from = 0;
	int64_t dim[RDU_MAX_DIMS], want[RDU_MAX_DIMS], n = 1;

	if (a < 0)
		return false;
	nd = m->val[a].ndim;
	memcpy(dim, m->val[a].dim, sizeof(dim));
	if (nd < 5 && chance(2)) {
		memmove(dim + 1, dim, (size_t)nd * sizeof(*dim));
		dim[0] = 1 + pick(4);
		nd++;
	}
	for (int d = 0; d < nd; d++) {
		want[d] = dim[d];
		if (dim[d] == 1 && chance(2))
			want[d] = dim[d] = 1 + pick(9);
		else if (chance(3) && nd == m->val[a].ndim)
			want[d] = 1; /* as it is */
		n *= dim[d];
	}
	if (n > 16384)
		return false;
	/* Dimensions in front may be left out. */
	while (from < nd - 1 && nd == m->val[a].ndim && dim[from] == m->val[a].dim[from] &&
	       chance(3))
		from++;
	node_simple(m, "Expand", a, value_ints(m, nd - from, want + from),
		    value_like(m, a, nd, dim));
	return true;
}

static bool make_tile(struct model *m)
{
	int a = some_value(m, has_dims);
	int64_t dim[RDU_MAX_DIMS], times[RDU_MAX_DIMS], n = 1;

	if (a < 0)
		return false;
	for (int d = 0; d < m->val[a].ndim; d++) {
		times[d] = 1 + (chance(2) ? pick(3) : 0);
		dim[d] = m->val[a].dim[d] * times[d];
		n *= dim[d];
	}
	if (n > 16384)
		return false;
	node_simple(m, "Tile", a, value_ints(m, m->val[a].ndim, times),
		    value_like(m, a, m->val[a].ndim, dim));
	return true;
}

static bool make_pad(struct model *m)
{
	int a = some_value(m, float_dims), nd, out;
	int64_t dim[RDU_MAX_DIMS], pads[2 * RDU_MAX_DIMS];
	static const char *const modes[] = { "constant", "reflect", "edge" };
	struct op_node *n;
	uint32_t mode;

	if (a < 0)
		return false;
	nd = m->val[a].ndim;
	mode = chance(6) ? 1 + pick(2) : 0;
	for (int d = 0; d < nd; d++) {
		int64_t room = m->val[a].dim[d];

		for (int side = 0; side < 2; side++) {
			int64_t p = chance(2) ? pick(4) : 0;

			if (mode == 1 && p >= room)
				p = 0;
			if (mode == 0 && chance(6) && room > 1) {
				p = -(int64_t)(1 + pick(room > 3 ? 3 : (uint32_t)room - 1));
				room += p;
			}
			pads[d + side * nd] = p;
		}
		dim[d] = m->val[a].dim[d] + pads[d] + pads[d + nd];
	}
	out = value_like(m, a, nd, dim);
	if (m->val[out].mag < 3)
		m->val[out].mag = 3;
	n = node_simple(m, "Pad", a, value_ints(m, 2 * nd, pads), out);
	if (mode)
		set_text(n, "mode", modes[mode]);
	else if (chance(2))
		op_in(n, value_float(m, (float)pick(4) - 1));
	return true;
}

static bool make_gather(struct model *m)
{
	int a = some_value(m, has_dims), axis, index, nd = 0;
	int64_t dim[RDU_MAX_DIMS], idim[2], n = 1;
	int in = (int)pick(3);

	if (a < 0 || m->val[a].ndim > 4)
		return false;
	axis = (int)pick((uint32_t)m->val[a].ndim);
	for (int d = 0; d < in; d++)
		idim[d] = 1 + pick(6);
	for (int d = 0; d < m->val[a].ndim; d++)
		if (d == axis)
			for (int k = 0; k < in; k++)
				dim[nd++] = idim[k];
		else
			dim[nd++] = m->val[a].dim[d];
	for (int d = 0; d < nd; d++)
		n *= dim[d];
	if (n > 16384)
		return false;
	index = value_source(m, chance(3) ? RDU_DT_I32 : RDU_DT_I64, in, idim, chance(2));
	m->val[index].below = m->val[a].dim[axis];
	m->val[index].negative = chance(2);
	set_int(node_simple(m, "Gather", a, index, value_like(m, a, nd, dim)), "axis",
		named_axis(axis, m->val[a].ndim));
	return true;
}

static bool make_gather_elements(struct model *m)
{
	int a = some_value(m, has_dims), axis, index;
	int64_t dim[RDU_MAX_DIMS];

	if (a < 0)
		return false;
	axis = (int)pick((uint32_t)m->val[a].ndim);
	for (int d = 0; d < m->val[a].ndim; d++)
		dim[d] = d == axis   ? 1 + pick(6)
			 : chance(3) ? 1 + pick((uint32_t)m->val[a].dim[d])
				     : m->val[a].dim[d];
	index = value_source(m, chance(3) ? RDU_DT_I32 : RDU_DT_I64, m->val[a].ndim, dim,
			     chance(2));
	m->val[index].below = m->val[a].dim[axis];
	m->val[index].negative = chance(2);
	set_int(node_simple(m, "GatherElements", a, index, value_like(m, a, m->val[a].ndim, dim)),
		"axis", named_axis(axis, m->val[a].ndim));
	return true;
}

static bool four_dims(const struct val *v)
{
	return v->ndim == 4 && is_float(v) && count_of(v) <= 16384;
}

static bool make_depth(struct model *m)
{
	int a = some_value(m, four_dims);
	int64_t b = 2 + pick(2), dim[4];
	struct op_node *n;
	bool to_space;

	if (a < 0)
		return false;
	memcpy(dim, m->val[a].dim, sizeof(dim));
	to_space = dim[1] % (b * b) == 0;
	if (!to_space && (dim[2] % b || dim[3] % b))
		return false;
	dim[1] = to_space ? dim[1] / (b * b) : dim[1] * b * b;
	dim[2] = to_space ? dim[2] * b : dim[2] / b;
	dim[3] = to_space ? dim[3] * b : dim[3] / b;
	n = node_simple(m, to_space ? "DepthToSpace" : "SpaceToDepth", a, -1,
			value_like(m, a, 4, dim));
	set_int(n, "blocksize", b);
	if (to_space && chance(2))
		set_text(n, "mode", chance(2) ? "DCR" : "CRD");
	return true;
}

static bool two_dims(const struct val *v)
{
	return v->ndim >= 2 && is_float(v) && count_of(v) <= 16384;
}

static bool make_trilu(struct model *m)
{
	int a = some_value(m, two_dims), k = -1;
	struct op_node *n;

	if (a < 0 || m->opset < 14)
		return false;
	if (chance(2)) {
		int64_t off = (int64_t)pick(7) - 3;

		k = value_ints(m, 1, &off);
		m->val[k].ndim = 0;
	}
	n = node_simple(m, "Trilu", a, k, value_like(m, a, m->val[a].ndim, m->val[a].dim));
	if (chance(2))
		set_int(n, "upper", 0);
	return true;
}

/* From a shape to numbers and back: what is computed while compiling. */
static bool make_shape(struct model *m)
{
	int a = some_value(m, has_dims), b, s, out;
	int64_t nd, dim[RDU_MAX_DIMS];

	if (a < 0 || m->val[a].ndim > 4)
		return false;
	nd = m->val[a].ndim;
	s = value_new(m, RDU_DT_I64, 1, &nd);
	m->val[s].mag = 70000;
	node_simple(m, "Shape", a, -1, s);
	if (chance(2)) {
		out = value_new(m, RDU_DT_F32, (int)nd, m->val[a].dim);
		m->val[out].mag = 0;
		node_simple(m, "ConstantOfShape", s, -1, out);
		return true;
	}
	for (int d = 0; d < nd; d++)
		dim[d] = chance(2) ? 1 : m->val[a].dim[d];
	b = value_source(m, RDU_DT_F32, (int)nd, dim, chance(2));
	node_simple(m, "Expand", b, s, value_like(m, b, (int)nd, m->val[a].dim));
	return true;
}

const make_op makers_shape[] = {
	make_reshape, make_transpose, make_slice,     make_concat,
	make_split,   make_squeeze,   make_unsqueeze, make_expand,
	make_gather,  make_flatten,   make_pad,	      make_tile,
	make_slice,   make_transpose, make_reshape,   make_gather_elements,
	make_depth,   make_trilu,     make_shape,     make_split,
};
const int num_makers_shape = sizeof(makers_shape) / sizeof(makers_shape[0]);
