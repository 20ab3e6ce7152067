"""A student's way, from `new` to the zip for the leaderboard, in a fresh folder and in both languages.

    python tests/student_way.py PYTHON [--notebooks]

PYTHON is that of an environment with the wheel alone, and with `--notebooks` with what the README of the course folder
says besides (matplotlib, jupyterlab): then the notebooks are executed as well, which takes some minutes. The right
answers are those of the twins; some are wrong at first, and the self-check has to name the mistakes.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
# name -> a wrong body, and the name of the mistake
WRONG = {
    "affine_backward": ("x, w, b = cache\n    return (dout @ w.T).reshape(x.shape), "
                        "x.reshape(len(x), -1).T @ dout / len(x), dout.sum(axis=0)", "affine-dw-mean"),
    "relu_backward": ("return dout * (dout > 0)", "relu-gradient-sign-of-dout"),
}
BEST = '''np.random.seed(231)
best_model = FullyConnectedNet([100], input_dim=INPUT_DIM, weight_scale=choose(cifar=2e-2, digits=1e-1))
Solver(best_model, data, update_rule="adam", optim_config={"learning_rate": 1e-3}, num_epochs=10, verbose=False).train()
'''


def functions(text, wrong=()):
    """my_layers.py with the functions written."""
    def written(match):
        name, arguments = match["name"], re.sub(r"=[^,]*", "", match["arguments"])
        body = WRONG[name][0] if name in wrong else f"return reference.{name}({arguments})"
        return f"{match['head']}{body}\n"

    text = text.replace("import numpy as np", "from daseCV_c import reference\nimport numpy as np", 1)
    head = r"(?P<head>^def (?P<name>\w+)\((?P<arguments>.*)\):\n(?:(?!^def ).*\n)*?    )"
    return re.sub(head + r"raise NotImplementedError.*\n", written, text, flags=re.MULTILINE)


def networks(text):
    """my_networks.py with the classes written; its own imports stay."""
    right = (HERE / "right" / "networks.py").read_text(encoding="utf-8")
    return text[:text.index("\nclass ")] + right[right.index("\nclass "):]


class Way:
    """One course folder."""

    def __init__(self, python, folder, language, environment=None):
        self.python, self.folder, self.language, self.environment = str(python), Path(folder), language, environment

    def run(self, *words, code=0, inside=True):
        """What a command prints; AssertionError where its exit code is another."""
        done = subprocess.run([self.python, *map(str, words)], cwd=self.folder if inside else self.folder.parent,
                              env=self.environment, capture_output=True, text=True, encoding="utf-8", check=False)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def change(self, name, function, *arguments):
        path = self.folder / name
        path.write_text(function(path.read_text(encoding="utf-8"), *arguments), encoding="utf-8")

    def begin(self):
        """Nothing is written yet: everything says so, and a training runs on ours."""
        self.run("-m", "daseCV_c", "new", self.folder.name, "--lang", self.language, inside=False)
        text = self.run("-m", "daseCV_c", "check", "my_layers.py", "--only", "affine_forward", code=1)
        assert "affine_forward is not written yet, line " in text
        text = self.run("train.py")
        assert "nothing is finished yet; all is daseCV_c's" in text
        assert re.search(r"FullyConnectedNet is not written yet: __init__ in line \d+, loss in line \d+ of", text)

    def write(self):
        """Functions, two of them wrong at first, then networks."""
        empty = (self.folder / "my_layers.py").read_text(encoding="utf-8")
        self.change("my_layers.py", functions, tuple(WRONG))
        found = json.loads(self.run("-m", "daseCV_c", "check", "my_layers.py", "--json", code=1))["results"]
        assert {r["function"]: r["mistake"] for r in found if r["status"] not in ("passed", "missing")} == {
            name: mistake for name, (_, mistake) in WRONG.items()}
        (self.folder / "my_layers.py").write_text(functions(empty), encoding="utf-8")
        text = self.run("-m", "daseCV_c", "check", "my_layers.py")
        assert "25 of 25 right." in text, text
        self.change("my_networks.py", networks)
        text = self.run("-m", "daseCV_c", "check", "my_networks.py")
        assert "3 of 3 right." in text, text

    def train(self):
        """The first line says whose functions they are; the zip holds predictions."""
        first, *_, last = self.run("train.py").splitlines()
        assert re.fullmatch(r"my_layers: affine_forward, .*, adam; my_networks: TwoLayerNet, FullyConnectedNet, "
                            r"ThreeLayerConvNet; the rest is daseCV_c's \(networks .*, not with the _naive ones\)",
                            first), first
        self.look(self.folder / last)
        # And by the commands alone.
        self.run("-m", "daseCV_c", "train", "--epochs", "1", "--out", "run")
        self.run("-c", "import numpy as np; from daseCV.datasets import load_digits_images; "
                       "data = load_digits_images(); [np.save(f'{k}.npy', data[f'{k}_test']) for k in 'Xy']")
        self.run("-m", "daseCV_c", "predict", "run", "X.npy", "-o", "preds.npy")
        self.run("-m", "daseCV_c", "submit", "run", "X.npy", "--phase", "2")
        self.look(self.folder / "output" / "prediction_phase_2.zip")

    def rank(self):
        """The teacher's table reads the zip."""
        handed_in = self.folder / "board" / "student_prediction_phase_1.zip"
        handed_in.parent.mkdir()
        shutil.copy(self.folder / "output" / "prediction_phase_1.zip", handed_in)
        text = self.run("-m", "daseCV_c", "leaderboard", "board", "--labels", "y.npy")
        assert re.search(r"^1  student  0\.9\d", text), text

    def look(self, path):
        with zipfile.ZipFile(path) as archive:
            assert archive.namelist() == ["prediction.npy"]

    def notebook(self, name):
        """Execute a notebook as it was written, with a model of the student's own where one is asked for."""
        path = self.folder / f"{name}.ipynb"
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if "best_model = None" in cell["source"]:
                cell["source"] = BEST
        path.write_text(json.dumps(notebook), encoding="utf-8")
        self.run("-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", path.name)
        return json.loads(path.read_text(encoding="utf-8"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", metavar="PYTHON")
    parser.add_argument("--notebooks", action="store_true")
    given = parser.parse_args()
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "DASECV_DATA")}
    for language in ("en", "zh"):
        with tempfile.TemporaryDirectory() as folder:
            way = Way(given.python, Path(folder) / "my 作业", language, environment)
            for step in (way.begin, way.write, way.train, way.rank):
                step()
                print(f"{language}: {step.__name__}", flush=True)
            for name in sorted(path.stem for path in way.folder.glob("*.ipynb")) if given.notebooks else ():
                way.notebook(name)
                print(f"{language}: {name}", flush=True)


if __name__ == "__main__":
    main()
