# The products of a training step from factors rounded to bfloat16, and the updates by them. See README.md.
from arithmetic cimport ceil_div, part_start
from bf16.rounding cimport (
    AMX_COLS, AMX_MR, AMX_PANEL_STRIDE, BF16_CUTS, BF16_KC, BF16_MR, BF16_VL, BF16_WIDTH, amx_done, amx_pad, amx_sums,
    amx_tile, bf16_pack_columns, bf16_pack_rows, bf16_tile, bf16_update_tile, rounded_panels, transpose_pairs,
    transposed_stride)
from product.tiles cimport TILE_ADD, prefetch_list, prefetch_range, tile_args
from step.layout cimport step_layer, step_state
from step.operands cimport prefetch_next_images, prefetch_panel, step_product, tile_of
from step.rules cimport STORE, rule_param, rule_update, rules, set_update, update_by


cdef inline const rounded_panels *rounded_input(const step_state *s, int l) noexcept nogil:
    """The input of layer l; NULL in full precision."""
    if not s.bf16:
        return NULL
    if l:
        return &s.layer[l - 1].h_bf16
    return &s.x_bf16


cdef inline void multiply_bf16(const step_product *p, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1,
                               Py_ssize_t k0, Py_ssize_t k1, unsigned *pack) noexcept nogil:
    """`multiply` of step/products.pxd from rounded factors."""
    cdef Py_ssize_t rows = i1 - i0, blocks = ceil_div(k1 - k0, BF16_KC)
    cdef Py_ssize_t kc = ceil_div(ceil_div(k1 - k0, blocks), 32) * 32
    cdef int tiles = <int> ceil_div(rows, BF16_MR), cols, t
    cdef Py_ssize_t all_tiles = blocks * ceil_div(j1 - j0, BF16_WIDTH) * tiles, tile = 0
    cdef Py_ssize_t k = k0, depth, strip, j, i, end
    cdef const rounded_panels *a = p.rounded
    cdef const float *b = <const float *> p.b
    cdef float *c
    cdef prefetch_list lines
    cdef tile_args args
    args.scale = p.scale
    args.prefetch = &lines
    args.rs, args.cs = a.row_stride, 1
    args.b = pack
    while k < k1:
        depth = min(kc, k1 - k)
        args.flags = (0 if k == k0 else TILE_ADD) | (p.flags if k + depth == k1 else 0)
        for strip in range(ceil_div(j1 - j0, BF16_WIDTH)):
            j = j0 + strip * BF16_WIDTH
            cols = <int> min(<Py_ssize_t> BF16_WIDTH, j1 - j)
            if p.transposed:
                bf16_pack_columns(depth, cols, b + j * p.ldb + k, p.ldb, pack)
            else:
                bf16_pack_rows(depth, cols, b + k * p.ldb + j, p.ldb, pack, 0)
            for t in range(tiles):
                i, end = i0 + part_start(rows, tiles, t), i0 + part_start(rows, tiles, t + 1)
                c = tile_of(&args, p, i, j, <float *> p.c)
                lines.count = 0
                prefetch_next_images(&lines, p, i0, rows, all_tiles, tile)
                tile += 1
                if j + BF16_WIDTH < j1:
                    prefetch_panel(&lines, p, b, j + BF16_WIDTH, j1, k, depth, tiles, t)
                elif k + depth < k1:
                    prefetch_panel(&lines, p, b, j0, j1, k + depth, min(kc, k1 - k - depth), tiles, t)
                args.a = a.along + i * a.row_stride + k // 2
                bf16_tile(&args, c, <int> (end - i), cols, ceil_div(depth, 2))
        k += kc


cdef inline Py_ssize_t bf16_first_row(Py_ssize_t d, Py_ssize_t tile_row) noexcept nogil:
    """Of a row of tiles of x^T dout, whose d rows are cut by pairs of panels."""
    cdef Py_ssize_t start = tile_row // BF16_CUTS * BF16_WIDTH, rows = min(<Py_ssize_t> BF16_WIDTH, d - start)
    return d if rows <= 0 else start + part_start(rows, BF16_CUTS, tile_row % BF16_CUTS)


cdef inline void prefetch_tile_row(prefetch_list *lines, const rule_param *param, int rule, Py_ssize_t d, Py_ssize_t m,
                                   Py_ssize_t tile_row, Py_ssize_t j) noexcept nogil:
    """The part of the parameter and its state that a row of tiles updates in the columns from j."""
    cdef Py_ssize_t bytes = min(<Py_ssize_t> BF16_WIDTH, m - j) * <Py_ssize_t> sizeof(float), row, at
    if rule == STORE:
        return
    for row in range(bf16_first_row(d, tile_row), bf16_first_row(d, tile_row + 1)):
        at = row * m + j
        prefetch_range(lines, <const float *> param.w + at, bytes)
        if rules[rule].states > 0:
            prefetch_range(lines, <const float *> param.first + at, bytes)
        if rules[rule].states > 1:
            prefetch_range(lines, <const float *> param.second + at, bytes)


cdef inline void update_weights_bf16(step_state *s, int l, int part, int parts) noexcept nogil:
    """x^T dout, tile by tile straight into the update. Threads share the rows of tiles."""
    cdef step_layer *layer = &s.layer[l]
    cdef const rounded_panels *x = rounded_input(s, l)
    cdef const rounded_panels *dout = &layer.dout_bf16
    cdef Py_ssize_t pairs = ceil_div(s.source.n, 2), m = layer.fan_out, d = layer.fan_in
    cdef Py_ssize_t count = ceil_div(d, BF16_WIDTH) * BF16_CUTS
    cdef Py_ssize_t t0 = part_start(count, parts, part), t1 = part_start(count, parts, part + 1)
    cdef Py_ssize_t start = t0, past, pair, strip, j, t, row, rows
    cdef int cols
    cdef rule_update u
    cdef prefetch_list lines
    cdef tile_args args
    set_update(&u, &layer.weights, s.rule, <const float *> layer.weights.w)
    args.rs = 1
    args.prefetch = &lines
    for t in range(t0, t1):
        layer.squares[t] = 0
    while start < t1:
        pair = start // BF16_CUTS
        past = min(t1, (pair + 1) * BF16_CUTS)
        for strip in range(ceil_div(m, BF16_WIDTH)):
            j = strip * BF16_WIDTH
            cols = <int> min(<Py_ssize_t> BF16_WIDTH, m - j)
            for t in range(start, past):
                row = bf16_first_row(d, t)
                rows = bf16_first_row(d, t + 1) - row
                if rows == 0:
                    continue
                lines.count = 0
                if t + 1 < past:
                    prefetch_tile_row(&lines, &layer.weights, s.rule, d, m, t + 1, j)
                elif j + BF16_WIDTH < m:
                    prefetch_tile_row(&lines, &layer.weights, s.rule, d, m, start, j + BF16_WIDTH)
                elif past < t1:
                    prefetch_tile_row(&lines, &layer.weights, s.rule, d, m, past, 0)
                args.a = x.across + pair * x.pair_stride + row % BF16_WIDTH
                args.cs = BF16_WIDTH if d - pair * BF16_WIDTH > BF16_VL else BF16_VL
                args.b = dout.across + j // BF16_WIDTH * dout.pair_stride
                layer.squares[t] += bf16_update_tile(&args, <int> rows, cols, pairs, &u, row * m + j, m)
        start = past


cdef inline void multiply_amx(const step_product *p, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1,
                              Py_ssize_t k0, Py_ssize_t k1, unsigned *pack) noexcept nogil:
    """`multiply` of step/products.pxd from rounded factors, by AMX."""
    cdef Py_ssize_t rows = i1 - i0, blocks = ceil_div(k1 - k0, BF16_KC)
    cdef Py_ssize_t kc = ceil_div(ceil_div(k1 - k0, blocks), 32) * 32
    cdef int tiles = <int> ceil_div(rows, AMX_MR), cols, t, configured = 0
    cdef Py_ssize_t all_tiles = blocks * ceil_div(j1 - j0, BF16_WIDTH) * tiles, tile = 0
    cdef Py_ssize_t k = k0, depth, start, past, strip, j, i, end
    cdef const rounded_panels *a = p.rounded
    cdef const float *b = <const float *> p.b
    cdef float *c
    cdef unsigned *panel
    cdef prefetch_list lines
    cdef tile_args args
    args.scale = p.scale
    args.prefetch = &lines
    args.rs = a.row_stride
    while k < k1:
        depth = min(kc, k1 - k)
        args.flags = (0 if k == k0 else TILE_ADD) | (p.flags if k + depth == k1 else 0)
        start = j0
        while start < j1:
            past = min(j1, start + AMX_COLS)
            if not p.transposed:
                bf16_pack_rows(depth, past - start, b + k * p.ldb + start, p.ldb, pack, AMX_PANEL_STRIDE)
            for strip in range(ceil_div(past - start, BF16_WIDTH)):
                j = start + strip * BF16_WIDTH
                cols = <int> min(<Py_ssize_t> BF16_WIDTH, past - j)
                panel = pack
                if p.transposed:
                    bf16_pack_columns(depth, cols, b + j * p.ldb + k, p.ldb, panel)
                else:
                    panel += strip * AMX_PANEL_STRIDE
                    amx_pad(panel, ceil_div(depth, 2), cols)
                for t in range(tiles):
                    i, end = i0 + part_start(rows, tiles, t), i0 + part_start(rows, tiles, t + 1)
                    c = tile_of(&args, p, i, j, <float *> p.c)
                    lines.count = 0
                    prefetch_next_images(&lines, p, i0, rows, all_tiles, tile)
                    tile += 1
                    args.a, args.b = a.along + i * a.row_stride + k // 2, panel
                    amx_tile(&args, c, <int> (end - i), cols, ceil_div(depth, 2), &configured)
            start = past
        k += kc
    if configured:
        amx_done()


cdef inline void update_weights_amx(step_state *s, int l, int part, int parts, unsigned *pack) noexcept nogil:
    """x^T dout, some rows at a time, and the update. Threads share the rows."""
    cdef step_layer *layer = &s.layer[l]
    cdef const rounded_panels *x = rounded_input(s, l)
    cdef const rounded_panels *dout = &layer.dout_bf16
    cdef Py_ssize_t n = s.source.n, m = layer.fan_out, d = layer.fan_in, count = ceil_div(d, BF16_WIDTH) * BF16_CUTS
    cdef Py_ssize_t t0 = part_start(count, parts, part), t1 = part_start(count, parts, part + 1)
    cdef Py_ssize_t start = t0, past, pair, row, rows, j0, j, strip, cols, vectors, ld, t, i
    cdef float *gradient = <float *> (pack + AMX_MR * transposed_stride(n))
    cdef int configured = 0
    cdef rule_update u
    set_update(&u, &layer.weights, s.rule, gradient)
    for t in range(t0, t1):
        layer.squares[t] = 0
    while start < t1:
        pair = start // BF16_CUTS
        past = min(t1, (pair + 1) * BF16_CUTS)
        row = bf16_first_row(d, start)
        rows = bf16_first_row(d, past) - row
        if rows > 0:
            transpose_pairs(x.across + pair * x.pair_stride + row % BF16_WIDTH,
                            BF16_WIDTH if d - pair * BF16_WIDTH > BF16_VL else BF16_VL, n, rows, pack,
                            transposed_stride(n))
            j0 = 0
            while j0 < m:
                cols = min(<Py_ssize_t> AMX_COLS, m - j0)
                vectors = ceil_div(cols, BF16_VL)
                ld = vectors * BF16_VL
                for strip in range(ceil_div(cols, BF16_WIDTH)):
                    j = strip * BF16_WIDTH
                    amx_sums(<int> rows, 2 if cols - j > BF16_VL else 1, ceil_div(n, 2), pack, transposed_stride(n),
                             dout.across + (j0 + j) // BF16_WIDTH * dout.pair_stride, gradient + j, ld, NULL,
                             &configured)
                for t in range(start, past):
                    for i in range(bf16_first_row(d, t), bf16_first_row(d, t + 1)):
                        layer.squares[t] += update_by(&u, gradient + (i - row) * ld, <int> vectors, 1, <int> cols,
                                                      i * m + j0, m)
                j0 += AMX_COLS
        start = past
    if configured:
        amx_done()
