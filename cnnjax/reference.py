"""The definitions as float64 NumPy loops: the oracle against which everything else is tested. It never imports jax.

A convolution is the trilinear form T(x, w, y) = sum over terms of x[..] * w[..] * y[..]. `terms` lists the indices of
every product; the forward pass, the input gradient and the weight gradient each leave out one of the three factors.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "avg_pool",
    "convolve",
    "input_gradient",
    "local_convolve",
    "lp_pool",
    "max_pool",
    "subsample",
    "terms",
    "weight_gradient",
]

Index = tuple[int, ...]
"""The index of an element of an array."""
Along = int | Sequence[int]
"""One integer, or one for each spatial axis."""
Padding = str | int | Sequence[int | Sequence[int]]
"""A named padding, or the zeros on both sides or before and after, for all axes or each."""


def convolve(x: ArrayLike, w: ArrayLike, b: ArrayLike | None = None, **settings: Any) -> np.ndarray:
    """Convolve x (N, *size, C_in) with w (*kernel, C_in / groups, C_out) into (N, *output, C_out), in plain loops.

    For all positions p and output maps o::

        y[n, p, o] = b[o] + sum_{t, c} x[n, p * stride + t * dilation - before, c] * w[t, c, o]

    Args:
        x: the image, (N, *size, C_in), with any number of spatial axes.
        w: the weights, (*kernel, C_in / groups, C_out).
        b: one bias for each output map, (C_out,).
        settings: stride, padding, dilation, groups and connections, as in `terms`.

    Returns:
        y in float64, or in complex128 for complex arrays.

    Example:
        >>> convolve(np.ones((1, 3, 3, 2)), np.ones((2, 2, 2, 1)))[0, :, :, 0]
        array([[8., 8.],
               [8., 8.]])
    """
    x, w = _wide(x), _wide(w)
    _, output = _pixels_read(x.shape[1:-1], w.shape[:-2], **_spatial(settings))
    y = np.zeros((x.shape[0], *output, w.shape[-1]), np.result_type(x, w))
    for at_x, at_w, at_y in terms(x.shape, w.shape, **settings):
        y[at_y] += x[at_x] * w[at_w]
    return y if b is None else y + _wide(b)


def input_gradient(x_shape: Sequence[int], w: ArrayLike, y: ArrayLike, **settings: Any) -> np.ndarray:
    """Return the derivative of T(x, w, y) with respect to x, (N, *size, C_in): the adjoint of `convolve` in x."""
    w, y = _wide(w), _wide(y)
    x = np.zeros(tuple(x_shape), np.result_type(w, y))
    for at_x, at_w, at_y in terms(x_shape, w.shape, **settings):
        x[at_x] += w[at_w] * y[at_y]
    return x


def weight_gradient(x: ArrayLike, w_shape: Sequence[int], y: ArrayLike, **settings: Any) -> np.ndarray:
    """Return the derivative of T(x, w, y) with respect to w, (*kernel, C_in / groups, C_out): the adjoint in w."""
    x, y = _wide(x), _wide(y)
    w = np.zeros(tuple(w_shape), np.result_type(x, y))
    for at_x, at_w, at_y in terms(x.shape, w_shape, **settings):
        w[at_w] += x[at_x] * y[at_y]
    return w


def terms(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *,
    stride: Along = 1,
    padding: Padding = "VALID",
    dilation: Along = 1,
    groups: int = 1,
    connections: np.ndarray | None = None,
) -> Iterator[tuple[Index, Index, Index]]:
    """Yield (index into x, index into w, index into y) for every product of a convolution.

    Where the kernel reads beyond the image, there is no term (zeros), or one with another pixel of the image (wrapped,
    repeated, mirrored). Two maps that are not connected in `connections` (C_in, C_out) have no terms.

    Args:
        x_shape: (N, *size, C_in).
        w_shape: (*kernel, C_in / groups, C_out).
        stride, padding, dilation, groups: as in `cnnjax.conv2d`.
        connections: a boolean matrix (C_in, C_out), or None for all pairs.
    """
    n, *size, _ = x_shape
    *kernel, in_group, c_out = w_shape
    source, output = _pixels_read(size, kernel, stride=stride, padding=padding, dilation=dilation)
    links = [
        (group * in_group + c, c, o)
        for o in range(c_out)
        for group in [o // (c_out // groups)]
        for c in range(in_group)
        if connections is None or connections[group * in_group + c][o]
    ]
    for position, tap in itertools.product(_indices(output), _indices(kernel)):
        places = [source[axis][i][t] for axis, (i, t) in enumerate(zip(position, tap, strict=True))]
        pixel = tuple(i for i in places if i is not None)
        if len(pixel) == len(places):
            for image, (c, slice_, o) in itertools.product(range(n), links):
                yield (image, *pixel, c), (*tap, slice_, o), (image, *position, o)


def local_convolve(x: ArrayLike, w: ArrayLike, b: ArrayLike | None = None, **settings: Any) -> np.ndarray:
    """Convolve x (N, *size, C_in) with a kernel for each position, w (*output, *kernel, C_in, C_out)."""
    x, w = _wide(x), _wide(w)
    axes = x.ndim - 2
    _, output = _pixels_read(x.shape[1:-1], w.shape[axes:-2], **settings)
    y = np.zeros((x.shape[0], *output, w.shape[-1]), np.result_type(x, w))
    for at_x, at_w, at_y in terms(x.shape, w.shape[axes:], **settings):
        y[at_y] += x[at_x] * w[(*at_y[1:-1], *at_w)]
    return y if b is None else y + _wide(b)


def max_pool(x: ArrayLike, window: Sequence[int], **settings: Any) -> np.ndarray:
    """Return the maximum of the pixels of x (N, *size, C) in each window."""
    return _pool(x, window, np.max, **settings)


def avg_pool(x: ArrayLike, window: Sequence[int], **settings: Any) -> np.ndarray:
    """Return the mean of the pixels of x (N, *size, C) in each window; padding does not count."""
    return _pool(x, window, np.mean, **settings)


def lp_pool(x: ArrayLike, window: Sequence[int], p: float, **settings: Any) -> np.ndarray:
    """Return the p-norm of the pixels of x (N, *size, C) in each window."""
    return _pool(x, window, lambda pixels: np.sum(np.abs(pixels) ** p) ** (1 / p), **settings)


def subsample(x: ArrayLike, w: ArrayLike, b: ArrayLike, window: Sequence[int], **settings: Any) -> np.ndarray:
    """Sub-sample x (N, *size, C) as LeNet-5 does: w[c] times the sum of each window of map c, plus b[c]."""
    return _pool(x, window, np.sum, **settings) * _wide(w) + _wide(b)


def _pool(x: ArrayLike, window: Sequence[int], reduce: Callable[[np.ndarray], Any], **settings: Any) -> np.ndarray:
    x = _wide(x)
    source, output = _pixels_read(x.shape[1:-1], window, **settings)
    y = np.zeros((x.shape[0], *output, x.shape[-1]), x.dtype)
    for at_y in np.ndindex(*y.shape):
        image, *position, c = at_y
        rows = [[pixel for pixel in source[a][i] if pixel is not None] for a, i in enumerate(position)]
        y[at_y] = reduce(np.array([x[(image, *pixel, c)] for pixel in itertools.product(*rows)]))
    return y


def _pixels_read(
    size: Sequence[int], kernel: Sequence[int], *, stride: Along = 1, padding: Padding = "VALID", dilation: Along = 1
) -> tuple[list[list[list[int | None]]], tuple[int, ...]]:
    """Return source[axis][position][tap], the pixel that a tap reads (None for a zero), and the output size."""
    axes = len(size)
    strides, dilations = _each(stride, axes), _each(dilation, axes)
    source: list[list[list[int | None]]] = []
    output: list[int] = []
    for axis in range(axes):
        n, k, s, d = size[axis], kernel[axis], strides[axis], dilations[axis]
        before, after = _pads(padding, axis, n, d * (k - 1) + 1, s)
        positions = range(0, before + n + after - d * (k - 1), s)
        source.append([[_pixel(start + t * d - before, n, padding) for t in range(k)] for start in positions])
        output.append(len(positions))
    return source, tuple(output)


def _pads(padding: Padding, axis: int, n: int, extent: int, stride: int) -> tuple[int, int]:
    """Return the (before, after) pads of an axis of n pixels."""
    if padding == "VALID":
        return 0, 0
    if padding == "CAUSAL":
        return extent - 1, 0
    if padding in ("CIRCULAR", "EDGE", "REFLECT"):
        return (extent - 1) // 2, extent - 1 - (extent - 1) // 2
    if padding in ("SAME", "SAME_LOWER"):
        positions = int(np.ceil(n / stride))
        total = max(0, (positions - 1) * stride + extent - n)
        less, more = total // 2, total - total // 2
        return (less, more) if padding == "SAME" else (more, less)
    if isinstance(padding, str):
        raise ValueError(f"no padding is named {padding!r}")
    entry = padding if isinstance(padding, int) else padding[axis]
    before, after = (entry, entry) if isinstance(entry, int) else entry
    return before, after


def _pixel(i: int, n: int, padding: Padding) -> int | None:
    """Return the pixel at index i of an axis of n, where i may lie beyond it; None for a zero."""
    if 0 <= i < n:
        return i
    if padding == "CIRCULAR":
        return i % n
    if padding == "EDGE":
        return 0 if i < 0 else n - 1
    if padding == "REFLECT":
        return -i if i < 0 else 2 * (n - 1) - i
    return None


def _spatial(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in ("stride", "padding", "dilation") if name in settings}


def _indices(sizes: Sequence[int]) -> Iterator[Index]:
    return itertools.product(*map(range, sizes))


def _each(value: Along, axes: int) -> Sequence[int]:
    return (value,) * axes if isinstance(value, int) else value


def _wide(values: ArrayLike) -> np.ndarray:
    values = np.asarray(values)
    return values.astype(np.complex128 if np.iscomplexobj(values) else np.float64)
