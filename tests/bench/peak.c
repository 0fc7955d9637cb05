// SPDX-License-Identifier: MIT
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "peak.h"

#define STEPS 1000000
#define THREADS_MAX 64

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

/* Twelve sums in flight hide the latency of each; the compiler must not see constants. */
#define ACCUMULATORS 12
#define KERNEL(name, isa, vec, zero, one, step, sum)                                           \
	__attribute__((target(isa))) static float name(void)                                   \
	{                                                                                      \
		vec a[ACCUMULATORS];                                                           \
		typeof(one) x = one, y = zero;                                                 \
                                                                                               \
		for (int i = 0; i < ACCUMULATORS; i++)                                         \
			a[i] = (vec){ i };                                                     \
		for (int s = 0; s < STEPS; s++) {                                              \
			_Pragma("GCC unroll 12") for (int i = 0; i < ACCUMULATORS; i++) a[i] = \
				step;                                                          \
			__asm__ volatile("" : "+v"(x), "+v"(y));                               \
		}                                                                              \
		for (int i = 1; i < ACCUMULATORS; i++)                                         \
			a[0] += a[i];                                                          \
		return sum;                                                                    \
	}

KERNEL(run_avx2, "avx2,fma", __m256, _mm256_set1_ps(0), _mm256_set1_ps(1),
       _mm256_fmadd_ps(x, y, a[i]), _mm256_cvtss_f32(a[0]))
KERNEL(run_avx512, "avx512f", __m512, _mm512_set1_ps(0), _mm512_set1_ps(1),
       _mm512_fmadd_ps(x, y, a[i]), _mm512_cvtss_f32(a[0]))
KERNEL(run_bf16, "avx512f,avx512bw,avx512vl,avx512bf16", __m512, (__m512bh)_mm512_set1_epi32(0),
       (__m512bh)_mm512_set1_epi32(0x3f803f80), _mm512_dpbf16_ps(a[i], x, y),
       _mm512_cvtss_f32(a[0]))

/* Six tiles of sums, of 16 x 16 floats; operands of 16 x 32 bf16. Each thread configures. */
__attribute__((target("amx-tile,amx-bf16"))) static float run_amx(void)
{
	struct {
		uint8_t palette, start_row, reserved[14];
		uint16_t bytes_a_row[16];
		uint8_t rows[16];
	} __attribute__((aligned(64))) config = { .palette = 1 };
	float tile[256];

	for (int i = 0; i < 8; i++) {
		config.bytes_a_row[i] = 64;
		config.rows[i] = 16;
	}
	_tile_loadconfig(&config);
	_tile_zero(0);
	_tile_zero(1);
	_tile_zero(2);
	_tile_zero(3);
	_tile_zero(4);
	_tile_zero(5);
	_tile_zero(6);
	_tile_zero(7);
	for (int s = 0; s < STEPS / 4; s++) {
		_tile_dpbf16ps(0, 6, 7);
		_tile_dpbf16ps(1, 6, 7);
		_tile_dpbf16ps(2, 6, 7);
		_tile_dpbf16ps(3, 6, 7);
		_tile_dpbf16ps(4, 6, 7);
		_tile_dpbf16ps(5, 6, 7);
	}
	_tile_stored(0, tile, 64);
	_tile_release();
	return tile[0];
}

static bool has_avx2(void)
{
	return !__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx2") &&
	       __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
	return __builtin_cpu_supports("avx512f");
}

static bool has_bf16(void)
{
	return __builtin_cpu_supports("avx512bf16");
}

/* The processor's word (CPUID 7: AMX-BF16, AMX-TILE), and Linux's leave to use tiles. */
static bool has_amx(void)
{
	const unsigned int bits = 1u << 22 | 1u << 24;
	const int arch_req_xcomp_perm = 0x1023, xtiledata = 18;
	unsigned int a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & bits) == bits &&
	       !syscall(SYS_arch_prctl, arch_req_xcomp_perm, xtiledata);
}

static bool has_neither(void)
{
	return !has_avx2() && !has_avx512();
}
#else
static bool has_neither(void)
{
	return true;
}
#endif

static float run_scalar(void)
{
	volatile float r = 0;

	for (int s = 0; s < STEPS; s++)
		r = __builtin_fmaf(1, 0, r);
	return r;
}

static const struct way {
	const char *name;
	bool (*has)(void);
	float (*run)(void);
	double flop; /* of a run */
} ways[PEAKS_MAX + 1] = {
	{ "host_fp32_fma_peak", has_neither, run_scalar, 2.0 * STEPS },
#if defined(__x86_64__)
	{ "host_fp32_fma_peak", has_avx2, run_avx2, 2.0 * ACCUMULATORS * 8 * STEPS },
	{ "host_fp32_fma_peak", has_avx512, run_avx512, 2.0 * ACCUMULATORS * 16 * STEPS },
	{ "host_bf16_dot_peak", has_bf16, run_bf16, 2.0 * ACCUMULATORS * 32 * STEPS },
	{ "host_bf16_amx_peak", has_amx, run_amx, 2.0 * 6 * 16 * 16 * 32 * (STEPS / 4) },
#endif
};

static void *worker(void *arg)
{
	const struct way *way = arg;
	volatile float sink = way->run();

	(void)sink;
	return NULL;
}

/* FLOP/s, the best of five. */
static double measure(const struct way *way, int threads)
{
	pthread_t th[THREADS_MAX];
	double best = 1e9;

	for (int r = 0; r < 5; r++) {
		double t = now();

		for (int i = 1; i < threads; i++)
			if (pthread_create(&th[i], NULL, worker, (void *)way)) {
				fprintf(stderr, "peak: no thread %d of %d\n", i, threads);
				exit(1);
			}
		worker((void *)way);
		for (int i = 1; i < threads; i++)
			pthread_join(th[i], NULL);
		t = now() - t;
		if (t < best)
			best = t;
	}
	return way->flop * threads / best;
}

int host_peaks(int threads, struct peak p[PEAKS_MAX])
{
	int n = 0;

	if (threads < 1 || threads > THREADS_MAX) {
		fprintf(stderr, "peak: %d threads, not 1 to %d\n", threads, THREADS_MAX);
		exit(1);
	}
	for (const struct way *w = ways; w < ways + PEAKS_MAX + 1 && w->name; w++)
		if (w->has())
			p[n++] = (struct peak){ w->name, measure(w, threads) };
	return n;
}

double peak_flops(int threads, const char **what)
{
	struct peak p[PEAKS_MAX];
	int n = host_peaks(threads, p), best = 0;

	for (int i = 1; i < n; i++)
		if (p[i].flops > p[best].flops)
			best = i;
	*what = p[best].name;
	return p[best].flops;
}
