"""Batch and group norm of images: kernels against twins, and against rows of pixels."""

import itertools

import numpy as np
import pytest
from adversarial import DTYPES, KINDS, LAYOUTS, SPECIAL, frozen, normal, planted, small_integers
from comparing import added, both, both_pairs, close, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import daseCV_c
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


def test_statistics_far_from_zero_are_exact(level, dtype):
    """Steps of the last bit of float32, which squares of x itself would lose even in double."""
    x = (2.0**20 + small_integers("x", 3, 4, 9, 11) / 8).astype(dtype)
    (_, _), dicts = run("compiled", spatial_batchnorm_forward, x, np.ones(4, dtype), np.zeros(4, dtype),
                        {"mode": "train", "momentum": 0.0})
    np.testing.assert_allclose(dicts[0]["running_var"], rows(x).var(axis=0), rtol=1e-6)
    np.testing.assert_allclose(dicts[0]["running_mean"], rows(x).mean(axis=0), rtol=1e-7)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("pixel", [(0, 0), (4, 6)])
def test_mean_of_a_channel_with_an_infinity(level, dtype, value, pixel):
    x, gamma, beta, _ = inputs((2, 3, 5, 7), dtype)
    x[1, 2, pixel[0], pixel[1]] = value
    (_, dicts), (_, dicts0) = both(spatial_batchnorm_forward, x, gamma, beta, {"mode": "train"})
    assert dicts[0]["running_mean"][2] == dicts0[0]["running_mean"][2] == value
    np.testing.assert_allclose(dicts[0]["running_mean"], dicts0[0]["running_mean"], rtol=1e-4)


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


def call(norm, *arrays):
    """(out, cache, the backward function)."""
    if norm == "batch":
        return (*spatial_batchnorm_forward(*arrays, {"mode": "train"}), BN[1])
    return (*spatial_groupnorm_forward(*arrays, 2, {}), GN[1])


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
