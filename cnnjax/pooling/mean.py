"""Average pooling."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from cnnjax._core.shapes import Geometry, Padding
from cnnjax._core.windows import accumulation_dtype, pad_boundary
from cnnjax.pooling.placement import Window, pool_geometry
from cnnjax.pooling.windows import place_windows, window_sum

__all__ = ["avg_pool1d", "avg_pool2d", "avg_pool3d"]


def avg_pool1d(
    x: ArrayLike,
    window: Window = 2,
    *,
    stride: Window | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> jax.Array:
    """Take the mean of each window of each map of a sequence.

    For all positions i::

        y[n, i, c] = mean_u x[n, i * stride + u - before, c]

    Args:
        x: the sequence, (N, L, C) or (L, C).
        window, stride, padding, ceil_mode, count_include_pad: as in `avg_pool2d`, along one axis; "CAUSAL" padding too.

    Returns:
        y, (N, L_out, C) or (L_out, C).

    Raises:
        TypeError, ValueError: as `avg_pool2d`.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> print(cnnjax.avg_pool1d(jnp.arange(6.0)[:, None], 3)[:, 0])
        [1. 4.]

    Source: as `avg_pool2d`.
    """
    return _avg_pool("avg_pool1d", x, 1, window, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    x: ArrayLike,
    window: Window = 2,
    *,
    stride: Window | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> jax.Array:
    """Take the mean of each window of each map.

    For all positions (i, j)::

        y[n, i, j, c] = mean_{u, v} x[n, i * stride + u - top, j * stride + v - left, c]

    By default the mean is over the pixels of the image in the window: zeros that "SAME" and explicit padding add do not
    count, so a constant image stays constant.

    Args:
        x: the image, (N, H, W, C) or (H, W, C).
        window, stride, padding, ceil_mode: as in `max_pool2d`.
        count_include_pad: whether the zeros of the padding count, as in flax and PyTorch by default. What a last window
            reads beyond the padding with `ceil_mode` never counts.

    Returns:
        y, (N, H_out, W_out, C) or (H_out, W_out, C), with the sizes of `max_pool2d`.

    Raises:
        TypeError, ValueError: as `max_pool2d`, except that x may be complex.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> print(cnnjax.avg_pool2d(jnp.ones((3, 3, 1)), 2, stride=1, padding="SAME")[..., 0])
        [[1. 1. 1.]
         [1. 1. 1.]
         [1. 1. 1.]]

    Source: LeCun et al. 1998, section II.A ("local averaging").
    """
    return _avg_pool("avg_pool2d", x, 2, window, stride, padding, ceil_mode, count_include_pad)


def avg_pool3d(
    x: ArrayLike,
    window: Window = 2,
    *,
    stride: Window | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> jax.Array:
    """Take the mean of each window of each map of a three-dimensional image or a video.

    For all positions (h, i, j)::

        y[n, h, i, j, c] = mean_{t, u, v} x[n, h * stride + t - front, i * stride + u - top, j * stride + v - left, c]

    Args:
        x: the image, (N, D, H, W, C) or (D, H, W, C).
        window, stride, padding, ceil_mode, count_include_pad: as in `avg_pool2d`, along three axes.

    Returns:
        y, (N, D_out, H_out, W_out, C) or (D_out, H_out, W_out, C).

    Raises:
        TypeError, ValueError: as `avg_pool2d`.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> cnnjax.avg_pool3d(jnp.ones((8, 7, 7, 512)), (8, 7, 7)).shape
        (1, 1, 1, 512)

    Source: as `avg_pool2d`.
    """
    return _avg_pool("avg_pool3d", x, 3, window, stride, padding, ceil_mode, count_include_pad)


def _avg_pool(
    caller: str,
    x: ArrayLike,
    axes: Literal[1, 2, 3],
    window: Window,
    stride: Window | None,
    padding: Padding,
    ceil_mode: bool,
    count_include_pad: bool,
) -> jax.Array:
    x, batched, geometry = place_windows(caller, x, axes, window, stride, padding, ceil_mode)
    counted = None
    if count_include_pad:
        counted = pool_geometry(caller, geometry.size, window, stride=stride, padding=padding).pads
    y = _compute(x, geometry, counted)
    return y if batched else lax.squeeze(y, (0,))


@partial(jax.jit, static_argnames=("geometry", "counted"))
def _compute(x: jax.Array, geometry: Geometry, counted: tuple[tuple[int, int], ...] | None) -> jax.Array:
    """The means of windows on x (N, *size, C); of the padding, the pairs `counted` count as pixels."""
    images, zero_padded = pad_boundary(x, geometry)
    total = window_sum(images.astype(accumulation_dtype(x.dtype)), zero_padded)
    if geometry.boundary != "zero" or geometry.pads == (counted or ((0, 0),) * len(geometry.size)):
        count = jnp.full_like(total, math.prod(geometry.kernel), total.real.dtype)
    else:
        count = jnp.broadcast_to(_counts(geometry, counted, total.real.dtype), total.shape)
    if jnp.iscomplexobj(total):  # a complex division would let an infinite part reach the other
        return lax.complex(total.real / count, total.imag / count).astype(x.dtype)
    return (total / count).astype(x.dtype)


def _counts(geometry: Geometry, counted: tuple[tuple[int, int], ...] | None, dtype: jnp.dtype) -> jax.Array:
    """How many pixels of each window count, (1, *output, 1): the product of the counts along the axes."""
    axes = len(geometry.size)
    product = jnp.ones((1,) * (axes + 2), dtype)
    for axis in range(axes):
        n, k, s, before = geometry.size[axis], geometry.kernel[axis], geometry.stride[axis], geometry.pads[axis][0]
        first, last = (0, n) if counted is None else (-counted[axis][0], n + counted[axis][1])
        shape = [1] * (axes + 2)
        shape[axis + 1] = geometry.output[axis]
        start = lax.broadcasted_iota(jnp.int32, shape, axis + 1) * s - before
        product = product * (jnp.minimum(start + k, last) - jnp.maximum(start, first)).astype(dtype)
    return product
