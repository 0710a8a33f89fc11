"""Compare every single element of the gradient with a finite difference of its own.

Each element is moved once up and once down. How far such a plain central difference can be off is measured on a sample
of each leaf, with a second step; an element outside that gets the full ladder of steps before it is called wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cnnjax.gradients.comparison import Comparator
from cnnjax.gradients.deadline import Deadline
from cnnjax.gradients.element_sweep import ElementSweep
from cnnjax.gradients.finite_differences import Segment
from cnnjax.gradients.localization import check_segments
from cnnjax.gradients.report import Check
from cnnjax.gradients.richardson import RATIO, SIGNIFICANT

__all__ = ["check_every_element"]

_STEP = 2.0**-9
_SAMPLE = 64  # elements of a leaf on which the truncation error is measured
_TOGETHER = 2**14  # elements between two looks at the time
_DOUBTFUL = 64  # elements that are compared again, the worst first


def check_every_element(comparators: Sequence[Comparator], order: int, deadline: Deadline) -> Iterator[Check]:
    """Yield a check of all elements for each comparator, the wrong ones named (the worst 64, if there are more).

    Args:
        comparators: of several modes, with the same differences and weights.
        order: of the derivative.
        deadline: after which no further elements are moved.
    """
    inputs = comparators[0].inputs
    slopes, bar = _slopes_until(comparators[0], deadline)
    done = np.arange(len(slopes))
    for comparator in comparators:
        with np.errstate(invalid="ignore"):
            ratio = abs(comparator.computed_gradient(done) - slopes) / (SIGNIFICANT * bar)
        doubtful = np.flatnonzero(~(ratio <= 1))
        doubtful = doubtful[np.argsort(-np.nan_to_num(ratio[doubtful], nan=np.inf), kind="stable")][:_DOUBTFUL]
        worst, mismatches = float(ratio.max(initial=0.0)), ()
        if len(doubtful):
            again = check_segments(comparator, [Segment.element(0, i) for i in doubtful], "given", order)
            worst, mismatches = again.worst, again.mismatches
        left_out = tuple(
            f"{leaf.element(max(leaf.start, len(done)))} ... {leaf.element(leaf.stop - 1)}"
            for leaf in inputs
            if leaf.size and leaf.stop > len(done)
        )
        name = f"every element ({comparator.mode})"
        yield Check(name, "given", order, len(done), worst, mismatches, left_out=left_out)


def _slopes_until(comparator: Comparator, deadline: Deadline) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivative of the weighted sum of the outputs by each of the first elements, and its error bar."""
    differences, weights = comparator.differences, comparator.weights
    differences.measure_noise()
    scalar = comparator.function.weighted_sum(weights, differences.x, differences.centre)
    sweep = ElementSweep(scalar, [differences.x], comparator.inputs)
    line = differences.lines[1]
    noise = float(np.nan_to_num(differences.noise * abs(weights)).sum())
    slopes, bars = [], []
    for leaf in comparator.inputs:
        inside = np.arange(leaf.start, leaf.stop, dtype=np.int32)
        sample = inside[:: max(1, len(inside) // _SAMPLE)]
        moved = abs(_slopes(sweep, line, sample, _STEP / RATIO) - _slopes(sweep, line, sample, _STEP))
        truncation = np.max(moved[np.isfinite(moved)], initial=0.0)
        for first in range(0, len(inside), _TOGETHER):
            if deadline.is_up:
                return np.concatenate([np.zeros(0), *slopes]), np.concatenate([np.zeros(0), *bars])
            some = inside[first : first + _TOGETHER]
            slopes.append(_slopes(sweep, line, some, _STEP))
            bars.append(truncation + noise / (_STEP * abs(line[some])) + np.finfo(float).eps * abs(slopes[-1]))
            differences.evaluations += 2 * len(some)
    return np.concatenate(slopes), np.concatenate(bars)


def _slopes(sweep: ElementSweep, line: np.ndarray, places: np.ndarray, step: float) -> np.ndarray:
    """Return the central difference of the weighted sum of the outputs for each element in ``places``."""
    steps = step * line[places]
    plus, minus = np.split(sweep(np.tile(places, 2), np.concatenate([steps, -steps])), 2)
    return (plus - minus) / (2 * steps)
