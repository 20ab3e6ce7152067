/* One training step of a fully-connected network in one parallel region:
   gather, forward, loss, backward, and the update of every parameter.

   The work is a sequence of phases with a barrier after each. In a phase every thread has a share:
   samples, or panels of features, or blocks of the inner dimension. Which share it is changes no
   bit: an element is always the same chain of additions, and sums over shares have fixed blocks
   that follow from the shape. See step/panels.h for how the activations lie. */

#ifndef real /* ---- once ---- */
#ifndef TRAINING_STEP_H
#define TRAINING_STEP_H

#include "product/packing.h"
#include "product/leftover.h"
#include "step/rules.h"
#include "step/panels.h"
#include "step/softmax.h"
#include "threads/barrier.h"
#include "product/grid.h"
#include "bf16/step.h"

#define PLAIN_TILES 20 /* fewer tiles of rows read a panel of B where it lies: packing would not pay */
#define KC 512      /* a block of k: its panel of B and A's block stay in the second-level cache */
#define SPLITS 8    /* parts of the inner dimension of the first product, when its result is small */
#define GATHERED 16         /* panels gathered at once: their rows stay in the second-level cache */
#define SPLIT_FROM 1024     /* features from which the first product is split */
#define SPLIT_RESULT 65536  /* elements up to which its result counts as small */

enum { NO_NORM, BATCH_NORM, LAYER_NORM };

typedef struct {
    ptrdiff_t fan_in, fan_out;
    rule_param weights, bias, gamma, beta;
    const void *running_mean, *running_var; /* IN, batch norm */
    void *next_mean, *next_var;             /* OUT */
    double eps, momentum;
    const double *uniform; /* IN, (n, fan_out); NULL without dropout */
    double keep;
    /* Scratch, laid out by the step. */
    void *h, *xhat, *dout, *inv, *dbias, *dgamma, *dbeta;
    double *squares;       /* sums of squares of the weights: two of each unit, see step/update_weights.h */
    rounded_panels h_bf16, dout_bf16;
} step_layer;

typedef struct {
    image_source source;
    const int64_t *labels; /* IN */
    void *dx;              /* OUT, laid out as the images: their gradient where they are positive, else 0; or NULL */
    int rule, norm, layers;
    int bf16;              /* products of factors rounded to bfloat16: 0 or BY_; float alone, where HAVE_BF16 */
    step_layer *layer;     /* the last one gives the scores */
    /* Scratch. */
    char *scratch;
    void *x, *partial, *scores, *dscores, *pack;
    ptrdiff_t pack_each;
    double *row_loss;
    rounded_panels x_bf16;
    dase_barrier barrier;
} step_state;

#define EACH_TYPE "step/step.h"
#include "each_type.h"

#endif
#else /* ---- once per type ---- */

#define WIDTH (2 * VL)
#define COLUMN_UNIT (WIDTH > PANEL ? WIDTH : PANEL) /* whole panels, whole pairs of vectors */

static int TYPED(step_splits)(const step_state *s)
{
    return s->layers > 1 && s->source.features >= SPLIT_FROM
        && s->source.n * s->layer[0].fan_out <= SPLIT_RESULT ? SPLITS : 1;
}

/* Places every array of the step behind s->scratch and returns the bytes taken; with scratch NULL
   it only counts. */
static size_t TYPED(step_layout)(step_state *s, int num_threads)
{
    size_t at = 0;
#define PLACE(to, count, type)                                                               \
    do {                                                                                     \
        (to) = s->scratch == NULL ? NULL : (void *)(s->scratch + at);                        \
        at += ceil_div((size_t)(count) * sizeof(type), 64) * 64;                             \
    } while (0)
    const ptrdiff_t n = s->source.n, stride = panel_stride(n);
    const int splits = TYPED(step_splits)(s);
    ptrdiff_t classes = s->layer[s->layers - 1].fan_out;
#define PLACE_ROUNDED(to, features)                                                          \
    do {                                                                                     \
        (to).amx = s->bf16 == BY_AMX;                                                        \
        (to).pitch = bf16_pitch(features);                                                   \
        (to).apart = bf16_apart(n);                                                          \
        PLACE((to).along, s->bf16 ? n * (to).pitch : 0, unsigned);                           \
        PLACE((to).across, s->bf16 ? ceil_div(features, 2 * PANEL) * (to).apart : 0, unsigned); \
    } while (0)
    PLACE(s->x, ceil_div(s->source.features, PANEL) * stride, real);
    PLACE_ROUNDED(s->x_bf16, s->source.features);
    PLACE(s->partial, splits > 1 ? splits * ceil_div(s->layer[0].fan_out, PANEL) * stride : 0, real);
    PLACE(s->scores, n * classes, real);
    PLACE(s->dscores, n * classes, real);
    PLACE(s->row_loss, n, double);
    s->pack_each = WIDTH * KC + VL * KC / 4 + MR * WIDTH;
    if (s->bf16 == BY_AMX) {
        ptrdiff_t widest = 0, words;
        for (int l = 0; l < s->layers; l++) if (widest < s->layer[l].fan_out) widest = s->layer[l].fan_out;
        words = amx_words(n, widest);
        if (s->pack_each < words) s->pack_each = words;
    }
    PLACE(s->pack, s->pack_each * num_threads, real);
    for (int l = 0; l < s->layers; l++) {
        step_layer *layer = &s->layer[l];
        const ptrdiff_t panels = ceil_div(layer->fan_out, PANEL), padded = panels * PANEL;
        const int hidden = l + 1 < s->layers, normed = hidden && s->norm != NO_NORM;
        PLACE(layer->h, hidden ? panels * stride : 0, real);
        PLACE(layer->dout, panels * stride, real);
        if (hidden) PLACE_ROUNDED(layer->h_bf16, layer->fan_out);
        PLACE_ROUNDED(layer->dout_bf16, layer->fan_out);
        PLACE(layer->xhat, normed ? panels * stride : 0, real);
        PLACE(layer->inv, normed ? padded + n : 0, real);
        PLACE(layer->dbias, padded, real);
        PLACE(layer->dgamma, padded, real);
        PLACE(layer->dbeta, padded, real);
        PLACE(layer->squares, ceil_div(layer->fan_in, PANEL) * PANEL, double);
    }
#undef PLACE_ROUNDED
#undef PLACE
    return at;
}

#include "step/product.h"

/* Beyond the last feature a panel holds zeros: tiles do not write there. */
static void TYPED(clear_rest)(ptrdiff_t n, ptrdiff_t features, ptrdiff_t stride, real *h)
{
    const int used = (int)(features % PANEL);
    real *panel = h + features / PANEL * stride;
    if (used == 0) return;
    for (ptrdiff_t i = 0; i < n; i++)
        for (int j = used; j < PANEL; j++) panel[i * PANEL + j] = 0;
}

/* Sum of the partial products of the first layer, its bias, and ReLU: one panel. */
static void TYPED(add_partials)(const step_state *s, ptrdiff_t panel, int relu)
{
    const step_layer *layer = &s->layer[0];
    const ptrdiff_t n = s->source.n, stride = panel_stride(n);
    const ptrdiff_t each = ceil_div(layer->fan_out, PANEL) * stride;
    const int features = layer->fan_out - panel * PANEL < PANEL
        ? (int)(layer->fan_out - panel * PANEL) : PANEL;
    const real *from = (const real *)s->partial + panel * stride;
    real *h = (real *)layer->h + panel * stride, bias[PANEL] = {0};
    for (int j = 0; j < features; j++) bias[j] = ((const real *)layer->bias.w)[panel * PANEL + j];
    for (ptrdiff_t i = 0; i < n; i++) {
        real *out = h + i * PANEL;
#ifdef HAVE_VECTORS
        for (int j = 0; j < PANEL; j += VL) {
            vec sum = *(const vec *)(from + i * PANEL + j);
            for (int k = 1; k < SPLITS; k++)
                sum += *(const vec *)(from + k * each + i * PANEL + j);
            sum += *(const vec_at *)(bias + j);
            *(vec *)(out + j) = relu ? vec_relu(sum) : sum;
        }
#else
        for (int j = 0; j < PANEL; j++) {
            real sum = from[i * PANEL + j];
            for (int k = 1; k < SPLITS; k++) sum += from[k * each + i * PANEL + j];
            sum += bias[j];
            out[j] = relu && sum <= 0 ? 0 : sum;
        }
#endif
        for (int j = features; j < PANEL; j++) out[j] = 0;
    }
}

/* Normalization, ReLU after it, and dropout of a hidden layer whose affine output is in h. */
static void TYPED(finish_forward)(step_state *s, step_layer *layer, int own_panels, int part, int parts)
{
    const ptrdiff_t n = s->source.n, stride = panel_stride(n), d = layer->fan_out;
    const ptrdiff_t panels = ceil_div(d, PANEL);
    real *h = layer->h, *xhat = layer->xhat, *inv = layer->inv;
    const ptrdiff_t p0 = part_start(panels, parts, part), p1 = part_start(panels, parts, part + 1);
    if (s->norm == LAYER_NORM || (!own_panels && (s->norm == BATCH_NORM || layer->uniform || s->bf16)))
        dase_meet(&s->barrier, parts); /* what follows reads what others computed */
    if (s->norm == BATCH_NORM) {
        const real *gamma = layer->gamma.w, *beta = layer->beta.w;
        for (ptrdiff_t p = p0; p < p1; p++) {
            const ptrdiff_t j = p * PANEL;
            TYPED(bn_panel)(n, d - j < PANEL ? (int)(d - j) : PANEL, gamma + j, beta + j,
                                layer->eps, layer->momentum, (const real *)layer->running_mean + j,
                                (const real *)layer->running_var + j, h + p * stride, xhat + p * stride, inv + j,
                                (real *)layer->next_mean + j, (real *)layer->next_var + j);
        }
    } else if (s->norm == LAYER_NORM) {
        for (ptrdiff_t i = part_start(n, parts, part); i < part_start(n, parts, part + 1); i++)
            TYPED(ln_sample)(i, d, stride, layer->gamma.w, layer->beta.w, layer->eps, h, xhat, inv);
        if (layer->uniform || s->bf16) dase_meet(&s->barrier, parts);
    }
    if (layer->uniform)
        for (ptrdiff_t p = p0; p < p1; p++) {
            const ptrdiff_t j = p * PANEL;
            TYPED(dropout_panel)(n, d - j < PANEL ? (int)(d - j) : PANEL, layer->uniform + j, d,
                                     layer->keep, h + p * stride);
        }
    if (s->bf16) TYPED(round_panels)(n, 0, n, p0, p1, panels, h, &layer->h_bf16);
}

static void TYPED(forward)(step_state *s, int part, int parts, real *pack)
{
    const ptrdiff_t n = s->source.n, stride = panel_stride(n), features = s->source.features;
    const ptrdiff_t panels = ceil_div(features, PANEL);
    const int splits = TYPED(step_splits)(s), relu = s->norm == NO_NORM;
    real *x = s->x;
    if (splits > 1) {
        /* A thread gathers what it multiplies, which stays in its own cache: some blocks of features, of all
           samples where the threads are few. bfloat16 pairs samples, so these are cut between pairs. */
        const grid grid = grid_of(n, features, ceil_div(features, splits), parts);
        const int row = part / grid.cols, col = part % grid.cols;
        const ptrdiff_t pairs = ceil_div(n, 2), i0 = 2 * part_start(pairs, grid.rows, row);
        const ptrdiff_t past = 2 * part_start(pairs, grid.rows, row + 1), i1 = past < n ? past : n;
        const ptrdiff_t s0 = part_start(splits, grid.cols, col);
        const ptrdiff_t s1 = row < grid.rows ? part_start(splits, grid.cols, col + 1) : s0;
        const ptrdiff_t each = ceil_div(s->layer[0].fan_out, PANEL) * stride;
        for (ptrdiff_t k = s0; k < s1; k++) {
            const ptrdiff_t p0 = part_start(panels, splits, k), p1 = part_start(panels, splits, k + 1);
            const ptrdiff_t end = p1 * PANEL < features ? p1 * PANEL : features;
            const ptrdiff_t after = k + 1 < s1 ? part_start(panels, splits, k + 2) * PANEL : end;
            const TYPED(product) p = {x, stride, s->layer[0].weights.w, s->layer[0].fan_out, 0,
                                          (real *)s->partial + k * each, 1, s->layer[0].fan_out, NULL, NULL, 1, 0,
                                          &s->source, end, after < features ? after : features,
                                          s->bf16 ? &s->x_bf16 : NULL};
            if (k == s0) TYPED(ask)(&s->source, NULL, i0, i1, p0 * PANEL, end);
            TYPED(gather)(&s->source, i0, i1, p0, p1, x, stride);
            if (s->bf16) TYPED(round_panels)(n, i0, i1, p0, p1, panels, x, &s->x_bf16);
            TYPED(multiply)(&p, i0, i1, 0, p.cols, p0 * PANEL, end, pack);
        }
    } else {
        const ptrdiff_t p1 = part_start(panels, parts, part + 1);
        for (ptrdiff_t p = part_start(panels, parts, part); p < p1; p += GATHERED) {
            const ptrdiff_t end = p + GATHERED < p1 ? p + GATHERED : p1;
            TYPED(ask)(&s->source, NULL, 0, n, p * PANEL,
                           end * PANEL < features ? end * PANEL : features);
            TYPED(gather)(&s->source, 0, n, p, end, x, stride);
            if (s->bf16) TYPED(round_panels)(n, 0, n, p, end, panels, x, &s->x_bf16);
        }
    }
    dase_meet(&s->barrier, parts);
    for (int l = 0; l + 1 < s->layers; l++) {
        step_layer *layer = &s->layer[l];
        int own_panels = 1;
        if (l == 0 && splits > 1) {
            const ptrdiff_t count = ceil_div(layer->fan_out, PANEL);
            for (ptrdiff_t p = part_start(count, parts, part); p < part_start(count, parts, part + 1); p++)
                TYPED(add_partials)(s, p, relu);
        } else {
            const TYPED(product) p = {l ? s->layer[l - 1].h : x, stride, layer->weights.w, layer->fan_out, 0,
                                          layer->h, 1, layer->fan_out, layer->bias.w, NULL, 1,
                                          TILE_BIAS | (relu ? TILE_RELU : 0), NULL, 0, 0, TYPED(rounded_in)(s, l)};
            const grid grid = grid_of(n, layer->fan_out, COLUMN_UNIT, parts);
            if (part == 0) TYPED(clear_rest)(n, layer->fan_out, stride, layer->h);
            TYPED(share)(&p, grid, n, layer->fan_in, part, pack);
            /* Whole pairs of panels were shared out; only an even cut is the same for panels. */
            own_panels = grid.cols == parts && layer->fan_out % (COLUMN_UNIT * parts) == 0;
        }
        TYPED(finish_forward)(s, layer, own_panels, part, parts);
        dase_meet(&s->barrier, parts);
    }
}

/* Scores and their loss: a thread's samples. */
static void TYPED(loss)(step_state *s, int part, int parts, real *pack)
{
    const ptrdiff_t n = s->source.n, stride = panel_stride(n);
    step_layer *layer = &s->layer[s->layers - 1];
    const ptrdiff_t c = layer->fan_out, i0 = part_start(n, parts, part), i1 = part_start(n, parts, part + 1);
    const TYPED(product) p = {s->layers > 1 ? s->layer[s->layers - 2].h : s->x, stride, layer->weights.w, c, 0,
                                  s->scores, 0, c, layer->bias.w, NULL, 1, TILE_BIAS, NULL, 0, 0,
                                  TYPED(rounded_in)(s, s->layers - 1)};
    const ptrdiff_t panels = ceil_div(c, PANEL);
    real *dout = layer->dout;
    TYPED(multiply)(&p, i0, i1, 0, c, 0, layer->fan_in, pack);
    for (ptrdiff_t i = i0; i < i1; i++) {
        real *dx = (real *)s->dscores + i * c;
        const real *scores = (const real *)s->scores + i * c;
        s->row_loss[i] = softmax_row(scores, s->labels[i], c, (real)n, dx);
        for (ptrdiff_t j = 0; j < ceil_div(c, PANEL) * PANEL; j++)
            dout[j / PANEL * stride + i * PANEL + j % PANEL] = j < c ? dx[j] : 0;
    }
    dase_meet(&s->barrier, parts);
    if (!s->bf16) return;
    TYPED(round_panels)(n, 0, n, part_start(panels, parts, part), part_start(panels, parts, part + 1), panels, dout,
                            &layer->dout_bf16);
    dase_meet(&s->barrier, parts);
}

/* The gradient of each layer's affine output, from the last to the first. */
static void TYPED(backward)(step_state *s, int part, int parts, real *pack)
{
    const ptrdiff_t n = s->source.n, stride = panel_stride(n);
    for (int l = s->layers - 1; l > 0; l--) {
        step_layer *upper = &s->layer[l], *layer = &s->layer[l - 1];
        const ptrdiff_t d = layer->fan_out, panels = ceil_div(d, PANEL);
        const TYPED(product) p = {upper->dout, stride, upper->weights.w, upper->fan_out, 1, layer->dout, 1, d,
                                      NULL, layer->h, layer->uniform ? (real)(1 / layer->keep) : 1, TILE_MASK,
                                      NULL, 0, 0, s->bf16 ? &upper->dout_bf16 : NULL};
        const ptrdiff_t q0 = part_start(panels, parts, part), q1 = part_start(panels, parts, part + 1);
        real *dout = layer->dout, *dgamma = layer->dgamma, *dbeta = layer->dbeta;
        const real *xhat = layer->xhat, *inv = layer->inv;
        if (part == 0) TYPED(clear_rest)(n, d, stride, dout);
        TYPED(share)(&p, grid_of(n, d, COLUMN_UNIT, parts), n, upper->fan_out, part, pack);
        dase_meet(&s->barrier, parts);
        if (s->norm == NO_NORM && !s->bf16) continue;
        for (ptrdiff_t q = q0; q < q1 && s->norm != NO_NORM; q++) {
            const ptrdiff_t j = q * PANEL;
            if (s->norm == BATCH_NORM)
                TYPED(bn_panel_backward)(n, d - j < PANEL ? (int)(d - j) : PANEL,
                                             (const real *)layer->gamma.w + j, xhat + q * stride, inv + j,
                                             dout + q * stride, dgamma + j, dbeta + j);
            else
                TYPED(norm_sums)(n, dout + q * stride, xhat + q * stride, dgamma + j, dbeta + j);
        }
        if (s->norm == LAYER_NORM) {
            dase_meet(&s->barrier, parts);
            for (ptrdiff_t i = part_start(n, parts, part); i < part_start(n, parts, part + 1); i++)
                TYPED(ln_sample_backward)(i, d, stride, layer->gamma.w, xhat, inv, dout);
            if (s->bf16) dase_meet(&s->barrier, parts);
        }
        if (s->bf16) TYPED(round_panels)(n, 0, n, q0, q1, panels, dout, &layer->dout_bf16);
        dase_meet(&s->barrier, parts);
    }
}

#include "step/update_weights.h"

static void TYPED(step_body)(void *arg, int part, int parts)
{
    step_state *s = arg;
    real *pack = (real *)s->pack + part * s->pack_each;
    TYPED(forward)(s, part, parts, pack);
    TYPED(loss)(s, part, parts, pack);
    TYPED(backward)(s, part, parts, pack);
    for (int l = s->layers - 1; l >= 0; l--) {
        const ptrdiff_t units = TYPED(units)(&s->layer[l]);
        const ptrdiff_t u0 = part_start(units, parts, part), u1 = part_start(units, parts, part + 1);
        TYPED(update_vectors)(s, l, part, parts);
        if (s->bf16 == BY_AMX) TYPED(update_weights_amx)(s, l, part, parts, (unsigned *)pack);
        else if (s->bf16) TYPED(update_weights_bf16)(s, l, part, parts);
        else if (l == 0 && s->dx != NULL) TYPED(update_first)(s, u0, u1, pack);
        else TYPED(update_weights)(s, l, u0, u1, pack + WIDTH * KC);
    }
    dase_meet(&s->barrier, parts);
}

/* Run the step and return its loss: the mean over the samples and the penalty of the weights. */
static double TYPED(step_run)(step_state *s, int num_threads)
{
    double loss = 0;
    memset(&s->barrier, 0, sizeof s->barrier);
    dase_team(TYPED(step_body), s, num_threads);
    for (ptrdiff_t i = 0; i < s->source.n; i++) loss += s->row_loss[i];
    loss /= s->source.n;
    for (int l = 0; l < s->layers; l++) {
        const step_layer *layer = &s->layer[l];
        double squares = 0;
        if (layer->weights.reg == 0) continue;
        const ptrdiff_t units = s->bf16 ? ceil_div(layer->fan_in, 2 * PANEL) * BF16_CUTS
            : 2 * TYPED(units)(layer);
        for (ptrdiff_t k = 0; k < units; k++) squares += layer->squares[k];
        loss += 0.5 * layer->weights.reg * squares;
    }
    return loss;
}

#undef WIDTH
#undef COLUMN_UNIT
#endif
