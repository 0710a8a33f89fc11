"""The summary of a network: output shapes, kernels, parameters, connections, multiply-accumulates, receptive fields."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cnnjax._core.messages import describe, type_error
from cnnjax._core.shapes import Geometry
from cnnjax.layers.network import Network

__all__ = ["Row", "Summary", "summary"]


@dataclass(frozen=True)
class Row:
    """One layer of a network, for one image.

    Attributes:
        name: the name of the layer.
        kind: its class, such as "Conv2D".
        maps: maps of its output; units of a layer without height and width.
        size: (height, width) of its output maps; empty without height and width.
        kernel: (height, width) of its kernel or window; empty without height and width.
        num_parameters: trainable parameters.
        num_connections: connections of all units.
        num_macs: multiply-accumulates.
        receptive_field: the part of the network's input that one unit reads, (height, width) in pixels.
        jump: the distance between the receptive fields of neighbouring units, (down, right) in pixels.
    """

    name: str
    kind: str
    maps: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    num_parameters: int
    num_connections: int
    num_macs: int
    receptive_field: tuple[int, ...]
    jump: tuple[int, ...]


@dataclass(frozen=True, repr=False)
class Summary:
    """One row for each layer of a network, and the totals; prints as a table.

    Attributes:
        name: the name of the network.
        input_shape: the axes (H, W, C) of one image.
        rows: one `Row` for each layer.
    """

    name: str
    input_shape: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def num_parameters(self) -> int:
        """Trainable parameters of all layers."""
        return sum(row.num_parameters for row in self.rows)

    @property
    def num_connections(self) -> int:
        """Connections of all layers."""
        return sum(row.num_connections for row in self.rows)

    @property
    def num_macs(self) -> int:
        """Multiply-accumulates of all layers, for one image."""
        return sum(row.num_macs for row in self.rows)

    def __repr__(self) -> str:
        """Return the table, one line for each layer."""
        height, width, maps = self.input_shape
        head = (
            "layer",
            "kind",
            "maps @ size",
            "kernel",
            "parameters",
            "connections",
            "mult-adds",
            "field",
            "jump",
        )
        cells: list[tuple[str, ...]] = [("input", "", f"{maps} @ {height}x{width}", "", "", "", "", "", "")]
        for row in self.rows:
            counts = (row.num_parameters, row.num_connections, row.num_macs)
            numbers = tuple(f"{count:,}" for count in counts)
            fields = (
                format_size(row.receptive_field),
                str(row.jump[0]) if row.jump[0] == row.jump[1] else format_size(row.jump),
            )
            cells.append(
                (row.name, row.kind, format_volume(row.maps, row.size), format_size(row.kernel), *numbers, *fields)
            )
        totals = (self.num_parameters, self.num_connections, self.num_macs)
        cells.append(("total", "", "", "", *(f"{total:,}" for total in totals), "", ""))
        return format_table(self.name, head, cells, numeric_from=4)


def summary(network: Network) -> Summary:
    """Return the summary of a network: one row for each layer, and the totals.

    A connection is one input of one unit, its bias included; a multiply-accumulate is one product of a weight and a
    value. The receptive field grows from layer to layer by (kernel extent - 1) jumps, and the jump is the product of
    the strides. A unit that reads several volumes sees what any of them sees; the
    means and variances of a normalisation do not count.

    Args:
        network: a `Network`.

    Returns:
        A `Summary`, which prints as a table and has `rows`, `num_parameters`, `num_connections` and `num_macs`.

    Raises:
        ArgumentTypeError: for anything but a `Network`.

    Example:
        >>> import cnnjax
        >>> table = summary(cnnjax.models.lenet5())
        >>> table.num_parameters, table.num_connections
        (60000, 340908)
        >>> table.rows[2].name, table.rows[2].num_parameters, table.rows[2].receptive_field
        ('c3', 1516, (14, 14))

    Source: counts as in LeCun et al. 1998, section II.B; receptive fields as in Dumoulin and Visin 2016.
    """
    if not isinstance(network, Network):
        raise type_error(
            "summary",
            "network",
            got=describe(network),
            expected="a cnnjax Network",
            fix="pass for example cnnjax.models.lenet5()",
        )
    rows: list[Row] = []
    fields = {"input": (_Field(0, 0, 1),) * 2}
    shapes, inputs = network.shapes(), network.input_shapes()
    for name, layer in network.layers:
        geometry = layer.geometry(inputs[name])
        read = [[fields[volume][axis] for volume in network.reads[name]] for axis in range(2)]
        fields[name] = _through(_union(read[0]), geometry, 0), _through(_union(read[1]), geometry, 1)
        counts = layer.counts(inputs[name])
        *size, maps = shapes[name]
        rows.append(
            Row(
                name=name,
                kind=type(layer).__name__,
                maps=maps,
                size=tuple(size),
                kernel=() if geometry is None else geometry.kernel,
                num_parameters=counts.num_parameters,
                num_connections=counts.num_connections,
                num_macs=counts.num_macs,
                receptive_field=tuple(along.high - along.low + 1 for along in fields[name]),
                jump=tuple(along.jump for along in fields[name]),
            )
        )
    return Summary(network.name, network.input.shape, tuple(rows))


class _Field(NamedTuple):
    """What a unit at position p of a volume reads along one axis of the input: p * jump + low to p * jump + high."""

    low: int
    high: int
    jump: int


def _through(field: _Field, geometry: Geometry | None, axis: int) -> _Field:
    """Return the field of a unit that reads units with this field where its kernel is."""
    if geometry is None:
        return field
    first, jump = field.low - geometry.pads[axis][0] * field.jump, field.jump * geometry.stride[axis]
    return _Field(first, first + field.high - field.low + (geometry.extent[axis] - 1) * field.jump, jump)


def _union(fields: Sequence[_Field]) -> _Field:
    """Return the field of a unit that reads several volumes; of one that is broadcast, the jump does not count."""
    return _Field(min(f.low for f in fields), max(f.high for f in fields), min(f.jump for f in fields))


def format_size(size: Iterable[float]) -> str:
    """Return a size as text, such as "28x28"."""
    return "x".join(map(str, size))


def format_volume(maps: int, size: Sequence[int]) -> str:
    """Return maps and their size as text, such as "6 @ 28x28"; units without a size as their number."""
    return f"{maps}" + (f" @ {format_size(size)}" if size else "")


def format_table(title: str, head: Sequence[str], cells: Sequence[Sequence[str]], numeric_from: int) -> str:
    """Return a table as text, its last row set apart; columns from `numeric_from` on are aligned on the right."""
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [
        "  ".join(
            cell.rjust(width) if i >= numeric_from else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *cells)
    ]
    return "\n".join([title, lines[0], rule, *lines[1:-1], rule, lines[-1]])
