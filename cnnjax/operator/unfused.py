"""Keep a computation apart from what surrounds it, in XLA's CPU compiler.

XLA fuses loops over elements into one loop. That saves memory, but what cannot be vectorised in one part is not in the
others either: LeNet-5's C1 as a sum of shifted images takes 0.8 ms, tanh of the result 0.5, both fused 10, with
average-pooling behind them 23. `optimization_barrier` is taken out before fusion on CPUs (seen in jaxlib 0.10.2), so
a branch is what keeps them apart.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["unfused"]


def unfused(compute: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """compute(*arrays), fused with nothing before or after it.

    >>> print(unfused(jnp.add, jnp.ones(2), jnp.ones(2)))
    [2. 2.]
    """
    first = arrays[0]
    if first.size == 0:
        return compute(*arrays)
    # A sign is never above 2, also not that of NaN, but compilers do not know; in the centre because the edge may be
    # padding, which they do know.
    centre = first[tuple(n // 2 for n in first.shape)]
    result = jax.eval_shape(compute, *arrays)
    never = lambda *_: jnp.zeros(result.shape, result.dtype)  # noqa: E731
    return lax.cond(lax.sign(centre) > 2, never, compute, *arrays)
