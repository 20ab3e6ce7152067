"""Scores of a fully-connected network for any number of images, or probabilities: one kernel, which keeps nothing.

The loops are in predict/network.pxd: see predict/README.md.
"""

import numpy as np

cimport cython
cimport numpy as cnp
from cpython.mem cimport PyMem_Calloc, PyMem_Free

from activations cimport EXP, IDENTITY, LOGISTIC, RELU, SOFTMAX, hidden_activations
from norms cimport BATCH_NORM, NO_NORM, norms_by_name
from predict.network cimport Network, Layer, pack_network, run
from sharing cimport serial_picoseconds
from step.arrays cimport check, check_out, check_shape, check_size, real_type

cnp.import_array()

cdef dict SCORE_NORMS = norms_by_name()
cdef dict SCORE_ACTIVATIONS = hidden_activations()
cdef dict SCORE_OUTPUTS = {"identity": IDENTITY, "logistic": LOGISTIC, "softmax": SOFTMAX, "exp": EXP}
# A multiply-add takes 20 ps. The pool's threads look for work, so a twentieth of what OpenMP needs is shared out.
cdef double SCORE_PICOSECONDS = 400


cdef const void *read_vector(str name, object array, int t, Py_ssize_t size) except? NULL:
    if not isinstance(array, cnp.ndarray):
        raise TypeError(f"scores: {name} is a {type(array).__name__}, expected an ndarray")
    check("scores", name, array, t, 1)
    check_size("scores", name, array, size)
    return cnp.PyArray_DATA(<cnp.ndarray> array)


cdef object value(dict mapping, str key, list held):
    """What `mapping` has under a key, held until the call is over: another thread may put another array there."""
    found = mapping[key]
    held.append(found)
    return found


cdef int read_layer(Layer *layer, dict params, object names, dict entry, int norm, int t, Py_ssize_t fan_in,
                    list held) except -1:
    """names: of weights and bias, and with a normalization also of gamma and beta; then entry is one of bn_params."""
    weights, bias, *rest = names  # unpacked, which checks the length
    w = value(params, weights, held)
    if not isinstance(w, cnp.ndarray):
        raise TypeError(f"scores: weights are a {type(w).__name__}, expected an ndarray")
    check("scores", "weights", w, t, 2)
    check_shape("scores", "weights", w, fan_in, cnp.PyArray_DIM(<cnp.ndarray> w, 1))
    layer.fan_in, layer.fan_out = fan_in, cnp.PyArray_DIM(<cnp.ndarray> w, 1)
    if fan_in == 0 or layer.fan_out == 0:
        raise ValueError("scores: a layer has no inputs or no outputs")
    layer.w = cnp.PyArray_DATA(<cnp.ndarray> w)
    layer.bias = read_vector("bias", value(params, bias, held), t, layer.fan_out)
    if norm == NO_NORM:
        return 0
    if entry is None:
        raise TypeError("scores: an entry of a normalization is None, expected a dict")
    gamma, beta = rest
    layer.gamma = read_vector("gamma", value(params, gamma, held), t, layer.fan_out)
    layer.beta = read_vector("beta", value(params, beta, held), t, layer.fan_out)
    layer.eps = entry.get("eps", 1e-5)
    if norm == BATCH_NORM and entry.get("running_mean") is not None:
        layer.mean = read_vector("running_mean", value(entry, "running_mean", held), t, layer.fan_out)
    if norm == BATCH_NORM and entry.get("running_var") is not None:
        layer.var = read_vector("running_var", value(entry, "running_var", held), t, layer.fan_out)
    return 0


cdef double read_layers(Network *net, dict params, list names, list entries, norm, activation, int t,
                        Py_ssize_t fan_in, list held) except -1:
    """All layers of the network, in memory that the caller frees. Returns the multiply-adds of a sample."""
    cdef int count = <int> len(names), l
    cdef bint norms
    cdef double work = 0
    net.norm, net.layers, net.widest, net.activation = SCORE_NORMS[norm], count, 0, SCORE_ACTIVATIONS[activation]
    net.itemsize = sizeof(float) if t == cnp.NPY_FLOAT else sizeof(double)
    net.folded = False
    if net.norm != NO_NORM and net.activation != RELU:
        raise ValueError(f"scores: activation is {activation!r}, expected 'relu' with a normalization")
    if count == 0:
        raise ValueError("scores: names are empty, expected at least one layer")
    if net.norm != NO_NORM and (entries is None or len(entries) < count - 1):
        raise ValueError("scores: entries are fewer than the hidden layers")
    net.layer = <Layer *> PyMem_Calloc(count, sizeof(Layer))
    if net.layer == NULL:
        raise MemoryError
    for l in range(count):
        norms = net.norm != NO_NORM and l + 1 < count
        read_layer(&net.layer[l], params, names[l], entries[l] if norms else None, net.norm if norms else NO_NORM, t,
                  fan_in, held)
        work += <double> fan_in * net.layer[l].fan_out
        fan_in = net.layer[l].fan_out
        if l + 1 < count:
            net.widest = max(net.widest, fan_in)
    return work


@cython.auto_pickle(False)  # addresses mean nothing in another process
cdef class Packed:
    """A network's parameters, as they were when `pack` was called, laid out as its products read them."""
    cdef Network net
    cdef double work
    cdef object memory

    def __dealloc__(self):
        PyMem_Free(self.net.layer)


def pack(
    dict params not None,            # IN
    list names not None,             # of each layer's parameters: see read_layer
    list entries,                    # IN: bn_params, read with a normalization
    norm,                            # of the hidden layers: None, 'batchnorm' or 'layernorm'
    activation="relu",               # of the hidden layers; with a normalization 'relu' alone
):
    """The parameters for `scores_packed`, in memory of their own: about as much as they take.

    A batch norm that is not finite is a ValueError, as for `scores`.
    """
    cdef Packed packed = Packed.__new__(Packed)
    cdef size_t bytes_
    cdef char *at
    cdef bint finite
    cdef list held = []
    if not names:
        raise ValueError("pack: names are empty, expected at least one layer")
    first = params[names[0][0]]
    if not isinstance(first, cnp.ndarray) or cnp.PyArray_NDIM(<cnp.ndarray> first) != 2:
        raise TypeError("pack: weights are no matrix")
    packed.work = read_layers(&packed.net, params, names, entries, norm, activation,
                             real_type("pack", "weights", first), cnp.PyArray_DIM(<cnp.ndarray> first, 0), held)
    pack_network(&packed.net, NULL, &bytes_)
    packed.memory = np.empty(bytes_ + 64, np.uint8)
    at = <char *> cnp.PyArray_DATA(<cnp.ndarray> packed.memory)
    at += 63 - (<size_t> at + 63) % 64
    with nogil:
        finite = pack_network(&packed.net, at, &bytes_)
    if not finite:
        raise ValueError("pack: gamma, beta or statistics are not finite")
    return packed


cdef int set_images(Network *net, cnp.ndarray images_nd, cnp.ndarray mean_d) except -1:
    cdef int t = cnp.PyArray_TYPE(images_nd)
    if t != cnp.NPY_UINT8 and t != cnp.NPY_FLOAT and t != cnp.NPY_DOUBLE:
        raise TypeError(f"scores: images have dtype {images_nd.dtype}, expected uint8, float32 or float64")
    check("scores", "images", images_nd, t, 2)
    net.images, net.n = cnp.PyArray_DATA(images_nd), cnp.PyArray_DIM(images_nd, 0)
    net.bytes = 1 if t == cnp.NPY_UINT8 else 4 if t == cnp.NPY_FLOAT else 8
    net.image_mean = NULL
    if mean_d is not None:
        net.image_mean = <const double *> read_vector("mean", mean_d, cnp.NPY_DOUBLE, cnp.PyArray_DIM(images_nd, 1))
    return 0


cdef int set_out(Network *net, cnp.ndarray out_nc, output) except -1:
    """Where the scores go, of the type of the network's numbers; the layers are known."""
    check_out("scores", "out", out_nc, cnp.NPY_FLOAT if net.itemsize == sizeof(float) else cnp.NPY_DOUBLE, 2)
    check_shape("scores", "out", out_nc, net.n, net.layer[net.layers - 1].fan_out)
    net.out, net.output = cnp.PyArray_DATA(out_nc), SCORE_OUTPUTS[output]
    return 0


cdef int compute(Network *net, double work, int num_threads) except -1:
    cdef int status
    if net.n == 0:
        return 0
    num_threads = 1 if work * net.n * SCORE_PICOSECONDS < serial_picoseconds else max(1, num_threads)
    with nogil:
        status = run(net, num_threads)
    if status == -2:
        raise ValueError("scores: gamma, beta or statistics are not finite")
    if status != 0:
        raise MemoryError("scores: no memory for the activations")
    return 0


def scores(
    cnp.ndarray images_nd not None,  # IN: rows of uint8, float32 or float64
    cnp.ndarray mean_d,              # IN: float64, subtracted from them; or None
    dict params not None,            # IN
    list names not None,             # of each layer's parameters: see read_layer
    list entries,                    # IN: bn_params, read with a normalization
    norm,                            # of the hidden layers: None, 'batchnorm' or 'layernorm'
    cnp.ndarray out_nc not None,     # OUT
    output,                          # what the scores become: 'identity', 'softmax', 'logistic' or 'exp'
    int num_threads,
    activation="relu",               # of the hidden layers; with a normalization 'relu' alone
):
    """The images through the network, in test mode: dropout keeps all, batch norm takes its running statistics.

    The bits of a row do not depend on the rows beside it, nor on num_threads. A batch norm that is not finite is a
    ValueError: it is folded into the product, and would give NaN where it gives infinity by itself.
    """
    cdef list held = []
    cdef double work
    cdef Network net
    net.layer = NULL
    set_images(&net, images_nd, mean_d)
    try:
        work = read_layers(&net, params, names, entries, norm, activation, real_type("scores", "out", out_nc),
                          cnp.PyArray_DIM(images_nd, 1), held)
        set_out(&net, out_nc, output)
        compute(&net, work, num_threads)
    finally:
        PyMem_Free(net.layer)


def scores_packed(
    cnp.ndarray images_nd not None,  # IN: rows of uint8, float32 or float64
    cnp.ndarray mean_d,              # IN: float64, subtracted from them; or None
    Packed packed not None,          # IN
    cnp.ndarray out_nc not None,     # OUT, of the type of the parameters
    output,                          # what the scores become: 'identity', 'softmax', 'logistic' or 'exp'
    int num_threads,
):
    """The same from packed parameters, to the bit."""
    cdef Network net = packed.net  # of this call: others may read the same parameters at the same time
    if net.layer == NULL:
        raise ValueError("scores: packed holds nothing: it is made by pack")
    set_images(&net, images_nd, mean_d)
    check_shape("scores", "images", images_nd, net.n, net.layer[0].fan_in)
    set_out(&net, out_nc, output)
    compute(&net, packed.work, num_threads)
