"""Conventions of LeCun et al. 1998 that several architectures follow."""

from __future__ import annotations

from typing import Literal, TypedDict

from cnnjax.init import LeCunUniform
from cnnjax.layers import Input

__all__ = ["LECUN_UNITS", "lecun_input"]


class _Units(TypedDict):
    activation: Literal["scaled_tanh"]
    weight_init: LeCunUniform
    bias_init: LeCunUniform


LECUN_UNITS: _Units = {"activation": "scaled_tanh", "weight_init": LeCunUniform(), "bias_init": LeCunUniform()}
"""The arguments of a layer whose units apply 1.7159 tanh(2/3 a) and start uniform in +-2.4 / fan-in."""


def lecun_input(height: int, width: int) -> Input:
    """Return an input of one map, -0.1 for the background and 1.175 for ink, so MNIST has a mean of about 0."""
    return Input((height, width, 1), background=-0.1, foreground=1.175)
