"""Marking one submission: which file a function is in, what its hidden cases say, what that is worth, and why."""

from __future__ import annotations

import builtins
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from daseCV_c._coursework import mistakes
from daseCV_c._coursework.grading.reading import Submission, lay_out, read, written
from daseCV_c._coursework.grading.rubric import Question, Rubric
from daseCV_c._coursework.isolation import stranger
from daseCV_c._coursework.running import CASES, Result, check_seeds
from daseCV_c._version import __version__


@dataclass(frozen=True)
class Mark:
    """One function: how many of its hidden cases were right, and what is said about it."""

    function: str
    status: str
    right: int = 0
    tried: int = 0
    """Cases of all seeds. A function that ended its process has none for that seed, and counts as wrong there."""
    share: Fraction = Fraction()
    hint: str = ""
    file: str = ""


@dataclass(frozen=True)
class Answer:
    """One question of one student."""

    title: str
    points: float
    of: float
    reasons: tuple[str, ...]
    """What each function got, and why."""
    right: bool


@dataclass(frozen=True)
class Grade:
    """One student."""

    name: str
    answers: tuple[Answer, ...] = ()
    notes: tuple[str, ...] = ()
    points: float = 0.0
    of: float = 0.0
    key: str = field(default="", compare=False)
    """What the grade was made from; the same key is the same grade."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_dict(cls, found: Mapping[str, Any]) -> Grade:
        answers = tuple(Answer(**answer | {"reasons": tuple(answer["reasons"])}) for answer in found["answers"])
        return cls(**dict(found) | {"answers": answers, "notes": tuple(found["notes"])})


def key_of(submission: Submission, rubric: Rubric, isolate: bool | None) -> str:
    digest = hashlib.sha256(repr((__version__, rubric, isolate, submission.name, submission.notes)).encode())
    for parts, data in sorted(submission.files.items()):
        digest.update(repr((parts, len(data))).encode("utf-8", "replace") + data)
    return digest.hexdigest()


def mark(name: str, path: Path, rubric: Rubric, isolate: bool | None, known: Mapping[str, Any] | None = None) -> Grade:
    """The grade of what lies at `path`, or the one that is `known` where nothing has changed since."""
    submission = read(name, path)
    key = key_of(submission, rubric, isolate)
    if known is not None and known.get("key") == key:
        return Grade.of_dict(known)
    with tempfile.TemporaryDirectory(prefix="dasecv-grade-") as folder:
        user = stranger() if isolate is False else None
        if user is not None:  # who may read it, and no more
            os.chown(folder, -1, user)
            os.chmod(folder, 0o750)
        marks = _marks(submission, Path(folder).resolve(), rubric, isolate, user)
    answers = tuple(answer_of(question, marks) for question in rubric.questions)
    return Grade(name, answers, tuple(submission.notes), round(sum(answer.points for answer in answers), 2),
                 float(rubric.points), key)


def failed(name: str, rubric: Rubric, said: str, detail: str) -> Grade:
    """A submission that could not be graded at all. `detail` is for the note alone, which no student is shown."""
    answers = tuple(Answer(question.title, 0.0, float(question.points), (f"{said}.",), False)
                    for question in rubric.questions)
    return Grade(name, answers, (f"{said}: {detail}" if detail else f"{said}.",), 0.0, float(rubric.points))


def _marks(submission: Submission, folder: Path, rubric: Rubric, isolate: bool | None,
           user: int | None) -> dict[str, Mark]:
    lay_out(submission, folder)
    wanted = {name: question for question in rubric.questions for name in question.functions}
    marks: dict[str, Mark] = {}
    elsewhere: dict[str, list[str]] = {}
    for file, names, called in written(submission, folder):
        for name in names:
            if name in marks:
                elsewhere.setdefault(name, []).append(called)
        mine = [name for name in names if name in wanted and name not in marks]
        for limits in dict.fromkeys(wanted[name].limits() for name in mine):
            only = [name for name in mine if wanted[name].limits() == limits]
            tried: dict[str, list[Result]] = {name: [] for name in only}
            for report in check_seeds(file, rubric.seeds, only, replace(limits, user=user), isolate):
                for result in report.results:
                    if result.function in tried:
                        tried[result.function].append(result)
            # A method of that name, or a function in a function, is not what was asked for.
            marks |= {name: mark_of(name, results, called) for name, results in tried.items()
                      if any(result.status != "missing" for result in results)}
    for name, others in elsewhere.items():
        submission.note(f"{name} is taken from {marks[name].file}; it is in {', '.join(others)} as well")
    return marks


def mark_of(name: str, results: list[Result], called: str) -> Mark:
    parts = [right for result in results for _, right in result.parts]
    shares = [Fraction(sum(right for _, right in result.parts), len(result.parts)) if result.parts
              else Fraction(result.status == "passed") for result in results]
    worst = next((result for result in results if result.status != "passed"), results[0])
    return Mark(name, worst.status, sum(parts), len(parts), sum(shares, Fraction()) / len(shares), _hint(worst), called)


_RAISED = re.compile(r"(\w+) raised (\w+)\b")
_LINE = re.compile(r", line \d{1,5}(?= \()")
_NEEDS = re.compile(r"(\w+), which it needs, fails first")


def _hint(result: Result) -> str:
    """The hint without anything that came out of a hidden case: an exception's text is the student's, who may put the
    inputs there."""
    said = result.hint or ""
    if result.mistake == "answers-by-itself":
        return "It was ended: it wrote into the checker's pipe."
    if not result.parts:
        return said
    if result.mistake is not None:
        found = mistakes.by_name(result.mistake, result.function)
        return "" if found is None else found.hint()
    if result.status == "passed":
        return ""
    needs = _NEEDS.match(said)
    if needs and needs[1] in CASES:
        return f"{needs[1]}, which it needs, fails first."
    raised = _RAISED.match(said)
    if raised and raised[1] in CASES:
        kind = getattr(builtins, raised[2], None)
        kind_name = raised[2] if isinstance(kind, type) and issubclass(kind, BaseException) else "an exception"
        return f"{raised[1]} raised {kind_name}{''.join(_LINE.findall(said)[-1:])}."  # the text comes before the line
    return "It raised an exception." if result.status == "crashed" else "Its results are not the right ones."


def answer_of(question: Question, marks: Mapping[str, Mark]) -> Answer:
    found = [marks.get(name) or Mark(name, "missing") for name in question.functions]
    whole = [mark.share == 1 for mark in found]
    if question.partial == "cases":
        share = sum((mark.share for mark in found), Fraction()) / len(found)
    elif question.partial == "functions":
        share = Fraction(sum(whole), len(found))
    else:
        share = Fraction(all(whole))
    return Answer(question.title, float(round(question.points * share, 2)), float(question.points),
                  tuple(_reason(mark, question.hints) for mark in found), all(whole))


def _reason(mark: Mark, hints: bool) -> str:
    words = {"missing": "not found", "timeout": "no answer in time", "crashed": "crashed"}
    if mark.tried:
        text = f"{mark.function}: {mark.right} of {mark.tried} hidden cases right"
    else:
        text = f"{mark.function}: {words.get(mark.status, mark.status)}"
    return f"{text}. {mark.hint}" if hints and mark.hint else f"{text}."
