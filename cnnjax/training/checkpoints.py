"""Checkpoints to trust: written beside the training, each file with its sum, the newest sound one restored.

A checkpoint is a folder named by its step, and is there whole or not at all: Orbax writes it in the background under
another name and gives it its own name at the end; just before, the SHA-256 sum of each of its files is added. It holds
the arrays (parameters, optimizer state, step) and, as JSON, the facts: position in the data, configuration, versions.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import numpy as np

from cnnjax._core.messages import value_error
from cnnjax.errors import CheckpointError, ConfigurationError, MissingExtraError

__all__ = [
    "PROGRAM",
    "Checkpoints",
    "Restored",
    "Store",
    "differences",
    "versions",
]

PROGRAM = "program of loss, optimizer and augmentation"
"""The entry of a configuration that is compared only where the same software wrote it."""

_SUMS = "checksums.json"
_ITEMS = ("arrays", "facts")


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often a run saves itself, and what it must agree with to go on from there.

    `fit` saves after every `every` steps and at the end of each epoch, and keeps the newest `keep`. `configuration` is
    whatever else describes the run (a learning rate, the name of a schedule): with what `fit` knows itself it is saved
    too, and a folder with another one is refused, the difference named. It holds what JSON can.

    Raises ArgumentValueError for numbers below 1.

    >>> Checkpoints("runs/first", configuration={"learning_rate": 0.002}).keep
    3
    """

    folder: str | os.PathLike[str]
    every: int = 1000
    keep: int = 3
    configuration: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """See that something is saved and kept."""
        for name in ("every", "keep"):
            if getattr(self, name) < 1:
                got, fix = f"{getattr(self, name)}", f"use {name}=1 or more"
                raise value_error("Checkpoints", name, got=got, expected="at least 1", fix=fix)


class Restored(NamedTuple):
    """What a checkpoint held: its step, the arrays as they were asked for, the facts."""

    step: int
    arrays: Any
    facts: dict[str, Any]


class Store:
    """The checkpoints of one run in their folder, opened for reading and writing; close it, or use `with`.

    Where a run has several processes, each opens the store and calls the same methods at the same step.

    Raises:
        MissingExtraError: when orbax-checkpoint is not installed.
        CheckpointError: when the folder cannot be made or written.

    >>> import tempfile
    >>> settings = Checkpoints(tempfile.mkdtemp())
    >>> with Store(settings) as store:
    ...     store.save(7, {"w": np.ones(3)}, {"seed": 5}, facts={"epoch": 1})
    >>> with Store(settings) as store:
    ...     step, arrays, facts = store.restore({"w": np.zeros(3)}, {"seed": 5})
    >>> step, arrays["w"].tolist(), facts["epoch"]
    (7, [1.0, 1.0, 1.0], 1)
    """

    def __init__(self, settings: Checkpoints) -> None:
        self._orbax = orbax = _orbax()
        self.folder = Path(settings.folder).absolute()
        self._saving: int | None = None
        logging.getLogger("absl").addFilter(_is_not_of_orbax)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise CheckpointError(
                f"No checkpoint can be written into {self.folder}: {error.strerror}. Name a folder that you may write."
            ) from error
        if _is_first():
            self._remove_unfinished()
        self._manager = orbax.CheckpointManager(
            self.folder,
            options=orbax.CheckpointManagerOptions(
                max_to_keep=settings.keep,
                lightweight_initialize=True,
                async_options=orbax.AsyncOptions(post_finalization_callback=self._add_sums),
            ),
        )

    def __enter__(self) -> Store:
        """Return the store."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Finish what is being saved; an error that is on its way already is not replaced by another."""
        try:
            with self._named():
                try:
                    self._manager.wait_until_finished()
                finally:
                    self._manager.close()
        except CheckpointError:
            if kind is None or kind is GeneratorExit:
                raise
        finally:
            logging.getLogger("absl").removeFilter(_is_not_of_orbax)

    def save(
        self, step: int, arrays: Any, configuration: Mapping[str, Any], *, facts: Mapping[str, Any] | None = None
    ) -> None:
        """Copy the arrays, and write them in the background; waits for the save before.

        Raises CheckpointError when this one or the one before cannot be written; what was saved stays.
        """
        everything = {**(facts or {}), "configuration": _plain(configuration), "versions": versions()}
        items = {"arrays": self._orbax.args.StandardSave(arrays), "facts": self._orbax.args.JsonSave(everything)}
        self.wait()
        self._saving = step
        with self._named():
            self._manager.save(step, args=self._orbax.args.Composite(**items), force=True)

    def wait(self) -> None:
        """Return when nothing is being saved any more. Raises CheckpointError when it could not be written."""
        with self._named():
            self._manager.wait_until_finished()
        self._saving = None

    def newest(self) -> int | None:
        """The step of the newest checkpoint that is there whole, or None."""
        return self._manager.latest_step()

    def restore(self, template: Any, configuration: Mapping[str, Any]) -> Restored | None:
        """Return the newest sound checkpoint, or None where there is none.

        Every file is compared with its sum first. A damaged checkpoint is named in a warning, its folder renamed to
        `damaged-<step>`, and the one before it taken.

        Args:
            template: arrays or `jax.ShapeDtypeStruct`s of the shapes, dtypes and shardings that are wanted; those that
                the checkpoint was written with may have been sharded in another way.
            configuration: must be equal to the one that was saved.

        Raises:
            ConfigurationError: when it is not; the message lists the differences.
            CheckpointError: when the arrays are not those of the template.
        """
        step = self._newest_sound()
        if step is None:
            return None
        facts = self._read(step, "facts", self._orbax.args.JsonRestore())
        self._agree(step, facts, configuration)
        wanted = jax.tree.map(self._orbax.utils.to_shape_dtype_struct, template)
        return Restored(step, self._read(step, "arrays", self._orbax.args.StandardRestore(wanted)), facts)

    def _read(self, step: int, item: str, request: Any) -> Any:
        try:
            return self._manager.restore(step, args=self._orbax.args.Composite(**{item: request}))[item]
        except Exception as error:  # of Orbax, TensorStore or the file system
            raise CheckpointError(
                f"The {item} of checkpoint {self.folder / str(step)} cannot be read: {error} Its files are as "
                "they were written; it may be of another network or optimizer, or of another release of "
                "orbax-checkpoint."
            ) from error

    def _agree(self, step: int, facts: Mapping[str, Any], configuration: Mapping[str, Any]) -> None:
        saved, now = facts["configuration"], _plain(configuration)
        other = differences(facts["versions"], versions())
        if other:
            # Another release may compile the same step into another program: neither equal text nor equal bits.
            saved, now = ({k: v for k, v in of.items() if k != PROGRAM} for of in (saved, now))
            warnings.warn(
                f"Checkpoint {self.folder / str(step)} was written by other software or on another machine, so the run "
                f"may not be bitwise the one that was started: {'; '.join(other)}.",
                RuntimeWarning,
                stacklevel=4,
            )
        lines = differences(saved, now)
        if lines:
            raise ConfigurationError(
                "\n  ".join([f"The checkpoints in {self.folder} are those of another run:", *lines])
                + "\nGo on with the settings that were saved, or name another folder."
            )

    def _newest_sound(self) -> int | None:
        """Process 0 looks, so that all decide alike."""
        found = self._look() if _is_first() else None
        if jax.process_count() > 1:
            from jax.experimental.multihost_utils import broadcast_one_to_all

            step = int(broadcast_one_to_all(np.int32(-1 if found is None else found)))
            found = None if step < 0 else step
        self._manager.reload()
        return found

    def _look(self) -> int | None:
        damaged = 0
        for step in sorted(self._manager.all_steps(), reverse=True):
            path = self.folder / str(step)
            damage = _damage(path)
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

    def _remove_unfinished(self) -> None:
        for path in sorted(self.folder.glob("*.orbax-checkpoint-tmp*")):
            _warn(f"Checkpoint {path} was never finished, and is skipped: the run was stopped while it was written.")
            shutil.rmtree(path)

    def _add_sums(self) -> None:
        """Orbax calls this in its thread when all files of a checkpoint are written, just before it is renamed."""
        (path,) = (found for found in self.folder.iterdir() if found.name.split(".")[0] == f"{self._saving}")
        (path / _SUMS).write_text(json.dumps(_sums(path), indent=1))

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Turn whatever stops a save into one sentence."""
        try:
            yield
        except Exception as error:  # of Orbax, TensorStore or the file system
            left = self.newest()
            kept = "none was saved before" if left is None else f"the last one that is whole is that of step {left}"
            cause = str(error).partition(" [tensorstore_spec=")[0] or type(error).__name__
            raise CheckpointError(
                f"The checkpoint of step {self._saving} could not be written into {self.folder}: {cause}; {kept}. "
                "Make room there, or make it writable, and start the same run again."
            ) from error


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say where two nested configurations differ, a line for each.

    >>> differences({"seed": 0, "of": {"rate": 0.1}}, {"seed": 0, "of": {"rate": 0.2}, "new": True})
    ['new: nothing saved, True now', 'of.rate: 0.1 saved, 0.2 now']
    """
    before, after = _flat(saved), _flat(now)
    return [
        f"{name}: {before.get(name, 'nothing')} saved, {after.get(name, 'nothing')} now"
        for name in sorted({*before, *after})
        if before.get(name, "nothing") != after.get(name, "nothing")
    ]


def versions() -> dict[str, str]:
    """The versions of what computes a run, the kind of device it runs on, and how many cores it may use.

    On a CPU the cores count: XLA and oneDNN cut sums into as many parts, and so round them differently.
    """
    packages = ("cnnjax", "jax", "jaxlib", "numpy", "optax", "orbax-checkpoint")
    device = jax.devices()[0]
    found = {"python": platform.python_version(), "device": device.device_kind}
    if device.platform == "cpu":
        found["cores"] = f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()}"
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed as a package"
    return found


def _sums(path: Path) -> dict[str, str]:
    """The SHA-256 sum of every file of the items; what Orbax adds later beside them holds nothing of the run."""
    files = (file for item in _ITEMS for file in (path / item).rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): _sum(file) for file in sorted(files)}


def _sum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _damage(path: Path) -> str | None:
    """What is wrong with the files of a checkpoint, or None."""
    try:
        promised = json.loads((path / _SUMS).read_text())
        found = _sums(path)
    except (OSError, ValueError) as error:
        return f"{_SUMS} cannot be read ({type(error).__name__})"
    for item in _ITEMS:
        if not any(name.startswith(f"{item}/") for name in promised):
            return f"{item} was not written"
    for name, expected in promised.items():
        if name not in found:
            return f"{name} is missing"
        if found[name] != expected:
            return f"{name} is not what was written"
    return None


def _flat(of: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in of.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": str(value)}
    return flat


def _plain(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """As it comes back from JSON, so that what is saved compares with what is given."""
    return json.loads(json.dumps(configuration, default=str))


def _is_not_of_orbax(record: logging.LogRecord) -> bool:
    """Orbax logs each error with its traceback before it raises it; here they are raised once, in a sentence."""
    return "orbax" not in record.pathname


def _is_first() -> bool:
    return jax.process_index() == 0


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=5)


def _orbax() -> Any:
    try:
        import orbax.checkpoint
    except ImportError as error:
        raise MissingExtraError(
            "Checkpoints need the package orbax-checkpoint, which is not installed. Fix: pip install "
            "'cnnjax[checkpoints]'."
        ) from error
    return orbax.checkpoint
