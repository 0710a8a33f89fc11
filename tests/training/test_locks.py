"""One holder at a time, also across processes, and none after the holder has been killed."""

import errno
import signal
import subprocess
import sys

import pytest

from cnnjax.training import locks
from cnnjax.training.locks import lock_folder

HOLD = """
import pathlib, sys
from cnnjax.training.locks import lock_folder
release = lock_folder(pathlib.Path(sys.argv[1]))
print(release is not None, flush=True)
sys.stdin.read()
"""


def hold(folder):
    """Start a process that locks the folder, and wait until it has tried."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, process.stdout.readline().strip()


def test_one_holder_at_a_time_in_one_process(tmp_path):
    release = lock_folder(tmp_path)
    assert lock_folder(tmp_path) is None
    release()
    lock_folder(tmp_path)()
    assert list(tmp_path.iterdir()) == []


def test_one_holder_at_a_time_across_processes_and_none_after_it_is_killed(tmp_path):
    release = lock_folder(tmp_path)
    process, locked = hold(tmp_path)
    with process:
        assert locked == "False"
        process.stdin.close()
    release()
    process, locked = hold(tmp_path)
    with process:
        assert locked == "True"
        assert lock_folder(tmp_path) is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    lock_folder(tmp_path)()


def test_a_file_system_without_locks_is_used_without(tmp_path, monkeypatch):
    def no_locks(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    for _ in range(2):
        lock_folder(tmp_path)()


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        lock_folder(tmp_path / "absent")
