"""Batch normalization and layer normalization.

Sums over the batch are kept in double, column by column, inside fixed blocks of columns: a
block belongs to one thread, so the number of threads changes no sum. Sums over features are
kept in a fixed number of lanes, which compilers turn into vectors.
"""

include "common.pxi"
from libc.math cimport sqrt

cdef enum:
    COLUMNS = 64  # columns of a block: four cache lines of float32
    LANES = 16


cdef inline Py_ssize_t _blocks(Py_ssize_t d) noexcept nogil:
    return (d + COLUMNS - 1) // COLUMNS


cdef inline Py_ssize_t _width(Py_ssize_t block, Py_ssize_t d) noexcept nogil:
    return min(<Py_ssize_t> COLUMNS, d - block * COLUMNS)


cdef void bn_statistics(
    const real* x_nd,                         # IN, at the block's first column
    Py_ssize_t n, Py_ssize_t d, Py_ssize_t width, double eps,
    real* mean_d, real* var_d, real* inv_d,   # OUT
) noexcept nogil:
    """Mean, then the mean squared distance from it: two passes keep float32 exact enough."""
    cdef double total[COLUMNS]
    cdef double centred
    cdef double mean[COLUMNS]
    cdef Py_ssize_t i, j
    cdef const real* row
    for j in range(width):
        total[j] = 0
    for i in range(n):
        row = x_nd + i * d
        for j in range(width):
            total[j] += row[j]
    for j in range(width):
        mean[j] = total[j] / n
        mean_d[j] = <real> mean[j]
        total[j] = 0
    for i in range(n):
        row = x_nd + i * d
        for j in range(width):
            centred = row[j] - mean[j]
            total[j] += centred * centred
    for j in range(width):
        var_d[j] = <real> (total[j] / n)
        inv_d[j] = <real> (1 / sqrt(total[j] / n + eps))


cdef void bn_apply(
    const real* x_nd, const real* gamma_d, const real* beta_d,  # IN
    const real* mean_d, const real* inv_d,                      # IN
    Py_ssize_t n, Py_ssize_t d, Py_ssize_t width,
    real* out_nd, real* xhat_nd,                                # OUT
) noexcept nogil:
    # Local copies cannot overlap the outputs, so the loop over columns needs few overlap tests.
    cdef real gamma[COLUMNS]
    cdef real beta[COLUMNS]
    cdef real mean[COLUMNS]
    cdef real inv[COLUMNS]
    cdef Py_ssize_t i, j
    cdef real xhat
    for j in range(width):
        gamma[j] = gamma_d[j]
        beta[j] = beta_d[j]
        mean[j] = mean_d[j]
        inv[j] = inv_d[j]
    for i in range(n):
        for j in range(width):
            xhat = (x_nd[i * d + j] - mean[j]) * inv[j]
            xhat_nd[i * d + j] = xhat
            out_nd[i * d + j] = gamma[j] * xhat + beta[j]


cdef void bn_train_block(
    const real* x_nd, const real* gamma_d, const real* beta_d, double eps,  # IN
    real* out_nd, real* xhat_nd, real* mean_d, real* var_d, real* inv_d,    # OUT
    Py_ssize_t n, Py_ssize_t d, Py_ssize_t block,
) noexcept nogil:
    cdef Py_ssize_t c = block * COLUMNS
    cdef Py_ssize_t width = _width(block, d)
    bn_statistics(x_nd + c, n, d, width, eps, mean_d + c, var_d + c, inv_d + c)
    bn_apply(x_nd + c, gamma_d + c, beta_d + c, mean_d + c, inv_d + c, n, d, width, out_nd + c, xhat_nd + c)


cdef void bn_test_block(
    const real* x_nd, const real* gamma_d, const real* beta_d,  # IN
    const real* mean_d, const real* var_d, double eps,          # IN
    real* out_nd, real* xhat_nd, real* inv_d,                   # OUT
    Py_ssize_t n, Py_ssize_t d, Py_ssize_t block,
) noexcept nogil:
    cdef Py_ssize_t c = block * COLUMNS
    cdef Py_ssize_t j, width = _width(block, d)
    for j in range(width):
        inv_d[c + j] = <real> (1 / sqrt(<double> var_d[c + j] + eps))
    bn_apply(x_nd + c, gamma_d + c, beta_d + c, mean_d + c, inv_d + c, n, d, width, out_nd + c, xhat_nd + c)


cdef void column_sums_block(
    const real* dout_nd, const real* xhat_nd,  # IN, at the block's first column
    real* dgamma_d, real* dbeta_d,             # OUT
    Py_ssize_t n, Py_ssize_t d, Py_ssize_t width,
) noexcept nogil:
    """dgamma = sum(dout * xhat), dbeta = sum(dout)."""
    cdef double gamma[COLUMNS]
    cdef double beta[COLUMNS]
    cdef Py_ssize_t i, j
    for j in range(width):
        gamma[j] = 0
        beta[j] = 0
    for i in range(n):
        for j in range(width):
            gamma[j] += <double> dout_nd[i * d + j] * xhat_nd[i * d + j]
            beta[j] += dout_nd[i * d + j]
    for j in range(width):
        dgamma_d[j] = <real> gamma[j]
        dbeta_d[j] = <real> beta[j]


cdef void bn_backward_block(
    const real* dout_nd, const real* xhat_nd, const real* gamma_d, const real* inv_d,  # IN
    real* dx_nd, real* dgamma_d, real* dbeta_d,                                        # OUT
    Py_ssize_t n, Py_ssize_t d, Py_ssize_t block,
) noexcept nogil:
    """Node by node: xhat = centred * inv_std, inv_std = (var + eps)^-1/2, var = mean(centred^2)."""
    cdef Py_ssize_t c = block * COLUMNS
    cdef Py_ssize_t i, j, width = _width(block, d)
    cdef double dinv[COLUMNS]
    cdef double dvar[COLUMNS]
    cdef double dmean[COLUMNS]
    cdef double inv, dxhat, dcentred
    column_sums_block(dout_nd + c, xhat_nd + c, dgamma_d + c, dbeta_d + c, n, d, width)
    for j in range(width):
        dinv[j] = 0
        dmean[j] = 0
    for i in range(n):
        for j in range(width):
            dinv[j] += <double> dout_nd[i * d + c + j] * gamma_d[c + j] * (xhat_nd[i * d + c + j] / <double> inv_d[c + j])
    for j in range(width):
        inv = inv_d[c + j]
        dvar[j] = -0.5 * inv * inv * inv * dinv[j]
    for i in range(n):
        for j in range(width):
            inv = inv_d[c + j]
            dxhat = <double> dout_nd[i * d + c + j] * gamma_d[c + j]
            dcentred = dxhat * inv + 2.0 / n * (xhat_nd[i * d + c + j] / inv) * dvar[j]
            dmean[j] -= dcentred
            dx_nd[i * d + c + j] = <real> dcentred
    for i in range(n):
        for j in range(width):
            dx_nd[i * d + c + j] = <real> (dx_nd[i * d + c + j] + dmean[j] / n)


cdef void bn_backward_alt_block(
    const real* dout_nd, const real* xhat_nd, const real* gamma_d, const real* inv_d,  # IN
    real* dx_nd, real* dgamma_d, real* dbeta_d,                                        # OUT
    Py_ssize_t n, Py_ssize_t d, Py_ssize_t block,
) noexcept nogil:
    """Closed form: dx = gamma * inv_std * (dout - mean(dout) - xhat * mean(dout * xhat))."""
    cdef Py_ssize_t c = block * COLUMNS
    cdef Py_ssize_t i, j, width = _width(block, d)
    cdef real scale[COLUMNS]
    cdef real mean_dout[COLUMNS]
    cdef real mean_dout_xhat[COLUMNS]
    column_sums_block(dout_nd + c, xhat_nd + c, dgamma_d + c, dbeta_d + c, n, d, width)
    for j in range(width):
        scale[j] = gamma_d[c + j] * inv_d[c + j]
        mean_dout[j] = dbeta_d[c + j] / <real> n
        mean_dout_xhat[j] = dgamma_d[c + j] / <real> n
    for i in range(n):
        for j in range(width):
            dx_nd[i * d + c + j] = scale[j] * (
                dout_nd[i * d + c + j] - mean_dout[j] - xhat_nd[i * d + c + j] * mean_dout_xhat[j])


cdef void bn_backward_test_block(
    const real* dout_nd, const real* xhat_nd, const real* gamma_d, const real* inv_d,  # IN
    real* dx_nd, real* dgamma_d, real* dbeta_d,                                        # OUT
    Py_ssize_t n, Py_ssize_t d, Py_ssize_t block,
) noexcept nogil:
    """Statistics are constants: dx = dout * gamma * inv_std."""
    cdef Py_ssize_t c = block * COLUMNS
    cdef Py_ssize_t i, j, width = _width(block, d)
    column_sums_block(dout_nd + c, xhat_nd + c, dgamma_d + c, dbeta_d + c, n, d, width)
    for i in range(n):
        for j in range(width):
            dx_nd[i * d + c + j] = dout_nd[i * d + c + j] * gamma_d[c + j] * inv_d[c + j]


cdef enum Backward:
    STAGED
    CLOSED_FORM
    CONSTANT_STATISTICS


cdef inline void _bn_backward_one(
    Backward kind, const real* dout_nd, const real* xhat_nd, const real* gamma_d, const real* inv_d,
    real* dx_nd, real* dgamma_d, real* dbeta_d, Py_ssize_t n, Py_ssize_t d, Py_ssize_t block,
) noexcept nogil:
    if kind == STAGED:
        bn_backward_block(dout_nd, xhat_nd, gamma_d, inv_d, dx_nd, dgamma_d, dbeta_d, n, d, block)
    elif kind == CLOSED_FORM:
        bn_backward_alt_block(dout_nd, xhat_nd, gamma_d, inv_d, dx_nd, dgamma_d, dbeta_d, n, d, block)
    else:
        bn_backward_test_block(dout_nd, xhat_nd, gamma_d, inv_d, dx_nd, dgamma_d, dbeta_d, n, d, block)


cdef void bn_train_kernel(const real* x, const real* gamma, const real* beta, double eps, real* out, real* xhat,
                          real* mean, real* var, real* inv, Py_ssize_t n, Py_ssize_t d, int num_threads) noexcept nogil:
    cdef Py_ssize_t block
    if num_threads > 1:
        for block in prange(_blocks(d), num_threads=num_threads, schedule="static"):
            bn_train_block(x, gamma, beta, eps, out, xhat, mean, var, inv, n, d, block)
    else:
        for block in range(_blocks(d)):
            bn_train_block(x, gamma, beta, eps, out, xhat, mean, var, inv, n, d, block)


cdef void bn_test_kernel(const real* x, const real* gamma, const real* beta, const real* mean, const real* var,
                         double eps, real* out, real* xhat, real* inv, Py_ssize_t n, Py_ssize_t d,
                         int num_threads) noexcept nogil:
    cdef Py_ssize_t block
    if num_threads > 1:
        for block in prange(_blocks(d), num_threads=num_threads, schedule="static"):
            bn_test_block(x, gamma, beta, mean, var, eps, out, xhat, inv, n, d, block)
    else:
        for block in range(_blocks(d)):
            bn_test_block(x, gamma, beta, mean, var, eps, out, xhat, inv, n, d, block)


cdef void bn_backward_kernel(Backward kind, const real* dout, const real* xhat, const real* gamma, const real* inv,
                             real* dx, real* dgamma, real* dbeta, Py_ssize_t n, Py_ssize_t d,
                             int num_threads) noexcept nogil:
    cdef Py_ssize_t block
    if num_threads > 1:
        for block in prange(_blocks(d), num_threads=num_threads, schedule="static"):
            _bn_backward_one(kind, dout, xhat, gamma, inv, dx, dgamma, dbeta, n, d, block)
    else:
        for block in range(_blocks(d)):
            _bn_backward_one(kind, dout, xhat, gamma, inv, dx, dgamma, dbeta, n, d, block)


cdef inline double _lane_total(const double* lanes) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t k
    for k in range(LANES):
        total += lanes[k]
    return total


cdef void ln_forward_row(
    const real* x_d, const real* gamma_d, const real* beta_d, double eps,  # IN
    real* out_d, real* xhat_d, real* inv,                                  # OUT
    Py_ssize_t d,
) noexcept nogil:
    cdef double lanes[LANES]
    cdef double mean, centred, var
    cdef real xhat, mean_r, inv_r
    cdef Py_ssize_t b, j, k, whole = d - d % LANES
    for k in range(LANES):
        lanes[k] = 0
    for b in range(whole // LANES):
        j = b * LANES
        for k in range(LANES):
            lanes[k] += x_d[j + k]
    for j in range(whole, d):
        lanes[j - whole] += x_d[j]
    mean = _lane_total(lanes) / d
    for k in range(LANES):
        lanes[k] = 0
    for b in range(whole // LANES):
        j = b * LANES
        for k in range(LANES):
            centred = x_d[j + k] - mean
            lanes[k] += centred * centred
    for j in range(whole, d):
        centred = x_d[j] - mean
        lanes[j - whole] += centred * centred
    var = _lane_total(lanes) / d
    inv_r = <real> (1 / sqrt(var + eps))
    mean_r = <real> mean
    inv[0] = inv_r
    for j in range(d):
        xhat = (x_d[j] - mean_r) * inv_r
        xhat_d[j] = xhat
        out_d[j] = gamma_d[j] * xhat + beta_d[j]


cdef void ln_backward_row(
    const real* dout_d, const real* xhat_d, const real* gamma_d, real inv,  # IN
    real* dx_d,                                                             # OUT
    Py_ssize_t d,
) noexcept nogil:
    cdef double first[LANES]
    cdef double second[LANES]
    cdef double g
    cdef real mean_g, mean_gx
    cdef Py_ssize_t b, j, k, whole = d - d % LANES
    for k in range(LANES):
        first[k] = 0
        second[k] = 0
    for b in range(whole // LANES):
        j = b * LANES
        for k in range(LANES):
            g = <double> dout_d[j + k] * gamma_d[j + k]
            first[k] += g
            second[k] += g * xhat_d[j + k]
    for j in range(whole, d):
        g = <double> dout_d[j] * gamma_d[j]
        first[j - whole] += g
        second[j - whole] += g * xhat_d[j]
    mean_g = <real> (_lane_total(first) / d)
    mean_gx = <real> (_lane_total(second) / d)
    for j in range(d):
        dx_d[j] = inv * (dout_d[j] * gamma_d[j] - mean_g - xhat_d[j] * mean_gx)


cdef void ln_forward_kernel(const real* x, const real* gamma, const real* beta, double eps, real* out, real* xhat,
                            real* inv, Py_ssize_t n, Py_ssize_t d, int num_threads) noexcept nogil:
    cdef Py_ssize_t i
    if num_threads > 1:
        for i in prange(n, num_threads=num_threads, schedule="static"):
            ln_forward_row(x + i * d, gamma, beta, eps, out + i * d, xhat + i * d, inv + i, d)
    else:
        for i in range(n):
            ln_forward_row(x + i * d, gamma, beta, eps, out + i * d, xhat + i * d, inv + i, d)


cdef void ln_backward_kernel(const real* dout, const real* xhat, const real* gamma, const real* inv, real* dx,
                             real* dgamma, real* dbeta, Py_ssize_t n, Py_ssize_t d, int num_threads) noexcept nogil:
    cdef Py_ssize_t i, c
    if num_threads > 1:
        for i in prange(n, num_threads=num_threads, schedule="static"):
            ln_backward_row(dout + i * d, xhat + i * d, gamma, inv[i], dx + i * d, d)
        for i in prange(_blocks(d), num_threads=num_threads, schedule="static"):
            column_sums_block(dout + i * COLUMNS, xhat + i * COLUMNS, dgamma + i * COLUMNS, dbeta + i * COLUMNS,
                              n, d, _width(i, d))
    else:
        for i in range(n):
            ln_backward_row(dout + i * d, xhat + i * d, gamma, inv[i], dx + i * d, d)
        for i in range(_blocks(d)):
            c = i * COLUMNS
            column_sums_block(dout + c, xhat + c, dgamma + c, dbeta + c, n, d, _width(i, d))


include "normalization_entries.pxi"
