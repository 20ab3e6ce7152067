"""What the tests of the search share."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from commands import program_environment

import daseCV_c

SPACE = {"lr": (1e-4, 1e-1), "hidden": (4, 16), "layers": (1, 2), "norm": ["none", "batchnorm"]}
OVER = ["lr=1e-4:1e-1", "hidden=4:16", "layers=1:2", "norm=none,batchnorm"]
FIXED = {"epochs": 6, "batch_size": 20}
TRIALS, AHEAD = 12, 4


def search(storage, **more):
    options = {"space": SPACE, "trials": TRIALS, "ahead": AHEAD, "jobs": 2, "verbose": False, **FIXED, **more}
    return daseCV_c.search(storage=str(storage), **options)


def command(storage, *more):
    """The same search from the command line."""
    return [sys.executable, "-m", "daseCV_c", "search", "--over", *OVER, "--trials", str(TRIALS), "--ahead", str(AHEAD),
            "--jobs", "2", "--epochs", "6", "--batch-size", "20", "--storage", str(storage), *more]


def started(storage, *more, **how):
    return subprocess.Popen(command(storage, *more), text=True, **{
        "env": program_environment(), "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **how})


def stopping(file):
    """The environment of a search of which one trial stops its process, where there is not yet such a file."""
    there = program_environment()
    return {**there, "STOPPED": str(file), "PYTHONPATH": os.pathsep.join([
        str(Path(__file__).parent / "stopping"), there["PYTHONPATH"]])}


def facts(found):
    """Everything about trials that must not depend on who ran them."""
    return [(trial.number, trial.state, trial.val_acc, trial.params, trial.settings, trial.checks, trial.ended,
             trial.sha256, trial.line) for trial in found.trials]


def attempts(storage):
    """Optuna's trials in a storage, as another process sees them; KeyError where they are not there yet.

    Nothing is made there: the search that is watched would come upon it.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    storage = str(storage)
    if "://" in storage:
        kept = tables(storage)
    elif Path(storage).exists():
        kept = JournalStorage(JournalFileBackend(storage))
    else:
        raise KeyError(storage)
    return optuna.load_study(study_name="search", storage=kept).get_trials()


def tables(address):
    """Optuna's storage in a database; KeyError until all of it has been made."""
    import sqlalchemy
    from optuna.storages import RDBStorage
    kind, _, rest = address.partition(":///")
    if kind == "sqlite" and not Path(rest).exists():  # else it would be made now, empty
        raise KeyError(address)
    how = {"poolclass": sqlalchemy.NullPool, **({"connect_args": {"timeout": 60}} if kind == "sqlite" else {})}
    with sqlalchemy.create_engine(address, **how).connect() as session:
        # What Optuna makes last.
        if not sqlalchemy.inspect(session).has_table("alembic_version") or session.execute(
                sqlalchemy.text("SELECT version_num FROM alembic_version")).first() is None:
            raise KeyError(address)
    return RDBStorage(address, engine_kwargs=how, skip_compatibility_check=True)


def until(done, process=None, over=None):
    """Wait for something that takes as long as it takes, and that cannot come any more when the process has ended, or
    the event has; the suite's own limit ends what never comes."""
    while True:
        ended = process is not None and process.poll() is not None or over is not None and over.is_set()
        if done():
            return
        assert not ended, process.communicate()[0] if process else "it is over before that came"
        time.sleep(0.02)


@contextlib.contextmanager
def beside(work):
    """Run `work(over)` in a thread beside the block; the event says that the block has ended.

    What it raises ends the block, as Ctrl-C would, and is raised again here.
    """
    raised, over = [], threading.Event()

    def run():
        try:
            work(over)
        except BaseException as error:
            raised.append(error)
            if not over.is_set():
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    except KeyboardInterrupt:
        if not raised:
            raise
    finally:
        over.set()
    thread.join()
    if raised:
        raise raised[0]


def stalled(storage):
    """One trial is running, and all are finished that may be before it is: those that are less than AHEAD behind."""
    tried = attempts(storage)
    running = [trial.user_attrs["place"] for trial in tried if not trial.state.is_finished()]
    places = {trial.user_attrs["place"] for trial in tried}
    return len(running) == 1 and len(places) == min(running[0] + AHEAD, TRIALS)


def children(pid):
    """The processes that a process has started and that import this package."""
    found = []
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def state(pid):
    """The letter that Linux has for what a process does; X when there is none."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "X"


def running(pid):
    """True until it has ended, whether or not somebody has asked how."""
    return state(pid) not in "ZX"


def stopped(pids):
    """Those that are stopped."""
    return [pid for pid in pids if state(pid) == "T"]


def programs():
    """The folder of PostgreSQL's programs, or None."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    return next((path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)


@contextlib.contextmanager
def postgres():
    """A server of its own on a socket in a folder of its own; the address of its database."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    how = {"cwd": folder, "stdout": subprocess.DEVNULL}
    if os.geteuid() == 0:  # as whom it refuses to run
        import pwd
        plain = next(user for name in ("postgres", "nobody") for user in pwd.getpwall() if user.pw_name == name)
        os.chown(folder, plain.pw_uid, plain.pw_gid)
        how |= {"user": plain.pw_uid, "group": plain.pw_gid, "extra_groups": []}
    server = None
    try:
        subprocess.run([programs() / "initdb", "-D", folder / "data", "-A", "trust", "-U", "learner", "--no-sync"],
                       check=True, **how)
        server = subprocess.Popen([programs() / "postgres", "-D", folder / "data", "-k", folder, "-F",
                                   "-c", "listen_addresses="], stderr=subprocess.DEVNULL, **how)
        until((folder / "data" / "postmaster.pid").exists, server)
        until(lambda: (folder / "data" / "postmaster.pid").read_text().rstrip().endswith("ready"), server)
        yield f"postgresql+psycopg://learner@/postgres?host={folder}"
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # without waiting until everybody has hung up
            server.wait()
        shutil.rmtree(folder)


class Counted(np.ndarray):
    """An array that writes a line into a file whenever a process unpacks it."""

    def __reduce__(self):
        return _unpacked, (np.asarray(self),)


def _unpacked(array):
    with open(os.environ["UNPACKED"], "a") as file:
        file.write(f"{os.getpid()}\n")
    return array.view(Counted)


def found_or_stopped(name, task):
    """In the place of a training on a Dask worker: it ends when there is the file, or it ends with its process, or its
    process is stopped as soon as somebody fetches what it has found."""
    if task == "stop":
        return _Stopping()
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    until(Path(task).exists)
    return "found"


class _Stopping:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGSTOP)
        return str, ("woken",)
