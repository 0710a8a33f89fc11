"""What a method is told of a convolution: everything but the values of its arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from cnnjax._shapes import Geometry
from cnnjax._windows import accumulation_dtype

__all__ = ["DIRECTIONS", "Call", "Measured", "Method", "transposed_in_w", "transposed_in_x", "widest"]

DIRECTIONS = ("forward", "input_gradient", "weight_gradient")


@dataclass(frozen=True)
class Measured:
    """The method of each direction that was the fastest where it was measured: on a "cpu" or an "accelerator"."""

    platform: str
    forward: str
    input_gradient: str
    weight_gradient: str


@dataclass(frozen=True)
class Call:
    """The static side of T(x, w, y): x (N, *size, C_in), w (*kernel, C_in / groups, C_out), y (N, *output, C_out).

    The boundary of the geometry is "zero": what is wrapped or mirrored has been written out before. `dtype` is the
    widest of the arrays'. `measured` goes before `method`.
    """

    geometry: Geometry
    n: int
    c_in: int
    c_out: int
    groups: int = 1
    method: str = "auto"
    precision: Any = None
    dtype: np.dtype = np.dtype("float32")
    measured: Measured | None = None

    @property
    def accumulation(self) -> Any:
        """The dtype in which sums are kept."""
        return accumulation_dtype(self.dtype)

    def asked(self, direction: str, platform: str) -> Call:
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


Direction = Callable[[jax.Array, jax.Array, Call], jax.Array]


def transposed_in_x(forward: Direction) -> Direction:
    """The input gradient (w, y) -> x that belongs to a forward pass (x, w) -> y."""

    def input_gradient(w: jax.Array, y: jax.Array, call: Call) -> jax.Array:
        like = jax.ShapeDtypeStruct(call.x_shape, y.dtype)
        return jax.linear_transpose(lambda x: forward(x, w, call), like)(y)[0]

    return input_gradient


def transposed_in_w(forward: Direction) -> Direction:
    """The weight gradient (x, y) -> w that belongs to a forward pass (x, w) -> y."""

    def weight_gradient(x: jax.Array, y: jax.Array, call: Call) -> jax.Array:
        like = jax.ShapeDtypeStruct(call.w_shape, y.dtype)
        return jax.linear_transpose(lambda w: forward(x, w, call), like)(y)[0]

    return weight_gradient


@dataclass(frozen=True)
class Method:
    """A way to compute the three directions.

    `refuses(call)` gives the reason why a call is not served, or None. A direction that is not given is the transpose
    of the forward pass. `native` methods take 16-bit arrays as they come and accumulate in float32 themselves; others
    are handed arrays in the dtype in which sums are kept. `loops` are the directions that are one loop over elements,
    which XLA would fuse with what surrounds them.
    """

    name: str
    forward: Direction
    input_gradient: Direction
    weight_gradient: Direction
    refuses: Callable[[Call], str | None]
    native: bool = False
    loops: tuple[str, ...] = ()

    def direction(self, name: str) -> Direction:
        """The function of a direction by its name."""
        return {
            "forward": self.forward,
            "input_gradient": self.input_gradient,
            "weight_gradient": self.weight_gradient,
        }[name]


def serves_all(call: Call) -> None:
    """No call is refused."""
    return
