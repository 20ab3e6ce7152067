"""The artefacts: sdist, a wheel from it without OpenMP and vectors, no build at all, the choice of a level."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from student_way import Way

from daseCV_c._compiled import sources

ROOT = Path(__file__).resolve().parents[1]
LEFT_BEHIND = shutil.ignore_patterns(
    ".git", "build", "dist", "*.so", "*.pyd", "__pycache__", "*.egg-info", ".venv*", ".hypothesis", "runs", "input",
    "output", ".*_cache",
)


def clean_env(**more):
    """The environment without what would steer a build or an import."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("DASECV_") and k != "PYTHONPATH"}
    return env | more


def run(command, cwd, **env):
    done = subprocess.run([sys.executable, *map(str, command)], cwd=cwd, env=clean_env(**env), capture_output=True,
                          text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory):
    """(sdist, wheel built from that sdist, what the build said). The wheel's kernels are serial and of plain loops, as
    a compiler makes them that has neither OpenMP nor vectors: with these they are those of the tree.

    They stay in the folder that `DASECV_TEST_DIST` names: such kernels need not be built again to be tested.
    """
    tree = tmp_path_factory.mktemp("checkout") / "tree"
    out = Path(os.environ.get("DASECV_TEST_DIST") or tmp_path_factory.mktemp("dist"))
    out.mkdir(exist_ok=True)
    shutil.copytree(ROOT, tree, ignore=LEFT_BEHIND)
    done = run(["-m", "build", "--no-isolation", "--outdir", out, tree], out, DASECV_BUILD_ISA="base",
               DASECV_NO_OPENMP="1", CPPFLAGS="-DPLAIN_LOOPS")
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(artefacts, tmp_path_factory):
    """A folder with the installed wheel."""
    folder = tmp_path_factory.mktemp("site")
    run(["-m", "pip", "install", "-q", "--no-deps", "--target", folder, artefacts[1]], folder)
    return folder


@pytest.mark.build
def test_sdist_holds_every_source(artefacts):
    with tarfile.open(artefacts[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {str(p.relative_to(ROOT)) for p in (ROOT / "src").rglob("*") if p.is_file()}
    wanted |= {"setup.py", "pyproject.toml", ".ci/oldest.txt", "LICENSE", "README.md", "Makefile", "CONTRIBUTING.md",
               "daseCV_c/datasets/digits.npz", "daseCV_c/cli/report/page.html.j2", "daseCV/py.typed"}
    wanted |= {str(p.relative_to(ROOT)) for name in ("daseCV", "daseCV_c") for p in (ROOT / name).rglob("*.py*")
               if p.suffix in (".py", ".pyi")}
    wanted |= {str(p.relative_to(ROOT)) for p in (ROOT / "tests").rglob("*.py")}
    assert wanted <= names, sorted(wanted - names)
    assert not [name for name in names if name.endswith((".so", ".pyc"))]


@pytest.mark.build
def test_wheel_holds_the_package_alone(artefacts):
    with zipfile.ZipFile(artefacts[1]) as wheel:
        names = wheel.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"daseCV", "daseCV_c"}
    assert not [name for name in names if name.endswith((".pyx", ".c", ".pxi", ".h"))]
    assert any(name.startswith("daseCV_c/_compiled/base/networks.") for name in names)
    assert {"daseCV_c/_compiled/sources.sha256", "daseCV/layers.py", "daseCV/py.typed",
            "daseCV_c/_coursework/notebooks/common.py", "daseCV_c/_coursework/notebooks/Dropout.py"} <= set(names)


@pytest.mark.build
def test_installed_wheel_trains_from_an_empty_folder(site, tmp_path):
    where = run(["-c", "import daseCV_c; print(daseCV_c.__file__)"], tmp_path, PYTHONPATH=str(site))
    assert Path(where.stdout.strip()).is_relative_to(site)
    run(["-W", "error::RuntimeWarning", "-m", "daseCV_c", "train", "--epochs", "1", "--out", "run"], tmp_path,
        PYTHONPATH=str(site))
    assert {"config.json", "history.csv", "best.npz"} <= {p.name for p in (tmp_path / "run").iterdir()}


@pytest.mark.build
def test_tests_beside_an_installed_wheel_leave_out_what_reads_the_tree(site, tmp_path):
    """`.ci/wheel try` runs all others there."""
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=LEFT_BEHIND)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/test_import_name.py",
             "tests/test_loading.py::test_each_family_is_in_one_module", "-k", "family or typed"]
    done = subprocess.run(words, cwd=tmp_path, env=clean_env(PYTHONPATH=str(site)), capture_output=True, text=True)
    assert "no tree here: test_answers.py, " in done.stdout and "1 passed, " in done.stdout, done.stdout + done.stderr


@pytest.mark.build
def test_a_students_way_with_the_installed_wheel(site, tmp_path):
    """In Chinese; `python tests/student_way.py` goes it in both languages, and through the notebooks."""
    way = Way(sys.executable, tmp_path / "我的 作业", "zh", clean_env(PYTHONPATH=str(site)))
    for step in (way.begin, way.write, way.train, way.rank):
        step()


@pytest.mark.build
def test_serial_build_says_so_and_works(artefacts, site, tmp_path):
    assert "OpenMP is switched off" in artefacts[2]
    code = ("import daseCV_c, numpy as np\nfrom daseCV_c.layers import affine_forward\n"
            "facts = daseCV_c.show_config('dict')\n"
            "assert facts['openmp'] is None and facts['backend'] == 'compiled' and facts['threads'] == 1, facts\n"
            "x = np.ones((300, 400)); print(affine_forward(x, x.T, np.zeros(300))[0][0, 0])")
    assert run(["-c", code], tmp_path, PYTHONPATH=str(site)).stdout.strip() == "400.0"


def test_the_oldest_releases_that_are_tried_are_those_asked_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [lines for extra, lines in project["optional-dependencies"].items()
              if extra not in ("bench", "dev", "docs", "torch")]
    asked = {tuple(re.match(r"([\w-]+)>=([\d.]+)", line).groups()) for line in sum(extras, project["dependencies"])}
    lines = (ROOT / ".ci" / "oldest.txt").read_text().splitlines()
    tried = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {name for name, _ in asked} == tried.keys()
    assert [f"{name}>={least}" for name, least in asked if not f"{tried[name]}.".startswith(f"{least}.")] == []


def test_without_kernels_one_warning_names_the_build_command(tmp_path):
    shutil.copytree(ROOT / "daseCV_c", tmp_path / "daseCV_c", ignore=LEFT_BEHIND)
    code = ("import daseCV_c\nfrom daseCV_c.layers import relu_forward\n"
            "print(daseCV_c.get_backend(), relu_forward([-1.0, 2.0])[0].tolist())")
    done = run(["-c", code], tmp_path, PYTHONPATH=str(tmp_path))
    assert done.stdout.strip() == "numpy [0.0, 2.0]"
    assert done.stderr.count("Warning") == 1
    assert "Build them with: python -m pip install " in done.stderr
    asked = subprocess.run([sys.executable, "-W", "ignore", "-c",
                            "import daseCV_c; daseCV_c.use_backend('compiled')"],
                           cwd=tmp_path, env=clean_env(PYTHONPATH=str(tmp_path)), capture_output=True, text=True)
    assert "RuntimeError: use_backend: the compiled kernels are not built" in asked.stderr


@pytest.fixture
def unbuilt(tmp_path):
    """(a clone that is not built, a folder with a built copy that was made of the same sources)."""
    clone, site = tmp_path / "clone", tmp_path / "site"
    shutil.copytree(ROOT / "daseCV_c", clone / "daseCV_c", ignore=LEFT_BEHIND)
    shutil.copytree(ROOT / "src", clone / "src")
    (clone / "setup.py").touch()
    shutil.copytree(ROOT / "daseCV_c", site / "daseCV_c")
    (site / "daseCV_c" / "_compiled" / "sources.sha256").write_text(sources.digest(clone / "src"))
    return clone, site


def backend_in(clone, site):
    code = "import daseCV_c; print(daseCV_c.get_backend()); print(daseCV_c.__file__)"
    done = run(["-c", code], clone, PYTHONPATH=str(site))
    backend, file = done.stdout.splitlines()
    assert Path(file).is_relative_to(clone)
    return backend, done.stderr


@pytest.mark.compiled
def test_a_clone_takes_the_installed_kernels_of_the_same_sources(unbuilt):
    assert backend_in(*unbuilt) == ("compiled", "")


@pytest.mark.compiled
def test_a_clone_takes_no_kernels_of_other_sources(unbuilt):
    with open(unbuilt[0] / "src" / "affine.pyx", "a") as file:
        file.write("# changed\n")
    backend, said = backend_in(*unbuilt)
    assert backend == "numpy" and said.count("Warning") == 1
    assert f"those in {unbuilt[1] / 'daseCV_c'} were built from other sources" in said
    assert "python setup.py build_ext --inplace" in said


@pytest.mark.compiled
def test_a_clone_that_is_built_takes_its_own_kernels(unbuilt):
    clone, site = unbuilt
    shutil.copytree(ROOT / "daseCV_c" / "_compiled", clone / "daseCV_c" / "_compiled", dirs_exist_ok=True)
    code = "from daseCV_c._compiled import runtime; print(runtime.__file__)"
    where = run(["-c", code], clone, PYTHONPATH=str(site)).stdout.strip()
    assert Path(where).is_relative_to(clone)


@pytest.mark.compiled
def test_unknown_level_is_refused(tmp_path):
    done = subprocess.run([sys.executable, "-c", "import daseCV_c"], cwd=ROOT, env=clean_env(DASECV_ISA="v9"),
                          capture_output=True, text=True)
    assert done.returncode != 0
    assert "DASECV_ISA is 'v9', expected one of base, v3, v4" in done.stderr


@pytest.mark.compiled
def test_level_above_the_cpu_is_refused(monkeypatch):
    from daseCV_c._runtime import backend as _backend

    monkeypatch.setenv("DASECV_ISA", "v4")
    with pytest.raises(ImportError, match="supports up to 'v3'"):
        _backend._choose_level("v3", ["base", "v3", "v4"])
    monkeypatch.delenv("DASECV_ISA")
    assert _backend._choose_level("v3", ["base", "v3", "v4"]) == "v3"
    assert _backend._choose_level("base", ["base", "v3", "v4"]) == "base"
