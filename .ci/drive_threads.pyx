"""Drives pool, barrier, scratch memory and the granting of threads, as the kernels do, for ThreadSanitizer: data is
plain, so that every place where one thread could see another's half of the work is a race that it reports.

libgomp tells the sanitizer nothing of its barriers, so the threads here are POSIX threads; with Clang and libomp's
archer the team is a parallel region too. Build and run: .ci/sanitize threads
"""
from libc.stdio cimport puts
from libc.stdlib cimport abort

from threads.barrier cimport Barrier, barrier_wait, team
from threads.granted cimport grant_threads, join_thread
from threads.pool cimport Pool, Thread, pool_share_out, start_thread
from threads.scratch cimport Cache, cache_give, cache_take

cdef extern from *:
    """
    #ifdef __clang__
    #define REGION 1
    #else
    #define REGION 0
    #endif
    """
    bint REGION  # the team is a parallel region too

cdef enum:
    PARTS = 37
    JOBS = 3000
    CALLERS = 3
    TEAM = 4
    PHASES = 2000

# Each part of a job writes its own number, the caller reads all of them.
cdef struct Job:
    long done[PARTS]
    long of

cdef struct Team:
    Barrier barrier
    long at[2][TEAM]

cdef struct Member:
    Team *team
    int part

cdef Pool pool
cdef Cache cache
cdef Team of_threads, of_region


cdef void fail(const char *what) noexcept nogil:
    puts(what)
    abort()


cdef void part_of_job(void *arg, int part) noexcept nogil:
    cdef Job *job = <Job *> arg
    cdef long *scratch = <long *> cache_take(&cache, 1024)
    if scratch == NULL:
        fail("no memory")
    scratch[0] = job.of
    job.done[part] = scratch[0] + part
    cache_give(&cache, scratch)


cdef void *caller(void *seed) noexcept nogil:
    cdef Job job
    cdef long k
    cdef int part
    for k in range(JOBS):
        job.of = k + <long> <size_t> seed
        pool_share_out(&pool, part_of_job, &job, PARTS, 4)
        for part in range(PARTS):
            if job.done[part] != job.of + part:
                fail("a part was not done when the job ended")
        if k % 500 == 0 and grant_threads(2 + k % 3, False) < 1:
            fail("no thread at all")
    return NULL


cdef void member(void *arg, int part, int parts) noexcept nogil:
    """In each phase everybody reads what all others wrote in the phase before."""
    cdef Team *own = <Team *> arg
    cdef long phase
    cdef int k
    for phase in range(PHASES):
        own.at[phase % 2][part] = phase
        barrier_wait(&own.barrier, parts)
        for k in range(parts):
            if own.at[phase % 2][k] != phase:
                fail("a thread passed the barrier before another had come")


cdef void *as_member(void *arg) noexcept nogil:
    member((<Member *> arg).team, (<Member *> arg).part, TEAM)
    return NULL


def drive():
    cdef Thread threads[TEAM]
    cdef Member members[TEAM]
    cdef int k
    pool.processors = 4
    with nogil:
        for k in range(CALLERS):
            start_thread(&threads[k], caller, <void *> <size_t> (1000 * k), 0)
        for k in range(CALLERS):
            join_thread(threads[k])
        for k in range(TEAM):
            members[k].team, members[k].part = &of_threads, k
            start_thread(&threads[k], as_member, &members[k], 0)
        for k in range(TEAM):
            join_thread(threads[k])
        if REGION:
            team(member, &of_region, TEAM)
    print(f"{CALLERS * JOBS} jobs of {PARTS} parts by {CALLERS} callers, {PHASES} phases of {TEAM} threads")


drive()
