"""The convolution as a trilinear form, T(x, w, y) = <conv(x, w), y>, and its three directions as JAX primitives.

T is linear in each of its arguments. The forward pass is its derivative in y, the input gradient its derivative in x,
and the weight gradient its derivative in w. Each is bilinear in the other two arguments, and its transposes are the
other two directions, so the three primitives are closed under differentiation, in both modes and to every order::

    forward (x, w) -> y          transposes: input_gradient in x, weight_gradient in w
    input_gradient (w, y) -> x   transposes: weight_gradient in w, forward in y
    weight_gradient (x, y) -> w  transposes: input_gradient in x, forward in y

Under vmap, a batch of one operand folds into the dimension that it shares with the result: N for x and y, C_out for w
and y, C_in for x and w. Where both operands are batched, the batch becomes groups.

On a mesh with explicit axes the result of the forward pass and of the input gradient is partitioned as the other image,
if the weights and all maps are on every device; a gradient is partitioned as the operand that it belongs to.

With a connection table (`ConvSpec.links`), T sums over connected pairs of maps only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import DTypeLike

from cnnjax.operator._jax import ShardingTypeError, bilinear_primitive, bind, set_rules
from cnnjax.operator.connected import compute
from cnnjax.operator.counted import counted
from cnnjax.operator.spec import ConvSpec, Direction, Platform, is_cpu

__all__ = ["forward", "input_gradient", "weight_gradient"]


def forward(
    x: jax.Array, w: jax.Array, spec: ConvSpec, dtype: DTypeLike, sharding: NamedSharding | None = None
) -> jax.Array:
    """y[n, p, o] = sum_{t, c} x[n, p s + t d, c] w[t, c, o], (N, *output, C_out)."""
    return bind(_FORWARD, x, w, spec=spec, dtype=jnp.dtype(dtype), sharding=sharding)


def input_gradient(
    w: jax.Array, y: jax.Array, spec: ConvSpec, dtype: DTypeLike, sharding: NamedSharding | None = None
) -> jax.Array:
    """x[n, p s + t d, c] = sum_{t, o} w[t, c, o] y[n, p, o], (N, *size, C_in)."""
    return bind(_INPUT_GRADIENT, w, y, spec=spec, dtype=jnp.dtype(dtype), sharding=sharding)


def weight_gradient(
    x: jax.Array, y: jax.Array, spec: ConvSpec, dtype: DTypeLike, sharding: NamedSharding | None = None
) -> jax.Array:
    """w[t, c, o] = sum_{n, p} x[n, p s + t d, c] y[n, p, o], (*kernel, C_in / groups, C_out)."""
    return bind(_WEIGHT_GRADIENT, x, y, spec=spec, dtype=jnp.dtype(dtype), sharding=sharding)


# --- on an explicit mesh


def _partition_of_images(images: ShapedArray, weights: ShapedArray, shape: tuple[int, ...]) -> PartitionSpec:
    """The result is partitioned as the images, along N and the spatial axes; `shape` is its shape."""
    of_images, mesh = images.sharding.spec, images.sharding.mesh
    if any(axes is not None for axes in (of_images[-1], *weights.sharding.spec)):
        raise ShardingTypeError(
            f"the convolution of images of type {images.str_short(True)} and weights of type {weights.str_short(True)} "
            "does not determine how its result is partitioned, because maps or weights are; replicate them with "
            "jax.sharding.reshard, or give the result's sharding with jax.sharding.auto_axes(..., out_sharding=...)"
        )
    for length, axes in zip(shape[1:-1], of_images[1:-1], strict=True):
        names = (axes,) if isinstance(axes, str) else axes or ()
        if length % math.prod(mesh.shape[name] for name in names):
            raise ShardingTypeError(
                f"{length} pixels cannot be partitioned over the mesh axes {names}, over which the images of type "
                f"{images.str_short(True)} are; replicate their spatial axes with jax.sharding.reshard"
            )
    return of_images


def _partition_of_weights(x: ShapedArray, y: ShapedArray, shape: tuple[int, ...]) -> PartitionSpec:
    """The weights are on every device."""
    return PartitionSpec(*[None] * len(shape))


def _make(
    direction: Direction,
    shape: Literal["x_shape", "w_shape", "y_shape"],
    partition: Callable[[ShapedArray, ShapedArray, tuple[int, ...]], PartitionSpec],
) -> Primitive:
    def run(a: jax.Array, b: jax.Array, *, spec: ConvSpec, dtype: DTypeLike, platform: Platform) -> jax.Array:
        resolved = spec.resolved(direction, platform)
        run_here = lambda a, b: compute(direction, a, b, resolved, dtype, platform)  # noqa: E731
        return counted(run_here, direction, a, b, spec) if is_cpu(platform) else run_here(a, b)

    return bilinear_primitive(f"cnnjax_{direction}", run, lambda spec: getattr(spec, shape), partition)


_FORWARD = _make("forward", "y_shape", _partition_of_images)
_INPUT_GRADIENT = _make("input_gradient", "x_shape", lambda w, y, shape: _partition_of_images(y, w, shape))
_WEIGHT_GRADIENT = _make("weight_gradient", "w_shape", _partition_of_weights)


# --- batching

_Array = Literal["x", "w", "y"]
_Dimension = Literal["n", "c_in", "c_out", "groups"]
_Primitive = Callable[[jax.Array, jax.Array, ConvSpec, DTypeLike, NamedSharding | None], jax.Array]
_Batch = Callable[..., tuple[jax.Array, int]]

# The dimension into which a batch of the first array folds where the second is the result, and the axis of the result.
_SHARED: dict[tuple[_Array, _Array], _Dimension] = {
    ("x", "y"): "n",
    ("y", "x"): "n",
    ("w", "y"): "c_out",
    ("y", "w"): "c_out",
    ("x", "w"): "c_in",
    ("w", "x"): "c_in",
}


def _axis(array: _Array, dimension: _Dimension) -> int:
    """The axis of an array that contains a dimension; groups are consecutive blocks of the last axis."""
    return 0 if dimension == "n" else -2 if (array, dimension) == ("w", "c_in") else -1


def _blocks(array: _Array, dimension: _Dimension, spec: ConvSpec) -> int:
    """The number of blocks of an axis, within each of which the batch comes first: the groups share every batch."""
    return spec.groups if dimension in ("c_in", "c_out") and _axis(array, dimension) == -1 else 1


def _fold(a: jax.Array, axis: int, blocks: int) -> jax.Array:
    """(B, ..., blocks * size, ...) -> (..., blocks * B * size, ...)."""
    batch, *shape = a.shape
    axis %= len(shape)
    rest, size = (*shape[:axis],), shape[axis] // blocks
    if blocks > 1:
        a = a.reshape(batch, *rest, blocks, size, *shape[axis + 1 :])
        rest = (*rest, blocks)
    a = jnp.moveaxis(a, 0, len(rest))
    return a.reshape(*shape[:axis], blocks * batch * size, *shape[axis + 1 :])


def _unfold(a: jax.Array, axis: int, blocks: int, batch: int) -> jax.Array:
    """(..., blocks * B * size, ...) -> (B, ..., blocks * size, ...)."""
    shape = a.shape
    axis %= len(shape)
    size = shape[axis] // (blocks * batch)
    a = a.reshape(*shape[:axis], *([blocks] if blocks > 1 else []), batch, size, *shape[axis + 1 :])
    a = jnp.moveaxis(a, axis + (blocks > 1), 0)
    return a.reshape(batch, *shape[:axis], blocks * size, *shape[axis + 1 :]) if blocks > 1 else a


def _widened(spec: ConvSpec, dimension: _Dimension, batch: int) -> ConvSpec:
    if dimension == "groups":
        return replace(spec, c_in=batch * spec.c_in, c_out=batch * spec.c_out, groups=batch * spec.groups)
    return replace(spec, **{dimension: batch * getattr(spec, dimension)})


def _partitioned_too(sharding: NamedSharding | None, axis: int, batch_axes: str | tuple[str, ...] | None):
    """The sharding of a result into whose axis a batch has been folded that is partitioned over `batch_axes`."""
    if sharding is None or batch_axes is None:
        return sharding
    spec = list(sharding.spec)
    joined = [(axes,) if isinstance(axes, str) else axes or () for axes in (batch_axes, spec[axis])]
    spec[axis] = (*joined[0], *joined[1])
    return NamedSharding(sharding.mesh, PartitionSpec(*spec))


def _batch_rule(primitive: _Primitive, arrays: tuple[_Array, _Array], result: _Array) -> _Batch:
    """The batching rule of a direction: fold the batch into a dimension of both operands and the result."""

    def rule(
        operands: Sequence[jax.Array],
        axes: Sequence[int | None],
        *,
        spec: ConvSpec,
        dtype: DTypeLike,
        sharding: NamedSharding | None,
    ) -> tuple[jax.Array, int]:
        batched: list[_Array] = [array for array, axis in zip(arrays, axes, strict=True) if axis is not None]
        dimension: _Dimension = "groups" if len(batched) == 2 else _SHARED[batched[0], result]
        first = [a if axis is None else jnp.moveaxis(a, axis, 0) for a, axis in zip(operands, axes, strict=True)]
        one = first[arrays.index(batched[0])]
        batch, batch_axes = one.shape[0], jax.typeof(one).sharding.spec[0]
        if batch == 0:
            return jnp.zeros((0, *getattr(spec, f"{result}_shape")), dtype), 0
        a, b = (
            _fold(a, _axis(array, dimension), _blocks(array, dimension, spec)) if array in batched else a
            for a, array in zip(first, arrays, strict=True)
        )
        axis = _axis(result, dimension)
        sharding = _partitioned_too(sharding, axis, batch_axes)
        wide = primitive(a, b, _widened(spec, dimension, batch), dtype, sharding)
        return _unfold(wide, axis, _blocks(result, dimension, spec), batch), 0

    return rule


# --- the transposes


def _transpose(direction: _Primitive, cotangent_first: bool) -> Callable[..., jax.Array]:
    """The transpose of a primitive in one operand: a direction of the cotangent and the other operand."""

    def transpose(
        cotangent: jax.Array,
        other: jax.Array,
        *,
        spec: ConvSpec,
        dtype: DTypeLike,
        dtype_of_result: DTypeLike,
        sharding: NamedSharding | None,
    ) -> jax.Array:
        a, b = (cotangent, other) if cotangent_first else (other, cotangent)
        return direction(a, b, spec, dtype_of_result, sharding)

    return transpose


# The cotangent of the forward pass is a y, that of the input gradient an x, that of the weight gradient a w.
set_rules(
    _FORWARD,
    _transpose(input_gradient, False),
    _transpose(weight_gradient, False),
    _batch_rule(forward, ("x", "w"), "y"),
)
set_rules(
    _INPUT_GRADIENT,
    _transpose(weight_gradient, True),
    _transpose(forward, True),
    _batch_rule(input_gradient, ("w", "y"), "x"),
)
set_rules(
    _WEIGHT_GRADIENT,
    _transpose(input_gradient, True),
    _transpose(forward, False),
    _batch_rule(weight_gradient, ("x", "y"), "w"),
)
