"""Initial weights: the course's numbers, scaled by the fans of each layer where a name is given."""

import numpy as np
import pytest

from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet

NETS = {
    "two": (lambda **more: TwoLayerNet(40, 50, 30, **more), [(40, 50), (50, 30)]),
    "full": (lambda **more: FullyConnectedNet([50, 60], 40, 30, normalization="batchnorm", dtype=np.float64, **more),
             [(40, 50), (50, 60), (60, 30)]),
    "cnn": (lambda **more: ThreeLayerConvNet((3, 8, 6), 4, 5, 7, 2, dtype=np.float64, **more),
            [(3 * 25, 4 * 25), (4 * 4 * 3, 7), (7, 2)]),
}


@pytest.mark.parametrize("kind", NETS)
def test_the_same_numbers_scaled(kind):
    make, fans = NETS[kind]
    np.random.seed(5)
    unit = make(weight_scale=1).params
    for name, spread in (("he", lambda n, m: np.sqrt(2 / n)), ("glorot", lambda n, m: np.sqrt(2 / (n + m)))):
        np.random.seed(5)
        net = make(weight_scale=name)
        for i, (fan_in, fan_out) in enumerate(fans, 1):
            assert np.array_equal(net.params[f"W{i}"], spread(fan_in, fan_out) * unit[f"W{i}"])
            assert not net.params[f"b{i}"].any()


@pytest.mark.parametrize("kind", NETS)
def test_errors(kind):
    state = np.random.get_state()[2]
    for wrong in ("xavier", None, True, [1]):
        with pytest.raises(TypeError, match="weight_scale is .*expected a number"):
            NETS[kind][0](weight_scale=wrong)
    with pytest.raises(TypeError, match="expected a number, 'he' or 'glorot'"):
        NETS[kind][0](weight_scale="He")
    assert np.random.get_state()[2] == state


def test_he_keeps_the_scale_through_many_layers():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 300))
    spreads = {scale: FullyConnectedNet([300] * 8, 300, 300, weight_scale=scale, seed=np.random.RandomState(1)).loss(X)
               .std() for scale in ("he", "glorot", 1e-2)}
    assert 0.5 < spreads["he"] < 2.5
    assert 0.01 < spreads["glorot"] < 0.2  # halves the variance at each ReLU
    assert spreads[1e-2] < 1e-6
