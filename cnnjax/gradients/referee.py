"""Finite differences of one program at one point, along stretches of a few fixed lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cnnjax.gradients.leaves import Leaf
from cnnjax.gradients.numerical import LADDER, Derivative, derivative
from cnnjax.gradients.programs import Program

__all__ = ["Referee", "Stretch", "derivatives_of", "lines_through", "magnitudes"]

_BLOCK = 2**20  # numbers in one table of differences


@dataclass(frozen=True)
class Stretch:
    """The direction that is line number ``line`` from ``start`` to ``stop`` and zero elsewhere."""

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

    Scales are powers of two, so that adding a power-of-two part of one to a number rounds as little as
    possible.
    """
    scale = np.ones_like(x)
    for leaf in leaves:
        part = abs(x[leaf.start : leaf.stop])
        usable = np.isfinite(part) & (part > 1e-150)
        own = np.median(part[usable]) if usable.any() else 1.0
        scale[leaf.start : leaf.stop] = np.where(usable, part, own)
    return 2.0 ** np.floor(np.log2(scale))


def lines_through(x: np.ndarray, leaves: Sequence[Leaf], rng: np.random.Generator) -> np.ndarray:
    """Return two dense directions: random in proportion to each number, and one shift a leaf."""
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
        self._measured = False
        self.noise: np.ndarray = program.setting.epsilon * abs(self.centre)

    @cached_property
    def output_scale(self) -> np.ndarray:
        """The magnitude of each output: cotangents in inverse proportion show small beside large."""
        moved = self.program(self.x + LADDER[0] * self.lines[0])
        self.evaluations += 1
        size = np.nan_to_num(np.maximum(abs(self.centre), abs(moved)), nan=0.0, posinf=0.0)
        return np.where(size > 0, size, 1.0)

    def measure_noise(self) -> None:
        """Replace the least possible round-off of the function by what it is measured to be."""
        if not self._measured:
            self.noise = np.maximum(self.program.noise(self.x), self.noise)
            self.evaluations += 7
            self._measured = True

    def finite_differences(self, stretch: Stretch) -> tuple[np.ndarray, np.ndarray]:
        """Return f(x + t v) - f(x) for t = +LADDER and -LADDER, as arrays (steps, 1, outputs)."""
        return self._differences([stretch], LADDER)

    def direction(self, stretch: Stretch) -> np.ndarray:
        """Return a stretch as a vector."""
        v = np.zeros_like(self.x)
        v[stretch.start : stretch.stop] = self.lines[stretch.line, stretch.start : stretch.stop]
        return v

    def derivatives(self, stretches: Sequence[Stretch], steps: np.ndarray = LADDER) -> Derivative:
        """Return the derivative of every output along every stretch, as arrays (stretches, outputs)."""
        per_block = max(1, _BLOCK // (len(steps) * max(len(self.centre), 1)))
        blocks = [
            self._block(stretches[first : first + per_block], steps) for first in range(0, len(stretches), per_block)
        ]
        return _joined(blocks)

    def projected(self, stretches: Sequence[Stretch], weights: np.ndarray, steps: np.ndarray) -> Derivative:
        """Return the derivative of the weighted sum of the outputs along every stretch, as arrays (stretches,
        1).

        The differences of the outputs are weighted and added up before they are extrapolated: that is cheap
        for many outputs, and cannot tell whose kink it is.
        """
        used = weights != 0
        noise = float(np.nan_to_num(self.noise * abs(weights)).sum())
        found = []
        for stretch in stretches:
            plus, minus = (d[:, 0, used] @ weights[used, None] for d in self._differences([stretch], steps))
            found.append(derivative(steps, np.zeros(1), plus, minus, noise))
        return Derivative(*(np.stack(column) for column in zip(*(d.fields for d in found), strict=True)))

    def _block(self, stretches: Sequence[Stretch], steps: np.ndarray) -> Derivative:
        plus, minus = self._differences(stretches, steps)
        return _extrapolated(steps, plus, minus, np.broadcast_to(self.noise, plus.shape[1:]))

    def _differences(self, stretches: Sequence[Stretch], steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return f(x + t v) - f(x) for t = +steps and -steps, as arrays (steps, stretches, outputs)."""
        columns = (np.array([getattr(s, name) for s in stretches], np.int32) for name in ("line", "start", "stop"))
        which, start, stop = (np.repeat(column, 2 * len(steps)) for column in columns)
        t = np.concatenate([steps, -steps])
        values = self.program.along(self.x, self.lines, which, start, stop, np.tile(t, len(stretches)))
        self.evaluations += len(values)
        values[~np.concatenate([self._resolved(stretch, t) for stretch in stretches])] = np.nan
        with np.errstate(invalid="ignore"):
            values = values.reshape(len(stretches), 2, len(steps), -1).transpose(1, 2, 0, 3) - self.centre
        return values[0], values[1]

    def _resolved(self, stretch: Stretch, t: np.ndarray) -> np.ndarray:
        """Return for which steps x + t v is on the grid of the numbers, to a quarter of the step.

        The difference of a step that is rounded away is zero, without any noise to tell.
        """
        dtype = np.float64 if self.program.setting.epsilon < 1e-10 else np.float32
        part = slice(stretch.start, stretch.stop)
        x, line = self.x[part].astype(dtype), self.lines[stretch.line, part]
        found = np.empty(len(t), bool)
        together = max(1, _BLOCK // max(len(x), 1))
        for first in range(0, len(t), together):
            step = t[first : first + together, None] * line
            with np.errstate(invalid="ignore", over="ignore"):
                moved = (x + step.astype(dtype)).astype(dtype) - x
                found[first : first + together] = ~(abs(moved - step) > 0.25 * abs(step)).any(axis=1)
        return found


def derivatives_of(referees: Sequence[Referee], stretch: Stretch, steps: np.ndarray) -> Derivative:
    """Return the derivative along one stretch at the point of each referee, as arrays (referees, outputs)."""
    per_block = max(1, _BLOCK // (len(steps) * max(len(referees[0].centre), 1)))
    blocks = []
    for first in range(0, len(referees), per_block):
        some = referees[first : first + per_block]
        sides = zip(*(referee._differences([stretch], steps) for referee in some), strict=True)
        plus, minus = (np.concatenate(side, axis=1) for side in sides)
        blocks.append(_extrapolated(steps, plus, minus, np.stack([referee.noise for referee in some])))
    return _joined(blocks)


def _joined(blocks: Sequence[Derivative]) -> Derivative:
    return Derivative(*(np.concatenate(column) for column in zip(*(block.fields for block in blocks), strict=True)))


def _extrapolated(steps: np.ndarray, plus: np.ndarray, minus: np.ndarray, noise: np.ndarray) -> Derivative:
    """Return the derivatives, arrays (rows, outputs), from differences (steps, rows, outputs)."""
    # Most outputs do not feel a single element: nothing moves there, to within the noise at the largest step.
    moved = _moved(plus) | _moved(minus)
    still = np.zeros(moved.shape)
    fields = [still, noise / steps[0], still.copy(), still.copy()]
    found = derivative(steps, np.zeros(moved.sum()), plus[:, moved], minus[:, moved], noise[moved])
    for field, values in zip(fields, found.fields, strict=True):
        field[moved] = values
    return Derivative(*fields)


def _moved(differences: np.ndarray) -> np.ndarray:
    """Return which outputs move, as an array (rows, outputs); a step that says nothing of any output tells nothing."""
    silent = np.isnan(differences).all(axis=-1, keepdims=True)
    return ((differences != 0) & ~silent).any(axis=0) | silent.all(axis=0)
