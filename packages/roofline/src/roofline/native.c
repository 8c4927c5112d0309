/* Streams and multiply-adds of a CPU, compiled when they are measured so that they use what the CPU has.
 * Every stream passes `passes` times over `n` floats (a multiple of 128), which lie on a 64-byte boundary. */
#include <stddef.h>

#if defined(__AVX512F__)
#define WIDTH 64
#elif defined(__AVX__)
#define WIDTH 32
#else
#define WIDTH 16
#endif
#if defined(__AVX__)
#include <immintrin.h>
#endif

typedef float vf __attribute__((vector_size(WIDTH)));
typedef double vd __attribute__((vector_size(WIDTH)));
#define LANES (WIDTH / 4)
/* Between two passes the compiler may assume nothing about memory, or it would merge them. */
#define PASS __asm__ volatile("" ::: "memory")

#if defined(__AVX512F__)
#define STREAM(p, v) _mm512_stream_ps((float *)(p), (__m512)(v))
#define FENCE _mm_sfence()
#elif defined(__AVX__)
#define STREAM(p, v) _mm256_stream_ps((float *)(p), (__m256)(v))
#define FENCE _mm_sfence()
#elif defined(__clang__)
#define STREAM(p, v) __builtin_nontemporal_store((v), (p))
#define FENCE
#else
#define STREAM(p, v) (*(p) = (v))
#define FENCE
#endif

float roofline_read(float *y, const float *x, size_t n, size_t passes) {
  const vf *a = (const vf *)x;
  vf s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0}, s4 = {0}, s5 = {0}, s6 = {0}, s7 = {0};
  for (size_t pass = 0; pass < passes; pass++) {
    for (size_t i = 0; i < n / LANES; i += 8) {
      s0 += a[i]; s1 += a[i + 1]; s2 += a[i + 2]; s3 += a[i + 3];
      s4 += a[i + 4]; s5 += a[i + 5]; s6 += a[i + 6]; s7 += a[i + 7];
    }
    PASS;
  }
  vf s = (s0 + s1) + (s2 + s3) + ((s4 + s5) + (s6 + s7));
  return y[0] = s[0];
}

#define LOOP(name, body)                                                        \
  void roofline_##name(float *y, const float *x, size_t n, size_t passes) {      \
    vf *b = (vf *)y;                                                            \
    const vf *a = (const vf *)x;                                                \
    vf v = a[0];                                                                \
    (void)v;                                                                    \
    for (size_t pass = 0; pass < passes; pass++) {                              \
      for (size_t i = 0; i < n / LANES; i += 8) {                               \
        body(0) body(1) body(2) body(3) body(4) body(5) body(6) body(7)         \
      }                                                                         \
      PASS;                                                                     \
    }                                                                           \
    FENCE;                                                                      \
  }
#define WRITE(k) b[i + k] = v;
#define WRITE_NT(k) STREAM(b + i + k, v);
#define COPY(k) b[i + k] = a[i + k];
#define COPY_NT(k) STREAM(b + i + k, a[i + k]);
#define ADD(k) b[i + k] += a[i + k];
LOOP(write, WRITE)
LOOP(write_nt, WRITE_NT)
LOOP(copy, COPY)
LOOP(copy_nt, COPY_NT)
LOOP(add, ADD)

/* Twelve chains of a = a * x + y: enough to fill two units of a latency of up to six cycles. */
#define CHAINS(name, type, scalar)                                              \
  scalar roofline_fma_##name(scalar x, scalar y, size_t steps) {                \
    type p = (type){0} + x, q = (type){0} + y;                                  \
    type a = p, b = a + y, c = b + y, d = c + y, e = d + y, f = e + y;          \
    type g = f + y, h = g + y, k = h + y, l = k + y, m = l + y, o = m + y;      \
    for (size_t i = 0; i < steps; i++) {                                        \
      a = a * p + q; b = b * p + q; c = c * p + q; d = d * p + q;               \
      e = e * p + q; f = f * p + q; g = g * p + q; h = h * p + q;               \
      k = k * p + q; l = l * p + q; m = m * p + q; o = o * p + q;               \
    }                                                                           \
    a += b + c + d + e + f + g + h + k + l + m + o;                             \
    return a[0];                                                                \
  }
CHAINS(fp32, vf, float)
CHAINS(fp64, vd, double)

int roofline_width_bytes(void) { return WIDTH; }
