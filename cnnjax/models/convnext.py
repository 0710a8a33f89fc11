"""ConvNeXt-T: depthwise 7x7 convolutions and two dense layers at every pixel."""

from __future__ import annotations

from cnnjax.layers import (
    AdaptiveAvgPool2D,
    Add,
    Conv2D,
    Dense,
    LayerNorm,
    LayerScale,
    Network,
    PixelDense,
    StochasticDepth,
)
from cnnjax.layers.network import Entry
from cnnjax.models.conventions import imagenet_input

__all__ = ["convnext_tiny"]

_STAGES = ((96, 3), (192, 3), (384, 9), (768, 3))
"""The maps and the number of blocks of each stage."""


def convnext_tiny(classes: int = 1000, size: int = 224) -> Network:
    """Build ConvNeXt-T::

        224x224 -features.0-> 96@56x56 -1-> 96@56x56 -2, 3-> 192@28x28 -4, 5-> 384@14x14 -6, 7-> 768@7x7
                -avgpool-> 768@1x1 -classifier.2-> 1000

    The output of a block is the volume of its name, its input plus the scaled branch.

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> convnext_tiny().input_names()["features.1.1"]
        ('features.1.1.stochastic_depth', 'features.1.0')

    Source: Liu et al. 2022, "A ConvNet for the 2020s", table 9; parameters as in torchvision: 28,589,128.
    """
    entries: list[Entry] = []
    blocks, built = sum(depth for _, depth in _STAGES), 0
    for stage, (maps, depth) in enumerate(_STAGES):
        entries += _first_patches(maps) if stage == 0 else _patches(f"features.{2 * stage}", maps)
        for i in range(depth):
            drop_rate = 0.1 * built / (blocks - 1)
            entries += _block(f"features.{2 * stage + 1}.{i}", entries[-1][0], maps, drop_rate)
            built += 1
    entries += [
        ("avgpool", AdaptiveAvgPool2D()),
        ("classifier.0", LayerNorm(eps=1e-6)),
        ("classifier.2", Dense(classes)),
    ]
    return Network("ConvNeXt-T", imagenet_input(size), entries)


def _first_patches(maps: int) -> list[Entry]:
    return [("features.0.0", Conv2D(maps, 4, stride=4)), ("features.0.1", LayerNorm(eps=1e-6))]


def _patches(name: str, maps: int) -> list[Entry]:
    """Return the layers that halve height and width between two stages."""
    return [(f"{name}.0", LayerNorm(eps=1e-6)), (f"{name}.1", Conv2D(maps, 2, stride=2))]


def _block(name: str, read: str, maps: int, drop_rate: float) -> list[Entry]:
    return [
        (f"{name}.block.0", Conv2D(maps, 7, padding=3, groups=maps), read),
        (f"{name}.block.2", LayerNorm(eps=1e-6)),
        (f"{name}.block.3", PixelDense(4 * maps, activation="gelu_exact")),
        (f"{name}.block.5", PixelDense(maps)),
        (f"{name}.layer_scale", LayerScale()),
        (f"{name}.stochastic_depth", StochasticDepth(drop_rate)),
        (name, Add(), (f"{name}.stochastic_depth", read)),
    ]
