"""Update rules: one pass over memory each. The next arrays may be the old ones.

The arithmetic of each rule is in step/rules.h, which the training step uses too. Arrays are flat here:
a rule takes each element for itself.
"""

from cython.parallel cimport prange
from libc.math cimport pow
from libc.string cimport memset

from arithmetic cimport ceil_div
from checks cimport vector, vector_start
from real cimport real
from sharing cimport set_serial_picoseconds, threads_for
from step.rules cimport (
    ADAGRAD, ADAM, MOMENTUM, RMSPROP, SGD, rule_param, rule_update, rules, rules_by_name, set_update, update_vector)

cdef enum:
    BLOCK = 4096  # elements that a thread takes at once

cdef dict RULES = rules_by_name()


def share_from(double picoseconds):
    return set_serial_picoseconds(picoseconds)


cdef void update_blocks(int rule, const rule_param *param, const real *dw, Py_ssize_t size,
                        int num_threads) noexcept nogil:
    """A step of the rule by the `size` gradients dw."""
    cdef rule_update u
    cdef Py_ssize_t block
    set_update(&u, param, rule, dw)
    for block in prange(ceil_div(size, BLOCK), num_threads=num_threads, schedule="static",
                        use_threads_if=num_threads > 1):
        update_vector(&u, dw + block * BLOCK, block * BLOCK, min(<Py_ssize_t> BLOCK, size - block * BLOCK))


cdef int set_arrays(str function, str name, const real[::1] a, real[::1] next_a, Py_ssize_t size,
                    const void **start, void **next_start) except -1:
    """Where an array of the parameter and its next one lie, once they fit."""
    vector(function, name, a, size)
    vector(function, f"next_{name}", next_a, size)
    start[0], next_start[0] = vector_start(a), vector_start(next_a)
    return 0


cdef int run(str function, int rule, rule_param *param, const real[::1] w, const real[::1] dw, real[::1] next_w,
             int num_threads) except -1:
    """One step; param has the numbers and the state."""
    cdef Py_ssize_t size = w.shape[0]
    vector(function, "dw", dw, size)
    set_arrays(function, "w", w, next_w, size, &param.w, &param.next_w)
    num_threads = threads_for(size * sizeof(real), rules[rule].picoseconds, num_threads)
    with nogil:
        update_blocks(rule, param, <const real *> vector_start(dw), size, num_threads)
    return 0


cdef rule_param numbers(double rate, double keep1=0, double keep2=0, double eps=0, double scale=0) noexcept:
    """As rules.h names them."""
    cdef rule_param param
    memset(&param, 0, sizeof(param))
    param.rate, param.keep1, param.keep2, param.eps, param.scale = rate, keep1, keep2, eps, scale
    return param


def sgd(real[::1] w not None, const real[::1] dw not None, double learning_rate, int num_threads):
    """w -= learning_rate * dw."""
    cdef rule_param param = numbers(learning_rate)
    run("sgd", SGD, &param, w, dw, w, num_threads)


def sgd_momentum(
    const real[::1] w not None, const real[::1] dw not None, const real[::1] v not None,
    double learning_rate, double momentum, real[::1] next_w not None, real[::1] next_v not None, int num_threads,
):
    """next_v = momentum * v - learning_rate * dw, next_w = w + next_v."""
    cdef rule_param param = numbers(learning_rate, momentum)
    set_arrays("sgd_momentum", "v", v, next_v, w.shape[0], &param.first, &param.next_first)
    run("sgd_momentum", MOMENTUM, &param, w, dw, next_w, num_threads)


def rmsprop(
    const real[::1] w not None, const real[::1] dw not None, const real[::1] cache not None,
    double learning_rate, double decay_rate, double epsilon,
    real[::1] next_w not None, real[::1] next_cache not None, int num_threads,
):
    """next_cache = decay_rate * cache + (1 - decay_rate) * dw^2, and the step divided by its root."""
    cdef rule_param param = numbers(learning_rate, decay_rate, 0, epsilon)
    set_arrays("rmsprop", "cache", cache, next_cache, w.shape[0], &param.first, &param.next_first)
    run("rmsprop", RMSPROP, &param, w, dw, next_w, num_threads)


def adagrad(
    const real[::1] w not None, const real[::1] dw not None, const real[::1] cache not None,
    double learning_rate, double epsilon, real[::1] next_w not None, real[::1] next_cache not None, int num_threads,
):
    """next_cache = cache + dw^2, and the step divided by its root."""
    cdef rule_param param = numbers(learning_rate, 0, 0, epsilon)
    set_arrays("adagrad", "cache", cache, next_cache, w.shape[0], &param.first, &param.next_first)
    run("adagrad", ADAGRAD, &param, w, dw, next_w, num_threads)


def adam(
    const real[::1] w not None, const real[::1] dw not None, const real[::1] m not None, const real[::1] v not None,
    double learning_rate, double beta1, double beta2, double epsilon, long t,
    real[::1] next_w not None, real[::1] next_m not None, real[::1] next_v not None, int num_threads,
):
    """One Adam step; t counts from 1."""
    # Both corrections are scalars: folded here, they cost no division per element.
    cdef rule_param param = numbers(
        learning_rate / (1 - pow(beta1, t)), beta1, beta2, epsilon, 1 / (1 - pow(beta2, t)))
    set_arrays("adam", "m", m, next_m, w.shape[0], &param.first, &param.next_first)
    set_arrays("adam", "v", v, next_v, w.shape[0], &param.second, &param.next_second)
    run("adam", ADAM, &param, w, dw, next_w, num_threads)


def update(
    str rule not None, real[::1] w not None, real[::1] first, real[::1] second, const real[::1] dw not None,
    double rate, double keep1, double keep2, double eps, double scale, int num_threads,
):
    """One step of a rule in place. first, second: its state, None where it has none; the numbers as in step/rules.h."""
    if rule not in RULES:
        raise ValueError(f"update: rule is {rule!r}, expected one of {', '.join(RULES)}")
    cdef int which = RULES[rule]
    cdef rule_param param = numbers(rate, keep1, keep2, eps, scale)
    if rules[which].states > 0:
        if first is None:
            raise TypeError("update: first is None, expected the rule's state")
        set_arrays("update", "first", first, first, w.shape[0], &param.first, &param.next_first)
    if rules[which].states > 1:
        if second is None:
            raise TypeError("update: second is None, expected the rule's state")
        set_arrays("update", "second", second, second, w.shape[0], &param.second, &param.next_second)
    run("update", which, &param, w, dw, w, num_threads)
