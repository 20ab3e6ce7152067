"""Convolution with the layers that follow it: against the twins, against the layers alone, gradients."""

import numpy as np
import pytest
from adversarial import LAYOUTS, frozen, normal, small_integers
from comparing import both_pairs, pair, same_values

from daseCV_c import fast_layers, layer_utils, layers
from daseCV_c._layers import sandwich
from daseCV_c.gradient_check import eval_numerical_gradient_array

CONV = {"stride": 1, "pad": 1}
POOL = {"pool_height": 2, "pool_width": 2, "stride": 2}
OVERLAP = {"pool_height": 3, "pool_width": 2, "stride": 1}
SANDWICHES = {
    "conv_relu": [CONV], "conv_bn_relu": [CONV, {"mode": "train"}], "conv_relu_pool": [CONV, POOL],
    "conv_relu_pool_overlapping": [CONV, OVERLAP],
}
NAMES = pytest.mark.parametrize("name", SANDWICHES)


def functions(name):
    name = name.removesuffix("_overlapping")
    return getattr(layer_utils, f"{name}_forward"), getattr(layer_utils, f"{name}_backward")


def inputs(name, dtype, make=normal, shape=(3, 2, 6, 8), filters=4):
    """Arrays, dicts, dout."""
    arrays = [make("x", *shape, dtype=dtype), make("w", filters, shape[1], 3, 3, dtype=dtype)]
    arrays += [make(("v", k), filters, dtype=dtype) for k in range(3 if "bn" in name else 1)]
    params = [dict(p) for p in SANDWICHES[name]]
    out = functions(name)[0](*arrays, *(dict(p) for p in params))[0]
    return arrays, params, make("dout", *out.shape, dtype=dtype)


@NAMES
@pytest.mark.parametrize("shape", [(3, 2, 6, 8), (2, 5, 31, 33)], ids=str)
def test_twins(level, dtype, name, shape):
    arrays, params, dout = inputs(name, dtype, shape=shape, filters=13)
    (out, grads, dicts), (out0, grads0, dicts0) = both_pairs(*functions(name), (*arrays, *params), dout)
    limit = np.finfo(dtype).eps ** (0.7 if "bn" in name else 0.75)
    for one, other in zip((out, *grads), (out0, *grads0), strict=True):
        assert one.dtype == other.dtype == dtype and one.shape == other.shape
        assert np.abs(one - other).max() <= limit * np.abs(other).max(initial=1)
    assert [list(d) for d in dicts] == [list(d) for d in dicts0]


@pytest.mark.parametrize("name", [n for n in SANDWICHES if "bn" not in n])
def test_integers_are_exact(level, dtype, name):
    """Many pre-activations are zero and many maxima equal: no gradient passes there, or passes once."""
    arrays, params, dout = inputs(name, dtype, small_integers)
    (out, grads, _), (out0, grads0, _) = both_pairs(*functions(name), (*arrays, *params), dout)
    for one, other in zip((out, *grads), (out0, *grads0), strict=True):
        same_values(one, other)


@NAMES
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(level, name, layout):
    arrays, params, dout = inputs(name, np.float64)
    expected = pair("compiled", *functions(name), (*arrays, *params), dout)
    for position in range(len(arrays)):
        changed = [LAYOUTS[layout](a) if k == position else a for k, a in enumerate(arrays)]
        out, grads, _ = pair("compiled", *functions(name), (*changed, *params), LAYOUTS[layout](dout))
        assert frozen([out, list(grads)]) == frozen([expected[0], list(expected[1])])


@NAMES
def test_the_layers_one_by_one(backend, name):
    arrays, params, dout = inputs(name, np.float64)
    out, grads, _ = pair(backend, *functions(name), (*arrays, *params), dout)
    a, conv_cache = layers.conv_forward_naive(*arrays[:3], params[0])
    rest = ()
    if "bn" in name:
        a, bn_cache = layers.spatial_batchnorm_forward(a, *arrays[3:], params[1])
    expected, relu_cache = layers.relu_forward(a)
    da = dout
    if "pool" in name:
        expected, pool_cache = fast_layers.max_pool_forward_fast(expected, params[1])
        da = fast_layers.max_pool_backward_fast(da, pool_cache)
    da = layers.relu_backward(da, relu_cache)
    if "bn" in name:
        da, *rest = layers.spatial_batchnorm_backward(da, bn_cache)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
    for grad, grad0 in zip(grads, (*layers.conv_backward_naive(da, conv_cache), *rest), strict=True):
        np.testing.assert_allclose(grad, grad0, rtol=1e-9, atol=1e-11)


def rel_error(x, y):
    """As the course computes it."""
    return np.max(np.abs(x - y) / np.maximum(1e-8, np.abs(x) + np.abs(y)))


@NAMES
def test_gradients(backend, name):
    arrays, params, dout = inputs(name, np.float64)
    forward, backward = functions(name)
    _, cache = forward(*arrays, *(dict(p) for p in params))
    for k, grad in enumerate(backward(dout, cache)):
        numerical = eval_numerical_gradient_array(
            lambda _: forward(*arrays, *(dict(p) for p in params))[0], arrays[k], dout, h=1e-6)
        if "bn" in name and k == 2:  # the mean takes the bias away
            np.testing.assert_allclose(grad, 0, atol=1e-12)
        else:
            np.testing.assert_allclose(grad, numerical, rtol=1e-6, atol=1e-7)
            assert np.abs(grad).max() > 1e-2


@pytest.mark.parametrize(("name", "size"), [("conv_relu", 8), ("conv_relu_pool", 16)])
def test_the_courses_measure(backend, name, size):
    # Of draws of the larger images every third stays below: the differences' own error, near zeros.
    np.random.seed(240)
    x, w, b, dout = (np.random.randn(*s) for s in ((2, 3, size, size), (3, 3, 3, 3), (3,), (2, 3, 8, 8)))
    forward, backward = functions(name)
    for k, grad in enumerate(backward(dout, forward(x, w, b, *SANDWICHES[name])[1])):
        numerical = eval_numerical_gradient_array(
            lambda _: forward(x, w, b, *SANDWICHES[name])[0], (x, w, b)[k], dout)
        assert rel_error(grad, numerical) < 1e-8


@NAMES
def test_writing_to_the_output_leaves_the_gradients(backend, dtype, name):
    arrays, params, dout = inputs(name, dtype)
    forward, backward = functions(name)
    out, cache = forward(*arrays, *params)
    expected = frozen(backward(dout, cache))
    out.fill(-1)
    first = backward(dout, cache)
    assert frozen(first) == expected
    for grad in first:
        grad.fill(-1)
    assert frozen(backward(dout, cache)) == expected


@NAMES
def test_gradient_of_the_images_can_be_left_out(backend, dtype, name):
    arrays, params, dout = inputs(name, dtype)
    forward, backward = functions(name)
    _, cache = forward(*arrays, *params)
    full = backward(dout, cache)
    short = getattr(sandwich, f"_{backward.__name__}")(dout, cache, need_dx=False)
    assert short[0] is None
    assert frozen(list(short[1:])) == frozen(list(full[1:]))
