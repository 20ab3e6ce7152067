"""The leaderboard's files: predictions as .npy, and a zip that holds them."""

import zipfile
from pathlib import Path

import numpy as np

from daseCV_c import _checks, _tables
from daseCV_c._files import replacing
from daseCV_c._predictions import unfit
from daseCV_c._types import ArrayLike

__all__ = ["output_file", "zip_fun"]


def _phase(function: str, phase_id: int) -> int:
    return _checks.integer(function, "phase_id", phase_id, 1, wrong_type=ValueError)


def output_file(preds: ArrayLike, phase_id: int = 1, *, rows: int | None = None, classes: int | None = None) -> str:
    """Write predictions to ``output/phase_<phase_id>/prediction.npy`` under the working folder.

    Parameters
    ----------
    preds : array of numbers, (N,)
        Predicted labels: whole numbers from 0.
    phase_id : int
    rows, classes : int, optional
        How many predictions there must be, and of how many classes. Not checked where they are not given.

    Returns
    -------
    path : str

    Raises
    ------
    ValueError, TypeError
        preds is not a vector of whole numbers from 0, has another length than `rows` or a class beyond `classes`;
        phase_id, rows or classes is not a positive integer.

    References
    ----------
    The fully-connected notebook of the course, its last part.

    Examples
    --------
    >>> import contextlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
    ...     output_file([1, 2, 3]).replace('\\\\', '/')
    'output/phase_1/prediction.npy'
    """
    phase = _phase("output_file", phase_id)
    preds = _tables.labels("output_file", "preds", preds)
    if preds.dtype.kind not in "biuf":
        raise TypeError(f"output_file: preds has dtype {preds.dtype}, expected numbers")
    for name, value in (("rows", rows), ("classes", classes)):
        if value is not None:
            _checks.integer("output_file", name, value, 1, wrong_type=ValueError)
    fault = unfit(preds, rows, classes)
    if fault is not None:
        raise ValueError(f"output_file: preds {fault}")
    path = Path("output") / f"phase_{phase}" / "prediction.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        np.save(file, preds, allow_pickle=False)
    return str(path)


def zip_fun(phase_id: int = 1) -> str:
    """Write ``output/prediction_phase_<phase_id>.zip``, holding ``prediction.npy``.

    An earlier zip of that phase is replaced; those of other phases stay.

    Parameters
    ----------
    phase_id : int

    Returns
    -------
    path : str

    Raises
    ------
    FileNotFoundError
        `output_file` has not been called for this phase.
    ValueError
        phase_id is not a positive integer.

    References
    ----------
    The fully-connected notebook of the course, its last part.

    Examples
    --------
    >>> import contextlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
    ...     _ = output_file([1, 2, 3], phase_id=2)
    ...     zip_fun(phase_id=2).replace('\\\\', '/')
    'output/prediction_phase_2.zip'
    """
    phase = _phase("zip_fun", phase_id)
    source = Path("output") / f"phase_{phase}" / "prediction.npy"
    if not source.is_file():
        raise FileNotFoundError(
            f"zip_fun: there is no {source}; call output_file(preds, phase_id={phase}) first")
    path = Path("output") / f"prediction_phase_{phase}.zip"
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(source, "prediction.npy")
    return str(path)
