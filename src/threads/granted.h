/* How many threads the system grants for a parallel region.

   OpenMP's runtime ends the process where it cannot start a thread. So who wants a larger region than its last one
   first starts as many threads as are new, sees how many come, lets them end, and takes no more than that. OpenMP
   keeps the threads of a region for the next region of the same caller, so this is rare. */
#ifndef DASE_GRANTED_H
#define DASE_GRANTED_H

#include "pool.h"

#ifdef DASE_THREADS
#include <errno.h>
#include <signal.h>

#define REGION_MOST 1024
#define REFUSED_NS 1000000000 /* for so long a refusal is believed */

typedef struct {
    pthread_t thread;
    long number; /* the system's */
    pthread_mutex_t *door;
} Tried;

static __thread int region_threads = 1; /* of this caller's last region */
static __thread int64_t refused_ns;     /* when the system refused one; 0: it did not */

static void *stay(void *arg)
{
    Tried *tried = (Tried *)arg;
#ifdef __linux__
    tried->number = syscall(SYS_gettid);
#endif
    pthread_mutex_lock(tried->door); /* until all were started */
    pthread_mutex_unlock(tried->door);
    return NULL;
}

/* A thread counts against the limits for a little while after it was joined. */
static void until_gone(const Tried *tried)
{
#ifdef __linux__
    const int64_t until = now_ns() + REFUSED_NS;
    while (syscall(SYS_tgkill, getpid(), tried->number, 0) == 0 && now_ns() < until) sched_yield();
#else
    (void)tried;
#endif
}

/* How many of `wanted` further threads can live at the same time. */
static int threads_to_be_had(int wanted)
{
    Tried tried[REGION_MOST];
    pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER;
    sigset_t all, former;
    int count = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former); /* signals are for the program's own threads */
    pthread_mutex_lock(&door);
    for (; count < wanted; count++) {
        tried[count].door = &door;
        if (pthread_create(&tried[count].thread, NULL, stay, &tried[count]) != 0) break;
    }
    pthread_mutex_unlock(&door);
    for (int k = 0; k < count; k++) pthread_join(tried[k].thread, NULL);
    for (int k = 0; k < count; k++) until_gone(&tried[k]);
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    return count;
}

/* Threads for the caller's next parallel region: `wanted`, or as many as there can be. */
static int grant_threads(int wanted)
{
    if (wanted <= 1 || is_child) return 1; /* OpenMP would wait for threads that a child does not have */
    if (wanted > REGION_MOST) wanted = REGION_MOST;
    if (wanted > region_threads && refused_ns != 0 && now_ns() - refused_ns < REFUSED_NS) wanted = region_threads;
    if (wanted > region_threads) {
        const int more = wanted - region_threads, had = threads_to_be_had(more);
        refused_ns = had < more ? now_ns() : 0;
        wanted = region_threads + had;
    }
    if (wanted > 1) region_threads = wanted; /* those beyond it end */
    return wanted;
}

#else

static int grant_threads(int wanted) { return wanted; }

#endif
#endif
