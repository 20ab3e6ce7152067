# A network's layers, block of rows by block of rows: what predict.pyx works on, and the loops. See README.md.
from libc.math cimport sqrt
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from activations cimport RELU, SOFTMAX, activate, exp_below
from arithmetic cimport LANES, ceil_div, lane_total, part_start
from norms cimport BATCH_NORM, LAYER_NORM
from product.grid cimport Area
from product.plan cimport ROW_TILES, Plan, Product, packed_stride, plan_packed, plan_product, product_of
from product.product cimport Run, pack_whole, part_of, rectangle
from product.tiles cimport MR, TILE_ADD, TILE_BIAS, TILE_GAIN, TILE_RELU, VECTOR_BYTES, tile_args
from real cimport real
from threads.threads cimport scratch_give, scratch_take, share_out

cdef extern from "predict/flat.h" nogil:
    enum:
        HAVE_VECTORS
    # sums(rows x cols) = x(rows x kc) w(kc x cols); rows of the sums are lds apart, whole vectors, and aligned.
    void flat_strip(const void *x, Py_ssize_t ldx, int rows, const void *w, Py_ssize_t ldw, Py_ssize_t kc,
                    Py_ssize_t cols, void *sums, Py_ssize_t lds) noexcept
    # Sums of so many vectors a row on their way to C.
    void store_tile(const tile_args *args, void *c, int rows, int cols, const void *sums, int vectors) noexcept

cdef enum:
    BLOCK = ROW_TILES * MR    # rows of a block: their activations stay near the second-level cache
    LARGE_BLOCK = 792         # where a matrix does not stay there: it is read and packed once a block
    LARGE_BYTES = 524288
    FLAT_ROWS = 32            # up to so many rows a large matrix is read row by row: see README.md
    FLAT_ROWS_STRIPS = 12     # where it would be packed in strips: see ../product
    FLAT_BYTES = 131072       # how large
    FLAT_SUMS = 16384         # bytes of sums that stay in the first-level cache
    LEAST_ROWS = 24           # rows that a thread is given rather than columns, if there are as many
    PARTS = 4                 # for each thread: one that is late leaves the last ones to others

ctypedef fused pixel:         # of an image
    uint8_t
    float
    double

cdef struct Layer:
    Py_ssize_t fan_in, fan_out
    const void *w             # IN
    const void *bias
    const void *gamma         # of a hidden layer with a normalization
    const void *beta
    const void *mean          # batch norm; NULL: zeros
    const void *var
    double eps
    const void *gain          # batch norm as a factor of the product and a bias: see fold_layer
    const void *shift
    const void *packed        # the weights as a product reads them, or NULL: see ../product

cdef struct Network:          # and the images that it is asked about
    const void *images        # IN, rows of numbers
    int bytes                 # of such a number: 1 (uint8), 4 or 8
    const double *image_mean  # or NULL
    Layer *layer
    int layers, norm
    size_t itemsize           # of the network's numbers
    Py_ssize_t n, widest      # of the hidden layers
    void *out                 # OUT, (n, classes)
    int activation            # of hidden layers without a normalization
    int output                # what the scores become: IDENTITY, LOGISTIC, EXP or SOFTMAX
    bint folded               # batch norm is folded already
    int blocks, parts
    bint failed               # OUT: out of memory

cdef struct Flat:             # a product of few rows, as the parts see it
    Run run
    Py_ssize_t units, lds
    int parts


cdef inline bint direct(const Network *net) noexcept nogil:
    """The images are read where they lie, unless their rows would fall into few sets of the cache: a product packs
    those, but not a flat one."""
    return (net.image_mean == NULL and net.bytes == <int> net.itemsize
            and (net.layer[0].fan_in * net.bytes % 2048 != 0
                 or (VECTOR_BYTES == 32 and net.n > FLAT_ROWS_STRIPS)))


cdef inline bint fold(Layer *layer, real *gain, real *shift) noexcept nogil:
    """gamma (x + bias - mean) / std + beta = gain x + shift; false where that is not finite: then the two differ."""
    cdef const real *bias = <const real *> layer.bias
    cdef const real *gamma = <const real *> layer.gamma
    cdef const real *beta = <const real *> layer.beta
    cdef const real *mean = <const real *> layer.mean
    cdef const real *var = <const real *> layer.var
    cdef double scale, zero = 0
    cdef Py_ssize_t j
    for j in range(layer.fan_out):
        scale = gamma[j] / sqrt((var[j] if var != NULL else 0) + layer.eps)
        gain[j] = <real> scale
        shift[j] = <real> (beta[j] + (<double> bias[j] - (mean[j] if mean != NULL else 0)) * scale)
        zero += 0 * gain[j] + 0 * shift[j]
    layer.gain, layer.shift = gain, shift
    return zero == 0


cdef inline size_t folded_bytes(const Network *net, int l) noexcept nogil:
    """Of the gain of a hidden layer, and of its shift: whole cache lines."""
    return ceil_div(net.layer[l].fan_out * net.itemsize, 64) * 64


cdef inline bint fold_layer(const Network *net, int l, char *at) noexcept nogil:
    """A hidden layer's batch norm as a gain and behind it a shift, which lie at `at`, 64-byte aligned."""
    cdef char *shift = at + folded_bytes(net, l)
    if net.itemsize == sizeof(float):
        return fold(&net.layer[l], <float *> at, <float *> shift)
    return fold(&net.layer[l], <double *> at, <double *> shift)


cdef inline bint fold_layers(const Network *net, char *at) noexcept nogil:
    """That of all of them."""
    cdef bint finite = True
    cdef int l
    for l in range(net.layers - 1):
        finite = fold_layer(net, l, at) and finite
        at += 2 * folded_bytes(net, l)
    return finite


cdef inline void gather_pixels(const pixel *from_nd, const double *mean, Py_ssize_t rows, Py_ssize_t d, real *to,
                               Py_ssize_t stride) noexcept nogil:
    """The mean is subtracted in double, and the result rounded once."""
    cdef Py_ssize_t _, j
    for _ in range(rows):
        if mean != NULL:
            for j in range(d):
                to[j] = <real> (<double> from_nd[j] - mean[j])
        else:
            for j in range(d):
                to[j] = <real> from_nd[j]
        from_nd += d
        to += stride


cdef inline void gather(const Network *net, Py_ssize_t i0, Py_ssize_t i1, real *to, Py_ssize_t stride) noexcept nogil:
    cdef Py_ssize_t d = net.layer[0].fan_in
    cdef const char *start = <const char *> net.images + i0 * d * net.bytes
    if net.bytes == 1:
        gather_pixels(<const uint8_t *> start, net.image_mean, i1 - i0, d, to, stride)
    elif net.bytes == 4:
        gather_pixels(<const float *> start, net.image_mean, i1 - i0, d, to, stride)
    else:
        gather_pixels(<const double *> start, net.image_mean, i1 - i0, d, to, stride)


cdef inline void layer_norm_row(Py_ssize_t d, const real *gamma, const real *beta, double eps,
                                real *h) noexcept nogil:
    """Layer norm and ReLU of one row, in place; sums in double."""
    cdef double lane[LANES]
    cdef double mean, c
    cdef real m, s, out
    cdef Py_ssize_t block, i, whole = d // LANES * LANES
    cdef int j
    memset(lane, 0, sizeof(lane))
    for block in range(d // LANES):
        for j in range(LANES):
            lane[j] += h[block * LANES + j]
    for j in range(<int> (d - whole)):
        lane[j] += h[whole + j]
    mean = lane_total(lane) / d
    memset(lane, 0, sizeof(lane))
    for block in range(d // LANES):
        for j in range(LANES):
            c = h[block * LANES + j] - mean
            lane[j] += c * c
    for j in range(<int> (d - whole)):
        c = h[whole + j] - mean
        lane[j] += c * c
    m, s = <real> mean, <real> (1 / sqrt(lane_total(lane) / d + eps))
    for i in range(d):
        out = gamma[i] * ((h[i] - m) * s) + beta[i]
        h[i] = 0 if out <= 0 else out  # a comparison with NaN is false: it passes


cdef inline void softmax_in_place(real *x_c, Py_ssize_t c) noexcept nogil:
    """Scores of a row to probabilities: exp(x - top), divided by its sum, which is added up in order."""
    cdef real top = x_c[0], total
    cdef double sum = 0
    cdef Py_ssize_t j
    for j in range(1, c):
        if x_c[j] > top or x_c[j] != x_c[j]:  # NaN stays: nothing compares with it
            top = x_c[j]
    exp_below(x_c, c, top)
    for j in range(c):
        sum += x_c[j]
    total = <real> sum
    for j in range(c):
        x_c[j] /= total


# The product of a layer.

cdef inline Product product_for(const Network *net, int l, Py_ssize_t rows, Py_ssize_t lda,
                                Py_ssize_t ldc) noexcept nogil:
    cdef const Layer *layer = &net.layer[l]
    cdef int flags = TILE_BIAS
    if l + 1 < net.layers and net.norm != LAYER_NORM and net.activation == RELU:
        flags |= TILE_RELU | (TILE_GAIN if net.norm == BATCH_NORM else 0)
    cdef Product p = product_of(rows, layer.fan_out, layer.fan_in, False, False, flags)
    p.lda, p.ldc = lda, ldc
    return p


cdef inline bint is_flat(const Product *p, const Layer *layer, size_t itemsize) noexcept nogil:
    cdef int rows = FLAT_ROWS_STRIPS if VECTOR_BYTES == 32 else FLAT_ROWS
    return HAVE_VECTORS and layer.packed == NULL and p.m <= rows and p.k * p.n * <Py_ssize_t> itemsize >= FLAT_BYTES


cdef inline void plan_either(const Product *p, const Layer *layer, Plan *plan, size_t itemsize,
                             int num_threads) noexcept nogil:
    if layer.packed != NULL:
        plan_packed(p, plan, itemsize, num_threads)
    else:
        plan_product(p, plan, itemsize, num_threads)


cdef inline void flat_sums(const real *x, Py_ssize_t ldx, int rows, const real *w, Py_ssize_t ldw, Py_ssize_t kc,
                           Py_ssize_t cols, real *sums, Py_ssize_t lds) noexcept nogil:
    """The product in strips of columns whose sums stay in the first-level cache."""
    cdef Py_ssize_t width = 2 * VECTOR_BYTES // <Py_ssize_t> sizeof(real)
    cdef Py_ssize_t strip = max(<Py_ssize_t> 1, FLAT_SUMS // (<Py_ssize_t> sizeof(real) * rows * width)) * width, j = 0
    while j < cols:
        flat_strip(x, ldx, rows, w + j, ldw, kc, min(strip, cols - j), sums + j, lds)
        j += strip


cdef inline void flat_store(tile_args *args, real *c, int rows, Py_ssize_t cols, const real *sums,
                            Py_ssize_t lds) noexcept nogil:
    """The sums on their way to C, with what the flags tell, a vector of columns after the other."""
    cdef Py_ssize_t lanes = VECTOR_BYTES // <Py_ssize_t> sizeof(real), at = 0
    cdef const real *bias = <const real *> args.bias
    cdef const real *gain = <const real *> args.gain
    cdef int i
    while at < cols:
        if args.flags & TILE_BIAS:
            args.bias = bias + at
        if args.flags & TILE_GAIN:
            args.gain = gain + at
        for i in range(rows):
            store_tile(args, c + i * args.ldc + at, 1, <int> min(lanes, cols - at), sums + i * lds + at, 1)
        at += lanes
    args.bias, args.gain = bias, gain


cdef inline void flat_part(const Flat *f, int part, real *scratch) noexcept nogil:
    """Some columns. What a part packs lies behind the sums of all."""
    cdef const Product *p = &f.run.product
    cdef Py_ssize_t width = 2 * VECTOR_BYTES // <Py_ssize_t> sizeof(real), whole = p.n - f.run.plan.leftover
    cdef Py_ssize_t j0 = part_start(f.units, f.parts, part) * width
    cdef Py_ssize_t j1 = min(p.n, part_start(f.units, f.parts, part + 1) * width), past = min(j1, whole), k = 0, depth
    cdef const real *a = <const real *> f.run.a
    cdef const real *b = <const real *> f.run.b + j0
    cdef real *sums = scratch + j0
    cdef tile_args args
    cdef Area rest
    args.ldc = p.ldc
    args.cvs = 0
    args.bias = <const real *> f.run.bias + j0
    args.gain = <const real *> f.run.gain + j0 if f.run.gain != NULL else NULL
    args.mask = NULL
    args.scale = 1
    args.prefetch = NULL
    while k < p.k and j0 < past:
        depth = min(f.run.plan.kc, p.k - k)
        flat_sums(a + k, p.lda, <int> p.m, b + k * p.ldb, p.ldb, depth, past - j0, sums, f.lds)
        args.flags = (TILE_ADD if k else 0) | (p.flags if k + depth == p.k else 0)
        flat_store(&args, <real *> f.run.c + j0, <int> p.m, past - j0, sums, f.lds)
        k += depth
    if j1 == p.n and whole < j1:
        rest.i0, rest.i1, rest.j0, rest.j1 = 0, p.m, whole, p.n
        rectangle(&f.run, rest, scratch + p.m * f.lds)


cdef inline void flat_part_of_either(void *arg, int part) noexcept nogil:
    cdef const Flat *f = <const Flat *> arg
    if f.run.itemsize == sizeof(float):
        flat_part(f, part, <float *> f.run.scratch)
    else:
        flat_part(f, part, <double *> f.run.scratch)


cdef inline void tiles_part_of_either(void *arg, int part) noexcept nogil:
    cdef const Run *run = <const Run *> arg
    if run.itemsize == sizeof(float):
        part_of(run, part, <float *> run.scratch)
    else:
        part_of(run, part, <double *> run.scratch)


cdef inline void multiply(const Network *net, int l, const real *a, Py_ssize_t lda, Py_ssize_t rows, real *c,
                          Py_ssize_t ldc, void *pack, int num_threads) noexcept nogil:
    """The affine output of a layer for some rows, with what can be done to it on its way to memory."""
    cdef const Layer *layer = &net.layer[l]
    cdef Flat f
    cdef int parts
    f.run.product = product_for(net, l, rows, lda, ldc)
    f.run.itemsize = sizeof(real)
    f.run.a, f.run.b, f.run.packed, f.run.c, f.run.column_sums, f.run.scratch = a, layer.w, layer.packed, c, NULL, pack
    f.run.bias, f.run.gain = layer.bias, NULL
    if f.run.product.flags & TILE_GAIN:
        f.run.bias, f.run.gain = layer.shift, layer.gain
    if is_flat(&f.run.product, layer, sizeof(real)):
        plan_product(&f.run.product, &f.run.plan, sizeof(real), 1)
        f.units = ceil_div(f.run.product.n, 2 * VECTOR_BYTES // <Py_ssize_t> sizeof(real))
        f.lds = packed_stride(f.run.product.n, sizeof(real))
        f.parts = <int> min(<Py_ssize_t> max(1, num_threads), f.units)
        if f.parts == 1:
            flat_part(&f, 0, <real *> pack)
        else:
            share_out(flat_part_of_either, &f, f.parts, num_threads)
        return
    plan_either(&f.run.product, layer, &f.run.plan, sizeof(real), num_threads)
    parts = f.run.plan.grid.rows * f.run.plan.grid.cols
    if parts == 1:
        part_of(&f.run, 0, <real *> pack)
    else:
        share_out(tiles_part_of_either, &f.run, parts, num_threads)


# A network's parameters in memory of their own, as products read them.

cdef inline size_t pack_weights(const Layer *layer, real *packed) noexcept nogil:
    """Bytes that the packed weights take, whole cache lines; packed may be NULL."""
    cdef Run run
    run.product = product_of(1, layer.fan_out, layer.fan_in, False, False, 0)
    run.b = layer.w
    plan_product(&run.product, &run.plan, sizeof(real), 1)
    return pack_whole(&run, packed) * sizeof(real)


cdef inline void keep(const void **vector, size_t bytes_, char *at) noexcept nogil:
    memcpy(at, vector[0], bytes_)
    vector[0] = at


cdef inline bint pack_network(Network *net, char *at, size_t *bytes_) noexcept nogil:
    """The bytes that it takes; and unless `at` is NULL, the parameters are there from now on, 64-byte aligned. False
    where a batch norm is not finite: see fold."""
    cdef Layer *layer
    cdef bint hidden, finite = True
    cdef size_t all_bytes = 0, vector, size
    cdef char *here
    cdef int l
    for l in range(net.layers):
        layer = &net.layer[l]
        hidden = l + 1 < net.layers
        here = at + all_bytes if at != NULL else NULL
        size = pack_weights(layer, <float *> here) if net.itemsize == sizeof(float) else pack_weights(
            layer, <double *> here)
        vector = folded_bytes(net, l)
        if here != NULL:
            layer.packed, layer.w = here, NULL
            here += size
            if not hidden or net.norm != BATCH_NORM:
                keep(&layer.bias, layer.fan_out * net.itemsize, here)
            else:
                finite = fold_layer(net, l, here) and finite
            if hidden and net.norm == LAYER_NORM:
                keep(&layer.gamma, layer.fan_out * net.itemsize, here + vector)
                keep(&layer.beta, layer.fan_out * net.itemsize, here + 2 * vector)
        all_bytes += size + 3 * vector
    bytes_[0] = all_bytes
    net.folded = at != NULL
    return finite


# Rows through all layers.

cdef inline size_t pack_size(const Network *net, Py_ssize_t rows, int num_threads) noexcept nogil:
    """Elements that the product of any layer takes for packing and sums."""
    cdef size_t most = 0, size
    cdef Py_ssize_t lda
    cdef Product p
    cdef Run run
    cdef bint flat
    cdef int l
    for l in range(net.layers):
        lda = net.layer[0].fan_in if l == 0 and direct(net) else packed_stride(net.layer[l].fan_in, net.itemsize)
        p = product_for(net, l, rows, lda, 0)
        flat = is_flat(&p, &net.layer[l], net.itemsize)
        plan_either(&p, &net.layer[l], &run.plan, net.itemsize, 1 if flat else num_threads)
        size = run.plan.scratch * run.plan.grid.rows * run.plan.grid.cols
        if flat:
            size += rows * packed_stride(p.n, net.itemsize)
        most = max(most, size)
    return most


cdef inline size_t scratch_size(const Network *net, Py_ssize_t rows, int num_threads) noexcept nogil:
    """Bytes that `run_rows` takes: the images, two activations, and what products pack."""
    cdef Py_ssize_t x = 0 if direct(net) else rows * packed_stride(net.layer[0].fan_in, net.itemsize)
    cdef size_t pack = pack_size(net, rows, num_threads)
    if rows > 1:  # other blocks have one row less, which may be computed in the other way
        pack = max(pack, pack_size(net, rows - 1, num_threads))
    return (x + 2 * rows * packed_stride(net.widest, net.itemsize) + pack) * net.itemsize


cdef inline void run_rows(const Network *net, Py_ssize_t i0, Py_ssize_t i1, real *scratch,
                          int num_threads) noexcept nogil:
    """Rows i0..i1 through all layers. num_threads: for each product."""
    cdef Py_ssize_t rows = i1 - i0, features = net.layer[0].fan_in, classes = net.layer[net.layers - 1].fan_out
    cdef Py_ssize_t lda = features, ldc, i
    cdef Py_ssize_t hidden = rows * packed_stride(net.widest, sizeof(real))
    cdef const real *a = <const real *> net.images + i0 * features
    cdef real *c
    cdef real *out = <real *> net.out + i0 * classes
    cdef real *h = scratch
    cdef const Layer *layer
    cdef int l
    if not direct(net):
        lda = packed_stride(features, sizeof(real))
        gather(net, i0, i1, scratch, lda)
        a = scratch
        h += rows * lda
    for l in range(net.layers):
        layer = &net.layer[l]
        if l + 1 == net.layers:
            c, ldc = out, classes
        else:
            c, ldc = h + l % 2 * hidden, packed_stride(layer.fan_out, sizeof(real))
        multiply(net, l, a, lda, rows, c, ldc, h + 2 * hidden, num_threads)
        if net.norm == LAYER_NORM and l + 1 < net.layers:
            for i in range(rows):
                layer_norm_row(layer.fan_out, <const real *> layer.gamma, <const real *> layer.beta, layer.eps,
                               c + i * ldc)
        elif net.activation != RELU and l + 1 < net.layers:
            for i in range(rows):
                activate(net.activation, c + i * ldc, layer.fan_out)
        a, lda = c, ldc
    if net.output == SOFTMAX:
        for i in range(rows):
            softmax_in_place(out + i * classes, classes)
    else:
        activate(net.output, out, rows * classes)


cdef inline void run_block(Network *net, Py_ssize_t i0, Py_ssize_t i1, void *scratch, int num_threads) noexcept nogil:
    if net.itemsize == sizeof(float):
        run_rows(net, i0, i1, <float *> scratch, num_threads)
    else:
        run_rows(net, i0, i1, <double *> scratch, num_threads)


cdef inline void blocks_of_part(void *arg, int part) noexcept nogil:
    """Some blocks of rows, in scratch memory of their own."""
    cdef Network *net = <Network *> arg
    cdef Py_ssize_t block
    cdef void *scratch = scratch_take(scratch_size(net, ceil_div(net.n, net.blocks), 1))
    if scratch == NULL:
        net.failed = True
        return
    for block in range(part_start(net.blocks, net.parts, part), part_start(net.blocks, net.parts, part + 1)):
        run_block(net, part_start(net.n, net.blocks, block), part_start(net.n, net.blocks, block + 1), scratch, 1)
    scratch_give(scratch)


cdef inline int blocks_for(const Network *net, int num_threads) noexcept nogil:
    """Blocks of rows to share out; one of few rows, where the columns of each product are shared out."""
    cdef Py_ssize_t rows = BLOCK, blocks
    cdef int l
    for l in range(net.layers):
        if net.layer[l].fan_in * net.layer[l].fan_out * <Py_ssize_t> net.itemsize > LARGE_BYTES:
            rows = LARGE_BLOCK
    blocks = ceil_div(net.n, rows)
    if blocks < PARTS * num_threads:  # as many for each thread
        blocks = min(ceil_div(blocks, num_threads) * num_threads, net.n // LEAST_ROWS)
    return <int> max(<Py_ssize_t> 1, blocks)


cdef inline int run(Network *net, int num_threads) noexcept nogil:
    """All rows. -1: out of memory; -2: batch norm of something that is not finite, and nothing was done."""
    cdef size_t folded = 0
    cdef char *vectors = NULL
    cdef void *scratch
    cdef int l
    net.failed = False
    if net.norm == BATCH_NORM and not net.folded:
        for l in range(net.layers - 1):
            folded += 2 * folded_bytes(net, l)
        vectors = <char *> scratch_take(folded)
        if vectors == NULL:
            return -1
        if not fold_layers(net, vectors):
            scratch_give(vectors)
            return -2
    net.blocks = blocks_for(net, num_threads)
    if net.blocks == 1:
        scratch = scratch_take(scratch_size(net, net.n, num_threads))
        if scratch == NULL:
            net.failed = True
        else:
            run_block(net, 0, net.n, scratch, num_threads)
            scratch_give(scratch)
    else:
        net.parts = min(net.blocks, PARTS * num_threads)
        share_out(blocks_of_part, net, net.parts, num_threads)
    scratch_give(vectors)
    return -1 if net.failed else 0
