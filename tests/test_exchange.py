"""Of the exchange with other libraries, what needs none of them."""

import sys

import pytest

from daseCV_c import exchange
from daseCV_c.classifiers.fc_net import TwoLayerNet

pytestmark = pytest.mark.once


@pytest.mark.parametrize(("call", "module", "extra"), [
    (lambda: exchange.to_torch(TwoLayerNet(4, 5, 3)), "torch", "torch"),
    (lambda: exchange.from_torch(None), "torch", "torch"),
    (lambda: exchange.export_onnx(TwoLayerNet(4, 5, 3), "net.onnx"), "onnx", "onnx"),
    (lambda: exchange.from_sklearn(None), "sklearn.neural_network", "sklearn"),
])
def test_a_library_that_is_not_installed(here, monkeypatch, call, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'(to|from|export)_\w+ needs {module} .*pip install "daseCV_c\[{extra}\]"'):
        call()
    assert not list(here.iterdir())


def test_the_import_loads_no_library(script):
    script("import sys, daseCV_c.exchange\n"
           "assert not {'torch', 'onnx', 'onnxruntime', 'sklearn'} & sys.modules.keys()\n")
