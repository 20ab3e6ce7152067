"""Mistakes of the layers that follow each other."""

from __future__ import annotations

from typing import Any

from daseCV_c import reference as layers
from daseCV_c._coursework.mistakes import Book, Mistake

BOOK = Book()

_AFFINE = {"affine_relu": None, "affine_bn_relu": layers.batchnorm_forward, "affine_ln_relu": layers.layernorm_forward}
_CONV = {"conv_relu": None, "conv_bn_relu": layers.spatial_batchnorm_forward, "conv_relu_pool": None}
_BACK = {"affine_bn_relu": layers.batchnorm_backward, "affine_ln_relu": layers.layernorm_backward,
         "conv_bn_relu": layers.spatial_batchnorm_backward}
_KINDS = (*_AFFINE, *_CONV)


def _ahead(kind: str, how: str) -> Any:
    """A forward pass that leaves something out, or changes the order."""
    norm: Any = _AFFINE.get(kind) or _CONV.get(kind)

    def forward(x: Any, w: Any, b: Any, *rest: Any) -> Any:
        left = list(rest)
        scale = [left.pop(0), left.pop(0)] if norm else []
        if kind in _AFFINE:
            out, _ = layers.affine_forward(x, w, b)
        else:
            out, _ = layers.conv_forward_fast(x, w, b, left.pop(0))
        if how == "relu-first":
            out, _ = layers.relu_forward(out)
        if norm and how != "no-norm":
            out, _ = norm(out, *scale, left.pop(0))
        if how == "pool-first":
            out, _ = layers.max_pool_forward_fast(out, left[0])
        if how not in ("relu-first", "no-relu"):
            out, _ = layers.relu_forward(out)
        if kind.endswith("pool") and how not in ("no-pool", "pool-first"):
            out, _ = layers.max_pool_forward_fast(out, left.pop(0))
        return out, None
    return forward


def _back(kind: str, how: str) -> Any:
    def backward(dout: Any, cache: Any) -> Any:
        first, *middle = cache
        relu = middle[0] if kind.endswith("pool") else middle[-1]
        if kind.endswith("pool"):
            dout = layers.max_pool_backward_fast(dout, middle[1])
        if how not in ("no-relu", "relu-last"):
            dout = layers.relu_backward(dout, relu)
        rest: tuple[Any, ...] = ()
        if kind in _BACK:
            dout, *found = _BACK[kind](dout, middle[0])
            rest = tuple(found)
        if how == "relu-last":
            dout = layers.relu_backward(dout, relu)
        last = layers.affine_backward if kind in _AFFINE else layers.conv_backward_fast
        whole = (*last(dout, first), *rest)
        return (*whole[:3], whole[4], whole[3]) if how == "swapped" else whole
    return backward


def _add(name: str, says: str, breaks: str, kinds: tuple[str, ...], way: str, how: str) -> None:
    build = _ahead if way == "forward" else _back
    BOOK.mistakes.append(Mistake(name, tuple(f"{kind}_{way}" for kind in kinds), says, breaks, lambda of: {
        of: build(of.rsplit("_", 1)[0], how)}))


_NORMED = tuple(kind for kind in _KINDS if kind in _BACK)
_ORDER = "the layers follow each other in the order of the function's name"
_CHAIN = "dL/dx = dL/dout dout/d... ... d.../dx: the layers in reverse, each with its own cache"
_add("sandwich-no-relu", "The ReLU is missing.", _ORDER, _KINDS, "forward", "no-relu")
_add("sandwich-no-norm", "The normalization is missing.", _ORDER, _NORMED, "forward", "no-norm")
_add("sandwich-relu-before-norm", "The ReLU comes before the normalization.", _ORDER, _NORMED, "forward", "relu-first")
_add("sandwich-no-pool", "The pooling is missing.", _ORDER, ("conv_relu_pool",), "forward", "no-pool")
_add("sandwich-backward-no-relu", "The backward pass leaves the ReLU out.", _CHAIN, _KINDS, "backward", "no-relu")
_add("sandwich-backward-order", "The backward pass takes the layers in the order of the forward pass.", _CHAIN, _NORMED,
     "backward", "relu-last")
_add("sandwich-dgamma-dbeta-swapped", "dgamma and dbeta have changed places.", "the order is dx, dw, db, dgamma, dbeta",
     _NORMED, "backward", "swapped")
