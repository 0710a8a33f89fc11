"""Convolution over one, two and three spatial axes."""

from __future__ import annotations

import jax
from jax.lax import PrecisionLike
from jax.typing import ArrayLike, DTypeLike

from cnnjax._core.shapes import Padding
from cnnjax.conv.convolve import convolve
from cnnjax.conv.settings import Connections, ConvSettings
from cnnjax.operator import MethodName, Tuned

__all__ = ["conv1d", "conv2d", "conv3d"]


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
    method: MethodName | Tuned = "auto",
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> jax.Array:
    """Convolve a sequence of C_in maps into one of C_out maps.

    For all positions i and output maps o::

        y[n, i, o] = b[o] + sum_{u, c} x[n, i * stride + u * dilation - before, c] * w[u, c, o]

    Args:
        x: the sequence, (N, L, C_in) or (L, C_in).
        w: the weights, (k, C_in / groups, C_out).
        b: one bias for each output map, (C_out,).
        stride, dilation, groups, connections, method, precision, preferred_element_type: as in `conv2d`.
        padding: as in `conv2d`, with ((before, after),) for one pair; also "CAUSAL", zeros before the sequence only,
            so that y[i] depends on nothing after x[i * stride].

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
    settings = ConvSettings(stride, padding, dilation, groups, connections, method, precision, preferred_element_type)
    return convolve("conv1d", 1, x, w, b, settings)


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
    method: MethodName | Tuned = "auto",
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> jax.Array:
    """Convolve a two-dimensional image of C_in maps into one of C_out maps.

    For all positions (i, j) and output maps o::

        y[n, i, j, o] = b[o] + sum_{u, v, c} x[n, i * stride + u * dilation - top, j * stride + v * dilation - left, c]
                                             * w[u, v, c, o]

    The kernel of an output map is three-dimensional, (k_h, k_w, C_in), with one two-dimensional slice for each input
    map. It slides along height and width only, so there are as many output maps as kernels.

    Args:
        x: the image, (N, H, W, C_in) or (H, W, C_in), floating, complex or integer. N may be 0.
        w: the weights, (k_h, k_w, C_in / groups, C_out).
        b: one bias for each output map, (C_out,).
        stride: pixels between neighbouring positions, one integer or one for each axis.
        padding: what lies beyond the edge. "VALID": nothing, the kernel stays inside. "SAME": zeros, so that there
            are ceil(H / stride) positions, with the odd row after the image ("SAME_LOWER": before it). "CIRCULAR",
            "EDGE" and "REFLECT": the image continued periodically, by its edge pixel repeated, or mirrored about its
            edge pixel, by (dilated kernel - 1) pixels in total. An integer, one for each axis, or ((top, bottom),
            (left, right)): that many zeros.
        dilation: pixels between neighbouring taps; 1 is the ordinary kernel.
        groups: the number of consecutive blocks of input maps, each of which feeds its own block of output maps.
        connections: which input map feeds which output map: a `ConnectionTable` or a boolean (C_in, C_out) array.
            Weights of unconnected pairs have no effect and a gradient of exactly zero, and a NaN or an infinity does
            not pass from a map to one that does not read it. Not together with groups. A table of disjoint blocks of
            one size (one-to-one, depthwise, grouped, in any order of the maps) costs no more than that many groups. In
            a table that is a JAX array, a pair whose weights are all zero counts as unconnected.
        method: how the convolution is computed: "auto", a name in `cnnjax.METHODS`, or measurements by `cnnjax.tune`.
            All methods compute the same sum.
        precision: of matrix products on accelerators, as in `jax.lax.conv_general_dilated`.
        preferred_element_type: dtype of the result; by default that of x. 16-bit floating products are summed in
            float32. Integers are summed in the dtype of the result, and wrap around as in `jax.lax`: for int8 arrays
            pass int32.

    Returns:
        y, (N, H_out, W_out, C_out) or (H_out, W_out, C_out), where
        H_out = (top + H + bottom - (dilation * (k_h - 1) + 1)) // stride + 1.

    Raises:
        TypeError: for an argument that is not an array, a boolean image, arrays of different dtypes, a table that is
            not boolean, or a setting that is not an integer.
        ValueError: for shapes and settings that do not fit: a wrong rank, different numbers of maps in x and w, a
            kernel larger than the padded input, groups that do not divide the maps, a table or bias of another size, an
            unknown padding, or a method that is unknown or does not serve the convolution.

    Example:
        A 9 x 9 image of ten maps under six 3 x 3 x 10 kernels gives one 7 x 7 map for each kernel:

        >>> import jax, jax.numpy as jnp, cnnjax
        >>> x = jax.random.normal(jax.random.key(0), (9, 9, 10))
        >>> w = jax.random.normal(jax.random.key(1), (3, 3, 10, 6))
        >>> cnnjax.conv2d(x, w).shape
        (7, 7, 6)

    Source: LeCun et al. 1998, section II.A; the arithmetic of sizes: Dumoulin and Visin 2016, "A guide to convolution
    arithmetic for deep learning", sections 2 and 5.1.
    """
    settings = ConvSettings(stride, padding, dilation, groups, connections, method, precision, preferred_element_type)
    return convolve("conv2d", 2, x, w, b, settings)


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
    method: MethodName | Tuned = "auto",
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> jax.Array:
    """Convolve a three-dimensional image (a video, a scan) of C_in maps into one of C_out maps.

    For stride 1 and no padding::

        y[n, h, i, j, o] = b[o] + sum_{s, u, v, c} x[n, h + s, i + u, j + v, c] * w[s, u, v, c, o]

    The kernel also slides along depth: a depth of D under a kernel of depth k gives a depth of D - k + 1, whereas
    `conv2d` over D maps gives one map for each kernel.

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
    settings = ConvSettings(stride, padding, dilation, groups, connections, method, precision, preferred_element_type)
    return convolve("conv3d", 3, x, w, b, settings)
