/* A barrier for the threads of one parallel region, between the phases of their work.

   The region is OpenMP's; the barrier is not: OpenMP's threads sleep at once where they wait, and to wake
   them costs more than a phase. Threads pass this one many times within a millisecond. */
#ifndef DASE_BARRIER_H
#define DASE_BARRIER_H

#include "wait.h"

typedef void (*dase_team_work)(void *arg, int part, int parts);

#ifdef DASE_THREADS
#include <omp.h>

/* All zeros before its first use, and after each. */
typedef struct {
    int arrived;
    char apart[60]; /* who looks at the flag must not disturb who counts */
    dase_flag passed;
} dase_barrier;

/* Until all `count` threads have come here. */
static void dase_barrier_wait(dase_barrier *barrier, int count)
{
    if (count == 1) return;
    const uint32_t seen = __atomic_load_n(&barrier->passed.value, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) < count) {
        dase_flag_wait(&barrier->passed, seen);
        return;
    }
    __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED); /* before the flag: who is let through may come again */
    const int asleep = dase_flag_raise(&barrier->passed);
    if (asleep > 0) dase_wake(&barrier->passed, asleep);
}

/* body(arg, part, parts), once on each thread of the region that OpenMP really gives. */
static void dase_team(dase_team_work body, void *arg, int num_threads)
{
    if (num_threads <= 1) { body(arg, 0, 1); return; }
#pragma omp parallel num_threads(num_threads)
    body(arg, omp_get_thread_num(), omp_get_num_threads());
}

#else

typedef struct { int unused; } dase_barrier;
static void dase_barrier_wait(dase_barrier *barrier, int count) { (void)barrier, (void)count; }
static void dase_team(dase_team_work body, void *arg, int num_threads)
{
    (void)num_threads;
    body(arg, 0, 1);
}

#endif
#define dase_meet dase_barrier_wait /* until its callers are converted */

#endif
