"""SVM and softmax loss with their gradients."""

include "common.pxi"
from libc.stdint cimport int64_t

cdef extern from "step/softmax.h" nogil:
    double softmax_row(const void* x_c, int64_t y, Py_ssize_t c, double n, void* dx_c) noexcept


cdef double svm_row(
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


cdef void loss_kernel(
    const real* x_nc,     # IN
    const int64_t* y_n,   # IN
    real* dx_nc,          # OUT
    double* loss_n,       # OUT
    Py_ssize_t n, Py_ssize_t c, bint softmax, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t i
    if num_threads > 1:
        for i in prange(n, num_threads=num_threads, schedule="static"):
            if softmax:
                loss_n[i] = softmax_row(x_nc + i * c, y_n[i], c, <real> n, dx_nc + i * c)
            else:
                loss_n[i] = svm_row(x_nc + i * c, y_n[i], c, <real> n, dx_nc + i * c)
    else:
        for i in range(n):
            if softmax:
                loss_n[i] = softmax_row(x_nc + i * c, y_n[i], c, <real> n, dx_nc + i * c)
            else:
                loss_n[i] = svm_row(x_nc + i * c, y_n[i], c, <real> n, dx_nc + i * c)


cdef double _loss(str name, cnp.ndarray x_nc, cnp.ndarray y_n, cnp.ndarray dx_nc, int num_threads,
                  bint softmax) except? -1:
    cdef int t = _real_type(name, "x", x_nc)
    _check(name, "x", x_nc, t, 2)
    _check(name, "y", y_n, cnp.NPY_INT64, 1)
    _check_out(name, "dx", dx_nc, t, 2)
    cdef Py_ssize_t n = cnp.PyArray_DIM(x_nc, 0)
    cdef Py_ssize_t c = cnp.PyArray_DIM(x_nc, 1)
    _check_size(name, "y", y_n, n)
    _check_shape(name, "dx", dx_nc, n, c)
    if n == 0 or c == 0:
        raise ValueError(f"{name}: x has shape ({n}, {c}), expected at least one sample and one class")
    cdef const int64_t* yp = <const int64_t*> cnp.PyArray_DATA(y_n)
    cdef Py_ssize_t i
    for i in range(n):
        if yp[i] < 0 or yp[i] >= c:
            raise ValueError(f"{name}: y holds the label {yp[i]}, but x has {c} classes (0 to {c - 1})")
    cdef cnp.npy_intp size = n
    cdef cnp.ndarray loss_n = cnp.PyArray_EMPTY(1, &size, cnp.NPY_DOUBLE, 0)
    cdef double* lp = <double*> cnp.PyArray_DATA(loss_n)
    cdef void* xp = cnp.PyArray_DATA(x_nc)
    cdef void* dp = cnp.PyArray_DATA(dx_nc)
    cdef double total = 0
    num_threads = _threads_for(x_nc, 3000 if softmax else 700, num_threads)
    with nogil:
        if t == cnp.NPY_FLOAT:
            loss_kernel(<const float*> xp, yp, <float*> dp, lp, n, c, softmax, num_threads)
        else:
            loss_kernel(<const double*> xp, yp, <double*> dp, lp, n, c, softmax, num_threads)
        # One order for any number of threads.
        for i in range(n):
            total += lp[i]
    return total / n


def svm_loss(cnp.ndarray x_nc not None, cnp.ndarray y_n not None, cnp.ndarray dx_nc not None, int num_threads):
    """Mean multiclass SVM loss with margin 1; dx is written."""
    return _loss("svm_loss", x_nc, y_n, dx_nc, num_threads, False)


def softmax_loss(cnp.ndarray x_nc not None, cnp.ndarray y_n not None, cnp.ndarray dx_nc not None, int num_threads):
    """Mean softmax loss; dx is written."""
    return _loss("softmax_loss", x_nc, y_n, dx_nc, num_threads, True)
