"""A network that lives without the run that trained it: as a file, and laid out for prediction."""

from __future__ import annotations

import copy
import io
import json
import os
import warnings
from typing import Any

import numpy as np

from daseCV_c import _checks
from daseCV_c._files import replacing
from daseCV_c._predictor import Predictor
from daseCV_c._runtime import precision as _precision
from daseCV_c._training import archive, networks
from daseCV_c._types import Array, ArrayLike
from daseCV_c._version import __version__
from daseCV_c.datasets import pickles

__all__ = ["Predictor", "load_model", "save_model"]

_FORMATS = ("npz", "safetensors")
_KEY = "daseCV_c"  # in the metadata of a safetensors file
_FORMAT = 1


def _safetensors(function: str) -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            f'{function}: the format safetensors needs a package: pip install "daseCV_c[safetensors]"') from error
    return safetensors


def _contents(
    function: str, model: Any, mean_image: ArrayLike | None, class_names: list[str] | None,
) -> tuple[dict[str, Any], dict[str, Array]]:
    """What the file holds, every number of it finite."""
    if mean_image is not None or class_names is not None:
        networks.describe(function, model)  # a model that cannot be saved is the first thing to say
        model = copy.copy(model)
        if mean_image is not None:
            model.mean_image = mean_image
        if class_names is not None:
            model.class_names = class_names
    document, arrays = networks.describe(function, model)
    networks.require_finite(function, arrays)
    return {"network": document, "matmul_precision": _precision.get_matmul_precision()}, arrays


def save_model(
    model: Any, path: str | os.PathLike[str], *, mean_image: ArrayLike | None = None,
    class_names: list[str] | None = None, format: str | None = None,
) -> None:
    """Write a network to a file that `load_model` reads, in another process or on another machine.

    The file holds numbers and text, no code: the class of the network with its dimensions and
    settings as JSON, the parameters, batch norm's running statistics, and what belongs to the data.
    It is written beside `path` and renamed, so that there is never half a file. What only training
    needs (the update rule's state, random numbers) is in a checkpoint: `Solver.save`.

    Parameters
    ----------
    model : TwoLayerNet, FullyConnectedNet or ThreeLayerConvNet
    path : str or path
        Written as it is: no suffix is added.
    mean_image : array, optional
        What was subtracted from the images, in the shape of one. Default: the model's own ``mean_image``.
    class_names : list of str, optional
        In the order of the scores. Default: the model's own ``class_names``.
    format : {'npz', 'safetensors'}, optional
        'npz' holds plain arrays that `numpy.load` opens too, with a checksum over all of the file.
        'safetensors' is what other tools read; the description is in its metadata. Default:
        'safetensors' for a path that ends so, else 'npz'.

    Raises
    ------
    TypeError
        The model is of a class of the user's own, or an argument of another kind.
    ValueError
        Parameters that do not fit each other or are not finite, a mean image or names that do not
        fit the network, an unknown format.
    ImportError
        safetensors is not installed: ``pip install "daseCV_c[safetensors]"``.
    OSError
        The file cannot be written; what was there before is still there.

    References
    ----------
    https://huggingface.co/docs/safetensors

    Examples
    --------
    >>> import os, tempfile
    >>> from daseCV_c.classifiers.fc_net import TwoLayerNet
    >>> net = TwoLayerNet(4, 5, 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, 'flowers.npz')
    ...     save_model(net, path, class_names=['setosa', 'versicolor', 'virginica'])
    ...     load_model(path).class_names
    ['setosa', 'versicolor', 'virginica']
    """
    function = "save_model"
    path = os.fspath(path)
    if format is None:
        format = "safetensors" if str(path).endswith(".safetensors") else "npz"
    if format not in _FORMATS:
        raise ValueError(f"{function}: format is {format!r}, expected 'npz' or 'safetensors'")
    library = _safetensors(function) if format == "safetensors" else None
    document, arrays = _contents(function, model, mean_image, class_names)
    if library is None:
        archive.write(path, "model", document, arrays)
        return
    described = json.dumps({"format": _FORMAT, "version": __version__, "document": document}, allow_nan=False)
    # Arrays in the order of C, of this machine's bytes: the format has no other.
    plain = {name: _checks.settle(array, array.dtype.newbyteorder("=")) for name, array in arrays.items()}
    content = library.numpy.save(plain, {_KEY: described})
    with replacing(path, durable=True) as file:
        file.write(content)


def _read_safetensors(function: str, path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Array]]:
    library, shown = _safetensors(function), os.fspath(path)
    try:
        with library.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise archive.ArchiveError(
                    f'{function}: "{shown}" is a safetensors file of another program: it does not describe a network')
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (library.SafetensorError, TypeError, AttributeError) as error:  # the last two: a number NumPy has not
        raise archive.ArchiveError(f'{function}: "{shown}" cannot be read: {error}') from None
    try:
        frame = json.loads(metadata[_KEY])
    except (ValueError, RecursionError):
        frame = None
    if not isinstance(frame, dict) or frame.get("format") != _FORMAT or not isinstance(frame.get("document"), dict):
        raise archive.ArchiveError(f'{function}: "{shown}" does not describe a network of format {_FORMAT}')
    return frame["document"], arrays


def _is_safetensors(path: str | os.PathLike[str]) -> bool:
    """Whether the file begins as such a one does: the length of its JSON, then the JSON."""
    with open(path, "rb") as file:
        head = file.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") <= os.path.getsize(path)


def load_model(path: str | os.PathLike[str]) -> Any:
    """Read a network that `save_model` wrote.

    No code from the file runs, and no random numbers are drawn. Scores are equal to those of the
    network that was saved, to the last bit on the same machine.

    Parameters
    ----------
    path : str or path
        The format is seen from the content, whatever the file is called.

    Returns
    -------
    model : TwoLayerNet, FullyConnectedNet or ThreeLayerConvNet
        ``model.mean_image`` and ``model.class_names`` are what was saved, or None.

    Raises
    ------
    OSError
        There is no such file, or it cannot be opened.
    ValueError
        The file is damaged, or none of `save_model`. The message names it and says what it is.
    ImportError
        It is a safetensors file, and the package is not installed.

    Warns
    -----
    RuntimeWarning
        The network was saved where products are computed in bfloat16, and here they are not; or its
        numbers are not finite.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from daseCV_c.classifiers.fc_net import FullyConnectedNet
    >>> net, X = FullyConnectedNet([5], input_dim=4, num_classes=3), np.ones((2, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, 'model.npz')
    ...     save_model(net, path)
    ...     np.array_equal(load_model(path).loss(X), net.loss(X))
    True
    """
    return _load("load_model", path)


def _load(function: str, path: str | os.PathLike[str]) -> Any:
    if os.path.isfile(path) and _is_safetensors(path):
        document, arrays = _read_safetensors(function, path)
    else:
        document, arrays = archive.read(path, "model")
    try:
        model = networks.rebuild(function, document.get("network"), arrays)
    except (TypeError, ValueError) as error:
        raise archive.ArchiveError(f'"{os.fspath(path)}" does not hold a network: {error}') from None
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            warnings.warn(f'{function}: {name} of "{os.fspath(path)}" holds a NaN or an infinity, so what the network '
                          "predicts means nothing", RuntimeWarning, stacklevel=3)
            break
    wanted = document.get("matmul_precision")
    if wanted == "bfloat16" != _precision.get_matmul_precision() and model.dtype == np.float32:
        warnings.warn(f'{function}: "{os.fspath(path)}" was saved where products are computed in bfloat16: for equal '
                      "scores call daseCV_c.set_matmul_precision('bfloat16')", RuntimeWarning, stacklevel=3)
    return model


def _courses_parameters(function: str, path: str | os.PathLike[str]) -> dict[str, Array] | None:
    """The parameters of a file that the course's own networks saved, by `numpy.save` of a dict; else None."""
    if not os.path.isfile(path):  # a pipe may never be written to
        return None
    with open(path, "rb") as file:
        if file.read(8) != b"\x93NUMPY\1\0":
            return None
        try:
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        except Exception as error:  # a damaged header may raise anything
            raise archive.ArchiveError(f'{function}: "{os.fspath(path)}" cannot be read: {error}') from error
        if shape != () or not dtype.hasobject:
            return None
        # It holds a pickle: read as data, so that no code of it runs.
        content = pickles.load(io.BytesIO(file.read()), os.fspath(path), objects=True)
    params = content[()] if isinstance(content, np.ndarray) and content.shape == () else None
    if not isinstance(params, dict) or not all(isinstance(value, np.ndarray) for value in params.values()):
        raise archive.ArchiveError(f'{function}: "{os.fspath(path)}" holds something else than parameters')
    return params


def load_into(function: str, model: Any, path: str | os.PathLike[str]) -> None:
    """Give `model` what the file holds; for `Network.load`."""
    params = _courses_parameters(function, path)
    if params is None:
        other = _load(function, path)
        if not isinstance(model, type(other)):
            raise ValueError(f'{function}: "{os.fspath(path)}" holds a {type(other).__name__}, '
                             f"but this network is a {type(model).__name__}")
    else:
        other = copy.copy(model)
        other.params = params
        networks.describe(function, other)
    networks.adopt(model, other)
