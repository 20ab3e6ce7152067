"""Update rules: one entry for all of them, one pass over memory. The next arrays may be the old ones.

The arithmetic of each rule is in step/rules.h, which the training step uses too. Arrays are flat here:
a rule takes each element for itself. And the sum of squares that the norm of all gradients is made of.
"""

from cython.parallel cimport prange
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from arithmetic cimport LANES, ceil_div, lane_total
from checks cimport vector, vector_start
from real cimport real
from sharing cimport threads_for
from step.rules cimport (
    STORE, rule_param, rule_update, rules, rules_by_name, set_numbers, set_update, update_vector)

cdef enum:
    BLOCK = 4096  # elements that a thread takes at once

cdef double SQUARE_PICOSECONDS = 150  # for four bytes

cdef dict RULES = rules_by_name()


cdef void update_blocks(int rule, const rule_param *param, const real *dw, Py_ssize_t size,
                        int num_threads) noexcept nogil:
    """A step of the rule by the `size` gradients dw."""
    cdef rule_update u
    cdef Py_ssize_t block
    set_update(&u, param, rule, dw)
    if num_threads == 1:  # a parallel region of one thread takes as long as a small step
        update_vector(&u, dw, 0, size)
        return
    for block in prange(ceil_div(size, BLOCK), num_threads=num_threads, schedule="static"):
        update_vector(&u, dw + block * BLOCK, block * BLOCK, min(<Py_ssize_t> BLOCK, size - block * BLOCK))


cdef int state(str name, const real[::1] a, real[::1] next_a, Py_ssize_t size,
               const void **start, void **next_start) except -1:
    """Where a state and its next one lie, once they fit."""
    if a is None or next_a is None:
        raise TypeError(f"update: {name} or next_{name} is None, expected a state of the rule")
    vector("update", name, a, size)
    vector("update", "its next one", next_a, size)
    start[0], next_start[0] = vector_start(a), vector_start(next_a)
    return 0


def update(
    str rule not None, const real[::1] w not None, const real[::1] dw not None,  # IN
    const real[::1] first, const real[::1] second,                               # IN: None where the rule has none
    real[::1] next_w not None, real[::1] next_first, real[::1] next_second,      # OUT
    double rate, double keep1, double keep2, double eps, double weight_decay,
    double t,                                                                    # from 1, or 0: see step/rules.h
    int num_threads,
):
    """One step of a rule."""
    cdef int which = RULES.get(rule, STORE)
    cdef Py_ssize_t size = w.shape[0]
    cdef rule_param param
    if which == STORE:
        raise ValueError(f"update: rule is {rule!r}, expected one of {', '.join(RULES)}")
    memset(&param, 0, sizeof(param))
    set_numbers(&param, rate, keep1, keep2, eps, weight_decay, t)
    vector("update", "w", w, size)
    vector("update", "dw", dw, size)
    vector("update", "next_w", next_w, size)
    if rules[which].states > 0:
        state("first", first, next_first, size, &param.first, &param.next_first)
    if rules[which].states > 1:
        state("second", second, next_second, size, &param.second, &param.next_second)
    param.w, param.next_w = vector_start(w), vector_start(next_w)
    num_threads = threads_for(size * sizeof(real), rules[which].picoseconds, num_threads)
    with nogil:
        update_blocks(which, &param, <const real *> vector_start(dw), size, num_threads)


cdef double squares_of(const real *x, Py_ssize_t size) noexcept nogil:
    """The sum of the squares, in double."""
    cdef double lanes[LANES]
    cdef double value
    cdef Py_ssize_t b, i, k, whole = size - size % LANES
    for k in range(LANES):
        lanes[k] = 0
    for b in range(whole // LANES):
        i = b * LANES
        for k in range(LANES):
            value = x[i + k]
            lanes[k] += value * value
    for i in range(whole, size):
        value = x[i]
        lanes[i - whole] += value * value
    return lane_total(lanes)


def sum_of_squares(const real[::1] x not None, int num_threads):
    """In double; blocks of a fixed size are summed, and then their sums in order."""
    cdef const real *start = <const real *> vector_start(x)
    cdef Py_ssize_t size = x.shape[0], block, blocks = ceil_div(size, BLOCK)
    cdef double total = 0
    cdef double *sums
    vector("sum_of_squares", "x", x, size)
    num_threads = threads_for(size * sizeof(real), SQUARE_PICOSECONDS, num_threads)
    if num_threads == 1:
        with nogil:
            for block in range(blocks):
                total += squares_of(start + block * BLOCK, min(<Py_ssize_t> BLOCK, size - block * BLOCK))
        return total
    sums = <double *> malloc(blocks * sizeof(double))
    if sums == NULL:
        raise MemoryError("sum_of_squares: no memory for the sums of blocks")
    with nogil:
        for block in prange(blocks, num_threads=num_threads, schedule="static"):
            sums[block] = squares_of(start + block * BLOCK, min(<Py_ssize_t> BLOCK, size - block * BLOCK))
        for block in range(blocks):
            total += sums[block]
        free(sums)
    return total
