"""Losses and update rules."""

import numpy as np

from . import wrong


def softmax(mistake):
    @wrong("softmax_loss", mistake)
    def softmax_loss(x, y):
        N, rows = x.shape[0], np.arange(x.shape[0])
        shifted = x if mistake == "softmax-no-shift" else x - np.max(x, axis=1, keepdims=True)
        e = np.exp(shifted)
        probs = e / np.sum(e, axis=0 if mistake == "softmax-over-batch" else 1, keepdims=True)
        picked = probs[rows, y]
        log = {"softmax-base-ten": np.log10, "softmax-base-two": np.log2}.get(mistake, np.log)(picked)
        loss = -np.sum(log) / N
        if mistake in ("loss-summed", "loss-and-gradient-summed"):
            loss = -np.sum(log)
        if mistake == "loss-sign":
            loss = np.mean(log)
        if mistake == "softmax-no-log":
            loss = -np.mean(picked)
        dx = probs.copy()
        if mistake != "softmax-gradient-no-one":
            dx[rows, y] -= 1
        if mistake not in ("loss-gradient-summed", "loss-and-gradient-summed"):
            dx /= N
        if mistake == "loss-gradient-averaged-twice":
            dx /= N
        return loss, dx


for mistake in ("softmax-no-shift", "softmax-over-batch", "softmax-base-ten", "softmax-base-two", "loss-summed",
                "loss-and-gradient-summed", "loss-sign", "softmax-no-log", "softmax-gradient-no-one",
                "loss-gradient-summed",
                "loss-gradient-averaged-twice"):
    softmax(mistake)


def svm(mistake):
    @wrong("svm_loss", mistake)
    def svm_loss(x, y):
        N, loss, dx = len(x), 0.0, np.zeros(x.shape)
        delta = 0 if mistake == "svm-no-margin" else 1
        for n in range(N):
            for j in range(x.shape[1]):
                margin = x[n, j] - x[n, y[n]] + delta
                if j == y[n] and mistake == "svm-right-class-counted":
                    loss += margin
                if j == y[n] or (margin <= 0 and mistake != "svm-not-cut"):
                    continue
                loss += margin**2 if mistake == "svm-squared" else margin
                slope = 2 * margin if mistake == "svm-squared" else 1
                dx[n, j] += slope
                if mistake == "svm-gradient-right-class-once":
                    dx[n, y[n]] = -1
                elif mistake != "svm-gradient-no-right-class":
                    dx[n, y[n]] -= slope
        if mistake == "loss-summed":
            return loss, dx / N
        return loss / N, (dx if mistake == "loss-gradient-summed" else dx / N)


for mistake in ("svm-no-margin", "svm-right-class-counted", "svm-not-cut", "svm-squared", "svm-gradient-no-right-class",
                "loss-summed", "loss-gradient-summed"):
    svm(mistake)


@wrong("svm_loss", "svm-gradient-right-class-once")
def _(x, y):
    rows = np.arange(len(y))
    margins = np.clip(x - x[rows, y].reshape(-1, 1) + 1, 0, None)
    margins[rows, y] = 0
    dx = np.where(margins > 0, 1.0, 0.0)
    dx[rows, y] = -1.0
    return margins.sum() / len(y), dx / len(y)


def config_of(config, w, state, **defaults):
    config = {} if config is None else config
    for key, value in (defaults | {key: np.zeros_like(w) for key in state}).items():
        config.setdefault(key, value)
    return config


@wrong("sgd", "sgd-uphill")
def _(w, dw, config=None):
    config = config_of(config, w, (), learning_rate=1e-2)
    w += config["learning_rate"] * dw
    return w, config


def momentum(mistake):
    @wrong("sgd_momentum", mistake)
    def sgd_momentum(w, dw, config=None):
        config = config_of(config, w, ("velocity",), learning_rate=1e-2, momentum=0.9)
        lr, mu, old = config["learning_rate"], config["momentum"], config["velocity"]
        v = mu * old - lr * dw
        if mistake == "momentum-velocity-sign":
            v = mu * old + lr * dw
        if mistake == "momentum-dampened":
            v = mu * old - (1 - mu) * lr * dw
        if mistake == "momentum-no-decay":
            v = old - lr * dw
        next_w = w + v
        if mistake == "momentum-velocity-stored-negative":
            v = mu * old + lr * dw
            next_w = w - v
        if mistake == "momentum-rate-outside":
            v = mu * old + dw
            next_w = w - lr * v
        if mistake == "momentum-old-velocity":
            next_w = w + old
        if mistake == "momentum-is-nesterov":
            next_w = w - mu * old + (1 + mu) * v
        if mistake != "momentum-velocity-not-kept":
            config["velocity"] = v
        else:
            config["velocity"] = old
        return next_w, config


for mistake in ("momentum-velocity-sign", "momentum-dampened", "momentum-no-decay", "momentum-velocity-stored-negative",
                "momentum-rate-outside", "momentum-old-velocity", "momentum-is-nesterov", "momentum-velocity-not-kept"):
    momentum(mistake)


def rmsprop_of(mistake):
    @wrong("rmsprop", mistake)
    def rmsprop(w, dw, config=None):
        config = config_of(config, w, ("cache",), learning_rate=1e-2, decay_rate=0.99, epsilon=1e-8)
        lr, rho, eps, old = config["learning_rate"], config["decay_rate"], config["epsilon"], config["cache"]
        cache = rho * old + (1 - rho) * dw * dw
        if mistake == "rmsprop-decay-reversed":
            cache = (1 - rho) * old + rho * dw * dw
        if mistake == "rmsprop-is-adagrad":
            cache = old + dw * dw
        if mistake == "rmsprop-not-squared":
            cache = rho * old + (1 - rho) * abs(dw)
        if mistake != "rmsprop-cache-not-kept":
            config["cache"] = cache
        below = np.sqrt(cache) + eps
        if mistake == "rmsprop-eps-inside-root":
            below = np.sqrt(cache + eps)
        if mistake == "rmsprop-no-root":
            below = cache + eps
        return w - lr * dw / below, config


for mistake in ("rmsprop-decay-reversed", "rmsprop-is-adagrad", "rmsprop-cache-not-kept", "rmsprop-eps-inside-root",
                "rmsprop-no-root", "rmsprop-not-squared"):
    rmsprop_of(mistake)


def adam_of(mistake):
    @wrong("adam", mistake)
    def adam(w, dw, config=None):
        config = config_of(config, w, ("m", "v"), learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8,
                           t=int(mistake == "adam-t-starts-at-1"))
        lr, b1, b2, eps = (config[key] for key in ("learning_rate", "beta1", "beta2", "epsilon"))
        if mistake == "adam-betas-swapped":
            b1, b2 = b2, b1
        t = config["t"]
        if mistake not in ("adam-t-raised-late", "adam-t-not-raised"):
            t += 1
        m = b1 * config["m"] + (1 - b1) * dw
        v = b2 * config["v"] + (1 - b2) * (dw if mistake == "adam-not-squared-at-all" else dw**2)
        mt, vt = m / (1 - b1**t), v / (1 - b2**t)
        if mistake == "adam-no-bias-correction":
            mt, vt = m, v
        if mistake == "adam-no-second-correction":
            vt = v
        if mistake == "adam-beta-times-t":
            mt, vt = m / (1 - b1 * t), v / (1 - b2 * t)
        if mistake == "adam-corrected-kept":
            m, v = mt, vt
        config["m"], config["v"] = m, v
        if mistake == "adam-t-raised-late":
            t += 1
        if mistake != "adam-t-not-kept":
            config["t"] = t
        below = np.sqrt(vt + eps) if mistake == "adam-eps-inside-root" else np.sqrt(vt) + eps
        if mistake == "adam-eps-before-correction":
            return w - lr * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps), config
        return w - lr * mt / below, config


for mistake in ("adam-betas-swapped", "adam-t-raised-late", "adam-t-not-raised", "adam-t-not-kept",
                "adam-no-bias-correction",
                "adam-no-second-correction", "adam-beta-times-t", "adam-corrected-kept", "adam-eps-inside-root",
                "adam-eps-before-correction", "adam-t-starts-at-1"):
    adam_of(mistake)
