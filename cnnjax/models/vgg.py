"""The networks of the Visual Geometry Group with 11, 16 and 19 layers of weights."""

from __future__ import annotations

from collections.abc import Sequence

from cnnjax.init import HeNormal
from cnnjax.layers import AdaptiveAvgPool2D, Conv2D, Dense, Dropout, MaxPool2D, Network
from cnnjax.layers.network import Entry
from cnnjax.models.conventions import imagenet_input

__all__ = ["vgg11", "vgg16", "vgg19"]


def vgg11(classes: int = 1000, size: int = 224) -> Network:
    """Build VGG-11, configuration A: eight 3x3 convolutions and three dense layers, otherwise as `vgg16`.

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> vgg11().shapes()["features.20"]
        (7, 7, 512)

    Source: Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition", table 1;
    parameters as in torchvision: 132,863,336.
    """
    return _vgg("VGG-11", [1, 1, 2, 2, 2], classes, size)


def vgg16(classes: int = 1000, size: int = 224) -> Network:
    """Build VGG-16, configuration D: five stages of 3x3 convolutions, a maximum after each, and three dense layers::

        224x224 -stage 1-> 64@112x112 -2-> 128@56x56 -3-> 256@28x28 -4-> 512@14x14 -5-> 512@7x7
                -classifier.0-> 4096 -classifier.3-> 4096 -classifier.6-> 1000

    Args:
        classes: the number of outputs.
        size: the height and width of an image; other sizes than 224 are averaged to 7x7 before the dense layers.

    Example:
        >>> dict(vgg16().layers)["classifier.0"].counts((7, 7, 512)).num_weights
        102760448

    Source: Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition", table 1;
    parameters as in torchvision: 138,357,544.
    """
    return _vgg("VGG-16", [2, 2, 3, 3, 3], classes, size)


def vgg19(classes: int = 1000, size: int = 224) -> Network:
    """Build VGG-19, configuration E: sixteen 3x3 convolutions and three dense layers, otherwise as `vgg16`.

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> vgg19().shapes()["features.36"]
        (7, 7, 512)

    Source: Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image recognition", table 1;
    parameters as in torchvision: 143,667,240.
    """
    return _vgg("VGG-19", [2, 2, 4, 4, 4], classes, size)


def _vgg(name: str, depths: Sequence[int], classes: int, size: int) -> Network:
    entries: list[Entry] = []
    position = 0  # in torchvision's sequence, where a rectifier counts as a module
    for depth, maps in zip(depths, (64, 128, 256, 512, 512), strict=True):
        for _ in range(depth):
            convolution = Conv2D(maps, 3, padding=1, activation="relu", weight_init=HeNormal())
            entries.append((f"features.{position}", convolution))
            position += 2
        entries.append((f"features.{position}", MaxPool2D(2)))
        position += 1
    entries += [
        ("avgpool", AdaptiveAvgPool2D(7)),
        ("classifier.0", Dense(4096, activation="relu")),
        ("classifier.2", Dropout(0.5)),
        ("classifier.3", Dense(4096, activation="relu")),
        ("classifier.5", Dropout(0.5)),
        ("classifier.6", Dense(classes)),
    ]
    return Network(name, imagenet_input(size), entries)
