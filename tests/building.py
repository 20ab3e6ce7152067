"""Runs setup.py again and again, each time in a fork of one process that has imported what a build imports.

The imports take most of the time of a build that compiles next to nothing.
"""

import json
import os
import runpy
import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace


class Builder:
    """The process, until it is left."""

    def __enter__(self):
        one_thread = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # NumPy would start others, and then it forks
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True, env=one_thread)
        return self

    def __exit__(self, *exception):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(self, tree, arguments, environment):
        """What `python setup.py` with these arguments gives in `tree`: returncode, stdout and stderr."""
        said = [tree.parents[1] / name for name in ("stdout", "stderr")]
        request = {"tree": str(tree), "arguments": arguments, "environment": environment, "said": list(map(str, said))}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return SimpleNamespace(returncode=code, stdout=said[0].read_text(), stderr=said[1].read_text())


def build(tree, arguments, environment, said):
    """In the fork: the exit status."""
    os.chdir(tree)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(said, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
    sys.argv, sys.path[0] = ["setup.py", *arguments], tree
    try:
        runpy.run_path("setup.py", run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve():
    import Cython.Build  # noqa: F401
    import Cython.Compiler.Main  # noqa: F401
    import numpy  # noqa: F401
    import setuptools.command.bdist_wheel
    import setuptools.command.build_ext
    import setuptools.command.build_py
    import setuptools.command.sdist  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if not child:
            code = 1
            try:
                code = build(**json.loads(line))
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parent)
    serve()
