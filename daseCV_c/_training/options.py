"""The keywords of the Solver."""

from __future__ import annotations

import os
from typing import Any

from daseCV_c import _checks, _random
from daseCV_c._training import checks, hooks, saving

# With their defaults. Each becomes an attribute of its name.
DEFAULTS: dict[str, Any] = {
    "update_rule": "sgd", "optim_config": {}, "lr_decay": 1.0, "batch_size": 100, "num_epochs": 10,
    "num_train_samples": 1000, "num_val_samples": None, "checkpoint_name": None, "print_every": 10, "verbose": True,
    "progress": False, "callbacks": (), "monitor": None, "on_divergence": "stop", "checkpoint_path": None,
    "checkpoint_every": 60.0, "schedule": None, "early_stopping": None, "clip_norm": None, "average": None,
    "seed": None, "comm": None,
}


def positive(name: str, value: object) -> int:
    return _checks.integer("Solver", name, value, 1, wrong_type=ValueError)


def _one_of(name: str, value: Any, *known: str | None) -> Any:
    if not isinstance(value, (str, type(None))) or value not in known:
        raise ValueError(f"Solver: {name} is {value!r}, expected one of {', '.join(map(str, known))}")
    return value


class Options:
    """The attributes that the keywords become."""

    update_rule: Any
    optim_config: dict[str, Any]
    lr_decay: float
    batch_size: int
    num_epochs: int
    num_train_samples: int | None
    num_val_samples: int | None
    checkpoint_name: str | None
    print_every: int
    verbose: bool
    progress: bool
    callbacks: list[Any]
    monitor: str | None
    on_divergence: str
    checkpoint_path: str | os.PathLike[str] | None
    checkpoint_every: float
    schedule: Any
    early_stopping: Any
    clip_norm: Any
    average: Any
    seed: Any
    comm: Any
    generator: _random.Generator | None
    _rule: Any  # the function

    def _take_options(self, given: dict[str, Any]) -> None:
        """See that each is of the kind that it must be of."""
        unknown = ", ".join(f'"{name}"' for name in given if name not in DEFAULTS)
        if unknown:
            raise ValueError(f"Unrecognized arguments {unknown}")
        vars(self).update(DEFAULTS | given)
        # A copy: the rules write their state into the configurations made from it.
        self.optim_config = dict(_checks.dictionary("Solver", "optim_config", self.optim_config))
        self.lr_decay = _checks.real_number("Solver", "lr_decay", self.lr_decay)
        self.batch_size = positive("batch_size", self.batch_size)
        if self.num_epochs != 0:
            self.num_epochs = positive("num_epochs", self.num_epochs)
        for name in ("num_train_samples", "num_val_samples"):
            if getattr(self, name) is not None:
                positive(name, getattr(self, name))
        self.print_every = positive("print_every", self.print_every)
        _one_of("monitor", self.monitor, None, "val_acc", "val_loss", "last")
        _one_of("on_divergence", self.on_divergence, "stop", "ignore")
        self.checkpoint_every = _checks.real_number("Solver", "checkpoint_every", self.checkpoint_every, 0)
        for name in ("checkpoint_name", "checkpoint_path"):
            saving.check_folder(name, getattr(self, name))
        self.callbacks = hooks.checked(self.callbacks)
        self.generator = _random.generator("Solver", self.seed)
        self.update_rule, self._rule = checks.rule(self.update_rule)
        checks.settings(self.update_rule, self._rule, self.optim_config)
