"""Pickles whose large strings stay in the file: what is left, what is read after all."""

import pickle

import numpy as np
import pytest
from crafting import py2_batch, py2_text

from daseCV_c.data_utils import BadPickleError, load_CIFAR_batch
from daseCV_c.datasets import pickles as _pickle

ARRAY = np.random.default_rng(1).integers(0, 256, (300, 400), np.uint8)
LABELS = [k % 10 for k in range(10000)]


def python2(array):
    """The original files' layout, with one label a row."""
    return py2_batch(array, [0] * len(array))


WRITERS = {f"protocol {k}": lambda array, k=k: pickle.dumps({"data": array}, k) for k in (3, 4, 5)}
WRITERS["python2"] = python2


def left(tmp_path, content, size):
    path = tmp_path / "batch"
    path.write_bytes(content)
    return *_pickle.load_leaving(path, size), path.read_bytes()


@pytest.mark.parametrize("writer", WRITERS)
def test_bytes_stay_in_the_file(tmp_path, writer):
    value, offset, content = left(tmp_path, WRITERS[writer](ARRAY), ARRAY.nbytes)
    data = value[b"data"] if writer == "python2" else value["data"]
    assert data == _pickle.Left(ARRAY.shape, ARRAY.dtype, False)
    assert content[offset:offset + ARRAY.nbytes] == ARRAY.tobytes()


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("more", [-1, 1])
def test_other_sizes_are_read(tmp_path, writer, more):
    value, offset, _ = left(tmp_path, WRITERS[writer](ARRAY), ARRAY.nbytes + more)
    assert offset is None
    assert np.array_equal(value[b"data"] if writer == "python2" else value["data"], ARRAY)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_what_stands_around_is_read(tmp_path, protocol):
    rest = [b"T", 84, b"x" * 84, -1.5, {142: b"\x8e" * 142}, None, ARRAY.tobytes()[1:]]
    value, offset, _ = left(tmp_path, pickle.dumps([rest, ARRAY, rest], protocol), ARRAY.nbytes)
    assert value == [rest, _pickle.Left(ARRAY.shape, ARRAY.dtype, False), rest] and offset > ARRAY.nbytes
    (first, second), _, _ = left(tmp_path, pickle.dumps([ARRAY, ARRAY.copy()], protocol), ARRAY.nbytes)
    assert isinstance(first, _pickle.Left) and np.array_equal(second, ARRAY)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_what_only_looks_like_the_string(tmp_path, protocol):
    """The opcode and the length may stand inside another string."""
    fake = b"B" + ARRAY.nbytes.to_bytes(4, "little")
    value, offset, _ = left(tmp_path, pickle.dumps([fake, ARRAY, [1, 2]], protocol), ARRAY.nbytes)
    assert value == [fake, _pickle.Left(ARRAY.shape, ARRAY.dtype, False), [1, 2]] and offset > len(fake)


def test_cut_inside_the_string(tmp_path):
    with pytest.raises(BadPickleError, match="batch cannot be read"):
        left(tmp_path, python2(ARRAY)[:-1000], ARRAY.nbytes)


def test_pickle_that_is_not_data(tmp_path):
    harm = b"cos\nsystem\n" + py2_text("touch harm") + b"\x85R0"
    with pytest.raises(BadPickleError, match="os.system"):
        left(tmp_path, b"\x80\2" + harm + python2(ARRAY)[2:], ARRAY.nbytes)


PIXELS = np.zeros((10000, 3072), np.uint8)
IMAGES = np.random.default_rng(2).integers(0, 256, PIXELS.shape, np.uint8)


@pytest.mark.parametrize("content", [
    lambda: pickle.dumps({"data": np.asfortranarray(IMAGES), "labels": LABELS}),
    lambda: pickle.dumps({"data": np.asfortranarray(IMAGES), "labels": LABELS}, 5),
    lambda: pickle.dumps({"more": bytes(IMAGES.nbytes), "data": IMAGES, "labels": LABELS}, 4),
    lambda: pickle.dumps({"data": IMAGES, "labels": LABELS}, 1),
], ids=["fortran", "fortran 5", "two strings", "as text"])
def test_batches_that_are_read_after_all(tmp_path, content):
    path = tmp_path / "data_batch_1"
    path.write_bytes(content())
    X, y = load_CIFAR_batch(path)
    assert np.array_equal(X, IMAGES.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)) and y.tolist() == LABELS


@pytest.mark.parametrize(("data", "message"), [
    (bytes(PIXELS.nbytes), "data that is bytes"), (bytearray(PIXELS.nbytes), "cannot be read"),
    (PIXELS.reshape(3072, 10000), r"uint8 of shape \(3072, 10000\)"), (PIXELS.view(np.int8), "int8"),
    (PIXELS.view("<i2"), "int16"), (PIXELS[None], r"shape \(1, 10000, 3072\)"),
], ids=["bytes", "bytearray", "shape", "int8", "int16", "rank"])
def test_strings_of_that_size_that_are_no_pixels(tmp_path, data, message):
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({"data": data, "labels": LABELS}, 4))
    with pytest.raises(ValueError, match=f"data_batch_1.*{message}"):
        load_CIFAR_batch(path)
