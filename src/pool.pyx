"""Max pooling: the maximum of each window, its place, and the gradient sent back to that place.

The place is counted row by row within the window: ii * fw + jj, in a byte where the window has
no more than 256 elements. The first of equal maxima keeps it; the first NaN wins over all. A
plane (one channel of one image) belongs to one thread, and its windows are taken in order.
"""

include "common.pxi"
include "images.pxi"
from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memset

cdef extern from "pool2x2.h" nogil:
    void dase_pool2x2_float(const float *upper, const float *lower, Py_ssize_t n, float *out,
                            unsigned char *code) noexcept
    void dase_pool2x2_double(const double *upper, const double *lower, Py_ssize_t n, double *out,
                             unsigned char *code) noexcept
    void dase_unpool2x2_float(const float *dout, const unsigned char *code, Py_ssize_t n, float *upper,
                              float *lower) noexcept
    void dase_unpool2x2_double(const double *dout, const unsigned char *code, Py_ssize_t n, double *upper,
                               double *lower) noexcept

ctypedef fused place:
    uint8_t
    int32_t

cdef enum:
    COLUMNS = 64       # windows of a row that are compared at once, in buffers on the stack
    BYTE_PLACES = 256


cdef inline bint _halves(Windows* p) noexcept nogil:
    """Windows of 2 x 2, two apart: the case with vector code of its own."""
    return p.fh == 2 and p.fw == 2 and p.stride == 2


cdef inline void _compare(const real* x, Py_ssize_t step, Py_ssize_t n, int32_t code,
                          real* best, int32_t* which) noexcept nogil:
    cdef Py_ssize_t j
    cdef real v
    cdef bint replaces
    for j in range(n):
        v = x[j * step]
        # True for a larger number and for the first NaN; | and & keep the loop free of branches.
        replaces = (not v <= best[j]) & (best[j] == best[j])
        which[j] = code if replaces else which[j]
        best[j] = v if replaces else best[j]


cdef void _pool_row(const real* x, real* out, place* arg, Windows* p) noexcept nogil:
    """One row of windows; x is at the upper left corner of the first."""
    cdef real best[COLUMNS]
    cdef int32_t which[COLUMNS]
    cdef Py_ssize_t chunk, j0, n, ii, jj, j, s = p.stride
    cdef const real* at
    for chunk in range((p.ow + COLUMNS - 1) // COLUMNS):
        j0 = chunk * COLUMNS
        n = min(<Py_ssize_t> COLUMNS, p.ow - j0)
        for j in range(n):
            best[j] = x[(j0 + j) * s]
            which[j] = 0
        for ii in range(p.fh):
            for jj in range(p.fw):
                at = x + ii * p.w + jj + j0 * s
                # A step that the compiler knows becomes vector code.
                if s == 1:
                    _compare(at, 1, n, <int32_t> (ii * p.fw + jj), best, which)
                elif s == 2:
                    _compare(at, 2, n, <int32_t> (ii * p.fw + jj), best, which)
                else:
                    _compare(at, s, n, <int32_t> (ii * p.fw + jj), best, which)
        for j in range(n):
            out[j0 + j] = best[j]
            arg[j0 + j] = <place> which[j]


cdef void _pool_plane(const real* x, real* out, place* arg, Windows* p) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(p.oh):
        if place is uint8_t:
            if _halves(p):
                if real is float:
                    dase_pool2x2_float(x + 2 * i * p.w, x + (2 * i + 1) * p.w, p.ow, out + i * p.ow, arg + i * p.ow)
                else:
                    dase_pool2x2_double(x + 2 * i * p.w, x + (2 * i + 1) * p.w, p.ow, out + i * p.ow, arg + i * p.ow)
                continue
        _pool_row(x + i * p.stride * p.w, out + i * p.ow, arg + i * p.ow, p)


cdef void _unpool_plane(const real* dout, const place* arg, real* dx, Windows* p) noexcept nogil:
    cdef Py_ssize_t i, j, ii, k
    if place is uint8_t:
        if _halves(p):
            for i in range(p.oh):
                if real is float:
                    dase_unpool2x2_float(dout + i * p.ow, arg + i * p.ow, p.ow,
                                         dx + 2 * i * p.w, dx + (2 * i + 1) * p.w)
                else:
                    dase_unpool2x2_double(dout + i * p.ow, arg + i * p.ow, p.ow,
                                          dx + 2 * i * p.w, dx + (2 * i + 1) * p.w)
                if p.w % 2:
                    dx[2 * i * p.w + p.w - 1] = dx[(2 * i + 1) * p.w + p.w - 1] = 0
            if p.h % 2:
                memset(dx + (p.h - 1) * p.w, 0, p.w * sizeof(real))
            return
    memset(dx, 0, p.h * p.w * sizeof(real))
    for i in range(p.oh):
        for j in range(p.ow):
            k = arg[i * p.ow + j]
            ii = k // p.fw
            dx[(i * p.stride + ii) * p.w + j * p.stride + k - ii * p.fw] += dout[i * p.ow + j]


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
    cdef Py_ssize_t k, size = p.h * p.w, out_size = p.oh * p.ow
    if num_threads > 1:
        for k in prange(planes, num_threads=num_threads, schedule="static"):
            _unpool_plane(dout_nchw + k * out_size, arg_nchw + k * out_size, dx_nchw + k * size, p)
    else:
        for k in range(planes):
            _unpool_plane(dout_nchw + k * out_size, arg_nchw + k * out_size, dx_nchw + k * size, p)


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
    num_threads = _threads_for(cnp.PyArray_SIZE(x_nchw), num_threads)
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
    num_threads = _threads_for(cnp.PyArray_SIZE(dx_nchw), num_threads)
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
