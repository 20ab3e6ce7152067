/* Register tiles of bfloat16 products that prefetch memory while they are computed. See bf16/microkernel.h. */
#ifndef BF16_PREFETCHING_H
#define BF16_PREFETCHING_H

#include "product/prefetch.h"
#include "bf16/microkernel.h"

#if HAVE_BF16

#define BF16_PAIR(ROWS, NV)                                                                  \
    BF16_LOAD_##NV                                                                           \
    ROWS_##ROWS(BF16_STEP_##NV)                                                              \
    p0 += cs; p1 += cs; p2 += cs; p3 += cs;                                                  \
    b += NV * BF16_VL;

/* tile = A B, as the kernels of bf16/microkernel.h, while the listed lines are prefetched. */
#define BF16_PREFETCHING_KERNEL(ROWS, NV)                                                    \
    BF16_CODE static void bf16_prefetching_##ROWS##x##NV(                                    \
        ptrdiff_t pairs, const unsigned *a, ptrdiff_t rs, ptrdiff_t cs,                      \
        const unsigned *b, __m512 *tile, const prefetch_list *w)                             \
    {                                                                                        \
        const unsigned *p0 = a, *p1 = a, *p2 = a, *p3 = a;                                   \
        const ptrdiff_t early = w->count < pairs ? w->count : pairs;                         \
        if (ROWS > 3) p1 = a + 3 * rs;                                                       \
        if (ROWS > 6) p2 = a + 6 * rs;                                                       \
        if (ROWS > 9) p3 = a + 9 * rs;                                                       \
        for (ptrdiff_t k = early; k < w->count; k++) PREFETCH(w->at[k]);                     \
        ROWS_##ROWS(BF16_ZERO_##NV)                                                          \
        ptrdiff_t k = 0;                                                                     \
        for (; k < early; k++) {                                                             \
            PREFETCH(w->at[k]);                                                              \
            BF16_PAIR(ROWS, NV)                                                              \
        }                                                                                    \
        for (; k < pairs; k++) { BF16_PAIR(ROWS, NV) }                                       \
        (void)p1; (void)p2; (void)p3;                                                        \
        ROWS_##ROWS(BF16_SAVE_##NV)                                                          \
    }
#define BF16_PREFETCHING_KERNELS(ROWS) BF16_PREFETCHING_KERNEL(ROWS, 1) BF16_PREFETCHING_KERNEL(ROWS, 2)
#define BF16_PREFETCHING_ENTRY(ROWS) {bf16_prefetching_##ROWS##x1, bf16_prefetching_##ROWS##x2}

BF16_PREFETCHING_KERNELS(1) BF16_PREFETCHING_KERNELS(2) BF16_PREFETCHING_KERNELS(3)
BF16_PREFETCHING_KERNELS(4) BF16_PREFETCHING_KERNELS(5) BF16_PREFETCHING_KERNELS(6)
BF16_PREFETCHING_KERNELS(7) BF16_PREFETCHING_KERNELS(8) BF16_PREFETCHING_KERNELS(9)
BF16_PREFETCHING_KERNELS(10) BF16_PREFETCHING_KERNELS(11) BF16_PREFETCHING_KERNELS(12)

typedef void (*bf16_prefetching_kernel)(ptrdiff_t, const unsigned *, ptrdiff_t, ptrdiff_t, const unsigned *, __m512 *,
                                        const prefetch_list *);
static const bf16_prefetching_kernel bf16_prefetching[BF16_MR][2] = {
    BF16_PREFETCHING_ENTRY(1), BF16_PREFETCHING_ENTRY(2), BF16_PREFETCHING_ENTRY(3), BF16_PREFETCHING_ENTRY(4),
    BF16_PREFETCHING_ENTRY(5), BF16_PREFETCHING_ENTRY(6), BF16_PREFETCHING_ENTRY(7), BF16_PREFETCHING_ENTRY(8),
    BF16_PREFETCHING_ENTRY(9), BF16_PREFETCHING_ENTRY(10), BF16_PREFETCHING_ENTRY(11), BF16_PREFETCHING_ENTRY(12),
};

#endif
#endif
