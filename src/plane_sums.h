/* Sums over a plane in double, in 32 lanes: lane k takes elements k, k + 32, ...

   Written with vectors because converting float32 eight at a time, straight from memory, is what
   these loops spend their time on. One source for float and double: the file includes itself. */

#ifndef DASE_TYPE /* ---- once ---- */
#ifndef DASE_PLANE_SUMS_H
#define DASE_PLANE_SUMS_H

#include <stddef.h>

#define DASE_CAT_(a, b) a##b
#define DASE_CAT(a, b) DASE_CAT_(a, b)
#define DASE_NAME(name) DASE_CAT(dase_##name##_, DASE_TYPE)

#if defined(__GNUC__) && !defined(DASE_PLAIN)
#if defined(__AVX512F__)
#include <immintrin.h>
#endif
typedef double dase_eight __attribute__((vector_size(64)));
#else
#define DASE_PLAIN_LANES 1
#endif

/* Four vectors of eight lanes, or the same as an array. */
typedef struct {
#ifdef DASE_PLAIN_LANES
    double lane[32];
#else
    dase_eight part[4];
#endif
} dase_lanes;

static inline double dase_lane_total(const dase_lanes *sum)
{
    double t[8];
#ifdef DASE_PLAIN_LANES
    for (int k = 0; k < 8; k++)
        t[k] = (sum->lane[k] + sum->lane[k + 16]) + (sum->lane[k + 8] + sum->lane[k + 24]);
#else
    const dase_eight all = (sum->part[0] + sum->part[2]) + (sum->part[1] + sum->part[3]);
    for (int k = 0; k < 8; k++) t[k] = all[k];
#endif
    return ((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7]));
}

static inline void dase_lane_add(dase_lanes *sum, int k, double value)
{
#ifdef DASE_PLAIN_LANES
    sum->lane[k] += value;
#else
    sum->part[k / 8][k % 8] += value;
#endif
}

#define DASE_TYPE float
#include "plane_sums.h"
#undef DASE_TYPE
#define DASE_TYPE double
#include "plane_sums.h"
#undef DASE_TYPE

#endif
#else /* ---- once per type ---- */

#define whole_of(size) ((size) - (size) % 32)

#ifdef DASE_PLAIN_LANES
#define DASE_EACH for (int k = 0; k < 32; k++)
#define DASE_LANE lane[k]
#define DASE_LOAD(p) ((double)(p)[k])
#define DASE_ONE double
#else
typedef DASE_TYPE DASE_NAME(eight)
    __attribute__((vector_size(8 * sizeof(DASE_TYPE)), aligned(sizeof(DASE_TYPE)), may_alias));
static inline dase_eight DASE_NAME(widened)(const DASE_TYPE *p)
{
#if defined(__AVX512F__) /* what the line below says, which gcc 12 takes apart into halves */
    if (sizeof(DASE_TYPE) == 4) return (dase_eight)_mm512_cvtps_pd(_mm256_loadu_ps((const float *)p));
#endif
    return __builtin_convertvector(*(const DASE_NAME(eight) *)p, dase_eight);
}
#define DASE_EACH for (int k = 0; k < 4; k++)
#define DASE_LANE part[k]
#define DASE_LOAD(p) DASE_NAME(widened)((p) + 8 * k)
#define DASE_ONE dase_eight
#endif
/* With the four parts of a lane sum in registers. */
#define DASE_UNROLL _Pragma("GCC unroll 4")

/* sum of (x - from) and of its square */
static inline void DASE_NAME(shifted_sums)(const DASE_TYPE *x, ptrdiff_t size, double from, double *sum, double *square)
{
    dase_lanes s = {0}, q = {0};
    const ptrdiff_t whole = whole_of(size);
    for (ptrdiff_t i = 0; i < whole; i += 32) {
        DASE_UNROLL DASE_EACH {
            const DASE_ONE d = DASE_LOAD(x + i) - from;
            s.DASE_LANE += d;
            q.DASE_LANE += d * d;
        }
    }
    for (ptrdiff_t i = whole; i < size; i++) {
        const double d = x[i] - from;
        dase_lane_add(&s, (int)(i - whole), d);
        dase_lane_add(&q, (int)(i - whole), d * d);
    }
    *sum = dase_lane_total(&s);
    *square = dase_lane_total(&q);
}

static inline double DASE_NAME(plain_sum)(const DASE_TYPE *x, ptrdiff_t size)
{
    dase_lanes s = {0};
    const ptrdiff_t whole = whole_of(size);
    for (ptrdiff_t i = 0; i < whole; i += 32) {
        DASE_UNROLL DASE_EACH s.DASE_LANE += DASE_LOAD(x + i);
    }
    for (ptrdiff_t i = whole; i < size; i++) dase_lane_add(&s, (int)(i - whole), x[i]);
    return dase_lane_total(&s);
}

/* moments: the sum, and the squared distance from the plane's own mean.

   float32 needs one pass: distances are taken from an element of the plane, which makes the
   difference below lose at most log2(size) of the bits that double has beyond float. float64
   takes the mean first. */
static void DASE_NAME(plane_moments)(const DASE_TYPE *x, ptrdiff_t size, double *moments)
{
    double sum, square;
    if (size == 0) {
        moments[0] = moments[1] = 0;
    } else if (sizeof(DASE_TYPE) == 4) {
        const double from = x[0] - x[0] == 0 ? x[0] : 0; /* an infinity would make its own mean NaN */
        DASE_NAME(shifted_sums)(x, size, from, &sum, &square);
        square -= sum * sum / size;
        moments[0] = sum + from * size;
        moments[1] = square < 0 ? 0 : square;
    } else {
        moments[0] = DASE_NAME(plain_sum)(x, size);
        DASE_NAME(shifted_sums)(x, size, moments[0] / size, &sum, &moments[1]);
    }
}

/* dots: the sum of dout, and of dout * xhat */
static void DASE_NAME(plane_dots)(const DASE_TYPE *dout, const DASE_TYPE *xhat, ptrdiff_t size, double *dots)
{
    dase_lanes s = {0}, p = {0};
    const ptrdiff_t whole = whole_of(size);
    for (ptrdiff_t i = 0; i < whole; i += 32) {
        DASE_UNROLL DASE_EACH {
            const DASE_ONE g = DASE_LOAD(dout + i);
            s.DASE_LANE += g;
            p.DASE_LANE += g * DASE_LOAD(xhat + i);
        }
    }
    for (ptrdiff_t i = whole; i < size; i++) {
        dase_lane_add(&s, (int)(i - whole), dout[i]);
        dase_lane_add(&p, (int)(i - whole), (double)dout[i] * xhat[i]);
    }
    dots[0] = dase_lane_total(&s);
    dots[1] = dase_lane_total(&p);
}

#undef whole_of
#undef DASE_EACH
#undef DASE_LANE
#undef DASE_LOAD
#undef DASE_ONE
#undef DASE_UNROLL
#endif
