"""A few of the trials of `kill_trials.py`."""

import random
import sys

import pytest

pytestmark = pytest.mark.once

if sys.platform != "win32":
    import kill_trials

    @pytest.mark.parametrize(("trial", "seed"), [(("adam", "batchnorm", 0.7), 1), (("sgd_momentum", "conv", 1.0), 2)],
                             ids=str)
    def test_killed_and_resumed(tmp_path, monkeypatch, trial, seed):
        import os
        from pathlib import Path

        import daseCV_c
        root = str(Path(daseCV_c.__file__).resolve().parents[1])
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])))
        assert kill_trials.run(trial, 2, random.Random(seed), tmp_path) >= 1
