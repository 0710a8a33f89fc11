"""A value that is not finite reaches only the results that read it.

Some methods multiply data by zeros that are not in the arrays: those beside the blocks of a block-diagonal kernel, off
the band of a Toeplitz matrix, between or around the pixels of a dilated cotangent. That adds nothing, unless a factor
is NaN or infinite: 0 * inf = NaN in a result that has nothing to do with it. Such a method runs only if the operands
concerned are finite; else every product is computed as the definition has it, and no other.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.operator import tap_loop
from cnnjax.operator.method import Method
from cnnjax.operator.spec import ConvSpec, Direction

__all__ = ["contained"]

# Shorter rows would make a slow product.
_WIDE = 16


def contained(method: Method, direction: Direction, a: jax.Array, b: jax.Array, spec: ConvSpec) -> jax.Array:
    """Compute a direction by a method, or tap by tap if a number that the method would spread is not finite."""
    compute, exact = method.direction(direction), getattr(tap_loop, direction)
    sums = spec.accumulation_dtype
    finite = [_is_finite((a, b)[operand]) for operand in method.spreads(direction, spec)]
    return lax.cond(
        functools.reduce(jnp.logical_and, finite),
        lambda a, b: compute(a, b, spec),
        lambda a, b: exact(a.astype(sums), b.astype(sums), spec).astype(a.dtype),
        a,
        b,
    )


def _is_finite(array: jax.Array) -> jax.Array:
    """Whether all numbers are finite: 0 times any other number is NaN.

    As a product with a vector of zeros the test runs at the speed of the memory, several times that of a reduction.
    """
    *outer, length, maps = array.shape
    # The rows are not made one matrix, because JAX cannot always multiply symbolic sizes.
    rows = array if maps >= _WIDE else array.reshape(*outer, length * maps)
    return jnp.sum(jnp.matmul(rows, jnp.zeros(rows.shape[-1], array.dtype))) == 0
