"""Mistakes of max pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from daseCV_c._coursework.mistakes import Book, Mistake

BOOK = Book()

_OUT = "out[i, j] = max over h, w of x[i stride + h, j stride + w], h < pool_height, w < pool_width"


def _size(x: Any, height: int, width: int, down: int, across: int) -> tuple[int, int]:
    return (x.shape[2] - height) // down + 1, (x.shape[3] - width) // across + 1


def _forward(how: str) -> Callable[..., Any]:
    def pool(x: Any, pool_param: Any) -> Any:
        height, width, stride = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
        if how == "swapped":
            height, width = width, height
        down, across = {"stride-rows-only": (stride, 1), "stride-columns-only": (1, stride), "stride-ignored": (1, 1),
                        "stride-is-size": (height, width)}.get(how, (stride, stride))
        sizes = (height, width) if how in ("stride-is-size", "count-by-size") else (stride, stride)
        out_h, out_w = _size(x, height, width, *sizes)
        choose: Any = {"mean": np.mean, "min": np.min, "sum": np.sum}.get(how, np.max)
        out = np.zeros((*x.shape[:2], out_h, out_w))
        for i in range(out_h):
            for j in range(out_w):
                window = x[:, :, i * down:i * down + height, j * across:j * across + width]
                top = choose(window, axis=(2, 3))
                if how == "over-channels":
                    top = np.broadcast_to(np.max(window, axis=(1, 2, 3))[:, None], top.shape)
                out[:, :, i, j] = np.maximum(top, 0) if how == "never-negative" else top
        return out, (x, pool_param)
    return pool


def _add(name: str, says: str, how: str, breaks: str = _OUT) -> None:
    BOOK.mistakes.append(Mistake(name, ("max_pool_forward_naive",), says, breaks, lambda of: {of: _forward(how)}))


_add("pool-mean", "The windows are averaged: this is average pooling.", "mean")
_add("pool-min", "The smallest number of each window is taken.", "min")
_add("pool-sum", "The windows are summed.", "sum")
_add("pool-stride-rows-only", "stride moves the window down, but not to the right.", "stride-rows-only")
_add("pool-stride-columns-only", "stride moves the window to the right, but not down.", "stride-columns-only")
_add("pool-stride-ignored", "The window moves by one, whatever stride says.", "stride-ignored")
_add("pool-stride-is-size", "The window moves by its own size, whatever stride says.", "stride-is-size")
_add("pool-count-by-size", "There are as many windows as fit beside each other, whatever stride says.", "count-by-size",
     "H' = 1 + (H - pool_height) / stride, W' = 1 + (W - pool_width) / stride")
_add("pool-height-width-swapped", "pool_height and pool_width have changed places.", "swapped")
_add("pool-over-channels", "The maximum is taken over the channels as well.", "over-channels",
     "every channel is pooled by itself")
_add("pool-never-negative", "Windows without a positive number give 0: the maximum starts at 0.", "never-negative")


def _backward(how: str) -> Callable[..., Any]:
    def pool_back(dout: Any, cache: Any) -> Any:
        x, pool_param = cache
        height, width, stride = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
        down = 1 if how == "stride-columns-only" else height if how == "stride-is-size" else stride
        across = 1 if how == "stride-rows-only" else width if how == "stride-is-size" else stride
        dx = np.zeros(x.shape)
        for n, c, i, j in np.ndindex(*dout.shape):
            window = x[n, c, i * down:i * down + height, j * across:j * across + width]
            part = dx[n, c, i * down:i * down + height, j * across:j * across + width]
            came = dout[n, c, i, j]
            mask = np.arange(window.size).reshape(window.shape) == (np.argmax(window) if window.size else -1)
            if how == "assigned":
                part[mask] = came
            elif how == "window-assigned":
                part[...] = mask * came
            elif how == "everywhere":
                part += came
            elif how == "spread":
                part += came / window.size
            elif how == "times-x":
                part += mask * came * window
            elif how == "mask-alone":
                part += mask
            elif how == "not-placed":
                part[0, 0] += came
            else:
                part += mask * came
        return dx
    return pool_back


def _back(name: str, says: str, how: str, breaks: str) -> None:
    BOOK.mistakes.append(Mistake(name, ("max_pool_backward_naive",), says, breaks, lambda of: {of: _backward(how)}))


_MAX = "dout/dx = 1 at the maximum of the window, 0 beside it"
_back("pool-overlap-assigned", "Where windows overlap, the last one overwrites the gradient of those before.",
      "assigned",
      "a pixel may be the maximum of several windows: dL/dx has a term from each")
_back("pool-overlap-window-assigned", "Each window overwrites all of its part of dx, also what others have put there.",
      "window-assigned", "a pixel may be in several windows: dL/dx has a term from each")
_back("pool-gradient-everywhere", "The gradient goes to every number of the window.", "everywhere", _MAX)
_back("pool-gradient-spread", "The gradient is shared out evenly over the window: this is average pooling.", "spread",
      _MAX)
_back("pool-gradient-times-x", "The gradient is multiplied by the maximum itself.", "times-x", _MAX)
_back("pool-gradient-mask-alone", "dx is the mask alone: what comes from above is missing.", "mask-alone",
      "dL/dx = dL/dout dout/dx")
_back("pool-gradient-not-placed", "The gradient goes to the first number of the window, not to its maximum.",
      "not-placed", _MAX)
_back("pool-backward-stride-rows-only", "In the backward pass stride moves the window down only.", "stride-rows-only",
      _OUT)
_back("pool-backward-stride-columns-only", "In the backward pass stride moves the window to the right only.",
      "stride-columns-only", _OUT)
_back("pool-backward-stride-is-size", "In the backward pass the window moves by its own size.", "stride-is-size", _OUT)
BOOK.seen("pool-ties", "max_pool_backward_naive",
          "Where several numbers of a window are the largest, each of them gets the whole gradient: one of them, or "
          "shares of it, would do.",
          "out moves once when a window's maximum does: the shares of dout add up to dout")
