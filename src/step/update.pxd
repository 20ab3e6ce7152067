# The gradient of every parameter and, at once, its update.
from arithmetic cimport ceil_div, part_start
from norms cimport NO_NORM
from product.tiles cimport MR, TILE_ADD, TILE_MASK, tile_args, tile_product
from real cimport real
from step.layout cimport (
    FAR_BYTES, KC, PANEL, STRIPS, column_unit, lanes_of, panel_stride, step_layer, step_state)
from step.operands cimport product_of, step_product
from step.panels cimport features_in, panel_sums
from step.products cimport multiply
from step.rules cimport rule_update, set_update, update_by, update_tile, update_vector

cdef extern from "step/updating.h" nogil:
    enum:
        HAVE_VECTORS
        UPDATING_ROWS    # of a tile that may be pending, and one less
        UPDATING_LEAST
    ctypedef struct pending_tile:
        int count        # vectors; 0: no tile is pending
        Py_ssize_t at
        double *squares
    # A tile of the gradient, and the update by the pending one; its sums take that one's place.
    void multiply_and_update(const tile_args *args, const void *c, Py_ssize_t rows, Py_ssize_t kc, const rule_update *u,
                             Py_ssize_t ld, Py_ssize_t next, pending_tile *p, void *sums) noexcept


cdef enum:
    LEFTOVER_MOST = 4         # leftover columns: a quarter of the longest vector


# The rows of a layer's weights are cut into rows of tiles, which are shared out: CUTS of them for each panel of x.

cdef inline Py_ssize_t cuts() noexcept nogil:
    return ceil_div(PANEL, MR)


cdef inline Py_ssize_t tile_rows(const step_layer *layer) noexcept nogil:
    return ceil_div(layer.fan_in, PANEL) * cuts()


cdef inline Py_ssize_t first_row(Py_ssize_t tile_row) noexcept nogil:
    return tile_row // cuts() * PANEL + part_start(PANEL, cuts(), tile_row % cuts())


cdef inline bint leftover_gradient(const real *x, const real *dout, Py_ssize_t cols, Py_ssize_t n, Py_ssize_t kc,
                                   real *turned) noexcept nogil:
    """The leftover columns of a panel's gradient, which would leave most of a vector empty: computed as dout^T x,
    whose rows are whole. turned: OUT, a vector for each row of the panel. False where there are too many."""
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), k = 0, i, j
    cdef real sums[LEFTOVER_MOST * PANEL]
    cdef tile_args args
    if not HAVE_VECTORS or PANEL > 2 * lanes or cols > lanes // 4:
        return False
    args.rs, args.cs, args.chunk, args.jump = 1, PANEL, kc, 0
    args.ldb, args.bvs, args.ldc, args.cvs = PANEL, lanes, PANEL, lanes
    args.bias = args.gain = args.mask = NULL
    args.scale, args.flags, args.prefetch = 1, 0, NULL
    while k < n:
        args.a, args.b = dout + k * PANEL, x + k * PANEL
        tile_product(&args, &sums[0], <int> cols, PANEL, min(kc, n - k))
        args.flags = TILE_ADD
        k += kc
    for i in range(PANEL):
        for j in range(cols):
            turned[i * lanes + j] = sums[j * PANEL + i]
    return True


cdef inline void update_weights(step_state *s, int l, Py_ssize_t t0, Py_ssize_t t1, real *scratch) noexcept nogil:
    """x^T dout, tile by tile straight into the update: the rows of tiles t0..t1."""
    cdef step_layer *layer = &s.layer[l]
    cdef const real *x = <const real *> (s.layer[l - 1].h if l else s.x)
    cdef const real *dout = <const real *> layer.dout
    cdef const real *a
    cdef const real *b
    cdef Py_ssize_t n = s.source.n, stride = panel_stride(n), m = layer.fan_out, d = layer.fan_in
    cdef Py_ssize_t lanes = lanes_of(sizeof(real)), width = 2 * lanes
    cdef Py_ssize_t blocks = ceil_div(n, KC), kc = ceil_div(ceil_div(n, blocks), PANEL) * PANEL
    cdef Py_ssize_t last = (blocks - 1) * kc  # where the last block of samples begins
    cdef double *squares = layer.squares
    cdef double *squares_of_rest = squares + tile_rows(layer)  # of the tiles that are never pending: others' order
    cdef real *part_sums = scratch
    cdef real *pending_sums = part_sums + MR * width
    cdef real *turned = pending_sums + MR * width
    # Panels of x side by side, where dout would come from the third-level cache for each of them.
    cdef Py_ssize_t together = STRIPS if n * m * <Py_ssize_t> sizeof(real) > FAR_BYTES else 1
    cdef Py_ssize_t start, past, panel, p0, p1, strip, j, cols, t, row, end, rows, at, following, block
    cdef rule_update u
    cdef pending_tile pending
    cdef tile_args args
    set_update(&u, &layer.weights, s.rule, x)
    args.rs = 1
    args.cs = PANEL
    args.chunk = kc
    args.jump = 0
    args.ldb = PANEL
    args.bvs = lanes if lanes < PANEL else stride
    args.ldc = width
    args.cvs = lanes
    args.bias = args.gain = args.mask = NULL
    args.scale = 1
    args.prefetch = NULL
    pending.count, pending.at, pending.squares = 0, 0, squares
    for t in range(t0, t1):
        squares[t] = squares_of_rest[t] = 0
    start = t0
    while start < t1:
        past = min((start // cuts() + together) * cuts(), t1)
        for strip in range(ceil_div(m, width)):
            j = strip * width
            cols = min(width, m - j)
            b = dout + j // PANEL * stride + j % PANEL
            for panel in range(start // cuts(), ceil_div(past, cuts())):
                p0, p1 = max(start, panel * cuts()), min(past, (panel + 1) * cuts())
                if leftover_gradient(x + panel * stride, b, cols, n, kc, turned):
                    for t in range(p0, p1):
                        row, end = first_row(t), min(d, first_row(t + 1))
                        squares_of_rest[t] += update_by(&u, turned + row % PANEL * lanes, 1, <int> (end - row),
                                                        <int> cols, row * m + j, m)
                    continue
                for t in range(p0, p1):
                    row, end = first_row(t), first_row(t + 1)
                    rows, at = min(d, end) - row, row * m + j
                    if rows <= 0:
                        continue
                    a = x + panel * stride + row % PANEL
                    for block in range(blocks - 1):
                        args.a = a + block * kc * PANEL
                        args.b = b + block * kc * PANEL
                        args.flags = TILE_ADD if block else 0
                        tile_product(&args, part_sums, <int> rows, <int> cols, kc)
                    args.a = a + last * PANEL
                    args.b = b + last * PANEL
                    args.flags = TILE_ADD if last else 0
                    if HAVE_VECTORS and cols == width and UPDATING_LEAST <= rows <= UPDATING_ROWS:
                        if t + 1 < past:
                            following = end * m + j
                        elif j + 2 * width <= m:
                            following = first_row(start) * m + j + width
                        else:
                            following = first_row(past) * m
                        multiply_and_update(&args, part_sums, rows, n - last, &u, m, following, &pending, pending_sums)
                        pending.at, pending.squares = at, &squares[t]
                    else:
                        squares_of_rest[t] += update_tile(&args, part_sums, <int> rows, <int> cols, n - last, &u, at, m)
        start = past
    if pending.count:
        pending.squares[0] += update_by(&u, pending_sums, 2, pending.count // 2, <int> width, pending.at, m)


cdef inline void update_first_weights(step_state *s, Py_ssize_t t0, Py_ssize_t t1, real *pack,
                                      real *scratch) noexcept nogil:
    """The gradient of the images, which came out of ReLU, a few features at a time, and at once the update of
    the weights that it was computed from: these are still in the cache."""
    cdef step_layer *layer = &s.layer[0]
    cdef Py_ssize_t d = layer.fan_in, n = s.source.n, start = t0, past
    cdef step_product p = product_of(
        layer.dout, panel_stride(n), layer.weights.w, layer.fan_out, True, s.dx, False, d, NULL)
    p.mask, p.flags = s.source.images, TILE_MASK
    while start < t1:
        past = min(t1, (start // cuts() + column_unit(sizeof(real)) // PANEL) * cuts())
        multiply(&p, 0, n, min(d, first_row(start)), min(d, first_row(past)), 0, layer.fan_out, pack)
        update_weights(s, 0, start, past, scratch)
        start = past


cdef inline void update_vectors(step_state *s, int l, int part, int parts, const real *like) noexcept nogil:
    """The vectors of a layer: few numbers, a panel at a time. like: of the type of the step."""
    cdef step_layer *layer = &s.layer[l]
    cdef Py_ssize_t n = s.source.n, m = layer.fan_out, panels = ceil_div(m, PANEL), p, j
    cdef const real *dout = <const real *> layer.dout
    cdef real *dbias = <real *> layer.dbias
    cdef real *dgamma = <real *> layer.dgamma
    cdef real *dbeta = <real *> layer.dbeta
    cdef bint normed = l + 1 < s.layers and s.norm != NO_NORM
    cdef rule_update bias, gamma, beta
    set_update(&bias, &layer.bias, s.rule, dout)
    set_update(&gamma, &layer.gamma, s.rule, dout)
    set_update(&beta, &layer.beta, s.rule, dout)
    # Backwards, because the larger shares of the tiles go to the first threads.
    for p in range(part_start(panels, parts, parts - 1 - part), part_start(panels, parts, parts - part)):
        j = p * PANEL
        panel_sums(n, dout + p * panel_stride(n), dbias + j)
        update_vector(&bias, dbias + j, j, features_in(m, p))
        if normed:
            update_vector(&gamma, dgamma + j, j, features_in(m, p))
            update_vector(&beta, dbeta + j, j, features_in(m, p))
