"""Random configurations benchmark: convolutions and pools against jax.lax in first call, run time and memory.

    python -m benchmarks.configurations --count 10
    python -m benchmarks.configurations --only 17 42 --direction input_gradient
    python -m benchmarks.configurations --record docs/records/benchmarks-configurations.json \\
        --page docs/results/benchmarks-configurations.md

The last command draws 300 configurations with seed 0 and measures them in about half an hour on two cores. An existing
record of the same machine, versions and seed is continued where it ended; configurations named by --only are measured
again. The exit status is 1 if a value is wrong or a limit is exceeded.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from typing import Any

import jax

import cnnjax
from benchmarks import results, timing
from benchmarks.configurations import limits, measure
from benchmarks.configurations.configuration import KINDS, Configuration
from benchmarks.configurations.draw import draw
from benchmarks.configurations.page import line, page, summary
from cnnjax.operator.spec import DIRECTIONS
from cnnjax.operator.tuning import machine


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and record; return the exit status."""
    options = _options(arguments)
    if results.report(options, page):
        return 0
    record = _start(options)
    before = timing.cpu_seconds()
    drawn = draw(options.seed, options.count)
    for index in _wanted(drawn, options, record):
        of = drawn[index]
        row: dict[str, Any] = {"text": str(of), "kind": of.kind, "directions": {}}
        for which in of.directions:
            if which in options.direction:
                row["directions"][which] = measure.direction(of, which, timed=not options.quick)
        record["rows"][str(index)] = row
        print(line(index, str(of), row["directions"]), flush=True)
        results.save(options, record, page)
    others = timing.background_load(before)
    record["others_percent"] = max(others, record["others_percent"])
    results.save(options, record, page)
    print("\n".join(summary(record)))
    print(f"\nother processes used {others} % of the CPU" + (": the times are unreliable" if others > 5 else ""))
    return int(_misses(record))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    description = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser("python -m benchmarks.configurations", description=description)
    parser.add_argument("--seed", type=int, default=0, help="of the configurations (0)")
    parser.add_argument("--count", type=int, default=300, help="how many configurations are drawn (300)")
    parser.add_argument("--only", nargs="+", type=int, help="numbers of the configurations to measure (all)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="kinds to measure (all)")
    parser.add_argument("--direction", nargs="+", choices=DIRECTIONS, default=DIRECTIONS, help="directions (all)")
    parser.add_argument("--quick", action="store_true", help="compare only values, of the two smallest of each kind")
    results.add_options(parser)
    return parser.parse_args(arguments)


def _start(options: argparse.Namespace) -> dict[str, Any]:
    """The existing record, or an empty one."""
    fresh: dict[str, Any] = {
        "machine": machine(),
        "versions": {"cnnjax": cnnjax.__version__, **timing.versions("jax", "jaxlib", "numpy")},
        "date": f"{datetime.date.today()}",
        "seed": options.seed,
        "others_percent": 0.0,
        "rows": {},
    }
    return results.resume(options.record, fresh, same=("machine", "versions", "seed"))


def _wanted(drawn: Sequence[Configuration], options: argparse.Namespace, record: dict[str, Any]) -> list[int]:
    """The numbers of the configurations to measure."""
    if options.only:
        return options.only
    measured = {index: row["text"] for index, row in record["rows"].items()}
    numbers = [i for i, of in enumerate(drawn) if of.kind in options.kinds and measured.get(str(i)) != str(of)]
    if not options.quick:
        return numbers
    smallest = sorted((i for i in numbers if drawn[i].batch), key=lambda i: drawn[i].products)
    return sorted(i for kind in KINDS for i in [i for i in smallest if drawn[i].kind == kind][:2])


def _misses(record: dict[str, Any]) -> bool:
    """Whether a value is wrong or a limit is exceeded."""
    rows = [row for of in record["rows"].values() for row in of["directions"].values()]
    timed = [row for *_, row in limits.measurements(record["rows"])]
    return any(map(limits.is_wrong, rows)) or any(limits.fraction(row, m) > 1 for row in timed for m in limits.LIMITS)


if __name__ == "__main__":
    jax.config.update("jax_enable_compilation_cache", False)  # a first call compiles
    sys.exit(main())
