"""The callbacks that come with the package, and what a notebook shows of a Solver."""

import csv
import html.parser
import math
import os
import re
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from daseCV_c._training import callbacks_csv, memory
from daseCV_c.callbacks import CSVLog, ProgressBar, TensorBoard, TimeAndMemory
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.solver import Solver

pytestmark = pytest.mark.once


def data_of():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 12)), np.arange(40) % 3
    return {"X_train": X, "y_train": y, "X_val": X[:9], "y_val": y[:9]}


def solver_of(*callbacks, **options):
    model = FullyConnectedNet([5], 12, 3, weight_scale=1)
    return Solver(model, data_of(), callbacks=callbacks,
                  **{"batch_size": 10, "num_epochs": 3, "verbose": False, "lr_decay": 0.5, **options})


class StopAt:
    """Ends the training after so many steps."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, solver):
        return solver.iteration == self.step


# ---- CSV

def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["iteration", "epoch", "metric", "value"]
    return [(int(t), int(epoch), metric, float(value)) for t, epoch, metric, value in rows]


def without_seconds(rows):
    return [row for row in rows if row[2] != "seconds"]


def test_csv_holds_the_histories(tmp_path):
    solver = solver_of(CSVLog(tmp_path / "log.csv"))
    solver.train()
    rows = read(tmp_path / "log.csv")
    assert [(t, value) for t, _, metric, value in rows if metric == "loss"] == list(
        enumerate(solver.loss_history, 1))
    for metric in ("train_acc", "val_acc", "val_loss", "seconds"):
        assert [(t, epoch, value) for t, epoch, found, value in rows if found == metric] == list(
            zip([1, 4, 8, 12], [0, 1, 2, 3], getattr(solver, f"{metric}_history"), strict=True))
    rates = [value for _, _, metric, value in rows if metric == "learning_rate"]
    assert rates == [0.01] * 4 + [0.005] * 4 + [0.0025] * 4
    assert [t for t, *_ in rows] == sorted(t for t, *_ in rows)


def test_csv_grows_while_training_runs(tmp_path):
    lengths = []

    class Look:
        def on_check(self, solver):
            lengths.append(len(read(tmp_path / "log.csv")))

    solver_of(CSVLog(tmp_path / "log.csv"), Look()).train()
    assert lengths == [6, 16, 28, 40]  # two numbers a step, four a check


def test_csv_of_slow_steps_does_not_wait_for_a_check(tmp_path, monkeypatch):
    lengths = []

    class Look:
        def on_step_end(self, solver):
            lengths.append(len(read(tmp_path / "log.csv")))

    now = iter(range(0, 1000, 5))
    monkeypatch.setattr("daseCV_c._training.callbacks_csv.time.monotonic", lambda: next(now))
    solver_of(CSVLog(tmp_path / "log.csv"), Look(), num_epochs=1).train()
    assert lengths == [2, 8, 10, 12]


def test_csv_of_a_training_that_goes_on_is_that_of_one_in_one_piece(tmp_path):
    for name, stop in (("whole.csv", 99), ("parts.csv", 6)):
        np.random.seed(1)
        solver = solver_of(CSVLog(tmp_path / name), StopAt(stop))
        solver.train()
    assert len(solver.loss_history) == 6
    solver.save(tmp_path / "there.npz")
    os.truncate(tmp_path / "parts.csv", 100)  # whatever became of it
    resumed = Solver.resume(tmp_path / "there.npz", FullyConnectedNet([5], 12, 3), data_of(),
                            callbacks=[CSVLog(tmp_path / "parts.csv"), StopAt(99)])
    resumed.train()
    whole, parts = (without_seconds(read(tmp_path / name)) for name in ("whole.csv", "parts.csv"))
    assert whole == parts


def test_csv_that_cannot_be_written_is_found_before_the_first_step(tmp_path):
    solver = solver_of(CSVLog(tmp_path / "absent" / "log.csv"))
    with pytest.raises(FileNotFoundError):
        solver.train()
    assert solver.loss_history == []


# ---- TensorBoard

def scalars(folder):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed: nothing reads "
        "the event files back")
    found = accumulator.EventAccumulator(str(folder), size_guidance={accumulator.SCALARS: 0})
    found.Reload()
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_tensorboard_reads_back_what_was_written(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed: no event files are written")
    before = set(threading.enumerate())
    solver = solver_of(TensorBoard(tmp_path / "run", every=3))
    solver.train()
    assert set(threading.enumerate()) <= before
    found = scalars(tmp_path / "run")
    wanted = {
        "loss/train": [(t, solver.loss_history[t - 1]) for t in (3, 6, 9, 12)],
        "accuracy/train": list(zip([1, 4, 8, 12], solver.train_acc_history, strict=True)),
        "accuracy/val": list(zip([1, 4, 8, 12], solver.val_acc_history, strict=True)),
        "loss/val": list(zip([1, 4, 8, 12], solver.val_loss_history, strict=True)),
        "learning_rate": list(zip([1, 4, 8, 12], [0.01, 0.01, 0.005, 0.0025], strict=True)),
    }
    assert set(found) == set(wanted)
    for tag, points in wanted.items():
        assert [step for step, _ in found[tag]] == [step for step, _ in points]
        np.testing.assert_allclose([value for _, value in found[tag]], [value for _, value in points], rtol=1e-6)


def test_tensorboard_hides_what_is_made_again(tmp_path):
    """A run that was stopped at step 9 goes on from a checkpoint of step 6, at once."""
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed: no event files are written")
    solver = solver_of(TensorBoard(tmp_path / "run", every=1), StopAt(6))
    solver.train()
    solver.save(tmp_path / "there.npz")
    solver.callbacks[1].step = 9
    solver.train()
    resumed = Solver.resume(tmp_path / "there.npz", FullyConnectedNet([5], 12, 3), data_of(),
                            callbacks=[TensorBoard(tmp_path / "run", every=1), StopAt(99)])
    resumed.train()
    assert len(list((tmp_path / "run").iterdir())) == 3
    points = scalars(tmp_path / "run")["loss/train"]
    assert [step for step, _ in points] == list(range(1, 13))
    np.testing.assert_allclose([value for _, value in points], resumed.loss_history, rtol=1e-6)


def test_tensorboard_shows_what_a_long_training_does(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed: no event files are written")
    sizes = []

    class Look:
        def on_step_end(self, solver):
            sizes.append(sum(path.stat().st_size for path in (tmp_path / "run").iterdir()))

    now = iter(range(1000))
    monkeypatch.setattr("daseCV_c._training.callbacks_tensorboard.time.monotonic", lambda: next(now))
    solver_of(TensorBoard(tmp_path / "run", every=1), Look()).train()
    assert len(set(sizes)) > 3


def test_tensorboard_without_its_writer(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r'pip install "daseCV_c\[tensorboard\]"'):
        TensorBoard("run")


# ---- time and memory

def test_time_and_memory_of_each_epoch(capsys, monkeypatch):
    now = iter((100, 102, 105, 109))
    monkeypatch.setattr("daseCV_c._training.callbacks_cost.time", SimpleNamespace(perf_counter=lambda: next(now)))
    cost = TimeAndMemory()
    solver_of(cost, verbose=True, print_every=100).train()
    assert cost.seconds == [2, 3, 4] and len(cost.memory) == len(cost.peak) == 3
    lines = re.findall(r"^\(Epoch (\d) / 3\) seconds: (\S+); memory: (\S+) MB; peak: (\S+) MB$",
                       capsys.readouterr().out, re.M)
    assert [pair[:2] for pair in lines] == [("1", "2.00"), ("2", "3.00"), ("3", "4.00")]
    for memory_now, peak in zip(cost.memory, cost.peak, strict=True):
        assert math.isnan(memory_now) or 1e6 < memory_now <= peak


def test_time_and_memory_go_on_with_a_run(tmp_path):
    cost = TimeAndMemory()
    solver = solver_of(cost, StopAt(6))
    solver.train()
    solver.save(tmp_path / "there.npz")
    later = TimeAndMemory()
    resumed = Solver.resume(tmp_path / "there.npz", FullyConnectedNet([5], 12, 3), data_of(),
                            callbacks=[later, StopAt(99)])
    resumed.train()
    assert len(later.seconds) == 3 and later.seconds[:1] == cost.seconds


def test_memory_of_other_systems(monkeypatch):
    monkeypatch.setattr(memory, "_status", lambda name: math.nan)
    assert math.isnan(memory.resident())
    pytest.importorskip("resource")
    assert memory.peak() > 1e6
    monkeypatch.setitem(sys.modules, "resource", None)
    assert math.isnan(memory.peak())


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="no Linux: it keeps no such account")
def test_memory_sees_an_array():
    before = memory.resident()
    array = np.ones(10_000_000)
    now = memory.resident()
    assert now - before > 0.9 * array.nbytes
    assert memory.peak() >= now


# ---- the bar

@pytest.mark.parametrize("option", [True, False], ids=["option", "no-option"])
@pytest.mark.parametrize("callbacks", [[], [ProgressBar]], ids=["no-callback", "callback"])
def test_bar_shows_loss_and_accuracies(capsys, option, callbacks):
    solver = Solver(FullyConnectedNet([5], 12, 3, weight_scale=1), data_of(), batch_size=10, num_epochs=3,
                    print_every=1, progress=option, callbacks=[kind() for kind in callbacks])
    solver.train()
    out, err = capsys.readouterr()
    assert out.count("(Iteration") == 12 and solver._bar is None
    if not option and not callbacks:
        assert err == ""
        return
    last = err.split("\r")[-1]
    assert f"loss {solver.loss_history[-1]:.4g}" in last and f"val acc {solver.val_acc_history[-1]:.3f}" in last
    assert "12/12" in last and err.count("12/12") == 1


def test_bar_is_left_when_training_fails(capsys):
    class Fails:
        def on_step_end(self, solver):
            raise RuntimeError("mine")

    solver = solver_of(Fails(), progress=True)
    with pytest.raises(RuntimeError, match="mine"):
        solver.train()
    assert solver._bar is None and capsys.readouterr().err.endswith("\n")


@pytest.mark.notebook
@pytest.mark.tree  # which has the kernel of a notebook
def test_one_bar_is_left_in_a_notebook(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    from test_notebook_run import OwnKernel

    import daseCV_c

    cell = nbformat.v4.new_code_cell("""
import numpy as np
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.solver import Solver
X, y = np.random.randn(4000, 200), np.arange(4000) % 3
data = {"X_train": X, "y_train": y, "X_val": X[:100], "y_val": y[:100]}
Solver(FullyConnectedNet([50], 200, 3, weight_scale=1), data, num_epochs=10, progress=True).train()""")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    root = os.path.dirname(os.path.dirname(daseCV_c.__file__))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
                   "PYTHONWARNINGS": "ignore:daseCV_c"}
    nbclient.NotebookClient(notebook, kernel_manager_class=OwnKernel, startup_timeout=600,
                            resources={"metadata": {"path": str(tmp_path)}}).execute(env=environment)
    outputs = notebook.cells[0].outputs
    assert {one.name for one in outputs if one.output_type == "stream"} == {"stdout"}
    bars = [one for one in outputs if one.output_type == "display_data"]
    assert len(bars) == 1
    assert "400/400" in bars[0].data["text/plain"] and 'value="400"' in bars[0].data["text/html"]


# ---- what a notebook shows of a Solver

def test_solver_in_a_notebook():
    hostile = "<script>alert(1)</script>"
    model = type(hostile, (FullyConnectedNet,), {})([5], 12, 3, weight_scale=1)
    solver = Solver(model, data_of(), batch_size=10, num_epochs=2, verbose=False, seed=5)
    shown = solver._repr_html_()
    assert "0 of 8" in shown and "best" not in shown and "seed" in shown and "schedule" not in shown
    solver.train()
    solver.update_rule = hostile
    shown = solver._repr_html_()
    assert "<script" not in shown and shown.count("&lt;script&gt;") == 2
    assert not re.search(r"https?:|src=|href=", shown)
    assert "8 of 8" in shown and f"{solver.best_val_acc:.4f}" in shown

    class Table(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            assert tag in ("table", "caption", "tbody", "tr", "th", "td")
            assert tag != "th" or ("scope", "row") in attributes

    Table().feed(shown)


def test_solver_plots_itself():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    solver = solver_of()
    solver.train()
    axes = solver.plot(figure=figure)
    assert len(axes) == 3
    np.testing.assert_array_equal(axes[2].lines[0].get_ydata(), solver.learning_rate_history)


def test_a_second_training_is_counted_on(tmp_path):
    solver = solver_of(CSVLog(tmp_path / "log.csv"))
    solver.train()
    solver.train()
    assert solver.check_iterations == [1, 4, 8, 12, 13, 16, 20, 24]
    rows = read(tmp_path / "log.csv")
    assert [t for t, _, metric, _ in rows if metric == "val_acc"] == solver.check_iterations
    assert len([t for t, _, metric, _ in rows if metric == "loss"]) == 24


def test_csv_is_written_between_checks_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks_csv, "SECONDS", -1)
    lengths = []

    class Look:
        def on_step_end(self, solver):
            lengths.append(len(read(tmp_path / "log.csv")))

    solver_of(CSVLog(tmp_path / "log.csv"), Look()).train()
    assert lengths[:4] == [2, 8, 10, 12]
