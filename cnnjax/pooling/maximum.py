"""Max-pooling, and its derivative, which equal maxima share."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from cnnjax._core.arguments import check_real
from cnnjax._core.shapes import Geometry, Padding
from cnnjax._core.windows import accumulation_dtype, pad_boundary
from cnnjax.pooling.placement import Window
from cnnjax.pooling.windows import are_tiles, place_windows, sum_along, tiles, window_max, window_maxima

__all__ = ["max_pool1d", "max_pool2d", "max_pool3d"]

_WRITTEN_OUT = 16
"""Sums of up to this many values are written out."""


def max_pool1d(
    x: ArrayLike,
    window: Window = 2,
    *,
    stride: Window | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> jax.Array:
    """Take the maximum of each window of each map of a sequence.

    For all positions i::

        y[n, i, c] = max_u x[n, i * stride + u - before, c]

    Args:
        x: the sequence, (N, L, C) or (L, C), of a real dtype.
        window, stride, padding, ceil_mode: as in `max_pool2d`, along one axis; "CAUSAL" padding too.

    Returns:
        y, (N, L_out, C) or (L_out, C).

    Raises:
        TypeError, ValueError: as `max_pool2d`.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> print(cnnjax.max_pool1d(jnp.array([1.0, 5.0, 2.0, 0.0, 3.0])[:, None], 2, ceil_mode=True)[:, 0])
        [5. 2. 3.]

    Source: Waibel, Hanazawa, Hinton, Shikano and Lang 1989, "Phoneme recognition using time-delay neural networks", for
    windows in time; as `max_pool2d` for their maximum.
    """
    return _max_pool("max_pool1d", x, 1, window, stride, padding, ceil_mode)


def max_pool2d(
    x: ArrayLike,
    window: Window = 2,
    *,
    stride: Window | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> jax.Array:
    """Take the maximum of each window of each map.

    For all positions (i, j)::

        y[n, i, j, c] = max_{u, v} x[n, i * stride + u - top, j * stride + v - left, c]

    The gradient goes to the maximum; equal maxima share it equally. The maximum of a window that contains NaN is NaN,
    and its gradient goes to the NaN. Padding is never the maximum and takes no gradient, even where all pixels are
    -inf.

    Args:
        x: the image, (N, H, W, C) or (H, W, C), of a real dtype.
        window: its height and width in pixels, one integer for a square.
        stride: pixels between neighbouring windows; by default the window, so that they do not overlap.
        padding: as in `conv2d`, but smaller than the window.
        ceil_mode: whether a last window may reach beyond the padded image, so that every pixel belongs to a window if
            the stride is at most the window. It must start inside the image or the padding before it.

    Returns:
        y, (N, H_out, W_out, C) or (H_out, W_out, C); H_out = (top + H + bottom - window) // stride + 1, rounded up
        instead of down with `ceil_mode`.

    Raises:
        TypeError: for an argument that is not an array, an integer or complex array, or a setting that is not an
            integer.
        ValueError: for a wrong rank, a window larger than the padded image, or padding as large as the window.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> x = jnp.array([[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 7.0, 6.0]])[..., None]
        >>> print(cnnjax.max_pool2d(x)[..., 0])
        [[5. 7.]]

    Source: Ranzato, Huang, Boureau and LeCun 2007, "Unsupervised learning of invariant feature hierarchies".
    """
    return _max_pool("max_pool2d", x, 2, window, stride, padding, ceil_mode)


def max_pool3d(
    x: ArrayLike,
    window: Window = 2,
    *,
    stride: Window | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> jax.Array:
    """Take the maximum of each window of each map of a three-dimensional image or a video.

    For all positions (h, i, j)::

        y[n, h, i, j, c] = max_{t, u, v} x[n, h * stride + t - front, i * stride + u - top, j * stride + v - left, c]

    Args:
        x: the image, (N, D, H, W, C) or (D, H, W, C), of a real dtype.
        window, stride, padding, ceil_mode: as in `max_pool2d`, along three axes.

    Returns:
        y, (N, D_out, H_out, W_out, C) or (D_out, H_out, W_out, C).

    Raises:
        TypeError, ValueError: as `max_pool2d`.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> cnnjax.max_pool3d(jnp.ones((16, 56, 56, 64)), (1, 2, 2)).shape
        (16, 28, 28, 64)

    Source: Tran, Bourdev, Fergus, Torresani and Paluri 2015, "Learning spatiotemporal features with 3D convolutional
    networks", section 3.
    """
    return _max_pool("max_pool3d", x, 3, window, stride, padding, ceil_mode)


def _max_pool(
    caller: str,
    x: ArrayLike,
    axes: Literal[1, 2, 3],
    window: Window,
    stride: Window | None,
    padding: Padding,
    ceil_mode: bool,
) -> jax.Array:
    x, batched, geometry = place_windows(caller, x, axes, window, stride, padding, ceil_mode)
    fix = "pool jnp.abs(x), or the real and imaginary parts"
    check_real(caller, "x", x, expected="a real dtype, because complex numbers have no order", fix=fix)
    y = _maximum(x, geometry)
    return y if batched else lax.squeeze(y, (0,))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _maximum(x: jax.Array, geometry: Geometry) -> jax.Array:
    """The maxima of windows on x (N, *size, C)."""
    return _value(x, geometry)


@_maximum.defjvp
def _derivative(
    geometry: Geometry, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    y = _maximum(x, geometry)
    return y, _mean_tangent(lax.stop_gradient(x), lax.stop_gradient(y), tangent, geometry)


@partial(jax.jit, static_argnames=("geometry",))
def _value(x: jax.Array, geometry: Geometry) -> jax.Array:
    return window_max(*pad_boundary(x, geometry))


@partial(jax.jit, static_argnames=("geometry",))
def _mean_tangent(x: jax.Array, y: jax.Array, tangent: jax.Array, geometry: Geometry) -> jax.Array:
    """The mean of the tangents of the pixels of each window that are its maximum.

    Pass after pass, the tangents of the maxima of a part of the window are summed, and the maxima counted. Padding
    counts as none.
    """
    (pixels, geometry), (total, _) = pad_boundary(x, geometry), pad_boundary(tangent, geometry)
    total, count = total.astype(accumulation_dtype(x.dtype)), jnp.ones_like(pixels, accumulation_dtype(x.dtype))
    if are_tiles(geometry):
        pixels, window = tiles(pixels, geometry, -np.inf)
        largest = jnp.expand_dims(y, window)
        total, count = (_where_largest(pixels, tiles(values, geometry, 0)[0], largest) for values in (total, count))
        total, count = jnp.sum(total, axis=window), _sum_of_few(count, window)
    else:
        for axis, largest in window_maxima(pixels, geometry):
            total, count = (
                sum_along(axis, _where_largest, (pixels, values), (largest,), geometry) for values in (total, count)
            )
            pixels = largest
    return (total / count).astype(x.dtype)


def _where_largest(pixels: jax.Array, values: jax.Array, largest: jax.Array) -> jax.Array:
    """The values where a pixel is the maximum, elsewhere zero. NaN is the maximum of every window it is in."""
    return jnp.where((pixels == largest) | jnp.isnan(pixels), values, jnp.zeros_like(values))


def _sum_of_few(values: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """The sum along some axes, which XLA would compute again for each element that it is broadcast to.

    Written out, the sum of few values is computed once; a longer one is kept apart by a barrier.
    """
    lengths = [values.shape[axis] for axis in axes]
    if math.prod(lengths) > _WRITTEN_OUT:
        return lax.optimization_barrier(jnp.sum(values, axis=axes))
    first = jnp.moveaxis(values, axes, range(len(axes)))
    return sum((first[index] for index in np.ndindex(*lengths)), jnp.zeros_like(first[(0,) * len(axes)]))
