/* The result of a matrix product, cut into rectangles for threads: a grid of `rows` by `cols`.

   A thread reads its rows of A and its columns of B, and mostly packs them too. So tall and flat
   rectangles cost more than square ones: with sixteen threads and 256 rows, cut by rows alone, each
   would pack all of B for 16 rows. How the result is cut changes no bit. */
#ifndef GRID_H
#define GRID_H

#include <stddef.h>

#define GRID_ROWS 4   /* fewer rows do not fill the multiplier */
#define GRID_BESIDE 8 /* a column of B costs as much as so many rows of C in that column, and so do rows of A */

typedef struct {
    int rows, cols;
} grid;

/* Where part begins when `count` things are shared out evenly. */
static inline ptrdiff_t part_start(ptrdiff_t count, ptrdiff_t parts, ptrdiff_t part)
{
    const ptrdiff_t rest = count % parts;
    return count / parts * part + (part < rest ? part : rest);
}

/* The grid of at most `parts` rectangles whose largest costs least. Columns are cut between units of `unit`. */
static inline grid grid_of(ptrdiff_t m, ptrdiff_t n, ptrdiff_t unit, int parts)
{
    const ptrdiff_t strips = (m + GRID_ROWS - 1) / GRID_ROWS, units = (n + unit - 1) / unit;
    grid best = {1, 1};
    double least = -1;
    if (parts <= 1) return best;
    for (int rows = 1; rows <= parts && (rows == 1 || rows <= strips); rows++) {
        const ptrdiff_t fit = parts / rows;
        const int cols = (int)(units < fit ? units > 1 ? units : 1 : fit);
        const ptrdiff_t high = (m + rows - 1) / rows, wide = (units + cols - 1) / cols * unit;
        const double r = (double)(high < GRID_ROWS ? GRID_ROWS : high), c = (double)(wide < n ? wide : n);
        const double cost = r * c + GRID_BESIDE * (r + c);
        if (least < 0 || cost < least) {
            least = cost;
            best = (grid){rows, cols};
        }
    }
    return best;
}

/* Rows i0..i1 and columns j0..j1. */
typedef struct {
    ptrdiff_t i0, i1, j0, j1;
} area;

/* What a thread has of m x n; nothing where there are more threads than rectangles. */
static inline area area_of(grid grid, ptrdiff_t m, ptrdiff_t n, ptrdiff_t unit, int part)
{
    const int row = part / grid.cols, col = part % grid.cols;
    const ptrdiff_t units = (n + unit - 1) / unit, past = part_start(units, grid.cols, col + 1) * unit;
    if (row >= grid.rows) return (area){m, m, n, n};
    return (area){part_start(m, grid.rows, row), part_start(m, grid.rows, row + 1),
                       part_start(units, grid.cols, col) * unit, past < n ? past : n};
}

#endif
