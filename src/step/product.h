/* The products of a training step whose left factor is an activation: x w and dout w^T. Part of step/step.h,
   once per type. */

/* C = A B for samples i0..i1 and columns j0..j1, the inner dimension from k0 to k1. A lies in panels,
   B in rows (or, transposed, in columns) ldb apart. C lies in panels, or in rows `cols` apart. */
typedef struct {
    const real *a;
    ptrdiff_t stride; /* of the panels of A and C */
    const real *b;
    ptrdiff_t ldb;
    int transposed;
    real *c;
    int c_panels;
    ptrdiff_t cols;
    const real *bias, *mask;
    real scale;
    int flags;
    const image_source *ahead;    /* images whose features ahead0..ahead1 are gathered next, or NULL */
    ptrdiff_t ahead0, ahead1;
    const rounded_panels *rounded; /* A in bfloat16, or NULL: B is rounded too then */
} TYPED(product);

/* Part t of the panel of B that begins at (k, j), which is multiplied next: its rows lie pages apart, where
   the processor does not look ahead by itself. */
static inline void TYPED(ask_panel)(prefetch_list *asks, const TYPED(product) *p, ptrdiff_t j, ptrdiff_t j1,
                                        ptrdiff_t k, ptrdiff_t depth, int tiles, int t)
{
    const int cols = j1 - j < WIDTH ? (int)(j1 - j) : WIDTH;
    const ptrdiff_t size = sizeof(real);
    /* Columns of a transposed panel are rows of the matrix, `depth` long. */
    const ptrdiff_t pieces = p->transposed ? cols : depth, length = p->transposed ? depth : cols;
    prefetch_rows(asks, p->b + (p->transposed ? j * p->ldb + k : k * p->ldb + j), p->ldb * size, length * size,
                    part_start(pieces, tiles, t), part_start(pieces, tiles, t + 1));
}

/* Where the tile of C lies whose first element is (i, j); sets what goes with it. */
static inline real *TYPED(place)(tile_args *job, const TYPED(product) *p, ptrdiff_t i, ptrdiff_t j)
{
    const ptrdiff_t at = p->c_panels ? j / PANEL * p->stride + i * PANEL + j % PANEL : i * p->cols + j;
    job->ldc = p->c_panels ? PANEL : p->cols;
    job->cvs = p->c_panels && VL >= PANEL ? p->stride : VL;
    job->mask = p->mask == NULL ? NULL : p->mask + at;
    job->bias = p->bias == NULL ? NULL : p->bias + j;
    return p->c + at;
}

/* The images' lines that are asked for at one of the `turns` tiles of rows i0..i0+rows: an even share. */
static inline void TYPED(ask_ahead)(prefetch_list *asks, const TYPED(product) *p, ptrdiff_t i0, ptrdiff_t rows,
                                        ptrdiff_t turns, ptrdiff_t turn)
{
    if (p->ahead)
        TYPED(ask)(p->ahead, asks, i0 + part_start(rows, turns, turn), i0 + part_start(rows, turns, turn + 1),
                       p->ahead0, p->ahead1);
}

#include "bf16/step.h"

static void TYPED(multiply)(const TYPED(product) *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0, ptrdiff_t j1,
                                ptrdiff_t k0, ptrdiff_t k1, real *pack)
{
    const ptrdiff_t rows = i1 - i0, blocks = ceil_div(k1 - k0, KC);
    const ptrdiff_t kc = ceil_div(ceil_div(k1 - k0, blocks), PANEL) * PANEL;
    const int tiles = (int)ceil_div(rows, MR);
    const ptrdiff_t few = j1 == p->cols ? leftover_columns(j1) : 0, whole = j1 - few;
    const ptrdiff_t panels = whole > j0 ? ceil_div(whole - j0, WIDTH) : 1;
    const ptrdiff_t turns = blocks * panels * tiles;
    real *packed_quads = pack + WIDTH * KC;
    ptrdiff_t turn = 0;
    prefetch_list asks;
    tile_args job;
    if (rows <= 0 || j0 >= j1) return;
    if (p->rounded && p->rounded->amx) {
        TYPED(multiply_amx)(p, i0, i1, j0, j1, k0, k1, (unsigned *)pack);
        return;
    }
    if (p->rounded) {
        TYPED(multiply_bf16)(p, i0, i1, j0, j1, k0, k1, (unsigned *)pack);
        return;
    }
    job.rs = PANEL;
    job.cs = 1;
    job.chunk = PANEL;
    job.jump = p->stride - PANEL;
    job.bvs = VL;
    job.scale = p->scale;
    job.prefetch = &asks;
    for (ptrdiff_t k = k0; k < k1; k += kc) {
        const ptrdiff_t depth = k1 - k < kc ? k1 - k : kc;
        const real *b0 = p->b + (p->transposed ? k : k * p->ldb);
        const ptrdiff_t apart = p->transposed ? p->ldb : 1; /* from column to column of B */
        const int first = k == k0, last = k + depth == k1;
        job.flags = (first ? 0 : TILE_ADD) | (last ? p->flags : 0);
        if (few)
            pack_leftover(depth, (int)few, b0 + whole * apart, p->transposed ? 1 : p->ldb, apart, packed_quads);
        for (ptrdiff_t j = j0; j < whole || j == j0; j += WIDTH) {
            const int cols = whole - j < WIDTH ? (int)(whole - j) : WIDTH;
            const int plain = !p->transposed && cols == WIDTH && tiles <= PLAIN_TILES;
            if (cols == 0) { /* nothing but the last ones */
            } else if (p->transposed) pack_columns(depth, cols, b0 + j * apart, p->ldb, pack);
            else if (!plain) pack_rows(depth, cols, b0 + j, p->ldb, pack);
            for (int t = 0; t < tiles; t++) {
                const ptrdiff_t i = i0 + part_start(rows, tiles, t), end = i0 + part_start(rows, tiles, t + 1);
                job.a = p->a + k / PANEL * p->stride + i * PANEL;
                job.b = plain ? b0 + j : pack;
                job.ldb = plain ? p->ldb : cols > VL ? WIDTH : VL;
                real *c = TYPED(place)(&job, p, i, j);
                asks.count = 0;
                if (!first) /* what is added to has left the cache since */
                    for (ptrdiff_t r = 0; r < end - i; r++) {
                        prefetch_range(&asks, c + r * job.ldc, sizeof(real));
                        if (cols > VL) prefetch_range(&asks, c + r * job.ldc + job.cvs, sizeof(real));
                    }
                TYPED(ask_ahead)(&asks, p, i0, rows, turns, turn++);
                if (plain) { /* its rows come by themselves */
                } else if (j + WIDTH < whole) {
                    TYPED(ask_panel)(&asks, p, j + WIDTH, j1, k, depth, tiles, t);
                } else if (!last) {
                    const ptrdiff_t after = k1 - k - depth;
                    TYPED(ask_panel)(&asks, p, j0, j1, k + depth, after < kc ? after : kc, tiles, t);
                }
                if (cols > 0) tile_product(&job, c, (int)(end - i), cols, depth);
                if (few == 0 || j + WIDTH < whole) continue;
                /* The last columns, while the tile's rows are in the first-level cache. */
                job.b = packed_quads;
                c = TYPED(place)(&job, p, i, whole);
                leftover_product(&job, c, (int)(end - i), (int)few, depth);
            }
        }
    }
}

/* A thread's share of C. */
static void TYPED(share)(const TYPED(product) *p, grid grid, ptrdiff_t n, ptrdiff_t k, int part,
                             real *pack)
{
    const area own = area_of(grid, n, p->cols, COLUMN_UNIT, part);
    TYPED(multiply)(p, own.i0, own.i1, own.j0, own.j1, 0, k, pack);
}
