# How a thread waits for another: it looks for a while, then sleeps. The pool and the barrier wait so.
#
# It looks a few times between pauses of the processor; then it offers its processor to others before each look. Where
# threads outnumber processors, the one that is waited for needs that processor.
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "threads/system.h" nogil:
    bint HAVE_ATOMICS
    bint HAVE_THREADS
    # Each takes a pointer to a number of any width, and numbers of that width.
    uint64_t atomic_read(const void *at) noexcept
    void atomic_write(void *at, uint64_t value) noexcept
    uint64_t atomic_add(void *at, int64_t more) noexcept  # returns the sum
    uint64_t atomic_swap(void *at, uint64_t value) noexcept
    bint atomic_change(void *at, void *seen, uint64_t value) noexcept
    int64_t now_ns() noexcept
    void offer_processor() noexcept
    void PAUSE() noexcept
    void sleep_while(uint32_t *at, uint32_t seen) noexcept
    void wake(uint32_t *at, int count) noexcept

cdef enum:
    PAUSES = 200      # a few microseconds
    LOOK_NS = 100000  # who looked so long in vain sleeps

# A counter that one thread raises and others wait for. A line of its own: who looks disturbs nobody.
ctypedef struct Flag:
    uint32_t value
    int asleep        # threads that wait for it asleep
    char apart[56]


cdef inline bint flag_raised(Flag *flag, uint32_t seen) noexcept nogil:
    return atomic_read(&flag.value) != seen


cdef inline void flag_wait(Flag *flag, uint32_t seen) noexcept nogil:
    """Until the flag's value is no longer `seen`."""
    cdef int64_t until
    cdef int _pause
    for _pause in range(PAUSES):
        if flag_raised(flag, seen):
            return
        PAUSE()
    until = now_ns() + LOOK_NS
    while now_ns() < until:
        if flag_raised(flag, seen):
            return
        offer_processor()
    atomic_add(&flag.asleep, 1)  # before the last look: who raises it after that sees it
    while not flag_raised(flag, seen):
        sleep_while(&flag.value, seen)
    atomic_add(&flag.asleep, -1)


cdef inline int flag_raise(Flag *flag) noexcept nogil:
    """Raise it by one. Returns how many wait for it asleep: wake(&flag.value, ...) wakes them."""
    atomic_add(&flag.value, 1)
    return <int> atomic_read(&flag.asleep)
