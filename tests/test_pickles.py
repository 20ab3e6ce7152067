"""Pickles that are damaged or mean harm run nothing; those that hold data come back."""

import codecs
import copyreg
import io
import os
import pickle

import numpy as np
import pytest
from adversarial import frozen
from crafting import Calls, py2_text, touch

from daseCV_c import optim
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.data_utils import BadPickleError, load_CIFAR_batch, load_models, load_pickle
from daseCV_c.datasets.pickles import load_leaving, load_path
from daseCV_c.solver import Solver


def raw_global(module, name, rest=b"."):
    return b"\x80\2c" + f"{module}\n{name}\n".encode() + rest


UNFINISHED = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + py2_text("b") + b"\x87R"
HARM = {
    "os.system": raw_global("os", "system", py2_text("touch harm") + b"\x85R."),
    "builtins.eval": raw_global("builtins", "eval", py2_text("open('harm','w')") + b"\x85R."),
    "py2 eval": raw_global("__builtin__", "eval", py2_text("open('harm','w')") + b"\x85R."),
    "open": pickle.dumps(Calls(open, "harm", "w")),
    "own function": pickle.dumps(Calls(touch, "harm")),
    "instance": b"(S'touch harm'\nios\nsystem\n.",
    "dotted": b"\x80\4\x8c\5numpy\x8c\x0bf2py.os.sys\x93.",
    "dotted ndarray": b"\x80\4\x8c\5numpy\x8c\x0fndarray.tofile_\x93.",
    "numpy.load": pickle.dumps(Calls(np.load, "harm", None, True)),
    "numpy.fromfile": pickle.dumps(Calls(np.fromfile, "harm")),
    "numpy.memmap": pickle.dumps(Calls(np.memmap, "harm", np.uint8, "w+", 0, (10,))),
    "ndarray called": raw_global("numpy", "ndarray", b"K\5\x85R."),
    "getattr": pickle.dumps(Calls(getattr, "x", "upper")),
    "codecs.decode": pickle.dumps(Calls(codecs.decode, b"x", "latin1")),
    "bytes called": raw_global("builtins", "bytes", b"K\5\x85R."),
    "codecs.encode rot13": pickle.dumps(Calls(codecs.encode, "x", "rot13")),
    "codecs.encode default": pickle.dumps(Calls(codecs.encode, "x")),
    "network": pickle.dumps(TwoLayerNet(2, 2, 2)),
    "object array": pickle.dumps(np.array([{}, None], object)),
    "structured array": pickle.dumps(np.zeros(2, "i4,f8")),
    "text array": pickle.dumps(np.array(["a"])),
    "date array": pickle.dumps(np.array(["2020-01-01"], "M8[D]")),
    "persistent": b"\x80\2Pharm\n.",
    "extension": b"\x80\2\x82\1.",
    "changes a maker": raw_global("numpy", "dtype", b"}" + py2_text("name") + py2_text("ndarray") + b"sb."),
    "changes a maker's slots": raw_global(
        "numpy", "dtype", b"N}" + py2_text("name") + py2_text("ndarray") + b"s\x86b."),
    "set": pickle.dumps({1, 2}, 2),
    "persistent, binary": b"\x80\2K\1Q.", "a buffer outside": b"\x80\5\x97.", "new with keywords": b"\x80\4)}\x92.",
    "an object of Python 2": b"(cnumpy\ndtype\no.", "a function as a value": b"cnumpy\nndarray\n.",
    "a function in a list": b"(cnumpy\nndarray\nl.", "an unfinished array": b"]" + UNFINISHED + b"a.",
    "an unfinished array, alone": UNFINISHED + b".", "an unfinished array as a key": b"}" + UNFINISHED + b"Ns.",
}


@pytest.mark.parametrize("kind", HARM)
def test_pickle_that_is_not_data(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "crafted"
    path.write_bytes(HARM[kind])
    for read in (load_pickle, load_CIFAR_batch):
        with pytest.raises(pickle.UnpicklingError, match="crafted cannot be read") as caught:
            read(path)
        assert isinstance(caught.value, BadPickleError) and isinstance(caught.value, ValueError)
    with open(path, "rb") as file, pytest.raises(BadPickleError, match="crafted"):
        load_pickle(file)
    with pytest.raises(BadPickleError, match="the pickle"):
        load_pickle(io.BytesIO(HARM[kind]))
    assert os.listdir(tmp_path) == ["crafted"]


@pytest.fixture
def extensions(monkeypatch):
    """Codes that a library has registered, and that the process has already resolved by pickle itself."""
    for code in (240, 300, 70000):
        monkeypatch.setitem(copyreg._inverted_registry, code, ("os", "system"))
        monkeypatch.setitem(copyreg._extension_cache, code, os.system)


@pytest.mark.parametrize("opcode", [b"\x82\xf0", b"\x83" + (300).to_bytes(2, "little"),
                                    b"\x84" + (70000).to_bytes(4, "little")])
@pytest.mark.parametrize("pickler", ["C", "Python"])
def test_extension_codes_of_the_process_mean_nothing(tmp_path, monkeypatch, extensions, opcode, pickler):
    if pickler == "Python":
        monkeypatch.setattr(pickle, "Unpickler", pickle._Unpickler)
        monkeypatch.setattr(pickle, "load", pickle._load)
    monkeypatch.chdir(tmp_path)
    content = b"\x80\2" + opcode + py2_text("touch harm") + b"\x85R."
    with pytest.raises(BadPickleError, match="opcode"):
        load_pickle(io.BytesIO(content))
    path = tmp_path / "crafted"
    path.write_bytes(content)
    for read in (load_pickle, load_CIFAR_batch, lambda path: load_leaving(path, 5)):
        with pytest.raises(BadPickleError, match="crafted cannot be read"):
            read(path)
    with pytest.warns(RuntimeWarning, match="crafted"):
        assert load_models(tmp_path) == {}
    assert os.listdir(tmp_path) == ["crafted"]


UINT8 = b"cnumpy\ndtype\n" + py2_text("u1") + b"\x85R"


def state_of(array_state, dtype=UINT8):
    """A pickle of an array with a state of one's own; DTYPE in it stands for `dtype`."""
    return (b"\x80\2cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + py2_text("b") + b"\x87R"
            + array_state.replace(b"DTYPE", dtype) + b"b.")


@pytest.mark.parametrize("content", [
    state_of(b"(K\1K\5\x85DTYPE\x89" + py2_text("abcd") + b"t"),  # five numbers in four bytes
    state_of(b"(K\1J\xff\xff\xff\xff\x85DTYPE\x89" + py2_text("") + b"t"),  # a negative size
    state_of(b"(K\1K\4\x85" + py2_text("u1") + b"\x89" + py2_text("abcd") + b"t"),  # no dtype
    state_of(b"(K\1K\4\x85DTYPE\x89]t"),  # a list for bytes
    state_of(b"K\1"), state_of(b"}"),
    state_of(b"(K\1K\4\x85DTYPE\x89" + py2_text("abcd") + b"t", b"cnumpy\ndtype\n" + py2_text("O") + b"\x85R"),
    state_of(b"(K\1K\4\x85DTYPE\x89" + py2_text("abcd") + b"t", b"cnumpy\ndtype\nK\1\x85R"),
])
def test_array_with_a_state_that_does_not_fit(content):
    with pytest.raises(BadPickleError):
        load_pickle(io.BytesIO(content))


ARRAYS = [
    np.arange(12, dtype=np.uint8).reshape(3, 4), np.arange(6.0).reshape(2, 3).T, np.array(3.5), np.zeros((0, 4)),
    np.arange(5, dtype=">i4"), np.array([True, False]), np.arange(4, dtype=np.float16), np.arange(3000.0),
    np.arange(10)[::-2], np.float64(1.5), np.int64(-3), np.bool_(True), np.arange(24.).reshape(2, 3, 4).swapaxes(0, 1),
    np.float32(2), np.zeros((2, 0), np.int16), np.arange(3).astype(np.longlong),
]


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_come_back(protocol):
    value = {"arrays": ARRAYS, "more": (1, 2.5, "é", b"\xff", None, True, [{}], -2**70)}
    content = pickle.dumps(value, protocol)
    found, usual = load_pickle(io.BytesIO(content)), pickle.loads(content)
    assert found["more"] == value["more"]
    for one, other in zip(found["arrays"], usual["arrays"], strict=True):
        assert type(one) is type(other) and one.dtype == other.dtype and one.shape == other.shape
        assert np.array_equal(one, other)
        assert not isinstance(one, np.ndarray) or one.flags.writeable


def test_shared_and_circular_containers():
    value = {"a": [1]}
    value["b"], value["self"] = value["a"], value
    found = load_pickle(io.BytesIO(pickle.dumps(value)))
    assert found["self"] is found and found["a"] is found["b"]


def test_missing_pickle(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        load_pickle(tmp_path / "nothing")


def test_models_of_checkpoints(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 6)), np.arange(20) % 3
    data = {"X_train": X, "y_train": y, "X_val": X, "y_val": y}
    nets = {"two": TwoLayerNet(6, 5, 3), "full": FullyConnectedNet([4, 4], 6, 3, normalization="batchnorm",
                                                                  dropout=0.5, seed=3, dtype=np.float64)}
    lasts = {}
    for name, net in nets.items():
        solver = Solver(net, data, num_epochs=1, batch_size=10, verbose=False, checkpoint_name=str(tmp_path / name))
        solver.train()
        lasts[name] = solver._paused[0]
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps({"model": net}))  # as earlier versions and the course do
    (tmp_path / "folder").mkdir()
    models = load_models(tmp_path)
    assert set(models) == {"two_epoch_0.npz", "two_epoch_1.npz", "full_epoch_0.npz", "full_epoch_1.npz",
                           "two.pkl", "full.pkl"}
    for name, net in nets.items():
        again = models[f"{name}_epoch_1.npz"]
        assert type(again) is type(net) and frozen(again.params) == frozen(lasts[name].params)
        lasts[name].put_into(net)
        assert np.array_equal(again.loss(X), net.loss(X)) and frozen(again.loss(X, y)) == frozen(net.loss(X, y))
        with open(tmp_path / f"{name}.pkl", "rb") as file:
            expected = pickle.load(file)["model"]
        found = models[f"{name}.pkl"]
        assert type(found) is type(net) and vars(found).keys() == vars(expected).keys()
        assert found.dtype is np.float64
        assert np.array_equal(found.loss(X), expected.loss(X))
        assert found.loss(X, y)[1].keys() == net.loss(X, y)[1].keys()


@pytest.mark.parametrize("content", [
    pickle.dumps({"model": Calls(touch, "harm")}), pickle.dumps({"other": 1}), pickle.dumps([1]), b"junk",
    raw_global("daseCV_c.classifiers.fc_net", "TwoLayerNet",
               b"N}" + py2_text("loss") + b"K\1s\x86b."),  # changes the class
    pickle.dumps({"model": Solver}),
])
def test_files_without_a_model_are_left_out(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pkl").write_bytes(content)
    with pytest.warns(RuntimeWarning, match="bad.pkl"):
        assert load_models(tmp_path) == {}
    assert os.listdir(tmp_path) == ["bad.pkl"] and callable(TwoLayerNet.loss)


@pytest.mark.parametrize("package", ["daseCV_c", "daseCV", "cs231n"])
def test_checkpoints_of_the_course(tmp_path, monkeypatch, package):
    """Its Solver pickles the rule as a function, and its models have fewer attributes."""
    def only(net, *names):
        older = object.__new__(type(net))
        older.__dict__ = {name: getattr(net, name) for name in names}
        return older

    common = "use_dropout", "reg", "num_layers", "dtype", "params", "dropout_param", "bn_params"
    X, y = np.random.RandomState(0).randn(6, 4), np.arange(6) % 3
    full, two = FullyConnectedNet([5], 4, 3, normalization="batchnorm", dropout=0.5), TwoLayerNet(4, 5, 3)
    older = only(full, *common)
    older.use_batchnorm = True
    nets = {"full": (full, only(full, *common, "normalization")), "older": (full, older), "two": (two, only(
        two, "params", "reg")), "cnn": (net := ThreeLayerConvNet((1, 2, 2), 2, 1, 5, 3), only(
            net, "params", "reg", "dtype"))}
    for name, (_, held) in nets.items():
        content = pickle.dumps({"model": held, "update_rule": optim.adam, "optim_config": {}, "epoch": 1}, protocol=2)
        (tmp_path / name).write_bytes(content.replace(b"cdaseCV_c.", b"c" + package.encode() + b"."))
    models = load_models(tmp_path)
    assert set(models) == set(nets)
    for name, (net, _) in nets.items():
        batch = X.reshape(6, 1, 2, 2) if name == "cnn" else X
        assert np.array_equal(models[name].loss(batch), net.loss(batch))
        assert models[name].loss(batch, y)[1].keys() == net.params.keys()
        assert models[name].mean_image is None


@pytest.mark.parametrize("rest", [
    b"cdaseCV_c.optim\nnp\n)R", b"cdaseCV_c.optim\nadam\n)\x81", b"cdaseCV_c.optim\nadam\n}b",
    py2_text("daseCV_c.optim") + py2_text("x" * 101) + b"\x93", b"cdaseCV_c.optim.os\nsystem\n",
    b"cdaseCV_c.optim\nadam\n",
], ids=["called", "made", "changed", "long", "deeper", "as a model"])
def test_a_rule_is_only_text(tmp_path, rest):
    """What a module of update rules is asked for is neither looked up nor called."""
    (tmp_path / "bad").write_bytes(b"\x80\4}" + py2_text("model") + rest + b"s.")
    if rest.endswith(b"\x93"):  # one of a few bytes may stand for a text of megabytes, again and again
        with pytest.raises(BadPickleError, match="asks for daseCV_c.optim.xxx"):
            load_path(tmp_path / "bad", models=True)
    with pytest.warns(RuntimeWarning, match="bad"):
        assert load_models(tmp_path) == {}
