"""Update rules that work in the arrays they are given, and a rate folded into Adam's step."""

import math

import numpy as np


def _start(config, w, state, **defaults):
    config = {} if config is None else config
    for key, value in defaults.items():
        config[key] = config.get(key, value)
    for key in state:
        if config.get(key) is None:
            config[key] = np.zeros(w.shape)
    return config


def sgd_momentum(w, dw, config=None):
    config = _start(config, w, ["velocity"], learning_rate=1e-2, momentum=0.9)
    config["velocity"] *= config["momentum"]
    config["velocity"] -= config["learning_rate"] * dw
    w += config["velocity"]
    return w, config


def rmsprop(w, dw, config=None):
    config = _start(config, w, ["cache"], learning_rate=1e-2, decay_rate=0.99, epsilon=1e-8)
    config["cache"] += (1 - config["decay_rate"]) * (dw**2 - config["cache"])
    w -= config["learning_rate"] * dw / (config["cache"] ** 0.5 + config["epsilon"])
    return w, config


def adam(w, dw, config=None):
    config = _start(config, w, ["m", "v"], learning_rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8, t=0)
    b1, b2 = config["beta1"], config["beta2"]
    config["t"] += 1
    config["m"] += (1 - b1) * (dw - config["m"])
    config["v"] += (1 - b2) * (dw**2 - config["v"])
    root = math.sqrt(1 - b2 ** config["t"])
    rate = config["learning_rate"] * root / (1 - b1 ** config["t"])
    w -= rate * config["m"] / (np.sqrt(config["v"]) + config["epsilon"] * root)
    return w, config


def relu_forward(x):
    out = np.array(x)
    out[out < 0] = 0
    return out, x


def relu_backward(dout, cache):
    dx = dout + 0
    dx[cache <= 0] = 0
    return dx
