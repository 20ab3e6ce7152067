# %% [markdown] lang="en"
# ## Set-up
#
# `%load_ext daseCV_c` prints what is in use. Every check below is an `assert`: if a number is wrong, the notebook stops
# there.

# %% [markdown] lang="zh"
# ## 准备
#
# `%load_ext daseCV_c` 显示正在使用的设置。下面的每项检查都是 `assert`：只要有一个数不对，notebook 就会停在那里。

# %%
import os

import matplotlib.pyplot as plt
import numpy as np

from daseCV.classifiers.cnn import *
from daseCV.classifiers.fc_net import *
from daseCV.data_utils import get_CIFAR10_data
from daseCV.datasets import load_digits_images
from daseCV.gradient_check import eval_numerical_gradient, eval_numerical_gradient_array
from daseCV.optim import adam, rmsprop, sgd_momentum
from daseCV.solver import Solver

# %load_ext autoreload
# %autoreload 2
# %load_ext daseCV_c
# %matplotlib inline
plt.rcParams.update({"figure.figsize": (8, 4.5), "figure.dpi": 64, "axes.grid": True, "grid.alpha": 0.3})


def relative_error(a, b):
    """The largest |a - b| / (|a| + |b|) over the entries; 1e-8 stands in for smaller sums."""
    return float((np.abs(a - b) / np.maximum(np.abs(a) + np.abs(b), 1e-8)).max())


def report(label, error, bound):
    """Print an error and stop the notebook when it is not below `bound`."""
    print(f"{label:>16}: {error:.3e}  (below {bound:g})")
    assert error < bound, f"{label}: {error} is not below {bound}"


def ramp(first, last, *shape):
    """Evenly spaced numbers from `first` to `last` in an array of this shape."""
    return np.linspace(first, last, int(np.prod(shape))).reshape(shape)


def check_layer(forward, backward, inputs, upstream, bound, **other_bounds):
    """Compare a layer's gradients with numerical ones, input by input."""
    _, cache = forward(**inputs)
    gradients = backward(upstream, cache)
    if not isinstance(gradients, tuple):
        gradients = (gradients,)
    for (name, array), gradient in zip(inputs.items(), gradients, strict=True):
        # The probe changes `array` in place, so the function has nothing to read from its argument.
        numerical = eval_numerical_gradient_array(lambda _: forward(**inputs)[0], array, upstream)
        report(f"d{name} error", relative_error(numerical, gradient), other_bounds.get(name, bound))


def check_network(model, X, y, bound, **other_bounds):
    """The same for every parameter of a network; a parameter may have a bound of its own."""
    _, gradients = model.loss(X, y)
    for name in sorted(gradients):
        numerical = eval_numerical_gradient(lambda _: model.loss(X, y)[0], model.params[name], verbose=False)
        report(f"{name} error", relative_error(numerical, gradients[name]), other_bounds.get(name, bound))


# %% [markdown] lang="en" tags=["starter"]
# ### Your functions
#
# The functions of `my_layers.py` are called here as they are: one that is not written yet says so. Networks and the Solver
# compute with those that you have finished, and with daseCV's for the rest. A network of `my_networks.py` takes the
# place of daseCV's when it is finished; until then a line says that it is not. After a change, run the cell again that
# you are at; nothing has to be loaded again.

# %% [markdown] lang="zh" tags=["starter"]
# ### 你的函数
#
# 这里直接调用 `my_layers.py` 里的函数：还没写的会说明自己没写。网络和 Solver 用你已完成的函数，其余用 daseCV 的。`my_networks.py`
# 里的网络完成之后就代替 daseCV 的；在那之前，会有一行文字说明它还没完成。改动之后重新运行当前的单元即可，不必重新导入任何东西。

# %% tags=["starter"]
import daseCV_c
import my_layers
import my_networks
from daseCV.coursework import *
from my_layers import *

daseCV_c.use(my_layers, my_networks)
if os.path.isdir("data/cifar-10-batches-py"):
    os.environ.setdefault("DASECV_DATA", "data")

# %% [markdown] lang="en"
# ## Images
#
# With `DASECV_DATA` set to the folder that holds `cifar-10-batches-py`, the cells below use CIFAR-10. Without it they use
# the 8 x 8 digits that come with the package. The cells are the same. Only sizes and rates differ, and `choose` picks
# between the two.

# %% [markdown] lang="zh"
# ## 图像
#
# 如果 `DASECV_DATA` 指向存放 `cifar-10-batches-py` 的文件夹，下面的单元就使用 CIFAR-10，否则使用随本包附带的 8 x 8 数字图像。
# 单元是一样的，不同的只有大小和学习率，由 `choose` 在两者之间选择。

# %%
ON_CIFAR = bool(os.environ.get("DASECV_DATA"))
data = get_CIFAR10_data(dtype=np.float32) if ON_CIFAR else load_digits_images(dtype=np.float32)
INPUT_DIM = data["X_train"][0].size


def choose(*, cifar, digits):
    return cifar if ON_CIFAR else digits


def first_images(count):
    """The data with only the first `count` training images."""
    return {**data, "X_train": data["X_train"][:count], "y_train": data["y_train"][:count]}


for split in ("train", "val", "test"):
    print(f"{split:>5}: images {data['X_' + split].shape}, labels {data['y_' + split].shape}")
