"""Training benchmark: images per second of LeNet-5 (tanh, average pooling, softmax, Adam) in each library.

    python -m benchmarks.training                                       # about two minutes on two cores
    python -m benchmarks.training --record docs/records/benchmarks-training.json \\
        --page docs/results/benchmarks-training.md

Expected: cnnjax is the fastest at batch sizes 32 and 256. All implementations must compute the same losses from the
same weights before they are timed. Seed 0.
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

import cnnjax
from benchmarks import results, timing
from benchmarks.training import overhead
from benchmarks.training.networks import IMPLEMENTATIONS, batch, weights
from benchmarks.training.page import page
from cnnjax.operator.tuning import machine

STEPS = {1: 20, 32: 4, 256: 1}
"""Steps per timed call for each batch size, so that a call takes some milliseconds."""


def main() -> None:
    """Check that all compute the same losses, time them, print and record."""
    parser = argparse.ArgumentParser("python -m benchmarks.training", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--implementations", nargs="+", choices=IMPLEMENTATIONS, default=list(IMPLEMENTATIONS))
    parser.add_argument("--batches", nargs="+", type=int, choices=STEPS, default=list(STEPS))
    parser.add_argument("--blocks", type=int, default=5, help="blocks per implementation (5)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a block, in seconds (0.5)")
    parser.add_argument("--no-overhead", action="store_true", help="skip import, trace and compile times")
    results.add_options(parser)
    options = parser.parse_args()
    if results.report(options, page):
        return
    found, missing = usable(options.implementations)
    names = list(found)
    rates = {str(size): images_per_second(names, size, options.blocks, options.seconds) for size in options.batches}
    record: dict[str, Any] = {
        "machine": machine(),
        "versions": {
            "cnnjax": cnnjax.__version__,
            **timing.versions("jax", "jaxlib", "optax", "flax", "equinox", "torch", "numpy"),
        },
        "date": f"{datetime.date.today()}",
        "seed": 0,
        "missing": missing,
        "losses": found,
        "images_per_second": {size: rate for size, (rate, _) in rates.items()},
        "others_percent": max(others for _, others in rates.values()),
        "overhead": {} if options.no_overhead else _overhead(),
    }
    print(page(record))
    results.save(options, record, page)


def usable(names: Sequence[str]) -> tuple[dict[str, list[float]], dict[str, str]]:
    """The losses of the implementations that run here, and the errors of the others; exits if losses differ."""
    wanted = losses("cnnjax")
    found: dict[str, list[float]] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            found[name] = losses(name)
        except Exception as error:  # not installed, or does not compile here
            missing[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        if not np.allclose(found[name], wanted, rtol=1e-4):
            raise SystemExit(f"{name} computes the losses {found[name]}, cnnjax {wanted}")
    return found, missing


def losses(name: str, steps: int = 4, size: int = 32) -> list[float]:
    """The losses of the first steps on one batch."""
    step = IMPLEMENTATIONS[name](weights())
    x, labels = batch(size)
    return [float(step(x, labels)) for _ in range(steps)]


def images_per_second(names: Sequence[str], size: int, blocks: int, seconds: float) -> tuple[dict[str, float], float]:
    """The median images per second of each implementation at a batch size, and the background load in percent."""
    x, labels = batch(size)

    def call(name: str) -> timing.Thunk:
        step = IMPLEMENTATIONS[name](weights())

        def several() -> None:
            loss = None
            for _ in range(STEPS[size]):
                loss = step(x, labels)
            jax.block_until_ready(loss)

        return several

    calls = {name: {"step": call(name)} for name in names}
    for of in calls.values():
        of["step"]()  # compiles; PyTorch does so in other processes
    before = timing.cpu_seconds()
    times = timing.time_alternately(calls, blocks=blocks, seconds=seconds)
    rates = {name: float(f"{1e3 * size * STEPS[size] / of['step']['ms']:.4g}") for name, of in times.items()}
    return rates, timing.background_load(before)


def _overhead() -> dict[str, Any]:
    return {
        "import_ms": overhead.import_milliseconds(),
        "trace_ms": overhead.trace_milliseconds(),
        "compile_s": {str(size): overhead.compile_seconds(size) for size in (32, 256)},
    }


if __name__ == "__main__":
    main()
