/* STREAM's kernels as its author wrote them, with repeats inside, to judge our own kernels by: a plain loop a
 * kernel, threads by OpenMP, whatever the compiler makes of it. Arrays lie on huge pages, as numpy's do.
 * stream KERNEL BYTES PASSES: prints bytes/s of the best of three repeats. BYTES counts every array. */
#define _GNU_SOURCE
#include <immintrin.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

static float *array(size_t n) {
  size_t bytes = (n * sizeof(float) + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
  float *a = aligned_alloc(HUGE_PAGE, bytes);
  madvise(a, bytes, MADV_HUGEPAGE);
  for (size_t i = 0; i < n; i++) a[i] = (float)((i * 2654435761u) >> 8);
  return a;
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  /* sum, fill, copy; past_fill and past_copy store past the caches, as compilers do for STREAM when told to */
  int past = !strncmp(argv[1], "past_", 5);
  char kernel = argv[1][past ? 5 : 0];
  size_t total = strtoull(argv[2], 0, 10), passes = strtoull(argv[3], 0, 10);
  int threads = omp_get_max_threads(), arrays = kernel == 'c' ? 2 : 1;
  size_t n = total / sizeof(float) / arrays / threads / 128 * 128;
  double best = 0, start = 0, end = 0;
  float sink = 0;
#pragma omp parallel reduction(+ : sink)
  {
    float *a = array(n), *b = array(n);
    for (int repeat = 0; repeat < 3; repeat++) {
#pragma omp barrier
#pragma omp master
      start = omp_get_wtime();
#pragma omp barrier
      for (size_t pass = 0; pass < passes; pass++) {
        if (kernel == 's') {
          float s = 0;
          for (size_t i = 0; i < n; i++) s += a[i];
          sink += s;
        } else if (past) {
          __m256 v = _mm256_set1_ps(a[1]); /* zeros would be written twice as fast */
          for (size_t i = 0; i < n; i += 8)
            _mm256_stream_ps(b + i, kernel == 'c' ? _mm256_load_ps(a + i) : v);
          _mm_sfence();
        } else if (kernel == 'f') {
          for (size_t i = 0; i < n; i++) b[i] = a[1];
        } else {
          for (size_t i = 0; i < n; i++) b[i] = a[i];
        }
        __asm__ volatile("" ::: "memory");
      }
#pragma omp barrier
#pragma omp master
      {
        end = omp_get_wtime();
        double rate = (double)n * sizeof(float) * threads * arrays * passes / (end - start);
        if (rate > best) best = rate;
      }
    }
    sink += b[n / 2];
  }
  fprintf(stderr, "%g\n", sink);
  printf("%.6g\n", best);
  return 0;
}
