"""The trials in the storage: which is next, who runs it, what it has found.

A place is one trial of the search, counted from 0. An attempt is one of Optuna's trials: a place has a second one if
the first was lost with its process. Attempts are claimed one at a time, under the lock, whole: with place, parameters
and owner. So an attempt that is running has an owner, and is lost if the owner does not live.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from daseCV_c._search import choice
from daseCV_c._search.locks import Locks
from daseCV_c._search.space import Space
from daseCV_c._search.trial import Outcome, Task
from daseCV_c._version import __version__

FORMAT = 1
DEATHS = 3  # of processes, after which a trial is given up: it may be the reason
_NOTES = "search"  # the study's attribute
_OWNER = re.compile(r"[^/\\:\0]{1,300}")


class Claim(NamedTuple):
    """A place that is this process's to run."""

    place: int
    attempt: int  # Optuna's key of the trial
    task: Task


class Ledger:
    """A study of Optuna's, as a row of places.

    `asked` is what the trials depend on; a study that is there must have been begun with the same. Where it leaves
    open how many trials run `ahead` of the results, the study knows, or a new one is given the number.
    """

    def __init__(
        self, storage: Any, locks: Locks, name: str, asked: dict[str, Any], space: Space, ahead: Callable[[], int],
    ) -> None:
        import optuna
        asked = json.loads(json.dumps({"format": FORMAT, **asked}))
        self._storage, self._locks, self.space = storage, locks, space
        with locks.exclusive():
            if name in optuna.get_all_study_names(storage):
                self.study = optuna.load_study(study_name=name, storage=storage)
            else:
                self.study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
            self._id = storage.get_study_id_from_name(name)
            kept = self.study.user_attrs.get(_NOTES)
            if kept is None:
                if self.study.get_trials(deepcopy=False):
                    raise ValueError(f"the study {name!r} there is another program's: choose another name for this one")
                if asked["ahead"] is None:
                    asked["ahead"] = ahead()
                self.study.set_user_attr(_NOTES, {**asked, "version": __version__})
            else:
                if asked["ahead"] is None:
                    asked["ahead"] = kept.get("ahead")
                _compare(name, kept, asked)
        self.asked = asked
        self._distributions = space.distributions()

    def places(self) -> list[list[Any]]:
        """The attempts of each place, in the order in which they were made."""
        found: list[list[Any]] = []
        for trial in self.study.get_trials(deepcopy=False):
            place, owner = trial.user_attrs.get("place"), trial.user_attrs.get("owner")
            if place is None:
                continue  # another program's
            # A place is claimed when those before it are. The owner is a part of a file's name.
            if type(place) is not int or not 0 <= place <= len(found) or not (
                    type(owner) is str and _OWNER.fullmatch(owner)):
                raise ValueError(f"the study {self.study.study_name!r} there holds the trial {trial.number}, which no "
                                 "search has made")
            found.extend([] for _ in range(place + 1 - len(found)))
            found[place].append(trial)
        return found

    def claim(self, trials: int) -> Claim | None:
        """The next trial of the first `trials` that may run; None if there is none now."""
        with self._locks.exclusive():
            places = self.places()
            self._give_up_the_lost(places)
            for place, attempts in enumerate(places[:trials]):
                if not _finished(attempts) and not _running(attempts):
                    return self._begun(places, place, attempts[-1].params)
            k = len(places)
            known = self._known(k)
            if k >= trials or not all(map(_finished, places[:known])):
                return None
            seed = choice.seed_of(self.asked["settings"]["seed"], k, 1)
            earlier = [*map(_result, places[:known]), *map(_running_copy, places[known:])]
            return self._begun(places, k, choice.params(self._distributions, earlier, seed))

    def _known(self, k: int) -> int:
        """How many results trial k is told: those of the trials that are `ahead` places before it, or more."""
        ahead: int = self.asked["ahead"]
        return max(k - ahead + 1, 0)

    def _begun(self, places: list[list[Any]], place: int, params: dict[str, Any]) -> Claim:
        from optuna.trial import TrialState, create_trial
        seed = choice.seed_of(self.asked["settings"]["seed"], place, 0)
        attempt = self._storage.create_new_trial(self._id, create_trial(
            state=TrialState.RUNNING, params=params, distributions=self._distributions,
            user_attrs={"place": place, "seed": seed, "owner": self._locks.owner}))
        whole = [list(found.intermediate_values.values()) for found in map(_result, places[:self._known(place)])
                 if found.state == TrialState.COMPLETE]
        settings = {**self.space.settings(params), "seed": seed}
        return Claim(place, attempt, Task(settings, choice.thresholds(
            self.asked["pruning"], whole, settings["epochs"])))

    def _give_up_the_lost(self, places: list[list[Any]]) -> None:
        """Attempts whose owner is dead fail; their places are free again."""
        alive: dict[str, bool] = {}
        for attempts in places:
            for i, trial in enumerate(attempts):
                owner = trial.user_attrs["owner"]
                if not trial.state.is_finished() and not alive.setdefault(owner, self._locks.alive(owner)):
                    self._fail(trial._trial_id, "lost", f"{owner} has died")
                    attempts[i] = self._storage.get_trial(trial._trial_id)

    def _fail(self, attempt: int, name: str, why: str) -> None:
        from optuna.trial import TrialState
        self._storage.set_trial_user_attr(attempt, name, why)
        self._storage.set_trial_state_values(attempt, TrialState.FAIL)

    def lost(self, claim: Claim, why: str) -> None:
        """The process that ran it has died. It is tried again, unless that has happened too often."""
        attempts = self.places()[claim.place]
        deaths = 1 + sum("died" in trial.user_attrs for trial in attempts)
        self._storage.set_trial_user_attr(claim.attempt, "died", why)
        if deaths < DEATHS:
            self._fail(claim.attempt, "lost", why)
        else:
            self._fail(claim.attempt, "failed", f"its process has died {deaths} times: {why}")

    def tell(self, claim: Claim, outcome: Outcome, line: str | None) -> None:
        """Write down what a trial has found; last its state, which makes it finished."""
        from optuna.trial import TrialState
        if outcome.state == "failed":
            self._fail(claim.attempt, "failed", outcome.ended)
            return
        storage, attempt = self._storage, claim.attempt
        for epoch, val_acc in enumerate(outcome.checks, 1):
            storage.set_trial_intermediate_value(attempt, epoch, val_acc)
        storage.set_trial_user_attr(attempt, "found", {
            "ended": outcome.ended, "seconds": outcome.seconds, "sha256": outcome.sha256, "kernels": outcome.kernels,
            "line": line})
        values = None if outcome.val_acc is None else [outcome.val_acc]
        storage.set_trial_state_values(attempt, TrialState[outcome.state.upper()], values)

    def finished(self, trials: int) -> bool:
        """True if each of the first `trials` has found something, or never will."""
        places = self.places()
        return len(places) >= trials and all(map(_finished, places[:trials]))

    def results(self) -> list[Any]:
        """The last attempt of each place that is finished, as Optuna keeps it."""
        return [_result(attempts) for attempts in self.places() if _finished(attempts)]


def _compare(name: str, kept: dict[str, Any], asked: dict[str, Any]) -> None:
    """ValueError if a study was begun with something else."""
    for key, value in asked.items():
        before = kept.get(key)
        if before == value:
            continue
        if isinstance(value, dict) and isinstance(before, dict):
            key, before, value = next((part, before.get(part), value.get(part)) for part in [*value, *before]
                                      if before.get(part) != value.get(part))
        raise ValueError(f"the study {name!r} there has {key} {before!r}, but now it is {value!r}: go on with the "
                         "settings that it was begun with, or choose another name or storage")


def _is_final(trial: Any) -> bool:
    """It has found something, or another try would end in the same way."""
    return bool(trial.state.is_finished() and "lost" not in trial.user_attrs)


def _finished(attempts: Iterable[Any]) -> bool:
    return any(map(_is_final, attempts))


def _running(attempts: Iterable[Any]) -> bool:
    return any(not trial.state.is_finished() for trial in attempts)


def _result(attempts: Iterable[Any]) -> Any:
    return next(trial for trial in attempts if _is_final(trial))


def _running_copy(attempts: list[Any]) -> Any:
    """A trial that knows its parameters alone, whatever it has found in the meantime."""
    from optuna.trial import TrialState, create_trial
    return create_trial(state=TrialState.RUNNING, params=attempts[-1].params, distributions=attempts[-1].distributions)
