"""Check the kernels' C for systems that are not here: `python .ci/cross.py [TARGET ...]`.

Each target's clang comes with ziglang, the headers of its NumPy with NumPy's wheel for it: pip fetches both. The C
files are those of build/stubs, which any build writes. What CPython's headers ask of the system is in pyconfig.h. That
of macOS and of Linux on other processors says the same as this one where it matters; that of Windows is played:
WINDOWS_PYCONFIG. Nothing is linked and nothing runs. With --objects code is generated as well, which takes longer.
"""

import argparse
import re
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# target of zig -> (platform of NumPy's wheel, levels that are built for it)
TARGETS = {
    "x86_64-windows-gnu": ("win_amd64", ("base", "v3", "v4")),
    "aarch64-macos": ("macosx_14_0_arm64", ("base",)),
    "aarch64-linux-gnu": ("manylinux_2_28_aarch64", ("base",)),
    "x86_64-linux-musl": ("musllinux_1_2_x86_64", ("base", "v3", "v4")),
}
LEVEL_FLAGS = {
    "base": [],
    "v3": ["-mavx2", "-mfma", "-mbmi2"],
    "v4": ["-mavx2", "-mfma", "-mbmi2", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"],
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
                    "numpy>=2,<3"], check=True)
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


def check(target, objects, folder):
    """Compile every module for a target, with OpenMP and without. Return what the compiler says, by module."""
    platform, levels = TARGETS[target]
    include = [f"-I{path}" for path in ("src", numpy_headers(platform, folder), python_headers(target, folder))]
    flags = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-O1" if objects else "-fsyntax-only", "-Werror",
             "-Wno-unused-function", "-Wno-unknown-warning-option", "-Wno-nullability-completeness",
             "-Wno-unreachable-code-fallthrough", "-Wno-macro-redefined", "-Wno-pass-failed",
             "-DPy_LIMITED_API=0x030B0000", "-DNPY_NO_DEPRECATED_API=NPY_2_0_API_VERSION",
             "-DNPY_TARGET_VERSION=NPY_2_0_API_VERSION", "-fno-math-errno", "-fno-trapping-math", *include]
    omp = f"-I{omp_header(folder)}"
    jobs = []
    for source in sorted((ROOT / "build" / "stubs").glob("*/*.c")):
        # No build has every level: the C of one is that of the others, but for its name.
        family, _, written = source.stem.rpartition("_")
        if written not in levels or (family, written) == ("affine_bf16", "base"):
            continue
        for openmp in ([], ["-fopenmp", omp]):
            out = ["-c", "-o", str(folder / f"{source.stem}{len(openmp)}.o")] if objects else []
            jobs.append((f"{source.stem}{' with OpenMP' if openmp else ''}",
                         [*flags, *LEVEL_FLAGS[written], *openmp, *out, str(source)]))
    if not jobs:
        raise SystemExit(f"{target}: build/stubs has no C of {', '.join(levels)}: build the kernels first")

    def run(job):
        done = subprocess.run(job[1], cwd=ROOT, capture_output=True, text=True)
        return job[0], done.returncode, done.stderr

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, jobs))
    return len(jobs), {name: said for name, status, said in results if status != 0}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], default=list(TARGETS))
    parser.add_argument("--objects", action="store_true", help="generate code too")
    args = parser.parse_args()
    failed = 0
    for target in args.targets:
        with tempfile.TemporaryDirectory() as folder:
            count, said = check(target, args.objects, Path(folder))
        for name, words in said.items():
            print(f"{target}: {name}\n{words[:3000]}")
        print(f"{target}: {count - len(said)} of {count} modules compile", flush=True)
        failed += len(said)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
