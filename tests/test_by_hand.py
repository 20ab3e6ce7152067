"""Numbers worked out by hand, or by plain Python: a kernel and its twin could be wrong in the same way."""

import math

import numpy as np
import pytest

from daseCV_c import im2col_cython, layers, optim, reference
from daseCV_c._layers.batch import gather_batch
from daseCV_c._step.passes import train_batches
from daseCV_c.fast_layers import max_pool_backward_fast, max_pool_forward_fast
from daseCV_c.reference._common import as_float

START = {"learning_rate": 0.1}
# From w = 1 and dw = 3: the settings and the state before, the next w, and the state after.
RULES = {
    "sgd": ({}, 0.7, {}),
    "sgd_momentum": ({"momentum": 0.5, "velocity": 3.0}, 2.2, {"velocity": 1.2}),
    "nesterov": ({"momentum": 0.5, "velocity": 3.0}, 1 - 0.5 * 3 + 1.5 * 1.2, {"velocity": 1.2}),
    "rmsprop": ({"decay_rate": 0.25, "epsilon": 0.5, "cache": 9.0}, 1 - 0.3 / 3.5, {"cache": 9.0}),
    "adagrad": ({"epsilon": 0.5, "cache": 7.0}, 1 - 0.3 / 4.5, {"cache": 16.0}),
    "adam": ({"beta1": 0.5, "beta2": 0.25, "epsilon": 0.5, "m": 1.0, "v": 3.0, "t": 1},
             1 - 0.1 * (2 / 0.75) / (math.sqrt(8.0) + 0.5), {"m": 2.0, "v": 7.5, "t": 2}),
    "adamw": ({"beta1": 0.5, "beta2": 0.25, "epsilon": 0.5, "weight_decay": 0.3, "m": 1.0, "v": 3.0, "t": 1},
              0.97 - 0.1 * (2 / 0.75) / (math.sqrt(8.0) + 0.5), {"m": 2.0, "v": 7.5, "t": 2}),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_step_of_each_rule(backend, rule):
    before, next_w, after = RULES[rule]
    config = START | {key: np.full(2, value) if key in optim.STATES[rule] else value for key, value in before.items()}
    found, config = getattr(optim, rule)(np.ones(2), np.full(2, 3.0), config)
    np.testing.assert_allclose(found, np.full(2, next_w), rtol=1e-14)
    for key, value in after.items():
        np.testing.assert_allclose(config[key], value, rtol=1e-14)


@pytest.mark.parametrize("rule", RULES)
def test_a_first_step_begins_at_zero(backend, rule):
    """With the defaults, of which the twins have their own. Adam's first step has the size of the rate."""
    expected = {"sgd": 0.97, "sgd_momentum": 0.97, "nesterov": 1 + 1.9 * -0.03, "rmsprop": 1 - 0.03 / (0.3 + 1e-8),
                "adagrad": 1 - 0.03 / (3 + 1e-8), "adam": 1 - 3e-3 / (3 + 1e-8), "adamw": 1 - 1e-5 - 3e-3 / (3 + 1e-8)}
    for rules in (optim, reference):
        found, config = getattr(rules, rule)(np.ones(2), np.full(2, 3.0))
        np.testing.assert_allclose(found, expected[rule], rtol=1e-13)
        assert {key: config[key] for key in optim.SETTINGS[rule]} == optim.SETTINGS[rule]


@pytest.mark.once
@pytest.mark.parametrize("dtypes", [
    ("f4", "f4"), ("f4", "f8"), ("i4", "f4"), ("f2", "f4"), ("?", "u1"), (">f4", ">f4")])
def test_dtype_of_the_twins(dtypes):
    """float32 for float32 alone."""
    found = as_float(*(np.ones(2, dtype) for dtype in dtypes))
    assert {a.dtype for a in found} == {np.dtype(np.float32 if all("f4" in d for d in dtypes) else np.float64)}


TRAIN = {"mode": "train"}
NORMS = {
    "batchnorm": (layers.batchnorm_forward, (4, 6), (6,), [TRAIN]),
    "layernorm": (layers.layernorm_forward, (4, 6), (6,), [{}]),
    "spatial_batchnorm": (layers.spatial_batchnorm_forward, (2, 2, 3, 4), (2,), [TRAIN]),
    "spatial_groupnorm": (layers.spatial_groupnorm_forward, (2, 4, 3, 2), (1, 4, 1, 1), [2, {}]),
}


@pytest.mark.parametrize("norm", NORMS)
def test_normalization_of_small_numbers(backend, norm):
    """The variance is as large as the default of epsilon: the root is taken of twice that."""
    forward, shape, scale, (*groups, param) = NORMS[norm]
    sign = np.where(np.indices(shape).sum(axis=0) % 2, 1.0, -1.0)
    for function in (forward, getattr(reference, forward.__name__)):  # the twin has defaults of its own
        held = dict(param)
        out, _ = function(math.sqrt(1e-5) * sign + 7, np.full(scale, 3.0), np.full(scale, 5.0), *groups, held)
        np.testing.assert_allclose(out, 5 + 3 * sign / math.sqrt(2), rtol=1e-10)
        if "mode" in param:
            np.testing.assert_allclose(held["running_mean"], 0.7, rtol=1e-12)
            np.testing.assert_allclose(held["running_var"], 1e-6, rtol=1e-9)


@pytest.mark.parametrize(("sizes", "dtype"), [((2, 3), np.uint8), ((16, 16), np.uint8), ((1, 257), np.int32)])
def test_places_of_maxima_fit_their_type(backend, sizes, dtype):
    """The maximum is the last of its window."""
    x = np.arange(float(math.prod(sizes))).reshape(1, 1, *sizes)
    param = {"pool_height": sizes[0], "pool_width": sizes[1], "stride": 1}
    out, cache = max_pool_forward_fast(x, param)
    assert out.item() == x.max() and cache[0].dtype == dtype
    dx = max_pool_backward_fast(np.full((1, 1, 1, 1), 5.0), cache)
    assert dx.flat[-1] == 5 and np.count_nonzero(dx) == 1


def test_a_pass_of_one_sample(backend):
    """x = 2, w = 3, b = 1, so p = 7 for y = 5: the squared loss is 2, the penalty 0.5 * 0.5 * 9."""
    for train in (train_batches, reference.passes.train_batches):
        w, b, of_w, of_b = np.array([[3.0]]), np.array([1.0]), np.array([[2.0]]), np.array([4.0])
        losses = train(
            np.array([[2.0]]), np.array([[5.0]]), None, 1, [w], [b], [(of_w,), (of_b,)], activation="relu",
            loss="squared", rule="sgd_momentum", numbers={"learning_rate": 0.1, "momentum": 0.5}, alpha=0.5, t=0)
        assert losses == pytest.approx([2 + 2.25])
        assert (of_w.item(), of_b.item()) == pytest.approx((1 - 0.1 * (4 + 1.5), 2 - 0.2))
        assert (w.item(), b.item()) == pytest.approx((3 + of_w.item(), 1 + of_b.item()))


def test_losses_of_two_scores(backend):
    """Probabilities 1/4 and 3/4; margins of the other scores 1 + 1 - 2 and 1 + 4 - 2."""
    loss, dx = layers.softmax_loss(np.log([[1.0, 3.0], [3.0, 9.0]]), [0, 1])
    assert loss == pytest.approx((math.log(4) - math.log(0.75)) / 2)
    np.testing.assert_allclose(dx, np.array([[-0.75, 0.75], [0.25, -0.25]]) / 2, rtol=1e-14)
    loss, dx = layers.svm_loss(np.array([[2.0, 1.0, 4.0], [0.0, 0.0, 9.0]]), [0, 2])
    assert loss == 1.5
    assert dx.tolist() == [[-0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize(("pad", "stride"), [(0, 1), (1, 2), (3, 1), (2, 3)])
def test_columns_go_back_one_by_one(backend, pad, stride):
    N, C, H, W, HH, WW = 2, 2, 5, 4, 2, 3
    out_h, out_w = (H + 2 * pad - HH) // stride + 1, (W + 2 * pad - WW) // stride + 1
    cols = np.arange(float(C * HH * WW * N * out_h * out_w)).reshape(C, HH, WW, N, out_h, out_w)
    expected = np.zeros((N, C, H, W))
    for c, u, v, n, i, j in np.ndindex(cols.shape):
        y, x = i * stride + u - pad, j * stride + v - pad
        if 0 <= y < H and 0 <= x < W:
            expected[n, c, y, x] += cols[c, u, v, n, i, j]
    found = im2col_cython.col2im_6d_cython(cols, N, C, H, W, HH, WW, pad, stride)
    np.testing.assert_array_equal(found, expected)
    flat = cols.transpose(0, 1, 2, 4, 5, 3).reshape(C * HH * WW, -1)
    np.testing.assert_array_equal(
        im2col_cython.col2im_cython(flat, N, C, H, W, HH, WW, pad, stride), expected)


def test_the_row_that_is_missing_is_named(backend):
    rows = [[1, 2], [3, 4]]  # integers that no kernel takes
    for index, bad in (([0, 2, 1], 2), ([0, -1, 7], -1)):
        with pytest.raises(IndexError, match=f"^gather_batch: index holds {bad}, but X has 2 rows$"):
            gather_batch(rows, index)


@pytest.mark.parametrize("given", ["running_mean", "running_var"])
def test_testing_leaves_both_statistics_where_one_was_given(backend, given):
    """The other one is zeros, as in the course."""
    param = {"mode": "test", "eps": 0.25, given: np.full(2, 4.0)}
    out, _ = layers.batchnorm_forward(np.full((1, 2), 6.0), np.ones(2), np.zeros(2), param)
    np.testing.assert_allclose(out, 2 / 0.5 if given == "running_mean" else 6 / math.sqrt(4.25), rtol=1e-14)
    other = ({"running_mean", "running_var"} - {given}).pop()
    assert param[given].tolist() == [4, 4] and param[other].tolist() == [0, 0]


def test_an_affine_layer_of_images(backend):
    """Two images of 0 to 5 and 6 to 11, weights 0 to 5; the twin has a backward pass of its own."""
    x, w = np.arange(12.0).reshape(2, 3, 2), np.arange(6.0).reshape(6, 1)
    for module in (layers, reference):
        out, cache = module.affine_forward(x, w, np.array([0.5]))
        assert out.tolist() == [[55.5], [145.5]]
        dx, dw, db = module.affine_backward(np.array([[1.0], [10.0]]), cache)
        np.testing.assert_array_equal(dx, [w.reshape(3, 2), 10 * w.reshape(3, 2)])
        np.testing.assert_array_equal(dw, 11 * w + 60)
        assert db.tolist() == [11]
