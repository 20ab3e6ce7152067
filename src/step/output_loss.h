/* The losses of one sample, and what each gives back to the scores. */
#ifndef real /* ---- once ---- */
#ifndef OUTPUT_LOSS_H
#define OUTPUT_LOSS_H

#include <float.h>
#include "step/softmax.h"

/* In the loss alone: PRINTED is what scikit-learn prints, with probabilities kept away from 0 and 1, and the squared
   loss as a mean over the outputs. */
enum { SOFTMAX_LOSS, LOGISTIC_LOSS, SQUARED_LOSS, POISSON_LOSS };

static inline double times_log(double factor, double power) { return factor == 0 ? 0 : factor * log(power); }

#define EACH_TYPE "step/output_loss.h"
#include "each_type.h"
#undef loss_row /* from here on the type of x chooses */
#define loss_row(loss, printed, x_c, ...) BY_TYPE(x_c, loss_row)(loss, printed, x_c, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

/* Its loss times its weight; and (output - target) weight / total, which is the gradient. y_c: the targets, of all
   losses but softmax, which has a label. */
#define loss_row TYPED(loss_row)
static double loss_row(int loss, int printed, const real *x_c, int64_t label, const real *y_c, ptrdiff_t c,
                       double weight, double total, /* IN */
                       real *dx_c)                  /* OUT */
{
    const real eps = sizeof(real) == 4 ? (real)FLT_EPSILON : (real)DBL_EPSILON, most = 1 - eps;
    const real share = (real)(weight / total);
    double sum = 0;
    if (loss == SOFTMAX_LOSS) {
        sum = softmax_row(x_c, label, c, (real)1, dx_c);
        for (ptrdiff_t j = 0; j < c; j++) dx_c[j] *= share;
        if (printed && sum < -log((double)most)) sum = -log((double)most);
        if (printed && sum > -log((double)eps)) sum = -log((double)eps);
        return weight * sum;
    }
    for (ptrdiff_t j = 0; j < c; j++) {
        const real x = x_c[j], y = y_c[j];
        real p = x;
        if (loss == LOGISTIC_LOSS) {
            const real size = x < 0 ? x : -x; /* NaN stays */
            const real power = sizeof(real) == 4 ? expf((float)size) : (real)exp(size);
            p = (x < 0 ? power : 1) / (1 + power);
            if (printed) {
                const real kept = p < eps ? eps : p > most ? most : p;
                sum -= times_log(y, kept) + times_log(1 - y, 1 - kept);
            } else {
                sum += (x < 0 ? 0 : x) - (double)x * y + log1p(power);
            }
        } else if (loss == POISSON_LOSS) {
            p = sizeof(real) == 4 ? expf((float)x) : (real)exp(x);
            sum += times_log(y, (double)y / p) - y + p;
        } else {
            const double d = (double)p - y;
            sum += 0.5 * d * d;
        }
        dx_c[j] = (p - y) * share;
    }
    if (loss == SQUARED_LOSS && printed) sum /= (double)c;
    return weight * sum;
}

#endif
