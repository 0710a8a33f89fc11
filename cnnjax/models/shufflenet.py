"""ShuffleNet V2: half of the maps pass by, the other half are convolved, then both are shuffled."""

from __future__ import annotations

from cnnjax.layers import AdaptiveAvgPool2D, ChannelShuffle, Concatenate, Dense, MaxPool2D, Network, SelectMaps
from cnnjax.layers.network import Entry
from cnnjax.models.blocks import conv_norm
from cnnjax.models.conventions import imagenet_input

__all__ = ["shufflenet_v2_x1_0"]


def shufflenet_v2_x1_0(classes: int = 1000, size: int = 224) -> Network:
    """Build ShuffleNet V2 of full width::

        224x224 -conv1-> 24@112x112 -maxpool-> 24@56x56 -stage2-> 116@28x28 -stage3-> 232@14x14 -stage4-> 464@7x7
                -conv5-> 1024@7x7 -avgpool-> 1024@1x1 -fc-> 1000

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> shufflenet_v2_x1_0().input_names()["stage2.1.concat"]
        ('stage2.1.kept', 'stage2.1.branch2.6')

    Source: Ma et al. 2018, "ShuffleNet V2: practical guidelines for efficient CNN architecture design", table 5;
    parameters as in torchvision: 2,278,604.
    """
    entries: list[Entry] = [
        *conv_norm(("conv1.0", "conv1.1"), 24, 3, stride=2),
        ("maxpool", MaxPool2D(3, stride=2, padding=1)),
    ]
    maps_in = 24
    for stage, (maps, depth) in enumerate(((116, 4), (232, 8), (464, 4)), 2):
        entries += _halving_unit(f"stage{stage}.0", entries[-1][0], maps_in, maps)
        for i in range(1, depth):
            entries += _unit(f"stage{stage}.{i}", entries[-1][0], maps)
        maps_in = maps
    entries += conv_norm(("conv5.0", "conv5.1"), 1024, 1)
    entries += [("avgpool", AdaptiveAvgPool2D()), ("fc", Dense(classes))]
    return Network("ShuffleNet V2", imagenet_input(size), entries)


def _halving_unit(name: str, read: str, maps_in: int, maps: int) -> list[Entry]:
    """Return a unit that halves height and width; both of its branches convolve all maps."""
    branch = f"{name}.branch1"
    depthwise, pointwise = (f"{branch}.0", f"{branch}.1"), (f"{branch}.2", f"{branch}.3")
    return [
        *conv_norm(depthwise, maps_in, 3, read=read, stride=2, groups=maps_in, activation="identity"),
        *conv_norm(pointwise, maps // 2, 1),
        *_branch(f"{name}.branch2", read, maps // 2, stride=2),
        *_shuffled(name, pointwise[1]),
    ]


def _unit(name: str, read: str, maps: int) -> list[Entry]:
    """Return a unit whose first half of the maps passes by."""
    return [
        (f"{name}.kept", SelectMaps(0, maps // 2), read),
        (f"{name}.convolved", SelectMaps(maps // 2, maps), read),
        *_branch(f"{name}.branch2", f"{name}.convolved", maps // 2, stride=1),
        *_shuffled(name, f"{name}.kept"),
    ]


def _branch(name: str, read: str, maps: int, stride: int) -> list[Entry]:
    return [
        *conv_norm((f"{name}.0", f"{name}.1"), maps, 1, read=read),
        *conv_norm((f"{name}.3", f"{name}.4"), maps, 3, stride=stride, groups=maps, activation="identity"),
        *conv_norm((f"{name}.5", f"{name}.6"), maps, 1),
    ]


def _shuffled(name: str, first: str) -> list[Entry]:
    return [(f"{name}.concat", Concatenate(), (first, f"{name}.branch2.6")), (name, ChannelShuffle(2))]
