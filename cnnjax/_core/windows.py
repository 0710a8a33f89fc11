"""The pixels that a kernel reads: padding, and the shifted view of the image under each tap."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax._core.shapes import Boundary, Geometry

__all__ = ["MANY_TAPS", "accumulation_dtype", "fold_boundary", "pad_boundary", "pad_constant", "patches", "tap_views"]

MANY_TAPS = 64
"""Up to this number of taps, each may be an operation of a program; more of them are a loop or a gather."""


def pad_boundary(x: jax.Array, geometry: Geometry) -> tuple[jax.Array, Geometry]:
    """Pad x (N, *size, C) where its boundary is not "zero", and return the geometry left to apply.

    For the boundary "zero" nothing is padded yet: the methods do that themselves, some of them without a copy.
    """
    if geometry.boundary == "zero":
        return x, geometry
    for axis, (n, pads) in enumerate(zip(geometry.size, geometry.pads, strict=True), start=1):
        x = _pad_axis(x, axis, n, pads, geometry.boundary)
    return x, geometry.after_padding()


def _pad_axis(x: jax.Array, axis: int, n: int, pads: tuple[int, int], boundary: Boundary) -> jax.Array:
    """Continue x along one axis of n pixels, and read no other, because it may be partitioned."""
    before, after = pads
    if boundary == "reflect" or (boundary == "wrap" and isinstance(n, int) and max(pads) > n):
        return jnp.pad(x, [pads if i == axis else (0, 0) for i in range(x.ndim)], mode=boundary)
    if boundary == "wrap":  # `jnp.pad` compares sizes, which may be symbols
        head, tail = (lax.slice_in_dim(x, *part, axis=axis) for part in ((n - before, n), (0, after)))
    else:
        head, tail = (
            jnp.broadcast_to(
                lax.slice_in_dim(x, pixel, pixel + 1, axis=axis), (*x.shape[:axis], count, *x.shape[axis + 1 :])
            )
            for pixel, count in ((0, before), (n - 1, after))
        )
    return lax.concatenate([head, x, tail], axis)


def fold_boundary(padded: jax.Array, geometry: Geometry) -> jax.Array:
    """Add every pixel of the boundary to the pixel that it copies, (N, *size, C): the adjoint of `pad_boundary`."""
    if geometry.boundary == "zero":
        return padded
    for axis, (n, pads) in enumerate(zip(geometry.size, geometry.pads, strict=True), start=1):
        padded = _fold_axis(padded, axis, n, pads, geometry.boundary)
    return padded


def _fold_axis(padded: jax.Array, axis: int, n: int, pads: tuple[int, int], boundary: Boundary) -> jax.Array:
    before, after = pads

    def along_axis(a: jax.Array, low: int, high: int) -> jax.Array:
        return jnp.pad(a, [(low, high) if i == axis else (0, 0) for i in range(a.ndim)])

    if boundary == "wrap":
        whole = along_axis(padded, -before % n, -after % n)  # a whole number of periods
        periods = whole.reshape(*whole.shape[:axis], whole.shape[axis] // n, n, *whole.shape[axis + 1 :])
        return jnp.sum(periods, axis=axis, dtype=padded.dtype)
    head, image, tail = (
        lax.slice_in_dim(padded, start, stop, axis=axis)
        for start, stop in ((0, before), (before, before + n), (before + n, before + n + after))
    )
    if boundary == "edge":
        head, tail = (jnp.sum(end, axis=axis, keepdims=True, dtype=end.dtype) for end in (head, tail))
        return image + along_axis(head, 0, n - 1) + along_axis(tail, n - 1, 0)
    head, tail = jnp.flip(head, axis), jnp.flip(tail, axis)
    return image + along_axis(head, 1, n - 1 - before) + along_axis(tail, n - 1 - after, 1)


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


def patches(padded: jax.Array, geometry: Geometry) -> jax.Array:
    """The pixels under the kernel at every position, (N, *output, taps, C), of padded images (N, *geometry.padded, C).

    As `tap_views`, but in a program that does not grow with the kernel: one gather along each axis.
    """
    for axis, (positions, stride, taps, dilation) in enumerate(
        zip(geometry.output, geometry.stride, geometry.kernel, geometry.dilation, strict=True)
    ):
        pixels = stride * jnp.arange(positions)[:, None] + dilation * jnp.arange(taps)[None]
        padded = jnp.take(padded, pixels, axis=1 + 2 * axis, mode="clip")
    # (N, position, tap, position, tap, ..., C)
    axes = range(1, 1 + 2 * len(geometry.kernel))
    return padded.transpose(0, *axes[::2], *axes[1::2], len(axes) + 1).reshape(
        padded.shape[0], *geometry.output, -1, padded.shape[-1]
    )


def accumulation_dtype(dtype: jnp.dtype) -> jnp.dtype:
    """The dtype in which products are summed: float32 for the 16-bit floating types, otherwise the dtype itself."""
    return jnp.dtype(jnp.float32) if dtype.itemsize < 4 and jnp.issubdtype(dtype, jnp.floating) else dtype
