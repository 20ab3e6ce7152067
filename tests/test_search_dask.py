"""The search on a Dask cluster: separate processes, one of them killed; data sent once to each."""

import os
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from commands import fails
from searching import (
    FIXED,
    SPACE,
    TRIALS,
    Counted,
    attempts,
    beside,
    facts,
    found_or_stopped,
    search,
    stalled,
    stopped,
    stopping,
    until,
)

HOW = 'the extra scale is not installed: pip install "daseCV_c[scale]"'
pytest.importorskip("optuna", reason=HOW)
distributed = pytest.importorskip("distributed", reason=HOW)

import dask.config  # noqa: E402

from daseCV_c import get_num_threads, num_threads  # noqa: E402
from daseCV_c._search import on_dask  # noqa: E402
from daseCV_c._search.ledger import Claim  # noqa: E402
from daseCV_c._search.pools import Lost  # noqa: E402
from daseCV_c._search.trial import Problem  # noqa: E402
from daseCV_c.cli.main import main  # noqa: E402
from daseCV_c.datasets import load_digits_images  # noqa: E402

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The search in one process of this machine."""
    return search(tmp_path_factory.mktemp("whole") / "search.journal", jobs=1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two workers in processes of their own, which find the modules of the tests."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "stopped").touch()  # nothing is stopped until a test removes it
    environment = stopping(folder / "stopped") | {"UNPACKED": str(folder / "unpacked")}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), environment["PYTHONPATH"]])
    # On a machine that is busy a process in the place of a killed one comes late; that does not end the waiting for it.
    patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "300s"})
    with pytest.MonkeyPatch.context() as patch, patient:
        for name, value in environment.items():
            patch.setenv(name, value)
        with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0",
                                      local_directory=str(folder)) as found:
            yield found


def counted_digits():
    """The digits as the bundled ones are trained on, but seen when a process unpacks them."""
    digits = load_digits_images(dtype=np.uint8)
    data = {name: digits[name] for name in ("y_train", "X_val", "y_val", "mean_image")}
    return {**data, "X_train": digits["X_train"].view(Counted)}


def numbers(found):
    """The facts but for the settings' names of the data, and the line, which arrays have none of."""
    return [(trial.number, trial.state, trial.val_acc, trial.params, trial.settings["seed"], trial.checks,
             trial.sha256) for trial in found.trials]


def test_a_worker_that_is_killed_in_the_middle(tmp_path, cluster, whole):
    """Nothing is lost, the result is that of one process, and each process has got the data once."""
    kept, killed = tmp_path / "kept", []
    os.remove(os.environ["STOPPED"])
    pids = [worker.pid for worker in cluster.workers.values()]
    base = {name: value for name, value in whole.trials[0].settings.items()
            if name not in ("model", "dataset", "seed", *SPACE)}

    def kill(over):
        until(lambda: stopped(pids), over=over)
        killed.extend(stopped(pids))
        until(lambda: stalled(kept), over=over)
        os.kill(killed[0], signal.SIGKILL)

    with beside(kill):
        found = search(kept, dask=cluster.scheduler_address, jobs=None, data=counted_digits(), **{**base, **FIXED})
    assert numbers(found) == numbers(whole)
    assert len(attempts(kept)) == TRIALS and not any(trial.state.name == "FAIL" for trial in attempts(kept))

    with distributed.Client(cluster, set_as_default=False) as client:
        plugins = client.run(lambda dask_worker: (os.getpid(), [name for name in dask_worker.plugins
                                                                if "dasecv" in name]))
    # The process in the place of the killed one may come late.
    loads, alive = Counter(Path(os.environ["UNPACKED"]).read_text().split()), dict(plugins.values())
    assert set(loads.values()) == {1} and {str(pid) for pid in {*alive, *killed}} >= set(loads)
    survivors = [pid for pid in alive if pid in pids]
    assert len(loads) in (2, 3) and alive[survivors[0]] == [], "the data leave the workers with the search"


def test_a_worker_that_does_not_answer(tmp_path, cluster, monkeypatch):
    """It is stopped between a trial and the fetching of its outcome: the others go on, and so does the end."""
    monkeypatch.setattr(on_dask, "train", found_or_stopped)
    monkeypatch.setattr(on_dask, "_GOODBYE", 0.5)
    cluster.wait_for_workers(2)
    pids = [worker.pid for worker in cluster.workers.values()]
    pool = on_dask.OnDask(Problem({}, (1,), 2), cluster.scheduler_address, None, 2)

    go, stop = Claim(0, 0, str(tmp_path / "go")), Claim(1, 1, "stop")
    pool.submit(go)  # occupies one of the two
    pool.submit(stop)
    found = []
    until(lambda: found.extend(pool.finished(0.1)) or stopped(pids))
    assert found == []
    (tmp_path / "go").touch()
    until(lambda: found.extend(pool.finished(0.1)) or found)
    assert found == [(go, "found")] and pool.finished(0.1) == []
    os.kill(stopped(pids)[0], signal.SIGCONT)
    until(lambda: found.extend(pool.finished(0.1)) or len(found) == 2)
    assert found[1] == (stop, "woken")

    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    pool.submit(Claim(2, 2, "die"))
    until(lambda: found.extend(pool.finished(0.1)) or len(found) == 3)
    assert found[2] == (Claim(2, 2, "die"), Lost("its Dask workers have died"))

    pool.submit(stop)
    until(lambda: stopped(pids))
    pool.close()
    os.kill(stopped(pids)[0], signal.SIGCONT)


def test_threads_of_one_process(tmp_path, whole):
    """Trainings that run in the threads of this process do not disturb each other, nor what it has set."""
    before = np.random.get_state()[1].tobytes()
    with num_threads(2), distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False,
                                                  dashboard_address=":0", local_directory=str(tmp_path)) as cluster:
        with distributed.Client(cluster, set_as_default=False) as client:
            assert facts(search(tmp_path / "kept", dask=client, jobs=None)) == facts(whole)
            assert client.status == "running" and get_num_threads() == 2
    assert np.random.get_state()[1].tobytes() == before


def test_the_command(here, capsys, whole):
    over = ["--over", "lr=1e-4:1e-1", "hidden=4:16", "layers=1:2", "norm=none,batchnorm"]
    argv = ["search", *over, "--trials", "3", "--ahead", "4", "--epochs", "6", "--batch-size", "20", "--jobs", "2"]
    assert main([*argv, "--dask", "local"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("0 of 3 trials are finished; 2 run side by side\n")
    best = max(whole.trials[:3], key=lambda trial: (trial.val_acc, -trial.number))
    assert out.splitlines()[-1] == best.line


def test_workers_that_are_not_reached(tmp_path, monkeypatch):
    def register(*args):
        raise OSError("nobody listens")

    monkeypatch.setattr(distributed.Client, "register_plugin", register)
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster:
        with pytest.raises(RuntimeError, match="search: Dask's workers cannot .*: nobody listens"):
            search(tmp_path / "kept", dask=cluster.scheduler_address, jobs=None)


def test_no_cluster_there(here, capsys, monkeypatch):
    fails(capsys, ["search", "--dask", "nowhere://x"], "dask is 'nowhere://x'")
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    monkeypatch.delitem(__import__("sys").modules, "daseCV_c._search.on_dask")
    fails(capsys, ["search", "--dask", "local"], "search needs distributed", 'pip install "daseCV_c[scale]"')
