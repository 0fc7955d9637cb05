// SPDX-License-Identifier: MIT
/*
 * Would it be found if the compiler made a mistake that is not large? What is compiled has a
 * constant that is 0.5 % too large, or no bias; the judges read what was meant. So with numbers
 * that are rounded at every step, with results in bf16, and with contractions in bf16, where
 * 0.5 % is what an operand may be rounded by, so that only the bias can be missed: what the
 * judges allow for rounding must not hide it. And the other way round: of numbers that cancel,
 * what rounding leaves must not be taken for a mistake.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "diff.h"
#include "graph.h"

#define ROWS 24
#define COLS 16
#define FACTOR 0.7f

/* The constant, an immediate of a nest. */
static bool plant_coefficient(struct module *m, bool back)
{
	const float right = FACTOR, wrong = FACTOR * 1.005f;
	const float *is = back ? &wrong : &right, *becomes = back ? &right : &wrong;
	bool found = false;

	for (int k = 0; k < m->num_entries; k++)
		for (int i = 0; i < m->entries[k].num_nests; i++) {
			struct nest *n = m->entries[k].nests[i];

			for (int e = 0; e < n->num_expr; e++) {
				struct expr *x = &n->expr[e];

				if (x->kind != EXPR_IMM || memcmp(&x->imm, is, sizeof(x->imm)))
					continue;
				memcpy(&x->imm, becomes, sizeof(x->imm));
				found = true;
			}
		}
	return found;
}

/* A vector of COLS in memory: kept, and zeros in its place. */
static bool plant_bias(struct module *m, bool back)
{
	static float kept[COLS];

	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i];

		if (!t->data || t->dtype != RDU_DT_F32 || dims_count(t->ndim, t->dim) != COLS)
			continue;
		if (back) {
			memcpy(t->data, kept, sizeof(kept));
		} else {
			memcpy(kept, t->data, sizeof(kept));
			memset(t->data, 0, sizeof(kept));
		}
		return true;
	}
	return false;
}

bool plant_defect(struct module *m, enum plant plant, bool back)
{
	return plant == PLANT_BIAS ? plant_bias(m, back) : plant_coefficient(m, back);
}

static int float_source(struct model *m, int ndim, int64_t rows, bool init)
{
	const int64_t dim[] = { rows, COLS };

	return value_source(m, RDU_DT_F32, ndim, ndim == 1 ? &dim[1] : dim, init);
}

static int result(struct model *m, const char *op, int a, int b, enum rdu_dtype type)
{
	const int64_t dim[] = { ROWS, COLS };
	int out = value_new(m, type, 2, dim);
	struct op_node *n = node_simple(m, op, a, b, out);

	inexact(&m->val[out], 64);
	if (!strcmp(op, "Cast"))
		set_int(n, "to", type);
	return out;
}

/* x * W * 0.7 + bias, through bf16 or not. */
static void plain_model(struct model *m, bool cast)
{
	int x, v;

	memset(m, 0, sizeof(*m));
	m->opset = 17;
	m->data = DATA_REAL;
	m->data_seed = 1;
	x = float_source(m, 2, ROWS, false);
	v = result(m, "MatMul", x, float_source(m, 2, COLS, true), RDU_DT_F32);
	v = result(m, "Mul", v, value_float(m, FACTOR), RDU_DT_F32);
	v = result(m, "Add", v, float_source(m, 1, 0, true), RDU_DT_F32);
	if (cast) {
		v = result(m, "Cast", v, -1, RDU_DT_BF16);
		v = result(m, "Cast", v, -1, RDU_DT_F32);
	}
	m->output[m->num_outputs++] = v;
}

static int floats(struct model *m, const int64_t dim[2], const float *data, bool init)
{
	size_t bytes = 4 * (size_t)(dim[0] * dim[1]);
	int v = value_source(m, RDU_DT_F32, 2, dim, init);

	m->val[v].data = memcpy(malloc(bytes + 1), data, bytes);
	return v;
}

/* Two probabilities of 0.5, with opposite signs: 0 and what rounding leaves of 0.5. */
static void cancelling_model(struct model *m)
{
	const int64_t row[] = { 1, 4 }, column[] = { 4, 1 }, one[] = { 1, 1 };
	int v, out;

	memset(m, 0, sizeof(*m));
	m->opset = 13;
	m->data = DATA_REAL;
	v = value_new(m, RDU_DT_F32, 2, row);
	node_simple(m, "Softmax", floats(m, row, (float[]){ 16, 16, -16, -16 }, false), -1, v);
	inexact(&m->val[v], 1);
	out = value_new(m, RDU_DT_F32, 2, one);
	node_simple(m, "MatMul", v, floats(m, column, (float[]){ 1, -1, 2, 1 }, true), out);
	inexact(&m->val[out], 5);
	m->output[m->num_outputs++] = out;
}

/* How the model is computed. */
enum { IN_FP32, CAST_TO_BF16, ALL_IN_BF16, CANCELLING, WAYS };

static void child(enum plant plant, int way, const char *dir, struct verdict *v)
{
	static struct model m;
	struct config c;

	choices_replay(NULL, 0, v);
	make_config(&c);
	c.bf16 = way == ALL_IN_BF16;
	c.plant = (int)plant;
	if (way == CANCELLING)
		cancelling_model(&m);
	else
		plain_model(&m, way != IN_FP32);
	run_case(&m, &c, dir, v);
	_exit(0);
}

static bool check(enum plant plant, int way, const char *dir, struct verdict *v)
{
	static const char *const names[WAYS] = { "fp32", "results in bf16", "bf16",
						 "numbers that cancel" };
	int status;
	bool right;
	pid_t pid;

	memset(v, 0, sizeof(*v));
	fflush(stdout);
	pid = fork();
	if (!pid)
		child(plant, way, dir, v);
	right = pid > 0 && waitpid(pid, &status, 0) == pid && !status;
	if (plant)
		right = right && v->kind == VERDICT_BAD && !strcmp(v->what, "nest -O0");
	else
		right = right && v->kind == VERDICT_PASS;
	if (!right)
		printf("# plant %d, %s: %s: %s\n", (int)plant, names[way], v->what, v->text);
	return right;
}

bool check_plants(const char *dir, struct verdict *v)
{
	bool good = true;

	for (int way = 0; way < WAYS; way++)
		for (int plant = 0; plant < PLANTS; plant++)
			if (!plant || way < ALL_IN_BF16 ||
			    (way == ALL_IN_BF16 && plant == PLANT_BIAS))
				good = check((enum plant)plant, way, dir, v) && good;
	return good;
}
