"""A run with a schedule, early stopping, clipping or an average, saved and resumed, ends as if it was never stopped."""

import numpy as np
import pytest
from adversarial import frozen
from fusing import data_of, net_of, solver_of

from daseCV_c import num_threads
from daseCV_c.callbacks import Callback
from daseCV_c.schedules import Cosine, Plateau
from daseCV_c.solver import Solver

COMPARED = ("loss_history", "train_acc_history", "val_acc_history", "val_loss_history", "learning_rate_history",
            "epoch", "best_params", "best_bn_params", "best_val_acc", "best_val_loss", "optim_configs", "stop_reason")
OPTIONS = {
    "step": {"schedule": {"name": "step", "every": 2, "factor": 0.5}},
    "cosine": {"schedule": Cosine(final=0.1)},
    "warmup_cosine": {"schedule": {"name": "warmup_cosine", "warmup": 1, "unit": "epoch"}},
    "one_cycle": {"schedule": "one_cycle"},
    "plateau": {"schedule": {"name": "plateau", "patience": 2, "min_delta": 0.5, "cooldown": 1, "factor": 0.5}},
    "plateau, object": {"schedule": Plateau(patience=1, min_delta=1.0)},
    "early stopping": {"early_stopping": {"patience": 3, "min_delta": 0.5, "monitor": "train_loss"}},
    "clipping": {"clip_norm": 0.3},
    "decay": {"average": {"decay": 0.8}},
    "last": {"average": {"last": 3}},
    "all": {"schedule": "one_cycle", "early_stopping": {"patience": 4, "min_delta": 0.2}, "clip_norm": 0.3,
            "average": {"decay": 0.8}},
}
STEPS = 15  # three of an epoch


class Saves(Callback):
    """Saves after each step, and stops after step `at`."""

    def __init__(self, at=None):
        self.at = at

    def on_step_end(self, solver):
        solver.save(f"{solver.iteration}.npz")
        return solver.iteration == self.at


def start(name, **more):
    np.random.seed(3)
    options = {"num_epochs": STEPS // 3, "lr_decay": 1.0} | OPTIONS.get(name, {})
    return solver_of("adam", net_of("dropout"), **options | more)


def state(solver):
    return frozen([[getattr(solver, name) for name in COMPARED], solver.model.params, solver.model.bn_params])


@pytest.mark.parametrize("name", OPTIONS)
def test_saved_after_any_step_and_resumed(here, name):
    alone = start(name, callbacks=[Saves()])
    alone.train()
    following = np.random.rand()
    # Checks are made after the steps 1, 3, 6, 9, 12 and 15.
    for at in range(1, alone.iteration + 1) if name == "all" else (1, 5, alone.iteration - 4, alone.iteration):
        with num_threads(1 + at % 2):
            again = Solver.resume(f"{at}.npz", net_of("dropout"), data_of())
            assert again.iteration == at
            again.train()
        assert np.random.rand() == following and state(again) == state(alone), f"saved after step {at}"


@pytest.mark.parametrize("name", ["plateau", "early stopping", "last", "all"])
def test_the_checkpoints_of_checks(here, name):
    """They are written when those that look at a check have seen it."""
    alone = start(name, checkpoint_name="run")
    alone.train()
    for epoch in range(alone.epoch + 1):
        again = Solver.resume(f"run_epoch_{epoch}.npz", net_of("dropout"), data_of(), checkpoint_name=None)
        again.train()
        assert state(again) == state(alone), f"resumed after epoch {epoch}"


def test_a_function_is_given_again(here):
    def halving(step):
        return 0.5 ** step

    alone = start("", schedule=halving, callbacks=[Saves()])
    alone.train()
    with pytest.raises(ValueError, match="has schedule=.*halving, which a file cannot hold: give schedule= again"):
        Solver.resume("4.npz", net_of("dropout"), data_of())
    again = Solver.resume("4.npz", net_of("dropout"), data_of(), schedule=halving)
    again.train()
    assert state(again) == state(alone)


def test_a_setting_given_again_must_be_the_same(here):
    start("cosine", callbacks=[Saves(4)]).train()
    for same in (Cosine(final=0.1), Cosine(final=0.1).settings()):
        Solver.resume("4.npz", net_of("dropout"), data_of(), schedule=same)
    with pytest.raises(ValueError, match="schedule is"):
        Solver.resume("4.npz", net_of("dropout"), data_of(), schedule=Cosine(final=0.2))
    with pytest.raises(ValueError, match="clip_norm is 1.0"):
        Solver.resume("4.npz", net_of("dropout"), data_of(), clip_norm=1.0)


@pytest.mark.parametrize("name", ["cosine", "last", "plateau"])
def test_more_epochs(here, name):
    """What follows the length of the training follows the new one."""
    start(name, callbacks=[Saves(4)]).train()
    longer = Solver.resume("4.npz", net_of("dropout"), data_of(), num_epochs=8, callbacks=[])
    longer.train()
    assert longer.epoch == 8 and len(longer.loss_history) == 24
    if name == "cosine":
        rates = np.array(longer.learning_rate_history) / 1e-2
        np.testing.assert_allclose(rates[:4], [Cosine(0.1, 15)(step) for step in range(4)], rtol=1e-12)
        np.testing.assert_allclose(rates[4:], [Cosine(0.1, 24)(step) for step in range(4, 24)], rtol=1e-12)
