"""Tell a wrong derivative from a convention at a kink, where more than one number is a derivative."""

from __future__ import annotations

import numpy as np

from cnnjax.gradients.comparison import Comparator
from cnnjax.gradients.finite_differences import FiniteDifferences, Segment, derivatives_at_points
from cnnjax.gradients.richardson import FINE_LADDER, SIGNIFICANT, NumericalDerivative

__all__ = ["is_convention", "is_limiting_derivative"]

_POINTS = 12  # around a kink


def is_convention(comparator: Comparator, segment: Segment) -> bool:
    """Whether a segment fails only because several kinks meet in it, each with a convention of its own."""
    comparison = comparator.compare([segment], careful=True)
    return bool(comparison.numerical.kink[comparison.ratio > 1].all()) or comparator.agrees_with_builtin(segment)


def is_limiting_derivative(comparator: Comparator, segment: Segment) -> bool:
    """Whether the computed derivative lies among those at points next to a kink, as Clarke's subgradients do.

    Among tied numbers the median follows one of them; moved alone, none of them moves it, but next to the tie its
    derivative is 1. How far the derivatives there are from the one here does not shrink with the distance at a kink;
    where it does, the function is smooth and the computed derivative is wrong.
    """
    comparison = comparator.compare([segment], careful=True)
    if comparator.surely_wrong([segment], comparison).all():
        return False
    wrong = comparison.ratio[0] > 1
    computed, spread = comparison.computed[0, wrong], None
    for distance in (2.0**-20, 2.0**-10):  # at the larger distance smooth functions spread a thousand times wider
        around = _nearby(comparator, segment, distance)[:, wrong]
        known = NumericalDerivative.joined([comparison.numerical[:, wrong], around])
        low, high = _hull(known, SIGNIFICANT)
        if spread is None and not ((low <= computed) & (computed <= high)).all():
            return False
        if spread is not None:
            return bool((spread > (high - low) / 2).all())
        low, high = _hull(known, -SIGNIFICANT)  # what round-off may have spread is no kink
        spread = high - low
    return False


def _hull(derivatives: NumericalDerivative, bars: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and the largest derivative among those that are known, so many bars further out."""
    with np.errstate(invalid="ignore"):
        known = np.isfinite(derivatives.bar)
        low = np.where(known, derivatives.low - bars * derivatives.bar, np.nan)
        high = np.where(known, derivatives.high + bars * derivatives.bar, np.nan)
    return np.fmin.reduce(low), np.fmax.reduce(high)


def _nearby(comparator: Comparator, segment: Segment, distance: float) -> NumericalDerivative:
    """Return the derivatives at random points at a distance, a row each, with steps that are shorter still."""
    rng = np.random.default_rng(0)
    x, lines = comparator.differences.x, comparator.differences.lines
    count = _POINTS // 4 if comparator.thrifty else _POINTS
    points = x + distance * lines[0] * rng.uniform(-1, 1, (count, len(x)))
    nearby = [FiniteDifferences(comparator.function.program, point, lines) for point in points]
    found = derivatives_at_points(nearby, segment, FINE_LADDER[distance / 8 > FINE_LADDER])
    comparator.differences.evaluations += sum(differences.evaluations for differences in nearby)
    return comparator.project(found)
