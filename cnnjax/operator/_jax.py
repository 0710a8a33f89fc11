"""Bilinear primitives: the only place where the operator uses JAX's less public interfaces.

A primitive made here has an abstract value, a lowering for each platform, a batching rule and, through its derivatives
and transposes, forward mode, reverse mode and every higher order: its transposes are primitives of the same family.
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

from cnnjax.operator.spec import Platform

__all__ = ["bilinear_primitive", "bind", "set_rules"]


def bilinear_primitive(
    name: str, compute: Callable[..., jax.Array], shape: Callable[..., tuple[int, ...]]
) -> Primitive:
    """Make a primitive (a, b, *constants, **params) -> array, linear in a and in b.

    `compute(a, b, *constants, platform=..., **params)` is traced when the primitive is lowered, with the platform "cpu"
    for one CPU device of this process, "any cpu" for an exported or partitioned program, and "accelerator" otherwise.
    `shape(**params)` is the shape of the result, where the params do not include the dtype.
    """
    primitive = Primitive(name)

    @primitive.def_abstract_eval
    def abstract(a: Any, b: Any, *constants: Any, dtype: Any, **params: Any) -> ShapedArray:
        size, of_mesh = shape(**params), a.manual_axis_type
        if not of_mesh.varying:
            return ShapedArray(size, dtype)
        whole = NamedSharding(a.sharding.mesh, PartitionSpec(*[None] * len(size)))
        return ShapedArray(size, dtype, sharding=whole, manual_axis_type=of_mesh)

    @primitive.def_impl
    def run(*operands: jax.Array, **params: Any) -> jax.Array:
        return _compiled(primitive, tuple(sorted(params.items())))(*operands)

    def lowering(platform: Platform) -> Callable[..., Any]:
        lower = mlir.lower_fun(functools.partial(compute, platform=platform), multiple_results=False)
        # A method computes on one device: its operands and result do not vary over mesh axes.
        alone = lambda avals: [ShapedArray(a.shape, a.dtype, sharding=a.sharding) for a in avals]  # noqa: E731
        return lambda context, *operands, **params: lower(
            context.replace(avals_in=alone(context.avals_in), avals_out=alone(context.avals_out)), *operands, **params
        )

    def lowering_on_cpu(context: mlir.LoweringRuleContext, *operands: Any, **params: Any) -> Any:
        return lowering("cpu" if _is_for_one_device(context) else "any cpu")(context, *operands, **params)

    mlir.register_lowering(primitive, lowering("accelerator"))
    mlir.register_lowering(primitive, lowering_on_cpu, platform="cpu")
    return primitive


def bind(primitive: Primitive, *operands: jax.Array, **params: Any) -> jax.Array:
    """Bind a primitive, after casting all operands to vary over the same mesh axes within `shard_map`.

    The transpose of this cast sums the gradient of a replicated operand over the devices, as for JAX's own primitives.
    """
    varying = [jax.typeof(operand).manual_axis_type.varying for operand in operands]
    every = frozenset[str]().union(*varying)
    cast = (_cast_varying(operand, every - axes) for operand, axes in zip(operands, varying, strict=True))
    return primitive.bind(*cast, **params)


def _cast_varying(a: jax.Array, axes: frozenset[str]) -> jax.Array:
    return lax.pcast(a, tuple(sorted(axes)), to="varying") if axes else a


def _is_for_one_device(context: mlir.LoweringRuleContext) -> bool:
    """Whether a program runs on one device of this process; within `shard_map`, whether all mesh axes are manual."""
    module: Any = context.module_context
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
    *,
    num_constants: int = 0,
) -> None:
    """Give a primitive its two transposes, (cotangent, other operand, *constants) -> array, and its batching rule.

    JAX's `defbilinear` is for primitives of two operands alone; this one takes constants after them.
    """

    def along_first(tangent: jax.Array, _: jax.Array, *others: jax.Array, **params: Any) -> jax.Array:
        return primitive.bind(tangent, *others, **params)

    def along_second(tangent: jax.Array, a: jax.Array, _: jax.Array, *others: jax.Array, **params: Any) -> jax.Array:
        return primitive.bind(a, tangent, *others, **params)

    def transpose(cotangent: Any, a: Any, b: Any, *constants: jax.Array, **params: Any) -> tuple[Any, ...]:
        in_first = ad.is_undefined_primal(a)
        linear, other = (a, b) if in_first else (b, a)
        if isinstance(cotangent, ad.Zero):
            found = ad.Zero(linear.aval.to_ct_aval())
        else:
            rule = transpose_in_first if in_first else transpose_in_second
            found = rule(cotangent, other, *constants, dtype_of_result=linear.aval.dtype, **params)
        return *((found, None) if in_first else (None, found)), *[None] * num_constants

    ad.defjvp(primitive, along_first, along_second, *[None] * num_constants)
    ad.primitive_transposes[primitive] = transpose
    batching.primitive_batchers[primitive] = batch


@functools.lru_cache(maxsize=4096)
def _compiled(primitive: Primitive, params: tuple[tuple[str, Any], ...]) -> Callable[..., jax.Array]:
    return jax.jit(functools.partial(primitive.bind, **dict(params)))
