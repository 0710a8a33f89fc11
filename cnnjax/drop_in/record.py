"""What drop_in did with each convolution and max pool of this process: `cnnjax.drop_in.report`."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jax.core import ShapedArray

from cnnjax.operator.spec import Direction, Platform

__all__ = ["Call", "Operation", "Report", "Row", "record", "report"]

Operation = Direction | Literal["convolution", "max_pool", "max_pool_gradient"]
"""What a call computes: "convolution" is one of which no direction was recognised."""


@dataclass(frozen=True)
class Call:
    """A call of one of JAX's primitives, and what was decided about it.

    Attributes:
        operation: what it computes.
        operands, result: dtype and shape of the arrays, such as "float32[8,56,56,64]".
        platform: what the program is compiled for, as in `cnnjax.explain`.
        method: what computes it: a name in `cnnjax.METHODS`, "shift" for max pools, or "lax" if it is left to JAX.
        reason: why.
    """

    operation: Operation
    operands: tuple[str, ...]
    result: str
    platform: Platform
    method: str
    reason: str

    @property
    def taken_over(self) -> bool:
        """Whether it is computed by cnnjax."""
        return self.method != "lax"


@dataclass(frozen=True)
class Row:
    """A call, and in how many programs it has been compiled; equal calls of one program count once."""

    call: Call
    programs: int


@dataclass(frozen=True, repr=False)
class Report:
    """The calls of this process for which drop_in was on, in the order of their first compilation. Prints as a table.

    Attributes:
        rows: a row for each call.
    """

    rows: tuple[Row, ...]

    def __repr__(self) -> str:
        """How many calls were taken over, and one line for each call."""
        if not self.rows:
            return "drop_in has met no convolution or max pool: none was compiled for a CPU while it was on"
        lines = [
            (
                row.call.operation.replace("_", " "),
                f"{' '.join(row.call.operands)} -> {row.call.result}",
                f"x{row.programs}" if row.programs > 1 else "",
                row.call.method if row.call.taken_over else "left to JAX",
                row.call.reason,
            )
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        taken = sum(row.call.taken_over for row in self.rows)
        table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join([f"drop_in has taken over {taken} of {len(self.rows)} calls:", *table])


_programs: Counter[Call] = Counter()
_lock = threading.Lock()


def record(
    operation: Operation,
    operands: Sequence[ShapedArray],
    result: ShapedArray,
    platform: Platform,
    method: str,
    reason: str,
) -> None:
    """Note what was decided about a call in a program that is being compiled."""
    shapes = tuple(f"{a.dtype}[{','.join(map(str, a.shape))}]" for a in (*operands, result))
    with _lock:
        _programs[Call(operation, shapes[:-1], shapes[-1], platform, method, reason)] += 1


def report() -> Report:
    """Report which convolutions and max pools were taken over, by which method, which were left to JAX, and why.

    It covers the programs that this process has compiled for a CPU while drop_in was on. The reasons are those of
    `cnnjax.explain`.

    Returns:
        A `Report`, which prints as a table; its field `rows` has a `Row` for each call.

    Example:
        >>> import jax, jax.numpy as jnp, cnnjax
        >>> image, kernel = jnp.ones((1, 2, 2, 3)), jnp.ones((2, 2, 3, 5))
        >>> with cnnjax.drop_in.enabled():
        ...     y = jax.lax.conv_general_dilated(
        ...         image, kernel, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        ...     )
        >>> call = cnnjax.drop_in.report().rows[-1].call
        >>> print(call.operation, *call.operands, call.method, call.reason, sep="; ")
        forward; float32[1,2,2,3]; float32[2,2,3,5]; matmul; it is a single matrix product
    """
    with _lock:
        return Report(tuple(Row(call, programs) for call, programs in _programs.items()))
