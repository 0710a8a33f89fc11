"""Max pooling and its gradient as JAX defines them, by shifted images instead of XLA's scalar loops.

`lax.reduce_window` with `lax.max` takes the maximum of each window, and its transpose, `select_and_scatter_add`, adds
the cotangent of each window to the first of its maxima in row-major order (`cnnjax.max_pool2d` shares it among equal
maxima). Any axis of an array may be pooled, so every layout is served.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray

from cnnjax._core.windows import accumulation_dtype
from cnnjax.operator.unfused import unfused

__all__ = ["add_to_maxima", "maxima", "why_gradient_is_left", "why_maxima_are_left"]

# A window of up to this number of taps, 3 x 3 x 3, is written out: each tap is an operation of the program.
_WRITTEN_OUT = 27
# Up to these numbers of taps, windows that do not overlap are faster as shifted images.
_FEW_TAPS_OF_AXIS, _FEW_TAPS = 8, 16
# From this number of maps on, channels last, a gradient fills the vector registers.
_MANY_MAPS = 32


def why_maxima_are_left(operand: ShapedArray, out: ShapedArray, **params: Any) -> str | None:
    """Why the maxima of windows are left to JAX, or None if they are computed here."""
    window, strides, padding = params["window_dimensions"], params["window_strides"], params["padding"]
    if set(params["base_dilation"]) | set(params["window_dilation"]) != {1}:
        return "its image or its windows are dilated"
    return _why_left(operand, out, padding) or _why_jax_is_faster(operand, window, strides, padding)


def _why_jax_is_faster(
    operand: ShapedArray, window: Sequence[int], strides: Sequence[int], padding: Sequence[tuple[int, int]]
) -> str | None:
    one_axis = sum(k > 1 for k in window) == 1
    overlap = any(k > s for k, s in zip(window, strides, strict=True))
    sixteen_bits = jnp.dtype(operand.dtype).itemsize == 2
    if one_axis and (math.prod(window) > _WRITTEN_OUT or (overlap and not sixteen_bits)):
        return "its windows are long, or overlap, along one axis alone"
    padded = any(map(any, padding))
    copies_pixels = window[-1] == 1 and (sixteen_bits or padded)
    if not overlap and (copies_pixels or math.prod(window) > (_FEW_TAPS_OF_AXIS if one_axis else _FEW_TAPS)):
        return "its windows do not overlap: XLA's loop reads each pixel once"
    return None


def why_gradient_is_left(source: ShapedArray, operand: ShapedArray, **params: Any) -> str | None:
    """Why the gradient of max pooling is left to JAX, or None if it is computed here."""
    if params["select_prim"] is not lax.ge_p:
        return "it is not the gradient of a maximum"
    if math.prod(params["window_dimensions"]) > _WRITTEN_OUT:
        return f"its windows have more than {_WRITTEN_OUT} pixels"
    window, strides = params["window_dimensions"], params["window_strides"]
    return _why_left(operand, source, params["padding"]) or _why_jax_adds_faster(operand, window, strides)


def _why_jax_adds_faster(operand: ShapedArray, window: Sequence[int], strides: Sequence[int]) -> str | None:
    if window[-1] > 1 or operand.shape[-1] >= _MANY_MAPS:
        return None
    if math.prod(window) > _FEW_TAPS and math.prod(strides) > _FEW_TAPS:
        return "its windows are large and apart, of few maps"
    one_axis = sum(k > 1 for k in window) == 1
    if one_axis and max(strides) > 1 and jnp.dtype(operand.dtype).itemsize == 2:
        return "its windows have one axis and few maps, of 16 bits"
    return None


def _why_left(image: ShapedArray, pooled: ShapedArray, padding: Sequence[tuple[int, int]]) -> str | None:
    if not all(isinstance(n, int) for n in (*image.shape, *pooled.shape)):
        return "a size is symbolic"
    if 0 in (*image.shape, *pooled.shape):
        return "an array is empty"
    if not jnp.issubdtype(image.dtype, jnp.floating):
        return "its arrays are not floating-point numbers"
    if min(itertools.chain.from_iterable(padding)) < 0:
        return "its padding is negative"
    return None


def maxima(
    operand: jax.Array,
    *,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    **implied: Any,
) -> jax.Array:
    """The maximum of each window: one of shifted images or, of many pixels, one axis of the window after the other."""
    dtype, axes = operand.dtype, range(operand.ndim)
    # Numbers of 16 bits are compared as float32, which the processor has instructions for.
    operand = operand.astype(accumulation_dtype(dtype))

    def along(axes: Sequence[int]) -> tuple[list[int], list[int], list[tuple[int, int]]]:
        """Window, strides and padding along some of the axes."""
        window, strides = (
            [v[i] if i in axes else 1 for i in range(operand.ndim)] for v in (window_dimensions, window_strides)
        )
        return window, strides, [padding[i] if i in axes else (0, 0) for i in range(operand.ndim)]

    if math.prod(window_dimensions) > _WRITTEN_OUT:
        for axis in axes:
            operand = lax.reduce_window(operand, _lowest(operand), lax.max, *along([axis]))
        return operand.astype(dtype)
    # Neighbours in memory are read with a stride: shifted images of them are not faster than XLA's loop.
    apart = 1 < window_strides[-1] < window_dimensions[-1]
    operand = _largest_of_shifted(operand, *along(axes[:-1] if apart else axes))
    if apart:
        operand = lax.reduce_window(operand, _lowest(operand), lax.max, *along(axes[-1:]))
    return operand.astype(dtype)


def _largest_of_shifted(
    operand: jax.Array, window: Sequence[int], strides: Sequence[int], padding: Sequence[tuple[int, int]]
) -> jax.Array:
    padded = _padded(operand, padding)
    positions = [(n - k) // s + 1 for n, k, s in zip(padded.shape, window, strides, strict=True)]
    first, *others = _taps(window)
    largest = _shifted(padded, first, positions, strides)
    for tap in others:
        largest = lax.max(largest, _shifted(padded, tap, positions, strides))
    return largest


def add_to_maxima(
    source: jax.Array,
    operand: jax.Array,
    *,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    **implied: Any,
) -> jax.Array:
    """Add each number of the source to the first maximum of its window of the operand; the rest is zero.

    Along each axis, pixel s * b + u of the padded image, 0 <= u < s, is tap s * j + u of window b - j. So for each j
    the source, shifted by j blocks of s pixels, meets all pixels at once: those that are its maxima take it.
    """
    strides, positions, dtype = window_strides, source.shape, source.dtype
    # Numbers of 16 bits are compared and added as float32, which the processor has instructions for.
    source, operand = (a.astype(accumulation_dtype(dtype)) for a in (source, operand))
    overlap = [-(-k // s) for k, s in zip(window_dimensions, strides, strict=True)]
    blocks = [p + o - 1 for p, o in zip(positions, overlap, strict=True)]
    # The number of a tap, unique among all (s * j + u) along each axis.
    span = [o * s for o, s in zip(overlap, strides, strict=True)]
    number = lambda taps: np.ravel_multi_index(taps, span).astype(np.int32)  # noqa: E731

    def first_maximum(operand: jax.Array) -> jax.Array:
        image = _padded(operand, padding)
        first, *others = _taps(window_dimensions)
        largest = _shifted(image, first, positions, strides)
        chosen = jnp.full(positions, number(first))
        for tap in others:
            pixel = _shifted(image, tap, positions, strides)
            stays = largest >= pixel  # as JAX has it: false if either is NaN
            largest, chosen = lax.select(stays, largest, pixel), jnp.where(stays, chosen, number(tap))
        return chosen

    # Fused with what follows, it would be computed for each shift, or in strides through memory.
    apart = math.prod(overlap) > 1 or strides[-1] > 1
    chosen = unfused(first_maximum, operand) if apart else first_maximum(operand)
    margins = [(o - 1, o - 1, 0) for o in overlap]
    chosen = lax.pad(chosen, np.int32(-1), margins)
    source = lax.pad(source, jnp.zeros((), source.dtype), margins)
    in_blocks = tuple(range(0, 2 * operand.ndim, 2))
    blocked = [n for pair in zip(blocks, strides, strict=True) for n in pair]
    offsets = np.meshgrid(*map(range, strides), indexing="ij")
    total = jnp.zeros(blocked, source.dtype)
    for shift in itertools.product(*map(range, overlap)):
        window = [o - 1 - j for o, j in zip(overlap, shift, strict=True)]
        tap = number([s * j + u for s, j, u in zip(strides, shift, offsets, strict=True)])
        tap = tap.reshape([n for s in strides for n in (1, s)])
        value, taken = (
            lax.broadcast_in_dim(_shifted(a, window, blocks, (1,) * a.ndim), blocked, in_blocks)
            for a in (source, chosen)
        )
        total = total + jnp.where(taken == tap, value, jnp.zeros_like(value))
    total = total.reshape([b * s for b, s in zip(blocks, strides, strict=True)])
    ends = [(-low, low + n - m, 0) for (low, _), n, m in zip(padding, operand.shape, total.shape, strict=True)]
    return lax.pad(total.astype(dtype), jnp.zeros((), dtype), ends)


def _taps(window: Sequence[int]) -> itertools.product[tuple[int, ...]]:
    return itertools.product(*map(range, window))


def _lowest(array: jax.Array) -> np.ndarray:
    return np.array(-np.inf, array.dtype)


def _padded(operand: jax.Array, padding: Sequence[tuple[int, int]]) -> jax.Array:
    return lax.pad(operand, _lowest(operand), [(low, high, 0) for low, high in padding])


def _shifted(image: jax.Array, tap: Sequence[int], positions: Sequence[int], strides: Sequence[int]) -> jax.Array:
    """The pixel of each window at a tap."""
    last = [t + s * (p - 1) + 1 for t, s, p in zip(tap, strides, positions, strict=True)]
    return lax.slice(image, tap, last, strides)
