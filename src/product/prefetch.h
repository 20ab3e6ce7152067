/* Memory that is asked for while a tile is multiplied.

   Lines that a tile needs soon are written down; the kernel of the tile before asks for them a few
   at a time, between multiplications, because many at once would wait for each other and let the
   tile wait too. They go to the second-level cache: the tile's own panels fill the first. */
#ifndef DASE_ASKS_H
#define DASE_ASKS_H

#include <stddef.h>
#include <stdint.h>

#define DASE_ASKS 256 /* lines for one tile */

#if defined(__GNUC__)
#define DASE_ASK(line) __builtin_prefetch((line), 0, 2)
#else
#define DASE_ASK(line) ((void)(line))
#endif

typedef struct {
    const void *at[DASE_ASKS];
    int count;
} dase_asks;

/* The lines that hold `bytes` bytes; those beyond the room for them are asked for at once. */
static inline void dase_ask(dase_asks *asks, const void *from, ptrdiff_t bytes)
{
    const char *end = (const char *)from + bytes;
    for (const char *line = (const char *)((uintptr_t)from & ~(uintptr_t)63); line < end; line += 64) {
        if (asks->count < DASE_ASKS) asks->at[asks->count++] = line;
        else DASE_ASK(line);
    }
}

/* Pieces from..to of `bytes` bytes each, which are `apart` bytes apart. */
static inline void dase_ask_pieces(dase_asks *asks, const void *first, ptrdiff_t apart, ptrdiff_t bytes,
                                   ptrdiff_t from, ptrdiff_t to)
{
    for (ptrdiff_t i = from; i < to; i++) dase_ask(asks, (const char *)first + i * apart, bytes);
}

#endif
