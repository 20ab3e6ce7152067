/* A team of threads in one parallel region, and the barrier between the phases of its work.

   The region is OpenMP's; the barrier is not: with waiting threads put to sleep, OpenMP's own
   costs more than the phases between which it stands. Threads meet here many times within a
   millisecond, so they spin, and after a while give their processor away. */
#ifndef DASE_TEAM_H
#define DASE_TEAM_H

#include <stddef.h>

#if defined(_OPENMP) && defined(__GNUC__)
#include <omp.h>
#ifndef _WIN32
#include <sched.h>
#define DASE_YIELD() sched_yield()
#else
#define DASE_YIELD() ((void)0)
#endif
#if defined(__x86_64__) || defined(__i386__)
#define DASE_PAUSE() __builtin_ia32_pause()
#else
#define DASE_PAUSE() ((void)0)
#endif
#define DASE_SPINS 4000

typedef struct {
    int arrived;
    char apart[60]; /* who spins on `phase` must not disturb who counts */
    int phase;
    char behind[60];
} dase_barrier;

static void dase_meet(dase_barrier *b, int count)
{
    if (count == 1) return;
    const int phase = __atomic_load_n(&b->phase, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&b->arrived, 1, __ATOMIC_ACQ_REL) == count) {
        __atomic_store_n(&b->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&b->phase, phase + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int spins = 0; __atomic_load_n(&b->phase, __ATOMIC_ACQUIRE) == phase; spins++) {
        if (spins < DASE_SPINS) DASE_PAUSE();
        else DASE_YIELD();
    }
}

/* body(arg, part, parts) once for each thread of the team that OpenMP really gives. */
static void dase_team(void (*body)(void *, int, int), void *arg, int num_threads)
{
    if (num_threads <= 1) { body(arg, 0, 1); return; }
#pragma omp parallel num_threads(num_threads)
    body(arg, omp_get_thread_num(), omp_get_num_threads());
}

#else /* no OpenMP, or no atomics: one thread does it all */

typedef struct { int unused; } dase_barrier;
static void dase_meet(dase_barrier *b, int count) { (void)b; (void)count; }
static void dase_team(void (*body)(void *, int, int), void *arg, int num_threads)
{
    (void)num_threads;
    body(arg, 0, 1);
}

#endif

#endif
