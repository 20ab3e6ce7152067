/* Max pooling, one row of windows at a time: any window, and 2 x 2 two apart in fewer steps.

   One source for float and double: the file includes itself once per type (see the end).
   A code is the place of the maximum in its window, counted row by row: ii * fw + jj. */

#ifndef real /* ---- once ---- */
#ifndef POOL_ROWS_H
#define POOL_ROWS_H

#include "product/shuffles.h"

#define TWICE(l, s) ((s) + (l) / 2)     /* lanes s, s, s + 1, s + 1, ... */

#define EACH_TYPE "pool_rows.h"
#include "each_type.h"

#endif
#else /* ---- once per type ---- */

#define codes TYPED(codes)
#define words_of TYPED(words)

#if defined(HAVE_VECTORS) && defined(HAVE_SHUFFLES)

typedef unsigned char codes __attribute__((vector_size(VL)));
typedef int words_of __attribute__((vector_size(4 * VL)));

/* Lanes in which b takes the place of a: b is larger, or the first NaN. */
static inline vec_int TYPED(replaces)(vec a, vec b) { return (vec_int)(~(vec_int)(b <= a) & (vec_int)(a == a)); }
static inline vec TYPED(choose)(vec_int mask, vec a, vec b)
{
    return (vec)(((vec_int)b & mask) | ((vec_int)a & ~mask));
}

/* x[0], x[s], ..., m of them; nothing else is read but what lies between. */
static inline vec TYPED(every)(const real *x, ptrdiff_t s, int m)
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

/* x: the upper left corner of the first of n windows; narrow or wide takes the codes. */
static void TYPED(pool_row)(const real *x, ptrdiff_t w, ptrdiff_t fh, ptrdiff_t fw, ptrdiff_t s,
                                ptrdiff_t n,                                             /* IN */
                                real *out, unsigned char *narrow, int *wide)        /* OUT */
{
    for (ptrdiff_t j = 0; j < n; j += VL) {
        const int m = n - j < VL ? (int)(n - j) : VL;
        vec best = TYPED(every)(x + j * s, s, m);
        vec_int which = {0};
        for (ptrdiff_t ii = 0; ii < fh; ii++)
            for (ptrdiff_t jj = 0; jj < fw; jj++) {
                const vec v = TYPED(every)(x + ii * w + jj + j * s, s, m);
                const vec_int mask = TYPED(replaces)(best, v);
                best = TYPED(choose)(mask, best, v);
                which = (which & ~mask) | (mask & (lane_int)(ii * fw + jj));
            }
        vec_store(out + j, best, m);
        if (narrow != NULL) {
            const codes k = __builtin_convertvector(which, codes);
            if (m == VL) memcpy(narrow + j, &k, VL);
            else for (int i = 0; i < m; i++) narrow[j + i] = k[i];
        } else {
            const words_of k = __builtin_convertvector(which, words_of);
            for (int i = 0; i < m; i++) wide[j + i] = k[i];
        }
    }
}

static void TYPED(pool2x2)(const real *upper, const real *lower, ptrdiff_t n, /* IN */
                               real *out, unsigned char *code)                         /* OUT */
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
        const vec_int ab = TYPED(replaces)(a, b), cd = TYPED(replaces)(c, d);
        const vec high = TYPED(choose)(ab, a, b), low = TYPED(choose)(cd, c, d);
        const vec_int down = TYPED(replaces)(high, low);
        const vec_int k = (ab & ~down & (lane_int)1) | (down & ((cd & (lane_int)1) | (lane_int)2));
        const codes bytes = __builtin_convertvector(k, codes);
        vec_store(out + j, TYPED(choose)(down, high, low), m);
        if (m == VL) memcpy(code + j, &bytes, VL);
        else for (int i = 0; i < m; i++) code[j + i] = bytes[i];
    }
}

static void TYPED(unpool2x2)(const real *dout, const unsigned char *code, ptrdiff_t n, /* IN */
                                 real *upper, real *lower)                            /* OUT */
{
    vec_int side; /* 0 1 0 1 ... */
    for (int i = 0; i < VL; i++) side[i] = i & 1;
    for (ptrdiff_t j = 0; j < n; j += VL) {
        const int m = n - j < VL ? (int)(n - j) : VL;
        const int first = 2 * m < VL ? 2 * m : VL, second = 2 * m - first;
        const vec g = vec_load(dout + j, m);
        codes bytes = {0};
        if (m == VL) memcpy(&bytes, code + j, VL);
        else for (int i = 0; i < m; i++) bytes[i] = code[j + i];
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

#else /* no vector extensions: the same functions in plain loops */

static void TYPED(pool_row)(const real *x, ptrdiff_t w, ptrdiff_t fh, ptrdiff_t fw, ptrdiff_t s,
                                ptrdiff_t n, real *out, unsigned char *narrow, int *wide)
{
    for (ptrdiff_t j = 0; j < n; j++) {
        real best = x[j * s];
        ptrdiff_t which = 0;
        for (ptrdiff_t ii = 0; ii < fh; ii++)
            for (ptrdiff_t jj = 0; jj < fw; jj++) {
                const real v = x[ii * w + jj + j * s];
                if (!(v <= best) && best == best) {
                    best = v;
                    which = ii * fw + jj;
                }
            }
        out[j] = best;
        if (narrow != NULL) narrow[j] = (unsigned char)which;
        else wide[j] = (int)which;
    }
}

static void TYPED(pool2x2)(const real *upper, const real *lower, ptrdiff_t n,
                               real *out, unsigned char *code)
{
    for (ptrdiff_t j = 0; j < n; j++) {
        const real v[4] = {upper[2 * j], upper[2 * j + 1], lower[2 * j], lower[2 * j + 1]};
        int best = 0;
        for (int k = 1; k < 4; k++)
            if (!(v[k] <= v[best]) && v[best] == v[best]) best = k;
        out[j] = v[best];
        code[j] = (unsigned char)best;
    }
}

static void TYPED(unpool2x2)(const real *dout, const unsigned char *code, ptrdiff_t n,
                                 real *upper, real *lower)
{
    for (ptrdiff_t j = 0; j < n; j++) {
        upper[2 * j] = code[j] == 0 ? dout[j] : 0;
        upper[2 * j + 1] = code[j] == 1 ? dout[j] : 0;
        lower[2 * j] = code[j] == 2 ? dout[j] : 0;
        lower[2 * j + 1] = code[j] == 3 ? dout[j] : 0;
    }
}

#endif

#undef codes
#undef words_of
#endif
