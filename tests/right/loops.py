"""Everything element by element."""

import math

import numpy as np


def affine_forward(x, w, b):
    N = x.shape[0]
    D, M = w.shape
    rows = np.reshape(x, (N, D))
    out = np.zeros((N, M))
    for n in range(N):
        for m in range(M):
            total = b[m]
            for d in range(D):
                total = total + rows[n, d] * w[d, m]
            out[n, m] = total
    cache = (x, w, b)
    return out, cache


def affine_backward(dout, cache):
    x, w, b = cache
    N, M = dout.shape
    rows = x.reshape(N, -1)
    dx, dw, db = np.zeros(rows.shape), np.zeros(w.shape), np.zeros(M)
    for n in range(N):
        for m in range(M):
            db[m] += dout[n, m]
            for d in range(rows.shape[1]):
                dx[n, d] += dout[n, m] * w[d, m]
                dw[d, m] += dout[n, m] * rows[n, d]
    return dx.reshape(x.shape), dw, db


def relu_forward(x):
    out = x.copy()
    for place in np.ndindex(x.shape):
        if x[place] < 0:
            out[place] = 0
    return out, x


def relu_backward(dout, cache):
    dx = dout.copy()
    for place in np.ndindex(cache.shape):
        if cache[place] <= 0:
            dx[place] = 0
    return dx


def conv_forward_naive(x, w, b, conv_param):
    N, C, H, W = x.shape
    F, _, HH, WW = w.shape
    s, p = conv_param["stride"], conv_param["pad"]
    big = np.zeros((N, C, H + 2 * p, W + 2 * p))
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    big[n, c, i + p, j + p] = x[n, c, i, j]
    h, v = int(1 + (H + 2 * p - HH) / s), int(1 + (W + 2 * p - WW) / s)
    out = np.zeros((N, F, h, v))
    for n in range(N):
        for f in range(F):
            for i in range(h):
                for j in range(v):
                    out[n, f, i, j] = np.sum(big[n, :, i * s:i * s + HH, j * s:j * s + WW] * w[f]) + b[f]
    return out, (x, w, b, conv_param)


def conv_backward_naive(dout, cache):
    x, w, b, conv_param = cache
    s, p = conv_param["stride"], conv_param["pad"]
    F, C, HH, WW = w.shape
    N, _, h, v = dout.shape
    big = np.pad(x, ((0,), (0,), (p,), (p,)), mode="constant")
    dbig, dw, db = np.zeros(big.shape), np.zeros(w.shape), np.zeros(F)
    for n in range(N):
        for f in range(F):
            for i in range(h):
                for j in range(v):
                    g = dout[n, f, i, j]
                    db[f] += g
                    for c in range(C):
                        for a in range(HH):
                            for e in range(WW):
                                dw[f, c, a, e] += g * big[n, c, i * s + a, j * s + e]
                                dbig[n, c, i * s + a, j * s + e] += g * w[f, c, a, e]
    return dbig[:, :, p:dbig.shape[2] - p, p:dbig.shape[3] - p], dw, db


def max_pool_forward_naive(x, pool_param):
    N, C, H, W = x.shape
    a, e, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    out = np.zeros((N, C, (H - a) // s + 1, (W - e) // s + 1))
    for n, c, i, j in np.ndindex(out.shape):
        best = -math.inf
        for r in range(a):
            for q in range(e):
                best = max(best, x[n, c, i * s + r, j * s + q])
        out[n, c, i, j] = best
    return out, (x, pool_param)


def max_pool_backward_naive(dout, cache):
    x, pool_param = cache
    a, e, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(dout.shape):
        best, where = -math.inf, None
        for r in range(a):
            for q in range(e):
                if x[n, c, i * s + r, j * s + q] >= best:  # the last of equal ones: as good as the first
                    best, where = x[n, c, i * s + r, j * s + q], (i * s + r, j * s + q)
        dx[n, c, where[0], where[1]] += dout[n, c, i, j]
    return dx
