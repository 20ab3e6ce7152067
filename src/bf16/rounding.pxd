# What the C of this folder does for a training step: see step.h and amx_step.h. Nothing where it is not built.
from product.tiles cimport prefetch_list, tile_args
from step.rules cimport rule_update

cdef extern from "bf16/step.h" nogil:
    enum:
        HAVE_BF16
        HAVE_AMX
        BY_AVX512
        BY_AMX
        BF16_MR           # rows of a tile
        BF16_VL           # lanes of a vector
        BF16_KC           # a block of k
        BF16_PAIR_PANELS  # panels of the left factor of x^T dout that are cut into tiles together
        BF16_CUTS         # and into how many
        AMX_MR
        AMX_COLS          # columns of weights at a time
        AMX_PANEL_STRIDE
    ctypedef struct rounded_panels:
        unsigned *along
        unsigned *across
        Py_ssize_t row_stride, pair_stride
        int amx
    Py_ssize_t bf16_row_stride(Py_ssize_t features) noexcept
    Py_ssize_t bf16_pair_stride(Py_ssize_t n) noexcept
    void round_panels(const rounded_panels *to, Py_ssize_t n, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t p0,
                      Py_ssize_t p1, Py_ssize_t panels, const void *activation) noexcept
    # Panels of B, packed from its rows, and one from the rows of its transpose.
    void bf16_pack_rows(Py_ssize_t kc, Py_ssize_t cols, const float *b, Py_ssize_t ldb, unsigned *panel,
                        Py_ssize_t panel_stride) noexcept
    void bf16_pack_columns(Py_ssize_t kc, int cols, const float *b, Py_ssize_t ldb, unsigned *panel) noexcept
    void bf16_tile_product(const tile_args *args, float *c, int rows, int cols, Py_ssize_t pairs, const unsigned *a,
                           Py_ssize_t stride, const unsigned *b) noexcept
    double bf16_update_tile(const rule_update *u, int rows, int cols, Py_ssize_t pairs, const unsigned *a,
                            Py_ssize_t stride, const unsigned *b, Py_ssize_t at, Py_ssize_t ld,
                            const prefetch_list *lines) noexcept

    Py_ssize_t transposed_stride(Py_ssize_t n) noexcept
    Py_ssize_t amx_words(Py_ssize_t n, Py_ssize_t widest) noexcept
    void amx_pad(unsigned *panel, Py_ssize_t pairs, int cols) noexcept
    void amx_sums(int rows, int vectors, Py_ssize_t pairs, const unsigned *a, Py_ssize_t stride, const unsigned *b,
                  float *sums, Py_ssize_t ld, const prefetch_list *lines, int *configured) noexcept
    void amx_tile_product(const tile_args *args, float *c, int rows, int cols, Py_ssize_t pairs, const unsigned *a,
                          Py_ssize_t stride, const unsigned *b, int *configured) noexcept
    void amx_done() noexcept
    void transpose_pairs(const unsigned *across, Py_ssize_t width, Py_ssize_t n, Py_ssize_t rows,
                         unsigned *transposed) noexcept
