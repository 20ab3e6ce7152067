/* Register tiles of bfloat16 products that ask for memory while they are computed. See bf16/microkernel.h. */
#ifndef DASE_BF16_ASKING_H
#define DASE_BF16_ASKING_H

#include "product/prefetch.h"
#include "bf16/microkernel.h"

#if DASE_BF16

#define DASE_BF16_PAIR(ROWS, NV)                                                         \
    DASE_BF16_LOAD_##NV                                                                  \
    DASE_ROWS_##ROWS(DASE_BF16_STEP_##NV)                                                \
    p0 += cs; p1 += cs; p2 += cs; p3 += cs;                                              \
    b += NV * DASE_BF16_VL;

/* tile = A B, as the kernels of bf16/microkernel.h, while the lines are asked for. */
#define DASE_BF16_ASKING(ROWS, NV)                                                       \
    DASE_BF16_CODE static void dase_bf16_asking_##ROWS##x##NV(                           \
        ptrdiff_t pairs, const unsigned *a, ptrdiff_t rs, ptrdiff_t cs,                  \
        const unsigned *b, __m512 *tile, const dase_asks *w)                             \
    {                                                                                    \
        const unsigned *p0 = a, *p1 = a, *p2 = a, *p3 = a;                               \
        const ptrdiff_t asks = w->count < pairs ? w->count : pairs;                      \
        if (ROWS > 3) p1 = a + 3 * rs;                                                   \
        if (ROWS > 6) p2 = a + 6 * rs;                                                   \
        if (ROWS > 9) p3 = a + 9 * rs;                                                   \
        for (ptrdiff_t k = asks; k < w->count; k++) DASE_ASK(w->at[k]);                  \
        DASE_ROWS_##ROWS(DASE_BF16_ZERO_##NV)                                            \
        ptrdiff_t k = 0;                                                                 \
        for (; k < asks; k++) {                                                          \
            DASE_ASK(w->at[k]);                                                          \
            DASE_BF16_PAIR(ROWS, NV)                                                     \
        }                                                                                \
        for (; k < pairs; k++) { DASE_BF16_PAIR(ROWS, NV) }                              \
        (void)p1; (void)p2; (void)p3;                                                    \
        DASE_ROWS_##ROWS(DASE_BF16_SAVE_##NV)                                            \
    }
#define DASE_BF16_ASKINGS(ROWS) DASE_BF16_ASKING(ROWS, 1) DASE_BF16_ASKING(ROWS, 2)
#define DASE_BF16_ASKING_ENTRY(ROWS) {dase_bf16_asking_##ROWS##x1, dase_bf16_asking_##ROWS##x2}

DASE_BF16_ASKINGS(1) DASE_BF16_ASKINGS(2) DASE_BF16_ASKINGS(3) DASE_BF16_ASKINGS(4)
DASE_BF16_ASKINGS(5) DASE_BF16_ASKINGS(6) DASE_BF16_ASKINGS(7) DASE_BF16_ASKINGS(8)
DASE_BF16_ASKINGS(9) DASE_BF16_ASKINGS(10) DASE_BF16_ASKINGS(11) DASE_BF16_ASKINGS(12)

typedef void (*dase_bf16_asking)(ptrdiff_t, const unsigned *, ptrdiff_t, ptrdiff_t, const unsigned *, __m512 *,
                                 const dase_asks *);
static const dase_bf16_asking dase_bf16_askings[DASE_BF16_MR][2] = {
    DASE_BF16_ASKING_ENTRY(1), DASE_BF16_ASKING_ENTRY(2), DASE_BF16_ASKING_ENTRY(3), DASE_BF16_ASKING_ENTRY(4),
    DASE_BF16_ASKING_ENTRY(5), DASE_BF16_ASKING_ENTRY(6), DASE_BF16_ASKING_ENTRY(7), DASE_BF16_ASKING_ENTRY(8),
    DASE_BF16_ASKING_ENTRY(9), DASE_BF16_ASKING_ENTRY(10), DASE_BF16_ASKING_ENTRY(11), DASE_BF16_ASKING_ENTRY(12),
};

#endif
#endif
