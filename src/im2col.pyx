"""im2col and col2im: windows of padded images as columns, and columns added back into images.

Rows of cols are (c, ii, jj); in its columns (yy, xx, n) the sample runs fastest, so a row of
windows is one contiguous run of a channel once the images lie as (C, H, W, N). The images are
brought to that layout first, in scratch; both steps are then copies of runs. In col2im a row
of one channel belongs to one thread, and ii, jj are taken in order: the order of additions
follows from the shape alone.
"""

include "common.pxi"
include "images.pxi"
from libc.string cimport memcpy, memset

cdef extern from "threads/scratch.h" nogil:
    void *dase_scratch_take(size_t size) noexcept
    void dase_scratch_give(void *scratch) noexcept

cdef enum:
    TILE = 16     # side of a block of the transposition: a cache line of float32


cdef inline Py_ssize_t _first(Py_ssize_t at, Py_ssize_t stride) noexcept nogil:
    """The smallest k >= 0 with at + k * stride >= 0."""
    return 0 if at >= 0 else (stride - 1 - at) // stride


cdef inline Py_ssize_t _past(Py_ssize_t at, Py_ssize_t stride, Py_ssize_t size, Py_ssize_t count) noexcept nogil:
    """How many k < count have at + k * stride < size."""
    return 0 if at >= size else min(count, (size - 1 - at) // stride + 1)


cdef inline void _transpose_tile(const real* a, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t j0,
                                 real* out) noexcept nogil:
    """out[j, i] = a[i, j] for TILE columns j from j0."""
    cdef Py_ssize_t i0, i, j, j1 = min(j0 + TILE, columns), block
    for block in range((rows + TILE - 1) // TILE):
        i0 = block * TILE
        for j in range(j0, j1):
            for i in range(i0, min(i0 + TILE, rows)):
                out[j * rows + i] = a[i * columns + j]


cdef void transpose_kernel(
    const real* a,    # IN, (rows, columns)
    real* out,        # OUT, (columns, rows)
    Py_ssize_t rows, Py_ssize_t columns, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t k, tiles = (columns + TILE - 1) // TILE
    if num_threads > 1:
        for k in prange(tiles, num_threads=num_threads, schedule="static"):
            _transpose_tile(a, rows, columns, k * TILE, out)
    else:
        for k in range(tiles):
            _transpose_tile(a, rows, columns, k * TILE, out)


cdef void _gather_row(const real* x_chwn, real* cols, Py_ssize_t row, Windows* p, Py_ssize_t n) noexcept nogil:
    """One row of cols: one tap (c, ii, jj) of every window."""
    cdef Py_ssize_t jj = row % p.fw, ii = row // p.fw % p.fh, c = row // p.fw // p.fh
    cdef Py_ssize_t left = jj - p.pad
    cdef Py_ssize_t first = min(_first(left, p.stride), p.ow), past = max(first, _past(left, p.stride, p.w, p.ow))
    cdef Py_ssize_t yy, xx, y
    cdef real* to
    cdef const real* line
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


cdef inline void _add(const real* a, real* out, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        out[i] += a[i]


cdef void _collect_line(const real* cols, real* x_chwn, Py_ssize_t line, Windows* p, Py_ssize_t n) noexcept nogil:
    """One row (c, y) of the images: the taps that touch it, in the order of ii and jj."""
    cdef Py_ssize_t y = line % p.h, c = line // p.h, ii, jj, yy, xx, left, first, past
    cdef real* to = x_chwn + line * p.w * n
    cdef const real* at
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


cdef void _collect_line_6d(const real* cols, real* x_nchw, Py_ssize_t line, Windows* p,
                           Py_ssize_t n, Py_ssize_t c) noexcept nogil:
    """One row (n, c, y) of the images from cols (C, fh, fw, N, oh, ow), in the order of ii and jj."""
    cdef Py_ssize_t y = line % p.h, k = line // p.h % c, image = line // p.h // c
    cdef Py_ssize_t ii, jj, yy, xx, left, first, past
    cdef real* to = x_nchw + line * p.w
    cdef const real* at
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
    const real* x_nchw,  # IN
    real* cols,          # OUT, (C fh fw, oh ow N)
    Windows* p, Py_ssize_t n, Py_ssize_t c, int num_threads,
) noexcept nogil:
    """-1: out of memory."""
    cdef Py_ssize_t row, rows = c * p.fh * p.fw
    cdef real* x_chwn = <real*> dase_scratch_take(n * c * p.h * p.w * sizeof(real))
    if x_chwn == NULL:
        return -1
    transpose_kernel(x_nchw, x_chwn, n, c * p.h * p.w, num_threads)
    if num_threads > 1:
        for row in prange(rows, num_threads=num_threads, schedule="static"):
            _gather_row(x_chwn, cols, row, p, n)
    else:
        for row in range(rows):
            _gather_row(x_chwn, cols, row, p, n)
    dase_scratch_give(x_chwn)
    return 0


cdef int col2im_kernel(
    const real* cols,    # IN, (C fh fw, oh ow N)
    real* x_nchw,        # OUT
    Windows* p, Py_ssize_t n, Py_ssize_t c, int num_threads,
) noexcept nogil:
    """-1: out of memory."""
    cdef Py_ssize_t line
    cdef real* x_chwn = <real*> dase_scratch_take(n * c * p.h * p.w * sizeof(real))
    if x_chwn == NULL:
        return -1
    if num_threads > 1:
        for line in prange(c * p.h, num_threads=num_threads, schedule="static"):
            _collect_line(cols, x_chwn, line, p, n)
    else:
        for line in range(c * p.h):
            _collect_line(cols, x_chwn, line, p, n)
    transpose_kernel(x_chwn, x_nchw, c * p.h * p.w, n, num_threads)
    dase_scratch_give(x_chwn)
    return 0


cdef void col2im_6d_kernel(
    const real* cols,    # IN, (C, fh, fw, N, oh, ow)
    real* x_nchw,        # OUT
    Windows* p, Py_ssize_t n, Py_ssize_t c, int num_threads,
) noexcept nogil:
    cdef Py_ssize_t line
    if num_threads > 1:
        for line in prange(n * c * p.h, num_threads=num_threads, schedule="static"):
            _collect_line_6d(cols, x_nchw, line, p, n, c)
    else:
        for line in range(n * c * p.h):
            _collect_line_6d(cols, x_nchw, line, p, n, c)


def im2col(
    cnp.ndarray x_nchw not None,  # IN
    cnp.ndarray cols not None,    # OUT
    Py_ssize_t fh, Py_ssize_t fw, Py_ssize_t pad, Py_ssize_t stride, int num_threads,
):
    """cols[(c, ii, jj), (yy, xx, n)] = padded x[n, c, yy * stride + ii, xx * stride + jj]."""
    cdef str name = "im2col"
    cdef int t = _real_type(name, "x", x_nchw), status
    cdef Windows p
    _check(name, "x", x_nchw, t, 4)
    cdef Py_ssize_t n = cnp.PyArray_DIM(x_nchw, 0), c = cnp.PyArray_DIM(x_nchw, 1)
    _windows(&p, name, cnp.PyArray_DIM(x_nchw, 2), cnp.PyArray_DIM(x_nchw, 3), fh, fw, pad, stride)
    _check_out(name, "cols", cols, t, 2)
    _check_shape(name, "cols", cols, c * fh * fw, p.oh * p.ow * n)
    num_threads = _threads_for(cols, 70, num_threads)
    cdef void* xp = cnp.PyArray_DATA(x_nchw)
    cdef void* cp = cnp.PyArray_DATA(cols)
    with nogil:
        if t == cnp.NPY_FLOAT:
            status = im2col_kernel(<const float*> xp, <float*> cp, &p, n, c, num_threads)
        else:
            status = im2col_kernel(<const double*> xp, <double*> cp, &p, n, c, num_threads)
    if status != 0:
        raise MemoryError(f"{name}: no memory for a copy of the images")


def col2im(
    cnp.ndarray cols not None,    # IN
    cnp.ndarray x_nchw not None,  # OUT
    Py_ssize_t fh, Py_ssize_t fw, Py_ssize_t pad, Py_ssize_t stride, int num_threads,
):
    """x = the sum of the elements of cols that `im2col` takes from each place."""
    cdef str name = "col2im"
    cdef int t = _real_type(name, "cols", cols), status
    cdef Windows p
    _check_out(name, "x", x_nchw, t, 4)
    cdef Py_ssize_t n = cnp.PyArray_DIM(x_nchw, 0), c = cnp.PyArray_DIM(x_nchw, 1)
    _windows(&p, name, cnp.PyArray_DIM(x_nchw, 2), cnp.PyArray_DIM(x_nchw, 3), fh, fw, pad, stride)
    _check(name, "cols", cols, t, 2)
    _check_shape(name, "cols", cols, c * fh * fw, p.oh * p.ow * n)
    num_threads = _threads_for(cols, 70, num_threads)
    cdef void* xp = cnp.PyArray_DATA(x_nchw)
    cdef void* cp = cnp.PyArray_DATA(cols)
    with nogil:
        if t == cnp.NPY_FLOAT:
            status = col2im_kernel(<const float*> cp, <float*> xp, &p, n, c, num_threads)
        else:
            status = col2im_kernel(<const double*> cp, <double*> xp, &p, n, c, num_threads)
    if status != 0:
        raise MemoryError(f"{name}: no memory for a copy of the images")


def col2im_6d(
    cnp.ndarray cols not None,    # IN
    cnp.ndarray x_nchw not None,  # OUT
    Py_ssize_t pad, Py_ssize_t stride, int num_threads,
):
    """`col2im` of columns kept as (C, fh, fw, N, oh, ow)."""
    cdef str name = "col2im_6d"
    cdef int t = _real_type(name, "cols", cols)
    cdef Windows p
    _check(name, "cols", cols, t, 6)
    _check_out(name, "x", x_nchw, t, 4)
    cdef Py_ssize_t n = cnp.PyArray_DIM(x_nchw, 0), c = cnp.PyArray_DIM(x_nchw, 1)
    _windows(&p, name, cnp.PyArray_DIM(x_nchw, 2), cnp.PyArray_DIM(x_nchw, 3),
             cnp.PyArray_DIM(cols, 1), cnp.PyArray_DIM(cols, 2), pad, stride)
    if (cnp.PyArray_DIM(cols, 0) != c or cnp.PyArray_DIM(cols, 3) != n
            or cnp.PyArray_DIM(cols, 4) != p.oh or cnp.PyArray_DIM(cols, 5) != p.ow):
        raise ValueError(f"{name}: cols has shape {(<object> cols).shape}, "
                         f"expected ({c}, {p.fh}, {p.fw}, {n}, {p.oh}, {p.ow})")
    num_threads = _threads_for(cols, 70, num_threads)
    cdef void* xp = cnp.PyArray_DATA(x_nchw)
    cdef void* cp = cnp.PyArray_DATA(cols)
    with nogil:
        if t == cnp.NPY_FLOAT:
            col2im_6d_kernel(<const float*> cp, <float*> xp, &p, n, c, num_threads)
        else:
            col2im_6d_kernel(<const double*> cp, <double*> xp, &p, n, c, num_threads)
