/* Register tiles of the matrix product, and the vectors that they are made of.

   One source for float and double: the file includes itself once per type (see the end).
   The vector width follows the instruction set that the file is compiled for.

   Names: VL lanes in a vector; MR rows of a tile; a tile is MR rows by one or two vectors.
   Every element of a tile is the same chain of additions (k = 0, 1, ...), whichever kernel
   computes it, so that the place of a tile in the matrix does not change the result.

   Compilers without GCC's vector extensions get plain loops; -DDASE_PLAIN asks for these. */

#ifndef DASE_TYPE /* ---- once: what both types share ---- */
#ifndef DASE_MICROKERNEL_H
#define DASE_MICROKERNEL_H

#include <stddef.h>
#include <string.h>
#include "product/prefetch.h"

/* Width in bytes and rows: two vectors a row, the rest of the registers hold the inputs. */
#if defined(__AVX512F__)
#define DASE_BYTES 64
#define DASE_MR 12
#elif defined(__AVX2__)
#define DASE_BYTES 32
#define DASE_MR 6
#elif defined(__aarch64__)
#define DASE_BYTES 16
#define DASE_MR 8
#else
#define DASE_BYTES 16
#define DASE_MR 4
#endif
#define DASE_VL_FLOAT (DASE_BYTES / 4)
#define DASE_VL_DOUBLE (DASE_BYTES / 8)

/* What happens to a tile on its way to memory. */
#define DASE_ADD 1  /* add what is there: partial sums of earlier blocks of k */
#define DASE_BIAS 2 /* add the bias of the column */
#define DASE_RELU 4
#define DASE_MASK 8 /* times the scale where the mask is positive, else 0 */

#if defined(__GNUC__) && !defined(DASE_PLAIN)
#define DASE_VECTORS 1
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif
#endif

#define DASE_CAT_(a, b) a##b
#define DASE_CAT(a, b) DASE_CAT_(a, b)
#define DASE_NAME(name) DASE_CAT(dase_##name##_, DASE_TYPE)

/* X(row, pointer, row from the pointer): three rows a pointer, because rows are reached by
   pointer + 0, 1, 2 strides, which leaves enough integer registers for 12 rows. */
#define DASE_ROWS_1(X) X(0, p0, 0)
#define DASE_ROWS_2(X) DASE_ROWS_1(X) X(1, p0, 1)
#define DASE_ROWS_3(X) DASE_ROWS_2(X) X(2, p0, 2)
#define DASE_ROWS_4(X) DASE_ROWS_3(X) X(3, p1, 0)
#define DASE_ROWS_5(X) DASE_ROWS_4(X) X(4, p1, 1)
#define DASE_ROWS_6(X) DASE_ROWS_5(X) X(5, p1, 2)
#define DASE_ROWS_7(X) DASE_ROWS_6(X) X(6, p2, 0)
#define DASE_ROWS_8(X) DASE_ROWS_7(X) X(7, p2, 1)
#define DASE_ROWS_9(X) DASE_ROWS_8(X) X(8, p2, 2)
#define DASE_ROWS_10(X) DASE_ROWS_9(X) X(9, p3, 0)
#define DASE_ROWS_11(X) DASE_ROWS_10(X) X(10, p3, 1)
#define DASE_ROWS_12(X) DASE_ROWS_11(X) X(11, p3, 2)

/* Named accumulators: an array of them would be kept in memory. */
#define DASE_ZERO_1(i, p, r) vec c##i = {0};
#define DASE_ZERO_2(i, p, r) vec c##i = {0}, d##i = {0};
#define DASE_STEP_1(i, p, r) c##i += p[(r) * rs] * b0;
#define DASE_STEP_2(i, p, r) { const DASE_TYPE s = p[(r) * rs]; c##i += s * b0; d##i += s * b1; }
#define DASE_SAVE_1(i, p, r) tile[i] = c##i;
#define DASE_SAVE_2(i, p, r) tile[2 * i] = c##i; tile[2 * i + 1] = d##i;
#define DASE_LOAD_1 const vec b0 = *(const vec_at *)b;
#define DASE_LOAD_2 const vec b0 = *(const vec_at *)b, b1 = *(const vec_at *)(b + bvs);

/* Half a vector, for the few columns that are left over. */
#define DASE_ZERO_H(i, p, r) half c##i = {0};
#define DASE_STEP_H(i, p, r) c##i += p[(r) * rs] * b0;
#define DASE_SAVE_H(i, p, r) ((half *)&tile[i])[0] = c##i; ((half *)&tile[i])[1] = (half){0};
#define DASE_LOAD_H const half b0 = *(const half_at *)b;

/* A vector and a half (3 halves). */
#define DASE_ZERO_3(i, p, r) vec c##i = {0}; half d##i = {0};
#define DASE_STEP_3(i, p, r) DASE_STEP_2(i, p, r)
#define DASE_SAVE_3(i, p, r) tile[2 * i] = c##i; ((half *)&tile[2 * i + 1])[0] = d##i; \
                             ((half *)&tile[2 * i + 1])[1] = (half){0};
#define DASE_LOAD_3 const vec b0 = *(const vec_at *)b; const half b1 = *(const half_at *)(b + bvs);

/* Whole vectors that nothing is done to but adding go to memory at once. */
#define DASE_PUT_1(i, p, r) *(vec_at *)(c + (i) * ldc) = c##i;
#define DASE_PUT_2(i, p, r) *(vec_at *)(c + (i) * ldc) = c##i; *(vec_at *)(c + (i) * ldc + cvs) = d##i;
#define DASE_PUT_H(i, p, r) *(half_at *)(c + (i) * ldc) = c##i;
#define DASE_PUT_3(i, p, r) *(vec_at *)(c + (i) * ldc) = c##i; *(half_at *)(c + (i) * ldc + cvs) = d##i;
#define DASE_JOIN_1(i, p, r) *(vec_at *)(c + (i) * ldc) += c##i;
#define DASE_JOIN_2(i, p, r) *(vec_at *)(c + (i) * ldc) += c##i; *(vec_at *)(c + (i) * ldc + cvs) += d##i;
#define DASE_JOIN_H(i, p, r) *(half_at *)(c + (i) * ldc) += c##i;
#define DASE_JOIN_3(i, p, r) *(vec_at *)(c + (i) * ldc) += c##i; *(half_at *)(c + (i) * ldc + cvs) += d##i;

/* tile = A(rows x kc) B(kc x NV vectors). A(i, k) is a[i * rs + k * cs] inside a chunk of k, and
   `jump` more from one chunk to the next. Rows of B are ldb apart, its two vectors bvs apart.
   Without a tile the sums go to C, or are added to it. Asks, if there are any, are spread over the
   chunks. */
#define DASE_KERNEL(ROWS, NV)                                                                \
    static void DASE_CAT(DASE_NAME(kernel), _##ROWS##x##NV)(                                 \
        ptrdiff_t kc, const DASE_TYPE *a, ptrdiff_t rs, ptrdiff_t cs,                        \
        ptrdiff_t chunk, ptrdiff_t jump,                                                     \
        const DASE_TYPE *b, ptrdiff_t ldb, ptrdiff_t bvs, vec *tile,                         \
        DASE_TYPE *c, ptrdiff_t ldc, ptrdiff_t cvs, int add, const dase_asks *asks)          \
    {                                                                                        \
        const int chunks = asks ? (int)((kc + chunk - 1) / chunk) : 1;                       \
        const int each = asks ? (asks->count + chunks - 1) / chunks : 0;                     \
        int asked = 0;                                                                       \
        const DASE_TYPE *p0 = a, *p1 = a, *p2 = a, *p3 = a;                                  \
        if (ROWS > 3) p1 = a + 3 * rs;                                                       \
        if (ROWS > 6) p2 = a + 6 * rs;                                                       \
        if (ROWS > 9) p3 = a + 9 * rs;                                                       \
        DASE_ROWS_##ROWS(DASE_ZERO_##NV)                                                     \
        for (; kc > 0; kc -= chunk) {                                                        \
            const ptrdiff_t n = kc < chunk ? kc : chunk;                                     \
            for (int e = 0; e < each && asked < asks->count; e++) DASE_ASK(asks->at[asked++]); \
            for (ptrdiff_t k = 0; k < n; k++) {                                              \
                DASE_LOAD_##NV                                                               \
                DASE_ROWS_##ROWS(DASE_STEP_##NV)                                             \
                p0 += cs; p1 += cs; p2 += cs; p3 += cs;                                      \
                b += ldb;                                                                    \
            }                                                                                \
            p0 += jump; p1 += jump; p2 += jump; p3 += jump;                                  \
        }                                                                                    \
        (void)p1; (void)p2; (void)p3; (void)bvs; (void)cvs;                                  \
        if (tile) { DASE_ROWS_##ROWS(DASE_SAVE_##NV) }                                       \
        else if (add) { DASE_ROWS_##ROWS(DASE_JOIN_##NV) }                                   \
        else { DASE_ROWS_##ROWS(DASE_PUT_##NV) }                                             \
    }
#define DASE_KERNELS(ROWS) DASE_KERNEL(ROWS, H) DASE_KERNEL(ROWS, 1) DASE_KERNEL(ROWS, 3) DASE_KERNEL(ROWS, 2)
#define DASE_ENTRY(ROWS) {DASE_CAT(DASE_NAME(kernel), _##ROWS##xH), DASE_CAT(DASE_NAME(kernel), _##ROWS##x1), \
                          DASE_CAT(DASE_NAME(kernel), _##ROWS##x3), DASE_CAT(DASE_NAME(kernel), _##ROWS##x2)}

#define DASE_TYPE float
#define DASE_INT int
#define DASE_VL DASE_VL_FLOAT
#include "product/microkernel.h"
#undef DASE_TYPE
#undef DASE_INT
#undef DASE_VL
#define DASE_TYPE double
#define DASE_INT long long
#define DASE_VL DASE_VL_DOUBLE
#include "product/microkernel.h"
#undef DASE_TYPE
#undef DASE_INT
#undef DASE_VL

#endif
#else /* ---- once per type ---- */

#define vec DASE_NAME(vec)
#define vec_at DASE_NAME(vec_at)
#define vec_int DASE_NAME(vec_int)
#define half DASE_NAME(half)
#define half_at DASE_NAME(half_at)

/* Where the operands of a tile lie. B must be readable for whole halves of a vector: as it lies, or
   packed with zeros behind the last column. */
typedef struct {
    const DASE_TYPE *a;                      /* IN */
    ptrdiff_t rs, cs, chunk, jump;           /* of A: see the kernel */
    const DASE_TYPE *b;                      /* IN */
    ptrdiff_t ldb, bvs;                      /* of B: from row to row, from vector to vector */
    DASE_TYPE *c;                            /* INOUT */
    ptrdiff_t ldc, cvs;                      /* of C, likewise */
    const DASE_TYPE *bias;                   /* IN, of the first column */
    const DASE_TYPE *mask;                   /* IN, laid out as C */
    DASE_TYPE scale;                         /* factor where the mask is positive */
    int flags;
    const dase_asks *asks;                   /* IN, or NULL */
} DASE_NAME(job);

#ifdef DASE_VECTORS

typedef DASE_TYPE vec __attribute__((vector_size(DASE_BYTES), may_alias));
typedef DASE_TYPE vec_at __attribute__((vector_size(DASE_BYTES), may_alias, aligned(sizeof(DASE_TYPE))));
typedef DASE_INT vec_int __attribute__((vector_size(DASE_BYTES), may_alias));
typedef DASE_TYPE half __attribute__((vector_size(DASE_BYTES / 2), may_alias));
typedef DASE_TYPE half_at __attribute__((vector_size(DASE_BYTES / 2), may_alias, aligned(sizeof(DASE_TYPE))));

#if defined(__AVX2__) && !defined(__AVX512F__)
static inline __m256i DASE_NAME(mask)(int n) /* all bits set in the first n lanes */
{
    vec_int lane;
    for (int i = 0; i < DASE_VL; i++) lane[i] = i;
    return (__m256i)(lane < (DASE_INT)n);
}
#endif

/* The first n lanes from memory, zeros behind them; nothing beyond them is read. */
static inline vec DASE_NAME(load)(const DASE_TYPE *p, int n)
{
    if (n == DASE_VL) return *(const vec_at *)p;
#if defined(__AVX512F__)
    if (sizeof(DASE_TYPE) == 4) return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
    return (vec)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
#elif defined(__AVX2__)
    if (sizeof(DASE_TYPE) == 4) return (vec)_mm256_maskload_ps((const float *)p, DASE_NAME(mask)(n));
    return (vec)_mm256_maskload_pd((const double *)p, DASE_NAME(mask)(n));
#else
    vec v = {0};
    for (int i = 0; i < n; i++) v[i] = p[i];
    return v;
#endif
}

static inline void DASE_NAME(store)(DASE_TYPE *p, vec v, int n)
{
    if (n == DASE_VL) { *(vec_at *)p = v; return; }
#if defined(__AVX512F__)
    if (sizeof(DASE_TYPE) == 4) _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
    else _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v);
#elif defined(__AVX2__)
    if (sizeof(DASE_TYPE) == 4) _mm256_maskstore_ps((float *)p, DASE_NAME(mask)(n), (__m256)v);
    else _mm256_maskstore_pd((double *)p, DASE_NAME(mask)(n), (__m256d)v);
#else
    for (int i = 0; i < n; i++) p[i] = v[i];
#endif
}

/* v <= 0 is false for NaN, so NaN stays. */
static inline vec DASE_NAME(relu)(vec v) { return (vec)((vec_int)v & ~(vec_int)(v <= (vec){0})); }

DASE_KERNELS(1) DASE_KERNELS(2) DASE_KERNELS(3) DASE_KERNELS(4)
#if DASE_MR > 4
DASE_KERNELS(5) DASE_KERNELS(6)
#endif
#if DASE_MR > 6
DASE_KERNELS(7) DASE_KERNELS(8)
#endif
#if DASE_MR > 8
DASE_KERNELS(9) DASE_KERNELS(10) DASE_KERNELS(11) DASE_KERNELS(12)
#endif

typedef void (*DASE_NAME(kernel))(ptrdiff_t, const DASE_TYPE *, ptrdiff_t, ptrdiff_t, ptrdiff_t, ptrdiff_t,
                                  const DASE_TYPE *, ptrdiff_t, ptrdiff_t, vec *,
                                  DASE_TYPE *, ptrdiff_t, ptrdiff_t, int, const dase_asks *);
static const DASE_NAME(kernel) DASE_NAME(kernels)[DASE_MR][4] = {
    DASE_ENTRY(1), DASE_ENTRY(2), DASE_ENTRY(3), DASE_ENTRY(4),
#if DASE_MR > 4
    DASE_ENTRY(5), DASE_ENTRY(6),
#endif
#if DASE_MR > 6
    DASE_ENTRY(7), DASE_ENTRY(8),
#endif
#if DASE_MR > 8
    DASE_ENTRY(9), DASE_ENTRY(10), DASE_ENTRY(11), DASE_ENTRY(12),
#endif
};

/* Which kernel of a row: the columns in halves of a vector, rounded up. */
static inline int DASE_NAME(halves)(int cols) { return (2 * cols + DASE_VL - 1) / DASE_VL - 1; }

/* The sums of a tile, one or two vectors a row. 1 <= rows <= MR, 1 <= cols <= 2 VL. */
static inline int DASE_NAME(sums)(const DASE_NAME(job) *p, int rows, int cols, ptrdiff_t kc, vec *tile)
{
    DASE_NAME(kernels)[rows - 1][DASE_NAME(halves)(cols)](
        kc, p->a, p->rs, p->cs, p->chunk, p->jump, p->b, p->ldb, p->bvs, tile, p->c, 0, 0, 0, p->asks);
    return cols > DASE_VL ? 2 : 1;
}

/* Sums of nv vectors a row on their way to C, with what the DASE_ flags ask for. */
static inline void DASE_NAME(job_out)(const DASE_NAME(job) *p, int rows, int cols, const vec *tile, int nv)
{
    const int flags = p->flags;
    for (int v = 0; v < nv; v++) {
        const int at = v * DASE_VL, n = cols - at < DASE_VL ? cols - at : DASE_VL;
        const vec add = (flags & DASE_BIAS) ? DASE_NAME(load)(p->bias + at, n) : (vec){0};
        for (int i = 0; i < rows; i++) {
            DASE_TYPE *out = p->c + i * p->ldc + v * p->cvs;
            vec sum = tile[i * nv + v];
            if (flags & DASE_ADD) sum += DASE_NAME(load)(out, n);
            if (flags & DASE_BIAS) sum += add;
            if (flags & DASE_RELU) sum = DASE_NAME(relu)(sum);
            if (flags & DASE_MASK) {
                const vec m = DASE_NAME(load)(p->mask + i * p->ldc + v * p->cvs, n);
                sum = (vec)((vec_int)(sum * p->scale) & (vec_int)(m > (vec){0}));
            }
            DASE_NAME(store)(out, sum, n);
        }
    }
}

/* C(rows x cols) = A B, and what the DASE_ flags ask for. Inlined: multiplications of the tile before hide
   only so much of what leads to the next one. */
static inline __attribute__((always_inline)) void
DASE_NAME(job_tile)(const DASE_NAME(job) *p, int rows, int cols, ptrdiff_t kc)
{
    if ((p->flags & ~DASE_ADD) == 0 && 2 * cols % DASE_VL == 0) {
        DASE_NAME(kernels)[rows - 1][DASE_NAME(halves)(cols)](
            kc, p->a, p->rs, p->cs, p->chunk, p->jump, p->b, p->ldb, p->bvs, NULL, p->c, p->ldc, p->cvs, p->flags,
            p->asks);
        return;
    }
    vec tile[2 * DASE_MR];
    const int nv = DASE_NAME(sums)(p, rows, cols, kc, tile);
    DASE_NAME(job_out)(p, rows, cols, tile, nv);
}

#else /* no vector extensions: the same functions in plain loops, left to the compiler */

static int DASE_NAME(sums)(const DASE_NAME(job) *p, int rows, int cols, ptrdiff_t kc, DASE_TYPE *tile)
{
    const int nv = cols > DASE_VL ? 2 : 1, width = (2 * cols + DASE_VL - 1) / DASE_VL * (DASE_VL / 2);
    memset(tile, 0, 2 * DASE_MR * DASE_VL * sizeof(DASE_TYPE));
    for (ptrdiff_t k = 0; k < kc; k++)
        for (int i = 0; i < rows; i++) {
            const DASE_TYPE s = p->a[i * p->rs + k * p->cs + k / p->chunk * p->jump];
            const DASE_TYPE *b = p->b + k * p->ldb;
            for (int j = 0; j < width; j++)
                tile[i * nv * DASE_VL + j] += s * b[j < DASE_VL ? j : j - DASE_VL + p->bvs];
        }
    return nv;
}

static void DASE_NAME(job_tile)(const DASE_NAME(job) *p, int rows, int cols, ptrdiff_t kc)
{
    DASE_TYPE tile[2 * DASE_MR * DASE_VL];
    const int nv = DASE_NAME(sums)(p, rows, cols, kc, tile), flags = p->flags;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) {
            const ptrdiff_t at = i * p->ldc + (j < DASE_VL ? j : j - DASE_VL + p->cvs);
            DASE_TYPE sum = tile[i * nv * DASE_VL + j];
            if (flags & DASE_ADD) sum += p->c[at];
            if (flags & DASE_BIAS) sum += p->bias[j];
            if ((flags & DASE_RELU) && sum <= 0) sum = 0;
            if (flags & DASE_MASK) sum = p->mask[at] > 0 ? sum * p->scale : 0;
            p->c[at] = sum;
        }
}

#endif

/* The same as job_tile for operands that lie in plain rows; A(i, k) is a[i * rs + k * cs]. */
static inline void DASE_NAME(tile)(int rows, int cols, ptrdiff_t kc,
                                   const DASE_TYPE *a, ptrdiff_t rs, ptrdiff_t cs, /* IN */
                                   const DASE_TYPE *b, ptrdiff_t ldb,              /* IN */
                                   DASE_TYPE *c, ptrdiff_t ldc,                    /* INOUT */
                                   const DASE_TYPE *bias, int flags)               /* IN */
{
    const DASE_NAME(job) job = {a, rs, cs, kc > 0 ? kc : 1, 0, b, ldb, DASE_VL, c, ldc, DASE_VL, bias, NULL, 1, flags,
                                 NULL};
    DASE_NAME(job_tile)(&job, rows, cols, kc);
}

#undef vec
#undef vec_at
#undef vec_int
#undef half
#undef half_at
#endif
