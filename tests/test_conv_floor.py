"""Convolutions whose stride leaves pixels over: as many windows as fit whole, and no gradient beyond the last."""

import itertools

import numpy as np
import pytest
from adversarial import small_integers
from comparing import same_values

from daseCV_c import layer_utils
from daseCV_c.fast_layers import conv_backward_fast, conv_forward_fast
from daseCV_c.im2col import col2im_indices, im2col_indices
from daseCV_c.im2col_cython import col2im_6d_cython, col2im_cython, im2col_cython
from daseCV_c.layers import conv_backward_naive, conv_forward_naive, relu_forward

# (N, C, H, W), (F, HH, WW), stride, pad. The first is the course's 3 x 3 filter with stride 2 on an even side.
NAMED = [
    ((2, 3, 32, 32), (4, 3, 3), 2, 1), ((3, 2, 8, 7), (2, 3, 3), 2, 1), ((1, 2, 6, 300), (3, 2, 5), 3, 0),
    ((2, 20, 9, 66), (14, 3, 2), 2, 1), ((1, 1, 5, 5), (1, 2, 2), 7, 0), ((1, 2, 4, 4), (3, 2, 2), 2**30, 1),
    ((2, 2, 34, 18), (3, 1, 1), 4, 0),
]
SWEPT = [
    ((2, 2, H, W), (3, HH, WW), stride, pad)
    for H, W, HH, WW, stride, pad in itertools.product(
        (4, 5, 6, 10), (5, 7, 8), (1, 2, 3), (1, 3), (2, 3, 5), (0, 1, 2))
    if (H + 2 * pad - HH) % stride or (W + 2 * pad - WW) % stride
]


def windows(shape, filters, stride, pad):
    """(row, column, first padded row, first padded column) of every window that fits whole."""
    (_, _, H, W), (_, HH, WW) = shape, filters
    rows = [y for y in range(0, H + 2 * pad, stride) if y + HH <= H + 2 * pad]
    cols = [x for x in range(0, W + 2 * pad, stride) if x + WW <= W + 2 * pad]
    return len(rows), len(cols), [(i, j, y, x) for i, y in enumerate(rows) for j, x in enumerate(cols)]


def slowly(shape, filters, stride, pad, dtype):
    """Small integers as x, w, b, dout, and out, dx, dw, db by a loop over windows: exact in either type."""
    (N, C, H, W), (F, HH, WW) = shape, filters
    out_h, out_w, places = windows(shape, filters, stride, pad)
    x, w = small_integers("x", N, C, H, W, dtype=dtype), small_integers("w", F, C, HH, WW, dtype=dtype)
    b, dout = small_integers("b", F, dtype=dtype), small_integers("dout", N, F, out_h, out_w, dtype=dtype)
    padded = np.zeros((N, C, H + 2 * pad, W + 2 * pad), dtype)
    padded[:, :, pad:pad + H, pad:pad + W] = x
    out, dpadded, dw = np.empty_like(dout), np.zeros_like(padded), np.zeros_like(w)
    for i, j, y, left in places:
        window = (slice(None), slice(None), slice(y, y + HH), slice(left, left + WW))
        out[:, :, i, j] = np.einsum("nchw,fchw->nf", padded[window], w) + b
        dpadded[window] += np.einsum("nf,fchw->nchw", dout[:, :, i, j], w)
        dw += np.einsum("nf,nchw->fchw", dout[:, :, i, j], padded[window])
    return (x, w, b, dout), (out, dpadded[:, :, pad:pad + H, pad:pad + W].copy(), dw, dout.sum(axis=(0, 2, 3)))


@pytest.mark.parametrize("geometries", [*([g] for g in NAMED), SWEPT],
                         ids=lambda gs: str(gs[0]) if len(gs) == 1 else "swept")
@pytest.mark.parametrize(("forward", "backward"), [
    (conv_forward_naive, conv_backward_naive), (conv_forward_fast, conv_backward_fast)], ids=["naive", "fast"])
def test_against_a_loop_over_windows(backend, dtype, forward, backward, geometries):
    for shape, filters, stride, pad in geometries:
        (x, w, b, dout), expected = slowly(shape, filters, stride, pad, dtype)
        out, cache = forward(x, w, b, {"stride": stride, "pad": pad})
        for found, wanted in zip((out, *backward(dout, cache)), expected, strict=True):
            same_values(found, wanted)


@pytest.mark.parametrize(("shape", "filters", "stride", "pad"), NAMED, ids=str)
def test_columns(backend, dtype, shape, filters, stride, pad):
    """im2col takes the windows of the convolution, and col2im adds into them and nowhere else."""
    (N, C, H, W), (_, HH, WW) = shape, filters
    (x, w, b, dout), (out, dx, _, _) = slowly(shape, filters, stride, pad, dtype)
    for columns in (im2col_indices, im2col_cython):
        product = w.reshape(len(w), -1) @ columns(x, HH, WW, pad, stride) + b[:, None]
        same_values(product.reshape(len(w), *out.shape[2:], N).transpose(3, 0, 1, 2).copy(), out)
    by_tap = w.reshape(len(w), -1).T @ dout.transpose(1, 2, 3, 0).reshape(len(w), -1)
    six = by_tap.reshape(C, HH, WW, *out.shape[2:], N).transpose(0, 1, 2, 5, 3, 4)
    same_values(col2im_indices(by_tap, x.shape, HH, WW, pad, stride), dx)
    same_values(col2im_cython(by_tap, N, C, H, W, HH, WW, pad, stride), dx)
    same_values(col2im_6d_cython(six, N, C, H, W, HH, WW, pad, stride), dx)


def test_sandwiches(backend, dtype):
    (x, w, b, _), _ = slowly((2, 3, 8, 10), (4, 3, 3), 2, 1, dtype)
    param, pool = {"stride": 2, "pad": 1}, {"pool_height": 2, "pool_width": 2, "stride": 2}
    plain, cache = conv_forward_fast(x, w, b, param)
    out, mixed = layer_utils.conv_relu_forward(x, w, b, param)
    same_values(out, relu_forward(plain)[0])
    for found, wanted in zip(layer_utils.conv_relu_backward(out, mixed), conv_backward_fast(out, cache), strict=True):
        same_values(found, wanted)
    pooled, mixed = layer_utils.conv_relu_pool_forward(x, w, b, param, pool)
    assert pooled.shape == (2, 4, 2, 2)
    dx = layer_utils.conv_relu_pool_backward(np.ones_like(pooled), mixed)[0]
    assert dx.shape == x.shape and dx.any()
    gamma, beta = np.ones(4, dtype), np.zeros(4, dtype)
    out, mixed = layer_utils.conv_bn_relu_forward(x, w, b, gamma, beta, param, {"mode": "train"})
    assert out.shape == plain.shape
    assert layer_utils.conv_bn_relu_backward(out, mixed)[0].shape == x.shape
