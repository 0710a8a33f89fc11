"""The summary that is printed, and the results page, from the record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.configurations import limits
from benchmarks.configurations.configuration import KINDS
from benchmarks.configurations.measure import AGAIN
from benchmarks.configurations.programs import LIBRARIES
from benchmarks.results import provenance, table
from benchmarks.timing import geometric_mean
from cnnjax.operator.spec import DIRECTIONS

__all__ = ["line", "page", "summary"]

Record = Mapping[str, Any]
Measurement = tuple[str, str, Mapping[str, Any]]
_FORMAT = {
    "first_s": lambda seconds: f"{seconds:.2f} s",
    "run_us": lambda us: f"{us / 1e3:.3g} ms",
    "memory": lambda count: f"{count / 2**20:.3g} MiB",
}


def line(index: int | str, text: str, directions: Mapping[str, Any]) -> str:
    """One configuration as text: what each direction takes, cnnjax/lax, and whether that is beyond a limit."""
    words = []
    for direction, row in directions.items():
        if "failure" in row["cnnjax"]:
            words.append(f"{direction}: FAILED {row['cnnjax']['failure']}")
        elif "failure" in row["lax"]:
            words.append(f"{direction}: lax failed {row['lax']['failure']}")
        else:
            cells = [_cell(row, measure) for measure in limits.LIMITS if measure in row["cnnjax"]]
            cells += ["WRONG VALUES"] * limits.is_wrong(row)
            words.append(f"{_named(direction, row)} {' '.join(cells)}")
    return f"{index:>4} {text}\n       " + "; ".join(words)


def summary(record: Record) -> Iterator[str]:
    """The directions beyond a limit, the worst ten by each limit, and geometric means, as lines of text."""
    rows, found = record["rows"], list(limits.measurements(record["rows"]))
    yield f"{len(rows)} configurations, {len(found)} directions timed; failed or wrong: {_join(_wrong(rows))}"
    for measure, limit in limits.LIMITS.items():
        yield f"\n{limit.name}: {_misses(found, measure)} of {len(found)} beyond the limit; the worst:"
        for index, direction, row in _worst(found, measure):
            yield (
                f"  {limits.fraction(row, measure):5.2f} of the limit  {_cell(row, measure):<28} "
                f"{index:>3} {_named(direction, row)}: {rows[index]['text']}"
            )
    yield "\nrun time, cnnjax / lax, geometric means:"
    for kind, of in _means(record).items():
        yield f"  {kind:<13} " + ", ".join(f"{direction} {mean:.2g} ({n})" for direction, (mean, n) in of.items())


def page(record: Record) -> str:
    """The whole page, from the record."""
    rows, found = record["rows"], list(limits.measurements(record["rows"]))
    sections = [
        "# Random configurations",
        provenance(record, "benchmarks.configurations", "benchmarks-configurations"),
        f"{len(rows)} convolutions and pools, drawn at random from what people compute: networks for images, audio, "
        "text, video and scans, filters, and combinations of any sizes (`benchmarks/configurations/draw.py`). They "
        "have one to three spatial axes, kernels of 1 to 101 taps along an axis, windows up to the image, images up to "
        "16,384 wide, one to all groups, strides and dilations, and batches of 0 to 256; a direction has at most 10^9 "
        "multiplications. The forward pass and each gradient are measured alone, in float32, against "
        "`lax.conv_general_dilated`, its transpose, or `lax.reduce_window`.",
        _table_of_limits(found),
        "The first call traces, lowers, compiles and runs a function that JAX has not seen. The run time is the best "
        "of alternating blocks of calls, one library at a time, with a pause before each block; a measurement near its "
        f"limit is repeated up to {AGAIN} times, and the best of each library counts. Memory is that of the arguments, "
        "the result and temporary buffers, as XLA assigned it; what a library called by XLA allocates itself is not "
        f"included. During the measurement, other processes used {record['others_percent']} % of the CPU.",
        "Values agree with those of lax within the rounding error of a float32 sum in all directions, with these "
        f"exceptions: {_join(_wrong(rows))}. Where lax itself fails, there is nothing to compare with: "
        f"{_join(_failures(rows, 'lax'))}.",
        "## Run time, cnnjax / lax",
        "Geometric means, and in parentheses the number of measurements:",
        _table_of_means(record),
    ]
    for measure, limit in limits.LIMITS.items():
        worst = (
            [
                index,
                rows[index]["text"],
                direction.replace("_", " "),
                row["method"],
                *_both(row, measure),
                _share(row, measure),
            ]
            for index, direction, row in _worst(found, measure)
        )
        head = ["number", "configuration", "direction", "method", "cnnjax", "lax", "of the limit"]
        sections += [f"## Worst ten: {limit.name}", table(head, worst)]
    return "\n\n".join(sections) + "\n"


def _table_of_limits(found: Sequence[Measurement]) -> str:
    rows = [
        [limit.name, limit.words, f"{_misses(found, measure)} of {len(found)}", _largest(found, measure)]
        for measure, limit in limits.LIMITS.items()
    ]
    programs = [max(row[library]["program"] for *_, row in found) for library in LIBRARIES] if found else []
    size = " and ".join(f"{n:,}" for n in programs)
    return (
        table(["", "limit", "beyond it", "largest fraction of it"], rows)
        + f"\n\nThe largest programs of cnnjax and lax have {size} characters of StableHLO."
    )


def _table_of_means(record: Record) -> str:
    means = _means(record)
    rows = [
        [kind, *(f"{of[d][0]:.2g} ({of[d][1]})" if d in of else "" for d in DIRECTIONS)] for kind, of in means.items()
    ]
    return table(["kind", *(d.replace("_", " ") for d in DIRECTIONS)], rows)


def _worst(found: Sequence[Measurement], measure: str, count: int = 10) -> list[Measurement]:
    return sorted(found, key=lambda entry: limits.fraction(entry[2], measure), reverse=True)[:count]


def _misses(found: Sequence[Measurement], measure: str) -> int:
    return sum(limits.fraction(row, measure) > 1 for *_, row in found)


def _largest(found: Sequence[Measurement], measure: str) -> str:
    return _share(_worst(found, measure, 1)[0][2], measure) if found else ""


def _share(row: Mapping[str, Any], measure: str) -> str:
    return f"{limits.fraction(row, measure):.2f}"


def _both(row: Mapping[str, Any], measure: str) -> list[str]:
    """The values of cnnjax and lax, with units."""
    return [_FORMAT[measure](row[library][measure]) for library in LIBRARIES]


def _cell(row: Mapping[str, Any], measure: str) -> str:
    """Both values in one word, and whether the limit is exceeded."""
    return "/".join(_both(row, measure)).replace(" ", "") + " MISS" * (limits.fraction(row, measure) > 1)


def _named(direction: str, row: Mapping[str, Any]) -> str:
    """The direction, and for a convolution the method that computed it."""
    return f"{direction} [{row['method']}]" if row["method"] else direction


def _wrong(rows: Mapping[str, Any]) -> list[str]:
    return [
        f"{index} {direction}"
        for index, of in rows.items()
        for direction, row in of["directions"].items()
        if limits.is_wrong(row)
    ]


def _failures(rows: Mapping[str, Any], library: str) -> list[str]:
    return [
        f"{index} {direction} ({row[library]['failure']})"
        for index, of in rows.items()
        for direction, row in of["directions"].items()
        if "failure" in row[library]
    ]


def _join(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _means(record: Record) -> dict[str, dict[str, tuple[float, int]]]:
    """{kind: {direction: (geometric mean of the ratios of run time, their number)}}."""
    ratios: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for index, direction, row in limits.measurements(record["rows"]):
        ratio = row["cnnjax"]["run_us"] / row["lax"]["run_us"]
        for kind in (record["rows"][index]["kind"], "all"):
            ratios[kind][direction].append(ratio)
    return {
        kind: {direction: (geometric_mean(of), len(of)) for direction, of in ratios[kind].items()}
        for kind in (*KINDS, "all")
        if kind in ratios
    }
