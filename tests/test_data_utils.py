"""Reading CIFAR-10: the numbers, the memory, and files that are missing or damaged."""

import os
import pickle
import tracemalloc

import numpy as np
import pytest
from crafting import py2_batch

from daseCV_c.data_utils import get_CIFAR10_data, load_CIFAR10, load_CIFAR_batch
from daseCV_c.datasets import cifar_files as _cifar

pytestmark = pytest.mark.once
NAMES = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
SPLITS = ("train", "val", "test")


def batches():
    rng = np.random.default_rng(7)
    for name in NAMES:
        yield name, rng.integers(0, 256, (10000, 3072), np.uint8), rng.integers(0, 10, 10000)


def python2_folder(root):
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for name, pixels, labels in batches():
        (folder / name).write_bytes(py2_batch(pixels, labels.tolist()))


def python3_folder(root):
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for protocol, (name, pixels, labels) in zip((2, 1, 3, 4, 5, 5), batches(), strict=True):
        with open(folder / name, "wb") as file:
            pickle.dump({"data": pixels, "labels": labels}, file, protocol)


def binary_folder(root):
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    for name, pixels, labels in batches():
        np.column_stack([labels.astype(np.uint8), pixels]).tofile(folder / f"{name}.bin")


# The user's own CIFAR-10 is one more source where there is one.
SOURCES = {"python2": python2_folder, "python3": python3_folder, "binary": binary_folder}
if os.environ.get("DASECV_DATA"):
    SOURCES["real"] = None


@pytest.fixture(scope="session", params=SOURCES)
def cifar(request, tmp_path_factory):
    """The folder above the batches."""
    if SOURCES[request.param] is None:
        return os.environ["DASECV_DATA"]
    if request.param == "python2":
        return request.getfixturevalue("python2").parent
    root = tmp_path_factory.mktemp(request.param)
    SOURCES[request.param](root)
    return root


@pytest.fixture(scope="session")
def python2(tmp_path_factory):
    root = tmp_path_factory.mktemp("one")
    python2_folder(root)
    return root / "cifar-10-batches-py"


@pytest.fixture
def broken(python2, tmp_path):
    """A folder with links to good files, to put a bad one in."""
    for name in NAMES:
        (tmp_path / name).symlink_to(python2 / name)

    def replace(content, name="data_batch_3"):
        (tmp_path / name).unlink()
        if content is not None:
            (tmp_path / name).write_bytes(content)
        return tmp_path
    return replace


def plain(cifar, num_training, num_validation, num_test):
    """The course's split of the first two training files in float64 NumPy; and the mean image."""
    paths = _cifar.find_batches("plain", cifar)
    (X1, y1), (X2, y2), (X_test, y_test) = (load_CIFAR_batch(paths[k]) for k in (0, 1, 5))
    more = num_training + num_validation - len(X1)
    X, y = np.concatenate([X1, X2[:more]]), np.concatenate([y1, y2[:more]])
    rows = {"train": slice(0, num_training), "val": slice(num_training, num_training + num_validation)}
    data = {f"{name}_{split}": part[s] for split, s in rows.items() for name, part in (("X", X), ("y", y))}
    data |= {"X_test": X_test[:num_test], "y_test": y_test[:num_test]}
    mean = np.mean(data["X_train"], axis=0)
    for split in SPLITS:
        data[f"X_{split}"] = (data[f"X_{split}"] - mean).transpose(0, 3, 1, 2)
    return data, mean.transpose(2, 0, 1)


def test_numbers_of_the_plain_way(cifar):
    expected, mean = plain(cifar, 10700, 600, 300)
    data = get_CIFAR10_data(10700, 600, 300, data_dir=cifar)
    assert list(data) == ["X_train", "y_train", "X_val", "y_val", "X_test", "y_test"]
    narrow = get_CIFAR10_data(10700, 600, 300, data_dir=cifar, dtype=np.float32)
    raw = get_CIFAR10_data(10700, 600, 300, data_dir=cifar, dtype=np.uint8)
    assert raw.keys() - data.keys() == {"mean_image"} and np.array_equal(raw["mean_image"], mean)
    for split, n in zip(SPLITS, (10700, 600, 300), strict=True):
        X, y = data[f"X_{split}"], data[f"y_{split}"]
        assert X.shape == (n, 3, 32, 32) and X.dtype == np.float64 and X.flags.carray
        assert y.shape == (n,) and y.dtype == np.int64
        assert np.array_equal(X, expected[f"X_{split}"])
        assert np.array_equal(narrow[f"X_{split}"], expected[f"X_{split}"].astype(np.float32))
        assert narrow[f"X_{split}"].dtype == np.float32 and raw[f"X_{split}"].dtype == np.uint8
        assert np.array_equal(raw[f"X_{split}"] - mean, expected[f"X_{split}"])
        for other in (data, narrow, raw):
            assert np.array_equal(other[f"y_{split}"], expected[f"y_{split}"])


def test_without_mean(cifar):
    data = get_CIFAR10_data(100, 20, 30, subtract_mean=False, data_dir=cifar)
    raw = get_CIFAR10_data(100, 20, 30, subtract_mean=False, data_dir=cifar, dtype=np.uint8)
    assert "mean_image" not in raw
    assert all(np.array_equal(data[key], raw[key]) for key in raw)


def test_batch_has_colours_last(cifar):
    path = _cifar.find_batches("test", cifar)[1]
    X, Y = load_CIFAR_batch(str(path))
    assert X.shape == (10000, 32, 32, 3) and X.dtype == np.float64 and Y.shape == (10000,)
    data = get_CIFAR10_data(10003, 1, 0, subtract_mean=False, data_dir=cifar)
    assert np.array_equal(X[:3].transpose(0, 3, 1, 2), data["X_train"][10000:])
    assert np.array_equal(Y[:3], data["y_train"][10000:])


def test_pixels_are_those_that_were_written(python2):
    X, y, X_test, y_test = load_CIFAR10(python2)
    for k, (_, pixels, labels) in enumerate(batches()):
        rows = slice(k * 10000, (k + 1) * 10000)
        images, found = (X[rows], y[rows]) if k < 5 else (X_test, y_test)
        assert np.array_equal(images, pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        assert np.array_equal(found, labels)


@pytest.mark.parametrize("kind", ["float64", "float32", "uint8"])
def test_peak_memory(python2, kind):
    tracemalloc.start()
    try:
        data = get_CIFAR10_data(data_dir=python2, dtype=kind)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.05 * sum(array.nbytes for array in data.values())


def test_the_default_folder(python2, tmp_path, monkeypatch):
    monkeypatch.delenv("DASECV_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="input/cifar-10-batches-py.*DASECV_DATA.*fetch_cifar10"):
        get_CIFAR10_data()
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "cifar-10-batches-py").symlink_to(python2)
    assert get_CIFAR10_data(5, 5, 5)["X_train"].shape == (5, 3, 32, 32)
    monkeypatch.setenv("DASECV_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        get_CIFAR10_data()
    monkeypatch.setenv("DASECV_DATA", str(python2.parent))
    assert get_CIFAR10_data(5, 5, 5)["X_train"].shape == (5, 3, 32, 32)


def test_missing_files(broken):
    folder = broken(None)
    with pytest.raises(FileNotFoundError, match="data_batch_3 is missing"):
        get_CIFAR10_data(10, 0, 0, data_dir=folder)
    with pytest.raises(FileNotFoundError, match="data_batch_3 is missing"):
        load_CIFAR10(folder)
    with pytest.raises(FileNotFoundError, match="data_batch_3"):
        load_CIFAR_batch(folder / "data_batch_3")
    for name in NAMES:
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match="holds no CIFAR-10"):
        get_CIFAR10_data(data_dir=folder)


LABELS = [k % 10 for k in range(10000)]
PIXELS = np.zeros((10000, 3072), np.uint8)
# Made when they are needed: each is 30 MB.
BAD_BATCHES = {
    "empty": (lambda: b"", "cannot be read"),
    "text": (lambda: b"hello", "cannot be read"),
    "truncated": (lambda: py2_batch(PIXELS, LABELS)[:20_000_000], "cannot be read"),
    "label 10": (lambda: py2_batch(PIXELS, [10, *LABELS[1:]]), "holds the label 10, expected 0 to 9"),
    "label -1": (lambda: pickle.dumps({"data": PIXELS, "labels": [-1, *LABELS[1:]]}), "holds the label -1"),
    "label 2.5": (lambda: pickle.dumps({"data": PIXELS, "labels": [2.5, *LABELS[1:]]}), "not integers"),
    "few labels": (lambda: py2_batch(PIXELS, LABELS[1:]), r"shape \(9999,\)"),
    "few images": (lambda: py2_batch(PIXELS[1:], LABELS), r"shape \(9999, 3072\)"),
    "narrow": (lambda: py2_batch(PIXELS[:, 1:], LABELS), r"shape \(10000, 3071\)"),
    "signed": (lambda: pickle.dumps({"data": PIXELS.view(np.int8), "labels": LABELS}), "int8"),
    "nested list": (lambda: pickle.dumps({"data": [[1]], "labels": LABELS}), "data that is list"),
    "no labels": (lambda: pickle.dumps({"data": PIXELS}), "no key 'labels'"),
    "a list": (lambda: pickle.dumps([PIXELS, LABELS]), "holds a list"),
}


@pytest.mark.parametrize("kind", BAD_BATCHES)
def test_bad_batch_is_named(broken, kind):
    content, message = BAD_BATCHES[kind]
    folder = broken(content())
    with pytest.raises(ValueError, match=f"data_batch_3.*{message}"):
        get_CIFAR10_data(data_dir=folder, dtype=np.uint8)
    with pytest.raises(ValueError, match=f"data_batch_3.*{message}"):
        load_CIFAR_batch(folder / "data_batch_3")


@pytest.mark.parametrize(("content", "message"), [
    (bytes(30_729_999), "30729999 bytes, expected 30730000"), (b"", "0 bytes"), (b"\x0a" * 30_730_000, "label 10"),
], ids=["short", "empty", "label"])
def test_bad_binary_batch_is_named(tmp_path, content, message):
    (tmp_path / "data_batch_2.bin").write_bytes(content)
    with pytest.raises(ValueError, match=f"data_batch_2.bin.*{message}"):
        load_CIFAR_batch(tmp_path / "data_batch_2.bin")


@pytest.mark.parametrize(("options", "message"), [
    ({"num_training": 0}, "num_training is 0"), ({"num_training": 50001}, "num_training"),
    ({"num_training": 2.0}, "num_training"), ({"num_training": True}, "num_training"),
    ({"num_validation": 1001}, "num_validation is 1001, expected an integer from 0 to 1000"),
    ({"num_test": 10001}, "num_test"), ({"num_test": -1}, "num_test"),
    ({"dtype": np.int64}, "dtype is int64"), ({"dtype": np.float16}, "dtype is float16"),
])
def test_bad_arguments(python2, options, message):
    with pytest.raises(ValueError, match=f"get_CIFAR10_data: .*{message}"):
        get_CIFAR10_data(data_dir=python2, **options)
