/* Matrix product C = A B with optional transposes, bias and ReLU: blocks, packing, threads.

   A is cut into blocks of rows, B into panels of two vectors, k into blocks of about KC. Each
   element of C is a chain of additions inside a block of k, and the blocks are added in order.
   The blocks of k follow from K alone, so the result does not depend on who computes which part,
   nor on what is packed: threads get rectangles of C, and any number of them gives the same bits. */

#ifndef real /* ---- once: what both types share ---- */
#ifndef GEMM_H
#define GEMM_H

#include "product/packing.h"
#include "product/leftover.h"
#include "threads/scratch.h"
#include "product/grid.h"
#include "threads/pool.h"

#define GEMM_KC 512           /* longer blocks of k pass over C less often */
#define GEMM_ROW_TILES 22     /* tiles of a block of rows: the block of A stays near the second-level cache */
#define GEMM_COLS 1024        /* columns whose packed panels serve several blocks of rows */
#define GEMM_PLAIN_TILES 20   /* fewer tiles of rows read a panel of B where it lies: packing would not pay */
#define PREFETCH_FROM_BYTES 131072  /* bytes of B from which memory is asked for ahead of its use */
#define PREFETCH_FROM_PITCH 512    /* bytes from row to row of a B that lies as it is, likewise */
#define PREFETCH_CHUNK 32     /* steps along k between two asks */
#define GEMM_PAD 16           /* keeps the packed tiles, written side by side, out of one set of the cache */
#define GEMM_DB_ROWS 64       /* rows of one partial sum of db */
#define GEMM_DB_COLS 64
#define GEMM_SERIAL_CYCLES 30000 /* below it a second thread costs more than it brings */

/* Whether there is code that turns the tiles of a narrow product: see product/narrow.h. */
#if defined(HAVE_VECTORS) && defined(HAVE_SHUFFLES)
#define GEMM_NARROW 1
#else
#define GEMM_NARROW 0
#endif

/* What is multiplied: A(m x k) B(k x n), each as it lies in memory (row-major) or transposed. */
typedef struct {
    ptrdiff_t m, n, k;
    int trans_a, trans_b;
    ptrdiff_t lda, ldb;       /* elements from one stored row to the next */
    int flags;                /* TILE_BIAS, TILE_RELU */
} product_args;

/* The product and how it is computed; kc follows from k alone. */
typedef struct {
    ptrdiff_t m, n, k;
    int trans_a, trans_b;
    ptrdiff_t lda, ldb;
    int flags;
    int narrow;               /* so many of the last columns are computed by `narrow` */
    int pack_a, pack_b;
    ptrdiff_t kc;             /* length of a block of k */
    grid grid;           /* rectangles of C handed to threads */
    size_t scratch_a, scratch; /* elements a thread needs: blocks of A, in all */
} product_plan;

static inline ptrdiff_t ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

#if defined(__GNUC__)
#define PREFETCH_NEAR(p) __builtin_prefetch((p), 0)
#else
#define PREFETCH_NEAR(p) ((void)(p))
#endif

#define EACH_TYPE "product/product.h"
#include "each_type.h"

#endif
#else /* ---- once per type ---- */

#define WIDTH (2 * VL)
#define LINE (64 / (int)sizeof(real)) /* elements of a cache line */

/* db[j] for j0 <= j < j1: sums of DB_ROWS rows, added in order; float32 is summed in double. */
static void TYPED(column_sums)(const real *dout, ptrdiff_t n, ptrdiff_t m, /* IN */
                                   ptrdiff_t j0, ptrdiff_t j1, real *db)       /* OUT */
{
    for (ptrdiff_t at = j0; at < j1; at += GEMM_DB_COLS) {
        const int cols = j1 - at < GEMM_DB_COLS ? (int)(j1 - at) : GEMM_DB_COLS;
        double total[GEMM_DB_COLS] = {0};
        for (ptrdiff_t i0 = 0; i0 < n; i0 += GEMM_DB_ROWS) {
            const ptrdiff_t i1 = i0 + GEMM_DB_ROWS < n ? i0 + GEMM_DB_ROWS : n;
            double part[GEMM_DB_COLS] = {0};
            for (ptrdiff_t i = i0; i < i1; i++)
                for (int j = 0; j < cols; j++) part[j] += dout[i * m + at + j];
            for (int j = 0; j < cols; j++) total[j] += part[j];
        }
        for (int j = 0; j < cols; j++) db[at + j] = (real)total[j];
    }
}

/* Elements from one packed row of A to the next: an odd number of cache lines. */
static inline ptrdiff_t TYPED(row_pitch)(ptrdiff_t kc) { return ((ceil_div(kc, LINE) + 1) | 1) * LINE; }

/* packed[row][k] = a[row * lda + k]. */
static void TYPED(pack_plain)(ptrdiff_t rows, ptrdiff_t kc, const real *a, ptrdiff_t lda,
                                  real *packed)
{
    const ptrdiff_t pitch = TYPED(row_pitch)(kc);
    for (ptrdiff_t i = 0; i < rows; i++) memcpy(packed + i * pitch, a + i * lda, (size_t)kc * sizeof(real));
}

/* packed[tile][k][row of the tile] from the transpose a[k * lda + row], read along its rows. */
static void TYPED(pack_crossed)(ptrdiff_t rows, ptrdiff_t kc, const real *a, ptrdiff_t lda,
                                    real *packed)
{
    const ptrdiff_t tiles = ceil_div(rows, MR), pitch = kc * MR + GEMM_PAD;
    for (ptrdiff_t k = 0; k < kc; k++, a += lda)
        for (ptrdiff_t t = 0; t < tiles; t++) {
            const ptrdiff_t from = part_start(rows, tiles, t);
            real *to = packed + t * pitch + k * MR;
            if (from + MR <= rows) memcpy(to, a + from, MR * sizeof(real));
            else memcpy(to, a + from, (size_t)(rows - from) * sizeof(real));
        }
}

/* A whole panel of B that is packed while the one before it is multiplied, some rows at each tile. Rows may lie
   a page apart and then fall into few sets of the caches: one that was asked for a panel earlier is gone again. */
typedef struct {
    const real *b; /* IN, its first element */
    real *to;      /* OUT; NULL: there is none */
    ptrdiff_t done;     /* rows that are packed */
} TYPED(ahead);

static inline void TYPED(pack_until)(TYPED(ahead) *next, ptrdiff_t until, ptrdiff_t ldb)
{
    const real *b = next->b + next->done * ldb;
    real *to = next->to + next->done * WIDTH;
    for (; next->done < until; next->done++, b += ldb, to += WIDTH) memcpy(to, b, WIDTH * sizeof(real));
}

/* Asks for a share of the B that is packed or read next, whose first element is b: rows from..to of
   kc, `cols` wide. They lie far apart, where the processor does not look ahead by itself. */
static inline void TYPED(ask_next)(const product_plan *p, prefetch_list *asks, const real *b, ptrdiff_t kc, int cols,
                                       ptrdiff_t from, ptrdiff_t to)
{
    const ptrdiff_t size = sizeof(real);
    if (p->trans_b) prefetch_rows(asks, b, p->ldb * size, kc * size, from * cols / kc, to * cols / kc);
    else prefetch_rows(asks, b, p->ldb * size, cols * size, from, to);
}

/* Rows i0..i1, columns j0..j1 of C. j0 is a multiple of the panel width. */
static void TYPED(rectangle)(const product_plan *p, const real *a, const real *b, /* IN */
                                 real *c, const real *bias,
                                 ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0, ptrdiff_t j1, real *scratch)
{
    const ptrdiff_t blocks = ceil_div(i1 - i0, GEMM_ROW_TILES * MR), block_cols = GEMM_COLS;
    const ptrdiff_t few = j1 == p->n && !p->trans_a ? leftover_columns(p->n) : 0; /* of A, k must lie side by side */
    const int ask = p->k * p->n * (ptrdiff_t)sizeof(real) >= PREFETCH_FROM_BYTES;
    /* Rows that are near each other and read where they lie are left to the processor, which looks ahead then. */
    const int ask_b = ask && (p->pack_b || p->ldb * (ptrdiff_t)sizeof(real) >= PREFETCH_FROM_PITCH);
    real *packed_a = scratch, *packed_b = scratch + p->scratch_a;
    TYPED(ahead) next = {NULL, NULL, 0};
    int place = 0; /* of two for panels that no other block of rows reads */
    prefetch_list asks;
    tile_args job;
    job.jump = 0;
    job.bvs = job.cvs = VL;
    job.ldc = p->n;
    job.mask = NULL;
    job.scale = 1;
    job.prefetch = ask ? &asks : NULL;
    for (ptrdiff_t jc = j0; jc < j1; jc += block_cols) {
        const ptrdiff_t j_end = jc + block_cols < j1 ? jc + block_cols : j1;
        ptrdiff_t kp = 0;
        do {
            const ptrdiff_t kc = p->k - kp < p->kc ? p->k - kp : p->kc;
            job.chunk = ask ? PREFETCH_CHUNK : kc > 0 ? kc : 1;
            job.flags = (kp ? TILE_ADD : 0) | (kp + kc == p->k ? p->flags : 0);
            for (ptrdiff_t block = 0; block < blocks; block++) {
                const ptrdiff_t ic = i0 + part_start(i1 - i0, blocks, block);
                const ptrdiff_t rows = i0 + part_start(i1 - i0, blocks, block + 1) - ic, tiles = ceil_div(rows, MR);
                /* As part_start, whose divisions the next tile would wait for. */
                const ptrdiff_t each = rows / tiles, over = rows % tiles;
                const ptrdiff_t apart = p->pack_a && p->trans_a ? kc * MR + GEMM_PAD : 0; /* of packed tiles */
                const real *first = packed_a;
                if (p->pack_a && p->trans_a) TYPED(pack_crossed)(rows, kc, a + kp * p->lda + ic, p->lda, packed_a);
                else if (p->pack_a) TYPED(pack_plain)(rows, kc, a + ic * p->lda + kp, p->lda, packed_a);
                else first = a + ic * (p->trans_a ? 1 : p->lda) + kp * (p->trans_a ? p->lda : 1);
                job.rs = p->trans_a ? 1 : p->pack_a ? TYPED(row_pitch)(kc) : p->lda;
                job.cs = !p->trans_a ? 1 : p->pack_a ? MR : p->lda;
                for (ptrdiff_t j = jc, past; j < j_end; j = past) {
                    const int quads = j == p->n - few;
                    past = quads || j + WIDTH > j_end ? j_end : j + WIDTH;
                    if (j < p->n - few && past > p->n - few) past = p->n - few;
                    const int cols = (int)(past - j);
                    const real *from = b + (p->trans_b ? j * p->ldb + kp : kp * p->ldb + j);
                    /* What comes after this panel: the next one, or the first of the next block of k. */
                    const ptrdiff_t next_j = past < j_end ? past : jc, next_k = past < j_end ? kp : kp + kc;
                    const ptrdiff_t depth = p->k - next_k < p->kc ? p->k - next_k : p->kc;
                    const ptrdiff_t share = ceil_div(depth, tiles);
                    const int wide = j_end - next_j < WIDTH ? (int)(j_end - next_j) : WIDTH;
                    const real *next_b = b + (p->trans_b ? next_j * p->ldb + next_k : next_k * p->ldb + next_j);
                    const int asked = ask_b && block == 0 && next_k < p->k;
                    const int ahead = asked && p->pack_b && !p->trans_b && wide == WIDTH
                        && (blocks == 1 || next_k == kp); /* its place is free */
                    /* The last columns are always packed: their vectors would reach past the end of B. */
                    if (p->pack_b || (2 * cols) % VL) {
                        real *panel = packed_b + (blocks > 1 ? j - jc : place * WIDTH) * p->kc;
                        if (block == 0) {
                            if (quads)
                                pack_leftover(kc, cols, from, p->trans_b ? 1 : p->ldb,
                                                      p->trans_b ? p->ldb : 1, panel);
                            else if (p->trans_b) pack_columns(kc, cols, from, p->ldb, panel);
                            else if (cols < WIDTH) pack_rows(kc, cols, from, p->ldb, panel);
                            else {
                                if (next.to == NULL) next = (TYPED(ahead)){from, panel, 0};
                                TYPED(pack_until)(&next, kc, p->ldb);
                                next.to = NULL;
                            }
                        }
                        job.b = panel;
                        job.ldb = cols > VL ? WIDTH : VL;
                    } else {
                        job.b = from;
                        job.ldb = p->ldb;
                    }
                    if (ahead) {
                        place = !place;
                        next = (TYPED(ahead)){
                            next_b, packed_b + (blocks > 1 ? next_j - jc : place * WIDTH) * p->kc, 0};
                    }
                    job.bias = bias == NULL ? NULL : bias + j;
                    const real *rows_a = first;
                    real *to = c + ic * p->n + j;
                    for (ptrdiff_t t = 0, row = 0; t < tiles; t++) {
                        const int height = (int)(each + (t < over)), last = t + 1 == tiles;
                        if (ask) {
                            const real *after = last ? c + ic * p->n + next_j : to + height * p->n;
                            const int rows_after = (int)(each + ((last ? 0 : t + 1) < over));
                            asks.count = 0;
                            for (int r = 0; r < rows_after; r++)
                                prefetch_range(&asks, after + r * p->n, (last ? wide : cols) * (ptrdiff_t)sizeof(real));
                        }
                        if (asked) {
                            const ptrdiff_t until = row + share < depth ? row + share : depth;
                            if (ahead) TYPED(pack_until)(&next, row, p->ldb); /* they were asked for a tile ago */
                            TYPED(ask_next)(p, &asks, next_b, depth, wide, row, until);
                            row = until;
                        }
                        job.a = rows_a;
                        if (quads) leftover_product(&job, to, height, cols, kc);
                        else tile_product(&job, to, height, cols, kc);
                        rows_a += apart ? apart : height * job.rs;
                        to += height * p->n;
                    }
                }
            }
            kp += kc;
        } while (kp < p->k);
    }
}

#include "product/narrow.h"

/* Choose packing, blocks of k and the grid of rectangles. */
static void TYPED(plan)(product_plan *p, int num_threads)
{
    const ptrdiff_t bytes = p->lda * (ptrdiff_t)sizeof(real), panels = ceil_div(p->n, WIDTH);
    const ptrdiff_t blocks = ceil_div(p->k, GEMM_KC) > 1 ? ceil_div(p->k, GEMM_KC) : 1;
    const ptrdiff_t kc = ceil_div(ceil_div(p->k, blocks), 16) * 16, halves = ceil_div(2 * p->n, VL);
    const int last = p->n <= 2 * MR ? (int)p->n : (int)(p->n % WIDTH); /* columns that leave lanes empty */
    const double fused = VECTOR_BYTES == 16 ? 2 : 1; /* no fused multiply-add */
    ptrdiff_t tiles, part_rows, kept;
    double cycles;
    p->kc = kc > 0 ? kc : 1;
    /* Rows that are a multiple of a large power of two apart fall into few sets of the cache. */
    p->pack_a = p->trans_a ? bytes % 512 == 0 || bytes >= 2048 : bytes % 2048 == 0 && p->m > 4;
    /* The rows of C fill vectors where the last columns would not; A is not read again from afar for that. */
    p->narrow = GEMM_NARROW && p->trans_a && last <= 2 * MR && (last == p->n || !p->pack_a)
        && 20 * last < 9 * ceil_div(2 * last, VL) * VL ? last : 0;
    cycles = fused * p->k * p->m * (p->narrow == p->n ? 1.0 * p->n / VL : 0.5 * halves);
    p->grid = grid_of(p->m, p->n, WIDTH, cycles < GEMM_SERIAL_CYCLES ? 1 : dase_parts_for(num_threads, cycles));
    part_rows = ceil_div(p->m, p->grid.rows);
    tiles = ceil_div(part_rows, MR);
    /* B is packed when enough tiles read it; a transposed B always. */
    p->pack_b = p->trans_b || tiles > GEMM_PLAIN_TILES
        || (tiles > 2 && p->ldb * (ptrdiff_t)sizeof(real) % 1024 == 0);
    /* Panels of B: all that several blocks of rows read; else two, one packed while the other is multiplied, and
       no fewer where the smaller parts of C are one block of rows. */
    kept = tiles > GEMM_ROW_TILES ? ceil_div(panels, p->grid.cols) : 2;
    kept = kept < 2 ? 2 : kept < GEMM_COLS / WIDTH ? kept : GEMM_COLS / WIDTH;
    tiles = tiles < GEMM_ROW_TILES ? tiles : GEMM_ROW_TILES;
    p->scratch_a = 0;
    if (p->pack_a && p->narrow < p->n)
        p->scratch_a = (size_t)(p->trans_a ? tiles * (MR * p->kc + GEMM_PAD)
                                           : tiles * MR * TYPED(row_pitch)(p->kc));
    p->scratch_a = (p->scratch_a + LINE - 1) / LINE * LINE; /* what follows stays aligned */
    p->scratch = p->scratch_a + (size_t)ceil_div(kept * WIDTH * p->kc, LINE) * LINE;
}

/* A running product, as its parts see it. */
typedef struct {
    const product_plan *p;
    const real *a, *b, *bias; /* IN */
    real *c, *db, *scratch;   /* OUT; db may be NULL */
} TYPED(gemm_run);

/* One rectangle of C, and an even share of the column sums of B when db is given. */
static void TYPED(gemm_part)(void *arg, int part)
{
    const TYPED(gemm_run) *run = arg;
    const product_plan *p = run->p;
    const int parts = p->grid.rows * p->grid.cols;
    const area own = area_of(p->grid, p->m, p->n, WIDTH, part);
    real *scratch = run->scratch + part * p->scratch;
    if (run->db)
        TYPED(column_sums)(run->b, p->k, p->n, part_start(p->n, parts, part), part_start(p->n, parts, part + 1),
                               run->db);
    if (own.i0 == own.i1 || own.j0 == own.j1) return;
    const ptrdiff_t turn = own.j1 == p->n ? own.j1 - p->narrow : own.j1;
    if (own.j0 < turn)
        TYPED(rectangle)(p, run->a, run->b, run->c, run->bias, own.i0, own.i1, own.j0, turn, scratch);
    if (turn < own.j1)
        TYPED(narrow)(p, run->a, run->b, run->c, run->bias, own.i0, own.i1, turn, own.j1, scratch);
}

/* Run the product; bias is read when flags have TILE_BIAS, db may be NULL. -1: out of memory. */
static int TYPED(gemm)(const product_args *product, const real *a, const real *b, real *c,
                           const real *bias, real *db, int num_threads)
{
    product_plan p = {product->m, product->n, product->k, product->trans_a, product->trans_b,
                   product->lda, product->ldb, product->flags};
    TYPED(gemm_run) run = {&p, a, b, bias, c, db, NULL};
    if (p.n == 0 || (p.m == 0 && db == NULL)) return 0;
    TYPED(plan)(&p, num_threads);
    run.scratch = dase_scratch_take(p.grid.rows * p.grid.cols * p.scratch * sizeof(real));
    if (run.scratch == NULL) return -1;
    dase_share_out(TYPED(gemm_part), &run, p.grid.rows * p.grid.cols, num_threads);
    dase_scratch_give(run.scratch);
    return 0;
}

#undef WIDTH
#undef LINE
#endif
