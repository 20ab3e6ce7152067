"""What data is kept in: masked and sparse arrays, objects, and what offers itself as a frame or a column."""

import numpy as np
import pytest
from adversarial import frozen

from daseCV_c import _tables, layers, submission
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.data_utils import gather_batch
from daseCV_c.solver import Solver

pytestmark = pytest.mark.once

X = np.arange(12.0).reshape(4, 3)
MASKED = np.ma.array(X, mask=np.eye(4, 3, -1) * [0, 1, 1] > 0)  # at [2, 1] and [3, 2]


class Column:
    """A column as libraries offer one."""

    def __init__(self, values):
        self._values = np.asarray(values)
        self.dtype = "of its library"

    def to_numpy(self):
        return self._values

    def __array__(self, dtype=None, copy=None):
        return self._values


class Frame:
    """Columns by name, and an array of objects where they differ."""

    def __init__(self, **columns):
        self.columns, self._columns = list(columns), list(map(Column, columns.values()))
        self.shape = len(self._columns[0].to_numpy()), len(columns)

    def get_columns(self):
        return self._columns

    def to_numpy(self):
        return np.array([column.to_numpy().tolist() for column in self._columns], object).T

    def __array__(self, dtype=None, copy=None):
        return self.to_numpy()


class Sparse:
    shape, dtype, nnz = (1000, 250), np.dtype(np.float32), 3

    def toarray(self):
        raise AssertionError("nobody has asked for it")


class Lazy:
    def collect(self):
        raise AssertionError("nobody has asked for it")


def net_of(kind):
    return TwoLayerNet(3, 5, 2) if kind is TwoLayerNet else FullyConnectedNet([5], 3, 2, normalization="batchnorm")


def solver_of(model=None, **changes):
    data = {"X_train": X, "y_train": [0, 1, 0, 1], "X_val": X, "y_val": [0, 1, 0, 1]} | changes
    return Solver(model or TwoLayerNet(3, 5, 2), data, num_epochs=2, batch_size=2, verbose=False)


FRAME = {"age": [0.5, 1, 2, 3], "red": [True, False, True, True], "rooms": [3, 1, 2, 2]}
PLAIN = np.array([FRAME["age"], FRAME["red"], FRAME["rooms"]], float).T


@pytest.mark.parametrize("kind", [TwoLayerNet, FullyConnectedNet])
def test_a_frame_of_mixed_columns_is_its_numbers(backend, kind):
    net, y = net_of(kind), Column([0, 1, 1, 0])
    assert np.array_equal(net.loss(Frame(**FRAME)), net.loss(PLAIN))
    assert np.array_equal(net.predict(Frame(**FRAME)), net.predict(PLAIN))
    assert net.loss(Frame(**FRAME), y)[0] == net.loss(PLAIN, [0, 1, 1, 0])[0]
    solver = solver_of(net, X_train=Frame(**FRAME), X_val=Frame(**FRAME), y_train=y)
    solver.train()
    assert solver.check_accuracy(Frame(**FRAME), y) == solver.check_accuracy(PLAIN, [0, 1, 1, 0])


@pytest.mark.parametrize(("columns", "dtype"), [
    ({"a": np.ones(2, np.float32), "b": np.ones(2, np.float32)}, np.float32),
    ({"a": np.ones(2, np.uint8), "b": np.ones(2, np.uint8)}, np.uint8),
    ({"a": np.ones(2, np.float32), "b": np.ones(2, np.int64)}, np.float64),
    ({"a": np.ones(2, bool), "b": np.ones(2, np.uint8)}, np.uint8),
    ({"a": np.array([1, 2.5], object), "b": np.ones(2, np.float32)}, np.float64),
])
def test_the_type_that_holds_all_columns(columns, dtype):
    found = _tables.samples("f", "X", Frame(**columns))
    assert found.dtype == dtype and found.tolist() == Frame(**columns).to_numpy().tolist()


NA, NaT = type("NAType", (), {})(), np.datetime64("NaT", "s")
BAD_COLUMNS = {
    "NaN": ([1, 2, np.nan, np.nan], ValueError, "no value in 2 places, first in row 2"),
    "None": ([1, None, 2, 3], ValueError, "no value in 1 place, first in row 1"),
    "NA": ([NA, True, False, True], ValueError, "no value in 1 place, first in row 0"),
    "text": (["2", "x", "3", "4"], TypeError, "holds 2 in row 0, expected numbers: make numbers of text"),
    "text below": (np.array([2, 1, "x", 4], object), TypeError, "holds 'x' in row 2, expected numbers"),
    "dates": (np.array([1, 2, 3, 4], "M8[D]"), TypeError, "dtype datetime64.*, expected numbers"),
    "complex": ([1j, 2, 3, 4], TypeError, "dtype complex128"),
    "too large": (np.array([1, 10**400, 2, 3], object), ValueError, "too large for a float"),
}


@pytest.mark.parametrize("kind", BAD_COLUMNS)
def test_a_column_that_is_none_of_numbers(kind):
    values, error, message = BAD_COLUMNS[kind]
    net, frame = net_of(FullyConnectedNet), Frame(**FRAME | {"red": values})
    before, state = frozen([net.params, net.bn_params]), frozen(np.random.get_state())
    for name, call in (
        ("FullyConnectedNet.loss: column 'red' of X", lambda: net.loss(frame)),
        ("FullyConnectedNet.loss: column 'red' of X", lambda: net.loss(frame, [0, 1, 0, 1])),
        ("FullyConnectedNet.predict: column 'red' of X", lambda: net.predict(frame)),
        ("relu_forward: column 'red' of x", lambda: layers.relu_forward(frame)),
        ("gather_batch: column 'red' of X", lambda: gather_batch(frame, [0])),
        ("Solver: column 'red' of X_val", lambda: solver_of(net, X_val=frame)),
        ("check_accuracy: column 'red' of X", lambda: solver_of(net).check_accuracy(frame, [0, 1, 0, 1])),
    ):
        with pytest.raises(error, match=f"^{name} .*{message}"):
            call()
    assert frozen([net.params, net.bn_params]) == before and frozen(np.random.get_state()) == state


@pytest.mark.parametrize(("columns", "message"), [
    (("age", "rooms", "red"), "X_train has the columns age, red, rooms, but X_val has age, rooms, red"),
    (("age", "red"), "but X_val has age, red$"),
])
def test_columns_in_another_order(columns, message):
    with pytest.raises(ValueError, match=message):
        solver_of(X_train=Frame(**FRAME), X_val=Frame(**{name: FRAME[name] for name in columns}))


def test_masks_are_never_dropped(backend):
    net, y = net_of(FullyConnectedNet), np.ma.array([0, 1, 0, 1], mask=[0, 0, 0, 1])
    image = np.ma.array(np.ones((2, 2, 4, 4)), mask=np.arange(64).reshape(2, 2, 4, 4) == 37)
    cnn = ThreeLayerConvNet((2, 4, 4), 2, 3, 5, 3)
    for name, call in (
        (r"relu_forward: x is masked in 2 places, first at x\[2, 1\]", lambda: layers.relu_forward(MASKED)),
        (r"affine_forward: w is masked .* w\[2, 1\]", lambda: layers.affine_forward(np.ones((2, 4)), MASKED, X[0])),
        (r"softmax_loss: y is masked in 1 place, first at y\[3\]", lambda: layers.softmax_loss(X, y)),
        (r"FullyConnectedNet.loss: X is masked .* X\[2, 1\]", lambda: net.loss(MASKED)),
        (r"FullyConnectedNet.loss: y is masked .* y\[3\]", lambda: net.loss(X, y)),
        (r"FullyConnectedNet.predict_proba: X is masked", lambda: net.predict_proba(MASKED)),
        (r"ThreeLayerConvNet.loss: X is masked .* X\[1, 0, 1, 1\]", lambda: cnn.loss(image, [0, 1])),
        (r"Solver: X_train is masked .* X_train\[2, 1\]", lambda: solver_of(X_train=MASKED)),
        (r"Solver: y_val is masked .* y_val\[3\]", lambda: solver_of(y_val=y)),
        (r"Solver: X_train is masked", lambda: Solver(Own(), solver_data(X_train=MASKED))),
        (r"gather_batch: X is masked", lambda: gather_batch(MASKED, [0])),
        (r"output_file: preds is masked", lambda: submission.output_file(y)),
    ):
        with pytest.raises(ValueError, match=f"^{name}"):
            call()
    assert np.array_equal(net.loss(np.ma.array(X)), net.loss(X))
    assert net.loss(X, np.ma.array(y.data))[0] == net.loss(X, y.data)[0]


def solver_data(**changes):
    return {"X_train": X, "y_train": [0, 1, 0, 1], "X_val": X, "y_val": [0, 1, 0, 1]} | changes


class Own:
    """A model that looks at what it is given."""

    def __init__(self):
        self.params, self.seen = {"W": np.zeros(2)}, []

    def loss(self, X, y=None):
        self.seen.append(X)
        return np.zeros((len(X), 2)) if y is None else (0.5, {"W": np.zeros(2)})


def test_sparse_and_lazy_tables_say_what_to_do():
    net = net_of(TwoLayerNet)
    with pytest.raises(TypeError, match=r"TwoLayerNet.loss: X is a sparse Sparse of shape \(1000, 250\), expected a "
                                        r"dense array: X.toarray\(\) makes one of 1 MB"):
        net.loss(Sparse())
    with pytest.raises(TypeError, match="Solver: X_train is a sparse Sparse"):
        Solver(Own(), solver_data(X_train=Sparse()))
    with pytest.raises(TypeError, match=r"TwoLayerNet.loss: X is a Lazy, .*: X.collect\(\)"):
        net.loss(Lazy())


def test_objects_that_are_numbers():
    net, objects = net_of(TwoLayerNet), np.array([[1, 2.5, True]] * 4, object)
    assert np.array_equal(net.loss(objects), net.loss(objects.astype(float)))
    solver_of(net, X_train=objects).train()
    objects[2, 1] = "x"
    with pytest.raises(TypeError, match=r"loss: X has dtype object and holds 'x' at X\[2, 1\], expected"):
        net.loss(objects)
    with pytest.raises(TypeError, match=r"Solver: X_train has dtype object and holds 'x' at X_train\[2, 1\]"):
        solver_of(net, X_train=objects)


@pytest.mark.parametrize("change", [np.float32, bool, object, Column], ids=str)
def test_labels_that_are_whole_numbers_train_the_same(change):
    expected = solver_of(TwoLayerNet(3, 5, 2, seed=1))
    np.random.seed(0)
    expected.train()
    y = np.array([0, 1, 0, 1])
    y = change(y.astype(np.int64)) if change is Column else y.astype(change)
    found = solver_of(TwoLayerNet(3, 5, 2, seed=1), y_train=y)
    np.random.seed(0)
    found.train()
    assert found.loss_history == expected.loss_history and found.y_train.dtype == np.int64


def test_labels_that_are_missing_or_names():
    for y, error, message in (
        (Column([0, 1, np.nan, 1]), ValueError, "y_train has no value in 1 place, first in row 2"),
        (Column(np.array(["a", None, "b", "b"], object)), ValueError, "y_train has no value in 1 .* row 1"),
        (["a", "b", "a", "b"], TypeError, r"y_train holds .*: names, y = np.unique\(y_train, return_inverse=True\)"),
        (np.zeros((4, 1), int), ValueError, r"expected one label per sample: np.ravel\(y_train\)"),
    ):
        with pytest.raises(error, match=f"^Solver: .*{message}"):
            solver_of(y_train=y).train()


def test_samples_of_one_axis():
    with pytest.raises(ValueError, match=r"Solver: X_train has shape \(4,\).* np.reshape\(X_train, \(-1, 1\)\)"):
        solver_of(X_train=X[:, 0])
    with pytest.raises(ValueError, match=r"TwoLayerNet.predict: X has 1 dimensions.*X.reshape\(1, -1\) is one sample"):
        net_of(TwoLayerNet).predict(X[0])


def test_a_class_that_the_training_samples_lack():
    net = FullyConnectedNet([5], 3, 3, weight_scale="he")
    solver = solver_of(net, y_train=[0, 0, 2, 2], y_val=[0, 1, 2, 1])
    solver.train()
    assert np.isfinite(solver.val_loss_history).all() and net.predict_proba(X).shape == (4, 3)


def test_a_model_of_ones_own_is_given_what_it_was():
    """Frames of numbers come as one array; text, dates and what is missing are the model's to read."""
    model = Own()
    Solver(model, solver_data(X_train=Frame(**FRAME)), num_epochs=1, batch_size=4, verbose=False).train()
    assert model.seen[0].dtype == np.float64
    model = Own()
    text = Frame(**FRAME | {"red": ["a", "b", "c", "d"]})
    Solver(model, solver_data(X_train=text), num_epochs=1, batch_size=4, verbose=False).train()
    assert model.seen[0].dtype == object
    holes = Frame(**FRAME | {"age": [np.nan] * 4})
    assert np.isnan(Solver(Own(), solver_data(X_train=holes)).X_train[:, 0]).all()


def test_plain_arrays_are_taken_as_they_are():
    for array in (X, X.astype(np.float32), X.astype(np.uint8), np.array(["a"])):
        assert _tables.samples("f", "X", array) is array and _tables.labels("f", "y", array) is array
