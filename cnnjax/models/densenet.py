"""DenseNet-121: every layer of a block reads the maps of all layers before it."""

from __future__ import annotations

from cnnjax.init import HeNormal
from cnnjax.layers import AdaptiveAvgPool2D, AvgPool2D, BatchNorm, Concatenate, Conv2D, Dense, MaxPool2D, Network
from cnnjax.layers.network import Entry
from cnnjax.models.blocks import conv_norm
from cnnjax.models.conventions import imagenet_input

__all__ = ["densenet121"]

_GROWTH = 32


def densenet121(classes: int = 1000, size: int = 224) -> Network:
    """Build DenseNet-121: four dense blocks, in which each layer adds 32 maps, and transitions that halve them::

        224x224 -conv0-> 64@112x112 -pool0-> 64@56x56 -denseblock1-> 256@56x56 -transition1-> 128@28x28
                -denseblock2-> 512@28x28 -transition2-> 256@14x14 -denseblock3-> 1024@14x14
                -transition3-> 512@7x7 -denseblock4-> 1024@7x7 -avgpool-> 1024@1x1 -classifier-> 1000

    The volume of a dense layer's name has the maps of all layers of its block so far, and those of the block's input.

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> densenet121().shapes()["features.denseblock1.denselayer6"]
        (56, 56, 256)

    Source: Huang, Liu, van der Maaten and Weinberger 2017, "Densely connected convolutional networks", table 1;
    parameters as in torchvision: 7,978,856.
    """
    entries: list[Entry] = [
        *conv_norm(("features.conv0", "features.norm0"), 2 * _GROWTH, 7, stride=2),
        ("features.pool0", MaxPool2D(3, stride=2, padding=1)),
    ]
    maps = 2 * _GROWTH
    for block, depth in enumerate((6, 12, 24, 16), 1):
        for i in range(1, depth + 1):
            entries += _dense_layer(f"features.denseblock{block}.denselayer{i}", entries[-1][0])
        maps += depth * _GROWTH
        if block < 4:
            maps //= 2
            entries += _transition(f"features.transition{block}", maps)
    entries += [
        ("features.norm5", BatchNorm(activation="relu")),
        ("avgpool", AdaptiveAvgPool2D()),
        ("classifier", Dense(classes)),
    ]
    return Network("DenseNet-121", imagenet_input(size), entries)


def _dense_layer(name: str, read: str) -> list[Entry]:
    return [
        (f"{name}.norm1", BatchNorm(activation="relu"), read),
        (f"{name}.conv1", Conv2D(4 * _GROWTH, 1, bias=False, weight_init=HeNormal())),
        (f"{name}.norm2", BatchNorm(activation="relu")),
        (f"{name}.conv2", Conv2D(_GROWTH, 3, padding=1, bias=False, weight_init=HeNormal())),
        (name, Concatenate(), (read, f"{name}.conv2")),
    ]


def _transition(name: str, maps: int) -> list[Entry]:
    return [
        (f"{name}.norm", BatchNorm(activation="relu")),
        (f"{name}.conv", Conv2D(maps, 1, bias=False, weight_init=HeNormal())),
        (f"{name}.pool", AvgPool2D(2)),
    ]
