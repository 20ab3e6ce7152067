"""Dropout, given the uniform numbers: kernels draw none."""

include "common.pxi"


cdef void dropout_forward_kernel(
    const real* x,          # IN
    const double* uniform,  # IN
    double p,               # the probability of keeping a unit
    real* mask,             # OUT
    real* out,              # OUT
    Py_ssize_t size, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef real scale = <real> (1.0 / p)
    if num_threads > 1:
        for i in prange(size, num_threads=num_threads, schedule="static"):
            mask[i] = scale if uniform[i] < p else 0
            out[i] = x[i] * mask[i]
    else:
        for i in range(size):
            mask[i] = scale if uniform[i] < p else 0
            out[i] = x[i] * mask[i]


cdef void dropout_backward_kernel(
    const real* dout,  # IN
    const real* mask,  # IN
    real* dx,          # OUT
    Py_ssize_t size, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t i
    if num_threads > 1:
        for i in prange(size, num_threads=num_threads, schedule="static"):
            dx[i] = dout[i] * mask[i]
    else:
        for i in range(size):
            dx[i] = dout[i] * mask[i]


def dropout_forward(cnp.ndarray x not None, cnp.ndarray uniform not None, double p, cnp.ndarray mask not None,
                    cnp.ndarray out not None, int num_threads):
    """mask = (uniform < p) / p, out = x * mask."""
    cdef str name = "dropout_forward"
    cdef int t = _real_type(name, "x", x)
    cdef Py_ssize_t size = cnp.PyArray_SIZE(x)
    _check(name, "x", x, t)
    _check(name, "uniform", uniform, cnp.NPY_DOUBLE)
    _check_size(name, "uniform", uniform, size)
    _check_out(name, "mask", mask, t)
    _check_size(name, "mask", mask, size)
    _check_out(name, "out", out, t)
    _check_size(name, "out", out, size)
    if not 0 < p <= 1:
        raise ValueError(f"{name}: p is {p}, expected a probability of keeping in (0, 1]")
    num_threads = _threads_for(x, 200, num_threads)
    cdef void* xp = cnp.PyArray_DATA(x)
    cdef const double* up = <const double*> cnp.PyArray_DATA(uniform)
    cdef void* mp = cnp.PyArray_DATA(mask)
    cdef void* op = cnp.PyArray_DATA(out)
    with nogil:
        if t == cnp.NPY_FLOAT:
            dropout_forward_kernel(<const float*> xp, up, p, <float*> mp, <float*> op, size, num_threads)
        else:
            dropout_forward_kernel(<const double*> xp, up, p, <double*> mp, <double*> op, size, num_threads)


def dropout_backward(cnp.ndarray dout not None, cnp.ndarray mask not None, cnp.ndarray dx not None, int num_threads):
    """dx = dout * mask."""
    cdef str name = "dropout_backward"
    cdef int t = _real_type(name, "dout", dout)
    cdef Py_ssize_t size = cnp.PyArray_SIZE(dout)
    _check(name, "dout", dout, t)
    _check(name, "mask", mask, t)
    _check_size(name, "mask", mask, size)
    _check_out(name, "dx", dx, t)
    _check_size(name, "dx", dx, size)
    num_threads = _threads_for(dout, 150, num_threads)
    cdef void* gp = cnp.PyArray_DATA(dout)
    cdef void* mp = cnp.PyArray_DATA(mask)
    cdef void* dp = cnp.PyArray_DATA(dx)
    with nogil:
        if t == cnp.NPY_FLOAT:
            dropout_backward_kernel(<const float*> gp, <const float*> mp, <float*> dp, size, num_threads)
        else:
            dropout_backward_kernel(<const double*> gp, <const double*> mp, <double*> dp, size, num_threads)
