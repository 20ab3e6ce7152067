"""Batch normalization and layer normalization.

Sums over the batch are kept in double, column by column, inside fixed blocks of columns: a
block belongs to one thread, so the number of threads changes no sum. Sums over features are
kept in a fixed number of lanes, which compilers turn into vectors.
"""

from cython.parallel cimport prange
from libc.math cimport sqrt

from arithmetic cimport LANES, ceil_div, lane_total, part_start
from checks cimport matrix, matrix_start, vector, vector_start
from real cimport real
from sharing cimport threads_for

cdef enum:
    COLUMNS = 64  # columns of a block: four cache lines of float32


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


cdef void bn_train_blocks(
    const real* x_nd, const real* gamma_d, const real* beta_d, double eps,  # IN
    real* out_nd, real* xhat_nd, real* mean_d, real* var_d, real* inv_d,    # OUT
    Py_ssize_t n, Py_ssize_t d, Py_ssize_t first, Py_ssize_t last,
) noexcept nogil:
    cdef Py_ssize_t block, c, width
    for block in range(first, last):
        c = block * COLUMNS
        width = _width(block, d)
        bn_statistics(x_nd + c, n, d, width, eps, mean_d + c, var_d + c, inv_d + c)
        bn_apply(x_nd + c, gamma_d + c, beta_d + c, mean_d + c, inv_d + c, n, d, width, out_nd + c, xhat_nd + c)


cdef void bn_apply_blocks(
    const real* x_nd, const real* gamma_d, const real* beta_d, const real* mean_d, const real* inv_d,  # IN
    real* out_nd, real* xhat_nd,                                                                       # OUT
    Py_ssize_t n, Py_ssize_t d, Py_ssize_t first, Py_ssize_t last,
) noexcept nogil:
    cdef Py_ssize_t block, c
    for block in range(first, last):
        c = block * COLUMNS
        bn_apply(x_nd + c, gamma_d + c, beta_d + c, mean_d + c, inv_d + c, n, d, _width(block, d), out_nd + c,
                 xhat_nd + c)


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


cdef void bn_staged_block(
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
            dinv[j] += (<double> dout_nd[i * d + c + j] * gamma_d[c + j]
                        * (xhat_nd[i * d + c + j] / <double> inv_d[c + j]))
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


cdef void bn_closed_form_block(
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


cdef void bn_constant_block(
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


cdef void bn_backward_blocks(
    Backward kind, const real* dout_nd, const real* xhat_nd, const real* gamma_d, const real* inv_d,  # IN
    real* dx_nd, real* dgamma_d, real* dbeta_d,                                                       # OUT
    Py_ssize_t n, Py_ssize_t d, Py_ssize_t first, Py_ssize_t last,
) noexcept nogil:
    cdef Py_ssize_t block
    for block in range(first, last):
        if kind == STAGED:
            bn_staged_block(dout_nd, xhat_nd, gamma_d, inv_d, dx_nd, dgamma_d, dbeta_d, n, d, block)
        elif kind == CLOSED_FORM:
            bn_closed_form_block(dout_nd, xhat_nd, gamma_d, inv_d, dx_nd, dgamma_d, dbeta_d, n, d, block)
        else:
            bn_constant_block(dout_nd, xhat_nd, gamma_d, inv_d, dx_nd, dgamma_d, dbeta_d, n, d, block)


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
    mean = lane_total(lanes) / d
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
    var = lane_total(lanes) / d
    inv_r = <real> (1 / sqrt(var + eps))
    mean_r = <real> mean
    inv[0] = inv_r
    for j in range(d):
        xhat = (x_d[j] - mean_r) * inv_r
        xhat_d[j] = xhat
        out_d[j] = gamma_d[j] * xhat + beta_d[j]


cdef void ln_forward_rows(
    const real* x_nd, const real* gamma_d, const real* beta_d, double eps,  # IN
    real* out_nd, real* xhat_nd, real* inv_n,                               # OUT
    Py_ssize_t d, Py_ssize_t first, Py_ssize_t last,
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(first, last):
        ln_forward_row(x_nd + i * d, gamma_d, beta_d, eps, out_nd + i * d, xhat_nd + i * d, inv_n + i, d)


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
    mean_g = <real> (lane_total(first) / d)
    mean_gx = <real> (lane_total(second) / d)
    for j in range(d):
        dx_d[j] = inv * (dout_d[j] * gamma_d[j] - mean_g - xhat_d[j] * mean_gx)


cdef void ln_backward_rows(
    const real* dout_nd, const real* xhat_nd, const real* gamma_d, const real* inv_n,  # IN
    real* dx_nd,                                                                       # OUT
    Py_ssize_t d, Py_ssize_t first, Py_ssize_t last,
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(first, last):
        ln_backward_row(dout_nd + i * d, xhat_nd + i * d, gamma_d, inv_n[i], dx_nd + i * d, d)


cdef void column_sums_blocks(
    const real* dout_nd, const real* xhat_nd,  # IN
    real* dgamma_d, real* dbeta_d,             # OUT
    Py_ssize_t n, Py_ssize_t d, Py_ssize_t first, Py_ssize_t last,
) noexcept nogil:
    cdef Py_ssize_t block, c
    for block in range(first, last):
        c = block * COLUMNS
        column_sums_block(dout_nd + c, xhat_nd + c, dgamma_d + c, dbeta_d + c, n, d, _width(block, d))


def batchnorm_forward_train(
    const real[:, ::1] x_nd not None,   # IN
    const real[::1] gamma_d not None,   # IN
    const real[::1] beta_d not None,    # IN
    double eps,
    real[:, ::1] out_nd not None,       # OUT
    real[:, ::1] xhat_nd not None,      # OUT
    real[::1] mean_d not None,          # OUT
    real[::1] var_d not None,           # OUT
    real[::1] inv_std_d not None,       # OUT
    int num_threads,
):
    """Normalize by the batch's statistics, which are written too."""
    cdef str me = "batchnorm_forward_train"
    cdef Py_ssize_t n = x_nd.shape[0], d = x_nd.shape[1], blocks = ceil_div(d, COLUMNS)
    cdef int part
    matrix(me, "x", x_nd, n, d)
    matrix(me, "out", out_nd, n, d)
    matrix(me, "xhat", xhat_nd, n, d)
    vector(me, "gamma", gamma_d, d)
    vector(me, "beta", beta_d, d)
    vector(me, "mean", mean_d, d)
    vector(me, "var", var_d, d)
    vector(me, "inv_std", inv_std_d, d)
    if n == 0:
        raise ValueError(f"{me}: x has no samples, expected at least one")
    num_threads = threads_for(n * d * sizeof(real), 400, num_threads)
    if num_threads == 1:
        bn_train_blocks(matrix_start(x_nd), vector_start(gamma_d), vector_start(beta_d), eps, matrix_start(out_nd),
                        matrix_start(xhat_nd), vector_start(mean_d), vector_start(var_d), vector_start(inv_std_d), n, d,
                        0, blocks)
        return
    for part in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static"):
        bn_train_blocks(&x_nd[0, 0], &gamma_d[0], &beta_d[0], eps, &out_nd[0, 0], &xhat_nd[0, 0], &mean_d[0], &var_d[0],
                        &inv_std_d[0], n, d, part_start(blocks, num_threads, part),
                        part_start(blocks, num_threads, part + 1))


def batchnorm_forward_test(
    const real[:, ::1] x_nd not None,   # IN
    const real[::1] gamma_d not None,   # IN
    const real[::1] beta_d not None,    # IN
    const real[::1] mean_d not None,    # IN
    const real[::1] var_d not None,     # IN
    double eps,
    real[:, ::1] out_nd not None,       # OUT
    real[:, ::1] xhat_nd not None,      # OUT
    real[::1] inv_std_d not None,       # OUT
    int num_threads,
):
    """Normalize by given statistics."""
    cdef str me = "batchnorm_forward_test"
    cdef Py_ssize_t j, n = x_nd.shape[0], d = x_nd.shape[1], blocks = ceil_div(d, COLUMNS)
    cdef int part
    matrix(me, "x", x_nd, n, d)
    matrix(me, "out", out_nd, n, d)
    matrix(me, "xhat", xhat_nd, n, d)
    vector(me, "gamma", gamma_d, d)
    vector(me, "beta", beta_d, d)
    vector(me, "mean", mean_d, d)
    vector(me, "var", var_d, d)
    vector(me, "inv_std", inv_std_d, d)
    for j in range(d):
        inv_std_d[j] = <real> (1 / sqrt(<double> var_d[j] + eps))
    num_threads = threads_for(n * d * sizeof(real), 350, num_threads)
    if num_threads == 1:
        bn_apply_blocks(matrix_start(x_nd), vector_start(gamma_d), vector_start(beta_d), vector_start(mean_d),
                        vector_start(inv_std_d), matrix_start(out_nd), matrix_start(xhat_nd), n, d, 0, blocks)
        return
    for part in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static"):
        bn_apply_blocks(&x_nd[0, 0], &gamma_d[0], &beta_d[0], &mean_d[0], &inv_std_d[0], &out_nd[0, 0], &xhat_nd[0, 0],
                        n, d, part_start(blocks, num_threads, part), part_start(blocks, num_threads, part + 1))


cdef int _bn_backward(
    str me, Backward kind,
    const real[:, ::1] dout_nd, const real[:, ::1] xhat_nd, const real[::1] gamma_d, const real[::1] inv_std_d,  # IN
    real[:, ::1] dx_nd, real[::1] dgamma_d, real[::1] dbeta_d,                                                   # OUT
    int num_threads,
) except -1:
    cdef Py_ssize_t n = dout_nd.shape[0], d = dout_nd.shape[1], blocks = ceil_div(d, COLUMNS)
    cdef int part
    matrix(me, "dout", dout_nd, n, d)
    matrix(me, "xhat", xhat_nd, n, d)
    matrix(me, "dx", dx_nd, n, d)
    vector(me, "gamma", gamma_d, d)
    vector(me, "inv_std", inv_std_d, d)
    vector(me, "dgamma", dgamma_d, d)
    vector(me, "dbeta", dbeta_d, d)
    if n == 0:
        dgamma_d[:] = 0
        dbeta_d[:] = 0
        return 0
    num_threads = threads_for(n * d * sizeof(real), 400, num_threads)
    if num_threads == 1:
        bn_backward_blocks(kind, matrix_start(dout_nd), matrix_start(xhat_nd), vector_start(gamma_d),
                           vector_start(inv_std_d), matrix_start(dx_nd), vector_start(dgamma_d), vector_start(dbeta_d),
                           n, d, 0, blocks)
        return 0
    for part in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static"):
        bn_backward_blocks(kind, &dout_nd[0, 0], &xhat_nd[0, 0], &gamma_d[0], &inv_std_d[0], &dx_nd[0, 0], &dgamma_d[0],
                           &dbeta_d[0], n, d, part_start(blocks, num_threads, part),
                           part_start(blocks, num_threads, part + 1))
    return 0


def batchnorm_backward(
    const real[:, ::1] dout_nd not None,   # IN
    const real[:, ::1] xhat_nd not None,   # IN
    const real[::1] gamma_d not None,      # IN
    const real[::1] inv_std_d not None,    # IN
    real[:, ::1] dx_nd not None,           # OUT
    real[::1] dgamma_d not None,           # OUT
    real[::1] dbeta_d not None,            # OUT
    int num_threads,
):
    """Gradients along the computational graph."""
    _bn_backward("batchnorm_backward", STAGED, dout_nd, xhat_nd, gamma_d, inv_std_d, dx_nd, dgamma_d, dbeta_d,
                 num_threads)


def batchnorm_backward_alt(
    const real[:, ::1] dout_nd not None,   # IN
    const real[:, ::1] xhat_nd not None,   # IN
    const real[::1] gamma_d not None,      # IN
    const real[::1] inv_std_d not None,    # IN
    real[:, ::1] dx_nd not None,           # OUT
    real[::1] dgamma_d not None,           # OUT
    real[::1] dbeta_d not None,            # OUT
    int num_threads,
):
    """Gradients in closed form."""
    _bn_backward("batchnorm_backward_alt", CLOSED_FORM, dout_nd, xhat_nd, gamma_d, inv_std_d, dx_nd, dgamma_d, dbeta_d,
                 num_threads)


def batchnorm_backward_test(
    const real[:, ::1] dout_nd not None,   # IN
    const real[:, ::1] xhat_nd not None,   # IN
    const real[::1] gamma_d not None,      # IN
    const real[::1] inv_std_d not None,    # IN
    real[:, ::1] dx_nd not None,           # OUT
    real[::1] dgamma_d not None,           # OUT
    real[::1] dbeta_d not None,            # OUT
    int num_threads,
):
    """Gradients with constant statistics."""
    _bn_backward("batchnorm_backward_test", CONSTANT_STATISTICS, dout_nd, xhat_nd, gamma_d, inv_std_d, dx_nd, dgamma_d,
                 dbeta_d, num_threads)


def layernorm_forward(
    const real[:, ::1] x_nd not None,   # IN
    const real[::1] gamma_d not None,   # IN
    const real[::1] beta_d not None,    # IN
    double eps,
    real[:, ::1] out_nd not None,       # OUT
    real[:, ::1] xhat_nd not None,      # OUT
    real[::1] inv_std_n not None,       # OUT
    int num_threads,
):
    """Normalize each row by its own statistics."""
    cdef str me = "layernorm_forward"
    cdef Py_ssize_t n = x_nd.shape[0], d = x_nd.shape[1]
    cdef int part
    matrix(me, "x", x_nd, n, d)
    matrix(me, "out", out_nd, n, d)
    matrix(me, "xhat", xhat_nd, n, d)
    vector(me, "gamma", gamma_d, d)
    vector(me, "beta", beta_d, d)
    vector(me, "inv_std", inv_std_n, n)
    if d == 0:
        raise ValueError(f"{me}: x has no features, expected at least one")
    num_threads = threads_for(n * d * sizeof(real), 350, num_threads)
    if num_threads == 1:
        ln_forward_rows(matrix_start(x_nd), &gamma_d[0], &beta_d[0], eps, matrix_start(out_nd), matrix_start(xhat_nd),
                        vector_start(inv_std_n), d, 0, n)
        return
    for part in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static"):
        ln_forward_rows(&x_nd[0, 0], &gamma_d[0], &beta_d[0], eps, &out_nd[0, 0], &xhat_nd[0, 0], &inv_std_n[0], d,
                        part_start(n, num_threads, part), part_start(n, num_threads, part + 1))


def layernorm_backward(
    const real[:, ::1] dout_nd not None,   # IN
    const real[:, ::1] xhat_nd not None,   # IN
    const real[::1] gamma_d not None,      # IN
    const real[::1] inv_std_n not None,    # IN
    real[:, ::1] dx_nd not None,           # OUT
    real[::1] dgamma_d not None,           # OUT
    real[::1] dbeta_d not None,            # OUT
    int num_threads,
):
    """Gradients of layer normalization."""
    cdef str me = "layernorm_backward"
    cdef Py_ssize_t n = dout_nd.shape[0], d = dout_nd.shape[1], blocks = ceil_div(d, COLUMNS)
    cdef int part
    matrix(me, "dout", dout_nd, n, d)
    matrix(me, "xhat", xhat_nd, n, d)
    matrix(me, "dx", dx_nd, n, d)
    vector(me, "gamma", gamma_d, d)
    vector(me, "inv_std", inv_std_n, n)
    vector(me, "dgamma", dgamma_d, d)
    vector(me, "dbeta", dbeta_d, d)
    if n == 0:
        dgamma_d[:] = 0
        dbeta_d[:] = 0
        return
    num_threads = threads_for(n * d * sizeof(real), 300, num_threads)
    if num_threads == 1:
        ln_backward_rows(matrix_start(dout_nd), matrix_start(xhat_nd), vector_start(gamma_d), vector_start(inv_std_n),
                         matrix_start(dx_nd), d, 0, n)
        column_sums_blocks(matrix_start(dout_nd), matrix_start(xhat_nd), vector_start(dgamma_d),
                           vector_start(dbeta_d), n, d, 0, blocks)
        return
    for part in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static"):
        ln_backward_rows(&dout_nd[0, 0], &xhat_nd[0, 0], &gamma_d[0], &inv_std_n[0], &dx_nd[0, 0], d,
                         part_start(n, num_threads, part), part_start(n, num_threads, part + 1))
    for part in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static"):
        column_sums_blocks(&dout_nd[0, 0], &xhat_nd[0, 0], &dgamma_d[0], &dbeta_d[0], n, d,
                           part_start(blocks, num_threads, part), part_start(blocks, num_threads, part + 1))
