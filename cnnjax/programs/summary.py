"""The summary of a JAX function of any library: its convolutions, matrix products, pools and normalisations."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeAlias, overload

import jax

from cnnjax._core.messages import describe, type_error
from cnnjax.layers import Network
from cnnjax.layers.summary import Summary
from cnnjax.layers.summary import summary as network_summary
from cnnjax.programs.arguments import inputs
from cnnjax.programs.drafts import Draft
from cnnjax.programs.flattening import flatten
from cnnjax.programs.parameters import num_used
from cnnjax.programs.program_summary import ProgramRow, ProgramSummary
from cnnjax.programs.reading import read
from cnnjax.programs.state import State

__all__ = ["summary"]

_Path: TypeAlias = tuple[Any, ...]


@overload
def summary(f: Network, /) -> Summary: ...


@overload
def summary(f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> ProgramSummary: ...


def summary(f: Network | Callable[..., Any], /, *args: Any, **kwargs: Any) -> Summary | ProgramSummary:
    """Return the summary of a network, or of any JAX function: its layers, and their counts.

    A connection is one input of one unit, its bias included; a multiply-accumulate is one product of a weight and a
    value. The receptive field grows from layer to layer by (kernel extent - 1) jumps, and the jump is the product of
    the strides.

    A function is traced with the shapes of its arguments, and its jaxpr is read. Nothing is executed and no array is
    allocated, so the program may be of any size. The counts are those of the call: pass one image to count for one.

    - The input is what the weights of convolutions and matrix products are applied to. Weights are traced back to the
      arguments, or to the arrays that the function captures, through reshapes, transposes, casts, slices and
      arithmetic. Where nothing tells two arrays apart, the second operand is the weights.
    - The body of a loop counts once for each iteration; the receptive fields in it are those of the first iteration.
      The body of a `while_loop` counts once, and of a `cond` the branch with the most multiply-accumulates; `notes`
      then says so.
    - Additions and scalings are not multiply-accumulates. The running mean and variance of a normalisation are not
      parameters; they are counted as `num_statistics`.

    Args:
        f: a `Network`, without further arguments; or a function that JAX can trace.
        *args, **kwargs: the arguments of the function: arrays, `jax.ShapeDtypeStruct` and trees of these. Anything
            else is passed on as it is.

    Returns:
        A `Summary` of a network, a `ProgramSummary` of a function. Both print as a table and have `rows`,
        `num_parameters`, `num_connections` and `num_macs`.

    Raises:
        ArgumentTypeError: for anything but a network or a function that returns arrays.

    Example:
        >>> import cnnjax, jax, jax.numpy as jnp
        >>> cnnjax.summary(cnnjax.models.lenet5()).rows[2].receptive_field
        (14, 14)
        >>> def network(params, x):
        ...     x = jax.nn.relu(cnnjax.conv2d(x, params["conv"], stride=2))
        ...     return x.mean((1, 2)) @ params["dense"]
        >>> shapes = {"conv": (5, 5, 3, 8), "dense": (8, 10)}
        >>> params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
        >>> cnnjax.summary(network, params, jax.ShapeDtypeStruct((1, 9, 9, 3), jnp.float32))
        network
        layer  kind           input    output   kernel  reads  parameters  connections  mult-adds  share  field  jump
        -------------------------------------------------------------------------------------------------------------
        conv   Conv2D         3 @ 9x9  8 @ 3x3  5x5     all           600        5,400      5,400  98.5%    5x5     2
               GlobalAvgPool  8 @ 3x3  8        3x3     one             0           72          0   0.0%    9x9     2
        dense  Dense          8        10               all            80           80         80   1.5%    9x9     2
        -------------------------------------------------------------------------------------------------------------
        total                                                         680        5,552      5,480

    Source: counts as in LeCun et al. 1998, section II.B; receptive fields as in Dumoulin and Visin 2016.
    """
    if isinstance(f, Network) and (args or kwargs):
        raise type_error(
            "summary",
            "f",
            got="a cnnjax Network, with arguments",
            expected="a Network alone, or a function and its arguments",
            fix="pass the network only, or network.apply with params and images",
        )
    if isinstance(f, Network) or not callable(f):
        return network_summary(f)
    closed, paths = _trace(f, args, kwargs)
    if not closed.out_avals:
        raise type_error(
            "summary",
            "network",
            got=describe(f),
            expected="a cnnjax Network",
            fix="pass for example cnnjax.models.lenet5(), or a function that returns arrays, and its arguments",
        )
    program = flatten(closed)
    numbers = {path[:2]: number for number, path in enumerate(paths)}
    argument_of = {variable: numbers[path[:2]] for variable, path in zip(program.arguments, paths, strict=True)}
    state = read(program, inputs(program, argument_of))
    own_names = _parameter_names(f)
    names = {variable: _name(path, own_names) for variable, path in zip(program.arguments, paths, strict=True)}
    return _summarise(getattr(f, "__name__", type(f).__name__), state, names)


def _trace(f: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, list[_Path]]:
    """The jaxpr of a call, and where each of the arrays that it takes is in (args, kwargs)."""
    leaves, tree = jax.tree_util.tree_flatten_with_path((args, kwargs))
    is_array = [hasattr(leaf, "shape") and hasattr(leaf, "dtype") for _, leaf in leaves]

    def arrays_of(*arrays: Any) -> list[Any]:
        given = iter(arrays)
        whole = [next(given) if traced else leaf for traced, (_, leaf) in zip(is_array, leaves, strict=True)]
        own_args, own_kwargs = jax.tree_util.tree_unflatten(tree, whole)
        return [leaf for leaf in jax.tree.leaves(f(*own_args, **own_kwargs)) if hasattr(leaf, "dtype")]

    traced = [entry for entry, is_traced in zip(leaves, is_array, strict=True) if is_traced]
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for _, leaf in traced]
    return jax.make_jaxpr(arrays_of)(*shapes), [path for path, _ in traced]


def _parameter_names(f: Callable[..., Any]) -> list[str]:
    """The names of the arguments of a function; of one without a signature, none."""
    try:
        return [*inspect.signature(f).parameters]
    except (TypeError, ValueError):
        return []


def _name(path: _Path, parameters: Sequence[str]) -> str:
    """Where the arguments hold an array: the path within its argument, or the argument's name if it is the array."""
    inner = path[2:] or path[1:2]
    if len(path) == 2 and isinstance(path[1], jax.tree_util.SequenceKey) and path[1].idx < len(parameters):
        return parameters[int(path[1].idx)]
    if isinstance(inner[-1], jax.tree_util.GetAttrKey) and inner[-1].name == "value":  # a variable of flax.nnx
        inner = inner[:-1] or inner
    return jax.tree_util.keystr(inner, simple=True, separator="/")


def _summarise(name: str, state: State, names: Mapping[int, str]) -> ProgramSummary:
    """The drafts as rows, with totals in which every parameter counts once."""
    arrays = {**state.program.arguments, **state.program.captured}
    sizes = {variable: math.prod(aval.shape) for variable, aval in arrays.items()}
    kept = [draft.split_uses() for draft in state.drafts]
    parameters = [use for uses, _ in kept for use in uses]
    known = {use.leaf for use in parameters}
    statistics = [use for _, uses in kept for use in uses if use.leaf not in known]
    scopes = Counter(draft.scope for draft in state.drafts if draft.uses)
    return ProgramSummary(
        name,
        tuple(_row(draft, names, sizes, state.spatial, scopes[draft.scope] <= 1) for draft in state.drafts),
        num_used(parameters, sizes),
        num_used(statistics, sizes),
        state.program.notes,
    )


def _row(
    draft: Draft,
    names: Mapping[int, str],
    sizes: Mapping[int, int],
    spatial: Mapping[int, set[int]],
    has_own_scope: bool,
) -> ProgramRow:
    uses, statistics = draft.split_uses()
    weights = tuple(dict.fromkeys(names[use.leaf] for use in (*uses, *statistics) if use.leaf in names))
    extents = None if draft.axes is None else draft.axes.extents
    along = [] if extents is None else sorted(spatial.get(extents.input, ()))
    intervals = [] if extents is None else [extents.intervals[axis] for axis in along]
    kernel = draft.kernel
    if kernel is None:
        whole = bool(along) and all(axis in draft.contracted for axis in along)
        kernel = tuple(draft.contracted[axis] for axis in along) if whole else ()
    maps, size = draft.volume()
    place = weights[0] if weights else ""
    return ProgramRow(
        name=(draft.scope if has_own_scope else place) or draft.scope or place,
        kind=draft.kind,
        maps_in=draft.c_in,
        size_in=draft.size_in or (),
        maps=maps,
        size=size,
        kernel=kernel,
        groups=draft.groups,
        num_parameters=num_used(uses, sizes),
        num_statistics=num_used(statistics, sizes),
        num_connections=draft.num_connections * draft.times,
        num_macs=draft.num_macs * draft.times,
        times=draft.times,
        receptive_field=tuple(interval.size for interval in intervals),
        jump=tuple(_number(interval.jump) for interval in intervals),
        weights=weights,
        links=draft.links,
    )


def _number(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)
