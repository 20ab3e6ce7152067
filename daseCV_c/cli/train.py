"""The command `train`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from daseCV_c import optim
from daseCV_c._parallel.team import Team
from daseCV_c.cli import options, own_data, ranks, runs, training
from daseCV_c.cli.errors import CommandError, reason
from daseCV_c.cli.recipes import DEFAULT_FOR, RECIPES, SETTINGS, settings
from daseCV_c.cli.training import NORMALIZATIONS, Plan
from daseCV_c.schedules import SCHEDULES


def register(commands: Any) -> None:
    p = commands.add_parser(
        "train", help="train a network and keep it in a folder",
        description="Train a FullyConnectedNet or, with --model cnn, a ThreeLayerConvNet. Without options: "
                    "a batch-normed network on the bundled digits. Options win over the recipe.")
    add_settings(p)
    options.add_threads(p)
    p.add_argument("--out", metavar="RUN", default=None, help="new folder (default: runs/<dataset>-<n>)")
    p.add_argument("--resume", metavar="RUN", default=None,
                   help="go on in RUN, by its own settings; --epochs may be larger than they say")
    p.add_argument("--checkpoint-every", type=options.rate, default=60.0, metavar="SECONDS",
                   help="save so often within an epoch; default: 60")
    p.add_argument("--mpi", action=argparse.BooleanOptionalAction, default=None,
                   help="train one network on all ranks of MPI; default: if mpiexec has started more than one")
    p.set_defaults(run=_run)


def add_settings(p: argparse.ArgumentParser) -> None:
    """The options that say what is trained and how; `given_settings` reads them back."""
    def add(*names: str, **how: Any) -> None:
        p.add_argument(*names, default=argparse.SUPPRESS, **how)

    p.add_argument("--recipe", choices=sorted(RECIPES), default=None, help="named settings to start from")
    add("--model", choices=sorted(DEFAULT_FOR), help="default: the recipe's, else fc")
    add("--dataset", choices=sorted(DEFAULT_FOR["fc"]), help="default: digits")
    p.add_argument("--data", metavar="PATH", default=None,
                   help="folder that holds CIFAR-10; or your own data: .csv, or .npz with X and y")
    p.add_argument("--label-column", metavar="NAME", default=None,
                   help="column of a .csv that holds the labels, by name or number (default: label, else the last)")
    add("--hidden", nargs="+", type=options.count, metavar="UNITS", help="sizes of the hidden layers (cnn: one)")
    add("--filters", type=options.count, metavar="N", help="filters of the convolution (cnn)")
    add("--filter-size", type=options.odd, metavar="N", help="their height and width, odd (cnn)")
    add("--norm", choices=tuple(NORMALIZATIONS), help="(fc)")
    add("--dropout", type=options.keep, metavar="KEEP", help="probability of keeping a unit (fc)")
    add("--reg", type=options.not_negative, help="strength of the L2 penalty")
    add("--weight-scale", type=options.scale, metavar="STD",
        help="deviation of the first weights; he or glorot: as the sizes of the layers ask for")
    add("--update-rule", choices=tuple(optim.SETTINGS))
    add("--lr", type=options.rate, help="learning rate")
    add("--lr-decay", type=options.rate, metavar="FACTOR", help="multiplies the rate after each epoch")
    add("--schedule", type=options.schedule, metavar="NAME[,KEY=VALUE...]",
        help=f"of the learning rate, in place of --lr-decay: {', '.join(SCHEDULES)}; such as step,every=100,factor=0.5")
    add("--early-stopping", type=options.early_stopping, metavar="N[,KEY=VALUE...]",
        help="end after N checks without progress; keys: min_delta, monitor")
    add("--clip-norm", type=options.rate, metavar="NORM", help="scale gradients with a larger norm down to it")
    add("--average", type=options.average, metavar="KEY=VALUE",
        help="average the parameters: last=5 (epochs), or decay=0.999 (each step)")
    add("--batch-size", type=options.count, metavar="N")
    add("--epochs", type=options.count, metavar="N")
    add("--seed", type=options.seed)
    add("--dtype", choices=("float32", "float64"))


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that stood on the command line."""
    return {name: value for name, value in vars(args).items() if name in SETTINGS}


def plan_of(args: argparse.Namespace) -> Plan:
    """The recipe's settings with those of the command line on top, and where the data are."""
    given = given_settings(args)
    if args.recipe is None and args.data is not None and not Path(args.data).is_dir():
        given = {"dataset": own_data.DATASET, **given}
    return Plan(settings(given, args.recipe), args.recipe, args.data, args.label_column)


def _run(args: argparse.Namespace) -> None:
    with ranks.joined(args.mpi, args.threads) as (team, threads):
        _train(args, team, threads)


def _train(args: argparse.Namespace, team: Team | None, threads: int | None) -> None:
    if args.resume is None:
        training.begin(plan_of(args), args.out, threads, args.checkpoint_every, team)
        return
    if team is not None and team.rank:
        training.follow(team, threads)
        return
    folder = Path(args.resume)
    if not folder.is_dir():
        raise CommandError(f"there is no run {folder}")
    if args.out is not None and Path(args.out).resolve() != folder.resolve():
        raise CommandError(f"--resume {folder} goes on in that folder, but --out is {args.out}")
    training.resume(folder, _plan_in(folder, args), threads, args.checkpoint_every, team)


def _plan_in(folder: Path, args: argparse.Namespace) -> Plan:
    """The plan of a run that is there; what the command line says must not differ, but for more epochs."""
    config = runs.read_config(folder / runs.CONFIG)
    kept = _checked(folder / runs.CONFIG, config)
    given = given_settings(args)
    for name, value in given.items():
        if name not in kept:
            raise CommandError(f"{_option(name)} does not apply to --model {kept['model']}, which {folder} has")
        if value != kept[name] and not (name == "epochs" and value > kept[name]):
            raise CommandError(f"{_option(name)} is {_shown(value)}, but {folder} has {_shown(kept[name])}" + (
                ": --epochs can only be raised" if name == "epochs" else ""))
    for name in ("recipe", "label_column"):
        value = getattr(args, name)
        if value is not None and value != config.get(name):
            raise CommandError(f"{_option(name)} is {value}, but {folder} has {config.get(name) or 'none'}")
    # The data may lie elsewhere now: whether they are the same is seen when they are read.
    return Plan({**kept, **given}, config.get("recipe"), args.data or config.get("data"), config.get("label_column"))


def _checked(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """The settings in config.json, which must be such as the command line takes."""
    kept = config.get("settings")
    if not isinstance(kept, dict):
        raise CommandError(f"{path} lacks its settings")
    try:
        found = checked(kept, config.get("recipe"))
    except (CommandError, KeyError, TypeError) as error:
        raise CommandError(f"{path}: {reason(error)}") from error
    return found


def checked(given: dict[str, Any], recipe: str | None) -> dict[str, Any]:
    """The settings of a recipe with those `given` on top, if the command line takes them."""
    parser = options.Parser(add_help=False, allow_abbrev=False)
    add_settings(parser)
    return settings(given_settings(parser.parse_args(words_of(given))), recipe)


def words_of(chosen: dict[str, Any]) -> list[str]:
    """The words of a command line that stand for settings."""
    words: list[str] = []
    for name, value in chosen.items():
        if value is not None:
            words += [_option(name), *options.in_words(value)]
    return words


def _option(name: str) -> str:
    return f"--{str(name).replace('_', '-')}"


def _shown(value: Any) -> str:
    return "none" if value is None else " ".join(options.in_words(value))
