"""The static description of a convolution: everything that a method must know except the values of the arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from jax.lax import PrecisionLike
from jax.typing import DTypeLike

from cnnjax._core.shapes import Geometry
from cnnjax._core.windows import accumulation_dtype

__all__ = [
    "DIRECTIONS",
    "ConvSpec",
    "Direction",
    "Links",
    "Measured",
    "MethodName",
    "Platform",
    "is_cpu",
    "is_this_cpu",
    "widest",
]

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
"""The names that the argument `method` takes: "auto" and those in `cnnjax.METHODS`."""

Platform = Literal["cpu", "stored cpu", "any cpu", "accelerator", "cuda", "rocm", "tpu"]
"""What a program is compiled for.

"cpu" is one CPU device of this process; "stored cpu" the same, in a program that JAX may write to disk for another
process; "any cpu" an exported program, or one partitioned over several devices; and "accelerator" stands for every
platform that is not a CPU.
"""


def is_cpu(platform: Platform) -> bool:
    """Whether a program is compiled for a CPU, this one or any."""
    return platform == "any cpu" or is_this_cpu(platform)


def is_this_cpu(platform: Platform) -> bool:
    """Whether a program is compiled for one CPU device of this process."""
    return platform in ("cpu", "stored cpu")


@dataclass(frozen=True)
class Measured:
    """The fastest method of each direction, as measured on a CPU or on an accelerator."""

    on_cpu: bool
    forward: MethodName
    input_gradient: MethodName
    weight_gradient: MethodName

    def direction(self, direction: Direction) -> MethodName:
        """The method of a direction."""
        return getattr(self, direction)


@dataclass(frozen=True)
class Links:
    """Which maps of each group are connected: a boolean table, (groups, C_in / groups, C_out / groups).

    Under vmap, a batch becomes more maps or groups. The table is then repeated along the axis that has grown.
    """

    shape: tuple[int, ...]
    values: bytes = field(repr=False)

    @classmethod
    def of(cls, table: np.ndarray) -> Links:
        """Return the links of a boolean table."""
        return cls(table.shape, table.tobytes())

    @property
    def table(self) -> np.ndarray:
        """The table as a boolean array."""
        return np.frombuffer(self.values, np.bool_).reshape(self.shape)


@dataclass(frozen=True)
class ConvSpec:
    """The static description of one convolution, the trilinear form T(x, w, y).

    The shapes are x (N, *size, C_in), w (*kernel, C_in / groups, C_out) and y (N, *output, C_out). The boundary of
    the geometry is "zero": wrapped and mirrored pixels have been written out before. `dtype` is the widest of the
    arrays' dtypes. `measured` takes precedence over `method`. `links` says which maps are connected if not all are: a
    table, or those with "nonzero weights" where it is not known before the program runs; the weights of other pairs
    must be zero.
    """

    geometry: Geometry
    n: int
    c_in: int
    c_out: int
    groups: int = 1
    method: MethodName = "auto"
    precision: PrecisionLike = None
    dtype: np.dtype = np.dtype("float32")
    measured: Measured | None = None
    links: Links | Literal["nonzero weights"] | None = None

    @property
    def accumulation_dtype(self) -> np.dtype:
        """The dtype in which products are summed."""
        return accumulation_dtype(self.dtype)

    def resolved(self, direction: Direction, platform: Platform) -> ConvSpec:
        """The spec without measurements: what was measured for a direction becomes the method, if it applies here."""
        if self.measured is None:
            return self
        applies = self.measured.on_cpu == is_cpu(platform)
        return replace(self, method=self.measured.direction(direction) if applies else self.method, measured=None)

    @property
    def maps_in_group(self) -> int:
        """The input maps that an output map reads, C_in / groups."""
        return self.c_in // self.groups

    @property
    def num_taps(self) -> int:
        """The number of taps of the kernel."""
        return self.geometry.num_taps

    @property
    def num_products(self) -> int:
        """The multiplications of a direction, those with padding included."""
        return self.n * math.prod(self.geometry.output) * self.num_taps * self.maps_in_group * self.c_out

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

    def result_shape(self, direction: Direction) -> tuple[int, ...]:
        """The shape of what a direction computes."""
        return {"forward": self.y_shape, "input_gradient": self.x_shape, "weight_gradient": self.w_shape}[direction]

    @property
    def is_static(self) -> bool:
        """Whether all sizes are integers: an exported program may have symbolic ones."""
        return all(isinstance(n, int) for n in self.x_shape)

    def with_one_row(self) -> ConvSpec:
        """The same convolution of a sequence, as one of images that are one row high."""
        return replace(self, geometry=self.geometry.with_one_row())

    @property
    def unit_stride(self) -> bool:
        """Whether the stride is 1 along every axis."""
        return set(self.geometry.stride) == {1}

    @property
    def unit_dilation(self) -> bool:
        """Whether the dilation is 1 along every axis."""
        return set(self.geometry.dilation) == {1}


def widest(*dtypes: DTypeLike) -> np.dtype:
    """The dtype with the largest items; the first of them if there are several."""
    return max((np.dtype(dtype) for dtype in dtypes), key=lambda dtype: dtype.itemsize)
