"""Batch and group normalization of images (N, C, H, W), on the images as they lie.

A plane is one channel of one image: H * W elements that lie together, with one gamma and one
beta. A set is what shares its statistics: for batch norm the planes of a channel, one from each
image; for group norm the planes of a group within one image. Sums are taken plane by plane, in
double and in a fixed number of lanes, and a set's planes are added in order, so the number of
threads changes no sum and few channels still occupy all threads.
"""

from cython.parallel cimport prange
from libc.math cimport sqrt

from checks cimport images, images_start, matrix, matrix_start, vector, vector_start
from real cimport real
from sharing cimport threads_for
from threads.threads cimport scratch_give, scratch_take

cdef extern from "plane_sums.h" nogil:
    void plane_sum(const void *x, Py_ssize_t size, double *sum) noexcept
    # The sums of x - start, and of its square; of x, and of x y.
    void plane_squares(const void *x, Py_ssize_t size, double start, double *sums) noexcept
    void plane_dots(const void *x, const void *y, Py_ssize_t size, double *sums) noexcept


cdef inline void plane_moments(const real *x, Py_ssize_t size, double *moments) noexcept nogil:
    """The sum of a plane, and the squared distance from its own mean.

    float32 needs one pass: distances are taken from an element of the plane, which makes the difference below lose at
    most log2(size) of the bits that double has beyond float. float64 takes the mean first."""
    cdef double sums[2]
    cdef double start, square
    if size == 0:
        moments[0] = moments[1] = 0
    elif real is float:
        start = x[0] if x[0] - x[0] == 0 else 0  # an infinity would make its own mean NaN
        plane_squares(x, size, start, sums)
        square = sums[1] - sums[0] * sums[0] / <double> size
        moments[0] = sums[0] + start * <double> size
        moments[1] = 0 if square < 0 else square
    else:
        plane_sum(x, size, moments)
        plane_squares(x, size, moments[0] / <double> size, sums)
        moments[1] = sums[1]


cdef struct Sets:
    bint by_channel      # batch norm; else by groups of adjacent planes
    Py_ssize_t n, c, hw
    Py_ssize_t count     # sets
    Py_ssize_t planes    # of a set


cdef Sets _channels(Py_ssize_t n, Py_ssize_t c, Py_ssize_t hw) noexcept nogil:
    """The sets of batch norm."""
    cdef Sets s
    s.by_channel, s.n, s.c, s.hw, s.count, s.planes = True, n, c, hw, c, n
    return s


cdef Sets _groups(Py_ssize_t n, Py_ssize_t c, Py_ssize_t hw, Py_ssize_t g) noexcept nogil:
    """The sets of group norm."""
    cdef Sets s
    s.by_channel, s.n, s.c, s.hw, s.count, s.planes = False, n, c, hw, n * g, c // g
    return s


cdef inline Py_ssize_t _plane(const Sets* s, Py_ssize_t k, Py_ssize_t j) noexcept nogil:
    """Which plane of the images is the j-th of set k."""
    return j * s.c + k if s.by_channel else k * s.planes + j


cdef inline Py_ssize_t _set_of(const Sets* s, Py_ssize_t plane) noexcept nogil:
    return plane % s.c if s.by_channel else plane // s.planes


cdef inline void _merge(const double* moments, double eps, real* mean_s, real* var_s, real* inv_s,
                        const Sets* s, Py_ssize_t k) noexcept nogil:
    """Statistics of set k: the spread within its planes, and that of their means."""
    cdef double total = 0, spread = 0, mean, apart
    cdef Py_ssize_t j
    for j in range(s.planes):
        total += moments[2 * _plane(s, k, j)]
    mean = total / (s.planes * s.hw)
    for j in range(s.planes):
        apart = moments[2 * _plane(s, k, j)] / s.hw - mean
        spread += moments[2 * _plane(s, k, j) + 1] + s.hw * apart * apart
    mean_s[k] = <real> mean
    var_s[k] = <real> (spread / (s.planes * s.hw))
    inv_s[k] = <real> (1 / sqrt(spread / (s.planes * s.hw) + eps))


cdef inline void _apply(const real* x, real mean, real inv, real gamma, real beta, real* out, real* xhat,
                        Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    cdef real value
    for i in range(size):
        value = (x[i] - mean) * inv
        xhat[i] = value
        out[i] = gamma * value + beta


cdef inline void _apply_plane(
    const real* x, const real* gamma_c, const real* beta_c, const real* mean_s, const real* inv_s,  # IN
    real* out, real* xhat,                                                                          # OUT
    const Sets* s, Py_ssize_t plane,
) noexcept nogil:
    cdef Py_ssize_t k = _set_of(s, plane), c = plane % s.c, at = plane * s.hw
    _apply(x + at, mean_s[k], inv_s[k], gamma_c[c], beta_c[c], out + at, xhat + at, s.hw)


cdef inline void _forward_set(
    const real* x, const real* gamma_c, const real* beta_c, double eps,  # IN
    real* out, real* xhat, real* mean_s, real* var_s, real* inv_s,       # OUT
    double* moments, const Sets* s, Py_ssize_t k,
) noexcept nogil:
    """All of one set at once, for sets that lie together."""
    cdef Py_ssize_t j
    for j in range(k * s.planes, (k + 1) * s.planes):
        plane_moments(x + j * s.hw, s.hw, moments + 2 * j)
    _merge(moments, eps, mean_s, var_s, inv_s, s, k)
    for j in range(k * s.planes, (k + 1) * s.planes):
        _apply_plane(x, gamma_c, beta_c, mean_s, inv_s, out, xhat, s, j)


cdef void apply_kernel(
    const real* x, const real* gamma_c, const real* beta_c, const real* mean_s, const real* inv_s,  # IN
    real* out, real* xhat,                                                                          # OUT
    const Sets* s, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t plane, planes = s.n * s.c
    for plane in prange(planes, num_threads=num_threads, use_threads_if=num_threads > 1, schedule="static"):
        _apply_plane(x, gamma_c, beta_c, mean_s, inv_s, out, xhat, s, plane)


cdef int forward_kernel(
    const real* x, const real* gamma_c, const real* beta_c, double eps,  # IN
    real* out, real* xhat, real* mean_s, real* var_s, real* inv_s,       # OUT
    const Sets* s, int num_threads,
) noexcept nogil:
    """-1: out of memory."""
    cdef Py_ssize_t k, planes = s.n * s.c
    cdef double* moments = <double*> scratch_take(2 * planes * sizeof(double))
    if moments == NULL:
        return -1
    if not s.by_channel and (num_threads <= 1 or s.count >= num_threads):
        for k in prange(s.count, num_threads=num_threads, use_threads_if=num_threads > 1, schedule="static"):
            _forward_set(x, gamma_c, beta_c, eps, out, xhat, mean_s, var_s, inv_s, moments, s, k)
    else:
        for k in prange(planes, num_threads=num_threads, use_threads_if=num_threads > 1, schedule="static"):
            plane_moments(x + k * s.hw, s.hw, moments + 2 * k)
        for k in range(s.count):
            _merge(moments, eps, mean_s, var_s, inv_s, s, k)
        apply_kernel(x, gamma_c, beta_c, mean_s, inv_s, out, xhat, s, num_threads)
    scratch_give(moments)
    return 0


cdef inline void _dx(const real* dout, const real* xhat, real scale, real constant, real slope, real* dx,
                     Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        dx[i] = scale * dout[i] - (slope * xhat[i] + constant)


cdef inline void _means(const double* dots, const real* gamma_c, const Sets* s, Py_ssize_t k,
                        double* mean_dxhat, double* mean_dxhat_xhat) noexcept nogil:
    """Means over set k of dxhat = gamma * dout and of dxhat * xhat."""
    cdef double first = 0, second = 0
    cdef Py_ssize_t j, plane
    for j in range(s.planes):
        plane = _plane(s, k, j)
        first += gamma_c[plane % s.c] * dots[2 * plane]
        second += gamma_c[plane % s.c] * dots[2 * plane + 1]
    mean_dxhat[0] = first / (s.planes * s.hw)
    mean_dxhat_xhat[0] = second / (s.planes * s.hw)


cdef inline void _dx_plane(const real* dout, const real* xhat, const real* gamma_c, const real* inv_s,
                           const double* means, real* dx, const Sets* s, Py_ssize_t plane) noexcept nogil:
    """dx = inv_std * (dxhat - mean(dxhat) - xhat * mean(dxhat * xhat))."""
    cdef Py_ssize_t k = _set_of(s, plane), at = plane * s.hw
    cdef double inv = inv_s[k]
    _dx(dout + at, xhat + at, <real> (inv * gamma_c[plane % s.c]), <real> (inv * means[2 * k]),
        <real> (inv * means[2 * k + 1]), dx + at, s.hw)


cdef inline void _scale_plane(const real* dout, const real* gamma_c, const real* inv_s, real* dx, const Sets* s,
                              Py_ssize_t plane) noexcept nogil:
    cdef Py_ssize_t i, at = plane * s.hw
    cdef real gamma = gamma_c[plane % s.c], inv = inv_s[_set_of(s, plane)]
    for i in range(s.hw):
        dx[at + i] = dout[at + i] * gamma * inv


cdef inline void _backward_set(
    const real* dout, const real* xhat, const real* gamma_c, const real* inv_s,  # IN
    real* dx,                                                                    # OUT
    double* dots, double* means, const Sets* s, Py_ssize_t k,
) noexcept nogil:
    """All of one set at once, for sets that lie together."""
    cdef Py_ssize_t j
    for j in range(k * s.planes, (k + 1) * s.planes):
        plane_dots(dout + j * s.hw, xhat + j * s.hw, s.hw, dots + 2 * j)
    _means(dots, gamma_c, s, k, means + 2 * k, means + 2 * k + 1)
    for j in range(k * s.planes, (k + 1) * s.planes):
        _dx_plane(dout, xhat, gamma_c, inv_s, means, dx, s, j)


cdef int backward_kernel(
    const real* dout, const real* xhat, const real* gamma_c, const real* inv_s,  # IN
    real* dx, real* dgamma_c, real* dbeta_c,                                     # OUT
    const Sets* s, bint constant_statistics, int num_threads,
) noexcept nogil:
    """-1: out of memory."""
    cdef Py_ssize_t k, j, planes = s.n * s.c
    cdef double gamma, beta
    cdef double* dots = <double*> scratch_take(2 * (planes + s.count) * sizeof(double))
    cdef double* means = dots + 2 * planes
    if dots == NULL:
        return -1
    if not s.by_channel and (num_threads <= 1 or s.count >= num_threads):
        for k in prange(s.count, num_threads=num_threads, use_threads_if=num_threads > 1, schedule="static"):
            _backward_set(dout, xhat, gamma_c, inv_s, dx, dots, means, s, k)
    else:
        for k in prange(planes, num_threads=num_threads, use_threads_if=num_threads > 1, schedule="static"):
            plane_dots(dout + k * s.hw, xhat + k * s.hw, s.hw, dots + 2 * k)
        for k in range(s.count):
            _means(dots, gamma_c, s, k, means + 2 * k, means + 2 * k + 1)
        for k in prange(planes, num_threads=num_threads, use_threads_if=num_threads > 1, schedule="static"):
            if constant_statistics:
                _scale_plane(dout, gamma_c, inv_s, dx, s, k)
            else:
                _dx_plane(dout, xhat, gamma_c, inv_s, means, dx, s, k)
    for k in range(s.c):
        gamma = 0
        beta = 0
        for j in range(s.n):
            beta += dots[2 * (j * s.c + k)]
            gamma += dots[2 * (j * s.c + k) + 1]
        dgamma_c[k] = <real> gamma
        dbeta_c[k] = <real> beta
    scratch_give(dots)
    return 0


cdef int _forward(
    str me, const real[:, :, :, ::1] x, const real[::1] gamma_c, const real[::1] beta_c, double eps,   # IN
    real[:, :, :, ::1] out, real[:, :, :, ::1] xhat, real *mean_s, real *var_s, real *inv_s,           # OUT
    Sets s, int num_threads,
) except -1:
    cdef int status
    images(me, "x", x, x.shape[0], x.shape[1], x.shape[2], x.shape[3])
    images(me, "out", out, x.shape[0], x.shape[1], x.shape[2], x.shape[3])
    images(me, "xhat", xhat, x.shape[0], x.shape[1], x.shape[2], x.shape[3])
    vector(me, "gamma", gamma_c, s.c)
    vector(me, "beta", beta_c, s.c)
    if s.planes * s.hw == 0:
        raise ValueError(f"{me}: x has shape ({x.shape[0]}, {x.shape[1]}, {x.shape[2]}, {x.shape[3]}): "
                         "nothing to take statistics of")
    num_threads = threads_for(s.n * s.c * s.hw * sizeof(real), 150, num_threads)
    with nogil:
        status = forward_kernel(images_start(x), vector_start(gamma_c), vector_start(beta_c), eps, images_start(out),
                                images_start(xhat), mean_s, var_s, inv_s, &s, num_threads)
    if status != 0:
        raise MemoryError(f"{me}: no memory for partial sums")
    return 0


cdef int _backward(
    str me,
    const real[:, :, :, ::1] dout, const real[:, :, :, ::1] xhat, const real[::1] gamma_c, const real *inv_s,  # IN
    real[:, :, :, ::1] dx, real[::1] dgamma_c, real[::1] dbeta_c,                                              # OUT
    Sets s, bint constant_statistics, int num_threads,
) except -1:
    cdef int status
    images(me, "dout", dout, dout.shape[0], dout.shape[1], dout.shape[2], dout.shape[3])
    images(me, "xhat", xhat, dout.shape[0], dout.shape[1], dout.shape[2], dout.shape[3])
    images(me, "dx", dx, dout.shape[0], dout.shape[1], dout.shape[2], dout.shape[3])
    vector(me, "gamma", gamma_c, s.c)
    vector(me, "dgamma", dgamma_c, s.c)
    vector(me, "dbeta", dbeta_c, s.c)
    if s.n * s.c * s.hw == 0:
        dgamma_c[:] = 0
        dbeta_c[:] = 0
        return 0
    num_threads = threads_for(s.n * s.c * s.hw * sizeof(real), 150, num_threads)
    with nogil:
        status = backward_kernel(&dout[0, 0, 0, 0], &xhat[0, 0, 0, 0], &gamma_c[0], inv_s, &dx[0, 0, 0, 0],
                                 &dgamma_c[0], &dbeta_c[0], &s, constant_statistics, num_threads)
    if status != 0:
        raise MemoryError(f"{me}: no memory for partial sums")
    return 0


cdef int _groups_fit(str me, Py_ssize_t c, Py_ssize_t groups) except -1:
    if groups < 1 or c % groups != 0:
        raise ValueError(f"{me}: {c} channels do not fall into {groups} groups")
    return 0


def spatial_batchnorm_forward_train(
    const real[:, :, :, ::1] x_nchw not None,   # IN
    const real[::1] gamma_c not None,           # IN
    const real[::1] beta_c not None,            # IN
    double eps,
    real[:, :, :, ::1] out_nchw not None,       # OUT
    real[:, :, :, ::1] xhat_nchw not None,      # OUT
    real[::1] mean_c not None,                  # OUT
    real[::1] var_c not None,                   # OUT
    real[::1] inv_std_c not None,               # OUT
    int num_threads,
):
    """Normalize each channel by its statistics over the batch, which are written too."""
    cdef str me = "spatial_batchnorm_forward_train"
    cdef Py_ssize_t n = x_nchw.shape[0], c = x_nchw.shape[1]
    vector(me, "mean", mean_c, c)
    vector(me, "var", var_c, c)
    vector(me, "inv_std", inv_std_c, c)
    _forward(me, x_nchw, gamma_c, beta_c, eps, out_nchw, xhat_nchw, vector_start(mean_c), vector_start(var_c),
             vector_start(inv_std_c), _channels(n, c, x_nchw.shape[2] * x_nchw.shape[3]), num_threads)


def spatial_batchnorm_forward_test(
    const real[:, :, :, ::1] x_nchw not None,   # IN
    const real[::1] gamma_c not None,           # IN
    const real[::1] beta_c not None,            # IN
    const real[::1] mean_c not None,            # IN
    const real[::1] var_c not None,             # IN
    double eps,
    real[:, :, :, ::1] out_nchw not None,       # OUT
    real[:, :, :, ::1] xhat_nchw not None,      # OUT
    real[::1] inv_std_c not None,               # OUT
    int num_threads,
):
    """Normalize each channel by given statistics."""
    cdef str me = "spatial_batchnorm_forward_test"
    cdef Py_ssize_t n = x_nchw.shape[0], c = x_nchw.shape[1], h = x_nchw.shape[2], w = x_nchw.shape[3], k
    cdef Sets s = _channels(n, c, h * w)
    images(me, "x", x_nchw, n, c, h, w)
    images(me, "out", out_nchw, n, c, h, w)
    images(me, "xhat", xhat_nchw, n, c, h, w)
    vector(me, "gamma", gamma_c, c)
    vector(me, "beta", beta_c, c)
    vector(me, "mean", mean_c, c)
    vector(me, "var", var_c, c)
    vector(me, "inv_std", inv_std_c, c)
    for k in range(c):
        inv_std_c[k] = <real> (1 / sqrt(<double> var_c[k] + eps))
    if n * c * h * w == 0:
        return
    num_threads = threads_for(n * c * h * w * sizeof(real), 200, num_threads)
    with nogil:
        apply_kernel(&x_nchw[0, 0, 0, 0], &gamma_c[0], &beta_c[0], &mean_c[0], &inv_std_c[0], &out_nchw[0, 0, 0, 0],
                     &xhat_nchw[0, 0, 0, 0], &s, num_threads)


def spatial_batchnorm_backward(
    const real[:, :, :, ::1] dout_nchw not None,   # IN
    const real[:, :, :, ::1] xhat_nchw not None,   # IN
    const real[::1] gamma_c not None,              # IN
    const real[::1] inv_std_c not None,            # IN
    real[:, :, :, ::1] dx_nchw not None,           # OUT
    real[::1] dgamma_c not None,                   # OUT
    real[::1] dbeta_c not None,                    # OUT
    int num_threads,
):
    """The gradient in closed form."""
    cdef str me = "spatial_batchnorm_backward"
    cdef Py_ssize_t n = dout_nchw.shape[0], c = dout_nchw.shape[1]
    vector(me, "inv_std", inv_std_c, c)
    _backward(me, dout_nchw, xhat_nchw, gamma_c, vector_start(inv_std_c), dx_nchw, dgamma_c, dbeta_c,
              _channels(n, c, dout_nchw.shape[2] * dout_nchw.shape[3]), False, num_threads)


def spatial_batchnorm_backward_test(
    const real[:, :, :, ::1] dout_nchw not None,   # IN
    const real[:, :, :, ::1] xhat_nchw not None,   # IN
    const real[::1] gamma_c not None,              # IN
    const real[::1] inv_std_c not None,            # IN
    real[:, :, :, ::1] dx_nchw not None,           # OUT
    real[::1] dgamma_c not None,                   # OUT
    real[::1] dbeta_c not None,                    # OUT
    int num_threads,
):
    """The gradient where the statistics are constants."""
    cdef str me = "spatial_batchnorm_backward_test"
    cdef Py_ssize_t n = dout_nchw.shape[0], c = dout_nchw.shape[1]
    vector(me, "inv_std", inv_std_c, c)
    _backward(me, dout_nchw, xhat_nchw, gamma_c, vector_start(inv_std_c), dx_nchw, dgamma_c, dbeta_c,
              _channels(n, c, dout_nchw.shape[2] * dout_nchw.shape[3]), True, num_threads)


def spatial_groupnorm_forward(
    const real[:, :, :, ::1] x_nchw not None,   # IN
    const real[::1] gamma_c not None,           # IN
    const real[::1] beta_c not None,            # IN
    Py_ssize_t groups,
    double eps,
    real[:, :, :, ::1] out_nchw not None,       # OUT
    real[:, :, :, ::1] xhat_nchw not None,      # OUT
    real[:, ::1] mean_ng not None,              # OUT
    real[:, ::1] var_ng not None,               # OUT
    real[:, ::1] inv_std_ng not None,           # OUT
    int num_threads,
):
    """Normalize each group of channels of each image by its own statistics, which are written too."""
    cdef str me = "spatial_groupnorm_forward"
    cdef Py_ssize_t n = x_nchw.shape[0], c = x_nchw.shape[1]
    _groups_fit(me, c, groups)
    matrix(me, "mean", mean_ng, n, groups)
    matrix(me, "var", var_ng, n, groups)
    matrix(me, "inv_std", inv_std_ng, n, groups)
    _forward(me, x_nchw, gamma_c, beta_c, eps, out_nchw, xhat_nchw, matrix_start(mean_ng), matrix_start(var_ng),
             matrix_start(inv_std_ng), _groups(n, c, x_nchw.shape[2] * x_nchw.shape[3], groups), num_threads)


def spatial_groupnorm_backward(
    const real[:, :, :, ::1] dout_nchw not None,   # IN
    const real[:, :, :, ::1] xhat_nchw not None,   # IN
    const real[::1] gamma_c not None,              # IN
    const real[:, ::1] inv_std_ng not None,        # IN
    real[:, :, :, ::1] dx_nchw not None,           # OUT
    real[::1] dgamma_c not None,                   # OUT
    real[::1] dbeta_c not None,                    # OUT
    int num_threads,
):
    """The gradient in closed form."""
    cdef str me = "spatial_groupnorm_backward"
    cdef Py_ssize_t n = dout_nchw.shape[0], c = dout_nchw.shape[1], groups = inv_std_ng.shape[1]
    _groups_fit(me, c, groups)
    matrix(me, "inv_std", inv_std_ng, n, groups)
    _backward(me, dout_nchw, xhat_nchw, gamma_c, matrix_start(inv_std_ng), dx_nchw, dgamma_c, dbeta_c,
              _groups(n, c, dout_nchw.shape[2] * dout_nchw.shape[3], groups), False, num_threads)
