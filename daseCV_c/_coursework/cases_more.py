"""Cases of the update rules and of the layers that follow each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from daseCV_c._coursework.cases import Case, Cases, backward, forward


def _rule(function: str, state: tuple[str, ...], settings: dict[str, float], eps: bool) -> Cases:
    def cases(seed: int) -> list[Case]:
        random = np.random.RandomState(seed + 30)
        found = []
        for name, shape, config in (
                ("three steps", (4, 5), settings), ("its own defaults", (6,), None),
                ("another rate", (2, 3, 2), settings | {"learning_rate": 0.3} | ({"epsilon": 0.2} if eps else {}))):
            inputs: dict[str, Any] = {"w": random.randn(*shape)}
            if config is None:
                steps: list[Any] = [[["w1", "config"], function, ["w", "dw1"], {}]]
            else:
                inputs["config"] = dict(config)
                steps = [[["w1", "config"], function, ["w", "dw1", "config"], {}]]
            steps += [[[f"w{i}", "config"], function, [f"w{i - 1}", f"dw{i}", "config"], {}] for i in (2, 3)]
            inputs |= {f"dw{i}": random.randn(*shape) * i for i in (1, 2, 3)}
            # sgd works in place: w1, w2 and w3 may be one array, and each is compared after its own step.
            steps = [part for i, step in enumerate(steps, 1) for part in (step, [f"next{i}", "copy", [f"w{i}"], {}])]
            given = {"inputs": inputs, "steps": steps, "give": ["next1", "next2", "next3", "config", "dw1", "dw2",
                                                                "dw3"]}
            found.append(Case(name, given, ("next1", "next2", "next3", *(f"config.{key}" for key in state)),
                              ("dw1", "dw2", "dw3"), 1e-6))
        return found
    return cases


def _layers(random: Any, norm: bool, param: dict[str, Any] | None) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, shape, width in (("5 samples", (5, 4), 3), ("images", (4, 2, 3, 2), 5), ("more outputs", (3, 3), 6)):
        inputs: dict[str, Any] = {"x": random.randn(*shape), "w": random.randn(int(np.prod(shape[1:])), width),
                                  "b": random.randn(width)}
        if norm:
            inputs |= {"gamma": random.randn(width) + 2.0, "beta": random.randn(width)}
        found.append((name, inputs if param is None else inputs | {"param": dict(param)}))
    return found


def _images(random: Any, norm: bool, pool: bool) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, x, w, stride, pad in (("pad 1", (2, 3, 4, 4), (2, 3, 3, 3), 1, 1), ("stride 2", (1, 2, 9, 9), (3, 2, 3,
                                                                                                             3), 2, 1),
                                    ("filters of 3 x 3 without pad", (2, 2, 6, 8), (2, 2, 3, 3), 1, 0)):
        inputs: dict[str, Any] = {"x": random.randn(*x), "w": random.randn(*w), "b": random.randn(w[0])}
        if norm:
            inputs |= {"gamma": random.randn(w[0]) + 2.0, "beta": random.randn(w[0])}
        inputs["conv_param"] = {"stride": stride, "pad": pad}
        if norm:
            inputs["param"] = {"mode": "train"}
        if pool:
            tiles = (x[2] + 2 * pad - 3) // stride + 1
            window = 2 if tiles % 2 == 0 else 1
            inputs["pool_param"] = {"pool_height": 2, "pool_width": 2, "stride": window}
        found.append((name, inputs))
    return found


def _sandwich(kind: str) -> tuple[Cases, Cases]:
    norm = "_bn_" in kind or "_ln_" in kind
    of = ("x", "w", "b", "gamma", "beta") if norm else ("x", "w", "b")

    def inputs(random: Any) -> list[tuple[str, dict[str, Any]]]:
        if kind.startswith("affine"):
            param = {"mode": "train"} if "_bn_" in kind else {} if norm else None
            return _layers(random, norm, param)
        return _images(random, norm, kind.endswith("pool"))

    def ahead(seed: int) -> list[Case]:
        random = np.random.RandomState(seed + 40)
        return [forward(name, f"{kind}_forward", values) for name, values in inputs(random)]

    def back(seed: int) -> list[Case]:
        random = np.random.RandomState(seed + 41)
        return [backward(name, (f"{kind}_forward", f"{kind}_backward"), values, of, random)
                for name, values in inputs(random)]

    return ahead, back


SANDWICHES = ("affine_relu", "affine_bn_relu", "affine_ln_relu", "conv_relu", "conv_bn_relu", "conv_relu_pool")

CASES: dict[str, Cases] = {
    "sgd": _rule("sgd", (), {"learning_rate": 0.05}, eps=False),
    "sgd_momentum": _rule("sgd_momentum", ("velocity",), {"learning_rate": 0.05, "momentum": 0.7}, eps=False),
    "rmsprop": _rule("rmsprop", ("cache",), {"learning_rate": 0.05, "decay_rate": 0.8}, eps=True),
    "adam": _rule("adam", ("m", "v", "t"), {"learning_rate": 0.05, "beta1": 0.8, "beta2": 0.95}, eps=True),
}
for _kind in SANDWICHES:
    CASES[f"{_kind}_forward"], CASES[f"{_kind}_backward"] = _sandwich(_kind)
