"""Networks benchmark: whole networks of flax, equinox and keras with cnnjax.drop_in, without it, and in PyTorch.

    python -m benchmarks.networks --only ResNet-18 "DQN flax"
    python -m benchmarks.networks --quick                       # compares outputs and gradients of small inputs
    python -m benchmarks.networks --record docs/records/benchmarks-networks.json \\
        --page docs/results/benchmarks-networks.md

The last command measures everything in about twenty minutes on two cores. With GLIBC_TUNABLES=glibc.malloc.hugetlb=1
before it, and other names of files, it does so with memory in huge pages. An existing record of the same machine,
versions and seed is continued where it ended; networks named by --only are measured again. A library that is not
installed is left out. The exit status is 1 if outputs or gradients differ by more than rounding.
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
from benchmarks.networks.measure import differs, measure
from benchmarks.networks.network import LIBRARIES, NETWORKS
from benchmarks.networks.page import line, means, page
from cnnjax.operator.tuning import machine

PACKAGES = ("jax", "jaxlib", "flax", "equinox", "keras", "optax", "torch", "numpy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and record; return the exit status."""
    options = _options(arguments)
    if results.report(options, page):
        return 0
    record = _start(options)
    print(f"{record['machine']}; " + ", ".join(f"{k} {v}" for k, v in record["versions"].items()))
    print("times, first calls and memory: JAX / drop_in / PyTorch", flush=True)
    before = timing.cpu_seconds()
    for name, library in _wanted(options, record):
        key = f"{name}, {library}"
        row = measure(
            *(name, library),
            seed=options.seed,
            quick=options.quick,
            torch=options.torch,
            compiled=options.compiled,
            blocks=options.blocks,
            seconds=options.seconds,
        )
        record["rows"] = _ordered(record["rows"] | {key: row})
        print(line(key, row), flush=True)
        results.save(options, record, page)
    others = timing.background_load(before)
    record["others_percent"] = max(others, record["others_percent"])
    results.save(options, record, page)
    print("\n".join(means(record["rows"])))
    print(f"other processes used {others} % of the CPU" + (": the times are unreliable" if others > 5 else ""))
    wrong = [key for key, row in record["rows"].items() if differs(row)]
    if wrong:
        print(f"results differ by more than rounding: {'; '.join(wrong)}")
    return int(bool(wrong))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.networks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], help="networks, or a network and a library (all)")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=LIBRARIES, help="libraries on JAX (all)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the data (0)")
    parser.add_argument("--blocks", type=int, default=5, help="blocks per contender (5)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a block, in seconds (0.5)")
    parser.add_argument("--compiled", action="store_true", help="measure torch.compile, too, where it compiles")
    parser.add_argument("--quick", action="store_true", help="compare only the results, of small inputs")
    results.add_options(parser)
    options = parser.parse_args(arguments)
    there = timing.versions(*LIBRARIES, "torch")
    options.torch = "torch" in there
    for library in (*options.libraries, "torch"):
        if library not in there:
            print(f"{library} is not installed, so it is not measured")
    options.libraries = [library for library in options.libraries if library in there]
    return options


def _start(options: argparse.Namespace) -> dict[str, Any]:
    """The existing record, or an empty one."""
    fresh: dict[str, Any] = {
        "machine": machine(),
        "versions": {"cnnjax": cnnjax.__version__, **timing.versions(*PACKAGES)},
        "date": f"{datetime.date.today()}",
        "seed": options.seed,
        "allocator": results.allocator(),
        "others_percent": 0.0,
        "rows": {},
    }
    return results.resume(options.record, fresh, same=("machine", "versions", "seed", "allocator"))


def _wanted(options: argparse.Namespace, record: dict[str, Any]) -> list[tuple[str, str]]:
    """The networks and libraries to measure."""
    found = [(n, library) for n, of in NETWORKS.items() for library in of.libraries if library in options.libraries]
    if options.only:
        return [(n, library) for n, library in found if {n, f"{n} {library}"} & set(options.only)]
    return [(n, library) for n, library in found if f"{n}, {library}" not in record["rows"]]


def _ordered(rows: dict[str, Any]) -> dict[str, Any]:
    """The rows in the order of NETWORKS."""
    order = [f"{name}, {library}" for name, of in NETWORKS.items() for library in of.libraries]
    return dict(sorted(rows.items(), key=lambda row: order.index(row[0])))


if __name__ == "__main__":
    jax.config.update("jax_enable_compilation_cache", False)  # a first call compiles
    sys.exit(main())
