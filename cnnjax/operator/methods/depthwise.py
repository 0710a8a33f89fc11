"""Depthwise: a fused multiply-add of the shifted image for each tap, without any matrix product::

    y[n, p, c m + r] = sum over taps t of  x[n, p s + t d, c] * w[t, c, r]

The input gradient is the same sum over the cotangent, dilated by the stride, with the kernel flipped. The weight
gradient goes through each image row by row, so that its sums (one for each tap and column) stay in the cache, and then
adds up the columns by pairwise halving: a reduction over the leading axes of a channels-last array is what XLA does
slowest on a CPU.

Cost: one multiply-accumulate for each position, tap and output map. It serves one group for each input map.

Source: Howard et al. 2017, "MobileNets", section 3.1, for the operation.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax._core.windows import MANY_TAPS, pad_constant, tap_views
from cnnjax.operator import tap_loop
from cnnjax.operator.method import Method, flipped
from cnnjax.operator.spec import ConvSpec, Direction

__all__ = ["METHOD"]

# Many taps are a loop of this number of them at a time.
_AT_A_TIME = 16


def _refuses(spec: ConvSpec) -> str | None:
    return None if spec.groups == spec.c_in else "it is for one group for each input map"


def _convolve(x: jax.Array, w: jax.Array, spec: ConvSpec) -> jax.Array:
    if spec.num_taps > MANY_TAPS:
        return tap_loop.forward(x, w, spec, _AT_A_TIME)
    multiplier = spec.c_out // spec.c_in
    w = w.reshape(*spec.geometry.kernel, spec.c_in, multiplier)
    y = jnp.zeros((spec.n, *spec.geometry.output, spec.c_in, multiplier), x.dtype)
    for tap, view in tap_views(pad_constant(x, spec.geometry), spec.geometry):
        y = y + view[..., None] * w[tap].reshape((1,) * (y.ndim - 2) + w.shape[-2:])
    return y.reshape(spec.y_shape)


def _input_gradient(w: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    multiplier = spec.c_out // spec.c_in
    dilated, w, unstrided = flipped(y, w, spec.geometry, spec.groups)  # w (*kernel, multiplier, C_in)
    if spec.num_taps > MANY_TAPS:
        of_output = replace(spec, geometry=unstrided, c_out=spec.c_in)

        def add(x: jax.Array, output: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            return x + tap_loop.forward(*output, of_output, _AT_A_TIME), None

        outputs_first = jnp.moveaxis(dilated.reshape(*dilated.shape[:-1], -1, multiplier), -1, 0)
        weights_first = jnp.moveaxis(w, -2, 0)[..., None, :]
        return lax.scan(add, jnp.zeros(spec.x_shape, y.dtype), (outputs_first, weights_first))[0]
    x = jnp.zeros(spec.x_shape, y.dtype)
    for tap, view in tap_views(dilated, unstrided):
        view = view.reshape(*view.shape[:-1], spec.c_in, multiplier)
        weighted = view * w[tap].T.reshape((1,) * (view.ndim - 2) + (spec.c_in, multiplier))
        x = x + (weighted[..., 0] if multiplier == 1 else weighted.sum(axis=-1))
    return x


def _weight_gradient(x: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    if spec.num_taps > MANY_TAPS:
        return tap_loop.weight_gradient(x, y, spec)
    if len(spec.geometry.kernel) == 1:  # row by row would be position by position
        return _weight_gradient(x[:, None], y[:, None], spec.with_one_row())[0]
    geometry, multiplier = spec.geometry, spec.c_out // spec.c_in
    stride, *strides = geometry.stride
    dilation, *dilations = geometry.dilation
    rows, *others = geometry.output
    x = pad_constant(x, geometry)
    y = y.reshape(spec.n, *geometry.output, spec.c_in, multiplier)

    def row_of(a: jax.Array, image: jax.Array, row: jax.Array) -> jax.Array:
        return lax.dynamic_slice(a, (image, row, *(0,) * (a.ndim - 2)), (1, 1, *a.shape[2:]))[0, 0]

    def add_row(sums: tuple[jax.Array, ...], step: jax.Array) -> tuple[tuple[jax.Array, ...], None]:
        """Add the products of one row of y, for each tap, (*other positions, C_in, multiplier)."""
        image, row = step // rows, step % rows
        cotangent = row_of(y, image, row)
        added: list[jax.Array] = []
        for total, (u, *rest) in zip(sums, geometry.taps, strict=True):
            start = [t * d for t, d in zip(rest, dilations, strict=True)]
            stop = [a + (n - 1) * s + 1 for a, n, s in zip(start, others, strides, strict=True)]
            read = row_of(x, image, row * stride + u * dilation)
            view = lax.slice(read, (*start, 0), (*stop, spec.c_in), (*strides, 1))
            added.append(total + view[..., None] * cotangent)
        return tuple(added), None

    zeros = jnp.zeros(y.shape[2:], y.dtype)
    sums, _ = lax.scan(add_row, (zeros,) * spec.num_taps, jnp.arange(spec.n * rows))
    columns = jnp.stack(sums).reshape(spec.num_taps, -1, spec.c_in, multiplier)
    return _add_up(columns).reshape(spec.w_shape)


def _add_up(columns: jax.Array) -> jax.Array:
    """Sum (taps, columns, C_in, multiplier) over the columns, by pairwise halving."""
    while columns.shape[1] > 1:
        half, odd = divmod(columns.shape[1], 2)
        halves = columns[:, :half] + columns[:, half : 2 * half]
        columns = jnp.concatenate([halves, columns[:, 2 * half :]], axis=1) if odd else halves
    return columns


def _spreads(direction: Direction, spec: ConvSpec) -> tuple[int, ...]:
    # The weights are also multiplied by the zeros between and around the cotangent's pixels.
    return (0,) if direction == "input_gradient" else ()


METHOD = Method(
    "depthwise",
    _convolve,
    _input_gradient,
    _weight_gradient,
    _refuses,
    elementwise=("forward", "input_gradient"),
    spreads=_spreads,
)
