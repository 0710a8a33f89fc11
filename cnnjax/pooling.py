"""Pooling by maximum, mean or p-norm, and LeNet-5's trainable sub-sampling: one value for each window of each map.

Pooling never mixes maps and never changes their number. Windows are `stride` pixels apart, by default side by side.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from cnnjax._core.arguments import (
    as_array,
    as_images,
    as_optional_array,
    check_bias,
    check_rank,
    check_real,
    check_same_dtype,
)
from cnnjax._core.messages import describe, type_error, value_error
from cnnjax._core.shapes import Geometry, Padding, conv_geometry, integers
from cnnjax._core.windows import accumulation_dtype, pad_boundary, pad_constant, tap_views

__all__ = ["avg_pool2d", "lp_pool2d", "max_pool2d", "pool_geometry", "subsample2d"]

Window = int | tuple[int, int]


def max_pool2d(
    x: ArrayLike, window: Window = 2, *, stride: Window | None = None, padding: Padding = "VALID"
) -> jax.Array:
    """Take the maximum of each window of each map.

    For all positions (i, j)::

        y[n, i, j, c] = max_{u, v} x[n, i * stride + u - top, j * stride + v - left, c]

    The gradient goes to the maximum; equal maxima share it equally.

    Args:
        x: the image, (N, H, W, C) or (H, W, C), of a real dtype.
        window: its height and width in pixels, one integer for a square.
        stride: pixels between neighbouring windows; by default the window, so that they do not overlap.
        padding: as in `conv2d`. Pixels that "SAME" and explicit padding add are never the maximum.

    Returns:
        y, (N, H_out, W_out, C) or (H_out, W_out, C); H_out = (top + H + bottom - window) // stride + 1.

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
    caller = "max_pool2d"
    x, batched = as_images(caller, "x", x, ("H", "W", "C"))
    fix = "pool jnp.abs(x), or the real and imaginary parts"
    check_real(caller, "x", x, expected="a real dtype, because complex numbers have no order", fix=fix)
    pixels, taps, _ = _windows(caller, x, window, stride, padding, beyond=-jnp.inf)
    y = _largest(pixels, taps).astype(x.dtype)
    return y if batched else y[0]


def avg_pool2d(
    x: ArrayLike, window: Window = 2, *, stride: Window | None = None, padding: Padding = "VALID"
) -> jax.Array:
    """Take the mean of each window of each map.

    For all positions (i, j)::

        y[n, i, j, c] = mean_{u, v} x[n, i * stride + u - top, j * stride + v - left, c]

    The mean is over the pixels of the image in the window: zeros that "SAME" and explicit padding add do not count, so
    a constant image stays constant.

    Args:
        x: the image, (N, H, W, C) or (H, W, C).
        window, stride, padding: as in `max_pool2d`.

    Returns:
        y, (N, H_out, W_out, C) or (H_out, W_out, C).

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
    caller = "avg_pool2d"
    x, batched = as_images(caller, "x", x, ("H", "W", "C"))
    pixels, taps, geometry = _windows(caller, x, window, stride, padding, beyond=0)
    on_image = pad_constant(jnp.ones((1, *geometry.size, 1), pixels.dtype), geometry)
    count = sum(ones for _, ones in tap_views(on_image, geometry))
    y = (jnp.sum(pixels, axis=taps) / count).astype(x.dtype)
    return y if batched else y[0]


def lp_pool2d(
    x: ArrayLike,
    window: Window = 2,
    *,
    p: float = 2.0,
    stride: Window | None = None,
    padding: Padding = "VALID",
) -> jax.Array:
    """Take the p-norm of each window of each map.

    For all positions (i, j)::

        y[n, i, j, c] = (sum_{u, v} |x[n, i * stride + u - top, j * stride + v - left, c]|^p)^(1/p)

    p = 1 is the sum of the absolute values; as p grows, the norm approaches their maximum. In a window of
    zeros the norm has no derivative, and the gradient is defined as zero, as by any symmetric convention; so is that of
    |x| at zero for p = 1.

    Args:
        x: the image, (N, H, W, C) or (H, W, C), of a real dtype.
        p: the exponent, at least 1.
        window, stride, padding: as in `max_pool2d`; zeros beyond the edge add nothing.

    Returns:
        y, (N, H_out, W_out, C) or (H_out, W_out, C).

    Raises:
        TypeError, ValueError: as `max_pool2d`; ValueError also for a p below 1 or not finite.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> print(cnnjax.lp_pool2d(jnp.array([[3.0, 4.0], [0.0, 0.0]])[..., None])[..., 0])
        [[5.]]

    Source: Sermanet, Chintala and LeCun 2012, "Convolutional neural networks applied to house numbers digit
    classification", section 2.2.
    """
    caller = "lp_pool2d"
    x, batched = as_images(caller, "x", x, ("H", "W", "C"))
    check_real(caller, "x", x, fix="pass jnp.abs(x), which has the same norm")
    _check_exponent(caller, p)
    # |x|: for p = 1 with slope 0 at zero; for p > 1 with slope 1 there, without which |0|^p would lose its curvature.
    modulus = x * jnp.sign(x) if p == 1 else jnp.where(x < 0, -x, x)
    pixels, taps, _ = _windows(caller, modulus, window, stride, padding, beyond=0)
    # The largest modulus is factored out, so no power overflows or underflows.
    largest = jax.lax.stop_gradient(jnp.max(pixels, axis=taps))
    all_zero = largest == 0
    scale = jnp.where(all_zero | ~jnp.isfinite(largest), jnp.ones_like(largest), largest)
    wide_zero, wide_scale = jnp.expand_dims(all_zero, taps), jnp.expand_dims(scale, taps)
    total = jnp.sum(jnp.where(wide_zero, jnp.ones_like(pixels), pixels / wide_scale) ** p, axis=taps)
    y = jnp.where(all_zero, jnp.zeros_like(total), scale * total ** (1 / p)).astype(x.dtype)
    return y if batched else y[0]


def subsample2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    window: Window = 2,
    *,
    stride: Window | None = None,
    padding: Padding = "VALID",
) -> jax.Array:
    """Sub-sample as LeNet-5 does: the sum of each window, times the weight of its map, plus the bias of its map.

    For all positions (i, j)::

        y[n, i, j, c] = w[c] * sum_{u, v} x[n, i * stride + u - top, j * stride + v - left, c] + b[c]

    The paper takes the average in section II.A and the sum in section II.B, which describes LeNet-5; this is the sum.
    The two are the same function with w scaled by the area of the window.

    Args:
        x: the image, (N, H, W, C) or (H, W, C).
        w: one weight for each map, (C,).
        b: one bias for each map, (C,).
        window, stride, padding: as in `max_pool2d`; zeros beyond the edge add nothing.

    Returns:
        y, (N, H_out, W_out, C) or (H_out, W_out, C).

    Raises:
        TypeError, ValueError: as `avg_pool2d`, and as `conv2d` for w and b, which are never broadcast.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> cnnjax.subsample2d(jnp.ones((28, 28, 6)), jnp.full((6,), 0.25), jnp.zeros((6,))).shape
        (14, 14, 6)

    Source: LeCun et al. 1998, section II.B, layer S2.
    """
    caller = "subsample2d"
    x, batched = as_images(caller, "x", x, ("H", "W", "C"))
    w = as_array(caller, "w", w)
    check_rank(caller, "w", w, ("C",))
    b = as_optional_array(caller, "b", b)
    check_same_dtype(caller, x=x, w=w, b=b)
    maps = x.shape[-1:]
    if w.shape != maps:
        raise value_error(
            caller,
            "w",
            got=describe(w),
            expected=f"shape {maps}, one weight for each of the {maps[0]} maps of x",
            fix=f"pass weights of shape {maps}",
        )
    if b is not None:
        check_bias(caller, b, maps, "one bias for each map")
    pixels, taps, _ = _windows(caller, x, window, stride, padding, beyond=0)
    y = jnp.sum(pixels, axis=taps).astype(x.dtype) * w[None, None, None]
    y = y if b is None else y + b[None, None, None]
    return y if batched else y[0]


def pool_geometry(
    caller: str, size: tuple[int, ...], window: Window, *, stride: Window | None = None, padding: Padding = "VALID"
) -> Geometry:
    """Return the geometry of pooling windows on an image of `size` (H, W); by default the stride is the window.

    Raises ArgumentTypeError and ArgumentValueError, for the function `caller`, if they do not fit.
    """
    kernel = integers(caller, "window", window, len(size), least=1)
    strides = kernel if stride is None else stride
    geometry = conv_geometry(caller, size, kernel, stride=strides, padding=padding, kernel_argument="window")
    for pair, extent in zip(geometry.pads, kernel, strict=True):
        if geometry.boundary == "zero" and max(pair) >= extent:
            raise value_error(
                caller,
                "padding",
                got=repr(padding),
                expected=f"less than the window {kernel}, so that every window sees some of the image",
                fix=f"use at most {extent - 1}",
            )
    return geometry


def _check_exponent(caller: str, p: Any) -> None:
    """Raise unless `p` is a finite number of at least 1."""
    if not isinstance(p, (int, float)) or isinstance(p, bool):
        raise type_error(caller, "p", got=describe(p), expected="a number of at least 1", fix="use p=2")
    if not 1 <= p < float("inf"):
        fix = "use max_pool2d for the largest value" if p == float("inf") else "use p=1 or more"
        raise value_error(caller, "p", got=repr(p), expected="a finite number of at least 1", fix=fix)


def _windows(
    caller: str, x: jax.Array, window: Window, stride: Window | None, padding: Padding, *, beyond: float
) -> tuple[jax.Array, tuple[int, ...], Geometry]:
    """Return the pixels of every window in the accumulation dtype, the axes of a window in them, and the geometry.

    Reduced over these axes, the shape is (N, H_out, W_out, C). Zero padding is filled with `beyond`.
    """
    geometry = pool_geometry(caller, x.shape[1:-1], window, stride=stride, padding=padding)
    x, geometry = pad_boundary(x, geometry)
    padded = pad_constant(x.astype(accumulation_dtype(x.dtype)), geometry, beyond)
    if geometry.stride == geometry.kernel:  # side by side: every pixel belongs to one window, and none is copied
        (down, right), (high, wide) = geometry.output, geometry.kernel
        used = padded[:, : down * high, : right * wide]
        return used.reshape(len(x), down, high, right, wide, x.shape[-1]), (2, 4), geometry
    return jnp.stack([view for _, view in tap_views(padded, geometry)]), (0,), geometry


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _largest(pixels: jax.Array, taps: tuple[int, ...]) -> jax.Array:
    """The maximum along some axes; equal maxima share the derivative, as they do in `jnp.max`.

    `jnp.max` counts equal maxima by a reduction, which XLA recomputes for each element on a CPU. Here the count is a
    plain sum, which makes training with max-pooling several times faster.
    """
    return jnp.max(pixels, axis=taps)


@_largest.defjvp
def _derivative_of_largest(
    taps: tuple[int, ...], primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (pixels,), (tangent,) = primals, tangents
    y = _largest(pixels, taps)
    is_largest = pixels == jnp.expand_dims(y, taps)
    taps_first = jnp.moveaxis(is_largest, taps, range(len(taps)))
    indices = itertools.product(*map(range, taps_first.shape[: len(taps)]))
    count = sum(taps_first[index].astype(y.dtype) for index in indices)
    return y, jnp.sum(jnp.where(is_largest, tangent, jnp.zeros_like(tangent)), axis=taps) / count
