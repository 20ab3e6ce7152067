# Matrix product C = A B with optional transposes, bias and ReLU.
#
# A is cut into blocks of rows, B into panels of two vectors, k into blocks of about KC. Each
# element of C is a chain of additions inside a block of k, and the blocks are added in order.
# The blocks of k follow from K alone, so the result does not depend on who computes which part:
# threads get rectangles of C, and any number of them gives the same bits.

from libc.string cimport memcpy

cdef extern from "microkernel.h" nogil:
    enum:
        DASE_MR
        DASE_VL_FLOAT
        DASE_VL_DOUBLE
        DASE_BYTES
        DASE_ADD
        DASE_BIAS
        DASE_RELU
    void dase_tile_float(int rows, int cols, Py_ssize_t kc, const float *a, Py_ssize_t rs, Py_ssize_t cs,
                         const float *b, Py_ssize_t ldb, float *c, Py_ssize_t ldc,
                         const float *bias, int flags) noexcept
    void dase_tile_double(int rows, int cols, Py_ssize_t kc, const double *a, Py_ssize_t rs, Py_ssize_t cs,
                          const double *b, Py_ssize_t ldb, double *c, Py_ssize_t ldc,
                          const double *bias, int flags) noexcept
    void dase_pack_rows_float(Py_ssize_t kc, int cols, const float *b, Py_ssize_t ldb,
                         float *panel) noexcept
    void dase_pack_rows_double(Py_ssize_t kc, int cols, const double *b, Py_ssize_t ldb,
                         double *panel) noexcept
    void dase_pack_columns_float(Py_ssize_t kc, int cols, const float *b, Py_ssize_t ldb,
                         float *panel) noexcept
    void dase_pack_columns_double(Py_ssize_t kc, int cols, const double *b, Py_ssize_t ldb,
                         double *panel) noexcept

cdef extern from "gemm_scratch.h" nogil:
    void *dase_scratch_take(size_t size) noexcept
    void dase_scratch_give(void *scratch) noexcept

ctypedef fused real:
    float
    double

cdef enum:
    KC = 256            # a panel of KC x two vectors stays in the first-level cache
    ROW_TILES = 22      # tiles of a block of rows: the block of A stays in the second-level cache
    COL_PANELS = 32     # panels packed at once when they serve several blocks of rows
    TILE_PAD = 16       # keeps the packed tiles, written side by side, out of one set of the cache
    DB_ROWS = 64        # rows of one partial sum of db
    DB_COLS = 64
    SERIAL_CYCLES = 500000   # above 100 us: below it, waking threads costs more than it brings


# What is multiplied: A(m x k) B(k x n), each as it lies in memory (row-major) or transposed.
cdef struct Product:
    Py_ssize_t m, n, k
    bint trans_a, trans_b
    Py_ssize_t lda, ldb       # elements from one stored row to the next
    bint pack_a, pack_b
    int flags                 # DASE_BIAS, DASE_RELU
    Py_ssize_t kc             # length of a block of k
    int grid_rows, grid_cols  # rectangles of C handed to threads
    size_t scratch_a, scratch # elements a thread needs: blocks of A, in all


cdef inline Py_ssize_t _up(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline int _lanes(real *unused) noexcept nogil:
    if real is float:
        return DASE_VL_FLOAT
    else:
        return DASE_VL_DOUBLE


cdef inline void _tile(int rows, int cols, Py_ssize_t kc, const real *a, Py_ssize_t rs, Py_ssize_t cs,
                       const real *b, Py_ssize_t ldb, real *c, Py_ssize_t ldc,
                       const real *bias, int flags) noexcept nogil:
    if real is float:
        dase_tile_float(rows, cols, kc, a, rs, cs, b, ldb, c, ldc, bias, flags)
    else:
        dase_tile_double(rows, cols, kc, a, rs, cs, b, ldb, c, ldc, bias, flags)


cdef inline void _pack_panel(Product *p, Py_ssize_t kc, int cols, const real *b, real *panel) noexcept nogil:
    if real is float:
        if p.trans_b:
            dase_pack_columns_float(kc, cols, b, p.ldb, panel)
        else:
            dase_pack_rows_float(kc, cols, b, p.ldb, panel)
    else:
        if p.trans_b:
            dase_pack_columns_double(kc, cols, b, p.ldb, panel)
        else:
            dase_pack_rows_double(kc, cols, b, p.ldb, panel)


cdef void _pack_transposed_rows(Py_ssize_t rows, Py_ssize_t kc, const real *a, Py_ssize_t lda,
                                real *packed) noexcept nogil:
    """packed[tile][k][row of the tile] from the transpose a[k * lda + row], read along its rows."""
    cdef Py_ssize_t k, tile, whole = rows // DASE_MR, rest = rows % DASE_MR, pitch = kc * DASE_MR + TILE_PAD
    for k in range(kc):
        for tile in range(whole):
            memcpy(packed + tile * pitch + k * DASE_MR, a + k * lda + tile * DASE_MR, DASE_MR * sizeof(real))
        if rest:
            memcpy(packed + whole * pitch + k * DASE_MR, a + k * lda + whole * DASE_MR, rest * sizeof(real))


cdef void _rectangle(Product *p, const real *a, const real *b, real *c, const real *bias,
                     Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1,
                     real *scratch) noexcept nogil:
    """Rows i0..i1, columns j0..j1 of C. j0 is a multiple of the panel width."""
    cdef int lanes = _lanes(c), width = 2 * lanes, cols, rows, flags
    cdef Py_ssize_t block_rows = ROW_TILES * DASE_MR, block_cols = COL_PANELS * width
    cdef Py_ssize_t nj, nic, npanel, nt        # counters of the loops over blocks
    cdef Py_ssize_t jc, j, ic, i, i_end, j_end, kp, kc, rs, cs, ldb
    cdef bint one_block = i1 - i0 <= block_rows, pack
    cdef real *packed_a = scratch
    cdef real *packed_b = scratch + p.scratch_a
    cdef real *panel
    cdef const real *at_a
    cdef const real *at_b
    for nj in range(_up(j1 - j0, block_cols)):
        jc = j0 + nj * block_cols
        j_end = min(jc + block_cols, j1)
        kp = 0
        while True:
            kc = min(p.kc, p.k - kp)
            flags = (DASE_ADD if kp else 0) | (p.flags if kp + kc == p.k else 0)
            for nic in range(_up(i1 - i0, block_rows)):
                ic = i0 + nic * block_rows
                i_end = min(ic + block_rows, i1)
                if p.pack_a:
                    _pack_transposed_rows(i_end - ic, kc, a + kp * p.lda + ic, p.lda, packed_a)
                for npanel in range(_up(j_end - jc, width)):
                    j = jc + npanel * width
                    cols = <int>min(<Py_ssize_t>width, j_end - j)
                    # The last columns are always packed: their vectors would reach past the end of B.
                    pack = p.pack_b or (cols != width and cols != lanes)
                    at_b = b + (j * p.ldb + kp if p.trans_b else kp * p.ldb + j)
                    ldb = p.ldb
                    if pack:
                        panel = packed_b + (0 if one_block else (j - jc) * p.kc)
                        if ic == i0:
                            _pack_panel(p, kc, cols, at_b, panel)
                        at_b = panel
                        ldb = width if cols > lanes else lanes
                    for nt in range(_up(i_end - ic, DASE_MR)):
                        i = ic + nt * DASE_MR
                        rows = <int>min(<Py_ssize_t>DASE_MR, i_end - i)
                        if p.pack_a:
                            at_a = packed_a + nt * (kc * DASE_MR + TILE_PAD)
                            rs, cs = 1, DASE_MR
                        elif p.trans_a:
                            at_a = a + kp * p.lda + i
                            rs, cs = 1, p.lda
                        else:
                            at_a = a + i * p.lda + kp
                            rs, cs = p.lda, 1
                        _tile(rows, cols, kc, at_a, rs, cs, at_b, ldb, c + i * p.n + j, p.n, bias + j, flags)
            kp += kc
            if kp >= p.k:
                break


cdef void _plan(Product *p, int lanes, int num_threads) noexcept nogil:
    """Choose packing, blocks of k and the grid of rectangles. All but the grid follow from the shape."""
    cdef int width = 2 * lanes, rows, cols
    cdef Py_ssize_t tiles = _up(p.m, DASE_MR), panels = _up(p.n, width), part_tiles, part_panels, blocks
    cdef double tile_cycles = DASE_MR if p.n > lanes else 0.5 * DASE_MR
    cdef double cost, best = 0, per_panel, per_tile     # cycles for each k
    if DASE_BYTES == 16:
        tile_cycles *= 2            # no fused multiply-add
    # A transposed A pays off packed when it is read again, or when its rows lie pages apart.
    p.pack_a = p.trans_a and (panels > 1 or p.k * p.lda * lanes > 1 << 16)
    # B is packed when enough tiles read it; a transposed B always.
    p.pack_b = p.trans_b or tiles > 2
    blocks = max(<Py_ssize_t>1, _up(p.k, KC))
    p.kc = max(<Py_ssize_t>1, _up(_up(p.k, blocks), 16) * 16)
    p.grid_rows = p.grid_cols = 1
    per_panel = (8 if p.trans_b else 4) if p.pack_b else 0
    per_tile = 4 if p.pack_a else 0
    if num_threads > 1 and p.k * (tile_cycles * tiles * panels + per_panel * panels
                                  + per_tile * tiles) >= SERIAL_CYCLES:
        # Every rectangle packs for itself: few rows of rectangles mean B is packed few times.
        for rows in range(1, num_threads + 1):
            cols = num_threads // rows
            part_tiles, part_panels = _up(tiles, rows), _up(panels, cols)
            cost = tile_cycles * part_tiles * part_panels + per_panel * part_panels + per_tile * part_tiles
            if rows == 1 or cost < best:
                best = cost
                p.grid_rows, p.grid_cols = rows, cols
        p.grid_rows = <int>min(<Py_ssize_t>p.grid_rows, tiles)
        p.grid_cols = <int>min(<Py_ssize_t>p.grid_cols, panels)
    part_tiles = min(<Py_ssize_t>ROW_TILES, _up(tiles, p.grid_rows))
    p.scratch_a = part_tiles * (DASE_MR * p.kc + TILE_PAD) if p.pack_a else 0
    p.scratch_a = _up(p.scratch_a, 64) * 64     # what follows stays aligned
    if _up(tiles, p.grid_rows) <= ROW_TILES:
        part_panels = 1
    else:
        part_panels = min(<Py_ssize_t>COL_PANELS, _up(panels, p.grid_cols))
    p.scratch = p.scratch_a + _up(part_panels * width * p.kc, 64) * 64


cdef void _column_sums(const real *dout_nm, Py_ssize_t n_rows, Py_ssize_t m, Py_ssize_t j0, Py_ssize_t j1,
                       real *db_m) noexcept nogil:
    """db[j] for j0 <= j < j1: sums of DB_ROWS rows, added in order; float32 is summed in double."""
    cdef double[DB_COLS] part
    cdef double[DB_COLS] total
    cdef Py_ssize_t nat, nb, at, i0, i, j, cols
    cdef const real *row
    for nat in range(_up(j1 - j0, DB_COLS)):
        at = j0 + nat * DB_COLS
        cols = min(<Py_ssize_t>DB_COLS, j1 - at)
        for j in range(cols):
            total[j] = 0
        for nb in range(_up(n_rows, DB_ROWS)):
            i0 = nb * DB_ROWS
            for j in range(cols):
                part[j] = 0
            for i in range(i0, min(i0 + DB_ROWS, n_rows)):
                row = dout_nm + i * m + at
                for j in range(cols):
                    part[j] += row[j]
            for j in range(cols):
                total[j] += part[j]
        for j in range(cols):
            db_m[at + j] = <real>total[j]


cdef inline Py_ssize_t _cut(Py_ssize_t count, int parts, int part) noexcept nogil:
    """Where part begins when count things are shared out evenly."""
    return count // parts * part + min(<Py_ssize_t>part, count % parts)


cdef void _part(Product *p, const real *a, const real *b, real *c, const real *bias, real *db_m,
                int part, real *scratch) noexcept nogil:
    """One rectangle of C, and an even share of the column sums of B when db_m is given."""
    cdef int parts = p.grid_rows * p.grid_cols, row = part // p.grid_cols, col = part % p.grid_cols
    cdef Py_ssize_t width = 2 * _lanes(c), tiles = _up(p.m, DASE_MR), panels = _up(p.n, width)
    if db_m != NULL:
        _column_sums(b, p.k, p.n, _cut(p.n, parts, part), _cut(p.n, parts, part + 1), db_m)
    if p.m == 0 or p.n == 0:
        return
    _rectangle(p, a, b, c, bias,
               _cut(tiles, p.grid_rows, row) * DASE_MR, min(p.m, _cut(tiles, p.grid_rows, row + 1) * DASE_MR),
               _cut(panels, p.grid_cols, col) * width, min(p.n, _cut(panels, p.grid_cols, col + 1) * width),
               scratch)


cdef int gemm(Product *p, const real *a, const real *b, real *c, const real *bias, real *db_m,
              int num_threads) noexcept nogil:
    """Run the product; bias is read when p.flags has DASE_BIAS, db_m may be NULL. -1: out of memory."""
    cdef int part, parts
    cdef real *scratch
    if p.n == 0 or (p.m == 0 and db_m == NULL):
        return 0
    _plan(p, _lanes(c), num_threads)
    parts = p.grid_rows * p.grid_cols
    scratch = <real *>dase_scratch_take(parts * p.scratch * sizeof(real))
    if scratch == NULL:
        return -1
    if parts == 1:
        _part(p, a, b, c, bias, db_m, 0, scratch)
    else:
        for part in prange(parts, num_threads=parts, schedule="static", chunksize=1):
            _part(p, a, b, c, bias, db_m, part, scratch + part * p.scratch)
    dase_scratch_give(scratch)
    return 0
