"""Build the extension modules: a few per instruction-set level, each of some kernel families.

A build in place, which an editable install is too, makes only the level that this machine runs, for this Python.
Any other build makes all levels, for this Python and every later one, because what it builds may run elsewhere.

Environment
-----------
DASECV_BUILD_ISA          comma-separated levels to build (default: as said above)
DASECV_ABI3=1 or 0        build for this Python and every later one, or for this Python alone (default: as said above)
DASECV_NO_OPENMP=1        build serial kernels
DASECV_NO_EXT=1           build no kernels: a wheel of Python alone, for every platform
DASECV_DEBUG=1            bounds checks on, light optimization, debug symbols
DASECV_SANITIZE           sanitizers of GCC or Clang: address,undefined or thread (CONTRIBUTING.md says how to run them)
DASECV_WARNINGS=1         all warnings of GCC or Clang, as errors
DASECV_REQUIRE_KERNELS=1  fail where the kernels cannot be built, rather than install the NumPy twins alone
SOURCE_DATE_EPOCH         seconds since 1970, the time of each file in a wheel or sdist: two builds give the same bytes
"""

import gzip
import io
import os
import platform
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist
from setuptools.modified import newer_group

ROOT = Path(__file__).resolve().parent
STUBS = Path("build") / "stubs"
COMPILED = "daseCV_c._compiled"
SHARED = f"{COMPILED}.shared"  # what Cython would put into every module that has memoryviews
RUNTIME = f"{COMPILED}.runtime"
DIGEST = Path("daseCV_c", "_compiled", "sources.sha256")
SOURCES = runpy.run_path(str(ROOT / "daseCV_c" / "_compiled" / "sources.py"))
# What a build adds to each module of a level. `runtime` has the pool of workers and the scratch memory of all others.
COMMON_END = """\
from sharing cimport set_serial_picoseconds
from threads.threads cimport import_threads


def share_from(double picoseconds):
    return set_serial_picoseconds(picoseconds)


import_threads()
"""

MSVC = sys.platform == "win32"
# What is built for: another processor than this where a compiler for it says so, as CPython's own cross builds do.
X86 = os.environ.get("_PYTHON_HOST_PLATFORM", platform.machine()).lower().endswith(("x86_64", "amd64"))
DEBUG = os.environ.get("DASECV_DEBUG") == "1"
SANITIZE = os.environ.get("DASECV_SANITIZE", "")
WARNINGS = os.environ.get("DASECV_WARNINGS") == "1"
NO_EXT = os.environ.get("DASECV_NO_EXT") == "1"
NO_OPENMP = os.environ.get("DASECV_NO_OPENMP") == "1"
REQUIRE_KERNELS = os.environ.get("DASECV_REQUIRE_KERNELS") == "1"
# The oldest Python whose limited API has memoryviews. Other implementations and free-threaded builds have none.
LIMITED_API = 0x030B0000
ABI3 = os.environ.get("DASECV_ABI3")
LIMITED = ABI3 != "0" and sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

# level -> compiler flags: this table is all that tells the levels apart.
LEVEL_FLAGS = {
    "base": [],
    "v3": ["/arch:AVX2"] if MSVC else ["-mavx2", "-mfma", "-mbmi2"],
    "v4": ["/arch:AVX512"] if MSVC else [
        "-mavx2", "-mfma", "-mbmi2", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl",
        "-mprefer-vector-width=512",
    ],
}
LEVELS = tuple(LEVEL_FLAGS) if X86 else ("base",)
# GCC's -O1 alone fuses no multiplication with an addition, and a row's bits would follow from the rows beside it.
LIGHT_FLAGS = ["-O1", "-fexpensive-optimizations", "-g"]
if MSVC:
    COMMON_FLAGS = ["/Od", "/Zi"] if DEBUG else ["/O2"]
else:
    # -g0: Python's own flags ask for debug symbols, which nobody reads here and which take their time.
    COMMON_FLAGS = LIGHT_FLAGS if DEBUG else [
        "-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-Wno-unused-function",
    ]
# Python's own flags make signed overflow wrap around: the sanitizer would not see it.
SANITIZE_FLAGS = [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-fno-wrapv",
                  *LIGHT_FLAGS]
# Left out by name: a stand-in for instructions that a level lacks uses none of its parameters, and neither do some
# functions that Cython writes; a module uses some functions of a header; Cython compares an unsigned index with 0;
# no vector passes from one file to another.
WARNING_FLAGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-unused-function", "-Wno-type-limits",
                 "-Wno-psabi"]
OPENMP_FLAGS = (
    (["/openmp"], []) if MSVC
    else (["-Xpreprocessor", "-fopenmp"], ["-lomp"]) if sys.platform == "darwin"
    else (["-fopenmp"], ["-fopenmp"])
)
# Newer GCC writes some sums as separate multiplications and additions, narrow vectors' but not wide ones'. An
# element's bits would follow from the vector that it falls into, and so from the number of threads.
FUSED_FLAGS = [] if MSVC else ["--param=avoid-fma-max-bits=0"]
# Left to -O3, GCC inlines so much that modules take up to 1.4 times as long to compile. With its own limits for -O2 the
# kernels are as fast with AVX2. With AVX-512 neither the kernels nor the build gained by it, so level v4 goes without.
INLINE_FLAGS = [] if MSVC else [
    "--param=max-inline-insns-single=70", "--param=max-inline-insns-auto=15", "--param=early-inlining-insns=6",
    "--param=inline-min-speedup=30",
]

# What Cython's ways out by an error lead to. Compilers make such ways small, and put them out of the way of others.
COLD_ERRORS = '''
cdef extern from *:
    """
    #ifdef __GNUC__
    static void __Pyx_AddTraceback(const char *, int, int, const char *) __attribute__((cold));
    #endif
    """
'''

EMPTY_PROBE = "int main(void) { return 0; }\n"
HEADERS_PROBE = "#include <Python.h>\n#include <numpy/arrayobject.h>\n" + EMPTY_PROBE
LEVEL_PROBE = '#include "cpu.h"\nint main(void) { return level_number(); }\n'
GCC_PROBE = f"#ifdef __clang__\n#error it has no such flags, and needs none\n#endif\n{EMPTY_PROBE}"
OPENMP_PROBE = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
# Whether compiler and assembler know the instructions for tiles of bfloat16: src/bf16.
AMX_PROBE = """
__attribute__((target("amx-tile,amx-bf16"))) int main(void)
{
    __asm__ volatile("tdpbf16ps %%tmm2, %%tmm1, %%tmm0" : :);
    return 0;
}
"""


def say(text):
    print(f"daseCV_c: {text}", file=sys.stderr, flush=True)


def sanitizers():
    """What DASECV_SANITIZE names, as flags of the compiler and of the linker."""
    if not SANITIZE:
        return [], []
    if SANITIZE not in ("address", "undefined", "address,undefined", "thread"):
        raise SystemExit(f"DASECV_SANITIZE is {SANITIZE!r}, expected address, undefined, address,undefined or thread")
    return SANITIZE_FLAGS, SANITIZE_FLAGS[:1]


def names_a_folder_in_vain(word):
    """Whether a flag has modules look in a folder of this machine, as flags of Python's own build do, for nothing: all
    that they need beside the C library is OpenMP's."""
    found = re.fullmatch(r"-Wl,(?:-rpath|-R)[,=]([^,$]+)", word)
    return found is not None and not any(list(Path(found[1]).glob(name)) for name in ("lib*omp.*", "libiomp5.*"))


def openmp_choices():
    """(flags of the compiler, flags of the linker) that OpenMP may be had by. Homebrew installs its library where no
    compiler looks by itself."""
    compile_args, link_args = OPENMP_FLAGS
    yield compile_args, link_args
    brew = shutil.which("brew")
    if brew:
        folder = subprocess.run([brew, "--prefix", "libomp"], capture_output=True, text=True).stdout.strip()
        yield ([*compile_args, f"-I{folder}/include"],
               [f"-L{folder}/lib", f"-Wl,-rpath,{folder}/lib", *link_args])


def asked_levels():
    """The levels that DASECV_BUILD_ISA names; None if it names none."""
    levels = [level.strip() for level in os.environ.get("DASECV_BUILD_ISA", "").split(",") if level.strip()]
    unknown = sorted(set(levels) - set(LEVELS))
    if unknown:
        raise SystemExit(f"DASECV_BUILD_ISA: {', '.join(unknown)} cannot be built here, "
                         f"expected some of {', '.join(LEVELS)}")
    return levels or None


def sources_of(name, found=None):
    """The files of src that `name` is made of: what it includes or cimports, and what these do."""
    found = set() if found is None else found
    path = ROOT / "src" / name
    if name not in found and path.is_file():
        found.add(name)
        text = path.read_text(encoding="utf-8")
        for near in re.findall(r'"([\w./]+\.(?:h|pyx))"', text):
            sources_of(near, found)
            sources_of(os.path.normpath(os.path.join(os.path.dirname(name), near)).replace(os.sep, "/"), found)
        for package, plain, listed in re.findall(
                r"^\s*(?:from ([\w.]+) )?cimport (?:([\w., ]+)|\(([^)]+)\))", text, re.MULTILINE):
            several = [name.split()[0] for name in (plain or listed).split(",") if name.strip()]
            for module in [package, *(f"{package}.{name}".strip(".") for name in several)]:
                sources_of(module.replace(".", "/") + ".pxd", found)
    return found


def write_if_changed(path, text):
    """Leave an unchanged file alone, so that what is made of it is not made again."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def extension(name, source):
    return Extension(name, [str(source)], include_dirs=["src"], define_macros=[
        ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
    ])


def all_extensions():
    """Every module that may be built; which ones are, the command decides when it has asked the compiler."""
    units = [(module, level, f"{COMPILED}.{level}.{module}")
             for module in SOURCES["MODULES"] for level in LEVELS if module in SOURCES["modules_of"](level)]
    units.append(("runtime", "base", RUNTIME))
    extensions = [extension(SHARED, STUBS / "shared.c")]
    for module, level, name in units:
        extensions.append(extension(name, STUBS / level / f"{module}_{level}.pyx"))
        extensions[-1].families, extensions[-1].level = SOURCES["MODULES"].get(module, (module,)), level
    return extensions


class BuildExt(build_ext):
    """Asks the compiler what it can do before it is given the kernels."""

    def finalize_options(self):
        self.here = bool(self.inplace or self.editable_mode)  # run() sets inplace aside while it builds
        # Calls cost a little less where the modules are for one Python.
        self.limited = LIMITED and not (self.here and ABI3 is None)
        if self.distribution.ext_modules:
            # bdist_wheel finalizes and runs this command anew where it has run before. The run has changed them.
            self.distribution.ext_modules = all_extensions()
        for e in self.distribution.ext_modules:
            e.py_limited_api = self.limited
        super().finalize_options()
        if self.parallel is None:
            self.parallel = PROCESSORS
        if self.here:
            # Kept from build to build, so that only what changed is built again. An editable install would take
            # temporary folders, and build everything each time.
            self.build_temp = str(Path("build") / "inplace" / "temp")
            self.build_lib = str(Path("build") / "inplace" / f"lib-{sys.implementation.cache_tag}")

    def copy_extensions_to_source(self):
        if not self.extensions:
            return
        copied = [Path(self.get_ext_fullpath(e.name)) for e in self.extensions]
        for path in copied:
            # The folders of the levels are never in version control, and the copy does not make them.
            path.parent.mkdir(parents=True, exist_ok=True)
        super().copy_extensions_to_source()
        self.copy_file(str(Path(self.build_lib) / DIGEST), str(ROOT / DIGEST))
        # What an earlier build has left, of other levels or of modules that are no more, does not fit these sources.
        for path in (ROOT / "daseCV_c" / "_compiled").rglob("*"):
            if path.name.endswith((EXTENSION_SUFFIXES[0], ".abi3.so")) and path not in copied:
                path.unlink()

    def get_source_files(self):
        return []  # MANIFEST.in names the sources; those of the extensions are written by the build

    # What the compiler can do.

    def _try(self, source, compile_args=(), link_args=(), link=True, run=False):
        """Compile a program, link it, run it. Return (exit status, or 0 if it is not run, or None if it cannot be
        built or started; what the compiler said)."""
        with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "words"), "w+") as words:
            path = Path(folder) / "probe.c"
            path.write_text(source)
            # A refused flag is an expected answer: keep the compiler's words off the screen.
            saved = os.dup(2)
            try:
                os.dup2(words.fileno(), 2)
                objects = self.compiler.compile([str(path)], output_dir=folder, extra_postargs=list(compile_args))
                if link:
                    self.compiler.link_executable(objects, "probe", output_dir=folder,
                                                  extra_postargs=list(link_args))
            except Exception as error:  # distutils raises several kinds; each means the same: it does not work
                words.seek(0)
                return None, words.read() or str(error)
            finally:
                os.dup2(saved, 2)
                os.close(saved)
            if not run:
                return 0, ""
            try:
                return subprocess.run([self.compiler.executable_filename(os.path.join(folder, "probe"))]).returncode, ""
            except OSError as error:
                return None, str(error)  # it is for another processor than this one

    def _works(self, source, compile_args=(), link_args=()):
        return self._try(source, compile_args, link_args)[0] is not None

    def _obstacle(self):
        """What keeps the kernels from being built here; None if nothing does."""
        if not self._works(EMPTY_PROBE):
            return "no working C compiler"
        status, words = self._try(HEADERS_PROBE, link=False)
        if status is not None:
            return None
        if "Python.h" in words:
            return "no Python.h (Debian and Ubuntu have it in python3-dev, Fedora in python3-devel)"
        lines = [line.strip() for line in words.splitlines() if "error" in line] or [words.strip()]
        return f"NumPy's headers do not compile: {lines[0]}"

    def _levels(self):
        """The levels to build."""
        possible = [level for level in LEVELS
                    if not LEVEL_FLAGS[level] or self._works(EMPTY_PROBE, LEVEL_FLAGS[level])]
        wanted = asked_levels()
        missing = [level for level in wanted or LEVELS if level not in possible]
        if missing:
            say(f"the compiler cannot build {', '.join(missing)}")
        if wanted is None and self.here:
            status, _ = self._try(LEVEL_PROBE, ["-Isrc"], run=True)
            if status in range(len(LEVELS)):
                return [level for level in possible if LEVELS.index(level) <= status][-1:]
        return [level for level in possible if wanted is None or level in wanted]

    def _openmp_flags(self):
        if NO_OPENMP:
            say("OpenMP is switched off by DASECV_NO_OPENMP: building serial kernels")
            return [], []
        for compile_args, link_args in openmp_choices():
            if self._works(OPENMP_PROBE, compile_args, link_args):
                return compile_args, link_args
        say("the compiler has no OpenMP: building serial kernels")
        return [], []

    # The kernels.

    def build_extensions(self):
        try:
            import numpy
        except ImportError:
            raise SystemExit("daseCV_c: building needs NumPy and Cython: "
                             "python -m pip install 'setuptools>=77' 'cython>=3.1,<4' 'numpy>=2'") from None
        self.compiler.add_include_dir(numpy.get_include())
        if not MSVC:
            # setuptools gives LDFLAGS to modules alone: what is tried out would not find the libraries that they find.
            self.compiler.linker_exe = [*self.compiler.linker_exe, *shlex.split(os.environ.get("LDFLAGS", ""))]
        cause = self._obstacle()
        if cause is None:
            try:
                self._build_kernels()
                return
            except Exception as error:
                # Who builds in place wants kernels, and sees why there are none. Who installs gets what works.
                if self.here or REQUIRE_KERNELS:
                    raise
                cause = f"building them failed: {error}"
        if REQUIRE_KERNELS:
            raise SystemExit(f"daseCV_c: {cause}, and DASECV_REQUIRE_KERNELS is set")
        say(f"{cause}: installing without kernels, on the NumPy twins")
        self.extensions = []
        # Of a level half is of no use. The package's own files stay.
        for path in [*(Path(self.build_lib) / "daseCV_c" / "_compiled").rglob("*")]:
            if path.name.endswith(tuple(EXTENSION_SUFFIXES)) or path.name == DIGEST.name:
                path.unlink()

    def _build_kernels(self):
        levels = self._levels()
        self.extensions = [e for e in self.extensions if e.name in (SHARED, RUNTIME) or e.level in levels]
        self._set_flags()
        began = time.monotonic()
        self._translate(levels)
        stale = [e for e in self.extensions
                 if self.force or newer_group(e.sources + e.depends, self.get_ext_fullpath(e.name), "newer")]
        if stale:
            say(f"compiling {len(stale)} modules for {', '.join(levels)}, {min(self.parallel, len(stale))} at a time: "
                "this takes the most time")
        super().build_extensions()
        write_if_changed(Path(self.build_lib) / DIGEST, SOURCES["digest"](ROOT / "src"))
        if stale:
            say(f"built in {time.monotonic() - began:.0f} s")
        else:
            say(f"the kernels for {', '.join(levels)} are up to date")

    def _set_flags(self):
        compile_args, link_args = self._openmp_flags()
        sane_compile_args, sane_link_args = sanitizers()
        compile_args, link_args = compile_args + sane_compile_args, link_args + sane_link_args
        if WARNINGS:
            compile_args = compile_args + WARNING_FLAGS
        if self._works(GCC_PROBE, FUSED_FLAGS):
            compile_args = compile_args + FUSED_FLAGS
        inline_flags = INLINE_FLAGS if self._works(GCC_PROBE, INLINE_FLAGS) else []
        macros = [("DASECV_AMX", "1")] if X86 and not MSVC and self._works(AMX_PROBE) else []
        if self.limited:
            macros.append(("Py_LIMITED_API", f"0x{LIMITED_API:08X}"))
        if not (self.here or DEBUG or SANITIZE or MSVC):
            # Small: nobody reads the names of its own functions, and no exception of C++ passes through them. On macOS
            # the linker needs the names of others.
            compile_args = compile_args + ["-fno-asynchronous-unwind-tables"]
            link_args = link_args + ["-Wl,-x" if sys.platform == "darwin" else "-s"]
        if not (self.here or MSVC):
            self.compiler.linker_so = [word for word in self.compiler.linker_so if not names_a_folder_in_vain(word)]
        for e in self.extensions:
            level = getattr(e, "level", "base")
            e.define_macros += macros
            e.extra_compile_args += COMMON_FLAGS + LEVEL_FLAGS[level] + compile_args
            if level != "v4":
                e.extra_compile_args += inline_flags
            e.extra_link_args += link_args

    def _translate(self, levels):
        """Write each module's C file. cythonize refuses one source for several modules, so each level gets a stub
        that includes it. The stub says with which settings it is built: others make it, and its module, anew."""
        from Cython import __version__
        from Cython.Build import cythonize

        changed, compiler = 0, getattr(self.compiler, "compiler_so", [])
        for e in self.extensions:
            (ROOT / e.sources[0]).parent.mkdir(parents=True, exist_ok=True)
            if e.name == SHARED:
                continue
            names = set()
            for family in e.families:
                sources_of(f"{family}.pyx", names)
            text = "".join(f'include "{family}.pyx"\n' for family in e.families)
            if e.name != RUNTIME:
                sources_of("sharing.pxd", names)
                text += COMMON_END
            e.depends = [f"src/{name}" for name in sorted(names)]
            changed += newer_group(e.depends, e.sources[0].replace(".pyx", ".c"), "newer")
            settings = [__version__, *compiler, *e.extra_compile_args, *e.define_macros, *e.extra_link_args]
            text = f"# cython: language_level=3\n# {settings}\n{text}"
            if self.limited:
                text += COLD_ERRORS
            write_if_changed(ROOT / e.sources[0], text)
        if changed:
            say(f"translating {changed} modules to C with Cython {__version__}")
        translated = cythonize(
            self.extensions,
            include_path=["src"],
            compiler_directives={
                "language_level": 3, "boundscheck": DEBUG, "wraparound": False, "cdivision": True,
                "initializedcheck": DEBUG, "embedsignature": True,
            },
            shared_utility_qualified_name=SHARED,
            quiet=True,
            nthreads=0 if MSVC or sys.platform == "darwin" else PROCESSORS,
        )
        for e, c in zip(self.extensions, translated, strict=True):
            e.sources = c.sources


class Sdist(sdist):
    """The same bytes from the same files, where SOURCE_DATE_EPOCH says of which time they are."""

    def make_archive(self, *args, **kwargs):
        path = super().make_archive(*args, **kwargs)
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        if epoch is None or not path.endswith(".tar.gz"):
            return path
        with tarfile.open(path) as archive:
            held = [(member, member.isreg() and archive.extractfile(member).read())
                    for member in sorted(archive.getmembers(), key=lambda member: member.name)]
        with open(path, "wb") as file, gzip.GzipFile("", "wb", 9, file, int(epoch)) as packed, \
                tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for member, content in held:
                again = tarfile.TarInfo(member.name)
                again.type, again.size, again.mtime = member.type, member.size, int(epoch)
                again.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                archive.addfile(again, io.BytesIO(content) if content is not False else None)
        return path


setup(
    ext_modules=[] if NO_EXT else all_extensions(),
    cmdclass={"build_ext": BuildExt, "sdist": Sdist},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED else {},
)
