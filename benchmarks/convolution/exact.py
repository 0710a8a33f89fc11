"""The three directions in float64 by NumPy, one matrix product per tap: the reference for the errors.

`cnnjax.reference` computes the same in plain loops, which are too slow for these shapes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from benchmarks.convolution.shapes import Shape

__all__ = ["directions", "error"]


def directions(shape: Shape, source: np.ndarray, w: np.ndarray, result: np.ndarray) -> dict[str, np.ndarray]:
    """Each direction of a shape from its three arrays, in float64."""
    source, w, result = (a.astype(np.float64) for a in (source, w, result))
    if shape.transposed:
        return {
            "forward": _input_gradient(shape, w, source),
            "input_gradient": _forward(shape, result, w),
            "weight_gradient": _weight_gradient(shape, result, source),
        }
    return {
        "forward": _forward(shape, source, w),
        "input_gradient": _input_gradient(shape, w, result),
        "weight_gradient": _weight_gradient(shape, source, result),
    }


def error(computed: np.ndarray, exact: np.ndarray) -> float:
    """The largest absolute difference divided by the largest absolute exact value."""
    return float(np.max(np.abs(computed.astype(np.float64) - exact)) / np.max(np.abs(exact)))


def _forward(shape: Shape, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    y = np.zeros(_grouped_shape(shape.y, shape.groups))
    padded = _pad(shape, x)
    for tap, window in _windows(shape):
        y += np.einsum("...gc,gco->...go", _in_groups(padded[window], shape.groups), _weights(shape, w[tap]))
    return y.reshape(shape.y)


def _input_gradient(shape: Shape, w: np.ndarray, y: np.ndarray) -> np.ndarray:
    padded = _pad(shape, np.zeros(shape.x))
    y = _in_groups(y, shape.groups)
    for tap, window in _windows(shape):
        seen = np.einsum("...go,gco->...gc", y, _weights(shape, w[tap]), optimize=True)
        padded[window] += seen.reshape(*seen.shape[:-2], -1)
    inside = tuple(slice(shape.padding, shape.padding + n) for n in shape.size)
    return padded[(slice(None), *inside)]


def _weight_gradient(shape: Shape, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    w = np.zeros(shape.w)
    padded = _pad(shape, x)
    y = _in_groups(y, shape.groups).reshape(-1, shape.groups, shape.c_out // shape.groups)
    for tap, window in _windows(shape):
        seen = _in_groups(padded[window], shape.groups).reshape(-1, shape.groups, shape.c_in // shape.groups)
        products = np.einsum("ngc,ngo->cgo", seen, y, optimize=True)
        w[tap] = products.reshape(w[tap].shape)
    return w


def _windows(shape: Shape) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each tap with the slice of the padded image that it reads."""
    for tap in itertools.product(*map(range, shape.kernel)):
        ends = (t + (n - 1) * shape.stride + 1 for t, n in zip(tap, shape.geometry.output, strict=True))
        yield tap, (slice(None), *(slice(t, end, shape.stride) for t, end in zip(tap, ends, strict=True)))


def _pad(shape: Shape, x: np.ndarray) -> np.ndarray:
    return np.pad(x, ((0, 0), *((shape.padding, shape.padding),) * shape.axes, (0, 0)))


def _in_groups(a: np.ndarray, groups: int) -> np.ndarray:
    return a.reshape(_grouped_shape(a.shape, groups))


def _grouped_shape(shape: tuple[int, ...], groups: int) -> tuple[int, ...]:
    return (*shape[:-1], groups, shape[-1] // groups)


def _weights(shape: Shape, w: np.ndarray) -> np.ndarray:
    """(C_in / groups, C_out) -> (groups, C_in / groups, C_out / groups)."""
    return np.moveaxis(_in_groups(w, shape.groups), -2, 0)
