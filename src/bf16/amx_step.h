/* What a training step by AMX needs of vectors: see bf16/README.md.

   A tile takes less time than the memory that belongs to it, and memory is read fastest as long runs: so the rows
   of a block of weights are rounded all along before they are multiplied, and a gradient is computed for whole
   rows before the parameter is updated by it. The left factor of x^T dout is transposed on its way: to rows of
   pairs, a pair of panels at a time. */
#ifndef AMX_STEP_H
#define AMX_STEP_H

#include "bf16/amx.h"

#define BF16_KC 512   /* a block of k: the left factor's stays in the second-level cache */
#define AMX_COLS 1024 /* columns of weights at a time: rows of 4 KB; with 512 of k, 1 MB when rounded */
#define AMX_PANEL_STRIDE (BF16_KC * BF16_VL + 16) /* words from one packed panel to the next */

/* Words between rows of the left factor of x^T dout, when it is transposed. */
static inline ptrdiff_t transposed_stride(ptrdiff_t n)
{
    return ((n + 2 * AMX_PAIRS - 1) / (2 * AMX_PAIRS) + 1) * AMX_PAIRS;
}

/* Words of scratch for a thread: packed panels; or what was transposed, and rows of a gradient. */
static inline ptrdiff_t amx_words(ptrdiff_t n, ptrdiff_t widest)
{
    const ptrdiff_t width = 2 * BF16_VL, cols = widest < AMX_COLS ? widest : AMX_COLS;
    const ptrdiff_t panels = (cols + width - 1) / width, packed = panels * AMX_PANEL_STRIDE;
    const ptrdiff_t update = AMX_MR * (transposed_stride(n) + panels * width);
    return packed > update ? packed : update;
}

#if HAVE_AMX

/* C(rows x cols) = A B, and what the flags tell. A's pairs lie side by side, its rows `stride` words apart; B is
   packed. 1 <= rows <= AMX_MR, 1 <= cols <= 2 VL. */
static inline void amx_tile_product(const tile_args *args, float *c, int rows, int cols, ptrdiff_t pairs,
                                    const unsigned *a, ptrdiff_t stride, const unsigned *b, int *configured)
{
    __m512 tile[2 * AMX_MR];
    const int nv = cols > BF16_VL ? 2 : 1;
    amx_sums(rows, nv, pairs, a, stride, b, (float *)tile, nv * BF16_VL, args->prefetch, configured);
    tile_store_float(args, c, rows, cols, (const vec_float *)tile, nv);
}

/* The first rows of a pair of panels of x, `width` words a pair of samples, as rows of pairs. */
BF16_CODE static void transpose_pairs(const unsigned *across, ptrdiff_t width, ptrdiff_t n, ptrdiff_t rows,
                                      unsigned *transposed)
{
    const ptrdiff_t stride = transposed_stride(n);
    for (ptrdiff_t k = 0; k < (n + 1) / 2; k += AMX_PAIRS)
        for (ptrdiff_t i = 0; i < rows; i += 16) {
            const ptrdiff_t some = rows - i < 16 ? rows - i : 16;
            __m512i r[16];
            for (int p = 0; p < 16; p++)
                r[p] = _mm512_maskz_loadu_epi32(bf16_mask(some), across + (k + p) * width + i);
            amx_turn(r, (int)some, transposed + i * stride + k, stride);
        }
}

#else /* never called: no step asks for AMX then */

static inline void amx_sums(int rows, int nv, ptrdiff_t pairs, const unsigned *a, ptrdiff_t pitch, const unsigned *b,
                            float *tile, ptrdiff_t apart, const prefetch_list *w, int *configured) {}
static inline void amx_tile_product(const tile_args *args, float *c, int rows, int cols, ptrdiff_t pairs,
                                    const unsigned *a, ptrdiff_t stride, const unsigned *b, int *configured) {}
static inline void transpose_pairs(const unsigned *across, ptrdiff_t width, ptrdiff_t n, ptrdiff_t rows,
                                   unsigned *transposed) {}

#endif
#endif
