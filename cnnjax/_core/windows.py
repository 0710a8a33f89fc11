"""The pixels that a kernel reads: padding, and the shifted view of the image under each tap."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax._core.shapes import Geometry

__all__ = ["accumulation_dtype", "pad_boundary", "pad_constant", "tap_views"]


def pad_boundary(x: jax.Array, geometry: Geometry) -> tuple[jax.Array, Geometry]:
    """Pad x (N, *size, C) where its boundary is not "zero", and return the geometry left to apply.

    For the boundary "zero" nothing is padded yet: the methods do that themselves, some of them without a copy.
    """
    if geometry.boundary == "zero":
        return x, geometry
    return jnp.pad(x, ((0, 0), *geometry.pads, (0, 0)), mode=geometry.boundary), geometry.after_padding()


def pad_constant(x: jax.Array, geometry: Geometry, value: float = 0.0) -> jax.Array:
    """Pad x (N, *size, C) with `value` to (N, *geometry.padded, C)."""
    return jnp.pad(x, ((0, 0), *geometry.pads, (0, 0)), constant_values=value)


def tap_views(padded: jax.Array, geometry: Geometry) -> Iterator[tuple[tuple[int, ...], jax.Array]]:
    """Yield each tap of the kernel with the pixels under it at every position, (N, *output, C).

    For tap t these are padded[n, position * stride + t * dilation, c]: a shifted, strided view of the image.
    """
    n, *_, maps = padded.shape
    for tap in geometry.taps:
        start = [t * d for t, d in zip(tap, geometry.dilation, strict=True)]
        stop = [
            a + (positions - 1) * s + 1 for a, positions, s in zip(start, geometry.output, geometry.stride, strict=True)
        ]
        yield tap, lax.slice(padded, (0, *start, 0), (n, *stop, maps), (1, *geometry.stride, 1))


def accumulation_dtype(dtype: jnp.dtype) -> jnp.dtype:
    """The dtype in which products are summed: float32 for the 16-bit types, otherwise the dtype itself."""
    return jnp.dtype(jnp.float32) if dtype.itemsize < 4 else dtype
