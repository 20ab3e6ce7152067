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
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path("daseCV_c")
CPU_SECONDS, SECONDS = 60, 900  # after which a mutant counts as noticed: it hangs
BY_KERNELS = "by kernels"  # a twin whose change only the comparison with its kernel shows


class Tests:
    """A process in a sandbox that has collected tests, and forks for each run of some of them.

    In the fork, functions and tables of the changed module get what the changed source gives them: nothing has to be
    imported and collected again. `source` is None: the files are as they are, and all is done from the start.
    """

    def __init__(self, tree: Path, files: list[str]) -> None:
        libraries = [sys.prefix, *(path for path in sys.path if path.endswith("site-packages"))]
        self._command = [
            "bwrap", "--die-with-parent", "--unshare-pid", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
            "--tmpfs", "/tmp", *(word for path in libraries for word in ("--ro-bind", path, path)),
            "--bind", str(tree), str(tree), "--chdir", str(tree), "--setenv", "HOME", "/tmp",
            sys.executable, str(tree / ".ci" / "mutants_python.py"), "--serve", *files]
        self._process: subprocess.Popen[str] | None = None

    def run(self, files: list[str], alone: bool = False, module: str = "", source: str | None = None) -> int | None:
        """The exit status of pytest, or None if it hangs."""
        if self._process is None:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([files, alone, module, source]) + "\n")
        self._process.stdin.flush()
        if select.select([self._process.stdout], [], [], SECONDS)[0] and (answer := self._process.stdout.readline()):
            return None if int(answer) in (-signal.SIGXCPU, -signal.SIGKILL) else int(answer)
        self._process.kill()
        self._process.wait()
        self._process = None
        return None


OPTIONS = ["-xq", "--tb=no", "-p", "no:cacheprovider"]


class Serving:
    """What `Tests` starts: a plugin of pytest that runs the collected tests once for each line of the input."""

    def __init__(self) -> None:
        self._asked, self._answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")

    def pytest_runtestloop(self, session: Any) -> None:
        for line in self._asked:
            files, alone, module, source = json.loads(line)
            pid = os.fork()
            if not pid:
                resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
                if source is None:
                    os.environ["DASECV_TEST_NO_EXT"] = str(int(alone))
                    command = [sys.executable, "-B", "-m", "pytest", *OPTIONS, *files]
                    os.execve(sys.executable, command, dict(os.environ))
                try:
                    graft(module, source)
                except BaseException:  # it cannot even be imported
                    os._exit(1)
                session.items[:] = [item for item in session.items if item.nodeid.partition("::")[0] in files
                                    and not (alone and item.get_closest_marker("compiled"))]
                return  # to pytest, which runs them
            self._answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
            self._answers.flush()
        os._exit(0)


def graft(name: str, source: str) -> None:
    """Everything that the modules have taken from the module `name` becomes what `source` says."""
    module = sys.modules[name]
    space = {key: value for key, value in vars(module).items() if key.startswith("__")}
    exec(compile(source, module.__file__ or name, "exec"), space)
    for key, new in space.items():
        old = vars(module).get(key)
        if getattr(new, "__module__", None) == name and isinstance(old, type):
            for what, value in vars(new).items():
                if what not in ("__dict__", "__weakref__", "__doc__") and not _same_code(vars(old).get(what), value):
                    setattr(old, what, value)
        elif getattr(new, "__module__", None) == name and _same_code(old, new):
            pass
        elif isinstance(old, dict) and isinstance(new, dict) and not key.startswith("__"):
            old.clear()
            old.update(new)
        elif not key.startswith("__"):
            setattr(module, key, new)


def _same_code(old: Any, new: Any) -> bool:
    """The function that others hold gets the code of the new one."""
    if not (isinstance(old, types.FunctionType) and isinstance(new, types.FunctionType)) or new.__closure__:
        return False
    old.__code__, old.__defaults__, old.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__
    return True


def serve(files: list[str]) -> None:
    import pytest

    sys.path.insert(0, os.getcwd())
    serving, nothing = Serving(), os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    os._exit(pytest.main([*OPTIONS, *files], plugins=[serving]))


def copied(tree: Path) -> None:
    left_out = shutil.ignore_patterns(".git", "build", ".venv*", "runs", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, tree, ignore=left_out)


def files_of(names: Iterable[str]) -> list[str]:
    return [f"tests/test_{name}.py" for name in names]


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
    """The tests' verdict on one change. What they do not notice is put into the file, and they are asked anew."""
    from cosmic_ray.mutating import _make_diff, mutate_code
    from cosmic_ray.plugins import get_operator
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

    path = mutation.module_path
    before, operator = path.read_text(), get_operator(mutation.operator_name)(**mutation.operator_args)
    after = mutate_code(before, operator, mutation.occurrence)
    if after is None:
        return WorkResult(worker_outcome=WorkerOutcome.NO_TEST)
    quick, more = files_of(part["tests"]), files_of(part.get("more", []))
    asked, ends = [(quick, True)] * alone + [(quick, False)] + [(more, False)] * bool(more), [0]
    while asked and ends[-1] == 0:
        ends.append(tests.run(*asked.pop(0), ".".join(path.with_suffix("").parts), after))
    if ends[-1] == 0:
        path.write_text(after)
        try:
            ends.append(tests.run([*quick, *more]))
        finally:
            path.write_text(before)
    outcome = TestOutcome.SURVIVED if ends[-1] == 0 else TestOutcome.KILLED
    said = "timeout" if ends[-1] is None else BY_KERNELS if alone and len(ends) > 2 and ends[-1] else ""
    return WorkResult(WorkerOutcome.NORMAL, said, outcome, "\n".join(_make_diff(before, after, path)))


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
        parts = [asked[item.mutations[0].module_path] for item in waiting]
        names = dict.fromkeys(name for part in parts for name in part["tests"] + part.get("more", []))
        tests = Tests(folder / "tree", files_of(names))
        for item in waiting:
            mutation = item.mutations[0]
            result = tried(mutation, tests, asked[mutation.module_path], alone)
            db.set_result(item.job_id, result)
            if result.test_outcome != TestOutcome.KILLED:
                print(f"{mutation.module_path}:{mutation.start_pos[0]} {mutation.operator_name} {result.test_outcome}",
                      result.diff, sep="\n", flush=True)
        # Tests that fail without a change would notice each.
        for module in {item.mutations[0].module_path for item in waiting}:
            every = files_of(asked[module]["tests"] + asked[module].get("more", []))
            if tests.run(every, False, ".".join(module.with_suffix("").parts), module.read_text()) != 0:
                print(f"Of {module} nothing is known: its tests fail without a change", flush=True)
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
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2:])
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
