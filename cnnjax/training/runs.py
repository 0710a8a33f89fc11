"""What a run keeps while it goes on: its position, what it saves of itself, and the bar that shows it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import jax
import numpy as np

from cnnjax.errors import DivergedError
from cnnjax.training.checkpoints import Checkpoints, Store
from cnnjax.training.interrupts import Interrupts

__all__ = ["Bar", "Keeper", "Position"]

Result = tuple[jax.Array, jax.Array, jax.Array]


@dataclass
class Position:
    """Where a run is: its epoch, from 1, and what each step of it that was made gave."""

    epoch: int = 1
    losses: list[float] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)

    def take(self, made: Sequence[Result], step: int, watched: Sequence[str], last: Callable[[], str]) -> None:
        """Add what the steps up to a number gave: loss, errors, and whether each of `watched` is finite.

        Raises DivergedError for the first step where one is not; `last` says what was saved before it.
        """
        for number, (value, errors, finite) in enumerate(jax.device_get(list(made)), step - len(made) + 1):
            if not finite.all():
                name = watched[int(np.flatnonzero(~finite)[0])]
                raise DivergedError(
                    f"fit: {name} became {value if name == 'the loss' else 'NaN or infinite'} in step {number}, epoch "
                    f"{self.epoch}, batch {len(self.losses)}; try a smaller learning rate. {last()}"
                )
            self.losses.append(float(value))
            self.errors.append(int(errors))


class Keeper:
    """Saves a run and brings it back, and holds signals until it is saved. Without `checkpoints` it does none of it."""

    def __init__(self, checkpoints: Checkpoints | None, configure: Callable[[], Mapping[str, Any]]) -> None:
        self._store = self._interrupts = None
        self._every, self._configuration = 0, {}
        if checkpoints is not None:
            self._configuration = {**configure(), **checkpoints.configuration}
            self._every = checkpoints.every
            self._store = Store(checkpoints)
            self._interrupts = Interrupts()

    def __enter__(self) -> Keeper:
        """Take signals over."""
        if self._interrupts:
            self._interrupts.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Finish what is being saved, and give signals back."""
        if self._store and self._interrupts:
            self._interrupts.__exit__(*error)
            self._store.__exit__(*error)

    def restore(self, state: Any) -> tuple[Any, Position]:
        """The state and position of the newest sound checkpoint, else those of the beginning."""
        saved = self._store.restore(state, self._configuration) if self._store else None
        return (state, Position()) if saved is None else (saved.arrays, Position(**saved.facts["position"]))

    def stopped(self, step: int) -> bool:
        """Whether a signal asks the run to stop after this step."""
        return self._interrupts is not None and self._interrupts.at(step)

    def due(self, step: int) -> bool:
        """Whether to save after this step."""
        return self._every > 0 and step % self._every == 0

    def save(self, step: int, state: Any, position: Position) -> None:
        """Save in the background."""
        if self._store:
            self._store.save(step, state, self._configuration, facts={"position": asdict(position)})

    def stop(self, step: int) -> None:
        """Do what the signal asks for, when all is saved; a second one does not wait for that."""
        if self._store and self._interrupts:
            self._interrupts.__exit__()
            self._store.wait()
            if jax.process_index() == 0:
                print(f"Stopped by a signal, saved after step {step}: the same run goes on there.", file=sys.stderr)
            self._interrupts.stop()

    def last(self) -> str:
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


class Bar:
    """A progress bar over the images of a run; none without a terminal or tqdm, or where another process shows it."""

    def __init__(self, images: int, done: int) -> None:
        self._bar: Any = None
        if not sys.stderr.isatty() or jax.process_index():
            return
        try:
            from tqdm import tqdm
        except ImportError:
            return
        self._bar = tqdm(total=images, initial=done, unit=" images", unit_scale=True, leave=False)

    def __enter__(self) -> Bar:
        """Return the bar."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        if self._bar:
            self._bar.close()

    def title(self, text: str) -> None:
        """Write before the bar."""
        if self._bar:
            self._bar.set_description(text)

    def advance(self, images: int) -> None:
        """Count images."""
        if self._bar:
            self._bar.update(images)

    def loss(self, value: float) -> None:
        """Show a loss behind the bar."""
        if self._bar:
            self._bar.set_postfix(loss=f"{value:.4f}", refresh=False)

    def hide(self) -> None:
        """Make way for what others print; it comes back when it advances."""
        if self._bar:
            self._bar.clear()
