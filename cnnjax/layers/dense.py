"""Layers in which every unit reads the whole input: dense, and radial basis functions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from cnnjax._core.messages import value_error
from cnnjax._core.shapes import Geometry, integers
from cnnjax.init import Constant, GlorotUniform, Initialiser
from cnnjax.layers.base import Activation, Counts, Params, Shape, activation_function, check_activation, whole_input

__all__ = ["RBF", "Dense"]


@dataclass(frozen=True)
class Dense:
    """Every unit reads every value of the input, of whatever shape; then a squashing function.

        y[n, o] = f(b[o] + sum_i x[n, i] * w[i, o]),   w (values of the input, units),  b (units,)

    On a volume (H, W, C) it is the convolution whose kernel is the whole input, its weights flattened in that order.

    >>> Dense(84).counts((1, 1, 120)).num_parameters
    10164
    """

    units: int
    bias: bool = True
    activation: Activation = "identity"
    weight_init: Initialiser = GlorotUniform()
    bias_init: Initialiser = Constant()

    def __post_init__(self) -> None:
        """Check what does not depend on the input."""
        integers("Dense", "units", self.units, 1, least=1)
        check_activation("Dense", self.activation)

    def init(self, key: jax.Array, shape: Shape, dtype: DTypeLike) -> Params:
        """Draw w and b."""
        key_w, key_b = jax.random.split(key)
        fan_in = math.prod(shape)
        params = {"w": self.weight_init(key_w, (fan_in, self.units), fan_in, self.units, dtype)}
        if self.bias:
            params["b"] = self.bias_init(key_b, (self.units,), fan_in, self.units, dtype)
        return params

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Map (N, *shape) to (N, units)."""
        y = x.reshape(x.shape[0], math.prod(x.shape[1:])) @ params["w"]
        return activation_function(self.activation)(y + params["b"][None] if self.bias else y)

    def output_shape(self, shape: Shape) -> Shape:
        """(units,)."""
        return (self.units,)

    def counts(self, shape: Shape) -> Counts:
        """One weight for each input and unit, one bias for each unit, each used once."""
        weights, biases = math.prod(shape) * self.units, self.units if self.bias else 0
        return Counts(weights, biases, weights + biases, weights)

    def geometry(self, shape: Shape) -> Geometry | None:
        """The whole input."""
        return whole_input(shape)


@dataclass(frozen=True)
class RBF:
    """Euclidean radial basis function units: the squared distance of the input to the code of each class.

        y[n, i] = sum_j (x[n, j] - code[i, j])^2          the smallest wins

    `codes` are (classes, values of the input) numbers. They are fixed, unless `trainable`, when they are the starting
    value of the parameter "w" (classes, values of the input).

    >>> RBF(((1, -1), (-1, 1))).apply({}, jnp.zeros((1, 2))).tolist()
    [[2.0, 2.0]]

    Source: LeCun et al. 1998, section II.B, equation 7.
    """

    smallest_wins: ClassVar[bool] = True

    codes: tuple[tuple[float, ...], ...] = field(repr=False)
    trainable: bool = False

    def __post_init__(self) -> None:
        """Keep the codes as plain numbers, so that layers compare by value."""
        codes = np.asarray(self.codes, float)
        if codes.ndim != 2 or 0 in codes.shape:
            raise value_error(
                "RBF",
                "codes",
                got=f"of shape {codes.shape}",
                expected="(classes, values of the input)",
                fix="pass one row of numbers for each class",
            )
        object.__setattr__(self, "codes", tuple(map(tuple, codes.tolist())))

    def init(self, key: jax.Array, shape: Shape, dtype: DTypeLike) -> Params:
        """The codes where they are trainable, nothing where they are fixed."""
        self.output_shape(shape)
        return {"w": jnp.asarray(self.codes, dtype)} if self.trainable else {}

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Map (N, *shape) to the squared distances (N, classes)."""
        codes = params["w"] if self.trainable else jnp.asarray(self.codes, x.dtype)
        difference = x.reshape(x.shape[0], 1, math.prod(x.shape[1:])) - codes[None]
        return jnp.sum(difference**2, axis=-1)

    def output_shape(self, shape: Shape) -> Shape:
        """(classes,)."""
        if math.prod(shape) != len(self.codes[0]):
            raise value_error(
                "RBF",
                "codes",
                got=f"{len(self.codes)} codes of {len(self.codes[0])} values",
                expected=f"{math.prod(shape)} values, one for each of the input",
                fix="make the layer before as wide as the codes",
            )
        return (len(self.codes),)

    def counts(self, shape: Shape) -> Counts:
        """A connection for each value of each code; they count as weights only where they are trained."""
        size = math.prod(shape) * math.prod(self.output_shape(shape))
        return Counts(size if self.trainable else 0, 0, size, size)

    def geometry(self, shape: Shape) -> Geometry | None:
        """The whole input."""
        return whole_input(shape)
