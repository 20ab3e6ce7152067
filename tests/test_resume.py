"""A run that is stopped anywhere, saved and resumed ends like one that was never stopped, to the last bit."""

import math
import os
import pickle
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from adversarial import frozen
from stepping import RULES

import daseCV_c
from daseCV_c import layers, optim
from daseCV_c._training import archive, saving
from daseCV_c._training.archive import ArchiveError
from daseCV_c.callbacks import Callback
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.models import save_model
from daseCV_c.solver import Solver

SHAPE = (2, 6, 6)
COMPARED = ("loss_history", "train_acc_history", "val_acc_history", "val_loss_history", "learning_rate_history",
            "epoch", "best_params", "best_bn_params", "best_val_acc", "best_val_loss", "optim_configs")


class Own:
    """A user's model: a batch norm under another name, and arrays in Fortran order."""

    def __init__(self):
        self.bn = [{"mode": "train"}]
        self.params = {"gamma": np.ones(72), "beta": np.zeros(72), "weights 1": np.asfortranarray(
            np.random.randn(72, 4)), "b": np.zeros(4)}

    def loss(self, X, y=None):
        p = self.params
        self.bn[0]["mode"] = "test" if y is None else "train"
        out, normed = layers.batchnorm_forward(X.reshape(len(X), -1), p["gamma"], p["beta"], self.bn[0])
        scores, product = layers.affine_forward(out, p["weights 1"], p["b"])
        if y is None:
            return scores
        loss, dout = layers.softmax_loss(scores, y)
        dout, dW, db = layers.affine_backward(dout, product)
        _, dgamma, dbeta = layers.batchnorm_backward(dout, normed)
        return loss, {"gamma": dgamma, "beta": dbeta, "weights 1": dW, "b": db}


class Derived(FullyConnectedNet):
    def loss(self, X, y=None):
        return super().loss(X, y)


def _full(kind=FullyConnectedNet, **more):
    return kind([7, 5], 72, 4, weight_scale=0.3, **more)


MODELS = {
    "two layers": lambda: TwoLayerNet(72, 7, 4, weight_scale=0.3, reg=0.1),
    "plain": lambda: _full(reg=0.1, dropout=0.8),
    "batchnorm": lambda: _full(normalization="batchnorm", dropout=0.7, dtype=np.float64),
    "layernorm": lambda: _full(normalization="layernorm", dropout=0.7, seed=3),
    "own generator": lambda: _full(normalization="batchnorm", dropout=0.7, seed=np.random.RandomState(5)),
    "conv": lambda: ThreeLayerConvNet(SHAPE, 3, 3, 7, 4, weight_scale=0.3, reg=0.1),
    "derived": lambda: _full(Derived, normalization="batchnorm", dropout=0.7),
    "own": Own,
}


def data_of(n=30, dtype=np.float64):
    X, y = np.random.default_rng(5).standard_normal((n + 9, *SHAPE)).astype(dtype), np.arange(n + 9) % 4
    return {"X_train": X[:n], "y_train": y[:n], "X_val": X[n:], "y_val": y[n:]}


def solver_of(model="plain", rule="adam", **options):
    np.random.seed(3)
    options = {"batch_size": 10, "num_epochs": 3, "lr_decay": 0.9, "num_train_samples": 20} | options
    return Solver(MODELS[model](), options.pop("data", None) or data_of(), update_rule=rule, verbose=False, **options)


def state(solver):
    model = solver.model
    return frozen([[getattr(solver, name) for name in COMPARED], model.params,
                   [getattr(model, name, None) for name in ("bn_params", "bn")]])


class Saves(Callback):
    """Saves after step `at` and stops."""

    def __init__(self, at, path):
        self.at, self.path = at, path

    def on_step_end(self, solver):
        if solver.iteration == self.at:
            solver.save(self.path)
            return True


def test_saved_at_each_step_and_resumed(backend, here):
    check("batchnorm", "adam", range(1, 10))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_and_rule(here, model, rule):
    check(model, rule, (5,))


@pytest.mark.parametrize("model", MODELS)
def test_every_model_with_the_twins(here, model):
    with daseCV_c.use_backend("numpy"):
        check(model, "adam", (4,))


def check(model, rule, places):
    alone = solver_of(model, rule)
    alone.train()
    following = np.random.rand()
    for at in places:
        solver = solver_of(model, rule, callbacks=[Saves(at, "it.npz")])
        solver.train()
        np.random.seed(99)
        with daseCV_c.num_threads(1 + at % 2):
            again = Solver.resume("it.npz", MODELS[model](), data_of())
            assert again.iteration == at
            again.train()
        assert np.random.rand() == following, "not the same number of draws"
        assert state(again) == state(alone)
        assert len(again.seconds_history) == 4 and again.seconds_history[-1] > 0
        # And where it was stopped it goes on as well.
        if at < 9:
            np.random.seed(99)
            solver.train()
        assert state(solver) == state(alone)


FEATURES = {
    "cosine": {"schedule": {"name": "warmup_cosine", "warmup": 4}},
    "plateau": {"schedule": {"name": "plateau", "patience": 1, "factor": 0.5}},
    "early stopping": {"early_stopping": {"patience": 2, "monitor": "val_loss", "min_delta": 0.01}},
    "clipped": {"clip_norm": 0.5},
    "average of steps": {"average": {"decay": 0.8}},
    "average of epochs": {"average": {"last": 2}},
    "seed": {"seed": 4},
    "own generator": {"seed": np.random.RandomState},
    "loss": {"monitor": "val_loss", "optim_config": {"learning_rate": 0.1}},
    "few samples": {"num_train_samples": 7, "num_val_samples": 5},
}


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("model", ["batchnorm", "conv", "own"])
def test_every_option(here, model, name):
    def made(**more):
        options = FEATURES[name] | {"lr_decay": 1, "num_epochs": 6} | more
        if options.get("seed") is np.random.RandomState:
            options["seed"] = np.random.RandomState(4)
        return solver_of(model, **options)

    alone = made()
    alone.train()
    for at in (4, 9, 12) if model == "batchnorm" else (4,):
        made(callbacks=[Saves(at, "it.npz")]).train()
        np.random.seed(99)
        again = Solver.resume("it.npz", MODELS[model](), data_of())
        again.train()
        assert state(again) == state(alone) and again.stop_reason == alone.stop_reason
    assert (alone.stop_reason is None) == (alone.iteration == 18)


def test_a_schedule_that_is_a_function_is_given_again(here):
    def schedule(step):
        return 0.9 ** step

    options = {"schedule": schedule, "lr_decay": 1}
    alone = solver_of(**options)
    alone.train()
    solver_of(callbacks=[Saves(4, "it.npz")], **options).train()
    with pytest.raises(ValueError, match="Solver.resume: .* has schedule=.*schedule, which a file cannot hold: give "
                                         "schedule= again"):
        Solver.resume("it.npz", MODELS["plain"](), data_of())
    again = Solver.resume("it.npz", MODELS["plain"](), data_of(), schedule=schedule)
    again.train()
    assert state(again) == state(alone)


def test_one_generator_of_network_and_solver(here):
    def made(**more):
        random = np.random.RandomState(4)
        model = FullyConnectedNet([7, 5], 72, 4, dropout=0.7, weight_scale=0.3, seed=random)
        return Solver(model, data_of(), seed=random, batch_size=10, num_epochs=3, verbose=False, **more)

    alone = made()
    alone.train()
    made(callbacks=[Saves(4, "it.npz")]).train()
    before = frozen(np.random.get_state())
    again = Solver.resume("it.npz", made().model, data_of())
    assert again.generator is again.model.generator
    again.train()
    assert state(again) == state(alone) and frozen(np.random.get_state()) == before


def speeding(w, dw, config=None):
    """A user's rule, with arrays, numbers of NumPy and Python, tuples and text in its configuration."""
    config.setdefault("speed", np.zeros_like(w))
    config["speed"] = 0.5 * config["speed"] - config["learning_rate"] * dw
    config["count"] = config.get("count", 0) + 1
    config["mean"] = np.float32(dw.mean())
    config["path"] = (*config.get("path", ()), float(dw[:1].sum()))
    config["note"] = "é"
    config["worst"] = max(config.get("worst", float("-inf")), float(dw.max()))
    return w + config["speed"] * min(1, config["count"] / 3), config


@pytest.mark.parametrize("by_name", [True, False], ids=["by name", "as a function"])
@pytest.mark.parametrize("model", ["plain", "own"])
def test_a_rule_of_ones_own(monkeypatch, here, model, by_name):
    monkeypatch.setattr(optim, "speeding", speeding, raising=False)
    options, rule = {"optim_config": {"learning_rate": 0.1}}, "speeding" if by_name else speeding
    alone = solver_of(model, rule, **options)
    alone.train()
    solver_of(model, rule, callbacks=[Saves(4, "it.npz")], **options).train()
    if by_name:
        again = Solver.resume("it.npz", MODELS[model](), data_of())
    else:
        with pytest.raises(ValueError, match="has update_rule=speeding, which a file cannot hold: give update_rule="):
            Solver.resume("it.npz", MODELS[model](), data_of())
        again = Solver.resume("it.npz", MODELS[model](), data_of(), update_rule=rule)
    again.train()
    assert state(again) == state(alone)
    assert [type(value) for value in again.optim_configs["b" if model == "own" else "b1"].values()] == [
        type(value) for value in alone.optim_configs["b" if model == "own" else "b1"].values()]


def test_uint8_images_with_a_mean(here):
    data = data_of(dtype=np.float64)
    for name in ("X_train", "X_val"):
        data[name] = (data[name] * 20 + 100).astype(np.uint8)
    data["mean_image"] = data["X_train"].mean(axis=0)
    alone = solver_of(data=data)
    alone.train()
    solver_of(data=data, callbacks=[Saves(4, "it.npz")]).train()
    again = Solver.resume("it.npz", MODELS["plain"](), data)
    again.train()
    assert state(again) == state(alone)
    data["mean_image"] = data["mean_image"] + 1
    with pytest.raises(ValueError, match="Solver.resume: the mean_image hold other numbers"):
        Solver.resume("it.npz", MODELS["plain"](), data)


def test_before_the_first_step_and_after_the_last(here):
    solver = solver_of("batchnorm")
    solver.save("first.npz")
    random = np.random.get_state()
    solver.train()
    for path, iteration in (("first.npz", 0), ("last.npz", 9)):
        if iteration:
            solver.save(path)
        np.random.seed(99)
        again = Solver.resume(path, MODELS["batchnorm"](), data_of())
        assert again.iteration == iteration
        again.train()
        assert state(again) == state(solver)
    longer = Solver.resume("last.npz", MODELS["batchnorm"](), data_of(), num_epochs=5)
    longer.train()
    alone = solver_of("batchnorm", num_epochs=5)
    np.random.set_state(random)
    alone.train()
    assert state(longer) == state(alone)


def test_a_run_after_a_run(here):
    """The second training of a Solver is another run: from the best parameters of the first."""
    def two(solver):
        solver.train()
        solver.train()
        return state(solver)

    alone = two(solver_of("batchnorm", num_epochs=2))
    solver = solver_of("batchnorm", num_epochs=2)
    solver.train()
    solver.callbacks = [Saves(5, "it.npz")]
    solver.train()
    again = Solver.resume("it.npz", MODELS["batchnorm"](), data_of())
    assert (again.iteration, again.num_iterations, again.epoch) == (5, 6, 3)
    again.train()
    assert state(again) == alone


class Counts(Callback):
    def __init__(self):
        self.steps, self.seen = 0, []

    def on_step_end(self, solver):
        self.steps += 1
        self.seen.append(solver.model.params["b1"].copy())
        return self.steps == 5

    def state(self):
        return {"steps": self.steps, "seen": self.seen}

    def load_state(self, state):
        self.steps, self.seen = state["steps"], state["seen"]


def test_states_of_callbacks(here):
    solver = solver_of(callbacks=[counts := Counts(), Saves(3, "it.npz")])
    solver.train()
    assert counts.steps == 3
    with pytest.raises(ValueError, match="has a callback Counts with a state: give callbacks= again"):
        Solver.resume("it.npz", MODELS["plain"](), data_of())
    again = Solver.resume("it.npz", MODELS["plain"](), data_of(), callbacks=[Callback(), others := Counts()])
    assert others.steps == 3 and frozen(others.seen) == frozen(counts.seen)
    again.train()
    assert again.iteration == 5
    other = Solver.resume("it.npz", MODELS["plain"](), data_of(), callbacks=[Callback()])
    other.train()
    assert other.iteration == 9

    counts.state = lambda: {"file": open}
    with pytest.raises(TypeError, match=r"callbacks/0/file is a builtin_function_or_method, which a file of numbers"):
        solver.save("it.npz")
    assert os.listdir() == ["it.npz"]


# What does not belong to the run.

@pytest.fixture
def saved(here):
    solver_of("batchnorm", callbacks=[Saves(4, "it.npz")]).train()
    return "it.npz"


def net(**more):
    options = {"normalization": "batchnorm", "dropout": 0.7, "dtype": np.float64} | more
    return FullyConnectedNet([7, 5], 72, 4, **options)


@pytest.mark.parametrize(("model", "message"), [
    (lambda: FullyConnectedNet([7, 6], 72, 4, normalization="batchnorm", dropout=0.7, dtype=np.float64),
     r"W2 is float64 of shape \(7, 6\), but the run of \"it.npz\" has float64 of shape \(7, 5\)"),
    (lambda: net(dtype=np.float32), r"W1 is float32 of shape \(72, 7\), .* has float64 of shape"),
    (lambda: net(normalization="layernorm"), "the model's normalization is 'layernorm', .* has 'batchnorm'"),
    (lambda: net(normalization=None), "the model has the parameters W1, b1, W2, b2, W3, b3, .* has W1, b1, gamma1"),
    (lambda: net(dropout=0.6), r"dropout_param\['p'\] is 0.6, .* has 0.7"),
    (lambda: net(dropout=1), "the model's use_dropout is False, .* has True"),
    (lambda: net(seed=3), r"dropout_param\['seed'\] is 3, .* has None"),
    (lambda: net(seed=np.random.RandomState(3)), r"the model has a generator of its own, .* has no one"),
    (lambda: net(reg=0.5), "the model's reg is 0.5, .* has 0.0"),
    (lambda: TwoLayerNet(72, 7, 4), "the model is a TwoLayerNet, .* has a FullyConnectedNet"),
    (Own, "the model is a Own, .* has a FullyConnectedNet"),
])
def test_another_model(saved, model, message):
    model = model()
    before = frozen(model.params)
    with pytest.raises(ValueError, match=f"^Solver.resume: {message}"):
        Solver.resume(saved, model, data_of())
    assert frozen(model.params) == before


@pytest.mark.parametrize(("change", "message"), [
    (lambda d: d | {"X_train": d["X_train"][:29], "y_train": d["y_train"][:29]},
     r"X_train is float64 of shape \(29, 2, 6, 6\), but the run of \"it.npz\" has float64 of shape \(30, 2, 6, 6\)"),
    (lambda d: d | {"X_train": d["X_train"].astype(np.float32)}, r"X_train is float32 of shape .* has float64"),
    (lambda d: d | {"X_val": d["X_val"].reshape(9, -1)}, r"X_val is float64 of shape \(9, 72\), .* \(9, 2, 6, 6\)"),
    (lambda d: d | {"y_train": d["y_train"][::-1]}, "the labels of train hold other numbers"),
    (lambda d: d | {"X_val": d["X_val"] + 1}, "the samples of val hold other numbers"),
])
def test_other_data(saved, change, message):
    model = net()
    before = frozen(model.params)
    with pytest.raises(ValueError, match=f"^Solver.resume: {message}"):
        Solver.resume(saved, model, change(data_of()))
    assert frozen(model.params) == before
    data = data_of()
    data["X_train"] = np.asfortranarray(data["X_train"].astype(">f8"))
    data["y_train"] = data["y_train"].tolist()
    Solver.resume(saved, model, data)


@pytest.mark.parametrize(("options", "message"), [
    ({"batch_size": 15}, "batch_size is 15, but the run of \"it.npz\" has 10"),
    ({"update_rule": "sgd"}, "update_rule is 'sgd', .* has 'adam'"),
    ({"optim_config": {"learning_rate": 1}}, r"optim_config is {'learning_rate': 1}, .* has {}"),
    ({"monitor": "val_loss"}, "monitor is 'val_loss', .* has None"),
    ({"num_epochs": 1}, "num_epochs is 1, which are 3 iterations, but the run .* has made 4"),
])
def test_other_options(saved, options, message):
    model = net()
    before = frozen(model.params)
    with pytest.raises(ValueError, match=f"^Solver.resume: {message}"):
        Solver.resume(saved, model, data_of(), **options)
    assert frozen(model.params) == before
    Solver.resume(saved, model, data_of(), batch_size=10, lr_decay=0.9, verbose=True, print_every=3, num_epochs=7)


def test_what_is_no_checkpoint(here):
    Path("old.pkl").write_bytes(pickle.dumps({"model": MODELS["plain"](), "epoch": 3}))
    with pytest.raises(ArchiveError, match='^"old.pkl" is a pickle, which may run code and is not opened, expected a '
                                           "checkpoint that Solver.save wrote: .*data_utils.load_models reads"):
        Solver.resume("old.pkl", MODELS["plain"](), data_of())
    save_model(MODELS["plain"](), "model.npz")
    with pytest.raises(ArchiveError, match='^"model.npz" is a model that save_model wrote, expected a checkpoint'):
        Solver.resume("model.npz", MODELS["plain"](), data_of())
    with pytest.raises(FileNotFoundError):
        Solver.resume("absent", MODELS["plain"](), data_of())


def forged(change):
    """A checkpoint with the right checksum whose document was changed."""
    document, arrays = archive.read("it.npz", "checkpoint")
    change(document, arrays)
    archive.write("forged.npz", "checkpoint", document, arrays)


@pytest.mark.parametrize(("change", "message"), [
    (lambda d, a: d.pop("rule"), "is a checkpoint that no Solver wrote: it lacks 'rule'"),
    (lambda d, a: d.update(epoch="3"), "its histories and its place in them do not fit"),
    (lambda d, a: d.update(iteration=3), "its histories and its place in them do not fit"),
    (lambda d, a: d.update(begun=[0, 0]), "its histories and its place in them do not fit"),
    (lambda d, a: d.update(layers=[["bn_params", [], {"dict": []}]]), "layers is no list of states"),
    (lambda d, a: dict(d["random"]["dict"])["state"]["dict"][1].__setitem__(1, 625), "a state of a generator that is"),
    (lambda d, a: d.update(random={"tuple": "x"}), "which is no value"),
    (lambda d, a: d.update(rule={"exec": "x"}), "it holds {'exec': 'x'}, which is no value"),
    (lambda d, a: d.update(rule={"dict": []}), "the rule's states do not fit each other"),
    (lambda d, a: d.update(parameters=[[[[[]]]]]), "parameters is a list, expected a dict"),
    (lambda d, a: a.update({"parameters/W1": np.zeros((0, 7))}), "do not fit each other"),
    (lambda d, a: a.update({"histories/loss_history": np.zeros((4, 4))}), "loss_history is no list of numbers"),
    (lambda d, a: a.update({"random/state/key": np.zeros(3, np.uint32)}), "a state of a generator that is none"),
    (lambda d, a: d["settings"].update(seed={"generator": {"dict": []}}), "a state of a generator that is none"),
])
def test_forged_documents(saved, change, message):
    forged(change)
    model = net()
    before, random = frozen(model.params), frozen(np.random.get_state())
    with pytest.raises(ArchiveError, match=f'^"forged.npz" .*{message}'):
        Solver.resume("forged.npz", model, data_of())
    assert (frozen(model.params), frozen(np.random.get_state())) == (before, random)


# Where checkpoints come from.

def test_one_path_for_all(here, monkeypatch):
    alone = solver_of("batchnorm")
    alone.train()
    found = []
    monkeypatch.setattr(saving, "_SOONEST", math.inf)  # else a slow machine's at the end of an epoch, too

    class Looks(Callback):
        def on_step_end(self, solver):
            found.append(archive.read("it.npz", "checkpoint")[0]["iteration"] if os.path.exists("it.npz") else 0)
            return solver.iteration == 7

    solver = solver_of("batchnorm", checkpoint_path="it.npz", checkpoint_every=0, callbacks=[Looks()])
    solver.train()
    assert os.listdir() == ["it.npz"]
    assert found == [0, 1, 2, 2, 4, 5, 5], "after each step of an epoch"
    again = Solver.resume("it.npz", net(), data_of(), callbacks=[])
    assert again.iteration == 7 and again._stop
    again.train()
    assert again.iteration == 7, "a checkpoint keeps what callbacks have decided"
    again.train()
    assert state(again) == state(alone)
    Path(".it.npz.0123abcd.part").write_bytes(b"of a process that was killed")
    again.train()
    assert os.listdir() == ["it.npz"]


def test_a_file_does_not_say_where_to_write(here):
    """It may be a stranger's: a resumed run writes to the very file, or beside it."""
    Path("theirs").mkdir()
    Path("mine").mkdir()
    solver_of(callbacks=[Saves(4, "mine/it.npz")], checkpoint_path="theirs/it.npz").train()
    solver_of(callbacks=[Saves(4, "mine/c_epoch_1.npz")], checkpoint_name="theirs/c").train()
    before = {path.name: path.read_bytes() for path in Path("theirs").iterdir()}
    for name, path, wanted in (("it.npz", "mine/it.npz", None), ("c_epoch_1.npz", None, "mine/c")):
        again = Solver.resume(f"mine/{name}", MODELS["plain"](), data_of())
        assert (again.checkpoint_path, again.checkpoint_name) == (path, wanted)
        again.train()
    assert {path.name: path.read_bytes() for path in Path("theirs").iterdir()} == before
    assert sorted(os.listdir("mine")) == ["c_epoch_1.npz", "c_epoch_2.npz", "c_epoch_3.npz", "it.npz"]


@pytest.mark.parametrize("name", ["checkpoint_name", "checkpoint_path"])
def test_folders_that_are_not_there_are_found_at_once(here, name):
    with pytest.raises(FileNotFoundError, match=f"Solver: {name} is in a folder that does not exist: 'absent'"):
        solver_of(**{name: "absent/it"})
    Path("file").touch()
    with pytest.raises(FileNotFoundError):
        solver_of(**{name: "file/it"})
    with pytest.raises(TypeError, match=f"Solver: {name} is 5, expected the name of a file"):
        solver_of(**{name: 5})
    assert os.listdir() == ["file"]


# Divergence.

def test_a_diverged_training_is_not_saved(here):
    solver = solver_of(optim_config={"learning_rate": 1e300}, checkpoint_path="it.npz")
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="the loss is"):
        solver.train()
    with pytest.raises(ValueError, match="Solver.save: there is nothing to go on from: Solver.train: the loss is"):
        solver.save("other.npz")
    assert os.listdir() == [], "the parameters were not finite at any checkpoint"
    assert all(np.isfinite(array).all() for array in solver.model.params.values())


def test_the_last_good_checkpoint_is_kept(here):
    class Poison(Callback):
        def on_step_end(self, solver):
            if solver.iteration == 5:
                solver.model.params["W1"][0, 0] = np.inf

    solver = solver_of(checkpoint_path="it.npz", checkpoint_every=0, callbacks=[Poison()])
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="the loss is"):
        solver.train()
    again = Solver.resume("it.npz", MODELS["plain"](), data_of())
    assert again.iteration == 4
    assert all(np.isfinite(array).all() for array in again.model.params.values())


def test_parameters_that_are_replaced_after_resuming_are_trained_and_saved(here):
    """As those that are changed in place are, and those of a Solver that has not begun."""
    solver_of("batchnorm", callbacks=[Saves(4, "it.npz")]).train()
    found = {}
    for in_place in (True, False):
        again = Solver.resume("it.npz", MODELS["batchnorm"](), data_of())
        if in_place:
            again.model.params["W1"] *= 2
        else:
            again.model.params["W1"] = again.model.params["W1"] * 2
        again.save(f"{in_place}.npz")
        again.train()
        found[in_place] = state(again), Path(f"{in_place}.npz").read_bytes()
    assert found[True] == found[False]


def test_signals_are_deferred_and_saved(here, capsys):
    class Interrupts(Callback):
        def on_step_end(self, solver):
            if solver.iteration == 4:
                signal.raise_signal(signal.SIGINT)

    former = signal.getsignal(signal.SIGINT)
    alone = solver_of("batchnorm")
    alone.train()
    for options, path in (({"checkpoint_path": "it.npz"}, "it.npz"), ({"checkpoint_name": "c"}, "c_interrupted.npz")):
        solver = solver_of("batchnorm", callbacks=[Interrupts()], **options)
        solver.verbose = True
        with pytest.raises(KeyboardInterrupt, match=f'^training stopped after iteration 4 of 9; .*resume."{path}"'):
            solver.train()
        assert "training stopped after iteration 4" in capsys.readouterr().out
        assert signal.getsignal(signal.SIGINT) is former
        assert frozen(solver.model.params) == frozen(solver.best_params)
        again = Solver.resume(path, net(), data_of(), callbacks=[])
        again.train()
        solver.callbacks, solver.verbose = [], False
        solver.train()
        assert state(solver) == state(again) == state(alone)


def test_training_in_another_thread_leaves_signals_alone(here):
    seen = []

    class Looks(Callback):
        def on_step_end(self, solver):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=solver_of(callbacks=[Looks()]).train)
    thread.start()
    thread.join()
    assert set(seen) == {signal.getsignal(signal.SIGINT)} and len(seen) == 9
