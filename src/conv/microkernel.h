/* Register tiles of the convolution: products with pixels that are reached through taps.

   A tap is the distance from the place of an output pixel to one pixel under the filter; images
   are laid out so that neighbouring outputs find neighbouring pixels at the same tap. No column
   matrix is needed: a row of it is the image itself, seen from one tap.

   One source for float and double, as in product/microkernel.h, whose names and flags are used here. */

#ifndef real /* ---- once: what both types share ---- */
#ifndef CONV_KERNEL_H
#define CONV_KERNEL_H

#if defined(__GNUC__) /* the tiles of the matrix product are not used here */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-const-variable"
#include "product/shuffles.h"
#pragma GCC diagnostic pop
#else
#include "product/shuffles.h"
#endif

/* Rows of a tile of the product (two vectors wide), rows and columns of a tile of dot products. */
#if defined(__AVX512F__)
#define CONV_MR 12
#define CONV_DOT_ROWS 4
#define CONV_DOT_COLS 6
#else
#if defined(__AVX2__)
#define CONV_MR 6
#elif defined(__aarch64__)
#define CONV_MR 8
#else
#define CONV_MR 4
#endif
#define CONV_DOT_ROWS 3
#define CONV_DOT_COLS 4
#endif
#define CONV_SUMS 32 /* room for the sums of a tile of dot products, in whole vectors */

/* Ask for the lines of memory between two addresses; they come while other work is done. */
static inline void conv_prefetch(const void *start, const void *end)
{
#if defined(__GNUC__)
    for (const char *line = (const char *)start; line < (const char *)end; line += 64) __builtin_prefetch(line);
#else
    (void)start; (void)end;
#endif
}

#define CONV_ROWS_1(X) X(0)
#define CONV_ROWS_2(X) CONV_ROWS_1(X) X(1)
#define CONV_ROWS_3(X) CONV_ROWS_2(X) X(2)
#define CONV_ROWS_4(X) CONV_ROWS_3(X) X(3)
#define CONV_ROWS_5(X) CONV_ROWS_4(X) X(4)
#define CONV_ROWS_6(X) CONV_ROWS_5(X) X(5)
#define CONV_ROWS_7(X) CONV_ROWS_6(X) X(6)
#define CONV_ROWS_8(X) CONV_ROWS_7(X) X(7)
#define CONV_ROWS_9(X) CONV_ROWS_8(X) X(8)
#define CONV_ROWS_10(X) CONV_ROWS_9(X) X(9)
#define CONV_ROWS_11(X) CONV_ROWS_10(X) X(10)
#define CONV_ROWS_12(X) CONV_ROWS_11(X) X(11)

/* Named accumulators: an array of them would be kept in memory. */
#define CONV_ZERO_1(i) vec c##i = {0};
#define CONV_ZERO_2(i) vec c##i = {0}, d##i = {0};
#define CONV_STEP_1(i) c##i += a[i] * b0;
#define CONV_STEP_2(i) { const real s = a[i]; c##i += s * b0; d##i += s * b1; }
#define CONV_SAVE_1(i) tile[i] = c##i;
#define CONV_SAVE_2(i) tile[2 * i] = c##i; tile[2 * i + 1] = d##i;
#define CONV_LOAD_1 const vec b0 = *(const vec_at *)(x0 + tap[k]);
#define CONV_LOAD_2 CONV_LOAD_1 const vec b1 = *(const vec_at *)(x1 + tap[k]);

/* tile[i][v] = sum over k of a[k][i] * the vector at x_v + tap[k] */
#define CONV_KERNEL(ROWS, NV)                                                                \
    static void PASTE(TYPED(conv_kernel), _##ROWS##x##NV)(                                   \
        ptrdiff_t kc, const real *a, const ptrdiff_t *tap,                                   \
        const real *x0, const real *x1, vec *tile)                                           \
    {                                                                                        \
        CONV_ROWS_##ROWS(CONV_ZERO_##NV)                                                     \
        (void)x1;                                                                            \
        for (ptrdiff_t k = 0; k < kc; k++) {                                                 \
            CONV_LOAD_##NV                                                                   \
            CONV_ROWS_##ROWS(CONV_STEP_##NV)                                                 \
            a += CONV_MR;                                                                    \
        }                                                                                    \
        CONV_ROWS_##ROWS(CONV_SAVE_##NV)                                                     \
    }
#define CONV_KERNELS(ROWS) CONV_KERNEL(ROWS, 1) CONV_KERNEL(ROWS, 2)
#define CONV_ENTRY(ROWS) \
    {PASTE(TYPED(conv_kernel), _##ROWS##x1), PASTE(TYPED(conv_kernel), _##ROWS##x2)}

/* X(row, column) of a tile of dot products. */
#if CONV_DOT_COLS == 6
#define CONV_COLS(X, i) X(i, 0) X(i, 1) X(i, 2) X(i, 3) X(i, 4) X(i, 5)
#define CONV_EACH_COL(X, R) X(0, R) X(1, R) X(2, R) X(3, R) X(4, R) X(5, R)
#else
#define CONV_COLS(X, i) X(i, 0) X(i, 1) X(i, 2) X(i, 3)
#define CONV_EACH_COL(X, R) X(0, R) X(1, R) X(2, R) X(3, R)
#endif
#define CONV_DOT_CELL_ZERO(i, j) vec c##i##j = {0};
#define CONV_DOT_CELL_SAVE(i, j) sums[i * CONV_DOT_COLS + j] = c##i##j;
#define CONV_DOT_ZERO(i) CONV_COLS(CONV_DOT_CELL_ZERO, i)
#define CONV_DOT_SAVE(i) CONV_COLS(CONV_DOT_CELL_SAVE, i)
#define CONV_DOT_LOAD(i) const vec d##i = *(const vec *)(dout + i * VL);
#define CONV_DOT_FROM(j, R) const real *q##j = x + tap[j];
#define CONV_DOT_ADD_1(j) c0##j += d0 * xj;
#define CONV_DOT_ADD_2(j) CONV_DOT_ADD_1(j) c1##j += d1 * xj;
#define CONV_DOT_ADD_3(j) CONV_DOT_ADD_2(j) c2##j += d2 * xj;
#define CONV_DOT_ADD_4(j) CONV_DOT_ADD_3(j) c3##j += d3 * xj;
#define CONV_DOT_STEP(j, R) { const vec xj = *(const vec_at *)(q##j + from[v]); CONV_DOT_ADD_##R(j) }
#define CONV_DOT_STEP_MASKED(j, R) \
    { const vec xj = (vec)(*(const vec_int_at *)(q##j + from[v]) & mask); CONV_DOT_ADD_##R(j) }

/* sums[i][j] = sum over v of (vector v of row i of dout) * (the vector at x + from[v] + tap[j]), lane by
   lane. MASKED: only the first lanes[v] lanes of x count; what lies behind them may be inf or NaN. */
#define CONV_DOTS(R)                                                                         \
    static void PASTE(TYPED(conv_dots), _##R)(                                               \
        ptrdiff_t nv, const real *dout, const real *x, const ptrdiff_t *from,                \
        const ptrdiff_t *lanes, const ptrdiff_t *tap, vec *sums)                             \
    {                                                                                        \
        CONV_ROWS_##R(CONV_DOT_ZERO)                                                         \
        CONV_EACH_COL(CONV_DOT_FROM, R)                                                      \
        (void)lanes;                                                                         \
        for (ptrdiff_t v = 0; v < nv; v++) {                                                 \
            CONV_ROWS_##R(CONV_DOT_LOAD)                                                     \
            CONV_EACH_COL(CONV_DOT_STEP, R)                                                  \
            dout += R * VL;                                                                  \
        }                                                                                    \
        CONV_ROWS_##R(CONV_DOT_SAVE)                                                         \
    }                                                                                        \
    static void PASTE(TYPED(conv_dots_masked), _##R)(                                        \
        ptrdiff_t nv, const real *dout, const real *x, const ptrdiff_t *from,                \
        const ptrdiff_t *lanes, const ptrdiff_t *tap, vec *sums)                             \
    {                                                                                        \
        CONV_ROWS_##R(CONV_DOT_ZERO)                                                         \
        CONV_EACH_COL(CONV_DOT_FROM, R)                                                      \
        lane_int window[2 * VL];                                                             \
        for (int i = 0; i < VL; i++) { window[i] = -1; window[VL + i] = 0; }                 \
        for (ptrdiff_t v = 0; v < nv; v++) {                                                 \
            const vec_int mask = *(const vec_int_at *)(window + VL - lanes[v]);              \
            CONV_ROWS_##R(CONV_DOT_LOAD)                                                     \
            CONV_EACH_COL(CONV_DOT_STEP_MASKED, R)                                           \
            dout += R * VL;                                                                  \
        }                                                                                    \
        CONV_ROWS_##R(CONV_DOT_SAVE)                                                         \
    }
#define CONV_DOTS_ENTRY(R) \
    {PASTE(TYPED(conv_dots), _##R), PASTE(TYPED(conv_dots_masked), _##R)}

#define EACH_TYPE "conv/microkernel.h"
#include "each_type.h"

#endif
#else /* ---- once per type ---- */

#ifdef HAVE_VECTORS

#define vec_int_at TYPED(conv_vec_int_at)

typedef lane_int vec_int_at __attribute__((vector_size(VECTOR_BYTES), may_alias, aligned(sizeof(real))));

CONV_KERNELS(1) CONV_KERNELS(2) CONV_KERNELS(3) CONV_KERNELS(4)
#if CONV_MR > 4
CONV_KERNELS(5) CONV_KERNELS(6)
#endif
#if CONV_MR > 6
CONV_KERNELS(7) CONV_KERNELS(8)
#endif
#if CONV_MR > 8
CONV_KERNELS(9) CONV_KERNELS(10) CONV_KERNELS(11) CONV_KERNELS(12)
#endif

typedef void (*TYPED(conv_kernel))(ptrdiff_t, const real *, const ptrdiff_t *,
                                       const real *, const real *, vec *);
static const TYPED(conv_kernel) TYPED(conv_kernels)[CONV_MR][2] = {
    CONV_ENTRY(1), CONV_ENTRY(2), CONV_ENTRY(3), CONV_ENTRY(4),
#if CONV_MR > 4
    CONV_ENTRY(5), CONV_ENTRY(6),
#endif
#if CONV_MR > 6
    CONV_ENTRY(7), CONV_ENTRY(8),
#endif
#if CONV_MR > 8
    CONV_ENTRY(9), CONV_ENTRY(10), CONV_ENTRY(11), CONV_ENTRY(12),
#endif
};

/* A row of a plane: to[x] = row[x * step] for x0 <= x < x1, zeros elsewhere in 0 <= x < pitch. */
static void TYPED(conv_row)(ptrdiff_t pitch, const real *row, ptrdiff_t x0, ptrdiff_t x1, ptrdiff_t step,
                                real *to)
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

static inline vec TYPED(conv_finish)(vec sum, const real *out, int n, real bias, int flags)
{
    if (flags & TILE_ADD) sum += vec_load(out, n);
    if (flags & TILE_BIAS) sum += bias;
    if (flags & TILE_RELU) sum = vec_relu(sum);
    return sum;
}

/* Outputs of `rows` filters at two vectors of places, n0 and n1 of whose lanes exist (n1 may be 0).
   Filters lie `plane` apart in out. */
static void TYPED(conv_tile)(int rows, ptrdiff_t kc, const real *a, const ptrdiff_t *tap, /* IN */
                                 const real *x0, const real *x1, int n0, int n1,         /* IN */
                                 real *out0, real *out1, ptrdiff_t plane,                /* INOUT */
                                 const real *bias, int flags)                                 /* IN */
{
    vec tile[2 * CONV_MR];
    const int nv = n1 ? 2 : 1;
    /* The rows of out lie pages apart: without a word in time each store waits for its line. */
    for (int i = 0; i < rows; i++) {
        __builtin_prefetch(out0 + i * plane, 1);
        __builtin_prefetch(out1 + i * plane, 1);
    }
    TYPED(conv_kernels)[rows - 1][nv - 1](kc, a, tap, x0, x1, tile);
    if (n0 == VL && n1 == VL)
        for (int i = 0; i < rows; i++, out0 += plane, out1 += plane) {
            const real add = (flags & TILE_BIAS) ? bias[i] : 0;
            *(vec_at *)out0 = TYPED(conv_finish)(tile[2 * i], out0, VL, add, flags);
            *(vec_at *)out1 = TYPED(conv_finish)(tile[2 * i + 1], out1, VL, add, flags);
        }
    else
        for (int i = 0; i < rows; i++, out0 += plane, out1 += plane) {
            const real add = (flags & TILE_BIAS) ? bias[i] : 0;
            vec_store(out0, TYPED(conv_finish)(tile[i * nv], out0, n0, add, flags), n0);
            if (n1) vec_store(out1, TYPED(conv_finish)(tile[i * nv + 1], out1, n1, add, flags), n1);
        }
}

/* One filter's part of dout for the dot products: `nv` vectors from each of `images`, `step` apart in
   packed, with zeros in the lanes that do not exist. Returns their sum. */
static double TYPED(conv_pack)(ptrdiff_t images, ptrdiff_t image, ptrdiff_t nv, const real *dout, /* IN */
                                   const ptrdiff_t *to, const ptrdiff_t *lanes, ptrdiff_t step,            /* IN */
                                   real *packed)                                                      /* OUT */
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

CONV_DOTS(1) CONV_DOTS(2) CONV_DOTS(3)
#if CONV_DOT_ROWS > 3
CONV_DOTS(4)
#endif

typedef void (*TYPED(conv_dots_kernel))(ptrdiff_t, const real *, const real *, const ptrdiff_t *,
                                            const ptrdiff_t *, const ptrdiff_t *, vec *);
static const TYPED(conv_dots_kernel) TYPED(conv_dots_kernels)[CONV_DOT_ROWS][2] = {
    CONV_DOTS_ENTRY(1), CONV_DOTS_ENTRY(2), CONV_DOTS_ENTRY(3),
#if CONV_DOT_ROWS > 3
    CONV_DOTS_ENTRY(4),
#endif
};

/* Lane i of the result is the sum of the lanes of from[i]; the copy stays in registers. */
static inline vec TYPED(conv_lane_sums)(const vec *from)
{
    vec r[VL];
    _Pragma("GCC unroll 16") for (int i = 0; i < VL; i++) r[i] = from[i];
    return vec_lane_sums(r);
}

/* sums[i][j] = sum over vectors v and lanes of dout[v][i] * x[from[v] + tap[j]]. dout is packed vector by
   vector with zeros in the lanes that do not exist; the first lanes[v] do, and all when `masked` is 0. */
static void TYPED(conv_dots)(int rows, ptrdiff_t nv, const real *dout, const real *x,  /* IN */
                                 const ptrdiff_t *from, const ptrdiff_t *lanes, int masked,          /* IN */
                                 const ptrdiff_t *tap, real *sums)                              /* IN, OUT */
{
    vec tile[CONV_SUMS];
    const int cells = rows * CONV_DOT_COLS;
    TYPED(conv_dots_kernels)[rows - 1][masked ? 1 : 0](nv, dout, x, from, lanes, tap, tile);
    for (int i = cells; i % VL; i++) tile[i] = (vec){0};
    for (int i = 0; i < cells; i += VL) *(vec_at *)(sums + i) = TYPED(conv_lane_sums)(tile + i);
}

#undef vec_int_at

#else /* no vector extensions: the same functions in plain loops, left to the compiler */

static void TYPED(conv_tile)(int rows, ptrdiff_t kc, const real *a, const ptrdiff_t *tap,
                                 const real *x0, const real *x1, int n0, int n1,
                                 real *out0, real *out1, ptrdiff_t plane,
                                 const real *bias, int flags)
{
    for (int v = 0; v < (n1 ? 2 : 1); v++) {
        real tile[CONV_MR][VL] = {{0}};
        for (ptrdiff_t k = 0; k < kc; k++) {
            const real *b = (v ? x1 : x0) + tap[k];
            for (int i = 0; i < rows; i++)
                for (int l = 0; l < VL; l++) tile[i][l] += a[k * CONV_MR + i] * b[l];
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

static void TYPED(conv_row)(ptrdiff_t pitch, const real *row, ptrdiff_t x0, ptrdiff_t x1, ptrdiff_t step,
                                real *to)
{
    for (ptrdiff_t x = 0; x < pitch; x++) to[x] = x >= x0 && x < x1 ? row[x * step] : 0;
}

static double TYPED(conv_pack)(ptrdiff_t images, ptrdiff_t image, ptrdiff_t nv, const real *dout,
                                   const ptrdiff_t *to, const ptrdiff_t *lanes, ptrdiff_t step, real *packed)
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

static void TYPED(conv_dots)(int rows, ptrdiff_t nv, const real *dout, const real *x,
                                 const ptrdiff_t *from, const ptrdiff_t *lanes, int masked,
                                 const ptrdiff_t *tap, real *sums)
{
    (void)masked;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < CONV_DOT_COLS; j++) {
            real sum[VL] = {0}, total = 0;
            for (ptrdiff_t v = 0; v < nv; v++)
                for (int l = 0; l < lanes[v]; l++)
                    sum[l] += dout[(v * rows + i) * VL + l] * x[from[v] + tap[j] + l];
            for (int l = 0; l < VL; l++) total += sum[l];
            sums[i * CONV_DOT_COLS + j] = total;
        }
}

#endif
#endif
