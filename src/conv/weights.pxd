# The convolution, backward to the weights and biases: dot products of dout and pixels.
#
# Vectors run along the outputs, so that no column matrix is needed and no image is transposed: a tile of sums
# keeps a vector for each pair of filter and tap, whose lanes are added at the end of a block. Blocks are groups
# of images, or bands of one image. They are shared out in chunks whose number depends on the shape alone;
# within a chunk they are added in order, and the chunks in order at the end.

from cython.parallel cimport prange, threadid

from arithmetic cimport ceil_div, part_start
from conv.layout cimport (
    VECTOR_BYTES, Layout, Shape, Vector, band_start, block_channels, block_start, forward_layout, forward_taps,
    lay_out, planes_size, products_of, set_sizes, taps_of_block, threads_for_products, vector_of, vectors_of,
    whole_lines)
from real cimport real
from threads.threads cimport scratch_give, scratch_take

cdef extern from "conv/microkernel.h" nogil:
    enum:
        HAVE_VECTORS
        DOT_ROWS
        DOT_COLS
    # One filter's part of dout: `nv` vectors from each of `images`, `step` apart in packed. Returns their sum.
    double pack_vectors(const void *dout, Py_ssize_t images, Py_ssize_t image, Py_ssize_t nv, const Py_ssize_t *to,
                        const Py_ssize_t *lanes, Py_ssize_t step, void *packed) noexcept
    # sums[i][j] = sum over vectors v and lanes of dout[v][i] * x[at[v] + tap[j]].
    void dot_tile(const void *dout, int rows, Py_ssize_t nv, const void *x, const Py_ssize_t *at,
                  const Py_ssize_t *lanes, bint masked, const Py_ssize_t *tap, void *sums) noexcept

cdef extern from "product/prefetch.h" nogil:
    void PREFETCH_NEAR(const void *line) noexcept

cdef enum:
    BLOCK_VECTORS = 64        # of outputs in a block: the part of dout for a tile stays in the first-level cache
    BLOCK_BYTES = 384 << 10   # planes of a block: they stay in the second-level cache
    CHUNKS = 8                # partial sums of dw
    CHUNK_WEIGHTS = 1 << 20   # weights in all partial sums together
    LANES_MOST = 16           # of a vector
    DOT_SUMS = 32             # room for the sums of a tile, as in microkernel.h


cdef struct WeightsPlan:
    Layout layout
    Py_ssize_t images, filters, taps
    Py_ssize_t group, groups        # images of a block, groups of images
    Py_ssize_t chunks, slices       # a part of the work is a chunk of the blocks for a slice of the filters
    Py_ssize_t vectors              # of the largest block
    Py_ssize_t out_plane            # outputs of a filter for an image
    Py_ssize_t image_planes         # elements of the planes of one image of a block
    Py_ssize_t dout_size, planes_size, lists_size    # scratch of a thread


cdef struct WeightsScratch:         # of a call, cut up
    Py_ssize_t *tap                 # the taps of one channel
    Py_ssize_t *taps                # the taps of a block of channels
    Py_ssize_t *lists               # where the vectors of a block read and write, and their lanes; of each thread
    void *dout                      # packed, of each thread
    void *planes                    # of each thread
    void *dw                        # the partial sums of each chunk
    double *db


cdef inline Py_ssize_t cut_weights_scratch(const WeightsPlan *p, size_t itemsize, int threads,
                                           WeightsScratch *scratch, char *memory) noexcept nogil:
    """Bytes of scratch; with `memory` given, scratch is filled in."""
    cdef Py_ssize_t[7] bytes
    cdef char *starts[7]
    cdef Py_ssize_t at = 0, k
    bytes[0] = p.taps * sizeof(Py_ssize_t)
    bytes[1] = (block_channels(&p.layout) * p.taps + DOT_COLS) * sizeof(Py_ssize_t)
    bytes[2] = threads * p.lists_size * sizeof(Py_ssize_t)
    bytes[3] = threads * p.dout_size * itemsize
    bytes[4] = threads * p.planes_size * itemsize
    bytes[5] = p.chunks * p.filters * p.layout.channels * p.taps * itemsize
    bytes[6] = p.chunks * p.filters * sizeof(double)
    for k in range(7):
        starts[k] = memory + at
        at += ceil_div(bytes[k], 64) * 64
    if memory != NULL:
        scratch.tap, scratch.taps = <Py_ssize_t *>starts[0], <Py_ssize_t *>starts[1]
        scratch.lists = <Py_ssize_t *>starts[2]
        scratch.dout, scratch.planes, scratch.dw, scratch.db = starts[3], starts[4], starts[5], <double *>starts[6]
    return at


# What the C does where it has vectors.

cdef inline double plain_pack_vectors(const real *dout, Py_ssize_t images, Py_ssize_t image, Py_ssize_t nv,
                                      const Py_ssize_t *to, const Py_ssize_t *count, Py_ssize_t step,
                                      real *packed) noexcept nogil:
    cdef double total = 0
    cdef Py_ssize_t n, v, lane
    for n in range(images):
        for v in range(nv):
            for lane in range(VECTOR_BYTES // <Py_ssize_t>sizeof(real)):
                packed[lane] = dout[n * image + to[v] + lane] if lane < count[v] else 0
                total += packed[lane]
            packed += step
    return total


cdef inline void plain_dot_tile(const real *dout, int rows, Py_ssize_t nv, const real *x, const Py_ssize_t *at,
                                const Py_ssize_t *count, const Py_ssize_t *tap, real *sums) noexcept nogil:
    cdef int lanes = VECTOR_BYTES // <int>sizeof(real), i, j
    cdef real[LANES_MOST] sum_of
    cdef Py_ssize_t v, lane
    cdef real total
    for i in range(rows):
        for j in range(DOT_COLS):
            total = 0
            for lane in range(lanes):
                sum_of[lane] = 0
            for v in range(nv):
                for lane in range(count[v]):
                    sum_of[lane] += dout[(v * rows + i) * lanes + lane] * x[at[v] + tap[j] + lane]
            for lane in range(lanes):
                total += sum_of[lane]
            sums[i * DOT_COLS + j] = total


cdef inline void add_block(const WeightsPlan *p, Py_ssize_t block, Py_ssize_t f0, Py_ssize_t f1, bint first,
                           const real *x, const real *dout, const Py_ssize_t *taps, Py_ssize_t *lists, real *packed,
                           real *planes, real *dw, double *db) noexcept nogil:
    """Add a block's part to dw and db of the filters f0..f1, or put it there when it is the first."""
    cdef const Layout *layout = &p.layout
    cdef int lanes = VECTOR_BYTES // <int>sizeof(real), rows
    cdef Py_ssize_t n0 = part_start(p.images, p.groups, block // layout.bands)
    cdef Py_ssize_t images = part_start(p.images, p.groups, block // layout.bands + 1) - n0
    cdef Py_ssize_t y0 = band_start(layout, block % layout.bands), y1 = band_start(layout, block % layout.bands + 1)
    cdef Py_ssize_t vectors = vectors_of(layout, y1 - y0, layout.out_cols, lanes), all_vectors = images * vectors
    cdef Py_ssize_t tiles = ceil_div(f1 - f0, DOT_ROWS), filter_taps = layout.channels * p.taps
    cdef Py_ssize_t n, v, t, f, i, j, k, kc, b, c0, c1, tap_tiles
    cdef Py_ssize_t *at = lists
    cdef Py_ssize_t *count = lists + p.vectors
    cdef Py_ssize_t *to = lists + 2 * p.vectors
    cdef Vector vector
    cdef bint masked = False
    cdef real[DOT_SUMS] sums
    cdef real *tile
    cdef real *to_dw
    cdef const real *filter_dout
    cdef const real *ahead
    cdef const real *end
    cdef const real *line
    cdef double total
    for v in range(vectors):
        vector = vector_of(layout, v, y1 - y0, layout.out_cols, lanes, layout.out_cols)
        at[v], to[v], count[v] = vector.at, vector.to, vector.count
        masked = masked or count[v] < lanes
    for n in range(1, images):
        for v in range(vectors):
            at[n * vectors + v] = at[v] + n * p.image_planes
            count[n * vectors + v] = count[v]
    for b in range(layout.blocks):
        c0, c1 = block_start(layout, b), block_start(layout, b + 1)
        kc = (c1 - c0) * p.taps
        for n in range(images):
            lay_out(layout, x + ((n0 + n) * layout.channels + c0) * layout.height * layout.width, c1 - c0, y0,
                    y1 - y0 + layout.reach, planes + n * p.image_planes)
        for t in range(tiles):
            f = f0 + part_start(f1 - f0, tiles, t)
            rows = <int>(f0 + part_start(f1 - f0, tiles, t + 1) - f)
            tile = packed + (f - f0) * all_vectors * lanes
            if b == 0:
                for i in range(rows):
                    filter_dout = dout + (n0 * p.filters + f + i) * p.out_plane + y0 * layout.out_cols
                    if HAVE_VECTORS:
                        total = pack_vectors(filter_dout, images, p.filters * p.out_plane, vectors, to, count,
                                             rows * lanes, tile + i * lanes)
                    else:
                        total = plain_pack_vectors(filter_dout, images, p.filters * p.out_plane, vectors, to, count,
                                                   rows * lanes, tile + i * lanes)
                    db[f + i] = (0 if first else db[f + i]) + total
            # With whole images, what the next tile packs lies behind this one's part of dout.
            ahead = end = dout + (n0 * p.filters + f + rows) * p.out_plane
            if layout.blocks == 1 and layout.bands == 1 and images == 1:
                end = dout + min(p.images * p.filters, n0 * p.filters + f + 2 * rows) * p.out_plane
            tap_tiles = ceil_div(kc, DOT_COLS)
            for v in range(tap_tiles):
                k = v * DOT_COLS
                line = ahead + part_start(end - ahead, tap_tiles, v)
                while line < ahead + part_start(end - ahead, tap_tiles, v + 1):
                    PREFETCH_NEAR(line)
                    line += 64 // sizeof(real)
                if HAVE_VECTORS:
                    dot_tile(tile, rows, all_vectors, planes, at, count, masked, taps + k, sums)
                else:
                    plain_dot_tile(tile, rows, all_vectors, planes, at, count, taps + k, sums)
                for i in range(rows):
                    to_dw = dw + (f + i) * filter_taps + c0 * p.taps + k
                    for j in range(min(<Py_ssize_t>DOT_COLS, kc - k)):
                        to_dw[j] = (0 if first else to_dw[j]) + sums[i * DOT_COLS + j]


cdef inline void add_chunk(const WeightsPlan *p, const WeightsScratch *scratch, Py_ssize_t part, int thread,
                           const real *x, const real *dout) noexcept nogil:
    """All blocks of one chunk for one slice of the filters."""
    cdef Py_ssize_t chunk = part // p.slices, blocks = p.groups * p.layout.bands, block
    cdef Py_ssize_t first = part_start(blocks, p.chunks, chunk)
    cdef Py_ssize_t f0 = part_start(p.filters, p.slices, part % p.slices)
    cdef Py_ssize_t f1 = part_start(p.filters, p.slices, part % p.slices + 1)
    for block in range(first, part_start(blocks, p.chunks, chunk + 1)):
        add_block(p, block, f0, f1, block == first, x, dout, scratch.taps, scratch.lists + thread * p.lists_size,
                  <real *>scratch.dout + thread * p.dout_size, <real *>scratch.planes + thread * p.planes_size,
                  <real *>scratch.dw + chunk * p.filters * p.layout.channels * p.taps, scratch.db + chunk * p.filters)


cdef inline int plan_weights(const Shape *s, Py_ssize_t itemsize, int num_threads, WeightsPlan *p) noexcept nogil:
    """Fill in the plan; returns the number of threads."""
    cdef int lanes = VECTOR_BYTES // <int>itemsize, threads
    cdef Py_ssize_t size = s.f * s.c * s.fh * s.fw, per_image
    cdef Layout *layout = &p.layout
    p.layout = forward_layout(s, lanes)
    p.images, p.filters, p.taps, p.out_plane = s.n, s.f, s.fh * s.fw, s.oh * s.ow
    # A block has about BLOCK_VECTORS vectors: bands of an image, or several small images.
    per_image = vectors_of(layout, s.oh, s.ow, lanes)
    set_sizes(layout, p.taps, itemsize, BLOCK_BYTES, max(<Py_ssize_t>1, min(s.oh, per_image // BLOCK_VECTORS)))
    p.image_planes = planes_size(layout, lanes)
    p.group = 1
    if layout.bands == 1:
        p.group = min(BLOCK_VECTORS // max(<Py_ssize_t>1, per_image), BLOCK_BYTES // (p.image_planes * itemsize))
        p.group = max(<Py_ssize_t>1, p.group)
    p.groups = ceil_div(s.n, p.group)
    p.vectors = p.group * vectors_of(layout, layout.band, s.ow, lanes)
    p.chunks = max(<Py_ssize_t>1, CHUNK_WEIGHTS // max(<Py_ssize_t>1, size))
    p.chunks = min(<Py_ssize_t>CHUNKS, p.groups * layout.bands, p.chunks)
    threads = threads_for_products(products_of(s), p.chunks * s.f, lanes, num_threads)
    # Few chunks: the filters are shared out too.
    p.slices = max(<Py_ssize_t>1, min(ceil_div(s.f, DOT_ROWS), ceil_div(threads, p.chunks)))
    p.lists_size = 3 * p.vectors
    p.dout_size = whole_lines(ceil_div(s.f, p.slices) * p.vectors * lanes)
    p.planes_size = p.group * p.image_planes
    return threads


cdef inline Py_ssize_t backward_dw_scratch(const Shape *s, Py_ssize_t itemsize, int num_threads) noexcept nogil:
    """Bytes of scratch that convolve_backward_dw takes."""
    cdef WeightsPlan p
    cdef int threads = plan_weights(s, itemsize, num_threads, &p)
    return cut_weights_scratch(&p, itemsize, threads, NULL, NULL)


cdef inline int convolve_backward_dw(
    const Shape *s,
    const real *x_nchw,     # IN
    const real *dout_nfhw,  # IN
    real *dw_fchw,          # OUT
    real *db_f,             # OUT
    int num_threads,
    char *given,            # INOUT: scratch of the caller's, or NULL
) noexcept nogil:
    """-1: out of memory."""
    cdef Py_ssize_t taps = s.fh * s.fw, size = s.f * s.c * taps, part, k, chunk
    cdef WeightsPlan p
    cdef Layout *layout = &p.layout
    cdef WeightsScratch scratch
    cdef double total
    cdef int threads = plan_weights(s, sizeof(real), num_threads, &p)
    cdef char *memory = given
    if given == NULL:
        memory = <char *>scratch_take(cut_weights_scratch(&p, sizeof(real), threads, NULL, NULL))
    if memory == NULL:
        return -1
    cut_weights_scratch(&p, sizeof(real), threads, &scratch, memory)
    forward_taps(layout, s.fh, s.fw, scratch.tap)
    taps_of_block(layout, scratch.tap, taps, scratch.taps)
    for k in range(DOT_COLS):
        scratch.taps[block_channels(layout) * taps + k] = 0  # a last tile that is not full: sums that nobody reads
    if threads == 1:
        for part in range(p.chunks * p.slices):
            add_chunk(&p, &scratch, part, 0, x_nchw, dout_nfhw)
    else:
        for part in prange(p.chunks * p.slices, num_threads=threads, schedule="dynamic", chunksize=1):
            add_chunk(&p, &scratch, part, threadid(), x_nchw, dout_nfhw)
    for k in range(size):
        dw_fchw[k] = (<real *>scratch.dw)[k]
        for chunk in range(1, p.chunks):
            dw_fchw[k] += (<real *>scratch.dw)[chunk * size + k]
    for k in range(s.f):
        total = 0
        for chunk in range(p.chunks):
            total += scratch.db[chunk * s.f + k]
        db_f[k] = <real>total
    if given == NULL:
        scratch_give(memory)
    return 0
