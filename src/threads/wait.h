/* How a thread waits for another: it looks for a while, then sleeps. The pool and the barrier wait so.

   It looks a few times between pauses of the processor; then it offers its processor to others before
   each look. Where threads outnumber processors, the one that is waited for needs that processor. */
#ifndef DASE_WAIT_H
#define DASE_WAIT_H

#if defined(_OPENMP) && defined(__GNUC__) && !defined(_WIN32)
#define DASE_THREADS 1 /* threads, atomics and a way to wait: without them one thread does everything */

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <time.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(__x86_64__) || defined(__i386__)
#define PAUSE() __builtin_ia32_pause()
#else
#define PAUSE() ((void)0)
#endif
#define PAUSES 200     /* a few microseconds */
#define LOOK_NS 100000 /* who looked so long in vain sleeps */

/* A counter that one thread raises and others wait for. A line of its own: who looks disturbs nobody. */
typedef struct {
    uint32_t value;
    int asleep; /* threads that wait for it asleep */
    char apart[56];
} Flag;

#ifdef __linux__
static void flag_sleep(Flag *flag, uint32_t seen)
{
    syscall(SYS_futex, &flag->value, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0); /* returns at once if it is raised */
}

static void flag_wake(Flag *flag, int count)
{
    syscall(SYS_futex, &flag->value, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

#else
static pthread_mutex_t bed = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t bell = PTHREAD_COND_INITIALIZER;

static void flag_sleep(Flag *flag, uint32_t seen)
{
    pthread_mutex_lock(&bed);
    if (__atomic_load_n(&flag->value, __ATOMIC_SEQ_CST) == seen) pthread_cond_wait(&bell, &bed);
    pthread_mutex_unlock(&bed);
}

static void flag_wake(Flag *flag, int count)
{
    (void)flag, (void)count;  /* one bell for all flags: who is woken in vain sleeps again */
    pthread_mutex_lock(&bed); /* who is about to sleep does so first, or has seen the flag raised */
    pthread_mutex_unlock(&bed);
    pthread_cond_broadcast(&bell);
}
#endif

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int flag_raised(Flag *flag, uint32_t seen)
{
    return __atomic_load_n(&flag->value, __ATOMIC_SEQ_CST) != seen;
}

/* Until the flag's value is no longer `seen`. */
static void flag_wait(Flag *flag, uint32_t seen)
{
    for (int pauses = 0; pauses < PAUSES; pauses++) {
        if (flag_raised(flag, seen)) return;
        PAUSE();
    }
    for (const int64_t until = now_ns() + LOOK_NS; now_ns() < until; sched_yield())
        if (flag_raised(flag, seen)) return;
    __atomic_add_fetch(&flag->asleep, 1, __ATOMIC_SEQ_CST); /* before the last look: who raises it after that sees it */
    while (!flag_raised(flag, seen)) flag_sleep(flag, seen);
    __atomic_sub_fetch(&flag->asleep, 1, __ATOMIC_SEQ_CST);
}

/* Raise it by one. Returns how many wait for it asleep: flag_wake wakes them. */
static int flag_raise(Flag *flag)
{
    __atomic_add_fetch(&flag->value, 1, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&flag->asleep, __ATOMIC_SEQ_CST);
}

#endif
#endif
