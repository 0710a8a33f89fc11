"""Calling the user's code, and understanding what it raises."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

__all__ = ["NO_DERIVATIVE", "call_with_retry", "first_line", "has_no_derivative"]

_T = TypeVar("_T")

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
    return any(text in str(error) for text in NO_DERIVATIVE)


def first_line(error: BaseException) -> str:
    """Return the type of an exception and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


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
