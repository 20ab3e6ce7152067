/* Tiles of the few last columns that would leave most of a vector empty.

   A vector holds four numbers along k of each of VL / 4 columns, and is multiplied by four numbers of a
   row of A as they lie, repeated for every column. So no lane is idle; the four sums of an element are
   added at the end, ((0 + 2) + (1 + 3)). One source for float and double, as product/microkernel.h. */

#ifndef DASE_TYPE /* ---- once: what both types share ---- */
#ifndef DASE_QUADS_H
#define DASE_QUADS_H

#include "product/shuffles.h"

#if defined(DASE_VECTORS) && defined(DASE_SHUFFLES) && defined(__AVX2__)
#define DASE_QUADS 1

#define DASE_QUAD_ZERO(i, p, r) vec c##i = {0};
#define DASE_QUAD_STEP(i, p, r) c##i += DASE_NAME(four)(p + (r) * rs) * b0;
#define DASE_QUAD_SAVE(i, p, r) sums[i] = c##i;

/* The sums of `rows` rows of A, whose k lies side by side: A(i, k) is a[i * rs + k] inside a chunk of k (a
   multiple of four long, unless it is the only one), and `jump` more from one chunk to the next. */
#define DASE_QUAD_KERNEL(ROWS)                                                               \
    static void DASE_CAT(DASE_NAME(quads), _##ROWS)(                                         \
        ptrdiff_t kc, const DASE_TYPE *a, ptrdiff_t rs, ptrdiff_t chunk, ptrdiff_t jump,     \
        const DASE_TYPE *b, vec *sums)                                                       \
    {                                                                                        \
        const DASE_TYPE *p0 = a, *p1 = a, *p2 = a, *p3 = a;                                  \
        if (ROWS > 3) p1 = a + 3 * rs;                                                       \
        if (ROWS > 6) p2 = a + 6 * rs;                                                       \
        if (ROWS > 9) p3 = a + 9 * rs;                                                       \
        DASE_ROWS_##ROWS(DASE_QUAD_ZERO)                                                     \
        for (; kc >= 4; kc -= chunk) {                                                       \
            const ptrdiff_t n = kc < chunk ? kc : chunk;                                     \
            for (ptrdiff_t k = 4; k <= n; k += 4) {                                          \
                const vec b0 = *(const vec *)b;                                              \
                DASE_ROWS_##ROWS(DASE_QUAD_STEP)                                             \
                p0 += 4; p1 += 4; p2 += 4; p3 += 4;                                          \
                b += DASE_VL;                                                                \
            }                                                                                \
            p0 += jump; p1 += jump; p2 += jump; p3 += jump;                                  \
        }                                                                                    \
        (void)p1; (void)p2; (void)p3;                                                        \
        DASE_ROWS_##ROWS(DASE_QUAD_SAVE)                                                     \
    }
#define DASE_QUAD_ENTRY(ROWS) DASE_CAT(DASE_NAME(quads), _##ROWS)

/* From the order in which the lanes are added up, column by column, to rows. */
#define DASE_QUAD_LANE(l, s) ((l) % (DASE_VL / 4) * 4 + (l) / (DASE_VL / 4))

#else
#define DASE_QUADS 0
#endif

#define DASE_TYPE float
#define DASE_VL DASE_VL_FLOAT
#include "product/leftover.h"
#undef DASE_TYPE
#undef DASE_VL
#define DASE_TYPE double
#define DASE_VL DASE_VL_DOUBLE
#include "product/leftover.h"
#undef DASE_TYPE
#undef DASE_VL

#endif
#else /* ---- once per type ---- */

#if DASE_QUADS

#define vec DASE_NAME(vec)
#define vec_at DASE_NAME(vec_at)

/* So many of the last columns are left to quads. */
static inline ptrdiff_t DASE_NAME(few_left)(ptrdiff_t columns)
{
    return columns % DASE_VL <= DASE_VL / 4 ? columns % DASE_VL : 0;
}

/* Four numbers, as often as there is room. */
static inline vec DASE_NAME(four)(const DASE_TYPE *p)
{
#if defined(__AVX512F__)
    if (sizeof(DASE_TYPE) == 4) return (vec)_mm512_broadcast_f32x4(_mm_loadu_ps((const float *)p));
    return (vec)_mm512_broadcast_f64x4(_mm256_loadu_pd((const double *)p));
#else
    if (sizeof(DASE_TYPE) == 4) return (vec)_mm256_broadcast_ps((const __m128 *)p);
    return *(const vec_at *)p;
#endif
}

DASE_QUAD_KERNEL(1) DASE_QUAD_KERNEL(2) DASE_QUAD_KERNEL(3) DASE_QUAD_KERNEL(4) DASE_QUAD_KERNEL(5) DASE_QUAD_KERNEL(6)
#if DASE_MR > 6
DASE_QUAD_KERNEL(7) DASE_QUAD_KERNEL(8) DASE_QUAD_KERNEL(9) DASE_QUAD_KERNEL(10) DASE_QUAD_KERNEL(11)
DASE_QUAD_KERNEL(12)
#endif

typedef void (*DASE_NAME(quad_kernel))(ptrdiff_t, const DASE_TYPE *, ptrdiff_t, ptrdiff_t, ptrdiff_t,
                                       const DASE_TYPE *, vec *);
static const DASE_NAME(quad_kernel) DASE_NAME(quad_kernels)[DASE_MR] = {
    DASE_QUAD_ENTRY(1), DASE_QUAD_ENTRY(2), DASE_QUAD_ENTRY(3), DASE_QUAD_ENTRY(4), DASE_QUAD_ENTRY(5),
    DASE_QUAD_ENTRY(6),
#if DASE_MR > 6
    DASE_QUAD_ENTRY(7), DASE_QUAD_ENTRY(8), DASE_QUAD_ENTRY(9), DASE_QUAD_ENTRY(10), DASE_QUAD_ENTRY(11),
    DASE_QUAD_ENTRY(12),
#endif
};

/* packed[k / 4][column][k % 4] from B(k, column) = b[k * ks + column * cs]; zeros where there is none. */
static void DASE_NAME(pack_quads)(ptrdiff_t kc, int cols, const DASE_TYPE *b, ptrdiff_t ks, ptrdiff_t cs,
                                  DASE_TYPE *packed)
{
    for (ptrdiff_t k = 0; k < kc; k += 4, packed += DASE_VL) {
        if (cols == DASE_VL / 4 && kc - k >= 4) {
            for (int c = 0; c < DASE_VL / 4; c++)
                for (int q = 0; q < 4; q++) packed[4 * c + q] = b[(k + q) * ks + c * cs];
            continue;
        }
        *(vec *)packed = (vec){0};
        for (int c = 0; c < cols; c++)
            for (int q = 0; q < 4 && q < kc - k; q++) packed[4 * c + q] = b[(k + q) * ks + c * cs];
    }
}

/* C(rows x cols) = A B, and what the DASE_ flags ask for; B is packed in quads, A's k lies side by side. */
static void DASE_NAME(job_quads)(const DASE_NAME(job) *p, int rows, int cols, ptrdiff_t kc)
{
    enum { COLS = DASE_VL / 4 };
    vec tile[DASE_MR + 3];
    DASE_TYPE flat[(DASE_MR + 3) * COLS + DASE_VL];
    DASE_NAME(quad_kernels)[rows - 1](kc, p->a, p->rs, p->chunk, p->jump, p->b, tile);
    for (int i = rows; i % 4; i++) tile[i] = (vec){0};
    for (int i = 0; i < rows; i += 4) {
        vec *r = tile + i;
        DASE_FOLD(r, 2)
        DASE_FOLD(r, 1)
        *(vec_at *)(flat + i * COLS) = __builtin_shufflevector(r[0], r[0], DASE_LANES(DASE_QUAD_LANE, 0));
    }
    for (ptrdiff_t k = kc / 4 * 4; k < kc; k++) {
        const DASE_TYPE *a = p->a + k + k / p->chunk * p->jump;
        for (int i = 0; i < rows; i++)
            for (int c = 0; c < COLS; c++) flat[i * COLS + c] += a[i * p->rs] * p->b[k / 4 * DASE_VL + 4 * c + k % 4];
    }
    if (p->flags == 0 && cols == COLS) {
        for (int i = 0; i < rows; i++) memcpy(p->c + i * p->ldc, flat + i * COLS, COLS * sizeof(DASE_TYPE));
        return;
    }
    for (int i = 0; i < rows; i++) tile[i] = *(const vec_at *)(flat + i * COLS);
    DASE_NAME(job_out)(p, rows, cols, tile, 1);
}

#undef vec
#undef vec_at

#else
static inline ptrdiff_t DASE_NAME(few_left)(ptrdiff_t columns) { return 0; }
static inline void DASE_NAME(pack_quads)(ptrdiff_t kc, int cols, const DASE_TYPE *b, ptrdiff_t ks, ptrdiff_t cs,
                                         DASE_TYPE *packed) {}
static inline void DASE_NAME(job_quads)(const DASE_NAME(job) *p, int rows, int cols, ptrdiff_t kc) {}
#endif
#endif
