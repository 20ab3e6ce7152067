/* Lanes moved between vectors: a square of numbers transposed, and the sums of the lanes of many vectors.

   Both go by halves: vectors a distance s apart exchange the lanes that are s apart, for s = VL / 2,
   ..., 1. One source for float and double, as product/microkernel.h.

   DASE_SHUFFLES says that the compiler has the shuffles; DASE_LANES(F, s) are the lanes F(l, s) of one,
   for all l of a vector of the type. */

#ifndef DASE_TYPE /* ---- once: what both types share ---- */
#ifndef DASE_EXCHANGE_H
#define DASE_EXCHANGE_H

#include "product/microkernel.h"

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define DASE_SHUFFLES 1
#endif
#endif

#define DASE_LANES_2(F, s) F(0, s), F(1, s)
#define DASE_LANES_4(F, s) DASE_LANES_2(F, s), F(2, s), F(3, s)
#define DASE_LANES_8(F, s) DASE_LANES_4(F, s), F(4, s), F(5, s), F(6, s), F(7, s)
#define DASE_LANES_16(F, s) DASE_LANES_8(F, s), F(8, s), F(9, s), F(10, s), F(11, s), \
                            F(12, s), F(13, s), F(14, s), F(15, s)

/* STEP(r, s) from the largest distance s in a vector down to 1. */
#define DASE_HALVINGS_2(STEP, r) STEP(r, 1)
#define DASE_HALVINGS_4(STEP, r) STEP(r, 2) DASE_HALVINGS_2(STEP, r)
#define DASE_HALVINGS_8(STEP, r) STEP(r, 4) DASE_HALVINGS_4(STEP, r)
#define DASE_HALVINGS_16(STEP, r) STEP(r, 8) DASE_HALVINGS_8(STEP, r)

#if DASE_BYTES == 64
#define DASE_LANES_float DASE_LANES_16
#define DASE_LANES_double DASE_LANES_8
#define DASE_HALVINGS_float DASE_HALVINGS_16
#define DASE_HALVINGS_double DASE_HALVINGS_8
#elif DASE_BYTES == 32
#define DASE_LANES_float DASE_LANES_8
#define DASE_LANES_double DASE_LANES_4
#define DASE_HALVINGS_float DASE_HALVINGS_8
#define DASE_HALVINGS_double DASE_HALVINGS_4
#else
#define DASE_LANES_float DASE_LANES_4
#define DASE_LANES_double DASE_LANES_2
#define DASE_HALVINGS_float DASE_HALVINGS_4
#define DASE_HALVINGS_double DASE_HALVINGS_2
#endif
#define DASE_LANES(F, s) DASE_CAT(DASE_LANES_, DASE_TYPE)(F, s)
/* Without DASE_CAT, which the steps use: a macro is not expanded inside itself. */
#define DASE_HALVINGS_OF_(type) DASE_HALVINGS_##type
#define DASE_HALVINGS_OF(type) DASE_HALVINGS_OF_(type)
#define DASE_HALVINGS(STEP, r) DASE_HALVINGS_OF(DASE_TYPE)(STEP, r)

#define DASE_EVEN(l, s) (2 * (l) + (s)) /* from two vectors: lanes s, s + 2, ... */

/* Lane l of the two outputs of one exchange step of a transposition, at distance s. */
#define DASE_LOW(l, s) (((l) & (s)) ? DASE_VL + (l) - (s) : (l))
#define DASE_HIGH(l, s) (((l) & (s)) ? DASE_VL + (l) : (l) + (s))
#define DASE_EXCHANGE(r, s)                                                                  \
    _Pragma("GCC unroll 16") for (int i = 0; i < DASE_VL; i++) if (!(i & (s))) {             \
        vec low = __builtin_shufflevector(r[i], r[i + (s)], DASE_LANES(DASE_LOW, s));        \
        r[i + (s)] = __builtin_shufflevector(r[i], r[i + (s)], DASE_LANES(DASE_HIGH, s));    \
        r[i] = low;                                                                          \
    }

/* Lane l of r[i] becomes lane i of r[l]. A macro: a function, though inlined, slightly changes the code of
   the loops around it. */
#define DASE_TRANSPOSE(r) DASE_HALVINGS(DASE_EXCHANGE, r)

/* One step of the sums of lanes, at distance s. */
#define DASE_FOLD(r, s)                                                                      \
    _Pragma("GCC unroll 8") for (int i = 0; i < (s); i++)                                    \
        r[i] = __builtin_shufflevector(r[i], r[i + (s)], DASE_LANES(DASE_LOW, s))            \
            + __builtin_shufflevector(r[i], r[i + (s)], DASE_LANES(DASE_HIGH, s));

#define DASE_TYPE float
#define DASE_VL DASE_VL_FLOAT
#include "product/shuffles.h"
#undef DASE_TYPE
#undef DASE_VL
#define DASE_TYPE double
#define DASE_VL DASE_VL_DOUBLE
#include "product/shuffles.h"
#undef DASE_TYPE
#undef DASE_VL

#endif
#else /* ---- once per type ---- */

#ifdef DASE_VECTORS
#define vec DASE_NAME(vec)

/* Lane l is the sum of the lanes of r[l], halves added to halves. r is overwritten. */
static inline vec DASE_NAME(sums_of_lanes)(vec *r)
{
#ifdef DASE_SHUFFLES
    DASE_HALVINGS(DASE_FOLD, r)
    return r[0];
#else
    vec sums;
    for (int i = 0; i < DASE_VL; i++) {
        DASE_TYPE lanes[DASE_VL];
        for (int l = 0; l < DASE_VL; l++) lanes[l] = r[i][l];
        for (int s = DASE_VL / 2; s > 0; s /= 2)
            for (int l = 0; l < s; l++) lanes[l] += lanes[l + s];
        sums[i] = lanes[0];
    }
    return sums;
#endif
}

#undef vec
#endif
#endif
