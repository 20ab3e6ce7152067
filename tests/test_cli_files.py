"""A user's own files: .csv, .npz and .npy for train, predict and evaluate."""

import csv
import json
import os

import numpy as np
import pytest
from commands import accuracies, fails

from daseCV_c.cli import files, own_data
from daseCV_c.cli.errors import CommandError
from daseCV_c.cli.main import main
from daseCV_c.datasets import load_digits_images

pytestmark = pytest.mark.once

NAMES = ("setosa", "versicolor", "薔薇")


def flowers(n=300):
    """Three classes of features with units of their own, which the first column alone tells apart."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    return np.column_stack([1000 + 50 * y + rng.normal(0, 5, n), rng.normal(0, 1e-3, n)]), y


def write(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A .csv and the run that was trained on it; tests leave them as they are."""
    folder = tmp_path_factory.mktemp("table")
    X, y = flowers()
    write(folder / "flowers.csv", [("length", "species", "width"),
                                   *((a, NAMES[k], b) for (a, b), k in zip(X, y, strict=True))])
    assert main(["train", "--data", str(folder / "flowers.csv"), "--label-column", "species", "--hidden", "20",
                 "--epochs", "15", "--norm", "none", "--weight-scale", "0.5", "--lr", "0.02",
                 "--out", str(folder / "run")]) == 0
    return folder


def test_a_csv_is_learnt_with_the_names_of_its_classes(table, here, capsys):
    config = json.loads((table / "run" / "config.json").read_text("utf-8"))
    assert config["classes"] == sorted(NAMES) and config["columns"] == ["length", "width"]
    assert config["label"] == "species" and config["network"]["num_classes"] == 3
    assert main(["evaluate", str(table / "run")]) == 0
    found = accuracies(capsys.readouterr().out)
    assert set(found) == {"train", "validation", "test"} and min(found.values()) == 1
    assert main(["predict", str(table / "run"), str(table / "flowers.csv"), "-o", "p.csv"]) == 0
    expected = [NAMES[k] for k in flowers()[1]]
    assert (here / "p.csv").read_text("utf-8").split() == ["label", *expected]
    assert main(["predict", str(table / "run"), str(table / "flowers.csv")]) == 0
    assert np.load("preds.npy").tolist() == expected
    fails(capsys, ["submit", table / "run", table / "flowers.csv"], "names")


def test_columns_go_by_their_names_where_there_are_some(table, here):
    X, y = flowers()
    expected = [NAMES[k] for k in y]
    write("other-order.csv", [("width", "length", "price"), *((b, a, 7) for a, b in X)])
    write("bare.csv", X)
    np.save("bare.npy", X)
    np.savez("bare.npz", X=X)
    for name in ("other-order.csv", "bare.csv", "bare.npy", "bare.npz"):
        assert main(["predict", str(table / "run"), name]) == 0
        assert np.load("preds.npy").tolist() == expected


def test_evaluate_on_files(table, here, capsys):
    X, y = flowers()
    named = np.array(NAMES)[y]
    named[:30] = np.array(NAMES)[(y[:30] + 1) % 3]
    np.save("X.npy", X)
    np.save("y.npy", named)
    np.savez("both.npz", X=X, y=named)
    write("y.csv", [[name] for name in named])
    write("y-named.csv", [("id", "label"), *enumerate(named)])
    for rest in (["X.npy", "--labels", "y.npy"], ["both.npz"], ["both.npz", "--labels", "both.npz"],
                 ["X.npy", "--labels", "y.csv"], ["X.npy", "--labels", "y-named.csv"]):
        assert main(["evaluate", str(table / "run"), "--images", *rest]) == 0
        assert capsys.readouterr().out == "accuracy: 0.9000\n270 of 300 right\n"
    assert main(["evaluate", str(table / "run"), "--images", str(table / "flowers.csv")]) == 0
    assert capsys.readouterr().out == "accuracy: 1.0000\n300 of 300 right\n"
    np.save("short.npy", named[:5])
    np.save("unknown.npy", np.full(300, "tulip"))
    run = table / "run"
    fails(capsys, ["evaluate", run, "--images", "X.npy"], "no labels", "--labels")
    fails(capsys, ["evaluate", run, "--images", "X.npy", "--labels", "short.npy"], "300 images", "5 labels")
    fails(capsys, ["evaluate", run, "--images", "X.npy", "--labels", "unknown.npy"], "tulip", "setosa")
    fails(capsys, ["evaluate", run, "--labels", "y.npy"], "--images")
    fails(capsys, ["evaluate", run, "--images", "X.npy", "--data", "x"], "--data")


@pytest.mark.usefixtures("no_pictures")
def test_digits_are_evaluated_on_files_too(here, capsys):
    assert main(["train", "--hidden", "20", "--epochs", "2", "--out", "r"]) == 0
    test = accuracies(capsys.readouterr().out)["test"]
    raw = load_digits_images(subtract_mean=False)
    np.save("X.npy", raw["X_test"])
    np.save("y.npy", raw["y_test"])
    write("X.csv", [(k, *row) for k, row in zip(raw["y_test"], raw["X_test"].reshape(-1, 64), strict=True)])
    with open("X.csv", encoding="utf-8") as file:
        text = file.read()
    (here / "named.csv").write_text(",".join(["label", *(f"p{i}" for i in range(64))]) + "\n" + text)
    for rest in (["X.npy", "--labels", "y.npy"], ["named.csv"]):
        assert main(["evaluate", "r", "--raw", "--images", *rest]) == 0
        assert abs(accuracies(capsys.readouterr().out.replace("accuracy", "x accuracy", 1))["x"] - test) < 1e-4
    fails(capsys, ["evaluate", "r", "--raw"], "--images")


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("model", ["fc", "cnn"])
def test_images_of_an_npz(here, capsys, model):
    data = load_digits_images(dtype=np.uint8)
    splits = {f"{letter}_{split}": data[f"{letter}_{split}"] for split in ("train", "val") for letter in "Xy"}
    np.savez("digits.npz", **{**splits, "y_train": splits["y_train"] + 10, "y_val": splits["y_val"] + 10})
    assert main(["train", "--model", model, "--data", "digits.npz", "--epochs", "3", "--hidden", "30",
                 "--out", "r"]) == 0
    found = accuracies(capsys.readouterr().out)
    assert set(found) == {"validation"} and found["validation"] > 0.8
    assert json.loads((here / "r" / "config.json").read_text())["classes"] == list(range(10, 20))
    np.save("X.npy", data["X_val"])
    assert main(["predict", "r", "X.npy"]) == 0
    predicted = np.load("preds.npy")
    assert predicted.dtype == np.int64
    assert np.mean(predicted == data["y_val"] + 10) == pytest.approx(found["validation"], abs=5e-5)


def test_the_split_does_not_hang_on_the_seed(here):
    X, y = flowers()
    np.savez("x.npz", X=X, y=y)
    found = own_data.load("x.npz", None, np.float64)
    again = own_data.load("x.npz", None, np.float64)
    sizes = {split: len(found[f"y_{split}"]) for split in ("train", "val", "test")}
    assert sizes == {"train": 240, "val": 30, "test": 30}
    rows = np.concatenate([found[f"X_{split}"] * found["scale"] + found["mean_image"] for split in sizes])
    np.testing.assert_allclose(np.sort(rows[:, 0]), np.sort(X[:, 0]), rtol=1e-12)
    np.testing.assert_array_equal(again["X_test"], found["X_test"])
    assert abs(found["X_train"].mean()) < 1e-12 and found["X_train"].std(axis=0) == pytest.approx([1, 1])


def test_a_feature_that_never_changes_is_left_alone(here):
    np.savez("x.npz", X=np.column_stack([np.arange(30.0), np.full(30, 7.0)]), y=np.arange(30) % 2)
    data = own_data.load("x.npz", None, np.float32)
    assert data["scale"][1] == 1 and not data["X_train"][:, 1].any()


@pytest.mark.parametrize("text, labels, names, label", [
    ("a,b,label\n1,2,x\n3,4,y\n", ["x", "y"], ["a", "b"], "label"),
    ("label,a,b\nx,1,2\ny,3,4\n", ["x", "y"], ["a", "b"], "label"),
    ("1,2,x\n3,4,y\n", ["x", "y"], None, "3"),
    ("1;2;0\r\n\r\n3;4;1\r\n", ["0", "1"], None, "3"),
    ("\ufeffa\tb\tspecies\n1\t2\t\"x, y\"\n3\t4\tz\n", ["x, y", "z"], ["a", "b"], "species"),
    ("a, b, c\n 1 , 2 , 5\n3,4,6", ["5", "6"], ["a", "b"], "c"),
])
def test_what_a_csv_may_look_like(here, text, labels, names, label):
    (here / "t.csv").write_text(text, "utf-8")
    found = files.table("t.csv", labelled=True)
    np.testing.assert_array_equal(found.X, [[1, 2], [3, 4]])
    assert (found.labels, found.names, found.label) == (labels, names, label)


@pytest.mark.parametrize("content, words", [
    (b"", ["empty"]), (b"\n\n", ["empty"]), (b"a,b,label\n", ["no numbers"]),
    (b"a,b,label\n1,2,x\n1,x\n", ["line 3", "2 fields", "expected 3"]),
    (b"a,b,label\n1,2,x\n1,two,x\n", ["line 3", "column b", "'two' is not a number"]),
    (b"a,b,label\n1,,x\n", ["line 2", "column b", "''"]), (b"a,b,label\n1,nan,x\n", ["line 2", "column b", "finite"]),
    (b"a,b,label\n1,1e999,x\n", ["column b", "finite"]), (b"a,label,label\n1,x,y\n", ["two columns label"]),
    (b"a,b,label\n1,2,\n3,4,x\n5,6,y\n", ["label is empty"]), (b"a,b,c\n1,2,0.5\n3,4,1\n5,6,2\n", ["fractions"]),
    (b"a,b,label\n1,2,x\n3,4,x\n5,6,x\n", ["one class only, x"]), (b"a,b,label\n1,2,x\n3,4,y\n", ["2 samples", "3"]),
    (b"a,b,label\n1,2,\"x\n", ["line 2"]), (b"a,b,label\n1,2,\xbb\xa8\n", ["UTF-8"]), (b"a\0b", ["something else"]),
    (b"\x89PNG\r\n\x1a\n", ["a picture"]), (b"\x1f\x8b\x08", ["compressed"]),
])
def test_a_csv_that_cannot_be_read(here, capsys, content, words):
    (here / "t.csv").write_bytes(content)
    said = fails(capsys, ["train", "--data", "t.csv"], "t.csv", *words).err
    assert "pickle" not in said
    assert [path.name for path in here.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("change, words", [
    ({"y": None}, ["X, but no y"]), ({"X": None}, ["holds y, expected X"]),
    ({"y": np.arange(29)}, ["30 samples", "29"]),
    ({"X": np.zeros(30)}, ["shape (30,)"]), ({"X": np.full((30, 2), "a")}, ["expected numbers"]),
    ({"X": np.full((30, 2), np.inf)}, ["not finite", "sample 0"]), ({"X": np.full((30, 2), 1e200)}, ["too large"]),
    ({"y": np.arange(30.0) / 2}, ["fractions"]), ({"y": np.zeros((30, 1), int)}, ["shape (30, 1)"]),
    ({"y": np.zeros(30, int)}, ["one class only, 0"]), ({"y": np.zeros(30, complex)}, ["complex"]),
    ({"y": np.full(30, 2**63, np.uint64)}, ["uint64"]), ({"y": np.array([{}] * 30, dtype=object)}, ["Python objects"]),
    ({"X_train": np.zeros((9, 2)), "y_train": np.arange(9)}, ["no X_val"]),
    ({"X_train": np.zeros((9, 2)), "y_train": np.arange(9), "X_val": np.zeros((9, 3)), "y_val": np.arange(9)},
     ["(3,)"]),
    ({"X_train": np.zeros((9, 2)), "y_train": np.arange(9), "X_val": np.zeros((9, 2)), "y_val": np.full(9, "a")},
     ["text"]),
    ({"X_train": np.zeros((9, 2)), "y_train": np.arange(9), "X_val": np.zeros((9, 2), np.uint8), "y_val": np.arange(9)},
     ["uint8"]),
])
def test_an_npz_that_does_not_fit(here, capsys, change, words):
    X, y = flowers(30)
    arrays = {k: v for k, v in {"X": X, "y": y, **change}.items() if v is not None}
    np.savez("t.npz", **arrays)
    said = fails(capsys, ["train", "--data", "t.npz"], "t.npz", *words).err
    assert "pickle" not in said


def test_labels_that_were_not_there_in_training(table, here, capsys):
    X, y = flowers(30)
    write("new.csv", [("length", "species", "width"), *((a, "tulip", b) for a, b in X)])
    fails(capsys, ["evaluate", table / "run", "--data", "new.csv"], "tulip")


def test_options_that_do_not_fit_the_data(table, here, capsys):
    path = table / "flowers.csv"
    fails(capsys, ["train", "--data", path, "--label-column", "2", "--model", "cnn"], "cnn", "images")
    fails(capsys, ["train", "--data", path, "--dataset", "digits"], "digits")
    fails(capsys, ["train", "--dataset", "file"], "--data")
    fails(capsys, ["train", "--label-column", "x"], "--label-column")
    fails(capsys, ["train", "--data", path, "--label-column", "nowhere"], "nowhere", "length")
    fails(capsys, ["train", "--data", path, "--label-column", "9"], "3 columns", "9")
    np.save("X.npy", np.zeros((30, 2)))
    fails(capsys, ["train", "--data", "X.npy"], "X.npy", "one array")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_data_that_are_no_file_are_called_that(here, capsys):
    os.mkfifo("pipe")
    os.symlink("loop", "loop")
    for name, said in (("pipe", "no ordinary file"), (os.devnull, "no ordinary file"), ("none.csv", "cannot be read"),
                       ("loop", "loop cannot be read: ")):
        for command in ("train", "lr-find"):
            fails(capsys, [command, "--data", name], f"{name} ", said)


@pytest.mark.parametrize(("label", "said"), [("100000000000000000000", "reach 1e+20, expected"),
                                             ("0.5", "with fractions"), ("inf", "not finite")])
def test_labels_that_are_no_classes(here, capsys, label, said):
    write("X.csv", [("a", "label"), (1, -1), (2, label)])
    fails(capsys, ["train", "--data", "X.csv"], said)
    write("y.csv", [("label",), (-1,), (label,)])
    with pytest.raises(CommandError, match=said.replace("+", r"\+")):
        files.labels("y.csv")


def test_labels_beyond_int64(here):
    np.save("y.npy", np.array([1, 2**63], np.uint64))
    with pytest.raises(CommandError, match="reach 9223372036854775808, expected"):
        files.labels("y.npy")


def test_a_data_file_whose_name_is_no_text(here, table):
    """As where it was made on another system: names of files are bytes."""
    name = os.fsdecode(b"z\xff.csv")
    try:
        write(name, [("a", "label"), *((k, k % 2) for k in range(20))])
    except OSError:
        pytest.skip("this system has texts for names")
    assert main(["train", "--data", name, "--hidden", "5", "--epochs", "1", "--out", "run"]) == 0
    assert json.loads(open("run/config.json", encoding="utf-8").read())["data"].endswith(name)
    assert main(["train", "--resume", "run", "--epochs", "2"]) == 0 and main(["evaluate", "run"]) == 0


def test_files_that_lie_about_their_size(here):
    """No memory is taken for what is not there."""
    np.save("X.npy", np.zeros((3, 2)))
    content = (here / "X.npy").read_bytes().replace(b"(3, 2)", b"(9" + b"9" * 13 + b", 2)".ljust(4))
    (here / "X.npy").write_bytes(content)
    with pytest.raises(CommandError, match="X.npy cannot be read"):
        files.array("X.npy")


def test_altered_and_pickled_arrays_are_not_called_what_they_are_not(here):
    np.save("whole.npy", np.zeros((3, 2)))
    (here / "cut.npy").write_bytes((here / "whole.npy").read_bytes()[:-8])
    (here / "head.npy").write_bytes(b"\x93NUMPY\x01\0" + b"x" * 50)
    np.save("objects.npy", np.array([{}], dtype=object))
    np.savez("objects.npz", X=np.array([{}], dtype=object))
    for name in ("cut.npy", "head.npy", "objects.npy", "objects.npz", "."):
        with pytest.raises(CommandError) as error:
            files.array(name)
        assert name in str(error.value) and "pickle" not in str(error.value)
