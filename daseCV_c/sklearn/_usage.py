"""How often the kernels did the work of the drop-in classes, and why they did not."""

from __future__ import annotations

import collections
import threading

_counts: collections.Counter[str] = collections.Counter()
_lock = threading.Lock()


def count(what: str) -> None:
    with _lock:
        _counts[what] += 1


def usage(reset: bool = False) -> dict[str, int]:
    """How many trainings and forward passes the kernels of this process did, and how many scikit-learn did, and why.

    A training is a call of ``fit`` or ``partial_fit`` of the drop-in `MLPClassifier` or `MLPRegressor`, a forward
    pass a call of ``predict`` and the like; a training with ``early_stopping`` makes one after each epoch.

    Parameters
    ----------
    reset : bool
        Count from zero again afterwards.

    Returns
    -------
    counts : dict of int
        ``'training: kernel'``, ``'training: scikit-learn, solver lbfgs'``, ``'prediction: kernel'`` and the like.

    Examples
    --------
    >>> before = usage(reset=True)
    >>> usage()
    {}
    """
    with _lock:
        found = dict(_counts)
        if reset:
            _counts.clear()
    return found
