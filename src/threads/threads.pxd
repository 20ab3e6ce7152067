# What kernels of every module call. The process has one pool of workers and one cache of scratch memory: both belong to
# the runtime module, and each other module is handed pointers to its functions when it is loaded. See README.md.
from cpython.pycapsule cimport PyCapsule_GetPointer

ctypedef void (*Work)(void *arg, int part) noexcept nogil

ctypedef struct SharedFunctions:
    void (*share_out)(Work body, void *arg, int parts, int threads) noexcept nogil
    void *(*scratch_take)(size_t size) noexcept nogil
    void (*scratch_give)(void *scratch) noexcept nogil
    int (*grant_threads)(int wanted) noexcept nogil

cdef extern from *:
    """
    #define SHARED_NAME "daseCV_c._compiled.runtime.shared"
    static void *shared_functions;
    """
    const char *SHARED_NAME
    void *shared_functions


cdef inline void share_out(Work body, void *arg, int parts, int threads) noexcept nogil:
    """body(arg, part) for each part, on at most `threads` threads at the same time."""
    (<SharedFunctions *> shared_functions).share_out(body, arg, parts, threads)


cdef inline void *scratch_take(size_t size) noexcept nogil:
    """At least so many bytes, 64-byte aligned and not cleared; NULL when memory runs out."""
    return (<SharedFunctions *> shared_functions).scratch_take(size)


cdef inline void scratch_give(void *scratch) noexcept nogil:
    """Ends the use of what scratch_take gave; NULL is allowed."""
    (<SharedFunctions *> shared_functions).scratch_give(scratch)


cdef inline int granted(int wanted) noexcept nogil:
    """Threads for the caller's next parallel region: as many as are wanted and the system grants."""
    return (<SharedFunctions *> shared_functions).grant_threads(wanted) if wanted > 1 else 1


cdef inline int import_threads() except -1:
    """At the module's load: hand it the functions that it shares with all others."""
    global shared_functions
    from daseCV_c._compiled import runtime
    shared_functions = PyCapsule_GetPointer(runtime.shared, SHARED_NAME)
    return 0
