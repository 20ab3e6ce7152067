# What a training step works on: its arrays, and where its scratch lies. See README.md.
from libc.stdint cimport int64_t

from arithmetic cimport ceil_div
from bf16.rounding cimport BF16_WIDTH, BY_AMX, amx_words, bf16_pair_stride, bf16_row_stride, rounded_panels
from norms cimport NO_NORM
from product.tiles cimport MR, VECTOR_BYTES
from step.rules cimport rule_param
from threads.barrier cimport Barrier

cdef extern from "step/panel.h" nogil:
    enum:
        PANEL                 # features of a panel
    Py_ssize_t panel_stride(Py_ssize_t n) noexcept
    void prefetch_now(const void *first, Py_ssize_t bytes) noexcept

cdef enum:
    STRIPS = 4                # panels that a tile of rows passes at a time, where it would leave the second-level cache
    FAR_BYTES = 393216        # so large is a factor of a product then
    KC = 512                  # a block of k: its panel of B and A's block stay in the second-level cache
    SPLITS = 8                # parts of the inner dimension of the first product, when its result is small
    SPLIT_FROM = 1024         # features from which the first product is split
    SPLIT_RESULT = 65536      # elements up to which its result counts as small

cdef struct image_source:     # where the images come from
    const void *images        # rows of `features` numbers
    int bytes                 # of a number: 1 (uint8), 4 (float) or 8 (double)
    const int64_t *index      # rows of the batch; NULL: the images are the batch
    const double *mean        # of each feature, or NULL
    Py_ssize_t n, features    # of the batch

cdef struct step_layer:
    Py_ssize_t fan_in, fan_out
    rule_param weights, bias, gamma, beta
    const void *running_mean  # IN, batch norm
    const void *running_var
    void *next_mean           # OUT
    void *next_var
    double eps, momentum
    const double *uniform     # IN, (n, fan_out); NULL without dropout
    double keep
    # Scratch.
    void *h                   # the output
    void *xhat                # what was normalized, and 1 / standard deviation
    void *inv
    void *dout                # the gradient of the affine output
    void *dbias
    void *dgamma
    void *dbeta
    double *squares           # sums of squares of the weights, for each row of tiles: of whole tiles, then of others
    rounded_panels h_bf16, dout_bf16

cdef struct step_state:
    image_source source
    const int64_t *labels     # IN, of the softmax loss
    const void *targets       # IN, of the other losses: rows of as many numbers as the network has outputs
    const void *sample_weight  # IN, or NULL
    const int64_t *drawn      # where a sample has its label, target and weight; NULL: they lie as the batch does
    double total              # the number of samples, or the sum of their weights
    int loss
    bint printed              # see output_loss.pxd
    int activation            # of hidden layers without a normalization
    void *dx                  # OUT, laid out as the images: their gradient where they are positive, else 0; or NULL
    int rule, norm, layers
    int bf16                  # products of factors rounded to bfloat16: 0 or BY_; float alone, where HAVE_BF16
    step_layer *layer         # the last one gives the scores
    # Scratch.
    char *scratch
    void *x                   # the batch
    void *partial             # the parts of the first product
    void *scores
    void *dscores
    void *pack                # of each thread: pack_each elements
    Py_ssize_t pack_each
    double *row_loss
    rounded_panels x_bf16
    Barrier barrier           # between the phases


cdef inline Py_ssize_t lanes_of(size_t itemsize) noexcept nogil:
    """Numbers in a vector."""
    return VECTOR_BYTES // itemsize


cdef inline Py_ssize_t column_unit(size_t itemsize) noexcept nogil:
    """Columns are shared out by so many: whole panels, whole pairs of vectors."""
    return max(2 * lanes_of(itemsize), <Py_ssize_t> PANEL)


cdef inline int splits_of(const step_state *s) noexcept nogil:
    """Parts of the inner dimension of the first product: they follow from the shape alone."""
    if (s.layers > 1 and s.source.features >= SPLIT_FROM
            and s.source.n * s.layer[0].fan_out <= SPLIT_RESULT):
        return SPLITS
    return 1


cdef inline void *reserve(step_state *s, size_t *taken, Py_ssize_t count, size_t size) noexcept nogil:
    """The next `count` things of the scratch; without a scratch they are only counted."""
    cdef size_t start = taken[0]
    taken[0] += ceil_div(count * <Py_ssize_t> size, 64) * 64
    return NULL if s.scratch == NULL else s.scratch + start


cdef inline void reserve_rounded(step_state *s, size_t *taken, rounded_panels *to, Py_ssize_t features) noexcept nogil:
    cdef Py_ssize_t n = s.source.n
    to.amx = s.bf16 == BY_AMX
    to.row_stride = bf16_row_stride(features)
    to.pair_stride = bf16_pair_stride(n)
    to.along = <unsigned *> reserve(s, taken, n * to.row_stride if s.bf16 else 0, sizeof(unsigned))
    to.across = <unsigned *> reserve(
        s, taken, ceil_div(features, BF16_WIDTH) * to.pair_stride if s.bf16 else 0, sizeof(unsigned))


cdef inline size_t lay_out(step_state *s, size_t itemsize, int num_threads) noexcept nogil:
    """Give every array its place in the scratch; returns the bytes taken."""
    cdef size_t taken = 0
    cdef Py_ssize_t n = s.source.n, stride = panel_stride(n), width = 2 * lanes_of(itemsize)
    cdef Py_ssize_t classes = s.layer[s.layers - 1].fan_out, widest = 0, panels
    cdef int l, splits = splits_of(s)
    cdef bint hidden, normed
    cdef step_layer *layer
    s.x = reserve(s, &taken, ceil_div(s.source.features, PANEL) * stride, itemsize)
    reserve_rounded(s, &taken, &s.x_bf16, s.source.features)
    s.partial = reserve(
        s, &taken, splits * ceil_div(s.layer[0].fan_out, PANEL) * stride if splits > 1 else 0, itemsize)
    s.scores = reserve(s, &taken, n * classes, itemsize)
    s.dscores = reserve(s, &taken, n * classes, itemsize)
    s.row_loss = <double *> reserve(s, &taken, n, sizeof(double))
    # Panels of the right factor; leftover columns of it, or tiles of a gradient.
    s.pack_each = STRIPS * width * KC + width // 2 * KC // 4 + MR * width
    if s.bf16 == BY_AMX:
        for l in range(s.layers):
            widest = max(widest, s.layer[l].fan_out)
        s.pack_each = max(s.pack_each, amx_words(n, widest))
    s.pack = reserve(s, &taken, s.pack_each * num_threads, itemsize)
    for l in range(s.layers):
        layer = &s.layer[l]
        panels = ceil_div(layer.fan_out, PANEL)
        hidden = l + 1 < s.layers
        normed = hidden and s.norm != NO_NORM
        layer.h = reserve(s, &taken, panels * stride if hidden else 0, itemsize)
        layer.dout = reserve(s, &taken, panels * stride, itemsize)
        if hidden:
            reserve_rounded(s, &taken, &layer.h_bf16, layer.fan_out)
        reserve_rounded(s, &taken, &layer.dout_bf16, layer.fan_out)
        layer.xhat = reserve(s, &taken, panels * stride if normed else 0, itemsize)
        layer.inv = reserve(s, &taken, panels * PANEL + n if normed else 0, itemsize)
        layer.dbias = reserve(s, &taken, panels * PANEL, itemsize)
        layer.dgamma = reserve(s, &taken, panels * PANEL, itemsize)
        layer.dbeta = reserve(s, &taken, panels * PANEL, itemsize)
        layer.squares = <double *> reserve(s, &taken, ceil_div(layer.fan_in, PANEL) * PANEL, sizeof(double))
    return taken
