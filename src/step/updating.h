/* Micro-kernels that update while they multiply: x^T dout, tile by tile straight into the update rule.

   Square roots and divisions take as long as many multiplications, but other units of the processor. So a whole
   tile of a gradient is pending until the next one is multiplied: between its multiplications the parameter is
   updated by the pending tile, a vector at a time. */

#ifndef real /* ---- once: what both types share ---- */
#ifndef UPDATING_H
#define UPDATING_H

#include "step/panel.h"
#include "step/rules.h"

/* The pending tile. Its sums lie in scratch, two vectors a row. */
typedef struct {
    int count;       /* vectors; 0: no tile is pending */
    ptrdiff_t at;    /* where it begins in the parameter */
    double *squares; /* INOUT: the sum of squares that it belongs to */
} pending_tile;

#if MR >= 8
#define UPDATING_ROWS 8
#else
#define UPDATING_ROWS MR /* or one less where panels of 16 rows make tiles of 5 and 6 */
#endif

/* The sums of a tile of ROWS rows and two vectors, and the update by the pending one, in as many shares of k as
   that has vectors. The sums take its place. With each share a vector of the parameter and its state is prefetched,
   of the tile that begins at `next`. A's rows lie side by side. */
#define UPDATING_SUM(i, p, r) { const real s = a[i]; c##i += s * b0; d##i += s * b1; }
#define UPDATING_KERNEL(ROWS)                                                                \
    static void PASTE(updating_kernel, _##ROWS)(ptrdiff_t kc, const real *a, const real *b, ptrdiff_t bvs, \
        const update *by, ptrdiff_t ld, ptrdiff_t next, pending_tile *p, vec *tile)          \
    {                                                                                        \
        const update u = *by; /* a copy that no store can change */                          \
        const int shares = p->count ? p->count : 2 * ROWS;                                   \
        const ptrdiff_t low = kc / shares, higher = kc % shares; /* steps of k in a share; so many have one more */ \
        vec squares = {0};                                                                   \
        ROWS_##ROWS(ZERO_2)                                                                  \
        for (int share = 0; share < shares; share++) {                                       \
            const real *const end = a + (low + (share < higher)) * PANEL;                    \
            const ptrdiff_t at = share / 2 * ld + share % 2 * VL;                            \
            prefetch_element(&u, next + at + VL - 1);                                        \
            for (; a < end; a += PANEL, b += PANEL) {                                        \
                const vec b0 = *(const vec_at *)b, b1 = *(const vec_at *)(b + bvs);          \
                ROWS_##ROWS(UPDATING_SUM)                                                    \
            }                                                                                \
            if (p->count) update_whole_vec(&u, tile[share], p->at + at, &squares);           \
        }                                                                                    \
        if (p->count && u.reg != 0) *p->squares += vec_total(squares);                       \
        ROWS_##ROWS(SAVE_2)                                                                  \
        p->count = 2 * ROWS;                                                                 \
    }

#define EACH_TYPE "step/updating.h"
#include "each_type.h"
#undef updates_while_multiplying /* from here on the argument chooses the type */
#undef multiply_and_update
#undef flush_pending
#undef leftover_gradient
#define updates_while_multiplying(c, ...) BY_TYPE(c, updates_while_multiplying)(c, __VA_ARGS__)
#define multiply_and_update(args, c, ...) BY_TYPE(c, multiply_and_update)(args, c, __VA_ARGS__)
#define flush_pending(p, tile, ...) BY_TYPE(tile, flush_pending)(p, tile, __VA_ARGS__)
#define leftover_gradient(x, ...) BY_TYPE(x, leftover_gradient)(x, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

#define updates_while_multiplying TYPED(updates_while_multiplying)
#define multiply_and_update TYPED(multiply_and_update)
#define flush_pending TYPED(flush_pending)
#define leftover_gradient TYPED(leftover_gradient)

#ifdef HAVE_VECTORS

#define updating_kernel TYPED(updating_kernel)
#if MR >= 8
UPDATING_KERNEL(8)
#elif MR == 6
UPDATING_KERNEL(5) UPDATING_KERNEL(6)
#else
UPDATING_KERNEL(4)
#endif

/* Whether there is a micro-kernel for a tile: for the whole ones, since the others are few. c: of the type. */
static inline int updates_while_multiplying(const real *c, ptrdiff_t rows, ptrdiff_t cols)
{
    (void)c;
    return cols == 2 * VL && (MR == 6 ? rows == 5 || rows == 6 : rows == UPDATING_ROWS);
}

/* A whole tile of the gradient, and the update by the pending one. c: what is added where the flags tell. */
static void multiply_and_update(const tile_args *args, const real *c, ptrdiff_t rows, ptrdiff_t kc,
                                const rule_update *by, ptrdiff_t at, ptrdiff_t ld, ptrdiff_t next, double *squares,
                                pending_tile *p, real *sums)
{
    const update *u = &by->of_type;
    vec *tile = (vec *)sums;
#if MR >= 8
    PASTE(updating_kernel, _8)(kc, args->a, args->b, args->bvs, u, ld, next, p, tile);
#elif MR == 6
    if (rows == 5) PASTE(updating_kernel, _5)(kc, args->a, args->b, args->bvs, u, ld, next, p, tile);
    else PASTE(updating_kernel, _6)(kc, args->a, args->b, args->bvs, u, ld, next, p, tile);
#else
    PASTE(updating_kernel, _4)(kc, args->a, args->b, args->bvs, u, ld, next, p, tile);
#endif
    if (args->flags & TILE_ADD)
        for (int i = 0; i < p->count; i++) tile[i] += ((const vec *)c)[i];
    p->at = at;
    p->squares = squares;
}

/* Flush the pending tile. */
static void flush_pending(pending_tile *p, const real *sums, const rule_update *u, ptrdiff_t ld)
{
    if (p->count) *p->squares += update_by(u, sums, 2, p->count / 2, 2 * VL, p->at, ld);
    p->count = 0;
}

/* The leftover columns of a panel's gradient, which would leave most of a vector empty: computed as dout^T x,
   whose rows are whole. turned: OUT, a vector for each row of the panel. False where there are too many. */
static int leftover_gradient(const real *x, const real *dout, ptrdiff_t cols, ptrdiff_t n, ptrdiff_t kc, real *turned)
{
    real sums[VL / 4][PANEL];
    tile_args args = {dout, 1, PANEL, kc, 0, x, PANEL, VL, PANEL, VL, NULL, NULL, 1, 0, NULL, NULL};
    if (PANEL > 2 * VL || cols > VL / 4) return 0;
    for (ptrdiff_t k = 0; k < n; k += kc) {
        args.a = dout + k * PANEL;
        args.b = x + k * PANEL;
        tile_product(&args, sums[0], (int)cols, PANEL, n - k < kc ? n - k : kc);
        args.flags = TILE_ADD;
    }
    for (int i = 0; i < PANEL; i++)
        for (int j = 0; j < cols; j++) turned[i * VL + j] = sums[j][i];
    return 1;
}

#else /* no tile is pending */

static inline int updates_while_multiplying(const real *c, ptrdiff_t rows, ptrdiff_t cols) { return 0; }
static void multiply_and_update(const tile_args *args, const real *c, ptrdiff_t rows, ptrdiff_t kc,
                                const rule_update *by, ptrdiff_t at, ptrdiff_t ld, ptrdiff_t next, double *squares,
                                pending_tile *p, real *sums) {}
static void flush_pending(pending_tile *p, const real *sums, const rule_update *u, ptrdiff_t ld) {}
static int leftover_gradient(const real *x, const real *dout, ptrdiff_t cols, ptrdiff_t n, ptrdiff_t kc,
                             real *turned) { return 0; }

#endif
#endif
