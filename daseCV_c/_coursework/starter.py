"""A course folder to begin in: stubs without answers, the notebooks, a training, a place for the data."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from daseCV_c._coursework import percent, stubs

LANGUAGES = stubs.LANGUAGES

_TRAIN = '''"""{0}"""

import my_layers
import my_networks
import numpy as np

import daseCV_c
from daseCV.coursework import FullyConnectedNet
from daseCV.datasets import load_digits_images
from daseCV.solver import Solver
from daseCV.submission import output_file, zip_fun

daseCV_c.use(my_layers, my_networks)
np.random.seed(231)
data = load_digits_images()
model = FullyConnectedNet([50], input_dim=64, num_classes=10, weight_scale=0.1)
solver = Solver(model, data, update_rule="sgd", optim_config={{"learning_rate": 0.1}}, num_epochs=5)
solver.train()

# {1}
output_file(model.loss(data["X_test"]).argmax(axis=1))
print(zip_fun())
'''
_TRAIN_WORDS = (("A training with my finished functions, and daseCV_c's for the rest.",
                 "The predictions for the test images, as the leaderboard takes them."),
                ("用我已完成的函数训练，其余用 daseCV_c 的。", "测试图像的预测，格式为排行榜所要求的。"))

_README = ('''# My coursework

1. Write a function in `my_layers.py`: replace its `raise NotImplementedError(...)`.
2. `python -m daseCV_c check my_layers.py --only affine_forward` says whether it is right,
and which mistake it may have.
3. `python train.py` trains a network with the functions that are finished; its first line says which these are. It
writes `output/prediction_phase_1.zip` for the leaderboard.
4. The networks come after the layers: `my_networks.py`, and `python -m daseCV_c check my_networks.py`.

A function that is called before it is written says its name and line. A function is used when its other half, forward
or backward, is finished too; a network when both its methods are.

The notebooks `FullyConnectedNets`, `BatchNormalization`, `Dropout` and `ConvolutionalNetworks` lead through the work;
`start.ipynb` checks and trains from within a notebook. They need `python -m pip install matplotlib jupyterlab`; then
`jupyter lab`, in this folder.

Data goes into `data/`: `python -m daseCV_c fetch-cifar10 data`, after `python -m pip install pooch`. The notebooks find
it there. Without it they take the digits that come with the package.
''', '''# 我的作业

1. 在 `my_layers.py` 里写一个函数：替换它的 `raise NotImplementedError(...)`。
2. `python -m daseCV_c check my_layers.py --only affine_forward` 检验它是否正确，并指出可能的错误。
3. `python train.py` 用已完成的函数训练一个网络；第一行输出说明用了哪些。它还为排行榜写出
`output/prediction_phase_1.zip`。
4. 层之后是网络：`my_networks.py`，用 `python -m daseCV_c check my_networks.py` 检验。

还没写就被调用的函数会说出自己的名字和行号。一个函数在它的另一半（前向或反向）也完成之后才被使用；
一个网络在两个方法都完成之后才被使用。

笔记本 `FullyConnectedNets`、`BatchNormalization`、`Dropout` 和 `ConvolutionalNetworks` 引导你完成作业；
`start.ipynb` 在笔记本里检验和训练。它们需要 `python -m pip install matplotlib jupyterlab`；
然后在本文件夹运行 `jupyter lab`。

数据放在 `data/`：先 `python -m pip install pooch`，再 `python -m daseCV_c fetch-cifar10 data`。
笔记本会在那里找到它；没有它时，使用随包附带的手写数字。
''')


def files(language: str) -> dict[str, str]:
    """The text of each file, by its name in the folder."""
    which = LANGUAGES.index(language)
    found = {"my_layers.py": stubs.functions(language), "my_networks.py": stubs.networks(language),
             "train.py": _TRAIN.format(*_TRAIN_WORDS[which]), "README.md": _README[which],
             "start.ipynb": _as_json(_start(language))}
    found |= {f"{name}.ipynb": _as_json(percent.notebook(name, language, student=True)) for name in percent.NAMES}
    return found | {"data/.gitkeep": ""}


def write(folder: Path, language: str) -> list[str]:
    """Write the files into an empty or new folder, and return their names. OSError where that cannot be.

    What was begun is removed then, so that the folder can be asked for again.
    """
    made: list[Path] = []
    texts = files(language)
    try:
        for name, text in texts.items():
            path = folder / name
            above = [parent for parent in (path.parent, *path.parent.parents) if not parent.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            made += reversed(above)
            with open(path, "x", encoding="utf-8", newline="\n") as file:
                made.append(path)
                file.write(text)
    except OSError:
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        raise
    return list(texts)


def _as_json(notebook: dict[str, Any]) -> str:
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def _start(language: str) -> dict[str, Any]:
    cells: list[tuple[str, str]] = [
        ("markdown", _README[LANGUAGES.index(language)]),
        ("code", "%load_ext daseCV_c\n%load_ext autoreload\n%autoreload 2"),
        ("code", "import daseCV_c\nimport my_layers\nimport my_networks\n\ndaseCV_c.use(my_layers, my_networks)"),
        ("code", "%dasecv_check my_layers.py"),
        ("code", "%dasecv_check my_networks.py"),
        ("code", "%run train.py"),
    ]
    return percent.as_notebook(percent.Cell(kind, source.rstrip("\n")) for kind, source in cells)
