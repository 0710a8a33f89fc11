"""A function of vectors as a program, compiled for one or for many evaluations, in float64 where that is possible."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.gradients.deadline import NO_DEADLINE, Deadline
from cnnjax.gradients.executable import Executable
from cnnjax.gradients.float64 import evaluate
from cnnjax.gradients.intended import evaluate_linearized
from cnnjax.gradients.jaxprs import calls_the_host, computes_in_float64
from cnnjax.gradients.round_off import noise_by_differences, noise_by_perturbation, perturbed, perturbed_results
from cnnjax.gradients.strategies import STRATEGIES, Strategy, float64_enabled, float64_enabled_in_all_threads
from cnnjax.gradients.user_code import EvaluationError, rows_or_nan

__all__ = ["Program", "concatenated"]

_ROWS = 208  # evaluations in one call of a compiled program
_BUFFER = 2**19  # numbers that such a call may take or return


class Program:
    """A function of vectors, run by one strategy; what comes in and goes out are float64 NumPy vectors.

    Args:
        call: the function of JAX vectors.
        sizes: their lengths.
        strategy: how to run it.
        intended: the rules that are linearized at the point where differences are taken.
    """

    def __init__(
        self,
        call: Callable[..., Any],
        sizes: tuple[int, ...],
        strategy: Strategy,
        intended: frozenset[str] = frozenset(),
    ) -> None:
        self.call, self.strategy, self.sizes, self.intended = call, strategy, sizes, intended
        self._size: int | None = None
        if strategy.traced:
            with strategy.context():
                blanks = [jax.ShapeDtypeStruct((n,), jax.dtypes.canonicalize_dtype(np.float64)) for n in sizes]
                self._as_traced = jax.jit(call)
                self.jaxpr: Any = self._as_traced.trace(*blanks).jaxpr

    def without_rules(self, *vectors: Any) -> Any:
        """Evaluate the jaxpr: a JAX function without custom rules, to be called with 64-bit types enabled."""
        return evaluate(self.jaxpr, vectors)[0]

    def linearized(self, base: Any, x: Any, intended: frozenset[str]) -> Any:
        """Evaluate at ``x`` with every intended rule replaced by its linearization at ``base``."""
        return evaluate_linearized(self.jaxpr, [base], [x], intended)[0] if intended else self.without_rules(x)

    @functools.cached_property
    def _compiled(self) -> Executable:
        if self.strategy.widened and computes_in_float64(self.jaxpr):
            return Executable(self._as_traced)  # nothing to widen, and no second trace
        return Executable(jax.jit(self.without_rules))

    @functools.cached_property
    def calls_the_host(self) -> bool:
        """Whether it calls back into Python."""
        return calls_the_host(self.jaxpr)

    def run(self, compiled: Callable[..., Any], *values: Any) -> np.ndarray:
        """Call what was compiled from the jaxpr."""
        with float64_enabled(), float64_enabled_in_all_threads() if self.calls_the_host else contextlib.nullcontext():
            return np.asarray(compiled(*values), np.float64)

    def __call__(self, *vectors: np.ndarray) -> np.ndarray:
        """Evaluate once.

        Raises:
            EvaluationError: the user's code raises.
        """
        try:
            if not self.strategy.traced:
                with self.strategy.context():
                    return np.asarray(self.call(*map(self.strategy.vector, vectors)), np.float64)
            if len(vectors) == 1:  # the program of many evaluations is needed anyway
                return self._rows(vectors[0], vectors[0], np.zeros((1, 2)), np.zeros(1))[0]
            return self.run(self._compiled, *vectors)
        except Exception as error:  # the user's code: whatever it raises
            raise EvaluationError from error

    def or_nan(self, *vectors: np.ndarray) -> np.ndarray:
        """Evaluate once; where the function raises, it is not defined: NaN."""
        return rows_or_nan(lambda *_: self(*vectors)[None], 0, 1, self.size_at(*vectors))[0]

    def along(self, x: np.ndarray, line: np.ndarray, parts: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Evaluate at ``x`` with a part of it moved along a line, a row for each part, NaN where the function raises.

        Intended rules are linearized at ``x``.

        Args:
            x: (n,) the point.
            line: (n,) a direction.
            parts: (count, 2) where each part starts and stops.
            steps: (count,) by how many times the line it is moved.
        """
        if not self.strategy.traced:
            return np.stack([self.or_nan(_moved(x, line, *move)) for move in zip(parts, steps, strict=True)])
        count, size, rows = len(steps), self.size_at(x), self._rows_in_a_call(x)
        out = np.empty((count, size))
        with float64_enabled():
            x, line = jax.device_put((x, line))

        def run(first: int) -> None:
            last = min(first + rows, count)
            out[first:last] = rows_or_nan(
                lambda start, stop: self._rows(x, line, parts[start:stop], steps[start:stop]), first, last, size
            )

        firsts = range(0, count, rows)
        # Callbacks that run at the same time can wait for each other for ever on a machine with few cores.
        if len(firsts) < 3 or self.calls_the_host:
            for first in firsts:
                run(first)
        else:  # a compiled program of this size keeps one core busy
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(run, firsts))
        return out

    def _rows_in_a_call(self, x: Any) -> int:
        return int(np.clip(_BUFFER // max(self.size_at(x), len(x), 1), 1, _ROWS))

    def _rows(self, x: Any, line: Any, parts: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Evaluate with a few parts moved, in one call."""
        blank = self._rows_in_a_call(x) - len(steps)  # always as many, so that one program does
        count = np.int32(len(steps))
        parts, steps = np.pad(parts, ((0, blank), (0, 0))).astype(np.int32), np.pad(steps, (0, blank))
        return self.run(self._sweep, x, line, parts, steps, count)[:count]

    def size_at(self, *vectors: np.ndarray) -> int:
        """Return the length of the output, which for a function without a trace is known once it has run."""
        if self._size is None:
            self._size = int(self.jaxpr.out_avals[0].shape[0]) if self.strategy.traced else len(self(*vectors))
        return self._size

    @functools.cached_property
    def _sweep(self) -> Executable:
        def sweep(x: Any, line: Any, parts: Any, steps: Any, count: Any) -> Any:
            place = lax.iota(np.int32, len(x))

            def one(row: Any, out: Any) -> Any:
                inside = (parts[row, 0] <= place) & (place < parts[row, 1])
                value = self.linearized(x, jnp.where(inside, x + steps[row] * line, x), self.intended)
                return lax.dynamic_update_index_in_dim(out, value, row, 0, allow_negative_indices=False)

            return lax.fori_loop(0, count, one, jnp.zeros((len(steps), self.size_at(x)), np.float64))

        return Executable(jax.jit(sweep))

    def noise(self, *vectors: np.ndarray, deadline: Deadline = NO_DEADLINE) -> np.ndarray:
        """Return the measured round-off of each output.

        Raises:
            TimeIsUpError: it is not known by the deadline.
        """
        if not self.strategy.traced:
            return noise_by_differences(self.or_nan, self.strategy.epsilon, vectors)
        results = deadline.within(self.perturbed(*vectors))
        return noise_by_perturbation(self.or_nan(*vectors), self.strategy.epsilon, results)

    def continued(self, further: float, *vectors: np.ndarray) -> np.ndarray:
        """Evaluate a traced function once, with more steps of every iteration that stops when it is close enough.

        ``further`` is how many more, in units of those that the iteration takes by itself.
        """
        return rows_or_nan(lambda *_: self.run(self._continued, further, *vectors)[None], 0, 1, self.size_at())[0]

    @functools.cached_property
    def _continued(self) -> Executable:
        return Executable(jax.jit(lambda further, *vectors: evaluate(self.jaxpr, vectors, further=further)[0]))

    @functools.cached_property
    def with_twice_the_steps(self) -> Program:
        """A traced function in which every iteration that stops when it is close enough takes as many steps again."""
        return Program(lambda x: evaluate(self.jaxpr, [x], further=1.0)[0], self.sizes, STRATEGIES[0])

    def perturbed(self, *vectors: np.ndarray) -> Iterator[np.ndarray]:
        """Yield what a traced function gives with every operation perturbed, as `perturbed_results` does."""

        def run(*how: Any) -> np.ndarray:
            return rows_or_nan(lambda *_: self.run(self._perturbed, *how, *vectors)[None], 0, 1, self.size_at())[0]

        return perturbed_results(run)

    @functools.cached_property
    def _perturbed(self) -> Executable:
        return Executable(jax.jit(perturbed(self.jaxpr)))


def _moved(x: np.ndarray, line: np.ndarray, part: np.ndarray, step: float) -> np.ndarray:
    moved = x.copy()
    moved[slice(*part)] += step * line[slice(*part)]
    return moved


def concatenated(programs: Iterable[Program]) -> Program:
    """Return one program for the outputs of several traced ones, one after the other: it takes less to compile."""
    programs = tuple(programs)

    def call(*vectors: Any) -> Any:
        return lax.concatenate([program.without_rules(*vectors) for program in programs], 0)

    return Program(call, programs[0].sizes, STRATEGIES[0])
