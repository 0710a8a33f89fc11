"""Finite differences of one program at one point, along segments of a few fixed lines."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cnnjax.gradients.jaxprs import has_loop_until_converged
from cnnjax.gradients.leaves import Leaf
from cnnjax.gradients.programs import Program
from cnnjax.gradients.richardson import LADDER, NumericalDerivative, extrapolate
from cnnjax.gradients.solver_error import change_by_more_steps, solver_error

__all__ = [
    "TIED",
    "FiniteDifferences",
    "Segment",
    "derivatives_at_points",
    "line_through_ties",
    "lines_through",
    "magnitudes",
]

TIED = 2**20
"""Numbers among which equal ones are looked for."""

_BESIDE = 2.0**-20  # in units of a line: next to the point
_BLOCK = 2**20  # numbers in one table of differences
_ROUND_OFF = 2.0**-44  # relative: a fit that is this close leaves round-off
_KEPT = 2**21  # numbers that are kept for the next mode


@dataclass(frozen=True)
class Segment:
    """The direction that equals line number ``line`` from ``start`` to ``stop`` and is zero elsewhere."""

    line: int
    start: int
    stop: int

    @classmethod
    def element(cls, line: int, position: int) -> Segment:
        """Return the segment of a single element."""
        return cls(line, int(position), int(position) + 1)

    @property
    def size(self) -> int:
        """How many numbers it moves."""
        return self.stop - self.start

    def halves(self) -> tuple[Segment, Segment]:
        """Cut it in two."""
        middle = (self.start + self.stop) // 2
        return Segment(self.line, self.start, middle), Segment(self.line, middle, self.stop)


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


def lines_through(
    x: np.ndarray, leaves: Sequence[Leaf], rng: np.random.Generator, symmetric: Sequence[Leaf] = ()
) -> np.ndarray:
    """Return two dense directions: random in proportion to each number, and one shift a leaf.

    Along both of them the matrices of the ``symmetric`` leaves stay symmetric.
    """
    scale = magnitudes(x, leaves)
    mixed = scale * rng.choice([1.0, 1.25, 1.5, 1.75], x.shape) * rng.choice([-1.0, 1.0], x.shape)
    for leaf in symmetric:
        matrices = mixed[leaf.start : leaf.stop].reshape(leaf.shape)
        mixed[leaf.start : leaf.stop] = (np.tril(matrices) + np.tril(matrices, -1).swapaxes(-1, -2)).reshape(-1)
    shift = np.ones_like(x)
    for leaf in leaves:
        if leaf.size:
            shift[leaf.start : leaf.stop] = np.median(scale[leaf.start : leaf.stop])
    return np.stack([mixed, shift])


def line_through_ties(x: np.ndarray, leaves: Sequence[Leaf]) -> np.ndarray:
    """Return the direction (1, n) that moves every number equal to one in another leaf, with it; (0, n) without ties.

    A maximum of tied arguments has a kink along each of them, and none along both. Among more than `TIED` numbers many
    are equal by chance, and there is no line.
    """
    if len(x) > TIED:
        return np.zeros((0, len(x)))
    owner = np.repeat(np.arange(len(leaves)), [leaf.stop - leaf.start for leaf in leaves])
    _, group = np.unique(x, return_inverse=True)
    first, last = np.full(group.max(initial=0) + 1, len(leaves)), np.full(group.max(initial=0) + 1, -1)
    np.minimum.at(first, group, owner)
    np.maximum.at(last, group, owner)
    tied = (first < last)[group]
    step = np.full(len(first), np.inf)
    np.minimum.at(step, group, magnitudes(x, leaves))
    return np.where(tied, step[group], 0.0)[None] if tied.any() else np.zeros((0, len(x)))


class FiniteDifferences:
    """Numerical derivatives of ``program`` at ``x`` along segments of ``lines``.

    ``jumps`` is by how much the results of an iteration inside were found to jump at another point: they show only
    where the number of its steps changes close by.
    """

    def __init__(self, program: Program, x: np.ndarray, lines: np.ndarray, jumps: np.ndarray | float = 0.0) -> None:
        self.program, self.x, self.lines = program, x, lines
        start = time.perf_counter()
        self.centre = program.or_nan(x)
        self.seconds = time.perf_counter() - start
        """How long an evaluation takes."""
        self.evaluations = 1
        self._measured = False
        self.jumps = np.zeros_like(self.centre) + jumps
        """By how much the results of an iteration inside, which stops when it is close enough, jump."""
        self.left_by_stopping = np.zeros_like(self.centre)
        """How far such an iteration is from its limit. Where that is known, differences are those of the limit."""
        self._kept: dict[tuple[Segment, float], np.ndarray] = {}
        self.noise: np.ndarray = program.strategy.epsilon * abs(self.centre)

    @cached_property
    def output_scale(self) -> np.ndarray:
        """The magnitude of each output: cotangents in inverse proportion to it show small outputs beside large ones."""
        moved = self._along_a_line(LADDER[:1])[0]
        size = np.nan_to_num(np.fmax(abs(self.centre), abs(moved)), nan=0.0, posinf=0.0)
        return np.where(size > 0, size, 1.0)

    def measure_noise(self) -> None:
        """Replace the lower bound of the function's round-off by its measured round-off.

        The bound stays where a function jumps when it is perturbed: how its differences converge says more.
        """
        if not self._measured:
            measured = self.program.noise(self.x)
            if not measured.all():  # a factor of zero hides the round-off that there is next to the point
                beside = self.program.noise(self.x + _BESIDE * self.lines[0])
                measured = np.where(measured == 0, beside, measured)
                self.evaluations += 7
            self.noise = np.where(np.isfinite(measured), np.maximum(measured, self.noise), self.noise)
            self.evaluations += 7
            self._measured = True
            if self.program.strategy.traced and has_loop_until_converged(self.program.jaxpr):
                self._measure_solver_error()

    def _measure_solver_error(self) -> None:
        if not self.program.intended:
            left = change_by_more_steps(self.centre, lambda further: self.program.continued(further, self.x))
            self.evaluations += 2
            self.left_by_stopping = np.where(left > _ROUND_OFF * abs(self.centre), left, 0.0)
        if self.left_by_stopping.any():
            self.program = self.program.with_twice_the_steps
            self.centre = self.program.or_nan(self.x)
            self._kept.clear()
        jumps = solver_error(self._along_a_line)
        self.jumps = np.maximum(self.jumps, np.where(jumps > _ROUND_OFF * abs(self.centre), jumps, 0.0))
        self.noise = np.maximum(self.noise, self.jumps)

    def _along_a_line(self, t: np.ndarray) -> np.ndarray:
        self.evaluations += len(t)
        return self.program.along(self.x, self.lines[0], np.tile((0, len(self.x)), (len(t), 1)), t)

    def direction(self, segment: Segment) -> np.ndarray:
        """Return a segment as a vector."""
        v = np.zeros_like(self.x)
        v[segment.start : segment.stop] = self.lines[segment.line, segment.start : segment.stop]
        return v

    def derivatives(self, segments: Sequence[Segment], steps: np.ndarray = LADDER) -> NumericalDerivative:
        """Return the derivative of every output along every segment, as arrays (segments, outputs)."""
        per_block = max(1, _BLOCK // (len(steps) * max(len(self.centre), 1)))
        blocks = [
            self._block(segments[first : first + per_block], steps) for first in range(0, len(segments), per_block)
        ]
        return NumericalDerivative.joined(blocks)

    def projected(self, segments: Sequence[Segment], weights: np.ndarray, steps: np.ndarray) -> NumericalDerivative:
        """Return the derivative of the weighted sum of the outputs along every segment, as arrays (segments, 1).

        The differences of the outputs are weighted and added up before they are extrapolated: that is cheap for many
        outputs, but cannot tell which of them has a kink.
        """
        used = weights != 0
        noise = float(np.nan_to_num(self.noise * abs(weights)).sum())
        found = []
        for segment in segments:
            plus, minus = (d[:, 0, used] @ weights[used, None] for d in self.differences([segment], steps))
            found.append(extrapolate(steps, np.zeros(1), plus, minus, noise))
        return NumericalDerivative.joined(found, np.stack)

    def _block(self, segments: Sequence[Segment], steps: np.ndarray) -> NumericalDerivative:
        plus, minus = self.differences(segments, steps)
        return _extrapolated(steps, plus, minus, np.broadcast_to(self.noise, plus.shape[1:]))

    def differences(self, segments: Sequence[Segment], steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return f(x + t v) - f(x) for t = +steps and -steps, as arrays (steps, segments, outputs).

        They are kept for the next mode of differentiation and for longer ladders, as long as they are few.
        """
        pairs = [(segment, step) for segment in segments for step in steps.tolist()]
        missing = [pair for pair in pairs if pair not in self._kept]
        new = dict(zip(missing, self._evaluated(missing), strict=True)) if missing else {}
        found = np.stack([self._kept[pair] if pair in self._kept else new[pair] for pair in pairs], axis=1)
        for pair, values in new.items():
            if len(self._kept) < _KEPT // values.size:
                self._kept[pair] = values
        plus, minus = found.reshape(2, len(segments), len(steps), -1).swapaxes(1, 2)
        return plus, minus

    def _evaluated(self, moves: Sequence[tuple[Segment, float]]) -> np.ndarray:
        """Return the differences for each segment and step, up and down, as an array (moves, 2, outputs)."""
        t = np.array([(step, -step) for _, step in moves])
        values = np.empty((*t.shape, len(self.centre)))
        lines = np.array([segment.line for segment, _ in moves])
        parts = np.array([(segment.start, segment.stop) for segment, _ in moves])
        for line in np.unique(lines):
            rows = lines == line
            found = self.program.along(self.x, self.lines[line], parts[rows].repeat(2, axis=0), t[rows].reshape(-1))
            values[rows] = found.reshape(-1, 2, len(self.centre))
        self.evaluations += t.size
        for segment, group in itertools.groupby(range(len(moves)), lambda row: moves[row][0]):
            rows = np.array([*group])
            values[rows] = np.where(self._resolved(segment, t[rows])[..., None], values[rows], np.nan)
        with np.errstate(invalid="ignore"):
            values -= self.centre
        return values

    def _resolved(self, segment: Segment, t: np.ndarray) -> np.ndarray:
        """Return for which steps x + t v can be represented, to a quarter of the step.

        Where a step is rounded away the difference is exactly zero, and no noise shows it.
        """
        dtype = np.float64 if self.program.strategy.epsilon < 1e-10 else np.float32
        part = slice(segment.start, segment.stop)
        x, line = self.x[part].astype(dtype), self.lines[segment.line, part]
        found = np.ones(t.shape, bool)
        for at in zip(*np.nonzero(abs(t) < _smallest_step(x, line)), strict=True):
            step = t[at] * line
            with np.errstate(invalid="ignore", over="ignore"):
                moved = (x + step.astype(dtype)).astype(dtype) - x
                found[at] = not (abs(moved - step) > 0.25 * abs(step)).any()
        return found


def _smallest_step(x: np.ndarray, line: np.ndarray) -> float:
    """Return a step from which on every x + t v is surely represented to a quarter of the step."""
    limits = np.finfo(x.dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.where(line != 0, abs(x) / abs(line), 0.0).max(initial=0.0)
    safe = np.isfinite(quotient) and abs(x).max(initial=0.0) + abs(line).max(initial=0.0) < limits.max / 2
    return 8 * float(limits.eps) * float(quotient) if safe else np.inf


def derivatives_at_points(
    points: Sequence[FiniteDifferences], segment: Segment, steps: np.ndarray
) -> NumericalDerivative:
    """Return the derivative along one segment at several points, as arrays (points, outputs)."""
    per_block = max(1, _BLOCK // (len(steps) * max(len(points[0].centre), 1)))
    blocks = []
    for first in range(0, len(points), per_block):
        some = points[first : first + per_block]
        sides = zip(*(at.differences([segment], steps) for at in some), strict=True)
        plus, minus = (np.concatenate(side, axis=1) for side in sides)
        blocks.append(_extrapolated(steps, plus, minus, np.stack([at.noise for at in some])))
    return NumericalDerivative.joined(blocks)


def _extrapolated(steps: np.ndarray, plus: np.ndarray, minus: np.ndarray, noise: np.ndarray) -> NumericalDerivative:
    """Return the derivatives, arrays (rows, outputs), from differences (steps, rows, outputs)."""
    # Most outputs do not depend on a single element: their derivative is zero, to the noise at the largest step.
    moved = _moved(plus) | _moved(minus)
    still = np.zeros(moved.shape)
    fields = [still, noise / steps[0], still.copy(), still.copy()]
    found = extrapolate(steps, np.zeros(moved.sum()), plus[:, moved], minus[:, moved], noise[moved])
    for field, values in zip(fields, found.fields, strict=True):
        field[moved] = values
    return NumericalDerivative(*fields)


def _moved(differences: np.ndarray) -> np.ndarray:
    """Return which outputs move, as an array (rows, outputs); a step whose outputs are all NaN is left out."""
    silent = np.isnan(differences).all(axis=-1, keepdims=True)
    return ((differences != 0) & ~silent).any(axis=0) | silent.all(axis=0)
