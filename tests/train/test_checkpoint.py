"""Checkpoints: complete or not there, never half; damage is said in one line."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dlkit.data.normalize import Normalizer
from dlkit.errors import CheckpointError
from dlkit.train import TrainConfig
from dlkit.train.checkpoint import Checkpoint, load_checkpoint
from dlkit.train.files import OutputError, remove_leftovers, write_atomically


def checkpoint(value=1.0):
    config = TrainConfig(model="logistic")
    model = config.build((4,), 3)
    state = {n: np.full_like(a, value) for n, a in model.state_dict().items()}
    normalizer = Normalizer("none", np.zeros(4), np.ones(4), False)
    return Checkpoint(config, ["a", "b", "c"], (4,), normalizer, state, {"steps": np.array(7)}, {"epoch": 2})


def test_round_trip(tmp_path):
    path = tmp_path / "last.safetensors"
    checkpoint(0.5).save(path)
    back = load_checkpoint(path)
    assert back.classes == ["a", "b", "c"]
    assert back.input_shape == (4,)
    assert back.progress == {"epoch": 2}
    assert int(back.optimizer_state["steps"]) == 7
    assert all((v == 0.5).all() for v in back.model_state.values())
    assert not back.build().training
    assert [p.name for p in tmp_path.iterdir()] == ["last.safetensors"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[: len(b) // 2],
        lambda b: b"",
        lambda b: b"x" * 100,
        lambda b: b[:8] + b"}" + b[9:],
        lambda b: (2**60).to_bytes(8, "little") + b[8:],
    ],
)
def test_a_damaged_file_is_one_clear_error(tmp_path, damage):
    path = tmp_path / "c.safetensors"
    checkpoint().save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(2)}, tmp_path / "c.safetensors")
    with pytest.raises(CheckpointError, match="not a dlkit checkpoint"):
        load_checkpoint(tmp_path / "c.safetensors")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_a_full_disk_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "last.safetensors"
    checkpoint(1.0).save(path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"):
        checkpoint(2.0).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.safetensors"]


def test_a_file_size_limit_leaves_the_old_file(tmp_path):
    """The real thing: the operating system refuses to write more than 64 KiB."""
    code = """
import resource, signal, sys
from pathlib import Path
from dlkit.train.files import write_atomically, OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    write_atomically(Path(sys.argv[1]), b"x" * 200_000)
except OutputError as error:
    print(error)
"""
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "cannot be written (File too large)" in run.stdout
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


def test_a_link_stays_and_permissions_too(tmp_path):
    target, link = tmp_path / "there" / "file.bin", tmp_path / "link.bin"
    target.parent.mkdir()
    link.symlink_to(target)
    write_atomically(link, b"first")  # dangling until now
    assert (link.is_symlink(), target.read_bytes()) == (True, b"first")
    target.chmod(0o640)
    write_atomically(link, b"second")
    assert (link.is_symlink(), target.read_bytes(), target.stat().st_mode & 0o777) == (True, b"second", 0o640)
    assert [p.name for p in target.parent.iterdir()] == ["file.bin"]


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / ".dlkit-unfinished-abc.safetensors").write_bytes(b"half")
    (tmp_path / ".keep").write_bytes(b"")
    write_atomically(tmp_path / "last.safetensors", b"whole")
    remove_leftovers(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"last.safetensors", ".keep"}


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import numpy as np
from test_checkpoint import checkpoint
c = checkpoint()
c.model_state["padding"] = np.zeros(300_000, np.float32)
path = Path(sys.argv[1])
value = 0
print("ready", flush=True)
while True:
    c.progress = {"epoch": value}
    c.save(path)
    value += 1
"""


def kill_while_writing(tmp_path: Path, times: int) -> list[int]:
    """Starts a process that writes checkpoints without end and kills it; -> the epoch found each time."""
    path, found, rng = tmp_path / "last.safetensors", [], random.Random(0)
    for _ in range(times):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        while not path.exists():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        found.append(load_checkpoint(path).progress["epoch"])
    return found


def test_killed_while_writing_the_last_checkpoint_always_loads(tmp_path):
    assert len(kill_while_writing(tmp_path, 5)) == 5


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_a_hundred_moments_the_last_checkpoint_always_loads(tmp_path):
    assert len(set(kill_while_writing(tmp_path, 100))) > 3  # the moments differed
