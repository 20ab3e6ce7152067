"""What a function is tried on: small programs whose answers the twins know.

Every case is made from a seed, so that a teacher's may be others than a student's. Shapes go beyond the notebook's:
one sample, sizes that differ, images, windows that overlap, float32, integers, large scores.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from daseCV_c import reference
from daseCV_c._coursework.programs import Answers, Program, execute

STEP = 1e-4
"""How far a gradient check goes to each side."""


@dataclass(frozen=True)
class Case:
    """One program, and which of its answers are held against the twin's."""

    name: str
    program: Program
    compare: tuple[str, ...]
    same: tuple[str, ...] = ()
    """Inputs that the function may not change."""
    tolerance: float = 1e-5
    """Largest error relative to the largest number: enough for sums in float32."""
    gradients: Mapping[str, str] | None = None
    """For a backward pass, which input each gradient belongs to."""
    judge: str = "twin"
    """The rule of judging.py that looks at the answers."""

    @functools.cached_property
    def right(self) -> Answers:
        """The twin's answers."""
        return execute(self.program, twins())


@functools.cache
def twins() -> dict[str, Any]:
    """The functions and networks that know the right answers."""
    from daseCV_c._coursework import networks
    return vars(reference) | {name: getattr(networks, name) for name in networks.__all__}


def forward(name: str, function: str, inputs: Mapping[str, Any], compare: tuple[str, ...] = ("out",),
            tolerance: float = 1e-5, times: int = 1, judge: str = "twin", same: bool = True) -> Case:
    """`function` called with the inputs in their order, `times` times."""
    step = [["out", "cache"], function, list(inputs), {}]
    given = {"inputs": dict(inputs), "steps": [step] * times,
             "give": list(dict.fromkeys([*(key.split(".")[0] for key in compare), *inputs, "cache"]))}
    arrays = tuple(key for key, value in inputs.items() if isinstance(value, np.ndarray)) if same else ()
    return Case(name, given, compare, arrays, tolerance, judge=judge)


def backward(name: str, pair: tuple[str, str], inputs: Mapping[str, Any], of: tuple[str, ...], random: Any,
             tolerance: float = 1e-5, judge: str = "twin", step: float = STEP) -> Case:
    """The second function of the pair, after the first one and with what that has kept, and a gradient check.

    The check takes the first function twice for each input of `of`, a step to either side in a random direction.
    """
    out = execute({"inputs": dict(inputs), "steps": [[["out", "_"], pair[0], list(inputs), {}]], "give": ["out"]},
                  twins())["out"]
    gradients = tuple(f"d{key}" for key in of)
    # dout is as wide as float64 goes: its fractions are no integers even where the inputs are.
    given = dict(inputs) | {"dout": random.randn(*out.shape).astype(out.dtype)}
    steps: list[Any] = [[["out", "cache"], pair[0], list(inputs), {}],
                        [gradients[0] if len(of) == 1 else list(gradients), pair[1], ["dout", "cache"], {}]]
    give = ["out", *gradients, *of, "dout"]
    if out.dtype == np.float64:
        for key in of:
            given[f"direction_{key}"] = way = random.randn(*np.shape(inputs[key]))
            for side, sign in (("plus", step), ("minus", -step)):
                given[f"{key}_{side}"] = inputs[key] + sign * way
                steps.append([[f"{side}_{key}", "_"], pair[0],
                              [f"{key}_{side}" if other == key else other for other in inputs], {}])
                give.append(f"{side}_{key}")
    return Case(name, {"inputs": given, "steps": steps, "give": give}, gradients, (*of, "dout"), tolerance,
                dict(zip(gradients, of, strict=True)), judge)


def off_zero(x: Any, by: float = 0.05) -> Any:
    """x with its kinks of ReLU out of a gradient check's reach."""
    return np.where(np.abs(x) < by, np.where(x < 0, -by, by), x)


Cases = Callable[[int], list[Case]]
