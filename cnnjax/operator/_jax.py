"""All that the operator needs of JAX's less public interfaces, in one place: how to make a bilinear primitive.

A primitive made here has forward mode, reverse mode and every higher order through `defbilinear`, whose transposes are
primitives of the same family; a batching rule; an abstract value; and a lowering for each platform.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec

__all__ = ["bilinear_primitive", "bind", "set_rules"]


def bilinear_primitive(
    name: str, compute: Callable[..., jax.Array], shape: Callable[..., tuple[int, ...]]
) -> Primitive:
    """Make a primitive (a, b, **params) -> array.

    `compute` is called with `platform` besides: "accelerator"; "cpu" where the program is compiled for one device of
    this process; "any cpu" where it is exported or spread over several. `shape` is called with the params alone.
    """
    primitive = Primitive(name)

    @primitive.def_abstract_eval
    def abstract(a: Any, b: Any, *, dtype: Any, **params: Any) -> ShapedArray:
        size, of_mesh = shape(**params), a.manual_axis_type
        if not of_mesh.varying:
            return ShapedArray(size, dtype)
        whole = NamedSharding(a.sharding.mesh, PartitionSpec(*[None] * len(size)))
        return ShapedArray(size, dtype, sharding=whole, manual_axis_type=of_mesh)

    @primitive.def_impl
    def run(a: jax.Array, b: jax.Array, **params: Any) -> jax.Array:
        return _compiled(primitive, tuple(sorted(params.items())))(a, b)

    def lowering(platform: str) -> Any:
        lower = mlir.lower_fun(functools.partial(compute, platform=platform), multiple_results=False)
        # A method computes on one device and knows nothing of what differs between devices.
        alone = lambda avals: [ShapedArray(a.shape, a.dtype, sharding=a.sharding) for a in avals]  # noqa: E731
        return lambda context, *operands, **params: lower(
            context.replace(avals_in=alone(context.avals_in), avals_out=alone(context.avals_out)), *operands, **params
        )

    def lowering_on_cpu(context: Any, *operands: Any, **params: Any) -> Any:
        return lowering("cpu" if _runs_here_alone(context) else "any cpu")(context, *operands, **params)

    mlir.register_lowering(primitive, lowering("accelerator"))
    mlir.register_lowering(primitive, lowering_on_cpu, platform="cpu")
    return primitive


def bind(primitive: Primitive, a: jax.Array, b: jax.Array, **params: Any) -> jax.Array:
    """Call a primitive. Within `shard_map` what differs between devices in one argument is taken to do so in both.

    So the gradient by an argument that is the same everywhere is summed over the devices, as it is for JAX's own.
    """
    of_a, of_b = (jax.typeof(one).manual_axis_type.varying for one in (a, b))
    return primitive.bind(_varying(a, of_b - of_a), _varying(b, of_a - of_b), **params)


def _varying(a: jax.Array, axes: frozenset[str]) -> jax.Array:
    return lax.pcast(a, tuple(sorted(axes)), to="varying") if axes else a


def _runs_here_alone(context: Any) -> bool:
    """Whether a program is for one device of this process; within `shard_map`, whether all axes are mapped."""
    module = context.module_context
    if module.lowering_parameters.for_export or len(module.platforms) > 1:
        return False
    axes = module.axis_context
    if hasattr(axes, "manual_axes"):
        return axes.manual_axes == frozenset(axes.mesh.axis_names)
    return getattr(axes, "num_devices", None) == 1


def set_rules(
    primitive: Primitive,
    transpose_in_first: Callable[..., jax.Array],
    transpose_in_second: Callable[..., jax.Array],
    batch: Callable[..., tuple[jax.Array, int]],
) -> None:
    """Give a primitive its transposes, (cotangent, the other argument) -> array, and its batching rule."""

    def first(cotangent: jax.Array, a: Any, b: jax.Array, **params: Any) -> jax.Array:
        return transpose_in_first(cotangent, b, dtype_of_result=a.aval.dtype, **params)

    def second(cotangent: jax.Array, a: jax.Array, b: Any, **params: Any) -> jax.Array:
        return transpose_in_second(cotangent, a, dtype_of_result=b.aval.dtype, **params)

    ad.defbilinear(primitive, first, second)
    batching.primitive_batchers[primitive] = batch


@functools.lru_cache(maxsize=4096)
def _compiled(primitive: Primitive, params: tuple[tuple[str, Any], ...]) -> Callable[..., jax.Array]:
    return jax.jit(functools.partial(primitive.bind, **dict(params)))
