"""The convolution that comes with JAX: `jax.lax.conv_general_dilated`, compiled by XLA for each platform.

Same sum as the definition. Cost: that of the vendor's library on GPU and TPU (cuDNN, MXU); on a CPU it is Eigen's or
oneDNN's for plain convolutions and slow for grouped ones (jax issues 13800, 23713, 26266).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax._shapes import Geometry

__all__ = ["convolve"]

_DIMENSIONS = {
    1: ("NWC", "WIO", "NWC"),
    2: ("NHWC", "HWIO", "NHWC"),
    3: ("NDHWC", "DHWIO", "NDHWC"),
}


def convolve(
    x: jax.Array, w: jax.Array, geometry: Geometry, groups: int, dtype: jnp.dtype, precision: Any = None
) -> jax.Array:
    """Convolve x (N, *size, C_in) with w (*kernel, C_in / groups, C_out) into (N, *output, C_out) of `dtype`."""
    return lax.conv_general_dilated(
        x,
        w,
        window_strides=geometry.stride,
        padding=geometry.pads,
        rhs_dilation=geometry.dilation,
        dimension_numbers=_DIMENSIONS[len(geometry.kernel)],
        feature_group_count=groups,
        precision=precision,
        preferred_element_type=dtype,
    )
