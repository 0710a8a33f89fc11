"""Let XLA's cost analysis count the operations of a convolution.

`jax.jit(f).lower(...).cost_analysis()` adds up the floating-point operations of the instructions of a program. Those of
a custom call are unknown, which is written as -1, and of a loop one iteration is counted. Of the branches of a
condition the larger count is taken. So a computation that is not counted becomes one branch, and XLA's own convolution
the other, which is never taken. That costs 15 to 80 ms of compilation and no time when the program runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Jaxpr, jaxpr_as_fun, jaxprs_in_params

from cnnjax.operator.methods import BY_NAME
from cnnjax.operator.spec import ConvSpec, Direction, widest
from cnnjax.operator.unfused import never

__all__ = ["counted"]

_NOT_COUNTED = ("ffi_call", "scan", "while")


def counted(
    compute: Callable[[jax.Array, jax.Array], jax.Array],
    direction: Direction,
    a: jax.Array,
    b: jax.Array,
    spec: ConvSpec,
) -> jax.Array:
    """Return compute(a, b), a direction of the convolution, in a program whose operations XLA counts."""
    program = jax.make_jaxpr(compute)(a, b)
    run = jaxpr_as_fun(program)
    if _is_counted(program.jaxpr):
        return run(a, b)[0]
    by_xla = lambda a, b: [_by_xla(direction, a, b, spec).astype(program.out_avals[0].dtype)]  # noqa: E731
    return lax.cond(never(a), by_xla, run, a, b)[0]


def _is_counted(program: Jaxpr) -> bool:
    """Whether XLA counts the operations of a program, or those of one branch of every condition."""
    for equation in program.eqns:
        name = equation.primitive.name
        inner = [_is_counted(jaxpr) for jaxpr in jaxprs_in_params(equation.params)]
        if name in _NOT_COUNTED or not (any(inner) if name == "cond" else all(inner)):
            return False
    return True


def _by_xla(direction: Direction, a: jax.Array, b: jax.Array, spec: ConvSpec) -> jax.Array:
    """An array of the result's shape, by a convolution of XLA with as many operations.

    Of several groups XLA makes one with zeros, which has more operations than the definition. Here the input maps of
    the first group are read by the weights of every group instead.
    """
    one_group = replace(spec, c_in=spec.maps_in_group, groups=1)
    a, b = (operand.astype(widest(a.dtype, b.dtype)) for operand in (a, b))
    operands = (a, b) if direction == "input_gradient" else (a[..., : spec.maps_in_group], b)
    result = BY_NAME["lax"].direction(direction)(*operands, one_group)
    return jnp.tile(result, spec.groups) if direction == "input_gradient" else result
