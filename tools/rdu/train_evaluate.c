// SPDX-License-Identifier: MIT
/* rdu train: how good the weights are: on what is held out, and whether they are numbers. */
#include <math.h>
#include <stdlib.h>
#include "train.h"

/* Batch number b of it; adds to the sum of losses, and to what they are of. */
static int evaluate_batch(struct trainer *t, unsigned int b, double *sum, size_t *num)
{
	unsigned int n = t->held_part.count - b * t->batch, i;
	struct rdu_stats st;
	size_t classes;
	float loss;

	if (n > t->batch)
		n = t->batch;
	for (i = 0; i < n; i++)
		t->pick[i] = b * t->batch + i;
	classes = data_batch(t->held, &t->held_part, 0, t->pick, n);
	if (!classes)
		return 0;
	if (rdu_program_bind(t->s.prog, "loss", &loss, sizeof(loss)) ||
	    rdu_program_run(t->s.prog, "evaluate", &st))
		return fail("held out: %s", rdu_error_text(t->s.prog));
	add_stats(&t->sum, &st);
	t->held_cycles += st.end_cycle - st.start_cycle;
	*sum += (double)loss * classes;
	*num += classes;
	return 0;
}

/* Losses that cannot leave an example out are of whole batches. */
int evaluate(struct trainer *t, struct loss_point *p)
{
	unsigned int batches = (t->held_part.count + (t->masked ? t->batch - 1 : 0)) / t->batch, b;
	double sum = 0;
	size_t num = 0;
	int ret = bind_data(t, t->held);

	for (b = 0; b < batches && !ret; b++)
		ret = evaluate_batch(t, b, &sum, &num);
	if (!ret && !num)
		ret = fail("none of the labels that are held out has a class");
	if (ret || bind_data(t, &t->data))
		return EXIT_FAIL;
	p->held_out = t->held_loss = sum / num;
	return 0;
}

static bool all_finite(const void *data, uint32_t dtype, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (!isfinite(data_element(data, dtype, i)))
			return false;
	return true;
}

int check_finite(struct trainer *t)
{
	unsigned int n = rdu_file_num_symbols(t->s.file), i;
	bool first = !t->finite;
	int ret = 0;

	if (first)
		t->finite = xcalloc(n, sizeof(*t->finite));
	for (i = 0; i < n && !ret; i++) {
		const struct rdu_file_symbol *sym = rdu_file_get_symbol(t->s.file, i);
		size_t size = rdu_symbol_size(sym);
		void *data;

		if (!(sym->flags & (RDU_SYM_WEIGHT | RDU_SYM_STATE)) ||
		    (sym->dtype != RDU_DT_F32 && sym->dtype != RDU_DT_BF16) ||
		    (!first && !t->finite[i]))
			continue;
		data = xmalloc(size);
		if (rdu_program_read(t->s.prog, sym->name, data, size))
			ret = fail("%s", rdu_error_text(t->s.prog));
		else if (all_finite(data, sym->dtype, size / rdu_dtype_size(sym->dtype)))
			t->finite[i] = true;
		else if (!first)
			ret = fail("step %u: \"%s\" is not finite any more: the learning rate (%g) "
				   "may be too high",
				   t->done - 1, sym->name, lr_at(t, t->done - 1));
		free(data);
	}
	return ret;
}
