"""Initialisers of weights, each with its source.

An initialiser is a value that is called as `initialiser(key, shape, fan_in, fan_out, dtype)`. The last axis of `shape`
counts output maps or units. `fan_in`, the number of inputs of a unit without its bias, may differ between
output maps (C3 of LeNet-5: 75, 100 and 150) and is then an array over that axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

__all__ = ["Constant", "GlorotUniform", "HeNormal", "Initialiser", "LeCunUniform", "Normal"]


class Initialiser(Protocol):
    """A function of (key, shape, fan_in, fan_out, dtype) by which layers draw their weights."""

    def __call__(
        self, key: jax.Array, shape: tuple[int, ...], fan_in: ArrayLike, fan_out: ArrayLike, dtype: DTypeLike
    ) -> jax.Array:
        """Draw an array of `shape`."""
        ...


@dataclass(frozen=True)
class LeCunUniform:
    """The initialiser of 1998, uniform with a bound inverse to the fan-in::

        w ~ U(-bound / fan_in, bound / fan_in)

    It scales by 1 / fan_in instead of its square root, because it assumes that the inputs of a unit are highly
    correlated.

    Args:
        bound: 2.4 in the paper.

    Example:
        >>> w = LeCunUniform()(jax.random.key(0), (5, 5, 1, 6), 25, 150, jnp.float32)
        >>> bool(abs(w).max() <= 2.4 / 25)
        True

    Source: LeCun et al. 1998, section III.B and appendix A.
    """

    bound: float = 2.4

    def __call__(
        self, key: jax.Array, shape: tuple[int, ...], fan_in: ArrayLike, fan_out: ArrayLike, dtype: DTypeLike
    ) -> jax.Array:
        """Draw the weights."""
        bounds = jnp.broadcast_to(self.bound / jnp.asarray(fan_in, dtype), shape[-1:])
        return jax.random.uniform(key, shape, dtype, -1, 1) * _over_last_axis(bounds, shape)


@dataclass(frozen=True)
class GlorotUniform:
    """Uniform, with the variance of Glorot and Bengio::

        w ~ U(-r, r),   r = sqrt(6 / (fan_in + fan_out // pool_area))

    Args:
        pool_area: the pixels in a window of the max-pooling that follows, where one unit in pool_area receives a
            gradient; the deeplearning.net tutorial divides the fan-out by it. 1 is the rule of the paper.

    Example:
        >>> w = GlorotUniform()(jax.random.key(0), (800, 500), 800, 500, jnp.float32)
        >>> bool(abs(w).max() <= (6 / 1300) ** 0.5)
        True

    Source: Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks",
    equation 16.
    """

    pool_area: int = 1

    def __call__(
        self, key: jax.Array, shape: tuple[int, ...], fan_in: ArrayLike, fan_out: ArrayLike, dtype: DTypeLike
    ) -> jax.Array:
        """Draw the weights."""
        fans = jnp.asarray(fan_in) + jnp.asarray(fan_out) // self.pool_area
        bounds = jnp.broadcast_to(jnp.sqrt(6 / fans.astype(dtype)), shape[-1:])
        return jax.random.uniform(key, shape, dtype, -1, 1) * _over_last_axis(bounds, shape)


@dataclass(frozen=True)
class HeNormal:
    """Normal, for layers followed by a rectifier::

        w ~ N(0, 2 / fan_in)

    Example:
        >>> w = HeNormal()(jax.random.key(0), (3, 3, 64, 64), 576, 576, jnp.float32)
        >>> print(round(float(w.std()), 3))
        0.059

    Source: He, Zhang, Ren and Sun 2015, "Delving deep into rectifiers", equation 10.
    """

    def __call__(
        self, key: jax.Array, shape: tuple[int, ...], fan_in: ArrayLike, fan_out: ArrayLike, dtype: DTypeLike
    ) -> jax.Array:
        """Draw the weights."""
        deviations = jnp.broadcast_to(jnp.sqrt(2 / jnp.asarray(fan_in, dtype)), shape[-1:])
        return jax.random.normal(key, shape, dtype) * _over_last_axis(deviations, shape)


@dataclass(frozen=True)
class Normal:
    """Normal with a given deviation, whatever the fans::

        w ~ N(0, deviation^2)

    Args:
        deviation: the standard deviation.

    Example:
        >>> w = Normal(0.01)(jax.random.key(0), (100, 100), 100, 100, jnp.float32)
        >>> print(round(float(w.std()), 3))
        0.01

    Source: Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural networks",
    section 5.
    """

    deviation: float

    def __call__(
        self, key: jax.Array, shape: tuple[int, ...], fan_in: ArrayLike, fan_out: ArrayLike, dtype: DTypeLike
    ) -> jax.Array:
        """Draw the weights."""
        return jax.random.normal(key, shape, dtype) * self.deviation


@dataclass(frozen=True)
class Constant:
    """Every entry has the same value.

    Args:
        value: zero by default.

    Example:
        >>> print(Constant(0.5)(jax.random.key(0), (3,), 1, 1, jnp.float32))
        [0.5 0.5 0.5]
    """

    value: float = 0.0

    def __call__(
        self, key: jax.Array, shape: tuple[int, ...], fan_in: ArrayLike, fan_out: ArrayLike, dtype: DTypeLike
    ) -> jax.Array:
        """Fill the array."""
        return jnp.full(shape, self.value, dtype)


def _over_last_axis(values: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return values.reshape((1,) * (len(shape) - 1) + values.shape)
