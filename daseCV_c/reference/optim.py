"""Update rules in plain NumPy. np.asarray keeps 0-d arrays from turning into scalars."""

import numpy as np

from daseCV_c._types import Array, Params

# What a rule keeps in its configuration beside its settings, in order.
STATES: dict[str, tuple[str, ...]] = {
    "sgd": (), "sgd_momentum": ("velocity",), "nesterov": ("velocity",), "rmsprop": ("cache",), "adagrad": ("cache",),
    "adam": ("m", "v"), "adamw": ("m", "v"),
}


def _config(config: Params | None, **defaults: float) -> Params:
    config = {} if config is None else config
    for key, value in defaults.items():
        config.setdefault(key, value)
    return config


def sgd(w: Array, dw: Array, config: Params | None = None) -> tuple[Array, Params]:
    """w -= learning_rate * dw, in place."""
    config = _config(config, learning_rate=1e-2)
    w -= config["learning_rate"] * dw
    return w, config


def sgd_momentum(w: Array, dw: Array, config: Params | None = None) -> tuple[Array, Params]:
    """v = momentum * v - learning_rate * dw; next_w = w + v."""
    config = _config(config, learning_rate=1e-2, momentum=0.9)
    v = config.get("velocity")
    v = np.zeros_like(w) if v is None else v
    v = np.asarray(config["momentum"] * v - config["learning_rate"] * dw)
    config["velocity"] = v
    return np.asarray(w + v), config


def nesterov(w: Array, dw: Array, config: Params | None = None) -> tuple[Array, Params]:
    """next_v = momentum * v - learning_rate * dw; next_w = w - momentum * v + (1 + momentum) * next_v."""
    config = _config(config, learning_rate=1e-2, momentum=0.9)
    v, momentum = config.get("velocity"), config["momentum"]
    v = np.zeros_like(w) if v is None else v
    next_v = np.asarray(momentum * v - config["learning_rate"] * dw)
    config["velocity"] = next_v
    return np.asarray(w - momentum * v + (1 + momentum) * next_v), config


def rmsprop(w: Array, dw: Array, config: Params | None = None) -> tuple[Array, Params]:
    """cache = decay * cache + (1 - decay) * dw^2; next_w = w - learning_rate * dw / (sqrt(cache) + eps)."""
    config = _config(config, learning_rate=1e-2, decay_rate=0.99, epsilon=1e-8)
    cache = config.get("cache")
    cache = np.zeros_like(w) if cache is None else cache
    decay = config["decay_rate"]
    cache = np.asarray(decay * cache + (1 - decay) * (dw * dw))
    config["cache"] = cache
    next_w = w - config["learning_rate"] * dw / (np.sqrt(cache) + config["epsilon"])
    return np.asarray(next_w), config


def adagrad(w: Array, dw: Array, config: Params | None = None) -> tuple[Array, Params]:
    """cache = cache + dw^2; next_w = w - learning_rate * dw / (sqrt(cache) + eps)."""
    config = _config(config, learning_rate=1e-2, epsilon=1e-8)
    cache = config.get("cache")
    cache = np.zeros_like(w) if cache is None else cache
    cache = np.asarray(cache + dw * dw)
    config["cache"] = cache
    next_w = w - config["learning_rate"] * dw / (np.sqrt(cache) + config["epsilon"])
    return np.asarray(next_w), config


def adam(w: Array, dw: Array, config: Params | None = None) -> tuple[Array, Params]:
    """Moving averages of dw and dw^2, both corrected for their start at zero."""
    config = _config(config, learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8)
    m, v = config.get("m"), config.get("v")
    m = np.zeros_like(w) if m is None else m
    v = np.zeros_like(w) if v is None else v
    beta1, beta2 = config["beta1"], config["beta2"]
    t = config.get("t", 0) + 1
    m = np.asarray(beta1 * m + (1 - beta1) * dw)
    v = np.asarray(beta2 * v + (1 - beta2) * (dw * dw))
    # A float of Python raises where the power is too large.
    mhat = m / (1 - float(np.float64(beta1)**t))
    vhat = v / (1 - float(np.float64(beta2)**t))
    config.update(m=m, v=v, t=t)
    next_w = w - config["learning_rate"] * mhat / (np.sqrt(vhat) + config["epsilon"])
    return np.asarray(next_w), config


def adamw(w: Array, dw: Array, config: Params | None = None) -> tuple[Array, Params]:
    """Adam from a w that has shrunk by learning_rate * weight_decay * w."""
    config = _config(config, learning_rate=1e-3, weight_decay=1e-2)
    return adam(w - config["learning_rate"] * config["weight_decay"] * w, dw, config)
