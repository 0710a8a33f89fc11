"""The convolutions that are measured, from well-known networks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from cnnjax._core.shapes import Geometry, conv_geometry

__all__ = ["CORE_SHAPES", "GROWTH_SHAPES", "LOOP_SHAPES", "SHAPES", "Shape"]


@dataclass(frozen=True)
class Shape:
    """A convolution of a batch of images; with `transposed` its adjoint, which maps y to x."""

    name: str
    batch: int
    size: tuple[int, ...]
    c_in: int
    kernel: tuple[int, ...]
    c_out: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    transposed: bool = False

    @property
    def axes(self) -> int:
        """The number of spatial axes."""
        return len(self.size)

    @property
    def geometry(self) -> Geometry:
        """The geometry of the convolution."""
        return conv_geometry("benchmark", self.size, self.kernel, stride=self.stride, padding=self.padding)

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
    def source(self) -> tuple[int, ...]:
        """The shape of the input: x, or y if transposed."""
        return self.y if self.transposed else self.x

    @property
    def result(self) -> tuple[int, ...]:
        """The shape of the output."""
        return self.x if self.transposed else self.y

    @property
    def operations(self) -> int:
        """Multiplications and additions of one direction, if every tap is inside the image."""
        return 2 * math.prod(self.y) * math.prod(self.w[:-1])

    def arrays(self, dtype: str = "float32", seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Normally distributed source, w and result."""
        random = np.random.default_rng(seed)
        source, w, result = (random.standard_normal(s, np.float32) for s in (self.source, self.w, self.result))
        return source.astype(dtype), w.astype(dtype), result.astype(dtype)


CORE_SHAPES = (
    Shape("LeNet-5 C1", 256, (32, 32), 1, (5, 5), 6),
    Shape("LeNet-5 C3", 256, (14, 14), 6, (5, 5), 16),
    Shape("LeNet-5 C5", 256, (5, 5), 16, (5, 5), 120),
    Shape("ResNet-50 stem", 8, (224, 224), 3, (7, 7), 64, stride=2, padding=3),
    Shape("ResNet 56x56 3x3 64", 8, (56, 56), 64, (3, 3), 64, padding=1),
    Shape("ResNet 56x56 1x1 64-256", 8, (56, 56), 64, (1, 1), 256),
    Shape("ResNet 28x28 3x3 128 /2", 8, (56, 56), 128, (3, 3), 128, stride=2, padding=1),
    Shape("ResNet 14x14 3x3 256", 8, (14, 14), 256, (3, 3), 256, padding=1),
    Shape("ResNet 7x7 3x3 512", 8, (7, 7), 512, (3, 3), 512, padding=1),
    Shape("VGG 112x112 3x3 128", 2, (112, 112), 128, (3, 3), 128, padding=1),
    Shape("CIFAR 32x32 3x3 32-64", 64, (32, 32), 32, (3, 3), 64, padding=1),
    Shape("MobileNet dw 56x56 128", 8, (56, 56), 128, (3, 3), 128, padding=1, groups=128),
    Shape("MobileNet dw 56x56 128 /2", 8, (56, 56), 128, (3, 3), 128, stride=2, padding=1, groups=128),
    Shape("ConvNeXt dw 7x7 28x28 192", 8, (28, 28), 192, (7, 7), 192, padding=3, groups=192),
    Shape("ResNeXt 28x28 256 g32", 8, (28, 28), 256, (3, 3), 256, padding=1, groups=32),
    Shape("AlexNet conv2 g2", 8, (27, 27), 96, (5, 5), 256, padding=2, groups=2),
)

SHAPES = (
    *CORE_SHAPES,
    Shape("audio 1-D 4096 64", 8, (4096,), 64, (9,), 64, padding=4),
    Shape("video 3-D 16x28x28 32", 2, (16, 28, 28), 32, (3, 3, 3), 32, padding=1),
    Shape("transposed 4x4 8-16 256-128", 32, (16, 16), 128, (4, 4), 256, stride=2, padding=1, transposed=True),
    Shape("transposed 2x2 28-56 128-64", 8, (56, 56), 64, (2, 2), 128, stride=2, transposed=True),
)

LOOP_SHAPES = (
    Shape("28x28 3x3 64", 8, (28, 28), 64, (3, 3), 64, padding=1),  # the shape in jax issue 12868
    *(s for s in CORE_SHAPES if s.name in ("LeNet-5 C3", "ResNet 28x28 3x3 128 /2", "MobileNet dw 56x56 128")),
)
"""The shapes measured inside loops."""

_ORDINARY = Shape("3x3", 8, (32, 32), 32, (3, 3), 32, padding=1)
_DEPTHWISE = Shape("depthwise 3x3", 8, (32, 32), 64, (3, 3), 64, padding=1, groups=64)

GROWTH_SHAPES: dict[str, dict[str, dict[int, Shape]]] = {
    "3x3": {
        "batch": {n: replace(_ORDINARY, batch=n) for n in (4, 8, 16, 32)},
        "pixels": {s * s: replace(_ORDINARY, size=(s, s)) for s in (16, 32, 64, 96)},
        "maps": {c: replace(_ORDINARY, c_in=c, c_out=c) for c in (16, 32, 64, 128)},
    },
    "depthwise 3x3": {
        "batch": {n: replace(_DEPTHWISE, batch=n) for n in (4, 8, 16, 32)},
        "pixels": {s * s: replace(_DEPTHWISE, size=(s, s)) for s in (16, 32, 64, 96)},
        "maps": {c: replace(_DEPTHWISE, c_in=c, c_out=c, groups=c) for c in (32, 64, 128, 256)},
    },
}
"""The shapes for the growth of the time: {family: {axis: {value: shape}}}."""
