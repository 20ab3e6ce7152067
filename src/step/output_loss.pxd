# The losses of one sample, and what each gives back to the scores.
from libc.float cimport DBL_EPSILON, FLT_EPSILON
from libc.math cimport exp, expf, log, log1p
from libc.stdint cimport int64_t

from real cimport real

cdef enum:
    SOFTMAX_LOSS
    LOGISTIC_LOSS
    SQUARED_LOSS
    POISSON_LOSS


cdef inline real exp_of(real x) noexcept nogil:
    return expf(x) if real is float else exp(x)


cdef inline double times_log(double factor, double power) noexcept nogil:
    return 0 if factor == 0 else factor * log(power)


cdef inline double softmax_row(
    const real *x_c,  # IN
    int64_t y, Py_ssize_t c, real n,
    real *dx_c,       # OUT
) noexcept nogil:
    """The softmax loss, and its gradient divided by the batch size n."""
    cdef real top = x_c[0], total, one = 1, at_label
    cdef double sum = 0
    cdef Py_ssize_t j
    for j in range(1, c):
        if top != top:  # NaN stays: nothing compares with it
            break
        if x_c[j] > top or x_c[j] != x_c[j]:
            top = x_c[j]
    for j in range(c):
        dx_c[j] = exp_of(x_c[j] - top)  # scores far below the top give 0, never an overflow
        sum += dx_c[j]
    total = <real> sum
    for j in range(c):
        at_label = one if j == y else 0
        dx_c[j] = (dx_c[j] / total - at_label) / n
    return log(sum) - <double> (x_c[y] - top)


cdef inline double loss_row(
    int loss, bint printed, const real *x_c,  # IN
    int64_t label, const real *y_c,           # IN: of softmax; the targets, of all other losses
    Py_ssize_t c, double weight, double total,
    real *dx_c,                               # OUT
) noexcept nogil:
    """The loss times its weight; and (output - target) weight / total, which is the gradient.

    printed: what scikit-learn prints, with probabilities kept away from 0 and 1, and the squared loss as a mean over
    the outputs. It is in the loss alone."""
    cdef real eps = FLT_EPSILON if real is float else DBL_EPSILON
    cdef real one = 1, most = one - eps, share = <real> (weight / total), x, y, p, power, kept
    cdef double sum = 0, d
    cdef Py_ssize_t j
    if loss == SOFTMAX_LOSS:
        sum = softmax_row(x_c, label, c, <real> 1, dx_c)
        for j in range(c):
            dx_c[j] *= share
        if printed and sum < -log(most):
            sum = -log(most)
        if printed and sum > -log(eps):
            sum = -log(eps)
        return weight * sum
    for j in range(c):
        x, y = x_c[j], y_c[j]
        p = x
        if loss == LOGISTIC_LOSS:
            power = exp_of(x if x < 0 else -x)  # NaN stays
            p = (power if x < 0 else one) / (one + power)
            if printed:
                kept = eps if p < eps else most if p > most else p
                sum -= times_log(y, kept) + times_log(one - y, one - kept)
            else:
                sum += (0 if x < 0 else x) - <double> x * y + log1p(power)
        elif loss == POISSON_LOSS:
            p = exp_of(x)
            sum += times_log(y, <double> y / p) - y + p
        else:
            d = <double> p - y
            sum += 0.5 * d * d
        dx_c[j] = (p - y) * share
    if loss == SQUARED_LOSS and printed:
        sum /= <double> c
    return weight * sum
