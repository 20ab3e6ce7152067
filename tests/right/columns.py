"""Convolution and pooling by columns."""

import numpy as np


def _columns(x, h, w, stride):
    N, C, H, W = x.shape
    rows, columns = (H - h) // stride + 1, (W - w) // stride + 1
    out = np.zeros((C * h * w, N * rows * columns))
    k = 0
    for n in range(N):
        for i in range(rows):
            for j in range(columns):
                out[:, k] = x[n, :, i * stride:i * stride + h, j * stride:j * stride + w].ravel()
                k += 1
    return out, rows, columns


def _back(columns, shape, h, w, stride):
    x = np.zeros(shape)
    N, C, H, W = shape
    k = 0
    for n in range(N):
        for i in range((H - h) // stride + 1):
            for j in range((W - w) // stride + 1):
                x[n, :, i * stride:i * stride + h, j * stride:j * stride + w] += columns[:, k].reshape(C, h, w)
                k += 1
    return x


def conv_forward_naive(x, w, b, conv_param):
    p, s = conv_param["pad"], conv_param["stride"]
    padded = np.pad(x, [(0, 0), (0, 0), (p, p), (p, p)], "constant")
    cols, h, v = _columns(padded, w.shape[2], w.shape[3], s)
    out = (w.reshape(w.shape[0], -1) @ cols + b.reshape(-1, 1)).reshape(w.shape[0], x.shape[0], h, v)
    return out.transpose(1, 0, 2, 3), (x, w, b, conv_param, cols, padded.shape)


def conv_backward_naive(dout, cache):
    x, w, b, conv_param, cols, shape = cache
    p, s = conv_param["pad"], conv_param["stride"]
    d = dout.transpose(1, 0, 2, 3).reshape(w.shape[0], -1)
    dpadded = _back(w.reshape(w.shape[0], -1).T @ d, shape, w.shape[2], w.shape[3], s)
    end = slice(p, -p) if p else slice(None)
    return dpadded[:, :, end, end], (d @ cols.T).reshape(w.shape), d.sum(axis=1)


def max_pool_forward_naive(x, pool_param):
    h, w, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    N, C = x.shape[:2]
    cols, rows, columns = _columns(x.reshape(N * C, 1, *x.shape[2:]), h, w, s)
    best = cols.argmax(axis=0)
    out = cols[best, np.arange(cols.shape[1])].reshape(N, C, rows, columns)
    return out, (x.shape, pool_param, best, cols.shape)


def max_pool_backward_naive(dout, cache):
    (N, C, H, W), pool_param, best, shape = cache
    cols = np.zeros(shape)
    cols[best, np.arange(shape[1])] = dout.ravel()
    h, w, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    return _back(cols, (N * C, 1, H, W), h, w, s).reshape(N, C, H, W)
