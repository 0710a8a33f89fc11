"""Compute in 16 bits, keep the weights in 32: a network that rounds what it is given, and the loss scaled to match."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from cnnjax._core.messages import describe, type_error, value_error
from cnnjax.layers import Network, Params
from cnnjax.losses import Loss

__all__ = ["computing_in", "scale_loss"]


def computing_in(network: Network, dtype: DTypeLike) -> Network:
    """Return the network that rounds parameters and images to a dtype, computes in it, and gives back their dtype.

        apply(params, x) = cast(network.apply(cast(params, dtype), cast(x, dtype)), x.dtype)

    Parameters stay as they are drawn, usually float32, and so do their gradients and the optimizer's state: an update
    too small for 16 bits is not lost. Sums of products are kept in float32 by every convolution and rounded once.

    Raises:
        TypeError: for a dtype that is not floating.

    >>> import cnnjax
    >>> network = computing_in(cnnjax.models.lenet5(), "bfloat16")
    >>> params = network.init(jax.random.key(0))
    >>> params["c1"]["w"].dtype, network.apply(params, jnp.zeros((2, 32, 32, 1))).dtype
    (dtype('float32'), dtype('float32'))

    Source: Micikevicius et al. 2018, "Mixed precision training", section 3.1.
    """
    try:
        found = jnp.dtype(dtype)
    except TypeError:
        found = None
    if found is None or not jnp.issubdtype(found, jnp.floating):
        raise type_error(
            "computing_in", "dtype", got=describe(dtype), expected="a floating dtype", fix='use "bfloat16" or "float16"'
        )
    return _Rounding(**{field.name: getattr(network, field.name) for field in fields(Network)}, dtype=found)


@dataclass(frozen=True)
class _Rounding(Network):
    dtype: np.dtype[Any] = np.dtype("float32")

    def volumes(self, params: Mapping[str, Params], images: ArrayLike) -> dict[str, jax.Array]:
        """Every volume, computed in `dtype`."""
        self.check_inputs(params, images)
        images = jnp.asarray(images)
        rounded = jax.tree.map(lambda a: a.astype(self.dtype), dict(params))
        volumes = super().volumes(rounded, images.astype(self.dtype))
        return {name: volume.astype(images.dtype) for name, volume in volumes.items()}


def scale_loss(
    loss: Loss, optimizer: optax.GradientTransformation, scale: float = 1024.0
) -> tuple[Loss, optax.GradientTransformation]:
    """Return a loss whose gradient is `scale` times as large, and an optimizer that divides by it and skips overflows.

    In float16 numbers below 6e-8 are zero. What is propagated back is mostly small; times a power of two it stays
    above that, and dividing the float32 gradient of the parameters undoes it without rounding. The value of the loss
    is what it was. Up to 100 steps in a row whose gradient is infinite or NaN change nothing, and `training.fit` does
    not take them for a diverging run. bfloat16 has the range of float32 and does not need it.

    Raises:
        ValueError: for a scale that is not positive.

    >>> loss, optimizer = scale_loss(lambda scores, labels: jnp.mean(scores), optax.sgd(1.0), scale=8.0)
    >>> params = jnp.ones(4)
    >>> value, gradient = jax.value_and_grad(lambda p: loss(p, None))(params)
    >>> print(value, gradient, optimizer.update(gradient, optimizer.init(params))[0])
    1.0 [2. 2. 2. 2.] [-0.25 -0.25 -0.25 -0.25]

    Source: Micikevicius et al. 2018, section 3.2.
    """
    if not isinstance(scale, (int, float)) or not scale > 0:
        raise value_error(
            "scale_loss", "scale", got=describe(scale), expected="a positive number", fix="use a power of two"
        )

    def steeper(scores: jax.Array, labels: jax.Array) -> jax.Array:
        held = lax.stop_gradient(scores)
        return loss(held + scale * (scores - held), labels)

    skipping = optax.apply_if_finite(optax.chain(optax.scale(1 / scale), optimizer), max_consecutive_errors=100)
    return steeper, skipping
