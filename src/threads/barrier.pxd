# A barrier for the threads of one parallel region, between the phases of their work.
#
# The region is OpenMP's; the barrier is not: OpenMP's threads sleep at once where they wait, and to wake them costs
# more than a phase. Threads pass this one many times within a millisecond.
from cython.parallel cimport parallel, threadid
from libc.stdint cimport uint32_t

from threads.waiting cimport HAVE_THREADS, Flag, atomic_add, atomic_read, atomic_write, flag_raise, flag_wait, wake

cdef extern from "threads/system.h" nogil:
    int region_size() noexcept  # threads of the parallel region

ctypedef void (*TeamWork)(void *arg, int part, int parts) noexcept nogil

# Embedded in what the threads of a region share; all zeros before its first use, and after each.
ctypedef struct Barrier:
    int arrived
    char apart[60]  # who looks at the flag must not disturb who counts
    Flag passed


cdef inline void barrier_wait(Barrier *barrier, int count) noexcept nogil:
    """Until all `count` threads of the region have come here."""
    cdef uint32_t seen
    cdef int asleep
    if count == 1:
        return
    seen = <uint32_t> atomic_read(&barrier.passed.value)
    if atomic_add(&barrier.arrived, 1) < count:
        flag_wait(&barrier.passed, seen)
        return
    atomic_write(&barrier.arrived, 0)  # before the flag: who is let through may come again
    asleep = flag_raise(&barrier.passed)
    if asleep > 0:
        wake(&barrier.passed.value, asleep)


cdef inline void team(TeamWork body, void *arg, int num_threads) noexcept nogil:
    """body(arg, part, parts), once on each thread of the region that OpenMP really gives."""
    if num_threads <= 1 or not HAVE_THREADS:
        body(arg, 0, 1)
        return
    with parallel(num_threads=num_threads):
        body(arg, threadid(), region_size())
