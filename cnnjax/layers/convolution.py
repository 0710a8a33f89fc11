"""The convolutional layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import numpy as np
from jax.typing import DTypeLike

from cnnjax._core.shapes import Geometry, Padding, check_maps, integers
from cnnjax.connections import ConnectionTable
from cnnjax.conv import ConvSettings, conv2d
from cnnjax.conv.tables import as_table, check_is_table, dense_weights, masked
from cnnjax.init import Constant, GlorotUniform, Initialiser
from cnnjax.layers.base import (
    Activation,
    Counts,
    Params,
    Pixels,
    Shape,
    activation_function,
    check_activation,
    check_is_image,
)
from cnnjax.layers.parameters import check_layer_params
from cnnjax.operator import MethodName, Tuned, check_method

__all__ = ["Conv2D"]


@dataclass(frozen=True)
class Conv2D:
    """Convolution (`cnnjax.conv2d`), then an activation function::

        y = f(conv2d(x, w, b)),   w (k_h, k_w, C_in / groups, maps),  b (maps,)

    Args:
        maps: the number of output maps.
        kernel: pixels of the kernel, one integer or (height, width).
        stride, padding, dilation, groups, method: as in `cnnjax.conv2d`.
        connections: which input map feeds which output map, a `ConnectionTable` (C_in, maps); all by default. Weights
            of unconnected pairs are stored, start at zero, stay there, and count neither as parameters nor as
            connections.
        bias: whether b is added.
        activation: a name in `cnnjax.ACTIVATIONS` or an elementwise function.
        weight_init: initialiser of w; the fan-in of each output map is that of the connection table.
        bias_init: initialiser of b.

    Raises:
        ArgumentValueError, ArgumentTypeError: for a setting that does not fit, as `cnnjax.conv2d`.

    Example:
        >>> from cnnjax.connections import LENET5_C3
        >>> c3 = Conv2D(16, 5, connections=LENET5_C3)
        >>> c3.output_shape((14, 14, 6)), c3.counts((14, 14, 6)).num_parameters
        ((10, 10, 16), 1516)

    Source: LeCun et al. 1998, section II.
    """

    maps: int
    kernel: Pixels
    stride: Pixels = 1
    padding: Padding = "VALID"
    dilation: Pixels = 1
    groups: int = 1
    connections: ConnectionTable | None = None
    bias: bool = True
    activation: Activation = "identity"
    weight_init: Initialiser = GlorotUniform()
    bias_init: Initialiser = Constant()
    method: MethodName | Tuned = "auto"

    def __post_init__(self) -> None:
        """Check what does not depend on the input."""
        check_method("Conv2D", self.method)
        integers("Conv2D", "maps", self.maps, 1, least=1)
        integers("Conv2D", "kernel", self.kernel, 2, least=1)
        integers("Conv2D", "groups", self.groups, 1, least=1)
        check_activation("Conv2D", self.activation)
        check_is_table("Conv2D", self.connections, self.groups)

    def init(self, key: jax.Array, shape: Shape, dtype: DTypeLike) -> Params:
        """Draw w and b."""
        key_w, key_b = jax.random.split(key)
        shapes, table = self.parameter_shapes(shape), self.table(shape)
        taps = math.prod(self.geometry(shape).kernel)
        fan_in = taps * np.maximum(table.fan_in, 1)
        fan_out = taps * self.maps // self.groups
        w = self.weight_init(key_w, shapes["w"], fan_in, fan_out, dtype)
        params = {"w": w if self.connections is None else masked(w, table.matrix)}
        if self.bias:
            params["b"] = self.bias_init(key_b, shapes["b"], fan_in, fan_out, dtype)
        return params

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the shapes of w, (k_h, k_w, C_in / groups, maps), and b, (maps,)."""
        w = (*integers("Conv2D", "kernel", self.kernel, 2, least=1), shape[-1] // self.groups, self.maps)
        return {"w": w, "b": (self.maps,)} if self.bias else {"w": w}

    def apply(self, params: Params, x: jax.Array) -> jax.Array:
        """Map (N, H, W, C_in) to (N, H_out, W_out, maps)."""
        check_layer_params(self, params, x, x.shape[-3:])
        y = conv2d(
            x,
            params["w"],
            params.get("b"),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            connections=self.connections,
            method=self.method,
        )
        return activation_function(self.activation)(y)

    def output_shape(self, shape: Shape) -> Shape:
        """Return (H_out, W_out, maps)."""
        return (*self.geometry(shape).output, self.maps)

    def counts(self, shape: Shape) -> Counts:
        """Count one weight for each tap and link, one bias for each map, all of them used at every position."""
        geometry, table = self.geometry(shape), self.table(shape)
        positions = math.prod(geometry.output)
        weights = table.num_weights(geometry.kernel)
        biases = self.maps if self.bias else 0
        return Counts(weights, biases, (weights + biases) * positions, weights * positions)

    def table(self, shape: Shape) -> ConnectionTable:
        """Return which map of the input feeds which map of the output."""
        return as_table("Conv2D", self.connections, shape[-1], self.maps, self.groups, c_out_name="maps")

    def dense_weights(self, params: Params, shape: Shape) -> jax.Array:
        """Return w as (k_h, k_w, C_in, maps), with zeros for unconnected pairs."""
        return dense_weights(params["w"], self.table(shape), self.groups)

    def geometry(self, shape: Shape) -> Geometry:
        """Return where the kernel reads."""
        check_is_image("Conv2D", shape)
        kernel = integers("Conv2D", "kernel", self.kernel, 2, least=1)
        check_maps("Conv2D", shape, (*kernel, max(shape[-1] // self.groups, 1), self.maps), self.groups)
        self.table(shape)
        return ConvSettings(self.stride, self.padding, self.dilation).geometry("Conv2D", shape[:-1], kernel)
