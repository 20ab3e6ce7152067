/* The two packings of B that need vector code: from its rows, and from those of its transpose.

   A panel holds two vectors of columns, k after k, or one when it suffices, with zeros behind the last
   column, so that a tile reads whole vectors. */

#ifndef real /* ---- once: what both types share ---- */
#ifndef PACKING_H
#define PACKING_H

#include "product/shuffles.h"

#define EACH_TYPE "product/packing.h"
#include "each_type.h"
#define pack_rows_real(kc, cols, b, ...) BY_TYPE(b, pack_rows)(kc, cols, b, __VA_ARGS__)
#define pack_columns_real(kc, cols, b, ...) BY_TYPE(b, pack_columns)(kc, cols, b, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

#if HAVE_VECTORS

/* panel[k][0..2 VL) = b[k * ldb + 0..cols), zeros behind. A panel of one vector when it suffices. */
#define pack_rows TYPED(pack_rows)
static void pack_rows(ptrdiff_t kc, int cols, const real *b, ptrdiff_t ldb, real *panel)
{
    const int first = cols < VL ? cols : VL, second = cols - first;
    if (second == 0)
        for (ptrdiff_t k = 0; k < kc; k++, b += ldb, panel += VL)
            *(vec *)panel = vec_load(b, first);
    else
        for (ptrdiff_t k = 0; k < kc; k++, b += ldb, panel += 2 * VL) {
            ((vec *)panel)[0] = *(const vec_at *)b;
            ((vec *)panel)[1] = vec_load(b + VL, second);
        }
}

#else /* no vector extensions: plain loops, left to the compiler */

#define pack_rows TYPED(pack_rows)
static void pack_rows(ptrdiff_t kc, int cols, const real *b, ptrdiff_t ldb, real *panel)
{
    const int width = cols > VL ? 2 * VL : VL;
    for (ptrdiff_t k = 0; k < kc; k++)
        for (int j = 0; j < width; j++) panel[k * width + j] = j < cols ? b[k * ldb + j] : 0;
}

#endif

/* The same panel from the transpose: panel[k][j] = b[j * ldb + k]. */
#define pack_columns TYPED(pack_columns)
static void pack_columns(ptrdiff_t kc, int cols, const real *b, ptrdiff_t ldb, real *panel)
{
    const int width = cols > VL ? 2 * VL : VL;
#if HAVE_SHUFFLES
    for (int at = 0; at < width; at += VL)
        for (ptrdiff_t k = 0; k < kc; k += VL) {
            const int n = kc - k < VL ? (int)(kc - k) : VL;
            const int full = cols - at < VL ? cols - at : VL;
            const real *from = b + at * ldb + k;
            real *to = panel + k * width + at;
            vec r[VL];
            if (n == VL && full == VL) {
                _Pragma("GCC unroll 16")
                for (int i = 0; i < VL; i++) r[i] = *(const vec_at *)(from + i * ldb);
            } else {
                for (int i = 0; i < VL; i++)
                    r[i] = i < full ? vec_load(from + i * ldb, n) : (vec){0};
            }
            TRANSPOSE(r)
            if (n == VL) {
                _Pragma("GCC unroll 16")
                for (int i = 0; i < VL; i++) *(vec *)(to + i * width) = r[i];
            } else {
                for (int i = 0; i < n; i++) *(vec *)(to + i * width) = r[i];
            }
        }
#else
    for (ptrdiff_t k = 0; k < kc; k++)
        for (int j = 0; j < width; j++) panel[k * width + j] = j < cols ? b[j * ldb + k] : 0;
#endif
}

#endif
