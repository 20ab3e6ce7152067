"""A training step happens as a whole or not at all, whatever is raised in it and wherever."""

import contextlib
import ctypes
import signal
import sys
import threading

import numpy as np
import pytest
from adversarial import frozen
from stepping import RULES

from daseCV_c import optim
from daseCV_c.classifiers.cnn import ThreeLayerConvNet
from daseCV_c.classifiers.fc_net import FullyConnectedNet, TwoLayerNet
from daseCV_c.solver import Solver

SHAPE = (2, 6, 6)


class Own:
    """A user's model: a batch norm, and a product with a bias."""

    def __init__(self):
        from daseCV_c import layers

        self.layers, self.bn = layers, [{"mode": "train"}]
        self.params = {"gamma": np.ones(72), "beta": np.zeros(72), "W": np.random.randn(72, 4), "b": np.zeros(4)}

    def loss(self, X, y=None):
        p, layers = self.params, self.layers
        out, normed = layers.batchnorm_forward(X.reshape(len(X), -1), p["gamma"], p["beta"], self.bn[0])
        scores, product = layers.affine_forward(out, p["W"], p["b"])
        if y is None:
            return scores
        loss, dout = layers.softmax_loss(scores, y)
        dout, dW, db = layers.affine_backward(dout, product)
        _, dgamma, dbeta = layers.batchnorm_backward(dout, normed)
        return loss, {"gamma": dgamma, "beta": dbeta, "W": dW, "b": db}


class Derived(FullyConnectedNet):
    def loss(self, X, y=None):
        return super().loss(X, y)


def _full(kind=FullyConnectedNet, **more):
    return kind([7, 5], 72, 4, weight_scale=0.3, dtype=np.float64, **more)


MODELS = {
    "two layers": lambda: TwoLayerNet(72, 7, 4, weight_scale=0.3, reg=0.1),
    "plain": lambda: _full(reg=0.1),
    "batchnorm": lambda: _full(normalization="batchnorm", dropout=0.7),
    "layernorm": lambda: _full(normalization="layernorm", dropout=0.7, seed=3),
    "conv": lambda: ThreeLayerConvNet(SHAPE, 3, 3, 7, 4, weight_scale=0.3, reg=0.1, dtype=np.float64),
    "derived": lambda: _full(Derived, normalization="batchnorm", dropout=0.7),
    "own": Own,
}
MODELS["batchnorm, clipped"] = MODELS["batchnorm"]


def data_of():
    X, y = np.random.default_rng(5).standard_normal((30, *SHAPE)), np.arange(30) % 4
    return {"X_train": X, "y_train": y, "X_val": X[:9], "y_val": y[:9]}


def solver_of(model="plain", rule="adam", steps=0):
    np.random.seed(3)
    clip = 0.1 if "clipped" in model else None
    solver = Solver(MODELS[model](), data_of(), update_rule=rule, batch_size=10, verbose=False, clip_norm=clip)
    for _ in range(steps):
        solver._step()
    return solver


def state(solver):
    model = solver.model
    entries = [getattr(model, name, None) for name in ("params", "bn_params", "bn", "dropout_param")]
    return frozen([entries, solver.optim_configs, solver.loss_history, solver.epoch])


class Chances:
    """Solvers in one and the same state, and what a step makes of it."""

    def __init__(self, model, rule, steps):
        self.kind = model, rule, steps
        self.before = state(self.another())
        done = self.another()
        done._step()
        self.after = state(done)
        assert self.before != self.after

    def another(self):
        solver = solver_of(*self.kind)
        self.random = np.random.get_state()
        return solver

    def check(self, solver, raised):
        """Whole or not at all, and the Solver goes on as if nothing had been. True: whole."""
        now = state(solver)
        assert now in ((self.before, self.after) if raised else (self.after,)), "a torn step"
        if now == self.before:
            np.random.set_state(self.random)
            solver._step()
            assert state(solver) == self.after
        return now == self.after


class Failing:
    """np.<name> that fails at the call number `at`, counted over all that share `calls`."""

    def __init__(self, real, calls, at):
        self.real, self.calls, self.at = real, calls, at

    def __call__(self, *args, **kwargs):
        self.calls.append(1)
        if len(self.calls) == self.at:
            raise MemoryError("no room")
        return self.real(*args, **kwargs)


# The arrays of a rule come on top of those of a model: each model with one rule, and each rule in each kind of step.
@pytest.mark.parametrize(("model", "rule", "steps"), [
    *((model, "adam", steps) for model in MODELS for steps in (1, 0)),
    *((model, rule, 1) for model in ("batchnorm, clipped", "conv", "own") for rule in RULES if rule != "adam"),
])
def test_memory_that_runs_out(monkeypatch, backend, model, rule, steps):
    """Every array that a step makes may be the one that there is no room for."""
    chances, failed, raised = Chances(model, rule, steps), 0, True
    while raised:
        solver, calls, raised = chances.another(), [], False
        with monkeypatch.context() as patch:
            for name in ("empty", "zeros", "empty_like", "zeros_like", "square", "asarray"):
                patch.setattr(np, name, Failing(getattr(np, name), calls, failed + 1))
            try:
                solver._step()
            except MemoryError:
                raised = True
        chances.check(solver, raised)
        failed += raised
    assert len(calls) == failed


class Interrupted(BaseException):
    pass


@contextlib.contextmanager
def each_instruction(passes):
    """Call `passes(code)` at each instruction of the interpreter's way; False: at no further one of this place."""
    if sys.version_info >= (3, 12):  # where settrace sees no instruction of a function that is entered the first time
        monitoring = sys.monitoring
        monitoring.use_tool_id(monitoring.DEBUGGER_ID, "whole steps")
        monitoring.register_callback(monitoring.DEBUGGER_ID, monitoring.events.INSTRUCTION,
                                     lambda code, offset: passes(code) or monitoring.DISABLE)
        monitoring.restart_events()
        monitoring.set_events(monitoring.DEBUGGER_ID, monitoring.events.INSTRUCTION)
        try:
            yield
        finally:
            monitoring.set_events(monitoring.DEBUGGER_ID, 0)
            monitoring.register_callback(monitoring.DEBUGGER_ID, monitoring.events.INSTRUCTION, None)
            monitoring.free_tool_id(monitoring.DEBUGGER_ID)
        return

    def trace(frame, event, arg):
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return trace if event != "opcode" or passes(frame.f_code) else None

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(former)


def interrupted(solver, at):
    """A step with an exception at one place of the interpreter's way through the package; how many it passed."""
    passed = 0

    def passes(code):
        nonlocal passed
        if "daseCV_c" not in code.co_filename or code.co_filename.endswith("quota.py"):
            return False  # quota.py is read once a second, wherever the step is then
        if passed != at:  # after it, it is the cleaning up that passes
            passed += 1
            if passed == at:
                raise Interrupted
        return True

    with contextlib.suppress(Interrupted), each_instruction(passes):
        solver._step()
    return passed


@pytest.mark.parametrize("model", MODELS)
def test_an_exception_from_anywhere(backend, model):
    chances, ends = Chances(model, "adam", 1), set()
    places = interrupted(chances.another(), None)
    # Most of the way is arithmetic: places here and there, and every one of the last.
    for at in (*range(1, places, 1 + places // 60), *range(places - 40, places)):
        solver = chances.another()
        assert interrupted(solver, at) == at
        ends.add(chances.check(solver, True))
    assert ends == {False, True}


def stop(*args):
    raise Interrupted


def by_signal(delay):
    """Ctrl-C and its like: a handler that raises, after so many seconds."""
    signal.setitimer(signal.ITIMER_REAL, delay)


def by_another_thread(delay):
    """What a notebook or a watchdog uses to stop a thread: an exception set from outside."""
    set_exception = ctypes.pythonapi.PyThreadState_SetAsyncExc
    target = ctypes.c_ulong(threading.get_ident())
    threading.Timer(delay, set_exception, (target, ctypes.py_object(Interrupted))).start()


@pytest.mark.parametrize("interrupt", [by_signal, by_another_thread])
@pytest.mark.parametrize("model", MODELS)
def test_signals_and_other_threads(backend, model, interrupt, monkeypatch):
    """Whenever it comes: the losses of an undisturbed training, and parameters that belong to them."""
    expected, lost, limit = {}, [], signal.getitimer(signal.ITIMER_REAL)  # of pytest-timeout, which has the one timer
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: lost.append(unraisable.exc_type))
    former = signal.signal(signal.SIGALRM, stop)
    try:
        for k in range(12):
            solver = solver_of(model)
            lost.clear()
            try:
                interrupt(0.001 + 0.00037 * k)
                # Python loses what is raised in a destructor. The number ends what would hang; it comes long before.
                while not lost and len(solver.loss_history) < 1_000_000:
                    solver._step()
            except Interrupted:
                pass
            done, now = len(solver.loss_history), state(solver)
            if done not in expected:
                expected[done] = state(solver_of(model, steps=done))
            assert now == expected[done], "a torn step"
    finally:
        signal.signal(signal.SIGALRM, former)
        signal.setitimer(signal.ITIMER_REAL, *limit)


def in_place(w, dw, config=None):
    """A user's rule: everything is changed where it lies."""
    config.setdefault("speed", np.zeros_like(w))
    config["speed"] *= 0.5
    config["speed"] -= config["learning_rate"] * dw
    w += config["speed"]
    return w, config


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("kind", ["bad setting", "lost gradient", "in place"])
@pytest.mark.parametrize("model", MODELS)
def test_what_is_wrong_with_the_last_parameter(monkeypatch, backend, model, kind, steps):
    """It is found when the others were updated already."""
    if kind == "in place":
        monkeypatch.setattr(optim, "adam", in_place)
    solver = solver_of(model, "adam")
    for config in solver.optim_configs.values():
        config["learning_rate"] = 1e-2
    for _ in range(steps):
        solver._step()
    last, loss = list(solver.model.params)[-1], solver.model.loss
    if kind == "lost gradient":
        def forgetful(X, y):
            found, grads = loss(X, y)
            del grads[last]
            return found, grads

        solver.model.loss = forgetful
    else:
        solver.optim_configs[last]["learning_rate"] = "fast"
    before = state(solver)
    with pytest.raises((ValueError, TypeError)):
        solver._step()
    assert state(solver) == before
    assert len(solver.loss_history) == steps


class Text(str):
    """Text that no longer compares once the step has begun."""

    asked = False

    def __eq__(self, other):
        if Text.asked:
            raise Interrupted
        return str.__eq__(self, other)

    __hash__ = str.__hash__


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("model", MODELS)
def test_a_rules_name_of_another_kind(monkeypatch, backend, model, rule):
    chances, solver = Chances(model, rule, 1), None
    solver = solver_of(model, Text(rule), 1)
    monkeypatch.setattr(Text, "asked", True)
    solver._step()
    assert state(solver) == chances.after


class Settings(dict):
    """A dict of a user's own, which counts what is put in."""

    def __setitem__(self, key, value):
        super().__setitem__(key, value)


@pytest.mark.parametrize("place", ["params", "optim_configs", "one configuration"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("model", ["batchnorm", "conv"])
def test_a_dict_of_ones_own(backend, model, rule, place):
    def another():
        solver = solver_of(model, rule, 1)
        if place == "params":
            solver.model.params = Settings(solver.model.params)
        elif place == "optim_configs":
            solver.optim_configs = Settings(solver.optim_configs)
        else:
            name = list(solver.model.params)[-1]
            solver.optim_configs[name] = Settings(solver.optim_configs[name])
        return solver

    done, before = another(), state(another())
    places, ends = interrupted(done, None), set()
    after = state(done)
    for at in (*range(places - 300, places, 13), places - 1):
        solver = another()
        interrupted(solver, at)
        assert state(solver) in (before, after), "a torn step"
        ends.add(state(solver) == after)
    assert ends == {False, True}
