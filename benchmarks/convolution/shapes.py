"""The convolutions of well-known networks that everything is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["SHAPES", "Shape"]


@dataclass(frozen=True)
class Shape:
    """One convolution: a batch of images, a kernel, and how it is applied. `sixteen` marks the core table."""

    name: str
    batch: int
    size: tuple[int, ...]
    c_in: int
    kernel: tuple[int, ...]
    c_out: int
    stride: int = 1
    padding: Any = "VALID"
    groups: int = 1
    sixteen: bool = True


SHAPES = (
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
    Shape("audio 1-D 4096 64", 8, (4096,), 64, (9,), 64, padding=4, sixteen=False),
    Shape("video 3-D 16x28x28 32", 2, (16, 28, 28), 32, (3, 3, 3), 32, padding=1, sixteen=False),
)
