"""A number that depends on a vector, with one element of the vector moved at a time.

What does not depend on the leaf that is moved is computed once. In a network most parameters belong to the last layers,
and moving one of them takes only the rest of the network from there on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.gradients.leaves import Leaf
from cnnjax.gradients.programs import Program
from cnnjax.gradients.promote import moved_part

__all__ = ["MovedElements"]

_ROWS = 1024  # evaluations in one call of a compiled program
_FEW = 1024  # elements for which a program of their own takes longer to compile than it saves


class MovedElements:
    """What a program gives, one number, at points that differ from ``x`` in a single element each."""

    def __init__(self, program: Program, x: np.ndarray, leaves: Sequence[Leaf]) -> None:
        self.program, self.x = program, x
        self._ends = _ends(leaves)
        self._compiled: dict[int, Any] = {}

    def __call__(self, places: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Return a number for each place and the step by which that element is moved."""
        if not self.program.setting.traced:
            return np.array([self.program(self._moved(*move))[0] for move in zip(places, steps, strict=True)])
        out = np.empty(len(places))
        groups = np.searchsorted(self._ends, places, side="right")
        calls = []
        for group in np.unique(groups).tolist():
            rows = np.flatnonzero(groups == group)
            sweep = self._sweep(group)
            calls += [(sweep, rows[first : first + _ROWS]) for first in range(0, len(rows), _ROWS)]

        def run(call: tuple[Any, np.ndarray]) -> None:
            sweep, rows = call
            place, step = np.zeros(_ROWS, np.int32), np.zeros(_ROWS)
            place[: len(rows)], step[: len(rows)] = places[rows], steps[rows]
            out[rows] = self.program.run(sweep, self.x, place, step, np.int32(len(rows)))[: len(rows)]

        # Callbacks that run at the same time can wait for each other for ever on a machine with few cores.
        with ThreadPoolExecutor(1 if self.program.calls_the_host else os.cpu_count()) as pool:
            list(pool.map(run, calls))
        return out

    def _moved(self, place: int, step: float) -> np.ndarray:
        moved = self.x.copy()
        moved[place] += step
        return moved

    def _sweep(self, group: int) -> Any:
        """Return the compiled program for the elements of one group."""
        if group not in self._compiled:
            start, stop = int(self._ends[group - 1]) if group else 0, int(self._ends[group])

            def sweep(x: Any, places: Any, steps: Any, count: Any) -> Any:
                again, part = moved_part(self.program.jaxpr, x, start, stop), x[start:stop]

                def one(row: Any, out: Any) -> Any:
                    value = again(part.at[places[row] - start].add(steps[row]))
                    return out.at[row].set(value[0])

                return lax.fori_loop(0, count, one, jnp.zeros(_ROWS))

            blanks = (np.zeros(_ROWS, np.int32), np.zeros(_ROWS), np.int32(0))
            with self.program.setting.context():
                self._compiled[group] = jax.jit(sweep).lower(self.x, *blanks).compile()
        return self._compiled[group]


def _ends(leaves: Sequence[Leaf]) -> np.ndarray:
    """Return where groups of neighbouring leaves end, each large enough for a program of its own."""
    ends = [0]
    for leaf in leaves:
        if leaf.stop - ends[-1] >= _FEW or leaf == leaves[-1]:
            ends.append(leaf.stop)
    return np.array(ends[1:])
