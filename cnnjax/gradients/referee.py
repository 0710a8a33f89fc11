"""Finite differences of one program at one point, along stretches of a few fixed lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnjax.gradients.leaves import Leaf
from cnnjax.gradients.numerical import LADDER, LONG_LADDER, Derivative, derivative
from cnnjax.gradients.programs import Program

__all__ = ["Referee", "Stretch", "lines_through", "magnitudes"]

_BLOCK = 2**20  # numbers in one table of differences


@dataclass(frozen=True)
class Stretch:
    """The direction that is line number ``line`` between positions ``start`` and ``stop`` and zero elsewhere."""

    line: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many numbers it moves."""
        return self.stop - self.start

    def halves(self) -> tuple[Stretch, Stretch]:
        """Cut it in two."""
        middle = (self.start + self.stop) // 2
        return Stretch(self.line, self.start, middle), Stretch(self.line, middle, self.stop)


def magnitudes(x: np.ndarray, leaves: Sequence[Leaf]) -> np.ndarray:
    """Return the scale of each number: its own magnitude, or its leaf's median where it is zero, or 1.

    Scales are powers of two, so that adding a power-of-two part of one to a number rounds as little as possible.
    """
    scale = np.ones_like(x)
    for leaf in leaves:
        part = abs(x[leaf.start : leaf.stop])
        usable = np.isfinite(part) & (part > 1e-150)
        own = np.median(part[usable]) if usable.any() else 1.0
        scale[leaf.start : leaf.stop] = np.where(usable, part, own)
    return 2.0 ** np.floor(np.log2(scale))


def lines_through(x: np.ndarray, leaves: Sequence[Leaf], rng: np.random.Generator) -> np.ndarray:
    """Return two dense directions: a random one in proportion to each number, and the same shift for a whole leaf."""
    scale = magnitudes(x, leaves)
    mixed = scale * rng.choice([1.0, 1.25, 1.5, 1.75], x.shape) * rng.choice([-1.0, 1.0], x.shape)
    shift = np.ones_like(x)
    for leaf in leaves:
        if leaf.size:
            shift[leaf.start : leaf.stop] = np.median(scale[leaf.start : leaf.stop])
    return np.stack([mixed, shift])


class Referee:
    """Numerical derivatives of ``program`` at ``x`` along stretches of ``lines``."""

    def __init__(self, program: Program, x: np.ndarray, lines: np.ndarray) -> None:
        self.program, self.x, self.lines = program, x, lines
        self.centre = program(x)
        self.evaluations = 1
        self._noise: np.ndarray | float = program.setting.epsilon * abs(self.centre)

    def measure_noise(self) -> None:
        """Replace the least possible round-off of the function by what it is measured to be."""
        self._noise = np.maximum(self.program.noise(self.x), self._noise)
        self.evaluations += 7

    def direction(self, stretch: Stretch) -> np.ndarray:
        """Return a stretch as a vector."""
        v = np.zeros_like(self.x)
        v[stretch.start : stretch.stop] = self.lines[stretch.line, stretch.start : stretch.stop]
        return v

    def derivatives(self, stretches: Sequence[Stretch], steps: np.ndarray = LADDER) -> Derivative:
        """Return the derivative of every output along every stretch, as arrays of shape (stretches, outputs)."""
        per_block = max(1, _BLOCK // (len(steps) * max(len(self.centre), 1)))
        blocks = [
            self._block(stretches[first : first + per_block], steps) for first in range(0, len(stretches), per_block)
        ]
        return Derivative(*(np.concatenate([getattr(b, name) for b in blocks]) for name in _FIELDS))

    def _block(self, stretches: Sequence[Stretch], steps: np.ndarray) -> Derivative:
        columns = (np.array([getattr(s, name) for s in stretches], np.int32) for name in ("line", "start", "stop"))
        which, start, stop = (np.repeat(column, 2 * len(steps)) for column in columns)
        t = np.tile(np.concatenate([steps, -steps]), len(stretches))
        values = self.program.along(self.x, self.lines, which, start, stop, t)
        self.evaluations += len(t)
        values = values.reshape(len(stretches), 2, len(steps), -1).transpose(1, 2, 0, 3)
        centre = np.broadcast_to(self.centre, values.shape[2:])
        return derivative(steps, centre, values[0], values[1], self._noise)

    @property
    def fine_steps(self) -> np.ndarray:
        """Steps from 1/4 down to the resolution of the numbers."""
        return LONG_LADDER[11:]


_FIELDS = ("value", "bar", "low", "high")
