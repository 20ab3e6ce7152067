"""im2col and col2im: windows of padded images as columns, and columns added back into images.

Rows of cols are (c, ii, jj); in its columns (yy, xx, n) the sample runs fastest, so a row of
windows is one contiguous run of a channel once the images lie as (C, H, W, N). The images are
brought to that layout first, in scratch; both steps are then copies of runs. In col2im a row
of one channel belongs to one thread, and ii, jj are taken in order: the order of additions
follows from the shape alone.
"""

cimport cython
from cython.parallel cimport prange
from libc.string cimport memcpy, memset

from arithmetic cimport ceil_div
from checks cimport aligned, images, images_start, matrix, matrix_start
from real cimport real
from sharing cimport threads_for
from threads.threads cimport scratch_give, scratch_take
from windows cimport Windows, set_windows

cdef enum:
    TILE = 16     # side of a block of the transposition: a cache line of float32


cdef inline Py_ssize_t _first(Py_ssize_t at, Py_ssize_t stride) noexcept nogil:
    """The smallest k >= 0 with at + k * stride >= 0."""
    return 0 if at >= 0 else (stride - 1 - at) // stride


cdef inline Py_ssize_t _past(Py_ssize_t at, Py_ssize_t stride, Py_ssize_t size, Py_ssize_t count) noexcept nogil:
    """How many k < count have at + k * stride < size."""
    return 0 if at >= size else min(count, (size - 1 - at) // stride + 1)


cdef inline void _transpose_tile(const real *a, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t j0,
                                 real *out) noexcept nogil:
    """out[j, i] = a[i, j] for TILE columns j from j0."""
    cdef Py_ssize_t i0, i, j, j1 = min(j0 + TILE, columns), block
    for block in range(ceil_div(rows, TILE)):
        i0 = block * TILE
        for j in range(j0, j1):
            for i in range(i0, min(i0 + TILE, rows)):
                out[j * rows + i] = a[i * columns + j]


cdef void transpose_kernel(
    const real *a,    # IN, (rows, columns)
    real *out,        # OUT, (columns, rows)
    Py_ssize_t rows, Py_ssize_t columns, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t k, tiles = ceil_div(columns, TILE)
    if num_threads == 1:    # a parallel region costs half a microsecond, of one thread too
        for k in range(tiles):
            _transpose_tile(a, rows, columns, k * TILE, out)
    else:
        for k in prange(tiles, num_threads=num_threads, schedule="static"):
            _transpose_tile(a, rows, columns, k * TILE, out)


cdef void _gather_row(const real *x_chwn, real *cols, Py_ssize_t row, Windows *p, Py_ssize_t n) noexcept nogil:
    """One row of cols: one tap (c, ii, jj) of every window."""
    cdef Py_ssize_t jj = row % p.fw, ii = row // p.fw % p.fh, c = row // p.fw // p.fh
    cdef Py_ssize_t left = jj - p.pad
    cdef Py_ssize_t first = min(_first(left, p.stride), p.ow), past = max(first, _past(left, p.stride, p.w, p.ow))
    cdef Py_ssize_t yy, xx, y
    cdef real *to
    cdef const real *line
    for yy in range(p.oh):
        y = yy * p.stride + ii - p.pad
        to = cols + (row * p.oh + yy) * p.ow * n
        if y < 0 or y >= p.h:
            memset(to, 0, p.ow * n * sizeof(real))
            continue
        line = x_chwn + (c * p.h + y) * p.w * n
        memset(to, 0, first * n * sizeof(real))
        if p.stride == 1:
            memcpy(to + first * n, line + (first + left) * n, (past - first) * n * sizeof(real))
        else:
            for xx in range(first, past):
                memcpy(to + xx * n, line + (xx * p.stride + left) * n, n * sizeof(real))
        memset(to + past * n, 0, (p.ow - past) * n * sizeof(real))


cdef inline void _add(const real *a, real *out, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        out[i] += a[i]


cdef void _collect_line(const real *cols, real *x_chwn, Py_ssize_t line, Windows *p, Py_ssize_t n) noexcept nogil:
    """One row (c, y) of the images: the taps that touch it, in the order of ii and jj."""
    cdef Py_ssize_t y = line % p.h, c = line // p.h, ii, jj, yy, xx, left, first, past
    cdef real *to = x_chwn + line * p.w * n
    cdef const real *at
    memset(to, 0, p.w * n * sizeof(real))
    for ii in range(p.fh):
        yy = y + p.pad - ii
        if yy < 0 or yy % p.stride or yy // p.stride >= p.oh:
            continue
        yy = yy // p.stride
        for jj in range(p.fw):
            left = jj - p.pad
            first, past = _first(left, p.stride), _past(left, p.stride, p.w, p.ow)
            at = cols + (((c * p.fh + ii) * p.fw + jj) * p.oh + yy) * p.ow * n
            if p.stride == 1:
                if first < past:
                    _add(at + first * n, to + (first + left) * n, (past - first) * n)
            else:
                for xx in range(first, past):
                    _add(at + xx * n, to + (xx * p.stride + left) * n, n)


cdef void _collect_line_6d(const real *cols, real *x_nchw, Py_ssize_t line, Windows *p,
                           Py_ssize_t n, Py_ssize_t c) noexcept nogil:
    """One row (n, c, y) of the images from cols (C, fh, fw, N, oh, ow), in the order of ii and jj."""
    cdef Py_ssize_t y = line % p.h, k = line // p.h % c, image = line // p.h // c
    cdef Py_ssize_t ii, jj, yy, xx, left, first, past
    cdef real *to = x_nchw + line * p.w
    cdef const real *at
    memset(to, 0, p.w * sizeof(real))
    for ii in range(p.fh):
        yy = y + p.pad - ii
        if yy < 0 or yy % p.stride or yy // p.stride >= p.oh:
            continue
        yy = yy // p.stride
        for jj in range(p.fw):
            left = jj - p.pad
            first, past = _first(left, p.stride), _past(left, p.stride, p.w, p.ow)
            at = cols + ((((k * p.fh + ii) * p.fw + jj) * n + image) * p.oh + yy) * p.ow
            if p.stride == 1:
                if first < past:
                    _add(at + first, to + first + left, past - first)
            else:
                for xx in range(first, past):
                    to[xx * p.stride + left] += at[xx]


cdef int im2col_kernel(
    const real[:, :, :, ::1] x_nchw,
    real[:, ::1] cols,                  # (C fh fw, H' W' N)
    Windows *p, int num_threads,
) noexcept nogil:
    """-1: out of memory."""
    cdef Py_ssize_t row, n = x_nchw.shape[0], pixels = x_nchw.shape[1] * p.h * p.w
    cdef real *x_chwn
    if n == 0:  # rows without elements may be as many as nobody could count
        return 0
    x_chwn = <real *> scratch_take(n * pixels * sizeof(real))
    if x_chwn == NULL:
        return -1
    transpose_kernel(images_start(x_nchw), x_chwn, n, pixels, num_threads)
    if num_threads == 1:
        for row in range(cols.shape[0]):
            _gather_row(x_chwn, matrix_start(cols), row, p, n)
    else:
        for row in prange(cols.shape[0], num_threads=num_threads, schedule="static"):
            _gather_row(x_chwn, matrix_start(cols), row, p, n)
    scratch_give(x_chwn)
    return 0


cdef int col2im_kernel(
    const real[:, ::1] cols,            # (C fh fw, H' W' N)
    real[:, :, :, ::1] x_nchw,
    Windows *p, int num_threads,
) noexcept nogil:
    """-1: out of memory."""
    cdef Py_ssize_t line, n = x_nchw.shape[0], lines = x_nchw.shape[1] * p.h
    cdef real *x_chwn
    if n == 0:
        return 0
    x_chwn = <real *> scratch_take(n * lines * p.w * sizeof(real))
    if x_chwn == NULL:
        return -1
    if num_threads == 1:
        for line in range(lines):
            _collect_line(matrix_start(cols), x_chwn, line, p, n)
    else:
        for line in prange(lines, num_threads=num_threads, schedule="static"):
            _collect_line(matrix_start(cols), x_chwn, line, p, n)
    transpose_kernel(x_chwn, images_start(x_nchw), lines * p.w, n, num_threads)
    scratch_give(x_chwn)
    return 0


@cython.boundscheck(False)
cdef inline const real *_columns_start(const real[:, :, :, :, :, ::1] cols) noexcept nogil:
    return &cols[0, 0, 0, 0, 0, 0]


cdef void col2im_6d_kernel(
    const real[:, :, :, :, :, ::1] cols,    # (C, fh, fw, N, H', W')
    real[:, :, :, ::1] x_nchw,
    Windows *p, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t line, n = x_nchw.shape[0], c = x_nchw.shape[1]
    if num_threads == 1:
        for line in range(n * c * p.h):
            _collect_line_6d(_columns_start(cols), images_start(x_nchw), line, p, n, c)
    else:
        for line in prange(n * c * p.h, num_threads=num_threads, schedule="static"):
            _collect_line_6d(_columns_start(cols), images_start(x_nchw), line, p, n, c)


def im2col(
    const real[:, :, :, ::1] x_nchw not None,
    real[:, ::1] cols not None,
    Py_ssize_t fh, Py_ssize_t fw, Py_ssize_t pad, Py_ssize_t stride, int num_threads,
):
    """cols[(c, ii, jj), (yy, xx, n)] = padded x[n, c, yy * stride + ii, xx * stride + jj]."""
    cdef Windows p
    cdef Py_ssize_t n = x_nchw.shape[0], c = x_nchw.shape[1]
    cdef int status
    set_windows(&p, "im2col", x_nchw.shape[2], x_nchw.shape[3], fh, fw, pad, stride)
    images("im2col", "x_nchw", x_nchw, n, c, p.h, p.w)
    matrix("im2col", "cols", cols, c * fh * fw, p.oh * p.ow * n)
    num_threads = threads_for(cols.shape[0] * cols.shape[1] * sizeof(real), 70, num_threads)
    with nogil:
        status = im2col_kernel(x_nchw, cols, &p, num_threads)
    if status != 0:
        raise MemoryError("im2col: no memory for a copy of the images")


def col2im(
    const real[:, ::1] cols not None,
    real[:, :, :, ::1] x_nchw not None,
    Py_ssize_t fh, Py_ssize_t fw, Py_ssize_t pad, Py_ssize_t stride, int num_threads,
):
    """x = the sum of the elements of cols that `im2col` takes from each pixel."""
    cdef Windows p
    cdef Py_ssize_t n = x_nchw.shape[0], c = x_nchw.shape[1]
    cdef int status
    set_windows(&p, "col2im", x_nchw.shape[2], x_nchw.shape[3], fh, fw, pad, stride)
    images("col2im", "x_nchw", x_nchw, n, c, p.h, p.w)
    matrix("col2im", "cols", cols, c * fh * fw, p.oh * p.ow * n)
    num_threads = threads_for(cols.shape[0] * cols.shape[1] * sizeof(real), 70, num_threads)
    with nogil:
        status = col2im_kernel(cols, x_nchw, &p, num_threads)
    if status != 0:
        raise MemoryError("col2im: no memory for a copy of the images")


def col2im_6d(
    const real[:, :, :, :, :, ::1] cols not None,
    real[:, :, :, ::1] x_nchw not None,
    Py_ssize_t pad, Py_ssize_t stride, int num_threads,
):
    """`col2im` of columns kept as (C, fh, fw, N, H', W')."""
    cdef Windows p
    cdef Py_ssize_t n = x_nchw.shape[0], c = x_nchw.shape[1], fh = cols.shape[1], fw = cols.shape[2], k
    set_windows(&p, "col2im_6d", x_nchw.shape[2], x_nchw.shape[3], fh, fw, pad, stride)
    images("col2im_6d", "x_nchw", x_nchw, n, c, p.h, p.w)
    if cols.shape[0] != c or cols.shape[3] != n or cols.shape[4] != p.oh or cols.shape[5] != p.ow:
        raise ValueError(f"col2im_6d: cols has shape {tuple([cols.shape[k] for k in range(6)])}, "
                         f"expected {(c, fh, fw, n, p.oh, p.ow)}")
    if c * fh * fw * n * p.oh * p.ow != 0:
        aligned("col2im_6d", "cols", _columns_start(cols), sizeof(real))
    num_threads = threads_for(c * fh * fw * n * p.oh * p.ow * sizeof(real), 70, num_threads)
    with nogil:
        col2im_6d_kernel(cols, x_nchw, &p, num_threads)
