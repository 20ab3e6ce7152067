"""Layers, losses, sandwiches and networks for a student's own networks and notebooks: theirs where finished, else ours.

Which they are `daseCV_c.use` is told. Each call looks again, so a function counts as soon as it is written.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from daseCV_c import layer_utils, layers
from daseCV_c._coursework import using
from daseCV_c._layers.chosen import Chosen
from daseCV_c.classifiers import cnn, fc_net

_CHOSEN = Chosen("daseCV_c.layer_utils", "daseCV_c.fast_layers", "daseCV_c.layers")
__all__ = [*layer_utils.__all__, *using.NETWORKS]


def _layer(name: str, ours: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(ours)
    def layer(*args: Any, **kwargs: Any) -> Any:
        return using.function(name, ours)(*args, **kwargs)
    return layer


def _sandwich(name: str, ours: Callable[..., Any]) -> Callable[..., Any]:
    kind, _, way = name.rpartition("_")

    @functools.wraps(ours)
    def sandwich(*args: Any, **kwargs: Any) -> Any:
        using.refresh()
        if not _CHOSEN.changed():
            return ours(*args, **kwargs)
        given = inspect.signature(ours).bind(*args, **kwargs).args
        return (_CHOSEN.forward if way == "forward" else _CHOSEN.backward)(kind)(*given)
    return sandwich


def _network(name: str, ours: type) -> Callable[..., Any]:
    @functools.wraps(ours, updated=())
    def network(*args: Any, **kwargs: Any) -> Any:
        return using.network(name, ours)(*args, **kwargs)
    return network


globals().update({name: _layer(name, getattr(layers, name)) for name in layers.__all__})
globals().update({name: _sandwich(name, getattr(layer_utils, name))
                  for name in layer_utils.__all__ if name not in layers.__all__})
globals().update({name: _network(name, getattr(fc_net if module == "fc_net" else cnn, name))
                  for name, module in using.NETWORKS.items()})
