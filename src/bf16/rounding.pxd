# What the C of this folder does, and where the words of a training step lie: see step.h and amx.h.
#
# A tile of AMX takes less time than the memory that belongs to it, and memory is read fastest as long runs: so the
# rows of a block of weights are rounded all along before they are multiplied, and a gradient is computed for whole
# rows before the parameter is updated by it. The left factor of x^T dout is transposed on its way: to rows of
# pairs, a pair of panels at a time.
from arithmetic cimport ceil_div
from product.tiles cimport prefetch_list, tile_args
from step.rules cimport rule_update

cdef extern from "bf16/step.h" nogil:
    enum:
        HAVE_BF16
        HAVE_AMX
        BF16_MR           # rows of a tile
        BF16_VL           # lanes of a vector, and features of a panel
        AMX_MR
        AMX_PAIRS         # pairs that one instruction multiplies
    ctypedef struct rounded_panels:
        unsigned *along
        unsigned *across
        Py_ssize_t row_stride, pair_stride
        int amx
    void round_panels(const rounded_panels *to, Py_ssize_t n, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t p0,
                      Py_ssize_t p1, Py_ssize_t panels, const void *activation) noexcept
    # Panels of B, packed from its rows, and one from the rows of its transpose.
    void bf16_pack_rows(Py_ssize_t kc, Py_ssize_t cols, const float *b, Py_ssize_t ldb, unsigned *panel,
                        Py_ssize_t stride) noexcept
    void bf16_pack_columns(Py_ssize_t kc, int cols, const float *b, Py_ssize_t ldb, unsigned *panel) noexcept
    void bf16_pack_a(Py_ssize_t rows, Py_ssize_t kc, const float *a, Py_ssize_t lda, unsigned *packed,
                     Py_ssize_t stride) noexcept
    void bf16_pack_a_columns(Py_ssize_t rows, Py_ssize_t kc, const float *a, Py_ssize_t lda, unsigned *packed,
                             Py_ssize_t stride) noexcept
    # A tile of C; and one of a gradient, with the update by it.
    void bf16_tile(const tile_args *args, float *c, int rows, int cols, Py_ssize_t pairs) noexcept
    double bf16_update_tile(const tile_args *args, int rows, int cols, Py_ssize_t pairs, const rule_update *u,
                            Py_ssize_t at, Py_ssize_t ld) noexcept

    void amx_pack_a_columns(Py_ssize_t rows, Py_ssize_t kc, const float *a, Py_ssize_t lda, unsigned *packed,
                            Py_ssize_t stride) noexcept
    void amx_pad(unsigned *panel, Py_ssize_t pairs, int cols) noexcept
    void amx_sums(int rows, int vectors, Py_ssize_t pairs, const unsigned *a, Py_ssize_t stride, const unsigned *b,
                  float *sums, Py_ssize_t ld, const prefetch_list *lines, int *configured) noexcept
    void amx_tile(const tile_args *args, float *c, int rows, int cols, Py_ssize_t pairs, int *configured) noexcept
    void amx_done() noexcept
    void transpose_pairs(const unsigned *across, Py_ssize_t width, Py_ssize_t n, Py_ssize_t rows,
                         unsigned *transposed, Py_ssize_t stride) noexcept

cdef enum:
    BY_AMX = 2            # how a step multiplies; 1: by AVX512_BF16
    BF16_KC = 512         # a block of k: the left factor's stays in the second-level cache
    BF16_WIDTH = 2 * BF16_VL  # columns of a tile, and features of a pair of panels
    BF16_CUTS = 4         # rows of tiles that such a pair is cut into as the left factor of x^T dout
    AMX_COLS = 1024       # columns of weights at a time: rows of 4 KB; with 512 of k, 1 MB when rounded
    AMX_PANEL_STRIDE = BF16_KC * BF16_VL + 16  # words from one packed panel to the next


# A little more than is used, so that they begin in other sets of the cache.

cdef inline Py_ssize_t bf16_row_stride(Py_ssize_t features) noexcept nogil:
    return (ceil_div(features, BF16_WIDTH) + 1) * BF16_VL


cdef inline Py_ssize_t bf16_pair_stride(Py_ssize_t n) noexcept nogil:
    return ceil_div(n, 2 * AMX_PAIRS) * AMX_PAIRS * BF16_WIDTH + 16


cdef inline Py_ssize_t transposed_stride(Py_ssize_t n) noexcept nogil:
    """Words between rows of the left factor of x^T dout, when it is transposed."""
    return (ceil_div(n, 2 * AMX_PAIRS) + 1) * AMX_PAIRS


cdef inline Py_ssize_t amx_words(Py_ssize_t n, Py_ssize_t widest) noexcept nogil:
    """Words of scratch for a thread: packed panels; or what was transposed, and rows of a gradient."""
    cdef Py_ssize_t panels = ceil_div(min(widest, <Py_ssize_t> AMX_COLS), BF16_WIDTH)
    return max(panels * AMX_PANEL_STRIDE, AMX_MR * (transposed_stride(n) + panels * BF16_WIDTH))
