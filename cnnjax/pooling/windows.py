"""Sums and maxima over windows, in programs whose size does not grow with the window.

Where windows lie side by side, the image is reshaped into tiles and reduced at once. Otherwise a large window is
separable: one pass along each axis, k_h + k_w operations for each value instead of k_h * k_w. No pass subtracts,
multiplies by zero or reads beyond a window, so a number that is not finite stays within the windows that contain it.

The passes of this module take images (N, *size, C) and a `Geometry` whose padding is zero padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax._core.arguments import as_images
from cnnjax._core.shapes import AXES, Geometry, Padding
from cnnjax.pooling.placement import Window, pool_geometry

__all__ = ["are_tiles", "place_windows", "sum_along", "tiles", "window_max", "window_maxima", "window_sum"]

_SMALL_WINDOW = 16
"""Up to this number of pixels, a window is reduced at once as fast as in a pass along each axis."""

_UNROLLED = 8
"""Up to this many shifts of the image are written out, which XLA fuses into one loop; more are a loop over shifts."""


def place_windows(
    caller: str,
    x: jax.typing.ArrayLike,
    axes: Literal[1, 2, 3],
    window: Window,
    stride: Window | None,
    padding: Padding,
    ceil_mode: bool,
) -> tuple[jax.Array, bool, Geometry]:
    """Return x as a batch, whether it was one, and where the windows lie, after checking all arguments."""
    images, batched = as_images(caller, "x", x, (*AXES[axes], "C"))
    size = images.shape[1:-1]
    return (
        images,
        batched,
        pool_geometry(caller, size, window, stride=stride, padding=padding, ceil_mode=ceil_mode),
    )


def are_tiles(geometry: Geometry) -> bool:
    """Whether windows lie side by side along every axis; a single window does, whatever its stride."""
    return all(
        stride == kernel or positions == 1
        for stride, kernel, positions in zip(geometry.stride, geometry.kernel, geometry.output, strict=True)
    )


def tiles(x: jax.Array, geometry: Geometry, beyond: float) -> tuple[jax.Array, tuple[int, ...]]:
    """Reshape x to (N, H_out, k_h, W_out, k_w, C), and return the axes of a window in it; `beyond` fills the padding.

    Reduced over these axes, the shape is (N, H_out, W_out, C). Works for any number of spatial axes.
    """
    used = [positions * k for positions, k in zip(geometry.output, geometry.kernel, strict=True)]
    x = _fit(
        x, {axis: (before, n) for axis, (n, (before, _)) in enumerate(zip(used, geometry.pads, strict=True), 1)}, beyond
    )
    # One axis after the other, the last first: on an explicit mesh, a reshape may split one axis only.
    for axis in range(len(used), 0, -1):
        x = _split(x, axis, geometry.kernel[axis - 1])
    return x, tuple(2 * axis for axis in range(1, len(used) + 1))


def window_sum(x: jax.Array, geometry: Geometry) -> jax.Array:
    """The sum over each window, (N, *output, C); padding adds nothing."""
    if _are_whole_tiles(geometry):
        pixels, window = tiles(x, geometry, 0)
        return jnp.sum(pixels, axis=window)
    for axes in _passes_for_value(geometry):
        x = _reduce_along(x, geometry, axes, 0, lax.add)
    return x


def window_max(x: jax.Array, geometry: Geometry) -> jax.Array:
    """The maximum of each window, (N, *output, C); padding is never the maximum."""
    if _are_whole_tiles(geometry):
        pixels, window = tiles(x, geometry, -np.inf)
        return jnp.max(pixels, axis=window)
    for axes in _passes_for_value(geometry):
        x = _reduce_along(x, geometry, axes, -np.inf, lax.max)
    return x


def window_maxima(x: jax.Array, geometry: Geometry) -> list[tuple[int, jax.Array]]:
    """The maxima after each pass: the axis of the pass and its result. The last are the maxima of the windows."""
    passes: list[tuple[int, jax.Array]] = []
    for axis in _passes(geometry):
        x = _reduce_along(x, geometry, (axis,), -np.inf, lax.max)
        passes.append((axis, x))
    return passes


def sum_along(
    axis: int,
    term: Callable[..., jax.Array],
    pixels: Sequence[jax.Array],
    units: Sequence[jax.Array],
    geometry: Geometry,
) -> jax.Array:
    """The sum over the windows along one axis of a term for each pixel and window.

    For all windows i along the axis::

        y[i] = sum_u term(*(p[i * stride + u - before] for p in pixels), *(a[i] for a in units))

    Pixels beyond the edge are zeros. The axis is cut into blocks of `stride` pixels: a window reads k // stride whole
    blocks and the beginning of one more, each of which is the image shifted by a number of blocks.

    Args:
        axis: the axis of the pass, from 1.
        term: an elementwise function.
        pixels: arrays of one value for each pixel along the axis.
        units: arrays of one value for each window along the axis.
        geometry: where the windows lie.
    """
    kernel, stride = geometry.kernel[axis - 1], geometry.stride[axis - 1]
    positions, before = units[0].shape[axis], geometry.pads[axis - 1][0]
    whole, rest = divmod(kernel, stride)
    used = (positions + whole - (rest == 0)) * stride
    blocks = [_split(_fit(p, {axis: (before, used)}, 0), axis, stride) for p in pixels]
    units = [lax.expand_dims(a, (axis + 1,)) for a in units]

    def sum_of_block(shift: int | jax.Array, length: int) -> jax.Array:
        shifted = [
            lax.slice_in_dim(b, shift, shift + positions, axis=axis)
            if isinstance(shift, int)
            else lax.dynamic_slice_in_dim(b, shift, positions, axis)
            for b in blocks
        ]
        terms = term(*(lax.slice_in_dim(b, 0, length, axis=axis + 1) for b in shifted), *units)
        return jnp.sum(terms, axis=axis + 1) if length > 1 else lax.squeeze(terms, (axis + 1,))

    shifts = [(shift, stride) for shift in range(min(whole, _UNROLLED))] + [(whole, rest)] * (rest > 0)
    total = sum_of_block(*shifts[0])
    for shift, length in shifts[1:]:
        total = total + sum_of_block(shift, length)
    if whole <= _UNROLLED:
        return total

    # Recomputed in the backward pass, a term stores nothing for each shift.
    @jax.checkpoint
    def add_block(total: jax.Array, shift: jax.Array) -> tuple[jax.Array, None]:
        return total + sum_of_block(shift, stride), None

    return lax.scan(add_block, total, jnp.arange(_UNROLLED, whole))[0]


def _passes(geometry: Geometry) -> list[int]:
    """The axes along which a window is not one pixel at every place, the last first."""
    trivial = [
        kernel == stride == 1 and pads == (0, 0)
        for kernel, stride, pads in zip(geometry.kernel, geometry.stride, geometry.pads, strict=True)
    ]
    return [axis for axis in range(len(trivial), 0, -1) if not trivial[axis - 1]]


def _passes_for_value(geometry: Geometry) -> list[tuple[int, ...]]:
    """The axes of each pass if only its last result is wanted: a small window is reduced at once."""
    axes = _passes(geometry)
    return [tuple(axes)] if axes and geometry.num_taps <= _SMALL_WINDOW else [(axis,) for axis in axes]


def _are_whole_tiles(geometry: Geometry) -> bool:
    """Whether the windows lie side by side and fill the image: fused with padding, XLA's reduction is slow."""
    used = tuple(positions * k for positions, k in zip(geometry.output, geometry.kernel, strict=True))
    return are_tiles(geometry) and used == geometry.size == geometry.padded


def _reduce_along(
    x: jax.Array, geometry: Geometry, axes: tuple[int, ...], initial: float, function: Callable[..., jax.Array]
) -> jax.Array:
    """Reduce the windows along some axes."""
    one = [1] * x.ndim
    window, stride, pads = [*one], [*one], [(0, 0)] * x.ndim
    for axis in axes:
        window[axis], stride[axis] = geometry.kernel[axis - 1], geometry.stride[axis - 1]
        pads[axis] = geometry.pads[axis - 1]
    return lax.reduce_window(x, np.array(initial, x.dtype), function, window, stride, pads)


def _fit(x: jax.Array, spans: dict[int, tuple[int, int]], beyond: float) -> jax.Array:
    """Along each given axis, put `before` values of `beyond` before x, and pad or crop the end to `size`."""
    config = [(0, 0, 0)] * x.ndim
    for axis, (before, size) in spans.items():
        config[axis] = (before, size - before - x.shape[axis], 0)
    return lax.pad(x, np.array(beyond, x.dtype), config)


def _split(x: jax.Array, axis: int, size: int) -> jax.Array:
    """Split an axis into blocks of `size`: (..., n, ...) to (..., n // size, size, ...)."""
    return jnp.reshape(x, (*x.shape[:axis], x.shape[axis] // size, size, *x.shape[axis + 1 :]))
