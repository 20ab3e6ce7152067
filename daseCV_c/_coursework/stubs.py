"""Stubs of the course's functions and networks: signatures and docstrings, and nothing in them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from daseCV_c import layers, optim
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet

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

NAMES = tuple(_STUBS)
"""The functions that a student writes, in the order of the course."""

# Of each network what it is, and of its methods what they take and return.
_NETWORKS: dict[type, tuple[str, str]] = {
    TwoLayerNet: (
        "affine - ReLU - affine - softmax.\n\n"
        "The layers and sandwiches of daseCV.coursework are yours where they are finished.",
        "仿射 - ReLU - 仿射 - softmax。\n\n"
        "daseCV.coursework 的层和三明治层：你已完成的用你的。"),
    FullyConnectedNet: (
        "{affine - [batch or layer norm] - ReLU - [dropout]} for each hidden layer, then affine - softmax.",
        "每个隐藏层为 {仿射 - [批归一化或层归一化] - ReLU - [dropout]}，最后是 仿射 - softmax。"),
    ThreeLayerConvNet: (
        "conv - ReLU - 2x2 max pool - affine - ReLU - affine - softmax.\n\n"
        "The convolution has stride 1 and keeps the size of the images.",
        "卷积 - ReLU - 2x2 最大池化 - 仿射 - ReLU - 仿射 - softmax。\n\n"
        "卷积的步长为 1，并保持图像的大小。"),
}
_INIT: dict[type, tuple[str, str]] = {
    TwoLayerNet: (
        "Set self.params: W1 (input_dim, hidden_dim), b1, W2 (hidden_dim, num_classes), b2, and self.reg.\n\n"
        "Weights are normal with deviation weight_scale, drawn W1 first; biases are zero.",
        "设置 self.params：W1 (input_dim, hidden_dim)、b1、W2 (hidden_dim, num_classes)、b2，以及 self.reg。\n\n"
        "权重服从标准差为 weight_scale 的正态分布，先取 W1；偏置为零。"),
    FullyConnectedNet: (
        "Set self.params: W1, b1, W2, b2, ... as of TwoLayerNet, in dtype.\n\n"
        "normalization is None, 'batchnorm' or 'layernorm': with one, gamma1 (ones) and beta1 (zeros) and so on, but\n"
        "for the last layer. dropout is the probability of KEEPING a unit, 1 means none; seed is for dropout_param.\n"
        "self.reg, self.dtype, self.bn_params (a dict for each hidden layer) and self.dropout_param are used by loss.",
        "设置 self.params：W1、b1、W2、b2……，同 TwoLayerNet，类型为 dtype。\n\n"
        "normalization 为 None、'batchnorm' 或 'layernorm'：有归一化时还有 gamma1（一）和 beta1（零）等，\n"
        "最后一层除外。"
        "dropout 是保留一个单元的概率，1 表示不用；seed 属于 dropout_param。self.reg、self.dtype、self.bn_params\n"
        "（每个隐藏层一个字典）和 self.dropout_param 供 loss 使用。"),
    ThreeLayerConvNet: (
        "Set self.params in dtype: W1 (num_filters, C, filter_size, filter_size), b1, W2 and b2 of the hidden layer,\n"
        "W3 and b3 of the last one; self.reg and self.dtype. input_dim is (C, H, W).\n\n"
        "Weights are normal with deviation weight_scale, drawn W1 first; biases are zero.",
        "设置 self.params，类型为 dtype：W1 (num_filters, C, filter_size, filter_size)、b1，隐藏层的 W2 和 b2，\n"
        "最后一层的 W3 和 b3；还有 self.reg 和 self.dtype。input_dim 是 (C, H, W)。\n\n"
        "权重服从标准差为 weight_scale 的正态分布，先取 W1；偏置为零。"),
}
_LOSS = (
    "Scores (N, num_classes) of X without y; with labels y (N,) the loss and grads.\n\n"
    "grads has the keys of self.params. The penalty is half of self.reg times the sum of squares of every W.\n"
    "Without y nothing is dropped, and batch norm takes its running statistics.",
    "没有 y 时返回 X 的得分 (N, num_classes)；有标签 y (N,) 时返回损失和 grads。\n\n"
    "grads 的键与 self.params 相同。惩罚项是 self.reg 的一半乘以所有 W 的平方和。没有 y 时不丢弃单元，批归一化使用\n"
    "滑动统计量。")

_HEADS = {
    "layers": (
        '"""My layers, losses and update rules. What still raises NotImplementedError is not written yet."""',
        '"""我写的层、损失和更新规则。还在抛出 NotImplementedError 的函数是尚未完成的。"""'),
    "networks": (
        '"""My networks. Their layers are mine where they are finished, and daseCV\'s where they are not."""',
        '"""我写的网络。其中的层，已完成的用我的，未完成的用 daseCV 的。"""'),
}


def functions(language: str) -> str:
    """The text of my_layers.py."""
    which = LANGUAGES.index(language)
    parts = [_HEADS["layers"][which], "import numpy as np  # noqa: F401"]
    for name, texts in _STUBS.items():
        ours = getattr(layers, name, None) or getattr(optim, name)
        parts.append("\n" + "\n".join(_stub(name, name, ours, texts[which], "")))
    return "\n\n".join(parts) + "\n"


def networks(language: str) -> str:
    """The text of my_networks.py."""
    which = LANGUAGES.index(language)
    parts = [_HEADS["networks"][which],
             "import numpy as np  # noqa: F401\n\nfrom daseCV.coursework import *  # noqa: F403"]
    for net, texts in _NETWORKS.items():
        name = net.__name__
        lines = [f"\nclass {name}:", *_docstring(texts[which], "    ")]
        for method, text in (("__init__", _INIT[net]), ("loss", _LOSS)):
            lines += ["", *_stub(method, f"{name}.{method}", getattr(net, method), text[which], "    ")]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _stub(name: str, whole: str, ours: Callable[..., Any], text: str, indent: str) -> list[str]:
    """The lines of a function: its signature as the course has it, its docstring, and that it is not written yet."""
    signature = inspect.signature(ours)
    plain = [parameter.replace(annotation=parameter.empty, default=_plain(parameter.default))
             for parameter in signature.parameters.values() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    head = f"{indent}def {name}{signature.replace(parameters=plain, return_annotation=signature.empty)}:"
    if len(head) > 120:
        cut = head.rindex(", ", 0, 118)
        head = f"{head[:cut]},\n{' ' * head.index('(')} {head[cut + 2:]}"
    indent += "    "
    return [head, *_docstring(text, indent), f'{indent}raise NotImplementedError("{whole} is not written yet")']


class _Name:
    """A default that is written as a name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


def _plain(default: Any) -> Any:
    return _Name(f"np.{default.__name__}") if isinstance(default, type) and default.__module__ == "numpy" else default


def _docstring(text: str, indent: str) -> Iterator[str]:
    first, *rest = text.split("\n")
    if not rest:
        yield f'{indent}"""{first}"""'
        return
    yield f'{indent}"""{first}'
    for line in rest:
        yield f"{indent}{line}".rstrip()
    yield f'{indent}"""'
