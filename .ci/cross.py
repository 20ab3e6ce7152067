"""Compile the kernels' C for systems that are not here: `python .ci/cross.py [--all] [TARGET ...]`.

Clang and each system's headers come with ziglang, NumPy's headers with its wheel for that platform: pip fetches them.
The C is that of build/stubs, which a build of all levels writes. CPython's headers are this machine's; what they ask of
a system stands in pyconfig.h, which says the same on macOS and other Linux, and for Windows in WINDOWS_PYCONFIG.
Nothing is linked, nothing runs. Looked at are the lowest level and the highest of each processor, with OpenMP; --all is
every level, with OpenMP and without, and generates code too.
"""

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ziglang

ROOT = Path(__file__).resolve().parents[1]
NUMPY = "numpy==2.4.6"
ZIG = Path(ziglang.__file__).parent / "lib"
# target of Clang -> (platform of NumPy's wheel, folders of the system's headers in ziglang)
TARGETS = {
    "x86_64-windows-gnu": ("win_amd64", ["any-windows-any"]),
    "arm64-apple-macos14": ("macosx_14_0_arm64", ["any-darwin-any"]),
    "x86_64-apple-macos14": ("macosx_14_0_x86_64", ["any-darwin-any"]),
    "aarch64-linux-gnu": ("manylinux_2_28_aarch64", ["aarch64-linux-gnu", "generic-glibc", "any-linux-any"]),
    "x86_64-linux-musl": ("musllinux_1_2_x86_64", ["x86_64-linux-musl", "generic-musl", "any-linux-any"]),
}
X86_FLAGS = ["-mavx2", "-mfma", "-mbmi2"]
LEVEL_FLAGS = {
    "base": [],
    "v3": X86_FLAGS,
    "v4": [*X86_FLAGS, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"],
}
# A long has 32 bits, a pointer 64, a wchar_t 16; there is no fork and no pthread of the system's own.
WINDOWS_PYCONFIG = """
#ifndef Py_CONFIG_H
#define Py_CONFIG_H
#include <basetsd.h>
#include <io.h>
#include <stdio.h>
#define MS_WINDOWS
#define MS_WIN32
#define MS_WIN64
#define NT_THREADS
#define WITH_THREAD
#define HAVE_DECLSPEC_DLL
#define HAVE_DYNAMIC_LOADING
#define HAVE_WCHAR_H 1
#define HAVE_STDINT_H 1
#define HAVE_ERRNO_H 1
#define HAVE_STDDEF_H 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_SYS_STAT_H 1
#define HAVE_PY_SSIZE_T 1
typedef intptr_t Py_ssize_t;
#define PY_SSIZE_T_MAX INTPTR_MAX
#define SIZEOF_VOID_P 8
#define SIZEOF_SIZE_T 8
#define SIZEOF_TIME_T 8
#define SIZEOF_SHORT 2
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_DOUBLE 8
#define SIZEOF_FLOAT 4
#define SIZEOF_WCHAR_T 2
#define SIZEOF_OFF_T 4
#define SIZEOF_FPOS_T 8
#define ALIGNOF_MAX_ALIGN_T 8
#define Py_NO_ENABLE_SHARED_IMPORTS
#define PLATLIBDIR "lib"
#endif
"""


def numpy_headers(platform, folder):
    """The include folder of NumPy's wheel for a platform."""
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                    "--only-binary", ":all:", "--platform", platform, "--python-version", "3.11", "--dest", folder,
                    NUMPY], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if "/_core/include/" in name])
    return folder / "numpy" / "_core" / "include"


def python_headers(target, folder):
    """CPython's headers, with the pyconfig.h of the target."""
    include = Path(sysconfig.get_path("include"))
    if "windows" not in target:
        return include
    for path in include.rglob("*.h"):
        to = folder / "python" / path.relative_to(include)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(WINDOWS_PYCONFIG if to.name == "pyconfig.h" else path.read_text(encoding="utf-8"))
    return folder / "python"


def omp_header(folder):
    """OpenMP's header alone, of this machine's gcc: zig has none."""
    path = subprocess.run(["gcc", "-print-file-name=include/omp.h"], check=True, capture_output=True, text=True)
    (folder / "omp").mkdir()
    # Storage for locks, which no kernel takes, by types of gcc that other targets lack.
    text = re.sub(r"__attribute__\s*\(\(__aligned__ \(\d+\)\)\)", "", Path(path.stdout.strip()).read_text())
    (folder / "omp" / "omp.h").write_text(text)
    return folder / "omp"


def units(target, everything):
    """(module, its C file, its level, whether with OpenMP) of each compilation."""
    levels = ["base", "v3", "v4"] if target.startswith("x86_64") else ["base"]
    stubs = ROOT / "build" / "stubs"
    sources = [path for level in levels for path in sorted((stubs / level).glob("*.c"))]
    missing = [level for level in levels if not any(path.parent.name == level for path in sources)]
    if missing:
        raise SystemExit(f"{target}: build/stubs has no C of {', '.join(missing)}; build it first with: "
                         "DASECV_BUILD_ISA=base,v3,v4 python setup.py build_ext --inplace")
    yield "shared", stubs / "shared.c", "base", False
    for path in sources:
        level = path.parent.name
        for openmp in (True, False) if everything else (True,):
            if everything or level in ("base", levels[-1]):
                yield f"{path.stem}{', OpenMP' if openmp else ''}", path, level, openmp


def check(target, everything, folder):
    """Compile the modules for a target. Return how many there are, and what the compiler says of which."""
    platform, system = TARGETS[target]
    include = [f"-I{path}" for path in ("src", numpy_headers(platform, folder), python_headers(target, folder))]
    headers = [ZIG / "include", *(ZIG / "libc" / "include" / name for name in system)]
    omp = ["-fopenmp", f"-isystem{omp_header(folder)}"]
    command = [
        ZIG.parent / "zig", "clang", f"--target={target}", "-nostdinc", *(f"-isystem{path}" for path in headers),
        "-Werror", "-Wno-unused-function", "-Wno-unknown-warning-option", "-Wno-nullability-completeness",
        "-Wno-unreachable-code-fallthrough", "-Wno-macro-redefined", "-Wno-pass-failed", "-DPy_LIMITED_API=0x030B0000",
        "-DNPY_NO_DEPRECATED_API=NPY_2_0_API_VERSION", "-DNPY_TARGET_VERSION=NPY_2_0_API_VERSION",
        "-fno-math-errno", "-fno-trapping-math", *include,
    ]

    def compiled(unit):
        name, path, level, openmp = unit
        out = ["-O1", "-c", "-o", folder / f"{path.stem}{openmp}.o"] if everything else ["-fsyntax-only"]
        done = subprocess.run([*command, *LEVEL_FLAGS[level], *(omp if openmp else []), *out, path], cwd=ROOT,
                              capture_output=True, text=True)
        return name, done.returncode, done.stderr

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(compiled, units(target, everything)))
    return len(results), {name: said for name, status, said in results if status != 0}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all, if none is named")
    parser.add_argument("--all", action="store_true", help="every level, with OpenMP and without; generate code too")
    args = parser.parse_args()
    failed = 0
    for target in args.targets or TARGETS:
        with tempfile.TemporaryDirectory() as folder:
            count, said = check(target, args.all, Path(folder))
        for name, words in said.items():
            print(f"{target}: {name}\n{words[:3000]}")
        print(f"{target}: {count - len(said)} of {count} modules compile", flush=True)
        failed += len(said)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
