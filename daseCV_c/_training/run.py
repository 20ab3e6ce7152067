"""The loop of `Solver.train`, and what happens around a step."""

from __future__ import annotations

import contextlib
import math
import operator
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from daseCV_c._coursework import using
from daseCV_c._step import whole
from daseCV_c._training import divergence, hooks, saving, signals, snapshot
from daseCV_c._training.callbacks_bar import ProgressBar
from daseCV_c._training.history import ValidationLoss
from daseCV_c._training.values import set_state
from daseCV_c._training.weights import Weights


class Run:
    """One call of `train` of a Solver, which holds all that must outlive it.

    What an iteration consists of: the learning rate, the step, callbacks; where they are due, the end
    of the epoch, a check, callbacks again, a checkpoint. Whatever is raised on the way, the Solver's
    histories say how far it came, and the next call makes what is left.
    """

    def __init__(self, solver: Any) -> None:
        self._solver = solver
        bars = [ProgressBar()] if solver.progress else []
        self._hooks = hooks.Hooks([*solver._watchers, *bars, *solver.callbacks])
        self._saver = saving.Saver(solver)
        self._together: Any = None
        if solver._team is not None:
            from daseCV_c._parallel import solving
            self._together = solving.Together(solver)

    def go(self) -> None:
        """Go on to the end, or until somebody asks to stop; then put the best parameters back."""
        if self._together is None:
            self._go()
            return
        with self._together.telling():
            self._together.begin()
            self._go()

    def _go(self) -> None:
        solver = self._solver
        if solver._paused is not None:
            weights, random = solver._paused
            if weights is not None:  # the best ones were put into the model when it stopped
                weights.put_into(solver.model)
            if random is not None:
                set_state(np.random, random)
            solver._paused = None
        if not solver._checked:
            # The model may have been given other parameters since the Solver was made.
            solver._keep_best()
        with self._surroundings() as asked:
            try:
                self._iterate(asked)
                if self._together is not None:
                    self._together.end()
            except divergence.DivergenceError as error:
                solver._ended, solver._lost = True, str(error)
                self._put_back_best()
                raise
            solver._ended = solver.iteration >= solver.num_iterations
            saved = self._saver.at_the_end(bool(asked.signal))
            solver._paused, solver._stop = (Weights.of(solver.model), snapshot.global_state(solver)), False
            self._put_back_best()
        if asked.signal:
            raise signals.stopped(asked.signal, self._interrupted(saved))

    def _put_back_best(self) -> None:
        Weights(self._solver.best_params, self._solver.best_bn_params).copy().put_into(self._solver.model)

    def _interrupted(self, saved: str | None) -> str:
        """What to say after a signal."""
        solver = self._solver
        message = (f"training stopped after iteration {solver.iteration} of {solver.num_iterations}; "
                   "train() goes on from there")
        if saved is not None:
            message += f', and in another process Solver.resume("{saved}", ...).train()'
        if solver.verbose:
            solver._say(message)
        return message

    @contextlib.contextmanager
    def _surroundings(self) -> Iterator[signals.Asked]:
        """Signals, the clock, and callbacks, which hear of the end in any case."""
        solver = self._solver
        solver._clock = time.perf_counter() - solver._seconds
        with signals.deferred() as asked:
            try:
                yield asked if self._together is None else self._together.ask(asked)
            finally:
                self._note_rates()
                solver._seconds, solver._clock = solver.seconds, None
                self._hooks.tell("on_train_end", solver)

    def _iterate(self, asked: signals.Asked) -> None:
        solver, saver, tell, step = self._solver, self._saver, self._tell, self._solver._step
        per_epoch, iterations, losses = solver._per_epoch, solver.num_iterations, solver.loss_history
        watched, watch = solver.on_divergence == "stop", divergence.Watch()
        on_step_end, rates = self._listened("on_step_end"), solver._rates
        # Without any of these the rate changes at the end of an epoch alone.
        noted = rates is not None or on_step_end or saver.timed
        if solver.verbose and (whose := using.line()):
            solver._say(whose)
        self._note_rates(math.nan)  # of steps that somebody has made without train()
        solver._stop |= tell("on_train_begin")
        if solver.iteration:
            self._after_step(solver.iteration)  # what an interruption has left undone
        for t in range(solver.iteration, iterations):
            if solver._stop or asked.signal:
                break
            if rates is not None:
                rates.set(solver, t)
            step()
            loss = losses[-1]
            if noted:
                self._note_rates()
            if watched and not loss <= watch.limit:
                watch.look(solver)
            if solver.verbose and t % solver.print_every == 0:
                solver._say(f"(Iteration {t + 1} / {iterations}) loss: {loss:f}")
            if on_step_end:
                solver._stop |= tell("on_step_end")
            if t == 0 or (t + 1) % per_epoch == 0:
                self._after_step(t + 1)
            elif saver.timed:
                saver.in_between()

    def _listened(self, event: str) -> bool:
        """Somebody wants to hear of it, perhaps on another rank."""
        return bool(self._hooks.of[event]) or self._together is not None and self._together.hears(event)

    def _tell(self, event: str) -> bool:
        """Call all callbacks; True if one of them, on whatever rank, wants to stop."""
        stop = self._hooks.tell(event, self._solver)
        return stop if self._together is None else bool(self._together.stops(event, stop))

    def _note_rates(self, rate: float | None = None) -> None:
        """The rate of the steps since it was last noted, by the rule's configurations, of which one speaks for all."""
        noted, steps = self._solver.learning_rate_history, len(self._solver.loss_history)
        if len(noted) < steps:
            if rate is None:
                config: dict[str, Any] = next(iter(self._solver.optim_configs.values()), {})
                rate = config.get("learning_rate", math.nan)
            noted.extend([rate] * (steps - len(noted)))

    def _after_step(self, done: int) -> None:
        """What is due after `done` steps of this run: the end of an epoch, a check, a checkpoint."""
        solver, tell = self._solver, self._tell
        epochs, rest = divmod(done, solver._per_epoch)
        self._note_rates()
        if solver.epoch - solver._begun[1] < epochs:
            # A rule that was never told a rate has put its default there. Not in place: the rate may be an array
            # that the configurations share.
            whole.commit(partial(setattr, solver, "epoch", solver.epoch + 1), *(
                partial(operator.setitem, config, "learning_rate", config["learning_rate"] * solver.lr_decay)
                for config in solver.optim_configs.values() if "learning_rate" in config))
            if solver._average is not None:
                solver._average.after_epoch(solver.model, solver.num_epochs - epochs)
        if len(solver.val_acc_history) - solver._begun[2] < epochs + (solver._per_epoch > 1):
            self._check()
            solver._stop |= tell("on_check")
            if not rest:
                solver._stop |= tell("on_epoch_end")
            self._saver.after_a_check()

    def _check(self) -> None:
        """Both accuracies, the best parameters, one printed line."""
        solver = self._solver
        if self._together is not None:
            self._together.look()
        with contextlib.nullcontext() if solver._average is None else solver._average.applied(solver.model):
            train_acc, val_acc = self._look()
        if solver.verbose:
            if solver.checkpoint_name is not None:
                solver._say(f'Saving checkpoint to "{self._saver.name_of_check()}"')
            solver._say(
                f"(Epoch {solver.epoch} / {solver.num_epochs}) train acc: {train_acc:f}; val_acc: {val_acc:f}")

    def _look(self) -> tuple[float, float]:
        """Both accuracies of the parameters that the model holds, which are kept if they are the best."""
        solver = self._solver
        solver._sharing = self._together is not None
        try:
            return self._looked()
        finally:
            solver._sharing = False

    def _looked(self) -> tuple[float, float]:
        solver = self._solver
        train_acc = solver.check_accuracy(solver.X_train, solver.y_train, num_samples=solver.num_train_samples)
        monitors = {solver.monitor, *(getattr(watcher, "monitor", None) for watcher in solver._watchers)}
        softmax = solver._own_loss() and solver.model.loss_function == "softmax"
        solver._val_loss = found = ValidationLoss(solver.model, softmax, "val_loss" in monitors)
        try:
            val_acc = solver.check_accuracy(solver.X_val, solver.y_val, num_samples=solver.num_val_samples)
        finally:
            solver._val_loss = None
        val_loss = found.mean
        whole.commit(
            partial(solver.train_acc_history.append, train_acc), partial(solver.val_acc_history.append, val_acc),
            partial(solver.val_loss_history.append, val_loss), partial(solver.seconds_history.append, solver.seconds),
            partial(solver.check_iterations.append, len(solver.loss_history)))
        # Where an accuracy says nothing, what lowers the validation loss is better.
        by_accuracy = solver.monitor == "val_acc" or solver.monitor is None and found.classes
        better = val_acc > solver.best_val_acc if by_accuracy else val_loss < solver.best_val_loss
        better = better or solver.monitor == "last"
        # The first check always counts, so an accuracy of 0 leaves parameters too; so does the first of an average.
        first = not solver._checked or solver._average is not None and solver._average.begins
        if (better or first) and found.sound and not divergence.not_finite(solver.model.params):
            solver._keep_best(best_val_acc=val_acc, _checked=True,
                              best_val_loss=math.inf if math.isnan(val_loss) else val_loss)
        return train_acc, val_acc
