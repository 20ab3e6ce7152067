"""The images of the commands: pixels of uint8 and the mean that belongs to them."""

import numpy as np
import pytest

from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.cli.classify import accuracy, classify
from daseCV_c.cli.data import load_dataset
from daseCV_c.cli.errors import CommandError
from daseCV_c.datasets import load_digits_images


def reading():
    """A network whose scores are the pixels themselves."""
    model = FullyConnectedNet([], input_dim=64, num_classes=64)
    model.params.update(W1=np.eye(64, dtype=np.float32), b1=np.zeros(64, np.float32))
    return model


def test_pixels_and_their_mean():
    data, floats = load_dataset("digits", None), load_digits_images()
    for split in ("train", "val", "test"):
        assert data[f"X_{split}"].dtype == np.uint8
        np.testing.assert_array_equal(data[f"X_{split}"] - data["mean_image"], floats[f"X_{split}"])
        np.testing.assert_array_equal(data[f"y_{split}"], floats[f"y_{split}"])


def test_the_runs_own_mean_wins():
    mean = np.random.default_rng(0).normal(8, 8, (1, 8, 8))
    data = load_dataset("digits", None, mean)
    assert data["mean_image"] is mean
    with pytest.raises(CommandError, match=r"shape \(1, 8, 8\), the run's are \(8, 8\)"):
        load_dataset("digits", None, mean[0])


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_mean_is_subtracted_before_rounding(batch_size):
    data = load_dataset("digits", None, np.random.default_rng(1).normal(8, 8, (1, 8, 8)))
    images = data["X_val"]
    expected = (images - data["mean_image"]).astype(np.float32).reshape(len(images), -1).argmax(axis=1)
    assert not np.array_equal(expected, images.reshape(len(images), -1).argmax(axis=1))
    np.testing.assert_array_equal(classify(reading(), images, data["mean_image"], batch_size), expected)
    np.testing.assert_array_equal(classify(reading(), images[:0], data["mean_image"]), [])
    data["y_val"] = np.where(np.arange(len(images)) % 2, expected, -1)
    assert accuracy(reading(), data, "val") == 0.5
