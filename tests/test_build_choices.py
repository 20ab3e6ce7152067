"""What setup.py builds and what it says, by a compiler that compiles nothing: which levels, what when it cannot."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from building import Builder

pytestmark = pytest.mark.build
ROOT = Path(__file__).resolve().parents[1]
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
LIMITED = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
ELSEWHERE = ".abi3.so" if LIMITED and sys.platform != "win32" else SUFFIX  # one module for every Python from 3.11 on
# Writes what a compiler would have written. A program is a script that exits with the level of the CPU that it plays.
# Where PLAY_REAL is set, a real compiler gets all but two modules, which would take it seconds.
COMPILER = f"""#!{sys.executable} -IS
import os, sys
words = sys.argv[1:]
if "PLAY_REAL" in os.environ and not any(os.path.basename(w).startswith(("shared.", "runtime")) for w in words):
    real = os.environ["PLAY_REAL"].split() + words
    os.execvp(real[0], real)
out = words[words.index("-o") + 1]
sources = [w for w in words if w.endswith(".c")]
text = "".join(open(s).read() for s in sources)
for piece, complaint in eval(os.environ["PLAY_REFUSED"]):
    if piece in text or piece in words or any(piece in s for s in sources):
        sys.exit(complaint)
place = os.environ.get("PLAY_OPENMP_IN")
if place and "-fopenmp" in words and (f"-I{{place}}/include" if sources else f"-L{{place}}/lib") not in words:
    sys.exit("no OpenMP where the compiler looks")
with open(out, "w") as file:
    file.write(os.environ["PLAY_PROGRAM"])
os.chmod(out, 0o755)
"""
PROGRAM = "#!/bin/sh\nexit {level}"


@pytest.fixture(scope="module")
def run_setup():
    """Run setup.py for a CPU of `level`, with a compiler that refuses what holds a piece of text, with a complaint."""
    def run(tree, *command, level=1, refused=None, program=PROGRAM, **env):
        compiler = tree.parents[1] / "compiler"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DASECV_")}
        environment |= {"CC": str(compiler), "LDSHARED": f"{compiler} -shared",
                        "PLAY_PROGRAM": program.format(level=level), "PLAY_REFUSED": repr([*(refused or {}).items()])}
        return builder.run(tree, ["-q", *(command or ("build_ext", "--inplace"))], environment | env)

    with Builder() as builder:
        yield run


@pytest.fixture(scope="module")
def translated(tmp_path_factory, run_setup):
    """The project with three small modules instead of its kernels, after a build of all levels."""
    root = tmp_path_factory.mktemp("choices")
    (root / "compiler").write_text(COMPILER)
    (root / "compiler").chmod(0o755)
    tree = root / "first" / "tree"
    left = shutil.ignore_patterns("*.so", "__pycache__", "sources.sha256")
    for name in ("daseCV", "daseCV_c"):
        shutil.copytree(ROOT / name, tree / name, ignore=left)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    (tree / "src" / "room").mkdir(parents=True)
    for family in ("runtime", "affine", "affine_bf16"):
        (tree / "src" / f"{family}.pyx").write_text("from room.one cimport (\n    Nothing)\n")
    (tree / "src" / "room" / "__init__.pxd").touch()
    (tree / "src" / "room" / "one.pxd").write_text('cdef extern from "room/one.h":\n    ctypedef int Nothing\n')
    with open(tree / "daseCV_c" / "_compiled" / "sources.py", "a") as file:
        file.write('MODULES = {"networks": ("affine",), "affine_bf16": ("affine_bf16",)}\n')
    (tree / "src" / "sharing.pxd").write_text("cdef inline double set_serial_picoseconds(double p):\n    return p\n")
    (tree / "src" / "threads").mkdir()
    (tree / "src" / "threads" / "__init__.pxd").touch()
    (tree / "src" / "threads" / "threads.pxd").write_text("cdef inline void import_threads() noexcept:\n    pass\n")
    (tree / "src" / "room" / "one.h").write_text('#include "two.h"\n')
    (tree / "src" / "room" / "two.h").touch()
    (tree / "src" / "cpu.h").touch()
    done = run_setup(tree, "build", "--build-lib", str(root / "lib"))
    assert done.returncode == 0, done.stderr
    return tree


@pytest.fixture
def tree(translated, request):
    """A copy of it without what was built, but with what Cython wrote, which takes the time."""
    tree = translated.parents[1] / request.node.name / "tree"
    shutil.copytree(translated, tree, ignore=shutil.ignore_patterns("temp.*"))
    return tree


@pytest.fixture
def build(tree, run_setup):
    def run(*command, **how):
        return run_setup(tree, *command, **how)
    return run


def built(folder, suffix=ELSEWHERE):
    """Names of the modules in a folder, with their level."""
    return sorted(p.relative_to(folder).as_posix().removesuffix(suffix) for p in folder.rglob(f"*{suffix}"))


def in_place(tree):
    return built(tree / "daseCV_c" / "_compiled", SUFFIX)


@pytest.mark.parametrize(("level", "modules"), [
    (0, ["base/networks"]), (1, ["v3/networks"]), (2, ["v4/affine_bf16", "v4/networks"]),
])
def test_in_place_the_level_of_this_machine(build, tree, level, modules):
    done = build(level=level)
    assert done.returncode == 0, done.stderr
    assert in_place(tree) == sorted(["runtime", "shared", *modules])


def test_in_place_the_levels_that_were_asked_for(build, tree):
    assert build(DASECV_BUILD_ISA="base, v4").returncode == 0
    assert in_place(tree) == ["base/networks", "runtime", "shared", "v4/affine_bf16", "v4/networks"]
    done = build(DASECV_BUILD_ISA="v9")
    assert done.returncode != 0 and "v9 cannot be built here, expected some of base, v3, v4" in done.stderr


def test_in_place_for_a_processor_whose_programs_cannot_be_started_here(build, tree):
    done = build(program="of another processor")
    assert done.returncode == 0, done.stderr
    assert in_place(tree) == ["base/networks", "runtime", "shared", "v3/networks", "v4/affine_bf16", "v4/networks"]


def test_elsewhere_all_levels(build, tree, tmp_path):
    done = build("build", "--build-lib", str(tmp_path / "lib"))
    assert done.returncode == 0, done.stderr
    assert built(tmp_path / "lib" / "daseCV_c" / "_compiled") == [
        "base/networks", "runtime", "shared", "v3/networks", "v4/affine_bf16", "v4/networks",
    ]
    assert (tmp_path / "lib" / "daseCV_c" / "_compiled" / "sources.sha256").read_text()


def test_a_level_that_the_compiler_lacks_is_left_out(build, tree, tmp_path):
    done = build("build", "--build-lib", str(tmp_path / "lib"), refused={"-mavx512f": "unknown flag"})
    assert done.returncode == 0 and "daseCV_c: the compiler cannot build v4\n" in done.stderr
    assert "v3/networks" in built(tmp_path / "lib" / "daseCV_c" / "_compiled")


@pytest.mark.parametrize("found_by", ["flags", "Homebrew", "nothing"])
def test_openmp_where_the_compiler_does_not_look(build, tree, tmp_path, found_by):
    """As Homebrew keeps it: wheels for macOS would have been serial, as flags of the linker reached no probe."""
    brew = tmp_path / "brew"
    brew.write_text(f'#!/bin/sh\n[ "$*" = "--prefix libomp" ] && echo {tmp_path}\n')
    brew.chmod(0o755)
    how = {
        "flags": {"CPPFLAGS": f"-I{tmp_path}/include", "LDFLAGS": f"-L{tmp_path}/lib"},
        "Homebrew": {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        "nothing": {},
    }[found_by]
    done = build(PLAY_OPENMP_IN=str(tmp_path), **how)
    assert done.returncode == 0, done.stderr
    assert ("no OpenMP: building serial kernels" in done.stderr) == (found_by == "nothing")


def test_only_what_changed_is_built_again(build, tree):
    def said():
        return [line for line in build().stderr.splitlines() if "modules" in line or "up to date" in line]

    assert "compiling 3 modules for v3" in said()[0]
    assert said() == ["daseCV_c: the kernels for v3 are up to date"]
    later = max(path.stat().st_mtime for path in tree.rglob("*")) + 100
    os.utime(tree / "src" / "room" / "two.h", (later, later))
    assert any("compiling 2 modules" in line for line in said())


def test_other_settings_build_again(build, tree):
    assert build().returncode == 0
    assert "compiling 2 modules" in build(DASECV_DEBUG="1").stderr


@pytest.mark.parametrize("light", ["DASECV_DEBUG=1", "DASECV_SANITIZE=undefined"])
def test_light_optimization_fuses_products_with_sums_too(build, light):
    """GCC's -O1 alone does not: with bounds checks predictions had bits that followed from the rows beside them."""
    light = dict([light.split("=")])
    assert build(**light, refused={"-fexpensive-optimizations": "it is there"}).returncode != 0
    assert build(**light).returncode == 0


def test_in_place_nothing_is_left_of_other_builds(build, tree):
    assert build(DASECV_BUILD_ISA="base,v3").returncode == 0
    (tree / "daseCV_c" / "_compiled" / "v3" / f"gone{SUFFIX}").touch()
    (tree / "daseCV_c" / "_compiled" / "v3" / "networks.of-another-python.so").touch()
    assert build().returncode == 0
    assert in_place(tree) == ["runtime", "shared", "v3/networks"]
    assert (tree / "daseCV_c" / "_compiled" / "v3" / "networks.of-another-python.so").exists()


@pytest.mark.skipif(not LIMITED, reason="this Python has no limited API, so there is one kind of module")
def test_in_place_one_kind_of_module(build, tree):
    """Modules for this Python come first where both lie there: those of an earlier build would be the ones in use."""
    assert build().returncode == 0
    assert build(DASECV_ABI3="1").returncode == 0
    folder = tree / "daseCV_c" / "_compiled"
    assert built(folder, SUFFIX) == [] and built(folder, ELSEWHERE) == ["runtime", "shared", "v3/networks"]
    assert build().returncode == 0
    assert built(folder, SUFFIX) == ["runtime", "shared", "v3/networks"] and built(folder, ELSEWHERE) == []


@pytest.fixture
def wheel(build):
    def run(out, **how):
        done = build("bdist_wheel", "--dist-dir", str(out), **how)
        assert done.returncode == 0, done.stderr
        (path,) = out.glob("*.whl")
        return path
    return run


def test_a_wheel_is_for_every_later_python_unless_asked(wheel, tmp_path):
    one = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    assert ("-cp311-abi3-" if LIMITED else f"-{one}-") in wheel(tmp_path / "all").name
    assert f"-{one}-{one}" in wheel(tmp_path / "one", DASECV_ABI3="0").name


def test_a_wheel_after_the_modules_in_one_command(build, tree, tmp_path):
    done = build("build_ext", "bdist_wheel", "--dist-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("daseCV_c: compiling") == 1
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "site")
    assert built(tmp_path / "site" / "daseCV_c" / "_compiled") == [
        "base/networks", "runtime", "shared", "v3/networks", "v4/affine_bf16", "v4/networks",
    ]


def test_a_wheel_names_no_folder_of_the_machine_that_built_it(build, tree, tmp_path):
    """Python's own flags may name the one of its libraries. OpenMP's may lie there, as conda has it."""
    folder = tmp_path / "lib"
    folder.mkdir()
    flag = f"-Wl,-rpath,{folder}"

    def succeeds():
        return build("build", "--build-lib", str(tmp_path / "out"), refused={flag: "it is there"},
                     DASECV_REQUIRE_KERNELS="1", DASECV_BUILD_ISA="base",
                     LDSHARED=f"{tree.parents[1] / 'compiler'} -shared {flag}").returncode == 0

    assert succeeds()
    shutil.rmtree(tmp_path / "out")
    (folder / "libgomp.so.1").touch()
    assert not succeeds()


def test_for_another_processor_than_this(wheel, tmp_path):
    path = wheel(tmp_path, _PYTHON_HOST_PLATFORM="linux-aarch64")
    assert path.name.endswith("linux_aarch64.whl")
    with zipfile.ZipFile(path) as archive:
        folders = {Path(name).parent.name for name in archive.namelist() if name.endswith(".so")}
    assert folders == {"_compiled", "base"}


def test_a_wheel_without_kernels_is_for_every_platform(wheel, tmp_path):
    path = wheel(tmp_path, DASECV_NO_EXT="1")
    assert path.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    assert "daseCV_c/_compiled/__init__.py" in names and not [n for n in names if n.endswith((".so", ".pyd"))]


def test_the_same_bytes_from_the_same_sources(tree, run_setup, tmp_path):
    """Of two builds, at different times, in different folders, from files with other times, by a real compiler."""
    shutil.copy(tree.parents[1] / "compiler", tmp_path)
    _, *link_flags = sysconfig.get_config_var("LDSHARED").split()
    real = {"PLAY_REAL": sysconfig.get_config_var("CC"),
            "LDSHARED": " ".join([str(tmp_path / "compiler"), *link_flags])}
    found = {}
    for name in ("first", "second"):
        copy = tmp_path / name / "tree"
        shutil.copytree(tree, copy)
        if name == "second":
            for path in copy.rglob("*.py"):
                os.utime(path, (1e9, 1e9))
        done = run_setup(copy, "sdist", "--dist-dir", str(tmp_path / name), "bdist_wheel", "--dist-dir",
                         str(tmp_path / name), SOURCE_DATE_EPOCH="1700000000", DASECV_BUILD_ISA="base",
                         DASECV_REQUIRE_KERNELS="1", **real)
        assert done.returncode == 0, done.stderr
        found[name] = {p.name: p.read_bytes() for p in (tmp_path / name).iterdir() if p.is_file()}
    assert len(found["first"]) == 2 and found["first"].keys() == found["second"].keys()
    with zipfile.ZipFile(next((tmp_path / "first").glob("*.whl"))) as archive:
        assert b"PyInit_networks" in archive.read(f"daseCV_c/_compiled/base/networks{ELSEWHERE}")
    assert [name for name, content in found["first"].items() if content != found["second"][name]] == []


OBSTACLES = [
    ({"main": "no"}, "no working C compiler"),
    ({"Python.h": "probe.c:1: fatal error: Python.h: No such file or directory"}, "no Python.h (Debian"),
    ({"arrayobject.h": "x\nprobe.c:2: error: strange\ny"}, "NumPy's headers do not compile: probe.c:2: error: strange"),
]


@pytest.mark.parametrize(("refused", "cause"), OBSTACLES, ids=["compiler", "python", "numpy"])
def test_what_keeps_the_kernels_from_being_built_is_named_in_one_line(build, tree, refused, cause):
    done = build(refused=refused)
    assert done.returncode == 0 and in_place(tree) == []
    assert len(done.stderr.splitlines()) == 1 and cause in done.stderr and "on the NumPy twins" in done.stderr
    asked = build(refused=refused, DASECV_REQUIRE_KERNELS="1")
    assert asked.returncode != 0 and cause in asked.stderr


def test_a_wheel_for_want_of_a_compiler_can_be_imported(wheel, tmp_path):
    """It has the package's own files of the folder that the kernels would lie in."""
    with zipfile.ZipFile(wheel(tmp_path / "dist", refused={"main": "no"})) as archive:
        archive.extractall(tmp_path / "site")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", "import daseCV_c; print(daseCV_c.get_backend())"],
                          cwd=tmp_path / "site", capture_output=True, text=True)
    assert done.stdout == "numpy\n", done.stderr


def test_kernels_that_do_not_compile(build, tree, tmp_path):
    """An install goes on without them; who builds in place, or requires them, is told that it failed."""
    refused = {"networks_v3.c": "networks_v3.c:1: error: of ours"}
    install = "build", "--build-lib", str(tmp_path / "lib")
    done = build(*install, refused=refused)
    assert done.returncode == 0 and "error: of ours" in done.stderr
    assert "building them failed" in done.stderr.splitlines()[-1]
    assert built(tmp_path / "lib") == []
    assert build(*install, refused=refused, DASECV_REQUIRE_KERNELS="1").returncode != 0
    assert build(refused=refused).returncode != 0
