// SPDX-License-Identifier: MIT
/*
 * rdu-fp32-eval MODEL.onnx --data DIR [--labels FILE] [--scale S] [--count N]
 *
 * A plain fp32 evaluation of an image classifier, on the host's CPU: the judge
 * of what the card answers. It reads the ONNX file itself and shares no code
 * with the compiler, the library or the card model. Images are scaled by
 * --scale (1/255) and fed in batches of the model's own batch size.
 *
 * Prints "key value" lines: images, accuracy (against the data set's labels)
 * and, given a file of labels (one a line), agreement and the card's accuracy.
 */
#include <errno.h>
#include <getopt.h>
#include <glob.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "onnx_file.h"

struct tensor {
	const char *name;
	int ndim;
	int64_t dim[MAX_DIMS];
	float *f; /* NULL for int64 tensors */
	int64_t *i; /* shapes given as int64 initializers */
	bool borrowed; /* an initializer: not this evaluation's to free */
};

#define MAX_TENSORS 1024

struct eval {
	const Onnx__GraphProto *graph;
	struct tensor t[MAX_TENSORS];
	int num;
	const char *error;
};

static int64_t count(const struct tensor *t)
{
	int64_t n = 1;

	for (int i = 0; i < t->ndim; i++)
		n *= t->dim[i];
	return n;
}

static struct tensor *find(struct eval *e, const char *name)
{
	for (int i = 0; i < e->num; i++)
		if (!strcmp(e->t[i].name, name))
			return &e->t[i];
	return NULL;
}

static struct tensor *make(struct eval *e, const char *name, int ndim, const int64_t *dim)
{
	struct tensor *t;

	if (e->num == MAX_TENSORS)
		return NULL;
	t = &e->t[e->num];
	memset(t, 0, sizeof(*t));
	t->name = name;
	t->ndim = ndim;
	for (int i = 0; i < ndim; i++) {
		if (dim[i] <= 0 || dim[i] > 1 << 28)
			return NULL;
		t->dim[i] = dim[i];
	}
	if (count(t) > 1LL << 31)
		return NULL;
	t->f = calloc(count(t), sizeof(float));
	if (!t->f)
		return NULL;
	e->num++;
	return t;
}

/* C[m][n] += A[m][k] * B[k][n], all row-major; four rows at a time so that a
 * row of B is used four times while it is in the cache. */
__attribute__((target_clones("default", "avx2", "avx512f"))) static void
gemm(int64_t m, int64_t n, int64_t k, const float *a, const float *b, float *c)
{
	int64_t i, j, l;

	for (i = 0; i + 4 <= m; i += 4) {
		float *restrict c0 = c + i * n, *restrict c1 = c0 + n, *restrict c2 = c1 + n,
				*restrict c3 = c2 + n;

		for (l = 0; l < k; l++) {
			const float *restrict br = b + l * n;
			float a0 = a[i * k + l], a1 = a[(i + 1) * k + l], a2 = a[(i + 2) * k + l],
			      a3 = a[(i + 3) * k + l];

			for (j = 0; j < n; j++) {
				c0[j] += a0 * br[j];
				c1[j] += a1 * br[j];
				c2[j] += a2 * br[j];
				c3[j] += a3 * br[j];
			}
		}
	}
	for (; i < m; i++)
		for (l = 0; l < k; l++)
			for (j = 0; j < n; j++)
				c[i * n + j] += a[i * k + l] * b[l * n + j];
}

struct window {
	int64_t k[2], stride[2], pad[4], dil[2], out[2];
};

/* Kernel, strides, pads and output size of a 2-D Conv or pool node. */
static const char *window(const Onnx__NodeProto *n, const struct tensor *x, const struct tensor *w,
			  struct window *p)
{
	int64_t ceil_mode = attr_int(n, "ceil_mode", 0);

	*p = (struct window){ .stride = { 1, 1 }, .dil = { 1, 1 } };
	if (x->ndim != 4)
		return "only two spatial dimensions";
	attr_ints(n, "strides", p->stride, 2);
	attr_ints(n, "dilations", p->dil, 2);
	attr_ints(n, "pads", p->pad, 4);
	if (attr_ints(n, "kernel_shape", p->k, 2) != 2) {
		if (!w)
			return "no kernel_shape";
		p->k[0] = w->dim[2];
		p->k[1] = w->dim[3];
	}
	for (int i = 0; i < 2; i++) {
		int64_t in = x->dim[2 + i], eff = (p->k[i] - 1) * p->dil[i] + 1, span, total;

		if (p->k[i] < 1 || p->stride[i] < 1 || p->dil[i] < 1)
			return "bad kernel, stride or dilation";
		if (attr_is(n, "auto_pad", "SAME_UPPER") || attr_is(n, "auto_pad", "SAME_LOWER")) {
			p->out[i] = (in + p->stride[i] - 1) / p->stride[i];
			total = (p->out[i] - 1) * p->stride[i] + eff - in;
			total = total > 0 ? total : 0;
			p->pad[i] = attr_is(n, "auto_pad", "SAME_UPPER") ? total / 2
									 : total - total / 2;
			p->pad[i + 2] = total - p->pad[i];
			continue;
		}
		span = in + p->pad[i] + p->pad[i + 2] - eff;
		if (span < 0)
			return "window larger than the image";
		p->out[i] = (span + (ceil_mode ? p->stride[i] - 1 : 0)) / p->stride[i] + 1;
	}
	return NULL;
}

static const char *op_conv(struct eval *e, const Onnx__NodeProto *n, struct tensor **in)
{
	struct tensor *x = in[0], *w = in[1], *b = in[2], *y;
	struct window p;
	const char *error = window(n, x, w, &p);
	int64_t group = attr_int(n, "group", 1), c, m, pix, kk;
	float *col;

	if (error)
		return error;
	c = x->dim[1] / group;
	m = w->dim[0] / group;
	if (w->ndim != 4 || w->dim[1] != c || m * group != w->dim[0] || c * group != x->dim[1])
		return "weight does not fit";
	y = make(e, n->output[0], 4, (int64_t[]){ x->dim[0], w->dim[0], p.out[0], p.out[1] });
	if (!y)
		return "no memory";
	pix = p.out[0] * p.out[1];
	kk = c * p.k[0] * p.k[1];
	col = malloc(kk * pix * sizeof(float));
	if (!col)
		return "no memory";
	for (int64_t img = 0; img < x->dim[0]; img++)
		for (int64_t g = 0; g < group; g++) {
			const float *src = x->f + (img * x->dim[1] + g * c) * x->dim[2] * x->dim[3];
			float *out = y->f + (img * y->dim[1] + g * m) * pix, *d = col;

			for (int64_t q = 0; q < kk; q++) {
				int64_t ch = q / (p.k[0] * p.k[1]), ky = q / p.k[1] % p.k[0],
					kx = q % p.k[1];

				for (int64_t oy = 0; oy < p.out[0]; oy++) {
					int64_t iy = oy * p.stride[0] - p.pad[0] + ky * p.dil[0];

					for (int64_t ox = 0; ox < p.out[1]; ox++) {
						int64_t ix =
							ox * p.stride[1] - p.pad[1] + kx * p.dil[1];

						*d++ = iy < 0 || iy >= x->dim[2] || ix < 0 ||
								       ix >= x->dim[3]
							       ? 0
							       : src[(ch * x->dim[2] + iy) *
									     x->dim[3] +
								     ix];
					}
				}
			}
			for (int64_t o = 0; b && o < m; o++)
				for (int64_t i = 0; i < pix; i++)
					out[o * pix + i] = b->f[g * m + o];
			gemm(m, pix, kk, w->f + g * m * kk, col, out);
		}
	free(col);
	return NULL;
}

static const char *op_maxpool(struct eval *e, const Onnx__NodeProto *n, struct tensor **in)
{
	struct tensor *x = in[0], *y;
	struct window p;
	const char *error = window(n, x, NULL, &p);
	float *o;

	if (error)
		return error;
	y = make(e, n->output[0], 4, (int64_t[]){ x->dim[0], x->dim[1], p.out[0], p.out[1] });
	if (!y)
		return "no memory";
	o = y->f;
	for (int64_t pl = 0; pl < x->dim[0] * x->dim[1]; pl++) {
		const float *src = x->f + pl * x->dim[2] * x->dim[3];

		for (int64_t oy = 0; oy < p.out[0]; oy++)
			for (int64_t ox = 0; ox < p.out[1]; ox++) {
				float best = -INFINITY;

				for (int64_t k = 0; k < p.k[0] * p.k[1]; k++) {
					int64_t iy =
						oy * p.stride[0] - p.pad[0] + k / p.k[1] * p.dil[0];
					int64_t ix =
						ox * p.stride[1] - p.pad[1] + k % p.k[1] * p.dil[1];

					if (iy >= 0 && iy < x->dim[2] && ix >= 0 && ix < x->dim[3])
						best = fmaxf(best, src[iy * x->dim[3] + ix]);
				}
				*o++ = best;
			}
	}
	return NULL;
}

static const char *op_relu(struct eval *e, const Onnx__NodeProto *n, struct tensor **in)
{
	struct tensor *y = make(e, n->output[0], in[0]->ndim, in[0]->dim);

	if (!y)
		return "no memory";
	for (int64_t i = 0, c = count(y); i < c; i++)
		y->f[i] = in[0]->f[i] > 0 ? in[0]->f[i] : 0;
	return NULL;
}

static const char *reshaped(struct eval *e, const char *name, const struct tensor *x, int ndim,
			    const int64_t *dim)
{
	struct tensor *y = make(e, name, ndim, dim);

	if (!y || count(y) != count(x))
		return "shape does not fit";
	memcpy(y->f, x->f, count(x) * sizeof(float));
	return NULL;
}

static const char *op_flatten(struct eval *e, const Onnx__NodeProto *n, struct tensor **in)
{
	int64_t axis = attr_int(n, "axis", 1), dim[2] = { 1, 1 };

	if (axis < 0)
		axis += in[0]->ndim;
	for (int i = 0; i < in[0]->ndim; i++)
		dim[i >= axis] *= in[0]->dim[i];
	return reshaped(e, n->output[0], in[0], 2, dim);
}

static const char *op_reshape(struct eval *e, const Onnx__NodeProto *n, struct tensor **in)
{
	int64_t dim[MAX_DIMS], known = 1;
	int ndim, infer = -1;

	if (!in[1] || !in[1]->i)
		return "shape is not a constant";
	ndim = in[1]->ndim ? in[1]->dim[0] : 1;
	if (ndim > MAX_DIMS)
		return "too many dimensions";
	for (int i = 0; i < ndim; i++) {
		dim[i] = in[1]->i[i];
		if (!dim[i] && i < in[0]->ndim)
			dim[i] = in[0]->dim[i];
		if (dim[i] == -1)
			infer = i;
		else
			known *= dim[i];
	}
	if (infer >= 0)
		dim[infer] = known ? count(in[0]) / known : 0;
	/* An initializer may be reshaped too: it then has no data of its own kind. */
	if (!in[0]->f)
		return "not a float tensor";
	return reshaped(e, n->output[0], in[0], ndim, dim);
}

static const char *op_add(struct eval *e, const Onnx__NodeProto *n, struct tensor **in)
{
	int nd = in[0]->ndim > in[1]->ndim ? in[0]->ndim : in[1]->ndim;
	int64_t dim[MAX_DIMS], stride[2][MAX_DIMS];
	struct tensor *y;

	for (int k = 0; k < 2; k++) {
		int64_t s = 1;

		for (int i = nd - 1; i >= 0; i--) {
			int from = i - (nd - in[k]->ndim);
			int64_t d = from >= 0 ? in[k]->dim[from] : 1;

			stride[k][i] = d > 1 ? s : 0;
			s *= d;
			if (!k || d > dim[i])
				dim[i] = d;
			else if (d != 1 && d != dim[i])
				return "shapes do not broadcast";
		}
	}
	y = make(e, n->output[0], nd, dim);
	if (!y)
		return "no memory";
	for (int64_t i = 0, c = count(y); i < c; i++) {
		int64_t r = i, a = 0, b = 0;

		for (int d = nd - 1; d >= 0; d--) {
			a += r % dim[d] * stride[0][d];
			b += r % dim[d] * stride[1][d];
			r /= dim[d];
		}
		y->f[i] = in[0]->f[a] + in[1]->f[b];
	}
	return NULL;
}

static float *transposed(const struct tensor *t)
{
	int64_t r = t->dim[0], c = t->dim[1];
	float *o = malloc(r * c * sizeof(float));

	for (int64_t i = 0; o && i < r; i++)
		for (int64_t j = 0; j < c; j++)
			o[j * r + i] = t->f[i * c + j];
	return o;
}

/* Gemm, and MatMul of two matrices. */
static const char *op_gemm(struct eval *e, const Onnx__NodeProto *n, struct tensor **in)
{
	bool ta = attr_int(n, "transA", 0), tb = attr_int(n, "transB", 0);
	float alpha = attr_float(n, "alpha", 1), beta = attr_float(n, "beta", 1);
	struct tensor *a = in[0], *b = in[1], *c = in[2], *y;
	int64_t m, k, nn;
	float *at = NULL, *bt = NULL;

	if (a->ndim != 2 || b->ndim != 2)
		return "only matrices";
	m = a->dim[ta];
	k = a->dim[!ta];
	nn = b->dim[!tb];
	if (b->dim[tb] != k)
		return "inner dimensions differ";
	y = make(e, n->output[0], 2, (int64_t[]){ m, nn });
	if (!y || (ta && !(at = transposed(a))) || (tb && !(bt = transposed(b))))
		return "no memory";
	gemm(m, nn, k, at ? at : a->f, bt ? bt : b->f, y->f);
	for (int64_t i = 0; i < m * nn; i++) {
		int64_t row = i / nn, col = i % nn, at_c = 0;

		if (c && c->ndim == 1)
			at_c = c->dim[0] > 1 ? col : 0;
		else if (c && c->ndim == 2)
			at_c = (c->dim[0] > 1 ? row : 0) * c->dim[1] + (c->dim[1] > 1 ? col : 0);
		y->f[i] = alpha * y->f[i] + (c ? beta * c->f[at_c] : 0);
	}
	free(at);
	free(bt);
	return NULL;
}

static const struct {
	const char *type;
	int needs; /* inputs that must be there */
	const char *(*run)(struct eval *, const Onnx__NodeProto *, struct tensor **);
} ops[] = {
	{ "Conv", 2, op_conv },	      { "Relu", 1, op_relu }, { "MaxPool", 1, op_maxpool },
	{ "Flatten", 1, op_flatten }, { "Gemm", 2, op_gemm }, { "MatMul", 2, op_gemm },
	{ "Reshape", 2, op_reshape }, { "Add", 2, op_add },
};

/* Runs one node; NULL or what is wrong. */
static const char *run_node(struct eval *e, const Onnx__NodeProto *n)
{
	struct tensor *in[8] = { 0 };

	for (size_t k = 0; k < sizeof(ops) / sizeof(ops[0]); k++) {
		if (strcmp(ops[k].type, n->op_type))
			continue;
		for (size_t i = 0; i < n->n_input && i < 8; i++)
			if (*n->input[i] && !(in[i] = find(e, n->input[i])))
				return "an input is missing";
		for (int i = 0; i < ops[k].needs; i++)
			if (!in[i] || (!in[i]->f && !(i == 1 && ops[k].run == op_reshape)))
				return "an input is missing or not float";
		return ops[k].run(e, n, in);
	}
	return "operator not known to this judge";
}

struct job {
	const Onnx__GraphProto *graph;
	const struct eval *base; /* initializers */
	const char *input;
	int64_t batch, images, pixels;
	int idim;
	int64_t dim[MAX_DIMS];
	const uint8_t *data;
	float scale;
	int *label; /* out */
	int64_t *next; /* first image not taken yet */
	const char *error;
	const char *where;
};

static void *worker(void *arg)
{
	struct job *j = arg;
	struct eval *e = malloc(sizeof(*e));
	int64_t first;

	while (e && !j->error &&
	       (first = __atomic_fetch_add(j->next, j->batch, __ATOMIC_RELAXED)) < j->images) {
		struct tensor *x, *y;
		int64_t classes;

		*e = *j->base;
		x = make(e, j->input, j->idim, j->dim);
		if (!x || count(x) != j->batch * j->pixels) {
			j->error = "the model's input is not a batch of these images";
			break;
		}
		for (int64_t i = 0; i < j->batch * j->pixels; i++)
			x->f[i] = first * j->pixels + i < j->images * j->pixels
					  ? j->data[first * j->pixels + i] * j->scale
					  : 0;
		for (size_t n = 0; n < j->graph->n_node && !j->error; n++) {
			j->error = run_node(e, j->graph->node[n]);
			j->where = j->graph->node[n]->op_type;
		}
		y = j->error ? NULL : find(e, j->graph->output[0]->name);
		if (!j->error && (!y || y->ndim != 2 || y->dim[0] != j->batch))
			j->error = "the output is not [batch, classes]";
		classes = y ? y->dim[1] : 0;
		for (int64_t i = 0; !j->error && i < j->batch && first + i < j->images; i++) {
			int best = 0;

			for (int64_t c = 1; c < classes; c++)
				if (y->f[i * classes + c] > y->f[i * classes + best])
					best = c;
			j->label[first + i] = best;
		}
		for (int i = 0; i < e->num; i++)
			if (!e->t[i].borrowed)
				free(e->t[i].f);
	}
	free(e);
	return NULL;
}

static uint8_t *data_file(const char *dir, const char *pattern, int *ndim, int64_t *dim)
{
	char path[4096];
	glob_t g;
	uint8_t *d = NULL;

	snprintf(path, sizeof(path), "%s/%s", dir, pattern);
	if (!glob(path, 0, NULL, &g)) {
		d = idx_read(g.gl_pathv[0], ndim, dim);
		globfree(&g);
	} else {
		fprintf(stderr, "%s: not found\n", path);
	}
	return d;
}

static int usage(void)
{
	fprintf(stderr, "usage: rdu-fp32-eval MODEL.onnx --data DIR [--labels FILE] [--scale S]\n"
			"                     [--count N] [--threads N]\n");
	return 2;
}

static bool number(const char *text, double least, double most, double *v)
{
	char *end;

	errno = 0;
	*v = strtod(text, &end);
	return end != text && !*end && !errno && *v >= least && *v <= most;
}

int main(int argc, char **argv)
{
	static const struct option opts[] = {
		{ "data", 1, 0, 'd' },	{ "labels", 1, 0, 'l' },  { "scale", 1, 0, 's' },
		{ "count", 1, 0, 'n' }, { "threads", 1, 0, 't' }, { 0, 0, 0, 0 },
	};
	const char *dir = NULL, *labels = NULL;
	static struct eval base;
	struct job job = { .scale = 1.0f / 255 }, part[16];
	pthread_t th[16];
	int64_t idim[MAX_DIMS], ldim[MAX_DIMS], limit = INT64_MAX, right = 0, next = 0;
	int c, nd, nl, threads = 2;
	double v;
	uint8_t *truth;
	Onnx__ModelProto *m;
	struct timespec t0, t1;

	while ((c = getopt_long(argc, argv, "", opts, NULL)) != -1)
		switch (c) {
		case 'd':
			dir = optarg;
			break;
		case 'l':
			labels = optarg;
			break;
		case 's':
			if (!number(optarg, 1e-30, 1e30, &v))
				return usage();
			job.scale = (float)v;
			break;
		case 'n':
			if (!number(optarg, 1, 1e9, &v) || v != floor(v))
				return usage();
			limit = (int64_t)v;
			break;
		case 't':
			if (!number(optarg, 1, 16, &v) || v != floor(v))
				return usage();
			threads = (int)v;
			break;
		default:
			return usage();
		}
	if (optind + 1 != argc || !dir)
		return usage();
	m = model_read(argv[optind]);
	if (!m)
		return 1;
	job.data = data_file(dir, "t10k-images-idx3-ubyte*", &nd, idim);
	truth = data_file(dir, "t10k-labels-idx1-ubyte*", &nl, ldim);
	if (!job.data || !truth || nd < 1 || nl != 1 || idim[0] != ldim[0])
		return 1;
	job.images = idim[0] < limit ? idim[0] : limit;
	job.pixels = 1;
	for (int i = 1; i < nd; i++)
		job.pixels *= idim[i];

	base.graph = job.graph = m->graph;
	if (m->graph->n_initializer > MAX_TENSORS) {
		fprintf(stderr, "%s: more than %d initializers\n", argv[optind], MAX_TENSORS);
		return 1;
	}
	for (size_t i = 0; i < m->graph->n_initializer; i++) {
		struct tensor *t = &base.t[base.num];
		struct value v;

		if (value_from_proto(&v, m->graph->initializer[i])) {
			fprintf(stderr, "initializer %s: cannot be read\n",
				m->graph->initializer[i]->name);
			return 1;
		}
		t->name = m->graph->initializer[i]->name;
		t->ndim = v.ndim;
		memcpy(t->dim, v.dim, sizeof(v.dim));
		t->f = v.type == 1 ? v.raw : NULL;
		t->i = v.type == 7 ? v.raw : NULL;
		t->borrowed = true;
		base.num++;
	}
	for (size_t i = 0; i < m->graph->n_input && !job.input; i++) {
		Onnx__ValueInfoProto *in = m->graph->input[i];
		Onnx__TensorShapeProto *s;

		if (find(&base, in->name))
			continue;
		s = in->type && in->type->tensor_type ? in->type->tensor_type->shape : NULL;
		if (!s || s->n_dim < 2 || s->n_dim > MAX_DIMS) {
			fprintf(stderr, "input %s has no shape\n", in->name);
			return 1;
		}
		job.input = in->name;
		job.idim = s->n_dim;
		for (size_t d = 0; d < s->n_dim; d++)
			job.dim[d] = s->dim[d]->dim_value;
		if (job.dim[0] <= 0)
			job.dim[0] = 100;
		job.batch = job.dim[0];
	}
	if (!job.input || m->graph->n_output < 1) {
		fprintf(stderr, "%s: no input or no output\n", argv[optind]);
		return 1;
	}
	job.base = &base;
	job.next = &next;
	job.label = malloc(job.images * sizeof(int));
	clock_gettime(CLOCK_MONOTONIC, &t0);
	for (int i = 0; i < threads; i++) {
		part[i] = job;
		if (pthread_create(&th[i], NULL, worker, &part[i]))
			return 1;
	}
	for (int i = 0; i < threads; i++) {
		pthread_join(th[i], NULL);
		if (part[i].error) {
			fprintf(stderr, "%s: %s\n", part[i].where ? part[i].where : "input",
				part[i].error);
			return 1;
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &t1);
	for (int64_t i = 0; i < job.images; i++)
		right += job.label[i] == truth[i];
	printf("images %lld\n", (long long)job.images);
	printf("fp32_accuracy %.4f\n", (double)right / job.images);
	if (labels) {
		FILE *f = fopen(labels, "r");
		int64_t same = 0, hit = 0, n = 0;
		int l;

		if (!f) {
			fprintf(stderr, "%s: %s\n", labels, strerror(errno));
			return 1;
		}
		for (; n < job.images && fscanf(f, "%d", &l) == 1; n++) {
			same += l == job.label[n];
			hit += l == truth[n];
		}
		fclose(f);
		if (n < job.images) {
			fprintf(stderr, "%s: only %lld labels for %lld images\n", labels,
				(long long)n, (long long)job.images);
			return 1;
		}
		printf("accuracy %.4f\nagreement %.4f\n", (double)hit / n, (double)same / n);
	}
	printf("seconds %.2f\n", t1.tv_sec - t0.tv_sec + (t1.tv_nsec - t0.tv_nsec) * 1e-9);
	return 0;
}
