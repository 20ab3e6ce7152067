"""Sandwich layers against their twins, and against the layers they are made of."""

import numpy as np
import pytest
from adversarial import KINDS, LAYOUTS, frozen, normal, planted, small_integers
from comparing import both_pairs, pair, same_form

from daseCV_c import layer_utils, layers
from daseCV_c._layers import sandwich

SANDWICHES = {
    "affine_relu": (3, None),
    "affine_bn_relu": (5, {"mode": "train"}),
    "affine_ln_relu": (5, {}),
}
NAMES = pytest.mark.parametrize("name", SANDWICHES)
SHAPES = [((2, 3), 2), ((1, 9), 5), ((5, 7), 3), ((4, 2, 3, 5), 7), ((33, 17), 65), ((257, 131), 10), ((130, 70), 133)]


def functions(name):
    return getattr(layer_utils, f"{name}_forward"), getattr(layer_utils, f"{name}_backward")


def inputs(name, shape, m, dtype, make=normal):
    count, param = SANDWICHES[name]
    d = int(np.prod(shape[1:]))
    args = [make("x", *shape, dtype=dtype), make("w", d, m, dtype=dtype)]
    args += [make(("v", k), m, dtype=dtype) for k in range(count - 2)]
    return args, ([] if param is None else [dict(param)]), make("dout", shape[0], m, dtype=dtype)


def near(actual, expected, name, working=None):
    """Rounding of the affine layer, once more after a normalization."""
    same_form(actual, expected)
    info = np.finfo(working or actual.dtype)
    assert (np.isfinite(actual) == np.isfinite(expected)).all()
    top = np.abs(expected[np.isfinite(expected)]).max(initial=1)
    limit = info.eps ** 0.75 if name != "affine_relu" else 300 * info.eps
    with np.errstate(invalid="ignore"):
        error = np.abs(actual - expected)[np.isfinite(expected)]
    assert error.max(initial=0) <= limit * top


def check(name, args, params, dout):
    (out, grads, dicts), (out0, grads0, dicts0) = both_pairs(*functions(name), (*args, *params), dout)
    # The pre-activation may be float32 where gamma or dout make the result float64.
    kinds = {np.asarray(a).dtype.newbyteorder("=") for a in args[:3]}
    working = np.float32 if kinds == {np.dtype(np.float32)} else np.float64
    near(out, out0, name, working)
    assert len(grads) == len(grads0) == len(args)
    for grad, grad0, arg in zip(grads, grads0, args, strict=True):
        near(grad, grad0, name, working)
        assert grad.shape == np.shape(arg)
    for one, other in zip(dicts, dicts0, strict=True):
        assert list(one) == list(other)
        for key in {"running_mean", "running_var"} & set(one):
            near(one[key], other[key], name, working)


@NAMES
@pytest.mark.parametrize(("shape", "m"), SHAPES, ids=str)
def test_shapes(level, dtype, name, shape, m):
    check(name, *inputs(name, shape, m, dtype))


@pytest.mark.parametrize(("shape", "m"), [((0, 3), 2), ((3, 0), 2), ((3, 2), 0)], ids=str)
def test_empty_affine_relu(level, dtype, shape, m):
    check("affine_relu", *inputs("affine_relu", shape, m, dtype))


@pytest.mark.parametrize(("shape", "m"), SHAPES, ids=str)
def test_integers_are_exact(level, dtype, shape, m):
    """Many pre-activations are exactly zero: there the gradient is zero."""
    args, params, dout = inputs("affine_relu", shape, m, dtype, small_integers)
    (out, grads, _), (out0, grads0, _) = both_pairs(*functions("affine_relu"), (*args, *params), dout)
    np.testing.assert_array_equal(out, out0)
    for grad, grad0 in zip(grads, grads0, strict=True):
        np.testing.assert_array_equal(grad, grad0)


def test_a_pre_activation_of_zero_passes_no_gradient(backend, dtype):
    x, w, b = np.ones((1, 1), dtype), np.array([[0.0, -0.0, 1.0, -1.0]], dtype), np.zeros(4, dtype)
    out, cache = layer_utils.affine_relu_forward(x, w, b)
    np.testing.assert_array_equal(out, np.array([[0, 0, 1, 0]], dtype))
    _, dw, db = layer_utils.affine_relu_backward(np.ones((1, 4), dtype), cache)
    np.testing.assert_array_equal(db, np.array([0, 0, 1, 0], dtype))
    np.testing.assert_array_equal(dw, np.array([[0, 0, 1, 0]], dtype))


@NAMES
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(level, dtype, name, layout):
    args, params, dout = inputs(name, (13, 5), 11, dtype)
    for position in range(len(args)):
        changed = [LAYOUTS[layout](a) if k == position else a for k, a in enumerate(args)]
        check(name, changed, params, dout)
    check(name, args, params, LAYOUTS[layout](dout))


@NAMES
@pytest.mark.parametrize("kind", KINDS)
def test_kinds(level, dtype, name, kind):
    args, params, dout = inputs(name, (13, 5), 11, dtype)
    for position in range(1, len(args)):
        small = small_integers(position, *args[position].shape)
        check(name, [KINDS[kind](small) if k == position else a for k, a in enumerate(args)], params, dout)


@NAMES
@pytest.mark.parametrize("kind", ["nan", "inf", "minus_inf"])
@pytest.mark.parametrize("position", range(3))
def test_special_values_forward(level, dtype, name, kind, position):
    args, params, _ = inputs(name, (13, 5), 33, dtype)
    args[position] = planted(args[position], kind)
    outs = []
    for backend in ("compiled", "numpy"):
        (out, _), _ = run_forward(backend, name, args, params)
        outs.append(out)
    near(*outs, name)


def run_forward(backend, name, args, params):
    from comparing import run

    return run(backend, functions(name)[0], *args, *params)


@NAMES
def test_the_layers_one_by_one(backend, name):
    args, params, dout = inputs(name, (12, 4, 2), 9, np.float64)
    out, grads, _ = pair(backend, *functions(name), (*args, *params), dout)
    a, fc_cache = layers.affine_forward(*args[:3])
    norm_cache = None
    if name == "affine_bn_relu":
        a, norm_cache = layers.batchnorm_forward(a, *args[3:], *params)
    elif name == "affine_ln_relu":
        a, norm_cache = layers.layernorm_forward(a, *args[3:], *params)
    expected, relu_cache = layers.relu_forward(a)
    da, rest = layers.relu_backward(dout, relu_cache), ()
    if name == "affine_bn_relu":
        da, *rest = layers.batchnorm_backward(da, norm_cache)
    elif name == "affine_ln_relu":
        da, *rest = layers.layernorm_backward(da, norm_cache)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
    for grad, grad0 in zip(grads, (*layers.affine_backward(da, fc_cache), *rest), strict=True):
        np.testing.assert_allclose(grad, grad0, rtol=1e-9, atol=1e-11)


@NAMES
def test_writing_to_the_output_leaves_the_gradients(backend, dtype, name):
    args, params, dout = inputs(name, (13, 5), 11, dtype)
    forward, backward = functions(name)
    out, cache = forward(*args, *params)
    expected = frozen(backward(dout, cache))
    out.fill(-1)
    first = backward(dout, cache)
    assert frozen(first) == expected
    for grad in first:
        grad.fill(-1)
    assert frozen(backward(dout, cache)) == expected


@NAMES
def test_two_passes_do_not_share_memory(backend, dtype, name):
    """The same layer twice before either backward pass, as in a deep network."""
    forward, backward = functions(name)
    args, params, dout = inputs(name, (13, 5), 11, dtype)
    alone_out, alone_cache = forward(*args, *params)
    alone = frozen([alone_out, backward(dout, alone_cache)])
    out, cache = forward(*args, *params)
    forward(args[0] + 1, *args[1:], *params)
    assert frozen([out, backward(dout, cache)]) == alone


@NAMES
def test_gradient_of_the_images_can_be_left_out(backend, dtype, name):
    args, params, dout = inputs(name, (13, 5), 11, dtype)
    forward, backward = functions(name)
    _, cache = forward(*args, *params)
    full = backward(dout, cache)
    short = getattr(sandwich, f"_{name}_backward")(dout, cache, need_dx=False)
    assert short[0] is None
    assert frozen(list(short[1:])) == frozen(list(full[1:]))
