// SPDX-License-Identifier: MIT
/* Choices, values and nodes; random graphs; the data that inputs hold. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "diff.h"
#include "rdu_card.h"

/* ---- choices ------------------------------------------------------------------- */

static struct {
	bool replay;
	int num, at;
	const uint32_t *choice;
	uint64_t state;
	struct verdict *record;
} source;

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull; /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

void choices_seed(uint64_t seed, struct verdict *record)
{
	source.replay = false;
	source.state = seed;
	source.record = record;
	record->num_choices = 0;
}

void choices_replay(const uint32_t *choice, int num, struct verdict *record)
{
	source.replay = true;
	source.choice = choice;
	source.num = num;
	source.at = 0;
	source.record = record;
	record->num_choices = 0;
}

uint32_t pick(uint32_t n)
{
	struct verdict *r = source.record;
	uint32_t v = 0;

	if (n < 2 || r->num_choices == MAX_CHOICES)
		return 0;
	if (!source.replay)
		v = (uint32_t)(next_random(&source.state) >> 33) % n;
	else if (source.at < source.num)
		v = source.choice[source.at++] % n;
	r->choice[r->num_choices++] = v;
	return v;
}

bool chance(uint32_t n)
{
	return pick(n) == n - 1;
}

/* ---- values ---------------------------------------------------------------------- */

int64_t count_of(const struct val *v)
{
	int64_t n = 1;

	for (int d = 0; d < v->ndim; d++)
		n *= v->dim[d];
	return n;
}

bool is_float(const struct val *v)
{
	return v->type == RDU_DT_F32;
}

static bool is_real(const struct val *v)
{
	return is_float(v) || v->type == RDU_DT_BF16;
}

bool is_exact(const struct val *v)
{
	return !is_real(v) || v->unit < 0 || (v->unit > 0 && v->mag / v->unit < 16777216);
}

double finer(double a, double b)
{
	return a == 0 || b == 0 ? 0 : fmin(a, b);
}

void inexact(struct val *v, double mag)
{
	v->unit = 0;
	v->mag = mag;
}

int value_new(struct model *m, enum rdu_dtype type, int ndim, const int64_t *dim)
{
	struct val *v = &m->val[m->num_vals];

	if (m->num_vals == MAX_VALUES) {
		fprintf(stderr, "a model has more than %d values\n", MAX_VALUES);
		abort();
	}
	memset(v, 0, sizeof(*v));
	snprintf(v->name, sizeof(v->name), "v%d", m->num_vals);
	v->type = type;
	v->ndim = ndim;
	if (ndim)
		memcpy(v->dim, dim, (size_t)ndim * sizeof(*dim));
	v->producer = -1;
	v->unit = 1;
	v->mag = type == RDU_DT_BOOL ? 1 : 3;
	return m->num_vals++;
}

int value_source(struct model *m, enum rdu_dtype type, int ndim, const int64_t *dim, bool init)
{
	int i = value_new(m, type, ndim, dim);
	struct val *v = &m->val[i];

	v->input = !init;
	v->init = init;
	if (is_real(v) && m->data == DATA_REAL)
		inexact(v, 2);
	else if (is_real(v) && m->data == DATA_LIMITS)
		v->unit = -1, v->mag = INFINITY;
	else if (m->data == DATA_LIMITS && type != RDU_DT_BOOL)
		v->mag = INFINITY;
	return i;
}

static void put(struct val *v, int64_t i, double f, int64_t n)
{
	switch (v->type) {
	case RDU_DT_F32:
		((float *)v->data)[i] = (float)f;
		break;
	case RDU_DT_BF16: {
		float half = (float)f;
		uint32_t word;

		memcpy(&word, &half, 4); /* cut off: any number will do */
		((uint16_t *)v->data)[i] = (uint16_t)(word >> 16);
		break;
	}
	case RDU_DT_I64:
		((int64_t *)v->data)[i] = n;
		break;
	case RDU_DT_I32:
		((int32_t *)v->data)[i] = (int32_t)n;
		break;
	default:
		((uint8_t *)v->data)[i] = (uint8_t)n;
	}
}

int value_ints(struct model *m, int num, const int64_t *ints)
{
	int64_t dim = num;
	int i = value_new(m, RDU_DT_I64, 1, &dim);

	m->val[i].init = true;
	m->val[i].data = malloc((size_t)num * 8 + 8);
	memcpy(m->val[i].data, ints, (size_t)num * 8);
	return i;
}

int value_numbers(struct model *m, enum rdu_dtype type, int ndim, const int64_t *dim,
		  const double *x)
{
	int i = value_new(m, type, ndim, dim);
	struct val *v = &m->val[i];

	v->init = true;
	v->data = calloc((size_t)count_of(v) + 1, type_bytes(type));
	v->mag = 0;
	for (int64_t k = 0; k < count_of(v); k++) {
		put(v, k, x[k], (int64_t)x[k]);
		v->mag = fmax(v->mag, fabs(x[k]));
		while (v->unit > 0 && x[k] != rint(x[k] / v->unit) * v->unit)
			v->unit = v->unit > 1.0 / 1024 ? v->unit / 2 : 0;
	}
	return i;
}

int value_float(struct model *m, float f)
{
	int i = value_new(m, RDU_DT_F32, 0, NULL);

	m->val[i].init = true;
	m->val[i].mag = fabs(f);
	m->val[i].unit = f == rintf(f) ? 1 : f * 64 == rintf(f * 64) ? 1.0 / 64 : 0;
	m->val[i].data = malloc(4);
	memcpy(m->val[i].data, &f, 4);
	return i;
}

int value_like(struct model *m, int like, int ndim, const int64_t *dim)
{
	int i = value_new(m, m->val[like].type, ndim, dim);
	struct val *v = &m->val[i];

	v->unit = m->val[like].unit;
	v->mag = m->val[like].mag;
	return i;
}

/* ---- nodes -------------------------------------------------------------------------- */

struct op_node *node_add(struct model *m, const char *op)
{
	struct op_node *n = &m->node[m->num_nodes];

	if (m->num_nodes == MAX_NODES) {
		fprintf(stderr, "a model has more than %d nodes\n", MAX_NODES);
		abort();
	}
	memset(n, 0, sizeof(*n));
	n->op = op;
	m->num_nodes++;
	return n;
}

void op_in(struct op_node *n, int v)
{
	n->in[n->num_in++] = v;
}

void op_out(struct model *m, struct op_node *n, int v)
{
	n->out[n->num_out++] = v;
	if (v >= 0)
		m->val[v].producer = (int)(n - m->node);
}

static struct node_attr *attr_new(struct op_node *n, const char *name, char kind)
{
	struct node_attr *a = &n->attr[n->num_attrs++];

	a->name = name;
	a->kind = kind;
	return a;
}

void set_int(struct op_node *n, const char *name, int64_t v)
{
	attr_new(n, name, 'i')->i = v;
}

void set_float(struct op_node *n, const char *name, float v)
{
	attr_new(n, name, 'f')->f = v;
}

void set_text(struct op_node *n, const char *name, const char *v)
{
	attr_new(n, name, 's')->s = v;
}

void set_list(struct op_node *n, const char *name, int num, const int64_t *v)
{
	struct node_attr *a = attr_new(n, name, 'I');

	a->num = num;
	memcpy(a->ints, v, (size_t)num * sizeof(*v));
}

struct op_node *node_simple(struct model *m, const char *op, int a, int b, int out)
{
	struct op_node *n = node_add(m, op);

	op_in(n, a);
	if (b >= 0)
		op_in(n, b);
	op_out(m, n, out);
	return n;
}

/* ---- shapes and operands ---------------------------------------------------------------- */

int64_t random_extent(void)
{
	static const uint8_t some[] = { 1, 2, 3, 4, 5, 8, 16, 7, 32, 33, 64, 13, 31, 65 };

	if (chance(24))
		return 1 + pick(600);
	return chance(8) ? 1 + pick(70) : some[pick(chance(3) ? sizeof(some) : 6)];
}

int random_shape(int64_t *dim, int max_dims, int64_t max_count)
{
	int nd = (int)pick((uint32_t)max_dims + 1);
	int64_t n = 1;

	/* Plainest: one dimension. */
	nd = nd == 0 ? 1 : nd == 1 ? 0 : nd;
	if (!nd && !chance(3))
		nd = 2;
	for (int d = 0; d < nd; d++) {
		dim[d] = random_extent();
		if (n * dim[d] > max_count)
			dim[d] = 1;
		n *= dim[d];
	}
	return nd;
}

int some_value(struct model *m, bool (*ok)(const struct val *v))
{
	int found[MAX_VALUES], n = 0;

	/* What is new comes first: chains are more likely than combs. */
	for (int i = m->num_vals - 1; i >= 0; i--) {
		const struct val *v = &m->val[i];

		if ((v->producer >= 0 || v->input || (v->init && !v->data)) && ok(v))
			found[n++] = i;
	}
	if (!n)
		return -1;
	return found[chance(2) ? pick((uint32_t)n) : pick(n > 3 ? 3 : (uint32_t)n)];
}

int tamed(struct model *m, int v, double mag)
{
	struct op_node *n;
	int out;

	if (m->val[v].mag <= mag || m->data == DATA_LIMITS)
		return v;
	out = value_like(m, v, m->val[v].ndim, m->val[v].dim);
	m->val[out].mag = mag;
	n = node_simple(m, "Clip", v, value_float(m, (float)-mag), out);
	op_in(n, value_float(m, (float)mag));
	return out;
}

/* ---- random graphs ------------------------------------------------------------------------ */

static void random_graph(struct model *m)
{
	static const int sizes[] = { 1, 2, 3, 5, 8, 12, 20 };
	int want = sizes[pick(7)], sources = 1 + (int)pick(3), tries = 0, num = 0;
	int64_t dim[RDU_MAX_DIMS];
	bool used[MAX_VALUES] = { false };

	for (int i = 0; i < sources; i++) {
		static const enum rdu_dtype types[] = { RDU_DT_F32, RDU_DT_F32,	 RDU_DT_F32,
							RDU_DT_F32, RDU_DT_F32,	 RDU_DT_I64,
							RDU_DT_I32, RDU_DT_BOOL, RDU_DT_U8,
							RDU_DT_I8 };

		value_source(m, types[pick(i ? 10 : 5)],
			     random_shape(dim, 4, chance(8) ? 40000 : 4096), dim, i && chance(4));
	}
	while (num < want && tries++ < 9 * want && m->num_nodes < MAX_NODES - 12 &&
	       m->num_vals < MAX_VALUES - 40) {
		const make_op *table;
		int before = m->num_nodes, of, vals = m->num_vals;

		switch (pick(11)) {
		case 0: /* plainest: nothing */
			continue;
		case 1:
		case 2:
		case 8:
			table = makers_map;
			of = num_makers_map;
			break;
		case 3:
		case 4:
			table = makers_shape;
			of = num_makers_shape;
			break;
		case 5:
			table = makers_reduce;
			of = num_makers_reduce;
			break;
		case 9:
			table = makers_index;
			of = num_makers_index;
			break;
		case 10:
			table = makers_block;
			of = num_makers_block;
			break;
		default: /* sums of infinities depend on the order */
			table = m->data == DATA_LIMITS ? makers_shape : makers_contract;
			of = m->data == DATA_LIMITS ? num_makers_shape : num_makers_contract;
		}
		if (table[pick((uint32_t)of)](m)) {
			num += m->num_nodes - before;
		} else {
			m->num_nodes = before;
			for (int i = vals; i < m->num_vals; i++)
				free(m->val[i].data);
			m->num_vals = vals;
		}
	}
	for (int k = 0; k < m->num_nodes; k++)
		for (int i = 0; i < m->node[k].num_in; i++)
			if (m->node[k].in[i] >= 0)
				used[m->node[k].in[i]] = true;
	/* Outputs: what nothing reads, and something in the middle at times. */
	for (int i = m->num_vals - 1; i >= 0 && m->num_outputs < MAX_IO; i--)
		if (m->val[i].producer >= 0 && (!used[i] || chance(6)))
			m->output[m->num_outputs++] = i;
}

/* A training step for the graph: the first output that is a float is to come near a
 * target, the initializers are weights. */
static void train_graph(struct model *m)
{
	bool any = false;

	for (int i = 0; i < m->num_outputs && !any; i++)
		if (is_float(&m->val[m->output[i]])) {
			int first = m->output[0];

			m->output[0] = m->output[i];
			m->output[i] = first;
			any = true;
		}
	for (int i = 0; i < m->num_vals; i++) {
		struct val *v = &m->val[i];

		v->weight = any && v->init && !v->data && is_float(v) && v->ndim;
		m->train |= v->weight;
	}
	m->mse = true;
	m->optimizer = (int)pick(4);
	m->decay = chance(3);
}

void make_model(struct model *m, const struct config *c)
{
	static const int opsets[] = { 13, 17, 18, 19, 20, 23 };
	static const enum data_kind kinds[] = { DATA_SMALL, DATA_SMALL, DATA_SMALL,
						DATA_REAL,  DATA_REAL,	DATA_LIMITS };

	m->bf16 = c->bf16;
	m->opset = opsets[pick(6)];
	m->data = kinds[pick(6)];
	if (m->no_limits && m->data == DATA_LIMITS)
		m->data = DATA_SMALL;
	m->data_seed = pick(1 << 16);
	if (chance(6)) {
		if (m->data == DATA_LIMITS)
			m->data = DATA_REAL;
		make_net(m);
	} else {
		random_graph(m);
		if (m->data != DATA_LIMITS && chance(5))
			train_graph(m);
	}
}

/* ---- edits ------------------------------------------------------------------------------- */

/* Removes nodes whose results nothing needs, and inputs and initializers that nothing reads. */
static void remove_dead(struct model *m)
{
	bool need[MAX_VALUES] = { false }, live[MAX_NODES] = { false };
	int to[MAX_NODES], kept = 0;

	for (int i = 0; i < m->num_outputs; i++)
		need[m->output[i]] = true;
	for (int k = m->num_nodes - 1; k >= 0; k--) {
		struct op_node *n = &m->node[k];

		for (int i = 0; i < n->num_out; i++)
			live[k] |= n->out[i] >= 0 && need[n->out[i]];
		for (int i = 0; live[k] && i < n->num_in; i++)
			if (n->in[i] >= 0)
				need[n->in[i]] = true;
	}
	for (int k = 0; k < m->num_nodes; k++) {
		to[k] = live[k] ? kept : -1;
		if (live[k])
			m->node[kept++] = m->node[k];
	}
	m->num_nodes = kept;
	for (int i = 0; i < m->num_vals; i++) {
		struct val *v = &m->val[i];

		if (v->producer >= 0)
			v->producer = to[v->producer];
		if (!need[i])
			v->input = v->init = false;
	}
}

void edit_model(struct model *m, const struct edits *e)
{
	int kept = 0;

	for (int i = 0; i < m->num_outputs; i++)
		if (!(e->dropped >> i & 1))
			m->output[kept++] = m->output[i];
	m->num_outputs = kept;
	for (int k = 0; k < m->num_nodes; k++) {
		if (!(e->cut >> k & 1))
			continue;
		for (int i = 0; i < m->node[k].num_out; i++) {
			int v = m->node[k].out[i];

			if (v < 0)
				continue;
			m->val[v].input = true;
			m->val[v].producer = -1;
		}
		m->node[k].num_out = 0;
	}
	remove_dead(m);
	/* An input is no output. */
	kept = 0;
	for (int i = 0; i < m->num_outputs; i++)
		if (m->val[m->output[i]].producer >= 0)
			m->output[kept++] = m->output[i];
	m->num_outputs = kept;
}

/* ---- data ---------------------------------------------------------------------------------- */

static float limit_float(uint64_t r, double x)
{
	static const float odd[] = { 0,	     -0.0f,   INFINITY, -INFINITY, NAN,
				     1e-40f, -1e-42f, 3e38f,	-3e38f,	   1.17549435e-38f,
				     1,	     -1,      0.5f,	65536,	   16777217 };

	return r % 3 ? (float)x : odd[r / 3 % (sizeof(odd) / sizeof(odd[0]))];
}

static int64_t limit_int(uint64_t r, enum rdu_dtype type)
{
	static const int64_t ends[][2] = { [RDU_DT_U8] = { 0, 255 },
					   [RDU_DT_I8] = { -128, 127 },
					   [RDU_DT_I32] = { INT32_MIN, INT32_MAX },
					   [RDU_DT_I64] = { INT64_MIN, INT64_MAX },
					   [RDU_DT_BOOL] = { 0, 1 } };
	int64_t near = (int64_t)(r / 8 % 3);

	switch (r % 8) {
	case 0:
		return ends[type][0] + (type == RDU_DT_BOOL ? 0 : near);
	case 1:
		return ends[type][1] - (type == RDU_DT_BOOL ? 0 : near);
	case 2:
		return type == RDU_DT_I64 ? (1ll << 32) + 5 - near : near % 2;
	default:
		return type == RDU_DT_BOOL ? near % 2 : near;
	}
}

void make_data(struct model *m)
{
	for (int i = 0; i < m->num_vals; i++) {
		struct val *v = &m->val[i];
		uint64_t state = (uint64_t)m->data_seed << 32 | (uint32_t)i;
		int64_t n = count_of(v);

		if (!(v->input || v->init) || v->data)
			continue;
		v->data = calloc((size_t)n + 1, type_bytes(v->type));
		for (int64_t k = 0; k < n; k++) {
			uint64_t r = next_random(&state);
			double x = (double)(r >> 11) / (1ull << 52) - 1; /* -1 .. 1 */
			int span = v->mag < 3 ? (int)v->mag : 3;
			int64_t z = (int64_t)(r >> 8) % (2 * span + 1) - span;

			if (v->type == RDU_DT_U8 || v->type == RDU_DT_BOOL)
				z = z < 0 ? -z : z;
			if (v->type == RDU_DT_BOOL)
				z %= 2;
			if (v->below)
				z = (int64_t)(r >> 8) % (v->negative ? 2 * v->below : v->below) -
				    (v->negative ? v->below : 0);
			else if (m->data == DATA_LIMITS && !is_real(v))
				z = limit_int(r, v->type);
			if (v->unit > 0)
				x = (double)z * v->unit;
			else
				x *= isfinite(v->mag) ? (v->mag < 2 ? v->mag : 2) : 2;
			if (is_real(v) && m->data == DATA_LIMITS && !isfinite(v->mag))
				x = limit_float(r, x);
			put(v, k, x, z);
		}
	}
}

/* ---- configurations -------------------------------------------------------------------------- */

/* Besides the two that are built in, chips that nobody built: few ports, small
 * scratchpads, few or many lanes. The rest is as on `like`. */
static const struct {
	const char *name, *like;
	uint32_t tiles, cols, rows, lanes, stages, regs, in, out, systolic, pmu_bytes;
} chips[] = {
	{ .name = "sn10", .like = "sn10" },
	{ .name = "plasticine", .like = "plasticine" },
	{ "two-ports", "sn10", 2, 8, 8, 16, 5, 5, 2, 2, 4, 4096 },
	{ "lanes8", "plasticine", 1, 8, 8, 8, 4, 4, 3, 2, 0, 4096 },
	{ "lanes64", "sn10", 2, 8, 8, 64, 6, 8, 4, 4, 8, 65536 },
};

#define NUM_CHIPS (sizeof(chips) / sizeof(chips[0]))

static uint32_t only; /* 0: any, else 1 + the number of the chip to take */

bool only_chip(const char *name)
{
	for (only = NUM_CHIPS; only && strcmp(chips[only - 1].name, name); only--)
		;
	return only;
}

void make_config(struct config *c)
{
	uint32_t k = pick(NUM_CHIPS);
	char error[200];

	if (only)
		k = only - 1;
	memset(c, 0, sizeof(*c));
	if (rdu_chip_find(chips[k].like, &c->chip, error, sizeof(error))) {
		fprintf(stderr, "chip %s: %s\n", chips[k].like, error);
		abort();
	}
	if (chips[k].tiles) {
		memset(c->chip.name, 0, sizeof(c->chip.name));
		memcpy(c->chip.name, chips[k].name, strlen(chips[k].name));
		c->chip.tiles = chips[k].tiles;
		c->chip.tile_cols = chips[k].cols;
		c->chip.tile_rows = chips[k].rows;
		c->chip.agcus_per_tile = 8;
		c->chip.agcu_programs = 8;
		c->chip.lanes = c->chip.pmu_banks = chips[k].lanes;
		c->chip.simd_stages = chips[k].stages;
		c->chip.simd_regs = chips[k].regs;
		c->chip.pcu_vec_in = chips[k].in;
		c->chip.pcu_vec_out = chips[k].out;
		c->chip.systolic_cols = chips[k].systolic;
		c->chip.pmu_bytes = chips[k].pmu_bytes;
	}
	if (rdu_chip_check(&c->chip, error, sizeof(error))) {
		fprintf(stderr, "chip %s: %s\n", chips[k].name, error);
		abort();
	}
	c->bf16 = chance(2) && c->chip.systolic_cols;
	c->threads = 1 + (int)pick(2);
	c->tiles = 1 + (int)pick(c->chip.tiles);
}
