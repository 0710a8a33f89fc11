"""The settings of a convolution: one value for all of its arguments that are not arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jax.lax import PrecisionLike
from jax.typing import ArrayLike, DTypeLike

from cnnjax._core.shapes import Geometry, Padding, conv_geometry
from cnnjax.connections import ConnectionTable
from cnnjax.operator import MethodName, Tuned

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
