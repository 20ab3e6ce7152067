"""What a network has learned: parameters, and batch norm's running statistics."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from daseCV_c._step import whole
from daseCV_c._types import Array

_STATISTICS = ("running_mean", "running_var")


def _entries(model: Any) -> list[dict[str, Any]]:
    return getattr(model, "bn_params", None) or []


class Weights(NamedTuple):
    """Arrays by name, and for each entry of the model's bn_params its running statistics."""

    params: dict[str, Array]
    statistics: list[dict[str, Array]]

    @classmethod
    def of(cls, model: Any) -> Weights:
        """The arrays that the model holds."""
        return cls(dict(model.params),
                   [{key: entry[key] for key in _STATISTICS if key in entry} for entry in _entries(model)])

    def copy(self) -> Weights:
        return Weights({name: array.copy() for name, array in self.params.items()},
                       [{key: np.array(array) for key, array in entry.items()} for entry in self.statistics])

    def put_into(self, model: Any) -> None:
        """All of them at once."""
        whole.commit(partial(model.params.update, self.params), *(
            partial(entry.update, own) for entry, own in zip(_entries(model), self.statistics, strict=False)))
