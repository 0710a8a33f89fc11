"""Pooling by maximum, mean or p-norm, and LeNet-5's trainable sub-sampling: one value for each window of each map.

Pooling never mixes maps and never changes their number. Windows are `stride` pixels apart, by default side by side.
A value that is not finite reaches only the windows that contain it, and a cotangent only the pixels of its window.
"""

from cnnjax.pooling.maximum import max_pool1d, max_pool2d, max_pool3d
from cnnjax.pooling.mean import avg_pool1d, avg_pool2d, avg_pool3d
from cnnjax.pooling.norm import lp_pool1d, lp_pool2d, lp_pool3d
from cnnjax.pooling.placement import pool_geometry
from cnnjax.pooling.subsampling import subsample2d

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "pool_geometry",
    "subsample2d",
]
