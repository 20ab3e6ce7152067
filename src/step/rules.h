/* Update rules applied to a gradient while it is still in registers.

   One source for float and double, as product/microkernel.h. A rule reads the gradient, the parameter and
   its state, and writes the next parameter and state: one pass over memory. In a training step
   these are the same arrays, and the gradient of a matrix is never stored. DASE_STORE writes the
   gradient instead.

   Multiply-adds are spelled out: left to the compiler they depend on where the code stands, and
   the step and the update rules called by themselves would differ in the last bit. */

#ifndef DASE_TYPE /* ---- once ---- */
#ifndef DASE_UPDATE_H
#define DASE_UPDATE_H

#include <math.h>
#include "product/microkernel.h"
#if defined(DASE_VECTORS) && defined(__SSE2__)
#include <immintrin.h>
#endif

#define DASE_STORE 0
#define DASE_SGD 1
#define DASE_MOMENTUM 2
#define DASE_RMSPROP 3
#define DASE_ADAM 4

/* A parameter and its rule, for both types. */
typedef struct {
    const void *w, *first, *second;         /* IN */
    void *next_w, *next_first, *next_second; /* OUT, may be the same arrays */
    void *grad;                             /* OUT, DASE_STORE only */
    double rate, keep1, keep2, eps, scale, reg;
} dase_param;

#define DASE_TYPE float
#define DASE_INT int
#define DASE_VL DASE_VL_FLOAT
#include "step/rules.h"
#undef DASE_TYPE
#undef DASE_INT
#undef DASE_VL
#define DASE_TYPE double
#define DASE_INT long long
#define DASE_VL DASE_VL_DOUBLE
#include "step/rules.h"
#undef DASE_TYPE
#undef DASE_INT
#undef DASE_VL

#endif
#else /* ---- once per type ---- */

#define vec DASE_NAME(vec)
#define vec_at DASE_NAME(vec_at)

/* One parameter. first and second are the state: velocity, or cache, or m and v. */
typedef struct {
    int rule;
    DASE_TYPE rate;             /* adam: divided by 1 - beta1 ** t */
    DASE_TYPE keep1, take1;     /* beta1 and 1 - beta1; momentum; decay rate and 1 - decay rate */
    DASE_TYPE keep2, take2;     /* beta2 and 1 - beta2 */
    DASE_TYPE eps, scale;       /* scale: 1 / (1 - beta2 ** t) */
    DASE_TYPE reg;              /* the gradient gets reg * w on top */
    const DASE_TYPE *w, *first, *second;               /* IN */
    DASE_TYPE *next_w, *next_first, *next_second;      /* OUT, may be the same arrays */
    DASE_TYPE *grad;                                   /* OUT, DASE_STORE only */
} DASE_NAME(update);

static DASE_NAME(update) DASE_NAME(update_of)(const dase_param *p, int rule)
{
    const DASE_NAME(update) u = {
        rule, (DASE_TYPE)p->rate, (DASE_TYPE)p->keep1, (DASE_TYPE)(1 - p->keep1), (DASE_TYPE)p->keep2,
        (DASE_TYPE)(1 - p->keep2), (DASE_TYPE)p->eps, (DASE_TYPE)p->scale, (DASE_TYPE)p->reg,
        p->w, p->first, p->second, p->next_w, p->next_first, p->next_second, p->grad,
    };
    return u;
}

/* A tile of the parameter and its state, which is updated next. */
static inline void DASE_NAME(ask_tile)(const DASE_NAME(update) *u, dase_asks *asks, ptrdiff_t rows, ptrdiff_t cols,
                                       ptrdiff_t at, ptrdiff_t ld)
{
    const ptrdiff_t bytes = cols * (ptrdiff_t)sizeof(DASE_TYPE);
    if (u->rule == DASE_STORE) return;
    for (ptrdiff_t i = 0; i < rows; i++, at += ld) {
        dase_ask(asks, u->w + at, bytes);
        if (u->rule >= DASE_MOMENTUM) dase_ask(asks, u->first + at, bytes);
        if (u->rule == DASE_ADAM) dase_ask(asks, u->second + at, bytes);
    }
}

/* The lines of one element. */
static inline void DASE_NAME(ask_element)(const DASE_NAME(update) *u, ptrdiff_t at)
{
    if (u->rule == DASE_STORE) return;
    DASE_ASK(u->w + at);
    if (u->rule >= DASE_MOMENTUM) DASE_ASK(u->first + at);
    if (u->rule == DASE_ADAM) DASE_ASK(u->second + at);
}

#ifdef DASE_VECTORS

static inline vec DASE_NAME(root)(vec v)
{
#if defined(__AVX512F__)
    if (sizeof(DASE_TYPE) == 4) return (vec)_mm512_sqrt_ps((__m512)v);
    return (vec)_mm512_sqrt_pd((__m512d)v);
#elif defined(__AVX2__)
    if (sizeof(DASE_TYPE) == 4) return (vec)_mm256_sqrt_ps((__m256)v);
    return (vec)_mm256_sqrt_pd((__m256d)v);
#elif defined(__SSE2__)
    if (sizeof(DASE_TYPE) == 4) return (vec)_mm_sqrt_ps((__m128)v);
    return (vec)_mm_sqrt_pd((__m128d)v);
#else
    for (int i = 0; i < DASE_VL; i++) v[i] = sizeof(DASE_TYPE) == 4 ? sqrtf(v[i]) : sqrt(v[i]);
    return v;
#endif
}

static inline vec DASE_NAME(all)(DASE_TYPE x) { return x - (vec){0}; }

/* a * b + c, rounded once where the instruction set can. */
static inline vec DASE_NAME(fma)(vec a, vec b, vec c)
{
#if defined(__AVX512F__)
    if (sizeof(DASE_TYPE) == 4) return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
    return (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__AVX2__)
    if (sizeof(DASE_TYPE) == 4) return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
    return (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#else
    return a * b + c;
#endif
}

/* n elements at `at`, with gradient g. */
static inline void DASE_NAME(update_vec)(const DASE_NAME(update) *u, int rule, vec g, ptrdiff_t at, int n,
                                         vec *squares)
{
    vec w = {0}, s, t;
    if (rule != DASE_STORE || squares != NULL) w = DASE_NAME(load)(u->w + at, n);
    if (squares != NULL) {
        *squares = DASE_NAME(fma)(w, w, *squares);
        g = DASE_NAME(fma)(DASE_NAME(all)(u->reg), w, g);
    }
    if (rule == DASE_STORE) {
        DASE_NAME(store)(u->grad + at, g, n);
        return;
    }
    if (rule == DASE_SGD) {
        w = DASE_NAME(fma)(DASE_NAME(all)(-u->rate), g, w);
    } else if (rule == DASE_MOMENTUM) {
        s = DASE_NAME(fma)(DASE_NAME(all)(u->keep1), DASE_NAME(load)(u->first + at, n), -(u->rate * g));
        DASE_NAME(store)(u->next_first + at, s, n);
        w += s;
    } else if (rule == DASE_RMSPROP) {
        s = DASE_NAME(fma)(DASE_NAME(all)(u->keep1), DASE_NAME(load)(u->first + at, n), u->take1 * (g * g));
        DASE_NAME(store)(u->next_first + at, s, n);
        w -= u->rate * g / (DASE_NAME(root)(s) + u->eps);
    } else {
        s = DASE_NAME(fma)(DASE_NAME(all)(u->keep1), DASE_NAME(load)(u->first + at, n), u->take1 * g);
        t = DASE_NAME(fma)(DASE_NAME(all)(u->keep2), DASE_NAME(load)(u->second + at, n), u->take2 * (g * g));
        DASE_NAME(store)(u->next_first + at, s, n);
        DASE_NAME(store)(u->next_second + at, t, n);
        w -= u->rate * s / (DASE_NAME(root)(t * u->scale) + u->eps);
    }
    DASE_NAME(store)(u->next_w + at, w, n);
}

/* A whole vector, whatever the rule. */
static inline void DASE_NAME(update_any)(const DASE_NAME(update) *u, vec g, ptrdiff_t at, vec *squares)
{
#define DASE_CASE(RULE)                                                                       \
    case RULE:                                                                                \
        if (u->reg != 0) DASE_NAME(update_vec)(u, RULE, g, at, DASE_VL, squares);             \
        else DASE_NAME(update_vec)(u, RULE, g, at, DASE_VL, NULL);                            \
        break;
    switch (u->rule) {
        DASE_CASE(DASE_STORE) DASE_CASE(DASE_SGD) DASE_CASE(DASE_MOMENTUM)
        DASE_CASE(DASE_RMSPROP) DASE_CASE(DASE_ADAM)
    }
#undef DASE_CASE
}

static inline void DASE_NAME(update_rows)(const DASE_NAME(update) *u, int rule, const vec *tile, int nv,
                                          int rows, int cols, ptrdiff_t at, ptrdiff_t ld, vec *squares)
{
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < nv; v++) {
            const int from = v * DASE_VL, n = cols - from < DASE_VL ? cols - from : DASE_VL;
            DASE_NAME(update_vec)(u, rule, tile[i * nv + v], at + i * ld + from, n, squares);
        }
}

static inline double DASE_NAME(lane_sum)(vec v)
{
    double total = 0;
    for (int i = 0; i < DASE_VL; i++) total += v[i];
    return total;
}

/* The update by a tile of a gradient, nv vectors a row; the parameter's tile begins at element `at`
   and its rows are ld apart. Returns the sum of squares of the parameter before, 0 without reg. */
static inline double DASE_NAME(update_by)(const DASE_NAME(update) *u, const vec *tile, int nv, int rows, int cols,
                                          ptrdiff_t at, ptrdiff_t ld)
{
    vec squares = {0};
#define DASE_CASE(RULE)                                                                       \
    case RULE:                                                                                \
        if (u->reg != 0) DASE_NAME(update_rows)(u, RULE, tile, nv, rows, cols, at, ld, &squares); \
        else DASE_NAME(update_rows)(u, RULE, tile, nv, rows, cols, at, ld, NULL);             \
        break;
    switch (u->rule) {
        DASE_CASE(DASE_STORE) DASE_CASE(DASE_SGD) DASE_CASE(DASE_MOMENTUM)
        DASE_CASE(DASE_RMSPROP) DASE_CASE(DASE_ADAM)
    }
#undef DASE_CASE
    return u->reg != 0 ? DASE_NAME(lane_sum)(squares) : 0;
}

/* The tile of a gradient, and its update. */
static double DASE_NAME(update_tile)(const DASE_NAME(job) *p, int rows, int cols, ptrdiff_t kc,
                                     const DASE_NAME(update) *u, ptrdiff_t at, ptrdiff_t ld)
{
    vec tile[2 * DASE_MR];
    const int nv = DASE_NAME(sums)(p, rows, cols, kc, tile);
    if (p->flags & DASE_ADD)
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < nv; v++) {
                const int from = v * DASE_VL, n = cols - from < DASE_VL ? cols - from : DASE_VL;
                tile[i * nv + v] += DASE_NAME(load)(p->c + i * p->ldc + v * p->cvs, n);
            }
    return DASE_NAME(update_by)(u, tile, nv, rows, cols, at, ld);
}

/* The same for n gradients that lie in memory. */
static void DASE_NAME(update_vector)(const DASE_NAME(update) *u, const DASE_TYPE *g, ptrdiff_t at, ptrdiff_t n)
{
#define DASE_CASE(RULE)                                                                       \
    case RULE:                                                                                \
        for (; i + DASE_VL <= n; i += DASE_VL)                                                \
            DASE_NAME(update_vec)(u, RULE, *(const vec_at *)(g + i), at + i, DASE_VL, NULL);  \
        if (i < n)                                                                            \
            DASE_NAME(update_vec)(u, RULE, DASE_NAME(load)(g + i, (int)(n - i)), at + i, (int)(n - i), NULL); \
        break;
    ptrdiff_t i = 0;
    switch (u->rule) {
        DASE_CASE(DASE_STORE) DASE_CASE(DASE_SGD) DASE_CASE(DASE_MOMENTUM)
        DASE_CASE(DASE_RMSPROP) DASE_CASE(DASE_ADAM)
    }
#undef DASE_CASE
}

#else /* no vector extensions */

static inline DASE_TYPE DASE_NAME(root)(DASE_TYPE v) { return (DASE_TYPE)sqrt(v); }

static void DASE_NAME(update_one)(const DASE_NAME(update) *u, DASE_TYPE g, ptrdiff_t at)
{
    DASE_TYPE s, t;
    if (u->reg != 0) g += u->reg * u->w[at];
    switch (u->rule) {
    case DASE_STORE: u->grad[at] = g; break;
    case DASE_SGD: u->next_w[at] = u->w[at] - u->rate * g; break;
    case DASE_MOMENTUM:
        s = u->next_first[at] = u->keep1 * u->first[at] - u->rate * g;
        u->next_w[at] = u->w[at] + s;
        break;
    case DASE_RMSPROP:
        s = u->next_first[at] = u->keep1 * u->first[at] + u->take1 * (g * g);
        u->next_w[at] = u->w[at] - u->rate * g / (DASE_NAME(root)(s) + u->eps);
        break;
    default:
        s = u->next_first[at] = u->keep1 * u->first[at] + u->take1 * g;
        t = u->next_second[at] = u->keep2 * u->second[at] + u->take2 * (g * g);
        u->next_w[at] = u->w[at] - u->rate * s / (DASE_NAME(root)(t * u->scale) + u->eps);
    }
}

static double DASE_NAME(update_tile)(const DASE_NAME(job) *p, int rows, int cols, ptrdiff_t kc,
                                     const DASE_NAME(update) *u, ptrdiff_t at, ptrdiff_t ld)
{
    DASE_TYPE tile[2 * DASE_MR * DASE_VL];
    double total = 0;
    const int nv = DASE_NAME(sums)(p, rows, cols, kc, tile);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) {
            DASE_TYPE g = tile[i * nv * DASE_VL + j];
            const DASE_TYPE w = u->w[at + i * ld + j];
            if (p->flags & DASE_ADD) g += p->c[i * p->ldc + (j < DASE_VL ? j : j - DASE_VL + p->cvs)];
            if (u->reg != 0) total += (double)w * w;
            DASE_NAME(update_one)(u, g, at + i * ld + j);
        }
    return total;
}

static void DASE_NAME(update_vector)(const DASE_NAME(update) *u, const DASE_TYPE *g, ptrdiff_t at, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) DASE_NAME(update_one)(u, g[i], at + i);
}

#endif

#undef vec
#undef vec_at
#endif
