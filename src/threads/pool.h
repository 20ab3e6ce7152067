/* The pool: workers that wait for parts of a job, such as one rectangle of a small matrix product.

   OpenMP's threads sleep where they wait, so that they leave the processors to NumPy's BLAS, and to wake
   them costs more than a small product. A worker looks for the next job for about 100 us, then it sleeps.

   A job is a number of parts. The caller takes parts as the workers do, and waits for no worker that has
   not begun: where none comes, the job costs little more than alone. One job runs at a time; a caller
   that finds another's job running does all parts of its own. Which thread does a part changes no bit. */
#ifndef DASE_POOL_H
#define DASE_POOL_H

#include "threads.h"
#include "wait.h"

static int processors = 1; /* that this process may use: more workers than others would only push them aside */
static int is_child = 0;   /* of a fork: it has none of its parent's threads, and starts none */

#ifdef DASE_THREADS
#include <signal.h>

#define PART ((uint64_t)1) /* in pool.job */
#define SEAT ((uint64_t)1 << 16)
#define MOST 0xffff

static struct {
    uint64_t job; /* its number (32 bits), seats for workers (16), parts that nobody has (16) */
    char apart[56];
    int done; /* parts that are finished */
    char behind[60];
    Flag posted, ended; /* the job's beginning and end */
    Work body;
    void *arg;
    int parts;
    int busy;    /* a job runs */
    int workers; /* that were started */
} pool;

/* Takes and does one part of job `number`. 0 when it has none left, or no seat where a seat is wanted too. */
static int take_part(uint32_t number, uint64_t wanted)
{
    uint64_t job = __atomic_load_n(&pool.job, __ATOMIC_ACQUIRE);
    do {
        if (job >> 32 != number || (job & MOST) == 0) return 0;
        if ((wanted & SEAT) && (job >> 16 & MOST) == 0) return 0;
    } while (!__atomic_compare_exchange_n(&pool.job, &job, job - wanted, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    /* The job cannot end before this part does: until then what describes it stays. */
    const int parts = pool.parts;
    pool.body(pool.arg, parts - (int)(job & MOST));
    if (__atomic_add_fetch(&pool.done, 1, __ATOMIC_ACQ_REL) == parts && flag_raise(&pool.ended) > 0)
        flag_wake(&pool.ended, 1);
    return 1;
}

static void *worker(void *unused)
{
    for (;;) {
        const uint32_t seen = __atomic_load_n(&pool.posted.value, __ATOMIC_SEQ_CST);
        const uint32_t number = (uint32_t)(__atomic_load_n(&pool.job, __ATOMIC_ACQUIRE) >> 32);
        if (take_part(number, PART + SEAT))
            while (take_part(number, PART)) {}
        else
            flag_wait(&pool.posted, seen);
    }
    return unused;
}

/* Signals are for the program's own threads. */
static void start_workers(int count)
{
    sigset_t all, former;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former);
    for (; pool.workers < count; pool.workers++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, worker, NULL) != 0) break; /* fewer will do */
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &former, NULL);
}

static int least(int a, int b) { return a < b ? a : b; }

/* body(arg, part) for each part, on at most `threads` threads at the same time. */
static void pool_share_out(Work body, void *arg, int parts, int threads)
{
    const int seats = least(least(parts, threads), processors) - 1; /* beside the caller */
    int idle = 0;
    if (is_child || seats < 1 || parts > MOST
        || !__atomic_compare_exchange_n(&pool.busy, &idle, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        for (int part = 0; part < parts; part++) body(arg, part);
        return;
    }
    if (pool.workers < seats) start_workers(seats);
    const uint32_t number = pool.posted.value + 1, running = pool.ended.value;
    pool.body = body;
    pool.arg = arg;
    pool.parts = parts;
    __atomic_store_n(&pool.done, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&pool.job, (uint64_t)number << 32 | (uint64_t)seats * SEAT | (uint64_t)parts * PART, __ATOMIC_SEQ_CST);
    const int asleep = flag_raise(&pool.posted), wanted = seats - (pool.workers - asleep);
    if (wanted > 0) flag_wake(&pool.posted, wanted);
    while (take_part(number, PART)) {}
    flag_wait(&pool.ended, running);
    __atomic_store_n(&pool.busy, 0, __ATOMIC_RELEASE);
}

#else /* OpenMP's own threads; without OpenMP a plain loop */

static void pool_share_out(Work body, void *arg, int parts, int threads)
{
    int part;
    (void)threads;
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads > 0 && !is_child ? threads : 1) schedule(static, 1)
#endif
    for (part = 0; part < parts; part++) body(arg, part);
}

#endif
#endif
