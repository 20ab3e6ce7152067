/* Update rules applied to a gradient while it is still in registers.

   One source for float and double, as product/microkernel.h. A rule reads the gradient, the parameter and
   its state, and writes the next parameter and state: one pass over memory. In a training step
   these are the same arrays, and the gradient of a matrix is never stored. STORE writes the
   gradient instead.

   Multiply-adds are spelled out: left to the compiler they depend on where the code stands, and
   the step and the update rules called by themselves would differ in the last bit. */

#ifndef real /* ---- once ---- */
#ifndef UPDATE_H
#define UPDATE_H

#include <math.h>
#include "product/microkernel.h"

#define STORE 0
#define SGD 1
#define MOMENTUM 2
#define RMSPROP 3
#define ADAM 4

/* A parameter and its rule, for both types. */
typedef struct {
    const void *w, *first, *second;         /* IN */
    void *next_w, *next_first, *next_second; /* OUT, may be the same arrays */
    void *grad;                             /* OUT, STORE only */
    double rate, keep1, keep2, eps, scale, reg;
} rule_param;

#define EACH_TYPE "step/rules.h"
#include "each_type.h"

#endif
#else /* ---- once per type ---- */


/* One parameter. first and second are the state: velocity, or cache, or m and v. */
typedef struct {
    int rule;
    real rate;             /* adam: divided by 1 - beta1 ** t */
    real keep1, take1;     /* beta1 and 1 - beta1; momentum; decay rate and 1 - decay rate */
    real keep2, take2;     /* beta2 and 1 - beta2 */
    real eps, scale;       /* scale: 1 / (1 - beta2 ** t) */
    real reg;              /* the gradient gets reg * w on top */
    const real *w, *first, *second;               /* IN */
    real *next_w, *next_first, *next_second;      /* OUT, may be the same arrays */
    real *grad;                                   /* OUT, STORE only */
} TYPED(update);

static TYPED(update) TYPED(update_of)(const rule_param *p, int rule)
{
    const TYPED(update) u = {
        rule, (real)p->rate, (real)p->keep1, (real)(1 - p->keep1), (real)p->keep2,
        (real)(1 - p->keep2), (real)p->eps, (real)p->scale, (real)p->reg,
        p->w, p->first, p->second, p->next_w, p->next_first, p->next_second, p->grad,
    };
    return u;
}

/* A tile of the parameter and its state, which is updated next. */
static inline void TYPED(ask_tile)(const TYPED(update) *u, prefetch_list *asks, ptrdiff_t rows, ptrdiff_t cols,
                                       ptrdiff_t at, ptrdiff_t ld)
{
    const ptrdiff_t bytes = cols * (ptrdiff_t)sizeof(real);
    if (u->rule == STORE) return;
    for (ptrdiff_t i = 0; i < rows; i++, at += ld) {
        prefetch_range(asks, u->w + at, bytes);
        if (u->rule >= MOMENTUM) prefetch_range(asks, u->first + at, bytes);
        if (u->rule == ADAM) prefetch_range(asks, u->second + at, bytes);
    }
}

/* The lines of one element. */
static inline void TYPED(ask_element)(const TYPED(update) *u, ptrdiff_t at)
{
    if (u->rule == STORE) return;
    PREFETCH(u->w + at);
    if (u->rule >= MOMENTUM) PREFETCH(u->first + at);
    if (u->rule == ADAM) PREFETCH(u->second + at);
}

#ifdef HAVE_VECTORS

/* n elements at `at`, with gradient g. */
static inline void TYPED(update_vec)(const TYPED(update) *u, int rule, vec g, ptrdiff_t at, int n,
                                         vec *squares)
{
    vec w = {0}, s, t;
    if (rule != STORE || squares != NULL) w = vec_load(u->w + at, n);
    if (squares != NULL) {
        *squares = vec_fma(w, w, *squares);
        g = vec_fma(vec_fill(u->reg), w, g);
    }
    if (rule == STORE) {
        vec_store(u->grad + at, g, n);
        return;
    }
    if (rule == SGD) {
        w = vec_fma(vec_fill(-u->rate), g, w);
    } else if (rule == MOMENTUM) {
        s = vec_fma(vec_fill(u->keep1), vec_load(u->first + at, n), -(u->rate * g));
        vec_store(u->next_first + at, s, n);
        w += s;
    } else if (rule == RMSPROP) {
        s = vec_fma(vec_fill(u->keep1), vec_load(u->first + at, n), u->take1 * (g * g));
        vec_store(u->next_first + at, s, n);
        w -= u->rate * g / (vec_sqrt(s) + u->eps);
    } else {
        s = vec_fma(vec_fill(u->keep1), vec_load(u->first + at, n), u->take1 * g);
        t = vec_fma(vec_fill(u->keep2), vec_load(u->second + at, n), u->take2 * (g * g));
        vec_store(u->next_first + at, s, n);
        vec_store(u->next_second + at, t, n);
        w -= u->rate * s / (vec_sqrt(t * u->scale) + u->eps);
    }
    vec_store(u->next_w + at, w, n);
}

/* A whole vector, whatever the rule. */
static inline void TYPED(update_any)(const TYPED(update) *u, vec g, ptrdiff_t at, vec *squares)
{
#define CASE(RULE)                                                                           \
    case RULE:                                                                               \
        if (u->reg != 0) TYPED(update_vec)(u, RULE, g, at, VL, squares);                     \
        else TYPED(update_vec)(u, RULE, g, at, VL, NULL);                                    \
        break;
    switch (u->rule) {
        CASE(STORE) CASE(SGD) CASE(MOMENTUM)
        CASE(RMSPROP) CASE(ADAM)
    }
#undef CASE
}

static inline void TYPED(update_rows)(const TYPED(update) *u, int rule, const vec *tile, int nv,
                                          int rows, int cols, ptrdiff_t at, ptrdiff_t ld, vec *squares)
{
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < nv; v++) {
            const int from = v * VL, n = cols - from < VL ? cols - from : VL;
            TYPED(update_vec)(u, rule, tile[i * nv + v], at + i * ld + from, n, squares);
        }
}

/* The update by a tile of a gradient, nv vectors a row; the parameter's tile begins at element `at`
   and its rows are ld apart. Returns the sum of squares of the parameter before, 0 without reg. */
static inline double TYPED(update_by)(const TYPED(update) *u, const vec *tile, int nv, int rows, int cols,
                                          ptrdiff_t at, ptrdiff_t ld)
{
    vec squares = {0};
#define CASE(RULE)                                                                           \
    case RULE:                                                                               \
        if (u->reg != 0) TYPED(update_rows)(u, RULE, tile, nv, rows, cols, at, ld, &squares); \
        else TYPED(update_rows)(u, RULE, tile, nv, rows, cols, at, ld, NULL);                \
        break;
    switch (u->rule) {
        CASE(STORE) CASE(SGD) CASE(MOMENTUM)
        CASE(RMSPROP) CASE(ADAM)
    }
#undef CASE
    return u->reg != 0 ? vec_total(squares) : 0;
}

/* The tile of a gradient, and its update. */
static double TYPED(update_tile)(const tile_args *p, const real *c, int rows, int cols, ptrdiff_t kc,
                                     const TYPED(update) *u, ptrdiff_t at, ptrdiff_t ld)
{
    vec tile[2 * MR];
    const int nv = tile_sums(p, rows, cols, kc, tile);
    if (p->flags & TILE_ADD)
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < nv; v++) {
                const int from = v * VL, n = cols - from < VL ? cols - from : VL;
                tile[i * nv + v] += vec_load(c + i * p->ldc + v * p->cvs, n);
            }
    return TYPED(update_by)(u, tile, nv, rows, cols, at, ld);
}

/* The same for n gradients that lie in memory. */
static void TYPED(update_vector)(const TYPED(update) *u, const real *g, ptrdiff_t at, ptrdiff_t n)
{
#define CASE(RULE)                                                                           \
    case RULE:                                                                               \
        for (; i + VL <= n; i += VL)                                                         \
            TYPED(update_vec)(u, RULE, *(const vec_at *)(g + i), at + i, VL, NULL);          \
        if (i < n)                                                                           \
            TYPED(update_vec)(u, RULE, vec_load(g + i, (int)(n - i)), at + i, (int)(n - i), NULL); \
        break;
    ptrdiff_t i = 0;
    switch (u->rule) {
        CASE(STORE) CASE(SGD) CASE(MOMENTUM)
        CASE(RMSPROP) CASE(ADAM)
    }
#undef CASE
}

#else /* no vector extensions */

static inline real TYPED(scalar_sqrt)(real v) { return (real)sqrt(v); }

static void TYPED(update_one)(const TYPED(update) *u, real g, ptrdiff_t at)
{
    real s, t;
    if (u->reg != 0) g += u->reg * u->w[at];
    switch (u->rule) {
    case STORE: u->grad[at] = g; break;
    case SGD: u->next_w[at] = u->w[at] - u->rate * g; break;
    case MOMENTUM:
        s = u->next_first[at] = u->keep1 * u->first[at] - u->rate * g;
        u->next_w[at] = u->w[at] + s;
        break;
    case RMSPROP:
        s = u->next_first[at] = u->keep1 * u->first[at] + u->take1 * (g * g);
        u->next_w[at] = u->w[at] - u->rate * g / (TYPED(scalar_sqrt)(s) + u->eps);
        break;
    default:
        s = u->next_first[at] = u->keep1 * u->first[at] + u->take1 * g;
        t = u->next_second[at] = u->keep2 * u->second[at] + u->take2 * (g * g);
        u->next_w[at] = u->w[at] - u->rate * s / (TYPED(scalar_sqrt)(t * u->scale) + u->eps);
    }
}

static double TYPED(update_tile)(const tile_args *p, const real *c, int rows, int cols, ptrdiff_t kc,
                                     const TYPED(update) *u, ptrdiff_t at, ptrdiff_t ld)
{
    real tile[2 * MR * VL];
    double total = 0;
    const int nv = tile_sums(p, rows, cols, kc, tile);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) {
            real g = tile[i * nv * VL + j];
            const real w = u->w[at + i * ld + j];
            if (p->flags & TILE_ADD) g += c[i * p->ldc + (j < VL ? j : j - VL + p->cvs)];
            if (u->reg != 0) total += (double)w * w;
            TYPED(update_one)(u, g, at + i * ld + j);
        }
    return total;
}

static void TYPED(update_vector)(const TYPED(update) *u, const real *g, ptrdiff_t at, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) TYPED(update_one)(u, g[i], at + i);
}

#endif

#endif
