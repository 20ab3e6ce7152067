# The pool: workers that wait for parts of a job, such as one rectangle of a small matrix product. In the runtime module
# alone.
#
# OpenMP's threads sleep where they wait, so that they leave the processors to NumPy's BLAS, and to wake them costs more
# than a small product. A worker looks for the next job for about 100 us, then it sleeps.
#
# A job is a number of parts. The caller takes parts as the workers do, and waits for no worker that has not begun:
# where none comes, the job costs little more than alone. One job runs at a time; a caller that finds another's job
# running does all parts of its own. Which thread does a part changes no bit.
from cython.parallel cimport prange
from libc.stdint cimport uint32_t, uint64_t

from threads.threads cimport Work
from threads.waiting cimport (
    HAVE_THREADS, Flag, atomic_add, atomic_change, atomic_read, atomic_write, flag_raise, flag_wait, wake,
)

cdef extern from "threads/system.h" nogil:
    ctypedef struct Thread:
        pass
    bint start_thread(Thread *thread, void *(*body)(void *) noexcept nogil, void *arg, size_t stack) noexcept
    void detach_thread(Thread thread) noexcept

cdef enum:                # in the word that describes a job
    PART = 1
    SEAT = 1 << 16
    MOST = SEAT - 1

ctypedef struct Pool:
    uint64_t job          # its number (32 bits), seats for workers (16), parts that nobody has (16)
    char apart[56]
    int done              # parts that are finished
    char behind[60]
    Flag posted           # the job's beginning
    Flag ended
    Work body
    void *arg
    int parts
    int busy              # a job runs
    int workers           # that were started
    int processors        # that this process may use: more workers than others would only push them aside
    bint is_child         # of a fork: it has none of its parent's threads, and starts none


cdef inline bint take_part(Pool *pool, uint32_t number, uint64_t wanted) noexcept nogil:
    """Take and do one part of job `number`. False when it has none left, or no seat where a seat is wanted too."""
    cdef uint64_t job = atomic_read(&pool.job)
    cdef int parts
    while True:
        if job >> 32 != number or job & MOST == 0:
            return False
        if wanted & SEAT and job >> 16 & MOST == 0:
            return False
        if atomic_change(&pool.job, &job, job - wanted):
            break
    # The job cannot end before this part does: until then what describes it stays.
    parts = pool.parts
    pool.body(pool.arg, parts - <int> (job & MOST))
    if atomic_add(&pool.done, 1) == parts and flag_raise(&pool.ended) > 0:
        wake(&pool.ended.value, 1)
    return True


cdef inline void *worker(void *arg) noexcept nogil:
    cdef Pool *pool = <Pool *> arg
    cdef uint32_t seen, number
    while True:
        seen = <uint32_t> atomic_read(&pool.posted.value)
        number = <uint32_t> (atomic_read(&pool.job) >> 32)
        if take_part(pool, number, PART + SEAT):
            while take_part(pool, number, PART):
                pass
        else:
            flag_wait(&pool.posted, seen)


cdef inline void start_workers(Pool *pool, int count) noexcept nogil:
    cdef Thread thread
    while pool.workers < count and start_thread(&thread, worker, pool, 0):  # where it fails, fewer will do
        detach_thread(thread)
        pool.workers += 1


cdef inline void pool_share_out(Pool *pool, Work body, void *arg, int parts, int threads) noexcept nogil:
    """body(arg, part) for each part, on at most `threads` threads at the same time."""
    cdef int seats = min(parts, threads, pool.processors) - 1  # beside the caller
    cdef int part, wanted, idle = 0
    cdef uint32_t number, running
    if not HAVE_THREADS:  # OpenMP's own threads; without OpenMP a plain loop
        for part in prange(parts, num_threads=1 if pool.is_child else max(threads, 1), schedule="static", chunksize=1):
            body(arg, part)
        return
    if pool.is_child or seats < 1 or parts > MOST or not atomic_change(&pool.busy, &idle, 1):
        for part in range(parts):
            body(arg, part)
        return
    if pool.workers < seats:
        start_workers(pool, seats)
    number, running = pool.posted.value + 1, pool.ended.value
    pool.body, pool.arg, pool.parts = body, arg, parts
    atomic_write(&pool.done, 0)
    atomic_write(&pool.job, <uint64_t> number << 32 | <uint64_t> seats * SEAT | parts)
    wanted = seats - (pool.workers - flag_raise(&pool.posted))
    if wanted > 0:
        wake(&pool.posted.value, wanted)
    while take_part(pool, number, PART):
        pass
    flag_wait(&pool.ended, running)
    atomic_write(&pool.busy, 0)
