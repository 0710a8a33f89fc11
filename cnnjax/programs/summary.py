"""The summary of a JAX function of any library: its convolutions, matrix products, pools and normalisations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, overload

import jax
import numpy as np

from cnnjax._core.messages import describe, type_error
from cnnjax.connections import ConnectionTable, grouped
from cnnjax.layers import Network
from cnnjax.layers.summary import Summary, format_size, format_table
from cnnjax.layers.summary import summary as network_summary
from cnnjax.operator.spec import Links
from cnnjax.programs.arguments import inputs
from cnnjax.programs.drafts import Draft
from cnnjax.programs.flattening import flatten
from cnnjax.programs.parameters import num_used
from cnnjax.programs.reading import read

__all__ = ["ProgramRow", "ProgramSummary", "summary"]


@dataclass(frozen=True)
class ProgramRow:
    """One operation of a program.

    Attributes:
        name: the named scopes around it, such as the path of a module of flax; if they are not its own, the first of
            `weights`.
        kind: "Conv2D", "Conv2DTranspose", "Dense" (a matrix product with weights), "Product" (one of two activation
            tensors), "MaxPool2D", "GlobalAvgPool" and the like, "Norm", "Affine" (scales and shifts), "Embedding",
            "Concatenate" (with learned values).
        maps_in: maps of its input; 0 where its results do not sum over maps.
        size_in: the size of its input maps along each spatial axis.
        maps: maps of its output.
        size: the size of its output maps.
        kernel: the size of its kernel or window; empty for others.
        groups: the groups of maps that are not connected with each other.
        num_parameters: elements of the arguments that it uses as parameters.
        num_statistics: elements that it uses as running means and variances.
        num_connections: connections of all units.
        num_macs: multiply-accumulates, products with padding included.
        times: how often the loops around it run it, which the counts include.
        receptive_field: the pixels of the input that one unit reads, along each axis over which windows pass.
        jump: the distance between the receptive fields of neighbouring units.
        weights: where the arguments hold its parameters.
        links: the links of each group, if not all maps of it are connected.
    """

    name: str
    kind: str
    maps_in: int
    size_in: tuple[int, ...]
    maps: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    groups: int
    num_parameters: int
    num_statistics: int
    num_connections: int
    num_macs: int
    times: int
    receptive_field: tuple[int, ...]
    jump: tuple[int | float, ...]
    weights: tuple[str, ...]
    links: Links | None = field(default=None, repr=False)

    @property
    def reads(self) -> str:
        """How many of the input maps an output map reads, in words: "all", "one", "1/32", "by table"."""
        if not self.maps_in:
            return ""
        if self.links is not None:
            return "by table"
        if self.groups == 1:
            return "all"
        return "one" if self.groups == self.maps_in else f"1/{self.groups}"

    def connection_table(self) -> ConnectionTable:
        """Return which input map feeds which output map, as a matrix (maps_in, maps).

        Raises:
            ArgumentTypeError: for an operation that reads no maps, such as an embedding.
        """
        if not self.maps_in:
            raise type_error(
                "connection_table",
                "row",
                got=f"of kind {self.kind}",
                expected="a convolution, a matrix product or a pool",
                fix="look at row.reads first, which is empty for other kinds",
            )
        if self.links is None:
            return grouped(self.maps_in, self.maps, self.groups)
        return _block_diagonal(self.links, self.maps_in, self.maps, self.groups)


@dataclass(frozen=True, repr=False)
class ProgramSummary:
    """One row for each operation of a program that has weights, connections or windows; prints as a table.

    Attributes:
        name: the name of the function.
        rows: in the order of execution.
        num_parameters: different elements of the arguments, and of captured arrays, that are used as parameters. What
            several rows use counts once.
        num_statistics: the same of running means and variances.
        notes: what the counts leave out, or count once.
    """

    name: str
    rows: tuple[ProgramRow, ...]
    num_parameters: int
    num_statistics: int
    notes: tuple[str, ...]

    @property
    def num_connections(self) -> int:
        """Connections of all operations."""
        return sum(row.num_connections for row in self.rows)

    @property
    def num_macs(self) -> int:
        """Multiply-accumulates of all operations."""
        return sum(row.num_macs for row in self.rows)

    def share(self, row: ProgramRow) -> float:
        """The multiply-accumulates of a row as a fraction of all."""
        return row.num_macs / max(self.num_macs, 1)

    def __repr__(self) -> str:
        """Return the table, one line for each operation."""
        head = (
            "layer", "kind", "input", "output", "kernel", "reads",
            "parameters", "connections", "mult-adds", "share", "field", "jump",
        )  # fmt: skip
        cells = [
            (
                row.name + (f" (x{row.times})" if row.times > 1 else ""),
                row.kind,
                _volume(row.maps_in, row.size_in) if row.maps_in else "",
                _volume(row.maps, row.size),
                format_size(row.kernel),
                row.reads,
                f"{row.num_parameters:,}",
                f"{row.num_connections:,}",
                f"{row.num_macs:,}",
                f"{self.share(row):.1%}",
                format_size(row.receptive_field),
                format_size(row.jump[:1] if len({*row.jump}) == 1 else row.jump),
            )
            for row in self.rows
        ]
        totals = (self.num_parameters, self.num_connections, self.num_macs)
        cells.append(("total", "", "", "", "", "", *(f"{total:,}" for total in totals), "", "", ""))
        table = format_table(self.name, head, cells, numeric_from=6)
        return "\n".join([table, *(f"note: {note}" for note in self.notes)])


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
    made, so its size does not matter. The counts are those of the call: pass one image to count for one image.

    - Its input is what convolutions and matrix products multiply weights by; parameters are followed from there back
      to the arguments, or to the arrays that the function captures, through reshapes, transposes, casts, slices and
      arithmetic. With one matrix product of two arrays, the second is the weights.
    - Loops count with their number of iterations, and receptive fields in them are those of the first. The body of a
      `while_loop` counts once, and of a condition the branch with most multiply-accumulates; `notes` then says so.
    - Additions and scalings are not multiply-accumulates. Running means and variances of a normalisation are not
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
        ...     with jax.named_scope("c1"):
        ...         x = jax.nn.relu(cnnjax.conv2d(x, params["w1"], params["b1"], stride=2))
        ...     with jax.named_scope("out"):
        ...         return x.mean((1, 2)) @ params["w2"]
        >>> shapes = {"w1": (5, 5, 3, 64), "b1": (64,), "w2": (64, 10)}
        >>> params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
        >>> cnnjax.summary(network, params, jax.ShapeDtypeStruct((1, 227, 227, 3), jnp.float32))

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
    leaves, tree = jax.tree_util.tree_flatten_with_path((args, kwargs))
    traced = [i for i, (_, leaf) in enumerate(leaves) if hasattr(leaf, "shape") and hasattr(leaf, "dtype")]

    def arrays_of(*values: Any) -> list[Any]:
        given = dict(zip(traced, values, strict=True))
        whole = [given.get(i, leaf) for i, (_, leaf) in enumerate(leaves)]
        own_args, own_kwargs = jax.tree_util.tree_unflatten(tree, whole)
        return [leaf for leaf in jax.tree.leaves(f(*own_args, **own_kwargs)) if hasattr(leaf, "dtype")]

    shapes = [jax.ShapeDtypeStruct(leaves[i][1].shape, leaves[i][1].dtype) for i in traced]
    closed = jax.make_jaxpr(arrays_of)(*shapes)
    if not closed.out_avals:
        raise type_error(
            "summary",
            "network",
            got=describe(f),
            expected="a cnnjax Network",
            fix="pass for example cnnjax.models.lenet5(), or a function that returns arrays, and its arguments",
        )
    program = flatten(closed)
    variables = dict(zip(program.arguments, traced, strict=True))
    paths = {variable: leaves[i][0] for variable, i in variables.items()}
    arguments = {str(path[:2]): number for number, path in enumerate(paths.values())}
    roles = inputs(program, {variable: arguments[str(path[:2])] for variable, path in paths.items()})
    of_arguments = {variable: shape.shape for variable, shape in zip(program.arguments, shapes, strict=True)}
    state = read(program, roles, of_arguments)
    drafts = state.drafts
    names = {variable: _name(path) for variable, path in paths.items()}
    sizes = {variable: shape.size for variable, shape in zip(program.arguments, shapes, strict=True)}
    sizes |= {variable: aval.size for variable, aval in program.captured.items()}
    kept = [draft.split_uses() for draft in drafts]
    parameters = [use for uses, _ in kept for use in uses]
    known = {use.leaf for use in parameters}
    statistics = [use for _, uses in kept for use in uses if use.leaf not in known]
    scopes = Counter(draft.scope for draft in drafts if draft.uses)
    return ProgramSummary(
        getattr(f, "__name__", type(f).__name__),
        tuple(_row(draft, names, sizes, state.spatial, scopes[draft.scope] == 1) for draft in drafts),
        num_used(parameters, sizes),
        num_used(statistics, sizes),
        program.notes,
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


def _name(path: tuple[Any, ...]) -> str:
    """Where the arguments hold an array: the path within its argument, or the argument if it is the array."""
    return jax.tree_util.keystr(path[2:] or path[1:2], simple=True, separator="/")


def _number(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


def _volume(maps: int, size: tuple[int, ...]) -> str:
    return f"{maps}" + (f" @ {format_size(size)}" if size else "")


def _block_diagonal(links: Links, maps_in: int, maps: int, groups: int) -> ConnectionTable:
    """The table of all groups; that of one is repeated as often as under vmap, where a batch becomes more maps."""
    shape = groups, maps_in // groups, maps // groups
    blocks = np.tile(links.table, [n // m for n, m in zip(shape, links.shape, strict=True)])
    matrix = np.zeros((groups, shape[1], groups, shape[2]), bool)
    matrix[np.arange(groups), :, np.arange(groups)] = blocks
    return ConnectionTable(matrix.reshape(maps_in, maps))
