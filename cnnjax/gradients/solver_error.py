"""The error of an iteration that stops when it is close enough: what more steps change, and how far its results jump.

Such a solver computes a smooth function only up to its tolerance: from point to point it takes another number of steps,
and its result jumps. Away from a kink a polynomial fits a smooth function the better the shorter the line, and what it
leaves of one that jumps stays the same (as in J. J. Moré and S. M. Wild, Estimating computational noise, SIAM J. Sci.
Comput. 33, 2011, on scales where differences see each jump). So the line is shortened until the rest of the fit no
longer shrinks as it would for a smooth function; that rest is the error.

One that converges slowly is further from its limit than it jumps. Where as many steps again change the result a little,
and the second half of them next to nothing, the change is the error.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cnnjax.gradients.richardson import RATIO

__all__ = ["change_by_more_steps", "solver_error"]

_POINTS = 24
_DEGREE = 6
_LENGTHS = 0.25 * RATIO ** -np.arange(6.0)
_SHRINKS = RATIO**2  # a rest that shrinks less is no truncation, which shrinks by 4^7 ...
_SMALL = 2.0**-10  # ... where the fit is good
_SETTLED = 2.0**-5  # of the change by more steps, what the second half of them may add


def solver_error(values_at: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return the error of each output of a function along a line.

    Args:
        values_at: the outputs (K, m) at K places on the line, where 0 is the point.

    >>> bool(solver_error(lambda t: np.exp(t)[:, None])[0] < 1e-13)
    True
    >>> bool(1e-7 < solver_error(lambda t: (np.exp(t) + 1e-6 * (np.floor(99 * t) % 2))[:, None])[0] < 2e-6)
    True
    """
    nodes = np.cos(np.pi * (np.arange(_POINTS) + 0.5) / _POINTS)
    powers = np.polynomial.chebyshev.chebvander(nodes, _DEGREE)
    leave = np.eye(_POINTS) - powers @ np.linalg.pinv(powers)
    rests, known = [], []
    with np.errstate(invalid="ignore"):
        for length in _LENGTHS:
            values = values_at(length * nodes)
            rests.append(abs(leave @ values).max(axis=0))
            known.append(rests[-1] <= _SMALL * np.ptp(values, axis=0))
        error = rests[-1]
        for i in range(len(rests) - 1, 0, -1):
            error = np.where(known[i - 1] & (rests[i] * _SHRINKS > rests[i - 1]), rests[i - 1], error)
    return np.where(np.isfinite(error), error, 0.0)


def change_by_more_steps(result: np.ndarray, continued: Callable[[float], np.ndarray]) -> np.ndarray:
    """Return how far each output of an iteration is from its limit; 0 where more steps do not converge.

    Args:
        result: the outputs (m,).
        continued: the outputs (m,) after more steps, as many times as the iteration takes itself.

    >>> near = change_by_more_steps(np.ones(1), lambda further: np.array([1 - 1e-6 * (1 - 1e-6**further)]))
    >>> near.round(9).tolist()
    [1e-06]
    >>> change_by_more_steps(np.ones(1), lambda further: np.array([1 + further])).tolist()
    [0.0]
    """
    half, whole = continued(0.5), continued(1.0)
    with np.errstate(invalid="ignore"):
        change, rest = abs(whole - result), abs(whole - half)
        return np.where((change <= _SMALL * abs(whole)) & (rest <= _SETTLED * change), change, 0.0)
