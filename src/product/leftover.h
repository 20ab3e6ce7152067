/* Tiles of the leftover columns: the last ones, when they would leave most of a vector empty.

   A vector holds four numbers along k of each of VL / 4 columns, and is multiplied by four numbers of a
   row of A as they lie, repeated for every column. So no lane is idle; the four sums of an element are
   added at the end, ((0 + 2) + (1 + 3)). */

#ifndef real /* ---- once: what both types share ---- */
#ifndef LEFTOVER_H
#define LEFTOVER_H

#include "product/microkernel.h"
#include "product/shuffles.h"

#if defined(HAVE_VECTORS) && defined(HAVE_SHUFFLES) && defined(__AVX2__)
#define HAVE_LEFTOVER 1

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
        const real *p0 = a, *p1 = a, *p2 = a, *p3 = a;                                       \
        if (ROWS > 3) p1 = a + 3 * rs;                                                       \
        if (ROWS > 6) p2 = a + 6 * rs;                                                       \
        if (ROWS > 9) p3 = a + 9 * rs;                                                       \
        ROWS_##ROWS(LEFTOVER_ZERO)                                                           \
        for (; kc >= 4; kc -= chunk) {                                                       \
            const ptrdiff_t n = kc < chunk ? kc : chunk;                                     \
            for (ptrdiff_t k = 4; k <= n; k += 4) {                                          \
                const vec b0 = *(const vec *)b;                                              \
                ROWS_##ROWS(LEFTOVER_STEP)                                                   \
                p0 += 4; p1 += 4; p2 += 4; p3 += 4;                                          \
                b += VL;                                                                     \
            }                                                                                \
            p0 += jump; p1 += jump; p2 += jump; p3 += jump;                                  \
        }                                                                                    \
        (void)p1; (void)p2; (void)p3;                                                        \
        ROWS_##ROWS(LEFTOVER_SAVE)                                                           \
    }
#define LEFTOVER_ENTRY(ROWS) PASTE(leftover_kernel, _##ROWS)

/* From the order in which the lanes are added up, column by column, to rows. */
#define LEFTOVER_LANE(l, s) ((l) % (VL / 4) * 4 + (l) / (VL / 4))

#else
#define HAVE_LEFTOVER 0
#endif

#define EACH_TYPE "product/leftover.h"
#include "each_type.h"
#undef pack_leftover /* from here on the argument chooses the type */
#undef leftover_product
#define pack_leftover(kc, cols, b, ...) BY_TYPE(b, pack_leftover)(kc, cols, b, __VA_ARGS__)
#define leftover_product(tile, c, ...) BY_TYPE(c, leftover_product)(tile, c, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

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

LEFTOVER_KERNEL(1) LEFTOVER_KERNEL(2) LEFTOVER_KERNEL(3) LEFTOVER_KERNEL(4) LEFTOVER_KERNEL(5) LEFTOVER_KERNEL(6)
#if MR > 6
LEFTOVER_KERNEL(7) LEFTOVER_KERNEL(8) LEFTOVER_KERNEL(9) LEFTOVER_KERNEL(10) LEFTOVER_KERNEL(11)
LEFTOVER_KERNEL(12)
#endif

typedef void (*leftover_entry)(ptrdiff_t, const real *, ptrdiff_t, ptrdiff_t, ptrdiff_t,
                                       const real *, vec *);
static const leftover_entry leftover_kernels[MR] = {
    LEFTOVER_ENTRY(1), LEFTOVER_ENTRY(2), LEFTOVER_ENTRY(3), LEFTOVER_ENTRY(4), LEFTOVER_ENTRY(5),
    LEFTOVER_ENTRY(6),
#if MR > 6
    LEFTOVER_ENTRY(7), LEFTOVER_ENTRY(8), LEFTOVER_ENTRY(9), LEFTOVER_ENTRY(10), LEFTOVER_ENTRY(11),
    LEFTOVER_ENTRY(12),
#endif
};

/* packed[k / 4][column][k % 4] from B(k, column) = b[k * ks + column * cs]; zeros where there is none. */
#define pack_leftover TYPED(pack_leftover)
static void pack_leftover(ptrdiff_t kc, int cols, const real *b, ptrdiff_t ks, ptrdiff_t cs,
                                  real *packed)
{
    for (ptrdiff_t k = 0; k < kc; k += 4, packed += VL) {
        if (cols == VL / 4 && kc - k >= 4) {
            for (int c = 0; c < VL / 4; c++)
                for (int q = 0; q < 4; q++) packed[4 * c + q] = b[(k + q) * ks + c * cs];
            continue;
        }
        *(vec *)packed = (vec){0};
        for (int c = 0; c < cols; c++)
            for (int q = 0; q < 4 && q < kc - k; q++) packed[4 * c + q] = b[(k + q) * ks + c * cs];
    }
}

/* C(rows x cols) = A B, and what the flags tell; B is packed by pack_leftover, A's k lies side by side. */
#define leftover_product TYPED(leftover_product)
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


#else
#define pack_leftover TYPED(pack_leftover)
static inline void pack_leftover(ptrdiff_t kc, int cols, const real *b, ptrdiff_t ks, ptrdiff_t cs,
                                         real *packed) {}
#define leftover_product TYPED(leftover_product)
static inline void leftover_product(const tile_args *p, real *c, int rows, int cols, ptrdiff_t kc) {}
#endif
#endif
