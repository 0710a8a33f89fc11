"""GoogLeNet: nine inception modules, four branches side by side."""

from __future__ import annotations

from functools import partial

from cnnjax.layers import AdaptiveAvgPool2D, Concatenate, Dense, Dropout, MaxPool2D, Network
from cnnjax.layers.network import Entry
from cnnjax.models.blocks import conv_norm
from cnnjax.models.conventions import imagenet_input

__all__ = ["googlenet"]

# Maps of an inception module: 1x1; 3x3 and the 1x1 before it; 5x5 and the 1x1 before it; the 1x1 after the pool.
_STAGES = (
    {"3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64)},
    {
        "4a": (192, 96, 208, 16, 48, 64),
        "4b": (160, 112, 224, 24, 64, 64),
        "4c": (128, 128, 256, 24, 64, 64),
        "4d": (112, 144, 288, 32, 64, 64),
        "4e": (256, 160, 320, 32, 128, 128),
    },
    {"5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128)},
)


def googlenet(classes: int = 1000, size: int = 224) -> Network:
    """Build GoogLeNet without its auxiliary classifiers::

        224x224 -conv1-> 64@112x112 -maxpool1-> 64@56x56 -conv2, conv3-> 192@56x56 -maxpool2-> 192@28x28
                -3a, 3b-> 480@28x28 -maxpool3-> 480@14x14 -4a to 4e-> 832@14x14 -maxpool4-> 832@7x7
                -5a, 5b-> 1024@7x7 -avgpool-> 1024@1x1 -fc-> 1000

    As torchvision has it: with batch normalisation, and with kernels of 3x3 where the paper has 5x5.

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> googlenet().shapes()["inception3a"]
        (28, 28, 256)

    Source: Szegedy et al. 2015, "Going deeper with convolutions", table 1; parameters as in torchvision without
    auxiliary classifiers: 6,624,904.
    """
    pool = partial(MaxPool2D, stride=2, ceil_mode=True)
    entries: list[Entry] = [
        *_convolution("conv1", 64, 7, stride=2),
        ("maxpool1", pool(3)),
        *_convolution("conv2", 64, 1),
        *_convolution("conv3", 192, 3),
        ("maxpool2", pool(3)),
    ]
    for stage, modules in enumerate(_STAGES):
        for name, maps in modules.items():
            entries += _inception(f"inception{name}", entries[-1][0], *maps)
        if stage < 2:
            entries.append((f"maxpool{stage + 3}", pool(3 if stage == 0 else 2)))
    entries += [("avgpool", AdaptiveAvgPool2D()), ("dropout", Dropout(0.2)), ("fc", Dense(classes))]
    return Network("GoogLeNet", imagenet_input(size), entries)


def _convolution(name: str, maps: int, kernel: int, *, read: str | None = None, stride: int = 1) -> list[Entry]:
    return conv_norm((f"{name}.conv", f"{name}.bn"), maps, kernel, read=read, stride=stride, eps=1e-3)


def _inception(
    name: str, read: str, one: int, before_three: int, three: int, before_five: int, five: int, pooled: int
) -> list[Entry]:
    return [
        *_convolution(f"{name}.branch1", one, 1, read=read),
        *_convolution(f"{name}.branch2.0", before_three, 1, read=read),
        *_convolution(f"{name}.branch2.1", three, 3),
        *_convolution(f"{name}.branch3.0", before_five, 1, read=read),
        *_convolution(f"{name}.branch3.1", five, 3),
        (f"{name}.branch4.0", MaxPool2D(3, stride=1, padding=1, ceil_mode=True), read),
        *_convolution(f"{name}.branch4.1", pooled, 1),
        (name, Concatenate(), [f"{name}.{branch}.bn" for branch in ("branch1", "branch2.1", "branch3.1", "branch4.1")]),
    ]
