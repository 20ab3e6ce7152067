"""The kernels that are timed: for each contestant the expression that is called, and over which sizes.

An expression is evaluated as it stands, so a row names what it calls. `threads` is the number of
threads; the other names come from the row's `inputs`, and from `SETUP`.
"""

from dataclasses import dataclass, field

import numpy as np

CONTESTANTS = ("daseCV_c", "NumPy", "PyTorch")
CLASSES, PIXELS, IMAGES = 10, 3072, 10_000

AFFINE = ((10, 50, 20), (100, 100, 10), (100, 100, 100), (100, 3072, 100), (256, 1024, 1024), (1024, 3072, 1024))
MATRIX = ((10, 10), (100, 100), (256, 1024), (2048, 2048))
SCORES = ((10,), (100,), (1000,), (10_000,))
WEIGHTS = ((100,), (10_000,), (307_200,), (3_145_728,))
BATCHES = ((10,), (100,), (256,), (2048,))
CONV = ((2, 3, 8, 4, 3), (100, 3, 31, 25, 3), (50, 3, 32, 32, 7), (20, 64, 32, 64, 3))  # N, C, side, F, side of w
IMAGE = ((2, 4, 8), (100, 3, 32), (50, 32, 32), (100, 64, 32))                           # N, C, side


def affine(rng, n, d, m):
    return {"x": rng.randn(n, d), "w": rng.randn(d, m), "b": rng.randn(m), "dout": rng.randn(n, m)}


def matrix(rng, n, d):
    return {"x": rng.randn(n, d), "dout": rng.randn(n, d), "gamma": rng.rand(d) + 0.5, "beta": rng.randn(d),
            "mean": np.zeros(d), "var": np.ones(d)}


def scores(rng, n):
    return {"x": rng.randn(n, CLASSES), "y": rng.randint(0, CLASSES, n)}


def weights(rng, size):
    return {"w": rng.randn(size), "dw": rng.randn(size)}


def pixels(rng, batch):
    return {"X": rng.randint(0, 256, (IMAGES, PIXELS)).astype(np.uint8), "index": rng.randint(0, IMAGES, batch),
            "mean": rng.rand(PIXELS) * 255}


def filtered(rng, n, c, side, f, field):
    return {"x": rng.randn(n, c, side, side), "w": rng.randn(f, c, field, field), "b": rng.randn(f),
            "dout": rng.randn(n, f, side, side)}


def images(rng, n, c, side):
    return {"x": rng.randn(n, c, side, side), "dout": rng.randn(n, c, side, side), "gamma": rng.rand(c) + 0.5,
            "dpool": rng.randn(n, c, side // 2, side // 2), "beta": rng.randn(c),
            "mean": np.zeros(c), "var": np.ones(c)}


@dataclass(frozen=True)
class Kernel:
    """One row of the table."""

    sizes: tuple
    inputs: object               # (rng, *size) -> named arrays
    ours: str
    twin: str
    torch: str
    setup: dict = field(default_factory=dict)  # contestant -> statements before the clock starts

    def expression(self, contestant):
        return {"daseCV_c": self.ours, "NumPy": self.twin, "PyTorch": self.torch}[contestant]


def _with_cache(forward):
    """A forward pass of one's own before the backward pass."""
    return {"daseCV_c": f"_, cache = layers.{forward}", "NumPy": f"_, cache = reference.{forward}"}


def _rule(name, torch):
    return Kernel(
        WEIGHTS, weights, f"optim.{name}(w, dw, config)", f"reference.{name}(w, dw, config)", "optimizer.step()",
        {"daseCV_c": "config = {}", "NumPy": "config = {}",
         "PyTorch": f"w.grad = dw; optimizer = torch.optim.{torch}"})


BN = "batchnorm_forward(x, gamma, beta, {'mode': 'train'})"
LN = "layernorm_forward(x, gamma, beta, {})"
DROPOUT = "dropout_forward(x, {'mode': 'train', 'p': 0.5})"
BN_TORCH = {"PyTorch": "_, saved_mean, saved_inv = aten.native_batch_norm(x, gamma, beta, mean, var, True, 0.1, 1e-5)"}
LN_TORCH = {"PyTorch": "_, saved_mean, saved_inv = aten.native_layer_norm(x, x.shape[1:], gamma, beta, 1e-5)"}
BN_BACKWARD = ("aten.native_batch_norm_backward(dout, x, gamma, mean, var, saved_mean, saved_inv, True, 1e-5, "
               "[True, True, True])")
# The side of the filters is odd: so much padding keeps the size of the images.
PAD = "{'stride': 1, 'pad': w.shape[2] // 2}"
POOL = "{'pool_height': 2, 'pool_width': 2, 'stride': 2}"
SBN = "spatial_batchnorm_forward(x, gamma, beta, {'mode': 'train'})"
SGN = "spatial_groupnorm_forward(x, gamma, beta, x.shape[1], {})"
GROUPS = "x.shape[0], x.shape[1], x.shape[2] * x.shape[3], x.shape[1]"
SGN_TORCH = f"aten.native_group_norm(x, gamma, beta, {GROUPS}, 1e-5)"


def _with_conv_cache():
    return {"daseCV_c": f"cache = (x, w, b, {PAD})", "NumPy": f"cache = (x, w, b, {PAD})"}


KERNELS = {
    "affine_forward": Kernel(
        AFFINE, affine, "layers.affine_forward(x, w, b)", "reference.affine_forward(x, w, b)",
        "torch.addmm(b, x, w)"),
    "affine_backward dx": Kernel(
        AFFINE, affine, "(dx := np.empty_like(x), kernels.affine.affine_backward_dx(dout, w, dx, threads))",
        "reference.affine.affine_backward_dx(dout, w)", "dout @ w.T"),
    "affine_backward dw": Kernel(
        AFFINE, affine, "(dw := np.empty_like(w), db := np.empty_like(b), "
        "kernels.affine.affine_backward_dw(x, dout, dw, db, threads))",
        "reference.affine.affine_backward_dw(x, dout)", "(x.T @ dout, dout.sum(0))"),
    "relu_forward": Kernel(
        MATRIX, matrix, "layers.relu_forward(x)", "reference.relu_forward(x)", "torch.relu(x)"),
    "relu_backward": Kernel(
        MATRIX, matrix, "layers.relu_backward(dout, x)", "reference.relu_backward(dout, x)",
        "aten.threshold_backward(dout, x, 0)"),
    "batchnorm_forward": Kernel(
        MATRIX, matrix, f"layers.{BN}", f"reference.{BN}",
        "aten.native_batch_norm(x, gamma, beta, mean, var, True, 0.1, 1e-5)"),
    "batchnorm_backward": Kernel(
        MATRIX, matrix, "layers.batchnorm_backward(dout, cache)", "reference.batchnorm_backward(dout, cache)",
        BN_BACKWARD, _with_cache(BN) | BN_TORCH),
    "batchnorm_backward_alt": Kernel(
        MATRIX, matrix, "layers.batchnorm_backward_alt(dout, cache)",
        "reference.batchnorm_backward_alt(dout, cache)", BN_BACKWARD, _with_cache(BN) | BN_TORCH),
    "layernorm_forward": Kernel(
        MATRIX, matrix, f"layers.{LN}", f"reference.{LN}",
        "aten.native_layer_norm(x, x.shape[1:], gamma, beta, 1e-5)"),
    "layernorm_backward": Kernel(
        MATRIX, matrix, "layers.layernorm_backward(dout, cache)", "reference.layernorm_backward(dout, cache)",
        "aten.native_layer_norm_backward(dout, x, x.shape[1:], saved_mean, saved_inv, gamma, beta, "
        "[True, True, True])", _with_cache(LN) | LN_TORCH),
    "dropout_forward": Kernel(
        MATRIX, matrix, f"layers.{DROPOUT}", f"reference.{DROPOUT}", "aten.native_dropout(x, 0.5, True)"),
    "dropout_backward": Kernel(
        MATRIX, matrix, "layers.dropout_backward(dout, cache)", "reference.dropout_backward(dout, cache)",
        "aten.native_dropout_backward(dout, mask, 2.0)",
        _with_cache(DROPOUT) | {"PyTorch": "_, mask = aten.native_dropout(x, 0.5, True)"}),
    "softmax_loss": Kernel(
        SCORES, scores, "layers.softmax_loss(x, y)", "reference.softmax_loss(x, y)",
        "torch.autograd.grad(functional.cross_entropy(x, y), x)", {"PyTorch": "x.requires_grad_()"}),
    "svm_loss": Kernel(
        SCORES, scores, "layers.svm_loss(x, y)", "reference.svm_loss(x, y)",
        "torch.autograd.grad(functional.multi_margin_loss(x, y), x)", {"PyTorch": "x.requires_grad_()"}),
    "sgd": _rule("sgd", "SGD([w], 1e-2, fused=True)"),
    "sgd_momentum": _rule("sgd_momentum", "SGD([w], 1e-2, momentum=0.9, fused=True)"),
    "nesterov": _rule("nesterov", "SGD([w], 1e-2, momentum=0.9, nesterov=True, fused=True)"),
    "rmsprop": _rule("rmsprop", "RMSprop([w], 1e-2)"),
    "adagrad": _rule("adagrad", "Adagrad([w], 1e-2)"),
    "adam": _rule("adam", "Adam([w], 1e-3, fused=True)"),
    "adamw": _rule("adamw", "AdamW([w], 1e-3, fused=True)"),
    "conv_forward": Kernel(
        CONV, filtered, f"fast_layers.conv_forward_fast(x, w, b, {PAD})",
        f"reference.conv_forward_fast(x, w, b, {PAD})",
        "functional.conv2d(x, w, b, padding=w.shape[2] // 2)"),
    "conv_backward": Kernel(
        CONV, filtered, "fast_layers.conv_backward_fast(dout, cache)", "reference.conv_backward_fast(dout, cache)",
        "aten.convolution_backward(dout, x, w, [len(b)], [1, 1], [w.shape[2] // 2] * 2, [1, 1], False, [0, 0], 1, "
        "[True, True, True])", _with_conv_cache()),
    "max_pool_forward": Kernel(
        IMAGE, images, f"fast_layers.max_pool_forward_fast(x, {POOL})", f"reference.max_pool_forward_fast(x, {POOL})",
        "functional.max_pool2d(x, 2, return_indices=True)"),
    "max_pool_backward": Kernel(
        IMAGE, images, "fast_layers.max_pool_backward_fast(dpool, cache)",
        "reference.max_pool_backward_fast(dpool, cache)",
        "aten.max_pool2d_with_indices_backward(dpool, x, [2, 2], [2, 2], [0, 0], [1, 1], False, place)",
        {"daseCV_c": f"_, cache = fast_layers.max_pool_forward_fast(x, {POOL})",
         "NumPy": f"_, cache = reference.max_pool_forward_fast(x, {POOL})",
         "PyTorch": "_, place = functional.max_pool2d(x, 2, return_indices=True)"}),
    "spatial_batchnorm_forward": Kernel(
        IMAGE, images, f"layers.{SBN}", f"reference.{SBN}",
        "aten.native_batch_norm(x, gamma, beta, mean, var, True, 0.1, 1e-5)"),
    "spatial_batchnorm_backward": Kernel(
        IMAGE, images, "layers.spatial_batchnorm_backward(dout, cache)",
        "reference.spatial_batchnorm_backward(dout, cache)", BN_BACKWARD, _with_cache(SBN) | BN_TORCH),
    "spatial_groupnorm_forward": Kernel(IMAGE, images, f"layers.{SGN}", f"reference.{SGN}", SGN_TORCH),
    "spatial_groupnorm_backward": Kernel(
        IMAGE, images, "layers.spatial_groupnorm_backward(dout, cache)",
        "reference.spatial_groupnorm_backward(dout, cache)",
        f"aten.native_group_norm_backward(dout, x, saved_mean, saved_inv, gamma, {GROUPS}, [True, True, True])",
        _with_cache(SGN) | {"PyTorch": f"_, saved_mean, saved_inv = {SGN_TORCH}"}),
    "gather_batch": Kernel(
        BATCHES, pixels, "gather_batch(X, index, mean, dtype)", "reference.gather_batch(X, index, mean, dtype)",
        "X[index].to(mean.dtype) - mean"),
}


def make(contestant, threads, case):
    """The step of one case: (kernel, dtype, size)."""
    name, dtype, size = case
    kernel = KERNELS[name]
    arrays = kernel.inputs(np.random.RandomState(0), *size)
    arrays = {key: a.astype(dtype) if a.dtype == np.float64 else a for key, a in arrays.items()}
    names = {"np": np, "threads": threads, "dtype": np.dtype(dtype)}
    if contestant == "PyTorch":
        import torch

        torch.set_num_threads(threads)
        names |= {"torch": torch, "aten": torch.ops.aten, "functional": torch.nn.functional}
        names |= {key: torch.from_numpy(a) for key, a in arrays.items()}
    else:
        import daseCV_c
        from daseCV_c import fast_layers, layers, optim, reference
        from daseCV_c._runtime import backend as _backend
        from daseCV_c.data_utils import gather_batch

        daseCV_c.set_num_threads(threads)
        names |= {"layers": layers, "optim": optim, "reference": reference, "fast_layers": fast_layers,
                  "kernels": _backend.kernels_of(np.dtype(dtype)), "gather_batch": gather_batch, **arrays}
    exec(kernel.setup.get(contestant, ""), names)
    return eval(f"lambda: {kernel.expression(contestant)}", names)
