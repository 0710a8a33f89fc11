"""The results page, and the geometric means on it, from the record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.convolution.implementations import PASSES, STEP
from benchmarks.convolution.loops import OUTSIDE
from benchmarks.convolution.shapes import CORE_SHAPES
from benchmarks.results import provenance, table
from benchmarks.timing import geometric_mean
from cnnjax.operator.spec import DIRECTIONS

__all__ = ["cells", "means", "page", "ratios", "worst_in_a_loop"]

Times = Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]


def cells(row: Mapping[str, Mapping[str, float]]) -> str:
    """The times of one implementation: "1.26 / 3.91 / 8.81"."""
    return " / ".join(number(row[what]["ms"]) for what in PASSES if what in row)


def worst_in_a_loop(times: Mapping[str, float]) -> float:
    """The time in the slowest loop divided by the time outside a loop."""
    return max(ms for loop, ms in times.items() if loop != OUTSIDE) / times[OUTSIDE]


def number(value: float) -> str:
    """A number with three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def ratios(rows: Times, names: Iterable[str], other: str) -> dict[str, dict[str, float]]:
    """{direction: {shape: time of auto / time of the other}} over the shapes in `names` that both support."""
    found: dict[str, dict[str, float]] = {what: {} for what in PASSES}
    for name in names:
        row = rows.get(name, {})
        for what in PASSES:
            if what in row.get("auto", {}) and what in row.get(other, {}):
                found[what][name] = row["auto"][what]["ms"] / row[other][what]["ms"]
    return {what: of for what, of in found.items() if of}


def means(rows: Times, names: Sequence[str]) -> Iterator[str]:
    """Geometric means of the time of auto over that of each other implementation, and the worst shape for auto."""
    for other in dict.fromkeys(n for row in rows.values() for n in row if n != "auto"):
        found = ratios(rows, names, other)
        directions = {(name, d): r for d in DIRECTIONS for name, r in found.get(d, {}).items()}
        if not directions:
            continue
        parts = ", ".join(f"{d.replace('_', ' ')} {geometric_mean(of.values()):.3f}" for d, of in found.items())
        (shape, direction), worst = max(directions.items(), key=lambda item: item[1])
        yield (
            f"auto / {other}, geometric mean of {len(directions)}: {geometric_mean(directions.values()):.3f} ({parts})"
            f"; largest {worst:.2f}: {shape}, {direction.replace('_', ' ')}"
        )


def page(record: Mapping[str, Any]) -> str:
    """The whole page, from the record."""
    sections = [
        "# Convolution benchmarks",
        provenance(record, "benchmarks.convolution", "benchmarks-convolution"),
        "Times are medians over alternating blocks of calls: each block calls one implementation, after a pause, so "
        "that the thread pools of the libraries do not disturb each other. A step is the forward pass and both "
        "gradients in one program (in PyTorch, autograd). During the measurement, other processes used "
        f"{record['others_percent']} % of the CPU.",
        "Peak throughput of a float32 matrix multiplication on this machine, measured in the same run: "
        f"{record['peak_gflops']} GFLOP/s.",
    ]
    for dtype, rows in record["speed"].items():
        sections += _speed(dtype, rows, record["peak_gflops"], record["operations"])
    for part, title in _PARTS.items():
        if record.get(part):
            sections += title(record[part])
    return "\n\n".join(sections) + "\n"


def _speed(dtype: str, rows: Times, peak: float, operations: Mapping[str, int]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    head = ["shape", *names]
    in_ms = [[shape, *(cells(row[n]) if n in row else "" for n in names)] for shape, row in rows.items()]
    sixteen = [shape.name for shape in CORE_SHAPES]
    against = [
        [
            shape,
            *(" / ".join(f"{r[shape]:.2f}" for r in ratios(rows, [shape], n).values()) for n in names if n != "auto"),
        ]
        for shape in rows
    ]
    fractions = [
        [
            shape,
            *(
                " / ".join(f"{100 * f:.0f}" for f in _fractions(row[n], operations[shape], peak)) if n in row else ""
                for n in names
            ),
        ]
        for shape, row in rows.items()
    ]
    return [
        f"## Times, {dtype}",
        "Forward / input gradient / weight gradient / step, in ms. `auto` is cnnjax"
        + ("; `torch-last` is PyTorch with channels-last tensors." if "torch-last" in names else "."),
        table(head, in_ms),
        f"## Time of auto relative to each, {dtype}",
        table(["shape", *(n for n in names if n != "auto")], against),
        "\n".join(f"- {line}" for line in means(rows, sixteen)),
        f"## Throughput in percent of the matrix-multiplication peak, {dtype}",
        "Arithmetic of the direct algorithm per second, in percent of the peak above. Winograd and FFT methods need "
        "fewer operations, so they can exceed 100.",
        table(head, fractions),
    ]


def _fractions(row: Mapping[str, Mapping[str, float]], operations: int, peak: float) -> list[float]:
    done = {what: (3 if what == STEP else 1) * operations for what in PASSES}
    return [done[what] / (row[what]["ms"] * 1e6 * peak) for what in PASSES if what in row]


def _loops(found: Mapping[str, Any]) -> list[str]:
    names = list(dict.fromkeys(name for row in found.values() for name in row))
    rows = [
        [shape, direction.replace("_", " "), *(" / ".join(map(number, row[n][direction].values())) for n in names)]
        for shape, row in found.items()
        for direction in DIRECTIONS
    ]
    return [
        "## In loops",
        "One iteration, in ms: outside a loop / in `lax.scan` / in `lax.fori_loop` / in `lax.while_loop`. Each "
        "iteration adds its result to an accumulator.",
        table(["shape", "direction", *names], rows),
    ]


def _methods(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for shape, of in found.items():
        for direction in DIRECTIONS:
            order = sorted((row[direction]["ms"], name) for name, row in of["ms"].items() if name != "auto")
            auto = number(of["ms"]["auto"][direction]["ms"])
            rows.append([shape, direction.replace("_", " "), auto, ", ".join(f"{n} {number(ms)}" for ms, n in order)])
    return [
        "## Every method",
        "Time of every method in `cnnjax.METHODS` that supports the shape, fastest first, in ms.",
        table(["shape", "direction", "auto", "methods"], rows),
    ]


def _errors(found: Mapping[str, Any]) -> list[str]:
    names = list(dict.fromkeys(name for row in found.values() for name in row))
    rows = [
        [shape, *(f"{max(row[n].values()):.0e}" if n in row else "" for n in names)] for shape, row in found.items()
    ]
    return [
        "## Error against float64",
        "Largest absolute difference divided by the largest absolute value, for the worst of the three directions, in "
        "float32.",
        table(["shape", *names], rows),
    ]


def _programs(found: Mapping[str, Any]) -> list[str]:
    names = list(dict.fromkeys(name for row in found.values() for name in row))

    def cell(of: Mapping[str, float]) -> str:
        return f"{of['trace_s'] + of['compile_s']:.2f} s, {number(of['temporary_mb'])} / {number(of['total_mb'])} MB"

    rows = [[shape, *(cell(row[n][STEP]) if n in row else "" for n in names)] for shape, row in found.items()]
    return [
        "## Compile time and memory of the step",
        "Seconds to trace and compile; MB of temporary buffers that XLA allocates for the step / including arguments "
        "and results. Memory that a library called by XLA (oneDNN, Eigen) allocates itself is not included; PyTorch "
        "does not report it.",
        table(["shape", *names], rows),
    ]


def _growth(found: Mapping[str, Any]) -> list[str]:
    names = list(dict.fromkeys(name for axes in found.values() for of in axes.values() for name in of))
    rows = [
        [family, axis, *(" / ".join(f"{g['slope']:.2f}" for g in of[n].values()) for n in names)]
        for family, axes in found.items()
        for axis, of in axes.items()
    ]
    return [
        "## Scaling with batch size, pixels and channels",
        "Slope of log time against log batch size, pixels or channels: forward / input gradient / weight gradient. The "
        "number of multiplications grows with slope 1, and with slope 2 for the channels of the ungrouped family, "
        "where input and output channels grow together.",
        table(["family", "with", *names], rows),
    ]


_PARTS = {"loops": _loops, "methods": _methods, "errors": _errors, "programs": _programs, "growth": _growth}
