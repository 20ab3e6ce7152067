"""Convolution and pooling."""

import numpy as np

from . import wrong


def conv(mistake):
    @wrong("conv_forward_naive", mistake)
    def conv_forward_naive(x, w, b, conv_param):
        S, P = conv_param["stride"], conv_param["pad"]
        (N, C, H, W), (F, _, HH, WW) = x.shape, w.shape
        padded = np.pad(x, ((0, 0), (0, 0), (P, P), (P, P)),
                        mode="edge" if mistake == "conv-pad-not-zeros" else "constant")
        Hn, Wn = 1 + (H + 2 * P - HH) // S, 1 + (W + 2 * P - WW) // S
        if mistake == "conv-no-pad":
            padded, Hn, Wn = x, 1 + (H - HH) // S, 1 + (W - WW) // S
        Si = 1 if mistake in ("conv-stride-columns-only", "conv-stride-ignored") else S
        Sj = 1 if mistake in ("conv-stride-rows-only", "conv-stride-ignored") else S
        out = np.empty((N, F, Hn, Wn))
        for n in range(N):
            for f in range(F):
                kernel = np.rot90(w[f], 2, axes=(1, 2)) if mistake == "conv-flipped" else w[f]
                for i in range(Hn):
                    for j in range(Wn):
                        patch = padded[n, :, i * Si:i * Si + HH, j * Sj:j * Sj + WW]
                        terms = patch[0] * kernel[0] if mistake == "conv-one-channel" else patch * kernel
                        out[n, f, i, j] = terms.sum()
                        if mistake == "conv-bias-per-channel":
                            out[n, f, i, j] += C * b[f]
                        elif mistake != "conv-no-bias":
                            out[n, f, i, j] += b[f]
        return out, (x, w, b, conv_param)


for mistake in ("conv-no-bias", "conv-flipped", "conv-stride-rows-only", "conv-stride-columns-only",
                "conv-stride-ignored",
                "conv-no-pad", "conv-one-channel", "conv-bias-per-channel", "conv-pad-not-zeros"):
    conv(mistake)


def conv_back(mistake):
    @wrong("conv_backward_naive", mistake)
    def conv_backward_naive(dout, cache):
        x, w, b, conv_param = cache
        S, P = conv_param["stride"], conv_param["pad"]
        F, C, HH, WW = w.shape
        xp = np.pad(x, ((0,), (0,), (P,), (P,)))
        dxp, dw, db = np.zeros_like(xp), np.zeros_like(w), np.zeros(F)
        Si = 1 if mistake == "conv-backward-stride-columns-only" else S
        Sj = 1 if mistake == "conv-backward-stride-rows-only" else S
        N = len(x)
        for n in range(N):
            for f in range(F):
                for i in range(dout.shape[2]):
                    for j in range(dout.shape[3]):
                        where = (n, slice(None), slice(i * Si, i * Si + HH), slice(j * Sj, j * Sj + WW))
                        if mistake == "conv-dx-assigned":
                            dxp[where] = dout[n, f, i, j] * w[f]
                        elif mistake == "conv-dx-flipped":
                            dxp[where] += dout[n, f, i, j] * w[f, :, ::-1, ::-1]
                        else:
                            dxp[where] += dout[n, f, i, j] * w[f]
                        if mistake == "conv-dw-assigned":
                            dw[f] = dout[n, f, i, j] * xp[where]
                        else:
                            dw[f] += dout[n, f, i, j] * xp[where]
                        db[f] += dout[n, f, i, j]
        dx = dxp[:, :, P:P + x.shape[2], P:P + x.shape[3]]
        if mistake == "conv-padding-not-removed":
            dx = dxp
        if mistake == "conv-padding-removed-by-minus-pad":
            dx = dxp[:, :, P:-P, P:-P]
        if mistake == "conv-padding-removed-at-one-side":
            dx = dxp[:, :, :x.shape[2], :x.shape[3]]
        if mistake == "conv-db-not-summed":
            db = dout.sum(0)
        if mistake == "conv-db-mean":
            db /= N
        if mistake == "conv-gradients-mean":
            dw, db = dw / N, db / N
        return dx, dw, db


for mistake in ("conv-padding-not-removed", "conv-padding-removed-at-one-side", "conv-padding-removed-by-minus-pad",
                "conv-dx-assigned", "conv-dx-flipped",
                "conv-dw-assigned", "conv-db-not-summed", "conv-db-mean", "conv-gradients-mean",
                "conv-backward-stride-rows-only", "conv-backward-stride-columns-only"):
    conv_back(mistake)


@wrong("conv_backward_naive", "conv-padding-removed-by-minus-pad", "crashed")
def _(dout, cache):
    """Image by image, put into an array that is there: nothing fits into it where there is no padding."""
    x, w, b, conv_param = cache
    S, P = conv_param["stride"], conv_param["pad"]
    HH, WW = w.shape[2:]
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), dout.sum((0, 2, 3))
    for n, image in enumerate(x):
        padded = np.pad(image, ((0, 0), (P, P), (P, P)))
        back = np.zeros(padded.shape)
        for f, i, j in np.ndindex(*dout.shape[1:]):
            dw[f] += dout[n, f, i, j] * padded[:, i * S:i * S + HH, j * S:j * S + WW]
            back[:, i * S:i * S + HH, j * S:j * S + WW] += dout[n, f, i, j] * w[f]
        dx[n] = back[:, P:-P, P:-P]
    return dx, dw, db


def pool(mistake, **how):
    status = "crashed" if mistake == "nothing" else "failed"

    @wrong("max_pool_forward_naive", mistake, status)
    def max_pool_forward_naive(x, pool_param):
        a, e, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
        if mistake == "pool-height-width-swapped":
            a, e = e, a
        si = a if mistake == "pool-stride-is-size" else 1 if mistake == "pool-stride-ignored" else s
        sj = e if mistake == "pool-stride-is-size" else 1 if mistake in (
            "pool-stride-ignored", "pool-stride-rows-only") else s
        h, w = 1 + (x.shape[2] - a) // s, 1 + (x.shape[3] - e) // s
        if mistake in ("pool-stride-is-size", "pool-count-by-size"):
            h, w = x.shape[2] // a, x.shape[3] // e
        out = np.zeros((*x.shape[:2], h, w))
        for i in range(h):
            for j in range(w):
                part = x[:, :, i * si:i * si + a, j * sj:j * sj + e]
                if mistake == "pool-mean":
                    out[:, :, i, j] = part.mean((2, 3))
                elif mistake == "pool-never-negative":
                    out[:, :, i, j] = np.maximum(out[:, :, i, j], part.max((2, 3)))
                else:
                    out[:, :, i, j] = part.max((2, 3))
        return out, (x, pool_param)


for mistake in ("pool-mean", "pool-never-negative", "pool-height-width-swapped", "pool-stride-is-size",
                "pool-stride-ignored", "pool-stride-rows-only", "pool-count-by-size"):
    pool(mistake)


def pool_back(mistake):
    @wrong("max_pool_backward_naive", mistake, "passed" if mistake == "pool-ties" else "failed")
    def max_pool_backward_naive(dout, cache):
        x, pool_param = cache
        a, e, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
        dx = np.zeros(x.shape)
        for n in range(x.shape[0]):
            for c in range(x.shape[1]):
                for i in range(dout.shape[2]):
                    for j in range(dout.shape[3]):
                        part = x[n, c, i * s:i * s + a, j * s:j * s + e]
                        row, column = np.unravel_index(part.argmax(), part.shape)
                        if mistake == "pool-overlap-assigned":
                            dx[n, c, i * s + row, j * s + column] = dout[n, c, i, j]
                        elif mistake == "pool-overlap-window-assigned":
                            mask = np.zeros(part.shape)
                            mask[row, column] = 1
                            dx[n, c, i * s:i * s + a, j * s:j * s + e] = mask * dout[n, c, i, j]
                        elif mistake == "pool-gradient-spread":
                            dx[n, c, i * s:i * s + a, j * s:j * s + e] += dout[n, c, i, j] / (a * e)
                        elif mistake == "pool-gradient-everywhere":
                            dx[n, c, i * s:i * s + a, j * s:j * s + e] += dout[n, c, i, j]
                        elif mistake == "pool-gradient-times-x":
                            dx[n, c, i * s + row, j * s + column] += part.max() * dout[n, c, i, j]
                        elif mistake == "pool-gradient-mask-alone":
                            dx[n, c, i * s + row, j * s + column] += 1
                        else:
                            dx[n, c, i * s:i * s + a, j * s:j * s + e] += (part == part.max()) * dout[n, c, i, j]
        return dx


for mistake in ("pool-overlap-assigned", "pool-overlap-window-assigned", "pool-gradient-spread",
                "pool-gradient-everywhere",
                "pool-gradient-times-x", "pool-gradient-mask-alone", "pool-ties"):
    pool_back(mistake)
