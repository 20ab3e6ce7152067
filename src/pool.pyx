"""Max pooling: the maximum of each window, its place, and the gradient sent back to that place.

The place is counted row by row within the window: ii * fw + jj, in a byte where the window has
no more than 256 elements. The first of equal maxima keeps it; the first NaN wins over all. A
plane (one channel of one image) belongs to one thread, and its windows are taken in order.
"""

include "common.pxi"
include "images.pxi"
from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memset

cdef extern from "pool_rows.h" nogil:
    void pool_row_float(const float *x, Py_ssize_t w, Py_ssize_t fh, Py_ssize_t fw, Py_ssize_t s, Py_ssize_t n,
                             float *out, unsigned char *narrow, int *wide) noexcept
    void pool_row_double(const double *x, Py_ssize_t w, Py_ssize_t fh, Py_ssize_t fw, Py_ssize_t s, Py_ssize_t n,
                              double *out, unsigned char *narrow, int *wide) noexcept
    void pool2x2_float(const float *upper, const float *lower, Py_ssize_t n, float *out,
                            unsigned char *code) noexcept
    void pool2x2_double(const double *upper, const double *lower, Py_ssize_t n, double *out,
                             unsigned char *code) noexcept
    void unpool2x2_float(const float *dout, const unsigned char *code, Py_ssize_t n, float *upper,
                              float *lower) noexcept
    void unpool2x2_double(const double *dout, const unsigned char *code, Py_ssize_t n, double *upper,
                               double *lower) noexcept

ctypedef fused place:
    uint8_t
    int32_t

cdef enum:
    BYTE_PLACES = 256


cdef inline bint _halves(Windows* p) noexcept nogil:
    """Windows of 2 x 2, two apart: the case with vector code of its own."""
    return p.fh == 2 and p.fw == 2 and p.stride == 2


cdef inline void _pool_row(const real* x, real* out, place* arg, Windows* p) noexcept nogil:
    """One row of windows; x is at the upper left corner of the first."""
    cdef unsigned char* narrow = NULL
    cdef int* wide = NULL
    if place is uint8_t:
        narrow = <unsigned char*> arg
    else:
        wide = <int*> arg
    if real is float:
        pool_row_float(x, p.w, p.fh, p.fw, p.stride, p.ow, out, narrow, wide)
    else:
        pool_row_double(x, p.w, p.fh, p.fw, p.stride, p.ow, out, narrow, wide)


cdef void _pool_plane(const real* x, real* out, place* arg, Windows* p) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(p.oh):
        if place is uint8_t:
            if _halves(p):
                if real is float:
                    pool2x2_float(x + 2 * i * p.w, x + (2 * i + 1) * p.w, p.ow, out + i * p.ow, arg + i * p.ow)
                else:
                    pool2x2_double(x + 2 * i * p.w, x + (2 * i + 1) * p.w, p.ow, out + i * p.ow, arg + i * p.ow)
                continue
        _pool_row(x + i * p.stride * p.w, out + i * p.ow, arg + i * p.ow, p)


cdef inline Py_ssize_t _offset(Py_ssize_t k, Windows* p) noexcept nogil:
    """From the corner of a window to its k-th element, in the image."""
    return k // p.fw * p.w + k % p.fw


cdef void _unpool_plane(const real* dout, const place* arg, real* dx, const Py_ssize_t* offsets,
                        Windows* p) noexcept nogil:
    """offsets: of the places that a byte can hold, since a division for each window takes longest."""
    cdef Py_ssize_t i, j
    cdef real* corner
    if place is uint8_t:
        if _halves(p):
            for i in range(p.oh):
                if real is float:
                    unpool2x2_float(dout + i * p.ow, arg + i * p.ow, p.ow,
                                         dx + 2 * i * p.w, dx + (2 * i + 1) * p.w)
                else:
                    unpool2x2_double(dout + i * p.ow, arg + i * p.ow, p.ow,
                                          dx + 2 * i * p.w, dx + (2 * i + 1) * p.w)
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
    const real* x_nchw,      # IN
    real* out_nchw,          # OUT
    place* arg_nchw,         # OUT
    Windows* p, Py_ssize_t planes, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t k, size = p.h * p.w, out_size = p.oh * p.ow
    if num_threads > 1:
        for k in prange(planes, num_threads=num_threads, schedule="static"):
            _pool_plane(x_nchw + k * size, out_nchw + k * out_size, arg_nchw + k * out_size, p)
    else:
        for k in range(planes):
            _pool_plane(x_nchw + k * size, out_nchw + k * out_size, arg_nchw + k * out_size, p)


cdef void unpool_kernel(
    const real* dout_nchw,   # IN
    const place* arg_nchw,   # IN, each below fh * fw
    real* dx_nchw,           # OUT
    Windows* p, Py_ssize_t planes, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t[BYTE_PLACES] offsets
    cdef Py_ssize_t k, size = p.h * p.w, out_size = p.oh * p.ow
    for k in range(BYTE_PLACES):
        offsets[k] = _offset(k, p)
    if num_threads > 1:
        for k in prange(planes, num_threads=num_threads, schedule="static"):
            _unpool_plane(dout_nchw + k * out_size, arg_nchw + k * out_size, dx_nchw + k * size, offsets, p)
    else:
        for k in range(planes):
            _unpool_plane(dout_nchw + k * out_size, arg_nchw + k * out_size, dx_nchw + k * size, offsets, p)


cdef Py_ssize_t _highest(const place* arg, Py_ssize_t size) noexcept nogil:
    """The largest place; a negative one counts as huge."""
    cdef Py_ssize_t i
    cdef place low = 0, high = 0
    for i in range(size):
        low = min(low, arg[i])
        high = max(high, arg[i])
    return high if low >= 0 else 1 << 40


def max_pool_forward(
    cnp.ndarray x_nchw not None,    # IN
    cnp.ndarray out_nchw not None,  # OUT
    cnp.ndarray arg_nchw not None,  # OUT
    Py_ssize_t fh, Py_ssize_t fw, Py_ssize_t stride, int num_threads,
):
    """out = the maximum of each window, arg = its place: uint8 up to 256 elements, else int32."""
    cdef str name = "max_pool_forward"
    cdef int t = _real_type(name, "x", x_nchw)
    cdef Windows p
    cdef bint byte = fh * fw <= BYTE_PLACES
    _check(name, "x", x_nchw, t, 4)
    cdef Py_ssize_t n = cnp.PyArray_DIM(x_nchw, 0), c = cnp.PyArray_DIM(x_nchw, 1)
    _windows(&p, name, cnp.PyArray_DIM(x_nchw, 2), cnp.PyArray_DIM(x_nchw, 3), fh, fw, 0, stride)
    _check_images(name, "out", out_nchw, t, n, c, p.oh, p.ow, True)
    _check_images(name, "arg", arg_nchw, cnp.NPY_UINT8 if byte else cnp.NPY_INT32, n, c, p.oh, p.ow, True)
    num_threads = _threads_for(x_nchw, 100, num_threads)
    cdef void* xp = cnp.PyArray_DATA(x_nchw)
    cdef void* op = cnp.PyArray_DATA(out_nchw)
    cdef void* ap = cnp.PyArray_DATA(arg_nchw)
    with nogil:
        if t == cnp.NPY_FLOAT:
            if byte:
                pool_kernel(<const float*> xp, <float*> op, <uint8_t*> ap, &p, n * c, num_threads)
            else:
                pool_kernel(<const float*> xp, <float*> op, <int32_t*> ap, &p, n * c, num_threads)
        else:
            if byte:
                pool_kernel(<const double*> xp, <double*> op, <uint8_t*> ap, &p, n * c, num_threads)
            else:
                pool_kernel(<const double*> xp, <double*> op, <int32_t*> ap, &p, n * c, num_threads)


def max_pool_backward(
    cnp.ndarray dout_nchw not None,  # IN
    cnp.ndarray arg_nchw not None,   # IN
    cnp.ndarray dx_nchw not None,    # OUT
    Py_ssize_t fh, Py_ssize_t fw, Py_ssize_t stride, int num_threads,
):
    """dx = dout at the place of each maximum, summed where windows overlap, and 0 elsewhere."""
    cdef str name = "max_pool_backward"
    cdef int t = _real_type(name, "dout", dout_nchw)
    cdef Windows p
    cdef bint byte = fh * fw <= BYTE_PLACES
    _check_out(name, "dx", dx_nchw, t, 4)
    cdef Py_ssize_t n = cnp.PyArray_DIM(dx_nchw, 0), c = cnp.PyArray_DIM(dx_nchw, 1), highest
    _windows(&p, name, cnp.PyArray_DIM(dx_nchw, 2), cnp.PyArray_DIM(dx_nchw, 3), fh, fw, 0, stride)
    _check_images(name, "dout", dout_nchw, t, n, c, p.oh, p.ow, False)
    _check_images(name, "arg", arg_nchw, cnp.NPY_UINT8 if byte else cnp.NPY_INT32, n, c, p.oh, p.ow, False)
    num_threads = _threads_for(dx_nchw, 110, num_threads)
    cdef void* gp = cnp.PyArray_DATA(dout_nchw)
    cdef void* ap = cnp.PyArray_DATA(arg_nchw)
    cdef void* dp = cnp.PyArray_DATA(dx_nchw)
    with nogil:
        if byte:
            highest = _highest(<const uint8_t*> ap, n * c * p.oh * p.ow)
        else:
            highest = _highest(<const int32_t*> ap, n * c * p.oh * p.ow)
    if highest >= fh * fw:
        raise ValueError(f"{name}: arg holds a place outside the window of {fh} x {fw}")
    with nogil:
        if t == cnp.NPY_FLOAT:
            if byte:
                unpool_kernel(<const float*> gp, <const uint8_t*> ap, <float*> dp, &p, n * c, num_threads)
            else:
                unpool_kernel(<const float*> gp, <const int32_t*> ap, <float*> dp, &p, n * c, num_threads)
        else:
            if byte:
                unpool_kernel(<const double*> gp, <const uint8_t*> ap, <double*> dp, &p, n * c, num_threads)
            else:
                unpool_kernel(<const double*> gp, <const int32_t*> ap, <double*> dp, &p, n * c, num_threads)
