"""Networks to and from PyTorch: equal scores, or an error that names the layer."""

import doctest

import numpy as np
import pytest
from adversarial import frozen
from exchanging import DTYPES, NETS, agree, digits, full, trained

torch = pytest.importorskip(
    "torch", reason='the extra torch is not installed: pip install "daseCV_c[torch]"')

from daseCV_c._exchange import torch_in, torch_out  # noqa: E402
from daseCV_c.classifiers.cnn import ThreeLayerConvNet  # noqa: E402
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet  # noqa: E402
from daseCV_c.exchange import from_torch, to_torch  # noqa: E402

pytestmark = pytest.mark.once

nn = torch.nn
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
each_net = pytest.mark.parametrize("kind", NETS)


def scores(module, X):
    with torch.no_grad():
        return module(torch.from_numpy(X)).numpy()


def normalizations(net):
    """Settings and statistics, also where they are not said."""
    defaults = {"eps": 1e-5, "momentum": 0.9, "running_mean": None, "running_var": None}
    entries = getattr(net, "bn_params", [])
    return [[frozen(entry.get(key, value)) for key, value in defaults.items()] for entry in entries]


@pytest.fixture(autouse=True)
def same_random_numbers():
    before = torch.random.get_rng_state()
    yield
    torch.random.set_rng_state(before)


@pytest.mark.parametrize("module", [torch_in, torch_out], ids=lambda module: module.__name__)
def test_examples(module):
    assert doctest.testmod(module) == (0, 3 if module is torch_in else 2)


@each_dtype
@each_net
def test_there_and_back(kind, dtype):
    net, X = trained(kind, dtype)
    expected = net.loss(X)
    before, drawn, theirs = frozen(vars(net)), np.random.get_state()[2], torch.random.get_rng_state()
    module = to_torch(net)
    assert type(module) is nn.Sequential and not module.training
    agree(scores(module, X), expected)
    found = from_torch(module, input_dim=X.shape[1:])
    agree(found.loss(X), expected)
    assert frozen(found.params) == frozen(net.params) and found.dtype == net.dtype
    assert type(found) is (FullyConnectedNet if kind == "two" else type(net))
    for name in ("normalization", "use_dropout", "input_dim"):
        assert getattr(found, name, None) == getattr(net, name, None)
    assert normalizations(found) == normalizations(net)
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            tensor.fill_(7)
    assert frozen(vars(net)) == before, "the arrays are the module's own"
    agree(found.loss(X), expected)
    assert np.random.get_state()[2] == drawn and torch.equal(torch.random.get_rng_state(), theirs), "nothing is drawn"


def test_names_and_settings():
    module = to_torch(trained("batchnorm", np.float32)[0])
    assert [name for name, _ in module.named_children()] == [
        "flatten", "affine1", "batchnorm1", "relu1", "dropout1", "affine2", "batchnorm2", "relu2", "dropout2",
        "affine3"]
    assert (module.batchnorm1.eps, module.batchnorm2.momentum, module.dropout1.p) == (1e-2, 0.25, 0.25)
    assert module.batchnorm1.num_batches_tracked == 0
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in module.parameters())
    assert [name for name, _ in to_torch(trained("cnn", np.float32)[0]).named_children()] == [
        "conv1", "relu1", "pool1", "flatten", "affine2", "relu2", "affine3"]


def test_dropout_that_is_not_used():
    net, X = trained("batchnorm", np.float32)
    net.use_dropout = False
    module = to_torch(net)
    assert not [layer for layer in module if isinstance(layer, nn.Dropout)]
    agree(scores(module, X), net.loss(X))


@each_dtype
def test_batch_norm_before_any_training(dtype):
    net, (X, _) = full("batchnorm", dtype), digits(dtype)
    agree(scores(to_torch(net), X), net.loss(X))


def test_a_step_of_training_is_ours():
    net, (X, y) = full("batchnorm", np.float64), digits(np.float64)
    net.loss(X, y)
    module = to_torch(net).train()
    loss = nn.functional.cross_entropy(module(torch.from_numpy(X)), torch.from_numpy(y).long())
    loss.backward()
    moved = [entry["running_var"].copy() for entry in net.bn_params]
    expected, grads = net.loss(X, y)
    assert abs(loss.item() - expected) < 1e-12
    agree(module.affine1.weight.grad.numpy().T, grads["W1"])
    for layer, entry, before in zip((module.batchnorm1, module.batchnorm2), net.bn_params, moved, strict=True):
        agree(layer.running_mean.numpy(), entry["running_mean"])
        share = entry.get("momentum", 0.9) * before
        agree(layer.running_var.numpy(), share + (entry["running_var"] - share) * len(X) / (len(X) - 1))


def test_parameters_of_two_dtypes():
    net, X = trained("plain", np.float32)
    net.params["W2"] = net.params["W2"].astype(np.float64)
    found = scores(to_torch(net), X.astype(np.float64))
    assert found.dtype == net.loss(X).dtype
    agree(found.astype(np.float32), net.loss(X).astype(np.float32))


def test_images_of_unknown_size_and_of_odd_size():
    net = ThreeLayerConvNet((2, 7, 5), 3, 5, 4, 3, weight_scale="he")
    X = np.random.default_rng(0).standard_normal((6, 2, 7, 5)).astype(np.float32)
    module = to_torch(net)
    agree(scores(module, X), net.loss(X))
    assert from_torch(module).input_dim == (2, None, None)
    assert from_torch(module, input_dim=[2, 7, 5]).input_dim == (2, 7, 5)
    agree(from_torch(module).loss(X), net.loss(X))


def test_what_has_no_numbers_of_its_own():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Identity(), nn.Sequential(nn.Flatten(), nn.Linear(64, 7, bias=False)), nn.BatchNorm1d(7, affine=False),
        nn.ReLU(), nn.Dropout(0), nn.utils.parametrizations.weight_norm(nn.Linear(7, 5)), nn.BatchNorm1d(5), nn.ReLU(),
        nn.Sequential(nn.Linear(5, 3)))
    X, _ = digits(np.float32)
    module.train()(torch.from_numpy(X))
    net = from_torch(module)
    assert module.training and (net.normalization, net.use_dropout, net.num_layers) == ("batchnorm", False, 3)
    agree(net.loss(X), scores(module.eval(), X))
    assert net.loss(X, np.zeros(len(X), int))[1].keys() == net.params.keys(), "it can be trained"
    layer = nn.LayerNorm(6, eps=0.1, bias=False)
    module = nn.Sequential(nn.Linear(64, 6), layer, nn.ReLU(), nn.Dropout(0.25), nn.Linear(6, 2)).double().eval()
    rows = X.reshape(len(X), -1).astype(np.float64)
    agree(from_torch(module).loss(rows), scores(module, rows))
    assert from_torch(module).dropout_param["p"] == 0.75
    assert from_torch(nn.Linear(64, 3)).loss(rows).shape == (50, 3)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def hooked():
    module = nn.Sequential(nn.Linear(4, 3))
    module[0].register_forward_hook(lambda layer, inputs, output: 2 * output)
    return module


def sparse():
    module = nn.Sequential(nn.Linear(4, 3))
    module[0].weight = nn.Parameter(module[0].weight.detach().to_sparse())
    return module


def conv(**settings):
    return nn.Conv2d(2, 3, **({"kernel_size": 3, "padding": 1} | settings))


def cnn(first, pool=None, flatten=None):
    return nn.Sequential(first, nn.ReLU(), pool or nn.MaxPool2d(2), flatten or nn.Flatten(),
                         nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 3))


def deep(*between):
    return nn.Sequential(nn.Linear(4, 5), *between, nn.ReLU(), nn.Linear(5, 3))


REFUSED = {
    "activation": (nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), "layer '1' (Tanh) has no counterpart"),
    "nested": (nn.Sequential(nn.Sequential(nn.Linear(4, 5), nn.GELU())), "layer '0.1' (GELU) has no counterpart"),
    "softmax": (nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), "layer '1' (Softmax) makes probabilities"),
    "place": (nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.BatchNorm1d(5), nn.Linear(5, 3)),
              "layer '2' (BatchNorm1d) stands where Linear"),
    "end": (nn.Sequential(nn.Linear(4, 5), nn.ReLU()), "ends after the layer '1' (ReLU), expected Linear"),
    "no layers": (nn.Sequential(nn.Identity()), "no layers"),
    "other module": (nn.ModuleList([nn.Linear(4, 3)]), "the module (ModuleList) has no counterpart"),
    "own forward": (nn.Sequential(Doubled(4, 3)), "layer '0' (Doubled) has no counterpart"),
    "hook": (hooked(), "layer '0' (Linear) has a forward hook"),
    "half": (nn.Sequential(nn.Linear(4, 3)).half(), "weight of torch.float16"),
    "two dtypes": (nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3).double()),
                   "layer '2' (Linear) has a weight of float64, but what comes before is float32"),
    "meta": (nn.Sequential(nn.Linear(4, 3, device="meta")), "no numbers in its weight"),
    "sparse": (sparse(), "layer '0' (Linear) has a sparse weight"),
    "lazy": (nn.Sequential(nn.LazyLinear(3)), "layer '0' (LazyLinear) has no parameters yet"),
    "no statistics": (deep(nn.BatchNorm1d(5, track_running_stats=False)), "layer '1' (BatchNorm1d) has no running"),
    "cumulative": (deep(nn.BatchNorm1d(5, momentum=None)), "layer '1' (BatchNorm1d) has momentum=None"),
    "last axes": (deep(nn.LayerNorm((2, 5))), "layer '1' (LayerNorm) normalizes over (2, 5), expected (5,)"),
    "normalized once": (nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), *deep()[1:], nn.ReLU(), nn.Linear(3, 2)),
                        "layer '3' (Linear) is followed by no normalization"),
    "dropout once": (nn.Sequential(*deep(), nn.ReLU(), nn.Dropout(0.3), nn.Linear(3, 2)),
                     "layer '3' (ReLU) is followed by dropout with p=0.3, but the hidden layers before it have none"),
    "all dropped": (nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Dropout(1.0), nn.Linear(5, 2)),
                    "layer '2' (Dropout) has p=1"),
    "stride": (cnn(conv(stride=2)), "layer '0' (Conv2d) has stride=(2, 2), expected (1, 1)"),
    "padding": (cnn(conv(padding=0)), "layer '0' (Conv2d) has padding=(0, 0), expected (1, 1)"),
    "valid": (cnn(conv(padding="valid")), "layer '0' (Conv2d) has padding=valid, expected (1, 1)"),
    "reflect": (cnn(conv(padding_mode="reflect")), "layer '0' (Conv2d) has padding_mode=reflect"),
    "dilation": (cnn(conv(dilation=2)), "layer '0' (Conv2d) has dilation=(2, 2)"),
    "groups": (cnn(nn.Conv2d(3, 3, 3, padding=1, groups=3)), "layer '0' (Conv2d) has groups=3"),
    "oblong": (cnn(conv(kernel_size=(3, 5))), "layer '0' (Conv2d) has kernel_size=(3, 5), expected (3, 3)"),
    "even": (cnn(conv(kernel_size=2, padding=0)), "layer '0' (Conv2d) has filters of 2 x 2"),
    "pool": (cnn(conv(), nn.MaxPool2d(3)), "layer '2' (MaxPool2d) has kernel_size=3, expected 2"),
    "pool's ceiling": (cnn(conv(), nn.MaxPool2d(2, ceil_mode=True)), "layer '2' (MaxPool2d) has ceil_mode=True"),
    "flatten": (cnn(conv(), None, nn.Flatten(2)), "layer '3' (Flatten) has start_dim=2"),
    "after the end": (nn.Sequential(*cnn(conv()), nn.ReLU()), "layer '7' (ReLU) stands where the end"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_network_here_has(case):
    module, message = REFUSED[case]
    with pytest.raises(ValueError) as caught:
        from_torch(module)
    assert str(caught.value).startswith("from_torch: ") and message in str(caught.value)


def test_padding_by_name():
    torch.manual_seed(0)
    module = cnn(conv(padding="same")).eval()
    X = np.random.default_rng(0).standard_normal((5, 2, 4, 4)).astype(np.float32)
    agree(from_torch(module).loss(X), scores(module, X))


@pytest.mark.parametrize(("input_dim", "message"), [
    ((2, 6, 6), "input_dim"), ((2, 4), "expected (C, H, W)"), ((3, 4, 4), "W1 has shape"),
    ((2, 4, 0), "a size in input_dim"),
])
def test_images_that_do_not_fit(input_dim, message):
    with pytest.raises(ValueError) as caught:
        from_torch(cnn(conv()), input_dim=input_dim)
    assert message in str(caught.value)


def test_other_things():
    with pytest.raises(TypeError, match="from_torch: module is a dict"):
        from_torch({})
    with pytest.raises(ValueError, match="takes 4 features"):
        from_torch(nn.Linear(4, 3), input_dim=5)
    with pytest.raises(TypeError, match="to_torch: the model is a Linear"):
        to_torch(nn.Linear(4, 3))
    net = TwoLayerNet(4, 5, 3)
    net.dtype = np.float16
    with pytest.raises(ValueError, match="to_torch: the model's dtype is float16"):
        to_torch(net)
