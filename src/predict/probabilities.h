/* Scores to probabilities, row by row: softmax. */

#ifndef real /* ---- once: what both types share ---- */
#ifndef PROBABILITIES_H
#define PROBABILITIES_H

#include <stdint.h>
#include "vectors.h"

#define EACH_TYPE "predict/probabilities.h"
#include "each_type.h"
#undef softmax_rows /* from here on the argument chooses the type */
#define softmax_rows(x, ...) BY_TYPE(x, softmax_rows)(x, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

#ifdef HAVE_VECTORS

#define FLOAT (sizeof(real) == 4)

/* exp of numbers that are not positive: 0 where it would be smaller than the smallest normal number. NaN stays.
   x = n log 2 + r, and the series of exp(r) to the last bit of the type: |r| is at most log(2) / 2. */
#define vec_exp TYPED(vec_exp)
static inline vec vec_exp(vec x)
{
    static const double factorial[] = {1.0, 1.0, 2.0, 6.0, 24.0, 120.0, 720.0, 5040.0, 40320.0, 362880.0, 3628800.0,
                                       39916800.0, 479001600.0, 6227020800.0};
    const real shift = FLOAT ? (real)12582912.0 : (real)6755399441055744.0; /* 1.5 * 2^23, 1.5 * 2^52: rounds */
    const real high = FLOAT ? (real)0.693145751953125 : (real)0.693147180369123816490; /* log 2 in two parts */
    const real low = FLOAT ? (real)1.42860682030941723212e-6 : (real)1.90821492927058770002e-10;
    const vec_int zero = (vec_int)(x < vec_fill(FLOAT ? (real)-87.3 : (real)-708.3));
    const vec n = vec_fma(x, vec_fill((real)1.44269504088896340736), vec_fill(shift));
    const vec whole = n - shift;
    const vec r = vec_fma(whole, vec_fill(-low), vec_fma(whole, vec_fill(-high), x));
    vec p = vec_fill((real)(1 / factorial[FLOAT ? 7 : 13]));
    for (int k = FLOAT ? 6 : 12; k >= 0; k--) p = vec_fma(p, r, vec_fill((real)(1 / factorial[k])));
    /* The last bits of n are the whole number; what lies above them is shifted out. */
    const vec power = (vec)(((vec_int)n + (FLOAT ? 127 : 1023)) << (FLOAT ? 23 : 52));
    return (vec)((vec_int)(p * power) & ~zero);
}

#undef FLOAT
#endif

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
