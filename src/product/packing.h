/* The two packings of B that need vector code: from its rows, and from those of its transpose.

   A panel holds two vectors of columns, k after k, or one when it suffices, with zeros behind the last
   column, so that a tile reads whole vectors. One source for float and double, as product/microkernel.h. */

#ifndef DASE_TYPE /* ---- once: what both types share ---- */
#ifndef DASE_PACKING_H
#define DASE_PACKING_H

#include "product/shuffles.h"

#define DASE_TYPE float
#define DASE_VL DASE_VL_FLOAT
#include "product/packing.h"
#undef DASE_TYPE
#undef DASE_VL
#define DASE_TYPE double
#define DASE_VL DASE_VL_DOUBLE
#include "product/packing.h"
#undef DASE_TYPE
#undef DASE_VL

#endif
#else /* ---- once per type ---- */

#define vec DASE_NAME(vec)
#define vec_at DASE_NAME(vec_at)

#ifdef DASE_VECTORS

/* panel[k][0..2 VL) = b[k * ldb + 0..cols), zeros behind. A panel of one vector when it suffices. */
static void DASE_NAME(pack_rows)(ptrdiff_t kc, int cols, const DASE_TYPE *b, ptrdiff_t ldb,
                                 DASE_TYPE *panel)
{
    const int first = cols < DASE_VL ? cols : DASE_VL, second = cols - first;
    if (second == 0)
        for (ptrdiff_t k = 0; k < kc; k++, b += ldb, panel += DASE_VL)
            *(vec *)panel = DASE_NAME(load)(b, first);
    else
        for (ptrdiff_t k = 0; k < kc; k++, b += ldb, panel += 2 * DASE_VL) {
            ((vec *)panel)[0] = *(const vec_at *)b;
            ((vec *)panel)[1] = DASE_NAME(load)(b + DASE_VL, second);
        }
}

#else /* no vector extensions: plain loops, left to the compiler */

static void DASE_NAME(pack_rows)(ptrdiff_t kc, int cols, const DASE_TYPE *b, ptrdiff_t ldb,
                                 DASE_TYPE *panel)
{
    const int width = cols > DASE_VL ? 2 * DASE_VL : DASE_VL;
    for (ptrdiff_t k = 0; k < kc; k++)
        for (int j = 0; j < width; j++) panel[k * width + j] = j < cols ? b[k * ldb + j] : 0;
}

#endif

/* The same panel from the transpose: panel[k][j] = b[j * ldb + k]. */
static void DASE_NAME(pack_columns)(ptrdiff_t kc, int cols, const DASE_TYPE *b, ptrdiff_t ldb,
                                    DASE_TYPE *panel)
{
    const int width = cols > DASE_VL ? 2 * DASE_VL : DASE_VL;
#if defined(DASE_VECTORS) && defined(DASE_SHUFFLES)
    for (int at = 0; at < width; at += DASE_VL)
        for (ptrdiff_t k = 0; k < kc; k += DASE_VL) {
            const int n = kc - k < DASE_VL ? (int)(kc - k) : DASE_VL;
            const int full = cols - at < DASE_VL ? cols - at : DASE_VL;
            const DASE_TYPE *from = b + at * ldb + k;
            DASE_TYPE *to = panel + k * width + at;
            vec r[DASE_VL];
            if (n == DASE_VL && full == DASE_VL) {
                _Pragma("GCC unroll 16")
                for (int i = 0; i < DASE_VL; i++) r[i] = *(const vec_at *)(from + i * ldb);
            } else {
                for (int i = 0; i < DASE_VL; i++)
                    r[i] = i < full ? DASE_NAME(load)(from + i * ldb, n) : (vec){0};
            }
            DASE_TRANSPOSE(r)
            if (n == DASE_VL) {
                _Pragma("GCC unroll 16")
                for (int i = 0; i < DASE_VL; i++) *(vec *)(to + i * width) = r[i];
            } else {
                for (int i = 0; i < n; i++) *(vec *)(to + i * width) = r[i];
            }
        }
#else
    for (ptrdiff_t k = 0; k < kc; k++)
        for (int j = 0; j < width; j++) panel[k * width + j] = j < cols ? b[j * ldb + k] : 0;
#endif
}

#undef vec
#undef vec_at
#endif
