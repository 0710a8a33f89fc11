"""Keep XLA's CPU compiler from fusing a computation with its surroundings.

XLA fuses elementwise loops into one. That saves memory, but if one part cannot be vectorised, none is: LeNet-5's C1 as
a sum of shifted images takes 0.8 ms and tanh of the result 0.5; fused, the two take 10, and 23 with average pooling. On
CPUs `optimization_barrier` is removed before fusion (as of jaxlib 0.10.2), but XLA does not fuse across a branch.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["never", "unfused"]


def unfused(compute: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """Return compute(*arrays), fused with nothing before or after it.

    >>> print(unfused(jnp.add, jnp.ones(2), jnp.ones(2)))
    [2. 2.]
    """
    first = arrays[0]
    if first.size == 0:
        return compute(*arrays)
    result = jax.eval_shape(compute, *arrays)
    zeros = lambda *_: jnp.zeros(result.shape, result.dtype)  # noqa: E731
    return lax.cond(never(first), zeros, compute, *arrays)


def never(array: jax.Array) -> jax.Array:
    """A condition on an array that is not empty, which is always false without the compiler's knowing it.

    >>> print(never(jnp.array([jnp.inf, jnp.nan])))
    False
    """
    # No sign exceeds 2, not even that of NaN. The element is taken from the centre, because the edge may be padding,
    # which is a constant to the compiler.
    return lax.sign(jnp.real(array[tuple(n // 2 for n in array.shape)])) > 2
