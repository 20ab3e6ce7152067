"""Max pooling: the maximum of each window, its place, and the gradient sent back to that place.

The place is counted row by row within the window: ii * fw + jj, in a byte where the window has
no more than 256 elements. The first of equal maxima counts; the first NaN wins over all. A
plane (one channel of one image) belongs to one thread, and its windows are taken in order.

Legend: N images, C channels, H x W pixels; windows of fh x fw, stride apart, H' x W' of them.
"""

cimport cython
from cython.parallel cimport prange
from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memset

from checks cimport aligned, images
from real cimport real
from sharing cimport threads_for
from windows cimport Windows, set_windows

cdef extern from "pool_rows.h" nogil:
    enum:
        HAVE_SHUFFLES
    void pool_row(const void *x, Py_ssize_t w, Py_ssize_t fh, Py_ssize_t fw, Py_ssize_t s, Py_ssize_t n,
                  void *out, unsigned char *bytes, int32_t *words) noexcept
    void pool_2x2(const void *upper, const void *lower, Py_ssize_t n, void *out, unsigned char *arg) noexcept
    void unpool_2x2(const void *dout, const unsigned char *arg, Py_ssize_t n, void *upper, void *lower) noexcept

ctypedef fused place:
    uint8_t
    int32_t

cdef enum:
    BYTE_PLACES = 256


@cython.boundscheck(False)
cdef inline const place *_places_start(const place[:, :, :, ::1] arg_nchw) noexcept nogil:
    return &arg_nchw[0, 0, 0, 0]


cdef int _check_places(str function, const place[:, :, :, ::1] arg_nchw, Py_ssize_t n, Py_ssize_t c,
                       const Windows *p) except -1:
    cdef Py_ssize_t k
    if arg_nchw.shape[0] != n or arg_nchw.shape[1] != c or arg_nchw.shape[2] != p.oh or arg_nchw.shape[3] != p.ow:
        raise ValueError(f"{function}: arg_nchw has shape {tuple([arg_nchw.shape[k] for k in range(4)])}, "
                         f"expected {(n, c, p.oh, p.ow)}")
    if n * c * p.oh * p.ow == 0:
        return 0
    return aligned(function, "arg_nchw", _places_start(arg_nchw), sizeof(place))


cdef inline bint _halves(Windows *p) noexcept nogil:
    """Windows of 2 x 2, two apart: the case with vector code of its own."""
    return p.fh == 2 and p.fw == 2 and p.stride == 2


cdef inline void _plain_pool_row(const real *x, real *out, place *arg, Windows *p) noexcept nogil:
    """A row of windows, where the compiler has no vectors."""
    cdef Py_ssize_t j, ii, jj, which
    cdef real best, value
    for j in range(p.ow):
        best, which = x[j * p.stride], 0
        for ii in range(p.fh):
            for jj in range(p.fw):
                value = x[ii * p.w + jj + j * p.stride]
                if not value <= best and best == best:
                    best, which = value, ii * p.fw + jj
        out[j], arg[j] = best, <place> which


cdef inline void _plain_unpool_2x2(const real *dout, const uint8_t *arg, Py_ssize_t n, real *upper,
                                   real *lower) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        upper[2 * j] = dout[j] if arg[j] == 0 else 0
        upper[2 * j + 1] = dout[j] if arg[j] == 1 else 0
        lower[2 * j] = dout[j] if arg[j] == 2 else 0
        lower[2 * j + 1] = dout[j] if arg[j] == 3 else 0


cdef void _pool_plane(const real *x, real *out, place *arg, Windows *p) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(p.oh):
        if not HAVE_SHUFFLES:
            _plain_pool_row(x + i * p.stride * p.w, out + i * p.ow, arg + i * p.ow, p)
        elif place is uint8_t:
            if _halves(p):
                pool_2x2(x + 2 * i * p.w, x + (2 * i + 1) * p.w, p.ow, out + i * p.ow, arg + i * p.ow)
            else:
                pool_row(x + i * p.stride * p.w, p.w, p.fh, p.fw, p.stride, p.ow, out + i * p.ow, arg + i * p.ow, NULL)
        else:
            pool_row(x + i * p.stride * p.w, p.w, p.fh, p.fw, p.stride, p.ow, out + i * p.ow, NULL, arg + i * p.ow)


cdef inline Py_ssize_t _offset(Py_ssize_t k, Windows *p) noexcept nogil:
    """From the corner of a window to its k-th element, in the image."""
    return k // p.fw * p.w + k % p.fw


cdef void _unpool_plane(const real *dout, const place *arg, real *dx, const Py_ssize_t *offsets,
                        Windows *p) noexcept nogil:
    """offsets: of the places that a byte can hold, since a division for each window takes longest."""
    cdef Py_ssize_t i, j
    cdef real *corner
    if place is uint8_t:
        if _halves(p):
            for i in range(p.oh):
                if HAVE_SHUFFLES:
                    unpool_2x2(dout + i * p.ow, arg + i * p.ow, p.ow, dx + 2 * i * p.w, dx + (2 * i + 1) * p.w)
                else:
                    _plain_unpool_2x2(dout + i * p.ow, arg + i * p.ow, p.ow, dx + 2 * i * p.w, dx + (2 * i + 1) * p.w)
                if p.w % 2:
                    dx[2 * i * p.w + p.w - 1] = dx[(2 * i + 1) * p.w + p.w - 1] = 0
            if p.h % 2:
                memset(dx + (p.h - 1) * p.w, 0, p.w * sizeof(real))
            return
    memset(dx, 0, p.h * p.w * sizeof(real))
    for i in range(p.oh):
        for j in range(p.ow):
            corner = dx + i * p.stride * p.w + j * p.stride
            if place is uint8_t:
                corner[offsets[arg[i * p.ow + j]]] += dout[i * p.ow + j]
            else:
                corner[_offset(arg[i * p.ow + j], p)] += dout[i * p.ow + j]


cdef void pool_kernel(
    const real[:, :, :, ::1] x_nchw,
    real[:, :, :, ::1] out_nchw,
    place[:, :, :, ::1] arg_nchw,
    Windows *p, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t k, c = x_nchw.shape[1], planes = x_nchw.shape[0] * c
    if num_threads == 1:    # a parallel region costs half a microsecond, of one thread too
        for k in range(planes):
            _pool_plane(&x_nchw[k // c, k % c, 0, 0], &out_nchw[k // c, k % c, 0, 0], &arg_nchw[k // c, k % c, 0, 0], p)
    else:
        for k in prange(planes, num_threads=num_threads, schedule="static"):
            _pool_plane(&x_nchw[k // c, k % c, 0, 0], &out_nchw[k // c, k % c, 0, 0], &arg_nchw[k // c, k % c, 0, 0], p)


cdef void unpool_kernel(
    const real[:, :, :, ::1] dout_nchw,
    const place[:, :, :, ::1] arg_nchw,     # each below fh * fw
    real[:, :, :, ::1] dx_nchw,
    Windows *p, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t[BYTE_PLACES] offsets
    cdef Py_ssize_t k, c = dx_nchw.shape[1], planes = dx_nchw.shape[0] * c
    for k in range(BYTE_PLACES):
        offsets[k] = _offset(k, p)
    if num_threads == 1:
        for k in range(planes):
            _unpool_plane(&dout_nchw[k // c, k % c, 0, 0], &arg_nchw[k // c, k % c, 0, 0],
                          &dx_nchw[k // c, k % c, 0, 0], offsets, p)
    else:
        for k in prange(planes, num_threads=num_threads, schedule="static"):
            _unpool_plane(&dout_nchw[k // c, k % c, 0, 0], &arg_nchw[k // c, k % c, 0, 0],
                          &dx_nchw[k // c, k % c, 0, 0], offsets, p)


cdef bint _outside(const place[:, :, :, ::1] arg_nchw, Py_ssize_t size) noexcept nogil:
    """Whether a place is not one of a window's `size` elements."""
    cdef Py_ssize_t i, count = arg_nchw.shape[0] * arg_nchw.shape[1] * arg_nchw.shape[2] * arg_nchw.shape[3]
    cdef const place *arg = _places_start(arg_nchw)
    cdef place low = 0, high = 0
    for i in range(count):
        low = min(low, arg[i])
        high = max(high, arg[i])
    return low < 0 or high >= size


def max_pool_forward(
    const real[:, :, :, ::1] x_nchw not None,
    real[:, :, :, ::1] out_nchw not None,
    arg_nchw not None,  # uint8 or int32, written
    Py_ssize_t fh, Py_ssize_t fw, Py_ssize_t stride, int num_threads,
):
    """out = the maximum of each window, arg = its place: uint8 up to 256 elements, else int32."""
    cdef Windows p
    cdef Py_ssize_t n = x_nchw.shape[0], c = x_nchw.shape[1], h = x_nchw.shape[2], w = x_nchw.shape[3]
    cdef uint8_t[:, :, :, ::1] byte_nchw
    cdef int32_t[:, :, :, ::1] word_nchw
    set_windows(&p, "max_pool_forward", h, w, fh, fw, 0, stride)
    images("max_pool_forward", "x_nchw", x_nchw, n, c, p.h, p.w)
    images("max_pool_forward", "out_nchw", out_nchw, n, c, p.oh, p.ow)
    num_threads = threads_for(n * c * h * w * sizeof(real), 100, num_threads)
    if fh * fw <= BYTE_PLACES:
        byte_nchw = arg_nchw
        _check_places("max_pool_forward", byte_nchw, n, c, &p)
        with nogil:
            pool_kernel(x_nchw, out_nchw, byte_nchw, &p, num_threads)
    else:
        word_nchw = arg_nchw
        _check_places("max_pool_forward", word_nchw, n, c, &p)
        with nogil:
            pool_kernel(x_nchw, out_nchw, word_nchw, &p, num_threads)


cdef int _unpool(const real[:, :, :, ::1] dout_nchw, const place[:, :, :, ::1] arg_nchw,
                 real[:, :, :, ::1] dx_nchw, Windows *p, int num_threads) except -1:
    _check_places("max_pool_backward", arg_nchw, dx_nchw.shape[0], dx_nchw.shape[1], p)
    cdef bint outside
    with nogil:
        outside = _outside(arg_nchw, p.fh * p.fw)
        if not outside:
            unpool_kernel(dout_nchw, arg_nchw, dx_nchw, p, num_threads)
    if outside:
        raise ValueError(f"max_pool_backward: arg holds a place outside the window of {p.fh} x {p.fw}")
    return 0


def max_pool_backward(
    const real[:, :, :, ::1] dout_nchw not None,
    arg_nchw not None,  # uint8 or int32, read
    real[:, :, :, ::1] dx_nchw not None,
    Py_ssize_t fh, Py_ssize_t fw, Py_ssize_t stride, int num_threads,
):
    """dx = dout at the place of each maximum, summed where windows overlap, and 0 elsewhere."""
    cdef Windows p
    cdef Py_ssize_t n = dx_nchw.shape[0], c = dx_nchw.shape[1], h = dx_nchw.shape[2], w = dx_nchw.shape[3]
    cdef const uint8_t[:, :, :, ::1] byte_nchw
    cdef const int32_t[:, :, :, ::1] word_nchw
    set_windows(&p, "max_pool_backward", h, w, fh, fw, 0, stride)
    images("max_pool_backward", "dx_nchw", dx_nchw, n, c, p.h, p.w)
    images("max_pool_backward", "dout_nchw", dout_nchw, n, c, p.oh, p.ow)
    num_threads = threads_for(n * c * h * w * sizeof(real), 110, num_threads)
    if fh * fw <= BYTE_PLACES:
        byte_nchw = arg_nchw
        _unpool(dout_nchw, byte_nchw, dx_nchw, &p, num_threads)
    else:
        word_nchw = arg_nchw
        _unpool(dout_nchw, word_nchw, dx_nchw, &p, num_threads)
