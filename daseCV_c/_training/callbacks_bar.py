"""The callback that shows a progress bar."""

from __future__ import annotations

from typing import Any

from daseCV_c._training.bar import Bar, open_bar


class ProgressBar:
    """A bar with rate and remaining time, the last loss and the last accuracies.

    In a terminal it stays below the printed lines, in a notebook it is one output of its own, and
    where stderr is a file or a pipe it is silent. It is drawn anew at most 10 times a second.
    ``Solver(progress=True)`` is the same as having one among the callbacks.

    References
    ----------
    tqdm, https://tqdm.github.io

    Examples
    --------
    >>> import numpy as np
    >>> from daseCV_c.classifiers.fc_net import TwoLayerNet
    >>> from daseCV_c.solver import Solver
    >>> X, y = np.eye(4), np.arange(4)
    >>> data = {'X_train': X, 'y_train': y, 'X_val': X, 'y_val': y}
    >>> model = TwoLayerNet(4, 20, 4, weight_scale=1)
    >>> Solver(model, data, batch_size=4, verbose=False, callbacks=[ProgressBar()]).train()
    """

    def __init__(self) -> None:
        self._bar: Bar | None = None

    def on_train_begin(self, solver: Any) -> None:
        if solver._bar is None:  # two bars would write over each other
            self._bar = solver._bar = open_bar(solver.num_iterations, solver.iteration, lambda: news(solver))

    def on_step_end(self, solver: Any) -> None:
        if self._bar is not None:
            self._bar.update()

    def on_train_end(self, solver: Any) -> None:
        if self._bar is not None:
            bar, self._bar, solver._bar = self._bar, None, None
            bar.close()


def news(solver: Any) -> str:
    """What stands beside the rate."""
    parts = [f"loss {float(solver.loss_history[-1]):.4g}"] if solver.loss_history else []
    if solver.val_acc_history:
        parts.append(f"train acc {solver.train_acc_history[-1]:.3f}, val acc {solver.val_acc_history[-1]:.3f}")
    return ", ".join(parts)
