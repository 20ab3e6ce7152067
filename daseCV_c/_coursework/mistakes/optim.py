"""Mistakes of the update rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from daseCV_c._coursework.mistakes import Book, Mistake

BOOK = Book()

Rule = Callable[..., Any]


def _add(name: str, rule: str, says: str, breaks: str, update: Callable[[str], Rule], how: str) -> None:
    BOOK.mistakes.append(Mistake(name, (rule,), says, breaks, lambda of: {of: update(how)}))


def _sgd(how: str) -> Rule:
    def rule(w: Any, dw: Any, config: Any = None) -> Any:
        config = {} if config is None else config
        rate = config.setdefault("learning_rate", 1e-2)
        return w + {"plus": rate * dw, "no-rate": -dw}[how], config
    return rule


def _momentum(how: str) -> Rule:
    def rule(w: Any, dw: Any, config: Any = None) -> Any:
        config = {} if config is None else config
        rate, mu = config.setdefault("learning_rate", 1e-2), config.setdefault("momentum", 0.9)
        old = config.get("velocity", np.zeros_like(w))
        push = {"velocity-sign": rate * dw, "dampened": -(1 - mu) * rate * dw}.get(how, -rate * dw)
        if how == "rate-on-all":
            v = mu * old + dw
            config["velocity"] = v
            return w - rate * v, config
        if how == "subtracted":
            v = mu * old + rate * dw
            config["velocity"] = v
            return w - v, config
        v = old + push if how == "no-decay" else mu * old + push
        if how == "sign-of-old":
            v = -mu * old + push
        step = mu * v + push if how == "nesterov" else old if how == "old-velocity" else v
        if how != "velocity-not-kept":
            config["velocity"] = v
        return (w - v if how == "step-sign" else w + step), config
    return rule


def _rmsprop(how: str) -> Rule:
    def rule(w: Any, dw: Any, config: Any = None) -> Any:
        config = {} if config is None else config
        rate, decay = config.setdefault("learning_rate", 1e-2), config.setdefault("decay_rate", 0.99)
        eps, old = config.setdefault("epsilon", 1e-8), config.get("cache", np.zeros_like(w))
        share = 1 - decay if how == "decay-reversed" else decay
        power = np.abs(dw) if how == "not-squared" else dw**2
        cache = old + power if how == "summed" else share * old + (1 - share) * power
        if how == "no-decay-of-old":
            cache = old + (1 - decay) * power
        if how != "not-kept":
            config["cache"] = cache
        used = old if how == "old-cache" else cache
        below = {"eps-inside": lambda: np.sqrt(used + eps), "no-root": lambda: used + eps,
                 "no-eps": lambda: np.sqrt(used)}.get(how, lambda: np.sqrt(used) + eps)()
        return (w + rate * dw / below if how == "plus" else w - rate * dw / below), config
    return rule


def _adam(how: str) -> Rule:
    def rule(w: Any, dw: Any, config: Any = None) -> Any:
        config = {} if config is None else config
        rate, eps = config.setdefault("learning_rate", 1e-3), config.setdefault("epsilon", 1e-8)
        beta1, beta2 = config.setdefault("beta1", 0.9), config.setdefault("beta2", 0.999)
        if how == "betas-swapped":
            beta1, beta2 = beta2, beta1
        old_m, old_v, old_t = (config.get(key, start) for key, start in (
            ("m", np.zeros_like(w)), ("v", np.zeros_like(w)), ("t", int(how == "t-starts-at-1"))))
        t = {"t-late": old_t, "t-not-raised": old_t, "t-by-one-more": old_t + 2}.get(how, old_t + 1)
        m = beta1 * old_m + (1 - beta1) * dw
        v = beta2 * old_v + (1 - beta2) * (np.abs(dw) if how == "not-squared" else dw**2)
        if how == "weights-reversed":
            m, v = (1 - beta1) * old_m + beta1 * dw, (1 - beta2) * old_v + beta2 * dw**2
        mhat, vhat = m / (1 - beta1**t), v / (1 - beta2**t)
        if how in ("no-correction", "no-first-correction"):
            mhat = m
        if how in ("no-correction", "no-second-correction"):
            vhat = v
        if how == "times-t":
            mhat, vhat = m / (1 - beta1 * t), v / (1 - beta2 * t)
        config.update(m=m, v=v, t=t)
        if how == "corrected-kept":
            config.update(m=mhat, v=vhat)
        if how == "t-not-kept":
            config["t"] = old_t
        if how == "t-late":
            config["t"] = old_t + 1
        if how == "t-not-raised":
            config["t"] = old_t
        if how == "moments-not-kept":
            config.update(m=old_m, v=old_v)
        below = {"eps-inside": lambda: np.sqrt(vhat + eps), "no-root": lambda: vhat + eps,
                 "eps-early": lambda: np.sqrt(vhat) + eps / np.sqrt(1 - beta2**t),
                 }.get(how, lambda: np.sqrt(vhat) + eps)()
        return (w + rate * mhat / below if how == "plus" else w - rate * mhat / below), config
    return rule


_add("sgd-uphill", "sgd", "The step goes along the gradient, uphill.", "w = w - learning_rate dw", _sgd, "plus")
_add("sgd-no-rate", "sgd", "The learning rate is missing.", "w = w - learning_rate dw", _sgd, "no-rate")

_V = "v = momentum v - learning_rate dw; w = w + v"
for _name, _says, _how in (
        ("momentum-velocity-sign", "The velocity grows along the gradient, uphill.", "velocity-sign"),
        ("momentum-step-sign", "The velocity is right, but it is taken away from w.", "step-sign"),
        ("momentum-velocity-not-kept", "The velocity is not put into config, so every step starts from rest.",
         "velocity-not-kept"),
        ("momentum-velocity-stored-negative", "w is right, but config holds the velocity with the other sign.",
         "subtracted"),
        ("momentum-rate-outside", "The learning rate multiplies the whole velocity, not the gradient in it.",
         "rate-on-all"),
        ("momentum-dampened", "The gradient is weighed with 1 - momentum.", "dampened"),
        ("momentum-no-decay", "The old velocity is not multiplied by momentum.", "no-decay"),
        ("momentum-old-velocity", "w moves by the velocity of the step before.", "old-velocity"),
        ("momentum-is-nesterov", "This is Nesterov's momentum, which looks ahead.", "nesterov"),
        ("momentum-old-sign", "The old velocity is taken away.", "sign-of-old")):
    _add(_name, "sgd_momentum", _says, _V, _momentum, _how)

_C = "cache = decay cache + (1 - decay) dw^2; w = w - learning_rate dw / (sqrt(cache) + eps)"
for _name, _says, _how in (
        ("rmsprop-eps-inside-root", "eps is under the root.", "eps-inside"),
        ("rmsprop-decay-reversed", "decay_rate weighs the new square, and the rest the old ones.", "decay-reversed"),
        ("rmsprop-no-root", "It is divided by the mean square, not by its root.", "no-root"),
        ("rmsprop-not-squared", "The gradient is not squared.", "not-squared"),
        ("rmsprop-cache-not-kept", "The mean square is not put into config.", "not-kept"),
        ("rmsprop-old-cache", "It is divided by the mean square of the step before.", "old-cache"),
        ("rmsprop-is-adagrad", "The squares are added up and never forgotten: this is AdaGrad.", "summed"),
        ("rmsprop-old-not-decayed", "The old mean square is not multiplied by decay_rate.", "no-decay-of-old"),
        ("rmsprop-no-eps", "eps is missing.", "no-eps"),
        ("rmsprop-uphill", "The step goes along the gradient, uphill.", "plus")):
    _add(_name, "rmsprop", _says, _C, _rmsprop, _how)

_M = ("t = t + 1; m, v = moving averages of dw, dw^2; mhat = m / (1 - beta1^t), vhat = v / (1 - beta2^t); "
      "w = w - learning_rate mhat / (sqrt(vhat) + eps)")
for _name, _says, _how in (
        ("adam-t-not-raised", "t is never raised: it stays 0, and the correction divides by 0.", "t-not-raised"),
        ("adam-t-not-kept", "t is raised but not put back into config, so every step is the first.", "t-not-kept"),
        ("adam-t-raised-late", "t is raised after it is used: at the first step it is 0.", "t-late"),
        ("adam-t-raised-twice", "t is raised twice.", "t-by-one-more"),
        ("adam-t-starts-at-1", "t starts at 1, as in some handouts, and is raised before it is used: the first step is "
         "taken for the second.", "t-starts-at-1"),
        ("adam-no-bias-correction", "The averages are not corrected for their start at zero.", "no-correction"),
        ("adam-no-first-correction", "The average of the gradients is not corrected for its start at zero.",
         "no-first-correction"),
        ("adam-no-second-correction", "The average of the squares is not corrected for its start at zero.",
         "no-second-correction"),
        ("adam-corrected-kept", "The corrected averages are put into config, and corrected again at the next step.",
         "corrected-kept"),
        ("adam-eps-inside-root", "eps is under the root.", "eps-inside"),
        ("adam-eps-before-correction", "eps is added to the root of the average before that is corrected, which shows "
         "where eps is not small.", "eps-early"),
        ("adam-not-squared", "The second average is not one of squares.", "not-squared"),
        ("adam-betas-swapped", "beta1 and beta2 have changed places.", "betas-swapped"),
        ("adam-weights-reversed", "The betas weigh the new gradient, and the rest the old average.",
         "weights-reversed"),
        ("adam-no-root", "It is divided by the average square, not by its root.", "no-root"),
        ("adam-moments-not-kept", "The averages are not put into config.", "moments-not-kept"),
        ("adam-beta-times-t", "The correction has beta times t instead of beta to the power of t.", "times-t"),
        ("adam-uphill", "The step goes along the gradient, uphill.", "plus")):
    _add(_name, "adam", _says, _M, _adam, _how)
