/* Register tiles of bfloat16 products that ask for memory while they are computed. See bf16/microkernel.h. */
#ifndef BF16_ASKING_H
#define BF16_ASKING_H

#include "product/prefetch.h"
#include "bf16/microkernel.h"

#if HAVE_BF16

#define BF16_PAIR(ROWS, NV)                                                                  \
    BF16_LOAD_##NV                                                                           \
    ROWS_##ROWS(BF16_STEP_##NV)                                                              \
    p0 += cs; p1 += cs; p2 += cs; p3 += cs;                                                  \
    b += NV * BF16_VL;

/* tile = A B, as the kernels of bf16/microkernel.h, while the lines are asked for. */
#define BF16_ASKING(ROWS, NV)                                                                \
    BF16_CODE static void bf16_asking_##ROWS##x##NV(                                         \
        ptrdiff_t pairs, const unsigned *a, ptrdiff_t rs, ptrdiff_t cs,                      \
        const unsigned *b, __m512 *tile, const prefetch_list *w)                             \
    {                                                                                        \
        const unsigned *p0 = a, *p1 = a, *p2 = a, *p3 = a;                                   \
        const ptrdiff_t asks = w->count < pairs ? w->count : pairs;                          \
        if (ROWS > 3) p1 = a + 3 * rs;                                                       \
        if (ROWS > 6) p2 = a + 6 * rs;                                                       \
        if (ROWS > 9) p3 = a + 9 * rs;                                                       \
        for (ptrdiff_t k = asks; k < w->count; k++) PREFETCH(w->at[k]);                      \
        ROWS_##ROWS(BF16_ZERO_##NV)                                                          \
        ptrdiff_t k = 0;                                                                     \
        for (; k < asks; k++) {                                                              \
            PREFETCH(w->at[k]);                                                              \
            BF16_PAIR(ROWS, NV)                                                              \
        }                                                                                    \
        for (; k < pairs; k++) { BF16_PAIR(ROWS, NV) }                                       \
        (void)p1; (void)p2; (void)p3;                                                        \
        ROWS_##ROWS(BF16_SAVE_##NV)                                                          \
    }
#define BF16_ASKINGS(ROWS) BF16_ASKING(ROWS, 1) BF16_ASKING(ROWS, 2)
#define BF16_ASKING_ENTRY(ROWS) {bf16_asking_##ROWS##x1, bf16_asking_##ROWS##x2}

BF16_ASKINGS(1) BF16_ASKINGS(2) BF16_ASKINGS(3) BF16_ASKINGS(4)
BF16_ASKINGS(5) BF16_ASKINGS(6) BF16_ASKINGS(7) BF16_ASKINGS(8)
BF16_ASKINGS(9) BF16_ASKINGS(10) BF16_ASKINGS(11) BF16_ASKINGS(12)

typedef void (*bf16_asking)(ptrdiff_t, const unsigned *, ptrdiff_t, ptrdiff_t, const unsigned *, __m512 *,
                                 const prefetch_list *);
static const bf16_asking bf16_askings[BF16_MR][2] = {
    BF16_ASKING_ENTRY(1), BF16_ASKING_ENTRY(2), BF16_ASKING_ENTRY(3), BF16_ASKING_ENTRY(4),
    BF16_ASKING_ENTRY(5), BF16_ASKING_ENTRY(6), BF16_ASKING_ENTRY(7), BF16_ASKING_ENTRY(8),
    BF16_ASKING_ENTRY(9), BF16_ASKING_ENTRY(10), BF16_ASKING_ENTRY(11), BF16_ASKING_ENTRY(12),
};

#endif
#endif
