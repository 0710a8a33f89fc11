"""Layers that combine several volumes into one: sum, product, concatenation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import jax
import jax.numpy as jnp

from cnnjax._core.messages import value_error
from cnnjax.layers.base import Activation, Parameterless, Params, Shape, activation_function, check_activation

__all__ = ["Add", "Concatenate", "Multiply"]


@dataclass(frozen=True)
class _Combination(Parameterless):
    """A layer of several inputs, which are passed as a tuple of arrays, and their shapes as a tuple of shapes."""

    combines: ClassVar[bool] = True

    activation: Activation = "identity"

    def __post_init__(self) -> None:
        """Check what does not depend on the input."""
        check_activation(type(self).__name__, self.activation)

    def apply(self, params: Params, x: tuple[jax.Array, ...]) -> jax.Array:
        """Combine batches (N, *shape), one for each input, and apply the activation."""
        self.output_shape(tuple(one.shape[1:] for one in x))
        return activation_function(self.activation)(self.combine(x))

    def combine(self, x: tuple[jax.Array, ...]) -> jax.Array:
        """Combine batches, without the activation."""
        raise NotImplementedError


@dataclass(frozen=True)
class Add(_Combination):
    """The sum of several volumes of the same shape, then an activation function::

        y = f(x_1 + x_2 + ...)

    Args:
        activation: a name in `cnnjax.ACTIVATIONS` or an elementwise function.

    Raises:
        ArgumentValueError: for volumes of different shapes.

    Example:
        >>> Add(activation="relu").apply({}, (jnp.array([[1.0, 2.0]]), jnp.array([[3.0, -4.0]]))).tolist()
        [[4.0, 0.0]]

    Source: the shortcuts of He et al. 2016, "Deep residual learning for image recognition", equation 1.
    """

    def combine(self, x: tuple[jax.Array, ...]) -> jax.Array:
        """Return the sum."""
        return reduce(jnp.add, x)

    def output_shape(self, shape: tuple[Shape, ...]) -> Shape:
        """Return the shape that all inputs have."""
        if len(set(shape)) > 1:
            raise _unequal("Add", shape, "the same shape for all of them", "make them equal, by a 1x1 convolution")
        return shape[0]


@dataclass(frozen=True)
class Multiply(_Combination):
    """The product of a volume and a number for each of its maps, then an activation function::

        y[n, i, j, c] = f(x[n, i, j, c] * scale[n, 0, 0, c]),   x (N, H, W, C),  scale (N, 1, 1, C) or like x

    Args:
        activation: a name in `cnnjax.ACTIVATIONS` or an elementwise function.

    Raises:
        ArgumentValueError: for anything but two such volumes.

    Example:
        >>> Multiply().output_shape(((14, 14, 96), (1, 1, 96)))
        (14, 14, 96)

    Source: the scale of Hu, Shen and Sun 2018, "Squeeze-and-excitation networks", equation 4.
    """

    def combine(self, x: tuple[jax.Array, ...]) -> jax.Array:
        """Return the product."""
        return reduce(jnp.multiply, x)

    def output_shape(self, shape: tuple[Shape, ...]) -> Shape:
        """Return the shape of the first input."""
        first, *others = shape
        if others not in ([first], [(1, 1, first[-1])]):
            expected = f"{first} and the same shape, or (1, 1, {first[-1]})"
            raise _unequal("Multiply", shape, expected, "pass the volume first, then a number for each of its maps")
        return first


@dataclass(frozen=True)
class Concatenate(_Combination):
    """The maps of several volumes one after the other, then an activation function.

    Args:
        activation: a name in `cnnjax.ACTIVATIONS` or an elementwise function.

    Raises:
        ArgumentValueError: for volumes of different height or width.

    Example:
        >>> Concatenate().output_shape(((28, 28, 64), (28, 28, 128)))
        (28, 28, 192)

    Source: the filter concatenation of Szegedy et al. 2015, "Going deeper with convolutions", figure 2.
    """

    def combine(self, x: tuple[jax.Array, ...]) -> jax.Array:
        """Return the maps of all inputs."""
        return jnp.concatenate(x, axis=-1)

    def output_shape(self, shape: tuple[Shape, ...]) -> Shape:
        """Return the common height and width, and the sum of the maps."""
        if len({one[:-1] for one in shape}) > 1:
            raise _unequal("Concatenate", shape, "the same height and width for all of them", "pad or crop them")
        return (*shape[0][:-1], sum(one[-1] for one in shape))


def _unequal(caller: str, shapes: tuple[Shape, ...], expected: str, fix: str) -> Exception:
    return value_error(caller, "shape", got=f"of inputs {', '.join(map(str, shapes))}", expected=expected, fix=fix)
