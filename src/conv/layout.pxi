# How images are laid out for the register tiles, and which taps reach the pixels under a filter.
#
# A plane holds what one tap needs of a channel, zeros of the padding included, so that a vector
# of neighbouring outputs finds its pixels side by side, for any stride:
# - rows: every step-th pixel of a row, from each of `step` starting points. One plane serves
#   many taps; a row of outputs is cut into vectors of its own.
# - flat: a plane for each column of the filter, as wide as the output. All outputs of the
#   plane follow each other, which suits rows that would fill a vector badly.

cdef extern from "product/grid.h" nogil:
    Py_ssize_t part_start "part_start"(Py_ssize_t count, Py_ssize_t parts, Py_ssize_t part) noexcept

cdef extern from "conv/microkernel.h" nogil:
    enum:
        CONV_MR
        CONV_DOT_ROWS
        CONV_DOT_COLS
        CONV_SUMS
        VL_FLOAT
        VL_DOUBLE
        TILE_ADD
        TILE_BIAS
        TILE_RELU
    void conv_tile_float(int rows, Py_ssize_t kc, const float *a, const Py_ssize_t *tap,
                              const float *x0, const float *x1, int n0, int n1, float *out0, float *out1,
                              Py_ssize_t plane, const float *bias, int flags) noexcept
    void conv_tile_double(int rows, Py_ssize_t kc, const double *a, const Py_ssize_t *tap,
                               const double *x0, const double *x1, int n0, int n1, double *out0, double *out1,
                               Py_ssize_t plane, const double *bias, int flags) noexcept
    void conv_prefetch(const void *start, const void *end) noexcept
    void conv_row_float(Py_ssize_t pitch, const float *row, Py_ssize_t x0, Py_ssize_t x1, Py_ssize_t step,
                             float *to) noexcept
    void conv_row_double(Py_ssize_t pitch, const double *row, Py_ssize_t x0, Py_ssize_t x1, Py_ssize_t step,
                              double *to) noexcept
    double conv_pack_float(Py_ssize_t images, Py_ssize_t image, Py_ssize_t nv, const float *dout,
                                const Py_ssize_t *to, const Py_ssize_t *lanes, Py_ssize_t step, float *packed) noexcept
    double conv_pack_double(Py_ssize_t images, Py_ssize_t image, Py_ssize_t nv, const double *dout,
                                 const Py_ssize_t *to, const Py_ssize_t *lanes, Py_ssize_t step,
                                 double *packed) noexcept
    void conv_dots_float(int rows, Py_ssize_t nv, const float *dout, const float *x, const Py_ssize_t *start,
                              const Py_ssize_t *lanes, int masked, const Py_ssize_t *tap, float *sums) noexcept
    void conv_dots_double(int rows, Py_ssize_t nv, const double *dout, const double *x, const Py_ssize_t *start,
                               const Py_ssize_t *lanes, int masked, const Py_ssize_t *tap, double *sums) noexcept

cdef extern from "threads/scratch.h" nogil:
    void *dase_scratch_take(size_t size) noexcept
    void dase_scratch_give(void *scratch) noexcept

cdef enum:
    TAPS = 384               # taps in a block of channels: their weights stay in the first-level cache
    PLANE_BYTES = 192 << 10  # planes of a band: they stay in the second-level cache
    SERIAL_CYCLES = 500000   # about 100 us: below it, waking threads costs more than it brings


cdef struct Layout:
    Py_ssize_t channels, height, width   # of an image
    Py_ssize_t out_rows, out_cols        # of the largest output
    Py_ssize_t step                      # pixels of the image from one pixel of a plane to the next
    Py_ssize_t top, left                 # rows and columns of padding in front
    Py_ssize_t row_starts, col_starts    # planes of a channel
    Py_ssize_t reach                     # rows of a plane below an output's own that taps reach
    Py_ssize_t wide                      # columns to the right, likewise
    bint flat
    Py_ssize_t blocks                    # blocks of channels, summed one after the other
    Py_ssize_t bands, band               # bands of output rows, and the rows of one
    Py_ssize_t pitch, plane              # elements of a row and of a plane


cdef inline Py_ssize_t ceil_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline Py_ssize_t _floor(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """a / b rounded down; C rounds towards zero."""
    return a // b if a >= 0 else -((b - 1 - a) // b)


cdef inline Py_ssize_t _whole(Py_ssize_t count) noexcept nogil:
    """count rounded up to whole lines of the cache, for either type."""
    return ceil_div(count, 16) * 16


cdef inline int _lanes(const real *unused) noexcept nogil:
    if real is float:
        return VL_FLOAT
    else:
        return VL_DOUBLE


cdef inline Py_ssize_t _band(Layout *p, Py_ssize_t band) noexcept nogil:
    """The first output row of a band."""
    return part_start(p.out_rows, p.bands, band)


cdef inline Py_ssize_t _block_channels(Layout *p) noexcept nogil:
    """Channels of the largest block."""
    return ceil_div(p.channels, p.blocks)


cdef inline Py_ssize_t _bands_for(int threads, Py_ssize_t images) noexcept nogil:
    """Bands of an image that give every thread a few of them."""
    return ceil_div(4 * threads, max(<Py_ssize_t>1, images)) if threads > 1 else 1


cdef bint _prefers_flat(Py_ssize_t rows, Py_ssize_t cols, int lanes) noexcept nogil:
    """Whether cutting every row into vectors of its own wastes more than a few lanes."""
    return 16 * rows * ceil_div(cols, lanes) > 17 * ceil_div(rows * cols, lanes)


cdef void _set_sizes(Layout *p, Py_ssize_t taps, size_t itemsize, Py_ssize_t bytes, Py_ssize_t bands) noexcept nogil:
    """Choose the blocks of channels, which decide about the result's bits, from the shape alone;
    and at least so many bands, which do not, so that the planes of a band fit in so many bytes."""
    cdef Py_ssize_t planes, rows
    p.blocks = max(<Py_ssize_t>1, min(p.channels, ceil_div(p.channels * taps, TAPS)))
    # The last vector of a row reads past the end of the row: into the next one, or into the slack.
    p.pitch = p.out_cols if p.flat else p.out_cols + p.wide
    planes = max(<Py_ssize_t>1, _block_channels(p) * p.row_starts * p.col_starts)
    rows = bytes // <Py_ssize_t>(planes * p.pitch * itemsize) - p.reach
    p.bands = ceil_div(p.out_rows, max(<Py_ssize_t>1, rows))
    p.bands = max(p.bands, min(p.out_rows, bands))
    p.band = ceil_div(p.out_rows, p.bands)
    p.plane = (p.band + p.reach) * p.pitch


cdef inline Py_ssize_t _planes_size(Layout *p, int lanes) noexcept nogil:
    """Elements of the planes of a band, with slack for vectors that reach past the end."""
    return _whole(_block_channels(p) * p.row_starts * p.col_starts * p.plane + 2 * lanes)


cdef inline void _row(Py_ssize_t pitch, const real *row, Py_ssize_t x0, Py_ssize_t x1, Py_ssize_t step,
                      real *to) noexcept nogil:
    if real is float:
        conv_row_float(pitch, row, x0, x1, step, to)
    else:
        conv_row_double(pitch, row, x0, x1, step, to)


cdef void _lay_out(Layout *p, const real *image, Py_ssize_t channels, Py_ssize_t y0, Py_ssize_t rows,
                   real *planes) noexcept nogil:
    """The planes of `channels` channels, from plane row y0 on; image is the first of the channels."""
    cdef Py_ssize_t c, a, b, r, x0, x1, y, start, pitch = p.pitch, step = p.step
    cdef real *to
    for c in range(channels):
        for a in range(p.row_starts):
            for b in range(p.col_starts):
                to = planes + ((c * p.row_starts + a) * p.col_starts + b) * p.plane
                start = b - p.left
                x0 = min(pitch, ceil_div(-start, step)) if start < 0 else 0
                x1 = max(x0, min(pitch, ceil_div(p.width - start, step))) if start < p.width else x0
                for r in range(rows):
                    y = (y0 + r) * step + a - p.top
                    if y < 0 or y >= p.height:
                        _row(pitch, image, 0, 0, step, to)
                    else:
                        _row(pitch, image + (c * p.height + y) * p.width + start, x0, x1, step, to)
                    to += pitch


# Vectors of output places. `at` counts from the first element of a plane's band, `to` from the
# first output of the band, whose rows lie row_to elements apart.

cdef inline Py_ssize_t _vectors(Layout *p, Py_ssize_t rows, Py_ssize_t cols, int lanes) noexcept nogil:
    return ceil_div(rows * cols, lanes) if p.flat else rows * ceil_div(cols, lanes)


cdef inline void _vector(Layout *p, Py_ssize_t v, Py_ssize_t rows, Py_ssize_t cols, int lanes, Py_ssize_t row_to,
                         Py_ssize_t *at, Py_ssize_t *to, Py_ssize_t *count) noexcept nogil:
    cdef Py_ssize_t a_row, y, x
    if p.flat:
        at[0] = to[0] = v * lanes
        count[0] = min(<Py_ssize_t>lanes, rows * cols - v * lanes)
    else:
        a_row = ceil_div(cols, lanes)
        y, x = v // a_row, v % a_row * lanes
        at[0] = y * p.pitch + x
        to[0] = y * row_to + x
        count[0] = min(<Py_ssize_t>lanes, cols - x)


cdef void _taps_of_block(Layout *p, const Py_ssize_t *tap, Py_ssize_t taps, Py_ssize_t *block) noexcept nogil:
    """The taps of one channel repeated for every channel of a block."""
    cdef Py_ssize_t c, t, channel = p.row_starts * p.col_starts * p.plane
    for c in range(_block_channels(p)):
        for t in range(taps):
            block[c * taps + t] = c * channel + tap[t]


cdef Layout _forward_layout(Py_ssize_t channels, Py_ssize_t height, Py_ssize_t width, Py_ssize_t fh, Py_ssize_t fw,
                            Py_ssize_t out_rows, Py_ssize_t out_cols, Py_ssize_t stride, Py_ssize_t pad,
                            int lanes) noexcept nogil:
    """The layout of x for filters of fh x fw."""
    cdef Layout p
    p.channels, p.height, p.width = channels, height, width
    p.out_rows, p.out_cols = out_rows, out_cols
    p.step, p.top, p.left = stride, pad, pad
    p.flat = _prefers_flat(out_rows, out_cols, lanes)
    p.row_starts = min(stride, fh)
    p.col_starts = fw if p.flat else min(stride, fw)
    p.reach, p.wide = (fh - 1) // stride, (fw - 1) // stride
    p.blocks = p.bands = p.band = p.pitch = p.plane = 0     # _set_sizes chooses them
    return p


cdef void _forward_taps(Layout *p, Py_ssize_t fh, Py_ssize_t fw, Py_ssize_t *tap) noexcept nogil:
    cdef Py_ssize_t i, j, plane, row
    for i in range(fh):
        for j in range(fw):
            plane = i % p.step * p.col_starts + (j if p.flat else j % p.step)
            row = plane * p.plane + i // p.step * p.pitch
            tap[i * fw + j] = row if p.flat else row + j // p.step
