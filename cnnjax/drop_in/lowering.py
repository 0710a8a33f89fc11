"""The lowering of `lax.conv_general_dilated` on CPUs: the operator where it is faster, JAX's own everywhere else."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Generator
from contextvars import ContextVar
from typing import Any

import jax
from jax.extend.core.primitives import conv_general_dilated_p
from jax.interpreters import mlir

from cnnjax.drop_in.recognition import Recognised, recognise
from cnnjax.operator._jax import cpu_lowering, cpu_platform, lower_computation
from cnnjax.operator.choice import choose, compute
from cnnjax.operator.spec import Platform

__all__ = ["install", "switch"]

switch = jax.make_user_context(False)
"""Whether drop_in is on; it is part of the key under which JAX stores what it has traced and compiled."""

# The operator's methods contain convolutions of their own, which are JAX's.
_within_method: ContextVar[bool] = ContextVar("within_method", default=False)


@functools.cache
def install() -> None:
    """Put the lowering in front of JAX's own, which it calls while drop_in is off and for all it does not serve."""
    own = cpu_lowering(conv_general_dilated_p)

    def lower(context: mlir.LoweringRuleContext, lhs: Any, rhs: Any, **params: Any) -> Any:
        if not switch.value or _within_method.get():
            return own(context, lhs, rhs, **params)
        platform = cpu_platform(context)
        shapes: list[Any] = [*context.avals_in, *context.avals_out]
        call = recognise(*shapes, **params)
        if isinstance(call, str) or choose(call.direction, call.spec, platform).method == "lax":
            return own(context, lhs, rhs, **params)
        dtype = shapes[-1].dtype
        with _methods_call_jax():
            return lower_computation(context, functools.partial(_run, call, dtype, platform), lhs, rhs)

    mlir.register_lowering(conv_general_dilated_p, lower, platform="cpu")


def _run(call: Recognised, dtype: Any, platform: Platform, lhs: jax.Array, rhs: jax.Array) -> jax.Array:
    return call.result(compute(call.direction, *call.operands(lhs, rhs), call.spec, dtype, platform))


@contextlib.contextmanager
def _methods_call_jax() -> Generator[None]:
    token = _within_method.set(True)
    try:
        yield
    finally:
        _within_method.reset(token)
