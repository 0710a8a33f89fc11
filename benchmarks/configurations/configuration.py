"""A configuration: the static description of one convolution or pooling layer, and what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from cnnjax._core.shapes import Geometry, Padding, conv_geometry
from cnnjax.operator.spec import DIRECTIONS

__all__ = ["KINDS", "Configuration", "Convolution", "Kind", "Pool"]

Kind = Literal["ordinary", "grouped", "depthwise", "transposed", "max pool", "average pool"]
KINDS: tuple[Kind, ...] = ("ordinary", "grouped", "depthwise", "transposed", "max pool", "average pool")


@dataclass(frozen=True)
class Convolution:
    """A convolution of x (N, *size, C_in) by w (*kernel, C_in / groups, C_out); with `transposed` its adjoint in x.

    `family` names the use it was drawn from.
    """

    family: str
    batch: int
    size: tuple[int, ...]
    c_in: int
    kernel: tuple[int, ...]
    c_out: int
    stride: tuple[int, ...]
    padding: Padding
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False

    @property
    def kind(self) -> Kind:
        """The name under which results are averaged."""
        if self.transposed:
            return "transposed"
        if self.groups == 1:
            return "ordinary"
        return "depthwise" if self.groups == self.c_in else "grouped"

    @property
    def directions(self) -> tuple[str, ...]:
        """What is computed: the forward pass and both gradients."""
        return DIRECTIONS

    @property
    def geometry(self) -> Geometry:
        """The geometry of the convolution that reads x."""
        settings: dict[str, Any] = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        return conv_geometry("benchmark", self.size, self.kernel, **settings)

    @property
    def x(self) -> tuple[int, ...]:
        """(N, *size, C_in)."""
        return (self.batch, *self.size, self.c_in)

    @property
    def w(self) -> tuple[int, ...]:
        """(*kernel, C_in / groups, C_out)."""
        return (*self.kernel, self.c_in // self.groups, self.c_out)

    @property
    def y(self) -> tuple[int, ...]:
        """(N, *output, C_out)."""
        return (self.batch, *self.geometry.output, self.c_out)

    @property
    def output_padding(self) -> tuple[int, ...]:
        """By how much x is larger than the smallest image with as many positions, for the transposed convolution."""
        geometry = self.geometry
        span = [(n - 1) * s for n, s in zip(geometry.output, geometry.stride, strict=True)]
        if self.padding == "SAME":
            smallest = [n + 1 for n in span]
        else:
            smallest = [n + e - sum(pair) for n, e, pair in zip(span, geometry.extent, geometry.pads, strict=True)]
        return tuple(n - least for n, least in zip(self.size, smallest, strict=True))

    @property
    def products(self) -> int:
        """Multiplications of one direction, if every tap is inside the image."""
        return math.prod(self.y) * math.prod(self.w[:-1])

    @property
    def bytes(self) -> int:
        """Bytes of x, w and y in float32."""
        return 4 * (math.prod(self.x) + math.prod(self.w) + math.prod(self.y))

    def terms(self, direction: str) -> int:
        """The products in the sum of one element of a direction's result."""
        taps = math.prod(self.kernel)
        if direction == "weight_gradient":
            return math.prod(self.y[:-1])
        return taps * (self.w[-2] if (direction == "forward") != self.transposed else self.c_out // self.groups)

    @property
    def lax_seconds(self) -> float:
        """A rough upper estimate of lax's time for the slowest direction on two CPU cores.

        XLA's convolution for CPUs is fast with many maps, slow with few, and far slower with groups. The constants were
        fitted to measurements with jax 0.10.
        """
        maps = self.c_in // self.groups
        if self.groups == 1:
            nanoseconds = 0.03 + 6 / (self.c_in * self.c_out) + 0.5 / min(self.c_in, self.c_out)
            if self.transposed:
                nanoseconds += 0.5
        elif maps == 1 and self.c_out == self.c_in and not self.transposed:
            nanoseconds = max(20 if len(self.size) == 3 else 10, 6 * math.prod(self.stride), 0.1 * self.groups)
        else:  # XLA computes the weight gradient of all pairs of maps, also of those in different groups
            nanoseconds = max(self.groups * (8 if maps < 8 else 1.2), 5 * math.prod(self.stride))
        return 1e-9 * nanoseconds * self.products

    def __str__(self) -> str:
        x, w = ("x".join(map(str, shape)) for shape in (self.x, self.w))
        words = [f"{x} * {w}"]
        words += [f"stride {_short(self.stride)}"] * (max(self.stride) > 1)
        words += [f"dilation {_short(self.dilation)}"] * (max(self.dilation) > 1)
        words += [f"groups {self.groups}"] * (self.groups > 1)
        words += ["transposed"] * self.transposed
        return f"{self.family}: {', '.join(words)}, {self.padding}"


@dataclass(frozen=True)
class Pool:
    """The maximum or mean of each window of each map of x (N, *size, C); `family` names the use it was drawn from."""

    family: str
    average: bool
    batch: int
    size: tuple[int, ...]
    maps: int
    window: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Padding

    @property
    def kind(self) -> Kind:
        """The name under which results are averaged."""
        return "average pool" if self.average else "max pool"

    @property
    def directions(self) -> tuple[str, ...]:
        """What is computed: the forward pass and the gradient."""
        return DIRECTIONS[:2]

    @property
    def geometry(self) -> Geometry:
        """The geometry of the windows."""
        return conv_geometry("benchmark", self.size, self.window, stride=self.stride, padding=self.padding)

    @property
    def x(self) -> tuple[int, ...]:
        """(N, *size, C)."""
        return (self.batch, *self.size, self.maps)

    @property
    def y(self) -> tuple[int, ...]:
        """(N, *output, C)."""
        return (self.batch, *self.geometry.output, self.maps)

    @property
    def products(self) -> int:
        """Pixels that are read, if every window is inside the image."""
        return math.prod(self.y) * math.prod(self.window)

    @property
    def bytes(self) -> int:
        """Bytes of x and y in float32."""
        return 4 * (math.prod(self.x) + math.prod(self.y))

    def terms(self, direction: str) -> int:
        """The largest number of values in the sum of one element of a direction's result."""
        if direction == "forward":
            return math.prod(self.window) if self.average else 1
        return math.prod(-(-k // s) for k, s in zip(self.window, self.stride, strict=True))

    @property
    def lax_seconds(self) -> float:
        """A rough upper estimate of lax's time for the slower direction on two CPU cores, measured with jax 0.10."""
        return 1e-9 * ((2 if self.average else 8) * self.products + 4 * math.prod(self.x))

    def __str__(self) -> str:
        x, window = ("x".join(map(str, shape)) for shape in (self.x, self.window))
        return f"{self.family}: {self.kind} {x}, window {window}, stride {_short(self.stride)}, {self.padding}"


Configuration = Convolution | Pool


def _short(each: tuple[int, ...]) -> str:
    return str(each[0]) if len(set(each)) == 1 else "x".join(map(str, each))
