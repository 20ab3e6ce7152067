/* Activations of whole vectors: logistic and tanh, and the exponential that they are made of. Every number is
   computed by itself: its bits do not depend on where it lies. */

#ifndef real /* ---- once: what both types share ---- */
#ifndef ACTIVATIONS_H
#define ACTIVATIONS_H

#include <float.h>
#include "vectors.h"

enum { IDENTITY, LOGISTIC, TANH, RELU, EXP, SOFTMAX };

#define EACH_TYPE "activations.h"
#include "each_type.h"
#define exp_below_real(x, n, top) BY_TYPE(x, exp_below)(x, n, top)
#define activate_real(activation, x, n) BY_TYPE(x, activate)(activation, x, n)
#define times_derivative_real(activation, out, x, n) BY_TYPE(x, times_derivative)(activation, out, x, n)

#endif
#else /* ---- once per type ---- */

#define FLOAT (sizeof(real) == 4)

#if HAVE_VECTORS

/* x = n log 2 + r, and the series of exp(r): |r| is at most log(2) / 2. */
#define vec_reduced TYPED(vec_reduced)
static inline vec vec_reduced(vec x, vec_int *n)
{
    const real shift = FLOAT ? (real)12582912.0 : (real)6755399441055744.0; /* 1.5 * 2^23, 1.5 * 2^52: rounds */
    const real high = FLOAT ? (real)0.693145751953125 : (real)0.693147180369123816490; /* log 2 in two parts */
    const real low = FLOAT ? (real)1.42860682030941723212e-6 : (real)1.90821492927058770002e-10;
    const vec shifted = vec_fma(x, vec_fill((real)1.44269504088896340736), vec_fill(shift));
    const vec whole = shifted - shift;
    *n = (vec_int)shifted;
    return vec_fma(whole, vec_fill(-low), vec_fma(whole, vec_fill(-high), x));
}

/* sum over k of r^k / (k + first)!, to the last bit of the type. */
#define vec_series TYPED(vec_series)
static inline vec vec_series(vec r, int first)
{
    static const double factorial[] = {1.0, 1.0, 2.0, 6.0, 24.0, 120.0, 720.0, 5040.0, 40320.0, 362880.0, 3628800.0,
                                       39916800.0, 479001600.0, 6227020800.0};
    vec p = vec_fill((real)(1 / factorial[FLOAT ? 7 : 13]));
    for (int k = FLOAT ? 6 : 12; k >= first; k--) p = vec_fma(p, r, vec_fill((real)(1 / factorial[k])));
    return p;
}

/* 2^n: the last bits of n are the whole number; what lies above them is shifted out. */
#define vec_power TYPED(vec_power)
static inline vec vec_power(vec_int n) { return (vec)((n + (FLOAT ? 127 : 1023)) << (FLOAT ? 23 : 52)); }

/* exp of numbers that are not positive: 0 where it would be smaller than the smallest normal number. NaN stays. */
#define vec_exp TYPED(vec_exp)
static inline vec vec_exp(vec x)
{
    const vec_int zero = (vec_int)(x < vec_fill(FLOAT ? (real)-87.3 : (real)-708.3));
    vec_int n;
    const vec r = vec_reduced(x, &n);
    return (vec)((vec_int)(vec_series(r, 0) * vec_power(n)) & ~zero);
}

/* 1 / (1 + exp(-x)), from the exponential of -|x|, which never overflows. */
#define vec_logistic TYPED(vec_logistic)
static inline vec vec_logistic(vec x)
{
    const vec_int sign = (vec_int)vec_fill((real)-0.0);
    const vec power = vec_exp((vec)((vec_int)x | sign)), one = vec_fill(1);
    return vec_choose((vec_int)(x < (vec){0}), power, one) / (one + power);
}

/* tanh |x| = -e / (e + 2) with e = exp(-2 |x|) - 1, which loses no digit where x is small: with r near 0,
   exp(r) - 1 = r + r^2 (1/2! + r/3! + ...). Beyond 30 it is 1. */
#define vec_tanh TYPED(vec_tanh)
static inline vec vec_tanh(vec x)
{
    const vec_int sign = (vec_int)vec_fill((real)-0.0);
    const vec least = vec_fill(-60), twice = (real)2 * (vec)((vec_int)x | sign);
    vec_int n;
    const vec r = vec_reduced(vec_choose((vec_int)(twice < least), least, twice), &n);
    const vec power = vec_power(n), e = vec_fma(vec_fma(r * r, vec_series(r, 2), r), power, power - (real)1);
    return (vec)((vec_int)((vec)((vec_int)e & ~sign) / (e + (real)2)) | ((vec_int)x & sign));
}

#define vec_activation TYPED(vec_activation)
static inline vec vec_activation(int activation, vec x)
{
    return activation == LOGISTIC ? vec_logistic(x) : activation == TANH ? vec_tanh(x) : vec_relu(x);
}

#else /* the same of one number */

#define vec_exp TYPED(vec_exp)
static inline vec vec_exp(vec x) { return (real)exp((double)x); }

#define vec_activation TYPED(vec_activation)
static inline vec vec_activation(int activation, vec x)
{
    const real power = (real)exp(-fabs((double)x));
    if (activation == LOGISTIC) return (x < 0 ? power : 1) / (1 + power);
    return activation == TANH ? (real)tanh((double)x) : vec_relu(x);
}

#endif

/* n numbers side by side, in place. */
#define activate TYPED(activate)
static void activate(int activation, real *x, ptrdiff_t n)
{
    if (activation == IDENTITY) return;
    if (activation == EXP) {
        for (ptrdiff_t j = 0; j < n; j++) x[j] = FLOAT ? expf((float)x[j]) : (real)exp(x[j]);
        return;
    }
    for (ptrdiff_t j = 0; j < n; j += VEC_LANES) {
        const int lanes = n - j < VEC_LANES ? (int)(n - j) : VEC_LANES;
        vec_store(x + j, vec_activation(activation, vec_load(x + j, lanes)), lanes);
    }
}

/* exp(x - top) of n numbers side by side, none of them above top; in place. */
#define exp_below TYPED(exp_below)
static void exp_below(real *x, ptrdiff_t n, real top)
{
    for (ptrdiff_t j = 0; j < n; j += VEC_LANES) {
        const int lanes = n - j < VEC_LANES ? (int)(n - j) : VEC_LANES;
        vec_store(x + j, vec_exp(vec_load(x + j, lanes) - top), lanes);
    }
}

/* x times the derivative of LOGISTIC or TANH, which each has in terms of its output. */
#define times_derivative TYPED(times_derivative)
static void times_derivative(int activation, const real *out, real *x, ptrdiff_t n)
{
    const vec one = vec_fill(1);
    for (ptrdiff_t j = 0; j < n; j += VEC_LANES) {
        const int lanes = n - j < VEC_LANES ? (int)(n - j) : VEC_LANES;
        const vec h = vec_load(out + j, lanes);
        vec slope = vec_fma(-h, h, one);
        if (activation == LOGISTIC) slope = h * (one - h);
        vec_store(x + j, vec_load(x + j, lanes) * slope, lanes);
    }
}

#undef FLOAT
#endif
