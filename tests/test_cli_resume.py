"""Runs that were stopped: what is kept, and that they go on to the same numbers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import accuracies, fails, program_environment

from daseCV_c._training import archive
from daseCV_c.cli import lock, runs, training
from daseCV_c.cli.main import main
from daseCV_c.solver import Solver

pytestmark = pytest.mark.once

QUICK = ["--hidden", "20", "--epochs", "3", "--dropout", "0.8", "--update-rule", "adam"]


def start(*argv, program=("-m", "daseCV_c")):
    """The command as a process of its own."""
    return subprocess.Popen([sys.executable, "-u", "-W", "ignore", *map(str, [*program, *argv])],
                            env=program_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def interrupt_step(monkeypatch, number, error=KeyboardInterrupt):
    """Raise `error` before the step of this number, counted from 1."""
    step, done = Solver._step, []

    def counting(self):
        done.append(1)
        if len(done) == number:
            raise error
        step(self)

    monkeypatch.setattr(Solver, "_step", counting)


def same_runs(one, other):
    """Equal number by number, and byte by byte where there is nothing else in the file."""
    assert (one / "history.csv").read_bytes() == (other / "history.csv").read_bytes()
    with np.load(one / "best.npz") as a, np.load(other / "best.npz") as b:
        assert a.files == b.files
        for name in a.files:
            assert a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes(), name
    results = [json.loads((run / "config.json").read_text())["results"] for run in (one, other)]
    assert results[0] == results[1]
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in other.iterdir())


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    """They take most of the time of a short run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.plots, "save_curves", lambda rows, path: False)
        patch.setattr(training.plots, "save_filters", lambda w, path: False)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory, no_pictures):
    """A run that nothing has stopped; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert main(["train", *QUICK, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, no_pictures):
    """The same, stopped at once in its second epoch."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_step(patch, 40)
        assert main(["train", *QUICK, "--out", str(folder), "--checkpoint-every", "1e-9"]) == 130
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.npz", "config.json"]
    return folder


@pytest.fixture
def half(stopped, here):
    """A copy of it."""
    shutil.copytree(stopped, here / "half")
    return here / "half"


# ---- going on

def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(whole, half, capsys):
    assert main(["train", "--resume", "half"]) == 0
    same_runs(whole, half)
    assert accuracies(capsys.readouterr().out)["validation"] > 0.8


@pytest.mark.parametrize("options", [
    ["--update-rule", "sgd", "--lr", "1e-2", "--norm", "layernorm"],
    ["--update-rule", "sgd_momentum", "--norm", "none"],
    ["--update-rule", "rmsprop", "--dropout", "0.7", "--dtype", "float64"],
    ["--update-rule", "adagrad", "--lr", "1e-2"],
    ["--model", "cnn", "--filters", "4", "--hidden", "20"],
])
def test_every_kind_of_run_goes_on(here, monkeypatch, options):
    command = ["train", "--hidden", "20", "--epochs", "2", *options]
    assert main([*command, "--out", "whole"]) == 0
    for name, number, every in (("early", 2, "60"), ("late", 45, "1e-9")):
        with monkeypatch.context() as patch:
            interrupt_step(patch, number)
            assert main([*command, "--out", name, "--checkpoint-every", every]) == 130
        assert main(["train", "--resume", name]) == 0
        same_runs(here / "whole", here / name)


if sys.platform != "win32":
    def test_killed_again_and_again(here):
        command = ["train", "--hidden", "20", "--dropout", "0.8", "--epochs", "30"]
        assert main([*command, "--out", "whole"]) == 0
        argv = [*command, "--out", "killed", "--checkpoint-every", "1e-9"]
        checkpoint = here / "killed" / "checkpoint.npz"
        for step in (300, 600):  # before which it stops: however late, it is under way when it is killed
            before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
            process = start(*argv, program=(Path(__file__).with_name("mpi_train.py"), step, 0, int(signal.SIGSTOP)))
            while not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before:
                assert process.poll() is None, process.communicate()
                time.sleep(0.01)
            time.sleep(0.1)
            process.kill()
            process.communicate()
            assert process.returncode == -signal.SIGKILL
            argv = ["train", "--resume", "killed", "--checkpoint-every", "1e-9"]
        assert main(["train", "--resume", "killed"]) == 0
        same_runs(here / "whole", here / "killed")

    @pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_signal_loses_nothing(whole, here, number, code):
        process = start("train", *QUICK, "--epochs", "100000", "--out", "r")
        for line in process.stdout:
            if line.startswith("(Epoch 3 "):
                process.send_signal(number)
                break
        _, said = process.communicate()
        assert process.returncode == code
        assert said.startswith("dasecv: stopped after iteration ") and said.count("\n") == 1
        assert said.endswith("to go on: python -m daseCV_c train --resume r\n")
        kept = {path.name for path in (here / "r").iterdir()}
        assert kept == {"best.npz", "checkpoint.npz", "config.json", "history.csv"}
        first = (whole / "history.csv").read_bytes()
        assert (here / "r" / "history.csv").read_bytes()[:len(first)] == first
        assert main(["evaluate", "r"]) == 0


def test_a_reader_that_leaves_loses_nothing(whole, here, monkeypatch):
    with monkeypatch.context() as patch:
        interrupt_step(patch, 40, BrokenPipeError)
        patch.setattr("daseCV_c.cli.main.os.dup2", lambda *_: None)
        assert main(["train", *QUICK, "--out", "r"]) == 1
    assert archive.read("r/checkpoint.npz", "checkpoint")[0]["iteration"] == 39
    assert main(["train", "--resume", "r"]) == 0
    same_runs(whole, here / "r")


def test_killed_before_its_first_checkpoint_it_begins_again(whole, half, here, capsys):
    (half / "checkpoint.npz").unlink()
    (half / ".best.npz.01234567.part").write_bytes(b"draft of a killed process")
    assert main(["train", "--resume", "half"]) == 0
    assert "starting from config.json" in capsys.readouterr().out
    same_runs(whole, half)


def test_more_epochs(here, half):
    assert main(["train", *QUICK, "--epochs", "5", "--out", "long"]) == 0
    assert main(["train", "--resume", "half"]) == 0
    assert json.loads((half / "config.json").read_text())["settings"]["epochs"] == 3
    assert main(["train", "--resume", "half", "--epochs", "5", "--out", "half"]) == 0
    same_runs(here / "long", half)
    assert json.loads((half / "config.json").read_text())["settings"]["epochs"] == 5


def test_a_finished_run_stays_as_it_is(whole, half, capsys):
    assert main(["train", "--resume", "half"]) == 0
    before = {path.name: path.read_bytes() for path in half.iterdir()}
    assert main(["train", "--resume", "half"]) == 0
    assert "finished: 3 epochs" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in half.iterdir()} == before


@pytest.mark.parametrize("options, words", [
    (["--lr", "0.5"], ["--lr is 0.5", "0.002"]), (["--hidden", "20", "30"], ["--hidden is 20 30", "has 20"]),
    (["--epochs", "2"], ["--epochs is 2", "has 3", "raised"]), (["--seed", "1"], ["--seed is 1", "231"]),
    (["--recipe", "cifar10"], ["--recipe is cifar10", "none"]), (["--out", "other"], ["--out is other"]),
    (["--model", "cnn"], ["--model is cnn", "fc"]), (["--filters", "3"], ["--filters", "--model fc"]),
    (["--dataset", "cifar10"], ["--dataset is cifar10", "digits"]), (["--label-column", "x"], ["--label-column"]),
])
def test_settings_that_differ(half, capsys, options, words):
    before = {path.name: path.read_bytes() for path in half.iterdir()}
    fails(capsys, ["train", "--resume", "half", *options], *words)
    assert {path.name: path.read_bytes() for path in half.iterdir()} == before


def test_settings_that_are_the_same(whole, half):
    assert main(["train", "--resume", "half", *QUICK, "--seed", "231", "--lr", "2e-3", "--threads", "1"]) == 0
    same_runs(whole, half)


def test_data_that_have_changed(here, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 3)), np.arange(200) % 2
    np.savez("x.npz", X=X, y=y)
    with monkeypatch.context() as patch:
        interrupt_step(patch, 10)
        assert main(["train", "--data", "x.npz", "--out", "r", "--checkpoint-every", "1e-9"]) == 130
    X[7, 1] += 1
    np.savez("x.npz", X=X, y=y)
    fails(capsys, ["train", "--resume", "r"], "data", "r", "changed")
    X[7, 1] -= 1
    (here / "moved").mkdir()
    os.remove("x.npz")
    np.savez("moved/x.npz", X=rng.permutation(X), y=y)
    fails(capsys, ["train", "--resume", "r"], "x.npz")


# ---- what is refused

def test_checkpoints_that_are_none(half, capsys):
    path = half / "checkpoint.npz"
    content = path.read_bytes()
    for broken in (b"", content[:len(content) // 2], content[:-1], content[:5000] + b"\xff" + content[5001:],
                   b"\x80\x04K\x01.", (half / "config.json").read_bytes()):
        path.write_bytes(broken)
        fails(capsys, ["train", "--resume", "half"], "checkpoint.npz")
        assert path.read_bytes() == broken
    np.savez(path, W1=np.zeros(3))
    fails(capsys, ["train", "--resume", "half"], "checkpoint.npz")
    path.write_bytes(content)
    assert main(["train", "--resume", "half"]) == 0


def test_a_finished_run_whose_checkpoint_is_broken_stays_finished(half, capsys):
    assert main(["train", "--resume", "half"]) == 0
    (half / "checkpoint.npz").write_bytes(b"PK")
    before = {path.name: path.read_bytes() for path in half.iterdir()}
    fails(capsys, ["train", "--resume", "half", "--epochs", "9"], "checkpoint.npz")
    assert {path.name: path.read_bytes() for path in half.iterdir()} == before


def test_the_checkpoint_of_another_network(half, here, capsys, monkeypatch):
    interrupt_step(monkeypatch, 40)
    assert main(["train", *QUICK, "--hidden", "21", "--out", "other", "--checkpoint-every", "1e-9"]) == 130
    (half / "checkpoint.npz").write_bytes((here / "other" / "checkpoint.npz").read_bytes())
    fails(capsys, ["train", "--resume", "half"], "checkpoint.npz", "(64, 20)", "(64, 21)")


@pytest.mark.parametrize("change", [
    {"settings": None}, {"settings": []}, {"lr": "x"}, {"lr": -1}, {"hidden": []}, {"epochs": 2.5},
    {"--data": "x"}, {"model": "cnn"}, {"seed": 2**40}, {"recipe": "x"}, {"recipe": []},
    {"schedule": {"name": "x"}}, {"lr": {"a": []}},
])
def test_settings_that_no_command_line_takes(half, capsys, change):
    config = json.loads((half / "config.json").read_text())
    key, value = next(iter(change.items()))
    (config if key in ("settings", "recipe") else config["settings"])[key] = value
    (half / "config.json").write_text(json.dumps(config))
    fails(capsys, ["train", "--resume", "half"], "config.json")


def test_no_run_to_go_on_with(whole, here, capsys):
    fails(capsys, ["train", "--resume", "nowhere"], "no run nowhere")
    (here / "empty").mkdir()
    fails(capsys, ["train", "--resume", "empty"], "config.json")
    assert list((here / "empty").iterdir()) == []
    (here / "old").mkdir()
    for name in ("config.json", "best.npz", "history.csv"):
        (here / "old" / name).write_bytes((whole / name).read_bytes())
    fails(capsys, ["train", "--resume", "old", "--epochs", "9"], "checkpoint.npz")
    fails(capsys, ["train", "--out", "old"], "not empty", "--resume old")


def test_a_run_that_is_not_finished_says_so(half, capsys):
    np.save("X.npy", np.zeros((2, 64)))
    for command in (["evaluate", "half"], ["predict", "half", "X.npy"]):
        fails(capsys, command, "half has no best.npz yet", "train --resume half")


# ---- one process at a time

def test_the_second_process_says_who_works_there(half, capsys):
    with lock.locked(half):
        for command in (["train", "--resume", "half"], ["train", "--out", "half"]):
            fails(capsys, command, "half is in use", f"process {os.getpid()}", "since 2")
    assert not (half / lock.NAME).exists()
    assert main(["train", "--resume", "half"]) == 0


if sys.platform != "win32":
    def test_pipes_in_the_place_of_files_are_not_waited_for(half, capsys):
        for name in ("checkpoint.npz", "config.json"):
            (half / name).unlink()
            os.mkfifo(half / name)
            fails(capsys, ["train", "--resume", "half"], name, "ordinary file")

    def test_a_killed_process_holds_nothing(half, script):
        script(f"""
import os, signal, subprocess, sys
from daseCV_c.cli.lock import locked
from pathlib import Path
if len(sys.argv) > 1:
    with locked(Path(sys.argv[1])):
        os.kill(os.getpid(), signal.SIGKILL)
assert subprocess.run([sys.executable, __file__, {str(half)!r}]).returncode == -signal.SIGKILL
""")
        assert (half / lock.NAME).exists()
        assert main(["train", "--resume", "half"]) == 0
        assert not (half / lock.NAME).exists()

    def test_a_lock_that_was_removed_in_the_meantime(here, monkeypatch):
        taken = []

        def remove(file):
            if not taken:
                (here / lock.NAME).unlink()
            taken.append(file)

        monkeypatch.setattr(lock, "take", remove)
        with lock.locked(here):
            assert len(taken) == 2 and os.path.samestat(os.fstat(taken[1].fileno()), os.stat(here / lock.NAME))

    def test_where_nothing_can_be_locked_a_warning_says_so(here, monkeypatch, capsys):
        def refuse(file):
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(lock, "take", refuse)
        with lock.locked(here):
            pass
        assert "cannot be locked" in capsys.readouterr().err


# ---- errors on the way

def test_a_loss_that_is_no_number(here, capsys):
    with np.errstate(all="ignore"):
        said = fails(capsys, ["train", *QUICK, "--lr", "1e308", "--out", "lost"], "iteration 2", "learning rate").err
    assert "the best parameters" not in said
    assert list((here / "lost").iterdir()) == []


def test_after_a_good_epoch_the_best_parameters_are_kept(here, capsys, monkeypatch):
    step = Solver._step

    def poisoned(self):
        if self.iteration == 60:
            self.model.params["W1"][0, 0] = np.nan
        step(self)

    monkeypatch.setattr(Solver, "_step", poisoned)
    fails(capsys, ["train", *QUICK, "--out", "r", "--checkpoint-every", "1e-9"], "nan", "the best parameters", " r")
    with np.load("r/best.npz") as arrays:
        assert all(np.isfinite(arrays[name]).all() for name in arrays.files)
    assert "results" not in json.loads((here / "r" / "config.json").read_text())
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert main(["train", "--resume", "r"]) == 0


if sys.platform != "win32":
    def test_a_full_disk_is_found_out_first(here, script):
        """No file beyond some bytes can be made: the folder can be used again when there is room."""
        script("""
import contextlib, io, os, resource
from daseCV_c.cli import training
from daseCV_c.cli.main import main

training.plots.save_curves = lambda rows, path: False

def run(*argv, limit):
    said = io.StringIO()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return main(list(argv)), said.getvalue()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

quick = ["train", "--hidden", "20", "--epochs", "2"]
for limit in (0, 100_000):
    code, said = run(*quick, "--out", "r", limit=limit)
    assert code == 2 and "r needs room for 0." in said and "Iteration" not in said, said
    assert os.listdir("r") == []
code, said = run(*quick, limit=100)
assert code == 2 and os.listdir("runs") == [], said
code, said = run(*quick, "--out", "r", limit=10**7)
assert code == 0, said
held = {name: open(os.path.join("r", name), "rb").read() for name in os.listdir("r")}
code, said = run("train", "--resume", "r", "--epochs", "3", limit=1000)
assert code == 2 and "r needs room" in said, said
assert {name: open(os.path.join("r", name), "rb").read() for name in os.listdir("r")} == held
""")

    def test_a_disk_that_fills_while_training_leaves_the_checkpoint_before(whole, half, monkeypatch, capsys):
        before = (half / "checkpoint.npz").read_bytes()

        def full(fd):
            raise OSError(28, os.strerror(28))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            patch.setattr(runs, "write_config", lambda folder, config: None)
            fails(capsys, ["train", "--resume", "half"], "No space left", "to go on", "--resume half")
        assert (half / "checkpoint.npz").read_bytes() == before
        assert sorted(path.name for path in half.iterdir()) == ["checkpoint.npz", "config.json"]
        assert main(["train", "--resume", "half"]) == 0
        same_runs(whole, half)
