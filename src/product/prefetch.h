/* Memory that is asked for while a tile is multiplied.

   Lines that a tile needs soon are written down; the kernel of the tile before list for them a few
   at a time, between multiplications, because many at once would wait for each other and let the
   tile wait too. They go to the second-level cache: the tile's own panels fill the first. */
#ifndef PREFETCH_H
#define PREFETCH_H

#include <stddef.h>
#include <stdint.h>

#define PREFETCH_LINES 256 /* lines for one tile */

#if defined(__GNUC__)
#define PREFETCH(line) __builtin_prefetch((line), 0, 2)
#else
#define PREFETCH(line) ((void)(line))
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

/* Add rows from..to of `bytes` bytes each, which begin `pitch` bytes pitch. */
static inline void prefetch_rows(prefetch_list *list, const void *first, ptrdiff_t pitch, ptrdiff_t bytes,
                                   ptrdiff_t from, ptrdiff_t to)
{
    for (ptrdiff_t i = from; i < to; i++) prefetch_range(list, (const char *)first + i * pitch, bytes);
}

#endif
