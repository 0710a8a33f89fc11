"""One mode of differentiation with what the consistency checks need of it, and how they compare two computations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cnnjax.gradients.checked_function import CheckedFunction
from cnnjax.gradients.comparison import UNCONVERGED
from cnnjax.gradients.deadline import TIME_IS_UP, Deadline, TimeIsUpError
from cnnjax.gradients.differentiation import Mode
from cnnjax.gradients.eager import EagerRun, differentiate_eagerly
from cnnjax.gradients.flat_function import FlatFunction
from cnnjax.gradients.jaxprs import has_loop_until_converged
from cnnjax.gradients.leaves import Leaf, find_leaf, largest
from cnnjax.gradients.programs import Program
from cnnjax.gradients.report import Check, Mismatch
from cnnjax.gradients.richardson import SIGNIFICANT
from cnnjax.gradients.user_code import EvaluationError, first_line

__all__ = ["Case", "CheckedMode", "Equality", "check_equalities", "listed_if_undecided"]

Case = tuple[np.ndarray, np.ndarray, Callable[[], np.ndarray]]
"""Two computations of one derivative, found and expected, and what measures the round-off of its program."""


@dataclass(frozen=True)
class Equality:
    """Two computations of the same numbers."""

    found: np.ndarray
    expected: np.ndarray
    bar: np.ndarray
    """The round-off that they have at least."""
    noise: Callable[[], np.ndarray]
    """Measures the rest of it."""
    where: Callable[[int], str]
    """Names a number by its position."""


def check_equalities(name: str, equalities: Iterable[Equality]) -> Check:
    """Compare until two differ by more than their round-off.

    It is measured where the numbers differ by more than its lower bound.
    """
    worst, compared = 0.0, 0
    for equal in equalities:
        found, expected, bar = equal.found, equal.expected, equal.bar
        ratio, compared = _ratio(found, expected, bar), compared + len(found)
        if (ratio > 1).any():
            bar = bar + equal.noise()
            ratio = _ratio(found, expected, bar)
            at = int(ratio.argmax())
            if ratio[at] > 1:
                mismatch = Mismatch(equal.where(at), float(found[at]), float(expected[at]), float(bar[at]))
                return Check(name, "given", 1, compared, float(ratio[at]), (mismatch,))
        worst = max(worst, float(ratio.max(initial=0.0)))
    return Check(name, "given", 1, compared, worst)


def listed_if_undecided(name: str, checks: Iterable[Check | tuple[str, str]]) -> Iterator[Check | tuple[str, str]]:
    """Yield checks until the time is up, or the user's code raises for a probe or a point that was chosen here."""
    try:
        yield from checks
    except (EvaluationError, TimeIsUpError) as error:
        yield name, TIME_IS_UP if isinstance(error, TimeIsUpError) else first_line(error)


def _ratio(found: np.ndarray, expected: np.ndarray, bar: np.ndarray) -> np.ndarray:
    """Return |found - expected| over what the bar allows; NaN equals NaN and nothing else."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(found == expected, 0.0, abs(found - expected) / (SIGNIFICANT * bar))
    both = np.isnan(found) & np.isnan(expected)
    return np.where(both, 0.0, np.nan_to_num(ratio, nan=np.inf, posinf=np.inf))


@dataclass(frozen=True)
class CheckedMode:
    """One derivative program with a probe for it: a cotangent for "rev", else a tangent."""

    mode: Mode
    flat: FlatFunction
    function: CheckedFunction
    points: tuple[np.ndarray, ...]
    """The point to check at, and others near it."""
    probe: np.ndarray
    eager: EagerRun | Exception
    deadline: Deadline
    """After which no round-off is measured."""

    @functools.cached_property
    def program(self) -> Program:
        """The program (x, probe) -> derivative."""
        return self.function.derivative_program(self.mode)

    @property
    def probe_leaves(self) -> Sequence[Leaf]:
        """The leaves that the probe belongs to."""
        return self.flat.outputs if self.mode == "rev" else self.flat.inputs

    @property
    def result_leaves(self) -> Sequence[Leaf]:
        """The leaves that the derivative belongs to."""
        return self.flat.inputs if self.mode == "rev" else self.flat.outputs

    def name_result(self, position: int) -> str:
        """Name an element of the derivative."""
        return find_leaf(self.result_leaves, position).element(position)

    def eagerly_in_float64(self, x: np.ndarray) -> np.ndarray:
        """Return the derivative at ``x``, run op by op in float64."""
        with self.function.strategy.context():
            return differentiate_eagerly(self.flat, self.mode, x, self.probe, widen=True)[0]

    @functools.cached_property
    def _is_iterative(self) -> bool:
        """Whether the function or its rule has a loop that stops when it is close enough.

        Batched, such a loop runs until the last sample is.
        """
        traced, loop = self.function.strategy.traced, self.function.has_float_loop_condition
        return traced and (loop or has_loop_until_converged(self.program.jaxpr))

    def noise_at(self, x: np.ndarray, probe: np.ndarray) -> Callable[[], np.ndarray]:
        """Return what measures the round-off of the program at a point, once."""
        return functools.cache(lambda: self.program.noise(x, probe, deadline=self.deadline))

    def check(self, name: str, cases: Iterable[Case], unit: float | None = None) -> Check:
        """Compare what should be equal up to the derivative's round-off, in units of ``unit``."""
        epsilon = self.function.strategy.epsilon
        unit = unit or epsilon
        if self._is_iterative:
            unit = max(unit, UNCONVERGED / 32)
        underflow = np.finfo(np.float64 if unit < 1e-10 else np.float32).tiny

        def equality(found: np.ndarray, expected: np.ndarray, noise: Callable[[], np.ndarray]) -> Equality:
            bar = 4 * unit * largest(expected, self.result_leaves) + underflow
            return Equality(found, expected, bar, lambda: noise() * (unit / epsilon), self.name_result)

        return check_equalities(f"{name} ({self.mode})", (equality(*case) for case in cases))
