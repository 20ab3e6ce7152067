/* The product of a few rows with a large matrix, whose rows are read as they lie: see network.pxd. A sum is the same
   chain of additions as in a tile (product/microkernel.h): k after k inside a block. */

#ifndef real /* ---- once: what both types share ---- */
#ifndef FLAT_H
#define FLAT_H

#include "product/microkernel.h"

#define FLAT_STEPS 4 /* rows of the matrix at a time */
#define FLAT_AHEAD 32768 /* bytes of the matrix, which stay in the second-level cache */

#define EACH_TYPE "predict/flat.h"
#include "each_type.h"
#define flat_strip_real(x, ...) BY_TYPE_OF_VECTORS(x, flat_strip)(x, __VA_ARGS__)
#define store_tile(args, c, rows, cols, sums, nv) \
    BY_TYPE_OF_VECTORS(c, tile_store)(args, c, rows, cols, (const void *)(sums), nv)

#endif
#else /* ---- once per type ---- */

#define flat_strip TYPED(flat_strip)

#if HAVE_VECTORS

/* `steps` rows of w, nv vectors of them, the last with n numbers: added to the sums of each row of x. */
#define flat_steps TYPED(flat_steps)
ALWAYS_INLINE void
flat_steps(int steps, int nv, int n, const real *x, ptrdiff_t ldx, int rows, const real *w, ptrdiff_t ldw, real *sums,
           ptrdiff_t lds, int first)
{
    vec b[FLAT_STEPS][2];
    for (int u = 0; u < steps; u++)
        for (int v = 0; v < nv; v++) b[u][v] = vec_load(w + u * ldw + v * VL, v + 1 < nv ? VL : n);
    for (int i = 0; i < rows; i++) {
        vec c[2];
        for (int v = 0; v < nv; v++) c[v] = first ? (vec){0} : *(const vec *)(sums + i * lds + v * VL);
        for (int u = 0; u < steps; u++) {
            const vec s = vec_fill(x[i * ldx + u]);
            for (int v = 0; v < nv; v++) c[v] = vec_fma(s, b[u][v], c[v]);
        }
        for (int v = 0; v < nv; v++) *(vec *)(sums + i * lds + v * VL) = c[v];
    }
}

/* sums(rows x cols) = x(rows x kc) w(kc x cols). Rows of the sums are lds apart, whole vectors; they are aligned. The
   loops are here because they lose a twentieth where Cython writes them. */
static void flat_strip(const real *x, ptrdiff_t ldx, int rows, const real *w, ptrdiff_t ldw, ptrdiff_t kc,
                      ptrdiff_t cols, real *sums, ptrdiff_t lds)
{
    /* Memory answers late: so many rows ahead are prefetched. */
    const ptrdiff_t far = FLAT_AHEAD / ((ptrdiff_t)sizeof(real) * cols) / FLAT_STEPS * FLAT_STEPS;
    const ptrdiff_t ahead = far < FLAT_STEPS ? FLAT_STEPS : far;
    ptrdiff_t k = 0, j;
    for (; k + FLAT_STEPS <= kc; k += FLAT_STEPS, x += FLAT_STEPS, w += FLAT_STEPS * ldw) {
        for (j = 0; j + 2 * VL <= cols; j += 2 * VL) {
            if (k + ahead + FLAT_STEPS <= kc)
                for (int u = 0; u < FLAT_STEPS; u++) PREFETCH(w + (ahead + u) * ldw + j);
            flat_steps(FLAT_STEPS, 2, VL, x, ldx, rows, w + j, ldw, sums + j, lds, k == 0);
        }
        for (; j < cols; j += VL)
            flat_steps(FLAT_STEPS, 1, cols - j < VL ? (int)(cols - j) : VL, x, ldx, rows, w + j, ldw, sums + j, lds,
                       k == 0);
    }
    for (; k < kc; k++, x++, w += ldw)
        for (j = 0; j < cols; j += VL)
            flat_steps(1, 1, cols - j < VL ? (int)(cols - j) : VL, x, ldx, rows, w + j, ldw, sums + j, lds, k == 0);
}

#endif
#endif
