"""The lines that are printed, and the results page, from the record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.networks.measure import MODES, PROGRAMS
from benchmarks.results import provenance, table
from benchmarks.timing import geometric_mean

__all__ = ["line", "means", "page"]

Record = Mapping[str, Any]
_CONTENDERS = (*MODES, "torch", "torch compiled")
_TITLES = {"plain": "JAX", "drop_in": "drop_in", "torch": "PyTorch", "torch compiled": "PyTorch, compiled"}


def line(key: str, row: Record) -> str:
    """The measurement of one network in one library, in a line."""
    words = []
    for which in PROGRAMS:
        plain, ours = (row[mode][which] for mode in MODES)
        cells = [f"first call {plain['first_s']:.1f} / {ours['first_s']:.1f} s"]
        cells.append(f"memory {_mebibytes(plain)} / {_mebibytes(ours)} MiB, difference {row['difference'][which]:.1g}")
        if "ms" in plain:
            times = " / ".join(_number(row[c][which]["ms"]) for c in _CONTENDERS if c in row)
            cells.insert(0, f"{times} ms, ratio {_ratio(row, which):.2f}")
        words.append(f"{which} {', '.join(cells)}")
    return f"{key:<21} {'; '.join(words)}"


def means(rows: Mapping[str, Record]) -> Iterator[str]:
    """Geometric means of the time with drop_in relative to each other contender, and the largest ratio to JAX."""
    for which in PROGRAMS:
        timed = {key: row for key, row in rows.items() if "ms" in row["plain"].get(which, {})}
        if not timed:
            continue
        parts = []
        for other in (c for c in _CONTENDERS if c != "drop_in"):
            found = [_ratio(row, which, other) for row in timed.values() if other in row]
            if found:
                parts.append(f"{geometric_mean(found):.3f} of {_TITLES[other]} ({len(found)})")
        fastest = geometric_mean(_ratio(row, which, measured="fastest") for row in timed.values())
        ratios = {key: _ratio(row, which) for key, row in timed.items()}
        worst = max(ratios, key=lambda key: ratios[key])
        yield (
            f"{which}: {', '.join(parts)}; by the fastest calls {fastest:.3f} of JAX; largest ratio to JAX "
            f"{ratios[worst]:.2f}: {worst}"
        )


def page(record: Record) -> str:
    """The whole page, from the record."""
    rows, huge = record["rows"], bool(record.get("allocator"))
    sections = [
        "# Whole networks" + ", in huge pages" * huge,
        provenance(record, "benchmarks.networks", "benchmarks-networks" + "-huge-pages" * huge),
        "Networks as the users of flax.linen, equinox (channels first) and keras on JAX (`keras.applications`) write "
        "them, with no call of cnnjax in them, in float32: compiled as they are (JAX), compiled after "
        "`cnnjax.drop_in.enable()` (drop_in), and the same network in PyTorch, eager and with channels-last tensors. "
        "Inference is the forward pass in evaluation mode; training is a step of stochastic gradient descent with "
        "momentum: loss, gradient and update. Weights and data are random. Times are medians over alternating blocks "
        "of calls of one contender each, with a pause before each block. During the measurement, other processes used "
        f"{record['others_percent']} % of the CPU."
        + " The memory of all three was in pages of 2 MiB (`GLIBC_TUNABLES`), where Linux gives them."
        * huge,
        "Geometric means of the time with drop_in, with the number of networks in parentheses:",
        "\n".join(f"- {text}" for text in means(rows)),
    ]
    for which in PROGRAMS:
        sections += [f"## {which.capitalize()}", _times(rows, which)]
    sections += [
        "## First call, memory and rounding",
        "The first call traces, lowers, compiles and runs the program, in s. Memory is that of arguments, results and "
        "temporary buffers as XLA assigned it, in MiB; what a library called by XLA allocates itself is not included. "
        "Each pair is JAX / drop_in. The difference is the largest one between the outputs, or between the gradients, "
        "of the two programs, relative to the norm of the array; in parentheses is the change of JAX's own results if "
        "each parameter is perturbed by a rounding error.",
        _costs(rows),
    ]
    return "\n\n".join(sections) + "\n"


def _times(rows: Mapping[str, Record], which: str) -> str:
    timed = {key: row for key, row in rows.items() if "ms" in row["plain"].get(which, {})}
    contenders = [c for c in _CONTENDERS if any(c in row for row in timed.values())]
    others = [c for c in contenders if c != "drop_in"]
    head = [
        "network",
        "batch",
        *(f"{_TITLES[c]}, ms" for c in contenders),
        *(f"drop_in / {_TITLES[c]}" for c in others),
    ]
    body = [
        [
            key,
            "x".join(map(str, row["shape"])),
            *(_number(row[c][which]["ms"]) if c in row else "" for c in contenders),
            *(f"{_ratio(row, which, c):.2f}" if c in row else "" for c in others),
        ]
        for key, row in timed.items()
    ]
    return table(head, body)


def _costs(rows: Mapping[str, Record]) -> str:
    def cells(row: Record, which: str) -> list[str]:
        plain, ours = (row[mode][which] for mode in MODES)
        return [
            f"{plain['first_s']:.1f} / {ours['first_s']:.1f}",
            f"{_mebibytes(plain)} / {_mebibytes(ours)}",
            f"{row['difference'][which]:.0e} ({row['sensitivity'][which]:.0e})",
        ]

    head = [f"{which}: {what}" for which in PROGRAMS for what in ("first call, s", "memory, MiB", "difference")]
    body = [[key, f"{row['parameters']:,}", *(c for w in PROGRAMS for c in cells(row, w))] for key, row in rows.items()]
    return table(["network", "parameters", *head], body)


def _ratio(row: Record, which: str, other: str = "plain", measured: str = "ms") -> float:
    return row["drop_in"][which][measured] / row[other][which][measured]


def _mebibytes(program: Mapping[str, float]) -> str:
    return f"{program['memory'] / 2**20:,.0f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
