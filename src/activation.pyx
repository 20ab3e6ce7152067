"""ReLU."""

from cython.parallel cimport prange

from arithmetic cimport part_start
from checks cimport vector, vector_start
from real cimport real
from sharing cimport threads_for


cdef void relu_range(const real* x, real* out, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(first, last):
        # A comparison with NaN is false, so NaN passes through.
        out[i] = 0 if x[i] <= 0 else x[i]


def relu_forward(
    const real[::1] x not None,  # IN
    real[::1] out not None,      # OUT
    int num_threads,
):
    """out = max(x, 0), elementwise."""
    cdef Py_ssize_t size = x.shape[0]
    cdef int part
    vector("relu_forward", "x", x, size)
    vector("relu_forward", "out", out, size)
    num_threads = threads_for(size * sizeof(real), 100, num_threads)
    if num_threads == 1:
        relu_range(vector_start(x), vector_start(out), 0, size)
        return
    for part in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static"):
        relu_range(&x[0], &out[0], part_start(size, num_threads, part), part_start(size, num_threads, part + 1))


cdef inline real _pass(real upstream, real x) noexcept nogil:
    # dout is read on both sides of the choice: a load under a condition is slow as a vector.
    return upstream if x > 0 else 0


cdef void relu_backward_range(const real* dout, const real* x, real* dx, Py_ssize_t first,
                              Py_ssize_t last) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(first, last):
        dx[i] = _pass(dout[i], x[i])


def relu_backward(
    const real[::1] dout not None,  # IN
    const real[::1] x not None,     # IN
    real[::1] dx not None,          # OUT
    int num_threads,
):
    """dx = dout where x > 0, else 0."""
    cdef Py_ssize_t size = x.shape[0]
    cdef int part
    vector("relu_backward", "dout", dout, size)
    vector("relu_backward", "x", x, size)
    vector("relu_backward", "dx", dx, size)
    num_threads = threads_for(size * sizeof(real), 100, num_threads)
    if num_threads == 1:
        relu_backward_range(vector_start(dout), vector_start(x), vector_start(dx), 0, size)
        return
    for part in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static"):
        relu_backward_range(&dout[0], &x[0], &dx[0], part_start(size, num_threads, part),
                            part_start(size, num_threads, part + 1))
