/* Register tiles of bfloat16 products by AMX: one instruction multiplies 16 x 32 by 32 x 16 numbers.

   The operands lie as for bf16/microkernel.h: A's rows as pairs along k, B as a panel of one or two vectors a
   pair. A tile of C has up to 32 rows and 32 columns: four of the eight registers, two of A and two of B. B's
   panel has zeros behind its last pair, up to a multiple of AMX_PAIRS; A's rows may have anything there.

   Sums are float32 and round to nearest even; denormals count as zero, in and out. Within a pair and from step to
   step the order of the additions is fixed by the instruction, so rows and columns of a tile do not change bits.

   The functions carry their instruction set themselves. They may be called only after the operating system let
   the process use the registers: runtime.pyx asks. HAVE_AMX is 0 where they cannot be compiled. */
#ifndef AMX_H
#define AMX_H

#include "product/prefetch.h"
#include "bf16/microkernel.h"

#if HAVE_BF16 && defined(DASECV_AMX) && defined(__linux__) /* setup.py has asked the compiler and its assembler */
#define HAVE_AMX 1
#else
#define HAVE_AMX 0
#endif

#define AMX_MR 32    /* rows of a tile */
#define AMX_PAIRS 16 /* pairs that one instruction multiplies */

#if !HAVE_AMX

#define amx_sums(...) stand_in(0, __VA_ARGS__)
#define amx_tile(...) stand_in(0, __VA_ARGS__)
#define amx_pack_a_columns(...) stand_in(0, __VA_ARGS__)
#define transpose_pairs(...) stand_in(0, __VA_ARGS__)
#define amx_pad(...) stand_in(0, __VA_ARGS__)
#define amx_done() stand_in(0)

#else

#define AMX_CODE \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,prfchw,amx-tile,amx-bf16")))

/* The compilers' own names for these do not say that memory is read: what was just stored could be missing. */
#define AMX_LOAD(to, from, bytes)                                                            \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #to : : "r"(from), "r"((ptrdiff_t)(bytes)) : "memory")
#define AMX_SAVE(from, to, bytes)                                                            \
    __asm__ volatile("tilestored %%tmm" #from ", (%0,%1,1)" : : "r"(to), "r"((ptrdiff_t)(bytes)) : "memory")
#define AMX_ZERO(to) __asm__ volatile("tilezero %%tmm" #to : :)
#define AMX_ADD(to, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #to : :)

/* The registers for a tile of so many rows; what they held is lost. */
AMX_CODE static void amx_configure(int rows)
{
    struct { uint8_t palette, start, unused[14]; uint16_t bytes[16]; uint8_t rows[16]; } c = {.palette = 1};
    const int low = rows < 16 ? rows : 16, high = rows > 16 ? rows - 16 : 1;
    const int tall[8] = {low, low, high, high, low, high, 16, 16}; /* C: 0 to 3, A: 4 and 5, B: 6 and 7 */
    for (int i = 0; i < 8; i++) {
        c.bytes[i] = 64;
        c.rows[i] = (uint8_t)tall[i];
    }
    __asm__ volatile("ldtilecfg (%0)" : : "r"(&c) : "memory");
}

/* One step: 16 pairs of A's rows, `pitch` words apart, and of the panel. */
#define AMX_STEP(from, apart, panel)                                                         \
    AMX_LOAD(6, panel, nv * 64);                                                             \
    AMX_LOAD(4, from, (apart) * 4);                                                          \
    AMX_ADD(0, 4, 6);                                                                        \
    if (nv == 2) {                                                                           \
        AMX_LOAD(7, (panel) + BF16_VL, 128);                                                 \
        AMX_ADD(1, 4, 7);                                                                    \
    }                                                                                        \
    if (tall) {                                                                              \
        AMX_LOAD(5, (from) + 16 * (apart), (apart) * 4);                                     \
        AMX_ADD(2, 5, 6);                                                                    \
        if (nv == 2) AMX_ADD(3, 5, 7);                                                       \
    }

/* Rows of `tile`, `apart` numbers apart, = A B, while the lines are prefetched. The registers are configured for
   these rows. */
AMX_CODE ALWAYS_INLINE void
amx_sums_by(int rows, const int tall, const int nv, ptrdiff_t pairs, const unsigned *a, ptrdiff_t pitch,
                 const unsigned *b, float *tile, ptrdiff_t apart, const prefetch_list *w)
{
    const ptrdiff_t steps = pairs / AMX_PAIRS, rest = pairs % AMX_PAIRS;
    const int count = w ? w->count : 0, each = steps ? (int)((count + steps - 1) / steps) : count;
    int done = 0;
    AMX_ZERO(0);
    if (nv == 2) AMX_ZERO(1);
    if (tall) {
        AMX_ZERO(2);
        if (nv == 2) AMX_ZERO(3);
    }
    for (ptrdiff_t k = 0; k < steps; k++, a += AMX_PAIRS, b += nv * BF16_VL * AMX_PAIRS) {
        AMX_STEP(a, pitch, b)
        for (const int past = done + each < count ? done + each : count; done < past; done++)
            PREFETCH(w->at[done]);
    }
    for (; done < count; done++) PREFETCH(w->at[done]);
    if (rest) { /* what stands behind the last pair of A must not be multiplied by zero: it could be infinite */
        unsigned last[AMX_MR * AMX_PAIRS] __attribute__((aligned(64)));
        const __mmask16 mask = bf16_mask(rest);
        for (int i = 0; i < rows; i++)
            _mm512_store_si512(last + i * AMX_PAIRS, _mm512_maskz_loadu_epi32(mask, a + i * pitch));
        AMX_STEP(last, AMX_PAIRS, b)
    }
    AMX_SAVE(0, tile, apart * 4);
    if (nv == 2) AMX_SAVE(1, tile + BF16_VL, apart * 4);
    if (tall) {
        AMX_SAVE(2, tile + 16 * apart, apart * 4);
        if (nv == 2) AMX_SAVE(3, tile + 16 * apart + BF16_VL, apart * 4);
    }
}

AMX_CODE static void amx_sums(int rows, int nv, ptrdiff_t pairs, const unsigned *a, ptrdiff_t pitch,
                                        const unsigned *b, float *tile, ptrdiff_t apart, const prefetch_list *w,
                                        int *configured)
{
    if (*configured != rows) amx_configure(*configured = rows);
    if (rows > 16 && nv == 2) amx_sums_by(rows, 1, 2, pairs, a, pitch, b, tile, apart, w);
    else if (rows > 16) amx_sums_by(rows, 1, 1, pairs, a, pitch, b, tile, apart, w);
    else if (nv == 2) amx_sums_by(rows, 0, 2, pairs, a, pitch, b, tile, apart, w);
    else amx_sums_by(rows, 0, 1, pairs, a, pitch, b, tile, apart, w);
}

/* After the last tile: the processor need not keep the registers. */
AMX_CODE static inline void amx_done(void) { __asm__ volatile("tilerelease" : :); }

/* Zeros behind the last pair of a panel. */
BF16_CODE static inline void amx_pad(unsigned *panel, ptrdiff_t pairs, int cols)
{
    const ptrdiff_t width = cols > BF16_VL ? 2 * BF16_VL : BF16_VL;
    for (ptrdiff_t at = pairs * width; at % (AMX_PAIRS * width) != 0; at += BF16_VL)
        _mm512_store_si512(panel + at, _mm512_setzero_si512());
}

/* C(rows x cols) = A B, and what the flags tell. A's pairs lie side by side. Where no lines
   are listed, C's own are prefetched.
   1 <= rows <= AMX_MR, 1 <= cols <= 2 VL. */
static inline void amx_tile(const tile_args *args, float *c, int rows, int cols, ptrdiff_t pairs, int *configured)
{
    __m512 tile[2 * AMX_MR];
    const int nv = cols > BF16_VL ? 2 : 1;
    if (args->prefetch == NULL) bf16_prefetch(rows, cols, c, args->ldc);
    amx_sums(rows, nv, pairs, args->a, args->rs, args->b, (float *)tile, nv * BF16_VL, args->prefetch, configured);
    tile_store_float(args, c, rows, cols, (const vec_float *)tile, nv);
}

/* 16 x 16 words, 16 pairs of 16 columns, as 16 rows of pairs, `pitch` words apart. */
BF16_CODE ALWAYS_INLINE void
amx_turn(const __m512i *r, int rows, unsigned *to, ptrdiff_t pitch)
{
    __m512i t[16];
    bf16_transpose(r, t);
    for (int i = 0; i < rows; i++) _mm512_storeu_si512(to + i * pitch, t[i]);
}

/* packed[row * pitch + pair] from the transpose a[k * lda + row]; whole steps of pairs are written. */
BF16_CODE static void amx_pack_a_columns(ptrdiff_t rows, ptrdiff_t kc, const float *a, ptrdiff_t lda,
                                                  unsigned *packed, ptrdiff_t pitch)
{
    const __m512 zero = _mm512_setzero_ps();
    for (ptrdiff_t k = 0; k < kc; k += 2 * AMX_PAIRS)
        for (ptrdiff_t i = 0; i < rows; i += 16) {
            const ptrdiff_t some = rows - i < 16 ? rows - i : 16;
            const __mmask16 mask = bf16_mask(some);
            __m512i r[16];
            for (int p = 0; p < 16; p++) {
                const ptrdiff_t at = k + 2 * p;
                const float *row = a + at * lda + i;
                r[p] = at >= kc ? (__m512i)zero
                    : bf16_pairs(_mm512_maskz_loadu_ps(mask, row),
                                      at + 1 < kc ? _mm512_maskz_loadu_ps(mask, row + lda) : zero);
            }
            amx_turn(r, (int)some, packed + i * pitch + k / 2, pitch);
        }
}

/* The left factor of a step's x^T dout: the first rows of a pair of panels of x, `width` words a pair of samples, as
   rows of pairs, `pitch` words apart. */
BF16_CODE static void transpose_pairs(const unsigned *across, ptrdiff_t width, ptrdiff_t n, ptrdiff_t rows,
                                      unsigned *transposed, ptrdiff_t pitch)
{
    for (ptrdiff_t k = 0; k < (n + 1) / 2; k += AMX_PAIRS)
        for (ptrdiff_t i = 0; i < rows; i += 16) {
            const ptrdiff_t some = rows - i < 16 ? rows - i : 16;
            __m512i r[16];
            for (int p = 0; p < 16; p++)
                r[p] = _mm512_maskz_loadu_epi32(bf16_mask(some), across + (k + p) * width + i);
            amx_turn(r, (int)some, transposed + i * pitch + k, pitch);
        }
}

#endif
#endif
