"""Pictures: what they show, that nothing covers a curve, and that names are shown letter by letter."""

import csv
import sys

import numpy as np
import pytest

from daseCV_c import plots
from daseCV_c._training.curves import curves_of, of_rows, running_mean, thinned
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.cli.plots import save_curves
from daseCV_c.solver import Solver

pytestmark = pytest.mark.once

Figure = pytest.importorskip("matplotlib.figure").Figure


def trained(epochs=3, **options):
    X, y = np.random.randn(40, 12), np.arange(40) % 3
    data = {"X_train": X, "y_train": y, "X_val": X[:9], "y_val": y[:9]}
    solver = Solver(FullyConnectedNet([5], 12, 3, weight_scale=1), data,
                    batch_size=10, num_epochs=epochs, verbose=False, **options)
    solver.train()
    return solver


@pytest.fixture
def figure():
    return Figure(figsize=(8, 8), layout="constrained")


def boxes_apart(figure, axes):
    """The legend lies outside every axes."""
    figure.draw_without_rendering()
    legends = [one.get_legend() for one in axes if one.get_legend()] + figure.legends
    for legend in legends:
        for one in axes:
            assert not legend.get_window_extent().overlaps(one.get_window_extent())
    return legends


# ---- the numbers

@pytest.mark.parametrize("bad", [[], [3], [0, 1, 2, 3, 4, 5]])
def test_running_mean(bad):
    values = np.random.randn(30)
    values[bad] = np.nan
    values[10:11] = np.inf
    for window in (1, 5, 30):
        found = running_mean(values, window)
        for t in range(30):
            part = values[max(t - window + 1, 0):t + 1]
            part = part[np.isfinite(part)]
            np.testing.assert_allclose(found[t], part.mean() if len(part) else np.nan, rtol=1e-12)


def test_running_mean_forgets_a_huge_loss():
    found = running_mean(np.array([1.0, 1e300, 1.0, 2.0, 3.0]), 3)
    assert found[-1] == 2.0


def test_thinned_keeps_the_extremes():
    x, y = np.arange(100_000), np.random.randn(100_000)
    y[[70, 71, 900]] = 50, np.nan, -50
    few_x, few_y = thinned(x, y)
    assert len(few_x) <= 700 and np.all(np.diff(few_x) > 0)
    assert few_y.max() == 50 and few_y.min() == -50
    np.testing.assert_array_equal(y[few_x], few_y)
    np.testing.assert_array_equal(thinned(x[:50], y[:50])[1], y[:50])
    assert np.isnan(thinned(x, np.full(100_000, np.nan))[1]).all()


def test_curves_of_a_solver():
    solver = trained()
    curves = curves_of("plot", solver)
    np.testing.assert_array_equal(curves["loss"][0], np.arange(1, 13))
    np.testing.assert_array_equal(curves["loss"][1], solver.loss_history)
    np.testing.assert_array_equal(curves["val_acc"][0], [1, 4, 8, 12])
    np.testing.assert_array_equal(curves["val_acc"][1], solver.val_acc_history)


def write_history(path, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("iteration", "epoch", "metric", "value"), *rows])


def test_curves_of_a_folder(tmp_path):
    rows = [("1", "0", "loss", "2.5"), ("1", "0", "val_acc", "0.5"), ("2", "1", "loss", "nan")]
    write_history(tmp_path / "history.csv", rows)
    for source in (tmp_path, str(tmp_path / "history.csv")):
        curves = curves_of("plot", source)
        assert {name: (list(x), list(y)) for name, (x, y) in curves.items() if name != "loss"} == {
            "val_acc": ([1], [0.5])}
        np.testing.assert_array_equal(curves["loss"][1], [2.5, np.nan])


def test_what_has_no_history_is_an_error(tmp_path):
    with pytest.raises(TypeError, match="plot: a list is neither a Solver nor the folder of a run"):
        plots.plot([1.0])
    with pytest.raises(FileNotFoundError):
        plots.plot(tmp_path)
    for text in ("", "a,b\n1,2\n", "iteration,epoch,metric,value\n1,2\n", "iteration,epoch,metric,value\n1,0,loss,x\n"):
        (tmp_path / "history.csv").write_text(text)
        with pytest.raises(ValueError, match="plot: .*history.csv is not the history of a run"):
            plots.plot(tmp_path)


# ---- curves

def test_plot_aligns_three_axes(figure):
    solver = trained()
    axes = plots.plot(solver, figure=figure)
    assert [one.get_title("left") for one in axes] == ["training loss", "accuracy", "learning rate"]
    assert len(boxes_apart(figure, axes)) == 2
    assert len({one.get_window_extent().x0 for one in axes}) == len({one.get_window_extent().x1 for one in axes}) == 1
    assert len({one.get_xlim() for one in axes}) == 1
    raw, mean = axes[0].lines
    np.testing.assert_array_equal(raw.get_ydata(), solver.loss_history)
    np.testing.assert_array_equal(mean.get_ydata(), running_mean(np.asarray(solver.loss_history), 5))


@pytest.mark.parametrize("losses", [[], [np.nan] * 9, [1.0, 1e30, np.inf], [0.0, -1.0]])
def test_plot_of_what_went_wrong(figure, losses):
    axes = plots.draw_run(figure, of_rows((t, 0, "loss", loss) for t, loss in enumerate(losses, 1)))
    figure.draw_without_rendering()
    assert axes[0].get_yscale() == ("log" if 1e30 in losses else "linear")


def test_plot_runs_shows_names_letter_by_letter(figure):
    names = ["plain", "$\\frac{", "_hidden", "<b>"]
    axes = plots.plot_runs(dict.fromkeys(names, trained()), figure=figure)
    legend, = boxes_apart(figure, axes)
    assert [text.get_text() for text in legend.get_texts()] == names


@pytest.mark.filterwarnings("ignore:Glyph")  # the font need not have them
@pytest.mark.parametrize("name", ["作业", "z\udcff", "\ud800"])
def test_halves_of_letters_in_names(tmp_path, name):
    """A folder may be called by bytes that are no text here: the picture is drawn all the same."""
    rows = [(k, 0, "loss", 1.0) for k in range(3)]
    (tmp_path / "history.csv").write_text("iteration,epoch,metric,value\n1,0,loss,2.0\n")
    figure = Figure()
    plots.plot_runs({name: tmp_path}, figure=figure)
    plots.plot_confusion([[1, 2], [3, 4]], class_names=[name, "b"], figure=Figure()).figure.savefig(tmp_path / "a.png")
    figure.savefig(tmp_path / "b.png")
    assert plots.drawable("作业".encode().decode("ascii", "surrogateescape")) == "作业"
    if name == "\ud800":  # of no file
        return
    folder = tmp_path / name
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this system has texts for names")
    assert save_curves(rows, folder / "curves.png") and (folder / "curves.png").stat().st_size


def test_plot_runs_names_a_list(figure, tmp_path):
    write_history(tmp_path / "history.csv", [("1", "0", "loss", "2.5")])
    plots.plot_runs([trained(), trained(), trained(update_rule="adam"), tmp_path], figure=figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sgd (1)", "sgd (2)", "adam", tmp_path.name]


def test_plot_runs_tells_many_apart(figure):
    axes = plots.plot_runs({str(k): trained(1) for k in range(12)}, figure=figure)
    boxes_apart(figure, axes)
    looks = {(line.get_color(), line.get_linestyle()) for line in axes[0].lines[1::2]}
    assert len(looks) == 12


@pytest.mark.parametrize("runs", ["run", 3])
def test_plot_runs_refuses(runs):
    with pytest.raises(TypeError, match="plot_runs: runs is a (str|int), expected a list"):
        plots.plot_runs(runs)


def test_pyplot_draws_where_no_figure_is_given():
    import matplotlib
    before = matplotlib.get_backend()
    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    try:
        axes = plots.plot(trained(1))
        assert plt.fignum_exists(axes[0].figure.number)
    finally:
        plt.close("all")
        matplotlib.use(before)


def test_without_matplotlib(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'plot_confusion draws with matplotlib: pip install "daseCV_c\[plot\]"'):
        plots.plot_confusion(np.eye(3))


# ---- confusion matrix

def test_confusion_matrix_counts():
    y, predicted = np.random.randint(0, 4, 200), np.random.randint(0, 4, 200)
    counts = plots.confusion_matrix(y, predicted, 5)
    assert counts.shape == (5, 5) and counts.dtype == np.int64
    for i, j in np.ndindex(5, 5):
        assert counts[i, j] == sum((y == i) & (predicted == j))
    assert plots.confusion_matrix([], np.array([], int), 2).sum() == 0


@pytest.mark.parametrize(("y", "predicted", "n", "message"), [
    ([0, 1], [0], None, r"y has shape \(2,\) and predicted \(1,\)"),
    ([0, 3], [0, 1], 3, "a class is 3, expected 0 to 2"),
    ([0, 2], [-1, 1], 3, "a class is -1, expected 0 to 2"),
    ([0.5], [0], None, "y has dtype float64"),
])
def test_confusion_matrix_refuses(y, predicted, n, message):
    with pytest.raises((TypeError, ValueError), match=f"confusion_matrix: {message}"):
        plots.confusion_matrix(y, predicted, n)


def test_plot_confusion(figure):
    axes = plots.plot_confusion([[3, 1], [0, 0]], class_names=["a $\\x", "<b>"], figure=figure)
    figure.draw_without_rendering()
    assert sorted(text.get_text() for text in axes.texts) == ["1", "3"]  # an empty class divides by nothing
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a $\\x", "<b>"]
    plots.plot_confusion(np.ones((30, 30), int), figure=Figure())
    with pytest.raises(ValueError, match="class_names has 1 names, expected 2"):
        plots.plot_confusion(np.eye(2), class_names=["a"])


# ---- weights

@pytest.mark.parametrize(("shape", "image_shape", "count", "size"), [
    ((64, 5), (1, 8, 8), 5, (17, 26)),
    ((12, 4), (3, 2, 2), 4, (5, 5)),
    ((7, 3, 4, 4), None, 7, (14, 14)),
    ((3, 2, 4, 4), None, 6, (9, 14)),
])
def test_weight_tiles(shape, image_shape, count, size):
    w = np.random.randn(*shape)
    tiles, found = plots.weight_tiles("f", w, image_shape, 100)
    assert found == count and tiles.shape == (*size, 4)
    solid = tiles[..., 3] == 1
    pixels = w.size if 3 not in (shape[1], (image_shape or [0])[0]) else w.size // 3
    assert solid.sum() == pixels
    assert tiles.min() == 0 and tiles.max() == 1


def test_weights_are_stretched_one_by_one():
    w = np.stack([np.arange(4.0), np.arange(4.0) * 100 - 7, np.ones(4)], axis=1)
    tiles, _ = plots.weight_tiles("f", w, (1, 2, 2), 2)
    np.testing.assert_allclose(tiles[:, :2, 0], [[0, 1 / 3], [2 / 3, 1]])
    np.testing.assert_allclose(tiles[:, 3:, 0], [[0, 1 / 3], [2 / 3, 1]])


def test_plot_weights(figure):
    model = FullyConnectedNet([30], 64, 3)
    axes = plots.plot_weights(model, image_shape=(1, 8, 8), limit=9, figure=figure)
    assert axes.get_title() == "weights of the first layer: 9 of 30"
    model.params["W1"][:] = np.nan
    plots.plot_weights(model, image_shape=(1, 8, 8), figure=figure)
    for bad, message in ((np.ones((3, 3, 3)), r"shape \(3, 3, 3\)"), (np.ones((5, 2)), "5 inputs of a unit")):
        with pytest.raises(ValueError, match=message):
            plots.plot_weights(bad, image_shape=(1, 2, 2))
    del model.params["W1"]
    with pytest.raises(ValueError, match="no 'W1'"):
        plots.plot_weights(model)
