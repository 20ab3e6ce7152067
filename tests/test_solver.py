"""Solver: the course's draws, lines and bookkeeping, held against a plain loop written out here."""

import errno
import os
import re

import numpy as np
import pytest
from adversarial import frozen

from daseCV_c import optim
from daseCV_c._training import archive
from daseCV_c._training.history import ValidationLoss
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.solver import Solver


def data_of(n=30, n_val=11, d=8, classes=4, dtype=np.float64):
    rng = np.random.default_rng(0)
    return {
        "X_train": rng.standard_normal((n, d)).astype(dtype), "y_train": rng.integers(0, classes, n),
        "X_val": rng.standard_normal((n_val, d)).astype(dtype), "y_val": rng.integers(0, classes, n_val),
    }


def net_of(**more):
    np.random.seed(3)
    return FullyConnectedNet([9], input_dim=8, num_classes=4, weight_scale=0.3, dtype=np.float64, **more)


class Scripted:
    """Answers with prepared accuracies on 10 validation samples of class 0, and counts its steps."""

    def __init__(self, right, losses=(1.0,)):
        self.right, self.losses = list(right), list(losses)
        self.params = {"step": np.zeros(1)}
        self.checks = 0

    def loss(self, X, y=None):
        if y is not None:
            # sgd with a rate of 1 makes `step` the number of updates.
            return self.losses[int(self.params["step"][0]) % len(self.losses)], {"step": -np.ones(1)}
        scores = np.zeros((len(X), 2))
        if len(X) == 10:
            scores[self.right[self.checks]:, 1] = 1
            self.checks += 1
        return scores


def scripted_data():
    return {"X_train": np.zeros((4, 1)), "y_train": np.zeros(4, int), "X_val": np.zeros((10, 1)),
            "y_val": np.zeros(10, int)}


def plain_training(model, data, rule, config, batch_size, epochs, decay, train_samples, val_samples):
    """(losses, train accuracies, val accuracies) of the same training, written as one plain loop."""
    configs = {name: dict(config) for name in model.params}
    losses, train, val = [], [], []
    n = len(data["y_train"])
    per_epoch = max(n // batch_size, 1)

    def accuracy(X, y, samples):
        if samples is not None and len(X) > samples:
            mask = np.random.choice(len(X), samples)
            X, y = X[mask], y[mask]
        return np.mean(np.argmax(model.loss(X), axis=1) == y)

    for t in range(epochs * per_epoch):
        mask = np.random.choice(n, batch_size)
        loss, grads = model.loss(data["X_train"][mask], data["y_train"][mask])
        losses.append(loss)
        for name in model.params:
            update = getattr(optim, rule)(model.params[name], grads[name], configs[name])
            model.params[name], configs[name] = update
        end = (t + 1) % per_epoch == 0
        if end:
            for each in configs.values():
                each["learning_rate"] *= decay
        if t == 0 or t == epochs * per_epoch - 1 or end:
            train.append(accuracy(data["X_train"], data["y_train"], train_samples))
            val.append(accuracy(data["X_val"], data["y_val"], val_samples))
    return losses, train, val


@pytest.mark.filterwarnings("ignore:Solver. after 3 epochs")  # sgd has learnt nothing by then
@pytest.mark.parametrize("rule", optim.__all__)
@pytest.mark.parametrize("samples", [(20, 5), (1000, None), (None, None)], ids=str)
def test_same_numbers_as_a_plain_loop(backend, rule, samples):
    data, config = data_of(), {"learning_rate": 0.05}
    expected_model, model = net_of(), net_of()
    np.random.seed(9)
    expected = plain_training(expected_model, data, rule, config, 7, 3, 0.8, *samples)
    following = np.random.rand()
    np.random.seed(9)
    solver = Solver(model, data, update_rule=rule, optim_config=config, batch_size=7, num_epochs=3,
                    lr_decay=0.8, num_train_samples=samples[0], num_val_samples=samples[1], verbose=False)
    solver.train()
    assert np.random.rand() == following, "not the same number of draws"
    assert (solver.loss_history, solver.train_acc_history, solver.val_acc_history) == expected
    assert len(solver.loss_history) == 12 and len(solver.val_acc_history) == 4
    assert solver.epoch == 3
    assert solver.best_val_acc == max(expected[2])
    assert config == {"learning_rate": 0.05}
    for state in solver.optim_configs.values():
        assert state["learning_rate"] == pytest.approx(0.05 * 0.8 ** 3)


def test_lines_printed(capsys):
    Solver(net_of(), data_of(), batch_size=10, num_epochs=2, print_every=2).train()
    out, err = capsys.readouterr()
    number = r"\d+\.\d{6}"
    accuracies = rf"train acc: {number}; val_acc: {number}"
    patterns = [
        rf"\(Iteration 1 / 6\) loss: {number}", rf"\(Epoch 0 / 2\) {accuracies}",
        rf"\(Iteration 3 / 6\) loss: {number}", rf"\(Epoch 1 / 2\) {accuracies}",
        rf"\(Iteration 5 / 6\) loss: {number}", rf"\(Epoch 2 / 2\) {accuracies}",
    ]
    lines = out.splitlines()
    assert len(lines) == len(patterns)
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line
    assert err == ""


def test_silent_training_is_the_same(capsys):
    histories = []
    for options in ({"verbose": False}, {"verbose": True}, {"verbose": False, "progress": True}):
        np.random.seed(1)
        solver = Solver(net_of(), data_of(), batch_size=10, num_epochs=2, **options)
        solver.train()
        histories.append((solver.loss_history, solver.val_acc_history))
        out = capsys.readouterr().out
        assert bool(out) == options["verbose"]
    assert histories[0] == histories[1] == histories[2]


def test_progress_bar(capsys):
    Solver(net_of(), data_of(), batch_size=10, num_epochs=2, print_every=1, progress=True).train()
    out, err = capsys.readouterr()
    assert "6/6" in err and "it/s" in err
    assert "(Iteration" not in err
    assert [line.split(" loss")[0] for line in out.splitlines() if "Iteration" in line] == [
        f"(Iteration {t} / 6)" for t in range(1, 7)]


# The best parameters.

@pytest.mark.parametrize(("right", "best", "step"), [
    ([3, 5, 9, 2, 9], 0.9, 3),  # the first of two equals
    ([4, 1, 1, 1, 1], 0.4, 1),
    ([0, 0, 0, 0, 0], 0.0, 1),
    ([0, 0, 0, 0, 1], 0.1, 5),
], ids=str)
def test_best_parameters_are_put_back(right, best, step):
    # One iteration an epoch; the first check comes with the end of the first epoch.
    model = Scripted(right)
    solver = Solver(model, scripted_data(), optim_config={"learning_rate": 1.0}, batch_size=4, num_epochs=5,
                    verbose=False)
    solver.train()
    assert solver.best_val_acc == best
    assert solver.best_params["step"].tolist() == model.params["step"].tolist() == [step]
    assert not np.shares_memory(solver.best_params["step"], model.params["step"])


def test_losses_of_nan_leave_parameters():
    model = Scripted([0] * 3, losses=[np.nan])
    solver = Solver(model, scripted_data(), optim_config={"learning_rate": 1.0}, num_epochs=3, verbose=False,
                    on_divergence="ignore")
    solver.train()
    assert np.isnan(solver.loss_history).all()
    assert solver.best_params["step"].tolist() == [1.0]


def test_no_epochs():
    model = net_of(normalization="batchnorm")
    solver = Solver(model, data_of(), num_epochs=0, verbose=False)
    assert frozen(solver.best_params) == frozen(model.params)
    model.params["b1"] = model.params["b1"] + 1
    before = frozen(model.params)
    solver.train()
    assert frozen(model.params) == frozen(solver.best_params) == before
    assert solver.loss_history == solver.val_acc_history == []


def test_running_statistics_are_put_back(backend):
    """The network scores after training as it did at its best check."""
    data = data_of()
    model = net_of(normalization="batchnorm")
    seen = []

    class SecondIsBest(Solver):
        def check_accuracy(self, X, y, **options):
            if X is self.X_val:
                seen.append((self.model.loss(X), self.model.bn_params[0]["running_mean"].copy()))
                return [0.2, 0.9, 0.3, 0.9][len(seen) - 1]
            return super().check_accuracy(X, y, **options)

    solver = SecondIsBest(model, data, batch_size=10, num_epochs=3, verbose=False)
    solver.train()
    scores, mean = seen[1]
    assert solver.best_val_acc == 0.9
    assert not np.array_equal(mean, seen[-1][1]) and not np.array_equal(scores, seen[-1][0])
    np.testing.assert_array_equal(model.bn_params[0]["running_mean"], mean)
    np.testing.assert_array_equal(model.loss(data["X_val"]), scores)
    assert set(solver.best_bn_params[0]) == {"running_mean", "running_var"}
    assert not np.shares_memory(solver.best_bn_params[0]["running_mean"], model.bn_params[0]["running_mean"])


# Models and data of other kinds.

@pytest.mark.parametrize("extra", [{}, {"bn_params": None}, {"bn_params": []}, {"dtype": "words"}], ids=str)
def test_model_of_the_users_own(extra):
    """Only params and loss: a table of scores looked up by an integer."""
    class Table:
        def __init__(self):
            self.params = {"scores": np.zeros((5, 3))}
            vars(self).update(extra)

        def loss(self, X, y=None):
            assert X.dtype == np.int64
            scores = self.params["scores"][X]
            if y is None:
                return scores
            dscores = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            loss = -np.log(dscores[np.arange(len(y)), y]).mean()
            dscores[np.arange(len(y)), y] -= 1
            grad = np.zeros((5, 3))
            np.add.at(grad, X, dscores / len(y))
            return loss, {"scores": grad}

    X = np.arange(40, dtype=np.int64) % 5
    data = {"X_train": X, "y_train": X % 3, "X_val": X[:5], "y_val": X[:5] % 3}
    model = Table()
    own = model.params
    solver = Solver(model, data, optim_config={"learning_rate": 1.0}, num_epochs=20, verbose=False)
    solver.train()
    assert solver.best_val_acc == 1.0
    assert model.params is own, "the user's dict stays, its entries are replaced"


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64", "fortran", "list", "images"])
def test_kinds_of_data(backend, kind):
    data = data_of()
    if kind == "uint8":
        data["X_train"] = (data["X_train"] * 20 + 100).astype(np.uint8)
    elif kind == "fortran":
        data["X_train"] = np.asfortranarray(data["X_train"])
    elif kind == "images":
        data["X_train"] = data["X_train"].reshape(30, 2, 2, 2)
    elif kind != "list":
        data["X_train"] = data["X_train"].astype(kind)
    expected_model, model = net_of(), net_of()
    np.random.seed(4)
    expected = plain_training(expected_model, data, "sgd", {}, 6, 2, 1.0, 1000, None)[0]
    if kind == "list":
        data = {key: value.tolist() for key, value in data.items()}
    before = frozen(data)
    np.random.seed(4)
    solver = Solver(model, data, batch_size=6, num_epochs=2, verbose=False)
    solver.train()
    assert solver.loss_history == expected
    assert frozen(data) == before


def test_batch_comes_in_the_models_dtype(backend):
    seen = set()

    class Watching(FullyConnectedNet):
        def loss(self, X, y=None):
            if y is not None:
                seen.add(X.dtype)
            return super().loss(X, y)

    model = Watching([5], input_dim=8, num_classes=4)
    Solver(model, data_of(), num_epochs=1, verbose=False).train()
    assert seen == {np.dtype(np.float32)}


def test_fewer_samples_than_a_batch():
    solver = Solver(net_of(), data_of(n=5), batch_size=100, num_epochs=3, verbose=False)
    solver.train()
    assert len(solver.loss_history) == 3 and len(solver.val_acc_history) == 3


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_check_accuracy(batch_size):
    data = data_of()
    model = net_of()
    solver = Solver(model, data, verbose=False)
    expected = np.mean(model.loss(data["X_val"]).argmax(axis=1) == data["y_val"])
    state = np.random.get_state()[1:3]
    for samples in (None, 11, 50):
        accuracy = solver.check_accuracy(data["X_val"], data["y_val"], samples, batch_size)
        assert accuracy == expected
    assert frozen(np.random.get_state()[1:3]) == frozen(state), "a draw that was not needed"


def test_learns():
    rng = np.random.default_rng(2)
    y = np.arange(200) % 4
    X = rng.standard_normal((200, 8)) + 4 * np.eye(4, 8)[y]
    model = TwoLayerNet(8, 20, 4, weight_scale=0.1)
    solver = Solver(model, {"X_train": X[:150], "y_train": y[:150], "X_val": X[150:], "y_val": y[150:]},
                    optim_config={"learning_rate": 0.1}, batch_size=30, num_epochs=10, verbose=False)
    solver.train()
    assert solver.best_val_acc > 0.9


def test_configurations_are_separate():
    given = {"learning_rate": 0.1, "momentum": 0.5}
    one = Solver(net_of(), data_of(), update_rule="sgd_momentum", optim_config=given, verbose=False)
    one.train()
    other = Solver(net_of(), data_of(), num_epochs=1, verbose=False)
    assert given == {"learning_rate": 0.1, "momentum": 0.5}
    assert other.optim_config == {} and all(c == {} for c in other.optim_configs.values())
    configs = list(one.optim_configs.values())
    assert len({id(c) for c in configs}) == len(configs) == len(one.model.params)
    assert all(c["velocity"].shape == one.model.params[k].shape for k, c in one.optim_configs.items())


# Checkpoints.

def test_checkpoints(tmp_path, capsys):
    name = str(tmp_path / "run")
    solver = Solver(net_of(), data_of(), batch_size=10, num_epochs=2, checkpoint_name=name)
    solver.train()
    assert sorted(os.listdir(tmp_path)) == ["run_epoch_0.npz", "run_epoch_1.npz", "run_epoch_2.npz"]
    again = Solver.resume(tmp_path / "run_epoch_2.npz", net_of(), data_of(), checkpoint_name=None)
    assert again.epoch == 2 and again.loss_history == solver.loss_history
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(")")[0] for line in lines if not line.startswith("(Iteration")] == [
        f'Saving checkpoint to "{name}_epoch_0.npz"', "(Epoch 0 / 2",
        f'Saving checkpoint to "{name}_epoch_1.npz"', "(Epoch 1 / 2",
        f'Saving checkpoint to "{name}_epoch_2.npz"', "(Epoch 2 / 2"]


def test_interrupted_checkpoint_keeps_the_former_one(tmp_path, monkeypatch):
    name = str(tmp_path / "run")
    path = tmp_path / "run_epoch_0.npz"
    path.write_bytes(b"former")

    def broken(*args):
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(archive, "_directory", broken)
    solver = Solver(net_of(), data_of(), num_epochs=1, batch_size=10, checkpoint_name=name, verbose=False)
    with pytest.raises(OSError, match="disk full.*run_epoch_0.npz"):
        solver.train()
    assert os.listdir(tmp_path) == ["run_epoch_0.npz"]
    assert path.read_bytes() == b"former"


def test_unrecognized_arguments():
    with pytest.raises(ValueError, match="^Unrecognized arguments .*learning_rat.*epochs"):
        Solver(net_of(), data_of(), learning_rat=1, epochs=3)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"update_rule": "lion"}, "'lion', expected one of adagrad, adam, adamw, nesterov, rmsprop, sgd, sgd_momentum"),
    ({"update_rule": "np"}, "update_rule is 'np'"),
    ({"batch_size": 0}, "batch_size is 0"),
    ({"batch_size": 2.0}, "batch_size is 2.0"),
    ({"batch_size": True}, "batch_size is True"),
    ({"num_epochs": -1}, "num_epochs is -1"),
    ({"num_epochs": 1.5}, "num_epochs is 1.5"),
    ({"num_train_samples": 0}, "num_train_samples is 0"),
    ({"num_val_samples": -2}, "num_val_samples is -2"),
    ({"print_every": 0}, "print_every is 0"),
    ({"lr_decay": np.nan}, "lr_decay is nan"),
])
def test_errors_of_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"Solver: .*{message}"):
        Solver(net_of(), data_of(), **arguments)


def test_errors_of_data():
    data = data_of()
    with pytest.raises(ValueError, match="data has no y_train, X_val"):
        Solver(net_of(), {"X_train": data["X_train"], "y_val": data["y_val"]})
    with pytest.raises(ValueError, match=r"X_train has shape \(29, 8\) and y_train \(30,\)"):
        Solver(net_of(), {**data, "X_train": data["X_train"][1:]})
    with pytest.raises(ValueError, match=r"X_val has shape \(11, 8\) and y_val \(11, 1\)"):
        Solver(net_of(), {**data, "y_val": data["y_val"][:, None]})
    with pytest.raises(ValueError, match="X_val has shape .*at least one"):
        Solver(net_of(), {**data, "X_val": data["X_val"][:0], "y_val": data["y_val"][:0]})
    with pytest.raises(TypeError, match="optim_config is a float"):
        Solver(net_of(), data, optim_config=0.1)
    with pytest.raises(TypeError, match="lr_decay is '0.9'"):
        Solver(net_of(), data, lr_decay="0.9")


def test_errors_of_check_accuracy():
    data = data_of()
    solver = Solver(net_of(), data)
    with pytest.raises(ValueError, match=r"check_accuracy: X has shape \(11, 8\) and y \(30,\)"):
        solver.check_accuracy(data["X_val"], data["y_train"])
    with pytest.raises(ValueError, match="N > 0 samples"):
        solver.check_accuracy(data["X_val"][:0], data["y_val"][:0])
    with pytest.raises(ValueError, match="num_samples is 0"):
        solver.check_accuracy(data["X_val"], data["y_val"], num_samples=0)


@pytest.mark.parametrize(("bad", "sound"), [(1, True), (2, False)])
def test_samples_whose_scores_are_numbers_are_counted(bad, sound):
    scores = np.array([[1.0, 2.0, 0.0], [0.0, np.nan, 1.0], [np.inf, 1.0, 0.0]])
    scores[:3 - bad] = 1
    found = ValidationLoss(None, True, False)
    with np.errstate(all="ignore"):
        found.add(np.zeros((3, 1)), scores, np.array([0, 1, 1]))
        assert found.sound == sound
