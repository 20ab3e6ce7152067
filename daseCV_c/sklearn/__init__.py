"""Estimators with scikit-learn's manners, trained and evaluated by the kernels.

`MLPClassifier` and `MLPRegressor` are scikit-learn's own, with the same answers and faster.
`FullyConnectedClassifier` and `FullyConnectedRegressor` are the package's networks with normalization,
dropout and schedules. They need scikit-learn: ``pip install "daseCV_c[sklearn]"``.

`usage` says how often the kernels did the work, and why they did not where they did not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from daseCV_c.sklearn._usage import usage

if TYPE_CHECKING:
    from daseCV_c.sklearn._estimators import FullyConnectedClassifier as FullyConnectedClassifier
    from daseCV_c.sklearn._estimators import FullyConnectedRegressor as FullyConnectedRegressor
    from daseCV_c.sklearn._mlp import MLPClassifier as MLPClassifier
    from daseCV_c.sklearn._mlp import MLPRegressor as MLPRegressor

# Each class is imported when it is asked for: nobody waits for scikit-learn, or needs it, before that.
_HOMES = {
    "FullyConnectedClassifier": "_estimators",
    "FullyConnectedRegressor": "_estimators",
    "MLPClassifier": "_mlp",
    "MLPRegressor": "_mlp",
}

__all__ = ["FullyConnectedClassifier", "FullyConnectedRegressor", "MLPClassifier", "MLPRegressor", "usage"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        importlib.import_module("sklearn")
    except ImportError as error:
        raise ImportError(f'{__name__}.{name} needs scikit-learn ({error}): pip install "daseCV_c[sklearn]"') from error
    found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
