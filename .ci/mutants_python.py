"""Mutation testing of the Python layer: Cosmic Ray makes one change at a time, and the module's tests must notice.

    python .ci/mutants_python.py FOLDER [GROUP ...] [--sample N] [--share F] [--seed N] [--survivors]

Needs `pip install cosmic-ray coverage` beside what the tests need, and bubblewrap: a changed module may do anything,
so its tests can write to nothing but their copy of the tree, and see none of the machine's other processes. The group's
tests, or a share of them, run once with nothing changed, which tells which of them come past a line; these are asked
about its changes. FOLDER gets the copy and the results, GROUP.sqlite; a run that was ended goes on where it was.
`--survivors` takes the tests as they are now and asks them again, from the start, about what had survived, or what the
comparison with the kernels alone had shown. Groups and their tests are in mutants_python.toml.
"""

from __future__ import annotations

import argparse
import ast
import collections
import itertools
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
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path("daseCV_c")
BUDGET = 8.0  # seconds of tests that are asked about one change
BY_KERNELS = "by kernels"  # a twin whose change only the comparison with its kernel shows
NEVER = "no test comes past"


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

    def _answer(self, asked: dict[str, Any], seconds: float) -> Any:
        """None where there was none in time: that process is ended, and the next question is one to a new process."""
        if self._process is None:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        if select.select([self._process.stdout], [], [], seconds)[0] and (answer := self._process.stdout.readline()):
            return json.loads(answer)
        self._process.kill()
        self._process.wait()
        self._process = None
        return None

    def passed(self, modules: list[Path], share: float) -> list[Test]:
        """Tests that pass with nothing changed, and which lines of the modules each comes past."""
        found = self._answer({"modules": [str(path) for path in modules], "share": share}, 3600)
        if found is None:
            raise RuntimeError("the tests end without a word")
        return [Test(*each) for each in found]

    def run(self, tests: list[Test], module: str = "", source: str | None = None) -> int | None:
        """The exit status of pytest, or None if it hangs."""
        usual = sum(test.seconds for test in tests)
        status = self._answer({"tests": [test.name for test in tests], "module": module, "source": source,
                               "limit": int(10 + 5 * usual)}, 120 + 20 * usual)
        return None if status in (-signal.SIGXCPU, -signal.SIGKILL) else status


class Test(NamedTuple):
    name: str
    seconds: float
    compiled: bool  # it asks for the kernels
    lines: dict[str, list[int]]  # that it comes past, by module

    @property
    def file(self) -> str:
        return self.name.partition("::")[0]


OPTIONS = ["-xq", "--tb=no", "-p", "no:cacheprovider"]


class Serving:
    """What `Tests` starts: a plugin of pytest that runs the collected tests once for each line of the input."""

    def __init__(self) -> None:
        self._asked, self._answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
        self._coverage: Any = None
        self._ends: dict[str, list[str]] = collections.defaultdict(list)
        self._seconds: collections.Counter[str] = collections.Counter()

    def pytest_runtestloop(self, session: Any) -> bool | None:
        for line in self._asked:
            asked = json.loads(line)
            pid = os.fork()
            if not pid:
                if "modules" in asked:
                    self._pass(session, asked["modules"], asked["share"])
                    os._exit(0)
                resource.setrlimit(resource.RLIMIT_CPU, (asked["limit"], asked["limit"]))
                if asked["source"] is None:
                    names = Path("/tmp/names")  # they are too long for a command
                    names.write_text(json.dumps(asked["tests"]))
                    os.execv(sys.executable, [sys.executable, "-B", os.path.abspath(__file__), "--once", str(names)])
                try:
                    graft(asked["module"], asked["source"])
                except BaseException:  # it cannot even be imported
                    os._exit(1)
                session.items[:] = named(session.items, asked["tests"])
                return None  # to pytest, which runs them
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if "modules" not in asked or status:
                self._answers.write(f"{json.dumps(status if 'modules' not in asked else None)}\n")
                self._answers.flush()
        os._exit(0)

    def _pass(self, session: Any, modules: list[str], share: float) -> None:
        import coverage

        chance = random.Random(1)
        session.items[:] = [item for item in session.items if chance.random() < share]

        self._coverage = coverage.Coverage(data_file=None, include=[os.path.abspath(path) for path in modules])
        for item, after in zip(session.items, [*session.items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        held = self._coverage.get_data()
        lines: dict[str, dict[str, list[int]]] = collections.defaultdict(lambda: collections.defaultdict(list))
        for path in modules:
            for line, names in (held.contexts_by_lineno(os.path.abspath(path)) or {}).items():
                for name in names:
                    lines[name][path].append(line)
        tests = [Test(item.nodeid, self._seconds[item.nodeid], bool(item.get_closest_marker("compiled")),
                      lines[item.nodeid])
                 for item in session.items if self._ends[item.nodeid] == ["passed"] * 3]
        self._answers.write(json.dumps(tests) + "\n")
        self._answers.flush()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if self._coverage is not None:
            self._coverage.start()
            self._coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._ends[report.nodeid].append(report.outcome)
        self._seconds[report.nodeid] += report.duration

    def pytest_runtest_logfinish(self) -> None:
        if self._coverage is not None:
            self._coverage.stop()


def named(items: list[Any], names: list[str]) -> list[Any]:
    by_name = {item.nodeid: item for item in items}
    return [by_name[name] for name in names]


class Once:
    """What a fresh process runs: some of the tests of their files."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = named(items, self.names)


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


def serve(files: list[str], plugin: Any) -> None:
    import pytest

    sys.path.insert(0, os.getcwd())
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    os._exit(pytest.main([*OPTIONS, *files], plugins=[plugin]))


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


def lines_of(source: str, line: int) -> range | None:
    """The lines of the statement, without what it holds; None: it runs when the module is imported."""
    def found(statements: list[Any], inside: bool) -> range | None:
        for statement in statements:
            if statement.lineno <= line <= statement.end_lineno:
                held = [getattr(part, name, []) for part in
                        (statement, *getattr(statement, "handlers", []), *getattr(statement, "cases", []))
                        for name in ("body", "orelse", "finalbody")]
                for body in filter(None, held):
                    if body[0].lineno <= line <= body[-1].end_lineno:
                        return found(body, inside or isinstance(statement, ast.FunctionDef))
                head = statement.body[0].lineno if held[0] else statement.end_lineno + 1
                return range(statement.lineno, max(head, line + 1)) if inside else None
        return None
    return found(ast.parse(source).body, False)


def asked_about(path: Path, line: int, tests: list[Test], own: list[str]) -> list[Test]:
    """Tests that come past the line, the module's own first, the fastest of them first, for some seconds."""
    lines = lines_of(path.read_text(), line)
    if lines is None:
        tests = [test for test in tests if test.file in own]
    else:
        tests = [test for test in tests if not set(lines).isdisjoint(test.lines.get(str(path), ()))]
    tests = sorted(tests, key=lambda test: (test.file not in own, test.seconds))
    ends = itertools.accumulate(test.seconds for test in tests)
    return [test for test, end in zip(tests, ends, strict=True) if end <= BUDGET] or tests[:1]


def tried(mutation: Any, server: Tests, asked: list[Test], alone: bool, anew: bool) -> Any:
    """The tests' verdict on one change. `anew`: what they do not notice is put into the file, and they are asked again,
    from the start, which also shows what happens when modules are imported."""
    from cosmic_ray.mutating import _make_diff, mutate_code
    from cosmic_ray.plugins import get_operator
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

    path = mutation.module_path
    before, operator = path.read_text(), get_operator(mutation.operator_name)(**mutation.operator_args)
    after = mutate_code(before, operator, mutation.occurrence)
    if after is None:
        return WorkResult(worker_outcome=WorkerOutcome.NO_TEST)
    module, said = ".".join(path.with_suffix("").parts), "" if asked else NEVER
    end: int | None = 0
    others, comparing = [test for test in asked if not test.compiled], [test for test in asked if test.compiled]
    for turn, how in [(others, ""), (comparing, BY_KERNELS)] if alone else [(asked, "")]:
        if turn and end == 0:
            end = server.run(turn, module, after)
            said = how if end else ""
    if end == 0 and asked and anew:
        path.write_text(after)
        try:
            end = server.run(asked)
        finally:
            path.write_text(before)
    outcome = TestOutcome.SURVIVED if end == 0 else TestOutcome.KILLED
    return WorkResult(WorkerOutcome.NORMAL, "timeout" if end is None else said, outcome,
                      "\n".join(_make_diff(before, after, path)))


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
        files = files_of(dict.fromkeys(name for part in group["parts"] for name in part["tests"]))
        server = Tests(folder / "tree", files)
        tests = server.passed(list(asked), options.share)
        print(f"{len(tests)} tests pass, {sum(test.seconds for test in tests):.0f} s", flush=True)
        for item in waiting:
            mutation = item.mutations[0]
            own = files_of(asked[mutation.module_path]["tests"])
            them = asked_about(mutation.module_path, mutation.start_pos[0], tests, own)
            result = tried(mutation, server, them, alone, options.survivors)
            db.set_result(item.job_id, result)
            if result.test_outcome != TestOutcome.KILLED:
                print(f"{mutation.module_path}:{mutation.start_pos[0]} {mutation.operator_name} {result.test_outcome}",
                      result.output, result.diff, sep="\n", flush=True)
        report(name, db, json.loads(made.read_text()))


def report(name: str, db: Any, made: dict[str, int]) -> None:
    from cosmic_ray.work_item import TestOutcome

    counts = {module: collections.Counter(made=count) for module, count in made.items()}
    for item, result in db.completed_work_items:
        how = result.output or ("survived" if result.test_outcome == TestOutcome.SURVIVED else "killed")
        counts[str(item.mutations[0].module_path)].update(["run", how])
    columns = ("made", "run", "killed", BY_KERNELS, "timeout", "survived", NEVER)
    print(f"| {name} | {' | '.join(columns)} |")
    for module, count in [*sorted(counts.items()), ("all", sum(counts.values(), collections.Counter()))]:
        print(f"| {module} | {' | '.join(str(count[column]) for column in columns)} |", flush=True)


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2:], Serving())
    if sys.argv[1:2] == ["--once"]:
        names = json.loads(Path(sys.argv[2]).read_text())
        serve(list(dict.fromkeys(name.partition("::")[0] for name in names)), Once(names))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("groups", nargs="*")
    parser.add_argument("--sample", type=int, help="so many changes of each group")
    parser.add_argument("--share", type=float, default=1.0, help="so large a share of the tests")
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
