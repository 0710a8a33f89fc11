"""Conventions that several architectures follow: of LeCun et al. 1998, and of networks for ImageNet."""

from __future__ import annotations

from typing import Literal, TypedDict

from cnnjax.init import LeCunUniform
from cnnjax.layers import Input

__all__ = ["LECUN_UNITS", "imagenet_input", "lecun_input"]


class _Units(TypedDict):
    activation: Literal["scaled_tanh"]
    weight_init: LeCunUniform
    bias_init: LeCunUniform


LECUN_UNITS: _Units = {"activation": "scaled_tanh", "weight_init": LeCunUniform(), "bias_init": LeCunUniform()}
"""The arguments of a layer whose units apply 1.7159 tanh(2/3 a) and start uniform in +-2.4 / fan-in."""


def lecun_input(height: int, width: int) -> Input:
    """Return an input of one map, -0.1 for the background and 1.175 for ink, so MNIST has a mean of about 0."""
    return Input((height, width, 1), background=-0.1, foreground=1.175)


def imagenet_input(size: int) -> Input:
    """Return an input of size x size pixels in red, green and blue, each with mean 0 and variance 1 over ImageNet.

    Source: the preprocessing of the weights of torchvision: means 0.485, 0.456, 0.406, deviations 0.229, 0.224, 0.225.
    """
    colours = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
    return Input(
        (size, size, 3),
        background=tuple(-mean / deviation for mean, deviation in colours),
        foreground=tuple((1 - mean) / deviation for mean, deviation in colours),
    )
