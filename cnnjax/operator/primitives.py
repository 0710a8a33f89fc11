"""The convolution as a trilinear form, T(x, w, y) = <conv(x, w), y>, and its three directions as JAX primitives.

T is linear in each of its arguments. The forward pass is its derivative in y, the input gradient its derivative in x,
and the weight gradient its derivative in w. Each is bilinear in the other two arguments, and its transposes are the
other two directions, so the three primitives are closed under differentiation, in both modes and to every order::

    forward (x, w) -> y          transposes: input_gradient in x, weight_gradient in w
    input_gradient (w, y) -> x   transposes: weight_gradient in w, forward in y
    weight_gradient (x, y) -> w  transposes: input_gradient in x, forward in y

Under vmap, a batch of x or y folds into N, and a batch of w into the maps; where both operands are batched, the batch
becomes groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.typing import DTypeLike

from cnnjax.operator._jax import bilinear_primitive, bind, set_rules
from cnnjax.operator.choice import compute
from cnnjax.operator.spec import ConvSpec, Direction, Platform

__all__ = ["forward", "input_gradient", "weight_gradient"]


def forward(x: jax.Array, w: jax.Array, spec: ConvSpec, dtype: DTypeLike) -> jax.Array:
    """y[n, p, o] = sum_{t, c} x[n, p s + t d, c] w[t, c, o], (N, *output, C_out)."""
    return bind(_FORWARD, x, w, spec=spec, dtype=jnp.dtype(dtype))


def input_gradient(w: jax.Array, y: jax.Array, spec: ConvSpec, dtype: DTypeLike) -> jax.Array:
    """x[n, p s + t d, c] = sum_{t, o} w[t, c, o] y[n, p, o], (N, *size, C_in)."""
    return bind(_INPUT_GRADIENT, w, y, spec=spec, dtype=jnp.dtype(dtype))


def weight_gradient(x: jax.Array, y: jax.Array, spec: ConvSpec, dtype: DTypeLike) -> jax.Array:
    """w[t, c, o] = sum_{n, p} x[n, p s + t d, c] y[n, p, o], (*kernel, C_in / groups, C_out)."""
    return bind(_WEIGHT_GRADIENT, x, y, spec=spec, dtype=jnp.dtype(dtype))


def _make(direction: Direction, shape: Literal["x_shape", "w_shape", "y_shape"]) -> Primitive:
    def run(a: jax.Array, b: jax.Array, *, spec: ConvSpec, dtype: DTypeLike, platform: Platform) -> jax.Array:
        return compute(direction, a, b, spec.resolved(direction, platform), dtype, platform)

    return bilinear_primitive(f"cnnjax_{direction}", run, lambda spec: getattr(spec, shape))


_FORWARD = _make("forward", "y_shape")
_INPUT_GRADIENT = _make("input_gradient", "x_shape")
_WEIGHT_GRADIENT = _make("weight_gradient", "w_shape")


# --- batching: a batch of x or y folds into N, of w into C_in or C_out, of both operands into groups

_Batched = tuple[jax.Array, int]
_Operands = Sequence[jax.Array]
_Axes = Sequence[int | None]


def _into_n(a: jax.Array) -> jax.Array:
    """(B, N, ...) -> (B N, ...)."""
    return a.reshape(a.shape[0] * a.shape[1], *a.shape[2:])


def _out_of_n(a: jax.Array, batch: int) -> _Batched:
    return a.reshape(batch, a.shape[0] // batch, *a.shape[1:]), 0


def _into_maps(a: jax.Array, groups: int) -> jax.Array:
    """(B, ..., groups * maps) -> (..., groups * B * maps)."""
    batch, *rest, maps = a.shape
    a = jnp.moveaxis(a.reshape(batch, *rest, groups, maps // groups), 0, -2)
    return a.reshape(*rest, batch * maps)


def _out_of_maps(a: jax.Array, batch: int, groups: int) -> _Batched:
    *rest, maps = a.shape
    a = a.reshape(*rest, groups, batch, maps // (groups * batch))
    return jnp.moveaxis(a, -2, 0).reshape(batch, *rest, maps // batch), 0


def _into_groups(a: jax.Array) -> jax.Array:
    """(B, ..., maps) -> (..., B * maps): each example becomes groups of its own."""
    return _into_maps(a, 1)


def _out_of_groups(a: jax.Array, batch: int) -> _Batched:
    return _out_of_maps(a, batch, 1)


def _into_inputs_of_w(w: jax.Array) -> jax.Array:
    """(B, ..., C_in / groups, C_out) -> (..., B * C_in / groups, C_out)."""
    w = jnp.moveaxis(w, 0, -3)
    return w.reshape(*w.shape[:-3], w.shape[-3] * w.shape[-2], w.shape[-1])


def _out_of_inputs_of_w(w: jax.Array, batch: int) -> _Batched:
    *rest, maps, c_out = w.shape
    return jnp.moveaxis(w.reshape(*rest, batch, maps // batch, c_out), -3, 0), 0


def _grouped(spec: ConvSpec, batch: int) -> ConvSpec:
    return replace(spec, c_in=batch * spec.c_in, c_out=batch * spec.c_out, groups=batch * spec.groups)


def _batch_forward(operands: _Operands, axes: _Axes, *, spec: ConvSpec, dtype: DTypeLike) -> _Batched:
    (x, w), (x_batched, w_batched), batch = _batch_first(operands, axes)
    if x_batched and w_batched:
        y = forward(_into_groups(x), _into_groups(w), _grouped(spec, batch), dtype)
        return _out_of_groups(y, batch)
    if x_batched:
        return _out_of_n(forward(_into_n(x), w, replace(spec, n=batch * spec.n), dtype), batch)
    wide = replace(spec, c_out=batch * spec.c_out)
    return _out_of_maps(forward(x, _into_maps(w, spec.groups), wide, dtype), batch, spec.groups)


def _batch_input_gradient(operands: _Operands, axes: _Axes, *, spec: ConvSpec, dtype: DTypeLike) -> _Batched:
    (w, y), (w_batched, y_batched), batch = _batch_first(operands, axes)
    if w_batched and y_batched:
        x = input_gradient(_into_groups(w), _into_groups(y), _grouped(spec, batch), dtype)
        return _out_of_groups(x, batch)
    if y_batched:
        return _out_of_n(input_gradient(w, _into_n(y), replace(spec, n=batch * spec.n), dtype), batch)
    wide = replace(spec, c_in=batch * spec.c_in)
    return _out_of_maps(input_gradient(_into_inputs_of_w(w), y, wide, dtype), batch, spec.groups)


def _batch_weight_gradient(operands: _Operands, axes: _Axes, *, spec: ConvSpec, dtype: DTypeLike) -> _Batched:
    (x, y), (x_batched, y_batched), batch = _batch_first(operands, axes)
    if x_batched and y_batched:
        w = weight_gradient(_into_groups(x), _into_groups(y), _grouped(spec, batch), dtype)
        return _out_of_groups(w, batch)
    if x_batched:
        wide = replace(spec, c_in=batch * spec.c_in)
        return _out_of_inputs_of_w(weight_gradient(_into_maps(x, spec.groups), y, wide, dtype), batch)
    wide = replace(spec, c_out=batch * spec.c_out)
    return _out_of_maps(weight_gradient(x, _into_maps(y, spec.groups), wide, dtype), batch, spec.groups)


def _batch_first(operands: _Operands, axes: _Axes) -> tuple[list[jax.Array], list[bool], int]:
    """Move each batch axis to the front; return which operands have one, and its size."""
    moved = [a if axis is None else jnp.moveaxis(a, axis, 0) for a, axis in zip(operands, axes, strict=True)]
    batched = [axis is not None for axis in axes]
    return moved, batched, next(a.shape[0] for a, b in zip(moved, batched, strict=True) if b)


# --- the transposes

_Primitive = Callable[[jax.Array, jax.Array, ConvSpec, DTypeLike], jax.Array]


def _transpose(direction: _Primitive, cotangent_first: bool) -> Callable[..., jax.Array]:
    """The transpose of a primitive in one operand: a direction of the cotangent and the other operand."""

    def transpose(
        cotangent: jax.Array, other: jax.Array, *, spec: ConvSpec, dtype: DTypeLike, dtype_of_result: DTypeLike
    ) -> jax.Array:
        a, b = (cotangent, other) if cotangent_first else (other, cotangent)
        return direction(a, b, spec, dtype_of_result)

    return transpose


# The cotangent of the forward pass is a y, that of the input gradient an x, that of the weight gradient a w.
set_rules(_FORWARD, _transpose(input_gradient, False), _transpose(weight_gradient, False), _batch_forward)
set_rules(_INPUT_GRADIENT, _transpose(weight_gradient, True), _transpose(forward, True), _batch_input_gradient)
set_rules(_WEIGHT_GRADIENT, _transpose(input_gradient, True), _transpose(forward, False), _batch_weight_gradient)
