"""What an estimator is given: samples, targets and weights, looked at in scikit-learn's manner."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array, check_random_state, column_or_1d, validation
from sklearn.utils.multiclass import check_classification_targets

from daseCV_c import _random, _tables
from daseCV_c._types import Array

_FLOATS = [np.float64, np.float32]
# What scikit-learn calls it from 1.6 on, and before.
_FINITE = "ensure_all_finite" if hasattr(validation, "validate_data") else "force_all_finite"


def _validated(estimator: Any, X: Any, reset: bool, names_only: bool, **checks: Any) -> Any:
    if hasattr(validation, "validate_data"):
        return validation.validate_data(estimator, X, reset=reset, skip_check_array=names_only, **checks)
    if names_only:
        return estimator._validate_data(X, reset=reset, cast_to_ndarray=False)
    return estimator._validate_data(X, reset=reset, **checks)


def samples(estimator: Any, method: str, X: Any, reset: bool) -> Array:
    """X as a matrix of float32 or float64, every number of it finite; `reset` takes over the names of features."""
    function = f"{type(estimator).__name__}.{method}"
    checks = {"dtype": _FLOATS, _FINITE: False}
    if _tables.is_frame(X):
        numbers = _tables.samples(function, "X", X)
        _validated(estimator, X, reset, True)
        found = check_array(numbers, estimator=estimator, input_name="X", **checks)
    else:
        if isinstance(X, np.ma.MaskedArray):
            X = _tables.dense(function, "X", X)
        found = _validated(estimator, X, reset, False, **checks)
    _finite(function, "X", found, getattr(estimator, "feature_names_in_", None))
    return np.asarray(found)


def _finite(function: str, name: str, array: Array, columns: Any = None) -> None:
    """ValueError for the first number that is none."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):
            return
    good = np.isfinite(array)
    if good.all():
        return
    place = np.argwhere(~good)[0]
    what = "NaN" if np.isnan(array[tuple(place)]) else "infinity (inf)"
    where = f"row {place[0]}" + (
        "" if len(place) == 1 else f", column {place[1]}" if columns is None else f", column {columns[place[1]]!r}")
    raise ValueError(f"{function}: {name} holds {what} in {where}, {np.count_nonzero(~good)} in all. Fill such places "
                     "before, for instance with sklearn.impute in a Pipeline, or leave the rows out")


def classes_and_numbers(function: str, y: Any) -> tuple[Array, Array]:
    """(the labels that occur, sorted; the place of each sample's label among them)."""
    y = _vector(function, y)
    if y.dtype.kind == "f":
        _finite(function, "y", y)
    try:
        classes, numbers = np.unique(y, return_inverse=True)
    except TypeError:
        kinds = " and ".join(sorted({type(label).__name__ for label in y.tolist()}))
        raise TypeError(f"{function}: y holds labels of the types {kinds}, which cannot be sorted") from None
    check_classification_targets(y)
    return classes, numbers.reshape(-1)


def _vector(function: str, y: Any) -> Array:
    if y is None:
        raise ValueError(f"{function} requires y to be passed, but the target y is None")
    if isinstance(y, np.ma.MaskedArray) or _tables.is_column(y):
        y = _tables.labels(function, "y", y)
    return np.asarray(column_or_1d(y, warn=True))


def numbers_of(function: str, y: Any, classes: Array) -> Array:
    """The place of each label among `classes`, all of which must be there."""
    y = _vector(function, y)
    known, numbers = np.unique(y, return_inverse=True)
    unknown = np.setdiff1d(known, classes)
    if len(unknown):
        raise ValueError(f"{function}: y holds {unknown.tolist()[0]!r}, expected one of the classes {classes.tolist()}")
    return np.searchsorted(classes, known)[numbers.reshape(-1)]


def targets(function: str, y: Any, dtype: Any, loss: str) -> Array:
    """Numbers to predict, (N,) or (N, K)."""
    if y is None:
        raise ValueError(f"{function} requires y to be passed, but the target y is None")
    if isinstance(y, np.ma.MaskedArray) or _tables.is_column(y) or _tables.is_frame(y):
        y = _tables.samples(function, "y", y)
    y = check_array(y, ensure_2d=False, dtype=dtype, input_name="y", **{_FINITE: False})
    if y.ndim > 2:
        raise ValueError(f"{function}: y has shape {y.shape}, expected (N,) or (N, number of outputs)")
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    _finite(function, "y", y)
    if loss == "poisson" and y.size and y.min() < 0:
        raise ValueError(f"{function}: y holds {y.min():g}, but with loss='poisson' no target is negative")
    return np.asarray(y)


def fit_in_length(function: str, X: Array, y: Array) -> None:
    if len(X) != len(y):
        raise ValueError(f"{function}: X has {len(X)} samples and y {len(y)}: inconsistent numbers of samples")


def weights(function: str, sample_weight: Any, X: Array) -> Array | None:
    """None where every sample counts the same."""
    if sample_weight is None:
        return None
    found = _tables.samples(function, "sample_weight", sample_weight)
    if found.dtype.kind not in "biuf":
        raise TypeError(f"{function}: sample_weight has dtype {found.dtype}, expected numbers")
    found = found.astype(np.float64)
    if found.shape != X.shape[:1]:
        raise ValueError(
            f"{function}: sample_weight has shape {found.shape}, expected ({len(X)},): one weight a sample")
    _finite(function, "sample_weight", found)
    if found.min() < 0:
        raise ValueError(f"{function}: sample_weight holds {found.min():g} in row {found.argmin()}, expected weights "
                         "that are not negative")
    if not found.any():
        raise ValueError(f"{function}: sample_weight is zero for every sample")
    return None if (found == found[0]).all() else found


def with_class_weight(
    function: str, class_weight: Any, weight: Array | None, numbers: Array, classes: Array,
) -> Array | None:
    """The weights of samples, each times that of its class; None where every sample counts the same."""
    if class_weight is None:
        return weight
    own = np.ones(len(numbers)) if weight is None else weight
    if isinstance(class_weight, str) and class_weight == "balanced":
        held = np.bincount(numbers, own, len(classes))
        # All classes together weigh what they did; one without samples changes nothing.
        factors = held.sum() / (np.count_nonzero(held) * np.where(held > 0, held, 1))
    elif hasattr(class_weight, "items"):
        factors = np.ones(len(classes))
        for label, factor in class_weight.items():
            place = np.flatnonzero(classes == label)
            if not len(place):
                raise ValueError(f"{function}: class_weight has the class {label!r}, expected some of "
                                 f"{classes.tolist()}")
            factors[place[0]] = factor
        if not (factors >= 0).all() or not np.isfinite(factors).all():
            raise ValueError(f"{function}: class_weight is {class_weight!r}, expected weights that are not negative")
    else:
        raise ValueError(f"{function}: class_weight is {class_weight!r}, expected None, 'balanced' or a dict")
    found: Array = own * factors[numbers]
    if not found.any():
        raise ValueError(f"{function}: class_weight and sample_weight make the weight of every sample zero")
    return found


def held_out(function: str, numbers: Array | None, n: int, fraction: Any, random: Any) -> tuple[Array, Array]:
    """(rows to train with, rows to validate with), of each class (`numbers`) the same share.

    A class of one sample is trained with: no class of y is lacking there.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, (float, int)) or not 0 < fraction < 1:
        raise ValueError(f"{function}: validation_fraction is {fraction!r}, expected a number between 0 and 1")
    order, kept = random.permutation(n), []
    groups = [order] if numbers is None else [order[numbers[order] == k] for k in range(numbers.max() + 1)]
    for group in groups:
        kept.append(group[:min(round(fraction * len(group)), max(len(group) - 1, 0))])
    largest = max(groups, key=len)
    if not sum(map(len, kept)) and len(largest) > 1:
        kept.append(largest[:1])
    validation_rows = np.sort(np.concatenate(kept))
    if not len(validation_rows):
        raise ValueError(f"{function}: there is nothing to validate with: a share of {fraction} of {n} samples "
                         "(n_samples = 1 of each class) is none")
    return np.setdiff1d(np.arange(n), validation_rows), validation_rows


def generator(random_state: Any) -> _random.Generator:
    """A generator of its own: None is a new one, not NumPy's global one."""
    return np.random.RandomState() if random_state is None else check_random_state(random_state)
