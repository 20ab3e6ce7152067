"""The last whole step of a training whose other ranks do not come."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from daseCV_c._training import snapshot
from daseCV_c._training.values import state_of
from daseCV_c._training.weights import Weights


def saver_of_now(solver: Any) -> Callable[[], None]:
    """Writes the checkpoint of this moment, between two steps, when the next one has begun to draw random numbers."""
    random = snapshot.global_state(solver)
    own = [(generator, state_of(generator, "seed"))
           for generator in {id(each): each for each in (solver.generator, getattr(solver.model, "generator", None))
                             if each is not None}.values()]

    def save() -> None:
        former, states = solver._paused, [generator.get_state() for generator, _ in own]
        try:
            solver._paused = Weights.of(solver.model), random
            for generator, state in own:
                generator.set_state(state)
            solver.save(solver.checkpoint_path)
        finally:
            solver._paused = former
            for (generator, _), state in zip(own, states, strict=True):
                generator.set_state(state)
        print(f"Solver: asked to end while another rank does not answer: saved in "
              f"{os.fspath(solver.checkpoint_path)} after iteration {solver.iteration} of {solver.num_iterations}",
              file=sys.stderr, flush=True)

    return save
