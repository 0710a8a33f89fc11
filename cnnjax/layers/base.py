"""What every layer provides: the protocol, its counts, and the checks that several layers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
from jax.typing import DTypeLike

from cnnjax._core.messages import describe, type_error, value_error
from cnnjax._core.shapes import Geometry
from cnnjax.activations import ACTIVATIONS, ActivationName

__all__ = [
    "Activation",
    "Counts",
    "Layer",
    "Parameterless",
    "Params",
    "Pixels",
    "Shape",
    "activation_function",
    "check_activation",
    "check_is_image",
]

Shape = tuple[int, ...]
"""The axes of one input or output, without the batch axis: (H, W, C) or (n,)."""

Params = dict[str, jax.Array]
"""The parameters of one layer: "w" for the weights, "b" for the biases, "mean" and "var" for running statistics."""

Pixels = int | tuple[int, int]
"""A number of pixels along both axes, or (height, width)."""

Activation = ActivationName | Callable[[jax.Array], jax.Array]
"""A name in `cnnjax.ACTIVATIONS`, or an elementwise function."""


@dataclass(frozen=True)
class Counts:
    """The size of a layer, for one image.

    A connection is one input of one unit, its bias included, as LeCun et al. 1998 count; a multiply-accumulate (MAC)
    is one product of a weight and a value.

    Attributes:
        num_weights: trainable weights.
        num_biases: trainable biases.
        num_connections: connections of all units.
        num_macs: multiply-accumulates.

    Example:
        >>> import cnnjax
        >>> cnnjax.layers.Conv2D(16, 5).counts((14, 14, 6))
        Counts(num_weights=2400, num_biases=16, num_connections=241600, num_macs=240000)
    """

    num_weights: int = 0
    num_biases: int = 0
    num_connections: int = 0
    num_macs: int = 0

    @property
    def num_parameters(self) -> int:
        """Trainable parameters: weights + biases."""
        return self.num_weights + self.num_biases


@runtime_checkable
class Layer(Protocol):
    """What a network requires of a layer. `shape` is that of one input, without the batch axis.

    A layer whose smallest output names the class, such as a distance, also has an attribute `smallest_wins = True`. A
    layer with a method `parameter_shapes(shape)`, which returns the shape of each parameter by its key, has the
    parameters that it is given checked; all layers of cnnjax have it.

    A layer that combines several volumes has an attribute `combines = True`; its `x` is then a tuple of arrays, and its
    `shape` a tuple of shapes. A layer that does something else in training has a method `apply_training(params, x,
    key, axis_name)`, which returns the output and the parameters with fresh statistics; the names of these are its
    attribute `statistics`. A layer with an attribute `draws = True` draws random numbers and needs the key, which is
    None where it was not given. `axis_name` is the axis of a mesh along which the batch is shared, or None.
    """

    def init(self, key: jax.Array, shape: Any, dtype: DTypeLike) -> Params:
        """Draw the parameters."""
        ...

    def apply(self, params: Params, x: Any) -> jax.Array:
        """Map a batch (N, *shape) to (N, *output_shape(shape))."""
        ...

    def output_shape(self, shape: Any) -> Shape:
        """Return the shape of the output for one image."""
        ...

    def counts(self, shape: Any) -> Counts:
        """Return the numbers of weights, biases, connections and multiply-accumulates."""
        ...

    def geometry(self, shape: Any) -> Geometry | None:
        """Return where one unit reads; None for an input without height and width."""
        ...


class Parameterless:
    """What a layer without parameters and connections shares, whose units read their own pixel."""

    def init(self, key: jax.Array, shape: Any, dtype: DTypeLike) -> Params:
        """Return no parameters."""
        return {}

    def parameter_shapes(self, shape: Any) -> dict[str, Shape]:
        """Return the shape of each parameter: there are none."""
        return {}

    def output_shape(self, shape: Any) -> Shape:
        """Return the shape of the input."""
        return shape

    def counts(self, shape: Any) -> Counts:
        """Count nothing: there are no weights."""
        return Counts()

    def geometry(self, shape: Any) -> Geometry | None:
        """Return None: a unit reads its own pixel."""
        return None


def activation_function(activation: Activation) -> Callable[[jax.Array], jax.Array]:
    """Return the function that an activation stands for."""
    return activation if callable(activation) else ACTIVATIONS[activation]


def check_activation(caller: str, activation: Any) -> None:
    """Raise unless `activation` is a name in `ACTIVATIONS` or a function."""
    if callable(activation) or (isinstance(activation, str) and activation in ACTIVATIONS):
        return
    error = value_error if isinstance(activation, str) else type_error
    expected = f"one of {', '.join(ACTIVATIONS)}, or an elementwise function"
    raise error(caller, "activation", got=describe(activation), expected=expected, fix='use "identity" for none')


def check_is_image(caller: str, shape: Shape) -> None:
    """Raise ArgumentValueError unless `shape` is (H, W, C)."""
    if len(shape) != 3:
        raise value_error(
            caller,
            "shape",
            got=f"{shape}",
            expected="the axes (H, W, C) of a volume of maps",
            fix="put this layer before the dense ones",
        )
