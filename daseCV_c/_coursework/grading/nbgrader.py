"""A rubric as a source notebook of nbgrader: a cell for each function to write, a cell of tests for each question.

What a cell is stands in its metadata under "nbgrader", in version 3 of nbgrader's schema. Making the students'
notebook, nbgrader takes out what lies between the marks BEGIN and END of SOLUTION and HIDDEN TESTS. A test cell that
ends with a number is worth that number of its points. https://nbgrader.readthedocs.io, "Creating and grading
assignments".
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

from daseCV_c._coursework import stubs as texts
from daseCV_c._coursework.grading.rubric import Question, Rubric
from daseCV_c._files import replacing


def write(path: str | Path, rubric: Rubric) -> None:
    """The notebook for `nbgrader generate_assignment`."""
    cells = [_cell("markdown", f"# {rubric.title}"),
             _cell("code", "import numpy as np", grade_id="imports", locked=True)]
    stubs = _stubs()
    for number, question in enumerate(rubric.questions, 1):
        cells.append(_cell("markdown", f"## {question.title}"))
        cells += [_cell("code", _answer(name, stubs), grade_id=f"answer-{name}", solution=True)
                  for name in question.functions]
        cells.append(_cell("code", _test(question, rubric.seeds), grade_id=f"test-{number}", grade=True, locked=True,
                           points=float(question.points)))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    text = json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, indent=1)
    with replacing(path) as file:
        file.write(text.encode() + b"\n")


def _cell(kind: str, source: str, **marks: Any) -> dict[str, Any]:
    """A cell. `marks` are what nbgrader is told of it; a cell without them is the students' to change."""
    cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": source.splitlines(keepends=True)}
    if marks:
        plain = {"schema_version": 3, "grade": False, "locked": False, "solution": False, "task": False}
        cell["metadata"]["nbgrader"] = plain | marks
    return cell | {"execution_count": None, "outputs": []} if kind == "code" else cell


def _stubs() -> dict[str, str]:
    """The stubs of `new` by their names, with the marks where the answer goes."""
    text = texts.functions("en")
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            *head, last = (ast.get_source_segment(text, node) or "").splitlines()
            found[node.name] = "\n".join([*head, "    ### BEGIN SOLUTION", last, "    ### END SOLUTION"])
    return found


def _answer(name: str, stubs: dict[str, str]) -> str:
    return stubs.get(name, f"# Define {name} here.\n### BEGIN SOLUTION\n### END SOLUTION")


def _test(question: Question, seeds: tuple[int, ...]) -> str:
    names = json.dumps(question.functions)
    hints = "" if question.hints else ", hints=False"
    return (f"from daseCV_c.grading import points, report\n\nreport({names}, globals(){hints})\n"
            f"### BEGIN HIDDEN TESTS\npoints({names}, globals(), {list(seeds)}, of={float(question.points)!r}, "
            f"partial={question.partial!r})\n### END HIDDEN TESTS")
