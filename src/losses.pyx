"""SVM and softmax loss."""

from cython.parallel cimport prange
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from arithmetic cimport part_start
from checks cimport aligned, matrix
from real cimport real
from sharing cimport threads_for
from step.output_loss cimport softmax_row


cdef inline double svm_row(
    const real* x_c,  # IN
    int64_t y, Py_ssize_t c, real n,
    real* dx_c,       # OUT
) noexcept nogil:
    """One sample: its loss, and its gradient divided by the batch size n."""
    cdef double loss = 0
    cdef real margin, right = x_c[y], violations = 0
    cdef Py_ssize_t j
    for j in range(c):
        margin = x_c[j] - right + 1
        if j == y:
            continue
        if margin > 0:
            loss += margin
            violations += 1
            dx_c[j] = 1 / n
        else:
            dx_c[j] = 0
            if margin != margin:  # NaN: the loss shows it
                loss += margin
    dx_c[y] = -violations / n
    return loss


cdef void _rows(
    const real* x_nc, const int64_t* y_n, bint softmax, Py_ssize_t n, Py_ssize_t c,  # IN
    real* dx_nc, double* loss_n,                                                     # OUT
    Py_ssize_t first, Py_ssize_t last,
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(first, last):
        if softmax:
            loss_n[i] = softmax_row(x_nc + i * c, y_n[i], c, <real> n, dx_nc + i * c)
        else:
            loss_n[i] = svm_row(x_nc + i * c, y_n[i], c, <real> n, dx_nc + i * c)


cdef double _loss(str me, const real[:, ::1] x_nc, const int64_t[::1] y_n, real[:, ::1] dx_nc, bint softmax,
                  int num_threads) except? -1:
    """The mean loss; dx is written."""
    cdef Py_ssize_t i, n = x_nc.shape[0], c = x_nc.shape[1]
    cdef double total = 0
    cdef double *loss_n
    cdef int part
    if n == 0 or c == 0:
        raise ValueError(f"{me}: x has shape ({n}, {c}), expected at least one sample and one class")
    if y_n.shape[0] != n:
        raise ValueError(f"{me}: y has {y_n.shape[0]} elements, expected {n}")
    matrix(me, "x", x_nc, n, c)
    matrix(me, "dx", dx_nc, n, c)
    aligned(me, "y", &y_n[0], sizeof(int64_t))
    for i in range(n):
        if y_n[i] < 0 or y_n[i] >= c:
            raise ValueError(f"{me}: y holds the label {y_n[i]}, but x has {c} classes (0 to {c - 1})")
    loss_n = <double *> malloc(n * sizeof(double))
    if loss_n == NULL:
        raise MemoryError(f"{me}: no memory for the losses of {n} samples")
    num_threads = threads_for(n * c * sizeof(real), 3000 if softmax else 700, num_threads)
    if num_threads == 1:
        _rows(&x_nc[0, 0], &y_n[0], softmax, n, c, &dx_nc[0, 0], loss_n, 0, n)
    else:
        for part in prange(num_threads, nogil=True, num_threads=num_threads, schedule="static"):
            _rows(&x_nc[0, 0], &y_n[0], softmax, n, c, &dx_nc[0, 0], loss_n, part_start(n, num_threads, part),
                  part_start(n, num_threads, part + 1))
    # One order for any number of threads.
    for i in range(n):
        total += loss_n[i]
    free(loss_n)
    return total / n


def svm_loss(
    const real[:, ::1] x_nc not None,   # IN
    const int64_t[::1] y_n not None,    # IN
    real[:, ::1] dx_nc not None,        # OUT
    int num_threads,
):
    """Mean multiclass SVM loss with margin 1; dx is written."""
    return _loss("svm_loss", x_nc, y_n, dx_nc, False, num_threads)


def softmax_loss(
    const real[:, ::1] x_nc not None,   # IN
    const int64_t[::1] y_n not None,    # IN
    real[:, ::1] dx_nc not None,        # OUT
    int num_threads,
):
    """Mean softmax loss; dx is written."""
    return _loss("softmax_loss", x_nc, y_n, dx_nc, True, num_threads)
