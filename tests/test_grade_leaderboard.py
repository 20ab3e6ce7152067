"""`leaderboard`: scores, ties, and what is refused."""

import csv
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from daseCV_c.cli.main import main

pytestmark = pytest.mark.once

LABELS = np.array([3, 1, 4, 1, 5, 9, 2, 6])


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def hand_in(name, data, time=1_000_000, phase=1, member="prediction.npy"):
    path = Path("S") / name / f"prediction_phase_{phase}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, data if isinstance(data, bytes) else saved(data))
    os.utime(path, (time, time))
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("S").mkdir()
    np.save("y.npy", LABELS)
    return tmp_path


def table(*words):
    assert main(["leaderboard", "S", "--labels", "y.npy", *words]) == 0
    with open("leaderboard.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_ranks_and_ties():
    one_wrong = np.where(np.arange(8) == 0, 0, LABELS)
    hand_in("late", one_wrong, 2_000_000)
    hand_in("early", one_wrong.astype(np.float32))
    hand_in("same", one_wrong)
    hand_in("best", LABELS.astype(np.uint8), 3_000_000)
    hand_in("best", LABELS * 0, phase=2)
    hand_in("next", LABELS, phase=11)
    hand_in("flat", LABELS * 0).replace("S/flat_prediction_phase_1.zip")
    rows = table()
    assert [(row["rank"], row["submission"], row["right"]) for row in rows] == [
        ("1", "best", "8"), ("2", "early", "7"), ("2", "same", "7"), ("4", "late", "7"), ("5", "flat", "0")]
    assert rows[1]["accuracy"] == "0.875" and rows[1]["time"] == "1970-01-12 13:46:40 UTC"
    assert table() == rows
    assert [row["submission"] for row in table("--phase", "2")] == ["best"]


def header(shape, dtype="<i8"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(("data", "said"), [
    (np.where(np.arange(8) == 2, np.nan, LABELS), "has nan at position 2, expected a class"),
    (LABELS + 0.5, "has 3.5 at position 0"), (LABELS + 1, "has 10 at position 5, .* from 0 to 9"),
    (LABELS - 2, "has -1 at position 1"), (LABELS[:3], "has 3 rows, expected 8"),
    (np.zeros(100_000, int), "has 100000 rows, expected 8"), (LABELS[:, None], r"shape \(8, 1\), expected \(8,\)"),
    (np.array(["cat"] * 8), "dtype <U3"), (np.array([None] * 8, object), "dtype object"),
    (b"no array", "no .npy file"), (b"", "no .npy file"), (header((8,)), "not as long as its header says"),
    (header((10**15,)), "has 1000000000000000 rows, expected 8"), (header((-8,)), "no .npy file|rows, expected 8"),
    (saved(LABELS) + b"0" * (20 << 20), "not as long as its header says"),
])
def test_what_is_refused(data, said, capsys):
    import re
    hand_in("bad", data)
    hand_in("good", LABELS)
    rows = table()
    assert [row["submission"] for row in rows] == ["good", "bad"] and rows[1]["rank"] == ""
    assert re.search(said, rows[1]["refused"]) and not rows[0]["refused"]


def test_zips_that_are_refused(folder):
    hand_in("elsewhere", LABELS, member="../../prediction.npy")
    Path("S/none").mkdir()
    Path("S/none/prediction_phase_1.zip").write_bytes(b"no zip")
    Path("S/link").mkdir()
    Path("S/link/prediction_phase_1.zip").symlink_to(hand_in("good", LABELS).resolve())
    Path("S/linked").symlink_to(Path("S/good").resolve())
    rows = {row["submission"]: row["refused"] for row in table()}
    assert "linked" not in rows
    assert "0 files called prediction.npy" in rows["elsewhere"] and "not a zip" in rows["none"].lower()
    assert rows["link"] and not rows["good"]
    assert sorted(os.listdir(folder)) == ["S", "leaderboard.csv", "y.npy"]


def test_errors_of_the_command(capsys):
    hand_in("good", LABELS)
    np.save("half.npy", LABELS + 0.5)
    np.save("empty.npy", LABELS[:0])
    for words, said in ((["S", "--labels", "none.npy"], "none.npy cannot be read"),
                        (["S", "--labels", "half.npy"], "has 3.5 at position 0"),
                        (["S", "--labels", "empty.npy"], "is empty"),
                        (["none", "--labels", "y.npy"], "none cannot be read"),
                        (["S", "--labels", "y.npy", "--phase", "7"], "no prediction_phase_7.zip"),
                        (["S", "--labels", "y.npy", "--classes", "5"], "--classes is 5, but there are labels up to 9")):
        assert main(["leaderboard", *words]) == 2
        assert said in capsys.readouterr().err
