"""The Taylor test: at what rate the remainder of a Taylor expansion shrinks with the step."""

from __future__ import annotations

import numpy as np

from cnnjax.gradients.comparison import Comparator
from cnnjax.gradients.finite_differences import Segment
from cnnjax.gradients.report import TaylorTest
from cnnjax.gradients.richardson import LADDER, RATIO, SHORT_LADDER

__all__ = ["taylor_test"]


def taylor_test(comparator: Comparator, second: float | None = None) -> TaylorTest:
    """Measure the rates along one direction through all arguments; ``second`` is the computed second derivative."""
    differences, weights = comparator.differences, comparator.weights
    whole = Segment(0, 0, len(differences.x))
    steps = SHORT_LADDER if comparator.thrifty else LADDER
    plus, minus = (d[:, 0] @ weights for d in differences.differences([whole], steps))
    computed, _ = comparator.computed([whole])
    slope = float(computed[0, 0] if comparator.mode == "rev" else computed[0] @ weights)
    noise = float(np.nan_to_num(differences.noise * abs(weights)).sum())
    errors = abs((plus - minus) / (2 * steps) - slope)
    rate = _rate(plus - steps * slope, noise)
    second_rate = None if second is None else _rate(plus - steps * slope - steps**2 / 2 * second, noise)
    return TaylorTest(tuple(steps.tolist()), tuple(errors.tolist()), rate, second_rate)


def _rate(remainders: np.ndarray, noise: float) -> float | None:
    """Return the power of t that the remainders follow while they stand out from round-off."""
    sizes = abs(remainders)
    clear = np.isfinite(sizes) & (sizes > 100 * noise)
    pairs = clear[:-1] & clear[1:]
    if not pairs.any():
        return None
    powers = np.log(sizes[:-1][pairs] / sizes[1:][pairs]) / np.log(RATIO)
    return float(powers[-1]) if len(powers) < 3 else float(np.median(powers[-3:]))
