"""The table people expect of a network: volumes, kernels, parameters, connections, multiply-accumulates, fields."""

from __future__ import annotations

from dataclasses import dataclass

from cnnjax._core.messages import describe, type_error
from cnnjax.layers.network import Network

__all__ = ["Row", "Summary", "summary"]


@dataclass(frozen=True)
class Row:
    """One layer of a network, for one image.

    `receptive_field` is what one unit sees of the network's input, (height, width) in pixels; `jump` the distance of
    the fields of neighbouring units, (down, right).
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
    """The rows of a network's layers and their totals; prints as a table."""

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
        """The table, one line a layer."""
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
            volume = f"{row.maps}" + (f" @ {_by(row.size)}" if row.size else "")
            numbers = tuple(f"{count:,}" for count in counts)
            fields = (
                _by(row.receptive_field),
                str(row.jump[0]) if row.jump[0] == row.jump[1] else _by(row.jump),
            )
            cells.append((row.name, row.kind, volume, _by(row.kernel), *numbers, *fields))
        totals = (self.num_parameters, self.num_connections, self.num_macs)
        cells.append(("total", "", "", "", *(f"{total:,}" for total in totals), "", ""))
        widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        lines = [_line(row, widths) for row in (head, *cells)]
        return "\n".join([self.name, lines[0], rule, *lines[1:-1], rule, lines[-1]])


def summary(network: Network) -> Summary:
    """Return the table of a network: one row a layer, and the totals.

    A connection is one input of one unit, its bias included; a multiply-accumulate one product of a weight with a
    value. Printed, it is a table; as a value, `.rows`, `.num_parameters`, `.num_connections`, `.num_macs`.

    Raises ArgumentTypeError for anything but a `Network`.

    >>> import cnnjax
    >>> table = summary(cnnjax.models.lenet5())
    >>> table.num_parameters, table.num_connections
    (60000, 340908)
    >>> table.rows[2].name, table.rows[2].num_parameters, table.rows[2].receptive_field
    ('c3', 1516, (14, 14))

    Source: the counts are those of LeCun et al. 1998, section II.B; for receptive fields see Dumoulin and Visin 2016.
    """
    if not isinstance(network, Network):
        raise type_error(
            "summary",
            "network",
            got=describe(network),
            expected="a cnnjax Network",
            fix="pass for example cnnjax.models.lenet5()",
        )
    rows = []
    field: tuple[int, ...] = (1, 1)
    jump: tuple[int, ...] = (1, 1)
    shapes, inputs = network.shapes(), network.input_shapes()
    for name, layer in network.layers:
        geometry = layer.geometry(inputs[name])
        if geometry is not None:
            field = tuple(f + (e - 1) * j for f, e, j in zip(field, geometry.extent, jump, strict=True))
            jump = tuple(j * s for j, s in zip(jump, geometry.stride, strict=True))
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
                receptive_field=field,
                jump=jump,
            )
        )
    return Summary(network.name, network.input.shape, tuple(rows))


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    numeric_from = 4
    aligned = [
        cell.rjust(width) if i >= numeric_from else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()
