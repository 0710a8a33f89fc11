"""One matrix product, where a convolution is nothing else: no pixel is read at two positions, or there is just one.

    1 x 1:  y (N P, C_out) = x (N P, C_in) @ w (C_in, C_out)
    whole:  y (N, C_out)   = x (N, size C_in) @ w (size C_in, C_out)          a kernel as large as the image
    tiles:  y (N P, C_out) = tiles of x (N P, taps C_in) @ w (taps C_in, C_out)   a kernel as large as the stride

Cost: as the definition, without patches; tiles are the image in another order. It serves ungrouped calls without
padding.

Source: Lin, Chen and Yan 2014, "Network in network", section 3.1, for the first; LeCun et al. 1998, layer C5, for the
second; Dosovitskiy et al. 2021, "An image is worth 16x16 words", section 3.1, for the third.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.operator.calls import Call, Method, transposed_in_w, transposed_in_x

__all__ = ["METHOD", "is_pointwise", "is_tiled", "is_whole"]


def is_pointwise(call: Call) -> bool:
    """Whether the kernel is 1 x 1, without padding."""
    return call.taps == 1 and call.geometry.padded == call.geometry.size


def is_whole(call: Call) -> bool:
    """Whether the kernel covers the image, without padding."""
    return call.geometry.kernel == call.geometry.size == call.geometry.padded and call.unit_dilation


def is_tiled(call: Call) -> bool:
    """Whether the kernel is as large as the stride, without padding."""
    geometry = call.geometry
    return geometry.kernel == geometry.stride and geometry.padded == geometry.size and call.unit_dilation


def _refuses(call: Call) -> str | None:
    if call.groups != 1:
        return "it is for one group"
    if not (is_pointwise(call) or is_whole(call) or is_tiled(call)):
        return "the kernel is neither 1 x 1 nor as large as the image or the stride, or there is padding"
    return None


def _convolve(x: jax.Array, w: jax.Array, call: Call) -> jax.Array:
    if is_whole(call):
        rows = w.reshape(math.prod(call.geometry.size) * call.c_in, call.c_out)
        y = jnp.matmul(x.reshape(call.n, -1), rows, precision=call.precision)
        return y.reshape(call.y_shape)
    if is_tiled(call):
        rows = w.reshape(call.taps * call.c_in, call.c_out)
        return jnp.matmul(_tiles(x, call), rows, precision=call.precision)
    stops = [(n - 1) * s + 1 for n, s in zip(call.geometry.output, call.geometry.stride, strict=True)]
    start = [0] * len(call.x_shape)
    x = lax.slice(x, start, (call.n, *stops, call.c_in), (1, *call.geometry.stride, 1))
    return jnp.matmul(x, w.reshape(call.c_in, call.c_out), precision=call.precision)


def _tiles(x: jax.Array, call: Call) -> jax.Array:
    """The pixels under each position, (N, *output, taps C_in)."""
    kernel, output = call.geometry.kernel, call.geometry.output
    used = [n * k for n, k in zip(output, kernel, strict=True)]
    x = lax.slice(x, [0] * x.ndim, (call.n, *used, call.c_in))
    sides = [side for pair in zip(output, kernel, strict=True) for side in pair]
    axes = range(1, 1 + len(sides))
    x = x.reshape(call.n, *sides, call.c_in).transpose(0, *axes[::2], *axes[1::2], 1 + len(sides))
    return x.reshape(call.n, *output, call.taps * call.c_in)


METHOD = Method("matmul", _convolve, transposed_in_x(_convolve), transposed_in_w(_convolve), _refuses)
