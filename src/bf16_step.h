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
#define DASE_BF16_ROUNDED 8 /* panels rounded at a time */
#define DASE_BF16_ASKS 192 /* lines asked for during a tile */
#define DASE_BF16_CUTS 4 /* tiles of a pair of panels of the left factor of x^T dout */

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

/* Lines that are needed soon. A tile's kernel asks for one with each pair, between multiplications:
   many at once would wait for each other. They go to the second-level cache, because the tile's own
   panels fill the first. Those beyond the room for them are asked for at once. */
typedef struct {
    const void *at[DASE_BF16_ASKS];
    int count;
} dase_bf16_wishes;

static inline void dase_bf16_wish(dase_bf16_wishes *w, const float *from, ptrdiff_t count)
{
    const char *end = (const char *)(from + count);
    for (const char *line = (const char *)((uintptr_t)from & ~(uintptr_t)63); line < end; line += 64) {
        if (w->count < DASE_BF16_ASKS) w->at[w->count++] = line;
        else DASE_READ(line);
    }
}

/* tile = A B as in bf16.h, and the wishes. */
#define DASE_BF16_ASKING(ROWS, NV)                                                       \
    DASE_BF16_CODE static void dase_bf16_asking_##ROWS##x##NV(                           \
        ptrdiff_t pairs, const unsigned *a, ptrdiff_t rs, ptrdiff_t cs,                  \
        const unsigned *b, __m512 *tile, const dase_bf16_wishes *w)                      \
    {                                                                                    \
        const unsigned *p0 = a, *p1 = a, *p2 = a, *p3 = a;                               \
        const ptrdiff_t asks = w->count < pairs ? w->count : pairs;                      \
        if (ROWS > 3) p1 = a + 3 * rs;                                                   \
        if (ROWS > 6) p2 = a + 6 * rs;                                                   \
        if (ROWS > 9) p3 = a + 9 * rs;                                                   \
        for (ptrdiff_t k = asks; k < w->count; k++) DASE_READ(w->at[k]);                 \
        DASE_ROWS_##ROWS(DASE_BF16_ZERO_##NV)                                            \
        ptrdiff_t k = 0;                                                                 \
        for (; k < asks; k++) {                                                          \
            _mm_prefetch((const char *)w->at[k], _MM_HINT_T1);                               \
            DASE_BF16_LOAD_##NV                                                          \
            DASE_ROWS_##ROWS(DASE_BF16_STEP_##NV)                                        \
            p0 += cs; p1 += cs; p2 += cs; p3 += cs;                                      \
            b += NV * DASE_BF16_VL;                                                      \
        }                                                                                \
        for (; k < pairs; k++) {                                                         \
            DASE_BF16_LOAD_##NV                                                          \
            DASE_ROWS_##ROWS(DASE_BF16_STEP_##NV)                                        \
            p0 += cs; p1 += cs; p2 += cs; p3 += cs;                                      \
            b += NV * DASE_BF16_VL;                                                      \
        }                                                                                \
        (void)p1; (void)p2; (void)p3;                                                    \
        DASE_ROWS_##ROWS(DASE_BF16_SAVE_##NV)                                            \
    }
#define DASE_BF16_ASKINGS(ROWS) DASE_BF16_ASKING(ROWS, 1) DASE_BF16_ASKING(ROWS, 2)
#define DASE_BF16_ASKING_ENTRY(ROWS) {dase_bf16_asking_##ROWS##x1, dase_bf16_asking_##ROWS##x2}

DASE_BF16_ASKINGS(1) DASE_BF16_ASKINGS(2) DASE_BF16_ASKINGS(3) DASE_BF16_ASKINGS(4)
DASE_BF16_ASKINGS(5) DASE_BF16_ASKINGS(6) DASE_BF16_ASKINGS(7) DASE_BF16_ASKINGS(8)
DASE_BF16_ASKINGS(9) DASE_BF16_ASKINGS(10) DASE_BF16_ASKINGS(11) DASE_BF16_ASKINGS(12)

typedef void (*dase_bf16_asking)(ptrdiff_t, const unsigned *, ptrdiff_t, ptrdiff_t, const unsigned *, __m512 *,
                                 const dase_bf16_wishes *);
static const dase_bf16_asking dase_bf16_askings[DASE_BF16_MR][2] = {
    DASE_BF16_ASKING_ENTRY(1), DASE_BF16_ASKING_ENTRY(2), DASE_BF16_ASKING_ENTRY(3), DASE_BF16_ASKING_ENTRY(4),
    DASE_BF16_ASKING_ENTRY(5), DASE_BF16_ASKING_ENTRY(6), DASE_BF16_ASKING_ENTRY(7), DASE_BF16_ASKING_ENTRY(8),
    DASE_BF16_ASKING_ENTRY(9), DASE_BF16_ASKING_ENTRY(10), DASE_BF16_ASKING_ENTRY(11), DASE_BF16_ASKING_ENTRY(12),
};

/* Both roundings of the panels p0..p1 of an activation that has `panels` of them: a few panels at a
   time, because the samples of `along` lie pages apart. */
DASE_BF16_CODE static void dase_round_panels_float(ptrdiff_t n, ptrdiff_t p0, ptrdiff_t p1, ptrdiff_t panels,
                                                   const float *h, const dase_rounded *to)
{
    const ptrdiff_t stride = dase_panel_stride(n);
    const __m512 zero = _mm512_setzero_ps();
    for (ptrdiff_t from = p0; from < p1; from += DASE_BF16_ROUNDED) {
        const ptrdiff_t past = from + DASE_BF16_ROUNDED < p1 ? from + DASE_BF16_ROUNDED : p1;
        for (ptrdiff_t i = 0; i < n; i += 2) {
            const int both = i + 1 < n;
            unsigned *first = to->along + i * to->pitch, *second = first + to->pitch;
            for (ptrdiff_t p = from; p < past; p++) {
                const float *panel = h + p * stride + i * DASE_PANEL;
                const __m512 low = _mm512_load_ps(panel), high = both ? _mm512_load_ps(panel + DASE_PANEL) : zero;
                /* The last pair of panels is packed as one where it is one only. */
                const int alone = p % 2 == 0 && p + 1 == panels;
                _mm256_store_si256((__m256i *)first + p, (__m256i)_mm512_cvtneps_pbh(low));
                if (both) _mm256_store_si256((__m256i *)second + p, (__m256i)_mm512_cvtneps_pbh(high));
                _mm512_store_si512(to->across + p / 2 * to->apart + (alone ? i / 2 : i + p % 2) * DASE_PANEL,
                                   dase_bf16_pairs(low, high));
            }
        }
    }
}

/* Piece t of the next panel of B, k rows or columns of it, while this one is multiplied. */
static inline void dase_wish_panel_float(dase_bf16_wishes *w, const dase_product_float *p, ptrdiff_t j, ptrdiff_t k,
                                         int cols, ptrdiff_t depth, int tiles, int t)
{
    if (p->transposed) {
        const ptrdiff_t from = dase_cut(cols, tiles, t), to = dase_cut(cols, tiles, t + 1);
        for (ptrdiff_t c = from; c < to; c++) dase_bf16_wish(w, p->b + (j + c) * p->ldb + k, (int)depth);
    } else {
        const ptrdiff_t from = dase_cut(depth, tiles, t), to = dase_cut(depth, tiles, t + 1);
        for (ptrdiff_t i = from; i < to; i++) dase_bf16_wish(w, p->b + (k + i) * p->ldb + j, cols);
    }
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
    dase_bf16_wishes wishes;
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
                wishes.count = 0;
                if (j + WIDTH < j1)
                    dase_wish_panel_float(&wishes, p, j + WIDTH, k, j1 - j - WIDTH < WIDTH ? (int)(j1 - j - WIDTH) : WIDTH,
                                          depth, tiles, t);
                else if (k + depth < k1)
                    dase_wish_panel_float(&wishes, p, j0, k + depth, j1 - j0 < WIDTH ? (int)(j1 - j0) : WIDTH,
                                          k1 - k - depth < kc ? k1 - k - depth : kc, tiles, t);
                dase_bf16_askings[end - i - 1][nv - 1](DASE_UP(depth, 2), p->rounded->along + i * p->rounded->pitch + k / 2,
                                                       p->rounded->pitch, 1, pack, tile, &wishes);
                dase_job_out_float(&job, (int)(end - i), cols, (const dase_vec_float *)tile, nv);
            }
        }
    }
}

/* First row of a tile of x^T dout, whose d rows are cut by pairs of panels. */
static inline ptrdiff_t dase_bf16_row(ptrdiff_t d, ptrdiff_t unit)
{
    const ptrdiff_t from = unit / DASE_BF16_CUTS * 2 * DASE_PANEL, rows = d - from < 2 * DASE_PANEL ? d - from : 2 * DASE_PANEL;
    return rows <= 0 ? d : from + dase_cut(rows, DASE_BF16_CUTS, (int)(unit % DASE_BF16_CUTS));
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
    dase_bf16_wishes wishes;
    for (ptrdiff_t unit = u0; unit < u1; unit++) layer->squares[unit] = 0;
    for (ptrdiff_t from = u0; from < u1;) {
        const ptrdiff_t pair = from / DASE_BF16_CUTS, next = (pair + 1) * DASE_BF16_CUTS, past = next < u1 ? next : u1;
        for (ptrdiff_t j = 0; j < m; j += WIDTH) {
            const int cols = m - j < WIDTH ? (int)(m - j) : WIDTH, nv = cols > DASE_VL ? 2 : 1;
            for (ptrdiff_t unit = from; unit < past; unit++) {
                const ptrdiff_t row = dase_bf16_row(d, unit), rows = dase_bf16_row(d, unit + 1) - row;
                if (rows == 0) continue;
                wishes.count = 0;
                if (u.rule != DASE_STORE) {
                    /* The tile after this one. */
                    const ptrdiff_t to = unit + 1 < past ? unit + 1 : j + WIDTH < m ? from : past;
                    const ptrdiff_t at = unit + 1 < past ? j : j + WIDTH < m ? j + WIDTH : 0;
                    const int width = m - at < WIDTH ? (int)(m - at) : WIDTH;
                    if (to < u1)
                    for (ptrdiff_t i = dase_bf16_row(d, to); i < dase_bf16_row(d, to + 1); i++) {
                        dase_bf16_wish(&wishes, u.w + i * m + at, width);
                        if (u.rule >= DASE_MOMENTUM) dase_bf16_wish(&wishes, u.first + i * m + at, width);
                        if (u.rule == DASE_ADAM) dase_bf16_wish(&wishes, u.second + i * m + at, width);
                    }
                }
                dase_bf16_askings[rows - 1][nv - 1](pairs, x->across + pair * x->apart + row % WIDTH, 1,
                                                    d - pair * WIDTH > DASE_VL ? WIDTH : DASE_VL,
                                                    dout->across + j / WIDTH * dout->apart, tile, &wishes);
                layer->squares[unit] += dase_update_by_float(&u, (const dase_vec_float *)tile, nv, (int)rows, cols,
                                                             row * m + j, m);
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
