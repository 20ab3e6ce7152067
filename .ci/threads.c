/* Drives pool, barrier, scratch memory and the granting of threads, as the kernels do, for ThreadSanitizer: data is
   plain, so that every place where one thread could see another's half of the work is a race that it reports.

   libgomp tells the sanitizer nothing of its barriers, so the threads here are POSIX threads; with Clang and libomp's
   archer the team is a parallel region too. Build and run: .ci/sanitize threads */
#include <stdio.h>
#include <stdlib.h>

#include "threads/pool.h"
#include "threads/scratch.h"
#include "threads/granted.h"
#include "threads/barrier.h"

enum { PARTS = 37, JOBS = 3000, CALLERS = 3, TEAM = 4, PHASES = 2000 };

static void fail(const char *what)
{
    fprintf(stderr, "threads: %s\n", what);
    exit(1);
}

/* The pool: each part writes its own number, the caller reads all of them. */
typedef struct { long done[PARTS], of; } Job;

static void part_of_job(void *arg, int part)
{
    Job *job = (Job *)arg;
    long *scratch = (long *)slot_empty(part % SLOTS);
    if (scratch == NULL) scratch = (long *)aligned_new(1024);
    if (scratch == NULL) fail("no memory");
    scratch[0] = job->of;
    job->done[part] = scratch[0] + part;
    if (!slot_fill(part % SLOTS, scratch)) aligned_free(scratch);
}

static void *caller(void *seed)
{
    Job job;
    for (long k = 0; k < JOBS; k++) {
        job.of = k + (long)(size_t)seed;
        pool_share_out(part_of_job, &job, PARTS, 4);
        for (int part = 0; part < PARTS; part++)
            if (job.done[part] != job.of + part) fail("a part was not done when the job ended");
        if (k % 500 == 0 && grant_threads(2 + (int)k % 3) < 1) fail("no thread at all");
    }
    return NULL;
}

/* The barrier: in each phase everybody reads what all others wrote in the phase before. */
typedef struct { Barrier barrier; long at[2][TEAM]; } Team;

static void member(void *arg, int part, int parts)
{
    Team *team = (Team *)arg;
    for (long phase = 0; phase < PHASES; phase++) {
        team->at[phase % 2][part] = phase;
        barrier_wait(&team->barrier, parts);
        for (int k = 0; k < parts; k++)
            if (team->at[phase % 2][k] != phase) fail("a thread passed the barrier before another had come");
    }
}

typedef struct { Team *team; int part; } Member;

static void *as_member(void *arg)
{
    member(((Member *)arg)->team, ((Member *)arg)->part, TEAM);
    return NULL;
}

int main(void)
{
    static Team of_threads;
    pthread_t threads[TEAM];
    Member members[TEAM];
    processors = 4;
    for (size_t k = 0; k < CALLERS; k++) pthread_create(&threads[k], NULL, caller, (void *)(1000 * k));
    for (int k = 0; k < CALLERS; k++) pthread_join(threads[k], NULL);
    for (int k = 0; k < TEAM; k++) {
        members[k] = (Member){&of_threads, k};
        pthread_create(&threads[k], NULL, as_member, &members[k]);
    }
    for (int k = 0; k < TEAM; k++) pthread_join(threads[k], NULL);
#ifdef __clang__
    static Team of_region;
    team(member, &of_region, TEAM);
#endif
    printf("%d jobs of %d parts by %d callers, %d phases of %d threads\n", CALLERS * JOBS, PARTS, CALLERS, PHASES, TEAM);
    return 0;
}
