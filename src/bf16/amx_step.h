/* The products of a training step by AMX. Part of bf16/step.h, for float.

   A tile takes less time than the memory that belongs to it, and memory is read fastest as long runs: so the rows
   of a block of weights are rounded all along before they are multiplied, and a gradient is computed for whole
   rows before the parameter is updated by it. The left factor of x^T dout is turned on its way: as rows of pairs,
   a pair of panels at a time. */

#ifndef real /* ---- once ---- */
#ifndef AMX_STEP_H
#define AMX_STEP_H

#include "bf16/amx.h"
#include "step/panels.h"

#define BF16_KC 512   /* a block of k: the left factor's stays in the second-level cache */
#define AMX_COLS 1024 /* columns of weights at a time: rows of 4 KB; with 512 of k, 1 MB when rounded */
#define AMX_PITCH (BF16_KC * BF16_VL + 16) /* words from one packed panel to the next */

/* Words between rows of the left factor of x^T dout, when it is turned. */
static inline ptrdiff_t turned_pitch(ptrdiff_t n) { return (ceil_div(n, 2 * AMX_PAIRS) + 1) * AMX_PAIRS; }

/* Words of scratch for a thread: packed panels; or what was turned, and rows of a gradient. */
static inline ptrdiff_t amx_words(ptrdiff_t n, ptrdiff_t widest)
{
    const ptrdiff_t width = 2 * BF16_VL, cols = widest < AMX_COLS ? widest : AMX_COLS;
    const ptrdiff_t packed = ceil_div(cols, width) * AMX_PITCH;
    const ptrdiff_t update = AMX_MR * (turned_pitch(n) + ceil_div(cols, width) * width);
    return packed > update ? packed : update;
}

#endif
#elif HAVE_AMX /* ---- float ---- */

/* multiply of step/step.h from rounded factors. */
static void multiply_amx_float(const product_float *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0,
                                    ptrdiff_t j1, ptrdiff_t k0, ptrdiff_t k1, unsigned *pack)
{
    const ptrdiff_t rows = i1 - i0, blocks = ceil_div(k1 - k0, BF16_KC);
    const ptrdiff_t kc = ceil_div(ceil_div(k1 - k0, blocks), 32) * 32;
    const int tiles = (int)ceil_div(rows, AMX_MR);
    const ptrdiff_t turns = blocks * ceil_div(j1 - j0, WIDTH) * tiles;
    const rounded_panels *a = p->rounded;
    ptrdiff_t turn = 0;
    __m512 tile[2 * AMX_MR];
    int configured = 0;
    prefetch_list asks;
    tile_args job;
    job.scale = p->scale;
    for (ptrdiff_t k = k0; k < k1; k += kc) {
        const ptrdiff_t depth = k1 - k < kc ? k1 - k : kc;
        job.flags = (k == k0 ? 0 : TILE_ADD) | (k + depth == k1 ? p->flags : 0);
        for (ptrdiff_t from = j0; from < j1; from += AMX_COLS) {
            const ptrdiff_t past = from + AMX_COLS < j1 ? from + AMX_COLS : j1;
            if (!p->transposed)
                bf16_pack_rows(depth, past - from, p->b + k * p->ldb + from, p->ldb, pack, AMX_PITCH);
            for (ptrdiff_t j = from; j < past; j += WIDTH) {
                const int cols = past - j < WIDTH ? (int)(past - j) : WIDTH, nv = cols > VL ? 2 : 1;
                unsigned *panel = pack + (p->transposed ? 0 : (j - from) / WIDTH * AMX_PITCH);
                if (p->transposed) bf16_pack_columns(depth, cols, p->b + j * p->ldb + k, p->ldb, panel);
                else amx_pad(panel, ceil_div(depth, 2), cols);
                for (int t = 0; t < tiles; t++) {
                    const ptrdiff_t i = i0 + part_start(rows, tiles, t), end = i0 + part_start(rows, tiles, t + 1);
                    float *c = place_float(&job, p, i, j);
                    asks.count = 0;
                    ask_ahead_float(&asks, p, i0, rows, turns, turn++);
                    amx_sums((int)(end - i), nv, ceil_div(depth, 2), a->along + i * a->pitch + k / 2, a->pitch,
                                  panel, (float *)tile, nv * VL, &asks, &configured);
                    tile_store_float(&job, c, (int)(end - i), cols, (const vec_float *)tile, nv);
                }
            }
        }
    }
    if (configured) amx_done();
}

/* The rows row.. of a pair of panels of x, as rows of pairs. */
BF16_CODE static void turn(const unsigned *across, ptrdiff_t width, ptrdiff_t n, ptrdiff_t rows,
                                     unsigned *turned)
{
    const ptrdiff_t pitch = turned_pitch(n);
    for (ptrdiff_t k = 0; k < ceil_div(n, 2); k += AMX_PAIRS)
        for (ptrdiff_t i = 0; i < rows; i += 16) {
            const ptrdiff_t some = rows - i < 16 ? rows - i : 16;
            __m512i r[16];
            for (int p = 0; p < 16; p++)
                r[p] = _mm512_maskz_loadu_epi32(bf16_mask(some), across + (k + p) * width + i);
            amx_turn(r, (int)some, turned + i * pitch + k, pitch);
        }
}

/* x^T dout, some rows at a time, and the update. Threads share the rows. */
static void update_weights_amx_float(step_state *s, int l, int part, int parts, unsigned *pack)
{
    const step_layer *layer = &s->layer[l];
    const rounded_panels *x = rounded_in_float(s, l), *dout = &layer->dout_bf16;
    const ptrdiff_t n = s->source.n, m = layer->fan_out, d = layer->fan_in, units = ceil_div(d, WIDTH) * BF16_CUTS;
    const ptrdiff_t u0 = part_start(units, parts, part), u1 = part_start(units, parts, part + 1);
    const update_float u = update_of_float(&layer->weights, s->rule);
    float *gradient = (float *)(pack + AMX_MR * turned_pitch(n));
    int configured = 0;
    for (ptrdiff_t unit = u0; unit < u1; unit++) layer->squares[unit] = 0;
    for (ptrdiff_t unit = u0, past; unit < u1; unit = past) {
        const ptrdiff_t pair = unit / BF16_CUTS, next = (pair + 1) * BF16_CUTS;
        past = next < u1 ? next : u1;
        const ptrdiff_t row = bf16_row(d, unit), rows = bf16_row(d, past) - row;
        if (rows == 0) continue;
        turn(x->across + pair * x->apart + row % WIDTH, d - pair * WIDTH > VL ? WIDTH : VL, n, rows,
                  pack);
        for (ptrdiff_t from = 0; from < m; from += AMX_COLS) {
            const ptrdiff_t cols = m - from < AMX_COLS ? m - from : AMX_COLS;
            const ptrdiff_t vectors = ceil_div(cols, VL), ld = vectors * VL;
            for (ptrdiff_t j = 0; j < cols; j += WIDTH)
                amx_sums((int)rows, cols - j > VL ? 2 : 1, ceil_div(n, 2), pack, turned_pitch(n),
                              dout->across + (from + j) / WIDTH * dout->apart, gradient + j, ld, NULL, &configured);
            for (ptrdiff_t own = unit; own < past; own++)
                for (ptrdiff_t i = bf16_row(d, own); i < bf16_row(d, own + 1); i++)
                    layer->squares[own] += update_by_float(
                        &u, (const vec_float *)(gradient + (i - row) * ld), (int)vectors, 1, (int)cols,
                        i * m + from, m);
        }
    }
    if (configured) amx_done();
}

#else /* never called: step.bf16 is not BY_AMX */

static inline void TYPED(multiply_amx)(const TYPED(product) *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0,
                                           ptrdiff_t j1, ptrdiff_t k0, ptrdiff_t k1, unsigned *pack) {}
static inline void TYPED(update_weights_amx)(step_state *s, int l, int part, int parts, unsigned *pack) {}

#endif
