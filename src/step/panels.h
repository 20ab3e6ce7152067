/* Activations of a network during a step: panels of 16 features.

   A panel holds its 16 features of every sample, sample after sample, and panels are `stride`
   elements apart. As the left operand of a product the panel is read along the features
   (x w, dout w^T) or along the samples (x^T dout); as the right operand (x^T dout) it is a packed
   panel already. So nothing is packed twice, and no two rows fall into one set of the cache.
   Features beyond the last are zeros.

   Everything that belongs to one feature stays inside one panel: a panel is the unit of work of
   batch norm and of the column sums. */

#ifndef real /* ---- once ---- */
#ifndef PANELS_H
#define PANELS_H

#include <math.h>
#include <stdint.h>
#include "product/microkernel.h"

#define PANEL 16
#define ceil_div(a, b) (((a) + (b) - 1) / (b))
#define SUM_ROWS 64 /* rows of one partial sum */
#define SAMPLES 4   /* gathered at a time */

/* Elements from panel to panel: never a power of two, in which panels would share sets. */
static inline ptrdiff_t panel_stride(ptrdiff_t n) { return (n + 1) * PANEL; }

/* Where the images come from. */
typedef struct {
    const void *images;   /* rows of `features` numbers */
    int bytes;            /* 1: uint8, 4: float, 8: double */
    const int64_t *index; /* rows of the batch; NULL: the images are the batch */
    const double *mean;   /* of each feature, or NULL */
    ptrdiff_t n, features;
} image_source;

#define EACH_TYPE "step/panels.h"
#include "each_type.h"

#endif
#else /* ---- once per type ---- */

/* A few samples at a time: a sample's numbers are read in one piece, and what is written to a panel
   is a piece too. The rows were asked for before. */
#define GATHER(NAME, FROM)                                                                   \
    static void PASTE(TYPED(gather), _##NAME)(const image_source *s, ptrdiff_t from, ptrdiff_t past, \
                                                     ptrdiff_t p0, ptrdiff_t p1, real *x, ptrdiff_t stride) \
    {                                                                                        \
        for (ptrdiff_t i0 = from; i0 < past; i0 += SAMPLES) {                                \
            const ptrdiff_t i1 = i0 + SAMPLES < past ? i0 + SAMPLES : past;                  \
            for (ptrdiff_t p = p0; p < p1; p++) {                                            \
                const ptrdiff_t j0 = p * PANEL, rest = s->features - j0;                     \
                const double *mean = s->mean ? s->mean + j0 : NULL;                          \
                real *to = x + p * stride + i0 * PANEL;                                      \
                for (ptrdiff_t i = i0; i < i1; i++, to += PANEL) {                           \
                    const FROM *row = (const FROM *)s->images + (s->index ? s->index[i] : i) * s->features + j0; \
                    if (rest < PANEL)                                                        \
                        for (int j = 0; j < PANEL; j++)                                      \
                            to[j] = j >= rest ? 0 : mean ? (real)((double)row[j] - mean[j]) : (real)row[j]; \
                    else if (mean)                                                           \
                        for (int j = 0; j < PANEL; j++) to[j] = (real)((double)row[j] - mean[j]); \
                    else if (sizeof(FROM) == sizeof(real))                                   \
                        memcpy(to, row, PANEL * sizeof(real));                               \
                    else                                                                     \
                        for (int j = 0; j < PANEL; j++) to[j] = (real)row[j];                \
                }                                                                            \
            }                                                                                \
        }                                                                                    \
    }
GATHER(uint8, uint8_t)
GATHER(float, float)
GATHER(double, double)
#undef GATHER

/* Samples i0..i1 of panels p0..p1 of the batch: gathered, cast, the mean subtracted in double. */
static void TYPED(gather)(const image_source *s, ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t p0, ptrdiff_t p1,
                              real *x, ptrdiff_t stride)
{
    if (s->bytes == 1) PASTE(TYPED(gather), _uint8)(s, i0, i1, p0, p1, x, stride);
    else if (s->bytes == 4) PASTE(TYPED(gather), _float)(s, i0, i1, p0, p1, x, stride);
    else PASTE(TYPED(gather), _double)(s, i0, i1, p0, p1, x, stride);
}

/* The features j0..j1 of the samples i0..i1, which are gathered next; without a list they are asked for at once. */
static void TYPED(ask)(const image_source *s, prefetch_list *asks, ptrdiff_t i0, ptrdiff_t i1,
                           ptrdiff_t j0, ptrdiff_t j1)
{
    for (ptrdiff_t i = i0; i < i1; i++) {
        const char *row = (const char *)s->images + ((s->index ? s->index[i] : i) * s->features + j0) * s->bytes;
        const ptrdiff_t bytes = (j1 - j0) * s->bytes;
        if (asks) prefetch_range(asks, row, bytes);
        else for (ptrdiff_t k = 0; k < bytes; k += 64) PREFETCH(row + k);
    }
}

/* Sum over the samples of one panel: blocks of rows, added in order, in double. */
static void TYPED(panel_sums)(ptrdiff_t n, const real *dout, real *sums)
{
    double total[PANEL] = {0};
    for (ptrdiff_t i0 = 0; i0 < n; i0 += SUM_ROWS) {
        const ptrdiff_t i1 = i0 + SUM_ROWS < n ? i0 + SUM_ROWS : n;
        double part[PANEL] = {0};
        for (ptrdiff_t i = i0; i < i1; i++)
            for (int j = 0; j < PANEL; j++) part[j] += dout[i * PANEL + j];
        for (int j = 0; j < PANEL; j++) total[j] += part[j];
    }
    for (int j = 0; j < PANEL; j++) sums[j] = (real)total[j];
}

/* Batch norm and ReLU of one panel, `features` of it real ones. h holds the input, then the output. */
static void TYPED(bn_panel)(ptrdiff_t n, int features, const real *gamma, const real *beta, /* IN */
                                double eps, double momentum,
                                const real *running_mean, const real *running_var,      /* IN */
                                real *h,                                                      /* INOUT */
                                real *xhat, real *inv,                                   /* OUT */
                                real *next_mean, real *next_var)                         /* OUT */
{
    double total[PANEL] = {0}, centre[PANEL];
    real mean[PANEL], scale[PANEL], g[PANEL] = {0}, b[PANEL] = {0};
    const real keep = (real)momentum, take = (real)(1 - momentum);
    for (int j = 0; j < features; j++) { g[j] = gamma[j]; b[j] = beta[j]; }
    for (ptrdiff_t i = 0; i < n; i++)
        for (int j = 0; j < PANEL; j++) total[j] += h[i * PANEL + j];
    for (int j = 0; j < PANEL; j++) {
        centre[j] = total[j] / n;
        mean[j] = (real)centre[j];
        total[j] = 0;
    }
    for (ptrdiff_t i = 0; i < n; i++)
        for (int j = 0; j < PANEL; j++) {
            const double c = h[i * PANEL + j] - centre[j];
            total[j] += c * c;
        }
    for (int j = 0; j < PANEL; j++) scale[j] = inv[j] = (real)(1 / sqrt(total[j] / n + eps));
    for (int j = 0; j < features; j++) {
        next_mean[j] = keep * running_mean[j] + take * mean[j];
        next_var[j] = keep * running_var[j] + take * (real)(total[j] / n);
    }
    for (ptrdiff_t i = 0; i < n; i++)
        for (int j = 0; j < PANEL; j++) {
            const real hat = (h[i * PANEL + j] - mean[j]) * scale[j];
            const real out = g[j] * hat + b[j];
            xhat[i * PANEL + j] = hat;
            h[i * PANEL + j] = out <= 0 ? 0 : out; /* a comparison with NaN is false: it passes */
        }
}

/* dgamma = sum(dout * xhat), dbeta = sum(dout) of one panel. */
static void TYPED(norm_sums)(ptrdiff_t n, const real *dout, const real *xhat, /* IN */
                                 real *dgamma, real *dbeta)                       /* OUT */
{
    double gamma[PANEL] = {0}, beta[PANEL] = {0};
    for (ptrdiff_t i = 0; i < n; i++)
        for (int j = 0; j < PANEL; j++) {
            const double d = dout[i * PANEL + j];
            gamma[j] += d * xhat[i * PANEL + j];
            beta[j] += d;
        }
    for (int j = 0; j < PANEL; j++) {
        dgamma[j] = (real)gamma[j];
        dbeta[j] = (real)beta[j];
    }
}

/* dx = gamma * inv_std * (dout - mean(dout) - xhat * mean(dout * xhat)) of one panel, in place. */
static void TYPED(bn_panel_backward)(ptrdiff_t n, int features, const real *gamma, const real *xhat,
                                         const real *inv,                  /* IN */
                                         real *dout,                       /* INOUT */
                                         real *dgamma, real *dbeta)   /* OUT */
{
    real scale[PANEL] = {0}, mean[PANEL], along[PANEL];
    TYPED(norm_sums)(n, dout, xhat, dgamma, dbeta);
    for (int j = 0; j < features; j++) scale[j] = gamma[j] * inv[j];
    for (int j = 0; j < PANEL; j++) {
        mean[j] = dbeta[j] / (real)n;
        along[j] = dgamma[j] / (real)n;
    }
    for (ptrdiff_t i = 0; i < n; i++)
        for (int j = 0; j < PANEL; j++) {
            const ptrdiff_t at = i * PANEL + j;
            dout[at] = scale[j] * (dout[at] - mean[j] - xhat[at] * along[j]);
        }
}

static inline double TYPED(lanes)(const double *lane)
{
    double total = 0;
    for (int j = 0; j < PANEL; j++) total += lane[j];
    return total;
}

/* Layer norm and ReLU of sample i. */
static void TYPED(ln_sample)(ptrdiff_t i, ptrdiff_t d, ptrdiff_t stride,
                                 const real *gamma, const real *beta, double eps, /* IN */
                                 real *h,                                              /* INOUT */
                                 real *xhat, real *inv)                           /* OUT */
{
    const ptrdiff_t panels = ceil_div(d, PANEL);
    double lane[PANEL] = {0}, mean;
    h += i * PANEL;
    xhat += i * PANEL;
    for (ptrdiff_t p = 0; p < panels; p++)
        for (int j = 0; j < PANEL; j++) lane[j] += h[p * stride + j]; /* zeros beyond the last */
    mean = TYPED(lanes)(lane) / d;
    for (int j = 0; j < PANEL; j++) lane[j] = 0;
    for (ptrdiff_t p = 0; p < panels; p++) {
        const int features = d - p * PANEL < PANEL ? (int)(d - p * PANEL) : PANEL;
        for (int j = 0; j < features; j++) {
            const double c = h[p * stride + j] - mean;
            lane[j] += c * c;
        }
    }
    const real m = (real)mean, s = (real)(1 / sqrt(TYPED(lanes)(lane) / d + eps));
    inv[i] = s;
    for (ptrdiff_t p = 0; p < panels; p++) {
        const int features = d - p * PANEL < PANEL ? (int)(d - p * PANEL) : PANEL;
        for (int j = 0; j < features; j++) {
            const real hat = (h[p * stride + j] - m) * s;
            const real out = gamma[p * PANEL + j] * hat + beta[p * PANEL + j];
            xhat[p * stride + j] = hat;
            h[p * stride + j] = out <= 0 ? 0 : out;
        }
        for (int j = features; j < PANEL; j++) xhat[p * stride + j] = h[p * stride + j] = 0;
    }
}

/* Its gradient, in place. */
static void TYPED(ln_sample_backward)(ptrdiff_t i, ptrdiff_t d, ptrdiff_t stride, const real *gamma,
                                          const real *xhat, const real *inv, /* IN */
                                          real *dout)                             /* INOUT */
{
    const ptrdiff_t panels = ceil_div(d, PANEL);
    double first[PANEL] = {0}, second[PANEL] = {0};
    dout += i * PANEL;
    xhat += i * PANEL;
    for (ptrdiff_t p = 0; p < panels; p++) {
        const int features = d - p * PANEL < PANEL ? (int)(d - p * PANEL) : PANEL;
        for (int j = 0; j < features; j++) {
            const double g = (double)dout[p * stride + j] * gamma[p * PANEL + j];
            first[j] += g;
            second[j] += g * xhat[p * stride + j];
        }
    }
    const real m = (real)(TYPED(lanes)(first) / d), a = (real)(TYPED(lanes)(second) / d);
    for (ptrdiff_t p = 0; p < panels; p++) {
        const int features = d - p * PANEL < PANEL ? (int)(d - p * PANEL) : PANEL;
        for (int j = 0; j < features; j++)
            dout[p * stride + j] = inv[i] * (dout[p * stride + j] * gamma[p * PANEL + j] - m
                                             - xhat[p * stride + j] * a);
    }
}

/* Dropout of one panel in place: `uniform` is that of the panel's first feature, its rows d apart. */
static void TYPED(dropout_panel)(ptrdiff_t n, int features, const double *uniform, ptrdiff_t d, double keep,
                                     real *h)
{
    const real scale = (real)(1 / keep);
    for (ptrdiff_t i = 0; i < n; i++)
        for (int j = 0; j < features; j++)
            h[i * PANEL + j] *= uniform[i * d + j] < keep ? scale : 0;
}

#endif
