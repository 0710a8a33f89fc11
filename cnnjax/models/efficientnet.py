"""EfficientNet-B0: inverted residuals with squeeze-and-excitation."""

from __future__ import annotations

from cnnjax.layers import AdaptiveAvgPool2D, Add, Conv2D, Dense, Dropout, Multiply, Network, StochasticDepth
from cnnjax.layers.network import Entry
from cnnjax.models.blocks import conv_norm
from cnnjax.models.conventions import imagenet_input

__all__ = ["efficientnet_b0"]

# Widening, kernel, stride, maps and depth of each stage.
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


def efficientnet_b0(classes: int = 1000, size: int = 224) -> Network:
    """Build EfficientNet-B0: sixteen blocks that widen, convolve each map alone, weigh the maps, and narrow again::

        224x224 -features.0-> 32@112x112 -1-> 16@112x112 -2-> 24@56x56 -3-> 40@28x28 -4-> 80@14x14 -5-> 112@14x14
                -6-> 192@7x7 -7-> 320@7x7 -8-> 1280@7x7 -avgpool-> 1280@1x1 -classifier.1-> 1000

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> efficientnet_b0().input_names()["features.1.0.block.1"]
        ('features.1.0.block.0.1', 'features.1.0.block.1.fc2')

    Source: Tan and Le 2019, "EfficientNet: rethinking model scaling for convolutional neural networks", table 1;
    parameters as in torchvision: 5,288,548.
    """
    entries = conv_norm(("features.0.0", "features.0.1"), 32, 3, stride=2, activation="silu")
    blocks, built, maps_in = sum(depth for *_, depth in _STAGES), 0, 32
    for stage, (widening, kernel, stride, maps, depth) in enumerate(_STAGES, 1):
        for i in range(depth):
            name, read = f"features.{stage}.{i}", entries[-1][0]
            entries += _widened(name, maps_in, widening * maps_in, kernel, stride if i == 0 else 1)
            entries += _narrowed(name, maps, 3 if widening > 1 else 2)
            if maps == maps_in:
                entries += _residual(name, read, drop_rate=0.2 * built / blocks)
            built, maps_in = built + 1, maps
    entries += conv_norm(("features.8.0", "features.8.1"), 1280, 1, activation="silu")
    entries += [("avgpool", AdaptiveAvgPool2D()), ("classifier.0", Dropout(0.2)), ("classifier.1", Dense(classes))]
    return Network("EfficientNet-B0", imagenet_input(size), entries)


def _widened(name: str, maps_in: int, maps: int, kernel: int, stride: int) -> list[Entry]:
    """Return the 1x1 convolution to more maps, the depthwise convolution, and squeeze-and-excitation."""
    entries: list[Entry] = []
    position = 0
    if maps > maps_in:
        entries += conv_norm((f"{name}.block.0.0", f"{name}.block.0.1"), maps, 1, activation="silu")
        position = 1
    depthwise, excitation = f"{name}.block.{position}", f"{name}.block.{position + 1}"
    entries += conv_norm(
        (f"{depthwise}.0", f"{depthwise}.1"), maps, kernel, stride=stride, groups=maps, activation="silu"
    )
    return [
        *entries,
        (f"{excitation}.avgpool", AdaptiveAvgPool2D()),
        (f"{excitation}.fc1", Conv2D(maps_in // 4, 1, activation="silu")),
        (f"{excitation}.fc2", Conv2D(maps, 1, activation="sigmoid")),
        (excitation, Multiply(), (f"{depthwise}.1", f"{excitation}.fc2")),
    ]


def _narrowed(name: str, maps: int, position: int) -> list[Entry]:
    """Return the 1x1 convolution to fewer maps."""
    return conv_norm((f"{name}.block.{position}.0", f"{name}.block.{position}.1"), maps, 1, activation="identity")


def _residual(name: str, read: str, drop_rate: float) -> list[Entry]:
    """Return the sum of a block's input and its branch, which training drops with this probability."""
    dropped = f"{name}.stochastic_depth"
    return [(dropped, StochasticDepth(drop_rate)), (name, Add(), (dropped, read))]
