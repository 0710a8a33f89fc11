"""Bilinear primitives: the only place where the operator uses JAX's less public interfaces.

A primitive made here has an abstract value, a lowering for each platform, a batching rule and, through `defbilinear`,
forward mode, reverse mode and every higher order: its transposes are primitives of the same family. It is registered
with the tools that keep a rule for each primitive of JAX, Taylor mode and checkify.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import jax
from jax import lax

# Three things that JAX does not make public: whether the persistent compilation cache is in use, checkify's table of
# rules, without which a NaN of a new primitive goes unnoticed, and the error that every primitive raises for operands
# whose shardings do not determine that of the result.
from jax._src import compilation_cache
from jax._src.checkify import error_checks, nan_error_check
from jax._src.core import ShardingTypeError
from jax.core import ShapedArray
from jax.experimental import jet
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir, xla
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from cnnjax.errors import JaxVersionError
from cnnjax.operator.spec import Platform

__all__ = [
    "ShardingTypeError",
    "bilinear_primitive",
    "bind",
    "cpu_lowering",
    "cpu_platform",
    "lower_computation",
    "may_be_stored",
    "set_rules",
]


def bilinear_primitive(
    name: str,
    compute: Callable[..., jax.Array],
    shape: Callable[..., tuple[int, ...]],
    partition: Callable[[ShapedArray, ShapedArray, tuple[int, ...]], PartitionSpec],
) -> Primitive:
    """Make a primitive (a, b, *, dtype, sharding, **params) -> array.

    `compute(a, b, platform=..., dtype=..., **params)` is traced when the primitive is lowered, with the platform "cpu"
    for one CPU device of this process, "stored cpu" if JAX may write the program to disk, "any cpu" for an exported or
    partitioned program, and "accelerator" otherwise.
    `shape(**params)` is the shape of the result. `partition(a, b, shape)` is how the result is partitioned over an
    explicit mesh where no `sharding` is given.
    """
    primitive = Primitive(name)
    primitive.def_impl(functools.partial(xla.apply_primitive, primitive))

    @primitive.def_abstract_eval
    def abstract(a: Any, b: Any, *, dtype: Any, sharding: NamedSharding | None, **params: Any) -> ShapedArray:
        size, mesh = shape(**params), _mesh_of(a, b)
        if mesh.empty:
            return ShapedArray(size, dtype)
        sharding = NamedSharding(mesh, partition(a, b, size)) if sharding is None else sharding
        return ShapedArray(size, dtype, sharding=sharding, manual_axis_type=a.manual_axis_type)

    def lowering(platform: Platform) -> Callable[..., Any]:
        def lower(context: mlir.LoweringRuleContext, *operands: Any, sharding: Any, **params: Any) -> Any:
            return lower_computation(context, functools.partial(compute, platform=platform, **params), *operands)

        return lower

    def lowering_on_cpu(context: mlir.LoweringRuleContext, *operands: Any, **params: Any) -> Any:
        return lowering(cpu_platform(context))(context, *operands, **params)

    mlir.register_lowering(primitive, lowering("accelerator"))
    mlir.register_lowering(primitive, lowering_on_cpu, platform="cpu")
    jet.jet_rules[primitive] = functools.partial(_taylor_series, primitive)
    error_checks[primitive] = functools.partial(nan_error_check, primitive)
    return primitive


def bind(primitive: Primitive, a: jax.Array, b: jax.Array, **params: Any) -> jax.Array:
    """Bind a primitive, after casting both operands to vary over the same mesh axes within `shard_map`.

    The transpose of this cast sums the gradient of a replicated operand over the devices, as for JAX's own primitives.
    """
    of_a, of_b = (jax.typeof(operand).manual_axis_type.varying for operand in (a, b))
    return primitive.bind(_cast_varying(a, of_b - of_a), _cast_varying(b, of_a - of_b), **params)


def _cast_varying(a: jax.Array, axes: frozenset[str]) -> jax.Array:
    return lax.pcast(a, tuple(sorted(axes)), to="varying") if axes else a


def _mesh_of(a: Any, b: Any) -> AbstractMesh:
    """The mesh that either operand lives on; an operand that is the same everywhere may have none."""
    return b.sharding.mesh if a.sharding.mesh.empty else a.sharding.mesh


def _on_auto_axes(run: Callable[..., jax.Array], sharding: NamedSharding) -> Callable[..., jax.Array]:
    """`run` with the explicit axes of the mesh made automatic within: XLA partitions it, to a result of `sharding`."""
    explicit = sharding.mesh.explicit_axes
    if not explicit:
        return run

    mesh: Any = sharding.mesh
    partition: Any = jax.sharding.auto_axes(run, axes=explicit, out_sharding=sharding)

    def partitioned(a: jax.Array, b: jax.Array) -> jax.Array:
        with jax.sharding.use_abstract_mesh(mesh):
            return partition(a, b)

    return partitioned


def lower_computation(context: mlir.LoweringRuleContext, run: Callable[..., jax.Array], *operands: Any) -> Any:
    """Lower run(*arrays) in the place of a primitive with one result."""
    (out,) = context.avals_out
    traced = mlir.lower_fun(_on_auto_axes(run, out.sharding), multiple_results=False)
    # A method computes on one device: its operands and result do not vary over mesh axes.
    alone = lambda avals: [ShapedArray(a.shape, a.dtype, sharding=a.sharding) for a in avals]  # noqa: E731
    within = context.replace(avals_in=alone(context.avals_in), avals_out=alone(context.avals_out))
    with jax.disable_jit(False):  # a program lowered while jit is disabled keeps its loops and branches
        return traced(within, *operands)


def cpu_platform(context: mlir.LoweringRuleContext) -> Platform:
    """What a program that is lowered for CPUs is compiled for."""
    if not _is_for_one_device(context):
        return "any cpu"
    return "stored cpu" if may_be_stored() else "cpu"


def cpu_lowering(primitive: Primitive) -> Callable[..., Any]:
    """The lowering rule of a primitive on CPUs.

    Raises:
        JaxVersionError: if this release of JAX keeps its rules elsewhere.
    """
    try:
        specific: Any = mlir._platform_specific_lowerings["cpu"]  # pyright: ignore[reportAttributeAccessIssue]
        common: Any = mlir._lowerings  # pyright: ignore[reportAttributeAccessIssue]
        return (specific[primitive] if primitive in specific else common[primitive]).rule
    except (AttributeError, KeyError) as error:
        raise JaxVersionError(
            f"jax {jax.__version__} does not keep its lowering rule of {primitive} where jax 0.10 to 0.12 do; "
            "nothing was changed. Use one of these releases."
        ) from error


def _is_for_one_device(context: mlir.LoweringRuleContext) -> bool:
    """Whether a program runs on one device of this process; within `shard_map`, whether all mesh axes are manual."""
    module: Any = context.module_context
    if module.lowering_parameters.for_export or len(module.platforms) > 1:
        return False
    axes = module.axis_context
    if hasattr(axes, "manual_axes"):
        return axes.manual_axes == frozenset(axes.mesh.axis_names)
    return getattr(axes, "num_devices", None) == 1


def may_be_stored() -> bool:
    """Whether JAX may write a program that is lowered now to disk.

    It may if the persistent compilation cache is in use, or if `jax.experimental.serialize_executable` has been
    imported, which has no other purpose. jit's own programs and those of `lower().compile()` cannot be told apart.
    """
    # A cache that has been opened stays in use, whatever becomes of the settings, until `reset_cache`.
    opened = compilation_cache._cache is not None  # pyright: ignore[reportPrivateUsage]
    configured = compilation_cache.is_persistent_cache_enabled()
    return opened or configured or "jax.experimental.serialize_executable" in sys.modules


def _taylor_series(
    primitive: Primitive, primals: tuple[Any, Any], series: tuple[list[Any], list[Any]], **params: Any
) -> tuple[Any, list[Any]]:
    """The Taylor coefficients of a product are the convolution of those of its factors."""
    of_a, of_b = ([primal, *terms] for primal, terms in zip(primals, series, strict=True))
    value, *terms = (
        functools.reduce(jax.numpy.add, (primitive.bind(of_a[j], of_b[k - j], **params) for j in range(k + 1)))
        for k in range(len(of_a))
    )
    return value, terms


def set_rules(
    primitive: Primitive,
    transpose_in_first: Callable[..., jax.Array],
    transpose_in_second: Callable[..., jax.Array],
    batch: Callable[..., tuple[jax.Array, int]],
) -> None:
    """Give a primitive its two transposes, (cotangent, other operand) -> array, and its batching rule.

    A transpose is told the dtype and, on a mesh, the sharding of the operand whose gradient it returns.
    """

    def of(operand: Any) -> dict[str, Any]:
        sharding = operand.aval.sharding
        return {"dtype_of_result": operand.aval.dtype, "sharding": None if sharding.mesh.empty else sharding}

    def first(cotangent: jax.Array, a: Any, b: jax.Array, *, sharding: Any, **params: Any) -> jax.Array:
        return transpose_in_first(cotangent, b, **of(a), **params)

    def second(cotangent: jax.Array, a: jax.Array, b: Any, *, sharding: Any, **params: Any) -> jax.Array:
        return transpose_in_second(cotangent, a, **of(b), **params)

    ad.defbilinear(primitive, first, second)
    batching.primitive_batchers[primitive] = batch
