"""A function of a library, the point where its derivative is checked, and its formula where it has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """One function as its users call it."""

    library: str
    name: str
    f: Callable[..., Any]
    args: tuple[Any, ...]
    formula: Callable[..., Any] | None = None
    """One element of f as mpmath computes it from the elements of the arguments, which are broadcast."""
    in_float64: Callable[..., Any] | None = None
    """The same function, where f itself does not take float64 or stops too early for differences."""
    approximate: str = ""
    """Why the value itself is approximate: an iteration that stops at a tolerance, an adaptive step."""
    symmetric: bool = False
    """Whether it takes symmetric matrices alone: then its derivative is compared along symmetric changes of them."""


def f32(*values: Any) -> np.ndarray:
    return np.array(values, np.float32)


def f64(*values: Any) -> np.ndarray:
    return np.array(values, np.float64)


def normal(seed: int, *shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def positive_definite(seed: int, n: int, dtype: Any = np.float32) -> np.ndarray:
    a = np.random.default_rng(seed).normal(size=(n, n))
    return (a @ a.T / n + np.eye(n)).astype(dtype)
