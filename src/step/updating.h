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

/* Rows of the tiles that have such a kernel: all whole ones. Panels of 16 rows make tiles of 5 and 6, of 4 or of 8. */
#if MR >= 8
#define UPDATING_ROWS 8
#define UPDATING_LEAST 8
#elif MR == 6
#define UPDATING_ROWS 6
#define UPDATING_LEAST 5
#else
#define UPDATING_ROWS 4
#define UPDATING_LEAST 4
#endif

/* The sums of a tile of ROWS rows and two vectors, and the update by the pending one, in as many shares of k as
   that has vectors. The sums take its place. With each share a vector of the parameter and its state is prefetched,
   of the tile that begins at `next`. A's rows lie side by side. */
#define UPDATING_SUM(i, p, r) { const real s = a[i]; c##i += s * b0; d##i += s * b1; }
#define UPDATING_KERNEL(name, ROWS) UPDATING_KERNEL_OF(name, ROWS)
#define UPDATING_KERNEL_OF(name, ROWS)                                                       \
    static void name(ptrdiff_t kc, const real *a, const real *b, ptrdiff_t bvs,              \
                     const update *by, ptrdiff_t ld, ptrdiff_t next, pending_tile *p, vec *tile) \
    {                                                                                        \
        const update u = *by; /* a copy that no store can change */                          \
        const int shares = p->count ? p->count : 2 * ROWS;                                   \
        const ptrdiff_t low = kc / shares, higher = kc % shares; /* steps of k in a share; so many have one more */ \
        vec_squares squares = {0};                                                           \
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
#define multiply_and_update_real(args, c, ...) BY_TYPE_OF_VECTORS(c, multiply_and_update)(args, c, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

#define multiply_and_update TYPED(multiply_and_update)

#if HAVE_VECTORS

#define updating_kernel TYPED(updating_kernel)
#define updating_kernel_less TYPED(updating_kernel_less)
UPDATING_KERNEL(updating_kernel, UPDATING_ROWS)
#if UPDATING_LEAST < UPDATING_ROWS
UPDATING_KERNEL(updating_kernel_less, UPDATING_LEAST)
#endif

/* A whole tile of the gradient, and the update by the pending one. c: what is added where the flags tell. */
static void multiply_and_update(const tile_args *args, const real *c, ptrdiff_t rows, ptrdiff_t kc,
                                const rule_update *by, ptrdiff_t ld, ptrdiff_t next, pending_tile *p, real *sums)
{
    const update *u = &by->of_type;
    vec *tile = (vec *)sums;
#if UPDATING_LEAST < UPDATING_ROWS
    if (rows == UPDATING_LEAST) updating_kernel_less(kc, args->a, args->b, args->bvs, u, ld, next, p, tile);
    else
#endif
    updating_kernel(kc, args->a, args->b, args->bvs, u, ld, next, p, tile);
    if (args->flags & TILE_ADD)
        for (int i = 0; i < p->count; i++) tile[i] += ((const vec *)c)[i];
}

#endif
#endif
