"""Long runs of the same trials as test_fuzz_functions.py, each function in a process of its own:

    python tests/fuzz_trials.py --examples 20000 [--seed 1] [FUNCTION ...]

It prints examples, calls that gave a result, and seconds. A crash of the interpreter is reported with the call.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
LIMIT = 6 * 3600  # seconds: whatever takes longer hangs


def trial(name, examples, seed, last):
    """All examples of one function; the call that is tried stands in the file `last`."""
    import conftest  # noqa: F401  small work is shared out to threads
    import hypothesis
    from fuzzing import calls, compare

    counts = {"examples": 0, "results": 0}

    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=examples, deadline=None, database=None,
                         suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(calls(name))
    def check(call):
        last.seek(0)
        last.write(repr(call))
        last.truncate()
        last.flush()
        counts["examples"] += 1
        counts["results"] += compare(call)

    check()
    print("done", counts["examples"], counts["results"], flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("functions", nargs="*")
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--last", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.last:
        with open(args.last, "w") as last:
            trial(args.functions[0], args.examples, args.seed, last)
        return 0
    from fuzzing import FUNCTIONS
    failed = 0
    for name in args.functions or FUNCTIONS:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            last = Path(folder) / "last"
            command = [sys.executable, "-W", "ignore", "-X", "faulthandler", __file__, name, "--last", str(last),
                       "--examples", str(args.examples), "--seed", str(args.seed)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
            seconds = time.perf_counter() - began
            words = done.stdout.split()
            if done.returncode == 0 and words[:1] == ["done"]:
                print(f"{name}: {words[1]} examples, {words[2]} with a result, {seconds:.0f} s", flush=True)
                continue
            failed += 1
            print(f"{name}: exit status {done.returncode} after {seconds:.0f} s", done.stderr[-6000:], sep="\n")
            if done.returncode < 0 and last.exists():
                print("the call:", last.read_text(), flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
