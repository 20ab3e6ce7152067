"""Reading the course's data sets, and drawing batches from them."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, BinaryIO

from daseCV_c._layers.batch import gather_batch
from daseCV_c._network import Network
from daseCV_c.datasets import pickles as _pickle
from daseCV_c.datasets.cifar_files import get_CIFAR10_data, load_CIFAR10, load_CIFAR_batch
from daseCV_c.datasets.imagenet import load_imagenet_val, load_tiny_imagenet
from daseCV_c.datasets.pickles import BadPickleError

__all__ = [
    "BadPickleError",
    "gather_batch",
    "get_CIFAR10_data",
    "load_CIFAR10",
    "load_CIFAR_batch",
    "load_imagenet_val",
    "load_models",
    "load_pickle",
    "load_tiny_imagenet",
]


def load_pickle(f: str | os.PathLike[str] | BinaryIO) -> Any:
    """Read a pickle that holds data: arrays of numbers, numbers, strings, lists, tuples and dicts.

    No code from the pickle runs, and to read it takes time and memory in proportion to its size.
    Strings of Python 2 are read as latin1.

    Parameters
    ----------
    f : binary file object, str or path

    Returns
    -------
    value : object

    Raises
    ------
    OSError
        The file cannot be opened.
    BadPickleError
        The file is a pipe or a device, or the pickle is damaged or asks for more than data, such as a
        function, a class or an array of objects. It is a `pickle.UnpicklingError` and a `ValueError`;
        the message names the file.

    References
    ----------
    Python documentation, "Restricting Globals",
    https://docs.python.org/3/library/pickle.html#restricting-globals

    Examples
    --------
    >>> import io, pickle
    >>> load_pickle(io.BytesIO(pickle.dumps({'labels': [3, 8]})))
    {'labels': [3, 8]}
    >>> load_pickle(io.BytesIO(pickle.dumps(print)))
    Traceback (most recent call last):
    daseCV_c.datasets.pickles.BadPickleError: the pickle cannot be read: it asks for builtins.print, which is not data
    """
    if isinstance(f, (str, os.PathLike)):
        return _pickle.load_path(f)
    return _pickle.load(f)


def load_models(models_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the models of the checkpoints in a folder.

    A checkpoint is what `Solver` writes: an .npz file, or by earlier versions and by the course a
    pickled dict with the key ``model``. A model file of `save_model` does as well. Only the package's
    own networks (TwoLayerNet, FullyConnectedNet, ThreeLayerConvNet) made of data are restored. No code
    from a file runs: a pickle of any other class is not read, since to build it would run what it names.

    Parameters
    ----------
    models_dir : str or path

    Returns
    -------
    models : dict
        The model of each file, under the file's name. A file that cannot be read safely, or has
        no model, is left out with a warning that names it.

    Raises
    ------
    OSError
        The folder does not exist.

    References
    ----------
    CS231n, assignment 2

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load_models(folder)
    {}
    """
    models = {}
    for path in sorted(Path(models_dir).iterdir()):
        if not path.is_file():
            continue
        try:
            with open(path, "rb") as file:
                head = file.read(9)
            read = _zipped_model if head[:2] == b"PK" else _safetensors if head[8:] == b"{" else _pickled_model
            models[path.name] = read(path)
        except (ValueError, ImportError) as error:  # BadPickleError and ArchiveError are ValueErrors
            warnings.warn(f"load_models: {error}", RuntimeWarning, stacklevel=2)
    return models


def _zipped_model(path: Path) -> Any:
    # They know the networks, which know this module's readers.
    from daseCV_c import models
    from daseCV_c._training import archive, snapshot
    try:
        return snapshot.Snapshot(path, *archive.read(path, snapshot.KIND)).built()
    except archive.OtherKindError:
        return models.load_model(path)


def _safetensors(path: Path) -> Any:
    from daseCV_c import models
    return models.load_model(path)


def _pickled_model(path: Path) -> Any:
    state = _pickle.load_path(path, models=True)
    if not isinstance(state, dict) or not isinstance(state.get("model"), Network):
        raise ValueError(f"{path} holds no model")
    return state["model"]
