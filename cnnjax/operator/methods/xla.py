"""XLA's convolution, `jax.lax.conv_general_dilated`, with the gradients that JAX derives from it.

Cost: that of the vendor's library on GPU and TPU (cuDNN, MXU). On a CPU, that of Eigen or oneDNN for ordinary
convolutions; grouped ones and their gradients are slow (jax issues 13800, 23713, 26266), and so is every convolution
inside a loop (12868). It serves every convolution.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax._core.shapes import Geometry
from cnnjax.operator.method import Method, serves_all, transposed_in_w, transposed_in_x
from cnnjax.operator.spec import ConvSpec, Direction

__all__ = ["METHOD"]

_DIMENSIONS = {
    1: ("NWC", "WIO", "NWC"),
    2: ("NHWC", "HWIO", "NHWC"),
    3: ("NDHWC", "DHWIO", "NDHWC"),
}


def _convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    geometry = spec.geometry
    if not all(isinstance(n, int) for n in geometry.size):
        x, geometry = _read_pixels(x, geometry)
    return lax.conv_general_dilated(
        x,
        w,
        window_strides=geometry.stride,
        padding=geometry.pads,
        rhs_dilation=geometry.dilation,
        dimension_numbers=_DIMENSIONS[len(geometry.kernel)],
        feature_group_count=spec.groups,
        precision=spec.precision,
    )


def _read_pixels(x: jax.Array, geometry: Geometry) -> tuple[jax.Array, Geometry]:
    """x padded, or cut, to the pixels that the kernel reads, and the geometry on them.

    JAX takes the padding of a convolution, and of its gradients, as integers. Where a size is symbolic, so are the
    pixels that a stride leaves unread, and with them the padding of the input gradient, unless they are cut off.
    """
    size = [(n - 1) * s + e for n, s, e in zip(geometry.output, geometry.stride, geometry.extent, strict=True)]
    pads = [(before, n - m - before, 0) for (before, _), n, m in zip(geometry.pads, size, geometry.size, strict=True)]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
    return x, replace(geometry, size=tuple(size), pads=((0, 0),) * len(size))


def _spreads(direction: Direction, spec: ConvSpec) -> tuple[int, ...]:
    # XLA multiplies the weights by the zeros between and around the cotangent's pixels, and of several groups it may
    # make one kernel with zeros.
    if direction != "input_gradient":
        return ()
    return (0, 1) if spec.groups > 1 else (0,)


METHOD = Method(
    "lax",
    _convolve,
    transposed_in_x(_convolve),
    transposed_in_w(_convolve),
    serves_all,
    native=lambda direction, spec: True,
    spreads=_spreads,
    slow_in_branch=True,
)
