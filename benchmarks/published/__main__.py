"""Published networks benchmark: the networks of cnnjax.models, and the same networks of flax's own layers.

    python -m benchmarks.published --only resnet18 mobilenet_v2
    python -m benchmarks.published --quick                      # compares outputs and gradients of small images
    python -m benchmarks.published --record docs/records/benchmarks-published.json \\
        --page docs/results/benchmarks-published.md

The last command measures everything in about twenty minutes on two cores. An existing record of the same machine,
versions and seed is continued where it ended; networks named by --only are measured again. The exit status is 1 if
outputs or gradients differ by more than rounding.
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
from benchmarks.networks.measure import differs
from benchmarks.published.measure import NETWORKS, measure
from benchmarks.published.page import line, means, page
from cnnjax.operator.tuning import machine

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and record; return the exit status."""
    options = _options(arguments)
    if results.report(options, page):
        return 0
    fresh = {
        "machine": machine(),
        "versions": {"cnnjax": cnnjax.__version__, **timing.versions(*PACKAGES)},
        "date": f"{datetime.date.today()}",
        "seed": options.seed,
        "rows": {},
    }
    record = results.resume(options.record, fresh, same=("machine", "versions", "seed"))
    print(f"{record['machine']}; " + ", ".join(f"{k} {v}" for k, v in record["versions"].items()))
    print("times, first calls and memory: flax / cnnjax", flush=True)
    for name in options.only or [name for name in NETWORKS if name not in record["rows"]]:
        before = timing.cpu_seconds()
        row = measure(name, seed=options.seed, quick=options.quick, blocks=options.blocks, seconds=options.seconds)
        row["others_percent"] = timing.background_load(before)
        rows: dict[str, Any] = record["rows"] | {name: row}
        record["rows"] = {name: rows[name] for name in NETWORKS if name in rows}
        print(line(name, row), flush=True)
        results.save(options, record, page)
    print("\n".join(means(record["rows"])))
    wrong = [name for name, row in record["rows"].items() if differs(row)]
    if wrong:
        print(f"results differ by more than rounding: {', '.join(wrong)}")
    return int(bool(wrong))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.published", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=[], metavar="NETWORK", help="networks (all)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the data (0)")
    parser.add_argument("--blocks", type=int, default=5, help="blocks per library (5)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a block, in seconds (0.5)")
    parser.add_argument("--quick", action="store_true", help="compare only the results, of small images")
    results.add_options(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    jax.config.update("jax_enable_compilation_cache", False)  # a first call compiles
    sys.exit(main())
