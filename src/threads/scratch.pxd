# The one cache of scratch memory of the process: blocks that are kept between calls. In the runtime module alone.
#
# A fresh large block costs page faults at every use, so a few blocks are kept in slots. A slot is emptied and filled by
# one atomic exchange: threads never wait. A child of fork begins with empty slots: what it wrote to a block of its
# parent's would be copied page by page. The first line of a block holds its size; the user gets what follows, 64-byte
# aligned.

from threads.waiting cimport HAVE_ATOMICS, atomic_add, atomic_change, atomic_read, atomic_swap

cdef extern from "threads/scratch.h" nogil:
    enum:
        LINE
    void *aligned_new(size_t size) noexcept
    void aligned_free(void *block) noexcept

cdef enum:
    SLOTS = 8
    KEPT_MOST = 64 << 20  # all slots together hold at most so much

ctypedef struct Cache:
    size_t slots[SLOTS]   # addresses of blocks; 0 where there is none
    size_t kept           # bytes in the slots, and in blocks that are just being put there


cdef inline void *slot_empty(Cache *cache, int slot) noexcept nogil:
    """The block that was there, or NULL."""
    if atomic_read(&cache.slots[slot]) == 0:
        return NULL
    return <void *> <size_t> atomic_swap(&cache.slots[slot], 0)


cdef inline size_t size_of(void *block) noexcept nogil:
    return (<size_t *> block)[0]


cdef inline bint put_into_slot(Cache *cache, void *block) noexcept nogil:
    """False when all slots together would hold too much, or none is empty."""
    cdef size_t found
    cdef int i
    if not HAVE_ATOMICS:
        return False
    if atomic_add(&cache.kept, size_of(block)) <= KEPT_MOST:
        for i in range(SLOTS):
            found = 0
            if atomic_change(&cache.slots[i], &found, <size_t> block):
                return True
    atomic_add(&cache.kept, -size_of(block))
    return False


cdef inline void *cache_take(Cache *cache, size_t size) noexcept nogil:
    """At least so many bytes, 64-byte aligned; NULL when memory runs out."""
    cdef char *block
    cdef int i
    if size > <size_t> -1 - LINE:
        return NULL
    size += LINE
    for i in range(SLOTS):
        block = <char *> slot_empty(cache, i)
        if block == NULL:
            continue
        atomic_add(&cache.kept, -size_of(block))
        if size_of(block) >= size:
            return block + LINE
        aligned_free(block)  # too small now: the larger one takes its place
    block = <char *> aligned_new(size)
    if block == NULL:
        return NULL
    (<size_t *> block)[0] = size
    return block + LINE


cdef inline void cache_give(Cache *cache, void *scratch) noexcept nogil:
    """Puts what cache_take gave into the cache, or frees it; NULL is allowed."""
    if scratch == NULL:
        return
    cdef char *block = <char *> scratch - LINE
    if not put_into_slot(cache, block):
        aligned_free(block)


cdef inline void empty_slots(Cache *cache) noexcept nogil:
    """In a child of fork. Another thread may have been between counting a block and putting it there."""
    cdef int i
    for i in range(SLOTS):
        aligned_free(slot_empty(cache, i))
    cache.kept = 0
