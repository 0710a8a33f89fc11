"""Depthwise convolution, each map on its own, and separable convolution, which then mixes the maps."""

from __future__ import annotations

import jax
from jax.lax import PrecisionLike
from jax.typing import ArrayLike, DTypeLike

from cnnjax._core.arguments import as_array, as_images, as_optional_array, check_bias, check_rank, check_same_dtype
from cnnjax._core.messages import describe, value_error
from cnnjax._core.shapes import Padding
from cnnjax.conv.convolve import convolve
from cnnjax.conv.settings import ConvSettings
from cnnjax.operator import MethodName, Tuned

__all__ = ["depthwise_conv2d", "separable_conv2d"]


def depthwise_conv2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: Padding = "VALID",
    dilation: int | tuple[int, int] = 1,
    method: MethodName | Tuned = "auto",
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> jax.Array:
    """Convolve each input map with m kernels of its own: output map c * m + r reads input map c only.

    For stride 1 and no padding::

        y[n, i, j, c * m + r] = b[c * m + r] + sum_{u, v} x[n, i + u, j + v, c] * w[u, v, c, r]

    It is `conv2d` with groups = C_in: no two maps are added.

    Args:
        x: the image, (N, H, W, C_in) or (H, W, C_in).
        w: the weights, (k_h, k_w, C_in, m), or in the form of `conv2d` with groups = C_in, (k_h, k_w, 1, C_in * m);
            both hold the same numbers in the same order.
        b: one bias for each output map, (C_in * m,).
        stride, padding, dilation, method, precision, preferred_element_type: as in `conv2d`.

    Returns:
        y, (N, H_out, W_out, C_in * m) or (H_out, W_out, C_in * m).

    Raises:
        TypeError, ValueError: as `conv2d`.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> cnnjax.depthwise_conv2d(jnp.ones((12, 12, 4)), jnp.ones((3, 3, 4, 2))).shape
        (10, 10, 8)

    Source: Sifre 2014, "Rigid-motion scattering for image classification", section 6.2; Chollet 2017, "Xception".
    """
    caller = "depthwise_conv2d"
    x, batched = as_images(caller, "x", x, ("H", "W", "C_in"), integers=True)
    w = as_array(caller, "w", w, integers=True)
    check_rank(caller, "w", w, ("k_h", "k_w", "C_in", "m"))
    x = x if batched else x[0]
    w = _in_groups_of_one(caller, "w", w, x)
    settings = ConvSettings(stride, padding, dilation, x.shape[-1], None, method, precision, preferred_element_type)
    return convolve(caller, 2, x, w, b, settings)


def separable_conv2d(
    x: ArrayLike,
    w_depthwise: ArrayLike,
    w_pointwise: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: Padding = "VALID",
    dilation: int | tuple[int, int] = 1,
    method: MethodName | Tuned = "auto",
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> jax.Array:
    """Convolve each map on its own, then mix the maps at every pixel: a depthwise, then a 1 x 1 convolution.

    That is::

        y = conv2d(depthwise_conv2d(x, w_depthwise), w_pointwise, b)

    which equals one `conv2d` with the kernel::

        w[u, v, c, o] = sum_r w_depthwise[u, v, c, r] * w_pointwise[0, 0, c * m + r, o]

    Args:
        x: the image, (N, H, W, C_in) or (H, W, C_in).
        w_depthwise: the weights of the first convolution, (k_h, k_w, C_in, m), as in `depthwise_conv2d`.
        w_pointwise: the weights of the second, (1, 1, C_in * m, C_out).
        b: one bias for each output map, (C_out,).
        stride, padding, dilation: of the depthwise convolution, as in `conv2d`.
        method, precision, preferred_element_type: of both convolutions, as in `conv2d`.

    Returns:
        y, (N, H_out, W_out, C_out) or (H_out, W_out, C_out).

    Raises:
        TypeError, ValueError: as `conv2d`; ValueError also for a w_pointwise that is not 1 x 1.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> x, w_depthwise, w_pointwise = jnp.ones((12, 12, 4)), jnp.ones((3, 3, 4, 2)), jnp.ones((1, 1, 8, 5))
        >>> cnnjax.separable_conv2d(x, w_depthwise, w_pointwise).shape
        (10, 10, 5)

    Source: Howard et al. 2017, "MobileNets", section 3.1; Chollet 2017, "Xception", section 1.
    """
    caller = "separable_conv2d"
    x, batched = as_images(caller, "x", x, ("H", "W", "C_in"), integers=True)
    depthwise = as_array(caller, "w_depthwise", w_depthwise, integers=True)
    check_rank(caller, "w_depthwise", depthwise, ("k_h", "k_w", "C_in", "m"))
    pointwise = as_array(caller, "w_pointwise", w_pointwise, integers=True)
    check_rank(caller, "w_pointwise", pointwise, ("1", "1", "C_in * m", "C_out"))
    if pointwise.shape[:2] != (1, 1):
        raise value_error(
            caller,
            "w_pointwise",
            got=describe(pointwise),
            expected="a 1 x 1 kernel, shape (1, 1, C_in * m, C_out)",
            fix="use depthwise_conv2d and conv2d one after the other for a larger second kernel",
        )
    b = as_optional_array(caller, "b", b, integers=True)
    check_same_dtype(caller, x=x, w_depthwise=depthwise, w_pointwise=pointwise, b=b)
    x = x if batched else x[0]
    depthwise = _in_groups_of_one(caller, "w_depthwise", depthwise, x)
    if pointwise.shape[2] != depthwise.shape[-1] or pointwise.shape[3] == 0:
        raise value_error(
            caller,
            "w_pointwise",
            got=describe(pointwise),
            expected=f"shape (1, 1, {depthwise.shape[-1]}, C_out), one input for each map of the depthwise part",
            fix=f"give it C_in * m = {depthwise.shape[-1]} input maps",
        )
    if b is not None:
        check_bias(caller, b, pointwise.shape[-1:], "one bias for each output map, C_out")
    per_map = ConvSettings(stride, padding, dilation, x.shape[-1], None, method, precision, preferred_element_type)
    mixing = ConvSettings(method=method, precision=precision, preferred_element_type=preferred_element_type)
    between = convolve(caller, 2, x, depthwise, None, per_map, argument="w_depthwise")
    b = None if b is None else b.astype(between.dtype)
    return convolve(caller, 2, between, pointwise.astype(between.dtype), b, mixing, argument="w_pointwise")


def _in_groups_of_one(caller: str, argument: str, w: jax.Array, x: jax.Array) -> jax.Array:
    """Return depthwise weights (k_h, k_w, C_in, m) as (k_h, k_w, 1, C_in * m), after checking them against x."""
    c_in = x.shape[-1]
    if w.shape[2] != c_in and (w.shape[2] != 1 or w.shape[3] % max(c_in, 1)):
        raise value_error(
            caller,
            argument,
            got=describe(w),
            expected=f"shape (k_h, k_w, {c_in}, m), because x {x.shape} has C_in = {c_in} maps",
            fix="give it one slice for each input map, or use conv2d if maps are to be added",
        )
    return w.reshape(*w.shape[:2], 1, w.shape[2] * w.shape[3])
