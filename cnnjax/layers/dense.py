"""Layers of matrix products: dense over the whole input or over each pixel, and radial basis functions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from cnnjax._core.messages import value_error
from cnnjax._core.shapes import Geometry, conv_geometry, integers
from cnnjax.init import Constant, GlorotUniform, Initialiser
from cnnjax.layers.base import (
    Activation,
    Counts,
    Params,
    Shape,
    activation_function,
    check_activation,
    check_is_image,
)
from cnnjax.layers.parameters import check_layer_params

__all__ = ["RBF", "Dense", "PixelDense"]


@dataclass(frozen=True)
class Dense:
    """Fully connected: every unit reads every value of the input, of whatever shape; then an activation function::

        y[n, o] = f(b[o] + sum_i x[n, i] * w[i, o]),   w (values of the input, units),  b (units,)

    On an input (H, W, C) it is the convolution whose kernel covers the whole input, with its weights flattened in
    that order.

    Args:
        units: the number of outputs.
        bias: whether b is added.
        activation: a name in `cnnjax.ACTIVATIONS` or an elementwise function.
        weight_init: initialiser of w.
        bias_init: initialiser of b.

    Raises:
        ArgumentValueError, ArgumentTypeError: if `units` is not a positive integer, or the activation is unknown.

    Example:
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
        fan_in, shapes = math.prod(shape), self.parameter_shapes(shape)
        params = {"w": self.weight_init(key_w, shapes["w"], fan_in, self.units, dtype)}
        if self.bias:
            params["b"] = self.bias_init(key_b, shapes["b"], fan_in, self.units, dtype)
        return params

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the shapes of w, (values of the input, units), and b, (units,)."""
        w = (math.prod(shape), self.units)
        return {"w": w, "b": (self.units,)} if self.bias else {"w": w}

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Map (N, *shape) to (N, units)."""
        check_layer_params(self, params, x, x.shape[1:])
        y = _fusion_end(x.reshape(x.shape[0], math.prod(x.shape[1:])) @ params["w"])
        return activation_function(self.activation)(y + params["b"][None] if self.bias else y)

    def output_shape(self, shape: Shape) -> Shape:
        """Return (units,)."""
        return (self.units,)

    def counts(self, shape: Shape) -> Counts:
        """Count one weight for each input and unit, one bias for each unit, each used once."""
        weights, biases = math.prod(shape) * self.units, self.units if self.bias else 0
        return Counts(weights, biases, weights + biases, weights)

    def geometry(self, shape: Shape) -> Geometry | None:
        """Return a kernel that covers the whole input; None for an input without height and width."""
        return _whole_input("Dense", shape)


@dataclass(frozen=True)
class PixelDense(Dense):
    """Fully connected at every pixel: a unit reads all maps of its own pixel; then an activation function::

        y[n, i, j, o] = f(b[o] + sum_c x[n, i, j, c] * w[c, o]),   w (C, units),  b (units,)

    It is the convolution with a 1x1 kernel, computed as a matrix product.

    Args:
        units: the number of output maps.
        bias: whether b is added.
        activation: a name in `cnnjax.ACTIVATIONS` or an elementwise function.
        weight_init: initialiser of w.
        bias_init: initialiser of b.

    Raises:
        ArgumentValueError, ArgumentTypeError: if `units` is not a positive integer, the activation is unknown, or the
            input has no height and width.

    Example:
        >>> PixelDense(384).counts((56, 56, 96)).num_parameters
        37248

    Source: Lin, Chen and Yan 2014, "Network in network", section 3.1.
    """

    def init(self, key: jax.Array, shape: Shape, dtype: DTypeLike) -> Params:
        """Draw w and b."""
        return super().init(key, shape[-1:], dtype)

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the shapes of w, (C, units), and b, (units,)."""
        return super().parameter_shapes(shape[-1:])

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Map (N, H, W, C) to (N, H, W, units)."""
        check_layer_params(self, params, x, x.shape[1:])
        y = _fusion_end(lax.dot_general(x, params["w"], (((3,), (0,)), ((), ()))))
        return activation_function(self.activation)(y + params["b"][None, None, None] if self.bias else y)

    def output_shape(self, shape: Shape) -> Shape:
        """Return (H, W, units)."""
        check_is_image("PixelDense", shape)
        return (*shape[:-1], self.units)

    def counts(self, shape: Shape) -> Counts:
        """Count one weight for each map and unit, one bias for each unit, all of them used at every pixel."""
        own, pixels = super().counts(shape[-1:]), math.prod(shape[:-1])
        return Counts(own.num_weights, own.num_biases, own.num_connections * pixels, own.num_macs * pixels)

    def geometry(self, shape: Shape) -> Geometry | None:
        """Return a kernel of one pixel."""
        check_is_image("PixelDense", shape)
        return conv_geometry("PixelDense", shape[:-1], (1, 1))


@dataclass(frozen=True)
class RBF:
    """Euclidean radial basis function units: the squared distance of the input to the code of each class::

        y[n, i] = sum_j (x[n, j] - codes[i, j])^2          the smallest names the class

    Args:
        codes: numbers (classes, values of the input), fixed unless `trainable`.
        trainable: whether the codes are the initial value of a parameter "w" (classes, values of the input).

    Raises:
        ArgumentValueError: for codes that are not a matrix, or an input with another number of values.

    Example:
        >>> RBF(((1, -1), (-1, 1))).apply({}, jnp.zeros((1, 2))).tolist()
        [[2.0, 2.0]]

    Source: LeCun et al. 1998, section II.B, equation 7.
    """

    smallest_wins: ClassVar[bool] = True

    codes: tuple[tuple[float, ...], ...] = field(repr=False)
    trainable: bool = False

    def __post_init__(self) -> None:
        """Convert the codes to tuples of floats, so that layers compare by value."""
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
        """Return the codes if they are trainable, else no parameters."""
        self.output_shape(shape)
        return {"w": jnp.asarray(self.codes, dtype)} if self.trainable else {}

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the shape of w, (classes, values of the input), if the codes are trainable."""
        return {"w": (len(self.codes), len(self.codes[0]))} if self.trainable else {}

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Map (N, *shape) to the squared distances (N, classes)."""
        check_layer_params(self, params, x, x.shape[1:])
        codes = params["w"] if self.trainable else jnp.asarray(self.codes, x.dtype)
        difference = x.reshape(x.shape[0], 1, math.prod(x.shape[1:])) - codes[None]
        return jnp.sum(difference**2, axis=-1)

    def output_shape(self, shape: Shape) -> Shape:
        """Return (classes,)."""
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
        """Count a connection for each value of each code; codes count as weights only if they are trained."""
        size = math.prod(shape) * math.prod(self.output_shape(shape))
        return Counts(size if self.trainable else 0, 0, size, size)

    def geometry(self, shape: Shape) -> Geometry | None:
        """Return a kernel that covers the whole input; None for an input without height and width."""
        return _whole_input("RBF", shape)


def _fusion_end(y: jax.Array) -> jax.Array:
    """Return y, rounded to the precision that it has already.

    XLA of jax 0.10 makes one kernel of two dense layers and the rectifier between them on a CPU, which takes twenty
    times as long as both (VGG's take 0.6 s instead of 0.03). It fuses nothing with a rounding.
    """
    if not jnp.issubdtype(y.dtype, jnp.floating):
        return y
    precision = jnp.finfo(y.dtype)
    return lax.reduce_precision(y, precision.nexp, precision.nmant)


def _whole_input(caller: str, shape: Shape) -> Geometry | None:
    return conv_geometry(caller, shape[:-1], shape[:-1]) if len(shape) == 3 else None
