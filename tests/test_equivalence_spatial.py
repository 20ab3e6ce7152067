"""Batch and group norm of images: kernels against twins, against rows of pixels, the notebook, torch, bad input."""

import itertools
import re
from importlib.util import find_spec

import numpy as np
import pytest
from adversarial import DTYPES, KINDS, LAYOUTS, SPECIAL, frozen, normal, planted, small_integers
from comparing import added, both, both_pairs, close, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import daseCV_c
from daseCV_c.gradient_check import eval_numerical_gradient_array
from daseCV_c.layers import (
    batchnorm_backward_alt,
    batchnorm_forward,
    layernorm_backward,
    layernorm_forward,
    spatial_batchnorm_backward,
    spatial_batchnorm_forward,
    spatial_groupnorm_backward,
    spatial_groupnorm_forward,
)

BN = spatial_batchnorm_forward, spatial_batchnorm_backward
GN = spatial_groupnorm_forward, spatial_groupnorm_backward
SHAPES = [
    (1, 1, 1, 1), (1, 4, 1, 1), (5, 4, 1, 1), (2, 3, 4, 5), (3, 1, 7, 5), (1, 6, 9, 3), (7, 12, 5, 6), (2, 3, 33, 31),
    (40, 2, 8, 8), (5, 8, 16, 16), (130, 3, 2, 3), (2, 64, 4, 4),
]
BOTH = pytest.mark.parametrize("norm", ["batch", "group"])


def groups_of(c):
    return [g for g in range(1, c + 1) if c % g == 0]


def inputs(shape, dtype, make=normal, form="c"):
    c = shape[1]
    vector = (c,) if form == "c" else (1, c, 1, 1)
    return [make("x", *shape, dtype=dtype), make("gamma", *vector, dtype=dtype), make("beta", *vector, dtype=dtype),
            make("dout", *shape, dtype=dtype)]


def statistics(c, dtype):
    return {"running_mean": normal("running_mean", c, dtype=dtype),
            "running_var": np.abs(normal("running_var", c, dtype=dtype)) + dtype(0.1)}


def rows(x):
    """(N * H * W, C)."""
    return np.moveaxis(np.asarray(x, np.float64), 1, 3).reshape(-1, np.shape(x)[1])


def scales(x, gamma, beta, dout, mean, var, eps, axes):
    """How large rounding errors may be: (spread, out, dx), an error in the mean being one of the size of x."""
    with np.errstate(all="ignore"):
        x, gamma, beta, dout = (np.abs(np.nan_to_num(np.asarray(a, np.float64), posinf=0, neginf=0))
                                for a in (x, gamma, beta, dout))
        inv_std = 1 / np.sqrt(var + eps)
        top = x.max(axis=axes, keepdims=True, initial=0)
        spread = 1 + (top + np.abs(mean)) * inv_std
        xhat = np.abs((x + np.abs(mean)) * inv_std)
        out = gamma * spread * (1 + xhat) + beta
        g = (dout * gamma).max(axis=axes, keepdims=True, initial=0)
        dx = inv_std * g * (1 + xhat) * spread * (1 + 2 * xhat.max(axis=axes, keepdims=True, initial=0))
    return spread, out, dx


def check(x, gamma, beta, dout, param=None, groups=None):
    """Outputs, gradients and running statistics on both backends; `groups` asks for group norm."""
    N, C, H, W = np.shape(x)
    args = (x, gamma, beta, param) if groups is None else (x, gamma, beta, groups, param or {})
    forward, backward = BN if groups is None else GN
    (out, grads, dicts), (out0, grads0, dicts0) = both_pairs(forward, backward, args, dout)
    # The sets of pixels that share statistics as the axes 2 to 4 of five.
    axes = (0, 3, 4) if groups is None else (2, 3, 4)
    five = (N, C, 1, H, W) if groups is None else (N, groups, C // groups, H, W)
    x5, dout5 = (np.asarray(a, np.float64).reshape(five) for a in (x, dout))
    gamma5, beta5 = (np.broadcast_to(np.asarray(v, np.float64).reshape(1, C, 1, 1), (N, C, H, W)).reshape(five)
                     for v in (gamma, beta))
    with np.errstate(all="ignore"):
        if groups is None and param["mode"] == "test":
            mean, var = (np.asarray(param.get(f"running_{k}", np.zeros(C)), np.float64).reshape(1, C, 1, 1, 1)
                         for k in ("mean", "var"))
        else:
            mean, var = x5.mean(axis=axes, keepdims=True), x5.var(axis=axes, keepdims=True)
    spread, out_scale, dx_scale = scales(x5, gamma5, beta5, dout5, mean, var, (param or {}).get("eps", 1e-5), axes)
    terms = added(N * H * W if groups is None else C // groups * H * W)
    close(out, out0, out_scale.reshape(out.shape), terms)
    working = {"working": out.dtype}
    close(grads[0], grads0[0], dx_scale.reshape(out.shape), terms, **working)
    with np.errstate(all="ignore"):
        big = np.abs(dout5)
        for k, size in ((1, big * spread * 2), (2, big)):
            assert grads[k].shape == np.shape(gamma)
            total = np.broadcast_to(size, five).reshape(N, C, H, W).sum(axis=(0, 2, 3)).reshape(np.shape(gamma))
            close(grads[k], grads0[k], total, added(N * H * W), **(working if k == 1 else {}))
        if groups is None:
            assert list(dicts[0]) == list(dicts0[0])
            for key, power in (("running_mean", 1), ("running_var", 2)):
                top = np.abs(x5).max(axis=axes, initial=0).reshape(C)
                size = np.abs(np.asarray(param.get(key, 0), np.float64)) + 4 * top**power
                close(dicts[0][key], dicts0[0][key], size, terms, form=param["mode"] == "train")


def check_both(x, gamma, beta, dout):
    """All that one set of inputs is good for."""
    c = np.shape(x)[1]
    check(x, gamma, beta, dout, {"mode": "train"})
    check(x, gamma, beta, dout, {"mode": "test"} | statistics(c, np.float32))
    for groups in groups_of(c):
        check(x, gamma, beta, dout, groups=groups)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", ["c", "1c11"])
def test_batchnorm(level, dtype, shape, form):
    args = inputs(shape, dtype, form=form)
    check(*args, {"mode": "train"})
    check(*args, {"mode": "train", "eps": 1e-3, "momentum": 0.3} | statistics(shape[1], dtype))
    check(*args, {"mode": "test"} | statistics(shape[1], dtype))
    check(*args, {"mode": "test"})


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("form", ["c", "1c11"])
def test_groupnorm(level, dtype, shape, form):
    args = inputs(shape, dtype, form=form)
    for groups in groups_of(shape[1]):
        check(*args, groups=groups)
    check(*args, {"eps": 1e-2}, groups=1)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture],
          derandomize=True)
@given(st.tuples(*[st.integers(1, high) for high in (5, 8, 13, 13)]), st.sampled_from(DTYPES))
def test_any_geometry(level, shape, dtype):
    check_both(*inputs(shape, dtype))


@pytest.mark.parametrize("shape", [(0, 4, 3, 3), (2, 4, 0, 3), (2, 0, 3, 3)], ids=str)
def test_no_pixels(level, dtype, shape):
    check(*inputs(shape, dtype), {"mode": "test"})
    if shape[0] == 0:
        check(*inputs(shape, dtype), groups=2)
    if shape[1] == 0:
        check(*inputs(shape, dtype), {"mode": "train"})


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (6, 5, 9, 7)], ids=str)
def test_batchnorm_is_that_of_rows_of_pixels(backend, dtype, shape, mode):
    x, gamma, beta, dout = inputs(shape, dtype)
    params = [{"mode": mode} | statistics(shape[1], dtype) for _ in range(2)]
    out, cache = spatial_batchnorm_forward(x, gamma, beta, params[0])
    grads = spatial_batchnorm_backward(dout, cache)
    out0, cache0 = batchnorm_forward(rows(x).astype(dtype), gamma, beta, params[1])
    grads0 = batchnorm_backward_alt(rows(dout).astype(dtype), cache0)
    bound = 1e-12 if dtype is np.float64 else 1e-4
    for actual, expected in ((rows(out), out0), (rows(grads[0]), grads0[0]), (grads[1], grads0[1]),
                             (grads[2], grads0[2]), *((params[0][k], params[1][k]) for k in statistics(1, dtype))):
        np.testing.assert_allclose(actual, expected, rtol=bound, atol=bound)


def test_one_group_is_layernorm_and_one_channel_each_is_instance_norm(backend):
    x, gamma, beta, dout = inputs((4, 6, 5, 3), np.float64)
    ones, zeros = np.ones(6), np.zeros(6)
    out, cache = spatial_groupnorm_forward(x, ones, zeros, 1, {})
    out0, cache0 = layernorm_forward(x.reshape(4, -1), np.ones(90), np.zeros(90), {})
    np.testing.assert_allclose(out.reshape(4, -1), out0, rtol=1e-11, atol=1e-12)
    dx, dx0 = spatial_groupnorm_backward(dout, cache)[0], layernorm_backward(dout.reshape(4, -1), cache0)[0]
    np.testing.assert_allclose(dx.reshape(4, -1), dx0, rtol=1e-11, atol=1e-12)
    out, _ = spatial_groupnorm_forward(x, gamma, beta, 6, {})
    for n in range(4):
        alone, _ = spatial_batchnorm_forward(x[n:n + 1], gamma, beta, {"mode": "train"})
        np.testing.assert_allclose(out[n], alone[0], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 1e4])
def test_large_mean_small_spread(level, dtype, offset, spread):
    """Subtracting the mean of the squares would lose every figure here."""
    x, gamma, beta, dout = inputs((9, 6, 7, 8), dtype)
    x = (x.astype(np.float64) * spread + offset).astype(dtype)
    check(x, gamma, beta, dout, {"mode": "train"})
    check(x, gamma, beta, dout, groups=3)


def test_images_of_different_levels(level, dtype):
    """Nearly all of the variance lies between the planes."""
    x, gamma, beta, dout = inputs((9, 6, 7, 8), dtype)
    x += 1000 * normal("levels", 9, 6, 1, 1, dtype=dtype)
    param = {"mode": "train", "momentum": 0.0}
    (_, _), dicts = run("compiled", spatial_batchnorm_forward, x, gamma, beta, param)
    np.testing.assert_allclose(dicts[0]["running_var"], rows(x).var(axis=0), rtol=1e-5)
    np.testing.assert_allclose(dicts[0]["running_mean"], rows(x).mean(axis=0), rtol=1e-5)
    check(x, gamma, beta, dout, {"mode": "train"})
    check(x, gamma, beta, dout, groups=2)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1024.0])
def test_constant_images(level, dtype, value):
    """Without variance, eps alone keeps the division finite."""
    _, gamma, beta, dout = inputs((2, 4, 4, 4), dtype)
    x = np.full(dout.shape, value, dtype)
    for forward, rest in ((BN[0], [{"mode": "train"}]), (GN[0], [2, {}])):
        (out, _), _ = run("compiled", forward, x, gamma, beta, *rest)
        np.testing.assert_array_equal(out, np.broadcast_to(beta[None, :, None, None], out.shape))
    check_both(x, gamma, beta, dout)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("position", range(4))
def test_layouts(level, dtype, layout, position):
    args = inputs((3, 4, 5, 6), dtype)
    args[position] = LAYOUTS[layout](args[position])
    check_both(*args)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("key", ["running_mean", "running_var"])
def test_layouts_of_running_statistics(level, dtype, layout, key):
    held = statistics(4, dtype)
    held[key] = LAYOUTS[layout](held[key])
    for mode in ("train", "test"):
        check(*inputs((3, 4, 5, 6), dtype), {"mode": mode} | held)


@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_become_float64(level, kind):
    x, gamma, beta, dout = inputs((3, 4, 3, 5), np.float64, make=small_integers)
    args = [KINDS[kind](a) for a in (x, gamma, beta, dout)]
    check_both(*args)
    assert spatial_batchnorm_forward(*args[:3], {"mode": "train"})[0].dtype == np.float64


@pytest.mark.parametrize("dtypes", list(itertools.product(DTYPES, repeat=4)),
                         ids=lambda t: "-".join(np.dtype(d).name for d in t))
def test_mixed_dtypes_are_promoted(level, dtypes):
    args = [a.astype(t) for a, t in zip(inputs((3, 4, 3, 5), np.float64), dtypes, strict=True)]
    check_both(*args)
    out, cache = spatial_batchnorm_forward(*args[:3], {"mode": "train"})
    assert out.dtype == np.result_type(*args[:3])
    assert spatial_batchnorm_backward(args[3], cache)[0].dtype == np.result_type(*args)


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("position", range(4))
def test_special_values(level, dtype, kind, position):
    args = inputs((4, 6, 5, 7), dtype)
    args[position] = planted(args[position], kind)
    if kind in ("inf", "minus_inf", "mixed") and position in (1, 3):
        # inf - inf is NaN or not by the order of operations, so only what leaves it out is compared.
        for forward, rest in ((BN[0], [{"mode": "train"}]), (GN[0], [3, {}])):
            ((out, _), _), ((out0, _), _) = both(forward, *args[:3], *rest)
            np.testing.assert_allclose(out, out0, rtol=1e-3, atol=1e-3)
        return
    check_both(*args)


@pytest.mark.parametrize("kind", ["nan", "inf", "minus_inf"])
def test_special_values_stay_in_their_set(level, dtype, kind):
    x, gamma, beta, _ = inputs((4, 6, 5, 7), dtype)
    clean = [spatial_batchnorm_forward(x, gamma, beta, {"mode": "train"})[0],
             spatial_groupnorm_forward(x, gamma, beta, 3, {})[0]]
    x[1, 2, 3, 4] = planted(np.zeros(1, dtype), kind)[0]
    with np.errstate(all="ignore"):
        bn = spatial_batchnorm_forward(x, gamma, beta, {"mode": "train"})[0]
        gn = spatial_groupnorm_forward(x, gamma, beta, 3, {})[0]
    others = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(bn[:, others], clean[0][:, others])
    changed = ~(gn == clean[1]).all(axis=(2, 3))
    np.testing.assert_array_equal(np.argwhere(changed), [[1, 2], [1, 3]])


@pytest.mark.parametrize("shape", [(7, 1, 71, 73), (5, 3, 47, 49), (3, 12, 32, 32), (1, 4, 97, 95)], ids=str)
def test_same_bits_for_any_number_of_threads(level, dtype, shape):
    x, gamma, beta, dout = inputs(shape, dtype)
    ends = set()
    for threads in (1, 2, 3, 8):
        with daseCV_c.num_threads(threads):
            found = []
            for mode in ("train", "test"):
                param = {"mode": mode} | statistics(shape[1], dtype)
                out, cache = spatial_batchnorm_forward(x, gamma, beta, param)
                found += [out, param, spatial_batchnorm_backward(dout, cache)]
            for groups in groups_of(shape[1])[:2]:
                out, cache = spatial_groupnorm_forward(x, gamma, beta, groups, {})
                found += [out, spatial_groupnorm_backward(dout, cache)]
            ends.add(str(frozen(found)))
    assert len(ends) == 1


def call(norm, *arrays, param=None):
    """(out, cache, the backward function)."""
    if norm == "batch":
        return (*spatial_batchnorm_forward(*arrays, {"mode": "train"} if param is None else param), BN[1])
    return (*spatial_groupnorm_forward(*arrays, 2, {} if param is None else param), GN[1])


@BOTH
def test_writing_to_arrays_leaves_the_gradients(backend, dtype, norm):
    x, gamma, beta, dout = inputs((3, 4, 5, 6), dtype)
    out, cache, backward = call(norm, x, gamma, beta)
    expected = frozen(backward(dout, cache))
    out.fill(-1)
    x.fill(-1)
    gamma *= 2
    first = backward(dout, cache)
    assert frozen(first) == expected
    for grad in first:
        grad.fill(-1)
    assert frozen(backward(dout, cache)) == expected


@BOTH
def test_caches_are_exchangeable(level, dtype, norm):
    x, gamma, beta, dout = inputs((3, 4, 5, 6), dtype)
    grads = []
    for first, second in itertools.product(("compiled", "numpy"), repeat=2):
        with daseCV_c.use_backend(first):
            _, cache, backward = call(norm, x, gamma, beta)
        grads.append(run(second, backward, dout, cache)[0])
    for other in grads[1:]:
        for grad, grad0 in zip(grads[0], other, strict=True):
            close(grad, grad0, 100, 8)


@pytest.mark.parametrize("mode", ["train", "test"])
def test_running_statistics(backend, dtype, mode):
    x, gamma, beta, _ = inputs((6, 3, 5, 4), dtype)
    held = statistics(3, dtype)
    param = {"mode": mode, "momentum": 0.8} | held
    before = frozen(param)
    spatial_batchnorm_forward(x, gamma, beta, param)
    assert (frozen(param) == before) == (mode == "test")
    if mode == "train":
        for key, value in (("running_mean", rows(x).mean(axis=0)), ("running_var", rows(x).var(axis=0))):
            assert param[key] is not held[key] and param[key].dtype == dtype and param[key].shape == (3,)
            np.testing.assert_allclose(param[key], 0.8 * held[key] + 0.2 * value, rtol=1e-4, atol=1e-6)


# The notebook's checks

def relative_error(a, b):
    return np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))


def spread_of(x):
    return x.mean(axis=(0, 2, 3)), x.std(axis=(0, 2, 3))


def test_notebook_batchnorm_forward(backend):
    np.random.seed(231)
    x = 4 * np.random.randn(2, 3, 4, 5) + 10
    np.testing.assert_allclose(spread_of(x), [[9.33463814, 8.90909116, 9.11056338],
                                              [3.61447857, 3.19347686, 3.5168142]], atol=1e-8)
    out, _ = spatial_batchnorm_forward(x, np.ones(3), np.zeros(3), {"mode": "train"})
    np.testing.assert_allclose(spread_of(out), [[0, 0, 0], [0.99999962, 0.99999951, 0.9999996]], atol=1e-8)
    out, _ = spatial_batchnorm_forward(x, np.asarray([3, 4, 5]), np.asarray([6, 7, 8]), {"mode": "train"})
    np.testing.assert_allclose(spread_of(out), [[6, 7, 8], [2.99999885, 3.99999804, 4.99999798]], atol=1e-8)


def test_notebook_batchnorm_testing(backend):
    np.random.seed(231)
    param, gamma, beta = {"mode": "train"}, np.ones(4), np.zeros(4)
    for _ in range(50):
        spatial_batchnorm_forward(2.3 * np.random.randn(10, 4, 11, 12) + 13, gamma, beta, param)
    param["mode"] = "test"
    out, _ = spatial_batchnorm_forward(2.3 * np.random.randn(10, 4, 11, 12) + 13, gamma, beta, param)
    np.testing.assert_allclose(spread_of(out), [[-0.08034406, 0.07562881, 0.05716371, 0.04378383],
                                                [0.96718744, 1.0299714, 1.02887624, 1.00585577]], atol=1e-8)


def gradient_errors(forward, backward, arrays, dout):
    _, cache = forward(*arrays)
    return [relative_error(eval_numerical_gradient_array(lambda _: forward(*arrays)[0], array, dout), grad)
            for array, grad in zip(arrays, backward(dout, cache), strict=True)]


def test_notebook_batchnorm_backward(backend):
    np.random.seed(231)
    arrays = [5 * np.random.randn(2, 3, 4, 5) + 12, np.random.randn(3), np.random.randn(3)]
    dout = np.random.randn(2, 3, 4, 5)
    errors = gradient_errors(lambda *a: spatial_batchnorm_forward(*a, {"mode": "train"}), BN[1], arrays, dout)
    assert errors[0] < 1e-6 and errors[1] < 1e-10 and errors[2] < 1e-10


def test_notebook_groupnorm_forward(backend):
    np.random.seed(231)
    x = 4 * np.random.randn(2, 6, 4, 5) + 10

    def groups(x):
        return x.reshape(4, -1).mean(axis=1), x.reshape(4, -1).std(axis=1)

    np.testing.assert_allclose(groups(x), [[9.72505327, 8.51114185, 8.9147544, 9.43448077],
                                           [3.67070958, 3.09892597, 4.27043622, 3.97521327]], atol=1e-8)
    out, _ = spatial_groupnorm_forward(x, np.ones((1, 6, 1, 1)), np.zeros((1, 6, 1, 1)), 2, {})
    np.testing.assert_allclose(groups(out), [[0] * 4, [0.99999963, 0.99999948, 0.99999973, 0.99999968]], atol=1e-8)


def test_notebook_groupnorm_backward(backend):
    np.random.seed(231)
    arrays = [5 * np.random.randn(2, 6, 4, 5) + 12, np.random.randn(1, 6, 1, 1), np.random.randn(1, 6, 1, 1)]
    dout = np.random.randn(2, 6, 4, 5)
    errors = gradient_errors(lambda *a: spatial_groupnorm_forward(*a, 2, {}), GN[1], arrays, dout)
    assert errors[0] < 1e-6 and errors[1] < 1e-10 and errors[2] < 1e-10


def test_gradient_after_testing(backend):
    arrays = [5 * normal("x", 2, 3, 4, 5) + 12, normal("gamma", 3), normal("beta", 3)]
    param = {"mode": "test"} | statistics(3, np.float64)
    errors = gradient_errors(lambda *a: spatial_batchnorm_forward(*a, dict(param)), BN[1], arrays,
                             normal("dout", 2, 3, 4, 5))
    assert max(errors) < 1e-6


if find_spec("torch"):
    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(st.tuples(st.integers(2, 6), st.integers(1, 8), st.integers(1, 13), st.integers(2, 13)), st.integers(0, 9))
    def test_torch(shape, which):
        import torch

        x, gamma, beta, dout = inputs(shape, np.float64)
        groups = groups_of(shape[1])[which % len(groups_of(shape[1]))]
        for dtype, bound in ((np.float64, 1e-10), (np.float32, 1e-4)):
            ours = [a.astype(dtype) for a in (x, gamma, beta)]
            theirs = [torch.tensor(a, requires_grad=True) for a in ours]
            param = {"mode": "train"} | statistics(shape[1], dtype)
            mean, var = torch.tensor(param["running_mean"]), torch.tensor(param["running_var"])
            for norm in ("batch", "group"):
                if norm == "batch":
                    out, cache, backward = call(norm, *ours, param=param)
                    out0 = torch.nn.functional.batch_norm(theirs[0], mean, var, *theirs[1:], training=True)
                else:
                    out, cache = spatial_groupnorm_forward(*ours, groups, {})
                    backward = GN[1]
                    out0 = torch.nn.functional.group_norm(theirs[0], groups, *theirs[1:])
                grads = backward(dout.astype(dtype), cache)
                grads0 = torch.autograd.grad(out0, theirs, torch.tensor(dout.astype(dtype)))
                size = 1 + max(float(g.abs().max()) for g in grads0)
                for actual, expected in zip([out, *grads], [out0, *grads0], strict=True):
                    np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=bound, atol=bound * size)
            np.testing.assert_allclose(param["running_mean"], mean.numpy(), rtol=bound, atol=bound)
            count = x.size / shape[1]
            biased = 0.9 * statistics(shape[1], dtype)["running_var"]
            biased = biased + (var.numpy() - biased) * (count - 1) / count  # torch corrects the batch's variance
            np.testing.assert_allclose(param["running_var"], biased, rtol=bound, atol=bound)


# Bad input

def ones(*shape):
    return np.ones(shape)


X = ones(2, 4, 3, 5)
F, B, G, GB = *BN, *GN


def train(**more):
    return {"mode": "train"} | more


BAD = [
    (F, (X, ones(4), ones(4), {}), ValueError, "mode"),
    (F, (X, ones(4), ones(4), {"mode": "eval"}), ValueError, "mode"),
    (F, (X, ones(4), ones(4), None), TypeError, "bn_param"),
    (F, (ones(2, 4), ones(4), ones(4), train()), ValueError, "x"),
    (F, (ones(2, 4, 3), ones(4), ones(4), train()), ValueError, "x"),
    (F, (ones(0, 4, 3, 5), ones(4), ones(4), train()), ValueError, "x"),
    (F, (ones(2, 4, 0, 5), ones(4), ones(4), train()), ValueError, "x"),
    (F, (X, ones(5), ones(4), train()), ValueError, "gamma"),
    (F, (X, ones(4, 1, 1), ones(4), train()), ValueError, "gamma"),
    (F, (X, ones(4), ones(1, 4), train()), ValueError, "beta"),
    (F, (X, ones(4), ones(1), train()), ValueError, "beta"),
    (F, (X.astype(complex), ones(4), ones(4), train()), TypeError, "x"),
    (F, (X, np.full(4, None), ones(4), train()), TypeError, "gamma"),
    (F, (X, ones(4), ones(4), train(running_mean=ones(3))), ValueError, "running_mean"),
    (F, (X, ones(4), ones(4), train(running_var=ones(1, 4, 1, 1))), ValueError, "running_var"),
    (F, (X, ones(4), ones(4), train(eps=-1.0)), ValueError, "eps"),
    (F, (X, ones(4), ones(4), train(momentum="a")), TypeError, "momentum"),
    (G, (X, ones(4), ones(4), 3, {}), ValueError, "G"),
    (G, (X, ones(4), ones(4), 8, {}), ValueError, "G"),
    (G, (X, ones(4), ones(4), 0, {}), ValueError, "G"),
    (G, (X, ones(4), ones(4), -2, {}), ValueError, "G"),
    (G, (X, ones(4), ones(4), 2.0, {}), TypeError, "G"),
    (G, (X, ones(4), ones(4), True, {}), TypeError, "G"),
    (G, (X, ones(4), ones(4), 2, None), TypeError, "gn_param"),
    (G, (X, ones(4), ones(4), 2, {"eps": "a"}), TypeError, "eps"),
    (G, (X, ones(3), ones(4), 2, {}), ValueError, "gamma"),
    (G, (X, ones(4), ones(4, 1, 1, 1), 2, {}), ValueError, "beta"),
    (G, (ones(2, 4), ones(4), ones(4), 2, {}), ValueError, "x"),
    (G, (ones(2, 4, 0, 5), ones(4), ones(4), 2, {}), ValueError, "x"),
    (G, (ones(2, 0, 3, 5), ones(0), ones(0), 2, {}), ValueError, "x"),
    *[(f, (d, c), e, n) for f, cache in ((B, F(X, ones(4), ones(4), train())[1]), (GB, G(X, ones(4), ones(4), 2, {})[1]))
      for d, c, e, n in (
          (ones(2, 4, 3, 4), cache, ValueError, "dout"), (ones(2, 4, 15), cache, ValueError, "dout"),
          (None, cache, TypeError, "dout"), (X, None, ValueError, "cache"), (X, cache[:3], ValueError, "cache"),
          (X, (7.5, *cache[1:]), ValueError, "cache"), (X, (*cache[:3], ones(3)), ValueError, "(cache|cached)"),
          (X, (*cache[:2], ones(3), cache[3]), ValueError, "cached"))],
]


@pytest.mark.parametrize(("function", "args", "error", "named"), BAD,
                         ids=[f"{k}-{case[0].__name__}-{case[3]}" for k, case in enumerate(BAD)])
def test_wrong_argument(backend, function, args, error, named):
    before = frozen(args)
    with pytest.raises(error) as caught:
        function(*args)
    message = str(caught.value)
    assert message.startswith(f"{function.__name__}: ") and re.search(rf"\b{named}\b", message), message
    assert frozen(args) == before
