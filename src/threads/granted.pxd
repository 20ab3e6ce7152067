# How many threads the system grants for a parallel region. In the runtime module alone.
#
# OpenMP's runtime ends the process where it cannot start a thread. So who wants a larger region than its last one first
# starts as many threads as are new, with stacks as large as OpenMP's, sees how many come, lets them end, and takes no
# more than that. At once an empty region of that size is opened: its threads are kept by OpenMP for the next region of
# the same caller, so memory that is taken until then cannot be missing for them. All this is rare.
from libc.stdint cimport int64_t, uint32_t

from threads.pool cimport Thread, start_thread
from threads.waiting cimport HAVE_THREADS, atomic_read, atomic_write, now_ns, offer_processor, sleep_while, wake

cdef extern from *:
    """
    #include "threads/system.h"
    static OF_THREAD int region_threads = 1;
    static OF_THREAD int64_t refused_ns;
    static size_t region_stack;
    """
    int region_threads  # of this caller's last region
    int64_t refused_ns  # when the system refused one; 0: it did not
    size_t region_stack  # bytes of the stack of each of OpenMP's threads; 0: the system's choice

cdef extern from "threads/system.h" nogil:
    void join_thread(Thread thread) noexcept
    long thread_number() noexcept
    bint thread_lives(long number) noexcept
    void open_region(int threads) noexcept
    bint room_is_limited() noexcept

cdef enum:
    REGION_MOST = 1024
    REFUSED_NS = 1000000000  # for so long a refusal is believed

ctypedef struct Tried:
    Thread thread
    long number              # the system's
    uint32_t *door


cdef inline void set_region_stack(size_t size) noexcept:
    global region_stack
    region_stack = size


cdef inline void *stay(void *arg) noexcept nogil:
    """Until the door is open: all were started."""
    cdef Tried *tried = <Tried *> arg
    tried.number = thread_number()
    while atomic_read(tried.door) == 0:
        sleep_while(tried.door, 0)
    return NULL


cdef inline int threads_to_be_had(int wanted) noexcept nogil:
    """How many of `wanted` further threads can live at the same time."""
    cdef Tried tried[REGION_MOST]
    cdef uint32_t door = 0
    cdef int64_t until
    cdef int k, count = 0
    while count < wanted:
        tried[count].door = &door
        if not start_thread(&tried[count].thread, stay, &tried[count], region_stack):
            break
        count += 1
    atomic_write(&door, 1)
    wake(&door, count)
    for k in range(count):
        join_thread(tried[k].thread)
    for k in range(count):  # a thread counts against the limits for a little while after it was joined
        until = now_ns() + REFUSED_NS
        while thread_lives(tried[k].number) and now_ns() < until:
            offer_processor()
    return count


cdef inline int grant_threads(int wanted, bint is_child) noexcept nogil:
    """Threads for the caller's next parallel region: `wanted`, or as many as there can be."""
    global region_threads, refused_ns
    cdef int more, had
    if not HAVE_THREADS:
        return wanted
    if wanted <= 1 or is_child:
        return 1             # OpenMP would wait for threads that a child does not have
    wanted = min(wanted, REGION_MOST)
    if wanted > region_threads and refused_ns != 0 and now_ns() - refused_ns < REFUSED_NS:
        wanted = region_threads
    if wanted > region_threads:
        more = wanted - region_threads
        if room_is_limited():  # stacks get half of what is left, and numbers the rest
            had = threads_to_be_had(min(2 * more, REGION_MOST)) // 2
        else:
            had = threads_to_be_had(more)
        refused_ns = now_ns() if had < more else 0
        wanted = region_threads + had
        if had:
            open_region(wanted)
    if wanted > 1:
        region_threads = wanted  # those beyond it end
    return wanted
