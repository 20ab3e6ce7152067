"""A rubric as tests in the OK format, which Otter-Grader runs: a file for each question.

A test file defines `test`, a dict. Its suite has cases that are doctests, with points of their own; a hidden case is
not handed to students. https://otter-grader.readthedocs.io, "Test Files".
"""

from __future__ import annotations

import pprint
from pathlib import Path
from typing import Any

from daseCV_c._coursework.grading.rubric import Question, Rubric
from daseCV_c._coursework.running import cases_of
from daseCV_c._files import replacing


def write(folder: str | Path, rubric: Rubric) -> None:
    """DIR/tests has all cases, DIR/student/tests those that students may see."""
    for place, hidden in (("tests", True), ("student/tests", False)):
        Path(folder, place).mkdir(parents=True, exist_ok=True)
        for number, question in enumerate(rubric.questions, 1):
            with replacing(Path(folder, place, f"q{number}.py")) as file:
                file.write(_file(number, question, rubric.seeds if hidden else ()).encode())


def _file(number: int, question: Question, seeds: tuple[int, ...]) -> str:
    test = {"name": f"q{number}", "points": None, "all_or_nothing": False,
            "suites": [{"type": "doctest", "scored": True, "setup": "", "teardown": "",
                        "cases": [_seen(question), *_hidden(question, seeds)]}]}
    return f"# {question.title!r}\nOK_FORMAT = True\n\ntest = {pprint.pformat(test, width=110, sort_dicts=False)}\n"


def _seen(question: Question) -> dict[str, Any]:
    """What students may run: it says for each function whether it is right, and is worth nothing."""
    hints = "" if question.hints else ", hints=False"
    code = (f">>> from daseCV_c.grading import report\n>>> report({list(question.functions)}, globals(){hints})\n"
            + "".join(f"{name}: right\n" for name in question.functions))
    return {"code": code, "hidden": False, "locked": False, "points": 0}


def _hidden(question: Question, seeds: tuple[int, ...]) -> list[dict[str, Any]]:
    """One case of Otter's for each thing that is right or wrong by itself."""
    found: list[tuple[str, float]] = []
    each = float(question.points) / len(question.functions)
    if not seeds:
        return []
    if question.partial == "none":
        found.append((f"{list(question.functions)}, globals(), {list(seeds)}, partial='none'", float(question.points)))
    elif question.partial == "functions":
        found += [(f"['{name}'], globals(), {list(seeds)}, partial='none'", each) for name in question.functions]
    else:
        for name in question.functions:
            for seed in seeds:
                cases = len(cases_of(name, seed))
                found += [(f"['{name}'], globals(), [{seed}], case={case}", each / len(seeds) / cases)
                          for case in range(cases)]
    return [{"code": f">>> from daseCV_c.grading import points\n>>> points({call})\n1.0\n", "hidden": True,
             "locked": False, "points": worth} for call, worth in found]
