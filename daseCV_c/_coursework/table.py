"""A report as text for people, and as JSON for programs."""

from __future__ import annotations

import json
import textwrap

from daseCV_c._coursework.running import Report

_WORDS = {"passed": "pass", "failed": "FAIL", "crashed": "CRASH", "timeout": "TIMEOUT"}


def as_json(report: Report) -> str:
    """{"results": [...]}, NaN and infinity as null."""
    return json.dumps({"results": [result.as_dict() for result in report.results]}, indent=1, allow_nan=False)


def as_text(report: Report, name: str, width: int = 100) -> str:
    """One line a function, its hint below it, and what was not checked."""
    found = [result for result in report.results if result.status != "missing"]
    lines = [f"{name}: {report.walls}" if report.walls else name, ""]
    if found:
        wide = max(len(name) for name in ("function", *(result.function for result in found))) + 2
        lines.append(f"{'function':{wide}}{'result':9}{'largest error':15}where")
        for result in found:
            error = "" if result.max_error is None else f"{result.max_error:.1e}"
            where = result.case or ""
            word = "to do" if result.mistake == "unfinished" else _WORDS[result.status]
            lines.append(f"{result.function:{wide}}{word:9}{error:15}{where}".rstrip())
            if result.hint:
                lines += textwrap.wrap(result.hint, width, initial_indent="    ", subsequent_indent="    ")
    missing = [result.function for result in report.results if result.status == "missing"]
    right = sum(result.status == "passed" for result in found)
    lines += ["", f"{right} of {len(found)} right." if found else "Nothing of the course is defined in it."]
    if missing:
        lines += textwrap.wrap(f"Not checked, because the file does not define them: {', '.join(missing)}.", width)
    lines += textwrap.wrap(
        "Not checked either: time and memory they take, sizes beyond a few dozen numbers, wrong arguments, NaN, "
        "strides that leave pixels over, gradients of test mode.", width)
    if report.printed.strip():
        lines += ["", "It printed:", *("    " + line[:width] for line in report.printed.strip().splitlines()[:10])]
    # Nothing that the student's code says moves the terminal's cursor.
    return "\n".join("".join(letter if letter.isprintable() else "?" for letter in line) for line in lines)
