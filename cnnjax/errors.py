"""The exceptions that cnnjax raises.

All derive from `CnnjaxError`, and each also from the built-in exception that fits: `except FileNotFoundError` catches a
missing data file.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ArgumentTypeError",
    "ArgumentValueError",
    "CheckpointError",
    "CnnjaxError",
    "ConfigurationError",
    "DataError",
    "DataNotFoundError",
    "DivergedError",
    "GradientError",
    "JaxVersionError",
    "MissingExtraError",
]


class CnnjaxError(Exception):
    """Base class of the exceptions that cnnjax raises."""


class ArgumentValueError(CnnjaxError, ValueError):
    """An argument has the right type but a value (often a shape) that does not fit."""


class ArgumentTypeError(CnnjaxError, TypeError):
    """An argument has the wrong type or dtype."""


class DataError(CnnjaxError, ValueError):
    """A data file is truncated, corrupt, or not in the format that its name implies."""


class DataNotFoundError(DataError, FileNotFoundError):
    """A data file does not exist."""


class MissingExtraError(CnnjaxError, ImportError):
    """A function needs a package that only an extra of cnnjax installs."""


class JaxVersionError(CnnjaxError, RuntimeError):
    """The installed release of JAX keeps something that cnnjax needs, and that is not public, in another place."""


class CheckpointError(CnnjaxError, OSError):
    """A checkpoint cannot be written or read."""


class ConfigurationError(CnnjaxError, ValueError):
    """The checkpoints in a folder belong to a run with another configuration."""


class DivergedError(CnnjaxError, ArithmeticError):
    """The loss, a gradient or a parameter became NaN or infinite during training."""


class GradientError(CnnjaxError, AssertionError):
    """A derivative disagrees with its numerical reference.

    Attributes:
        report: the `GradientReport` with every comparison that was made.
    """

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report
