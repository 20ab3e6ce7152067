# Matrix product of float32 matrices rounded to bfloat16, added up in float32. See README.md.
#
# Operands are rounded while they are packed; C, the bias and the sums of columns stay float32. As in
# product/product.pxd, the blocks of k follow from K alone and each element of C is one chain of additions: the
# place and size of a part change no bit, and neither does the number of threads.
#
# With `amx` the tiles are those of amx.h: 32 rows instead of 12, and a transposed A is packed as rows too.
#
# None of this may run before HAVE_BF16 and the CPU's AVX512_BF16 were asked for, and with `amx` before the
# operating system gave leave.
from cython.parallel cimport prange

from arithmetic cimport ceil_div, part_start
from bf16.rounding cimport (
    AMX_MR, BF16_MR, BF16_VL, amx_done, amx_pack_a_columns, amx_pad, amx_tile, bf16_pack_a, bf16_pack_a_columns,
    bf16_pack_columns, bf16_pack_rows, bf16_tile)
from product.grid cimport Area, Grid, area_of, grid_of
from product.plan cimport Product
from product.product cimport sum_columns
from product.tiles cimport TILE_ADD, TILE_BIAS, tile_args
from threads.threads cimport granted, scratch_give, scratch_take

cdef enum:
    KC = 512                # a panel streams from the second-level cache; fewer passes over C
    BLOCK_ROWS = 264        # 22 tiles of 12
    AMX_BLOCK_ROWS = 256    # 8 tiles of 32
    GROUP = 8               # panels of B packed at once
    PANELS = 32             # panels of B that are kept when they serve several blocks of rows
    SERIAL_CYCLES = 500000  # above 100 us: below it, waking threads costs more than it brings
    PAD = 16                # words (pairs) between rows, tiles and panels: they start in other sets of the cache
    WIDTH = 2 * 16          # columns of a panel, two vectors

cdef struct Plan:
    bint amx
    Py_ssize_t tile_rows, block_rows
    Py_ssize_t kc           # length of a block of k: even, and about KC
    Py_ssize_t panel_stride  # words from one packed panel of B to the next
    Grid grid               # parts of C handed to threads
    Py_ssize_t scratch_a, scratch  # words that a part needs: for its block of A, and in all


cdef inline Plan plan_of(const Product *p, int num_threads, bint amx) noexcept nogil:
    """Choose blocks of k and parts of C."""
    cdef Py_ssize_t blocks = max(<Py_ssize_t>1, ceil_div(p.k, KC)), panels = ceil_div(p.n, WIDTH), tiles, rows
    # Cycles for each k: two vectors for each row and pair; AMX: 16 for each of four times 32. Packing is mostly the
    # reading of memory.
    cdef double per_tile = 2 if amx else BF16_MR, per_panel = 6, per_packed_tile = 8 if amx else 3
    cdef Plan plan
    plan.amx = amx
    plan.tile_rows, plan.block_rows = (AMX_MR, AMX_BLOCK_ROWS) if amx else (BF16_MR, BLOCK_ROWS)
    plan.kc = max(<Py_ssize_t>32, ceil_div(ceil_div(p.k, blocks), 32) * 32)
    plan.panel_stride = WIDTH // 2 * plan.kc + PAD
    tiles = ceil_div(p.m, plan.tile_rows)
    if p.k * (per_tile * tiles * panels + per_panel * panels + per_packed_tile * tiles) < SERIAL_CYCLES:
        num_threads = 1
    plan.grid = grid_of(p.m, p.n, WIDTH, num_threads)
    rows = ceil_div(p.m, plan.grid.rows)
    panels = min(ceil_div(panels, plan.grid.cols), <Py_ssize_t>(PANELS if rows > plan.block_rows else GROUP))
    plan.scratch_a = min(plan.block_rows, ceil_div(rows, plan.tile_rows) * plan.tile_rows) * (plan.kc // 2 + PAD)
    plan.scratch = plan.scratch_a + panels * plan.panel_stride
    return plan


cdef inline void pack_a(const Product *p, const Plan *plan, const float *a, Py_ssize_t i, Py_ssize_t rows,
                        Py_ssize_t k, Py_ssize_t depth, unsigned *packed, Py_ssize_t stride) noexcept nogil:
    """A block of A: rows of pairs, or tiles of a transposed one, `stride` words apart."""
    if not p.trans_a:
        bf16_pack_a(rows, depth, a + i * p.lda + k, p.lda, packed, stride)
    elif plan.amx:
        amx_pack_a_columns(rows, depth, a + k * p.lda + i, p.lda, packed, stride)
    else:
        bf16_pack_a_columns(rows, depth, a + k * p.lda + i, p.lda, packed, stride)


cdef inline void pack_b(const Product *p, const Plan *plan, const float *b, Py_ssize_t j, int cols, Py_ssize_t group,
                        Py_ssize_t k, Py_ssize_t depth, unsigned *panel) noexcept nogil:
    """A panel of B. Of a B that is not transposed, `group` columns of several panels at once, or none if 0."""
    if p.trans_b:
        bf16_pack_columns(depth, cols, b + j * p.ldb + k, p.ldb, panel)
        return
    if group:
        bf16_pack_rows(depth, group, b + k * p.ldb + j, p.ldb, panel, plan.panel_stride)
    if plan.amx:
        amx_pad(panel, ceil_div(depth, 2), cols)


cdef inline void multiply_rows(const Product *p, const Plan *plan, const float *a, const float *b, float *c,
                               const float *bias, Area area, Py_ssize_t i, Py_ssize_t k, bint kept,
                               unsigned *scratch) noexcept nogil:
    """A block of rows from i on, for the columns of area and a block of k. All panels of B are kept, or a group."""
    cdef Py_ssize_t depth = min(plan.kc, p.k - k), pairs = ceil_div(depth, 2), rows = min(plan.block_rows, area.i1 - i)
    cdef Py_ssize_t panel, tile, j, row, rs, cs, a_stride, tile_words
    cdef int flags = (TILE_ADD if k else 0) | (p.flags if k + depth == p.k else 0), cols, height, configured = 0
    cdef unsigned *packed
    cdef tile_args args
    # Without AMX a transposed A lies tile by tile, a plain one row by row, as rows are read from memory.
    if p.trans_a and not plan.amx:
        rs, cs = 1, BF16_MR
        tile_words = a_stride = pairs * BF16_MR + PAD
    else:
        rs, cs = ceil_div(pairs, 16) * 16 + PAD, 1
        tile_words, a_stride = plan.tile_rows * rs, rs
    pack_a(p, plan, a, i, rows, k, depth, scratch, a_stride)
    args.rs, args.cs, args.flags = rs, cs, flags
    args.ldc, args.cvs = p.n, BF16_VL
    args.prefetch = NULL
    for panel in range(ceil_div(area.j1 - area.j0, WIDTH)):
        j = area.j0 + panel * WIDTH
        cols = <int>min(<Py_ssize_t>WIDTH, area.j1 - j)
        packed = scratch + plan.scratch_a + (panel if kept else panel % GROUP) * plan.panel_stride
        if i == area.i0:
            pack_b(p, plan, b, j, cols, 0 if panel % GROUP else min(<Py_ssize_t>(GROUP * WIDTH), area.j1 - j), k, depth,
                   packed)
        args.b = packed
        if flags & TILE_BIAS:
            args.bias = bias + j
        for tile in range(ceil_div(rows, plan.tile_rows)):
            row = i + tile * plan.tile_rows
            height = <int>min(plan.tile_rows, i + rows - row)
            args.a = scratch + tile * tile_words
            if plan.amx:
                amx_tile(&args, c + row * p.n + j, height, cols, pairs, &configured)
            else:
                bf16_tile(&args, c + row * p.n + j, height, cols, pairs)
    if configured:
        amx_done()


cdef inline void rectangle(const Product *p, const Plan *plan, const float *a, const float *b, float *c,
                           const float *bias, Area area, unsigned *scratch) noexcept nogil:
    """One part of C."""
    cdef bint kept = area.i1 - area.i0 > plan.block_rows
    cdef Py_ssize_t past = area.j1, i, k
    while area.j0 < past:
        area.j1 = min(past, area.j0 + PANELS * WIDTH)
        k = 0
        while True:
            for i in range(ceil_div(area.i1 - area.i0, plan.block_rows)):
                multiply_rows(p, plan, a, b, c, bias, area, area.i0 + i * plan.block_rows, k, kept, scratch)
            k += plan.kc
            if k >= p.k:
                break
        area.j0 = area.j1


cdef inline void part_of(const Product *p, const Plan *plan, const float *a, const float *b, float *c,
                         const float *bias, float *column_sums, int part, unsigned *scratch) noexcept nogil:
    """One rectangle of C, and an even share of the sums of B's columns where they are wanted."""
    cdef int parts = plan.grid.rows * plan.grid.cols
    if column_sums != NULL:
        sum_columns(b, p.k, p.n, part_start(p.n, parts, part), part_start(p.n, parts, part + 1), column_sums)
    if p.m != 0:
        rectangle(p, plan, a, b, c, bias, area_of(plan.grid, p.m, p.n, WIDTH, part), scratch + part * plan.scratch)


cdef inline int multiply(const Product *p, const float *a, const float *b, float *c, const float *bias,
                         float *column_sums, int num_threads, bint amx) noexcept nogil:
    """As multiply of product/product.pxd; column_sums are those of b as it came, not rounded. -1: out of memory."""
    cdef int part, parts, threads
    cdef Plan plan
    cdef unsigned *scratch
    if p.n == 0 or (p.m == 0 and column_sums == NULL):
        return 0
    plan = plan_of(p, num_threads, amx)
    parts = plan.grid.rows * plan.grid.cols
    scratch = <unsigned *>scratch_take(parts * plan.scratch * sizeof(unsigned))
    if scratch == NULL:
        return -1
    threads = granted(parts)
    for part in prange(parts, num_threads=threads, use_threads_if=threads > 1, schedule="static", chunksize=1):
        part_of(p, &plan, a, b, c, bias, column_sums, part, scratch)
    scratch_give(scratch)
    return 0
