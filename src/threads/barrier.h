/* A barrier for the threads of one parallel region, between the phases of their work.

   The region is OpenMP's; the barrier is not: OpenMP's threads sleep at once where they wait, and to wake
   them costs more than a phase. Threads pass this one many times within a millisecond. */
#ifndef DASE_BARRIER_H
#define DASE_BARRIER_H

#include "wait.h"

typedef void (*TeamWork)(void *arg, int part, int parts);

#ifdef DASE_THREADS
#include <omp.h>

/* All zeros before its first use, and after each. */
typedef struct {
    int arrived;
    char apart[60]; /* who looks at the flag must not disturb who counts */
    Flag passed;
} Barrier;

/* Until all `count` threads have come here. */
static void barrier_wait(Barrier *barrier, int count)
{
    if (count == 1) return;
    const uint32_t seen = __atomic_load_n(&barrier->passed.value, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&barrier->arrived, 1, __ATOMIC_ACQ_REL) < count) {
        flag_wait(&barrier->passed, seen);
        return;
    }
    __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED); /* before the flag: who is let through may come again */
    const int asleep = flag_raise(&barrier->passed);
    if (asleep > 0) flag_wake(&barrier->passed, asleep);
}

/* body(arg, part, parts), once on each thread of the region that OpenMP really gives. */
static void team(TeamWork body, void *arg, int num_threads)
{
    if (num_threads <= 1) { body(arg, 0, 1); return; }
#pragma omp parallel num_threads(num_threads)
    body(arg, omp_get_thread_num(), omp_get_num_threads());
}

#else

typedef struct { int unused; } Barrier;
static void barrier_wait(Barrier *barrier, int count) { (void)barrier, (void)count; }
static void team(TeamWork body, void *arg, int num_threads)
{
    (void)num_threads;
    body(arg, 0, 1);
}

#endif
#endif
