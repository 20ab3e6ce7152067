/* Lanes moved between vectors: a square of numbers transposed, and the sums of the lanes of many vectors.

   Both go by halves: vectors a distance s apart exchange the lanes that are s apart, for s = VL / 2,
   ..., 1.

   HAVE_SHUFFLES says that the compiler has the shuffles; LANES(F, s) are the lanes F(l, s) of one,
   for all l of a vector of the type. */

#ifndef real /* ---- once: what both types share ---- */
#ifndef SHUFFLES_H
#define SHUFFLES_H

#include "vectors.h"

#if defined(__has_builtin)
#if HAVE_VECTORS && __has_builtin(__builtin_shufflevector)
#define HAVE_SHUFFLES 1
#endif
#endif
#ifdef HAVE_SHUFFLES
#define BY_TYPE_OF_SHUFFLES BY_TYPE
#else
#define HAVE_SHUFFLES 0
#define BY_TYPE_OF_SHUFFLES(pointer, name) stand_in
#endif

#define LANES_2(F, s) F(0, s), F(1, s)
#define LANES_4(F, s) LANES_2(F, s), F(2, s), F(3, s)
#define LANES_8(F, s) LANES_4(F, s), F(4, s), F(5, s), F(6, s), F(7, s)
#define LANES_16(F, s) LANES_8(F, s), F(8, s), F(9, s), F(10, s), F(11, s), \
                            F(12, s), F(13, s), F(14, s), F(15, s)

/* STEP(r, s) from the largest distance s in a vector down to 1. */
#define HALVINGS_2(STEP, r) STEP(r, 1)
#define HALVINGS_4(STEP, r) STEP(r, 2) HALVINGS_2(STEP, r)
#define HALVINGS_8(STEP, r) STEP(r, 4) HALVINGS_4(STEP, r)
#define HALVINGS_16(STEP, r) STEP(r, 8) HALVINGS_8(STEP, r)

#if VECTOR_BYTES == 64
#define LANES_float LANES_16
#define LANES_double LANES_8
#define HALVINGS_float HALVINGS_16
#define HALVINGS_double HALVINGS_8
#elif VECTOR_BYTES == 32
#define LANES_float LANES_8
#define LANES_double LANES_4
#define HALVINGS_float HALVINGS_8
#define HALVINGS_double HALVINGS_4
#else
#define LANES_float LANES_4
#define LANES_double LANES_2
#define HALVINGS_float HALVINGS_4
#define HALVINGS_double HALVINGS_2
#endif
#define LANES(F, s) PASTE(LANES_, real)(F, s)
/* Without PASTE, which the steps use: a macro is not expanded inside itself. */
#define HALVINGS_OF_(type) HALVINGS_##type
#define HALVINGS_OF(type) HALVINGS_OF_(type)
#define HALVINGS(STEP, r) HALVINGS_OF(real)(STEP, r)

#define EVEN(l, s) (2 * (l) + (s)) /* from two vectors: lanes s, s + 2, ... */

/* Lane l of the two outputs of one exchange step of a transposition, at distance s. */
#define LOW(l, s) (((l) & (s)) ? VL + (l) - (s) : (l))
#define HIGH(l, s) (((l) & (s)) ? VL + (l) : (l) + (s))
#define EXCHANGE(r, s)                                                                       \
    _Pragma("GCC unroll 16") for (int i = 0; i < VL; i++) if (!(i & (s))) {                  \
        vec low = __builtin_shufflevector(r[i], r[i + (s)], LANES(LOW, s));                  \
        r[i + (s)] = __builtin_shufflevector(r[i], r[i + (s)], LANES(HIGH, s));              \
        r[i] = low;                                                                          \
    }

/* Lane l of r[i] becomes lane i of r[l]. A macro: a function, though inlined, slightly changes the code of
   the loops around it. */
#define TRANSPOSE(r) HALVINGS(EXCHANGE, r)

/* One step of the sums of lanes, at distance s. */
#define FOLD(r, s)                                                                           \
    _Pragma("GCC unroll 8") for (int i = 0; i < (s); i++)                                    \
        r[i] = __builtin_shufflevector(r[i], r[i + (s)], LANES(LOW, s))                      \
            + __builtin_shufflevector(r[i], r[i + (s)], LANES(HIGH, s));

#define EACH_TYPE "product/shuffles.h"
#include "each_type.h"

#endif
#else /* ---- once per type ---- */

#if HAVE_VECTORS

/* Lane l is the sum of the lanes of r[l], halves added to halves. r is overwritten. */
#define vec_lane_sums TYPED(vec_lane_sums)
static inline vec vec_lane_sums(vec *r)
{
#if HAVE_SHUFFLES
    HALVINGS(FOLD, r)
    return r[0];
#else
    vec sums;
    for (int i = 0; i < VL; i++) {
        real lanes[VL];
        for (int l = 0; l < VL; l++) lanes[l] = r[i][l];
        for (int s = VL / 2; s > 0; s /= 2)
            for (int l = 0; l < s; l++) lanes[l] += lanes[l + s];
        sums[i] = lanes[0];
    }
    return sums;
#endif
}

#endif
#endif
