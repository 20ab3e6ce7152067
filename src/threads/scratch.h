/* What the cache of scratch memory (scratch.pxd) is made of: memory from the system, and slots for blocks of it, which
   are emptied and filled by one atomic exchange. */
#ifndef DASE_SCRATCH_H
#define DASE_SCRATCH_H

#include <stddef.h>
#include <stdlib.h>

#define LINE 64                       /* of the processor's cache: blocks are aligned so */
#define LARGE_PAGE ((size_t)2 << 20)  /* a large page */
#define SLOTS 8

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

static void *slots[SLOTS];
static size_t kept; /* bytes in the slots, and in blocks that are just being put there */

#if defined(__GNUC__)
static void *slot_empty(int slot)
{
    void *block = NULL;
    if (__atomic_load_n(&slots[slot], __ATOMIC_RELAXED) != NULL)
        block = __atomic_exchange_n(&slots[slot], NULL, __ATOMIC_ACQUIRE);
    return block;
}

/* 0 when it is not empty. */
static int slot_fill(int slot, void *block)
{
    void *empty = NULL;
    return __atomic_compare_exchange_n(&slots[slot], &empty, block, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

static size_t keep(size_t size) { return __atomic_add_fetch(&kept, size, __ATOMIC_RELAXED); }
static void keep_no_more(size_t size) { __atomic_sub_fetch(&kept, size, __ATOMIC_RELAXED); }
static size_t kept_bytes(void) { return __atomic_load_n(&kept, __ATOMIC_RELAXED); }
#else /* nothing is kept */
static void *slot_empty(int slot) { (void)slot; return NULL; }
static int slot_fill(int slot, void *block) { (void)slot, (void)block; return 0; }
static size_t keep(size_t size) { (void)size; return 0; }
static void keep_no_more(size_t size) { (void)size; }
static size_t kept_bytes(void) { return 0; }
#endif

#endif
