"""Shared by the results pages: tables, means over seeds, and the sentence on versions and machine."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LEFT, RIGHT = "---", "---:"


def table(columns: Mapping[str, str], rows: Iterable[Sequence[str]]) -> str:
    """A table; `columns` maps each heading to `LEFT` or `RIGHT`.

    >>> print(table({"name": LEFT, "value": RIGHT}, [["a", "1"]]))
    | name | value |
    |---|---:|
    | a | 1 |
    """
    lines = [f"| {' | '.join(columns)} |", f"|{'|'.join(columns.values())}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def mean_and_deviation(values: Sequence[float]) -> str:
    """The mean, with the sample standard deviation where there are several values; "not run" where there are none."""
    if not values:
        return "not run"
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{deviation}"


def software_and_machine(environment: Mapping[str, Any]) -> str:
    """What `record.environment` found, as a sentence."""
    versions = (f"{name} {version}" for name, version in environment["versions"].items() if version[0].isdigit())
    return f"Python {environment['python']}, {', '.join(versions)}; {environment['processor']}."
