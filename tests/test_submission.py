"""The leaderboard's files."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from daseCV_c.submission import output_file, zip_fun

PREDS = np.array([3, 1, 4, 1, 5])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files():
    return sorted(p.as_posix() for p in Path().rglob("*") if p.is_file())


@pytest.mark.parametrize("phase", [1, 2, 12, np.int64(3)])
def test_files_of_a_phase(folder, phase):
    path = output_file(PREDS, phase_id=phase)
    assert Path(path) == Path(f"output/phase_{phase}/prediction.npy")
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), PREDS)
    archive = zip_fun(phase_id=phase)
    assert Path(archive) == Path(f"output/prediction_phase_{phase}.zip")
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == ["prediction.npy"]
        assert opened.testzip() is None
        loaded = np.load(io.BytesIO(opened.read("prediction.npy")))
    np.testing.assert_array_equal(loaded, PREDS)
    assert loaded.dtype == PREDS.dtype
    assert files() == [f"output/phase_{phase}/prediction.npy", f"output/prediction_phase_{phase}.zip"]
    assert Path.cwd() == folder


def test_phase_1_is_the_default():
    output_file(PREDS)
    zip_fun()
    assert files() == ["output/phase_1/prediction.npy", "output/prediction_phase_1.zip"]


@pytest.mark.parametrize("preds", [[0, 1], np.array([1, 2], np.float32), np.array([], int), [True, False]])
def test_kinds_of_predictions(preds):
    loaded = np.load(output_file(preds))
    np.testing.assert_array_equal(loaded, preds)
    assert loaded.dtype == np.asarray(preds).dtype


def test_again_replaces_this_phase_alone():
    for phase in (1, 2):
        output_file(PREDS, phase)
        zip_fun(phase)
    Path("output/notes.zip").write_bytes(b"mine")
    other = Path("output/prediction_phase_2.zip").read_bytes()
    output_file(PREDS + 1)
    zip_fun()
    with zipfile.ZipFile("output/prediction_phase_1.zip") as opened:
        np.testing.assert_array_equal(np.load(io.BytesIO(opened.read("prediction.npy"))), PREDS + 1)
    assert Path("output/prediction_phase_2.zip").read_bytes() == other
    assert Path("output/notes.zip").read_bytes() == b"mine"


def test_files_can_be_read_by_others():
    for path in (output_file(PREDS), zip_fun()):
        assert os.stat(path).st_mode & 0o444 == 0o444


def test_failed_write_keeps_the_former_file(monkeypatch):
    path = output_file(PREDS)

    def broken(file, array, **options):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        output_file(PREDS + 1)
    np.testing.assert_array_equal(np.load(path), PREDS)
    assert files() == ["output/phase_1/prediction.npy"]


@pytest.mark.parametrize("function", [lambda phase: output_file(PREDS, phase), zip_fun])
@pytest.mark.parametrize("phase", [0, -1, 1.0, "1", "../1", True, None])
def test_bad_phase(function, phase):
    with pytest.raises(ValueError, match="phase_id is .*expected a positive integer"):
        function(phase)
    assert files() == []


def test_nothing_to_zip():
    output_file(PREDS, 2)
    with pytest.raises(FileNotFoundError, match=r"npy; call output_file\(preds, phase_id=1\) first"):
        zip_fun()
    assert files() == ["output/phase_2/prediction.npy"]


@pytest.mark.parametrize(("preds", "rows", "classes", "said"), [
    ([0, 1, float("nan")], None, None, "has nan at position 2"),
    ([0.0, float("inf")], 2, None, "has inf at position 1"),
    ([1.5, 2], 2, 3, "has 1.5 at position 0"), ([3, -1], None, None, "has -1 at position 1"),
    ([0, 10], None, 10, "has 10 at position 1.* 0 to 9"), ([0, 1, 2], 2, None, "has 3 rows, expected 2"),
    ([0], 2, None, "has 1 rows, expected 2"), ([[0, 1]], None, None, r"has shape \(1, 2\), expected \(N,\)"),
    ([[0, 1]] * 2, 2, None, r"has shape \(2, 2\), expected \(2,\)"),
])
def test_what_cannot_be_predictions(preds, rows, classes, said):
    with pytest.raises(ValueError, match=f"output_file: preds {said}"):
        output_file(preds, rows=rows, classes=classes)
    assert files() == []


def test_as_many_predictions_as_are_expected():
    path = output_file(PREDS, rows=len(PREDS), classes=max(PREDS) + 1)
    np.testing.assert_array_equal(np.load(path), PREDS)


@pytest.mark.parametrize("name", ["rows", "classes"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "2", True])
def test_bad_numbers_of_rows_and_classes(name, value):
    with pytest.raises(ValueError, match=f"output_file: {name} is .*expected a positive integer"):
        output_file(PREDS, **{name: value})
    assert files() == []


@pytest.mark.parametrize(("preds", "error"), [
    (np.ones((2, 3)), ValueError), (5, ValueError),
    (["cat"], TypeError), ([None], TypeError), ([1j], TypeError),
])
def test_bad_predictions(preds, error):
    with pytest.raises(error, match="output_file: preds has"):
        output_file(preds)
    assert files() == []
