"""The container of checkpoints and models: it gives back what was written, and shows every change of a byte."""

import hashlib
import os
import pickle
import stat
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from daseCV_c._training import archive
from daseCV_c._training.archive import ArchiveError

pytestmark = pytest.mark.once

DOCUMENT = {"numbers": [1, -2.5, 1e-300, 2**70], "text": "é\n\ud800", "none": None, "true": True, "empty": {}}


def arrays_of():
    rng = np.random.default_rng(1)
    return {
        "params/W1": rng.standard_normal((5, 7)).astype(np.float32),
        "fortran": np.asfortranarray(rng.standard_normal((3, 4))),
        "strided": rng.standard_normal((6, 8))[::-2, 1::3],
        "swapped": np.arange(3, dtype=">i4"),
        "number": np.array(np.nan),
        "nothing": np.zeros((0, 3)),
        "signed zeros": np.array([0.0, -0.0, np.inf]),
        "flags": np.array([True, False]),
        "complex": np.array([1j, 2]),
    }


def named():
    return {name.replace(" ", "_"): array for name, array in arrays_of().items()}


def test_it_gives_back_what_was_written(here):
    arrays = named()
    archive.write("it.npz", "checkpoint", DOCUMENT, arrays)
    document, found = archive.read("it.npz", "checkpoint")
    assert document == DOCUMENT
    assert list(found) == list(arrays)
    with np.load("it.npz") as plain:
        assert plain.files == [archive.DOCUMENT, *arrays]
        for name, array in arrays.items():
            for other in (found[name], plain[name]):
                assert (other.dtype, other.shape, other.tobytes()) == (array.dtype, array.shape, array.tobytes())
            assert found[name].flags.writeable
    assert found["fortran"].flags.f_contiguous and not found["fortran"].flags.c_contiguous
    with zipfile.ZipFile("it.npz") as file:
        assert file.testzip() is None
    first = Path("it.npz").read_bytes()
    archive.write("it.npz", "checkpoint", DOCUMENT, arrays, durable=False)
    assert Path("it.npz").read_bytes() == first
    assert os.listdir() == ["it.npz"]


def test_a_file_has_the_same_bytes_in_every_version(here, monkeypatch):
    """Writer and reader build the frame alike: a change of it passes both, and no older file could be read any more."""
    monkeypatch.setattr(archive, "__version__", "1.2.3")
    arrays = {"params/W1": np.arange(6, dtype="<f4").reshape(2, 3),
              "order": np.asfortranarray(np.arange(4, dtype="<i8").reshape(2, 2))}
    archive.write("it.npz", "model", {"numbers": [1, -2.5]}, arrays)
    raw = Path("it.npz").read_bytes()
    end = raw.index(b"PK\6\6")
    assert int.from_bytes(raw[end + 4:end + 12], "little") == 44  # zip's specification: the record but for 12 bytes
    assert hashlib.sha256(raw).hexdigest() == (
        "b2bbc26e915399f6d89e647da2534a160a43f9e3e6d5b7b91129a9ed00a9216a")


def test_every_change_is_found(here):
    archive.write("it.npz", "model", {"x": 1}, {"a": np.arange(5.0), "b": np.ones((2, 3), np.float32)})
    whole, other = Path("it.npz").read_bytes(), Path("other.npz")
    changed = [whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1:] for i in range(len(whole))]
    for content in (*changed, *(whole[:i] for i in range(len(whole))), whole + b"\0", b"\0" + whole, whole * 2):
        other.write_bytes(content)
        with pytest.raises(ArchiveError, match=r'^"other.npz" is .*[a-z]$'):
            archive.read(other, "model")


def test_files_of_others(here):
    class Runs:
        def __reduce__(self):
            return os.mkdir, ("ran",)

    archive.write("model.npz", "model", {}, {})
    np.savez("plain.npz", a=np.ones(3))
    np.savez("objects.npz", document=np.array([Runs()], object))
    np.save("array.npy", np.ones(3))
    for protocol in range(6):
        Path(f"protocol{protocol}.pkl").write_bytes(pickle.dumps({"model": Runs()}, protocol))
    Path("empty").touch()
    Path("history.csv").write_text("iteration,loss\n1,2.5\n")
    Path("zeros").write_bytes(bytes(1000))
    Path("picture.gz").write_bytes(b"\x1f\x8b" + bytes(100))
    with zipfile.ZipFile("slip.npz", "w") as file:
        file.writestr("../slipped.npy", b"x")
    wanted = "expected a checkpoint that Solver.save wrote$"
    for name, what in {
        "model.npz": "is a model that save_model wrote", "plain.npz": "is an archive of another program",
        "array.npy": "is a single array of NumPy", "empty": "is empty", "history.csv": "is a text file",
        "zeros": "is something else", "picture.gz": "is something else", "slip.npz": "is an archive of another program",
        **{f"protocol{protocol}.pkl": "is a pickle, which may run code and is not opened" for protocol in range(6)},
    }.items():
        with pytest.raises(ArchiveError, match=f'^"{name}" {what}, {wanted}'):
            archive.read(name, "checkpoint")
    with pytest.raises(ArchiveError, match='^"objects.npz" is damaged'):
        archive.read("objects.npz", "checkpoint")
    assert not Path("ran").exists()
    with pytest.raises(FileNotFoundError):
        archive.read("absent", "checkpoint")
    with pytest.raises(OSError):
        archive.read(here, "checkpoint")


if sys.platform != "win32":
    def test_no_waiting_for_a_pipe(here):
        os.mkfifo("pipe")
        with pytest.raises(ArchiveError, match='"pipe" is no ordinary file, expected a checkpoint'):
            archive.read("pipe", "checkpoint")

    def test_mode_of_the_umask(here):
        before = os.umask(0o027)
        try:
            archive.write("it.npz", "model", {}, {})
        finally:
            os.umask(before)
        assert stat.S_IMODE(os.stat("it.npz").st_mode) == 0o640


def forged(*changes):
    """A file in which texts were replaced by others of their length, with the checksum that belongs to it."""
    archive.write("it.npz", "model", {"x": [12345678901234]}, {"abc": np.arange(5.0), "xyz": np.ones((2, 3))})
    content = Path("it.npz").read_bytes()[:-71]
    for old, new in changes:
        assert len(old) == len(new) and old in content
        content = content.replace(old, new)
    Path("forged.npz").write_bytes(content + b"sha256 " + hashlib.sha256(content).hexdigest().encode())


@pytest.mark.parametrize(("changes", "message"), [
    ([(b'"xyz"', b'"abc"'), (b"xyz.npy", b"abc.npy")], "it holds two arrays of one name"),
    ([(b'"xyz"', b'"../"'), (b"xyz.npy", b"../.npy")], r"an array is called '../'"),
    ([(b'"xyz"', b'"/yz"'), (b"xyz.npy", b"/yz.npy")], "an array is called '/yz'"),
    ([(b'"<f8"', b'"|O8"'), (b"'<f8'", b"'|O8'")], r"the array abc has dtype \|O8, expected numbers"),
    ([(b'"<f8"', b'"O,O"')], "the array abc has dtype O,O, expected numbers"),
    ([(b"[2, 3]", b"[9999]")], "damaged"),
    ([(b"[2, 3]", b"[true]")], "shape that is none"),
    ([(b"[2, 3]", b"[-9,3]")], "shape that is none"),
    ([(b"[2, 3]", b"[9e99]")], "shape that is none"),
    ([(b"[2, 3]", b"{}    ")], "damaged"),
    ([(b'"format": 1', b'"format": 2')], "has format 2 and was written by version .* while version .* reads format 1"),
    ([(b"[12345678901234]", b"[" * 16)], "damaged"),
    ([(b"[12345678901234]", b"[NaN]           ")], "damaged"),
    ([(b"[12345678901234]", b"[1e999]         ")], "damaged"),
    ([(b"[12345678901234]", b"[-Infinity]     ")], "damaged"),
    ([(b"abc.npy", b"abd.npy")], "damaged"),
    ([(b"(2, 3)", b"(3, 2)")], "damaged"),
], ids=str)
def test_forged_files(here, changes, message):
    forged(*changes)
    with pytest.raises(ArchiveError, match=f'^"forged.npz" .*{message}'):
        archive.read("forged.npz", "model")



@pytest.mark.parametrize("shape", [[10**9], [10**15], [2**31, 2**31], [3] * 32, [2**62, 2**62, 0]], ids=str)
def test_absurd_sizes_take_no_memory(here, monkeypatch, shape):
    """Also where the whole of the frame agrees with them."""
    local = archive._local
    with monkeypatch.context() as patch:
        patch.setattr(archive, "_local", lambda spec, size, crc: local(spec, len(spec.header) + spec.nbytes, crc))
        patch.setattr(archive, "_spec_of", lambda name, array: archive._Spec(
            name, "|u1", array.shape if name == archive.DOCUMENT else tuple(shape), "C"))
        archive.write("it.npz", "model", {}, {"a": np.zeros(0, np.uint8)})
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError):
            archive.read("it.npz", "model")
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()


def test_a_document_nested_too_deep(here, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(archive.json, "dumps", lambda *args, **options: "[" * 10**6)
        archive.write("it.npz", "model", {}, {})
    with pytest.raises(ArchiveError, match="damaged"):
        archive.read("it.npz", "model")


@pytest.mark.parametrize("name", ["", "a b", "../a", "a/../b", "/a", "a//b", ".a", "a\0", "ä", "a\n", "x" * 201,
                                  "document"])
def test_names_that_are_not_written(here, name):
    with pytest.raises(ValueError, match="an array is called"):
        archive.write("it.npz", "model", {}, {name: np.ones(2)})
    assert os.listdir() == []


@pytest.mark.parametrize("value", [np.array([None]), np.array(["text"]), np.zeros(2, "f4,i4"), np.zeros(2, "M8[s]")])
def test_arrays_that_are_not_written(here, value):
    with pytest.raises(ValueError, match="the array a has dtype .*expected numbers"):
        archive.write("it.npz", "model", {}, {"a": value})
    assert os.listdir() == []


def test_documents_that_are_not_written(here):
    archive.write("it.npz", "model", {}, {})
    before = Path("it.npz").read_bytes()
    for document in ({"x": float("nan")}, {"x": [float("inf")]}, {"x": object()}, {"x": "long" * 2**23}):
        with pytest.raises((TypeError, ValueError)):
            archive.write("it.npz", "model", document, {})
    assert Path("it.npz").read_bytes() == before and os.listdir() == ["it.npz"]
