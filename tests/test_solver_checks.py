"""What Solver is given is looked at before training, and what is wrong with it is said in its own words."""

import warnings

import numpy as np
import pytest
from adversarial import frozen

from daseCV_c import optim
from daseCV_c._training import checks
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.layers import softmax_loss
from daseCV_c.solver import Solver

pytestmark = pytest.mark.once


def data_of(n=30, d=4, classes=3):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((n, d)), np.arange(n) % classes
    return {"X_train": X, "y_train": y, "X_val": X.copy(), "y_val": y.copy()}


def solver_of(model=None, data=None, **more):
    more = {"batch_size": 10, "num_epochs": 2, "verbose": False, **more}
    return Solver(TwoLayerNet(4, 5, 3) if model is None else model, data_of() if data is None else data, **more)


# Labels.

LABELS = {
    "text": (lambda y: np.array(list("abc"))[y], TypeError, r"'a'.* \(dtype <U1\), expected integers from 0 to 2"),
    "from 1": (lambda y: y + 1, ValueError, "holds 3, expected integers from 0 to 2, the classes of .*: 10 of 30"),
    "one below": (lambda y: y - (np.arange(30) == 6), ValueError, "holds -1.*1 of 30"),
    "halves": (lambda y: y + 0.5, ValueError, "holds 0.5, expected integers from 0 to 2.*30 of 30"),
    "NaN": (lambda y: np.where(np.arange(30) == 3, np.nan, y), ValueError, "holds nan.*1 of 30"),
    "unsigned": (lambda y: (y - 1).astype(np.uint8), ValueError, "holds 255"),
    "objects": (lambda y: np.array(["a", 1, None] * 10, object), TypeError, "expected integers"),
    "dates": (lambda y: y.astype("M8[D]"), TypeError, "expected integers"),
}


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("kind", LABELS)
def test_labels_that_match_no_class(kind, split):
    change, error, message = LABELS[kind]
    data, (two, full) = data_of(), (TwoLayerNet(4, 5, 3), FullyConnectedNet([5], 4, 3, normalization="batchnorm"))
    data[f"y_{split}"] = change(data[f"y_{split}"])
    for model in (two, full):
        before, state = frozen(model.params), frozen(np.random.get_state())
        with pytest.raises(error, match=f"Solver: y_{split} holds .*{message.removeprefix('holds ')}"):
            solver_of(model, data).train()
        assert frozen(model.params) == before and frozen(np.random.get_state()) == state


@pytest.mark.parametrize("change", [
    lambda y: y.astype(np.uint8), lambda y: y.astype(">i2"), lambda y: y.astype(float), lambda y: y.astype(object),
    lambda y: y == 1, lambda y: list(y),
], ids=["uint8", "swapped", "float", "object", "bool", "list"])
def test_labels_of_validation_that_match(change):
    data = data_of()
    expected = solver_of(model := TwoLayerNet(4, 5, 3, seed=1), data)
    data["y_val"] = change(data["y_val"] % 2 if change(np.zeros(1, int)) is False else data["y_val"])
    np.random.seed(0)
    found = solver_of(TwoLayerNet(4, 5, 3, seed=1), data)
    found.train()
    assert model is expected.model and len(found.val_acc_history) == 3


def test_labels_of_the_cnn():
    data = data_of(d=2 * 4 * 4)
    data = {key: value.reshape(-1, 2, 4, 4) if key.startswith("X") else value for key, value in data.items()}
    data["y_val"] = data["y_val"] + 1
    with pytest.raises(ValueError, match="y_val holds 3, expected integers from 0 to 2"):
        solver_of(ThreeLayerConvNet((2, 4, 4), 2, 3, 5, 3), data).train()


class Model:
    """Linear, with a mistake."""

    def __init__(self, mistake=None):
        self.params, self.mistake = {"W": np.zeros((4, 3)), "b": np.zeros(3)}, mistake

    def loss(self, X, y=None):
        scores = X @ self.params["W"] + self.params["b"]
        if y is None:
            return {"classes": lambda: scores.argmax(1), "one score": lambda: scores[0],
                    "scores turned": lambda: scores.T, "nothing": lambda: None}.get(self.mistake, lambda: scores)()
        loss, dscores = softmax_loss(scores, np.asarray(y, int))
        grads = {"W": X.T @ dscores, "b": dscores.sum(0)}
        return {
            "only the loss": lambda: loss, "three values": lambda: (loss, grads, scores), "None": lambda: None,
            "no dict": lambda: (loss, list(grads.values())), "no grads": lambda: (loss, {}),
            "one gradient": lambda: (loss, {"W": grads["W"]}), "of None": lambda: (loss, grads | {"b": None}),
            "another shape": lambda: (loss, grads | {"W": grads["W"].T}), "losses": lambda: (dscores, grads),
            "text": lambda: ("1", grads), "grads first": lambda: (grads, loss),
        }.get(self.mistake, lambda: (loss, grads))()


def test_a_model_of_ones_own_may_read_its_labels_itself():
    """What it makes of them is not known: only that its predictions are numbers."""
    data = data_of()
    data["y_train"] = data["y_train"].astype(str)
    data["y_val"] = data["y_val"] + 10
    solver_of(Model(), data).train()
    data = data_of()
    data["y_val"] = data["y_val"].astype(str)
    with pytest.raises(TypeError, match="y_val holds .*'0'.*expected numbers"):
        solver_of(Model(), data).train()


# Models of one's own.

@pytest.mark.parametrize(("mistake", "message"), [
    ("only the loss", r"returned a float\w*, expected \(loss, grads\)"),
    ("three values", r"returned 3 values, expected \(loss, grads\)"),
    ("None", "returned a NoneType, expected"),
    ("no dict", "returned a list as the gradients, expected a dict"),
    ("no grads", "returned no gradient of 'W', only of nothing"),
    ("one gradient", "returned no gradient of 'b', only of 'W'"),
    ("of None", r"returned a gradient of 'b' that is None, expected shape \(3,\)"),
    ("another shape", r"returned a gradient of 'W' that is of shape \(3, 4\), expected shape \(4, 3\)"),
    ("losses", r"returned an array of shape \(10, 3\) as the loss, expected a number"),
    ("text", "returned '1' as the loss, expected a number"),
    ("grads first", "returned a float\\w* as the gradients|returned .* as the loss"),
])
def test_mistakes_of_a_loss(mistake, message):
    model = Model(mistake)
    solver = solver_of(model, update_rule="adam")
    before = frozen([model.params, solver.optim_configs])
    with pytest.raises((TypeError, ValueError), match=rf"Solver: Model.loss\(X, y\) ({message})"):
        solver.train()
    assert frozen([model.params, solver.optim_configs]) == before and solver.loss_history == []


@pytest.mark.parametrize(("mistake", "message"), [
    ("classes", r"of shape \(30,\) for 30 samples, expected the scores .*leave the argmax"),
    ("one score", r"of shape \(3,\) for 30 samples, expected the scores of shape \(N, C\) = \(30, "),
    ("scores turned", r"of shape \(3, 30\)"),
    ("nothing", r"of shape \(\)"),
])
def test_mistakes_of_the_scores(mistake, message):
    with pytest.raises(ValueError, match=rf"Solver: Model.loss\(X\) returned an array {message}"):
        solver_of(Model(mistake)).train()


def test_a_parameter_that_is_one_number():
    model = Model("scalar")
    model.params["s"] = np.array(1.0)
    for gradient in (None, np.zeros(1)):
        with pytest.raises(ValueError, match="a gradient of 's' that is"):
            checks.loss_and_grads(model, (0.0, {**model.params, "s": gradient}))
    checks.loss_and_grads(model, (np.float32(0), {**model.params, "s": 0.0}))


def test_a_model_that_is_none():
    class Bare:
        pass

    with pytest.raises(TypeError, match="Solver: the model is a Bare that has no params, expected a dict of arrays"):
        solver_of(Bare())
    bare = Bare()
    bare.params = [1]
    with pytest.raises(TypeError, match="has params of type list"):
        solver_of(bare)
    bare.params = {}
    with pytest.raises(TypeError, match="Solver: the model is a Bare without a loss"):
        solver_of(bare)


# Update rules and their settings.

@pytest.mark.parametrize(("key", "meant"), [
    ("lr", "learning_rate"), ("learning rate", "learning_rate"), ("learning_rat", "learning_rate"),
    ("LEARNING_RATE", "learning_rate"), ("rate", "learning_rate"), ("beta_1", "beta1"), ("eps", "epsilon"),
    ("momentum", None), (3, None), ("", None),
])
def test_a_key_that_no_rule_reads(key, meant):
    with pytest.raises(ValueError) as caught:
        solver_of(update_rule="adam", optim_config={key: 1.0})
    said = str(caught.value)
    assert said.startswith(f"Solver: optim_config holds {key!r}, which adam does not read")
    assert said.endswith("It reads learning_rate, beta1, beta2, epsilon")
    assert (f"did you mean {meant!r}?" in said) if meant else ("did you mean" not in said)


@pytest.mark.parametrize("rule", optim.__all__)
def test_settings_and_states_are_read(rule):
    config = {**optim.SETTINGS[rule], **{key: None for key in optim.STATES[rule]}}
    solver_of(update_rule=rule, optim_config=config | ({"t": 3} if "m" in config else {})).train()
    with pytest.raises(ValueError, match=f"'nesterow', which {rule} does not read"):
        solver_of(update_rule=rule, optim_config={"nesterow": True})


def signs(w, dw, config=None):
    config = config or {}
    config.setdefault("rate", 1e-2)
    return w - config["rate"] * np.sign(dw), config


def trained(rule, **more):
    np.random.seed(0)
    solver = solver_of(TwoLayerNet(4, 5, 3, weight_scale=0.1, seed=1), update_rule=rule, lr_decay=0.5, **more)
    solver.train()
    return solver


def test_a_rule_of_ones_own(monkeypatch):
    """A function, an object that can be called, or the name under which a notebook has put it into optim."""
    class Signs:
        __hash__ = None

        def __call__(self, w, dw, config=None):
            return signs(w, dw, config)

    monkeypatch.setattr(optim, "signs", signs, raising=False)
    solvers = [trained(rule, optim_config={"rate": 0.02, "note": "free"}) for rule in (signs, "signs", Signs())]
    assert solvers[0].update_rule is signs and solvers[1].update_rule == "signs"
    assert {frozen(s.model.params) for s in solvers} == {frozen(solvers[0].model.params)}
    assert frozen(solvers[0].loss_history) == frozen(solvers[2].loss_history)
    assert solvers[0].optim_configs["W1"] == {"rate": 0.02, "note": "free"}, "there is no learning_rate to decay"


def test_the_packages_own_rule_as_a_function():
    by_name, by_function = trained("adam"), trained(optim.adam)
    assert by_function.update_rule == "adam" and by_function._fusible()
    assert frozen(by_name.loss_history) == frozen(by_function.loss_history)
    with pytest.raises(ValueError, match="'lr', which adam"):
        solver_of(update_rule=optim.adam, optim_config={"lr": 1})


def test_what_is_put_in_the_place_of_a_rule(monkeypatch):
    monkeypatch.setattr(optim, "sgd", signs)
    solver = trained("sgd", optim_config={"rate": 0.02})
    assert not solver._fusible() and solver.optim_configs["W1"] == {"rate": 0.02}


@pytest.mark.parametrize("wrong", ["np", "reference", "SETTINGS", "Array", "ArrayLike", "_checked", "nothing", "",
                                   "os.system", None, 3, ["sgd"]])
def test_what_is_no_rule(wrong):
    with pytest.raises(ValueError, match="Solver: update_rule is .*expected one of adagrad, adam, "):
        solver_of(update_rule=wrong)


@pytest.mark.parametrize(("rule", "message"), [
    (lambda w, dw, config=None: w - dw, "returned a ndarray for 'W1', expected"),
    (lambda w, dw, config=None: (w - dw, None), "returned 2 values for 'W1', expected .* a dict"),
    (lambda w, dw, config=None: (w.T, config), r"returned an array of shape \(5, 4\) for 'W1', expected .*\(4, 5\)"),
])
def test_mistakes_of_a_rule(rule, message):
    solver = solver_of(update_rule=rule)
    before = frozen([solver.model.params, solver.optim_configs])
    with pytest.raises((TypeError, ValueError), match=f"Solver: the update rule <lambda> {message}"):
        solver.train()
    assert frozen([solver.model.params, solver.optim_configs]) == before


def test_the_nearest_key_of_none():
    assert checks._nearest("xyz", ["learning_rate"]) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.labels(np.array([0.0, np.inf, np.nan]), np.array([0.0]), None)


def test_more_samples_than_labels():
    data = data_of()
    with pytest.raises(ValueError, match="expected one label per sample"):
        solver_of(data=data | {"y_val": data["y_val"][1:]})


def test_a_checkpoint_every_less_than_no_seconds():
    with pytest.raises(ValueError, match="checkpoint_every is -0.5"):
        solver_of(checkpoint_every=-0.5)


def test_watching_for_divergence_is_left_off_where_it_is_ignored():
    data = data_of()
    data["X_train"][...] = np.inf
    with np.errstate(all="ignore"):
        solver = solver_of(data=data, on_divergence="ignore")
        solver.train()
    assert len(solver.loss_history) == solver.num_iterations and np.isnan(solver.loss_history[-1])
