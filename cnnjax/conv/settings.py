"""The settings of a convolution: one value for all of its arguments that are not arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax.lax import PrecisionLike
from jax.typing import ArrayLike, DTypeLike

from cnnjax._core.messages import describe, type_error, value_error
from cnnjax._core.shapes import AXES, Geometry, Padding, check_maps, conv_geometry
from cnnjax.connections import ConnectionTable
from cnnjax.operator import ConvSpec, MethodName, Tuned

__all__ = ["Connections", "ConvSettings"]

Connections = ConnectionTable | ArrayLike | None
"""What the argument `connections` takes: a ConnectionTable, a boolean array (C_in, C_out), or None for all pairs."""


@dataclass(frozen=True, eq=False)
class ConvSettings:
    """Which pixels a convolution reads, which maps it connects, and how it is computed; `conv2d` describes each field.

    The fields are checked together with the arrays, not before; `geometry` checks stride, padding and dilation.
    """

    stride: int | Sequence[int] = 1
    padding: Padding = "VALID"
    dilation: int | Sequence[int] = 1
    groups: int = 1
    connections: Connections = None
    method: MethodName | Tuned = "auto"
    precision: PrecisionLike = None
    preferred_element_type: DTypeLike | None = None

    def geometry(self, caller: str, size: Sequence[int], kernel: Sequence[int], kernel_argument: str = "w") -> Geometry:
        """Return the geometry of a kernel on an input; raises, for the function `caller`, if it does not fit."""
        return conv_geometry(
            caller,
            size,
            kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            kernel_argument=kernel_argument,
        )

    def spec(self, caller: str, x_shape: Any, w_shape: Any, dtype: DTypeLike) -> ConvSpec:
        """Return the `ConvSpec` of arrays of these shapes; raises, for the function `caller`, if they do not fit.

        Connections, method and precision are left out.
        """
        for argument, shape in (("x_shape", x_shape), ("w_shape", w_shape)):
            if not isinstance(shape, (tuple, list)) or not all(isinstance(n, int) for n in shape):
                fix = "pass a tuple such as x.shape"
                raise type_error(caller, argument, got=describe(shape), expected="integers", fix=fix)
        if len(w_shape) - 2 not in AXES or len(x_shape) != len(w_shape):
            raise value_error(
                caller,
                "x_shape",
                got=f"{tuple(x_shape)} with a w_shape of {tuple(w_shape)}",
                expected="(N, *size, C_in) and (*kernel, C_in / groups, C_out), with one to three spatial axes",
                fix="give x_shape its batch axis",
            )
        groups = check_maps(caller, x_shape, w_shape, self.groups)
        geometry = self.geometry(caller, x_shape[1:-1], w_shape[:-2])
        geometry = geometry if geometry.boundary == "zero" else geometry.after_padding()
        return ConvSpec(geometry, x_shape[0], x_shape[-1], w_shape[-1], groups, dtype=jnp.dtype(dtype))
