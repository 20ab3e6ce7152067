/* Sums over a plane in double, in 32 lanes: lane k takes elements k, k + 32, ...

   Written with vectors because converting float32 eight at a time, straight from memory, is what
   these loops spend their time on. */

#ifndef real /* ---- once ---- */
#ifndef PLANE_SUMS_H
#define PLANE_SUMS_H

#include "vectors.h"

#if HAVE_VECTORS
typedef double eight __attribute__((vector_size(64)));
#endif

/* Four vectors of eight lanes, or the same as an array. */
typedef struct {
#if HAVE_VECTORS
    eight part[4];
#else
    double lane[32];
#endif
} lanes;

static inline double lane_total(const lanes *sum)
{
    double t[8];
#if HAVE_VECTORS
    const eight all = (sum->part[0] + sum->part[2]) + (sum->part[1] + sum->part[3]);
    for (int k = 0; k < 8; k++) t[k] = all[k];
#else
    for (int k = 0; k < 8; k++)
        t[k] = (sum->lane[k] + sum->lane[k + 16]) + (sum->lane[k + 8] + sum->lane[k + 24]);
#endif
    return ((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7]));
}

static inline void lane_add(lanes *sum, int k, double value)
{
#if HAVE_VECTORS
    sum->part[k / 8][k % 8] += value;
#else
    sum->lane[k] += value;
#endif
}

/* What a number is multiplied by before the products are added up. */
enum { NO_FACTOR, ITSELF, THE_OTHER };

#define EACH_TYPE "plane_sums.h"
#include "each_type.h"
#define plane_sum_real(x, ...) BY_TYPE(x, plane_sum)(x, __VA_ARGS__)
#define plane_squares_real(x, ...) BY_TYPE(x, plane_squares)(x, __VA_ARGS__)
#define plane_dots_real(x, ...) BY_TYPE(x, plane_dots)(x, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

#if HAVE_VECTORS
#define eight_reals TYPED(eight_reals)
typedef real eight_reals
    __attribute__((vector_size(8 * sizeof(real)), aligned(sizeof(real)), may_alias));
#define widened TYPED(widened)
static inline eight widened(const real *p)
{
#if defined(__AVX512F__) /* what the line below says, which gcc 12 takes apart into halves */
    if (sizeof(real) == 4) return (eight)_mm512_cvtps_pd(_mm256_loadu_ps((const float *)p));
#endif
    return __builtin_convertvector(*(const eight_reals *)p, eight);
}
#define EACH for (int k = 0; k < 4; k++)
#define LANE part[k]
#define LOAD(p) widened((p) + 8 * k)
#define ONE eight
#else
#define EACH for (int k = 0; k < 32; k++)
#define LANE lane[k]
#define LOAD(p) ((double)(p)[k])
#define ONE double
#endif
/* With the four parts of a lane sum in registers. */
#define UNROLL _Pragma("GCC unroll 4")

/* sums: of d = x - from, and of d times the factor. */
#define lane_sums TYPED(lane_sums)
ALWAYS_INLINE void
lane_sums(const int factor, const real *x, const real *y, ptrdiff_t size, double from, double *sums)
{
    lanes s = {0}, p = {0};
    const ptrdiff_t whole = size - size % 32;
    for (ptrdiff_t i = 0; i < whole; i += 32) {
        UNROLL EACH {
            const ONE d = LOAD(x + i) - from;
            s.LANE += d;
            if (factor == ITSELF) p.LANE += d * d;
            if (factor == THE_OTHER) p.LANE += d * LOAD(y + i);
        }
    }
    for (ptrdiff_t i = whole; i < size; i++) {
        const double d = x[i] - from;
        lane_add(&s, (int)(i - whole), d);
        if (factor == ITSELF) lane_add(&p, (int)(i - whole), d * d);
        if (factor == THE_OTHER) lane_add(&p, (int)(i - whole), d * y[i]);
    }
    sums[0] = lane_total(&s);
    if (factor != NO_FACTOR) sums[1] = lane_total(&p);
}

#define plane_sum TYPED(plane_sum)
static void plane_sum(const real *x, ptrdiff_t size, double *sum) { lane_sums(NO_FACTOR, x, NULL, size, 0, sum); }

#define plane_squares TYPED(plane_squares)
static void plane_squares(const real *x, ptrdiff_t size, double from, double *sums)
{
    lane_sums(ITSELF, x, NULL, size, from, sums);
}

#define plane_dots TYPED(plane_dots)
static void plane_dots(const real *x, const real *y, ptrdiff_t size, double *sums)
{
    lane_sums(THE_OTHER, x, y, size, 0, sums);
}

#undef EACH
#undef LANE
#undef LOAD
#undef ONE
#undef UNROLL
#endif
