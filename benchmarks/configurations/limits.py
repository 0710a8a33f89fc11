"""What cnnjax may cost for what lax costs, and which measurements are beyond that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["ALLOWED", "MEASURES", "fraction", "is_wrong", "measurements"]

Row = Mapping[str, Any]

ALLOWED: dict[str, Callable[[float], float]] = {
    "first_s": lambda lax: 2 * lax + 0.5,
    "run_us": lambda lax: max(1.1 * lax, lax + 20),
    "memory": lambda lax: 1.5 * max(lax, 2**20),
}
"""The most that cnnjax may take, given what lax takes.

A difference of 20 microseconds in run time is within the noise of a call, and a program that needs less than a
mebibyte is compared with one mebibyte.
"""

MEASURES = {"first_s": "first call", "run_us": "run time", "memory": "memory"}


def fraction(row: Row, measure: str) -> float:
    """What cnnjax takes, divided by what it may take: above 1 it misses the limit."""
    return row["cnnjax"][measure] / ALLOWED[measure](row["lax"][measure])


def is_wrong(row: Row) -> bool:
    """Whether cnnjax failed, or its values are not those of lax; not if lax itself failed."""
    if "failure" in row["cnnjax"]:
        return True
    return "failure" not in row["lax"] and not row["error"] <= row["tolerance"]


def measurements(rows: Mapping[str, Row]) -> Iterator[tuple[str, str, Row]]:
    """(configuration's number, direction, row) for each direction that both libraries computed."""
    for index, of in rows.items():
        for direction, row in of["directions"].items():
            if "run_us" in row["cnnjax"] and "run_us" in row["lax"]:
                yield index, direction, row
