/* Tiles of a few columns, whose vectors run down the rows of C and are turned on their way to memory.

   For a transposed A: the numbers that a vector down the rows needs lie side by side in it. */

#ifndef real /* ---- once: what both types share ---- */
#ifndef NARROW_H
#define NARROW_H

#include "product/microkernel.h"
#include "product/shuffles.h"

#define EACH_TYPE "product/narrow.h"
#include "each_type.h"
#define narrow_product_real(tile, c, ...) BY_TYPE_OF_SHUFFLES(c, narrow_product)(tile, c, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

#define narrow_product TYPED(narrow_product)

#if HAVE_SHUFFLES

/* C(rows x cols) = A B, 1 <= rows <= 2 VL, 1 <= cols <= 2 MR. To the micro-kernel the factors change
   places: p->a is B, its element (k, j) at a[j * rs + k * cs], and p->b is A's transpose, in rows ldb
   apart. p->bias is that of the first column. */
static void narrow_product(const tile_args *p, real *c, int rows, int cols, ptrdiff_t kc)
{
    const int half = (cols + 1) / 2, each = cols <= MR ? cols : half, vectors = rows > VL ? 2 : 1;
    vec sums[2 * MR * 2], turned[2 * VL], r[VL];
    tile_args part = *p;
    for (int j = 0; j < cols; j += each) {
        part.a = (const real *)p->a + j * p->rs;
        tile_sums(&part, cols - j < each ? cols - j : each, rows, kc, sums + j * vectors);
    }
    for (int v = 0; v < vectors; v++) {
        const int height = rows - v * VL < VL ? rows - v * VL : VL;
        for (int j = 0; j < cols; j += 2 * VL) {
            const int wide = cols - j < 2 * VL ? cols - j : 2 * VL, across = wide > VL ? 2 : 1;
            for (int w = 0; w < across; w++) {
                const int first = j + w * VL;
                _Pragma("GCC unroll 16")
                for (int l = 0; l < VL; l++)
                    r[l] = first + l < cols ? sums[(first + l) * vectors + v] : (vec){0};
                TRANSPOSE(r)
                _Pragma("GCC unroll 16")
                for (int l = 0; l < VL; l++) turned[l * across + w] = r[l];
            }
            part.bias = p->bias == NULL ? NULL : (const real *)p->bias + j;
            tile_store(&part, c + v * VL * p->ldc + j, height, wide, turned, across);
        }
    }
}

#endif
#endif
