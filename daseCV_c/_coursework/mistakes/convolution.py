"""Mistakes of the convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from daseCV_c import reference as layers
from daseCV_c._coursework.mistakes import Book, Mistake

BOOK = Book()

_OUT = "out[f, i, j] = sum over c, h, w of x[c, i stride + h, j stride + w] w[f, c, h, w] + b[f], x padded"


def _forward(how: str) -> Callable[..., Any]:
    def conv(x: Any, w: Any, b: Any, conv_param: Any) -> Any:
        pad, stride = conv_param["pad"], conv_param["stride"]
        (n, c, height, width), (f, _, hh, ww) = x.shape, w.shape
        down = across = stride
        if how == "stride-rows-only":
            across = 1
        elif how == "stride-columns-only":
            down = 1
        elif how == "stride-ignored":
            down = across = 1
        mode: Any = "edge" if how == "pad-edge" else "constant"
        rows = 0 if how == "pad-columns-only" else pad
        columns = 0 if how == "pad-rows-only" else pad
        padded = np.pad(x, ((0, 0), (0, 0), (rows, rows), (columns, columns)), mode) if how != "no-pad" else x
        if how == "flipped":
            w = w[:, :, ::-1, ::-1]
        out_h, out_w = ((height if how == "no-pad" else height + 2 * rows) - hh) // down + 1, (
            (width if how == "no-pad" else width + 2 * columns) - ww) // across + 1
        if how in ("stride-rows-only", "stride-columns-only", "stride-ignored"):
            # The size of the result is right, the windows are not.
            out_h, out_w = (height + 2 * pad - hh) // stride + 1, (width + 2 * pad - ww) // stride + 1
        out = np.zeros((n, f, out_h, out_w))
        for i in range(out_h):
            for j in range(out_w):
                window = padded[:, None, :, i * down:i * down + hh, j * across:j * across + ww]
                if how == "one-channel":
                    out[:, :, i, j] = (window * w)[:, :, 0].sum(axis=(2, 3))
                elif how == "mean":
                    out[:, :, i, j] = (window * w).mean(axis=(2, 3, 4))
                else:
                    out[:, :, i, j] = (window * w).sum(axis=(2, 3, 4))
        if how != "no-bias":
            out += (b * c if how == "bias-per-channel" else b)[:, None, None]
        return out, (x, w, b, conv_param)
    return conv


def _add(name: str, says: str, breaks: str, how: str) -> None:
    BOOK.mistakes.append(Mistake(name, ("conv_forward_naive",), says, breaks, lambda of: {of: _forward(how)}))


_add("conv-no-bias", "The bias is missing.", _OUT, "no-bias")
_add("conv-flipped", "The filter is turned round. The course's convolution does not turn it.", _OUT, "flipped")
_add("conv-stride-rows-only", "stride moves the window down, but not to the right.", _OUT, "stride-rows-only")
_add("conv-stride-columns-only", "stride moves the window to the right, but not down.", _OUT, "stride-columns-only")
_add("conv-stride-ignored", "The window moves by one, whatever stride says.", _OUT, "stride-ignored")
_add("conv-no-pad", "The images are not padded.", "x is padded by pad zeros on each side, before all else", "no-pad")
_add("conv-pad-rows-only", "Only above and below are zeros.", "x is padded by pad zeros on each side", "pad-rows-only")
_add("conv-pad-columns-only", "Only left and right are zeros.", "x is padded by pad zeros on each side",
     "pad-columns-only")
_add("conv-pad-not-zeros", "The padding repeats the border.", "x is padded by pad zeros on each side", "pad-edge")
_add("conv-one-channel", "Only the first channel is used.", _OUT, "one-channel")
_add("conv-bias-per-channel", "The bias is added once for each channel.", _OUT, "bias-per-channel")
_add("conv-mean", "The products are averaged, not summed.", _OUT, "mean")


def _backward(how: str) -> Callable[..., Any]:
    def conv_back(dout: Any, cache: Any) -> Any:
        x, w, b, conv_param = cache
        pad, stride = conv_param["pad"], conv_param["stride"]
        (n, _, height, width), (f, _, hh, ww) = x.shape, w.shape
        padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        dpadded, dw = np.zeros_like(padded), np.zeros_like(w)
        across = 1 if how == "stride-rows-only" else stride
        down = 1 if how == "stride-columns-only" else stride
        used = w[:, :, ::-1, ::-1] if how == "dx-flipped" else w
        for k in range(n):
            for g in range(f):
                for i in range(dout.shape[2]):
                    for j in range(dout.shape[3]):
                        rows, columns = slice(i * down, i * down + hh), slice(j * across, j * across + ww)
                        came = dout[k, g, i, j]
                        if how == "dx-assigned":
                            dpadded[k, :, rows, columns] = used[g] * came
                        else:
                            dpadded[k, :, rows, columns] += used[g] * came
                        if how == "dw-assigned":
                            dw[g] = padded[k, :, rows, columns] * came
                        else:
                            dw[g] += padded[k, :, rows, columns] * came
        db = dout.sum(axis=(0, 2, 3))
        if how == "db-batch-only":
            db = dout.sum(axis=0)
        if how == "db-mean":
            db = db / n
        if how == "dw-mean":
            dw = dw / n
        if how == "gradients-mean":
            dw, db = dw / n, db / n
        if how == "dx-padded":
            return dpadded, dw, db
        if how == "dx-sliced-by-minus-pad":
            return dpadded[:, :, pad:-pad, pad:-pad], dw, db
        if how == "dx-corner":
            return dpadded[:, :, :height, :width], dw, db
        return dpadded[:, :, pad:pad + height, pad:pad + width], dw, db
    return conv_back


def _back(name: str, says: str, breaks: str, how: str) -> None:
    BOOK.mistakes.append(Mistake(name, ("conv_backward_naive",), says, breaks, lambda of: {of: _backward(how)}))


_EVERY = "a pixel is in several windows: dL/dx has a term from each"
_back("conv-padding-not-removed", "dx still has the padding.", "dL/dx has the shape of x: the zeros are no inputs",
      "dx-padded")
_back("conv-padding-removed-at-one-side", "The padding is taken away at the end only.",
      "pixel (i, j) of x is pixel (i + pad, j + pad) of the padded one", "dx-corner")
_back("conv-padding-removed-by-minus-pad", "Without padding dx is empty: [pad:-pad] is [0:0] where pad is 0.",
      "dL/dx has the shape of x, also for pad = 0", "dx-sliced-by-minus-pad")
_back("conv-dx-assigned", "Where windows overlap, the last one overwrites the gradient of those before.", _EVERY,
      "dx-assigned")
_back("conv-dw-assigned", "dw holds the last window only.",
      "a weight is in every output of its filter: dL/dw has a term from each", "dw-assigned")
_back("conv-dx-flipped", "In dx the filter is turned round.",
      "dL/dx = sum of dL/dout dout/dx, and dout/dx is the weight that met x",
      "dx-flipped")
_back("conv-backward-stride-rows-only", "In the backward pass stride moves the window down only.", _OUT,
      "stride-rows-only")
_back("conv-backward-stride-columns-only", "In the backward pass stride moves the window to the right only.", _OUT,
      "stride-columns-only")
_back("conv-db-not-summed", "db is summed over the samples only.", "b[f] is in every pixel of out[:, f]",
      "db-batch-only")
_back("conv-db-mean", "db is averaged over the batch.",
      "b[f] is in every sample: a 1/N of the loss is in dout already", "db-mean")
_back("conv-dw-mean", "dw is averaged over the batch.", "w is in every sample: a 1/N of the loss is in dout already",
      "dw-mean")
_back("conv-gradients-mean", "dw and db are averaged over the batch.",
      "w and b are in every sample: a 1/N of the loss is in dout already", "gradients-mean")


@BOOK.wrong("conv-gradients-of-other-input", "conv_backward_naive",
            "dw is made with the images before they are padded.",
            "dL/dw = sum of dL/dout times the pixel that met w, which may be a zero of the padding")
def _(dout: Any, cache: Any) -> Any:
    x, w, b, conv_param = cache
    dx, _, db = layers.conv_backward_fast(dout, cache)
    dw, stride = np.zeros_like(w), conv_param["stride"]
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            window = x[:, :, i * stride:i * stride + w.shape[2], j * stride:j * stride + w.shape[3]]
            full = np.zeros((*x.shape[:2], *w.shape[2:]))
            full[:, :, :window.shape[2], :window.shape[3]] = window
            dw += np.tensordot(dout[:, :, i, j], full, axes=(0, 0))
    return dx, dw, db
