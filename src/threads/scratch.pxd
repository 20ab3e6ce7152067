# The one cache of scratch memory of the process: blocks that are kept between calls. In the runtime module alone.
#
# A fresh large block costs page faults at every use, so a few blocks are kept in slots. A slot is emptied and filled by
# one atomic exchange: threads never wait. A child of fork begins with empty slots: what it wrote to a block of its
# parent's would be copied page by page. The first line of a block holds its size; the user gets what follows, 64-byte
# aligned.

cdef extern from "threads/scratch.h" nogil:
    enum:
        LINE
        SLOTS
    void *aligned_new(size_t size) noexcept
    void aligned_free(void *block) noexcept
    void *slot_empty(int slot) noexcept
    bint slot_fill(int slot, void *block) noexcept
    size_t kept          # bytes in the slots, and in blocks that are just being put there
    size_t keep(size_t size) noexcept
    size_t kept_bytes() noexcept
    void keep_no_more(size_t size) noexcept

cdef enum:
    KEPT_MOST = 64 << 20  # all slots together hold at most so much


cdef inline size_t size_of(void *block) noexcept nogil:
    return (<size_t *> block)[0]


cdef inline bint put_into_slot(void *block) noexcept nogil:
    """False when all slots together would hold too much, or none is empty."""
    cdef int i
    if keep(size_of(block)) <= KEPT_MOST:
        for i in range(SLOTS):
            if slot_fill(i, block):
                return True
    keep_no_more(size_of(block))
    return False


cdef inline void *cache_take(size_t size) noexcept nogil:
    """At least so many bytes, 64-byte aligned; NULL when memory runs out."""
    cdef char *block
    cdef int i
    if size > <size_t> -1 - LINE:
        return NULL
    size += LINE
    for i in range(SLOTS):
        block = <char *> slot_empty(i)
        if block == NULL:
            continue
        keep_no_more(size_of(block))
        if size_of(block) >= size:
            return block + LINE
        aligned_free(block)  # too small now: the larger one takes its place
    block = <char *> aligned_new(size)
    if block == NULL:
        return NULL
    (<size_t *> block)[0] = size
    return block + LINE


cdef inline void cache_give(void *scratch) noexcept nogil:
    """Puts what cache_take gave into the cache, or frees it; NULL is allowed."""
    if scratch == NULL:
        return
    cdef char *block = <char *> scratch - LINE
    if not put_into_slot(block):
        aligned_free(block)


cdef inline void empty_slots() noexcept nogil:
    """In a child of fork. Another thread may have been between counting a block and putting it there."""
    global kept
    cdef int i
    for i in range(SLOTS):
        aligned_free(slot_empty(i))
    kept = 0
