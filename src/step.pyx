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
from libc.math cimport pow, sqrt
from libc.stdint cimport int64_t

from activations cimport RELU, hidden_activations
from bf16.rounding cimport BY_AMX, HAVE_AMX, HAVE_BF16
from norms cimport NO_NORM, norms_by_name
from real cimport real
from sharing cimport serial_picoseconds
from step.arguments cimport readable, set_layer, set_source, take_numbers, weight_matrix, writable
from step.arrays cimport check, check_out, check_size, real_type
from step.layout cimport image_source, lay_out, step_layer, step_state
from step.output_loss cimport LOGISTIC_LOSS, POISSON_LOSS, SOFTMAX_LOSS, SQUARED_LOSS
from step.phases cimport run_step
from step.rules cimport (
    STORE, rule_param, rule_update, rules, rules_by_name, set_numbers, set_update, update_vector)
from threads.threads cimport granted, scratch_give, scratch_take

cdef extern from "Python.h":
    ctypedef struct PyVarObject:
        pass
    void Py_SET_SIZE(PyVarObject *items, Py_ssize_t size)

cnp.import_array()


# A parameter of what lies in front of the network, with its gradient and what is added to that.
cdef struct Front:
    rule_param param
    void *grad
    const void *decay
    Py_ssize_t size

cdef dict STEP_RULES = {None: STORE, **rules_by_name()}
cdef dict STEP_NORMS = norms_by_name()
cdef dict STEP_ACTIVATIONS = hidden_activations()
cdef dict STEP_LOSSES = {
    "softmax": SOFTMAX_LOSS, "logistic": LOGISTIC_LOSS, "squared": SQUARED_LOSS, "poisson": POISSON_LOSS}


class LabelError(ValueError):
    """A label is none of the classes; nothing was done."""


# A multiply-add and what comes with it in a small network, against serial_picoseconds.
cdef double STEP_PICOSECONDS = 100


cdef int _set_targets(step_state *step, cnp.ndarray y, int t, Py_ssize_t rows, Py_ssize_t outputs) except -1:
    """Labels, or rows of numbers of type t: of the batch, or with `drawn` of what it is drawn from."""
    cdef Py_ssize_t i
    cdef int64_t label
    step.labels, step.targets = NULL, NULL
    if step.loss != SOFTMAX_LOSS:
        step.targets = readable("y", y, t, rows, outputs)
        return 0
    check("train_step", "y", y, cnp.NPY_INT64, 1)
    check_size("train_step", "y", y, rows)
    step.labels = <const int64_t *> cnp.PyArray_DATA(y)
    for i in range(step.source.n):
        label = step.labels[i if step.drawn == NULL else step.drawn[i]]
        if label < 0 or label >= outputs:
            raise LabelError(f"train_step: y holds the label {label}, but there are {outputs} classes")
    return 0


cdef double _total(const real *weight, const int64_t *drawn, Py_ssize_t n) noexcept nogil:
    """The sum of some samples' weights."""
    cdef double total = 0
    cdef Py_ssize_t i
    for i in range(n):
        total += weight[i if drawn == NULL else drawn[i]]
    return total


cdef void _set_total(step_state *step, int t) noexcept nogil:
    """What the gradient is divided by: samples, or their weights."""
    if step.sample_weight == NULL:
        step.total = step.source.n
    elif t == cnp.NPY_FLOAT:
        step.total = _total(<const float *> step.sample_weight, step.drawn, step.source.n)
    else:
        step.total = _total(<const double *> step.sample_weight, step.drawn, step.source.n)


cdef void *_set_dx(image_source *source, cnp.ndarray images_nd, cnp.ndarray dx_nd, int t) except? NULL:
    """The gradient of images that are the output of a ReLU before this network: 0 where they are not positive."""
    if dx_nd is None:
        return NULL
    if source.index != NULL or source.mean != NULL or cnp.PyArray_TYPE(images_nd) != t:
        raise ValueError("train_step: dx needs images that are the batch itself, in the parameters' dtype")
    return writable("dx", dx_nd, t, source.n, source.features)


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
    return take_numbers(p, numbers)


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
            Py_SET_SIZE(<PyVarObject *> losses, len(losses) - 1)
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
    cnp.ndarray y_n not None,        # IN: labels of the batch, or with other losses than softmax rows of numbers
    list layers not None,            # INOUT: see set_layer
    rule, norm, int num_threads,
    int bf16=0,                      # 1: round the factors of each product to bfloat16; 2: and multiply by AMX
    cnp.ndarray dx_nd=None,          # OUT, or None: see _set_dx
    list changes=None,               # (dict, key, value) of what the step changes beside: plain dicts, text as keys
    list losses=None,                # INOUT: gets the loss
    double penalty=0,                # of what lies in front of the network, a part of the loss
    list calls=None,                 # (function, arguments), made once dx is there: C functions that cannot fail
    list front=None,                 # INOUT: parameters updated after them, see _set_front
    loss_of="softmax",
    cnp.ndarray weight_n=None,       # IN: of each sample of the batch
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
        step.rule, step.norm, step.layers = STEP_RULES[rule], STEP_NORMS[norm], <int> count
        step.loss, step.printed, step.activation, step.drawn = STEP_LOSSES[loss_of], False, RELU, NULL
        step.layer = layer
        step.bf16 = bf16
        set_source(&step.source, images_nd, index_n, mean_d)
        t = real_type("train_step", "weights", weight_matrix(next(iter(layers[0]), None)))
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
            set_layer(&layer[l], layers[l], step.rule, step.norm, t, step.source.n, fan_in, l + 1 < count)
            work += <double> fan_in * layer[l].fan_out
            fan_in = layer[l].fan_out
            if fan_in == 0:
                raise ValueError("train_step: a layer has no outputs")
        _set_targets(&step, y_n, t, step.source.n, fan_in)
        step.sample_weight = NULL if weight_n is None else readable("weight", weight_n, t, step.source.n, -1)
        _set_total(&step, t)
        step.dx = _set_dx(&step.source, images_nd, dx_nd, t)
        for l in range(fronts):
            _set_front(&ahead[l], front[l], step.rule, t)
        if 3 * work * step.source.n * STEP_PICOSECONDS < serial_picoseconds:
            num_threads = 1
        num_threads = granted(num_threads)
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


cdef struct Numbers:  # of a rule
    double rate, keep1, keep2, eps, weight_decay, t


cdef void _take_batch(step_state *step, const step_state *whole, Py_ssize_t first, Py_ssize_t n, int t, double alpha,
                      const Numbers *by) noexcept nogil:
    """Samples first..first+n of the pass, and what the rule takes at this step."""
    cdef size_t itemsize = sizeof(float) if t == cnp.NPY_FLOAT else sizeof(double)
    cdef Py_ssize_t outputs = whole.layer[whole.layers - 1].fan_out
    cdef step_layer *layer
    cdef int l
    step.source.n = n
    if whole.drawn != NULL:
        step.source.index = step.drawn = whole.drawn + first
    else:
        step.source.images = <const char *> whole.source.images + first * whole.source.features * itemsize
        if whole.labels != NULL:
            step.labels = whole.labels + first
        else:
            step.targets = <const char *> whole.targets + first * outputs * itemsize
        if whole.sample_weight != NULL:
            step.sample_weight = <const char *> whole.sample_weight + first * itemsize
    _set_total(step, t)
    for l in range(step.layers):
        layer = &step.layer[l]
        set_numbers(&layer.weights, by.rate, by.keep1, by.keep2, by.eps, by.weight_decay, by.t)
        set_numbers(&layer.bias, by.rate, by.keep1, by.keep2, by.eps, by.weight_decay, by.t)
        layer.weights.reg = alpha / step.total


def train_batches(
    cnp.ndarray x_nd not None,     # IN: rows of the parameters' type
    cnp.ndarray index_n,           # IN: rows in the order of the pass, or None: all of them
    cnp.ndarray y not None,        # IN: labels of all rows, or with other losses than softmax rows of numbers
    cnp.ndarray weight_n,          # IN: of all rows, or None
    Py_ssize_t batch_size,
    list layers not None,          # INOUT: see set_layer
    rule, activation, loss_of,
    tuple numbers not None,        # of all parameters at the first step
    double alpha,                  # the penalty of a batch: 0.5 * alpha * sum of squares / its samples or their weights
    bint uncorrected_epsilon,
    cnp.ndarray losses not None,   # OUT: of each batch
    cnp.ndarray done,              # INOUT: counted up by the batches; or None
    int num_threads,
):
    """A step for each batch of a pass, in one call: all of them or, where an error is raised, none.

    The loss is that which scikit-learn prints. uncorrected_epsilon: epsilon / sqrt(1 - keep2 ** t) is added.
    """
    cdef step_state whole, step
    cdef Py_ssize_t count = len(layers), rows, batches, b, l, fan_in, last
    cdef Numbers by
    cdef double work = 0, eps
    cdef size_t itemsize, size
    cdef double *to
    cdef int type
    if count == 0 or batch_size < 1:
        raise ValueError("train_batches: layers are empty or batch_size is not positive")
    cdef step_layer *layer = <step_layer *> PyMem_Calloc(count, sizeof(step_layer))
    if layer == NULL:
        raise MemoryError
    step.scratch = NULL
    try:
        by.rate, by.keep1, by.keep2, eps, by.weight_decay, by.t = numbers
        whole.rule, whole.norm, whole.layers, whole.layer = STEP_RULES[rule], NO_NORM, <int> count, layer
        whole.loss, whole.activation = STEP_LOSSES[loss_of], STEP_ACTIVATIONS[activation]
        whole.printed, whole.bf16, whole.dx, whole.scratch = True, 0, NULL, NULL
        set_source(&whole.source, x_nd, index_n, None)
        whole.drawn = whole.source.index
        type = real_type("train_batches", "x", x_nd)
        fan_in = whole.source.features
        for l in range(count):
            set_layer(&layer[l], layers[l], whole.rule, NO_NORM, type, whole.source.n, fan_in, l + 1 < count)
            work += <double> fan_in * layer[l].fan_out
            fan_in = layer[l].fan_out
            if fan_in == 0:
                raise ValueError("train_batches: a layer has no outputs")
        _set_targets(&whole, y, type, cnp.PyArray_DIM(x_nd, 0), fan_in)
        whole.sample_weight = NULL
        if weight_n is not None:
            whole.sample_weight = readable("weight", weight_n, type, cnp.PyArray_DIM(x_nd, 0), -1)
        rows = whole.source.n
        batch_size = min(batch_size, rows)
        batches = (rows + batch_size - 1) // batch_size
        to = <double *> writable("losses", losses, cnp.NPY_DOUBLE, batches, -1)
        if done is not None:
            writable("done", done, cnp.NPY_INT64, 1, -1)
        if 3 * work * batch_size * STEP_PICOSECONDS < serial_picoseconds:
            num_threads = 1
        num_threads = granted(num_threads)
        itemsize = sizeof(float) if type == cnp.NPY_FLOAT else sizeof(double)
        last = rows - (batches - 1) * batch_size
        step = whole
        step.source.n = last  # which may be computed in another way, and take more
        size = lay_out(&step, itemsize, num_threads)
        step.source.n = batch_size
        size = max(size, lay_out(&step, itemsize, num_threads))
        with nogil:
            step.scratch = <char *> scratch_take(size)
        if step.scratch == NULL:
            raise MemoryError("train_batches: no memory for the activations")
        with nogil:
            for b in range(batches):
                by.eps = eps / sqrt(1 - pow(by.keep2, by.t)) if uncorrected_epsilon else eps
                _take_batch(&step, &whole, b * batch_size, min(batch_size, rows - b * batch_size), type, alpha, &by)
                lay_out(&step, itemsize, num_threads)
                to[b] = run_step(&step, itemsize, num_threads)
                if by.t > 0:
                    by.t += 1
        if done is not None:
            (<int64_t *> cnp.PyArray_DATA(done))[0] += batches
    finally:
        if step.scratch != NULL:
            scratch_give(step.scratch)
        PyMem_Free(layer)
