"""Sixty submissions graded as a teacher would: twice, to compare what is written, and once without the hostile ones.

    python tests/grade_trials.py [--folder DIR]

Right ones in many styles, wrong ones, in files, folders, zips and notebooks, and those of `test_grade.HOSTILE`, each
behind bubblewrap: without it nothing is run. Both runs of all have to write the same bytes, and the others' grades have
to be those of the run without the hostile ones. It takes some minutes, and the libraries of the extra `grade`.
"""

import argparse
import csv
import filecmp
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from test_grade import GOOD, HOSTILE, RUBRIC, notebook

from daseCV_c._coursework.isolation import bubblewrap

HERE = Path(__file__).resolve().parent
NUMBER = 60
# What is changed in a right submission, and into what.
WRONG = {".T @ dout,": ".T @ dout / len(x),", "np.maximum(x, 0)": "np.minimum(x, 0)", "dout.sum(0)": "dout.sum(1)",
         "@ w + b": "@ w", "cache > 0": "cache >= 1"}
MORE = """
[[question]]
title = "More"
functions = ["batchnorm_forward", "batchnorm_backward", "conv_forward_naive", "softmax_loss", "adam"]
points = 20
"""


def write(folder: Path) -> list[str]:
    """Sixty submissions and a rubric; the names of the hostile ones."""
    submissions = folder / "S"
    submissions.mkdir()
    for path in sorted((HERE / "right").glob("*.py")):
        shutil.copy(path, submissions / f"right-{path.name}")
    hostile = []
    for name, does in HOSTILE.items():
        text = does.format(outside=str(folder / "outside"), rubric=str(folder / "rubric.toml"), port=9)
        hostile.append(f"hostile-{name}")
        (submissions / f"{hostile[-1]}.py").write_text(f"{GOOD}\ndef relu_forward(x):\n    {text}\n")
    drawn = random.Random(1)
    for number in range(NUMBER - len(list(submissions.iterdir()))):
        text, name = GOOD, f"student{number:02}"
        for old in drawn.sample(list(WRONG), drawn.randint(0, 2)):
            text = text.replace(old, WRONG[old])
        if number % 4 == 0:
            (submissions / f"{name}.py").write_text(text)
        elif number % 4 == 1:
            notebook(submissions / f"{name}.ipynb", "import numpy as np", text)
        elif number % 4 == 2:
            with zipfile.ZipFile(submissions / f"{name}.zip", "w") as archive:
                archive.writestr("cs231n/layers.py", text)
        else:
            (submissions / name / "daseCV").mkdir(parents=True)
            (submissions / name / "daseCV" / "layers.py").write_text(text)
    (folder / "rubric.toml").write_text(RUBRIC.replace("seconds = 600", "seconds = 20") + MORE)
    assert len(list(submissions.iterdir())) == NUMBER
    return hostile


def grade(folder: Path, run: str) -> float:
    """Grade what is in S, and write everything that can be into a folder `run`; the seconds it took."""
    (folder / run).mkdir()
    options = {"-o": "grades.csv", "--html": "page.html", "--junit": "grades.xml", "--gradescope": "scope",
               "--likeness": "alike.csv"}
    words = [word for option, name in options.items() for word in (option, f"{run}/{name}")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [
        str(HERE.parent), os.environ.get("PYTHONPATH")]))}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "daseCV_c", "grade", "S", "--rubric", "rubric.toml", *words], cwd=folder,
                   env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def grades(folder: Path, run: str) -> dict[str, dict[str, str]]:
    with open(folder / run / "grades.csv", encoding="utf-8", newline="") as file:
        return {row["submission"]: row for row in csv.DictReader(file)}


def same(one: Path, other: Path) -> int:
    """The number of files that two folders have, byte for byte the same; AssertionError where they differ."""
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(other)) for path in other.rglob("*") if path.is_file())
    _, differ, unread = filecmp.cmpfiles(one, other, names, shallow=False)
    assert not differ and not unread, differ + unread
    return len(names)


def trial(folder: Path) -> None:
    hostile = write(folder)
    seconds = [grade(folder, run) for run in ("first", "second")]
    print(f"{NUMBER} submissions, {len(hostile)} hostile: {seconds[0]:.0f} and {seconds[1]:.0f} s, "
          f"{same(folder / 'first', folder / 'second')} files the same in both runs", flush=True)
    assert not (folder / "outside").exists()
    found = grades(folder, "first")
    assert len(found) == NUMBER
    for name in hostile:
        assert (found[name]["Affine"], found[name]["ReLU"]) == ("10.0", "0.0"), found[name]
        (folder / "S" / f"{name}.py").unlink()
    alone = grade(folder, "without")
    others = grades(folder, "without")
    assert others == {name: row for name, row in found.items() if name not in hostile}
    print(f"the {len(others)} others get the same without them: {alone:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="an empty one, which is kept; without it one that is removed")
    given = parser.parse_args()
    if bubblewrap()[0] is None:
        parser.error(f"{bubblewrap()[1]}, and hostile code is run behind it alone")
    if given.folder is not None:
        trial(given.folder.resolve())
        return
    with tempfile.TemporaryDirectory() as folder:
        trial(Path(folder).resolve())


if __name__ == "__main__":
    main()
