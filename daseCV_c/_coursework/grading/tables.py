"""Grades for programs: CSV, JUnit XML, and the results.json of Gradescope."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from daseCV_c._coursework.grading.marking import Grade
from daseCV_c._coursework.grading.rubric import Rubric
from daseCV_c._files import replacing


def plain(text: str) -> str:
    """`text` in letters that every program can show."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    text = plain(str(value))
    return value if not isinstance(value, str) else f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def write_csv(output: str | Path, rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([cell(value) for value in row] for row in rows)
    with replacing(output) as file:
        file.write(text.getvalue().encode("utf-8", "replace"))


def rows(grades: Sequence[Grade], rubric: Rubric) -> list[list[Any]]:
    """A row for each submission: its points, those of each question, a reason for each, and what was left out."""
    titles = [question.title for question in rubric.questions]
    head = ["submission", "points", "of", *titles, *(f"why: {title}" for title in titles), "notes"]
    return [head, *([grade.name, grade.points, grade.of, *(answer.points for answer in grade.answers),
                     *(" ".join(answer.reasons) for answer in grade.answers), "; ".join(grade.notes)]
                    for grade in grades)]


def write_junit(output: str | Path, grades: Sequence[Grade], rubric: Rubric) -> None:
    """A suite for each submission, a case for each question. A question without all its points is a failure."""
    from junitparser import Failure, JUnitXml, TestCase, TestSuite

    report = JUnitXml(plain(rubric.title))
    for grade in grades:
        suite = TestSuite(_xml(grade.name))
        for answer in grade.answers:
            case = TestCase(_xml(answer.title), _xml(grade.name))
            said = f"{answer.points:g} of {answer.of:g} points. {' '.join(answer.reasons)}"
            if answer.right:
                case.system_out = _xml(said)
            else:
                case.result = [Failure(_xml(said))]
            suite.add_testcase(case)
        report.add_testsuite(suite)
    report.update_statistics()
    text = io.BytesIO()
    report.write(text)
    with replacing(output) as file:
        file.write(text.getvalue())


def _xml(text: str) -> str:
    return plain(text).encode("utf-8", "replace").decode()


def gradescope(grade: Grade, rubric: Rubric) -> dict[str, Any]:
    """What Gradescope reads as results.json."""
    tests = [{"name": answer.title, "score": answer.points, "max_score": answer.of, "visibility": "visible",
              "status": "passed" if answer.right else "failed",
              "output": "\n".join(answer.reasons)} for answer in grade.answers]
    return {"score": grade.points, "visibility": "visible", "stdout_visibility": "hidden",
            "output": "\n".join(grade.notes if grade.key else ()) or rubric.title, "tests": tests}


def write_gradescope(folder: str | Path, grades: Sequence[Grade], rubric: Rubric) -> None:
    """folder/NAME/results.json for each submission."""
    for grade in grades:
        path = Path(folder) / grade.name / "results.json"
        os.makedirs(path.parent, exist_ok=True)
        with replacing(path) as file:
            file.write(json.dumps(gradescope(grade, rubric), indent=1).encode())
