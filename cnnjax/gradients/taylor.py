"""How the error of a difference and the remainder of a Taylor expansion shrink with the step."""

from __future__ import annotations

import numpy as np

from cnnjax.gradients.judge import Judge
from cnnjax.gradients.numerical import LADDER, RATIO
from cnnjax.gradients.referee import Stretch
from cnnjax.gradients.report import Taylor

__all__ = ["expand"]


def expand(judge: Judge, second: float | None = None) -> Taylor:
    """Measure the rates at the judge's point; ``second`` is the claimed second derivative."""
    referee = judge.referee
    whole = Stretch(0, 0, len(referee.x))
    plus, minus = (d[:, 0] @ judge.weights for d in referee.finite_differences(whole))
    claims, _ = judge.claims([whole], careful=False)
    slope = float(claims[0, 0] if judge.mode == "rev" else claims[0] @ judge.weights)
    noise = float(np.nan_to_num(referee.noise * abs(judge.weights)).sum())
    errors = abs((plus - minus) / (2 * LADDER) - slope)
    rate = _rate(plus - LADDER * slope, noise)
    second_rate = None if second is None else _rate(plus - LADDER * slope - LADDER**2 / 2 * second, noise)
    return Taylor(tuple(LADDER.tolist()), tuple(errors.tolist()), rate, second_rate)


def _rate(remainders: np.ndarray, noise: float) -> float | None:
    """Return the power of t that the remainders follow while they stand out from round-off."""
    sizes = abs(remainders)
    clear = np.isfinite(sizes) & (sizes > 100 * noise)
    pairs = clear[:-1] & clear[1:]
    if not pairs.any():
        return None
    powers = np.log(sizes[:-1][pairs] / sizes[1:][pairs]) / np.log(RATIO)
    return float(powers[-1]) if len(powers) < 3 else float(np.median(powers[-3:]))
