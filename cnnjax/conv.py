"""Convolutions as pure functions over explicit weight arrays: check the call, apply the table, hand to the operator.

All are cross-correlations (the kernel is not flipped), channels last, with HWIO weights:

    y[n, p, o] = b[o] + sum over taps t and input maps c of  x[n, p * stride + t * dilation - before, c] * w[t, c, o]
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike, DTypeLike

from cnnjax import operator
from cnnjax._arguments import array, check_bias, check_rank, check_same_dtype, image
from cnnjax._errors import ArgumentTypeError, ArgumentValueError, complaint, describe
from cnnjax._shapes import AXES, Padding, check_maps, geometry, integers, transposed_geometry
from cnnjax._windows import accumulation_dtype, extend, pad_zeros, under_each_tap
from cnnjax.connections import Blocks, ConnectionTable, blocks_of
from cnnjax.operator import Tuned

__all__ = [
    "conv1d",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "depthwise_conv2d",
    "local_conv2d",
    "separable_conv2d",
]

Connections = ConnectionTable | ArrayLike | None


def conv2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: Padding = "VALID",
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    connections: Connections = None,
    method: str | Tuned = "auto",
    precision: Any = None,
    preferred_element_type: DTypeLike | None = None,
) -> jax.Array:
    """Convolve a two-dimensional image of C_in maps into one of C_out maps.

        y[n, i, j, o] = b[o] + sum_{u, v, c} x[n, i * stride + u * dilation - top, j * stride + v * dilation - left, c]
                                             * w[u, v, c, o]

    The kernel of an output map is three-dimensional, (k_h, k_w, C_in): one two-dimensional slice of its own for each
    input map. It slides along height and width only, so there are as many output maps as kernels.

    Args:
        x: the image, (N, H, W, C_in) or (H, W, C_in). N may be 0.
        w: the weights, (k_h, k_w, C_in / groups, C_out).
        b: one bias for each output map, (C_out,).
        stride: pixels between neighbouring positions, one integer or one for each axis.
        padding: what lies beyond the edge. "VALID": nothing, the kernel stays inside. "SAME": zeros, so that there
            are ceil(H / stride) positions, the odd row after the image ("SAME_LOWER": before it). "CIRCULAR" and
            "REFLECT": the image continued periodically, or mirrored about its edge pixel, by (dilated kernel - 1)
            pixels in all. An integer, one for each axis, or ((top, bottom), (left, right)): that many zeros.
        dilation: pixels between neighbouring taps; 1 is the ordinary kernel.
        groups: consecutive blocks of input maps that feed consecutive blocks of output maps of their own.
        connections: which input map feeds which output map: a ConnectionTable or a boolean (C_in, C_out) array.
            Weights of unconnected pairs have no effect and a gradient of exactly zero. Not together with groups. A
            table that falls apart into blocks of one size (one-to-one, depthwise, grouped, in any order of the maps)
            costs what that many groups cost.
        method: how it is computed, "auto", a name in `cnnjax.METHODS`, or what `cnnjax.tune` measured. The sum is the
            same.
        precision: of matrix products on accelerators, as in `jax.lax.conv_general_dilated`.
        preferred_element_type: dtype of the result; by default that of x. Sums of 16-bit products are kept in float32.

    Returns:
        y, (N, H_out, W_out, C_out) or (H_out, W_out, C_out), where
        H_out = (top + H + bottom - (dilation * (k_h - 1) + 1)) // stride + 1.

    Raises:
        TypeError: for an argument that is no array, an integer image, arrays of different dtypes, a table that is not
            boolean, a setting that is not an integer.
        ValueError: for axes that do not fit: a wrong rank, maps that x and w disagree about, a kernel larger than the
            padded input, groups that do not divide, a table or bias of another size, an unknown padding or method.

    Example:
        The nine-by-nine image of ten maps under 3 x 3 x 10 kernels gives one 7 x 7 map for each kernel:

        >>> import jax, jax.numpy as jnp, cnnjax
        >>> x = jax.random.normal(jax.random.key(0), (9, 9, 10))
        >>> w = jax.random.normal(jax.random.key(1), (3, 3, 10, 6))
        >>> cnnjax.conv2d(x, w).shape
        (7, 7, 6)

    Source: LeCun et al. 1998, section II.A; the arithmetic of sizes: Dumoulin and Visin 2016, "A guide to convolution
    arithmetic for deep learning", sections 2 and 5.1.
    """
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    result = {"method": method, "precision": precision, "preferred_element_type": preferred_element_type}
    return _convolve("conv2d", 2, x, w, b, connections=connections, **settings, **result)


def conv1d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int | tuple[int] = 1,
    padding: Padding = "VALID",
    dilation: int | tuple[int] = 1,
    groups: int = 1,
    connections: Connections = None,
    method: str | Tuned = "auto",
    precision: Any = None,
    preferred_element_type: DTypeLike | None = None,
) -> jax.Array:
    """Convolve a sequence of C_in maps into one of C_out maps.

        y[n, i, o] = b[o] + sum_{u, c} x[n, i * stride + u * dilation - before, c] * w[u, c, o]

    Args:
        x: the sequence, (N, L, C_in) or (L, C_in).
        w: the weights, (k, C_in / groups, C_out).
        b: one bias for each output map, (C_out,).
        stride, dilation, groups, connections, method, precision, preferred_element_type: as in `conv2d`.
        padding: as in `conv2d`, with ((before, after),) for one pair; and "CAUSAL", zeros before the sequence only, so
            that y[i] depends on nothing after x[i * stride].

    Returns:
        y, (N, L_out, C_out) or (L_out, C_out).

    Raises:
        TypeError, ValueError: as `conv2d`.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> x = jnp.arange(5.0)[:, None]
        >>> cnnjax.conv1d(x, jnp.ones((2, 1, 1)), padding="CAUSAL")[:, 0]
        Array([0., 1., 3., 5., 7.], dtype=float32)

    Source: for the causal form, van den Oord et al. 2016, "WaveNet: a generative model for raw audio", section 2.1.
    """
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    result = {"method": method, "precision": precision, "preferred_element_type": preferred_element_type}
    return _convolve("conv1d", 1, x, w, b, connections=connections, **settings, **result)


def conv3d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int | tuple[int, int, int] = 1,
    padding: Padding = "VALID",
    dilation: int | tuple[int, int, int] = 1,
    groups: int = 1,
    connections: Connections = None,
    method: str | Tuned = "auto",
    precision: Any = None,
    preferred_element_type: DTypeLike | None = None,
) -> jax.Array:
    """Convolve a three-dimensional image (a video, a scan) of C_in maps into one of C_out maps.

        y[n, h, i, j, o] = b[o] + sum_{s, u, v, c} x[n, h + s, i + u, j + v, c] * w[s, u, v, c, o]

    written for stride 1 without padding. Here the kernel slides along depth as well: a depth of D under a kernel of
    depth k gives D - k + 1, where `conv2d` over D maps gives one map for each kernel.

    Args:
        x: the image, (N, D, H, W, C_in) or (D, H, W, C_in).
        w: the weights, (k_d, k_h, k_w, C_in / groups, C_out).
        b: one bias for each output map, (C_out,).
        stride, padding, dilation, groups, connections, method, precision, preferred_element_type: as in `conv2d`.

    Returns:
        y, (N, D_out, H_out, W_out, C_out) or (D_out, H_out, W_out, C_out).

    Raises:
        TypeError, ValueError: as `conv2d`.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> cnnjax.conv3d(jnp.ones((10, 9, 9, 1)), jnp.ones((3, 3, 3, 1, 1))).shape
        (8, 7, 7, 1)

    Source: Ji, Xu, Yang and Yu 2013, "3D convolutional neural networks for human action recognition", section 2.1.
    """
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    result = {"method": method, "precision": precision, "preferred_element_type": preferred_element_type}
    return _convolve("conv3d", 3, x, w, b, connections=connections, **settings, **result)


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
) -> jax.Array:
    """Apply the adjoint of `conv2d` in x: carry C_out maps back to C_in maps, as the input gradient does.

        <conv2d(x, w), y> = <x, conv2d_transpose(y, w)>        for all x, y     (sums of products, not conjugated)
        x[n, i * stride + u * dilation - top, ..., c] += y[n, i, ..., o] * w[u, v, c, o]

    Args:
        y: the image, (N, H, W, C_out) or (H, W, C_out).
        w: the weights of the `conv2d` it is the adjoint of, (k_h, k_w, C_in / groups, C_out).
        b: one bias for each map of the result, (C_in,).
        stride, padding, dilation, groups: those of the `conv2d`.
        output_padding: with a stride, `stride` sizes of x give the same size of y; the result has the smallest of them
            plus this, 0 to stride - 1.

    Returns:
        (N, H_x, W_x, C_in) or (H_x, W_x, C_in). For "VALID" and explicit padding
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
    call = "conv2d_transpose"
    y, batched = image(call, "y", y, ("H", "W", "C_out"))
    w = array(call, "w", w)
    check_rank(call, "w", w, ("k_h", "k_w", "C_in / groups", "C_out"))
    b = None if b is None else array(call, "b", b)
    check_same_dtype(call, y=y, w=w, b=b)
    if y.shape[-1] != w.shape[-1]:
        raise ArgumentValueError(
            complaint(
                call,
                "y",
                got=describe(y if batched else y[0]),
                expected=f"C_out = {w.shape[-1]} maps in its last axis, as w {w.shape} has",
                fix="w keeps the shape it has in conv2d: (k_h, k_w, C_in / groups, C_out); do not swap its last axes",
            )
        )
    settings: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    if 0 in y.shape[1:]:
        raise ArgumentValueError(
            complaint(
                call,
                "y",
                got=describe(y),
                expected="at least one pixel and one map along every axis",
                fix="check how the array was sliced",
            )
        )
    size = transposed_geometry(call, y.shape[1:-1], w.shape[:-2], output_padding=output_padding, **settings).size
    (groups,) = integers(call, "groups", groups, 1, least=1)
    c_in = w.shape[-2] * groups
    check_maps(call, (1, *size, c_in), w.shape, groups)
    if b is not None:
        check_bias(call, b, (c_in,), "one bias for each map of the result, C_in")

    forward = lambda x: conv2d(x, w, groups=groups, **settings)  # noqa: E731
    x_like = jax.ShapeDtypeStruct((y.shape[0], *size, c_in), y.dtype)
    (x,) = jax.linear_transpose(forward, x_like)(y)
    x = x if b is None else x + _along_maps(b, x)
    return x if batched else x[0]


def depthwise_conv2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: Padding = "VALID",
    dilation: int | tuple[int, int] = 1,
    method: str | Tuned = "auto",
    precision: Any = None,
    preferred_element_type: DTypeLike | None = None,
) -> jax.Array:
    """Convolve each input map by itself, with m kernels of its own: output map c * m + r reads input map c alone.

        y[n, i, j, c * m + r] = b[c * m + r] + sum_{u, v} x[n, i + u, j + v, c] * w[u, v, c, r]

    written for stride 1 without padding. It is `conv2d` with groups = C_in: no map is ever added to another.

    Args:
        x: the image, (N, H, W, C_in) or (H, W, C_in).
        w: the weights, (k_h, k_w, C_in, m), or as `conv2d` with groups = C_in has them, (k_h, k_w, 1, C_in * m): the
            same numbers in the same order.
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
    call = "depthwise_conv2d"
    x, batched = image(call, "x", x, ("H", "W", "C_in"))
    w = array(call, "w", w)
    check_rank(call, "w", w, ("k_h", "k_w", "C_in", "m"))
    w = _in_groups_of_one(call, "w", w, x if batched else x[0])
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": x.shape[-1]}
    result = {"method": method, "precision": precision, "preferred_element_type": preferred_element_type}
    return _convolve(call, 2, x if batched else x[0], w, b, connections=None, **settings, **result)


def separable_conv2d(
    x: ArrayLike,
    w_depthwise: ArrayLike,
    w_pointwise: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: Padding = "VALID",
    dilation: int | tuple[int, int] = 1,
    method: str | Tuned = "auto",
    precision: Any = None,
    preferred_element_type: DTypeLike | None = None,
) -> jax.Array:
    """Convolve each map by itself, then mix the maps pixel by pixel: depthwise, then 1 x 1.

        y = conv2d(depthwise_conv2d(x, w_depthwise), w_pointwise, b)

    It equals `conv2d` with the kernel w[u, v, c, o] = sum_r w_depthwise[u, v, c, r] * w_pointwise[0, 0, c * m + r, o].

    Args:
        x: the image, (N, H, W, C_in) or (H, W, C_in).
        w_depthwise: (k_h, k_w, C_in, m), as in `depthwise_conv2d`.
        w_pointwise: (1, 1, C_in * m, C_out).
        b: one bias for each output map, (C_out,).
        stride, padding, dilation: of the depthwise part, as in `conv2d`.
        method, precision, preferred_element_type: of both parts, as in `conv2d`.

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
    call = "separable_conv2d"
    x, batched = image(call, "x", x, ("H", "W", "C_in"))
    depthwise = array(call, "w_depthwise", w_depthwise)
    check_rank(call, "w_depthwise", depthwise, ("k_h", "k_w", "C_in", "m"))
    pointwise = array(call, "w_pointwise", w_pointwise)
    check_rank(call, "w_pointwise", pointwise, ("1", "1", "C_in * m", "C_out"))
    if pointwise.shape[:2] != (1, 1):
        raise ArgumentValueError(
            complaint(
                call,
                "w_pointwise",
                got=describe(pointwise),
                expected="a 1 x 1 kernel, shape (1, 1, C_in * m, C_out)",
                fix="use depthwise_conv2d and conv2d one after the other for a larger second kernel",
            )
        )
    b = None if b is None else array(call, "b", b)
    check_same_dtype(call, x=x, w_depthwise=depthwise, w_pointwise=pointwise, b=b)
    x = x if batched else x[0]
    depthwise = _in_groups_of_one(call, "w_depthwise", depthwise, x)
    if pointwise.shape[2] != depthwise.shape[-1] or pointwise.shape[3] == 0:
        raise ArgumentValueError(
            complaint(
                call,
                "w_pointwise",
                got=describe(pointwise),
                expected=f"shape (1, 1, {depthwise.shape[-1]}, C_out), one input for each map of the depthwise part",
                fix=f"give it C_in * m = {depthwise.shape[-1]} input maps",
            )
        )
    if b is not None:
        check_bias(call, b, pointwise.shape[-1:], "one bias for each output map, C_out")
    result: dict[str, Any] = {
        "method": method,
        "precision": precision,
        "preferred_element_type": preferred_element_type,
    }
    spatial: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    between = _convolve(
        call, 2, x, depthwise, None, connections=None, groups=x.shape[-1], argument="w_depthwise", **spatial, **result
    )
    b = None if b is None else b.astype(between.dtype)
    return conv2d(between, pointwise.astype(between.dtype), b, **result)


def local_conv2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: Padding = "VALID",
    dilation: int | tuple[int, int] = 1,
    precision: Any = None,
) -> jax.Array:
    """Apply a kernel of its own at every position: locally connected, nothing shared.

        y[n, i, j, o] = b[i, j, o] + sum_{u, v, c} x[n, i + u, j + v, c] * w[i, j, u, v, c, o]

    written for stride 1 without padding. With w the same at every (i, j) it is `conv2d`.

    Args:
        x: the image, (N, H, W, C_in) or (H, W, C_in).
        w: the weights, (H_out, W_out, k_h, k_w, C_in, C_out).
        b: one bias for each output value, (H_out, W_out, C_out).
        stride, padding, dilation, precision: as in `conv2d`.

    Returns:
        y, (N, H_out, W_out, C_out) or (H_out, W_out, C_out).

    Raises:
        TypeError, ValueError: as `conv2d`; ValueError also when w does not have one kernel for each position.

    Example:
        >>> import jax.numpy as jnp, cnnjax
        >>> cnnjax.local_conv2d(jnp.ones((4, 4, 1)), jnp.ones((2, 2, 3, 3, 1, 5))).shape
        (2, 2, 5)

    Source: LeCun 1989, "Generalization and network design strategies"; cs231n notes, "Convolutional neural networks",
    on parameter sharing.
    """
    call = "local_conv2d"
    x, batched = image(call, "x", x, ("H", "W", "C_in"))
    w = array(call, "w", w)
    check_rank(call, "w", w, ("H_out", "W_out", "k_h", "k_w", "C_in", "C_out"))
    b = None if b is None else array(call, "b", b)
    check_same_dtype(call, x=x, w=w, b=b)
    if w.shape[-2] != x.shape[-1]:
        raise ArgumentValueError(
            complaint(
                call,
                "w",
                got=f"an array of shape {w.shape} with {w.shape[-2]} input maps",
                expected=f"C_in = {x.shape[-1]} at axis 4 of w, as x has in its last axis",
                fix=f"give w the shape (H_out, W_out, k_h, k_w, {x.shape[-1]}, C_out)",
            )
        )
    check_maps(call, x.shape, w.shape[2:], 1)
    reading = geometry(call, x.shape[1:-1], w.shape[2:4], stride=stride, padding=padding, dilation=dilation)
    if w.shape[:2] != reading.output:
        raise ArgumentValueError(
            complaint(
                call,
                "w",
                got=describe(w),
                expected=f"{reading.output} = (H_out, W_out) in its first two axes, one kernel for each position",
                fix=f"give w the shape {(*reading.output, *w.shape[2:])}",
            )
        )
    if b is not None:
        check_bias(call, b, (*reading.output, w.shape[-1]), "one bias for each value, (H_out, W_out, C_out)")

    x, reading = extend(x, reading)
    sum_dtype = accumulation_dtype(x.dtype)
    y = jnp.zeros((x.shape[0], *reading.output, w.shape[-1]), sum_dtype)
    for (u, v), seen in under_each_tap(pad_zeros(x, reading), reading):
        product = "nijc,ijco->nijo"
        y = y + jnp.einsum(product, seen, w[:, :, u, v], precision=precision, preferred_element_type=sum_dtype)
    y = y.astype(x.dtype)
    y = y if b is None else y + b[None]
    return y if batched else y[0]


def _convolve(
    call: str,
    spatial: int,
    x: Any,
    w: Any,
    b: Any,
    *,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    connections: Any,
    method: str | Tuned,
    precision: Any,
    preferred_element_type: Any,
    argument: str = "w",
) -> jax.Array:
    axes = AXES[spatial]
    x, batched = image(call, "x", x, (*axes, "C_in"))
    w = array(call, "w", w)
    kernel_axes = ("k",) if spatial == 1 else tuple(f"k_{axis.lower()}" for axis in axes)
    check_rank(call, "w", w, (*kernel_axes, "C_in / groups", "C_out"))
    b = None if b is None else array(call, "b", b)
    check_same_dtype(call, x=x, w=w, b=b)
    groups = check_maps(call, x.shape if batched else x.shape[1:], w.shape, groups)
    if b is not None:
        check_bias(call, b, w.shape[-1:], "one bias for each output map, C_out")
    operator.check_method(call, method)
    dtype = x.dtype if preferred_element_type is None else _result_dtype(call, x.dtype, preferred_element_type)
    settings: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    reading = geometry(call, x.shape[1:-1], w.shape[:-2], kernel_argument=argument, **settings)
    blocks = None
    if connections is not None:
        table = check_table(call, connections, w.shape, groups)
        w = jnp.where(jnp.asarray(table), w, jnp.zeros_like(w))
        blocks = blocks_for(connections, method)

    x, reading = extend(x, reading)
    if blocks is None:
        y = operator.convolve(call, x, w, reading, groups, method, dtype, precision)
    else:
        x, w = _in_order(x, blocks.inputs), _weights_of_blocks(w, blocks)
        y = operator.convolve(call, x, w, reading, len(blocks.inputs), method, dtype, precision)
        y = _in_order(y, np.argsort(blocks.outputs, axis=None))
    y = y if b is None else y + _along_maps(b, y)
    return y if batched else y[0]


def _in_groups_of_one(call: str, argument: str, w: jax.Array, x: jax.Array) -> jax.Array:
    """Depthwise weights (k_h, k_w, C_in, m) or (k_h, k_w, 1, C_in * m) in the second form, checked against x."""
    c_in = x.shape[-1]
    if w.shape[2] != c_in and (w.shape[2] != 1 or w.shape[3] % max(c_in, 1)):
        raise ArgumentValueError(
            complaint(
                call,
                argument,
                got=describe(w),
                expected=f"shape (k_h, k_w, {c_in}, m), because x {x.shape} has C_in = {c_in} maps",
                fix="give it one slice for each input map, or use conv2d if maps are to be added",
            )
        )
    return w.reshape(*w.shape[:2], 1, w.shape[2] * w.shape[3])


def _result_dtype(call: str, dtype: jnp.dtype, preferred: Any) -> jnp.dtype:
    try:
        result = jnp.dtype(preferred)
    except TypeError:
        result = None
    complex_ = jnp.issubdtype(dtype, jnp.complexfloating)
    kind, named = (jnp.complexfloating, "complex") if complex_ else (jnp.floating, "floating")
    if result is None or not jnp.issubdtype(result, kind) or result.itemsize < dtype.itemsize:
        raise ArgumentTypeError(
            complaint(
                call,
                "preferred_element_type",
                got=describe(preferred) if result is None else str(result),
                expected=f"a {named} dtype at least as wide as {dtype}",
                fix="leave it out and cast the result, or cast x and w first",
            )
        )
    return result


def blocks_for(connections: Connections, method: str | Tuned) -> Blocks | None:
    """The blocks of a checked table, where "auto" computes them apart.

    A method asked for by name gets the whole table, as a mask on the weights: it need not serve groups. A table that
    JAX holds may be traced, so it is a mask as well.
    """
    if isinstance(connections, np.ndarray):
        connections = ConnectionTable(connections)
    by_name = isinstance(method, str) and method != "auto"
    return None if by_name or not isinstance(connections, ConnectionTable) else blocks_of(connections)


def check_table(call: str, connections: Any, w_shape: tuple[int, ...], groups: int) -> Any:
    """The boolean table (C_in, C_out), which may be traced, of weights (*kernel, C_in, C_out)."""
    table = connections.matrix if isinstance(connections, ConnectionTable) else connections
    if getattr(table, "dtype", None) != np.bool_:
        raise ArgumentTypeError(
            complaint(
                call,
                "connections",
                got=describe(table),
                expected="a ConnectionTable or a boolean array (C_in, C_out)",
                fix="pass table > 0, or build one with cnnjax.connections",
            )
        )
    if groups != 1:
        raise ArgumentValueError(
            complaint(
                call,
                "connections",
                got=f"given together with groups={groups}",
                expected="one of the two",
                fix="use connections.grouped(C_in, C_out, groups) for groups in a table",
            )
        )
    if table.shape != w_shape[-2:]:
        raise ArgumentValueError(
            complaint(
                call,
                "connections",
                got=f"a table of shape {tuple(table.shape)}",
                expected=f"(C_in, C_out) = {w_shape[-2:]}, as w {w_shape} has",
                fix="transpose the table if its rows are output maps"
                if table.shape == w_shape[:-3:-1]
                else "resize it",
            )
        )
    return table


def _in_order(x: jax.Array, maps: np.ndarray) -> jax.Array:
    """The given maps of x, one after the other."""
    order = maps.ravel()
    return x if np.array_equal(order, np.arange(x.shape[-1])) else x[..., order]


def _weights_of_blocks(w: jax.Array, blocks: Blocks) -> jax.Array:
    """The weights (*kernel, C_in, C_out) of a table as those of a grouped convolution, (*kernel, C_in / g, C_out)."""
    within = w[..., blocks.inputs[:, :, None], blocks.outputs[:, None, :]]  # (*kernel, g, C_in / g, C_out / g)
    within = jnp.moveaxis(within, -3, -2)
    return within.reshape(*within.shape[:-2], -1)


def _along_maps(b: jax.Array, y: jax.Array) -> jax.Array:
    """The bias, shaped to be added to y along its last axis."""
    return lax.expand_dims(b, range(y.ndim - 1)).astype(y.dtype)
