"""Mistakes of the losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from daseCV_c import reference as layers
from daseCV_c._coursework.mistakes import Book, Mistake

BOOK = Book()
wrong = BOOK.wrong

_MEAN = "L = (1/N) sum over n of L_n"


def _both(name: str, says: str, breaks: str, change: Callable[[Any, Any, int], Any]) -> None:
    """A mistake that either loss may have: what becomes of the right loss and dx."""
    def make(function: str) -> dict[str, Any]:
        def loss(x: Any, y: Any) -> Any:
            value, dx = getattr(layers, function)(x, y)
            return change(value, dx, len(y))
        return {function: loss}
    BOOK.mistakes.append(Mistake(name, ("softmax_loss", "svm_loss"), says, breaks, make))


_both("loss-summed", "The loss is summed over the batch, not averaged.", _MEAN, lambda value, dx, n: (value * n, dx))
_both("loss-gradient-summed", "The loss is averaged, its gradient is not.", f"{_MEAN}: 1/N is in dL/dx too",
      lambda value, dx, n: (value, dx * n))
_both("loss-and-gradient-summed", "Loss and gradient are summed over the batch, not averaged.", _MEAN,
      lambda value, dx, n: (value * n, dx * n))
_both("loss-gradient-averaged-twice", "The gradient is divided by the number of samples twice.", _MEAN,
      lambda value, dx, n: (value, dx / n))
_both("loss-averaged-twice", "The loss is divided by the number of samples twice.", _MEAN, lambda value, dx,
      n: (value / n, dx))
_both("loss-sign", "The loss has the wrong sign.", "L_n is never negative", lambda value, dx, n: (-value, dx))
_both("loss-gradient-sign", "The gradient has the wrong sign.", "dL/dx of the right class is negative",
      lambda value, dx, n: (value, -dx))
_both("loss-per-class", "The mean is taken over the classes as well.", _MEAN,
      lambda value, dx, n: (value / dx.shape[1], dx))


def _softmax(x: Any) -> tuple[Any, Any]:
    exp = np.exp(x - x.max(axis=1, keepdims=True))
    return exp, exp / exp.sum(axis=1, keepdims=True)


@wrong("softmax-no-shift", "softmax_loss", "Large scores overflow: exp is taken of scores that were not shifted.",
       "softmax(x) = softmax(x - c) for any c: which one keeps exp small?")
def _(x: Any, y: Any) -> Any:
    exp = np.exp(np.asarray(x))
    p = exp / exp.sum(axis=1, keepdims=True)
    dx = p.copy()
    dx[np.arange(len(y)), y] -= 1
    return -np.mean(np.log(p[np.arange(len(y)), y])), dx / len(y)


@wrong("softmax-gradient-no-one", "softmax_loss", "In dx nothing is different at the right class.",
       "dL/dx_j = sum_k of p_k-terms minus [j = y]: which term comes from -x_y?")
def _(x: Any, y: Any) -> Any:
    return layers.softmax_loss(x, y)[0], _softmax(x)[1] / len(y)


@wrong("softmax-over-batch", "softmax_loss", "exp is normalized over the samples, not over the classes.",
       "p_nj = exp(x_nj) / sum over j of exp(x_nj)")
def _(x: Any, y: Any) -> Any:
    exp = np.exp(x - x.max(axis=1, keepdims=True))
    p = exp / exp.sum(axis=0)
    dx = p.copy()
    dx[np.arange(len(y)), y] -= 1
    return -np.mean(np.log(p[np.arange(len(y)), y])), dx / len(y)


@wrong("softmax-base-ten", "softmax_loss", "The logarithm has base 10.", "L_n = -ln p_ny")
def _(x: Any, y: Any) -> Any:
    value, dx = layers.softmax_loss(x, y)
    return value / np.log(10), dx


@wrong("softmax-base-two", "softmax_loss", "The logarithm has base 2.", "L_n = -ln p_ny")
def _(x: Any, y: Any) -> Any:
    value, dx = layers.softmax_loss(x, y)
    return value / np.log(2), dx


@wrong("softmax-no-log", "softmax_loss", "The logarithm is missing.", "L_n = -ln p_ny")
def _(x: Any, y: Any) -> Any:
    return -np.mean(_softmax(x)[1][np.arange(len(y)), y]), layers.softmax_loss(x, y)[1]


@wrong("softmax-score-only", "softmax_loss", "The loss lacks the sum over the classes.",
       "L_n = -x_ny + ln of sum over j of exp(x_nj)")
def _(x: Any, y: Any) -> Any:
    shifted = x - x.max(axis=1, keepdims=True)
    return -np.mean(shifted[np.arange(len(y)), y]), layers.softmax_loss(x, y)[1]


_HINGE = "L_n = sum over j != y of max(0, x_j - x_y + 1)"


def _margins(x: Any, y: Any, delta: float = 1.0) -> Any:
    margins = np.maximum(0, x - x[np.arange(len(y)), y][:, None] + delta)
    margins[np.arange(len(y)), y] = 0
    return margins


def _hinge_gradient(margins: Any, y: Any) -> Any:
    dx = (margins > 0).astype(float)
    dx[np.arange(len(y)), y] -= dx.sum(axis=1)
    return dx / len(y)


@wrong("svm-right-class-counted", "svm_loss",
       "The margin of the right class is in the sum: the loss is too large by 1.", _HINGE)
def _(x: Any, y: Any) -> Any:
    value, dx = layers.svm_loss(x, y)
    return value + 1, dx


@wrong("svm-right-class-counted-in-gradient", "svm_loss",
       "The right class counts itself among those beyond the margin.", _HINGE)
def _(x: Any, y: Any) -> Any:
    value, dx = layers.svm_loss(x, y)
    dx[np.arange(len(y)), y] -= 1 / len(y)
    return value, dx


@wrong("svm-gradient-no-right-class", "svm_loss", "In dx the right class has no gradient.",
       f"{_HINGE}: x_y is in each of its terms")
def _(x: Any, y: Any) -> Any:
    return layers.svm_loss(x, y)[0], (_margins(x, y) > 0) / len(y)


@wrong("svm-gradient-right-class-once", "svm_loss", "In dx the right class counts one margin only.",
       f"{_HINGE}: x_y is in each of its terms")
def _(x: Any, y: Any) -> Any:
    dx = (_margins(x, y) > 0).astype(float)
    dx[np.arange(len(y)), y] = -1
    return layers.svm_loss(x, y)[0], dx / len(y)


@wrong("svm-no-margin", "svm_loss", "The margin of 1 is missing.", _HINGE)
def _(x: Any, y: Any) -> Any:
    margins = _margins(x, y, 0.0)
    return margins.sum() / len(y), _hinge_gradient(margins, y)


@wrong("svm-margin-subtracted", "svm_loss", "The margin of 1 has the wrong sign.", _HINGE)
def _(x: Any, y: Any) -> Any:
    margins = _margins(x, y, -1.0)
    return margins.sum() / len(y), _hinge_gradient(margins, y)


@wrong("svm-squared", "svm_loss", "The margins are squared.", _HINGE)
def _(x: Any, y: Any) -> Any:
    margins = _margins(x, y)
    dx = 2 * margins
    dx[np.arange(len(y)), y] -= dx.sum(axis=1)
    return (margins**2).sum() / len(y), dx / len(y)


@wrong("svm-not-cut", "svm_loss", "Negative margins are in the sum.", _HINGE)
def _(x: Any, y: Any) -> Any:
    margins = x - x[np.arange(len(y)), y][:, None] + 1
    margins[np.arange(len(y)), y] = 0
    dx = np.ones(x.shape)
    dx[np.arange(len(y)), y] = 1 - x.shape[1]
    return margins.sum() / len(y), dx / len(y)


@wrong("svm-not-cut-in-loss", "svm_loss", "In the loss negative margins are in the sum.", _HINGE)
def _(x: Any, y: Any) -> Any:
    margins = x - x[np.arange(len(y)), y][:, None] + 1
    margins[np.arange(len(y)), y] = 0
    return margins.sum() / len(y), layers.svm_loss(x, y)[1]
