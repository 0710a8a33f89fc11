"""Mixed precision: compute in 16 bits with the parameters in float32, and loss scaling for float16."""

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

__all__ = ["scale_loss", "with_compute_dtype"]


def with_compute_dtype(network: Network, dtype: DTypeLike) -> Network:
    """Return the network that casts parameters and images to a dtype, computes in it, and casts the result back::

        apply(params, x) = cast(network.apply(cast(params, dtype), cast(x, dtype)), x.dtype)

    The parameters, their gradients and the optimizer state keep their dtype, usually float32, so that updates too
    small for 16 bits are not lost. Running statistics are neither cast nor rounded. Every convolution accumulates in
    float32 and rounds once.

    Args:
        network: the network.
        dtype: a floating dtype, such as "bfloat16".

    Raises:
        TypeError: for a dtype that is not floating.

    Example:
        >>> import cnnjax
        >>> network = with_compute_dtype(cnnjax.models.lenet5(), "bfloat16")
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
            "with_compute_dtype",
            "dtype",
            got=describe(dtype),
            expected="a floating dtype",
            fix='use "bfloat16" or "float16"',
        )
    return _MixedPrecision(**{field.name: getattr(network, field.name) for field in fields(Network)}, dtype=found)


@dataclass(frozen=True)
class _MixedPrecision(Network):
    dtype: np.dtype[Any] = np.dtype("float32")

    def volumes(self, params: Mapping[str, Params], images: ArrayLike) -> dict[str, jax.Array]:
        """Return every volume, computed in `dtype` and cast back."""
        self.check_inputs(params, images)
        images = jnp.asarray(images)
        volumes = super().volumes(self._cast(params), images.astype(self.dtype))
        return {name: volume.astype(images.dtype) for name, volume in volumes.items()}

    def apply_training(
        self,
        params: Mapping[str, Params],
        images: ArrayLike,
        key: jax.Array | None = None,
        *,
        axis_name: str | None = None,
    ) -> tuple[jax.Array, dict[str, Params]]:
        """Return the output, computed in `dtype` and cast back, and the parameters with fresh statistics."""
        self.check_inputs(params, images)
        images = jnp.asarray(images)
        y, fresh = super().apply_training(self._cast(params), images.astype(self.dtype), key, axis_name=axis_name)
        trained = self.trainable(params)
        kept = jax.tree.map(lambda trained, given, new: given if trained else new, trained, dict(params), fresh)
        return y.astype(images.dtype), kept

    def _cast(self, params: Mapping[str, Params]) -> dict[str, Params]:
        trained = self.trainable(params)
        return jax.tree.map(lambda trained, a: a.astype(self.dtype) if trained else a, trained, dict(params))


def scale_loss(
    loss: Loss, optimizer: optax.GradientTransformation, scale: float = 1024.0
) -> tuple[Loss, optax.GradientTransformation]:
    """Return a loss with a gradient `scale` times as large, and an optimizer that divides by it and skips overflows.

    In float16, numbers below 6e-8 underflow to zero, and the cotangents of a network are mostly small. Scaled by a
    power of two they stay above that, and dividing the float32 gradient of the parameters undoes the scaling without
    rounding. The value of the loss does not change. Up to 100 consecutive steps with an infinite or NaN gradient are
    skipped, and `training.fit` does not treat them as divergence. bfloat16 has the range of float32 and needs no
    scaling.

    Args:
        loss: (scores, labels) -> scalar.
        optimizer: an optax transformation.
        scale: positive, best a power of two.

    Returns:
        The loss and the optimizer to train with.

    Raises:
        ValueError: for a scale that is not positive.

    Example:
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

    def scaled_loss(scores: jax.Array, labels: jax.Array) -> jax.Array:
        constant = lax.stop_gradient(scores)  # equal in value; only the gradient is scaled
        return loss(constant + scale * (scores - constant), labels)

    skipping = optax.apply_if_finite(optax.chain(optax.scale(1 / scale), optimizer), max_consecutive_errors=100)
    return scaled_loss, skipping
