"""Update rules: one pass over memory each. The next arrays may be the old ones."""

include "common.pxi"
from libc.math cimport sqrt, sqrtf

cdef enum:
    TILE = 512  # elements of a tile: the local arrays of adam stay in the L1 cache


cdef inline real _sqrt(real v) noexcept nogil:
    if real is float:
        return sqrtf(v)
    else:
        return sqrt(v)


cdef inline void _momentum_at(const real* w, const real* dw, const real* v, real rate, real momentum,
                              real* next_w, real* next_v, Py_ssize_t i) noexcept nogil:
    cdef real step = momentum * v[i] - rate * dw[i]
    next_v[i] = step
    next_w[i] = w[i] + step


cdef inline void _rmsprop_at(const real* w, const real* dw, const real* cache, real rate, real decay, real rest,
                             real eps, real* next_w, real* next_cache, Py_ssize_t i) noexcept nogil:
    cdef real g = dw[i]
    cdef real c = decay * cache[i] + rest * (g * g)
    next_cache[i] = c
    next_w[i] = w[i] - rate * g / (_sqrt(c) + eps)


cdef void _adam_tile(
    const real* w, const real* dw, const real* m, const real* v,  # IN
    real rate, real beta1, real rest1, real beta2, real rest2, real eps, real scale,
    real* next_w, real* next_m, real* next_v,                     # OUT
    Py_ssize_t start, Py_ssize_t size,
) noexcept nogil:
    # Seven pointers need more overlap tests than a compiler is ready to make before it uses
    # vectors. Local arrays overlap nothing, and let the next arrays be the old ones.
    cdef real a[TILE]
    cdef real b[TILE]
    cdef real c[TILE]
    cdef Py_ssize_t i, count = min(<Py_ssize_t> TILE, size - start)
    for i in range(count):
        a[i] = beta1 * m[start + i] + rest1 * dw[start + i]
        b[i] = beta2 * v[start + i] + rest2 * (dw[start + i] * dw[start + i])
        c[i] = w[start + i] - rate * a[i] / (_sqrt(b[i] * scale) + eps)
    for i in range(count):
        next_m[start + i] = a[i]
    for i in range(count):
        next_v[start + i] = b[i]
    for i in range(count):
        next_w[start + i] = c[i]


cdef void sgd_kernel(
    real* w,         # INOUT
    const real* dw,  # IN
    real rate, Py_ssize_t size, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t i
    if num_threads > 1:
        for i in prange(size, num_threads=num_threads, schedule="static"):
            w[i] = w[i] - rate * dw[i]
    else:
        for i in range(size):
            w[i] = w[i] - rate * dw[i]


cdef void momentum_kernel(
    const real* w, const real* dw, const real* v,  # IN
    real rate, real momentum,
    real* next_w, real* next_v,                    # OUT
    Py_ssize_t size, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t i
    if num_threads > 1:
        for i in prange(size, num_threads=num_threads, schedule="static"):
            _momentum_at(w, dw, v, rate, momentum, next_w, next_v, i)
    else:
        for i in range(size):
            _momentum_at(w, dw, v, rate, momentum, next_w, next_v, i)


cdef void rmsprop_kernel(
    const real* w, const real* dw, const real* cache,  # IN
    real rate, real decay, real rest, real eps,        # rest = 1 - decay
    real* next_w, real* next_cache,                    # OUT
    Py_ssize_t size, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t i
    if num_threads > 1:
        for i in prange(size, num_threads=num_threads, schedule="static"):
            _rmsprop_at(w, dw, cache, rate, decay, rest, eps, next_w, next_cache, i)
    else:
        for i in range(size):
            _rmsprop_at(w, dw, cache, rate, decay, rest, eps, next_w, next_cache, i)


cdef void adam_kernel(
    const real* w, const real* dw, const real* m, const real* v,  # IN
    real rate, real beta1, real rest1, real beta2, real rest2,    # rate / (1 - beta1 ** t), rest = 1 - beta
    real eps, real scale,                                         # scale = 1 / (1 - beta2 ** t)
    real* next_w, real* next_m, real* next_v,                     # OUT
    Py_ssize_t size, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t tile, tiles = (size + TILE - 1) // TILE
    if num_threads > 1:
        for tile in prange(tiles, num_threads=num_threads, schedule="static"):
            _adam_tile(w, dw, m, v, rate, beta1, rest1, beta2, rest2, eps, scale, next_w, next_m, next_v,
                       tile * TILE, size)
    else:
        for tile in range(tiles):
            _adam_tile(w, dw, m, v, rate, beta1, rest1, beta2, rest2, eps, scale, next_w, next_m, next_v,
                       tile * TILE, size)


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
    cdef Py_ssize_t size = cnp.PyArray_SIZE(w)
    _check_like("sgd", w, t, (("dw", dw),), (("w", w),))
    num_threads = _threads_for(size, num_threads)
    cdef void* wp = cnp.PyArray_DATA(w)
    cdef void* gp = cnp.PyArray_DATA(dw)
    with nogil:
        if t == cnp.NPY_FLOAT:
            sgd_kernel(<float*> wp, <const float*> gp, <float> learning_rate, size, num_threads)
        else:
            sgd_kernel(<double*> wp, <const double*> gp, learning_rate, size, num_threads)


def sgd_momentum(cnp.ndarray w not None, cnp.ndarray dw not None, cnp.ndarray v not None, double learning_rate,
                 double momentum, cnp.ndarray next_w not None, cnp.ndarray next_v not None, int num_threads):
    """next_v = momentum * v - learning_rate * dw, next_w = w + next_v."""
    cdef int t = _real_type("sgd_momentum", "w", w)
    cdef Py_ssize_t size = cnp.PyArray_SIZE(w)
    _check_like("sgd_momentum", w, t, (("w", w), ("dw", dw), ("v", v)), (("next_w", next_w), ("next_v", next_v)))
    num_threads = _threads_for(size, num_threads)
    cdef void* wp = cnp.PyArray_DATA(w)
    cdef void* gp = cnp.PyArray_DATA(dw)
    cdef void* vp = cnp.PyArray_DATA(v)
    cdef void* nw = cnp.PyArray_DATA(next_w)
    cdef void* nv = cnp.PyArray_DATA(next_v)
    with nogil:
        if t == cnp.NPY_FLOAT:
            momentum_kernel(<const float*> wp, <const float*> gp, <const float*> vp, <float> learning_rate,
                            <float> momentum, <float*> nw, <float*> nv, size, num_threads)
        else:
            momentum_kernel(<const double*> wp, <const double*> gp, <const double*> vp, learning_rate,
                            momentum, <double*> nw, <double*> nv, size, num_threads)


def rmsprop(cnp.ndarray w not None, cnp.ndarray dw not None, cnp.ndarray cache not None, double learning_rate,
            double decay_rate, double epsilon, cnp.ndarray next_w not None, cnp.ndarray next_cache not None,
            int num_threads):
    """next_cache = decay_rate * cache + (1 - decay_rate) * dw^2, and the step divided by its root."""
    cdef int t = _real_type("rmsprop", "w", w)
    cdef Py_ssize_t size = cnp.PyArray_SIZE(w)
    _check_like("rmsprop", w, t, (("w", w), ("dw", dw), ("cache", cache)),
                (("next_w", next_w), ("next_cache", next_cache)))
    num_threads = _threads_for(size, num_threads)
    cdef void* wp = cnp.PyArray_DATA(w)
    cdef void* gp = cnp.PyArray_DATA(dw)
    cdef void* cp = cnp.PyArray_DATA(cache)
    cdef void* nw = cnp.PyArray_DATA(next_w)
    cdef void* nc = cnp.PyArray_DATA(next_cache)
    cdef double rest = 1 - decay_rate
    with nogil:
        if t == cnp.NPY_FLOAT:
            rmsprop_kernel(<const float*> wp, <const float*> gp, <const float*> cp, <float> learning_rate,
                           <float> decay_rate, <float> rest, <float> epsilon, <float*> nw, <float*> nc, size,
                           num_threads)
        else:
            rmsprop_kernel(<const double*> wp, <const double*> gp, <const double*> cp, learning_rate,
                           decay_rate, rest, epsilon, <double*> nw, <double*> nc, size, num_threads)


def adam(cnp.ndarray w not None, cnp.ndarray dw not None, cnp.ndarray m not None, cnp.ndarray v not None,
         double learning_rate, double beta1, double beta2, double epsilon, long t, cnp.ndarray next_w not None,
         cnp.ndarray next_m not None, cnp.ndarray next_v not None, int num_threads):
    """One Adam step; t counts from 1."""
    cdef int typenum = _real_type("adam", "w", w)
    cdef Py_ssize_t size = cnp.PyArray_SIZE(w)
    _check_like("adam", w, typenum, (("w", w), ("dw", dw), ("m", m), ("v", v)),
                (("next_w", next_w), ("next_m", next_m), ("next_v", next_v)))
    num_threads = _threads_for(size, num_threads)
    cdef void* wp = cnp.PyArray_DATA(w)
    cdef void* gp = cnp.PyArray_DATA(dw)
    cdef void* mp = cnp.PyArray_DATA(m)
    cdef void* vp = cnp.PyArray_DATA(v)
    cdef void* nw = cnp.PyArray_DATA(next_w)
    cdef void* nm = cnp.PyArray_DATA(next_m)
    cdef void* nv = cnp.PyArray_DATA(next_v)
    cdef double rest1 = 1 - beta1
    cdef double rest2 = 1 - beta2
    # Both corrections are scalars: folded here, they cost no division per element.
    cdef double rate = learning_rate / (1 - beta1 ** <double> t)
    cdef double scale = 1 / (1 - beta2 ** <double> t)
    with nogil:
        if typenum == cnp.NPY_FLOAT:
            adam_kernel(<const float*> wp, <const float*> gp, <const float*> mp, <const float*> vp,
                        <float> rate, <float> beta1, <float> rest1, <float> beta2, <float> rest2,
                        <float> epsilon, <float> scale, <float*> nw, <float*> nm, <float*> nv, size,
                        num_threads)
        else:
            adam_kernel(<const double*> wp, <const double*> gp, <const double*> mp, <const double*> vp,
                        rate, beta1, rest1, beta2, rest2, epsilon, scale, <double*> nw, <double*> nm,
                        <double*> nv, size, num_threads)
