/* Memory from the system for the cache of scratch memory: see scratch.pxd. */
#ifndef DASE_SCRATCH_H
#define DASE_SCRATCH_H

#include <stddef.h>
#include <stdlib.h>

#define LINE 64                       /* of the processor's cache: blocks are aligned so */
#define LARGE_PAGE ((size_t)2 << 20)  /* a large page */

#if defined(_WIN32) /* GCC and clang there have no posix_memalign either */
#include <malloc.h>
static void *aligned_new(size_t bytes) { return _aligned_malloc(bytes, LINE); }
static void aligned_free(void *p) { _aligned_free(p); }
#else
#if defined(__linux__)
#include <sys/mman.h>
#endif
static void *aligned_new(size_t bytes)
{
    void *p = NULL;
#if defined(MADV_HUGEPAGE)
    /* Panels lie far apart, so a product passes over many pages: large ones spare it looking them up. Where the
       system refuses, nothing is lost. */
    if (bytes >= 2 * LARGE_PAGE) {
        if (posix_memalign(&p, LARGE_PAGE, bytes) != 0) return NULL;
        madvise(p, bytes, MADV_HUGEPAGE);
        return p;
    }
#endif
    return posix_memalign(&p, LINE, bytes) == 0 ? p : NULL;
}
static void aligned_free(void *p) { free(p); }
#endif

#endif
