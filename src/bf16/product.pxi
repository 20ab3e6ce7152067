# Matrix product of float32 matrices rounded to bfloat16, added up in float32. Needs product/product.pxi.
#
# Operands are rounded while they are packed; C, the bias and the sums of columns stay float32.
# Blocks and rectangles are those of product/product.pxi with longer blocks of k: they follow from K alone
# and each element of C is one chain of additions, so the place and size of a rectangle do not
# change its bits, and neither does the number of threads.
#
# With `amx` the tiles are those of bf16/amx.h: 32 rows instead of 12, and a transposed A is packed as rows too.
#
# rectangle_bf16 may be called inside a parallel region of the caller's own, with scratch of
# scratch_bf16(...) words, 64-byte aligned. None of this may run before bf16_built() and the CPU's
# AVX512_BF16 were asked for, and with `amx` before the operating system gave leave.

cdef extern from "bf16/microkernel.h" nogil:
    enum:
        HAVE_BF16
        BF16_MR
        BF16_VL
    void bf16_tile(int rows, int cols, Py_ssize_t pairs, const unsigned *a, Py_ssize_t rs, Py_ssize_t cs,
                        const unsigned *b, float *c, Py_ssize_t ldc, const float *bias, int flags) noexcept
    void bf16_pack_rows(Py_ssize_t kc, Py_ssize_t cols, const float *b, Py_ssize_t ldb,
                             unsigned *panel, Py_ssize_t pitch) noexcept
    void bf16_pack_columns(Py_ssize_t kc, int cols, const float *b, Py_ssize_t ldb, unsigned *panel) noexcept
    void bf16_pack_a(Py_ssize_t rows, Py_ssize_t kc, const float *a, Py_ssize_t lda,
                          unsigned *packed, Py_ssize_t pitch) noexcept
    void bf16_pack_a_columns(Py_ssize_t rows, Py_ssize_t kc, const float *a, Py_ssize_t lda,
                                  unsigned *packed, Py_ssize_t pitch) noexcept

cdef extern from "bf16/amx.h" nogil:
    enum:
        HAVE_AMX
        AMX_MR
    void amx_tile(int rows, int cols, Py_ssize_t pairs, const unsigned *a, Py_ssize_t pitch, const unsigned *b,
                       float *c, Py_ssize_t ldc, const float *bias, int flags, int *configured) noexcept
    void amx_pack_a_columns(Py_ssize_t rows, Py_ssize_t kc, const float *a, Py_ssize_t lda,
                                 unsigned *packed, Py_ssize_t pitch) noexcept
    void amx_pad(unsigned *panel, Py_ssize_t pairs, int cols) noexcept
    void amx_done() noexcept

cdef enum:
    KC_BF16 = 512           # a panel streams from the second-level cache; fewer passes over C
    ROWS_BF16 = 264         # a block of rows: 22 tiles of 12
    ROWS_AMX = 256          # and 8 of 32
    GROUP_BF16 = 8          # panels of B packed at once
    PANELS_BF16 = 32        # panels of B that are kept when they serve several blocks of rows
    SERIAL_CYCLES = 500000  # above 100 us: below it, waking threads costs more than it brings
    WORD_PAD = 16           # words (pairs) between rows, tiles and panels: they start in other sets of the cache


cdef inline bint bf16_built() noexcept nogil:
    """Whether the compiler could build these kernels at this level."""
    return HAVE_BF16


cdef inline Py_ssize_t _kc_bf16(Py_ssize_t k) noexcept nogil:
    """Length of a block of k: even, and about KC_BF16."""
    cdef Py_ssize_t blocks = max(<Py_ssize_t>1, ceil_div(k, KC_BF16))
    return max(<Py_ssize_t>32, ceil_div(ceil_div(k, blocks), 32) * 32)


cdef inline Py_ssize_t _tile_bf16(bint amx) noexcept nogil:
    """Rows of a tile."""
    return AMX_MR if amx else BF16_MR


cdef inline Py_ssize_t _block_bf16(bint amx) noexcept nogil:
    """Rows of a block."""
    return ROWS_AMX if amx else ROWS_BF16


cdef inline Py_ssize_t _words_a_bf16(Py_ssize_t k, Py_ssize_t rows, bint amx) noexcept nogil:
    """Words of one packed block of A in a rectangle of so many rows."""
    cdef Py_ssize_t mr = _tile_bf16(amx)
    return min(_block_bf16(amx), ceil_div(rows, mr) * mr) * (_kc_bf16(k) // 2 + WORD_PAD)


cdef inline Py_ssize_t _pitch_b_bf16(Py_ssize_t k) noexcept nogil:
    """Words from one packed panel of B to the next."""
    return BF16_VL * _kc_bf16(k) + WORD_PAD


cdef size_t scratch_bf16(Py_ssize_t k, Py_ssize_t rows, Py_ssize_t cols, bint amx) noexcept nogil:
    """Words of scratch for any rectangle of at most rows x cols of a product over k."""
    cdef Py_ssize_t kept = PANELS_BF16 if rows > _block_bf16(amx) else GROUP_BF16
    return _words_a_bf16(k, rows, amx) + min(kept, ceil_div(cols, 2 * BF16_VL)) * _pitch_b_bf16(k)


cdef void rectangle_bf16(const Product *p, const float *a, const float *b, float *c, const float *bias,
                         Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1,
                         unsigned *scratch, bint amx) noexcept nogil:
    """Rows i0..i1, columns j0..j1 of C; reads m, n, k, trans_a, trans_b, lda, ldb and flags of p."""
    cdef int width = 2 * BF16_VL, cols, rows, flags, configured = 0
    cdef Py_ssize_t mr = _tile_bf16(amx), block_rows = _block_bf16(amx), block_cols = PANELS_BF16 * width
    cdef Py_ssize_t nj, nic, npanel, nt        # counters of the loops over blocks
    cdef Py_ssize_t jc, j, ic, i, i_end, j_end, kp, kc, pairs, rs, cs, tile_words
    cdef Py_ssize_t block_kc = _kc_bf16(p.k), pitch = _pitch_b_bf16(p.k), group = GROUP_BF16 * width
    cdef bint one_block = i1 - i0 <= block_rows
    cdef unsigned *packed_a = scratch
    cdef unsigned *packed_b = scratch + _words_a_bf16(p.k, i1 - i0, amx)
    cdef unsigned *panel
    for nj in range(ceil_div(j1 - j0, block_cols)):
        jc = j0 + nj * block_cols
        j_end = min(jc + block_cols, j1)
        kp = 0
        while True:
            kc = min(block_kc, p.k - kp)
            pairs = ceil_div(kc, 2)
            flags = (TILE_ADD if kp else 0) | (p.flags if kp + kc == p.k else 0)
            # Without AMX a transposed A lies tile by tile, a plain one row by row, as rows are read from memory.
            if p.trans_a and not amx:
                rs, cs = 1, BF16_MR
                tile_words = pairs * BF16_MR + WORD_PAD
            else:
                rs, cs = ceil_div(pairs, 16) * 16 + WORD_PAD, 1
                tile_words = mr * rs
            for nic in range(ceil_div(i1 - i0, block_rows)):
                ic = i0 + nic * block_rows
                i_end = min(ic + block_rows, i1)
                if p.trans_a and amx:
                    amx_pack_a_columns(i_end - ic, kc, a + kp * p.lda + ic, p.lda, packed_a, rs)
                elif p.trans_a:
                    bf16_pack_a_columns(i_end - ic, kc, a + kp * p.lda + ic, p.lda, packed_a, tile_words)
                else:
                    bf16_pack_a(i_end - ic, kc, a + ic * p.lda + kp, p.lda, packed_a, rs)
                for npanel in range(ceil_div(j_end - jc, width)):
                    j = jc + npanel * width
                    cols = <int>min(<Py_ssize_t>width, j_end - j)
                    panel = packed_b + (npanel % GROUP_BF16 if one_block else npanel) * pitch
                    if ic == i0:
                        if p.trans_b:
                            bf16_pack_columns(kc, cols, b + j * p.ldb + kp, p.ldb, panel)
                        elif npanel % GROUP_BF16 == 0:
                            bf16_pack_rows(kc, min(group, j_end - j), b + kp * p.ldb + j, p.ldb, panel, pitch)
                        if amx and not p.trans_b:
                            amx_pad(panel, pairs, cols)
                    for nt in range(ceil_div(i_end - ic, mr)):
                        i = ic + nt * mr
                        rows = <int>min(mr, i_end - i)
                        if amx:
                            amx_tile(rows, cols, pairs, packed_a + nt * tile_words, rs, panel,
                                          c + i * p.n + j, p.n, bias + j, flags, &configured)
                            continue
                        bf16_tile(rows, cols, pairs, packed_a + nt * tile_words, rs, cs, panel,
                                       c + i * p.n + j, p.n, bias + j, flags)
            kp += kc
            if kp >= p.k:
                break
    if configured:
        amx_done()


cdef Grid _grid_bf16(const Product *p, int num_threads, bint amx) noexcept nogil:
    """How C is cut into rectangles: it never changes a bit."""
    cdef Py_ssize_t tiles = ceil_div(p.m, _tile_bf16(amx)), panels = ceil_div(p.n, 2 * BF16_VL)
    # Cycles for each k: two vectors for each row and pair; AMX: 16 for each of four times 32.
    cdef double tile = 2 if amx else BF16_MR
    cdef double per_panel = 6, per_tile = 8 if amx else 3 # packing, mostly the reading of memory
    if p.k * (tile * tiles * panels + per_panel * panels + per_tile * tiles) < SERIAL_CYCLES:
        num_threads = 1
    return grid_of(p.m, p.n, 2 * BF16_VL, num_threads)


cdef void _part_bf16(const Product *p, const float *a, const float *b, float *c, const float *bias, float *db_m,
                     Grid grid, int part, unsigned *scratch, bint amx) noexcept nogil:
    """One rectangle of C, and an even share of the column sums of B when db_m is given."""
    cdef int parts = grid.rows * grid.cols
    cdef Area own = area_of(grid, p.m, p.n, 2 * BF16_VL, part)
    if db_m != NULL:
        column_sums_float(b, p.k, p.n, part_start(p.n, parts, part), part_start(p.n, parts, part + 1), db_m)
    if p.m == 0 or p.n == 0:
        return
    rectangle_bf16(p, a, b, c, bias, own.i0, own.i1, own.j0, own.j1, scratch, amx)


cdef int gemm_bf16(const Product *p, const float *a, const float *b, float *c, const float *bias, float *db_m,
                   int num_threads, bint amx) noexcept nogil:
    """Run the product as gemm does; db_m, if given, gets full-precision sums. -1: out of memory."""
    cdef int part, parts
    cdef Grid grid
    cdef size_t words
    cdef unsigned *scratch
    if p.n == 0 or (p.m == 0 and db_m == NULL):
        return 0
    grid = _grid_bf16(p, num_threads, amx)
    parts = grid.rows * grid.cols
    words = scratch_bf16(p.k, ceil_div(p.m, grid.rows), ceil_div(ceil_div(p.n, 2 * BF16_VL), grid.cols) * 2 * BF16_VL,
                         amx)
    scratch = <unsigned *>dase_scratch_take(parts * words * sizeof(unsigned))
    if scratch == NULL:
        return -1
    if parts == 1:
        _part_bf16(p, a, b, c, bias, db_m, grid, 0, scratch, amx)
    else:
        for part in prange(parts, num_threads=parts, schedule="static", chunksize=1):
            _part_bf16(p, a, b, c, bias, db_m, grid, part, scratch + part * words, amx)
    dase_scratch_give(scratch)
    return 0
