"""Files and folders that somebody has made to do harm: they are refused, and nothing outside was touched."""

import contextlib
import gzip
import io
import json
import os
import tarfile
import threading
import zipfile

import numpy as np
import pytest
from commands import fails
from PIL import Image
from test_fetch import Server, fetch, make_archive

import daseCV_c
from daseCV_c import _npz, data_utils, plots
from daseCV_c._coursework import running, wire
from daseCV_c._coursework.grading import board, reading, rubric
from daseCV_c.classifiers.fc_net import TwoLayerNet
from daseCV_c.cli import files, lock, runs
from daseCV_c.cli.errors import CommandError
from daseCV_c.cli.main import main
from daseCV_c.data_utils import load_imagenet_val, load_tiny_imagenet
from daseCV_c.datasets import cifar
from daseCV_c.models import load_model

pytestmark = pytest.mark.once


def packed(*members):
    """A .tar.gz of headers and contents."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def header(name="cifar-10-batches-py/data_batch_1", kind=tarfile.REGTYPE, size=0, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


def unpacked(tmp_path, content):
    (tmp_path / "archive").write_bytes(content)
    (tmp_path / "dest").mkdir(exist_ok=True)
    with pytest.raises(ValueError, match="cannot be unpacked") as error:
        cifar._unpack(tmp_path / "archive", tmp_path / "dest" / "cifar-10-batches-py", ("data_batch_1",))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "dest"]
    assert list((tmp_path / "dest").iterdir()) == []
    return str(error.value)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE,
                                  tarfile.GNUTYPE_SPARSE])
def test_links_devices_and_sparse_files_of_an_archive(tmp_path, kind):
    unpacked(tmp_path, packed((header(kind=kind, link="../../secret"), b"")))


@pytest.mark.parametrize("name", [
    "../evil", "/tmp/evil-of-an-archive", "cifar-10-batches-py/../../evil", "a/\0b/../../.."])
def test_names_that_lead_out_of_an_archive(tmp_path, name):
    info = header(name, size=4)
    info.pax_headers = {"path": name}
    unpacked(tmp_path, packed((info, b"evil")))
    assert not os.path.exists("/tmp/evil-of-an-archive")


def test_an_archive_that_would_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "_MOST_UNPACKED", 10**6)
    content = packed((header(size=10**7), bytes(10**7)))
    assert len(content) < 20_000
    assert "more than 1000000 bytes" in unpacked(tmp_path, content)


def test_an_archive_of_too_many_files(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "_MOST_MEMBERS", 10)
    assert "more than 10 files" in unpacked(tmp_path, packed(*((header(f"cifar-10-batches-py/{k}"), b"")
                                                               for k in range(11))))


def test_a_size_that_leads_back_in_an_archive(tmp_path):
    """Read at any place, such an archive has no end."""
    info = header()
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 10 + (-1024 & 0xFFFF).to_bytes(2, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    unpacked(tmp_path, gzip.compress(bytes(block) + bytes(1024)))


def test_a_mirror_that_never_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "_MOST_BYTES", 10**5)
    with Server(make_archive()) as server, pytest.raises(OSError, match="more than 100000 bytes"):
        fetch(tmp_path, server)
    assert list((tmp_path / ".download").iterdir()) == []


def test_an_npz_that_unpacks_to_far_more(here, monkeypatch):
    np.savez_compressed("bomb.npz", X=np.zeros(10**6))
    assert files.array("bomb.npz").size == 10**6  # so much is allowed
    monkeypatch.setattr(_npz, "_FREE", 10**6)
    with pytest.raises(CommandError, match="bomb.npz unpacks to 8000"):
        files.array("bomb.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_an_npz_packed_in_another_way(here, method):
    with zipfile.ZipFile("other.npz", "w", method) as archive, archive.open("X.npy", "w") as member:
        np.save(member, np.zeros(3))
    with pytest.raises(CommandError, match="other.npz cannot be read.*packed"):
        files.array("other.npz")


def test_an_array_of_negative_size(here):
    with open("X.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (-1, 4)})
    with pytest.raises(CommandError, match="X.npy cannot be read"):
        files.array("X.npy")


@pytest.mark.parametrize("content", ["lie", "deep", "no map", "a number"])
def test_imagenet_files_that_are_none(tmp_path, monkeypatch, content):
    monkeypatch.setenv("DASECV_DATA", str(tmp_path))
    path, arrays = tmp_path / "imagenet_val_25.npz", {"X": np.zeros((1, 1, 2, 3), np.uint8), "y": np.arange(1)}
    np.savez(path, **arrays, **({} if content == "no map" else {"label_map": np.array({0: "hay"}, object)}))
    if content in ("lie", "deep"):
        with zipfile.ZipFile(path) as archive:
            held = {name: archive.read(name) for name in archive.namelist()}
        held["X.npy"] = (held["X.npy"].replace(b"(1, 1, 2, 3)", b"(9" + b"9" * 9 + b",)") if content == "lie"
                         else b"\x93NUMPY\1\0" + (5000).to_bytes(2, "little") + b"(" * 5000)
        with zipfile.ZipFile(path, "w") as archive:
            for name, held_bytes in held.items():
                archive.writestr(name, held_bytes)
    elif content == "a number":
        np.savez(path, X=np.array(3), y=np.array(3), label_map=np.array({0: "hay"}, object))
    with pytest.raises(ValueError, match="imagenet_val_25.npz"):
        load_imagenet_val()


@contextlib.contextmanager
def pipe(path):
    """A pipe with a name. Who opens it to read finds nothing in it, so that a reader that waits fails and does not
    hang."""
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: [open(path, "wb").close() for _ in range(9)])
    writer.start()
    try:
        yield
    finally:
        while writer.is_alive():
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            writer.join(0.001)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("read", [
    data_utils.load_pickle, data_utils.load_CIFAR_batch, lambda path: data_utils.load_CIFAR_batch(f"{path}.bin"),
    load_model, TwoLayerNet(2, 2, 2).load, plots.plot, _npz.arrays, files.array, files.labels,
    rubric.load, board.load_labels, running.check, lambda path: running.check(f"{path}.ipynb"),
    lambda path: daseCV_c.search(storage=path)])
def test_nobody_waits_for_a_pipe(here, read):
    with contextlib.ExitStack() as stack:
        for name in ("pipe", "pipe.bin", "pipe.ipynb"):
            stack.enter_context(pipe(name))
        with pytest.raises((ValueError, CommandError, ImportError), match="no ordinary file|has 0 bytes|optuna"):
            read("pipe")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", "train/n01/n01_boxes.txt", "val/images/a.JPEG"])
def test_nobody_waits_for_a_pipe_in_tiny_imagenet(tiny, name):
    (tiny / name).unlink()
    with pipe(tiny / name), pytest.raises(ValueError, match="no ordinary file"):
        load_tiny_imagenet(tiny)


def named(content, name):
    """A zip of one file, which is called `name` in its directory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x" * max(len(name), 1), content)
    data = buffer.getvalue()
    at = data.index(b"PK\1\2")
    if not name:  # the length is a number in the entry; what follows it moves up
        data = data[:at + 28] + b"\0\0" + data[at + 30:at + 46] + data[at + 47:]
        end = data.index(b"PK\5\6")
        data = data[:end + 12] + (end - at).to_bytes(4, "little") + data[end + 16:]
    return data


def test_a_file_without_a_name_in_a_students_zip(tmp_path):
    """It ends nobody's grading."""
    path = tmp_path / "ada.zip"
    path.write_bytes(named(b"x = 1", ""))
    assert zipfile.ZipFile(path).namelist() == [""]
    assert reading.read("ada", path).notes


@pytest.mark.parametrize("content", [b"x = 1\n", None])
def test_a_students_zip_packed_with_lzma(tmp_path, content):
    with zipfile.ZipFile(tmp_path / "ada.zip", "w", zipfile.ZIP_LZMA) as archive:
        for name in ("optim.py", "prediction.npy"):
            archive.writestr(name, content or b"y" * 50)
    if content is None:  # damaged inside: the errors of that library are of no other's kind
        data = (tmp_path / "ada.zip").read_bytes()
        (tmp_path / "ada.zip").write_bytes(data.replace(b"\x5d", b"\xff"))
    assert "LZMA" in reading.read("ada", tmp_path / "ada.zip").notes[0]
    assert "LZMA" in board._score("ada", tmp_path / "ada.zip", np.arange(4), 10).fault


@pytest.mark.parametrize("content", ['""', '""\n\n', ",,\n"])
def test_a_csv_of_empty_fields(here, content):
    (here / "empty.csv").write_text(content)
    for read in (files.table, files.labels):
        with pytest.raises(CommandError, match="empty.csv holds no field"):
            read("empty.csv")


@pytest.mark.parametrize("code", ["i4,(", "(1,2i4,", "O", "V8", "(2,)i4", "<f16", "<i3"])
def test_an_answer_of_no_type_of_numbers(code):
    """NumPy reads some of them as Python, whose errors are no message's."""
    text = json.dumps({"array": code, "shape": [1]}).encode()
    with pytest.raises(wire.WireError):
        wire.decode(len(text).to_bytes(8, "little") + text + bytes(16))


@pytest.fixture
def tiny(tmp_path):
    """Tiny ImageNet of one class and one image for each split."""
    root = tmp_path / "tiny"
    for folder in ("train/n01/images", "val/images", "test/images"):
        (root / folder).mkdir(parents=True)
        Image.new("RGB", (64, 64)).save(root / folder / "a.JPEG")
    Image.new("RGB", (64, 64)).save(tmp_path / "secret.JPEG")
    (root / "wnids.txt").write_text("n01\n")
    (root / "words.txt").write_text("n01\tcat\n")
    (root / "train/n01/n01_boxes.txt").write_text("a.JPEG\t0\n")
    (root / "val/val_annotations.txt").write_text("a.JPEG\tn01\n")
    load_tiny_imagenet(root)
    return root


@pytest.mark.parametrize("name", ["../../../secret.JPEG", "/etc/passwd", "..", "c:secret", "..\\secret"])
@pytest.mark.parametrize("table", ["val/val_annotations.txt", "train/n01/n01_boxes.txt", "wnids.txt"])
def test_names_of_images_that_lead_out_of_the_folder(tiny, table, name):
    (tiny / table).write_text(f"{name}\n" if table == "wnids.txt" else f"{name}\tn01\n")
    with pytest.raises(ValueError, match="expected the name of a file or folder beside it"):
        load_tiny_imagenet(tiny)


def test_a_drawing_is_not_run_as_a_program(tiny):
    """Pillow would start Ghostscript for it."""
    Image.new("RGB", (64, 64)).save(tiny / "val/images/a.JPEG", format="EPS")
    with pytest.raises(ValueError, match="a.JPEG is not a readable image"):
        load_tiny_imagenet(tiny)


def test_an_image_of_another_size_is_not_unpacked(tiny, monkeypatch):
    Image.new("L", (64, 65)).save(tiny / "val/images/a.JPEG")
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("unpacked"))
    (tiny / "train/n01/images/a.JPEG").write_bytes((tiny / "val/images/a.JPEG").read_bytes())
    with pytest.raises(ValueError, match="64 x 65 pixels"):
        load_tiny_imagenet(tiny)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "run"
    assert main(["train", "--epochs", "1", "--hidden", "5", "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("change", [
    {"hidden_dims": [10**6, 10**6]}, {"input_dim": 2**40}, {"num_classes": 10**12}, {"hidden_dims": [-5]},
    {"hidden_dims": ["5"]}, {"hidden_dims": 5}, {"input_dim": [1, 8, 8]}, {"num_classes": True},
    {"model": "cnn", "input_dim": [1, 10**5, 10**5], "num_filters": 10**4, "filter_size": 3, "hidden_dim": 10**4},
    {"model": "cnn", "input_dim": 64, "num_filters": 1, "filter_size": 3, "hidden_dim": 5},
])
def test_a_config_that_asks_for_a_huge_network(run, here, capsys, monkeypatch, change):
    monkeypatch.setattr(runs, "build_network", lambda *_: pytest.fail("memory was taken"))
    (here / "run").mkdir()
    (here / "run" / runs.PARAMS).write_bytes((run / runs.PARAMS).read_bytes())
    config = json.loads((run / runs.CONFIG).read_text())
    config["network"] |= change
    (here / "run" / runs.CONFIG).write_text(json.dumps(config))
    np.save("X.npy", np.zeros((1, 64)))
    fails(capsys, ["predict", "run", "X.npy"], "does not describe a network")


def test_the_lock_of_a_run_is_no_way_to_another_file(here):
    (here / "mine").write_text("precious")
    (here / "run").mkdir()
    (here / "run" / lock.NAME).symlink_to(here / "mine")
    with pytest.raises(CommandError, match="run cannot be written"), lock.locked(here / "run"):
        pytest.fail("locked")
    assert (here / "mine").read_text() == "precious"


@pytest.mark.parametrize("name", runs.FILES)
def test_the_files_of_a_run_are_no_way_to_other_files(run, here, capsys, name):
    (here / "mine").write_text("precious")
    (here / "run").mkdir()
    for path in run.iterdir():
        (here / "run" / path.name).write_bytes(path.read_bytes())
    (here / "run" / name).unlink(missing_ok=True)
    (here / "run" / name).symlink_to(here / "mine")
    fails(capsys, ["train", "--resume", "run", "--epochs", "2"], str(name))
    assert (here / "mine").read_text() == "precious"
