/* The products of a training step from factors rounded to bfloat16. Part of step/step.h.

   An activation is rounded twice where it is finished, because bf16/microkernel.h multiplies pairs of
   neighbours in the inner dimension: `along` pairs features, sample by sample, and is the left
   factor of x w and dout w^T; `across` pairs samples and is both factors of x^T dout. Behind an
   odd number of features or samples stands a zero. Weights are rounded as their
   panels are packed, once a step for each product.

   The float32 activations stay: masks, normalization and the sums of columns are theirs.

   The products by AMX are in bf16/amx_step.h. */

#ifndef real /* ---- once ---- */
#ifndef BF16_STEP_H
#define BF16_STEP_H

#include "bf16/amx_step.h"
#include "bf16/prefetching.h"
#include "step/panels.h"

#define BF16_ROUNDED 8 /* panels rounded at a time */
#define BF16_CUTS 4    /* tiles of a pair of panels of the left factor of x^T dout */

enum { BY_AVX512 = 1, BY_AMX };

typedef struct {
    unsigned *along;  /* pairs of features: rows of samples, `pitch` words apart */
    unsigned *across; /* pairs of samples: pairs of panels, `apart` words apart */
    ptrdiff_t pitch, apart;
    int amx;          /* zeros stand behind the last pair of `across` */
} rounded_panels;

/* A little more than is used, so that they begin in other sets of the cache. */
static inline ptrdiff_t bf16_pitch(ptrdiff_t features) { return (ceil_div(features, 2 * PANEL) + 1) * 16; }
static inline ptrdiff_t bf16_apart(ptrdiff_t n)
{
    return ceil_div(n, 2 * AMX_PAIRS) * AMX_PAIRS * 2 * PANEL + 16;
}

#endif
#else /* ---- once per type ---- */

/* The input of layer l; NULL in full precision. */
static inline const rounded_panels *TYPED(rounded_in)(const step_state *s, int l)
{
    return !s->bf16 ? NULL : l ? &s->layer[l - 1].h_bf16 : &s->x_bf16;
}

#if HAVE_BF16 && VL == BF16_VL /* float */

#if BF16_KC > 2 * KC
#error "a packed panel of pairs does not fit where one of floats does"
#endif

/* Both roundings of the samples i0..i1 of n, i0 even, in panels p0..p1 of an activation that has `panels` of
   them: a few panels at a time, because the samples of `along` lie pages apart. */
BF16_CODE static void round_panels_float(ptrdiff_t n, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0,
                                                   ptrdiff_t p1, ptrdiff_t panels, const float *h,
                                                   const rounded_panels *to)
{
    const ptrdiff_t stride = panel_stride(n);
    const __m512 zero = _mm512_setzero_ps();
    for (ptrdiff_t from = p0; from < p1; from += BF16_ROUNDED) {
        const ptrdiff_t past = from + BF16_ROUNDED < p1 ? from + BF16_ROUNDED : p1;
        for (ptrdiff_t i = i0; i < i1; i += 2) {
            const int both = i + 1 < n;
            unsigned *first = to->along + i * to->pitch, *second = both ? first + to->pitch : first;
            for (ptrdiff_t p = from; p < past; p++) {
                const float *panel = h + p * stride + i * PANEL;
                const __m512 low = _mm512_load_ps(panel), high = both ? _mm512_load_ps(panel + PANEL) : zero;
                /* The last pair of panels is packed as one where it is one only. */
                const int alone = p % 2 == 0 && p + 1 == panels;
                _mm256_store_si256((__m256i *)first + p, (__m256i)_mm512_cvtneps_pbh(low));
                if (both) _mm256_store_si256((__m256i *)second + p, (__m256i)_mm512_cvtneps_pbh(high));
                _mm512_store_si512(to->across + p / 2 * to->apart + (alone ? i / 2 : i + p % 2) * PANEL,
                                   bf16_pairs(low, high));
            }
        }
    }
    if (to->amx && i1 == n)
        for (ptrdiff_t p = p0; p < p1; p++) {
            const int alone = p % 2 == 0 && p + 1 == panels;
            for (ptrdiff_t pair = ceil_div(n, 2); pair % AMX_PAIRS != 0; pair++)
                _mm512_store_si512(to->across + p / 2 * to->apart + (alone ? pair : 2 * pair + p % 2) * PANEL,
                                   (__m512i)zero);
        }
}

/* multiply of step/step.h from rounded factors. */
static void multiply_bf16_float(const product_float *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0,
                                     ptrdiff_t j1, ptrdiff_t k0, ptrdiff_t k1, unsigned *pack)
{
    const ptrdiff_t rows = i1 - i0, blocks = ceil_div(k1 - k0, BF16_KC);
    const ptrdiff_t kc = ceil_div(ceil_div(k1 - k0, blocks), 32) * 32;
    const int tiles = (int)ceil_div(rows, BF16_MR);
    const ptrdiff_t turns = blocks * ceil_div(j1 - j0, WIDTH) * tiles;
    const rounded_panels *a = p->rounded;
    ptrdiff_t turn = 0;
    __m512 tile[2 * BF16_MR];
    prefetch_list asks;
    tile_args job;
    job.scale = p->scale;
    for (ptrdiff_t k = k0; k < k1; k += kc) {
        const ptrdiff_t depth = k1 - k < kc ? k1 - k : kc;
        job.flags = (k == k0 ? 0 : TILE_ADD) | (k + depth == k1 ? p->flags : 0);
        for (ptrdiff_t j = j0; j < j1; j += WIDTH) {
            const int cols = j1 - j < WIDTH ? (int)(j1 - j) : WIDTH, nv = cols > VL ? 2 : 1;
            if (p->transposed) bf16_pack_columns(depth, cols, p->b + j * p->ldb + k, p->ldb, pack);
            else bf16_pack_rows(depth, cols, p->b + k * p->ldb + j, p->ldb, pack, 0);
            for (int t = 0; t < tiles; t++) {
                const ptrdiff_t i = i0 + part_start(rows, tiles, t), end = i0 + part_start(rows, tiles, t + 1);
                float *c = place_float(&job, p, i, j);
                asks.count = 0;
                ask_ahead_float(&asks, p, i0, rows, turns, turn++);
                if (j + WIDTH < j1) ask_panel_float(&asks, p, j + WIDTH, j1, k, depth, tiles, t);
                else if (k + depth < k1)
                    ask_panel_float(&asks, p, j0, j1, k + depth, k1 - k - depth < kc ? k1 - k - depth : kc,
                                          tiles, t);
                bf16_askings[end - i - 1][nv - 1](ceil_div(depth, 2), a->along + i * a->pitch + k / 2, a->pitch, 1,
                                                       pack, tile, &asks);
                tile_store_float(&job, c, (int)(end - i), cols, (const vec_float *)tile, nv);
            }
        }
    }
}

/* First row of a tile of x^T dout, whose d rows are cut by pairs of panels. */
static inline ptrdiff_t bf16_row(ptrdiff_t d, ptrdiff_t unit)
{
    const ptrdiff_t from = unit / BF16_CUTS * WIDTH, rows = d - from < WIDTH ? d - from : WIDTH;
    return rows <= 0 ? d : from + part_start(rows, BF16_CUTS, (int)(unit % BF16_CUTS));
}

/* The part of the parameter that a unit updates in the columns from j. */
static inline void ask_unit_float(prefetch_list *asks, const update_float *u, ptrdiff_t d, ptrdiff_t m,
                                       ptrdiff_t unit, ptrdiff_t j)
{
    const ptrdiff_t row = bf16_row(d, unit), rows = bf16_row(d, unit + 1) - row;
    ask_tile_float(u, asks, rows, m - j < WIDTH ? m - j : WIDTH, row * m + j, m);
}

/* x^T dout, tile by tile straight into the update. Threads share the rows of tiles. */
static void update_weights_bf16_float(step_state *s, int l, int part, int parts)
{
    const step_layer *layer = &s->layer[l];
    const rounded_panels *x = rounded_in_float(s, l), *dout = &layer->dout_bf16;
    const ptrdiff_t pairs = ceil_div(s->source.n, 2), m = layer->fan_out, d = layer->fan_in;
    const update_float u = update_of_float(&layer->weights, s->rule);
    const ptrdiff_t units = ceil_div(d, WIDTH) * BF16_CUTS;
    const ptrdiff_t u0 = part_start(units, parts, part), u1 = part_start(units, parts, part + 1);
    __m512 tile[2 * BF16_MR];
    prefetch_list asks;
    for (ptrdiff_t unit = u0; unit < u1; unit++) layer->squares[unit] = 0;
    for (ptrdiff_t from = u0; from < u1;) {
        const ptrdiff_t pair = from / BF16_CUTS, next = (pair + 1) * BF16_CUTS, past = next < u1 ? next : u1;
        for (ptrdiff_t j = 0; j < m; j += WIDTH) {
            const int cols = m - j < WIDTH ? (int)(m - j) : WIDTH, nv = cols > VL ? 2 : 1;
            for (ptrdiff_t unit = from; unit < past; unit++) {
                const ptrdiff_t row = bf16_row(d, unit), rows = bf16_row(d, unit + 1) - row;
                if (rows == 0) continue;
                asks.count = 0;
                if (unit + 1 < past) ask_unit_float(&asks, &u, d, m, unit + 1, j);
                else if (j + WIDTH < m) ask_unit_float(&asks, &u, d, m, from, j + WIDTH);
                else if (past < u1) ask_unit_float(&asks, &u, d, m, past, 0);
                bf16_askings[rows - 1][nv - 1](pairs, x->across + pair * x->apart + row % WIDTH, 1,
                                                    d - pair * WIDTH > VL ? WIDTH : VL,
                                                    dout->across + j / WIDTH * dout->apart, tile, &asks);
                layer->squares[unit] += update_by_float(&u, (const vec_float *)tile, nv, (int)rows, cols,
                                                             row * m + j, m);
            }
        }
        from = past;
    }
}

#include "bf16/amx_step.h"

#else /* never called: step.bf16 is not set */

static inline void TYPED(multiply_amx)(const TYPED(product) *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0,
                                           ptrdiff_t j1, ptrdiff_t k0, ptrdiff_t k1, unsigned *pack) {}
static inline void TYPED(update_weights_amx)(step_state *s, int l, int part, int parts, unsigned *pack) {}
static inline void TYPED(round_panels)(ptrdiff_t n, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1,
                                           ptrdiff_t panels, const real *h, const rounded_panels *to) {}
static inline void TYPED(multiply_bf16)(const TYPED(product) *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0,
                                            ptrdiff_t j1, ptrdiff_t k0, ptrdiff_t k1, unsigned *pack) {}
static inline void TYPED(update_weights_bf16)(step_state *s, int l, int part, int parts) {}

#endif
#endif
