/* What a training step from factors rounded to bfloat16 needs of vectors: see bf16/README.md.

   An activation is rounded twice where it is finished, because bf16/microkernel.h multiplies pairs of
   neighbours in the inner dimension: `along` pairs features, sample by sample, and is the left
   factor of x w and dout w^T; `across` pairs samples and is both factors of x^T dout. Behind an
   odd number of features or samples stands a zero.

   The float32 activations stay: masks, normalization and the sums of columns are theirs. */
#ifndef BF16_STEP_H
#define BF16_STEP_H

#include "bf16/amx_step.h"
#include "bf16/prefetching.h"
#include "step/panel.h"
#include "step/rules.h"

#define BF16_ROUNDED 8     /* panels rounded at a time */
#define BF16_PAIR_PANELS 2 /* panels of the left factor of x^T dout that are cut into tiles together */
#define BF16_CUTS 4        /* and into how many */

enum { BY_AVX512 = 1, BY_AMX };

typedef struct {
    unsigned *along;       /* pairs of features: rows of samples, row_stride words apart */
    unsigned *across;      /* pairs of samples: pairs of panels, pair_stride words apart */
    ptrdiff_t row_stride, pair_stride;
    int amx;               /* zeros stand behind the last pair of `across` */
} rounded_panels;

/* A little more than is used, so that they begin in other sets of the cache. */
static inline ptrdiff_t bf16_row_stride(ptrdiff_t features)
{
    return ((features + 2 * PANEL - 1) / (2 * PANEL) + 1) * 16;
}
static inline ptrdiff_t bf16_pair_stride(ptrdiff_t n)
{
    return (n + 2 * AMX_PAIRS - 1) / (2 * AMX_PAIRS) * AMX_PAIRS * 2 * PANEL + 16;
}

#if HAVE_BF16

/* Both roundings of the samples i0..i1 of n, i0 even, in panels p0..p1 of a float32 activation that has `panels`
   of them: a few panels at a time, because the samples of `along` lie pages apart. */
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

/* C(rows x cols) = A B, and what the flags tell. A's pairs lie side by side, its rows `stride` words apart; B is
   packed. 1 <= rows <= BF16_MR, 1 <= cols <= 2 VL. */
static inline void bf16_tile_product(const tile_args *args, float *c, int rows, int cols, ptrdiff_t pairs,
                                     const unsigned *a, ptrdiff_t stride, const unsigned *b)
{
    __m512 tile[2 * BF16_MR];
    const int nv = cols > BF16_VL ? 2 : 1;
    bf16_prefetching[rows - 1][nv - 1](pairs, a, stride, 1, b, tile, args->prefetch);
    tile_store_float(args, c, rows, cols, (const vec_float *)tile, nv);
}

/* A tile of a gradient, and the update by it: its rows lie side by side in A, whose pairs are `stride` words apart.
   Returns the sum of squares of the parameter before. */
static inline double bf16_update_tile(const rule_update *u, int rows, int cols, ptrdiff_t pairs, const unsigned *a,
                                      ptrdiff_t stride, const unsigned *b, ptrdiff_t at, ptrdiff_t ld,
                                      const prefetch_list *lines)
{
    __m512 tile[2 * BF16_MR];
    const int nv = cols > BF16_VL ? 2 : 1;
    bf16_prefetching[rows - 1][nv - 1](pairs, a, 1, stride, b, tile, lines);
    return update_by_float(u, (const float *)tile, nv, rows, cols, at, ld);
}

#else /* never called: no step asks for bfloat16 then */

static inline void round_panels(const rounded_panels *to, ptrdiff_t n, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0,
                                ptrdiff_t p1, ptrdiff_t panels, const void *activation) {}
static inline void bf16_tile_product(const tile_args *args, float *c, int rows, int cols, ptrdiff_t pairs,
                                     const unsigned *a, ptrdiff_t stride, const unsigned *b) {}
static inline double bf16_update_tile(const rule_update *u, int rows, int cols, ptrdiff_t pairs, const unsigned *a,
                                      ptrdiff_t stride, const unsigned *b, ptrdiff_t at, ptrdiff_t ld,
                                      const prefetch_list *lines) { return 0; }

#endif
#endif
