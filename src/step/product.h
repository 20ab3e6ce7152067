/* The products of a training step whose left factor is an activation: x w and dout w^T. Part of step/step.h,
   once per type. */

/* C = A B for samples i0..i1 and columns j0..j1, the inner dimension from k0 to k1. A lies in panels,
   B in rows (or, transposed, in columns) ldb apart. C lies in panels, or in rows `cols` apart. */
typedef struct {
    const DASE_TYPE *a;
    ptrdiff_t stride; /* of the panels of A and C */
    const DASE_TYPE *b;
    ptrdiff_t ldb;
    int transposed;
    DASE_TYPE *c;
    int c_panels;
    ptrdiff_t cols;
    const DASE_TYPE *bias, *mask;
    DASE_TYPE scale;
    int flags;
    const dase_source *ahead;    /* images whose features ahead0..ahead1 are gathered next, or NULL */
    ptrdiff_t ahead0, ahead1;
    const dase_rounded *rounded; /* A in bfloat16, or NULL: B is rounded too then */
} DASE_NAME(product);

/* Part t of the panel of B that begins at (k, j), which is multiplied next: its rows lie pages apart, where
   the processor does not look ahead by itself. */
static inline void DASE_NAME(ask_panel)(dase_asks *asks, const DASE_NAME(product) *p, ptrdiff_t j, ptrdiff_t j1,
                                        ptrdiff_t k, ptrdiff_t depth, int tiles, int t)
{
    const int cols = j1 - j < WIDTH ? (int)(j1 - j) : WIDTH;
    const ptrdiff_t size = sizeof(DASE_TYPE);
    /* Columns of a transposed panel are rows of the matrix, `depth` long. */
    const ptrdiff_t pieces = p->transposed ? cols : depth, length = p->transposed ? depth : cols;
    dase_ask_pieces(asks, p->b + (p->transposed ? j * p->ldb + k : k * p->ldb + j), p->ldb * size, length * size,
                    dase_cut(pieces, tiles, t), dase_cut(pieces, tiles, t + 1));
}

/* Where the tile of C lies whose first element is (i, j), and what goes with it. */
static inline void DASE_NAME(place)(DASE_NAME(job) *job, const DASE_NAME(product) *p, ptrdiff_t i, ptrdiff_t j)
{
    const ptrdiff_t at = p->c_panels ? j / DASE_PANEL * p->stride + i * DASE_PANEL + j % DASE_PANEL : i * p->cols + j;
    job->c = p->c + at;
    job->ldc = p->c_panels ? DASE_PANEL : p->cols;
    job->cvs = p->c_panels && DASE_VL >= DASE_PANEL ? p->stride : DASE_VL;
    job->mask = p->mask == NULL ? NULL : p->mask + at;
    job->bias = p->bias == NULL ? NULL : p->bias + j;
}

/* The images' lines that are asked for at one of the `turns` tiles of rows i0..i0+rows: an even share. */
static inline void DASE_NAME(ask_ahead)(dase_asks *asks, const DASE_NAME(product) *p, ptrdiff_t i0, ptrdiff_t rows,
                                        ptrdiff_t turns, ptrdiff_t turn)
{
    if (p->ahead)
        DASE_NAME(ask)(p->ahead, asks, i0 + dase_cut(rows, turns, turn), i0 + dase_cut(rows, turns, turn + 1),
                       p->ahead0, p->ahead1);
}

#include "bf16/step.h"

static void DASE_NAME(multiply)(const DASE_NAME(product) *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0, ptrdiff_t j1,
                                ptrdiff_t k0, ptrdiff_t k1, DASE_TYPE *pack)
{
    const ptrdiff_t rows = i1 - i0, blocks = DASE_UP(k1 - k0, DASE_KC);
    const ptrdiff_t kc = DASE_UP(DASE_UP(k1 - k0, blocks), DASE_PANEL) * DASE_PANEL;
    const int tiles = (int)DASE_UP(rows, DASE_MR);
    const ptrdiff_t few = j1 == p->cols ? DASE_NAME(few_left)(j1) : 0, whole = j1 - few;
    const ptrdiff_t panels = whole > j0 ? DASE_UP(whole - j0, WIDTH) : 1;
    const ptrdiff_t turns = blocks * panels * tiles;
    DASE_TYPE *packed_quads = pack + WIDTH * DASE_KC;
    ptrdiff_t turn = 0;
    dase_asks asks;
    DASE_NAME(job) job;
    if (rows <= 0 || j0 >= j1) return;
    if (p->rounded && p->rounded->amx) {
        DASE_NAME(multiply_amx)(p, i0, i1, j0, j1, k0, k1, (unsigned *)pack);
        return;
    }
    if (p->rounded) {
        DASE_NAME(multiply_bf16)(p, i0, i1, j0, j1, k0, k1, (unsigned *)pack);
        return;
    }
    job.rs = DASE_PANEL;
    job.cs = 1;
    job.chunk = DASE_PANEL;
    job.jump = p->stride - DASE_PANEL;
    job.bvs = DASE_VL;
    job.scale = p->scale;
    job.asks = &asks;
    for (ptrdiff_t k = k0; k < k1; k += kc) {
        const ptrdiff_t depth = k1 - k < kc ? k1 - k : kc;
        const DASE_TYPE *b0 = p->b + (p->transposed ? k : k * p->ldb);
        const ptrdiff_t apart = p->transposed ? p->ldb : 1; /* from column to column of B */
        const int first = k == k0, last = k + depth == k1;
        job.flags = (first ? 0 : DASE_ADD) | (last ? p->flags : 0);
        if (few)
            DASE_NAME(pack_quads)(depth, (int)few, b0 + whole * apart, p->transposed ? 1 : p->ldb, apart, packed_quads);
        for (ptrdiff_t j = j0; j < whole || j == j0; j += WIDTH) {
            const int cols = whole - j < WIDTH ? (int)(whole - j) : WIDTH;
            const int plain = !p->transposed && cols == WIDTH && tiles <= DASE_PLAIN_TILES;
            if (cols == 0) { /* nothing but the last ones */
            } else if (p->transposed) DASE_NAME(pack_columns)(depth, cols, b0 + j * apart, p->ldb, pack);
            else if (!plain) DASE_NAME(pack_rows)(depth, cols, b0 + j, p->ldb, pack);
            for (int t = 0; t < tiles; t++) {
                const ptrdiff_t i = i0 + dase_cut(rows, tiles, t), end = i0 + dase_cut(rows, tiles, t + 1);
                job.a = p->a + k / DASE_PANEL * p->stride + i * DASE_PANEL;
                job.b = plain ? b0 + j : pack;
                job.ldb = plain ? p->ldb : cols > DASE_VL ? WIDTH : DASE_VL;
                DASE_NAME(place)(&job, p, i, j);
                asks.count = 0;
                if (!first) /* what is added to has left the cache since */
                    for (ptrdiff_t r = 0; r < end - i; r++) {
                        dase_ask(&asks, job.c + r * job.ldc, sizeof(DASE_TYPE));
                        if (cols > DASE_VL) dase_ask(&asks, job.c + r * job.ldc + job.cvs, sizeof(DASE_TYPE));
                    }
                DASE_NAME(ask_ahead)(&asks, p, i0, rows, turns, turn++);
                if (plain) { /* its rows come by themselves */
                } else if (j + WIDTH < whole) {
                    DASE_NAME(ask_panel)(&asks, p, j + WIDTH, j1, k, depth, tiles, t);
                } else if (!last) {
                    const ptrdiff_t after = k1 - k - depth;
                    DASE_NAME(ask_panel)(&asks, p, j0, j1, k + depth, after < kc ? after : kc, tiles, t);
                }
                if (cols > 0) DASE_NAME(job_tile)(&job, (int)(end - i), cols, depth);
                if (few == 0 || j + WIDTH < whole) continue;
                /* The last columns, while the tile's rows are in the first-level cache. */
                job.b = packed_quads;
                DASE_NAME(place)(&job, p, i, whole);
                DASE_NAME(job_quads)(&job, (int)(end - i), (int)few, depth);
            }
        }
    }
}

/* A thread's share of C. */
static void DASE_NAME(share)(const DASE_NAME(product) *p, dase_grid grid, ptrdiff_t n, ptrdiff_t k, int part,
                             DASE_TYPE *pack)
{
    const dase_area own = dase_area_of(grid, n, p->cols, COLUMN_UNIT, part);
    DASE_NAME(multiply)(p, own.i0, own.i1, own.j0, own.j1, 0, k, pack);
}
