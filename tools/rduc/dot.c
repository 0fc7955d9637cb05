// SPDX-License-Identifier: MIT
/*
 * The graph of nests with the tensors between them, for Graphviz.
 */
#include <string.h>
#include "backend.h"

static void put_text(FILE *f, const char *s)
{
	for (; s && *s; s++) {
		if (*s == '"' || *s == '\\')
			fputc('\\', f);
		if ((unsigned char)*s >= 32)
			fputc(*s, f);
	}
}

static void put_shape(FILE *f, const struct tensor *t)
{
	fprintf(f, "[");
	for (int d = 0; d < t->ndim; d++)
		fprintf(f, "%s%lld", d ? "," : "", (long long)t->dim[d]);
	fprintf(f, "]");
	if (dtype_size(t->dtype) == 2)
		fprintf(f, t->dtype == RDU_DT_BF16  ? " bf16"
			   : t->dtype == RDU_DT_F16 ? " f16"
						    : " i16");
	else if (dtype_size(t->dtype) == 8)
		fprintf(f, t->dtype == RDU_DT_F64 ? " f64" : " i64");
}

static void put_nest(FILE *f, const struct backend *be, int e, int k)
{
	const struct nest *n = be->m->entries[e].nests[k];

	fprintf(f, "\t\te%d_%d [shape=box style=\"rounded,filled\" fillcolor=\"%s\" label=\"", e, k,
		n->reduce == REDUCE_NONE ? "#e8f0fe" : "#fde9d9");
	put_text(f, n->name);
	fprintf(f, "\\n");
	put_text(f, n->op_type);
	fprintf(f, "\\n");
	for (int d = 0; d < n->ndim; d++)
		fprintf(f, "%s%s%s %lld", d ? ", " : "", n->dim[d].reduce ? "sum " : "",
			n->dim[d].name, (long long)n->dim[d].extent);
	fprintf(f, "\"];\n");
}

/* Last nest before k of the entry that writes the storage; -1: none. */
static int writer(const struct module_entry *e, int k, struct tensor *t)
{
	while (k--)
		for (int o = 0; o < e->nests[k]->num_out; o++)
			if (tensor_storage(e->nests[k]->out[o].access.tensor) == tensor_storage(t))
				return k;
	return -1;
}

void be_dot(struct backend *be, FILE *f)
{
	fprintf(f, "digraph \"");
	put_text(f, be->m->name);
	fprintf(f, "\" {\n\tnode [fontname=Helvetica fontsize=10];\n\tedge [fontname=Helvetica "
		   "fontsize=8];\n");
	for (int e = 0; e < be->m->num_entries; e++) {
		const struct module_entry *m = &be->m->entries[e];

		fprintf(f, "\tsubgraph cluster_%d {\n\t\tlabel=\"", e);
		put_text(f, m->name);
		fprintf(f, "\";\n");
		for (int k = 0; k < m->num_nests; k++)
			put_nest(f, be, e, k);
		for (int k = 0; k < m->num_nests; k++) {
			const struct nest *n = m->nests[k];

			for (int i = 0; i < n->num_in; i++) {
				struct tensor *t = n->in[i].tensor;
				int w = writer(m, k, t);

				if (w >= 0) {
					fprintf(f, "\t\te%d_%d -> e%d_%d [label=\"", e, w, e, k);
				} else {
					fprintf(f, "\t\tt%d_%d [shape=ellipse label=\"", e, t->id);
					put_text(f, t->name);
					fprintf(f, "\"];\n\t\tt%d_%d -> e%d_%d [label=\"", e, t->id,
						e, k);
				}
				put_shape(f, t);
				fprintf(f, "\"];\n");
			}
			for (int i = 0; i < n->num_out; i++) {
				struct tensor *t = n->out[i].access.tensor;

				if (t->kind == TENSOR_TEMP)
					continue;
				fprintf(f, "\t\to%d_%d [shape=ellipse style=bold label=\"", e,
					t->id);
				put_text(f, t->name);
				fprintf(f, "\"];\n\t\te%d_%d -> o%d_%d [label=\"", e, k, e, t->id);
				put_shape(f, t);
				fprintf(f, "\"];\n");
			}
		}
		fprintf(f, "\t}\n");
	}
	fprintf(f, "}\n");
}
