// SPDX-License-Identifier: MIT
/*
 * Would it be found if the card stopped where the interpreter does not, or the other way
 * round? A sum of int64 numbers, which stops where one does not fit 32 bits, is compiled
 * with that condition turned round: at one level, or only in the file that librdu runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "diff.h"

#define NUM 5

void turn_stops(struct module *m)
{
	for (int k = 0; k < m->num_entries; k++)
		for (int i = 0; i < m->entries[k].num_nests; i++) {
			struct nest *n = m->entries[k].nests[i];

			for (int e = 0; e < n->num_expr; e++) {
				/* nest_trap(): live ? (bad ? why : 0) : 0 */
				struct expr *x = &n->expr[e], *why;
				int arg;

				if (x->kind != EXPR_OP || x->op != RDU_SIMD_TRAP)
					continue;
				why = &n->expr[n->expr[x->arg[1]].arg[1]];
				arg = why->arg[1];
				why->arg[1] = why->arg[2];
				why->arg[2] = arg;
			}
		}
}

static void sum_model(struct model *m, bool fits)
{
	const int64_t dim = NUM;
	int in[2], out;

	memset(m, 0, sizeof(*m));
	m->opset = 17;
	for (int k = 0; k < 2; k++) {
		in[k] = value_source(m, RDU_DT_I64, 1, &dim, false);
		m->val[in[k]].data = calloc(NUM + 1, 8);
		for (int i = 0; i < NUM; i++)
			((int64_t *)m->val[in[k]].data)[i] = k ? !fits : INT32_MAX;
	}
	out = value_new(m, RDU_DT_I64, 1, &dim);
	node_simple(m, "Add", in[0], in[1], out);
	m->output[m->num_outputs++] = out;
}

static void child(int wrong_stops, bool fits, const char *dir, struct verdict *v)
{
	static struct model m;
	struct config c;

	choices_replay(NULL, 0, v);
	make_config(&c);
	c.wrong_stops = wrong_stops;
	sum_model(&m, fits);
	run_case(&m, &c, dir, v);
	_exit(0);
}

bool check_stops(const char *dir, struct verdict *v)
{
	static const char *const what[WRONG_STOPS] = { "right", "run -O0", "run -O1", "run -O3",
						       "library" };
	bool good = true;

	for (int i = 0; i < 2 * WRONG_STOPS; i++) {
		bool fits = i & 1, right;
		int wrong = i / 2, status;
		pid_t pid;

		memset(v, 0, sizeof(*v));
		fflush(stdout);
		pid = fork();
		if (!pid)
			child(wrong, fits, dir, v);
		right = pid > 0 && waitpid(pid, &status, 0) == pid && !status;
		if (wrong)
			right = right && v->kind == VERDICT_BAD && !strcmp(v->what, what[wrong]);
		else
			right = right && v->kind == (fits ? VERDICT_PASS : VERDICT_REFUSED);
		if (!right)
			printf("# %s%s: %s: %s\n", what[wrong], fits ? ", all fits" : "", v->what,
			       v->text);
		good = good && right;
	}
	return good;
}
