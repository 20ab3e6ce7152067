"""Mistakes of affine layers, ReLU and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from daseCV_c import reference as layers
from daseCV_c._coursework.mistakes import Book

BOOK = Book()
wrong = BOOK.wrong


def _rows(x: Any) -> Any:
    return np.asarray(x).reshape(len(x), -1)


@wrong("affine-weights-transposed", "affine_forward", "The weights are used transposed.",
       "out_nm = sum over d of x_nd w_dm + b_m: which index of w runs over the inputs?")
def _(x: Any, w: Any, b: Any) -> Any:
    return _rows(x) @ w.T + b, (x, w, b)


@wrong("affine-not-flattened", "affine_forward", "Images are not made into rows before they are multiplied.",
       "x of shape (N, d_1, ..., d_k) is N rows of D = d_1 ... d_k numbers")
def _(x: Any, w: Any, b: Any) -> Any:
    return x @ w + b, (x, w, b)


@wrong("affine-no-bias", "affine_forward", "The bias is missing.", "out = x w + b, for every sample")
def _(x: Any, w: Any, b: Any) -> Any:
    return _rows(x) @ w, (x, w, b)


@wrong("affine-flattened-otherwise", "affine_forward affine_backward",
       "Images are made into rows in another order than the weights expect: pixels of a sample get mixed up.",
       "row n holds sample n, its last index running fastest")
def _(*arguments: Any) -> Any:
    if len(arguments) == 3:
        x, w, b = arguments
        return x.reshape(len(x), -1, order="F") @ w + b, (x, w, b)
    dout, (x, w, _) = arguments
    return (dout @ w.T).reshape(x.shape), x.reshape(len(x), -1, order="F").T @ dout, dout.sum(axis=0)


@wrong("affine-samples-mixed", "affine_forward", "Numbers of different samples get into one row.",
       "row n holds sample n: the first axis of x stays the first")
def _(x: Any, w: Any, b: Any) -> Any:
    return x.reshape(-1, len(x)).T @ w + b, (x, w, b)


@wrong("affine-bias-subtracted", "affine_forward", "The bias has the wrong sign.", "out = x w + b")
def _(x: Any, w: Any, b: Any) -> Any:
    return _rows(x) @ w - b, (x, w, b)


BOOK.seen("affine-cache", "affine_forward",
          "The result is right, but the cache does not hold x as it came, whose shape the backward pass needs.",
          "cache = (x, w, b), x of shape (N, d_1, ..., d_k)")


def _affine_back(dout: Any, cache: Any) -> tuple[Any, Any, Any, Any, Any, Any]:
    x, w, b = cache
    return (*layers.affine_backward(dout, cache), x, w, b)


@wrong("affine-dx-not-reshaped", "affine_backward", "dx does not have the shape of x.",
       "dL/dx has one number for each number of x, in the same place")
def _(dout: Any, cache: Any) -> Any:
    dx, dw, db, x, _, _ = _affine_back(dout, cache)
    return _rows(dx), dw, db


@wrong("affine-db-mean", "affine_backward", "db is averaged over the batch.",
       "dL/db_m = sum over n of dL/dout_nm: a 1/N of the loss is in dout already")
def _(dout: Any, cache: Any) -> Any:
    dx, dw, db, *_ = _affine_back(dout, cache)
    return dx, dw, db / len(dout)


@wrong("affine-dw-mean", "affine_backward", "dw is averaged over the batch: the mean is taken twice.",
       "dL/dw = sum over n of dL/dout_n dout_n/dw: a 1/N of the loss is in dout already")
def _(dout: Any, cache: Any) -> Any:
    dx, dw, db, *_ = _affine_back(dout, cache)
    return dx, dw / len(dout), db


@wrong("affine-gradients-mean", "affine_backward", "dw and db are averaged over the batch: the mean is taken twice.",
       "dL/dw = sum over n of dL/dout_n dout_n/dw: a 1/N of the loss is in dout already")
def _(dout: Any, cache: Any) -> Any:
    dx, dw, db, *_ = _affine_back(dout, cache)
    return dx, dw / len(dout), db / len(dout)


@wrong("affine-dx-weights-not-transposed", "affine_backward", "In dx the weights are used as in the forward pass.",
       "dL/dx_nd = sum over m of dL/dout_nm dout_nm/dx_nd: which index of w is summed now?")
def _(dout: Any, cache: Any) -> Any:
    dx, dw, db, x, w, _ = _affine_back(dout, cache)
    return (dout @ w).reshape(x.shape), dw, db


@wrong("affine-dw-transposed", "affine_backward", "dw is transposed.", "dL/dw has the shape of w, (D, M)")
def _(dout: Any, cache: Any) -> Any:
    dx, dw, db, *_ = _affine_back(dout, cache)
    return dx, dw.T, db


@wrong("affine-db-not-summed", "affine_backward", "db is not summed over the samples.",
       "b_m is in the output of every sample: dL/db_m has a term from each")
def _(dout: Any, cache: Any) -> Any:
    dx, dw, _, *_ = _affine_back(dout, cache)
    return dx, dw, dout


@wrong("affine-db-wrong-axis", "affine_backward", "db is summed over the outputs, not over the samples.",
       "dL/db_m keeps the index m: which one goes?")
def _(dout: Any, cache: Any) -> Any:
    dx, dw, _, *_ = _affine_back(dout, cache)
    return dx, dw, dout.sum(axis=1)


@wrong("relu-absolute", "relu_forward", "Negative numbers come out positive.", "relu(x) = 0 where x < 0")
def _(x: Any) -> Any:
    return np.abs(x), x


@wrong("relu-reversed", "relu_forward", "Positive numbers are set to zero.", "relu(x) = x where x > 0")
def _(x: Any) -> Any:
    return np.minimum(x, 0), x


@wrong("relu-leaks", "relu_forward", "Negative numbers do not become zero: this is a leaky ReLU.",
       "relu(x) = 0 where x < 0")
def _(x: Any) -> Any:
    return np.where(x > 0, x, 0.01 * x), x


@wrong("relu-step", "relu_forward", "The result says where x is positive, not what it is there.",
       "relu(x) = x where x > 0")
def _(x: Any) -> Any:
    return (x > 0).astype(float), x


@wrong("relu-gradient-sign-of-dout", "relu_backward",
       "The mask is made of dout: of the output's gradient, not of the input.",
       "dout/dx = 1 where x > 0: the sign of x decides")
def _(dout: Any, x: Any) -> Any:
    return dout * (dout > 0)


@wrong("relu-gradient-no-mask", "relu_backward", "The gradient passes everywhere.", "dout/dx = 0 where x < 0")
def _(dout: Any, x: Any) -> Any:
    return np.array(dout)


@wrong("relu-gradient-times-x", "relu_backward", "The gradient is multiplied by x where x is positive.",
       "dout/dx = 1 where x > 0: the slope of a straight line")
def _(dout: Any, x: Any) -> Any:
    return dout * np.maximum(x, 0)


@wrong("relu-gradient-reversed", "relu_backward", "The gradient passes where x is negative.", "dout/dx = 0 where x < 0")
def _(dout: Any, x: Any) -> Any:
    return dout * (x < 0)


@wrong("relu-gradient-of-sum", "relu_backward", "dx is the mask alone: what comes from above is missing.",
       "dL/dx = dL/dout dout/dx")
def _(dout: Any, x: Any) -> Any:
    return (x > 0).astype(float)


_FORWARD, _BACKWARD = "dropout_forward", "dropout_backward"
BOOK.seen("dropout-p-is-drop", _FORWARD,
          "p is taken for the share of units that are dropped. In this course it is the share that is kept; "
          "the first editions of CS231n had it the other way.", "P(unit is kept) = p")
BOOK.seen("dropout-no-division", _FORWARD, "Units that are kept are not scaled, so the expectation shrinks.",
          "E[out] = x: with which factor does p * factor * x + (1 - p) * 0 give x?")
BOOK.seen("dropout-divided-by-drop", _FORWARD, "Units that are kept are divided by the share of those left out.",
          "E[out] = x: with which factor does p * factor * x + (1 - p) * 0 give x?")
BOOK.seen("dropout-multiplied", _FORWARD, "Units that are kept are made smaller, not larger.",
          "E[out] = x: with which factor does p * factor * x + (1 - p) * 0 give x?")
BOOK.seen("dropout-missing", _FORWARD, "No unit is left out in training.",
          "out = x mask, mask drawn for every number of x")
BOOK.seen("dropout-one-row", _FORWARD, "One mask serves a whole axis.", "every number of x has a chance of its own")
BOOK.seen("dropout-at-test", _FORWARD, "Units are left out in test mode.", "out = x in test mode")
BOOK.seen("dropout-scaled-at-test", _FORWARD,
          "out is scaled in test mode. With inverted dropout training does the scaling, and test does none.",
          "out = x in test mode")
BOOK.seen("dropout-backward-missing", _BACKWARD, "The gradient passes through units that were left out.",
          "dout/dx = mask: the same as in the forward pass")
BOOK.seen("dropout-backward-no-division", _BACKWARD, "The gradient lacks the scale of the units that were kept.",
          "dout/dx = mask, with its factor")
BOOK.seen("dropout-mask-not-kept", _BACKWARD,
          "Another mask is used than in the forward pass: it was not kept, but drawn again.",
          "dout/dx = mask: the same as in the forward pass")
BOOK.seen("dropout-backward-at-test", _BACKWARD, "A mask is used in test mode, where the forward pass has none.",
          "out = x in test mode, so dout/dx = 1")
