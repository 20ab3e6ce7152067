/* Register tiles of the convolution: products with pixels that are reached through taps.

   A tap is the distance from an output's own pixel to one pixel under the filter; images are laid out so
   that neighbouring outputs find neighbouring pixels at the same tap. No column matrix is needed: a row of
   it is the image itself, seen from one tap. */

#ifndef real /* ---- once: what both types share ---- */
#ifndef CONV_MICROKERNEL_H
#define CONV_MICROKERNEL_H

#include "product/shuffles.h"

/* Rows of a tile of the product (two vectors wide), rows and columns of a tile of dot products. */
#if defined(__AVX512F__)
#define TILE_ROWS 12
#define DOT_ROWS 4
#define DOT_COLS 6
#else
#if defined(__AVX2__)
#define TILE_ROWS 6
#elif defined(__aarch64__)
#define TILE_ROWS 8
#else
#define TILE_ROWS 4
#endif
#define DOT_ROWS 3
#define DOT_COLS 4
#endif
#define DOT_SUMS 32 /* room for the sums of a tile of dot products, in whole vectors */

/* Prefetch the lines of memory between two addresses. */
static inline void prefetch_lines(const void *start, const void *end)
{
#if defined(__GNUC__)
    for (const char *line = (const char *)start; line < (const char *)end; line += 64) __builtin_prefetch(line);
#else
    (void)start; (void)end;
#endif
}

#define ROWS_1(X) X(0)
#define ROWS_2(X) ROWS_1(X) X(1)
#define ROWS_3(X) ROWS_2(X) X(2)
#define ROWS_4(X) ROWS_3(X) X(3)
#define ROWS_5(X) ROWS_4(X) X(4)
#define ROWS_6(X) ROWS_5(X) X(5)
#define ROWS_7(X) ROWS_6(X) X(6)
#define ROWS_8(X) ROWS_7(X) X(7)
#define ROWS_9(X) ROWS_8(X) X(8)
#define ROWS_10(X) ROWS_9(X) X(9)
#define ROWS_11(X) ROWS_10(X) X(10)
#define ROWS_12(X) ROWS_11(X) X(11)

/* Named accumulators: an array of them would be kept in memory. */
#define ZERO_1(i) vec c##i = {0};
#define ZERO_2(i) vec c##i = {0}, d##i = {0};
#define STEP_1(i) c##i += a[i] * b0;
#define STEP_2(i) { const real s = a[i]; c##i += s * b0; d##i += s * b1; }
#define SAVE_1(i) tile[i] = c##i;
#define SAVE_2(i) tile[2 * i] = c##i; tile[2 * i + 1] = d##i;
#define LOAD_1 const vec b0 = *(const vec_at *)(x0 + tap[k]);
#define LOAD_2 LOAD_1 const vec b1 = *(const vec_at *)(x1 + tap[k]);

/* tile[i][v] = sum over k of a[k][i] * the vector at x_v + tap[k] */
#define CORRELATE_KERNEL(ROWS, NV)                                                                \
    static void PASTE(correlate_kernel, _##ROWS##x##NV)(                                   \
        ptrdiff_t kc, const real *a, const ptrdiff_t *tap,                                   \
        const real *x0, const real *x1, vec *tile)                                           \
    {                                                                                        \
        ROWS_##ROWS(ZERO_##NV)                                                     \
        (void)x1;                                                                            \
        for (ptrdiff_t k = 0; k < kc; k++) {                                                 \
            LOAD_##NV                                                                   \
            ROWS_##ROWS(STEP_##NV)                                                 \
            a += TILE_ROWS;                                                                    \
        }                                                                                    \
        ROWS_##ROWS(SAVE_##NV)                                                     \
    }
#define CORRELATE_KERNELS(ROWS) CORRELATE_KERNEL(ROWS, 1) CORRELATE_KERNEL(ROWS, 2)
#define CORRELATE_ENTRY(ROWS) \
    {PASTE(correlate_kernel, _##ROWS##x1), PASTE(correlate_kernel, _##ROWS##x2)}

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
#define DOT_ZERO(i) COLS(DOT_CELL_ZERO, i)
#define DOT_SAVE(i) COLS(DOT_CELL_SAVE, i)
#define DOT_LOAD(i) const vec d##i = *(const vec *)(dout + i * VL);
#define DOT_FROM(j, R) const real *q##j = x + tap[j];
#define DOT_ADD_1(j) c0##j += d0 * xj;
#define DOT_ADD_2(j) DOT_ADD_1(j) c1##j += d1 * xj;
#define DOT_ADD_3(j) DOT_ADD_2(j) c2##j += d2 * xj;
#define DOT_ADD_4(j) DOT_ADD_3(j) c3##j += d3 * xj;
#define DOT_STEP(j, R) { const vec xj = *(const vec_at *)(q##j + at[v]); DOT_ADD_##R(j) }
#define DOT_STEP_MASKED(j, R) \
    { const vec xj = (vec)(*(const vec_int_at *)(q##j + at[v]) & mask); DOT_ADD_##R(j) }

/* sums[i][j] = sum over v of (vector v of row i of dout) * (the vector at x + at[v] + tap[j]), lane by
   lane. MASKED: only the first lanes[v] lanes of x count; what lies behind them may be inf or NaN. */
#define DOT_KERNELS(R)                                                                         \
    static void PASTE(dot_kernel, _##R)(                                               \
        ptrdiff_t nv, const real *dout, const real *x, const ptrdiff_t *at,                \
        const ptrdiff_t *lanes, const ptrdiff_t *tap, vec *sums)                             \
    {                                                                                        \
        ROWS_##R(DOT_ZERO)                                                         \
        EACH_COL(DOT_FROM, R)                                                      \
        (void)lanes;                                                                         \
        for (ptrdiff_t v = 0; v < nv; v++) {                                                 \
            ROWS_##R(DOT_LOAD)                                                     \
            EACH_COL(DOT_STEP, R)                                                  \
            dout += R * VL;                                                                  \
        }                                                                                    \
        ROWS_##R(DOT_SAVE)                                                         \
    }                                                                                        \
    static void PASTE(dot_kernel_masked, _##R)(                                        \
        ptrdiff_t nv, const real *dout, const real *x, const ptrdiff_t *at,                \
        const ptrdiff_t *lanes, const ptrdiff_t *tap, vec *sums)                             \
    {                                                                                        \
        ROWS_##R(DOT_ZERO)                                                         \
        EACH_COL(DOT_FROM, R)                                                      \
        lane_int window[2 * VL];                                                             \
        for (int i = 0; i < VL; i++) { window[i] = -1; window[VL + i] = 0; }                 \
        for (ptrdiff_t v = 0; v < nv; v++) {                                                 \
            const vec_int mask = *(const vec_int_at *)(window + VL - lanes[v]);              \
            ROWS_##R(DOT_LOAD)                                                     \
            EACH_COL(DOT_STEP_MASKED, R)                                           \
            dout += R * VL;                                                                  \
        }                                                                                    \
        ROWS_##R(DOT_SAVE)                                                         \
    }
#define DOT_ENTRY(R) \
    {PASTE(dot_kernel, _##R), PASTE(dot_kernel_masked, _##R)}

#define EACH_TYPE "conv/microkernel.h"
#include "each_type.h"
#undef correlate_tile /* from here on the first argument chooses the type */
#undef lay_out_row
#undef pack_vectors
#undef dot_tile
#define correlate_tile(a, ...) BY_TYPE(a, correlate_tile)(a, __VA_ARGS__)
#define lay_out_row(row, ...) BY_TYPE(row, lay_out_row)(row, __VA_ARGS__)
#define pack_vectors(dout, ...) BY_TYPE(dout, pack_vectors)(dout, __VA_ARGS__)
#define dot_tile(dout, ...) BY_TYPE(dout, dot_tile)(dout, __VA_ARGS__)

#endif
#else /* ---- once per type ---- */

#define correlate_tile TYPED(correlate_tile)
#define lay_out_row TYPED(lay_out_row)
#define pack_vectors TYPED(pack_vectors)
#define dot_tile TYPED(dot_tile)

#ifdef HAVE_VECTORS

#define correlate_kernel TYPED(correlate_kernel)
#define correlate_kernels TYPED(correlate_kernels)
#define dot_kernel TYPED(dot_kernel)
#define dot_kernel_masked TYPED(dot_kernel_masked)
#define dot_kernels TYPED(dot_kernels)
#define vec_int_at TYPED(vec_int_at)
typedef lane_int vec_int_at __attribute__((vector_size(VECTOR_BYTES), may_alias, aligned(sizeof(real))));

CORRELATE_KERNELS(1) CORRELATE_KERNELS(2) CORRELATE_KERNELS(3) CORRELATE_KERNELS(4)
#if TILE_ROWS > 4
CORRELATE_KERNELS(5) CORRELATE_KERNELS(6)
#endif
#if TILE_ROWS > 6
CORRELATE_KERNELS(7) CORRELATE_KERNELS(8)
#endif
#if TILE_ROWS > 8
CORRELATE_KERNELS(9) CORRELATE_KERNELS(10) CORRELATE_KERNELS(11) CORRELATE_KERNELS(12)
#endif

typedef void (*correlate_kernel)(ptrdiff_t, const real *, const ptrdiff_t *, const real *, const real *, vec *);
static const correlate_kernel correlate_kernels[TILE_ROWS][2] = {
    CORRELATE_ENTRY(1), CORRELATE_ENTRY(2), CORRELATE_ENTRY(3), CORRELATE_ENTRY(4),
#if TILE_ROWS > 4
    CORRELATE_ENTRY(5), CORRELATE_ENTRY(6),
#endif
#if TILE_ROWS > 6
    CORRELATE_ENTRY(7), CORRELATE_ENTRY(8),
#endif
#if TILE_ROWS > 8
    CORRELATE_ENTRY(9), CORRELATE_ENTRY(10), CORRELATE_ENTRY(11), CORRELATE_ENTRY(12),
#endif
};

/* A row of a plane: to[x] = row[x * step] for x0 <= x < x1, zeros elsewhere in 0 <= x < pitch. */
static void lay_out_row(const real *row, ptrdiff_t x0, ptrdiff_t x1, ptrdiff_t step, ptrdiff_t pitch, real *to)
{
    for (ptrdiff_t x = 0; x < x0; x++) to[x] = 0;
    for (ptrdiff_t x = x1; x < pitch; x++) to[x] = 0;
    if (step == 1) {
        ptrdiff_t x = x0;
        for (; x + VL <= x1; x += VL) *(vec_at *)(to + x) = *(const vec_at *)(row + x);
        if (x < x1) vec_store(to + x, vec_load(row + x, (int)(x1 - x)), (int)(x1 - x));
        return;
    }
#ifdef HAVE_SHUFFLES
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
    vec tile[2 * TILE_ROWS];
    const int nv = n1 ? 2 : 1;
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
}

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

DOT_KERNELS(1) DOT_KERNELS(2) DOT_KERNELS(3)
#if DOT_ROWS > 3
DOT_KERNELS(4)
#endif

typedef void (*dot_kernel)(ptrdiff_t, const real *, const real *, const ptrdiff_t *, const ptrdiff_t *,
                           const ptrdiff_t *, vec *);
static const dot_kernel dot_kernels[DOT_ROWS][2] = {
    DOT_ENTRY(1), DOT_ENTRY(2), DOT_ENTRY(3),
#if DOT_ROWS > 3
    DOT_ENTRY(4),
#endif
};

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

#else /* no vector extensions: the same functions in plain loops, left to the compiler */

static void correlate_tile(const real *a, int rows, ptrdiff_t kc, const ptrdiff_t *tap,
                           const real *x0, const real *x1, int n0, int n1,
                           real *out0, real *out1, ptrdiff_t plane, const real *bias, int flags)
{
    for (int v = 0; v < (n1 ? 2 : 1); v++) {
        real tile[TILE_ROWS][VL] = {{0}};
        for (ptrdiff_t k = 0; k < kc; k++) {
            const real *b = (v ? x1 : x0) + tap[k];
            for (int i = 0; i < rows; i++)
                for (int l = 0; l < VL; l++) tile[i][l] += a[k * TILE_ROWS + i] * b[l];
        }
        for (int i = 0; i < rows; i++)
            for (int l = 0; l < (v ? n1 : n0); l++) {
                real *out = (v ? out1 : out0) + i * plane + l, sum = tile[i][l];
                if (flags & TILE_ADD) sum += *out;
                if (flags & TILE_BIAS) sum += bias[i];
                if ((flags & TILE_RELU) && sum <= 0) sum = 0;
                *out = sum;
            }
    }
}

static void lay_out_row(const real *row, ptrdiff_t x0, ptrdiff_t x1, ptrdiff_t step, ptrdiff_t pitch, real *to)
{
    for (ptrdiff_t x = 0; x < pitch; x++) to[x] = x >= x0 && x < x1 ? row[x * step] : 0;
}

static double pack_vectors(const real *dout, ptrdiff_t images, ptrdiff_t image, ptrdiff_t nv, const ptrdiff_t *to,
                           const ptrdiff_t *lanes, ptrdiff_t step, real *packed)
{
    double total = 0;
    for (ptrdiff_t n = 0; n < images; n++, dout += image)
        for (ptrdiff_t v = 0; v < nv; v++, packed += step)
            for (int l = 0; l < VL; l++) {
                packed[l] = l < lanes[v] ? dout[to[v] + l] : 0;
                total += packed[l];
            }
    return total;
}

static void dot_tile(const real *dout, int rows, ptrdiff_t nv, const real *x, const ptrdiff_t *at,
                     const ptrdiff_t *lanes, int masked, const ptrdiff_t *tap, real *sums)
{
    (void)masked;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < DOT_COLS; j++) {
            real sum[VL] = {0}, total = 0;
            for (ptrdiff_t v = 0; v < nv; v++)
                for (int l = 0; l < lanes[v]; l++)
                    sum[l] += dout[(v * rows + i) * VL + l] * x[at[v] + tap[j] + l];
            for (int l = 0; l < VL; l++) total += sum[l];
            sums[i * DOT_COLS + j] = total;
        }
}

#endif
#endif
