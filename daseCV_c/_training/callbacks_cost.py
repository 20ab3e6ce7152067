"""The callback that records time and memory."""

from __future__ import annotations

import time
from typing import Any

from daseCV_c._training.memory import peak, resident


class TimeAndMemory:
    """Seconds and memory of each epoch, printed beside the Solver's own lines if it prints any.

    Attributes
    ----------
    seconds : list of float
        From the end of the epoch before, or the beginning of training, checks among them.
    memory, peak : list of float
        Memory of the process at the end of the epoch, and the most it had until then, in bytes; NaN
        where the system does not say.

    References
    ----------
    proc_pid_status(5), VmRSS and VmHWM; getrusage(2), ru_maxrss.

    Examples
    --------
    >>> import numpy as np
    >>> from daseCV_c.classifiers.fc_net import TwoLayerNet
    >>> from daseCV_c.solver import Solver
    >>> X, y = np.eye(4), np.arange(4)
    >>> data = {'X_train': X, 'y_train': y, 'X_val': X, 'y_val': y}
    >>> cost = TimeAndMemory()
    >>> Solver(TwoLayerNet(4, 20, 4, weight_scale=1), data, num_epochs=3, verbose=False, callbacks=[cost]).train()
    >>> len(cost.seconds), len(cost.memory)
    (3, 3)
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.memory: list[float] = []
        self.peak: list[float] = []
        self._began = 0.0

    def on_train_begin(self, solver: Any) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, solver: Any) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self._began)
        self.memory.append(resident())
        self.peak.append(peak())
        self._began = now
        if solver.verbose:
            solver._say(f"(Epoch {solver.epoch} / {solver.num_epochs}) seconds: {self.seconds[-1]:.2f}; "
                        f"memory: {self.memory[-1] / 1e6:.0f} MB; peak: {self.peak[-1] / 1e6:.0f} MB")

    def state(self) -> dict[str, list[float]]:
        return {"seconds": self.seconds, "memory": self.memory, "peak": self.peak}

    def load_state(self, state: dict[str, list[float]]) -> None:
        self.seconds, self.memory, self.peak = (list(state[name]) for name in ("seconds", "memory", "peak"))
