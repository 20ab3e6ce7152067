/* Max pooling, one row of windows at a time: any window, and 2 x 2 two apart in fewer steps.

   One source for float and double: the file includes itself once per type (see the end).
   A code is the place of the maximum in its window, counted row by row: ii * fw + jj. */

#ifndef DASE_TYPE /* ---- once ---- */
#ifndef DASE_POOL_ROWS_H
#define DASE_POOL_ROWS_H

#include "product/shuffles.h"

#define DASE_TWICE(l, s) ((s) + (l) / 2)     /* lanes s, s, s + 1, s + 1, ... */

#define DASE_TYPE float
#define DASE_INT int
#define DASE_VL DASE_VL_FLOAT
#include "pool_rows.h"
#undef DASE_TYPE
#undef DASE_INT
#undef DASE_VL
#define DASE_TYPE double
#define DASE_INT long long
#define DASE_VL DASE_VL_DOUBLE
#include "pool_rows.h"
#undef DASE_TYPE
#undef DASE_INT
#undef DASE_VL

#endif
#else /* ---- once per type ---- */

#define vec DASE_NAME(vec)
#define vec_at DASE_NAME(vec_at)
#define vec_int DASE_NAME(vec_int)
#define codes DASE_NAME(codes)
#define words_of DASE_NAME(words)

#if defined(DASE_VECTORS) && defined(DASE_SHUFFLES)

typedef unsigned char codes __attribute__((vector_size(DASE_VL)));
typedef int words_of __attribute__((vector_size(4 * DASE_VL)));

/* Lanes in which b takes the place of a: b is larger, or the first NaN. */
static inline vec_int DASE_NAME(replaces)(vec a, vec b) { return (vec_int)(~(vec_int)(b <= a) & (vec_int)(a == a)); }
static inline vec DASE_NAME(choose)(vec_int mask, vec a, vec b)
{
    return (vec)(((vec_int)b & mask) | ((vec_int)a & ~mask));
}

/* x[0], x[s], ..., m of them; nothing else is read but what lies between. */
static inline vec DASE_NAME(every)(const DASE_TYPE *x, ptrdiff_t s, int m)
{
    if (s == 1) return DASE_NAME(load)(x, m);
    if (s == 2) {
        const int span = 2 * m - 1, first = span < DASE_VL ? span : DASE_VL, second = span - first;
        const vec low = DASE_NAME(load)(x, first), high = DASE_NAME(load)(second ? x + DASE_VL : x, second);
        return __builtin_shufflevector(low, high, DASE_LANES(DASE_EVEN, 0));
    }
    DASE_TYPE taken[DASE_VL];
    for (int i = 0; i < DASE_VL; i++) taken[i] = i < m ? x[i * s] : 0;
    return *(const vec_at *)taken;
}

/* x: the upper left corner of the first of n windows; narrow or wide takes the codes. */
static void DASE_NAME(pool_row)(const DASE_TYPE *x, ptrdiff_t w, ptrdiff_t fh, ptrdiff_t fw, ptrdiff_t s,
                                ptrdiff_t n,                                             /* IN */
                                DASE_TYPE *out, unsigned char *narrow, int *wide)        /* OUT */
{
    for (ptrdiff_t j = 0; j < n; j += DASE_VL) {
        const int m = n - j < DASE_VL ? (int)(n - j) : DASE_VL;
        vec best = DASE_NAME(every)(x + j * s, s, m);
        vec_int which = {0};
        for (ptrdiff_t ii = 0; ii < fh; ii++)
            for (ptrdiff_t jj = 0; jj < fw; jj++) {
                const vec v = DASE_NAME(every)(x + ii * w + jj + j * s, s, m);
                const vec_int mask = DASE_NAME(replaces)(best, v);
                best = DASE_NAME(choose)(mask, best, v);
                which = (which & ~mask) | (mask & (DASE_INT)(ii * fw + jj));
            }
        DASE_NAME(store)(out + j, best, m);
        if (narrow != NULL) {
            const codes k = __builtin_convertvector(which, codes);
            if (m == DASE_VL) memcpy(narrow + j, &k, DASE_VL);
            else for (int i = 0; i < m; i++) narrow[j + i] = k[i];
        } else {
            const words_of k = __builtin_convertvector(which, words_of);
            for (int i = 0; i < m; i++) wide[j + i] = k[i];
        }
    }
}

static void DASE_NAME(pool2x2)(const DASE_TYPE *upper, const DASE_TYPE *lower, ptrdiff_t n, /* IN */
                               DASE_TYPE *out, unsigned char *code)                         /* OUT */
{
    for (ptrdiff_t j = 0; j < n; j += DASE_VL) {
        const int m = n - j < DASE_VL ? (int)(n - j) : DASE_VL;
        const int first = 2 * m < DASE_VL ? 2 * m : DASE_VL, second = 2 * m - first;
        const ptrdiff_t next = second ? DASE_VL : 0; /* no pointer past the row */
        const vec u0 = DASE_NAME(load)(upper + 2 * j, first), u1 = DASE_NAME(load)(upper + 2 * j + next, second);
        const vec l0 = DASE_NAME(load)(lower + 2 * j, first), l1 = DASE_NAME(load)(lower + 2 * j + next, second);
        const vec a = __builtin_shufflevector(u0, u1, DASE_LANES(DASE_EVEN, 0));
        const vec b = __builtin_shufflevector(u0, u1, DASE_LANES(DASE_EVEN, 1));
        const vec c = __builtin_shufflevector(l0, l1, DASE_LANES(DASE_EVEN, 0));
        const vec d = __builtin_shufflevector(l0, l1, DASE_LANES(DASE_EVEN, 1));
        const vec_int ab = DASE_NAME(replaces)(a, b), cd = DASE_NAME(replaces)(c, d);
        const vec high = DASE_NAME(choose)(ab, a, b), low = DASE_NAME(choose)(cd, c, d);
        const vec_int down = DASE_NAME(replaces)(high, low);
        const vec_int k = (ab & ~down & (DASE_INT)1) | (down & ((cd & (DASE_INT)1) | (DASE_INT)2));
        const codes bytes = __builtin_convertvector(k, codes);
        DASE_NAME(store)(out + j, DASE_NAME(choose)(down, high, low), m);
        if (m == DASE_VL) memcpy(code + j, &bytes, DASE_VL);
        else for (int i = 0; i < m; i++) code[j + i] = bytes[i];
    }
}

static void DASE_NAME(unpool2x2)(const DASE_TYPE *dout, const unsigned char *code, ptrdiff_t n, /* IN */
                                 DASE_TYPE *upper, DASE_TYPE *lower)                            /* OUT */
{
    vec_int side; /* 0 1 0 1 ... */
    for (int i = 0; i < DASE_VL; i++) side[i] = i & 1;
    for (ptrdiff_t j = 0; j < n; j += DASE_VL) {
        const int m = n - j < DASE_VL ? (int)(n - j) : DASE_VL;
        const int first = 2 * m < DASE_VL ? 2 * m : DASE_VL, second = 2 * m - first;
        const vec g = DASE_NAME(load)(dout + j, m);
        codes bytes = {0};
        if (m == DASE_VL) memcpy(&bytes, code + j, DASE_VL);
        else for (int i = 0; i < m; i++) bytes[i] = code[j + i];
        const vec_int k = __builtin_convertvector(bytes, vec_int);
        const vec_int g0 = (vec_int)__builtin_shufflevector(g, g, DASE_LANES(DASE_TWICE, 0));
        const vec_int k0 = __builtin_shufflevector(k, k, DASE_LANES(DASE_TWICE, 0));
        DASE_NAME(store)(upper + 2 * j, (vec)(g0 & (k0 == side)), first);
        DASE_NAME(store)(lower + 2 * j, (vec)(g0 & (k0 == side + (DASE_INT)2)), first);
        if (second) {
            const vec_int g1 = (vec_int)__builtin_shufflevector(g, g, DASE_LANES(DASE_TWICE, DASE_VL / 2));
            const vec_int k1 = __builtin_shufflevector(k, k, DASE_LANES(DASE_TWICE, DASE_VL / 2));
            DASE_NAME(store)(upper + 2 * j + DASE_VL, (vec)(g1 & (k1 == side)), second);
            DASE_NAME(store)(lower + 2 * j + DASE_VL, (vec)(g1 & (k1 == side + (DASE_INT)2)), second);
        }
    }
}

#else /* no vector extensions: the same functions in plain loops */

static void DASE_NAME(pool_row)(const DASE_TYPE *x, ptrdiff_t w, ptrdiff_t fh, ptrdiff_t fw, ptrdiff_t s,
                                ptrdiff_t n, DASE_TYPE *out, unsigned char *narrow, int *wide)
{
    for (ptrdiff_t j = 0; j < n; j++) {
        DASE_TYPE best = x[j * s];
        ptrdiff_t which = 0;
        for (ptrdiff_t ii = 0; ii < fh; ii++)
            for (ptrdiff_t jj = 0; jj < fw; jj++) {
                const DASE_TYPE v = x[ii * w + jj + j * s];
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

static void DASE_NAME(pool2x2)(const DASE_TYPE *upper, const DASE_TYPE *lower, ptrdiff_t n,
                               DASE_TYPE *out, unsigned char *code)
{
    for (ptrdiff_t j = 0; j < n; j++) {
        const DASE_TYPE v[4] = {upper[2 * j], upper[2 * j + 1], lower[2 * j], lower[2 * j + 1]};
        int best = 0;
        for (int k = 1; k < 4; k++)
            if (!(v[k] <= v[best]) && v[best] == v[best]) best = k;
        out[j] = v[best];
        code[j] = (unsigned char)best;
    }
}

static void DASE_NAME(unpool2x2)(const DASE_TYPE *dout, const unsigned char *code, ptrdiff_t n,
                                 DASE_TYPE *upper, DASE_TYPE *lower)
{
    for (ptrdiff_t j = 0; j < n; j++) {
        upper[2 * j] = code[j] == 0 ? dout[j] : 0;
        upper[2 * j + 1] = code[j] == 1 ? dout[j] : 0;
        lower[2 * j] = code[j] == 2 ? dout[j] : 0;
        lower[2 * j + 1] = code[j] == 3 ? dout[j] : 0;
    }
}

#endif

#undef vec
#undef vec_at
#undef vec_int
#undef codes
#undef words_of
#endif
