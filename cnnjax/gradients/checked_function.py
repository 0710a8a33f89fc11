"""The function under test and its derivatives, as programs on float64 vectors."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from cnnjax.gradients import jaxprs
from cnnjax.gradients.differentiation import Mode, differentiate
from cnnjax.gradients.flat_function import FlatFunction
from cnnjax.gradients.leaves import largest
from cnnjax.gradients.programs import Program
from cnnjax.gradients.richardson import SIGNIFICANT
from cnnjax.gradients.strategies import STRATEGIES, Strategy
from cnnjax.gradients.user_code import first_line, has_no_derivative

__all__ = ["CheckedFunction", "ModeUnavailableError", "RuleRaisedError", "choose_strategy"]


class ModeUnavailableError(Exception):
    """A function has no derivative in this mode, as JAX says itself."""


class RuleRaisedError(Exception):
    """A derivative rule raised an exception of its own."""


class CheckedFunction:
    """One function from R^n to R^m, run by one strategy; its derivative programs are made when first asked for.

    Args:
        call: the function of a JAX vector.
        x: (n,) a point in its domain.
        strategy: how to run it.
        unit: the rounding unit of the narrowest float in its own dtype; None where the function has no trace.
        intended: the rules that are meant to differ from the derivative of their function, as declared or because they
            belong to a rejection sampler.
    """

    def __init__(
        self,
        call: Callable[[Any], Any],
        x: np.ndarray,
        strategy: Strategy,
        unit: float | None = None,
        intended: frozenset[str] = frozenset(),
    ) -> None:
        self.call, self.x, self.strategy, self.unit, self.intended = call, x, strategy, unit, intended
        self.n = len(x)
        self.program = Program(call, (self.n,), strategy, intended)
        self.m = self.program.size_at(x)
        self._derivatives: dict[Mode, Program] = {}

    def probe_size(self, mode: Mode) -> int:
        """Return the length of a cotangent ("rev") or a tangent ("fwd", "lin")."""
        return self.m if mode == "rev" else self.n

    def derivative_program(self, mode: Mode) -> Program:
        """Return the program (x, probe) -> derivative, through the rules under test.

        Raises:
            ModeUnavailableError: the function has no derivative in this mode.
            RuleRaisedError: a rule raises.
        """
        if mode not in self._derivatives:
            size = self.probe_size(mode)
            try:
                program = Program(
                    lambda x, probe: differentiate(mode, self.call, x, probe)[0], (self.n, size), self.strategy
                )
                program(self.x, np.ones(size))  # some exceptions come only now; a solver may raise for zeros
            except Exception as error:
                if has_no_derivative(error):
                    raise ModeUnavailableError(first_line(error)) from error
                raise RuleRaisedError(first_line(error)) from error
            self._derivatives[mode] = program
        return self._derivatives[mode]

    def unavailable(self, modes: Sequence[Mode]) -> dict[Mode, str]:
        """Return the modes among ``modes`` that have no derivative, each with JAX's reason."""
        reasons: dict[Mode, str] = {}
        for mode in modes:
            try:
                self.derivative_program(mode)
            except ModeUnavailableError as error:
                reasons[mode] = str(error)
        return reasons

    def derivative_function(self, mode: Mode, probe: np.ndarray) -> CheckedFunction:
        """Return the derivative as a function of the point and its probe, to be verified in its turn."""
        return CheckedFunction(
            lambda z: differentiate(mode, self.call, z[: self.n], z[self.n :])[0],
            np.concatenate([self.x, probe]),
            self.strategy,
            self.unit,
            self.intended,
        )

    @functools.cached_property
    def builtin_gradient(self) -> Program | None:
        """The gradient program by JAX's own rules alone; None where they do not reach."""
        return self.gradient_with_rules(self.intended)

    def gradient_with_rules(self, rules: frozenset[str]) -> Program | None:
        """Return the gradient program by JAX's own rules and the custom ones named; None where they do not reach."""
        if not self.strategy.traced:
            return None

        def gradient(x: Any, cotangent: Any) -> Any:
            return differentiate("rev", lambda moved: self.program.linearized(x, moved, rules), x, cotangent)[0]

        try:
            return Program(gradient, (self.n, self.m), STRATEGIES[0])
        except Exception:  # whatever JAX cannot differentiate: no second opinion, and none is needed
            return None

    def weighted_sum(self, weights: np.ndarray, at: np.ndarray, centre: np.ndarray) -> Program:
        """Return the program x -> [sum of weights * (f(x) - centre)] for x next to ``at``."""
        used = np.flatnonzero(weights)

        def call(x: Any) -> Any:
            traced = self.strategy.traced
            value = self.program.linearized(at, x, self.intended) if traced else self.call(x)
            return ((value - centre)[used] * weights[used]).sum()[None]

        return Program(call, (self.n,), STRATEGIES[0] if self.strategy.traced else self.strategy)

    def weighted_derivative(self, mode: Mode, weights: np.ndarray) -> Program:
        """Return the program (x, tangent) -> [sum of weights * derivative along the tangent]."""
        derivative, used = self.derivative_program(mode), np.flatnonzero(weights)

        def call(x: Any, tangent: Any) -> Any:
            run = derivative.without_rules if self.strategy.traced else derivative.call
            return (run(x, tangent)[used] * weights[used]).sum()[None]

        return Program(call, (self.n, self.n), STRATEGIES[0] if self.strategy.traced else self.strategy)

    @functools.cached_property
    def rules(self) -> Counter[str]:
        """How often each custom derivative rule and ``stop_gradient`` occur in the function."""
        return jaxprs.rule_names(self.program.jaxpr) if self.strategy.traced else Counter()

    @functools.cached_property
    def has_custom_rules(self) -> bool:
        """Whether the function contains a custom rule or a stopped gradient, or may do."""
        return not self.strategy.traced or jaxprs.has_custom_rules(self.program.jaxpr)

    @functools.cached_property
    def has_float_loop_condition(self) -> bool:
        """Whether a ``while_loop`` inside compares floats to decide when to end, or may do."""
        return not self.strategy.traced or jaxprs.has_float_loop_condition(self.program.jaxpr)

    def contains(self, question: Callable[[Any], bool]) -> bool:
        """Whether the function has a trace, and the answer of one of `jaxprs`'s questions about it is yes."""
        return self.strategy.traced and question(self.program.jaxpr)


def choose_strategy(
    flat: FlatFunction, modes: Sequence[Mode], intended: frozenset[str]
) -> tuple[CheckedFunction, dict[Mode, str], tuple[str, ...]]:
    """Return the function by the first strategy under which it and its rules run and mean what they mean natively.

    Also returns which of the modes have no derivative, with JAX's reason, and why better strategies were passed over.

    Raises:
        RuleRaisedError: a rule raises an exception under every strategy.
    """
    unit = _coarsest_unit(flat)
    reasons: list[str] = []
    broken: RuleRaisedError | None = None
    for strategy in STRATEGIES:
        try:
            call = flat.in_float64 if strategy.widened else flat.in_own_dtype
            function = CheckedFunction(call, flat.point, strategy, unit, intended)
            if function.strategy.traced and (samplers := jaxprs.sampler_rules(function.program.jaxpr) - intended):
                call = _with_constants_evaluated(call)
                function = CheckedFunction(call, flat.point, strategy, unit, intended | samplers)
            value = function.program(flat.point)
            unavailable = function.unavailable(modes)
        except RuleRaisedError as error:
            broken = error
            reasons.append(f"{strategy.name}: {error}")
        except Exception as error:  # any failure of the user's code here only means: not this way
            reasons.append(f"{strategy.name}: {first_line(error)}")
        else:
            last = strategy == STRATEGIES[-1]
            if last or function.contains(jaxprs.samples_gamma) or _same_function(function, value, flat, unit):
                return function, unavailable, tuple(reasons)
            reasons.append(f"{strategy.name}: it gives another value there, by more than round-off")
    raise broken or RuleRaisedError("; ".join(reasons))


def _with_constants_evaluated(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function whose random keys are no part of its trace: the rules of samplers refer to them."""

    def evaluated(vector: Any) -> Any:
        with jax.ensure_compile_time_eval():
            return call(vector)

    return evaluated


def _coarsest_unit(flat: FlatFunction) -> float | None:
    """Return the rounding unit of the narrowest float in a function; None if it has no trace."""
    try:
        jaxpr = Program(flat.in_own_dtype, (len(flat.point),), STRATEGIES[1]).jaxpr
    except Exception:  # the user's code cannot be traced
        return None
    return max([flat.coarsest_leaf, *jaxprs.rounding_units(jaxpr)])


def _same_function(function: CheckedFunction, value: np.ndarray, flat: FlatFunction, unit: float | None) -> bool:
    """Tell a function that depends on its dtype, as a random one may, from the same one with more digits."""
    if value.shape != flat.value.shape:
        return False
    both = np.isfinite(value) & np.isfinite(flat.value)
    unit = unit or flat.coarsest_leaf
    bar = (1e-2 + 16 * unit) * largest(flat.value, flat.outputs) + 1e-30
    if np.all(abs(value - flat.value)[both] <= bar[both]):
        return True
    noise = function.program.noise(flat.point) * (unit / function.strategy.epsilon)
    return bool(np.all(abs(value - flat.value)[both] <= (bar + SIGNIFICANT * noise)[both]))
