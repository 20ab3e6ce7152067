/* Max pooling by vectors, one row of windows at a time: any window, and 2 x 2 two apart in fewer steps.

   The place of a maximum is counted row by row within its window: ii * fw + jj. */

#ifndef real /* ---- once ---- */
#ifndef POOL_ROWS_H
#define POOL_ROWS_H

#include <stdint.h>
#include "product/shuffles.h"

#define TWICE(l, s) ((s) + (l) / 2)     /* lanes s, s, s + 1, s + 1, ... */

#define EACH_TYPE "pool_rows.h"
#include "each_type.h"
#define pool_row_real(x, ...) BY_TYPE_OF_SHUFFLES(x, pool_row)(x, __VA_ARGS__)
#define pool_2x2_real(upper, ...) BY_TYPE_OF_SHUFFLES(upper, pool_2x2)(upper, __VA_ARGS__)
#define unpool_2x2_real(dout, ...) BY_TYPE_OF_SHUFFLES(dout, unpool_2x2)(dout, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

#define pool_row TYPED(pool_row)
#define pool_2x2 TYPED(pool_2x2)
#define unpool_2x2 TYPED(unpool_2x2)

#if HAVE_SHUFFLES

#define vec_uint8 TYPED(vec_uint8)
#define vec_int32 TYPED(vec_int32)
typedef unsigned char vec_uint8 __attribute__((vector_size(VL)));
typedef int vec_int32 __attribute__((vector_size(4 * VL)));

/* Lanes in which b takes the place of a: b is larger, or the first NaN. */
#define replaces TYPED(replaces)
static inline vec_int replaces(vec a, vec b) { return (vec_int)(~(vec_int)(b <= a) & (vec_int)(a == a)); }

/* x[0], x[s], ..., m of them; nothing else is read but what lies between. */
#define every TYPED(every)
static inline vec every(const real *x, ptrdiff_t s, int m)
{
    if (s == 1) return vec_load(x, m);
    if (s == 2) {
        const int span = 2 * m - 1, first = span < VL ? span : VL, second = span - first;
        const vec low = vec_load(x, first), high = vec_load(second ? x + VL : x, second);
        return __builtin_shufflevector(low, high, LANES(EVEN, 0));
    }
    real taken[VL];
    for (int i = 0; i < VL; i++) taken[i] = i < m ? x[i * s] : 0;
    return *(const vec_at *)taken;
}

/* x: the upper left corner of the first of n windows; bytes or words takes the places. */
static void pool_row(const real *x, ptrdiff_t w, ptrdiff_t fh, ptrdiff_t fw, ptrdiff_t s, ptrdiff_t n, /* IN */
                     real *out, unsigned char *bytes, int32_t *words)                               /* OUT */
{
    for (ptrdiff_t j = 0; j < n; j += VL) {
        const int m = n - j < VL ? (int)(n - j) : VL;
        vec best = every(x + j * s, s, m);
        vec_int which = {0};
        for (ptrdiff_t ii = 0; ii < fh; ii++)
            for (ptrdiff_t jj = 0; jj < fw; jj++) {
                const vec v = every(x + ii * w + jj + j * s, s, m);
                const vec_int mask = replaces(best, v);
                best = vec_choose(mask, v, best);
                which = (which & ~mask) | (mask & (lane_int)(ii * fw + jj));
            }
        vec_store(out + j, best, m);
        if (bytes != NULL) {
            const vec_uint8 k = __builtin_convertvector(which, vec_uint8);
            if (m == VL) memcpy(bytes + j, &k, VL);
            else for (int i = 0; i < m; i++) bytes[j + i] = k[i];
        } else {
            const vec_int32 k = __builtin_convertvector(which, vec_int32);
            for (int i = 0; i < m; i++) words[j + i] = k[i];
        }
    }
}

static void pool_2x2(const real *upper, const real *lower, ptrdiff_t n, /* IN */
                     real *out, unsigned char *arg)                        /* OUT */
{
    for (ptrdiff_t j = 0; j < n; j += VL) {
        const int m = n - j < VL ? (int)(n - j) : VL;
        const int first = 2 * m < VL ? 2 * m : VL, second = 2 * m - first;
        const ptrdiff_t next = second ? VL : 0; /* no pointer past the row */
        const vec u0 = vec_load(upper + 2 * j, first), u1 = vec_load(upper + 2 * j + next, second);
        const vec l0 = vec_load(lower + 2 * j, first), l1 = vec_load(lower + 2 * j + next, second);
        const vec a = __builtin_shufflevector(u0, u1, LANES(EVEN, 0));
        const vec b = __builtin_shufflevector(u0, u1, LANES(EVEN, 1));
        const vec c = __builtin_shufflevector(l0, l1, LANES(EVEN, 0));
        const vec d = __builtin_shufflevector(l0, l1, LANES(EVEN, 1));
        const vec_int ab = replaces(a, b), cd = replaces(c, d);
        const vec high = vec_choose(ab, b, a), low = vec_choose(cd, d, c);
        const vec_int down = replaces(high, low);
        const vec_int k = (ab & ~down & (lane_int)1) | (down & ((cd & (lane_int)1) | (lane_int)2));
        const vec_uint8 bytes = __builtin_convertvector(k, vec_uint8);
        vec_store(out + j, vec_choose(down, low, high), m);
        if (m == VL) memcpy(arg + j, &bytes, VL);
        else for (int i = 0; i < m; i++) arg[j + i] = bytes[i];
    }
}

static void unpool_2x2(const real *dout, const unsigned char *arg, ptrdiff_t n, /* IN */
                       real *upper, real *lower)                            /* OUT */
{
    vec_int side; /* 0 1 0 1 ... */
    for (int i = 0; i < VL; i++) side[i] = i & 1;
    for (ptrdiff_t j = 0; j < n; j += VL) {
        const int m = n - j < VL ? (int)(n - j) : VL;
        const int first = 2 * m < VL ? 2 * m : VL, second = 2 * m - first;
        const vec g = vec_load(dout + j, m);
        vec_uint8 bytes = {0};
        if (m == VL) memcpy(&bytes, arg + j, VL);
        else for (int i = 0; i < m; i++) bytes[i] = arg[j + i];
        const vec_int k = __builtin_convertvector(bytes, vec_int);
        const vec_int g0 = (vec_int)__builtin_shufflevector(g, g, LANES(TWICE, 0));
        const vec_int k0 = __builtin_shufflevector(k, k, LANES(TWICE, 0));
        vec_store(upper + 2 * j, (vec)(g0 & (k0 == side)), first);
        vec_store(lower + 2 * j, (vec)(g0 & (k0 == side + (lane_int)2)), first);
        if (second) {
            const vec_int g1 = (vec_int)__builtin_shufflevector(g, g, LANES(TWICE, VL / 2));
            const vec_int k1 = __builtin_shufflevector(k, k, LANES(TWICE, VL / 2));
            vec_store(upper + 2 * j + VL, (vec)(g1 & (k1 == side)), second);
            vec_store(lower + 2 * j + VL, (vec)(g1 & (k1 == side + (lane_int)2)), second);
        }
    }
}

#endif
#endif
