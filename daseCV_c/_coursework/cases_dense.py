"""Cases of the layers that work on rows: affine, ReLU, batch and layer norm, dropout, losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from daseCV_c._coursework.cases import Case, Cases, backward, forward, off_zero


def _affine(random: Any, shape: tuple[int, ...], width: int) -> dict[str, Any]:
    return {"x": random.randn(*shape), "w": random.randn(int(np.prod(shape[1:])), width), "b": random.randn(width)}


_SHAPES = (("5 samples, 4 features to 3", (5, 4), 3), ("as many outputs as inputs", (3, 4), 4),
           ("one sample", (1, 6), 2), ("images of 2 x 3 x 4", (3, 2, 3, 4), 5))


def affine_forward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed)
    cases = [forward(name, "affine_forward", _affine(random, shape, width), judge="affine")
             for name, shape, width in _SHAPES]
    single = {key: value.astype(np.float32) for key, value in _affine(random, (4, 7), 3).items()}
    whole = {"x": random.randint(-9, 9, (3, 4)), "w": random.randint(-9, 9, (4, 2)), "b": np.array([0, 128])}
    return [*cases, forward("float32", "affine_forward", single, tolerance=1e-4),
            forward("integers", "affine_forward", whole)]


def affine_backward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 1)
    return [backward(name, ("affine_forward", "affine_backward"), _affine(random, shape, width), ("x", "w", "b"),
                     random)
            for name, shape, width in _SHAPES]


def relu_forward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 2)
    return [forward("a matrix", "relu_forward", {"x": off_zero(random.randn(4, 5))}),
            forward("images", "relu_forward", {"x": off_zero(random.randn(2, 3, 2, 4))}),
            forward("float32", "relu_forward", {"x": off_zero(random.randn(1, 6)).astype(np.float32)}),
            forward("integers", "relu_forward", {"x": random.randint(-9, 9, (3, 4))})]


def relu_backward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 3)
    return [backward(name, ("relu_forward", "relu_backward"), {"x": off_zero(3 * random.randn(*shape))}, ("x",), random)
            for name, shape in (("a matrix", (4, 5)), ("images", (2, 3, 2, 4)), ("one sample", (1, 7)))]


def _norm(random: Any, n: int, d: int, spread: float = 2.0) -> dict[str, Any]:
    return {"x": spread * random.randn(n, d) + random.randn(d), "gamma": random.randn(d) + 2.0, "beta": random.randn(d)}


def batchnorm_forward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 4)
    both = ("out", "param.running_mean", "param.running_var")
    cases = []
    for name, n, d, settings, spread in (
            ("7 samples of 4 features", 7, 4, {}, 2.0), ("a large eps", 5, 3, {"eps": 0.5}, 0.7),
            ("as many samples as features", 4, 4, {"momentum": 0.6}, 2.0)):
        cases.append(forward(name, "batchnorm_forward", _norm(random, n, d, spread) | {
            "param": {"mode": "train"} | settings}, both, times=2))
    cases.append(forward("one sample", "batchnorm_forward", _norm(random, 1, 4) | {"param": {"mode": "train"}}))
    kept = {"running_mean": random.randn(4), "running_var": 0.5 + random.rand(4)}
    for name, n in (("in test mode", 6), ("one sample in test mode", 1)):
        cases.append(forward(name, "batchnorm_forward", _norm(random, n, 4) | {
            "param": {"mode": "test", "eps": 0.1} | {key: value.copy() for key, value in kept.items()}}, both))
    single = {key: value.astype(np.float32) for key, value in _norm(random, 8, 3).items()}
    cases.append(forward("float32", "batchnorm_forward", single | {"param": {"mode": "train"}}, tolerance=1e-3))
    cases.append(forward("gamma and beta of integers", "batchnorm_forward", _norm(random, 6, 3) | {
        "gamma": np.asarray([3, 4, 5]), "beta": np.asarray([11, 12, 13]), "param": {"mode": "train"}}))
    return cases


def _batchnorm_backward(function: str) -> Cases:
    def cases(seed: int) -> list[Case]:
        random = np.random.RandomState(seed + 5)
        return [backward(name, ("batchnorm_forward", function), _norm(random, n, d, spread) | {
            "param": {"mode": "train"} | settings}, ("x", "gamma", "beta"), random)
            for name, n, d, settings, spread in (
                ("7 samples of 4 features", 7, 4, {}, 2.0), ("a large eps", 5, 3, {"eps": 0.5}, 0.7),
                ("as many samples as features", 4, 4, {}, 2.0))]
    return cases


def layernorm_forward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 6)
    cases = [forward(name, "layernorm_forward", _norm(random, n, d, spread) | {"param": dict(settings)})
             for name, n, d, settings, spread in (
                 ("5 samples of 7 features", 5, 7, {}, 2.0), ("a large eps", 3, 4, {"eps": 0.5}, 0.7),
                 ("as many samples as features", 4, 4, {}, 2.0), ("one sample", 1, 6, {}, 2.0))]
    single = {key: value.astype(np.float32) for key, value in _norm(random, 4, 8).items()}
    return [*cases, forward("float32", "layernorm_forward", single | {"param": {}}, tolerance=1e-3),
            forward("gamma and beta of integers", "layernorm_forward", _norm(random, 4, 3) | {
                "gamma": np.asarray([3, 4, 5]), "beta": np.asarray([11, 12, 13]), "param": {}})]


def layernorm_backward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 7)
    return [backward(name, ("layernorm_forward", "layernorm_backward"), _norm(random, n, d, spread) | {
        "param": dict(settings)}, ("x", "gamma", "beta"), random)
        for name, n, d, settings, spread in (
            ("5 samples of 7 features", 5, 7, {}, 2.0), ("a large eps", 3, 4, {"eps": 0.5}, 0.7),
            ("as many samples as features", 4, 4, {}, 2.0), ("one sample", 1, 6, {}, 2.0))]


def dropout_forward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 8)
    cases = []
    for name, keep, mode in (("keeping 0.25 of the units", 0.25, "train"), ("keeping 0.8 of the units", 0.8, "train"),
                             ("in test mode", 0.3, "test")):
        cases.append(forward(name, "dropout_forward", {
            "x": 1.0 + random.rand(60, 50), "param": {"mode": mode, "p": keep, "seed": 7}}, judge="dropout_forward"))
    return cases


def dropout_backward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 9)
    return [backward(name, ("dropout_forward", "dropout_backward"), {
        "x": 1.0 + random.rand(12, 10), "param": {"mode": mode, "p": keep}}, ("x",), random, judge="dropout_backward")
        for name, keep, mode in (("keeping 0.4 of the units", 0.4, "train"), ("keeping 0.8 of the units", 0.8, "train"),
                                 ("in test mode", 0.3, "test"))]


def _loss(function: str) -> Cases:
    def cases(seed: int) -> list[Case]:
        random = np.random.RandomState(seed + 10)
        found = []
        for name, n, c, shift in (("6 samples of 5 classes", 6, 5, 0.0), ("one sample", 1, 4, 0.0),
                                  ("two classes", 3, 2, 0.0), ("scores near 1000", 4, 3, 1000.0)):
            inputs = {"x": 2 * random.randn(n, c) + shift, "y": random.randint(0, c, n)}
            found.append(Case(name, {"inputs": inputs, "steps": [[["loss", "dx"], function, ["x", "y"], {}]],
                                     "give": ["loss", "dx", "x", "y"]}, ("loss", "dx"), ("x", "y")))
        single = {"x": random.randn(5, 4).astype(np.float32), "y": random.randint(0, 4, 5)}
        found.append(Case("float32", {"inputs": single, "steps": [[["loss", "dx"], function, ["x", "y"], {}]],
                                      "give": ["loss", "dx", "x", "y"]}, ("loss", "dx"), ("x", "y"), 1e-4))
        return found
    return cases


CASES: dict[str, Cases] = {
    "affine_forward": affine_forward, "affine_backward": affine_backward,
    "relu_forward": relu_forward, "relu_backward": relu_backward,
    "batchnorm_forward": batchnorm_forward, "batchnorm_backward": _batchnorm_backward("batchnorm_backward"),
    "batchnorm_backward_alt": _batchnorm_backward("batchnorm_backward_alt"),
    "layernorm_forward": layernorm_forward, "layernorm_backward": layernorm_backward,
    "dropout_forward": dropout_forward, "dropout_backward": dropout_backward,
    "svm_loss": _loss("svm_loss"), "softmax_loss": _loss("softmax_loss"),
}
