"""What the ranks see to before they train: that they have the same task, and that they begin with the same state."""

from __future__ import annotations

import hashlib
import json
import pickle
from typing import Any

import numpy as np

from daseCV_c._parallel.errors import TeamError
from daseCV_c._parallel.team import Team
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import precision as _precision
from daseCV_c._training import hooks, snapshot
from daseCV_c._training.values import state_of
from daseCV_c._types import Array
from daseCV_c._version import __version__

_BLOCK = 2**24  # bytes hashed at a time
_MY_OWN = frozenset(("seed",))  # what need not be equal: the generator's state is rank 0's


def begin(solver: Any) -> None:
    """TeamError, on every rank, where ranks do not fit together; then every rank has the state of rank 0."""
    team: Team = solver._team
    _compare([json.loads(text) for text in team.texts(json.dumps(_card(solver)).encode("ascii"))])
    sent = None
    if team.rank == 0:
        document, arrays = snapshot.document_of(solver)
        events = [event for event, found in hooks.Hooks(solver.callbacks).of.items() if found]
        # Between the processes of one program. What comes from a file never goes this way.
        sent = pickle.dumps((document | {"callbacks": []}, arrays, events), pickle.HIGHEST_PROTOCOL)
    received = team.from_first(sent)
    document, arrays, events = pickle.loads(received)
    team.listened = frozenset(events)
    if team.rank:
        snapshot.Snapshot("rank 0", document, arrays).put_into(solver)


def random_state(solver: Any) -> Array:
    """The states of the generators that a step draws from, as numbers."""
    shared = snapshot.global_state(solver)
    states = [] if shared is None else [shared]
    for generator in (solver.generator, getattr(solver.model, "generator", None)):
        if generator is not None:
            states.append(state_of(generator, "seed"))
    return np.concatenate([np.append(state["state"]["key"], np.uint32(state["state"]["pos"])) for state in states])


def _compare(cards: list[dict[str, Any]]) -> None:
    for rank, card in enumerate(cards):
        for name, value in card.items():
            first = cards[0].get(name)
            if value != first:
                raise TeamError(f"Solver: rank {rank} has {name} {_shown(value)}, but rank 0 has {_shown(first)}")
        for name in cards[0].keys() - card.keys():
            raise TeamError(f"Solver: rank {rank} has no {name}, but rank 0 has {_shown(cards[0][name])}")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _card(solver: Any) -> dict[str, Any]:
    """What must be the same on all ranks."""
    model = solver.model
    card: dict[str, Any] = {
        "version": __version__, "NumPy": np.__version__, "kernels": f"{_backend.get_backend()} {_backend.level}",
        "precision": _precision.get_matmul_precision(), "model": type(model).__qualname__,
    }
    for name, array in model.params.items():
        array = np.asarray(array)
        card[f"{name}:"] = f"{array.dtype.newbyteorder('=')} of shape {array.shape}"
    arrays: dict[str, Array] = {}
    held, others = snapshot._settings(solver, arrays)
    for name, value in (snapshot._traits(model) | held | others).items():
        if name not in snapshot.FREE | _MY_OWN or name in ("num_epochs", "on_divergence"):
            card[name] = _plain(value, arrays)
    for split in ("train", "val"):
        for letter in "Xy":
            name = f"{letter}_{split}"
            array = getattr(solver, name)
            card[f"{name}:"] = f"{array.dtype.newbyteorder('=')} of shape {array.shape}"
            card[f"the hash of {name}"] = _hash(array)
    if solver.mean_image is not None:
        card["the hash of mean_image"] = _hash(solver.mean_image)
    return card


def _plain(value: Any, arrays: dict[str, Array]) -> Any:
    """As JSON; of an array that was packed its hash."""
    if isinstance(value, dict):
        return {key: _hash(arrays[held]) if key in ("array", "number") and held in arrays else _plain(held, arrays)
                for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each, arrays) for each in value]
    return value.item() if isinstance(value, np.generic) else value


def _hash(array: Array) -> str:
    """Of all numbers, however they lie in memory."""
    digest = hashlib.sha256()
    native = array.dtype.newbyteorder("=")
    rows = max(1, _BLOCK // max(1, array.nbytes // max(1, len(array)))) if array.ndim else 1
    for start in range(0, len(array), rows) if array.ndim else ():
        part = np.ascontiguousarray(array[start:start + rows], dtype=native)
        digest.update(repr(part.tolist()).encode() if native.hasobject else part.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:16]
