"""Dropout by another generator, and masks of bools."""

import numpy as np


def dropout_forward(x, dropout_param):
    p, mode = dropout_param["p"], dropout_param["mode"]
    if "seed" in dropout_param:
        np.random.seed(dropout_param["seed"])
    if mode == "train":
        keep = np.random.binomial(1, p, size=x.shape).astype(bool)
        return np.where(keep, x / p, 0), (p, keep)
    return x.copy(), None


def dropout_backward(dout, cache):
    if cache is None:
        return dout
    p, keep = cache
    return np.where(keep, dout, 0) / p
