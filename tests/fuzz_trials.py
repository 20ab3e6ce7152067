"""Long runs of the same trials as test_fuzz_functions.py, their calls drawn by plain random numbers:

    python tests/fuzz_trials.py --examples 20000 [--seed 1] [--first 500] [FUNCTION ...]

Drawing by hypothesis takes several times as long as the calls themselves. Example number K of a function is the same
in every run with that seed: `--only K FUNCTION` prints its call and tries it again. The functions take turns, some
hundred examples at a time in a process of their own, so all have had about as many whenever the run is ended. The
table has examples, those with a result and seconds; whatever went wrong, crashes and hangs included, is printed with
its number and its call.
"""

import argparse
import faulthandler
import json
import mmap
import os
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import conftest  # noqa: E402, F401  small work is shared out to threads
from fuzzing import FUNCTIONS, compare, drawn_call  # noqa: E402

BLOCK = 250  # examples in one process
LIMIT = 1800  # seconds for them: whatever takes longer hangs
MEMORY = 8 << 30  # bytes of a process: sizes of 2**31 would fill the machine
WRONG = 5  # after so many a function is left alone


def example(name, seed, number):
    return drawn_call(random.Random(f"{seed} {name} {number}").choice, name)


def said(name, seed, number, what):
    return f"{name}, example {number}: {what}\n{example(name, seed, number)!r}"


def block(name, seed, numbers, at):
    """Examples with a result, and what is wrong with others; `at` holds the number that is tried."""
    results, wrong = 0, []
    for number in numbers:
        at[:8] = number.to_bytes(8, "little")
        call = example(name, seed, number)
        try:
            results += compare(call)
        except Exception:  # told to the parent process, and the next one is tried
            wrong.append(said(name, seed, number, traceback.format_exc()))
    return results, wrong


def in_its_own_process(name, seed, numbers):
    """The same, where a crash or a hang is one of the wrong examples."""
    at, (answers, told) = mmap.mmap(-1, 8), os.pipe()
    pid = os.fork()
    if not pid:
        for kind in (signal.SIGINT, signal.SIGTERM):  # sent to all of a group: the parent process ends the run
            signal.signal(kind, signal.SIG_IGN)
        signal.alarm(LIMIT)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        with os.fdopen(told, "w") as answer:
            json.dump(block(name, seed, numbers, at), answer)
        os._exit(0)
    os.close(told)
    with os.fdopen(answers) as answer:
        found = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == 0:
        return json.loads(found)
    return 0, [said(name, seed, int.from_bytes(at[:8], "little"), f"exit status {status}")]


def trial(names, first, examples, seed):
    """Counts of each function: examples, with a result, seconds, wrong. Ctrl-C and SIGTERM end it after a block."""
    counts, ended = {name: [0, 0, 0.0, 0] for name in names}, []
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda *_: ended.append(True))
    for start in range(first, examples, BLOCK):
        numbers = range(start, min(start + BLOCK, examples))
        for name, count in counts.items():
            if ended:
                return counts
            if count[3] >= WRONG:
                continue
            began = time.perf_counter()
            results, wrong = in_its_own_process(name, seed, numbers)
            for k, new in enumerate((len(numbers), results, time.perf_counter() - began, len(wrong))):
                count[k] += new
            print(*wrong, sep="\n\n", end="\n" * bool(wrong), flush=True)
        print(f"{numbers.stop:,} examples of each function", file=sys.stderr, flush=True)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("functions", nargs="*")
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="goes on where an earlier run was ended")
    parser.add_argument("--only", type=int)
    args = parser.parse_args()
    names = args.functions or list(FUNCTIONS)
    if args.only is not None:
        for name in names:
            print(said(name, args.seed, args.only, ""), flush=True)
            compare(example(name, args.seed, args.only))
        return False
    faulthandler.enable()
    warnings.simplefilter("ignore")
    counts = trial(names, args.first, args.examples, args.seed)
    print("| Function | Examples | with a result | s |\n|---|---|---|---|")
    for name, (tried, results, seconds, wrong) in sorted(counts.items()):
        print(f"| `{name}` | {tried:,} | {results:,} | {seconds:.0f} |", f"{wrong} wrong" * bool(wrong))
    tried, _, _, wrong = (sum(column) for column in zip(*counts.values(), strict=True))
    print(f"{tried:,} examples, {wrong} wrong")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
