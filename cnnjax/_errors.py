"""The exception family and the one sentence that every message is built from.

A message names the call and the argument, what came, what was expected, and how to fix it. Errors are raised at
the public boundary, before any tracing.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ArgumentTypeError",
    "ArgumentValueError",
    "CnnjaxError",
    "DataError",
    "DataNotFoundError",
    "GradientError",
    "MissingExtraError",
    "complaint",
    "describe",
]


class CnnjaxError(Exception):
    """Base of every exception that cnnjax raises on purpose."""


class ArgumentValueError(CnnjaxError, ValueError):
    """An argument of the right type holds a value (often a shape) that cannot work."""


class ArgumentTypeError(CnnjaxError, TypeError):
    """An argument is of the wrong type or dtype."""


class DataError(CnnjaxError, ValueError):
    """A data file is short, corrupt, or not what its name says."""


class DataNotFoundError(DataError, FileNotFoundError):
    """A data file is not where it was looked for."""


class MissingExtraError(CnnjaxError, ImportError):
    """A function needs a package that only an extra of cnnjax installs."""


class GradientError(CnnjaxError, AssertionError):
    """A derivative disagrees with its numerical referee. ``report`` holds every check that was made."""

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


def complaint(call: str, argument: str, *, got: str, expected: str, fix: str) -> str:
    """Return the message ``"call: `argument` is got; expected ... Fix: ..."``.

    >>> print(complaint("conv2d", "stride", got="0", expected="an integer of at least 1", fix="use stride=1"))
    conv2d: `stride` is 0; expected an integer of at least 1. Fix: use stride=1.
    """
    return f"{call}: `{argument}` is {got}; expected {expected}. Fix: {fix}."


def describe(value: Any) -> str:
    """Say what a value is in a few words, without printing a whole array.

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
