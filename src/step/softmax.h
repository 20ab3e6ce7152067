/* Softmax loss of one sample, for float and double. */
#ifndef DASE_TYPE
#ifndef DASE_SOFTMAX_H
#define DASE_SOFTMAX_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define DASE_TYPE float
#define DASE_EXP expf
#include "step/softmax.h"
#undef DASE_TYPE
#undef DASE_EXP
#define DASE_TYPE double
#define DASE_EXP exp
#include "step/softmax.h"
#undef DASE_TYPE
#undef DASE_EXP

#endif
#else

#define DASE_SOFTMAX_(name, type) dase_##name##_##type
#define DASE_SOFTMAX(name, type) DASE_SOFTMAX_(name, type)

/* Its loss, and its gradient divided by the batch size n. */
static double DASE_SOFTMAX(softmax_row, DASE_TYPE)(const DASE_TYPE *x_c, /* IN */
                                                   int64_t y, ptrdiff_t c, DASE_TYPE n,
                                                   DASE_TYPE *dx_c) /* OUT */
{
    DASE_TYPE top = x_c[0], total;
    double sum = 0;
    for (ptrdiff_t j = 1; j < c && top == top; j++)
        if (x_c[j] > top || x_c[j] != x_c[j]) top = x_c[j];
    for (ptrdiff_t j = 0; j < c; j++) {
        /* Scores far below the top give 0, never an overflow. */
        dx_c[j] = DASE_EXP(x_c[j] - top);
        sum += dx_c[j];
    }
    total = (DASE_TYPE)sum;
    for (ptrdiff_t j = 0; j < c; j++) dx_c[j] = (dx_c[j] / total - (j == y ? 1 : 0)) / n;
    return log(sum) - (double)(x_c[y] - top);
}

#undef DASE_SOFTMAX_
#undef DASE_SOFTMAX
#endif
