"""Every test starts from the same random state, threads and backend, and leaves none of its own behind."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

NO_EXTENSION = os.environ.get("DASECV_TEST_NO_EXT") == "1"
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in the background so. Tests send Ctrl-C, to themselves and to programs they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Copied beside an installed package, tests have no tree to read: what it takes to build, the pages, SECURITY.md.
NO_TREE = not (Path(__file__).resolve().parents[1] / "setup.py").is_file()
collect_ignore = [f"test_{name}.py" for name in (
    "answers", "benchmarks", "build", "build_choices", "docs_pages", "docs_reference", "notebook_run", "notebook_years",
    "security",
)] if NO_TREE else []
pytest.register_assert_rewrite("commands", "comparing", "entries")

from bf16_kernels import INSTRUCTIONS, V4  # noqa: E402

import daseCV_c  # noqa: E402
from daseCV_c._runtime import backend as _backend  # noqa: E402
from daseCV_c._runtime import precision as _precision  # noqa: E402
from daseCV_c._runtime import threads as _threads  # noqa: E402
from daseCV_c._runtime.kernels import families_of, specialised  # noqa: E402


def usable_levels():
    """Levels that are built and that this CPU runs; 'missing' fails a test that needs one.

    `DASECV_TEST_LEVELS`, separated by commas, are those to test where others have been tested already.
    """
    if _backend.runtime is None:
        return ["missing"]
    highest = _backend.LEVELS.index(_backend.runtime.cpu_level())
    usable = [level for level in _backend._built_levels() if _backend.LEVELS.index(level) <= highest]
    asked = os.environ.get("DASECV_TEST_LEVELS")
    return [level for level in usable if asked is None or level in asked.split(",")] or ["missing"]


def share_small_work():
    """Arrays of a few thousand numbers are shared out to threads, which would not pay, so that tests see it."""
    for level in usable_levels():
        for module in families_of(level).values() if level != "missing" else ():
            assert module.share_from(2e6) > 0


share_small_work()


# Files whose tests take the longest: begun first, so that no processor waits for them at the end.
LONG = (
    "test_build", "test_build_choices", "test_notebook_run", "test_whole_step", "test_step", "test_check_room",
    "test_concurrency", "test_workers", "test_grade", "test_check", "test_kills", "test_at_the_same_time",
    "test_search", "test_sklearn_mlp", "test_sklearn_mlp_own_tests", "test_sklearn_estimators", "test_fuzz_functions",
)
# Files whose tests share what takes long to make.
WHOLE = ("test_build", "test_build_choices", "test_cli", "test_cli_cnn", "test_cli_files", "test_cli_report",
         "test_cli_resume", "test_data_utils")


def group_of(item, ahead):
    """The name of what runs on one of pytest-xdist's processes, one test after the other. `ahead` counts tests by file.

    Notebooks wait for each other: each fills a machine. Other tests go in handfuls, as pytest-xdist goes through all
    groups that it has given out at each test.
    """
    if item.get_closest_marker("notebook"):
        return "notebook"
    if item.path.stem in WHOLE:
        return item.path.stem
    ahead[item.path] += 1
    return f"{item.path.stem}-{(ahead[item.path] - 1) // (4 if item.path.stem in LONG else 40)}"


def place_of(item):
    """Where a test comes: the long ones, then the others as they were."""
    return LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG)


def pytest_configure(config):
    # pytest-xdist would begin with the groups of most tests, and end with a build.
    if config.pluginmanager.hasplugin("xdist"):
        config.option.loadscopereorder = False


def pytest_report_header():
    if NO_TREE:
        return f"no tree here: {', '.join(collect_ignore)} and tests marked `tree` are left out"


@pytest.hookimpl(hookwrapper=True)  # before pytest-xdist looks for groups, and after pytest has put tests in its order
def pytest_collection_modifyitems(config, items):
    spread = config.getoption("loadgroup", False)  # which pytest-xdist sets in its processes
    ahead = Counter()
    for item in items:
        if {"kernels", "level"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.compiled)
            item.add_marker(pytest.mark.each_level)
        if spread and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(group_of(item, ahead)))
    yield
    if spread:
        items.sort(key=place_of)
    out = [marker for marker, lacks in (("compiled", NO_EXTENSION), ("tree", NO_TREE)) if lacks]
    kept, dropped = [], []
    for item in items:
        (dropped if any(map(item.get_closest_marker, out)) else kept).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


@pytest.fixture(autouse=True)
def clean_state(monkeypatch):
    """Random state, backend, thread count and precision are as they were after each test."""
    random_state = np.random.get_state()
    np.random.seed(231)
    for module, name in ((_backend, "_active"), (_threads, "_requested"), (_precision, "_active")):
        monkeypatch.setattr(module, name, getattr(module, name))
    yield
    np.random.set_state(random_state)


@pytest.fixture(params=INSTRUCTIONS)
def bf16_instructions(request, monkeypatch):
    """The test runs once with each kind of bfloat16 instructions that this CPU has."""
    monkeypatch.setattr(_backend.runtime, "has_amx", lambda: request.param == "amx")
    V4.affine_bf16.use_amx(request.param == "amx")
    yield
    V4.affine_bf16.use_amx(False)


@pytest.fixture
def bfloat16(monkeypatch, bf16_instructions):
    """Level v4 in bfloat16."""
    monkeypatch.setattr(_backend, "_kernels", specialised(vars(V4)))
    monkeypatch.setattr(_backend, "level", "v4")
    daseCV_c.use_backend("compiled")
    return daseCV_c.set_matmul_precision("bfloat16")


# The twins are the same whatever is built, unless nothing is.
@pytest.fixture(params=[pytest.param("numpy", marks=() if NO_EXTENSION else pytest.mark.once),
                        pytest.param("compiled", marks=pytest.mark.compiled)])
def backend(request):
    """The test runs once on each backend."""
    with daseCV_c.use_backend(request.param):
        yield request.param


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(params=usable_levels(), scope="session")
def kernels(request):
    """The compiled module of each family, of each instruction-set level in turn."""
    if request.param == "missing":
        pytest.fail(f"the compiled kernels are not built; run: {_backend.build_command()}")
    return SimpleNamespace(**families_of(request.param))


@pytest.fixture(scope="session")
def entries_by_dtype(kernels):
    return specialised(vars(kernels))


@pytest.fixture
def level(entries_by_dtype, monkeypatch):
    """The layers use each instruction-set level in turn."""
    monkeypatch.setattr(_backend, "_kernels", entries_by_dtype)
    daseCV_c.use_backend("compiled")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_pictures(monkeypatch):
    """`train` draws none: they take nearly all of the time of a short run."""
    monkeypatch.setattr("daseCV_c.cli.plots.save_curves", lambda rows, path: False)
    monkeypatch.setattr("daseCV_c.cli.plots.save_filters", lambda w, path: False)


@pytest.fixture
def script(tmp_path):
    """Run a Python program in a process of its own; a crash is a failure."""
    def start(source, **env):
        path = tmp_path / "program.py"
        path.write_text(source)
        root = str(Path(daseCV_c.__file__).resolve().parents[1])
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, str(path)], cwd=tmp_path, env=environment | env,
            capture_output=True, text=True, check=False,
        )
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout
    return start
