"""Checkpoints: written in the background, with a checksum of each file; the newest valid one is restored.

A checkpoint is a folder named by its step. Orbax writes the arrays (parameters, optimizer state, step) into it under a
temporary name and renames it when it is complete. Just before the renaming, the same thread adds the metadata as JSON
(the position in the data, the configuration, the versions) and the SHA-256 sum of each file.

Two writers never meet. A run locks its folder, a save that failed ends before its error is raised, and the temporary
name of each save is unique: whatever a writer of an earlier save still does, it does not touch another checkpoint.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import numpy as np

from cnnjax._core.messages import value_error
from cnnjax.errors import CheckpointError, ConfigurationError, MissingExtraError
from cnnjax.training import checksums
from cnnjax.training.configuration import PROGRAM, as_json, differences, versions
from cnnjax.training.locks import lock_folder

__all__ = ["Checkpoints", "Restored", "Store"]

_ITEMS = ("arrays", "metadata")
_IN_USE = -1


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often `fit` saves a run, and what else identifies the run.

    A checkpoint is saved after every `every` steps and at the end of each epoch.

    Args:
        folder: the folder of the checkpoints of one run.
        every: steps between checkpoints within an epoch.
        keep: the number of newest checkpoints that are kept.
        configuration: whatever else describes the run (a learning rate, the name of a schedule), as JSON values. It is
            saved with what `fit` itself knows of the run; a folder with another configuration is refused, and the
            error lists the differences.

    Raises:
        ArgumentValueError: for numbers below 1.

    Example:
        >>> Checkpoints("runs/first", configuration={"learning_rate": 0.002}).keep
        3
    """

    folder: str | os.PathLike[str]
    every: int = 1000
    keep: int = 3
    configuration: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Check that something is saved and kept."""
        for name in ("every", "keep"):
            if getattr(self, name) < 1:
                got, fix = f"{getattr(self, name)}", f"use {name}=1 or more"
                raise value_error("Checkpoints", name, got=got, expected="at least 1", fix=fix)


class Restored(NamedTuple):
    """The contents of a checkpoint: its step, the arrays in the structure of the template, the metadata."""

    step: int
    arrays: Any
    metadata: dict[str, Any]


class Store:
    """The checkpoints of one run in their folder, opened for reading and writing; close it, or use `with`.

    In a run of several processes, each process opens the store and calls the same methods at the same step.

    Args:
        settings: the folder, and how many checkpoints are kept.

    Raises:
        MissingExtraError: when orbax-checkpoint is not installed.
        CheckpointError: when the folder cannot be made or written, or another run, in this or another process, has it
            open.

    Example:
        >>> import tempfile
        >>> settings = Checkpoints(tempfile.mkdtemp())
        >>> with Store(settings) as store:
        ...     store.save(7, {"w": np.ones(3)}, {"seed": 5}, metadata={"epoch": 1})
        >>> with Store(settings) as store:
        ...     step, arrays, metadata = store.restore({"w": np.zeros(3)}, {"seed": 5})
        >>> step, arrays["w"].tolist(), metadata["epoch"]
        (7, [1.0, 1.0, 1.0], 1)
    """

    def __init__(self, settings: Checkpoints) -> None:
        self._orbax = orbax = _import_orbax()
        self.folder = Path(settings.folder).absolute()
        self._saving: int | None = None
        self._metadata = ""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise CheckpointError(
                f"No checkpoint can be written into {self.folder}: {error.strerror}. Name a folder that you may write."
            ) from error
        self._session, self._saves = self._open_session(), 0
        if _is_first_process():
            self._remove_unfinished()
        logging.getLogger("absl").addFilter(_is_not_from_orbax)
        self._manager = orbax.CheckpointManager(
            self.folder,
            options=orbax.CheckpointManagerOptions(
                max_to_keep=settings.keep,
                lightweight_initialize=True,
                temporary_path_class=_unique_temporary_path(orbax, lambda: self._temporary_suffix),
                # Folders are created before the writer starts: it would wait for them even if that failed.
                async_options=orbax.AsyncOptions(
                    post_finalization_callback=self._complete, create_directories_asynchronously=False
                ),
            ),
        )

    def __enter__(self) -> Store:
        """Return the store."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Finish the save in progress; an error of the run takes precedence over an error of this save."""
        try:
            with self._save_errors():
                try:
                    self._manager.wait_until_finished()
                finally:
                    self._manager.close()
        except CheckpointError:
            if kind is None or kind is GeneratorExit:
                raise
        finally:
            self._unlock()
            logging.getLogger("absl").removeFilter(_is_not_from_orbax)

    def save(
        self, step: int, arrays: Any, configuration: Mapping[str, Any], *, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Copy the arrays and write them in the background, after the previous save has finished.

        Args:
            step: the number of the step, which names the checkpoint.
            arrays: a pytree of arrays.
            configuration: that of the run; `restore` compares it.
            metadata: anything else, as JSON values.

        Raises:
            CheckpointError: when this checkpoint or the previous one cannot be written; earlier ones are kept.
        """
        everything = {**(metadata or {}), "configuration": as_json(configuration), "versions": versions()}
        text = json.dumps(everything)
        self.wait()
        self._saving, self._metadata, self._saves = step, text, self._saves + 1
        items = self._orbax.args.Composite(arrays=self._orbax.args.StandardSave(arrays))
        with self._save_errors():
            self._manager.save(step, args=items, force=True)

    def wait(self) -> None:
        """Wait until the save in progress has finished.

        Raises:
            CheckpointError: when it could not be written.
        """
        with self._save_errors():
            self._manager.wait_until_finished()
        self._saving = None

    def newest(self) -> int | None:
        """Return the step of the newest complete checkpoint, or None."""
        return self._manager.latest_step()

    def restore(self, template: Any, configuration: Mapping[str, Any]) -> Restored | None:
        """Return the newest valid checkpoint, or None if there is none.

        Every file is compared with its checksum first. A damaged checkpoint is named in a warning and renamed to
        `damaged-<step>`, and the previous one is tried.

        Args:
            template: arrays or `jax.ShapeDtypeStruct`s with the desired shapes, dtypes and shardings; the
                checkpoint may have been written with other shardings.
            configuration: must be equal to the one that was saved.

        Raises:
            ConfigurationError: when the configuration differs; the message lists the differences.
            CheckpointError: when the arrays are not those of the template.
        """
        step = self._newest_valid()
        if step is None:
            return None
        metadata = json.loads((self.folder / f"{step}" / "metadata" / "metadata").read_text())
        self._check_configuration(step, metadata, configuration)
        wanted = jax.tree.map(self._orbax.utils.to_shape_dtype_struct, template)
        return Restored(step, self._read_arrays(step, wanted), metadata)

    def _read_arrays(self, step: int, wanted: Any) -> Any:
        request = self._orbax.args.Composite(arrays=self._orbax.args.StandardRestore(wanted))
        try:
            return self._manager.restore(step, args=request)["arrays"]
        except Exception as error:  # of Orbax, TensorStore or the file system
            raise CheckpointError(
                f"The arrays of checkpoint {self.folder / str(step)} cannot be read: {error} Its files are as "
                "they were written; it may be of another network or optimizer, or of another release of "
                "orbax-checkpoint."
            ) from error

    def _check_configuration(self, step: int, metadata: Mapping[str, Any], configuration: Mapping[str, Any]) -> None:
        saved, now = metadata["configuration"], as_json(configuration)
        other_versions = differences(metadata["versions"], versions())
        if other_versions:
            # Another release may lower the same step to another program, with another text and other results.
            saved, now = ({k: v for k, v in given.items() if k != PROGRAM} for given in (saved, now))
            warnings.warn(
                f"Checkpoint {self.folder / str(step)} was written by other software or on another machine, so the run "
                f"may not be bitwise the one that was started: {'; '.join(other_versions)}.",
                RuntimeWarning,
                stacklevel=4,
            )
        lines = differences(saved, now)
        if lines:
            raise ConfigurationError(
                "\n  ".join([f"The checkpoints in {self.folder} are those of another run:", *lines])
                + "\nUse the saved settings, or name another folder."
            )

    def _newest_valid(self) -> int | None:
        """Return the step of the newest valid checkpoint; process 0 decides for all."""
        found = self._find_valid() if _is_first_process() else None
        step = _from_first_process(-1 if found is None else found)
        found = None if step < 0 else step
        self._manager.reload()
        return found

    def _find_valid(self) -> int | None:
        damaged = 0
        for step in sorted(self._manager.all_steps(), reverse=True):
            path = self.folder / str(step)
            damage = checksums.find_damage(path, _ITEMS)
            if damage is None:
                return step
            damaged += 1
            _warn(f"Checkpoint {path} is damaged and skipped: {damage}.")
            aside = path.with_name(f"damaged-{step}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
        if damaged:
            _warn(f"No sound checkpoint is left in {self.folder}: the run starts from its beginning.")
        return None

    def _open_session(self) -> int:
        """Lock the folder, in the first process of the run, and return a number that names this session."""
        release = lock_folder(self.folder) if _is_first_process() else _no_release
        self._unlock = weakref.finalize(self, release or _no_release)
        session = _from_first_process(_IN_USE if release is None else secrets.randbits(31))
        if session == _IN_USE:
            raise CheckpointError(
                f"The checkpoints in {self.folder} are in use by a run that has not ended, in this or another process. "
                "Wait until it ends, or name another folder; a run in this process ends with its iterator, which "
                "close() closes."
            )
        return session

    @property
    def _temporary_suffix(self) -> str:
        """What the temporary name of the current save ends in, the same in all processes and in no other save."""
        return f"{self._session:08x}-{self._saves}"

    def _remove_unfinished(self) -> None:
        for path in sorted(self.folder.glob("*.orbax-checkpoint-tmp*")):
            _warn(f"Checkpoint {path} was never finished, and is skipped: the run was stopped while it was written.")
            # A writer of this process may add a file meanwhile; what it leaves is removed by the next start.
            shutil.rmtree(path, ignore_errors=True)

    def _complete(self) -> None:
        """Called by Orbax in its own thread when the arrays are written, just before the renaming."""
        (path,) = self.folder.glob(f"{self._saving}.*-{self._temporary_suffix}")
        (path / "metadata").mkdir()
        (path / "metadata" / "metadata").write_text(self._metadata)
        checksums.write_checksums(path, _ITEMS)

    @contextmanager
    def _save_errors(self) -> Generator[None, None, None]:
        """Turn any error of a save into a CheckpointError that says which checkpoint is left."""
        try:
            yield
        except Exception as error:  # of Orbax, TensorStore or the file system
            left = self.newest()
            kept = "none was saved before" if left is None else f"the last complete one is that of step {left}"
            cause = str(error).partition(" [tensorstore_spec=")[0] or type(error).__name__
            raise CheckpointError(
                f"The checkpoint of step {self._saving} could not be written into {self.folder}: {cause}; {kept}. "
                "Make room there, or make it writable, and start the same run again."
            ) from error


def _is_not_from_orbax(record: logging.LogRecord) -> bool:
    """Orbax logs each error with its traceback before raising it; here each is only raised, in one sentence."""
    return "orbax" not in record.pathname


def _is_first_process() -> bool:
    return jax.process_index() == 0


def _from_first_process(value: int) -> int:
    """Return the value that the first process of the run has."""
    if jax.process_count() == 1:
        return value
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return int(broadcast_one_to_all(np.int32(value)))


def _no_release() -> None: ...


def _unique_temporary_path(orbax: Any, suffix: Callable[[], str]) -> type[Any]:
    """Return the class with which Orbax names the temporary folders of a save: the usual name and a suffix."""
    atomicity = orbax.path.atomicity

    class UniqueTemporaryPath(atomicity.AtomicRenameTemporaryPath):
        @classmethod
        def from_final(cls, final_path: Any, **options: Any) -> Any:
            name = f"{final_path.name}{atomicity.TMP_DIR_SUFFIX}-{suffix()}"
            return cls(final_path.parent / name, final_path, **options)

    return UniqueTemporaryPath


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=5)


def _import_orbax() -> Any:
    try:
        import orbax.checkpoint
    except ImportError as error:
        raise MissingExtraError(
            "Checkpoints need the package orbax-checkpoint, which is not installed. Fix: pip install "
            "'cnnjax[checkpoints]'."
        ) from error
    return orbax.checkpoint
