# A training step: gather, forward, loss, backward, and the update of every parameter, in one parallel region.
#
# It is a sequence of phases with a barrier after each. In a phase every thread has a share: samples, or panels
# of features, or blocks of the inner dimension. Which share it is changes no bit: an element is always the same
# chain of additions, and sums over shares have fixed blocks that follow from the shape.
from libc.stdint cimport int64_t
from libc.string cimport memset

from activations cimport RELU
from arithmetic cimport ceil_div, part_start
from bf16.rounding cimport BF16_CUTS, BF16_WIDTH, BY_AMX, HAVE_BF16, round_panels
from bf16.step cimport rounded_input, update_weights_amx, update_weights_bf16
from norms cimport BATCH_NORM, LAYER_NORM, NO_NORM
from product.grid cimport Area, Grid, area_of, grid_of
from product.tiles cimport TILE_BIAS, TILE_MASK, TILE_RELU
from real cimport real
from step.activating cimport activate_area, activate_area_backward
from step.layout cimport KC, PANEL, STRIPS, column_unit, lanes_of, panel_stride, splits_of, step_layer, step_state
from step.operands cimport product_of, step_product
from step.output_loss cimport SOFTMAX_LOSS, loss_row, softmax_row
from step.panels cimport (
    add_partials, batch_norm_panel, batch_norm_panel_backward, clear_rest, dropout_panel, features_in, gather,
    layer_norm_sample, layer_norm_sample_backward, norm_sums, prefetch_images)
from step.products cimport multiply, share
from step.update cimport tile_rows, update_first_weights, update_vectors, update_weights
from threads.barrier cimport barrier_wait, team

cdef enum:
    GATHERED = 16  # panels gathered at once: their rows stay in the second-level cache


cdef inline void gather_and_multiply(step_state *s, int part, int parts, real *pack) noexcept nogil:
    """The first product in parts. A thread gathers what it multiplies, which stays in its own cache: some blocks
    of features, of all samples where the threads are few. bfloat16 pairs samples: these are cut between pairs."""
    cdef step_layer *layer = &s.layer[0]
    cdef Py_ssize_t n = s.source.n, stride = panel_stride(n), features = s.source.features
    cdef Py_ssize_t panels = ceil_div(features, PANEL), part_stride = ceil_div(layer.fan_out, PANEL) * stride
    cdef int splits = splits_of(s)
    cdef Grid grid = grid_of(n, features, ceil_div(features, splits), parts)
    cdef int row = part // grid.cols, col = part % grid.cols
    cdef Py_ssize_t i0 = 2 * part_start(ceil_div(n, 2), grid.rows, row)
    cdef Py_ssize_t i1 = min(n, 2 * part_start(ceil_div(n, 2), grid.rows, row + 1))
    cdef Py_ssize_t s0 = part_start(splits, grid.cols, col), s1 = part_start(splits, grid.cols, col + 1)
    cdef Py_ssize_t split, p0, p1, end
    cdef real *x = <real *> s.x
    cdef step_product p
    if row >= grid.rows:
        return
    for split in range(s0, s1):
        p0, p1 = part_start(panels, splits, split), part_start(panels, splits, split + 1)
        end = min(features, p1 * PANEL)
        p = product_of(x, stride, layer.weights.w, layer.fan_out, False, <real *> s.partial + split * part_stride, True,
                       layer.fan_out, &s.x_bf16 if s.bf16 else NULL)
        p.next_images = &s.source
        p.next_j0 = p.next_j1 = end
        if split + 1 < s1:
            p.next_j1 = min(features, part_start(panels, splits, split + 2) * PANEL)
        if split == s0:
            prefetch_images(&s.source, NULL, i0, i1, p0 * PANEL, end)
        gather(&s.source, i0, i1, p0, p1, x, stride)
        if s.bf16:
            round_panels(&s.x_bf16, n, i0, i1, p0, p1, panels, x)
        multiply(&p, i0, i1, 0, p.cols, p0 * PANEL, end, pack)


cdef inline void gather_panels(step_state *s, int part, int parts, real *x) noexcept nogil:
    """The batch: a thread's panels."""
    cdef Py_ssize_t n = s.source.n, features = s.source.features, panels = ceil_div(features, PANEL)
    cdef Py_ssize_t p = part_start(panels, parts, part), past = part_start(panels, parts, part + 1), end
    while p < past:
        end = min(past, p + GATHERED)
        prefetch_images(&s.source, NULL, 0, n, p * PANEL, min(features, end * PANEL))
        gather(&s.source, 0, n, p, end, x, panel_stride(n))
        if s.bf16:
            round_panels(&s.x_bf16, n, 0, n, p, end, panels, x)
        p = end


cdef inline void normalize_and_drop(step_state *s, step_layer *layer, bint own_panels, int part, int parts,
                                    real *h) noexcept nogil:
    """Normalization, ReLU after it, and dropout of a hidden layer whose affine output is in h. own_panels: this
    thread has computed the panels that it normalizes."""
    cdef Py_ssize_t n = s.source.n, stride = panel_stride(n), d = layer.fan_out, panels = ceil_div(d, PANEL), p, i
    cdef Py_ssize_t p0 = part_start(panels, parts, part), p1 = part_start(panels, parts, part + 1)
    cdef const real *gamma = <const real *> layer.gamma.w
    cdef const real *beta = <const real *> layer.beta.w
    cdef real *xhat = <real *> layer.xhat
    cdef real *inv = <real *> layer.inv
    if s.norm == LAYER_NORM or (not own_panels and (s.norm == BATCH_NORM or layer.uniform != NULL or s.bf16)):
        barrier_wait(&s.barrier, parts)  # what follows reads what others computed
    if s.norm == BATCH_NORM:
        for p in range(p0, p1):
            batch_norm_panel(
                n, features_in(d, p), gamma + p * PANEL, beta + p * PANEL, layer.eps, layer.momentum,
                <const real *> layer.running_mean + p * PANEL, <const real *> layer.running_var + p * PANEL,
                h + p * stride, xhat + p * stride, inv + p * PANEL,
                <real *> layer.next_mean + p * PANEL, <real *> layer.next_var + p * PANEL)
    elif s.norm == LAYER_NORM:
        for i in range(part_start(n, parts, part), part_start(n, parts, part + 1)):
            layer_norm_sample(i, d, stride, gamma, beta, layer.eps, h, xhat, inv)
        if layer.uniform != NULL or s.bf16:
            barrier_wait(&s.barrier, parts)
    if layer.uniform != NULL:
        for p in range(p0, p1):
            dropout_panel(n, features_in(d, p), layer.uniform + p * PANEL, d, layer.keep, h + p * stride)
    if s.bf16:
        round_panels(&layer.h_bf16, n, 0, n, p0, p1, panels, h)


cdef inline void forward(step_state *s, int part, int parts, real *pack) noexcept nogil:
    """The batch and every hidden layer."""
    cdef Py_ssize_t n = s.source.n, stride = panel_stride(n), q
    cdef bint relu = s.norm == NO_NORM and s.activation == RELU, own_panels, split = splits_of(s) > 1
    cdef int l
    cdef step_layer *layer
    cdef real *h
    cdef step_product p
    cdef Grid grid
    cdef Area own
    if split:
        gather_and_multiply(s, part, parts, pack)
    else:
        gather_panels(s, part, parts, <real *> s.x)
    barrier_wait(&s.barrier, parts)
    for l in range(s.layers - 1):
        layer = &s.layer[l]
        h = <real *> layer.h
        if l == 0 and split:
            own_panels = True
            for q in range(part_start(ceil_div(layer.fan_out, PANEL), parts, part),
                           part_start(ceil_div(layer.fan_out, PANEL), parts, part + 1)):
                add_partials(s, q, relu, h + q * stride)
                if s.activation != RELU:
                    own.i0, own.i1, own.j0, own.j1 = 0, n, q * PANEL, min(layer.fan_out, (q + 1) * PANEL)
                    activate_area(s, own, layer.fan_out, h)
        else:
            p = product_of(s.layer[l - 1].h if l else s.x, stride, layer.weights.w, layer.fan_out, False, h, True,
                           layer.fan_out, rounded_input(s, l))
            p.bias = layer.bias.w
            p.flags = TILE_BIAS | (TILE_RELU if relu else 0)
            grid = grid_of(n, layer.fan_out, column_unit(sizeof(real)), parts)
            if part == 0:
                clear_rest(n, layer.fan_out, h)
            share(&p, grid, n, layer.fan_in, part, pack)
            if s.activation != RELU:
                activate_area(s, area_of(grid, n, layer.fan_out, column_unit(sizeof(real)), part), layer.fan_out, h)
            # Whole units of columns were shared out; only an even cut is the same for panels.
            own_panels = grid.cols == parts and layer.fan_out % (column_unit(sizeof(real)) * parts) == 0
        normalize_and_drop(s, layer, own_panels, part, parts, h)
        barrier_wait(&s.barrier, parts)


cdef inline double any_loss(const step_state *s, Py_ssize_t i, Py_ssize_t c, const real *scores,
                            real *dscores) noexcept nogil:
    """The loss of sample i, times its weight."""
    cdef Py_ssize_t row = i if s.drawn == NULL else s.drawn[i]
    cdef double weight = 1 if s.sample_weight == NULL else (<const real *> s.sample_weight)[row]
    if s.loss == SOFTMAX_LOSS:
        return loss_row(s.loss, s.printed, scores, s.labels[row], NULL, c, weight, s.total, dscores)
    return loss_row(s.loss, s.printed, scores, 0, <const real *> s.targets + row * c, c, weight, s.total, dscores)


cdef inline void loss(step_state *s, int part, int parts, real *pack) noexcept nogil:
    """Scores and their loss: a thread's samples."""
    cdef step_layer *layer = &s.layer[s.layers - 1]
    cdef Py_ssize_t n = s.source.n, stride = panel_stride(n), c = layer.fan_out, panels = ceil_div(c, PANEL), i, j
    cdef Py_ssize_t i0 = part_start(n, parts, part), i1 = part_start(n, parts, part + 1)
    cdef real *dout = <real *> layer.dout
    cdef real *dscores
    cdef step_product p = product_of(
        s.layer[s.layers - 2].h if s.layers > 1 else s.x, stride, layer.weights.w, c, False, s.scores, False, c,
        rounded_input(s, s.layers - 1))
    p.bias, p.flags = layer.bias.w, TILE_BIAS
    multiply(&p, i0, i1, 0, c, 0, layer.fan_in, pack)
    for i in range(i0, i1):
        dscores = <real *> s.dscores + i * c
        if s.loss == SOFTMAX_LOSS and s.drawn == NULL and s.sample_weight == NULL and not s.printed:
            s.row_loss[i] = softmax_row(<const real *> s.scores + i * c, s.labels[i], c, <real> n, dscores)
        else:
            s.row_loss[i] = any_loss(s, i, c, <const real *> s.scores + i * c, dscores)
        for j in range(panels * PANEL):
            dout[j // PANEL * stride + i * PANEL + j % PANEL] = dscores[j] if j < c else 0
    barrier_wait(&s.barrier, parts)
    if s.bf16:
        round_panels(&layer.dout_bf16, n, 0, n, part_start(panels, parts, part), part_start(panels, parts, part + 1),
                     panels, dout)
        barrier_wait(&s.barrier, parts)


cdef inline void normalize_backward(step_state *s, step_layer *layer, int part, int parts, real *dout) noexcept nogil:
    """The gradient through the normalization, in place, and those of gamma and beta."""
    cdef Py_ssize_t n = s.source.n, stride = panel_stride(n), d = layer.fan_out, panels = ceil_div(d, PANEL), p, i
    cdef const real *gamma = <const real *> layer.gamma.w
    cdef const real *xhat = <const real *> layer.xhat
    cdef const real *inv = <const real *> layer.inv
    cdef real *dgamma = <real *> layer.dgamma
    cdef real *dbeta = <real *> layer.dbeta
    for p in range(part_start(panels, parts, part), part_start(panels, parts, part + 1)):
        if s.norm == BATCH_NORM:
            batch_norm_panel_backward(
                n, features_in(d, p), gamma + p * PANEL, xhat + p * stride, inv + p * PANEL, dout + p * stride,
                dgamma + p * PANEL, dbeta + p * PANEL)
        else:
            norm_sums(n, dout + p * stride, xhat + p * stride, dgamma + p * PANEL, dbeta + p * PANEL)
    if s.norm == LAYER_NORM:
        barrier_wait(&s.barrier, parts)
        for i in range(part_start(n, parts, part), part_start(n, parts, part + 1)):
            layer_norm_sample_backward(i, d, stride, gamma, xhat, inv, dout)
        if s.bf16:
            barrier_wait(&s.barrier, parts)


cdef inline void backward(step_state *s, int part, int parts, real *pack) noexcept nogil:
    """The gradient of each layer's affine output, from the last to the first."""
    cdef Py_ssize_t n = s.source.n, stride = panel_stride(n), d, panels
    cdef step_layer *upper
    cdef step_layer *layer
    cdef real *dout
    cdef step_product p
    cdef Grid grid
    cdef int l
    for l in range(s.layers - 1, 0, -1):
        upper, layer = &s.layer[l], &s.layer[l - 1]
        dout, d, panels = <real *> layer.dout, layer.fan_out, ceil_div(layer.fan_out, PANEL)
        p = product_of(upper.dout, stride, upper.weights.w, upper.fan_out, True, dout, True, d,
                       &upper.dout_bf16 if s.bf16 else NULL)
        if s.activation == RELU:
            p.mask, p.flags = layer.h, TILE_MASK
        if layer.uniform != NULL:
            p.scale = 1 / layer.keep
        if part == 0:
            clear_rest(n, d, dout)
        grid = grid_of(n, d, column_unit(sizeof(real)), parts)
        share(&p, grid, n, upper.fan_out, part, pack)
        if s.activation != RELU:
            activate_area_backward(s, area_of(grid, n, d, column_unit(sizeof(real)), part), d, <const real *> layer.h,
                                   dout)
        barrier_wait(&s.barrier, parts)
        if s.norm != NO_NORM:
            normalize_backward(s, layer, part, parts, dout)
        if s.bf16:
            round_panels(&layer.dout_bf16, n, 0, n, part_start(panels, parts, part),
                         part_start(panels, parts, part + 1), panels, dout)
        if s.norm != NO_NORM or s.bf16:
            barrier_wait(&s.barrier, parts)


cdef inline void update_all(step_state *s, int part, int parts, real *pack) noexcept nogil:
    cdef real *scratch = pack + STRIPS * 2 * lanes_of(sizeof(real)) * KC  # behind the packed panels
    cdef Py_ssize_t t0, t1
    cdef int l
    for l in range(s.layers - 1, -1, -1):
        t0 = part_start(tile_rows(&s.layer[l]), parts, part)
        t1 = part_start(tile_rows(&s.layer[l]), parts, part + 1)
        update_vectors(s, l, part, parts, pack)
        if HAVE_BF16 and s.bf16 == BY_AMX:
            update_weights_amx(s, l, part, parts, <unsigned *> pack)
        elif HAVE_BF16 and s.bf16:
            update_weights_bf16(s, l, part, parts)
        elif l == 0 and s.dx != NULL:
            update_first_weights(s, t0, t1, pack, scratch)
        else:
            update_weights(s, l, t0, t1, scratch)


cdef inline void run_phases(step_state *s, int part, int parts, real *pack) noexcept nogil:
    """A thread's part of the step. pack: of all threads."""
    pack += part * s.pack_each
    forward(s, part, parts, pack)
    loss(s, part, parts, pack)
    backward(s, part, parts, pack)
    update_all(s, part, parts, pack)
    barrier_wait(&s.barrier, parts)


cdef inline void run_phases_float(void *s, int part, int parts) noexcept nogil:
    run_phases(<step_state *> s, part, parts, <float *> (<step_state *> s).pack)


cdef inline void run_phases_double(void *s, int part, int parts) noexcept nogil:
    run_phases(<step_state *> s, part, parts, <double *> (<step_state *> s).pack)


cdef inline double run_step(step_state *s, size_t itemsize, int num_threads) noexcept nogil:
    """Run the step and return its loss: the mean over the samples and the penalty of the weights."""
    cdef double total = 0, squares
    cdef Py_ssize_t i, sums
    cdef step_layer *layer
    cdef int l
    memset(&s.barrier, 0, sizeof(s.barrier))
    team(run_phases_float if itemsize == sizeof(float) else run_phases_double, s, num_threads)
    for i in range(s.source.n):
        total += s.row_loss[i]
    total /= s.total
    for l in range(s.layers):
        layer = &s.layer[l]
        if layer.weights.reg == 0:
            continue
        if s.bf16:
            sums = ceil_div(layer.fan_in, BF16_WIDTH) * BF16_CUTS
        else:
            sums = 2 * tile_rows(layer)
        squares = 0
        for i in range(sums):
            squares += layer.squares[i]
        total += 0.5 * layer.weights.reg * squares
    return total
