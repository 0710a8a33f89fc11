"""What cnnjax may cost for what lax costs, and which measurements are beyond that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["LIMITS", "Limit", "fraction", "is_wrong", "measurements"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Limit:
    """The name of a measure, and the most that cnnjax may take for what lax takes: in words, and as a function."""

    name: str
    words: str
    allowed: Callable[[float], float]


LIMITS = {
    "first_s": Limit("first call", "twice lax's and half a second", lambda lax: 2 * lax + 0.5),
    "run_us": Limit("run time", "1.1 of lax's, or 20 microseconds more", lambda lax: max(1.1 * lax, lax + 20)),
    "memory": Limit("memory", "1.5 of lax's, or 24 MiB", lambda lax: 1.5 * max(lax, 2**24)),
}
"""The limits. 20 microseconds are within the noise of a call, and 24 MiB are little beside what JAX itself takes."""


def fraction(row: Row, measure: str) -> float:
    """What cnnjax takes, divided by what it may take: above 1 it misses the limit."""
    return row["cnnjax"][measure] / LIMITS[measure].allowed(row["lax"][measure])


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
