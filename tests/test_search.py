"""The search: the same trials whoever runs them, killed or not; each of them reproduced from its line, bit by bit."""

import csv
import json
import math
import multiprocessing
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import types

import numpy as np
import pytest
from commands import fails, program_environment
from searching import (
    AHEAD,
    SPACE,
    TRIALS,
    attempts,
    beside,
    children,
    facts,
    postgres,
    programs,
    running,
    search,
    stalled,
    started,
    stopped,
    stopping,
    until,
)

HOW = 'the extra search is not installed: pip install "daseCV_c[search]"'
optuna = pytest.importorskip("optuna", reason=HOW)

import daseCV_c  # noqa: E402
from daseCV_c._search import choice, storage  # noqa: E402
from daseCV_c._search.ledger import DEATHS, Ledger  # noqa: E402
from daseCV_c._search.locks import FileLocks  # noqa: E402
from daseCV_c._search.space import TYPES, Space, of_words  # noqa: E402
from daseCV_c._search.trial import Judge, Outcome, digest  # noqa: E402
from daseCV_c.cli.main import main  # noqa: E402
from daseCV_c.cli.recipes import settings  # noqa: E402

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The search as one process leads it and two others run it, undisturbed."""
    return search(tmp_path_factory.mktemp("whole") / "search.journal")


@pytest.fixture(scope="module")
def server():
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install psycopg[binary]")
    with postgres() as address:
        yield address


def fresh(address, name):
    """The address of a database that is made now."""
    import sqlalchemy
    engine = sqlalchemy.create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as session:
        session.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return address.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["journal", "sqlite", "postgres"])
def where(request, tmp_path):
    if request.param == "postgres":
        return fresh(request.getfixturevalue("server"), f"of_{tmp_path.parent.name}_{tmp_path.name}".replace("-", "_"))
    return str(tmp_path / "kept") if request.param == "journal" else f"sqlite:///{tmp_path}/kept.db"


def same(found, whole):
    assert facts(found) == facts(whole)


# ---- the same trials, whoever runs them

def test_the_trials_do_not_depend_on_how_many_run_side_by_side(tmp_path, whole):
    before = np.random.get_state()[1].tobytes()
    same(search(tmp_path / "one", jobs=1), whole)
    assert np.random.get_state()[1].tobytes() == before
    states = {trial.state for trial in whole.trials}
    assert states == {"complete", "pruned"}, "both kinds are compared"
    assert len({trial.settings["seed"] for trial in whole.trials}) == TRIALS


def test_a_search_goes_on_to_more_trials(tmp_path, whole):
    first = search(tmp_path / "kept", trials=5)
    assert len(first.trials) == 5
    before = [(kept.number, kept.datetime_complete) for kept in attempts(tmp_path / "kept")]
    found = search(tmp_path / "kept", ahead=None)
    same(found, whole)
    assert [(kept.number, kept.datetime_complete) for kept in attempts(tmp_path / "kept")[:5]] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "kept.claim"]


def test_killed_and_gone_on_with(where, whole, tmp_path):
    """The leader dies by SIGKILL while one of its processes is in the middle of a trial."""
    leader = started(where, env=stopping(tmp_path / "stopped"))
    until(lambda: stopped(children(leader.pid)), leader)
    workers = children(leader.pid)
    held, = stopped(workers)
    until(lambda: stalled(where), leader)
    leader.kill()
    leader.wait()
    before = {kept.number: kept.datetime_complete for kept in attempts(where) if kept.state.is_finished()}
    os.kill(held, signal.SIGCONT)
    until(lambda: not any(map(running, workers)))
    leader.communicate()

    same(search(where), whole)
    tried = attempts(where)
    lost = [kept for kept in tried if "lost" in kept.user_attrs]
    assert len(lost) in (1, 2) and all(kept.state.name == "FAIL" for kept in lost)
    for kept in lost:
        again, = [other for other in tried if other.number > kept.number
                  and other.user_attrs["place"] == kept.user_attrs["place"]]
        assert again.params == kept.params and again.user_attrs["seed"] == kept.user_attrs["seed"]
    assert len(tried) == TRIALS + len(lost), "no other trial was run twice"
    assert before.items() <= {kept.number: kept.datetime_complete for kept in tried}.items()


def test_a_process_that_is_killed_in_the_middle(tmp_path, whole, monkeypatch):
    kept = tmp_path / "kept"
    for name, value in stopping(tmp_path / "stopped").items():
        monkeypatch.setenv(name, value)

    def kill(over):
        until(lambda: stopped(children(os.getpid())), over=over)
        until(lambda: stalled(kept), over=over)
        os.kill(*stopped(children(os.getpid())), signal.SIGKILL)

    with beside(kill):
        found = search(kept)
    same(found, whole)
    lost, = [trial for trial in attempts(kept) if trial.state.name == "FAIL"]
    assert "ended with code -9" in lost.user_attrs["lost"] and len(attempts(kept)) == TRIALS + 1
    assert not [child for child in multiprocessing.active_children() if child.name.startswith("dasecv-search-")]


def test_two_that_lead_at_the_same_time(where, whole, tmp_path):
    leaders = [started(where, "--jobs", "1", cwd=here) for here in (tmp_path, tmp_path)]
    said = [leader.communicate()[0] for leader in leaders]
    assert [leader.returncode for leader in leaders] == [0, 0], said
    counts = [sum(line.startswith("trial ") and ": val_acc" in line for line in text.splitlines()) for text in said]
    assert sum(counts) == TRIALS == len(attempts(where))
    same(search(where), whole)


def test_ctrl_c(tmp_path, whole):
    leader = started(tmp_path / "kept", env=stopping(tmp_path / "stopped"))
    until(lambda: stopped(children(leader.pid)), leader)
    workers = children(leader.pid)
    leader.send_signal(signal.SIGINT)
    said = leader.communicate()[0]
    assert leader.returncode == 130 and said.endswith("dasecv: stopped; the same command goes on\n")
    assert "Traceback" not in said and not any(map(running, workers))
    same(search(tmp_path / "kept"), whole)


def test_a_script_without_a_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import daseCV_c\ndaseCV_c.search(trials=2, jobs=1, epochs=1)\n")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=program_environment(), capture_output=True,
                          text=True)
    assert done.returncode == 1 and '__name__ == "__main__"' in done.stderr.splitlines()[-1]


# ---- from the line, bit by bit

def again(trial, folder):
    """Run the line of a trial; SHA-256 of the parameters it leaves, and the accuracy."""
    words = shlex.split(trial.line)
    assert words[:4] == ["python", "-m", "daseCV_c", "train"]
    assert main([*words[3:], "--out", str(folder)]) == 0
    with np.load(folder / "best.npz") as file:
        arrays = {name: file[name] for name in file.files if not name.startswith(("running_", "scale"))}
        statistics = [{"running_mean": file[f"running_mean{i}"], "running_var": file[f"running_var{i}"]}
                      for i in range(1, len(file.files)) if f"running_mean{i}" in file.files]
    model = types.SimpleNamespace(params=arrays, bn_params=statistics,
                                  normalization="batchnorm" if statistics else None)
    return digest(model), json.loads((folder / "config.json").read_text())["results"]["val_acc"]


def test_trials_are_trained_again_from_their_lines(tmp_path, whole, monkeypatch):
    monkeypatch.setattr("daseCV_c.cli.training.plots.save_curves", lambda rows, path: False)
    complete = [trial for trial in whole.trials if trial.state == "complete"]
    normed, plain = (next(trial for trial in complete if trial.params["norm"] == norm)
                     for norm in ("batchnorm", "none"))
    for name, trial in (("best", whole.best), ("normed", normed), ("plain", plain)):
        assert again(trial, tmp_path / name) == (trial.sha256, trial.val_acc)
        solver = whole.train(trial.number)
        assert digest(solver.model) == trial.sha256 and solver.best_val_acc == trial.val_acc
    # A pruned one has the accuracies of the whole training, as far as it came.
    pruned = next(trial for trial in whole.trials if trial.state == "pruned")
    assert whole.train(pruned.number).val_acc_history[1:len(pruned.checks) + 1] == pruned.checks


@pytest.fixture
def own(tmp_path):
    draw = np.random.default_rng(0)
    X = draw.standard_normal((90, 3))
    path = tmp_path / "own.csv"
    with open(path, "w") as file:
        file.write("a,b,c,kind\n")
        for x, y, z in X.tolist():
            file.write(f"{x!r},{y!r},{z!r},{'pos' if x > y else 'neg'}\n")
    return path


def test_the_command(here, capsys, own, monkeypatch):
    """Data of one's own, a schedule, dropout: what the line must bring back."""
    argv = ["search", "--data", str(own), "--label-column", "kind", "--over", "dropout=0.5:1", "hidden=8x4,16",
            "update_rule=sgd_momentum,adam", "reg=0,1e-3", "batch_size=5,10", "--trials", "4", "--epochs", "3",
            "--jobs", "1", "--schedule", "cosine", "--storage", "my.journal", "-o", "my.csv"]
    assert main(argv) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "0 of 4 trials are finished; 1 run side by side"
    assert sum(line.startswith("trial ") and ": val_acc" in line for line in out) == 4
    with open("my.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == list("0123")
    best = max(rows, key=lambda row: float(row["val_acc"]))
    assert out[-1] == best["line"] and (here / "my.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.chdir(os.sep)
    trial = types.SimpleNamespace(line=out[-1])
    assert again(trial, here / "run") == (best["sha256"], float(best["val_acc"]))
    # Again: nothing is left to do, and what is printed is the same.
    monkeypatch.chdir(here)
    capsys.readouterr()
    assert main(argv) == 0
    assert capsys.readouterr().out.splitlines() == out[5:]


def test_a_convolutional_network_with_arrays(tmp_path):
    from daseCV_c.datasets import load_digits_images
    digits = load_digits_images(dtype=np.uint8)
    data = {name: digits[name][:60] for name in ("X_train", "y_train", "X_val", "y_val")}
    found = search(tmp_path / "kept", space=None, data={**data, "mean_image": digits["mean_image"]}, model="cnn",
                   epochs=1, trials=2, batch_size=20, hidden=[8])
    assert set(found.trials[0].params) == {"lr", "reg", "filters"} and found.trials[0].line is None
    assert digest(found.train().model) == found.best.sha256


# ---- what it consists of

def test_pruning_is_told_by_earlier_trials():
    checks = [[0.1 * k, 0.2, 0.3, 0.1] for k in range(5)]
    assert choice.thresholds("median", checks, 4) == [-math.inf, 0.2, 0.3, 0.1]
    assert choice.thresholds("median", checks, 2) == pytest.approx([0.2, 0.2])
    assert choice.thresholds("median", checks[1:], 4) == choice.thresholds("none", checks, 4) == []
    judge, solver = Judge([-math.inf, 0.2, 0.2]), types.SimpleNamespace(num_epochs=4, val_acc_history=[])
    answers = []
    for val_acc in (0.1, 0.2, 0.1, 0.1):
        solver.val_acc_history.append(val_acc)
        answers.append(judge.on_epoch_end(solver))
    assert answers == [False] * 4, "the best so far counts, and the last epoch has nothing left to save"
    judge = Judge([0.2])
    assert judge.on_epoch_end(types.SimpleNamespace(num_epochs=4, val_acc_history=[0.0, 0.1]))


def test_seeds_differ():
    assert len({choice.seed_of(s, k, p) for s in range(3) for k in range(40) for p in range(2)}) == 240


def ledger_of(path, **more):
    base = settings({})
    space = Space({"lr": (1e-3, 1e-1)}, base)
    asked = {"settings": base, "space": space.described, "pruning": "median", "ahead": 2, **more}
    kept, locks = storage.opened(str(path), "search")
    return Ledger(kept, locks, "search", asked, space, lambda: 5)


def outcome(val_acc):
    return Outcome("complete", val_acc, [val_acc], "", 1.0, "", "")


def test_a_trial_is_chosen_when_those_it_depends_on_are_finished(tmp_path):
    ledger = ledger_of(tmp_path / "kept")
    first, second = ledger.claim(9), ledger.claim(9)
    assert (first.place, second.place) == (0, 1) and ledger.claim(9) is None and not ledger.finished(1)
    ledger.tell(second, outcome(0.5), None)
    assert ledger.claim(9) is None, "trial 2 is told what trial 0 has found"
    ledger.tell(first, outcome(0.6), None)
    assert [ledger.claim(3).place, ledger.claim(3)] == [2, None] and ledger.finished(2) and not ledger.finished(3)


def test_a_trial_that_kills_its_processes_is_given_up(tmp_path):
    ledger = ledger_of(tmp_path / "kept")
    tries = []
    for _ in range(DEATHS):
        tries.append(ledger.claim(1))
        ledger.lost(tries[-1], "process 7 ended with code -9")
    assert all(claim.task == tries[0].task for claim in tries) and ledger.claim(1) is None and ledger.finished(1)
    assert ledger.results()[0].user_attrs["failed"] == "its process has died 3 times: process 7 ended with code -9"


def test_trials_of_others_are_left_alone(tmp_path):
    ledger = ledger_of(tmp_path / "kept")
    other = ledger_of(tmp_path / "kept")
    claim = ledger.claim(9)
    assert other.claim(9).place == 1, "the one that runs it lives"
    ledger._locks.close()
    assert other.claim(9).place == claim.place
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        ledger.tell(claim, outcome(0.5), None)


def test_settings_that_cannot_be_trained(tmp_path):
    found = search(tmp_path / "kept", space={"lr": [1e25, 1e-3]}, trials=6, epochs=2, update_rule="sgd", norm="none")
    ends = {trial.params["lr"]: (trial.state, trial.ended) for trial in found.trials}
    assert ends[1e-3] == ("complete", "") and ends[1e25][0] == "pruned" and "the loss is" in ends[1e25][1]
    assert found.best.params["lr"] == 1e-3


def test_no_trial_was_completed(here, capsys):
    argv = ["search", "--over", "lr=1e-3", "--norm", "batchnorm", "--batch-size", "1", "--trials", "2", "--epochs", "1"]
    fails(capsys, argv, "no trial was completed: ValueError", "batch")


def test_a_journal_whose_last_line_was_cut_off(tmp_path, whole):
    kept = tmp_path / "kept"
    search(kept, trials=3)
    written = kept.read_bytes()
    for torn in (b'{"op_code":4,"worker_id":"', b"x" * 10000):
        kept.write_bytes(written + torn)
        assert len(search(kept, trials=3).trials) == 3
    same(search(kept), whole)
    assert b"xxx" not in kept.read_bytes()


@pytest.mark.parametrize("attrs", [
    {"place": 10**9}, {"place": -1}, {"place": "0"}, {"place": 0, "owner": "../../of-another"},
    {"place": 0, "owner": 3}])
def test_a_journal_that_no_search_has_written(tmp_path, attrs):
    """It neither takes memory for places that are not there, nor leads to files beside it."""
    ledger = ledger_of(tmp_path / "kept")
    ledger._storage.create_new_trial(ledger._id, optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING, user_attrs={"owner": "host-1-ab", **attrs}))
    with pytest.raises(ValueError, match="holds the trial 0, which no search has made"):
        ledger.claim(2)


def test_whoever_closes_or_dies_is_not_alive(tmp_path):
    one, two = (FileLocks(str(tmp_path / "kept")) for _ in range(2))
    assert one.alive(one.owner) and one.alive(two.owner) and two.alive(one.owner)
    two.close()
    assert not one.alive(two.owner) and not one.alive("nobody")
    two = FileLocks(str(tmp_path / "kept"))
    two._held.close()  # as the system does when it has died
    assert not one.alive(two.owner)
    one.close()
    assert list(tmp_path.iterdir()) == []


def test_the_picture(whole):
    figure_of = pytest.importorskip("matplotlib.figure").Figure
    axes = whole.plot(figure=figure_of())
    assert [place.get_title(loc="left") for place in axes] == ["lr", "width1", "width2", "layers", "norm"]
    assert [place.get_xscale() for place in axes] == ["log", "log", "log", "linear", "linear"]
    assert sum(len(points.get_offsets()) for points in axes[0].collections) == TRIALS


def test_the_table(whole):
    lines = whole.table().splitlines()
    assert len(lines) == TRIALS + 1 and len(whole.table(3).splitlines()) == 4
    accuracies = [float(line.split()[2]) for line in lines[1:]]
    assert accuracies == sorted(accuracies, reverse=True)


# ---- what is refused

def test_words():
    assert of_words(["lr=1e-4:1e-1", "hidden=100x50,64", "norm=none"]) == {
        "lr": ("1e-4", "1e-1"), "hidden": ["100x50", "64"], "norm": ["none"]}
    space = Space({"hidden": ["100x50", [64]], "norm": [None, "layernorm"], "reg": [0, 1e-3]}, settings({}))
    assert space.described["hidden"] == {"choices": ["100x50", "64"]}
    assert space.settings({"hidden": "100x50", "norm": "none", "reg": 0.0})["hidden"] == [100, 50]
    widths = Space({"hidden": (4, 8), "layers": [1, 3]}, settings({}))
    assert list(widths.distributions()) == ["width1", "width2", "width3", "layers"]
    assert widths.settings({"width1": 4, "width2": 5, "width3": 6, "layers": 2})["hidden"] == [4, 5]
    assert set(TYPES) - {"layers"} <= set(settings({})) | set(settings({"model": "cnn"}))


@pytest.mark.parametrize("arguments, error, message", [
    ({"space": {}}, ValueError, "space is empty"),
    ({"space": {"rate": (1, 2)}}, ValueError, "no setting 'rate'"),
    ({"space": {"lr": (1e-1, 1e-4)}}, ValueError, "lr goes from 0.1 to 0.0001"),
    ({"space": {"reg": (0, 1)}}, ValueError, "reg goes from 0.0, expected a low end above 0"),
    ({"space": {"lr": 1e-3}}, ValueError, "lr is 0.001, expected a range"),
    ({"space": {"norm": ("none", "batchnorm")}}, ValueError, "norm is .*expected a list of choices"),
    ({"space": {"norm": ["batch"]}}, ValueError, "norm='batch': expected one of none"),
    ({"space": {"dropout": (0.5, 1.5)}}, ValueError, "dropout='1.5': expected a probability"),
    ({"space": {"norm": [None, "none"]}}, ValueError, "norm has a choice twice"),
    ({"space": {"filters": (1, 2)}}, ValueError, "filters does not apply to --model fc"),
    ({"space": {"layers": (1, 2)}}, ValueError, "layers goes with a range of widths"),
    ({"space": {"hidden": ["8x8"]}, "model": "cnn"}, ValueError, "the cnn has one hidden layer"),
    ({"space": {"lr": (1e-3, 1)}, "lr": 0.1}, ValueError, "lr is in the space and is fixed as well"),
    ({"learning_rate": 0.1}, ValueError, "unknown setting 'learning_rate'"),
    ({"epochs": 0}, ValueError, "--epochs"),
    ({"trials": 0}, ValueError, "trials is 0"),
    ({"jobs": 1.0}, TypeError, "jobs is 1.0"),
    ({"ahead": "2"}, TypeError, "ahead is '2'"),
    ({"pruning": "all"}, ValueError, "pruning is 'all'"),
    ({"storage": "no/folder/x"}, ValueError, "there is no folder no/folder"),
    ({"storage": "mysql://x/y"}, ValueError, "storage is 'mysql://x/y', expected a file name"),
    ({"data": "nothing.csv"}, ValueError, "nothing.csv cannot be read"),
    ({"data": {"X_train": 0}}, ValueError, "data has no y_train"),
])
def test_arguments_that_are_none(here, arguments, error, message):
    with pytest.raises(error, match=f"^search: .*{message}"):
        daseCV_c.search(**arguments)
    assert list(here.iterdir()) == []


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """The file of a search that has gone on for one trial."""
    path = tmp_path_factory.mktemp("begun") / "kept"
    search(path, trials=1, jobs=1)
    return path


@pytest.mark.parametrize("change, message", [
    ({"epochs": 7}, "has epochs 6, but now it is 7"),
    ({"seed": 1}, "has seed 231, but now it is 1"),
    ({"ahead": 9}, f"has ahead {AHEAD}, but now it is 9"),
    ({"pruning": "none"}, "has pruning 'median'"),
    ({"space": {**SPACE, "lr": (1e-4, 1)}}, "has lr .*0.1.* but now"),
    ({"space": {"lr": SPACE["lr"]}}, "has hidden .*but now it is None"),
    ({"dtype": "float64"}, "has dtype 'float32'"),
    ({"space": None, "model": "cnn"}, "has model 'fc'|has .*filter"),
])
def test_a_search_that_was_begun_with_something_else(begun, change, message):
    before = begun.read_bytes()
    with pytest.raises(ValueError, match=f"^search: the study 'search' there {message}"):
        search(begun, **change)
    assert begun.read_bytes() == before


def test_files_that_are_none_of_its_own(here):
    (here / "text").write_text("no journal")
    with pytest.raises(ValueError, match="that file is no journal"):
        search("text")
    optuna.create_study(storage=optuna.storages.RDBStorage("sqlite:///other.db"), study_name="search").ask()
    with pytest.raises(ValueError, match="another program's"):
        search("sqlite:///other.db")
    assert (here / "text").read_text() == "no journal"


@pytest.mark.parametrize("where, statement", [
    ("sqlite", "CREATE TABLE studies"),
    ("sqlite", "CREATE TABLE alembic_version"),
    ("sqlite", "INSERT INTO alembic_version"),
    ("postgres", "CREATE TYPE"),  # here what follows is one transaction with it, or with the next
    ("postgres", "CREATE TABLE alembic_version"),
], indirect=["where"])
def test_another_program_makes_the_tables_at_the_same_time(where, statement):
    """It comes between Optuna's look for something and Optuna's own making of it."""
    import sqlalchemy
    made = []

    def before(conn, cursor, sent, parameters, context, executemany):
        if not made and sent.lstrip().startswith(statement):
            made.append(None)
            made[0] = optuna.storages.RDBStorage(where)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", before)
    try:
        kept, locks = storage.opened(where, "search")
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", before)
    optuna.create_study(storage=made[0], study_name="of both")
    assert optuna.get_all_study_names(kept) == ["of both"]
    locks.close()
    for one in (kept, made[0]):
        one.engine.dispose()


def test_tables_that_cannot_be_made(here, monkeypatch):
    import sqlalchemy
    monkeypatch.setattr(storage, "_PAUSE", 0)
    tries = []

    def before(conn, cursor, sent, parameters, context, executemany):
        if sent.lstrip().startswith("CREATE TABLE studies"):
            tries.append(sent)
            raise sqlite3.OperationalError(said)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", before)
    try:
        for said, count in (("disk I/O error", 1), ("table studies already exists", storage._TRIES)):
            with pytest.raises((sqlalchemy.exc.OperationalError, sqlite3.OperationalError), match=said):
                search("sqlite:///kept.db")
            assert len(tries) == count
            tries.clear()
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", before)
    assert not list(here.glob("*.alive"))


def test_without_optuna(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'search needs optuna .*: pip install "daseCV_c\[search\]"'):
        daseCV_c.search()


def test_the_name():
    assert daseCV_c.search.__module__ == "daseCV_c._search.api" and "search" in daseCV_c.__all__
    with pytest.raises(AttributeError, match="no attribute 'serch'"):
        daseCV_c.serch  # noqa: B018
