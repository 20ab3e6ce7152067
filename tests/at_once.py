"""One compiled entry from many Python threads at once: the inputs are shared, each caller has outputs of its own."""

import threading

import numpy as np
from adversarial import frozen
from entries import Call, make_call

CALLERS = 8
# (n, d, m), odd and small: the tests share out small work, too. A convolution of the other sizes would take seconds.
SIZES = {"conv": (9, 17, 19)}
USUAL = (67, 35, 17)


def _own(value, written):
    """A copy of what is written; of nested arrays, unless `written`, of those alone that wait for a result."""
    if isinstance(value, np.ndarray):
        return value.copy() if written or (value == -12345).all() else value
    if isinstance(value, (list, tuple)):
        return type(value)(_own(each, written) for each in value)
    return value


def own(call):
    """The call with outputs of its own, and the very same inputs."""
    stored = call.name == "train_step"  # its gradients lie beside the parameters, which it only reads
    args = [_own(value, not stored or isinstance(value, np.ndarray)) if k in call.outs else value
            for k, value in enumerate(call.args)]
    return Call(call.family, call.name, args, call.outs)


def differing(pool, kernels, entry, dtype):
    """What is not as it is alone when CALLERS threads of `pool` call the entry on 1, 2 and 3 kernel threads at once."""
    call = make_call(entry, dtype, *SIZES.get(entry.split(".")[0], USUAL))
    before, alone = frozen(call.args), own(call)
    expected = frozen([alone(kernels, 1), alone.results()])
    start = threading.Barrier(CALLERS)

    def calls(k):
        mine = [own(call) for _ in range(3)]
        start.wait(600)  # not for ever: one may have failed before
        return [frozen([each(kernels, 1 + (k + i) % 3), each.results()]) for i, each in enumerate(mine)]

    found = list(pool.map(calls, range(CALLERS)))
    wrong = [f"caller {k}, call {i}" for k, ends in enumerate(found) for i, end in enumerate(ends) if end != expected]
    return wrong + (["an input was changed"] if frozen(call.args) != before else [])
