"""Pooling by the p-norm."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from cnnjax._core.arguments import check_real
from cnnjax._core.messages import describe, type_error, value_error
from cnnjax._core.shapes import Geometry, Padding
from cnnjax._core.windows import accumulation_dtype, pad_boundary
from cnnjax.pooling.placement import Window
from cnnjax.pooling.windows import place_windows, sum_along, window_maxima

__all__ = ["lp_pool1d", "lp_pool2d", "lp_pool3d"]


def lp_pool1d(
    x: ArrayLike,
    window: Window = 2,
    *,
    p: float = 2.0,
    stride: Window | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> jax.Array:
    """Take the p-norm of each window of each map of a sequence.

    For all positions i::

        y[n, i, c] = (sum_u |x[n, i * stride + u - before, c]|^p)^(1/p)

    Args:
        x: the sequence, (N, L, C) or (L, C), of a real dtype.
        p: the exponent, at least 1.
        window, stride, padding, ceil_mode: as in `lp_pool2d`, along one axis; "CAUSAL" padding too.

    Returns:
        y, (N, L_out, C) or (L_out, C).

    Raises:
        TypeError, ValueError: as `lp_pool2d`.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> print(cnnjax.lp_pool1d(jnp.array([3.0, 4.0, 0.0, 2.0])[:, None])[:, 0])
        [5. 2.]

    Source: as `lp_pool2d`.
    """
    return _lp_pool("lp_pool1d", x, 1, window, p, stride, padding, ceil_mode)


def lp_pool2d(
    x: ArrayLike,
    window: Window = 2,
    *,
    p: float = 2.0,
    stride: Window | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> jax.Array:
    """Take the p-norm of each window of each map.

    For all positions (i, j)::

        y[n, i, j, c] = (sum_{u, v} |x[n, i * stride + u - top, j * stride + v - left, c]|^p)^(1/p)

    p = 1 is the sum of the absolute values; as p grows, the norm approaches their maximum. In a window of zeros the
    norm has no derivative, and the gradient is defined as zero, as is that of |x| at zero for p = 1.

    Args:
        x: the image, (N, H, W, C) or (H, W, C), of a real dtype.
        p: the exponent, at least 1.
        window, stride, padding, ceil_mode: as in `max_pool2d`; zeros beyond the edge add nothing.

    Returns:
        y, (N, H_out, W_out, C) or (H_out, W_out, C), with the sizes of `max_pool2d`.

    Raises:
        TypeError, ValueError: as `max_pool2d`; ValueError also for a p below 1 or not finite.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> print(cnnjax.lp_pool2d(jnp.array([[3.0, 4.0], [0.0, 0.0]])[..., None])[..., 0])
        [[5.]]

    Source: Sermanet, Chintala and LeCun 2012, "Convolutional neural networks applied to house numbers digit
    classification", section 2.2.
    """
    return _lp_pool("lp_pool2d", x, 2, window, p, stride, padding, ceil_mode)


def lp_pool3d(
    x: ArrayLike,
    window: Window = 2,
    *,
    p: float = 2.0,
    stride: Window | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> jax.Array:
    """Take the p-norm of each window of each map of a three-dimensional image or a video.

    For all positions (h, i, j)::

        y[n, h, i, j, c] =
            (sum_{t, u, v} |x[n, h * stride + t - front, i * stride + u - top, j * stride + v - left, c]|^p)^(1/p)

    Args:
        x: the image, (N, D, H, W, C) or (D, H, W, C), of a real dtype.
        p: the exponent, at least 1.
        window, stride, padding, ceil_mode: as in `lp_pool2d`, along three axes.

    Returns:
        y, (N, D_out, H_out, W_out, C) or (D_out, H_out, W_out, C).

    Raises:
        TypeError, ValueError: as `lp_pool2d`.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> print(cnnjax.lp_pool3d(jnp.ones((2, 2, 2, 1)), p=3)[..., 0])
        [[[2.]]]

    Source: as `lp_pool2d`.
    """
    return _lp_pool("lp_pool3d", x, 3, window, p, stride, padding, ceil_mode)


def _lp_pool(
    caller: str,
    x: ArrayLike,
    axes: Literal[1, 2, 3],
    window: Window,
    p: float,
    stride: Window | None,
    padding: Padding,
    ceil_mode: bool,
) -> jax.Array:
    x, batched, geometry = place_windows(caller, x, axes, window, stride, padding, ceil_mode)
    check_real(caller, "x", x, fix="pass jnp.abs(x), which has the same norm")
    _check_exponent(caller, p)
    y = _compute(x, geometry, p)
    return y if batched else lax.squeeze(y, (0,))


def _check_exponent(caller: str, p: Any) -> None:
    """Raise unless `p` is a finite number of at least 1."""
    if not isinstance(p, (int, float)) or isinstance(p, bool):
        raise type_error(caller, "p", got=describe(p), expected="a number of at least 1", fix="use p=2")
    if not 1 <= p < float("inf"):
        fix = f"use {caller.replace('lp', 'max')} for the largest value" if p == float("inf") else "use p=1 or more"
        raise value_error(caller, "p", got=repr(p), expected="a finite number of at least 1", fix=fix)


@partial(jax.jit, static_argnames=("geometry", "p"))
def _compute(x: jax.Array, geometry: Geometry, p: float) -> jax.Array:
    """The p-norms of windows on x (N, *size, C).

    After each pass the norm of a part of a window is scale * total^(1/p), where the scale is the largest modulus of the
    part. Factored out, no power overflows or underflows. The scale is a constant to derivatives: the norm does not
    depend on it.
    """
    images, geometry = pad_boundary(x.astype(accumulation_dtype(x.dtype)), geometry)
    images = _where_read(images, geometry)
    # |x|: for p = 1 with slope 0 at zero; for p > 1 with slope 1 there, without which |0|^p would lose its curvature.
    modulus = images * jnp.sign(images) if p == 1 else jnp.where(images < 0, -images, images)
    passes = window_maxima(lax.stop_gradient(modulus), geometry)
    if not passes:  # windows of one pixel
        return modulus.astype(x.dtype)
    scale = total = largest = modulus
    for number, (axis, largest) in enumerate(passes):
        wider = jnp.where((largest == 0) | ~jnp.isfinite(largest), jnp.ones_like(largest), largest)
        if number == 0:
            total = sum_along(axis, partial(_power, p), (modulus,), (wider, largest), geometry)
        else:
            total = sum_along(axis, partial(_rescaled, p), (total, scale), (wider,), geometry)
        scale = wider
    total = jnp.where(largest == 0, jnp.ones_like(total), total)
    return jnp.where(largest == 0, jnp.zeros_like(total), scale * total ** (1 / p)).astype(x.dtype)


def _where_read(images: jax.Array, geometry: Geometry) -> jax.Array:
    """The pixels that belong to a window; zeros in the place of others.

    A pass along one axis reads rows that no window contains, and the powers of numbers there that are not finite would
    turn a cotangent of zero into NaN.
    """
    for axis, (k, s, positions, (before, _)) in enumerate(
        zip(geometry.kernel, geometry.stride, geometry.output, geometry.pads, strict=True), 1
    ):
        # Added to zeros like the images, the places are partitioned as the images are on an explicit mesh.
        place = jnp.zeros_like(images, jnp.int32) + lax.broadcasted_iota(jnp.int32, images.shape, axis) + before
        images = jnp.where((place % s < k) & (place < (positions - 1) * s + k), images, jnp.zeros_like(images))
    return images


def _power(p: float, pixel: jax.Array, scale: jax.Array, largest: jax.Array) -> jax.Array:
    """(pixel / scale)^p, where a part of zeros alone has no derivatives of a p that is not an integer.

    They are infinite from some order on, and times zero in a window of zeros.
    """
    if p == int(p):
        return (pixel / scale) ** p
    power = jnp.where(largest == 0, jnp.ones_like(pixel), pixel / scale) ** p
    return jnp.where(largest == 0, jnp.zeros_like(power), power)


def _rescaled(p: float, total: jax.Array, scale: jax.Array, wider: jax.Array) -> jax.Array:
    """A total of powers of values over `scale`, as one of powers of values over `wider`."""
    # A part of zeros has the scale 1 beside a window of any scale: its factor may overflow, its total is zero.
    return total * jnp.minimum((scale / wider) ** p, jnp.finfo(total.dtype).max)
