# Matrix product C = A B with optional transposes, bias and ReLU: blocks, panels and parts. See README.md.
#
# Each element of C is a chain of additions inside a block of k, and the blocks are added in order. The
# blocks of k follow from K alone: who computes which part, and what is packed, changes no bit.
from libc.string cimport memcpy, memset

from arithmetic cimport ceil_div, part_start
from product.grid cimport Area, area_of
from product.plan cimport COLUMNS, PAD, ROW_TILES, Plan, Product, packed_columns, packed_stride, plan_product
from product.tiles cimport (
    MR, PREFETCH_NEAR, TILE_ADD, TILE_GAIN, VECTOR_BYTES, leftover_product, narrow_product, pack_columns, pack_leftover,
    pack_rows, prefetch_list, prefetch_rows, tile_args, tile_product)
from real cimport real
from threads.threads cimport scratch_give, scratch_take, share_out

cdef enum:
    PREFETCH_BYTES = 131072   # of B, from which memory is prefetched
    PREFETCH_STRIDE = 512     # bytes from row to row of a B that is read where it lies, likewise
    PREFETCH_CHUNK = 32       # steps along k between two turns of prefetching
    PACKED_ROWS = 8           # rows of B that are packed together, through all panels of a strip
    SUM_ROWS = 64             # rows of one partial sum of a column
    SUM_COLUMNS = 64

cdef struct Run:              # a product, its plan and its operands, as the parts see it
    Product product
    Plan plan
    size_t itemsize           # of a number: 4 or 8
    const void *a             # IN
    const void *b
    const void *packed        # all of B, packed by pack_whole, and then b is not read; or NULL
    const void *bias
    const void *gain          # read when the flags have TILE_GAIN
    void *c                   # OUT
    void *column_sums         # OUT, of B; or NULL
    void *scratch

cdef struct Rows:             # a block of rows of C, cut into tiles
    Py_ssize_t first, count, tiles
    Py_ssize_t low, higher    # rows of a tile; the first `higher` tiles have one more
    Py_ssize_t tile_stride    # elements from one packed tile of A to the next; 0: its rows follow each other
    bint packs_b              # the first block packs the panels of B, for the others too

cdef struct Panel:            # a panel of B
    Py_ssize_t j, k           # its first column, and the first k of its block
    Py_ssize_t depth          # along k
    int cols
    bint leftover

cdef struct Rectangle:        # a part of C under way
    Area area
    Py_ssize_t blocks         # of rows
    Py_ssize_t j0, j1         # the columns whose panels are kept now
    bint prefetch, prefetch_b  # C's tiles; B's panels
    bint second               # of the two places for panels that no other block of rows reads
    Py_ssize_t packed         # rows of the coming panel that are packed already
    tile_args args

cdef struct Next:             # the panel after the one that is multiplied
    Panel panel
    bint prefetch             # some of its rows at each tile
    bint pack                 # likewise, a tile later


cdef inline void sum_columns(const real *b, Py_ssize_t n, Py_ssize_t m, Py_ssize_t j0, Py_ssize_t j1,
                             real *sums) noexcept nogil:
    """sums[j] of the n rows, for j0 <= j < j1: in double, blocks of rows added in order."""
    cdef double total[SUM_COLUMNS]
    cdef double part[SUM_COLUMNS]
    cdef Py_ssize_t i, block
    cdef int j, cols
    while j0 < j1:
        cols = <int>min(<Py_ssize_t>SUM_COLUMNS, j1 - j0)
        memset(total, 0, sizeof(total))
        for block in range(ceil_div(n, SUM_ROWS)):
            memset(part, 0, sizeof(part))
            for i in range(block * SUM_ROWS, min(n, (block + 1) * SUM_ROWS)):
                for j in range(cols):
                    part[j] += b[i * m + j0 + j]
            for j in range(cols):
                total[j] += part[j]
        for j in range(cols):
            sums[j0 + j] = <real>total[j]
        j0 += SUM_COLUMNS


cdef inline void pack_a_rows(Py_ssize_t rows, Py_ssize_t kc, const real *a, Py_ssize_t lda,
                             real *packed) noexcept nogil:
    """packed[row][k] = a[row * lda + k]."""
    cdef Py_ssize_t i, stride = packed_stride(kc, sizeof(real))
    for i in range(rows):
        memcpy(packed + i * stride, a + i * lda, kc * sizeof(real))


cdef inline void pack_a_columns(Py_ssize_t rows, Py_ssize_t kc, const real *a, Py_ssize_t lda,
                                real *packed) noexcept nogil:
    """packed[tile][k][row of the tile] = a[k * lda + row], read along a's rows."""
    cdef Py_ssize_t tiles = ceil_div(rows, MR), stride = kc * MR + PAD, k, t, first
    for k in range(kc):
        for t in range(tiles):
            first = part_start(rows, tiles, t)
            if first + MR <= rows:
                memcpy(packed + t * stride + k * MR, a + k * lda + first, MR * sizeof(real))
            else:
                memcpy(packed + t * stride + k * MR, a + k * lda + first, (rows - first) * sizeof(real))


cdef inline Rows rows_of(const Run *run, const Rectangle *r, Py_ssize_t block, Py_ssize_t depth) noexcept nogil:
    """The block of rows, where A's block of k is `depth` long."""
    cdef Py_ssize_t all_rows = r.area.i1 - r.area.i0
    cdef Rows rows
    rows.first = r.area.i0 + part_start(all_rows, r.blocks, block)
    rows.count = r.area.i0 + part_start(all_rows, r.blocks, block + 1) - rows.first
    rows.tiles = ceil_div(rows.count, MR)
    # As part_start, whose divisions the next tile would wait for.
    rows.low, rows.higher = rows.count // rows.tiles, rows.count % rows.tiles
    rows.tile_stride = depth * MR + PAD if run.plan.pack_a and run.product.trans_a else 0
    rows.packs_b = block == 0
    return rows


cdef inline Panel panel_at(const Run *run, Py_ssize_t width, Py_ssize_t j, Py_ssize_t past,
                           Py_ssize_t k) noexcept nogil:
    """The panel of B at row k and column j, before column `past`."""
    cdef Py_ssize_t whole = run.product.n - run.plan.leftover  # the columns before the leftover ones
    cdef Panel panel
    panel.j, panel.k = j, k
    panel.depth = min(run.plan.kc, run.product.k - k)
    panel.leftover = j == whole
    panel.cols = <int>min(width, (whole if j < whole and past > whole else past) - j)
    return panel


cdef inline Py_ssize_t offset_of(const Product *p, Py_ssize_t k, Py_ssize_t j) noexcept nogil:
    """Where element (k, j) of B lies."""
    return j * p.ldb + k if p.trans_b else k * p.ldb + j


cdef inline Py_ssize_t place_of(const Run *run, const Rectangle *r, Py_ssize_t width, Py_ssize_t j) noexcept nogil:
    """Where the packed panel of column j lies behind the block of A."""
    return (j - r.j0 if r.blocks > 1 else width if r.second else 0) * run.plan.kc


cdef inline void pack_ahead(const real *b, Py_ssize_t ldb, real *panel, Py_ssize_t *packed,
                            Py_ssize_t until) noexcept nogil:
    """Pack rows of a whole panel, as far as `until`."""
    cdef Py_ssize_t width = 2 * (VECTOR_BYTES // <Py_ssize_t>sizeof(real)), k
    for k in range(packed[0], until):
        memcpy(panel + k * width, b + k * ldb, width * sizeof(real))
    packed[0] = max(packed[0], until)


cdef inline void pack_panel(const Product *p, const Panel *panel, const real *b, real *packed,
                            Py_ssize_t *done) noexcept nogil:
    """Pack a panel of B, but for the rows that are packed already."""
    cdef int width = 2 * (VECTOR_BYTES // <int>sizeof(real))
    if panel.leftover:
        pack_leftover(panel.depth, panel.cols, b, 1 if p.trans_b else p.ldb, p.ldb if p.trans_b else 1, packed)
    elif p.trans_b:
        pack_columns(panel.depth, panel.cols, b, p.ldb, packed)
    elif panel.cols < width:
        pack_rows(panel.depth, panel.cols, b, p.ldb, packed)
    else:
        pack_ahead(b, p.ldb, packed, done, panel.depth)


cdef inline void prefetch_panel(const Product *p, prefetch_list *lines, const Panel *panel, const real *b,
                                Py_ssize_t first, Py_ssize_t past) noexcept nogil:
    """The share first..past, in rows, of the panel of B that comes next. Its rows lie far apart, where the
    processor does not look ahead by itself."""
    if p.trans_b:
        prefetch_rows(lines, b, p.ldb * sizeof(real), panel.depth * sizeof(real),
                      first * panel.cols // panel.depth, past * panel.cols // panel.depth)
    else:
        prefetch_rows(lines, b, p.ldb * sizeof(real), panel.cols * sizeof(real), first, past)


cdef inline void multiply_panel(const Run *run, Rectangle *r, const Rows *rows, const Panel *panel,
                                const Next *after, const real *a, const real *next_b, real *next_packed,
                                prefetch_list *lines) noexcept nogil:
    """The tiles under one panel of B, while the next one is prefetched and packed."""
    cdef const Product *p = &run.product
    cdef real *c = <real *>run.c + rows.first * p.ldc
    cdef real *tile = c + panel.j
    cdef Py_ssize_t t, until, row = 0, share = ceil_div(after.panel.depth, rows.tiles)
    cdef int height
    for t in range(rows.tiles):
        height = <int>(rows.low + (t < rows.higher))
        if r.prefetch:
            lines.count = 0
            if t + 1 < rows.tiles:
                prefetch_rows(lines, tile + height * p.ldc, p.ldc * sizeof(real), panel.cols * sizeof(real),
                              0, rows.low + (t + 1 < rows.higher))
            else:
                prefetch_rows(lines, c + after.panel.j, p.ldc * sizeof(real), after.panel.cols * sizeof(real),
                              0, rows.low + (0 < rows.higher))
        if after.prefetch:
            until = min(row + share, after.panel.depth)
            if after.pack:  # what was prefetched a tile ago
                pack_ahead(next_b, p.ldb, next_packed, &r.packed, row)
            prefetch_panel(p, lines, &after.panel, next_b, row, until)
            row = until
        r.args.a = a
        if panel.leftover:
            leftover_product(&r.args, tile, height, panel.cols, panel.depth)
        else:
            tile_product(&r.args, tile, height, panel.cols, panel.depth)
        a += rows.tile_stride if rows.tile_stride else height * r.args.rs
        tile += height * p.ldc


cdef inline void multiply_rows(const Run *run, Rectangle *r, const Rows *rows, const real *a, Py_ssize_t k,
                               real *packed_b, prefetch_list *lines) noexcept nogil:
    """The panels of B over one block of rows."""
    cdef const Product *p = &run.product
    cdef const Plan *plan = &run.plan
    cdef const real *b = <const real *>run.b
    cdef const real *here
    cdef real *packed
    cdef Py_ssize_t lanes = VECTOR_BYTES // <Py_ssize_t>sizeof(real), width = 2 * lanes
    cdef Panel panel = panel_at(run, width, r.j0, r.j1, k)
    cdef Next after
    cdef bint last = False
    while not last:
        last = panel.j + panel.cols == r.j1
        if last:  # the first one of the next block of k
            after.panel = panel_at(run, width, r.j0, r.j1, k + panel.depth)
        else:
            after.panel = panel_at(run, width, panel.j + panel.cols, r.j1, k)
        after.prefetch = r.prefetch_b and rows.packs_b and after.panel.k < p.k
        # A whole panel whose place is free is packed while this one is multiplied, some rows at each tile: rows
        # may lie a page apart and then fall into few sets of the caches. A row that was prefetched a whole panel
        # earlier is gone again.
        after.pack = (after.prefetch and plan.pack_b and not p.trans_b and after.panel.cols == width
                      and (r.blocks == 1 or not last))
        here = b + offset_of(p, panel.k, panel.j)
        # The last columns are always packed: their vectors would reach past the end of B.
        if plan.pack_b or 2 * panel.cols % lanes != 0:
            packed = packed_b + place_of(run, r, width, panel.j)
            if rows.packs_b:
                pack_panel(p, &panel, here, packed, &r.packed)
            r.args.b = packed
            r.args.ldb = width if panel.cols > lanes else lanes
        else:
            r.args.b = here
            r.args.ldb = p.ldb
        if run.bias != NULL:
            r.args.bias = <const real *>run.bias + panel.j
        if p.flags & TILE_GAIN:
            r.args.gain = <const real *>run.gain + panel.j
        r.packed = 0
        if after.pack:
            r.second = not r.second
        multiply_panel(run, r, rows, &panel, &after, a, b + offset_of(p, after.panel.k, after.panel.j),
                       packed_b + place_of(run, r, width, after.panel.j), lines)
        panel = after.panel


cdef inline void pack_panels(Py_ssize_t kc, Py_ssize_t panels, const real *b, Py_ssize_t ldb, real *packed,
                             Py_ssize_t apart) noexcept nogil:
    """Whole panels side by side, each `apart` numbers behind the one before. A few rows of B at a time are read to
    their ends: so few pages are needed at a time, and the processor looks ahead."""
    cdef int width = 2 * (VECTOR_BYTES // <int>sizeof(real))
    cdef Py_ssize_t block, k, panel
    for block in range(ceil_div(kc, PACKED_ROWS)):
        k = block * PACKED_ROWS
        for panel in range(panels):
            pack_rows(min(<Py_ssize_t>PACKED_ROWS, kc - k), width, b + k * ldb + panel * width, ldb,
                      packed + panel * apart + k * width)


cdef inline void pack_strip(const Run *run, Py_ssize_t j0, Py_ssize_t j1, Py_ssize_t k, real *packed) noexcept nogil:
    """All panels of B from column j0 to j1."""
    cdef const Product *p = &run.product
    cdef const real *b = <const real *>run.b
    cdef Py_ssize_t width = 2 * (VECTOR_BYTES // <Py_ssize_t>sizeof(real)), whole = 0, done
    cdef Panel panel
    if not p.trans_b:
        whole = (min(j1, p.n - run.plan.leftover) - j0) // width
        pack_panels(min(run.plan.kc, p.k - k), whole, b + offset_of(p, k, j0), p.ldb, packed, width * run.plan.kc)
    panel.j = j0 + whole * width
    while panel.j < j1:
        panel = panel_at(run, width, panel.j, j1, k)
        done = 0
        pack_panel(p, &panel, b + offset_of(p, k, panel.j), packed + (panel.j - j0) * run.plan.kc, &done)
        panel.j += panel.cols


cdef inline Py_ssize_t pack_whole(const Run *run, real *packed) noexcept nogil:
    """All of B for products with any number of rows: block of k after block of k, panel after panel. Returns the
    elements that it takes; packed may be NULL."""
    cdef const Product *p = &run.product
    cdef Py_ssize_t columns = packed_columns(p, sizeof(real)), blocks = ceil_div(p.k, run.plan.kc), block, k
    if packed != NULL:
        for block in range(blocks):
            k = block * run.plan.kc
            pack_strip(run, 0, p.n, k, packed + k * columns)
    return blocks * run.plan.kc * columns


cdef inline void multiply_strip(const Run *run, Rectangle *r, const Rows *rows, const real *a, Py_ssize_t j0,
                                Py_ssize_t j1, Py_ssize_t k, const real *packed) noexcept nogil:
    """Each tile of rows over all panels of a strip: its part of A stays in the first-level cache."""
    cdef const Product *p = &run.product
    cdef real *c = <real *>run.c + rows.first * p.ldc
    cdef Py_ssize_t lanes = VECTOR_BYTES // <Py_ssize_t>sizeof(real), width = 2 * lanes, t
    cdef Panel panel
    cdef int height, i
    for t in range(rows.tiles):
        height = <int>(rows.low + (t < rows.higher))
        r.args.a = a
        panel.j = j0
        while panel.j < j1:
            panel = panel_at(run, width, panel.j, j1, k)
            r.args.b = packed + (panel.j - j0) * run.plan.kc
            r.args.ldb = width if panel.cols > lanes else lanes
            if run.bias != NULL:
                r.args.bias = <const real *>run.bias + panel.j
            if p.flags & TILE_GAIN:
                r.args.gain = <const real *>run.gain + panel.j
            for i in range(height):
                PREFETCH_NEAR(c + i * p.ldc + panel.j)
            if panel.leftover:
                leftover_product(&r.args, c + panel.j, height, panel.cols, panel.depth)
            else:
                tile_product(&r.args, c + panel.j, height, panel.cols, panel.depth)
            panel.j += panel.cols
        a += rows.tile_stride if rows.tile_stride else height * r.args.rs
        c += height * p.ldc


cdef inline void multiply_strips(const Run *run, Rectangle *r, const Rows *rows, const real *a, Py_ssize_t k,
                                 real *packed) noexcept nogil:
    """The strips of B over one block of rows. Where there are several blocks, there is one strip for all."""
    cdef Py_ssize_t j = r.j0, past
    cdef const real *whole
    while j < r.j1:
        past = min(r.j1, j + run.plan.strip)
        if run.packed != NULL:
            whole = <const real *>run.packed + k * packed_columns(&run.product, sizeof(real)) + j * run.plan.kc
            multiply_strip(run, r, rows, a, j, past, k, whole)
        else:
            if rows.packs_b:
                pack_strip(run, j, past, k, packed)
            multiply_strip(run, r, rows, a, j, past, k, packed)
        j = past


cdef inline void rectangle(const Run *run, Area area, real *scratch) noexcept nogil:
    """One part of C: column by column of blocks, k by k, rows by rows. area.j0 is a multiple of the panel width."""
    cdef const Product *p = &run.product
    cdef const Plan *plan = &run.plan
    cdef const real *a
    cdef Py_ssize_t lanes = VECTOR_BYTES // <Py_ssize_t>sizeof(real), k, depth, block
    cdef prefetch_list lines
    cdef Rectangle r
    cdef Rows rows
    r.area = area
    r.blocks = ceil_div(area.i1 - area.i0, ROW_TILES * MR)
    r.prefetch = not plan.strip and p.k * p.n * <Py_ssize_t>sizeof(real) >= PREFETCH_BYTES
    # Rows that are near each other and read where they lie are left to the processor, which looks ahead then.
    r.prefetch_b = r.prefetch and (plan.pack_b or p.ldb * <Py_ssize_t>sizeof(real) >= PREFETCH_STRIDE)
    r.second = False
    r.packed = 0
    r.args.jump = 0
    r.args.bvs = r.args.cvs = lanes
    r.args.ldc = p.ldc
    r.args.bias = r.args.gain = r.args.mask = NULL
    r.args.scale = 1
    r.args.prefetch = &lines if r.prefetch else NULL
    r.args.rs = 1 if p.trans_a else p.lda
    r.args.cs = 1 if not p.trans_a else MR if plan.pack_a else p.lda
    r.j1 = area.j0
    while r.j1 < area.j1:
        r.j0, r.j1 = r.j1, min(r.j1 + COLUMNS, area.j1)
        k = 0
        while True:
            depth = min(plan.kc, p.k - k)
            r.args.chunk = PREFETCH_CHUNK if r.prefetch else max(<Py_ssize_t>1, depth)
            r.args.flags = (TILE_ADD if k else 0) | (p.flags if k + depth == p.k else 0)
            for block in range(r.blocks):
                rows = rows_of(run, &r, block, depth)
                a = <const real *>run.a + (k * p.lda + rows.first if p.trans_a else rows.first * p.lda + k)
                if plan.pack_a:
                    if p.trans_a:
                        pack_a_columns(rows.count, depth, a, p.lda, scratch)
                    else:
                        pack_a_rows(rows.count, depth, a, p.lda, scratch)
                        r.args.rs = packed_stride(depth, sizeof(real))
                    a = scratch
                if plan.strip:
                    multiply_strips(run, &r, &rows, a, k, scratch + plan.scratch_a)
                else:
                    multiply_rows(run, &r, &rows, a, k, scratch + plan.scratch_a, &lines)
            k += depth
            if k >= p.k:
                break


cdef inline void narrow(const Run *run, Area area, real *panel) noexcept nogil:
    """The last columns of C where A is transposed and they would leave most of a vector empty: see narrow.h."""
    cdef const Product *p = &run.product
    cdef const real *a
    cdef Py_ssize_t lanes = VECTOR_BYTES // <Py_ssize_t>sizeof(real), width = 2 * lanes, i, k, row, depth, after
    cdef int rows
    cdef tile_args args
    args.rs = p.ldb if p.trans_b else 1
    args.cs = 1 if p.trans_b else p.ldb
    args.jump = 0
    args.bvs = args.cvs = lanes
    args.ldc = p.ldc
    args.bias = run.bias
    if run.bias != NULL:
        args.bias = <const real *>run.bias + area.j0
    args.gain = args.mask = NULL
    args.scale = 1
    args.prefetch = NULL
    i = area.i0
    while i < area.i1:
        rows = <int>min(width, area.i1 - i)
        after = min(width, area.i1 - i - width)
        k = 0
        while True:
            depth = min(run.plan.kc, p.k - k)
            a = <const real *>run.a + k * p.lda + i
            args.chunk = max(<Py_ssize_t>1, depth)
            args.flags = (TILE_ADD if k else 0) | (p.flags if k + depth == p.k else 0)
            args.a = <const real *>run.b + offset_of(p, k, area.j0)
            args.b, args.ldb = a, p.lda
            if 2 * rows % lanes != 0:
                pack_rows(depth, rows, a, p.lda, panel)
                args.b, args.ldb = panel, width if rows > lanes else lanes
            if after > 0 and p.lda > 4 * width:
                for row in range(depth):
                    PREFETCH_NEAR(a + row * p.lda + width)
                    PREFETCH_NEAR(a + row * p.lda + width + after - 1)
            narrow_product(&args, <real *>run.c + i * p.ldc + area.j0, rows, <int>(area.j1 - area.j0), depth)
            k += depth
            if k >= p.k:
                break
        i += width


cdef inline void part_of(const Run *run, int part, real *scratch) noexcept nogil:
    """One rectangle of C, and an even share of the sums of B's columns where they are wanted."""
    cdef const Product *p = &run.product
    cdef int parts = run.plan.grid.rows * run.plan.grid.cols
    cdef Area area = area_of(run.plan.grid, p.m, p.n, 2 * VECTOR_BYTES // <Py_ssize_t>sizeof(real), part)
    cdef Area last = area  # its narrow columns
    if run.column_sums != NULL:
        sum_columns(<const real *>run.b, p.k, p.n, part_start(p.n, parts, part), part_start(p.n, parts, part + 1),
                    <real *>run.column_sums)
    if area.i0 == area.i1 or area.j0 == area.j1:
        return
    scratch += part * run.plan.scratch
    area.j1 = last.j0 = area.j1 - (run.plan.narrow if area.j1 == p.n else 0)
    if area.j0 < area.j1:
        rectangle(run, area, scratch)
    if last.j0 < last.j1:
        narrow(run, last, scratch)


cdef inline void part_of_either(void *arg, int part) noexcept nogil:
    cdef const Run *run = <const Run *>arg
    if run.itemsize == sizeof(float):
        part_of(run, part, <float *>run.scratch)
    else:
        part_of(run, part, <double *>run.scratch)


cdef inline int multiply(const Product *p, const real *a, const real *b, real *c, const real *bias,
                         real *column_sums, int num_threads) noexcept nogil:
    """C = A B; bias is read when p.flags has TILE_BIAS, column_sums (of B) may be NULL. -1: out of memory."""
    cdef int parts
    cdef Run run
    if p.n == 0 or (p.m == 0 and column_sums == NULL):
        return 0
    run.product = p[0]
    run.itemsize = sizeof(real)
    run.a, run.b, run.bias, run.c, run.column_sums = a, b, bias, c, column_sums
    run.packed = NULL
    plan_product(p, &run.plan, sizeof(real), num_threads)
    parts = run.plan.grid.rows * run.plan.grid.cols
    run.scratch = scratch_take(parts * run.plan.scratch * sizeof(real))
    if run.scratch == NULL:
        return -1
    share_out(part_of_either, &run, parts, num_threads)
    scratch_give(run.scratch)
    return 0
