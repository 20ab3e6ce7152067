"""On each rank: what is wrong with one of them ends all, in words. Rank 0 prints OK at the end."""

import copy
import os
import re
import shutil
import tempfile
import warnings

import numpy as np
from mpi4py import MPI

from daseCV_c import layers
from daseCV_c._parallel.errors import PeerError, TeamError
from daseCV_c._parallel.exchange import Exchange
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.datasets import load_digits_images
from daseCV_c.solver import Solver

WORLD = MPI.COMM_WORLD
LAST = WORLD.size - 1


def raises(kind, words, *, normalization=None, data=None, model=None, callbacks=(), train=True, **options):
    """Every rank raises `kind`; a dict gives each rank its own."""
    np.random.seed(0)
    comm = WORLD.Dup()
    expected = kind[comm.rank] if isinstance(kind, dict) else kind
    try:
        solver = Solver(
            model or FullyConnectedNet([10], 64, 10, dtype=np.float64, normalization=normalization),
            data or load_digits_images(), comm=comm,
            **{"verbose": False, "num_epochs": 2, "callbacks": callbacks} | options)
        if train:
            solver.train()
    except expected as error:
        assert re.search(words, str(error)), error
    else:
        raise AssertionError(f"rank {comm.rank}: no {expected}")


class Hook:
    def __init__(self, action):
        self.on_step_end = action


def disagreements():
    mine = load_digits_images()
    if WORLD.rank == LAST:
        mine = mine | {"X_train": mine["X_train"].copy()}
        mine["X_train"][700, 0, 3, 3] += 1
    raises(TeamError, rf"^Solver: rank {LAST} has the hash of X_train \w+, but rank 0 has ", data=mine)
    shorter = load_digits_images()
    if WORLD.rank == LAST:
        shorter = {name: part[:-1] if name.endswith("_val") else part for name, part in shorter.items()}
    raises(TeamError, f"rank {LAST} has X_val: .* of shape", data=shorter)
    raises(TeamError, f"rank {LAST} has W1: float64 of shape .64, 11., but rank 0 has float64 of shape .64, 10.",
           model=FullyConnectedNet([10 + (WORLD.rank == LAST)], 64, 10, dtype=np.float64))
    raises(TeamError, "has batch_size 50, but rank 0 has 60", batch_size=50 if WORLD.rank == LAST else 60)
    raises(TeamError, f"batch_size is 1 for {WORLD.size} ranks", batch_size=1, train=False)
    try:
        Solver(FullyConnectedNet([10], 64, 10), load_digits_images(), comm=3)
    except TypeError as error:
        assert "comm is a int, expected an intracommunicator of mpi4py" in str(error)
    else:
        raise AssertionError("a number is no communicator")


def failures():
    one_fails = {rank: PeerError for rank in range(WORLD.size)}

    def stumble(solver):
        if solver.iteration == 3:
            raise ArithmeticError("no more")

    raises(one_fails | {0: ArithmeticError}, "no more", callbacks=[Hook(stumble)])

    class Failing(FullyConnectedNet):
        def loss(self, X, y=None):
            if y is not None and WORLD.rank == LAST:
                raise MemoryError("too small")
            return super().loss(X, y)

    raises(one_fails | {LAST: MemoryError}, "too small", model=Failing([10], 64, 10))

    def meddle(solver):
        solver.model.params["b1"] = solver.model.params["b1"] + 1

    raises(TeamError, "of rank 1 differs from that of rank 0", callbacks=[Hook(meddle)])
    def mine(x, w, b):
        return x.reshape(len(x), -1) @ w + b, (x, w, b)

    ours, layers.affine_forward = layers.affine_forward, mine
    try:
        raises(TeamError, "layers of your own are in place", normalization="batchnorm")
    finally:
        layers.affine_forward = ours
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raises(FloatingPointError, "the loss is (nan|inf)", optim_config={"learning_rate": 1e200})


def stopping():
    """A callback of rank 0 ends all after the same step; what is printed and written, rank 0 alone does."""
    solver = Solver(FullyConnectedNet([10], 64, 10), load_digits_images(), comm=WORLD, verbose=False, num_epochs=3,
                    callbacks=[Hook(lambda solver: solver.iteration == 7)])
    solver.train()
    assert WORLD.allgather(solver.iteration) == [7] * WORLD.size
    assert WORLD.allgather(solver.callbacks == []) == [rank > 0 for rank in range(WORLD.size)]
    path = WORLD.bcast(os.path.join(tempfile.mkdtemp(), "checkpoint.npz") if WORLD.rank == 0 else None)
    if WORLD.rank == 0:
        solver.save(path)
    WORLD.Barrier()
    again = Solver.resume(path, FullyConnectedNet([10], 64, 10), load_digits_images(), comm=WORLD)
    WORLD.Barrier()
    if WORLD.rank == 0:
        shutil.rmtree(os.path.dirname(path))
    again.train()
    solver.train()
    found = WORLD.allgather((solver.loss_history, again.loss_history))
    assert len(found[0][0]) == 36 and found == [(found[0][0],) * 2] * WORLD.size
    try:
        copy.deepcopy(solver)
    except TypeError as error:
        assert "comm=" in str(error)
    else:
        raise AssertionError("a copy of a team")


def sums():
    """In the order of the ranks, whichever way the numbers go."""
    exchange = Exchange(WORLD)
    for dtype in (np.float32, np.float64):
        for size in (1, 2, 5, 1000, 40001):
            parts = [np.random.RandomState(rank).randn(size).astype(dtype) * 10**rank for rank in range(WORLD.size)]
            wanted = parts[0].copy()
            for part in parts[1:]:
                wanted += part
            for add_up in (exchange.add_up_small, exchange.add_up_large, exchange.add_up):
                found = parts[WORLD.rank].copy()
                add_up(found)
                assert found.tobytes() == wanted.tobytes(), (size, add_up)
            assert exchange.total(parts[WORLD.rank]).tobytes() == wanted.tobytes()
    own = np.full((WORLD.rank, 2), WORLD.rank)
    assert exchange.rows(own, range(WORLD.size))[:, 1].tolist() == [r for r in range(WORLD.size) for _ in range(r)]
    assert exchange.texts(b"x" * WORLD.rank) == [b"x" * rank for rank in range(WORLD.size)]
    assert exchange.from_first(b"all" if WORLD.rank == 0 else None) == b"all"


if __name__ == "__main__":
    for part in (sums, disagreements, stopping, failures):
        part()
    if WORLD.rank == 0:
        print("OK")
