"""ReLU."""

include "common.pxi"


cdef void relu_forward_kernel(
    const real* x,   # IN
    real* out,       # OUT
    Py_ssize_t size, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t i
    if num_threads > 1:
        for i in prange(size, num_threads=num_threads, schedule="static"):
            # A comparison with NaN is false, so NaN passes through.
            out[i] = 0 if x[i] <= 0 else x[i]
    else:
        for i in range(size):
            out[i] = 0 if x[i] <= 0 else x[i]


cdef inline real _pass(real upstream, real x) noexcept nogil:
    # dout is read on both sides of the choice: a load under a condition is slow as a vector.
    return upstream if x > 0 else 0


cdef void relu_backward_kernel(
    const real* dout,  # IN
    const real* x,     # IN
    real* dx,          # OUT
    Py_ssize_t size, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t i
    if num_threads > 1:
        for i in prange(size, num_threads=num_threads, schedule="static"):
            dx[i] = _pass(dout[i], x[i])
    else:
        for i in range(size):
            dx[i] = _pass(dout[i], x[i])


def relu_forward(cnp.ndarray x not None, cnp.ndarray out not None, int num_threads):
    """out = max(x, 0), elementwise."""
    cdef int t = _real_type("relu_forward", "x", x)
    cdef Py_ssize_t size = cnp.PyArray_SIZE(x)
    _check("relu_forward", "x", x, t)
    _check_out("relu_forward", "out", out, t)
    _check_size("relu_forward", "out", out, size)
    num_threads = _threads_for(x, 100, num_threads)
    cdef void* xp = cnp.PyArray_DATA(x)
    cdef void* op = cnp.PyArray_DATA(out)
    with nogil:
        if t == cnp.NPY_FLOAT:
            relu_forward_kernel(<const float*> xp, <float*> op, size, num_threads)
        else:
            relu_forward_kernel(<const double*> xp, <double*> op, size, num_threads)


def relu_backward(cnp.ndarray dout not None, cnp.ndarray x not None, cnp.ndarray dx not None, int num_threads):
    """dx = dout where x > 0, else 0."""
    cdef int t = _real_type("relu_backward", "x", x)
    cdef Py_ssize_t size = cnp.PyArray_SIZE(x)
    _check("relu_backward", "x", x, t)
    _check("relu_backward", "dout", dout, t)
    _check_size("relu_backward", "dout", dout, size)
    _check_out("relu_backward", "dx", dx, t)
    _check_size("relu_backward", "dx", dx, size)
    num_threads = _threads_for(x, 100, num_threads)
    cdef void* gp = cnp.PyArray_DATA(dout)
    cdef void* xp = cnp.PyArray_DATA(x)
    cdef void* dp = cnp.PyArray_DATA(dx)
    with nogil:
        if t == cnp.NPY_FLOAT:
            relu_backward_kernel(<const float*> gp, <const float*> xp, <float*> dp, size, num_threads)
        else:
            relu_backward_kernel(<const double*> gp, <const double*> xp, <double*> dp, size, num_threads)
