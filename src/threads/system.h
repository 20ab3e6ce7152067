/* What pool, barrier, scratch memory and granted threads take from the compiler and the system: atomics, sleep until a
   number changes, a clock, threads. What they do with it stands in the .pxd files beside.

   Without OpenMP, without GCC's atomics and on Windows HAVE_THREADS is 0: one thread does everything, and nobody calls
   what stands in for these functions. */
#ifndef DASE_SYSTEM_H
#define DASE_SYSTEM_H

#include <stdint.h>

/* Who reads what a thread wrote atomically also sees what it wrote before. All but writes have one order for all. */
#if defined(__GNUC__)
#define HAVE_ATOMICS 1
#define atomic_read(at) __atomic_load_n(at, __ATOMIC_SEQ_CST)
#define atomic_write(at, value) __atomic_store_n(at, value, __ATOMIC_RELEASE)
#define atomic_add(at, more) __atomic_add_fetch(at, more, __ATOMIC_SEQ_CST)
#define atomic_swap(at, value) __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST)
/* Writes value where `seen` stands; where something else does, that is put into `seen`, and it returns 0. */
#define atomic_change(at, seen, value)                                                       \
    __atomic_compare_exchange_n(at, seen, value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
#else
#define HAVE_ATOMICS 0
#define atomic_read(at) (*(at))
#define atomic_write(at, value) (*(at) = (value))
#define atomic_add(at, more) (*(at) += (more))
#define atomic_swap(at, value) (*(at))
#define atomic_change(at, seen, value) (*(at) == *(seen))
#endif

#if defined(_OPENMP) && HAVE_ATOMICS && !defined(_WIN32)
#define HAVE_THREADS 1
#define OF_THREAD __thread

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

typedef pthread_t Thread;
#define region_size() omp_get_num_threads()
#define offer_processor() sched_yield()
#if defined(__x86_64__) || defined(__i386__)
#define PAUSE() __builtin_ia32_pause()
#else
#define PAUSE() ((void)0)
#endif

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Returns at once where *at is no longer `seen`, and now and then without a reason. */
static inline void sleep_while(uint32_t *at, uint32_t seen)
{
    syscall(SYS_futex, at, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static inline void wake(uint32_t *at, int count) { syscall(SYS_futex, at, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0); }
static inline long thread_number(void) { return syscall(SYS_gettid); }
static inline int thread_lives(long number) { return syscall(SYS_tgkill, getpid(), number, 0) == 0; }
#else
static pthread_mutex_t bed = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t bell = PTHREAD_COND_INITIALIZER;

static inline void sleep_while(uint32_t *at, uint32_t seen)
{
    pthread_mutex_lock(&bed);
    if (atomic_read(at) == seen) pthread_cond_wait(&bell, &bed);
    pthread_mutex_unlock(&bed);
}

static inline void wake(uint32_t *at, int count)
{
    (void)at, (void)count;    /* one bell for all: who is woken in vain sleeps again */
    pthread_mutex_lock(&bed); /* who is about to sleep does so first, or has seen the change */
    pthread_mutex_unlock(&bed);
    pthread_cond_broadcast(&bell);
}

#define thread_number() 0
#define thread_lives(number) 0
#endif

static inline int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* 0 where the system refuses. A stack of 0 bytes, or of fewer or more than there can be, is the system's own choice.
   Signals are for the program's own threads. */
static inline int start_thread(Thread *thread, void *(*body)(void *), void *arg, size_t stack)
{
    sigset_t all, former;
    pthread_attr_t how;
    if (pthread_attr_init(&how)) return 0;
    if (stack) (void)pthread_attr_setstacksize(&how, stack);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former);
    const int refused = pthread_create(thread, &how, body, arg);
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    pthread_attr_destroy(&how);
    return !refused;
}

/* Whether the process may take only so much address space. */
static inline int room_is_limited(void)
{
    struct rlimit room;
    return getrlimit(RLIMIT_AS, &room) == 0 && room.rlim_cur != RLIM_INFINITY;
}

/* A parallel region in which nothing is done but to wait for each other: compilers leave out an empty one. */
static inline void open_region(int threads)
{
#pragma omp parallel num_threads(threads)
    {
#pragma omp barrier
    }
}

#define join_thread(thread) pthread_join(thread, NULL)
#define detach_thread(thread) pthread_detach(thread)

#else
#define HAVE_THREADS 0
#define OF_THREAD

typedef int Thread;
#define region_size() 1
#define offer_processor() ((void)0)
#define PAUSE() ((void)0)
#define sleep_while(at, seen) ((void)0)
#define wake(at, count) ((void)0)
#define now_ns() 0
#define start_thread(thread, body, arg, stack) 0
#define open_region(threads) ((void)(threads))
#define room_is_limited() 0
#define join_thread(thread) ((void)(thread))
#define detach_thread(thread) ((void)(thread))
#define thread_number() 0
#define thread_lives(number) 0
#endif
#endif
