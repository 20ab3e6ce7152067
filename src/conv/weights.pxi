# The convolution, backward to the weights and biases: dot products of dout and pixels.
#
# Vectors run along the output places, so that no column matrix is needed and no image is
# transposed: a tile of sums keeps a vector for each pair of filter and tap, whose lanes are added
# at the end of a block of places. Blocks are groups of images, or bands of one image. They are
# shared out in chunks whose number depends on the shape alone; within a chunk they are added in
# order, and the chunks in order at the end.

cdef enum:
    DOT_VECTORS = 64        # places of a block: the part of dout for a tile stays in the first-level cache
    WEIGHT_BYTES = 384 << 10 # planes of a block: they stay in the second-level cache
    CHUNKS = 8              # partial sums of dw
    CHUNK_WEIGHTS = 1 << 20 # weights in all partial sums together


cdef struct Weights:
    Layout layout
    Py_ssize_t images, filters, taps
    Py_ssize_t group, groups        # images of a block, groups of images
    Py_ssize_t chunks, slices       # units of work: a chunk of the blocks for a slice of the filters
    Py_ssize_t vectors              # of the largest block
    Py_ssize_t out_places           # of an image
    Py_ssize_t image_planes         # elements of the planes of one image of a block
    Py_ssize_t dout_size, planes_size, lists_size    # scratch of a thread


cdef inline void _dots(int rows, Py_ssize_t nv, const real *dout, const real *x, const Py_ssize_t *start,
                       const Py_ssize_t *lanes, bint masked, const Py_ssize_t *tap, real *sums) noexcept nogil:
    if real is float:
        conv_dots_float(rows, nv, dout, x, start, lanes, masked, tap, sums)
    else:
        conv_dots_double(rows, nv, dout, x, start, lanes, masked, tap, sums)


cdef inline double _pack(Py_ssize_t images, Py_ssize_t image, Py_ssize_t nv, const real *dout, const Py_ssize_t *to,
                         const Py_ssize_t *lanes, Py_ssize_t step, real *packed) noexcept nogil:
    if real is float:
        return conv_pack_float(images, image, nv, dout, to, lanes, step, packed)
    else:
        return conv_pack_double(images, image, nv, dout, to, lanes, step, packed)


cdef void _block(Weights *p, Py_ssize_t block, Py_ssize_t f0, Py_ssize_t f1, bint first, const real *x,
                 const real *dout, const Py_ssize_t *tap, Py_ssize_t *lists, real *packed, real *planes,
                 real *dw, double *db) noexcept nogil:
    """Add a block's part to dw and db of the filters f0..f1, or put it there when it is the first."""
    cdef Layout *l = &p.layout
    cdef int lanes = _lanes(dw), rows
    cdef Py_ssize_t n0 = part_start(p.images, p.groups, block // l.bands)
    cdef Py_ssize_t images = part_start(p.images, p.groups, block // l.bands + 1) - n0
    cdef Py_ssize_t y0 = _band(l, block % l.bands), y1 = _band(l, block % l.bands + 1)
    cdef Py_ssize_t vectors = _vectors(l, y1 - y0, l.out_cols, lanes), all_vectors = images * vectors
    cdef Py_ssize_t tiles = ceil_div(f1 - f0, CONV_DOT_ROWS), filter_taps = l.channels * p.taps
    cdef Py_ssize_t n, v, t, f, i, j, k, kc, b, c0, c1, tap_tiles
    cdef Py_ssize_t *start = lists
    cdef Py_ssize_t *count = lists + p.vectors
    cdef Py_ssize_t *to = lists + 2 * p.vectors
    cdef bint masked = False
    cdef real[32] sums      # CONV_SUMS
    cdef real *tile
    cdef real *to_dw
    cdef const real *ahead
    cdef const real *end
    for v in range(vectors):
        _vector(l, v, y1 - y0, l.out_cols, lanes, l.out_cols, start + v, to + v, count + v)
        masked = masked or count[v] < lanes
    for n in range(1, images):
        for v in range(vectors):
            start[n * vectors + v] = start[v] + n * p.image_planes
            count[n * vectors + v] = count[v]
    for b in range(l.blocks):
        c0, c1 = part_start(l.channels, l.blocks, b), part_start(l.channels, l.blocks, b + 1)
        kc = (c1 - c0) * p.taps
        for n in range(images):
            _lay_out(l, x + ((n0 + n) * l.channels + c0) * l.height * l.width, c1 - c0, y0, y1 - y0 + l.reach,
                     planes + n * p.image_planes)
        for t in range(tiles):
            f = f0 + part_start(f1 - f0, tiles, t)
            rows = <int>(f0 + part_start(f1 - f0, tiles, t + 1) - f)
            tile = packed + (f - f0) * all_vectors * lanes
            if b == 0:
                for i in range(rows):
                    db[f + i] = (0 if first else db[f + i]) + _pack(
                        images, p.filters * p.out_places, vectors,
                        dout + (n0 * p.filters + f + i) * p.out_places + y0 * l.out_cols, to, count, rows * lanes,
                        tile + i * lanes)
            # With whole images, what the next tile packs lies behind this one's part of dout.
            ahead = end = dout + (n0 * p.filters + f + rows) * p.out_places
            if l.blocks == 1 and l.bands == 1 and images == 1:
                end = dout + min(p.images * p.filters, n0 * p.filters + f + 2 * rows) * p.out_places
            tap_tiles = ceil_div(kc, CONV_DOT_COLS)
            for v in range(tap_tiles):
                k = v * CONV_DOT_COLS
                conv_prefetch(ahead + part_start(end - ahead, tap_tiles, v), ahead + part_start(end - ahead, tap_tiles, v + 1))
                _dots(rows, all_vectors, tile, planes, start, count, masked, tap + k, sums)
                for i in range(rows):
                    to_dw = dw + (f + i) * filter_taps + c0 * p.taps + k
                    for j in range(min(<Py_ssize_t>CONV_DOT_COLS, kc - k)):
                        to_dw[j] = (0 if first else to_dw[j]) + sums[i * CONV_DOT_COLS + j]


cdef void _chunk(Weights *p, Py_ssize_t unit, const real *x, const real *dout, const Py_ssize_t *tap,
                 Py_ssize_t *lists, real *packed, real *planes, real *parts, double *db_parts) noexcept nogil:
    """All blocks of one chunk for one slice of the filters."""
    cdef Py_ssize_t chunk = unit // p.slices, piece = unit % p.slices, blocks = p.groups * p.layout.bands
    cdef Py_ssize_t first = part_start(blocks, p.chunks, chunk), block
    cdef Py_ssize_t f0 = part_start(p.filters, p.slices, piece), f1 = part_start(p.filters, p.slices, piece + 1)
    for block in range(first, part_start(blocks, p.chunks, chunk + 1)):
        _block(p, block, f0, f1, block == first, x, dout, tap, lists, packed, planes,
               parts + chunk * p.filters * p.layout.channels * p.taps, db_parts + chunk * p.filters)


cdef int conv_backward_dw_kernel(
    const Shape *s,
    const real *x_nchw,     # IN
    const real *dout_nfhw,  # IN
    real *dw_fchw,          # OUT
    real *db_f,             # OUT
    int num_threads,
    char *given,            # INOUT: scratch of the caller's, or NULL
    Py_ssize_t *needed,     # OUT: only say how many bytes that is; or NULL
) noexcept nogil:
    """-1: out of memory."""
    cdef int lanes = _lanes(dw_fchw), threads
    cdef Weights p
    cdef Layout *l = &p.layout
    cdef Py_ssize_t taps = s.fh * s.fw, size = s.f * s.c * taps, per_image, unit, k, q, block_taps
    cdef Py_ssize_t bytes[7]
    cdef char *start[7]
    cdef char *scratch
    cdef Py_ssize_t *tap
    cdef real *parts
    cdef double *db_parts
    cdef double total
    p.layout = _forward_layout(s.c, s.h, s.w, s.fh, s.fw, s.oh, s.ow, s.stride, s.pad, lanes)
    p.images, p.filters, p.taps, p.out_places = s.n, s.f, taps, s.oh * s.ow
    # A block has about DOT_VECTORS vectors: bands of an image, or several small images.
    per_image = _vectors(l, s.oh, s.ow, lanes)
    _set_sizes(l, taps, sizeof(real), WEIGHT_BYTES, max(<Py_ssize_t>1, min(s.oh, per_image // DOT_VECTORS)))
    p.image_planes = _planes_size(l, lanes)
    p.group = 1
    if l.bands == 1:
        p.group = min(DOT_VECTORS // max(<Py_ssize_t>1, per_image),
                      WEIGHT_BYTES // <Py_ssize_t>(p.image_planes * sizeof(real)))
        p.group = max(<Py_ssize_t>1, p.group)
    p.groups = ceil_div(s.n, p.group)
    p.vectors = p.group * _vectors(l, l.band, s.ow, lanes)
    p.chunks = min(<Py_ssize_t>CHUNKS, p.groups * l.bands, max(<Py_ssize_t>1, CHUNK_WEIGHTS // max(<Py_ssize_t>1, size)))
    threads = _threads(<double>size * s.n * s.oh * s.ow, p.chunks * s.f, lanes, num_threads)
    # Few chunks: the filters are shared out too.
    p.slices = min(ceil_div(s.f, CONV_DOT_ROWS), ceil_div(threads, p.chunks))
    p.slices = max(<Py_ssize_t>1, p.slices)
    p.lists_size = 3 * p.vectors
    p.dout_size = _whole(ceil_div(s.f, p.slices) * p.vectors * lanes)
    p.planes_size = p.group * p.image_planes
    block_taps = _block_channels(l) * taps

    bytes[0] = (block_taps + CONV_DOT_COLS) * sizeof(Py_ssize_t)
    bytes[1] = taps * sizeof(Py_ssize_t)
    bytes[2] = threads * p.lists_size * sizeof(Py_ssize_t)
    bytes[3] = threads * p.dout_size * sizeof(real)
    bytes[4] = threads * p.planes_size * sizeof(real)
    bytes[5] = p.chunks * size * sizeof(real)
    bytes[6] = p.chunks * s.f * sizeof(double)
    q = 0
    for k in range(7):
        q += ceil_div(bytes[k], 64) * 64
    if needed != NULL:
        needed[0] = q
        return 0
    scratch = given if given != NULL else <char *>dase_scratch_take(q)
    if scratch == NULL:
        return -1
    q = 0
    for k in range(7):
        start[k] = scratch + q
        q += ceil_div(bytes[k], 64) * 64
    tap, parts, db_parts = <Py_ssize_t *>start[0], <real *>start[5], <double *>start[6]
    _forward_taps(l, s.fh, s.fw, <Py_ssize_t *>start[1])
    _taps_of_block(l, <Py_ssize_t *>start[1], taps, tap)
    for k in range(CONV_DOT_COLS):
        tap[block_taps + k] = 0     # a last tile that is not full computes sums that nobody reads

    if threads == 1:
        for unit in range(p.chunks * p.slices):
            _chunk(&p, unit, x_nchw, dout_nfhw, tap, <Py_ssize_t *>start[2], <real *>start[3], <real *>start[4],
                   parts, db_parts)
    else:
        for unit in prange(p.chunks * p.slices, num_threads=threads, schedule="dynamic", chunksize=1):
            _chunk(&p, unit, x_nchw, dout_nfhw, tap, <Py_ssize_t *>start[2] + threadid() * p.lists_size,
                   <real *>start[3] + threadid() * p.dout_size, <real *>start[4] + threadid() * p.planes_size,
                   parts, db_parts)
    for k in range(size):
        dw_fchw[k] = parts[k]
        for q in range(1, p.chunks):
            dw_fchw[k] += parts[q * size + k]
    for k in range(s.f):
        total = 0
        for q in range(p.chunks):
            total += db_parts[q * s.f + k]
        db_f[k] = <real>total
    if given == NULL:
        dase_scratch_give(scratch)
    return 0
