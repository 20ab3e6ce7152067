"""Fuzzing of every reader, guided by coverage where atheris is installed.

    pip install atheris
    python tests/fuzz_readers.py                        # what there is
    python tests/fuzz_readers.py tar -max_total_time=180

A target takes the bytes of a file and ends in a result or in an error of its own; anything else is a finding, whose
bytes are left in the current folder. Options are libFuzzer's. The suite tries changes of valid files with the same
targets.
"""

import contextlib
import hashlib
import io
import json
import os
import pickle
import sys
import tempfile
import warnings
from pathlib import Path

GUIDED = __name__ == "__main__" and len(sys.argv) > 1
if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
if GUIDED:
    import atheris
    instrument = atheris.instrument_imports(include=["daseCV_c", "tarfile", "zipfile", "tomllib"])
else:
    instrument = contextlib.nullcontext()

with instrument:
    import gzip
    import tarfile
    import zipfile

    import numpy as np

    from daseCV_c import _npz, models
    from daseCV_c._coursework import wire
    from daseCV_c._coursework.grading import board, reading, rubric
    from daseCV_c._training import archive, networks, snapshot
    from daseCV_c.classifiers.cnn import ThreeLayerConvNet
    from daseCV_c.classifiers.fc_net import FullyConnectedNet
    from daseCV_c.cli import files, runs
    from daseCV_c.cli.errors import CommandError
    from daseCV_c.data_utils import load_imagenet_val, load_pickle
    from daseCV_c.datasets import cifar, cifar_files
    from daseCV_c.solver import Solver

ROWS, PIXELS = 20, 3072
TARGETS, SEEDS, ERRORS = {}, {}, {}


def target(name, seeds, *errors):
    """A reader, which is called with (folder, path): `seeds` gives bytes that it reads, `errors` may be raised."""
    def keep(function):
        TARGETS[name], SEEDS[name], ERRORS[name] = function, seeds, errors
        return function
    return keep


def net(dtype=np.float32):
    with _seeded():
        return FullyConnectedNet([3], 4, 2, normalization="batchnorm", dropout=0.5, seed=1, dtype=dtype)


@contextlib.contextmanager
def _seeded():
    before = np.random.get_state()
    np.random.seed(0)
    yield
    np.random.set_state(before)


def written(write):
    """The bytes that `write` puts under a path."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "file")
        write(path)
        return Path(path).read_bytes()


def batch(protocol, **more):
    pixels = np.arange(ROWS * PIXELS, dtype=np.uint32).astype(np.uint8).reshape(ROWS, PIXELS)
    return pickle.dumps({"data": pixels, "labels": [k % 10 for k in range(ROWS)], **more}, protocol)


@contextlib.contextmanager
def small_batches():
    before = cifar_files.ROWS, cifar_files._CHUNK
    cifar_files.ROWS, cifar_files._CHUNK = ROWS, 7
    try:
        yield
    finally:
        cifar_files.ROWS, cifar_files._CHUNK = before


def read_batch(path):
    with small_batches():
        found = cifar_files._Batch(path)
        for _, pixels in found.rows(0, ROWS):
            assert pixels.shape[1] == PIXELS and pixels.dtype == np.uint8
        assert found.labels.shape == (ROWS,)


VALUES = {"a": [1, 2.5, "x", b"y", None, (1,)], "b": np.arange(4.0)}


@target("pickle", lambda: [pickle.dumps(VALUES, protocol) for protocol in range(6)], ValueError)
def _(folder, path):
    load_pickle(path)


@target("cifar-pickled", lambda: [batch(2), batch(4), batch(0)], ValueError)
def _(folder, path):
    read_batch(path)


@target("cifar-binary", lambda: [bytes(ROWS * (PIXELS + 1))], ValueError)
def _(folder, path):
    held = path.with_suffix(".bin")
    path.rename(held)
    try:
        read_batch(held)
    finally:
        held.rename(path)


def tar_seeds():
    found = []
    for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
            for name in (f"batches/{'x' * 90}/{'x' * 30}", "batches/one"):
                info = tarfile.TarInfo(name)
                info.size, info.mtime = 5, 0.5 if format == tarfile.PAX_FORMAT else 0
                tar.addfile(info, io.BytesIO(b"12345"))
        found.append(buffer.getvalue())
    return found


@target("tar", tar_seeds, ValueError)
def _(folder, path):
    """The bytes are those before compression, so that changes reach the reader of the archive."""
    path.write_bytes(gzip.compress(path.read_bytes(), 1, mtime=0))
    cifar._unpack(path, folder / "batches", ("one",))


@target("tar-gz", lambda: [gzip.compress(content, mtime=0) for content in tar_seeds()], ValueError)
def _(folder, path):
    cifar._unpack(path, folder / "batches", ("one",))


def solver():
    X, y = np.arange(24.0).reshape(6, 4).astype(np.float32), np.arange(6) % 2
    with _seeded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Solver(net(), {"X_train": X, "y_train": y, "X_val": X, "y_val": y}, update_rule="adam", num_epochs=1,
                       batch_size=3, verbose=False)
        found.train()
    return found


def with_sum(content):
    """The bytes with the checksum that belongs to them."""
    return content[:-71] + b"sha256 " + hashlib.sha256(content[:-71]).hexdigest().encode("ascii")


@target("checkpoint", lambda: [written(solver().save)], ValueError)
def _(folder, path):
    """With the right checksum, so that changes reach what comes after it."""
    path.write_bytes(with_sum(path.read_bytes()))
    snapshot.Snapshot(path, *archive.read(path, snapshot.KIND)).built()


_DOCUMENT = {}


def document():
    if not _DOCUMENT:
        _DOCUMENT["whole"] = snapshot.document_of(solver())
    return _DOCUMENT["whole"]


@target("checkpoint-document", lambda: [json.dumps(document()[0]).encode()], ValueError)
def _(folder, path):
    """The description in a checkpoint, with the arrays of another."""
    found = json.loads(path.read_bytes())
    if isinstance(found, dict):
        model = snapshot.Snapshot(path, found, dict(document()[1])).built()
        predict(model)


def predict(model):
    """A network that was built can be used, or says why not."""
    size = model.input_dim
    shape = size if isinstance(size, tuple) else (size,)
    if None not in shape and np.prod(shape, dtype=float) < 1e5:
        with np.errstate(all="ignore"):
            model.loss(np.zeros((2, *shape), model.dtype))


def described():
    with _seeded():
        cnn = ThreeLayerConvNet((1, 4, 4), 2, 3, 3, 2)
    return [networks.describe("save_model", model) for model in (net(), cnn)]


@target("model", lambda: [written(lambda path: models.save_model(net(), path))], ValueError)
def _(folder, path):
    path.write_bytes(with_sum(path.read_bytes()))
    predict(models.load_model(path))


@target("model-document", lambda: [json.dumps(found[0]).encode() for found in described()], ValueError, TypeError)
def _(folder, path):
    found = json.loads(path.read_bytes())
    conv = isinstance(found, dict) and found.get("class") == "ThreeLayerConvNet"
    predict(networks.rebuild("load_model", found, described_arrays()[conv]))


def described_arrays():
    if "arrays" not in _DOCUMENT:
        _DOCUMENT["arrays"] = [found[1] for found in described()]
    return _DOCUMENT["arrays"]


def saved(save, *arrays, **named):
    """What `save` writes: to a file, as it gives a path a suffix of its own."""
    def write(path):
        with open(path, "wb") as file:
            save(file, *arrays, **named)

    return written(write)


@target("course-parameters", lambda: [saved(np.save, np.array(dict(net().params), object), allow_pickle=True)],
        ValueError, TypeError)
def _(folder, path):
    models.load_into("load", net(), path)


def run_files():
    if "run" not in _DOCUMENT:
        model = net()
        for entry in model.bn_params:
            entry |= {"running_mean": np.zeros(3, np.float32), "running_var": np.ones(3, np.float32)}
        _DOCUMENT["run"] = saved(np.savez, **runs.state(model, np.zeros(4)))
    config = {"format": 1, "dataset": "file", "data": "d.csv", "classes": ["a", "b"], "columns": None, "settings": {},
              "network": {"model": "fc", "hidden_dims": [3], "input_dim": 4, "num_classes": 2, "dropout": 0.5,
                          "reg": 0.1, "normalization": "batchnorm", "weight_scale": 0.1, "dtype": "float32"}}
    return json.dumps(config).encode(), _DOCUMENT["run"]


@target("config", lambda: [run_files()[0]], CommandError)
def _(folder, path):
    path.rename(folder / runs.CONFIG)
    (folder / runs.PARAMS).write_bytes(run_files()[1])
    try:
        runs.load(str(folder))
    finally:
        (folder / runs.CONFIG).rename(path)


@target("run-parameters", lambda: [run_files()[1]], CommandError)
def _(folder, path):
    path.rename(folder / runs.PARAMS)
    (folder / runs.CONFIG).write_bytes(run_files()[0])
    try:
        runs.load(str(folder))
    finally:
        (folder / runs.PARAMS).rename(path)


def npz_seeds():
    arrays = {"X": np.arange(12.0).reshape(4, 3), "y": np.array(["a", "b", "a", "b"])}
    return [saved(np.savez, **arrays), saved(np.savez_compressed, **arrays)]


@target("npz", npz_seeds, _npz.BadArrayError)
def _(folder, path):
    for found in _npz.arrays(str(path))[0].values():
        found.tobytes()


@target("npy", lambda: [saved(np.save, np.arange(6).reshape(2, 3)), saved(np.save, np.array([("a", 1)], "U1,i4"))],
        CommandError)
def _(folder, path):
    files.array(str(path))


@target("csv", lambda: [b"a,b,label\n1,2,x\n3,4,y\n", b"1;2;3\n4;5;6\n", b'"a\n",b\n"1",2\n'], CommandError)
def _(folder, path):
    files.table(str(path), labelled=True)


@target("labels", lambda: [b"1\n2\n", b"a,label\n1,x\n2,y\n"], CommandError)
def _(folder, path):
    files.labels(str(path))


def imagenet_file():
    names = np.array({0: "hay"}, object)
    return saved(np.savez, X=np.zeros((2, 1, 2, 3), np.uint8), y=np.arange(2), label_map=names)


@target("imagenet", lambda: [imagenet_file()], ValueError)
def _(folder, path):
    held = folder / "imagenet_val_25.npz"
    path.rename(held)
    before = os.environ.get("DASECV_DATA")
    os.environ["DASECV_DATA"] = str(folder)
    try:
        load_imagenet_val()
    finally:
        held.rename(path)
        os.environ.pop("DASECV_DATA")
        if before is not None:
            os.environ["DASECV_DATA"] = before


def zipped(names, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as found:
        for name, content in names.items():
            found.writestr(name, content)
    return buffer.getvalue()


CELL = {"cell_type": "code", "source": ["def relu_forward(x):\n", "    return x\n"]}
HANDED_IN = {"a/layers.py": "def affine_forward(x, w, b):\n    return x\n",
             "b.ipynb": json.dumps({"nbformat": 4, "cells": [CELL]})}


@target("submission", lambda: [zipped(HANDED_IN),
                               zipped({"optim.py": "def sgd(w, dw):\n    pass\n"}, zipfile.ZIP_STORED)])
def _(folder, path):
    held = path.with_suffix(".zip")
    path.rename(held)
    room = folder / "room" / "here"
    room.mkdir(parents=True)
    try:
        found = reading.read("student", held)
        reading.lay_out(found, room)
        list(reading.written(found, room))
    finally:
        held.rename(path)
    assert [entry.name for entry in room.parent.iterdir()] == ["here"], "written outside"


def predictions():
    buffer = io.BytesIO()
    np.save(buffer, np.arange(4))
    held = {"prediction.npy": buffer.getvalue()}
    return [zipped(held), zipped(held, zipfile.ZIP_STORED)]


@target("predictions", predictions)
def _(folder, path):
    board._score("student", path, np.arange(4), 10)


RUBRIC = b'title = "t"\nseeds = [1]\n[[question]]\ntitle = "q"\nfunctions = ["relu_forward"]\npoints = 1.5\n'


@target("rubric", lambda: [RUBRIC], rubric.RubricError)
def _(folder, path):
    rubric.load(path)


@target("wire", lambda: [wire.encode({"a": [1, 2.5, None, "x", (True,)], "b": np.ones((2, 3))})[8:]], wire.WireError)
def _(folder, path):
    wire.decode(path.read_bytes())


def load_safetensors(folder, path):
    predict(models.load_model(path))


with contextlib.suppress(ImportError):
    import safetensors  # noqa: F401
    target("safetensors", lambda: [written(lambda path: models.save_model(net(), path, format="safetensors"))],
           ValueError)(load_safetensors)

def attempt(name, content, folder):
    """One file for one reader; True if it was read. An error of another kind comes through."""
    folder = Path(tempfile.mkdtemp(dir=folder))
    path = folder / "file"
    path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            TARGETS[name](folder, path)
        return True
    except ERRORS[name]:
        return False
    finally:
        _removed(folder)


def _removed(folder):
    for entry in sorted(folder.rglob("*"), key=lambda entry: -len(entry.parts)):
        entry.rmdir() if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    folder.rmdir()


def main():
    if len(sys.argv) < 2:
        print(" ".join(TARGETS))
        return
    name, memory = sys.argv.pop(1), "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for k, content in enumerate(SEEDS[name]()):
            (corpus / f"seed{k}").write_bytes(content)
            assert attempt(name, content, folder), f"seed {k} of {name} is not read"
        atheris.Setup([sys.argv[0], "-rss_limit_mb=3000", "-timeout=20", "-max_len=200000", *sys.argv[1:], str(corpus)],
                      lambda content: attempt(name, content, folder) and None)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
