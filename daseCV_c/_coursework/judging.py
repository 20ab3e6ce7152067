"""Whether the answers to a case are right, and by how much they are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from daseCV_c._coursework.cases import STEP, Case
from daseCV_c._coursework.programs import Answers
from daseCV_c._coursework.wire import Opaque

_FLOOR = 1e-2
"""Errors of numbers smaller than this are counted as if the largest were this."""


@dataclass(frozen=True)
class Fault:
    """One answer that is not right: which, by how much, and what it looks like."""

    key: str
    error: float | None
    text: str
    mistake: str | None = None
    remark: bool = False
    """The answer is right, and yet there is something to say."""


def flat(answers: Answers) -> dict[str, Any]:
    """The answers with the parts of dicts and tuples as answers of their own: `grads.W1`, `cache.0`."""
    found: dict[str, Any] = {}
    for key, value in answers.items():
        parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, tuple) else None
        if parts is None or key == "error":
            found[key] = value
        else:
            found |= flat({f"{key}.{name}": part for name, part in parts})
    return found


def number(value: Any) -> Any:
    """value as an array of numbers, or None where it is none."""
    if isinstance(value, bool | int | float | np.ndarray | np.generic):
        array = np.asarray(value)
        return array if array.dtype.kind in "biuf" else None
    return None


def distance(found: Any, right: Any) -> float | None:
    """Largest error over the largest right number; inf where NaN came; None where the two cannot be compared."""
    a, b = number(found), number(right)
    if a is None or b is None or a.shape != b.shape:
        return None
    if not a.size:
        return 0.0
    a, b = a.astype(np.float64), b.astype(np.float64)
    if np.array_equal(a, b, equal_nan=True):
        return 0.0
    with np.errstate(all="ignore"):
        error = float(np.max(np.abs(a - b)) / max(float(np.max(np.abs(b))), _FLOOR))
    return error if np.isfinite(error) else float("inf")


def compare(case: Case, answers: Answers) -> list[Fault]:
    """The answers beside the twin's, one by one."""
    found, right = flat(answers), flat(case.right)
    faults = []
    for key in case.compare:
        if key not in found or key not in right:
            continue
        error = distance(found[key], right[key])
        loose = loosely(found[key], right[key]) if error is None else None
        if loose is not None and loose <= case.tolerance:
            text = f"{looks(key, found[key], right[key])}"
            faults.append(Fault(key, loose, text, "keeps-an-axis", remark=True))
        elif error is None or error > case.tolerance:
            faults.append(Fault(key, error, looks(key, found[key], right[key])))
    missing = [key for key in case.compare if key not in found]
    if "error" in answers:
        error = answers["error"]
        faults.insert(0, Fault(missing[0] if missing else "", None, raised(error), unfinished(error)))
    else:
        faults += [Fault(key, None, f"there is no {key}") for key in missing]
    return faults


def loosely(found: Any, right: Any) -> float | None:
    """The distance of a vector that has kept an axis of length 1: it adds and multiplies as the right one does."""
    a, b = number(found), number(right)
    if a is None or b is None or b.ndim != 1 or a.size != b.size or a.ndim == 0 or a.shape[-1] != b.size:
        return None
    return distance(a.reshape(b.shape), b)


def raised(error: dict[str, Any]) -> str:
    """An exception in one line."""
    place = f", line {error['line']}" if error["line"] else ""
    text = str(error["message"])
    if error["type"] in ("Misfit", "Unfinished"):
        return text
    # NumPy explains at length, with advice after its first sentence.
    return f"{error['in']} raised {error['type']}: {text if len(text) < 160 else text.partition('. ')[0]}{place}"


def unfinished(error: dict[str, Any]) -> str | None:
    """The identifier of what ends a function before its time, where it is no mistake of the mathematics."""
    if error["type"] == "EOFError":
        return "asks-for-input"
    if error["type"] == "SystemExit":
        return "ends-the-program"
    if error["type"] == "MemoryError":
        return "too-much-memory"
    # The course's dropout ends with out.astype, which a stub's None does not have.
    stub = error["message"].startswith("'NoneType' object has no attribute 'astype'")
    return "unfinished" if stub or error["type"] in ("NotImplementedError", "Unfinished") else None


def looks(key: str, found: Any, right: Any) -> str:
    """What can be said of a wrong answer without saying the right one."""
    if found is None:
        return f"{key} is None"
    a, b = number(found), number(right)
    if a is None or b is None:
        return f"{key} is {found!r}" if isinstance(found, Opaque) else f"{key} is a {type(found).__name__}, no array"
    if a.shape != b.shape:
        return f"{key} has shape {a.shape}, expected {b.shape}"
    if not np.all(np.isfinite(a)):
        return f"{key} has NaN or infinite numbers"
    with np.errstate(all="ignore"):
        wrong = np.abs(a.astype(np.float64) - b) > 1e-5 * max(float(np.max(np.abs(b), initial=0)), _FLOOR)
        zero = np.abs(b) <= 1e-9
        ratio = (a.astype(np.float64) / b)[~zero]
    # A factor explains nothing where numbers that should be 0 are not, and neither does 1.
    if ratio.size and np.ptp(ratio) < 1e-4 * abs(ratio[0]) and not np.any(wrong & zero) and f"{ratio[0]:.4g}" != "1":
        return f"{key} is {ratio[0]:.4g} times what it should be"
    if a.ndim and 0 < wrong.sum() < wrong.size:
        return f"{wrong.sum()} of the {wrong.size} numbers of {key} are wrong, the first at {_first(wrong)}"
    return f"{key} is wrong" if not a.ndim else f"all numbers of {key} are wrong"


def _first(wrong: Any) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(wrong)[0])


def twin(case: Case, answers: Answers) -> list[Fault]:
    """Equal to the twin, or, behind a forward pass that is wrong, its gradient; inputs as they were."""
    faults = compare(case, answers)
    if wrong(faults) and case.gradients and "error" not in answers and _is_gradient(case, answers):
        faults = []
    return faults + changed(case, answers)


def wrong(faults: list[Fault]) -> bool:
    """Whether there is more than remarks."""
    return any(not fault.remark for fault in faults)


def ahead_is_wrong(case: Case, answers: Answers) -> bool:
    """The forward pass that a backward pass builds on gives something else than the twin's."""
    if not case.gradients or case.judge == "dropout_backward":  # whose mask is drawn
        return False
    error = distance(answers.get("out"), case.right["out"])
    return error is None or error > case.tolerance


def _is_gradient(case: Case, answers: Answers) -> bool:
    """A wrong forward pass, and a backward pass that is right for it: the first is to blame, not this one."""
    inputs = case.program["inputs"]
    if not ahead_is_wrong(case, answers):
        return False
    assert case.gradients is not None
    for gradient, of in case.gradients.items():
        above, below = number(answers.get(f"plus_{of}")), number(answers.get(f"minus_{of}"))
        found, way, dout = number(answers.get(gradient)), inputs.get(f"direction_{of}"), inputs["dout"]
        if above is None or below is None or found is None or way is None or found.shape != way.shape:
            return False
        if above.shape != dout.shape or below.shape != dout.shape:
            return False
        slope = float(np.sum((above - below) * dout)) / (2 * STEP)
        if not abs(slope - float(np.sum(found * way))) < 1e-4 * max(1.0, abs(slope)):
            return False
    return True


def changed(case: Case, answers: Answers) -> list[Fault]:
    """Inputs that did not come back as they went in. A dout that was changed is a remark: the result is right."""
    faults = []
    for key in case.same:
        after = answers.get(key)
        if after is not None and not (isinstance(after, np.ndarray) and np.array_equal(after,
                                                                                       case.program["inputs"][key])):
            remark = key == "dout" or (case.gradients is not None and key in case.gradients.values())
            whose = ", by this one or by its forward pass" if remark and key != "dout" else ""
            faults.append(Fault(key, None, f"{key} was changed in place{whose}", "changes-its-input", remark))
    return faults


def affine(case: Case, answers: Answers) -> list[Fault]:
    """As the twin, and the cache is what it was given: the backward pass needs the shape of x."""
    faults = twin(case, answers)
    cache, inputs = answers.get("cache"), case.program["inputs"]
    kept = list(cache.values()) if isinstance(cache, dict) else cache if isinstance(cache, tuple | list) else []
    arrays = [array for value in kept if (array := number(value)) is not None]
    if not wrong(faults) and not any(array.shape == inputs["x"].shape for array in arrays):
        faults.append(Fault("cache", None, "the cache does not hold x as it came", "affine-cache"))
    return faults


def groupnorm(case: Case, answers: Answers) -> list[Fault]:
    """As the twin; gradients of gamma and beta may be flat, as in some editions of the course."""
    shaped = {key: value.reshape(case.right[key].shape) if key in ("dgamma", "dbeta") and isinstance(
        value, np.ndarray) and value.size == case.right[key].size else value for key, value in answers.items()}
    return twin(case, shaped)


def ties(case: Case, answers: Answers) -> list[Fault]:
    """Among equal maxima any share will do, if the shares add up to what came.

    To give each of them the whole is a remark: the course's own checks have no ties, and behind ReLU it does no harm.
    """
    dx, dout, x = number(answers.get("dx")), case.program["inputs"]["dout"], case.program["inputs"]["x"]
    if "error" in answers or dx is None or dx.shape != x.shape:
        return compare(case, answers)
    windows = (*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2)
    tops = x.reshape(windows) == x.reshape(windows).max(axis=(3, 5), keepdims=True)
    came, error = (dx.reshape(windows) * tops).sum(axis=(3, 5)), 0.0
    error = max(distance(came, dout) or 0.0, float(np.abs(dx.reshape(windows) * ~tops).max()))
    if error <= case.tolerance:
        return []
    every = distance(dx.reshape(windows), tops * dout[:, :, :, None, :, None])
    if every is not None and every <= case.tolerance:
        return [Fault("dx", error, "among equal maxima each gets the whole gradient", "pool-ties", remark=True)]
    return [Fault("dx", error, "what comes in at a window does not go out once")]


Judge = Callable[[Case, Answers], list[Fault]]
