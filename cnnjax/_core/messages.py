"""Error messages: one sentence that names the function, the argument, its value, what was expected and the fix.

Errors are raised at the public boundary, before any tracing.
"""

from __future__ import annotations

from typing import Any

from cnnjax.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["describe", "error_message", "type_error", "value_error"]


def error_message(caller: str, argument: str, *, got: str, expected: str, fix: str) -> str:
    """Return the message ``"caller: `argument` is got; expected ... Fix: ..."``.

    >>> print(error_message("conv2d", "stride", got="0", expected="an integer of at least 1", fix="use stride=1"))
    conv2d: `stride` is 0; expected an integer of at least 1. Fix: use stride=1.
    """
    return f"{caller}: `{argument}` is {got}; expected {expected}. Fix: {fix}."


def value_error(caller: str, argument: str, *, got: str, expected: str, fix: str) -> ArgumentValueError:
    """Return the error for an argument of the right type but with a value (often a shape) that does not fit."""
    return ArgumentValueError(error_message(caller, argument, got=got, expected=expected, fix=fix))


def type_error(caller: str, argument: str, *, got: str, expected: str, fix: str) -> ArgumentTypeError:
    """Return the error for an argument of the wrong type or dtype."""
    return ArgumentTypeError(error_message(caller, argument, got=got, expected=expected, fix=fix))


def describe(value: Any) -> str:
    """Describe a value in a few words, without printing a whole array.

    >>> describe(None), describe([1, 2]), describe("SAEM")
    ('None', 'a list of 2 items', "'SAEM'")
    """
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None:
        return f"an array of shape {tuple(shape)} and dtype {dtype}"
    text = repr(value)
    if isinstance(value, (list, dict, set)) or (isinstance(value, tuple) and len(text) > 60):
        return f"a {type(value).__name__} of {len(value)} items"
    return text if len(text) <= 60 else f"an object of type {type(value).__name__}"
