/* What a training step from factors rounded to bfloat16 needs of vectors: see bf16/README.md.

   An activation is rounded twice where it is finished, because bf16/microkernel.h multiplies pairs of
   neighbours in the inner dimension: `along` pairs features, sample by sample, and is the left
   factor of x w and dout w^T; `across` pairs samples and is both factors of x^T dout. Behind an
   odd number of features or samples stands a zero.

   The float32 activations stay: masks, normalization and the sums of columns are theirs. */
#ifndef BF16_STEP_H
#define BF16_STEP_H

#include "bf16/amx.h"
#include "step/panel.h"
#include "step/rules.h"

#define BF16_ROUNDED 8 /* panels rounded at a time */

typedef struct {
    unsigned *along;       /* pairs of features: rows of samples, row_stride words apart */
    unsigned *across;      /* pairs of samples: pairs of panels, pair_stride words apart */
    ptrdiff_t row_stride, pair_stride;
    int amx;               /* zeros stand behind the last pair of `across` */
} rounded_panels;

#if HAVE_BF16

/* Both roundings of the samples i0..i1 of n, i0 even, in panels p0..p1 of a float32 activation that has `panels`
   of them: a few panels at a time, because the samples of `along` lie pages apart. The loops are here, where the
   instructions are: a function that carries its instruction set is not inlined into one that does not. */
BF16_CODE static void round_panels(const rounded_panels *to, ptrdiff_t n, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0,
                                   ptrdiff_t p1, ptrdiff_t panels, const void *activation)
{
    const float *h = activation;
    const ptrdiff_t stride = panel_stride(n);
    const __m512 zero = _mm512_setzero_ps();
    for (ptrdiff_t from = p0; from < p1; from += BF16_ROUNDED) {
        const ptrdiff_t past = from + BF16_ROUNDED < p1 ? from + BF16_ROUNDED : p1;
        for (ptrdiff_t i = i0; i < i1; i += 2) {
            const int both = i + 1 < n;
            unsigned *first = to->along + i * to->row_stride, *second = both ? first + to->row_stride : first;
            for (ptrdiff_t p = from; p < past; p++) {
                const float *panel = h + p * stride + i * PANEL;
                const __m512 low = _mm512_load_ps(panel), high = both ? _mm512_load_ps(panel + PANEL) : zero;
                /* The last pair of panels is packed as one where it is one only. */
                const int alone = p % 2 == 0 && p + 1 == panels;
                _mm256_store_si256((__m256i *)first + p, (__m256i)_mm512_cvtneps_pbh(low));
                if (both) _mm256_store_si256((__m256i *)second + p, (__m256i)_mm512_cvtneps_pbh(high));
                _mm512_store_si512(to->across + p / 2 * to->pair_stride + (alone ? i / 2 : i + p % 2) * PANEL,
                                   bf16_pairs(low, high));
            }
        }
    }
    if (to->amx && i1 == n)
        for (ptrdiff_t p = p0; p < p1; p++) {
            const int alone = p % 2 == 0 && p + 1 == panels;
            for (ptrdiff_t pair = (n + 1) / 2; pair % AMX_PAIRS != 0; pair++)
                _mm512_store_si512(to->across + p / 2 * to->pair_stride + (alone ? pair : 2 * pair + p % 2) * PANEL,
                                   (__m512i)zero);
        }
}

/* A tile of a gradient, and the update by it. Returns the sum of squares of the parameter before. */
static inline double bf16_update_tile(const tile_args *args, int rows, int cols, ptrdiff_t pairs, const rule_update *u,
                                      ptrdiff_t at, ptrdiff_t ld)
{
    __m512 tile[2 * BF16_MR];
    const int nv = bf16_sums(args, rows, cols, pairs, tile);
    return update_by_float(u, (const float *)tile, nv, rows, cols, at, ld);
}

#else

#define round_panels(...) stand_in(0, __VA_ARGS__)
#define bf16_update_tile(...) stand_in(0, __VA_ARGS__)

#endif
#endif
