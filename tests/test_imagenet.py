"""Tiny ImageNet, and the course's ImageNet images."""

import sys

import numpy as np
import pytest
from crafting import Calls, touch
from PIL import Image

from daseCV_c.data_utils import BadPickleError, load_imagenet_val, load_tiny_imagenet

SPLITS = ("train", "val", "test")


def imagenet_file(path, label_map):
    np.savez(path, X=np.arange(24, dtype=np.uint8).reshape(4, 1, 2, 3), y=np.arange(4),
             label_map=np.array(label_map, object))


def test_imagenet_val(tmp_path, monkeypatch):
    monkeypatch.setenv("DASECV_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="imagenet_val_25.npz"):
        load_imagenet_val()
    imagenet_file(tmp_path / "imagenet_val_25.npz", {0: "hay", 1: "quail"})
    X, y, names = load_imagenet_val(num=2)
    assert X.shape == (2, 1, 2, 3) and y.tolist() == [0, 1] and names == {0: "hay", 1: "quail"}
    assert len(load_imagenet_val()[0]) == 4
    monkeypatch.chdir(tmp_path)
    imagenet_file(tmp_path / "imagenet_val_25.npz", {0: Calls(touch, "harm")})
    with pytest.raises(BadPickleError, match="imagenet_val_25.npz"):
        load_imagenet_val()
    assert not (tmp_path / "harm").exists()
    (tmp_path / "imagenet_val_25.npz").write_bytes(b"junk")
    with pytest.raises(ValueError, match="imagenet_val_25.npz"):
        load_imagenet_val()


@pytest.fixture
def tiny(tmp_path):
    """Two classes, two training images each; one image is grey."""
    (tmp_path / "wnids.txt").write_text("n02\nn01\n")
    (tmp_path / "words.txt").write_text("n01\tcat, house cat\nn02\tdog\nn03\tfox\n")

    def image(path, colour, mode="RGB"):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (64, 64), colour).save(path, quality=100)

    for wnid, red in (("n01", 20), ("n02", 60)):
        lines = []
        for k in range(2):
            image(tmp_path / "train" / wnid / "images" / f"{wnid}_{k}.JPEG", (red + 10 * k, 0, 0))
            lines.append(f"{wnid}_{k}.JPEG\t0\t0\t9\t9\n")
        (tmp_path / "train" / wnid / f"{wnid}_boxes.txt").write_text("".join(lines))
    image(tmp_path / "val" / "images" / "v.JPEG", 128, "L")
    (tmp_path / "val" / "val_annotations.txt").write_text("v.JPEG\tn01\t0\t0\t9\t9\n")
    image(tmp_path / "test" / "images" / "t.JPEG", (0, 0, 255))
    return tmp_path


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tiny_imagenet(tiny, dtype):
    data = load_tiny_imagenet(tiny, dtype=dtype, subtract_mean=False)
    assert data["class_names"] == [["dog"], ["cat", "house cat"]]
    assert data["X_train"].shape == (4, 3, 64, 64) and data["X_train"].dtype == dtype
    assert data["y_train"].tolist() == [0, 0, 1, 1] and data["y_val"].tolist() == [1] and data["y_test"] is None
    assert (data["X_val"] == 128).all()
    assert (data["X_train"][:, 0, 0, 0] - [60, 70, 20, 30] < 3).all()
    centred = load_tiny_imagenet(tiny, dtype=dtype)
    mean = data["X_train"].mean(axis=0, dtype=np.float64)
    for split in SPLITS:
        assert np.array_equal(centred[f"X_{split}"], (data[f"X_{split}"] - mean).astype(dtype))
    assert np.array_equal(centred["mean_image"], mean.astype(dtype))
    (tiny / "test" / "test_annotations.txt").write_text("t.JPEG\tn02\n")
    assert load_tiny_imagenet(tiny)["y_test"].tolist() == [0]


def test_damaged_tiny_imagenet(tiny, monkeypatch):
    with pytest.raises(ValueError, match="dtype is uint8"):
        load_tiny_imagenet(tiny, dtype=np.uint8)
    (tiny / "val" / "images" / "v.JPEG").write_bytes(b"junk")
    with pytest.raises(ValueError, match="v.JPEG is not a readable image"):
        load_tiny_imagenet(tiny)
    (tiny / "val" / "val_annotations.txt").write_text("v.JPEG\tn03\n")
    with pytest.raises(ValueError, match="val_annotations.txt names the class 'n03'"):
        load_tiny_imagenet(tiny)
    (tiny / "val" / "val_annotations.txt").unlink()
    with pytest.raises(FileNotFoundError, match="val_annotations.txt"):
        load_tiny_imagenet(tiny)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match="pip install Pillow"):
        load_tiny_imagenet(tiny)
