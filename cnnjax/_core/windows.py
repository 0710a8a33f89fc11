"""What a kernel sees of an image: the image beyond its edge, and the pixels under one tap at every position."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax._core.shapes import Geometry

__all__ = ["accumulation_dtype", "extend", "pad_zeros", "under_each_tap"]


def extend(x: jax.Array, geometry: Geometry) -> tuple[jax.Array, Geometry]:
    """Write out what lies beyond the edge of x (N, *size, C) where that is not zeros ("wrap", "reflect")."""
    if geometry.boundary == "zero":
        return x, geometry
    return jnp.pad(x, ((0, 0), *geometry.pads, (0, 0)), mode=geometry.boundary), geometry.after_padding()


def pad_zeros(x: jax.Array, geometry: Geometry, value: float = 0.0) -> jax.Array:
    """Pad x (N, *size, C) with `value` to (N, *geometry.padded, C)."""
    return jnp.pad(x, ((0, 0), *geometry.pads, (0, 0)), constant_values=value)


def under_each_tap(padded: jax.Array, geometry: Geometry) -> Iterator[tuple[tuple[int, ...], jax.Array]]:
    """Yield each tap of the kernel with the pixels under it at every position, (N, *output, C).

    For tap t these are padded[n, position * stride + t * dilation, c]: a shifted, strided view of the image.
    """
    n, *_, maps = padded.shape
    for tap in itertools.product(*map(range, geometry.kernel)):
        start = [t * d for t, d in zip(tap, geometry.dilation, strict=True)]
        stop = [
            a + (positions - 1) * s + 1 for a, positions, s in zip(start, geometry.output, geometry.stride, strict=True)
        ]
        yield tap, lax.slice(padded, (0, *start, 0), (n, *stop, maps), (1, *geometry.stride, 1))


def accumulation_dtype(dtype: jnp.dtype) -> jnp.dtype:
    """The dtype in which sums of products are kept: float32 for the 16-bit types, else the dtype itself."""
    return jnp.dtype(jnp.float32) if dtype.itemsize < 4 else dtype
