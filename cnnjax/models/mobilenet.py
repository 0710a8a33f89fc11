"""MobileNet V1 and V2: depthwise convolutions, one kernel for each map, and 1x1 convolutions."""

from __future__ import annotations

from cnnjax.layers import AdaptiveAvgPool2D, Add, Dense, Dropout, Network
from cnnjax.layers.network import Entry
from cnnjax.models.blocks import conv_norm
from cnnjax.models.conventions import imagenet_input

__all__ = ["mobilenet_v2", "mobilenetv1_100"]


def mobilenetv1_100(classes: int = 1000, size: int = 224) -> Network:
    """Build MobileNet V1 of full width: thirteen depthwise convolutions, each followed by a 1x1 convolution::

        224x224 -conv_stem-> 32@112x112 -blocks.0-> 64@112x112 -1-> 128@56x56 -2-> 256@28x28 -3-> 512@14x14
                -4-> 1024@7x7 -global_pool-> 1024@1x1 -classifier-> 1000

    As timm has it, with ReLU6 for the rectifiers.

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> dict(mobilenetv1_100().layers)["blocks.0.0.conv_dw"].groups
        32

    Source: Howard et al. 2017, "MobileNets: efficient convolutional neural networks for mobile vision applications",
    table 1; names as in timm; parameters 4,231,976.
    """
    entries = conv_norm(("conv_stem", "bn1"), 32, 3, stride=2, activation="relu6")
    maps_in = 32
    for stage, (maps, depth) in enumerate(((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))):
        for i in range(depth):
            name = f"blocks.{stage}.{i}"
            stride = 2 if stage > 0 and i == 0 else 1
            depthwise, pointwise = (f"{name}.conv_dw", f"{name}.bn1"), (f"{name}.conv_pw", f"{name}.bn2")
            entries += conv_norm(depthwise, maps_in, 3, stride=stride, groups=maps_in, activation="relu6")
            entries += conv_norm(pointwise, maps, 1, activation="relu6")
            maps_in = maps
    entries += [("global_pool", AdaptiveAvgPool2D()), ("classifier", Dense(classes))]
    return Network("MobileNet V1", imagenet_input(size), entries)


def mobilenet_v2(classes: int = 1000, size: int = 224) -> Network:
    """Build MobileNet V2: seventeen inverted residuals, which widen, convolve each map alone, and narrow again::

        224x224 -features.0-> 32@112x112 -1-> 16@112x112 -2, 3-> 24@56x56 -4 to 6-> 32@28x28 -7 to 10-> 64@14x14
                -11 to 13-> 96@14x14 -14 to 16-> 160@7x7 -17-> 320@7x7 -18-> 1280@7x7 -avgpool-> 1280@1x1
                -classifier.1-> 1000

    The output of a block is the volume of its name, a sum where its input has the same shape.

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> mobilenet_v2().input_names()["features.3"]
        ('features.3.conv.3', 'features.2.conv.3')

    Source: Sandler et al. 2018, "MobileNetV2: inverted residuals and linear bottlenecks", table 2; parameters as in
    torchvision: 3,504,872.
    """
    entries = conv_norm(("features.0.0", "features.0.1"), 32, 3, stride=2, activation="relu6")
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    position, maps_in = 1, 32
    for widening, maps, depth, stride in stages:
        for i in range(depth):
            entries += _inverted_residual(
                f"features.{position}", entries[-1][0], maps_in, maps, widening, stride if i == 0 else 1
            )
            position, maps_in = position + 1, maps
    entries += conv_norm((f"features.{position}.0", f"features.{position}.1"), 1280, 1, activation="relu6")
    entries += [("avgpool", AdaptiveAvgPool2D()), ("classifier.0", Dropout(0.2)), ("classifier.1", Dense(classes))]
    return Network("MobileNet V2", imagenet_input(size), entries)


def _inverted_residual(name: str, read: str, maps_in: int, maps: int, widening: int, stride: int) -> list[Entry]:
    entries: list[Entry] = []
    wide, position = widening * maps_in, 0
    if widening > 1:
        entries += conv_norm((f"{name}.conv.0.0", f"{name}.conv.0.1"), wide, 1, activation="relu6")
        position = 1
    depthwise = (f"{name}.conv.{position}.0", f"{name}.conv.{position}.1")
    entries += conv_norm(depthwise, wide, 3, stride=stride, groups=wide, activation="relu6")
    narrow = (f"{name}.conv.{position + 1}", f"{name}.conv.{position + 2}")
    entries += conv_norm(narrow, maps, 1, activation="identity")
    if stride == 1 and maps == maps_in:
        entries.append((name, Add(), (narrow[1], read)))
    return entries
