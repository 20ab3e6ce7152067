"""What is read of a submission: no path leaves the folder, no bomb goes off."""

import os
import stat
import zipfile
from pathlib import Path

import pytest

from daseCV_c._coursework.grading import reading

pytestmark = pytest.mark.once

RELU = b"def relu_forward(x):\n    return x, x\n"


def entry(name, mode=0):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def packed(path, *entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, data in entries:
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return reading.read("x", path)


@pytest.mark.parametrize("name", ["../a.py", "a/../../b.py", "/a.py", "C:/a.py", "..\\a.py", "C:\\a.py"])
def test_no_path_leaves_the_folder(tmp_path, name):
    found = packed(tmp_path / "a.zip", (entry(name), RELU), (entry("ok.py"), RELU))
    assert list(found.files) == [("ok.py",)] and "leaves the folder" in found.notes[0]
    inside = tmp_path / "in"
    inside.mkdir()
    reading.lay_out(found, inside)
    assert sorted(os.listdir(tmp_path)) == ["a.zip", "in"] and os.listdir(inside) == ["ok.py"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_a_zip(tmp_path, kind):
    found = packed(tmp_path / "a.zip", (entry("a.py", kind | 0o644), b"/etc/passwd"))
    assert not found.files and "is a link or a device" in found.notes[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_links_and_devices_in_a_folder(tmp_path):
    (tmp_path / "secret.py").write_bytes(RELU)
    inside = tmp_path / "x"
    inside.mkdir()
    (inside / "a.py").symlink_to(tmp_path / "secret.py")
    (inside / "b").symlink_to(tmp_path)
    os.mkfifo(inside / "c.py")
    (inside / "d.py").write_bytes(RELU)
    found = reading.read("x", inside)
    assert list(found.files) == [("d.py",)] and len(found.notes) == 3
    (tmp_path / "e.py").symlink_to(tmp_path / "secret.py")
    jobs, others = reading.submissions(tmp_path)
    assert ([name for name, _ in jobs], others) == (["secret", "x"], ["e.py"])


def test_bombs(tmp_path, monkeypatch):
    one = packed(tmp_path / "a.zip", (entry("a.py"), b"#" * (20 << 20)), (entry("b.py"), RELU))
    assert list(one.files) == [("b.py",)] and "a.py has more than 1 MB" in one.notes[0]
    monkeypatch.setattr(reading, "_TOTAL", 3 << 20)
    many = packed(tmp_path / "b.zip", *((entry(f"{k}.py"), b"#" * (1 << 20)) for k in range(4)))
    assert not many.files and "more than 3 MB of them" in many.notes[0]
    monkeypatch.setattr(reading, "_ENTRIES", 3)
    assert "more than 3 files" in packed(tmp_path / "c.zip", *((entry(f"{k}.txt"), b"") for k in range(4))).notes[0]
    # What it says about its size is not believed.
    data = bytearray((tmp_path / "a.zip").read_bytes())
    size = (20 << 20).to_bytes(4, "little")
    assert data.count(size) == 2
    (tmp_path / "lie.zip").write_bytes(bytes(data).replace(size, (9).to_bytes(4, "little")))
    lie = reading.read("x", tmp_path / "lie.zip")
    assert ("a.py",) not in lie.files and lie.notes


def test_zips_that_cannot_be_read(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        packed(tmp_path / "a.zip", (entry("a.py"), RELU), (entry("a.py"), b"other"))
    twice = reading.read("x", tmp_path / "a.zip")
    assert twice.files == {("a.py",): RELU} and "is there twice" in twice.notes[0]
    whole = (tmp_path / "a.zip").read_bytes()
    for k, data in enumerate((b"", whole[:40], whole[-40:], whole.replace(b"a.py", b"b.py", 1),
                              whole[:35] + b"\xff\xff\xff" + whole[38:])):
        (tmp_path / f"b{k}.zip").write_bytes(data)
        found = reading.read("x", tmp_path / f"b{k}.zip")
        assert RELU not in found.files.values() and found.notes
    inner = packed(tmp_path / "c.zip", (entry("a.zip"), whole))
    assert not inner.files and inner.notes == ["there is no Python file and no notebook in it"]


def test_notebooks_that_are_none(tmp_path):
    inside = tmp_path / "x"
    inside.mkdir()
    deep = '{"cells": [{"cell_type": "code", "source": "' + "(" * 5000 + '"}]}'
    for k, text in enumerate(("[" * 100_000, "{}", deep)):
        (inside / f"{k}.ipynb").write_text(text)
    (inside / "deep.py").write_text("x = " + "-" * 50_000 + "1")
    found = reading.read("x", inside)
    folder = tmp_path / "out"
    folder.mkdir()
    reading.lay_out(found, folder)
    assert list(reading.written(found, folder)) == []
    assert len(found.notes) == 2


def test_names_that_are_in_the_way(tmp_path):
    """What cannot be tried is left out, which is said; the rest is there."""
    cells = b'{"cells": [{"cell_type": "code", "source": "def relu_backward(dout, cache): pass"}]}'
    found = packed(tmp_path / "a.zip", (entry("layers.py"), RELU), (entry("a b.py"), RELU), (entry("c d.ipynb"), cells),
                   (entry("file_0.py/x.py"), b""), (entry("notebook_3.py/x.py"), b""), (entry(f"{'n' * 300}.py"), RELU))
    inside = tmp_path / "in"
    inside.mkdir()
    reading.lay_out(found, inside)
    for number in range(9):  # whichever number the file gets
        for name in (f"file_{number}.py", f"notebook_{number}.py"):
            (inside / name).mkdir(exist_ok=True)
    assert [called for _, _, called in reading.written(found, inside)] == ["layers.py"]
    said = " ".join(found.notes)
    assert all(f"left out: {name} cannot be tried" in said for name in ("a b.py", "c d.ipynb")) and "nnn" in said


def test_the_rest_of_the_package_is_ours(tmp_path):
    found = packed(tmp_path / "a.zip", (entry("w/daseCV/layers.py"), RELU), (entry("w/daseCV/classifiers/cnn.py"), b""))
    reading.lay_out(found, Path(tmp_path / "out"))
    package = tmp_path / "out/w/daseCV"
    assert (package / "layers.py").read_bytes() == RELU and (package / "classifiers/__init__.py").exists()
    assert "daseCV_c.optim" in (package / "optim.py").read_text()
