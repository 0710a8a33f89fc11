"""Transposed convolution over one, two and three spatial axes: the adjoints of `conv1d`, `conv2d` and `conv3d`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import PrecisionLike
from jax.typing import ArrayLike, DTypeLike

from cnnjax import operator
from cnnjax._core.arguments import as_array, as_images, as_optional_array, check_bias, check_rank, check_same_dtype
from cnnjax._core.messages import describe, value_error
from cnnjax._core.shapes import AXES, Geometry, Padding, check_maps, integers, kernel_axes, transposed_geometry
from cnnjax._core.windows import fold_boundary
from cnnjax.conv.convolve import add_bias, result_dtype, summed_in
from cnnjax.conv.settings import Connections, ConvSettings
from cnnjax.conv.tables import reorder_maps, wired
from cnnjax.operator import MethodName, Tuned

__all__ = ["conv1d_transpose", "conv2d_transpose", "conv3d_transpose"]


def conv1d_transpose(
    y: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int | tuple[int] = 1,
    padding: Padding = "VALID",
    output_padding: int | tuple[int] = 0,
    dilation: int | tuple[int] = 1,
    groups: int = 1,
    connections: Connections = None,
    method: MethodName | Tuned = "auto",
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> jax.Array:
    """Apply the adjoint of `conv1d` with respect to x: from C_out maps to C_in maps, as its input gradient does.

    The first line defines it; the second, summed over n, i, u, c and o, computes it::

        <conv1d(x, w), y> = <x, conv1d_transpose(y, w)>        for all x and y (sums of products, not conjugated)

        x[n, i * stride + u * dilation - before, c] += y[n, i, o] * w[u, c, o]

    Args:
        y: the sequence, (N, L, C_out) or (L, C_out).
        w: the weights of the `conv1d` whose adjoint this is, (k, C_in / groups, C_out).
        b: one bias for each map of the result, (C_in,).
        stride, padding, dilation, groups, connections: as in that `conv1d`, "CAUSAL" included.
        output_padding, method, precision, preferred_element_type: as in `conv2d_transpose`.

    Returns:
        x, (N, L_x, C_in) or (L_x, C_in), with L_x as H_x in `conv2d_transpose`.

    Raises:
        TypeError, ValueError: as `conv2d_transpose`.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> cnnjax.conv1d_transpose(jnp.array([[1.0], [2.0]]), jnp.ones((3, 1, 1)), stride=2)[:, 0]
        Array([1., 1., 3., 2., 2.], dtype=float32)

    Source: as `conv2d_transpose`.
    """
    settings = ConvSettings(stride, padding, dilation, groups, connections, method, precision, preferred_element_type)
    return _convolve_transpose("conv1d_transpose", 1, y, w, b, settings, output_padding)


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
    preferred_element_type: DTypeLike | None = None,
) -> jax.Array:
    """Apply the adjoint of `conv2d` with respect to x: from C_out maps to C_in maps, as its input gradient does.

    The first line defines it; the second, summed over n, i, j, u, v, c and o, computes it::

        <conv2d(x, w), y> = <x, conv2d_transpose(y, w)>        for all x and y (sums of products, not conjugated)

        x[n, i * stride + u * dilation - top, j * stride + v * dilation - left, c] += y[n, i, j, o] * w[u, v, c, o]

    Args:
        y: the image, (N, H, W, C_out) or (H, W, C_out). N may be 0.
        w: the weights of the `conv2d` whose adjoint this is, (k_h, k_w, C_in / groups, C_out).
        b: one bias for each map of the result, (C_in,).
        stride, padding, dilation, groups, connections, precision: as in that `conv2d`.
        output_padding: with a stride, `stride` sizes of x give the same size of y; the result has the smallest of them
            plus this, 0 to stride - 1. With "VALID" or padding in numbers, 0 to dilation - 1 is possible as well, as in
            PyTorch: the rows and columns that no position reads are zero, plus the bias.
        method: how the input gradient of the `conv2d` is computed, as in `conv2d`.
        preferred_element_type: dtype of the result, as in `conv2d`.

    Returns:
        x, (N, H_x, W_x, C_in) or (H_x, W_x, C_in). For "VALID" and explicit padding
        H_x = (H - 1) * stride + dilation * (k_h - 1) + 1 - top - bottom + output_padding; for the paddings that keep
        the size H_x = (H - 1) * stride + 1 + output_padding.

    Raises:
        TypeError, ValueError: as `conv2d`; ValueError also for an output_padding that is not below the stride, or the
            dilation where that is possible.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> cnnjax.conv2d_transpose(jnp.ones((14, 14, 6)), jnp.ones((2, 2, 3, 6)), stride=2).shape
        (28, 28, 3)

    Source: Dumoulin and Visin 2016, section 4; Zeiler, Krishnan, Taylor and Fergus 2010, "Deconvolutional networks".
    """
    settings = ConvSettings(stride, padding, dilation, groups, connections, method, precision, preferred_element_type)
    return _convolve_transpose("conv2d_transpose", 2, y, w, b, settings, output_padding)


def conv3d_transpose(
    y: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int | tuple[int, int, int] = 1,
    padding: Padding = "VALID",
    output_padding: int | tuple[int, int, int] = 0,
    dilation: int | tuple[int, int, int] = 1,
    groups: int = 1,
    connections: Connections = None,
    method: MethodName | Tuned = "auto",
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> jax.Array:
    """Apply the adjoint of `conv3d` with respect to x: from C_out maps to C_in maps, as its input gradient does.

    For stride 1 and no padding, summed over n, h, i, j, s, u, v, c and o::

        x[n, h + s, i + u, j + v, c] += y[n, h, i, j, o] * w[s, u, v, c, o]

    Args:
        y: the image, (N, D, H, W, C_out) or (D, H, W, C_out).
        w: the weights of the `conv3d` whose adjoint this is, (k_d, k_h, k_w, C_in / groups, C_out).
        b: one bias for each map of the result, (C_in,).
        stride, padding, dilation, groups, connections: as in that `conv3d`.
        output_padding, method, precision, preferred_element_type: as in `conv2d_transpose`.

    Returns:
        x, (N, D_x, H_x, W_x, C_in) or (D_x, H_x, W_x, C_in), with sizes as in `conv2d_transpose`.

    Raises:
        TypeError, ValueError: as `conv2d_transpose`.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> cnnjax.conv3d_transpose(jnp.ones((4, 7, 7, 2)), jnp.ones((2, 2, 2, 1, 2)), stride=2).shape
        (8, 14, 14, 1)

    Source: as `conv2d_transpose`.
    """
    settings = ConvSettings(stride, padding, dilation, groups, connections, method, precision, preferred_element_type)
    return _convolve_transpose("conv3d_transpose", 3, y, w, b, settings, output_padding)


def _convolve_transpose(
    caller: str,
    spatial_axes: int,
    y: Any,
    w: Any,
    b: Any,
    settings: ConvSettings,
    output_padding: int | Sequence[int],
) -> jax.Array:
    y, batched = as_images(caller, "y", y, (*AXES[spatial_axes], "C_out"), integers=True)
    w = as_array(caller, "w", w, integers=True)
    axes = (*kernel_axes(spatial_axes), "C_in / groups", "C_out")
    check_rank(caller, "w", w, axes)
    b = as_optional_array(caller, "b", b, integers=True)
    check_same_dtype(caller, y=y, w=w, b=b)
    if y.shape[-1] != w.shape[-1]:
        raise value_error(
            caller,
            "y",
            got=describe(y if batched else y[0]),
            expected=f"C_out = {w.shape[-1]} maps in its last axis, as w {w.shape} has",
            fix=f"w keeps the shape it has in {caller.removesuffix('_transpose')}: ({', '.join(axes)}); "
            "do not swap its last axes",
        )
    geometry = transposed_geometry(
        caller,
        y.shape[1:-1],
        w.shape[:-2],
        stride=settings.stride,
        padding=settings.padding,
        dilation=settings.dilation,
        output_padding=output_padding,
    )
    (groups,) = integers(caller, "groups", settings.groups, 1, least=1)
    c_in = w.shape[-2] * groups
    check_maps(caller, (1, *geometry.size, c_in), w.shape, groups)
    if b is not None:
        check_bias(caller, b, (c_in,), "one bias for each map of the result, C_in")
    operator.check_method(caller, settings.method)
    dtype = result_dtype(caller, y.dtype, settings.preferred_element_type)
    y, w = summed_in(dtype, y, w)
    w, wiring = wired(caller, w, settings, groups)

    read, unread = _read_pixels(geometry)
    inner = read if read.boundary == "zero" else read.after_padding()
    y, method, links = reorder_maps(y, wiring.outputs), settings.method, wiring.links
    x = operator.convolve_transpose(caller, y, w, inner, wiring.groups, method, dtype, settings.precision, links)
    x = reorder_maps(x, np.argsort(wiring.inputs))
    x = fold_boundary(x, read)
    if any(unread):
        x = jnp.pad(x, ((0, 0), *((0, n) for n in unread), (0, 0)))
    x = x if b is None else add_bias(x, b)
    return x if batched else x[0]


def _read_pixels(geometry: Geometry) -> tuple[Geometry, tuple[int, ...]]:
    """Return the geometry without the pixels at the end that no position reads, and how many there are."""
    unread = tuple(max(-after, 0) if isinstance(after, int) else 0 for _, after in geometry.pads)
    size = tuple(n - u for n, u in zip(geometry.size, unread, strict=True))
    pads = tuple((before, after + u) for (before, after), u in zip(geometry.pads, unread, strict=True))
    return replace(geometry, size=size, pads=pads), unread
