"""The three directions by a loop over the taps of the kernel, each product exactly as the definition has it::

    y[p]         += x[p s + t d] w[t]
    x[p s + t d] += w[t] y[p]
    w[t]          = sum over p of  x[p s + t d] y[p]

The program has one body, whatever the kernel, and no product with a zero that is not in the arrays (but for padding
under a kernel). It serves every convolution, slower than the methods that are made for one kind.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax._core.windows import pad_constant
from cnnjax.operator.spec import ConvSpec

__all__ = ["forward", "input_gradient", "weight_gradient"]

_Tap = tuple[tuple[jax.Array, ...], jax.Array]
"""The first pixel that a tap reads, along each axis, and its weights."""


def forward(x: jax.Array, w: jax.Array, spec: ConvSpec, taps_at_a_time: int = 1) -> jax.Array:
    """y (N, *output, C_out) of x (N, *size, C_in) and w (*kernel, C_in / groups, C_out)."""
    padded = pad_constant(x, spec.geometry)

    def add_tap(y: jax.Array, tap: _Tap) -> tuple[jax.Array, None]:
        start, weights = tap
        return y + _sum_over_inputs(_view(padded, start, spec), weights, spec), None

    y = jnp.zeros((spec.n, *spec.geometry.output, spec.groups, spec.c_out // spec.groups), x.dtype)
    y, _ = lax.scan(add_tap, y, (_starts(spec), _per_tap(w, spec)), unroll=taps_at_a_time)
    return y.reshape(spec.y_shape)


def input_gradient(w: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    """x (N, *size, C_in) of w (*kernel, C_in / groups, C_out) and y (N, *output, C_out)."""
    geometry = spec.geometry
    y = _in_groups(y, spec)
    holes = [(0, 0, stride - 1) for stride in geometry.stride]

    def add_tap(x: jax.Array, tap: _Tap) -> tuple[jax.Array, None]:
        start, weights = tap
        added = _sum_over_outputs(y, weights, spec)
        spread = lax.pad(added, jnp.zeros((), y.dtype), [(0, 0, 0), *holes, (0, 0, 0)])
        before = lax.dynamic_slice(x, (0, *start, 0), spread.shape)
        return lax.dynamic_update_slice(x, before + spread, (0, *start, 0)), None

    x = jnp.zeros((spec.n, *geometry.padded, spec.c_in), y.dtype)
    x, _ = lax.scan(add_tap, x, (_starts(spec), _per_tap(w, spec)))
    inside = [slice(before, before + size) for (before, _), size in zip(geometry.pads, geometry.size, strict=True)]
    return x[(slice(None), *inside)]


def weight_gradient(x: jax.Array, y: jax.Array, spec: ConvSpec) -> jax.Array:
    """w (*kernel, C_in / groups, C_out) of x (N, *size, C_in) and y (N, *output, C_out)."""
    padded = pad_constant(x, spec.geometry)
    y = _in_groups(y, spec)
    positions = "npqr"[: y.ndim - 2]

    def of_tap(start: Any) -> jax.Array:
        view = _view(padded, start, spec)
        return jnp.einsum(f"{positions}gi,{positions}go->igo", view, y, precision=spec.precision)

    return lax.map(of_tap, _starts(spec)).reshape(spec.w_shape)


def _starts(spec: ConvSpec) -> tuple[jax.Array, ...]:
    """The first pixel of the padded image that each tap reads, (taps,) along each axis."""
    indices = jnp.unravel_index(jnp.arange(spec.num_taps), spec.geometry.kernel)
    return tuple(index * dilation for index, dilation in zip(indices, spec.geometry.dilation, strict=True))


def _per_tap(w: jax.Array, spec: ConvSpec) -> jax.Array:
    """(taps, C_in / groups, groups, C_out / groups)."""
    return w.reshape(spec.num_taps, spec.maps_in_group, spec.groups, spec.c_out // spec.groups)


def _in_groups(y: jax.Array, spec: ConvSpec) -> jax.Array:
    """(N, *output, groups, C_out / groups)."""
    return y.reshape(spec.n, *spec.geometry.output, spec.groups, spec.c_out // spec.groups)


def _view(padded: jax.Array, start: tuple[jax.Array, ...], spec: ConvSpec) -> jax.Array:
    """The pixels under one tap, (N, *output, groups, C_in / groups)."""
    geometry = spec.geometry
    span = [(n - 1) * stride + 1 for n, stride in zip(geometry.output, geometry.stride, strict=True)]
    read = lax.dynamic_slice(padded, (0, *start, 0), (spec.n, *span, spec.c_in))
    every = (slice(None), *(slice(None, None, stride) for stride in geometry.stride))
    return read[every].reshape(spec.n, *geometry.output, spec.groups, spec.maps_in_group)


def _sum_over_inputs(view: jax.Array, weights: jax.Array, spec: ConvSpec) -> jax.Array:
    if spec.maps_in_group == 1:  # elementwise: a batch of products of single numbers is slow
        return view * _on_maps(weights[0], view.ndim)
    return jnp.einsum("...gi,igo->...go", view, weights, precision=spec.precision)


def _sum_over_outputs(y: jax.Array, weights: jax.Array, spec: ConvSpec) -> jax.Array:
    if spec.c_out == spec.groups:
        products = y * _on_maps(weights[..., 0].T, y.ndim)
    else:
        products = jnp.einsum("...go,igo->...gi", y, weights, precision=spec.precision)
    return products.reshape(spec.n, *spec.geometry.output, spec.c_in)


def _on_maps(weights: jax.Array, ndim: int) -> jax.Array:
    """Weights of groups and of maps in them, for an array with leading axes of images and positions."""
    return lax.expand_dims(weights, range(ndim - weights.ndim))
