# The process's one pool of workers and one cache of scratch memory: see README.md.
from cpython.pycapsule cimport PyCapsule_GetPointer

cdef extern from "threads/threads.h" nogil:
    const char *SHARED_NAME
    ctypedef struct SharedFunctions:
        pass
    const SharedFunctions *shared_functions
    ctypedef void (*Work)(void *arg, int part) noexcept
    # body(arg, part) for each part, on at most `threads` threads at the same time.
    void share_out(Work body, void *arg, int parts, int threads) noexcept
    # At least so many bytes, 64-byte aligned and not cleared; NULL when memory runs out.
    void *scratch_take(size_t size) noexcept
    # Ends the use of what scratch_take gave; NULL is allowed.
    void scratch_give(void *scratch) noexcept
    # Threads for a parallel region: as many as are wanted and the system grants. Asked right before the region.
    int granted(int wanted) noexcept

cdef extern from "threads/barrier.h" nogil:
    # Embedded in what the threads of a parallel region share; all zeros before its first use.
    ctypedef struct Barrier:
        pass
    # Until all `count` threads of the region have come here.
    void barrier_wait(Barrier *barrier, int count) noexcept
    # body(arg, part, parts), once on each thread of a parallel region.
    ctypedef void (*TeamWork)(void *arg, int part, int parts) noexcept
    void team(TeamWork body, void *arg, int num_threads) noexcept


cdef inline int import_threads() except -1:
    """At the module's load: hand it the functions that it shares with all others."""
    global shared_functions
    from daseCV_c._compiled import runtime
    shared_functions = <const SharedFunctions *>PyCapsule_GetPointer(runtime.shared, SHARED_NAME)
    return 0
