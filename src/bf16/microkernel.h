/* Register tiles of a matrix product of bfloat16 numbers, and the packing that makes them.

   bfloat16 is the upper half of a float32: sign, 8 bits of exponent, 7 of fraction. AVX512_BF16
   multiplies pairs of them and adds both products to a float32, so operands are packed as pairs
   of neighbours in k: one 32-bit word, the even k in its lower half, zero behind an odd end.

   The instructions round to nearest even whatever the mode is, and take denormals as zero, in
   and out. NaN and infinities pass through; a float32 beyond the largest bfloat16 becomes infinite.

   The functions carry their instruction set themselves: a module for AVX-512 holds them, and they
   may be called only where the CPU has AVX512_BF16. HAVE_BF16 is 0 where they cannot be compiled:
   nobody calls them then. */
#ifndef BF16_H
#define BF16_H

#include "product/microkernel.h"

#if HAVE_VECTORS && defined(__x86_64__) && defined(__AVX512F__) && defined(__AVX512BW__) \
    && defined(__AVX512DQ__) && defined(__AVX512VL__)
#if defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 10
#define HAVE_BF16 1
#endif
#endif

#define BF16_MR 12   /* rows of a tile: 24 sums, two vectors of B, the rest for A */
#define BF16_VL 16   /* columns of a vector of sums */
#define BF16_AHEAD 8 /* a transposed A is prefetched so many rows before it is packed */

#ifndef HAVE_BF16

#define HAVE_BF16 0
#define bf16_tile(...) stand_in(0, __VA_ARGS__)
#define bf16_pack_rows(...) stand_in(0, __VA_ARGS__)
#define bf16_pack_columns(...) stand_in(0, __VA_ARGS__)
#define bf16_pack_a(...) stand_in(0, __VA_ARGS__)
#define bf16_pack_a_columns(...) stand_in(0, __VA_ARGS__)

#else

#define BF16_CODE __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,prfchw")))

/* The first n of 16 lanes, 0 <= n. */
static inline __mmask16 bf16_mask(ptrdiff_t n)
{
    return n >= 16 ? (__mmask16)0xffff : n <= 0 ? (__mmask16)0 : (__mmask16)((1u << n) - 1);
}

#define BF16_ZERO_1(i, p, r) __m512 c##i = _mm512_setzero_ps();
#define BF16_ZERO_2(i, p, r) __m512 c##i = _mm512_setzero_ps(), d##i = _mm512_setzero_ps();
#define BF16_STEP_1(i, p, r)                                                                 \
    c##i = _mm512_dpbf16_ps(c##i, (__m512bh)_mm512_set1_epi32((int)p[(r) * rs]), b0);
#define BF16_STEP_2(i, p, r) {                                                               \
        const __m512bh s = (__m512bh)_mm512_set1_epi32((int)p[(r) * rs]);                    \
        c##i = _mm512_dpbf16_ps(c##i, s, b0);                                                \
        d##i = _mm512_dpbf16_ps(d##i, s, b1);                                                \
    }
#define BF16_LOAD_1 const __m512bh b0 = (__m512bh)_mm512_load_si512(b);
#define BF16_LOAD_2 BF16_LOAD_1 const __m512bh b1 = (__m512bh)_mm512_load_si512(b + BF16_VL);

#define BF16_PAIR(ROWS, NV)                                                                  \
    BF16_LOAD_##NV                                                                           \
    ROWS_##ROWS(BF16_STEP_##NV)                                                              \
    ROW_STEP(cs);                                                                            \
    b += NV * BF16_VL;

/* tile = A B over the pairs: A(i, k) is a[i * rs + k * cs], B a panel of NV vectors a pair. The listed lines are
   prefetched meanwhile. */
#define BF16_KERNEL(ROWS, NV)                                                                \
    BF16_CODE static void bf16_kernel_##ROWS##x##NV(                                         \
        ptrdiff_t pairs, const unsigned *a, ptrdiff_t rs, ptrdiff_t cs,                      \
        const unsigned *b, __m512 *tile, const prefetch_list *ahead)                         \
    {                                                                                        \
        const ptrdiff_t lines = ahead ? ahead->count : 0, early = lines < pairs ? lines : pairs; \
        ptrdiff_t k = 0;                                                                     \
        ROW_POINTERS(ROWS, unsigned)                                                         \
        for (ptrdiff_t late = early; late < lines; late++) PREFETCH(ahead->at[late]);        \
        ROWS_##ROWS(BF16_ZERO_##NV)                                                          \
        for (; k < early; k++) {                                                             \
            PREFETCH(ahead->at[k]);                                                          \
            BF16_PAIR(ROWS, NV)                                                              \
        }                                                                                    \
        for (; k < pairs; k++) { BF16_PAIR(ROWS, NV) }                                       \
        ROWS_##ROWS(SAVE_##NV)                                                               \
    }
#define BF16_KERNELS(ROWS) BF16_KERNEL(ROWS, 1) BF16_KERNEL(ROWS, 2)
#define BF16_ENTRY(ROWS) {bf16_kernel_##ROWS##x1, bf16_kernel_##ROWS##x2},

UP_TO(BF16_MR, BF16_KERNELS)

typedef void (*bf16_kernel)(ptrdiff_t, const unsigned *, ptrdiff_t, ptrdiff_t, const unsigned *, __m512 *,
                            const prefetch_list *);
static const bf16_kernel bf16_kernels[BF16_MR][2] = {UP_TO(BF16_MR, BF16_ENTRY)};

/* Prefetch the lines that a tile is written to, for the time when it is computed. */
static inline void bf16_prefetch(int rows, int cols, const float *c, ptrdiff_t ldc)
{
    for (int i = 0; i < rows; i++)
        for (int at = 0; at < cols + 15; at += 16)
            __builtin_prefetch(c + i * ldc + (at < cols ? at : cols - 1), 1);
}

/* The sums of a tile, one or two vectors a row. 1 <= rows <= BF16_MR, 1 <= cols <= 2 VL. */
static inline int bf16_sums(const tile_args *args, int rows, int cols, ptrdiff_t pairs, __m512 *tile)
{
    bf16_kernels[rows - 1][cols > BF16_VL](pairs, args->a, args->rs, args->cs, args->b, tile, args->prefetch);
    return cols > BF16_VL ? 2 : 1;
}

/* C(rows x cols) = A B, and what the flags tell. Where no lines are listed, C's own are prefetched. */
static inline void bf16_tile(const tile_args *args, float *c, int rows, int cols, ptrdiff_t pairs)
{
    __m512 tile[2 * BF16_MR];
    if (args->prefetch == NULL) bf16_prefetch(rows, cols, c, args->ldc);
    const int nv = bf16_sums(args, rows, cols, pairs, tile);
    tile_store_float(args, c, rows, cols, (const vec_float *)tile, nv);
}

/* 16 pairs of (low, high), lane by lane. */
BF16_CODE static inline __m512i bf16_pairs(__m512 low, __m512 high)
{
    const __m512i zip = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8,
                                         23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(zip, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

/* Up to 32 neighbours in memory as 16 pairs: n of them, zeros behind. */
BF16_CODE static inline __m512i bf16_run(const float *from, ptrdiff_t n)
{
    if (n >= 32)
        return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + 16), _mm512_loadu_ps(from));
    if (n <= 16) /* an address behind the end is not even formed */
        return (__m512i)_mm512_cvtne2ps_pbh(_mm512_setzero_ps(), _mm512_maskz_loadu_ps(bf16_mask(n), from));
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(bf16_mask(n - 16), from + 16),
                                        _mm512_loadu_ps(from));
}

/* Panels side by side from kc rows b[k * ldb + 0..cols): panel[pair][0..2 VL), zeros behind the last
   column, the next one pitch words on; one of at most VL columns has one vector a pair. Rows are
   read through all panels at once: narrow pieces of them, pages apart, would wait for memory. */
BF16_CODE static void bf16_pack_rows(ptrdiff_t kc, ptrdiff_t cols, const float *b, ptrdiff_t ldb,
                                               unsigned *panel, ptrdiff_t pitch)
{
    const ptrdiff_t whole = cols / (2 * BF16_VL), rest = cols % (2 * BF16_VL);
    const __mmask16 first = bf16_mask(rest), second = bf16_mask(rest - BF16_VL);
    const __m512 zero = _mm512_setzero_ps();
    for (ptrdiff_t pair = 0; 2 * pair < kc; pair++, b += 2 * ldb) {
        const int both = 2 * pair + 1 < kc;
        const float *low = b, *high = both ? b + ldb : b;
        unsigned *to = panel + pair * 2 * BF16_VL;
        for (ptrdiff_t g = 0; g < whole; g++, low += 2 * BF16_VL, high += 2 * BF16_VL, to += pitch) {
            _mm512_store_si512(to, bf16_pairs(_mm512_loadu_ps(low), both ? _mm512_loadu_ps(high) : zero));
            _mm512_store_si512(to + BF16_VL,
                               bf16_pairs(_mm512_loadu_ps(low + BF16_VL),
                                               both ? _mm512_loadu_ps(high + BF16_VL) : zero));
        }
        if (rest == 0) continue;
        to = panel + whole * pitch + pair * (rest > BF16_VL ? 2 : 1) * BF16_VL;
        _mm512_store_si512(to, bf16_pairs(_mm512_maskz_loadu_ps(first, low),
                                               both ? _mm512_maskz_loadu_ps(first, high) : zero));
        if (rest > BF16_VL) {
            low += BF16_VL;
            high += BF16_VL;
            _mm512_store_si512(to + BF16_VL,
                               bf16_pairs(_mm512_maskz_loadu_ps(second, low),
                                               both ? _mm512_maskz_loadu_ps(second, high) : zero));
        }
    }
}

#define BF16_LANES(l0, l1, l2, l3) ((l0) | (l1) << 2 | (l2) << 4 | (l3) << 6)

/* to = the transpose of 16 x 16 words: first inside the four 128-bit lanes, then the lanes themselves. */
BF16_CODE ALWAYS_INLINE void bf16_transpose(const __m512i *r, __m512i *to)
{
    __m512i t[16]; /* t[4 g + w] holds, in lane l, word 4 l + w of rows 4 g to 4 g + 3 */
    _Pragma("GCC unroll 4")
    for (int g = 0; g < 16; g += 4) {
        const __m512i a0 = _mm512_unpacklo_epi32(r[g], r[g + 1]), a1 = _mm512_unpackhi_epi32(r[g], r[g + 1]);
        const __m512i a2 = _mm512_unpacklo_epi32(r[g + 2], r[g + 3]), a3 = _mm512_unpackhi_epi32(r[g + 2], r[g + 3]);
        t[g] = _mm512_unpacklo_epi64(a0, a2);
        t[g + 1] = _mm512_unpackhi_epi64(a0, a2);
        t[g + 2] = _mm512_unpacklo_epi64(a1, a3);
        t[g + 3] = _mm512_unpackhi_epi64(a1, a3);
    }
    _Pragma("GCC unroll 4")
    for (int w = 0; w < 4; w++) {
        const __m512i b0 = _mm512_shuffle_i32x4(t[w], t[4 + w], BF16_LANES(0, 1, 0, 1));
        const __m512i b1 = _mm512_shuffle_i32x4(t[w], t[4 + w], BF16_LANES(2, 3, 2, 3));
        const __m512i b2 = _mm512_shuffle_i32x4(t[8 + w], t[12 + w], BF16_LANES(0, 1, 0, 1));
        const __m512i b3 = _mm512_shuffle_i32x4(t[8 + w], t[12 + w], BF16_LANES(2, 3, 2, 3));
        to[w] = _mm512_shuffle_i32x4(b0, b2, BF16_LANES(0, 2, 0, 2));
        to[4 + w] = _mm512_shuffle_i32x4(b0, b2, BF16_LANES(1, 3, 1, 3));
        to[8 + w] = _mm512_shuffle_i32x4(b1, b3, BF16_LANES(0, 2, 0, 2));
        to[12 + w] = _mm512_shuffle_i32x4(b1, b3, BF16_LANES(1, 3, 1, 3));
    }
}

/* packed[row * pitch + pair] from the rows a[row * lda + 0..kc). */
BF16_CODE static void bf16_pack_a(ptrdiff_t rows, ptrdiff_t kc, const float *a, ptrdiff_t lda,
                                            unsigned *packed, ptrdiff_t pitch)
{
    for (ptrdiff_t i = 0; i < rows; i++, a += lda, packed += pitch) {
        ptrdiff_t k = 0;
        for (; k + 32 <= kc; k += 32) _mm512_store_si512(packed + k / 2, bf16_run(a + k, 32));
        /* pitch is a multiple of 16: the last vector stays inside the row. */
        if (k < kc) _mm512_store_si512(packed + k / 2, bf16_run(a + k, kc - k));
    }
}

/* One such panel from the transpose, B(k, j) = b[j * ldb + k]; written for whole steps of 32 k.
   The stored rows are rounded one after the other first: 16 of them at once lie pages apart. */
BF16_CODE static void bf16_pack_columns(ptrdiff_t kc, int cols, const float *b, ptrdiff_t ldb,
                                                  unsigned *panel)
{
    enum { STEP = 512, PITCH = STEP / 2 + 16 };
    unsigned rounded[16 * PITCH] __attribute__((aligned(64)));
    const int width = cols > BF16_VL ? 2 * BF16_VL : BF16_VL;
    for (int at = 0; at < width; at += BF16_VL) {
        const int full = cols - at < BF16_VL ? cols - at : BF16_VL;
        unsigned *to = panel + at;
        for (int i = full; i < 16; i++) memset(rounded + i * PITCH, 0, STEP / 2 * sizeof *rounded);
        for (ptrdiff_t done = 0; done < kc; done += STEP) {
            const ptrdiff_t n = kc - done < STEP ? kc - done : STEP;
            bf16_pack_a(full, n, b + at * ldb + done, ldb, rounded, PITCH);
            for (ptrdiff_t k = 0; k < n; k += 32, to += 16 * width) {
                __m512i r[16], t[16];
                _Pragma("GCC unroll 16")
                for (int i = 0; i < 16; i++) r[i] = _mm512_load_si512(rounded + i * PITCH + k / 2);
                bf16_transpose(r, t);
                _Pragma("GCC unroll 16")
                for (int i = 0; i < 16; i++) _mm512_store_si512(to + i * width, t[i]);
            }
        }
    }
}

/* packed[tile * pitch + pair * MR + row of the tile] from the transpose a[k * lda + row].
   A whole vector is stored each time: what is too much is overwritten by the next pair, and
   lands at the end of a tile in the 4 words that pitch leaves there. */
BF16_CODE static void bf16_pack_a_columns(ptrdiff_t rows, ptrdiff_t kc, const float *a, ptrdiff_t lda,
                                                    unsigned *packed, ptrdiff_t pitch)
{
    for (ptrdiff_t k = 0; k < kc; k += 2, a += 2 * lda, packed += BF16_MR) {
        unsigned *to = packed;
        for (ptrdiff_t i = 0; i < rows; i += BF16_MR, to += pitch) {
            const __mmask16 mask = bf16_mask(rows - i < BF16_MR ? rows - i : BF16_MR);
            if (k + BF16_AHEAD + 1 < kc) {
                _mm_prefetch((const char *)(a + BF16_AHEAD * lda + i), _MM_HINT_T0);
                _mm_prefetch((const char *)(a + (BF16_AHEAD + 1) * lda + i), _MM_HINT_T0);
            }
            const __m512 low = _mm512_maskz_loadu_ps(mask, a + i);
            const __m512 high = k + 1 < kc ? _mm512_maskz_loadu_ps(mask, a + lda + i) : _mm512_setzero_ps();
            _mm512_storeu_si512(to, bf16_pairs(low, high));
        }
    }
}

#endif
#endif
