"""A valid call of every compiled entry, for tests that break it or repeat it."""

from dataclasses import dataclass

import numpy as np
from adversarial import arrays_in, normal, rng_of
from stepping import RULES, STATE_KEYS, numbers_of


@dataclass
class Call:
    """Arguments without num_threads; `outs` are the positions that the entry writes."""

    family: str
    name: str
    args: list
    outs: tuple

    def __call__(self, kernels, num_threads):
        name = "update" if self.name in RULES else self.name  # one entry for all rules
        return getattr(getattr(kernels, self.family), name)(*self.args, num_threads)

    def results(self):
        return arrays_in([self.args[k] for k in self.outs])

    def arrays(self):
        return [k for k, value in enumerate(self.args) if isinstance(value, np.ndarray)]


def _empty(dtype, *shape):
    """An output that is certain to differ from any right result where it is not written."""
    return np.full(shape, -12345, dtype)


def _affine(name, dtype, n, d, m):
    x, w, b, dout = (normal(name, *s, dtype=dtype) for s in ((n, d), (d, m), (m,), (n, m)))
    if name == "affine_forward":
        return [x, w, b, _empty(dtype, n, m), True], (3,)
    if name == "affine_backward_dx":
        return [dout, w, _empty(dtype, n, d)], (2,)
    if name == "affine_backward_dw":
        return [x, dout, _empty(dtype, d, m), _empty(dtype, m)], (2, 3)
    return [x, w, _empty(dtype, n, m), False, False], (2,)


def _activation(name, dtype, n, d, m):
    x, dout = normal("x", n * d, dtype=dtype), normal("dout", n * d, dtype=dtype)
    if name == "relu_forward":
        return [x, _empty(dtype, n * d)], (1,)
    return [dout, x, _empty(dtype, n * d)], (2,)


def _normalization(name, dtype, n, d, m):
    nd = [normal((name, k), n, d, dtype=dtype) for k in range(2)]
    vectors = [normal((name, k), d, dtype=dtype) for k in range(3)]
    rows = name.startswith("layernorm")
    positive = np.abs(normal(name, n if rows else d, dtype=dtype)) + dtype(0.5)
    if name == "batchnorm_forward_train":
        args = [nd[0], *vectors[:2], 1e-5, _empty(dtype, n, d), _empty(dtype, n, d)]
        return [*args, *(_empty(dtype, d) for _ in range(3))], (4, 5, 6, 7, 8)
    if name == "batchnorm_forward_test":
        args = [nd[0], *vectors, positive, 1e-5, _empty(dtype, n, d), _empty(dtype, n, d), _empty(dtype, d)]
        return args, (6, 7, 8)
    if name == "layernorm_forward":
        args = [nd[0], *vectors[:2], 1e-5, _empty(dtype, n, d), _empty(dtype, n, d), _empty(dtype, n)]
        return args, (4, 5, 6)
    return [*nd, vectors[0], positive, _empty(dtype, n, d), _empty(dtype, d), _empty(dtype, d)], (4, 5, 6)


def _dropout(name, dtype, n, d, m):
    x = normal(name, n * d, dtype=dtype)
    if name == "dropout_forward":
        return [x, rng_of(name).random(n * d), 0.6, _empty(dtype, n * d), _empty(dtype, n * d)], (3, 4)
    mask = (rng_of(name).random(n * d) < 0.6).astype(dtype) / dtype(0.6)
    return [x, mask, _empty(dtype, n * d)], (2,)


def _losses(name, dtype, n, d, m):
    return [normal(name, n, d, dtype=dtype), rng_of(name).integers(0, d, n), _empty(dtype, n, d)], (2,)


def _optim(name, dtype, n, d, m):
    """One step of `name`, the entry's rule; or a sum."""
    if name == "sum_of_squares":
        return [normal(name, n * d, dtype=dtype)], ()
    w, dw, *state = (np.abs(normal((name, k), n * d, dtype=dtype)) for k in range(4))
    outs, missing = [_empty(dtype, n * d) for _ in range(3)], [None, None]
    states = len(STATE_KEYS[name])
    args = [name, w, dw, *[*state[:states], *missing][:2], outs[0], *[*outs[1:1 + states], *missing][:2]]
    return [*args, *numbers_of(name)], (5, 6, 7)[:1 + states]


def _batch(name, dtype, n, d, m):
    images = rng_of(name).integers(0, 256, (n, d)).astype(np.uint8)
    return [images, rng_of(name).integers(0, n, n), images.mean(axis=0), _empty(dtype, n, d)], (3,)


def _step(name, dtype, n, d, m):
    """A network of one hidden layer; the gradients lie in the fourth argument, with the parameters."""
    if name == "train_batches":
        return _passes(name, dtype, n, d, m)
    images, layers = normal(name, n + 2, d, dtype=dtype), []
    for fan_in, fan_out in ((d, m), (m, 10)):
        w, b = normal((name, "w"), fan_in, fan_out, dtype=dtype), normal((name, "b"), fan_out, dtype=dtype)
        groups = [(value, _empty(dtype, *value.shape), None) for value in (w, b)]
        layers.append((*groups, *[None] * 6, 0.1, None, None))
    index, y = rng_of(name).integers(0, n, n), rng_of(name).integers(0, 10, n)
    return [images, index, rng_of(name).standard_normal(d), y, layers, None, None], (4,)


def _passes(name, dtype, n, d, m):
    """A pass of three batches over n of n + 2 samples; the parameters lie in the sixth argument."""
    layers, numbers = [], numbers_of("adam")
    for fan_in, fan_out in ((d, m), (m, 3)):
        held = [(normal((name, shape), *shape, dtype=dtype), *(np.zeros(shape, dtype) for _ in range(2)))
                for shape in ((fan_in, fan_out), (fan_out,))]
        layers.append((*held, None, None, numbers, numbers, None, None, 0.0, None, None))
    rng, batch_size = rng_of(name), n // 3 + 1
    args = [normal(name, n + 2, d, dtype=dtype), rng.integers(0, n + 2, n), rng.random((n + 2, 3)).astype(dtype),
            rng.random(n + 2).astype(dtype), batch_size, layers, "adam", "tanh", "logistic", numbers, 0.1, True,
            np.full(-(-n // batch_size), -12345.0), np.zeros(1, np.int64)]
    return args, (5, 12, 13)


def _image_shape(n, d, m):
    """Images whose size grows with the three; six channels, so that they fall into groups."""
    return max(2, n // 10), 6, m // 4 + 5, d // 4 + 4


def _im2col(name, dtype, n, d, m):
    N, C, H, W = _image_shape(n, d, m)
    x, cols = (N, C, H, W), (C * 6, (H // 2 + 1) * ((W + 1) // 2) * N)  # windows of 2 x 3, pad 1, stride 2
    if name == "im2col":
        return [normal(name, *x, dtype=dtype), _empty(dtype, *cols), 2, 3, 1, 2], (1,)
    if name == "col2im":
        return [normal(name, *cols, dtype=dtype), _empty(dtype, *x), 2, 3, 1, 2], (1,)
    return [normal(name, C, 2, 3, N, H - 1, W - 2, dtype=dtype), _empty(dtype, *x), 0, 1], (1,)


def _pool(name, dtype, n, d, m):
    N, C, H, W = _image_shape(n, d, m)
    out = N, C, H - 1, W - 2  # windows of 2 x 3, one apart
    if name == "max_pool_forward":
        return [normal(name, N, C, H, W, dtype=dtype), _empty(dtype, *out), np.full(out, 99, np.uint8), 2, 3, 1], (1, 2)
    place = rng_of(name).integers(0, 6, out).astype(np.uint8)
    return [normal(name, *out, dtype=dtype), place, _empty(dtype, N, C, H, W), 2, 3, 1], (2,)


def _spatial(name, dtype, n, d, m):
    x = _image_shape(n, d, m)
    images = [normal((name, k), *x, dtype=dtype) for k in range(2)]
    vectors = [normal((name, k), 6, dtype=dtype) for k in range(3)]
    groups = name.startswith("spatial_groupnorm")
    positive = np.abs(normal(name, *((x[0], 3) if groups else (6,)), dtype=dtype)) + dtype(0.5)
    if name == "spatial_batchnorm_forward_train":
        args = [images[0], *vectors[:2], 1e-5, _empty(dtype, *x), _empty(dtype, *x)]
        return [*args, *(_empty(dtype, 6) for _ in range(3))], (4, 5, 6, 7, 8)
    if name == "spatial_batchnorm_forward_test":
        args = [images[0], *vectors, positive, 1e-5, _empty(dtype, *x), _empty(dtype, *x), _empty(dtype, 6)]
        return args, (6, 7, 8)
    if name == "spatial_groupnorm_forward":
        args = [images[0], *vectors[:2], 3, 1e-5, _empty(dtype, *x), _empty(dtype, *x)]
        return [*args, *(_empty(dtype, x[0], 3) for _ in range(3))], (5, 6, 7, 8, 9)
    return [*images, vectors[0], positive, _empty(dtype, *x), _empty(dtype, 6), _empty(dtype, 6)], (4, 5, 6)


def _conv(name, dtype, n, d, m):
    """n images of d channels, 7 x 6 pixels; m filters of 3 x 2, stride 1, pad 1."""
    x, w, b, dout = (normal(name, *s, dtype=dtype) for s in ((n, d, 7, 6), (m, d, 3, 2), (m,), (n, m, 7, 7)))
    if name == "conv_forward":
        return [x, w, b, _empty(dtype, *dout.shape), 1, 1, True], (3,)
    if name == "conv_backward_dx":
        return [dout, w, _empty(dtype, *x.shape), 1, 1], (2,)
    return [x, dout, _empty(dtype, *w.shape), _empty(dtype, m), 1, 1], (2, 3)


_MAKERS = {
    "affine": (_affine, ("affine_forward", "affine_backward_dx", "affine_backward_dw", "matmul")),
    "activation": (_activation, ("relu_forward", "relu_backward")),
    "normalization": (_normalization, (
        "batchnorm_forward_train", "batchnorm_forward_test", "batchnorm_backward", "batchnorm_backward_alt",
        "batchnorm_backward_test", "layernorm_forward", "layernorm_backward",
    )),
    "dropout": (_dropout, ("dropout_forward", "dropout_backward")),
    "losses": (_losses, ("svm_loss", "softmax_loss")),
    "optim": (_optim, (*RULES, "sum_of_squares")),
    "batch": (_batch, ("gather",)),
    "step": (_step, ("train_step", "train_batches")),
    "im2col": (_im2col, ("im2col", "col2im", "col2im_6d")),
    "pool": (_pool, ("max_pool_forward", "max_pool_backward")),
    "spatial": (_spatial, (
        "spatial_batchnorm_forward_train", "spatial_batchnorm_forward_test", "spatial_batchnorm_backward",
        "spatial_batchnorm_backward_test", "spatial_groupnorm_forward", "spatial_groupnorm_backward",
    )),
    "conv": (_conv, ("conv_forward", "conv_backward_dx", "conv_backward_dw")),
}
ENTRIES = [f"{family}.{name}" for family, (_, names) in _MAKERS.items() for name in names]


def make_call(entry, dtype, n=6, d=5, m=4):
    family, name = entry.split(".")
    args, outs = _MAKERS[family][0](name, dtype, n, d, m)
    return Call(family, name, args, outs)
