"""Max-pooling, and its derivative, which equal maxima share."""

from __future__ import annotations

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
from cnnjax.pooling.windows import are_tiles, place_windows, sum_along, tiles, window_maxima

__all__ = ["max_pool1d", "max_pool2d", "max_pool3d"]


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
    y = _compute(x, geometry)
    return y if batched else lax.squeeze(y, (0,))


@partial(jax.jit, static_argnames=("geometry",), inline=True)
def _compute(x: jax.Array, geometry: Geometry) -> jax.Array:
    """The maxima of windows on x (N, *size, C)."""
    return _maximum(*pad_boundary(x, geometry))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _maximum(x: jax.Array, geometry: Geometry) -> jax.Array:
    if are_tiles(geometry):
        pixels, window = tiles(x, geometry, -np.inf)
        return jnp.max(pixels, axis=window)
    *_, (_, y) = window_maxima(x, geometry)
    return y


@_maximum.defjvp
def _derivative(
    geometry: Geometry, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The mean of the tangents of the pixels that are the maximum.

    Pass after pass, the tangents of the maxima of a part of the window are summed, and the maxima counted. The count is
    of pixels of the image: padding counts as none.
    """
    (x,), (tangent,) = primals, tangents
    y = _maximum(x, geometry)
    dtype = accumulation_dtype(x.dtype)
    pixels, total, count = lax.stop_gradient(x), tangent.astype(dtype), jnp.ones_like(x, dtype)
    if are_tiles(geometry):
        (pixels, window), (total, _), (count, _) = (
            tiles(pixels, geometry, -np.inf),
            tiles(total, geometry, 0),
            tiles(count, geometry, 0),
        )
        largest = jnp.expand_dims(lax.stop_gradient(y), window)
        total, count = (jnp.sum(_where_largest(pixels, values, largest), axis=window) for values in (total, count))
    else:
        for axis, largest in window_maxima(pixels, geometry):
            total, count = (
                sum_along(axis, _where_largest, (pixels, values), (largest,), geometry) for values in (total, count)
            )
            pixels = largest
    # Without the barrier, XLA would count the maxima of a window again for each of its pixels.
    return y, (total / lax.optimization_barrier(count)).astype(x.dtype)


def _where_largest(pixels: jax.Array, values: jax.Array, largest: jax.Array) -> jax.Array:
    """The values where a pixel is the maximum, elsewhere zero. NaN is the maximum of every window it is in."""
    return jnp.where((pixels == largest) | jnp.isnan(pixels), values, jnp.zeros_like(values))
