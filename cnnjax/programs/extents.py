"""Which part of the input each element of an array reads: an interval along each axis of the input.

Element p along an axis of the array reads the pixels jump * p + low to jump * p + high of an axis of the input. Every
primitive that moves, slices, pads, joins or reduces axes moves these intervals, so receptive fields follow from any
program, whether it pools by windows, tiles or slices. Where a position is not known, the interval becomes wider.

Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning", for windows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

__all__ = ["Extents", "Interval", "Steps", "of_input"]


@dataclass(frozen=True)
class Steps:
    """An axis of an array whose elements are `jump` pixels of the input apart.

    Attributes:
        axis: the axis of the array.
        jump: the distance in pixels.
        count: how many different steps the axis has.
        aligned: whether element p is at jump * p, and not, for example, at jump * (p // 7).
    """

    axis: int
    jump: Fraction
    count: int
    aligned: bool = True

    @property
    def width(self) -> Fraction:
        """The distance between the first and the last."""
        return self.jump * (self.count - 1)


@dataclass(frozen=True)
class Interval:
    """What the elements of an array read along one axis of the input.

    Attributes:
        low, high: the first and last pixel that element 0 reads.
        steps: the axes of the array along which it moves.
        last_jump: the distance between neighbours before the last axis was reduced.
    """

    low: Fraction
    high: Fraction
    steps: tuple[Steps, ...]
    last_jump: Fraction = Fraction(1)

    @property
    def jump(self) -> Fraction:
        """The distance between the intervals of neighbouring elements."""
        return min((steps.jump for steps in self.steps), default=self.last_jump)

    @property
    def size(self) -> int:
        """The number of pixels."""
        return math.ceil(self.high - self.low) + 1

    def along(self, axis: int) -> Steps | None:
        """The steps along an axis of the array."""
        return next((steps for steps in self.steps if steps.axis == axis), None)

    def widened(self, axes: Iterable[int]) -> Interval:
        """Elements along these axes together."""
        gone = [steps for steps in self.steps if steps.axis in {*axes}]
        kept = tuple(steps for steps in self.steps if steps not in gone)
        width = sum((steps.width for steps in gone), Fraction())
        return Interval(self.low, self.high + width, kept, self.jump)

    def renumbered(self, places: Mapping[int, int]) -> Interval:
        """Axes moved to other places; steps along an axis that has none become part of the interval."""
        wide = self.widened({steps.axis for steps in self.steps} - {*places})
        return replace(wide, steps=tuple(replace(steps, axis=places[steps.axis]) for steps in wide.steps))


@dataclass(frozen=True)
class Extents:
    """The intervals along all axes of one input."""

    input: int
    intervals: tuple[Interval, ...]

    def _each(self, change: Callable[[Interval], Interval]) -> Extents:
        return replace(self, intervals=tuple(map(change, self.intervals)))

    @property
    def num_steps(self) -> int:
        """How many axes of the array move along the input."""
        return sum(len(interval.steps) for interval in self.intervals)

    def input_axis(self, axis: int) -> int | None:
        """The axis of the input along which an axis of the array moves."""
        found = (i for i, interval in enumerate(self.intervals) if interval.along(axis) is not None)
        return next(found, None)

    def with_interval(self, axis: int, interval: Interval) -> Extents:
        """Another interval along one axis of the input."""
        return replace(self, intervals=(*self.intervals[:axis], interval, *self.intervals[axis + 1 :]))

    def renumbered(self, places: Mapping[int, int]) -> Extents:
        """Axes moved to other places; what has none is read as a whole."""
        return self._each(lambda interval: interval.renumbered(places))

    def reduced(self, axes: Iterable[int], rank: int, keep: bool = False) -> Extents:
        """Some of the axes reduced, and kept in their places or removed."""
        axes = {*axes}
        left = [axis for axis in range(rank) if axis not in axes]
        return self.renumbered({axis: axis if keep else i for i, axis in enumerate(left)})

    def windowed(
        self, axis: int, *, extent: int, stride: int, before: int, count: int, spread: int = 1, place: int | None = None
    ) -> Extents:
        """Windows of `extent` pixels, `stride` apart, the first `before` pixels before the beginning of an axis.

        Before, the elements are spread out, `spread` apart, with nothing between them. The axis moves to `place`.
        """
        place = axis if place is None else place

        def change(interval: Interval) -> Interval:
            steps = interval.along(axis)
            if steps is None:
                return interval
            if not steps.aligned:
                return interval.widened([axis])
            jump = steps.jump * stride / spread
            low = interval.low - steps.jump * before / spread
            high = interval.high - steps.jump * before / spread + steps.jump * (math.ceil(extent / spread) - 1)
            moved = Steps(place, jump, count)
            others = tuple(moved if other is steps else other for other in interval.steps)
            return Interval(low, high, others, interval.last_jump)

        return self._each(change)

    def sliced(self, starts: Sequence[int], strides: Sequence[int], counts: Sequence[int]) -> Extents:
        """Every stride-th element from a start, along each axis; a negative start is padding."""
        extents = self
        for axis, (start, stride, count) in enumerate(zip(starts, strides, counts, strict=True)):
            extents = extents.windowed(axis, extent=1, stride=stride, before=-start, count=count)
        return extents

    def reshaped(self, old: Sequence[int], new: Sequence[int]) -> Extents:
        """The array in another shape."""
        extents = self
        for axes, into in _groups(old, new):
            extents = extents._each(lambda interval, axes=axes, into=into: _regrouped(interval, axes, into, old, new))
        return extents._each(lambda interval: replace(interval, steps=tuple(map(_unmarked, interval.steps))))

    def joined(self, other: Extents) -> Extents:
        """What elements of either array read together; of another input, if this one is of lower rank."""
        if self.input != other.input:
            return max(self, other, key=lambda extents: len(extents.intervals))
        return replace(self, intervals=tuple(map(_union, self.intervals, other.intervals)))

    def repeated(self, before: Extents, times: int) -> Extents:
        """This after one iteration of a loop, extrapolated to all of them: each widens the intervals as much."""
        if self.input != before.input:
            return self

        def extrapolate(first: Interval, last: Interval) -> Interval:
            grown = last.high - first.high, last.low - first.low
            return replace(last, high=last.high + (times - 1) * grown[0], low=last.low + (times - 1) * grown[1])

        return replace(self, intervals=tuple(map(extrapolate, before.intervals, self.intervals)))


def of_input(variable: int, shape: Sequence[int]) -> Extents:
    """An input itself: each element reads itself."""
    one, zero = Fraction(1), Fraction()
    return Extents(variable, tuple(Interval(zero, zero, (Steps(i, one, n),)) for i, n in enumerate(shape)))


def _union(a: Interval, b: Interval) -> Interval:
    most, least = (a, b) if len(a.steps) >= len(b.steps) else (b, a)
    others = tuple(steps for steps in least.steps if most.along(steps.axis) is None)
    last = max(a.last_jump, b.last_jump)
    return Interval(min(a.low, b.low), max(a.high, b.high), (*most.steps, *others), last)


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The smallest groups of neighbouring axes of two shapes that have as many elements as each other."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) and j < len(new):
        axes, into = [i], [j]
        while (have := math.prod(old[a] for a in axes)) != (want := math.prod(new[a] for a in into)):
            if have < want:
                axes.append(axes[-1] + 1)
            else:
                into.append(into[-1] + 1)
        groups.append((axes, into))
        i, j = axes[-1] + 1, into[-1] + 1
    return groups


_MOVED = 1_000_000
"""Added to the axes that a reshape has already moved, so that they are not taken for those of the old shape."""


def _unmarked(steps: Steps) -> Steps:
    return replace(steps, axis=steps.axis - _MOVED) if steps.axis >= _MOVED else steps


def _regrouped(
    interval: Interval, axes: Sequence[int], into: Sequence[int], old: Sequence[int], new: Sequence[int]
) -> Interval:
    """An interval after a group of axes of one shape has become a group of another."""
    inside = [steps for steps in interval.steps if steps.axis in axes]
    if not inside:
        return interval
    long = [axis for axis in into if new[axis] > 1] or [*into[:1]]
    alone = math.prod(old[axis] for axis in axes) == math.prod(old[steps.axis] for steps in inside)
    if alone and all(steps.aligned for steps in inside) and _compose(inside):
        made: list[Steps] = []
        jump = inside[-1].jump
        for axis in reversed(into):
            made.insert(0, Steps(axis + _MOVED, jump, new[axis]))
            jump *= new[axis]
    elif len(long) == 1 and len(inside) == 1:
        made = [Steps(long[0] + _MOVED, inside[0].jump, inside[0].count, aligned=False)]
    else:
        return interval.widened([steps.axis for steps in inside])
    kept = tuple(steps for steps in interval.steps if steps not in inside)
    return replace(interval, steps=(*kept, *made))


def _compose(steps: Sequence[Steps]) -> bool:
    """Whether the axes are one long axis cut into pieces."""
    return all(outer.jump == inner.jump * inner.count for outer, inner in itertools.pairwise(steps))
