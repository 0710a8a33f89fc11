"""A convolution inside JAX loops: time of an iteration compared with the same call outside (jax issue 12868)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks import timing
from benchmarks.convolution.implementations import build
from benchmarks.convolution.shapes import Shape
from cnnjax.operator.spec import DIRECTIONS

__all__ = ["LOOPS", "OUTSIDE", "times"]

Step = Callable[..., jax.Array]
_ITERATIONS = 4
OUTSIDE = "outside"


def _scan(step: Step, zero: jax.Array, items: Any) -> jax.Array:
    return lax.scan(lambda total, item: (total + step(*item), None), zero, items)[0]


def _fori_loop(step: Step, zero: jax.Array, items: Any) -> jax.Array:
    return lax.fori_loop(0, _ITERATIONS, lambda i, total: total + step(*_item(items, i)), zero)


def _while_loop(step: Step, zero: jax.Array, items: Any) -> jax.Array:
    """A loop whose number of iterations is only known at run time."""
    last = _ITERATIONS - 1 + jnp.isnan(zero.ravel()[0]).astype(int)
    body = lambda state: (state[0] + 1, state[1] + step(*_item(items, state[0])))  # noqa: E731
    return lax.while_loop(lambda state: state[0] <= last, body, (0, zero))[1]


def _item(items: Any, i: Any) -> Any:
    return jax.tree.map(lambda stacked: stacked[i], items)


LOOPS = {"scan": _scan, "fori_loop": _fori_loop, "while_loop": _while_loop}


def times(shape: Shape, names: Sequence[str], **protocol: float) -> dict[str, dict[str, dict[str, float]]]:
    """{implementation: {direction: {loop: ms of one iteration}}} for implementations in JAX, OUTSIDE among the loops.

    Each iteration reads other images or cotangents, and adds its result to an accumulator.
    """
    calls: dict[str, dict[str, timing.Thunk]] = {}
    for name in names:
        programs = build(name, shape).programs
        calls |= {name: {f"{d} {loop}": call for d in DIRECTIONS for loop, call in _calls(*programs[d], d).items()}}
    found = timing.time_alternately(calls, **protocol)  # type: ignore[arg-type]

    def one_iteration(name: str, direction: str, loop: str) -> float:
        return float(f"{found[name][f'{direction} {loop}']['ms'] / (1 if loop == OUTSIDE else _ITERATIONS):.4g}")

    loops = (OUTSIDE, *LOOPS)
    return {name: {d: {loop: one_iteration(name, d, loop) for loop in loops} for d in DIRECTIONS} for name in calls}


def _calls(program: Any, arguments: tuple[Any, ...], direction: str) -> dict[str, timing.Thunk]:
    """The direction once and in every loop; the images are stacked, the weights are shared by all iterations."""
    zero = jnp.zeros_like(program(*arguments))
    weights = {"forward": 1, "input_gradient": 0}.get(direction)
    images = [i for i in range(len(arguments)) if i != weights]
    items = tuple(jnp.stack([arguments[i]] * _ITERATIONS) for i in images)

    def step(fixed: jax.Array, *of_item: jax.Array) -> jax.Array:
        given = list(of_item)
        if weights is not None:
            given.insert(weights, fixed)
        return program(*given)

    fixed = zero if weights is None else arguments[weights]

    def call(compiled: Any, *of_call: Any) -> timing.Thunk:
        return lambda: compiled(*of_call).block_until_ready()

    once = jax.jit(lambda fixed, zero, items: zero + step(fixed, *items))
    found = {OUTSIDE: call(once, fixed, zero, tuple(arguments[i] for i in images))}
    for name, loop in LOOPS.items():
        many = jax.jit(lambda fixed, zero, items, loop=loop: loop(lambda *item: step(fixed, *item), zero, items))
        found[name] = call(many, fixed, zero, items)
    return found
