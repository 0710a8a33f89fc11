"""Numerical directional derivatives, each with an estimate of its own error.

Along a direction v the function is evaluated at x + t v and x - t v for a ladder of steps t. The same evaluations give
three families of difference quotients,

    central  (f(x + t v) - f(x - t v)) / 2t      error c1 t^2 + c2 t^4 + ...
    forward  (f(x + t v) - f(x)) / t             error c1 t + c2 t^2 + ...
    backward (f(x) - f(x - t v)) / t             the same

and Richardson extrapolation removes the first terms of each series. The truncation error of an entry of the table is
estimated by how far it moved from its neighbours, the round-off by the noise of f divided by t; the entry with the
smallest sum is the derivative and that sum is its error bar (Ridders, Advances in Engineering Software 4, 1982;
FiniteDifferences.jl balances the two in the same spirit). No tolerance is chosen anywhere.

Where the forward and the backward derivative differ by more than their bars the function has a kink, and any number
between the two is a derivative by convention. Where one side is not finite the other one decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "FINE_LADDER",
    "LADDER",
    "RATIO",
    "SHORT_LADDER",
    "SIGNIFICANT",
    "NumericalDerivative",
    "extrapolate",
    "round_off",
]

RATIO = 4.0
LADDER = 2.0**-3 * RATIO ** -np.arange(13)
"""Steps in units of the direction, from 1/8 to 7e-9: powers of two, so that x + t v rounds little."""

SHORT_LADDER = LADDER[4:10]
"""From 5e-4 to 1e-7: what a smooth function needs, and one that is made of many pieces."""

FINE_LADDER = 2.0**-2 * RATIO ** -np.arange(27)
"""From 1/4 down to the resolution of the numbers, for a function whose own scale is far below its argument's."""

SIGNIFICANT = 8.0
"""How many error bars apart two numbers differ: the bars are estimates, good to a small factor."""

# The powers of t in the error series, in the order in which extrapolation removes them.
_CENTRAL = (2, 4, 6)
_ONE_SIDED = (1, 2, 3, 4)


@dataclass(frozen=True)
class NumericalDerivative:
    """A directional derivative of every output.

    ``low`` and ``high`` are the one-sided derivatives at a kink and both equal to ``value`` elsewhere; the
    true derivative lies within ``bar`` of that interval. Where nothing finite was found ``bar`` is infinite.
    """

    value: np.ndarray
    bar: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def joined(
        cls, parts: Iterable[NumericalDerivative], join: Callable[..., np.ndarray] = np.concatenate
    ) -> NumericalDerivative:
        """Return several as one, each array joined with those of the others."""
        return cls(*(join(column) for column in zip(*(part.fields for part in parts), strict=True)))

    @property
    def kink(self) -> np.ndarray:
        """Where the two one-sided derivatives differ."""
        return self.low < self.high

    @property
    def fields(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """All four arrays, in the order of the constructor."""
        return self.value, self.bar, self.low, self.high

    def distance(self, computed: np.ndarray) -> np.ndarray:
        """Return how far a computed derivative lies outside the interval."""
        return np.maximum(np.maximum(self.low - computed, computed - self.high), 0.0)

    def __getitem__(self, key: Any) -> NumericalDerivative:
        """Index all four arrays."""
        return NumericalDerivative(self.value[key], self.bar[key], self.low[key], self.high[key])

    def dot(self, weights: np.ndarray) -> NumericalDerivative:
        """Return the derivative of the weighted sum of the outputs (last axis), the bars added up."""
        with np.errstate(invalid="ignore"):
            value = _sum(self.value * weights)
            bar = _sum(self.bar * abs(weights)) + np.finfo(float).eps * _sum(abs(self.value * weights))
            ends = np.stack([self.low * weights, self.high * weights])
            low, high = _sum(ends.min(axis=0)), _sum(ends.max(axis=0))
        return NumericalDerivative(value, bar, low, high)


def _sum(terms: np.ndarray) -> np.ndarray:
    return terms.sum(axis=-1)


def round_off(*values: np.ndarray, unit: float = float(np.finfo(float).eps)) -> np.ndarray:
    """Return the least round-off of a value: half a unit in its last place."""
    with np.errstate(invalid="ignore"):
        return 0.5 * unit * np.max([abs(v) for v in values], axis=0)


def extrapolate(
    steps: np.ndarray,
    centre: np.ndarray,
    plus: np.ndarray,
    minus: np.ndarray,
    noise: np.ndarray | float = 0.0,
) -> NumericalDerivative:
    """Return the derivative at t = 0 from values at t = 0, +steps and -steps.

    Args:
        steps: (K,) decreasing by a factor of four.
        centre: (...) the values at the point itself.
        plus: (K, ...) the values at +steps.
        minus: (K, ...) the values at -steps.
        noise: (...) the absolute round-off error of one value, where it is known to exceed that of its last
            place.

    >>> steps = LADDER
    >>> d = extrapolate(steps, np.exp(0.0), np.exp(steps), np.exp(-steps))
    >>> bool(abs(d.value - 1.0) <= d.bar < 1e-10), bool(d.kink)
    (True, False)
    >>> d = extrapolate(steps, 0.0 * steps[0], steps, steps)  # |t|
    >>> bool(d.kink), float(d.low), float(d.high)
    (True, -1.0, 1.0)
    """
    t = steps.reshape(-1, *[1] * np.ndim(centre))
    with np.errstate(all="ignore"):
        noise_plus = np.maximum(round_off(plus, np.broadcast_to(centre, plus.shape)), noise)
        noise_minus = np.maximum(round_off(minus, np.broadcast_to(centre, minus.shape)), noise)
        central = _extrapolate_table((plus - minus) / (2 * t), (noise_plus + noise_minus) / (2 * t), _CENTRAL)
        right = _extrapolate_table((plus - centre) / t, 2 * noise_plus / t, _ONE_SIDED)
        left = _extrapolate_table((centre - minus) / t, 2 * noise_minus / t, _ONE_SIDED)
        return _combine(central, right, left)


def _extrapolate_table(
    quotients: np.ndarray, rough: np.ndarray, powers: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the entry of the Richardson table with the smallest error bar, and that bar.

    The bar is infinite where that entry has not converged: where it still moved by a good part of itself, and by more
    than round-off explains, as for a function whose scale is far below the smallest step. An entry counts only while
    it agrees with every entry of smaller steps: the quotients of a function that oscillates within the step agree with
    each other and are wrong together.
    """
    known = np.where(np.isfinite(rough), rough, 0.0).max(axis=0)
    rough = np.maximum(rough, _round_off_below(quotients))
    best = np.full(quotients.shape, np.nan)
    bars = np.full(quotients.shape, np.inf)
    table = quotients
    for power in (None, *powers):
        if power is not None:
            gain = 1 / (RATIO**power - 1)
            table, rough = table[1:] + gain * (table[1:] - table[:-1]), (1 + 2 * gain) * rough[1:]
        if len(table) < 3:
            break
        moved = abs(np.diff(table, axis=0))
        # If each move is r times the one before, the moves still to come add up to r / (1 - r) of the last
        # one. The move before, divided by what a step of the ladder gains at least, guards against accidental
        # equality.
        r = np.minimum(moved[1:] / moved[:-1], 0.98)
        bar = np.maximum(moved[1:] * np.fmax(1.0, r / (1 - r)), moved[:-1] / RATIO**2) + rough[2:]
        rows = slice(len(quotients) - len(bar), None)
        better = np.isfinite(bar) & (bar < bars[rows])
        best[rows], bars[rows] = np.where(better, table[2:], best[rows]), np.where(better, bar, bars[rows])
    value, bar = _smallest_consistent(best, bars)
    unconverged = (bar > 0.1 * abs(value)) & (_last_move(quotients) > SIGNIFICANT * known)
    return value, np.where(unconverged, np.inf, bar)


def _last_move(quotients: np.ndarray) -> np.ndarray:
    """Return how far the quotient of the smallest step that has a value is from the one before."""
    moves = abs(np.diff(quotients, axis=0))
    last = np.zeros(moves.shape[1:])
    for move in moves:
        last = np.where(np.isfinite(move), move, last)
    return last


def _smallest_consistent(values: np.ndarray, bars: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Walk from the smallest step up while the entries agree, and keep the smallest bar."""
    low = np.full(values.shape[1:], -np.inf)
    high = np.full(values.shape[1:], np.inf)
    best, smallest = np.full(values.shape[1:], np.nan), np.full(values.shape[1:], np.inf)
    consistent = np.full(values.shape[1:], True)
    for value, bar in zip(values[::-1], bars[::-1], strict=True):
        known = np.isfinite(bar)
        low = np.where(known, np.maximum(low, value - SIGNIFICANT * bar), low)
        high = np.where(known, np.minimum(high, value + SIGNIFICANT * bar), high)
        consistent &= low <= high
        better = known & consistent & (bar < smallest)
        best, smallest = np.where(better, value, best), np.where(better, bar, smallest)
    return best, smallest


def _round_off_below(quotients: np.ndarray) -> np.ndarray:
    """Estimate the round-off of each quotient from the quotients with smaller steps.

    There the quotients move by noise / t, so a move times its t is a noise that is present at larger steps too.
    """
    scaled = abs(np.diff(quotients, axis=0)) * RATIO ** -np.arange(1.0, len(quotients)).reshape(
        -1, *[1] * (quotients.ndim - 1)
    )
    scaled = np.where(np.isfinite(scaled), scaled, 0.0)
    worst_below = np.maximum.accumulate(scaled[::-1], axis=0)[::-1]
    noise = np.concatenate([worst_below, worst_below[-1:]])
    return 0.5 * noise * RATIO ** np.arange(0.0, len(quotients)).reshape(-1, *[1] * (quotients.ndim - 1))


def _combine(
    central: tuple[np.ndarray, np.ndarray],
    right: tuple[np.ndarray, np.ndarray],
    left: tuple[np.ndarray, np.ndarray],
) -> NumericalDerivative:
    """Choose the central derivative, the interval at a kink, or one side at the edge of a domain."""
    kink = abs(right[0] - left[0]) > SIGNIFICANT * (right[1] + left[1])
    value, bar = central
    for side_value, side_bar in (right, left):
        take = np.isinf(bar) & np.isfinite(side_bar)
        value, bar = np.where(take, side_value, value), np.where(take, side_bar, bar)
    bar = np.where(kink, right[1] + left[1], bar)
    value = np.where(np.isfinite(bar), value, np.nan)
    low = np.where(kink, np.fmin(right[0], left[0]), value)
    high = np.where(kink, np.fmax(right[0], left[0]), value)
    return NumericalDerivative(value, bar, low, high)
