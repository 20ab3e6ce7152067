"""Frames and columns of pandas and polars, and SciPy's sparse matrices, as people hand them over."""

import datetime
from decimal import Decimal

import numpy as np
import pytest

for library in ("pandas", "polars", "scipy.sparse"):
    pytest.importorskip(library, reason=f"{library.partition('.')[0]} is not installed, which only tests need")

import pandas as pd  # noqa: E402
import polars as pl  # noqa: E402
from scipy import sparse  # noqa: E402

from daseCV_c import _tables  # noqa: E402
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet  # noqa: E402
from daseCV_c.solver import Solver  # noqa: E402

pytestmark = pytest.mark.once

MIXED = {"age": [1.5, 2.0, 3.0, 0.5], "red": [True, False, True, False], "rooms": [1, 2, 3, 4]}
PLAIN = np.array([MIXED[name] for name in MIXED], float).T
LIBRARIES = {"pandas": (pd.DataFrame, pd.Series), "polars": (pl.DataFrame, pl.Series)}


def frame_of(library, **changes):
    return LIBRARIES[library][0](MIXED | changes)


def samples(frame):
    return _tables.samples("f", "X", frame)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_training_on_a_frame_is_that_on_its_numbers(library):
    net = FullyConnectedNet([5], 3, 2, weight_scale="he", dtype=np.float64)
    frame, column = frame_of(library), LIBRARIES[library][1]([0, 1, 1, 0])
    assert np.array_equal(net.loss(frame), net.loss(PLAIN)) and np.array_equal(net.predict(frame), net.predict(PLAIN))
    histories = []
    for X, y in ((frame, column), (PLAIN, np.array([0, 1, 1, 0]))):
        solver = Solver(TwoLayerNet(3, 5, 2, seed=0), {"X_train": X, "y_train": y, "X_val": X, "y_val": y},
                        batch_size=2, num_epochs=3, seed=0, verbose=False)
        solver.train()
        histories.append(solver.loss_history)
    assert histories[0] == histories[1]


TAKEN = {
    "pandas": {
        "Int64": pd.array([1, 2, 3, 4], dtype="Int64"), "boolean": pd.array([True, False, True, True], dtype="boolean"),
        "Float64": pd.array([0.5, 1, 2, 3], dtype="Float64"), "float32": np.arange(4, dtype=np.float32),
        "numbers as a category": pd.Categorical([3, 1, 1, 2]), "sparse": pd.arrays.SparseArray([0, 0, 5, 0]),
        "objects": np.array([1, 2.5, True, Decimal("0.5")], object),
    },
    "polars": {"UInt8": pl.Series([1, 2, 3, 4], dtype=pl.UInt8), "Decimal": [Decimal("0.5")] * 4,
               "Boolean": [True, False, True, True]},
}
MISSING = {
    "pandas": {
        "NaN": [1, 2, np.nan, 3], "Int64": pd.array([1, 2, None, 3], dtype="Int64"),
        "boolean": pd.array([True, False, None, True], dtype="boolean"), "objects": np.array([1, 2, None, 3], object),
        "Float64": pd.array([0.5, 1, None, 3], dtype="Float64"),
    },
    "polars": {"int": [1, 2, None, 3], "bool": [True, False, None, True], "float": [0.5, 1.0, None, 3.0],
               "NaN": [0.5, 1.0, float("nan"), 3.0]},
}
REFUSED = {
    "pandas": {
        "text": ["a", "b", None, "c"], "category": pd.Categorical(list("abca")), "complex": [1j, 2, 3, 4],
        "dates": pd.date_range("2020", periods=4), "spans": pd.to_timedelta([1, 2, 3, 4]),
        "zones": pd.date_range("2020", periods=4, tz="UTC"),
    },
    "polars": {
        "text": ["a", "b", None, "c"], "dates": [datetime.date(2020, 1, 1)] * 4, "lists": [[1], [2], [3], [4]],
        "category": pl.Series(list("abca"), dtype=pl.Categorical),
    },
}


def cases(table):
    return [(library, kind) for library in table for kind in table[library]]


@pytest.mark.parametrize(("library", "kind"), cases(TAKEN))
def test_columns_of_numbers(library, kind):
    values = TAKEN[library][kind]
    found = samples(frame_of(library, red=values))
    expected = np.array([MIXED["age"], [float(value) for value in values], MIXED["rooms"]]).T
    assert found.dtype == np.float64 and np.array_equal(found, expected)


@pytest.mark.parametrize(("library", "kind"), cases(MISSING))
def test_a_missing_value_is_named_by_row_and_column(library, kind):
    values = MISSING[library][kind]
    with pytest.raises(ValueError, match="f: column 'red' of X has no value in 1 place, first in row 2 "):
        samples(frame_of(library, red=values))
    with pytest.raises(ValueError, match="f: y has no value in 1 place, first in row 2 "):
        _tables.labels("f", "y", LIBRARIES[library][1](values))


@pytest.mark.parametrize(("library", "kind"), cases(REFUSED))
def test_columns_that_are_no_numbers(library, kind):
    with pytest.raises(TypeError, match="f: column 'red' of X has dtype .* in row 0, expected numbers"):
        samples(frame_of(library, red=REFUSED[library][kind]))


def test_names_of_columns_that_are_no_text_or_not_one():
    twice = pd.DataFrame([[1.0, True, None]] * 2, columns=["a", "a", ("b", 1)])
    with pytest.raises(ValueError, match=r"column \"\('b', 1\)\" of X has no value in 2 places, first in row 0"):
        samples(twice)
    assert samples(twice.fillna(3.0)).tolist() == [[1, 1, 3]] * 2


def test_a_frame_of_one_type_is_not_copied():
    frame = pd.DataFrame(np.ones((50, 4), np.float32))
    found = samples(frame)
    assert found.dtype == np.float32 and np.shares_memory(found, frame.to_numpy())


def test_labels_of_a_frame():
    for y in (pd.Series([0, 1], dtype="Int64"), pd.Series([0, 1], dtype="category"), pl.Series([0, 1]),
              pd.Index([0, 1])):
        assert _tables.labels("f", "y", y).tolist() == [0, 1]
    assert _tables.labels("f", "y", pd.Series(["a", "b"])).tolist() == ["a", "b"]


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_array", "coo_matrix", "dok_matrix", "lil_array"])
def test_sparse_matrices(kind):
    with pytest.raises(TypeError, match=f"f: X is a sparse {kind} of shape .*X.toarray"):
        samples(getattr(sparse, kind)(np.eye(3)))


def test_a_lazy_frame():
    with pytest.raises(TypeError, match=r"f: X is a LazyFrame.*X.collect\(\)"):
        samples(frame_of("polars").lazy())
