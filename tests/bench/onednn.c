// SPDX-License-Identifier: MIT
#include <dnnl.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "onednn.h"

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t desc; /* a handle, owned */
typedef const_dnnl_memory_desc_t desc_ref;
#define REF(d) (d)
#else
typedef dnnl_memory_desc_t desc; /* a value */
typedef const dnnl_memory_desc_t *desc_ref;
#define REF(d) (&(d))
#endif

struct onednn_matmul {
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	dnnl_memory_t a, b, c;
	dnnl_primitive_t multiply;
};

static void must(dnnl_status_t status, const char *what)
{
	if (status != dnnl_success) {
		fprintf(stderr, "oneDNN: %s: status %d\n", what, status);
		exit(1);
	}
}

static void create_desc(desc *d, int n, dnnl_data_type_t type, dnnl_format_tag_t tag)
{
	const dnnl_dims_t dims = { n, n };

#if DNNL_VERSION_MAJOR >= 3
	must(dnnl_memory_desc_create_with_tag(d, 2, dims, type, tag), "memory descriptor");
#else
	must(dnnl_memory_desc_init_by_tag(d, 2, dims, type, tag), "memory descriptor");
#endif
}

static void destroy_desc(desc *d)
{
#if DNNL_VERSION_MAJOR >= 3
	dnnl_memory_desc_destroy(*d);
#else
	(void)d;
#endif
}

static dnnl_status_t create_multiply(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, desc *a,
				     desc *b, desc *c)
{
#if DNNL_VERSION_MAJOR >= 3
	return dnnl_matmul_primitive_desc_create(pd, engine, *a, *b, NULL, *c, NULL);
#else
	dnnl_matmul_desc_t op;

	must(dnnl_matmul_desc_init(&op, a, b, NULL, c), "matmul descriptor");
	return dnnl_primitive_desc_create(pd, &op, NULL, engine, NULL);
#endif
}

/* A copy of `from` in the form that `to` has. */
static dnnl_memory_t reordered(struct onednn_matmul *m, const float *from, int n, desc_ref to)
{
	dnnl_primitive_desc_t pd;
	dnnl_primitive_t reorder;
	dnnl_memory_t in, out;
	desc plain;

	create_desc(&plain, n, dnnl_f32, dnnl_ab);
	must(dnnl_memory_create(&in, REF(plain), m->engine, (void *)from), "memory");
	must(dnnl_memory_create(&out, to, m->engine, DNNL_MEMORY_ALLOCATE), "memory");
	must(dnnl_reorder_primitive_desc_create(&pd, REF(plain), m->engine, to, m->engine, NULL),
	     "reorder descriptor");
	must(dnnl_primitive_create(&reorder, pd), "reorder");
	must(dnnl_primitive_execute(
		     reorder, m->stream, 2,
		     (dnnl_exec_arg_t[]){ { DNNL_ARG_FROM, in }, { DNNL_ARG_TO, out } }),
	     "reorder");
	must(dnnl_stream_wait(m->stream), "reorder");
	dnnl_primitive_destroy(reorder);
	dnnl_primitive_desc_destroy(pd);
	dnnl_memory_destroy(in);
	destroy_desc(&plain);
	return out;
}

void onednn_clean_environment(char **argv)
{
	static const char *const prefixes[] = { "DNNL_", "ONEDNN_", "OMP_", "GOMP_", "KMP_" };
	bool found = false;
	char name[256];

	for (char **e = environ; *e;) {
		size_t i = 0, n = sizeof(prefixes) / sizeof(*prefixes);

		while (i < n && strncmp(*e, prefixes[i], strlen(prefixes[i])))
			i++;
		if (i == n) {
			e++;
			continue;
		}
		/* Those behind it move up to its place. */
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(*e, "="), *e);
		if (unsetenv(name)) {
			perror(name);
			exit(1);
		}
		found = true;
	}
	if (!found)
		return;
	/* OpenMP has read them before main. */
	execv("/proc/self/exe", argv);
	perror("/proc/self/exe");
	exit(1);
}

struct onednn_matmul *onednn_matmul_new(int n, bool bf16, int threads, const float *a,
					const float *b, float *c)
{
	const dnnl_data_type_t type = bf16 ? dnnl_bf16 : dnnl_f32;
	struct onednn_matmul *m = calloc(1, sizeof(*m));
	dnnl_primitive_desc_t pd;
	dnnl_status_t status;
	desc da, db, dc;

	if (!m) {
		perror("oneDNN");
		exit(1);
	}
	omp_set_num_threads(threads);
	must(dnnl_engine_create(&m->engine, dnnl_cpu, 0), "engine");
	must(dnnl_stream_create(&m->stream, m->engine, dnnl_stream_default_flags), "stream");
	create_desc(&da, n, type, dnnl_ab);
	create_desc(&db, n, type, dnnl_format_tag_any);
	create_desc(&dc, n, dnnl_f32, dnnl_ab);
	status = create_multiply(&pd, m->engine, &da, &db, &dc);
	if (status == dnnl_success) {
		must(dnnl_primitive_create(&m->multiply, pd), "matmul");
		m->a = reordered(m, a, n, REF(da));
		m->b = reordered(m, b, n,
				 dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0));
		must(dnnl_memory_create(&m->c, REF(dc), m->engine, c), "memory");
		dnnl_primitive_desc_destroy(pd);
	} else if (status != dnnl_unimplemented) {
		must(status, "matmul");
	}
	destroy_desc(&da);
	destroy_desc(&db);
	destroy_desc(&dc);
	if (status == dnnl_unimplemented) {
		onednn_matmul_free(m);
		return NULL;
	}
	return m;
}

void onednn_matmul_run(struct onednn_matmul *m)
{
	const dnnl_exec_arg_t args[] = { { DNNL_ARG_SRC, m->a },
					 { DNNL_ARG_WEIGHTS, m->b },
					 { DNNL_ARG_DST, m->c } };

	must(dnnl_primitive_execute(m->multiply, m->stream, 3, args), "matmul");
	must(dnnl_stream_wait(m->stream), "matmul");
}

void onednn_matmul_free(struct onednn_matmul *m)
{
	if (!m)
		return;
	if (m->multiply) {
		dnnl_primitive_destroy(m->multiply);
		dnnl_memory_destroy(m->a);
		dnnl_memory_destroy(m->b);
		dnnl_memory_destroy(m->c);
	}
	dnnl_stream_destroy(m->stream);
	dnnl_engine_destroy(m->engine);
	free(m);
}
