"""Transposed convolution: the adjoint of `conv2d`."""

from __future__ import annotations

import jax
from jax.lax import PrecisionLike
from jax.typing import ArrayLike

from cnnjax._core.arguments import as_array, as_images, as_optional_array, check_bias, check_rank, check_same_dtype
from cnnjax._core.messages import describe, value_error
from cnnjax._core.shapes import Padding, check_maps, integers, transposed_geometry
from cnnjax.conv.convolve import add_bias, convolve
from cnnjax.conv.settings import Connections, ConvSettings
from cnnjax.operator import MethodName, Tuned

__all__ = ["conv2d_transpose"]


def conv2d_transpose(
    y: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: Padding = "VALID",
    output_padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    connections: Connections = None,
    method: MethodName | Tuned = "auto",
    precision: PrecisionLike = None,
) -> jax.Array:
    """Apply the adjoint of `conv2d` with respect to x: from C_out maps to C_in maps, as its input gradient does.

    The first line defines it; the second, summed over n, i, j, u, v, c and o, computes it::

        <conv2d(x, w), y> = <x, conv2d_transpose(y, w)>        for all x and y (sums of products, not conjugated)

        x[n, i * stride + u * dilation - top, j * stride + v * dilation - left, c] += y[n, i, j, o] * w[u, v, c, o]

    Args:
        y: the image, (N, H, W, C_out) or (H, W, C_out).
        w: the weights of the `conv2d` whose adjoint this is, (k_h, k_w, C_in / groups, C_out).
        b: one bias for each map of the result, (C_in,).
        stride, padding, dilation, groups, connections, precision: as in that `conv2d`.
        output_padding: with a stride, `stride` sizes of x give the same size of y; the result has the smallest of them
            plus this, 0 to stride - 1.
        method: how the input gradient of the `conv2d` is computed, as in `conv2d`.

    Returns:
        x, (N, H_x, W_x, C_in) or (H_x, W_x, C_in). For "VALID" and explicit padding
        H_x = (H - 1) * stride + dilation * (k_h - 1) + 1 - top - bottom + output_padding; for the paddings that keep
        the size H_x = (H - 1) * stride + 1 + output_padding.

    Raises:
        TypeError, ValueError: as `conv2d`; ValueError also for an output_padding that is not below the stride.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> cnnjax.conv2d_transpose(jnp.ones((14, 14, 6)), jnp.ones((2, 2, 3, 6)), stride=2).shape
        (28, 28, 3)

    Source: Dumoulin and Visin 2016, section 4; Zeiler, Krishnan, Taylor and Fergus 2010, "Deconvolutional networks".
    """
    caller = "conv2d_transpose"
    y, batched = as_images(caller, "y", y, ("H", "W", "C_out"))
    w = as_array(caller, "w", w)
    check_rank(caller, "w", w, ("k_h", "k_w", "C_in / groups", "C_out"))
    b = as_optional_array(caller, "b", b)
    check_same_dtype(caller, y=y, w=w, b=b)
    if y.shape[-1] != w.shape[-1]:
        raise value_error(
            caller,
            "y",
            got=describe(y if batched else y[0]),
            expected=f"C_out = {w.shape[-1]} maps in its last axis, as w {w.shape} has",
            fix="w keeps the shape it has in conv2d: (k_h, k_w, C_in / groups, C_out); do not swap its last axes",
        )
    size = transposed_geometry(
        caller,
        y.shape[1:-1],
        w.shape[:-2],
        stride=stride,
        padding=padding,
        dilation=dilation,
        output_padding=output_padding,
    ).size
    (groups,) = integers(caller, "groups", groups, 1, least=1)
    c_in = w.shape[-2] * groups
    check_maps(caller, (1, *size, c_in), w.shape, groups)
    if b is not None:
        check_bias(caller, b, (c_in,), "one bias for each map of the result, C_in")

    settings = ConvSettings(stride, padding, dilation, groups, connections, method, precision)
    of_x = jax.ShapeDtypeStruct((y.shape[0], *size, c_in), y.dtype)
    (x,) = jax.linear_transpose(lambda x: convolve(caller, 2, x, w, None, settings), of_x)(y)
    x = x if b is None else add_bias(x, b)
    return x if batched else x[0]
