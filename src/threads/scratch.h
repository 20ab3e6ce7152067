/* Aligned scratch that is kept between products.

   A fresh large block costs page faults at every use, so a few blocks are kept in slots for the
   whole process. A slot is emptied and filled by one atomic exchange: threads never wait, and a
   child of fork finds the slots whole (a block that was in use then is lost to the child). */
#ifndef DASE_GEMM_SCRATCH_H
#define DASE_GEMM_SCRATCH_H

#include <stddef.h>
#include <stdlib.h>

#define DASE_ALIGN 64
#define DASE_HUGE ((size_t)2 << 20) /* a large page */
#define DASE_SLOTS 8
#define DASE_KEEP ((size_t)32 << 20) /* larger blocks are given back at once */

#if defined(_MSC_VER)
#include <malloc.h>
static void *dase_aligned_new(size_t bytes) { return _aligned_malloc(bytes, DASE_ALIGN); }
static void dase_aligned_free(void *p) { _aligned_free(p); }
#else
#if defined(__linux__)
#include <sys/mman.h>
#endif
static void *dase_aligned_new(size_t bytes)
{
    void *p = NULL;
#if defined(MADV_HUGEPAGE)
    /* Panels lie far apart, so a product passes over many pages: large ones spare it looking them up. Where the
       system refuses, nothing is lost. */
    if (bytes >= 2 * DASE_HUGE) {
        if (posix_memalign(&p, DASE_HUGE, bytes) != 0) return NULL;
        madvise(p, bytes, MADV_HUGEPAGE);
        return p;
    }
#endif
    return posix_memalign(&p, DASE_ALIGN, bytes) == 0 ? p : NULL;
}
static void dase_aligned_free(void *p) { free(p); }
#endif

#if defined(__GNUC__)
static void *dase_slots[DASE_SLOTS];
static void *dase_slot_take(int i)
{
    if (__atomic_load_n(&dase_slots[i], __ATOMIC_RELAXED) == NULL) return NULL;
    return __atomic_exchange_n(&dase_slots[i], NULL, __ATOMIC_ACQUIRE);
}
static int dase_slot_put(int i, void *p)
{
    void *empty = NULL;
    return __atomic_compare_exchange_n(&dase_slots[i], &empty, p, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}
#else
static void *dase_slot_take(int i) { (void)i; return NULL; }
static int dase_slot_put(int i, void *p) { (void)i; (void)p; return 0; }
#endif

/* The first line of a block holds its size; the caller gets what follows, 64-byte aligned.
   NULL when memory runs out. */
static void *dase_scratch_take(size_t bytes)
{
    char *block;
    for (int i = 0; i < DASE_SLOTS; i++) {
        block = (char *)dase_slot_take(i);
        if (block == NULL) continue;
        if (*(size_t *)block >= bytes) return block + DASE_ALIGN;
        dase_aligned_free(block); /* too small now: the larger one takes its place */
    }
    if (bytes > (size_t)-1 - DASE_ALIGN) return NULL;
    block = (char *)dase_aligned_new(bytes + DASE_ALIGN);
    if (block == NULL) return NULL;
    *(size_t *)block = bytes;
    return block + DASE_ALIGN;
}

static void dase_scratch_give(void *scratch)
{
    char *block = (char *)scratch - DASE_ALIGN;
    if (*(size_t *)block <= DASE_KEEP)
        for (int i = 0; i < DASE_SLOTS; i++)
            if (dase_slot_put(i, block)) return;
    dase_aligned_free(block);
}

#endif
