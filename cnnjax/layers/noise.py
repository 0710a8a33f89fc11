"""Layers that drop units or whole branches in training, and pass their input on otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax._core.messages import describe, value_error
from cnnjax.layers.base import Parameterless, Params, Shape

__all__ = ["Dropout", "StochasticDepth"]


@dataclass(frozen=True)
class _Noise(Parameterless):
    """A layer that sets a random part of its input to zero in training, and scales up what is left."""

    draws: ClassVar[bool] = True

    rate: float = 0.5

    def __post_init__(self) -> None:
        """Check that something may be left."""
        if not isinstance(self.rate, (int, float)) or not 0 <= self.rate < 1:
            raise value_error(
                type(self).__name__,
                "rate",
                got=describe(self.rate),
                expected="a probability from 0 to below 1",
                fix="use for example rate=0.5",
            )

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Return (N, *shape) as it is."""
        return x

    def apply_training(
        self, params: Params, x: jax.Array, key: jax.Array, axis_name: str | None
    ) -> tuple[jax.Array, Params]:
        """Set a random part of (N, *shape) to zero."""
        shape = self.independent(x.shape[1:])

        # Each image has a key of its own, so that the numbers do not depend on how devices share the batch.
        first = 0 if axis_name is None else lax.axis_index(axis_name) * x.shape[0]
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(x.shape[0], dtype=jnp.int32))
        keep = np.float32(1 - self.rate)  # the same numbers whether or not 64-bit types are enabled
        kept = jax.vmap(lambda key: jax.random.bernoulli(key, keep, shape))(keys)
        return jnp.where(jnp.broadcast_to(kept, x.shape), x / (1 - self.rate), jnp.zeros((), x.dtype)), params

    def independent(self, shape: Shape) -> Shape:
        """Return the shape of the random numbers of one image."""
        raise NotImplementedError


@dataclass(frozen=True)
class Dropout(_Noise):
    """Dropout: in training, each unit is zero with probability `rate`, and divided by 1 - rate otherwise.

    Args:
        rate: the probability that a unit is dropped.

    Raises:
        ArgumentValueError: for a rate outside 0 <= rate < 1.

    Example:
        >>> x = jnp.ones((1, 6))
        >>> print(Dropout(0.5).apply({}, x), Dropout(0.5).apply_training({}, x, jax.random.key(0), None)[0])
        [[1. 1. 1. 1. 1. 1.]] [[...]]

    Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".
    """

    def independent(self, shape: Shape) -> Shape:
        """Return the shape of the input: each unit is dropped on its own."""
        return shape


@dataclass(frozen=True)
class StochasticDepth(_Noise):
    """Stochastic depth: in training, the whole volume of an image is zero with probability `rate`.

    It stands at the end of a residual branch, which an image then passes by; otherwise the branch is divided by
    1 - rate.

    Args:
        rate: the probability that the volume is dropped.

    Raises:
        ArgumentValueError: for a rate outside 0 <= rate < 1.

    Example:
        >>> x = jnp.ones((4, 2))
        >>> print(StochasticDepth(0.5).apply_training({}, x, jax.random.key(0), None)[0].sum(1) % 4)
        [0. 0. 0. 0.]

    Source: Huang et al. 2016, "Deep networks with stochastic depth".
    """

    def independent(self, shape: Shape) -> Shape:
        """Return an axis of size 1 for each axis: one number for the image."""
        return (1,) * len(shape)
