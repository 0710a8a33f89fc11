"""Layers and networks as data: frozen values that determine initialisation, evaluation, shapes and counts.

A layer is independent of its neighbours: the shape of its input, (H, W, C) or (n,) without the batch axis, is passed
to it. Its parameters are a dict of arrays, `{"w": ..., "b": ...}`, empty for a layer without parameters.
"""

from cnnjax.layers import anatomy, summary
from cnnjax.layers.base import Counts, Layer, Params, Shape
from cnnjax.layers.convolution import Conv2D
from cnnjax.layers.dense import RBF, Dense
from cnnjax.layers.network import Input, Network
from cnnjax.layers.pooling import AvgPool2D, MaxPool2D, Subsample2D

__all__ = [
    "RBF",
    "AvgPool2D",
    "Conv2D",
    "Counts",
    "Dense",
    "Input",
    "Layer",
    "MaxPool2D",
    "Network",
    "Params",
    "Shape",
    "Subsample2D",
    "anatomy",
    "summary",
]
