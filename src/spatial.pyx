"""Batch and group normalization of images (N, C, H, W), on the images as they lie.

A plane is one channel of one image: H * W elements that lie together, with one gamma and one
beta. A set is what shares its statistics: for batch norm the planes of a channel, one from each
image; for group norm the planes of a group within one image. Sums are taken plane by plane, in
double and in a fixed number of lanes, and a set's planes are added in order, so the number of
threads changes no sum and few channels still occupy all threads.
"""

include "common.pxi"
include "images.pxi"
from libc.math cimport sqrt

cdef extern from "threads/scratch.h" nogil:
    void *dase_scratch_take(size_t size) noexcept
    void dase_scratch_give(void *scratch) noexcept

cdef extern from "plane_sums.h" nogil:
    void plane_moments_float(const float *x, Py_ssize_t size, double *moments) noexcept
    void plane_moments_double(const double *x, Py_ssize_t size, double *moments) noexcept
    void plane_dots_float(const float *dout, const float *xhat, Py_ssize_t size, double *dots) noexcept
    void plane_dots_double(const double *dout, const double *xhat, Py_ssize_t size, double *dots) noexcept


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


cdef inline void plane_moments(
    const real* x,     # IN
    double* moments,   # OUT, sum and squared distance from the plane's own mean
    Py_ssize_t size,
) noexcept nogil:
    if real is float:
        plane_moments_float(x, size, moments)
    else:
        plane_moments_double(x, size, moments)


cdef inline void plane_dots(
    const real* dout, const real* xhat,  # IN
    double* dots,                        # OUT, sum(dout) and sum(dout * xhat)
    Py_ssize_t size,
) noexcept nogil:
    if real is float:
        plane_dots_float(dout, xhat, size, dots)
    else:
        plane_dots_double(dout, xhat, size, dots)


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
        plane_moments(x + j * s.hw, moments + 2 * j, s.hw)
    _merge(moments, eps, mean_s, var_s, inv_s, s, k)
    for j in range(k * s.planes, (k + 1) * s.planes):
        _apply_plane(x, gamma_c, beta_c, mean_s, inv_s, out, xhat, s, j)


cdef void apply_kernel(
    const real* x, const real* gamma_c, const real* beta_c, const real* mean_s, const real* inv_s,  # IN
    real* out, real* xhat,                                                                          # OUT
    const Sets* s, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t plane, planes = s.n * s.c
    if num_threads > 1:
        for plane in prange(planes, num_threads=num_threads, schedule="static"):
            _apply_plane(x, gamma_c, beta_c, mean_s, inv_s, out, xhat, s, plane)
    else:
        for plane in range(planes):
            _apply_plane(x, gamma_c, beta_c, mean_s, inv_s, out, xhat, s, plane)


cdef int forward_kernel(
    const real* x, const real* gamma_c, const real* beta_c, double eps,  # IN
    real* out, real* xhat, real* mean_s, real* var_s, real* inv_s,       # OUT
    const Sets* s, int num_threads,
) noexcept nogil:
    """-1: out of memory."""
    cdef Py_ssize_t k, planes = s.n * s.c
    cdef double* moments = <double*> dase_scratch_take(2 * planes * sizeof(double))
    if moments == NULL:
        return -1
    if not s.by_channel and (num_threads <= 1 or s.count >= num_threads):
        if num_threads > 1:
            for k in prange(s.count, num_threads=num_threads, schedule="static"):
                _forward_set(x, gamma_c, beta_c, eps, out, xhat, mean_s, var_s, inv_s, moments, s, k)
        else:
            for k in range(s.count):
                _forward_set(x, gamma_c, beta_c, eps, out, xhat, mean_s, var_s, inv_s, moments, s, k)
    else:
        if num_threads > 1:
            for k in prange(planes, num_threads=num_threads, schedule="static"):
                plane_moments(x + k * s.hw, moments + 2 * k, s.hw)
        else:
            for k in range(planes):
                plane_moments(x + k * s.hw, moments + 2 * k, s.hw)
        for k in range(s.count):
            _merge(moments, eps, mean_s, var_s, inv_s, s, k)
        apply_kernel(x, gamma_c, beta_c, mean_s, inv_s, out, xhat, s, num_threads)
    dase_scratch_give(moments)
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
        plane_dots(dout + j * s.hw, xhat + j * s.hw, dots + 2 * j, s.hw)
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
    cdef double* dots = <double*> dase_scratch_take(2 * (planes + s.count) * sizeof(double))
    cdef double* means = dots + 2 * planes
    if dots == NULL:
        return -1
    if not s.by_channel and (num_threads <= 1 or s.count >= num_threads):
        if num_threads > 1:
            for k in prange(s.count, num_threads=num_threads, schedule="static"):
                _backward_set(dout, xhat, gamma_c, inv_s, dx, dots, means, s, k)
        else:
            for k in range(s.count):
                _backward_set(dout, xhat, gamma_c, inv_s, dx, dots, means, s, k)
    else:
        if num_threads > 1:
            for k in prange(planes, num_threads=num_threads, schedule="static"):
                plane_dots(dout + k * s.hw, xhat + k * s.hw, dots + 2 * k, s.hw)
        else:
            for k in range(planes):
                plane_dots(dout + k * s.hw, xhat + k * s.hw, dots + 2 * k, s.hw)
        for k in range(s.count):
            _means(dots, gamma_c, s, k, means + 2 * k, means + 2 * k + 1)
        if num_threads > 1:
            for k in prange(planes, num_threads=num_threads, schedule="static"):
                if constant_statistics:
                    _scale_plane(dout, gamma_c, inv_s, dx, s, k)
                else:
                    _dx_plane(dout, xhat, gamma_c, inv_s, means, dx, s, k)
        else:
            for k in range(planes):
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
    dase_scratch_give(dots)
    return 0


include "spatial_entries.pxi"
