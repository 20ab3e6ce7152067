/* The gradient of every parameter and, at once, its update. Part of step/step.h, once per type. */

/* The first row of weights of a unit. */
static inline ptrdiff_t DASE_NAME(unit_row)(ptrdiff_t unit)
{
    const int cuts = DASE_UP(DASE_PANEL, DASE_MR); /* tiles of a panel */
    return unit / cuts * DASE_PANEL + dase_cut(DASE_PANEL, cuts, (int)(unit % cuts));
}

/* Rows of tiles of a layer's weights, as they are shared out for the update. */
static ptrdiff_t DASE_NAME(units)(const dase_layer *layer)
{
    return DASE_UP(layer->fan_in, DASE_PANEL) * DASE_UP(DASE_PANEL, DASE_MR);
}

#ifdef DASE_VECTORS

/* A whole tile of a gradient that waits for the tile after it: while that one is multiplied, the
   parameter is updated by this one, a vector at a time. Square roots and divisions take as long as
   many multiplications, but other units of the processor. */
typedef struct {
    DASE_NAME(vec) tile[2 * DASE_MR];
    int count;                 /* its vectors, two a row; 0: no tile waits */
    ptrdiff_t at;              /* where it begins in the parameter */
    double *squares;           /* INOUT */
} DASE_NAME(pending);

/* The sums of a tile of ROWS rows and two vectors, and the update by the one that waits, in as many turns as
   that has vectors. The sums take its place. At each turn a vector of the parameter and its state is asked
   for, of the tile that begins at `next`. A's rows lie side by side. */
#define DASE_SUM(i, p, r) { const DASE_TYPE s = a[i]; c##i += s * b0; d##i += s * b1; }
#define DASE_UPDATING(ROWS)                                                                  \
    static void DASE_CAT(DASE_NAME(updating), _##ROWS)(ptrdiff_t kc, const DASE_TYPE *a, const DASE_TYPE *b, \
        ptrdiff_t bvs, const DASE_NAME(update) *rule, ptrdiff_t ld, ptrdiff_t next, DASE_NAME(pending) *p) \
    {                                                                                        \
        const DASE_NAME(update) u = *rule; /* a copy that no store can change */             \
        const int turns = p->count ? p->count : 2 * ROWS;                                    \
        vec squares = {0}, *tile = p->tile;                                                  \
        DASE_ROWS_##ROWS(DASE_ZERO_2)                                                        \
        for (int turn = 0; turn < turns; turn++) {                                           \
            const DASE_TYPE *const end = a + (dase_cut(kc, turns, turn + 1) - dase_cut(kc, turns, turn)) * DASE_PANEL; \
            const ptrdiff_t at = turn / 2 * ld + turn % 2 * DASE_VL;                         \
            DASE_NAME(ask_element)(&u, next + at + DASE_VL - 1);                                 \
            for (; a < end; a += DASE_PANEL, b += DASE_PANEL) {                              \
                const vec b0 = *(const vec_at *)b, b1 = *(const vec_at *)(b + bvs);          \
                DASE_ROWS_##ROWS(DASE_SUM)                                                   \
            }                                                                                \
            if (p->count) DASE_NAME(update_any)(&u, tile[turn], p->at + at, &squares);       \
        }                                                                                    \
        if (p->count && u.reg != 0) *p->squares += DASE_NAME(lane_sum)(squares);             \
        DASE_ROWS_##ROWS(DASE_SAVE_2)                                                        \
        p->count = 2 * ROWS;                                                                 \
    }
#define vec DASE_NAME(vec)
#define vec_at DASE_NAME(vec_at)
#if DASE_MR >= 8
DASE_UPDATING(8)
#elif DASE_MR == 6
DASE_UPDATING(5) DASE_UPDATING(6)
#else
DASE_UPDATING(4)
#endif

/* The tile that waits waits no longer. */
static void DASE_NAME(settle)(const DASE_NAME(update) *u, ptrdiff_t ld, DASE_NAME(pending) *p)
{
    if (p->count) *p->squares += DASE_NAME(update_by)(u, p->tile, 2, p->count / 2, WIDTH, p->at, ld);
    p->count = 0;
}

/* Whether a tile can wait: the others are few. */
static inline int DASE_NAME(whole)(ptrdiff_t rows, ptrdiff_t cols)
{
    return cols == WIDTH && (DASE_MR >= 8 ? rows == 8 : DASE_MR == 6 ? rows == 5 || rows == 6 : rows == 4);
}

/* A whole tile and the update by the one that waits. */
static void DASE_NAME(take_turns)(const DASE_NAME(job) *job, ptrdiff_t rows, ptrdiff_t kc, const DASE_NAME(update) *u,
                                  ptrdiff_t at, ptrdiff_t ld, ptrdiff_t next, double *squares,
                                  DASE_NAME(pending) *p)
{
#if DASE_MR >= 8
    DASE_CAT(DASE_NAME(updating), _8)(kc, job->a, job->b, job->bvs, u, ld, next, p);
#elif DASE_MR == 6
    if (rows == 5) DASE_CAT(DASE_NAME(updating), _5)(kc, job->a, job->b, job->bvs, u, ld, next, p);
    else DASE_CAT(DASE_NAME(updating), _6)(kc, job->a, job->b, job->bvs, u, ld, next, p);
#else
    DASE_CAT(DASE_NAME(updating), _4)(kc, job->a, job->b, job->bvs, u, ld, next, p);
#endif
    if (job->flags & DASE_ADD)
        for (int i = 0; i < p->count; i++) p->tile[i] += ((const vec *)job->c)[i];
    p->at = at;
    p->squares = squares;
}

/* The last few columns of a panel's gradient, which would leave most of a vector empty: as dout^T x, whose
   rows are whole. turned: a vector for each row of the panel. */
static inline int DASE_NAME(few)(ptrdiff_t cols) { return DASE_PANEL <= WIDTH && cols <= DASE_VL / 4; }

static void DASE_NAME(few_columns)(const DASE_TYPE *x, const DASE_TYPE *dout, int cols, ptrdiff_t n, ptrdiff_t kc,
                                   vec *turned)
{
    DASE_TYPE sums[DASE_VL / 4][DASE_PANEL];
    DASE_NAME(job) job = {dout, 1, DASE_PANEL, kc, 0, x, DASE_PANEL, DASE_VL, sums[0], DASE_PANEL, DASE_VL,
                          NULL, NULL, 1, 0, NULL};
    for (ptrdiff_t k = 0; k < n; k += kc, job.a += kc * DASE_PANEL, job.b += kc * DASE_PANEL) {
        DASE_NAME(job_tile)(&job, cols, DASE_PANEL, n - k < kc ? n - k : kc);
        job.flags = DASE_ADD;
    }
    for (int i = 0; i < DASE_PANEL; i++)
        for (int j = 0; j < cols; j++) ((DASE_TYPE *)&turned[i])[j] = sums[j][i];
}

#undef DASE_UPDATING
#undef DASE_SUM
#undef vec
#undef vec_at

#else /* no tile waits */

typedef struct { int count; } DASE_NAME(pending);
static inline int DASE_NAME(whole)(ptrdiff_t rows, ptrdiff_t cols) { return 0; }
static void DASE_NAME(take_turns)(const DASE_NAME(job) *job, ptrdiff_t rows, ptrdiff_t kc, const DASE_NAME(update) *u,
                                  ptrdiff_t at, ptrdiff_t ld, ptrdiff_t next, double *squares,
                                  DASE_NAME(pending) *p) {}
static void DASE_NAME(settle)(const DASE_NAME(update) *u, ptrdiff_t ld, DASE_NAME(pending) *p) {}

#endif

/* x^T dout, tile by tile straight into the update: units u0..u1. */
static void DASE_NAME(update_weights)(dase_step *s, int l, ptrdiff_t u0, ptrdiff_t u1, DASE_TYPE *part_sums)
{
    const dase_layer *layer = &s->layer[l];
    const DASE_TYPE *x = l ? s->layer[l - 1].h : s->x;
    const ptrdiff_t n = s->source.n, stride = dase_panel_stride(n), m = layer->fan_out, d = layer->fan_in;
    const ptrdiff_t blocks = DASE_UP(n, DASE_KC), kc = DASE_UP(DASE_UP(n, blocks), DASE_PANEL) * DASE_PANEL;
    const ptrdiff_t last = (blocks - 1) * kc; /* where the last block of samples begins */
    const DASE_NAME(update) u = DASE_NAME(update_of)(&layer->weights, s->rule);
    const int cuts = DASE_UP(DASE_PANEL, DASE_MR); /* tiles of a panel of A */
    double *at_once = layer->squares + DASE_NAME(units)(layer); /* of the tiles that do not wait: others' order */
    DASE_NAME(pending) pending;
    DASE_NAME(job) job;
    job.rs = 1;
    job.cs = DASE_PANEL;
    job.chunk = kc;
    job.jump = 0;
    job.ldb = DASE_PANEL;
    job.bvs = DASE_VL < DASE_PANEL ? DASE_VL : stride;
    job.c = part_sums;
    job.ldc = WIDTH;
    job.cvs = DASE_VL;
    job.bias = job.mask = NULL;
    job.scale = 1;
    job.asks = NULL;
    pending.count = 0;
    for (ptrdiff_t unit = u0; unit < u1; unit++) layer->squares[unit] = at_once[unit] = 0;
    for (ptrdiff_t from = u0; from < u1;) {
        const ptrdiff_t panel = from / cuts, past = (panel + 1) * cuts < u1 ? (panel + 1) * cuts : u1;
        for (ptrdiff_t j = 0; j < m; j += WIDTH) {
            const ptrdiff_t cols = m - j < WIDTH ? m - j : WIDTH;
            const DASE_TYPE *b = (const DASE_TYPE *)layer->dout + j / DASE_PANEL * stride + j % DASE_PANEL;
#ifdef DASE_VECTORS
            if (DASE_NAME(few)(cols)) {
                DASE_NAME(vec) turned[DASE_PANEL];
                DASE_NAME(few_columns)(x + panel * stride, b, (int)cols, n, kc, turned);
                for (ptrdiff_t unit = from; unit < past; unit++) {
                    const ptrdiff_t row = DASE_NAME(unit_row)(unit), end = DASE_NAME(unit_row)(unit + 1);
                    const int rows = (int)((d < end ? d : end) - row);
                    at_once[unit] += DASE_NAME(update_by)(&u, turned + row % DASE_PANEL, 1, rows, (int)cols,
                                                          row * m + j, m);
                }
                continue;
            }
#endif
            for (ptrdiff_t unit = from; unit < past; unit++) {
                const ptrdiff_t row = DASE_NAME(unit_row)(unit), end = DASE_NAME(unit_row)(unit + 1);
                const ptrdiff_t rows = d < end ? d - row : end - row, at = row * m + j;
                const DASE_TYPE *a = x + panel * stride + row % DASE_PANEL;
                if (rows <= 0) continue;
                for (ptrdiff_t k = 0; k < last; k += kc) {
                    job.a = a + k * DASE_PANEL;
                    job.b = b + k * DASE_PANEL;
                    job.flags = k ? DASE_ADD : 0;
                    DASE_NAME(job_tile)(&job, (int)rows, (int)cols, kc);
                }
                job.a = a + last * DASE_PANEL;
                job.b = b + last * DASE_PANEL;
                job.flags = last ? DASE_ADD : 0;
                if (DASE_NAME(whole)(rows, cols)) {
                    const ptrdiff_t next = unit + 1 < past ? end * m + j
                        : j + 2 * WIDTH <= m ? DASE_NAME(unit_row)(from) * m + j + WIDTH
                        : (panel + 1) * DASE_PANEL * m;
                    DASE_NAME(take_turns)(&job, rows, n - last, &u, at, m, next, &layer->squares[unit], &pending);
                } else {
                    at_once[unit] += DASE_NAME(update_tile)(&job, (int)rows, (int)cols, n - last, &u, at, m);
                }
            }
        }
        from = past;
    }
    DASE_NAME(settle)(&u, m, &pending);
}

/* The gradient of the images, which came out of ReLU, a few features at a time, and at once the update of
   the weights that it was computed from: these are still in the cache. */
static void DASE_NAME(update_first)(dase_step *s, ptrdiff_t u0, ptrdiff_t u1, DASE_TYPE *pack)
{
    const dase_layer *layer = &s->layer[0];
    const ptrdiff_t d = layer->fan_in, n = s->source.n;
    const int cuts = DASE_UP(DASE_PANEL, DASE_MR);
    const DASE_NAME(product) p = {layer->dout, dase_panel_stride(n), layer->weights.w, layer->fan_out, 1, s->dx, 0, d,
                                  NULL, s->source.images, 1, DASE_MASK, NULL, 0, 0};
    for (ptrdiff_t from = u0; from < u1;) {
        const ptrdiff_t next = (from / cuts + COLUMN_UNIT / DASE_PANEL) * cuts, past = next < u1 ? next : u1;
        const ptrdiff_t j0 = DASE_NAME(unit_row)(from), j1 = DASE_NAME(unit_row)(past);
        DASE_NAME(multiply)(&p, 0, n, j0 < d ? j0 : d, j1 < d ? j1 : d, 0, layer->fan_out, pack);
        DASE_NAME(update_weights)(s, 0, from, past, pack + WIDTH * DASE_KC);
        from = past;
    }
}

/* The vectors of a layer: few numbers, a panel at a time. */
static void DASE_NAME(update_vectors)(dase_step *s, int l, int part, int parts)
{
    const dase_layer *layer = &s->layer[l];
    const ptrdiff_t n = s->source.n, stride = dase_panel_stride(n), m = layer->fan_out;
    const ptrdiff_t panels = DASE_UP(m, DASE_PANEL);
    const int normed = l + 1 < s->layers && s->norm != DASE_NO_NORM;
    const DASE_NAME(update) bias = DASE_NAME(update_of)(&layer->bias, s->rule);
    const DASE_NAME(update) gamma = DASE_NAME(update_of)(&layer->gamma, s->rule);
    const DASE_NAME(update) beta = DASE_NAME(update_of)(&layer->beta, s->rule);
    /* Backwards, because the larger shares of the tiles go to the first threads. */
    for (ptrdiff_t p = dase_cut(panels, parts, parts - 1 - part); p < dase_cut(panels, parts, parts - part); p++) {
        const ptrdiff_t j = p * DASE_PANEL, features = m - j < DASE_PANEL ? m - j : DASE_PANEL;
        DASE_TYPE *db = (DASE_TYPE *)layer->dbias + j;
        DASE_NAME(panel_sums)(n, (const DASE_TYPE *)layer->dout + p * stride, db);
        DASE_NAME(update_vector)(&bias, db, j, features);
        if (normed) {
            DASE_NAME(update_vector)(&gamma, (const DASE_TYPE *)layer->dgamma + j, j, features);
            DASE_NAME(update_vector)(&beta, (const DASE_TYPE *)layer->dbeta + j, j, features);
        }
    }
}
