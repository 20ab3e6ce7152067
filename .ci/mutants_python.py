"""Mutation testing of the Python layer: Cosmic Ray makes one change at a time, and the module's tests must notice.

    python .ci/mutants_python.py FOLDER [GROUP ...] [--sample N] [--seed N] [--survivors]

Needs `pip install cosmic-ray` beside what the tests need, and bubblewrap: a changed module may do anything, so its
tests can write to nothing but their copy of the tree, and see none of the machine's other processes. FOLDER gets that
copy and the results, GROUP.sqlite; a run that was ended goes on where it was. `--survivors` takes the tests as they are
now and asks them again about what had survived, or what the comparison with the kernels alone had shown. Groups and
their tests are in mutants_python.toml.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path("daseCV_c")
CPU_SECONDS, SECONDS = 60, 900  # after which a mutant counts as noticed: it hangs
BY_KERNELS = "by kernels"  # a twin whose change only the comparison with its kernel shows


class Tests:
    """A process in a sandbox that has the libraries loaded and forks for each run of tests."""

    def __init__(self, tree: Path) -> None:
        libraries = [sys.prefix, *(path for path in sys.path if path.endswith("site-packages"))]
        self._command = [
            "bwrap", "--die-with-parent", "--unshare-pid", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
            "--tmpfs", "/tmp", *(word for path in libraries for word in ("--ro-bind", path, path)),
            "--bind", str(tree), str(tree), "--chdir", str(tree), "--setenv", "HOME", "/tmp",
            sys.executable, str(tree / ".ci" / "mutants_python.py"), "--serve"]
        self._process: subprocess.Popen[str] | None = None

    def run(self, names: list[str], alone: bool = False, collect: bool = False) -> int | None:
        """The exit status of pytest, or None if it hangs. `collect`: compile all that the tests import, and keep it."""
        if self._process is None:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        files = [f"tests/test_{name}.py" for name in names]
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([files, alone, collect]) + "\n")
        self._process.stdin.flush()
        if select.select([self._process.stdout], [], [], SECONDS)[0] and (answer := self._process.stdout.readline()):
            return None if int(answer) in (-signal.SIGXCPU, -signal.SIGKILL) else int(answer)
        self._process.kill()
        self._process.wait()
        self._process = None
        return None


def serve() -> None:
    """What `Tests` starts: for each line of its input the tests are run in a fork."""
    import hypothesis.extra.numpy  # noqa: F401
    import pytest

    sys.path.insert(0, os.getcwd())
    answers, nothing = os.fdopen(os.dup(1), "w"), os.open(os.devnull, os.O_RDWR)
    for line in sys.stdin:
        files, alone, collect = json.loads(line)
        pid = os.fork()
        if not pid:
            end = 1
            try:
                for stream in range(3):
                    os.dup2(nothing, stream)
                sys.dont_write_bytecode = not collect
                if not collect:
                    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
                os.environ["DASECV_TEST_NO_EXT"] = str(int(alone))
                end = pytest.main(["-xq", "--tb=no", "-p", "no:cacheprovider", *["--co"] * collect, *files])
            finally:
                os._exit(end)
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
        answers.flush()


def copied(tree: Path) -> None:
    left_out = shutil.ignore_patterns(".git", "build", ".venv*", "runs", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, tree, ignore=left_out)


def order(item: Any) -> tuple[str, str, int]:
    mutation = item.mutations[0]
    return str(mutation.module_path), mutation.operator_name, mutation.occurrence


def sampled(db: Any, modules: list[Path], leave_out: list[str], size: int | None, seed: int) -> dict[str, int]:
    """How many changes there are of each module; all but `size` of them are forgotten."""
    from cosmic_ray import plugins
    from cosmic_ray.commands import init

    unwanted = re.compile("|".join(leave_out))
    wanted = [name for name in plugins.operator_names() if not unwanted.match(name)]
    plugins.operator_names = lambda: wanted
    init(modules, db, {})
    made = sorted(db.work_items, key=order)
    db.clear()
    db.add_work_items(made if size is None else random.Random(seed).sample(made, min(size, len(made))))
    return collections.Counter(str(item.mutations[0].module_path) for item in made)


def tried(mutation: Any, tests: Tests, part: dict[str, list[str]], alone: bool) -> Any:
    """The tests' verdict on one change, which is in the file meanwhile."""
    from cosmic_ray.mutating import _make_diff, use_mutation
    from cosmic_ray.plugins import get_operator
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

    asked = [(part["tests"], True)] * alone + [(part["tests"], False)] + [(part["more"], False)] * ("more" in part)
    operator = get_operator(mutation.operator_name)(**mutation.operator_args)
    with use_mutation(mutation.module_path, operator, mutation.occurrence) as (before, after):
        if after is None:
            return WorkResult(worker_outcome=WorkerOutcome.NO_TEST)
        ends: list[int | None] = []
        while asked and not any(end != 0 for end in ends):
            ends.append(tests.run(*asked.pop(0)))
    outcome = TestOutcome.SURVIVED if ends[-1] == 0 else TestOutcome.KILLED
    said = "timeout" if ends[-1] is None else BY_KERNELS if alone and len(ends) > 1 and ends[-1] else ""
    return WorkResult(WorkerOutcome.NORMAL, said, outcome, "\n".join(_make_diff(before, after, mutation.module_path)))


def run(folder: Path, name: str, group: dict[str, Any], leave_out: list[str], options: argparse.Namespace) -> None:
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import TestOutcome

    session, made, alone = folder / f"{name}.sqlite", folder / f"{name}.json", group.get("alone", False)
    asked = {PACKAGE / module: part for part in group["parts"] for module in part["modules"]}
    for module in asked:
        shutil.copy2(ROOT / module, folder / "tree" / module)  # an earlier run may have been killed within a change
    new = not made.exists()
    with use_db(str(session), WorkDB.Mode.create) as db:
        if new:
            made.write_text(json.dumps(sampled(db, list(asked), leave_out, options.sample, options.seed)))
        waiting = list(db.pending_work_items)
        if options.survivors:
            waiting = [item for item, result in db.completed_work_items
                       if result.test_outcome == TestOutcome.SURVIVED or result.output == BY_KERNELS]
        waiting.sort(key=order)
        random.Random(options.seed).shuffle(waiting)  # what a run that is ended has tried is a sample too
        print(f"{name}: {len(waiting)} to run", flush=True)
        tests, known = Tests(folder / "tree"), set()
        for item in waiting:
            mutation = item.mutations[0]
            part = asked[mutation.module_path]
            names = (*part["tests"], *part.get("more", ()))
            if names not in known:
                tests.run(list(names), collect=True)
                known.add(names)
            result = tried(mutation, tests, part, alone)
            db.set_result(item.job_id, result)
            if result.test_outcome != TestOutcome.KILLED:
                print(f"{mutation.module_path}:{mutation.start_pos[0]} {mutation.operator_name} {result.test_outcome}",
                      result.diff, sep="\n", flush=True)
        # What a change survives passes without one too. Tests that noticed each change may fail in any case.
        survived = {(*part["tests"], *part.get("more", ())) for part in (
            asked[item.mutations[0].module_path] for item, result in db.completed_work_items
            if result.test_outcome == TestOutcome.SURVIVED)}
        for names in known - survived:
            if any(tests.run(list(names), way) != 0 for way in {alone, False}):
                print(f"The tests {', '.join(names)} fail without a change: what was said of these modules is void")
        report(name, db, json.loads(made.read_text()))


def report(name: str, db: Any, made: dict[str, int]) -> None:
    from cosmic_ray.work_item import TestOutcome

    counts = {module: collections.Counter(made=count) for module, count in made.items()}
    for item, result in db.completed_work_items:
        how = "survived" if result.test_outcome == TestOutcome.SURVIVED else result.output or "killed"
        counts[str(item.mutations[0].module_path)].update(["run", how])
    columns = ("made", "run", "killed", BY_KERNELS, "timeout", "survived")
    print(f"| {name} | {' | '.join(columns)} |")
    for module, count in [*sorted(counts.items()), ("all", sum(counts.values(), collections.Counter()))]:
        print(f"| {module} | {' | '.join(str(count[column]) for column in columns)} |", flush=True)


def main() -> None:
    if sys.argv[1:] == ["--serve"]:
        serve()
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("groups", nargs="*")
    parser.add_argument("--sample", type=int, help="so many changes of each group")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--survivors", action="store_true")
    options = parser.parse_args()
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
    leave_out = table.pop("leave_out")
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    tree = folder / "tree"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if not tree.exists():
        copied(tree)
    elif options.survivors:
        shutil.rmtree(tree / "tests")
        shutil.copytree(ROOT / "tests", tree / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    os.chdir(tree)
    for name in options.groups or table:
        run(folder, name, table[name], leave_out, options)


if __name__ == "__main__":
    main()
