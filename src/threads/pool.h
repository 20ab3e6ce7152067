/* Threads that wait for parts of a product.

   OpenMP's waiting threads are asleep here, so that they do not take the processors from NumPy's
   BLAS, and waking one costs more than a small product. These threads look for work for a short
   while after each job, and offer their processor to others each time they look; then they sleep.

   A job is a number of parts. The caller takes parts as everybody else does: it never waits for a
   thread that has not begun, so a job costs little more than it would alone if no thread comes. One
   job runs at a time; who finds another caller's job running does all parts of its own.

   Threads of NumPy's BLAS hold a processor for about 107 ms after a product and never offer it. Beside
   one, a thread that offers its turn waits for milliseconds, while a thread that wakes up is let in. So
   where processors are shared, threads sleep between jobs instead of looking, and jobs come in smaller
   parts, of which a thread with half a processor does fewer. A caller that waits for the last of them
   lends its own processor. */
#ifndef DASE_WORKERS_H
#define DASE_WORKERS_H

typedef void (*dase_work)(void *arg, int part);

#if defined(_OPENMP) && defined(__GNUC__) && !defined(_WIN32)
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#ifdef __linux__
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(__x86_64__) || defined(__i386__)
#define DASE_REST() __builtin_ia32_pause()
#else
#define DASE_REST() ((void)0)
#endif
#ifdef __linux__
#define DASE_PLACE_OF() sched_getcpu()
#define DASE_THREAD() (int)syscall(SYS_gettid)
#else
#define DASE_PLACE_OF() (-1)
#define DASE_THREAD() 0
#endif
#define DASE_WORKERS 63          /* at most */
#define DASE_LOOK_NS 100000      /* a thread looks for work so long before it sleeps */
#define DASE_LOOKS 4000          /* a caller waits so long before it offers its processor */
#define DASE_KEPT_NS 500000      /* who gets an offered turn back later than this shares the processor */
#define DASE_SHARED_NS 100000000 /* so long processors then count as shared */
#define DASE_SHARED_PARTS 4      /* times as many parts then, for up to so many threads: */
#define DASE_SHARED_MOST 8       /* each part has scratch of its own */
#define DASE_SHARED_CYCLES 1e5   /* a smaller job is done before who sleeps is awake */
#define DASE_TURN_NS 100000      /* the shortest turn that Linux grants */

/* job: number of the job (32 bits), its parts (16), the next part to take (16). */
static struct {
    uint64_t job;
    char apart[56];
    int done;                    /* parts that are finished */
    char behind[60];
    dase_work body;
    void *arg;
    int helpers;                 /* threads that may take parts beside the caller */
    int busy, started, asleep;
    uint32_t posted;             /* number of the job; who sleeps waits for the next */
    int place;                   /* the processor that the caller ran on */
    int caller;                  /* its thread; 0 before one was needed */
    int64_t shared_until;        /* until then processors count as shared */
    int thread[DASE_WORKERS];    /* the helpers */
    int at_work[DASE_WORKERS];   /* whether each is in a part */
    int moved[DASE_WORKERS];     /* whether a caller has moved it to its own processor */
    int alone;                   /* jobs in a row whose parts the caller did all by itself, up to 3 */
    pthread_mutex_t lock;
    pthread_cond_t wake;
} dase_pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

/* Does a part that nobody has; 0 when there is none, or none for thread `who` (-1 is the caller). */
static int dase_take_part(int who)
{
    uint64_t job = __atomic_load_n(&dase_pool.job, __ATOMIC_ACQUIRE);
    for (;;) {
        const int part = (int)(job & 0xffff);
        if (part >= (int)(job >> 16 & 0xffff)) return 0;
        if (who >= __atomic_load_n(&dase_pool.helpers, __ATOMIC_RELAXED)) return 0;
        if (!__atomic_compare_exchange_n(&dase_pool.job, &job, job + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            continue;
        /* The job cannot end before this part does, so what describes it stays. */
        if (who >= 0) __atomic_store_n(&dase_pool.at_work[who], 1, __ATOMIC_RELEASE);
        dase_pool.body(dase_pool.arg, part);
        if (who >= 0) __atomic_store_n(&dase_pool.at_work[who], 0, __ATOMIC_RELAXED);
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

static int dase_shared(int64_t now)
{
    return now < __atomic_load_n(&dase_pool.shared_until, __ATOMIC_RELAXED);
}

#ifdef __linux__
/* Until a job after number `seen`. */
static void dase_sleep(uint32_t seen)
{
    while (__atomic_load_n(&dase_pool.posted, __ATOMIC_SEQ_CST) == seen)
        syscall(SYS_futex, &dase_pool.posted, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void dase_wake(void) { syscall(SYS_futex, &dase_pool.posted, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }

/* Who asks for short turns is let in at once when it wakes up, by Linux from 6.12 on. */
static void dase_ask_short_turns(void)
{
#if defined(SYS_sched_setattr) && defined(SYS_sched_getattr)
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } turns = {0};
    if (syscall(SYS_sched_getattr, 0, &turns, sizeof turns, 0) != 0 || turns.policy != SCHED_OTHER) return;
    turns.runtime = DASE_TURN_NS;
    (void)!syscall(SYS_sched_setattr, 0, &turns, 0); /* without them it is only later */
#endif
}

/* Where no processor is idle, a thread may wake up on its caller's, and both get half of it. This one keeps off
   processor `off`; with -1 it may be wherever its caller may. */
static void dase_keep_off(int off)
{
    cpu_set_t may;
    const int caller = __atomic_load_n(&dase_pool.caller, __ATOMIC_RELAXED);
    if (sched_getaffinity(caller ? caller : getpid(), sizeof may, &may) != 0) return; /* it has ended */
    if (off >= 0 && off < CPU_SETSIZE) CPU_CLR(off, &may);
    if (CPU_COUNT(&may) > 0) sched_setaffinity(0, sizeof may, &may);
}

/* The helpers that are still in a part go on here; each leaves again after it. */
static void dase_lend(int helpers)
{
    cpu_set_t here;
    const int place = sched_getcpu();
    if (place < 0 || place >= CPU_SETSIZE) return;
    CPU_ZERO(&here);
    CPU_SET(place, &here);
    for (int who = 0; who < helpers; who++)
        if (__atomic_load_n(&dase_pool.at_work[who], __ATOMIC_ACQUIRE)
            && sched_setaffinity(dase_pool.thread[who], sizeof here, &here) == 0)
            __atomic_store_n(&dase_pool.moved[who], 1, __ATOMIC_RELEASE);
}
#else
static void dase_sleep(uint32_t seen)
{
    pthread_mutex_lock(&dase_pool.lock);
    while (__atomic_load_n(&dase_pool.posted, __ATOMIC_SEQ_CST) == seen)
        pthread_cond_wait(&dase_pool.wake, &dase_pool.lock);
    pthread_mutex_unlock(&dase_pool.lock);
}

static void dase_wake(void)
{
    pthread_mutex_lock(&dase_pool.lock); /* who is about to sleep does so first, or has seen the job */
    pthread_mutex_unlock(&dase_pool.lock);
    pthread_cond_broadcast(&dase_pool.wake);
}

static void dase_ask_short_turns(void) {}
static void dase_keep_off(int off) { (void)off; }
static void dase_lend(int helpers) { (void)helpers; }
#endif

static int dase_on_callers_processor(void)
{
    const int place = DASE_PLACE_OF();
    return place >= 0 && place == __atomic_load_n(&dase_pool.place, __ATOMIC_RELAXED);
}

static void *dase_worker(void *number)
{
    const int who = (int)(intptr_t)number;
    int64_t since = dase_now();
    int off = -1;
    dase_pool.thread[who] = DASE_THREAD(); /* before at_work, after which it is read */
    dase_ask_short_turns();
    for (;;) {
        const uint32_t seen = __atomic_load_n(&dase_pool.posted, __ATOMIC_SEQ_CST);
        const int64_t now = dase_now();
        const int shared = dase_shared(now), avoid = shared ? __atomic_load_n(&dase_pool.place, __ATOMIC_RELAXED) : -1;
        const int moved = __atomic_exchange_n(&dase_pool.moved[who], 0, __ATOMIC_ACQUIRE);
        if (moved || off != avoid) dase_keep_off(off = avoid);
        if (dase_take_part(who)) { since = dase_now(); continue; }
        int found; /* that there are more threads than processors */
        if (!shared && now - since < DASE_LOOK_NS && !dase_on_callers_processor()) {
            sched_yield();
            found = dase_now() - now > DASE_KEPT_NS;
        } else {
            __atomic_add_fetch(&dase_pool.asleep, 1, __ATOMIC_SEQ_CST);
            dase_sleep(seen);
            __atomic_sub_fetch(&dase_pool.asleep, 1, __ATOMIC_SEQ_CST);
            found = dase_on_callers_processor();
            since = dase_now();
        }
        if (found) __atomic_store_n(&dase_pool.shared_until, dase_now() + DASE_SHARED_NS, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* A child of fork has none of the threads, and nobody there waits for a job. */
static void dase_forget_workers(void)
{
    static const pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
    dase_pool.job = 0;
    dase_pool.posted = 0;
    dase_pool.shared_until = 0;
    dase_pool.caller = 0;
    memset(dase_pool.at_work, 0, sizeof dase_pool.at_work);
    memset(dase_pool.moved, 0, sizeof dase_pool.moved);
    dase_pool.busy = dase_pool.started = dase_pool.asleep = dase_pool.alone = 0;
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
        void *number = (void *)(intptr_t)dase_pool.started;
        if (pthread_create(&thread, NULL, dase_worker, number) != 0) break; /* fewer will do */
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &former, NULL);
}

/* Into how many parts a job of so many cycles is best cut for `threads`. */
static int dase_parts_for(int threads, double cycles)
{
    if (threads < 2 || threads > DASE_SHARED_MOST || !dase_shared(dase_now())) return threads;
    if (cycles < DASE_SHARED_CYCLES) return 1;
    __atomic_store_n(&dase_pool.caller, DASE_THREAD(), __ATOMIC_RELAXED);
    return DASE_SHARED_PARTS * threads;
}

/* body(arg, part) for each part, on at most `threads` threads at the same time. */
static void dase_share_out(dase_work body, void *arg, int parts, int threads)
{
    int idle = 0;
    if (parts < 2 || threads < 2 || parts > 0xffff
        || !__atomic_compare_exchange_n(&dase_pool.busy, &idle, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        for (int part = 0; part < parts; part++) body(arg, part);
        return;
    }
    const int others = (parts < threads ? parts : threads) - 1, helpers = others < DASE_WORKERS ? others : DASE_WORKERS;
    const uint32_t number = dase_pool.posted + 1;
    if (dase_pool.started < helpers) dase_start_workers(helpers);
    dase_pool.body = body;
    dase_pool.arg = arg;
    __atomic_store_n(&dase_pool.helpers, helpers, __ATOMIC_RELAXED);
    __atomic_store_n(&dase_pool.place, DASE_PLACE_OF(), __ATOMIC_RELAXED);
    __atomic_store_n(&dase_pool.done, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&dase_pool.job, (uint64_t)number << 32 | (uint64_t)parts << 16, __ATOMIC_SEQ_CST);
    __atomic_store_n(&dase_pool.posted, number, __ATOMIC_SEQ_CST);
    /* Waking costs a small product's time: seldom while it brings nobody, as on a busy machine. */
    if (__atomic_load_n(&dase_pool.asleep, __ATOMIC_SEQ_CST) > 0 && number % (1u << dase_pool.alone) == 0)
        dase_wake();
    int own = 0;
    while (dase_take_part(-1)) own++;
    dase_pool.alone = own < parts ? 0 : dase_pool.alone < 3 ? dase_pool.alone + 1 : 3;
    for (int looks = 0; __atomic_load_n(&dase_pool.done, __ATOMIC_ACQUIRE) < parts; looks++) {
        if (looks < DASE_LOOKS) DASE_REST();
        else {
            if (looks == DASE_LOOKS && parts > threads) dase_lend(helpers);
            sched_yield();
        }
    }
    __atomic_store_n(&dase_pool.busy, 0, __ATOMIC_RELEASE);
}

#else /* OpenMP's own team; without OpenMP a plain loop */

static int dase_parts_for(int threads, double cycles) { (void)cycles; return threads; }

static void dase_share_out(dase_work body, void *arg, int parts, int threads)
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
