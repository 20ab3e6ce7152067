"""Scores, classes and probabilities without labels: those of the layers, whatever the batch, and nothing is changed."""

import threading
import tracemalloc

import numpy as np
import pytest
from adversarial import LAYOUTS, frozen, normal, rng_of
from bf16_kernels import where_available
from comparing import close

import daseCV_c
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.solver import Solver

KINDS = {"plain": {}, "dropout": {"dropout": 0.5}, "batchnorm": {"normalization": "batchnorm"},
         "layernorm": {"normalization": "layernorm"},
         "both": {"normalization": "batchnorm", "dropout": 0.7}}
KIND = pytest.mark.parametrize("kind", KINDS)
IMAGE = (2, 3, 7)


def net_of(kind="batchnorm", dtype=np.float64, hidden=(37, 18), features=42, classes=5):
    """A network whose parameters and statistics are all of use."""
    net = FullyConnectedNet(list(hidden), features, classes, weight_scale=0.3, dtype=dtype, **KINDS[kind])
    for name, value in net.params.items():
        value += 0.3 * normal(name, *value.shape, dtype=dtype)
    for i, (entry, width) in enumerate(zip(net.bn_params, hidden, strict=False)):
        if net.normalization == "batchnorm":
            entry.update(running_mean=normal(("mean", i), width, dtype=dtype),
                         running_var=np.abs(normal(("var", i), width, dtype=dtype)) + dtype(0.1), eps=1e-3)
    return net


def conv_of(dtype=np.float64):
    net = ThreeLayerConvNet((2, 7, 6), num_filters=5, filter_size=3, hidden_dim=33, num_classes=4, weight_scale=0.3,
                            dtype=dtype)
    for name in ("b1", "b2", "b3"):
        net.params[name] += normal(name, *net.params[name].shape, dtype=dtype)
    return net


@pytest.fixture
def kernels_alone(monkeypatch):
    """The layers, which would do the work where the kernel does not, are not there."""
    for kind in (FullyConnectedNet, TwoLayerNet, ThreeLayerConvNet):
        monkeypatch.delattr(kind, "_score")


def of_numpy(call):
    with daseCV_c.use_backend("numpy"):
        return call()


def alike(backend, found, expected):
    """The same bits; but for rounding where NumPy's products, whose bits follow from the batch, made them."""
    if backend == "compiled":
        assert frozen(found) == frozen(expected)
    else:
        close(found, expected, 1, 1000)


@KIND
@pytest.mark.parametrize("n", [1, 2, 13, 33, 133, 300])
@pytest.mark.parametrize("hidden", [(), (1,), (37, 18), (300, 130)], ids=str)
def test_scores_are_those_of_the_layers(level, dtype, kind, n, hidden):
    net, X = net_of(kind, dtype, hidden), normal("X", n, *IMAGE, dtype=dtype)
    expected = of_numpy(lambda: net.loss(X))
    close(net.loss(X), expected, np.abs(expected).max() + 1, 400)
    probabilities = net.predict_proba(X)
    close(probabilities, of_numpy(lambda: net.predict_proba(X)), 1, 400 * (np.abs(expected).max() + 1))
    close(probabilities.sum(axis=1), np.ones(n, dtype), 1, 8)
    np.testing.assert_array_equal(net.predict(X), np.argmax(net.loss(X), axis=1))
    assert net.predict(X).dtype == np.int64


@pytest.mark.parametrize("n", [1, 7, 40])
def test_scores_of_the_other_networks(level, dtype, n):
    two = TwoLayerNet(42, 20, 5, weight_scale=0.3)
    for net, X in ((two, normal("X", n, *IMAGE, dtype=dtype)), (conv_of(dtype), normal("X", n, 2, 7, 6, dtype=dtype))):
        expected = of_numpy(lambda net=net, X=X: net.loss(X))
        close(net.loss(X), expected, np.abs(expected).max() + 1, 400)
        close(net.predict_proba(X), of_numpy(lambda net=net, X=X: net.predict_proba(X)), 1, 4000)
        np.testing.assert_array_equal(net.predict(X, 3), np.argmax(expected, axis=1))


@KIND
def test_same_bits_whatever_the_batch(level, kernels_alone, dtype, kind):
    """Of any number of threads and samples at a time: few rows are multiplied in another way than many."""
    # The last: a large matrix whose last column would leave most of a vector empty.
    for features, hidden in ((42, (37, 18)), (520, (100, 130)), (512, (64, 9)), (1030, (64,)), (520, (129,))):
        net, X = net_of(kind, dtype, hidden, features), normal("X", 300, features, dtype=dtype)
        with daseCV_c.num_threads(1):
            scores, expected = net.loss(X), net.predict_proba(X)
        for threads in (1, 2, 3, 16):
            with daseCV_c.num_threads(threads):
                for n in (300, 133, 65, 33, 32, 25, 12, 2, 1):
                    assert frozen(net.loss(X[-n:])) == frozen(scores[-n:]), (features, threads, n)
                assert frozen(net.predict_proba(X)) == frozen(expected)
                for batch_size in (1, 17, 299, 10**9) if threads < 3 else ():
                    assert frozen(net.predict_proba(X, batch_size)) == frozen(expected), (features, batch_size)


def test_same_bits_of_images_whatever_the_batch(level, kernels_alone, dtype, monkeypatch):
    net, X = conv_of(dtype), normal("X", 40, 2, 7, 6, dtype=dtype)
    expected = net.predict_proba(X)
    for batch_size in (1, 3, 39, 10**9):
        assert frozen(net.predict_proba(X, batch_size)) == frozen(expected), batch_size
    monkeypatch.setattr("daseCV_c._step.prediction._CONV_BYTES", 5000)
    for threads in (1, 2, 5):
        with daseCV_c.num_threads(threads):
            assert frozen(net.predict_proba(X)) == frozen(expected), threads


@KIND
def test_nothing_of_the_network_changes(backend, kind):
    for net in (net_of(kind), FullyConnectedNet([5, 4], 42, 3, **KINDS[kind])):  # the second one was never trained
        net.mean_image = np.ones(IMAGE)
        before, held = frozen(vars(net)), [dict(entry) for entry in net.bn_params]
        random_state = frozen(np.random.get_state()[1])
        net.loss(normal("X", 9, *IMAGE))
        net.predict(np.ones((9, *IMAGE), np.uint8), 4)
        net.predict_proba(normal("X", 9, *IMAGE))
        assert frozen(vars(net)) == before and frozen(np.random.get_state()[1]) == random_state
        assert all(entry[key] is value for entry, old in zip(net.bn_params, held, strict=True)
                   for key, value in old.items())


@pytest.mark.parametrize("make", [net_of, lambda dtype: TwoLayerNet(42, 20, 5, weight_scale=0.3)], ids=["fc", "two"])
def test_images_of_uint8_lose_the_mean(backend, dtype, make):
    net = make(dtype=dtype)
    images = rng_of("images").integers(0, 256, (70, *IMAGE)).astype(np.uint8)
    mean = images.mean(axis=0)
    centred = (images - mean).astype(net.dtype)
    expected = net.predict_proba(centred)
    alike(backend, net.predict_proba(images, mean_image=mean), expected)
    alike(backend, net.predict_proba(images[:, ::-1][:, ::-1], 9, mean_image=mean.astype(">f8")), expected)
    plain = net.predict_proba(images)
    assert frozen(plain) == frozen(net.predict_proba(images.astype(net.dtype)))
    net.mean_image = mean
    alike(backend, net.predict_proba(images), expected)
    np.testing.assert_array_equal(net.predict(images), np.argmax(expected, axis=1))
    # Other types have lost it.
    alike(backend, net.predict_proba(centred), expected)
    alike(backend, net.predict_proba(images, mean_image=np.zeros(IMAGE)), plain)


def test_images_of_uint8_for_the_convolutional_network(backend, dtype):
    net, images = conv_of(dtype), rng_of("images").integers(0, 256, (9, 2, 7, 6)).astype(np.uint8)
    mean = images.mean(axis=0)
    expected = net.predict_proba((images - mean).astype(dtype))
    alike(backend, net.predict_proba(images, 4, mean_image=mean), expected)


@pytest.mark.compiled
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_order(kernels_alone, dtype, layout):
    net, conv = net_of(dtype=dtype), conv_of(dtype)
    for one, X in ((net, normal("X", 30, *IMAGE, dtype=dtype)), (conv, normal("X", 12, 2, 7, 6, dtype=dtype))):
        expected, other = one.loss(X), LAYOUTS[layout](X)
        assert frozen(one.loss(other)) == frozen(expected)
        assert frozen(one.predict_proba(other, 7)) == frozen(one.predict_proba(X))


@pytest.mark.compiled
@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int64, np.bool_, np.float16, np.float32, np.float64])
def test_kinds_of_numbers(kernels_alone, dtype, kind):
    net, X = net_of(dtype=dtype), (3 * normal("X", 30, *IMAGE)).astype(kind)
    assert frozen(net.loss(X)) == frozen(net.loss(X.astype(dtype)))
    assert frozen(net.loss(X.tolist())) == frozen(net.loss(X.astype(dtype)))


@pytest.mark.compiled
def test_memory_does_not_grow_with_the_samples(kernels_alone):
    """Of samples that no kernel takes as they lie, only some are laid out at a time."""
    net = net_of(dtype=np.float32)
    X = np.zeros((2, 30000, 42), np.float64)[:, ::2].transpose(1, 0, 2)[:, 0]
    net.predict_proba(X[:100])
    tracemalloc.start()
    try:
        out = net.predict_proba(X)
        assert tracemalloc.get_traced_memory()[1] < out.nbytes + 2 * 1024 * 42 * 8
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("n", [0, 1])
def test_few_samples(backend, dtype, n):
    for net, shape in ((net_of(dtype=dtype), IMAGE), (conv_of(dtype), (2, 7, 6))):
        X = np.ones((n, *shape), dtype)
        assert net.loss(X).shape == net.predict_proba(X).shape == (n, net.loss(np.ones((1, *shape))).shape[1])
        assert net.predict(X).shape == (n,) and net.loss(X).dtype == dtype


@pytest.mark.parametrize("place", ["X", "W1", "b2", "gamma1", "running_var"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite(backend, dtype, place, value):
    net, X = net_of(dtype=dtype), normal("X", 60, *IMAGE, dtype=dtype)
    (X if place == "X" else net.bn_params[0][place] if place == "running_var" else net.params[place]).flat[-1] = value
    with np.errstate(all="ignore"):
        scores, expected = net.loss(X), of_numpy(lambda: net.loss(X))
        probabilities = net.predict_proba(X)
        np.testing.assert_array_equal(np.isnan(scores), np.isnan(expected))
        bad = ~np.isfinite(scores).all(axis=1)
        np.testing.assert_array_equal(np.isnan(probabilities).any(axis=1), bad)
        if bad.any():
            first = int(np.argmax(bad))
            with pytest.warns(RuntimeWarning, match=f"FullyConnectedNet.predict: .* first those of sample {first}"):
                net.predict(X)
        else:
            net.predict(X)


def test_probabilities_of_far_scores(kernels, dtype):
    """Rows of any length; what is far below the top is 0, and equal scores share."""
    rng = rng_of("scores")
    for classes in (1, 2, 3, 8, 9, 17, 33):
        scores = np.concatenate([
            rng.uniform(-100, 0, (50, classes)), rng.uniform(-2000, 2000, (50, classes)), np.zeros((1, classes)),
            np.full((1, classes), -3e4), np.full((1, classes), 3e4)]).astype(dtype)
        out = np.empty_like(scores)
        params = {"W": np.eye(classes, dtype=dtype), "b": np.zeros(classes, dtype)}
        kernels.predict.scores(scores, None, params, [("W", "b")], None, None, out, "softmax", 1)
        expected = np.exp((scores - scores.max(axis=1, keepdims=True)).astype(np.float64))
        expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(out, expected, rtol=20 * np.finfo(dtype).eps, atol=2 * np.finfo(dtype).tiny)


@where_available
def test_bfloat16_products_stay(bfloat16):
    net, X = net_of(dtype=np.float32, hidden=(64, 48)), normal("X", 50, *IMAGE, dtype=np.float32)
    rounded, probabilities = net.loss(X), net.predict_proba(X)
    assert frozen(net.predict_proba(X, 7)) == frozen(probabilities)
    daseCV_c.set_matmul_precision("highest")
    assert frozen(net.predict_proba(X)) != frozen(probabilities)
    exact = net.loss(X)
    # Both factors of each of the three products are rounded by at most 2**-9, here and there the other way.
    assert 0 < np.linalg.norm(rounded - exact) <= 2**-7 * np.linalg.norm(exact)


@pytest.mark.parametrize("change", [
    lambda net: net.params.update(W1=np.asfortranarray(net.params["W1"])),
    lambda net: net.params.update(b1=net.params["b1"].astype(np.float32)),
    lambda net: net.params.update(gamma2=net.params["gamma2"].astype(">f8")),
    lambda net: net.bn_params[0].update(running_mean=net.bn_params[0]["running_mean"].tolist()),
    lambda net: net.bn_params.__setitem__(1, {"eps": 0.5}),
    lambda net: setattr(net, "normalization", "batch_norm"),
])
def test_what_no_kernel_takes_is_left_to_the_layers(change):
    net, X = net_of(), normal("X", 20, *IMAGE)
    change(net)
    expected = of_numpy(lambda: net.loss(X))
    np.testing.assert_allclose(net.loss(X), expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(net.predict(X), np.argmax(expected, axis=1))


def test_a_loss_of_ones_own_is_asked_for_the_scores():
    class Doubled(FullyConnectedNet):
        def loss(self, X, y=None):
            found = super().loss(X, y)
            return -found if y is None else found

    net, X = Doubled([5], 42, 3), normal("X", 20, *IMAGE)
    np.testing.assert_array_equal(net.predict(X, 6), np.argmax(net.loss(X), axis=1))
    close(net.predict_proba(X).sum(axis=1), np.ones(20, net.dtype), 1, 8, form=False)


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ((np.ones((3, 41)),), ValueError, "X has 41 features"), ((np.ones(42),), ValueError, "X has 1 dimensions"),
    ((["a"],), TypeError, "X has dtype"), ((np.ones((3, 42)), 0), ValueError, "batch_size is 0"),
    ((np.ones((3, 42)), 2.5), TypeError, "batch_size is 2.5"),
    ((np.ones((3, 42)), True), TypeError, "batch_size is True"),
])
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_errors(backend, method, arguments, error, message):
    with pytest.raises(error, match=f"^FullyConnectedNet.{method}: {message}"):
        getattr(net_of(), method)(*arguments)


def test_errors_of_the_mean(backend):
    net, images = net_of(), np.ones((3, *IMAGE), np.uint8)
    with pytest.raises(ValueError, match=r"predict: mean_image has shape \(42,\), but an image has shape \(2, 3, 7\)"):
        net.predict(images, mean_image=np.ones(42))
    with pytest.raises(TypeError, match="predict: mean_image has dtype"):
        net.predict(images, mean_image="mean")
    with pytest.raises(TypeError, match="predict_proba: mean_image has dtype complex128"):
        net.predict_proba(images, mean_image=np.ones(IMAGE, complex))


def test_another_thread_may_predict_while_the_network_is_trained():
    X = normal("X", 400, *IMAGE, dtype=np.float32)
    y = rng_of("y").integers(0, 5, 400)
    net = net_of("both", np.float32)
    solver = Solver(net, {"X_train": X, "y_train": y, "X_val": X[:50], "y_val": y[:50]}, update_rule="adam",
                    num_epochs=30, batch_size=20, verbose=False)
    found, begun, ended = [], threading.Event(), threading.Event()

    def predict():
        while not ended.is_set():
            begun.set()
            probabilities = net.predict_proba(X)
            found.append(probabilities.shape == (400, 5) and bool((np.abs(probabilities.sum(axis=1) - 1) < 1e-5).all()))

    thread = threading.Thread(target=predict)
    thread.start()
    begun.wait()
    try:
        solver.train()
    finally:
        ended.set()
        thread.join()
    assert found and all(found)


# Batches of one sample.

@pytest.mark.parametrize("kind", ["batchnorm", "both"])
def test_batch_norm_is_not_trained_by_one_sample(backend, kind):
    """As PyTorch: one sample is its own mean, so all but the last layer would learn nothing."""
    net, X, y = net_of(kind), normal("X", 30, *IMAGE), rng_of("y").integers(0, 5, 30)
    before = frozen(vars(net))
    with pytest.raises(ValueError, match=r"FullyConnectedNet.loss: X is a batch of one sample \(shape \(1, 2, 3, 7"):
        net.loss(X[:1], y[:1])
    assert frozen(vars(net)) == before
    assert net.loss(X[:2], y[:2])[0] > 0 and net.loss(X[:1]).shape == (1, 5)
    solver = Solver(net, {"X_train": X, "y_train": y, "X_val": X, "y_val": y}, batch_size=1, verbose=False)
    before = frozen(net.params)
    with pytest.raises(ValueError, match="batch norm in training needs at least two"):
        solver.train()
    assert frozen(net.params) == before and solver.loss_history == []


@pytest.mark.parametrize("kind", ["plain", "dropout", "layernorm"])
def test_other_networks_are_trained_by_one_sample(backend, kind):
    net, X = net_of(kind), normal("X", 1, *IMAGE)
    assert np.abs(net.loss(X, [1])[1]["W1"]).max() > 0
    assert net_of("batchnorm", hidden=()).loss(X, [1])[0] > 0  # nothing is normalized


# The entry.

def entry_call(dtype):
    net, n = net_of(dtype=dtype), 6
    names = [("W1", "b1", "gamma1", "beta1"), ("W2", "b2", "gamma2", "beta2"), ("W3", "b3")]
    return [normal("X", n, 42, dtype=dtype), np.ones(42), net.params, names, net.bn_params, "batchnorm",
            np.empty((n, 5), dtype), "softmax"]


def refused(kernels, args):
    before = frozen(args[:-1])
    with pytest.raises((ValueError, TypeError, KeyError, IndexError)):
        kernels.predict.scores(*args, 1)
        pytest.fail("the call was taken")
    assert frozen(args[:-1]) == before


def test_the_entry_refuses_what_does_not_fit(kernels, dtype):
    from test_bad_kernel_calls import _wrong_arrays

    for name in entry_call(dtype)[2]:
        for wrong in (None, 3, *(array for _, array in _wrong_arrays(entry_call(dtype)[2][name], False))):
            args = entry_call(dtype)
            args[2][name] = wrong
            refused(kernels, args)
    for key in ("running_mean", "running_var"):
        for _, wrong in _wrong_arrays(entry_call(dtype)[4][0][key], False):
            args = entry_call(dtype)
            args[4][0][key] = wrong
            refused(kernels, args)
    for position, wrong in (
            (1, np.ones(41)), (1, np.ones(42, np.float32)), (2, {}), (3, []), (3, [("W1",)]), (3, [None]), (3, [3]),
            (3, [("W1", "b1")] * 3), (3, [("W2", "b2", "gamma2", "beta2")]), (4, None), (4, []), (4, [3, 4]),
            (4, [None, None]), (4, [{"eps": "a"}, {}]), (5, "groupnorm"), (6, np.empty((5, 5), dtype)),
            (6, np.empty((6, 4), dtype)),
            (6, np.empty((6, 5), np.int64)), (0, np.ones((6, 42), np.int32)), (0, np.ones((7, 42), dtype)),
            (0, np.ones((6, 43), dtype))):
        args = entry_call(dtype)
        args[position] = wrong
        refused(kernels, args)
