# The convolution as a product of weights and pixels: forward, and backward to x.
#
# A part of the work is a band of output rows of one image. Its planes are laid out for one block of channels
# after the other; each output is a chain of additions inside a block, and the blocks are added in order.
# Blocks follow from the shape alone, so parts may be shared out in any way.

from cython.parallel cimport prange, threadid

from arithmetic cimport ceil_div, part_start
from conv.layout cimport (
    VECTOR_BYTES, Layout, Shape, Vector, band_start, block_channels, block_start, floor_div, forward_layout,
    forward_taps, lay_out, planes_size, prefers_flat, products_of, set_sizes, taps_of_block, threads_for_products,
    vector_of, vectors_of, whole_lines)
from real cimport real
from threads.threads cimport scratch_give, scratch_take

cdef extern from "conv/microkernel.h" nogil:
    enum:
        MR            # rows of a tile
        TILE_ADD
        TILE_BIAS
        TILE_RELU
    # Outputs of `rows` planes at two vectors of neighbours, n0 and n1 of whose lanes exist (n1 may be 0).
    void correlate_tile(const void *a, int rows, Py_ssize_t kc, const Py_ssize_t *tap, const void *x0, const void *x1,
                        int n0, int n1, void *out0, void *out1, Py_ssize_t plane, const void *bias,
                        int flags) noexcept

cdef enum:
    PLANE_BYTES = 192 << 10  # planes of a band: they stay in the second-level cache
    ROW_TILES = 22           # tiles of a block of filters: their weights stay in the second-level cache


# The outputs that share their taps. Forward that is all of them. Backward to x, pixels with the same remainders
# of y and x by the stride are one phase.
cdef struct Phase:
    Py_ssize_t taps         # of a channel
    Py_ssize_t rows, cols   # of the output
    Py_ssize_t to           # where its output begins
    Py_ssize_t first        # where its first output belongs in a plane of dx
    Py_ssize_t at_tap, at_a  # where its taps and its packed weights begin


cdef struct Plan:
    Layout layout
    Py_ssize_t images, m                # images, planes of the output
    Py_ssize_t phases
    Py_ssize_t out_plane                # elements of a plane of the output
    Py_ssize_t phase_plane, phase_pitch  # elements of a plane and of a row of a phase's output
    Py_ssize_t step, width              # pixels between the outputs of a phase, and in a row of dx
    Py_ssize_t w_row, w_channel         # elements of w from one output plane, or channel, to the next
    int flags
    size_t itemsize


cdef struct Scratch:        # of a call, cut up
    Phase *phases
    Py_ssize_t *weight_of   # the element of a filter that each tap multiplies
    Py_ssize_t *tap         # the taps of one channel
    Py_ssize_t *taps        # the taps of a block of channels
    void *a                 # packed weights
    void *planes            # of each thread
    void *phase_out         # outputs of the phases, of each thread


cdef inline Py_ssize_t phase_out_size(const Plan *p) noexcept nogil:
    """Elements that a thread needs for the outputs of the phases; a single phase writes to dx itself."""
    return whole_lines(p.phases * p.m * p.phase_plane) if p.step > 1 else 0


cdef inline Py_ssize_t cut_scratch(const Plan *p, Py_ssize_t taps, int lanes, int threads, Scratch *scratch,
                                   char *memory) noexcept nogil:
    """Bytes of scratch; with `memory` given, scratch is filled in."""
    cdef Py_ssize_t[7] bytes
    cdef char *starts[7]
    cdef Py_ssize_t at = 0, k
    bytes[0] = p.phases * sizeof(Phase)
    bytes[1] = bytes[2] = taps * sizeof(Py_ssize_t)
    bytes[3] = block_channels(&p.layout) * taps * sizeof(Py_ssize_t)
    bytes[4] = ceil_div(p.m, MR) * MR * p.layout.channels * taps * p.itemsize
    bytes[5] = threads * planes_size(&p.layout, lanes) * p.itemsize
    bytes[6] = threads * phase_out_size(p) * p.itemsize
    for k in range(7):
        starts[k] = memory + at
        at += ceil_div(bytes[k], 64) * 64
    if memory != NULL:
        scratch.phases = <Phase *>starts[0]
        scratch.weight_of, scratch.tap = <Py_ssize_t *>starts[1], <Py_ssize_t *>starts[2]
        scratch.taps = <Py_ssize_t *>starts[3]
        scratch.a, scratch.planes, scratch.phase_out = starts[4], starts[5], starts[6]
    return at


cdef inline void pack_weights(const Plan *p, const Phase *phase, const real *w, const Py_ssize_t *weight_of,
                              real *a) noexcept nogil:
    """a[block][tile][channel, tap][row of the tile] = w[row][channel][weight of the tap]."""
    cdef Py_ssize_t tiles = ceil_div(p.m, MR), block, t, c, k, i, i0, i1
    cdef real *to = a + phase.at_a
    for block in range(p.layout.blocks):
        for t in range(tiles):
            i0, i1 = part_start(p.m, tiles, t), part_start(p.m, tiles, t + 1)
            for c in range(block_start(&p.layout, block), block_start(&p.layout, block + 1)):
                for k in range(phase.taps):
                    for i in range(i0, i1):
                        to[i - i0] = w[i * p.w_row + c * p.w_channel + weight_of[phase.at_tap + k]]
                    to += MR


cdef inline void correlate_phase(const Plan *p, const Phase *phase, Py_ssize_t y0, Py_ssize_t y1, Py_ssize_t c0,
                                 Py_ssize_t channels, const real *planes, const Py_ssize_t *tap, const real *a,
                                 const real *bias, real *out, int flags) noexcept nogil:
    """Rows y0..y1 of all output planes of one phase, for a block of channels that begins with c0."""
    cdef int lanes = VECTOR_BYTES // <int>sizeof(real), rows
    cdef Py_ssize_t tiles = ceil_div(p.m, MR), kc = channels * phase.taps, last = min(y1, phase.rows)
    cdef Py_ssize_t vectors = vectors_of(&p.layout, last - y0, phase.cols, lanes) if last > y0 else 0
    cdef Py_ssize_t block, pair, v, t, i
    cdef const Py_ssize_t *taps = tap + phase.at_tap * block_channels(&p.layout)
    cdef const real *weights = a + phase.at_a + c0 * phase.taps * tiles * MR
    cdef Vector v0, v1
    for block in range(ceil_div(tiles, ROW_TILES)):
        for pair in range(ceil_div(vectors, 2)):
            v = 2 * pair
            v0 = vector_of(&p.layout, v, last - y0, phase.cols, lanes, p.phase_pitch)
            v1 = v0
            v1.count = 0
            if v + 1 < vectors:
                v1 = vector_of(&p.layout, v + 1, last - y0, phase.cols, lanes, p.phase_pitch)
            for t in range(block * ROW_TILES, min(tiles, (block + 1) * ROW_TILES)):
                i = part_start(p.m, tiles, t)
                rows = <int>(part_start(p.m, tiles, t + 1) - i)
                correlate_tile(weights + t * kc * MR, rows, kc, taps, planes + v0.at, planes + v1.at,
                               <int>v0.count, <int>v1.count, out + v0.to + i * p.phase_plane,
                               out + v1.to + i * p.phase_plane, p.phase_plane, bias + i, flags)


cdef inline void interleave_phases(const Plan *p, const Phase *phases, Py_ssize_t y0, Py_ssize_t y1,
                                   const real *phase_out, real *out) noexcept nogil:
    """The outputs of the phases side by side in an image of dx."""
    cdef Py_ssize_t s = p.step, j, i, y, x, width = p.width
    cdef const real *a
    cdef const real *b
    cdef real *row
    for i in range(p.m):
        for j in range(p.phases):
            for y in range(y0, min(y1, phases[j].rows)):
                a = phase_out + phases[j].to + i * p.phase_plane + (y - y0) * p.phase_pitch
                row = out + i * p.out_plane + y * s * width + phases[j].first
                if s == 2 and width > 1:
                    # Two phases at once: pairs of neighbours become whole vectors.
                    if j % 2:
                        continue
                    b = a + phases[j + 1].to - phases[j].to
                    for x in range(phases[j + 1].cols):
                        row[2 * x] = a[x]
                        row[2 * x + 1] = b[x]
                    if phases[j].cols > phases[j + 1].cols:
                        row[2 * phases[j + 1].cols] = a[phases[j + 1].cols]
                else:
                    for x in range(phases[j].cols):
                        row[x * s] = a[x]


cdef inline void correlate_band(const Plan *p, const Scratch *scratch, Py_ssize_t part, int thread, const real *images,
                                const real *bias, real *out) noexcept nogil:
    """One band of one image."""
    cdef const Layout *layout = &p.layout
    cdef const Phase *phases = scratch.phases
    cdef Py_ssize_t n = part // layout.bands, band = part % layout.bands
    cdef Py_ssize_t y0 = band_start(layout, band), y1 = band_start(layout, band + 1)
    cdef Py_ssize_t block, c0, c1, j
    cdef real *planes = <real *>scratch.planes + thread * planes_size(layout, VECTOR_BYTES // <int>sizeof(real))
    cdef real *phase_out = <real *>scratch.phase_out + thread * phase_out_size(p)
    cdef real *image = out + n * p.m * p.out_plane
    cdef real *to = image + y0 * p.phase_pitch if p.step == 1 else phase_out
    cdef int flags
    for block in range(layout.blocks):
        c0, c1 = block_start(layout, block), block_start(layout, block + 1)
        lay_out(layout, images + (n * layout.channels + c0) * layout.height * layout.width, c1 - c0, y0,
                y1 - y0 + layout.reach, planes)
        flags = (TILE_ADD if block else 0) | (p.flags if block == layout.blocks - 1 else 0)
        for j in range(p.phases):
            correlate_phase(p, phases + j, y0, y1, c0, c1 - c0, planes, scratch.taps, <const real *>scratch.a, bias,
                            to + phases[j].to, flags)
    if p.step > 1:
        interleave_phases(p, phases, y0, y1, phase_out, image)


cdef inline void correlate(const Plan *p, const Scratch *scratch, const real *images, const real *w, const real *bias,
                           real *out, int threads) noexcept nogil:
    """Pack the weights, then share out the bands."""
    cdef Py_ssize_t j, part, parts = p.images * p.layout.bands
    for j in range(p.phases):
        taps_of_block(&p.layout, scratch.tap + scratch.phases[j].at_tap, scratch.phases[j].taps,
                      scratch.taps + scratch.phases[j].at_tap * block_channels(&p.layout))
        pack_weights(p, scratch.phases + j, w, scratch.weight_of, <real *>scratch.a)
    if threads == 1:    # a parallel region costs half a microsecond, of one thread too
        for part in range(parts):
            correlate_band(p, scratch, part, 0, images, bias, out)
    else:
        for part in prange(parts, num_threads=threads, schedule="dynamic", chunksize=1):
            correlate_band(p, scratch, part, threadid(), images, bias, out)


cdef inline Py_ssize_t bands_for(int threads, Py_ssize_t images) noexcept nogil:
    """Bands of an image that give every thread a few of them."""
    return ceil_div(4 * threads, max(<Py_ssize_t>1, images)) if threads > 1 else 1


cdef inline int convolve_forward(
    const Shape *s,
    const real *x_nchw,   # IN
    const real *w_fchw,   # IN
    const real *b_f,      # IN
    real *out_nfhw,       # OUT
    bint relu, int num_threads,
) noexcept nogil:
    """-1: out of memory."""
    cdef int lanes = VECTOR_BYTES // <int>sizeof(real)
    cdef int threads = threads_for_products(products_of(s), s.n * s.oh, lanes, num_threads)
    cdef Py_ssize_t k, taps = s.fh * s.fw
    cdef Plan p
    cdef Scratch scratch
    p.layout = forward_layout(s, lanes)
    set_sizes(&p.layout, taps, sizeof(real), PLANE_BYTES, bands_for(threads, s.n))
    p.images, p.m, p.phases = s.n, s.f, 1
    p.out_plane = p.phase_plane = s.oh * s.ow
    p.phase_pitch, p.width, p.step = s.ow, s.ow, 1
    p.w_row, p.w_channel = s.c * taps, taps
    p.flags, p.itemsize = TILE_BIAS | (TILE_RELU if relu else 0), sizeof(real)
    cdef char *memory = <char *>scratch_take(cut_scratch(&p, taps, lanes, threads, NULL, NULL))
    if memory == NULL:
        return -1
    cut_scratch(&p, taps, lanes, threads, &scratch, memory)
    scratch.phases[0].taps, scratch.phases[0].rows, scratch.phases[0].cols = taps, s.oh, s.ow
    scratch.phases[0].to = scratch.phases[0].first = scratch.phases[0].at_tap = scratch.phases[0].at_a = 0
    forward_taps(&p.layout, s.fh, s.fw, scratch.tap)
    for k in range(taps):
        scratch.weight_of[k] = k
    correlate(&p, &scratch, x_nchw, w_fchw, b_f, out_nfhw, threads)
    scratch_give(memory)
    return 0


cdef inline void backward_phases(const Shape *s, const Plan *p, Scratch *scratch) noexcept nogil:
    """Pixel (y, x) of dx gets from output (oy, ox) what tap (i, j) = (y + pad - stride oy, x + pad - stride ox)
    sent there. So the pixels with the same remainders of y and x share their taps."""
    cdef Py_ssize_t py, px, i, j, k = 0, row, col
    cdef const Layout *layout = &p.layout
    cdef Phase *phase = scratch.phases
    for py in range(min(s.stride, s.h)):
        for px in range(min(s.stride, s.w)):
            phase.rows, phase.cols = ceil_div(s.h - py, s.stride), ceil_div(s.w - px, s.stride)
            phase.first, phase.at_tap = py * s.w + px, k
            phase.to = (py * min(s.stride, s.w) + px) * p.m * p.phase_plane if p.step > 1 else 0
            phase.at_a = k * layout.channels * ceil_div(p.m, MR) * MR
            i = (py + s.pad) % s.stride
            while i < s.fh:
                j = (px + s.pad) % s.stride
                while j < s.fw:
                    row = (py + s.pad - i) // s.stride + layout.top    # divisible: C's rounding plays no part
                    col = (px + s.pad - j) // s.stride + layout.left
                    scratch.weight_of[k] = i * s.fw + j
                    scratch.tap[k] = row * layout.pitch + col * (layout.plane if layout.flat else 1)
                    k += 1
                    j += s.stride
                i += s.stride
            phase.taps = k - phase.at_tap
            phase += 1


cdef inline int convolve_backward_dx(
    const Shape *s,
    const real *dout_nfhw,  # IN
    const real *w_fchw,     # IN
    real *dx_nchw,          # OUT
    int num_threads,
) noexcept nogil:
    """-1: out of memory."""
    cdef int lanes = VECTOR_BYTES // <int>sizeof(real)
    cdef int threads = threads_for_products(products_of(s), s.n * ceil_div(s.h, s.stride), lanes, num_threads)
    cdef Py_ssize_t taps = s.fh * s.fw
    cdef Plan p
    cdef Layout *layout = &p.layout
    cdef Scratch scratch
    layout.channels, layout.height, layout.width = s.f, s.oh, s.ow
    layout.out_rows, layout.out_cols = ceil_div(s.h, s.stride), ceil_div(s.w, s.stride)
    layout.step = layout.row_starts = 1
    layout.top = floor_div(s.fh - 1 - s.pad, s.stride)
    layout.left = floor_div(s.fw - 1 - s.pad, s.stride)
    layout.reach = (s.pad + s.stride - 1) // s.stride + layout.top
    layout.wide = (s.pad + s.stride - 1) // s.stride + layout.left
    layout.flat = s.stride == 1 and prefers_flat(layout.out_rows, layout.out_cols, lanes)
    layout.col_starts = layout.wide + 1 if layout.flat else 1
    set_sizes(layout, ceil_div(s.fh, s.stride) * ceil_div(s.fw, s.stride), sizeof(real), PLANE_BYTES,
              bands_for(threads, s.n))
    p.images, p.m, p.phases = s.n, s.c, min(s.stride, s.h) * min(s.stride, s.w)
    p.out_plane, p.width, p.step = s.h * s.w, s.w, s.stride
    # With a stride the outputs of a phase are no neighbours in dx: they are computed elsewhere first.
    p.phase_pitch = layout.out_cols
    p.phase_plane = p.out_plane if p.step == 1 else layout.band * layout.out_cols
    p.w_row, p.w_channel = taps, s.c * taps
    p.flags, p.itemsize = 0, sizeof(real)
    cdef char *memory = <char *>scratch_take(cut_scratch(&p, taps, lanes, threads, NULL, NULL))
    if memory == NULL:
        return -1
    cut_scratch(&p, taps, lanes, threads, &scratch, memory)
    backward_phases(s, &p, &scratch)
    correlate(&p, &scratch, dout_nfhw, w_fchw, w_fchw, dx_nchw, threads)
    scratch_give(memory)
    return 0
