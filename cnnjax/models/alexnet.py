"""AlexNet: as published in 2012, in two groups of maps, and as torchvision has it, after Krizhevsky 2014."""

from __future__ import annotations

from cnnjax.init import Constant, Normal
from cnnjax.layers import AdaptiveAvgPool2D, Conv2D, Dense, Dropout, LocalResponseNorm, MaxPool2D, Network
from cnnjax.models.conventions import imagenet_input

__all__ = ["alexnet", "alexnet_2012"]


def alexnet_2012(classes: int = 1000, size: int = 227) -> Network:
    """Build the AlexNet of 2012, whose maps were on two devices: conv2, conv4 and conv5 are in two groups::

        227x227 -conv1-> 96@55x55 -pool1-> 96@27x27 -conv2-> 256@27x27 -pool2-> 256@13x13 -conv3-> 384@13x13
                -conv4-> 384@13x13 -conv5-> 256@13x13 -pool5-> 256@6x6 -fc6-> 4096 -fc7-> 4096 -fc8-> 1000

    Local response normalisation follows conv1 and conv2. The paper says 224x224, which does not give 55x55; 227 does.
    Weights start normal with a deviation of 0.01, the biases of conv2, conv4, conv5, fc6 and fc7 at 1.

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> import cnnjax
        >>> cnnjax.layers.summary.summary(alexnet_2012()).num_parameters
        60965224

    Source: Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural networks",
    sections 3.5 and 5.
    """
    start, one = Normal(0.01), Constant(1.0)

    def conv(maps: int, kernel: int, *, stride: int = 1, groups: int = 1, bias: Constant = one) -> Conv2D:
        return Conv2D(
            maps,
            kernel,
            stride=stride,
            padding=kernel // 2 if stride == 1 else 0,
            groups=groups,
            activation="relu",
            weight_init=start,
            bias_init=bias,
        )

    hidden = Dense(4096, activation="relu", weight_init=start, bias_init=one)
    return Network(
        "AlexNet 2012",
        imagenet_input(size),
        (
            ("conv1", conv(96, 11, stride=4, bias=Constant())),
            ("norm1", LocalResponseNorm()),
            ("pool1", MaxPool2D(3, stride=2)),
            ("conv2", conv(256, 5, groups=2)),
            ("norm2", LocalResponseNorm()),
            ("pool2", MaxPool2D(3, stride=2)),
            ("conv3", conv(384, 3, bias=Constant())),
            ("conv4", conv(384, 3, groups=2)),
            ("conv5", conv(256, 3, groups=2)),
            ("pool5", MaxPool2D(3, stride=2)),
            ("fc6", hidden),
            ("drop6", Dropout(0.5)),
            ("fc7", hidden),
            ("drop7", Dropout(0.5)),
            ("fc8", Dense(classes, weight_init=start)),
        ),
    )


def alexnet(classes: int = 1000, size: int = 224) -> Network:
    """Build AlexNet as torchvision has it, with fewer maps, without groups and without normalisation::

        224x224 -features.0-> 64@55x55 -2-> 64@27x27 -3-> 192@27x27 -5-> 192@13x13 -6-> 384@13x13 -8-> 256@13x13
                -10-> 256@13x13 -12-> 256@6x6 -classifier.1-> 4096 -4-> 4096 -6-> 1000

    Args:
        classes: the number of outputs.
        size: the height and width of an image.

    Example:
        >>> alexnet().shapes()["features.12"]
        (6, 6, 256)

    Source: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks"; parameters as in
    torchvision: 61,100,840.
    """
    return Network(
        "AlexNet",
        imagenet_input(size),
        (
            ("features.0", Conv2D(64, 11, stride=4, padding=2, activation="relu")),
            ("features.2", MaxPool2D(3, stride=2)),
            ("features.3", Conv2D(192, 5, padding=2, activation="relu")),
            ("features.5", MaxPool2D(3, stride=2)),
            ("features.6", Conv2D(384, 3, padding=1, activation="relu")),
            ("features.8", Conv2D(256, 3, padding=1, activation="relu")),
            ("features.10", Conv2D(256, 3, padding=1, activation="relu")),
            ("features.12", MaxPool2D(3, stride=2)),
            ("avgpool", AdaptiveAvgPool2D(6)),
            ("classifier.0", Dropout(0.5)),
            ("classifier.1", Dense(4096, activation="relu")),
            ("classifier.3", Dropout(0.5)),
            ("classifier.4", Dense(4096, activation="relu")),
            ("classifier.6", Dense(classes)),
        ),
    )
