"""The convolution that comes with JAX: `jax.lax.conv_general_dilated`, compiled by XLA for each platform.

Same sum as the definition; its gradients are the transposes that JAX gives it. Cost: that of the vendor's library on
GPU and TPU (cuDNN, MXU); on a CPU that of Eigen's or oneDNN's for plain convolutions, and slow for grouped ones and
their gradients (jax issues 13800, 23713, 26266) and inside loops (12868).
"""

from __future__ import annotations

import jax
from jax import lax

from cnnjax.operator.method import Method, serves_all, transposed_in_w, transposed_in_x
from cnnjax.operator.spec import ConvSpec

__all__ = ["METHOD"]

_DIMENSIONS = {
    1: ("NWC", "WIO", "NWC"),
    2: ("NHWC", "HWIO", "NHWC"),
    3: ("NDHWC", "DHWIO", "NDHWC"),
}


def _convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        w,
        window_strides=spec.geometry.stride,
        padding=spec.geometry.pads,
        rhs_dilation=spec.geometry.dilation,
        dimension_numbers=_DIMENSIONS[len(spec.geometry.kernel)],
        feature_group_count=spec.groups,
        precision=spec.precision,
    )


METHOD = Method("lax", _convolve, transposed_in_x(_convolve), transposed_in_w(_convolve), serves_all, native=True)
