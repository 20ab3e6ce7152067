"""The number of threads: how it is set, and that no result depends on it."""

import os
import time

import numpy as np
import pytest
from adversarial import frozen
from entries import ENTRIES, make_call

import daseCV_c
from daseCV_c._runtime import backend as _backend
from daseCV_c._runtime import quota as _quota
from daseCV_c._runtime import threads as _threads
from daseCV_c.classifiers.fc_net import FullyConnectedNet
from daseCV_c.solver import Solver

# (n, d, m): above the sizes from which work is shared out, and not multiples of any block.
LARGE = {"default": [(1030, 133, 70), (70, 1031, 5)]}
# The last: one panel, several blocks of k; of three threads the first has two blocks of rows and the others have one.
LARGE["affine"] = [(1030, 301, 133), (100, 3072, 101), (257, 515, 10), (793, 1100, 32)]
LARGE["conv"] = [(40, 33, 37), (3, 150, 133)]
LARGE["step"] = [(257, 301, 133), (100, 3072, 101), (40, 130, 1031)]


@pytest.mark.parametrize("entry", ENTRIES)
def test_same_bits_for_any_number_of_threads(kernels, dtype, entry):
    family = entry.partition(".")[0]
    for n, d, m in LARGE.get(family, LARGE["default"]):
        ends = []
        for threads in (1, 2, 3, 16, 2, 1):  # of 16 some share rows, some columns
            call = make_call(entry, dtype, n, d, m)
            value = call(kernels, threads)
            ends.append(frozen([value, call.results()]))
            assert not any((out == -12345).all() for out in call.results()), "an output was not written"
        assert len(set(ends)) == 1, (n, d, m)


@pytest.mark.parametrize(("trans_a", "trans_b"), [(False, True), (True, False), (True, True)])
def test_same_bits_for_transposed_products(kernels, dtype, trans_a, trans_b):
    rng = np.random.default_rng(1)
    a = rng.standard_normal((515, 301) if trans_a else (301, 515)).astype(dtype)
    b = rng.standard_normal((257, 515) if trans_b else (515, 257)).astype(dtype)
    ends = set()
    for threads in (1, 2, 3, 5, 16):
        out = np.empty((301, 257), dtype)
        kernels.affine.matmul(a, b, out, trans_a, trans_b, threads)
        ends.add(out.tobytes())
    assert len(ends) == 1


@pytest.mark.parametrize(("m", "n"), [(301, 10), (64, 12), (64, 17), (128, 17)])
def test_same_bits_for_products_with_few_columns(kernels, dtype, m, n):
    """Vectors run along the rows of the result, whose last ones do not fill a vector; many threads cut columns, too."""
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((730, m)).astype(dtype), rng.standard_normal((730, n)).astype(dtype)
    ends = set()
    for threads in (1, 2, 3, 5, 16, 32, 64):
        out = np.full((m, n), -12345, dtype)
        kernels.affine.matmul(a, b, out, True, False, threads)
        ends.add(out.tobytes())
    assert len(ends) == 1


def trained(dtype, threads, normalization):
    """40 losses and the parameters after them; the affine layers are large enough to be shared out."""
    rng = np.random.default_rng(7)
    data = {"X_train": rng.standard_normal((500, 384)).astype(dtype), "y_train": rng.integers(0, 10, 500),
            "X_val": rng.standard_normal((50, 384)).astype(dtype), "y_val": rng.integers(0, 10, 50)}
    np.random.seed(11)
    net = FullyConnectedNet([300, 130], input_dim=384, normalization=normalization, dropout=0.8, dtype=dtype, reg=1e-3)
    solver = Solver(net, data, update_rule="adam", batch_size=250, num_epochs=20, verbose=False, num_train_samples=50)
    with daseCV_c.num_threads(threads):
        solver.train()
    assert len(solver.loss_history) == 40
    return frozen([solver.loss_history, net.params, net.bn_params, solver.val_acc_history])


@pytest.mark.compiled
@pytest.mark.parametrize("normalization", [None, "batchnorm", "layernorm"])
def test_same_bits_for_a_whole_training(dtype, normalization):
    daseCV_c.use_backend("compiled")
    alone = trained(dtype, 1, normalization)
    assert trained(dtype, 2, normalization) == alone
    assert trained(dtype, 3, normalization) == alone


def seen(n):
    """What get_num_threads says after n was asked for: a serial build has one thread."""
    return n if _backend.runtime.openmp_version() else 1


@pytest.mark.compiled
def test_set_and_get():
    for n in (1, 2, 3, 1024, np.int64(2)):
        daseCV_c.set_num_threads(n)
        assert daseCV_c.get_num_threads() == seen(n)


@pytest.mark.compiled
def test_context_manager_restores():
    daseCV_c.set_num_threads(2)
    with daseCV_c.num_threads(3):
        assert daseCV_c.get_num_threads() == _threads.effective() == seen(3)
        with daseCV_c.num_threads(1):
            assert daseCV_c.get_num_threads() == 1
        assert daseCV_c.get_num_threads() == seen(3)
    assert daseCV_c.get_num_threads() == seen(2)
    with pytest.raises(KeyError), daseCV_c.num_threads(1):
        raise KeyError
    assert daseCV_c.get_num_threads() == seen(2)


@pytest.mark.compiled
def test_one_context_manager_used_twice():
    daseCV_c.set_num_threads(2)
    one = daseCV_c.num_threads(1)
    with one, one:
        assert daseCV_c.get_num_threads() == 1
    assert daseCV_c.get_num_threads() == seen(2)
    with one:
        assert daseCV_c.get_num_threads() == 1
    assert daseCV_c.get_num_threads() == seen(2)


@pytest.mark.parametrize("function", [daseCV_c.set_num_threads, daseCV_c.num_threads], ids=lambda f: f.__name__)
@pytest.mark.parametrize(("n", "error"), [
    (0, ValueError), (-1, ValueError), (1025, ValueError), (10**6, ValueError), (2**70, ValueError),
    (1.0, TypeError), ("2", TypeError), (None, TypeError), (True, TypeError), ([1], TypeError), (np.nan, TypeError),
], ids=str)
def test_refused_numbers(function, n, error):
    before = daseCV_c.get_num_threads()
    with pytest.raises(error, match=f"^{function.__name__}: n is "):
        function(n)
    assert daseCV_c.get_num_threads() == before


PRINT = "import daseCV_c; print(daseCV_c.get_num_threads())"
ONE_CPU = "import os\nos.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"


def processors():
    """Those that this process may use, as far as affinity tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.compiled
@pytest.mark.parametrize("n", [1, 2, 500])
def test_default_follows_omp_num_threads(script, n):
    """It may be less than there are processors, never more."""
    assert script(PRINT, OMP_NUM_THREADS=str(n)).split() == [str(seen(min(n, processors())))]


@pytest.mark.compiled
def test_default_follows_the_quota(monkeypatch):
    """Read anew by get_num_threads, and each second by kernels; a number that was set stands."""
    granted = [1]
    monkeypatch.setattr(_threads, "_requested", None)
    _backend.runtime.watch_quota(lambda: granted[0])
    try:
        assert daseCV_c.get_num_threads() == _threads.effective() == 1
        granted[0] = None
        without = daseCV_c.get_num_threads()
        assert without == seen(min(processors(), without))
        granted[0] = 10_000
        assert daseCV_c.get_num_threads() == without
        granted[0] = 1
        with daseCV_c.num_threads(3):
            assert daseCV_c.get_num_threads() == seen(3)
    finally:
        _backend.runtime.watch_quota(_quota.granted)


@pytest.mark.compiled
def test_the_quota_is_read_once_a_second(monkeypatch):
    """Reading it opens files: no kernel waits for that but the first of a second."""
    read, began = [], time.monotonic()
    monkeypatch.setattr(_threads, "_requested", None)
    _backend.runtime.watch_quota(lambda: read.append(1))
    try:
        for _ in range(20):  # over several ticks of the clock that is asked
            _threads.effective()
            time.sleep(2e-3)
        few = len(read)
        assert few <= 2 + (time.monotonic() - began)
        daseCV_c.get_num_threads()  # who asks for it is told what holds now
        assert len(read) == few + (_backend.runtime.openmp_version() > 0)
    finally:
        _backend.runtime.watch_quota(_quota.granted)


@pytest.mark.compiled
def test_the_systems_quota_is_asked_for(script):
    opened = script("import sys\nimport daseCV_c\n"
                    "sys.addaudithook(lambda name, args: name == 'open' and print(args[0]))\n"
                    "daseCV_c.get_num_threads()\n").split()
    assert any(name.endswith("cgroup") for name in opened) == (_backend.runtime.openmp_version() > 0)


if hasattr(os, "sched_setaffinity"):
    @pytest.mark.compiled
    def test_default_is_within_the_affinity(script):
        assert script(ONE_CPU + PRINT).split() == ["1"]

    @pytest.mark.compiled
    def test_default_follows_the_affinity_after_the_import(script):
        every = "import os\nos.sched_setaffinity(0, range(os.cpu_count()))\n"
        assert script(PRINT + "\n" + ONE_CPU + PRINT, OMP_NUM_THREADS="500").split()[1] == "1"
        first, narrowed, widened = script("\n".join([PRINT, ONE_CPU + PRINT, every + PRINT])).split()
        assert narrowed == "1" and int(widened) >= int(first)

    @pytest.mark.compiled
    def test_kernels_follow_the_affinity(script):
        """They read it anew a little later, when nobody has asked for the number of threads."""
        script("import time\nimport daseCV_c\nfrom daseCV_c._runtime.threads import effective\n"
               "daseCV_c.get_num_threads()\ntime.sleep(0.05)\n" + ONE_CPU +
               "until = time.monotonic() + 20\nwhile effective() != 1 and time.monotonic() < until:\n"
               "    time.sleep(0.02)\nassert effective() == 1\n")


@pytest.mark.compiled
def test_the_environment_is_left_as_it_was(script):
    """What the package sets while it loads its OpenMP runtime reaches no other process."""
    source = "import os\nbefore = dict(os.environ)\nimport daseCV_c.layers\nassert dict(os.environ) == before\n"
    script(source)
    script(source, OMP_WAIT_POLICY="active")


@pytest.mark.compiled
def test_loading_leaves_denormals_alone(script):
    """Linking with fast math would flush them to zero in the whole process."""
    script("import daseCV_c.layers, numpy as np\nassert (np.full(9, 5e-324) * 1.0).all()\n"
           "x = np.full(9, 2e-310)\nassert (x / 2 > 0).all()\n")


@pytest.mark.compiled
def test_use_backend():
    daseCV_c.use_backend("compiled")
    with daseCV_c.use_backend("numpy"):
        assert daseCV_c.get_backend() == "numpy"
    assert daseCV_c.get_backend() == "compiled"
    with pytest.raises(ValueError, match="^use_backend: name is 'cuda'"):
        daseCV_c.use_backend("cuda")
    assert daseCV_c.get_backend() == "compiled"


@pytest.mark.compiled
def test_what_is_said_of_the_build(capsys):
    facts = daseCV_c.show_config("dict")
    assert facts["level of this CPU"] == _backend.runtime.cpu_level()
    assert facts["openmp"] == (_backend.runtime.openmp_version() or None)
    daseCV_c.show_config()
    assert f"levels built:      {', '.join(facts['levels built'])}\n" in capsys.readouterr().out


def test_the_best_level_that_the_processor_has_is_chosen(monkeypatch):
    monkeypatch.delenv("DASECV_ISA", raising=False)
    built = ["base", "v3", "v4"]
    assert [_backend._choose_level(level, built) for level in built] == built


def test_the_twins_need_no_kernels(monkeypatch):
    monkeypatch.setattr(_backend, "_kernels", None)
    with daseCV_c.use_backend("numpy"):
        pass
    with pytest.raises(RuntimeError):
        daseCV_c.use_backend("compiled")
