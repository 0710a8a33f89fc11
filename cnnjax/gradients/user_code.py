"""Calling the user's code, and understanding what it raises."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import numpy as np

__all__ = ["NO_DERIVATIVE", "EvaluationError", "call_with_retry", "first_line", "has_no_derivative", "rows_or_nan"]

_T = TypeVar("_T")


class EvaluationError(Exception):
    """The user's code raised an exception, its cause, while a program was run."""


NO_DERIVATIVE = (
    "can't apply forward-mode",
    "Reverse-mode differentiation does not work for lax.while_loop",
    "Linearization failed to produce known values",
    "Differentiation rule for",
    "Transpose rule (for reverse-mode differentiation)",
    "gradients are only implemented if",
    "do not support JVP",
    "cannot be differentiated",
)
"""What JAX says when a function has no derivative in a mode.

The types of these exceptions (TypeError, ValueError, NotImplementedError) are those of a broken rule too, and both come
out of JAX's own functions, so nothing but the message tells them apart. A test provokes each of these messages.
"""


def has_no_derivative(error: BaseException) -> bool:
    """Whether JAX itself says that a function has no derivative in a mode, as opposed to a rule that is broken."""
    return any(text in str(_cause(error)) for text in NO_DERIVATIVE)


def first_line(error: BaseException) -> str:
    """Return the type of an exception and the first line of its message."""
    error = _cause(error)
    lines = str(error).strip().splitlines()
    if lines and lines[0].endswith("Traceback (most recent call last):"):  # from a callback, as XLA passes it on
        return next((line for line in lines[1:] if line[:1].strip()), lines[0])[:200]
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def _cause(error: BaseException) -> BaseException:
    return error.__cause__ if isinstance(error, EvaluationError) and error.__cause__ else error


def rows_or_nan(run: Callable[[int, int], np.ndarray], first: int, last: int, width: int) -> np.ndarray:
    """Return ``run(first, last)``, a row of ``width`` numbers for each evaluation, with NaN for those that raise.

    An exception ends a call as a whole, so the evaluations are halved until those that raise are alone: the function
    is not defined there.
    """
    try:
        return run(first, last)
    except Exception:  # the user's code: whatever it raises
        if last - first == 1:
            return np.full((1, width), np.nan)
    middle = (first + last) // 2
    return np.concatenate([rows_or_nan(run, first, middle, width), rows_or_nan(run, middle, last, width)])


def call_with_retry(call: Callable[[], _T]) -> _T:
    """Call what runs the user's code in its own dtype, a second time after an exception.

    JAX remembers the dtype of NumPy integers in a closure for as long as a trace in float64 lives (seen in 0.10.2), and
    such code cannot run meanwhile. Traces of an earlier verification are garbage, but may not have been collected.
    """
    try:
        return call()
    except Exception as error:
        if has_no_derivative(error):
            raise
        gc.collect()
    return call()
