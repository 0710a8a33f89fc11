"""SqueezeNet 1.0 and 1.1: fire modules, 1x1 convolutions before 1x1 and 3x3 convolutions side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from cnnjax.init import HeNormal
from cnnjax.layers import AdaptiveAvgPool2D, Concatenate, Conv2D, Dropout, Flatten, MaxPool2D, Network
from cnnjax.layers.network import Entry
from cnnjax.models.conventions import imagenet_input

__all__ = ["squeezenet1_0", "squeezenet1_1"]


_conv = partial(Conv2D, activation="relu", weight_init=HeNormal())


def squeezenet1_0(classes: int = 1000, size: int = 224) -> Network:
    """Build SqueezeNet 1.0: a 7x7 convolution, eight fire modules, a 1x1 convolution for each class, its mean::

        224x224 -features.0-> 96@109x109 -2-> 96@54x54 -3 to 5-> 256@54x54 -6-> 256@27x27 -7 to 10-> 512@27x27
                -11-> 512@13x13 -12-> 512@13x13 -classifier.1-> 1000@13x13 -classifier.3-> 1000

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> squeezenet1_0().input_names()["features.3"]
        ('features.3.expand1x1', 'features.3.expand3x3')

    Source: Iandola et al. 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
    table 1; parameters as in torchvision: 1,248,424.
    """
    stages = (16, 16, 32), (32, 48, 48, 64), (64,)
    return _squeezenet("SqueezeNet 1.0", _conv(96, 7, stride=2), stages, classes, size)


def squeezenet1_1(classes: int = 1000, size: int = 224) -> Network:
    """Build SqueezeNet 1.1: a 3x3 convolution of 64 maps first and earlier pools, otherwise as `squeezenet1_0`.

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> squeezenet1_1().shapes()["features.12"]
        (13, 13, 512)

    Source: the authors' repository, version 1.1; parameters as in torchvision: 1,235,496.
    """
    stages = (16, 16), (32, 32), (48, 48, 64, 64)
    return _squeezenet("SqueezeNet 1.1", _conv(64, 3, stride=2), stages, classes, size)


def _squeezenet(name: str, first: Conv2D, stages: Sequence[Sequence[int]], classes: int, size: int) -> Network:
    """Build a network of fire modules with these numbers of squeezed maps, and a pool before each stage."""
    entries: list[Entry] = [("features.0", first)]
    position = 2  # in torchvision's sequence, where the rectifier counts as a module
    for squeezes in stages:
        entries.append((f"features.{position}", MaxPool2D(3, stride=2, ceil_mode=True)))
        for squeeze in squeezes:
            position += 1
            entries += _fire(f"features.{position}", squeeze)
        position += 1
    entries += [
        ("classifier.0", Dropout(0.5)),
        ("classifier.1", _conv(classes, 1)),
        ("classifier.3", AdaptiveAvgPool2D()),
        ("flatten", Flatten()),
    ]
    return Network(name, imagenet_input(size), entries)


def _fire(name: str, squeeze: int) -> list[Entry]:
    """Return a module that squeezes to a number of maps and expands to eight times as many."""
    expand1x1, expand3x3 = f"{name}.expand1x1", f"{name}.expand3x3"
    return [
        (f"{name}.squeeze", _conv(squeeze, 1)),
        (expand1x1, _conv(4 * squeeze, 1)),
        (expand3x3, _conv(4 * squeeze, 3, padding=1), f"{name}.squeeze"),
        (name, Concatenate(), (expand1x1, expand3x3)),
    ]
