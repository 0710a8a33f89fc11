"""What every layer is: the protocol, what it counts, and the checks that several layers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
from jax.typing import DTypeLike

from cnnjax._core.messages import describe, type_error, value_error
from cnnjax._core.shapes import Geometry, conv_geometry
from cnnjax.activations import ACTIVATIONS, ActivationName

__all__ = [
    "Activation",
    "Counts",
    "Layer",
    "Params",
    "Pixels",
    "Shape",
    "activation_function",
    "check_activation",
    "check_is_image",
    "whole_input",
]

Shape = tuple[int, ...]
Params = dict[str, jax.Array]
Pixels = int | tuple[int, int]
Activation = ActivationName | Callable[[jax.Array], jax.Array]


@dataclass(frozen=True)
class Counts:
    """The size of a layer, for one image.

    A connection is one input of one unit, its bias included, as LeCun et al. 1998 count; a multiply-accumulate (MAC)
    is one product of a weight and a value.
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

    A layer whose smallest output wins, such as a distance, also has an attribute `smallest_wins = True`.
    """

    def init(self, key: jax.Array, shape: Shape, dtype: DTypeLike) -> Params:
        """Draw the parameters."""
        ...

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Map a batch (N, *shape) to (N, *output_shape(shape))."""
        ...

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of the output for one image."""
        ...

    def counts(self, shape: Shape) -> Counts:
        """The numbers of weights, biases, connections and multiply-accumulates."""
        ...

    def geometry(self, shape: Shape) -> Geometry | None:
        """Where one unit reads; None for an input without height and width."""
        ...


def activation_function(activation: Activation) -> Callable[[jax.Array], jax.Array]:
    """Return the function that an activation stands for."""
    return ACTIVATIONS[activation] if isinstance(activation, str) else activation


def check_activation(caller: str, activation: Any) -> None:
    """Raise unless `activation` is a name in `ACTIVATIONS` or a function."""
    if callable(activation) or (isinstance(activation, str) and activation in ACTIVATIONS):
        return
    error = value_error if isinstance(activation, str) else type_error
    expected = f"one of {', '.join(ACTIVATIONS)}, or an elementwise function"
    raise error(caller, "activation", got=describe(activation), expected=expected, fix='use "identity" for none')


def check_is_image(caller: str, shape: Shape) -> None:
    """Raise ValueError unless `shape` is (H, W, C)."""
    if len(shape) != 3:
        raise value_error(
            caller,
            "shape",
            got=f"{shape}",
            expected="the axes (H, W, C) of a volume of maps",
            fix="put this layer before the dense ones",
        )


def whole_input(shape: Shape) -> Geometry | None:
    """The geometry of a unit that reads the whole input; None for an input without height and width."""
    return conv_geometry("Dense", shape[:-1], shape[:-1]) if len(shape) == 3 else None
