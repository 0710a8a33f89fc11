"""One matrix product, for a convolution that reduces to one: a 1 x 1 kernel, a single position, or a tiling::

    1 x 1:   y (N P, C_out) = x (N P, C_in) @ w (C_in, C_out)
    whole:   y (N, C_out)   = x (N, size C_in) @ w (size C_in, C_out)              the kernel is as large as the image
    tiles:   y (N P, C_out) = tiles of x (N P, taps C_in) @ w (taps C_in, C_out)   the kernel is as large as the stride

Cost: as the definition, without patches; tiles are the image in another order. It serves one group without padding.

Source: Lin, Chen and Yan 2014, "Network in network", section 3.1, for the first; LeCun et al. 1998, layer C5, for the
second; Dosovitskiy et al. 2021, "An image is worth 16x16 words", section 3.1, for the third.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.operator.method import Method, transposed_in_w, transposed_in_x
from cnnjax.operator.spec import ConvSpec

__all__ = ["METHOD", "is_pointwise", "is_tiled", "is_whole"]


def is_pointwise(spec: ConvSpec) -> bool:
    """Whether the kernel is 1 x 1, without padding."""
    return spec.num_taps == 1 and spec.geometry.padded == spec.geometry.size


def is_whole(spec: ConvSpec) -> bool:
    """Whether the kernel is as large as the image, without padding."""
    return spec.geometry.kernel == spec.geometry.size == spec.geometry.padded and spec.unit_dilation


def is_tiled(spec: ConvSpec) -> bool:
    """Whether the kernel is as large as the stride, without padding."""
    geometry = spec.geometry
    return geometry.kernel == geometry.stride and geometry.padded == geometry.size and spec.unit_dilation


def _refuses(spec: ConvSpec) -> str | None:
    if spec.groups != 1:
        return "it is for one group"
    if not (is_pointwise(spec) or is_whole(spec) or is_tiled(spec)):
        return "the kernel is neither 1 x 1 nor as large as the image or the stride, or there is padding"
    return None


def _convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    if is_whole(spec):
        rows = w.reshape(math.prod(spec.geometry.size) * spec.c_in, spec.c_out)
        y = jnp.matmul(x.reshape(spec.n, -1), rows, precision=spec.precision)
        return y.reshape(spec.y_shape)
    if is_tiled(spec):
        rows = w.reshape(spec.num_taps * spec.c_in, spec.c_out)
        return jnp.matmul(_tiles(x, spec), rows, precision=spec.precision)
    stops = [(n - 1) * s + 1 for n, s in zip(spec.geometry.output, spec.geometry.stride, strict=True)]
    start = [0] * len(spec.x_shape)
    x = lax.slice(x, start, (spec.n, *stops, spec.c_in), (1, *spec.geometry.stride, 1))
    return jnp.matmul(x, w.reshape(spec.c_in, spec.c_out), precision=spec.precision)


def _tiles(x: jax.Array, spec: ConvSpec) -> jax.Array:
    """The pixels under each position, (N, *output, taps C_in)."""
    kernel, output = spec.geometry.kernel, spec.geometry.output
    used = [n * k for n, k in zip(output, kernel, strict=True)]
    x = lax.slice(x, [0] * x.ndim, (spec.n, *used, spec.c_in))
    sides = [side for pair in zip(output, kernel, strict=True) for side in pair]
    axes = range(1, 1 + len(sides))
    x = x.reshape(spec.n, *sides, spec.c_in).transpose(0, *axes[::2], *axes[1::2], 1 + len(sides))
    return x.reshape(spec.n, *output, spec.num_taps * spec.c_in)


METHOD = Method("matmul", _convolve, transposed_in_x(_convolve), transposed_in_w(_convolve), _refuses)
