"""`daseCV_c.search`."""

from __future__ import annotations

import contextlib
import functools
import operator
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from daseCV_c._exchange.network import library
from daseCV_c._search import choice, space, storage
from daseCV_c._search.found import Found
from daseCV_c._search.lead import lead
from daseCV_c._search.ledger import Claim, Ledger
from daseCV_c._search.local import Local
from daseCV_c._search.pools import Lost, Pool, processors
from daseCV_c._search.trial import Outcome, Problem, solver_of
from daseCV_c._training import signals
from daseCV_c.cli import own_data, train, training
from daseCV_c.cli.errors import CommandError, reason
from daseCV_c.cli.recipes import SETTINGS
from daseCV_c.cli.training import Plan

AHEAD = 8  # trials that are chosen without each other's results, if there are no more processes
NAME, STORAGE, TRIALS = "search", "search.journal", 50
_NEEDED = ("X_train", "y_train", "X_val", "y_val", "mean_image")


def search(
    space: Mapping[str, Any] | None = None, *, data: Any = None, label_column: str | None = None,
    recipe: str | None = None, trials: int = TRIALS, jobs: int | None = None, storage: str = STORAGE,
    name: str = NAME, pruning: str = "median", ahead: int | None = None, dask: Any = None, verbose: bool = True,
    **settings: Any,
) -> Found:
    """Look for good settings: many one-thread trainings side by side, chosen by Optuna.

    Trial k is a function of `seed`, of k and of the results of the trials 0 ... k - ahead: it is the same for any
    number of processes, here or on a cluster, and whatever was killed in between. The same call goes on with a search
    that was stopped, and several processes may make it at the same time.

    Parameters
    ----------
    space : dict, optional
        A range ``(low, high)`` or a list of choices by setting: lr, lr_decay, reg, weight_scale, dropout, clip_norm,
        hidden (widths; choices may be lists of them), layers (their number, beside a range of widths), norm,
        update_rule, batch_size, filters, filter_size. Default: lr, reg, hidden, layers, dropout and norm, or
        for ``model='cnn'`` lr, reg, hidden and filters, without those that `settings` fix.
    data : str, path or dict, optional
        What `train` takes as --data, or arrays as Solver takes them. Default: the bundled digits.
    label_column, recipe : str, optional
        As `train` takes them.
    trials : int
        Of the whole search, those of earlier calls included.
    jobs : int, optional
        Trainings side by side. Default: one for each processor that this process may use; on a Dask cluster one
        for each of its threads.
    storage : str
        A journal file, ``sqlite:///FILE`` or ``postgresql://USER@HOST/DATABASE``.
    name : str
        Of the search: a storage may hold several.
    pruning : {'median', 'none'}
        'median' ends a training that after a quarter of its epochs is below the median of earlier ones.
    ahead : int, optional
        So many trials are chosen without each other's results, and no more run at a time. Default: that of the
        search that is there, else 8, or the number of trainings side by side if that is larger.
    dask : str, distributed.Client or Cluster, optional
        The address of a Dask scheduler, or "local": trials run on its workers.
    verbose : bool
        A line for each trial.
    **settings
        Other settings of `train` for all trials, such as ``epochs=20, batch_size=50, model='cnn', seed=0``. A trial's
        own seed follows from `seed` and its number.

    Returns
    -------
    found : Found
        trials, best, table(), to_csv(path), plot(), train(number), study.

    Raises
    ------
    ValueError
        A setting, a range, the data or the storage is none, or the search there was begun with something else.
    TypeError
        trials, jobs or ahead is not an integer.
    RuntimeError
        The processes cannot be started, or the cluster has gone.
    ImportError
        Optuna or Dask is not installed: ``pip install "daseCV_c[search]"``, ``"daseCV_c[scale]"``.

    References
    ----------
    Bergstra, Bardenet, Bengio and Kegl, "Algorithms for Hyper-Parameter Optimization", 2011 (TPE);
    https://optuna.readthedocs.io

    Examples
    --------
    A script that starts processes has its work below ``if __name__ == "__main__":``.

    >>> found = daseCV_c.search({"lr": (1e-4, 1e-1), "norm": ["none", "batchnorm"]}, epochs=5)   # doctest: +SKIP
    >>> found.best.line                                                                          # doctest: +SKIP
    'python -m daseCV_c train --model fc --dataset digits ...'
    """
    library("search", "optuna", "search")
    for argument, value in (("trials", trials), ("jobs", jobs), ("ahead", ahead)):
        if value is not None:
            _positive(argument, value)
    if pruning not in choice.PRUNINGS:
        raise ValueError(f"search: pruning is {pruning!r}, expected one of {', '.join(choice.PRUNINGS)}")
    try:
        return _Search(space, data, label_column, recipe, jobs, dask, verbose, settings).run(
            storage, name, trials, pruning, ahead)
    except CommandError as error:
        raise ValueError(f"search: {reason(error)}") from error


def _positive(argument: str, value: Any) -> None:
    try:
        if isinstance(value, bool) or operator.index(value) != value:
            raise TypeError
    except TypeError:
        raise TypeError(f"search: {argument} is {value!r}, expected a positive integer") from None
    if value < 1:
        raise ValueError(f"search: {argument} is {value}, expected a positive integer")


class _Search:
    """One call: what is searched, on what data, by which processes."""

    def __init__(
        self, given: Mapping[str, Any] | None, data: Any, label_column: str | None, recipe: str | None,
        jobs: int | None, dask: Any, verbose: bool, settings: dict[str, Any],
    ) -> None:
        self.arrays = data if isinstance(data, Mapping) else None
        path = None if data is None or self.arrays is not None else str(data)
        self.plan = Plan(_base(settings, recipe, data), recipe, path, label_column)
        self.jobs, self.dask, self.verbose = jobs, dask, verbose
        base = self.plan.settings
        if given is None:
            given = {name: value for name, value in space.DEFAULT[base["model"]].items()
                     if name not in settings and not (name == "layers" and "hidden" in settings)}
        both = [name for name in given if name in settings]
        if both:
            raise ValueError(f"search: {both[0]} is in the space and is fixed as well, expected one of the two")
        try:
            self.space = space.Space(given, base)
        except ValueError as error:
            raise ValueError(f"search: {error}") from None

    def run(self, where: str, name: str, trials: int, pruning: str, ahead: int | None) -> Found:
        self.problem, fingerprint = self._problem()
        solver_of(self.plan.settings, self.problem)  # what is wrong with the data is said before anything is written
        asked = {"settings": self.plan.settings, "space": self.space.described, "pruning": pruning, "ahead": ahead,
                 "fingerprint": fingerprint, "label_column": self.plan.label_column}
        with _quiet(), contextlib.ExitStack() as stack:
            try:
                kept, locks = storage.opened(where, name)
            except (OSError, ValueError) as error:
                raise ValueError(f"search: {reason(error)}") from error
            stack.callback(locks.close)
            if hasattr(kept, "engine"):
                stack.callback(kept.engine.dispose)  # its connections; what is read later opens another
            pool = functools.cache(lambda: self._pool(stack))
            try:
                ledger = Ledger(kept, locks, name, asked, self.space, lambda: max(AHEAD, pool().size()))
            except ValueError as error:
                raise ValueError(f"search: {error}") from None
            signal = 0 if ledger.finished(trials) else self._lead(ledger, pool(), trials)
            if signal:
                done = len(ledger.results())
                raise signals.stopped(signal, f"stopped after {done} of {trials} trials; the same search goes on")
            return Found(ledger, self.problem)

    def _lead(self, ledger: Ledger, pool: Pool, trials: int) -> int:
        if self.verbose:
            side = min(pool.size(), ledger.asked["ahead"])
            print(f"{len(ledger.results())} of {trials} trials are finished; {side} run side by side", flush=True)
        return lead(ledger, pool, trials, self.line, self._say if self.verbose else lambda claim, outcome: None)

    def _pool(self, stack: contextlib.ExitStack) -> Pool:
        pool: Pool
        if self.dask is None:
            pool = Local(self.problem, self.jobs or processors())
        else:
            from daseCV_c._search.on_dask import OnDask
            pool = OnDask(self.problem, self.dask, self.jobs, self.jobs or processors())
        stack.callback(pool.close)
        return pool

    def _problem(self) -> tuple[Problem, str]:
        """The data, without what only tests need, and what tells them from others."""
        if self.arrays is None:
            data = training.load_data(self.plan)
            shape, classes = data["mean_image"].shape, training.network_of(self.plan.settings, data)["num_classes"]
        else:
            data = dict(self.arrays)
            missing = [part for part in _NEEDED[:4] if part not in data]
            if missing:
                raise ValueError(f"search: data has no {missing[0]}")
            data.update({part: np.asanyarray(data[part]) for part in _NEEDED[:4]})
            shape = data["X_train"].shape[1:]
            classes = int(max(np.max(data["y_train"]), np.max(data["y_val"]))) + 1
        kept = {part: data[part] for part in _NEEDED if data.get(part) is not None}
        return Problem(kept, shape, classes), training.fingerprint(kept)

    def line(self, claim: Claim) -> str | None:
        """The command that trains it again."""
        if self.arrays is not None:
            return None
        words = ["python", "-m", "daseCV_c", "train"]
        if self.plan.data is not None:
            words += ["--data", str(Path(self.plan.data).resolve())]
        if self.plan.label_column is not None:
            words += ["--label-column", self.plan.label_column]
        return shlex.join([*words, *train.words_of(claim.task.settings)])

    def _say(self, claim: Claim, outcome: Outcome | Lost) -> None:
        if isinstance(outcome, Lost):
            print(f"trial {claim.place}: {outcome.why}", flush=True)
            return
        found = "nothing" if outcome.val_acc is None else f"val_acc {outcome.val_acc:.4f}"
        print(f"trial {claim.place}: {found}" + (f" ({outcome.ended})" if outcome.ended else ""), flush=True)


def _base(given: dict[str, Any], recipe: str | None, data: Any) -> dict[str, Any]:
    """The settings that all trials share."""
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    if given.get("norm", "") is None:
        given["norm"] = "none"
    if recipe is None and (isinstance(data, Mapping) or data is not None and not Path(data).is_dir()):
        given = {"dataset": own_data.DATASET, **given}
    unknown = [name for name in given if name not in SETTINGS]
    if unknown:
        raise ValueError(f"search: unknown setting {unknown[0]!r}, expected some of {', '.join(sorted(SETTINGS))}")
    return train.checked(given, recipe)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Optuna tells what it has found itself; the table says it better."""
    import optuna
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


