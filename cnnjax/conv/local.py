"""Locally connected convolution: every position has a kernel of its own."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.lax import PrecisionLike
from jax.typing import ArrayLike

from cnnjax._core.arguments import as_array, as_images, as_optional_array, check_bias, check_rank, check_same_dtype
from cnnjax._core.messages import describe, value_error
from cnnjax._core.shapes import Padding, check_maps, conv_geometry
from cnnjax._core.windows import accumulation_dtype, pad_boundary, pad_constant, tap_views

__all__ = ["local_conv2d"]


def local_conv2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: Padding = "VALID",
    dilation: int | tuple[int, int] = 1,
    precision: PrecisionLike = None,
) -> jax.Array:
    """Convolve with a different kernel at every position: locally connected, without shared weights.

    For stride 1 and no padding::

        y[n, i, j, o] = b[i, j, o] + sum_{u, v, c} x[n, i + u, j + v, c] * w[i, j, u, v, c, o]

    With the same w at every (i, j) it is `conv2d`.

    Args:
        x: the image, (N, H, W, C_in) or (H, W, C_in).
        w: the weights, (H_out, W_out, k_h, k_w, C_in, C_out).
        b: one bias for each output value, (H_out, W_out, C_out).
        stride, padding, dilation, precision: as in `conv2d`.

    Returns:
        y, (N, H_out, W_out, C_out) or (H_out, W_out, C_out).

    Raises:
        TypeError, ValueError: as `conv2d`; ValueError also if w does not have one kernel for each position.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> cnnjax.local_conv2d(jnp.ones((4, 4, 1)), jnp.ones((2, 2, 3, 3, 1, 5))).shape
        (2, 2, 5)

    Source: LeCun 1989, "Generalization and network design strategies"; cs231n notes, "Convolutional neural networks",
    on parameter sharing.
    """
    caller = "local_conv2d"
    x, batched = as_images(caller, "x", x, ("H", "W", "C_in"), integers=True)
    w = as_array(caller, "w", w, integers=True)
    check_rank(caller, "w", w, ("H_out", "W_out", "k_h", "k_w", "C_in", "C_out"))
    b = as_optional_array(caller, "b", b, integers=True)
    check_same_dtype(caller, x=x, w=w, b=b)
    if w.shape[-2] != x.shape[-1]:
        raise value_error(
            caller,
            "w",
            got=f"an array of shape {w.shape} with {w.shape[-2]} input maps",
            expected=f"C_in = {x.shape[-1]} at axis 4 of w, as x has in its last axis",
            fix=f"give w the shape (H_out, W_out, k_h, k_w, {x.shape[-1]}, C_out)",
        )
    check_maps(caller, x.shape, w.shape[2:], 1)
    geometry = conv_geometry(caller, x.shape[1:-1], w.shape[2:4], stride=stride, padding=padding, dilation=dilation)
    if w.shape[:2] != geometry.output:
        raise value_error(
            caller,
            "w",
            got=describe(w),
            expected=f"{geometry.output} = (H_out, W_out) in its first two axes, one kernel for each position",
            fix=f"give w the shape {(*geometry.output, *w.shape[2:])}",
        )
    if b is not None:
        check_bias(caller, b, (*geometry.output, w.shape[-1]), "one bias for each value, (H_out, W_out, C_out)")

    x, geometry = pad_boundary(x, geometry)
    sum_dtype = accumulation_dtype(x.dtype)
    y = jnp.zeros((x.shape[0], *geometry.output, w.shape[-1]), sum_dtype)
    for (u, v), view in tap_views(pad_constant(x, geometry), geometry):
        product = "nijc,ijco->nijo"
        y = y + jnp.einsum(product, view, w[:, :, u, v], precision=precision, preferred_element_type=sum_dtype)
    y = y.astype(x.dtype)
    y = y if b is None else y + b[None]
    return y if batched else y[0]
