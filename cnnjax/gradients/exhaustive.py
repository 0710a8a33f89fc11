"""Compare every single element of the gradient with a finite difference of its own.

Each element is moved once up and once down. How far such a plain difference can be off is measured on a
sample of each leaf, with a second step; an element outside that is given the full ladder before anything is
said about it.
"""

from __future__ import annotations

import numpy as np

from cnnjax.gradients.elements import MovedElements
from cnnjax.gradients.judge import Judge
from cnnjax.gradients.numerical import RATIO, SIGNIFICANT
from cnnjax.gradients.referee import Stretch
from cnnjax.gradients.report import Check

__all__ = ["check_every_element"]

_STEP = 2.0**-9
_SAMPLE = 64  # elements of a leaf on which the truncation error is measured
_MOST = 64  # elements that are looked at again


def check_every_element(judge: Judge, order: int) -> Check:
    """Return the check of all elements, the wrong ones named (the worst 64, if there are more)."""
    referee, weights = judge.referee, judge.weights
    referee.measure_noise()
    value = MovedElements(judge.subject.weighted(weights, referee.x, referee.centre), referee.x, judge.inputs)
    n = len(referee.x)
    every = np.arange(n, dtype=np.int32)
    line = referee.lines[1]
    slopes = _slopes(value, line, every, _STEP)
    noise = float(np.nan_to_num(referee.noise * abs(weights)).sum()) / (_STEP * abs(line))
    bar = noise + np.finfo(float).eps * abs(slopes)
    for leaf in judge.inputs:
        inside = every[leaf.start : leaf.stop]
        sample = inside[:: max(1, len(inside) // _SAMPLE)]
        if len(sample):
            moved = abs(_slopes(value, line, sample, _STEP / RATIO) - slopes[sample])
            bar[inside] += np.max(moved[np.isfinite(moved)], initial=0.0)
    claimed = judge.every_claim()
    referee.evaluations += 2 * n
    with np.errstate(invalid="ignore"):
        ratio = abs(claimed - slopes) / (SIGNIFICANT * bar)
    doubtful = np.flatnonzero(~(ratio <= 1))
    doubtful = doubtful[np.argsort(-np.nan_to_num(ratio[doubtful], nan=np.inf), kind="stable")][:_MOST]
    again = judge.check([Stretch(0, int(i), int(i) + 1) for i in doubtful], "given", order) if len(doubtful) else None
    wrong = again.wrong if again else ()
    worst = again.worst if again else float(ratio.max(initial=0.0))
    return Check(f"every element ({judge.mode})", "given", order, n, worst, wrong)


def _slopes(value: MovedElements, line: np.ndarray, places: np.ndarray, step: float) -> np.ndarray:
    """Return the central difference of the weighted sum of the outputs for each element in ``places``."""
    steps = step * line[places]
    plus, minus = np.split(value(np.tile(places, 2), np.concatenate([steps, -steps])), 2)
    return (plus - minus) / (2 * steps)
