"""Compare the derivatives that JAX computes with numerical ones, along segments of the input vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from cnnjax.gradients.checked_function import CheckedFunction
from cnnjax.gradients.differentiation import Mode
from cnnjax.gradients.element_sweep import ElementSweep
from cnnjax.gradients.finite_differences import FiniteDifferences, Segment
from cnnjax.gradients.leaves import Leaf, find_leaf
from cnnjax.gradients.richardson import FINE_LADDER, LADDER, SHORT_LADDER, SIGNIFICANT, NumericalDerivative
from cnnjax.gradients.round_off import AMPLIFICATION, TRIES

__all__ = ["UNCONVERGED", "Comparator", "Comparison"]

UNCONVERGED = 2.0**-14
"""The relative error of a loop that stops by comparing floats."""

_MANY_OUTPUTS = 512
_TELLING_BAR = 1e-6  # relative: as exact as a few steps have to be
_FAR = 2.0**-10  # relative: what no rule loses to round-off unless it is worth nothing
_TELLING = 2  # of six perturbed derivatives
_SINGLE = float(np.finfo(np.float32).eps)
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Comparison:
    """What the rule computed and what finite differences say, arrays of shape (segments, outputs)."""

    computed: np.ndarray
    numerical: NumericalDerivative
    noise: np.ndarray
    """The round-off of what was computed."""
    tolerance: np.ndarray
    """What the caller's atol and rtol allow besides."""
    floor: np.ndarray
    """The bar that round-off leaves at the largest step, which no finer step can better."""

    @property
    def ratio(self) -> np.ndarray:
        """How far the computed derivative is from the numerical interval, over what the error bars allow."""
        distance = self.numerical.distance(self.computed)
        with np.errstate(invalid="ignore", divide="ignore"):
            allowed = np.maximum(SIGNIFICANT * (self.numerical.bar + self.noise), self.tolerance)
            ratio = np.where(allowed > 0, distance / allowed, 0.0)
            ratio = np.where((allowed == 0) & (distance > 0), np.inf, ratio)
        return np.where(np.isfinite(self.numerical.bar), np.nan_to_num(ratio, nan=0.0, posinf=np.inf), 0.0)

    @property
    def uncertain(self) -> np.ndarray:
        """Where the bar is not small beside the derivative, for other reasons than round-off."""
        size = np.maximum(abs(self.computed), np.nan_to_num(abs(self.numerical.value)))
        unknown = ~(self.numerical.bar <= np.maximum(1e-3 * size, SIGNIFICANT * self.floor))
        return unknown & ((self.computed != 0) | ~np.isfinite(self.numerical.bar))

    @classmethod
    def joined(cls, parts: Sequence[Comparison]) -> Comparison:
        """Return several as one."""
        columns = [np.concatenate(column) for column in zip(*(part._columns for part in parts), strict=True)]
        return cls._of(columns)

    @property
    def unresolved(self) -> np.ndarray:
        """Where differences say nothing about the derivative."""
        return self.uncertain | ~np.isfinite(self.noise)

    def replaced(self, rows: Sequence[int] | np.ndarray, other: Comparison) -> Comparison:
        """Return a copy with some rows from another comparison."""
        columns = [column.copy() for column in self._columns]
        for column, new in zip(columns, other._columns, strict=True):
            column[rows] = new
        return self._of(columns)

    @classmethod
    def _of(cls, columns: Sequence[np.ndarray]) -> Comparison:
        return cls(columns[0], NumericalDerivative(*columns[1:5]), *columns[5:])

    @property
    def _columns(self) -> tuple[np.ndarray, ...]:
        return (self.computed, *self.numerical.fields, self.noise, self.tolerance, self.floor)


class Comparator:
    """Compares one derivative program (a mode, and for "rev" a cotangent) with finite differences at one point.

    Args:
        function: the function under test.
        differences: its finite differences at the point.
        mode: which derivative to compare.
        weights: (m,) of the outputs: the cotangent for "rev", and in the other modes what sums up the outputs where one
            number is needed.
        inputs, outputs: the leaves.
        tolerances: the caller's atol and rtol.
        thrifty: whether to take as few evaluations as will do, because they take long.
    """

    def __init__(
        self,
        function: CheckedFunction,
        differences: FiniteDifferences,
        mode: Mode,
        weights: np.ndarray,
        inputs: Sequence[Leaf],
        outputs: Sequence[Leaf],
        tolerances: tuple[float, float],
        thrifty: bool = False,
    ) -> None:
        self.function, self.differences = function, differences
        self.mode: Mode = mode
        self.thrifty = thrifty
        self.inputs, self.outputs, self.tolerances = inputs, outputs, tolerances
        self.finite = np.isfinite(differences.centre)
        self.weights = np.where(self.finite, weights, 0.0)
        self.builtin_gradient: np.ndarray | None = None
        """The gradient by JAX's own rules, where the function has custom rules and they can be left out."""
        if mode == "rev":
            self.gradient = function.derivative_program("rev")(differences.x, self.weights)
            builtin = function.builtin_gradient if function.has_custom_rules else None
            if builtin and np.isfinite(gradient := builtin.or_nan(differences.x, self.weights)).any():
                self.builtin_gradient = gradient

    def computed(self, segments: Sequence[Segment]) -> tuple[np.ndarray, np.ndarray]:
        """Return the computed derivative along each segment and the least round-off that it has."""
        stopped = bool(self.differences.left_by_stopping.any())
        if self.mode == "rev":
            computed = self._along(self.gradient, segments)
            least = _EPSILON * self._along(abs(self.gradient), segments, size=True)
            if stopped:
                least = least + self._along(self._gradient_left_by_stopping, segments, size=True)
            return computed, least + self._inherent_error * abs(computed)
        program, x = self.function.derivative_program(self.mode), self.differences.x
        directions = [self.differences.direction(segment) for segment in segments]
        computed = np.array([program(x, v) for v in directions])
        least = (4 * _EPSILON + self._inherent_error) * abs(computed)
        if stopped:
            limit = np.array([program.continued(1.0, x, v) for v in directions])
            least = least + np.nan_to_num(abs(limit - computed))
        return computed, least

    @cached_property
    def _gradient_left_by_stopping(self) -> np.ndarray:
        """By how much more steps of an iteration inside, which stops when it is close enough, change the gradient."""
        limit = self.function.derivative_program("rev").continued(1.0, self.differences.x, self.weights)
        return np.nan_to_num(abs(limit - self.gradient))

    def _along(self, gradient: np.ndarray, segments: Sequence[Segment], size: bool = False) -> np.ndarray:
        """Return the scalar product of a gradient and each segment, or with the magnitudes in it, as (segments, 1)."""

        def along(segment: Segment) -> float:
            part = slice(segment.start, segment.stop)
            line = self.differences.lines[segment.line, part]
            return float(gradient[part] @ (abs(line) if size else line))

        with np.errstate(invalid="ignore"):
            return np.array([[along(segment)] for segment in segments])

    def _measured_noise(self, segments: Sequence[Segment]) -> np.ndarray:
        """Return the measured round-off of the computed derivative along each segment."""
        if self.mode == "rev":
            return self._along(self.gradient_noise, segments, size=True)
        program = self.function.derivative_program(self.mode)
        return np.array([program.noise(self.differences.x, self.differences.direction(s)) for s in segments])

    @property
    def _inherent_error(self) -> float:
        """The relative error of what the rule and the function are made of.

        A loop that stops by comparing floats is as exact as its stopping criterion. The series and fits of special
        functions are made for the dtype: an error below its rounding unit is not the rule's.
        """
        if self.function.has_float_loop_condition and self.function.strategy.traced:
            return UNCONVERGED
        return min(self.function.unit or _EPSILON, _SINGLE) / SIGNIFICANT

    @cached_property
    def gradient_noise(self) -> np.ndarray:
        """The measured round-off of the computed gradient."""
        return self.function.derivative_program(self.mode).noise(self.differences.x, self.weights)

    def _perturbed_along(self, segment: Segment) -> np.ndarray:
        """Return the computed derivative along a segment with every operation perturbed, as (tries, outputs)."""
        program = self.function.derivative_program(self.mode)
        if self.mode == "rev":
            gradients = program.perturbed(self.differences.x, self.weights)
            return np.concatenate([self._along(gradient, [segment]) for gradient in gradients])
        return np.stack([*program.perturbed(self.differences.x, self.differences.direction(segment))])

    def compare(self, segments: Sequence[Segment], careful: bool = False) -> Comparison:
        """Compare along each segment; ``careful`` means with every round-off measured and with finer steps."""
        if not careful:
            comparison = self.compare_briefly(segments)
            rows = np.flatnonzero(self.vague(comparison)).tolist()
            if not rows:
                return comparison
            return comparison.replaced(rows, self._compare([segments[i] for i in rows], LADDER))
        exact = self._compare(segments, LADDER if self.thrifty else FINE_LADDER)
        failing = np.flatnonzero((exact.ratio > 1).any(axis=1) & ~self.surely_wrong(segments, exact)).tolist()
        if not failing:
            return exact
        noise = exact.noise.copy()
        noise[failing] += self._measured_noise([segments[i] for i in failing])
        comparison = replace(exact, noise=noise)
        excused = (exact.ratio > 1) & (comparison.ratio <= 1)
        for row in np.flatnonzero(excused.any(axis=1)).tolist() if self.function.strategy.traced else ():
            at_the_point_alone = excused[row] & self._wrong_at_the_point_alone(exact, segments[row], row)
            noise[row, at_the_point_alone] = exact.noise[row, at_the_point_alone]
        return comparison

    def surely_wrong(self, segments: Sequence[Segment], comparison: Comparison) -> np.ndarray:
        """Return which derivatives need no further evidence, where that takes long.

        They are off by more than any round-off, and JAX's own rules give what the differences say.
        """
        if not self.thrifty or self.builtin_gradient is None:
            return np.zeros(len(segments), bool)
        numerical, builtin = comparison.numerical, self._along(self.builtin_gradient, segments)
        confirmed = numerical.distance(builtin) <= SIGNIFICANT * (numerical.bar + self._inherent_error * abs(builtin))
        far = numerical.distance(comparison.computed) > _FAR * abs(numerical.value)
        return np.all(confirmed & far & (comparison.ratio > 1), axis=1)

    def compare_briefly(self, segments: Sequence[Segment]) -> Comparison:
        """Compare with few steps, if evaluations take long; a failure is repeated by the caller."""
        return self._compare(segments, SHORT_LADDER if self.thrifty else LADDER)

    def vague(self, comparison: Comparison) -> np.ndarray:
        """Return along which segments a brief comparison has found nothing, and does not say much."""
        if not self.thrifty:
            return np.zeros(len(comparison.computed), bool)
        size = np.maximum(abs(comparison.computed), np.nan_to_num(abs(comparison.numerical.value)))
        vague = ~(comparison.numerical.bar <= np.maximum(_TELLING_BAR * size, comparison.floor))
        return np.any(vague & ~(comparison.ratio > 1), axis=1)

    def _wrong_at_the_point_alone(self, exact: Comparison, segment: Segment, row: int) -> np.ndarray:
        """Return for which outputs the computed derivative is right as soon as its operations are perturbed.

        A rule that is wrong at a tie or a zero, which a layer in front brings about, is right next to it. That the
        derivative jumps there is no round-off: round-off a thousand times as large would hardly lead to the same
        number, the one that differences give.
        """
        computed, numerical = exact.computed[row], exact.numerical[row]
        results = self._perturbed_along(segment)
        with np.errstate(invalid="ignore"):
            relative = max(self._inherent_error, AMPLIFICATION * _EPSILON)
            allowed = SIGNIFICANT * (numerical.bar + exact.noise[row] + relative * abs(numerical.value))
            right = numerical.distance(results) <= allowed
            apart = numerical.distance(computed) > 2 * allowed
        return apart & (right.reshape(2, TRIES, -1).sum(axis=1) >= _TELLING).all(axis=0)

    def _compare(self, segments: Sequence[Segment], steps: np.ndarray) -> Comparison:
        """Compare with the round-off that the computed derivative has at least."""
        computed, own_noise = self.computed(segments)
        lengths = np.array([[abs(self.differences.lines[s.line, s.start : s.stop]).sum()] for s in segments])
        noise = np.nan_to_num(self.differences.noise)
        if self.mode == "rev":
            noise = np.array([noise @ abs(self.weights)])
        floor = np.broadcast_to(noise / steps[0], computed.shape)

        def against(numerical: NumericalDerivative) -> Comparison:
            atol, rtol = self.tolerances
            tolerance = atol * lengths + rtol * np.nan_to_num(abs(numerical.value))
            return Comparison(computed, numerical, own_noise, tolerance, floor)

        if self.mode == "rev" and len(self.weights) > _MANY_OUTPUTS:
            comparison = against(self.differences.projected(segments, self.weights, steps))
            if not comparison.numerical.kink[comparison.ratio > 1].any():
                return comparison  # else it takes every output to tell which of them has a kink
        return against(self.project(self.differences.derivatives(segments, steps)))

    def project(self, numerical: NumericalDerivative) -> NumericalDerivative:
        """Return the numerical derivative of what the mode computes: of the weighted sum of the outputs for "rev"."""
        if self.mode == "rev":
            return numerical[:, self.finite].dot(self.weights[self.finite])[:, None]
        bar = np.where(self.finite, numerical.bar, np.inf)
        return NumericalDerivative(numerical.value, bar, numerical.low, numerical.high)

    def computed_gradient(self, places: np.ndarray) -> np.ndarray:
        """Return these elements of the gradient of the weighted sum of the outputs that the mode computes."""
        if self.mode == "rev":
            return self.gradient[places]
        x = self.differences.x
        sweep = ElementSweep(
            self.function.weighted_derivative(self.mode, self.weights), [x, np.zeros_like(x)], self.inputs
        )
        return sweep(places, np.ones(len(places)))

    def builtin_agrees_with_differences(self, segments: Sequence[Segment]) -> bool:
        """Whether JAX's own rules, where the function has others that can be left out, give what differences give."""
        program = self.function.builtin_gradient if self.function.has_custom_rules else None
        if program is None:
            return False
        builtin = self._along(program.or_nan(self.differences.x, self.weights), segments)
        numerical = self.differences.projected(segments, self.weights, LADDER)
        bar = SIGNIFICANT * (numerical.bar + self._inherent_error * abs(builtin))
        return bool((numerical.distance(builtin) <= bar).all())

    def agrees_with_builtin(self, segment: Segment) -> bool:
        """Whether the rule is JAX's own derivative on a segment, so that only conventions can differ."""
        if not self.function.has_custom_rules:
            return True
        if self.builtin_gradient is None:
            return False
        part = slice(segment.start, segment.stop)
        return bool(np.allclose(self.gradient[part], self.builtin_gradient[part], rtol=1e-6, atol=0.0))

    def name_input(self, position: int) -> str:
        """Name an element of the arguments, as ``args[1]['w'][2, 0]``."""
        return find_leaf(self.inputs, int(position)).element(int(position))

    def name_output(self, position: int) -> str:
        """Name an element of the results, as ``output['loss']``."""
        return find_leaf(self.outputs, int(position)).element(int(position))
