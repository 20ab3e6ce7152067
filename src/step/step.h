/* One training step of a fully-connected network in one parallel region:
   gather, forward, loss, backward, and the update of every parameter.

   The work is a sequence of phases with a barrier after each. In a phase every thread has a share:
   samples, or panels of features, or blocks of the inner dimension. Which share it is changes no
   bit: an element is always the same chain of additions, and sums over shares have fixed blocks
   that follow from the shape. See step/panels.h for how the activations lie. */

#ifndef DASE_TYPE /* ---- once ---- */
#ifndef DASE_TRAINING_STEP_H
#define DASE_TRAINING_STEP_H

#include "product/packing.h"
#include "product/leftover.h"
#include "step/rules.h"
#include "step/panels.h"
#include "step/softmax.h"
#include "threads/barrier.h"
#include "product/grid.h"
#include "bf16/step.h"

#define DASE_PLAIN_TILES 20 /* fewer tiles of rows read a panel of B where it lies: packing would not pay */
#define DASE_KC 512      /* a block of k: its panel of B and A's block stay in the second-level cache */
#define DASE_SPLITS 8    /* parts of the inner dimension of the first product, when its result is small */
#define DASE_GATHERED 16         /* panels gathered at once: their rows stay in the second-level cache */
#define DASE_SPLIT_FROM 1024     /* features from which the first product is split */
#define DASE_SPLIT_RESULT 65536  /* elements up to which its result counts as small */

enum { DASE_NO_NORM, DASE_BATCH_NORM, DASE_LAYER_NORM };

typedef struct {
    ptrdiff_t fan_in, fan_out;
    dase_param weights, bias, gamma, beta;
    const void *running_mean, *running_var; /* IN, batch norm */
    void *next_mean, *next_var;             /* OUT */
    double eps, momentum;
    const double *uniform; /* IN, (n, fan_out); NULL without dropout */
    double keep;
    /* Scratch, laid out by the step. */
    void *h, *xhat, *dout, *inv, *dbias, *dgamma, *dbeta;
    double *squares;       /* sums of squares of the weights: two of each unit, see step/update_weights.h */
    dase_rounded h_bf16, dout_bf16;
} dase_layer;

typedef struct {
    dase_source source;
    const int64_t *labels; /* IN */
    void *dx;              /* OUT, laid out as the images: their gradient where they are positive, else 0; or NULL */
    int rule, norm, layers;
    int bf16;              /* products of factors rounded to bfloat16: 0 or DASE_BY_; float alone, where DASE_BF16 */
    dase_layer *layer;     /* the last one gives the scores */
    /* Scratch. */
    char *scratch;
    void *x, *partial, *scores, *dscores, *pack;
    ptrdiff_t pack_each;
    double *row_loss;
    dase_rounded x_bf16;
    dase_barrier barrier;
} dase_step;

#define DASE_TYPE float
#define DASE_VL DASE_VL_FLOAT
#include "step/step.h"
#undef DASE_TYPE
#undef DASE_VL
#define DASE_TYPE double
#define DASE_VL DASE_VL_DOUBLE
#include "step/step.h"
#undef DASE_TYPE
#undef DASE_VL

#endif
#else /* ---- once per type ---- */

#define WIDTH (2 * DASE_VL)
#define COLUMN_UNIT (WIDTH > DASE_PANEL ? WIDTH : DASE_PANEL) /* whole panels, whole pairs of vectors */

static int DASE_NAME(step_splits)(const dase_step *s)
{
    return s->layers > 1 && s->source.features >= DASE_SPLIT_FROM
        && s->source.n * s->layer[0].fan_out <= DASE_SPLIT_RESULT ? DASE_SPLITS : 1;
}

/* Places every array of the step behind s->scratch and returns the bytes taken; with scratch NULL
   it only counts. */
static size_t DASE_NAME(step_layout)(dase_step *s, int num_threads)
{
    size_t at = 0;
#define DASE_PLACE(to, count, type)                                                          \
    do {                                                                                     \
        (to) = s->scratch == NULL ? NULL : (void *)(s->scratch + at);                        \
        at += DASE_UP((size_t)(count) * sizeof(type), 64) * 64;                              \
    } while (0)
    const ptrdiff_t n = s->source.n, stride = dase_panel_stride(n);
    const int splits = DASE_NAME(step_splits)(s);
    ptrdiff_t classes = s->layer[s->layers - 1].fan_out;
#define DASE_PLACE_ROUNDED(to, features)                                                     \
    do {                                                                                     \
        (to).amx = s->bf16 == DASE_BY_AMX;                                                   \
        (to).pitch = dase_bf16_pitch(features);                                              \
        (to).apart = dase_bf16_apart(n);                                                     \
        DASE_PLACE((to).along, s->bf16 ? n * (to).pitch : 0, unsigned);                      \
        DASE_PLACE((to).across, s->bf16 ? DASE_UP(features, 2 * DASE_PANEL) * (to).apart : 0, unsigned); \
    } while (0)
    DASE_PLACE(s->x, DASE_UP(s->source.features, DASE_PANEL) * stride, DASE_TYPE);
    DASE_PLACE_ROUNDED(s->x_bf16, s->source.features);
    DASE_PLACE(s->partial, splits > 1 ? splits * DASE_UP(s->layer[0].fan_out, DASE_PANEL) * stride : 0, DASE_TYPE);
    DASE_PLACE(s->scores, n * classes, DASE_TYPE);
    DASE_PLACE(s->dscores, n * classes, DASE_TYPE);
    DASE_PLACE(s->row_loss, n, double);
    s->pack_each = WIDTH * DASE_KC + DASE_VL * DASE_KC / 4 + DASE_MR * WIDTH;
    if (s->bf16 == DASE_BY_AMX) {
        ptrdiff_t widest = 0, words;
        for (int l = 0; l < s->layers; l++) if (widest < s->layer[l].fan_out) widest = s->layer[l].fan_out;
        words = dase_amx_words(n, widest);
        if (s->pack_each < words) s->pack_each = words;
    }
    DASE_PLACE(s->pack, s->pack_each * num_threads, DASE_TYPE);
    for (int l = 0; l < s->layers; l++) {
        dase_layer *layer = &s->layer[l];
        const ptrdiff_t panels = DASE_UP(layer->fan_out, DASE_PANEL), padded = panels * DASE_PANEL;
        const int hidden = l + 1 < s->layers, normed = hidden && s->norm != DASE_NO_NORM;
        DASE_PLACE(layer->h, hidden ? panels * stride : 0, DASE_TYPE);
        DASE_PLACE(layer->dout, panels * stride, DASE_TYPE);
        if (hidden) DASE_PLACE_ROUNDED(layer->h_bf16, layer->fan_out);
        DASE_PLACE_ROUNDED(layer->dout_bf16, layer->fan_out);
        DASE_PLACE(layer->xhat, normed ? panels * stride : 0, DASE_TYPE);
        DASE_PLACE(layer->inv, normed ? padded + n : 0, DASE_TYPE);
        DASE_PLACE(layer->dbias, padded, DASE_TYPE);
        DASE_PLACE(layer->dgamma, padded, DASE_TYPE);
        DASE_PLACE(layer->dbeta, padded, DASE_TYPE);
        DASE_PLACE(layer->squares, DASE_UP(layer->fan_in, DASE_PANEL) * DASE_PANEL, double);
    }
#undef DASE_PLACE_ROUNDED
#undef DASE_PLACE
    return at;
}

#include "step/product.h"

/* Beyond the last feature a panel holds zeros: tiles do not write there. */
static void DASE_NAME(clear_rest)(ptrdiff_t n, ptrdiff_t features, ptrdiff_t stride, DASE_TYPE *h)
{
    const int used = (int)(features % DASE_PANEL);
    DASE_TYPE *panel = h + features / DASE_PANEL * stride;
    if (used == 0) return;
    for (ptrdiff_t i = 0; i < n; i++)
        for (int j = used; j < DASE_PANEL; j++) panel[i * DASE_PANEL + j] = 0;
}

/* Sum of the partial products of the first layer, its bias, and ReLU: one panel. */
static void DASE_NAME(add_partials)(const dase_step *s, ptrdiff_t panel, int relu)
{
    const dase_layer *layer = &s->layer[0];
    const ptrdiff_t n = s->source.n, stride = dase_panel_stride(n);
    const ptrdiff_t each = DASE_UP(layer->fan_out, DASE_PANEL) * stride;
    const int features = layer->fan_out - panel * DASE_PANEL < DASE_PANEL
        ? (int)(layer->fan_out - panel * DASE_PANEL) : DASE_PANEL;
    const DASE_TYPE *from = (const DASE_TYPE *)s->partial + panel * stride;
    DASE_TYPE *h = (DASE_TYPE *)layer->h + panel * stride, bias[DASE_PANEL] = {0};
    for (int j = 0; j < features; j++) bias[j] = ((const DASE_TYPE *)layer->bias.w)[panel * DASE_PANEL + j];
    for (ptrdiff_t i = 0; i < n; i++) {
        DASE_TYPE *out = h + i * DASE_PANEL;
#ifdef DASE_VECTORS
        for (int j = 0; j < DASE_PANEL; j += DASE_VL) {
            DASE_NAME(vec) sum = *(const DASE_NAME(vec) *)(from + i * DASE_PANEL + j);
            for (int k = 1; k < DASE_SPLITS; k++)
                sum += *(const DASE_NAME(vec) *)(from + k * each + i * DASE_PANEL + j);
            sum += *(const DASE_NAME(vec_at) *)(bias + j);
            *(DASE_NAME(vec) *)(out + j) = relu ? DASE_NAME(relu)(sum) : sum;
        }
#else
        for (int j = 0; j < DASE_PANEL; j++) {
            DASE_TYPE sum = from[i * DASE_PANEL + j];
            for (int k = 1; k < DASE_SPLITS; k++) sum += from[k * each + i * DASE_PANEL + j];
            sum += bias[j];
            out[j] = relu && sum <= 0 ? 0 : sum;
        }
#endif
        for (int j = features; j < DASE_PANEL; j++) out[j] = 0;
    }
}

/* Normalization, ReLU after it, and dropout of a hidden layer whose affine output is in h. */
static void DASE_NAME(finish_forward)(dase_step *s, dase_layer *layer, int own_panels, int part, int parts)
{
    const ptrdiff_t n = s->source.n, stride = dase_panel_stride(n), d = layer->fan_out;
    const ptrdiff_t panels = DASE_UP(d, DASE_PANEL);
    DASE_TYPE *h = layer->h, *xhat = layer->xhat, *inv = layer->inv;
    const ptrdiff_t p0 = dase_cut(panels, parts, part), p1 = dase_cut(panels, parts, part + 1);
    if (s->norm == DASE_LAYER_NORM || (!own_panels && (s->norm == DASE_BATCH_NORM || layer->uniform || s->bf16)))
        dase_meet(&s->barrier, parts); /* what follows reads what others computed */
    if (s->norm == DASE_BATCH_NORM) {
        const DASE_TYPE *gamma = layer->gamma.w, *beta = layer->beta.w;
        for (ptrdiff_t p = p0; p < p1; p++) {
            const ptrdiff_t j = p * DASE_PANEL;
            DASE_NAME(bn_panel)(n, d - j < DASE_PANEL ? (int)(d - j) : DASE_PANEL, gamma + j, beta + j,
                                layer->eps, layer->momentum, (const DASE_TYPE *)layer->running_mean + j,
                                (const DASE_TYPE *)layer->running_var + j, h + p * stride, xhat + p * stride, inv + j,
                                (DASE_TYPE *)layer->next_mean + j, (DASE_TYPE *)layer->next_var + j);
        }
    } else if (s->norm == DASE_LAYER_NORM) {
        for (ptrdiff_t i = dase_cut(n, parts, part); i < dase_cut(n, parts, part + 1); i++)
            DASE_NAME(ln_sample)(i, d, stride, layer->gamma.w, layer->beta.w, layer->eps, h, xhat, inv);
        if (layer->uniform || s->bf16) dase_meet(&s->barrier, parts);
    }
    if (layer->uniform)
        for (ptrdiff_t p = p0; p < p1; p++) {
            const ptrdiff_t j = p * DASE_PANEL;
            DASE_NAME(dropout_panel)(n, d - j < DASE_PANEL ? (int)(d - j) : DASE_PANEL, layer->uniform + j, d,
                                     layer->keep, h + p * stride);
        }
    if (s->bf16) DASE_NAME(round_panels)(n, 0, n, p0, p1, panels, h, &layer->h_bf16);
}

static void DASE_NAME(forward)(dase_step *s, int part, int parts, DASE_TYPE *pack)
{
    const ptrdiff_t n = s->source.n, stride = dase_panel_stride(n), features = s->source.features;
    const ptrdiff_t panels = DASE_UP(features, DASE_PANEL);
    const int splits = DASE_NAME(step_splits)(s), relu = s->norm == DASE_NO_NORM;
    DASE_TYPE *x = s->x;
    if (splits > 1) {
        /* A thread gathers what it multiplies, which stays in its own cache: some blocks of features, of all
           samples where the threads are few. bfloat16 pairs samples, so these are cut between pairs. */
        const dase_grid grid = dase_grid_of(n, features, DASE_UP(features, splits), parts);
        const int row = part / grid.cols, col = part % grid.cols;
        const ptrdiff_t pairs = DASE_UP(n, 2), i0 = 2 * dase_cut(pairs, grid.rows, row);
        const ptrdiff_t past = 2 * dase_cut(pairs, grid.rows, row + 1), i1 = past < n ? past : n;
        const ptrdiff_t s0 = dase_cut(splits, grid.cols, col);
        const ptrdiff_t s1 = row < grid.rows ? dase_cut(splits, grid.cols, col + 1) : s0;
        const ptrdiff_t each = DASE_UP(s->layer[0].fan_out, DASE_PANEL) * stride;
        for (ptrdiff_t k = s0; k < s1; k++) {
            const ptrdiff_t p0 = dase_cut(panels, splits, k), p1 = dase_cut(panels, splits, k + 1);
            const ptrdiff_t end = p1 * DASE_PANEL < features ? p1 * DASE_PANEL : features;
            const ptrdiff_t after = k + 1 < s1 ? dase_cut(panels, splits, k + 2) * DASE_PANEL : end;
            const DASE_NAME(product) p = {x, stride, s->layer[0].weights.w, s->layer[0].fan_out, 0,
                                          (DASE_TYPE *)s->partial + k * each, 1, s->layer[0].fan_out, NULL, NULL, 1, 0,
                                          &s->source, end, after < features ? after : features,
                                          s->bf16 ? &s->x_bf16 : NULL};
            if (k == s0) DASE_NAME(ask)(&s->source, NULL, i0, i1, p0 * DASE_PANEL, end);
            DASE_NAME(gather)(&s->source, i0, i1, p0, p1, x, stride);
            if (s->bf16) DASE_NAME(round_panels)(n, i0, i1, p0, p1, panels, x, &s->x_bf16);
            DASE_NAME(multiply)(&p, i0, i1, 0, p.cols, p0 * DASE_PANEL, end, pack);
        }
    } else {
        const ptrdiff_t p1 = dase_cut(panels, parts, part + 1);
        for (ptrdiff_t p = dase_cut(panels, parts, part); p < p1; p += DASE_GATHERED) {
            const ptrdiff_t end = p + DASE_GATHERED < p1 ? p + DASE_GATHERED : p1;
            DASE_NAME(ask)(&s->source, NULL, 0, n, p * DASE_PANEL,
                           end * DASE_PANEL < features ? end * DASE_PANEL : features);
            DASE_NAME(gather)(&s->source, 0, n, p, end, x, stride);
            if (s->bf16) DASE_NAME(round_panels)(n, 0, n, p, end, panels, x, &s->x_bf16);
        }
    }
    dase_meet(&s->barrier, parts);
    for (int l = 0; l + 1 < s->layers; l++) {
        dase_layer *layer = &s->layer[l];
        int own_panels = 1;
        if (l == 0 && splits > 1) {
            const ptrdiff_t count = DASE_UP(layer->fan_out, DASE_PANEL);
            for (ptrdiff_t p = dase_cut(count, parts, part); p < dase_cut(count, parts, part + 1); p++)
                DASE_NAME(add_partials)(s, p, relu);
        } else {
            const DASE_NAME(product) p = {l ? s->layer[l - 1].h : x, stride, layer->weights.w, layer->fan_out, 0,
                                          layer->h, 1, layer->fan_out, layer->bias.w, NULL, 1,
                                          DASE_BIAS | (relu ? DASE_RELU : 0), NULL, 0, 0, DASE_NAME(rounded_in)(s, l)};
            const dase_grid grid = dase_grid_of(n, layer->fan_out, COLUMN_UNIT, parts);
            if (part == 0) DASE_NAME(clear_rest)(n, layer->fan_out, stride, layer->h);
            DASE_NAME(share)(&p, grid, n, layer->fan_in, part, pack);
            /* Whole pairs of panels were shared out; only an even cut is the same for panels. */
            own_panels = grid.cols == parts && layer->fan_out % (COLUMN_UNIT * parts) == 0;
        }
        DASE_NAME(finish_forward)(s, layer, own_panels, part, parts);
        dase_meet(&s->barrier, parts);
    }
}

/* Scores and their loss: a thread's samples. */
static void DASE_NAME(loss)(dase_step *s, int part, int parts, DASE_TYPE *pack)
{
    const ptrdiff_t n = s->source.n, stride = dase_panel_stride(n);
    dase_layer *layer = &s->layer[s->layers - 1];
    const ptrdiff_t c = layer->fan_out, i0 = dase_cut(n, parts, part), i1 = dase_cut(n, parts, part + 1);
    const DASE_NAME(product) p = {s->layers > 1 ? s->layer[s->layers - 2].h : s->x, stride, layer->weights.w, c, 0,
                                  s->scores, 0, c, layer->bias.w, NULL, 1, DASE_BIAS, NULL, 0, 0,
                                  DASE_NAME(rounded_in)(s, s->layers - 1)};
    const ptrdiff_t panels = DASE_UP(c, DASE_PANEL);
    DASE_TYPE *dout = layer->dout;
    DASE_NAME(multiply)(&p, i0, i1, 0, c, 0, layer->fan_in, pack);
    for (ptrdiff_t i = i0; i < i1; i++) {
        DASE_TYPE *dx = (DASE_TYPE *)s->dscores + i * c;
        const DASE_TYPE *scores = (const DASE_TYPE *)s->scores + i * c;
        s->row_loss[i] = DASE_NAME(softmax_row)(scores, s->labels[i], c, (DASE_TYPE)n, dx);
        for (ptrdiff_t j = 0; j < DASE_UP(c, DASE_PANEL) * DASE_PANEL; j++)
            dout[j / DASE_PANEL * stride + i * DASE_PANEL + j % DASE_PANEL] = j < c ? dx[j] : 0;
    }
    dase_meet(&s->barrier, parts);
    if (!s->bf16) return;
    DASE_NAME(round_panels)(n, 0, n, dase_cut(panels, parts, part), dase_cut(panels, parts, part + 1), panels, dout,
                            &layer->dout_bf16);
    dase_meet(&s->barrier, parts);
}

/* The gradient of each layer's affine output, from the last to the first. */
static void DASE_NAME(backward)(dase_step *s, int part, int parts, DASE_TYPE *pack)
{
    const ptrdiff_t n = s->source.n, stride = dase_panel_stride(n);
    for (int l = s->layers - 1; l > 0; l--) {
        dase_layer *upper = &s->layer[l], *layer = &s->layer[l - 1];
        const ptrdiff_t d = layer->fan_out, panels = DASE_UP(d, DASE_PANEL);
        const DASE_NAME(product) p = {upper->dout, stride, upper->weights.w, upper->fan_out, 1, layer->dout, 1, d,
                                      NULL, layer->h, layer->uniform ? (DASE_TYPE)(1 / layer->keep) : 1, DASE_MASK,
                                      NULL, 0, 0, s->bf16 ? &upper->dout_bf16 : NULL};
        const ptrdiff_t q0 = dase_cut(panels, parts, part), q1 = dase_cut(panels, parts, part + 1);
        DASE_TYPE *dout = layer->dout, *dgamma = layer->dgamma, *dbeta = layer->dbeta;
        const DASE_TYPE *xhat = layer->xhat, *inv = layer->inv;
        if (part == 0) DASE_NAME(clear_rest)(n, d, stride, dout);
        DASE_NAME(share)(&p, dase_grid_of(n, d, COLUMN_UNIT, parts), n, upper->fan_out, part, pack);
        dase_meet(&s->barrier, parts);
        if (s->norm == DASE_NO_NORM && !s->bf16) continue;
        for (ptrdiff_t q = q0; q < q1 && s->norm != DASE_NO_NORM; q++) {
            const ptrdiff_t j = q * DASE_PANEL;
            if (s->norm == DASE_BATCH_NORM)
                DASE_NAME(bn_panel_backward)(n, d - j < DASE_PANEL ? (int)(d - j) : DASE_PANEL,
                                             (const DASE_TYPE *)layer->gamma.w + j, xhat + q * stride, inv + j,
                                             dout + q * stride, dgamma + j, dbeta + j);
            else
                DASE_NAME(norm_sums)(n, dout + q * stride, xhat + q * stride, dgamma + j, dbeta + j);
        }
        if (s->norm == DASE_LAYER_NORM) {
            dase_meet(&s->barrier, parts);
            for (ptrdiff_t i = dase_cut(n, parts, part); i < dase_cut(n, parts, part + 1); i++)
                DASE_NAME(ln_sample_backward)(i, d, stride, layer->gamma.w, xhat, inv, dout);
            if (s->bf16) dase_meet(&s->barrier, parts);
        }
        if (s->bf16) DASE_NAME(round_panels)(n, 0, n, q0, q1, panels, dout, &layer->dout_bf16);
        dase_meet(&s->barrier, parts);
    }
}

#include "step/update_weights.h"

static void DASE_NAME(step_body)(void *arg, int part, int parts)
{
    dase_step *s = arg;
    DASE_TYPE *pack = (DASE_TYPE *)s->pack + part * s->pack_each;
    DASE_NAME(forward)(s, part, parts, pack);
    DASE_NAME(loss)(s, part, parts, pack);
    DASE_NAME(backward)(s, part, parts, pack);
    for (int l = s->layers - 1; l >= 0; l--) {
        const ptrdiff_t units = DASE_NAME(units)(&s->layer[l]);
        const ptrdiff_t u0 = dase_cut(units, parts, part), u1 = dase_cut(units, parts, part + 1);
        DASE_NAME(update_vectors)(s, l, part, parts);
        if (s->bf16 == DASE_BY_AMX) DASE_NAME(update_weights_amx)(s, l, part, parts, (unsigned *)pack);
        else if (s->bf16) DASE_NAME(update_weights_bf16)(s, l, part, parts);
        else if (l == 0 && s->dx != NULL) DASE_NAME(update_first)(s, u0, u1, pack);
        else DASE_NAME(update_weights)(s, l, u0, u1, pack + WIDTH * DASE_KC);
    }
    dase_meet(&s->barrier, parts);
}

/* Run the step and return its loss: the mean over the samples and the penalty of the weights. */
static double DASE_NAME(step_run)(dase_step *s, int num_threads)
{
    double loss = 0;
    memset(&s->barrier, 0, sizeof s->barrier);
    dase_team(DASE_NAME(step_body), s, num_threads);
    for (ptrdiff_t i = 0; i < s->source.n; i++) loss += s->row_loss[i];
    loss /= s->source.n;
    for (int l = 0; l < s->layers; l++) {
        const dase_layer *layer = &s->layer[l];
        double squares = 0;
        if (layer->weights.reg == 0) continue;
        const ptrdiff_t units = s->bf16 ? DASE_UP(layer->fan_in, 2 * DASE_PANEL) * DASE_BF16_CUTS
            : 2 * DASE_NAME(units)(layer);
        for (ptrdiff_t k = 0; k < units; k++) squares += layer->squares[k];
        loss += 0.5 * layer->weights.reg * squares;
    }
    return loss;
}

#undef WIDTH
#undef COLUMN_UNIT
#endif
