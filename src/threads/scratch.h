/* The one cache of scratch memory of the process: blocks that are kept between calls.

   A fresh large block costs page faults at every use, so a few blocks are kept in slots. A slot is
   emptied and filled by one atomic exchange: threads never wait, and a child of fork finds the slots
   whole (a block that was in use then is lost to the child). */
#ifndef DASE_SCRATCH_H
#define DASE_SCRATCH_H

#include <stddef.h>
#include <stdlib.h>

#define ALIGN 64
#define LARGE_PAGE ((size_t)2 << 20)  /* a large page */
#define SLOTS 8
#define KEPT_MOST ((size_t)64 << 20) /* all slots together hold at most so much */

#if defined(_WIN32) /* GCC and clang there have no posix_memalign either */
#include <malloc.h>
static void *aligned_new(size_t bytes) { return _aligned_malloc(bytes, ALIGN); }
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
    return posix_memalign(&p, ALIGN, bytes) == 0 ? p : NULL;
}
static void aligned_free(void *p) { free(p); }
#endif

/* The first line of a block holds its size; the user gets what follows, 64-byte aligned. */
static size_t size_of(void *block) { return *(size_t *)block; }

#if defined(__GNUC__)
static void *slots[SLOTS];
static size_t kept; /* bytes in the slots, and in blocks that are just being put there */

static void *slot_take(int i)
{
    void *block = NULL;
    if (__atomic_load_n(&slots[i], __ATOMIC_RELAXED) != NULL)
        block = __atomic_exchange_n(&slots[i], NULL, __ATOMIC_ACQUIRE);
    if (block != NULL) __atomic_sub_fetch(&kept, size_of(block), __ATOMIC_RELAXED);
    return block;
}

/* 0 when all slots together would hold too much, or none is empty. */
static int slots_put(void *block)
{
    const size_t size = size_of(block);
    if (__atomic_add_fetch(&kept, size, __ATOMIC_RELAXED) <= KEPT_MOST)
        for (int i = 0; i < SLOTS; i++) {
            void *empty = NULL;
            if (__atomic_compare_exchange_n(&slots[i], &empty, block, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
                return 1;
        }
    __atomic_sub_fetch(&kept, size, __ATOMIC_RELAXED);
    return 0;
}

static size_t kept_bytes(void) { return __atomic_load_n(&kept, __ATOMIC_RELAXED); }

/* In a child of fork: another thread may have been between counting a block and putting it there. */
static void count_slots(void)
{
    kept = 0;
    for (int i = 0; i < SLOTS; i++)
        if (slots[i] != NULL) kept += size_of(slots[i]);
}
#else
static void *slot_take(int i) { (void)i; return NULL; }
static int slots_put(void *block) { (void)block; return 0; }
static size_t kept_bytes(void) { return 0; }
static void count_slots(void) {}
#endif

/* At least so many bytes, 64-byte aligned; NULL when memory runs out. */
static void *cache_take(size_t bytes)
{
    char *block;
    if (bytes > (size_t)-1 - ALIGN) return NULL;
    bytes += ALIGN;
    for (int i = 0; i < SLOTS; i++) {
        block = (char *)slot_take(i);
        if (block == NULL) continue;
        if (size_of(block) >= bytes) return block + ALIGN;
        aligned_free(block); /* too small now: the larger one takes its place */
    }
    block = (char *)aligned_new(bytes);
    if (block == NULL) return NULL;
    *(size_t *)block = bytes;
    return block + ALIGN;
}

/* Puts what cache_take gave into the cache, or frees it; NULL is allowed. */
static void cache_give(void *scratch)
{
    if (scratch == NULL) return;
    char *block = (char *)scratch - ALIGN;
    if (!slots_put(block)) aligned_free(block);
}

#endif
