"""Solver on pixels of uint8 with a mean image: the numbers of centred floats, without the floats."""

import tracemalloc

import numpy as np
import pytest
from adversarial import frozen

from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.datasets import load_digits_images
from daseCV_c.solver import Solver

SHAPE = (2, 3, 4)


def pixels_of(n=40, n_val=25):
    """Images of uint8, labels, and a mean image that is no round number."""
    rng = np.random.default_rng(5)
    data = {}
    for split, count in (("train", n), ("val", n_val)):
        data[f"X_{split}"] = rng.integers(0, 256, (count, *SHAPE), np.uint8)
        data[f"y_{split}"] = rng.integers(0, 4, count)
    data["mean_image"] = data["X_train"].mean(axis=0) + 1 / 3
    return data


def centred(data):
    """The same data as float64, the mean subtracted."""
    floats = {key: value for key, value in data.items() if key != "mean_image"}
    for split in ("train", "val"):
        floats[f"X_{split}"] = data[f"X_{split}"] - data["mean_image"]
    return floats


def net_of(dtype, **more):
    np.random.seed(3)
    return FullyConnectedNet([9], input_dim=24, num_classes=4, weight_scale=0.05, dtype=dtype, **more)


def trained(model, data, **options):
    np.random.seed(8)
    solver = Solver(model, data, update_rule="adam", batch_size=7, num_epochs=3, verbose=False, **options)
    solver.train()
    return solver, np.random.rand()


@pytest.mark.filterwarnings("ignore:Solver. after 3 epochs")  # it has learnt nothing by then
@pytest.mark.parametrize("samples", [(1000, None), (15, 12)], ids=str)
def test_same_bits_as_centred_floats(backend, dtype, samples):
    data = pixels_of()
    before = frozen(data)
    options = {"num_train_samples": samples[0], "num_val_samples": samples[1]}
    (expected, draw), (found, same_draw) = (
        trained(net_of(dtype, normalization="batchnorm"), each, **options) for each in (centred(data), data))
    assert draw == same_draw
    assert found.loss_history == expected.loss_history
    assert found.train_acc_history == expected.train_acc_history
    assert found.val_acc_history == expected.val_acc_history
    assert frozen(found.model.params) == frozen(expected.model.params)
    assert frozen(data) == before


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_check_accuracy_subtracts_the_mean(backend, dtype, batch_size):
    data, model = pixels_of(), net_of(dtype)
    solver = Solver(model, data, verbose=False)
    predicted = model.loss(data["X_val"] - data["mean_image"]).argmax(axis=1)
    accuracy = solver.check_accuracy(data["X_val"], predicted, batch_size=batch_size)
    assert accuracy == 1.0
    assert not np.array_equal(model.loss(data["X_val"]).argmax(axis=1), predicted), "the mean makes no difference"


def test_model_without_a_dtype_gets_float64():
    seen = []

    class Watching:
        params = {"w": np.zeros(1)}

        def loss(self, X, y=None):
            seen.append(X)
            return np.zeros((len(X), 4)) if y is None else (0.0, {"w": np.zeros(1)})

    data = pixels_of()
    Solver(Watching(), data, num_epochs=1, batch_size=40, verbose=False).train()
    assert {X.dtype for X in seen} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(seen[-1], data["X_val"] - data["mean_image"])


@pytest.mark.parametrize("kind", ["float32", "float64", "int64"])
def test_other_images_are_taken_as_they_are(kind):
    """load_tiny_imagenet returns images that have lost the mean, and the mean beside them."""
    data = pixels_of()
    for split in ("train", "val"):
        data[f"X_{split}"] = data[f"X_{split}"].astype(kind)
    data["mean_image"] = np.zeros(5)  # of nobody's shape
    without = {key: value for key, value in data.items() if key != "mean_image"}
    found, expected = (trained(net_of(np.float64), each)[0] for each in (data, without))
    assert found.loss_history == expected.loss_history
    assert found.val_acc_history == expected.val_acc_history


def test_splits_of_different_types():
    data = pixels_of()
    mixed = {**data, "X_val": centred(data)["X_val"]}
    found, expected = (trained(net_of(np.float64), each)[0] for each in (mixed, data))
    assert found.loss_history == expected.loss_history
    assert found.val_acc_history == expected.val_acc_history


def test_no_array_of_floats_of_all_images():
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (4000, 24), np.uint8), rng.integers(0, 4, 4000)
    data = {"X_train": X, "y_train": y, "X_val": X, "y_val": y, "mean_image": X.mean(axis=0)}
    solver = Solver(net_of(np.float32), data, num_epochs=1, num_train_samples=None, verbose=False)
    tracemalloc.start()
    try:
        solver.train()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * X.nbytes, "float32 images take 4 times the bytes"


def test_mean_of_another_type_is_converted():
    data = pixels_of()
    narrow = {**data, "mean_image": data["mean_image"].astype(np.float32)}
    exact = {**data, "mean_image": narrow["mean_image"].astype(np.float64)}
    as_list = {**data, "mean_image": exact["mean_image"].tolist()}
    histories = [trained(net_of(np.float64), each)[0].loss_history for each in (narrow, exact, as_list)]
    assert histories[0] == histories[1] == histories[2]


def test_digits_of_uint8(backend):
    np.random.seed(0)
    model = FullyConnectedNet([30], input_dim=64, weight_scale=0.05)
    solver = Solver(model, load_digits_images(dtype=np.uint8), update_rule="adam",
                    optim_config={"learning_rate": 5e-3}, num_epochs=6, verbose=False)
    solver.train()
    assert solver.best_val_acc > 0.9


@pytest.mark.parametrize(("mean", "error", "message"), [
    (np.zeros(24), ValueError, r"data\['mean_image'\] has shape \(24,\), but an image has shape \(2, 3, 4\)"),
    (np.float64(1), ValueError, r"data\['mean_image'\] has shape \(\)"),
    (np.zeros(SHAPE, complex), TypeError, r"data\['mean_image'\] has dtype complex128"),
    (None, TypeError, r"data\['mean_image'\] has dtype object"),
    ([[1], [1, 2]], ValueError, r"data\['mean_image'\] is not an array"),
])
def test_errors_of_the_mean_image(mean, error, message):
    with pytest.raises(error, match=f"Solver: {message}"):
        Solver(net_of(np.float64), {**pixels_of(), "mean_image": mean})


def test_images_that_do_not_fit_the_mean_image():
    data = pixels_of()
    with pytest.raises(ValueError, match=r"Solver: .*an image has shape \(24,\)"):
        Solver(net_of(np.float64), {**data, "X_val": data["X_val"].reshape(25, 24)})
    solver = Solver(net_of(np.float64), data, verbose=False)
    with pytest.raises(ValueError, match=r"check_accuracy: X has shape \(25, 24\), .* has shape \(2, 3, 4\)"):
        solver.check_accuracy(data["X_val"].reshape(25, 24), data["y_val"])
