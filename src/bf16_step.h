/* The products of a training step from factors rounded to bfloat16. Part of step.h.

   An activation is rounded twice where it is finished, because bf16.h multiplies pairs of
   neighbours in the inner dimension: `along` pairs features, sample by sample, and is the left
   factor of x w and dout w^T; `across` pairs samples and is both factors of x^T dout. What is left
   of the last pair of panels is zero in both, and so is the sample behind an odd number of them.
   Weights are rounded as their panels are packed, once a step for each product.

   The float32 activations stay: masks, normalization and the sums of columns are theirs. */

#ifndef DASE_TYPE /* ---- once ---- */
#ifndef DASE_BF16_STEP_H
#define DASE_BF16_STEP_H

#include "bf16.h"
#include "panels.h"

#define DASE_BF16_KC 512 /* a block of k: the left factor's stays in the second-level cache */
#define DASE_BF16_CUTS 3 /* tiles of a pair of panels of the left factor of x^T dout */

typedef struct {
    unsigned *along;  /* pairs of features: rows of samples, `pitch` words apart */
    unsigned *across; /* pairs of samples: pairs of panels, `apart` words apart */
    ptrdiff_t pitch, apart;
} dase_rounded;

/* A little more than is used, so that they begin in other sets of the cache. */
static inline ptrdiff_t dase_bf16_pitch(ptrdiff_t features) { return (DASE_UP(features, 2 * DASE_PANEL) + 1) * 16; }
static inline ptrdiff_t dase_bf16_apart(ptrdiff_t n) { return DASE_UP(n, 2) * 2 * DASE_PANEL + 16; }

#endif
#else /* ---- once per type ---- */

static inline const dase_rounded *DASE_NAME(rounded_in)(const dase_step *s, int l)
{
    return !s->bf16 ? NULL : l ? &s->layer[l - 1].h_bf16 : &s->x_bf16;
}

#if DASE_BF16 && DASE_VL == DASE_BF16_VL /* float */

/* Both roundings of the panels p0..p1 of an activation that has `panels` of them. */
DASE_BF16_CODE static void dase_round_panels_float(ptrdiff_t n, ptrdiff_t p0, ptrdiff_t p1, ptrdiff_t panels,
                                                   const float *h, const dase_rounded *to)
{
    const ptrdiff_t stride = dase_panel_stride(n);
    const __m512 zero = _mm512_setzero_ps();
    for (ptrdiff_t p = p0; p < p1; p++) {
        const float *from = h + p * stride;
        unsigned *along = to->along + p * (DASE_PANEL / 2);
        /* A last pair of panels that is one only is packed as one. */
        const int alone = p % 2 == 0 && p + 1 == panels;
        unsigned *across = to->across + p / 2 * to->apart + p % 2 * DASE_PANEL;
        for (ptrdiff_t i = 0; i < n; i += 2, from += 2 * DASE_PANEL, along += 2 * to->pitch) {
            const int both = i + 1 < n;
            const __m512 low = _mm512_load_ps(from), high = both ? _mm512_load_ps(from + DASE_PANEL) : zero;
            _mm256_store_si256((__m256i *)along, (__m256i)_mm512_cvtneps_pbh(low));
            if (both) _mm256_store_si256((__m256i *)(along + to->pitch), (__m256i)_mm512_cvtneps_pbh(high));
            if (alone) {
                _mm256_store_si256((__m256i *)(along + DASE_PANEL / 2), _mm256_setzero_si256());
                if (both) _mm256_store_si256((__m256i *)(along + to->pitch + DASE_PANEL / 2), _mm256_setzero_si256());
            }
            _mm512_store_si512(across, dase_bf16_pairs(low, high));
            across += alone ? DASE_PANEL : 2 * DASE_PANEL;
        }
    }
}

/* Asks for a piece of the next panel of B while this one is multiplied. */
static inline void dase_ask_bf16_float(const dase_product_float *p, ptrdiff_t j, ptrdiff_t k, int cols, ptrdiff_t depth,
                                       int tiles, int t)
{
    dase_ask_panel_float(p, j, k, dase_cut(depth, tiles, t), dase_cut(depth, tiles, t + 1), cols, depth);
}

static void dase_multiply_bf16_float(const dase_product_float *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0, ptrdiff_t j1,
                                     ptrdiff_t k0, ptrdiff_t k1, unsigned *pack)
{
    const ptrdiff_t rows = i1 - i0, blocks = DASE_UP(k1 - k0, DASE_BF16_KC);
    const ptrdiff_t kc = DASE_UP(DASE_UP(k1 - k0, blocks), 32) * 32;
    const int tiles = (int)DASE_UP(rows, DASE_BF16_MR);
    const ptrdiff_t turns = blocks * DASE_UP(j1 - j0, WIDTH) * tiles, samples = p->ahead ? p->ahead->n : 0;
    ptrdiff_t turn = 0;
    __m512 tile[2 * DASE_BF16_MR];
    dase_job_float job;
    job.mask = NULL;
    job.scale = p->scale;
    for (ptrdiff_t k = k0; k < k1; k += kc) {
        const ptrdiff_t depth = k1 - k < kc ? k1 - k : kc;
        job.flags = (k == k0 ? 0 : DASE_ADD) | (k + depth == k1 ? p->flags : 0);
        for (ptrdiff_t j = j0; j < j1; j += WIDTH) {
            const int cols = j1 - j < WIDTH ? (int)(j1 - j) : WIDTH, nv = cols > DASE_VL ? 2 : 1;
            if (p->transposed) dase_bf16_pack_columns(depth, cols, p->b + j * p->ldb + k, p->ldb, pack);
            else dase_bf16_pack_rows(depth, cols, p->b + k * p->ldb + j, p->ldb, pack, 0);
            job.bias = p->bias == NULL ? NULL : p->bias + j;
            for (int t = 0; t < tiles; t++) {
                const ptrdiff_t i = i0 + dase_cut(rows, tiles, t), end = i0 + dase_cut(rows, tiles, t + 1);
                if (p->c_panels) {
                    const ptrdiff_t at = j / DASE_PANEL * p->stride + i * DASE_PANEL;
                    job.c = p->c + at;
                    job.ldc = DASE_PANEL;
                    job.cvs = p->stride;
                    if (p->mask) job.mask = p->mask + at;
                } else {
                    job.c = p->c + i * p->cols + j;
                    job.ldc = p->cols;
                    job.cvs = DASE_VL;
                }
                if (p->ahead)
                    dase_ask_float(p->ahead, dase_cut(samples, (int)turns, (int)turn),
                                   dase_cut(samples, (int)turns, (int)turn + 1), p->ahead0, p->ahead1);
                turn++;
                if (j + WIDTH < j1)
                    dase_ask_bf16_float(p, j + WIDTH, k, j1 - j - WIDTH < WIDTH ? (int)(j1 - j - WIDTH) : WIDTH, depth,
                                        tiles, t);
                dase_bf16_kernels[end - i - 1][nv - 1](DASE_UP(depth, 2), p->rounded->along + i * p->rounded->pitch + k / 2,
                                                       p->rounded->pitch, 1, pack, tile);
                dase_job_out_float(&job, (int)(end - i), cols, (const dase_vec_float *)tile, nv);
            }
        }
    }
}

/* x^T dout, tile by tile straight into the update. Threads share the rows of tiles. */
static void dase_update_weights_bf16_float(dase_step *s, int l, int part, int parts)
{
    const dase_layer *layer = &s->layer[l];
    const dase_rounded *x = dase_rounded_in_float(s, l), *dout = &layer->dout_bf16;
    const ptrdiff_t pairs = DASE_UP(s->source.n, 2), m = layer->fan_out, d = layer->fan_in;
    const dase_update_float u = dase_update_of_float(&layer->weights, s->rule);
    const ptrdiff_t units = DASE_UP(d, WIDTH) * DASE_BF16_CUTS;
    const ptrdiff_t u0 = dase_cut(units, parts, part), u1 = dase_cut(units, parts, part + 1);
    __m512 tile[2 * DASE_BF16_MR];
    for (ptrdiff_t unit = u0; unit < u1; unit++) layer->squares[unit] = 0;
    for (ptrdiff_t from = u0; from < u1;) {
        const ptrdiff_t pair = from / DASE_BF16_CUTS, next = (pair + 1) * DASE_BF16_CUTS, past = next < u1 ? next : u1;
        const ptrdiff_t features = d - pair * WIDTH < WIDTH ? d - pair * WIDTH : WIDTH;
        for (ptrdiff_t j = 0; j < m; j += WIDTH) {
            const int cols = m - j < WIDTH ? (int)(m - j) : WIDTH, nv = cols > DASE_VL ? 2 : 1;
            for (ptrdiff_t unit = from; unit < past; unit++) {
                const ptrdiff_t r0 = dase_cut(features, DASE_BF16_CUTS, (int)(unit % DASE_BF16_CUTS));
                const int rows = (int)(dase_cut(features, DASE_BF16_CUTS, (int)(unit % DASE_BF16_CUTS) + 1) - r0);
                const ptrdiff_t at = (pair * WIDTH + r0) * m + j;
                if (rows == 0) continue;
                dase_bf16_kernels[rows - 1][nv - 1](pairs, x->across + pair * x->apart + r0, 1,
                                                    features > DASE_VL ? WIDTH : DASE_VL,
                                                    dout->across + j / WIDTH * dout->apart, tile);
                layer->squares[unit] += dase_update_by_float(&u, (const dase_vec_float *)tile, nv, rows, cols, at, m);
            }
        }
        from = past;
    }
}

#else /* never called: step.bf16 is not set */

static inline void DASE_NAME(round_panels)(ptrdiff_t n, ptrdiff_t p0, ptrdiff_t p1, ptrdiff_t panels,
                                           const DASE_TYPE *h, const dase_rounded *to) {}
static inline void DASE_NAME(multiply_bf16)(const DASE_NAME(product) *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0,
                                            ptrdiff_t j1, ptrdiff_t k0, ptrdiff_t k1, unsigned *pack) {}
static inline void DASE_NAME(update_weights_bf16)(dase_step *s, int l, int part, int parts) {}

#endif
#endif
