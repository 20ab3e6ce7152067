"""Schedules of the learning rate, and the test that finds a rate to begin with.

A schedule is a callable of the step, counted from 0: ``schedule(step)`` is the *factor* that the
learning rate of ``optim_config`` is multiplied by in this step. ``Solver(..., schedule=)`` takes

- a name: ``'cosine'``;
- a dict of the name and settings, as JSON may hold it: ``{'name': 'warmup_cosine', 'warmup': 500}``;
- an object of this module: ``WarmupCosine(warmup=500)``;
- any function of the step: ``lambda step: 0.99 ** step``.

With a learning rate of 1.0 the factor is the rate itself: so a function that returns rates, as
those of optax and Keras do, is taken as it is.

Lengths are counted in steps, or in epochs where ``unit='epoch'``; one that is left out follows from
the length of the training. After its last step a schedule keeps its last factor.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeAlias

from daseCV_c import _checks
from daseCV_c._training.range_test import RangeTest, lr_range_test
from daseCV_c._training.watching import Watch

__all__ = ["Cosine", "OneCycle", "Plateau", "RangeTest", "Schedule", "StepDecay", "WarmupCosine", "lr_range_test",
           "make"]

Factor: TypeAlias = Callable[[int], float]
UNITS = ("step", "epoch")


def _cosine(first: float, last: float, share: float) -> float:
    """From `first` to `last` along half a cosine."""
    return last + (first - last) / 2 * (1 + math.cos(math.pi * share))


@dataclasses.dataclass
class Schedule:
    """What the schedules of this module share: settings that JSON can hold, and lengths that follow the training.

    Examples
    --------
    >>> Cosine(steps=100).settings()
    {'name': 'cosine', 'final': 0.0, 'steps': 100, 'unit': 'step'}
    """

    name: ClassVar[str]
    lengths: ClassVar[tuple[str, ...]] = ()  # settings counted in `unit`

    def __call__(self, step: int) -> float:
        """The factor on the learning rate in a step, counted from 0."""
        raise NotImplementedError

    def _check(self) -> str:
        """See that lengths and unit are sensible; returns the name that errors begin with."""
        function = type(self).__name__
        unit = getattr(self, "unit", "step")
        if unit not in UNITS:
            raise ValueError(f"{function}: unit is {unit!r}, expected 'step' or 'epoch'")
        for key in self.lengths:
            value = getattr(self, key)
            if value is None:
                continue
            if unit == "epoch":
                value = _checks.real_number(function, key, value)
                if not 0 < value < math.inf:
                    raise ValueError(f"{function}: {key} is {value!r}, expected a positive number of epochs")
            else:
                value = _checks.integer(function, key, value, 1)
            setattr(self, key, value)
        return function

    def _share(self, key: str, low: float, high: float = math.inf) -> None:
        """See that a setting is a finite number from `low` to `high`."""
        function = type(self).__name__
        value = _checks.real_number(function, key, getattr(self, key))
        if not low <= value <= high or value == math.inf:
            wanted = f"from {low:g} to {high:g}" if high < math.inf else f"of at least {low:g}"
            raise ValueError(f"{function}: {key} is {value!r}, expected a number {wanted}")
        setattr(self, key, value)

    def settings(self) -> dict[str, Any]:
        """The dict that `make` makes an equal schedule from."""
        given = dataclasses.asdict(self)
        return {"name": self.name} | {key: value for key, value in given.items() if value is not None}

    def of_training(self, steps: int, steps_per_epoch: int) -> Self:
        """The same for a training of so many steps: all lengths are known, and counted in steps."""
        lengths = {key: getattr(self, key) for key in self.lengths}
        if getattr(self, "unit", "step") == "epoch":
            lengths = {key: value and max(round(value * steps_per_epoch), 1) for key, value in lengths.items()}
            lengths["unit"] = "step"
        if "steps" in lengths:
            lengths["steps"] = lengths["steps"] or max(steps, 1)
        return dataclasses.replace(self, **lengths)

    def _known(self, key: str) -> int:
        value = getattr(self, key)
        if value is None or getattr(self, "unit", "step") != "step":
            raise ValueError(f"{type(self).__name__}: {key} is not known in steps: name it so, "
                             "or let of_training find it")
        return int(value)


@dataclasses.dataclass
class StepDecay(Schedule):
    """``factor ** floor(step / every)``; called 'step'.

    Parameters
    ----------
    every : int or float, optional
        Steps (or epochs) from one drop to the next; a third of the training where it is left out.
    factor : float
        From 0 to 1.
    unit : {'step', 'epoch'}

    Raises
    ------
    ValueError, TypeError
        A setting is no number, or one that makes no sense.

    References
    ----------
    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016: a tenth, twice.

    Examples
    --------
    >>> [round(StepDecay(every=2)(step), 4) for step in range(5)]
    [1.0, 1.0, 0.1, 0.1, 0.01]
    """

    name: ClassVar[str] = "step"
    lengths: ClassVar[tuple[str, ...]] = ("every",)
    every: float | None = None
    factor: float = 0.1
    unit: str = "step"

    def __post_init__(self) -> None:
        self._check()
        self._share("factor", 0, 1)

    def __call__(self, step: int) -> float:
        return self.factor ** (step // self._known("every"))

    def of_training(self, steps: int, steps_per_epoch: int) -> Self:
        if self.every is None:
            return dataclasses.replace(self, every=max(math.ceil(steps / 3), 1), unit="step")
        return super().of_training(steps, steps_per_epoch)


@dataclasses.dataclass
class Cosine(Schedule):
    """``final + (1 - final) / 2 * (1 + cos(pi * step / steps))``; called 'cosine'.

    Parameters
    ----------
    final : float
        The factor at the end, from 0 to 1.
    steps : int or float, optional
        All of the training where it is left out.
    unit : {'step', 'epoch'}

    Raises
    ------
    ValueError, TypeError
        A setting is no number, or one that makes no sense.

    References
    ----------
    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, equation 5,
    https://arxiv.org/abs/1608.03983

    Examples
    --------
    >>> [round(Cosine(steps=4)(step), 4) for step in range(6)]
    [1.0, 0.8536, 0.5, 0.1464, 0.0, 0.0]
    """

    name: ClassVar[str] = "cosine"
    lengths: ClassVar[tuple[str, ...]] = ("steps",)
    final: float = 0.0
    steps: float | None = None
    unit: str = "step"

    def __post_init__(self) -> None:
        self._check()
        self._share("final", 0, 1)

    def __call__(self, step: int) -> float:
        steps = self._known("steps")
        return _cosine(1.0, self.final, min(step / steps, 1.0))


@dataclasses.dataclass
class WarmupCosine(Schedule):
    """``(step + 1) / warmup`` in the first `warmup` steps, then half a cosine over those that are left.

    Called 'warmup_cosine'. The first step has a rate above zero, and the full rate comes with the
    last step of the warm-up.

    Parameters
    ----------
    warmup : int or float, optional
        A twentieth of the training where it is left out.
    final : float
        The factor at the end, from 0 to 1.
    steps : int or float, optional
        The warm-up and the cosine together; all of the training where it is left out.
    unit : {'step', 'epoch'}

    Raises
    ------
    ValueError, TypeError
        A setting is no number or one that makes no sense, or the warm-up leaves no step for the cosine.

    References
    ----------
    Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017, section 2.2 (gradual warm-up),
    https://arxiv.org/abs/1706.02677; Loshchilov and Hutter, ICLR 2017, equation 5.

    Examples
    --------
    >>> [round(WarmupCosine(warmup=2, steps=6)(step), 4) for step in range(6)]
    [0.5, 1.0, 1.0, 0.8536, 0.5, 0.1464]
    """

    name: ClassVar[str] = "warmup_cosine"
    lengths: ClassVar[tuple[str, ...]] = ("warmup", "steps")
    warmup: float | None = None
    final: float = 0.0
    steps: float | None = None
    unit: str = "step"

    def __post_init__(self) -> None:
        function = self._check()
        self._share("final", 0, 1)
        if self.steps is not None and self.warmup is not None and self.warmup >= self.steps:
            raise ValueError(
                f"{function}: warmup is {self.warmup} of {self.steps} {self.unit}s, expected fewer than all")

    def __call__(self, step: int) -> float:
        warmup, steps = self._known("warmup"), self._known("steps")
        if step < warmup:
            return (step + 1) / warmup
        return _cosine(1.0, self.final, min((step - warmup) / (steps - warmup), 1.0))

    def of_training(self, steps: int, steps_per_epoch: int) -> Self:
        # Two steps at least: one for the warm-up and one for the cosine.
        found = super().of_training(max(steps, 2), steps_per_epoch)
        if self.warmup is None:
            found.warmup = max(round(found._known("steps") / 20), 1)
        return found


@dataclasses.dataclass
class OneCycle(Schedule):
    """Up from `start` to 1 and down to `final`, once; called 'one_cycle'.

    The learning rate of ``optim_config`` is the highest one. With ``up = peak_at * steps - 1`` the factor goes
    from `start` to 1 in the steps from 0 to `up`, and from there to `final` in the last step. Momentum stays as it is.

    Parameters
    ----------
    peak_at : float
        The share of the steps in which the rate rises, from 0 to 1.
    start, final : float
        Factors in the first and in the last step.
    anneal : {'cosine', 'linear'}
    steps : int or float, optional
        All of the training where it is left out.
    unit : {'step', 'epoch'}

    Raises
    ------
    ValueError, TypeError
        A setting is no number, or one that makes no sense.

    References
    ----------
    Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates", 2018,
    https://arxiv.org/abs/1708.07120. The numbers and the cosine are those of PyTorch's OneCycleLR.

    Examples
    --------
    >>> cycle = OneCycle(peak_at=0.5, start=0.2, final=0.0, anneal='linear', steps=6)
    >>> [round(cycle(step), 4) for step in range(6)]
    [0.2, 0.6, 1.0, 0.6667, 0.3333, 0.0]
    """

    name: ClassVar[str] = "one_cycle"
    lengths: ClassVar[tuple[str, ...]] = ("steps",)
    peak_at: float = 0.3
    start: float = 1 / 25
    final: float = 1 / 25e4
    anneal: str = "cosine"
    steps: float | None = None
    unit: str = "step"

    def __post_init__(self) -> None:
        function = self._check()
        for key in ("peak_at", "start", "final"):
            self._share(key, 0, 1)
        if self.anneal not in ("cosine", "linear"):
            raise ValueError(f"{function}: anneal is {self.anneal!r}, expected 'cosine' or 'linear'")

    def __call__(self, step: int) -> float:
        last = self._known("steps") - 1
        up = min(max(self.peak_at * (last + 1) - 1, 0.0), float(last))
        if step < up:
            first, end, share = self.start, 1.0, step / up
        else:
            first, end, share = 1.0, self.final, min((step - up) / (last - up), 1.0) if up < last else 0.0
        return _cosine(first, end, share) if self.anneal == "cosine" else first + (end - first) * share


@dataclasses.dataclass
class Plateau(Schedule):
    """The rate is multiplied by `factor` after `patience` checks in a row that brought nothing better.

    Called 'plateau'. A check is what the Solver does after the first step, at the end of each
    epoch and after the last step. PyTorch's patience is smaller by one: it counts the checks that are borne.

    Parameters
    ----------
    factor : float
        From 0 to 1.
    patience : int
        Checks in a row.
    min_delta : float
        A value is better if it is by more than this above the best accuracy, or below the best loss, so far.
    monitor : {'val_loss', 'val_acc', 'train_loss', 'train_acc'}
    cooldown : int
        Checks after a drop that are not counted.
    final : float
        The factor on the learning rate does not fall below this.

    Raises
    ------
    ValueError, TypeError
        A setting is no number, or one that makes no sense.

    References
    ----------
    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 3.4: divided by 10 when the error
    plateaus.

    Examples
    --------
    >>> schedule = Plateau(factor=0.5, patience=2)
    >>> for loss in (1.0, 0.8, 0.9, 0.8):
    ...     schedule.check(loss)
    >>> schedule(step=4)
    0.5
    """

    name: ClassVar[str] = "plateau"
    factor: float = 0.1
    patience: int = 5
    min_delta: float = 1e-4
    monitor: str = "val_loss"
    cooldown: int = 0
    final: float = 0.0

    def __post_init__(self) -> None:
        function = self._check()
        for key in ("factor", "final"):
            self._share(key, 0, 1)
        self.cooldown = _checks.integer(function, "cooldown", self.cooldown, 0)
        self._watch = Watch(function, self.monitor, self.patience, self.min_delta)
        self.patience, self.min_delta = self._watch.patience, self._watch.min_delta
        self._drops = self._resting = 0

    def __call__(self, step: int) -> float:
        return max(self.factor ** self._drops, self.final)

    def check(self, value: float) -> None:
        """Take the monitored value of one check."""
        self._watch.see(value)
        if self._resting > 0:
            self._watch.waited = 0
            self._resting -= 1
        if self._watch.over():
            self._watch.waited = 0
            self._drops, self._resting = self._drops + 1, self.cooldown

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it: numbers alone."""
        return {**self._watch.state(), "drops": self._drops, "resting": self._resting}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        drops, resting = (_checks.integer("Plateau.load_state", f"state[{key!r}]", state.get(key), 0)
                          for key in ("drops", "resting"))
        self._watch.load_state(state)
        self._drops, self._resting = drops, resting


SCHEDULES = {schedule.name: schedule for schedule in (StepDecay, Cosine, WarmupCosine, OneCycle, Plateau)}


def make(schedule: str | dict[str, Any] | Factor, function: str = "make") -> Factor:
    """The schedule that a name, a dict or a callable stands for.

    Parameters
    ----------
    schedule : str, dict or callable
        As in ``Solver(schedule=)``.
    function : str
        What errors begin with.

    Returns
    -------
    schedule : callable
        A callable is returned as it is.

    Raises
    ------
    ValueError
        The name or a setting is not known, or a setting makes no sense. What is known is named.
    TypeError
        It is none of these.

    Examples
    --------
    >>> make({'name': 'cosine', 'final': 0.1})
    Cosine(final=0.1, steps=None, unit='step')
    """
    if callable(schedule):
        return schedule
    if not isinstance(schedule, (str, dict)):
        raise TypeError(f"{function}: schedule is a {type(schedule).__name__}, "
                        "expected a name, a dict with a name, or a function of the step")
    settings: dict[str, Any] = {"name": schedule} if isinstance(schedule, str) else dict(schedule)
    name = settings.pop("name", None)
    kind = SCHEDULES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"{function}: the schedule's name is {name!r}, expected one of {', '.join(SCHEDULES)}")
    known = [field.name for field in dataclasses.fields(kind)]
    for key in settings:
        if key not in known:
            raise ValueError(
                f"{function}: the schedule {name!r} has no setting {key!r}, expected some of {', '.join(known)}")
    made: Factor = kind(**settings)
    return made


def factor_of(schedule: Factor, step: int) -> float:
    """What a schedule returns for a step, or an error that names the step."""
    found = schedule(step)
    if type(found) is float and 0 <= found < math.inf:
        return found
    value = _checks.real_number("Solver", f"schedule({step})", found, 0)
    if value == math.inf:
        raise ValueError(f"Solver: schedule({step}) is {found!r}, expected a finite factor on the learning rate")
    return value
