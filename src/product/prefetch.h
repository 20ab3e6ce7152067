/* Memory that is prefetched while a tile is multiplied.

   The lines that come next are listed; the micro-kernel prefetches a few at a time, between its
   multiplications, because many at once would wait for each other, and the tile for them. They go to
   the second-level cache: the tile's own panels fill the first. */
#ifndef PREFETCH_H
#define PREFETCH_H

#include <stddef.h>
#include <stdint.h>

#define PREFETCH_LINES 256 /* lines for one tile */

#if defined(__GNUC__)
#define PREFETCH(line) __builtin_prefetch((line), 0, 2)
#define PREFETCH_NEAR(line) __builtin_prefetch((line), 0) /* to the first-level cache */
#else
#define PREFETCH(line) ((void)(line))
#define PREFETCH_NEAR(line) ((void)(line))
#endif

typedef struct {
    const void *at[PREFETCH_LINES];
    int count;
} prefetch_list;

/* Add the lines that hold `bytes` bytes; where the list is full, they are prefetched at once. */
static inline void prefetch_range(prefetch_list *list, const void *from, ptrdiff_t bytes)
{
    const char *end = (const char *)from + bytes;
    for (const char *line = (const char *)((uintptr_t)from & ~(uintptr_t)63); line < end; line += 64) {
        if (list->count < PREFETCH_LINES) list->at[list->count++] = line;
        else PREFETCH(line);
    }
}

/* Add rows first..past of `bytes` bytes each, `stride` bytes apart. */
static inline void prefetch_rows(prefetch_list *list, const void *start, ptrdiff_t stride, ptrdiff_t bytes,
                                 ptrdiff_t first, ptrdiff_t past)
{
    for (ptrdiff_t i = first; i < past; i++) prefetch_range(list, (const char *)start + i * stride, bytes);
}

#endif
