"""Compare every single element of the gradient with a finite difference of its own.

Each element is moved once up and once down. How far such a plain central difference can be off is measured on a sample
of each leaf, with a second step; an element outside that gets the full ladder of steps before it is called wrong.

What does not depend on the leaf that is moved is computed once. In a network most parameters belong to the last layers,
and moving one of them takes only the rest of the network from there on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax._core.jaxprs import open_jaxpr
from cnnjax.gradients.comparison import Comparator
from cnnjax.gradients.finite_differences import Segment
from cnnjax.gradients.float64 import evaluate_equation, widen
from cnnjax.gradients.interpreter import run_equations
from cnnjax.gradients.leaves import Leaf
from cnnjax.gradients.localization import check_segments
from cnnjax.gradients.programs import Program
from cnnjax.gradients.report import Check
from cnnjax.gradients.richardson import RATIO, SIGNIFICANT
from cnnjax.gradients.user_code import rows_or_nan

__all__ = ["ElementSweep", "check_every_element", "evaluate_with_part"]

_STEP = 2.0**-9
_SAMPLE = 64  # elements of a leaf on which the truncation error is measured
_DOUBTFUL = 64  # elements that are compared again, the worst first
_ROWS = 1024  # evaluations in one call of a compiled program
_OWN_PROGRAM = 1024  # elements from which a program of their own saves more than its compilation takes


def check_every_element(comparator: Comparator, order: int) -> Check:
    """Return the check of all elements, the wrong ones named (the worst 64, if there are more)."""
    differences, weights = comparator.differences, comparator.weights
    differences.measure_noise()
    scalar = comparator.function.weighted_sum(weights, differences.x, differences.centre)
    sweep = ElementSweep(scalar, differences.x, comparator.inputs)
    n = len(differences.x)
    every = np.arange(n, dtype=np.int32)
    line = differences.lines[1]
    slopes = _slopes(sweep, line, every, _STEP)
    noise = float(np.nan_to_num(differences.noise * abs(weights)).sum()) / (_STEP * abs(line))
    bar = noise + np.finfo(float).eps * abs(slopes)
    for leaf in comparator.inputs:
        inside = every[leaf.start : leaf.stop]
        sample = inside[:: max(1, len(inside) // _SAMPLE)]
        if len(sample):
            moved = abs(_slopes(sweep, line, sample, _STEP / RATIO) - slopes[sample])
            bar[inside] += np.max(moved[np.isfinite(moved)], initial=0.0)
    computed = comparator.computed_gradient()
    differences.evaluations += 2 * n
    with np.errstate(invalid="ignore"):
        ratio = abs(computed - slopes) / (SIGNIFICANT * bar)
    doubtful = np.flatnonzero(~(ratio <= 1))
    doubtful = doubtful[np.argsort(-np.nan_to_num(ratio[doubtful], nan=np.inf), kind="stable")][:_DOUBTFUL]
    worst, mismatches = float(ratio.max(initial=0.0)), ()
    if len(doubtful):
        again = check_segments(comparator, [Segment.element(0, i) for i in doubtful], "given", order)
        worst, mismatches = again.worst, again.mismatches
    return Check(f"every element ({comparator.mode})", "given", order, n, worst, mismatches)


def _slopes(sweep: ElementSweep, line: np.ndarray, places: np.ndarray, step: float) -> np.ndarray:
    """Return the central difference of the weighted sum of the outputs for each element in ``places``."""
    steps = step * line[places]
    plus, minus = np.split(sweep(np.tile(places, 2), np.concatenate([steps, -steps])), 2)
    return (plus - minus) / (2 * steps)


class ElementSweep:
    """A program with one output, at points that differ from ``x`` in a single element each."""

    def __init__(self, program: Program, x: np.ndarray, leaves: Sequence[Leaf]) -> None:
        self.program, self.x = program, x
        self._ends = _ends(leaves)
        self._compiled: dict[int, Any] = {}

    def __call__(self, places: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Return the output for each place and the step by which that element is moved."""
        if not self.program.strategy.traced:
            return np.array([self.program.or_nan(self._moved(*move))[0] for move in zip(places, steps, strict=True)])
        out = np.empty(len(places))
        groups = np.searchsorted(self._ends, places, side="right")
        calls = []
        for group in np.unique(groups).tolist():
            rows = np.flatnonzero(groups == group)
            compiled = self._compile(group)
            calls += [(compiled, rows[first : first + _ROWS]) for first in range(0, len(rows), _ROWS)]

        def run(call: tuple[Any, np.ndarray]) -> None:
            compiled, rows = call

            def part(first: int, last: int) -> np.ndarray:
                some, count = rows[first:last], last - first
                place, step = np.zeros(_ROWS, np.int32), np.zeros(_ROWS)
                place[:count], step[:count] = places[some], steps[some]
                return self.program.run(compiled, self.x, place, step, np.int32(count))[:count, None]

            out[rows] = rows_or_nan(part, 0, len(rows), 1)[:, 0]

        # Callbacks that run at the same time can wait for each other for ever on a machine with few cores.
        with ThreadPoolExecutor(1 if self.program.calls_the_host else os.cpu_count()) as pool:
            list(pool.map(run, calls))
        return out

    def _moved(self, place: int, step: float) -> np.ndarray:
        moved = self.x.copy()
        moved[place] += step
        return moved

    def _compile(self, group: int) -> Any:
        """Return the compiled program for the elements of one group."""
        if group not in self._compiled:
            start, stop = int(self._ends[group - 1]) if group else 0, int(self._ends[group])

            def sweep(x: Any, places: Any, steps: Any, count: Any) -> Any:
                evaluate, part = evaluate_with_part(self.program.jaxpr, x, start, stop), x[start:stop]

                def one(row: Any, out: Any) -> Any:
                    value = evaluate(part.at[places[row] - start].add(steps[row]))
                    return out.at[row].set(value[0])

                return lax.fori_loop(0, count, one, jnp.zeros(_ROWS))

            blanks = (np.zeros(_ROWS, np.int32), np.zeros(_ROWS), np.int32(0))
            with self.program.strategy.context():
                self._compiled[group] = jax.jit(sweep).lower(self.x, *blanks).compile()
        return self._compiled[group]


def _ends(leaves: Sequence[Leaf]) -> np.ndarray:
    """Return where groups of neighbouring leaves end, each large enough for a program of its own."""
    ends = [0]
    for leaf in leaves:
        if leaf.stop - ends[-1] >= _OWN_PROGRAM or leaf == leaves[-1]:
            ends.append(leaf.stop)
    return np.array(ends[1:])


_AFFECTED = object()
"""Stands for the value of a variable that depends on the part that is replaced."""


def evaluate_with_part(jaxpr: Any, x: Any, start: int, stop: int) -> Callable[[Any], Any]:
    """Evaluate a jaxpr at the vector ``x``, and return what evaluates it with ``[start, stop)`` of that replaced.

    What does not depend on this part is not evaluated again.
    """
    jaxpr, consts = open_jaxpr(jaxpr)
    (vector,) = jaxpr.invars
    x = widen(x)
    affected = []

    def slice_of_vector(eqn: Any) -> tuple[int, int] | None:
        """Return the part of the vector that a slice takes."""
        simple = eqn.primitive.name == "slice" and eqn.invars[0] is vector and eqn.params["strides"] is None
        return (eqn.params["start_indices"][0], eqn.params["limit_indices"][0]) if simple else None

    def once(eqn: Any, values: list[Any]) -> Sequence[Any]:
        taken = slice_of_vector(eqn)
        if taken is not None and (taken[1] <= start or stop <= taken[0]):
            return evaluate_equation(eqn, [x])
        if any(value is _AFFECTED for value in values):
            affected.append(eqn)
            return [_AFFECTED] * len(eqn.outvars)
        return evaluate_equation(eqn, values)

    def literal(atom: Any) -> Any:
        return widen(atom.val)

    known = {vector: _AFFECTED, **dict(zip(jaxpr.constvars, map(widen, consts), strict=False))}
    run_equations(jaxpr.eqns, known, once, literal)

    def evaluate(part: Any) -> Any:
        def again(eqn: Any, values: list[Any]) -> Sequence[Any]:
            taken = slice_of_vector(eqn)
            if taken is not None and start <= taken[0] and taken[1] <= stop:
                return [part[taken[0] - start : taken[1] - start]]
            return evaluate_equation(eqn, values)

        environment = {**known, vector: lax.dynamic_update_slice_in_dim(x, part, start, 0)}
        return run_equations(affected, environment, again, literal)(jaxpr.outvars[0])

    return evaluate
