/* What kernels of every module call. The process has one pool and one cache of scratch memory; both belong to
   the runtime module, and each other module is handed these pointers to its functions when it is loaded. */
#ifndef DASE_THREADS_H
#define DASE_THREADS_H

#include <stddef.h>

#define DASE_SHARED_NAME "daseCV_c._compiled.runtime.shared"

typedef void (*dase_work)(void *arg, int part);

typedef struct {
    void (*share_out)(dase_work body, void *arg, int parts, int threads);
    void *(*scratch_take)(size_t bytes);
    void (*scratch_give)(void *scratch);
} dase_shared_functions;

static const dase_shared_functions *dase_shared;

/* body(arg, part) for each part, on at most `threads` threads at the same time. */
static inline void dase_share_out(dase_work body, void *arg, int parts, int threads)
{
    dase_shared->share_out(body, arg, parts, threads);
}

/* At least so many bytes, 64-byte aligned and not cleared; NULL when memory runs out. */
static inline void *dase_scratch_take(size_t bytes) { return dase_shared->scratch_take(bytes); }

/* Ends the use of what dase_scratch_take gave; NULL is allowed. */
static inline void dase_scratch_give(void *scratch) { dase_shared->scratch_give(scratch); }

/* Until its callers are converted. */
static inline int dase_parts_for(int threads, double cycles) { (void)cycles; return threads; }

#endif
