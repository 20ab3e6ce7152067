"""The parser, and one place where errors become exit codes."""

from __future__ import annotations

import argparse
import math
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from daseCV_c._version import __version__
from daseCV_c.cli.errors import CommandError, reason
from daseCV_c.cli.recipes import DEFAULT_FOR, RECIPES, SETTINGS

UPDATE_RULES = ("sgd", "sgd_momentum", "rmsprop", "adam", "adagrad")


class _Parser(argparse.ArgumentParser):
    """Leaves the message about a wrong argument to `main`."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(message)


def _number(kind: type[float], accept: Callable[[float], object], expected: str) -> Callable[[str], float]:
    """An argparse type: a number of `kind` for which `accept` holds."""
    def convert(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        # A range, not math.isfinite: that fails on integers beyond a float.
        if not -math.inf < value < math.inf or not accept(value):
            raise argparse.ArgumentTypeError(f"{text!r}: expected {expected}")
        return value
    return convert


_count = _number(int, lambda v: 1 <= v <= 10**9, "an integer from 1 to 10**9")
_odd = _number(int, lambda v: 1 <= v < 10**9 and v % 2, "an odd integer from 1 to 10**9")
_rate = _number(float, lambda v: v > 0, "a positive number")
_not_negative = _number(float, lambda v: v >= 0, "a number that is not negative")
_keep = _number(float, lambda v: 0 < v <= 1, "a probability above 0, at most 1")
_seed = _number(int, lambda v: 0 <= v < 2**32, "an integer from 0 to 2**32 - 1")
_threads = _number(int, lambda v: 1 <= v <= 1024, "an integer from 1 to 1024")


def _train(args: Namespace) -> None:
    from daseCV_c.cli import train
    given = {name: value for name, value in vars(args).items() if name in SETTINGS}
    train.train(given, recipe=args.recipe, data_dir=args.data, threads=args.threads, out=args.out)


def _evaluate(args: Namespace) -> None:
    from daseCV_c.cli import evaluate
    evaluate.evaluate(args.folder, data_dir=args.data)


def _predict(args: Namespace) -> None:
    from daseCV_c.cli import evaluate
    evaluate.predict(args.folder, args.images, args.output, raw=args.raw)


def _submit(args: Namespace) -> None:
    from daseCV_c.cli import evaluate
    evaluate.submit(args.folder, args.images, args.phase, raw=args.raw)


def _bench(args: Namespace) -> None:
    from daseCV_c.cli import bench
    bench.bench(threads=args.threads, seconds=args.seconds)


def _config(args: Namespace) -> None:
    from daseCV_c import show_config
    show_config()


def _add_train(commands: Any) -> None:
    p = commands.add_parser(
        "train", help="train a network and keep it in a folder",
        description="Train a FullyConnectedNet or, with --model cnn, a ThreeLayerConvNet. Without options: "
                    "a batch-normed network on the bundled digits. Options win over the recipe.",
        argument_default=argparse.SUPPRESS)
    p.add_argument("--recipe", choices=sorted(RECIPES), default=None, help="named settings to start from")
    p.add_argument("--model", choices=sorted(DEFAULT_FOR), help="default: the recipe's, else fc")
    p.add_argument("--dataset", choices=sorted(DEFAULT_FOR["fc"]), help="default: digits")
    p.add_argument("--data", metavar="DIR", default=None, help="folder that holds CIFAR-10")
    p.add_argument("--hidden", nargs="+", type=_count, metavar="UNITS", help="sizes of the hidden layers (cnn: one)")
    p.add_argument("--filters", type=_count, metavar="N", help="filters of the convolution (cnn)")
    p.add_argument("--filter-size", type=_odd, metavar="N", help="their height and width, odd (cnn)")
    p.add_argument("--norm", choices=("none", "batchnorm", "layernorm"), help="(fc)")
    p.add_argument("--dropout", type=_keep, metavar="KEEP", help="probability of keeping a unit (fc)")
    p.add_argument("--reg", type=_not_negative, help="strength of the L2 penalty")
    p.add_argument("--weight-scale", type=_rate, metavar="STD", help="deviation of the first weights")
    p.add_argument("--update-rule", choices=UPDATE_RULES)
    p.add_argument("--lr", type=_rate, help="learning rate")
    p.add_argument("--lr-decay", type=_rate, metavar="FACTOR", help="multiplies the rate after each epoch")
    p.add_argument("--batch-size", type=_count, metavar="N")
    p.add_argument("--epochs", type=_count, metavar="N")
    p.add_argument("--seed", type=_seed)
    p.add_argument("--dtype", choices=("float32", "float64"))
    p.add_argument("--threads", type=_threads, metavar="N", default=None, help="threads of the kernels")
    p.add_argument("--out", metavar="RUN", default=None, help="new folder (default: runs/<dataset>-<n>)")
    p.set_defaults(run=_train)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="dasecv", description="Train and use the networks of daseCV_c.")
    parser.add_argument("--version", action="version", version=f"dasecv {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    _add_train(commands)

    p = commands.add_parser("evaluate", help="print the accuracies of a trained network")
    p.add_argument("folder", metavar="RUN", help="folder written by train")
    p.add_argument("--data", metavar="DIR", help="folder that holds CIFAR-10")
    p.set_defaults(run=_evaluate)

    images = _Parser(add_help=False)
    images.add_argument("folder", metavar="RUN", help="folder written by train")
    images.add_argument("images", metavar="X.npy",
                        help="images (N, C, H, W) or rows (N, C*H*W), the training mean already subtracted")
    images.add_argument("--raw", action="store_true",
                        help="X.npy holds plain pixels: subtract the mean image stored in RUN")

    p = commands.add_parser("predict", parents=[images], help="write the predicted classes of X.npy")
    p.add_argument("-o", "--output", metavar="FILE", default="preds.npy", help="default: preds.npy")
    p.set_defaults(run=_predict)

    p = commands.add_parser("submit", parents=[images], help="write the leaderboard's files into output/")
    p.add_argument("--phase", type=_count, default=1, metavar="N", help="default: 1")
    p.set_defaults(run=_submit)

    p = commands.add_parser("bench", help="time the compiled kernels beside the NumPy twins",
                            description="Time some layers and one training step of some networks, compiled and "
                                        "with the NumPy twins, in turn. Takes some seconds.")
    p.add_argument("--threads", type=_threads, metavar="N", default=None, help="threads of the kernels")
    p.add_argument("--seconds", type=_rate, default=0.15, metavar="S", help="spent on each number; default: 0.15")
    p.set_defaults(run=_bench)

    p = commands.add_parser("config", help="print how the package was built and what it uses")
    p.set_defaults(run=_config)
    return parser


def _fail(message: str) -> int:
    print(f"dasecv: error: {message}", file=sys.stderr)
    return 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for an error, 130 after Ctrl-C."""
    try:
        args = _parser().parse_args(argv)
        args.run(args)
        sys.stdout.flush()
        return 0
    except CommandError as error:
        return _fail(reason(error))
    except MemoryError as error:
        return _fail(f"out of memory: {reason(error)}")
    except KeyboardInterrupt:
        print("dasecv: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has left. Python would complain again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as stop:  # --help and --version
        return stop.code if isinstance(stop.code, int) else 0
