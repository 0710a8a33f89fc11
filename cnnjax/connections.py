"""Connection tables: which input map of a convolutional layer feeds which output map, and the counts that follow.

A table is a boolean matrix (C_in, C_out). A full table is the ordinary convolution; one-to-one, grouped and depthwise
tables are the other common ones; Table I of LeNet-5 connects its layers S2 and C3.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnjax._core.messages import describe, type_error, value_error

__all__ = [
    "LENET5_C3",
    "Blocks",
    "ConnectionTable",
    "blocks_of",
    "depthwise",
    "from_rows",
    "full",
    "grouped",
    "one_to_one",
]

_MOST_COLUMNS_PRINTED = 40


@dataclass(frozen=True, eq=False, repr=False)
class ConnectionTable:
    """Which input map feeds which output map.

    Tables are immutable, and compare and hash by value, so one can be a static argument of `jax.jit`.

    Args:
        matrix: a boolean array (C_in, C_out); matrix[c, o] says whether output map o reads input map c.

    Raises:
        TypeError: for a matrix that is not boolean.
        ValueError: for a matrix that is not of shape (C_in, C_out).

    Example:
        >>> table = ConnectionTable([[True, False, True], [False, True, True]])
        >>> table
        ConnectionTable: 2 -> 3 maps, 4 of 6 links
              0 1 2
           0  X . X
           1  . X X
        >>> table.num_parameters(kernel=5)          # 4 slices of 25 weights, and one bias for each output map
        103

    Source: LeCun, Bottou, Bengio and Haffner 1998, "Gradient-based learning applied to document recognition",
    section II.B.
    """

    matrix: np.ndarray

    def __post_init__(self) -> None:
        """Check the matrix and keep a read-only copy."""
        try:
            matrix = np.array(self.matrix)
        except Exception as error:  # a traced array, or a ragged list
            raise _not_a_table(type_error, describe(self.matrix)) from error
        if matrix.dtype != np.bool_:
            raise _not_a_table(type_error, f"of dtype {matrix.dtype}")
        if matrix.ndim != 2 or 0 in matrix.shape:
            raise _not_a_table(value_error, f"of shape {matrix.shape}")
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @property
    def c_in(self) -> int:
        """The number of input maps."""
        return self.matrix.shape[0]

    @property
    def c_out(self) -> int:
        """The number of output maps."""
        return self.matrix.shape[1]

    @property
    def num_links(self) -> int:
        """The number of (input map, output map) pairs that are connected."""
        return int(self.matrix.sum())

    @property
    def rows(self) -> tuple[tuple[int, ...], ...]:
        """For each output map, the input maps that feed it."""
        return tuple(tuple(int(c) for c in np.flatnonzero(column)) for column in self.matrix.T)

    @property
    def fan_in(self) -> tuple[int, ...]:
        """For each output map, how many input maps feed it."""
        return tuple(int(n) for n in self.matrix.sum(axis=0))

    @property
    def fan_out(self) -> tuple[int, ...]:
        """For each input map, how many output maps it feeds."""
        return tuple(int(n) for n in self.matrix.sum(axis=1))

    def num_weights(self, kernel: int | Sequence[int]) -> int:
        """The number of weights that have an effect: num_links times the taps of the kernel.

        Args:
            kernel: its size along each axis; one integer means a square.
        """
        return self.num_links * _taps("num_weights", kernel)

    def num_parameters(self, kernel: int | Sequence[int], bias: bool = True) -> int:
        """The number of trainable parameters: `num_weights`, and one bias for each output map.

        Args:
            kernel: its size along each axis; one integer means a square.
            bias: whether each output map has a bias.

        Example:
            >>> LENET5_C3.num_parameters(kernel=5)
            1516
        """
        return self.num_weights(kernel) + (self.c_out if bias else 0)

    def num_connections(self, kernel: int | Sequence[int], output: int | Sequence[int], bias: bool = True) -> int:
        """The number of connections, as LeCun et al. 1998 count them: `num_parameters` times the positions.

        Args:
            kernel: its size along each axis; one integer means a square.
            output: the size of the output maps along each axis; one integer means a square.
            bias: whether each output map has a bias.

        Example:
            >>> LENET5_C3.num_connections(kernel=5, output=10)
            151600
        """
        return self.num_parameters(kernel, bias) * math.prod(_sides("num_connections", "output", output))

    def __eq__(self, other: object) -> bool:
        """Whether the matrices are equal."""
        if not isinstance(other, ConnectionTable):
            return NotImplemented
        return np.array_equal(self.matrix, other.matrix)

    def __hash__(self) -> int:
        """Hash by value."""
        return hash((self.matrix.shape, self.matrix.tobytes()))

    def __repr__(self) -> str:
        """Print the table as the paper does: a row for each input map, a column for each output map, X for a link."""
        shown = slice(_MOST_COLUMNS_PRINTED)
        width = max(1, len(str(min(self.c_out, _MOST_COLUMNS_PRINTED) - 1)))
        more = " ..." if self.c_out > _MOST_COLUMNS_PRINTED else ""
        head = f"ConnectionTable: {self.c_in} -> {self.c_out} maps, {self.num_links} of {self.matrix.size} links"
        columns = " ".join(f"{o:>{width}}" for o in range(self.c_out)[shown])
        lines = [head, f"      {columns}{more}"]
        for c, row in enumerate(self.matrix[shown]):
            marks = " ".join(f"{'X' if linked else '.':>{width}}" for linked in row[shown])
            lines.append(f"{c:>4}  {marks}{more}")
        if self.c_in > _MOST_COLUMNS_PRINTED:
            lines.append(" ...")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Blocks:
    """The disjoint blocks of a table: block g links the input maps inputs[g] with the output maps outputs[g] only.

    `inputs` is (blocks, C_in / blocks) and `outputs` (blocks, C_out / blocks), both ascending within a block.
    """

    inputs: np.ndarray
    outputs: np.ndarray


def blocks_of(table: ConnectionTable) -> Blocks | None:
    """Split a table into its connected components, if there are several and all of one size, else return None.

    A convolution by such a table is a grouped convolution of reordered maps, which computes none of the products that a
    mask would set to zero.

    >>> blocks_of(ConnectionTable([[True, False], [False, True], [True, False], [False, True]])).inputs.tolist()
    [[0, 2], [1, 3]]
    >>> blocks_of(LENET5_C3) is None
    True
    """
    return _blocks_of(table.matrix.shape, table.matrix.tobytes())


@functools.lru_cache(maxsize=256)
def _blocks_of(shape: tuple[int, int], matrix: bytes) -> Blocks | None:
    links = np.frombuffer(matrix, bool).reshape(shape)
    if not (links.any(axis=0).all() and links.any(axis=1).all()):
        return None
    # Label each map with the smallest input map of its component: pass labels along the links until none changes.
    of_input = np.arange(shape[0])
    while True:
        of_output = np.where(links, of_input[:, None], shape[0]).min(axis=0)
        least = np.where(links, of_output, shape[0]).min(axis=1)
        if np.array_equal(least, of_input):
            break
        of_input = least
    labels, sizes_in = np.unique(of_input, return_counts=True)
    sizes_out = np.unique(of_output, return_counts=True)[1]
    if len(labels) == 1 or len({*sizes_in}) > 1 or len({*sizes_out}) > 1:
        return None
    inputs, outputs = (np.argsort(of_map, kind="stable").reshape(len(labels), -1) for of_map in (of_input, of_output))
    return Blocks(inputs, outputs)


def full(c_in: int, c_out: int) -> ConnectionTable:
    """Return the table in which every input map feeds every output map: the ordinary convolution.

    >>> full(4, 6).num_links
    24
    """
    c_in, c_out = _count("full", "c_in", c_in), _count("full", "c_out", c_out)
    return ConnectionTable(np.ones((c_in, c_out), bool))


def one_to_one(c: int) -> ConnectionTable:
    """Return the table of c maps in which input map i feeds output map i only.

    >>> one_to_one(3).rows
    ((0,), (1,), (2,))
    """
    return ConnectionTable(np.eye(_count("one_to_one", "c", c), dtype=bool))


def grouped(c_in: int, c_out: int, groups: int) -> ConnectionTable:
    """Return the table of `conv2d(..., groups=groups)`: each block of input maps feeds one block of output maps.

    Raises:
        TypeError: for a number that is not an integer.
        ValueError: unless `groups` divides both numbers of maps.

    Example:
        >>> grouped(4, 6, 2).rows
        ((0, 1), (0, 1), (0, 1), (2, 3), (2, 3), (2, 3))

    Source: Krizhevsky, Sutskever and Hinton 2012, "ImageNet classification with deep convolutional neural networks",
    section 3.5.
    """
    caller = "grouped"
    c_in, c_out = _count(caller, "c_in", c_in), _count(caller, "c_out", c_out)
    groups = _count(caller, "groups", groups)
    if c_in % groups or c_out % groups:
        raise value_error(
            caller,
            "groups",
            got=str(groups),
            expected=f"a divisor of both c_in = {c_in} and c_out = {c_out}",
            fix="use groups that divide both, or from_rows for an unequal table",
        )
    return ConnectionTable(np.kron(np.eye(groups), np.ones((c_in // groups, c_out // groups))) > 0)


def depthwise(c_in: int, multiplier: int = 1) -> ConnectionTable:
    """Return the table in which each input map feeds `multiplier` output maps: output o reads input o // multiplier.

    >>> depthwise(3, 2).rows
    ((0,), (0,), (1,), (1,), (2,), (2,))
    """
    c_in, multiplier = _count("depthwise", "c_in", c_in), _count("depthwise", "multiplier", multiplier)
    return grouped(c_in, c_in * multiplier, c_in)


def from_rows(rows: Iterable[Iterable[int]], c_in: int) -> ConnectionTable:
    """Return the table in which output map o reads the input maps rows[o], out of `c_in`.

    Raises:
        TypeError: for an input map that is not an integer.
        ValueError: for an input map that is not in 0 .. c_in - 1, or is named twice for one output map.

    Example:
        >>> from_rows([[0, 1], [1, 2], [0, 2]], c_in=3).fan_out
        (2, 2, 2)
    """
    c_in = _count("from_rows", "c_in", c_in)
    try:
        inputs_of = [list(row) for row in rows]
    except TypeError as error:
        expected = "for each output map, a list of the input maps that feed it"
        raise type_error(
            "from_rows", "rows", got=describe(rows), expected=expected, fix="write [[0, 1], [1, 2]]"
        ) from error
    matrix = np.zeros((c_in, len(inputs_of)), bool)
    for o, row in enumerate(inputs_of):
        for entry in row:
            c = _index("from_rows", f"rows[{o}]", entry)
            if not 0 <= c < c_in or matrix[c, o]:
                raise value_error(
                    "from_rows",
                    f"rows[{o}]",
                    got=f"{row}",
                    expected=f"input maps out of 0 .. {c_in - 1}, each at most once",
                    fix=f"mend the entry {c}, or c_in",
                )
            matrix[c, o] = True
    return ConnectionTable(matrix)


def _index(caller: str, argument: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError as error:
        raise type_error(
            caller, argument, got=describe(value), expected="an integer", fix="pass a plain integer"
        ) from error


def _count(caller: str, argument: str, value: Any) -> int:
    count = _index(caller, argument, value)
    if count < 1:
        raise value_error(caller, argument, got=str(count), expected="at least 1", fix=f"use {argument}=1 or more")
    return count


def _sides(caller: str, argument: str, value: int | Sequence[int]) -> tuple[int, ...]:
    """The sides of a kernel or a map; one integer means a square."""
    sides = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    return tuple(_count(caller, argument, side) for side in sides)


def _taps(caller: str, kernel: int | Sequence[int]) -> int:
    return math.prod(_sides(caller, "kernel", kernel))


def _not_a_table(error: Callable[..., Exception], got: str) -> Exception:
    return error(
        "ConnectionTable",
        "matrix",
        got=got,
        expected="a boolean array of shape (C_in, C_out)",
        fix="pass matrix > 0, or build the table with connections.from_rows",
    )


LENET5_C3 = from_rows(
    [
        *([i % 6 for i in range(first, first + 3)] for first in range(6)),
        *([i % 6 for i in range(first, first + 4)] for first in range(6)),
        [0, 1, 3, 4],
        [1, 2, 4, 5],
        [0, 2, 3, 5],
        range(6),
    ],
    c_in=6,
)
"""Table I of LeCun et al. 1998: which of the six maps of S2 feed each of the sixteen of C3.

The first six output maps read three contiguous input maps (cyclically), the next six four contiguous ones, the next
three four that are not contiguous, and the last all six.
"""
