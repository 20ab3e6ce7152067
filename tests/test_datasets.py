"""The digits that come with the package."""

import numpy as np
import pytest

from daseCV_c.datasets import load_digits_images

SIZES = {"train": 1297, "val": 250, "test": 250}
# For each split: sum of pixels times their places, sum of labels times theirs.
EXPECTED = {"train": (12755919, 3745090), "val": (2491309, 133152), "test": (2413425, 143443)}


def test_shapes_types_and_order():
    data = load_digits_images()
    assert list(data) == ["X_train", "y_train", "X_val", "y_val", "X_test", "y_test"]
    for split, n in SIZES.items():
        X, y = data[f"X_{split}"], data[f"y_{split}"]
        assert X.shape == (n, 1, 8, 8) and X.dtype == np.float64 and X.flags.carray
        assert y.shape == (n,) and y.dtype == np.int64 and set(y) == set(range(10))


def test_pixels_and_mean():
    raw, centred = load_digits_images(subtract_mean=False), load_digits_images()
    pixels = np.concatenate([raw[f"X_{split}"] for split in SIZES])
    assert pixels.min() == 0 and pixels.max() == 16 and (pixels == np.rint(pixels)).all()
    mean = raw["X_train"].mean(axis=0)
    for split in SIZES:
        assert np.array_equal(centred[f"X_{split}"], raw[f"X_{split}"] - mean)
        assert np.array_equal(centred[f"y_{split}"], raw[f"y_{split}"])


def test_float32_is_rounded_once():
    wide, narrow = load_digits_images(), load_digits_images(dtype=np.float32)
    for split in SIZES:
        assert narrow[f"X_{split}"].dtype == np.float32
        assert np.array_equal(narrow[f"X_{split}"], wide[f"X_{split}"].astype(np.float32))


def test_uint8_keeps_the_pixels():
    raw, bytes_ = load_digits_images(subtract_mean=False), load_digits_images(dtype=np.uint8)
    for split in SIZES:
        assert bytes_[f"X_{split}"].dtype == np.uint8
        assert np.array_equal(bytes_[f"X_{split}"], raw[f"X_{split}"])
    assert np.array_equal(bytes_["mean_image"], raw["X_train"].mean(axis=0))
    assert "mean_image" not in load_digits_images(dtype=np.uint8, subtract_mean=False)


def test_split_never_changes():
    data = load_digits_images(subtract_mean=False)
    weights = np.arange(64.0).reshape(1, 8, 8)
    found = {split: (int((data[f"X_{split}"] * weights).sum()),
                     int(data[f"y_{split}"] @ np.arange(n))) for split, n in SIZES.items()}
    assert found == EXPECTED


def test_results_are_the_callers_own():
    first = load_digits_images()
    first["X_train"][:] = 0
    first["y_val"][:] = 0
    second = load_digits_images()
    assert second["X_train"].any() and second["y_val"].any()


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.complex128, np.float16])
def test_other_types_are_refused(dtype):
    with pytest.raises(ValueError, match="dtype is .*, expected float64, float32 or uint8"):
        load_digits_images(dtype=dtype)


def test_nothing_heavy_is_imported(script):
    script("""
import sys
import daseCV_c
assert "daseCV_c.data_utils" not in sys.modules
import daseCV_c.data_utils
from daseCV_c.datasets import load_digits_images
load_digits_images()
heavy = {"pooch", "requests", "PIL", "matplotlib", "sklearn", "daseCV_c.classifiers.fc_net"} & set(sys.modules)
assert not heavy, heavy
""")
