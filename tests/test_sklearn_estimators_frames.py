"""FullyConnectedClassifier and FullyConnectedRegressor are given tables, and say what is missing in them."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason='the extra sklearn is not installed: pip install "daseCV_c[sklearn]"')
pd = pytest.importorskip("pandas", reason="pandas is not installed, which only tests need")
pl = pytest.importorskip("polars", reason="polars is not installed, which only tests need")

from sklearn.datasets import load_wine  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.validation import _get_feature_names  # noqa: E402

from daseCV_c.sklearn import FullyConnectedClassifier, FullyConnectedRegressor  # noqa: E402

pytestmark = pytest.mark.once
BOTH = pytest.mark.parametrize("kind", [FullyConnectedClassifier, FullyConnectedRegressor])


def wine(scaled=True):
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X) if scaled else X, y


def small(kind=FullyConnectedClassifier, **settings):
    return kind(**{"hidden_dims": (12,), "num_epochs": 40, "learning_rate": 1e-2, "random_state": 0} | settings)


def equal_networks(one, two):
    return all(np.array_equal(w, two.network_.params[name]) for name, w in one.network_.params.items())


@BOTH
@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_frames_and_names_of_features(kind, library):
    X, y = wine()
    plain = np.column_stack([X[:, :3], X[:, 0] > 0])
    columns = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "over": X[:, 0] > 0}
    frame, column = library.DataFrame(columns), library.Series(y)
    model, expected = small(kind).fit(frame, column), small(kind).fit(plain, y)
    # Old versions of scikit-learn read no names of polars.
    names = _get_feature_names(frame)
    assert library is pl or names.tolist() == ["a", "b", "c", "over"]
    assert np.array_equal(getattr(model, "feature_names_in_", None), names) and model.n_features_in_ == 4
    assert equal_networks(model, expected) and np.array_equal(model.predict(frame), expected.predict(plain))
    if library is pd:
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(frame[["b", "a", "c", "over"]])
        with pytest.warns(UserWarning, match="feature names"):
            model.predict(plain)


@BOTH
def test_what_is_missing_is_named(kind):
    X, y = wine()
    name = kind.__name__
    frame = pd.DataFrame(X[:, :3], columns=["a", "b", "c"])
    model = small(kind, num_epochs=1).fit(frame, y)
    frame.loc[[4, 7], "b"] = np.nan
    for method, call in (("fit", lambda: small(kind).fit(frame, y)), ("predict", lambda: model.predict(frame))):
        with pytest.raises(ValueError, match=f"^{name}.{method}: column 'b' of X has no value in 2 places, .* row 4"):
            call()
    holes = np.array(frame)
    with pytest.raises(ValueError, match=f"^{name}.fit: X holds NaN in row 4, column 1, 2 in all.*sklearn.impute"):
        small(kind).fit(holes, y)
    holes[4, 1], holes[7, 1] = 0, np.inf
    model = small(kind, num_epochs=1).fit(X[:, :3], y)
    with pytest.raises(ValueError, match=f"^{name}.predict: X holds infinity \\(inf\\) in row 7, column 1, 1 in all"):
        model.predict(holes)
    masked = np.ma.array(X, mask=np.arange(X.size).reshape(X.shape) == 20)
    with pytest.raises(ValueError, match=rf"^{name}.fit: X is masked in 1 place, first at X\[1, 7\]"):
        small(kind).fit(masked, y)
    for bad, message in (
        (np.ma.array(y, mask=np.arange(len(y)) == 3), r"y is masked in 1 place, first at y\[3\]"),
        (pd.Series(y).astype("Int64").where(np.arange(len(y)) != 5), "y has no value in 1 place, first in row 5"),
        (np.where(np.arange(len(y)) == 5, np.nan, y), "y holds NaN in row 5, 1 in all"),
    ):
        with pytest.raises(ValueError, match=f"^{name}.fit: {message}"):
            small(kind).fit(X, bad)
    weight = np.ma.array(np.ones(len(y)), mask=np.arange(len(y)) == 3)
    with pytest.raises(ValueError, match=f"^{name}.fit: sample_weight is masked"):
        small(kind).fit(X, y, sample_weight=weight)


def test_text_columns_and_labels():
    X, y = wine()
    frame = pd.DataFrame({"a": X[:, 0], "colour": ["red"] * len(X)})
    with pytest.raises(TypeError, match="fit: column 'colour' of X .* holds 'red' in row 0, expected numbers: make"):
        small().fit(frame, y)
    labels = pd.Series(["x", "y", "z"], dtype="category")[y]
    assert small().fit(X, labels).classes_.tolist() == ["x", "y", "z"]
    with pytest.raises(ValueError, match="fit: y has no value in 1 place, first in row 2"):
        small().fit(X[:4], pd.Series(["x", "y", None, "y"]))


def test_a_pipeline_that_hands_on_frames():
    X, y = wine(scaled=False)
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(X.shape[1])])
    model = make_pipeline(StandardScaler().set_output(transform="pandas"), small()).fit(frame, y)
    assert model[-1].feature_names_in_.tolist() == list(frame.columns) and model.score(frame, y) > 0.95
