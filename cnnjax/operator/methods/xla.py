"""XLA's convolution, `jax.lax.conv_general_dilated`, with the gradients that JAX derives from it.

Cost: that of the vendor's library on GPU and TPU (cuDNN, MXU). On a CPU, that of Eigen or oneDNN for ordinary
convolutions; grouped ones and their gradients are slow (jax issues 13800, 23713, 26266), and so is every convolution
inside a loop (12868). It serves every convolution.
"""

from __future__ import annotations

import jax
from jax import lax

from cnnjax.operator.method import Method, serves_all, transposed_in_w, transposed_in_x
from cnnjax.operator.spec import ConvSpec, Direction

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


def _spreads(direction: Direction, spec: ConvSpec) -> tuple[int, ...]:
    # XLA multiplies the weights by the zeros between and around the cotangent's pixels, and of several groups it makes
    # one kernel with zeros.
    if direction == "forward":
        return ()
    return (0, 1) if spec.groups > 1 else (0,) if direction == "input_gradient" else ()


METHOD = Method(
    "lax",
    _convolve,
    transposed_in_x(_convolve),
    transposed_in_w(_convolve),
    serves_all,
    native=True,
    spreads=_spreads,
)
