"""Evaluate a program at many points that differ from one in a single element each.

What does not depend on the leaf that is moved is computed once. In a network most parameters belong to the last layers,
and moving one of them takes only the rest of the network from there on.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax._core.jaxprs import open_jaxpr
from cnnjax.gradients.float64 import evaluate_equation, widen
from cnnjax.gradients.interpreter import run_equations
from cnnjax.gradients.leaves import Leaf
from cnnjax.gradients.programs import Program
from cnnjax.gradients.user_code import rows_or_nan

__all__ = ["ElementSweep", "evaluate_with_part"]

_ROWS = 1024  # evaluations in one call of a compiled program
_OWN_PROGRAM = 1024  # elements from which a program of their own saves more than its compilation takes


class ElementSweep:
    """A program with one output, at points that differ in a single element each.

    Args:
        program: a program of one or more vectors.
        vectors: the point. The last vector is the one whose elements are moved.
        leaves: what that consists of.
    """

    def __init__(self, program: Program, vectors: Sequence[np.ndarray], leaves: Sequence[Leaf]) -> None:
        self.program, self.vectors = program, tuple(vectors)
        self._ends = _ends(leaves)
        self._compiled: dict[int, Any] = {}

    def __call__(self, places: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Return the output for each place and the step by which that element is moved."""
        if not self.program.strategy.traced:
            return np.array([self.program.or_nan(*self._moved(*move))[0] for move in zip(places, steps, strict=True)])
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
                return self.program.run(compiled, self.vectors, place, step, np.int32(count))[:count, None]

            out[rows] = rows_or_nan(part, 0, len(rows), 1)[:, 0]

        # Callbacks that run at the same time can wait for each other for ever on a machine with few cores.
        with ThreadPoolExecutor(1 if self.program.calls_the_host else os.cpu_count()) as pool:
            list(pool.map(run, calls))
        return out

    def _moved(self, place: int, step: float) -> tuple[np.ndarray, ...]:
        moved = self.vectors[-1].copy()
        moved[place] += step
        return (*self.vectors[:-1], moved)

    def _compile(self, group: int) -> Any:
        """Return the compiled program for the elements of one group."""
        if group not in self._compiled:
            start, stop = int(self._ends[group - 1]) if group else 0, int(self._ends[group])

            def sweep(vectors: Any, places: Any, steps: Any, count: Any) -> Any:
                evaluate, part = evaluate_with_part(self.program.jaxpr, vectors, start, stop), vectors[-1][start:stop]

                def one(row: Any, out: Any) -> Any:
                    value = evaluate(part.at[places[row] - start].add(steps[row]))
                    return out.at[row].set(value[0])

                return lax.fori_loop(0, count, one, jnp.zeros(_ROWS))

            blanks = (np.zeros(_ROWS, np.int32), np.zeros(_ROWS), np.int32(0))
            with self.program.strategy.context():
                self._compiled[group] = jax.jit(sweep).lower(self.vectors, *blanks).compile()
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


def evaluate_with_part(jaxpr: Any, vectors: Sequence[Any], start: int, stop: int) -> Callable[[Any], Any]:
    """Evaluate a jaxpr, and return what evaluates it with ``[start, stop)`` of the last vector replaced.

    What does not depend on this part is not evaluated again.
    """
    jaxpr, consts = open_jaxpr(jaxpr)
    *others, vector = jaxpr.invars
    *fixed, x = map(widen, vectors)
    affected = []

    def places_of_results(eqn: Any) -> list[tuple[int, int]] | None:
        """Return which part of the vector each result is, of an operation that cuts the vector up."""
        if eqn.primitive.name == "split" and eqn.invars[0] is vector:
            ends = np.cumsum((0, *eqn.params["sizes"])).tolist()
            return list(itertools.pairwise(ends))
        return None

    def once(eqn: Any, values: list[Any]) -> Sequence[Any]:
        if places := places_of_results(eqn):
            affected.append(eqn)
            outside = [last <= start or stop <= first for first, last in places]
            return [x[slice(*place)] if out else _AFFECTED for place, out in zip(places, outside, strict=True)]
        if any(value is _AFFECTED for value in values):
            affected.append(eqn)
            return [_AFFECTED] * len(eqn.outvars)
        return evaluate_equation(eqn, values)

    def literal(atom: Any) -> Any:
        return widen(atom.val)

    known = dict(zip(jaxpr.constvars, map(widen, consts), strict=False))
    known |= dict(zip(others, fixed, strict=True)) | {vector: _AFFECTED}
    run_equations(jaxpr.eqns, known, once, literal)

    def evaluate(part: Any) -> Any:
        def again(eqn: Any, values: list[Any]) -> Sequence[Any]:
            if places := places_of_results(eqn):
                return [
                    part[first - start : last - start] if start <= first and last <= stop else values[0][first:last]
                    for first, last in places
                ]
            return evaluate_equation(eqn, values)

        environment = {**known, vector: lax.dynamic_update_slice_in_dim(x, part, start, 0)}
        return run_equations(affected, environment, again, literal)(jaxpr.outvars[0])

    return evaluate
