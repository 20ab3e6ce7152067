"""The commands with --model cnn: training, pictures, runs that are read again, options that do not fit."""

import json
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from commands import accuracies, fails

from daseCV_c.cli import plots, recipes, runs
from daseCV_c.cli.main import main
from daseCV_c.datasets import load_digits_images

QUICK = ["--model", "cnn", "--filters", "4", "--filter-size", "3", "--hidden", "20", "--epochs", "2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small trained network; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main(["train", *QUICK, "--out", str(folder)]) == 0
    return folder


def changed_copy(run, folder, change, **arrays):
    """A copy of `run` whose network and arrays are changed; None takes something away."""
    folder.mkdir()
    config = json.loads((run / "config.json").read_text())
    config["network"] = {k: v for k, v in {**config["network"], **change}.items() if v is not None}
    (folder / "config.json").write_text(json.dumps(config))
    with np.load(run / "best.npz") as archive:
        kept = {k: v for k, v in {**archive, **arrays}.items() if v is not None}
    np.savez(folder / "best.npz", **kept)
    return folder


@pytest.mark.usefixtures("no_pictures")
def test_the_digits_are_learnt(here, capsys):
    assert main(["train", "--model", "cnn"]) == 0
    found = accuracies(capsys.readouterr().out)
    assert found["validation"] >= 0.98
    assert found["test"] >= 0.94
    assert (here / "runs" / "digits-1" / "best.npz").is_file()


def test_config_and_arrays(run):
    config = json.loads((run / "config.json").read_text())
    given = {"model": "cnn", "filters": 4, "filter_size": 3, "hidden": [20], "epochs": 2}
    assert config["settings"] == {**recipes.RECIPES["cnn-digits"], **given}
    assert config["network"] == {
        "model": "cnn", "input_dim": [1, 8, 8], "num_filters": 4, "filter_size": 3, "hidden_dim": 20,
        "num_classes": 10, "reg": 1e-3, "weight_scale": 5e-2, "dtype": "float32"}
    with np.load(run / "best.npz") as arrays:
        assert set(arrays.files) == {"W1", "b1", "W2", "b2", "W3", "b3", "mean_image"}
        assert arrays["W1"].shape == (4, 1, 3, 3) and arrays["W2"].shape == (64, 20)
        assert arrays["mean_image"].shape == (1, 8, 8)


@pytest.mark.usefixtures("no_pictures")
def test_same_seed_same_bits_for_any_thread_count(here):
    for name, options in (("a", ["--threads", "1"]), ("b", ["--threads", "2"]), ("c", ["--seed", "7"])):
        assert main(["train", *QUICK, *options, "--out", name]) == 0
    a, b, c = (np.load(here / name / "best.npz") for name in "abc")
    for name in a.files:
        np.testing.assert_array_equal(a[name], b[name])
    assert not np.array_equal(a["W1"], c["W1"])


def test_evaluate_agrees_with_train(run, here, capsys):
    assert main(["evaluate", str(run)]) == 0
    printed = accuracies(capsys.readouterr().out)
    results = json.loads((run / "config.json").read_text())["results"]
    assert printed["validation"] == pytest.approx(results["val_acc"], abs=5e-5)
    assert printed["test"] == pytest.approx(results["test_acc"], abs=5e-5)
    assert set(printed) == {"train", "validation", "test"}


def test_predict_and_submit(run, here):
    raw = load_digits_images(subtract_mean=False)
    with np.load(run / "best.npz") as arrays:
        mean = arrays["mean_image"]
    np.save("raw.npy", raw["X_test"])
    np.save("flat.npy", (raw["X_test"] - mean).reshape(len(raw["X_test"]), -1))
    np.save("none.npy", np.empty((0, 64)))
    assert main(["predict", str(run), "raw.npy", "--raw", "-o", "raw-classes"]) == 0
    assert main(["predict", str(run), "flat.npy"]) == 0
    found = np.load("preds.npy")
    np.testing.assert_array_equal(found, np.load("raw-classes"))
    results = json.loads((run / "config.json").read_text())["results"]
    assert np.mean(found == raw["y_test"]) == pytest.approx(results["test_acc"])
    assert main(["submit", str(run), "flat.npy"]) == 0
    np.testing.assert_array_equal(found, np.load(here / "output" / "phase_1" / "prediction.npy"))
    assert main(["predict", str(run), "none.npy"]) == 0
    assert np.load("preds.npy").shape == (0,)


@pytest.mark.usefixtures("no_pictures")
def test_cifars_images(here, monkeypatch, capsys):
    """The recipe of CIFAR-10 on images of its shape; the option --data is not needed to read them."""
    rng = np.random.default_rng(0)
    data = {}
    for split, n in (("train", 60), ("val", 20), ("test", 20)):
        data[f"X_{split}"] = rng.integers(0, 256, (n, 3, 32, 32), np.uint8)
        data[f"y_{split}"] = np.arange(n) % 10
    data["mean_image"] = data["X_train"].mean(axis=0)
    monkeypatch.setattr("daseCV_c.data_utils.get_CIFAR10_data", lambda data_dir, dtype: dict(data))
    options = ["--dataset", "cifar10", "--epochs", "1", "--hidden", "30"]
    assert main(["train", "--model", "cnn", *options, "--out", "r"]) == 0
    network = json.loads((here / "r" / "config.json").read_text())["network"]
    assert (network["input_dim"], network["num_filters"], network["filter_size"]) == ([3, 32, 32], 32, 7)
    trained = accuracies(capsys.readouterr().out)
    assert main(["evaluate", "r"]) == 0
    again = accuracies(capsys.readouterr().out)
    assert (again["validation"], again["test"]) == (trained["validation"], trained["test"])


# ---- pictures

if find_spec("matplotlib"):
    def test_pictures_are_drawn(run):
        for name in ("curves.png", "filters.png"):
            assert (run / name).read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize("channels", [1, 3])
    def test_filters_are_seen_in_the_picture(here, channels):
        """Two flat halves, dark and bright; the margin is bright, the lines between the filters are dark."""
        from matplotlib.image import imread

        w = np.zeros((4, channels, 4, 6), np.float32)
        w[:, :, :, 3:] = 5
        assert plots.save_filters(w, here / "filters.png")
        picture = imread(here / "filters.png")[:, :, :3]
        bright, dark = np.mean(picture > 0.9), np.mean(picture < 0.1)
        assert bright > 0.4 and dark > 0.3

    def test_a_fully_connected_run_has_no_filters(here):
        assert main(["train", "--hidden", "5", "--epochs", "1", "--out", "r"]) == 0
        assert (here / "r" / "curves.png").is_file() and not (here / "r" / "filters.png").exists()

    def test_filters_that_cannot_be_written(here, capsys, monkeypatch):
        monkeypatch.setattr(runs, "FILTERS", "absent/filters.png")
        fails(capsys, ["train", *QUICK, "--out", "r"], "absent", "cannot be written")


def test_without_matplotlib_there_are_no_pictures(here, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["train", *QUICK, "--out", "r"]) == 0
    assert "matplotlib is not installed" in capsys.readouterr().out
    assert sorted(p.name for p in (here / "r").iterdir()) == [
        "best.npz", "checkpoint.npz", "config.json", "history.csv"]


# ---- errors

@pytest.mark.parametrize(("argv", "words"), [
    (["--model", "cnn", "--norm", "batchnorm"], ("--norm", "cnn")),
    (["--model", "cnn", "--dropout", "0.5"], ("--dropout", "cnn")),
    (["--model", "cnn", "--hidden", "20", "30"], ("--hidden", "one hidden layer, not 2")),
    (["--filters", "8"], ("--filters", "fc")),
    (["--model", "fc", "--filter-size", "3"], ("--filter-size", "fc")),
    (["--model", "cnn", "--recipe", "best-cifar10"], ("--recipe best-cifar10", "--model fc")),
    (["--model", "fc", "--recipe", "cnn-digits"], ("--recipe cnn-digits", "--model cnn")),
    (["--recipe", "cnn-digits", "--norm", "none"], ("--norm", "cnn")),
    (["--model", "rnn"], ("rnn",)), (["--model", "cnn", "--filter-size", "4"], ("--filter-size", "odd")),
    (["--model", "cnn", "--filter-size", "-1"], ("--filter-size",)),
    (["--model", "cnn", "--filters", "0"], ("--filters",)),
    (["--model", "cnn", "--data", "."], ("--data",)),
    (["--model", "cnn", "--dataset", "cifar10", "--data", "nowhere"], ("nowhere",)),
])
def test_wrong_arguments(here, capsys, argv, words):
    fails(capsys, ["train", *argv], *words)
    assert list(here.iterdir()) == []


@pytest.mark.usefixtures("no_pictures")
def test_a_recipe_brings_its_model(here):
    assert main(["train", "--recipe", "cnn-digits", *QUICK[2:], "--out", "r"]) == 0
    assert json.loads((here / "r" / "config.json").read_text())["network"]["model"] == "cnn"


@pytest.mark.parametrize("change", [
    {"model": "rnn"}, {"model": 3}, {"model": "fc"}, {"model": None}, {"input_dim": 64}, {"input_dim": [1, 8, 10]},
    {"input_dim": [1, 16, 4]}, {"input_dim": None}, {"num_filters": 5}, {"num_filters": "4"}, {"filter_size": 5},
    {"filter_size": 2}, {"filter_size": None}, {"hidden_dim": 21}, {"num_classes": 11}, {"dtype": "float16"},
], ids=str)
def test_config_of_something_else(run, here, capsys, change):
    fails(capsys, ["evaluate", changed_copy(run, here / "r", change)])


@pytest.mark.parametrize(("name", "array"), [
    ("W1", None), ("b3", None), ("mean_image", None), ("W1", np.zeros((4, 1, 3, 2))), ("W1", np.zeros((4, 9))),
    ("W1", np.zeros((4, 1, 3, 3), int)), ("mean_image", np.zeros((8, 8, 1))), ("mean_image", np.zeros(64)),
])
def test_arrays_that_do_not_fit(run, here, capsys, name, array):
    fails(capsys, ["evaluate", changed_copy(run, here / "r", {}, **{name: array})], "best.npz")


@pytest.mark.usefixtures("no_pictures")
def test_runs_from_before_there_was_a_choice(here, capsys):
    """Their network does not name a model."""
    assert main(["train", "--hidden", "5", "--epochs", "1", "--out", "new"]) == 0
    expected = accuracies(capsys.readouterr().out)
    old = changed_copy(here / "new", here / "old", {"model": None})
    assert main(["evaluate", str(old)]) == 0
    found = accuracies(capsys.readouterr().out)
    assert (found["validation"], found["test"]) == (expected["validation"], expected["test"])
