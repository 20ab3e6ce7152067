/* Micro-kernels of the matrix product: tiles of C that stay in registers while k passes.

   A tile is up to MR rows by one or two vectors. Every element of a tile is the
   same chain of additions (k = 0, 1, ...), whichever kernel computes it, so that the place of a tile
   in the matrix does not change the result. */

#ifndef real /* ---- once: what both types share ---- */
#ifndef PRODUCT_MICROKERNEL_H
#define PRODUCT_MICROKERNEL_H

#include "product/prefetch.h"
#include "product/rows.h"
#include "vectors.h"

/* Where the operands of a tile lie; the numbers are of the type of C, which is given apart. B must be
   readable for whole halves of a vector: as it lies, or packed with zeros behind the last column. */
typedef struct {
    const void *a;                           /* IN */
    ptrdiff_t rs, cs, chunk, jump;           /* of A, in elements: see the kernel */
    const void *b;                           /* IN */
    ptrdiff_t ldb, bvs;                      /* of B: from row to row, from vector to vector */
    ptrdiff_t ldc, cvs;                      /* of C, likewise */
    const void *bias;                        /* IN, of the first column */
    const void *mask;                        /* IN, laid out as C */
    double scale;                            /* factor where the mask is positive */
    int flags;
    const prefetch_list *prefetch;           /* IN, or NULL */
    const void *gain;                        /* IN, as the bias; read with TILE_GAIN */
} tile_args;

#define STEP_1(i, p, r) c##i += p[(r) * rs] * b0;
#define STEP_2(i, p, r) { const real s = p[(r) * rs]; c##i += s * b0; d##i += s * b1; }
#define LOAD_1 const vec b0 = *(const vec_at *)b;
#define LOAD_2 const vec b0 = *(const vec_at *)b, b1 = *(const vec_at *)(b + bvs);

/* Half a vector, for the few columns that are left over. */
#define ZERO_H(i, p, r) half_vec c##i = {0};
#define STEP_H(i, p, r) c##i += p[(r) * rs] * b0;
#define SAVE_H(i, p, r) ((half_vec *)&tile[i])[0] = c##i; ((half_vec *)&tile[i])[1] = (half_vec){0};
#define LOAD_H const half_vec b0 = *(const half_vec_at *)b;

/* A vector and a half (3 halves). */
#define ZERO_3(i, p, r) vec c##i = {0}; half_vec d##i = {0};
#define STEP_3(i, p, r) STEP_2(i, p, r)
#define SAVE_3(i, p, r) tile[2 * i] = c##i; ((half_vec *)&tile[2 * i + 1])[0] = d##i; \
                             ((half_vec *)&tile[2 * i + 1])[1] = (half_vec){0};
#define LOAD_3 const vec b0 = *(const vec_at *)b; const half_vec b1 = *(const half_vec_at *)(b + bvs);

/* Whole vectors that nothing is done to but adding go to memory at once. */
#define PUT_1(i, p, r) *(vec_at *)(c + (i) * ldc) = c##i;
#define PUT_2(i, p, r) *(vec_at *)(c + (i) * ldc) = c##i; *(vec_at *)(c + (i) * ldc + cvs) = d##i;
#define PUT_H(i, p, r) *(half_vec_at *)(c + (i) * ldc) = c##i;
#define PUT_3(i, p, r) *(vec_at *)(c + (i) * ldc) = c##i; *(half_vec_at *)(c + (i) * ldc + cvs) = d##i;
#define JOIN_1(i, p, r) *(vec_at *)(c + (i) * ldc) += c##i;
#define JOIN_2(i, p, r) *(vec_at *)(c + (i) * ldc) += c##i; *(vec_at *)(c + (i) * ldc + cvs) += d##i;
#define JOIN_H(i, p, r) *(half_vec_at *)(c + (i) * ldc) += c##i;
#define JOIN_3(i, p, r) *(vec_at *)(c + (i) * ldc) += c##i; *(half_vec_at *)(c + (i) * ldc + cvs) += d##i;

/* Four steps of k between two jumps are faster, as the processor fetches few instructions after a jump. Measured with
   AVX2; there not for a vector and a half, and not where B's rows lie whole pages apart, in one set of the cache. */
#if defined(__AVX2__) && !defined(__AVX512F__)
#define BY_FOUR(ldb) ((ldb) * (Py_ssize_t)sizeof(real) % 4096 != 0)
#else
#define BY_FOUR(ldb) 0
#endif
#define MAY_BY_FOUR_H 1
#define MAY_BY_FOUR_1 1
#define MAY_BY_FOUR_3 0
#define MAY_BY_FOUR_2 1
/* One step of k. */
#define KERNEL_STEP(ROWS, NV)                                                                \
    LOAD_##NV                                                                                \
    ROWS_##ROWS(STEP_##NV)                                                                   \
    ROW_STEP(cs);                                                                            \
    b += ldb;

/* tile = A(rows x kc) B(kc x NV vectors). A(i, k) is a[i * rs + k * cs] inside a chunk of k, and
   `jump` more from one chunk to the next. Rows of B are ldb apart, its two vectors bvs apart.
   Without a tile the sums go to C, or are added to it. What is to be prefetched is spread over the
   chunks. */
#define KERNEL(ROWS, NV)                                                                     \
    KERNEL_CODE static void PASTE(tile_kernel, _##ROWS##x##NV)(                              \
        ptrdiff_t kc, const real *a, ptrdiff_t rs, ptrdiff_t cs,                             \
        ptrdiff_t chunk, ptrdiff_t jump,                                                     \
        const real *b, ptrdiff_t ldb, ptrdiff_t bvs, vec *tile,                              \
        real *c, ptrdiff_t ldc, ptrdiff_t cvs, int add, const prefetch_list *ahead)          \
    {                                                                                        \
        const int chunks = ahead ? (int)((kc + chunk - 1) / chunk) : 1;                      \
        const int each = ahead ? (ahead->count + chunks - 1) / chunks : 0;                   \
        int done = 0;                                                                        \
        ROW_POINTERS(ROWS, real)                                                             \
        ROWS_##ROWS(ZERO_##NV)                                                               \
        for (; kc > 0; kc -= chunk) {                                                        \
            const ptrdiff_t n = kc < chunk ? kc : chunk;                                     \
            for (int e = 0; e < each && done < ahead->count; e++) PREFETCH(ahead->at[done++]); \
            if (MAY_BY_FOUR_##NV && BY_FOUR(ldb)) {                                          \
                _Pragma("GCC unroll 4") for (ptrdiff_t k = 0; k < n; k++) {                  \
                    KERNEL_STEP(ROWS, NV)                                                    \
                }                                                                            \
            } else {                                                                         \
                for (ptrdiff_t k = 0; k < n; k++) { KERNEL_STEP(ROWS, NV) }                  \
            }                                                                                \
            ROW_STEP(jump);                                                                  \
        }                                                                                    \
        (void)bvs; (void)cvs;                                                                \
        if (tile) { ROWS_##ROWS(SAVE_##NV) }                                                 \
        else if (add) { ROWS_##ROWS(JOIN_##NV) }                                             \
        else { ROWS_##ROWS(PUT_##NV) }                                                       \
    }
#define KERNELS(ROWS) KERNEL(ROWS, H) KERNEL(ROWS, 1) KERNEL(ROWS, 3) KERNEL(ROWS, 2)
#define ENTRY(ROWS) {PASTE(tile_kernel, _##ROWS##xH), PASTE(tile_kernel, _##ROWS##x1), \
                     PASTE(tile_kernel, _##ROWS##x3), PASTE(tile_kernel, _##ROWS##x2)},

#define TILE_VECS (2 * MR * VECS) /* of a whole tile */

#define EACH_TYPE "product/microkernel.h"
#include "each_type.h"
#define tile_product_real(tile, c, ...) BY_TYPE(c, tile_product)(tile, c, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

#if HAVE_VECTORS

#define tile_kernel TYPED(tile_kernel)
UP_TO(MR, KERNELS)

typedef void (*tile_kernel)(ptrdiff_t, const real *, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t,
                                  const real *, ptrdiff_t, ptrdiff_t, vec *,
                                  real *, ptrdiff_t, ptrdiff_t, int, const prefetch_list *);
#define tile_kernels TYPED(tile_kernels)
static const tile_kernel tile_kernels[MR][4] = {UP_TO(MR, ENTRY)};

/* Which kernel of a row: the columns in halves of a vector, rounded up. */
#define tile_halves TYPED(tile_halves)
static inline int tile_halves(int cols) { return (2 * cols + VL - 1) / VL - 1; }

#endif

/* The sums of a tile, one or two vectors a row; returns how many. 1 <= rows <= MR, 1 <= cols <= 2 VL. */
#define tile_sums TYPED(tile_sums)
static inline int tile_sums(const tile_args *p, int rows, int cols, ptrdiff_t kc, vec *tile)
{
    const int nv = cols > VL ? 2 : 1;
#if HAVE_VECTORS
    tile_kernels[rows - 1][tile_halves(cols)](
        kc, p->a, p->rs, p->cs, p->chunk, p->jump, p->b, p->ldb, p->bvs, tile, NULL, 0, 0, 0, p->prefetch);
#else
    const int width = (2 * cols + VL - 1) / VL * (VL / 2);
    memset(tile, 0, TILE_VECS * sizeof(vec));
    for (ptrdiff_t k = 0; k < kc; k++)
        for (int i = 0; i < rows; i++) {
            const real s = ((const real *)p->a)[i * p->rs + k * p->cs + k / p->chunk * p->jump];
            const real *b = (const real *)p->b + k * p->ldb;
            for (int j = 0; j < width; j++) tile[i * nv * VL + j] += s * b[j < VL ? j : j - VL + p->bvs];
        }
#endif
    return nv;
}

/* Where column `from` of a tile lies in a row of C. */
#define column_at TYPED(column_at)
static inline ptrdiff_t column_at(const tile_args *p, int from) { return from / VL * p->cvs + from % VL; }

/* n columns of each row of sums, the lanes of a vector, on their way to C with what the flags tell. */
#define store_column TYPED(store_column)
ALWAYS_INLINE void
store_column(const tile_args *p, int flags, real *c, int rows, int n, const vec *tile, int nv, int from)
{
    const vec add = (flags & TILE_BIAS) ? vec_load((const real *)p->bias + from, n) : (vec){0};
    const vec gain = (flags & TILE_GAIN) ? vec_load((const real *)p->gain + from, n) : (vec){0};
    const ptrdiff_t column = column_at(p, from);
    tile += from / VEC_LANES;
    for (int i = 0; i < rows; i++, tile += nv * VECS) {
        const ptrdiff_t at = i * p->ldc + column;
        vec sum = *tile;
        if (flags & TILE_ADD) sum += vec_load(c + at, n);
        if (flags & TILE_GAIN) sum = vec_fma(sum, gain, add);
        else if (flags & TILE_BIAS) sum += add;
        if (flags & TILE_RELU) sum = vec_relu(sum);
        if (flags & TILE_MASK)
            sum = vec_where_positive(vec_load((const real *)p->mask + at, n), sum * (real)p->scale);
        vec_store(c + at, sum, n);
    }
}

/* Sums of nv vectors a row. For whole vectors of a hidden layer the flags are known beforehand: looking at each for
   each vector takes a quarter of the time that a tile over 64 steps of k does. */
#define tile_store TYPED(tile_store)
static inline void tile_store(const tile_args *p, real *c, int rows, int cols, const vec *tile, int nv)
{
    for (int from = 0; from < cols; from += VEC_LANES) {
        const int n = cols - from < VEC_LANES ? cols - from : VEC_LANES;
        if (n == VEC_LANES && p->flags == (TILE_BIAS | TILE_GAIN | TILE_RELU))
            store_column(p, TILE_BIAS | TILE_GAIN | TILE_RELU, c, rows, VEC_LANES, tile, nv, from);
        else if (n == VEC_LANES && p->flags == (TILE_BIAS | TILE_RELU))
            store_column(p, TILE_BIAS | TILE_RELU, c, rows, VEC_LANES, tile, nv, from);
        else
            store_column(p, p->flags, c, rows, n, tile, nv, from);
    }
}

/* C(rows x cols) = A B, and what the flags tell. Inlined: multiplications of the tile before hide
   only so much of what leads to the next one. */
#define tile_product TYPED(tile_product)
ALWAYS_INLINE void
tile_product(const tile_args *p, real *c, int rows, int cols, ptrdiff_t kc)
{
    vec tile[TILE_VECS];
#if HAVE_VECTORS
    if ((p->flags & ~TILE_ADD) == 0 && 2 * cols % VL == 0) {
        tile_kernels[rows - 1][tile_halves(cols)](
            kc, p->a, p->rs, p->cs, p->chunk, p->jump, p->b, p->ldb, p->bvs, NULL, c, p->ldc, p->cvs, p->flags,
            p->prefetch);
        return;
    }
#endif
    const int nv = tile_sums(p, rows, cols, kc, tile);
    tile_store(p, c, rows, cols, tile, nv);
}

#endif
