"""Depthwise: fused multiply-add of the shifted image, one for each tap, without any product of matrices.

    y[n, p, c m + r] = sum over taps t of  x[n, p s + t d, c] * w[t, c, r]

The input gradient is the same sum over the gradient, spread out by the stride, with the kernel flipped. The weight
gradient goes row by row through each image, so that its sums (one for each tap and column) stay in the cache, and adds
the columns up by halving: a reduction over the leading axes of a channels-last array is what XLA does slowest on a CPU.

Cost: one multiply-add for each position, tap and output map. It serves calls with a group for each input map.

Source: Howard et al. 2017, "MobileNets", section 3.1, for the operation.
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax._core.windows import pad_zeros, under_each_tap
from cnnjax.operator.method import Method
from cnnjax.operator.spec import ConvSpec

__all__ = ["METHOD"]


def _refuses(spec: ConvSpec) -> str | None:
    return None if spec.groups == spec.c_in else "it is for one group for each input map"


def _convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    multiplier = spec.c_out // spec.c_in
    w = w.reshape(*spec.geometry.kernel, spec.c_in, multiplier)
    y = jnp.zeros((spec.n, *spec.geometry.output, spec.c_in, multiplier), x.dtype)
    for tap, seen in under_each_tap(pad_zeros(x, spec.geometry), spec.geometry):
        y = y + seen[..., None] * w[tap].reshape((1,) * (y.ndim - 2) + w.shape[-2:])
    return y.reshape(spec.y_shape)


def _input_gradient(w: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    geometry, multiplier = spec.geometry, spec.c_out // spec.c_in
    w = w.reshape(*geometry.kernel, spec.c_in, multiplier)
    y = y.reshape(spec.n, *geometry.output, spec.c_in, multiplier)
    # Spread the gradient out by the stride and pad it so that every pixel sees all the positions that have read it.
    config = [
        (extent - 1 - before, before + size - (positions - 1) * stride - 1, stride - 1)
        for extent, (before, _), size, positions, stride in zip(
            geometry.extent, geometry.pads, geometry.size, geometry.output, geometry.stride, strict=True
        )
    ]
    spread = lax.pad(y, jnp.zeros((), y.dtype), [(0, 0, 0), *config, (0, 0, 0), (0, 0, 0)])
    x = jnp.zeros(spec.x_shape, y.dtype)
    for tap in _taps(spec):
        start = [extent - 1 - t * d for extent, t, d in zip(geometry.extent, tap, geometry.dilation, strict=True)]
        stop = [a + n for a, n in zip(start, geometry.size, strict=True)]
        seen = lax.slice(spread, (0, *start, 0, 0), (spec.n, *stop, spec.c_in, multiplier))
        weighted = seen * w[tap].reshape((1,) * (seen.ndim - 2) + w.shape[-2:])
        x = x + (weighted[..., 0] if multiplier == 1 else weighted.sum(axis=-1))
    return x


def _weight_gradient(x: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    geometry, multiplier = spec.geometry, spec.c_out // spec.c_in
    stride, *strides = geometry.stride
    dilation, *dilations = geometry.dilation
    rows, *others = geometry.output
    x = pad_zeros(x, geometry)
    y = y.reshape(spec.n, *geometry.output, spec.c_in, multiplier)

    def row_of(a: jax.Array, image: jax.Array, row: jax.Array) -> jax.Array:
        return lax.dynamic_slice(a, (image, row, *(0,) * (a.ndim - 2)), (1, 1, *a.shape[2:]))[0, 0]

    def add_row(sums: tuple[jax.Array, ...], step: jax.Array) -> tuple[tuple[jax.Array, ...], None]:
        """Add the products of one row of y, for each tap, (*other positions, C_in, multiplier)."""
        image, row = step // rows, step % rows
        given = row_of(y, image, row)
        added = []
        for total, (u, *rest) in zip(sums, _taps(spec), strict=True):
            start = [t * d for t, d in zip(rest, dilations, strict=True)]
            stop = [a + (n - 1) * s + 1 for a, n, s in zip(start, others, strides, strict=True)]
            read = row_of(x, image, row * stride + u * dilation)
            seen = lax.slice(read, (*start, 0), (*stop, spec.c_in), (*strides, 1))
            added.append(total + seen[..., None] * given)
        return tuple(added), None

    zeros = jnp.zeros(y.shape[2:], y.dtype)
    sums, _ = lax.scan(add_row, (zeros,) * spec.taps, jnp.arange(spec.n * rows))
    columns = jnp.stack(sums).reshape(spec.taps, -1, spec.c_in, multiplier)
    return _add_up(columns).reshape(spec.w_shape)


def _add_up(columns: jax.Array) -> jax.Array:
    """Sum (taps, columns, C_in, multiplier) over the columns, by halving."""
    while columns.shape[1] > 1:
        half, odd = divmod(columns.shape[1], 2)
        halves = columns[:, :half] + columns[:, half : 2 * half]
        columns = jnp.concatenate([halves, columns[:, 2 * half :]], axis=1) if odd else halves
    return columns


def _taps(spec: ConvSpec) -> list[tuple[int, ...]]:
    return list(itertools.product(*map(range, spec.geometry.kernel)))


METHOD = Method(
    "depthwise", _convolve, _input_gradient, _weight_gradient, _refuses, loops=("forward", "input_gradient")
)
