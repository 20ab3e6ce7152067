/* Softmax loss of one sample. */
#ifndef real /* ---- once ---- */
#ifndef SOFTMAX_H
#define SOFTMAX_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define EACH_TYPE "step/softmax.h"
#include "each_type.h"
#undef softmax_row /* from here on the type of x chooses */
#define softmax_row(x_c, ...) BY_TYPE(x_c, softmax_row)(x_c, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

/* Its loss, and its gradient divided by the batch size n. */
#define softmax_row TYPED(softmax_row)
static double softmax_row(const real *x_c, /* IN */
                          int64_t y, ptrdiff_t c, real n,
                          real *dx_c)      /* OUT */
{
    real top = x_c[0], total;
    double sum = 0;
    for (ptrdiff_t j = 1; j < c && top == top; j++)
        if (x_c[j] > top || x_c[j] != x_c[j]) top = x_c[j];
    for (ptrdiff_t j = 0; j < c; j++) {
        /* Scores far below the top give 0, never an overflow. */
        dx_c[j] = sizeof(real) == 4 ? expf((float)(x_c[j] - top)) : (real)exp(x_c[j] - top);
        sum += dx_c[j];
    }
    total = (real)sum;
    for (ptrdiff_t j = 0; j < c; j++) dx_c[j] = (dx_c[j] / total - (j == y ? 1 : 0)) / n;
    return log(sum) - (double)(x_c[y] - top);
}

#endif
