/* The pool: workers that wait for parts of a job, such as one rectangle of a small matrix product.

   OpenMP's threads sleep where they wait, so that they leave the processors to NumPy's BLAS, and to wake
   them costs more than a small product. A worker looks for the next job for about 100 us, then it sleeps.

   A job is a number of parts. The caller takes parts as the workers do, and waits for no worker that has
   not begun: where none comes, the job costs little more than alone. One job runs at a time; a caller
   that finds another's job running does all parts of its own. Which thread does a part changes no bit. */
#ifndef DASE_RUNTIME /* until all headers include threads.h themselves */
#include "threads.h"
#elif !defined(DASE_POOL_H)
#define DASE_POOL_H

#include "threads.h"
#include "wait.h"

static int dase_processors = 1; /* that this process may use: more workers than others would only push them aside */

#ifdef DASE_THREADS
#include <signal.h>
#include <string.h>

#define DASE_PART ((uint64_t)1)       /* in dase_pool.job */
#define DASE_SEAT ((uint64_t)1 << 16)
#define DASE_MOST 0xffff

static struct {
    uint64_t job;   /* its number (32 bits), workers that may still join (16), parts that nobody has (16) */
    char apart[56];
    int done;       /* parts that are finished */
    char behind[60];
    dase_flag posted, ended; /* a job's beginning and end */
    dase_work body;
    void *arg;
    int parts;
    int busy;       /* a caller's job runs */
    int workers;    /* that were started */
} dase_pool;

/* Takes and does one part of job `number`. 0 when it has none left, or no seat where a seat is wanted too. */
static int dase_take_part(uint32_t number, uint64_t wanted)
{
    uint64_t job = __atomic_load_n(&dase_pool.job, __ATOMIC_ACQUIRE);
    do {
        if (job >> 32 != number || (job & DASE_MOST) == 0) return 0;
        if ((wanted & DASE_SEAT) && (job >> 16 & DASE_MOST) == 0) return 0;
    } while (!__atomic_compare_exchange_n(&dase_pool.job, &job, job - wanted, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    /* The job cannot end before this part does: until then what describes it stays. */
    const int parts = dase_pool.parts;
    dase_pool.body(dase_pool.arg, parts - (int)(job & DASE_MOST));
    if (__atomic_add_fetch(&dase_pool.done, 1, __ATOMIC_ACQ_REL) == parts && dase_flag_raise(&dase_pool.ended) > 0)
        dase_wake(&dase_pool.ended, 1);
    return 1;
}

static void *dase_worker(void *unused)
{
    for (;;) {
        const uint32_t seen = __atomic_load_n(&dase_pool.posted.value, __ATOMIC_SEQ_CST);
        const uint32_t number = (uint32_t)(__atomic_load_n(&dase_pool.job, __ATOMIC_ACQUIRE) >> 32);
        if (dase_take_part(number, DASE_PART + DASE_SEAT))
            while (dase_take_part(number, DASE_PART)) {}
        else
            dase_flag_wait(&dase_pool.posted, seen);
    }
    return unused;
}

/* In a child of fork, which has none of the workers; nobody there waits for a job. */
static void dase_forget_workers(void)
{
    memset(&dase_pool, 0, sizeof dase_pool);
    dase_forget_sleepers();
}

/* Signals are for the program's own threads. */
static void dase_start_workers(int count)
{
    sigset_t all, former;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former);
    for (; dase_pool.workers < count; dase_pool.workers++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, dase_worker, NULL) != 0) break; /* fewer will do */
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &former, NULL);
}

static int dase_least(int a, int b) { return a < b ? a : b; }

/* body(arg, part) for each part, on at most `threads` threads at the same time. */
static void dase_pool_share_out(dase_work body, void *arg, int parts, int threads)
{
    const int helpers = dase_least(dase_least(parts, threads), dase_processors) - 1;
    int idle = 0;
    if (helpers < 1 || parts > DASE_MOST
        || !__atomic_compare_exchange_n(&dase_pool.busy, &idle, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        for (int part = 0; part < parts; part++) body(arg, part);
        return;
    }
    if (dase_pool.workers < helpers) dase_start_workers(helpers);
    const uint32_t number = dase_pool.posted.value + 1, running = dase_pool.ended.value;
    dase_pool.body = body;
    dase_pool.arg = arg;
    dase_pool.parts = parts;
    __atomic_store_n(&dase_pool.done, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&dase_pool.job, (uint64_t)number << 32 | helpers * DASE_SEAT | parts * DASE_PART,
                     __ATOMIC_SEQ_CST);
    const int asleep = dase_flag_raise(&dase_pool.posted), wanted = helpers - (dase_pool.workers - asleep);
    if (wanted > 0) dase_wake(&dase_pool.posted, wanted);
    while (dase_take_part(number, DASE_PART)) {}
    dase_flag_wait(&dase_pool.ended, running);
    __atomic_store_n(&dase_pool.busy, 0, __ATOMIC_RELEASE);
}

#else /* OpenMP's own threads; without OpenMP a plain loop */

static void dase_forget_workers(void) {}

static void dase_pool_share_out(dase_work body, void *arg, int parts, int threads)
{
    int part;
    (void)threads;
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads > 0 ? threads : 1) schedule(static, 1)
#endif
    for (part = 0; part < parts; part++) body(arg, part);
}

#endif
#endif
