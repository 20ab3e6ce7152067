# The convolution as a product of weights and pixels: forward, and backward to x.
#
# A unit of work is a band of output rows of one image. Its planes are laid out for one block of
# channels after the other; each output is a chain of additions inside a block, and the blocks are
# added in order. Blocks follow from the shape alone, so units may be shared out in any way.

# One correlation over the planes. Forward there is one; backward to x one for each place
# that a pixel can have between the strides.
cdef struct Job:
    Py_ssize_t taps         # of a channel
    Py_ssize_t rows, cols   # of the output
    Py_ssize_t to           # where its output begins
    Py_ssize_t first        # where its first output belongs in a plane of dx
    Py_ssize_t at_tap, at_a # where its taps and its packed weights begin


cdef struct Plan:
    Layout layout
    Py_ssize_t images, m                   # images, planes of the output
    Py_ssize_t jobs
    Py_ssize_t out_plane                   # elements of a plane of the output
    Py_ssize_t job_plane, row_to           # elements of a plane and of a row of a job's output
    Py_ssize_t step, width                 # pixels between the outputs of a job, and in a row of dx
    Py_ssize_t w_row, w_channel            # elements of w from one output plane, or channel, to the next
    int flags
    size_t itemsize


cdef enum:
    ROW_TILES = 22      # tiles of a block of rows: their weights stay in the second-level cache


cdef void _pack_weights(Plan *p, Job *job, const real *w, const Py_ssize_t *places, real *a) noexcept nogil:
    """a[block][tile][channel, tap][row of the tile] = w[row][channel][place of the tap]."""
    cdef Py_ssize_t tiles = ceil_div(p.m, CONV_MR), block, t, c, k, i, i0, i1
    cdef real *to = a + job.at_a
    for block in range(p.layout.blocks):
        for t in range(tiles):
            i0, i1 = part_start(p.m, tiles, t), part_start(p.m, tiles, t + 1)
            for c in range(part_start(p.layout.channels, p.layout.blocks, block),
                           part_start(p.layout.channels, p.layout.blocks, block + 1)):
                for k in range(job.taps):
                    for i in range(i0, i1):
                        to[i - i0] = w[i * p.w_row + c * p.w_channel + places[job.at_tap + k]]
                    to += CONV_MR


cdef inline void _tile(int rows, Py_ssize_t kc, const real *a, const Py_ssize_t *tap, const real *x0, const real *x1,
                       int n0, int n1, real *out0, real *out1, Py_ssize_t plane,
                       const real *bias, int flags) noexcept nogil:
    if real is float:
        conv_tile_float(rows, kc, a, tap, x0, x1, n0, n1, out0, out1, plane, bias, flags)
    else:
        conv_tile_double(rows, kc, a, tap, x0, x1, n0, n1, out0, out1, plane, bias, flags)


cdef void _job(Plan *p, Job *job, Py_ssize_t y0, Py_ssize_t y1, Py_ssize_t c0, Py_ssize_t channels,
               const real *planes, const Py_ssize_t *tap, const real *a, const real *bias, real *out,
               int flags) noexcept nogil:
    """Rows y0..y1 of all output planes of one job, for a block of channels that begins with c0."""
    cdef int lanes = _lanes(out), rows
    cdef Py_ssize_t tiles = ceil_div(p.m, CONV_MR), kc = channels * job.taps, last = min(y1, job.rows)
    cdef Py_ssize_t vectors = _vectors(&p.layout, last - y0, job.cols, lanes) if last > y0 else 0
    cdef Py_ssize_t block, pair, v, t, i, at0, at1, to0, to1, n0, n1
    cdef const Py_ssize_t *taps = tap + job.at_tap * _block_channels(&p.layout)
    cdef const real *weights = a + job.at_a + c0 * job.taps * tiles * CONV_MR
    for block in range(ceil_div(tiles, ROW_TILES)):
        for pair in range(ceil_div(vectors, 2)):
            v = 2 * pair
            _vector(&p.layout, v, last - y0, job.cols, lanes, p.row_to, &at0, &to0, &n0)
            at1, to1, n1 = at0, to0, 0
            if v + 1 < vectors:
                _vector(&p.layout, v + 1, last - y0, job.cols, lanes, p.row_to, &at1, &to1, &n1)
            for t in range(block * ROW_TILES, min(tiles, (block + 1) * ROW_TILES)):
                i = part_start(p.m, tiles, t)
                rows = <int>(part_start(p.m, tiles, t + 1) - i)
                _tile(rows, kc, weights + t * kc * CONV_MR, taps, planes + at0, planes + at1, <int>n0, <int>n1,
                      out + to0 + i * p.job_plane, out + to1 + i * p.job_plane, p.job_plane, bias + i, flags)


cdef void _spread(Plan *p, Job *jobs, Py_ssize_t y0, Py_ssize_t y1, const real *apart, real *out) noexcept nogil:
    """The outputs of the jobs, which lie apart, side by side in an image of dx."""
    cdef Py_ssize_t s = p.step, j, i, y, x, width = p.width
    cdef const real *a
    cdef const real *b
    cdef real *row
    for i in range(p.m):
        for j in range(p.jobs):
            for y in range(y0, min(y1, jobs[j].rows)):
                a = apart + jobs[j].to + i * p.job_plane + (y - y0) * p.row_to
                row = out + i * p.out_plane + y * s * width + jobs[j].first
                if s == 2 and width > 1:
                    # Two jobs at once: pairs of neighbours become whole vectors.
                    if j % 2:
                        continue
                    b = a + jobs[j + 1].to - jobs[j].to
                    for x in range(jobs[j + 1].cols):
                        row[2 * x] = a[x]
                        row[2 * x + 1] = b[x]
                    if jobs[j].cols > jobs[j + 1].cols:
                        row[2 * jobs[j + 1].cols] = a[jobs[j + 1].cols]
                else:
                    for x in range(jobs[j].cols):
                        row[x * s] = a[x]


cdef void _unit(Plan *p, Job *jobs, Py_ssize_t unit, const real *images, const Py_ssize_t *tap, const real *a,
                const real *bias, real *out, real *planes, real *apart) noexcept nogil:
    """One band of one image."""
    cdef Layout *l = &p.layout
    cdef Py_ssize_t n = unit // l.bands, y0 = _band(l, unit % l.bands), y1 = _band(l, unit % l.bands + 1)
    cdef Py_ssize_t block, c0, c1, j
    cdef real *image = out + n * p.m * p.out_plane
    cdef real *to = image + y0 * p.row_to if p.step == 1 else apart
    cdef int flags
    for block in range(l.blocks):
        c0, c1 = part_start(l.channels, l.blocks, block), part_start(l.channels, l.blocks, block + 1)
        _lay_out(l, images + (n * l.channels + c0) * l.height * l.width, c1 - c0, y0, y1 - y0 + l.reach, planes)
        flags = (TILE_ADD if block else 0) | (p.flags if block == l.blocks - 1 else 0)
        for j in range(p.jobs):
            _job(p, jobs + j, y0, y1, c0, c1 - c0, planes, tap, a, bias, to + jobs[j].to, flags)
    if p.step > 1:
        _spread(p, jobs, y0, y1, apart, image)


cdef struct Room:       # the scratch of a call, cut up
    Job *jobs
    Py_ssize_t *places  # of every tap in the filter
    Py_ssize_t *tap     # the taps of one channel
    Py_ssize_t *taps    # the taps of a block of channels
    void *a             # packed weights
    void *planes
    void *apart         # outputs of the jobs


cdef inline Py_ssize_t _apart_size(Plan *p) noexcept nogil:
    return _whole(p.jobs * p.m * p.job_plane) if p.step > 1 else 0


cdef Py_ssize_t _room(Plan *p, Py_ssize_t taps, int lanes, int threads, Room *room, char *scratch) noexcept nogil:
    """Bytes of scratch; with `scratch` given, room is filled in."""
    cdef Py_ssize_t counts[7]
    cdef Py_ssize_t at = 0, k
    cdef void *starts[7]
    counts[0] = p.jobs * sizeof(Job)
    counts[1] = counts[2] = taps * sizeof(Py_ssize_t)
    counts[3] = _block_channels(&p.layout) * taps * sizeof(Py_ssize_t)
    counts[4] = ceil_div(p.m, CONV_MR) * CONV_MR * p.layout.channels * taps * p.itemsize
    counts[5] = threads * _planes_size(&p.layout, lanes) * p.itemsize
    counts[6] = threads * _apart_size(p) * p.itemsize
    for k in range(7):
        starts[k] = scratch + at
        at += ceil_div(counts[k], 64) * 64
    if scratch != NULL:
        room.jobs = <Job *>starts[0]
        room.places, room.tap, room.taps = <Py_ssize_t *>starts[1], <Py_ssize_t *>starts[2], <Py_ssize_t *>starts[3]
        room.a, room.planes, room.apart = starts[4], starts[5], starts[6]
    return at


cdef void _execute(Plan *p, Room *room, const real *images, const real *w, const real *bias, real *out,
                   int threads) noexcept nogil:
    """Pack the weights, then share out the units."""
    cdef Py_ssize_t j, unit, units = p.images * p.layout.bands, planes = _planes_size(&p.layout, _lanes(out))
    cdef real *a = <real *>room.a
    cdef Py_ssize_t apart = _apart_size(p)
    cdef real *own = <real *>room.planes
    cdef real *own_apart = <real *>room.apart
    for j in range(p.jobs):
        _taps_of_block(&p.layout, room.tap + room.jobs[j].at_tap, room.jobs[j].taps,
                       room.taps + room.jobs[j].at_tap * _block_channels(&p.layout))
        _pack_weights(p, room.jobs + j, w, room.places, a)
    if threads == 1:
        for unit in range(units):
            _unit(p, room.jobs, unit, images, room.taps, a, bias, out, own, own_apart)
    else:
        for unit in prange(units, num_threads=threads, schedule="dynamic", chunksize=1):
            _unit(p, room.jobs, unit, images, room.taps, a, bias, out, own + threadid() * planes,
                  own_apart + threadid() * apart)


cdef int _threads(double products, Py_ssize_t units, int lanes, int num_threads) noexcept nogil:
    """Threads for so many products of single numbers."""
    if num_threads <= 1 or products < <double>SERIAL_CYCLES * lanes:
        return 1
    return <int>min(<Py_ssize_t>num_threads, max(<Py_ssize_t>1, units))


cdef struct Shape:
    Py_ssize_t n, c, h, w       # images
    Py_ssize_t f, fh, fw        # filters
    Py_ssize_t oh, ow           # outputs
    Py_ssize_t stride, pad


cdef int conv_forward_kernel(
    const Shape *s,
    const real *x_nchw,   # IN
    const real *w_fchw,   # IN
    const real *b_f,      # IN
    real *out_nfhw,       # OUT
    bint relu, int num_threads,
) noexcept nogil:
    """-1: out of memory."""
    cdef int lanes = _lanes(out_nfhw)
    cdef double products = <double>s.n * s.f * s.c * s.fh * s.fw * s.oh * s.ow
    cdef int threads = _threads(products, s.n * s.oh, lanes, num_threads)
    cdef Plan p
    cdef Room room
    cdef Py_ssize_t k, taps = s.fh * s.fw
    cdef char *scratch
    p.layout = _forward_layout(s.c, s.h, s.w, s.fh, s.fw, s.oh, s.ow, s.stride, s.pad, lanes)
    _set_sizes(&p.layout, taps, sizeof(real), PLANE_BYTES, _bands_for(threads, s.n))
    p.images, p.m, p.jobs = s.n, s.f, 1
    p.out_plane = p.job_plane = s.oh * s.ow
    p.row_to, p.width, p.step = s.ow, s.ow, 1
    p.w_row, p.w_channel = s.c * taps, taps
    p.flags, p.itemsize = TILE_BIAS | (TILE_RELU if relu else 0), sizeof(real)
    scratch = <char *>dase_scratch_take(_room(&p, taps, lanes, threads, &room, NULL))
    if scratch == NULL:
        return -1
    _room(&p, taps, lanes, threads, &room, scratch)
    room.jobs[0].taps, room.jobs[0].rows, room.jobs[0].cols = taps, s.oh, s.ow
    room.jobs[0].to = room.jobs[0].first = room.jobs[0].at_tap = room.jobs[0].at_a = 0
    _forward_taps(&p.layout, s.fh, s.fw, room.tap)
    for k in range(taps):
        room.places[k] = k
    _execute(&p, &room, x_nchw, w_fchw, b_f, out_nfhw, threads)
    dase_scratch_give(scratch)
    return 0


cdef void _backward_jobs(const Shape *s, Plan *p, Room *room) noexcept nogil:
    """Pixel (y, x) of dx gets from output (oy, ox) what tap (i, j) = (y + pad - stride oy, x + pad - stride ox)
    sent there. So the pixels with the same remainders of y and x share their taps."""
    cdef Py_ssize_t py, px, i, j, i0, j0, ni, nj, k = 0, row, col, top = p.layout.top, left = p.layout.left
    cdef Job *job = room.jobs
    for py in range(min(s.stride, s.h)):
        for px in range(min(s.stride, s.w)):
            job.rows, job.cols = ceil_div(s.h - py, s.stride), ceil_div(s.w - px, s.stride)
            job.first, job.at_tap = py * s.w + px, k
            job.to = (py * min(s.stride, s.w) + px) * p.m * p.job_plane if p.step > 1 else 0
            job.at_a = k * p.layout.channels * ceil_div(p.m, CONV_MR) * CONV_MR
            i0, j0 = (py + s.pad) % s.stride, (px + s.pad) % s.stride
            for ni in range(ceil_div(s.fh - i0, s.stride) if s.fh > i0 else 0):
                for nj in range(ceil_div(s.fw - j0, s.stride) if s.fw > j0 else 0):
                    i, j = i0 + ni * s.stride, j0 + nj * s.stride
                    row = (py + s.pad - i) // s.stride + top    # divisible: C's rounding plays no part
                    col = (px + s.pad - j) // s.stride + left
                    room.places[k] = i * s.fw + j
                    room.tap[k] = row * p.layout.pitch + col * (p.layout.plane if p.layout.flat else 1)
                    k += 1
            job.taps = k - job.at_tap
            job += 1


cdef int conv_backward_dx_kernel(
    const Shape *s,
    const real *dout_nfhw,  # IN
    const real *w_fchw,     # IN
    real *dx_nchw,          # OUT
    int num_threads,
) noexcept nogil:
    """-1: out of memory."""
    cdef int lanes = _lanes(dx_nchw)
    cdef double products = <double>s.n * s.f * s.c * s.fh * s.fw * s.oh * s.ow
    cdef int threads = _threads(products, s.n * ceil_div(s.h, s.stride), lanes, num_threads)
    cdef Plan p
    cdef Layout *l = &p.layout
    cdef Room room
    cdef Py_ssize_t taps = s.fh * s.fw
    cdef char *scratch
    l.channels, l.height, l.width = s.f, s.oh, s.ow
    l.out_rows, l.out_cols = ceil_div(s.h, s.stride), ceil_div(s.w, s.stride)
    l.step = l.row_starts = 1
    l.top = _floor(s.fh - 1 - s.pad, s.stride)
    l.left = _floor(s.fw - 1 - s.pad, s.stride)
    l.reach = (s.pad + s.stride - 1) // s.stride + l.top
    l.wide = (s.pad + s.stride - 1) // s.stride + l.left
    l.flat = s.stride == 1 and _prefers_flat(l.out_rows, l.out_cols, lanes)
    l.col_starts = l.wide + 1 if l.flat else 1
    _set_sizes(l, ceil_div(s.fh, s.stride) * ceil_div(s.fw, s.stride), sizeof(real), PLANE_BYTES,
               _bands_for(threads, s.n))
    p.images, p.m, p.jobs = s.n, s.c, min(s.stride, s.h) * min(s.stride, s.w)
    p.out_plane, p.width, p.step = s.h * s.w, s.w, s.stride
    # With a stride the outputs of a job are not neighbours in dx: they are put apart first.
    p.row_to = l.out_cols
    p.job_plane = p.out_plane if p.step == 1 else l.band * l.out_cols
    p.w_row, p.w_channel = taps, s.c * taps
    p.flags, p.itemsize = 0, sizeof(real)
    scratch = <char *>dase_scratch_take(_room(&p, taps, lanes, threads, &room, NULL))
    if scratch == NULL:
        return -1
    _room(&p, taps, lanes, threads, &room, scratch)
    _backward_jobs(s, &p, &room)
    _execute(&p, &room, dout_nfhw, w_fchw, w_fchw, dx_nchw, threads)
    dase_scratch_give(scratch)
    return 0
