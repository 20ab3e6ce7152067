"""Mutation testing of the kernels: which small faults in src would no test notice?

    python tests/mutate_kernels.py WORK                 builds all mutants once, then tests each; goes on where it was
    python tests/mutate_kernels.py WORK --list          what is drawn
    python tests/mutate_kernels.py WORK --show 17       one of them, and what became of it
    python tests/mutate_kernels.py WORK --level v4      what level v4 has alone, bfloat16 among it; its barriers too
    python tests/mutate_kernels.py WORK --again 17,40 --tests leaks,workers
                                                        these are tested again, by these tests as they are now

WORK is a folder: a copy of the tree with all mutants in it, built for level v3 or v4, and what was found. A mutant is
off until the environment variable MUTANT names it. First the tests run once with all off, and it is noted which mutants
each of them reaches. Then each mutant is on for the tests that reach it, the fastest first, until one fails. It takes
GCC, Linux on x86-64, a processor with AVX2, or AVX512_BF16 and AMX, and hours; mutating.py has what a mutant is.
"""

import argparse
import json
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

from mutating import KINDS, SOURCES, Mutant, drawn, inserted

ROOT = Path(__file__).resolve().parents[1]
# Tests that call kernels; others come to no other lines of them.
TESTS = (
    "bad_kernel", "chance", "conv_", "equivalence", "few_threads", "fused_step", "gradients", "integers",
    "memory_order", "output_losses", "prediction", "predictor", "spatial_norms", "step", "threads", "workers",
)
FIRST = 6  # seconds of tests that a mutant gets at first
FAST_BUILD = '"-O1", "-fexpensive-optimizations", "-g0"'  # the second fuses multiply-adds, as -O3 does
IMPORT = """from mutant cimport mutant_on, mutant_served
"""
PXD = """cdef extern from "mutant.h" nogil:
    bint mutant_on(int number) noexcept
    bint mutant_served() noexcept
"""


class Work:
    """The folder, and what is known by now."""

    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        self.tree = self.folder / "tree"
        self.sources = self.folder / "src"
        self.tests_file = self.folder / "tests.json"
        self.state = self.folder / "state.json"
        self.known = json.loads(self.state.read_text()) if self.state.exists() else {}

    def keep(self, **new):
        self.known.update(new)
        draft = self.state.with_suffix(".draft")
        draft.write_text(json.dumps(self.known, indent=1))
        draft.replace(self.state)

    @cached_property
    def tests(self):
        """{name: [seconds, outcome, the mutants that it reaches]}"""
        return json.loads(self.tests_file.read_text())

    @cached_property
    def mutants(self):
        return {int(n): Mutant(**fields) for n, fields in self.known["mutants"].items()}


def draw(work, families, count, seed, level):
    shutil.copytree(ROOT / "src", work.sources)  # places are counted in these
    sources = {file: (work.sources / file).read_text() for family in families for file in SOURCES[family]}
    chosen = drawn(sources, families, count, random.Random(seed), level)
    work.keep(mutants={n: asdict(mutant) for n, mutant in enumerate(chosen, 1)}, refused={}, results={}, seed=seed,
              level=level)


def copy_tree(work, kernels=True):
    """The tracked files, as they are now; without `kernels` what was built stays."""
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True,
                           text=True).stdout.split("\n")
    for name in filter(None, files):
        if (ROOT / name).is_file() and (kernels or not name.startswith(("src/", "setup.py"))):
            (work.tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, work.tree / name)


def insert(work):
    """Write the sources with their mutants. Returns, by file, the lines that mutants take."""
    places = {}
    for file in sorted({file for files in SOURCES.values() for file in files}):
        numbered = {n: mutant for n, mutant in work.mutants.items()
                    if mutant.file == file and str(n) not in work.known["refused"]}
        text, places[file] = inserted(file, (work.sources / file).read_text(), numbered)
        if not file.endswith(".h"):
            text, more = with_import(text)
            places[file] = [(first + more, last + more, numbers) for first, last, numbers in places[file]]
        text = text.replace("    pool.is_child = True\n",
                            "    if mutant_served():\n        return\n    pool.is_child = True\n")
        path = work.tree / "src" / file
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    if not (work.tree / "src" / "mutant.pxd").exists():
        (work.tree / "src" / "mutant.pxd").write_text(PXD)
    return places


def with_import(text):
    """`mutant_on` is imported at the first import, or before everything but a docstring."""
    begin = re.search(r"^(from|cimport|import|cdef|ctypedef) ", text, re.MULTILINE).start()
    return text[:begin] + IMPORT + text[begin:], 1


def build(work):
    """Build; leave out what does not compile, and build again."""
    setup = work.tree / "setup.py"
    for _ in range(30):
        places = insert(work)
        setup.write_text((ROOT / "setup.py").read_text().replace('"-O3", "-g0"', FAST_BUILD))
        environment = os.environ | {
            "DASECV_BUILD_ISA": work.known["level"], "DASECV_ABI3": "0",
            "CC": "ccache gcc" if shutil.which("ccache") else "gcc",
            "CFLAGS": f"-include {ROOT / 'tests' / 'mutant.h'} -I{ROOT / 'tests'} -fmax-errors=0 -w"}
        done = subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=work.tree,
                              env=environment, capture_output=True, text=True)
        (work.folder / "build.log").write_text(done.stdout + done.stderr)
        if done.returncode == 0:
            return
        numbers = blamed(work, places, done.stdout + done.stderr)
        if not numbers:
            raise SystemExit(f"the build fails, and no mutant is to blame: {work.folder / 'build.log'}")
        print(f"not compiled: {', '.join(str(work.mutants[n]) for n in sorted(numbers))}", flush=True)
        work.keep(refused=work.known["refused"] | {str(n): "not compiled" for n in numbers})
    raise SystemExit("the build still fails")


def blamed(work, places, words):
    """The mutants that the compilers complain of."""
    numbers = {int(n) for n in re.findall(r"^\s*\d+ \|.*?mutant_on\((\d+)\)", words, re.MULTILINE)}
    by_file = {}
    cascade = "not found|is not a constant|no suitable|fused types"
    for path, line in re.findall(rf"^([\w./-]+):(\d+):\d+: (?!.*(?:{cascade}))", words, re.MULTILINE):
        file = path.split("src/")[-1]
        for first, last, there in places.get(file, ()):
            if first <= int(line) <= last:
                by_file.setdefault(file.endswith(".pyx"), set()).update(there)
    # What is wrong in a file makes those wrong that take from it.
    numbers |= by_file.get(False) or by_file.get(True, set())
    for path, line in re.findall(r"^([\w./-]+\.c):(\d+):\d+: error", words, re.MULTILINE):
        before = (work.tree / path).read_text().split("\n")[:int(line)]
        nearest = next((m for text in reversed(before[-40:]) if (m := re.search(r"mutant_on\((\d+)\)", text))), None)
        if nearest:
            numbers.add(int(nearest[1]))
    return numbers


def pytest_command(arguments):
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "mutating_reach", "--tb=line",
            *arguments]


def environment_of(work):
    return os.environ | {"PYTHONPATH": f"{work.tree}{os.pathsep}{work.tree / 'tests'}"}


def pytest(work, arguments, limit, **environment):
    """(exit status or None where it ran out of time, what it said, seconds)"""
    command, environment = pytest_command(arguments), environment_of(work) | environment
    began = time.monotonic()
    with subprocess.Popen(command, cwd=work.tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", start_new_session=True) as process:
        try:
            words, status = process.communicate(timeout=limit)[0], process.returncode
        except subprocess.TimeoutExpired:
            status = None
            os.killpg(process.pid, signal.SIGKILL)
            words = process.communicate()[0]
    return status, words, time.monotonic() - began


def reach(work, jobs, asked):
    """Which mutants each test reaches, with none on."""
    for file in work.folder.glob("reach.*"):
        file.unlink()
    chosen = sorted(str(path.relative_to(work.tree)) for path in (work.tree / "tests").glob("test_*.py")
                    if any(name in path.name for name in asked))
    _, words, seconds = pytest(work, ["-n", str(jobs), "-m", "not build and not notebook", *chosen], None,
                               MUTANT_REACH=str(work.folder / "reach"))
    (work.folder / "reach.log").write_text(words)
    # Other tests stay known from earlier.
    tests = json.loads(work.tests_file.read_text()) if work.tests_file.exists() else {}
    tests = {name: test for name, test in tests.items() if name.split("::")[0] not in chosen}
    for file in work.folder.glob("reach.*"):
        if file.suffix in (".seen", ".log"):
            continue
        for line in file.read_text().splitlines():
            name, took, outcome, numbers = json.loads(line)
            known = tests.setdefault(name, [took, outcome, []])
            known[2] = sorted(set(known[2]) | set(numbers))
    failed = [name for name, (_, outcome, _) in tests.items() if outcome == "failed"]
    print(f"{len(tests)} tests in {seconds:.0f} s; {len(failed)} fail with all mutants off, and are left out: {failed}",
          flush=True)
    work.tests_file.write_text(json.dumps(tests))


class Server:
    """A process that has collected the tests, and forks for each mutant."""

    def __init__(self, work):
        files = sorted({name.split("::")[0] for name in work.tests if name != "import"})
        self.ready = False
        self.process = subprocess.Popen(
            pytest_command(["-s", *files]), cwd=work.tree, env=environment_of(work) | {"MUTANT_SERVER": "1"}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)

    def answer(self):
        for line in self.process.stdout:
            if line.startswith(("{", "[")):
                return json.loads(line)
        raise SystemExit("a server has ended")

    def ask(self, number, names, limit):
        if not self.ready:
            self.ready = bool(self.answer())
        print(json.dumps([number, names, limit]), file=self.process.stdin, flush=True)
        return self.answer()


def try_one(work, server, number, most):
    """("killed", "crashed", "time limit", "survived" or "not reached"; by which test; seconds)"""
    began = time.monotonic()
    tests = sorted((took, name) for name, (took, outcome, numbers) in work.tests.items()
                   if number in numbers and outcome == "passed" and name != "import")
    at_import = number in work.tests["import"][2]
    if not tests and not at_import:
        return "not reached", "", 0
    tests = tests or sorted((took, name) for name, (took, outcome, _) in work.tests.items() if outcome == "passed")[1:]
    begun = 0
    for share in (FIRST, most):
        names, took = [], 0.0
        while begun < len(tests) and (took < share or not names):
            took += tests[begun][0]
            names.append(tests[begun][1])
            begun += 1
        if not names:
            break
        limit = 40 + 6 * took
        if at_import:  # a server has passed there
            asked = work.folder / f"asked.{number}"  # too many for a command
            asked.write_text("\n".join(names))
            status, words, _ = pytest(work, ["-x", f"@{asked}"], limit, MUTANT=str(number))
            failed = re.search(r"^(?:FAILED|ERROR) (\S+)", words, re.MULTILINE)
            by = failed[1] if failed else words[-200:]
        else:
            status, by = server.ask(number, names, limit)
        seconds = time.monotonic() - began
        if status is None:
            return "time limit", "", seconds
        if status < 0:
            return "crashed", signal.Signals(-status).name, seconds
        if status != 0:
            return "killed", by, seconds
    return "survived", f"{begun} of {len(tests)} tests", time.monotonic() - began


def try_all(work, numbers, jobs, most):
    servers = queue.SimpleQueue()
    for _ in range(min(jobs, len(numbers))):
        servers.put(Server(work))

    def one(number):
        server = servers.get()
        try:
            return try_one(work, server, number, most)
        finally:
            servers.put(server)

    with ThreadPoolExecutor(jobs) as pool:
        for done in as_completed(running := {pool.submit(one, number): number for number in numbers}):
            number, result = running[done], done.result()
            print(f"{number:4} {result[0]:11} {work.mutants[number]}  [{result[1]}, {result[2]:.1f} s]", flush=True)
            work.keep(results=work.known["results"] | {str(number): result})
    while not servers.empty():
        servers.get().process.stdin.close()


def table(work):
    print("| family | mutants | killed | crashed | time limit | not compiled | not reached | survived |")
    print("|---|" + "--:|" * 7)
    rows = {}
    for number, mutant in work.mutants.items():
        row = rows.setdefault(mutant.family, dict.fromkeys(
            ("all", "killed", "crashed", "time limit", "not compiled", "not reached", "survived"), 0))
        outcome = work.known["refused"].get(str(number)) or work.known["results"].get(str(number), ["?"])[0]
        row["all"] += outcome != "not compiled"
        row[outcome] = row.get(outcome, 0) + 1
    rows["all"] = {key: sum(row.get(key, 0) for row in rows.values()) for key in next(iter(rows.values()))}
    for family, row in rows.items():
        print("|", family, "|", " | ".join(str(count) for count in row.values()), "|")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", help="a folder for the copy of the tree and for what is found")
    parser.add_argument("--family", action="append", choices=SOURCES, help="of these alone (default: of all)")
    parser.add_argument("--count", type=int, default=27, help="drawn of each family, beside those by hand")
    parser.add_argument("--level", choices=("v3", "v4"), default="v3", help="v4: what level v3 has not")
    parser.add_argument("--seed", type=int, default=231)
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--tests", default=",".join(TESTS), help="parts of the names of the files of tests")
    parser.add_argument("--most", type=float, default=120, help="seconds of tests more that a mutant gets then")
    parser.add_argument("--list", action="store_true", help="say what is drawn, and build nothing")
    parser.add_argument("--only-build", action="store_true")
    parser.add_argument("--show", type=int, metavar="NUMBER")
    parser.add_argument("--again", metavar="NUMBERS", help="test these again, with the tests as they are now")
    given = parser.parse_args()
    work = Work(given.work)
    work.folder.mkdir(parents=True, exist_ok=True)
    if "mutants" not in work.known:
        families = [family for family in SOURCES if family != "bf16" or given.level == "v4"]
        draw(work, given.family or families, given.count, given.seed, given.level)
    if given.list:
        for number, mutant in work.mutants.items():
            print(number, mutant)
        return
    if given.show:
        mutant = work.mutants[given.show]
        print(mutant, (work.sources / mutant.file).read_text()[mutant.begin:mutant.end], "=>", mutant.text, sep="\n")
        print(work.known["results"].get(str(given.show)))
        return
    if not work.known.get("built"):
        copy_tree(work)
        build(work)
        work.keep(built=True)
    if given.only_build:
        return
    if given.again:
        copy_tree(work, kernels=False)
        reach(work, given.jobs, given.tests.split(","))
        try_all(work, [int(number) for number in given.again.split(",")], given.jobs, given.most)
        return
    if not work.tests_file.exists():
        reach(work, given.jobs, given.tests.split(","))
    numbers = [n for n in work.mutants if str(n) not in work.known["results"] and str(n) not in work.known["refused"]]
    place = {n: i for i, n in enumerate(numbers)}
    for family in SOURCES:  # of each family one after the other
        place.update((n, i) for i, n in enumerate(n for n in numbers if work.mutants[n].family == family))
    try_all(work, sorted(numbers, key=place.get), given.jobs, given.most)
    table(work)
    counts = {kind: sum(m.kind == kind for m in work.mutants.values()) for kind in (*KINDS, "by hand")}
    print("drawn:", ", ".join(f"{count} {kind}" for kind, count in counts.items()))


if __name__ == "__main__":
    main()
