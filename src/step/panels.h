/* Activations of a network during a step: panels of 16 features.

   A panel holds its 16 features of every sample, sample after sample, and panels are `stride`
   elements apart. As the left operand of a product the panel is read along the features
   (x w, dout w^T) or along the samples (x^T dout); as the right operand (x^T dout) it is a packed
   panel already. So nothing is packed twice, and no two rows fall into one set of the cache.
   Features beyond the last are zeros.

   Everything that belongs to one feature stays inside one panel: a panel is the unit of work of
   batch norm and of the column sums. */

#ifndef DASE_TYPE /* ---- once ---- */
#ifndef DASE_PANELS_H
#define DASE_PANELS_H

#include <math.h>
#include <stdint.h>
#include "product/microkernel.h"

#define DASE_PANEL 16
#define DASE_UP(a, b) (((a) + (b) - 1) / (b))
#define DASE_SUM_ROWS 64 /* rows of one partial sum */
#define DASE_SAMPLES 4   /* gathered at a time */

/* Elements from panel to panel: never a power of two, in which panels would share sets. */
static inline ptrdiff_t dase_panel_stride(ptrdiff_t n) { return (n + 1) * DASE_PANEL; }

/* Where the images come from. */
typedef struct {
    const void *images;   /* rows of `features` numbers */
    int bytes;            /* 1: uint8, 4: float, 8: double */
    const int64_t *index; /* rows of the batch; NULL: the images are the batch */
    const double *mean;   /* of each feature, or NULL */
    ptrdiff_t n, features;
} dase_source;

#define DASE_TYPE float
#include "step/panels.h"
#undef DASE_TYPE
#define DASE_TYPE double
#include "step/panels.h"
#undef DASE_TYPE

#endif
#else /* ---- once per type ---- */

/* A few samples at a time: a sample's numbers are read in one piece, and what is written to a panel
   is a piece too. The rows were asked for before. */
#define DASE_GATHER(NAME, FROM)                                                               \
    static void DASE_CAT(DASE_NAME(gather), _##NAME)(const dase_source *s, ptrdiff_t from, ptrdiff_t past, \
                                                     ptrdiff_t p0, ptrdiff_t p1, DASE_TYPE *x, ptrdiff_t stride) \
    {                                                                                         \
        for (ptrdiff_t i0 = from; i0 < past; i0 += DASE_SAMPLES) {                            \
            const ptrdiff_t i1 = i0 + DASE_SAMPLES < past ? i0 + DASE_SAMPLES : past;         \
            for (ptrdiff_t p = p0; p < p1; p++) {                                             \
                const ptrdiff_t j0 = p * DASE_PANEL, rest = s->features - j0;                 \
                const double *mean = s->mean ? s->mean + j0 : NULL;                           \
                DASE_TYPE *to = x + p * stride + i0 * DASE_PANEL;                             \
                for (ptrdiff_t i = i0; i < i1; i++, to += DASE_PANEL) {                       \
                    const FROM *row = (const FROM *)s->images + (s->index ? s->index[i] : i) * s->features + j0; \
                    if (rest < DASE_PANEL)                                                    \
                        for (int j = 0; j < DASE_PANEL; j++)                                  \
                            to[j] = j >= rest ? 0 : mean ? (DASE_TYPE)((double)row[j] - mean[j]) : (DASE_TYPE)row[j]; \
                    else if (mean)                                                            \
                        for (int j = 0; j < DASE_PANEL; j++) to[j] = (DASE_TYPE)((double)row[j] - mean[j]); \
                    else if (sizeof(FROM) == sizeof(DASE_TYPE))                               \
                        memcpy(to, row, DASE_PANEL * sizeof(DASE_TYPE));                      \
                    else                                                                      \
                        for (int j = 0; j < DASE_PANEL; j++) to[j] = (DASE_TYPE)row[j];       \
                }                                                                             \
            }                                                                                 \
        }                                                                                     \
    }
DASE_GATHER(uint8, uint8_t)
DASE_GATHER(float, float)
DASE_GATHER(double, double)
#undef DASE_GATHER

/* Samples i0..i1 of panels p0..p1 of the batch: gathered, cast, the mean subtracted in double. */
static void DASE_NAME(gather)(const dase_source *s, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1,
                              DASE_TYPE *x, ptrdiff_t stride)
{
    if (s->bytes == 1) DASE_CAT(DASE_NAME(gather), _uint8)(s, i0, i1, p0, p1, x, stride);
    else if (s->bytes == 4) DASE_CAT(DASE_NAME(gather), _float)(s, i0, i1, p0, p1, x, stride);
    else DASE_CAT(DASE_NAME(gather), _double)(s, i0, i1, p0, p1, x, stride);
}

/* The features j0..j1 of the samples i0..i1, which are gathered next; without a list they are asked for at once. */
static void DASE_NAME(ask)(const dase_source *s, dase_asks *asks, ptrdiff_t i0, ptrdiff_t i1,
                           ptrdiff_t j0, ptrdiff_t j1)
{
    for (ptrdiff_t i = i0; i < i1; i++) {
        const char *row = (const char *)s->images + ((s->index ? s->index[i] : i) * s->features + j0) * s->bytes;
        const ptrdiff_t bytes = (j1 - j0) * s->bytes;
        if (asks) dase_ask(asks, row, bytes);
        else for (ptrdiff_t k = 0; k < bytes; k += 64) DASE_ASK(row + k);
    }
}

/* Sum over the samples of one panel: blocks of rows, added in order, in double. */
static void DASE_NAME(panel_sums)(ptrdiff_t n, const DASE_TYPE *dout, DASE_TYPE *sums)
{
    double total[DASE_PANEL] = {0};
    for (ptrdiff_t i0 = 0; i0 < n; i0 += DASE_SUM_ROWS) {
        const ptrdiff_t i1 = i0 + DASE_SUM_ROWS < n ? i0 + DASE_SUM_ROWS : n;
        double part[DASE_PANEL] = {0};
        for (ptrdiff_t i = i0; i < i1; i++)
            for (int j = 0; j < DASE_PANEL; j++) part[j] += dout[i * DASE_PANEL + j];
        for (int j = 0; j < DASE_PANEL; j++) total[j] += part[j];
    }
    for (int j = 0; j < DASE_PANEL; j++) sums[j] = (DASE_TYPE)total[j];
}

/* Batch norm and ReLU of one panel, `features` of it real ones. h holds the input, then the output. */
static void DASE_NAME(bn_panel)(ptrdiff_t n, int features, const DASE_TYPE *gamma, const DASE_TYPE *beta, /* IN */
                                double eps, double momentum,
                                const DASE_TYPE *running_mean, const DASE_TYPE *running_var,      /* IN */
                                DASE_TYPE *h,                                                      /* INOUT */
                                DASE_TYPE *xhat, DASE_TYPE *inv,                                   /* OUT */
                                DASE_TYPE *next_mean, DASE_TYPE *next_var)                         /* OUT */
{
    double total[DASE_PANEL] = {0}, centre[DASE_PANEL];
    DASE_TYPE mean[DASE_PANEL], scale[DASE_PANEL], g[DASE_PANEL] = {0}, b[DASE_PANEL] = {0};
    const DASE_TYPE keep = (DASE_TYPE)momentum, take = (DASE_TYPE)(1 - momentum);
    for (int j = 0; j < features; j++) { g[j] = gamma[j]; b[j] = beta[j]; }
    for (ptrdiff_t i = 0; i < n; i++)
        for (int j = 0; j < DASE_PANEL; j++) total[j] += h[i * DASE_PANEL + j];
    for (int j = 0; j < DASE_PANEL; j++) {
        centre[j] = total[j] / n;
        mean[j] = (DASE_TYPE)centre[j];
        total[j] = 0;
    }
    for (ptrdiff_t i = 0; i < n; i++)
        for (int j = 0; j < DASE_PANEL; j++) {
            const double c = h[i * DASE_PANEL + j] - centre[j];
            total[j] += c * c;
        }
    for (int j = 0; j < DASE_PANEL; j++) scale[j] = inv[j] = (DASE_TYPE)(1 / sqrt(total[j] / n + eps));
    for (int j = 0; j < features; j++) {
        next_mean[j] = keep * running_mean[j] + take * mean[j];
        next_var[j] = keep * running_var[j] + take * (DASE_TYPE)(total[j] / n);
    }
    for (ptrdiff_t i = 0; i < n; i++)
        for (int j = 0; j < DASE_PANEL; j++) {
            const DASE_TYPE hat = (h[i * DASE_PANEL + j] - mean[j]) * scale[j];
            const DASE_TYPE out = g[j] * hat + b[j];
            xhat[i * DASE_PANEL + j] = hat;
            h[i * DASE_PANEL + j] = out <= 0 ? 0 : out; /* a comparison with NaN is false: it passes */
        }
}

/* dgamma = sum(dout * xhat), dbeta = sum(dout) of one panel. */
static void DASE_NAME(norm_sums)(ptrdiff_t n, const DASE_TYPE *dout, const DASE_TYPE *xhat, /* IN */
                                 DASE_TYPE *dgamma, DASE_TYPE *dbeta)                       /* OUT */
{
    double gamma[DASE_PANEL] = {0}, beta[DASE_PANEL] = {0};
    for (ptrdiff_t i = 0; i < n; i++)
        for (int j = 0; j < DASE_PANEL; j++) {
            const double d = dout[i * DASE_PANEL + j];
            gamma[j] += d * xhat[i * DASE_PANEL + j];
            beta[j] += d;
        }
    for (int j = 0; j < DASE_PANEL; j++) {
        dgamma[j] = (DASE_TYPE)gamma[j];
        dbeta[j] = (DASE_TYPE)beta[j];
    }
}

/* dx = gamma * inv_std * (dout - mean(dout) - xhat * mean(dout * xhat)) of one panel, in place. */
static void DASE_NAME(bn_panel_backward)(ptrdiff_t n, int features, const DASE_TYPE *gamma, const DASE_TYPE *xhat,
                                         const DASE_TYPE *inv,                  /* IN */
                                         DASE_TYPE *dout,                       /* INOUT */
                                         DASE_TYPE *dgamma, DASE_TYPE *dbeta)   /* OUT */
{
    DASE_TYPE scale[DASE_PANEL] = {0}, mean[DASE_PANEL], along[DASE_PANEL];
    DASE_NAME(norm_sums)(n, dout, xhat, dgamma, dbeta);
    for (int j = 0; j < features; j++) scale[j] = gamma[j] * inv[j];
    for (int j = 0; j < DASE_PANEL; j++) {
        mean[j] = dbeta[j] / (DASE_TYPE)n;
        along[j] = dgamma[j] / (DASE_TYPE)n;
    }
    for (ptrdiff_t i = 0; i < n; i++)
        for (int j = 0; j < DASE_PANEL; j++) {
            const ptrdiff_t at = i * DASE_PANEL + j;
            dout[at] = scale[j] * (dout[at] - mean[j] - xhat[at] * along[j]);
        }
}

static inline double DASE_NAME(lanes)(const double *lane)
{
    double total = 0;
    for (int j = 0; j < DASE_PANEL; j++) total += lane[j];
    return total;
}

/* Layer norm and ReLU of sample i. */
static void DASE_NAME(ln_sample)(ptrdiff_t i, ptrdiff_t d, ptrdiff_t stride,
                                 const DASE_TYPE *gamma, const DASE_TYPE *beta, double eps, /* IN */
                                 DASE_TYPE *h,                                              /* INOUT */
                                 DASE_TYPE *xhat, DASE_TYPE *inv)                           /* OUT */
{
    const ptrdiff_t panels = DASE_UP(d, DASE_PANEL);
    double lane[DASE_PANEL] = {0}, mean;
    h += i * DASE_PANEL;
    xhat += i * DASE_PANEL;
    for (ptrdiff_t p = 0; p < panels; p++)
        for (int j = 0; j < DASE_PANEL; j++) lane[j] += h[p * stride + j]; /* zeros beyond the last */
    mean = DASE_NAME(lanes)(lane) / d;
    for (int j = 0; j < DASE_PANEL; j++) lane[j] = 0;
    for (ptrdiff_t p = 0; p < panels; p++) {
        const int features = d - p * DASE_PANEL < DASE_PANEL ? (int)(d - p * DASE_PANEL) : DASE_PANEL;
        for (int j = 0; j < features; j++) {
            const double c = h[p * stride + j] - mean;
            lane[j] += c * c;
        }
    }
    const DASE_TYPE m = (DASE_TYPE)mean, s = (DASE_TYPE)(1 / sqrt(DASE_NAME(lanes)(lane) / d + eps));
    inv[i] = s;
    for (ptrdiff_t p = 0; p < panels; p++) {
        const int features = d - p * DASE_PANEL < DASE_PANEL ? (int)(d - p * DASE_PANEL) : DASE_PANEL;
        for (int j = 0; j < features; j++) {
            const DASE_TYPE hat = (h[p * stride + j] - m) * s;
            const DASE_TYPE out = gamma[p * DASE_PANEL + j] * hat + beta[p * DASE_PANEL + j];
            xhat[p * stride + j] = hat;
            h[p * stride + j] = out <= 0 ? 0 : out;
        }
        for (int j = features; j < DASE_PANEL; j++) xhat[p * stride + j] = h[p * stride + j] = 0;
    }
}

/* Its gradient, in place. */
static void DASE_NAME(ln_sample_backward)(ptrdiff_t i, ptrdiff_t d, ptrdiff_t stride, const DASE_TYPE *gamma,
                                          const DASE_TYPE *xhat, const DASE_TYPE *inv, /* IN */
                                          DASE_TYPE *dout)                             /* INOUT */
{
    const ptrdiff_t panels = DASE_UP(d, DASE_PANEL);
    double first[DASE_PANEL] = {0}, second[DASE_PANEL] = {0};
    dout += i * DASE_PANEL;
    xhat += i * DASE_PANEL;
    for (ptrdiff_t p = 0; p < panels; p++) {
        const int features = d - p * DASE_PANEL < DASE_PANEL ? (int)(d - p * DASE_PANEL) : DASE_PANEL;
        for (int j = 0; j < features; j++) {
            const double g = (double)dout[p * stride + j] * gamma[p * DASE_PANEL + j];
            first[j] += g;
            second[j] += g * xhat[p * stride + j];
        }
    }
    const DASE_TYPE m = (DASE_TYPE)(DASE_NAME(lanes)(first) / d), a = (DASE_TYPE)(DASE_NAME(lanes)(second) / d);
    for (ptrdiff_t p = 0; p < panels; p++) {
        const int features = d - p * DASE_PANEL < DASE_PANEL ? (int)(d - p * DASE_PANEL) : DASE_PANEL;
        for (int j = 0; j < features; j++)
            dout[p * stride + j] = inv[i] * (dout[p * stride + j] * gamma[p * DASE_PANEL + j] - m
                                             - xhat[p * stride + j] * a);
    }
}

/* Dropout of one panel in place: `uniform` is that of the panel's first feature, its rows d apart. */
static void DASE_NAME(dropout_panel)(ptrdiff_t n, int features, const double *uniform, ptrdiff_t d, double keep,
                                     DASE_TYPE *h)
{
    const DASE_TYPE scale = (DASE_TYPE)(1 / keep);
    for (ptrdiff_t i = 0; i < n; i++)
        for (int j = 0; j < features; j++)
            h[i * DASE_PANEL + j] *= uniform[i * d + j] < keep ? scale : 0;
}

#endif
