"""The fused step of the package's networks on a rank's share of the batch.

As with clipped gradients, the step stores all gradients, end to end in one array. This array is added up over the
ranks before it is clipped, and the kernel of the update rules does the rest, on every rank with the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from daseCV_c._parallel import gradients
from daseCV_c._parallel.team import Share, Team
from daseCV_c._runtime import threads as _threads
from daseCV_c._runtime.kernels import Kernels
from daseCV_c._step.clipped import ClippedConvStep, ClippedStep, _Clipped, _Kept
from daseCV_c._step.fully_connected import Change, Configs, _run
from daseCV_c._training.clipping import Clipping
from daseCV_c._types import Array


class _Unclipped:
    """Gradients as they are."""

    def scale(
        self, gradients: Mapping[str, Array], loss: float, losses: Sequence[float], flat: Array | None = None,
    ) -> float:
        return 1.0


class _Shared(_Clipped):
    """A step whose `index` is the whole batch, of which the rank computes with its own rows."""

    _any_loss = False  # the ranks' weights would have to be added up

    def __init__(self, rule: str, clipping: Clipping | None, team: Team) -> None:
        super().__init__(rule, _Unclipped() if clipping is None else clipping)  # type: ignore[arg-type]
        self._team, self.share = team, Share(0, 0, 1)

    def __call__(
        self, model: Any, configs: Configs, X: Array, y: Any, index: Array, mean: Array | None = None,
        losses: list[float] | None = None, sample_weight: Array | None = None,
    ) -> float | None:
        self.share = self._team.share(len(index))
        return super().__call__(model, configs, X, y, index[self.share.rows], mean, losses, sample_weight)

    def _stored(
        self, kernels: Kernels, model: Any, kept: _Kept, index: Array, mean: Array | None, y: Any,
        changes: list[Change],
    ) -> float | None:
        with self._team.in_a_step():
            weight, loss = self._own_part(kernels, model, kept, index, mean, y, changes)
            if loss is None:
                return None
            if weight != 1.0:
                np.multiply(kept.grads.whole, weight, out=kept.grads.whole)
            loss = self._team.step_total(loss * weight)
            self._team.add_up(kept.grads.whole)
        return loss

    def _own_part(
        self, kernels: Kernels, model: Any, kept: _Kept, index: Array, mean: Array | None, y: Any,
        changes: list[Change],
    ) -> tuple[float, float | None]:
        """(weight, loss) of the rank's rows, with the gradients in `kept`: their sums over all ranks, when multiplied
        by the weights, are those of the batch."""
        raise NotImplementedError


class SharedStep(_Shared, ClippedStep):
    """The Solver's step on one of several ranks: see `FusedStep`."""

    def _own_part(
        self, kernels: Kernels, model: Any, kept: _Kept, index: Array, mean: Array | None, y: Any,
        changes: list[Change],
    ) -> tuple[float, float | None]:
        if model.normalization == "batchnorm" and model.num_layers > 1:
            # The fused kernel takes the statistics of the rows that it is given.
            x = np.empty((len(index), self._rows.shape[1]), model.dtype)
            kernels.batch.gather(self._rows, index, mean, x, _threads.effective())
            loss, grads, more = gradients.of_network(model, x, y, self.share, self._team)
            for name, grad in grads.items():
                kept.grads.parts[name][...] = grad
            changes += more
            return 1.0, loss
        return self.share.weight, _run(
            kernels.step, model, kept.groups, self._rows, index, mean, y, [(None,) * 4] * len(kept.groups),
            changes, None, None, commit=False, uniform=partial(gradients.uniform, share=self.share))


class SharedConvStep(_Shared, ClippedConvStep):
    """The same for ThreeLayerConvNet: see `ConvStep`."""

    def _own_part(
        self, kernels: Kernels, model: Any, kept: _Kept, index: Array, mean: Array | None, y: Any,
        changes: list[Change],
    ) -> tuple[float, float | None]:
        return self.share.weight, ClippedConvStep._stored(self, kernels, model, kept, index, mean, y, changes)


def maker(solver: Any) -> Any:
    """What makes the step of this Solver as one kernel."""
    from daseCV_c.classifiers.cnn import ThreeLayerConvNet
    kind = SharedConvStep if isinstance(solver.model, ThreeLayerConvNet) else SharedStep
    return kind(solver.update_rule, solver._clip, solver._team)
