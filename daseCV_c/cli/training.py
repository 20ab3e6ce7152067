"""What the command `train` does: begin a run or go on with one, save while it trains, write what it has found."""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from daseCV_c import get_num_threads, num_threads, optim
from daseCV_c._files import remove_drafts
from daseCV_c._parallel.errors import PeerError
from daseCV_c._parallel.team import Team
from daseCV_c._training import divergence
from daseCV_c._types import Array
from daseCV_c._version import __version__
from daseCV_c.cli import own_data, plots, runs, space
from daseCV_c.cli.classify import accuracy
from daseCV_c.cli.data import SPLITS, load_dataset
from daseCV_c.cli.errors import CommandError, Stopped, reason
from daseCV_c.cli.evaluate import WORDS
from daseCV_c.cli.lock import locked
from daseCV_c.cli.recipes import OPTIONAL
from daseCV_c.cli.streams import OutputError

NORMALIZATIONS = {"none": None, "batchnorm": "batchnorm", "layernorm": "layernorm"}
PRINT_EVERY = 100


class Plan(NamedTuple):
    """What a run is asked for; config.json keeps it."""

    settings: dict[str, Any]
    recipe: str | None = None
    data: str | None = None
    label_column: str | None = None


def load_data(plan: Plan) -> dict[str, Any]:
    """The data set as the network takes it, and what else is known of it."""
    chosen, path = plan.settings, plan.data
    if chosen["dataset"] != own_data.DATASET:
        if plan.label_column is not None:
            raise CommandError(f"--label-column belongs to --data FILE.csv, not to {chosen['dataset']}")
        return {"scale": None, "classes": None, "columns": None, **load_dataset(chosen["dataset"], path)}
    if path is None:
        raise CommandError(f"--dataset {own_data.DATASET} needs --data and the name of the file")
    data = own_data.load(path, plan.label_column, chosen["dtype"])
    if chosen["model"] == "cnn" and data["X_train"].ndim != 4:
        raise CommandError(f"--model cnn needs images (N, C, H, W), {path} holds rows of {data['X_train'].shape[1]}")
    return data


def network_of(chosen: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """The network's arguments, as config.json keeps them."""
    shape = data["mean_image"].shape
    if chosen["model"] == "cnn":
        own = {"input_dim": list(shape), "num_filters": chosen["filters"], "filter_size": chosen["filter_size"],
               "hidden_dim": chosen["hidden"][0]}
    else:
        own = {"hidden_dims": chosen["hidden"], "input_dim": int(np.prod(shape)), "dropout": chosen["dropout"],
               "normalization": NORMALIZATIONS[chosen["norm"]]}
    return {
        "model": chosen["model"], **own, "num_classes": _classes(data),
        "reg": chosen["reg"], "weight_scale": chosen["weight_scale"], "dtype": chosen["dtype"],
    }


def _classes(data: dict[str, Any]) -> int:
    if data["classes"] is not None:
        return len(data["classes"])
    return int(max(data[f"y_{split}"].max() for split in SPLITS)) + 1


def begin(plan: Plan, out: str | None = None, threads: int | None = None, every: float = 60.0,
          team: Team | None = None) -> Path | None:
    """Train in a new folder, which is returned; None on ranks beside the first, which alone has a folder."""
    if team is not None and team.rank:
        _follow(plan, threads, team)
        return None
    with num_threads(threads) if threads else nullcontext():
        data = load_data(plan)
        with runs.created(out, plan.settings["dataset"]) as folder:
            training = _Training(folder, plan, data, every, team)
            try:
                training.run()
            finally:
                training.discard()
    return folder


def follow(team: Team, threads: int | None) -> None:
    """Train with rank 0, which goes on in a run's folder."""
    told = json.loads(team.from_first(None))
    if told is not None:
        _follow(Plan(*told), threads, team)


def _follow(plan: Plan, threads: int | None, team: Team) -> None:
    with num_threads(threads) if threads else nullcontext():
        _Training(None, plan, load_data(plan), math.inf, team).solver().train()


def resume(folder: Path, plan: Plan, threads: int | None = None, every: float = 60.0,
           team: Team | None = None) -> None:
    """Go on in a run's folder, by its own plan but for the number of epochs."""
    def tell(plan: Plan | None) -> None:
        if team is not None:
            team.from_first(json.dumps(plan).encode("ascii"))

    with locked(folder):
        runs.stay_inside(folder)
        for name in runs.FILES:
            remove_drafts(folder / name)
        config = runs.read_config(folder / runs.CONFIG)
        epochs = config["settings"].get("epochs", plan.settings["epochs"])
        if "results" in config and plan.settings["epochs"] == epochs:
            print(f"{folder} is finished: {epochs} epochs. A larger number of --epochs goes on")
            tell(None)
            return
        if not (folder / runs.CHECKPOINT).exists():
            if (folder / runs.PARAMS).exists():
                raise CommandError(f"{folder} has no {runs.CHECKPOINT} to go on from")
            print(f"{folder} has no checkpoint yet: starting from {runs.CONFIG}")
        tell(plan)
        with num_threads(threads) if threads else nullcontext():
            data = load_data(plan)
            training = _Training(folder, plan, data, every, team)
            if config.get("fingerprint") != training.config["fingerprint"]:
                raise CommandError(f"the data that {folder} was begun with have changed: it cannot go on with others")
            training.run()


def fingerprint(data: dict[str, Any]) -> str:
    """Tells whether data are the same, number by number."""
    digest = hashlib.sha256()
    for split in SPLITS:
        for letter in "Xy":
            part = data.get(f"{letter}_{split}")
            if part is not None:
                digest.update(f"{letter}_{split} {part.dtype.str} {part.shape}".encode("ascii"))
                digest.update(np.ascontiguousarray(part).view(np.uint8).data)
    return f"sha256:{digest.hexdigest()}"


class _Training:
    """One run of the Solver, in a folder that is ours, or beside the rank whose folder it is."""

    def __init__(
        self, folder: Path | None, plan: Plan, data: dict[str, Any], every: float, team: Team | None = None,
    ) -> None:
        self._folder, self.plan, self.data, self.team = folder, plan, data, team
        chosen = plan.settings
        # Before the network is made: it draws its weights.
        np.random.seed(chosen["seed"])
        self.network = network_of(chosen, data)
        self.model = runs.build_network(self.network)
        self.per_epoch = max(len(data["y_train"]) // chosen["batch_size"], 1)
        self.every = every
        self.config = {
            "version": __version__, "dataset": chosen["dataset"],
            "data": None if plan.data is None else str(Path(plan.data).resolve()),
            "recipe": plan.recipe, "settings": chosen, "threads": get_num_threads(), "network": self.network,
            "fingerprint": fingerprint(data),
        }
        if team is not None:
            self.config["ranks"] = team.size
        if data["classes"] is not None:
            self.config.update(label_column=plan.label_column,
                               **{name: data[name] for name in ("label", "classes", "columns")})

    @property
    def folder(self) -> Path:
        """Of rank 0."""
        assert self._folder is not None
        return self._folder

    def run(self) -> None:
        space.see(self.folder, self._room())
        solver = self.solver()
        runs.write_config(self.folder, self.config)
        if self.team is not None:
            print(f"checkpoints in {self.folder}; whatever ends this, to go on: {self._to_go_on()}")
        try:
            solver.train()
        except (BrokenPipeError, OutputError):  # whoever read what is printed has left, or it takes no more
            solver.save(solver.checkpoint_path)
            raise
        except OSError as error:
            raise CommandError(f"{error.filename or self.folder} cannot be written: {reason(error)}; to go on from the "
                               f"checkpoint before: {self._to_go_on()}") from error
        except PeerError as error:
            raise CommandError(f"{error}; to go on from the checkpoint before: {self._to_go_on()}") from error
        except divergence.DivergenceError as error:
            kept = self._keep(solver)
            raise CommandError(str(error) + (f"; the best parameters before are in {self.folder}" if kept else "")
                               ) from error
        except (KeyboardInterrupt, SystemExit) as stop:
            if isinstance(stop, KeyboardInterrupt) and not stop.args:
                raise  # a second Ctrl-C
            self._stopped(solver, stop)
        self._finish(solver)

    def solver(self) -> Any:
        from daseCV_c.solver import Solver

        chosen, path = self.plan.settings, None if self._folder is None else self._folder / runs.CHECKPOINT
        free = {"num_epochs": chosen["epochs"], "progress": sys.stderr.isatty(), "print_every": PRINT_EVERY,
                "checkpoint_path": path, "checkpoint_every": self.every,
                "comm": None if self.team is None else self.team.comm}
        try:
            if path is not None and path.exists():
                return Solver.resume(path, self.model, self.data, **free)
            return Solver(
                self.model, self.data, update_rule=chosen["update_rule"], optim_config={"learning_rate": chosen["lr"]},
                lr_decay=chosen["lr_decay"], batch_size=chosen["batch_size"],
                **{name: chosen[name] for name in OPTIONAL}, **free)
        except (OSError, ValueError, TypeError) as error:
            raise CommandError(str(error)) from error

    def _room(self) -> int:
        """About how many bytes the folder will still take: two checkpoints at a time, and the results."""
        chosen = self.plan.settings
        params: int = sum(array.nbytes for array in self.model.params.values())
        state = len(optim.STATES[chosen["update_rule"]]) + (chosen["average"] is not None)
        # Of a run that is to go on until it is stopped nobody knows the length.
        iterations = min(chosen["epochs"] * self.per_epoch, 10**5)
        checkpoint = params * (2 + state) + 24 * iterations + 2**14
        held = sum(path.stat().st_size for name in runs.FILES if (path := self.folder / name).is_file())
        room: int = max(2 * checkpoint + params + 100 * iterations + 2**17 - held, 2**14)
        return room

    def _keep(self, solver: Any) -> bool:
        """Write the best parameters so far and the histories; False if there were none worth it."""
        if not solver._checked or divergence.not_finite(solver.best_params):
            return False
        runs.write_params(self.folder, runs.state(self.model, self.data["mean_image"], self.data["scale"]))
        runs.write_history(self.folder, runs.history_rows(solver, self.per_epoch))
        return True

    def _stopped(self, solver: Any, stop: BaseException) -> None:
        """After the first Ctrl-C or SIGTERM: nothing is lost."""
        code = stop.code if isinstance(stop, SystemExit) and isinstance(stop.code, int) else 130
        self._keep(solver)
        raise Stopped(code, f"stopped after iteration {solver.iteration} of {solver.num_iterations}; to go on: "
                            f"{self._to_go_on()}") from stop

    def _to_go_on(self) -> str:
        ranks = "" if self.team is None else f"mpiexec -n {self.team.size} "
        return f"{ranks}python -m daseCV_c train --resume {shlex.quote(str(self.folder))}"

    def _finish(self, solver: Any) -> None:
        if not self._keep(solver):
            raise CommandError("the parameters that training ended with are not finite")
        results = {f"{split}_acc": accuracy(self.model, self.data, split)
                   for split in ("val", "test") if f"X_{split}" in self.data}
        drawn = self._pictures(list(runs.history_rows(solver, self.per_epoch)))
        # Last: a run with results is finished.
        runs.write_config(self.folder, {**self.config, "results": results})
        for split, found in results.items():
            print(f"{WORDS[split.removesuffix('_acc')]} accuracy: {found:.4f}")
        print(f"saved in {self.folder}" + ("" if drawn else " (no pictures: matplotlib is not installed)"))

    def _pictures(self, history: list[runs.Row]) -> bool:
        """Write the run's pictures; False without matplotlib."""
        w: Array | None = self.model.params.get("W1")
        try:
            drawn = plots.save_curves(history, self.folder / runs.CURVES)
            if w is not None and w.ndim == 4:
                drawn = plots.save_filters(w, self.folder / runs.FILTERS)
        except OSError as error:
            raise CommandError(f"{error.filename or self.folder} cannot be written: {reason(error)}") from error
        return drawn

    def discard(self) -> None:
        """A new run that has nothing to go on from leaves nothing; one that was killed goes on from config.json."""
        if not any((self.folder / name).exists() for name in (runs.CHECKPOINT, runs.PARAMS)):
            (self.folder / runs.CONFIG).unlink(missing_ok=True)
