// SPDX-License-Identifier: MIT
#include <pthread.h>
#include <stdbool.h>
#include <time.h>
#include "peak.h"

#define STEPS 2000000

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"))) static float run_bf16(void)
{
	__m512 a[12];
	__m512bh x = (__m512bh)_mm512_set1_epi32(0x3f803f80), y = (__m512bh)_mm512_set1_epi32(0);

	for (int i = 0; i < 12; i++)
		a[i] = _mm512_set1_ps(i);
	for (int s = 0; s < STEPS; s++) {
#pragma GCC unroll 12
		for (int i = 0; i < 12; i++)
			a[i] = _mm512_dpbf16_ps(a[i], x, y);
		__asm__ volatile("" : "+v"(x), "+v"(y));
	}
	for (int i = 1; i < 12; i++)
		a[0] = _mm512_add_ps(a[0], a[i]);
	return _mm512_reduce_add_ps(a[0]);
}

__attribute__((target("avx2,fma"))) static float run_fma(void)
{
	__m256 a[12], x = _mm256_set1_ps(1), y = _mm256_set1_ps(0);

	for (int i = 0; i < 12; i++)
		a[i] = _mm256_set1_ps(i);
	for (int s = 0; s < STEPS; s++) {
#pragma GCC unroll 12
		for (int i = 0; i < 12; i++)
			a[i] = _mm256_fmadd_ps(x, y, a[i]);
		__asm__ volatile("" : "+v"(x), "+v"(y));
	}
	for (int i = 1; i < 12; i++)
		a[0] = _mm256_add_ps(a[0], a[i]);
	return _mm256_cvtss_f32(a[0]);
}

static bool has_bf16(void)
{
	return __builtin_cpu_supports("avx512bf16");
}
#else
static float run_fma(void)
{
	volatile float r = 0;

	for (int s = 0; s < STEPS; s++)
		r = __builtin_fmaf(1, 0, r);
	return r;
}

#define run_bf16 run_fma
static bool has_bf16(void)
{
	return false;
}
#endif

static void *worker(void *arg)
{
	volatile float sink = has_bf16() ? run_bf16() : run_fma();

	(void)sink;
	return arg;
}

double peak_flops(int threads, const char **what)
{
	double best = 1e9, per_step;
	pthread_t th[64];

	*what = has_bf16() ? "host_bf16_dot_peak" : "host_fma_peak";
#if defined(__x86_64__)
	per_step = has_bf16() ? 12 * 16 * 4 : 12 * 8 * 2;
#else
	per_step = 2;
#endif
	for (int r = 0; r < 5; r++) {
		double t = now();

		for (int i = 1; i < threads; i++)
			pthread_create(&th[i], 0, worker, 0);
		worker(0);
		for (int i = 1; i < threads; i++)
			pthread_join(th[i], 0);
		t = now() - t;
		if (t < best)
			best = t;
	}
	return per_step * STEPS * threads / best;
}
