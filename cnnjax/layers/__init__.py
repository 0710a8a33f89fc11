"""Layers and networks as data: frozen values that determine initialisation, evaluation, shapes and counts.

A layer is independent of its neighbours: the shape of its input, (H, W, C) or (n,) without the batch axis, is passed
to it. Its parameters are a dict of arrays, `{"w": ..., "b": ...}`, empty for a layer without parameters.
"""

from cnnjax.layers import anatomy, summary
from cnnjax.layers.base import Counts, Layer, Params, Shape
from cnnjax.layers.combination import Add, Concatenate, Multiply
from cnnjax.layers.convolution import Conv2D
from cnnjax.layers.dense import RBF, Dense, PixelDense
from cnnjax.layers.input import Input
from cnnjax.layers.maps import Activation, ChannelShuffle, Flatten, LayerScale, PReLU, SelectMaps
from cnnjax.layers.network import Network
from cnnjax.layers.noise import Dropout, StochasticDepth
from cnnjax.layers.normalization import BatchNorm, GroupNorm, LayerNorm, LocalResponseNorm
from cnnjax.layers.pooling import AdaptiveAvgPool2D, AvgPool2D, MaxPool2D, Subsample2D

__all__ = [
    "RBF",
    "Activation",
    "AdaptiveAvgPool2D",
    "Add",
    "AvgPool2D",
    "BatchNorm",
    "ChannelShuffle",
    "Concatenate",
    "Conv2D",
    "Counts",
    "Dense",
    "Dropout",
    "Flatten",
    "GroupNorm",
    "Input",
    "Layer",
    "LayerNorm",
    "LayerScale",
    "LocalResponseNorm",
    "MaxPool2D",
    "Multiply",
    "Network",
    "PReLU",
    "Params",
    "PixelDense",
    "SelectMaps",
    "Shape",
    "StochasticDepth",
    "Subsample2D",
    "anatomy",
    "summary",
]
