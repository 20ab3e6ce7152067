/* The product of a few rows with a large matrix: bound by how fast the matrix comes from memory, so its rows are read
   as they lie, four at a time and to their ends.

   A sum is the same chain of additions as in a tile (product/microkernel.h): k after k inside a block. */

#ifndef real /* ---- once: what both types share ---- */
#ifndef FLAT_H
#define FLAT_H

#include "product/microkernel.h"

#ifdef HAVE_VECTORS
#define HAVE_FLAT 1
#else
#define HAVE_FLAT 0
#endif
#define FLAT_STEPS 4 /* rows of the matrix at a time */
#define FLAT_SUMS 16384 /* bytes of sums that stay in the first-level cache */
#define FLAT_AHEAD 32768 /* bytes of the matrix, which stay in the second-level cache */

#define EACH_TYPE "predict/flat.h"
#include "each_type.h"
#undef flat_sums /* from here on the argument chooses the type */
#undef flat_store
#define flat_sums(x, ...) BY_TYPE(x, flat_sums)(x, __VA_ARGS__)
#define flat_store(args, c, ...) BY_TYPE(c, flat_store)(args, c, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

#define flat_strip TYPED(flat_strip)
#define flat_sums TYPED(flat_sums)
#define flat_store TYPED(flat_store)

#if HAVE_FLAT

/* `steps` rows of w, nv vectors of them, the last with n numbers: added to the sums of each row of x. */
#define flat_steps TYPED(flat_steps)
static inline __attribute__((always_inline)) void
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

/* sums(rows x cols) = x(rows x kc) w(kc x cols). Rows of the sums are lds apart, whole vectors; they are aligned. */
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

/* The same in strips of columns whose sums stay in the first-level cache. */
static void flat_sums(const real *x, ptrdiff_t ldx, int rows, const real *w, ptrdiff_t ldw, ptrdiff_t kc,
                      ptrdiff_t cols, real *sums, ptrdiff_t lds)
{
    const ptrdiff_t most = FLAT_SUMS / ((ptrdiff_t)sizeof(real) * rows * 2 * VL), strip = (most ? most : 1) * 2 * VL;
    for (ptrdiff_t j = 0; j < cols; j += strip)
        flat_strip(x, ldx, rows, w + j, ldw, kc, cols - j < strip ? cols - j : strip, sums + j, lds);
}

/* The sums on their way to C, with what the flags tell: as tile_store. */
static void flat_store(const tile_args *p, real *c, int rows, ptrdiff_t cols, const real *sums, ptrdiff_t lds)
{
    for (ptrdiff_t at = 0; at < cols; at += VL) {
        const int n = cols - at < VL ? (int)(cols - at) : VL;
        tile_args args = *p;
        args.bias = (p->flags & TILE_BIAS) ? (const real *)p->bias + at : NULL;
        args.gain = (p->flags & TILE_GAIN) ? (const real *)p->gain + at : NULL;
        for (int i = 0; i < rows; i++) tile_store(&args, c + i * p->ldc + at, 1, n, (const vec *)(sums + i * lds + at), 1);
    }
}

#else /* no vector extensions: the products are made of tiles */

static inline void flat_sums(const real *x, ptrdiff_t ldx, int rows, const real *w, ptrdiff_t ldw, ptrdiff_t kc,
                             ptrdiff_t cols, real *sums, ptrdiff_t lds) {}
static inline void flat_store(const tile_args *p, real *c, int rows, ptrdiff_t cols, const real *sums,
                              ptrdiff_t lds) {}

#endif
#endif
