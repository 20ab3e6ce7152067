"""Random training steps: the arguments of the entry train_step, and the same step made of the twins."""

from dataclasses import dataclass, field

import numpy as np
from adversarial import rng_of
from comparing import close

from daseCV_c import reference

STATE_KEYS = {"sgd": (), "sgd_momentum": ("velocity",), "nesterov": ("velocity",), "rmsprop": ("cache",),
              "adagrad": ("cache",), "adam": ("m", "v"), "adamw": ("m", "v")}
RULES = tuple(STATE_KEYS)  # the one list of rules that the tests go through
ADAPTIVE = ("rmsprop", "adagrad", "adam", "adamw")  # they divide by the root of squares, and have an epsilon
RATE, T = 1e-2, 3  # the learning rate, and the step that is taken


def settings_of(rule):
    """The rule's configuration before the step."""
    return {
        "sgd": {"learning_rate": RATE},
        "sgd_momentum": {"learning_rate": RATE, "momentum": 0.9},
        "nesterov": {"learning_rate": RATE, "momentum": 0.9},
        "rmsprop": {"learning_rate": RATE, "decay_rate": 0.99, "epsilon": 1e-8},
        "adagrad": {"learning_rate": RATE, "epsilon": 1e-8},
        "adam": {"learning_rate": RATE, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "t": T - 1},
        "adamw": {"learning_rate": RATE, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.1,
                  "t": T - 1},
    }[rule]


COUNTING = tuple(rule for rule in RULES if "t" in settings_of(rule))  # they keep the number of their steps


def numbers_of(rule):
    """The same as the entries take it: rate, keep1, keep2, eps, weight decay, number of the step."""
    return {
        None: None,
        "sgd": (RATE, 0.0, 0.0, 0.0, 0.0, 0),
        "sgd_momentum": (RATE, 0.9, 0.0, 0.0, 0.0, 0),
        "nesterov": (RATE, 0.9, 0.0, 0.0, 0.0, 0),
        "rmsprop": (RATE, 0.99, 0.0, 1e-8, 0.0, 0),
        "adagrad": (RATE, 0.0, 0.0, 1e-8, 0.0, 0),
        "adam": (RATE, 0.9, 0.999, 1e-8, 0.0, T),
        "adamw": (RATE, 0.9, 0.999, 1e-8, 0.1, T),
    }[rule]


@dataclass
class Step:
    """One step of a network whose widths are features, hidden layers, classes."""

    n: int
    widths: tuple
    dtype: type = np.float64
    norm: str | None = None
    keep: float | None = None
    reg: float = 0.0
    source: type = np.float64
    mean: bool = False
    index: bool = False
    rule: str | None = None
    eps: float = 1e-3
    arrays: dict = field(default_factory=dict, repr=False)

    def __post_init__(self):
        rng = rng_of(self.n, self.widths, self.norm, self.keep, self.source.__name__)
        features, classes, rows = self.widths[0], self.widths[-1], self.n + 3 if self.index else self.n
        if self.source is np.uint8:
            self.images = rng.integers(0, 256, (rows, features)).astype(np.uint8)
        else:
            self.images = rng.standard_normal((rows, features)).astype(self.source)
        # With repetitions: two rows are in the batch more than once, and some are not.
        self.rows = np.sort(rng.integers(0, rows, self.n))[::-1].copy() if self.index else None
        self.mean_d = rng.standard_normal(features) + (127 if self.source is np.uint8 else 0) if self.mean else None
        self.y = rng.integers(0, classes, self.n)
        p = self.params = {}
        for i, (d, m) in enumerate(zip(self.widths, self.widths[1:], strict=False), 1):
            size = (100.0 if i == 1 and self.source is np.uint8 else 1.0) * np.sqrt(d)
            p[f"W{i}"] = rng.standard_normal((d, m)) * 1.5 / size
            p[f"b{i}"] = 0.5 * rng.standard_normal(m)
            if self.norm and i < self.layers:
                p[f"gamma{i}"] = rng.uniform(0.5, 1.5, m)
                p[f"beta{i}"] = 0.5 * rng.standard_normal(m)
        for name, value in p.items():
            p[name] = value.astype(self.dtype)
        self.running = [[np.abs(rng.standard_normal(m)).astype(self.dtype) for _ in range(2)]
                        for m in self.widths[1:-1]]
        self.uniform = [rng.random((self.n, m)) for m in self.widths[1:-1]] if self.keep else []
        self.states = {name: [np.abs(rng.standard_normal(w.shape)).astype(self.dtype)
                              for _ in STATE_KEYS.get(self.rule, ())] for name, w in p.items()}

    @property
    def layers(self):
        return len(self.widths) - 1

    def _group(self, name):
        """A parameter as the entry takes it: its arrays, which the step may write."""
        if name not in self.params:
            return None
        w = self.params[name].copy()
        if self.rule is None:
            group = (w, np.full_like(w, -12345), None)
        else:
            group = (w, *(state.copy() for state in self.states[name]), None, None)[:3]
        self.arrays[name] = group
        return group

    def args(self):
        """Fresh arguments of the entry, without the number of threads; their arrays are in self.arrays."""
        layers, self.arrays, self.found = [], {}, []
        for i in range(1, self.layers + 1):
            groups = [self._group(f"{kind}{i}") for kind in ("W", "b", "gamma", "beta")]
            numbers = [None if group is None else numbers_of(self.rule) for group in groups]
            hidden, statistics, uniform = i < self.layers, None, None
            if hidden and self.norm == "batchnorm":
                mean, var = self.running[i - 1]
                self.found.append([np.full_like(mean, -12345), np.full_like(var, -12345)])
                statistics = (mean, var, *self.found[-1], self.eps, 0.9)
            elif hidden and self.norm == "layernorm":
                statistics = (None, None, None, None, self.eps, 0.0)
            if hidden and self.keep:
                uniform = (self.uniform[i - 1], self.keep)
            layers.append((*groups, *numbers, self.reg, statistics, uniform))
        return [self.images, self.rows, self.mean_d, self.y, layers, self.rule, self.norm]

    def run(self, kernels, threads=1):
        """(loss, the arrays of every parameter, the next running statistics)."""
        args = self.args()
        loss = kernels.step.train_step(*args, threads)
        return loss, self.arrays, self.found

    def batch(self):
        """The images of the batch in the network's dtype, as float64."""
        x = self.images if self.rows is None else self.images[self.rows]
        x = x.astype(np.float64) - (0 if self.mean_d is None else self.mean_d)
        return x.astype(self.dtype).astype(np.float64)

    def twin(self):
        """(loss, gradients, the size of what was added up in each, next statistics), in float64."""
        p = {name: w.astype(np.float64) for name, w in self.params.items()}
        out, caches, found, last = self.batch(), [], [], self.layers
        for i in range(1, last):
            a, affine = reference.affine_forward(out, p[f"W{i}"], p[f"b{i}"])
            norm = None
            if self.norm == "batchnorm":
                mean, var = (value.astype(np.float64) for value in self.running[i - 1])
                entry = {"mode": "train", "eps": self.eps, "running_mean": mean, "running_var": var}
                a, norm = reference.batchnorm_forward(a, p[f"gamma{i}"], p[f"beta{i}"], entry)
                found.append([entry["running_mean"], entry["running_var"]])
            elif self.norm == "layernorm":
                a, norm = reference.layernorm_forward(a, p[f"gamma{i}"], p[f"beta{i}"], {"eps": self.eps})
            out, relu = reference.relu_forward(a)
            mask = (self.uniform[i - 1] < self.keep) / self.keep if self.keep else 1.0
            out = out * mask
            caches.append((affine, norm, relu, mask))
        scores, affine = reference.affine_forward(out, p[f"W{last}"], p[f"b{last}"])
        loss, dout = reference.softmax_loss(scores, self.y)
        grads, sizes = {}, {}
        noise = 0.0  # what is subtracted on the way, at most, for one element of dout: its error is measured by it

        def affine_gradients(i, dout, cache):
            dx, grads[f"W{i}"], grads[f"b{i}"] = reference.affine_backward(dout, cache)
            x, size = np.abs(cache[0]), np.abs(dout)
            sizes[f"W{i}"] = (x.T @ size).max() + noise * x.sum(axis=0).max() + self.reg * np.abs(p[f"W{i}"]).max()
            sizes[f"b{i}"] = size.sum(axis=0).max() + noise * self.n
            return dx

        dout = affine_gradients(last, dout, affine)
        for i in range(last - 1, 0, -1):
            affine, norm, relu, mask = caches.pop()
            dout = reference.relu_backward(dout * mask, relu)
            noise *= np.abs(p[f"W{i + 1}"]).sum(axis=1).max() / (self.keep or 1)
            if norm:
                xhat, backward = (norm[1], reference.batchnorm_backward_alt) if self.norm == "batchnorm" else (
                    norm[0], reference.layernorm_backward)
                sizes[f"beta{i}"] = np.abs(dout).sum(axis=0).max() + noise * self.n
                sizes[f"gamma{i}"] = ((np.abs(dout) + noise) * np.abs(xhat)).sum(axis=0).max()
                noise = (noise + np.abs(dout).max()) * np.abs(p[f"gamma{i}"]).max() * norm[-1].max()
                dout, grads[f"gamma{i}"], grads[f"beta{i}"] = backward(dout, norm)
            dout = affine_gradients(i, dout, affine)
        for i in range(1, last + 1) if self.reg else ():  # without a penalty, 0 * inf is nowhere
            grads[f"W{i}"] = grads[f"W{i}"] + self.reg * p[f"W{i}"]
            loss += 0.5 * self.reg * (p[f"W{i}"] ** 2).sum()
        return loss, grads, sizes, found

    def check(self, kernels, factor=2000.0, threads=1):
        """The gradients, the loss and the statistics are those of the twins but for rounding."""
        assert self.rule is None
        loss, arrays, found = self.run(kernels, threads)
        with np.errstate(all="ignore"):
            expected_loss, grads, sizes, expected_found = self.twin()
        close(loss, expected_loss, abs(expected_loss) + 1, factor, form=False, working=self.dtype)
        assert set(arrays) == set(grads)
        for name, (w, grad, _) in arrays.items():
            np.testing.assert_array_equal(w, self.params[name])
            close(grad, grads[name].astype(grad.dtype), sizes[name], factor, form=False)
        assert len(found) == len(expected_found)
        for mine, others in zip(found, expected_found, strict=True):
            for value, other in zip(mine, others, strict=True):
                close(value, other.astype(value.dtype), np.abs(other).max() + 1, factor, form=False)
