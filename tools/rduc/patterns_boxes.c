// SPDX-License-Identifier: MIT
/*
 * NonMaxSuppression: boxes in the order of their scores, and a loop whose iterations take the best one that is
 * left, for all batches and classes at once, and drop those that overlap it.
 */
#include <string.h>
#include "graph.h"

/* Sizes of a node, and what is made of its inputs; rows are batches times classes. */
struct nms {
	struct graph *g;
	struct node *n;
	const char *name;
	int64_t batches, classes, boxes, rows;
	int64_t steps; /* iterations: most boxes of a row that can be selected */
	struct value *order; /* int32 [rows, boxes]: numbers of boxes, the best first */
	struct value
		*corners; /* [rows, boxes, 4], in that order: least x and y, greatest x and y */
	struct value *
		left; /* [rows, boxes]: a box's own place in that order, or `boxes` if it is not to be taken */
	struct value *threshold;
};

static struct value *op2(const struct nms *m, const char *op, struct value *a, struct value *b)
{
	return a && b ? graph_op2(m->g, op, m->name, a, b) : NULL;
}

static struct value *shaped(const struct nms *m, struct value *v, int ndim, const int64_t *dim)
{
	return graph_reshape(m->g, m->name, v, ndim, dim);
}

static struct value *joined(const struct nms *m, int num, struct value *const *v, int64_t axis)
{
	struct node *n = node_new(m->g, "Concat", m->name);

	for (int i = 0; i < num; i++) {
		if (!v[i])
			return NULL;
		node_input(m->g, n, v[i]);
	}
	node_attr_i(m->g, n, "axis", axis);
	return graph_finish(m->g, n);
}

/* by * (row number / of), int32 [rows, 1]. */
static struct value *of_rows(const struct nms *m, int64_t by, int64_t of)
{
	int64_t dim[] = { m->rows, 1 };
	struct value *v = graph_const(m->g, RDU_DT_I32, 2, dim, NULL);

	for (int64_t i = 0; i < m->rows; i++)
		((int32_t *)v->data)[i] = (int32_t)(by * (i / of));
	return v;
}

/* Elements of a table by rows: number `at`, int32 [rows, k], of each row of [rows * boxes, ...]. */
static struct value *pick(const struct nms *m, struct value *table, struct value *at)
{
	return op2(m, "Gather", table, op2(m, "Add", at, of_rows(m, m->boxes, 1)));
}

/* A number that is below `boxes`, or that, as a place in a row. */
static struct value *place(const struct nms *m, struct value *v)
{
	v = op2(m, "Min", v, graph_const_f(m->g, (float)(m->boxes - 1)));
	return v ? graph_cast(m->g, m->name, v, RDU_DT_I32) : NULL;
}

/* [batches, boxes, 4]: corners, or a centre and sizes, become corners. */
static struct value *corners_of(const struct nms *m, struct value *boxes)
{
	bool center = attr_i(m->n, "center_point_box", 0);
	struct value *v[4], *to[4], *half;

	for (int k = 0; k < 4; k++) {
		v[k] = graph_slice(m->g, m->name, boxes, 2, k, 1, false);
		if (!v[k])
			return NULL;
	}
	for (int k = 0; k < 2; k++) { /* x, y */
		int a = center ? k : 1 - k;

		if (center) {
			half = op2(m, "Mul", v[a + 2], graph_const_f(m->g, 0.5f));
			to[k] = op2(m, "Sub", v[a], half);
			to[k + 2] = op2(m, "Add", v[a], half);
		} else {
			to[k] = op2(m, "Min", v[a], v[a + 2]);
			to[k + 2] = op2(m, "Max", v[a], v[a + 2]);
		}
	}
	return joined(m, 4, to, 2);
}

static int nms_get(struct nms *m, struct graph *g, struct node *n)
{
	struct value *boxes = n->in[0], *scores = n->in[1];

	*m = (struct nms){ .g = g, .n = n, .name = n->name };
	if (boxes->ndim != 3 || scores->ndim != 3 || boxes->dim[2] != 4 ||
	    boxes->dim[0] != scores->dim[0] || boxes->dim[1] != scores->dim[2] ||
	    boxes->dtype != RDU_DT_F32 || scores->dtype != RDU_DT_F32)
		return node_error(g, n, "boxes %s%s and scores %s%s do not fit",
				  dtype_name(boxes->dtype), value_shape_text(g, boxes),
				  dtype_name(scores->dtype), value_shape_text(g, scores));
	m->batches = boxes->dim[0];
	m->boxes = boxes->dim[1];
	m->classes = scores->dim[1];
	m->rows = m->batches * m->classes;
	if (m->boxes > 1 << 24 || m->rows * m->boxes > INT32_MAX)
		return node_error(g, n, "scores %s are too many: not supported",
				  value_shape_text(g, scores));
	return 0;
}

static int check_number(struct graph *g, struct node *n, int in, enum rdu_dtype dtype,
			const char *what)
{
	struct value *v = node_in(n, in);

	if (v && (value_count(v) != 1 || v->dtype != dtype))
		return node_error(g, n, "%s is %s%s", what, dtype_name(v->dtype),
				  value_shape_text(g, v));
	return 0;
}

/* How many boxes of a row are taken at most; those of a number that is computed: all. */
static int nms_steps(struct nms *m)
{
	struct value *most = node_in(m->n, 2);
	const struct value *t = node_in(m->n, 3);

	if (check_number(m->g, m->n, 2, RDU_DT_I64, "max_output_boxes_per_class") ||
	    check_number(m->g, m->n, 3, RDU_DT_F32, "iou_threshold") ||
	    check_number(m->g, m->n, 4, RDU_DT_F32, "score_threshold"))
		return -1;
	m->steps = m->boxes;
	if (!most)
		m->steps = 0;
	else if (most->constant && most->data && value_int(most, 0) < m->steps)
		m->steps = value_int(most, 0) < 0 ? 0 : value_int(most, 0);
	if (t && t->constant && t->data && !(value_real(t, 0) >= 0 && value_real(t, 0) <= 1))
		return node_error(m->g, m->n, "iou_threshold is %g, not from 0 to 1",
				  value_real(t, 0));
	if (m->steps * m->rows > INT32_MAX)
		return node_error(m->g, m->n, "%lld rows of %lld boxes are too many: not supported",
				  (long long)m->rows, (long long)m->steps);
	return 0;
}

/* Elements of [rows, boxes], in order. */
static struct value *in_order(const struct nms *m, struct value *v)
{
	struct node *n = node_new(m->g, "GatherElements", m->name);

	node_input(m->g, n, v);
	node_input(m->g, n, m->order);
	node_attr_i(m->g, n, "axis", 1);
	return graph_finish(m->g, n);
}

/* Of which boxes the score is enough, in order: bool, or NULL for all. Those beyond what there is are the last
 * ones. */
static int nms_enough(const struct nms *m, struct value *scores, struct value *places,
		      struct value **enough)
{
	struct value *least = node_in(m->n, 4), *size = m->n->in[1]->size[2], *v;

	*enough = NULL;
	if (least) {
		v = in_order(m, scores);
		*enough = op2(m, "Greater", v, shaped(m, least, 0, NULL));
		if (!*enough)
			return -1;
	}
	if (!size)
		return 0;
	v = op2(m, "Less", places, graph_cast(m->g, m->name, size, RDU_DT_F32));
	*enough = *enough ? op2(m, "And", *enough, v) : v;
	return *enough ? 0 : -1;
}

/* Boxes in order, and which of them there are. */
static int nms_order(struct nms *m)
{
	struct value *scores = m->n->in[1], *places, *enough, *v;
	int64_t table[] = { m->rows, m->boxes }, flat[] = { m->batches * m->boxes, 4 };
	int64_t row[] = { 1, m->boxes }, two = 2;

	scores = shaped(m, bounded_filled(m->g, m->name, scores, FILL_LOWEST), 2, table);
	v = scores ? graph_rank_index(m->g, m->n, scores, 1, m->boxes, true, false) : NULL;
	m->order = v ? graph_cast(m->g, m->name, v, RDU_DT_I32) : NULL;
	v = corners_of(m, m->n->in[0]);
	v = v ? shaped(m, v, 2, flat) : NULL;
	m->corners = op2(m, "Gather", v, op2(m, "Add", m->order, of_rows(m, m->boxes, m->classes)));
	places = graph_cast(m->g, m->name, loop_count(m->g, RDU_DT_I32, m->boxes), RDU_DT_F32);
	places = places ? shaped(m, places, 2, row) : NULL;
	if (!m->corners || !places || nms_enough(m, scores, places, &enough))
		return -1;
	if (enough)
		m->left = graph_op3(m->g, "Where", m->name, enough, places,
				    graph_const_f(m->g, (float)m->boxes));
	if (!enough || (m->left && m->left->dim[0] != m->rows))
		m->left = op2(m, "Expand", enough ? m->left : places,
			      graph_const(m->g, RDU_DT_I64, 1, &two, table));
	return m->left ? 0 : -1;
}

/* An iteration: the best box, as its place, [rows, 1], and what is left then. */
static struct value *nms_step(const struct nms *m, struct value *left, struct value **best)
{
	int64_t last = 1, flat[] = { m->rows * m->boxes, 4 }, one[] = { m->rows, 1, 4 };
	struct value *box, *drop, *v;
	struct node *n;

	*best = graph_reduce(m->g, "ReduceMin", m->name, left, 1, &last, 1);
	box = *best ? pick(m, shaped(m, m->corners, 2, flat), place(m, *best)) : NULL;
	box = box ? shaped(m, box, 3, one) : NULL;
	if (!box)
		return NULL;
	n = node_new(m->g, "BoxOverlap", m->name);
	node_input(m->g, n, box);
	node_input(m->g, n, m->corners);
	node_input(m->g, n, m->threshold);
	v = op2(m, "Equal", left, *best);
	drop = op2(m, "Or", graph_finish(m->g, n), v);
	return drop ? graph_op3(m->g, "Where", m->name, drop, graph_const_f(m->g, (float)m->boxes),
				left)
		    : NULL;
}

/* Places of the boxes that are taken, [steps, rows]; `boxes` where there was none. */
static struct value *nms_loop(const struct nms *m)
{
	struct loop *l = loop_new(m->g, m->steps, 1, 0, 1, 0);
	struct graph_body body;
	struct node *n;

	l->carried[0] = loop_value(m->g, m->name, m->left, 0);
	body_begin(m->g, &body);
	l->next[0] = nms_step(m, l->carried[0], &l->stacked[0]);
	if (!l->next[0]) {
		body_drop(m->g, &body);
		return NULL;
	}
	body_end(m->g, &body, l);
	n = loop_finish(m->g, m->name, l, &m->left, NULL);
	return n ? shaped(m, n->out[1], 2, (int64_t[]){ m->steps, m->rows }) : NULL;
}

/* Batch, class and box of each, [rows, steps, 3], as rows of a table. */
static struct value *nms_table(const struct nms *m, struct value *taken)
{
	int64_t dim[] = { m->rows, m->steps, 1 }, ndim = 3, all[] = { m->rows * m->steps, 3 };
	int64_t flat[] = { m->rows * m->boxes };
	struct value *v[3], *table;

	v[2] = pick(m, shaped(m, m->order, 1, flat), place(m, taken));
	for (int k = 0; k < 2; k++) {
		v[k] = graph_const(m->g, RDU_DT_I32, 3, (int64_t[]){ m->rows, 1, 1 }, NULL);
		for (int64_t i = 0; i < m->rows; i++)
			((int32_t *)v[k]->data)[i] = (int32_t)(k ? i % m->classes : i / m->classes);
		v[k] = op2(m, "Expand", v[k], graph_const(m->g, RDU_DT_I64, 1, &ndim, dim));
	}
	v[2] = v[2] ? shaped(m, v[2], 3, dim) : NULL;
	table = joined(m, 3, v, 2);
	table = table ? shaped(m, table, 2, all) : NULL;
	return table ? graph_cast(m->g, m->name, table, RDU_DT_I64) : NULL;
}

static int nms_expand(struct graph *g, struct node *n)
{
	struct value *most = node_in(n, 2), *taken, *there, *size, *v;
	int64_t none[] = { 0, 3 }, all, column[] = { 1, 0 };
	struct nms m;

	if (nms_get(&m, g, n) || nms_steps(&m))
		return -1;
	if (!m.steps || !m.rows)
		return graph_replace_first(n, graph_const(g, RDU_DT_I64, 2, none, NULL));
	m.threshold = node_in(n, 3) ? shaped(&m, n->in[3], 0, NULL) : graph_const_f(g, 0);
	if (!m.threshold || nms_order(&m))
		return -1;
	taken = nms_loop(&m);
	v = taken ? graph_op1(g, "Transpose", n->name, taken) : NULL;
	there = op2(&m, "Less", v, graph_const_f(g, (float)m.boxes));
	if (there && !(most->constant && most->data)) {
		struct value *steps = loop_count(g, RDU_DT_I64, m.steps);

		column[1] = m.steps;
		there = op2(
			&m, "And", there,
			op2(&m, "Less", shaped(&m, steps, 2, column), shaped(&m, most, 0, NULL)));
	}
	all = m.rows * m.steps;
	there = there ? shaped(&m, there, 1, &all) : NULL;
	v = v ? nms_table(&m, v) : NULL;
	v = there ? op2(&m, "Gather", v, bounded_places(g, n->name, there, &size)) : NULL;
	return graph_replace_first(n, v ? bounded_sized(g, n->name, v, 0, size) : NULL);
}

/* ---- BoxOverlap ---------------------------------------------------------------------------- */

/* Boxes [rows, n, 4] that overlap [rows, 1, 4] by more than a part (of both together): bool. Areas that are not
 * above 0 overlap nothing. As ONNX Runtime computes it, step by step. */
static int box_overlap_infer(struct graph *g, struct node *n)
{
	return node_shape(g, n, 0, RDU_DT_BOOL, 2, n->in[1]->dim);
}

#define OP(op, a, b) nest_op(nest, RDU_SIMD_##op, a, b, -1)

static int box_overlap_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = lower_nest(l, n, NULL);
	struct value *y = n->out[0];
	int e[2][4], size[2], area[2], inter, all, part, by, rest, yes, zero = nest_imm_f(nest, 0);
	int r = nest_dim(nest, "row", y->dim[0], false),
	    b = nest_dim(nest, "box", y->dim[1], false);

	for (int which = 0; which < 2; which++)
		for (int k = 0; k < 4; k++) {
			int in = nest_input(nest, lower_value(l, n->in[which]));

			nest->in[in].coef[0][r] = 1;
			nest->in[in].coef[1][b] = which;
			nest->in[in].offset[2] = k;
			e[which][k] = nest_in(nest, in);
		}
	nest_input(nest, lower_value(l, n->in[2]));
	for (int which = 0; which < 2; which++)
		area[which] = OP(FMUL, OP(FSUB, e[which][2], e[which][0]),
				 OP(FSUB, e[which][3], e[which][1]));
	for (int k = 0; k < 2; k++)
		size[k] = OP(FSUB, OP(FMIN, e[0][k + 2], e[1][k + 2]), OP(FMAX, e[0][k], e[1][k]));
	inter = OP(FMUL, size[0], size[1]);
	all = OP(FSUB, OP(FADD, area[0], area[1]), inter);
	/* The quotient, rounded as a division does: what is missing of it is exact. */
	part = expr_divide(nest, inter, all);
	by = expr_divide(nest, nest_imm_f(nest, 1), all);
	rest = nest_op(nest, RDU_SIMD_FMA, OP(FNEG, part, -1), all, inter);
	part = nest_op(nest, RDU_SIMD_FMA, rest, by, part);
	yes = OP(FLT, nest_in(nest, 8), part);
	yes = OP(AND, yes, OP(AND, OP(FLT, zero, size[0]), OP(FLT, zero, size[1])));
	yes = OP(AND, yes, OP(AND, OP(FLT, zero, area[0]), OP(FLT, zero, area[1])));
	yes = OP(AND, yes, OP(AND, OP(FLT, zero, inter), OP(FLT, zero, all)));
	yes = nest_op(nest, RDU_SIMD_SELECT, yes, nest_imm_i(nest, 1), nest_imm_i(nest, 0));
	nest_output(nest, lower_value(l, y), yes);
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

const struct op ops_boxes[] = {
	{ .name = "NonMaxSuppression",
	  .min_in = 2,
	  .max_in = 5,
	  .max_out = 1,
	  .expand = nms_expand },
	{ .name = "BoxOverlap",
	  .min_in = 3,
	  .max_in = 3,
	  .max_out = 1,
	  .infer = box_overlap_infer,
	  .pattern = box_overlap_pattern,
	  .stop_gradient = true,
	  .internal = true },
	{ 0 },
};
