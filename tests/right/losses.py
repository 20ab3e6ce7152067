"""Losses sample by sample."""

import numpy as np


def softmax_loss(x, y):
    N, C = x.shape
    loss, dx = 0.0, np.zeros((N, C))
    for i in range(N):
        scores = x[i] - np.max(x[i])
        total = sum(np.exp(s) for s in scores)
        loss += -scores[y[i]] + np.log(total)
        for c in range(C):
            dx[i, c] = np.exp(scores[c]) / total - (1.0 if c == y[i] else 0.0)
    return loss / N, dx / N


def svm_loss(x, y):
    N, C = x.shape
    loss, dx = 0, np.zeros(x.shape)
    for i in range(N):
        for c in range(C):
            if c == y[i]:
                continue
            margin = x[i, c] - x[i, y[i]] + 1
            if margin > 0:
                loss += margin
                dx[i, c] += 1
                dx[i, y[i]] -= 1
    return loss / N, dx / N
