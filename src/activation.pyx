"""ReLU."""

from cython.parallel cimport prange

from checks cimport vector
from real cimport real
from sharing cimport set_serial_picoseconds, threads_for


def share_from(double picoseconds):
    return set_serial_picoseconds(picoseconds)


def relu_forward(
    const real[::1] x not None,  # IN
    real[::1] out not None,      # OUT
    int num_threads,
):
    """out = max(x, 0), elementwise."""
    cdef Py_ssize_t i, size = x.shape[0]
    vector("relu_forward", "x", x, size)
    vector("relu_forward", "out", out, size)
    num_threads = threads_for(size * sizeof(real), 100, num_threads)
    for i in prange(size, nogil=True, num_threads=num_threads, use_threads_if=num_threads > 1, schedule="static"):
        # A comparison with NaN is false, so NaN passes through.
        out[i] = 0 if x[i] <= 0 else x[i]


cdef inline real _pass(real upstream, real x) noexcept nogil:
    # dout is read on both sides of the choice: a load under a condition is slow as a vector.
    return upstream if x > 0 else 0


def relu_backward(
    const real[::1] dout not None,  # IN
    const real[::1] x not None,     # IN
    real[::1] dx not None,          # OUT
    int num_threads,
):
    """dx = dout where x > 0, else 0."""
    cdef Py_ssize_t i, size = x.shape[0]
    vector("relu_backward", "dout", dout, size)
    vector("relu_backward", "x", x, size)
    vector("relu_backward", "dx", dx, size)
    num_threads = threads_for(size * sizeof(real), 100, num_threads)
    for i in prange(size, nogil=True, num_threads=num_threads, use_threads_if=num_threads > 1, schedule="static"):
        dx[i] = _pass(dout[i], x[i])
