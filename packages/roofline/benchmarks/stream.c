/* STREAM's kernels as its author wrote them, with repeats inside, to judge our own kernels by: a plain loop a
 * kernel, threads by OpenMP, whatever the compiler makes of it.
 * stream KERNEL BYTES PASSES: prints bytes/s of the best of five repeats. BYTES counts every array. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  const char *name = argv[1];
  int sum = !strcmp(name, "sum");
  size_t total = strtoull(argv[2], 0, 10), passes = strtoull(argv[3], 0, 10);
  int threads = omp_get_max_threads();
  size_t n = total / sizeof(float) / (sum ? 1 : 2) / threads / 128 * 128;
  double best = 0;
  float sink = 0;
  for (int repeat = 0; repeat < 5; repeat++) {
    double start = 0, end = 0;
#pragma omp parallel reduction(+ : sink)
    {
      float *a = aligned_alloc(4096, (n * sizeof(float) + 4095) / 4096 * 4096);
      float *b = aligned_alloc(4096, (n * sizeof(float) + 4095) / 4096 * 4096);
      for (size_t i = 0; i < n; i++) { a[i] = (float)((i * 2654435761u) >> 8); b[i] = 1; }
#pragma omp barrier
#pragma omp master
      start = omp_get_wtime();
#pragma omp barrier
      for (size_t pass = 0; pass < passes; pass++) {
        if (sum) {
          float s = 0;
          for (size_t i = 0; i < n; i++) s += a[i];
          sink += s;
        } else {
          for (size_t i = 0; i < n; i++) b[i] = a[i];
        }
        __asm__ volatile("" ::: "memory");
      }
#pragma omp barrier
#pragma omp master
      end = omp_get_wtime();
      sink += b[n / 2];
      free(a);
      free(b);
    }
    double rate = (double)n * sizeof(float) * threads * (sum ? 1 : 2) * passes / (end - start);
    if (rate > best) best = rate;
  }
  fprintf(stderr, "%g\n", sink);
  printf("%.6g\n", best);
  return 0;
}
