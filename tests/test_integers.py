"""Integers as arguments: arrays of any kind and byte order, and single ones of any size."""

import numpy as np
import pytest

from daseCV_c import _checks, fast_layers, im2col, im2col_cython, layer_utils, layers
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.data_utils import gather_batch
from daseCV_c.layers import softmax_loss, svm_loss
from daseCV_c.solver import Solver

# b to p: every integer type of C, so that of two types of one size both are there.
KINDS = [np.dtype(char).newbyteorder(order) for char in "bBhHiIlLqQ" for order in "=S"]
EACH_KIND = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.char} {kind.str}")
NETWORKS = {
    "two layers": lambda: TwoLayerNet(48, 5, weight_scale=0.1), "full": lambda: FullyConnectedNet([5], 48),
    "batch norm": lambda: FullyConnectedNet([5, 4], 48, normalization="batchnorm", dtype=np.float64),
    "convolution": lambda: ThreeLayerConvNet((3, 4, 4), 2, 3, 5),
}
X = np.random.default_rng(3).standard_normal((40, 3, 4, 4))
Y = np.arange(40, dtype=np.int64) % 10


def bits(value):
    """Of arrays and numbers, whatever holds them."""
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [bits(item) for item in value]
    return np.asarray(value).tobytes()


@EACH_KIND
def test_integers_become_the_int64_of_kernels(kind):
    array = np.arange(6).astype(kind)
    found = _checks.integers("f", "a", array[::2])
    assert found.tolist() == [0, 2, 4] and found.dtype.num == np.dtype(np.int64).num
    assert found.dtype.isnative and found.flags.carray
    plain = np.arange(3, dtype=np.int64)
    assert _checks.integers("f", "a", plain) is plain


def test_arrays_that_are_none():
    for wrong in (np.ones(2), np.ones(2, bool), np.array(["1"]), np.array([1, None])):
        with pytest.raises(TypeError, match="^f: a has dtype .*, expected integers"):
            _checks.integers("f", "a", wrong)
    with pytest.raises(ValueError, match=f"^f: a holds {2**64 - 1}, expected at most"):
        _checks.integers("f", "a", np.array([1, 2**64 - 1], np.uint64))
    assert _checks.integers("f", "a", np.array([2**63 - 1], np.uint64)).tolist() == [2**63 - 1]
    assert _checks.integers("f", "a", []).dtype == np.int64


@EACH_KIND
def test_labels_and_indices(backend, kind):
    scores, labels = X.reshape(40, -1)[:, :10].copy(), Y.astype(kind)
    for loss in (svm_loss, softmax_loss):
        assert bits(loss(scores, labels)) == bits(loss(scores, Y))
    assert bits(gather_batch(X, labels)) == bits(gather_batch(X, Y))
    for make in NETWORKS.values():
        np.random.seed(1)
        net = make()
        found, expected = (bits(net.loss(X, y)) for y in (labels, Y))
        assert found == expected


@EACH_KIND
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("way", ["fused", "layers"])
def test_solver(monkeypatch, backend, kind, network, way):
    """Labels of any kind, and indices as they are drawn where the default integer is another."""
    drawn = np.random.randint
    if way == "layers":
        monkeypatch.setattr(Solver, "_fusible", lambda self: False)

    def trained(y, draw):
        monkeypatch.setattr(np.random, "randint", draw)
        np.random.seed(2)
        data = {"X_train": X, "y_train": y, "X_val": X, "y_val": y}
        solver = Solver(NETWORKS[network](), data, update_rule="adam", num_epochs=1, verbose=False, batch_size=10)
        solver.train()
        return bits([solver.loss_history, solver.val_acc_history, solver.check_accuracy(X, y, 20), solver.model.params])

    expected = trained(Y, drawn)
    assert trained(Y.astype(kind), lambda *args, **more: drawn(*args, **more).astype(kind)) == expected


@pytest.mark.parametrize("large", [2**63, 2**64 - 1])
def test_labels_beyond_int64(backend, large):
    labels = Y.astype(np.uint64)
    labels[3] = large
    nets = [make() for make in NETWORKS.values()]
    for function, call in (
        ("svm_loss", lambda: svm_loss(X[:, 0, 0], labels)), ("softmax_loss", lambda: softmax_loss(X[:, 0, 0], labels)),
        *((f"{type(net).__name__}.loss", lambda net=net: net.loss(X, labels)) for net in nets),
    ):
        with pytest.raises(ValueError, match=f"^{function}: y holds {large}, expected"):
            call()
    with pytest.raises(IndexError, match=f"^gather_batch: index holds {large}, expected"):
        gather_batch(X, labels)
    data = {"X_train": X, "y_train": labels, "X_val": X, "y_val": Y}
    for net in nets:
        before = bits(net.params)
        with pytest.raises(ValueError, match=f"y(_train)? holds {large}"):
            Solver(net, data, num_epochs=9, batch_size=40, verbose=False).train()
        assert bits(net.params) == before


def test_labels_out_of_range(backend):
    """Whether a kernel or a twin refuses them, in the same words."""
    scores = np.ones((3, 4))
    for loss in (svm_loss, softmax_loss):
        for label in (4, -1, 2**40):
            with pytest.raises(ValueError, match=f"^{loss.__name__}: y holds the label {label}, but x has 4 classes"):
                loss(scores, [0, label, 3])


IMAGES, FILTER = np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3))
HUGE = [2**k + d for k in (30, 31, 32, 62, 63, 64, 70) for d in (-1, 0, 1)] + [10**5000]


def pool(height=2, width=2, stride=2):
    return {"pool_height": height, "pool_width": width, "stride": stride}


def calls(s):
    """Every function that takes windows, with `s` in the place of each integer that it takes."""
    F, M, C, U = fast_layers, im2col, im2col_cython, layer_utils
    for function in (F.max_pool_forward_fast, layers.max_pool_forward_naive, F.max_pool_forward_reshape,
                     F.max_pool_forward_im2col):
        for param in (pool(height=s), pool(width=s), pool(stride=s), pool(s, s, s)):
            yield function, (IMAGES, param)
    for function in (F.conv_forward_fast, layers.conv_forward_naive, U.conv_relu_forward):
        for param in ({"stride": s, "pad": 0}, {"stride": 1, "pad": s}, {"stride": s, "pad": s}):
            yield function, (IMAGES, FILTER, np.ones(1), param)
    for function, x in ((M.im2col_indices, IMAGES), (M.get_im2col_indices, IMAGES.shape), (C.im2col_cython, IMAGES)):
        for sizes in ((s, 2, 0, 1), (2, s, 0, 1), (2, 2, s, 1), (2, 2, 0, s), (2, 2, s, s), (s, s, s, s)):
            yield function, (x, *sizes)
    cols, six = np.ones((4, 4)), np.ones((1, 2, 2, 1, 2, 2))
    for at in range(8):
        sizes = [1, 1, 3, 3, 2, 2, 0, 1]
        sizes[at] = s
        yield M.col2im_indices, (cols, tuple(sizes[:4]), *sizes[4:])
        yield C.col2im_cython, (cols, *sizes)
        yield C.col2im_6d_cython, (six, *sizes)
        if at not in (1, 2, 3) or s > 2**40:  # an image of 2**32 pixels has its indices
            yield M.get_im2col_indices, (tuple(sizes[:4]), *sizes[4:])


@pytest.mark.parametrize("s", HUGE, ids=lambda s: f"{s.bit_length()} bits, {s % 7}")
def test_huge_integers(backend, s):
    """They work, or the error names the public function, and says the number."""
    for function, args in calls(s):
        try:
            function(*args)
        except ValueError as error:
            assert str(error).startswith(f"{function.__name__}: "), error


def test_an_array_too_large_for_all_arrays(backend):
    for pad in (2**28, 2**30):
        with pytest.raises(ValueError, match="^im2col_indices: the padded x would have shape .*too large"):
            im2col.im2col_indices(np.ones((8, 8, 3, 3)), 2, 2, pad, 1)
        with pytest.raises(ValueError, match="^conv_forward_fast: the padded x would have shape .*too large"):
            fast_layers.conv_forward_fast(
                np.ones((8, 8, 3, 3)), np.ones((1, 8, 3, 3)), np.ones(1), {"stride": 1, "pad": pad})


def test_one_integer():
    assert _checks.integer("f", "n", np.uint8(3), 1) == 3 and type(_checks.integer("f", "n", np.longlong(3), 1)) is int
    for wrong in (1.0, "1", None, True, np.True_, [1], np.array([1])):
        with pytest.raises(TypeError, match="^f: n is .*, expected a positive integer"):
            _checks.integer("f", "n", wrong, 1)
    for wrong, low, high, wanted in ((0, 1, 5, "from 1 to 5"), (6, 1, 5, "from 1 to 5"), (-1, 0, np.inf, "at least 0"),
                                     (10**5000, 0, 9, "from 0 to 9"), (-(10**5000), 1, np.inf, "a positive integer")):
        with pytest.raises(ValueError, match=f"^f: n is .*{wanted}"):
            _checks.integer("f", "n", wrong, low, high)


@pytest.mark.parametrize("call", [
    lambda n: TwoLayerNet(4, n), lambda n: FullyConnectedNet([n], 4), lambda n: FullyConnectedNet([3], 4, n),
    lambda n: ThreeLayerConvNet((3, 4, 4), n), lambda n: ThreeLayerConvNet((n, 4, 4)),
])
@pytest.mark.parametrize("n", [2**31, 2**63, 10**5000, 0, -1, 2.5, True], ids=lambda n: type(n).__name__)
def test_sizes_of_networks(call, n):
    with pytest.raises(ValueError, match="^[A-Z][A-Za-z]*Net: .*expected an integer from 1"):
        call(n)
