"""Checkpoints: what is restored, what is skipped as damaged, and what is refused."""

import contextlib
import itertools
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
import warnings

import jax
import jax.numpy as jnp
import optax
import pytest

from cnnjax.errors import CheckpointError, ConfigurationError, MissingExtraError
from cnnjax.training import checkpoints, checksums
from cnnjax.training.checkpoints import Checkpoints, Store
from cnnjax.training.configuration import PROGRAM

CONFIGURATION = {"seed": 5, "network": {"c1": "Conv2D(6, 5)"}}


@pytest.fixture
def arrays():
    params = {"c1": {"w": jnp.arange(50, dtype=jnp.float32).reshape(5, 10) / 7}}
    with jax.numpy_dtype_promotion("standard"):
        optimizer = optax.adam(0.1).init(params)
    return {"params": params, "optimizer": optimizer, "key": jax.random.key(3), "step": jnp.int32(7)}


@pytest.fixture
def folder(tmp_path, arrays):
    """Three checkpoints, of steps 10, 20 and 30."""
    with Store(Checkpoints(tmp_path / "run")) as store:
        for step in (10, 20, 30):
            store.save(step, arrays | {"step": jnp.int32(step)}, CONFIGURATION, metadata={"losses": [0.1, step / 7]})
    return tmp_path / "run"


def restore(folder, template, configuration=None):
    with Store(Checkpoints(folder)) as store:
        return store.restore(template, configuration or CONFIGURATION)


def test_everything_comes_back_bit_by_bit(folder, arrays):
    step, found, metadata = restore(folder, arrays)
    assert step == found["step"] == 30
    assert metadata["losses"] == [0.1, 30 / 7]
    assert metadata["configuration"] == CONFIGURATION
    assert metadata["versions"]["jax"] == jax.__version__
    assert jax.tree.structure(found) == jax.tree.structure(arrays)
    assert jax.random.key_data(found.pop("key")).tolist() == jax.random.key_data(arrays["key"]).tolist()
    expected = {name: value for name, value in arrays.items() if name != "key"} | {"step": jnp.int32(30)}
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (one.dtype, one.tobytes()) == (other.dtype, other.tobytes())


def test_an_empty_folder_gives_nothing(tmp_path, arrays):
    assert restore(tmp_path / "new" / "folder", arrays) is None


def test_the_oldest_go(tmp_path, arrays):
    with Store(Checkpoints(tmp_path, keep=2)) as store:
        for step in range(4):
            store.save(step, arrays, CONFIGURATION)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]


def cut(path):
    largest = max((path / "arrays").rglob("d/*"), key=lambda file: file.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])


def flip(path):
    largest = max((path / "arrays").rglob("d/*"), key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "is not what was written"),
        (flip, "is not what was written"),
        (lambda path: (path / "metadata" / "metadata").unlink(), "metadata/metadata is missing"),
        (lambda path: shutil.rmtree(path / "arrays"), "is missing"),
        (lambda path: (path / "checksums.json").unlink(), "checksums.json cannot be read"),
        (lambda path: (path / "checksums.json").write_text("{"), "checksums.json cannot be read"),
        (lambda path: (path / "checksums.json").write_text("{}"), "arrays was not written"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(folder, arrays, damage, words):
    damage(folder / "30")
    with pytest.warns(RuntimeWarning, match=f"Checkpoint .*/30 is damaged and skipped: .*{words}"):
        assert restore(folder, arrays).step == 20
    assert sorted(path.name for path in folder.iterdir()) == ["10", "20", "damaged-30"]
    with Store(Checkpoints(folder)) as store:  # its place is free again
        store.restore(arrays, CONFIGURATION)
        store.save(30, arrays, CONFIGURATION)
    assert restore(folder, arrays).step == 30


def test_what_orbax_keeps_beside_the_items_is_not_needed(folder, arrays):
    (folder / "30" / "_CHECKPOINT_METADATA").write_text("{")
    assert restore(folder, arrays).step == 30


def test_where_none_is_sound_the_run_begins_again(folder, arrays):
    for step in (10, 20, 30):
        flip(folder / f"{step}")
    with pytest.warns(RuntimeWarning) as warned:
        assert restore(folder, arrays) is None
    *damaged, last = (str(warning.message) for warning in warned)
    assert [f"{folder / step} is damaged" in words for step, words in zip(("30", "20", "10"), damaged, strict=True)]
    assert "No sound checkpoint is left" in last


def test_a_half_written_checkpoint_is_named_and_removed(folder, arrays):
    shutil.copytree(folder / "30", folder / "40.orbax-checkpoint-tmp")
    with pytest.warns(RuntimeWarning, match=r"40\.orbax-checkpoint-tmp was never finished, and is skipped"):
        assert restore(folder, arrays).step == 30
    assert not (folder / "40.orbax-checkpoint-tmp").exists()


def test_another_configuration_is_refused_with_the_difference(folder, arrays):
    other = {"seed": 6, "network": {"c1": "Conv2D(8, 5)"}, "shift": 1}
    with pytest.raises(ConfigurationError) as raised:
        restore(folder, arrays, other)
    assert str(raised.value).splitlines()[1:-1] == [
        "  network.c1: Conv2D(6, 5) saved, Conv2D(8, 5) now",
        "  seed: 5 saved, 6 now",
        "  shift: nothing saved, 1 now",
    ]
    assert isinstance(raised.value, ValueError)
    assert sorted(path.name for path in folder.iterdir()) == ["10", "20", "30"]


def test_other_software_is_named_and_its_programs_are_not_compared(folder, arrays, monkeypatch):
    monkeypatch.setattr(checkpoints, "versions", lambda: {"jax": "99.0"})
    with pytest.warns(RuntimeWarning, match=r"may not be bitwise .*jax: .* saved, 99\.0 now"):
        assert restore(folder, arrays, CONFIGURATION | {PROGRAM: "another"}).step == 30


def test_other_tensors_are_refused(folder, arrays):
    with pytest.raises(CheckpointError, match=r"The arrays of checkpoint .*/30 cannot be read"):
        restore(folder, arrays | {"more": jnp.zeros(3)})


def test_a_folder_that_cannot_be_written_is_an_error_before_anything_else(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"No checkpoint can be written into .*file/run: .* Name a folder"):
        Store(Checkpoints(tmp_path / "file" / "run"))


def save_now(store, arrays, then=lambda: None):
    store.save(40, arrays, CONFIGURATION)
    then()
    store.wait()


# TensorStore tells an event loop, which Orbax has closed by then, about writes that failed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_loses_nothing_that_was_saved(folder, arrays):
    """No file may grow beyond a few bytes: what a process sees of a full disk, also when it is root."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    store = Store(Checkpoints(folder))
    store.restore(arrays, CONFIGURATION)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, most))
    try:
        with pytest.raises(CheckpointError, match=r"step 40 could not be written .* step 30.* Make room there"), store:
            save_now(store, arrays)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    with pytest.warns(RuntimeWarning, match="never finished"):
        assert restore(folder, arrays).step == 30
    # TensorStore's threads may write on while the start removes what they wrote; a later start removes the rest.
    deadline = time.monotonic() + 60
    while (left := sorted(path.name for path in folder.iterdir())) != ["10", "20", "30"]:
        assert time.monotonic() < deadline, left
        with warnings.catch_warnings(action="ignore"):
            assert restore(folder, arrays).step == 30


def test_a_save_that_fails_has_ended_when_its_error_is_raised(folder, arrays, monkeypatch):
    """Its writer is held until the run waits for it, then fails: nothing writes after the error."""
    waiting, ended = threading.Event(), threading.Event()

    def slow(path, items):
        assert waiting.wait(60)
        ended.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checksums, "compute_checksums", slow)
    store = Store(Checkpoints(folder))
    store.save(40, arrays, CONFIGURATION)
    wait = store._manager.wait_until_finished
    monkeypatch.setattr(store._manager, "wait_until_finished", lambda: (waiting.set(), wait()))
    with pytest.raises(CheckpointError, match="No space left on device"):
        store.wait()
    assert ended.is_set()
    assert not [thread for thread in threading.enumerate() if type(thread).__module__.startswith("orbax")]
    with store:
        pass


def late_files(path):
    """Keep adding files to a folder, as a writer that outlives its save; return the function that ends it."""
    stop = threading.Event()

    def write():
        for number in itertools.count():
            if stop.is_set():
                return
            with contextlib.suppress(FileNotFoundError, FileExistsError):  # the folder is removed meanwhile
                path.mkdir(parents=True, exist_ok=True)
                (path / f"late-{number}").write_text("")

    writer = threading.Thread(target=write)
    writer.start()
    return lambda: (stop.set(), writer.join())


@pytest.mark.parametrize("name", ["40.orbax-checkpoint-tmp", "40.orbax-checkpoint-tmp-0badcafe-1"])
@pytest.mark.filterwarnings("ignore:.* was never finished:RuntimeWarning")
def test_a_writer_that_outlives_its_save_disturbs_neither_the_next_start_nor_the_next_save(folder, arrays, name):
    end = late_files(folder / name / "arrays")
    try:
        for _ in range(3):
            assert restore(folder, arrays).step == 30
        with Store(Checkpoints(folder)) as store:
            store.save(40, arrays | {"step": jnp.int32(40)}, CONFIGURATION)
    finally:
        end()
    assert not list((folder / "40").rglob("late-*"))
    assert restore(folder, arrays).arrays["step"] == 40
    assert sorted(path.name for path in folder.iterdir()) == ["20", "30", "40"]


def test_a_file_added_while_the_unfinished_checkpoint_is_removed_is_no_error(folder, arrays, monkeypatch):
    """The race of a restart right after a failed save, forced: each folder gets a file just before it is removed."""
    unfinished, rmdir = folder / "40.orbax-checkpoint-tmp", os.rmdir
    shutil.copytree(folder / "30", unfinished)

    def late(path, **options):
        if not (unfinished / "late").exists():
            (unfinished / "late").write_text("")
        rmdir(path, **options)

    monkeypatch.setattr(os, "rmdir", late)
    with pytest.warns(RuntimeWarning, match="never finished"):
        assert restore(folder, arrays).step == 30
    monkeypatch.undo()
    with pytest.warns(RuntimeWarning, match="never finished"):
        assert restore(folder, arrays).step == 30
    assert not unfinished.exists()


IN_USE = "are in use by a run that has not ended, in this or another process"


def test_a_folder_has_one_run_at_a_time(folder, arrays):
    with Store(Checkpoints(folder)) as store:
        with pytest.raises(CheckpointError, match=IN_USE):
            Store(Checkpoints(folder))
        store.save(40, arrays, CONFIGURATION)
    assert restore(folder, arrays).step == 40


SAVING = """
import sys, jax, numpy as np
from cnnjax.training import checksums
from cnnjax.training.checkpoints import Checkpoints, Store

def held(path, items):
    print("saving", flush=True)
    sys.stdin.read()

checksums.write_checksums = held
with Store(Checkpoints(sys.argv[1])) as store:
    store.save(40, {"w": np.ones(3)}, {})
"""


def test_a_start_while_another_process_saves_is_refused_and_removes_nothing(folder, arrays):
    command = [sys.executable, "-c", SAVING, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "saving\n"
        (unfinished,) = folder.glob("40.*")
        files = sorted(unfinished.rglob("*"))
        with pytest.raises(CheckpointError, match=IN_USE):
            Store(Checkpoints(folder))
        assert sorted(unfinished.rglob("*")) == files
        process.kill()
    with pytest.warns(RuntimeWarning, match=f"{unfinished.name} was never finished"):
        assert restore(folder, arrays).step == 30
    assert not unfinished.exists()


def test_a_save_that_fails_in_the_background_is_told_at_the_end(folder, arrays, monkeypatch):
    def full(path, items):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checksums, "compute_checksums", full)
    with (
        pytest.raises(CheckpointError, match=r"step 40 .* No space left on device"),
        Store(Checkpoints(folder)) as store,
    ):
        store.save(40, arrays, CONFIGURATION)


def test_an_error_of_the_run_is_not_replaced_by_one_of_its_last_save(folder, arrays, monkeypatch):
    monkeypatch.setattr(checksums, "compute_checksums", lambda path, items: 1 / 0)
    with pytest.raises(LookupError), Store(Checkpoints(folder)) as store:
        save_now(store, arrays, lambda: {}["the run's own error"])


def test_without_orbax_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cnnjax\[checkpoints\]'"):
        Store(Checkpoints(tmp_path))


@pytest.mark.parametrize("setting", ["every", "keep"])
def test_settings_that_save_nothing_are_refused(setting):
    with pytest.raises(ValueError, match=f"`{setting}` is 0; expected at least 1"):
        Checkpoints("run", **{setting: 0})
