# The arguments of the entries of ../step.pyx, checked by hand and brought to the structs of layout.pxd.
cimport numpy as cnp
from libc.stdint cimport int64_t

from norms cimport BATCH_NORM, NO_NORM
from step.arrays cimport check, check_out, check_shape, check_size
from step.layout cimport image_source, step_layer
from step.rules cimport STORE, rule_param, rules, set_numbers


cdef inline void *writable(str label, object array, int t, Py_ssize_t rows, Py_ssize_t columns) except NULL:
    """Data of an array that the step writes; columns < 0 asks for a vector."""
    cdef void *data = readable(label, array, t, rows, columns)
    check_out("train_step", label, array, t)
    return data


cdef inline void *readable(str label, object array, int t, Py_ssize_t rows, Py_ssize_t columns) except NULL:
    if not isinstance(array, cnp.ndarray):
        raise TypeError(f"train_step: {label} is a {type(array).__name__}, expected an ndarray")
    check("train_step", label, array, t, 1 if columns < 0 else 2)
    if columns < 0:
        check_size("train_step", label, array, rows)
    else:
        check_shape("train_step", label, array, rows, columns)
    return cnp.PyArray_DATA(<cnp.ndarray> array)


cdef inline int take_numbers(rule_param *p, tuple numbers) except -1:
    rate, keep1, keep2, eps, weight_decay, t = numbers  # unpacked, which checks the length
    set_numbers(p, rate, keep1, keep2, eps, weight_decay, t)
    return 0


cdef inline int set_param(rule_param *p, str label, tuple arrays, tuple numbers, double reg, int rule, int t,
                          Py_ssize_t rows, Py_ssize_t columns) except -1:
    """arrays: (w, grad, None) to store a gradient, else (w, first state, second state)."""
    w, first, second = arrays  # unpacked, which checks the length; an index is not checked
    p.reg = reg
    if rule == STORE:
        p.w = readable(label, w, t, rows, columns)
        p.grad = writable(label, first, t, rows, columns)
        return 0
    p.w = p.next_w = writable(label, w, t, rows, columns)
    if rules[rule].states > 0:
        p.first = p.next_first = writable(label, first, t, rows, columns)
    if rules[rule].states > 1:
        p.second = p.next_second = writable(label, second, t, rows, columns)
    return take_numbers(p, numbers)


cdef inline cnp.ndarray weight_matrix(object weights):
    """The weights themselves, of the arrays that belong to them."""
    w, _, _ = weights
    if not isinstance(w, cnp.ndarray) or cnp.PyArray_NDIM(w) != 2:
        raise TypeError("train_step: weights are not a matrix")
    return w


cdef inline int set_layer(step_layer *layer, tuple given, int rule, int norm, int t, Py_ssize_t n, Py_ssize_t fan_in,
                          bint hidden) except -1:
    """given: for each of weights, bias, gamma, beta the arrays and then the rule's numbers; the penalty;
    statistics; dropout. What is not used is None."""
    weights, bias, gamma, beta, weights_by, bias_by, gamma_by, beta_by, reg, statistics, dropout = given
    cdef cnp.ndarray w = weight_matrix(weights)
    cdef Py_ssize_t m = cnp.PyArray_DIM(w, 1)
    layer.fan_in, layer.fan_out = fan_in, m
    set_param(&layer.weights, "weights", weights, weights_by, reg, rule, t, fan_in, m)
    set_param(&layer.bias, "bias", bias, bias_by, 0, rule, t, m, -1)
    if not hidden:
        return 0
    if norm != NO_NORM:
        set_param(&layer.gamma, "gamma", gamma, gamma_by, 0, rule, t, m, -1)
        set_param(&layer.beta, "beta", beta, beta_by, 0, rule, t, m, -1)
        mean, var, next_mean, next_var, layer.eps, layer.momentum = statistics
        if norm == BATCH_NORM:
            layer.running_mean = readable("running_mean", mean, t, m, -1)
            layer.running_var = readable("running_var", var, t, m, -1)
            layer.next_mean = writable("next_mean", next_mean, t, m, -1)
            layer.next_var = writable("next_var", next_var, t, m, -1)
    if dropout is not None:
        uniform, layer.keep = dropout
        layer.uniform = <const double *> readable("uniform", uniform, cnp.NPY_DOUBLE, n, m)
        if not 0 < layer.keep <= 1:
            raise ValueError(f"train_step: keep is {layer.keep}, expected a probability in (0, 1]")
    return 0


cdef inline int set_source(image_source *source, cnp.ndarray images_nd, cnp.ndarray index_n,
                           cnp.ndarray mean_d) except -1:
    cdef int t = cnp.PyArray_TYPE(images_nd)
    cdef Py_ssize_t rows, i
    if t != cnp.NPY_UINT8 and t != cnp.NPY_FLOAT and t != cnp.NPY_DOUBLE:
        raise TypeError(f"train_step: images have dtype {images_nd.dtype}, expected uint8, float32 or float64")
    check("train_step", "images", images_nd, t, 2)
    rows, source.features = cnp.PyArray_DIM(images_nd, 0), cnp.PyArray_DIM(images_nd, 1)
    source.images, source.index, source.mean = cnp.PyArray_DATA(images_nd), NULL, NULL
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
        source.mean = <const double *> readable("mean", mean_d, cnp.NPY_DOUBLE, source.features, -1)
    if source.n == 0 or source.features == 0:
        raise ValueError(f"train_step: a batch of {source.n} samples with {source.features} features is empty")
    return 0
