"""Build the extension modules: one per kernel family and instruction-set level.

Environment
-----------
DASECV_NO_OPENMP=1     build serial kernels
DASECV_BUILD_ISA       comma-separated levels to build (default: all that fit the platform)
DASECV_DEBUG=1         bounds checks on, light optimization, debug symbols
"""

import os
import platform
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
FAMILIES = sorted(path.stem for path in (ROOT / "src").glob("*.pyx") if path.stem != "runtime")
MSVC = sys.platform == "win32"
X86 = platform.machine().lower() in ("x86_64", "amd64")
DEBUG = os.environ.get("DASECV_DEBUG") == "1"

# level -> compiler flags: this table is all that tells the levels apart.
LEVEL_FLAGS = {
    "base": [],
    "v3": ["/arch:AVX2"] if MSVC else ["-mavx2", "-mfma", "-mbmi2"],
    "v4": ["/arch:AVX512"] if MSVC else [
        "-mavx2", "-mfma", "-mbmi2", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl",
        "-mprefer-vector-width=512",
    ],
}
if MSVC:
    COMMON_FLAGS = ["/Od", "/Zi"] if DEBUG else ["/O2"]
else:
    COMMON_FLAGS = ["-O1", "-g"] if DEBUG else ["-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-unused-function"]
OPENMP_CHOICES = (
    [(["/openmp"], [])] if MSVC
    else [(["-Xpreprocessor", "-fopenmp"], ["-lomp"])] if sys.platform == "darwin"
    else [(["-fopenmp"], ["-fopenmp"])]
)
# Newer GCC writes some sums as separate multiplications and additions, narrow vectors' but not wide ones'. An
# element's bits would follow from the vector that it falls into, and so from the number of threads.
FUSED_FLAGS = [] if MSVC else ["--param=avoid-fma-max-bits=0"]
FUSED_PROBE = "#ifdef __clang__\n#error it has no such flag, and needs none\n#endif\nint main(void) { return 0; }\n"
OPENMP_PROBE = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"

# Whether compiler and assembler know the instructions for tiles of bfloat16: src/amx.h.
AMX_PROBE = """
__attribute__((target("amx-tile,amx-bf16"))) int main(void)
{
    __asm__ volatile("tdpbf16ps %%tmm2, %%tmm1, %%tmm0" : :);
    return 0;
}
"""


def wanted_levels():
    possible = list(LEVEL_FLAGS) if X86 else ["base"]
    asked = os.environ.get("DASECV_BUILD_ISA")
    if not asked:
        return possible
    levels = [level.strip() for level in asked.split(",")]
    unknown = sorted(set(levels) - set(possible))
    if unknown:
        raise SystemExit(f"DASECV_BUILD_ISA: {', '.join(unknown)} cannot be built here, "
                         f"expected some of {', '.join(possible)}")
    return levels


def write_if_changed(path, text):
    """Leave an unchanged stub alone, so that an unchanged module is not built again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def make_extensions():
    """cythonize refuses one source for several modules, so each level gets a stub that includes it."""
    import numpy as np
    from Cython.Build import cythonize

    depends = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "src").rglob("*") if p.is_file())
    units = [("daseCV_c._compiled.runtime", "runtime", "base")]
    units += [(f"daseCV_c._compiled.{level}.{family}", family, level)
              for level in wanted_levels() for family in FAMILIES]
    # Each kind of build has stubs and objects of its own: flags are not part of a timestamp.
    kind = "debug" if DEBUG else "release"
    kind += "-serial" if os.environ.get("DASECV_NO_OPENMP") == "1" else ""
    extensions = []
    for name, family, level in units:
        stub = Path("build") / "stubs" / kind / level / f"{family}_{level}.pyx"
        text = f'# cython: language_level=3\ninclude "{family}.pyx"\n'
        if family != "runtime":  # which has the pool of workers and the scratch memory of all others
            text += "from threads.threads cimport import_threads\nimport_threads()\n"
        write_if_changed(ROOT / stub, text)
        extensions.append(Extension(
            name, [str(stub)],
            include_dirs=["src", np.get_include()],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
                           ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION")],
            extra_compile_args=COMMON_FLAGS + LEVEL_FLAGS[level],
            depends=depends,
        ))
    return cythonize(
        extensions,
        include_path=["src"],
        compiler_directives={
            "language_level": 3, "boundscheck": DEBUG, "wraparound": False, "cdivision": True,
            "initializedcheck": DEBUG, "embedsignature": True,
        },
        quiet=True,
        nthreads=0 if MSVC or sys.platform == "darwin" else (os.cpu_count() or 1),
    )


class BuildExt(build_ext):
    """Asks the compiler what it can do before it is given the kernels."""

    def finalize_options(self):
        super().finalize_options()
        if self.parallel is None:
            self.parallel = os.cpu_count()

    def copy_extensions_to_source(self):
        # The folders of the levels are never in version control, and the copy does not make them.
        for extension in self.extensions:
            Path(self.get_ext_fullpath(extension.name)).parent.mkdir(parents=True, exist_ok=True)
        super().copy_extensions_to_source()

    def _works(self, source, compile_args=(), link_args=()):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "probe.c"
            path.write_text(source)
            # A refused flag is an expected answer: keep the compiler's words off the screen.
            saved = os.dup(2)
            try:
                with open(os.devnull, "w") as null:
                    os.dup2(null.fileno(), 2)
                    objects = self.compiler.compile([str(path)], output_dir=folder,
                                                    extra_postargs=list(compile_args))
                    self.compiler.link_executable(objects, "probe", output_dir=folder,
                                                  extra_postargs=list(link_args))
            except Exception:  # distutils raises several kinds; each means the same: it does not work
                return False
            finally:
                os.dup2(saved, 2)
                os.close(saved)
        return True

    def _openmp_flags(self):
        if os.environ.get("DASECV_NO_OPENMP") == "1":
            print("daseCV_c: OpenMP is switched off by DASECV_NO_OPENMP: building serial kernels", file=sys.stderr)
            return [], []
        for compile_args, link_args in OPENMP_CHOICES:
            if self._works(OPENMP_PROBE, compile_args, link_args):
                return compile_args, link_args
        print("daseCV_c: the compiler has no OpenMP: building serial kernels", file=sys.stderr)
        return [], []

    def build_extensions(self):
        if not self._works("int main(void) { return 0; }\n"):
            print("daseCV_c: no working C compiler: installing without kernels, on the NumPy twins", file=sys.stderr)
            self.extensions = []
            return
        compile_args, link_args = self._openmp_flags()
        levels = {level for level, flags in LEVEL_FLAGS.items()
                  if not flags or self._works("int main(void) { return 0; }\n", flags)}
        missing = set(wanted_levels()) - levels
        if missing:
            print(f"daseCV_c: the compiler cannot build {', '.join(sorted(missing))}", file=sys.stderr)
        self.extensions = [e for e in self.extensions
                           if e.name.count(".") == 2 or e.name.split(".")[2] in levels]
        if self._works(FUSED_PROBE, FUSED_FLAGS):
            compile_args = compile_args + FUSED_FLAGS
        macros = [("DASECV_AMX", "1")] if X86 and not MSVC and self._works(AMX_PROBE) else []
        for extension in self.extensions:
            extension.define_macros += macros
            extension.extra_compile_args += compile_args
            extension.extra_link_args += link_args
        super().build_extensions()


BUILDING = not set(sys.argv) & {"egg_info", "sdist", "dist_info", "clean", "--version", "--name"}

setup(
    ext_modules=make_extensions() if BUILDING else [Extension("daseCV_c._compiled.runtime", ["src/runtime.pyx"])],
    cmdclass={"build_ext": BuildExt},
)
