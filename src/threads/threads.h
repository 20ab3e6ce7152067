/* What kernels of every module call. The process has one pool and one cache of scratch memory; both belong to
   the runtime module, and each other module is handed these pointers to its functions when it is loaded. */
#ifndef DASE_THREADS_H
#define DASE_THREADS_H

#include <stddef.h>

#define SHARED_NAME "daseCV_c._compiled.runtime.shared"

typedef void (*Work)(void *arg, int part);

typedef struct {
    void (*share_out)(Work body, void *arg, int parts, int threads);
    void *(*scratch_take)(size_t bytes);
    void (*scratch_give)(void *scratch);
    int (*grant_threads)(int wanted);
} SharedFunctions;

static const SharedFunctions *shared_functions;

/* body(arg, part) for each part, on at most `threads` threads at the same time. */
static inline void share_out(Work body, void *arg, int parts, int threads)
{
    shared_functions->share_out(body, arg, parts, threads);
}

/* At least so many bytes, 64-byte aligned and not cleared; NULL when memory runs out. */
static inline void *scratch_take(size_t bytes) { return shared_functions->scratch_take(bytes); }

/* Ends the use of what scratch_take gave; NULL is allowed. */
static inline void scratch_give(void *scratch) { shared_functions->scratch_give(scratch); }

/* Threads for a parallel region: as many as are wanted and the system grants. Asked right before the region. */
static inline int granted(int wanted) { return wanted > 1 ? shared_functions->grant_threads(wanted) : 1; }

#endif
