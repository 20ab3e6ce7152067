"""Arguments of older editions of the course, and what their notebooks expect of a folder."""

import inspect
import warnings

import numpy as np
import pytest

from daseCV.classifiers.fc_net import FullyConnectedNet
from daseCV_c.datasets import cifar_files
from daseCV_c.datasets.cifar_files import get_CIFAR10_data

X, Y = np.random.RandomState(0).randn(6, 4), np.arange(6) % 3


def net(*args, **options):
    """The same weights each time; a warning is an error."""
    np.random.seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return FullyConnectedNet([5], 4, 3, *args, **options)


def kept(model):
    assert model.use_dropout == (model.dropout_param != {})
    return model.dropout_param.get("p")


@pytest.mark.parametrize("args", [{"use_batchnorm": True}, {"normalization": True}, {"normalization": np.True_},
                                  {"use_batchnorm": True, "normalization": "batch_norm"}, {"use_batchnorm": 1}])
def test_use_batchnorm(args):
    old, new = net(**args), net(normalization="batchnorm")
    assert old.normalization == "batchnorm" and kept(old) is None
    assert old.loss(X, Y)[0] == new.loss(X, Y)[0]


def test_use_batchnorm_false():
    assert net(use_batchnorm=False).normalization is net(1, False).normalization is None
    assert net(0, True).normalization == "batchnorm"  # by their places


def test_contradictions():
    for args in ({"use_batchnorm": False, "normalization": "batchnorm"},
                 {"use_batchnorm": True, "normalization": "layernorm"}):
        with pytest.raises(ValueError, match="contradict"):
            net(**args)
    with pytest.raises(TypeError, match="use_batchnorm is 'no', expected True or False"):
        net(use_batchnorm="no")


def test_dropout_beside_use_batchnorm_is_the_share_that_is_dropped():
    with pytest.warns(UserWarning, match="dropout=0.25 is the share that is dropped.*dropout_keep_ratio=0.75"):
        model = FullyConnectedNet([5], 4, 3, dropout=0.25, use_batchnorm=False, seed=1)
    assert kept(model) == 0.75 and model.dropout_param["seed"] == 1
    for none in (0, 1):  # 1 is what it is if left out
        assert kept(net(dropout=none, use_batchnorm=True)) is None


def test_no_dropout_in_both_meanings():
    with pytest.warns(UserWarning, match="before 2018.*dropped.*dropout_keep_ratio") as caught:
        model = FullyConnectedNet([5], 4, 3, dropout=0)
    assert kept(model) is None and caught[0].filename == __file__
    assert kept(net()) is kept(net(dropout=1)) is kept(net(dropout_keep_ratio=1)) is None
    assert kept(net(dropout=0.25)) == kept(net(dropout_keep_ratio=0.25)) == 0.25
    assert kept(net(dropout_keep_ratio=0.25, dropout=0.5, use_batchnorm=True)) == 0.25


@pytest.mark.parametrize(("args", "words"), [
    ({"dropout": -0.1}, "dropout is -0.1, expected .* dropped"), ({"dropout": 1.5}, "dropout is 1.5"),
    ({"dropout": 1.5, "use_batchnorm": True}, "dropout is 1.5"), ({"dropout": np.nan}, "dropout is nan"),
    ({"dropout_keep_ratio": 0}, "dropout_keep_ratio is 0.0, expected a probability of keeping")])
def test_dropout_that_is_none(args, words):
    with pytest.raises(ValueError, match=words):
        net(**args)


# The folder before the numbers

@pytest.fixture
def asked(monkeypatch):
    def find(function, root=None):
        raise FileNotFoundError(f"asked for {root}")
    monkeypatch.setattr(cifar_files, "find_batches", find)


@pytest.mark.parametrize("args", [("here",), ("here", 100, 10, 10)])
def test_the_folder_first(asked, args, tmp_path):
    with pytest.raises(FileNotFoundError, match="asked for here"):
        get_CIFAR10_data(*args)
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        get_CIFAR10_data(tmp_path, num_training=100, num_validation=10, num_test=10)


def test_the_folder_once(asked):
    for args, options in ((("here",), {"data_dir": "there"}), (("there",), {"cifar10_dir": "here"}),
                          ((), {"cifar10_dir": "here", "data_dir": None})):
        with pytest.raises(TypeError, match="the folder is given twice, once as 'here'"):
            get_CIFAR10_data(*args, **options)
    with pytest.raises(FileNotFoundError, match="asked for here"):
        get_CIFAR10_data(cifar10_dir="here", num_training=100)
    with pytest.raises(FileNotFoundError, match="asked for None"):
        get_CIFAR10_data(100, 10)
    with pytest.raises(ValueError, match="num_training"):
        get_CIFAR10_data("here", 0)
    assert list(inspect.signature(get_CIFAR10_data).parameters)[0] == "num_training"
