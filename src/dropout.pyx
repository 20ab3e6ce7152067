"""Dropout, given the uniform numbers: kernels draw none."""

from cython.parallel cimport prange

from arithmetic cimport part_start
from checks cimport vector, vector_start
from real cimport real
from sharing cimport threads_for


cdef void dropout_range(const real* x, const double* uniform, double p, real* mask, real* out, Py_ssize_t first,
                        Py_ssize_t last) noexcept nogil:
    cdef Py_ssize_t i
    cdef real scale = <real> (1.0 / p)
    for i in range(first, last):
        mask[i] = scale if uniform[i] < p else 0
        out[i] = x[i] * mask[i]


def dropout_forward(
    const real[::1] x not None,          # IN
    const double[::1] uniform not None,  # IN
    double p,                            # the probability of keeping a unit
    real[::1] mask not None,             # OUT
    real[::1] out not None,              # OUT
    int num_threads,
):
    """mask = (uniform < p) / p, out = x * mask."""
    cdef str me = "dropout_forward"
    cdef Py_ssize_t size = x.shape[0]
    cdef int part
    vector(me, "x", x, size)
    vector(me, "uniform", uniform, size)
    vector(me, "mask", mask, size)
    vector(me, "out", out, size)
    if not 0 < p <= 1:
        raise ValueError(f"{me}: p is {p}, expected a probability of keeping in (0, 1]")
    num_threads = threads_for(size * sizeof(real), 200, num_threads)
    if num_threads == 1:
        dropout_range(vector_start(x), vector_start(uniform), p, vector_start(mask), vector_start(out), 0, size)
        return
    for part in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static"):
        dropout_range(&x[0], &uniform[0], p, &mask[0], &out[0], part_start(size, num_threads, part),
                      part_start(size, num_threads, part + 1))


cdef void dropout_backward_range(const real* dout, const real* mask, real* dx, Py_ssize_t first,
                                 Py_ssize_t last) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(first, last):
        dx[i] = dout[i] * mask[i]


def dropout_backward(
    const real[::1] dout not None,  # IN
    const real[::1] mask not None,  # IN
    real[::1] dx not None,          # OUT
    int num_threads,
):
    """dx = dout * mask."""
    cdef str me = "dropout_backward"
    cdef Py_ssize_t size = dout.shape[0]
    cdef int part
    vector(me, "dout", dout, size)
    vector(me, "mask", mask, size)
    vector(me, "dx", dx, size)
    num_threads = threads_for(size * sizeof(real), 150, num_threads)
    if num_threads == 1:
        dropout_backward_range(vector_start(dout), vector_start(mask), vector_start(dx), 0, size)
        return
    for part in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static"):
        dropout_backward_range(&dout[0], &mask[0], &dx[0], part_start(size, num_threads, part),
                               part_start(size, num_threads, part + 1))
