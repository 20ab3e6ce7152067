"""Batch and layer normalization against their twins."""

import itertools

import numpy as np
import pytest
from adversarial import DTYPES, KINDS, LAYOUTS, SPECIAL, frozen, normal, planted, small_integers
from comparing import added, both, both_pairs, close, run

from daseCV_c.layers import (
    batchnorm_backward,
    batchnorm_backward_alt,
    batchnorm_forward,
    layernorm_backward,
    layernorm_forward,
)

BACKWARDS = pytest.mark.parametrize("backward", [batchnorm_backward, batchnorm_backward_alt], ids=lambda f: f.__name__)
FORWARDS = pytest.mark.parametrize("forward", [batchnorm_forward, layernorm_forward], ids=lambda f: f.__name__)
MIXED = pytest.mark.parametrize("dtypes", list(itertools.product(DTYPES, repeat=4)),
                                ids=lambda t: "-".join(np.dtype(d).name for d in t))
SHAPES = [(1, 1), (1, 7), (2, 3), (5, 7), (33, 17), (100, 64), (257, 131), (1030, 70), (3, 3072), (70, 515)]


def inputs(shape, dtype, make=normal):
    n, d = shape
    return [make("x", n, d, dtype=dtype), make("gamma", d, dtype=dtype), make("beta", d, dtype=dtype),
            make("dout", n, d, dtype=dtype)]


def scales(x, gamma, beta, dout, mean, var, eps, axis):
    """How large rounding errors may be: (inv_std, out, dx), in units of the data.

    An error in the mean is one of the size of x, divided by the standard deviation.
    """
    with np.errstate(all="ignore"):
        # What is finite in the result does not depend on what is not finite in the inputs.
        x, gamma, beta, dout = (np.abs(np.nan_to_num(np.asarray(a, np.float64), posinf=0, neginf=0))
                                for a in (x, gamma, beta, dout))
        inv_std = 1 / np.sqrt(var + eps)
        top = x.max(axis=axis, keepdims=True, initial=0)
        spread = 1 + (top + np.abs(mean)) * inv_std
        xhat = np.abs((x + np.abs(mean)) * inv_std)
        out = gamma * spread * (1 + xhat) + beta
        g = (dout * gamma).max(axis=axis, keepdims=True, initial=0)
        dx = inv_std * g * (1 + xhat) * spread * (1 + 2 * xhat.max(axis=axis, keepdims=True, initial=0))
    return spread, out, dx


def check(forward, backward, x, gamma, beta, dout, param):
    """Outputs, gradients and running statistics of one forward and one backward pass."""
    (out, grads, dicts), (out0, grads0, dicts0) = both_pairs(forward, backward, (x, gamma, beta, param), dout)
    axis = 1 if forward is layernorm_forward else 0
    x64 = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        if param.get("mode") != "test":
            mean, var = x64.mean(axis=axis, keepdims=True), x64.var(axis=axis, keepdims=True)
        else:
            mean = np.asarray(param.get("running_mean", np.zeros(x64.shape[1])), np.float64)[None]
            var = np.asarray(param.get("running_var", np.zeros(x64.shape[1])), np.float64)[None]
    spread, out_scale, dx_scale = scales(x, gamma, beta, dout, mean, var, param.get("eps", 1e-5), axis)
    terms = added(x64.shape[axis])
    close(out, out0, out_scale, terms)
    # The cache is of the forward pass's dtype, whatever dout is.
    working = {"working": out.dtype}
    close(grads[0], grads0[0], dx_scale, terms, **working)
    with np.errstate(all="ignore"):
        big = np.abs(np.asarray(dout, np.float64))
        close(grads[1], grads0[1], (big * spread * 2).sum(axis=0), added(x64.shape[0]), **working)
        close(grads[2], grads0[2], big.sum(axis=0), added(x64.shape[0]))
        for key in ("running_mean", "running_var"):
            assert (key in dicts[0]) == (key in dicts0[0])
            if key in dicts0[0]:
                power = 1 if key == "running_mean" else 2
                top = np.abs(x64).max(axis=0, initial=0)
                size = np.abs(np.asarray(param.get(key, 0), np.float64)) + 4 * top**power
                close(dicts[0][key], dicts0[0][key], size, added(x64.shape[0]), form=param["mode"] == "train")
    assert list(dicts[0]) == list(dicts0[0])


def statistics(d, dtype):
    return {"running_mean": normal("running_mean", d, dtype=dtype),
            "running_var": np.abs(normal("running_var", d, dtype=dtype)) + dtype(0.1)}


@BACKWARDS
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batchnorm_training(level, dtype, backward, shape):
    args = inputs(shape, dtype)
    check(batchnorm_forward, backward, *args, {"mode": "train"})
    held = statistics(shape[1], dtype)
    check(batchnorm_forward, backward, *args, {"mode": "train", "eps": 1e-3, "momentum": 0.3} | held)


@BACKWARDS
@pytest.mark.parametrize("shape", [(0, 5), *SHAPES], ids=str)
def test_batchnorm_testing(level, dtype, backward, shape):
    args = inputs(shape, dtype)
    check(batchnorm_forward, backward, *args, {"mode": "test"} | statistics(shape[1], dtype))
    check(batchnorm_forward, backward, *args, {"mode": "test"})


@pytest.mark.parametrize("shape", [(0, 5), *SHAPES], ids=str)
def test_layernorm(level, dtype, shape):
    args = inputs(shape, dtype)
    check(layernorm_forward, layernorm_backward, *args, {})
    check(layernorm_forward, layernorm_backward, *args, {"eps": 1e-2})


@BACKWARDS
@pytest.mark.parametrize("mode", ["train", "test"])
def test_batchnorm_of_no_features(level, dtype, backward, mode):
    check(batchnorm_forward, backward, *inputs((3, 0), dtype), {"mode": mode})


@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 1e4])
def test_large_mean_small_spread(level, dtype, offset, spread):
    """Subtracting the mean of the squares would lose every figure here."""
    x, gamma, beta, dout = inputs((129, 37), dtype)
    x = (x.astype(np.float64) * spread + offset).astype(dtype)
    check(batchnorm_forward, batchnorm_backward, x, gamma, beta, dout, {"mode": "train"})
    check(batchnorm_forward, batchnorm_backward_alt, x, gamma, beta, dout, {"mode": "train"})
    check(layernorm_forward, layernorm_backward, x, gamma, beta, dout, {})


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1024.0])
def test_constant_features(level, dtype, value):
    """Without variance, eps alone keeps the division finite."""
    _, gamma, beta, dout = inputs((16, 9), dtype)
    x = np.full((16, 9), value, dtype)
    for forward, param in ((batchnorm_forward, {"mode": "train"}), (layernorm_forward, {})):
        (out, _), _ = run("compiled", forward, x, gamma, beta, param)
        np.testing.assert_array_equal(out, np.broadcast_to(beta, out.shape))
    check(batchnorm_forward, batchnorm_backward_alt, x, gamma, beta, dout, {"mode": "train"})
    check(layernorm_forward, layernorm_backward, x[:, :8], gamma[:8], beta[:8], dout[:, :8], {})


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("position", range(4))
def test_layouts(level, dtype, layout, position):
    args = inputs((13, 11), dtype)
    args[position] = LAYOUTS[layout](args[position])
    for mode in ("train", "test"):
        check(batchnorm_forward, batchnorm_backward, *args, {"mode": mode} | statistics(11, dtype))
    check(batchnorm_forward, batchnorm_backward_alt, *args, {"mode": "train"})
    check(layernorm_forward, layernorm_backward, *args, {})


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", ["train", "test"])
def test_layouts_of_running_statistics(level, dtype, layout, mode):
    held = {key: LAYOUTS[layout](value) for key, value in statistics(11, dtype).items()}
    check(batchnorm_forward, batchnorm_backward, *inputs((13, 11), dtype), {"mode": mode} | held)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("position", range(4))
def test_kinds(level, dtype, kind, position):
    args = inputs((13, 11), dtype, small_integers)
    args[position] = KINDS[kind](args[position])
    check(batchnorm_forward, batchnorm_backward, *args, {"mode": "train"})
    check(batchnorm_forward, batchnorm_backward_alt, *args, {"mode": "test"} | statistics(11, dtype))
    check(layernorm_forward, layernorm_backward, *args, {})


@MIXED
def test_mixed_dtypes(level, dtypes):
    args = [a.astype(d) for a, d in zip(inputs((9, 8), np.float64), dtypes, strict=True)]
    check(batchnorm_forward, batchnorm_backward, *args, {"mode": "train"})
    check(batchnorm_forward, batchnorm_backward_alt, *args, {"mode": "test"} | statistics(8, dtypes[0]))
    check(layernorm_forward, layernorm_backward, *args, {})


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("position", range(4))
def test_special_values(level, dtype, kind, position):
    args = inputs((37, 19), dtype)
    args[position] = planted(args[position], kind)
    check(batchnorm_forward, batchnorm_backward_alt, *args, {"mode": "train"})
    check(batchnorm_forward, batchnorm_backward, *args, {"mode": "test"} | statistics(19, dtype))
    check(layernorm_forward, layernorm_backward, *args, {})


@pytest.mark.parametrize("kind", SPECIAL)
def test_nan_and_inf_stay_in_their_feature(backend, dtype, kind):
    x, gamma, beta, _ = inputs((12, 6), dtype)
    clean = batchnorm_forward(x, gamma, beta, {"mode": "train"})[0]
    x[3, 2] = planted(np.zeros(1, dtype), kind)[0]
    with np.errstate(all="ignore"):
        out = batchnorm_forward(x, gamma, beta, {"mode": "train"})[0]
    others = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(out[:, others], clean[:, others])


def test_the_two_backward_passes_agree(backend):
    x, gamma, beta, dout = inputs((40, 30), np.float64)
    _, cache = batchnorm_forward(3 * x + 5, gamma, beta, {"mode": "train"})
    for one, other in zip(batchnorm_backward(dout, cache), batchnorm_backward_alt(dout, cache), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


def test_output_has_the_given_mean_and_spread(backend):
    x, _, _, _ = inputs((200, 3), np.float64)
    gamma, beta = np.asarray([3, 4, 5]), np.asarray([11, 12, 13])
    out, _ = batchnorm_forward(7 * x - 2, gamma, beta, {"mode": "train"})
    np.testing.assert_allclose(out.mean(axis=0), beta, atol=1e-6)
    np.testing.assert_allclose(out.std(axis=0), gamma, atol=1e-5)
    out, _ = layernorm_forward((7 * x - 2).T, np.full(200, 3), np.full(200, 5), {})
    np.testing.assert_allclose(out.mean(axis=1), 5, atol=1e-6)
    np.testing.assert_allclose(out.std(axis=1), 3, atol=1e-5)


def test_running_statistics_are_the_course_formula(backend, dtype):
    x, gamma, beta, _ = inputs((50, 4), dtype)
    param = {"mode": "train", "momentum": 0.8}
    batchnorm_forward(x, gamma, beta, param)
    np.testing.assert_allclose(param["running_mean"], 0.2 * x.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(param["running_var"], 0.2 * x.var(axis=0), rtol=1e-4)
    assert param["running_mean"].dtype == param["running_var"].dtype == dtype


@pytest.mark.parametrize("mode", ["train", "test"])
def test_testing_leaves_the_running_statistics(backend, dtype, mode):
    x, gamma, beta, _ = inputs((13, 11), dtype)
    param = {"mode": mode} | statistics(11, dtype)
    held, before = (param["running_mean"], param["running_var"]), frozen(param)
    batchnorm_forward(x, gamma, beta, param)
    assert (frozen(param) == before) == (mode == "test")
    if mode == "train":
        assert param["running_mean"] is not held[0] and param["running_var"] is not held[1]


@FORWARDS
def test_writing_to_the_output_leaves_the_gradients(backend, dtype, forward):
    x, gamma, beta, dout = inputs((13, 11), dtype)
    backward = layernorm_backward if forward is layernorm_forward else batchnorm_backward
    out, cache = forward(x, gamma, beta, {"mode": "train"})
    expected = frozen(backward(dout, cache))
    out.fill(-1)
    x.fill(-1)
    first = backward(dout, cache)
    assert frozen(first) == expected
    for grad in first:
        grad.fill(-1)
    assert frozen(backward(dout, cache)) == expected


@FORWARDS
def test_writing_to_gamma_leaves_the_gradients(backend, dtype, forward):
    """sgd changes gamma in place between the passes of two batches."""
    x, gamma, beta, dout = inputs((13, 11), dtype)
    backward = layernorm_backward if forward is layernorm_forward else batchnorm_backward
    _, cache = forward(x, gamma, beta, {"mode": "train"})
    expected = frozen(backward(dout, cache))
    gamma *= 2
    assert frozen(backward(dout, cache)) == expected


def test_backward_after_testing_takes_the_statistics_as_constants(level, dtype):
    x, gamma, beta, dout = inputs((13, 11), dtype)
    held = statistics(11, dtype)
    for backend in ("compiled", "numpy"):
        (_, cache), _ = run(backend, batchnorm_forward, x, gamma, beta, {"mode": "test"} | held)
        for backward in (batchnorm_backward, batchnorm_backward_alt):
            (dx, _, _), _ = run(backend, backward, dout, cache)
            expected = dout * gamma / np.sqrt(held["running_var"] + dtype(1e-5))
            close(dx, expected, np.abs(expected) + 1, 8)


@BACKWARDS
def test_caches_are_exchangeable(level, dtype, backward):
    """A cache of one backend serves the other: a switch between the passes does no harm."""
    x, gamma, beta, dout = inputs((13, 11), dtype)
    ((_, cache), _), ((_, cache0), _) = both(batchnorm_forward, x, gamma, beta, {"mode": "train"})
    (grads, _), (grads0, _) = run("numpy", backward, dout, cache), run("compiled", backward, dout, cache0)
    for grad, grad0 in zip(grads, grads0, strict=True):
        close(grad, grad0, 100, 8)
