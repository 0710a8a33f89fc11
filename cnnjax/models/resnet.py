"""The residual networks ResNet-18, 34 and 50, and ResNeXt-50 with 32 groups of 4 maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cnnjax.layers import AdaptiveAvgPool2D, Add, Dense, MaxPool2D, Network
from cnnjax.layers.network import Entry
from cnnjax.models.blocks import conv_norm
from cnnjax.models.conventions import imagenet_input

__all__ = ["resnet18", "resnet34", "resnet50", "resnext50_32x4d"]


def resnet18(classes: int = 1000, size: int = 224) -> Network:
    """Build ResNet-18: eight residual blocks of two 3x3 convolutions::

        224x224 -conv1-> 64@112x112 -maxpool-> 64@56x56 -layer1-> 64@56x56 -layer2-> 128@28x28
                -layer3-> 256@14x14 -layer4-> 512@7x7 -avgpool-> 512@1x1 -fc-> 1000

    The output of a block is the volume of its name: layer1.0 is layer1.0.bn2 plus the maps of maxpool, rectified.

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> resnet18().input_names()["layer1.0"]
        ('layer1.0.bn2', 'maxpool')

    Source: He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition", table 1; parameters as in
    torchvision: 11,689,512.
    """
    return _residual_network("ResNet-18", [2, 2, 2, 2], _two_convolutions, classes, size)


def resnet34(classes: int = 1000, size: int = 224) -> Network:
    """Build ResNet-34: sixteen residual blocks of two 3x3 convolutions, otherwise as `resnet18`.

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> len([name for name, _ in resnet34().layers if "conv" in name])
        33

    Source: He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition", table 1; parameters as in
    torchvision: 21,797,672.
    """
    return _residual_network("ResNet-34", [3, 4, 6, 3], _two_convolutions, classes, size)


def resnet50(classes: int = 1000, size: int = 224) -> Network:
    """Build ResNet-50: sixteen blocks of a 1x1, a 3x3 and a 1x1 convolution, the last with four times the maps::

        224x224 -conv1-> 64@112x112 -maxpool-> 64@56x56 -layer1-> 256@56x56 -layer2-> 512@28x28
                -layer3-> 1024@14x14 -layer4-> 2048@7x7 -avgpool-> 2048@1x1 -fc-> 1000

    Where a block halves the size, its 3x3 convolution has stride 2, as in torchvision; in the paper it is the first
    1x1 convolution.

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> resnet50().shapes()["layer4.2"]
        (7, 7, 2048)

    Source: He, Zhang, Ren and Sun 2016, "Deep residual learning for image recognition", table 1; parameters as in
    torchvision: 25,557,032.
    """
    return _residual_network("ResNet-50", [3, 4, 6, 3], _bottleneck, classes, size)


def resnext50_32x4d(classes: int = 1000, size: int = 224) -> Network:
    """Build ResNeXt-50 (32x4d): ResNet-50 whose 3x3 convolutions are in 32 groups and have twice the maps.

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> dict(resnext50_32x4d().layers)["layer1.0.conv2"].groups
        32

    Source: Xie et al. 2017, "Aggregated residual transformations for deep neural networks", table 1; parameters as in
    torchvision: 25,028,904.
    """
    return _residual_network("ResNeXt-50 32x4d", [3, 4, 6, 3], _grouped_bottleneck, classes, size)


class _Convolution(NamedTuple):
    maps: int
    kernel: int
    stride: int = 1
    groups: int = 1


def _two_convolutions(maps: int, stride: int) -> tuple[_Convolution, ...]:
    return _Convolution(maps, 3, stride), _Convolution(maps, 3)


def _bottleneck(maps: int, stride: int) -> tuple[_Convolution, ...]:
    return _Convolution(maps, 1), _Convolution(maps, 3, stride), _Convolution(4 * maps, 1)


def _grouped_bottleneck(maps: int, stride: int) -> tuple[_Convolution, ...]:
    return _Convolution(2 * maps, 1), _Convolution(2 * maps, 3, stride, groups=32), _Convolution(4 * maps, 1)


def _residual_network(
    name: str,
    depths: Sequence[int],
    convolutions: Callable[[int, int], tuple[_Convolution, ...]],
    classes: int,
    size: int,
) -> Network:
    entries: list[Entry] = [
        *conv_norm(("conv1", "bn1"), 64, 7, stride=2),
        ("maxpool", MaxPool2D(3, stride=2, padding=1)),
    ]
    maps = 64
    for stage, depth in enumerate(depths):
        for i in range(depth):
            stride = 2 if stage > 0 and i == 0 else 1
            block = convolutions(64 * 2**stage, stride)
            projects = stride > 1 or block[-1].maps != maps
            entries += _residual_block(f"layer{stage + 1}.{i}", entries[-1][0], block, stride if projects else None)
            maps = block[-1].maps
    return Network(name, imagenet_input(size), [*entries, ("avgpool", AdaptiveAvgPool2D()), ("fc", Dense(classes))])


def _residual_block(
    name: str, read: str, convolutions: tuple[_Convolution, ...], projection_stride: int | None
) -> list[Entry]:
    """Return the convolutions, a 1x1 convolution of the volume read if there is a projection, and their sum."""
    entries: list[Entry] = []
    for i, conv in enumerate(convolutions, 1):
        entries += conv_norm(
            (f"{name}.conv{i}", f"{name}.bn{i}"),
            conv.maps,
            conv.kernel,
            read=read if i == 1 else None,
            stride=conv.stride,
            groups=conv.groups,
            activation="relu" if i < len(convolutions) else "identity",
        )
    branch, shortcut = entries[-1][0], read
    if projection_stride is not None:
        names = (f"{name}.downsample.0", f"{name}.downsample.1")
        maps = convolutions[-1].maps
        entries += conv_norm(names, maps, 1, read=read, stride=projection_stride, activation="identity")
        shortcut = names[1]
    return [*entries, (name, Add(activation="relu"), (branch, shortcut))]
