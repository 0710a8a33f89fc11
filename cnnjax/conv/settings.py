"""The settings of a convolution: one value for everything about a call but its arrays."""

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


@dataclass(frozen=True, eq=False)
class ConvSettings:
    """Where a convolution reads, which maps it connects, and how it is computed; `conv2d` describes each setting.

    Nothing is checked before the settings meet their arrays: `geometry` checks stride, padding and dilation.
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
        """Where a kernel reads on an input of this size; raises, for the function `caller`, if it does not fit."""
        return conv_geometry(
            caller,
            size,
            kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            kernel_argument=kernel_argument,
        )
