"""Files that are written whole or not at all, with the mode that the umask leaves."""

import errno
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from daseCV_c import _npz
from daseCV_c._files import remove_drafts, replacing
from daseCV_c.classifiers.fc_net import TwoLayerNet
from daseCV_c.cli import main
from daseCV_c.datasets import load_digits_images
from daseCV_c.solver import Solver
from daseCV_c.submission import output_file, zip_fun


def test_a_block_that_raises_leaves_the_former_file(here):
    Path("it").write_bytes(b"former")
    for error in (OSError, KeyboardInterrupt):
        with pytest.raises(error), replacing("it") as file:
            file.write(b"half")
            raise error
        assert [path.read_bytes() for path in here.iterdir()] == [b"former"]
    with replacing("it") as file:
        file.write(b"new")
    assert [path.read_bytes() for path in here.iterdir()] == [b"new"]


def test_what_is_durable_is_on_the_disk_before_it_has_its_name(here, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace

    def synced(number):
        done.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
        fsync(number)

    def replaced(*paths):
        done.append("replace")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    with replacing("it", durable=True) as file:
        file.write(b"new")
    assert done == ["file", "replace", *(["folder"] if sys.platform != "win32" else [])]
    done.clear()
    with replacing("it") as file:
        file.write(b"newer")
    assert done == ["replace"]


def test_errors_name_the_file_and_not_the_draft(here):
    with pytest.raises(OSError, match="No space.*: '.*/it'$"), replacing("it"):
        raise OSError(errno.ENOSPC, "No space left")
    assert os.listdir() == []


def test_drafts_of_killed_processes(here):
    for name in (".it.0123abcd.part", ".it.x.0123abcd.part", ".it.0123abcz.part", "it.0123abcd.part",
                 ".ti.0123abcd.part"):
        Path(name).touch()
    remove_drafts("it")
    remove_drafts("[absent]*")
    assert sorted(os.listdir()) == [".it.0123abcz.part", ".it.x.0123abcd.part", ".ti.0123abcd.part",
                                    "it.0123abcd.part"]


def test_a_missing_folder_is_an_error_of_the_system(here):
    with pytest.raises(FileNotFoundError), replacing(here / "absent" / "it"):
        raise AssertionError("the block has run")


if sys.platform != "win32":
    def test_a_link_stays_and_a_pipe_is_written_to(here):
        os.symlink("real", "link")
        with replacing("link") as file:
            file.write(b"x")
        assert os.readlink("link") == "real" and Path("real").read_bytes() == b"x"
        with replacing(os.devnull) as file:
            file.write(b"x")
        assert stat.S_ISCHR(os.stat(os.devnull).st_mode)

    @pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
    def test_every_file_has_the_mode_of_the_umask(here, monkeypatch, umask):
        before = os.umask(umask)
        try:
            data = load_digits_images()
            Solver(TwoLayerNet(64, 5), data, num_epochs=1, verbose=False, checkpoint_name="checkpoint").train()
            output_file(np.arange(3))
            zip_fun()
            assert main.main(["train", "--epochs", "1", "--out", "run"]) == 0
            np.save("x.npy", np.zeros((2, 64)))
            assert main.main(["predict", "run", "x.npy"]) == 0
        finally:
            os.umask(before)
        found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in here.rglob("*") if path.is_file()}
        assert {"checkpoint_epoch_1.npz", "prediction.npy", "prediction_phase_1.zip", "best.npz", "config.json",
                "history.csv", "preds.npy"} <= set(found)
        assert set(found.values()) == {0o666 & ~umask}, found


def test_why_a_file_cannot_be_read():
    assert _npz._reason(ValueError("no")) == "no"
    assert _npz._reason(EOFError()) == "EOFError"
    assert _npz._reason(OSError(2, "gone", "x")) == "gone"
