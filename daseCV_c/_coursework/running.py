"""Trying what a file defines: the cases of each function, the verdict, the hint."""

from __future__ import annotations

import ast
import codecs
import functools
import io
import re
import tempfile
import tokenize
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daseCV_c._coursework import cases_dense, cases_images, cases_more, cases_networks, mistakes
from daseCV_c._coursework.cases import Case, Cases
from daseCV_c._coursework.cells import definitions, notebook_cells
from daseCV_c._coursework.isolation import Ended, Limits, Room
from daseCV_c._coursework.judging import Fault, ahead_is_wrong, compare, distance, flat
from daseCV_c._coursework.judging import wrong as is_wrong
from daseCV_c._coursework.judging_chance import JUDGES
from daseCV_c._coursework.programs import Answers, Program
from daseCV_c._files import is_special

CASES: dict[str, Cases] = cases_dense.CASES | cases_images.CASES | cases_more.CASES | cases_networks.CASES
"""Every function and class that can be checked, in the order of the course."""

Ask = Callable[[Program], Answers]


@dataclass(frozen=True)
class Result:
    """What is said about one function."""

    function: str
    status: str
    """passed, failed, crashed, timeout or missing."""
    max_error: float | None = None
    case: str | None = None
    """The case with the largest error, or where it went wrong first."""
    mistake: str | None = None
    hint: str | None = None
    parts: tuple[tuple[str, bool], ...] = ()
    """Every case that was tried, and whether it was right."""

    def as_dict(self) -> dict[str, Any]:
        return {"function": self.function, "status": self.status, "max_error": self.max_error, "case": self.case,
                "mistake": self.mistake, "hint": self.hint}


@dataclass
class Report:
    """The results of a file, and what kept its code in."""

    results: list[Result] = field(default_factory=list)
    walls: str = ""
    printed: str = ""

    @property
    def passed(self) -> bool:
        """Something was found, and all of it is right."""
        found = [result for result in self.results if result.status != "missing"]
        return bool(found) and all(result.status == "passed" for result in found)


@functools.cache
def cases_of(name: str, seed: int) -> tuple[Case, ...]:
    """The cases of a function. They are made once: what the twins and the wrong formulas answer is kept with them."""
    return tuple(CASES[name](seed))


def try_function(name: str, ask: Ask, seed: int = 0) -> Result:
    """The verdict on a function whose programs `ask` runs. `Ended` passes through."""
    tried: list[tuple[Case, Answers, list[Fault]]] = []
    for case in cases_of(name, seed):
        answers = ask(case.program)
        if not _is_answer(answers):
            raise Ended("forged", "what came back is no answer")
        tried.append((case, answers, _UNASKED if _asks_too_much(case, answers) else JUDGES[case.judge](case, answers)))
    return _verdict(name, tried)


_UNASKED = [Fault("", None, "layer normalization was not tried", "net-older-edition", remark=True)]


def _asks_too_much(case: Case, answers: Answers) -> bool:
    """Layer norm of a network written for an edition of the course that had none."""
    error = answers.get("error")
    return (error is not None and error["type"] == "OtherEdition"
            and case.program["inputs"].get("_normalization") == "layernorm")


_ERROR = {"type": str, "message": str, "line": int, "in": str}


def _is_answer(answers: Any) -> bool:
    """Whether it is what `programs.execute` returns: the student's code may have written into the pipe itself."""
    return isinstance(answers, dict) and ("error" not in answers or _is_error(answers["error"], _ERROR))


def _is_error(error: Any, parts: dict[str, type]) -> bool:
    return isinstance(error, dict) and all(type(error.get(key)) is kind for key, kind in parts.items())


def _loaded(room: Room, file: str | Path, wanted: list[str]) -> dict[str, Any]:
    found = room.load(file, wanted)
    parts = {key: kind for key, kind in _ERROR.items() if key != "in"}
    if not (isinstance(found, dict) and isinstance(found.get("found"), list) and set(found["found"]) <= set(wanted)
            and (found.get("error", 0) is None or _is_error(found.get("error"), parts))):
        raise Ended("forged", "what came back is no answer")
    return found


def _verdict(name: str, tried: list[tuple[Case, Answers, list[Fault]]]) -> Result:
    parts = tuple((case.name, all(fault.remark for fault in faults) and faults is not _UNASKED)
                  for case, _, faults in tried)
    wrong = [(case, answers, fault) for case, answers, faults in tried for fault in faults if not fault.remark]
    if not wrong:
        return _right(name, tried, parts)
    tried = [(case, answers, faults) for case, answers, faults in tried if faults is not _UNASKED]
    errors = [(fault.error, case.name) for case, _, fault in wrong
              if fault.error is not None and fault.error < float("inf")]
    worst = max(errors, default=(None, wrong[0][0].name), key=lambda pair: pair[0])
    first = wrong[0][2]
    raised = next((fault for _, answers, fault in wrong if "error" in answers), None)
    blamed = next((answers["error"]["in"] for _, answers, _ in wrong if "error" in answers
                   and answers["error"]["in"] not in (name, "net.loss")), None)
    if raised is None and _returns_nothing(wrong):
        found = mistakes.by_name("unfinished", name)
    else:
        found = mistakes.recognise(name, tried) if blamed is None else None
    if found is None and raised is None and all(answers.get(fault.key, 0) is None for _, answers, fault in wrong):
        found = mistakes.by_name("unfinished", name)
    if found is None and _truncated(tried):
        found = mistakes.by_name("truncated", name)
    case = worst[1] if raised is None else next(case.name for case, answers, _ in wrong if "error" in answers)
    if found is not None:
        hint = found.hint()
        if raised is not None and raised.mistake is not None:
            hint = f"{hint} {raised.text}."  # which function, and where
    elif blamed is not None:
        hint = f"{blamed}, which it needs, fails first: {(raised or first).text}."
    else:
        hint = f"{(raised or first).text} ({(raised and case) or wrong[0][0].name})."
        if any(ahead_is_wrong(case, answers) for case, answers, _ in tried):
            hint += " Its forward pass is not right yet; mend that first."
    misfit = all(answers.get("error", {"type": "Misfit"})["type"] in ("Misfit", "Unfinished") for _, answers,
                 _ in wrong)
    return Result(name, "failed" if misfit else "crashed", worst[0], case, None if found is None else found.name, hint,
                  parts)


def _right(name: str, tried: list[tuple[Case, Answers, list[Fault]]], parts: tuple[tuple[str, bool], ...]) -> Result:
    error, where = 0.0, None
    for case, answers, _ in tried:
        if case.judge not in ("twin", "affine") or ahead_is_wrong(case, answers):
            continue
        found, right = flat(answers), flat(case.right)
        for key in case.compare:
            off = distance(found.get(key), right[key])
            if off is not None and off > error:
                error, where = off, case.name
    remark = next((fault for _, _, faults in tried for fault in faults), None)
    if remark is not None:
        found_ = mistakes.by_name(remark.mistake or "", name)
        return Result(name, "passed", error, where, remark.mistake,
                      f"Right, but {remark.text}. {found_.hint() if found_ else ''}".strip(), parts)
    behind = any(ahead_is_wrong(case, answers) and is_wrong(compare(case, answers)) for case, answers, _ in tried)
    return Result(name, "passed", error, where, None,
                  "It is the gradient of your forward pass, which is not right itself." if behind else None, parts)


def _returns_nothing(wrong: list[tuple[Case, Answers, Fault]]) -> bool:
    """Wherever it is wrong all that it returns is None, as of a stub that already keeps running statistics."""
    returned = [answers.get(key, 0) for case, answers, _ in wrong for key in case.compare if "." not in key]
    return bool(returned) and all(value is None for value in returned)


def _truncated(tried: Iterable[tuple[Case, Answers, list[Fault]]]) -> bool:
    """Only integers went wrong, and came out as integers."""
    import numpy as np

    wrong = [(case, answers, fault) for case, answers, faults in tried for fault in faults if not fault.remark]
    return all("integers" in case.name and isinstance(answers.get(fault.key), np.ndarray)
               and answers[fault.key].dtype.kind in "iu" for case, answers, fault in wrong)


def _text(file: str | Path) -> str:
    """A program as Python reads it. SyntaxError where the encoding that it names is none of programs.

    Python refuses some of them, such as hex, with LookupError; to read punycode takes the square of its length.
    """
    with open(file, "rb") as stream:
        encoding = tokenize.detect_encoding(stream.readline)[0]
        stream.seek(0)
        if codecs.lookup(encoding).name == "punycode":
            raise SyntaxError(f"unknown encoding: {encoding}")
        try:
            with io.TextIOWrapper(stream, encoding) as text:
                return text.read()
        except LookupError as error:
            raise SyntaxError(f"unknown encoding: {encoding}") from error


def written_in(file: str | Path) -> tuple[list[str], str | None]:
    """The names of the course that a file defines, by its text, and what is wrong with the text."""
    try:
        text = _text(file)
        names = [node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        text = Path(file).read_bytes().decode("utf-8", "replace")
        named = re.findall(r"^(?:def|class)\s+(\w+)", text, re.MULTILINE)
        return [name for name in CASES if name in named], _unreadable(error, text)
    return [name for name in CASES if name in names], None


def _unreadable(error: Exception, text: str) -> str:
    """Why Python cannot read a program."""
    what = str(error)
    if isinstance(error, SyntaxError):
        lines, number = text.splitlines(), error.lineno or 0
        what = f"{error.msg}, line {number}"
        if 0 < number <= len(lines) and lines[number - 1].lstrip().startswith(("%", "!")):
            what = f"a command of notebooks, which is no Python, line {number}"
        if not number:  # it has not got as far as a line
            what = "it is in another encoding than it says. Save the file as UTF-8"
    elif isinstance(error, UnicodeError):
        what += ". Save the file as UTF-8"
    return f"{type(error).__name__}: {what}"


_ENDS = {"output": "prints-too-much", "processes": "too-many-processes", "forged": "answers-by-itself",
         "processor": "too-much-time"}
_SAID = {"EOFError": "asks-for-input", "SystemExit": "ends-the-program", "NotImplementedError": "unfinished"}


def check_file(file: str | Path, only: Sequence[str] = (), limits: Limits | None = None, isolate: bool | None = None,
               seed: int = 0) -> Report:
    """Try what `file` defines, in a room of its own, or those of its functions that `only` names."""
    return check_seeds(file, [seed], only, limits, isolate)[0]


def check_seeds(file: str | Path, seeds: Sequence[int], only: Sequence[str] = (), limits: Limits | None = None,
                isolate: bool | None = None) -> list[Report]:
    """The same with the cases of several seeds, one after the other in the same room, and a report for each."""
    reports = [Report() for _ in seeds]
    wanted = [name for name in CASES if not only or name in only]
    written, fault = written_in(file)
    written = [name for name in written if name in wanted]
    if fault is not None:
        for report in reports:
            report.walls = "not run: Python cannot read it"
            report.results = _all_the_same(written or [Path(file).name], fault, None)
        return reports
    waiting: list[tuple[int, str]] | None = None
    while waiting is None or waiting:
        with Room([_folder(file)], limits or Limits(), isolate) as room:
            for report in reports:
                report.walls = room.walls
            try:
                loaded = _loaded(room, file, wanted)
            except Ended as end:
                for report, names in _left(reports, waiting, written):
                    report.results += _ended(names or [Path(file).name], end, "while it was imported")
                    report.printed = report.printed or room.printed()
                break
            if loaded["error"] is not None:
                text, mistake = _import_error(loaded["error"])
                for report, names in _left(reports, waiting, written):
                    report.results += _all_the_same(names or [Path(file).name], text, mistake)
                break
            if waiting is None:
                waiting = [(which, name) for which in range(len(seeds)) for name in loaded["found"]]
            _try_all(waiting, room, reports, seeds)
            for report in reports:
                report.printed = report.printed or room.printed()
    order = list(CASES)
    for report in reports:
        found = {result.function for result in report.results}
        report.results += [Result(name, "missing", hint="The file does not define it.")
                           for name in wanted if name not in found]
        report.results.sort(key=lambda result: order.index(result.function) if result.function in CASES else -1)
    return reports


def _left(reports: list[Report], waiting: list[tuple[int, str]] | None,
          written: list[str]) -> list[tuple[Report, list[str]]]:
    """What no room was left for, by report: all that is written where none was open yet."""
    if waiting is None:
        return [(report, written) for report in reports]
    left = [(report, [name for which, name in waiting if which == i]) for i, report in enumerate(reports)]
    return [(report, names) for report, names in left if names]


def _import_error(error: dict[str, Any]) -> tuple[str, str | None]:
    """What is said of a file that cannot be imported, and the name of the mistake."""
    place = f", line {error['line']}" if error["line"] else ""
    text = f"The file cannot be imported: {error['type']}: {error['message']}{place}."
    if error["type"] not in ("ImportError", "ModuleNotFoundError", "SyntaxError", *_SAID):
        text += ' What trains or reads data belongs below if __name__ == "__main__":.'
    return text, _SAID.get(error["type"])


def _folder(file: str | Path) -> Path:
    """What the code may read: the folder of the file, and those above that are packages."""
    folder = Path(file).resolve().parent
    while (folder / "__init__.py").exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _try_all(waiting: list[tuple[int, str]], room: Room, reports: list[Report], seeds: Sequence[int]) -> None:
    """Try the functions until none is waiting, or one has ended the room."""
    while waiting:
        which, name = waiting.pop(0)
        results = reports[which].results
        try:
            results.append(try_function(name, room.ask, seeds[which]))
        except Ended as end:
            ended = _ended([name], end, "")
            results += ended
            # A backward pass that needs it is not tried, for which no other room has to be opened.
            lost = [(i, other) for i, other in waiting if i == which and name == _needs(other)]
            results += [Result(other, ended[0].status, hint=f"Not tried: {name}, which it needs, was ended.")
                        for _, other in lost]
            waiting[:] = [pair for pair in waiting if pair not in lost]
            return


def _needs(name: str) -> str | None:
    """The forward pass that a backward pass is tried with."""
    needs = name.removesuffix("_alt").replace("_backward", "_forward")
    return None if needs == name else needs


def _ended(names: list[str], end: Ended, when: str) -> list[Result]:
    status = "timeout" if end.kind in ("timeout", "processor") else "crashed"
    text = str(end)
    if end.kind == "timeout":
        text = f"{text}: an endless loop, or far too slow"
    hint = f"It was ended{' ' + when if when else ''}: {text}."
    return [Result(name, status, None, None, _ENDS.get(end.kind, "endless" if status == "timeout" else None), hint)
            for name in names]


def _all_the_same(names: Iterable[str], hint: str, mistake: str | None) -> list[Result]:
    return [Result(name, "crashed", None, None, mistake, hint) for name in names]


def check(file: str | Path, only: Sequence[str] = (), limits: Limits | None = None, isolate: bool | None = None,
          seed: int = 0) -> Report:
    """Try a .py file, or what the cells of an .ipynb define. OSError and ValueError where it cannot be read."""
    if is_special(file):
        raise ValueError("it is no ordinary file")
    if str(file).endswith(".ipynb"):
        return check_text(definitions(notebook_cells(file)), only, limits, isolate, seed)
    with open(file, "rb"):
        pass
    return check_file(file, only, limits, isolate, seed)


def check_text(text: str, only: Sequence[str] = (), limits: Limits | None = None, isolate: bool | None = None,
               seed: int = 0) -> Report:
    """The same for a program that is no file, such as the cells of a notebook."""
    with tempfile.TemporaryDirectory(prefix="dasecv-check-") as folder:
        file = Path(folder) / "notebook.py"
        file.write_text(text, encoding="utf-8")
        return check_file(file, only, limits, isolate, seed)
