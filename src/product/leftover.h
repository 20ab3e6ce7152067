/* Tiles of the leftover columns: the last ones, when they would leave most of a vector empty.

   A vector holds four numbers along k of each of VL / 4 columns, and is multiplied by four numbers of a
   row of A as they lie, repeated for every column. So no lane is idle; the four sums of an element are
   added at the end, ((0 + 2) + (1 + 3)). */

#ifndef real /* ---- once: what both types share ---- */
#ifndef LEFTOVER_H
#define LEFTOVER_H

#include "product/microkernel.h"
#include "product/shuffles.h"

#if HAVE_SHUFFLES && defined(__AVX2__)
#define HAVE_LEFTOVER 1
#define BY_TYPE_OF_LEFTOVER BY_TYPE

#define LEFTOVER_ZERO(i, p, r) vec c##i = {0};
#define LEFTOVER_STEP(i, p, r) c##i += vec_repeat4(p + (r) * rs) * b0;
#define LEFTOVER_SAVE(i, p, r) sums[i] = c##i;

/* The sums of `rows` rows of A, whose k lies side by side: A(i, k) is a[i * rs + k] inside a chunk of k (a
   multiple of four long, unless it is the only one), and `jump` more from one chunk to the next. */
#define LEFTOVER_KERNEL(ROWS)                                                                \
    KERNEL_CODE static void PASTE(leftover_kernel, _##ROWS)(                                 \
        ptrdiff_t kc, const real *a, ptrdiff_t rs, ptrdiff_t chunk, ptrdiff_t jump,          \
        const real *b, vec *sums)                                                            \
    {                                                                                        \
        ROW_POINTERS(ROWS, real)                                                             \
        ROWS_##ROWS(LEFTOVER_ZERO)                                                           \
        for (; kc >= 4; kc -= chunk) {                                                       \
            const ptrdiff_t n = kc < chunk ? kc : chunk;                                     \
            for (ptrdiff_t k = 4; k <= n; k += 4) {                                          \
                const vec b0 = *(const vec *)b;                                              \
                ROWS_##ROWS(LEFTOVER_STEP)                                                   \
                ROW_STEP(4);                                                                 \
                b += VL;                                                                     \
            }                                                                                \
            ROW_STEP(jump);                                                                  \
        }                                                                                    \
        ROWS_##ROWS(LEFTOVER_SAVE)                                                           \
    }
#define LEFTOVER_ENTRY(ROWS) PASTE(leftover_kernel, _##ROWS),

/* From the order in which the lanes are added up, column by column, to rows. */
#define LEFTOVER_LANE(l, s) ((l) % (VL / 4) * 4 + (l) / (VL / 4))

#else
#define HAVE_LEFTOVER 0
#define BY_TYPE_OF_LEFTOVER(pointer, name) stand_in
#endif

#define EACH_TYPE "product/leftover.h"
#include "each_type.h"
#define leftover_product_real(tile, c, ...) BY_TYPE_OF_LEFTOVER(c, leftover_product)(tile, c, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

#define leftover_product TYPED(leftover_product)

#if HAVE_LEFTOVER

#define leftover_kernel TYPED(leftover_kernel)
#define leftover_entry TYPED(leftover_entry)
#define leftover_kernels TYPED(leftover_kernels)

/* Four numbers, as often as there is room. */
#define vec_repeat4 TYPED(vec_repeat4)
static inline vec vec_repeat4(const real *p)
{
#if defined(__AVX512F__)
    if (sizeof(real) == 4) return (vec)_mm512_broadcast_f32x4(_mm_loadu_ps((const float *)p));
    return (vec)_mm512_broadcast_f64x4(_mm256_loadu_pd((const double *)p));
#else
    if (sizeof(real) == 4) return (vec)_mm256_broadcast_ps((const __m128 *)p);
    return *(const vec_at *)p;
#endif
}

UP_TO(MR, LEFTOVER_KERNEL)

typedef void (*leftover_entry)(ptrdiff_t, const real *, ptrdiff_t, ptrdiff_t, ptrdiff_t, const real *, vec *);
static const leftover_entry leftover_kernels[MR] = {UP_TO(MR, LEFTOVER_ENTRY)};

/* C(rows x cols) = A B, and what the flags tell; B is packed by pack_leftover (tiles.pxd), A's k lies side by side. */
static void leftover_product(const tile_args *p, real *c, int rows, int cols, ptrdiff_t kc)
{
    enum { COLS = VL / 4 };
    const real *b = p->b;
    vec tile[MR + 3];
    real flat[(MR + 3) * COLS + VL];
    leftover_kernels[rows - 1](kc, p->a, p->rs, p->chunk, p->jump, p->b, tile);
    for (int i = rows; i % 4; i++) tile[i] = (vec){0};
    for (int i = 0; i < rows; i += 4) {
        vec *r = tile + i;
        FOLD(r, 2)
        FOLD(r, 1)
        *(vec_at *)(flat + i * COLS) = __builtin_shufflevector(r[0], r[0], LANES(LEFTOVER_LANE, 0));
    }
    for (ptrdiff_t k = kc / 4 * 4; k < kc; k++) {
        const real *a = (const real *)p->a + k + k / p->chunk * p->jump;
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < COLS; j++) flat[i * COLS + j] += a[i * p->rs] * b[k / 4 * VL + 4 * j + k % 4];
    }
    if (p->flags == 0 && cols == COLS) {
        for (int i = 0; i < rows; i++) memcpy(c + i * p->ldc, flat + i * COLS, COLS * sizeof(real));
        return;
    }
    for (int i = 0; i < rows; i++) tile[i] = *(const vec_at *)(flat + i * COLS);
    tile_store(p, c, rows, cols, tile, 1);
}

#endif
#endif
