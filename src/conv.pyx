"""Convolution: entries for float32 and float64.

Legend: N images, C channels, H x W pixels; F filters of HH x WW; outputs of H' x W' with
H' = (H + 2 pad - HH) // stride + 1. Arrays are C-contiguous, aligned, in native byte order, all of
one dtype; outputs are allocated by the caller and must not overlap the inputs. The bits of a
result do not depend on num_threads.
"""

from cython.parallel cimport threadid
from libc.string cimport memset

include "common.pxi"
include "conv/layout.pxi"
include "conv/product.pxi"
include "conv/weights.pxi"


cdef int _check_4d(str me, str name, cnp.ndarray array, Py_ssize_t d0, Py_ssize_t d1, Py_ssize_t d2,
                   Py_ssize_t d3) except -1:
    if (cnp.PyArray_DIM(array, 0) != d0 or cnp.PyArray_DIM(array, 1) != d1
            or cnp.PyArray_DIM(array, 2) != d2 or cnp.PyArray_DIM(array, 3) != d3):
        raise ValueError(f"{me}: {name} has shape {(<object>array).shape}, expected {(d0, d1, d2, d3)}")
    return 0


cdef int _shape(Shape *s, str me, cnp.ndarray x_nchw, str x_name, cnp.ndarray w_fchw, str w_name, cnp.ndarray out_nfhw,
                str out_name, Py_ssize_t stride, Py_ssize_t pad) except -1:
    """The sizes of a call, after the three arrays (of rank 4) were held against each other."""
    if stride < 1 or stride > 1 << 30 or pad < 0 or pad > 1 << 30:
        raise ValueError(f"{me}: stride is {stride} and pad {pad}, expected at least 1 and at least 0")
    s.n, s.c = cnp.PyArray_DIM(x_nchw, 0), cnp.PyArray_DIM(x_nchw, 1)
    s.h, s.w = cnp.PyArray_DIM(x_nchw, 2), cnp.PyArray_DIM(x_nchw, 3)
    s.f, s.fh, s.fw = cnp.PyArray_DIM(w_fchw, 0), cnp.PyArray_DIM(w_fchw, 2), cnp.PyArray_DIM(w_fchw, 3)
    s.stride, s.pad = stride, pad
    if s.h < 1 or s.w < 1 or s.fh < 1 or s.fw < 1 or s.h + 2 * pad < s.fh or s.w + 2 * pad < s.fw:
        raise ValueError(f"{me}: {w_name} of shape {(<object>w_fchw).shape} does not fit into "
                         f"{x_name} of shape {(<object>x_nchw).shape} with pad {pad}")
    s.oh, s.ow = (s.h + 2 * pad - s.fh) // stride + 1, (s.w + 2 * pad - s.fw) // stride + 1
    _check_4d(me, w_name, w_fchw, s.f, s.c, s.fh, s.fw)
    _check_4d(me, out_name, out_nfhw, s.n, s.f, s.oh, s.ow)
    return 0


def conv_forward(
    cnp.ndarray x_nchw not None,    # IN
    cnp.ndarray w_fchw not None,    # IN
    cnp.ndarray b_f not None,       # IN
    cnp.ndarray out_nfhw not None,  # OUT
    Py_ssize_t stride, Py_ssize_t pad,
    bint relu,
    int num_threads,
):
    """out[n, f] = b[f] + sum over c of x[n, c] correlated with w[f, c]; max(0, out) when relu is true."""
    cdef str me = "conv_forward"
    cdef int t = _real_type(me, "x_nchw", x_nchw), status
    cdef Shape s
    _check(me, "x_nchw", x_nchw, t, 4)
    _check(me, "w_fchw", w_fchw, t, 4)
    _check(me, "b_f", b_f, t, 1)
    _check_out(me, "out_nfhw", out_nfhw, t, 4)
    _shape(&s, me, x_nchw, "x_nchw", w_fchw, "w_fchw", out_nfhw, "out_nfhw", stride, pad)
    _check_size(me, "b_f", b_f, s.f)
    cdef void* xp = cnp.PyArray_DATA(x_nchw)
    cdef void* wp = cnp.PyArray_DATA(w_fchw)
    cdef void* bp = cnp.PyArray_DATA(b_f)
    cdef void* op = cnp.PyArray_DATA(out_nfhw)
    with nogil:
        if t == cnp.NPY_FLOAT:
            status = conv_forward_kernel(&s, <const float*> xp, <const float*> wp, <const float*> bp, <float*> op,
                                         relu, num_threads)
        else:
            status = conv_forward_kernel(&s, <const double*> xp, <const double*> wp, <const double*> bp, <double*> op,
                                         relu, num_threads)
    if status != 0:
        raise MemoryError(f"{me}: no memory for the layout of an image")


def conv_backward_dx(
    cnp.ndarray dout_nfhw not None,  # IN
    cnp.ndarray w_fchw not None,     # IN
    cnp.ndarray dx_nchw not None,    # OUT
    Py_ssize_t stride, Py_ssize_t pad,
    int num_threads,
):
    """dx: what each pixel gets back from all outputs that it went into."""
    cdef str me = "conv_backward_dx"
    cdef int t = _real_type(me, "dout_nfhw", dout_nfhw), status
    cdef Shape s
    _check(me, "dout_nfhw", dout_nfhw, t, 4)
    _check(me, "w_fchw", w_fchw, t, 4)
    _check_out(me, "dx_nchw", dx_nchw, t, 4)
    _shape(&s, me, dx_nchw, "dx_nchw", w_fchw, "w_fchw", dout_nfhw, "dout_nfhw", stride, pad)
    cdef void* gp = cnp.PyArray_DATA(dout_nfhw)
    cdef void* wp = cnp.PyArray_DATA(w_fchw)
    cdef void* dp = cnp.PyArray_DATA(dx_nchw)
    with nogil:
        if t == cnp.NPY_FLOAT:
            status = conv_backward_dx_kernel(&s, <const float*> gp, <const float*> wp, <float*> dp, num_threads)
        else:
            status = conv_backward_dx_kernel(&s, <const double*> gp, <const double*> wp, <double*> dp, num_threads)
    if status != 0:
        raise MemoryError(f"{me}: no memory for the layout of an image")


cdef Py_ssize_t _backward_dw(cnp.ndarray x_nchw, cnp.ndarray dout_nfhw, cnp.ndarray dw_fchw, cnp.ndarray db_f,
                             Py_ssize_t stride, Py_ssize_t pad, int num_threads, cnp.ndarray scratch,
                             bint sizing) except -1:
    """Bytes of scratch that the call takes; with `sizing` nothing else is done."""
    cdef str me = "conv_backward_dw"
    cdef int t = _real_type(me, "x_nchw", x_nchw), status
    cdef Py_ssize_t size = 0
    cdef Shape s
    _check(me, "x_nchw", x_nchw, t, 4)
    _check(me, "dout_nfhw", dout_nfhw, t, 4)
    _check_out(me, "dw_fchw", dw_fchw, t, 4)
    _check_out(me, "db_f", db_f, t, 1)
    _shape(&s, me, x_nchw, "x_nchw", dw_fchw, "dw_fchw", dout_nfhw, "dout_nfhw", stride, pad)
    _check_size(me, "db_f", db_f, s.f)
    cdef void* xp = cnp.PyArray_DATA(x_nchw)
    cdef void* gp = cnp.PyArray_DATA(dout_nfhw)
    cdef void* wp = cnp.PyArray_DATA(dw_fchw)
    cdef void* bp = cnp.PyArray_DATA(db_f)
    cdef char* given = NULL
    if s.n == 0:
        if not sizing:
            memset(wp, 0, cnp.PyArray_NBYTES(dw_fchw))
            memset(bp, 0, cnp.PyArray_NBYTES(db_f))
        return 0
    if t == cnp.NPY_FLOAT:
        conv_backward_dw_kernel(&s, <const float*> xp, <const float*> gp, <float*> wp, <float*> bp, num_threads,
                                NULL, &size)
    else:
        conv_backward_dw_kernel(&s, <const double*> xp, <const double*> gp, <double*> wp, <double*> bp, num_threads,
                                NULL, &size)
    if sizing:
        return size
    if scratch is not None:
        _check_out(me, "scratch", scratch, cnp.NPY_UINT8, 1)
        given = <char*> cnp.PyArray_DATA(scratch)
        if cnp.PyArray_SIZE(scratch) < size or <size_t> given % 64:
            raise ValueError(f"{me}: scratch has {cnp.PyArray_SIZE(scratch)} bytes, expected {size} that begin with a "
                             "line of the cache")
    with nogil:
        if t == cnp.NPY_FLOAT:
            status = conv_backward_dw_kernel(&s, <const float*> xp, <const float*> gp, <float*> wp, <float*> bp,
                                             num_threads, given, NULL)
        else:
            status = conv_backward_dw_kernel(&s, <const double*> xp, <const double*> gp, <double*> wp, <double*> bp,
                                             num_threads, given, NULL)
    if status != 0:
        raise MemoryError(f"{me}: no memory for partial sums")
    return size


def conv_backward_dw(
    cnp.ndarray x_nchw not None,     # IN
    cnp.ndarray dout_nfhw not None,  # IN
    cnp.ndarray dw_fchw not None,    # OUT
    cnp.ndarray db_f not None,       # OUT
    Py_ssize_t stride, Py_ssize_t pad,
    int num_threads,
    cnp.ndarray scratch=None,        # INOUT: bytes of the caller's; with them no memory is taken
):
    """dw[f, c, i, j] = sum of dout[n, f] times the pixels under tap (i, j); db[f] = sum of dout[:, f]."""
    _backward_dw(x_nchw, dout_nfhw, dw_fchw, db_f, stride, pad, num_threads, scratch, False)


def conv_backward_dw_scratch(cnp.ndarray x_nchw not None, cnp.ndarray dout_nfhw not None, cnp.ndarray dw_fchw not None,
                             cnp.ndarray db_f not None, Py_ssize_t stride, Py_ssize_t pad, int num_threads):
    """Bytes of scratch that `conv_backward_dw` takes for these arguments."""
    return _backward_dw(x_nchw, dout_nfhw, dw_fchw, db_f, stride, pad, num_threads, None, True)
