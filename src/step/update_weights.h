/* The gradient of every parameter and, at once, its update. Part of step/step.h, once per type. */

/* The first row of weights of a unit. */
static inline ptrdiff_t TYPED(unit_row)(ptrdiff_t unit)
{
    const int cuts = ceil_div(PANEL, MR); /* tiles of a panel */
    return unit / cuts * PANEL + part_start(PANEL, cuts, (int)(unit % cuts));
}

/* Rows of tiles of a layer's weights, as they are shared out for the update. */
static ptrdiff_t TYPED(units)(const step_layer *layer)
{
    return ceil_div(layer->fan_in, PANEL) * ceil_div(PANEL, MR);
}

#ifdef HAVE_VECTORS

/* A whole tile of a gradient that waits for the tile after it: while that one is multiplied, the
   parameter is updated by this one, a vector at a time. Square roots and divisions take as long as
   many multiplications, but other units of the processor. */
typedef struct {
    vec tile[2 * MR];
    int count;                 /* its vectors, two a row; 0: no tile waits */
    ptrdiff_t at;              /* where it begins in the parameter */
    double *squares;           /* INOUT */
} TYPED(pending);

/* The sums of a tile of ROWS rows and two vectors, and the update by the one that waits, in as many turns as
   that has vectors. The sums take its place. At each turn a vector of the parameter and its state is asked
   for, of the tile that begins at `next`. A's rows lie side by side. */
#define SUM(i, p, r) { const real s = a[i]; c##i += s * b0; d##i += s * b1; }
#define UPDATING(ROWS)                                                                       \
    static void PASTE(TYPED(updating), _##ROWS)(ptrdiff_t kc, const real *a, const real *b, \
        ptrdiff_t bvs, const TYPED(update) *rule, ptrdiff_t ld, ptrdiff_t next, TYPED(pending) *p) \
    {                                                                                        \
        const TYPED(update) u = *rule; /* a copy that no store can change */                 \
        const int turns = p->count ? p->count : 2 * ROWS;                                    \
        vec squares = {0}, *tile = p->tile;                                                  \
        ROWS_##ROWS(ZERO_2)                                                                  \
        for (int turn = 0; turn < turns; turn++) {                                           \
            const real *const end = a + (part_start(kc, turns, turn + 1) - part_start(kc, turns, turn)) * PANEL; \
            const ptrdiff_t at = turn / 2 * ld + turn % 2 * VL;                              \
            TYPED(ask_element)(&u, next + at + VL - 1);                                      \
            for (; a < end; a += PANEL, b += PANEL) {                                        \
                const vec b0 = *(const vec_at *)b, b1 = *(const vec_at *)(b + bvs);          \
                ROWS_##ROWS(SUM)                                                             \
            }                                                                                \
            if (p->count) TYPED(update_any)(&u, tile[turn], p->at + at, &squares);           \
        }                                                                                    \
        if (p->count && u.reg != 0) *p->squares += vec_total(squares);                       \
        ROWS_##ROWS(SAVE_2)                                                                  \
        p->count = 2 * ROWS;                                                                 \
    }
#if MR >= 8
UPDATING(8)
#elif MR == 6
UPDATING(5) UPDATING(6)
#else
UPDATING(4)
#endif

/* The tile that waits waits no longer. */
static void TYPED(settle)(const TYPED(update) *u, ptrdiff_t ld, TYPED(pending) *p)
{
    if (p->count) *p->squares += TYPED(update_by)(u, p->tile, 2, p->count / 2, WIDTH, p->at, ld);
    p->count = 0;
}

/* Whether a tile can wait: the others are few. */
static inline int TYPED(whole)(ptrdiff_t rows, ptrdiff_t cols)
{
    return cols == WIDTH && (MR >= 8 ? rows == 8 : MR == 6 ? rows == 5 || rows == 6 : rows == 4);
}

/* A whole tile and the update by the one that waits. */
static void TYPED(take_turns)(const tile_args *job, const real *c, ptrdiff_t rows, ptrdiff_t kc, const TYPED(update) *u,
                                  ptrdiff_t at, ptrdiff_t ld, ptrdiff_t next, double *squares,
                                  TYPED(pending) *p)
{
#if MR >= 8
    PASTE(TYPED(updating), _8)(kc, job->a, job->b, job->bvs, u, ld, next, p);
#elif MR == 6
    if (rows == 5) PASTE(TYPED(updating), _5)(kc, job->a, job->b, job->bvs, u, ld, next, p);
    else PASTE(TYPED(updating), _6)(kc, job->a, job->b, job->bvs, u, ld, next, p);
#else
    PASTE(TYPED(updating), _4)(kc, job->a, job->b, job->bvs, u, ld, next, p);
#endif
    if (job->flags & TILE_ADD)
        for (int i = 0; i < p->count; i++) p->tile[i] += ((const vec *)c)[i];
    p->at = at;
    p->squares = squares;
}

/* The last few columns of a panel's gradient, which would leave most of a vector empty: as dout^T x, whose
   rows are whole. turned: a vector for each row of the panel. */
static inline int TYPED(few)(ptrdiff_t cols) { return PANEL <= WIDTH && cols <= VL / 4; }

static void TYPED(few_columns)(const real *x, const real *dout, int cols, ptrdiff_t n, ptrdiff_t kc,
                                   vec *turned)
{
    real sums[VL / 4][PANEL];
    tile_args job = {dout, 1, PANEL, kc, 0, x, PANEL, VL, PANEL, VL, NULL, NULL, 1, 0, NULL};
    for (ptrdiff_t k = 0; k < n; k += kc) {
        job.a = dout + k * PANEL;
        job.b = x + k * PANEL;
        tile_product(&job, sums[0], cols, PANEL, n - k < kc ? n - k : kc);
        job.flags = TILE_ADD;
    }
    for (int i = 0; i < PANEL; i++)
        for (int j = 0; j < cols; j++) ((real *)&turned[i])[j] = sums[j][i];
}

#undef UPDATING
#undef SUM

#else /* no tile waits */

typedef struct { int count; } TYPED(pending);
static inline int TYPED(whole)(ptrdiff_t rows, ptrdiff_t cols) { return 0; }
static void TYPED(take_turns)(const tile_args *job, const real *c, ptrdiff_t rows, ptrdiff_t kc, const TYPED(update) *u,
                                  ptrdiff_t at, ptrdiff_t ld, ptrdiff_t next, double *squares,
                                  TYPED(pending) *p) {}
static void TYPED(settle)(const TYPED(update) *u, ptrdiff_t ld, TYPED(pending) *p) {}

#endif

/* x^T dout, tile by tile straight into the update: units u0..u1. */
static void TYPED(update_weights)(step_state *s, int l, ptrdiff_t u0, ptrdiff_t u1, real *part_sums)
{
    const step_layer *layer = &s->layer[l];
    const real *x = l ? s->layer[l - 1].h : s->x;
    const ptrdiff_t n = s->source.n, stride = panel_stride(n), m = layer->fan_out, d = layer->fan_in;
    const ptrdiff_t blocks = ceil_div(n, KC), kc = ceil_div(ceil_div(n, blocks), PANEL) * PANEL;
    const ptrdiff_t last = (blocks - 1) * kc; /* where the last block of samples begins */
    const TYPED(update) u = TYPED(update_of)(&layer->weights, s->rule);
    const int cuts = ceil_div(PANEL, MR); /* tiles of a panel of A */
    double *at_once = layer->squares + TYPED(units)(layer); /* of the tiles that do not wait: others' order */
    TYPED(pending) pending;
    tile_args job;
    job.rs = 1;
    job.cs = PANEL;
    job.chunk = kc;
    job.jump = 0;
    job.ldb = PANEL;
    job.bvs = VL < PANEL ? VL : stride;
    job.ldc = WIDTH;
    job.cvs = VL;
    job.bias = job.mask = NULL;
    job.scale = 1;
    job.prefetch = NULL;
    pending.count = 0;
    for (ptrdiff_t unit = u0; unit < u1; unit++) layer->squares[unit] = at_once[unit] = 0;
    for (ptrdiff_t from = u0; from < u1;) {
        const ptrdiff_t panel = from / cuts, past = (panel + 1) * cuts < u1 ? (panel + 1) * cuts : u1;
        for (ptrdiff_t j = 0; j < m; j += WIDTH) {
            const ptrdiff_t cols = m - j < WIDTH ? m - j : WIDTH;
            const real *b = (const real *)layer->dout + j / PANEL * stride + j % PANEL;
#ifdef HAVE_VECTORS
            if (TYPED(few)(cols)) {
                vec turned[PANEL];
                TYPED(few_columns)(x + panel * stride, b, (int)cols, n, kc, turned);
                for (ptrdiff_t unit = from; unit < past; unit++) {
                    const ptrdiff_t row = TYPED(unit_row)(unit), end = TYPED(unit_row)(unit + 1);
                    const int rows = (int)((d < end ? d : end) - row);
                    at_once[unit] += TYPED(update_by)(&u, turned + row % PANEL, 1, rows, (int)cols,
                                                          row * m + j, m);
                }
                continue;
            }
#endif
            for (ptrdiff_t unit = from; unit < past; unit++) {
                const ptrdiff_t row = TYPED(unit_row)(unit), end = TYPED(unit_row)(unit + 1);
                const ptrdiff_t rows = d < end ? d - row : end - row, at = row * m + j;
                const real *a = x + panel * stride + row % PANEL;
                if (rows <= 0) continue;
                for (ptrdiff_t k = 0; k < last; k += kc) {
                    job.a = a + k * PANEL;
                    job.b = b + k * PANEL;
                    job.flags = k ? TILE_ADD : 0;
                    tile_product(&job, part_sums, (int)rows, (int)cols, kc);
                }
                job.a = a + last * PANEL;
                job.b = b + last * PANEL;
                job.flags = last ? TILE_ADD : 0;
                if (TYPED(whole)(rows, cols)) {
                    const ptrdiff_t next = unit + 1 < past ? end * m + j
                        : j + 2 * WIDTH <= m ? TYPED(unit_row)(from) * m + j + WIDTH
                        : (panel + 1) * PANEL * m;
                    TYPED(take_turns)(&job, part_sums, rows, n - last, &u, at, m, next, &layer->squares[unit], &pending);
                } else {
                    at_once[unit] += TYPED(update_tile)(&job, part_sums, (int)rows, (int)cols, n - last, &u, at, m);
                }
            }
        }
        from = past;
    }
    TYPED(settle)(&u, m, &pending);
}

/* The gradient of the images, which came out of ReLU, a few features at a time, and at once the update of
   the weights that it was computed from: these are still in the cache. */
static void TYPED(update_first)(step_state *s, ptrdiff_t u0, ptrdiff_t u1, real *pack)
{
    const step_layer *layer = &s->layer[0];
    const ptrdiff_t d = layer->fan_in, n = s->source.n;
    const int cuts = ceil_div(PANEL, MR);
    const TYPED(product) p = {layer->dout, panel_stride(n), layer->weights.w, layer->fan_out, 1, s->dx, 0, d,
                                  NULL, s->source.images, 1, TILE_MASK, NULL, 0, 0};
    for (ptrdiff_t from = u0; from < u1;) {
        const ptrdiff_t next = (from / cuts + COLUMN_UNIT / PANEL) * cuts, past = next < u1 ? next : u1;
        const ptrdiff_t j0 = TYPED(unit_row)(from), j1 = TYPED(unit_row)(past);
        TYPED(multiply)(&p, 0, n, j0 < d ? j0 : d, j1 < d ? j1 : d, 0, layer->fan_out, pack);
        TYPED(update_weights)(s, 0, from, past, pack + WIDTH * KC);
        from = past;
    }
}

/* The vectors of a layer: few numbers, a panel at a time. */
static void TYPED(update_vectors)(step_state *s, int l, int part, int parts)
{
    const step_layer *layer = &s->layer[l];
    const ptrdiff_t n = s->source.n, stride = panel_stride(n), m = layer->fan_out;
    const ptrdiff_t panels = ceil_div(m, PANEL);
    const int normed = l + 1 < s->layers && s->norm != NO_NORM;
    const TYPED(update) bias = TYPED(update_of)(&layer->bias, s->rule);
    const TYPED(update) gamma = TYPED(update_of)(&layer->gamma, s->rule);
    const TYPED(update) beta = TYPED(update_of)(&layer->beta, s->rule);
    /* Backwards, because the larger shares of the tiles go to the first threads. */
    for (ptrdiff_t p = part_start(panels, parts, parts - 1 - part); p < part_start(panels, parts, parts - part); p++) {
        const ptrdiff_t j = p * PANEL, features = m - j < PANEL ? m - j : PANEL;
        real *db = (real *)layer->dbias + j;
        TYPED(panel_sums)(n, (const real *)layer->dout + p * stride, db);
        TYPED(update_vector)(&bias, db, j, features);
        if (normed) {
            TYPED(update_vector)(&gamma, (const real *)layer->dgamma + j, j, features);
            TYPED(update_vector)(&beta, (const real *)layer->dbeta + j, j, features);
        }
    }
}
