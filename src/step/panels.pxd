# Loops over panels of 16 features: gathering the batch, normalization, dropout and sums over the samples.
#
# Whatever belongs to one feature stays inside one panel, so a panel is the unit of work of batch norm and
# of the sums. Features beyond the last are zeros.
from libc.math cimport sqrt
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from arithmetic cimport ceil_div
from product.tiles cimport prefetch_list, prefetch_range
from real cimport real
from step.layout cimport PANEL, SPLITS, image_source, panel_stride, prefetch_now, step_layer, step_state

cdef enum:
    SUM_ROWS = 64             # rows of one partial sum
    SAMPLES = 4               # gathered at a time

ctypedef fused number:        # of an image
    uint8_t
    float
    double


cdef inline int features_in(Py_ssize_t features, Py_ssize_t panel) noexcept nogil:
    """Features of a panel that are real ones."""
    return <int> min(<Py_ssize_t> PANEL, features - panel * PANEL)


cdef inline void gather_numbers(
    const number *images, const image_source *s, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t p0, Py_ssize_t p1,
    real *x, Py_ssize_t stride,
) noexcept nogil:
    """A few samples at a time: a sample's numbers are read in one piece, and what is written to a panel is a
    piece too."""
    cdef Py_ssize_t block, first, past, p, i, rest
    cdef const double *mean
    cdef const number *row
    cdef real *to
    cdef int j
    for block in range(ceil_div(i1 - i0, SAMPLES)):
        first = i0 + block * SAMPLES
        past = min(first + SAMPLES, i1)
        for p in range(p0, p1):
            rest = s.features - p * PANEL
            mean = s.mean
            if mean != NULL:
                mean += p * PANEL
            for i in range(first, past):
                row = images + (i if s.index == NULL else s.index[i]) * s.features + p * PANEL
                to = x + p * stride + i * PANEL
                if rest < PANEL:
                    for j in range(PANEL):
                        if j >= rest:
                            to[j] = 0
                        elif mean != NULL:
                            to[j] = <real> (<double> row[j] - mean[j])
                        else:
                            to[j] = <real> row[j]
                elif mean != NULL:
                    for j in range(PANEL):
                        to[j] = <real> (<double> row[j] - mean[j])
                elif sizeof(number) == sizeof(real):
                    memcpy(to, row, PANEL * sizeof(real))
                else:
                    for j in range(PANEL):
                        to[j] = <real> row[j]


cdef inline void gather(const image_source *s, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t p0, Py_ssize_t p1,
                        real *x, Py_ssize_t stride) noexcept nogil:
    """Samples i0..i1 of panels p0..p1 of the batch: drawn from the images, cast, the mean subtracted in double."""
    if s.bytes == 1:
        gather_numbers(<const uint8_t *> s.images, s, i0, i1, p0, p1, x, stride)
    elif s.bytes == 4:
        gather_numbers(<const float *> s.images, s, i0, i1, p0, p1, x, stride)
    else:
        gather_numbers(<const double *> s.images, s, i0, i1, p0, p1, x, stride)


cdef inline void prefetch_images(const image_source *s, prefetch_list *lines, Py_ssize_t i0, Py_ssize_t i1,
                                 Py_ssize_t j0, Py_ssize_t j1) noexcept nogil:
    """The features j0..j1 of the samples i0..i1, which are gathered next; at once, or put on a list."""
    cdef Py_ssize_t i, bytes = (j1 - j0) * s.bytes
    cdef const char *row
    for i in range(i0, i1):
        row = <const char *> s.images + ((i if s.index == NULL else s.index[i]) * s.features + j0) * s.bytes
        if lines != NULL:
            prefetch_range(lines, row, bytes)
        else:
            prefetch_now(row, bytes)


cdef inline void clear_rest(Py_ssize_t n, Py_ssize_t features, real *h) noexcept nogil:
    """Beyond the last feature a panel holds zeros: tiles do not write there."""
    cdef int j, used = <int> (features % PANEL)
    cdef real *panel = h + features // PANEL * panel_stride(n)
    cdef Py_ssize_t i
    if used == 0:
        return
    for i in range(n):
        for j in range(used, PANEL):
            panel[i * PANEL + j] = 0


cdef inline void add_partials(const step_state *s, Py_ssize_t p, bint relu, real *output) noexcept nogil:
    """Sum of the partial products of the first layer, its bias, and ReLU: panel p of its output."""
    cdef const step_layer *layer = &s.layer[0]
    cdef Py_ssize_t n = s.source.n, stride = panel_stride(n), i
    cdef Py_ssize_t part_stride = ceil_div(layer.fan_out, PANEL) * stride
    cdef int j, k, features = features_in(layer.fan_out, p)
    cdef const real *partial = <const real *> s.partial + p * stride
    cdef const real *row
    cdef real bias[PANEL]
    cdef real total[PANEL]
    memset(bias, 0, sizeof(bias))
    memcpy(bias, <const real *> layer.bias.w + p * PANEL, features * sizeof(real))
    for i in range(n):
        for j in range(PANEL):
            total[j] = partial[i * PANEL + j]
        for k in range(1, SPLITS):
            row = partial + k * part_stride + i * PANEL
            for j in range(PANEL):
                total[j] += row[j]
        for j in range(PANEL):
            total[j] += bias[j]
            # A comparison with NaN is false: it passes.
            output[i * PANEL + j] = 0 if relu and total[j] <= 0 else total[j]
        for j in range(features, PANEL):
            output[i * PANEL + j] = 0


cdef inline void panel_sums(Py_ssize_t n, const real *dout, real *sums) noexcept nogil:
    """Sum over the samples of one panel: blocks of rows, added in order, in double."""
    cdef double total[PANEL]
    cdef double part[PANEL]
    cdef Py_ssize_t block, i
    cdef int j
    memset(total, 0, sizeof(total))
    for block in range(ceil_div(n, SUM_ROWS)):
        memset(part, 0, sizeof(part))
        for i in range(block * SUM_ROWS, min(n, (block + 1) * SUM_ROWS)):
            for j in range(PANEL):
                part[j] += dout[i * PANEL + j]
        for j in range(PANEL):
            total[j] += part[j]
    for j in range(PANEL):
        sums[j] = <real> total[j]


cdef inline void batch_norm_panel(
    Py_ssize_t n, int features, const real *gamma, const real *beta,  # IN
    double eps, double momentum, const real *running_mean, const real *running_var,
    real *h,                                                          # INOUT: the input, then the output
    real *xhat, real *inv, real *next_mean, real *next_var,           # OUT
) noexcept nogil:
    """Batch norm and ReLU of one panel, `features` of it real ones."""
    cdef double total[PANEL]
    cdef double centre[PANEL]
    cdef real mean[PANEL]
    cdef real scale[PANEL]
    cdef real g[PANEL]
    cdef real b[PANEL]
    cdef real keep = <real> momentum, take = <real> (1 - momentum), hat, out
    cdef double c
    cdef Py_ssize_t i
    cdef int j
    memset(total, 0, sizeof(total))
    memset(g, 0, sizeof(g))
    memset(b, 0, sizeof(b))
    for j in range(features):
        g[j] = gamma[j]
        b[j] = beta[j]
    for i in range(n):
        for j in range(PANEL):
            total[j] += h[i * PANEL + j]
    for j in range(PANEL):
        centre[j] = total[j] / n
        mean[j] = <real> centre[j]
        total[j] = 0
    for i in range(n):
        for j in range(PANEL):
            c = h[i * PANEL + j] - centre[j]
            total[j] += c * c
    for j in range(PANEL):
        scale[j] = inv[j] = <real> (1 / sqrt(total[j] / n + eps))
    for j in range(features):
        next_mean[j] = keep * running_mean[j] + take * mean[j]
        next_var[j] = keep * running_var[j] + take * <real> (total[j] / n)
    for i in range(n):
        for j in range(PANEL):
            hat = (h[i * PANEL + j] - mean[j]) * scale[j]
            out = g[j] * hat + b[j]
            xhat[i * PANEL + j] = hat
            h[i * PANEL + j] = 0 if out <= 0 else out  # a comparison with NaN is false: it passes


cdef inline void norm_sums(Py_ssize_t n, const real *dout, const real *xhat,  # IN
                           real *dgamma, real *dbeta) noexcept nogil:         # OUT
    """dgamma = sum(dout * xhat), dbeta = sum(dout) of one panel."""
    cdef double gamma[PANEL]
    cdef double beta[PANEL]
    cdef double d
    cdef Py_ssize_t i
    cdef int j
    memset(gamma, 0, sizeof(gamma))
    memset(beta, 0, sizeof(beta))
    for i in range(n):
        for j in range(PANEL):
            d = dout[i * PANEL + j]
            gamma[j] += d * xhat[i * PANEL + j]
            beta[j] += d
    for j in range(PANEL):
        dgamma[j] = <real> gamma[j]
        dbeta[j] = <real> beta[j]


cdef inline void batch_norm_panel_backward(
    Py_ssize_t n, int features, const real *gamma, const real *xhat, const real *inv,  # IN
    real *dout,                                                                        # INOUT
    real *dgamma, real *dbeta,                                                         # OUT
) noexcept nogil:
    """dx = gamma * inv_std * (dout - mean(dout) - xhat * mean(dout * xhat)) of one panel, in place."""
    cdef real scale[PANEL]
    cdef real mean[PANEL]
    cdef real along[PANEL]
    cdef Py_ssize_t i, at
    cdef int j
    norm_sums(n, dout, xhat, dgamma, dbeta)
    memset(scale, 0, sizeof(scale))
    for j in range(features):
        scale[j] = gamma[j] * inv[j]
    for j in range(PANEL):
        mean[j] = dbeta[j] / <real> n
        along[j] = dgamma[j] / <real> n
    for i in range(n):
        for j in range(PANEL):
            at = i * PANEL + j
            dout[at] = scale[j] * (dout[at] - mean[j] - xhat[at] * along[j])


cdef inline double sum_lanes(const double *lane) noexcept nogil:
    cdef double total = 0
    cdef int j
    for j in range(PANEL):
        total += lane[j]
    return total


cdef inline void layer_norm_sample(
    Py_ssize_t i, Py_ssize_t d, Py_ssize_t stride, const real *gamma, const real *beta, double eps,  # IN
    real *h,                 # INOUT
    real *xhat, real *inv,   # OUT
) noexcept nogil:
    """Layer norm and ReLU of sample i."""
    cdef double lane[PANEL]
    cdef double mean, c
    cdef real m, s, hat, out
    cdef Py_ssize_t p
    cdef int j, features
    h += i * PANEL
    xhat += i * PANEL
    memset(lane, 0, sizeof(lane))
    for p in range(ceil_div(d, PANEL)):
        for j in range(PANEL):
            lane[j] += h[p * stride + j]  # zeros beyond the last
    mean = sum_lanes(lane) / d
    memset(lane, 0, sizeof(lane))
    for p in range(ceil_div(d, PANEL)):
        features = features_in(d, p)
        for j in range(features):
            c = h[p * stride + j] - mean
            lane[j] += c * c
    m, s = <real> mean, <real> (1 / sqrt(sum_lanes(lane) / d + eps))
    inv[i] = s
    for p in range(ceil_div(d, PANEL)):
        features = features_in(d, p)
        for j in range(features):
            hat = (h[p * stride + j] - m) * s
            out = gamma[p * PANEL + j] * hat + beta[p * PANEL + j]
            xhat[p * stride + j] = hat
            h[p * stride + j] = 0 if out <= 0 else out
        for j in range(features, PANEL):
            xhat[p * stride + j] = h[p * stride + j] = 0


cdef inline void layer_norm_sample_backward(
    Py_ssize_t i, Py_ssize_t d, Py_ssize_t stride, const real *gamma, const real *xhat, const real *inv,  # IN
    real *dout,                                                                                           # INOUT
) noexcept nogil:
    """Its gradient, in place."""
    cdef double first[PANEL]
    cdef double second[PANEL]
    cdef double g
    cdef real m, a
    cdef Py_ssize_t p
    cdef int j, features
    dout += i * PANEL
    xhat += i * PANEL
    memset(first, 0, sizeof(first))
    memset(second, 0, sizeof(second))
    for p in range(ceil_div(d, PANEL)):
        features = features_in(d, p)
        for j in range(features):
            g = <double> dout[p * stride + j] * gamma[p * PANEL + j]
            first[j] += g
            second[j] += g * xhat[p * stride + j]
    m, a = <real> (sum_lanes(first) / d), <real> (sum_lanes(second) / d)
    for p in range(ceil_div(d, PANEL)):
        features = features_in(d, p)
        for j in range(features):
            dout[p * stride + j] = inv[i] * (
                dout[p * stride + j] * gamma[p * PANEL + j] - m - xhat[p * stride + j] * a)


cdef inline void dropout_panel(Py_ssize_t n, int features, const double *uniform, Py_ssize_t d, double keep,
                               real *h) noexcept nogil:
    """Dropout of one panel in place: `uniform` is that of the panel's first feature, its rows d apart."""
    cdef real scale = <real> (1 / keep)
    cdef Py_ssize_t i
    cdef int j
    for i in range(n):
        for j in range(features):
            h[i * PANEL + j] *= scale if uniform[i * d + j] < keep else 0
