"""LeNet-5's trainable sub-sampling."""

from __future__ import annotations

from functools import partial

import jax
from jax import lax
from jax.typing import ArrayLike

from cnnjax._core.arguments import as_array, as_optional_array, check_bias, check_rank, check_same_dtype
from cnnjax._core.messages import describe, value_error
from cnnjax._core.shapes import Geometry, Padding
from cnnjax._core.windows import accumulation_dtype, pad_boundary
from cnnjax.pooling.placement import Window
from cnnjax.pooling.windows import place_windows, window_sum

__all__ = ["subsample2d"]


def subsample2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    window: Window = 2,
    *,
    stride: Window | None = None,
    padding: Padding = "VALID",
    ceil_mode: bool = False,
) -> jax.Array:
    """Sub-sample as LeNet-5 does: the sum of each window, times the weight of its map, plus the bias of its map.

    For all positions (i, j)::

        y[n, i, j, c] = w[c] * sum_{u, v} x[n, i * stride + u - top, j * stride + v - left, c] + b[c]

    The paper takes the average in section II.A and the sum in section II.B, which describes LeNet-5; this is the sum.
    The two are the same function with w scaled by the area of the window. In 16 bits, y is computed in float32 and
    rounded once.

    Args:
        x: the image, (N, H, W, C) or (H, W, C).
        w: one weight for each map, (C,).
        b: one bias for each map, (C,).
        window, stride, padding, ceil_mode: as in `max_pool2d`; zeros beyond the edge add nothing.

    Returns:
        y, (N, H_out, W_out, C) or (H_out, W_out, C), with the sizes of `max_pool2d`.

    Raises:
        TypeError, ValueError: as `avg_pool2d`, and as `conv2d` for w and b, which are never broadcast.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> cnnjax.subsample2d(jnp.ones((28, 28, 6)), jnp.full((6,), 0.25), jnp.zeros((6,))).shape
        (14, 14, 6)

    Source: LeCun et al. 1998, section II.B, layer S2.
    """
    caller = "subsample2d"
    x, batched, geometry = place_windows(caller, x, 2, window, stride, padding, ceil_mode)
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
    y = _compute(x, w, b, geometry)
    return y if batched else lax.squeeze(y, (0,))


@partial(jax.jit, static_argnames=("geometry",))
def _compute(x: jax.Array, w: jax.Array, b: jax.Array | None, geometry: Geometry) -> jax.Array:
    """The weighted sums of windows on x (N, *size, C), plus the bias."""
    dtype = accumulation_dtype(x.dtype)
    y = window_sum(*pad_boundary(x.astype(dtype), geometry)) * w[None, None, None].astype(dtype)
    return (y if b is None else y + b[None, None, None].astype(dtype)).astype(x.dtype)
