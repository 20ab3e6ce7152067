"""Dropout, given the uniform numbers: kernels draw none."""

from cython.parallel cimport prange

from checks cimport vector
from real cimport real
from sharing cimport set_serial_picoseconds, threads_for


def share_from(double picoseconds):
    return set_serial_picoseconds(picoseconds)


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
    cdef Py_ssize_t i, size = x.shape[0]
    cdef real scale
    vector(me, "x", x, size)
    vector(me, "uniform", uniform, size)
    vector(me, "mask", mask, size)
    vector(me, "out", out, size)
    if not 0 < p <= 1:
        raise ValueError(f"{me}: p is {p}, expected a probability of keeping in (0, 1]")
    scale = <real> (1.0 / p)
    num_threads = threads_for(size * sizeof(real), 200, num_threads)
    for i in prange(size, nogil=True, num_threads=num_threads, use_threads_if=num_threads > 1, schedule="static"):
        mask[i] = scale if uniform[i] < p else 0
        out[i] = x[i] * mask[i]


def dropout_backward(
    const real[::1] dout not None,  # IN
    const real[::1] mask not None,  # IN
    real[::1] dx not None,          # OUT
    int num_threads,
):
    """dx = dout * mask."""
    cdef str me = "dropout_backward"
    cdef Py_ssize_t i, size = dout.shape[0]
    vector(me, "dout", dout, size)
    vector(me, "mask", mask, size)
    vector(me, "dx", dx, size)
    num_threads = threads_for(size * sizeof(real), 150, num_threads)
    for i in prange(size, nogil=True, num_threads=num_threads, use_threads_if=num_threads > 1, schedule="static"):
        dx[i] = dout[i] * mask[i]
