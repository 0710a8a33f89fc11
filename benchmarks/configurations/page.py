"""The summary that is printed, and the results page, from the record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.configurations import limits
from benchmarks.configurations.configuration import KINDS
from benchmarks.results import provenance
from benchmarks.timing import geometric_mean

__all__ = ["line", "page", "summary"]

Record = Mapping[str, Any]
_NAME = "benchmarks-configurations"
_FORMAT = {
    "first_s": lambda seconds: f"{seconds:.2f} s",
    "run_us": lambda us: f"{us / 1e3:.3g} ms",
    "memory": lambda count: f"{count / 2**20:.3g} MiB",
}


def line(index: int | str, text: str, directions: Mapping[str, Any]) -> str:
    """One configuration in a line of text: the ratio of each measure to lax's in each direction, misses in capitals."""
    words = []
    for direction, row in directions.items():
        if "failure" in row["cnnjax"]:
            words.append(f"{direction}: FAILED {row['cnnjax']['failure']}")
        elif "failure" in row["lax"]:
            words.append(f"{direction}: lax failed {row['lax']['failure']}")
        else:
            cells = [_ratio(row, measure) for measure in limits.MEASURES if measure in row["cnnjax"]]
            cells += ["WRONG VALUES"] * limits.is_wrong(row)
            words.append(f"{direction} {' '.join(cells)}")
    return f"{index:>4} {text}\n       " + "; ".join(words)


def _ratio(row: Mapping[str, Any], measure: str) -> str:
    show = _FORMAT[measure]
    text = f"{show(row['cnnjax'][measure])}/{show(row['lax'][measure])}".replace(" ", "")
    return f"{text} MISS" if limits.fraction(row, measure) > 1 else text


def summary(record: Record, worst: int = 10) -> Iterator[str]:
    """Misses, the worst directions by each limit, and geometric means, as lines of text."""
    rows = record["rows"]
    found = list(limits.measurements(rows))
    wrong = [
        f"{index} {direction}"
        for index, of in rows.items()
        for direction, row in of["directions"].items()
        if limits.is_wrong(row)
    ]
    yield f"{len(rows)} configurations, {len(found)} directions timed; failed or wrong: {', '.join(wrong) or 'none'}"
    for measure, name in limits.MEASURES.items():
        ordered = sorted(found, key=lambda entry: limits.fraction(entry[2], measure), reverse=True)
        misses = sum(limits.fraction(row, measure) > 1 for *_, row in found)
        yield f"\n{name}: {misses} of {len(found)} beyond the limit; the worst:"
        for index, direction, row in ordered[:worst]:
            yield (
                f"  {limits.fraction(row, measure):5.2f} of the limit  {_ratio(row, measure):<28} "
                f"{index:>3} {direction}: {rows[index]['text']}"
            )
    yield "\nrun time, cnnjax / lax, geometric means:"
    for kind, of in _means(record).items():
        yield f"  {kind:<13} " + ", ".join(f"{direction} {mean:.3f} ({n})" for direction, (mean, n) in of.items())


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


def page(record: Record) -> str:
    """The whole page, from the record."""
    rows = record["rows"]
    found = list(limits.measurements(rows))
    sections = [
        "# Random configurations",
        provenance(record, "benchmarks.configurations", _NAME),
        f"{len(rows)} convolutions and pools were drawn at random from what people compute (`draw.py`): "
        "one to three axes, kernels and windows up to the image, ordinary, grouped, depthwise and transposed,"
        " strided and dilated, batches of 0 to 256. Each direction is measured alone: the forward pass and both "
        f"gradients, {len(found)} in all. The values of every direction agree with those of lax within the rounding "
        "error of float32.",
    ]
    return "\n\n".join(sections) + "\n"
