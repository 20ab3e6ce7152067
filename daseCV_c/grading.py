"""What the tests of other graders call: functions of the course, held against the right ones where they were defined.

Nothing is kept in here: the functions run in the caller's process. The command `grade` runs them in rooms of their own.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

__all__ = ["points", "report"]


def points(functions: Sequence[str], namespace: Mapping[str, Any], seeds: Sequence[int], *, of: float = 1.0,
           partial: str = "cases", case: int | None = None) -> float:
    """What functions of the course are worth, as ``python -m daseCV_c grade`` counts it.

    Parameters
    ----------
    functions : list of str
        Names of the course, such as ``affine_forward``.
    namespace : dict
        Where they are defined: ``globals()``. What is not there, or comes from daseCV_c itself, is not right.
    seeds : list of int
        What the hidden cases are made from.
    of : float
        What all of it is worth.
    partial : {"cases", "functions", "none"}
        Whether the share of right cases counts, or whole functions, or all of it or nothing.
    case : int, optional
        The number of one case, from 0: that case of one function and one seed alone counts.

    Returns
    -------
    points : float
        From 0 to `of`, rounded to hundredths.

    Raises
    ------
    ValueError
        A function that the course does not have, no function, no seed, an unknown `partial`, a case that is not there.

    References
    ----------
    docs/grade.md.

    Examples
    --------
    >>> namespace = {}
    >>> exec("import numpy as np\\ndef relu_forward(x): return np.maximum(x, 0), x", namespace)
    >>> points(["relu_forward", "relu_backward"], namespace, seeds=[1, 2], of=3)
    1.5
    """
    from daseCV_c._coursework.grading.marking import answer_of, mark_of
    from daseCV_c._coursework.grading.rubric import PARTIAL, Question

    _known("points", functions)
    if not seeds:
        raise ValueError("points: seeds is empty, expected one or more whole numbers")
    if partial not in PARTIAL:
        raise ValueError(f"points: partial is {partial!r}, expected one of {', '.join(PARTIAL)}")
    if case is not None:
        return of * _one(functions, namespace, seeds, case)
    marks = {name: mark_of(name, [_result(name, namespace, seed) for seed in seeds], "")
             for name in _theirs(functions, namespace)}
    return answer_of(Question("points", tuple(functions), Fraction(str(of)), partial), marks).points


def report(functions: Sequence[str], namespace: Mapping[str, Any], *, hints: bool = True) -> None:
    """Print for each function whether it is right, and the hint of ``python -m daseCV_c check``.

    Parameters
    ----------
    functions : list of str
        Names of the course, such as ``affine_forward``.
    namespace : dict
        Where they are defined: ``globals()``.
    hints : bool

    Raises
    ------
    ValueError
        A function that the course does not have, or no function.

    References
    ----------
    docs/check.md.

    Examples
    --------
    >>> namespace = {}
    >>> exec("import numpy as np\\ndef relu_forward(x): return np.maximum(x, 0), x", namespace)
    >>> report(["relu_forward", "relu_backward"], namespace)
    relu_forward: right
    relu_backward: not found
    """
    _known("report", functions)
    theirs = _theirs(functions, namespace)
    for name in functions:
        if name not in theirs:
            print(f"{name}: not found")
            continue
        result = _result(name, namespace, 0)
        said = f" {result.hint}" if hints and result.hint and result.status != "passed" else ""
        print(f"{name}: {'right' if result.status == 'passed' else f'not right.{said}'}")


def _known(function: str, names: Sequence[str]) -> None:
    from daseCV_c._coursework.running import CASES

    if isinstance(names, str) or not names:
        raise ValueError(f'{function}: functions is {names!r}, expected names such as ["affine_forward"]')
    for name in names:
        if name not in CASES:
            raise ValueError(f"{function}: no function of the course is called {name!r}; there are {', '.join(CASES)}")


def _theirs(names: Sequence[str], namespace: Mapping[str, Any]) -> list[str]:
    from daseCV_c._coursework.room import theirs

    return theirs(dict(namespace), list(names))


def _result(name: str, namespace: Mapping[str, Any], seed: int) -> Any:
    from daseCV_c._coursework.running import try_function

    return try_function(name, lambda program: _ask(program, namespace), seed)


def _one(functions: Sequence[str], namespace: Mapping[str, Any], seeds: Sequence[int], number: int) -> bool:
    from daseCV_c._coursework.judging_chance import JUDGES
    from daseCV_c._coursework.running import cases_of

    if len(functions) != 1 or len(seeds) != 1:
        raise ValueError(f"points: case is {number}, which is of one function and one seed; there are "
                         f"{len(functions)} and {len(seeds)}")
    cases = cases_of(functions[0], seeds[0])
    if not 0 <= number < len(cases):
        raise ValueError(f"points: case is {number}, but {functions[0]} has cases from 0 to {len(cases) - 1}")
    if not _theirs(functions, namespace):
        return False
    case = cases[number]
    return all(fault.remark for fault in JUDGES[case.judge](case, _ask(case.program, namespace)))


def _ask(program: dict[str, Any], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The answers as they come out of a room: plain values, and nothing of the student's own types."""
    from daseCV_c._coursework import wire
    from daseCV_c._coursework.programs import execute

    printed = io.StringIO()  # it belongs to no test; nbgrader takes what is on stderr for a failure
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        answers = execute(program, namespace)
    message = io.BytesIO(wire.encode(answers))
    return dict(wire.read(message.read, len(message.getbuffer())))
