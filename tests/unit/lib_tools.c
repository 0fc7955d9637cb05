// SPDX-License-Identifier: MIT
/* The tool's files: tensors in and out, images, traces that nest strictly. */
#include <errno.h>
#include <zlib.h>
#include "lib_test.h"
#include "rdu_tool.h"

/* What main.c of the tool has. */
int help(const char *command, const char *options)
{
	(void)command, (void)options;
	return 0;
}

static void write_bytes(const char *path, const void *data, size_t size)
{
	FILE *f = fopen(path, "wb");

	if (!f || fwrite(data, 1, size, f) != size || fclose(f))
		abort();
}

/* Elements of 4 bits are packed in a TensorProto: neither written nor read. */
static void test_packed(void)
{
	static const unsigned char proto[] = { 0x08, 2, 0x10, RDU_DT_I4, 0x4a, 1, 0x21 };
	struct tensor a = { .dtype = RDU_DT_I4, .ndim = 1, .dims = { 2 }, .data = "ab", .size = 2 };
	const char *path = temp_path("t.pb");
	char error[512] = "";
	FILE *f;

	ok(tensor_write(path, "name", &a, error, sizeof(error)) &&
		   strstr(error, "int4 is packed in a TensorProto"),
	   "int4 is not written as a TensorProto: %s", error);
	f = fopen(path, "wb");
	fwrite(proto, 1, sizeof(proto), f);
	fclose(f);
	error[0] = 0;
	ok(tensor_read(path, &a, error, sizeof(error)) &&
		   strstr(error, "int4 is packed in a TensorProto"),
	   "nor read: %s", error);
	unlink(path);
}

static void test_tensors(void)
{
	static const uint32_t types[] = { RDU_DT_F32, RDU_DT_U8,       RDU_DT_I8,    RDU_DT_I32,
					  RDU_DT_I64, RDU_DT_BOOL,     RDU_DT_BF16,  RDU_DT_F16,
					  RDU_DT_F64, RDU_DT_I16,      RDU_DT_U16,   RDU_DT_U32,
					  RDU_DT_U64, RDU_DT_F8E4M3FN, RDU_DT_F8E8M0 };
	static const char *const names[] = { "t.npy", "t.pb" };
	char error[512];
	unsigned int i, k, ndim;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		for (k = 0; k < 2; k++) {
			const char *path = temp_path(names[k]);
			uint32_t back = k ? types[i] : tensor_npy_dtype(types[i]);
			bool good = true;

			for (ndim = 0; ndim < 4; ndim++) {
				struct tensor a = { .dtype = types[i],
						    .ndim = ndim,
						    .dims = { 3, 1, 5 } },
					      b = { 0 };
				unsigned int n = ndim == 0 ? 1 : ndim == 3 ? 15 : 3, j;

				a.size = n * rdu_dtype_size(types[i]);
				a.data = malloc(a.size);
				for (j = 0; j < a.size; j++)
					((unsigned char *)a.data)[j] = j * 37 + 1;
				for (j = ndim; j < 3; j++)
					a.dims[j] = 0;
				good &= !tensor_write(path, "name", &a, error, sizeof(error)) &&
					!tensor_read(path, &b, error, sizeof(error)) &&
					b.dtype == back && b.ndim == ndim && b.size == a.size &&
					!memcmp(a.dims, b.dims, sizeof(a.dims)) &&
					!memcmp(a.data, b.data, a.size);
				free(a.data);
				free(b.data);
			}
			ok(good, "%s in .%s", rdu_dtype_name(types[i]), k ? "pb" : "npy");
			unlink(path);
		}
	}
}

static void test_bad_tensors(void)
{
	/* dims 2, float32, float_data packed; then the same with one byte less. */
	static const unsigned char packed[] = { 8, 2, 16, 1, 0x22, 8, 0, 0, 128, 63, 0, 0, 0, 64 };
	static const unsigned char ints[] = { 16, 7, 8, 3, 0x3a, 3, 1, 2, 3 };
	static const unsigned char loop[] = { 16, 6, 0x2d, 1, 2, 3, 4 };
	/* uint8 255 and 256, int8 127 and 128, bool 2: one element each. */
	static const struct {
		unsigned char bytes[16];
		size_t size;
		bool good;
	} wide[] = { { { 16, 2, 8, 1, 0x2a, 2, 0xff, 1 }, 8, true },
		     { { 16, 2, 8, 1, 0x2a, 2, 0x80, 2 }, 8, false },
		     { { 16, 3, 8, 1, 0x2a, 1, 0x7f }, 7, true },
		     { { 16, 3, 8, 1, 0x2a, 2, 0x80, 1 }, 8, false },
		     { { 16, 9, 8, 1, 0x2a, 1, 2 }, 7, false } };
	static const unsigned char strings[] = { 16, 8, 0x32, 1, 'a' };
	static const char fortran[] = "\x93NUMPY\x01\x00\x50\x00{'descr': '<f4', 'fortran_order': "
				      "True, 'shape': (2,), }                     \n12345678";
	const char *path = temp_path("bad");
	struct tensor t;
	char error[512];
	unsigned int i;
	bool good = true;

	write_bytes(path, packed, sizeof(packed));
	ok(!tensor_read(path, &t, error, sizeof(error)) && t.ndim == 1 && t.dims[0] == 2 &&
		   ((float *)t.data)[0] == 1 && ((float *)t.data)[1] == 2,
	   "float_data");
	free(t.data);
	write_bytes(path, ints, sizeof(ints));
	ok(!tensor_read(path, &t, error, sizeof(error)) && t.dtype == RDU_DT_I64 &&
		   ((int64_t *)t.data)[2] == 3,
	   "int64_data, the type first");
	free(t.data);
	for (i = 0; i < sizeof(packed); i++) {
		write_bytes(path, packed, i);
		/* Two or more whole fields can stand alone, without data. */
		if (!tensor_read(path, &t, error, sizeof(error)))
			good = false;
		free(t.data);
	}
	ok(good, "every truncation is refused");
	for (i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) {
		write_bytes(path, wide[i].bytes, wide[i].size);
		ok(!tensor_read(path, &t, error, sizeof(error)) == wide[i].good,
		   "a number at the end of its type %u", i);
		free(t.data);
	}
	write_bytes(path, loop, sizeof(loop));
	ok(tensor_read(path, &t, error, sizeof(error)) < 0, "a wire type that does not fit");
	write_bytes(path, strings, sizeof(strings));
	ok(tensor_read(path, &t, error, sizeof(error)) < 0, "strings");
	write_bytes(path, fortran, sizeof(fortran) - 1);
	ok(tensor_read(path, &t, error, sizeof(error)) < 0 && strstr(error, "fortran_order"),
	   "column-major: %s", error);
	ok(tensor_read("/nonexistent", &t, error, sizeof(error)) < 0 &&
		   strstr(error, "No such file"),
	   "no file");
	unlink(path);
}

static void test_images(void)
{
	static const unsigned char images[] = { 0, 0, 8, 3, 0, 0, 0, 2,	  0,  0,
						0, 1, 0, 0, 0, 2, 0, 255, 51, 102 };
	static const unsigned char labels[] = { 0, 0, 8, 1, 0, 0, 0, 2, 7, 9 };
	static const unsigned char longer[] = { 0, 0, 8, 1, 0, 0, 0, 2, 7, 9, 1 };
	char dir[] = "/tmp/rdu-test-idx-XXXXXX", path[128], error[512];
	const unsigned int order[] = { 1, 0 };
	struct images im;
	float batch[6];
	gzFile f;

	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof(path), "%s/t10k-images-idx3-ubyte.gz", dir);
	f = gzopen(path, "wb");
	gzwrite(f, images, sizeof(images));
	gzclose(f);
	ok(images_read(dir, "t10k", &im, error, sizeof(error)) < 0 && strstr(error, "labels"),
	   "no labels: %s", error);
	snprintf(path, sizeof(path), "%s/t10k-labels-idx1-ubyte", dir);
	write_bytes(path, labels, sizeof(labels));
	ok(!images_read(dir, "t10k", &im, error, sizeof(error)) && im.count == 2 && im.rows == 1 &&
		   im.cols == 2 && im.labels[1] == 9,
	   "images and labels");
	images_batch(&im, order, 2, 3, batch);
	ok(batch[0] == 51 / 255.0f && batch[3] == 1 && batch[4] == 0 && batch[5] == 0,
	   "a batch, filled up with zeros");
	images_free(&im);
	write_bytes(path, labels, sizeof(labels) - 1);
	ok(images_read(dir, "t10k", &im, error, sizeof(error)) < 0 && strstr(error, "cut short"),
	   "cut short");
	write_bytes(path, longer, sizeof(longer));
	ok(images_read(dir, "t10k", &im, error, sizeof(error)) < 0 && strstr(error, "longer than"),
	   "a byte too many");
	unlink(path);
	snprintf(path, sizeof(path), "%s/t10k-images-idx3-ubyte.gz", dir);
	unlink(path);
	rmdir(dir);
}

/* Events that overlap on purpose; on each track of the file none may. */
static void test_trace(void)
{
	const char *path = temp_path("trace.json"), *svg = temp_path("trace.svg");
	struct rdu_trace_event e[64];
	struct trace t = { .events = e, .count = 64, .hz = 1e9, .tiles = 1, .entry = "ma\"in\n" };
	double until[4096] = { 0 };
	unsigned int seen = 0, tracks = 0, i;
	struct sample s;
	struct rdu_file *f;
	char line[1024], error[256];
	bool nested = true;
	FILE *in;

	sample_make(&s, "plasticine", false);
	if (rdu_file_write(path, &s.parts, error, sizeof(error)) || rdu_file_open(path, &f))
		abort();
	t.file = f;
	for (i = 0; i < 64; i++)
		e[i] = (struct rdu_trace_event){ .kind = i < 2	  ? i
							 : i == 2 ? RDU_TRACE_EXEC
							 : i < 60 ? RDU_TRACE_STAGE
								  : RDU_TRACE_UNIT,
						 .section = i & 1,
						 .id = i % 3 * 500,
						 .arg = i,
						 .start = 1000 + 10 * i,
						 .end = 1000 + 10 * i + (i < 3 ? 10 : 95) };
	ok(!write_trace_json(path, &t) && !write_timeline_svg(svg, &t), "written");
	in = fopen(path, "r");
	while (fgets(line, sizeof(line), in)) {
		double start, length;
		unsigned int track;

		tracks += strstr(line, "thread_name") != NULL;
		if (sscanf(line, "{\"ph\":\"X\",\"pid\":1,\"tid\":%u,\"ts\":%lf,\"dur\":%lf",
			   &track, &start, &length) != 3)
			continue;
		seen++;
		nested &= track < 4096 && start > until[track] - 1e-6 && length >= 0;
		until[track] = start + length;
	}
	fclose(in);
	ok(seen == 60 && nested, "on no track do events overlap");
	ok(tracks == 2 + 6, "two tracks of the tiles, one of each stage of each section");
	unlink(path);
	unlink(svg);
	rdu_file_close(f);
	sample_free(&s);
}

int main(void)
{
	test_tensors();
	test_packed();
	test_bad_tensors();
	test_images();
	test_trace();
	return tap_done();
}
