"""What the machine can do, and what the process has once: the pool of workers and the cache of scratch memory.

Built without any instruction-set flag, so that it can be imported everywhere and asked
before a module of a higher level is loaded.
"""

import os
import re

from cpython.pycapsule cimport PyCapsule_New

from threads.granted cimport grant_threads, set_region_stack
from threads.pool cimport Pool, pool_share_out
from threads.scratch cimport Cache, cache_give, cache_take, empty_slots
from threads.threads cimport SHARED_NAME, SharedFunctions, Work
from threads.waiting cimport atomic_read

cdef extern from "cpu.h" nogil:
    int level_number()
    int cpu_has_bf16()
    int process_has_amx()

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    static int openmp_date(void) { return _OPENMP; }
    static int openmp_threads(void) { return omp_get_max_threads(); }
    static int openmp_processors(void) { return omp_get_num_procs(); }
    #else
    static int openmp_date(void) { return 0; }
    static int openmp_threads(void) { return 1; }
    static int openmp_processors(void) { return 1; }
    #endif

    /* Processors that the calling thread may run on, where the system says it; and a clock in nanoseconds
       that takes next to no time to read and ticks each few milliseconds. */
    #ifdef __linux__
    #include <sched.h>
    #include <time.h>
    static int affinity(void) {
        cpu_set_t may;
        return sched_getaffinity(0, sizeof may, &may) == 0 ? CPU_COUNT(&may) : openmp_processors();
    }
    static long long tick_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
        return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    #else
    static int affinity(void) { return openmp_processors(); }
    static long long tick_ns(void) { return 0; }
    #endif

    #ifndef _WIN32
    #include <pthread.h>
    static int watch_forks(void (*in_child)(void)) { return pthread_atfork(NULL, NULL, in_child); }
    #else
    static int watch_forks(void (*in_child)(void)) { return 0; }
    #endif
    """
    int openmp_date() nogil
    int openmp_threads() nogil
    int affinity() nogil
    long long tick_ns() nogil
    int watch_forks(void (*in_child)() noexcept nogil) nogil

cdef Pool pool
cdef Cache cache
cdef SharedFunctions own_functions


cdef void share_out(Work body, void *arg, int parts, int threads) noexcept nogil:
    pool_share_out(&pool, body, arg, parts, threads)


cdef void *scratch_take(size_t size) noexcept nogil:
    return cache_take(&cache, size)


cdef void scratch_give(void *scratch) noexcept nogil:
    cache_give(&cache, scratch)


cdef int granted(int wanted) noexcept nogil:
    return grant_threads(wanted, pool.is_child)


cdef void in_child() noexcept nogil:
    """In a child of fork, which has one thread."""
    pool.is_child = True
    empty_slots(&cache)


def openmp_version():
    """The OpenMP date (such as 201511), or 0 in a serial build."""
    return openmp_date()


cdef object _quota_of = None
cdef long long _affinity_read = -1, _quota_read = -1
cdef int _affinity, _quota = 0


def watch_quota(granted):
    """`granted()` says how many processors the control groups grant, or None: it is called each second."""
    global _quota_of, _quota_read
    _quota_of, _quota_read = granted, -1


def threads_for(requested, bint now=False):
    """Threads for the next kernel: what was requested, if anything (None), else what OpenMP would use, but no more
    than the processors that affinity and quota grant. 1 in a child of fork and in a build without OpenMP.

    Each small call asks, so what the system says is believed for some milliseconds, unless it must be of `now`,
    and the quota for a second."""
    global _affinity_read, _affinity, _quota_read, _quota
    if pool.is_child or not openmp_date():
        return 1
    cdef int most = openmp_threads()
    cdef long long tick = tick_ns()
    if tick != _affinity_read or now:
        if _quota_of is not None and (tick - _quota_read >= 1000000000 or _quota_read < 0 or now):
            _quota_read, _quota = tick, _quota_of() or 0
        _affinity_read, _affinity = tick, affinity()
        pool.processors = min(_affinity, _quota or _affinity)
    return min(most, pool.processors) if requested is None else requested


def kept_scratch():
    """Bytes of scratch memory that are kept for the next call, in the whole process."""
    return atomic_read(&cache.kept)


def cpu_level():
    """The highest level that this CPU and its operating system can run."""
    return ("base", "v3", "v4")[level_number()]


def has_bf16():
    """Whether this CPU multiplies bfloat16 numbers (AVX512_BF16) and runs level v4."""
    return cpu_has_bf16() != 0


def has_amx():
    """Whether this process may multiply bfloat16 numbers by AMX: asks the operating system for its registers."""
    return process_has_amx() != 0


def forked():
    """True in a child of fork, where a parallel region could wait for threads that were not copied."""
    return pool.is_child


def stack_of_regions(environment):
    """Bytes of the stack that OpenMP gives each of its threads where its settings say so, else 0."""
    for name in ("OMP_STACKSIZE", "GOMP_STACKSIZE"):
        found = re.fullmatch(r"\s*([0-9]+)\s*([bkmg]?)\s*", environment.get(name, ""), re.IGNORECASE)
        if found is not None:
            size = int(found[1]) << {"b": 0, "k": 10, "": 10, "m": 20, "g": 30}[found[2].lower()]
            if size <= <size_t> -1:
                return size
    return 0


pool.processors = 1
set_region_stack(stack_of_regions(os.environ))
threads_for(None)  # libomp reads its settings at its first call, and while this is imported they are set
own_functions.share_out, own_functions.grant_threads = share_out, granted
own_functions.scratch_take, own_functions.scratch_give = scratch_take, scratch_give
shared = PyCapsule_New(&own_functions, SHARED_NAME, NULL)
if watch_forks(in_child) != 0:
    raise ImportError("daseCV_c: pthread_atfork failed, so a forked child could not be told apart")
