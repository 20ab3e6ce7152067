/* Threads that wait for parts of a product.

   OpenMP's waiting threads are asleep here, so that they do not take the processors from NumPy's
   BLAS, and waking one costs more than a small product. These threads look for work for a short
   while after each job, and offer their processor to others each time they look; then they sleep.

   A job is a number of parts. The caller takes parts as everybody else does: it never waits for a
   thread that has not begun, so a job costs little more than it would alone if no thread comes. One
   job runs at a time; who finds another caller's job running does all parts of its own. */
#ifndef DASE_WORKERS_H
#define DASE_WORKERS_H

typedef void (*dase_work)(void *arg, int part);

#if defined(_OPENMP) && defined(__GNUC__) && !defined(_WIN32)
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>

#if defined(__x86_64__) || defined(__i386__)
#define DASE_REST() __builtin_ia32_pause()
#else
#define DASE_REST() ((void)0)
#endif
#ifdef __linux__
#define DASE_PLACE_OF() sched_getcpu()
#else
#define DASE_PLACE_OF() (-1)
#endif
#define DASE_WORKERS 63          /* at most */
#define DASE_LOOK_NS 100000      /* a thread looks for work so long before it sleeps */

/* job: number of the job (32 bits), its parts (16), the next part to take (16). */
static struct {
    uint64_t job;
    char apart[56];
    int done;                    /* parts that are finished */
    char behind[60];
    dase_work body;
    void *arg;
    int busy, started, asleep;
    int place;                   /* the processor that the caller ran on */
    pthread_mutex_t lock;
    pthread_cond_t wake;
} dase_pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

/* Does a part that nobody has; 0 when there is none. */
static int dase_take_part(void)
{
    uint64_t job = __atomic_load_n(&dase_pool.job, __ATOMIC_ACQUIRE);
    for (;;) {
        const int part = (int)(job & 0xffff);
        if (part >= (int)(job >> 16 & 0xffff)) return 0;
        if (!__atomic_compare_exchange_n(&dase_pool.job, &job, job + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            continue;
        /* The job cannot end before this part does, so what describes it stays. */
        dase_pool.body(dase_pool.arg, part);
        __atomic_add_fetch(&dase_pool.done, 1, __ATOMIC_ACQ_REL);
        return 1;
    }
}

static int64_t dase_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *dase_worker(void *unused)
{
    int64_t since = dase_now();
    (void)unused;
    for (;;) {
        if (dase_take_part()) { since = dase_now(); continue; }
        /* On the caller's own processor a thread only gets in its way: one that wakes up is put where
           there is room. */
        const int place = DASE_PLACE_OF();
        if (dase_now() - since < DASE_LOOK_NS
            && (place < 0 || place != __atomic_load_n(&dase_pool.place, __ATOMIC_RELAXED))) {
            sched_yield();
            continue;
        }
        const uint64_t seen = __atomic_load_n(&dase_pool.job, __ATOMIC_ACQUIRE) >> 32;
        pthread_mutex_lock(&dase_pool.lock);
        __atomic_add_fetch(&dase_pool.asleep, 1, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&dase_pool.job, __ATOMIC_SEQ_CST) >> 32 == seen)
            pthread_cond_wait(&dase_pool.wake, &dase_pool.lock);
        __atomic_sub_fetch(&dase_pool.asleep, 1, __ATOMIC_SEQ_CST);
        pthread_mutex_unlock(&dase_pool.lock);
        since = dase_now();
    }
    return NULL;
}

/* A child of fork has none of the threads, and nobody there waits for a job. */
static void dase_forget_workers(void)
{
    static const pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
    dase_pool.job = 0;
    dase_pool.busy = dase_pool.started = dase_pool.asleep = 0;
    dase_pool.lock = lock;
    dase_pool.wake = wake;
}

/* Signals are for the program's own threads. */
static void dase_start_workers(int count)
{
    static int watched = 0;
    sigset_t all, former;
    if (!watched) {
        if (pthread_atfork(NULL, NULL, dase_forget_workers) != 0) return;
        watched = 1;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former);
    for (; dase_pool.started < count; dase_pool.started++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, dase_worker, NULL) != 0) break; /* fewer will do */
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &former, NULL);
}

/* body(arg, part) for each part; parts run at the same time on at most `parts` threads. */
static void dase_share_out(dase_work body, void *arg, int parts)
{
    int idle = 0;
    if (parts < 2 || parts > 0xffff
        || !__atomic_compare_exchange_n(&dase_pool.busy, &idle, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        for (int part = 0; part < parts; part++) body(arg, part);
        return;
    }
    const int wanted = parts - 1 < DASE_WORKERS ? parts - 1 : DASE_WORKERS;
    const uint64_t number = (__atomic_load_n(&dase_pool.job, __ATOMIC_RELAXED) >> 32) + 1;
    if (dase_pool.started < wanted) dase_start_workers(wanted);
    dase_pool.body = body;
    dase_pool.arg = arg;
    __atomic_store_n(&dase_pool.place, DASE_PLACE_OF(), __ATOMIC_RELAXED);
    __atomic_store_n(&dase_pool.done, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&dase_pool.job, number << 32 | (uint64_t)parts << 16, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&dase_pool.asleep, __ATOMIC_SEQ_CST) > 0) {
        pthread_mutex_lock(&dase_pool.lock);
        pthread_cond_broadcast(&dase_pool.wake);
        pthread_mutex_unlock(&dase_pool.lock);
    }
    while (dase_take_part()) {}
    for (int looks = 0; __atomic_load_n(&dase_pool.done, __ATOMIC_ACQUIRE) < parts; looks++) {
        if (looks < 4000) DASE_REST();
        else sched_yield();
    }
    __atomic_store_n(&dase_pool.busy, 0, __ATOMIC_RELEASE);
}

#else /* OpenMP's own team; without OpenMP a plain loop */

static void dase_share_out(dase_work body, void *arg, int parts)
{
    int part;
#ifdef _OPENMP
#pragma omp parallel for num_threads(parts > 0 ? parts : 1) schedule(static, 1)
#endif
    for (part = 0; part < parts; part++) body(arg, part);
}

#endif
#endif
