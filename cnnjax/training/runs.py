"""The state of a run other than its arrays: its position, and how it is saved, restored and stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any

import jax
import numpy as np

from cnnjax.errors import DivergedError
from cnnjax.training.checkpoints import Checkpoints, Store
from cnnjax.training.interrupts import Interrupts
from cnnjax.training.step import StepResult, TrainState

__all__ = ["Position", "RunCheckpointer"]


@dataclass
class Position:
    """Where a run is.

    Attributes:
        epoch: the number of the epoch, from 1.
        losses: the loss of each step of the epoch so far.
        errors: the number of misclassified images of each of these steps.
    """

    epoch: int = 1
    losses: list[float] = field(default_factory=list[float])
    errors: list[int] = field(default_factory=list[int])

    def record(
        self, results: Sequence[StepResult], step: int, names: Sequence[str], describe_last: Callable[[], str]
    ) -> None:
        """Fetch and add the results of the latest steps, up to number `step`.

        Args:
            results: of consecutive steps.
            step: the number of the last of them.
            names: the names of the entries of `StepResult.finite`.
            describe_last: names the last checkpoint, for the error.

        Raises:
            DivergedError: for the first step with a value that is not finite.
        """
        for number, (loss, errors, finite) in enumerate(jax.device_get(list(results)), step - len(results) + 1):
            if not finite.all():
                name = names[int(np.flatnonzero(~finite)[0])]
                raise DivergedError(
                    f"fit: {name} became {loss if name == 'the loss' else 'NaN or infinite'} in step {number}, epoch "
                    f"{self.epoch}, batch {len(self.losses)}; try a smaller learning rate. {describe_last()}"
                )
            self.losses.append(float(loss))
            self.errors.append(int(errors))


class RunCheckpointer:
    """Saves and restores a run, and defers signals until it is saved; without `checkpoints` it does nothing."""

    def __init__(self, checkpoints: Checkpoints | None, configuration: Callable[[], Mapping[str, Any]]) -> None:
        self._store: Store | None = None
        self._interrupts: Interrupts | None = None
        self._every, self._configuration = 0, dict[str, Any]()
        if checkpoints is not None:
            self._configuration = {**configuration(), **checkpoints.configuration}
            self._every = checkpoints.every
            self._store = Store(checkpoints)
            self._interrupts = Interrupts()

    def __enter__(self) -> RunCheckpointer:
        """Start deferring signals."""
        if self._interrupts:
            self._interrupts.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop deferring signals, and finish the save in progress."""
        if self._store and self._interrupts:
            self._interrupts.__exit__(kind, error, at)
            self._store.__exit__(kind, error, at)

    def restore(self, state: TrainState) -> tuple[TrainState, Position]:
        """Return the state and position of the newest valid checkpoint; without one, `state` and the beginning."""
        saved = self._store.restore(state, self._configuration) if self._store else None
        return (state, Position()) if saved is None else (saved.arrays, Position(**saved.metadata["position"]))

    def should_stop(self, step: int) -> bool:
        """Return whether a signal asks the run to stop after this step."""
        return self._interrupts is not None and self._interrupts.should_stop(step)

    def should_save(self, step: int) -> bool:
        """Return whether to save after this step."""
        return self._every > 0 and step % self._every == 0

    def save(self, step: int, state: TrainState, position: Position) -> None:
        """Save in the background."""
        if self._store:
            self._store.save(step, state, self._configuration, metadata={"position": asdict(position)})

    def stop(self, step: int) -> None:
        """Carry out the signal once everything is saved; a second signal takes effect at once."""
        if self._store and self._interrupts:
            self._interrupts.__exit__()
            self._store.wait()
            if jax.process_index() == 0:
                print(f"Stopped by a signal, saved after step {step}: the same call resumes there.", file=sys.stderr)
            self._interrupts.reraise()

    def describe_last(self) -> str:
        """Name the last checkpoint in a sentence."""
        if self._store is None:
            return "No checkpoints were kept."
        self._store.wait()
        step = self._store.newest()
        return (
            "No checkpoint was saved before."
            if step is None
            else f"The last good checkpoint is {self._store.folder / str(step)}."
        )
