"""A course folder to begin in: stubs without answers, a training, a notebook, a place for the data."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

from daseCV_c import layers, optim

LANGUAGES = ("en", "zh")

# What each function is for, and the shapes of what it takes and returns: never how.
_STUBS: dict[str, tuple[str, str]] = {
    "affine_forward": (
        "Affine layer, forwards.\n\n"
        "x (N, d_1, ..., d_k), w (D, M), b (M,) -> out (N, M) and cache = (x, w, b).",
        "仿射层的前向。\n\n"
        "x (N, d_1, ..., d_k)，w (D, M)，b (M,) -> out (N, M) 和 cache = (x, w, b)。"),
    "affine_backward": (
        "Affine layer, backwards.\n\n"
        "dout (N, M) -> dx, dw, db, in the shapes of x, w, b.",
        "仿射层的反向。\n\n"
        "dout (N, M) -> dx、dw、db，形状与 x、w、b 相同。"),
    "relu_forward": (
        "ReLU, forwards.\n\n"
        "x of any shape -> out of that shape and cache = x.",
        "ReLU 的前向。\n\n"
        "任意形状的 x -> 同样形状的 out 和 cache = x。"),
    "relu_backward": (
        "ReLU, backwards.\n\n"
        "dout -> dx, both of the shape of x.",
        "ReLU 的反向。\n\n"
        "dout -> dx，形状都与 x 相同。"),
    "batchnorm_forward": (
        "Batch normalization, forwards.\n\n"
        "x (N, D), gamma and beta (D,); bn_param has mode 'train' or 'test', and may have eps (1e-5), momentum\n"
        "(0.9), running_mean and running_var (D,), which training puts back into it. -> out (N, D) and a cache.",
        "批量归一化的前向。\n\n"
        "x (N, D)，gamma 和 beta (D,)；bn_param 含 mode（'train' 或 'test'），可含 eps（1e-5）、momentum（0.9）、\n"
        "running_mean 和 running_var (D,)，训练时写回。-> out (N, D) 和 cache。"),
    "batchnorm_backward": (
        "Batch normalization, backwards, along the graph.\n\n"
        "dout (N, D) -> dx (N, D), dgamma (D,), dbeta (D,).",
        "批量归一化的反向，沿计算图推导。\n\n"
        "dout (N, D) -> dx (N, D)、dgamma (D,)、dbeta (D,)。"),
    "batchnorm_backward_alt": (
        "Batch normalization, backwards, simplified on paper.\n\n"
        "The same cache and the same results as batchnorm_backward.",
        "批量归一化的反向，先在纸上化简。\n\n"
        "cache 与结果同 batchnorm_backward。"),
    "layernorm_forward": (
        "Layer normalization, forwards.\n\n"
        "x (N, D), gamma and beta (D,); ln_param may have eps (1e-5) -> out (N, D) and a cache.",
        "层归一化的前向。\n\n"
        "x (N, D)，gamma 和 beta (D,)；ln_param 可含 eps（1e-5） -> out (N, D) 和 cache。"),
    "layernorm_backward": (
        "Layer normalization, backwards.\n\n"
        "dout (N, D) -> dx (N, D), dgamma (D,), dbeta (D,).",
        "层归一化的反向。\n\n"
        "dout (N, D) -> dx (N, D)、dgamma (D,)、dbeta (D,)。"),
    "dropout_forward": (
        "Inverted dropout, forwards.\n\n"
        "dropout_param has p, the probability of KEEPING a unit, mode 'train' or 'test', and may have seed for\n"
        "np.random.seed. x of any shape -> out of that shape and a cache.",
        "反向缩放的 dropout 的前向。\n\n"
        "dropout_param 含 p（保留一个单元的概率）和 mode（'train' 或 'test'），可含传给 np.random.seed 的 seed。\n"
        "任意形状的 x -> 同样形状的 out 和 cache。"),
    "dropout_backward": (
        "Inverted dropout, backwards.\n\n"
        "dout -> dx, both of the shape of x.",
        "反向缩放的 dropout 的反向。\n\n"
        "dout -> dx，形状都与 x 相同。"),
    "conv_forward_naive": (
        "Convolution, forwards.\n\n"
        "x (N, C, H, W), w (F, C, HH, WW), b (F,); conv_param has stride and pad -> out (N, F, H', W') and cache\n"
        "= (x, w, b, conv_param).",
        "卷积的前向。\n\n"
        "x (N, C, H, W)，w (F, C, HH, WW)，b (F,)；conv_param 含 stride 和 pad-> out (N, F, H', W') 和 cache =\n"
        "(x, w, b, conv_param)。"),
    "conv_backward_naive": (
        "Convolution, backwards.\n\n"
        "dout (N, F, H', W') -> dx, dw, db, in the shapes of x, w, b.",
        "卷积的反向。\n\n"
        "dout (N, F, H', W') -> dx、dw、db，形状与 x、w、b 相同。"),
    "max_pool_forward_naive": (
        "Max pooling, forwards.\n\n"
        "x (N, C, H, W); pool_param has pool_height, pool_width and stride -> out (N, C, H', W') and cache = (x,\n"
        "pool_param).",
        "最大池化的前向。\n\n"
        "x (N, C, H, W)；pool_param 含 pool_height、pool_width 和 stride -> out (N, C, H', W') 和cache = (x,\n"
        "pool_param)。"),
    "max_pool_backward_naive": (
        "Max pooling, backwards.\n\n"
        "dout (N, C, H', W') -> dx (N, C, H, W).",
        "最大池化的反向。\n\n"
        "dout (N, C, H', W') -> dx (N, C, H, W)。"),
    "spatial_batchnorm_forward": (
        "Batch normalization of images, forwards.\n\n"
        "x (N, C, H, W), gamma and beta (C,), bn_param as above -> out and a cache.",
        "图像的批量归一化的前向。\n\n"
        "x (N, C, H, W)，gamma 和 beta (C,)，bn_param 同上 -> out 和 cache。"),
    "spatial_batchnorm_backward": (
        "Batch normalization of images, backwards.\n\n"
        "dout (N, C, H, W) -> dx, dgamma (C,), dbeta (C,).",
        "图像的批量归一化的反向。\n\n"
        "dout (N, C, H, W) -> dx、dgamma (C,)、dbeta (C,)。"),
    "spatial_groupnorm_forward": (
        "Group normalization, forwards.\n\n"
        "x (N, C, H, W), gamma and beta (1, C, 1, 1), G groups of channels; gn_param may have eps (1e-5) -> out\n"
        "and a cache.",
        "组归一化的前向。\n\n"
        "x (N, C, H, W)，gamma 和 beta (1, C, 1, 1)，G 组通道；gn_param 可含 eps（1e-5） -> out 和 cache。"),
    "spatial_groupnorm_backward": (
        "Group normalization, backwards.\n\n"
        "dout -> dx, and dgamma, dbeta (1, C, 1, 1).",
        "组归一化的反向。\n\n"
        "dout -> dx，以及 dgamma、dbeta (1, C, 1, 1)。"),
    "svm_loss": (
        "Multiclass SVM loss.\n\n"
        "Scores x (N, C), labels y (N,) -> loss, a number, and dx (N, C).",
        "多类 SVM 损失。\n\n"
        "得分 x (N, C)，标签 y (N,) -> 损失（一个数）和 dx (N, C)。"),
    "softmax_loss": (
        "Softmax loss.\n\n"
        "Scores x (N, C), labels y (N,) -> loss, a number, and dx (N, C).",
        "Softmax 损失。\n\n"
        "得分 x (N, C)，标签 y (N,) -> 损失（一个数）和 dx (N, C)。"),
    "sgd": (
        "Stochastic gradient descent.\n\n"
        "config may have learning_rate (1e-2). w, dw of one shape -> next_w, config.",
        "随机梯度下降。\n\n"
        "config 可含 learning_rate（1e-2）。形状相同的 w、dw -> next_w、config。"),
    "sgd_momentum": (
        "Momentum.\n\n"
        "config may have learning_rate (1e-2), momentum (0.9) and velocity, which is kept in it.",
        "动量法。\n\n"
        "config 可含 learning_rate（1e-2）、momentum（0.9）和 velocity，后者存回 config。"),
    "rmsprop": (
        "RMSProp.\n\n"
        "config may have learning_rate (1e-2), decay_rate (0.99), epsilon (1e-8) and cache, which is kept in it.",
        "RMSProp。\n\n"
        "config 可含 learning_rate（1e-2）、decay_rate（0.99）、epsilon（1e-8）和 cache，后者存回 config。"),
    "adam": (
        "Adam.\n\n"
        "config may have learning_rate (1e-3), beta1 (0.9), beta2 (0.999), epsilon (1e-8), and m, v and t, which\n"
        "are kept in it.",
        "Adam。\n\n"
        "config 可含 learning_rate（1e-3）、beta1（0.9）、beta2（0.999）、epsilon（1e-8），以及存回其中的 m、v、\n"
        "t。"),
}

_HEAD = ('"""My layers, losses and update rules. What still raises NotImplementedError is not written yet."""',
         '"""我写的层、损失和更新规则。还在抛出 NotImplementedError 的函数是尚未完成的。"""')

_TRAIN = '''"""{title}"""

import numpy as np

import daseCV_c
import my_layers
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.datasets import load_digits_images
from daseCV_c.solver import Solver

daseCV_c.use(my_layers)
np.random.seed(231)
model = FullyConnectedNet([50], input_dim=64, num_classes=10, weight_scale=0.1)
solver = Solver(model, load_digits_images(), update_rule="sgd", optim_config={{"learning_rate": 0.1}}, num_epochs=5)
solver.train()
'''
_TRAIN_TITLE = ("A training with my finished functions, and daseCV_c's for the rest.",
                "用我已完成的函数训练，其余用 daseCV_c 的。")

_README = ('''# My coursework

1. Write a function in `my_layers.py`: replace its `raise NotImplementedError(...)`.
2. `python -m daseCV_c check my_layers.py --only affine_forward` says whether it is right,
and which mistake it may have.
3. `python train.py` trains a network with the functions that are finished; its first line says which these are.

A function that is called before it is written says its name and line. `start.ipynb` does the same in a notebook.
Data goes into `data/`: `python -m daseCV_c fetch-cifar10 data`. Without it, the digits that come with the package do.
''', '''# 我的作业

1. 在 `my_layers.py` 里写一个函数：替换它的 `raise NotImplementedError(...)`。
2. `python -m daseCV_c check my_layers.py --only affine_forward` 检验它是否正确，并指出可能的错误。
3. `python train.py` 用已完成的函数训练一个网络；第一行输出说明用了哪些。

还没写就被调用的函数会说出自己的名字和行号。`start.ipynb` 在笔记本里做同样的事。
数据放在 `data/`：`python -m daseCV_c fetch-cifar10 data`。没有它时，用随包附带的手写数字即可。
''')


def write(folder: Path, language: str) -> list[str]:
    """Write the files into an empty or new folder, and return their names. OSError where that cannot be."""
    which = LANGUAGES.index(language)
    files = {"my_layers.py": stubs(language), "train.py": _TRAIN.format(title=_TRAIN_TITLE[which]),
             "README.md": _README[which], "start.ipynb": _notebook(language), "data/.gitkeep": ""}
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    return list(files)


def stubs(language: str) -> str:
    """The text of my_layers.py: every function with its signature and docstring, and nothing in it."""
    which = LANGUAGES.index(language)
    parts = [_HEAD[which], "import numpy as np  # noqa: F401"]
    for name, texts in _STUBS.items():
        signature = inspect.signature(getattr(layers, name, None) or getattr(optim, name))
        plain = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()
                 if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
        head = f"def {name}{signature.replace(parameters=plain, return_annotation=signature.empty)}:"
        body = texts[which].replace("\n", "\n    ").replace("\n    \n", "\n\n")
        parts.append(f'\n{head}\n    """{body}\n    """\n    raise NotImplementedError("{name} is not written yet")')
    return "\n\n".join(parts) + "\n"


def _notebook(language: str) -> str:
    which = LANGUAGES.index(language)
    cells: list[tuple[str, str]] = [
        ("markdown", _README[which]),
        ("code", "%load_ext daseCV_c\n%load_ext autoreload\n%autoreload 2"),
        ("code", "import daseCV_c\nimport my_layers\n\ndaseCV_c.use(my_layers)"),
        ("code", "%dasecv_check my_layers.py"),
        ("code", "%run train.py"),
    ]
    found = []
    for i, (kind, source) in enumerate(cells):
        cell: dict[str, object] = {"cell_type": kind, "id": f"cell-{i}", "metadata": {},
                                   "source": source.splitlines(keepends=True)}
        found.append(cell | {"execution_count": None, "outputs": []} if kind == "code" else cell)
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": found, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, ensure_ascii=False,
                      indent=1) + "\n"
