"""One training step of a fully-connected network: batch, loss, gradients and update in one call.

The kernel is step/phases.pxd: see step/README.md. The entry acquires every array by hand: a step has dozens
of them.
"""

cimport numpy as cnp
from cpython.dict cimport PyDict_Next, PyDict_SetItem
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport int64_t

from bf16.rounding cimport BY_AMX, HAVE_AMX, HAVE_BF16
from real cimport real
from sharing cimport serial_picoseconds, set_serial_picoseconds
from step.arrays cimport check, check_out, check_shape, check_size, real_type
from step.layout cimport (
    BATCH_NORM, LAYER_NORM, NO_NORM, image_source, lay_out, step_layer, step_state)
from step.phases cimport run_step
from step.rules cimport (
    STORE, rule_param, rule_update, rules, rules_by_name, set_numbers, set_update, update_vector)
from threads.threads cimport scratch_give, scratch_take

cdef extern from "Python.h":
    void Py_SET_SIZE(list items, Py_ssize_t size)

cnp.import_array()


def share_from(double picoseconds):
    return set_serial_picoseconds(picoseconds)


# A parameter of what lies in front of the network, with its gradient and what is added to that.
cdef struct Front:
    rule_param param
    void *grad
    const void *decay
    Py_ssize_t size

RULES = {None: STORE, **rules_by_name()}
NORMS = {None: NO_NORM, "batchnorm": BATCH_NORM, "layernorm": LAYER_NORM}


class LabelError(ValueError):
    """A label is none of the classes; nothing was done."""


# A multiply-add and what comes with it in a small network, against serial_picoseconds.
cdef double PICOSECONDS = 100


cdef void *_writable(str label, object array, int t, Py_ssize_t rows, Py_ssize_t columns) except NULL:
    """Data of an array that the step writes; columns < 0 asks for a vector."""
    cdef void *data = _readable(label, array, t, rows, columns)
    check_out("train_step", label, array, t)
    return data


cdef void *_readable(str label, object array, int t, Py_ssize_t rows, Py_ssize_t columns) except NULL:
    if not isinstance(array, cnp.ndarray):
        raise TypeError(f"train_step: {label} is a {type(array).__name__}, expected an ndarray")
    check("train_step", label, array, t, 1 if columns < 0 else 2)
    if columns < 0:
        check_size("train_step", label, array, rows)
    else:
        check_shape("train_step", label, array, rows, columns)
    return cnp.PyArray_DATA(<cnp.ndarray> array)


cdef int _set_numbers(rule_param *p, tuple numbers) except -1:
    rate, keep1, keep2, eps, weight_decay, t = numbers  # unpacked, which checks the length
    set_numbers(p, rate, keep1, keep2, eps, weight_decay, t)
    return 0


cdef int _set_param(rule_param *p, str label, tuple arrays, tuple numbers, double reg, int rule, int t,
                    Py_ssize_t rows, Py_ssize_t columns) except -1:
    """arrays: (w, grad, None) to store a gradient, else (w, first state, second state)."""
    w, first, second = arrays  # unpacked, which checks the length; an index is not checked
    p.reg = reg
    if rule == STORE:
        p.w = _readable(label, w, t, rows, columns)
        p.grad = _writable(label, first, t, rows, columns)
        return 0
    p.w = p.next_w = _writable(label, w, t, rows, columns)
    if rules[rule].states > 0:
        p.first = p.next_first = _writable(label, first, t, rows, columns)
    if rules[rule].states > 1:
        p.second = p.next_second = _writable(label, second, t, rows, columns)
    return _set_numbers(p, numbers)


cdef cnp.ndarray _matrix(object weights):
    """The weights themselves, of the arrays that belong to them."""
    w, _, _ = weights
    if not isinstance(w, cnp.ndarray) or cnp.PyArray_NDIM(w) != 2:
        raise TypeError("train_step: weights are not a matrix")
    return w


cdef int _set_layer(step_layer *layer, tuple given, int rule, int norm, int t, Py_ssize_t n, Py_ssize_t fan_in,
                    bint hidden) except -1:
    """given: for each of weights, bias, gamma, beta the arrays and then the rule's numbers; the penalty;
    statistics; dropout. What is not used is None."""
    weights, bias, gamma, beta, weights_by, bias_by, gamma_by, beta_by, reg, statistics, dropout = given
    cdef cnp.ndarray w = _matrix(weights)
    cdef Py_ssize_t m = cnp.PyArray_DIM(w, 1)
    layer.fan_in, layer.fan_out = fan_in, m
    _set_param(&layer.weights, "weights", weights, weights_by, reg, rule, t, fan_in, m)
    _set_param(&layer.bias, "bias", bias, bias_by, 0, rule, t, m, -1)
    if not hidden:
        return 0
    if norm != NO_NORM:
        _set_param(&layer.gamma, "gamma", gamma, gamma_by, 0, rule, t, m, -1)
        _set_param(&layer.beta, "beta", beta, beta_by, 0, rule, t, m, -1)
        mean, var, next_mean, next_var, layer.eps, layer.momentum = statistics
        if norm == BATCH_NORM:
            layer.running_mean = _readable("running_mean", mean, t, m, -1)
            layer.running_var = _readable("running_var", var, t, m, -1)
            layer.next_mean = _writable("next_mean", next_mean, t, m, -1)
            layer.next_var = _writable("next_var", next_var, t, m, -1)
    if dropout is not None:
        uniform, layer.keep = dropout
        layer.uniform = <const double *> _readable("uniform", uniform, cnp.NPY_DOUBLE, n, m)
        if not 0 < layer.keep <= 1:
            raise ValueError(f"train_step: keep is {layer.keep}, expected a probability in (0, 1]")
    return 0


cdef int _set_source(image_source *source, cnp.ndarray images_nd, cnp.ndarray index_n, cnp.ndarray mean_d) except -1:
    cdef int t = cnp.PyArray_TYPE(images_nd)
    cdef Py_ssize_t rows, i
    if t != cnp.NPY_UINT8 and t != cnp.NPY_FLOAT and t != cnp.NPY_DOUBLE:
        raise TypeError(f"train_step: images have dtype {images_nd.dtype}, expected uint8, float32 or float64")
    check("train_step", "images", images_nd, t, 2)
    rows, source.features = cnp.PyArray_DIM(images_nd, 0), cnp.PyArray_DIM(images_nd, 1)
    source.images = cnp.PyArray_DATA(images_nd)
    source.bytes = 1 if t == cnp.NPY_UINT8 else 4 if t == cnp.NPY_FLOAT else 8
    source.n = rows
    if index_n is not None:
        check("train_step", "index", index_n, cnp.NPY_INT64, 1)
        source.n = cnp.PyArray_DIM(index_n, 0)
        source.index = <const int64_t *> cnp.PyArray_DATA(index_n)
        for i in range(source.n):
            if source.index[i] < 0 or source.index[i] >= rows:
                raise IndexError(f"train_step: index holds {source.index[i]}, but there are {rows} images")
    if mean_d is not None:
        source.mean = <const double *> _readable("mean", mean_d, cnp.NPY_DOUBLE, source.features, -1)
    if source.n == 0 or source.features == 0:
        raise ValueError(f"train_step: a batch of {source.n} samples with {source.features} features is empty")
    return 0


cdef int _set_labels(step_state *step, cnp.ndarray y_n, Py_ssize_t classes) except -1:
    cdef Py_ssize_t i
    check("train_step", "y", y_n, cnp.NPY_INT64, 1)
    check_size("train_step", "y", y_n, step.source.n)
    step.labels = <const int64_t *> cnp.PyArray_DATA(y_n)
    for i in range(step.source.n):
        if step.labels[i] < 0 or step.labels[i] >= classes:
            raise LabelError(f"train_step: y holds the label {step.labels[i]}, but there are {classes} classes")
    return 0


cdef void *_set_dx(image_source *source, cnp.ndarray images_nd, cnp.ndarray dx_nd, int t) except? NULL:
    """The gradient of images that are the output of a ReLU before this network: 0 where they are not positive."""
    if dx_nd is None:
        return NULL
    if source.index != NULL or source.mean != NULL or cnp.PyArray_TYPE(images_nd) != t:
        raise ValueError("train_step: dx needs images that are the batch itself, in the parameters' dtype")
    return _writable("dx", dx_nd, t, source.n, source.features)


cdef void *_flat(str label, object array, int t, Py_ssize_t size) except NULL:
    """Data of an array of any shape that the step writes."""
    if not isinstance(array, cnp.ndarray):
        raise TypeError(f"train_step: {label} is a {type(array).__name__}, expected an ndarray")
    check_out("train_step", label, array, t)
    check_size("train_step", label, array, size)
    return cnp.PyArray_DATA(<cnp.ndarray> array)


cdef int _set_front(Front *front, tuple given, int rule, int t) except -1:
    """given: the arrays (w, first state, second state), the gradient, what is added to it or None, the numbers."""
    arrays, grad, decay, numbers = given
    w, first, second = arrays
    if rule == STORE:
        raise ValueError("train_step: parameters in front are updated, but there is no rule")
    if not isinstance(w, cnp.ndarray):
        raise TypeError(f"train_step: a parameter in front is a {type(w).__name__}, expected an ndarray")
    cdef rule_param *p = &front.param
    front.size = cnp.PyArray_SIZE(<cnp.ndarray> w)
    front.grad = _flat("a gradient in front", grad, t, front.size)
    if decay is not None:
        front.decay = _flat("a decay in front", decay, t, front.size)
    p.w = p.next_w = _flat("a parameter in front", w, t, front.size)
    if rules[rule].states > 0:
        p.first = p.next_first = _flat("a state in front", first, t, front.size)
    if rules[rule].states > 1:
        p.second = p.next_second = _flat("a state in front", second, t, front.size)
    return _set_numbers(p, numbers)


cdef void _update_front(const Front *front, int rule, real *grad) noexcept nogil:
    cdef const real *decay = <const real *> front.decay
    cdef rule_update u
    cdef Py_ssize_t i
    if decay != NULL:
        for i in range(front.size):
            grad[i] += decay[i]
    set_update(&u, &front.param, rule, grad)
    update_vector(&u, grad, 0, front.size)


# What a step changes beside its arrays is settled before it: after it nothing may fail. Python code does not run
# from then on, so no signal handler either.

cdef list _prepare(list changes, list losses):
    """Make room for what `_commit` writes. Returns what it replaces, to be held until all is written: what goes
    away may run code."""
    cdef dict mapping
    cdef str key
    cdef list former = [], new = []
    try:
        for mapping, key, value in changes:
            if key in mapping:
                former.append(mapping[key])
            else:
                new.append((mapping, key))
                mapping[key] = value
        if losses is not None:
            # The list keeps the room of an element that is taken away like this.
            losses.append(None)
            Py_SET_SIZE(losses, len(losses) - 1)
            Py_DECREF(None)
    except BaseException:
        for mapping, key in new:
            mapping.pop(key, None)
        raise
    return former


cdef int _commit(list changes, list losses, object loss) except -1:
    cdef dict mapping
    cdef str key
    for mapping, key, value in changes:
        PyDict_SetItem(mapping, key, value)
    if losses is not None:
        losses.append(loss)
    return 0


cdef bint _plain(object mapping):
    cdef PyObject *key
    cdef Py_ssize_t place = 0
    if type(mapping) is not dict:
        return False
    while PyDict_Next(mapping, &place, &key, NULL):
        if not PyUnicode_CheckExact(<object> key):
            return False
    return True


def plain_dict(mapping):
    """A dict whose keys are text and nothing derived from it: looking into it runs no Python code."""
    return _plain(mapping)


def count_up(dict configs not None, dict arrays not None, list changes not None):
    """Add to the changes of a step that the count `t` of each parameter in `arrays` goes up."""
    cdef dict config
    cdef object t, last = None, next_t = None
    for name in arrays:
        config = configs[name]
        t = config.get("t", 0)
        if t is not last:  # they mostly share the number itself
            last, next_t = t, t + 1
        changes.append((config, "t", next_t))


cdef bint _is(object array, object held):
    """The very array that was held, and still to be written."""
    return array is held and isinstance(array, cnp.ndarray) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray> array)


def settings_of(dict params not None, dict configs not None, dict arrays not None, tuple states not None,
                tuple keys not None):
    """The values of `keys` in the parameters' configurations: a tuple where all have the same, else {name: tuple}.

    None where something lacks, and where params and configs do not hold the very arrays that
    `arrays` does, {name: (w, first state, second state)}. A small network's step is short, and
    this is read at each of them.
    """
    cdef dict found = {}
    cdef object config, value
    cdef tuple last = None
    cdef bint shared = True, same
    cdef Py_ssize_t k
    if len(params) != len(arrays) or not _plain(params) or not _plain(configs):
        return None
    for name, w in params.items():
        held, config = arrays.get(name), configs.get(name)
        if held is None or not _plain(config):
            return None
        mine, *state = held
        if len(state) < len(states) or not _is(w, mine):
            return None
        for key, mine in zip(states, state):
            if not _is((<dict> config).get(key), mine):
                return None
        same = last is not None
        for k in range(len(keys)):
            value = (<dict> config).get(keys[k], arrays)
            if value is arrays:
                return None
            same = same and (value is last[k] or value == last[k])
        if not same:
            shared = shared and last is None
            last = tuple([(<dict> config).get(key) for key in keys])
        found[name] = last
    return last if shared else found


def train_step(
    cnp.ndarray images_nd not None,  # IN
    cnp.ndarray index_n,             # IN: rows of the batch, or None: all of them
    cnp.ndarray mean_d,              # IN, or None
    cnp.ndarray y_n not None,        # IN: labels of the batch
    list layers not None,            # INOUT: see _set_layer
    rule, norm, int num_threads,
    int bf16=0,                      # 1: round the factors of each product to bfloat16; 2: and multiply by AMX
    cnp.ndarray dx_nd=None,          # OUT, or None: see _set_dx
    list changes=None,               # (dict, key, value) of what the step changes beside: plain dicts, text as keys
    list losses=None,                # INOUT: gets the loss
    double penalty=0,                # of what lies in front of the network, a part of the loss
    list calls=None,                 # (function, arguments), made once dx is there: C functions that cannot fail
    list front=None,                 # INOUT: parameters updated after them, see _set_front
):
    """Loss of the batch; the gradients are stored (rule None), or the parameters updated in place.

    All of it happens or, where an error is raised, nothing. A label that is none of the classes is a LabelError.

    bf16 is for float32 alone, for CPUs with AVX512_BF16, and only where affine_bf16.built() is true; 2 only
    where affine_bf16.amx() is true.
    """
    cdef step_state step
    cdef Py_ssize_t count = len(layers), l, fan_in, fronts = len(front) if front is not None else 0
    cdef tuple arguments
    cdef list _former
    cdef object result
    cdef double loss = 0, work = 0
    cdef size_t itemsize
    cdef int t
    if count == 0:
        raise ValueError("train_step: layers are empty, expected at least one")
    cdef step_layer *layer = <step_layer *> PyMem_Calloc(count, sizeof(step_layer))
    cdef Front *ahead = <Front *> PyMem_Calloc(fronts + 1, sizeof(Front))
    if layer == NULL or ahead == NULL:
        PyMem_Free(layer)
        PyMem_Free(ahead)
        raise MemoryError
    changes, calls, step.scratch = changes or [], calls or [], NULL
    try:
        step.source.index = NULL
        step.source.mean = NULL
        step.rule, step.norm, step.layers = RULES[rule], NORMS[norm], <int> count
        step.layer = layer
        step.bf16 = bf16
        _set_source(&step.source, images_nd, index_n, mean_d)
        t = real_type("train_step", "weights", _matrix(next(iter(layers[0]), None)))
        if bf16 and not HAVE_BF16:
            raise RuntimeError("train_step: this module was built without bfloat16 kernels")
        if bf16 == BY_AMX and not HAVE_AMX:
            raise RuntimeError("train_step: this module was built without AMX kernels")
        if bf16 and dx_nd is not None:
            raise ValueError("train_step: dx is given, but it is not computed with bfloat16 products")
        if bf16 and t != cnp.NPY_FLOAT:
            raise TypeError("train_step: weights have dtype float64, expected float32 for bfloat16 products")
        fan_in = step.source.features
        for l in range(count):
            _set_layer(&layer[l], layers[l], step.rule, step.norm, t, step.source.n, fan_in, l + 1 < count)
            work += <double> fan_in * layer[l].fan_out
            fan_in = layer[l].fan_out
            if fan_in == 0:
                raise ValueError("train_step: a layer has no outputs")
        _set_labels(&step, y_n, fan_in)
        step.dx = _set_dx(&step.source, images_nd, dx_nd, t)
        for l in range(fronts):
            _set_front(&ahead[l], front[l], step.rule, t)
        if 3 * work * step.source.n * PICOSECONDS < serial_picoseconds:
            num_threads = 1
        num_threads = max(1, num_threads)
        itemsize = sizeof(float) if t == cnp.NPY_FLOAT else sizeof(double)
        with nogil:
            step.scratch = <char *> scratch_take(lay_out(&step, itemsize, num_threads))
        if step.scratch == NULL:
            raise MemoryError("train_step: no memory for the activations")
        result = work  # any number
        _former = _prepare(changes, losses)  # what changes replace lives on until the step is over
        with nogil:
            lay_out(&step, itemsize, num_threads)
            loss = run_step(&step, itemsize, num_threads)
        for function, arguments in calls:
            function(*arguments)
        with nogil:
            for l in range(fronts):
                if t == cnp.NPY_FLOAT:
                    _update_front(&ahead[l], step.rule, <float *> ahead[l].grad)
                else:
                    _update_front(&ahead[l], step.rule, <double *> ahead[l].grad)
        result = None  # its memory is there for the next number
        result = loss + penalty
        _commit(changes, losses, result)
        return result
    finally:
        if step.scratch != NULL:
            scratch_give(step.scratch)
        PyMem_Free(layer)
        PyMem_Free(ahead)
