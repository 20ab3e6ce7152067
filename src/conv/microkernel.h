/* Register tiles of the convolution: products with pixels that are reached through taps.

   A tap is the distance from an output's own pixel to one pixel under the filter; images are laid out so
   that neighbouring outputs find neighbouring pixels at the same tap. No column matrix is needed: a row of
   it is the image itself, seen from one tap. */

#ifndef real /* ---- once: what both types share ---- */
#ifndef CONV_MICROKERNEL_H
#define CONV_MICROKERNEL_H

#include "product/rows.h"
#include "product/shuffles.h"

/* A tile of the product has MR rows of two vectors; a tile of dot products has these rows and columns. */
#if defined(__AVX512F__)
#define DOT_ROWS 4
#define DOT_COLS 6
#else
#define DOT_ROWS 3
#define DOT_COLS 4
#endif
#define DOT_SUMS 32 /* room for the sums of a tile of dot products, in whole vectors */

#define STEP_1(i, p, r) c##i += a[i] * b0;
#define STEP_2(i, p, r) { const real s = a[i]; c##i += s * b0; d##i += s * b1; }
#define LOAD_1 const vec b0 = *(const vec_at *)(x0 + tap[k]);
#define LOAD_2 LOAD_1 const vec b1 = *(const vec_at *)(x1 + tap[k]);

/* tile[i][v] = sum over k of a[k][i] * the vector at x_v + tap[k] */
#define CORRELATE_KERNEL(ROWS, NV)                                                           \
    KERNEL_CODE static void PASTE(correlate_kernel, _##ROWS##x##NV)(                         \
        ptrdiff_t kc, const real *a, const ptrdiff_t *tap,                                   \
        const real *x0, const real *x1, vec *tile)                                           \
    {                                                                                        \
        ROWS_##ROWS(ZERO_##NV)                                                               \
        (void)x1;                                                                            \
        for (ptrdiff_t k = 0; k < kc; k++) {                                                 \
            LOAD_##NV                                                                        \
            ROWS_##ROWS(STEP_##NV)                                                           \
            a += MR;                                                                         \
        }                                                                                    \
        ROWS_##ROWS(SAVE_##NV)                                                               \
    }
#define CORRELATE_KERNELS(ROWS) CORRELATE_KERNEL(ROWS, 1) CORRELATE_KERNEL(ROWS, 2)
#define CORRELATE_ENTRY(ROWS) \
    {PASTE(correlate_kernel, _##ROWS##x1), PASTE(correlate_kernel, _##ROWS##x2)},

/* X(row, column) of a tile of dot products. */
#if DOT_COLS == 6
#define COLS(X, i) X(i, 0) X(i, 1) X(i, 2) X(i, 3) X(i, 4) X(i, 5)
#define EACH_COL(X, R) X(0, R) X(1, R) X(2, R) X(3, R) X(4, R) X(5, R)
#else
#define COLS(X, i) X(i, 0) X(i, 1) X(i, 2) X(i, 3)
#define EACH_COL(X, R) X(0, R) X(1, R) X(2, R) X(3, R)
#endif
#define DOT_CELL_ZERO(i, j) vec c##i##j = {0};
#define DOT_CELL_SAVE(i, j) sums[i * DOT_COLS + j] = c##i##j;
#define DOT_ZERO(i, p, r) COLS(DOT_CELL_ZERO, i)
#define DOT_SAVE(i, p, r) COLS(DOT_CELL_SAVE, i)
#define DOT_LOAD(i, p, r) const vec d##i = *(const vec *)(dout + i * VL);
#define DOT_FROM(j, R) const real *q##j = x + tap[j];
#define DOT_ADD_1(j) c0##j += d0 * xj;
#define DOT_ADD_2(j) DOT_ADD_1(j) c1##j += d1 * xj;
#define DOT_ADD_3(j) DOT_ADD_2(j) c2##j += d2 * xj;
#define DOT_ADD_4(j) DOT_ADD_3(j) c3##j += d3 * xj;
#define DOT_STEP(j, R) {                                                                     \
        vec xj = *(const vec_at *)(q##j + at[v]);                                            \
        if (masked) xj = (vec)((vec_int)xj & mask);                                          \
        DOT_ADD_##R(j)                                                                       \
    }

/* sums[i][j] = sum over v of (vector v of row i of dout) * (the vector at x + at[v] + tap[j]), lane by
   lane. MASKED: only the first lanes[v] lanes of x count; what lies behind them may be inf or NaN. */
#define DOT_KERNEL(R, name, MASKED)                                                          \
    static void PASTE(name, _##R)(                                                           \
        ptrdiff_t nv, const real *dout, const real *x, const ptrdiff_t *at,                  \
        const ptrdiff_t *lanes, const ptrdiff_t *tap, vec *sums)                             \
    {                                                                                        \
        const int masked = MASKED;                                                           \
        lane_int window[2 * VL];                                                             \
        vec_int mask = {0};                                                                  \
        ROWS_##R(DOT_ZERO)                                                                   \
        EACH_COL(DOT_FROM, R)                                                                \
        for (int i = 0; masked && i < VL; i++) { window[i] = -1; window[VL + i] = 0; }       \
        for (ptrdiff_t v = 0; v < nv; v++) {                                                 \
            if (masked) mask = *(const vec_int_at *)(window + VL - lanes[v]);                \
            ROWS_##R(DOT_LOAD)                                                               \
            EACH_COL(DOT_STEP, R)                                                            \
            dout += R * VL;                                                                  \
        }                                                                                    \
        (void)lanes;                                                                         \
        ROWS_##R(DOT_SAVE)                                                                   \
    }
#define DOT_KERNELS(R) DOT_KERNEL(R, dot_kernel, 0) DOT_KERNEL(R, dot_kernel_masked, 1)
#define DOT_ENTRY(R) {PASTE(dot_kernel, _##R), PASTE(dot_kernel_masked, _##R)},

#define EACH_TYPE "conv/microkernel.h"
#include "each_type.h"
#define correlate_tile_real(a, ...) BY_TYPE(a, correlate_tile)(a, __VA_ARGS__)
#define lay_out_row_real(row, ...) BY_TYPE(row, lay_out_row)(row, __VA_ARGS__)
#define pack_vectors_real(dout, ...) BY_TYPE_OF_VECTORS(dout, pack_vectors)(dout, __VA_ARGS__)
#define dot_tile_real(dout, ...) BY_TYPE_OF_VECTORS(dout, dot_tile)(dout, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

#define correlate_tile TYPED(correlate_tile)
#define lay_out_row TYPED(lay_out_row)
#define pack_vectors TYPED(pack_vectors)
#define dot_tile TYPED(dot_tile)

#if HAVE_VECTORS

#define correlate_kernel TYPED(correlate_kernel)
#define correlate_kernels TYPED(correlate_kernels)
#define dot_kernel TYPED(dot_kernel)
#define dot_kernel_masked TYPED(dot_kernel_masked)
#define dot_kernels TYPED(dot_kernels)
#define vec_int_at TYPED(vec_int_at)
typedef lane_int vec_int_at __attribute__((vector_size(VECTOR_BYTES), may_alias, aligned(sizeof(real))));

UP_TO(MR, CORRELATE_KERNELS)

typedef void (*correlate_kernel)(ptrdiff_t, const real *, const ptrdiff_t *, const real *, const real *, vec *);
static const correlate_kernel correlate_kernels[MR][2] = {UP_TO(MR, CORRELATE_ENTRY)};

#endif

/* A row of a plane: to[x] = row[x * step] for x0 <= x < x1, zeros elsewhere in 0 <= x < pitch. */
static void lay_out_row(const real *row, ptrdiff_t x0, ptrdiff_t x1, ptrdiff_t step, ptrdiff_t pitch, real *to)
{
    for (ptrdiff_t x = 0; x < x0; x++) to[x] = 0;
    for (ptrdiff_t x = x1; x < pitch; x++) to[x] = 0;
#if HAVE_VECTORS
    if (step == 1) {
        ptrdiff_t x = x0;
        for (; x + VL <= x1; x += VL) *(vec_at *)(to + x) = *(const vec_at *)(row + x);
        if (x < x1) vec_store(to + x, vec_load(row + x, (int)(x1 - x)), (int)(x1 - x));
        return;
    }
#endif
#if HAVE_SHUFFLES
    if (step == 2) {
        for (ptrdiff_t x = x0; x < x1; x += VL) {
            const int n = x1 - x < VL ? (int)(x1 - x) : VL, last = 2 * n - 1; /* pixels in between */
            const vec low = vec_load(row + 2 * x, last < VL ? last : VL);
            const vec high = last > VL ? vec_load(row + 2 * x + VL, last - VL) : (vec){0};
            vec_store(to + x, __builtin_shufflevector(low, high, LANES(EVEN, 0)), n);
        }
        return;
    }
#endif
    for (ptrdiff_t x = x0; x < x1; x++) to[x] = row[x * step];
}

#define finish_sum TYPED(finish_sum)
static inline vec finish_sum(vec sum, const real *out, int n, real bias, int flags)
{
    if (flags & TILE_ADD) sum += vec_load(out, n);
    if (flags & TILE_BIAS) sum += bias;
    if (flags & TILE_RELU) sum = vec_relu(sum);
    return sum;
}

/* Outputs of `rows` planes at two vectors of neighbours, n0 and n1 of whose lanes exist (n1 may be 0). Planes
   lie `plane` elements apart in out. */
static void correlate_tile(const real *a, int rows, ptrdiff_t kc, const ptrdiff_t *tap,
                           const real *x0, const real *x1, int n0, int n1,
                           real *out0, real *out1, ptrdiff_t plane, const real *bias, int flags)
{
    vec tile[2 * MR * VECS];
    const int nv = n1 ? 2 : 1;
#if HAVE_VECTORS
    /* The rows of out lie pages apart: without prefetching each store waits for its line. */
    for (int i = 0; i < rows; i++) {
        __builtin_prefetch(out0 + i * plane, 1);
        __builtin_prefetch(out1 + i * plane, 1);
    }
    correlate_kernels[rows - 1][nv - 1](kc, a, tap, x0, x1, tile);
    if (n0 == VL && n1 == VL)
        for (int i = 0; i < rows; i++, out0 += plane, out1 += plane) {
            const real add = (flags & TILE_BIAS) ? bias[i] : 0;
            *(vec_at *)out0 = finish_sum(tile[2 * i], out0, VL, add, flags);
            *(vec_at *)out1 = finish_sum(tile[2 * i + 1], out1, VL, add, flags);
        }
    else
        for (int i = 0; i < rows; i++, out0 += plane, out1 += plane) {
            const real add = (flags & TILE_BIAS) ? bias[i] : 0;
            vec_store(out0, finish_sum(tile[i * nv], out0, n0, add, flags), n0);
            if (n1) vec_store(out1, finish_sum(tile[i * nv + 1], out1, n1, add, flags), n1);
        }
#else
    memset(tile, 0, sizeof tile);
    for (ptrdiff_t k = 0; k < kc; k++, a += MR)
        for (int i = 0; i < rows; i++)
            for (int l = 0; l < nv * VL; l++)
                tile[i * nv * VL + l] += a[i] * (l < VL ? x0[tap[k] + l] : x1[tap[k] + l - VL]);
    for (int i = 0; i < rows; i++)
        for (int l = 0; l < n0 + n1; l++) {
            real *out = (l < n0 ? out0 + l : out1 + l - n0) + i * plane;
            *out = finish_sum(tile[i * nv * VL + (l < n0 ? l : VL + l - n0)], out, 1, bias[i], flags);
        }
#endif
}

#if HAVE_VECTORS

/* One filter's part of dout for the dot products: `nv` vectors from each of `images`, `step` apart in
   packed, with zeros in the lanes that do not exist. Returns their sum. */
static double pack_vectors(const real *dout, ptrdiff_t images, ptrdiff_t image, ptrdiff_t nv, const ptrdiff_t *to,
                           const ptrdiff_t *lanes, ptrdiff_t step, real *packed)
{
    double total = 0;
    for (ptrdiff_t n = 0; n < images; n++, dout += image) {
        vec sum = {0};
        for (ptrdiff_t v = 0; v < nv; v++, packed += step) {
            const vec one = vec_load(dout + to[v], (int)lanes[v]);
            *(vec *)packed = one;
            sum += one;
        }
        for (int l = 0; l < VL; l++) total += sum[l];
    }
    return total;
}

UP_TO(DOT_ROWS, DOT_KERNELS)

typedef void (*dot_kernel)(ptrdiff_t, const real *, const real *, const ptrdiff_t *, const ptrdiff_t *,
                           const ptrdiff_t *, vec *);
static const dot_kernel dot_kernels[DOT_ROWS][2] = {UP_TO(DOT_ROWS, DOT_ENTRY)};

/* Lane i of the result is the sum of the lanes of sums[i]; the copy stays in registers. */
#define lane_sums_of TYPED(lane_sums_of)
static inline vec lane_sums_of(const vec *sums)
{
    vec r[VL];
    _Pragma("GCC unroll 16") for (int i = 0; i < VL; i++) r[i] = sums[i];
    return vec_lane_sums(r);
}

/* sums[i][j] = sum over vectors v and lanes of dout[v][i] * x[at[v] + tap[j]]. dout is packed vector by
   vector with zeros in the lanes that do not exist; the first lanes[v] do, and all when `masked` is 0. */
static void dot_tile(const real *dout, int rows, ptrdiff_t nv, const real *x, const ptrdiff_t *at,
                     const ptrdiff_t *lanes, int masked, const ptrdiff_t *tap, real *sums)
{
    vec tile[DOT_SUMS];
    const int cells = rows * DOT_COLS;
    dot_kernels[rows - 1][masked ? 1 : 0](nv, dout, x, at, lanes, tap, tile);
    for (int i = cells; i % VL; i++) tile[i] = (vec){0};
    for (int i = 0; i < cells; i += VL) *(vec_at *)(sums + i) = lane_sums_of(tile + i);
}

#endif
#endif
