"""Convolutions as pure functions over explicit weight arrays.

All are cross-correlations (the kernel is not flipped), channels last, with weights in HWIO order::

    y[n, p, o] = b[o] + sum over taps t and input maps c of  x[n, p * stride + t * dilation - before, c] * w[t, c, o]
"""

from cnnjax.conv.depthwise import depthwise_conv2d, separable_conv2d
from cnnjax.conv.local import local_conv2d
from cnnjax.conv.settings import Connections, ConvSettings
from cnnjax.conv.standard import conv1d, conv2d, conv3d
from cnnjax.conv.transpose import conv1d_transpose, conv2d_transpose, conv3d_transpose

__all__ = [
    "Connections",
    "ConvSettings",
    "conv1d",
    "conv1d_transpose",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "conv3d_transpose",
    "depthwise_conv2d",
    "local_conv2d",
    "separable_conv2d",
]
