"""Shift and multiply: one matrix product for each tap, over the shifted image::

    y = sum over taps t of  shift_t(x) (N P, C_in) @ w[t] (C_in, C_out)
    w[t] = shift_t(x)^T (C_in, N P_t) @ y (N P_t, C_out)

The weight gradient takes only the P_t positions at which the tap reads a pixel of the image; the others read zeros.

Cost: as the definition, in one matrix product for each tap; no patches are stored. It serves one group.

Source: the "accumulating 1 x 1" form; Anderson, Vasudevan, Keane and Gregg 2017, "Low-memory GEMM-based convolution
algorithms for deep neural networks", section 3.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax._core.shapes import Geometry
from cnnjax._core.windows import MANY_TAPS, pad_constant, tap_views
from cnnjax.operator import tap_loop
from cnnjax.operator.method import Method, transposed_in_x
from cnnjax.operator.spec import ConvSpec

__all__ = ["METHOD", "saves_padding"]

# Where one product for each tap was the fastest weight gradient (docs/guides/operator.md): images so small that an
# eighth of what the taps read is padding, and so few positions and so many maps that writing the sum costs as much as
# the products.
_SHARE_OF_PADDING = 1 / 8
_POSITIONS = range(128, 513)
_MAPS = range(256, 513)


def saves_padding(spec: ConvSpec) -> bool:
    """Whether the weight gradient is faster for skipping the padding."""
    geometry = spec.geometry
    fits = spec.n * math.prod(geometry.output) in _POSITIONS and spec.c_in in _MAPS and spec.c_out in _MAPS
    if spec.groups != 1 or not fits:
        return False
    reads = [sum(len(_on_image(geometry, axis, t)) for t in range(k)) for axis, k in enumerate(geometry.kernel)]
    with_padding = spec.num_taps * math.prod(geometry.output)
    return math.prod(reads) <= (1 - _SHARE_OF_PADDING) * with_padding


def _refuses(spec: ConvSpec) -> str | None:
    return None if spec.groups == 1 else "it is for one group; use grouped or depthwise"


def _convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    if spec.num_taps > MANY_TAPS:
        return tap_loop.forward(x, w, spec)
    y = jnp.zeros(spec.y_shape, x.dtype)
    for tap, view in tap_views(pad_constant(x, spec.geometry), spec.geometry):
        y = y + jnp.matmul(view, w[tap], precision=spec.precision)
    return y


def _weight_gradient(x: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    if spec.num_taps > MANY_TAPS:
        return tap_loop.weight_gradient(x, y, spec)
    taps = [_weight_gradient_of_tap(x, y, tap, spec) for tap in spec.geometry.taps]
    return jnp.stack(taps).reshape(spec.w_shape)


def _weight_gradient_of_tap(x: jax.Array, y: jax.Array, tap: tuple[int, ...], spec: ConvSpec) -> jax.Array:
    """The gradient (C_in, C_out) of the weights at one tap."""
    geometry = spec.geometry
    for axis, t in enumerate(tap):
        rows = _on_image(geometry, axis, t)
        if not rows:
            return jnp.zeros((spec.c_in, spec.c_out), x.dtype)
        stride, offset = geometry.stride[axis], _offset(geometry, axis, t)
        y = lax.slice_in_dim(y, rows[0], rows[-1] + 1, axis=1 + axis)
        x = lax.slice_in_dim(x, rows[0] * stride + offset, rows[-1] * stride + offset + 1, stride, axis=1 + axis)
    pixels, cotangent = x.reshape(-1, spec.c_in), y.reshape(-1, spec.c_out)
    return jnp.matmul(pixels.T, cotangent, precision=spec.precision)


def _on_image(geometry: Geometry, axis: int, tap: int) -> range:
    """The positions along one axis at which a tap reads a pixel of the image and not padding."""
    stride, offset = geometry.stride[axis], _offset(geometry, axis, tap)
    first = max(0, -(offset // stride))
    return range(first, min(geometry.output[axis], (geometry.size[axis] - 1 - offset) // stride + 1))


def _offset(geometry: Geometry, axis: int, tap: int) -> int:
    """The pixel along one axis that a tap reads at the first position; it may lie outside the image."""
    return tap * geometry.dilation[axis] - geometry.pads[axis][0]


METHOD = Method("shift", _convolve, transposed_in_x(_convolve), _weight_gradient, _refuses, elementwise=("forward",))
