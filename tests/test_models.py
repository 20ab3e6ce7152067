"""Model files: what is saved comes back, in another process too, and nothing else is taken for one."""

import copy
import json
import os
import pickle
import struct

import numpy as np
import pytest
from adversarial import frozen

import daseCV_c
from daseCV_c import models as models_module
from daseCV_c._training import archive, networks
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.data_utils import load_models
from daseCV_c.models import load_model, save_model

pytestmark = pytest.mark.once

FORMATS = ["npz", "safetensors"]


def batch(*shape, classes=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((7, *shape)), np.arange(7) % classes


def full(normalization, **more):
    net = FullyConnectedNet([6, 5], 4, 3, normalization=normalization, weight_scale=0.5, reg=0.1, **more)
    if normalization == "batchnorm":
        net.bn_params[0]["momentum"], net.bn_params[1]["eps"] = 0.5, 1e-3
    return net


NETS = {
    "two": (lambda: TwoLayerNet(4, 5, 3, weight_scale=0.5, reg=0.2), (4,)),
    "plain": (lambda: full(None, dtype=np.float64), (4,)),
    "batchnorm": (lambda: full("batchnorm", dropout=0.5), (4,)),
    "layernorm": (lambda: full("layernorm", dropout=0.5, seed=3), (4,)),
    "cnn": (lambda: ThreeLayerConvNet((2, 6, 5), 3, 3, 4, 3, weight_scale=0.3, reg=0.1), (2, 6, 5)),
    "no hidden layer": (lambda: FullyConnectedNet([], 4, 3), (4,)),
}
each_net = pytest.mark.parametrize("kind", NETS)
each_format = pytest.mark.parametrize("format", FORMATS)


def trained(kind):
    """A network whose statistics have moved, and a batch."""
    make, shape = NETS[kind]
    np.random.seed(1)
    net, (X, y) = make(), batch(*shape)
    net.loss(X, y)
    return net, X, y


@pytest.fixture(autouse=True)
def library(request):
    if "safetensors" in request.node.name:
        pytest.importorskip("safetensors", reason="the extra safetensors is not installed")


@each_format
@each_net
def test_what_comes_back(backend, tmp_path, kind, format):
    net, X, y = trained(kind)
    before, state = frozen(vars(net)), np.random.get_state()[2]
    save_model(net, tmp_path / "model", format=format)
    found = load_model(tmp_path / "model")
    assert frozen(vars(net)) == before and np.random.get_state()[2] == state, "nothing is changed, nothing drawn"
    assert type(found) is type(net) and list(found.params) == list(net.params)
    assert frozen(found.params) == frozen(net.params)
    assert np.array_equal(found.loss(X), net.loss(X))
    np.random.seed(2)
    expected = net.loss(X, y)
    np.random.seed(2)
    assert frozen(found.loss(X, y)) == frozen(expected), "settings and statistics are the same"
    ours, theirs = vars(found), vars(net)
    assert ours.keys() | {"reg_last_layer"} == theirs.keys() | {"reg_last_layer"}
    for name in ours.keys() & theirs.keys():
        assert frozen(ours[name]) == frozen(theirs[name])


def test_settings_that_were_changed_later(tmp_path):
    net = full("batchnorm", dropout=0.5)
    net.reg, net.reg_last_layer, net.use_dropout, net.normalization = np.float32(2), False, False, "batch_norm"
    save_model(net, tmp_path / "model")
    found = load_model(tmp_path / "model")
    assert (found.reg, found.reg_last_layer, found.use_dropout, found.normalization) == (2, False, False, "batchnorm")
    assert found.dropout_param["p"] == 0.5
    two = TwoLayerNet(4, 5, 3)
    two.reg_last_layer, two.dtype = False, np.float32
    save_model(two, tmp_path / "model")
    found = load_model(tmp_path / "model")
    assert found.reg_last_layer is False and found.dtype is np.float32


@each_format
def test_in_another_process(tmp_path, script, format):
    net, X, _ = trained("batchnorm")
    mean = np.arange(4.0).reshape(2, 2)
    save_model(net, tmp_path / "model", mean_image=mean, class_names=["a", "ö", "<c>"], format=format)
    assert net.mean_image is None and net.class_names is None
    np.save(tmp_path / "X.npy", X)
    script("import sys, numpy as np\n"
           "from daseCV_c.models import load_model\n"
           "net = load_model('model')\n"
           "assert net.class_names == ['a', 'ö', '<c>'] and net.mean_image.tolist() == [[0, 1], [2, 3]]\n"
           "np.save('scores.npy', net.loss(np.load('X.npy')))\n")
    assert np.array_equal(np.load(tmp_path / "scores.npy"), net.loss(X))


@each_format
def test_image_and_names_of_the_model_itself(tmp_path, format):
    net, X, _ = trained("cnn")
    net.mean_image, net.class_names = np.ones((2, 6, 5), np.float32), ["x", "y", "z"]
    save_model(net, tmp_path / "model", format=format)
    found = load_model(tmp_path / "model")
    assert frozen(found.mean_image) == frozen(net.mean_image) and found.class_names == net.class_names
    save_model(found, tmp_path / "again", class_names=("u", "v", "w"), format=format)
    assert load_model(tmp_path / "again").class_names == ["u", "v", "w"]


def test_the_format_follows_the_name(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy", reason="the extra safetensors is not installed")
    net = TwoLayerNet(4, 5, 3)
    net.params["W1"] = np.asfortranarray(net.params["W1"]).astype(">f8")
    save_model(net, tmp_path / "model.safetensors")
    found = safetensors.load_file(tmp_path / "model.safetensors")  # as other tools read it
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in net.params.items()}
    save_model(net, tmp_path / "model.npy")
    with np.load(tmp_path / "model.npy") as found:
        assert set(found.files) >= set(net.params)
    assert np.array_equal(load_model(tmp_path / "model.npy").loss(np.ones((2, 4))), net.loss(np.ones((2, 4))))


def test_a_folder_of_models(tmp_path):
    pytest.importorskip("safetensors", reason="the extra safetensors is not installed")
    net, X, _ = trained("cnn")
    for name in ("one.npz", "two.safetensors", "three.npy"):
        save_model(net, tmp_path / name)
    models = load_models(tmp_path)
    assert set(models) == {"one.npz", "two.safetensors", "three.npy"}
    assert all(np.array_equal(found.loss(X), net.loss(X)) for found in models.values())


def test_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    with pytest.raises(ImportError, match=r'save_model: .*pip install "daseCV_c\[safetensors\]"'):
        save_model(TwoLayerNet(4, 5, 3), tmp_path / "model.safetensors")
    assert os.listdir(tmp_path) == []


@each_net
def test_pickle_and_deepcopy(kind):
    net, X, y = trained(kind)
    for how in (copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))):
        twin = how(net)
        assert type(twin) is type(net) and frozen(vars(twin)) == frozen(vars(net))
        assert np.array_equal(twin.loss(X), net.loss(X))
        twin.params["W1"][...] = 0
        assert net.params["W1"].any()


# What is not saved.

class Own(TwoLayerNet):
    pass


def test_models_that_no_file_describes(tmp_path):
    replaced = TwoLayerNet(4, 5, 3)
    replaced.loss = lambda X, y=None: X
    for model in (Own(4, 5, 3), replaced, object()):
        with pytest.raises(TypeError, match=r"save_model: the model is a \w+ with code of its own"):
            save_model(model, tmp_path / "model")
    with pytest.raises(TypeError, match="Own with code"):
        Own(4, 5, 3).save(tmp_path / "model")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("change", "message"), [
    (lambda net: net.params.pop("b2"), "there is no parameter b2"),
    (lambda net: net.params.pop("W1"), "W1 lacks"),
    (lambda net: net.params.update(W9=1), "params holds 'W9'"),
    (lambda net: net.params.update(b2=np.zeros(6)), r"b2 has shape \(6,\), expected \(5,\)"),
    (lambda net: net.params.update(b2=np.full(5, np.nan)), "b2 holds a NaN or an infinity"),
    (lambda net: net.bn_params[1].update(running_var=np.full(5, np.inf)), "running_var2 holds a NaN"),
    (lambda net: net.bn_params.pop(), "bn_params has 1 entries"),
    (lambda net: net.bn_params[1].update(running_var=np.ones(4)), r"running_var2 has shape \(4,\)"),
    (lambda net: setattr(net, "reg", np.inf), "reg is inf"),
    (lambda net: setattr(net, "normalization", "other"), "normalization is 'other'"),
    (lambda net: setattr(net, "class_names", ["a"]), "class_names has 1 names, but the network has 3"),
    (lambda net: setattr(net, "mean_image", np.ones(5)), r"mean_image has shape \(5,\), but a sample has 4"),
])
def test_networks_that_do_not_fit(tmp_path, change, message):
    net, _, _ = trained("batchnorm")
    change(net)
    (tmp_path / "model").write_bytes(b"former")
    with pytest.raises(ValueError, match=f"save_model: {message}"):
        save_model(net, tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == b"former" and os.listdir(tmp_path) == ["model"]


def test_errors_of_the_arguments(tmp_path):
    net, cnn = TwoLayerNet(4, 5, 3), ThreeLayerConvNet((2, 6, 5), 3, 3, 4, 3)
    with pytest.raises(ValueError, match="format is 'pkl', expected 'npz' or 'safetensors'"):
        save_model(net, tmp_path / "model", format="pkl")
    with pytest.raises(TypeError, match="class_names is 'abc', expected a list of texts"):
        save_model(net, tmp_path / "model", class_names="abc")
    with pytest.raises(TypeError, match="class_names"):
        save_model(net, tmp_path / "model", class_names=[1, 2, 3])
    with pytest.raises(ValueError, match=r"mean_image has shape \(2, 6, 6\), but an image has shape \(2, 6, 5\)"):
        save_model(cnn, tmp_path / "model", mean_image=np.ones((2, 6, 6)))
    with pytest.raises(OSError):
        save_model(net, tmp_path / "none" / "model")
    with pytest.raises(OSError):
        load_model(tmp_path / "none")
    assert os.listdir(tmp_path) == []


def test_a_network_that_does_not_know_its_images(tmp_path):
    """One that was pickled before networks kept the size of their images."""
    net, X, _ = trained("cnn")
    del net.input_dim
    save_model(net, tmp_path / "model")
    found = load_model(tmp_path / "model")
    assert found.input_dim == (2, None, None) and np.array_equal(found.loss(X), net.loss(X))
    save_model(found, tmp_path / "model", mean_image=np.ones((2, 6, 5)))
    assert load_model(tmp_path / "model").mean_image.shape == (2, 6, 5)
    with pytest.raises(ValueError, match=r"mean_image has shape \(2, 8, 8\)"):
        save_model(found, tmp_path / "model", mean_image=np.ones((2, 8, 8)))


# What is not read.

def spoiled():
    """Documents that somebody else may have written."""
    document, arrays = networks.describe("here", trained("batchnorm")[0])
    cnn = networks.describe("here", trained("cnn")[0])

    def changed(name, entries=document, of=arrays, without=(), **more):
        document = {key: value for key, value in {**entries, **more}.items() if key not in without}
        return pytest.param(document, of, id=name)

    yield pytest.param(None, arrays, id="nothing")
    yield pytest.param([document], arrays, id="a list")
    yield changed("a class of another name", **{"class": "Solver"})
    yield changed("a class that is none", **{"class": ["TwoLayerNet"]})
    yield changed("TwoLayerNet with a normalization", **{"class": "TwoLayerNet"})
    yield changed("TwoLayerNet with three layers", **{"class": "TwoLayerNet", "normalization": None})
    yield changed("ThreeLayerConvNet without filters", **{"class": "ThreeLayerConvNet"})
    yield changed("dtype", dtype="object")
    yield changed("reg", reg="1")
    yield changed("no reg", without=["reg"])
    yield changed("huge", hidden_dims=[2**31])
    yield changed("a width of 0", hidden_dims=[0, 5])
    yield changed("deep", hidden_dims=[5] * 1000)
    yield changed("widths", hidden_dims="65")
    yield changed("input_dim", input_dim=True)
    yield changed("normalization", normalization=["batchnorm"])
    yield changed("p", dropout={"p": 0, "used": True})
    yield changed("dropout", dropout=0.5)
    yield changed("seed", dropout={"p": 0.5, "used": True, "seed": -1})
    yield changed("one entry of bn_params", bn_params=[{}])
    yield changed("bn_params", bn_params=[1, 2])
    yield changed("eps", bn_params=[{"eps": "1"}, {}])
    yield changed("class_names", class_names=[["a"], "b", "c"])
    yield changed("a parameter lacks", of={name: array for name, array in arrays.items() if name != "gamma2"})
    yield changed("text for numbers", of={**arrays, "b1": np.array(["a"] * 6)})
    yield changed("statistics", of={**arrays, "running_mean1": np.ones(7)})
    yield changed("mean_image", of={**arrays, "mean_image": np.ones(3)})
    yield changed("images", *cnn, input_dim=[2, 6])
    yield changed("larger images", *cnn, input_dim=[2, 8, 8])
    yield changed("half a size", *cnn, input_dim=[2, 6, None])


@pytest.mark.parametrize(("document", "arrays"), list(spoiled()))
def test_descriptions_of_no_network(document, arrays):
    with pytest.raises((ValueError, TypeError), match="^load_model: "):
        networks.rebuild("load_model", document, arrays)


def test_files_that_are_no_models(tmp_path):
    path = tmp_path / "model"
    net, _, _ = trained("batchnorm")
    document, arrays = networks.describe("here", net)
    archive.write(path, "checkpoint", {"network": document}, arrays)
    with pytest.raises(ValueError, match='model" is a checkpoint that Solver.save wrote'):
        load_model(path)
    archive.write(path, "model", {}, arrays)
    with pytest.raises(ValueError, match='model" does not hold a network: load_model: the description is a NoneType'):
        load_model(path)
    path.write_bytes(pickle.dumps(net))
    with pytest.raises(ValueError, match='model" is a pickle'):
        load_model(path)
    save_model(net, path)
    content = path.read_bytes()
    for i in range(0, len(content), 97):
        path.write_bytes(content[:i] + bytes([content[i] ^ 4]) + content[i + 1:])
        with pytest.raises(ValueError, match='model"'):
            load_model(path)
    for i in range(0, len(content), 97):
        path.write_bytes(content[:i])
        with pytest.raises(ValueError, match='model"'):
            load_model(path)


def test_files_of_safetensors_that_are_no_models(tmp_path):
    library = pytest.importorskip("safetensors.numpy", reason="the extra safetensors is not installed")
    path = tmp_path / "model"
    for metadata in (None, {"format": "pt"}, {"daseCV_c": "no json"}, {"daseCV_c": "[" * 100_000},
                     {"daseCV_c": "{}"}, {"daseCV_c": json.dumps({"format": 1, "document": {"network": {}}})}):
        library.save_file({"W1": np.ones(3)}, path, metadata)
        with pytest.raises(ValueError, match='model"'):
            load_model(path)
    save_model(TwoLayerNet(4, 5, 3), path, format="safetensors")
    content = path.read_bytes()
    for i in (8, 9, 20, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:i])
        with pytest.raises(ValueError, match='model"'):
            load_model(path)
    text = json.dumps({"W1": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
                       "__metadata__": {"daseCV_c": "{}"}}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    with pytest.raises(ValueError, match='model"'):
        load_model(path)


@each_format
def test_numbers_that_are_not_finite_are_told(tmp_path, monkeypatch, format):
    net = TwoLayerNet(4, 5, 3)
    net.params["b2"][1] = np.inf
    with monkeypatch.context() as patch:
        patch.setattr("daseCV_c.models.np.isfinite", np.ones_like)
        save_model(net, tmp_path / "model", format=format)
    with pytest.warns(RuntimeWarning, match='b2 of ".*model" holds a NaN or an infinity'):
        load_model(tmp_path / "model")


def test_the_precision_is_told(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("daseCV_c._runtime.precision._active", "bfloat16")
        save_model(FullyConnectedNet([5], 4, 3), tmp_path / "single")
        save_model(TwoLayerNet(4, 5, 3), tmp_path / "double")
    assert daseCV_c.get_matmul_precision() == "highest"
    with pytest.warns(RuntimeWarning, match="bfloat16"):
        load_model(tmp_path / "single")
    load_model(tmp_path / "double")  # float64 is never computed so


# As the course's networks of 2026 do it.

@each_net
def test_save_and_load_of_a_network(tmp_path, capsys, kind):
    make, _ = NETS[kind]
    net, X, _ = trained(kind)
    path = str(tmp_path / "best.npy")
    net.save(path)
    other = make()
    other.reg = 7.0
    assert other.load(path) is True and other.reg == 7.0
    assert np.array_equal(other.loss(X), net.loss(X))
    assert capsys.readouterr().out == f"{path} saved.\n{path} loaded.\n"
    assert os.listdir(tmp_path) == ["best.npy"]


def test_load_takes_the_dimensions_over(tmp_path):
    net, X, y = trained("batchnorm")
    net.save(tmp_path / "best")
    other = FullyConnectedNet([9], 8, 2, dropout=0.9, dtype=np.float64)
    assert other.load(tmp_path / "best")
    assert np.array_equal(other.loss(X), net.loss(X)) and other.dropout_param["p"] == 0.9
    assert set(other.loss(X, y)[1]) == set(net.params)


def test_load_of_nothing_and_of_others(tmp_path, capsys):
    net = TwoLayerNet(4, 5, 3)
    before = frozen(vars(net))
    assert net.load(tmp_path / "none") is False
    assert capsys.readouterr().out == f"{tmp_path / 'none'} not available.\n"
    FullyConnectedNet([5], 4, 3).save(tmp_path / "other")
    with pytest.raises(ValueError, match="TwoLayerNet.load: .*other\" holds a FullyConnectedNet"):
        net.load(tmp_path / "other")
    np.save(tmp_path / "array.npy", np.ones(3))
    os.mkfifo(tmp_path / "pipe.npy")
    for name, content in {"junk": b"junk", "header": b"\x93NUMPY\1\0\4\0{'a'", "array.npy": None,
                          "pipe.npy": None}.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f'{name}"'):
            net.load(tmp_path / name)
    with pytest.raises(OSError):
        net.load(tmp_path)
    assert frozen(vars(net)) == before


def test_load_of_a_file_of_the_course(tmp_path, monkeypatch):
    """It calls numpy.save with the dict of parameters."""
    monkeypatch.chdir(tmp_path)
    for kind in ("two", "plain", "batchnorm"):
        net, X, y = trained(kind)
        np.save("best.npy", net.params)
        other = NETS[kind][0]()
        assert other.load("best.npy")
        assert frozen(other.params) == frozen(net.params) and other.loss(X, y)[0] > 0
        other.params["W1"] += 1
    for content in ([1], {"W1": 1}, {"W1": np.ones(3)}, {**net.params, "W9": np.ones(3)}):
        np.save("best.npy", np.array(content, object))
        before = frozen(vars(other))
        with pytest.raises(ValueError):
            other.load("best.npy")
        assert frozen(vars(other)) == before
    np.save("best.npy", np.array({"W1": Harm()}, object))
    with pytest.raises(ValueError, match="cannot be read: it asks for"):
        other.load("best.npy")
    assert os.listdir() == ["best.npy"]


class Harm:
    def __reduce__(self):
        return open, ("harm", "w")


def test_what_begins_with_the_length_of_its_text(tmp_path):
    for length, expected in ((3, True), (12, True), (13, False)):
        (tmp_path / "file").write_bytes(length.to_bytes(8, "little") + b"{ }.")
        assert models_module._is_safetensors(tmp_path / "file") == expected


def test_a_safetensors_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    pytest.importorskip("safetensors", reason="the extra safetensors is not installed")
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.path.exists(path)) or fsync(number))
    path = tmp_path / "model.safetensors"
    save_model(TwoLayerNet(4, 3, 2), path)
    assert synced[:1] == [False]


def test_a_seed_that_no_generator_takes(tmp_path):
    net = FullyConnectedNet([3], input_dim=4, num_classes=2, dropout=0.5, seed=3)
    net.dropout_param["seed"] = 2**32
    with pytest.raises(ValueError, match="seed"):
        save_model(net, tmp_path / "model.npz")


def test_a_size_that_no_file_may_describe():
    assert networks._size("load_model", "input_dim", 2**31 - 1) == 2**31 - 1
    with pytest.raises(ValueError, match="input_dim is 2147483648"):
        networks._size("load_model", "input_dim", 2**31)
