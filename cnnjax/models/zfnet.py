"""ZFNet: AlexNet with smaller kernels and strides in its first two layers."""

from __future__ import annotations

from cnnjax.init import Normal
from cnnjax.layers import Conv2D, Dense, Dropout, LocalResponseNorm, MaxPool2D, Network
from cnnjax.models.conventions import imagenet_input

__all__ = ["zfnet"]


def zfnet(classes: int = 1000, size: int = 224) -> Network:
    """Build the network of Zeiler and Fergus, whose sizes are those of their figure 3::

        224x224 -conv1-> 96@110x110 -pool1-> 96@55x55 -conv2-> 256@26x26 -pool2-> 256@13x13 -conv3-> 384@13x13
                -conv4-> 384@13x13 -conv5-> 256@13x13 -pool5-> 256@6x6 -fc6-> 4096 -fc7-> 4096 -fc8-> 1000

    The paper gives kernels and strides but no padding; one pixel in conv1, and windows at the edge that are not whole
    in pool1 and pool2, lead to these sizes. Weights start normal with a deviation of 0.01, biases at 0.

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> zfnet().shapes()["pool2"]
        (13, 13, 256)

    Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 3 and figure 3.
    """
    start = Normal(0.01)
    hidden = Dense(4096, activation="relu", weight_init=start)
    return Network(
        "ZFNet",
        imagenet_input(size),
        (
            ("conv1", Conv2D(96, 7, stride=2, padding=1, activation="relu", weight_init=start)),
            ("pool1", MaxPool2D(3, stride=2, ceil_mode=True)),
            ("norm1", LocalResponseNorm()),
            ("conv2", Conv2D(256, 5, stride=2, activation="relu", weight_init=start)),
            ("pool2", MaxPool2D(3, stride=2, ceil_mode=True)),
            ("norm2", LocalResponseNorm()),
            ("conv3", Conv2D(384, 3, padding=1, activation="relu", weight_init=start)),
            ("conv4", Conv2D(384, 3, padding=1, activation="relu", weight_init=start)),
            ("conv5", Conv2D(256, 3, padding=1, activation="relu", weight_init=start)),
            ("pool5", MaxPool2D(3, stride=2)),
            ("fc6", hidden),
            ("drop6", Dropout(0.5)),
            ("fc7", hidden),
            ("drop7", Dropout(0.5)),
            ("fc8", Dense(classes, weight_init=start)),
        ),
    )
