"""Cases of the layers that work on images: convolution, max pooling, spatial batch and group norm."""

from __future__ import annotations

from typing import Any

import numpy as np

from daseCV_c._coursework.cases import Case, Cases, backward, forward


def _conv(random: Any, x: tuple[int, ...], w: tuple[int, ...], stride: int, pad: int) -> dict[str, Any]:
    return {"x": random.randn(*x), "w": random.randn(*w), "b": random.randn(w[0]),
            "conv_param": {"stride": stride, "pad": pad}}


# x, w, stride, pad: windows always fit whole, as the course promises.
_CONVS: tuple[tuple[Any, ...], ...] = (
    ("2 images, pad 1", (2, 3, 4, 4), (2, 3, 3, 3), 1, 1),
    ("stride 2, images of 5 x 7", (1, 2, 5, 7), (3, 2, 3, 3), 2, 0),
    ("filters of 2 x 3, images of 4 x 5", (2, 2, 4, 5), (2, 2, 2, 3), 1, 0),
    ("stride 2, pad 1, overlapping windows", (2, 2, 5, 7), (2, 2, 3, 3), 2, 1))


def conv_forward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 20)
    cases = [forward(name, "conv_forward_naive", _conv(random, *rest)) for name, *rest in _CONVS]
    single = _conv(random, (1, 2, 4, 4), (2, 2, 3, 3), 1, 1)
    whole = {"x": random.randint(0, 9, (1, 2, 4, 4)), "w": random.randint(-3, 3, (2, 2, 3, 3)), "b": np.array([0, 128]),
             "conv_param": {"stride": 1, "pad": 1}}
    return [*cases, forward("float32", "conv_forward_naive", {
        key: value.astype(np.float32) if isinstance(value, np.ndarray) else value for key, value in single.items()},
        tolerance=1e-4), forward("integers", "conv_forward_naive", whole)]


def conv_backward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 21)
    return [backward(name, ("conv_forward_naive", "conv_backward_naive"), _conv(random, *rest), ("x", "w", "b"), random)
            for name, *rest in _CONVS]


def _apart(random: Any, shape: tuple[int, ...]) -> Any:
    """Numbers no two of which are nearer than 0.1: a maximum stays where it is in a gradient check."""
    return random.permutation(int(np.prod(shape))).reshape(shape) * 0.1 - 1.0


_POOLS: tuple[tuple[Any, ...], ...] = (
    ("2 x 2, stride 2", (2, 3, 4, 4), 2, 2, 2), ("overlapping windows", (2, 2, 5, 5), 3, 3, 1),
    ("windows of 2 x 3, images of 4 x 6", (1, 2, 4, 6), 2, 3, 1),
    ("stride 2, windows of 3 x 3", (1, 2, 5, 7), 3, 3, 2))


def _pool(random: Any, shape: tuple[int, ...], height: int, width: int, stride: int) -> dict[str, Any]:
    return {"x": _apart(random, shape), "pool_param": {"pool_height": height, "pool_width": width, "stride": stride}}


def pool_forward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 22)
    cases = [forward(name, "max_pool_forward_naive", _pool(random, *rest)) for name, *rest in _POOLS]
    below = _pool(random, (1, 1, 4, 4), 2, 2, 2)
    below["x"] = below["x"].astype(np.float32) - 9
    whole = _pool(random, (1, 2, 4, 4), 2, 2, 2) | {"x": random.randint(-9, 9, (1, 2, 4, 4))}
    return [*cases, forward("float32, all below zero", "max_pool_forward_naive", below),
            forward("integers", "max_pool_forward_naive", whole)]


def pool_backward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 23)
    pair = ("max_pool_forward_naive", "max_pool_backward_naive")
    cases = [backward(name, pair, _pool(random, *rest), ("x",), random) for name, *rest in _POOLS]
    ties = _pool(random, (1, 2, 4, 4), 2, 2, 2)
    ties["x"] = np.repeat(np.repeat(random.randn(1, 2, 2, 2), 2, axis=2), 2, axis=3)
    ties["x"][0, 0, 0, 0] -= 1  # three of four
    return [*cases, backward("equal maxima", pair, ties, ("x",), random, judge="ties")]


def _norm(random: Any, shape: tuple[int, ...], images: bool = False) -> dict[str, Any]:
    channels = (1, shape[1], 1, 1) if images else (shape[1],)
    return {"x": 2 * random.randn(*shape) + random.randn(1, shape[1], 1, 1), "gamma": random.randn(*channels) + 2.0,
            "beta": random.randn(*channels)}


_IMAGES: tuple[tuple[Any, ...], ...] = (
    ("2 images of 3 x 4 x 5", (2, 3, 4, 5), {}), ("one image", (1, 4, 3, 2), {}),
    ("a large eps", (3, 2, 2, 3), {"eps": 0.5}))


def spatial_batchnorm_forward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 24)
    both = ("out", "param.running_mean", "param.running_var")
    cases = [forward(name, "spatial_batchnorm_forward", _norm(random, shape) | {"param": {"mode": "train"} | settings},
                     both, times=2) for name, shape, settings in _IMAGES]
    kept = {"running_mean": random.randn(3), "running_var": 0.5 + random.rand(3)}
    return [*cases, forward("in test mode", "spatial_batchnorm_forward", _norm(random, (2, 3, 2, 2)) | {
        "param": {"mode": "test"} | kept}, both)]


def spatial_batchnorm_backward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 25)
    return [backward(name, ("spatial_batchnorm_forward", "spatial_batchnorm_backward"), _norm(random, shape) | {
        "param": {"mode": "train"} | settings}, ("x", "gamma", "beta"), random) for name, shape, settings in _IMAGES]


_GROUPS: tuple[tuple[Any, ...], ...] = (
    ("3 groups of 2 channels", (2, 6, 3, 4), 3, {}), ("one group", (2, 4, 2, 3), 1, {}),
    ("one image, 2 groups of 3", (1, 6, 3, 3), 2, {}), ("a large eps", (3, 4, 2, 2), 2, {"eps": 0.5}))


def groupnorm_forward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 26)
    return [forward(name, "spatial_groupnorm_forward", _norm(random, shape, images=True) | {
        "G": groups, "param": dict(settings)}) for name, shape, groups, settings in _GROUPS]


def groupnorm_backward(seed: int) -> list[Case]:
    random = np.random.RandomState(seed + 27)
    return [backward(name, ("spatial_groupnorm_forward", "spatial_groupnorm_backward"), _norm(
        random, shape, images=True) | {"G": groups, "param": dict(settings)}, ("x", "gamma", "beta"), random,
        judge="groupnorm") for name, shape, groups, settings in _GROUPS]


CASES: dict[str, Cases] = {
    "conv_forward_naive": conv_forward, "conv_backward_naive": conv_backward,
    "max_pool_forward_naive": pool_forward, "max_pool_backward_naive": pool_backward,
    "spatial_batchnorm_forward": spatial_batchnorm_forward, "spatial_batchnorm_backward": spatial_batchnorm_backward,
    "spatial_groupnorm_forward": groupnorm_forward, "spatial_groupnorm_backward": groupnorm_backward,
}
