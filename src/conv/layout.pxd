# How images are laid out for the register tiles, and which taps reach the pixels under a filter. See README.md.
#
# A plane holds what one tap needs of a channel, zeros of the padding included, so that a vector of
# neighbouring outputs finds its pixels side by side, for any stride:
# - rows: every step-th pixel of a row, from each of `step` starting points. One plane serves many taps; a row
#   of outputs is cut into vectors of its own.
# - flat: a plane for each column of the filter, as wide as the output. All outputs of the plane follow each
#   other, which suits rows that would fill a vector badly.

from arithmetic cimport ceil_div, part_start
from real cimport real
from threads.threads cimport granted

cdef extern from "conv/microkernel.h" nogil:
    enum:
        VECTOR_BYTES
    # A row of a plane: to[x] = row[x * step] for x0 <= x < x1, zeros elsewhere in 0 <= x < pitch.
    void lay_out_row(const void *row, Py_ssize_t x0, Py_ssize_t x1, Py_ssize_t step, Py_ssize_t pitch,
                     void *to) noexcept

cdef enum:
    TAPS = 384               # taps in a block of channels: their weights stay in the first-level cache
    SERIAL_CYCLES = 500000   # about 100 us: below it, waking threads costs more than it brings


cdef struct Shape:
    Py_ssize_t n, c, h, w       # images
    Py_ssize_t f, fh, fw        # filters
    Py_ssize_t oh, ow           # outputs
    Py_ssize_t stride, pad


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
    Py_ssize_t bands, band               # bands of output rows, and the rows of the largest
    Py_ssize_t pitch, plane              # elements of a row and of a plane


cdef struct Vector:             # of neighbouring outputs
    Py_ssize_t at               # where it reads: elements from the beginning of a plane
    Py_ssize_t to               # where it writes: elements from the band's first output
    Py_ssize_t count            # lanes that exist


cdef inline Py_ssize_t floor_div(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """a / b rounded down; C rounds towards zero."""
    return a // b if a >= 0 else -((b - 1 - a) // b)


cdef inline Py_ssize_t whole_lines(Py_ssize_t count) noexcept nogil:
    """count rounded up to whole lines of the cache, for either type."""
    return ceil_div(count, 16) * 16


cdef inline double products_of(const Shape *s) noexcept nogil:
    """Products of single numbers in any of the three passes."""
    return <double>s.n * s.f * s.c * s.fh * s.fw * s.oh * s.ow


cdef inline int threads_for_products(double products, Py_ssize_t parts, int lanes, int num_threads) noexcept nogil:
    """Threads for so many products of single numbers, in so many parts."""
    if num_threads <= 1 or products < <double>SERIAL_CYCLES * lanes:
        return 1
    return granted(<int>min(<Py_ssize_t>num_threads, max(<Py_ssize_t>1, parts)))


cdef inline Py_ssize_t band_start(const Layout *p, Py_ssize_t band) noexcept nogil:
    """The first output row of a band."""
    return part_start(p.out_rows, p.bands, band)


cdef inline Py_ssize_t block_start(const Layout *p, Py_ssize_t block) noexcept nogil:
    """The first channel of a block."""
    return part_start(p.channels, p.blocks, block)


cdef inline Py_ssize_t block_channels(const Layout *p) noexcept nogil:
    """Channels of the largest block."""
    return ceil_div(p.channels, p.blocks)


cdef inline bint prefers_flat(Py_ssize_t rows, Py_ssize_t cols, int lanes) noexcept nogil:
    """Whether cutting every row into vectors of its own wastes more than a few lanes."""
    return 16 * rows * ceil_div(cols, lanes) > 17 * ceil_div(rows * cols, lanes)


cdef inline Layout forward_layout(const Shape *s, int lanes) noexcept nogil:
    """The layout of x for the filters; set_sizes completes it."""
    cdef Layout p
    p.channels, p.height, p.width = s.c, s.h, s.w
    p.out_rows, p.out_cols = s.oh, s.ow
    p.step, p.top, p.left = s.stride, s.pad, s.pad
    p.flat = prefers_flat(s.oh, s.ow, lanes)
    p.row_starts = min(s.stride, s.fh)
    p.col_starts = s.fw if p.flat else min(s.stride, s.fw)
    p.reach, p.wide = (s.fh - 1) // s.stride, (s.fw - 1) // s.stride
    return p


cdef inline void set_sizes(Layout *p, Py_ssize_t taps, size_t itemsize, Py_ssize_t bytes,
                           Py_ssize_t bands) noexcept nogil:
    """Choose the blocks of channels, which decide about the result's bits, from the shape alone;
    and at least so many bands, which do not, so that the planes of a band fit in so many bytes."""
    cdef Py_ssize_t planes, rows
    p.blocks = max(<Py_ssize_t>1, min(p.channels, ceil_div(p.channels * taps, TAPS)))
    # The last vector of a row reads past the end of the row: into the next one, or into the slack.
    p.pitch = p.out_cols if p.flat else p.out_cols + p.wide
    planes = max(<Py_ssize_t>1, block_channels(p) * p.row_starts * p.col_starts)
    rows = bytes // <Py_ssize_t>(planes * p.pitch * itemsize) - p.reach
    p.bands = ceil_div(p.out_rows, max(<Py_ssize_t>1, rows))
    p.bands = max(p.bands, min(p.out_rows, bands))
    p.band = ceil_div(p.out_rows, p.bands)
    p.plane = (p.band + p.reach) * p.pitch


cdef inline Py_ssize_t planes_size(const Layout *p, int lanes) noexcept nogil:
    """Elements of the planes of a band, with slack for vectors that reach past the end."""
    return whole_lines(block_channels(p) * p.row_starts * p.col_starts * p.plane + 2 * lanes)


cdef inline void lay_out(const Layout *p, const real *image, Py_ssize_t channels, Py_ssize_t y0, Py_ssize_t rows,
                         real *planes) noexcept nogil:
    """The planes of `channels` channels, from plane row y0 on; image is the first of the channels."""
    cdef Py_ssize_t c, a, b, r, x0, x1, y, start
    cdef real *to
    for c in range(channels):
        for a in range(p.row_starts):
            for b in range(p.col_starts):
                to = planes + ((c * p.row_starts + a) * p.col_starts + b) * p.plane
                start = b - p.left
                x0 = min(p.pitch, ceil_div(-start, p.step)) if start < 0 else 0
                x1 = max(x0, min(p.pitch, ceil_div(p.width - start, p.step))) if start < p.width else x0
                for r in range(rows):
                    y = (y0 + r) * p.step + a - p.top
                    if y < 0 or y >= p.height:
                        lay_out_row(image, 0, 0, p.step, p.pitch, to)
                    else:
                        lay_out_row(image + (c * p.height + y) * p.width + start, x0, x1, p.step, p.pitch, to)
                    to += p.pitch


cdef inline void forward_taps(const Layout *p, Py_ssize_t fh, Py_ssize_t fw, Py_ssize_t *tap) noexcept nogil:
    """From an output's own element of a plane to each pixel under the filter, in one channel."""
    cdef Py_ssize_t i, j, plane, row
    for i in range(fh):
        for j in range(fw):
            plane = i % p.step * p.col_starts + (j if p.flat else j % p.step)
            row = plane * p.plane + i // p.step * p.pitch
            tap[i * fw + j] = row if p.flat else row + j // p.step


cdef inline void taps_of_block(const Layout *p, const Py_ssize_t *tap, Py_ssize_t taps,
                               Py_ssize_t *block) noexcept nogil:
    """The taps of one channel repeated for every channel of a block."""
    cdef Py_ssize_t c, t, channel = p.row_starts * p.col_starts * p.plane
    for c in range(block_channels(p)):
        for t in range(taps):
            block[c * taps + t] = c * channel + tap[t]


cdef inline Py_ssize_t vectors_of(const Layout *p, Py_ssize_t rows, Py_ssize_t cols, int lanes) noexcept nogil:
    """How many vectors rows x cols outputs make."""
    return ceil_div(rows * cols, lanes) if p.flat else rows * ceil_div(cols, lanes)


cdef inline Vector vector_of(const Layout *p, Py_ssize_t v, Py_ssize_t rows, Py_ssize_t cols, int lanes,
                             Py_ssize_t out_pitch) noexcept nogil:
    """Vector v of rows x cols outputs, whose rows lie out_pitch elements apart."""
    cdef Py_ssize_t per_row, y, x
    cdef Vector vector
    if p.flat:
        vector.at = vector.to = v * lanes
        vector.count = min(<Py_ssize_t>lanes, rows * cols - v * lanes)
    else:
        per_row = ceil_div(cols, lanes)
        y, x = v // per_row, v % per_row * lanes
        vector.at = y * p.pitch + x
        vector.to = y * out_pitch + x
        vector.count = min(<Py_ssize_t>lanes, cols - x)
    return vector
