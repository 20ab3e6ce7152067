"""The private parts of scikit-learn's multi-layer perceptron that the drop-in classes rely on.

They are looked at once, when the classes are first imported. What they do was compared in the versions 1.4 to 1.9.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from sklearn.utils import validation

_base: Any = None
_mlp: Any = None
_stochastic_optimizers: Any = None
_missing: str | None = None
try:
    _base, _mlp, _stochastic_optimizers = (importlib.import_module(f"sklearn.neural_network.{name}") for name in (
        "_base", "_multilayer_perceptron", "_stochastic_optimizers"))
except ImportError as error:
    _missing = str(error)

_GRADIENTS = "activations deltas coef_grads intercept_grads"
# The names of the arguments; two versions where 1.7 brought sample weights.
_METHODS: dict[str, tuple[str, ...]] = {
    "_fit_stochastic": (f"self X y sample_weight {_GRADIENTS} layer_units incremental",
                        f"self X y {_GRADIENTS} layer_units incremental"),
    "_update_no_improvement_count": ("self early_stopping X y sample_weight", "self early_stopping X_val y_val"),
    "_backprop": (f"self X y sample_weight {_GRADIENTS}", f"self X y {_GRADIENTS}"),
    "_compute_loss_grad": (f"self layer sw_sum {_GRADIENTS}", f"self layer n_samples {_GRADIENTS}"),
    "_fit_lbfgs": (f"self X y sample_weight {_GRADIENTS} layer_units", f"self X y {_GRADIENTS} layer_units"),
    "_forward_pass": ("self activations",) * 2,
    "_forward_pass_fast": ("self X check_input",) * 2,
}
_OPTIMIZER = {
    "update_params": "self params grads", "iteration_ends": "self time_step", "trigger_stopping": "self msg verbose",
    "_get_updates": "self grads",
}
_STATE = {
    "AdamOptimizer": {"learning_rate_init", "learning_rate", "beta_1", "beta_2", "epsilon", "t", "ms", "vs"},
    "SGDOptimizer": {"learning_rate_init", "learning_rate", "lr_schedule", "momentum", "nesterov", "power_t",
                     "velocities"},
}
# What the kernel does in the place of these functions is what they do, not what somebody has put there instead.
_FUNCTIONS = {
    "ACTIVATIONS": {name: f"inplace_{name}" for name in ("identity", "tanh", "logistic", "relu", "softmax")},
    "DERIVATIVES": {name: f"inplace_{name}_derivative" for name in ("identity", "tanh", "logistic", "relu")},
    "LOSS_FUNCTIONS": {"squared_error": "squared_loss", "log_loss": "log_loss", "binary_log_loss": "binary_log_loss"},
}

if hasattr(_base, "poisson_loss"):  # since 1.7
    _FUNCTIONS["ACTIVATIONS"]["exp"] = "inplace_exp"
    _FUNCTIONS["LOSS_FUNCTIONS"]["poisson"] = "poisson_loss"

_KERNELS_PARTS = ("_backprop", "_compute_loss_grad", "_forward_pass")


def weighted() -> bool:
    """Whether this version has sample weights."""
    return "sample_weight" in (_arguments(_mlp.BaseMultilayerPerceptron, "_fit_stochastic") or "")


def _arguments(owner: Any, name: str) -> str | None:
    found = getattr(owner, name, None)
    return None if found is None else " ".join(inspect.signature(found).parameters)


def _unlike(owner: Any, name: str, expected: str) -> str | None:
    found = _arguments(owner, name)
    if found == expected:
        return None
    return f"{owner.__name__}.{name} " + ("is missing" if found is None else f"takes ({found.replace(' ', ', ')})")


def difference() -> str | None:
    """The first part that is not as in the versions that were compared, in words; None if all are."""
    if _missing is not None:
        return _missing
    perceptron = getattr(_mlp, "BaseMultilayerPerceptron", None)
    if perceptron is None:
        return "BaseMultilayerPerceptron is missing"
    for name, known in _METHODS.items():
        if unlike := _unlike(perceptron, name, known[0 if weighted() else 1]):
            return unlike
    for name, state in _STATE.items():
        optimizer = getattr(_mlp, name, None)
        if not callable(optimizer) or not hasattr(_stochastic_optimizers, name):
            return f"{name} is missing"
        for method, known_arguments in _OPTIMIZER.items():
            if unlike := _unlike(optimizer, method, known_arguments):
                return unlike
        if vars(optimizer([])).keys() != state:
            return f"{name} has the attributes {', '.join(sorted(vars(optimizer([]))))}"
    for table, functions in _FUNCTIONS.items():
        for function in functions.values():
            if not hasattr(_base, function) or not hasattr(_mlp, table):
                return f"{function} or {table} is missing"
    if not hasattr(validation, "validate_data") and not hasattr(perceptron, "_validate_data"):
        return "validate_data is missing"
    return None


def validated(estimator: Any, X: Any) -> Any:
    """The samples of a prediction, checked as scikit-learn checks them."""
    if hasattr(validation, "validate_data"):
        return validation.validate_data(estimator, X, accept_sparse=["csr", "csc"], reset=False)
    return estimator._validate_data(X, accept_sparse=["csr", "csc"], reset=False)


def replaced(estimator: Any, training: bool) -> str | None:
    """What somebody has replaced of the parts whose work the kernel does: in a subclass, in the estimator or in
    scikit-learn's tables of functions."""
    for name in _KERNELS_PARTS if training else ():
        method = getattr(estimator, name)
        if getattr(method, "__func__", None) is not getattr(_mlp.BaseMultilayerPerceptron, name):
            return f"own {name}"
    for table, functions in _FUNCTIONS.items():
        if training or table == "ACTIVATIONS":
            held = getattr(_mlp, table)
            for name, function in functions.items():
                if held.get(name) is not getattr(_base, function):
                    return f"own {table}[{name!r}]"
    return None
