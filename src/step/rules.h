/* Update rules: the arithmetic, applied to a gradient while it is still in registers.

   A rule reads the gradient, the parameter and its state, and writes the next parameter and state: one pass
   over memory. In a training step these are the same arrays, and the gradient of a matrix is never stored.
   STORE writes the gradient instead.

   Multiply-adds are spelled out: left to the compiler they depend on where the code stands, and
   the step and the update rules called by themselves would differ in the last bit. */

#ifndef real /* ---- once: what both types share ---- */
#ifndef RULES_H
#define RULES_H

#include "product/microkernel.h"

/* Every rule: X(NAME, arrays of state, picoseconds that an element of four bytes takes). In Python it is called by
   its name in lower case. What it does stands in update_vec. */
#define EACH_RULE(X)                                                                         \
    X(STORE, 0, 0)                                                                           \
    X(SGD, 0, 100)                                                                           \
    X(SGD_MOMENTUM, 1, 220)                                                                  \
    X(NESTEROV, 1, 220)                                                                      \
    X(RMSPROP, 1, 330)                                                                       \
    X(ADAGRAD, 1, 330)                                                                       \
    X(ADAM, 2, 450)                                                                          \
    X(ADAMW, 2, 450)

#define RULE_NUMBER(RULE, states, picoseconds) RULE,
enum { EACH_RULE(RULE_NUMBER) RULE_COUNT };
typedef struct {
    const char *name; /* in capitals */
    int states;
    double picoseconds;
} rule_facts;
#define RULE_FACTS(RULE, states, picoseconds) {#RULE, states, picoseconds},
static const rule_facts rules[RULE_COUNT] = {EACH_RULE(RULE_FACTS)};

/* A parameter with its state and the numbers of its rule, as they are given. */
typedef struct {
    const void *w, *first, *second;          /* IN; the state: velocity, or cache, or m and v */
    void *next_w, *next_first, *next_second; /* OUT, may be the same arrays */
    void *grad;                              /* OUT, STORE only */
    double rate;                             /* with a count t: divided by 1 - beta1 ** t */
    double keep1, keep2;                     /* momentum, or the decay rate, or beta1 and beta2 */
    double eps, scale;                       /* scale: 1 / (1 - beta2 ** t) */
    double decay;                            /* the share of w that goes before the step: learning rate * weight decay */
    double reg;                              /* the gradient gets reg * w on top */
} rule_param;

/* The same in the type of the arrays; take: 1 - keep. */
#define UPDATE_OF(type)                                                                      \
    struct {                                                                                 \
        int rule, states;                                                                    \
        type rate, keep1, take1, keep2, take2, eps, scale, decay, reg;                       \
        const type *w, *first, *second;                                                      \
        type *next_w, *next_first, *next_second, *grad;                                      \
    }
typedef UPDATE_OF(float) update_float;
typedef UPDATE_OF(double) update_double;
typedef union {
    update_float of_float;
    update_double of_double;
} rule_update;

#define EACH_TYPE "step/rules.h"
#include "each_type.h"
#define set_update_real(u, p, rule, w) BY_TYPE(w, set_update)(u, p, rule, w)
#define update_vector_real(u, g, ...) BY_TYPE(g, update_vector)(u, g, __VA_ARGS__)
#define update_tile_real(args, c, ...) BY_TYPE(c, update_tile)(args, c, __VA_ARGS__)
#define update_by_real(u, tile, ...) BY_TYPE(tile, update_by)(u, tile, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

#define update TYPED(update)
#define of_type TYPED(of)

/* w: of the type that the arrays have. */
#define set_update TYPED(set_update)
static void set_update(rule_update *to, const rule_param *p, int rule, const real *w)
{
    const update u = {
        rule, rules[rule].states, (real)p->rate, (real)p->keep1, (real)(1 - p->keep1), (real)p->keep2,
        (real)(1 - p->keep2), (real)p->eps, (real)p->scale, (real)p->decay, (real)p->reg,
        p->w, p->first, p->second, p->next_w, p->next_first, p->next_second, p->grad,
    };
    (void)w;
    to->of_type = u;
}

/* The lines of one element. Always inlined: GCC takes a call that only prefetches for one without effect. */
#define prefetch_element TYPED(prefetch_element)
ALWAYS_INLINE void prefetch_element(const update *u, ptrdiff_t at)
{
    if (u->rule == STORE) return;
    PREFETCH(u->w + at);
    if (u->states > 0) PREFETCH(u->first + at);
    if (u->states > 1) PREFETCH(u->second + at);
}

/* n elements at `at`, with gradient g. squares: INOUT, of the parameter; NULL where there is no reg. */
#define update_vec TYPED(update_vec)
ALWAYS_INLINE void
update_vec(const update *u, int rule, vec g, ptrdiff_t at, int n, vec_squares *squares)
{
    vec w = {0}, s, t;
    if (rule != STORE || squares != NULL) w = vec_load(u->w + at, n);
    if (squares != NULL) {
        vec_add_squares(w, squares);
        g = vec_fma(vec_fill(u->reg), w, g);
    }
    if (rule == STORE) {
        vec_store(u->grad + at, g, n);
        return;
    }
    if (rule == SGD) {
        w = vec_fma(vec_fill(-u->rate), g, w);
    } else if (rule == SGD_MOMENTUM) {
        s = vec_fma(vec_fill(u->keep1), vec_load(u->first + at, n), -(u->rate * g));
        vec_store(u->next_first + at, s, n);
        w += s;
    } else if (rule == NESTEROV) {
        t = vec_load(u->first + at, n);
        s = vec_fma(vec_fill(u->keep1), t, -(u->rate * g));
        vec_store(u->next_first + at, s, n);
        w = vec_fma(vec_fill(1 + u->keep1), s, vec_fma(vec_fill(-u->keep1), t, w));
    } else if (rule == RMSPROP) {
        s = vec_fma(vec_fill(u->keep1), vec_load(u->first + at, n), u->take1 * (g * g));
        vec_store(u->next_first + at, s, n);
        w -= u->rate * g / (vec_sqrt(s) + u->eps);
    } else if (rule == ADAGRAD) {
        s = vec_fma(g, g, vec_load(u->first + at, n));
        vec_store(u->next_first + at, s, n);
        w -= u->rate * g / (vec_sqrt(s) + u->eps);
    } else { /* ADAM, ADAMW */
        if (rule == ADAMW) w = vec_fma(vec_fill(-u->decay), w, w);
        s = vec_fma(vec_fill(u->keep1), vec_load(u->first + at, n), u->take1 * g);
        t = vec_fma(vec_fill(u->keep2), vec_load(u->second + at, n), u->take2 * (g * g));
        vec_store(u->next_first + at, s, n);
        vec_store(u->next_second + at, t, n);
        w -= u->rate * s / (vec_sqrt(t * u->scale) + u->eps);
    }
    vec_store(u->next_w + at, w, n);
}

/* A whole vector, whatever the rule. */
#define update_whole_vec TYPED(update_whole_vec)
static inline void update_whole_vec(const update *u, vec g, ptrdiff_t at, vec_squares *squares)
{
#define CASE(RULE, ...)                                                                      \
    case RULE:                                                                               \
        if (u->reg != 0) update_vec(u, RULE, g, at, VEC_LANES, squares);                     \
        else update_vec(u, RULE, g, at, VEC_LANES, NULL);                                    \
        break;
    switch (u->rule) { EACH_RULE(CASE) }
#undef CASE
}

#define update_rows TYPED(update_rows)
ALWAYS_INLINE void update_rows(const update *u, int rule, const real *tile, int nv, int rows, int cols, ptrdiff_t at,
                               ptrdiff_t ld, vec_squares *squares)
{
    for (int i = 0; i < rows; i++)
        for (int from = 0; from < cols; from += VEC_LANES) {
            const int n = cols - from < VEC_LANES ? cols - from : VEC_LANES;
            update_vec(u, rule, *(const vec *)(tile + i * nv * VL + from), at + i * ld + from, n, squares);
        }
}

/* The update by a tile of a gradient, nv vectors a row; the parameter's tile begins at element `at`
   and its rows are ld apart. Returns the sum of squares of the parameter before, 0 without reg. */
#define update_by TYPED(update_by)
static inline double update_by(const rule_update *by, const real *tile, int nv, int rows, int cols,
                               ptrdiff_t at, ptrdiff_t ld)
{
    const update *u = &by->of_type;
    vec_squares squares = {0};
#define CASE(RULE, ...)                                                                      \
    case RULE:                                                                               \
        if (u->reg != 0) update_rows(u, RULE, tile, nv, rows, cols, at, ld, &squares); \
        else update_rows(u, RULE, tile, nv, rows, cols, at, ld, NULL);          \
        break;
    switch (u->rule) { EACH_RULE(CASE) }
#undef CASE
    return u->reg != 0 ? vec_total(squares) : 0;
}

/* The tile of a gradient, and its update. c: what is added where the flags tell. */
#define update_tile TYPED(update_tile)
static double update_tile(const tile_args *p, const real *c, int rows, int cols, ptrdiff_t kc,
                          const rule_update *u, ptrdiff_t at, ptrdiff_t ld)
{
    vec tile[TILE_VECS];
    const int nv = tile_sums(p, rows, cols, kc, tile);
    if (p->flags & TILE_ADD)
        for (int i = 0; i < rows; i++)
            for (int from = 0; from < cols; from += VEC_LANES) {
                const int n = cols - from < VEC_LANES ? cols - from : VEC_LANES;
                tile[i * nv * VECS + from / VEC_LANES] += vec_load(c + i * p->ldc + column_at(p, from), n);
            }
    return update_by(u, (const real *)tile, nv, rows, cols, at, ld);
}

/* The same for n gradients that lie in memory, from element `at` on. */
#define update_vector TYPED(update_vector)
static void update_vector(const rule_update *by, const real *g, ptrdiff_t at, ptrdiff_t n)
{
    const update *u = &by->of_type;
#define CASE(RULE, ...)                                                                      \
    case RULE:                                                                               \
        for (; i + VEC_LANES <= n; i += VEC_LANES)                                           \
            update_vec(u, RULE, vec_load(g + i, VEC_LANES), at + i, VEC_LANES, NULL);        \
        if (i < n)                                                                           \
            update_vec(u, RULE, vec_load(g + i, (int)(n - i)), at + i, (int)(n - i), NULL);  \
        break;
    ptrdiff_t i = 0;
    switch (u->rule) { EACH_RULE(CASE) }
#undef CASE
}

#endif
