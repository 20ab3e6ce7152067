"""Which functions a network computes with: the package's own, or those that somebody has put in their place.

``layers.affine_forward = mine`` counts for every network, ``fc_net.affine_forward = mine`` for those of that module.
A module may be taken whole (`prefer`), all but its ``_naive`` functions: the networks of the course call the fast ones.
A sandwich is replaced by its name, or is put together from its parts as soon as one of them was replaced. The kernels
of whole steps know nothing of such functions and are passed by.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

from daseCV_c._layers import activation, affine, conv, dropout, losses, normalization, pool, sandwich, spatial

Function = Callable[..., Any]

_PARTS = {
    "affine_relu": ("affine", "relu"),
    "affine_bn_relu": ("affine", "batchnorm", "relu"),
    "affine_ln_relu": ("affine", "layernorm", "relu"),
    "conv_relu": ("conv", "relu"),
    "conv_bn_relu": ("conv", "spatial_batchnorm", "relu"),
    "conv_relu_pool": ("conv", "relu", "max_pool"),
}
# Under which names a layer may have been replaced, where these are more than one: the first one counts.
_SPELLINGS = {
    "batchnorm_backward": ("batchnorm_backward", "batchnorm_backward_alt"),
    **{f"{kind}_{way}": (f"{kind}_{way}_fast", f"{kind}_{way}_naive")
       for kind in ("conv", "max_pool") for way in ("forward", "backward")},
}
_OURS: dict[str, Function] = {
    name: value for module in (activation, affine, conv, dropout, losses, normalization, pool, sandwich, spatial)
    for name, value in vars(module).items()
    if callable(value) and getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
}
# What is taken of a whole module. A student's loops over pixels are there to be compared, and would train for hours.
_TAKEN = tuple(name for name in _OURS if not name.endswith("_naive"))
# What the networks call while a function is not replaced. The backward ones can leave out the gradient of x.
_FAST: dict[str, Function] = {
    name: value for module in (sandwich, affine) for name in _OURS
    if (value := vars(module).get(f"_{name}")) is not None
}
_FAST |= {
    "conv_forward": conv.conv_forward_fast, "conv_backward": conv._conv_backward,
    "max_pool_forward": pool.max_pool_forward_fast, "max_pool_backward": pool.max_pool_backward_fast,
    "batchnorm_backward": normalization.batchnorm_backward_alt,
}


class _Watched(ModuleType):
    """A module that counts how often one of its names got another value, so that a step need not look at each."""

    changes = 0  # of the class: one number for all the modules

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        _Watched.changes += 1

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        _Watched.changes += 1


def _is_ours(name: str, found: object) -> bool:
    ours = _OURS[name]
    # A module that was loaded again has new functions of the old names.
    return found is ours or (getattr(found, "__module__", None) == ours.__module__
                             and getattr(found, "__qualname__", None) == ours.__qualname__)


_preferred: list[ModuleType] = []  # what belongs to a folder of a course, the first one first


def prefer(module: ModuleType) -> list[str]:
    """Take the layers that a module defines in place of ours, not what it imports from us; the names of those taken."""
    if module in _preferred:
        return []
    _preferred.append(module)
    return sorted(name for name, _ in _others(vars(module), _TAKEN))


def _others(space: dict[str, Any], names: Iterable[str] = tuple(_OURS)) -> Iterator[tuple[str, Function]]:
    """(name, function) of what is not ours, under the names of ours."""
    for name in names:
        found = space.get(name)
        if found is not None and not _is_ours(name, found):
            yield name, found


class Chosen:
    """The functions of the networks of one module.

    Parameters
    ----------
    *modules : str
        Names of the modules to look in, the first one first.
    """

    def __init__(self, *modules: str) -> None:
        self._spaces = []
        for name in modules:
            module = sys.modules[name]
            module.__class__ = _Watched
            self._spaces.append((vars(module), [n for n in _OURS if n in vars(module)]))
        self.look()

    def look(self) -> None:
        """Notice also what was put into a module by other ways than as its attribute."""
        self._seen = _Watched.changes
        self._found = any(True for _ in self._replaced())

    def _replaced(self) -> Iterator[tuple[str, Function]]:
        """(name, function) of all that was put in the place of ours."""
        for i, (space, names) in enumerate(self._spaces):
            yield from _others(space, names)
            if i == 0:
                for module in _preferred:
                    yield from _others(vars(module), _TAKEN)

    def changed(self) -> bool:
        """Whether a function was replaced: then the layers compute, one by one."""
        # Modules of a folder may be loaded again, and say nothing of it.
        if self._seen != _Watched.changes or _preferred:
            self.look()
        return self._found

    def replaced(self) -> dict[str, Function]:
        """The functions in use that are not the package's, by their names."""
        found: dict[str, Function] = {}
        for name, function in self._replaced():
            found.setdefault(name, function)
        return found

    def forward(self, kind: str) -> Function:
        return self._pick(kind, "forward") if self.changed() else _fast(f"{kind}_forward")

    def backward(self, kind: str) -> Function:
        """Takes `need_dx` as well, which a function of somebody else's is not told."""
        return self._pick(kind, "backward") if self.changed() else _fast(f"{kind}_backward")

    def loss(self) -> Function:
        return self.replaced().get("softmax_loss", losses.softmax_loss) if self.changed() else losses.softmax_loss

    def _pick(self, kind: str, way: str) -> Function:
        replaced = self.replaced()

        def theirs(layer: str, direction: str) -> Function | None:
            name = f"{layer}_{direction}"
            return next((replaced[n] for n in _SPELLINGS.get(name, (name,)) if n in replaced), None)

        def one(layer: str) -> Function:
            function = theirs(layer, way)
            if function is None:
                return _fast(f"{layer}_{way}")
            return _without_need(function) if way == "backward" else function

        parts = _PARTS.get(kind, ())
        if theirs(kind, way) is None and any(theirs(p, d) for p in parts for d in ("forward", "backward")):
            return functools.partial(_forward if way == "forward" else _backward, [one(p) for p in parts])
        return one(kind)


def _fast(name: str) -> Function:
    function = _FAST.get(name) or _OURS[name]
    return function if "backward" not in name or name in _WITH_NEED else _without_need(function)


_WITH_NEED = {name for name, function in _FAST.items() if "need_dx" in function.__code__.co_varnames}


def _without_need(function: Function) -> Function:
    @functools.wraps(function)
    def backward(dout: Any, cache: Any, need_dx: bool = True) -> Any:
        return function(dout, cache)
    return backward


def _forward(parts: list[Function], x: Any, w: Any, b: Any, *more: Any) -> tuple[Any, Any]:
    """A sandwich of three arguments and more: of a normalization (gamma, beta, param), of convolution and pooling."""
    layer, *between, last = parts
    caches = []
    arguments: list[tuple[Any, ...]]
    if len(more) == 1:  # conv_param
        arguments = [(w, b, *more), ()]
    elif len(more) == 2:
        conv_param, pool_param = more
        arguments = [(w, b, conv_param), (), (pool_param,)]
    elif len(more) == 4:
        gamma, beta, conv_param, bn_param = more
        arguments = [(w, b, conv_param), (gamma, beta, bn_param), ()]
    else:
        arguments = [(w, b), *([more] if between else []), ()]
    for function, its in zip((layer, *between, last), arguments, strict=True):
        x, cache = function(x, *its)
        caches.append(cache)
    return x, tuple(caches)


def _backward(parts: list[Function], dout: Any, cache: Any, need_dx: bool = True) -> tuple[Any, ...]:
    layer, *rest = parts
    layer_cache, *caches = cache
    found: tuple[Any, ...] = ()
    for function, its in zip(reversed(rest), reversed(caches), strict=True):
        dout = function(dout, its)
        if isinstance(dout, tuple):  # of a normalization: with dgamma and dbeta
            dout, *found = dout  # type: ignore[assignment]
    return (*layer(dout, layer_cache, need_dx), *found)
