"""The summary of a program as values: a row for each operation, the totals, and the table that they print as."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cnnjax._core.messages import type_error
from cnnjax.connections import ConnectionTable, grouped
from cnnjax.layers.summary import format_size, format_table, format_volume
from cnnjax.operator.spec import Links

__all__ = ["ProgramRow", "ProgramSummary"]


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
        cells: list[tuple[str, ...]] = [
            (
                row.name + (f" (x{row.times})" if row.times > 1 else ""),
                row.kind,
                format_volume(row.maps_in, row.size_in) if row.maps_in else "",
                format_volume(row.maps, row.size),
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


def _block_diagonal(links: Links, maps_in: int, maps: int, groups: int) -> ConnectionTable:
    """The table of all groups; that of one is repeated as often as under vmap, where a batch becomes more maps."""
    shape = groups, maps_in // groups, maps // groups
    blocks = np.tile(links.table, [n // m for n, m in zip(shape, links.shape, strict=True)])
    matrix = np.zeros((groups, shape[1], groups, shape[2]), bool)
    matrix[np.arange(groups), :, np.arange(groups)] = blocks
    return ConnectionTable(matrix.reshape(maps_in, maps))
