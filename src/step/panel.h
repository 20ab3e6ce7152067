/* Activations of a training step lie in panels of 16 features: see README.md. */
#ifndef STEP_PANEL_H
#define STEP_PANEL_H

#include "product/prefetch.h"

#define PANEL 16

/* Elements from panel to panel: never a power of two, in which panels would share sets of the cache. */
static inline ptrdiff_t panel_stride(ptrdiff_t n) { return (n + 1) * PANEL; }

/* Prefetch at once. GCC takes a function that only prefetches for one without effect, and drops its calls: the
   empty statement is an effect. */
static inline void prefetch_now(const void *first, ptrdiff_t bytes)
{
    for (ptrdiff_t at = 0; at < bytes; at += 64) PREFETCH((const char *)first + at);
#if defined(__GNUC__)
    __asm__ volatile("");
#endif
}

#endif
