# The products of a training step whose left factor is an activation: x w and dout w^T.
from arithmetic cimport ceil_div, part_start
from bf16.rounding cimport HAVE_BF16
from bf16.step cimport multiply_amx, multiply_bf16
from product.grid cimport Area, Grid, area_of
from product.tiles cimport (
    HAVE_LEFTOVER, MR, TILE_ADD, VECTOR_BYTES, leftover_product, pack_columns, pack_leftover, pack_rows,
    prefetch_list, prefetch_range, tile_args, tile_product)
from real cimport real
from step.layout cimport FAR_BYTES, KC, PANEL, STRIPS, column_unit, lanes_of
from step.operands cimport prefetch_next_images, prefetch_panel, step_product, tile_of

cdef enum:
    PLAIN_TILES = 20          # fewer tiles of rows read a panel of B where it lies: packing would not pay,
    PLAIN_BYTES = 262144      # unless its rows lie on more pages than the processor keeps addresses of


cdef inline Py_ssize_t leftover_columns(Py_ssize_t cols, Py_ssize_t lanes) noexcept nogil:
    """So many of the last columns would leave most of a vector empty: product/leftover.h computes them."""
    return cols % lanes if HAVE_LEFTOVER and cols % lanes <= lanes // 4 else 0


cdef inline void multiply(const step_product *p, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1,
                          Py_ssize_t k0, Py_ssize_t k1, real *pack) noexcept nogil:
    """Samples i0..i1 and columns j0..j1 of C, the inner dimension from k0 to k1."""
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), width = 2 * lanes, rows = i1 - i0
    cdef Py_ssize_t kc = ceil_div(ceil_div(k1 - k0, ceil_div(k1 - k0, KC)), PANEL) * PANEL
    cdef int tiles = <int> ceil_div(rows, MR), t, cols
    cdef Py_ssize_t leftover = leftover_columns(j1, lanes) if j1 == p.cols else 0, whole = j1 - leftover
    cdef Py_ssize_t panels = ceil_div(whole - j0, width) if whole > j0 else 1
    cdef Py_ssize_t all_tiles = ceil_div(k1 - k0, KC) * panels * tiles, tile = 0
    cdef Py_ssize_t column_stride = p.ldb if p.transposed else 1  # of B
    cdef const real *a = <const real *> p.a
    cdef const real *b = <const real *> p.b
    cdef const real *b_block
    cdef real *c
    cdef real *packed_leftover = pack + STRIPS * width * KC
    cdef real *packed
    # Panels of B side by side, where A's block would come from the third-level cache for each of them.
    cdef Py_ssize_t together = STRIPS if rows * kc * <Py_ssize_t> sizeof(real) > FAR_BYTES else 1
    cdef Py_ssize_t block, k, depth, panel, strip, past, j, i, end, r
    # A row of a panel is one line of memory where vectors have 32 bytes; measured there.
    cdef bint near = VECTOR_BYTES != 32 or kc * p.ldb * <Py_ssize_t> sizeof(real) <= PLAIN_BYTES
    cdef bint read_as_it_lies = near and not p.transposed and tiles <= PLAIN_TILES
    cdef bint first, last, plain
    cdef prefetch_list lines
    cdef tile_args args
    if rows <= 0 or j0 >= j1:
        return
    if p.rounded != NULL:
        if real is float and HAVE_BF16:
            if p.rounded.amx:
                multiply_amx(p, i0, i1, j0, j1, k0, k1, <unsigned *> pack)
            else:
                multiply_bf16(p, i0, i1, j0, j1, k0, k1, <unsigned *> pack)
        return
    args.rs = PANEL
    args.cs = 1
    args.chunk = PANEL
    args.jump = p.stride - PANEL
    args.bvs = lanes
    args.scale = p.scale
    args.prefetch = &lines
    for block in range(ceil_div(k1 - k0, KC)):
        k = k0 + block * kc
        depth = min(kc, k1 - k)
        b_block = b + (k if p.transposed else k * p.ldb)
        first, last = block == 0, k + depth == k1
        args.flags = (0 if first else TILE_ADD) | (p.flags if last else 0)
        if leftover:
            pack_leftover(depth, <int> leftover, b_block + whole * column_stride, 1 if p.transposed else p.ldb,
                          column_stride, packed_leftover)
        for strip in range(ceil_div(panels, together)):
            past = min(panels, (strip + 1) * together)
            for panel in range(strip * together, past):
                j = j0 + panel * width
                cols = <int> min(width, whole - j)
                packed = pack + (panel - strip * together) * width * KC
                plain = read_as_it_lies and cols == width
                if cols == 0:
                    pass  # nothing but the leftover ones
                elif p.transposed:
                    pack_columns(depth, cols, b_block + j * column_stride, p.ldb, packed)
                elif not plain:
                    pack_rows(depth, cols, b_block + j, p.ldb, packed)
            for t in range(tiles):
                i, end = i0 + part_start(rows, tiles, t), i0 + part_start(rows, tiles, t + 1)
                args.a = a + k // PANEL * p.stride + i * PANEL
                for panel in range(strip * together, past):
                    j = j0 + panel * width
                    cols = <int> min(width, whole - j)
                    plain = read_as_it_lies and cols == width
                    if plain:
                        args.b = b_block + j
                        args.ldb = p.ldb
                    else:
                        args.b = pack + (panel - strip * together) * width * KC
                        args.ldb = width if cols > lanes else lanes
                    c = tile_of(&args, p, i, j, <real *> p.c)
                    lines.count = 0
                    if not first:  # what is added to has left the cache since
                        for r in range(end - i):
                            prefetch_range(&lines, c + r * args.ldc, sizeof(real))
                            if cols > lanes:
                                prefetch_range(&lines, c + r * args.ldc + args.cvs, sizeof(real))
                    prefetch_next_images(&lines, p, i0, rows, all_tiles, tile)
                    tile += 1
                    if plain:
                        pass  # its rows come by themselves
                    elif j + together * width < whole:
                        prefetch_panel(&lines, p, b, j + together * width, j1, k, depth, tiles, t)
                    elif not last and panel == past - 1:
                        prefetch_panel(&lines, p, b, j0, j1, k + depth, min(kc, k1 - k - depth), tiles, t)
                    if cols > 0:
                        tile_product(&args, c, <int> (end - i), cols, depth)
                    if leftover == 0 or j + width < whole:
                        continue
                    # While the tile's rows of A are in the first-level cache.
                    args.b = packed_leftover
                    c = tile_of(&args, p, i, whole, <real *> p.c)
                    leftover_product(&args, c, <int> (end - i), <int> leftover, depth)


cdef inline void share(const step_product *p, Grid grid, Py_ssize_t n, Py_ssize_t k, int part,
                       real *pack) noexcept nogil:
    """A thread's rectangle of C."""
    cdef Area own = area_of(grid, n, p.cols, column_unit(sizeof(real)), part)
    multiply(p, own.i0, own.i1, own.j0, own.j1, 0, k, pack)
