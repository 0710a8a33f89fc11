"""Layers that select, reorder, scale or flatten maps, and activation functions as layers of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from cnnjax._core.messages import value_error
from cnnjax._core.shapes import Geometry, integers
from cnnjax.init import Constant, Initialiser
from cnnjax.layers.base import Counts, Parameterless, Params, Shape, activation_function, check_activation
from cnnjax.layers.parameters import check_layer_params

__all__ = ["Activation", "ChannelShuffle", "Flatten", "LayerScale", "PReLU", "SelectMaps"]


@dataclass(frozen=True)
class Activation(Parameterless):
    """An activation function as a layer of its own; most layers have an argument `activation` instead.

    Args:
        function: a name in `cnnjax.ACTIVATIONS` or an elementwise function.

    Raises:
        ArgumentValueError, ArgumentTypeError: for anything else.

    Example:
        >>> Activation("relu").apply({}, jnp.array([[-1.0, 2.0]])).tolist()
        [[0.0, 2.0]]
    """

    function: Any

    def __post_init__(self) -> None:
        """Check the function."""
        check_activation("Activation", self.function)

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Apply the function to every unit of (N, *shape)."""
        return activation_function(self.function)(x)


@dataclass(frozen=True)
class SelectMaps(Parameterless):
    """The maps from `first` to below `stop`.

    Args:
        first: the first map.
        stop: the map after the last.

    Raises:
        ArgumentValueError, ArgumentTypeError: for a range that is empty or that the input does not have.

    Example:
        >>> SelectMaps(0, 58).output_shape((28, 28, 116))
        (28, 28, 58)
    """

    first: int
    stop: int

    def __post_init__(self) -> None:
        """Check what does not depend on the input."""
        integers("SelectMaps", "first", self.first, 1, least=0)
        integers("SelectMaps", "stop", self.stop, 1, least=self.first + 1)

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Return the selected maps of (N, *shape)."""
        self.output_shape(x.shape[1:])
        return x[..., self.first : self.stop]

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the input with the number of the selected maps."""
        if self.stop > shape[-1]:
            raise value_error(
                "SelectMaps",
                "stop",
                got=f"{self.stop}",
                expected=f"at most {shape[-1]}, the number of maps of the input",
                fix=f"use stop={shape[-1]}",
            )
        return (*shape[:-1], self.stop - self.first)


@dataclass(frozen=True)
class ChannelShuffle(Parameterless):
    """The maps in another order: the first of each group, then the second of each group, and so on::

        y[..., i * groups + g] = x[..., g * n + i],   n = maps / groups

    Args:
        groups: the number of groups of neighbouring maps.

    Raises:
        ArgumentValueError, ArgumentTypeError: if the maps do not divide into the groups.

    Example:
        >>> print(ChannelShuffle(2).apply({}, jnp.arange(6)[None]))
        [[0 3 1 4 2 5]]

    Source: Zhang et al. 2018, "ShuffleNet", section 3.1.
    """

    groups: int

    def __post_init__(self) -> None:
        """Check what does not depend on the input."""
        integers("ChannelShuffle", "groups", self.groups, 1, least=1)

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Reorder the maps of (N, *shape)."""
        maps = self.output_shape(x.shape[1:])[-1]
        grouped = x.reshape(*x.shape[:-1], self.groups, maps // self.groups)
        return jnp.swapaxes(grouped, -1, -2).reshape(x.shape)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the input, whose maps have to divide into the groups."""
        if shape[-1] % self.groups:
            raise value_error(
                "ChannelShuffle",
                "groups",
                got=f"{self.groups}",
                expected=f"a divisor of the {shape[-1]} maps of the input",
                fix=f"use groups={math.gcd(self.groups, shape[-1])}",
            )
        return shape


@dataclass(frozen=True)
class Flatten(Parameterless):
    """The values of a volume as units, in the order of the axes (H, W, C). `Dense` flattens by itself.

    Example:
        >>> Flatten().output_shape((1, 1, 1000))
        (1000,)
    """

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Map (N, *shape) to (N, units)."""
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))

    def output_shape(self, shape: Shape) -> Shape:
        """Return (units,)."""
        return (math.prod(shape),)


@dataclass(frozen=True)
class _NumberForEachMap:
    """A layer with one trained number for each map."""

    weight_init: Initialiser

    def init(self, key: jax.Array, shape: Shape, dtype: DTypeLike) -> Params:
        """Draw w."""
        return {"w": self.weight_init(key, shape[-1:], 1, 1, dtype)}

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the shape of w, (C,)."""
        return {"w": shape[-1:]}

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Map (N, *shape) to (N, *shape)."""
        check_layer_params(self, params, x, x.shape[1:])
        return self.change(x, params["w"].reshape((1,) * (x.ndim - 1) + x.shape[-1:]))

    def change(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """Return the output for an input (N, *shape) and numbers (1, ..., 1, C)."""
        raise NotImplementedError

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the input."""
        return shape

    def counts(self, shape: Shape) -> Counts:
        """Count a weight for each map; no connections, since a unit reads only itself."""
        return Counts(num_weights=shape[-1])

    def geometry(self, shape: Shape) -> Geometry | None:
        """Return None: a unit reads its own pixel."""
        return None


@dataclass(frozen=True)
class LayerScale(_NumberForEachMap):
    """A trained number for each map, at the end of a residual branch::

        y = x * w[c],   w (C,)

    Args:
        weight_init: initialiser of w; a small constant, so that a deep network starts close to the identity.

    Example:
        >>> LayerScale().counts((56, 56, 96)).num_parameters
        96

    Source: Touvron et al. 2021, "Going deeper with image transformers", section 3.
    """

    weight_init: Initialiser = Constant(1e-6)

    def change(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """Return the scaled input."""
        return x * w


@dataclass(frozen=True)
class PReLU(_NumberForEachMap):
    """A rectifier whose slope below zero is trained, one for each map::

        y = x if x > 0 else x * w[c],   w (C,)

    Args:
        weight_init: initialiser of w, 1/4 by default.

    Example:
        >>> print(PReLU().apply({"w": jnp.array([0.25, 0.5])}, jnp.array([[4.0, -4.0]])))
        [[ 4. -2.]]

    Source: He, Zhang, Ren and Sun 2015, "Delving deep into rectifiers", equation 1.
    """

    weight_init: Initialiser = Constant(0.25)

    def change(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """Return the rectified input."""
        return jnp.where(x > 0, x, x * w)
