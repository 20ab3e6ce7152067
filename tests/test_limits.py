"""The smallest and the widest: nothing in it, one sample, one class, one feature, ten thousand classes."""

import sys

import numpy as np
import pytest
from adversarial import LAYOUTS, frozen, rng_of

import daseCV_c
from daseCV_c import fast_layers, im2col_cython, layers, optim
from daseCV_c._layers import geometry
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.data_utils import gather_batch
from daseCV_c.solver import Solver

pytestmark = [pytest.mark.compiled, pytest.mark.once]


def draw(*shape):
    return rng_of("limits", shape).standard_normal(shape)


def affine(n, d, m):
    out, cache = layers.affine_forward(draw(n, d), draw(d, m), draw(m))
    return out, layers.affine_backward(draw(n, m), cache)


def relu(n, d, m):
    out, cache = layers.relu_forward(draw(n, d))
    return out, layers.relu_backward(draw(n, d), cache)


def dropout(n, d, m):
    np.random.seed(2)
    out, cache = layers.dropout_forward(draw(n, d), {"p": 0.5, "mode": "train"})
    return out, layers.dropout_backward(draw(n, d), cache)


def batchnorm(n, d, m):
    param = {"mode": "train"}
    out, cache = layers.batchnorm_forward(draw(n, d), draw(d), draw(d), param)
    return out, layers.batchnorm_backward(draw(n, d), cache), param["running_var"]


def layernorm(n, d, m):
    out, cache = layers.layernorm_forward(draw(n, d), draw(d), draw(d), {})
    return out, layers.layernorm_backward(draw(n, d), cache)


def softmax(n, d, m):
    return layers.softmax_loss(draw(n, m), rng_of(n).integers(0, m, n) if m else np.zeros(n, int))


def svm(n, d, m):
    return layers.svm_loss(draw(n, m), rng_of(n).integers(0, m, n) if m else np.zeros(n, int))


def rules(n, d, m):
    return [getattr(optim, rule)(draw(d, m), draw(d, m), {})[0] for rule in ("sgd", "sgd_momentum", "rmsprop", "adam")]


def conv(n, d, m):
    """Of images d pixels wide and one pixel high, for m filters."""
    out, cache = fast_layers.conv_forward_fast(draw(n, 2, 1, d), draw(m, 2, 1, 1), draw(m), {"stride": 1, "pad": 0})
    return out, fast_layers.conv_backward_fast(draw(*out.shape), cache)


def pool(n, d, m):
    out, cache = fast_layers.max_pool_forward_fast(draw(n, 2, 1, d), {"pool_height": 1, "pool_width": 1, "stride": 1})
    return out, fast_layers.max_pool_backward_fast(draw(*out.shape), cache)


def columns(n, d, m):
    return im2col_cython.im2col_cython(draw(n, 2, 1, d), 1, 1, 0, 1)


def spatial(n, d, m):
    out, cache = layers.spatial_batchnorm_forward(draw(n, 2, 1, d), draw(2), draw(2), {"mode": "train"})
    group, kept = layers.spatial_groupnorm_forward(draw(n, 2, 1, d), draw(2), draw(2), 2, {})
    return (out, layers.spatial_batchnorm_backward(draw(*out.shape), cache),
            group, layers.spatial_groupnorm_backward(draw(*out.shape), kept))


SIZES = [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0), (1, 5, 3), (4, 1, 3), (4, 5, 1), (1, 1, 1), (3, 2, 10_000)]


def ended(call, *sizes):
    """What it gives, or which error."""
    try:
        return call(*sizes)
    except (ValueError, TypeError) as error:
        return type(error), str(error)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("call", [affine, relu, dropout, batchnorm, layernorm, softmax, svm, rules, conv, pool, columns,
                                  spatial], ids=lambda call: call.__name__)
def test_layers(call, sizes):
    """The kernels give what the twins give, or the same error."""
    with np.errstate(all="ignore"):
        with daseCV_c.use_backend("numpy"):
            expected = ended(call, *sizes)
        with daseCV_c.use_backend("compiled"):
            found = ended(call, *sizes)
    if isinstance(expected, tuple) and isinstance(expected[0], type):
        assert found == expected
        return

    def same(found, expected):
        if isinstance(expected, (list, tuple)):
            for one, other in zip(found, expected, strict=True):
                same(one, other)
        elif expected is not None:
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
    same(found, expected)


def test_what_is_empty_is_aligned_wherever_it_lies(backend):
    columns = LAYOUTS["misaligned"](np.empty((4, 2, 1, 0, 2, 3)))
    assert columns.ctypes.data % 8 == 1
    assert im2col_cython.col2im_6d_cython(columns, 0, 4, 3, 4, 2, 1, 2, 3).shape == (0, 4, 3, 4)
    param = {"pool_height": 20, "pool_width": 20, "stride": 1}
    out, (places, *rest) = fast_layers.max_pool_forward_fast(np.empty((0, 2, 20, 20)), param)
    places = LAYOUTS["misaligned"](places)
    assert places.ctypes.data % places.itemsize == 1
    assert fast_layers.max_pool_backward_fast(out, (places, *rest)).shape == (0, 2, 20, 20)


def test_columns_of_no_images_end_at_once_however_large_the_images(script):
    """The kernels went through every row of nothing."""
    source = """
import numpy as np
from daseCV_c.im2col_cython import col2im_cython, im2col_cython
for shape in ((0, 1, 2**40, 4), (0, 2**40, 4, 4)):
    columns = im2col_cython(np.empty(shape), 3, 3, 1, 1)
    print(columns.shape, col2im_cython(columns, *shape, 3, 3, 1, 1).shape == shape)
"""
    said = script(source)
    assert said == f"(9, 0) True\n({9 * 2**40}, 0) True\n"


@pytest.mark.parametrize(("n", "d", "classes"), [(1, 1, 1), (1, 5, 3), (4, 1, 3), (4, 5, 1), (3, 2, 10_000)], ids=str)
@pytest.mark.parametrize("norm", [None, "batchnorm", "layernorm"])
def test_networks_train_and_predict(n, d, classes, norm):
    """By the fused step as by the twins. One sample is its own mean: batch norm refuses it."""
    data = {"X_train": draw(n, d), "y_train": rng_of(n).integers(0, classes, n), "X_val": draw(n, d),
            "y_val": np.zeros(n, int)}
    ends = {}
    for backend in daseCV_c._runtime.backend.BACKENDS:
        with daseCV_c.use_backend(backend), np.errstate(all="ignore"):
            np.random.seed(4)
            net = FullyConnectedNet([3, 1], input_dim=d, num_classes=classes, normalization=norm, dtype=np.float64)
            solver = Solver(net, data, update_rule="adam", batch_size=n, num_epochs=3, verbose=False)
            if norm == "batchnorm" and n == 1:
                before = frozen(net.params)
                with pytest.raises(ValueError, match="a batch of one sample"):
                    solver.train()
                assert frozen(net.params) == before
                ends[backend] = net.loss(data["X_train"]), 0
                continue
            solver.train()
            ends[backend] = np.array(solver.loss_history), net.loss(data["X_train"])
    for one, other in zip(*ends.values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("make", [
    lambda: TwoLayerNet(input_dim=4, hidden_dim=3, num_classes=2),
    lambda: FullyConnectedNet([3], input_dim=4, num_classes=2, dtype=np.float64),
    lambda: ThreeLayerConvNet((1, 2, 2), 2, 1, 3, 2, dtype=np.float64)], ids=["two", "full", "conv"])
def test_no_samples_is_an_error_or_no_scores(make):
    net = make()
    x = np.zeros((0, 1, 2, 2) if isinstance(net, ThreeLayerConvNet) else (0, 4))
    before = frozen(net.params)
    assert net.loss(x).shape == (0, 2)
    with pytest.raises(ValueError):
        net.loss(x, np.zeros(0, int))
    assert frozen(net.params) == before


def test_the_largest_window_and_the_largest_array():
    assert geometry.size("f", "stride", 2**30) == 2**30
    with pytest.raises(ValueError, match="f: stride is 1073741825"):
        geometry.size("f", "stride", 2**30 + 1)
    geometry.holdable("f", "x", (sys.maxsize // 8, 0))
    with pytest.raises(ValueError, match="f: x would have shape"):
        geometry.holdable("f", "x", (sys.maxsize // 8 + 1, 0))


def test_a_padding_with_which_an_image_is_nearly_too_large(backend):
    assert im2col_cython.im2col_cython(np.ones((0, 1, 1, 1)), 1, 1, 450_000_000, 1).shape == (1, 0)


def test_filters_without_width(backend):
    x, b, param = np.ones((1, 1, 4, 4)), np.ones(1), {"stride": 1, "pad": 1}
    with pytest.raises(ValueError, match="expected filters of at least 1 x 1"):
        fast_layers.conv_forward_fast(x, np.ones((1, 1, 2, 0)), b, param)
    with pytest.raises(ValueError, match="filters of height 7, but x has height 4, 6 with pad 1"):
        fast_layers.conv_forward_fast(x, np.ones((1, 1, 7, 1)), b, param)


def test_images_without_width_in_groups(backend):
    with pytest.raises(ValueError, match="at least one channel and one pixel"):
        layers.spatial_groupnorm_forward(np.ones((1, 2, 3, 0)), np.ones(2), np.ones(2), 1, {})


def test_no_features_are_normalized_in_training(backend):
    out, cache = layers.batchnorm_forward(np.ones((3, 0)), np.ones(0), np.ones(0), {"mode": "train"})
    assert out.shape == (3, 0) and layers.batchnorm_backward(out, cache)[0].shape == (3, 0)


def test_a_cache_that_is_none_is_said_to_be_of_the_forward_pass(backend):
    with pytest.raises(ValueError, match="cache is not one that batchnorm_forward returned"):
        layers.batchnorm_backward(np.ones((2, 3)), (3, np.ones((2, 3)), np.ones(3), np.ones(3)))


def test_an_index_of_no_row_is_told_with_the_rows_there_are(backend):
    with pytest.raises(IndexError, match="index holds 4, but X has 3 rows"):
        gather_batch(np.ones((3, 7), np.float16), np.array([4]))
