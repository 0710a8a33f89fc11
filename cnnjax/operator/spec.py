"""The static side of a convolution: everything that a method needs to know but the values of the arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from cnnjax._core.shapes import Geometry
from cnnjax._core.windows import accumulation_dtype

__all__ = ["DIRECTIONS", "ConvSpec", "Direction", "Measured", "MethodName", "widest"]

Direction = Literal["forward", "input_gradient", "weight_gradient"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

MethodName = Literal[
    "auto",
    "definition",
    "lax",
    "shift",
    "im2col",
    "gathered",
    "toeplitz",
    "matmul",
    "depthwise",
    "grouped",
    "block_diagonal",
    "space_to_depth",
    "onednn",
    "winograd2",
    "winograd4",
    "fft",
    "sparse",
]
"""What the argument `method` of the convolutions may name; `cnnjax.METHODS` are all but "auto"."""


@dataclass(frozen=True)
class Measured:
    """The method of each direction that was the fastest where it was measured: on a "cpu" or an "accelerator"."""

    platform: str
    forward: MethodName
    input_gradient: MethodName
    weight_gradient: MethodName


@dataclass(frozen=True)
class ConvSpec:
    """The static side of T(x, w, y): x (N, *size, C_in), w (*kernel, C_in / groups, C_out), y (N, *output, C_out).

    The boundary of the geometry is "zero": what is wrapped or mirrored has been written out before. `dtype` is the
    widest of the arrays'. `measured` goes before `method`.
    """

    geometry: Geometry
    n: int
    c_in: int
    c_out: int
    groups: int = 1
    method: MethodName = "auto"
    precision: Any = None
    dtype: np.dtype = np.dtype("float32")
    measured: Measured | None = None

    @property
    def accumulation(self) -> Any:
        """The dtype in which sums are kept."""
        return accumulation_dtype(self.dtype)

    def asked(self, direction: Direction, platform: str) -> ConvSpec:
        """The call with the method measured for a direction as its method, if it was measured on such a platform."""
        if self.measured is None:
            return self
        here = (self.measured.platform == "cpu") == (platform in ("cpu", "any cpu"))
        return replace(self, method=getattr(self.measured, direction) if here else self.method, measured=None)

    @property
    def maps_in_group(self) -> int:
        """Input maps that an output map reads."""
        return self.c_in // self.groups

    @property
    def taps(self) -> int:
        """Taps of the kernel."""
        return math.prod(self.geometry.kernel)

    @property
    def x_shape(self) -> tuple[int, ...]:
        """(N, *size, C_in)."""
        return (self.n, *self.geometry.size, self.c_in)

    @property
    def w_shape(self) -> tuple[int, ...]:
        """(*kernel, C_in / groups, C_out)."""
        return (*self.geometry.kernel, self.maps_in_group, self.c_out)

    @property
    def y_shape(self) -> tuple[int, ...]:
        """(N, *output, C_out)."""
        return (self.n, *self.geometry.output, self.c_out)

    @property
    def unit_stride(self) -> bool:
        """Whether neighbouring positions are neighbouring pixels."""
        return set(self.geometry.stride) == {1}

    @property
    def unit_dilation(self) -> bool:
        """Whether the taps are neighbouring pixels."""
        return set(self.geometry.dilation) == {1}


def widest(*dtypes: Any) -> np.dtype:
    """The dtype with the largest items; of several the first."""
    return max(map(np.dtype, dtypes), key=lambda dtype: dtype.itemsize)
