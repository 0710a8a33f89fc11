"""The lines that are printed, and the results page, from the record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.networks.measure import PROGRAMS
from benchmarks.published.measure import CONTENDERS
from benchmarks.results import provenance, table
from benchmarks.timing import geometric_mean

__all__ = ["line", "means", "page"]

Record = Mapping[str, Any]


def line(name: str, row: Record) -> str:
    """The measurement of one network, in a line."""
    words = []
    for which in PROGRAMS:
        cells = [f"first call {_pair(row, which, 'first_s')} s, memory {_memory(row, which)} MiB"]
        cells.append(f"difference {_difference(row, which)}")
        if "ms" in row["flax"][which]:
            cells.insert(0, f"{_pair(row, which, 'ms')} ms, ratio {_ratio(row, which):.2f}")
        words.append(f"{which} {', '.join(cells)}")
    return f"{name:<20} {'; '.join(words)}"


def means(rows: Mapping[str, Record]) -> Iterator[str]:
    """The geometric mean of the ratios of time, and the largest."""
    for which in PROGRAMS:
        ratios = {name: _ratio(row, which) for name, row in rows.items() if "ms" in row["flax"][which]}
        if ratios:
            worst = max(ratios, key=lambda name: ratios[name])
            mean = geometric_mean(ratios.values())
            yield f"{which}: {mean:.2f} of the time of flax ({len(ratios)}), at most {ratios[worst]:.2f} ({worst})"


def page(record: Record) -> str:
    """The whole page, from the record."""
    rows = record["rows"]
    busiest = max((row["others_percent"] for row in rows.values()), default=0.0)
    sections = [
        "# Published networks",
        provenance(record, "benchmarks.published", "benchmarks-published"),
        "The networks of `cnnjax.models`, and the same networks of the layers of flax.linen, translated layer by layer "
        "with the same weights (`benchmarks/published/flax_network.py`), in float32, compiled by `jax.jit`. Inference "
        "is the forward pass in evaluation mode; training is a step of stochastic gradient descent with momentum: "
        "loss, gradient, running statistics and update. Weights and images are random. Dropout and stochastic depth "
        "are left out of both, so that outputs and gradients can be compared. Times are medians over alternating "
        "blocks of calls of one library each, with a pause before each block. While a network was measured, other "
        f"processes used at most {busiest} % of the CPU.",
        "Geometric means, with the number of networks in parentheses:",
        "\n".join(f"- {text}" for text in means(rows)),
        "## Time",
        _times(rows),
        "## First call, memory and rounding",
        "The first call traces, lowers, compiles and runs the program, in s. Memory is that of arguments, results and "
        "temporary buffers as XLA assigned it, in MiB; what a library called by XLA allocates itself is not included. "
        "Each pair is flax / cnnjax. The difference is the largest one between the outputs, or between the gradients "
        "and running means, of the two, relative to the norm of the array; in parentheses is the change of flax's own "
        "results if each parameter is perturbed by a rounding error.",
        _costs(rows),
    ]
    return "\n\n".join(sections) + "\n"


def _times(rows: Mapping[str, Record]) -> str:
    head = ["network", "images", *(f"{which}: {what}" for which in PROGRAMS for what in ("flax, ms", "ms", "ratio"))]
    body = [
        [name, "x".join(map(str, row["shape"])), *(cell for which in PROGRAMS for cell in _time(row, which))]
        for name, row in rows.items()
        if "ms" in row["flax"]["training"]
    ]
    return table(head, body)


def _time(row: Record, which: str) -> list[str]:
    return [*(_number(row[contender][which]["ms"]) for contender in CONTENDERS), f"{_ratio(row, which):.2f}"]


def _costs(rows: Mapping[str, Record]) -> str:
    head = [f"{which}: {what}" for which in PROGRAMS for what in ("first call, s", "memory, MiB", "difference")]
    body = [
        [name, f"{row['parameters']:,}", *(c for w in PROGRAMS for c in _cost(row, w))] for name, row in rows.items()
    ]
    return table(["network", "parameters", *head], body)


def _cost(row: Record, which: str) -> list[str]:
    return [_pair(row, which, "first_s"), _memory(row, which), _difference(row, which)]


def _pair(row: Record, which: str, measured: str) -> str:
    return " / ".join(_number(row[contender][which][measured]) for contender in CONTENDERS)


def _memory(row: Record, which: str) -> str:
    return " / ".join(f"{row[contender][which]['memory'] / 2**20:,.0f}" for contender in CONTENDERS)


def _difference(row: Record, which: str) -> str:
    return f"{row['difference'][which]:.0e} ({row['sensitivity'][which]:.0e})"


def _ratio(row: Record, which: str) -> float:
    return row["cnnjax"][which]["ms"] / row["flax"][which]["ms"]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
