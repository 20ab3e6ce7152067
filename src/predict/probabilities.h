/* Scores to probabilities, row by row: softmax. */

#ifndef real /* ---- once: what both types share ---- */
#ifndef PROBABILITIES_H
#define PROBABILITIES_H

#include <stdint.h>
#include "activations.h"

#define EACH_TYPE "predict/probabilities.h"
#include "each_type.h"
#undef softmax_rows /* from here on the argument chooses the type */
#define softmax_rows(x, ...) BY_TYPE(x, softmax_rows)(x, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

/* The rows of x become probabilities, in place: exp(x - top), divided by its sum, which is added up in order. */
#define softmax_rows TYPED(softmax_rows)
static void softmax_rows(real *x, ptrdiff_t rows, ptrdiff_t c)
{
    for (ptrdiff_t i = 0; i < rows; i++, x += c) {
        real top = x[0];
        double sum = 0;
        for (ptrdiff_t j = 1; j < c; j++)
            if (x[j] > top || x[j] != x[j]) top = x[j]; /* NaN stays: nothing compares with it */
#ifdef HAVE_VECTORS
        for (ptrdiff_t j = 0; j < c; j += VL) {
            const int n = c - j < VL ? (int)(c - j) : VL;
            vec_store(x + j, vec_exp(vec_load(x + j, n) - top), n);
        }
#else
        for (ptrdiff_t j = 0; j < c; j++) x[j] = (real)exp((double)(x[j] - top));
#endif
        for (ptrdiff_t j = 0; j < c; j++) sum += x[j];
        const real total = (real)sum;
        for (ptrdiff_t j = 0; j < c; j++) x[j] /= total;
    }
}

#endif
