"""Mistakes of the networks."""

from __future__ import annotations

from typing import Any

from daseCV_c._coursework import networks
from daseCV_c._coursework.mistakes import Book, Mistake

BOOK = Book()

_FULL, _ALL = ("FullyConnectedNet",), ("FullyConnectedNet", "TwoLayerNet", "ThreeLayerConvNet")


def _add(name: str, says: str, breaks: str, functions: tuple[str, ...] = _ALL) -> None:
    def make(function: str) -> dict[str, Any]:
        cls = getattr(networks, function)
        return {function: type(function, (cls,), {"faults": frozenset([name.removeprefix("net-")])})}
    BOOK.mistakes.append(Mistake(name, functions, says, breaks, make))


_L2 = "L = data loss + (reg / 2) sum over all layers of |W|^2"
_add("net-penalty-last", "The penalty leaves out the weights of the last layer.", _L2)
_add("net-penalty-first", "The penalty leaves out the weights of the first layer.", _L2)
_add("net-penalty-half", "The penalty lacks its half, in the loss and in the gradients.", _L2)
_add("net-penalty-half-loss", "The penalty lacks its half in the loss; the gradients have it.", _L2)
_add("net-penalty", "There is no penalty.", _L2)
_add("net-penalty-gradient", "The penalty is in the loss, but not in the gradients.",
     f"{_L2}: what is its derivative by W?")
_add("net-penalty-twice-gradient", "The gradient of the penalty is twice as large as it should be.",
     f"{_L2}: what is its derivative by W?")
_add("net-penalty-biases", "The biases are penalized as well.", f"{_L2}: W alone")
_add("net-penalty-norm", "gamma and beta are penalized as well.", f"{_L2}: W alone", _FULL)
_add("net-relu-last", "There is a ReLU behind the last layer.",
     "scores are what the last affine layer gives, of either sign")
_add("net-no-relu", "There is no ReLU between the layers.", "affine layers after each other are one affine layer")
_add("net-relu-backward", "The backward pass leaves the ReLU out.",
     "dL/dx = dL/dout dout/dx, layer by layer in reverse")
_add("net-norm-last", "The last layer is normalized as well.",
     "{affine - norm - ReLU - dropout} x (L - 1) - affine - softmax", _FULL)
_add("net-norm-train-mode",
     "Scores without labels use the statistics of the batch: the mode of batch norm stays 'train'.",
     "loss(X) without y is test mode: running statistics", _FULL)
_add("net-norm-shared", "All layers use the running statistics of the first one.",
     "bn_params has a dict for each layer", _FULL)
_add("net-norm-gradients", "The gradients of gamma and beta are not in grads.", "grads has the keys of params", _FULL)
_add("net-relu-before-norm", "The ReLU comes before the normalization.",
     "{affine - norm - ReLU - dropout} x (L - 1) - affine - softmax", _FULL)

BOOK.seen("net-dropout-shared", "FullyConnectedNet", "All layers leave out the same units: one mask serves them all.",
          "each dropout layer draws a mask of its own, of its own shape")
BOOK.seen("net-dropout-missing", "FullyConnectedNet", "Dropout is asked for, but no unit is left out in training.",
          "{affine - norm - ReLU - dropout} x (L - 1) - affine - softmax")
BOOK.seen("net-dropout-at-test", "FullyConnectedNet", "Units are left out when there are no labels.",
          "loss(X) without y is test mode: no dropout")
BOOK.seen("net-dropout-backward", "FullyConnectedNet", "The backward pass does not use the masks of the forward pass.",
          "dL/dx = dL/dout mask, in each dropout layer with its own mask")
BOOK.seen("net-older-edition", "FullyConnectedNet",
          "It takes use_batchnorm, as in editions of the course that had no layer normalization.",
          "normalization is None, 'batchnorm' or 'layernorm'")
BOOK.seen("net-init-variance", " ".join(_ALL), "weight_scale is used as if it were a variance.",
          "W ~ N(0, weight_scale^2)")
BOOK.seen("net-init-uniform", " ".join(_ALL), "The weights are not drawn from a normal distribution around 0.",
          "W ~ N(0, weight_scale^2)")
BOOK.seen("net-init-bias", " ".join(_ALL), "Biases, or beta, do not start at zero.", "b = 0, beta = 0")
BOOK.seen("net-init-gamma", "FullyConnectedNet", "gamma does not start at one, so nothing passes.", "gamma = 1")
BOOK.seen("net-dtype", " ".join(_ALL), "The parameters do not have the dtype that was asked for.",
          "params are cast to dtype")
