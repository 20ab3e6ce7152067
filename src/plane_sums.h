/* Sums over a plane in double, in 32 lanes: lane k takes elements k, k + 32, ...

   Written with vectors because converting float32 eight at a time, straight from memory, is what
   these loops spend their time on. One source for float and double: the file includes itself. */

#ifndef real /* ---- once ---- */
#ifndef PLANE_SUMS_H
#define PLANE_SUMS_H

#include <stddef.h>

#if defined(__GNUC__) && !defined(PLAIN_LOOPS)
#if defined(__AVX512F__)
#include <immintrin.h>
#endif
typedef double eight __attribute__((vector_size(64)));
#else
#define PLAIN_LANES 1
#endif

/* Four vectors of eight lanes, or the same as an array. */
typedef struct {
#ifdef PLAIN_LANES
    double lane[32];
#else
    eight part[4];
#endif
} lanes;

static inline double lane_total(const lanes *sum)
{
    double t[8];
#ifdef PLAIN_LANES
    for (int k = 0; k < 8; k++)
        t[k] = (sum->lane[k] + sum->lane[k + 16]) + (sum->lane[k + 8] + sum->lane[k + 24]);
#else
    const eight all = (sum->part[0] + sum->part[2]) + (sum->part[1] + sum->part[3]);
    for (int k = 0; k < 8; k++) t[k] = all[k];
#endif
    return ((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7]));
}

static inline void lane_add(lanes *sum, int k, double value)
{
#ifdef PLAIN_LANES
    sum->lane[k] += value;
#else
    sum->part[k / 8][k % 8] += value;
#endif
}

#define EACH_TYPE "plane_sums.h"
#include "each_type.h"
#undef plane_moments /* from here on the argument chooses the type */
#undef plane_dots
#define plane_moments(x, size, moments) BY_TYPE(x, plane_moments)(x, size, moments)
#define plane_dots(dout, ...) BY_TYPE(dout, plane_dots)(dout, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

#define whole_of(size) ((size) - (size) % 32)

#ifdef PLAIN_LANES
#define EACH for (int k = 0; k < 32; k++)
#define LANE lane[k]
#define LOAD(p) ((double)(p)[k])
#define ONE double
#else
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
#endif
/* With the four parts of a lane sum in registers. */
#define UNROLL _Pragma("GCC unroll 4")

/* sum of (x - from) and of its square */
#define shifted_sums TYPED(shifted_sums)
static inline void shifted_sums(const real *x, ptrdiff_t size, double from, double *sum, double *square)
{
    lanes s = {0}, q = {0};
    const ptrdiff_t whole = whole_of(size);
    for (ptrdiff_t i = 0; i < whole; i += 32) {
        UNROLL EACH {
            const ONE d = LOAD(x + i) - from;
            s.LANE += d;
            q.LANE += d * d;
        }
    }
    for (ptrdiff_t i = whole; i < size; i++) {
        const double d = x[i] - from;
        lane_add(&s, (int)(i - whole), d);
        lane_add(&q, (int)(i - whole), d * d);
    }
    *sum = lane_total(&s);
    *square = lane_total(&q);
}

#define plain_sum TYPED(plain_sum)
static inline double plain_sum(const real *x, ptrdiff_t size)
{
    lanes s = {0};
    const ptrdiff_t whole = whole_of(size);
    for (ptrdiff_t i = 0; i < whole; i += 32) {
        UNROLL EACH s.LANE += LOAD(x + i);
    }
    for (ptrdiff_t i = whole; i < size; i++) lane_add(&s, (int)(i - whole), x[i]);
    return lane_total(&s);
}

/* moments: the sum, and the squared distance from the plane's own mean.

   float32 needs one pass: distances are taken from an element of the plane, which makes the
   difference below lose at most log2(size) of the bits that double has beyond float. float64
   takes the mean first. */
#define plane_moments TYPED(plane_moments)
static void plane_moments(const real *x, ptrdiff_t size, double *moments)
{
    double sum, square;
    if (size == 0) {
        moments[0] = moments[1] = 0;
    } else if (sizeof(real) == 4) {
        const double from = x[0] - x[0] == 0 ? x[0] : 0; /* an infinity would make its own mean NaN */
        shifted_sums(x, size, from, &sum, &square);
        square -= sum * sum / (double)size;
        moments[0] = sum + from * (double)size;
        moments[1] = square < 0 ? 0 : square;
    } else {
        moments[0] = plain_sum(x, size);
        shifted_sums(x, size, moments[0] / (double)size, &sum, &moments[1]);
    }
}

/* dots: the sum of dout, and of dout * xhat */
#define plane_dots TYPED(plane_dots)
static void plane_dots(const real *dout, const real *xhat, ptrdiff_t size, double *dots)
{
    lanes s = {0}, p = {0};
    const ptrdiff_t whole = whole_of(size);
    for (ptrdiff_t i = 0; i < whole; i += 32) {
        UNROLL EACH {
            const ONE g = LOAD(dout + i);
            s.LANE += g;
            p.LANE += g * LOAD(xhat + i);
        }
    }
    for (ptrdiff_t i = whole; i < size; i++) {
        lane_add(&s, (int)(i - whole), dout[i]);
        lane_add(&p, (int)(i - whole), (double)dout[i] * xhat[i]);
    }
    dots[0] = lane_total(&s);
    dots[1] = lane_total(&p);
}

#undef whole_of
#undef EACH
#undef LANE
#undef LOAD
#undef ONE
#undef UNROLL
#endif
