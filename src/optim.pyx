"""Update rules: one pass over memory each. The next arrays may be the old ones."""

include "common.pxi"
from libc.math cimport pow
from libc.string cimport memset

cdef extern from "step/rules.h" nogil:
    enum:
        SGD
        MOMENTUM
        RMSPROP
        ADAM
    ctypedef struct rule_param:
        const void* w
        const void* first
        const void* second
        void* next_w
        void* next_first
        void* next_second
        double rate, keep1, keep2, eps, scale
    ctypedef struct update_float:
        pass
    ctypedef struct update_double:
        pass
    update_float update_of_float(const rule_param* p, int rule) noexcept
    update_double update_of_double(const rule_param* p, int rule) noexcept
    void update_vector_float(const update_float* u, const float* g, Py_ssize_t at, Py_ssize_t n) noexcept
    void update_vector_double(const update_double* u, const double* g, Py_ssize_t at, Py_ssize_t n) noexcept

cdef enum:
    BLOCK = 4096  # elements that a thread takes at once

cdef double[5] PICOSECONDS  # of each rule, for _threads_for
PICOSECONDS[SGD], PICOSECONDS[MOMENTUM], PICOSECONDS[RMSPROP], PICOSECONDS[ADAM] = 100, 220, 330, 450


cdef void _block(int rule, const rule_param* p, const real* dw, Py_ssize_t start, Py_ssize_t size) noexcept nogil:
    cdef update_float single
    cdef update_double double_
    cdef Py_ssize_t n = min(<Py_ssize_t> BLOCK, size - start)
    if real is float:
        single = update_of_float(p, rule)
        update_vector_float(&single, dw + start, start, n)
    else:
        double_ = update_of_double(p, rule)
        update_vector_double(&double_, dw + start, start, n)


cdef void update_kernel(
    int rule, const rule_param* p,  # IN, and where its OUT lie
    const real* dw,                 # IN
    Py_ssize_t size, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t block, blocks = (size + BLOCK - 1) // BLOCK
    if num_threads > 1:
        for block in prange(blocks, num_threads=num_threads, schedule="static"):
            _block(rule, p, dw, block * BLOCK, size)
    else:
        for block in range(blocks):
            _block(rule, p, dw, block * BLOCK, size)


cdef void _run(int rule, rule_param* p, cnp.ndarray w, cnp.ndarray dw, int num_threads):
    cdef bint single = cnp.PyArray_TYPE(w) == cnp.NPY_FLOAT
    cdef Py_ssize_t size = cnp.PyArray_SIZE(w)
    cdef void* gp = cnp.PyArray_DATA(dw)
    p.w = cnp.PyArray_DATA(w)
    num_threads = _threads_for(w, PICOSECONDS[rule], num_threads)
    with nogil:
        if single:
            update_kernel(rule, p, <const float*> gp, size, num_threads)
        else:
            update_kernel(rule, p, <const double*> gp, size, num_threads)


cdef int _check_like(str function, cnp.ndarray w, int t, tuple inputs, tuple outputs) except -1:
    cdef Py_ssize_t size = cnp.PyArray_SIZE(w)
    for name, array in inputs:
        if not isinstance(array, cnp.ndarray):
            raise TypeError(f"{function}: {name} is a {type(array).__name__}, expected an ndarray")
        _check(function, name, array, t)
        _check_size(function, name, array, size)
    for name, array in outputs:
        if not isinstance(array, cnp.ndarray):
            raise TypeError(f"{function}: {name} is a {type(array).__name__}, expected an ndarray")
        _check_out(function, name, array, t)
        _check_size(function, name, array, size)
    return 0


def sgd(cnp.ndarray w not None, cnp.ndarray dw not None, double learning_rate, int num_threads):
    """w -= learning_rate * dw."""
    cdef int t = _real_type("sgd", "w", w)
    cdef rule_param p
    memset(&p, 0, sizeof(p))
    _check_like("sgd", w, t, (("dw", dw),), (("w", w),))
    p.next_w, p.rate = cnp.PyArray_DATA(w), learning_rate
    _run(SGD, &p, w, dw, num_threads)


def sgd_momentum(cnp.ndarray w not None, cnp.ndarray dw not None, cnp.ndarray v not None, double learning_rate,
                 double momentum, cnp.ndarray next_w not None, cnp.ndarray next_v not None, int num_threads):
    """next_v = momentum * v - learning_rate * dw, next_w = w + next_v."""
    cdef int t = _real_type("sgd_momentum", "w", w)
    cdef rule_param p
    memset(&p, 0, sizeof(p))
    _check_like("sgd_momentum", w, t, (("w", w), ("dw", dw), ("v", v)), (("next_w", next_w), ("next_v", next_v)))
    p.first, p.next_first, p.next_w = cnp.PyArray_DATA(v), cnp.PyArray_DATA(next_v), cnp.PyArray_DATA(next_w)
    p.rate, p.keep1 = learning_rate, momentum
    _run(MOMENTUM, &p, w, dw, num_threads)


def rmsprop(cnp.ndarray w not None, cnp.ndarray dw not None, cnp.ndarray cache not None, double learning_rate,
            double decay_rate, double epsilon, cnp.ndarray next_w not None, cnp.ndarray next_cache not None,
            int num_threads):
    """next_cache = decay_rate * cache + (1 - decay_rate) * dw^2, and the step divided by its root."""
    cdef int t = _real_type("rmsprop", "w", w)
    cdef rule_param p
    memset(&p, 0, sizeof(p))
    _check_like("rmsprop", w, t, (("w", w), ("dw", dw), ("cache", cache)),
                (("next_w", next_w), ("next_cache", next_cache)))
    p.first, p.next_first = cnp.PyArray_DATA(cache), cnp.PyArray_DATA(next_cache)
    p.next_w = cnp.PyArray_DATA(next_w)
    p.rate, p.keep1, p.eps = learning_rate, decay_rate, epsilon
    _run(RMSPROP, &p, w, dw, num_threads)


def adam(cnp.ndarray w not None, cnp.ndarray dw not None, cnp.ndarray m not None, cnp.ndarray v not None,
         double learning_rate, double beta1, double beta2, double epsilon, long t, cnp.ndarray next_w not None,
         cnp.ndarray next_m not None, cnp.ndarray next_v not None, int num_threads):
    """One Adam step; t counts from 1."""
    cdef int typenum = _real_type("adam", "w", w)
    cdef rule_param p
    memset(&p, 0, sizeof(p))
    _check_like("adam", w, typenum, (("w", w), ("dw", dw), ("m", m), ("v", v)),
                (("next_w", next_w), ("next_m", next_m), ("next_v", next_v)))
    p.first, p.next_first = cnp.PyArray_DATA(m), cnp.PyArray_DATA(next_m)
    p.second, p.next_second = cnp.PyArray_DATA(v), cnp.PyArray_DATA(next_v)
    p.next_w = cnp.PyArray_DATA(next_w)
    p.keep1, p.keep2, p.eps = beta1, beta2, epsilon
    # Both corrections are scalars: folded here, they cost no division per element.
    p.rate = learning_rate / (1 - pow(beta1, t))
    p.scale = 1 / (1 - pow(beta2, t))
    _run(ADAM, &p, w, dw, num_threads)


RULES = {"sgd": SGD, "sgd_momentum": MOMENTUM, "rmsprop": RMSPROP, "adam": ADAM}


def update(str rule not None, cnp.ndarray w not None, cnp.ndarray first, cnp.ndarray second, cnp.ndarray dw not None,
           double rate, double keep1, double keep2, double eps, double scale, int num_threads):
    """One step of a rule in place. first, second: its state, None where it has none; the numbers as in step/rules.h."""
    cdef int t = _real_type("update", "w", w)
    cdef rule_param p
    memset(&p, 0, sizeof(p))
    if rule not in RULES:
        raise ValueError(f"update: rule is {rule!r}, expected one of {', '.join(RULES)}")
    cdef int which = RULES[rule]
    states = (("first", first), ("second", second))[:0 if which == SGD else 2 if which == ADAM else 1]
    _check_like("update", w, t, (("dw", dw),), (("w", w), *states))
    p.next_w = cnp.PyArray_DATA(w)
    if which != SGD:
        p.first = p.next_first = cnp.PyArray_DATA(first)
    if which == ADAM:
        p.second = p.next_second = cnp.PyArray_DATA(second)
    p.rate, p.keep1, p.keep2, p.eps, p.scale = rate, keep1, keep2, eps, scale
    _run(which, &p, w, dw, num_threads)
