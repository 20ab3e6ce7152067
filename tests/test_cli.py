"""The commands: what they print, what they write, how they fail."""

import csv
import json
import os
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from commands import accuracies, fails, program_environment

from daseCV_c.cli import own_data, recipes, runs
from daseCV_c.cli.main import main
from daseCV_c.datasets import load_digits_images

QUICK = ["--hidden", "20", "--epochs", "2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small trained network; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main(["train", *QUICK, "--dropout", "0.8", "--out", str(folder)]) == 0
    return folder


def broken_copy(run, folder, **files):
    """A copy of `run` in which the named files hold other bytes."""
    folder.mkdir()
    for name in ("config.json", "best.npz"):
        (folder / name).write_bytes((run / name).read_bytes())
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    return folder


# ---- train

@pytest.mark.usefixtures("no_pictures")
def test_train_defaults_learn_the_digits(here, capsys):
    assert main(["train"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^\(Iteration 1 / \d+\) loss: \d+\.\d{6}$", out, re.M)
    assert re.search(r"^\(Epoch 0 / \d+\) train acc: \d\.\d{6}; val_acc: \d\.\d{6}$", out, re.M)
    assert accuracies(out)["validation"] >= 0.97
    assert accuracies(out)["test"] >= 0.9
    assert out.splitlines()[-1].startswith(f"saved in {os.path.join('runs', 'digits-1')}")
    assert {"config.json", "best.npz", "history.csv"} <= set(os.listdir(here / "runs" / "digits-1"))


@pytest.mark.usefixtures("no_pictures")
def test_train_takes_a_fresh_name_each_time(here):
    for _ in range(2):
        assert main(["train", *QUICK]) == 0
    assert sorted(p.name for p in (here / "runs").iterdir()) == ["digits-1", "digits-2"]


@pytest.mark.usefixtures("no_pictures")
def test_same_seed_same_bits_for_any_thread_count(here):
    for name, options in (("a", ["--threads", "1"]), ("b", ["--threads", "2"]), ("c", ["--seed", "7"])):
        assert main(["train", *QUICK, *options, "--out", name]) == 0
    a, b, c = (np.load(here / name / "best.npz") for name in "abc")
    assert a.files == b.files
    for name in a.files:
        np.testing.assert_array_equal(a[name], b[name])
    assert not np.array_equal(a["W1"], c["W1"])


@pytest.mark.usefixtures("no_pictures")
def test_options_win_over_the_recipe(here):
    assert main(["train", "--recipe", "best-cifar10", "--dataset", "digits", "--hidden", "12", "11",
                 "--epochs", "1", "--dtype", "float64", "--norm", "none", "--out", "r"]) == 0
    chosen = json.loads((here / "r" / "config.json").read_text())["settings"]
    recipe = recipes.RECIPES["best-cifar10"]
    given = {"dataset": "digits", "hidden": [12, 11], "epochs": 1, "dtype": "float64", "norm": "none"}
    assert chosen == {**recipe, **given}
    with np.load(here / "r" / "best.npz") as arrays:
        assert arrays["W2"].shape == (12, 11) and arrays["W2"].dtype == np.float64
        assert "gamma1" not in arrays.files


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("options", [
    ["--norm", "layernorm"], ["--norm", "none", "--dropout", "0.5"], ["--update-rule", "sgd", "--lr", "1e-3"],
    ["--update-rule", "sgd_momentum", "--lr", "1e-3"], ["--update-rule", "rmsprop", "--lr", "1e-4"],
    ["--update-rule", "adagrad", "--lr", "1e-2"], ["--update-rule", "nesterov", "--lr", "1e-3"],
    ["--update-rule", "adamw", "--lr", "1e-3"],
    ["--schedule", "cosine", "--clip-norm", "1", "--average", "decay=0.9"],
    ["--schedule", "step,every=10,factor=0.5", "--average", "last=2", "--early-stopping", "3,monitor=val_loss"],
    ["--weight-scale", "he", "--reg", "0.1", "--lr-decay", "0.5"], ["--weight-scale", "glorot"],
    ["--reg", "0.1", "--weight-scale", "0.01", "--lr-decay", "0.5", "--batch-size", "5000"],
])
def test_each_option_trains_and_evaluates(here, options, capsys):
    assert main(["train", *QUICK, *options, "--out", "r"]) == 0
    trained = accuracies(capsys.readouterr().out)
    assert main(["evaluate", "r"]) == 0
    again = accuracies(capsys.readouterr().out)
    assert again["validation"] == trained["validation"] and again["test"] == trained["test"]


def test_every_recipe_has_every_setting():
    for model, defaults in recipes.DEFAULT_FOR.items():
        names = set(recipes.RECIPES[defaults["digits"]])
        assert all(set(recipe) == names for recipe in recipes.RECIPES.values() if recipe["model"] == model)
        for dataset, name in defaults.items():
            assert (recipes.RECIPES[name]["dataset"], recipes.RECIPES[name]["model"]) == (dataset, model)


@pytest.mark.usefixtures("no_pictures")
def test_cifar10_goes_through_the_same_commands(here, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    asked = []

    def small_cifar(*, data_dir, dtype):
        asked.append((dtype, data_dir))
        result = {}
        for split, n in (("train", 60), ("val", 20), ("test", 20)):
            result[f"X_{split}"] = rng.integers(0, 256, (n, 3, 32, 32), np.uint8)
            result[f"y_{split}"] = np.arange(n) % 10
        return {**result, "mean_image": result["X_train"].mean(axis=0)}

    monkeypatch.setattr("daseCV_c.data_utils.get_CIFAR10_data", small_cifar)
    assert main(["train", "--dataset", "cifar10", "--data", ".", *QUICK]) == 0
    assert main(["evaluate", os.path.join("runs", "cifar10-1")]) == 0
    assert set(accuracies(capsys.readouterr().out)) == {"train", "validation", "test"}
    # evaluate reads from the folder that the run remembers
    assert asked == [(np.uint8, "."), (np.uint8, str(here.resolve()))]
    config = json.loads((here / "runs" / "cifar10-1" / "config.json").read_text())
    assert config["network"]["input_dim"] == 3072 and config["network"]["num_classes"] == 10


def test_without_matplotlib_there_are_no_curves(here, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["train", *QUICK, "--out", "r"]) == 0
    assert "matplotlib is not installed" in capsys.readouterr().out
    assert sorted(p.name for p in (here / "r").iterdir()) == [
        "best.npz", "checkpoint.npz", "config.json", "history.csv"]


def test_curves_are_drawn_without_pyplot(run, here):
    pytest.importorskip("matplotlib")
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    code = """
import sys
from pathlib import Path
from daseCV_c.cli.plots import save_curves
rows = [(1, 0, name, "0.5") for name in ("loss", "train_acc", "val_acc")]
assert save_curves(rows, Path("curves.png"))
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=program_environment())
    assert (here / "curves.png").read_bytes().startswith(b"\x89PNG")


# ---- what a run holds

def test_history_is_one_number_a_row(run):
    with open(run / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["iteration", "epoch", "metric", "value"]
    config = json.loads((run / "config.json").read_text())
    per_epoch = len(load_digits_images()["y_train"]) // config["settings"]["batch_size"]
    losses = [row for row in rows if row["metric"] == "loss"]
    assert [int(row["iteration"]) for row in losses] == list(range(1, 2 * per_epoch + 1))
    for metric in ("train_acc", "val_acc"):
        checks = [row for row in rows if row["metric"] == metric]
        assert [int(row["iteration"]) for row in checks] == [1, per_epoch, 2 * per_epoch]
        assert [int(row["epoch"]) for row in checks] == [0, 1, 2]
    assert all(np.isfinite(float(row["value"])) for row in rows)


def test_best_npz_holds_plain_arrays(run):
    with np.load(run / "best.npz", allow_pickle=False) as arrays:
        assert set(arrays.files) == {
            "W1", "b1", "gamma1", "beta1", "W2", "b2", "running_mean1", "running_var1", "mean_image"}
        assert all(arrays[name].dtype.kind == "f" for name in arrays.files)
        assert arrays["mean_image"].shape == (1, 8, 8)
    with zipfile.ZipFile(run / "best.npz") as archive:
        for name in archive.namelist():
            assert b"'descr': '<f" in archive.read(name)[:128]


# ---- evaluate, predict, submit, config

def test_evaluate_agrees_with_train(run, here, capsys):
    assert main(["evaluate", str(run)]) == 0
    printed = accuracies(capsys.readouterr().out)
    results = json.loads((run / "config.json").read_text())["results"]
    assert printed["validation"] == pytest.approx(results["val_acc"], abs=5e-5)
    assert printed["test"] == pytest.approx(results["test_acc"], abs=5e-5)
    assert set(printed) == {"train", "validation", "test"}


def test_predict_round_trip(run, here, capsys):
    raw = load_digits_images(subtract_mean=False)
    with np.load(run / "best.npz") as arrays:
        mean = arrays["mean_image"]
    np.save("raw.npy", raw["X_test"])
    np.save("flat.npy", (raw["X_test"] - mean).reshape(len(raw["X_test"]), -1))
    assert main(["predict", str(run), "raw.npy", "--raw", "-o", "raw-classes"]) == 0
    assert main(["predict", str(run), "flat.npy"]) == 0
    from_raw, from_flat = np.load("raw-classes"), np.load("preds.npy")
    assert from_raw.dtype == np.int64 and from_raw.shape == (len(raw["X_test"]),)
    np.testing.assert_array_equal(from_raw, from_flat)
    results = json.loads((run / "config.json").read_text())["results"]
    assert np.mean(from_raw == raw["y_test"]) == pytest.approx(results["test_acc"])


def test_predict_takes_no_images_at_all(run, here):
    np.save("none.npy", np.empty((0, 64)))
    assert main(["predict", str(run), "none.npy"]) == 0
    assert np.load("preds.npy").shape == (0,)


def test_submit_writes_the_leaderboards_files(run, here, capsys):
    images = load_digits_images(subtract_mean=False)["X_val"]
    np.save("X.npy", images)
    assert main(["predict", str(run), "X.npy", "--raw"]) == 0
    assert main(["submit", str(run), "X.npy", "--raw", "--phase", "3"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == os.path.join("output", "prediction_phase_3.zip")
    predictions = np.load(here / "output" / "phase_3" / "prediction.npy")
    np.testing.assert_array_equal(predictions, np.load("preds.npy"))
    with zipfile.ZipFile(here / "output" / "prediction_phase_3.zip") as archive:
        assert archive.namelist() == ["prediction.npy"]


def test_fetch_cifar10(monkeypatch, capsys):
    asked = []

    def fetch(folder, **how):
        asked.append((folder, how))
        if folder == "bad":
            raise OSError("fetch_cifar10: no mirror gave it:\n  one\n  two")
        return os.path.join(folder, "cifar-10-batches-py")

    monkeypatch.setattr("daseCV_c.datasets.fetch_cifar10", fetch)
    assert main(["fetch-cifar10", "data", "--mirror", "https://one", "--mirror", "https://two"]) == 0
    assert asked[0][0] == "data" and asked[0][1]["mirrors"] == ["https://one", "https://two"]
    assert asked[0][1]["version"] == "python"
    assert capsys.readouterr().out == f"CIFAR-10 is in {os.path.join('data', 'cifar-10-batches-py')}\n"
    fails(capsys, ["fetch-cifar10", "bad", "--binary"], "no mirror gave it: one two")
    assert asked[1][1]["version"] == "binary"


def test_config_prints_the_facts(capsys):
    assert main(["config"]) == 0
    assert "backend:" in capsys.readouterr().out


def test_alone_it_lists_the_commands(capsys):
    assert main([]) == 0
    said = capsys.readouterr().out
    assert all(f"    {name}" in said for name in ("train", "evaluate", "predict", "submit", "fetch-cifar10", "bench"))


def test_help_and_version_give_zero(capsys):
    for argv in (["--help"], ["train", "--help"], ["--version"]):
        assert main(argv) == 0
    assert "KEEP" in capsys.readouterr().out


# ---- errors

@pytest.mark.parametrize("argv, word", [
    (["dance"], "dance"), (["train", "--dataset", "mnist"], "mnist"),
    (["train", "--recipe", "best"], "best"), (["train", "--update-rule", "lion"], "lion"),
    (["train", "--lr", "-1"], "--lr"), (["train", "--lr", "nan"], "--lr"),
    (["train", "--lr", "fast"], "--lr"), (["train", "--lr-decay", "0"], "--lr-decay"),
    (["train", "--hidden", "0"], "--hidden"), (["train", "--hidden", "10", "x"], "--hidden"),
    (["train", "--hidden", "9" * 400], "--hidden"), (["train", "--hidden"], "--hidden"),
    (["train", "--dropout", "0"], "--dropout"), (["train", "--dropout", "1.5"], "--dropout"),
    (["train", "--reg", "-0.1"], "--reg"), (["train", "--weight-scale", "inf"], "--weight-scale"),
    (["train", "--schedule", "linear"], "one_cycle"), (["train", "--schedule", "step,each=3"], "every"),
    (["train", "--schedule", "cosine,final"], "KEY=VALUE"), (["train", "--clip-norm", "0"], "--clip-norm"),
    (["train", "--early-stopping", "0"], "--early-stopping"), (["train", "--average", "2"], "--average"),
    (["train", "--schedule", "cosine", "--lr-decay", "0.9"], "--lr-decay"),
    (["train", "--checkpoint-every", "0"], "--checkpoint-every"),
    (["train", "--weight-scale", "xavier"], "he or glorot"),
    (["train", "--batch-size", "0"], "--batch-size"), (["train", "--epochs", "2.5"], "--epochs"),
    (["train", "--seed", "-1"], "--seed"), (["train", "--seed", "4294967296"], "--seed"),
    (["train", "--threads", "0"], "--threads"), (["train", "--dtype", "float16"], "float16"),
    (["train", "--data", "."], "--data"), (["train", "--dataset", "cifar10", "--data", "nowhere"], "nowhere"),
    (["train", "--dataset", "cifar10", "--data", "."], "CIFAR-10"), (["evaluate", "nowhere"], "nowhere"),
    (["evaluate", "."], "config.json"), (["predict", "nowhere", "X.npy"], "nowhere"),
    (["submit", "nowhere", "X.npy", "--phase", "0"], "--phase"),
])
def test_wrong_arguments(here, capsys, argv, word):
    fails(capsys, argv, word)
    assert list(here.iterdir()) == []


def test_out_that_cannot_be_written(here, capsys):
    (here / "file").write_text("")
    fails(capsys, ["train", "--out", "file"], "file")
    fails(capsys, ["train", "--out", "file/run"], "file")
    (here / "used").mkdir()
    (here / "used" / "kept.txt").write_text("kept")
    fails(capsys, ["train", "--out", "used"], "not empty")
    assert (here / "used" / "kept.txt").read_text() == "kept"


def test_runs_folder_that_is_a_file(here, capsys):
    (here / "runs").write_text("")
    fails(capsys, ["train"], "runs")


def test_broken_arrays(run, here, capsys):
    whole = (run / "best.npz").read_bytes()
    for name, content in {
        "empty": b"", "noise": b"not an archive", "cut": whole[:len(whole) // 2],
        "flipped": whole[:200] + bytes(b ^ 255 for b in whole[200:400]) + whole[400:],
    }.items():
        fails(capsys, ["evaluate", broken_copy(run, here / name, best_npz=content)], name, "best.npz")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null"])
def test_config_that_is_not_json(run, here, capsys, content):
    fails(capsys, ["evaluate", broken_copy(run, here / "r", config_json=content)], "config.json")


@pytest.mark.parametrize("change", [
    {"format": 99}, {"dataset": "mnist"}, {"data": 5}, {"network": {}}, {"hidden_dims": [21]},
    {"hidden_dims": "ab"}, {"hidden_dims": 5}, {"input_dim": 65}, {"num_classes": 11}, {"dtype": "float16"},
    {"dtype": 3}, {"normalization": "other"}, {"dropout": -1},
])
def test_config_of_something_else(run, here, capsys, change):
    config = json.loads((run / "config.json").read_text())
    (config if next(iter(change)) in config else config["network"]).update(change)
    fails(capsys, ["evaluate", broken_copy(run, here / "r", config_json=json.dumps(config).encode())])


def test_missing_and_pickled_arrays(run, here, capsys):
    with np.load(run / "best.npz") as archive:
        arrays = dict(archive)
    for name, change in {
        "gone": {"W2": None}, "mean": {"mean_image": None}, "statistics": {"running_var1": None},
        "pickle": {"W1": np.array([{}], dtype=object)}, "words": {"W1": np.full(arrays["W1"].shape, "a")},
    }.items():
        folder = broken_copy(run, here / name)
        changed = {k: v for k, v in {**arrays, **change}.items() if v is not None}
        np.savez(folder / "best.npz", **changed)
        fails(capsys, ["evaluate", folder], "best.npz")


def test_wrong_images(run, here, capsys):
    np.save("wide.npy", np.zeros((2, 65)))
    np.save("last.npy", np.zeros((2, 8, 8, 1)))
    np.save("flat.npy", np.zeros(64))
    np.save("words.npy", np.full((2, 64), "a"))
    np.save("complex.npy", np.zeros((2, 64), complex))
    np.save("pickle.npy", np.array([[{}] * 64], dtype=object))
    np.save("nan.npy", np.full((2, 64), np.nan))
    np.savez("many.npz", a=np.zeros((2, 64)))
    (here / "noise.npy").write_bytes(b"noise")
    for name in ("wide.npy", "last.npy", "flat.npy", "words.npy", "complex.npy", "pickle.npy", "nan.npy",
                 "many.npz", "noise.npy", "absent.npy"):
        for command in ("predict", "submit"):
            fails(capsys, [command, run, name], name)
    assert not (here / "preds.npy").exists() and not (here / "output").exists()


@pytest.mark.parametrize("name, value", [
    ("W1", np.nan), ("W2", -np.inf), ("mean_image", np.nan), ("running_mean1", np.inf), ("running_var1", -1.0),
])
def test_arrays_that_are_not_finite(run, here, capsys, name, value):
    folder = broken_copy(run, here / "r")
    with np.load(run / "best.npz") as archive:
        arrays = dict(archive)
    arrays[name].flat[1] = value
    np.savez(folder / "best.npz", **arrays)
    np.save("X.npy", np.ones((3, 64)))
    for command in (["evaluate", folder], ["submit", folder, "X.npy"], ["evaluate", folder, "--images", "X.npy"]):
        fails(capsys, command, "best.npz", name)
    assert not (here / "output").exists()
    for more in ([], ["--raw"]):
        fails(capsys, ["predict", folder, "X.npy", *more], "3 of 3", "best.npz", name)
        assert np.load("preds.npy").tolist() == [-1, -1, -1]


def test_scores_that_are_not_finite(run, here, capsys):
    X = np.ones((5, 64), np.float32)
    with np.load(run / "best.npz") as arrays:
        X[[1, 3]] = 3e38 * np.sign(arrays["W1"][:, 0])
    np.save("X.npy", X)
    fails(capsys, ["predict", run, "X.npy"], "2 of 5 samples have no class", "not finite", "-1 in preds.npy")
    found = np.load("preds.npy")
    assert found[[1, 3]].tolist() == [-1, -1] and min(found[[0, 2, 4]]) >= 0
    fails(capsys, ["submit", run, "X.npy"], "not finite", "sample 1")
    np.save("X.npy", np.full((5, 64), 1e300))
    fails(capsys, ["predict", run, "X.npy"], "X.npy", "too large", "float32")


def test_a_config_as_deep_as_a_well(run, here, capsys):
    fails(capsys, ["evaluate", broken_copy(run, here / "r", config_json=b"[" * 100_000)], "config.json")


def test_letters_that_the_terminal_does_not_know(here):
    def call(*argv):
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "daseCV_c", *argv], capture_output=True,
            env={**program_environment(), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})

    done = call("train", *QUICK, "--out", "\u4f5c\u4e1a")
    assert done.returncode == 0, done.stderr
    assert rb"saved in \u4f5c\u4e1a" in done.stdout
    wrong = call("evaluate", "\u4f5c")
    assert (wrong.returncode, wrong.stderr.strip()) == (2, rb"dasecv: error: there is no run \u4f5c")


def test_the_process_is_as_it_was(here, capsys):
    before = [(stream, stream.errors) for stream in (sys.stdout, sys.stderr)]
    drawn = np.random.RandomState(231).uniform(size=3)  # as conftest seeds it
    assert main(["train", "--hidden", "5", "--epochs", "1"]) == 0
    assert before == [(stream, stream.errors) for stream in (sys.stdout, sys.stderr)]
    np.testing.assert_array_equal(np.random.uniform(size=3), drawn)


def test_predictions_that_cannot_be_written(run, here, capsys):
    np.save("X.npy", np.zeros((2, 64)))
    fails(capsys, ["predict", run, "X.npy", "-o", "absent/preds.npy"], "absent")
    (here / "output").write_text("")
    fails(capsys, ["submit", run, "X.npy"], "output")


def test_interrupt_is_130_and_leaves_no_folder(here, monkeypatch, capsys):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr("daseCV_c.solver.Solver.train", interrupt)
    assert main(["train", "--out", "r"]) == 130
    assert capsys.readouterr().err == "dasecv: interrupted\n"
    assert not (here / "r").exists()


def test_too_much_memory_is_one_line(here, monkeypatch, capsys):
    def refuse(network):
        raise MemoryError("Unable to allocate 8 PiB")

    monkeypatch.setattr(runs, "build_network", refuse)
    fails(capsys, ["train", "--out", "r"], "out of memory", "8 PiB")


# ---- pieces

def test_the_mean_is_subtracted_before_rounding():
    images = np.arange(5000, dtype=np.float64).reshape(2500, 2) / 7
    mean, scale = np.array([1 / 3, 2 / 3]), np.array([3.0, 0.7])
    for chunk in (1, 999, 10_000):
        for divisor in (None, scale):
            got = own_data.standardized("x", images, mean, divisor, np.float32, chunk)
            expected = images - mean if divisor is None else (images - mean) / scale
            np.testing.assert_array_equal(got, expected.astype(np.float32))


def test_as_a_program_from_an_empty_folder(here):
    def call(*argv):
        return subprocess.run([sys.executable, "-W", "ignore", "-m", "daseCV_c", *argv], capture_output=True,
                              text=True, env=program_environment())

    done = call("train", *QUICK)
    assert (done.returncode, done.stderr) == (0, "")
    assert call("evaluate", os.path.join("runs", "digits-1")).returncode == 0
    wrong = call("evaluate", "nowhere")
    assert (wrong.returncode, wrong.stderr) == (2, "dasecv: error: there is no run nowhere\n")
