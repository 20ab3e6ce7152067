/* The products of a training step whose left factor is an activation: x w and dout w^T. Part of step.h,
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
    if (p->transposed) {
        /* Columns of the panel are rows of the matrix, `depth` long. */
        for (ptrdiff_t c = dase_cut(cols, tiles, t); c < dase_cut(cols, tiles, t + 1); c++)
            dase_ask(asks, p->b + (j + c) * p->ldb + k, depth * size);
    } else {
        for (ptrdiff_t i = dase_cut(depth, tiles, t); i < dase_cut(depth, tiles, t + 1); i++)
            dase_ask(asks, p->b + (k + i) * p->ldb + j, cols * size);
    }
}

#include "bf16_step.h"

#if defined(DASE_VECTORS) && defined(DASE_SHUFFLES)
#define DASE_DOTS (DASE_VL / 4) /* columns; those of four samples fill a vector */
#define vec DASE_NAME(vec)
#define vec_at DASE_NAME(vec_at)

/* How many columns of C are left over for multiply_few. They are the same for every share. */
static inline ptrdiff_t DASE_NAME(few_left)(const DASE_NAME(product) *p, ptrdiff_t j1)
{
    const ptrdiff_t rest = p->cols % WIDTH;
    return p->c_panels && j1 == p->cols && DASE_PANEL % DASE_VL == 0 && rest <= DASE_DOTS ? rest : 0;
}

/* The last few columns of C, which would leave most of a vector empty: each number is a product of vectors
   along k, whose lanes are added at the end. `pack` takes the columns of B. */
static void DASE_NAME(multiply_few)(const DASE_NAME(product) *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j, ptrdiff_t k,
                                    ptrdiff_t depth, int flags, DASE_TYPE *pack)
{
    const int cols = (int)(p->cols - j);
    const ptrdiff_t padded = DASE_UP(depth, DASE_PANEL) * DASE_PANEL;
    const DASE_TYPE *panels = p->a + k / DASE_PANEL * p->stride;
    for (ptrdiff_t q = 0; q < padded; q++) {
        const DASE_TYPE *b = p->transposed ? p->b + j * p->ldb + k + q : p->b + (k + q) * p->ldb + j;
        const ptrdiff_t apart = p->transposed ? p->ldb : 1;
        for (int c = 0; c < DASE_DOTS; c++) pack[c * padded + q] = c < cols && q < depth ? b[c * apart] : 0;
    }
    for (ptrdiff_t i = i0; i < i1; i += 4) {
        /* Rows beyond the last are the last again. */
        const int rows = i1 - i < 4 ? (int)(i1 - i) : 4;
        const DASE_TYPE *a0 = panels + i * DASE_PANEL, *a1 = rows > 1 ? a0 + DASE_PANEL : a0;
        const DASE_TYPE *a2 = rows > 2 ? a1 + DASE_PANEL : a1, *a3 = rows > 3 ? a2 + DASE_PANEL : a2;
        vec r[DASE_VL] = {{0}};
        DASE_TYPE sums[DASE_VL];
        for (ptrdiff_t q = 0; q < padded; q += DASE_VL) {
            const ptrdiff_t at = q / DASE_PANEL * p->stride + q % DASE_PANEL;
            const vec x0 = *(const vec *)(a0 + at), x1 = *(const vec *)(a1 + at);
            const vec x2 = *(const vec *)(a2 + at), x3 = *(const vec *)(a3 + at);
            _Pragma("GCC unroll 4")
            for (int c = 0; c < DASE_DOTS; c++) {
                const vec b = *(const vec *)(pack + c * padded + q);
                r[c] += x0 * b;
                r[DASE_DOTS + c] += x1 * b;
                r[2 * DASE_DOTS + c] += x2 * b;
                r[3 * DASE_DOTS + c] += x3 * b;
            }
        }
        *(vec_at *)sums = DASE_NAME(sums_of_lanes)(r);
        for (int row = 0; row < rows; row++)
            for (int c = 0; c < cols; c++) {
                const ptrdiff_t at = p->c_panels
                    ? (j + c) / DASE_PANEL * p->stride + (i + row) * DASE_PANEL + (j + c) % DASE_PANEL
                    : (i + row) * p->cols + j + c;
                DASE_TYPE sum = sums[row * DASE_DOTS + c];
                if (flags & DASE_ADD) sum += p->c[at];
                if (flags & DASE_BIAS) sum += p->bias[j + c];
                if ((flags & DASE_RELU) && sum <= 0) sum = 0;
                if (flags & DASE_MASK) sum = p->mask[at] > 0 ? sum * p->scale : 0;
                p->c[at] = sum;
            }
    }
}

#undef vec
#undef vec_at
#undef DASE_DOTS

#else

static inline ptrdiff_t DASE_NAME(few_left)(const DASE_NAME(product) *p, ptrdiff_t j1) { return 0; }
static void DASE_NAME(multiply_few)(const DASE_NAME(product) *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j, ptrdiff_t k,
                                    ptrdiff_t depth, int flags, DASE_TYPE *pack) {}

#endif

static void DASE_NAME(multiply)(const DASE_NAME(product) *p, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0, ptrdiff_t j1,
                                ptrdiff_t k0, ptrdiff_t k1, DASE_TYPE *pack)
{
    const ptrdiff_t rows = i1 - i0, blocks = DASE_UP(k1 - k0, DASE_KC);
    const ptrdiff_t kc = DASE_UP(DASE_UP(k1 - k0, blocks), DASE_PANEL) * DASE_PANEL;
    const int tiles = (int)DASE_UP(rows, DASE_MR);
    const ptrdiff_t few = DASE_NAME(few_left)(p, j1), panels = DASE_UP(j1 - few - j0, WIDTH);
    const ptrdiff_t turns = blocks * panels * tiles, samples = p->ahead ? p->ahead->n : 0;
    ptrdiff_t turn = 0;
    dase_asks asks;
    DASE_NAME(job) job;
    if (rows <= 0) return;
    if (p->rounded) {
        DASE_NAME(multiply_bf16)(p, i0, i1, j0, j1, k0, k1, (unsigned *)pack);
        return;
    }
    job.rs = DASE_PANEL;
    job.cs = 1;
    job.chunk = DASE_PANEL;
    job.jump = p->stride - DASE_PANEL;
    job.mask = NULL;
    job.scale = p->scale;
    job.asks = &asks;
    for (ptrdiff_t k = k0; k < k1; k += kc) {
        const ptrdiff_t depth = k1 - k < kc ? k1 - k : kc;
        const int first = k == k0, last = k + depth == k1;
        job.flags = (first ? 0 : DASE_ADD) | (last ? p->flags : 0);
        for (ptrdiff_t j = j0; j < j1 - few; j += WIDTH) {
            const int cols = j1 - j < WIDTH ? (int)(j1 - j) : WIDTH;
            const int plain = !p->transposed && cols == WIDTH && tiles <= DASE_PLAIN_TILES;
            if (p->transposed) DASE_NAME(pack_columns)(depth, cols, p->b + j * p->ldb + k, p->ldb, pack);
            else if (!plain) DASE_NAME(pack_rows)(depth, cols, p->b + k * p->ldb + j, p->ldb, pack);
            job.b = plain ? p->b + k * p->ldb + j : pack;
            job.ldb = plain ? p->ldb : cols > DASE_VL ? WIDTH : DASE_VL;
            job.bvs = DASE_VL;
            job.bias = p->bias == NULL ? NULL : p->bias + j;
            for (int t = 0; t < tiles; t++) {
                const ptrdiff_t i = i0 + dase_cut(rows, tiles, t), end = i0 + dase_cut(rows, tiles, t + 1);
                job.a = p->a + k / DASE_PANEL * p->stride + i * DASE_PANEL;
                if (p->c_panels) {
                    const ptrdiff_t at = j / DASE_PANEL * p->stride + i * DASE_PANEL + j % DASE_PANEL;
                    job.c = p->c + at;
                    job.ldc = DASE_PANEL;
                    job.cvs = DASE_VL < DASE_PANEL ? DASE_VL : p->stride;
                    if (p->mask) job.mask = p->mask + at;
                } else {
                    job.c = p->c + i * p->cols + j;
                    if (p->mask) job.mask = p->mask + i * p->cols + j;
                    job.ldc = p->cols;
                    job.cvs = DASE_VL;
                }
                asks.count = 0;
                if (!first) /* what is added to has left the cache since */
                    for (ptrdiff_t r = 0; r < end - i; r++) {
                        dase_ask(&asks, job.c + r * job.ldc, sizeof(DASE_TYPE));
                        if (cols > DASE_VL) dase_ask(&asks, job.c + r * job.ldc + job.cvs, sizeof(DASE_TYPE));
                    }
                if (p->ahead)
                    DASE_NAME(ask)(p->ahead, &asks, dase_cut(samples, (int)turns, (int)turn),
                                   dase_cut(samples, (int)turns, (int)turn + 1), p->ahead0, p->ahead1);
                turn++;
                if (plain) { /* its rows come by themselves */
                } else if (j + WIDTH < j1 - few) {
                    DASE_NAME(ask_panel)(&asks, p, j + WIDTH, j1, k, depth, tiles, t);
                } else if (!last) {
                    const ptrdiff_t after = k1 - k - depth;
                    DASE_NAME(ask_panel)(&asks, p, j0, j1, k + depth, after < kc ? after : kc, tiles, t);
                }
                DASE_NAME(job_tile)(&job, (int)(end - i), cols, depth);
            }
        }
        if (few) DASE_NAME(multiply_few)(p, i0, i1, j1 - few, k, depth, job.flags, pack);
    }
}

/* A thread's share of C: samples, unless there are enough columns for each to pack its own. */
static int DASE_NAME(by_columns)(ptrdiff_t cols, int parts) { return cols >= 8 * WIDTH * parts; }

static void DASE_NAME(share)(const DASE_NAME(product) *p, ptrdiff_t n, ptrdiff_t k, int part, int parts,
                             DASE_TYPE *pack)
{
    if (DASE_NAME(by_columns)(p->cols, parts)) {
        const ptrdiff_t units = DASE_UP(p->cols, COLUMN_UNIT), end = dase_cut(units, parts, part + 1) * COLUMN_UNIT;
        DASE_NAME(multiply)(p, 0, n, dase_cut(units, parts, part) * COLUMN_UNIT, end < p->cols ? end : p->cols,
                            0, k, pack);
    } else {
        DASE_NAME(multiply)(p, dase_cut(n, parts, part), dase_cut(n, parts, part + 1), 0, p->cols, 0, k, pack);
    }
}
