/* Vectors of numbers in registers: their types, and what every kernel does with them.

   The width follows the instruction set that the file is compiled for. Compilers without GCC's vector
   extensions get plain loops instead of kernels made of these; -DPLAIN_LOOPS asks for these. What only adds,
   multiplies, loads and stores has one version for both: a vector is a number there (VEC_LANES). */

#ifndef real /* ---- once: what both types share ---- */
#ifndef VECTORS_H
#define VECTORS_H

#include <math.h>
#include <stddef.h>
#include <string.h>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define VL_FLOAT (VECTOR_BYTES / 4)
#define VL_DOUBLE (VECTOR_BYTES / 8)

#if defined(__GNUC__) && !defined(PLAIN_LOOPS)
#define HAVE_VECTORS 1
#define VEC_LANES VL
#define VECS 1
#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#else
#define HAVE_VECTORS 0
#define VEC_LANES 1
#define VECS VL /* that hold the VL numbers of a vector */
#define ALWAYS_INLINE static inline
#endif

/* Stands in for a function whose instructions a level or a compiler lacks; nobody calls it then. */
static inline int stand_in(const void *nothing, ...) { (void)nothing; return 0; }
#if HAVE_VECTORS
#define BY_TYPE_OF_VECTORS BY_TYPE
#else
#define BY_TYPE_OF_VECTORS(pointer, name) stand_in
#endif

/* What happens to sums on their way to memory. */
#define TILE_ADD 1  /* add what is there: partial sums of earlier blocks of k */
#define TILE_BIAS 2 /* add the bias of the column */
#define TILE_RELU 4
#define TILE_MASK 8 /* times the scale where the mask is positive, else 0 */
#define TILE_GAIN 16 /* with TILE_BIAS: times the gain of the column before its bias is added */

#define EACH_TYPE "vectors.h"
#include "each_type.h"

#endif
#else /* ---- once per type ---- */

#if HAVE_VECTORS

#define vec TYPED(vec)
#define vec_at TYPED(vec_at)           /* at any address that an element may have */
#define vec_int TYPED(vec_int)
#define half_vec TYPED(half_vec)
#define half_vec_at TYPED(half_vec_at)
typedef real vec __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef real vec_at __attribute__((vector_size(VECTOR_BYTES), may_alias, aligned(sizeof(real))));
typedef lane_int vec_int __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef real half_vec __attribute__((vector_size(VECTOR_BYTES / 2), may_alias));
typedef real half_vec_at __attribute__((vector_size(VECTOR_BYTES / 2), may_alias, aligned(sizeof(real))));

#if defined(__AVX2__) && !defined(__AVX512F__)
#define vec_mask TYPED(vec_mask)
static inline __m256i vec_mask(int n) /* all bits set in the first n lanes */
{
    vec_int lane;
    for (int i = 0; i < VL; i++) lane[i] = i;
    return (__m256i)(lane < (lane_int)n);
}
#endif

/* The first n lanes from memory, zeros behind them; nothing beyond them is read. */
#define vec_load TYPED(vec_load)
static inline vec vec_load(const real *p, int n)
{
    if (n == VL) return *(const vec_at *)p;
#if defined(__AVX512F__)
    if (sizeof(real) == 4) return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
    return (vec)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
#elif defined(__AVX2__)
    if (sizeof(real) == 4) return (vec)_mm256_maskload_ps((const float *)p, vec_mask(n));
    return (vec)_mm256_maskload_pd((const double *)p, vec_mask(n));
#else
    vec v = {0};
    for (int i = 0; i < n; i++) v[i] = p[i];
    return v;
#endif
}

#define vec_store TYPED(vec_store)
static inline void vec_store(real *p, vec v, int n)
{
    if (n == VL) { *(vec_at *)p = v; return; }
#if defined(__AVX512F__)
    if (sizeof(real) == 4) _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
    else _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v);
#elif defined(__AVX2__)
    if (sizeof(real) == 4) _mm256_maskstore_ps((float *)p, vec_mask(n), (__m256)v);
    else _mm256_maskstore_pd((double *)p, vec_mask(n), (__m256d)v);
#else
    for (int i = 0; i < n; i++) p[i] = v[i];
#endif
}

/* v <= 0 is false for NaN, so NaN stays. */
#define vec_relu TYPED(vec_relu)
static inline vec vec_relu(vec v) { return (vec)((vec_int)v & ~(vec_int)(v <= (vec){0})); }

#define vec_fill TYPED(vec_fill)
static inline vec vec_fill(real x) { return x - (vec){0}; }

#define vec_sqrt TYPED(vec_sqrt)
static inline vec vec_sqrt(vec v)
{
#if defined(__AVX512F__)
    if (sizeof(real) == 4) return (vec)_mm512_sqrt_ps((__m512)v);
    return (vec)_mm512_sqrt_pd((__m512d)v);
#elif defined(__AVX2__)
    if (sizeof(real) == 4) return (vec)_mm256_sqrt_ps((__m256)v);
    return (vec)_mm256_sqrt_pd((__m256d)v);
#elif defined(__SSE2__)
    if (sizeof(real) == 4) return (vec)_mm_sqrt_ps((__m128)v);
    return (vec)_mm_sqrt_pd((__m128d)v);
#else
    for (int i = 0; i < VL; i++) v[i] = sizeof(real) == 4 ? sqrtf(v[i]) : sqrt(v[i]);
    return v;
#endif
}

/* a * b + c, rounded once where the instruction set can. */
#define vec_fma TYPED(vec_fma)
static inline vec vec_fma(vec a, vec b, vec c)
{
#if defined(__AVX512F__)
    if (sizeof(real) == 4) return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
    return (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__AVX2__)
    if (sizeof(real) == 4) return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
    return (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__aarch64__)
    if (sizeof(real) == 4) return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
    return (vec)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    return a * b + c;
#endif
}

/* a where all bits of the mask are set, b where none is. */
#define vec_choose TYPED(vec_choose)
static inline vec vec_choose(vec_int mask, vec a, vec b) { return (vec)(((vec_int)a & mask) | ((vec_int)b & ~mask)); }

/* x where m is positive, else 0. */
#define vec_where_positive TYPED(vec_where_positive)
static inline vec vec_where_positive(vec m, vec x) { return (vec)((vec_int)x & (vec_int)(m > (vec){0})); }

/* Squares are added up lane by lane; vec_total is the sum of the lanes, first to last, in double. */
#define vec_squares TYPED(vec_squares)
typedef vec vec_squares;
#define vec_add_squares TYPED(vec_add_squares)
static inline void vec_add_squares(vec v, vec_squares *sum) { *sum = vec_fma(v, v, *sum); }
#define vec_total TYPED(vec_total)
static inline double vec_total(vec_squares v)
{
    double total = 0;
    for (int i = 0; i < VL; i++) total += v[i];
    return total;
}

#else /* a number instead of a vector: what is written with these functions needs no second version */

#define vec TYPED(vec)
#define vec_load TYPED(vec_load)
#define vec_store TYPED(vec_store)
#define vec_relu TYPED(vec_relu)
#define vec_fill TYPED(vec_fill)
#define vec_sqrt TYPED(vec_sqrt)
#define vec_fma TYPED(vec_fma)
#define vec_where_positive TYPED(vec_where_positive)
#define vec_squares TYPED(vec_squares)
#define vec_add_squares TYPED(vec_add_squares)
#define vec_total TYPED(vec_total)
typedef real vec;
typedef double vec_squares;
static inline vec vec_load(const real *p, int n) { (void)n; return *p; }
static inline void vec_store(real *p, vec v, int n) { (void)n; *p = v; }
static inline vec vec_relu(vec v) { return v <= 0 ? 0 : v; }
static inline vec vec_fill(real x) { return x; }
static inline vec vec_sqrt(vec v) { return (real)sqrt(v); }
static inline vec vec_fma(vec a, vec b, vec c) { return a * b + c; }
static inline vec vec_where_positive(vec m, vec x) { return m > 0 ? x : 0; }
static inline void vec_add_squares(vec v, vec_squares *sum) { *sum += (double)v * v; }
static inline double vec_total(vec_squares v) { return v; }

#endif
#endif
