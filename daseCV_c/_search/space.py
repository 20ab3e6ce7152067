"""What is searched: a range or choices for each of some settings of `train`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from daseCV_c import optim
from daseCV_c.cli import options
from daseCV_c.cli.training import NORMALIZATIONS


def _one_of(names: Any) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text!r}: expected one of {', '.join(names)}")
        return text
    return convert


def _widths(text: str) -> str:
    """Widths of hidden layers as one choice: 100x50."""
    return "x".join(str(options.count(part)) for part in text.split("x"))


# What a value of each setting must be: the types of train's options.
TYPES: dict[str, Callable[[str], Any]] = {
    "lr": options.rate, "lr_decay": options.rate, "reg": options.not_negative, "weight_scale": options.scale,
    "dropout": options.keep, "clip_norm": options.rate, "hidden": _widths, "layers": options.count,
    "norm": _one_of(tuple(NORMALIZATIONS)), "update_rule": _one_of(tuple(optim.SETTINGS)),
    "batch_size": options.count, "filters": options.count, "filter_size": options.odd,
}
WHOLE = {"hidden", "layers", "batch_size", "filters", "filter_size"}
NUMBERS = WHOLE | {"lr", "lr_decay", "reg", "weight_scale", "dropout", "clip_norm"}
# A factor of two means the same everywhere in their range.
LOGARITHMIC = {"lr", "reg", "weight_scale", "clip_norm", "hidden", "batch_size", "filters"}
DEFAULT: dict[str, dict[str, Any]] = {
    "fc": {"lr": (1e-4, 3e-2), "reg": (1e-6, 1e-2), "hidden": (32, 256), "layers": (1, 3), "dropout": (0.5, 1.0),
           "norm": ["none", "batchnorm", "layernorm"]},
    "cnn": {"lr": (1e-4, 3e-2), "reg": (1e-6, 1e-2), "hidden": (32, 256), "filters": (8, 64)},
}


class Space:
    """Ranges and choices by setting, in a fixed order.

    `described` is what JSON keeps of it: ``{"lr": {"low": 1e-4, "high": 0.1}, "norm": {"choices": ["none"]}}``.
    """

    def __init__(self, given: Mapping[str, Any], base: Mapping[str, Any]) -> None:
        self.base = base
        self.described = {name: _described(name, value) for name, value in given.items()}
        self._check()

    def _check(self) -> None:
        if not self.described:
            raise ValueError("space is empty, expected a range or choices of at least one setting")
        for name in self.described:
            if name != "layers" and name not in self.base:
                raise ValueError(f"space: {name} does not apply to --model {self.base['model']}")
        layers, hidden = self.described.get("layers"), self.described.get("hidden", {})
        if self.base["model"] == "cnn" and (layers or any("x" in str(v) for v in hidden.get("choices", ()))):
            raise ValueError("space: the cnn has one hidden layer, expected hidden=LOW:HIGH or choices of one width")
        if layers and "low" not in hidden:
            raise ValueError("space: layers goes with a range of widths, such as hidden=32:256")

    @property
    def layers(self) -> int:
        """How many hidden layers there may be, where their widths have a range."""
        found = self.described.get("layers")
        if found is None:
            return len(self.base["hidden"])
        return int(found["high"] if "high" in found else max(found["choices"]))

    def distributions(self) -> dict[str, Any]:
        """Optuna's distributions by parameter; a range of widths has one for each layer."""
        found = {}
        for name, entry in self.described.items():
            if name == "hidden" and "low" in entry:
                for i in range(1, self.layers + 1):
                    found[f"width{i}"] = _distribution(name, entry)
            else:
                found[name] = _distribution(name, entry)
        return found

    def settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of `train` that parameters stand for: the base with these on top."""
        chosen = {**self.base, **{name: value for name, value in params.items() if name in self.base}}
        if isinstance(chosen["hidden"], str):
            chosen["hidden"] = [int(part) for part in chosen["hidden"].split("x")]
        if "width1" in params:
            chosen["hidden"] = [params[f"width{i}"] for i in range(1, params.get("layers", self.layers) + 1)]
        return chosen


def of_words(words: list[str]) -> dict[str, Any]:
    """NAME=LOW:HIGH as a range, NAME=A,B,C as choices."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not text:
            raise ValueError(f"{word!r}: expected NAME=LOW:HIGH or NAME=A,B,C")
        if name in found:
            raise ValueError(f"{name} is given twice")
        found[name] = tuple(text.split(":")) if ":" in text else text.split(",")
    return found


def _described(name: str, value: Any) -> dict[str, Any]:
    if name not in TYPES:
        raise ValueError(f"space has no setting {name!r}, expected some of {', '.join(TYPES)}")
    if isinstance(value, tuple):
        if name not in NUMBERS or len(value) != 2:
            raise ValueError(f"space: {name} is {value!r}, expected " + (
                "a range (low, high)" if name in NUMBERS else "a list of choices"))
        # The ends of a range of widths are each one of a layer.
        low, high = (_converted("layers" if name == "hidden" else name, end) for end in value)
        if isinstance(low, str) or isinstance(high, str) or not low < high:
            raise ValueError(f"space: {name} goes from {low} to {high}, expected low below high")
        if name in LOGARITHMIC and not low > 0:
            raise ValueError(f"space: {name} goes from {low}, expected a low end above 0; choices may hold 0")
        return {"low": low, "high": high}
    if not isinstance(value, list) or not value:
        raise ValueError(f"space: {name} is {value!r}, expected a range (low, high) or a list of choices")
    choices = [_converted(name, choice) for choice in value]
    if len(set(choices)) < len(choices):
        raise ValueError(f"space: {name} has a choice twice: {', '.join(map(str, choices))}")
    return {"choices": choices}


def _converted(name: str, value: Any) -> Any:
    """One value as train takes it, from text or from Python."""
    if name == "hidden" and isinstance(value, (list, tuple)):
        value = "x".join(map(str, value))
    if value is None and name == "norm":
        value = "none"
    kind = TYPES[name]
    try:
        found = kind(value if isinstance(value, str) else repr(value))
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"space: {name}={error}") from None
    return int(found) if name in WHOLE and name != "hidden" else found


def _distribution(name: str, entry: Mapping[str, Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    if "choices" in entry:
        return CategoricalDistribution(entry["choices"])
    log = name in LOGARITHMIC
    if name in WHOLE:
        step = 2 if name == "filter_size" else 1
        return IntDistribution(int(entry["low"]), int(entry["high"]), log=log, step=step)
    return FloatDistribution(entry["low"], entry["high"], log=log)
