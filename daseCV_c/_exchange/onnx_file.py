"""A network as an ONNX file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from daseCV_c import _checks
from daseCV_c._exchange.network import Layer, described, layers_of, library
from daseCV_c._files import replacing
from daseCV_c._training import networks
from daseCV_c._types import Array, DType
from daseCV_c._version import __version__

_FUNCTION = "export_onnx"
_OLDEST = 18  # reductions take their axes as an input
_LARGEST = 2**31 - 2**20  # what protobuf holds, less some room for names


class _Graph:
    """Nodes one after the other, each taking what the one before gives."""

    def __init__(self, onnx: Any, dtype: DType, first: str) -> None:
        self.onnx, self.dtype, self.last = onnx, dtype, first
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def constant(self, name: str, array: Array) -> str:
        self.initializers.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        """A node named `name` which gives what it is named after; without inputs it takes what came last."""
        made = self.onnx.helper.make_node(kind, list(inputs) or [self.last], [name], name=name, **attributes)
        self.nodes.append(made)
        self.last = name
        return name

    def arrays(self, layer: Layer, *names: str) -> list[str]:
        return [self.constant(f"{name}{layer.number}", layer.arrays[name]) for name in names]

    def batchnorm(self, layer: Layer) -> None:
        # The attribute is a float32. What it is off by is added to the variance, or float64 would lose digits.
        eps = layer.settings["eps"]
        if self.dtype == np.float64:
            rounded = float(np.float32(min(eps, 1e30)))
            layer.arrays["running_var"] += eps - rounded
            eps = rounded
        self.node("BatchNormalization", layer.name, self.last,
                  *self.arrays(layer, "gamma", "beta", "running_mean", "running_var"), epsilon=eps)

    def layernorm(self, layer: Layer) -> None:
        gamma, beta = self.arrays(layer, "gamma", "beta")
        name, eps = layer.name, layer.settings["eps"]
        if self.dtype == np.float32:
            self.node("LayerNormalization", name, self.last, gamma, beta, epsilon=eps)
            return
        # The operator computes its moments in float32, so that in float64 it is written out.
        axis, x = self.constant(f"{name}_axis", np.array([1])), self.last
        mean = self.node("ReduceMean", f"{name}_mean", x, axis)
        centred = self.node("Sub", f"{name}_centred", x, mean)
        square = self.node("Mul", f"{name}_square", centred, centred)
        var = self.node("ReduceMean", f"{name}_var", square, axis)
        added = self.node("Add", f"{name}_var_eps", var, self.constant(f"{name}_eps", np.array(eps)))
        std = self.node("Sqrt", f"{name}_std", added)
        xhat = self.node("Div", f"{name}_xhat", centred, std)
        scaled = self.node("Mul", f"{name}_scaled", xhat, gamma)
        self.node("Add", name, scaled, beta)

    def layer(self, layer: Layer, flat: bool) -> None:
        match layer.kind:
            case "affine":
                self.node("Gemm", layer.name, self.last, *self.arrays(layer, "W", "b"))
            case "conv":
                pads = [layer.settings["pad"]] * 4
                self.node("Conv", layer.name, self.last, *self.arrays(layer, "W", "b"), pads=pads)
            case "pool":
                self.node("MaxPool", layer.name, kernel_shape=[2, 2], strides=[2, 2])
            case "batchnorm" | "layernorm":
                getattr(self, layer.kind)(layer)
            case "relu":
                self.node("Relu", layer.name)
            case "flatten" if not flat:
                self.node("Flatten", layer.name)
            # Dropout does nothing where nothing is trained.


def _shape(document: dict[str, Any], mean: Array | None, image_shape: Sequence[int] | None) -> tuple[int | None, ...]:
    """The shape of a sample; None for a size that is not known."""
    known = document["input_dim"]
    flat = isinstance(known, int)
    if image_shape is None:
        return mean.shape if mean is not None else (known,) if flat else tuple(known)
    if isinstance(image_shape, str) or not isinstance(image_shape, Sequence):
        raise TypeError(f"{_FUNCTION}: image_shape is {image_shape!r}, expected a tuple of sizes")
    shape = tuple(_checks.integer(_FUNCTION, "a size in image_shape", size, 1) for size in image_shape)
    if flat:
        fits = math.prod(shape) == known and bool(shape)
    else:
        fits = len(shape) == 3 and all(m in (n, None) for n, m in zip(shape, known, strict=True))
        fits = fits and document["num_filters"] * (shape[1] // 2) * (shape[2] // 2) == document["features"]
    if not fits:
        raise ValueError(f"{_FUNCTION}: image_shape is {image_shape!r}, but the network takes {known}")
    return shape


def _dtype(wanted: DTypeLike | None, own: DType) -> DType:
    if wanted is None:
        return own
    dtype = np.dtype(wanted)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"{_FUNCTION}: dtype is {dtype}, expected float32 or float64")
    return dtype


def export_onnx(
    model: Any, path: str | os.PathLike[str], *, softmax: bool = False, subtract_mean: bool = False,
    image_shape: Sequence[int] | None = None, dtype: DTypeLike | None = None, opset: int = 23,
) -> None:
    """Write the network as an ONNX file, for inference, with any number of samples at a time.

    Input ``images``, output ``scores`` (or ``probabilities``); the constants have the names and the layout of
    `params`. Dropout is left out, as it does nothing there. The class names, if the model has any, are in the
    file's metadata under ``class_names``, a JSON list. `onnx.checker` has passed the file before it is written.

    Parameters
    ----------
    model : TwoLayerNet, FullyConnectedNet or ThreeLayerConvNet
    path : str or path
        Written as it is, whole or not at all.
    softmax : bool
        Whether the file makes probabilities of the scores.
    subtract_mean : bool
        Whether the file subtracts ``model.mean_image``, so that it takes images as they are.
    image_shape : tuple of int, optional
        The shape of a sample, as (3, 32, 32). Default: the shape of the model's mean image; without one
        (D,) for a fully-connected network and ``input_dim`` for a convolutional one.
    dtype : float32 or float64, optional
        Of input, arithmetic and output; default: of the model's scores. onnxruntime has no convolution in
        float64, and many other runtimes have no float64 at all: ``dtype=np.float32`` is for them.
    opset : int
        The version of ONNX's operators, from 18 to the newest that the installed onnx knows. Older runtimes
        need an older one: onnxruntime reads 23 since its version 1.23.

    Raises
    ------
    TypeError
        The model is of a class of the user's own, or an argument of another kind.
    ValueError
        Parameters that do not fit each other or are not finite, a shape that does not fit, no mean image to
        subtract, an unknown dtype or opset, or more than the 2 GB that such a file can hold.
    ImportError
        onnx is not installed: ``pip install "daseCV_c[onnx]"``.
    OSError
        The file cannot be written; what was there before is still there.

    References
    ----------
    https://onnx.ai/onnx/operators/

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, onnxruntime
    >>> from daseCV_c.classifiers.fc_net import FullyConnectedNet
    >>> net, X = FullyConnectedNet([5], input_dim=4, num_classes=3), np.ones((2, 4), np.float32)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, 'net.onnx')
    ...     export_onnx(net, path)
    ...     scores, = onnxruntime.InferenceSession(path).run(None, {'images': X})
    >>> np.allclose(scores, net.loss(X))
    True
    """
    onnx, path = library(_FUNCTION, "onnx", "onnx"), os.fspath(path)
    opset = _checks.integer(_FUNCTION, "opset", opset, _OLDEST, onnx.defs.onnx_opset_version())
    document, arrays, own = described(_FUNCTION, model)
    dtype = _dtype(dtype, own)
    if sum(array.size for array in arrays.values()) * dtype.itemsize > _LARGEST:
        raise ValueError(f"{_FUNCTION}: the network has more than the 2 GB of numbers that an ONNX file can hold")
    networks.require_finite(_FUNCTION, arrays)
    mean = arrays.get("mean_image")
    if subtract_mean and mean is None:
        raise ValueError(f"{_FUNCTION}: subtract_mean is {subtract_mean!r}, but the model has no mean_image")
    shape = _shape(document, mean, image_shape)
    graph = _Graph(onnx, dtype, "images")
    if subtract_mean:
        assert mean is not None
        fitting = mean.reshape(1, *(mean.shape if None in shape else shape)).astype(dtype)
        graph.node("Sub", "centred", "images", graph.constant("mean_image", fitting))
    with np.errstate(over="ignore"):
        layers = layers_of(document, arrays, dtype)
    for layer in layers:
        for name, array in layer.arrays.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{_FUNCTION}: {name}{layer.number} holds a number that {dtype} cannot")
        graph.layer(layer, flat=len(shape) == 1)
    if softmax:
        graph.node("Softmax", "softmax", axis=1)
    output = "probabilities" if softmax else "scores"
    graph.nodes[-1].output[0] = output

    helper, kind = onnx.helper, onnx.helper.np_dtype_to_tensor_dtype(dtype)
    # A convolutional network from an old file does not know how high and wide its images are.
    sizes = [("C", "height", "width")[i] if size is None else size for i, size in enumerate(shape)]
    what = "the mean image is subtracted here" if subtract_mean else "the mean image, if any, is subtracted already"
    images = helper.make_tensor_value_info("images", kind, ["N", *sizes], what)
    made = helper.make_graph(
        graph.nodes, document["class"], [images],
        [helper.make_tensor_value_info(output, kind, ["N", document["num_classes"]])], graph.initializers)
    version = helper.make_opsetid("", opset)
    file = helper.make_model(made, opset_imports=[version], ir_version=helper.find_min_ir_version_for([version]),
                             producer_name="daseCV_c", producer_version=__version__)
    if document["class_names"] is not None:
        helper.set_model_props(file, {"class_names": json.dumps(document["class_names"])})
    onnx.checker.check_model(file, full_check=True)
    with replacing(path, durable=True) as opened:
        opened.write(file.SerializeToString())
