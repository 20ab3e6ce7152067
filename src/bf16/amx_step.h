/* The products of a training step by AMX. Part of bf16/step.h, for float.

   A tile takes less time than the memory that belongs to it, and memory is read fastest as long runs: so the rows
   of a block of weights are rounded all along before they are multiplied, and a gradient is computed for whole
   rows before the parameter is updated by it. The left factor of x^T dout is turned on its way: as rows of pairs,
   a pair of panels at a time. */

#ifndef DASE_TYPE /* ---- once ---- */
#ifndef DASE_AMX_STEP_H
#define DASE_AMX_STEP_H

#include "bf16/amx.h"
#include "step/panels.h"

#define DASE_BF16_KC 512   /* a block of k: the left factor's stays in the second-level cache */
#define DASE_AMX_COLS 1024 /* columns of weights at a time: rows of 4 KB; with 512 of k, 1 MB when rounded */
#define DASE_AMX_PITCH (DASE_BF16_KC * DASE_BF16_VL + 16) /* words from one packed panel to the next */

/* Words between rows of the left factor of x^T dout, when it is turned. */
static inline ptrdiff_t dase_turned_pitch(ptrdiff_t n) { return (DASE_UP(n, 2 * DASE_AMX_PAIRS) + 1) * DASE_AMX_PAIRS; }

/* Words of scratch for a thread: packed panels; or what was turned, and rows of a gradient. */
static inline ptrdiff_t dase_amx_words(ptrdiff_t n, ptrdiff_t widest)
{
    const ptrdiff_t width = 2 * DASE_BF16_VL, cols = widest < DASE_AMX_COLS ? widest : DASE_AMX_COLS;
    const ptrdiff_t packed = DASE_UP(cols, width) * DASE_AMX_PITCH;
    const ptrdiff_t update = DASE_AMX_MR * (dase_turned_pitch(n) + DASE_UP(cols, width) * width);
    return packed > update ? packed : update;
}

#endif
#elif DASE_AMX /* ---- float ---- */

/* multiply of step/step.h from rounded factors. */
static void dase_multiply_amx_float(const dase_product_float *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0,
                                    ptrdiff_t j1, ptrdiff_t k0, ptrdiff_t k1, unsigned *pack)
{
    const ptrdiff_t rows = i1 - i0, blocks = DASE_UP(k1 - k0, DASE_BF16_KC);
    const ptrdiff_t kc = DASE_UP(DASE_UP(k1 - k0, blocks), 32) * 32;
    const int tiles = (int)DASE_UP(rows, DASE_AMX_MR);
    const ptrdiff_t turns = blocks * DASE_UP(j1 - j0, WIDTH) * tiles;
    const dase_rounded *a = p->rounded;
    ptrdiff_t turn = 0;
    __m512 tile[2 * DASE_AMX_MR];
    int configured = 0;
    dase_asks asks;
    dase_job_float job;
    job.scale = p->scale;
    for (ptrdiff_t k = k0; k < k1; k += kc) {
        const ptrdiff_t depth = k1 - k < kc ? k1 - k : kc;
        job.flags = (k == k0 ? 0 : DASE_ADD) | (k + depth == k1 ? p->flags : 0);
        for (ptrdiff_t from = j0; from < j1; from += DASE_AMX_COLS) {
            const ptrdiff_t past = from + DASE_AMX_COLS < j1 ? from + DASE_AMX_COLS : j1;
            if (!p->transposed)
                dase_bf16_pack_rows(depth, past - from, p->b + k * p->ldb + from, p->ldb, pack, DASE_AMX_PITCH);
            for (ptrdiff_t j = from; j < past; j += WIDTH) {
                const int cols = past - j < WIDTH ? (int)(past - j) : WIDTH, nv = cols > DASE_VL ? 2 : 1;
                unsigned *panel = pack + (p->transposed ? 0 : (j - from) / WIDTH * DASE_AMX_PITCH);
                if (p->transposed) dase_bf16_pack_columns(depth, cols, p->b + j * p->ldb + k, p->ldb, panel);
                else dase_amx_pad(panel, DASE_UP(depth, 2), cols);
                for (int t = 0; t < tiles; t++) {
                    const ptrdiff_t i = i0 + dase_cut(rows, tiles, t), end = i0 + dase_cut(rows, tiles, t + 1);
                    dase_place_float(&job, p, i, j);
                    asks.count = 0;
                    dase_ask_ahead_float(&asks, p, i0, rows, turns, turn++);
                    dase_amx_sums((int)(end - i), nv, DASE_UP(depth, 2), a->along + i * a->pitch + k / 2, a->pitch,
                                  panel, (float *)tile, nv * DASE_VL, &asks, &configured);
                    dase_job_out_float(&job, (int)(end - i), cols, (const dase_vec_float *)tile, nv);
                }
            }
        }
    }
    if (configured) dase_amx_done();
}

/* The rows row.. of a pair of panels of x, as rows of pairs. */
DASE_BF16_CODE static void dase_turn(const unsigned *across, ptrdiff_t width, ptrdiff_t n, ptrdiff_t rows,
                                     unsigned *turned)
{
    const ptrdiff_t pitch = dase_turned_pitch(n);
    for (ptrdiff_t k = 0; k < DASE_UP(n, 2); k += DASE_AMX_PAIRS)
        for (ptrdiff_t i = 0; i < rows; i += 16) {
            const ptrdiff_t some = rows - i < 16 ? rows - i : 16;
            __m512i r[16];
            for (int p = 0; p < 16; p++)
                r[p] = _mm512_maskz_loadu_epi32(dase_bf16_mask(some), across + (k + p) * width + i);
            dase_amx_turn(r, (int)some, turned + i * pitch + k, pitch);
        }
}

/* x^T dout, some rows at a time, and the update. Threads share the rows. */
static void dase_update_weights_amx_float(dase_step *s, int l, int part, int parts, unsigned *pack)
{
    const dase_layer *layer = &s->layer[l];
    const dase_rounded *x = dase_rounded_in_float(s, l), *dout = &layer->dout_bf16;
    const ptrdiff_t n = s->source.n, m = layer->fan_out, d = layer->fan_in, units = DASE_UP(d, WIDTH) * DASE_BF16_CUTS;
    const ptrdiff_t u0 = dase_cut(units, parts, part), u1 = dase_cut(units, parts, part + 1);
    const dase_update_float u = dase_update_of_float(&layer->weights, s->rule);
    float *gradient = (float *)(pack + DASE_AMX_MR * dase_turned_pitch(n));
    int configured = 0;
    for (ptrdiff_t unit = u0; unit < u1; unit++) layer->squares[unit] = 0;
    for (ptrdiff_t unit = u0, past; unit < u1; unit = past) {
        const ptrdiff_t pair = unit / DASE_BF16_CUTS, next = (pair + 1) * DASE_BF16_CUTS;
        past = next < u1 ? next : u1;
        const ptrdiff_t row = dase_bf16_row(d, unit), rows = dase_bf16_row(d, past) - row;
        if (rows == 0) continue;
        dase_turn(x->across + pair * x->apart + row % WIDTH, d - pair * WIDTH > DASE_VL ? WIDTH : DASE_VL, n, rows,
                  pack);
        for (ptrdiff_t from = 0; from < m; from += DASE_AMX_COLS) {
            const ptrdiff_t cols = m - from < DASE_AMX_COLS ? m - from : DASE_AMX_COLS;
            const ptrdiff_t vectors = DASE_UP(cols, DASE_VL), ld = vectors * DASE_VL;
            for (ptrdiff_t j = 0; j < cols; j += WIDTH)
                dase_amx_sums((int)rows, cols - j > DASE_VL ? 2 : 1, DASE_UP(n, 2), pack, dase_turned_pitch(n),
                              dout->across + (from + j) / WIDTH * dout->apart, gradient + j, ld, NULL, &configured);
            for (ptrdiff_t own = unit; own < past; own++)
                for (ptrdiff_t i = dase_bf16_row(d, own); i < dase_bf16_row(d, own + 1); i++)
                    layer->squares[own] += dase_update_by_float(
                        &u, (const dase_vec_float *)(gradient + (i - row) * ld), (int)vectors, 1, (int)cols,
                        i * m + from, m);
        }
    }
    if (configured) dase_amx_done();
}

#else /* never called: step.bf16 is not DASE_BY_AMX */

static inline void DASE_NAME(multiply_amx)(const DASE_NAME(product) *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0,
                                           ptrdiff_t j1, ptrdiff_t k0, ptrdiff_t k1, unsigned *pack) {}
static inline void DASE_NAME(update_weights_amx)(dase_step *s, int l, int part, int parts, unsigned *pack) {}

#endif
