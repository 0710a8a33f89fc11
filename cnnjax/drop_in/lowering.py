"""The lowerings of convolutions and max pools on CPUs: the operator where it is faster, JAX's own everywhere else."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Generator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import jax
from jax.core import ShapedArray
from jax.extend.core.primitives import conv_general_dilated_p, reduce_window_max_p, select_and_scatter_add_p
from jax.interpreters import mlir

from cnnjax.drop_in.max_pooling import add_to_maxima, maxima, why_gradient_is_left, why_maxima_are_left
from cnnjax.drop_in.recognition import Recognised, recognise
from cnnjax.drop_in.record import Operation, record
from cnnjax.operator._jax import cpu_lowering, cpu_platform, lower_computation
from cnnjax.operator.choice import choose, compute
from cnnjax.operator.spec import Platform, is_this_cpu

__all__ = ["install", "switch"]

switch = jax.make_user_context(False)
"""Whether drop_in is on; it is part of the key under which JAX stores what it has traced and compiled."""

# The operator's methods contain convolutions of their own, which are JAX's.
_within_method: ContextVar[bool] = ContextVar("within_method", default=False)


@dataclass(frozen=True)
class _Decision:
    """What becomes of a call: `run(*operands)` computes it, or JAX if that is None."""

    operation: Operation
    method: str
    reason: str
    run: Callable[..., jax.Array] | None = None


@functools.cache
def install() -> None:
    """Put the lowerings in front of JAX's own, which they call while drop_in is off and for all that is left to JAX."""
    decide_by = {
        conv_general_dilated_p: _decide_convolution,
        reduce_window_max_p: _decide_maxima,
        select_and_scatter_add_p: _decide_gradient,
    }
    rules = {primitive: _rule(cpu_lowering(primitive), decide) for primitive, decide in decide_by.items()}
    for primitive, rule in rules.items():  # after all of JAX's own have been found
        mlir.register_lowering(primitive, rule, platform="cpu")


def _rule(own: Callable[..., Any], decide: Callable[..., _Decision]) -> Callable[..., Any]:
    def lower(context: mlir.LoweringRuleContext, *operands: Any, **params: Any) -> Any:
        if not switch.value or _within_method.get():
            return own(context, *operands, **params)
        platform = cpu_platform(context)
        shapes: list[Any] = [*context.avals_in]
        out: Any = context.avals_out[0]
        decision = decide(shapes, out, platform, params)
        record(decision.operation, shapes, out, platform, decision.method, decision.reason)
        if decision.run is None:
            return own(context, *operands, **params)
        with _methods_call_jax():
            return lower_computation(context, decision.run, *operands)

    return lower


def _decide_convolution(
    shapes: list[ShapedArray], out: ShapedArray, platform: Platform, params: dict[str, Any]
) -> _Decision:
    lhs, rhs = shapes
    call = recognise(lhs, rhs, out, **params)
    if isinstance(call, str):
        return _Decision("convolution", "lax", call)
    choice = choose(call.direction, call.spec, platform)
    run = functools.partial(_run, call, out.dtype, platform)
    return _Decision(call.direction, *choice, None if choice.method == "lax" else run)


def _run(call: Recognised, dtype: Any, platform: Platform, lhs: jax.Array, rhs: jax.Array) -> jax.Array:
    return call.result(compute(call.direction, *call.operands(lhs, rhs), call.spec, dtype, platform))


def _decide_maxima(
    shapes: list[ShapedArray], out: ShapedArray, platform: Platform, params: dict[str, Any]
) -> _Decision:
    (operand,) = shapes
    left = _why_partitioned(platform) or why_maxima_are_left(operand, out, **params)
    return _decide_pool("max_pool", left, functools.partial(maxima, **params))


def _decide_gradient(
    shapes: list[ShapedArray], out: ShapedArray, platform: Platform, params: dict[str, Any]
) -> _Decision:
    source, operand = shapes
    left = _why_partitioned(platform) or why_gradient_is_left(source, operand, **params)
    return _decide_pool("max_pool_gradient", left, functools.partial(add_to_maxima, **params))


def _why_partitioned(platform: Platform) -> str | None:
    return None if is_this_cpu(platform) else "the program is exported, or partitioned over several devices"


def _decide_pool(operation: Operation, left: str | None, run: Callable[..., jax.Array]) -> _Decision:
    if left is not None:
        return _Decision(operation, "lax", left)
    return _Decision(operation, "shift", "comparisons of shifted images: XLA's loop over windows is scalar", run)


@contextlib.contextmanager
def _methods_call_jax() -> Generator[None]:
    token = _within_method.set(True)
    try:
        yield
    finally:
        _within_method.reset(token)
